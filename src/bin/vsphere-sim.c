/* SPDX-License-Identifier: Apache-2.0 */
/* vsphere-sim: does to a KMIP server what vCenter and ESXi do. */
#include "sim/sim.h"

int main(int count, char **words)
{
    return sim_main(count, words);
}
