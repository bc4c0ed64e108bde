/* SPDX-License-Identifier: Apache-2.0 */
/* What key managers that hold their root keys in this process's memory have in common: all of
 * keymanager.h but where the root keys are kept. Inside src/keymanager/ only. */
#ifndef KMIPD_KEYMANAGER_LOCAL_H
#define KMIPD_KEYMANAGER_LOCAL_H

#include <stdatomic.h>

#include "keymanager/root_keys.h"

struct local_keymanager;

/* Makes the root keys held, with `changed` (may be NULL) among them, durable. Called with `change`
 * locked. */
typedef enum status local_save(struct local_keymanager *self, const struct root_key *changed,
                               struct error *error);

/* The first member of such a provider's struct. */
struct local_keymanager {
    struct keymanager keymanager; /* first */
    struct root_keys keys;
    pthread_mutex_t change; /* one change at a time */
    local_save *save;       /* NULL: nothing is durable */
    _Atomic enum status failure; /* what all functions answer; STATUS_OK: they work */
};

/* STATUS_NO_MEMORY. End: local_end(). */
enum status local_init(struct local_keymanager *self, const struct keymanager_provider *provider,
                       local_save *save) MUST_USE;
/* Wipes and frees what local_init() made and what was put into it. */
void local_end(struct local_keymanager *self);

/* The functions of a provider, by the names they have there. */
enum status local_wrap(struct keymanager *self, const struct wrap_binding *binding,
                       const struct secret *plaintext, struct buffer *ret_wrapped);
enum status local_unwrap(struct keymanager *self, const struct wrap_binding *binding,
                         struct wrapped wrapped, struct secret *ret_plaintext,
                         struct buffer *ret_rewrapped);
enum status local_rewrap(struct keymanager *self, const struct wrap_binding *binding,
                         struct wrapped wrapped, struct buffer *ret_wrapped);
enum status local_create_root_key(struct keymanager *self, const struct root_key_wish *wish,
                                  struct uuid *ret_root_key, struct error *error);
enum status local_rotate(struct keymanager *self, const struct uuid *root_key, uint32_t from,
                         const struct secret *material, int64_t now, struct error *error);
enum status local_set_state(struct keymanager *self, const struct uuid *root_key,
                            enum root_key_state state, struct error *error);
enum status local_delete(struct keymanager *self, const struct uuid *root_key, int64_t now,
                         struct error *error);
enum status local_restore(struct keymanager *self, const struct uuid *root_key,
                          struct error *error);
enum status local_purge(struct keymanager *self, const struct uuid *root_key,
                        struct error *error);
enum status local_root_key_info(struct keymanager *self, const struct uuid *root_key,
                                struct root_key_info *ret_info);
enum status local_root_keys(struct keymanager *self, keymanager_visit_root_key *visit,
                            void *context);
enum status local_is_newest(struct keymanager *self, struct wrapped wrapped, bool *ret_newest);

#endif
