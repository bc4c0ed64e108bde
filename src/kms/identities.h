/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Service IDs and their API keys, in keys.db. An API key is known by its SHA-256: it is 256 random
 * bits, which nobody guesses, so that a slow hash would add nothing. Threads and errors: kms/kms.h.
 */
#ifndef KMIPD_KMS_IDENTITIES_H
#define KMIPD_KMS_IDENTITIES_H

#include "kms/kms.h"

#define KMS_API_KEY_HASH_SIZE 32

/* ---- Service IDs ---- */

/* As it stands in the struct, grants included. EXISTS: the name or the identifier is taken. */
enum status kms_service_id_insert(struct kms *kms,
                                  const struct kms_service_id *service_id) MUST_USE;
/* By name, or by the text of its identifier. NOT_FOUND. */
enum status kms_service_id_find(struct kms *kms, struct bytes name_or_id,
                                struct kms_service_id *ret_service_id) MUST_USE;
enum status kms_service_id_get(struct kms *kms, const struct uuid *id,
                               struct kms_service_id *ret_service_id) MUST_USE;
/* With its API keys. NOT_FOUND. */
enum status kms_service_id_delete(struct kms *kms, const struct uuid *id) MUST_USE;
/* In the place of all that it had. NOT_FOUND; TOO_LARGE: more than KMS_GRANTS_MAX. */
enum status kms_service_id_set_grants(struct kms *kms, const struct uuid *id,
                                      const struct kms_grant *grants, size_t count) MUST_USE;

/* Return false to stop. Must not call functions of kms. */
typedef bool kms_visit_service_id(void *context, const struct kms_service_id *service_id);
/* All, in order of name. */
enum status kms_service_ids(struct kms *kms, kms_visit_service_id *visit, void *context) MUST_USE;

/* ---- API keys ---- */

struct kms_api_key {
    struct uuid id;
    struct uuid service_id;
    char name[KMS_NAME_MAX + 1]; /* unique among those of its service ID */
    int64_t created;             /* milliseconds since 1970 */
    int64_t used;                /* when it last was noted as used; 0: never */
};

/* EXISTS: the name, the identifier or the hash is taken. NOT_FOUND: no such service ID. */
enum status kms_api_key_insert(struct kms *kms, const struct kms_api_key *api_key,
                               const uint8_t hash[static KMS_API_KEY_HASH_SIZE]) MUST_USE;
/* NOT_FOUND: nobody's. */
enum status kms_api_key_find(struct kms *kms, const uint8_t hash[static KMS_API_KEY_HASH_SIZE],
                             struct kms_api_key *ret_api_key) MUST_USE;
/* Of one service ID, by name or the text of its identifier. NOT_FOUND. */
enum status kms_api_key_delete(struct kms *kms, const struct uuid *service_id,
                               struct bytes name_or_id) MUST_USE;
/* Notes that it is in use. Costs a commit: once an hour will do. NOT_FOUND. */
enum status kms_api_key_used(struct kms *kms, const struct uuid *id, int64_t now) MUST_USE;

typedef bool kms_visit_api_key(void *context, const struct kms_api_key *api_key);
/* Those of one service ID (NULL: of all), in order of name. As kms_service_ids(). */
enum status kms_api_keys(struct kms *kms, const struct uuid *service_id, kms_visit_api_key *visit,
                         void *context) MUST_USE;

#endif
