/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl audit ... of those who are elsewhere: the server reads its own files for them. */
#include <inttypes.h>
#include <stdatomic.h>

#include "base/hex.h"
#include "daemon/commands.h"
#include "ipc/audit_report.h"

#define TAIL_DEFAULT 20
#define TAIL_MAX     1000
#define TAIL_BYTES   (4u << 20) /* of the lines in one answer; quoted it is far below the most */

/* ---- tail ---- */

struct tail {
    json_t *records;
    size_t sizes[TAIL_MAX]; /* of the lines, in bytes */
    size_t count;           /* of lines seen */
    size_t dropped;         /* the first of them */
    size_t bytes;           /* of those that are left */
    bool failed;            /* there is no memory */
};

/* The newest records are what is asked for: where not all have room, the oldest go. */
static void make_room(struct tail *tail)
{
    while (tail->bytes > TAIL_BYTES) {
        tail->bytes -= tail->sizes[tail->dropped++];
        (void)json_array_remove(tail->records, 0);
    }
}

static bool take_line(void *context, struct bytes line)
{
    struct tail *tail = context;
    json_error_t ignored;
    json_t *record = json_loadb((const char *)line.data, line.size, JSON_ALLOW_NUL, &ignored);
    if (record == NULL) /* a line that somebody has changed: verifying names it */
        return true;
    tail->failed = tail->count == TAIL_MAX || json_array_append_new(tail->records, record) != 0;
    if (tail->failed)
        return false;
    tail->sizes[tail->count++] = line.size;
    tail->bytes += line.size;
    make_room(tail);
    return true;
}

enum status control_audit_tail(struct control_call *call)
{
    struct tail tail = {0};
    int64_t count = control_number(call, "count", TAIL_DEFAULT);
    if (count > TAIL_MAX)
        return error_set(call->error, STATUS_INVALID_ARGUMENT,
                         "the server gives at most %d records at a time: give a smaller --count, "
                         "or use kmipctl on its machine",
                         TAIL_MAX);
    tail.records = json_array();
    enum status status = audit_tail(state_path(&call->daemon->state, STATE_AUDIT), (size_t)count,
                                    take_line, &tail, call->error);
    if (status == STATUS_OK && (tail.failed || tail.records == NULL))
        status = STATUS_NO_MEMORY;
    (void)json_object_set_new(call->result, "records", tail.records);
    (void)json_object_set_new(call->result, "truncated", json_boolean(tail.dropped > 0));
    return status;
}

/* ---- verify ---- */

static void note_found(struct control_call *call)
{
    const char *broken = json_string_value(json_object_get(call->result, "broken"));
    if (broken != NULL)
        (void)snprintf(call->detail, sizeof(call->detail), "broken: %.200s", broken);
}

/* One at a time: it reads everything there is, and others wait for the threads of the API. */
enum status control_audit_verify(struct control_call *call)
{
    static atomic_flag busy = ATOMIC_FLAG_INIT;
    uint8_t chain[AUDIT_HASH_SIZE];
    struct ipc_audit_end end = {.known = true};
    if (atomic_flag_test_and_set(&busy))
        return error_set(call->error, STATUS_BUSY,
                         "the audit log is being verified already: try again when that has ended");
    audit_head(call->daemon->audit, &end.sequence, chain);
    hex_text(bytes_of(chain, sizeof(chain)), end.chain);
    enum status status = ipc_verify_audit(state_path(&call->daemon->state, STATE_AUDIT), &end,
                                          call->result, call->error);
    atomic_flag_clear(&busy);
    note_found(call);
    return status;
}
