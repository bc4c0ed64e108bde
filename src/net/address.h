/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as an administrator writes them, and the sockets that listen on them. */
#ifndef KMIPD_NET_ADDRESS_H
#define KMIPD_NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/error.h"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Parses "192.0.2.1:5696" or "[2001:db8::1]:5696"; numbers only. STATUS_INVALID_ARGUMENT. */
enum status address_parse(const char *text, union address *ret_address,
                          struct error *error) MUST_USE;

/* Writes the form that address_parse() reads, an IPv4-mapped address as IPv4; `size` >= 64. */
void address_text(const union address *address, char *ret_text, size_t size);

unsigned address_port(const union address *address);

/*
 * A non-blocking socket that listens on `address`, shared (SO_REUSEPORT) with the sockets made by
 * further calls. A port of 0 becomes the port bound. The first call for an address says so in
 * `first`: it fails when another program listens there, even one that would share the port.
 * Errors, each with a text: STATUS_EXISTS (port taken), STATUS_INVALID_ARGUMENT (not an address of
 * this machine), STATUS_PERMISSION_DENIED, STATUS_IO.
 */
enum status address_listen(union address *address, bool first, int *ret_socket,
                           struct error *error) MUST_USE;

#endif
