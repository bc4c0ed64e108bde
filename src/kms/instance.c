/* SPDX-License-Identifier: Apache-2.0 */
/* What an instance has one of: its policies, and its import token. */
#include "kms/database.h"
#include "kms/keys.h"

/* ---- Policies ---- */

struct policies_change {
    const struct kms_instance_policy *policies;
    size_t count;
};

static enum status put_policy(struct db *db, const struct kms_instance_policy *policy)
{
    struct db_query query =
        db_query(db, "INSERT INTO instance_policy (kind, enabled, number, text, created,"
                     " created_by, updated, updated_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                     " ON CONFLICT (kind) DO UPDATE SET enabled = excluded.enabled,"
                     " number = excluded.number, text = excluded.text,"
                     " updated = excluded.updated, updated_by = excluded.updated_by");
    db_bind(&query, policy->kind);
    db_bind(&query, policy->enabled);
    db_bind(&query, policy->number);
    db_bind_text(&query, policy->text);
    db_bind(&query, policy->created);
    db_bind_text(&query, policy->created_by);
    db_bind(&query, policy->updated);
    db_bind_text(&query, policy->updated_by);
    return db_finish_row(&query);
}

static enum status put_policies(struct db *db, void *argument)
{
    const struct policies_change *change = argument;
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < change->count; i++)
        status = put_policy(db, &change->policies[i]);
    return status;
}

enum status kms_instance_policies_put(struct kms *kms, const struct kms_instance_policy *policies,
                                      size_t count)
{
    struct policies_change change = {policies, count};
    enum status status = kms_write(kms, KMS_PLAIN, put_policies, &change);
    (void)atomic_fetch_add(&kms->instance_generation, 1);
    return status;
}

uint64_t kms_instance_policies_generation(struct kms *kms)
{
    return atomic_load(&kms->instance_generation);
}

static void read_policy(struct db_query *query, struct kms_instance_policy *ret_policy)
{
    ret_policy->kind = (enum kms_instance_policy_kind)db_column(query);
    ret_policy->enabled = db_column(query) != 0;
    ret_policy->number = db_column(query);
    db_column_text(query, ret_policy->text, sizeof(ret_policy->text));
    ret_policy->created = db_column(query);
    db_column_text(query, ret_policy->created_by, sizeof(ret_policy->created_by));
    ret_policy->updated = db_column(query);
    db_column_text(query, ret_policy->updated_by, sizeof(ret_policy->updated_by));
}

enum status kms_instance_policy(struct kms *kms, enum kms_instance_policy_kind kind,
                                struct kms_instance_policy *ret_policy)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "SELECT kind, enabled, number, text, created, created_by, updated,"
                     " updated_by FROM instance_policy WHERE kind = ?");
    db_bind(&query, kind);
    bool found = db_next(&query);
    if (found)
        read_policy(&query, ret_policy);
    status = db_end_row(&query, found);
    kms_read_end(kms, db);
    return status;
}

/* ---- The import token ---- */

static enum status put_token(struct db *db, void *argument)
{
    const struct kms_import_token *token = argument;
    struct db_query query =
        db_query(db, "INSERT OR REPLACE INTO import_token (one, id, created, expires, retrievals,"
                     " remaining, public_key, private_key, nonce)"
                     " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)");
    db_bind_uuid(&query, &token->id);
    db_bind(&query, token->created);
    db_bind(&query, token->expires);
    db_bind(&query, token->retrievals);
    db_bind(&query, token->remaining);
    db_bind_blob(&query, bytes_of_text(token->public_key));
    db_bind_blob(&query, bytes_of(token->private_key, token->private_key_size));
    db_bind_blob(&query, bytes_of(token->nonce, sizeof(token->nonce)));
    return db_finish_row(&query);
}

enum status kms_import_token_put(struct kms *kms, const struct kms_import_token *token)
{
    struct kms_import_token copy = *token;
    return kms_write(kms, KMS_PLAIN, put_token, &copy);
}

static void read_blob(struct db_query *query, uint8_t *ret_value, size_t size, size_t *ret_size)
{
    struct bytes value = db_column_blob(query);
    if (value.size > size) {
        query->code = SQLITE_CORRUPT;
        return;
    }
    if (value.size > 0)
        memcpy(ret_value, value.data, value.size);
    *ret_size = value.size;
}

static enum status read_token(struct db *db, struct kms_import_token *ret_token)
{
    struct kms_import_token token = {0};
    size_t nonce_size = 0;
    struct db_query query =
        db_query(db, "SELECT id, created, expires, retrievals, remaining, public_key,"
                     " private_key, nonce FROM import_token");
    bool found = db_next(&query);
    if (found) {
        db_column_uuid(&query, &token.id);
        token.created = db_column(&query);
        token.expires = db_column(&query);
        token.retrievals = db_column(&query);
        token.remaining = db_column(&query);
        db_column_text(&query, token.public_key, sizeof(token.public_key));
        read_blob(&query, token.private_key, sizeof(token.private_key), &token.private_key_size);
        read_blob(&query, token.nonce, sizeof(token.nonce), &nonce_size);
    }
    enum status status = db_end_row(&query, found);
    if (status == STATUS_OK)
        *ret_token = token;
    return status;
}

enum status kms_import_token_get(struct kms *kms, struct kms_import_token *ret_token)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    status = read_token(db, ret_token);
    kms_read_end(kms, db);
    return status;
}

struct retrieval {
    int64_t now;
    struct kms_import_token token;
};

static enum status retrieve_token(struct db *db, void *argument)
{
    struct retrieval *retrieval = argument;
    enum status status = read_token(db, &retrieval->token);
    if (status != STATUS_OK)
        return status;
    if (retrieval->token.expires <= retrieval->now || retrieval->token.remaining <= 0)
        return STATUS_CONFLICT;
    retrieval->token.remaining--;
    struct db_query query = db_query(db, "UPDATE import_token SET remaining = remaining - 1");
    return db_finish_row(&query);
}

enum status kms_import_token_retrieve(struct kms *kms, int64_t now,
                                      struct kms_import_token *ret_token)
{
    struct retrieval retrieval = {.now = now};
    enum status status = kms_write(kms, KMS_PLAIN, retrieve_token, &retrieval);
    if (status == STATUS_OK)
        *ret_token = retrieval.token;
    return status;
}

static enum status expire_token(struct db *db, void *argument)
{
    struct db_query query = db_query(db, "DELETE FROM import_token WHERE expires < ?");
    db_bind(&query, *(const int64_t *)argument);
    return db_finish(&query);
}

enum status kms_import_token_expire(struct kms *kms, int64_t time)
{
    return kms_write(kms, KMS_PLAIN, expire_token, &time);
}
