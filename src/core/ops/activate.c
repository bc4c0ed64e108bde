/* SPDX-License-Identifier: Apache-2.0 */
#include "core/lifecycle.h"
#include "core/request.h"

/* Writes the answer that is a Unique Identifier alone. */
static void answer(struct request *request, const struct object *object)
{
    ttlv_write_text(&request->reply, KMIP_TAG_UNIQUE_IDENTIFIER, object_identifier(object));
}

/* KMIP 1.4 §4.19. Pre-Active objects only. */
enum status operation_activate(struct request *request, struct ttlv_reader payload)
{
    struct kmip_identifier asked;
    struct object *object;
    enum status status = kmip_decode(&kmip_identifier_shape, payload, &request->arena, &asked);
    if (status == STATUS_OK)
        status = request_edit_object(request, asked.unique_identifier, &object);
    if (status == STATUS_OK)
        status =
            lifecycle_move(object, &request->arena, KMIP_CAUSE_ACTIVATE, request_seconds(request));
    if (status == STATUS_OK)
        status = request_changed(request, object);
    if (status == STATUS_OK)
        answer(request, object);
    return status;
}
