/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system for SQLite that fails when it is told to, in front of the real one. It also keeps,
 * beside each file, what of it was synced last: what a power cut would leave.
 */
#ifndef KMIPD_UNIT_FAULT_VFS_H
#define KMIPD_UNIT_FAULT_VFS_H

#include <stdatomic.h>
#include <stdbool.h>

/* Each is off at 0. Any thread may set them at any time. */
struct faults {
    atomic_int full_after;   /* n: the nth write from now on, and all after it, find no space */
    atomic_bool read_only;   /* writes are refused */
    atomic_bool log_sync;    /* syncing the write-ahead log fails */
    atomic_bool main_sync;   /* syncing the database fails */
    atomic_bool read;        /* reading the database or the log fails */
    atomic_bool keep_synced; /* each sync copies the file to FILE.synced */
    atomic_int log_writes;   /* counted: writes to the log */
};

extern struct faults faults;

/* Makes it the file system that stores are opened on; and back, with all faults off. */
void fault_vfs_install(void);
void fault_vfs_remove(void);

/* Puts what was synced last in the place of the files of a store; needs keep_synced. */
void fault_vfs_cut_power(const char *path);

#endif
