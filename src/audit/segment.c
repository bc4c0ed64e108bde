/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/files.h"
#include "audit/record.h"
#include "base/hex.h"

#define EXTENSION (UINT64_C(1) << 20)

static enum status failed(struct segment *segment, int why)
{
    segment->failure = why;
    return STATUS_AUDIT_FAILED;
}

static enum status sync_failed(struct segment *segment)
{
    segment->suspect = true;
    return failed(segment, errno);
}

/* Writes as much as can be written, and returns that; less than data.size: see errno. */
static size_t write_at(int file, struct bytes data, uint64_t offset)
{
    size_t done = 0;
    while (done < data.size) {
        ssize_t written = pwrite(file, data.data + done, data.size - done, (off_t)(offset + done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break;
        done += (size_t)written;
    }
    return done;
}

/*
 * Puts zeros behind the file so that it has at least `needed` bytes. Synced on its own, so that
 * records only ever overwrite zeros that are on stable storage: whatever a power cut leaves of them
 * is whole sectors of either.
 */
static enum status extend(struct segment *segment, uint64_t needed)
{
    static const uint8_t zeros[65536];
    uint64_t goal = (needed + EXTENSION - 1) / EXTENSION * EXTENSION;
    uint64_t end = segment->allocated;
    while (end < goal) {
        size_t size = goal - end < sizeof(zeros) ? (size_t)(goal - end) : sizeof(zeros);
        size_t written = write_at(segment->file, bytes_of(zeros, size), end);
        end += written;
        if (written == size)
            continue;
        if (end < needed)
            return failed(segment, errno);
        break; /* the last room on the disk, and enough */
    }
    if (fdatasync(segment->file) != 0)
        return sync_failed(segment);
    segment->allocated = end;
    return STATUS_OK;
}

static int create_file(int directory, uint64_t first)
{
    int file = files_open(directory, first, O_RDWR | O_CREAT | O_EXCL);
    if (file < 0)
        return -1;
    if (fsync(file) == 0 && fsync(directory) == 0)
        return file;
    int why = errno;
    char name[FILES_NAME_SIZE];
    files_name(first, name);
    (void)unlinkat(directory, name, 0);
    (void)close(file);
    errno = why;
    return -1;
}

enum status segment_create(struct segment *segment, int directory, uint64_t first)
{
    int file = create_file(directory, first);
    if (file < 0)
        return failed(segment, errno);
    *segment = (struct segment){.directory = directory, .file = file, .first = first};
    return STATUS_OK;
}

enum status segment_reopen(struct segment *segment, int directory, uint64_t first, uint64_t size)
{
    int file = files_open(directory, first, O_RDWR);
    if (file < 0)
        return failed(segment, errno);
    if (ftruncate(file, (off_t)size) != 0 || fsync(file) != 0) {
        int why = errno;
        (void)close(file);
        return failed(segment, why);
    }
    *segment = (struct segment){.directory = directory,
                                .file = file,
                                .first = first,
                                .size = size,
                                .synced = size,
                                .allocated = size};
    return STATUS_OK;
}

enum status segment_write(struct segment *segment, struct bytes data)
{
    uint64_t end = segment->size + data.size;
    if (end > segment->allocated) {
        enum status status = extend(segment, end);
        if (status != STATUS_OK)
            return status;
    }
    if (write_at(segment->file, data, segment->size) != data.size)
        return failed(segment, errno);
    segment->size = end;
    return STATUS_OK;
}

/* Records in a file that has no name any more would be gone with the process. */
static enum status check_still_there(struct segment *segment)
{
    struct stat state;
    if (fstat(segment->file, &state) != 0)
        return failed(segment, errno);
    return state.st_nlink > 0 ? STATUS_OK : failed(segment, ENOENT);
}

enum status segment_sync(struct segment *segment)
{
    if (fdatasync(segment->file) != 0)
        return sync_failed(segment);
    enum status status = check_still_there(segment);
    if (status == STATUS_OK)
        segment->synced = segment->size;
    return status;
}

/* Cuts off everything behind the records that are on stable storage. */
static enum status trim(struct segment *segment)
{
    segment->size = segment->synced;
    segment->allocated = segment->synced;
    if (ftruncate(segment->file, (off_t)segment->synced) != 0)
        return failed(segment, errno);
    return fsync(segment->file) == 0 ? STATUS_OK : sync_failed(segment);
}

static enum status replace(struct segment *segment, uint64_t first)
{
    int old = segment->file;
    enum status status = segment_create(segment, segment->directory, first);
    if (status == STATUS_OK)
        (void)close(old); /* synced already */
    return status;
}

enum status segment_rotate(struct segment *segment, uint64_t first)
{
    enum status status = segment_sync(segment);
    if (status == STATUS_OK)
        status = trim(segment);
    return status == STATUS_OK ? replace(segment, first) : status;
}

static enum status check_end(struct segment *segment, const struct chain_position *last)
{
    char found[RECORD_SUFFIX_SIZE];
    char digits[RECORD_DIGITS];
    if (segment->synced == 0)
        return STATUS_OK;
    ssize_t got =
        pread(segment->file, found, sizeof(found), (off_t)(segment->synced - sizeof(found)));
    if (got != (ssize_t)sizeof(found))
        return failed(segment, got < 0 ? errno : EIO);
    hex_encode(bytes_of(last->value, AUDIT_HASH_SIZE), digits);
    size_t at = sizeof(RECORD_CHAIN_MEMBER) - 1;
    return memcmp(found + at, digits, sizeof(digits)) == 0 ? STATUS_OK : failed(segment, EIO);
}

enum status segment_recover(struct segment *segment, const struct chain_position *last)
{
    enum status status = check_still_there(segment);
    if (status == STATUS_OK)
        status = trim(segment);
    if (status == STATUS_OK)
        status = check_end(segment, last);
    if (status == STATUS_OK && segment->suspect && segment->size > 0)
        status = replace(segment, last->sequence + 1);
    if (status == STATUS_OK)
        status = extend(segment, segment->size + RECORD_SIZE_MAX);
    if (status == STATUS_OK)
        segment->suspect = false;
    return status;
}

void segment_close(struct segment *segment)
{
    if (segment->file < 0)
        return;
    /* Where this fails, the next audit_open() does it. */
    (void)trim(segment);
    (void)close(segment->file);
    segment->file = -1;
}
