/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/kmipctl.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

#define WORDS_MAX 400 /* of what it says, for the text of an error */

bool kmipctl_possible(const struct sim *sim)
{
    return sim->options.state != NULL;
}

/* The one that was named, or the one beside this program, or the one in PATH. */
static void find_program(const struct sim *sim, char path[static PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(path, '/');
    size_t room = slash != NULL ? PATH_MAX - (size_t)(slash + 1 - path) : 0;
    bool beside = room > sizeof("kmipctl");
    if (beside)
        (void)snprintf(slash + 1, room, "kmipctl");
    if (sim->options.kmipctl != NULL)
        (void)snprintf(path, PATH_MAX, "%s", sim->options.kmipctl);
    else if (!beside || !file_exists(path))
        (void)snprintf(path, PATH_MAX, "kmipctl");
}

/* Starts it with standard error in a pipe. */
static enum status start(const char *program, const char *const *words, pid_t *ret_child,
                         int *ret_output, struct error *error)
{
    int ends[2];
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot make a pipe");
    int number = posix_spawn_file_actions_init(&actions);
    if (number == 0) {
        number = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        number = number != 0
                     ? number
                     : posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
        number = number != 0 ? number : posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
        if (number == 0)
            number =
                posix_spawnp(ret_child, program, &actions, NULL, (char *const *)words, environ);
        (void)posix_spawn_file_actions_destroy(&actions);
    }
    (void)close(ends[1]);
    if (number == 0) {
        *ret_output = ends[0];
        return STATUS_OK;
    }
    (void)close(ends[0]);
    return error_set_errno(error, STATUS_IO, number, "cannot run %s: name it with --kmipctl",
                           program);
}

/* What it says, cut, without the line's end. Reads to the end, so that it never waits for us. */
static void collect(int output, char words[static WORDS_MAX])
{
    size_t length = 0;
    for (;;) {
        char rest[256];
        bool room = length < WORDS_MAX - 1;
        ssize_t got = read(output, room ? words + length : rest,
                           room ? WORDS_MAX - 1 - length : sizeof(rest));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += room ? (size_t)got : 0;
    }
    while (length > 0 && words[length - 1] == '\n')
        length--;
    words[length] = '\0';
}

static enum status wait_for(pid_t child, int *ret_result, struct error *error)
{
    while (waitpid(child, ret_result, 0) < 0)
        if (errno != EINTR)
            return error_set_errno(error, STATUS_IO, errno, "cannot wait for kmipctl");
    return STATUS_OK;
}

enum status kmipctl_restore(const struct sim *sim, const char *id, struct error *error)
{
    char program[PATH_MAX];
    char said[WORDS_MAX];
    pid_t child;
    int output;
    int result;
    const char *adapter = sim->options.adapter;
    const char *words[] = {"kmipctl",
                           "--state",
                           sim->options.state,
                           "object",
                           "restore",
                           id,
                           adapter != NULL ? "--adapter" : NULL,
                           adapter,
                           NULL};
    find_program(sim, program);
    enum status status = start(program, words, &child, &output, error);
    if (status != STATUS_OK)
        return status;
    collect(output, said);
    (void)close(output);
    status = wait_for(child, &result, error);
    if (status != STATUS_OK)
        return status;
    if (WIFEXITED(result) && WEXITSTATUS(result) == 0)
        return STATUS_OK;
    return error_set(error, STATUS_INVALID_ARGUMENT, "kmipctl object restore failed: %s",
                     said[0] != '\0' ? said : "it said nothing");
}
