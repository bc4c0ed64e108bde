/* SPDX-License-Identifier: Apache-2.0 */
/* What a process can do no more when it has shut itself in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

static bool shut_in(const struct sandbox_options *options)
{
    return sandbox_drop_privileges(SANDBOX_NOBODY, NULL) == STATUS_OK &&
           sandbox_enter(options, NULL) == STATUS_OK;
}

static int end_with(int (*act)(void), const struct sandbox_options *options)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(shut_in(options) ? act() : BAD);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* How a process ends that shuts itself in, with these calls more, and does something. */
static int end_of(int (*act)(void), const char *const *calls, size_t count)
{
    const struct sandbox_options options = {.calls = {{calls, count}}};
    return end_with(act, &options);
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

/* ---- Options ---- */

static int make_code(void)
{
    void *code =
        mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return code == MAP_FAILED && errno == EPERM ? GOOD : BAD;
}

static int make_code_of_data(void)
{
    void *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return BAD;
    return mprotect(data, 4096, PROT_READ | PROT_EXEC) != 0 && errno == EPERM ? GOOD : BAD;
}

static void test_memory_is_not_code(void **state)
{
    int (*const acts[])(void) = {make_code, make_code_of_data};
    const struct sandbox_options refusing = {.refuse = true};
    const struct sandbox_options foreign = {.refuse = true, .any_memory = true};
    for (size_t i = 0; i < ARRAY_COUNT(acts); i++) {
        int status = end_of(acts[i], NULL, 0);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
        expect_good(end_with(acts[i], &refusing));
        status = end_with(acts[i], &foreign);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), BAD); /* it may */
    }
}

static void *end_at_once(void *argument)
{
    return argument;
}

static int make_thread(void)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, end_at_once, NULL) == 0 && pthread_join(thread, NULL) == 0
               ? GOOD
               : BAD;
}

static void test_threads_but_no_processes(void **state)
{
    const struct sandbox_options threads = {.threads = true};
    const struct sandbox_options refusing = {.refuse = true};
    expect_good(end_with(make_thread, &threads));
    int status = end_with(make_process, &threads);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
    status = end_with(make_thread, &refusing);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), BAD);
}

static int look_at_parent_in_vain(void)
{
    return kill(getppid(), 0) != 0 && errno == EPERM ? GOOD : BAD;
}

static int name_and_more(void)
{
    if (prctl(PR_SET_NAME, "sandboxed", 0, 0, 0) != 0)
        return BAD;
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0 && errno == EPERM ? GOOD : BAD;
}

static void test_refusing(void **state)
{
    const struct sandbox_options refusing = {.refuse = true, .threads = true};
    expect_good(end_with(open_things, &refusing));
    expect_good(end_with(look_at_parent_in_vain, &refusing));
    expect_good(end_with(name_and_more, &refusing));
    int status = end_with(start_program, &refusing); /* what only an attacker does */
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
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
        cmocka_unit_test(test_memory_is_not_code),
        cmocka_unit_test(test_threads_but_no_processes),
        cmocka_unit_test(test_refusing),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
