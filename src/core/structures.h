/* SPDX-License-Identifier: Apache-2.0 */
/* The structures that are values of attributes (KMIP 1.4 §3): their fields, where core itself makes
 * or compares them. */
#ifndef KMIPD_CORE_STRUCTURES_H
#define KMIPD_CORE_STRUCTURES_H

#include "kmip/payloads.h"

/* §3.2 */
struct structure_name {
    struct bytes value;
    struct kmip_number type;
};
extern const struct kmip_shape structure_name_shape;

/* §3.35 */
struct structure_link {
    struct kmip_number type;
    struct bytes linked_object_identifier;
};
extern const struct kmip_shape structure_link_shape;

/* §3.36; the data may be left out in a request that lets the server choose it. */
struct structure_application_information {
    struct bytes name_space;
    struct bytes data;
};
extern const struct kmip_shape structure_application_information_shape;

/* §3.40 */
struct structure_alternative_name {
    struct bytes value;
    struct kmip_number type;
};
extern const struct kmip_shape structure_alternative_name_shape;

/* §3.17; Key Format Type since 1.1 */
struct structure_digest {
    struct kmip_number hashing_algorithm;
    struct bytes value;
    struct kmip_number key_format_type;
};
extern const struct kmip_shape structure_digest_shape;

/* §3.21 */
struct structure_usage_limits {
    struct kmip_number total;
    struct kmip_number count;
    struct kmip_number unit;
};
extern const struct kmip_shape structure_usage_limits_shape;

/*
 * Whether `value` has all the fields that its attribute (by tag) requires, in order and of the
 * right types. Attributes whose structure core does not look into: true.
 */
bool structure_complete(uint32_t tag, const struct kmip_any *value, struct arena *arena);

#endif
