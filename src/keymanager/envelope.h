/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wrapped form of a key for key managers that wrap elsewhere (an HSM, a REST service): a fresh
 * random 256-bit key seals the material with XAES-256-GCM, and only that key is wrapped by the root
 * key. So the binding never depends on what the other side authenticates, size does not matter, and
 * the other side never sees the material. docs/formats.md, "Wrapped keys".
 */
#ifndef KMIPD_KEYMANAGER_ENVELOPE_H
#define KMIPD_KEYMANAGER_ENVELOPE_H

#include "keymanager/keymanager.h"

#define ENVELOPE_KEY_SIZE    32
#define ENVELOPE_WRAPPED_MAX 2048 /* bytes of the wrapped envelope key */

/* The part that is there in the clear. */
struct envelope {
    enum keymanager_code code;
    uint32_t version; /* root key version; 0: see the wrapped key */
    struct wrap_binding binding;
    struct bytes wrapped_key; /* as the other side made it; borrowed */
};

/* Makes a random envelope key, for the caller to have wrapped. The caller frees it. */
enum status envelope_key_make(struct secret *ret_key) MUST_USE;

/* Appends the blob. WRAP_FAILED, NO_MEMORY, TOO_LARGE. */
enum status envelope_seal(const struct envelope *envelope, const struct secret *key,
                          const struct secret *plaintext, struct buffer *ret_blob) MUST_USE;

/* Reads the clear part of a blob. UNWRAP_FAILED: it is none, or not of `expected` (may be NULL). */
enum status envelope_read(struct bytes blob, const struct wrap_binding *expected,
                          struct envelope *ret_envelope) MUST_USE;

/* Opens a blob with its envelope key. UNWRAP_FAILED: changed, bound elsewhere, or another key. */
enum status envelope_open(struct bytes blob, const struct secret *key,
                          struct secret *ret_plaintext) MUST_USE;

/* Appends the same blob with its envelope key wrapped anew (another version of the root key).
 * UNWRAP_FAILED: it is none. */
enum status envelope_rewrap(struct bytes blob, uint32_t version, struct bytes wrapped_key,
                            struct buffer *ret_blob) MUST_USE;

#endif
