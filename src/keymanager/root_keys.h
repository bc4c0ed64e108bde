/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root keys in memory, for the providers of this directory that hold them: key bytes in the secret
 * heap alone (see crypto/context.h for what OpenSSL adds while an operation runs). Not locked: the
 * provider sees to it that nobody changes the set while others use it.
 */
#ifndef KMIPD_KEYMANAGER_ROOT_KEYS_H
#define KMIPD_KEYMANAGER_ROOT_KEYS_H

#include "crypto/aead.h"
#include "keymanager/keymanager.h"

struct root_key_version {
    uint32_t number; /* from 1, ascending */
    int64_t created; /* milliseconds since 1970 */
    struct secret key;
    struct aead_key *aead; /* the same key, ready for use */
};

struct root_key {
    struct uuid id;
    enum root_key_state state;
    int64_t created;
    struct root_key_version *versions; /* oldest first; none when destroyed */
    size_t version_count;
};

/* A set, in the order of the identifiers. Zeroed: empty. End: root_keys_free(). */
struct root_keys {
    struct root_key **keys;
    size_t count;
    size_t capacity;
};

/* An active root key without a version. NULL without memory. End: root_key_free(). */
struct root_key *root_key_new(const struct uuid *id, int64_t created);

/* A new root key with a new identifier and a random version 1. STATUS_NO_MEMORY,
 * STATUS_CRYPTO_FAILED. */
enum status root_key_make(int64_t now, struct root_key **ret_root_key) MUST_USE;

/* Adds a version behind the others and takes over the secret, which is zeroed (also on failure).
 * STATUS_INVALID_ARGUMENT: the number is not above the newest, or the key not AEAD_KEY_SIZE bytes;
 * STATUS_NO_MEMORY; STATUS_CRYPTO_FAILED. */
enum status root_key_add_version(struct root_key *root_key, uint32_t number, int64_t created,
                                 struct secret *key) MUST_USE;

/* Wipes and frees. NULL is fine. */
void root_key_free(struct root_key *root_key);

/* Makes room for one more, so that the next root_keys_put() cannot fail. */
enum status root_keys_reserve(struct root_keys *set) MUST_USE;

/* Takes over `root_key`, in the place of the one with the same identifier if there is one. Room
 * was reserved. */
void root_keys_put(struct root_keys *set, struct root_key *root_key);

/* NULL if there is none. Borrowed from the set. */
struct root_key *root_keys_find(const struct root_keys *set, const struct uuid *id);

void root_keys_free(struct root_keys *set);

/* The functions of a provider, on a set. */
enum status root_keys_wrap(const struct root_keys *set, const struct wrap_binding *binding,
                           const struct secret *plaintext, struct buffer *ret_wrapped) MUST_USE;
enum status root_keys_unwrap(const struct root_keys *set, const struct wrap_binding *binding,
                             struct wrapped wrapped, struct secret *ret_plaintext) MUST_USE;
enum status root_keys_info(const struct root_keys *set, const struct uuid *id,
                           struct root_key_info *ret_info) MUST_USE;

#endif
