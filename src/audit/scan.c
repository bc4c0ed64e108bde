/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/scan.h"

#include <errno.h>
#include <unistd.h>

#define SECTOR 512 /* the smallest unit that a disk writes */
#define NONE   UINT64_MAX

static ssize_t read_at(int file, void *to, size_t size, uint64_t offset)
{
    ssize_t got;
    do
        got = pread(file, to, size, (off_t)offset);
    while (got < 0 && errno == EINTR);
    return got;
}

void scan_begin(struct scan *scan, int file, uint64_t offset)
{
    scan->file = file;
    scan->offset = offset;
    scan->at = 0;
    scan->size = 0;
}

/* Moves what is left to the front and reads on behind it. */
static enum status fill(struct scan *scan, bool *ret_end)
{
    size_t left = scan->size - scan->at;
    memmove(scan->data, scan->data + scan->at, left);
    scan->at = 0;
    scan->size = left;
    ssize_t got =
        read_at(scan->file, scan->data + left, sizeof(scan->data) - left, scan->offset + left);
    if (got < 0)
        return STATUS_IO;
    scan->size += (size_t)got;
    *ret_end = got == 0;
    return STATUS_OK;
}

enum status scan_next(struct scan *scan, struct bytes *ret_line, bool *ret_found)
{
    for (;;) {
        const uint8_t *start = scan->data + scan->at;
        size_t left = scan->size - scan->at;
        const uint8_t *newline = left == 0 ? NULL : memchr(start, '\n', left);
        if (newline != NULL) {
            *ret_line = bytes_of(start, (size_t)(newline - start));
            *ret_found = true;
            scan->at += ret_line->size + 1;
            scan->offset += ret_line->size + 1;
            return STATUS_OK;
        }
        bool end = left >= RECORD_SIZE_MAX;
        enum status status = end ? STATUS_OK : fill(scan, &end);
        *ret_found = false;
        if (status != STATUS_OK || end)
            return status;
    }
}

/* Offsets in the file, NONE where there is no such thing. */
struct tail {
    uint64_t start;
    uint64_t data_end;  /* behind the last byte that is not zero */
    uint64_t zeros;     /* the first zero */
    uint64_t zeros_end; /* behind the first run of zeros, where bytes follow */
    bool newline;       /* before the first zero: a whole line that is no record */
};

static void look_at(struct tail *tail, uint8_t byte, uint64_t offset)
{
    if (byte == 0) {
        if (tail->zeros == NONE)
            tail->zeros = offset;
        return;
    }
    tail->data_end = offset + 1;
    if (tail->zeros == NONE)
        tail->newline |= byte == '\n';
    else if (tail->zeros_end == NONE)
        tail->zeros_end = offset;
}

static bool is_unfinished(const struct tail *tail)
{
    uint64_t size = tail->data_end - tail->start;
    if (tail->newline)
        return false;
    if (tail->zeros_end == NONE)
        return size < RECORD_SIZE_MAX;
    return size <= SCAN_UNFINISHED_MAX && tail->zeros_end % SECTOR == 0 &&
           (tail->zeros == tail->start || tail->zeros % SECTOR == 0);
}

enum status scan_tail(int file, uint64_t offset, enum scan_tail *ret_tail, uint64_t *ret_size)
{
    struct tail tail = {offset, offset, NONE, NONE, false};
    uint8_t block[8192];
    uint64_t at = offset;
    while (tail.data_end - offset <= SCAN_UNFINISHED_MAX) {
        ssize_t got = read_at(file, block, sizeof(block), at);
        if (got < 0)
            return STATUS_IO;
        if (got == 0)
            break;
        for (ssize_t i = 0; i < got; i++)
            look_at(&tail, block[i], at + (uint64_t)i);
        at += (uint64_t)got;
    }
    *ret_size = tail.data_end - offset;
    *ret_tail = *ret_size == 0         ? SCAN_TAIL_CLEAN
                : is_unfinished(&tail) ? SCAN_TAIL_UNFINISHED
                                       : SCAN_TAIL_BROKEN;
    return STATUS_OK;
}
