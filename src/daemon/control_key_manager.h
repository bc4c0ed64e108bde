/* SPDX-License-Identifier: Apache-2.0 */
/* How the key managers are, for kmipctl status and key-manager. */
#ifndef KMIPD_DAEMON_CONTROL_KEY_MANAGER_H
#define KMIPD_DAEMON_CONTROL_KEY_MANAGER_H

#include "daemon/commands.h"

/* An array with an object for each key manager that is configured; asks them nothing. */
json_t *control_make_key_managers(struct control_call *call);

#endif
