/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs to keys: versions, aliases, policies; and key rings. */
#include "kms/database.h"
#include "kms/keys.h"
#include "kms/row.h"

/* ---- Versions ---- */

struct version_change {
    const struct uuid *key;
    struct kms_version version;
};

static enum status newest_number(struct db *db, int64_t key, int64_t *ret_number)
{
    struct db_query query =
        db_query(db, "SELECT max(number) FROM version WHERE key = ? AND planned = 0");
    db_bind(&query, key);
    int64_t number = db_next(&query) ? db_column(&query) : 0;
    enum status status = db_end(&query);
    if (status == STATUS_OK)
        *ret_number = number;
    return status;
}

static enum status forget_version(struct db *db, void *argument)
{
    struct db_query query = db_query(db, "DELETE FROM version WHERE planned = 1"
                                         " AND key = (SELECT number FROM key WHERE id = ?)");
    db_bind_uuid(&query, argument);
    return db_finish(&query);
}

static enum status plan_version(struct db *db, void *argument)
{
    const struct version_change *change = argument;
    int64_t key = 0;
    int64_t newest = 0;
    enum status status = key_row_number(db, change->key, &key);
    if (status == STATUS_OK)
        status = newest_number(db, key, &newest);
    if (status == STATUS_OK && newest + 1 != change->version.number)
        return STATUS_CONFLICT;
    struct uuid id = *change->key;
    if (status == STATUS_OK)
        status = forget_version(db, &id);
    if (status != STATUS_OK)
        return status;
    struct db_query query = db_query(
        db, "INSERT INTO version (key, number, id, created, planned) VALUES (?, ?, ?, ?, 1)");
    db_bind(&query, key);
    db_bind(&query, change->version.number);
    db_bind_uuid(&query, &change->version.id);
    db_bind(&query, change->version.created);
    return db_finish_row(&query);
}

enum status kms_version_plan(struct kms *kms, const struct uuid *key,
                             const struct kms_version *version)
{
    struct version_change change = {key, *version};
    return kms_write(kms, KMS_PLAIN, plan_version, &change);
}

static enum status confirm_version(struct db *db, void *argument)
{
    const struct version_change *change = argument;
    int64_t key = 0;
    enum status status = key_row_number(db, change->key, &key);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "UPDATE version SET planned = 0 WHERE key = ? AND number = ? AND planned = 1");
    db_bind(&query, key);
    db_bind(&query, change->version.number);
    status = db_finish_row(&query);
    if (status != STATUS_OK)
        return status;
    query = db_query(db, "UPDATE key SET (rotated, updated) = (SELECT created, created"
                         " FROM version WHERE key = ?1 AND number = ?2) WHERE number = ?1");
    db_bind(&query, key);
    db_bind(&query, change->version.number);
    return db_finish_row(&query);
}

enum status kms_version_confirm(struct kms *kms, const struct uuid *key, uint32_t number)
{
    struct version_change change = {key, {.number = number}};
    return kms_write(kms, KMS_CHANGES_ROOT_KEYS, confirm_version, &change);
}

enum status kms_version_forget(struct kms *kms, const struct uuid *key)
{
    struct uuid id = *key;
    return kms_write(kms, KMS_PLAIN, forget_version, &id);
}

static void read_version(struct db_query *query, struct kms_version *ret_version)
{
    db_column_uuid(query, &ret_version->id);
    ret_version->number = (uint32_t)db_column(query);
    ret_version->created = db_column(query);
}

static enum status read_one_version(struct kms *kms, const char *sql, const struct uuid *key,
                                    int64_t number, struct kms_version *ret_version)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct db_query query = db_query(db, sql);
    db_bind_uuid(&query, key);
    db_bind(&query, number);
    bool found = db_next(&query);
    if (found)
        read_version(&query, ret_version);
    status = db_end_row(&query, found);
    kms_read_end(kms, db);
    return status;
}

enum status kms_version_planned(struct kms *kms, const struct uuid *key,
                                struct kms_version *ret_version)
{
    return read_one_version(kms,
                            "SELECT id, number, created FROM version WHERE planned = ?2"
                            " AND key = (SELECT number FROM key WHERE id = ?1)",
                            key, 1, ret_version);
}

enum status kms_version_by_number(struct kms *kms, const struct kms_key *key, uint32_t number,
                                  struct uuid *ret_id)
{
    if (number == key->version_number) {
        *ret_id = key->version;
        return STATUS_OK;
    }
    struct kms_version version = {0};
    enum status status =
        read_one_version(kms,
                         "SELECT id, number, created FROM version WHERE planned = 0"
                         " AND key = (SELECT number FROM key WHERE id = ?1) AND number = ?2",
                         &key->id, number, &version);
    if (status == STATUS_OK)
        *ret_id = version.id;
    return status;
}

static enum status visit_versions(struct db *db, const struct uuid *key, int64_t limit,
                                  int64_t offset, kms_visit_version *visit, void *context)
{
    struct db_query query = db_query(db, "SELECT id, number, created FROM version WHERE planned = 0"
                                         " AND key = (SELECT number FROM key WHERE id = ?)"
                                         " ORDER BY number DESC LIMIT ? OFFSET ?");
    db_bind_uuid(&query, key);
    db_bind(&query, limit);
    db_bind(&query, offset);
    struct kms_version version;
    while (db_next(&query)) {
        read_version(&query, &version);
        if (!visit(context, &version))
            break;
    }
    return db_end(&query);
}

enum status kms_versions(struct kms *kms, const struct uuid *key, int64_t limit, int64_t offset,
                         kms_visit_version *visit, void *context, int64_t *ret_total)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct db_query query = db_query(db, "SELECT count(*) FROM version WHERE planned = 0"
                                         " AND key = (SELECT number FROM key WHERE id = ?)");
    db_bind_uuid(&query, key);
    int64_t total = db_next(&query) ? db_column(&query) : 0;
    status = db_end(&query);
    if (status == STATUS_OK)
        status = visit_versions(db, key, limit, offset, visit, context);
    kms_read_end(kms, db);
    if (status == STATUS_OK)
        *ret_total = total;
    return status;
}

/* ---- Aliases ---- */

static enum status check_alias_room(struct db *db, int64_t key)
{
    struct db_query query = db_query(db, "SELECT (SELECT count(*) FROM alias WHERE key = ?) < ?"
                                         " AND (SELECT count(*) FROM alias) < ?");
    db_bind(&query, key);
    db_bind(&query, KMS_ALIASES_PER_KEY);
    db_bind(&query, KMS_ALIASES_PER_INSTANCE);
    bool room = db_next(&query) && db_column(&query) != 0;
    enum status status = db_end(&query);
    return status == STATUS_OK && !room ? STATUS_INDEX_OUT_OF_BOUNDS : status;
}

enum status alias_row_put(struct db *db, const struct uuid *key, const char *alias, int64_t now,
                          const char *actor)
{
    int64_t number = 0;
    enum status status = key_row_number(db, key, &number);
    if (status == STATUS_OK)
        status = check_alias_room(db, number);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "INSERT INTO alias (alias, key, created, created_by) VALUES (?, ?, ?, ?)");
    db_bind_text(&query, alias);
    db_bind(&query, number);
    db_bind(&query, now);
    db_bind_text(&query, actor);
    status = db_finish_row(&query);
    return status == STATUS_EXISTS ? STATUS_NAME_EXISTS : status;
}

struct alias_change {
    const struct uuid *key;
    const char *alias;
    int64_t now;
    const char *actor;
};

static enum status insert_alias(struct db *db, void *argument)
{
    const struct alias_change *change = argument;
    return alias_row_put(db, change->key, change->alias, change->now, change->actor);
}

enum status kms_alias_insert(struct kms *kms, const struct uuid *key, const char *alias,
                             int64_t now, const char *actor)
{
    struct alias_change change = {key, alias, now, actor};
    return kms_write(kms, KMS_CHANGES_ROOT_KEYS, insert_alias, &change);
}

static enum status delete_alias(struct db *db, void *argument)
{
    const struct alias_change *change = argument;
    struct db_query query = db_query(db, "DELETE FROM alias WHERE alias = ?"
                                         " AND key = (SELECT number FROM key WHERE id = ?)");
    db_bind_text(&query, change->alias);
    db_bind_uuid(&query, change->key);
    return db_finish_row(&query);
}

enum status kms_alias_delete(struct kms *kms, const struct uuid *key, const char *alias)
{
    struct alias_change change = {.key = key, .alias = alias};
    return kms_write(kms, KMS_CHANGES_ROOT_KEYS, delete_alias, &change);
}

/* ---- Policies of keys ---- */

enum status policy_row_put(struct db *db, const struct uuid *key, const struct kms_policy *policy)
{
    int64_t number = 0;
    enum status status = key_row_number(db, key, &number);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "INSERT INTO policy (key, kind, enabled, months, created, created_by,"
                     " updated, updated_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                     " ON CONFLICT (key, kind) DO UPDATE SET enabled = excluded.enabled,"
                     " months = CASE WHEN excluded.months > 0 THEN excluded.months ELSE months END,"
                     " updated = excluded.updated,"
                     " updated_by = excluded.updated_by");
    db_bind(&query, number);
    db_bind(&query, policy->kind);
    db_bind(&query, policy->enabled);
    db_bind(&query, policy->months);
    db_bind(&query, policy->created);
    db_bind_text(&query, policy->created_by);
    db_bind(&query, policy->updated);
    db_bind_text(&query, policy->updated_by);
    return db_finish_row(&query);
}

struct policies_change {
    const struct uuid *key;
    const struct kms_policy *policies;
    size_t count;
};

static enum status put_policies(struct db *db, void *argument)
{
    const struct policies_change *change = argument;
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < change->count; i++)
        status = policy_row_put(db, change->key, &change->policies[i]);
    return status;
}

enum status kms_policies_put(struct kms *kms, const struct uuid *key,
                             const struct kms_policy *policies, size_t count)
{
    struct policies_change change = {key, policies, count};
    return kms_write(kms, KMS_CHANGES_ROOT_KEYS, put_policies, &change);
}

static void read_policy(struct db_query *query, struct kms_policy *ret_policy)
{
    ret_policy->kind = (enum kms_policy_kind)db_column(query);
    ret_policy->enabled = db_column(query) != 0;
    ret_policy->months = (unsigned)db_column(query);
    ret_policy->created = db_column(query);
    db_column_text(query, ret_policy->created_by, sizeof(ret_policy->created_by));
    ret_policy->updated = db_column(query);
    db_column_text(query, ret_policy->updated_by, sizeof(ret_policy->updated_by));
}

enum status kms_policies(struct kms *kms, const struct uuid *key,
                         struct kms_policy ret_policies[static KMS_POLICY_KINDS], size_t *ret_count)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "SELECT kind, enabled, months, created, created_by, updated, updated_by"
                     " FROM policy WHERE key = (SELECT number FROM key WHERE id = ?)"
                     " ORDER BY kind");
    db_bind_uuid(&query, key);
    size_t count = 0;
    while (count < KMS_POLICY_KINDS && db_next(&query))
        read_policy(&query, &ret_policies[count++]);
    status = db_end(&query);
    kms_read_end(kms, db);
    *ret_count = status == STATUS_OK ? count : 0;
    return status;
}

/* ---- Key rings ---- */

static enum status insert_ring(struct db *db, void *argument)
{
    const struct kms_ring *ring = argument;
    int64_t count = 0;
    enum status status = db_number(db, "SELECT count(*) FROM ring", &count);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "INSERT INTO ring (id, created, created_by) VALUES (?, ?, ?)");
    db_bind_text(&query, ring->id);
    db_bind(&query, ring->created);
    db_bind_text(&query, ring->created_by);
    status = db_finish_row(&query);
    return status == STATUS_OK && count >= KMS_RINGS_MAX ? STATUS_INDEX_OUT_OF_BOUNDS : status;
}

enum status kms_ring_insert(struct kms *kms, const struct kms_ring *ring)
{
    struct kms_ring copy = *ring;
    return kms_write(kms, KMS_PLAIN, insert_ring, &copy);
}

struct ring_deletion {
    const char *id;
    bool force;
};

static enum status check_ring_empty(struct db *db, const struct ring_deletion *deletion)
{
    struct db_query query =
        db_query(db, "SELECT coalesce(sum(count), 0) FROM key_class WHERE"
                     " ring = (SELECT number FROM ring WHERE id = ?) AND (state <> 5 OR ? = 0)");
    db_bind_text(&query, deletion->id);
    db_bind(&query, deletion->force);
    bool empty = db_next(&query) && db_column(&query) == 0;
    enum status status = db_end(&query);
    return status == STATUS_OK && !empty ? STATUS_CONFLICT : status;
}

static enum status delete_ring(struct db *db, void *argument)
{
    const struct ring_deletion *deletion = argument;
    enum status status = check_ring_empty(db, deletion);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "UPDATE key SET ring = 1 WHERE ring = (SELECT number FROM ring WHERE id = ?)");
    db_bind_text(&query, deletion->id);
    status = db_finish(&query);
    if (status != STATUS_OK)
        return status;
    query = db_query(db, "DELETE FROM key_class"
                         " WHERE ring = (SELECT number FROM ring WHERE id = ?)");
    db_bind_text(&query, deletion->id);
    status = db_finish(&query);
    if (status != STATUS_OK)
        return status;
    query = db_query(db, "DELETE FROM ring WHERE id = ? AND number <> 1");
    db_bind_text(&query, deletion->id);
    return db_finish_row(&query);
}

enum status kms_ring_delete(struct kms *kms, const char *id, bool force)
{
    struct ring_deletion deletion = {id, force};
    return kms_write(kms, KMS_CHANGES_ROOT_KEYS, delete_ring, &deletion);
}

enum status kms_rings(struct kms *kms, kms_visit_ring *visit, void *context)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "SELECT id, created, created_by FROM ring ORDER BY number <> 1, id");
    struct kms_ring ring;
    while (db_next(&query)) {
        db_column_text(&query, ring.id, sizeof(ring.id));
        ring.created = db_column(&query);
        db_column_text(&query, ring.created_by, sizeof(ring.created_by));
        if (!visit(context, &ring))
            break;
    }
    status = db_end(&query);
    kms_read_end(kms, db);
    return status;
}
