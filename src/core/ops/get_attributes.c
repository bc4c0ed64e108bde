/* SPDX-License-Identifier: Apache-2.0 */
#include "core/attributes.h"

static bool is_repeated(const struct bytes *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            if (bytes_equal(names[i], names[j]))
                return true;
    return false;
}

static void write_named(struct request *request, const struct kmip_list *view, struct bytes name)
{
    const struct kmip_named_attribute *items = view->items;
    for (size_t i = 0; i < view->count; i++)
        if (bytes_equal(items[i].name, name))
            kmip_encode_structure(KMIP_TAG_ATTRIBUTE, &kmip_named_attribute_shape, &items[i],
                                  request->version, &request->reply);
}

static void write_all(struct request *request, const struct kmip_list *view)
{
    const struct kmip_named_attribute *items = view->items;
    for (size_t i = 0; i < view->count; i++)
        kmip_encode_structure(KMIP_TAG_ATTRIBUTE, &kmip_named_attribute_shape, &items[i],
                              request->version, &request->reply);
}

/* KMIP 1.4 §4.12. A name that the object does not have is left out: vCenter asks for its own x-
 * attributes before it adds them. */
enum status operation_get_attributes(struct request *request, struct ttlv_reader payload)
{
    struct kmip_get_attributes_request asked;
    struct object *object;
    struct kmip_list view;
    enum status status =
        kmip_decode(&kmip_get_attributes_request_shape, payload, &request->arena, &asked);
    if (status != STATUS_OK)
        return status;
    const struct bytes *names = asked.attribute_names.items;
    if (is_repeated(names, asked.attribute_names.count))
        return STATUS_CONTRADICTION; /* §11.13 */
    status = request_decoded_object(request, asked.unique_identifier, &object);
    if (status == STATUS_OK)
        status = attributes_view(request, object, &view);
    if (status != STATUS_OK)
        return status;
    ttlv_write_text(&request->reply, KMIP_TAG_UNIQUE_IDENTIFIER, object_identifier(object));
    if (asked.attribute_names.count == 0)
        write_all(request, &view);
    for (size_t i = 0; i < asked.attribute_names.count; i++)
        write_named(request, &view, names[i]);
    return STATUS_OK;
}
