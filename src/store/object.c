/* SPDX-License-Identifier: Apache-2.0 */
#include "store/object.h"

#include <stdatomic.h>
#include <stdlib.h>

struct counted_object {
    struct stored_object object;
    atomic_uint holders;
    size_t size; /* of the whole allocation */
    uint8_t bytes[];
};

static struct counted_object *counted(const struct stored_object *object)
{
    return CONTAINER_OF((struct stored_object *)object, struct counted_object, object);
}

static struct bytes place(uint8_t **at, struct bytes bytes)
{
    struct bytes placed = bytes_of(*at, bytes.size);
    if (bytes.size > 0)
        memcpy(*at, bytes.data, bytes.size);
    *at += bytes.size;
    return placed;
}

enum status stored_object_copy(const struct object_row *row, struct stored_object **ret_object)
{
    size_t size;
    if (__builtin_add_overflow(row->attributes.size, row->wrapped.blob.size, &size) ||
        __builtin_add_overflow(size, sizeof(struct counted_object), &size))
        return STATUS_NO_MEMORY;
    struct counted_object *copy = malloc(size);
    if (copy == NULL)
        return STATUS_NO_MEMORY;
    uint8_t *at = copy->bytes;
    copy->size = size;
    atomic_init(&copy->holders, 1);
    copy->object.row = *row;
    copy->object.row.attributes = place(&at, row->attributes);
    copy->object.row.wrapped.blob = place(&at, row->wrapped.blob);
    *ret_object = &copy->object;
    return STATUS_OK;
}

size_t stored_object_size(const struct stored_object *object)
{
    return counted(object)->size;
}

void stored_object_hold(struct stored_object *object)
{
    atomic_fetch_add_explicit(&counted(object)->holders, 1, memory_order_relaxed);
}

void stored_object_release(struct stored_object *object)
{
    if (object == NULL)
        return;
    struct counted_object *held = counted(object);
    /* Acquire and release: whoever frees must come after all that the other holders read. */
    if (atomic_fetch_sub_explicit(&held->holders, 1, memory_order_acq_rel) == 1)
        free(held);
}
