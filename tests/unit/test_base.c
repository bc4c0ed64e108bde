/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/uuid.h"

/* Runs a check in a child, for what cannot be undone in a process. The child's answer: 0 is good. */
static int in_child(int (*check)(void))
{
    int result = -1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(check());
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    return WEXITSTATUS(result);
}

static bool all_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] != 0)
            return false;
    return true;
}

/* ---- Bytes ---- */

static void test_bytes(void **state)
{
    (void)state;
    const struct bytes none = {0};
    assert_true(bytes_equal(none, BYTES_LITERAL("")));
    assert_true(bytes_equal(BYTES_LITERAL("ab"), bytes_of("abc", 2)));
    assert_false(bytes_equal(BYTES_LITERAL("ab"), BYTES_LITERAL("ac")));
    assert_false(bytes_equal(BYTES_LITERAL("ab"), BYTES_LITERAL("abc")));
    assert_true(bytes_equal_text(BYTES_LITERAL("ab"), "ab"));
    assert_int_equal(bytes_compare(none, none), 0);
    assert_true(bytes_compare(none, BYTES_LITERAL("a")) < 0);
    assert_true(bytes_compare(BYTES_LITERAL("a"), BYTES_LITERAL("ab")) < 0);
    assert_true(bytes_compare(BYTES_LITERAL("b"), BYTES_LITERAL("ab")) > 0);
    assert_true(bytes_compare(BYTES_LITERAL("\xFF"), BYTES_LITERAL("\x01")) > 0);
}

/* ---- Buffer ---- */

static void test_buffer_grows(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 100000);
    for (int i = 0; i < 10000; i++)
        buffer_append_format(&buffer, "%05d", i);
    assert_int_equal(buffer_status(&buffer), STATUS_OK);
    assert_int_equal(buffer.size, 50000);
    assert_memory_equal(buffer.data, "000000000100002", 15);
    assert_memory_equal(buffer.data + 49990, "0999809999", 10);
    assert_true(buffer.capacity <= buffer.maximum);
    buffer_free(&buffer);
    assert_int_equal(buffer.size, 0);
    buffer_append_text(&buffer, "again");
    assert_true(bytes_equal_text(buffer_bytes(&buffer), "again"));
    buffer_free(&buffer);
}

static void test_buffer_maximum(void **state)
{
    (void)state;
    static const size_t maxima[] = {1, 7, 255, 256, 257, 1000, 4096};
    uint8_t data[4096] = {0};
    for (size_t i = 0; i < ARRAY_COUNT(maxima); i++) {
        struct buffer buffer;
        buffer_init(&buffer, maxima[i]);
        buffer_append(&buffer, data, maxima[i] - 1);
        buffer_append(&buffer, "x", 1);
        assert_int_equal(buffer_status(&buffer), STATUS_OK);
        assert_int_equal(buffer.size, maxima[i]);
        buffer_append(&buffer, "y", 1);
        assert_int_equal(buffer_status(&buffer), STATUS_TOO_LARGE);
        assert_int_equal(buffer.size, maxima[i]);
        assert_int_equal(buffer.data[maxima[i] - 1], 'x');
        buffer_free(&buffer);
    }
}

/* After a failure nothing more is appended, even what would fit. */
static void test_buffer_stays_failed(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 10);
    buffer_append_text(&buffer, "12345");
    assert_null(buffer_reserve(&buffer, SIZE_MAX));
    assert_int_equal(buffer_status(&buffer), STATUS_TOO_LARGE);
    buffer_append_text(&buffer, "6");
    buffer_append_format(&buffer, "%d", 7);
    assert_null(buffer_reserve(&buffer, 0));
    assert_true(bytes_equal_text(buffer_bytes(&buffer), "12345"));
    buffer_reset(&buffer);
    assert_int_equal(buffer_status(&buffer), STATUS_OK);
    buffer_append_text(&buffer, "1234567890");
    assert_true(bytes_equal_text(buffer_bytes(&buffer), "1234567890"));
    buffer_free(&buffer);
}

static void test_buffer_empty(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 0);
    assert_non_null(buffer_reserve(&buffer, 0));
    buffer_append(&buffer, NULL, 0);
    buffer_append_bytes(&buffer, (struct bytes){0});
    buffer_append_text(&buffer, "");
    assert_int_equal(buffer_status(&buffer), STATUS_OK);
    assert_null(buffer.data);
    assert_null(buffer_reserve(&buffer, 1));
    assert_int_equal(buffer_status(&buffer), STATUS_TOO_LARGE);
    buffer_free(&buffer);
}

static void test_buffer_over(void **state)
{
    (void)state;
    uint8_t memory[8];
    struct buffer buffer;
    memset(memory, 0xEE, sizeof(memory));
    buffer_over(&buffer, memory, 7);
    buffer_append_text(&buffer, "1234567");
    assert_int_equal(buffer_status(&buffer), STATUS_OK);
    assert_ptr_equal(buffer.data, memory);
    buffer_append_text(&buffer, "8");
    assert_int_equal(buffer_status(&buffer), STATUS_TOO_LARGE);
    assert_int_equal(memory[7], 0xEE);
    buffer_free(&buffer);
    assert_true(all_zero(memory, 7));
    assert_int_equal(memory[7], 0xEE);
    buffer_append_text(&buffer, "123");
    assert_memory_equal(memory, "123", 3);
    buffer_reset(&buffer);
    assert_true(all_zero(memory, 7));
}

/* ---- Arena ---- */

static void test_arena_alignment(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    for (size_t size = 0; size < 100; size++) {
        uint8_t *place = arena_allocate(&arena, size);
        assert_non_null(place);
        assert_int_equal((uintptr_t)place % alignof(max_align_t), 0);
        assert_true(all_zero(place, size));
        memset(place, 0xEE, size);
    }
    arena_free(&arena);
}

/* What is reused after a reset is zero again, and no two pieces overlap. */
static void test_arena_reset(void **state)
{
    (void)state;
    struct arena arena;
    uint8_t *places[100];
    arena_init(&arena, 1 << 20);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
            places[i] = arena_allocate(&arena, 1000);
            assert_non_null(places[i]);
            assert_true(all_zero(places[i], 1000));
            memset(places[i], (int)i + 1, 1000);
        }
        for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
            assert_int_equal(places[i][0], i + 1);
            assert_int_equal(places[i][999], i + 1);
        }
        arena_reset(&arena);
        assert_int_equal(arena.used, 0);
        assert_non_null(arena.chunks);
    }
    arena_free(&arena);
    assert_int_equal(arena.allocated, 0);
    assert_non_null(arena_allocate(&arena, 10));
    arena_free(&arena);
}

static void test_arena_maximum(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 100000);
    assert_null(arena_allocate(&arena, 100001));
    assert_null(arena_allocate(&arena, SIZE_MAX));
    size_t got = 0;
    while (arena_allocate(&arena, 4096) != NULL)
        got += 4096;
    assert_in_range(got, 80000, 100000);
    assert_true(arena.allocated <= 100000);
    assert_null(arena_allocate(&arena, 16384));
    arena_reset(&arena);
    assert_non_null(arena_allocate(&arena, 80000));
    assert_null(arena_allocate(&arena, 80000));
    arena_free(&arena);
    arena_init(&arena, SIZE_MAX);
    assert_null(arena_allocate(&arena, SIZE_MAX));
    assert_null(arena_allocate(&arena, SIZE_MAX - 8));
    arena_free(&arena);
    arena_init(&arena, 0);
    assert_null(arena_allocate(&arena, 1));
    arena_free(&arena);
}

static void test_arena_arrays(void **state)
{
    (void)state;
    struct arena arena;
    struct bytes copy = {0};
    arena_init(&arena, 100000);
    assert_null(arena_allocate_array(&arena, SIZE_MAX / 2, 3));
    assert_null(arena_allocate_array(&arena, 3, SIZE_MAX / 2));
    assert_non_null(arena_allocate_array(&arena, 3, 8));
    assert_true(arena_copy(&arena, BYTES_LITERAL("hello"), &copy));
    assert_true(bytes_equal_text(copy, "hello"));
    struct bytes kept = copy;
    assert_false(arena_copy(&arena, bytes_of("", 200000), &copy));
    assert_ptr_equal(copy.data, kept.data);
    assert_true(arena_copy(&arena, (struct bytes){0}, &copy));
    assert_int_equal(copy.size, 0);
    arena_free(&arena);
    arena_free(&arena);
}

/* ---- Secrets ---- */

static void test_secret(void **state)
{
    (void)state;
    struct secret a = {0};
    struct secret b = {0};
    assert_int_equal(secret_allocate(&a, 32), STATUS_OK);
    assert_int_equal(a.size, 32);
    assert_true(all_zero(a.data, 32));
    assert_int_equal(secret_random(&b, 32), STATUS_OK);
    assert_false(all_zero(b.data, 32));
    assert_false(secret_equal(&a, &b));
    memcpy(a.data, b.data, 32);
    assert_true(secret_equal(&a, &b));
    a.data[31] ^= 1;
    assert_false(secret_equal(&a, &b));
    secret_free(&a);
    assert_null(a.data);
    assert_int_equal(a.size, 0);
    secret_free(&a);
    assert_int_equal(secret_copy(&a, bytes_of(b.data, 31)), STATUS_OK);
    assert_false(secret_equal(&a, &b));
    struct secret taken = secret_take(&a);
    assert_null(a.data);
    assert_memory_equal(taken.data, b.data, 31);
    secret_free(&taken);
    secret_free(&b);
}

static void test_secret_empty(void **state)
{
    (void)state;
    struct secret a;
    struct secret b;
    assert_int_equal(secret_allocate(&a, 0), STATUS_OK);
    assert_int_equal(secret_copy(&b, (struct bytes){0}), STATUS_OK);
    assert_non_null(a.data);
    assert_int_equal(a.size, 0);
    assert_true(secret_equal(&a, &b));
    secret_free(&a);
    secret_free(&b);
}

/* A full heap refuses; it does not hand out other memory. What is freed comes back. */
static void test_secret_heap_full(void **state)
{
    (void)state;
    static struct secret secrets[2000];
    for (int round = 0; round < 2; round++) {
        size_t count = 0;
        while (count < ARRAY_COUNT(secrets) && secret_allocate(&secrets[count], 1024) == STATUS_OK)
            count++;
        assert_in_range(count, 900, 1024); /* of a heap of one megabyte */
        struct secret one_more = {0};
        assert_int_equal(secret_random(&one_more, 1024), STATUS_NO_MEMORY);
        assert_null(one_more.data);
        for (size_t i = 0; i < count; i++)
            secret_free(&secrets[i]);
    }
    struct secret whole = {0};
    assert_int_equal(secret_allocate(&whole, (size_t)2 << 20), STATUS_NO_MEMORY);
}

/* Freed memory is wiped: the next who gets it sees zeros, and so does whoever kept a pointer. */
static void test_secret_wiped(void **state)
{
    (void)state;
    struct secret neighbour;
    struct secret secret;
    assert_int_equal(secret_allocate(&neighbour, 64), STATUS_OK);
    assert_int_equal(secret_allocate(&secret, 64), STATUS_OK);
    const volatile uint8_t *place = secret.data;
    memset(secret.data, 0xA5, 64);
    secret_free(&secret);
    int left = 0;
    /* The heap's own list uses the first bytes of a free piece. */
    for (size_t i = 16; i < 64; i++)
        left += place[i] == 0xA5;
    assert_int_equal(left, 0);
    secret_free(&neighbour);
}

static int allocate_without_heap(void)
{
    struct secret secret = {0};
    return secret_allocate(&secret, 32) == STATUS_NO_MEMORY &&
                   secret_random(&secret, 32) == STATUS_NO_MEMORY && secret.data == NULL
               ? 0
               : 1;
}

/* Where memory cannot be locked there is no heap, neither now nor when asked again. */
static int init_without_lock(void)
{
    const struct rlimit none = {0, 0};
    struct error error = {0};
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return 2;
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0)
        return 3;
    for (int i = 0; i < 2; i++)
        if (secret_heap_init(1 << 20, &error) != STATUS_IO ||
            strstr(error.text, "RLIMIT_MEMLOCK") == NULL)
            return 4;
    return allocate_without_heap();
}

static int protect(void)
{
    struct error error = {0};
    struct rlimit limit;
    if (secret_protect_process(&error) != STATUS_OK || getrlimit(RLIMIT_CORE, &limit) != 0)
        return 1;
    return limit.rlim_max == 0 && prctl(PR_GET_DUMPABLE) == 0 ? 0 : 2;
}

/* These come first, in children that have no heap yet. */
static void test_secret_heap_missing(void **state)
{
    (void)state;
    assert_int_equal(in_child(allocate_without_heap), 0);
    assert_int_equal(in_child(init_without_lock), 0);
}

static void test_secret_protect_process(void **state)
{
    (void)state;
    assert_int_equal(in_child(protect), 0);
}

static void test_secret_heap_init(void **state)
{
    (void)state;
    struct error error = {0};
    if (secret_heap_init(1 << 20, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    assert_int_equal(secret_heap_init(1 << 20, &error), STATUS_OK);
}

static uint8_t *locked_memory;

/* A child made by fork finds zeros (MADV_WIPEONFORK). */
static int locked_is_wiped(void)
{
    return all_zero(locked_memory, 10000) ? 0 : 1;
}

static void test_locked(void **state)
{
    (void)state;
    locked_memory = locked_allocate(10000);
    assert_non_null(locked_memory);
    assert_true(all_zero(locked_memory, 10000));
    memset(locked_memory, 0xA5, 10000);
    assert_int_equal(in_child(locked_is_wiped), 0);
    assert_int_equal(locked_memory[9999], 0xA5);
    locked_free(locked_memory, 10000);
    locked_free(NULL, 10000);
    assert_null(locked_allocate(0));
}

/* ---- UUID ---- */

static void test_uuid_make(void **state)
{
    (void)state;
    struct uuid previous;
    struct uuid uuid;
    int64_t time = INT64_C(0x0123456789AB);
    assert_int_equal(uuid_make(time, &previous), STATUS_OK);
    assert_memory_equal(previous.bytes, "\x01\x23\x45\x67\x89\xAB", 6);
    for (int i = 1; i < 1000; i++) {
        assert_int_equal(uuid_make(time + i, &uuid), STATUS_OK);
        assert_int_equal(uuid.bytes[6] >> 4, 7); /* version: RFC 9562 §4.2 */
        assert_int_equal(uuid.bytes[8] >> 6, 2); /* variant: §4.1 */
        assert_true(memcmp(previous.bytes, uuid.bytes, UUID_SIZE) < 0);
        previous = uuid;
    }
    assert_int_equal(uuid_make(time, &previous), STATUS_OK);
    assert_int_equal(uuid_make(time, &uuid), STATUS_OK);
    assert_false(uuid_equal(&previous, &uuid));
}

static void test_uuid_text(void **state)
{
    (void)state;
    /* RFC 9562, A.6 */
    static const char text[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
    static const uint8_t bytes[] = {0x01, 0x7F, 0x22, 0xE2, 0x79, 0xB0, 0x7C, 0xC3,
                                    0x98, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F};
    struct uuid uuid;
    char again[UUID_TEXT_LENGTH + 1];
    assert_true(uuid_parse(bytes_of_text(text), &uuid));
    assert_memory_equal(uuid.bytes, bytes, UUID_SIZE);
    uuid_text(&uuid, again);
    assert_string_equal(again, text);
    assert_true(uuid_parse(BYTES_LITERAL("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), &uuid));
    assert_memory_equal(uuid.bytes, bytes, UUID_SIZE);
}

static void test_uuid_malformed(void **state)
{
    (void)state;
    static const char good[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
    static const char *const malformed[] = {
        "",
        "017f22e279b07cc398c4dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
        "{017f22e2-79b0-7cc3-98c4-dc0c0c07398}",
        "017f22e-279b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2_79b0_7cc3_98c4_dc0c0c07398f",
    };
    struct uuid uuid = {{1}};
    struct uuid before = uuid;
    for (size_t i = 0; i < ARRAY_COUNT(malformed); i++)
        assert_false(uuid_parse(bytes_of_text(malformed[i]), &uuid));
    for (size_t i = 0; i < UUID_TEXT_LENGTH; i++) {
        char text[sizeof(good)];
        memcpy(text, good, sizeof(good));
        text[i] = text[i] == '-' ? '0' : 'g';
        assert_false(uuid_parse(bytes_of(text, UUID_TEXT_LENGTH), &uuid));
        assert_false(uuid_parse(bytes_of(good, i), &uuid));
    }
    assert_true(uuid_equal(&uuid, &before));
}

/* ---- Hex ---- */

static void test_hex(void **state)
{
    (void)state;
    uint8_t bytes[256];
    uint8_t again[256];
    char text[513];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    hex_text(bytes_of(bytes, sizeof(bytes)), text);
    assert_int_equal(strlen(text), 512);
    assert_memory_equal(text, "000102", 6);
    assert_memory_equal(text + 506, "fdfeff", 6);
    assert_true(hex_decode(bytes_of_text(text), again, sizeof(again)));
    assert_memory_equal(again, bytes, sizeof(bytes));
    assert_true(hex_decode(BYTES_LITERAL("aAfF"), again, 2));
    assert_memory_equal(again, "\xAA\xFF", 2);
    assert_true(hex_decode((struct bytes){0}, again, 0));
    hex_text((struct bytes){0}, text);
    assert_string_equal(text, "");
}

static void test_hex_malformed(void **state)
{
    (void)state;
    uint8_t bytes[4];
    assert_false(hex_decode(BYTES_LITERAL("0102"), bytes, 1));
    assert_false(hex_decode(BYTES_LITERAL("0102"), bytes, 3));
    assert_false(hex_decode(BYTES_LITERAL("010"), bytes, 1));
    assert_false(hex_decode(BYTES_LITERAL("010"), bytes, 2));
    int accepted = 0;
    for (int c = 0; c < 256; c++) {
        const uint8_t text[] = {'0', (uint8_t)c};
        accepted += hex_decode(bytes_of(text, 2), bytes, 1);
        const uint8_t reversed[] = {(uint8_t)c, '0'};
        accepted += hex_decode(bytes_of(reversed, 2), bytes, 1);
    }
    assert_int_equal(accepted, 2 * 22);
}

/* ---- Clock ---- */

static void test_clock(void **state)
{
    (void)state;
    struct clock clock;
    clock_init_test(&clock, 1000);
    assert_true(clock_now(&clock) == 1000);
    clock.test_time = 2000;
    assert_true(clock_now(&clock) == 2000);
    assert_true(clock_behind(&clock) == 0);
    clock.test_time = 1500; /* stepped back: time stands still */
    assert_true(clock_now(&clock) == 2000);
    assert_true(clock_behind(&clock) == 500);
    clock.test_time = 1999;
    assert_true(clock_now(&clock) == 2000);
    assert_true(clock_behind(&clock) == 1);
    clock.test_time = 2001;
    assert_true(clock_now(&clock) == 2001);
    assert_true(clock_behind(&clock) == 0);
}

static void test_clock_system(void **state)
{
    (void)state;
    struct clock clock;
    clock_init_system(&clock);
    int64_t first = clock_now(&clock);
    assert_true(first > INT64_C(1600000000000)); /* milliseconds, not seconds */
    assert_true(first < INT64_C(9999999999999));
    assert_true(clock_now(&clock) >= first);
    int64_t monotonic = clock_monotonic();
    assert_true(clock_monotonic() >= monotonic);
}

static _Atomic int64_t wall;

/* A wall clock that jumps to and fro. */
static int64_t read_jumping(struct clock *clock)
{
    (void)clock;
    int64_t time = atomic_fetch_add(&wall, 1);
    return time % 7 == 0 ? time - 1000 : time;
}

static void *watch_clock(void *argument)
{
    int64_t latest = 0;
    for (int i = 0; i < 20000; i++) {
        int64_t now = clock_now(argument);
        if (now < latest)
            return argument;
        latest = now;
    }
    return NULL;
}

static void test_clock_threads(void **state)
{
    (void)state;
    struct clock clock;
    pthread_t threads[4];
    clock_init_test(&clock, 0);
    clock.read = read_jumping;
    atomic_store(&wall, 100000);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, watch_clock, &clock), 0);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        void *went_back;
        assert_int_equal(pthread_join(threads[i], &went_back), 0);
        assert_null(went_back);
    }
}

/* ---- Status and error ---- */

static void test_status(void **state)
{
    (void)state;
    for (int i = 0; i < STATUS_COUNT; i++) {
        assert_non_null(status_name((enum status)i));
        assert_true(status_text((enum status)i)[0] != '\0');
        for (int j = 0; j < i; j++)
            assert_string_not_equal(status_name((enum status)i), status_name((enum status)j));
    }
    assert_string_equal(status_name(STATUS_OK), "OK");
    assert_string_equal(status_name(STATUS_OBJECT_NOT_FOUND), "OBJECT_NOT_FOUND");
    assert_string_equal(status_name((enum status)STATUS_COUNT), "UNKNOWN");
    assert_string_equal(status_name((enum status) - 1), "UNKNOWN");
    assert_string_equal(status_text((enum status)STATUS_COUNT), "Unknown error");
}

static void test_error(void **state)
{
    (void)state;
    struct error error = {0};
    assert_int_equal(error_set(&error, STATUS_IO, "cannot open %s", "x"), STATUS_IO);
    assert_int_equal(error.status, STATUS_IO);
    assert_string_equal(error_text(&error), "cannot open x");
    assert_int_equal(error_set_errno(&error, STATUS_NOT_FOUND, ENOENT, "cannot open %s", "y"),
                     STATUS_NOT_FOUND);
    assert_string_equal(error.text, "cannot open y: No such file or directory");
    (void)error_set_errno(&error, STATUS_IO, 99999, "odd");
    assert_string_equal(error.text, "odd: unknown error");
    assert_int_equal(error_set(NULL, STATUS_IO, "nobody reads %d", 1), STATUS_IO);
    assert_int_equal(error_set_errno(NULL, STATUS_IO, ENOENT, "nobody"), STATUS_IO);
    const struct error bare = {.status = STATUS_BUSY};
    assert_string_equal(error_text(&bare), status_text(STATUS_BUSY));
}

static void test_error_cut(void **state)
{
    (void)state;
    struct error error = {0};
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)error_set(&error, STATUS_IO, "%s", text);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    (void)error_set_errno(&error, STATUS_IO, ENOENT, "%s", text);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    text[sizeof(error.text) - 5] = '\0';
    (void)error_set_errno(&error, STATUS_IO, ENOENT, "%s", text);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    assert_string_equal(error.text + sizeof(error.text) - 5, ": No");
}

/* ---- Log ---- */

/* What a call of log_write() sends to standard error. */
static size_t logged(enum log_level level, const char *text, char *ret_line, size_t room)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int kept = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    (void)close(ends[1]);
    log_write(level, "%s", text);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    (void)close(kept);
    size_t size = 0;
    for (ssize_t got; (got = read(ends[0], ret_line + size, room - 1 - size)) > 0;)
        size += (size_t)got;
    (void)close(ends[0]);
    ret_line[size] = '\0';
    return size;
}

static void test_log(void **state)
{
    (void)state;
    char line[8192];
    log_init(LOG_LEVEL_NOTICE, 0);
    logged(LOG_LEVEL_NOTICE, "started port=5696", line, sizeof(line));
    assert_string_equal(line + 24, " NOTICE started port=5696\n");
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    assert_int_equal(logged(LOG_LEVEL_INFO, "quiet", line, sizeof(line)), 0);
    log_set_level(LOG_LEVEL_INFO);
    assert_true(logged(LOG_LEVEL_INFO, "loud", line, sizeof(line)) > 0);
    log_init(LOG_LEVEL_INFO, 1);
    logged(LOG_LEVEL_ERROR, "to the journal", line, sizeof(line));
    assert_string_equal(line, "<3>to the journal\n");
}

/* One line is one line, whatever a client sent. */
static void test_log_injection(void **state)
{
    (void)state;
    char line[8192];
    char text[5000];
    log_init(LOG_LEVEL_INFO, 1);
    logged(LOG_LEVEL_INFO, "name=\"a\n<0>forged\r\x1b[31m\x7f\"", line, sizeof(line));
    assert_string_equal(line, "<6>name=\"a?<0>forged??[31m?\"\n");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    size_t size = logged(LOG_LEVEL_INFO, text, line, sizeof(line));
    assert_in_range(size, 2000, 2048);
    assert_int_equal(line[size - 1], '\n');
    assert_ptr_equal(strchr(line, '\n'), line + size - 1);
    log_init(LOG_LEVEL_INFO, 0);
}

/* ---- Files ---- */

static char directory[64];

static const char *in_directory(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/kmipd-test-XXXXXX");
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *place)
{
    (void)stat;
    (void)type;
    (void)place;
    return remove(path);
}

static int remove_directory(void **state)
{
    (void)state;
    return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static enum status replace(const char *path, const char *text, unsigned mode, unsigned flags)
{
    int lock;
    struct error error = {0};
    assert_int_equal(file_lock(path, &lock, &error), STATUS_OK);
    enum status status = file_replace(lock, path, bytes_of_text(text), mode, flags, &error);
    assert_true(status == STATUS_OK || error.text[0] != '\0');
    file_unlock(lock);
    return status;
}

static void assert_content(const char *path, const char *expected)
{
    struct buffer content;
    struct error error = {0};
    buffer_init(&content, 1000);
    if (file_read(path, FILE_PUBLIC, &content, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    assert_true(bytes_equal_text(buffer_bytes(&content), expected));
    buffer_free(&content);
}

static void test_file_replace(void **state)
{
    (void)state;
    const char *path = in_directory("a");
    const char *previous = in_directory("a.previous");
    struct stat stat_of;
    assert_int_equal(replace(path, "one", 0600, FILE_MUST_BE_NEW), STATUS_OK);
    assert_int_equal(replace(path, "two", 0600, FILE_MUST_BE_NEW), STATUS_EXISTS);
    assert_content(path, "one");
    assert_int_equal(replace(path, "two", 0640, 0), STATUS_OK);
    assert_content(path, "two");
    assert_false(file_exists(previous));
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 07777, 0640);
    assert_int_equal(replace(path, "three", 0600, FILE_KEEP_PREVIOUS), STATUS_OK);
    assert_int_equal(replace(path, "", 0600, FILE_KEEP_PREVIOUS), STATUS_OK);
    assert_content(path, "");
    assert_content(previous, "three");
    assert_false(file_exists(in_directory("a.new")));
    assert_false(file_exists(in_directory("a.previous.new")));
    assert_int_equal(replace(in_directory("b"), "x", 0600, FILE_KEEP_PREVIOUS), STATUS_OK);
    assert_false(file_exists(in_directory("b.previous")));
}

static void test_file_replace_fails(void **state)
{
    (void)state;
    int lock;
    struct error error = {0};
    assert_int_equal(file_lock("/nonexistent/directory/x", &lock, &error), STATUS_IO);
    assert_int_equal(replace(in_directory("a"), "one", 0600, 0), STATUS_OK);
    assert_int_equal(mkdir(in_directory("d"), 0700), 0);
    assert_int_equal(replace(in_directory("d"), "one", 0600, 0), STATUS_IO);
    assert_false(file_exists(in_directory("d.new")));
    /* The previous generation cannot be kept: the present one stays. */
    assert_int_equal(mkdir(in_directory("a.previous"), 0700), 0);
    assert_int_equal(replace(in_directory("a"), "two", 0600, FILE_KEEP_PREVIOUS), STATUS_IO);
    assert_content(in_directory("a"), "one");
}

static void test_file_read(void **state)
{
    (void)state;
    struct buffer content;
    struct secret secret = {0};
    struct error error = {0};
    const char *path = in_directory("a");
    buffer_init(&content, 3);
    assert_int_equal(file_read(path, FILE_PUBLIC, &content, &error), STATUS_NOT_FOUND);
    assert_int_equal(file_read_secret(path, FILE_PRIVATE, 3, &secret, &error), STATUS_NOT_FOUND);
    assert_int_equal(replace(path, "abc", 0600, 0), STATUS_OK);
    assert_int_equal(file_read(path, FILE_PRIVATE, &content, &error), STATUS_OK);
    assert_true(bytes_equal_text(buffer_bytes(&content), "abc"));
    assert_int_equal(file_read_secret(path, FILE_PRIVATE, 3, &secret, &error), STATUS_OK);
    assert_true(bytes_equal_text(secret_bytes(&secret), "abc"));
    secret_free(&secret);
    buffer_reset(&content);
    assert_int_equal(replace(path, "abcd", 0644, 0), STATUS_OK);
    assert_int_equal(file_read(path, FILE_PUBLIC, &content, &error), STATUS_TOO_LARGE);
    assert_int_equal(content.size, 0);
    assert_int_equal(file_read_secret(path, FILE_PUBLIC, 3, &secret, &error), STATUS_TOO_LARGE);
    assert_int_equal(file_read_secret(path, FILE_PRIVATE, 9, &secret, &error), STATUS_IO);
    assert_null(secret.data);
    buffer_free(&content);
}

static void *lock_in_thread(void *argument)
{
    int lock;
    struct error error;
    if (file_lock(in_directory("x"), &lock, &error) != STATUS_OK)
        return NULL;
    atomic_fetch_add((_Atomic int *)argument, 1);
    file_unlock(lock);
    return argument;
}

static void test_file_lock(void **state)
{
    (void)state;
    _Atomic int held = 0;
    int lock;
    pthread_t thread;
    void *done;
    struct error error;
    assert_int_equal(file_lock(in_directory("y"), &lock, &error), STATUS_OK);
    assert_int_equal(pthread_create(&thread, NULL, lock_in_thread, &held), 0);
    usleep(20000);
    assert_int_equal(atomic_load(&held), 0);
    file_unlock(lock);
    assert_int_equal(pthread_join(thread, &done), 0);
    assert_non_null(done);
    assert_int_equal(atomic_load(&held), 1);
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* In this order: first without a heap, then with. */
        cmocka_unit_test(test_secret_heap_missing),
        cmocka_unit_test(test_secret_heap_init),
        cmocka_unit_test(test_secret),
        cmocka_unit_test(test_secret_empty),
        cmocka_unit_test(test_secret_heap_full),
        cmocka_unit_test(test_secret_wiped),
        cmocka_unit_test(test_secret_protect_process),
        cmocka_unit_test(test_locked),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_buffer_grows),
        cmocka_unit_test(test_buffer_maximum),
        cmocka_unit_test(test_buffer_stays_failed),
        cmocka_unit_test(test_buffer_empty),
        cmocka_unit_test(test_buffer_over),
        cmocka_unit_test(test_arena_alignment),
        cmocka_unit_test(test_arena_reset),
        cmocka_unit_test(test_arena_maximum),
        cmocka_unit_test(test_arena_arrays),
        cmocka_unit_test(test_uuid_make),
        cmocka_unit_test(test_uuid_text),
        cmocka_unit_test(test_uuid_malformed),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_hex_malformed),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_clock_system),
        cmocka_unit_test(test_clock_threads),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_error_cut),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_log_injection),
        FILE_TEST(test_file_replace),
        FILE_TEST(test_file_replace_fails),
        FILE_TEST(test_file_read),
        FILE_TEST(test_file_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
