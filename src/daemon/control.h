/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: requests of the administration API from this machine (ipc/ipc.h), several
 * connections at a time, each with a thread. Only root and the daemon's own user are answered.
 */
#ifndef KMIPD_DAEMON_CONTROL_H
#define KMIPD_DAEMON_CONTROL_H

#include "api/api.h"
#include "daemon/daemon.h"

/* Listens at the state's control.sock. Whoever connects waits until control_start(). */
enum status control_open(struct daemon *daemon, struct control **ret_control, struct error *error)
    MUST_USE;

/* Starts to serve: the rest of the daemon must be there. */
enum status control_start(struct control *control, struct error *error) MUST_USE;

/* Ends the threads after the requests they are at. NULL is fine. */
void control_stop(struct control *control);

#endif
