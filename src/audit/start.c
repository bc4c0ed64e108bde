/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/start.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/check.h"
#include "audit/files.h"

/* What is on disk: the files, and in which of them the last record stands. */
struct found {
    uint64_t *first;
    size_t count;
    size_t index; /* of the file with the last record; `count`: there is no record */
    uint64_t offset;
    uint64_t cut;
    struct chain_position last;
};

static enum status sync_parent(int directory, const char *path, struct error *error)
{
    int parent = openat(directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum status status = STATUS_OK;
    if (parent < 0 || fsync(parent) != 0)
        status = error_set_errno(error, STATUS_IO, errno, "cannot sync the parent of %s", path);
    if (parent >= 0)
        (void)close(parent);
    return status;
}

enum status start_open_directory(const char *path, int *ret_directory, struct error *error)
{
    bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST)
        return error_set_errno(error, STATUS_IO, errno, "cannot make the audit log %s", path);
    int directory = files_open_directory(path);
    if (directory < 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot open the audit log %s", path);
    enum status status = made ? sync_parent(directory, path, error) : STATUS_OK;
    if (status == STATUS_OK)
        *ret_directory = directory;
    else
        (void)close(directory);
    return status;
}

enum status start_lock(int directory, const char *path, int *ret_lock, struct error *error)
{
    int lock = files_lock(directory);
    if (lock < 0 && errno == EAGAIN)
        return error_set(error, STATUS_IO,
                         "the audit log %s is in use: is another server running on it?", path);
    if (lock < 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot lock the audit log %s", path);
    *ret_lock = lock;
    return STATUS_OK;
}

/* Looks for the last record from the newest file back: a file may have been made just before a
 * power cut and hold none yet. */
static enum status find_last(struct check *check, struct found *found, struct error *error)
{
    found->index = found->count;
    for (size_t i = found->count; i-- > 0;) {
        struct check_end end;
        enum status status = check_file(check, found->first[i], true, &end, error);
        if (status != STATUS_OK)
            return status;
        found->cut += end.tail_size;
        if (!check->anchored)
            continue;
        found->index = i;
        found->offset = end.offset;
        found->last = check->chain.position;
        return STATUS_OK;
    }
    return STATUS_OK;
}

static enum status check_known(const struct found *found, const struct audit_options *options,
                               struct error *error)
{
    if (found->last.sequence >= options->known_sequence)
        return STATUS_OK;
    return error_set(error, STATUS_AUDIT_BROKEN,
                     "the audit log %s ends with record %" PRIu64 ", but record %" PRIu64
                     " was written: records were removed. Restore its files from a backup",
                     options->directory, found->last.sequence, options->known_sequence);
}

/* Deletes the files behind the one with the last record: they hold none. */
static enum status remove_empty(int directory, const struct found *found, struct error *error)
{
    size_t from = found->index == found->count ? 0 : found->index + 1;
    for (size_t i = from; i < found->count; i++) {
        char name[FILES_NAME_SIZE];
        files_name(found->first[i], name);
        if (unlinkat(directory, name, 0) != 0)
            return error_set_errno(error, STATUS_IO, errno, "cannot delete the empty %s", name);
    }
    return STATUS_OK;
}

static enum status go_on(int directory, const struct found *found, struct start *ret_start,
                         struct error *error)
{
    enum status status = remove_empty(directory, found, error);
    if (status != STATUS_OK)
        return status;
    struct start start = {.last = found->last, .cut = found->cut};
    if (found->index == found->count)
        status = segment_create(&start.segment, directory, found->last.sequence + 1);
    else
        status =
            segment_reopen(&start.segment, directory, found->first[found->index], found->offset);
    if (status != STATUS_OK)
        return error_set_errno(error, STATUS_IO, start.segment.failure,
                               "cannot write the audit log");
    *ret_start = start;
    return STATUS_OK;
}

enum status start_find_end(int directory, const struct audit_options *options,
                           struct start *ret_start, struct error *error)
{
    struct found found = {0};
    struct check *check;
    enum status status = check_new(directory, &check, error);
    if (status != STATUS_OK)
        return status;
    check->known.sequence = options->known_sequence;
    memcpy(check->known.value, options->known_chain, AUDIT_HASH_SIZE);
    status = files_list(directory, &found.first, &found.count, error);
    if (status == STATUS_OK)
        status = find_last(check, &found, error);
    if (status == STATUS_OK)
        status = check_known(&found, options, error);
    if (status == STATUS_OK)
        status = go_on(directory, &found, ret_start, error);
    free(found.first);
    check_free(check);
    return status;
}
