/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens: JSON Web Tokens (RFC 7519) signed with RS256 (RFC 7518 §3.3) by a key of this
 * instance's own, in the form that IBM Cloud IAM gives them. Any thread. Inside src/api/ only.
 */
#ifndef KMIPD_API_JWT_H
#define KMIPD_API_JWT_H

#include <jansson.h>

#include "api/open.h"

struct jwt;

#define JWT_LEEWAY_SECONDS 5 /* how much longer than its time a token is accepted */
#define JWT_TEXT_MAX       4096

/* Reads the key of context->token_key_file, or makes it (RSA 3072). Borrows the context. */
enum status jwt_open(const struct api_context *context, struct jwt **ret_jwt,
                     struct error *error) MUST_USE;
void jwt_close(struct jwt *jwt); /* NULL is fine */

/* Whom a token is for, and when. Seconds since 1970. */
struct jwt_claims {
    struct uuid service_id;
    struct uuid api_key;
    char name[KMS_NAME_MAX + 1]; /* of the service ID; only for jwt_issue() */
    int64_t issued;
    int64_t expires;
};

/* "ServiceId-<uuid>" and "iam-ServiceId-<uuid>". */
#define JWT_IDENTIFIER_MAX 64
void jwt_identifier(const struct uuid *service_id, char ret_text[static JWT_IDENTIFIER_MAX]);
void jwt_iam_id(const struct uuid *service_id, char ret_text[static JWT_IDENTIFIER_MAX]);

/* Appends a token. CRYPTO_FAILED, NO_MEMORY. */
enum status jwt_issue(struct jwt *jwt, const struct jwt_claims *claims,
                      struct buffer *ret_token) MUST_USE;

/*
 * The claims of a token that we have signed. NOT_AUTHENTICATED: somebody else did, or it is none;
 * TIMED_OUT: it has expired, or begins in the future. Our own header is the only one accepted:
 * no token chooses its algorithm.
 */
enum status jwt_verify(struct jwt *jwt, struct bytes token, int64_t now_seconds,
                       struct jwt_claims *ret_claims) MUST_USE;

/* {"keys":[...]} (RFC 7517). NULL without memory. */
json_t *jwt_keys(struct jwt *jwt);
const char *jwt_issuer(const struct jwt *jwt); /* "https://.../identity" */

#endif
