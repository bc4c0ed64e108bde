/* SPDX-License-Identifier: Apache-2.0 */
/* What the first start tells the administrator. */
#ifndef KMIPD_DAEMON_WELCOME_H
#define KMIPD_DAEMON_WELCOME_H

#include <stdio.h>

#include "daemon/daemon.h"

/*
 * On the first start: writes where the server is, what it shows, and how vCenter gets its keys from
 * here. Where this start has made the first API key, shows it, unless `file` is kept (`logged`: a
 * journal), and wipes it. Nothing on other starts.
 */
void welcome_print(struct daemon *daemon, FILE *file, bool logged);

/* "kmipctl" with what it needs to find this server, as it must be typed here. */
void welcome_kmipctl(const struct daemon *daemon, char *ret_command, size_t size);

#endif
