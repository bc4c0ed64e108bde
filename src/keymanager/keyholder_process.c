/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "keymanager/keyholder_parts.h"

extern char **environ;

/* Of the environment, what a keyholder needs itself; with a module, whose vendor alone knows what it
 * needs, all but what is a service manager's word to kmipd. */
static const char *const needed[] = {"CREDENTIALS_DIRECTORY=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=",
                                     "TSS2_LOG="};
static const char *const kmipds_own[] = {"NOTIFY_SOCKET=", "WATCHDOG_", "LISTEN_", "LD_",
                                         "JOURNAL_STREAM="};

static bool begins_with_one(const char *variable, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static char **environment_for(bool module)
{
    size_t count = 0;
    size_t kept = 0;
    while (environ != NULL && environ[count] != NULL)
        count++;
    char **list = calloc(count + 1, sizeof(*list));
    for (size_t i = 0; list != NULL && i < count; i++)
        if (module ? !begins_with_one(environ[i], kmipds_own, ARRAY_COUNT(kmipds_own))
                   : begins_with_one(environ[i], needed, ARRAY_COUNT(needed)))
            list[kept++] = environ[i];
    return list;
}

/* It inherits one descriptor besides standard error, and blocks no signal. */
static int spawn(const char *program, char **environment, int socket, pid_t *ret_pid)
{
    char name[] = "kmipd";
    char argument[] = "keyholder";
    char *const arguments[] = {name, argument, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    (void)sigemptyset(&none);
    int result = posix_spawn_file_actions_init(&actions);
    if (result != 0)
        return result;
    result = posix_spawnattr_init(&attributes);
    if (result != 0) {
        (void)posix_spawn_file_actions_destroy(&actions);
        return result;
    }
    if ((result = posix_spawn_file_actions_adddup2(&actions, socket, KEYHOLDER_DESCRIPTOR)) == 0 &&
        (result = posix_spawn_file_actions_addclosefrom_np(&actions, KEYHOLDER_DESCRIPTOR + 1)) ==
            0 &&
        (result = posix_spawnattr_setsigmask(&attributes, &none)) == 0 &&
        (result = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK)) == 0)
        result = posix_spawn(ret_pid, program, &actions, &attributes, arguments, environment);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return result;
}

enum status keyholder_process_start(const char *program, bool module, pid_t *ret_pid,
                                    int *ret_socket, struct error *error)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot make a socket for the keyholder");
    char **environment = environment_for(module);
    int result = environment == NULL ? ENOMEM : spawn(program, environment, ends[1], ret_pid);
    free(environment);
    (void)close(ends[1]);
    if (result != 0) {
        (void)close(ends[0]);
        return error_set_errno(error, STATUS_IO, result, "cannot start the keyholder process (%s)",
                               program);
    }
    *ret_socket = ends[0];
    return STATUS_OK;
}

/* False: it has not ended within so many milliseconds. */
static bool reap(pid_t pid, int64_t patience, int *ret_status)
{
    const struct timespec a_moment = {0, 2000000};
    int64_t limit = clock_monotonic() + patience;
    for (;;) {
        pid_t result = waitpid(pid, ret_status, WNOHANG);
        if (result == pid || (result < 0 && errno != EINTR))
            return true;
        if (clock_monotonic() >= limit)
            return false;
        (void)nanosleep(&a_moment, NULL);
    }
}

void keyholder_process_end(pid_t pid, int64_t patience, char ret_text[static KEYHOLDER_END_TEXT])
{
    int status = 0;
    if (!reap(pid, patience, &status)) {
        (void)kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    if (WIFSIGNALED(status))
        (void)snprintf(ret_text, KEYHOLDER_END_TEXT, "signal %d (%s)", WTERMSIG(status),
                       sigdescr_np(WTERMSIG(status)));
    else
        (void)snprintf(ret_text, KEYHOLDER_END_TEXT, "exit code %d", WEXITSTATUS(status));
}
