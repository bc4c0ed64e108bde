/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/files.h"
#include "audit/scan.h"

#define BLOCK_SIZE 65536

/* Where the last lines begin: in file `index` of the list, at `offset`. */
struct start {
    size_t index;
    uint64_t offset;
};

struct tailing {
    int directory;
    uint64_t *first; /* the files */
    size_t files;
    size_t left; /* lines still to find, then to visit */
    audit_visit *visit;
    void *context;
    uint8_t block[BLOCK_SIZE];
    struct scan scan;
};

/*
 * Searches a block from its end for the newline before the lines wanted. The first one found ends
 * the last line (zeros and an unfinished line, which are behind it, have none), so that one more
 * than `left` are passed.
 */
static bool search_block(struct tailing *tailing, size_t size, size_t *ret_at)
{
    while (size > 0) {
        const uint8_t *newline = memrchr(tailing->block, '\n', size);
        if (newline == NULL)
            return false;
        size = (size_t)(newline - tailing->block);
        if (tailing->left == 0) {
            *ret_at = size + 1;
            return true;
        }
        tailing->left--;
    }
    return false;
}

/* Sets *ret_found when the lines wanted begin in this file. */
static enum status search_file(struct tailing *tailing, int file, uint64_t *ret_offset,
                               bool *ret_found)
{
    struct stat state;
    if (fstat(file, &state) != 0)
        return STATUS_IO;
    *ret_found = false;
    for (uint64_t end = (uint64_t)state.st_size; end > 0;) {
        size_t size = end < BLOCK_SIZE ? (size_t)end : BLOCK_SIZE;
        end -= size;
        ssize_t got = pread(file, tailing->block, size, (off_t)end);
        if (got < 0)
            return STATUS_IO;
        size_t at;
        if (search_block(tailing, (size_t)got, &at)) {
            *ret_offset = end + at;
            *ret_found = true;
            return STATUS_OK;
        }
    }
    *ret_offset = 0;
    return STATUS_OK;
}

/* From the newest file back. A file that is gone was the oldest: the log begins behind it. */
static enum status find_start(struct tailing *tailing, struct start *ret_start)
{
    *ret_start = (struct start){tailing->files, 0};
    bool found = false;
    while (!found && ret_start->index > 0) {
        int file = files_open(tailing->directory, tailing->first[ret_start->index - 1], O_RDONLY);
        if (file < 0)
            return errno == ENOENT ? STATUS_OK : STATUS_IO;
        ret_start->index--;
        enum status status = search_file(tailing, file, &ret_start->offset, &found);
        (void)close(file);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status visit_file(struct tailing *tailing, int file, uint64_t offset)
{
    scan_begin(&tailing->scan, file, offset);
    while (tailing->left > 0) {
        struct bytes line;
        bool found;
        enum status status = scan_next(&tailing->scan, &line, &found);
        if (status != STATUS_OK || !found || memchr(line.data, 0, line.size) != NULL)
            return status;
        tailing->left--;
        if (!tailing->visit(tailing->context, line))
            tailing->left = 0;
    }
    return STATUS_OK;
}

static enum status visit_from(struct tailing *tailing, struct start start)
{
    enum status status = STATUS_OK;
    for (; start.index < tailing->files && status == STATUS_OK; start.index++, start.offset = 0) {
        int file = files_open(tailing->directory, tailing->first[start.index], O_RDONLY);
        if (file < 0 && errno == ENOENT)
            continue;
        if (file < 0)
            return STATUS_IO;
        status = visit_file(tailing, file, start.offset);
        (void)close(file);
    }
    return status;
}

static enum status tail(struct tailing *tailing, size_t count, struct error *error)
{
    enum status status = files_list(tailing->directory, &tailing->first, &tailing->files, error);
    if (status != STATUS_OK)
        return status;
    struct start start;
    tailing->left = count;
    status = find_start(tailing, &start);
    tailing->left = count;
    if (status == STATUS_OK)
        status = visit_from(tailing, start);
    if (status != STATUS_OK)
        (void)error_set_errno(error, status, errno, "cannot read the audit log");
    free(tailing->first);
    return status;
}

enum status audit_tail(const char *directory, size_t count, audit_visit *visit, void *context,
                       struct error *error)
{
    struct tailing *tailing = calloc(1, sizeof(*tailing));
    if (tailing == NULL)
        return error_set(error, STATUS_NO_MEMORY, "out of memory reading the audit log");
    tailing->visit = visit;
    tailing->context = context;
    tailing->directory = files_open_directory(directory);
    enum status status =
        tailing->directory < 0
            ? error_set_errno(error, STATUS_IO, errno, "cannot open the audit log %s", directory)
            : tail(tailing, count, error);
    if (tailing->directory >= 0)
        (void)close(tailing->directory);
    free(tailing);
    return status;
}
