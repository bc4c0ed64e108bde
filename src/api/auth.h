/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who sends a request: by the bearer token, or by the control socket. Tokens that were verified are
 * remembered by their SHA-256 until they expire; what their service ID may do is read again after
 * every change of any service ID or API key, so that a change holds from the next request on. Any
 * thread. Inside src/api/ only.
 */
#ifndef KMIPD_API_AUTH_H
#define KMIPD_API_AUTH_H

#include "api/call.h"

struct auth;

#define AUTH_TOKENS_MAX 1024 /* remembered; the one that was not used for longest makes room */

enum status auth_open(struct auth **ret_auth, struct error *error) MUST_USE;
void auth_close(struct auth *auth); /* NULL is fine */

/* Fills call->identity. False: the call has failed (401; 429 for a peer with too many failures). */
bool auth_identify(struct api_call *call);

/* Fills call->identity from a service ID. */
void auth_assume(struct api_call *call, const struct kms_service_id *service_id);

#endif
