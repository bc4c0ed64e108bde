/* SPDX-License-Identifier: Apache-2.0 */
#include "kms/identities.h"

#include <stdlib.h>

#include "kms/database.h"

/* ---- Service IDs ---- */

static enum status write_grants(struct db *db, const struct uuid *id,
                                const struct kms_grant *grants, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct db_query query =
            db_query(db, "INSERT INTO service_grant (position, role, key_ring, adapter, service_id)"
                         " VALUES (?, ?, ?, ?, (SELECT number FROM service_id WHERE id = ?))");
        db_bind(&query, (int64_t)i);
        db_bind(&query, grants[i].role);
        db_bind_text(&query, grants[i].key_ring);
        db_bind_text(&query, grants[i].adapter);
        db_bind_uuid(&query, id);
        enum status status = db_finish(&query);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status insert_service_id(struct db *db, void *argument)
{
    const struct kms_service_id *service_id = argument;
    struct db_query query =
        db_query(db, "INSERT INTO service_id (id, name, description, created) VALUES (?, ?, ?, ?)");
    db_bind_uuid(&query, &service_id->id);
    db_bind_text(&query, service_id->name);
    db_bind_text(&query, service_id->description);
    db_bind(&query, service_id->created);
    enum status status = db_finish(&query);
    return status != STATUS_OK
               ? status
               : write_grants(db, &service_id->id, service_id->grants, service_id->grant_count);
}

enum status kms_service_id_insert(struct kms *kms, const struct kms_service_id *service_id)
{
    if (service_id->grant_count > KMS_GRANTS_MAX)
        return STATUS_TOO_LARGE;
    struct kms_service_id *copy = malloc(sizeof(*copy));
    if (copy == NULL)
        return STATUS_NO_MEMORY;
    *copy = *service_id;
    enum status status = kms_write(kms, KMS_PLAIN, insert_service_id, copy);
    free(copy);
    return status;
}

static enum status read_grants(struct db *db, struct kms_service_id *service_id)
{
    struct db_query query =
        db_query(db, "SELECT role, key_ring, adapter FROM service_grant"
                     " WHERE service_id = (SELECT number FROM service_id WHERE id = ?)"
                     " ORDER BY position");
    db_bind_uuid(&query, &service_id->id);
    service_id->grant_count = 0;
    while (service_id->grant_count < KMS_GRANTS_MAX && db_next(&query)) {
        struct kms_grant *grant = &service_id->grants[service_id->grant_count++];
        grant->role = (unsigned)db_column(&query);
        db_column_text(&query, grant->key_ring, sizeof(grant->key_ring));
        db_column_text(&query, grant->adapter, sizeof(grant->adapter));
    }
    return db_end(&query);
}

static void read_service_id(struct db_query *query, struct kms_service_id *ret_service_id)
{
    db_column_uuid(query, &ret_service_id->id);
    db_column_text(query, ret_service_id->name, sizeof(ret_service_id->name));
    db_column_text(query, ret_service_id->description, sizeof(ret_service_id->description));
    ret_service_id->created = db_column(query);
}

/* The one row of a query whose parameters are bound. */
static enum status find_service_id(struct db *db, struct db_query *query,
                                   struct kms_service_id *ret_service_id)
{
    bool found = db_next(query);
    if (found)
        read_service_id(query, ret_service_id);
    enum status status = db_end_row(query, found);
    return status == STATUS_OK ? read_grants(db, ret_service_id) : status;
}

static enum status find_by_id(struct db *db, const struct uuid *id,
                              struct kms_service_id *ret_service_id)
{
    struct db_query query =
        db_query(db, "SELECT id, name, description, created FROM service_id WHERE id = ?");
    db_bind_uuid(&query, id);
    return find_service_id(db, &query, ret_service_id);
}

/* What is bound as a BLOB has no equal among texts. */
static enum status find_by_name(struct db *db, struct bytes name,
                                struct kms_service_id *ret_service_id)
{
    struct db_query query = db_query(db, "SELECT id, name, description, created FROM service_id"
                                         " WHERE name = CAST(? AS TEXT)");
    db_bind_blob(&query, name);
    return find_service_id(db, &query, ret_service_id);
}

enum status kms_service_id_find(struct kms *kms, struct bytes name_or_id,
                                struct kms_service_id *ret_service_id)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct uuid id;
    status = uuid_parse(name_or_id, &id) ? find_by_id(db, &id, ret_service_id) : STATUS_NOT_FOUND;
    if (status == STATUS_NOT_FOUND)
        status = find_by_name(db, name_or_id, ret_service_id);
    kms_read_end(kms, db);
    return status;
}

enum status kms_service_id_get(struct kms *kms, const struct uuid *id,
                               struct kms_service_id *ret_service_id)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    status = find_by_id(db, id, ret_service_id);
    kms_read_end(kms, db);
    return status;
}

static enum status delete_service_id(struct db *db, void *argument)
{
    struct db_query query = db_query(db, "DELETE FROM service_id WHERE id = ?");
    db_bind_uuid(&query, argument);
    return db_finish_row(&query);
}

enum status kms_service_id_delete(struct kms *kms, const struct uuid *id)
{
    struct uuid copy = *id;
    return kms_write(kms, KMS_PLAIN, delete_service_id, &copy);
}

struct grants_change {
    const struct uuid *id;
    const struct kms_grant *grants;
    size_t count;
};

static enum status find_number(struct db *db, const struct uuid *id)
{
    struct db_query query = db_query(db, "SELECT number FROM service_id WHERE id = ?");
    db_bind_uuid(&query, id);
    bool found = db_next(&query);
    return db_end_row(&query, found);
}

static enum status change_grants(struct db *db, void *argument)
{
    const struct grants_change *change = argument;
    enum status status = find_number(db, change->id);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "DELETE FROM service_grant"
                     " WHERE service_id = (SELECT number FROM service_id WHERE id = ?)");
    db_bind_uuid(&query, change->id);
    status = db_finish(&query);
    return status != STATUS_OK ? status
                               : write_grants(db, change->id, change->grants, change->count);
}

enum status kms_service_id_set_grants(struct kms *kms, const struct uuid *id,
                                      const struct kms_grant *grants, size_t count)
{
    if (count > KMS_GRANTS_MAX)
        return STATUS_TOO_LARGE;
    struct grants_change change = {id, grants, count};
    return kms_write(kms, KMS_PLAIN, change_grants, &change);
}

static enum status visit_service_ids(struct db *db, struct kms_service_id *row,
                                     kms_visit_service_id *visit, void *context)
{
    struct db_query query =
        db_query(db, "SELECT id, name, description, created FROM service_id ORDER BY name");
    enum status status = STATUS_OK;
    bool more = true;
    while (more && status == STATUS_OK && db_next(&query)) {
        read_service_id(&query, row);
        status = read_grants(db, row);
        more = status == STATUS_OK && visit(context, row);
    }
    enum status ended = db_end(&query);
    return status != STATUS_OK ? status : ended;
}

enum status kms_service_ids(struct kms *kms, kms_visit_service_id *visit, void *context)
{
    struct kms_service_id *row = calloc(1, sizeof(*row));
    if (row == NULL)
        return STATUS_NO_MEMORY;
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status == STATUS_OK) {
        status = visit_service_ids(db, row, visit, context);
        kms_read_end(kms, db);
    }
    free(row);
    return status;
}

/* ---- API keys ---- */

struct api_key_change {
    const struct kms_api_key *api_key;
    const uint8_t *hash;
};

static enum status insert_api_key(struct db *db, void *argument)
{
    const struct api_key_change *change = argument;
    enum status status = find_number(db, &change->api_key->service_id);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "INSERT INTO api_key (id, name, hash, created, used, service_id)"
                     " VALUES (?, ?, ?, ?, ?, (SELECT number FROM service_id WHERE id = ?))");
    db_bind_uuid(&query, &change->api_key->id);
    db_bind_text(&query, change->api_key->name);
    db_bind_blob(&query, bytes_of(change->hash, KMS_API_KEY_HASH_SIZE));
    db_bind(&query, change->api_key->created);
    db_bind(&query, change->api_key->used);
    db_bind_uuid(&query, &change->api_key->service_id);
    return db_finish(&query);
}

enum status kms_api_key_insert(struct kms *kms, const struct kms_api_key *api_key,
                               const uint8_t hash[static KMS_API_KEY_HASH_SIZE])
{
    struct api_key_change change = {api_key, hash};
    return kms_write(kms, KMS_PLAIN, insert_api_key, &change);
}

static void read_api_key(struct db_query *query, struct kms_api_key *ret_api_key)
{
    db_column_uuid(query, &ret_api_key->id);
    db_column_uuid(query, &ret_api_key->service_id);
    db_column_text(query, ret_api_key->name, sizeof(ret_api_key->name));
    ret_api_key->created = db_column(query);
    ret_api_key->used = db_column(query);
}

enum status kms_api_key_find(struct kms *kms, const uint8_t hash[static KMS_API_KEY_HASH_SIZE],
                             struct kms_api_key *ret_api_key)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "SELECT api_key.id, service_id.id, api_key.name, api_key.created, used"
                     " FROM api_key JOIN service_id ON service_id.number = api_key.service_id"
                     " WHERE hash = ?");
    db_bind_blob(&query, bytes_of(hash, KMS_API_KEY_HASH_SIZE));
    struct kms_api_key found_key = {0};
    bool found = db_next(&query);
    if (found)
        read_api_key(&query, &found_key);
    status = db_end_row(&query, found);
    kms_read_end(kms, db);
    if (status == STATUS_OK)
        *ret_api_key = found_key;
    return status;
}

struct api_key_deletion {
    const struct uuid *service_id;
    struct bytes name_or_id;
};

static enum status delete_api_key(struct db *db, void *argument)
{
    const struct api_key_deletion *deletion = argument;
    struct uuid id;
    bool by_id = uuid_parse(deletion->name_or_id, &id);
    struct db_query query =
        db_query(db, "DELETE FROM api_key"
                     " WHERE service_id = (SELECT number FROM service_id WHERE id = ?)"
                     " AND (name = CAST(? AS TEXT) OR id = ?)");
    db_bind_uuid(&query, deletion->service_id);
    db_bind_blob(&query, deletion->name_or_id);
    db_bind_blob(&query, by_id ? uuid_bytes(&id) : bytes_of(NULL, 0));
    return db_finish_row(&query);
}

enum status kms_api_key_delete(struct kms *kms, const struct uuid *service_id,
                               struct bytes name_or_id)
{
    struct api_key_deletion deletion = {service_id, name_or_id};
    return kms_write(kms, KMS_PLAIN, delete_api_key, &deletion);
}

struct api_key_use {
    const struct uuid *id;
    int64_t now;
};

static enum status note_use(struct db *db, void *argument)
{
    const struct api_key_use *use = argument;
    struct db_query query = db_query(db, "UPDATE api_key SET used = max(used, ?) WHERE id = ?");
    db_bind(&query, use->now);
    db_bind_uuid(&query, use->id);
    return db_finish_row(&query);
}

enum status kms_api_key_used(struct kms *kms, const struct uuid *id, int64_t now)
{
    struct api_key_use use = {id, now};
    return kms_write(kms, KMS_PLAIN, note_use, &use);
}

enum status kms_api_keys(struct kms *kms, const struct uuid *service_id, kms_visit_api_key *visit,
                         void *context)
{
    struct db *db;
    enum status status = kms_read_begin(kms, &db);
    if (status != STATUS_OK)
        return status;
    struct db_query query =
        db_query(db, "SELECT api_key.id, service_id.id, api_key.name, api_key.created, used"
                     " FROM api_key JOIN service_id ON service_id.number = api_key.service_id"
                     " WHERE service_id.id = ?1 OR ?1 IS NULL"
                     " ORDER BY service_id.name, api_key.name");
    if (service_id != NULL)
        db_bind_uuid(&query, service_id);
    else
        db_bind_null(&query);
    struct kms_api_key row = {0};
    while (db_next(&query)) {
        read_api_key(&query, &row);
        if (!visit(context, &row))
            break;
    }
    status = db_end(&query);
    kms_read_end(kms, db);
    return status;
}
