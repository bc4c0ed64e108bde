/* SPDX-License-Identifier: Apache-2.0 */
#include "service/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "audit/audit.h"
#include "base/clock.h"
#include "base/log.h"

#define REFUSAL_MILLISECONDS 1000
#define REFUSAL_LINES        10
#define FAULT_MILLISECONDS   (5 * 60000)

#define FIELD_MAX 64
/* For "%.*s". */
#define FIELD(bytes)                                                                               \
    (int)((bytes).size < FIELD_MAX ? (bytes).size : FIELD_MAX), (const char *)(bytes).data

static void limit_init(struct report_limit *limit)
{
    atomic_init(&limit->since, INT64_MIN / 2);
    atomic_init(&limit->lines, 0);
    atomic_init(&limit->left_out, 0);
}

void report_init(struct report *report)
{
    limit_init(&report->refusals);
    limit_init(&report->unrecorded);
    for (int i = 0; i < STATUS_COUNT; i++)
        limit_init(&report->faults[i]);
}

/* True for so many lines of an interval; *ret_left_out: how many were not since the last one. */
static bool may_tell(struct report_limit *limit, int64_t milliseconds, uint64_t lines,
                     uint64_t *ret_left_out)
{
    int64_t now = clock_monotonic();
    int64_t since = atomic_load(&limit->since);
    if (now - since >= milliseconds && atomic_compare_exchange_strong(&limit->since, &since, now))
        atomic_store(&limit->lines, 0);
    if (atomic_fetch_add(&limit->lines, 1) < lines) {
        *ret_left_out = atomic_exchange(&limit->left_out, 0);
        return true;
    }
    atomic_fetch_add(&limit->left_out, 1);
    return false;
}

static bool is_fault(enum status status)
{
    return status_level(status) <= LOG_LEVEL_ERROR;
}

/* *ret_more is a text about lines that were left out. */
static bool may_tell_of(struct report *report, enum status status, char *ret_more, size_t size)
{
    uint64_t left_out;
    bool fault = is_fault(status);
    struct report_limit *limit = fault ? &report->faults[status] : &report->refusals;
    int64_t interval = fault ? FAULT_MILLISECONDS : REFUSAL_MILLISECONDS;
    if (!may_tell(limit, interval, fault ? 1 : REFUSAL_LINES, &left_out))
        return false;
    ret_more[0] = '\0';
    if (left_out > 0)
        (void)snprintf(ret_more, size, " left-out=%" PRIu64, left_out);
    return true;
}

void report_request(struct report *report, const struct request *request)
{
    char more[32];
    if (request->record_count == 0)
        return;
    enum status status = request->worst;
    const struct audit_entry *entry =
        &request->records[status == STATUS_OK ? 0 : request->worst_record];
    if (status == STATUS_OK)
        log_debug("request done operation=\"%.*s\" adapter=\"%.*s\" object=\"%.*s\" items=%zu "
                  "peer=%.*s",
                  FIELD(entry->operation), FIELD(entry->adapter), FIELD(entry->object),
                  request->record_count, FIELD(entry->peer));
    else if (may_tell_of(report, status, more, sizeof(more)))
        log_write(status_level(status),
                  "request %s status=%s operation=\"%.*s\" adapter=\"%.*s\" object=\"%.*s\" "
                  "peer=%.*s certificate=%.*s%s: %s",
                  is_fault(status) ? "failed" : "refused", status_name(status),
                  FIELD(entry->operation), FIELD(entry->adapter), FIELD(entry->object),
                  FIELD(entry->peer), FIELD(entry->certificate), more, status_text(status));
}

void report_fault(struct report *report, enum status status)
{
    char more[32];
    if (may_tell_of(report, status, more, sizeof(more)))
        log_write(status_level(status), "requests fail status=%s%s: %s", status_name(status), more,
                  status_text(status));
}

void report_unrecorded(struct report *report, const char *adapter)
{
    uint64_t left_out;
    if (may_tell(&report->unrecorded, FAULT_MILLISECONDS, 1, &left_out))
        log_warning("records too-large adapter=\"%s\" left-out=%" PRIu64 ": an object is kept here "
                    "but not in the key manager, from where a lost store could be rebuilt",
                    adapter, left_out);
}
