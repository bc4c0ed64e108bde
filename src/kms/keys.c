/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of keys: finding, inserting, changing, purging. */
#include "kms/keys.h"

#include <stdlib.h>

#include "kms/cache.h"
#include "kms/database.h"
#include "kms/row.h"

#define MONTH_MILLISECONDS 2592000000 /* 30 days */

/* ---- Rows ---- */

void key_row_fold(const char *text, char *ret_folded)
{
    size_t i = 0;
    for (; text[i] != '\0'; i++)
        ret_folded[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i]);
    ret_folded[i] = '\0';
}

static bool next_is_null(struct db_query *query)
{
    return sqlite3_column_type(query->statement, query->column + 1) == SQLITE_NULL;
}

static void read_joined(struct db_query *query, struct kms_key *key)
{
    bool versioned = !next_is_null(query);
    db_column_uuid(query, &key->version);
    key->version_number = (uint32_t)db_column(query);
    key->version_created = db_column(query);
    if (!versioned) { /* a standard key has one, which is not kept */
        key->version = key->id;
        key->version_number = 1;
        key->version_created = key->created;
    }
    key->rotation_set = !next_is_null(query);
    key->rotation_enabled = db_column(query) != 0;
    key->rotation_months = (unsigned)db_column(query);
    key->dual_set = !next_is_null(query);
    key->dual_enabled = db_column(query) != 0;
}

void key_row_read(struct db_query *query, struct kms_key *key)
{
    db_column_uuid(query, &key->id);
    key->state = (enum kms_key_state)db_column(query);
    key->reason = (int)db_column(query);
    key->extractable = db_column(query) != 0;
    key->imported = db_column(query) != 0;
    key->bits = (unsigned)db_column(query);
    db_column_text(query, key->name, sizeof(key->name));
    db_column_text(query, key->description, sizeof(key->description));
    db_column_text(query, key->tags, sizeof(key->tags));
    db_column_text(query, key->aliases, sizeof(key->aliases));
    db_column_text(query, key->ring, sizeof(key->ring));
    key->created = db_column(query);
    db_column_text(query, key->created_by, sizeof(key->created_by));
    key->updated = db_column(query);
    key->rotated = db_column(query);
    key->expiration = db_column(query);
    key->expired = db_column(query);
    key->deleted = db_column(query);
    db_column_text(query, key->deleted_by, sizeof(key->deleted_by));
    key->set_for_deletion = db_column(query);
    db_column_text(query, key->set_for_deletion_by, sizeof(key->set_for_deletion_by));
    read_joined(query, key);
}

static enum status read_one(struct db_query *query, struct kms_key *ret_key)
{
    bool found = db_next(query);
    if (found)
        key_row_read(query, ret_key);
    return db_end_row(query, found);
}

enum status key_row_get(struct db *db, const struct uuid *id, struct kms_key *ret_key)
{
    struct db_query query =
        db_query(db, "SELECT " KEY_COLUMNS " FROM " KEY_TABLES " WHERE key.id = ?");
    db_bind_uuid(&query, id);
    return read_one(&query, ret_key);
}

static enum status get_by_alias(struct db *db, const char *alias, struct kms_key *ret_key)
{
    struct db_query query =
        db_query(db, "SELECT " KEY_COLUMNS " FROM " KEY_TABLES
                     " WHERE key.number = (SELECT key FROM alias WHERE alias = ?)");
    db_bind_text(&query, alias);
    return read_one(&query, ret_key);
}

enum status key_row_number(struct db *db, const struct uuid *id, int64_t *ret_number)
{
    struct db_query query = db_query(db, "SELECT number FROM key WHERE id = ?");
    db_bind_uuid(&query, id);
    bool found = db_next(&query);
    int64_t number = found ? db_column(&query) : 0;
    enum status status = db_end_row(&query, found);
    if (status == STATUS_OK)
        *ret_number = number;
    return status;
}

/* ---- Finding ---- */

static enum status read_key(struct kms *kms, const char *id_or_alias, struct kms_key *ret_key)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct uuid id;
    status = uuid_parse(bytes_of_text(id_or_alias), &id) ? key_row_get(db, &id, ret_key)
                                                         : get_by_alias(db, id_or_alias, ret_key);
    kms_read_end(kms, db);
    return status == STATUS_OK && ret_key->state == KMS_KEY_PLANNED ? STATUS_NOT_FOUND : status;
}

enum status kms_key_find(struct kms *kms, const char *id_or_alias, struct kms_key *ret_key)
{
    if (kms_cache_get(kms->cache, id_or_alias, ret_key))
        return STATUS_OK;
    uint64_t before = kms_cache_mark(kms->cache);
    enum status status = read_key(kms, id_or_alias, ret_key);
    if (status == STATUS_OK && !ret_key->extractable)
        kms_cache_put(kms->cache, before, id_or_alias, ret_key);
    return status;
}

enum status kms_key_get(struct kms *kms, const struct uuid *id, struct kms_key *ret_key)
{
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(id, text);
    return kms_key_find(kms, text, ret_key);
}

enum status kms_root_keys(struct kms *kms, kms_visit_key *visit, void *context)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct kms_key key;
    struct db_query query =
        db_query(db, "SELECT " KEY_COLUMNS " FROM " KEY_TABLES
                     " WHERE key.ring IN (SELECT number FROM ring) AND key.extractable = 0");
    while (db_next(&query)) {
        key_row_read(&query, &key);
        if (!visit(context, &key))
            break;
    }
    status = db_end(&query);
    kms_read_end(kms, db);
    return status;
}

/* ---- Inserting ---- */

struct insertion {
    const struct kms_key *key;
    const struct kms_key_parts *parts;
};

static void bind_fixed(struct db_query *query, const struct kms_key *key)
{
    db_bind_uuid(query, &key->id);
    db_bind(query, key->extractable);
    db_bind(query, key->created);
    db_bind_text(query, key->created_by);
}

/* `folded` has room for a name and is borrowed until the end of the query. */
static void bind_changing(struct db_query *query, const struct kms_key *key, char *folded)
{
    key_row_fold(key->name, folded);
    db_bind_text(query, key->ring);
    db_bind(query, key->state);
    db_bind(query, key->reason);
    db_bind(query, key->imported);
    db_bind(query, key->bits);
    db_bind_text(query, key->name);
    db_bind_text(query, folded);
    db_bind_text(query, key->description);
    db_bind_text(query, key->tags);
    db_bind(query, key->updated);
    db_bind(query, key->rotated);
    db_bind(query, key->expiration);
    db_bind(query, key->expired);
    db_bind(query, key->deleted);
    db_bind_text(query, key->deleted_by);
    db_bind(query, key->set_for_deletion);
    db_bind_text(query, key->set_for_deletion_by);
}

/* A missing key ring makes NULL of a column that must not be, which nothing else does. */
static enum status finish_with_ring(struct db_query *query)
{
    while (db_next(query))
        continue;
    bool no_ring = query->code == SQLITE_CONSTRAINT_NOTNULL;
    enum status status = db_finish_row(query);
    return no_ring ? STATUS_NOT_FOUND : status;
}

static enum status insert_row(struct db *db, const struct kms_key *key)
{
    int64_t number = 0;
    enum status status = key_row_number(db, &key->id, &number);
    if (status != STATUS_NOT_FOUND)
        return status == STATUS_OK ? STATUS_EXISTS : status;
    char folded[KMS_KEY_NAME_MAX + 1];
    struct db_query query =
        db_query(db, "INSERT INTO key (id, extractable, created, created_by, ring, state, reason,"
                     " imported, bits, name, folded, description, tags, updated, rotated,"
                     " expiration, expired, deleted, deleted_by, set_for_deletion,"
                     " set_for_deletion_by) VALUES (?, ?, ?, ?,"
                     " (SELECT number FROM ring WHERE id = ?),"
                     " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    bind_fixed(&query, key);
    bind_changing(&query, key, folded);
    return finish_with_ring(&query);
}

static enum status insert_version(struct db *db, const struct kms_key *key)
{
    struct db_query query = db_query(db, "INSERT INTO version (key, number, id, created, planned)"
                                         " SELECT number, 1, id, created, 0 FROM key WHERE id = ?");
    db_bind_uuid(&query, &key->id);
    return db_finish_row(&query);
}

static enum status insert_payload(struct db *db, const struct kms_key *key, struct wrapped payload)
{
    struct db_query query = db_query(db, "INSERT INTO payload (wrapped, key)"
                                         " VALUES (?, (SELECT number FROM key WHERE id = ?))");
    db_bind_blob(&query, payload.blob);
    db_bind_uuid(&query, &key->id);
    return db_finish_row(&query);
}

static enum status insert_aliases(struct db *db, const struct kms_key *key)
{
    const char *at = key->aliases;
    while (*at != '\0') {
        char alias[KMS_ALIAS_MAX + 1] = "";
        size_t size = strcspn(at, "\n");
        if (size > KMS_ALIAS_MAX)
            return STATUS_TOO_LARGE;
        memcpy(alias, at, size);
        enum status status = alias_row_put(db, &key->id, alias, key->created, key->created_by);
        if (status != STATUS_OK)
            return status;
        at += size + (at[size] == '\n');
    }
    return STATUS_OK;
}

static enum status insert_key(struct db *db, void *argument)
{
    const struct insertion *insertion = argument;
    const struct kms_key *key = insertion->key;
    enum status status = insert_row(db, key);
    if (status == STATUS_OK)
        status = key->extractable ? insert_payload(db, key, insertion->parts->payload)
                                  : insert_version(db, key);
    if (status == STATUS_OK)
        status = insert_aliases(db, key);
    for (size_t i = 0; status == STATUS_OK && i < insertion->parts->policy_count; i++)
        status = policy_row_put(db, &key->id, &insertion->parts->policies[i]);
    return status;
}

/* A key that was not there is in no cache; but an alias may have been another's. */
enum status kms_key_insert(struct kms *kms, const struct kms_key *key,
                           const struct kms_key_parts *parts)
{
    struct insertion insertion = {key, parts};
    return kms_write(kms, KMS_PLAIN, insert_key, &insertion);
}

/* ---- Changing ---- */

struct change {
    const struct uuid *id;
    kms_change_key *change;
    void *context;
    unsigned effects;
    struct kms_key key;
};

static enum status update_row(struct db *db, const struct kms_key *key)
{
    char folded[KMS_KEY_NAME_MAX + 1];
    struct db_query query =
        db_query(db, "UPDATE key SET ring = (SELECT number FROM ring WHERE id = ?), state = ?,"
                     " reason = ?, imported = ?, bits = ?, name = ?, folded = ?, description = ?,"
                     " tags = ?, updated = ?, rotated = ?, expiration = ?, expired = ?,"
                     " deleted = ?, deleted_by = ?, set_for_deletion = ?, set_for_deletion_by = ?"
                     " WHERE id = ?");
    bind_changing(&query, key, folded);
    db_bind_uuid(&query, &key->id);
    return finish_with_ring(&query);
}

static enum status change_key(struct db *db, void *argument)
{
    struct change *change = argument;
    enum status status = key_row_get(db, change->id, &change->key);
    if (status == STATUS_OK)
        status = change->change(&change->key, change->context);
    change->effects = change->key.extractable ? KMS_PLAIN : KMS_CHANGES_ROOT_KEYS;
    return status == STATUS_OK ? update_row(db, &change->key) : status;
}

enum status kms_key_change(struct kms *kms, const struct uuid *id, kms_change_key *change,
                           void *context, struct kms_key *ret_key)
{
    struct change order = {.id = id, .change = change, .context = context};
    enum status status = kms_write_deciding(kms, &order.effects, change_key, &order);
    if (status == STATUS_OK && ret_key != NULL)
        *ret_key = order.key;
    return status;
}

/* ---- Payloads ---- */

enum status kms_key_payload(struct kms *kms, const struct uuid *id, struct buffer *ret_wrapped)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct db_query query = db_query(
        db, "SELECT wrapped FROM payload WHERE key = (SELECT number FROM key WHERE id = ?)");
    db_bind_uuid(&query, id);
    bool found = db_next(&query);
    if (found)
        buffer_append_bytes(ret_wrapped, db_column_blob(&query));
    status = db_end_row(&query, found);
    kms_read_end(kms, db);
    return status == STATUS_OK ? buffer_status(ret_wrapped) : status;
}

struct payload_change {
    const struct uuid *id;
    struct wrapped payload;
};

static enum status put_payload(struct db *db, void *argument)
{
    const struct payload_change *change = argument;
    struct db_query query = db_query(db, "UPDATE payload SET wrapped = ?"
                                         " WHERE key = (SELECT number FROM key WHERE id = ?)");
    db_bind_blob(&query, change->payload.blob);
    db_bind_uuid(&query, change->id);
    return db_finish_row(&query);
}

enum status kms_key_payload_put(struct kms *kms, const struct uuid *id, struct wrapped payload)
{
    struct payload_change change = {id, payload};
    return kms_write(kms, KMS_PLAIN, put_payload, &change);
}

/* ---- The end of keys ---- */

static enum status purge_key(struct db *db, void *argument)
{
    struct db_query query = db_query(db, "DELETE FROM key WHERE id = ?");
    db_bind_uuid(&query, argument);
    return db_finish_row(&query);
}

enum status kms_key_purge(struct kms *kms, const struct uuid *id)
{
    struct uuid copy = *id;
    return kms_write(kms, KMS_CHANGES_ROOT_KEYS, purge_key, &copy);
}

static struct db_query query_due(struct db *db, enum kms_due due, int64_t time)
{
    struct db_query query;
    switch (due) {
    case KMS_DUE_EXPIRATION:
        query = db_query(db, "SELECT id FROM key WHERE expiration > 0 AND expiration <= ?1"
                             " AND state IN (0, 1, 2) LIMIT ?2");
        break;
    case KMS_DUE_PURGE:
        query = db_query(db, "SELECT id FROM key WHERE deleted > 0 AND deleted <= ?1"
                             " AND state = 5 LIMIT ?2");
        break;
    default:
        query = db_query(db, "SELECT key.id FROM policy JOIN key ON key.number = policy.key"
                             " WHERE policy.kind = 1 AND policy.enabled = 1 AND key.state = 1"
                             " AND max(key.created, key.rotated)"
                             "  + policy.months * ?3 <= ?1 LIMIT ?2");
        break;
    }
    db_bind(&query, time);
    return query;
}

enum status kms_keys_due(struct kms *kms, enum kms_due due, int64_t time, size_t capacity,
                         struct uuid *ret_keys, size_t *ret_count)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct db_query query = query_due(db, due, time);
    db_bind(&query, (int64_t)capacity);
    if (due == KMS_DUE_ROTATION)
        db_bind(&query, MONTH_MILLISECONDS);
    size_t count = 0;
    while (count < capacity && db_next(&query))
        db_column_uuid(&query, &ret_keys[count++]);
    status = db_end(&query);
    kms_read_end(kms, db);
    *ret_count = status == STATUS_OK ? count : 0;
    return status;
}
