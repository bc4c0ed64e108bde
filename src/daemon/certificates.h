/* SPDX-License-Identifier: Apache-2.0 */
/* The certificate that the server shows, and the authority behind it. */
#ifndef KMIPD_DAEMON_CERTIFICATES_H
#define KMIPD_DAEMON_CERTIFICATES_H

#include "crypto/pki.h"
#include "daemon/config.h"
#include "daemon/state.h"

/*
 * Makes what is missing: the authority during the first start alone, the server certificate
 * whenever it is not there (an administrator who removes it asks for a new one; the key is kept if
 * there is one). *ret_made tells whether a server certificate was made.
 */
enum status certificates_make(const struct config *config, const struct state *state, int64_t now,
                              bool *ret_made, struct error *error) MUST_USE;

/*
 * Reads the authority. NOT_FOUND with a text where its files are gone. End:
 * certificates_free_authority().
 */
enum status certificates_read_authority(const struct state *state,
                                        struct pki_authority *ret_authority,
                                        struct error *error) MUST_USE;
void certificates_free_authority(struct pki_authority *authority);

/* Describes the server certificate. */
enum status certificates_describe_server(const struct state *state,
                                         struct pki_description *ret_description,
                                         struct error *error) MUST_USE;

/* Logs a warning when the server certificate has expired, is not valid yet, or ends within 30
 * days, which is when vSAN's health check turns yellow. */
void certificates_report(const struct state *state, int64_t now);

/* The same as text, for status: false if there is nothing to say. */
bool certificates_explain(const struct state *state, int64_t now, struct error *ret_warning);

#endif
