/* SPDX-License-Identifier: Apache-2.0 */
#include "core/lifecycle.h"
#include "core/request.h"

/* Objects without states (opaque objects) are destroyed by their Destroy Date; the stored state is
 * what keeps their Names free for others. */
static enum status destroy_stateless(struct request *request, struct object *object)
{
    if (lifecycle_is_destroyed(object))
        return STATUS_PERMISSION_DENIED;
    object->row.state = KMIP_STATE_DESTROYED;
    return object_set(object, &request->arena, KMIP_ATTRIBUTE_DESTROY_DATE,
                      value_date_time(&request->arena, request_seconds(request)));
}

/* The key material goes, the attributes stay. */
enum status request_destroy(struct request *request, struct object *object)
{
    enum status status =
        lifecycle_has_state(object->row.object_type)
            ? lifecycle_move(object, &request->arena, KMIP_CAUSE_DESTROY, request_seconds(request))
            : destroy_stateless(request, object);
    if (status == STATUS_OK)
        status = request_changed(request, object);
    if (status == STATUS_OK) {
        object->row.wrapped = (struct wrapped){0};
        object->key = NULL;
    }
    return status;
}

/* KMIP 1.4 §4.21. Not while Active. */
enum status operation_destroy(struct request *request, struct ttlv_reader payload)
{
    struct kmip_identifier asked;
    struct object *object;
    enum status status = kmip_decode(&kmip_identifier_shape, payload, &request->arena, &asked);
    if (status == STATUS_OK)
        status = request_edit_object(request, asked.unique_identifier, &object);
    if (status == STATUS_OK)
        status = request_destroy(request, object);
    if (status == STATUS_OK)
        ttlv_write_text(&request->reply, KMIP_TAG_UNIQUE_IDENTIFIER, object_identifier(object));
    return status;
}
