/* SPDX-License-Identifier: Apache-2.0 */
#include "sqlite/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK_WHOLE_BYTES (64 << 20)

/* ---- Texts ---- */

static const struct {
    enum status status;
    const char *text;
} failure_texts[] = {
    {STATUS_STORE_FULL, "no space left on its file system: free some and start again"},
    {STATUS_STORE_READ_ONLY, "cannot be written: make the file and its directory writable for "
                             "this user, and the file system mounted read-write"},
    {STATUS_STORE_NEWER, "written by a newer version of kmipd: start that version, or restore a "
                         "backup from before the upgrade"},
    {STATUS_NO_MEMORY, "out of memory"},
    {STATUS_STORE_FAILED, "cannot be read or written: look into the kernel's log for errors of "
                          "its disk"},
};

enum status db_explain(const struct db_kind *kind, const char *path, enum status status,
                       struct error *error)
{
    if (status == STATUS_STORE_CORRUPT)
        return error_set(error, status,
                         "%s %s: damaged, or not a %s of kmipd: move it away and restore a "
                         "backup, or check it with: sqlite3 FILE 'PRAGMA integrity_check'",
                         kind->name, path, kind->name);
    const char *text = status_text(status);
    for (size_t i = 0; i < ARRAY_COUNT(failure_texts); i++)
        if (failure_texts[i].status == status)
            text = failure_texts[i].text;
    return error_set(error, status, "%s %s: %s", kind->name, path, text);
}

enum status db_explain_errno(const struct db_kind *kind, const char *path, int code,
                             struct error *error)
{
    switch (code) {
    case ENOENT:
    case ENOTDIR:
        return error_set(error, STATUS_NOT_FOUND, "%s %s: %s", kind->name, path, kind->missing);
    case EROFS:
    case EACCES:
    case EPERM:
        return db_explain(kind, path, STATUS_STORE_READ_ONLY, error);
    case ENOSPC:
    case EDQUOT:
        return db_explain(kind, path, STATUS_STORE_FULL, error);
    default:
        return error_set_errno(error, STATUS_STORE_FAILED, code, "%s %s: cannot open", kind->name,
                               path);
    }
}

/* ---- The lock ---- */

static enum status in_use(const struct db_kind *kind, const char *path, int lock_file,
                          struct error *error)
{
    char pid[16] = "";
    ssize_t length = pread(lock_file, pid, sizeof(pid) - 1, 0);
    pid[length > 0 ? (size_t)length : 0] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    return error_set(error, STATUS_BUSY,
                     "%s %s: in use by another process%s%s: stop that one first", kind->name, path,
                     pid[0] != '\0' ? ", " : "", pid);
}

enum status db_lock(const struct db_kind *kind, const char *path, int *ret_file,
                    struct error *error)
{
    char *lock_path = NULL;
    if (asprintf(&lock_path, "%s.lock", path) < 0)
        return db_explain(kind, path, STATUS_NO_MEMORY, error);
    int file = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int code = errno;
    free(lock_path);
    if (file < 0)
        return db_explain_errno(kind, path, code, error);
    if (flock(file, LOCK_EX | LOCK_NB) == 0) {
        *ret_file = file;
        return STATUS_OK;
    }
    enum status status = errno == EWOULDBLOCK ? in_use(kind, path, file, error)
                                              : db_explain_errno(kind, path, errno, error);
    (void)close(file);
    return status;
}

/* ---- The file ---- */

enum status db_make_file(const struct db_kind *kind, const char *path, bool create,
                         struct error *error)
{
    int file = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    if (file < 0)
        return db_explain_errno(kind, path, errno, error);
    (void)close(file);
    return STATUS_OK;
}

/* A clean end copies the log back: one that is not empty was left. */
bool db_was_left_open(const char *path)
{
    char *log_path = NULL;
    if (asprintf(&log_path, "%s-wal", path) < 0)
        return true;
    struct stat log;
    bool left_open = stat(log_path, &log) == 0 && log.st_size > 0;
    free(log_path);
    return left_open;
}

enum status db_size(struct db *db, int64_t *ret_size)
{
    return db_number(db, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
                     ret_size);
}

/*
 * No end of a process and no power cut damages a database, SQLite recovers the commits from the log
 * by their checksums. So a large one need not wait for its check.
 */
enum status db_check_whole(struct db *db)
{
    int64_t size = 0;
    int64_t sound = 1;
    enum status status = db_size(db, &size);
    if (status == STATUS_OK && size <= CHECK_WHOLE_BYTES)
        status = db_number(
            db, "SELECT count(*) FROM pragma_quick_check(1) WHERE quick_check = 'ok'", &sound);
    return status == STATUS_OK && sound != 1 ? STATUS_STORE_CORRUPT : status;
}

/* SQLite says nothing when it keeps another mode, as on file systems without shared memory. */
enum status db_set_log_mode(struct db *db)
{
    int64_t set = 0;
    enum status status = db_run(db, "PRAGMA journal_mode = WAL");
    if (status == STATUS_OK)
        status = db_number(db, "SELECT journal_mode = 'wal' FROM pragma_journal_mode", &set);
    return status == STATUS_OK && set != 1 ? STATUS_STORE_FAILED : status;
}
