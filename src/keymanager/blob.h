/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wrapped form of a key, as the providers of this directory that hold root keys themselves
 * make it (docs/formats.md, "Wrapped keys"): a header that says what it belongs to, and the key
 * sealed with XAES-256-GCM, which authenticates the header.
 */
#ifndef KMIPD_KEYMANAGER_BLOB_H
#define KMIPD_KEYMANAGER_BLOB_H

#include "crypto/aead.h"
#include "keymanager/keymanager.h"

#define BLOB_HEADER_SIZE 56
#define BLOB_OVERHEAD    (BLOB_HEADER_SIZE + AEAD_OVERHEAD)

/* Appends the blob. WRAP_FAILED, or the buffer's NO_MEMORY or TOO_LARGE; the buffer may then be
 * longer than before. Any thread. */
enum status blob_seal(const struct aead_key *key, uint32_t version,
                      const struct wrap_binding *binding, const struct secret *plaintext,
                      struct buffer *ret_blob) MUST_USE;

/* The root key version that `blob` names, if its header is one of `binding`; UNWRAP_FAILED if it is
 * not. Nothing is authenticated yet. */
enum status blob_version(struct bytes blob, const struct wrap_binding *binding,
                         uint32_t *ret_version) MUST_USE;

/* What the header says, nothing of it authenticated. UNWRAP_FAILED: it is no such blob. */
enum status blob_origin(struct bytes blob, uint32_t *ret_version,
                        struct wrap_binding *ret_binding) MUST_USE;

/* Opens what blob_version() accepted. UNWRAP_FAILED, NO_MEMORY. */
enum status blob_open(const struct aead_key *key, struct bytes blob,
                      struct secret *ret_plaintext) MUST_USE;

#endif
