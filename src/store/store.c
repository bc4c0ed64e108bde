/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hex.h"
#include "store/backend.h"
#include "store/cache.h"
#include "store/committer.h"

struct store {
    struct backend *backend;
    struct store_cache *cache; /* or NULL */
    struct committer *committer;
    atomic_bool damaged; /* a damaged page was met: what is not found may be there */
};

struct store_session {
    struct store *store;
    struct backend_reader *reader;
};

/* ---- Opening ---- */

enum status store_open_backend(struct backend *backend, const struct store_options *options,
                               struct store **ret_store, struct error *error)
{
    struct store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        backend->type->close(backend);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the store");
    }
    store->backend = backend;
    enum status status = STATUS_OK;
    if (options->cache_bytes > 0)
        status = store_cache_new(options->cache_bytes, &store->cache);
    if (status == STATUS_OK)
        status = committer_start(backend, store->cache, &store->committer);
    if (status != STATUS_OK) {
        store_close(store);
        return error_set(error, status, "no memory for the store's cache and thread");
    }
    *ret_store = store;
    return STATUS_OK;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    committer_stop(store->committer);
    store_cache_free(store->cache);
    store->backend->type->close(store->backend);
    free(store);
}

enum status store_session_open(struct store *store, struct store_session **ret_session)
{
    struct store_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return STATUS_NO_MEMORY;
    session->store = store;
    enum status status = store->backend->type->reader_open(store->backend, &session->reader);
    if (status != STATUS_OK) {
        free(session);
        return status;
    }
    *ret_session = session;
    return STATUS_OK;
}

void store_session_close(struct store_session *session)
{
    if (session == NULL)
        return;
    session->store->backend->type->reader_close(session->reader);
    free(session);
}

enum status store_health(struct store *store)
{
    enum status status = committer_health(store->committer);
    if (status == STATUS_STORE_CORRUPT)
        atomic_store(&store->damaged, true);
    return status == STATUS_OK && atomic_load(&store->damaged) ? STATUS_STORE_CORRUPT : status;
}

uint64_t store_generation(struct store *store)
{
    return committer_generation(store->committer);
}

static const struct backend_type *type_of(const struct store_session *session)
{
    return session->store->backend->type;
}

/* The outcome of reading. */
static enum status outcome(struct store *store, enum status status)
{
    if (status == STATUS_STORE_CORRUPT)
        atomic_store(&store->damaged, true);
    return status;
}

/* ---- Managed objects ---- */

/* In a damaged store the way to an object may be lost where the object is not. */
static enum status outcome_of_get(struct store *store, enum status status)
{
    if (status == STATUS_OBJECT_NOT_FOUND && store_health(store) == STATUS_STORE_CORRUPT)
        return STATUS_STORE_CORRUPT;
    return outcome(store, status);
}

enum status store_get(struct store_session *session, int64_t adapter, const struct uuid *id,
                      struct stored_object **ret_object)
{
    struct store_cache *cache = session->store->cache;
    uint64_t ticket = 0;
    struct stored_object *object = store_cache_get(cache, adapter, id, &ticket);
    if (object == NULL) {
        enum status status = type_of(session)->get(session->reader, adapter, id, &object);
        if (status != STATUS_OK)
            return outcome_of_get(session->store, status);
        store_cache_offer(cache, object, ticket);
    }
    *ret_object = object;
    return STATUS_OK;
}

/* Shows a page to the visitor. False when it does not want more. */
static bool visit_page(struct backend_page *page, store_visit *visit, void *context,
                       size_t *ret_visited)
{
    bool more = true;
    *ret_visited = 0;
    while (more && *ret_visited < page->count)
        more = visit(context, page->objects[(*ret_visited)++]);
    return more;
}

static void release_page(struct backend_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        stored_object_release(page->objects[i]);
}

/* Where to go on after `visited` objects of a page. */
static int64_t next_after(const struct backend_page *page, size_t visited)
{
    return visited < page->count ? page->objects[visited - 1]->row.sequence : page->next;
}

/*
 * A back end gives finished pages, so that no visitor runs while it reads: what a visitor does
 * with the same session sees the newest commit.
 */
enum status store_find(struct store_session *session, const struct store_query *query,
                       store_visit *visit, void *context, int64_t *ret_next)
{
    struct store_query part = *query;
    size_t left = query->limit;
    for (;;) {
        struct backend_page page = {0};
        part.limit = left < BACKEND_PAGE_MAX ? left : BACKEND_PAGE_MAX;
        enum status status = type_of(session)->find(session->reader, &part, &page);
        if (status != STATUS_OK)
            return outcome(session->store, status);
        size_t visited;
        bool more = visit_page(&page, visit, context, &visited);
        bool full = page.count == part.limit; /* else it has looked at enough for one call */
        part.after = next_after(&page, visited);
        left -= visited;
        release_page(&page);
        if (!more || !full || left == 0 || part.after == 0)
            break;
    }
    *ret_next = part.after;
    return STATUS_OK;
}

enum status store_count(struct store_session *session, int64_t adapter,
                        int64_t ret_counts[static OBJECT_STATE_COUNT])
{
    return outcome(session->store,
                   type_of(session)->count(session->reader, adapter, ret_counts));
}

/* ---- Transactions ---- */

void store_submit(struct store *store, struct store_transaction *transaction)
{
    committer_submit(store->committer, transaction);
}

struct waiting_transaction {
    struct store_transaction transaction;
    enum status status;
    sem_t finished;
};

static void finish_waiting(struct store_transaction *transaction, enum status status)
{
    struct waiting_transaction *waiting =
        CONTAINER_OF(transaction, struct waiting_transaction, transaction);
    waiting->status = status;
    (void)sem_post(&waiting->finished);
}

enum status store_commit(struct store *store, struct store_change *changes, size_t count)
{
    struct waiting_transaction waiting = {
        .transaction = {.changes = changes, .count = count, .done = finish_waiting}};
    if (sem_init(&waiting.finished, 0, 0) != 0)
        return STATUS_NO_MEMORY;
    store_submit(store, &waiting.transaction);
    while (sem_wait(&waiting.finished) != 0 && errno == EINTR)
        continue;
    (void)sem_destroy(&waiting.finished);
    return waiting.status;
}

/* ---- Adapters ---- */

static enum status run_adapter_insert(struct backend *backend, void *argument)
{
    return backend->type->adapter_insert(backend, argument);
}

enum status store_adapter_insert(struct store *store, struct adapter_row *row)
{
    if (row->key_manager == 0)
        return STATUS_INVALID_ARGUMENT;
    struct adapter_row inserted = *row; /* its id counts only once it is committed */
    enum status status =
        committer_run(store->committer, ORDER_CHANGES_GENERATION, run_adapter_insert, &inserted);
    if (status == STATUS_OK)
        row->id = inserted.id;
    return status;
}

static enum status run_adapter_update(struct backend *backend, void *argument)
{
    return backend->type->adapter_update(backend, argument);
}

enum status store_adapter_update(struct store *store, const struct adapter_row *row)
{
    struct adapter_row updated = *row;
    return committer_run(store->committer, ORDER_CHANGES_GENERATION, run_adapter_update, &updated);
}

static enum status run_adapter_move(struct backend *backend, void *argument)
{
    return backend->type->adapter_move(backend, argument);
}

enum status store_adapter_move(struct store *store, int64_t adapter, uint32_t key_manager,
                               const struct uuid *root_key)
{
    if (key_manager == 0)
        return STATUS_INVALID_ARGUMENT;
    struct adapter_row moved = {.id = adapter, .key_manager = key_manager, .root_key = *root_key};
    return committer_run(store->committer, ORDER_CHANGES_GENERATION, run_adapter_move, &moved);
}

struct deletion {
    int64_t adapter;
    bool more;
};

static enum status run_adapter_delete(struct backend *backend, void *argument)
{
    struct deletion *deletion = argument;
    return backend->type->adapter_delete(backend, deletion->adapter, &deletion->more);
}

/* In steps, so that the deletion of millions of objects does not hold up everyone's commits. */
enum status store_adapter_delete(struct store *store, int64_t adapter)
{
    struct deletion deletion = {.adapter = adapter};
    enum status status;
    do {
        deletion.more = false;
        status = committer_run(store->committer, ORDER_CHANGES_GENERATION | ORDER_CLEARS_CACHE,
                               run_adapter_delete, &deletion);
    } while (status == STATUS_OK && deletion.more);
    return status;
}

/* Rows are gathered before any is shown: a visitor may use the session for something else. */
struct adapter_list {
    struct adapter_row *rows;
    size_t count;
    size_t capacity;
    bool no_memory;
};

static bool gather_adapter(void *context, const struct adapter_row *row)
{
    struct adapter_list *list = context;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        struct adapter_row *rows = reallocarray(list->rows, capacity, sizeof(*rows));
        list->no_memory = rows == NULL;
        if (list->no_memory)
            return false;
        list->rows = rows;
        list->capacity = capacity;
    }
    list->rows[list->count++] = *row;
    return true;
}

static enum status gather_adapters(struct store_session *session, struct adapter_list *list)
{
    enum status status = outcome(
        session->store, type_of(session)->adapters(session->reader, gather_adapter, list));
    return status == STATUS_OK && list->no_memory ? STATUS_NO_MEMORY : status;
}

enum status store_adapters(struct store_session *session, store_visit_adapter *visit, void *context)
{
    struct adapter_list list = {0};
    enum status status = gather_adapters(session, &list);
    for (size_t i = 0; status == STATUS_OK && i < list.count; i++)
        if (!visit(context, &list.rows[i]))
            break;
    free(list.rows);
    return status;
}

static const struct adapter_row *find_adapter(const struct adapter_list *list,
                                              struct bytes name_or_uuid)
{
    for (size_t i = 0; i < list->count; i++)
        if (bytes_equal_text(name_or_uuid, list->rows[i].name))
            return &list->rows[i];
    struct uuid uuid;
    if (!uuid_parse(name_or_uuid, &uuid))
        return NULL;
    for (size_t i = 0; i < list->count; i++)
        if (uuid_equal(&uuid, &list->rows[i].uuid))
            return &list->rows[i];
    return NULL;
}

enum status store_adapter_find(struct store_session *session, struct bytes name_or_uuid,
                               struct adapter_row *ret_row)
{
    struct adapter_list list = {0};
    enum status status = gather_adapters(session, &list);
    if (status == STATUS_OK) {
        const struct adapter_row *row = find_adapter(&list, name_or_uuid);
        if (row != NULL)
            *ret_row = *row;
        else
            status = STATUS_NOT_FOUND;
    }
    free(list.rows);
    return status;
}

/* ---- Client certificates ---- */

static enum status run_certificate_insert(struct backend *backend, void *argument)
{
    return backend->type->certificate_insert(backend, argument);
}

enum status store_certificate_insert(struct store *store, const struct certificate_row *row)
{
    struct certificate_row inserted = *row;
    return committer_run(store->committer, ORDER_CHANGES_GENERATION, run_certificate_insert,
                         &inserted);
}

struct certificate_name {
    int64_t adapter;
    struct bytes text;
};

static enum status run_certificate_delete(struct backend *backend, void *argument)
{
    const struct certificate_name *name = argument;
    enum status (*delete)(struct backend *, int64_t, enum backend_certificate_key, struct bytes) =
        backend->type->certificate_delete;
    enum status status = delete (backend, name->adapter, BACKEND_CERTIFICATE_NAME, name->text);
    struct uuid id;
    if (status == STATUS_NOT_FOUND && uuid_parse(name->text, &id))
        status = delete (backend, name->adapter, BACKEND_CERTIFICATE_ID, uuid_bytes(&id));
    uint8_t fingerprint[STORE_FINGERPRINT_SIZE];
    if (status == STATUS_NOT_FOUND && hex_decode(name->text, fingerprint, sizeof(fingerprint)))
        status = delete (backend, name->adapter, BACKEND_CERTIFICATE_FINGERPRINT,
                         bytes_of(fingerprint, sizeof(fingerprint)));
    return status;
}

enum status store_certificate_delete(struct store *store, int64_t adapter, struct bytes name_or_id)
{
    struct certificate_name name = {adapter, name_or_id};
    return committer_run(store->committer, ORDER_CHANGES_GENERATION, run_certificate_delete, &name);
}

struct certificate_node {
    struct certificate_node *next;
    struct certificate_row row;
    uint8_t der[];
};

struct certificate_list {
    struct certificate_node *first;
    struct certificate_node **last;
    bool no_memory;
};

static bool gather_certificate(void *context, const struct certificate_row *row)
{
    struct certificate_list *list = context;
    struct certificate_node *node = malloc(sizeof(*node) + row->der.size);
    list->no_memory = node == NULL;
    if (node == NULL)
        return false;
    node->next = NULL;
    node->row = *row;
    if (row->der.size > 0)
        memcpy(node->der, row->der.data, row->der.size);
    node->row.der.data = node->der;
    *list->last = node;
    list->last = &node->next;
    return true;
}

static void free_certificates(struct certificate_node *node)
{
    while (node != NULL) {
        struct certificate_node *next = node->next;
        free(node);
        node = next;
    }
}

enum status store_certificates(struct store_session *session, int64_t adapter,
                               store_visit_certificate *visit, void *context)
{
    struct certificate_list list = {.last = &list.first};
    enum status status = outcome(
        session->store,
        type_of(session)->certificates(session->reader, adapter, gather_certificate, &list));
    if (status == STATUS_OK && list.no_memory)
        status = STATUS_NO_MEMORY;
    for (struct certificate_node *node = list.first; status == STATUS_OK && node != NULL;
         node = node->next)
        if (!visit(context, &node->row))
            break;
    free_certificates(list.first);
    return status;
}

/* ---- Records ---- */

static enum status run_record_put(struct backend *backend, void *argument)
{
    return backend->type->record_put(backend, argument);
}

enum status store_record_put(struct store *store, const struct record_row *row)
{
    struct record_row put = *row;
    return committer_run(store->committer, ORDER_PLAIN, run_record_put, &put);
}

static enum status run_record_remove(struct backend *backend, void *argument)
{
    return backend->type->record_remove(backend, argument);
}

enum status store_record_remove(struct store *store, const struct uuid *object)
{
    struct uuid removed = *object;
    return committer_run(store->committer, ORDER_PLAIN, run_record_remove, &removed);
}

static enum status run_record_left_remove(struct backend *backend, void *argument)
{
    return backend->type->record_left_remove(backend, argument);
}

enum status store_record_left_remove(struct store *store, const struct record_left *left)
{
    struct record_left removed = *left;
    return committer_run(store->committer, ORDER_PLAIN, run_record_left_remove, &removed);
}

enum status store_record_get(struct store_session *session, const struct uuid *object,
                             struct record_row *ret_row)
{
    return outcome(session->store, type_of(session)->record_get(session->reader, object, ret_row));
}

struct record_list {
    struct record_row *rows;
    size_t count;
};

static bool gather_record(void *context, const struct record_row *row)
{
    struct record_list *list = context;
    list->rows[list->count++] = *row;
    return true;
}

/* Part by part, each gathered before it is shown: a visitor may use the session. */
enum status store_records(struct store_session *session, int64_t adapter, const struct uuid *after,
                          size_t limit, store_visit_record *visit, void *context)
{
    struct record_row rows[BACKEND_PAGE_MAX];
    struct record_list list = {.rows = rows, .count = BACKEND_PAGE_MAX};
    struct uuid last; /* the rows are overwritten while it is used */
    while (limit > 0 && list.count == BACKEND_PAGE_MAX) {
        list.count = 0;
        size_t part = limit < BACKEND_PAGE_MAX ? limit : BACKEND_PAGE_MAX;
        enum status status = type_of(session)->records(session->reader, adapter, after, part,
                                                       gather_record, &list);
        if (status != STATUS_OK)
            return outcome(session->store, status);
        for (size_t i = 0; i < list.count; i++)
            if (!visit(context, &rows[i]))
                return STATUS_OK;
        limit -= list.count;
        if (list.count > 0)
            last = rows[list.count - 1].object;
        after = &last;
    }
    return STATUS_OK;
}

/* One page at a call: what is due is changed before the next is asked for. */
enum status store_records_due(struct store_session *session, int64_t adapter, int64_t after,
                              size_t limit, store_visit_due *visit, void *context,
                              int64_t *ret_next)
{
    struct backend_due due = {0};
    size_t part = limit < BACKEND_PAGE_MAX ? limit : BACKEND_PAGE_MAX;
    enum status status =
        type_of(session)->records_due(session->reader, adapter, after, part, &due);
    if (status != STATUS_OK)
        return outcome(session->store, status);
    size_t visited = 0;
    bool more = true;
    for (; more && visited < due.page.count; visited++)
        more = visit(context, due.page.objects[visited], &due.rows[visited]);
    *ret_next = next_after(&due.page, visited);
    release_page(&due.page);
    return STATUS_OK;
}

enum status store_records_left(struct store_session *session, const struct record_left *after,
                               size_t limit, struct record_left *ret_left, size_t *ret_count)
{
    static const struct record_left before_all = {0};
    return outcome(session->store, type_of(session)->records_left(
                                       session->reader, after != NULL ? after : &before_all, limit,
                                       ret_left, ret_count));
}

/* ---- Small named values ---- */

enum status store_value_get(struct store_session *session, const char *name, void *ret_value,
                            size_t capacity, size_t *ret_size)
{
    return outcome(session->store, type_of(session)->value_get(session->reader, name, ret_value,
                                                               capacity, ret_size));
}

struct named_value {
    const char *name;
    struct bytes value;
};

static enum status run_value_put(struct backend *backend, void *argument)
{
    const struct named_value *named = argument;
    return backend->type->value_put(backend, named->name, named->value);
}

enum status store_value_put(struct store *store, const char *name, struct bytes value)
{
    struct named_value named = {name, value};
    return committer_run(store->committer, ORDER_PLAIN, run_value_put, &named);
}
