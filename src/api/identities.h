/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Service IDs and API keys as those who administer them see them: checks, the making of keys, and
 * JSON. What is changed here holds from the next request on, also for tokens that were issued
 * before. Reading goes to kms/identities.h. Any thread; blocks.
 *
 * Errors have a text for the administrator: INVALID_ARGUMENT, NOT_FOUND, EXISTS, TOO_LARGE (more
 * than KMS_GRANTS_MAX grants), CRYPTO_FAILED, and those of kms/kms.h.
 */
#ifndef KMIPD_API_IDENTITIES_H
#define KMIPD_API_IDENTITIES_H

#include <jansson.h>

#include "api/call.h"
#include "base/secret.h"
#include "kms/identities.h"

struct service_id_wish {
    const char *name;        /* 1 to KMS_NAME_MAX bytes of UTF-8; no control characters, no UUID */
    const char *description; /* at most as many; "" or NULL: none */
    const struct kms_grant *grants;
    size_t grant_count;
    int64_t now;
};

enum status service_id_create(struct api *api, const struct service_id_wish *wish,
                              struct kms_service_id *ret_service_id,
                              struct error *error) MUST_USE;

/* The functions below take a service ID by its name, or by the text of its identifier. */
enum status service_id_delete(struct api *api, const char *service_id,
                              struct error *error) MUST_USE;
enum status service_id_set_grants(struct api *api, const char *service_id,
                                  const struct kms_grant *grants, size_t count,
                                  struct kms_service_id *ret_service_id,
                                  struct error *error) MUST_USE;

#define API_KEY_TEXT_LENGTH 49 /* "kmipd_" and base64url of 32 random bytes */

/* The new key's text is in *ret_text (not NUL-terminated; the caller frees it) and nowhere else. */
enum status api_key_create(struct api *api, const char *service_id, const char *name, int64_t now,
                           struct secret *ret_text, struct kms_api_key *ret_api_key,
                           struct error *error) MUST_USE;
/* By its name, or the text of its identifier. */
enum status api_key_delete(struct api *api, const char *service_id, const char *api_key,
                           struct error *error) MUST_USE;

/* ---- JSON ---- */

/* {"id","name","description","created_at","grants":[{"role"[,"key_ring"][,"adapter"]}]} */
json_t *service_id_json(const struct kms_service_id *service_id);
/* {"id","name","created_at"[,"last_used_at"]} */
json_t *api_key_json(const struct kms_api_key *api_key);

/* Grants of such an array; an empty one is none. INVALID_ARGUMENT, TOO_LARGE. */
enum status grants_parse(const json_t *array, struct kms_grant *ret_grants, size_t maximum,
                         size_t *ret_count, struct error *error) MUST_USE;

#endif
