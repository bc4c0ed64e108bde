/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log as a whole: with any bytes as its file, verifying and reading end; and when the log
 * opens it, it goes on from there into a log that is whole.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "audit/audit.h"
#include "audit/files.h"
#include "fuzz.h"

static char directory[64];

static void clean_up(void)
{
    static const char *const names[] = {"audit-00000000000000000001.jsonl", "audit.lock"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(directory);
}

static void make_directory(void)
{
    if (directory[0] != '\0')
        return;
    (void)snprintf(directory, sizeof(directory), "%s/kmipd-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    REQUIRE(mkdtemp(directory) != NULL);
    REQUIRE(atexit(clean_up) == 0);
}

static void write_file(const uint8_t *data, size_t size)
{
    int parent = files_open_directory(directory);
    int file = files_open(parent, 1, O_WRONLY | O_CREAT | O_TRUNC);
    REQUIRE(file >= 0 && write(file, data, size) == (ssize_t)size);
    (void)close(file);
    (void)close(parent);
}

static bool count_line(void *context, struct bytes line)
{
    uint64_t *count = context;
    REQUIRE(memchr(line.data, '\n', line.size) == NULL);
    (*count)++;
    return true;
}

/* Opens what verified, and continues it. */
static void go_on(const struct audit_report *before)
{
    struct audit_options options = {.directory = directory};
    struct audit *audit;
    struct error error = {0};
    REQUIRE(audit_open(&options, &audit, &error) == STATUS_OK);
    struct audit_entry entry = {.event = "server"};
    REQUIRE(audit_write(audit, &entry) == STATUS_OK);
    audit_close(audit);
    struct audit_report after;
    REQUIRE(audit_verify(directory, &after, &error) == STATUS_OK);
    REQUIRE(after.records == before->records + 1 && !after.incomplete_tail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_directory();
    write_file(data, size);
    struct audit_report report;
    struct error error = {0};
    uint64_t lines = 0;
    REQUIRE(audit_tail(directory, SIZE_MAX, count_line, &lines, &error) == STATUS_OK);
    enum status status = audit_verify(directory, &report, &error);
    if (status == STATUS_OK) {
        REQUIRE(report.broken_sequence == 0 && report.records == report.last_sequence);
        go_on(&report);
        return 0;
    }
    REQUIRE(status == STATUS_AUDIT_BROKEN && error.text[0] != '\0');
    REQUIRE(report.broken_sequence == report.records + 1);
    struct audit_options options = {.directory = directory};
    struct audit *audit;
    REQUIRE(audit_open(&options, &audit, &error) == STATUS_AUDIT_BROKEN);
    return 0;
}
