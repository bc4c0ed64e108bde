/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the sealed root keys as the configuration says. */
#ifndef KMIPD_DAEMON_SEALING_CONFIG_H
#define KMIPD_DAEMON_SEALING_CONFIG_H

#include "daemon/config.h"
#include "daemon/state.h"
#include "keymanager/sealing_source.h"

/* What the configuration says that the root keys are sealed under; points into both. */
struct sealing_source sealing_source_of(const struct config *config, const struct state *state);

/*
 * Opens the sealed file of the state; where the first start has not come to its end, makes it.
 * May ask for a passphrase on the terminal, twice where it makes the file. The texts of errors say
 * what to do.
 */
enum status sealing_open(const struct config *config, const struct state *state,
                         struct keymanager **ret_keymanager, struct error *error) MUST_USE;

/*
 * Seals the root keys anew as another configuration says under [keys]; may ask on the terminal. The
 * generation before, which still opens with the former secret, is removed.
 */
enum status sealing_change(const struct config *config, const struct state *state,
                           struct keymanager *keymanager, struct error *error) MUST_USE;

#endif
