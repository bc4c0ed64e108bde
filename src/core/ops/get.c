/* SPDX-License-Identifier: Apache-2.0 */
#include "core/lifecycle.h"
#include "core/request.h"

/* Formats this server gives out: the one an object was registered in, and Raw. */
static enum status choose_format(const struct object *object, const struct kmip_get_request *asked,
                                 int64_t *ret_format)
{
    int64_t own = KMIP_KEY_FORMAT_TYPE_RAW;
    (void)object_item_number(object, KMIP_TAG_KEY_FORMAT_TYPE, &own);
    int64_t wanted = asked->key_format_type.present ? asked->key_format_type.value : own;
    bool symmetric = object->row.object_type == KMIP_OBJECT_TYPE_SYMMETRIC_KEY;
    bool possible = wanted == own || wanted == KMIP_KEY_FORMAT_TYPE_RAW ||
                    (symmetric && wanted == KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY);
    if (!possible)
        return STATUS_KEY_FORMAT_NOT_SUPPORTED;
    *ret_format = wanted;
    return STATUS_OK;
}

static enum status check_wishes(const struct kmip_get_request *asked)
{
    if (asked->key_compression_type.present)
        return STATUS_KEY_COMPRESSION_NOT_SUPPORTED;
    if (asked->key_wrapping_specification.type != 0)
        return STATUS_FEATURE_NOT_SUPPORTED;
    if (asked->key_wrap_type.present &&
        asked->key_wrap_type.value != KMIP_KEY_WRAP_TYPE_NOT_WRAPPED)
        return STATUS_FEATURE_NOT_SUPPORTED;
    return STATUS_OK;
}

/* §3.48, §3.50: what its owner does not want to leave the server stays here. */
static enum status check_flags(const struct object *object)
{
    int64_t flag;
    if (object_number(object, KMIP_ATTRIBUTE_SENSITIVE, &flag) && flag != 0)
        return STATUS_SENSITIVE;
    if (object_number(object, KMIP_ATTRIBUTE_EXTRACTABLE, &flag) && flag == 0)
        return STATUS_NOT_EXTRACTABLE;
    return STATUS_OK;
}

static void write_number(struct request *request, const struct object *object,
                         enum kmip_attribute id, bool integer)
{
    int64_t number;
    uint32_t tag = kmip_attribute_by_id(id)->tag->number;
    if (!object_number(object, id, &number))
        return;
    if (integer)
        ttlv_write_integer(&request->reply, tag, (int32_t)number);
    else
        ttlv_write_enumeration(&request->reply, tag, (uint32_t)number);
}

/* Straight from the secret to the reply, both locked: no copy of a key is left in between. */
static void write_material(struct buffer *reply, int64_t format, struct bytes material)
{
    if (format != KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY) {
        ttlv_write_byte_string(reply, KMIP_TAG_KEY_MATERIAL, material);
        return;
    }
    size_t structure = ttlv_begin(reply, KMIP_TAG_KEY_MATERIAL);
    ttlv_write_byte_string(reply, KMIP_TAG_KEY, material);
    ttlv_end(reply, structure);
}

static void write_key_block(struct request *request, const struct object *object, int64_t format,
                            struct bytes material)
{
    struct buffer *reply = &request->reply;
    size_t block = ttlv_begin(reply, KMIP_TAG_KEY_BLOCK);
    ttlv_write_enumeration(reply, KMIP_TAG_KEY_FORMAT_TYPE, (uint32_t)format);
    size_t value = ttlv_begin(reply, KMIP_TAG_KEY_VALUE);
    write_material(reply, format, material);
    ttlv_end(reply, value);
    write_number(request, object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM, false);
    write_number(request, object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH, true);
    ttlv_end(reply, block);
}

static void write_item(struct request *request, const struct object *object, uint32_t tag)
{
    int64_t number = 0;
    (void)object_item_number(object, tag, &number);
    ttlv_write_enumeration(&request->reply, tag, (uint32_t)number);
}

static void write_object(struct request *request, const struct object *object, int64_t format,
                         struct bytes material)
{
    struct buffer *reply = &request->reply;
    const struct kmip_object_type_info *type = kmip_object_type_by_code(object->row.object_type);
    size_t structure = ttlv_begin(reply, type->tag);
    if (object->row.object_type == KMIP_OBJECT_TYPE_SECRET_DATA)
        write_item(request, object, KMIP_TAG_SECRET_DATA_TYPE);
    if (object->row.object_type == KMIP_OBJECT_TYPE_OPAQUE_OBJECT) {
        write_item(request, object, KMIP_TAG_OPAQUE_DATA_TYPE);
        ttlv_write_byte_string(reply, KMIP_TAG_OPAQUE_DATA_VALUE, material);
    } else {
        write_key_block(request, object, format, material);
    }
    ttlv_end(reply, structure);
}

/* §3.34: an object is no longer Fresh once it has been served. Where the store cannot write now,
 * serving the key matters more. */
static enum status note_served(struct request *request, struct object *object)
{
    int64_t fresh;
    struct object *edit;
    if (request->skip_optional || !object_number(object, KMIP_ATTRIBUTE_FRESH, &fresh) ||
        fresh == 0 || store_health(request->core->store) != STATUS_OK)
        return STATUS_OK;
    enum status status = request_edit(request, object, &edit);
    if (status != STATUS_OK)
        return status;
    edit->optional = true;
    return object_set(edit, &request->arena, KMIP_ATTRIBUTE_FRESH,
                      value_boolean(&request->arena, false));
}

/* KMIP 1.4 §4.11. In every state but destroyed: vCenter reads keys while they are Pre-Active, and
 * data under a deactivated key must still be read. */
enum status operation_get(struct request *request, struct ttlv_reader payload)
{
    struct kmip_get_request asked;
    struct object *object;
    struct secret material;
    int64_t format;
    enum status status = kmip_decode(&kmip_get_request_shape, payload, &request->arena, &asked);
    if (status == STATUS_OK)
        status = request_object(request, asked.unique_identifier, &object);
    if (status != STATUS_OK)
        return status;
    if (lifecycle_is_destroyed(object))
        return STATUS_OBJECT_NOT_FOUND;
    status = check_wishes(&asked);
    if (status == STATUS_OK)
        status = check_flags(object);
    if (status == STATUS_OK)
        status = choose_format(object, &asked, &format);
    if (status == STATUS_OK)
        status = request_unwrap(request, object, &material);
    if (status != STATUS_OK)
        return status;
    ttlv_write_enumeration(&request->reply, KMIP_TAG_OBJECT_TYPE, object->row.object_type);
    ttlv_write_text(&request->reply, KMIP_TAG_UNIQUE_IDENTIFIER, object_identifier(object));
    write_object(request, object, format, secret_bytes(&material));
    secret_free(&material);
    return note_served(request, object);
}
