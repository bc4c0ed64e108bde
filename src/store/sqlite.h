/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the SQLite back end: one connection that writes (the committer's), one for each reader,
 * each with its statements prepared once. Tables: sqlite_schema.c.
 */
#ifndef KMIPD_STORE_SQLITE_H
#define KMIPD_STORE_SQLITE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "sqlite/db.h"
#include "store/backend.h"

/* The page cache holds the inner pages of ten million objects. Checkpoints: sqlite_checkpoint.c. */
#define SQLITE_PRAGMAS "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 0"

/* ---- sqlite_schema.c ---- */

#define SQLITE_APPLICATION_ID 0x4B4D4950 /* "KMIP" */

extern const char *const sqlite_migrations[]; /* [n] leads from version n to n + 1 */
extern const int sqlite_schema_version;

/* ---- sqlite_read.c ---- */

enum read_statement {
    READ_BEGIN,
    READ_END,
    READ_OBJECT,
    READ_OBJECT_AT,
    READ_NEXT_WITH_TERM,
    READ_NEXT_OF_CLASS,
    READ_CLASSES,
    READ_COUNTS,
    READ_ADAPTERS,
    READ_CERTIFICATES,
    READ_VALUE,
    READ_RECORD,
    READ_RECORDS,
    READ_RECORDS_DUE,
    READ_RECORDS_LEFT,
    READ_STATEMENT_COUNT,
};

extern const char *const sqlite_read_sql[READ_STATEMENT_COUNT];

struct backend_reader {
    struct db db;
};

enum status sqlite_reader_open(struct backend *backend, struct backend_reader **ret_reader);
void sqlite_reader_close(struct backend_reader *reader);
enum status sqlite_get(struct backend_reader *reader, int64_t adapter, const struct uuid *id,
                       struct stored_object **ret_object);
enum status sqlite_count(struct backend_reader *reader, int64_t adapter,
                         int64_t ret_counts[static OBJECT_STATE_COUNT]);
enum status sqlite_adapters(struct backend_reader *reader, store_visit_adapter *visit,
                            void *context);
enum status sqlite_certificates(struct backend_reader *reader, int64_t adapter,
                                store_visit_certificate *visit, void *context);
enum status sqlite_value_get(struct backend_reader *reader, const char *name, void *ret_value,
                             size_t capacity, size_t *ret_size);

/* ---- sqlite_find.c ---- */

enum status sqlite_find(struct backend_reader *reader, const struct store_query *query,
                        struct backend_page *ret_page);

/* Reads one object of an adapter, which an index knows: else STORE_CORRUPT. */
enum status sqlite_read_at(struct db *db, int64_t adapter, int64_t sequence,
                           struct stored_object **ret_object);

/* ---- sqlite_record.c ---- */

enum status sqlite_record_get(struct backend_reader *reader, const struct uuid *object,
                              struct record_row *ret_row);
enum status sqlite_records(struct backend_reader *reader, int64_t adapter, const struct uuid *after,
                           size_t limit, store_visit_record *visit, void *context);
enum status sqlite_records_due(struct backend_reader *reader, int64_t adapter, int64_t after,
                               size_t limit, struct backend_due *ret_due);
enum status sqlite_records_left(struct backend_reader *reader, const struct record_left *after,
                                size_t limit, struct record_left *ret_left, size_t *ret_count);
enum status sqlite_record_put(struct backend *backend, const struct record_row *row);
enum status sqlite_record_remove(struct backend *backend, const struct uuid *object);
enum status sqlite_record_left_remove(struct backend *backend, const struct record_left *left);

/* ---- sqlite_write.c ---- */

enum status sqlite_begin(struct backend *backend);
enum status sqlite_commit(struct backend *backend);
void sqlite_rollback(struct backend *backend);
enum status sqlite_mark(struct backend *backend);
enum status sqlite_release(struct backend *backend);
enum status sqlite_undo(struct backend *backend);
enum status sqlite_insert(struct backend *backend, struct stored_object *object,
                          const struct store_change *change);
enum status sqlite_update(struct backend *backend, struct stored_object *object,
                          const struct store_change *change);

/* ---- sqlite_admin.c ---- */

enum status sqlite_adapter_insert(struct backend *backend, struct adapter_row *row);
enum status sqlite_adapter_update(struct backend *backend, const struct adapter_row *row);
enum status sqlite_adapter_move(struct backend *backend, const struct adapter_row *row);
enum status sqlite_adapter_delete(struct backend *backend, int64_t adapter, bool *ret_more);
enum status sqlite_certificate_insert(struct backend *backend, const struct certificate_row *row);
enum status sqlite_certificate_delete(struct backend *backend, int64_t adapter,
                                      enum backend_certificate_key key, struct bytes value);
enum status sqlite_value_put(struct backend *backend, const char *name, struct bytes value);

/* ---- sqlite_checkpoint.c ---- */

struct checkpointer {
    struct db db; /* the thread's */
    pthread_t thread;
    bool started;
    sem_t wake;
    atomic_bool stopping;
    atomic_int phase;
    enum status outcome; /* of the thread's last copying, once the phase says so */
    int finished_pages;  /* log pages when the committer last finished one; 0 in a new log */
};

enum status sqlite_checkpointer_start(struct checkpointer *checkpointer, const char *path) MUST_USE;
void sqlite_checkpointer_stop(struct checkpointer *checkpointer); /* also if it was never started */
/* Starts and finishes checkpoints as the log grows. */
enum status sqlite_maintain(struct backend *backend);

/* ---- The writer ---- */

enum write_statement {
    WRITE_BEGIN,
    WRITE_COMMIT,
    WRITE_MARK,
    WRITE_RELEASE,
    WRITE_UNDO,
    WRITE_LAST_SEQUENCE,
    WRITE_OBJECT_INSERT,
    WRITE_OBJECT_FIND,
    WRITE_OBJECT_UPDATE,
    WRITE_OBJECT_OF_ADAPTER,
    WRITE_OBJECT_DELETE,
    WRITE_TERM_INSERT,
    WRITE_TERM_DELETE,
    WRITE_NAME_FIND,
    WRITE_NAME_INSERT,
    WRITE_NAME_DELETE,
    WRITE_CLASS_ADD,
    WRITE_ADAPTER_INSERT,
    WRITE_ADAPTER_UPDATE,
    WRITE_ADAPTER_MOVE,
    WRITE_ADAPTER_FIND,
    WRITE_ADAPTER_KEY_MANAGER,
    WRITE_ADAPTER_LIVE,
    WRITE_ADAPTER_DELETE_CLASSES,
    WRITE_ADAPTER_DELETE_CERTIFICATES,
    WRITE_ADAPTER_DELETE,
    WRITE_CERTIFICATE_INSERT,
    WRITE_CERTIFICATE_DELETE_NAME,
    WRITE_CERTIFICATE_DELETE_ID,
    WRITE_CERTIFICATE_DELETE_FINGERPRINT,
    WRITE_VALUE_PUT,
    WRITE_RECORD_PUT,
    WRITE_RECORD_DUE,
    WRITE_RECORD_REMOVE,
    WRITE_RECORD_LEAVE,
    WRITE_RECORD_LEFT_REMOVE,
    WRITE_STATEMENT_COUNT,
};

extern const char *const sqlite_write_sql[WRITE_STATEMENT_COUNT];

/* Objects that came into a class (adapter, type, state) less those that left it, in this group. */
struct class_change {
    int64_t adapter;
    uint32_t object_type;
    uint32_t state;
    int64_t difference;
};

#define CLASS_CHANGE_MAX 64

struct sqlite_store {
    struct backend backend;
    struct db writer;
    int64_t next_sequence;
    struct class_change class_changes[CLASS_CHANGE_MAX];
    size_t class_change_count;
    int log_pages; /* of the write-ahead log, after the last commit */
    struct checkpointer checkpointer;
    int lock_file;
    char path[];
};

static inline struct sqlite_store *sqlite_store_of(struct backend *backend)
{
    return CONTAINER_OF(backend, struct sqlite_store, backend);
}

/* Puts the record of a change for the object in `row`, if the change has one; else what record the
 * object has is due. */
enum status sqlite_record_of_change(struct sqlite_store *store, const struct object_row *row,
                                    const struct store_change *change) MUST_USE;
/* Removes the record of an object whose row goes, and leaves it behind. */
enum status sqlite_record_leave(struct sqlite_store *store, const struct uuid *object) MUST_USE;

/* Deletes one of an adapter's objects, whichever. OBJECT_NOT_FOUND: it has none. */
enum status sqlite_delete_any(struct sqlite_store *store, int64_t adapter) MUST_USE;

/* Writes the class changes gathered so far to their table. */
enum status sqlite_write_classes(struct sqlite_store *store) MUST_USE;

#endif
