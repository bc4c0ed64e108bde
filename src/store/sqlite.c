/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the SQLite store: the file, its lock, and what to tell an administrator. */
#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK_WHOLE_BYTES (64 << 20)

/* ---- Texts ---- */

/* What each failure of opening means for the file, and what to do. */
static const struct {
    enum status status;
    const char *text;
} failure_texts[] = {
    {STATUS_STORE_FULL, "no space left on its file system: free some and start again"},
    {STATUS_STORE_READ_ONLY, "cannot be written: make the file and its directory writable for "
                             "this user, and the file system mounted read-write"},
    {STATUS_STORE_CORRUPT, "damaged, or not a store of kmipd: move it away and restore a backup, "
                           "or check it with: sqlite3 FILE 'PRAGMA integrity_check'"},
    {STATUS_STORE_NEWER, "written by a newer version of kmipd: start that version, or restore a "
                         "backup from before the upgrade"},
    {STATUS_NO_MEMORY, "out of memory"},
    {STATUS_STORE_FAILED, "cannot be read or written: look into the kernel's log for errors of "
                          "its disk"},
};

static enum status explain(struct error *error, enum status status, const char *path)
{
    const char *text = status_text(status);
    for (size_t i = 0; i < ARRAY_COUNT(failure_texts); i++)
        if (failure_texts[i].status == status)
            text = failure_texts[i].text;
    return error_set(error, status, "store %s: %s", path, text);
}

static enum status explain_errno(struct error *error, int code, const char *path)
{
    switch (code) {
    case ENOENT:
    case ENOTDIR:
        return error_set(error, STATUS_NOT_FOUND,
                         "store %s: its directory does not exist: make it, or correct the path",
                         path);
    case EROFS:
    case EACCES:
    case EPERM:
        return explain(error, STATUS_STORE_READ_ONLY, path);
    case ENOSPC:
    case EDQUOT:
        return explain(error, STATUS_STORE_FULL, path);
    default:
        return error_set_errno(error, STATUS_STORE_FAILED, code, "store %s: cannot open", path);
    }
}

/* ---- The lock ---- */

static enum status in_use(struct error *error, int lock_file, const char *path)
{
    char pid[16] = "";
    ssize_t length = pread(lock_file, pid, sizeof(pid) - 1, 0);
    pid[length > 0 ? (size_t)length : 0] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    return error_set(error, STATUS_BUSY,
                     "store %s: in use by another process%s%s: stop that one first", path,
                     pid[0] != '\0' ? ", " : "", pid);
}

/* The number is for people; the lock itself goes away with its process. */
static enum status write_pid(struct error *error, int lock_file, const char *path)
{
    char pid[16];
    int length = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(lock_file, 0) == 0 && pwrite(lock_file, pid, (size_t)length, 0) == length)
        return STATUS_OK;
    return explain_errno(error, errno, path);
}

static enum status lock(struct sqlite_store *store, struct error *error)
{
    char *lock_path = NULL;
    if (asprintf(&lock_path, "%s.lock", store->path) < 0)
        return explain(error, STATUS_NO_MEMORY, store->path);
    store->lock_file = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int code = errno;
    free(lock_path);
    if (store->lock_file < 0)
        return explain_errno(error, code, store->path);
    if (flock(store->lock_file, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? in_use(error, store->lock_file, store->path)
                                    : explain_errno(error, errno, store->path);
    return write_pid(error, store->lock_file, store->path);
}

/* ---- The file ---- */

/* Makes the file for this user alone, before SQLite makes it for all; the log files follow it. */
static enum status make_file(const char *path, struct error *error)
{
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return explain_errno(error, errno, path);
    (void)close(file);
    return STATUS_OK;
}

/*
 * A log that is not empty was left by an end without a close: kill -9, a crash, a power cut. None
 * of them damages a store, SQLite recovers the commits from the log by their checksums. So the
 * whole file is checked then only as long as that takes no noticeable time; of a large one, as
 * after every clean end, the header and the size. Damaged pages are found when they are read, and
 * are then STORE_CORRUPT.
 */
static bool was_left_open(const char *path)
{
    char *log_path = NULL;
    if (asprintf(&log_path, "%s-wal", path) < 0)
        return true;
    struct stat log;
    bool left_open = stat(log_path, &log) == 0 && log.st_size > 0;
    free(log_path);
    return left_open;
}

/* The number that a query gives; -1 without one. */
static enum status read_number(struct connection *connection, const char *sql, int64_t *ret_number)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(connection->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    *ret_number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
    (void)sqlite3_finalize(statement);
    return sqlite_status(code);
}

/* "ok", or what is wrong. */
static enum status check_whole(struct connection *connection)
{
    int64_t sound = 0;
    enum status status = read_number(
        connection, "SELECT count(*) FROM pragma_quick_check(1) WHERE quick_check = 'ok'", &sound);
    return status == STATUS_OK && sound != 1 ? STATUS_STORE_CORRUPT : status;
}

/* The file is empty, or it is a store. */
static enum status check_kind(struct connection *connection)
{
    int64_t application = 0;
    int64_t tables = 0;
    enum status status = read_number(connection, "PRAGMA application_id", &application);
    if (status == STATUS_OK)
        status = read_number(connection, "SELECT count(*) FROM sqlite_master", &tables);
    if (status == STATUS_OK && tables > 0 && application != SQLITE_APPLICATION_ID)
        return STATUS_STORE_CORRUPT;
    return status;
}

static enum status check_size(struct connection *connection, const char *path, bool left_open)
{
    int64_t pages = 0;
    int64_t page_size = 0;
    struct stat file;
    enum status status = read_number(connection, "PRAGMA page_count", &pages);
    if (status == STATUS_OK)
        status = read_number(connection, "PRAGMA page_size", &page_size);
    if (status != STATUS_OK)
        return status;
    if (left_open) /* then what is missing in the file may be in the log */
        return pages * page_size <= CHECK_WHOLE_BYTES ? check_whole(connection) : STATUS_OK;
    bool whole = stat(path, &file) == 0 && file.st_size >= pages * page_size;
    return whole ? STATUS_OK : STATUS_STORE_CORRUPT;
}

static enum status check(struct sqlite_store *store, bool left_open)
{
    enum status status = check_kind(&store->writer);
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
    struct sql_call call = sql_start(&store->writer, WRITE_LAST_SEQUENCE);
    if (sql_next(&call))
        store->next_sequence = sql_column(&call) + 1;
    return sql_end(&call);
}

/* SQLite says nothing when it keeps another mode, as on file systems without shared memory. */
static enum status set_log_mode(struct connection *connection)
{
    int64_t set = 0;
    enum status status = sqlite_connection_run(connection, "PRAGMA journal_mode = WAL");
    if (status == STATUS_OK)
        status =
            read_number(connection, "SELECT journal_mode = 'wal' FROM pragma_journal_mode", &set);
    return status == STATUS_OK && set != 1 ? STATUS_STORE_FAILED : status;
}

static enum status open_writer(struct sqlite_store *store)
{
    bool left_open = was_left_open(store->path);
    enum status status = sqlite_connection_open(store->path, &store->writer);
    if (status == STATUS_OK)
        status = check(store, left_open);
    if (status == STATUS_OK)
        status = set_log_mode(&store->writer);
    if (status == STATUS_OK)
        status = sqlite_migrate(&store->writer, sqlite_migrations, sqlite_schema_version);
    if (status == STATUS_OK)
        status = sqlite_connection_prepare(&store->writer, sqlite_write_sql, WRITE_STATEMENT_COUNT);
    if (status == STATUS_OK)
        status = read_last_sequence(store);
    if (status != STATUS_OK)
        return status;
    (void)sqlite3_wal_hook(store->writer.db, after_commit, store);
    return sqlite_checkpointer_start(&store->checkpointer, store->path);
}

static void sqlite_close(struct backend *backend)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    sqlite_checkpointer_stop(&store->checkpointer);
    sqlite_connection_close(&store->writer);
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
        status = make_file(store->path, error);
    if (status != STATUS_OK)
        return status;
    status = open_writer(store);
    return status == STATUS_OK ? STATUS_OK : explain(error, status, store->path);
}

enum status store_open_sqlite(const char *path, const struct store_options *options,
                              struct store **ret_store, struct error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, configure_library);
    size_t size = strlen(path) + 1;
    struct sqlite_store *store = calloc(1, sizeof(*store) + size);
    if (store == NULL)
        return explain(error, STATUS_NO_MEMORY, path);
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
