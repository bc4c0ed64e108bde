/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resources of the served Key Protect API that are not KMIP's: keys (root and standard) with
 * their metadata, versions, aliases, key rings, policies, import tokens, and service IDs with
 * their API keys. Rows and transactions in an SQLite file of its own (state: keys.db), nothing of
 * HTTP or JSON. Root key material is never here: a root key's row names it, its key manager has
 * it. Payloads of standard keys are here, wrapped under a root key of this instance's own.
 *
 * All functions block, may be called from any thread, and what changes something is on stable
 * storage when they return (several at once share a commit). STORE_FULL, STORE_READ_ONLY,
 * STORE_CORRUPT, STORE_FAILED, NO_MEMORY beside what is said.
 */
#ifndef KMIPD_KMS_KMS_H
#define KMIPD_KMS_KMS_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/uuid.h"
#include "crypto/wrapped.h"

#define KMS_NAME_MAX        240
#define KMS_KEY_RING_MAX    100
#define KMS_GRANTS_MAX      64
#define KMS_ALIASES_PER_KEY 5

struct kms;

/* The database at `path`; made when missing with `create`. Texts as store_open_sqlite(). */
enum status kms_open(const char *path, bool create, struct kms **ret_kms,
                     struct error *error) MUST_USE;
void kms_close(struct kms *kms); /* NULL is fine */

/* ---- Service IDs and their API keys ---- */

/* What a service ID may do: `role` is a bit of def/roles.def. Empty names: everywhere. */
struct kms_grant {
    unsigned role;
    char key_ring[KMS_KEY_RING_MAX + 1];
    char adapter[KMS_NAME_MAX + 1];
};

struct kms_service_id {
    struct uuid id;
    char name[KMS_NAME_MAX + 1]; /* unique */
    char description[KMS_NAME_MAX + 1];
    int64_t created; /* milliseconds since 1970 */
    struct kms_grant grants[KMS_GRANTS_MAX];
    size_t grant_count;
};

/* The keys part is declared in kms/keys.h, the identities in kms/identities.h. */

#endif
