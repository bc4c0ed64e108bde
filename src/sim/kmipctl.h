/* SPDX-License-Identifier: Apache-2.0 */
/* Runs kmipctl, as the administrator of a kmipd on this machine would. */
#ifndef KMIPD_SIM_KMIPCTL_H
#define KMIPD_SIM_KMIPCTL_H

#include "sim/sim.h"

/* Whether it can be run: a state directory is given. */
bool kmipctl_possible(const struct sim *sim);

/* `kmipctl object restore ID`. IO where it cannot be run; INVALID_ARGUMENT with its own words where
 * it fails. */
enum status kmipctl_restore(const struct sim *sim, const char *id, struct error *error) MUST_USE;

#endif
