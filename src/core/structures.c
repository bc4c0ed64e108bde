/* SPDX-License-Identifier: Apache-2.0 */
#include "core/structures.h"

static const struct kmip_field name_fields[] = {
    KMIP_FIELD(structure_name, NAME_VALUE, TEXT_STRING, KMIP_REQUIRED, 0, value),
    KMIP_FIELD(structure_name, NAME_TYPE, ENUMERATION, KMIP_REQUIRED, 0, type),
};
const struct kmip_shape structure_name_shape = KMIP_SHAPE(structure_name, name_fields);

static const struct kmip_field link_fields[] = {
    KMIP_FIELD(structure_link, LINK_TYPE, ENUMERATION, KMIP_REQUIRED, 0, type),
    KMIP_FIELD(structure_link, LINKED_OBJECT_IDENTIFIER, TEXT_STRING, KMIP_REQUIRED, 0,
               linked_object_identifier),
};
const struct kmip_shape structure_link_shape = KMIP_SHAPE(structure_link, link_fields);

static const struct kmip_field application_information_fields[] = {
    KMIP_FIELD(structure_application_information, APPLICATION_NAMESPACE, TEXT_STRING, KMIP_REQUIRED,
               0, name_space),
    KMIP_FIELD(structure_application_information, APPLICATION_DATA, TEXT_STRING, KMIP_REQUIRED, 0,
               data),
};
const struct kmip_shape structure_application_information_shape =
    KMIP_SHAPE(structure_application_information, application_information_fields);

static const struct kmip_field alternative_name_fields[] = {
    KMIP_FIELD(structure_alternative_name, ALTERNATIVE_NAME_VALUE, TEXT_STRING, KMIP_REQUIRED, 0,
               value),
    KMIP_FIELD(structure_alternative_name, ALTERNATIVE_NAME_TYPE, ENUMERATION, KMIP_REQUIRED, 0,
               type),
};
const struct kmip_shape structure_alternative_name_shape =
    KMIP_SHAPE(structure_alternative_name, alternative_name_fields);

static const struct kmip_field digest_fields[] = {
    KMIP_FIELD(structure_digest, HASHING_ALGORITHM, ENUMERATION, KMIP_REQUIRED, 0,
               hashing_algorithm),
    KMIP_FIELD(structure_digest, DIGEST_VALUE, BYTE_STRING, KMIP_REQUIRED, 0, value),
    KMIP_FIELD(structure_digest, KEY_FORMAT_TYPE, ENUMERATION, 0, KMIP_VERSION_1_1,
               key_format_type),
};
const struct kmip_shape structure_digest_shape = KMIP_SHAPE(structure_digest, digest_fields);

static const struct kmip_field usage_limits_fields[] = {
    KMIP_FIELD(structure_usage_limits, USAGE_LIMITS_TOTAL, LONG_INTEGER, KMIP_REQUIRED, 0, total),
    KMIP_FIELD(structure_usage_limits, USAGE_LIMITS_COUNT, LONG_INTEGER, 0, 0, count),
    KMIP_FIELD(structure_usage_limits, USAGE_LIMITS_UNIT, ENUMERATION, KMIP_REQUIRED, 0, unit),
};
const struct kmip_shape structure_usage_limits_shape =
    KMIP_SHAPE(structure_usage_limits, usage_limits_fields);

static const struct {
    uint32_t tag;
    const struct kmip_shape *shape;
} shapes[] = {
    {KMIP_TAG_NAME, &structure_name_shape},
    {KMIP_TAG_LINK, &structure_link_shape},
    {KMIP_TAG_APPLICATION_SPECIFIC_INFORMATION, &structure_application_information_shape},
    {KMIP_TAG_ALTERNATIVE_NAME, &structure_alternative_name_shape},
    {KMIP_TAG_DIGEST, &structure_digest_shape},
    {KMIP_TAG_USAGE_LIMITS, &structure_usage_limits_shape},
    {KMIP_TAG_RANDOM_NUMBER_GENERATOR, &kmip_rng_parameters_shape},
};

/* The largest of the structs above. */
union any_structure {
    struct structure_name name;
    struct structure_link link;
    struct structure_application_information application_information;
    struct structure_alternative_name alternative_name;
    struct structure_digest digest;
    struct structure_usage_limits usage_limits;
    struct kmip_rng_parameters rng_parameters;
};

bool structure_complete(uint32_t tag, const struct kmip_any *value, struct arena *arena)
{
    for (size_t i = 0; i < ARRAY_COUNT(shapes); i++) {
        union any_structure structure;
        if (shapes[i].tag == tag)
            return kmip_decode(shapes[i].shape, ttlv_reader_over(value->value), arena,
                               &structure) == STATUS_OK;
    }
    return true;
}
