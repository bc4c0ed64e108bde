/* SPDX-License-Identifier: Apache-2.0 */
/* What the first start tells the administrator. */
#ifndef KMIPD_DAEMON_WELCOME_H
#define KMIPD_DAEMON_WELCOME_H

#include <stdio.h>

#include "daemon/daemon.h"

/* Writes where the server is, what it shows, and how vCenter gets its keys from here. */
void welcome_print(const struct daemon *daemon, FILE *file);

/* "kmipctl" with what it needs to find this server, as it must be typed here. */
void welcome_kmipctl(const struct daemon *daemon, char *ret_command, size_t size);

#endif
