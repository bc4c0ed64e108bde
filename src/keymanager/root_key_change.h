/* SPDX-License-Identifier: Apache-2.0 */
/* The changes of keymanager.h, worked out on a copy of a root key. */
#ifndef KMIPD_KEYMANAGER_ROOT_KEY_CHANGE_H
#define KMIPD_KEYMANAGER_ROOT_KEY_CHANGE_H

#include "keymanager/root_keys.h"

enum root_key_task {
    ROOT_KEY_CREATE,
    ROOT_KEY_ROTATE,
    ROOT_KEY_SET_STATE,
    ROOT_KEY_DELETE,
    ROOT_KEY_RESTORE,
    ROOT_KEY_PURGE,
};

/* The arguments of the function of that name; those it does not have are 0. */
struct root_key_change {
    enum root_key_task task;
    struct uuid id;
    const struct secret *material;
    uint32_t from;
    enum root_key_state state;
    int64_t now;
};

/*
 * What the root key becomes, for root_keys_put() once it is durable; NULL where it is so already.
 * Errors as the function of keymanager.h, with a text. The caller sees to it that no other change
 * comes between.
 */
enum status root_key_change(struct root_keys *set, const struct root_key_change *change,
                            struct root_key **ret_changed, struct error *error) MUST_USE;

#endif
