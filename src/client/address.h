/* SPDX-License-Identifier: Apache-2.0 */
/* Servers as an administrator writes them, and sockets connected to them. Any thread. */
#ifndef KMIPD_CLIENT_ADDRESS_H
#define KMIPD_CLIENT_ADDRESS_H

#include <stdint.h>

#include "base/error.h"

#define CLIENT_HOST_MAX 256 /* with the NUL */

struct client_address {
    char host[CLIENT_HOST_MAX]; /* a name or a number, without brackets */
    char port[6];
};

/* Parses "HOST:PORT" or "[ADDRESS]:PORT". INVALID_ARGUMENT. */
enum status client_address_parse(const char *text, struct client_address *ret_address,
                                 struct error *error) MUST_USE;

/*
 * A connected, non-blocking socket. Asks the name service, which takes its own time, and tries each
 * address it gives until `deadline` (clock_monotonic()). *ret_microseconds: what connecting took.
 * NOT_FOUND: no such name; TIMED_OUT; IO.
 */
enum status client_address_connect(const struct client_address *address, int64_t deadline,
                                   int *ret_socket, int64_t *ret_microseconds,
                                   struct error *error) MUST_USE;

/* Monotonic microseconds, for durations that are shown. */
int64_t client_microseconds(void);

#endif
