/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk can do to the audit log. The system's calls are wrapped (see meson.build). */
#include "audit_support.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- The disk ---- */

enum call { CALL_WRITE, CALL_DATASYNC, CALL_SYNC, CALL_TRUNCATE, CALL_ANY };

/* The next calls of a kind fail: `skip` go well before, `count` fail with `why`. */
static struct {
    pthread_mutex_t mutex;
    enum call call;
    unsigned skip;
    unsigned count;
    int why;
    size_t written_before; /* of a write that fails */
    atomic_uint data_syncs;
    atomic_bool held;           /* data syncs wait for `release` */
    atomic_bool halved;         /* the next write waits for `release` half-way */
    atomic_bool pause_releases; /* whoever pauses lets the disk go instead */
    sem_t waiting;
    sem_t release;
} disk = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void disk_fails(enum call call, unsigned skip, unsigned count, int why)
{
    (void)pthread_mutex_lock(&disk.mutex);
    disk.call = call;
    disk.skip = skip;
    disk.count = count;
    disk.why = why;
    disk.written_before = 0;
    (void)pthread_mutex_unlock(&disk.mutex);
}

static void disk_is_well(void)
{
    disk_fails(CALL_ANY, 0, 0, 0);
}

static bool fails(enum call call)
{
    (void)pthread_mutex_lock(&disk.mutex);
    bool failing = false;
    if (disk.count > 0 && (disk.call == CALL_ANY || disk.call == call)) {
        failing = disk.skip == 0;
        if (failing)
            disk.count--;
        else
            disk.skip--;
    }
    int why = disk.why;
    (void)pthread_mutex_unlock(&disk.mutex);
    errno = failing ? why : errno;
    return failing;
}

ssize_t __real_pwrite64(int file, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int file, const void *data, size_t size, off_t offset);
int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __real_fdatasync(int file);
int __wrap_fdatasync(int file);
int __real_fsync(int file);
int __wrap_fsync(int file);
int __real_ftruncate64(int file, off_t size);
int __wrap_ftruncate64(int file, off_t size);

ssize_t __wrap_pwrite64(int file, const void *data, size_t size, off_t offset)
{
    if (atomic_exchange(&disk.halved, false)) {
        assert_int_equal(__real_pwrite64(file, data, size / 2, offset), size / 2);
        (void)sem_post(&disk.waiting);
        (void)sem_wait(&disk.release);
    }
    if (!fails(CALL_WRITE))
        return __real_pwrite64(file, data, size, offset);
    int why = errno;
    if (disk.written_before > 0 && disk.written_before < size)
        assert_int_equal(__real_pwrite64(file, data, disk.written_before, offset),
                         disk.written_before);
    errno = why;
    return -1;
}

int __wrap_fdatasync(int file)
{
    atomic_fetch_add(&disk.data_syncs, 1);
    if (atomic_load(&disk.held)) {
        (void)sem_post(&disk.waiting);
        (void)sem_wait(&disk.release);
    }
    return fails(CALL_DATASYNC) ? -1 : __real_fdatasync(file);
}

int __wrap_fsync(int file)
{
    return fails(CALL_SYNC) ? -1 : __real_fsync(file);
}

int __wrap_ftruncate64(int file, off_t size)
{
    return fails(CALL_TRUNCATE) ? -1 : __real_ftruncate64(file, size);
}

/* The log's thread stands in a data sync from here until disk_let_go(). */
static void disk_hold(struct audit *audit, struct audit_ticket *ticket)
{
    atomic_store(&disk.held, true);
    struct audit_entry entry = support_entry(0);
    audit_append(audit, &entry, 1, ticket);
    (void)sem_wait(&disk.waiting);
}

static void disk_let_go(void)
{
    atomic_store(&disk.held, false);
    (void)sem_post(&disk.release);
}

static void reset_disk(void)
{
    disk_is_well();
    (void)sem_init(&disk.waiting, 0, 0);
    (void)sem_init(&disk.release, 0, 0);
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    if (atomic_exchange(&disk.pause_releases, false))
        disk_let_go();
    return __real_nanosleep(time, left);
}

static int setup(void **state)
{
    reset_disk();
    return support_setup_in_memory(state);
}

static int setup_large(void **state)
{
    reset_disk();
    return support_setup(state);
}

/* ---- Helpers ---- */

static enum status write_one(struct audit *audit, unsigned i)
{
    struct audit_entry entry = support_entry(i);
    return audit_write(audit, &entry);
}

static bool keep_last(void *context, struct bytes line)
{
    (void)snprintf(context, 4096, "%.*s", (int)line.size, (const char *)line.data);
    return true;
}

static void expect_last_says(const char *directory, const char *text)
{
    char last[4096] = "";
    assert_int_equal(audit_tail(directory, 1, keep_last, last, NULL), STATUS_OK);
    if (strstr(last, text) == NULL)
        fail_msg("'%s' is not in: %s", text, last);
}

static void expect_failed(struct audit *audit, const char *text)
{
    struct error error = {0};
    assert_int_equal(audit_health(audit), STATUS_AUDIT_FAILED);
    assert_int_equal(audit_explain(audit, &error), STATUS_AUDIT_FAILED);
    if (strstr(error.text, text) == NULL)
        fail_msg("'%s' is not in: %s", text, error.text);
}

/* ---- One failure ---- */

static void test_disk_full(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    support_write(audit, 3);
    disk_fails(CALL_WRITE, 0, UINT32_MAX, ENOSPC);
    disk.written_before = 100;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(write_one(audit, i), STATUS_AUDIT_FAILED);
    expect_failed(audit, "No space left on device");
    assert_int_equal(support_verify(*state), STATUS_OK);
    assert_int_equal(support_report.records, 3);
    disk_is_well();
    assert_int_equal(write_one(audit, 9), STATUS_OK); /* recovers with this one */
    assert_int_equal(audit_health(audit), STATUS_OK);
    expect_last_says(*state, "could not be written: No space left on device");
    support_write(audit, 1);
    audit_close(audit);
    support_expect_whole(*state, 5);
    assert_int_equal(support_count_files(*state), 1);
}

static void test_recovers_by_itself(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    disk_fails(CALL_WRITE, 0, 1, EIO);
    assert_int_equal(write_one(audit, 0), STATUS_AUDIT_FAILED);
    const struct timespec pause = {0, 20000000};
    for (int i = 0; i < 500 && audit_health(audit) != STATUS_OK; i++)
        (void)nanosleep(&pause, NULL);
    assert_int_equal(audit_health(audit), STATUS_OK);
    support_write(audit, 2);
    audit_close(audit);
    support_expect_whole(*state, 2);
}

static void test_disk_full_when_extending(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    disk_fails(CALL_WRITE, 0, 2, ENOSPC); /* and once more when recovering reserves room */
    assert_int_equal(write_one(audit, 0), STATUS_AUDIT_FAILED);
    assert_int_equal(write_one(audit, 1), STATUS_AUDIT_FAILED);
    assert_int_equal(write_one(audit, 2), STATUS_OK);
    /* The disk has room for some 200 KiB of the next 1 MiB: enough. */
    disk_fails(CALL_WRITE, 3, 1, ENOSPC);
    audit_rotate(audit);
    assert_int_equal(write_one(audit, 3), STATUS_OK);
    disk_is_well();
    struct stat file;
    assert_int_equal(stat(support_file(*state, 1), &file), 0);
    assert_int_equal(file.st_size, 3 * 65536);
    audit_close(audit);
    support_expect_whole(*state, 2);
}

static void test_failed_sync_begins_a_new_file(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    support_write(audit, 3);
    disk_fails(CALL_DATASYNC, 0, 1, EIO);
    assert_int_equal(write_one(audit, 0), STATUS_AUDIT_FAILED);
    expect_failed(audit, "Input/output error");
    support_write(audit, 2);
    assert_int_equal(support_count_files(*state), 2);
    audit_close(audit);
    support_expect_whole(*state, 5);
}

static void test_failed_first_sync(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    disk_fails(CALL_DATASYNC, 1, 1, EIO); /* not the one of extending */
    assert_int_equal(write_one(audit, 0), STATUS_AUDIT_FAILED);
    support_write(audit, 2);
    audit_close(audit);
    assert_int_equal(support_count_files(*state), 1);
    support_expect_whole(*state, 2);
}

static void test_failed_recovery_is_tried_again(void **state)
{
    static const enum call calls[] = {CALL_TRUNCATE, CALL_SYNC};
    struct audit *audit = support_open(*state, 0, 0);
    support_write(audit, 2);
    for (size_t i = 0; i < ARRAY_COUNT(calls); i++) {
        disk_fails(CALL_WRITE, 0, 1, ENOSPC);
        assert_int_equal(write_one(audit, 0), STATUS_AUDIT_FAILED);
        disk_fails(calls[i], 0, UINT32_MAX, EROFS);
        assert_int_equal(write_one(audit, 0), STATUS_AUDIT_FAILED);
        expect_failed(audit, "Read-only file system");
        disk_is_well();
        assert_int_equal(write_one(audit, 0), STATUS_OK);
    }
    audit_close(audit);
    support_expect_whole(*state, 4);
}

static void test_file_deleted_while_written(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    support_write(audit, 2);
    assert_int_equal(unlink(support_file(*state, 0)), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(write_one(audit, i), STATUS_AUDIT_FAILED);
    expect_failed(audit, "deleted");
    uint64_t sequence;
    uint8_t chain[AUDIT_HASH_SIZE];
    audit_head(audit, &sequence, chain);
    assert_int_equal(sequence, 2);
    audit_close(audit);
}

static void test_file_changed_while_written(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    support_write(audit, 2);
    size_t size;
    uint8_t *data = support_read(support_file(*state, 0), &size);
    data[size - 10] ^= 1;
    support_replace(support_file(*state, 0), data, size);
    free(data);
    disk_fails(CALL_WRITE, 0, 1, ENOSPC);
    assert_int_equal(write_one(audit, 0), STATUS_AUDIT_FAILED);
    assert_int_equal(write_one(audit, 0), STATUS_AUDIT_FAILED); /* will not continue that */
    expect_failed(audit, "Input/output error");
    audit_close(audit);
}

/* The real thing: a limit on the size of files, as a full disk is. */
static void test_file_size_limit(void **state)
{
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {5000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct audit *audit = support_open(*state, 0, 0);
    unsigned written = 0;
    while (written < 100 && write_one(audit, written) == STATUS_OK)
        written++;
    assert_in_range(written, 10, 20);
    expect_failed(audit, "File too large");
    assert_int_equal(write_one(audit, 0), STATUS_AUDIT_FAILED);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    support_write(audit, 3);
    audit_close(audit);
    support_expect_whole(*state, written + 3);
}

/* ---- Every failure ---- */

/*
 * A little life of a log, with rotation, deletion and a restart. Whatever fails: what was
 * acknowledged is there, the chain is whole, and once the disk is well all goes on.
 */
static void live(const char *directory, unsigned skip, unsigned count, int why)
{
    uint64_t acknowledged = 0;
    disk_fails(CALL_ANY, skip, count, why);
    struct audit_options options = {.directory = directory, .rotate_bytes = 700, .keep_files = 4};
    for (unsigned restart = 0; restart < 2; restart++) {
        struct audit *audit;
        if (audit_open(&options, &audit, NULL) != STATUS_OK)
            continue;
        for (unsigned i = 0; i < 6; i++) {
            uint8_t chain[AUDIT_HASH_SIZE];
            if (write_one(audit, i) == STATUS_OK)
                audit_head(audit, &acknowledged, chain);
        }
        audit_close(audit);
    }
    disk_is_well();
    struct audit *audit = support_open(directory, 700, 4);
    uint64_t sequence;
    uint8_t chain[AUDIT_HASH_SIZE];
    audit_head(audit, &sequence, chain);
    assert_true(sequence >= acknowledged);
    support_write(audit, 3);
    audit_close(audit);
    if (support_verify(directory) != STATUS_OK)
        fail_msg("after %u calls, %u failed: %s", skip, count, error_text(&support_error));
    assert_int_equal(support_report.last_sequence, sequence + 3);
    assert_false(support_report.incomplete_tail);
}

static void test_every_call_fails_once(void **state)
{
    static const unsigned counts[] = {1, 2, 7, UINT32_MAX};
    for (unsigned skip = 0; skip < 120; skip++)
        live(*state, skip, counts[skip % ARRAY_COUNT(counts)], skip % 3 == 0 ? EIO : ENOSPC);
}

/* ---- Waiting ---- */

struct counted {
    struct audit_ticket ticket;
    enum status status;
    unsigned order;
};

static atomic_uint calls_done;

static void note_call(struct audit_ticket *ticket, enum status status)
{
    struct counted *counted = CONTAINER_OF(ticket, struct counted, ticket);
    counted->status = status;
    counted->order = atomic_fetch_add(&calls_done, 1);
}

static void wait_for_calls(unsigned count)
{
    const struct timespec pause = {0, 1000000};
    for (int i = 0; i < 30000 && atomic_load(&calls_done) < count; i++)
        (void)nanosleep(&pause, NULL);
    assert_int_equal(atomic_load(&calls_done), count);
}

static void test_all_that_wait_share_a_sync(void **state)
{
    static struct counted tickets[1000];
    struct counted first = {.ticket.done = note_call};
    atomic_store(&calls_done, 0);
    struct audit *audit = support_open(*state, 0, 0);
    support_write(audit, 1);
    disk_hold(audit, &first.ticket);
    for (unsigned i = 0; i < ARRAY_COUNT(tickets); i++) {
        struct audit_entry entry = support_entry(i);
        tickets[i].ticket.done = note_call;
        audit_append(audit, &entry, 1, &tickets[i].ticket);
    }
    assert_int_equal(atomic_load(&calls_done), 0);
    unsigned before = atomic_load(&disk.data_syncs);
    disk_let_go();
    audit_close(audit);
    assert_int_equal(atomic_load(&disk.data_syncs) - before, 1);
    for (unsigned i = 0; i < ARRAY_COUNT(tickets); i++) {
        assert_int_equal(tickets[i].status, STATUS_OK);
        assert_int_equal(tickets[i].order, i + 1);
    }
    support_expect_whole(*state, 1002);
}

/* Tickets of three records and of one by turns: where three do not fit, one still may. */
static void test_what_waits_is_bounded(void **state)
{
    static struct counted tickets[10000];
    static char detail[1024];
    memset(detail, 'x', sizeof(detail));
    struct counted first = {.ticket.done = note_call};
    atomic_store(&calls_done, 0);
    struct audit *audit = support_open(*state, 0, 0);
    disk_hold(audit, &first.ticket);
    struct bytes text = bytes_of(detail, sizeof(detail));
    struct audit_entry entry = {1, "kmip", text, text, text, text, text, text, text, text, text};
    for (unsigned i = 0; i < ARRAY_COUNT(tickets); i++) {
        const struct audit_entry entries[] = {entry, entry, entry};
        tickets[i].ticket.done = note_call;
        audit_append(audit, entries, i % 2 == 0 ? 3 : 1, &tickets[i].ticket);
    }
    disk_let_go();
    wait_for_calls(ARRAY_COUNT(tickets) + 1);
    assert_int_equal(audit_health(audit), STATUS_OK);
    assert_int_equal(write_one(audit, 0), STATUS_OK);
    unsigned records = 0;
    unsigned first_refused = 0;
    unsigned last_taken = 0;
    for (unsigned i = 0; i < ARRAY_COUNT(tickets); i++) {
        assert_int_equal(tickets[i].order, i + 1);
        if (tickets[i].status == STATUS_OK) {
            records += i % 2 == 0 ? 3 : 1;
            last_taken = i;
        } else if (first_refused == 0) {
            first_refused = i;
        }
    }
    assert_in_range(records, (64 << 20) / 11000, (64 << 20) / 9000);
    assert_int_equal(last_taken, first_refused + 1);
    audit_close(audit);
    support_expect_whole(*state, records + 2);
}

/* The first one that fails appends others at once, which take the sequences that are free again. */
static struct audit *failing_audit;
static struct counted later[30];

static void append_others(struct audit_ticket *ticket, enum status status)
{
    note_call(ticket, status);
    for (unsigned i = 0; i < ARRAY_COUNT(later); i++) {
        struct audit_entry entry = support_entry(i);
        later[i].ticket.done = note_call;
        audit_append(failing_audit, &entry, 1, &later[i].ticket);
    }
}

static void test_failure_fails_all_that_wait(void **state)
{
    static struct counted tickets[10];
    struct counted first = {.ticket.done = append_others};
    atomic_store(&calls_done, 0);
    struct audit *audit = support_open(*state, 0, 0);
    failing_audit = audit;
    support_write(audit, 2);
    disk_hold(audit, &first.ticket);
    for (unsigned i = 0; i < ARRAY_COUNT(tickets); i++) {
        struct audit_entry entries[2] = {support_entry(i), support_entry(i)};
        tickets[i].ticket.done = note_call;
        audit_append(audit, entries, 2, &tickets[i].ticket);
    }
    disk_fails(CALL_DATASYNC, 0, 1, EIO);
    disk_let_go();
    wait_for_calls(1 + ARRAY_COUNT(tickets) + ARRAY_COUNT(later));
    assert_int_equal(first.status, STATUS_AUDIT_FAILED);
    for (unsigned i = 0; i < ARRAY_COUNT(tickets); i++)
        assert_int_equal(tickets[i].status, STATUS_AUDIT_FAILED);
    for (unsigned i = 0; i < ARRAY_COUNT(later); i++) {
        assert_int_equal(later[i].status, STATUS_OK);
        assert_int_equal(later[i].ticket.sequence, 3 + i);
    }
    audit_close(audit);
    support_expect_whole(*state, 2 + ARRAY_COUNT(later));
}

/* ---- Reading ---- */

/* The reader comes in the midst of a write, and looks again after a pause. */
static void test_verified_in_the_midst_of_a_write(void **state)
{
    struct counted first = {.ticket.done = note_call};
    atomic_store(&calls_done, 0);
    struct audit *audit = support_open(*state, 0, 0);
    support_write(audit, 2);
    struct audit_entry entry = support_entry(0);
    atomic_store(&disk.halved, true);
    audit_append(audit, &entry, 1, &first.ticket);
    (void)sem_wait(&disk.waiting);
    atomic_store(&disk.pause_releases, true);
    support_expect_whole(*state, 3);
    assert_false(atomic_load(&disk.pause_releases));
    audit_close(audit);
}

/* Where nobody writes, there is nothing to wait for. */
static void test_verified_after_a_crash_without_a_pause(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    support_write(audit, 3);
    audit_close(audit);
    const char *path = support_file(*state, 0);
    size_t size;
    uint8_t *data = support_read(path, &size);
    support_replace(path, data, size - 10);
    free(data);
    atomic_store(&disk.pause_releases, true);
    assert_int_equal(support_verify(*state), STATUS_OK);
    assert_true(support_report.incomplete_tail);
    assert_true(atomic_exchange(&disk.pause_releases, false));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, support_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_disk_full),
        TEST(test_recovers_by_itself),
        TEST(test_disk_full_when_extending),
        TEST(test_failed_sync_begins_a_new_file),
        TEST(test_failed_first_sync),
        TEST(test_failed_recovery_is_tried_again),
        TEST(test_file_deleted_while_written),
        TEST(test_file_changed_while_written),
        TEST(test_file_size_limit),
        TEST(test_every_call_fails_once),
        TEST(test_all_that_wait_share_a_sync),
        cmocka_unit_test_setup_teardown(test_what_waits_is_bounded, setup_large, support_teardown),
        TEST(test_failure_fails_all_that_wait),
        TEST(test_verified_in_the_midst_of_a_write),
        TEST(test_verified_after_a_crash_without_a_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
