/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a token wraps an envelope key, in the best way that it has: AES-GCM; else AES key wrap
 * (RFC 3394), by the token's own mechanism for data, or block by block with its AES (24 calls).
 * C_WrapKey is no way: it would need the envelope key as an extractable key in the token. A way
 * is used only after the token has opened with it again what it had wrapped.
 */
#ifndef KMIPD_KEYHOLDER_PKCS11_CIPHER_H
#define KMIPD_KEYHOLDER_PKCS11_CIPHER_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "keyholder/pkcs11_token.h"

#define PKCS11_WRAPPED_MAX 64

/* What was found out about a token; zeroed at first. Any thread. */
struct pkcs11_cipher {
    _Atomic int way;
    _Atomic uint64_t connection; /* that it was found out in */
};

/* The wrapped form: its first byte says what it is (docs/formats.md). */
struct pkcs11_wrapped {
    uint8_t bytes[PKCS11_WRAPPED_MAX];
    size_t size;
};

/* Wraps 32 bytes under `key`; `associated` is authenticated too where the way can do that. */
ck_rv_t pkcs11_wrap(const struct pkcs11_session *session, struct pkcs11_cipher *cipher,
                    ck_object_handle_t key, struct bytes associated, const struct secret *plaintext,
                    struct pkcs11_wrapped *ret_wrapped) MUST_USE;

/* Reverses pkcs11_wrap(), of whichever way. CKR_ENCRYPTED_DATA_INVALID: it was changed, or belongs
 * elsewhere. The caller frees the plaintext. */
ck_rv_t pkcs11_unwrap(const struct pkcs11_session *session, struct pkcs11_cipher *cipher,
                      ck_object_handle_t key, struct bytes associated, struct bytes wrapped,
                      struct secret *ret_plaintext) MUST_USE;

/* Brings 16, 24 or 32 bytes into the token as a key of `template`, wrapped under a key that the
 * token makes for the purpose and forgets. */
ck_rv_t pkcs11_unwrap_in(const struct pkcs11_session *session, const struct secret *material,
                         struct ck_attribute *template, unsigned long template_count,
                         ck_object_handle_t *ret_key) MUST_USE;

/* Whether `key` is `material`, told by what they make of a block; true also where the token does
 * not encrypt single blocks. */
ck_rv_t pkcs11_is_same(const struct pkcs11_session *session, ck_object_handle_t key,
                       const struct secret *material, bool *ret_same) MUST_USE;

/* "AES-GCM": the way in use or, as long as nothing was wrapped, the best that the token claims to
 * have. NULL: it has none. Static storage. */
const char *pkcs11_cipher_name(const struct pkcs11_session *session,
                               const struct pkcs11_cipher *cipher);

#endif
