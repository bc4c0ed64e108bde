/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing keys. A page is chosen by an inner query, which where it can walks through an index
 * alone, and read by an outer one: rows are touched for what is returned, not for what is skipped.
 */
#include <stdlib.h>

#include "base/buffer.h"
#include "kms/database.h"
#include "kms/keys.h"
#include "kms/row.h"

#define SQL_MAX 16384

static const char *const columns[] = {
    [KMS_BY_ID] = "key.id",
    [KMS_BY_STATE] = "key.state",
    [KMS_BY_EXTRACTABLE] = "key.extractable",
    [KMS_BY_IMPORTED] = "key.imported",
    [KMS_BY_CREATION] = "key.created",
    [KMS_BY_UPDATE] = "key.updated",
    [KMS_BY_ROTATION] = "key.rotated",
    [KMS_BY_DELETION] = "key.deleted",
    [KMS_BY_EXPIRATION] = "key.expiration",
};

/* ---- Conditions ---- */

static bool is_time(enum kms_property property)
{
    return property >= KMS_BY_CREATION;
}

/* Seconds are compared, milliseconds are kept. */
static void add_time_condition(struct buffer *sql, const struct kms_condition *condition)
{
    const char *column = columns[condition->property];
    long long from = condition->value - condition->value % 1000;
    long long next = from + 1000;
    switch (condition->operator) {
    case KMS_EQUAL:
        buffer_append_format(sql, " AND %s >= %lld AND %s < %lld", column, from, column, next);
        return;
    case KMS_LESS:
        buffer_append_format(sql, " AND %s > 0 AND %s < %lld", column, column, from);
        return;
    case KMS_LESS_OR_EQUAL:
        buffer_append_format(sql, " AND %s > 0 AND %s < %lld", column, column, next);
        return;
    case KMS_GREATER:
        buffer_append_format(sql, " AND %s >= %lld", column, next);
        return;
    case KMS_GREATER_OR_EQUAL:
        buffer_append_format(sql, " AND %s > 0 AND %s >= %lld", column, column, from);
        return;
    case KMS_NONE:
        buffer_append_format(sql, " AND %s = 0", column);
        return;
    }
}

static void add_condition(struct buffer *sql, const struct kms_condition *condition)
{
    static const char *const operators[] = {
        [KMS_EQUAL] = "=",
        [KMS_LESS] = "<",
        [KMS_LESS_OR_EQUAL] = "<=",
        [KMS_GREATER] = ">",
        [KMS_GREATER_OR_EQUAL] = ">=",
        [KMS_NONE] = "IS NULL AND 0 =",
    };
    if (is_time(condition->property))
        add_time_condition(sql, condition);
    else
        buffer_append_format(sql, " AND %s %s %lld", columns[condition->property],
                             operators[condition->operator], (long long)condition->value);
}

/* Planned keys have a state below all others. */
static void add_states(struct buffer *sql, unsigned states)
{
    if (states == 0) {
        buffer_append_text(sql, "key.state >= 0");
        return;
    }
    const char *separator = "key.state IN (";
    for (int state = 0; state < 32; state++) {
        if ((states & (1u << state)) == 0)
            continue;
        buffer_append_format(sql, "%s%d", separator, state);
        separator = ", ";
    }
    buffer_append_text(sql, ")");
}

/* All rings are named one by one where that makes an index usable. */
static void add_rings(struct buffer *sql, const struct kms_key_query *query, bool narrow)
{
    if (query->ring_count == 0) {
        buffer_append_text(sql, narrow ? " AND key.ring IN (SELECT number FROM ring)" : "");
        return;
    }
    buffer_append_text(sql, " AND key.ring IN (SELECT number FROM ring WHERE id IN (");
    for (size_t i = 0; i < query->ring_count; i++)
        buffer_append_text(sql, i == 0 ? "?" : ", ?");
    buffer_append_text(sql, "))");
}

/* In the order of bind_all(). */
static void add_search(struct buffer *sql, const struct kms_search *search)
{
    buffer_append_text(sql, search->negated ? " AND NOT (0" : " AND (0");
    if (search->names) {
        buffer_append_text(sql, " OR ");
        buffer_append_text(sql, search->exact ? "key.folded = ?" : "instr(key.folded, ?) > 0");
    }
    if (search->aliases) {
        buffer_append_text(sql, " OR EXISTS (SELECT 1 FROM alias WHERE alias.key = key.number"
                                " AND ");
        buffer_append_text(sql, search->exact ? "lower(alias.alias) = ?)"
                                              : "instr(lower(alias.alias), ?) > 0)");
    }
    if (search->names && search->aliases)
        buffer_append_text(sql, " OR key.id = ?");
    buffer_append_text(sql, ")");
}

static void add_where(struct buffer *sql, const struct kms_key_query *query, bool narrow)
{
    buffer_append_text(sql, " WHERE ");
    add_states(sql, query->states);
    if (query->extractable >= 0)
        buffer_append_format(sql, " AND key.extractable = %d", query->extractable);
    add_rings(sql, query, narrow);
    for (size_t i = 0; i < query->condition_count; i++)
        add_condition(sql, &query->conditions[i]);
    if (query->search.text != NULL)
        add_search(sql, &query->search);
}

static void add_order(struct buffer *sql, const struct kms_key_query *query)
{
    buffer_append_text(sql, " ORDER BY ");
    for (size_t i = 0; i < query->sort_count; i++)
        buffer_append_format(sql, "%s%s, ", columns[query->sort[i].property],
                             query->sort[i].descending ? " DESC" : "");
    buffer_append_text(sql, "key.id");
}

/* ---- Parameters ---- */

/* What is borrowed by a query while it runs. */
struct parameters {
    char *text; /* folded */
    struct uuid id;
    bool has_id;
};

static enum status make_parameters(const struct kms_search *search, struct parameters *ret)
{
    *ret = (struct parameters){0};
    if (search->text == NULL)
        return STATUS_OK;
    ret->text = malloc(strlen(search->text) + 1);
    if (ret->text == NULL)
        return STATUS_NO_MEMORY;
    key_row_fold(search->text, ret->text);
    ret->has_id = uuid_parse(bytes_of_text(search->text), &ret->id);
    return STATUS_OK;
}

static void bind_all(struct db_query *statement, const struct kms_key_query *query,
                     const struct parameters *parameters)
{
    const struct kms_search *search = &query->search;
    for (size_t i = 0; i < query->ring_count; i++)
        db_bind_text(statement, query->rings[i]);
    if (search->text == NULL)
        return;
    if (search->names)
        db_bind_text(statement, parameters->text);
    if (search->aliases)
        db_bind_text(statement, parameters->text);
    if (search->names && search->aliases)
        db_bind_blob(statement,
                     parameters->has_id ? uuid_bytes(&parameters->id) : bytes_of(NULL, 0));
}

/* ---- Counting ---- */

/* Whether key_class knows how many there are. */
static bool is_plain(const struct kms_key_query *query)
{
    for (size_t i = 0; i < query->condition_count; i++)
        if (query->conditions[i].property != KMS_BY_STATE &&
            query->conditions[i].property != KMS_BY_EXTRACTABLE)
            return false;
    return query->search.text == NULL;
}

static enum status count(struct db *db, const struct kms_key_query *query,
                         const struct parameters *parameters, int64_t *ret_total)
{
    char text[SQL_MAX];
    struct buffer sql;
    buffer_over(&sql, text, sizeof(text) - 1);
    buffer_append_text(&sql, is_plain(query)
                                 ? "SELECT coalesce(sum(count), 0) FROM key_class AS key"
                                 : "SELECT count(*) FROM key");
    add_where(&sql, query, query->search.text != NULL);
    if (buffer_status(&sql) != STATUS_OK)
        return STATUS_TOO_LARGE;
    text[sql.size] = '\0';
    struct db_query statement = db_query_passing(db, text);
    bind_all(&statement, query, parameters);
    int64_t total = db_next(&statement) ? db_column(&statement) : 0;
    enum status status = db_end(&statement);
    if (status == STATUS_OK)
        *ret_total = total;
    return status;
}

/* What a search would look through. */
static enum status check_breadth(struct db *db, const struct kms_key_query *query)
{
    struct kms_key_query all = *query;
    all.search = (struct kms_search){0};
    all.condition_count = 0;
    for (size_t i = 0; i < query->condition_count; i++) /* state and extractable narrow it */
        if (query->conditions[i].property == KMS_BY_STATE ||
            query->conditions[i].property == KMS_BY_EXTRACTABLE)
            all.conditions[all.condition_count++] = query->conditions[i];
    const struct parameters none = {0};
    int64_t total = 0;
    enum status status = count(db, &all, &none, &total);
    return status == STATUS_OK && total > KMS_SEARCH_MAX ? STATUS_TOO_LARGE : status;
}

/* ---- A page ---- */

/* The index whose order is asked for; another order is made by sorting, and so is that of few. */
static const char *index_of(const struct kms_key_query *query, bool narrow)
{
    if (narrow)
        return " INDEXED BY key_by_kind";
    if (query->sort_count == 0 || query->sort[0].property == KMS_BY_ID)
        return query->condition_count == 0 ? " INDEXED BY key_listing" : "";
    return query->sort[0].property == KMS_BY_CREATION ? " INDEXED BY key_by_creation" : "";
}

static enum status visit_page(struct db *db, const struct kms_key_query *query,
                              const struct parameters *parameters, bool narrow,
                              kms_visit_key *visit, void *context)
{
    char text[SQL_MAX];
    struct buffer sql;
    struct kms_key key;
    buffer_over(&sql, text, sizeof(text) - 1);
    buffer_append_text(&sql, "SELECT " KEY_COLUMNS " FROM (SELECT key.number AS number FROM key");
    buffer_append_text(&sql, index_of(query, narrow));
    add_where(&sql, query, narrow);
    add_order(&sql, query);
    buffer_append_text(&sql, " LIMIT ? OFFSET ?) AS page"
                             " CROSS JOIN " KEY_TABLES " WHERE key.number = page.number");
    add_order(&sql, query);
    if (buffer_status(&sql) != STATUS_OK)
        return STATUS_TOO_LARGE;
    text[sql.size] = '\0';
    struct db_query statement = db_query_passing(db, text);
    bind_all(&statement, query, parameters);
    db_bind(&statement, query->limit);
    db_bind(&statement, query->offset);
    while (db_next(&statement)) {
        key_row_read(&statement, &key);
        if (!visit(context, &key))
            break;
    }
    return db_end(&statement);
}

/* Whether few enough are to be looked at for the way by ring and kind. */
static bool is_narrow(const struct kms_key_query *query, int64_t total)
{
    return query->search.text != NULL || (is_plain(query) && total <= KMS_SEARCH_MAX);
}

static enum status list(struct db *db, const struct kms_key_query *query,
                        const struct parameters *parameters, kms_visit_key *visit, void *context,
                        int64_t *ret_total)
{
    enum status status = STATUS_OK;
    if (query->search.text != NULL)
        status = check_breadth(db, query);
    if (status == STATUS_OK)
        status = count(db, query, parameters, ret_total);
    if (status == STATUS_OK && visit != NULL)
        status = visit_page(db, query, parameters, is_narrow(query, *ret_total), visit, context);
    return status;
}

enum status kms_keys(struct kms *kms, const struct kms_key_query *query, kms_visit_key *visit,
                     void *context, int64_t *ret_total)
{
    struct db *db;
    struct parameters parameters;
    enum status status = make_parameters(&query->search, &parameters);
    if (status != STATUS_OK)
        return status;
    status = kms_read_begin(kms, &db);
    if (status == STATUS_OK) {
        status = list(db, query, &parameters, visit, context, ret_total);
        kms_read_end(kms, db);
    }
    free(parameters.text);
    return status;
}
