/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the database, its writer and its readers. */
#include "kms/kms.h"

#include <stdlib.h>
#include <unistd.h>

#include "kms/cache.h"
#include "kms/database.h"
#include "sqlite/file.h"

#define GROUP_MAX 256

/* The writer's cache: the inner pages of a million keys, which come in random order. */
#define READER_PRAGMAS "PRAGMA cache_size = -8192"
#define WRITER_PRAGMAS "PRAGMA cache_size = -32768"

/* ---- Writing ---- */

struct kms_write {
    kms_change *change;
    void *argument;
    const unsigned *effects;
    enum status status;
    bool done;
    struct kms_write *next;
};

/* A refused change has changed nothing in itself; what came before it has to be taken back. */
static enum status apply_marked(struct db *db, struct kms_write *write)
{
    enum status marked = db_run(db, "SAVEPOINT change");
    if (marked != STATUS_OK)
        return marked;
    write->status = write->change(db, write->argument);
    if (db_failed(write->status))
        return write->status;
    return db_run(db, write->status == STATUS_OK ? "RELEASE change"
                                                 : "ROLLBACK TO change; RELEASE change");
}

static enum status apply_group(struct kms *kms, struct kms_write *group, unsigned *ret_effects)
{
    for (struct kms_write *write = group; write != NULL; write = write->next) {
        enum status status = apply_marked(&kms->writer, write);
        if (status != STATUS_OK)
            return status;
        if (write->status == STATUS_OK)
            *ret_effects |= *write->effects;
    }
    return STATUS_OK;
}

static enum status commit(struct kms *kms, unsigned effects)
{
    bool cached = (effects & KMS_CHANGES_ROOT_KEYS) != 0;
    if (cached)
        kms_cache_change_begin(kms->cache);
    enum status status = db_run(&kms->writer, "COMMIT");
    if (cached)
        kms_cache_change_end(kms->cache);
    /* Nothing of the group is on disk after these; after anything else, who knows. */
    if (status != STATUS_OK && status != STATUS_STORE_FULL && status != STATUS_STORE_READ_ONLY &&
        status != STATUS_NO_MEMORY)
        kms->refusing = true;
    return status;
}

/* *ret_applied: whether the failure, if any, is of the group as a whole and not of one in it. */
static enum status write_group(struct kms *kms, struct kms_write *group, bool *ret_applied)
{
    unsigned effects = 0;
    *ret_applied = true;
    if (kms->refusing)
        return STATUS_STORE_FAILED;
    enum status status = db_run(&kms->writer, "BEGIN IMMEDIATE");
    if (status != STATUS_OK)
        return status;
    status = apply_group(kms, group, &effects);
    *ret_applied = status == STATUS_OK;
    if (status == STATUS_OK)
        status = commit(kms, effects);
    if (!sqlite3_get_autocommit(kms->writer.handle))
        (void)sqlite3_exec(kms->writer.handle, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static void fail_all(struct kms_write *group, enum status status)
{
    for (; group != NULL; group = group->next)
        group->status = status;
}

/* One that met a damaged page, say, need not be suffered for by the others. */
static void run_each_alone(struct kms *kms, struct kms_write *group)
{
    while (group != NULL) {
        struct kms_write *alone = group;
        group = group->next;
        alone->next = NULL;
        bool applied;
        enum status status = write_group(kms, alone, &applied);
        if (status != STATUS_OK)
            alone->status = status;
        alone->next = group;
    }
}

static void run_group(struct kms *kms, struct kms_write *group)
{
    bool applied;
    enum status status = write_group(kms, group, &applied);
    if (status == STATUS_OK)
        return;
    if (!applied && group->next != NULL)
        run_each_alone(kms, group);
    else
        fail_all(group, status);
}

/* Takes the first of those that wait, `kms->lock` held. */
static struct kms_write *take_group(struct kms *kms)
{
    struct kms_write *group = kms->waiting;
    struct kms_write *last = group;
    for (size_t i = 1; i < GROUP_MAX && last->next != NULL; i++)
        last = last->next;
    kms->waiting = last->next;
    if (kms->waiting == NULL)
        kms->waiting_end = &kms->waiting;
    last->next = NULL;
    return group;
}

/* Carries a group out for all in it, `kms->lock` held before and after. */
static void lead(struct kms *kms)
{
    struct kms_write *group = take_group(kms);
    kms->writing = true;
    (void)pthread_mutex_unlock(&kms->lock);
    run_group(kms, group);
    (void)pthread_mutex_lock(&kms->lock);
    kms->writing = false;
    while (group != NULL) { /* whose owner may be gone once it is done */
        struct kms_write *next = group->next;
        group->done = true;
        group = next;
    }
    (void)pthread_cond_broadcast(&kms->written);
}

enum status kms_write(struct kms *kms, unsigned effects, kms_change *change, void *argument)
{
    return kms_write_deciding(kms, &effects, change, argument);
}

enum status kms_write_deciding(struct kms *kms, const unsigned *effects, kms_change *change,
                               void *argument)
{
    struct kms_write write = {.change = change, .argument = argument, .effects = effects};
    (void)pthread_mutex_lock(&kms->lock);
    *kms->waiting_end = &write;
    kms->waiting_end = &write.next;
    while (!write.done) {
        if (kms->writing)
            (void)pthread_cond_wait(&kms->written, &kms->lock);
        else
            lead(kms);
    }
    (void)pthread_mutex_unlock(&kms->lock);
    return write.status;
}

/* ---- Reading ---- */

static enum status open_reader(struct kms *kms, struct db **ret_db)
{
    struct db *db = calloc(1, sizeof(*db));
    enum status status = db == NULL ? STATUS_NO_MEMORY : db_open(kms->path, READER_PRAGMAS, db);
    if (status != STATUS_OK)
        free(db);
    else
        *ret_db = db;
    return status;
}

enum status kms_read_begin(struct kms *kms, struct db **ret_db)
{
    (void)pthread_mutex_lock(&kms->lock);
    while (kms->idle == 0 && kms->opened == KMS_READERS_MAX)
        (void)pthread_cond_wait(&kms->returned, &kms->lock);
    if (kms->idle > 0) {
        *ret_db = kms->readers[--kms->idle];
        (void)pthread_mutex_unlock(&kms->lock);
        return STATUS_OK;
    }
    kms->opened++;
    (void)pthread_mutex_unlock(&kms->lock);
    enum status status = open_reader(kms, ret_db);
    if (status != STATUS_OK) {
        (void)pthread_mutex_lock(&kms->lock);
        kms->opened--;
        (void)pthread_cond_signal(&kms->returned);
        (void)pthread_mutex_unlock(&kms->lock);
    }
    return status;
}

void kms_read_end(struct kms *kms, struct db *db)
{
    (void)pthread_mutex_lock(&kms->lock);
    kms->readers[kms->idle++] = db;
    (void)pthread_cond_signal(&kms->returned);
    (void)pthread_mutex_unlock(&kms->lock);
}

/* ---- Opening ---- */

static const struct db_kind key_database = {
    .name = "key database",
    .missing = "it, or its directory, does not exist: correct the path",
};

static enum status open_writer(struct kms *kms)
{
    bool left_open = db_was_left_open(kms->path);
    enum status status = db_open(kms->path, WRITER_PRAGMAS, &kms->writer);
    if (status == STATUS_OK && left_open)
        status = db_check_whole(&kms->writer);
    if (status == STATUS_OK)
        status = db_set_log_mode(&kms->writer);
    if (status == STATUS_OK)
        status = db_check_kind(&kms->writer, KMS_APPLICATION_ID);
    if (status == STATUS_OK)
        status = db_migrate(&kms->writer, KMS_APPLICATION_ID, kms_migrations, kms_schema_version);
    return status;
}

static enum status open_files(struct kms *kms, bool create, struct error *error)
{
    enum status status = db_lock(&key_database, kms->path, &kms->lock_file, error);
    if (status == STATUS_OK)
        status = db_make_file(&key_database, kms->path, create, error);
    if (status != STATUS_OK)
        return status;
    status = open_writer(kms);
    return status == STATUS_OK ? STATUS_OK : db_explain(&key_database, kms->path, status, error);
}

enum status kms_open(const char *path, bool create, struct kms **ret_kms, struct error *error)
{
    struct kms *kms = calloc(1, sizeof(*kms));
    if (kms == NULL)
        return db_explain(&key_database, path, STATUS_NO_MEMORY, error);
    kms->lock_file = -1;
    atomic_init(&kms->instance_generation, 1);
    kms->waiting_end = &kms->waiting;
    (void)pthread_mutex_init(&kms->lock, NULL);
    (void)pthread_cond_init(&kms->written, NULL);
    (void)pthread_cond_init(&kms->returned, NULL);
    kms->path = strdup(path);
    kms->cache = kms_cache_new();
    enum status status = kms->path == NULL || kms->cache == NULL
                             ? db_explain(&key_database, path, STATUS_NO_MEMORY, error)
                             : open_files(kms, create, error);
    if (status != STATUS_OK)
        kms_close(kms);
    else
        *ret_kms = kms;
    return status;
}

void kms_close(struct kms *kms)
{
    if (kms == NULL)
        return;
    for (size_t i = 0; i < kms->idle; i++) {
        db_close(kms->readers[i]);
        free(kms->readers[i]);
    }
    db_close(&kms->writer); /* last: it copies the log back and removes it */
    kms_cache_free(kms->cache);
    if (kms->lock_file >= 0)
        (void)close(kms->lock_file);
    (void)pthread_cond_destroy(&kms->written);
    (void)pthread_cond_destroy(&kms->returned);
    (void)pthread_mutex_destroy(&kms->lock);
    free(kms->path);
    free(kms);
}
