/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite for the store and the key database: connections whose statements are prepared once,
 * queries, and the schema's versions. Opening a file for a process of its own: sqlite/file.h.
 * A connection is used by one thread at a time. STORE_FULL, STORE_READ_ONLY, STORE_CORRUPT,
 * STORE_FAILED, NO_MEMORY beside what is said.
 */
#ifndef KMIPD_SQLITE_DB_H
#define KMIPD_SQLITE_DB_H

#include <sqlite3.h>

#include "base/bytes.h"
#include "base/status.h"
#include "base/uuid.h"

#define DB_PREPARED_MAX 128

struct db {
    sqlite3 *handle;
    struct {
        const char *sql;
        sqlite3_stmt *statement;
    } prepared[DB_PREPARED_MAX]; /* open hash table by the text's address */
};

/* Opens the file, which must exist, and sets what every connection needs, then `pragmas`: what this
 * one needs, such as the size of its cache. */
enum status db_open(const char *path, const char *pragmas, struct db *ret_db) MUST_USE;
void db_close(struct db *db); /* a zeroed one is fine */

/* Runs statements that take and give nothing. */
enum status db_run(struct db *db, const char *sql) MUST_USE;
/* The first column of a query's first row. STORE_CORRUPT without a row. */
enum status db_number(struct db *db, const char *sql, int64_t *ret_number) MUST_USE;

/* The status of a result code that SQLite has just given, errno being as it left it. */
enum status db_status(int code);

/* Whether a status says that the database as a whole is in trouble, not one change. */
bool db_failed(enum status status);

/* STORE_CORRUPT: another program's file, neither empty nor with this application's identifier. */
enum status db_check_kind(struct db *db, int application) MUST_USE;

/* Brings the schema from its version to `count` migrations, each in a transaction of its own that
 * also marks the file as the application's. migrations[n] leads from version n to n + 1.
 * STORE_NEWER: it is beyond that. */
enum status db_migrate(struct db *db, int application, const char *const *migrations,
                       int count) MUST_USE;

/*
 * One use of a statement: db_query(), a db_bind_...() for each parameter in order, then
 * db_finish(), or db_next() for each row and db_end(). The first failure sticks, and db_finish()
 * or db_end() returns it. What is bound is borrowed until then.
 */
struct db_query {
    struct db *db;
    sqlite3_stmt *statement;
    int code;
    int column;   /* the parameter bound or column read last */
    bool passing; /* prepared for this use alone */
};

/* `sql` is a literal: it is prepared once for the connection. */
struct db_query db_query(struct db *db, const char *sql);
/* Prepares literals before they are used: what does not fit the schema is known now. */
enum status db_prepare(struct db *db, const char *const *sql, size_t count) MUST_USE;
/* `sql` is made up: prepared for this use. */
struct db_query db_query_passing(struct db *db, const char *sql);

void db_bind(struct db_query *query, int64_t value);
void db_bind_blob(struct db_query *query, struct bytes value); /* empty is empty, not NULL */
void db_bind_uuid(struct db_query *query, const struct uuid *uuid);
void db_bind_text(struct db_query *query, const char *text);
void db_bind_null(struct db_query *query);

/* True: a row is there, to be read column by column. */
bool db_next(struct db_query *query);
int64_t db_column(struct db_query *query);
struct bytes db_column_blob(struct db_query *query); /* until the next db_next() or db_end() */
/* Into arrays of the column's size at least: a longer value is damage. NULL is empty. */
void db_column_text(struct db_query *query, char *ret_text, size_t size);
/* Of exactly this size: another one is damage. */
void db_column_exactly(struct db_query *query, void *ret_value, size_t size);
void db_column_uuid(struct db_query *query, struct uuid *ret_uuid); /* NULL: all zero */
enum status db_end(struct db_query *query) MUST_USE;
/* NOT_FOUND unless exactly this one row was found; reads its columns before. */
enum status db_end_row(struct db_query *query, bool found) MUST_USE;

/* A statement without rows. A violated constraint is STATUS_EXISTS, of a foreign key NOT_FOUND. */
enum status db_finish(struct db_query *query) MUST_USE;
/* The same for a statement that must change a row: NOT_FOUND. */
enum status db_finish_row(struct db_query *query) MUST_USE;

#endif
