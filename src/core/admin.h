/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an administrator does with managed objects, beside KMIP: look at them, find them by what
 * vSphere wrote on them, destroy, restore, make one by hand. No key material comes through here.
 * All functions block until the change is on stable storage, and may be called from any thread
 * with a session of that thread. The caller writes the audit record.
 */
#ifndef KMIPD_CORE_ADMIN_H
#define KMIPD_CORE_ADMIN_H

#include "core/core.h"
#include "kmip/payloads.h"

/* An object as shown; everything borrowed during the visit. */
struct core_admin_object {
    struct uuid id;
    uint32_t object_type; /* enum kmip_object_type */
    uint32_t state;       /* enum kmip_state now, dates considered; 0: an object without states */
    int64_t sequence;     /* order of creation: `after` for the next page */
    struct kmip_list attributes; /* struct kmip_named_attribute, as a KMIP 1.4 client sees them */
};

/* Return false to stop. */
typedef bool core_admin_visit(void *context, const struct core_admin_object *object);

/* An attribute of text (x-Name, Name, Contact Information, ...) and the value it must have. */
struct core_admin_filter {
    struct bytes name;
    struct bytes value;
};

struct core_admin_query {
    const struct core_admin_filter *filters; /* all of them */
    size_t filter_count;
    uint32_t states; /* STORE_STATE_BIT of each wanted; 0: all but destroyed ones */
    int64_t after;   /* only objects made later than that sequence; 0: from the first */
    size_t skip;     /* so many that match are passed over first; without filters only */
    size_t limit;    /* at most so many are visited */
};

/* Visits the adapter's objects that match, oldest first. */
enum status core_admin_find(struct core *core, struct store_session *store,
                            const struct adapter_row *adapter, const struct core_admin_query *query,
                            core_admin_visit *visit, void *context) MUST_USE;

/* How many objects are now in one of these states (bits; 0: all but destroyed ones). Looks at each
 * that may be. */
enum status core_admin_count(struct core *core, struct store_session *store,
                             const struct adapter_row *adapter, uint32_t states,
                             int64_t *ret_count) MUST_USE;

/* Visits one object, destroyed or not. OBJECT_NOT_FOUND. */
enum status core_admin_show(struct core *core, struct store_session *store,
                            const struct adapter_row *adapter, const struct uuid *id,
                            core_admin_visit *visit, void *context) MUST_USE;

/*
 * Destroys an object: its key material is gone, for good. An Active one only with `force`, which
 * deactivates it first. OBJECT_NOT_FOUND; PERMISSION_DENIED: Active and no force, or destroyed
 * before.
 */
enum status core_admin_destroy(struct core *core, struct store_session *store,
                               const struct adapter_row *adapter, const struct uuid *id,
                               bool force) MUST_USE;

/*
 * Makes a Deactivated object Active again, which KMIP has no operation for and vSphere asks
 * administrators to do: takes away Deactivation Date and Revocation Reason. PERMISSION_DENIED in
 * any other state (a compromised key stays so). OBJECT_NOT_FOUND.
 */
enum status core_admin_restore(struct core *core, struct store_session *store,
                               const struct adapter_row *adapter, const struct uuid *id) MUST_USE;

/*
 * Makes an Active AES-256 key with Encrypt and Decrypt, for a client that wants the identifier of a
 * key that is there (vSphere Trust Authority). `name` may be empty. NAME_EXISTS.
 */
enum status core_admin_create_key(struct core *core, struct store_session *store,
                                  const struct adapter_row *adapter, struct bytes name,
                                  struct uuid *ret_id) MUST_USE;

/*
 * Appends an attribute's value as text for people: enumerations by name, dates in RFC 3339,
 * structures as their fields. Byte strings in hex.
 */
void core_admin_value_text(const struct kmip_named_attribute *attribute, struct buffer *text);

#endif
