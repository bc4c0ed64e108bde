/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files that must be whole and private: keys, certificates, sealed files. Reading checks who
 * else could have read or written the file; writing replaces it in one step that survives a crash.
 * Errors carry a text for the administrator.
 */
#ifndef KMIPD_BASE_FILE_H
#define KMIPD_BASE_FILE_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/secret.h"

enum file_privacy {
    FILE_PUBLIC,     /* anyone may read it */
    FILE_PRIVATE,    /* owned by the effective user, no rights for group and others */
    FILE_CREDENTIAL, /* owned by the effective user or root, no rights for others; the group may
                        read: where systemd grants a credential by an ACL, its mask shows there */
};

/*
 * Reads a regular file whole into an empty buffer; the buffer's maximum bounds the size.
 * STATUS_NOT_FOUND: no such file; STATUS_TOO_LARGE; STATUS_NO_MEMORY; STATUS_IO: everything else,
 * wrong owner or permissions among it. The buffer is empty after a failure.
 */
enum status file_read(const char *path, enum file_privacy privacy, struct buffer *ret_content,
                      struct error *error) MUST_USE;

/* As file_read(), at most `maximum` bytes into the secret heap, through no other memory. */
enum status file_read_secret(const char *path, enum file_privacy privacy, size_t maximum,
                             struct secret *ret_content, struct error *error) MUST_USE;

/* Whether something stands at `path` (a dangling symbolic link counts). False also if one may not
 * look. */
bool file_exists(const char *path);

/*
 * Locks the directory that `path` is in (flock) against all who change files in it through this
 * module, other processes included; blocks until it is free. End: file_unlock().
 */
enum status file_lock(const char *path, int *ret_lock, struct error *error) MUST_USE;
void file_unlock(int lock);

enum file_replace_flags {
    FILE_MUST_BE_NEW = 1,   /* STATUS_EXISTS if `path` is there */
    FILE_KEEP_PREVIOUS = 2, /* what stood at `path` stays as `path`.previous */
};

/*
 * Puts `content` at `path` with exactly the permissions `mode`: written aside as `path`.new,
 * synced, renamed, the directory synced. At every moment `path` is whole, old or new; a left-over
 * `path`.new of a crash is removed by the next call. `lock` is what file_lock(path) gave.
 * After STATUS_OK the content is on stable storage.
 */
enum status file_replace(int lock, const char *path, struct bytes content, unsigned mode,
                         unsigned flags, struct error *error) MUST_USE;

#endif
