/* SPDX-License-Identifier: Apache-2.0 */
/* Register (KMIP 1.4 §4.3). The object is the last field and may be any of the kinds of §2.2. */
#include "kmip/payloads.h"

static const struct kmip_field fixed_fields[] = {
    KMIP_FIELD(kmip_register_request, OBJECT_TYPE, ENUMERATION, KMIP_REQUIRED, 0, object_type),
    KMIP_NESTED(kmip_register_request, TEMPLATE_ATTRIBUTE, KMIP_REQUIRED, 0, template_attribute,
                kmip_template_attribute_shape),
};
static const struct kmip_shape fixed_shape = KMIP_SHAPE(kmip_register_request, fixed_fields);

static const uint32_t object_tags[] = {
    KMIP_TAG_CERTIFICATE, KMIP_TAG_SYMMETRIC_KEY, KMIP_TAG_PRIVATE_KEY,
    KMIP_TAG_PUBLIC_KEY,  KMIP_TAG_SPLIT_KEY,     KMIP_TAG_TEMPLATE,
    KMIP_TAG_SECRET_DATA, KMIP_TAG_OPAQUE_OBJECT, KMIP_TAG_PGP_KEY,
};

static bool is_object(const struct ttlv_item *item)
{
    for (size_t i = 0; i < ARRAY_COUNT(object_tags); i++)
        if (item->tag == object_tags[i])
            return item->type == TTLV_STRUCTURE;
    return false;
}

/* Cuts the reader before the object, which is the last item of the payload. */
static enum status split_object(struct ttlv_reader *reader, struct ttlv_item *ret_object)
{
    struct ttlv_reader cursor = *reader;
    struct ttlv_item item = {0};
    const uint8_t *start = cursor.at;
    while (!ttlv_at_end(&cursor)) {
        start = cursor.at;
        if (ttlv_next(&cursor, &item) != STATUS_OK)
            return STATUS_MALFORMED;
    }
    if (!is_object(&item))
        return STATUS_MISSING_DATA;
    reader->end = start;
    *ret_object = item;
    return STATUS_OK;
}

enum status kmip_decode_register_request(struct ttlv_reader reader, struct arena *arena,
                                         struct kmip_register_request *ret_request)
{
    struct ttlv_item object = {0};
    enum status split = split_object(&reader, &object);
    if (split == STATUS_MALFORMED)
        return split;
    enum status status = kmip_decode(&fixed_shape, reader, arena, ret_request);
    if (status != STATUS_OK)
        return status;
    ret_request->object_tag = object.tag;
    ret_request->object = (struct kmip_any){(uint8_t)object.type, object.value};
    return split;
}

void kmip_encode_register_request(const struct kmip_register_request *request, uint16_t version,
                                  struct buffer *buffer)
{
    kmip_encode(&fixed_shape, request, version, buffer);
    if (request->object_tag != 0)
        ttlv_write_raw(buffer, request->object_tag, TTLV_STRUCTURE, request->object.value);
}
