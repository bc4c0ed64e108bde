/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log's daily work: records, order, files, reading. */
#include "audit_support.h"

#include <jansson.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "audit/line.h"
#include "base/hex.h"

extern char **environ;

/* ---- Records ---- */

static size_t write_line(const struct audit_entry *entry, uint64_t sequence, const char *note,
                         char *line)
{
    struct record_clock clock = {0};
    size_t size = record_write(&clock, entry, sequence, note, (uint8_t *)line);
    assert_in_range(size, 1, RECORD_SIZE_MAX);
    assert_int_equal(line[size - 1], '\n');
    line[size - 1] = '\0';
    return size - 1;
}

static void test_record_is_as_documented(void **state)
{
    char line[RECORD_SIZE_MAX];
    struct audit_entry entry = support_entry(1);
    entry.reason = BYTES_LITERAL("Item Not Found");
    entry.detail = BYTES_LITERAL("by hand");
    (void)write_line(&entry, 42, "", line);
    assert_string_equal(
        line, "{\"seq\":42,\"time\":\"2026-01-02T03:04:05.685Z\",\"event\":\"kmip\","
              "\"adapter\":\"default\",\"certificate\":"
              "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\","
              "\"peer\":\"192.0.2.1:5000\",\"operation\":\"Create\",\"object\":\"object-1\","
              "\"result\":\"Success\",\"reason\":\"Item Not Found\","
              "\"product\":\"VMware \\\"vSphere\\\" \xC3\xBC\",\"detail\":\"by hand\",\"chain\":"
              "\"0000000000000000000000000000000000000000000000000000000000000000\"}");
}

static void test_empty_members_are_left_out(void **state)
{
    char line[RECORD_SIZE_MAX];
    struct audit_entry entry = {.event = "server"};
    size_t size = write_line(&entry, UINT64_MAX, "", line);
    line[size - RECORD_SUFFIX_SIZE + 1] = '\0';
    assert_string_equal(line, "{\"seq\":18446744073709551615,\"time\":\"1970-01-01T00:00:00.000Z\","
                              "\"event\":\"server\"");
}

static void expect_time(int64_t time, const char *text)
{
    char line[RECORD_SIZE_MAX];
    struct audit_entry entry = {.event = "server", .time = time};
    (void)write_line(&entry, 1, "", line);
    assert_memory_equal(line + sizeof("{\"seq\":1,\"time\":\"") - 1, text, strlen(text));
}

static void test_time(void **state)
{
    expect_time(0, "1970-01-01T00:00:00.000Z");
    expect_time(INT64_C(951782399999), "2000-02-28T23:59:59.999Z");
    expect_time(INT64_C(951782400001), "2000-02-29T00:00:00.001Z");
    expect_time(-1, "1970-01-01T00:00:00.000Z");
    expect_time(INT64_MIN, "1970-01-01T00:00:00.000Z");
    expect_time(INT64_C(253402300799999), "9999-12-31T23:59:59.999Z");
    expect_time(INT64_MAX, "9999-12-31T23:59:59.999Z");
}

static void test_time_is_kept_by_the_second(void **state)
{
    struct record_clock clock = {0};
    static const int64_t times[] = {0, 999, 1000, 0, 1999};
    static const char *const texts[] = {"00.000Z", "00.999Z", "01.000Z", "00.000Z", "01.999Z"};
    for (size_t i = 0; i < ARRAY_COUNT(times); i++) {
        uint8_t line[RECORD_SIZE_MAX];
        struct audit_entry entry = {.event = "server", .time = times[i]};
        (void)record_write(&clock, &entry, 1, "", line);
        assert_memory_equal(line + sizeof("{\"seq\":1,\"time\":\"1970-01-01T00:00:") - 1, texts[i],
                            7);
    }
}

/* The text of a member as a JSON parser reads it back. */
static const char *read_back(const char *line, const char *member, json_t **ret_json)
{
    json_error_t error;
    *ret_json = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (*ret_json == NULL)
        fail_msg("%s: %s", error.text, line);
    return json_string_value(json_object_get(*ret_json, member));
}

static void expect_text(struct bytes written, const char *read)
{
    char line[RECORD_SIZE_MAX];
    struct audit_entry entry = {.event = "kmip", .object = written};
    (void)write_line(&entry, 1, "", line);
    json_t *json;
    assert_string_equal(read_back(line, "object", &json), read);
    json_decref(json);
}

#define FFFD "\xEF\xBF\xBD"

static void test_text_of_any_bytes(void **state)
{
    expect_text(BYTES_LITERAL("plain text, longer than one word of the machine"),
                "plain text, longer than one word of the machine");
    expect_text(BYTES_LITERAL("quote \" and \\ and / at \"the end\""),
                "quote \" and \\ and / at \"the end\"");
    expect_text(BYTES_LITERAL("line\r\n\ttab\x1b[31m\x7f!"), "line\r\n\ttab\x1b[31m\x7f!");
    expect_text(BYTES_LITERAL("\xC2\x80\xC2\x9F\xC2\xA0\xE2\x82\xAC\xF0\x9F\x94\x91"),
                "\xC2\x80\xC2\x9F\xC2\xA0\xE2\x82\xAC\xF0\x9F\x94\x91");
    expect_text(BYTES_LITERAL("a\x80z"), "a" FFFD "z");                  /* alone */
    expect_text(BYTES_LITERAL("\xE2\x82"), FFFD FFFD);                   /* cut short */
    expect_text(BYTES_LITERAL("\xC0\xAF"), FFFD FFFD);                   /* too long a form */
    expect_text(BYTES_LITERAL("\xED\xA0\x80"), FFFD FFFD FFFD);          /* surrogate */
    expect_text(BYTES_LITERAL("\xF4\x90\x80\x80"), FFFD FFFD FFFD FFFD); /* beyond U+10FFFF */
}

static void test_no_control_character_is_written(void **state)
{
    uint8_t all[256];
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    for (size_t from = 0; from < sizeof(all); from++) {
        char line[RECORD_SIZE_MAX];
        struct audit_entry entry = {.event = "kmip",
                                    .detail = bytes_of(all + from, sizeof(all) - from)};
        size_t size = write_line(&entry, 1, "", line);
        for (size_t i = 0; i < size; i++)
            assert_true((uint8_t)line[i] >= 0x20 && line[i] != 0x7F);
        json_t *json = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        json_decref(json);
    }
}

static void test_long_text_is_cut_between_characters(void **state)
{
    char text[RECORD_TEXT_MAX + 8];
    char expected[RECORD_TEXT_MAX + 8];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', sizeof(text));
        for (size_t i = shift; i + 4 <= sizeof(text); i += 4)
            memcpy(text + i, "\xF0\x9F\x94\x91", 4);
        size_t kept = shift + (RECORD_TEXT_MAX - shift) / 4 * 4;
        (void)snprintf(expected, sizeof(expected), "%.*s\xE2\x80\xA6", (int)kept, text);
        expect_text(bytes_of(text, sizeof(text)), expected);
    }
    memset(text, 'x', sizeof(text));
    text[RECORD_TEXT_MAX] = '\0';
    expect_text(bytes_of(text, RECORD_TEXT_MAX), text);
}

static void test_the_longest_record_fits(void **state)
{
    static char bad[RECORD_TEXT_MAX * 2];
    memset(bad, 0xFF, sizeof(bad));
    struct bytes all = bytes_of(bad, sizeof(bad));
    struct audit_entry entry = {INT64_MAX, "server", all, all, all, all, all, all, all, all, all};
    char line[RECORD_SIZE_MAX];
    char note[512];
    memset(note, 1, sizeof(note));
    size_t size = write_line(&entry, UINT64_MAX, note, line);
    assert_true(size + 1 + RECORD_PREVIOUS_SIZE < RECORD_SIZE_MAX);
}

static void test_note_joins_the_detail(void **state)
{
    char line[RECORD_SIZE_MAX];
    struct audit_entry entry = {.event = "kmip"};
    json_t *json;
    (void)write_line(&entry, 1, "a note", line);
    assert_string_equal(read_back(line, "detail", &json), "a note");
    json_decref(json);
    entry.detail = BYTES_LITERAL("detail");
    (void)write_line(&entry, 1, "a note", line);
    assert_string_equal(read_back(line, "detail", &json), "detail; a note");
    json_decref(json);
}

static void expect_no_line(const char *line)
{
    struct audit_line parsed;
    assert_false(audit_line_parse(bytes_of_text(line), &parsed));
}

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define CHAIN ",\"chain\":\"" ZEROS "\"}"

static void test_lines_that_are_no_records(void **state)
{
    struct audit_line parsed;
    assert_true(audit_line_parse(bytes_of_text("{\"seq\":18446744073709551615," CHAIN), &parsed));
    assert_true(parsed.sequence == UINT64_MAX);
    assert_true(
        audit_line_parse(bytes_of_text("{\"seq\":7,\"previous\":\"" ZEROS "\"" CHAIN), &parsed));
    assert_int_equal(parsed.previous.size, RECORD_DIGITS);
    expect_no_line("");
    expect_no_line("{\"seq\":1,");
    expect_no_line(CHAIN);
    expect_no_line("{\"seq\":" CHAIN);
    expect_no_line("{\"seq\":0," CHAIN);
    expect_no_line("{\"seq\":07," CHAIN);
    expect_no_line("{\"seq\":+7," CHAIN);
    expect_no_line("{\"seq\":18446744073709551616," CHAIN);
    expect_no_line("{\"seq\":99999999999999999999999," CHAIN);
    expect_no_line("{\"seq\":1" CHAIN " ");
    expect_no_line(" {\"seq\":1," CHAIN);
}

/* ---- The chain ---- */

/* Computes it as the header describes it, apart from the code under test. */
static void expect_chain(uint8_t value[SHA256_DIGEST_LENGTH], const char *line, size_t size)
{
    const char *end = memmem(line, size, ",\"chain\":\"", 10);
    assert_non_null(end);
    uint8_t hashed[8192];
    memcpy(hashed, value, 32);
    memcpy(hashed + 32, line, (size_t)(end - line));
    (void)SHA256(hashed, 32 + (size_t)(end - line), value);
    char digits[65];
    hex_text(bytes_of(value, 32), digits);
    assert_memory_equal(end + 10, digits, 64);
    assert_string_equal(end + 74, "\"}");
}

struct chain_test {
    uint8_t value[32];
    unsigned visited;
};

static bool visit_chain(void *context, struct bytes line)
{
    struct chain_test *test = context;
    char text[8192];
    (void)snprintf(text, sizeof(text), "%.*s", (int)line.size, (const char *)line.data);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_int_equal(json_integer_value(json_object_get(json, "seq")), test->visited + 1);
    const char *previous = json_string_value(json_object_get(json, "previous"));
    char digits[65];
    hex_text(bytes_of(test->value, 32), digits);
    if (previous != NULL)
        assert_string_equal(previous, digits);
    json_decref(json);
    expect_chain(test->value, text, line.size);
    test->visited++;
    return true;
}

static void test_chain_goes_on_through_files_and_restarts(void **state)
{
    const char *directory = *state;
    for (unsigned i = 0; i < 4; i++) {
        struct audit *audit = support_open(directory, 2000, 0);
        support_write(audit, 10);
        audit_close(audit);
    }
    assert_true(support_count_files(directory) > 4);
    struct chain_test test = {0};
    assert_int_equal(audit_tail(directory, SIZE_MAX, visit_chain, &test, NULL), STATUS_OK);
    assert_int_equal(test.visited, 40);
    support_expect_whole(directory, 40);
    assert_int_equal(support_report.first_sequence, 1);
    assert_int_equal(support_report.last_sequence, 40);
    assert_memory_equal(support_report.last_chain, test.value, 32);
    assert_int_equal(support_report.files, support_count_files(directory));
}

static void test_head_is_the_last_durable_record(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    uint64_t sequence;
    uint8_t chain[AUDIT_HASH_SIZE];
    static const uint8_t zero[AUDIT_HASH_SIZE];
    audit_head(audit, &sequence, chain);
    assert_int_equal(sequence, 0);
    assert_memory_equal(chain, zero, sizeof(zero));
    support_write(audit, 5);
    audit_head(audit, &sequence, chain);
    assert_int_equal(sequence, 5);
    support_expect_whole(*state, 5); /* while it is open */
    assert_memory_equal(chain, support_report.last_chain, sizeof(chain));
    assert_int_equal(audit_health(audit), STATUS_OK);
    struct error error = {0};
    assert_int_equal(audit_explain(audit, &error), STATUS_OK);
    audit_close(audit);
}

static void test_empty_log(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    support_expect_whole(*state, 0);
    audit_close(audit);
    support_expect_whole(*state, 0);
    audit_close(NULL);
    struct chain_test test = {0};
    assert_int_equal(audit_tail(*state, 9, visit_chain, &test, NULL), STATUS_OK);
    assert_int_equal(test.visited, 0);
    audit = support_open(*state, 0, 0);
    support_write(audit, 1);
    audit_close(audit);
    support_expect_whole(*state, 1);
}

static void test_close_leaves_no_zeros(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    support_write(audit, 3);
    const char *path = support_file(*state, 0);
    struct stat open_file;
    assert_int_equal(stat(path, &open_file), 0);
    assert_int_equal(open_file.st_size, 1 << 20);
    assert_int_equal(open_file.st_mode & 0777, 0600);
    audit_close(audit);
    size_t size;
    free(support_read(path, &size));
    struct stat closed_file;
    assert_int_equal(stat(path, &closed_file), 0);
    assert_int_equal(closed_file.st_size, size);
    assert_int_equal(stat(*state, &closed_file), 0);
    assert_int_equal(closed_file.st_mode & 0777, 0700);
}

/* ---- Files ---- */

static void test_rotation_keeps_the_newest_files(void **state)
{
    struct audit *audit = support_open(*state, 1000, 3);
    support_write(audit, 50);
    audit_close(audit);
    assert_int_equal(support_count_files(*state), 3);
    assert_int_equal(support_verify(*state), STATUS_OK);
    assert_int_equal(support_report.last_sequence, 50);
    assert_int_equal(support_report.records, 50 - support_report.first_sequence + 1);
    assert_true(support_report.first_sequence > 30);
    audit = support_open(*state, 1000, 1);
    support_write(audit, 50);
    audit_close(audit);
    assert_int_equal(support_count_files(*state), 1);
    assert_int_equal(support_verify(*state), STATUS_OK);
    assert_int_equal(support_report.last_sequence, 100);
}

static void test_rotation_on_demand(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    audit_rotate(audit); /* the present file is empty: nothing to rotate */
    support_write(audit, 2);
    assert_int_equal(support_count_files(*state), 1);
    audit_rotate(audit);
    assert_int_equal(support_count_files(*state), 1);
    support_write(audit, 2);
    assert_int_equal(support_count_files(*state), 2);
    support_write(audit, 2);
    assert_int_equal(support_count_files(*state), 2);
    audit_close(audit);
    assert_non_null(strstr(support_file(*state, 1), "audit-00000000000000000003.jsonl"));
    support_expect_whole(*state, 6);
}

static void test_one_writer(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    struct audit_options options = {.directory = *state};
    struct audit *second;
    struct error error = {0};
    assert_int_equal(audit_open(&options, &second, &error), STATUS_IO);
    assert_non_null(strstr(error.text, "in use"));
    audit_close(audit);
    audit_close(support_open(*state, 0, 0));
}

static void test_directory_cannot_be_made(void **state)
{
    struct audit_options options = {.directory = "/nowhere/log"};
    struct audit *audit;
    struct error error = {0};
    assert_int_equal(audit_open(&options, &audit, &error), STATUS_IO);
    assert_non_null(strstr(error.text, "/nowhere/log"));
    struct audit_report report;
    assert_int_equal(audit_verify("/nowhere/log", &report, &error), STATUS_IO);
    assert_int_equal(audit_tail("/nowhere/log", 1, visit_chain, NULL, &error), STATUS_IO);
}

/* ---- Known from elsewhere ---- */

static enum status open_known(const char *directory, uint64_t sequence, const uint8_t *chain,
                              struct error *error)
{
    struct audit_options options = {.directory = directory, .known_sequence = sequence};
    memcpy(options.known_chain, chain, AUDIT_HASH_SIZE);
    struct audit *audit;
    enum status status = audit_open(&options, &audit, error);
    if (status == STATUS_OK)
        audit_close(audit);
    return status;
}

static void test_known_record(void **state)
{
    uint8_t chain[8][AUDIT_HASH_SIZE] = {0};
    uint64_t sequence;
    struct audit *audit = support_open(*state, 0, 0);
    for (unsigned i = 1; i < 8; i++) {
        if (i == 4)
            audit_rotate(audit);
        support_write(audit, 1);
        audit_head(audit, &sequence, chain[i]);
    }
    audit_close(audit);
    struct error error = {0};
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(open_known(*state, i, chain[i], &error), STATUS_OK);
    for (unsigned i = 3; i < 8; i++) /* 3 is what the newest file continues */
        assert_int_equal(open_known(*state, i, chain[0], &error), STATUS_AUDIT_BROKEN);
    assert_non_null(strstr(error.text, "replaced"));
    assert_int_equal(open_known(*state, 8, chain[7], &error), STATUS_AUDIT_BROKEN);
    assert_non_null(strstr(error.text, "ends with record 7, but record 8 was written"));
    support_expect_whole(*state, 7);
}

static void test_known_record_of_a_log_that_is_gone(void **state)
{
    struct error error = {0};
    uint8_t chain[AUDIT_HASH_SIZE] = {1};
    assert_int_equal(open_known(*state, 12, chain, &error), STATUS_AUDIT_BROKEN);
    assert_int_equal(support_count_files(*state), 0);
}

/* ---- Waiting ---- */

struct ordered {
    struct audit_ticket ticket;
    uint64_t sequence; /* as audit_append() had set it */
    struct appender *appender;
};

struct appender {
    struct audit *audit;
    struct ordered tickets[500];
    pthread_t thread;
};

static _Atomic uint64_t latest_done;
static atomic_uint done_count;

static void note_order(struct audit_ticket *ticket, enum status status)
{
    if (status == STATUS_OK && ticket->sequence > atomic_load(&latest_done))
        atomic_fetch_add(&done_count, 1);
    atomic_store(&latest_done, ticket->sequence);
}

static void *append_many(void *argument)
{
    struct appender *appender = argument;
    for (unsigned i = 0; i < ARRAY_COUNT(appender->tickets); i++) {
        struct audit_entry entries[3];
        for (unsigned k = 0; k < 3; k++) {
            entries[k] = support_entry(i);
            entries[k].object = bytes_of(&appender, sizeof(appender)); /* who: any bytes */
        }
        appender->tickets[i].ticket.done = note_order;
        audit_append(appender->audit, entries, 1 + i % 3, &appender->tickets[i].ticket);
    }
    return NULL;
}

static void test_many_threads_in_order(void **state)
{
    static struct appender appenders[4];
    struct audit *audit = support_open(*state, 100000, 0);
    atomic_store(&latest_done, 0);
    atomic_store(&done_count, 0);
    for (size_t i = 0; i < ARRAY_COUNT(appenders); i++) {
        appenders[i].audit = audit;
        assert_int_equal(pthread_create(&appenders[i].thread, NULL, append_many, &appenders[i]), 0);
    }
    uint64_t last = 0;
    for (size_t i = 0; i < ARRAY_COUNT(appenders); i++)
        assert_int_equal(pthread_join(appenders[i].thread, NULL), 0);
    audit_close(audit); /* all tickets are called before */
    assert_int_equal(atomic_load(&done_count), 4 * 500);
    for (size_t i = 0; i < ARRAY_COUNT(appenders); i++) {
        last = 0;
        for (size_t k = 0; k < ARRAY_COUNT(appenders[i].tickets); k++) {
            assert_true(appenders[i].tickets[k].ticket.sequence > last);
            last = appenders[i].tickets[k].ticket.sequence;
        }
    }
    support_expect_whole(*state, 4 * (500 + 499)); /* 1 + 2 + 3 + 1 + ... */
}

struct relay {
    struct audit_ticket ticket;
    struct audit *audit;
    unsigned left;
    sem_t finished;
};

static void append_next(struct audit_ticket *ticket, enum status status)
{
    struct relay *relay = CONTAINER_OF(ticket, struct relay, ticket);
    if (status != STATUS_OK || relay->left-- == 0) {
        (void)sem_post(&relay->finished);
        return;
    }
    struct audit_entry entry = support_entry(relay->left);
    audit_append(relay->audit, &entry, 1, ticket);
}

static void test_done_may_append(void **state)
{
    struct relay relay = {
        .ticket.done = append_next, .audit = support_open(*state, 0, 0), .left = 9};
    assert_int_equal(sem_init(&relay.finished, 0, 0), 0);
    struct audit_entry entry = support_entry(0);
    audit_append(relay.audit, &entry, 1, &relay.ticket);
    assert_int_equal(sem_wait(&relay.finished), 0);
    audit_close(relay.audit);
    support_expect_whole(*state, 10);
}

/* ---- Reading while it is written ---- */

static bool count_and_check(void *context, struct bytes line)
{
    uint64_t *last = context;
    struct audit_line parsed;
    assert_true(audit_line_parse(line, &parsed));
    if (*last != 0)
        assert_int_equal(parsed.sequence, *last + 1);
    *last = parsed.sequence;
    return true;
}

static atomic_bool writer_stops;

static void *write_on(void *argument)
{
    while (!atomic_load(&writer_stops))
        support_write(argument, 1);
    return NULL;
}

static void test_reading_a_log_that_is_written(void **state)
{
    struct audit *audit = support_open(*state, 20000, 3);
    pthread_t writer;
    atomic_store(&writer_stops, false);
    assert_int_equal(pthread_create(&writer, NULL, write_on, audit), 0);
    uint64_t before = 0;
    for (int i = 0; i < 60; i++) {
        if (support_verify(*state) != STATUS_OK)
            fail_msg("%s", error_text(&support_error));
        assert_false(support_report.incomplete_tail);
        assert_true(support_report.last_sequence >= before);
        before = support_report.last_sequence;
        uint64_t last = 0;
        assert_int_equal(audit_tail(*state, 100, count_and_check, &last, NULL), STATUS_OK);
        assert_true(last >= before);
    }
    atomic_store(&writer_stops, true);
    assert_int_equal(pthread_join(writer, NULL), 0);
    audit_close(audit);
}

struct tail_test {
    size_t count;
    size_t stop_after;
    uint64_t first;
    uint64_t last;
};

static bool visit_tail(void *context, struct bytes line)
{
    struct tail_test *test = context;
    struct audit_line parsed;
    assert_true(audit_line_parse(line, &parsed));
    if (test->count++ == 0)
        test->first = parsed.sequence;
    test->last = parsed.sequence;
    return test->count != test->stop_after;
}

static void test_tail_of_every_length(void **state)
{
    struct audit *audit = support_open(*state, 3000, 0);
    support_write(audit, 30);
    for (int closed = 0; closed < 2; closed++) {
        for (size_t count = 0; count <= 32; count++) {
            struct tail_test test = {0};
            assert_int_equal(audit_tail(*state, count, visit_tail, &test, NULL), STATUS_OK);
            assert_int_equal(test.count, count > 30 ? 30 : count);
            if (count > 0)
                assert_int_equal(test.last, 30);
        }
        struct tail_test test = {.stop_after = 2};
        assert_int_equal(audit_tail(*state, 10, visit_tail, &test, NULL), STATUS_OK);
        assert_int_equal(test.first, 21);
        assert_int_equal(test.last, 22);
        if (!closed)
            audit_close(audit);
    }
}

static void test_tail_of_long_lines(void **state)
{
    static char bad[RECORD_TEXT_MAX];
    memset(bad, 0xFF, sizeof(bad));
    struct bytes all = bytes_of(bad, sizeof(bad));
    struct audit_entry entry = {1, "kmip", all, all, all, all, all, all, all, all, all};
    struct audit *audit = support_open(*state, 1 << 20, 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(audit_write(audit, &entry), STATUS_OK);
    audit_close(audit);
    support_expect_whole(*state, 40);
    struct tail_test test = {0};
    assert_int_equal(audit_tail(*state, 33, visit_tail, &test, NULL), STATUS_OK);
    assert_int_equal(test.count, 33);
    assert_int_equal(test.first, 8);
}

/* ---- kill -9 ---- */

/* The child: appends without pause and tells of each record that is durable, by its sequence. */
static int acknowledged_to = -1;

static void tell_parent(struct audit_ticket *ticket, enum status status)
{
    if (status == STATUS_OK &&
        write(acknowledged_to, &ticket->sequence, sizeof(ticket->sequence)) < 0)
        _exit(2);
    free(ticket);
}

static int be_child(const char *directory)
{
    struct audit_options options = {.directory = directory, .rotate_bytes = 50000};
    struct audit *audit;
    acknowledged_to = STDOUT_FILENO;
    if (audit_open(&options, &audit, NULL) != STATUS_OK)
        return 1;
    for (unsigned i = 0;; i++) {
        struct audit_entry entry = support_entry(i);
        struct audit_ticket *ticket = calloc(1, sizeof(*ticket));
        if (ticket == NULL)
            return 1;
        ticket->done = tell_parent;
        audit_append(audit, &entry, 1, ticket);
        if (i % 8 == 7 && audit_write(audit, &entry) != STATUS_OK)
            return 1;
    }
}

static pid_t start_child(const char *directory, int *ret_from)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    posix_spawn_file_actions_t actions;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO), 0);
    assert_int_equal(posix_spawn_file_actions_addclose(&actions, ends[0]), 0);
    char name[] = "test_audit";
    char role[] = "child";
    char *arguments[] = {name, role, (char *)directory, NULL};
    pid_t child;
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    *ret_from = ends[0];
    return child;
}

/* Reads acknowledgements, kills after `count` of them, and returns the last one. */
static uint64_t kill_after(pid_t child, int from, unsigned count)
{
    uint64_t last = 0;
    uint64_t sequence;
    for (unsigned i = 0; read(from, &sequence, sizeof(sequence)) == sizeof(sequence); i++) {
        last = sequence;
        if (i == count)
            assert_int_equal(kill(child, SIGKILL), 0);
    }
    (void)close(from);
    int outcome;
    assert_int_equal(waitpid(child, &outcome, 0), child);
    assert_true(WIFSIGNALED(outcome) && WTERMSIG(outcome) == SIGKILL);
    return last;
}

static void test_killed_at_any_instant(void **state)
{
    uint64_t last = 0;
    for (unsigned round = 0; round < 25; round++) {
        int from;
        pid_t child = start_child(*state, &from);
        uint64_t acknowledged = kill_after(child, from, round * 13);
        assert_true(acknowledged > last);
        assert_int_equal(support_verify(*state), STATUS_OK);
        assert_true(support_report.last_sequence >= acknowledged);
        last = support_report.last_sequence;
    }
    audit_close(support_open(*state, 0, 0));
    support_expect_whole(*state, last);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, support_setup, support_teardown)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "child") == 0)
        return be_child(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_is_as_documented),
        cmocka_unit_test(test_empty_members_are_left_out),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_time_is_kept_by_the_second),
        cmocka_unit_test(test_text_of_any_bytes),
        cmocka_unit_test(test_no_control_character_is_written),
        cmocka_unit_test(test_long_text_is_cut_between_characters),
        cmocka_unit_test(test_the_longest_record_fits),
        cmocka_unit_test(test_lines_that_are_no_records),
        cmocka_unit_test(test_note_joins_the_detail),
        TEST(test_chain_goes_on_through_files_and_restarts),
        TEST(test_head_is_the_last_durable_record),
        TEST(test_empty_log),
        TEST(test_close_leaves_no_zeros),
        TEST(test_rotation_keeps_the_newest_files),
        TEST(test_rotation_on_demand),
        TEST(test_one_writer),
        cmocka_unit_test(test_directory_cannot_be_made),
        TEST(test_known_record),
        TEST(test_known_record_of_a_log_that_is_gone),
        TEST(test_many_threads_in_order),
        TEST(test_done_may_append),
        TEST(test_reading_a_log_that_is_written),
        TEST(test_tail_of_every_length),
        TEST(test_tail_of_long_lines),
        TEST(test_killed_at_any_instant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
