/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was done to the files behind the audit log's back: by people, and by power cuts. Syncs are
 * left out here (see meson.build): nothing depends on them, and there are thousands.
 */
#include "audit_support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/line.h"
#include "audit/scan.h"

int __wrap_fsync(int file);
int __wrap_fdatasync(int file);

int __wrap_fsync(int file)
{
    return 0;
}

int __wrap_fdatasync(int file)
{
    return 0;
}

/* ---- A log in memory ---- */

#define FILES_MAX 8
#define LINES_MAX 64

struct line {
    size_t start;
    size_t size; /* with the newline */
};

struct text {
    char path[SUPPORT_PATH_SIZE + 64];
    uint8_t *data;
    size_t size;
    struct line lines[LINES_MAX];
    size_t line_count;
    uint64_t first; /* sequence */
};

struct log_copy {
    const char *directory;
    struct text files[FILES_MAX];
    size_t count;
    uint64_t records;
};

static void find_lines(struct text *text)
{
    size_t start = 0;
    for (size_t i = 0; i < text->size; i++) {
        if (text->data[i] != '\n')
            continue;
        assert_true(text->line_count < LINES_MAX);
        text->lines[text->line_count++] = (struct line){start, i + 1 - start};
        start = i + 1;
    }
}

static struct log_copy load(const char *directory)
{
    struct log_copy log = {.directory = directory, .count = support_count_files(directory)};
    uint64_t next = 1;
    assert_in_range(log.count, 1, FILES_MAX);
    for (size_t i = 0; i < log.count; i++) {
        struct text *text = &log.files[i];
        (void)snprintf(text->path, sizeof(text->path), "%s", support_file(directory, i));
        text->data = support_read(text->path, &text->size);
        text->first = next;
        find_lines(text);
        next += text->line_count;
    }
    log.records = next - 1;
    return log;
}

static void unload(struct log_copy *log)
{
    for (size_t i = 0; i < log->count; i++)
        free(log->files[i].data);
}

/* `files` files of `each` records. */
static struct log_copy make_log(const char *directory, unsigned files, unsigned each)
{
    struct audit *audit = support_open(directory, 0, 0);
    for (unsigned i = 0; i < files; i++) {
        support_write(audit, each);
        audit_rotate(audit);
    }
    audit_close(audit);
    support_expect_whole(directory, (uint64_t)files * each);
    return load(directory);
}

static void restore(const struct text *text)
{
    support_replace(text->path, text->data, text->size);
}

static void expect_broken(const char *directory, uint64_t sequence, const char *text)
{
    assert_int_equal(support_verify(directory), STATUS_AUDIT_BROKEN);
    assert_int_equal(support_report.broken_sequence, sequence);
    if (strstr(support_error.text, text) == NULL)
        fail_msg("'%s' is not in: %s", text, support_error.text);
    assert_non_null(strstr(support_error.text, support_report.broken_file));
}

/* ---- Bytes ---- */

static void change_byte(struct log_copy *log, size_t file, size_t line, size_t at, uint8_t value)
{
    struct text *text = &log->files[file];
    uint8_t before = text->data[at];
    if (value == before)
        return;
    text->data[at] = value;
    restore(text);
    text->data[at] = before;
    enum status status = support_verify(log->directory);
    bool last_byte = file + 1 == log->count && at + 1 == text->size;
    if (last_byte && status == STATUS_OK) {
        /* It cannot be told from a write that was cut short. */
        assert_true(support_report.incomplete_tail);
        assert_int_equal(support_report.last_sequence, log->records - 1);
        return;
    }
    assert_int_equal(status, STATUS_AUDIT_BROKEN);
    assert_int_equal(support_report.broken_sequence, text->first + line);
    assert_int_equal(support_report.broken_line, line + 1);
    assert_non_null(strstr(text->path, support_report.broken_file));
}

static void test_every_byte_changed(void **state)
{
    struct log_copy log = make_log(*state, 3, 3);
    for (size_t file = 0; file < log.count; file++) {
        struct text *text = &log.files[file];
        for (size_t line = 0; line < text->line_count; line++) {
            for (size_t i = 0; i < text->lines[line].size; i++) {
                size_t at = text->lines[line].start + i;
                uint8_t byte = text->data[at];
                change_byte(&log, file, line, at, byte ^ 1);
                change_byte(&log, file, line, at, byte ^ 0x20); /* the other case of a letter */
                change_byte(&log, file, line, at, '\n');
                change_byte(&log, file, line, at, 0);
            }
        }
        restore(text);
    }
    support_expect_whole(*state, log.records);
    unload(&log);
}

static uint64_t random_state = 0x9E3779B97F4A7C15;

static size_t random_below(size_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return limit == 0 ? 0 : (size_t)(random_state % limit);
}

/* Makes text at random into something else; returns its size. */
static size_t tamper(const struct text *text, uint8_t *to)
{
    size_t from = random_below(text->size);
    size_t size = 1 + random_below(random_below(4) == 0 ? text->size - from : 8);
    if (size > text->size - from)
        size = text->size - from;
    memcpy(to, text->data, text->size);
    switch (random_below(4)) {
    case 0: /* removed */
        memmove(to + from, to + from + size, text->size - from - size);
        return text->size - size;
    case 1: /* repeated */
        memmove(to + from + size, to + from, text->size - from);
        return text->size + size;
    case 2: /* overwritten with other bytes of it */
        memmove(to + from, text->data + random_below(text->size - size + 1), size);
        return text->size;
    default: /* overwritten with anything */
        for (size_t i = 0; i < size; i++)
            to[from + i] = (uint8_t)random_below(256);
        return text->size;
    }
}

/* The beginning of the newest file is all there, then nothing: what a power cut leaves. */
static bool is_cut(const struct log_copy *log, size_t file, const uint8_t *data, size_t size)
{
    const struct text *text = &log->files[file];
    return file + 1 == log->count && size <= text->size && memcmp(data, text->data, size) == 0;
}

static void test_random_tampering(void **state)
{
    struct log_copy log = make_log(*state, 3, 4);
    static uint8_t changed[1 << 16];
    for (int i = 0; i < 4000; i++) {
        size_t file = random_below(log.count);
        const struct text *text = &log.files[file];
        size_t size = tamper(text, changed);
        support_replace(text->path, changed, size);
        enum status status = support_verify(*state);
        if (size == text->size && memcmp(changed, text->data, size) == 0) {
            assert_int_equal(status, STATUS_OK); /* the same bytes again */
        } else if (is_cut(&log, file, changed, size)) {
            bool whole_lines = size == 0 || changed[size - 1] == '\n';
            assert_int_equal(status, STATUS_OK);
            assert_int_equal(support_report.incomplete_tail, !whole_lines);
        } else if (status != STATUS_AUDIT_BROKEN) {
            /* Only bytes behind the last newline of the log can pass, as an unfinished write. */
            assert_true(file + 1 == log.count && support_report.incomplete_tail);
            const struct line *last = &text->lines[text->line_count - 1];
            assert_memory_equal(changed, text->data, last->start);
        }
        restore(text);
    }
    unload(&log);
}

/* ---- Lines ---- */

static void replace_lines(const struct text *text, const size_t *order, size_t count)
{
    static uint8_t changed[1 << 16];
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        const struct line *line = &text->lines[order[i]];
        memcpy(changed + size, text->data + line->start, line->size);
        size += line->size;
    }
    support_replace(text->path, changed, size);
}

static void test_lines_removed_moved_repeated(void **state)
{
    struct log_copy log = make_log(*state, 2, 5);
    const struct text *text = &log.files[0];
    replace_lines(text, (size_t[]){0, 1, 3, 4}, 4);
    expect_broken(*state, 3, "it is missing or was moved: record 4 stands in its place");
    replace_lines(text, (size_t[]){0, 2, 1, 3, 4}, 5);
    expect_broken(*state, 2, "it is missing or was moved: record 3 stands in its place");
    replace_lines(text, (size_t[]){0, 1, 1, 2, 3, 4}, 6);
    expect_broken(*state, 3, "record 2 stands in its place");
    replace_lines(text, (size_t[]){1, 2, 3, 4}, 4);
    expect_broken(*state, 1, "it is missing or was moved");
    replace_lines(text, (size_t[]){0, 1, 2, 3}, 4);
    expect_broken(*state, 5, "it is missing or was moved: record 6 stands in its place");
    assert_int_equal(support_report.broken_line, 1);
    restore(text);
    support_expect_whole(*state, 10);
    unload(&log);
}

static void test_line_put_in(void **state)
{
    struct log_copy log = make_log(*state, 1, 4);
    const struct text *text = &log.files[0];
    static const char *const lines[] = {"\n", "{}\n", "# comment\n",
                                        "{\"seq\":3,\"event\":\"kmip\",\"chain\":\"00\"}\n"};
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        uint8_t changed[8192];
        size_t at = text->lines[2].start;
        size_t size = strlen(lines[i]);
        memcpy(changed, text->data, at);
        memcpy(changed + at, lines[i], size);
        memcpy(changed + at + size, text->data + at, text->size - at);
        support_replace(text->path, changed, text->size + size);
        expect_broken(*state, 3, "line 3): this is not an audit record");
    }
    unload(&log);
}

static void test_line_without_end(void **state)
{
    struct log_copy log = make_log(*state, 1, 4);
    static uint8_t endless[1 << 20];
    memset(endless, 'x', sizeof(endless));
    memcpy(endless, log.files[0].data, log.files[0].size);
    support_replace(log.files[0].path, endless, sizeof(endless));
    expect_broken(*state, 5, "this is not an audit record");
    unload(&log);
}

/* ---- Files ---- */

static void rename_file(const char *directory, const char *from, unsigned first)
{
    char to[SUPPORT_PATH_SIZE + 64];
    (void)snprintf(to, sizeof(to), "%s/audit-%020u.jsonl", directory, first);
    assert_int_equal(rename(from, to), 0);
}

static void test_files_removed(void **state)
{
    struct log_copy log = make_log(*state, 4, 3);
    assert_int_equal(unlink(log.files[1].path), 0);
    expect_broken(*state, 4, "record 7 stands in its place");
    restore(&log.files[1]);
    support_expect_whole(*state, 12);
    assert_int_equal(unlink(log.files[0].path), 0); /* as keep_files does */
    assert_int_equal(support_verify(*state), STATUS_OK);
    assert_int_equal(support_report.first_sequence, 4);
    assert_int_equal(support_report.records, 9);
    assert_int_equal(unlink(log.files[3].path), 0); /* shows in the last sequence only */
    assert_int_equal(support_verify(*state), STATUS_OK);
    assert_int_equal(support_report.last_sequence, 9);
    unload(&log);
}

static void test_files_changed(void **state)
{
    struct log_copy log = make_log(*state, 3, 3);
    const struct text *middle = &log.files[1];
    support_replace(middle->path, "", 0);
    expect_broken(*state, 4, "does not end with a whole record");
    support_replace(middle->path, middle->data, middle->size - 1);
    expect_broken(*state, 6, "does not end with a whole record");
    replace_lines(middle, (size_t[]){0, 1}, 2);
    expect_broken(*state, 6, "record 7 stands in its place");
    restore(middle);
    rename_file(*state, middle->path, 5);
    expect_broken(*state, 4, "the file's name does not fit");
    unload(&log);
}

static void test_file_copied(void **state)
{
    struct log_copy log = make_log(*state, 2, 3);
    rename_file(*state, log.files[1].path, 7);
    restore(&log.files[1]);
    expect_broken(*state, 7, "record 4 stands in its place");
    unload(&log);
}

static void test_other_names_are_passed_over(void **state)
{
    struct log_copy log = make_log(*state, 1, 3);
    static const char *const names[] = {"audit-1.jsonl", "audit-00000000000000000004.jsonl.gz",
                                        "audit-00000000000000000000.jsonl",
                                        "audit-99999999999999999999.jsonl", "notes"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char path[SUPPORT_PATH_SIZE + 64];
        (void)snprintf(path, sizeof(path), "%s/%s", log.directory, names[i]);
        support_replace(path, "nonsense\n", 9);
    }
    support_expect_whole(*state, 3);
    unload(&log);
}

static void test_log_of_other_files_continued(void **state)
{
    /* Two logs of the same shape: a file of one does not continue the other. */
    struct log_copy log = make_log(*state, 2, 3);
    struct text *text = &log.files[0];
    assert_int_equal(unlink(log.files[1].path), 0);
    assert_int_equal(unlink(text->path), 0);
    struct audit *audit = support_open(*state, 0, 0);
    struct audit_entry entry = {.event = "server", .operation = BYTES_LITERAL("start")};
    for (int i = 0; i < 3; i++)
        assert_int_equal(audit_write(audit, &entry), STATUS_OK);
    audit_close(audit);
    support_expect_whole(*state, 3);
    restore(&log.files[1]);
    expect_broken(*state, 4, "it does not continue the record before it");
    unload(&log);
}

/* ---- Opening what is broken ---- */

static void test_open_refuses_and_changes_nothing(void **state)
{
    struct log_copy log = make_log(*state, 2, 4);
    struct text *text = &log.files[1];
    text->data[text->lines[2].start + 30] ^= 1;
    restore(text);
    struct audit_options options = {.directory = *state};
    struct audit *audit;
    struct error error = {0};
    assert_int_equal(audit_open(&options, &audit, &error), STATUS_AUDIT_BROKEN);
    assert_non_null(strstr(error.text, "broken at record 7 (audit-00000000000000000005.jsonl, "
                                       "line 3): it was changed"));
    size_t size;
    uint8_t *data = support_read(text->path, &size);
    assert_int_equal(size, text->size);
    assert_memory_equal(data, text->data, size);
    free(data);
    unload(&log);
}

/* ---- Power cuts ---- */

/* A log of which the records up to `end` are durable, and those behind it were being written. */
struct group {
    struct log_copy log;
    struct text *text;
    size_t end;
};

static void make_group(struct group *group, const char *directory, unsigned durable, unsigned next)
{
    group->log = make_log(directory, 1, durable + next);
    group->text = &group->log.files[0];
    group->end = group->text->lines[durable].start;
}

static size_t whole_lines(const struct text *text, size_t size)
{
    size_t count = 0;
    while (count < text->line_count && text->lines[count].start + text->lines[count].size <= size)
        count++;
    return count;
}

static bool keep_last(void *context, struct bytes line)
{
    (void)snprintf(context, 4096, "%.*s", (int)line.size, (const char *)line.data);
    return true;
}

/* Opens what is there, expects `records` of it to have survived, and that the log goes on. */
static void expect_survives(const char *directory, uint64_t records, bool noted)
{
    struct audit *audit = support_open(directory, 0, 0);
    uint64_t sequence;
    uint8_t chain[AUDIT_HASH_SIZE];
    audit_head(audit, &sequence, chain);
    assert_int_equal(sequence, records);
    support_write(audit, 1);
    char last[4096] = "";
    assert_int_equal(audit_tail(directory, 1, keep_last, last, NULL), STATUS_OK);
    assert_int_equal(strstr(last, "unfinished write") != NULL, noted);
    support_write(audit, 1);
    assert_int_equal(audit_tail(directory, 1, keep_last, last, NULL), STATUS_OK);
    assert_null(strstr(last, "unfinished write"));
    audit_close(audit);
    support_expect_whole(directory, records + 2);
}

static void test_cut_at_every_byte(void **state)
{
    struct group group;
    make_group(&group, *state, 3, 3);
    static uint8_t data[1 << 16];
    for (size_t cut = group.end; cut <= group.text->size; cut++) {
        for (size_t zeros = 0; zeros <= 4096; zeros += 4096) {
            size_t lines = whole_lines(group.text, cut);
            bool partial = cut > 0 && group.text->data[cut - 1] != '\n';
            memset(data, 0, sizeof(data));
            memcpy(data, group.text->data, cut);
            support_replace(group.text->path, data, cut + zeros);
            assert_int_equal(support_verify(*state), STATUS_OK);
            assert_int_equal(support_report.records, lines);
            assert_int_equal(support_report.incomplete_tail, partial);
            expect_survives(*state, lines, partial);
        }
    }
    unload(&group.log);
}

static void test_cut_in_the_first_record_of_a_file(void **state)
{
    struct log_copy log = make_log(*state, 2, 2);
    struct text *text = &log.files[1];
    static const size_t sizes[] = {0, 1, 100};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        support_replace(text->path, text->data, sizes[i]);
        assert_int_equal(support_verify(*state), STATUS_OK);
        assert_int_equal(support_report.records, 2);
        expect_survives(*state, 2, sizes[i] > 0);
        assert_int_equal(support_count_files(*state), 1); /* the file without records is gone */
        restore(&log.files[0]);
    }
    static uint8_t zeros[8192];
    support_replace(text->path, zeros, sizeof(zeros));
    expect_survives(*state, 2, false);
    unload(&log);
}

/* Zeros the sectors of the group that `lost` names by its bits, as if they had not been written. */
static size_t lose_sectors(const struct group *group, uint8_t *data, uint64_t lost)
{
    size_t first_loss = group->text->size;
    memcpy(data, group->text->data, group->text->size);
    for (size_t at = group->end; at < group->text->size; at++) {
        if ((lost >> (at / 512 - group->end / 512) % 64 & 1) == 0)
            continue;
        if (first_loss > at)
            first_loss = at;
        data[at] = 0;
    }
    return first_loss;
}

static void test_sectors_lost(void **state)
{
    struct group group;
    make_group(&group, *state, 5, 30);
    static uint8_t data[1 << 16];
    assert_true(group.text->size - group.end > 16 * 512);
    for (int i = 0; i < 300; i++) {
        uint64_t lost = i < 16 ? UINT64_C(1) << i : random_below(SIZE_MAX);
        size_t first_loss = lose_sectors(&group, data, lost);
        size_t lines = whole_lines(group.text, first_loss);
        support_replace(group.text->path, data, group.text->size);
        assert_int_equal(support_verify(*state), STATUS_OK);
        assert_int_equal(support_report.records, lines);
        assert_int_equal(support_report.incomplete_tail, lines < group.text->line_count);
        expect_survives(*state, lines, lines < group.text->line_count);
    }
    unload(&group.log);
}

static void expect_hole_refused(const struct group *group, size_t from, size_t to)
{
    static uint8_t data[1 << 16];
    memcpy(data, group->text->data, group->text->size);
    memset(data + from, 0, to - from);
    support_replace(group->text->path, data, group->text->size);
    assert_int_equal(support_verify(group->log.directory), STATUS_AUDIT_BROKEN);
    struct audit_options options = {.directory = group->log.directory};
    struct audit *audit;
    struct error error = {0};
    assert_int_equal(audit_open(&options, &audit, &error), STATUS_AUDIT_BROKEN);
    struct stat after;
    assert_int_equal(stat(group->text->path, &after), 0);
    assert_int_equal(after.st_size, group->text->size);
}

static void test_zeros_that_no_power_cut_leaves(void **state)
{
    struct group group;
    make_group(&group, *state, 5, 30);
    expect_hole_refused(&group, 3000, 3001);
    expect_hole_refused(&group, 6 * 512, 7 * 512 - 1); /* less than the sector */
    expect_hole_refused(&group, 6 * 512 + 1, 7 * 512);
    expect_hole_refused(&group, group.text->size - 2, group.text->size - 1);
    unload(&group.log);
}

/* What stands where a record should begin, and how it is taken. */
static void test_tails(void **state)
{
    static uint8_t data[1 << 18];
    static const struct {
        size_t text_end;       /* from the beginning on */
        size_t newline;        /* where one is among it; 0: none */
        size_t more, more_end; /* text behind zeros */
        enum scan_tail expected;
    } rows[] = {
        {0, 0, 0, 0, SCAN_TAIL_CLEAN},
        {1, 0, 0, 0, SCAN_TAIL_UNFINISHED},
        {65535, 0, 0, 0, SCAN_TAIL_UNFINISHED},
        {65536, 0, 0, 0, SCAN_TAIL_BROKEN}, /* no record is so long */
        {100, 50, 0, 0, SCAN_TAIL_BROKEN},
        {512, 0, 1024, 1025, SCAN_TAIL_UNFINISHED},
        {0, 0, 512, 600, SCAN_TAIL_UNFINISHED},
        {100, 0, 512, 600, SCAN_TAIL_BROKEN},
        {512, 0, 1023, 1025, SCAN_TAIL_BROKEN},
        {512, 100, 1024, 1025, SCAN_TAIL_BROKEN},
    };
    const char *path = *state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        memset(data, 0, sizeof(data));
        memset(data, 'x', rows[i].text_end);
        memset(data + rows[i].more, 'x', rows[i].more_end - rows[i].more);
        if (rows[i].newline > 0)
            data[rows[i].newline] = '\n';
        support_replace(path, data, sizeof(data));
        int file = open(path, O_RDONLY | O_CLOEXEC);
        enum scan_tail tail;
        uint64_t size;
        assert_int_equal(scan_tail(file, 0, &tail, &size), STATUS_OK);
        assert_int_equal(tail, rows[i].expected);
        assert_int_equal(size, rows[i].more_end > 0 ? rows[i].more_end : rows[i].text_end);
        (void)close(file);
    }
    assert_int_equal(unlink(path), 0);
}

/* More stands behind the hole than is ever written without a sync. */
static void test_hole_far_from_the_end(void **state)
{
    struct audit *audit = support_open(*state, 0, 0);
    struct audit_entry entry = support_entry(0);
    static char detail[RECORD_TEXT_MAX];
    memset(detail, 'x', sizeof(detail));
    entry.detail = bytes_of(detail, sizeof(detail));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(audit_write(audit, &entry), STATUS_OK);
    audit_close(audit);
    size_t size;
    const char *path = support_file(*state, 0);
    uint8_t *data = support_read(path, &size);
    assert_true(size > SCAN_UNFINISHED_MAX + 8 * 512);
    memset(data + size / 512 * 512 - 512 * 8, 0, 512);
    support_replace(path, data, size);
    assert_int_equal(support_verify(*state), STATUS_OK);
    assert_true(support_report.incomplete_tail);
    memset(data + 512 * 4, 0, 512);
    support_replace(path, data, size);
    assert_int_equal(support_verify(*state), STATUS_AUDIT_BROKEN);
    struct audit_options options = {.directory = *state};
    assert_int_equal(audit_open(&options, &audit, NULL), STATUS_AUDIT_BROKEN);
    free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, support_setup_in_memory, support_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_byte_changed),
        TEST(test_random_tampering),
        TEST(test_lines_removed_moved_repeated),
        TEST(test_line_put_in),
        TEST(test_line_without_end),
        TEST(test_files_removed),
        TEST(test_files_changed),
        TEST(test_file_copied),
        TEST(test_other_names_are_passed_over),
        TEST(test_log_of_other_files_continued),
        TEST(test_open_refuses_and_changes_nothing),
        TEST(test_cut_at_every_byte),
        TEST(test_cut_in_the_first_record_of_a_file),
        TEST(test_sectors_lost),
        TEST(test_zeros_that_no_power_cut_leaves),
        TEST(test_tails),
        TEST(test_hole_far_from_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
