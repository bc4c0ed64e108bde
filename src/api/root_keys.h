/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of the served root keys: each step is done in the key manager, which is right where the
 * two differ, and in keys.db. A kill between the two is repaired by api_reconcile_root_keys(), or
 * by doing it again. One step at a time in the process; permission, states and policies are the
 * callers' business. KEY_MANAGER_UNAVAILABLE: it is not known what has happened; all can be
 * repeated.
 */
#ifndef KMIPD_API_ROOT_KEYS_H
#define KMIPD_API_ROOT_KEYS_H

#include "api/open.h"
#include "base/secret.h"
#include "kms/keys.h"

/* Makes a root key, or imports one, as the row says; its state becomes active. As
 * kms_key_insert(). `actor`: who does it, for "createdBy" and the like; everywhere below. */
enum status api_root_key_create(const struct api_context *context, struct kms_key *key,
                                const struct kms_key_parts *parts, const struct secret *material,
                                struct error *error) MUST_USE;

/* Gives it a version more, and has the objects of adapters that use it rewrapped. CONFLICT:
 * somebody has rotated it at the same time. */
enum status api_root_key_rotate(const struct api_context *context, const struct uuid *id,
                                const struct secret *material, int64_t now,
                                struct error *error) MUST_USE;

/* Disables (suspended) or enables (active) it. */
enum status api_root_key_set_state(const struct api_context *context, const struct uuid *id,
                                   enum root_key_state state, int64_t now,
                                   struct error *error) MUST_USE;
enum status api_root_key_delete(const struct api_context *context, const struct uuid *id,
                                const char *actor, int64_t now, struct error *error) MUST_USE;
enum status api_root_key_restore(const struct api_context *context, const struct uuid *id,
                                 int64_t now, struct error *error) MUST_USE;
enum status api_root_key_purge(const struct api_context *context, const struct uuid *id,
                               struct error *error) MUST_USE;

/*
 * The adapter that uses a root key, if one does, into `ret_name` (STORE_NAME_MAX + 1): it is the
 * one for new objects, or some are still under it (the name is empty then). False: none does; or
 * the store cannot say, and then `ret_status` does.
 */
bool api_root_key_in_use(const struct api_context *context, struct store_session *session,
                         const struct uuid *id, char *ret_name, enum status *ret_status);

#endif
