/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/kms/: rows of keys. */
#ifndef KMIPD_KMS_ROW_H
#define KMIPD_KMS_ROW_H

#include "sqlite/db.h"
#include "kms/keys.h"

/* The columns that key_row_read() reads, and the tables they come from. */
#define KEY_COLUMNS                                                                                \
    "key.id, key.state, key.reason, key.extractable, key.imported, key.bits, key.name,"            \
    " key.description, key.tags,"                                                                  \
    " (SELECT group_concat(alias, char(10)) FROM alias WHERE alias.key = key.number),"             \
    " ring.id, key.created, key.created_by, key.updated, key.rotated, key.expiration,"             \
    " key.expired, key.deleted, key.deleted_by, key.set_for_deletion, key.set_for_deletion_by,"    \
    " version.id, version.number, version.created, rotation.enabled, rotation.months, "            \
    "dual.enabled"
#define KEY_TABLES                                                                                 \
    "key JOIN ring ON ring.number = key.ring"                                                      \
    " LEFT JOIN version ON version.key = key.number AND version.number ="                          \
    "  (SELECT max(number) FROM version WHERE version.key = key.number AND planned = 0)"           \
    " LEFT JOIN policy AS rotation ON rotation.key = key.number AND rotation.kind = 1"             \
    " LEFT JOIN policy AS dual ON dual.key = key.number AND dual.kind = 2"

void key_row_read(struct db_query *query, struct kms_key *ret_key);

/* Finds one, planned or not. NOT_FOUND. */
enum status key_row_get(struct db *db, const struct uuid *id, struct kms_key *ret_key) MUST_USE;

/* The row's number. NOT_FOUND. */
enum status key_row_number(struct db *db, const struct uuid *id, int64_t *ret_number) MUST_USE;

/* Upper case ASCII becomes lower: for searches. */
void key_row_fold(const char *text, char *ret_folded);

enum status policy_row_put(struct db *db, const struct uuid *key,
                           const struct kms_policy *policy) MUST_USE;
enum status alias_row_put(struct db *db, const struct uuid *key, const char *alias, int64_t now,
                          const char *actor) MUST_USE;

#endif
