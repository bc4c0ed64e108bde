/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the SQLite store. */
#include "store/sqlite.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sqlite/file.h"

static const struct db_kind kind = {
    .name = "store",
    .missing = "its directory does not exist: make it, or correct the path",
};

/* ---- The file ---- */

/* The number is for people; the lock itself goes away with its process. */
static enum status write_pid(struct error *error, int lock_file, const char *path)
{
    char pid[16];
    int length = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(lock_file, 0) == 0 && pwrite(lock_file, pid, (size_t)length, 0) == length)
        return STATUS_OK;
    return db_explain_errno(&kind, path, errno, error);
}

static enum status lock(struct sqlite_store *store, struct error *error)
{
    enum status status = db_lock(&kind, store->path, &store->lock_file, error);
    return status != STATUS_OK ? status : write_pid(error, store->lock_file, store->path);
}

/* After a clean end the header and the size have to fit; after another one, what is missing in the
 * file may be in the log. */
static enum status check_size(struct db *db, const char *path, bool left_open)
{
    int64_t size = 0;
    struct stat file;
    if (left_open)
        return db_check_whole(db);
    enum status status = db_size(db, &size);
    if (status != STATUS_OK)
        return status;
    bool whole = stat(path, &file) == 0 && file.st_size >= size;
    return whole ? STATUS_OK : STATUS_STORE_CORRUPT;
}

static enum status check(struct sqlite_store *store, bool left_open)
{
    enum status status = db_check_kind(&store->writer, SQLITE_APPLICATION_ID);
    return status != STATUS_OK ? status : check_size(&store->writer, store->path, left_open);
}

static int after_commit(void *context, sqlite3 *db, const char *database, int log_pages)
{
    struct sqlite_store *store = context;
    store->log_pages = log_pages;
    return SQLITE_OK;
}

static enum status read_last_sequence(struct sqlite_store *store)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_LAST_SEQUENCE]);
    if (db_next(&call))
        store->next_sequence = db_column(&call) + 1;
    return db_end(&call);
}

static enum status open_writer(struct sqlite_store *store)
{
    bool left_open = db_was_left_open(store->path);
    enum status status = db_open(store->path, SQLITE_PRAGMAS, &store->writer);
    if (status == STATUS_OK)
        status = check(store, left_open);
    if (status == STATUS_OK)
        status = db_set_log_mode(&store->writer);
    if (status == STATUS_OK)
        status = db_migrate(&store->writer, SQLITE_APPLICATION_ID, sqlite_migrations,
                            sqlite_schema_version);
    if (status == STATUS_OK)
        status = db_prepare(&store->writer, sqlite_write_sql, WRITE_STATEMENT_COUNT);
    if (status == STATUS_OK)
        status = read_last_sequence(store);
    if (status != STATUS_OK)
        return status;
    (void)sqlite3_wal_hook(store->writer.handle, after_commit, store);
    return sqlite_checkpointer_start(&store->checkpointer, store->path);
}

static void sqlite_close(struct backend *backend)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    sqlite_checkpointer_stop(&store->checkpointer);
    db_close(&store->writer);
    if (store->lock_file >= 0)
        (void)close(store->lock_file);
    free(store);
}

static const struct backend_type sqlite_type = {
    .close = sqlite_close,
    .reader_open = sqlite_reader_open,
    .reader_close = sqlite_reader_close,
    .get = sqlite_get,
    .find = sqlite_find,
    .count = sqlite_count,
    .adapters = sqlite_adapters,
    .certificates = sqlite_certificates,
    .value_get = sqlite_value_get,
    .record_get = sqlite_record_get,
    .records = sqlite_records,
    .records_due = sqlite_records_due,
    .records_left = sqlite_records_left,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .mark = sqlite_mark,
    .release = sqlite_release,
    .undo = sqlite_undo,
    .insert = sqlite_insert,
    .update = sqlite_update,
    .record_put = sqlite_record_put,
    .record_remove = sqlite_record_remove,
    .record_left_remove = sqlite_record_left_remove,
    .adapter_insert = sqlite_adapter_insert,
    .adapter_update = sqlite_adapter_update,
    .adapter_move = sqlite_adapter_move,
    .adapter_delete = sqlite_adapter_delete,
    .certificate_insert = sqlite_certificate_insert,
    .certificate_delete = sqlite_certificate_delete,
    .value_put = sqlite_value_put,
    .maintain = sqlite_maintain,
};

/* Counting all memory under one lock would make readers wait for each other. Without effect when
 * SQLite is in use already. */
static void configure_library(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static enum status open_store(struct sqlite_store *store, struct error *error)
{
    enum status status = lock(store, error);
    if (status == STATUS_OK)
        status = db_make_file(&kind, store->path, true, error);
    if (status != STATUS_OK)
        return status;
    status = open_writer(store);
    return status == STATUS_OK ? STATUS_OK : db_explain(&kind, store->path, status, error);
}

enum status store_open_sqlite(const char *path, const struct store_options *options,
                              struct store **ret_store, struct error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, configure_library);
    size_t size = strlen(path) + 1;
    struct sqlite_store *store = calloc(1, sizeof(*store) + size);
    if (store == NULL)
        return db_explain(&kind, path, STATUS_NO_MEMORY, error);
    store->backend.type = &sqlite_type;
    store->lock_file = -1;
    memcpy(store->path, path, size);
    enum status status = open_store(store, error);
    if (status != STATUS_OK) {
        sqlite_close(&store->backend);
        return status;
    }
    return store_open_backend(&store->backend, options, ret_store, error);
}
