/* SPDX-License-Identifier: Apache-2.0 */
/* vsphere-sim: what all scenarios share. */
#ifndef KMIPD_SIM_SIM_H
#define KMIPD_SIM_SIM_H

#include "sim/options.h"
#include "sim/report.h"

struct sim {
    struct sim_options options;
    struct report report;
    struct client_identity *identity; /* vCenter's certificate and key */
    struct secret credential;         /* of the header; without data: none */
};

/* vsphere-sim's main(). 0: every step did what it should; 1: one did not; 2: the command line, or
 * the files it names, are wrong; 3: nothing failed, but a step was left to the administrator. */
int sim_main(int count, char **words);

#endif
