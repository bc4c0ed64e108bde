/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a back end does for the store. Each keeps the same rows and gives the same statuses; the
 * conformance suite in tests/unit/test_store.c is run against every one.
 *
 * Reading is through readers, each used by one thread at a time and seeing what was committed
 * when a call begins. Writing is by the committer's thread alone, between begin() and commit() or
 * rollback(). A writing function that fails for a reason of the request (a conflict, a name taken,
 * no such thing: backend_failed() is false) has changed nothing. When it fails for a reason of the
 * store, the whole of what was begun is lost, and rollback() follows.
 */
#ifndef KMIPD_STORE_BACKEND_H
#define KMIPD_STORE_BACKEND_H

#include "store/object.h"

struct backend_reader;
struct backend_type;

struct backend {
    const struct backend_type *type;
};

#define BACKEND_PAGE_MAX 64

/* A part of what a query finds, in ascending sequence. Whoever receives it releases the objects. */
struct backend_page {
    struct stored_object *objects[BACKEND_PAGE_MAX];
    size_t count;
    int64_t next; /* the `after` to go on with; 0: nothing is behind */
};

/* As backend_page, of objects whose record is due, each with the record's row. */
struct backend_due {
    struct backend_page page;
    struct record_row rows[BACKEND_PAGE_MAX];
};

enum backend_certificate_key {
    BACKEND_CERTIFICATE_NAME,
    BACKEND_CERTIFICATE_ID,
    BACKEND_CERTIFICATE_FINGERPRINT,
};

struct backend_type {
    void (*close)(struct backend *backend);

    /* ---- Reading ---- */
    enum status (*reader_open)(struct backend *backend, struct backend_reader **ret_reader);
    void (*reader_close)(struct backend_reader *reader);
    enum status (*get)(struct backend_reader *reader, int64_t adapter, const struct uuid *id,
                       struct stored_object **ret_object);
    /* At most `query->limit` objects, which is at most BACKEND_PAGE_MAX. May give fewer, even
     * none, with ret_page->next set, so that no call takes long. */
    enum status (*find)(struct backend_reader *reader, const struct store_query *query,
                        struct backend_page *ret_page);
    enum status (*count)(struct backend_reader *reader, int64_t adapter,
                         int64_t ret_counts[static OBJECT_STATE_COUNT]);
    /* In order of name. The visitor does not use the reader. */
    enum status (*adapters)(struct backend_reader *reader, store_visit_adapter *visit,
                            void *context);
    enum status (*certificates)(struct backend_reader *reader, int64_t adapter,
                                store_visit_certificate *visit, void *context);
    enum status (*value_get)(struct backend_reader *reader, const char *name, void *ret_value,
                             size_t capacity, size_t *ret_size);
    enum status (*record_get)(struct backend_reader *reader, const struct uuid *object,
                              struct record_row *ret_row);
    /* The visitor does not use the reader. */
    enum status (*records)(struct backend_reader *reader, int64_t adapter,
                           const struct uuid *after, size_t limit, store_visit_record *visit,
                           void *context);
    /* As find(). */
    enum status (*records_due)(struct backend_reader *reader, int64_t adapter, int64_t after,
                               size_t limit, struct backend_due *ret_due);
    enum status (*records_left)(struct backend_reader *reader, const struct record_left *after,
                                size_t limit, struct record_left *ret_left, size_t *ret_count);

    /* ---- Writing ---- */
    enum status (*begin)(struct backend *backend);
    /* STORE_FULL, STORE_READ_ONLY, NO_MEMORY: nothing has happened. Any other failure: it is not
     * known what has. */
    enum status (*commit)(struct backend *backend);
    void (*rollback)(struct backend *backend);
    /* mark() ... release() keeps, mark() ... undo() takes back what was done between. Not nested. */
    enum status (*mark)(struct backend *backend);
    enum status (*release)(struct backend *backend);
    enum status (*undo)(struct backend *backend);

    /* `object` is as it shall stand, and has what it takes of change->row; sets its sequence.
     * EXISTS, NAME_EXISTS, NOT_FOUND (adapter). */
    enum status (*insert)(struct backend *backend, struct stored_object *object,
                          const struct store_change *change);
    /* `object` is as it shall stand, its version one more than the one to replace; sets its
     * sequence and object type. OBJECT_NOT_FOUND, CONFLICT, NAME_EXISTS. */
    enum status (*update)(struct backend *backend, struct stored_object *object,
                          const struct store_change *change);
    /* OBJECT_NOT_FOUND. */
    enum status (*record_put)(struct backend *backend, const struct record_row *row);
    enum status (*record_remove)(struct backend *backend, const struct uuid *object);
    enum status (*record_left_remove)(struct backend *backend, const struct record_left *left);

    enum status (*adapter_insert)(struct backend *backend, struct adapter_row *row);
    /* Writes what store_adapter_update() says. */
    enum status (*adapter_update)(struct backend *backend, const struct adapter_row *row);
    /* Writes key_manager and root_key. */
    enum status (*adapter_move)(struct backend *backend, const struct adapter_row *row);
    /* Deletes the adapter with what belongs to it; or, when that is much, a part of its objects,
     * and *ret_more tells to call again. PERMISSION_DENIED, NOT_FOUND. */
    enum status (*adapter_delete)(struct backend *backend, int64_t adapter, bool *ret_more);
    enum status (*certificate_insert)(struct backend *backend, const struct certificate_row *row);
    enum status (*certificate_delete)(struct backend *backend, int64_t adapter,
                                      enum backend_certificate_key key, struct bytes value);
    enum status (*value_put)(struct backend *backend, const char *name, struct bytes value);

    /* Between groups: what is due. A failure stops all writing. */
    enum status (*maintain)(struct backend *backend);
};

/* Whether a status tells that the back end failed, and not that a request was refused. */
static inline bool backend_failed(enum status status)
{
    return status == STATUS_STORE_FULL || status == STATUS_STORE_READ_ONLY ||
           status == STATUS_STORE_CORRUPT || status == STATUS_STORE_FAILED ||
           status == STATUS_NO_MEMORY || status == STATUS_INTERNAL;
}

/* Makes the store around a back end, which it owns from now on, also when it fails. */
enum status store_open_backend(struct backend *backend, const struct store_options *options,
                               struct store **ret_store, struct error *error) MUST_USE;

#endif
