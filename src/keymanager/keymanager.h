/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key manager keeps root keys, and wraps and unwraps with them; it never gives one out. This is
 * the interface; src/keymanager/ has the providers. All functions may be called from any thread
 * and may block (a provider may stand behind a socket or a network).
 */
#ifndef KMIPD_KEYMANAGER_KEYMANAGER_H
#define KMIPD_KEYMANAGER_KEYMANAGER_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/secret.h"
#include "base/uuid.h"
#include "crypto/wrapped.h"

#define KEYMANAGER_PLAINTEXT_MAX ((size_t)1 << 20) /* of one wrap */

struct keymanager;

/* What a wrapped blob belongs to. It is authenticated, and repeated inside the blob: a blob moved
 * to another object or adapter, or under another root key, does not open. */
struct wrap_binding {
    struct uuid object;
    struct uuid adapter;
    struct uuid root_key;
};

enum root_key_state {
    ROOT_KEY_ACTIVE = 1,
    ROOT_KEY_SUSPENDED = 2,
    ROOT_KEY_DESTROYED = 5,
};

struct root_key_info {
    struct uuid id;
    enum root_key_state state;
    uint32_t version; /* the newest, counted from 1; new wraps use it */
    int64_t created;  /* milliseconds since 1970 */
};

/* A provider. `self` is what its own open function made. Outputs are untouched on failure. */
struct keymanager_provider {
    const char *name; /* "sealed-file", ... */
    enum status (*wrap)(struct keymanager *self, const struct wrap_binding *binding,
                        const struct secret *plaintext, struct buffer *ret_wrapped);
    enum status (*unwrap)(struct keymanager *self, const struct wrap_binding *binding,
                          struct wrapped wrapped, struct secret *ret_plaintext);
    enum status (*create_root_key)(struct keymanager *self, int64_t now, struct uuid *ret_root_key,
                                   struct error *error);
    enum status (*root_key_info)(struct keymanager *self, const struct uuid *root_key,
                                 struct root_key_info *ret_info);
    void (*close)(struct keymanager *self);
};

/* The first member of every provider's own struct. */
struct keymanager {
    const struct keymanager_provider *provider;
};

/*
 * Appends the wrapped form of `plaintext` (at most 1 MiB; at most WRAPPED_OVERHEAD_MAX bytes
 * longer) to `ret_wrapped`, under the newest version of the binding's root key.
 * ROOT_KEY_UNAVAILABLE: no such root key, or it is suspended or destroyed;
 * KEY_MANAGER_UNAVAILABLE: try again; WRAP_FAILED; NO_MEMORY; TOO_LARGE.
 */
enum status keymanager_wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                            const struct secret *plaintext, struct buffer *ret_wrapped) MUST_USE;

/*
 * Opens a wrapped blob under the root key version it names. The caller frees *ret_plaintext.
 * UNWRAP_FAILED: changed, or bound to something else; ROOT_KEY_UNAVAILABLE also when the root key
 * has no such version (the key manager was restored from before a rotation); others as
 * keymanager_wrap().
 */
enum status keymanager_unwrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                              struct wrapped wrapped, struct secret *ret_plaintext) MUST_USE;

/* Makes a root key inside the key manager, durable before it returns. */
enum status keymanager_create_root_key(struct keymanager *keymanager, int64_t now,
                                       struct uuid *ret_root_key, struct error *error) MUST_USE;

/* STATUS_NOT_FOUND if there is no such root key. */
enum status keymanager_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                                     struct root_key_info *ret_info) MUST_USE;

/* Wipes and frees everything. NULL is fine. */
void keymanager_close(struct keymanager *keymanager);

#endif
