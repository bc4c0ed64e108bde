/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the token's root keys, so that a wrap or unwrap is one or two calls of the
 * token. What another endpoint changes there is seen within PKCS11_FRESH_MS; a key that is asked
 * for and not known is looked for at once. Any thread.
 */
#ifndef KMIPD_KEYHOLDER_PKCS11_ROOTS_H
#define KMIPD_KEYHOLDER_PKCS11_ROOTS_H

#include "keyholder/pkcs11_objects.h"

#define PKCS11_FRESH_MS 5000

struct pkcs11_root {
    struct root_key_info info;
    uint64_t generation; /* of its note */
    uint64_t connection; /* that the handles are of */
    int64_t read_at;     /* clock_monotonic() */
    struct pkcs11_key *keys; /* oldest version first */
    size_t count;
};

struct pkcs11_roots {
    pthread_mutex_t lock; /* guards all below */
    struct pkcs11_root **roots; /* in the order of the identifiers */
    size_t count;
    size_t capacity;
};

/* NO_MEMORY. */
enum status pkcs11_roots_init(struct pkcs11_roots *roots) MUST_USE;
void pkcs11_roots_free(struct pkcs11_roots *roots);

/* Part of an operation: reads the root key from the token: wholly, or only what may have changed
 * since it was read. A purge that was cut off is brought to its end. */
enum pkcs11_extent { PKCS11_CHANGES, PKCS11_WHOLE };
ck_rv_t pkcs11_roots_read(struct pkcs11_roots *roots, const struct pkcs11_session *session,
                          const struct uuid *id, enum pkcs11_extent extent) MUST_USE;

/* What was read last, however old. False: no such root key. `ret_generation` may be NULL. */
bool pkcs11_roots_info(struct pkcs11_roots *roots, const struct uuid *id,
                       struct root_key_info *ret_info, uint64_t *ret_generation);

/* Part of an operation: the key with this version and tag; the newest where `tag` is NULL.
 * *ret_status is ROOT_KEY_UNAVAILABLE when there is none, or the root key is not active. */
ck_rv_t pkcs11_roots_key(struct pkcs11_roots *roots, const struct pkcs11_session *session,
                         const struct uuid *id, uint32_t version, const struct pkcs11_tag *tag,
                         struct pkcs11_key *ret_key, enum status *ret_status) MUST_USE;

/* Whether a key with this version and tag was there when it was read last. */
bool pkcs11_roots_has(struct pkcs11_roots *roots, const struct uuid *id, uint32_t version,
                      const struct pkcs11_tag *tag);

/* What was known of it is not so any more. */
void pkcs11_roots_forget(struct pkcs11_roots *roots, const struct uuid *id);

#endif
