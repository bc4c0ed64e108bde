/* SPDX-License-Identifier: Apache-2.0 */
/* Root keys by what administrators call them, and as they are shown. */
#ifndef KMIPD_DAEMON_ROOT_KEY_NAMES_H
#define KMIPD_DAEMON_ROOT_KEY_NAMES_H

#include "daemon/commands.h"
#include "kms/keys.h"

struct root_key {
    enum keymanager_code code;
    struct keymanager *keymanager;
    bool own; /* of this server's API: it has a row in keys.db */
    struct uuid id;
    char name[KMS_KEY_NAME_MAX + 1]; /* its identifier, where it has none */
};

/* The key manager that the argument `key_manager` names; `otherwise` where it is not given.
 * INVALID_ARGUMENT, NOT_FOUND with a text. */
enum status root_key_manager(struct control_call *call, enum keymanager_code otherwise,
                             enum keymanager_code *ret_code) MUST_USE;

/*
 * The root key that the argument `name` names: by name, alias or identifier, in the key manager that
 * `key_manager` names, or else in this server's own, and then by identifier in the others. Notes it
 * for the audit record. NOT_FOUND with a text.
 */
enum status root_key_find(struct control_call *call, const char *name,
                          struct root_key *ret_key) MUST_USE;
/* The same in this server's own alone. NOT_FOUND; CONFLICT: several are of this name. */
enum status root_key_find_own(struct control_call *call, const char *name,
                              struct root_key *ret_key) MUST_USE;

void root_key_note(struct control_call *call, const struct root_key *key);

/* Puts what is known of a root key into an object. */
enum status root_key_put(struct control_call *call, const struct root_key *key,
                         json_t *object) MUST_USE;
/* Puts all of one key manager, or of all (KEYMANAGER_NONE), into the result. */
enum status root_key_put_all(struct control_call *call, enum keymanager_code only) MUST_USE;

/* Has the objects of all adapters that use it brought under its newest version. */
enum status root_key_rewrap(struct control_call *call, const struct root_key *key) MUST_USE;

#endif
