/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered of client certificates: how many connections each has open, and whether it
 * makes use of session tickets. Bounded; certificates without a connection are forgotten, the
 * longest unseen first. Any thread.
 */
#ifndef KMIPD_NET_CLIENTS_H
#define KMIPD_NET_CLIENTS_H

#include "net/net.h"

struct clients;

/* For at most `connections_max` connections, `per_certificate` of each certificate.
 * STATUS_NO_MEMORY, STATUS_CRYPTO_FAILED (no randomness). End: clients_free(). */
enum status clients_make(size_t connections_max, unsigned per_certificate,
                         struct clients **ret_clients) MUST_USE;
void clients_free(struct clients *clients);

/*
 * Counts one connection. STATUS_BUSY when the certificate has as many as it may. `resumed`: the
 * connection came by a ticket. *ret_offer_ticket: whether one is worth its price (a fifth of a
 * handshake): to who used one, to newcomers a few times, and then now and again.
 * A fingerprint of zeros stands for all clients without a certificate.
 */
enum status clients_enter(struct clients *clients, const uint8_t fingerprint[NET_FINGERPRINT_SIZE],
                          bool resumed, bool *ret_offer_ticket) MUST_USE;

/* Ends what clients_enter() began. */
void clients_leave(struct clients *clients, const uint8_t fingerprint[NET_FINGERPRINT_SIZE]);

#endif
