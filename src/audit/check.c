/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "audit/files.h"
#include "audit/line.h"
#include "base/hex.h"

/* One file being read. */
struct reading {
    struct check *check;
    uint64_t first;
    uint64_t line; /* counted from 1 */
    char name[FILES_NAME_SIZE];
    struct error *error;
};

enum status check_new(int directory, struct check **ret_check, struct error *error)
{
    struct check *check = calloc(1, sizeof(*check));
    if (check == NULL)
        return error_set(error, STATUS_NO_MEMORY, "out of memory reading the audit log");
    if (chain_init(&check->chain) != STATUS_OK) {
        free(check);
        return error_set(error, STATUS_CRYPTO_FAILED, "OpenSSL gives no SHA-256");
    }
    check->directory = directory;
    *ret_check = check;
    return STATUS_OK;
}

void check_free(struct check *check)
{
    if (check != NULL)
        chain_free(&check->chain);
    free(check);
}

PRINTF_LIKE(2, 3)
static enum status broken(struct reading *reading, const char *format, ...)
{
    struct audit_report *report = &reading->check->report;
    report->broken_sequence = reading->check->chain.position.sequence + 1;
    report->broken_line = reading->line;
    (void)snprintf(report->broken_file, sizeof(report->broken_file), "%s", reading->name);
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return error_set(reading->error, STATUS_AUDIT_BROKEN,
                     "the audit log is broken at record %" PRIu64 " (%s, line %" PRIu64 "): %s",
                     report->broken_sequence, reading->name, reading->line, text);
}

static enum status io_failed(struct reading *reading)
{
    return error_set_errno(reading->error, STATUS_IO, errno, "cannot read %s", reading->name);
}

static enum status open_failed(struct reading *reading)
{
    enum status status = errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
    return error_set_errno(reading->error, status, errno, "cannot open %s", reading->name);
}

static bool digits_equal(struct bytes digits, const uint8_t value[static AUDIT_HASH_SIZE])
{
    char text[RECORD_DIGITS];
    hex_encode(bytes_of(value, AUDIT_HASH_SIZE), text);
    return bytes_equal(digits, bytes_of(text, sizeof(text)));
}

static enum status check_order(struct reading *reading, uint64_t sequence)
{
    uint64_t expected = reading->check->chain.position.sequence + 1;
    if (sequence > expected)
        return broken(reading, "it is missing or was moved: record %" PRIu64 " stands in its place",
                      sequence);
    if (sequence < expected)
        return broken(reading, "record %" PRIu64 " stands in its place", sequence);
    return STATUS_OK;
}

static bool is_known_value(const struct check *check)
{
    return check->known.sequence == 0 || check->chain.position.sequence != check->known.sequence ||
           memcmp(check->chain.position.value, check->known.value, AUDIT_HASH_SIZE) == 0;
}

/* Takes the chain up at what the file says came before it. */
static bool anchor(struct reading *reading, struct bytes previous)
{
    struct check *check = reading->check;
    uint8_t value[AUDIT_HASH_SIZE];
    if (!hex_decode(previous, value, sizeof(value)))
        return false;
    /* Before the first record of all stands the zero value, which the position has already. */
    if (check->chain.position.sequence > 0)
        memcpy(check->chain.position.value, value, sizeof(value));
    check->anchored = true;
    check->report.first_sequence = reading->first;
    return is_known_value(check);
}

/* The first record of a file says where the chain stood, so that a log whose oldest files were
 * deleted can be checked from what is left. */
static enum status check_first(struct reading *reading, const struct audit_line *line)
{
    struct check *check = reading->check;
    if (line->sequence != reading->first)
        return broken(reading,
                      "the file's name does not fit: it is another's copy, or was renamed");
    if ((!check->anchored && !anchor(reading, line->previous)) ||
        !digits_equal(line->previous, check->chain.position.value))
        return broken(reading, "it does not continue the record before it");
    return STATUS_OK;
}

static enum status check_line(struct reading *reading, struct bytes text)
{
    struct chain *chain = &reading->check->chain;
    struct audit_line line;
    if (!audit_line_parse(text, &line))
        return broken(reading, "this is not an audit record");
    enum status status = check_order(reading, line.sequence);
    if (status == STATUS_OK && reading->line == 1)
        status = check_first(reading, &line);
    if (status != STATUS_OK)
        return status;
    struct chain_position before = chain->position;
    status = chain_next(chain, line.body);
    if (status != STATUS_OK)
        return error_set(reading->error, status, "OpenSSL cannot compute SHA-256");
    if (digits_equal(line.chain, chain->position.value) && is_known_value(reading->check)) {
        reading->check->report.records++;
        return STATUS_OK;
    }
    chain->position = before;
    return broken(reading, "it was changed, or the log was replaced");
}

/* No record begins where ret_end->offset says. */
static enum status judge_tail(struct reading *reading, bool newest, struct check_end *ret_end)
{
    if (scan_tail(reading->check->scan.file, ret_end->offset, &ret_end->tail,
                  &ret_end->tail_size) != STATUS_OK)
        return io_failed(reading);
    if (newest && ret_end->tail != SCAN_TAIL_BROKEN)
        return STATUS_OK;
    return broken(reading, newest ? "this is not an audit record"
                                  : "the file does not end with a whole record");
}

static enum status check_lines(struct reading *reading, bool newest, struct check_end *ret_end)
{
    struct scan *scan = &reading->check->scan;
    for (;;) {
        struct bytes line;
        bool found;
        *ret_end = (struct check_end){.offset = scan->offset, .lines = reading->line};
        reading->line++;
        if (scan_next(scan, &line, &found) != STATUS_OK)
            return io_failed(reading);
        if (!found && scan->size == scan->at && (newest || reading->line > 1))
            return STATUS_OK; /* the end of the file */
        /* No record has a zero byte in it; what a power cut leaves may have one. */
        if (!found || memchr(line.data, 0, line.size) != NULL)
            return judge_tail(reading, newest, ret_end);
        enum status status = check_line(reading, line);
        if (status != STATUS_OK)
            return status;
    }
}

/* From where *end says. */
static enum status check_from(struct check *check, uint64_t first, bool newest,
                              struct check_end *end, struct error *error)
{
    struct reading reading = {
        .check = check, .first = first, .line = end->lines, .error = error};
    files_name(first, reading.name);
    int file = files_open(check->directory, first, O_RDONLY);
    if (file < 0)
        return open_failed(&reading);
    scan_begin(&check->scan, file, end->offset);
    enum status status = check_lines(&reading, newest, end);
    (void)close(file);
    return status;
}

/* A file that is read on counts once. */
static void count_file(struct check *check, uint64_t first)
{
    struct audit_report *report = &check->report;
    if (!check->anchored)
        return;
    report->files += check->counted != first;
    check->counted = first;
    report->last_sequence = check->chain.position.sequence;
    memcpy(report->last_chain, check->chain.position.value, AUDIT_HASH_SIZE);
}

enum status check_rest(struct check *check, uint64_t first, struct check_end *end,
                       struct error *error)
{
    enum status status = check_from(check, first, true, end, error);
    if (status == STATUS_OK)
        count_file(check, first);
    return status;
}

enum status check_file(struct check *check, uint64_t first, bool newest, struct check_end *ret_end,
                       struct error *error)
{
    *ret_end = (struct check_end){0};
    if (!check->anchored)
        check->chain.position.sequence = first - 1;
    enum status status = check_from(check, first, newest, ret_end, error);
    if (status == STATUS_OK)
        count_file(check, first);
    return status;
}
