/* SPDX-License-Identifier: Apache-2.0 */
/* Stored objects as back ends and the cache make and measure them; see store.h for the rest. */
#ifndef KMIPD_STORE_OBJECT_H
#define KMIPD_STORE_OBJECT_H

#include "store/store.h"

#define OBJECT_STATE_DESTROYED             5 /* KMIP 1.4 §9.1.3.2.17 */
#define OBJECT_STATE_DESTROYED_COMPROMISED 6
#define OBJECT_STATE_COUNT                 8 /* what store_count() tells apart */

/* Copies a row and the bytes it borrows into one allocation, held once. NO_MEMORY. */
enum status stored_object_copy(const struct object_row *row,
                               struct stored_object **ret_object) MUST_USE;

/* The memory that an object takes, in bytes. */
size_t stored_object_size(const struct stored_object *object);

/* A destroyed object has given up its unique terms, and may be deleted with its adapter. */
static inline bool object_state_destroyed(uint32_t state)
{
    return state == OBJECT_STATE_DESTROYED || state == OBJECT_STATE_DESTROYED_COMPROMISED;
}

#endif
