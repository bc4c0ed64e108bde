/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl audit ...: reads the audit log's files, so that it works without a server. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "audit/audit.h"
#include "base/hex.h"
#include "ctl/ctl.h"
#include "ctl/output.h"

#define DEFAULT_COUNT     20
#define FOLLOW_COUNT      1000 /* records looked at in each round of --follow */
#define FOLLOW_NANOSECONDS 300000000

static bool find_directory(const struct ctl_call *call, char *path, size_t size)
{
    const char *given = ctl_text(call, "directory");
    if (given == NULL)
        return ctl_state_path(call, "audit", path, size);
    int length = snprintf(path, size, "%s", given);
    return length >= 0 && (size_t)length < size;
}

/* ---- tail ---- */

struct tail {
    bool json;
    json_int_t last; /* sequence of the last record printed */
    json_t *rows;
};

static const struct ctl_column tail_columns[] = {
    {"TIME", "time"},     {"ADAPTER", "adapter"}, {"OPERATION", "operation"}, {"RESULT", "outcome"},
    {"OBJECT", "object"}, {"WHO", "who"},         {"ABOUT", "about"},
};

static void copy_first(json_t *row, const char *name, const json_t *record, const char *const *from,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(record, from[i]);
        if (json_is_string(value) && json_string_length(value) > 0) {
            (void)json_object_set(row, name, value);
            return;
        }
    }
}

/* What the columns show of a record: of some members the first that is there. */
static json_t *make_row(const json_t *record)
{
    static const char *const outcome[] = {"reason", "result"};
    static const char *const who[] = {"peer", "certificate"};
    static const char *const about[] = {"detail", "product"};
    static const char *const plain[] = {"time", "adapter", "operation", "object"};
    json_t *row = json_object();
    for (size_t i = 0; i < ARRAY_COUNT(plain); i++)
        (void)json_object_set(row, plain[i], json_object_get(record, plain[i]));
    copy_first(row, "outcome", record, outcome, ARRAY_COUNT(outcome));
    copy_first(row, "who", record, who, ARRAY_COUNT(who));
    copy_first(row, "about", record, about, ARRAY_COUNT(about));
    return row;
}

static bool take_line(void *context, struct bytes line)
{
    struct tail *tail = context;
    json_error_t ignored;
    json_t *record = json_loadb((const char *)line.data, line.size, 0, &ignored);
    json_int_t sequence = json_integer_value(json_object_get(record, "seq"));
    if (sequence > tail->last) {
        tail->last = sequence;
        if (tail->json)
            printf("%.*s\n", (int)line.size, (const char *)line.data);
        else
            (void)json_array_append_new(tail->rows, make_row(record));
    }
    json_decref(record);
    return true;
}

static enum status print_tail(struct tail *tail, const char *directory, size_t count,
                              struct error *error)
{
    tail->rows = json_array();
    enum status status = audit_tail(directory, count, take_line, tail, error);
    if (status == STATUS_OK && json_array_size(tail->rows) > 0)
        ctl_print_table(stdout, tail->rows, tail_columns, ARRAY_COUNT(tail_columns));
    json_decref(tail->rows);
    return fflush(stdout) == 0 ? status : STATUS_IO;
}

enum ctl_exit ctl_audit_tail(const struct ctl_call *call)
{
    char directory[4096];
    struct error error = {0};
    struct tail tail = {.json = call->json};
    if (!find_directory(call, directory, sizeof(directory)))
        return ctl_fail(STATUS_INVALID_ARGUMENT, "the path of the directory is too long");
    size_t count = (size_t)ctl_number(call, "count", DEFAULT_COUNT);
    enum status status = print_tail(&tail, directory, count, &error);
    const struct timespec pause = {.tv_nsec = FOLLOW_NANOSECONDS};
    while (status == STATUS_OK && ctl_flag(call, "follow")) {
        (void)nanosleep(&pause, NULL);
        status = print_tail(&tail, directory, FOLLOW_COUNT, &error);
    }
    return status == STATUS_OK ? CTL_GOOD : ctl_fail(status, error_text(&error));
}

/* ---- verify ---- */

/* The last record that a running server knows to be durable: the files may not end before it. */
struct known_end {
    bool known;
    uint64_t sequence;
    char chain[2 * AUDIT_HASH_SIZE + 1];
};

static void ask_end(const struct ctl_call *call, struct known_end *ret_end)
{
    struct ctl_server *server = NULL;
    struct error error = {0};
    json_t *result = NULL, *none = json_object();
    if (ctl_server_open(call, &server, &error) == STATUS_OK &&
        ctl_request(server, IPC_top_status, none, &result, &error) == STATUS_OK) {
        const json_t *audit = json_object_get(result, "audit");
        const char *chain = json_string_value(json_object_get(audit, "chain"));
        ret_end->known = chain != NULL;
        ret_end->sequence = (uint64_t)json_integer_value(json_object_get(audit, "sequence"));
        (void)snprintf(ret_end->chain, sizeof(ret_end->chain), "%s", chain != NULL ? chain : "");
    }
    ctl_server_close(server);
    json_decref(result);
    json_decref(none);
}

static enum status compare_end(const struct known_end *end, const struct audit_report *report,
                               struct error *error)
{
    char chain[2 * AUDIT_HASH_SIZE + 1];
    hex_text(bytes_of(report->last_chain, AUDIT_HASH_SIZE), chain);
    if (!end->known || report->last_sequence > end->sequence ||
        (report->last_sequence == end->sequence && strcmp(chain, end->chain) == 0))
        return STATUS_OK;
    return error_set(error, STATUS_AUDIT_BROKEN,
                     "the files end with record %" PRIu64 ", but the server has written record "
                     "%" PRIu64 ": the end was cut off or changed",
                     report->last_sequence, end->sequence);
}

static void print_report(const struct ctl_call *call, const struct audit_report *report,
                         enum status status, const struct known_end *end, const char *text)
{
    char chain[2 * AUDIT_HASH_SIZE + 1];
    hex_text(bytes_of(report->last_chain, AUDIT_HASH_SIZE), chain);
    if (call->json) {
        json_t *result = json_pack(
            "{s:b, s:I, s:I, s:I, s:I, s:s, s:b, s:b}", "whole", status == STATUS_OK, "records",
            (json_int_t)report->records, "files", (json_int_t)report->files, "first",
            (json_int_t)report->first_sequence, "last", (json_int_t)report->last_sequence,
            "last_chain", chain, "incomplete_tail", report->incomplete_tail, "end_compared",
            end->known);
        if (status != STATUS_OK) {
            (void)json_object_set_new(result, "broken", json_string(text));
            (void)json_object_set_new(result, "broken_record",
                                      json_integer((json_int_t)report->broken_sequence));
        }
        ctl_print_json(stdout, result);
        json_decref(result);
        return;
    }
    if (status != STATUS_OK)
        return;
    printf("The audit log is whole: %" PRIu64 " records in %" PRIu64 " files, from %" PRIu64
           " to %" PRIu64 ".\n",
           report->records, report->files, report->first_sequence, report->last_sequence);
    printf("Chain value of the last record: %s\n", chain);
    if (report->incomplete_tail)
        puts("The last line is incomplete: a write was cut short before it was acknowledged.");
    if (!end->known)
        puts("No running server was asked whether records are missing at the end.");
}

enum ctl_exit ctl_audit_verify(const struct ctl_call *call)
{
    char directory[4096];
    struct error error = {0};
    struct audit_report report = {0};
    struct known_end end = {0};
    if (!find_directory(call, directory, sizeof(directory)))
        return ctl_fail(STATUS_INVALID_ARGUMENT, "the path of the directory is too long");
    if (ctl_text(call, "directory") == NULL)
        ask_end(call, &end);
    enum status status = audit_verify(directory, &report, &error);
    if (status == STATUS_OK)
        status = compare_end(&end, &report, &error);
    if (status == STATUS_OK || status == STATUS_AUDIT_BROKEN)
        print_report(call, &report, status, &end, error_text(&error));
    if (status != STATUS_OK)
        return ctl_fail(status, error_text(&error));
    return fflush(stdout) == 0 ? CTL_GOOD : CTL_FAILED;
}
