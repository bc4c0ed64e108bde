/* SPDX-License-Identifier: Apache-2.0 */
/* `kmipd admin`: the process that speaks TLS and HTTP. kmipd starts it (admin/front.h). */
#ifndef KMIPD_ADMIN_PROCESS_H
#define KMIPD_ADMIN_PROCESS_H

/*
 * Reads what it needs from descriptor 3, shuts itself in (base/sandbox.h) and serves until the other
 * end of that socket is closed. The exit code: 0, or 1 when it could not begin. To be called first
 * of all in a process: it decides how memory is given back.
 */
int admin_process(void);

#endif
