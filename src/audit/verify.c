/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "audit/check.h"
#include "audit/files.h"

/* A log that is being written changes under the reader's eyes: files are deleted as new ones come,
 * and the newest may be seen in the midst of a write. Then it is looked at again. */
#define ATTEMPTS    5
#define PAUSE_NANOS 20000000

static void pause_shortly(void)
{
    const struct timespec pause = {0, PAUSE_NANOS};
    (void)nanosleep(&pause, NULL);
}

static bool is_settled(enum status status, const struct check_end *end)
{
    return status == STATUS_OK ? end->tail == SCAN_TAIL_CLEAN : status != STATUS_AUDIT_BROKEN;
}

/* Reads on from the record that was not whole, for as long as it comes to be. */
static enum status check_newest(struct check *check, uint64_t first, struct error *error)
{
    struct check_end end;
    enum status status = check_file(check, first, true, &end, error);
    uint64_t stands_at = end.offset;
    for (int i = 1; i < ATTEMPTS && !is_settled(status, &end) && files_is_locked(check->directory);
         i++) {
        pause_shortly();
        status = check_rest(check, first, &end, error);
        if (end.offset != stands_at)
            i = 0;
        stands_at = end.offset;
    }
    if (status != STATUS_AUDIT_BROKEN) {
        check->report.broken_sequence = check->report.broken_line = 0;
        check->report.broken_file[0] = '\0';
    }
    if (status == STATUS_OK)
        check->report.incomplete_tail = end.tail == SCAN_TAIL_UNFINISHED;
    return status;
}

static enum status check_all(struct check *check, const uint64_t *first, size_t count,
                             struct error *error)
{
    enum status status = STATUS_OK;
    struct check_end end;
    for (size_t i = 0; i + 1 < count && status == STATUS_OK; i++)
        status = check_file(check, first[i], false, &end, error);
    if (status == STATUS_OK && count > 0)
        status = check_newest(check, first[count - 1], error);
    return status;
}

static enum status verify(int directory, struct audit_report *ret_report, struct error *error)
{
    uint64_t *first;
    size_t count;
    enum status status = files_list(directory, &first, &count, error);
    if (status != STATUS_OK)
        return status;
    struct check *check;
    status = check_new(directory, &check, error);
    if (status == STATUS_OK) {
        status = check_all(check, first, count, error);
        *ret_report = check->report;
        check_free(check);
    }
    free(first);
    return status;
}

enum status audit_verify(const char *directory, struct audit_report *ret_report,
                         struct error *error)
{
    *ret_report = (struct audit_report){0};
    int file = files_open_directory(directory);
    if (file < 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot open the audit log %s", directory);
    enum status status = STATUS_NOT_FOUND;
    for (int i = 0; i < ATTEMPTS && status == STATUS_NOT_FOUND; i++)
        status = verify(file, ret_report, error);
    (void)close(file);
    return status == STATUS_NOT_FOUND ? STATUS_IO : status;
}
