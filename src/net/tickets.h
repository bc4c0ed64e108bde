/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys under which session tickets are sealed (RFC 5077 §4; RFC 8446 §4.6.1), shared by all
 * loops so that a session resumes on any of them. A new key every hour; a ticket is taken as long
 * as its key is kept, a day. The keys live in locked memory and die with the process.
 */
#ifndef KMIPD_NET_TICKETS_H
#define KMIPD_NET_TICKETS_H

#include <openssl/ssl.h>

#include "base/error.h"

#define TICKET_LIFE_SECONDS (24 * 60 * 60)

struct tickets;

/* STATUS_NO_MEMORY or STATUS_CRYPTO_FAILED, with a text. End: tickets_free(). */
enum status tickets_make(struct tickets **ret_tickets, struct error *error) MUST_USE;

/* Wipes the keys. No context that uses them may be left. */
void tickets_free(struct tickets *tickets);

/* Makes `context` seal and open its tickets with these keys. */
void tickets_use(struct tickets *tickets, SSL_CTX *context);

/* Ages the keys to `now` (monotonic milliseconds). Each handshake with a ticket does it too. */
void tickets_rotate(struct tickets *tickets, int64_t now);

#endif
