/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct audit_report support_report;
struct error support_error;

static int setup_in(const char *base, void **state)
{
    static char path[SUPPORT_PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/kmipd-audit-XXXXXX", base);
    if (mkdtemp(path) == NULL)
        return -1;
    (void)strcat(path, "/log");
    *state = path;
    return 0;
}

int support_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    return setup_in(base != NULL ? base : "/tmp", state);
}

int support_setup_in_memory(void **state)
{
    return setup_in("/dev/shm", state) == 0 ? 0 : support_setup(state);
}

static void delete_tree(const char *path)
{
    DIR *stream = opendir(path);
    struct dirent *entry;
    while (stream != NULL && (entry = readdir(stream)) != NULL)
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(stream), entry->d_name, 0);
    if (stream != NULL)
        (void)closedir(stream);
    (void)rmdir(path);
}

int support_teardown(void **state)
{
    char *path = *state;
    delete_tree(path);
    *strrchr(path, '/') = '\0';
    return rmdir(path);
}

struct audit *support_open(const char *directory, size_t rotate_bytes, unsigned keep_files)
{
    struct audit_options options = {
        .directory = directory, .rotate_bytes = rotate_bytes, .keep_files = keep_files};
    struct audit *audit;
    struct error error = {0};
    if (audit_open(&options, &audit, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    return audit;
}

struct audit_entry support_entry(unsigned i)
{
    static _Thread_local char object[40];
    (void)snprintf(object, sizeof(object), "object-%u", i);
    return (struct audit_entry){
        .time = INT64_C(1767323045678) + i * 7,
        .event = i % 3 == 0 ? "admin" : "kmip",
        .adapter = BYTES_LITERAL("default"),
        .certificate =
            BYTES_LITERAL("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        .peer = BYTES_LITERAL("192.0.2.1:5000"),
        .operation = i % 2 == 0 ? BYTES_LITERAL("Get") : BYTES_LITERAL("Create"),
        .object = bytes_of_text(object),
        .result = BYTES_LITERAL("Success"),
        .product = BYTES_LITERAL("VMware \"vSphere\" \xC3\xBC"),
    };
}

void support_write(struct audit *audit, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct audit_entry entry = support_entry(i);
        assert_int_equal(audit_write(audit, &entry), STATUS_OK);
    }
}

static int is_log_file(const struct dirent *entry)
{
    return strstr(entry->d_name, ".jsonl") != NULL;
}

const char *support_file(const char *directory, size_t n)
{
    static char path[SUPPORT_PATH_SIZE + 256];
    struct dirent **entries;
    int count = scandir(directory, &entries, is_log_file, alphasort);
    assert_true(count > (int)n);
    (void)snprintf(path, sizeof(path), "%s/%s", directory, entries[n]->d_name);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    return path;
}

size_t support_count_files(const char *directory)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_log_file, alphasort);
    assert_true(count >= 0);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    return (size_t)count;
}

uint8_t *support_read(const char *path, size_t *ret_size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    uint8_t *data = malloc(SUPPORT_FILE_MAX);
    assert_non_null(data);
    ssize_t size = read(file, data, SUPPORT_FILE_MAX);
    assert_true(size >= 0 && size < (ssize_t)SUPPORT_FILE_MAX);
    (void)close(file);
    while (size > 0 && data[size - 1] == 0)
        size--;
    *ret_size = (size_t)size;
    return data;
}

void support_replace(const char *path, const void *data, size_t size)
{
    /* Not O_TRUNC: ext4 then waits for the disk at the end. */
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    assert_true(write(file, data, size) == (ssize_t)size);
    assert_int_equal(ftruncate(file, (off_t)size), 0);
    (void)close(file);
}

enum status support_verify(const char *directory)
{
    support_error = (struct error){0};
    return audit_verify(directory, &support_report, &support_error);
}

void support_expect_whole(const char *directory, uint64_t records)
{
    if (support_verify(directory) != STATUS_OK)
        fail_msg("%s", error_text(&support_error));
    assert_int_equal(support_report.records, records);
    assert_int_equal(support_report.broken_sequence, 0);
    assert_false(support_report.incomplete_tail);
}
