/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key managers of this endpoint, by code. A wrapped blob says which one made it and under which
 * root key, so that an adapter on its way from one to another can be read throughout.
 */
#ifndef KMIPD_KEYMANAGER_KEYMANAGERS_H
#define KMIPD_KEYMANAGER_KEYMANAGERS_H

#include "keymanager/keymanager.h"

/* Not changed while it is in use. */
struct keymanagers {
    struct keymanager *by_code[KEYMANAGER_CODE_MAX + 1]; /* NULL: not configured here */
};

/* NULL when this endpoint has none of this code. */
struct keymanager *keymanagers_get(const struct keymanagers *keymanagers,
                                   enum keymanager_code code);

/* What a blob says of itself, nothing of it authenticated. UNWRAP_FAILED: it is no blob. */
struct wrapped_origin {
    enum keymanager_code code;
    uint32_t version;
    struct wrap_binding binding;
};
enum status wrapped_origin(struct wrapped wrapped, struct wrapped_origin *ret_origin) MUST_USE;

/*
 * The key manager that can open a blob of this object and adapter, and the whole binding with the
 * root key that the blob names (which the key manager authenticates). UNWRAP_FAILED: it is another
 * object's or adapter's; KEY_MANAGER_UNAVAILABLE: its key manager is not configured here.
 */
enum status keymanagers_of(const struct keymanagers *keymanagers, struct wrapped wrapped,
                           const struct uuid *object, const struct uuid *adapter,
                           struct keymanager **ret_keymanager,
                           struct wrap_binding *ret_binding) MUST_USE;

#endif
