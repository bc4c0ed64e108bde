/* SPDX-License-Identifier: Apache-2.0 */
/* What commands share that make root keys. */
#ifndef KMIPD_DAEMON_CONTROL_ROOT_KEY_H
#define KMIPD_DAEMON_CONTROL_ROOT_KEY_H

#include "daemon/commands.h"
#include "daemon/root_key_names.h"

/* Makes a root key in the local key manager, or imports `material` (empty: none), where the API shows
 * it too; named as the argument "name" says. With a text on failure. */
enum status control_make_root_key(struct control_call *call, const struct secret *material,
                                  struct root_key *ret_key) MUST_USE;

#endif
