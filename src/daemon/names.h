/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine is called: the names and addresses of the server certificate. */
#ifndef KMIPD_DAEMON_NAMES_H
#define KMIPD_DAEMON_NAMES_H

#include <stddef.h>

#define NAMES_MAX     64
#define NAME_MAX_SIZE 256

struct names {
    size_t count;
    const char *list[NAMES_MAX]; /* into text; host names and numeric addresses */
    char text[NAMES_MAX][NAME_MAX_SIZE];
};

/*
 * Collects, each once: the host name, its full name, localhost, `listen` ("ADDRESS:PORT"; unless it
 * is the unspecified address), `more` (as [server] names), and the addresses of the interfaces
 * that are up. May ask the name service, for a few seconds at most. The first is the one to put
 * into the subject.
 */
void names_collect(const char *listen, const char *more, struct names *ret_names);

#endif
