/* SPDX-License-Identifier: Apache-2.0 */
/* Attribute values in their wire form: made in an arena, and read. A value of type 0 means that the
 * arena was at its maximum (when made) or that there is none (when read). */
#ifndef KMIPD_KMIP_VALUE_H
#define KMIPD_KMIP_VALUE_H

#include "kmip/codec.h"

struct kmip_any value_integer(struct arena *arena, int32_t value);
struct kmip_any value_enumeration(struct arena *arena, uint32_t value);
struct kmip_any value_boolean(struct arena *arena, bool value);
struct kmip_any value_date_time(struct arena *arena, int64_t seconds);
struct kmip_any value_interval(struct arena *arena, uint32_t seconds);
/* Borrows `text`, which must live as long as the value. */
struct kmip_any value_text(struct bytes text);
/* A Structure: the fields of `structure` in the newest version of its shape. */
struct kmip_any value_structure(struct arena *arena, const struct kmip_shape *shape,
                                const void *structure);

/* The number in an Integer, Long Integer, Enumeration, Boolean, Date Time or Interval; 0 for any
 * other type. */
int64_t value_number(const struct kmip_any *value);

bool value_equal(const struct kmip_any *a, const struct kmip_any *b);

#endif
