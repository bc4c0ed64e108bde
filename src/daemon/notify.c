/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 1024

static struct sockaddr_un manager;
static socklen_t manager_size; /* 0: there is none */
static int64_t watchdog_microseconds;

static void find_manager(const char *path)
{
    size_t length = path != NULL ? strlen(path) : 0;
    if (length < 2 || length >= sizeof(manager.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    manager.sun_family = AF_UNIX;
    memcpy(manager.sun_path, path, length);
    if (path[0] == '@')
        manager.sun_path[0] = '\0'; /* the abstract namespace, unix(7) */
    manager_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

static void find_watchdog(const char *microseconds, const char *process)
{
    if (microseconds == NULL || (process != NULL && strtoll(process, NULL, 10) != getpid()))
        return;
    watchdog_microseconds = strtoll(microseconds, NULL, 10);
    if (watchdog_microseconds < 0)
        watchdog_microseconds = 0;
}

void notify_init(void)
{
    find_manager(getenv("NOTIFY_SOCKET"));
    find_watchdog(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
}

void notify_send(const char *format, ...)
{
    if (manager_size == 0)
        return;
    char message[MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (length < 0 || descriptor < 0)
        return;
    size_t size = (size_t)length < sizeof(message) ? (size_t)length : sizeof(message) - 1;
    /* The service manager's trouble must not become the server's. */
    (void)sendto(descriptor, message, size, MSG_NOSIGNAL, (const struct sockaddr *)&manager,
                 manager_size);
    (void)close(descriptor);
}

void notify_reloading(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=Reloading",
                (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

int64_t notify_watchdog_interval(void)
{
    return watchdog_microseconds / 1000 / 2;
}
