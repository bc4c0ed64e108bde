/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root keys in memory, for the providers of this directory that hold them: key bytes in the secret
 * heap alone (see crypto/context.h for what OpenSSL adds while an operation runs). A root key that
 * is in a set is changed by putting another in its place, never directly.
 */
#ifndef KMIPD_KEYMANAGER_ROOT_KEYS_H
#define KMIPD_KEYMANAGER_ROOT_KEYS_H

#include <pthread.h>

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
    bool imported;
    int64_t created;
    int64_t rotated; /* 0: never */
    int64_t deleted; /* 0: not deleted */
    uint32_t newest; /* number of the newest version, also when they are gone */
    struct root_key_version *versions; /* oldest first; none when purged */
    size_t version_count;
};

/* A set, in the order of the identifiers. */
struct root_keys {
    pthread_rwlock_t lock; /* guards all below */
    struct root_key **keys;
    size_t count;
    size_t capacity;
};

/* An active root key without a version. NULL without memory. End: root_key_free(). */
struct root_key *root_key_new(const struct uuid *id, int64_t created);

/* A copy of its own. STATUS_NO_MEMORY, STATUS_CRYPTO_FAILED. */
enum status root_key_copy(const struct root_key *root_key, struct root_key **ret_copy) MUST_USE;

/* Adds a version behind the others and takes over the secret, which is zeroed (also on failure).
 * STATUS_INVALID_ARGUMENT: the number is not above the newest, or the key not AEAD_KEY_SIZE bytes;
 * STATUS_NO_MEMORY; STATUS_CRYPTO_FAILED. */
enum status root_key_add_version(struct root_key *root_key, uint32_t number, int64_t created,
                                 struct secret *key) MUST_USE;

/* Wipes all versions: what is left says that there was such a root key. */
void root_key_erase(struct root_key *root_key);

/* Wipes and frees. NULL is fine. */
void root_key_free(struct root_key *root_key);

/* An empty set. STATUS_NO_MEMORY. End: root_keys_free(). */
enum status root_keys_init(struct root_keys *set) MUST_USE;

/* Wipes and frees everything; no thread may be using the set. */
void root_keys_free(struct root_keys *set);

/* The functions below lock the set and may be called from any thread. */

/* Makes room for one more, so that root_keys_put() succeeds if no other put comes between. */
enum status root_keys_reserve(struct root_keys *set) MUST_USE;

/* Takes over `root_key`, in the place of the one with the same identifier if there is one.
 * STATUS_NO_MEMORY: it stays the caller's. */
enum status root_keys_put(struct root_keys *set, struct root_key *root_key) MUST_USE;

/* A copy of the root key, to be changed and put back. STATUS_NOT_FOUND; as root_key_copy(). */
enum status root_keys_copy(struct root_keys *set, const struct uuid *id,
                           struct root_key **ret_copy) MUST_USE;

/* What a provider answers, out of a set (keymanager.h). */
enum status root_keys_wrap(struct root_keys *set, const struct wrap_binding *binding,
                           const struct secret *plaintext, struct buffer *ret_wrapped) MUST_USE;
enum status root_keys_unwrap(struct root_keys *set, const struct wrap_binding *binding,
                             struct wrapped wrapped, struct secret *ret_plaintext) MUST_USE;
enum status root_keys_rewrap(struct root_keys *set, const struct wrap_binding *binding,
                             struct wrapped wrapped, struct buffer *ret_wrapped) MUST_USE;
enum status root_keys_is_newest(struct root_keys *set, struct wrapped wrapped,
                                bool *ret_newest) MUST_USE;
enum status root_keys_info(struct root_keys *set, const struct uuid *id,
                           struct root_key_info *ret_info) MUST_USE;
/* The visitor may use the set. STATUS_NO_MEMORY. */
enum status root_keys_visit(struct root_keys *set, keymanager_visit_root_key *visit,
                            void *context) MUST_USE;

/* Changes it in place, without a key manager knowing. STATUS_NOT_FOUND. */
enum status root_keys_set_state(struct root_keys *set, const struct uuid *id,
                                enum root_key_state state) MUST_USE;

#endif
