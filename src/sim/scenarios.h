/* SPDX-License-Identifier: Apache-2.0 */
/* The table of scenarios. */
#ifndef KMIPD_SIM_SCENARIOS_H
#define KMIPD_SIM_SCENARIOS_H

#include "base/status.h"

#include <stdbool.h>

struct sim;

struct sim_scenario {
    const char *name; /* as on the command line */
    const char *text;
    bool needed; /* the others cannot succeed where this one fails */
    /* Runs the steps; each is reported. The first failure ends it. */
    enum status (*run)(struct sim *sim);
};

/* In the order in which `all` runs them. */
extern const struct sim_scenario sim_scenarios[];
extern const size_t sim_scenario_count;

/* NULL if there is none. */
const struct sim_scenario *sim_scenario_find(const char *name);

/* provider.c: the key provider's servers */
enum status scenario_trust(struct sim *sim);
enum status scenario_health(struct sim *sim);
enum status scenario_failover(struct sim *sim);
/* machine.c: virtual machines */
enum status scenario_encrypt(struct sim *sim);
enum status scenario_power_on(struct sim *sim);
enum status scenario_clone(struct sim *sim);
enum status scenario_rekey_shallow(struct sim *sim);
enum status scenario_rekey_deep(struct sim *sim);
/* cluster.c: hosts */
enum status scenario_vsan(struct sim *sim);
enum status scenario_core_dump(struct sim *sim);
/* custody.c: what an administrator of keys may do to them */
enum status scenario_revoke(struct sim *sim);
enum status scenario_restore(struct sim *sim);
enum status scenario_destroy(struct sim *sim);

#endif
