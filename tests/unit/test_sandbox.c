/* SPDX-License-Identifier: Apache-2.0 */
/* What a process can do no more when it has shut itself in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sandbox.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

enum { GOOD = 7, BAD };

/* How a process ends that shuts itself in, with these calls more, and does something. */
static int end_of(int (*act)(void), const char *const *calls, size_t count)
{
    int status;
    const struct sandbox_options options = {.system_calls = calls, .system_call_count = count};
    pid_t pid = fork();
    if (pid == 0)
        _exit(sandbox_enter(&options, NULL) == STATUS_OK ? act() : BAD);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void expect_good(int status)
{
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), GOOD);
}

static int give_up_privileges(void)
{
    bool good = geteuid() != 0 && getuid() != 0 && getegid() != 0;
    return good && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? GOOD : BAD;
}

static void test_root_is_left(void **state)
{
    static const char *const calls[] = {"prctl"};
    expect_good(end_of(give_up_privileges, calls, ARRAY_COUNT(calls)));
}

#ifndef SANITIZED

static int use_memory_and_time(void)
{
    struct timespec now;
    char *memory = malloc(1u << 20);
    if (memory == NULL || clock_gettime(CLOCK_REALTIME, &now) != 0)
        return BAD;
    memset(memory, 1, 1u << 20);
    free(memory);
    return GOOD;
}

static void test_ordinary_things_go_on(void **state)
{
    expect_good(end_of(use_memory_and_time, NULL, 0));
}

static int open_things(void)
{
    bool refused = open("/dev/null", O_RDONLY) < 0 && errno == EPERM;
    refused = refused && open("/etc/passwd", O_RDONLY) < 0 && errno == EPERM;
    return refused && socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM ? GOOD : BAD;
}

static void test_nothing_is_opened(void **state)
{
    expect_good(end_of(open_things, NULL, 0));
}

/* Landlock alone, where the kernel has it: the call is allowed, and finds nothing. */
static int open_with_calls(void)
{
    int fd = open("/etc/passwd", O_RDONLY);
    return fd < 0 && errno == EACCES ? GOOD : fd >= 0 ? GOOD + 10 : BAD;
}

static void test_files_are_out_of_reach(void **state)
{
    static const char *const calls[] = {"open", "openat"};
    int status = end_of(open_with_calls, calls, ARRAY_COUNT(calls));
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == GOOD + 10)
        skip(); /* this kernel has no Landlock */
    expect_good(status);
}

static int start_program(void)
{
    char *const nothing[] = {NULL};
    (void)execve("/bin/true", nothing, nothing);
    return BAD;
}

static int make_process(void)
{
    return fork() == 0 ? GOOD : BAD;
}

static int look_at_parent(void)
{
    (void)kill(getppid(), 0);
    return BAD;
}

static void test_what_else_ends_the_process(void **state)
{
    int (*const acts[])(void) = {start_program, make_process, look_at_parent};
    for (size_t i = 0; i < ARRAY_COUNT(acts); i++) {
        int status = end_of(acts[i], NULL, 0);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root_is_left),
#ifndef SANITIZED
        cmocka_unit_test(test_ordinary_things_go_on),
        cmocka_unit_test(test_nothing_is_opened),
        cmocka_unit_test(test_files_are_out_of_reach),
        cmocka_unit_test(test_what_else_ends_the_process),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
