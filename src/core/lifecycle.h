/* SPDX-License-Identifier: Apache-2.0 */
/* The states of managed objects and what moves them (KMIP 1.4 §3.22; def/states.def). */
#ifndef KMIPD_CORE_LIFECYCLE_H
#define KMIPD_CORE_LIFECYCLE_H

#include "core/object.h"

/* True if objects of this type have a State at all: all cryptographic objects do. */
bool lifecycle_has_state(uint32_t object_type);

/*
 * The state at `seconds`: dates that have been reached move an object without anybody asking
 * (Activation Date, Deactivation Date). Sets row.state; stored is what it was when last changed.
 */
void lifecycle_advance(struct object *object, int64_t seconds);

/*
 * Moves the object by `cause` and sets the date that goes with it. PERMISSION_DENIED where the
 * standard has no such transition; ILLEGAL_OPERATION for objects without states.
 */
enum status lifecycle_move(struct object *object, struct arena *arena, enum kmip_cause cause,
                           int64_t seconds) MUST_USE;

/* True once an object has been destroyed, with or without states. */
bool lifecycle_is_destroyed(const struct object *object);

/*
 * The states that stored objects may have that are now in one of `states` (bits as
 * STORE_STATE_BIT): what to ask the store for.
 */
uint32_t lifecycle_stored_states(uint32_t states);

#endif
