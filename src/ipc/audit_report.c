/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/audit_report.h"

#include <inttypes.h>
#include <string.h>

#include "base/hex.h"

static enum status compare_end(const struct ipc_audit_end *end, const struct audit_report *report,
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

static bool put_report(json_t *result, const struct audit_report *report, bool whole, bool compared)
{
    char chain[2 * AUDIT_HASH_SIZE + 1];
    hex_text(bytes_of(report->last_chain, AUDIT_HASH_SIZE), chain);
    json_t *members = json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:s, s:b, s:b}", "whole", whole, "records",
        (json_int_t)report->records, "files", (json_int_t)report->files, "first",
        (json_int_t)report->first_sequence, "last", (json_int_t)report->last_sequence, "last_chain",
        chain, "incomplete_tail", report->incomplete_tail, "end_compared", compared);
    bool put = members != NULL && json_object_update(result, members) == 0;
    json_decref(members);
    return put;
}

static bool put_broken(json_t *result, const struct audit_report *report, const struct error *error)
{
    return json_object_set_new(result, "broken", json_string(error_text(error))) == 0 &&
           json_object_set_new(result, "broken_record",
                               json_integer((json_int_t)report->broken_sequence)) == 0;
}

enum status ipc_verify_audit(const char *directory, const struct ipc_audit_end *end,
                             json_t *result, struct error *error)
{
    struct error found = {0};
    struct audit_report report = {0};
    enum status status = audit_verify(directory, &report, &found);
    if (status == STATUS_OK)
        status = compare_end(end, &report, &found);
    bool whole = status == STATUS_OK;
    if (!whole && status != STATUS_AUDIT_BROKEN)
        return error_set(error, status, "%s", error_text(&found));
    if (put_report(result, &report, whole, end->known) &&
        (whole || put_broken(result, &report, &found)))
        return STATUS_OK;
    return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
}
