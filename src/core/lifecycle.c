/* SPDX-License-Identifier: Apache-2.0 */
#include "core/lifecycle.h"

bool lifecycle_has_state(uint32_t object_type)
{
    const struct kmip_object_type_info *type = kmip_object_type_by_code(object_type);
    return type != NULL && (type->classes & KMIP_OBJECT_CLASS_CRYPTOGRAPHIC) != 0;
}

bool lifecycle_is_destroyed(const struct object *object)
{
    return object->row.state == KMIP_STATE_DESTROYED ||
           object->row.state == KMIP_STATE_DESTROYED_COMPROMISED;
}

static bool reached(const struct object *object, enum kmip_attribute date, int64_t seconds)
{
    int64_t when;
    return object_number(object, date, &when) && when <= seconds;
}

static void advance_by(struct object *object, enum kmip_cause cause)
{
    enum kmip_state next;
    if (kmip_state_after((enum kmip_state)object->row.state, cause, &next))
        object->row.state = next;
}

void lifecycle_advance(struct object *object, int64_t seconds)
{
    if (object->row.state == KMIP_STATE_PRE_ACTIVE &&
        reached(object, KMIP_ATTRIBUTE_ACTIVATION_DATE, seconds))
        advance_by(object, KMIP_CAUSE_ACTIVATION_DATE);
    if (object->row.state == KMIP_STATE_ACTIVE &&
        reached(object, KMIP_ATTRIBUTE_DEACTIVATION_DATE, seconds))
        advance_by(object, KMIP_CAUSE_DEACTIVATION_DATE);
}

/* The date that each cause sets. COMPROMISE sets its two dates in Revoke. */
static const struct {
    bool sets;
    enum kmip_attribute date;
} dates[] = {
    [KMIP_CAUSE_ACTIVATE] = {true, KMIP_ATTRIBUTE_ACTIVATION_DATE},
    [KMIP_CAUSE_REVOKE] = {true, KMIP_ATTRIBUTE_DEACTIVATION_DATE},
    [KMIP_CAUSE_COMPROMISE] = {true, KMIP_ATTRIBUTE_COMPROMISE_DATE},
    [KMIP_CAUSE_DESTROY] = {true, KMIP_ATTRIBUTE_DESTROY_DATE},
};

enum status lifecycle_move(struct object *object, struct arena *arena, enum kmip_cause cause,
                           int64_t seconds)
{
    enum kmip_state next;
    if (!lifecycle_has_state(object->row.object_type))
        return STATUS_ILLEGAL_OPERATION;
    if (!kmip_state_after((enum kmip_state)object->row.state, cause, &next))
        return STATUS_PERMISSION_DENIED;
    object->row.state = next;
    if ((size_t)cause >= ARRAY_COUNT(dates) || !dates[cause].sets)
        return STATUS_OK;
    enum status status =
        object_set(object, arena, dates[cause].date, value_date_time(arena, seconds));
    lifecycle_advance(object, seconds); /* its Deactivation Date may be past */
    return status;
}

uint32_t lifecycle_stored_states(uint32_t states)
{
    uint32_t stored = states;
    if ((states & STORE_STATE_BIT(KMIP_STATE_ACTIVE)) != 0)
        stored |= STORE_STATE_BIT(KMIP_STATE_PRE_ACTIVE);
    if ((states & STORE_STATE_BIT(KMIP_STATE_DEACTIVATED)) != 0)
        stored |= STORE_STATE_BIT(KMIP_STATE_PRE_ACTIVE) | STORE_STATE_BIT(KMIP_STATE_ACTIVE);
    return stored;
}
