/* SPDX-License-Identifier: Apache-2.0 */
/* Add, Modify and Delete Attribute (KMIP 1.4 §4.14-4.16): one shape of answer, the attribute as it
 * was added, modified or deleted. */
#include "core/attributes.h"
#include "core/lifecycle.h"

static enum status answer(struct request *request, struct object *object,
                          const struct attribute *attribute)
{
    struct kmip_named_attribute named = attribute_named(attribute);
    struct kmip_attribute_change change = {.unique_identifier = object_identifier(object),
                                           .attribute = &named};
    enum status status = request_changed(request, object);
    lifecycle_advance(object, request_seconds(request));
    if (status == STATUS_OK)
        kmip_encode(&kmip_attribute_change_shape, &change, request->version, &request->reply);
    return status;
}

typedef enum status attribute_change(struct request *request, struct object *object,
                                     const struct kmip_named_attribute *named,
                                     struct attribute **ret_attribute);

static enum status change(struct request *request, struct ttlv_reader payload,
                          attribute_change *apply)
{
    struct kmip_attribute_change asked;
    struct object *object;
    struct attribute *attribute;
    enum status status =
        kmip_decode(&kmip_attribute_change_shape, payload, &request->arena, &asked);
    if (status == STATUS_OK)
        status = request_edit_object(request, asked.unique_identifier, &object);
    if (status == STATUS_OK)
        status = apply(request, object, asked.attribute, &attribute);
    return status == STATUS_OK ? answer(request, object, attribute) : status;
}

enum status operation_add_attribute(struct request *request, struct ttlv_reader payload)
{
    return change(request, payload, attributes_add);
}

enum status operation_modify_attribute(struct request *request, struct ttlv_reader payload)
{
    return change(request, payload, attributes_modify);
}

enum status operation_delete_attribute(struct request *request, struct ttlv_reader payload)
{
    struct kmip_delete_attribute_request asked;
    struct object *object;
    struct attribute deleted;
    enum status status =
        kmip_decode(&kmip_delete_attribute_request_shape, payload, &request->arena, &asked);
    if (status == STATUS_OK)
        status = request_edit_object(request, asked.unique_identifier, &object);
    if (status == STATUS_OK)
        status = attributes_delete(request, object, asked.attribute_name,
                                   (int32_t)asked.attribute_index.value, &deleted);
    return status == STATUS_OK ? answer(request, object, &deleted) : status;
}
