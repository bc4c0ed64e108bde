/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 2048

static _Atomic int threshold = LOG_LEVEL_INFO;
static int to_journal;

static const char *const words[] = {
    [LOG_LEVEL_CRITICAL] = "CRITICAL", [LOG_LEVEL_ERROR] = "ERROR", [LOG_LEVEL_WARNING] = "WARNING",
    [LOG_LEVEL_NOTICE] = "NOTICE",     [LOG_LEVEL_INFO] = "INFO",   [LOG_LEVEL_DEBUG] = "DEBUG",
};

void log_init(enum log_level level, int journal)
{
    atomic_store(&threshold, level);
    to_journal = journal;
}

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, level);
}

static int write_prefix(char *line, size_t size, enum log_level level)
{
    if (to_journal)
        return snprintf(line, size, "<%d>", level);
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    char time[32];
    (void)strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &utc);
    return snprintf(line, size, "%s.%03ldZ %s ", time, now.tv_nsec / 1000000, words[level]);
}

void log_write(enum log_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    char line[LINE_SIZE];
    int prefix = write_prefix(line, sizeof(line), level);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line + prefix, sizeof(line) - (size_t)prefix - 1, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    size_t end = (size_t)prefix + (size_t)length;
    if (end > sizeof(line) - 2)
        end = sizeof(line) - 2;
    for (size_t i = (size_t)prefix; i < end; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7F)
            line[i] = '?';
    line[end++] = '\n';
    /* A log that cannot be written must not stop the server. */
    ssize_t written = write(STDERR_FILENO, line, end);
    (void)written;
}
