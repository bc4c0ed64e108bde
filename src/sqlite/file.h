/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database file that one process has for itself: its lock, its making, its soundness, and what
 * to tell an administrator whose file cannot be opened.
 */
#ifndef KMIPD_SQLITE_FILE_H
#define KMIPD_SQLITE_FILE_H

#include "base/error.h"
#include "sqlite/db.h"

/* What the texts say of a database. */
struct db_kind {
    const char *name;    /* "store": each text begins with it and the path */
    const char *missing; /* what to do when the file cannot be made or found */
};

/* What a failure of opening means for the file, and what to do. Returns `status`. */
enum status db_explain(const struct db_kind *kind, const char *path, enum status status,
                       struct error *error);
/* The same for an errno value. NOT_FOUND, STORE_READ_ONLY, STORE_FULL, else STORE_FAILED. */
enum status db_explain_errno(const struct db_kind *kind, const char *path, int code,
                             struct error *error);

/* Takes the lock of the database at `path`: that of a file beside it (".lock"), as closing the
 * database itself would drop SQLite's locks. It goes with the descriptor, which is the caller's to
 * close. BUSY: another process has it; the text has the number that it wrote into the file. */
enum status db_lock(const struct db_kind *kind, const char *path, int *ret_file,
                    struct error *error) MUST_USE;

/* Makes the file, if it is missing and `create` is set, for this user alone, before SQLite makes it
 * for all; the log files follow it. NOT_FOUND. */
enum status db_make_file(const struct db_kind *kind, const char *path, bool create,
                         struct error *error) MUST_USE;

/* Whether the last one to have the database ended without closing it: kill -9, a crash, a power
 * cut. To be asked before it is opened. */
bool db_was_left_open(const char *path);

/* The size by the header, in bytes. */
enum status db_size(struct db *db, int64_t *ret_size) MUST_USE;

/* Checks all of a database, as long as that takes no noticeable time; nothing of a large one, of
 * which damage shows when it is read. STORE_CORRUPT. */
enum status db_check_whole(struct db *db) MUST_USE;

/* Has commits go to a write-ahead log. STORE_FAILED: not on this file system. */
enum status db_set_log_mode(struct db *db) MUST_USE;

#endif
