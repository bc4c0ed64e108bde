/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct faults faults;

/* What the shim gives SQLite; the real file system's own follows it in memory. */
struct file {
    sqlite3_file base;
    sqlite3_file *real;
    const char *path; /* SQLite's, alive as long as the file; NULL: temporary */
    bool is_main;
    bool is_log;
};

static sqlite3_vfs shim;

static struct file *file_of(sqlite3_file *file)
{
    return (struct file *)file;
}

static sqlite3_vfs *real_vfs(void)
{
    return shim.pAppData;
}

/* ---- Faults ---- */

static bool no_space_left(void)
{
    int after = atomic_load(&faults.full_after);
    while (after > 1)
        if (atomic_compare_exchange_weak(&faults.full_after, &after, after - 1))
            return false;
    return after == 1;
}

static int write_fault(struct file *file)
{
    if (file->is_log)
        atomic_fetch_add(&faults.log_writes, 1);
    if (no_space_left()) {
        errno = ENOSPC;
        return SQLITE_FULL;
    }
    if (atomic_load(&faults.read_only)) {
        errno = EROFS;
        return SQLITE_IOERR_WRITE;
    }
    return SQLITE_OK;
}

static int copy(int from, int to)
{
    char buffer[65536];
    ssize_t size;
    while ((size = read(from, buffer, sizeof(buffer))) > 0)
        if (write(to, buffer, (size_t)size) != size)
            return -1;
    return size < 0 ? -1 : 0;
}

/* FILE to FILE.synced, in one step for whoever looks. */
static void keep_synced(const char *path)
{
    char synced[512];
    char unfinished[512];
    (void)snprintf(synced, sizeof(synced), "%s.synced", path);
    (void)snprintf(unfinished, sizeof(unfinished), "%s.unfinished", path);
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from < 0 || to < 0 || copy(from, to) != 0 || rename(unfinished, synced) != 0)
        abort();
    (void)close(from);
    (void)close(to);
}

/* ---- Files ---- */

static int shim_close(sqlite3_file *base)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xClose(file->real);
}

static int shim_read(sqlite3_file *base, void *to, int size, sqlite3_int64 offset)
{
    struct file *file = file_of(base);
    if (atomic_load(&faults.read) && (file->is_main || file->is_log)) {
        errno = EIO;
        return SQLITE_IOERR_READ;
    }
    return file->real->pMethods->xRead(file->real, to, size, offset);
}

static int shim_write(sqlite3_file *base, const void *from, int size, sqlite3_int64 offset)
{
    struct file *file = file_of(base);
    int fault = write_fault(file);
    return fault != SQLITE_OK ? fault
                              : file->real->pMethods->xWrite(file->real, from, size, offset);
}

static int shim_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xTruncate(file->real, size);
}

static int shim_sync(sqlite3_file *base, int flags)
{
    struct file *file = file_of(base);
    if ((file->is_log && atomic_load(&faults.log_sync)) ||
        (file->is_main && atomic_load(&faults.main_sync))) {
        errno = EIO;
        return SQLITE_IOERR_FSYNC;
    }
    int code = file->real->pMethods->xSync(file->real, flags);
    if (code == SQLITE_OK && file->path != NULL && atomic_load(&faults.keep_synced))
        keep_synced(file->path);
    return code;
}

static int shim_size(sqlite3_file *base, sqlite3_int64 *ret_size)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xFileSize(file->real, ret_size);
}

static int shim_lock(sqlite3_file *base, int level)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xLock(file->real, level);
}

static int shim_unlock(sqlite3_file *base, int level)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xUnlock(file->real, level);
}

static int shim_check_lock(sqlite3_file *base, int *ret_locked)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xCheckReservedLock(file->real, ret_locked);
}

static int shim_control(sqlite3_file *base, int operation, void *argument)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xFileControl(file->real, operation, argument);
}

static int shim_sector_size(sqlite3_file *base)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xSectorSize(file->real);
}

static int shim_characteristics(sqlite3_file *base)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xDeviceCharacteristics(file->real);
}

static int shim_map(sqlite3_file *base, int page, int size, int extend, void volatile **ret_map)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xShmMap(file->real, page, size, extend, ret_map);
}

static int shim_map_lock(sqlite3_file *base, int offset, int count, int flags)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xShmLock(file->real, offset, count, flags);
}

static void shim_barrier(sqlite3_file *base)
{
    struct file *file = file_of(base);
    file->real->pMethods->xShmBarrier(file->real);
}

static int shim_unmap(sqlite3_file *base, int delete_flag)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xShmUnmap(file->real, delete_flag);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_lock,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector_size,
    .xDeviceCharacteristics = shim_characteristics,
    .xShmMap = shim_map,
    .xShmLock = shim_map_lock,
    .xShmBarrier = shim_barrier,
    .xShmUnmap = shim_unmap,
};

static int shim_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags,
                     int *ret_flags)
{
    struct file *file = file_of(base);
    *file = (struct file){.real = (sqlite3_file *)(file + 1),
                          .path = path,
                          .is_main = (flags & SQLITE_OPEN_MAIN_DB) != 0,
                          .is_log = (flags & SQLITE_OPEN_WAL) != 0};
    int code = real_vfs()->xOpen(real_vfs(), path, file->real, flags, ret_flags);
    if (file->real->pMethods != NULL)
        file->base.pMethods = &methods;
    return code;
}

/* ---- The whole ---- */

void fault_vfs_install(void)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    shim = *real;
    shim.pNext = NULL;
    shim.zName = "faults";
    shim.pAppData = real;
    shim.szOsFile = (int)sizeof(struct file) + real->szOsFile;
    shim.xOpen = shim_open;
    if (sqlite3_vfs_register(&shim, 1) != SQLITE_OK)
        abort();
}

void fault_vfs_remove(void)
{
    (void)sqlite3_vfs_unregister(&shim);
    memset(&faults, 0, sizeof(faults));
}

void fault_vfs_cut_power(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char file[512];
        char synced[520];
        (void)snprintf(file, sizeof(file), "%s%s", path, suffixes[i]);
        (void)snprintf(synced, sizeof(synced), "%s.synced", file);
        if (rename(synced, file) != 0)
            (void)unlink(file); /* never synced: it is gone */
    }
}
