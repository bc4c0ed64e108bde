/* SPDX-License-Identifier: Apache-2.0 */
/* The key managers that the configuration names, opened. */
#ifndef KMIPD_DAEMON_KEY_MANAGERS_H
#define KMIPD_DAEMON_KEY_MANAGERS_H

#include "daemon/daemon.h"
#include "upkeep/upkeep.h"

/* Where the root key of a new adapter is made. */
enum keymanager_code key_managers_default(const struct config *config);
/* Where root keys live that are made through the administration API. */
enum keymanager_code key_managers_local(const struct config *config);

/* The root key for a new adapter of this name in a key manager: the one that is configured for all of
 * them, or one that is made now. NOT_FOUND: the key manager is not configured; else as
 * keymanager_create_root_key(). */
enum status key_managers_root_key_for(struct daemon *daemon, enum keymanager_code code,
                                      const char *adapter, struct uuid *ret_root_key,
                                      struct error *error) MUST_USE;

/* How long unwrapped keys of each are kept, and whether wrapped ones are recorded there. */
void key_managers_core_options(const struct config *config, struct core_options *options);
void key_managers_upkeep_options(const struct config *config, struct upkeep_options *ret_options);

/*
 * Starts the keyholder process and opens all that are configured into daemon->keymanagers. A service
 * or an HSM that does not answer now is no failure: its keys are refused until it does. What
 * cannot work ever (a wrong passphrase, a module that is not there) is one, with a text.
 */
enum status key_managers_open(struct daemon *daemon, struct error *error) MUST_USE;
void key_managers_close(struct daemon *daemon);

#endif
