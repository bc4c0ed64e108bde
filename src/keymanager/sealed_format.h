/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a sealed file (docs/formats.md, "Sealed file"). No file is touched here; `path` is
 * for the texts of errors. */
#ifndef KMIPD_KEYMANAGER_SEALED_FORMAT_H
#define KMIPD_KEYMANAGER_SEALED_FORMAT_H

#include "crypto/digest.h"
#include "crypto/kdf.h"
#include "keymanager/root_keys.h"

#define SEALED_SALT_SIZE  32
#define SEALED_CHECK_SIZE 32
#define SEALED_FILE_MAX   ((size_t)16 << 20)

/* The part in the clear. */
struct sealed_header {
    uint8_t method;          /* enum sealing_method */
    struct scrypt_cost cost; /* zero unless by passphrase */
    uint8_t salt[SEALED_SALT_SIZE];
    uint64_t generation; /* one more with each write */
};

/* A header for a new sealing: random salt, today's cost, generation 0. STATUS_CRYPTO_FAILED. */
enum status sealed_header_make(unsigned method, struct sealed_header *ret_header) MUST_USE;

/* The keys of a file from its sealing's material; by passphrase this takes half a second and
 * 128 MiB. STATUS_NO_MEMORY, STATUS_CRYPTO_FAILED. The caller frees them. */
enum status sealed_keys_derive(const struct sealed_header *header, struct bytes material,
                               struct secret *ret_keys) MUST_USE;

/*
 * Appends the file to an empty buffer: `set`, and `changed` (may be NULL) in the place of the root
 * key with the same identifier, or as one more. Nobody may change the set meanwhile.
 */
enum status sealed_encode(const struct sealed_header *header, const struct secret *keys,
                          const struct root_keys *set, const struct root_key *changed,
                          struct buffer *ret_file, struct error *error) MUST_USE;

/* Checks everything that can be checked without a key. STORE_CORRUPT, STORE_NEWER, with a text. */
enum status sealed_header_read(struct bytes file, const char *path,
                               struct sealed_header *ret_header, struct error *error) MUST_USE;

/* Opens a file that sealed_header_read() accepted, into an empty set. NOT_AUTHENTICATED: the keys
 * are not of this file; STORE_CORRUPT; NO_MEMORY. The set may be partly filled after a failure. */
enum status sealed_decode(struct bytes file, const char *path, const struct secret *keys,
                          struct root_keys *ret_set, struct error *error) MUST_USE;

/* The digest at the end of a whole file, which tells one generation from another. */
static inline const uint8_t *sealed_digest(struct bytes file)
{
    return file.data + file.size - SHA256_SIZE;
}

#endif
