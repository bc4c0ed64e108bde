/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding objects. Each term is an ascending list of sequences in an index, and so is each class
 * (adapter, object type, state). A match is a sequence that is in every term's list and, where
 * the query asks for types or states, in one of the classes'. The lists leap over each other:
 * each is asked for its first sequence not before the candidate, which becomes the candidate. So
 * the work follows the shortest list, whichever that is, and each step is one descent of an index.
 */
#include "store/sqlite.h"

#include <stdlib.h>

#define END      INT64_MAX
#define SEEK_MAX 20000 /* in one call: some ten milliseconds */

struct class_list {
    uint32_t object_type;
    uint32_t state;
    int64_t at; /* its first sequence not before the candidate asked for last; or END */
};

struct search {
    struct db *db;
    const struct store_query *query;
    struct class_list *classes;
    size_t class_count;
    bool by_class;
    unsigned seeks;
    enum status status;
};

static int64_t seek(struct search *search, struct db_query *call)
{
    search->seeks++;
    int64_t sequence = db_next(call) ? db_column(call) : END;
    enum status status = db_end(call);
    if (status != STATUS_OK)
        search->status = status;
    return sequence;
}

static int64_t seek_term(struct search *search, uint64_t term, int64_t from)
{
    struct db_query call = db_query(search->db, sqlite_read_sql[READ_NEXT_WITH_TERM]);
    db_bind(&call, search->query->adapter);
    db_bind(&call, (int64_t)term);
    db_bind(&call, from);
    return seek(search, &call);
}

static int64_t seek_class(struct search *search, struct class_list *class, int64_t from)
{
    if (class->at < from) {
        struct db_query call = db_query(search->db, sqlite_read_sql[READ_NEXT_OF_CLASS]);
        db_bind(&call, search->query->adapter);
        db_bind(&call, class->object_type);
        db_bind(&call, class->state);
        db_bind(&call, from);
        class->at = seek(search, &call);
    }
    return class->at;
}

/* The first sequence not before `from` that is in any of the classes. */
static int64_t seek_classes(struct search *search, int64_t from)
{
    int64_t first = END;
    for (size_t i = 0; i < search->class_count; i++) {
        int64_t at = seek_class(search, &search->classes[i], from);
        first = at < first ? at : first;
    }
    return first;
}

/* The first match not before `from`, or END. When out of seeks: a sequence before which there is
 * none. */
static int64_t next_match(struct search *search, int64_t from)
{
    int64_t candidate = from;
    int64_t asked;
    do {
        asked = candidate;
        for (size_t i = 0; i < search->query->term_count && candidate != END; i++)
            candidate = seek_term(search, search->query->terms[i], candidate);
        if (search->by_class && candidate != END)
            candidate = seek_classes(search, candidate);
    } while (candidate != asked && candidate != END && search->seeks < SEEK_MAX &&
             search->status == STATUS_OK);
    return candidate;
}

static bool wanted(const struct store_query *query, uint32_t object_type, uint32_t state)
{
    return (query->object_type == 0 || query->object_type == object_type) &&
           (query->states == 0 || (state < 32 && (query->states & STORE_STATE_BIT(state)) != 0));
}

static enum status add_class(struct search *search, uint32_t object_type, uint32_t state)
{
    struct class_list *classes =
        reallocarray(search->classes, search->class_count + 1, sizeof(*classes));
    if (classes == NULL)
        return STATUS_NO_MEMORY;
    search->classes = classes;
    classes[search->class_count++] = (struct class_list){object_type, state, 0};
    return STATUS_OK;
}

/* Which classes have objects and are asked for. They are few: types by states. */
static enum status find_classes(struct search *search)
{
    struct db_query call = db_query(search->db, sqlite_read_sql[READ_CLASSES]);
    db_bind(&call, search->query->adapter);
    enum status added = STATUS_OK;
    while (added == STATUS_OK && db_next(&call)) {
        uint32_t object_type = (uint32_t)db_column(&call);
        uint32_t state = (uint32_t)db_column(&call);
        if (wanted(search->query, object_type, state))
            added = add_class(search, object_type, state);
    }
    enum status status = db_end(&call);
    return status != STATUS_OK ? status : added;
}

enum status sqlite_read_at(struct db *db, int64_t adapter, int64_t sequence,
                           struct stored_object **ret_object)
{
    struct object_row row = {.adapter = adapter, .sequence = sequence};
    struct db_query call = db_query(db, sqlite_read_sql[READ_OBJECT_AT]);
    db_bind(&call, sequence);
    enum status copied = STATUS_STORE_CORRUPT; /* an index knows it: it must be there */
    struct stored_object *object = NULL;
    if (db_next(&call)) {
        db_column_exactly(&call, row.id.bytes, sizeof(row.id.bytes));
        row.version = db_column(&call);
        row.object_type = (uint32_t)db_column(&call);
        row.state = (uint32_t)db_column(&call);
        row.attributes = db_column_blob(&call);
        row.wrapped.blob = db_column_blob(&call);
        copied = stored_object_copy(&row, &object);
    }
    enum status status = db_end(&call);
    status = status != STATUS_OK ? status : copied;
    if (status == STATUS_OK)
        *ret_object = object;
    else
        stored_object_release(object);
    return status;
}

static enum status fill_page(struct search *search, struct backend_page *page)
{
    int64_t from = search->query->after + 1;
    page->next = 0;
    for (;;) {
        int64_t match = next_match(search, from);
        if (search->status != STATUS_OK || match == END)
            return search->status;
        if (page->count == search->query->limit || search->seeks >= SEEK_MAX) {
            page->next = match - 1;
            return STATUS_OK;
        }
        enum status status =
            sqlite_read_at(search->db, search->query->adapter, match, &page->objects[page->count]);
        if (status != STATUS_OK)
            return status;
        page->count++;
        from = match + 1;
    }
}

static enum status search_page(struct search *search, struct backend_page *page)
{
    if (search->by_class) {
        enum status status = find_classes(search);
        if (status != STATUS_OK)
            return status;
    }
    return fill_page(search, page);
}

static enum status run_plain(struct db *db, enum read_statement statement)
{
    struct db_query call = db_query(db, sqlite_read_sql[statement]);
    return db_finish(&call);
}

enum status sqlite_find(struct backend_reader *reader, const struct store_query *query,
                        struct backend_page *ret_page)
{
    struct search search = {.db = &reader->db,
                            .query = query,
                            .by_class = query->term_count == 0 || query->object_type != 0 ||
                                        query->states != 0};
    struct backend_page page = {0};
    enum status status = run_plain(&reader->db, READ_BEGIN);
    if (status != STATUS_OK)
        return status;
    status = search_page(&search, &page);
    enum status ended = run_plain(&reader->db, READ_END);
    free(search.classes);
    if (status == STATUS_OK)
        status = ended;
    if (status == STATUS_OK) {
        *ret_page = page;
        return STATUS_OK;
    }
    while (page.count > 0)
        stored_object_release(page.objects[--page.count]);
    return status;
}
