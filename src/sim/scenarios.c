/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/scenarios.h"

#include <string.h>

const struct sim_scenario sim_scenarios[] = {
    {"trust", "Add the provider: pin the servers' certificates, test the connection", true,
     scenario_trust},
    {"health", "Poll each server, as every five minutes", false, scenario_health},
    {"encrypt", "Encrypt a VM: its key, the host's key, tags, a disk", true, scenario_encrypt},
    {"power-on", "Read the VM's key again, unlock its disk", false, scenario_power_on},
    {"clone", "Clone the VM, then give the clone a key of its own", false, scenario_clone},
    {"rekey-shallow", "A new key around the disk's key", false, scenario_rekey_shallow},
    {"rekey-deep", "A new key and a new disk's key: the disk is encrypted again", false,
     scenario_rekey_deep},
    {"core-dump", "A host crashes: its dump is encrypted under the host's key", false,
     scenario_core_dump},
    {"vsan", "A vSAN cluster boots: all hosts fetch its keys at once", false, scenario_vsan},
    {"failover", "The first servers of the list are down", false, scenario_failover},
    {"revoke", "A key is disabled: its VM does not power on", false, scenario_revoke},
    {"restore", "The key is restored with kmipctl: the VM powers on", false, scenario_restore},
    {"destroy", "A key is destroyed: its disk is lost for ever", false, scenario_destroy},
};
const size_t sim_scenario_count = sizeof(sim_scenarios) / sizeof(sim_scenarios[0]);

const struct sim_scenario *sim_scenario_find(const char *name)
{
    for (size_t i = 0; i < sim_scenario_count; i++)
        if (strcmp(sim_scenarios[i].name, name) == 0)
            return &sim_scenarios[i];
    return NULL;
}
