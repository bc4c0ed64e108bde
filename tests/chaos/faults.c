/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of the system on demand: preloaded (LD_PRELOAD) into a server under test. What fails is
 * read from a shared page, the file that $FAULTS names, which the test changes while the server
 * runs (tests/chaos/faults.py).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Files are told apart by their path. */
enum kind { STORE, AUDIT, KIND_COUNT, OTHER = KIND_COUNT };
static const char *const marks[KIND_COUNT] = {[STORE] = "/store.db", [AUDIT] = "/audit-"};

enum call { READ, WRITE, SYNC, CALL_COUNT };

struct faults {
    int64_t clock; /* milliseconds that the wall clock is away from the truth */
    struct {
        int32_t failure; /* errno; 0: none */
        int32_t count;   /* calls that failed */
    } calls[KIND_COUNT][CALL_COUNT];
};

static struct faults none;
static volatile struct faults *faults = &none;

__attribute__((constructor)) static void map_faults(void)
{
    const char *path = getenv("FAULTS");
    int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED)
        faults = page;
    (void)close(file);
}

static enum kind kind_of(int file)
{
    char link[64] = "/proc/self/fd/";
    char path[4096];
    char digits[16];
    size_t at = sizeof(digits);
    unsigned number = (unsigned)file;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    size_t start = strlen(link);
    memcpy(link + start, digits + at, sizeof(digits) - at);
    link[start + sizeof(digits) - at] = '\0';
    ssize_t size = readlink(link, path, sizeof(path) - 1);
    if (size <= 0)
        return OTHER;
    path[size] = '\0';
    for (int i = 0; i < KIND_COUNT; i++)
        if (strstr(path, marks[i]) != NULL)
            return (enum kind)i;
    return OTHER;
}

static int fails(int file, enum call call)
{
    int any = 0;
    for (int i = 0; i < KIND_COUNT; i++)
        any |= faults->calls[i][call].failure;
    if (any == 0)
        return 0;
    int before = errno;
    enum kind kind = kind_of(file);
    errno = before;
    int failure = kind == OTHER ? 0 : faults->calls[kind][call].failure;
    if (failure == 0)
        return 0;
    __atomic_add_fetch(&faults->calls[kind][call].count, 1, __ATOMIC_RELAXED);
    errno = failure;
    return 1;
}

ssize_t read(int file, void *data, size_t size)
{
    return fails(file, READ) ? -1 : syscall(SYS_read, file, data, size);
}

ssize_t pread(int file, void *data, size_t size, off_t offset)
{
    return fails(file, READ) ? -1 : syscall(SYS_pread64, file, data, size, offset);
}

ssize_t pread64(int file, void *data, size_t size, off64_t offset)
{
    return pread(file, data, size, offset);
}

ssize_t write(int file, const void *data, size_t size)
{
    return fails(file, WRITE) ? -1 : syscall(SYS_write, file, data, size);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t offset)
{
    return fails(file, WRITE) ? -1 : syscall(SYS_pwrite64, file, data, size, offset);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset)
{
    return pwrite(file, data, size, offset);
}

int fsync(int file)
{
    return fails(file, SYNC) ? -1 : (int)syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    return fails(file, SYNC) ? -1 : (int)syscall(SYS_fdatasync, file);
}

int clock_gettime(clockid_t id, struct timespec *time)
{
    int result = (int)syscall(SYS_clock_gettime, id, time);
    if (result == 0 && id == CLOCK_REALTIME) {
        int64_t moved = time->tv_nsec / 1000000 + faults->clock % 1000;
        time->tv_sec += faults->clock / 1000 + (moved < 0 ? -1 : moved / 1000);
        time->tv_nsec = (moved + 1000) % 1000 * 1000000 + time->tv_nsec % 1000000;
    }
    return result;
}

time_t time(time_t *ret_time)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret_time != NULL)
        *ret_time = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *ret_time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}
