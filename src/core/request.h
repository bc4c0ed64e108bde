/* SPDX-License-Identifier: Apache-2.0 */
/* What operations use of the request they run in. */
#ifndef KMIPD_CORE_REQUEST_H
#define KMIPD_CORE_REQUEST_H

#include "core/core.h"
#include "core/object.h"
#include "core/uuid_set.h"
#include "kmip/payloads.h"

struct key_cache;
struct credential_cache;

struct core {
    struct store *store;
    const struct keymanagers *keymanagers;
    struct clock *clock;
    struct core_options options;
    struct key_cache *keys;
    struct uuid_set blocked;   /* root keys that are not active */
    struct uuid_set withdrawn; /* objects whose keys are not given out */
    pthread_mutex_t lock;
    pthread_cond_t idle;
    size_t in_background; /* keys that are being fetched; under the lock */
    struct credential_cache *credentials;
};

/* Runs one batch item: decodes the payload, acts, and appends the fields of the response payload
 * to request->reply. */
typedef enum status operation_run(struct request *request, struct ttlv_reader payload);

struct operation {
    uint32_t code; /* enum kmip_operation */
    operation_run *run;
};

/* The operations that this server has, in the order of their codes (core/operations.c). */
extern const struct operation operations[];
extern const size_t operation_count;
const struct operation *operation_by_code(uint32_t code);

/* Operations, one file each in core/ops/. */
operation_run operation_activate, operation_add_attribute, operation_check, operation_create,
    operation_delete_attribute, operation_destroy, operation_discover_versions, operation_get,
    operation_get_attribute_list, operation_get_attributes, operation_locate,
    operation_modify_attribute, operation_query, operation_register, operation_rekey,
    operation_revoke;

/* Seconds since 1970: KMIP's dates. */
static inline int64_t request_seconds(const struct request *request)
{
    return request->now / 1000;
}

/*
 * The object that a payload names, or the one of the ID Placeholder when it names none (KMIP 1.4
 * §4): read from the store, or as this request has changed it already. Owned by the request.
 * OBJECT_NOT_FOUND for identifiers that are unknown, malformed or of another adapter.
 */
enum status request_object(struct request *request, struct bytes unique_identifier,
                           struct object **ret_object) MUST_USE;

/* The same, with its attributes decoded. */
enum status request_decoded_object(struct request *request, struct bytes unique_identifier,
                                   struct object **ret_object) MUST_USE;

/*
 * The same, to be changed: a copy that takes the object's place when the batch item succeeds, and
 * is forgotten when it fails.
 */
enum status request_edit_object(struct request *request, struct bytes unique_identifier,
                                struct object **ret_object) MUST_USE;

/* An editable copy of an object that request_object() gave. */
enum status request_edit(struct request *request, struct object *object,
                         struct object **ret_object) MUST_USE;

/* A new object of this request's adapter, with an identifier, that will be inserted when the batch
 * item succeeds. */
enum status request_new_object(struct request *request, uint32_t object_type,
                               struct object **ret_object) MUST_USE;

/* Notes that an edited object was changed by a client's wish: sets Last Change Date. */
enum status request_changed(struct request *request, struct object *object) MUST_USE;

/* Sets the ID Placeholder: the item is about an object that it has made. */
void request_set_placeholder(struct request *request, const struct object *object);

/* Notes for the audit record what the x- attributes say of the object's user: vCenter writes VM
 * name, component and product there. */
void request_note_product(struct request *request, const struct object *object);

/* `size` random bytes for a new object; when the request is executed again, those it had before.
 * The caller frees them. */
enum status request_random(const struct object *object, size_t size,
                           struct secret *ret_material) MUST_USE;

/* Wraps plaintext for a new object, into its row; or leaves the row open, to be filled in by
 * core_prepare(). */
enum status request_wrap(struct request *request, struct object *object,
                         const struct secret *plaintext) MUST_USE;

/* Opens the object's key material, from the cache if it is there. The caller frees it. PENDING: it
 * must be fetched; the item ends with it, and is run again. */
enum status request_unwrap(struct request *request, struct object *object,
                           struct secret *ret_plaintext) MUST_USE;

/* Destroys an edited object (KMIP 1.4 §4.21); PERMISSION_DENIED where its state forbids it. */
enum status request_destroy(struct request *request, struct object *object) MUST_USE;

/* The edits take their objects' places: the item has succeeded. */
void request_keep_edits(struct request *request);

/* Makes request->changes of all objects that were changed. */
enum status request_collect_changes(struct request *request) MUST_USE;

/* Checks the header's credentials, where the adapter has one configured (core/credential.c). */
enum status request_authenticate(struct request *request,
                                 const struct kmip_authentication *authentication) MUST_USE;

#endif
