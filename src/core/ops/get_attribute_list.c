/* SPDX-License-Identifier: Apache-2.0 */
#include "core/attributes.h"

static bool is_first(const struct kmip_named_attribute *items, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (bytes_equal(items[i].name, items[at].name))
            return false;
    return true;
}

/* KMIP 1.4 §4.13: each name once. */
enum status operation_get_attribute_list(struct request *request, struct ttlv_reader payload)
{
    struct kmip_identifier asked;
    struct object *object;
    struct kmip_list view;
    enum status status = kmip_decode(&kmip_identifier_shape, payload, &request->arena, &asked);
    if (status == STATUS_OK)
        status = request_decoded_object(request, asked.unique_identifier, &object);
    if (status == STATUS_OK)
        status = attributes_view(request, object, &view);
    if (status != STATUS_OK)
        return status;
    const struct kmip_named_attribute *items = view.items;
    ttlv_write_text(&request->reply, KMIP_TAG_UNIQUE_IDENTIFIER, object_identifier(object));
    for (size_t i = 0; i < view.count; i++)
        if (is_first(items, i))
            ttlv_write_text(&request->reply, KMIP_TAG_ATTRIBUTE_NAME, items[i].name);
    return STATUS_OK;
}
