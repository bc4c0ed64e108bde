/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the service manager how the daemon is (sd_notify(3)'s protocol: a datagram of KEY=VALUE
 * lines to $NOTIFY_SOCKET). Without a service manager all of it does nothing. One thread.
 */
#ifndef KMIPD_DAEMON_NOTIFY_H
#define KMIPD_DAEMON_NOTIFY_H

#include <stdint.h>

#include "base/compiler.h"

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the environment. */
void notify_init(void);

/* Sends lines such as "READY=1\nSTATUS=..."; what cannot be sent is dropped. */
void notify_send(const char *format, ...) PRINTF_LIKE(1, 2);

/* Says that a reload has begun (its end is READY=1). */
void notify_reloading(void);

/* Milliseconds between two WATCHDOG=1 that are in time; 0: no watchdog. */
int64_t notify_watchdog_interval(void);

#endif
