/* SPDX-License-Identifier: Apache-2.0 */
/* What the SQLite store does when files, disks and processes fail; the rest is in test_store.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_vfs.h"
#include "store/sqlite.h"
#include "store/store.h"
#include "store_files.h"

#define PRE_ACTIVE 1
#define ACTIVE     2

struct fixture {
    char directory[64];
    char path[96];
    struct store *store;
    struct store_session *session;
    int64_t adapter;
    struct error error;
};

/* ---- Opening and closing ---- */

static enum status try_open(struct fixture *fixture)
{
    const struct store_options options = {.cache_bytes = 0};
    fixture->error = (struct error){0};
    return store_open_sqlite(fixture->path, &options, &fixture->store, &fixture->error);
}

static void open_store(struct fixture *fixture)
{
    if (try_open(fixture) != STATUS_OK)
        fail_msg("%s", fixture->error.text);
    assert_int_equal(store_session_open(fixture->store, &fixture->session), STATUS_OK);
}

static void close_store(struct fixture *fixture)
{
    store_session_close(fixture->session);
    store_close(fixture->store);
    fixture->session = NULL;
    fixture->store = NULL;
}

static void assert_refused(struct fixture *fixture, enum status status, const char *text)
{
    fixture->store = NULL;
    assert_int_equal(try_open(fixture), status);
    assert_null(fixture->store);
    if (strstr(fixture->error.text, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", fixture->error.text, text);
    assert_non_null(strstr(fixture->error.text, fixture->path));
    assert_null(strchr(fixture->error.text, '\n'));
}

/* An empty directory, no store yet. */
static int setup_directory(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    files_make_directory(fixture->directory, sizeof(fixture->directory));
    (void)snprintf(fixture->path, sizeof(fixture->path), "%s/store.db", fixture->directory);
    *state = fixture;
    return 0;
}

/* An open store with an adapter. */
static int setup_store(void **state)
{
    (void)setup_directory(state);
    struct fixture *fixture = *state;
    open_store(fixture);
    struct adapter_row row = {
        .name = "default", .uuid.bytes = {1}, .key_manager = 1, .root_key.bytes = {2}};
    assert_int_equal(store_adapter_insert(fixture->store, &row), STATUS_OK);
    fixture->adapter = row.id;
    return 0;
}

/* The same, on the file system that fails. */
static int setup_faults(void **state)
{
    fault_vfs_install();
    return setup_store(state);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->store != NULL)
        close_store(fixture);
    files_remove_directory(fixture->directory);
    free(fixture);
    return 0;
}

static int teardown_faults(void **state)
{
    int result = teardown(state);
    fault_vfs_remove();
    return result;
}

/* ---- Rows ---- */

static struct uuid make_id(unsigned number)
{
    struct uuid id = {{0x01, 0x90, 0, 0, 0, 0, 0x70, 0, 0x80}};
    for (int i = 0; i < 4; i++)
        id.bytes[15 - i] = (uint8_t)(number >> (8 * i));
    return id;
}

static struct store_change make_insert(const struct fixture *fixture, unsigned number)
{
    static const uint8_t attributes[400] = {7};
    return (struct store_change){.kind = STORE_INSERT,
                                 .row = {.id = make_id(number),
                                         .adapter = fixture->adapter,
                                         .object_type = 2,
                                         .state = PRE_ACTIVE,
                                         .attributes = bytes_of(attributes, sizeof(attributes)),
                                         .wrapped.blob = BYTES_LITERAL("wrapped")}};
}

static enum status insert(const struct fixture *fixture, unsigned number)
{
    struct store_change change = make_insert(fixture, number);
    const struct store_term terms[] = {{number, true}, {number % 10, false}};
    change.terms = terms;
    change.term_count = ARRAY_COUNT(terms);
    return store_commit(fixture->store, &change, 1);
}

static void insert_range(const struct fixture *fixture, unsigned first, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(insert(fixture, first + i), STATUS_OK);
}

static enum status get(const struct fixture *fixture, unsigned number)
{
    struct stored_object *object = NULL;
    const struct uuid id = make_id(number);
    enum status status = store_get(fixture->session, fixture->adapter, &id, &object);
    stored_object_release(object);
    return status;
}

/* ---- The file as SQLite sees it, past the store ---- */

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    (void)sqlite3_close(db);
}

/* The first column of the first row, in `ret_text`. */
static void ask_sql(const char *path, const char *sql, char *ret_text, size_t size)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    (void)snprintf(ret_text, size, "%s", (const char *)sqlite3_column_text(statement, 0));
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
}

static void assert_sql(const char *path, const char *sql, const char *expected)
{
    char text[256];
    ask_sql(path, sql, text, sizeof(text));
    if (strcmp(text, expected) != 0)
        fail_msg("%s: %s, not %s", sql, text, expected);
}

/* What no fault may break: the file is sound, and what is kept twice agrees. */
static void assert_sound(const char *path)
{
    assert_sql(path, "PRAGMA integrity_check", "ok");
    assert_sql(path, "SELECT count(*) FROM pragma_foreign_key_check", "0");
    assert_sql(path,
               "SELECT count(*) FROM (SELECT adapter, object_type, state, count(*) FROM object"
               " GROUP BY 1, 2, 3 EXCEPT SELECT * FROM object_class)",
               "0");
    assert_sql(path,
               "SELECT (SELECT coalesce(sum(count), 0) FROM object_class) -"
               " (SELECT count(*) FROM object)",
               "0");
    assert_sql(path,
               "SELECT (SELECT coalesce(sum(length(terms)) / 8, 0) FROM object) -"
               " (SELECT count(*) FROM object_term NATURAL JOIN"
               " (SELECT adapter, sequence FROM object))",
               "0");
    assert_sql(path,
               "SELECT (SELECT coalesce(sum(length(names)) / 8, 0) FROM object) -"
               " (SELECT count(*) FROM object_name NATURAL JOIN"
               " (SELECT adapter, sequence FROM object))",
               "0");
}

static void write_at(const char *path, off_t offset, const void *data, size_t size)
{
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, data, size, offset), size);
    (void)close(file);
}

static off_t size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? status.st_size : -1;
}

/* ---- Opening what cannot be opened ---- */

static void test_directory_missing(void **state)
{
    struct fixture *fixture = *state;
    (void)snprintf(fixture->path, sizeof(fixture->path), "%s/none/store.db", fixture->directory);
    assert_refused(fixture, STATUS_NOT_FOUND, "directory does not exist");
}

/* Root may write everywhere: be someone else, in a process of its own. */
static void test_directory_not_writable(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(chmod(fixture->directory, 0555), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (getuid() == 0 && setuid(65534) != 0)
            _exit(2);
        bool refused = try_open(fixture) == STATUS_STORE_READ_ONLY &&
                       strstr(fixture->error.text, "writable") != NULL;
        _exit(refused ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(chmod(fixture->directory, 0700), 0);
}

static void test_not_a_database(void **state)
{
    struct fixture *fixture = *state;
    static const char text[8192] = "Dear diary, ";
    write_at(fixture->path, 0, text, sizeof(text));
    assert_refused(fixture, STATUS_STORE_CORRUPT, "not a store of kmipd");
}

static void test_database_of_another_program(void **state)
{
    struct fixture *fixture = *state;
    run_sql(fixture->path, "CREATE TABLE moz_places (id INTEGER)");
    assert_refused(fixture, STATUS_STORE_CORRUPT, "not a store of kmipd");
    assert_sql(fixture->path, "SELECT count(*) FROM sqlite_master", "1");
}

static void test_truncated(void **state)
{
    struct fixture *fixture = *state;
    insert_range(fixture, 1, 200);
    close_store(fixture);
    assert_int_equal(truncate(fixture->path, size_of(fixture->path) - 4096), 0);
    assert_refused(fixture, STATUS_STORE_CORRUPT, "restore a backup");
}

/* A page in the middle: the rightmost ones are read when a store is opened. */
static void damage_page(const struct fixture *fixture, off_t page)
{
    uint8_t damage[4096];
    memset(damage, 0xA5, sizeof(damage));
    assert_true(size_of(fixture->path) > (page + 2) * 4096);
    write_at(fixture->path, page * 4096, damage, sizeof(damage));
}

static void test_damage_is_found_after_an_unclean_end(void **state)
{
    struct fixture *fixture = *state;
    insert_range(fixture, 1, 200);
    close_store(fixture);
    damage_page(fixture, 20);
    char log[128];
    (void)snprintf(log, sizeof(log), "%s-wal", fixture->path);
    write_at(log, 0, "x", 1);
    assert_refused(fixture, STATUS_STORE_CORRUPT, "integrity_check");
}

/* A key in a damaged page must never look as if it were not there: clients take that for lost. */
static void test_damage_is_not_absence(void **state)
{
    struct fixture *fixture = *state;
    insert_range(fixture, 1, 200);
    close_store(fixture);
    for (off_t page = 14; page < 30; page++)
        damage_page(fixture, page);
    open_store(fixture);
    unsigned found = 0;
    unsigned corrupt = 0;
    for (unsigned i = 1; i <= 200; i++) {
        enum status status = get(fixture, i);
        found += status == STATUS_OK;
        corrupt += status == STATUS_STORE_CORRUPT;
    }
    assert_int_equal(found + corrupt, 200);
    assert_true(found > 0);
    assert_true(corrupt > 0);
}

static void test_newer_version(void **state)
{
    struct fixture *fixture = *state;
    close_store(fixture);
    run_sql(fixture->path, "PRAGMA user_version = 99");
    assert_refused(fixture, STATUS_STORE_NEWER, "newer version");
    assert_sql(fixture->path, "PRAGMA user_version", "99");
}

static void test_one_process_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    struct fixture second = *fixture;
    char pid[32];
    (void)snprintf(pid, sizeof(pid), "process, %ld", (long)getpid());
    assert_refused(&second, STATUS_BUSY, pid);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(try_open(&second) == STATUS_BUSY ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(insert(fixture, 1), STATUS_OK);
    close_store(fixture);
    open_store(fixture);
    assert_int_equal(get(fixture, 1), STATUS_OK);
}

static void test_files_are_for_their_user_alone(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(insert(fixture, 1), STATUS_OK);
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        char path[128];
        struct stat file;
        (void)snprintf(path, sizeof(path), "%s%s", fixture->path, suffixes[i]);
        assert_int_equal(stat(path, &file), 0);
        assert_int_equal(file.st_mode & 0777, 0600);
    }
}

/* A transaction of the tests' own, which posts when it is done. */
struct submission {
    struct store_transaction transaction;
    struct store_change change;
    struct store *store;
    enum status status;
    sem_t *done;
    int full_after;            /* the fault to set for what comes after it; 0: none */
    struct submission *others; /* of the first: submitted by it on the committer's thread */
    size_t other_count;
};

static void note_done(struct store_transaction *transaction, enum status status)
{
    struct submission *submission = CONTAINER_OF(transaction, struct submission, transaction);
    if (submission->full_after > 0)
        atomic_store(&faults.full_after, submission->full_after);
    for (size_t i = 0; i < submission->other_count; i++)
        store_submit(submission->store, &submission->others[i].transaction);
    submission->status = status;
    (void)sem_post(submission->done);
}

/* The first commits and submits the others, which so become one group. */
static void run_group(struct fixture *fixture, struct submission *submissions, size_t count)
{
    sem_t done;
    assert_int_equal(sem_init(&done, 0, 0), 0);
    for (size_t i = 0; i < count; i++) {
        struct submission *submission = &submissions[i];
        submission->transaction = (struct store_transaction){
            .changes = &submission->change, .count = 1, .done = note_done};
        submission->store = fixture->store;
        submission->done = &done;
    }
    submissions[0].others = &submissions[1];
    submissions[0].other_count = count - 1;
    store_submit(fixture->store, &submissions[0].transaction);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(sem_wait(&done), 0);
    (void)sem_destroy(&done);
}

static void test_damage_fails_only_who_meets_it(void **state)
{
    struct fixture *fixture = *state;
    struct submission submissions[8] = {0};
    insert_range(fixture, 1, 200);
    close_store(fixture);
    for (off_t page = 14; page < 30; page++)
        damage_page(fixture, page);
    open_store(fixture);
    unsigned damaged = 1;
    while (damaged < 200 && get(fixture, damaged) != STATUS_STORE_CORRUPT)
        damaged++;
    for (unsigned i = 0; i < ARRAY_COUNT(submissions); i++)
        submissions[i].change = make_insert(fixture, 1000 + i);
    submissions[4].change = make_insert(fixture, damaged);
    submissions[4].change.kind = STORE_UPDATE;
    submissions[4].change.row.version = 1;
    run_group(fixture, submissions, ARRAY_COUNT(submissions));
    for (unsigned i = 0; i < ARRAY_COUNT(submissions); i++)
        assert_int_equal(submissions[i].status, i == 4 ? STATUS_STORE_CORRUPT : STATUS_OK);
    for (unsigned i = 0; i < ARRAY_COUNT(submissions); i++)
        if (i != 4)
            assert_int_equal(get(fixture, 1000 + i), STATUS_OK);
}

/* ---- No space ---- */

static void wait_until_healthy(const struct fixture *fixture)
{
    for (int i = 0; i < 500 && store_health(fixture->store) != STATUS_OK; i++)
        (void)usleep(20000);
    assert_int_equal(store_health(fixture->store), STATUS_OK);
}

/* For each write of a commit in turn: it fails there, nothing has happened, and it goes on. */
static void test_full_disk_loses_nothing(void **state)
{
    struct fixture *fixture = *state;
    unsigned failures = 0;
    unsigned number = 1;
    for (int nth = 1; nth < 100; nth++, number++) {
        atomic_store(&faults.full_after, nth);
        enum status status = insert(fixture, number);
        if (status == STATUS_OK)
            break;
        assert_int_equal(status, STATUS_STORE_FULL);
        assert_int_equal(store_health(fixture->store), STATUS_STORE_FULL);
        assert_int_equal(get(fixture, number), STATUS_OBJECT_NOT_FOUND);
        atomic_store(&faults.full_after, 0);
        failures++;
        assert_int_equal(insert(fixture, number), STATUS_OK); /* id and name are free */
        assert_int_equal(store_health(fixture->store), STATUS_OK);
    }
    atomic_store(&faults.full_after, 0);
    assert_true(failures > 3);
    close_store(fixture);
    assert_sound(fixture->path);
    open_store(fixture);
    for (unsigned i = 1; i <= number; i++)
        assert_int_equal(get(fixture, i), STATUS_OK);
}

static void test_space_is_noticed_without_a_write(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&faults.full_after, 1);
    assert_int_equal(insert(fixture, 1), STATUS_STORE_FULL);
    (void)usleep(1200000); /* longer than it waits to look again: it is still full */
    assert_int_equal(store_health(fixture->store), STATUS_STORE_FULL);
    atomic_store(&faults.full_after, 0);
    wait_until_healthy(fixture);
}

static void test_full_disk_fails_a_group_as_a_whole(void **state)
{
    struct fixture *fixture = *state;
    struct submission submissions[20] = {0};
    insert_range(fixture, 1, 1);
    for (unsigned i = 0; i < ARRAY_COUNT(submissions); i++)
        submissions[i].change = make_insert(fixture, 10 + i);
    submissions[5].change = make_insert(fixture, 1); /* EXISTS, if there were space */
    submissions[0].full_after = 2;                   /* in the middle of what the others write */
    run_group(fixture, submissions, ARRAY_COUNT(submissions));
    assert_int_equal(submissions[0].status, STATUS_OK);
    for (unsigned i = 1; i < ARRAY_COUNT(submissions); i++) {
        assert_int_equal(submissions[i].status, STATUS_STORE_FULL);
        assert_int_equal(get(fixture, i == 5 ? 1 : 10 + i),
                         i == 5 ? STATUS_OK : STATUS_OBJECT_NOT_FOUND);
    }
    atomic_store(&faults.full_after, 0);
    wait_until_healthy(fixture);
    close_store(fixture);
    assert_sound(fixture->path);
}

static void test_full_disk_at_the_first_opening(void **state)
{
    struct fixture *fixture = *state;
    fault_vfs_install();
    for (int nth = 1; nth < 8; nth++) {
        atomic_store(&faults.full_after, nth);
        assert_refused(fixture, STATUS_STORE_FULL, "no space left");
    }
    atomic_store(&faults.full_after, 0);
    open_store(fixture);
    close_store(fixture);
    fault_vfs_remove();
    assert_sound(fixture->path);
}

/* ---- A disk that fails ---- */

static void test_read_only(void **state)
{
    struct fixture *fixture = *state;
    insert_range(fixture, 1, 1);
    atomic_store(&faults.read_only, true);
    assert_int_equal(insert(fixture, 2), STATUS_STORE_READ_ONLY);
    assert_int_equal(store_health(fixture->store), STATUS_STORE_READ_ONLY);
    assert_int_equal(get(fixture, 1), STATUS_OK);
    atomic_store(&faults.read_only, false);
    wait_until_healthy(fixture);
    assert_int_equal(insert(fixture, 2), STATUS_OK);
}

static void test_failed_sync_ends_writing(void **state)
{
    struct fixture *fixture = *state;
    insert_range(fixture, 1, 10);
    atomic_store(&faults.log_sync, true);
    assert_int_equal(insert(fixture, 11), STATUS_STORE_FAILED);
    atomic_store(&faults.log_sync,
                 false); /* a second sync would report success, and mean nothing */
    int writes = atomic_load(&faults.log_writes);
    assert_int_equal(insert(fixture, 12), STATUS_STORE_FAILED);
    struct adapter_row row = {.name = "new", .uuid.bytes = {9}, .key_manager = 1};
    assert_int_equal(store_adapter_insert(fixture->store, &row), STATUS_STORE_FAILED);
    assert_int_equal(store_value_put(fixture->store, "a", BYTES_LITERAL("b")), STATUS_STORE_FAILED);
    (void)usleep(1200000); /* nor does it try by itself */
    assert_int_equal(store_health(fixture->store), STATUS_STORE_FAILED);
    assert_int_equal(atomic_load(&faults.log_writes), writes);
    for (unsigned i = 1; i <= 10; i++)
        assert_int_equal(get(fixture, i), STATUS_OK);
    close_store(fixture);
    open_store(fixture);
    assert_int_equal(store_health(fixture->store), STATUS_OK);
    for (unsigned i = 1; i <= 10; i++)
        assert_int_equal(get(fixture, i), STATUS_OK);
    assert_int_equal(insert(fixture, 12), STATUS_OK);
    close_store(fixture);
    assert_sound(fixture->path);
}

static enum status insert_large(const struct fixture *fixture, unsigned number)
{
    static const uint8_t blob[1 << 20];
    struct store_change change = make_insert(fixture, number);
    change.row.wrapped.blob = bytes_of(blob, sizeof(blob));
    return store_commit(fixture->store, &change, 1);
}

static void test_failed_sync_of_the_database_ends_writing(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&faults.main_sync, true);
    unsigned number = 1;
    enum status status = STATUS_OK;
    for (; status == STATUS_OK && number < 200; number++) {
        status = insert_large(fixture, number);
        (void)usleep(1000); /* let the checkpoint come in between */
    }
    assert_int_equal(status, STATUS_STORE_FAILED);
    atomic_store(&faults.main_sync, false);
    assert_int_equal(store_health(fixture->store), STATUS_STORE_FAILED);
    assert_int_equal(insert(fixture, 1000), STATUS_STORE_FAILED);
    close_store(fixture);
    open_store(fixture);
    for (unsigned i = 1; i + 1 < number; i++)
        assert_int_equal(get(fixture, i), STATUS_OK);
}

static void test_full_disk_during_a_checkpoint_is_passed_over(void **state)
{
    struct fixture *fixture = *state;
    insert_range(fixture, 1, 50);
    close_store(fixture);
    open_store(fixture);
    for (unsigned i = 100; i < 140; i++) {
        enum status status = insert_large(fixture, i);
        assert_true(status == STATUS_OK || status == STATUS_STORE_FULL);
        atomic_store(&faults.full_after, i % 4 == 0 ? 300 : 0);
    }
    atomic_store(&faults.full_after, 0);
    wait_until_healthy(fixture);
    assert_int_equal(insert(fixture, 200), STATUS_OK);
    close_store(fixture);
    assert_sound(fixture->path);
}

static void test_read_error_is_not_absence(void **state)
{
    struct fixture *fixture = *state;
    insert_range(fixture, 1, 200);
    close_store(fixture);
    open_store(fixture);
    atomic_store(&faults.read, true);
    for (unsigned i = 1; i <= 300; i++)
        assert_int_not_equal(get(fixture, i), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(get(fixture, 1), STATUS_STORE_FAILED);
    atomic_store(&faults.read, false);
    assert_int_equal(get(fixture, 1), STATUS_OK);
    assert_int_equal(get(fixture, 300), STATUS_OBJECT_NOT_FOUND);
}

/* ---- The log ---- */

static void test_log_does_not_grow_for_ever(void **state)
{
    struct fixture *fixture = *state;
    char log[128];
    (void)snprintf(log, sizeof(log), "%s-wal", fixture->path);
    off_t largest = 0;
    for (unsigned i = 1; i <= 90; i++) {
        assert_int_equal(insert_large(fixture, i), STATUS_OK);
        (void)usleep(500);
        off_t size = size_of(log);
        largest = size > largest ? size : largest;
    }
    assert_true(largest > 16 << 20);
    assert_true(largest < 64 << 20); /* 90 MB were written */
    assert_int_equal(store_health(fixture->store), STATUS_OK);
    close_store(fixture);
    assert_int_equal(size_of(log), -1);
}

/* ---- Sudden ends ---- */

/* Commits until it is killed, telling each acknowledged number through the pipe. */
static void commit_for_ever(struct fixture *fixture, unsigned first, int tell)
{
    open_store(fixture);
    for (unsigned number = first;; number++) {
        if (insert(fixture, number) != STATUS_OK ||
            write(tell, &number, sizeof(number)) != sizeof(number))
            _exit(1);
    }
}

/* Kills a committing child after `count` acknowledgements; returns the last acknowledged. */
static unsigned kill_after(struct fixture *fixture, unsigned first, unsigned count)
{
    int tell[2];
    assert_int_equal(pipe(tell), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(tell[0]);
        commit_for_ever(fixture, first, tell[1]);
    }
    (void)close(tell[1]);
    unsigned last = first - 1;
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(read(tell[0], &last, sizeof(last)), sizeof(last));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    while (read(tell[0], &last, sizeof(last)) == sizeof(last))
        continue;
    (void)close(tell[0]);
    return last;
}

/* All that was acknowledged is there; of what came after, at most the one that was under way. */
static void assert_there(struct fixture *fixture, unsigned last)
{
    open_store(fixture);
    for (unsigned i = 1; i <= last; i++)
        assert_int_equal(get(fixture, i), STATUS_OK);
    assert_int_equal(get(fixture, last + 2), STATUS_OBJECT_NOT_FOUND);
}

static void test_killed_process_loses_nothing(void **state)
{
    struct fixture *fixture = *state;
    close_store(fixture);
    unsigned last = 0;
    for (unsigned round = 0; round < 12; round++) {
        last = kill_after(fixture, last + 1, 3 + 7 * round);
        assert_there(fixture, last);
        last += get(fixture, last + 1) == STATUS_OK;
        close_store(fixture);
    }
    assert_sound(fixture->path);
}

/* Nothing but what was synced is left: what was acknowledged must have been. */
static void test_power_cut_loses_nothing(void **state)
{
    struct fixture *fixture = *state;
    close_store(fixture);
    atomic_store(&faults.keep_synced, true);
    open_store(fixture); /* a log of its own, kept from its first sync on */
    insert_range(fixture, 1, 1);
    close_store(fixture);
    unsigned last = 1;
    for (unsigned round = 0; round < 4; round++) {
        last = kill_after(fixture, last + 1, 5 + 5 * round);
        fault_vfs_cut_power(fixture->path);
        assert_there(fixture, last);
        last += get(fixture, last + 1) == STATUS_OK;
        close_store(fixture);
    }
    assert_sound(fixture->path);
}

/* ---- Migrations ---- */

static enum status migrate(const char *path, const char *const *migrations, int count)
{
    struct db db;
    write_at(path, 0, NULL, 0);
    assert_int_equal(db_open(path, SQLITE_PRAGMAS, &db), STATUS_OK);
    enum status status = db_migrate(&db, SQLITE_APPLICATION_ID, migrations, count);
    db_close(&db);
    return status;
}

static const char *const three_migrations[] = {
    "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1)",
    "ALTER TABLE a ADD COLUMN y INTEGER; UPDATE a SET y = x + 1",
    "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO b SELECT x + y FROM a",
};

static void test_migrations_go_forward_from_each_version(void **state)
{
    struct fixture *fixture = *state;
    for (int from = 0; from <= 3; from++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s.%d", fixture->path, from);
        assert_int_equal(migrate(path, three_migrations, from), STATUS_OK);
        assert_int_equal(migrate(path, three_migrations, 3), STATUS_OK);
        assert_sql(path, "PRAGMA user_version", "3");
        assert_sql(path, "SELECT x FROM b", "3");
        assert_int_equal(migrate(path, three_migrations, 2), STATUS_STORE_NEWER);
    }
}

static void test_failed_migration_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    const char *const failing[] = {
        three_migrations[0],
        "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1)",
    };
    assert_int_equal(migrate(fixture->path, failing, 2), STATUS_STORE_FAILED);
    assert_sql(fixture->path, "PRAGMA user_version", "1");
    assert_sql(fixture->path, "SELECT group_concat(name) FROM sqlite_master", "a");
    assert_int_equal(migrate(fixture->path, three_migrations, 3), STATUS_OK); /* mended */
}

/*
 * A store as each released version wrote it, with a row in every table. A text here is as the
 * migrations once made it and is never edited: that is what makes it a test of them.
 */
static const char *const released[] = {
    "CREATE TABLE adapter (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " uuid BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16), name TEXT NOT NULL UNIQUE,"
    " description TEXT NOT NULL, root_key BLOB NOT NULL CHECK (length(root_key) = 16),"
    " created INTEGER NOT NULL, username TEXT NOT NULL, password_hash TEXT NOT NULL) STRICT;"
    "CREATE TABLE certificate (id BLOB PRIMARY KEY CHECK (length(id) = 16),"
    " adapter INTEGER NOT NULL REFERENCES adapter (id), name TEXT NOT NULL,"
    " fingerprint BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32), der BLOB NOT NULL,"
    " created INTEGER NOT NULL, UNIQUE (adapter, name)) STRICT;"
    "CREATE TABLE object (sequence INTEGER PRIMARY KEY,"
    " id BLOB NOT NULL CHECK (length(id) = 16),"
    " adapter INTEGER NOT NULL REFERENCES adapter (id), version INTEGER NOT NULL,"
    " object_type INTEGER NOT NULL, state INTEGER NOT NULL, attributes BLOB NOT NULL,"
    " wrapped BLOB NOT NULL, terms BLOB NOT NULL, names BLOB NOT NULL,"
    " UNIQUE (id, adapter)) STRICT;"
    "CREATE INDEX object_by_class ON object (adapter, object_type, state);"
    "CREATE TABLE object_class (adapter INTEGER NOT NULL, object_type INTEGER NOT NULL,"
    " state INTEGER NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY (adapter, object_type, state)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE object_term (adapter INTEGER NOT NULL, term INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL, PRIMARY KEY (adapter, term, sequence)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE object_name (adapter INTEGER NOT NULL, term INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL, PRIMARY KEY (adapter, term)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE value (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO adapter VALUES (1, zeroblob(16), 'default', '', zeroblob(16), 5, '', '');"
    "INSERT INTO certificate VALUES (zeroblob(16), 1, 'one', zeroblob(32), x'30', 6);"
    "INSERT INTO object VALUES (1, x'01900000000070008000000000000001', 1, 4, 2, 2,"
    " x'0102', x'0304', x'00000000000000018000000000000002', x'8000000000000002');"
    "INSERT INTO object_class VALUES (1, 2, 2, 1);"
    "INSERT INTO object_term VALUES (1, 1, 1), (1, -9223372036854775806, 1);"
    "INSERT INTO object_name VALUES (1, -9223372036854775806, 1);"
    "INSERT INTO value VALUES ('server', x'41');"
    "PRAGMA user_version = 1; PRAGMA application_id = 1263356240;",

    "CREATE TABLE adapter (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " uuid BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16), name TEXT NOT NULL UNIQUE,"
    " description TEXT NOT NULL, root_key BLOB NOT NULL CHECK (length(root_key) = 16),"
    " created INTEGER NOT NULL, username TEXT NOT NULL, password_hash TEXT NOT NULL,"
    " key_manager INTEGER NOT NULL DEFAULT 1 CHECK (key_manager > 0)) STRICT;"
    "CREATE TABLE certificate (id BLOB PRIMARY KEY CHECK (length(id) = 16),"
    " adapter INTEGER NOT NULL REFERENCES adapter (id), name TEXT NOT NULL,"
    " fingerprint BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32), der BLOB NOT NULL,"
    " created INTEGER NOT NULL, UNIQUE (adapter, name)) STRICT;"
    "CREATE TABLE object (sequence INTEGER PRIMARY KEY,"
    " id BLOB NOT NULL CHECK (length(id) = 16),"
    " adapter INTEGER NOT NULL REFERENCES adapter (id), version INTEGER NOT NULL,"
    " object_type INTEGER NOT NULL, state INTEGER NOT NULL, attributes BLOB NOT NULL,"
    " wrapped BLOB NOT NULL, terms BLOB NOT NULL, names BLOB NOT NULL,"
    " UNIQUE (id, adapter)) STRICT;"
    "CREATE INDEX object_by_class ON object (adapter, object_type, state);"
    "CREATE TABLE object_class (adapter INTEGER NOT NULL, object_type INTEGER NOT NULL,"
    " state INTEGER NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY (adapter, object_type, state)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE object_term (adapter INTEGER NOT NULL, term INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL, PRIMARY KEY (adapter, term, sequence)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE object_name (adapter INTEGER NOT NULL, term INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL, PRIMARY KEY (adapter, term)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE value (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE record (object BLOB PRIMARY KEY CHECK (length(object) = 16),"
    " adapter INTEGER NOT NULL, sequence INTEGER NOT NULL, key_manager INTEGER NOT NULL,"
    " record BLOB NOT NULL CHECK (length(record) = 16), version INTEGER NOT NULL,"
    " withdrawn INTEGER NOT NULL, due INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX record_by_sequence ON record (adapter, sequence, due);"
    "CREATE TABLE record_left (key_manager INTEGER NOT NULL,"
    " record BLOB NOT NULL CHECK (length(record) = 16),"
    " PRIMARY KEY (key_manager, record)) STRICT, WITHOUT ROWID;"
    "INSERT INTO adapter VALUES (1, zeroblob(16), 'default', '', zeroblob(16), 5, '', '', 1);"
    "INSERT INTO certificate VALUES (zeroblob(16), 1, 'one', zeroblob(32), x'30', 6);"
    "INSERT INTO object VALUES (1, x'01900000000070008000000000000001', 1, 4, 2, 2,"
    " x'0102', x'0304', x'00000000000000018000000000000002', x'8000000000000002');"
    "INSERT INTO object_class VALUES (1, 2, 2, 1);"
    "INSERT INTO object_term VALUES (1, 1, 1), (1, -9223372036854775806, 1);"
    "INSERT INTO object_name VALUES (1, -9223372036854775806, 1);"
    "INSERT INTO value VALUES ('server', x'41');"
    "INSERT INTO record VALUES (x'01900000000070008000000000000001', 1, 1, 1, zeroblob(16), 4, 0,"
    " 0);"
    "INSERT INTO record_left VALUES (3, zeroblob(16));"
    "PRAGMA user_version = 2; PRAGMA application_id = 1263356240;",

    "CREATE TABLE adapter (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " uuid BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16), name TEXT NOT NULL UNIQUE,"
    " description TEXT NOT NULL, root_key BLOB NOT NULL CHECK (length(root_key) = 16),"
    " created INTEGER NOT NULL, username TEXT NOT NULL, password_hash TEXT NOT NULL,"
    " key_manager INTEGER NOT NULL DEFAULT 1 CHECK (key_manager > 0),"
    " created_by TEXT NOT NULL DEFAULT '', updated INTEGER NOT NULL DEFAULT 0,"
    " updated_by TEXT NOT NULL DEFAULT '') STRICT;"
    "CREATE TABLE certificate (id BLOB PRIMARY KEY CHECK (length(id) = 16),"
    " adapter INTEGER NOT NULL REFERENCES adapter (id), name TEXT NOT NULL,"
    " fingerprint BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32), der BLOB NOT NULL,"
    " created INTEGER NOT NULL, created_by TEXT NOT NULL DEFAULT '',"
    " UNIQUE (adapter, name)) STRICT;"
    "CREATE TABLE object (sequence INTEGER PRIMARY KEY,"
    " id BLOB NOT NULL CHECK (length(id) = 16),"
    " adapter INTEGER NOT NULL REFERENCES adapter (id), version INTEGER NOT NULL,"
    " object_type INTEGER NOT NULL, state INTEGER NOT NULL, attributes BLOB NOT NULL,"
    " wrapped BLOB NOT NULL, terms BLOB NOT NULL, names BLOB NOT NULL,"
    " UNIQUE (id, adapter)) STRICT;"
    "CREATE INDEX object_by_class ON object (adapter, object_type, state);"
    "CREATE TABLE object_class (adapter INTEGER NOT NULL, object_type INTEGER NOT NULL,"
    " state INTEGER NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY (adapter, object_type, state)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE object_term (adapter INTEGER NOT NULL, term INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL, PRIMARY KEY (adapter, term, sequence)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE object_name (adapter INTEGER NOT NULL, term INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL, PRIMARY KEY (adapter, term)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE value (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE record (object BLOB PRIMARY KEY CHECK (length(object) = 16),"
    " adapter INTEGER NOT NULL, sequence INTEGER NOT NULL, key_manager INTEGER NOT NULL,"
    " record BLOB NOT NULL CHECK (length(record) = 16), version INTEGER NOT NULL,"
    " withdrawn INTEGER NOT NULL, due INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX record_by_sequence ON record (adapter, sequence, due);"
    "CREATE TABLE record_left (key_manager INTEGER NOT NULL,"
    " record BLOB NOT NULL CHECK (length(record) = 16),"
    " PRIMARY KEY (key_manager, record)) STRICT, WITHOUT ROWID;"
    "INSERT INTO adapter VALUES (1, zeroblob(16), 'default', '', zeroblob(16), 5, '', '', 1, '', 0,"
    " '');"
    "INSERT INTO certificate VALUES (zeroblob(16), 1, 'one', zeroblob(32), x'30', 6, '');"
    "INSERT INTO object VALUES (1, x'01900000000070008000000000000001', 1, 4, 2, 2,"
    " x'0102', x'0304', x'00000000000000018000000000000002', x'8000000000000002');"
    "INSERT INTO object_class VALUES (1, 2, 2, 1);"
    "INSERT INTO object_term VALUES (1, 1, 1), (1, -9223372036854775806, 1);"
    "INSERT INTO object_name VALUES (1, -9223372036854775806, 1);"
    "INSERT INTO value VALUES ('server', x'41');"
    "INSERT INTO record VALUES (x'01900000000070008000000000000001', 1, 1, 1, zeroblob(16), 4, 0,"
    " 0);"
    "INSERT INTO record_left VALUES (3, zeroblob(16));"
    "PRAGMA user_version = 3; PRAGMA application_id = 1263356240;",
};

static bool note_object(void *context, struct stored_object *object)
{
    struct stored_object **found = context;
    stored_object_hold(object);
    *found = object;
    return true;
}

static void assert_reads_released(struct fixture *fixture)
{
    struct store_query query = {.adapter = 1,
                                .terms = (uint64_t[]){1, 0x8000000000000002u},
                                .term_count = 2,
                                .states = STORE_STATE_BIT(ACTIVE),
                                .limit = 2};
    struct stored_object *object = NULL;
    int64_t next;
    assert_int_equal(store_find(fixture->session, &query, note_object, &object, &next), STATUS_OK);
    assert_non_null(object);
    assert_int_equal(object->row.version, 4);
    assert_true(bytes_equal_text(object->row.wrapped.blob, "\x03\x04"));
    struct store_change change = {.kind = STORE_UPDATE, .row = object->row};
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK);
    stored_object_release(object);
    const struct store_term name[] = {{0x8000000000000002u, true}};
    change = make_insert(fixture, 2);
    change.terms = name;
    change.term_count = 1;
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK); /* was given up */
}

static void assert_keeps_records(struct fixture *fixture)
{
    struct adapter_row adapter;
    assert_int_equal(store_adapter_find(fixture->session, BYTES_LITERAL("default"), &adapter),
                     STATUS_OK);
    assert_int_equal(adapter.key_manager, 1);
    struct record_row row = {
        .object = make_insert(fixture, 1).row.id, .adapter = 1, .record.bytes = {5}, .version = 5};
    assert_int_equal(store_record_put(fixture->store, &row), STATUS_OK);
    assert_int_equal(store_record_get(fixture->session, &row.object, &row), STATUS_OK);
    assert_int_equal(row.key_manager, 1);
}

static void test_every_released_version_is_read(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(ARRAY_COUNT(released), sqlite_schema_version);
    for (size_t i = 0; i < ARRAY_COUNT(released); i++) {
        (void)snprintf(fixture->path, sizeof(fixture->path), "%s/store.%zu", fixture->directory, i);
        run_sql(fixture->path, released[i]);
        fixture->adapter = 1;
        open_store(fixture);
        assert_reads_released(fixture);
        assert_keeps_records(fixture);
        close_store(fixture);
        assert_sound(fixture->path);
    }
}

/* A migration that was released is not edited afterwards. */
static void test_migrations_are_as_released(void **state)
{
    struct fixture *fixture = *state;
    char made[2][8192];
    for (int i = 0; i < 2 * sqlite_schema_version; i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s.%d", fixture->path, i);
        if (i % 2 == 0)
            run_sql(path, released[i / 2]);
        else
            assert_int_equal(migrate(path, sqlite_migrations, i / 2 + 1), STATUS_OK);
        ask_sql(path,
                "SELECT group_concat(replace(replace(sql, '( ', '('), ' )', ')')) FROM"
                " (SELECT sql FROM sqlite_master ORDER BY name)",
                made[i % 2], sizeof(made[i % 2]));
        if (i % 2 != 0)
            assert_string_equal(made[0], made[1]);
    }
}

/* ---- Deleting ---- */

static void test_deleted_adapter_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    insert_range(fixture, 1, 20);
    for (unsigned i = 1; i <= 20; i++) {
        struct store_change change = make_insert(fixture, i);
        const struct store_term terms[] = {{i, true}, {i % 10, false}};
        change.kind = STORE_UPDATE;
        change.row.version = 1;
        change.row.state = 5;
        change.terms = terms;
        change.term_count = ARRAY_COUNT(terms);
        assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK);
    }
    assert_int_equal(store_adapter_delete(fixture->store, fixture->adapter), STATUS_OK);
    close_store(fixture);
    assert_sound(fixture->path);
    static const char *const tables[] = {"adapter", "object", "object_term", "object_name",
                                         "object_class"};
    for (size_t i = 0; i < ARRAY_COUNT(tables); i++) {
        char sql[64];
        (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", tables[i]);
        assert_sql(fixture->path, sql, "0");
    }
}

/* ---- Finding ---- */

/* Every object has one of two terms, none has both: the search leaps from one to the next. */
static void insert_alternating(const struct fixture *fixture, unsigned count)
{
    static const struct store_term terms[] = {{1, false}, {2, false}};
    struct store_change *changes = calloc(count, sizeof(*changes));
    assert_non_null(changes);
    for (unsigned i = 0; i < count; i++) {
        changes[i] = make_insert(fixture, i + 1);
        changes[i].row.attributes.size = 0;
        changes[i].terms = &terms[i % 2];
        changes[i].term_count = 1;
    }
    assert_int_equal(store_commit(fixture->store, changes, count), STATUS_OK);
    free(changes);
}

static bool never_visited(void *context, struct stored_object *object)
{
    fail();
    return false;
}

static void test_long_search_is_cut_into_pages(void **state)
{
    struct fixture *fixture = *state;
    insert_alternating(fixture, 24000);
    struct store_query query = {
        .adapter = fixture->adapter, .terms = (uint64_t[]){1, 2}, .term_count = 2, .limit = 1000};
    unsigned pages = 0;
    do {
        int64_t after = query.after;
        assert_int_equal(store_find(fixture->session, &query, never_visited, NULL, &query.after),
                         STATUS_OK);
        assert_true(query.after == 0 || query.after > after);
        pages++;
    } while (query.after != 0);
    assert_in_range(pages, 2, 10);
}

/* ---- Statements ---- */

/* These look at whole tables, which are small or have to be. */
static bool may_scan(const char *sql)
{
    return sql == sqlite_read_sql[READ_ADAPTERS] || sql == sqlite_read_sql[READ_CERTIFICATES];
}

static void assert_searches(sqlite3 *db, const char *sql)
{
    char explain[1024];
    (void)snprintf(explain, sizeof(explain), "EXPLAIN QUERY PLAN %s", sql);
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, explain, -1, &statement, NULL), SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        const char *step = (const char *)sqlite3_column_text(statement, 3);
        bool scans = strncmp(step, "SCAN", 4) == 0 && strcmp(step, "SCAN CONSTANT ROW") != 0;
        if (scans || strstr(step, "TEMP B-TREE") != NULL)
            fail_msg("%s: %s", sql, step);
    }
    (void)sqlite3_finalize(statement);
}

static void test_no_statement_reads_a_whole_table(void **state)
{
    struct fixture *fixture = *state;
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(fixture->path, &db), SQLITE_OK);
    for (size_t i = 0; i < READ_STATEMENT_COUNT; i++)
        if (!may_scan(sqlite_read_sql[i]))
            assert_searches(db, sqlite_read_sql[i]);
    for (size_t i = 0; i < WRITE_STATEMENT_COUNT; i++)
        assert_searches(db, sqlite_write_sql[i]);
    (void)sqlite3_close(db);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, setup_directory, teardown)
#define ON_STORE(test)     cmocka_unit_test_setup_teardown(test, setup_store, teardown)
#define WITH_FAULTS(test)  cmocka_unit_test_setup_teardown(test, setup_faults, teardown_faults)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        IN_DIRECTORY(test_directory_missing),
        IN_DIRECTORY(test_directory_not_writable),
        IN_DIRECTORY(test_not_a_database),
        IN_DIRECTORY(test_database_of_another_program),
        ON_STORE(test_truncated),
        ON_STORE(test_damage_is_found_after_an_unclean_end),
        ON_STORE(test_damage_is_not_absence),
        ON_STORE(test_damage_fails_only_who_meets_it),
        ON_STORE(test_newer_version),
        ON_STORE(test_one_process_at_a_time),
        ON_STORE(test_files_are_for_their_user_alone),
        WITH_FAULTS(test_full_disk_loses_nothing),
        WITH_FAULTS(test_space_is_noticed_without_a_write),
        WITH_FAULTS(test_full_disk_fails_a_group_as_a_whole),
        IN_DIRECTORY(test_full_disk_at_the_first_opening),
        WITH_FAULTS(test_read_only),
        WITH_FAULTS(test_failed_sync_ends_writing),
        WITH_FAULTS(test_failed_sync_of_the_database_ends_writing),
        WITH_FAULTS(test_full_disk_during_a_checkpoint_is_passed_over),
        WITH_FAULTS(test_read_error_is_not_absence),
        ON_STORE(test_log_does_not_grow_for_ever),
        ON_STORE(test_killed_process_loses_nothing),
        WITH_FAULTS(test_power_cut_loses_nothing),
        IN_DIRECTORY(test_migrations_go_forward_from_each_version),
        IN_DIRECTORY(test_failed_migration_changes_nothing),
        IN_DIRECTORY(test_every_released_version_is_read),
        IN_DIRECTORY(test_migrations_are_as_released),
        ON_STORE(test_deleted_adapter_leaves_nothing),
        ON_STORE(test_long_search_is_cut_into_pages),
        ON_STORE(test_no_statement_reads_a_whole_table),
    };
    return cmocka_run_group_tests_name("store on SQLite", tests, NULL, NULL);
}
