/* SPDX-License-Identifier: Apache-2.0 */
/* What the handlers of keys share. Inside src/api/ only. */
#ifndef KMIPD_API_KEYS_H
#define KMIPD_API_KEYS_H

#include "api/call.h"
#include "kms/keys.h"

#define KEYS_PAYLOAD_MAX    ((size_t)7500) /* raw bytes of a standard key */
#define KEYS_ROOT_MAX       ((size_t)32)   /* raw bytes of a root key */
#define KEYS_SECURE_MAX     ((size_t)512)  /* a root key under RSA-4096 */
#define KEYS_DAY            ((int64_t)86400000)
#define KEYS_RESTORE_TIME   (30 * KEYS_DAY) /* in which a deleted key can be restored */
#define KEYS_PURGE_DELAY    (KEYS_DAY / 6)  /* before which a deleted key cannot be purged */
#define KEYS_DUAL_AUTH_TIME (7 * KEYS_DAY)  /* for which a first authorization is valid */
#define KEYS_TYPE           "application/vnd.ibm.kms.key+json"

/* nonactiveStateReason: as Key Protect numbers them. */
enum keys_reason { KEYS_REASON_NONE = 0, KEYS_REASON_EXPIRED = 1, KEYS_REASON_SUSPENDED = 2 };

/*
 * The key that {id}, an identifier or an alias, names, as it stands now; the caller must have
 * `roles` for its key ring. False: the call has failed.
 */
bool keys_find(struct api_call *call, unsigned roles, struct kms_key *ret_key);

/* KEY_DELETED_ERR for a destroyed key, else KEY_ACTION_INVALID_STATE_ERR unless its state is among
 * `states` (KMS_STATE_BIT). False: the call has failed. */
bool keys_require_state(struct api_call *call, const struct kms_key *key, unsigned states);

/* KEY_ROOT_REQ_ERR for a standard key. False: the call has failed. */
bool keys_require_root(struct api_call *call, const struct kms_key *key);

/* X-Kms-Key-Ring, or `otherwise`. False: the call has failed. */
bool keys_ring_header(struct api_call *call, const char *otherwise,
                      char ret_ring[static KMS_KEY_RING_MAX + 1]);

/* The key manager of the served root keys. NULL: the call has failed. */
struct keymanager *keys_keymanager(struct api_call *call);

/* All that is told about a key, but its payload. NULL without memory. */
json_t *keys_json(const struct api_call *call, const struct kms_key *key);
/* A key's state at a time: one whose expiration date has passed is deactivated. */
void keys_settle(struct kms_key *key, int64_t now);

/* Answers with the key: all of it where the client prefers its representation; else what Key
 * Protect tells in answer to a creation. */
void keys_reply(struct api_call *call, unsigned status, const struct kms_key *key);

/*
 * Answers with an object (taken over) and a member whose value is base64 of a secret: that is
 * written into the answer and nowhere else. `in_collection`: in Key Protect's envelope.
 */
void keys_reply_secret(struct api_call *call, unsigned status, const char *type, json_t *object,
                       const char *member, const struct secret *secret, bool in_collection);

/* Sets a member of an object that may be NULL; takes over `value`. False without memory, the
 * object then being freed and *object NULL. */
bool keys_set(json_t **object, const char *name, json_t *value);

/* ---- keys_fields.c ---- */

/* Reads what a new key's resource says, all but its material. False: the call has failed. */
bool keys_read_fields(struct api_call *call, const json_t *resource, struct kms_key *ret_key);
/* INVALID_FIELD_ERR unless it is an alias as Key Protect has them. */
bool keys_check_alias(struct api_call *call, const char *alias);
/* Characters of UTF-8 without control characters; -1: it is not that. */
int keys_count_characters(const char *text);

/* ---- keys_payload.c ---- */

/* Standard keys' payloads, wrapped under a root key of this instance's own. */
enum status keys_payload_wrap(const struct api_context *context, const struct uuid *key,
                              const struct secret *payload, struct buffer *ret_wrapped) MUST_USE;
enum status keys_payload_unwrap(const struct api_context *context, const struct uuid *key,
                                struct wrapped wrapped, struct secret *ret_payload) MUST_USE;

/* ---- keys_import.c ---- */

/* The material that a resource brings: none, plain, or under the import token. Freed by the caller.
 * *ret_present: there is one. False: the call has failed. */
bool keys_read_material(struct api_call *call, const json_t *resource, bool extractable,
                        struct secret *ret_material, bool *ret_present);

/* ---- instance_policies.c ---- */

/* KEY_CREATE_IMPORT_ACCESS_ERR where a policy of the instance forbids such a key. False: the call
 * has failed. */
bool keys_check_access(struct api_call *call, bool extractable, bool imported, bool by_token);
/* The policies that a new key begins with by those of the instance. False: the call has failed. */
bool keys_default_policies(struct api_call *call, const struct kms_key *key,
                           struct kms_policy ret_policies[static KMS_POLICY_KINDS],
                           size_t *ret_count);

/* ---- key_policies.c ---- */

/* What stands in a policy's resource, or in one of a new key: `rotation`, `dualAuthDelete`. False:
 * the call has failed. */
bool keys_read_policies(struct api_call *call, const json_t *resource,
                        struct kms_policy ret_policies[static KMS_POLICY_KINDS], size_t *ret_count);

/* ---- key_delete.c ---- */

/* What the actions of the same names do, once the key is found. */
void keys_restore(struct api_call *call, struct kms_key *key);
void keys_set_for_deletion(struct api_call *call, struct kms_key *key);
void keys_unset_for_deletion(struct api_call *call, struct kms_key *key);

/* ---- key_wrap.c ---- */

void keys_wrap(struct api_call *call, struct kms_key *key);
void keys_unwrap(struct api_call *call, struct kms_key *key);
void keys_rewrap(struct api_call *call, struct kms_key *key);

#endif
