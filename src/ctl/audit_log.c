/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl audit ...: reads the audit log's files, so that it works without a server; with --url the
 * server does. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "audit/audit.h"
#include "ctl/ctl.h"
#include "ctl/output.h"
#include "ipc/audit_report.h"

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

/* `line` is the record as it is in the file; NULL: as the server sent it. */
static void take_record(struct tail *tail, json_t *record, const struct bytes *line)
{
    if (tail->json && line != NULL)
        printf("%.*s\n", (int)line->size, (const char *)line->data);
    else if (tail->json)
        ctl_print_json_line(stdout, record);
    else
        (void)json_array_append_new(tail->rows, make_row(record));
}

static bool take_line(void *context, struct bytes line)
{
    struct tail *tail = context;
    json_error_t ignored;
    json_t *record = json_loadb((const char *)line.data, line.size, JSON_ALLOW_NUL, &ignored);
    json_int_t sequence = json_integer_value(json_object_get(record, "seq"));
    if (sequence > tail->last) {
        tail->last = sequence;
        take_record(tail, record, &line);
    }
    json_decref(record);
    return true;
}

static void print_rows(const json_t *rows)
{
    if (json_array_size(rows) > 0)
        ctl_print_table(stdout, rows, tail_columns, ARRAY_COUNT(tail_columns));
}

static enum status print_tail(struct tail *tail, const char *directory, size_t count,
                              struct error *error)
{
    tail->rows = json_array();
    enum status status = audit_tail(directory, count, take_line, tail, error);
    if (status == STATUS_OK)
        print_rows(tail->rows);
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

static void present_tail(const struct ctl_call *call, const json_t *result)
{
    size_t index;
    json_t *record;
    struct tail tail = {.json = call->json, .rows = json_array()};
    const json_t *records = json_object_get(result, "records");
    json_array_foreach((json_t *)records, index, record)
        take_record(&tail, record, NULL);
    print_rows(tail.rows);
    json_decref(tail.rows);
    if (json_is_true(json_object_get(result, "truncated")))
        fprintf(stderr, "These are the last %zu: more have no room in one answer.\n",
                json_array_size(records));
}

/* ---- verify ---- */

static void ask_end(const struct ctl_call *call, struct ipc_audit_end *ret_end)
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

static long long number_of(const json_t *result, const char *name)
{
    return json_integer_value(json_object_get(result, name));
}

static void print_whole(const json_t *result)
{
    const char *chain = json_string_value(json_object_get(result, "last_chain"));
    printf("The audit log is whole: %lld records in %lld files, from %lld to %lld.\n",
           number_of(result, "records"), number_of(result, "files"), number_of(result, "first"),
           number_of(result, "last"));
    printf("Chain value of the last record: %s\n", chain != NULL ? chain : "");
    if (json_is_true(json_object_get(result, "incomplete_tail")))
        puts("The last line is incomplete: a write was cut short before it was acknowledged.");
    if (!json_is_true(json_object_get(result, "end_compared")))
        puts("No running server was asked whether records are missing at the end.");
}

/* AUDIT_BROKEN when that is what was found. */
static enum status present_report(const struct ctl_call *call, const json_t *result,
                                  struct error *error)
{
    const char *broken = json_string_value(json_object_get(result, "broken"));
    bool whole = json_is_true(json_object_get(result, "whole"));
    if (call->json)
        ctl_print_json(stdout, result);
    else if (whole)
        print_whole(result);
    return whole ? STATUS_OK
                 : error_set(error, STATUS_AUDIT_BROKEN, "%s",
                             broken != NULL ? broken : "the server does not say what is broken");
}

static enum status verify_here(const struct ctl_call *call, const char *directory,
                               struct error *error)
{
    struct ipc_audit_end end = {0};
    json_t *result = json_object();
    if (ctl_text(call, "directory") == NULL)
        ask_end(call, &end);
    enum status status = ipc_verify_audit(directory, &end, result, error);
    if (status == STATUS_OK)
        status = present_report(call, result, error);
    json_decref(result);
    return status;
}

enum ctl_exit ctl_audit_verify(const struct ctl_call *call)
{
    char directory[4096];
    struct error error = {0};
    if (!find_directory(call, directory, sizeof(directory)))
        return ctl_fail(STATUS_INVALID_ARGUMENT, "the path of the directory is too long");
    enum status status = verify_here(call, directory, &error);
    if (status != STATUS_OK)
        return ctl_fail(status, error_text(&error));
    return fflush(stdout) == 0 ? CTL_GOOD : CTL_FAILED;
}

/* ---- Of a server elsewhere ---- */

enum status ctl_present_audit(const struct ctl_call *call, const json_t *result,
                              struct error *error)
{
    if (call->command == IPC_audit_verify)
        return present_report(call, result, error);
    present_tail(call, result);
    return STATUS_OK;
}
