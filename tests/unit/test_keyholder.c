/* SPDX-License-Identifier: Apache-2.0 */
/* The keyholder process, from both sides of its socket. What it answers is tested by
 * test_keymanager_conformance; here is what may go wrong on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "keyholder/bucket.h"
#include "keyholder/keyholder.h"
#include "keyholder/limits.h"
#include "keymanager/keyholder_parts.h"

#define NOW INT64_C(1700000000000)

static const struct bytes key_bytes = {(const uint8_t *)"0123456789abcdef0123456789abcdef", 32};

/* ---- A keyholder for each test ---- */

struct world {
    char directory[64];
    char path[96];
    char key_path[96];
    struct keyholder_options options;
    struct keyholder *keyholder;
    struct keymanager *keymanager;
    struct wrap_binding binding;
    struct buffer blob;
    pthread_mutex_t lock; /* of the texts */
    int events[KEYHOLDER_GONE + 1];
    char last_text[KEYHOLDER_GONE + 1][800];
};

static void on_event(void *context, enum keyholder_event event, const char *text)
{
    struct world *world = context;
    (void)pthread_mutex_lock(&world->lock);
    world->events[event]++;
    (void)snprintf(world->last_text[event], sizeof(world->last_text[event]), "%s", text);
    (void)pthread_mutex_unlock(&world->lock);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    (void)snprintf(world->directory, sizeof(world->directory), "/tmp/kmipd-test-XXXXXX");
    if (mkdtemp(world->directory) == NULL)
        return -1;
    (void)pthread_mutex_init(&world->lock, NULL);
    (void)snprintf(world->path, sizeof(world->path), "%s/keys", world->directory);
    (void)snprintf(world->key_path, sizeof(world->key_path), "%s/seal", world->directory);
    world->options = (struct keyholder_options){
        .settings = {.secret_memory = 1 << 22,
                     .sealed_path = world->path,
                     .create = true,
                     .sealing = {.kind = SEALING_SOURCE_KEY_FILE, .path = world->key_path}},
        .event = on_event,
        .context = world,
    };
    *state = world;
    return 0;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *place)
{
    return remove(path);
}

static int tear_down(void **state)
{
    struct world *world = *state;
    keyholder_free(world->keyholder);
    buffer_free(&world->blob);
    (void)nftw(world->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    (void)pthread_mutex_destroy(&world->lock);
    free(world);
    return 0;
}

static void must(enum status status, const struct error *error)
{
    if (status != STATUS_OK)
        fail_msg("%s", error_text(error));
}

static void open_keyholder(struct world *world)
{
    struct error error = {0};
    must(keyholder_open(&world->options, &world->keyholder, &error), &error);
    world->keymanager = keyholder_keymanager(world->keyholder, KEYMANAGER_SEALED_FILE);
    assert_non_null(world->keymanager);
    assert_null(keyholder_keymanager(world->keyholder, KEYMANAGER_PKCS11));
    assert_null(keyholder_keymanager(world->keyholder, KEYMANAGER_KEY_PROTECT));
}

/* And a root key with something wrapped under it. */
static void open_with_blob(struct world *world)
{
    struct error error = {0};
    struct secret key = {0};
    const struct root_key_wish wish = {.now = NOW};
    open_keyholder(world);
    must(keymanager_create_root_key(world->keymanager, &wish, &world->binding.root_key, &error),
         &error);
    buffer_init(&world->blob, 4096);
    must(secret_copy(&key, key_bytes), &error);
    must(keymanager_wrap(world->keymanager, &world->binding, &key, &world->blob), &error);
    secret_free(&key);
}

static enum status unwrap(struct world *world)
{
    struct secret opened = {0};
    enum status status =
        keymanager_unwrap(world->keymanager, &world->binding,
                          (struct wrapped){buffer_bytes(&world->blob)}, &opened, NULL);
    if (status == STATUS_OK)
        assert_true(bytes_equal(secret_bytes(&opened), key_bytes));
    secret_free(&opened);
    return status;
}

static struct keyholder_status status_of(struct world *world)
{
    struct keyholder_status status;
    keyholder_status(world->keyholder, &status);
    return status;
}

static void sleep_ms(int milliseconds)
{
    const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    (void)nanosleep(&time, NULL);
}

/* Until it runs and is not the process that it was. */
static void wait_for_other(struct world *world, pid_t before)
{
    for (int i = 0; i < 2000; i++) {
        struct keyholder_status status = status_of(world);
        if (status.ready && status.pid != before)
            return;
        sleep_ms(5);
    }
    fail_msg("the keyholder was not started again");
}

/* ---- Starting ---- */

static void test_starts_and_stops(void **state)
{
    struct world *world = *state;
    open_with_blob(world);
    struct keyholder_status status = status_of(world);
    assert_true(status.pid > 0);
    assert_true(status.ready);
    assert_int_equal(status.starts, 1);
    assert_int_equal(world->events[KEYHOLDER_STARTED], 1);
    assert_int_equal(unwrap(world), STATUS_OK);
    keyholder_stop(world->keyholder);
    assert_int_equal(kill(status.pid, 0), -1); /* reaped */
    assert_int_equal(errno, ESRCH);
    assert_int_equal(unwrap(world), STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(status_of(world).pid, 0);
    keymanager_close(world->keymanager);
    keyholder_stop(NULL);
    keyholder_free(NULL);
}

static void assert_not_opened(struct world *world, enum status status, const char *expected)
{
    struct error error = {0};
    struct keyholder *none = NULL;
    assert_int_equal(keyholder_open(&world->options, &none, &error), status);
    assert_null(none);
    if (strstr(error.text, expected) == NULL)
        fail_msg("\"%s\" has no \"%s\"", error.text, expected);
}

static void write_file(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), strlen(text));
    assert_int_equal(close(file), 0);
}

static void test_wrong_passphrase(void **state)
{
    struct world *world = *state;
    world->options.settings.sealing.kind = SEALING_SOURCE_PASSPHRASE_FILE;
    assert_not_opened(world, STATUS_NOT_FOUND, world->key_path);
    write_file(world->key_path, "correct horse battery\n");
    open_keyholder(world);
    keyholder_free(world->keyholder);
    world->keyholder = NULL;
    write_file(world->key_path, "correct horse batterz\n");
    assert_not_opened(world, STATUS_NOT_AUTHENTICATED, "another passphrase");
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
    assert_int_equal(errno, ECHILD);
}

static void test_cannot_start(void **state)
{
    struct world *world = *state;
    world->options.program = "/nonexistent/kmipd";
    assert_not_opened(world, STATUS_IO, "/nonexistent/kmipd");
    world->options.program = "/bin/false";
    assert_not_opened(world, STATUS_IO, "exit code 1");
    world->options.program = NULL;
    world->options.settings.create = false;
    assert_not_opened(world, STATUS_NOT_FOUND, "no sealed file");
    world->options.settings.sealed_path = "relative";
    assert_not_opened(world, STATUS_INVALID_ARGUMENT, "relative");
    world->options.settings.sealed_path = world->path;
    world->options.settings.user = "no-such-user-here";
    if (geteuid() == 0)
        assert_not_opened(world, STATUS_NOT_FOUND, "no-such-user-here");
}

static void test_missing_module(void **state)
{
    struct world *world = *state;
    world->options.settings.pkcs11_module = "/nonexistent/module.so";
    world->options.settings.pkcs11_token = "kmipd";
    world->options.settings.pkcs11_pin = "/nonexistent/pin";
    world->options.settings.pkcs11_sessions = 2;
    assert_not_opened(world, STATUS_NOT_FOUND, "/nonexistent");
}

/* ---- What it may do ---- */

static void read_proc(pid_t pid, const char *name, char *text, size_t size, size_t *ret_size)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int file = open(path, O_RDONLY);
    if (file < 0)
        skip(); /* only root may look at a process that is protected */
    ssize_t got = read(file, text, size - 1);
    assert_true(got >= 0);
    text[got] = '\0';
    if (ret_size != NULL)
        *ret_size = (size_t)got;
    (void)close(file);
}

static void test_confined(void **state)
{
    struct world *world = *state;
    char text[8192];
    open_with_blob(world);
    read_proc(status_of(world).pid, "status", text, sizeof(text), NULL);
    static const char *const expected[] = {"\nSeccomp:\t2", "\nNoNewPrivs:\t1",
                                           "\nCapEff:\t0000000000000000",
                                           "\nCapPrm:\t0000000000000000",
                                           "\nCapAmb:\t0000000000000000"};
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
        if (strstr(text, expected[i]) == NULL)
            fail_msg("no \"%s\" in %s", expected[i] + 1, text);
    if (geteuid() == 0)
        assert_non_null(strstr(text, "\nCapBnd:\t0000000000000000"));
}

/* Neither arguments nor environment say anything; there are no descriptors but the four. */
static void test_inherits_nothing(void **state)
{
    struct world *world = *state;
    char text[8192];
    size_t size = 0;
    int extra = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
    assert_int_equal(setenv("KMIPD_TEST_SECRET", "hunter2", 1), 0);
    open_with_blob(world);
    (void)close(extra);
    assert_int_equal(unsetenv("KMIPD_TEST_SECRET"), 0);
    pid_t pid = status_of(world).pid;
    read_proc(pid, "environ", text, sizeof(text), &size);
    assert_null(memmem(text, size, "hunter2", 7));
    assert_null(memmem(text, size, "PATH=", 5));
    read_proc(pid, "cmdline", text, sizeof(text), &size);
    assert_int_equal(size, sizeof("kmipd\0keyholder"));
    assert_memory_equal(text, "kmipd\0keyholder", size);
    for (int i = 4; i < 30; i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, i);
        assert_int_equal(readlink(path, text, sizeof(text)), -1);
    }
}

static void *end_at_once(void *argument)
{
    return argument;
}

/* What a process finds out about itself when it is confined; 0, or the number of the line. */
static int look_around(const struct world *world)
{
    char path[128];
    pthread_t thread;
    struct error error = {0};
    const struct limits limits = {.directory = world->directory};
    (void)snprintf(path, sizeof(path), "%s/new", world->directory);
#define EXPECT(condition) \
    if (!(condition))     \
    return __LINE__
    EXPECT(sandbox_begin(STDERR_FILENO, &error) == STATUS_OK);
    EXPECT(sandbox_drop_privileges("", &error) == STATUS_OK);
    EXPECT(limits_enter(&limits, &error) == STATUS_OK);
    EXPECT(socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EPERM);
    EXPECT(socket(AF_UNIX, SOCK_STREAM, 0) == -1 && errno == EPERM);
    EXPECT(socket(AF_NETLINK, SOCK_RAW, 0) == -1 && errno == EPERM);
    EXPECT(fork() == -1 && errno == EPERM);
    EXPECT(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
           MAP_FAILED);
    EXPECT(chdir("/") == -1 && errno == EPERM);
    EXPECT(kill(getppid(), 0) == -1 && errno == EPERM);
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    EXPECT(file >= 0 && write(file, "x", 1) == 1 && fsync(file) == 0 && close(file) == 0);
    EXPECT(unlink(path) == 0);
    EXPECT(pthread_create(&thread, NULL, end_at_once, NULL) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
#undef EXPECT
    return 0;
}

static int run_apart(int (*look)(const struct world *world), const struct world *world)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int line = look(world);
        /* Lines are more than an exit code can tell. */
        if (line != 0)
            (void)!write(STDERR_FILENO, "confined process failed\n", 24);
        _exit(line == 0 ? 0 : 1 + line % 250);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_confinement(void **state)
{
    int status = run_apart(look_around, *state);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int open_elsewhere(const struct world *world)
{
    struct error error = {0};
    const struct limits limits = {.directory = world->directory};
    if (limits_enter(&limits, &error) != STATUS_OK)
        return 1;
    /* Landlock says EACCES; a kernel without it lets this be, and has nothing to be tested. */
    return open("/etc/passwd", O_RDONLY) == -1 && errno == EACCES ? 0 : 2;
}

static int run_a_program(const struct world *world)
{
    struct error error = {0};
    const struct limits limits = {.directory = world->directory};
    char name[] = "true";
    char *const arguments[] = {name, NULL};
    if (limits_enter(&limits, &error) != STATUS_OK)
        return 1;
    (void)execv("/bin/true", arguments);
    return 2;
}

static void test_confinement_of_files(void **state)
{
    long version = syscall(444, NULL, 0, 1); /* landlock_create_ruleset(2): which there is */
    if (version <= 0)
        skip();
    int status = run_apart(open_elsewhere, *state);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_confinement_is_deadly(void **state)
{
    int status = run_apart(run_a_program, *state);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* ---- When it ends ---- */

static bool is_gone(pid_t pid)
{
    char path[64];
    char text[256] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int file = open(path, O_RDONLY);
    if (file < 0)
        return true;
    ssize_t got = read(file, text, sizeof(text) - 1);
    (void)close(file);
    const char *state = strrchr(text, ')');
    return got <= 0 || state == NULL || state[2] == 'Z' || state[2] == 'X';
}

/* kmipd is killed: nobody is left to hold keys for. */
static void test_ends_with_parent(void **state)
{
    struct world *world = *state;
    int ends[2];
    pid_t pid = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        struct error error;
        world->options.event = NULL;
        if (keyholder_open(&world->options, &world->keyholder, &error) == STATUS_OK) {
            pid = status_of(world).pid;
            (void)!write(ends[1], &pid, sizeof(pid));
        }
        (void)raise(SIGKILL);
    }
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
    (void)close(ends[0]);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    for (int i = 0; i < 1000 && !is_gone(pid); i++)
        sleep_ms(5);
    assert_true(is_gone(pid));
}

static void test_started_again(void **state)
{
    struct world *world = *state;
    open_with_blob(world);
    for (int i = 0; i < 2; i++) {
        pid_t pid = status_of(world).pid;
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(unwrap(world), STATUS_OK);
        wait_for_other(world, pid);
    }
    struct keyholder_status status = status_of(world);
    assert_int_equal(status.starts, 3);
    (void)pthread_mutex_lock(&world->lock);
    assert_int_equal(world->events[KEYHOLDER_ENDED], 2);
    assert_int_equal(world->events[KEYHOLDER_STARTED], 3);
    assert_non_null(strstr(world->last_text[KEYHOLDER_ENDED], "signal 9"));
    (void)pthread_mutex_unlock(&world->lock);
}

/* Its file is gone when it is to be started again: refused, until the file is back. */
static void test_cannot_start_again(void **state)
{
    struct world *world = *state;
    char aside[128];
    world->options.patience = 300;
    open_with_blob(world);
    (void)snprintf(aside, sizeof(aside), "%s.aside", world->path);
    assert_int_equal(rename(world->path, aside), 0);
    assert_int_equal(kill(status_of(world).pid, SIGKILL), 0);
    assert_int_equal(unwrap(world), STATUS_KEY_MANAGER_UNAVAILABLE);
    (void)pthread_mutex_lock(&world->lock);
    assert_true(world->events[KEYHOLDER_FAILED] > 0);
    assert_non_null(strstr(world->last_text[KEYHOLDER_FAILED], "no sealed file"));
    (void)pthread_mutex_unlock(&world->lock);
    assert_int_equal(rename(aside, world->path), 0);
    wait_for_other(world, 0);
    assert_int_equal(unwrap(world), STATUS_OK);
}

/* All files are gone (the disk is not mounted any more): no new one is made in their place. */
static void test_makes_no_file_again(void **state)
{
    struct world *world = *state;
    char path[128];
    world->options.patience = 300;
    open_with_blob(world);
    (void)snprintf(path, sizeof(path), "%s.previous", world->path);
    assert_int_equal(unlink(world->path), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kill(status_of(world).pid, SIGKILL), 0);
    assert_int_equal(unwrap(world), STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(access(world->path, F_OK), -1);
    (void)pthread_mutex_lock(&world->lock);
    assert_non_null(strstr(world->last_text[KEYHOLDER_FAILED], "no sealed file"));
    (void)pthread_mutex_unlock(&world->lock);
}

/* ---- Jobs ---- */

enum { JOBS = 64 };

struct errand {
    struct keymanager_job job; /* first */
    struct world *world;
    atomic_int *left;
    int rounds;
    atomic_int *failures;
    atomic_int *order; /* counts those that ended */
    int place;         /* when it ended */
};

static void submit(struct errand *errand)
{
    errand->job.next = NULL;
    errand->job.wrapped = (struct wrapped){buffer_bytes(&errand->world->blob)};
    keymanager_submit(errand->world->keymanager, &errand->job);
}

static void on_done(struct keymanager_job *job)
{
    struct errand *errand = CONTAINER_OF(job, struct errand, job);
    bool good = job->status == STATUS_OK && bytes_equal(secret_bytes(&job->plaintext), key_bytes);
    secret_free(&job->plaintext);
    if (!good)
        (void)atomic_fetch_add(errand->failures, 1);
    if (--errand->rounds > 0) {
        submit(errand);
        return;
    }
    errand->place = atomic_fetch_add(errand->order, 1);
    (void)atomic_fetch_sub(errand->left, 1);
}

struct errands {
    struct errand all[JOBS];
    atomic_int left;
    atomic_int failures;
    atomic_int order;
};

static void prepare(struct errands *errands, struct world *world, int rounds)
{
    memset(errands, 0, sizeof(*errands));
    atomic_store(&errands->left, JOBS);
    for (size_t i = 0; i < JOBS; i++) {
        struct errand *errand = &errands->all[i];
        *errand = (struct errand){.world = world,
                                  .left = &errands->left,
                                  .failures = &errands->failures,
                                  .order = &errands->order,
                                  .rounds = rounds};
        errand->job.task = KEYMANAGER_UNWRAP;
        errand->job.binding = world->binding;
        errand->job.done = on_done;
        buffer_init(&errand->job.ret_wrapped, 4096);
    }
}

static void wait_for_all(struct errands *errands)
{
    for (int i = 0; i < 6000 && atomic_load(&errands->left) > 0; i++)
        sleep_ms(5);
    assert_int_equal(atomic_load(&errands->left), 0);
}

/* Killed again and again under load: every job ends, and well. */
static void test_killed_under_load(void **state)
{
    struct world *world = *state;
    struct errands errands;
    world->options.patience = 10000;
    open_with_blob(world);
    prepare(&errands, world, 400);
    for (size_t i = 0; i < JOBS; i++)
        submit(&errands.all[i]);
    for (int i = 0; i < 3; i++) {
        pid_t pid = status_of(world).pid;
        if (pid > 0)
            (void)kill(pid, SIGKILL);
        sleep_ms(30);
    }
    wait_for_all(&errands);
    assert_int_equal(atomic_load(&errands.failures), 0);
    assert_true(status_of(world).starts > 1);
    assert_int_equal(status_of(world).in_flight, 0);
}

/* Killed while root keys change: what was acknowledged is there. */
static void test_killed_under_changes(void **state)
{
    struct world *world = *state;
    struct error error = {0};
    struct root_key_info info;
    world->options.patience = 10000;
    open_with_blob(world);
    for (uint32_t version = 1; version <= 6; version++) {
        if (version % 2 == 0)
            (void)kill(status_of(world).pid, SIGKILL);
        enum status status = keymanager_rotate(world->keymanager, &world->binding.root_key,
                                               version, NULL, NOW + version, &error);
        /* CONFLICT: it was carried out by a process that could not say so any more. */
        assert_true(status == STATUS_OK || status == STATUS_CONFLICT);
        must(keymanager_root_key_info(world->keymanager, &world->binding.root_key, &info), &error);
        assert_int_equal(info.version, version + 1);
    }
    assert_int_equal(unwrap(world), STATUS_OK);
}

static void test_stopped_under_load(void **state)
{
    struct world *world = *state;
    struct errands errands;
    open_with_blob(world);
    assert_int_equal(kill(status_of(world).pid, SIGSTOP), 0);
    prepare(&errands, world, 1);
    for (size_t i = 0; i < JOBS; i++)
        submit(&errands.all[i]);
    assert_int_equal(status_of(world).in_flight, JOBS);
    keyholder_stop(world->keyholder);
    assert_int_equal(atomic_load(&errands.left), 0);
    assert_int_equal(atomic_load(&errands.failures), JOBS);
}

/* ---- Time ---- */

static void test_deadline(void **state)
{
    struct world *world = *state;
    struct errands errands;
    open_with_blob(world);
    pid_t pid = status_of(world).pid;
    prepare(&errands, world, 1);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    int64_t start = clock_monotonic();
    for (size_t i = 0; i < JOBS; i++) {
        errands.all[i].job.deadline = start + 100;
        submit(&errands.all[i]);
    }
    wait_for_all(&errands);
    assert_in_range(clock_monotonic() - start, 100, 1500);
    assert_int_equal(atomic_load(&errands.failures), JOBS);
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(unwrap(world), STATUS_OK);
    assert_int_equal(status_of(world).pid, pid);
}

/* One that hangs: requests end when it has been silent for the patience, and it is replaced. */
static void test_silence(void **state)
{
    struct world *world = *state;
    world->options.patience = 200;
    open_with_blob(world);
    pid_t pid = status_of(world).pid;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    int64_t start = clock_monotonic();
    assert_int_equal(unwrap(world), STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_in_range(clock_monotonic() - start, 150, 1500);
    for (int i = 0; i < 100 && status_of(world).pid == pid; i++)
        (void)unwrap(world);
    wait_for_other(world, pid);
    assert_int_equal(unwrap(world), STATUS_OK);
    (void)pthread_mutex_lock(&world->lock);
    assert_non_null(strstr(world->last_text[KEYHOLDER_ENDED], "did not answer"));
    (void)pthread_mutex_unlock(&world->lock);
}

static void test_bucket(void **state)
{
    struct bucket bucket;
    int64_t second = 1000000000;
    (void)state;
    bucket_init(&bucket, 10, 3, 0);
    for (int i = 0; i < 3; i++)
        assert_true(bucket_take(&bucket, 0));
    assert_false(bucket_take(&bucket, 0));
    assert_in_range(bucket_wait(&bucket, 0), second / 10, second / 10 + 2);
    assert_false(bucket_take(&bucket, second / 20));
    assert_true(bucket_take(&bucket, second / 10 + 2));
    assert_false(bucket_take(&bucket, second / 10 + 2));
    for (int i = 0; i < 3; i++) /* never more than the burst */
        assert_true(bucket_take(&bucket, 100 * second));
    assert_false(bucket_take(&bucket, 100 * second));
    assert_false(bucket_take(&bucket, 99 * second)); /* a clock that stands still or worse */
    bucket_init(&bucket, 0, 0, 0);
    for (int i = 0; i < 1000; i++)
        assert_true(bucket_take(&bucket, 0));
    assert_int_equal(bucket_wait(&bucket, 0), 0);
}

/* Over the rate they wait, in their order, and none fails; wraps do not wait. */
static void test_rate(void **state)
{
    struct world *world = *state;
    struct errands errands;
    struct secret key = {0};
    struct buffer blob;
    struct error error = {0};
    world->options.patience = 300; /* shorter than what some wait: it is alive */
    world->options.settings.unwrap_rate = 50;
    world->options.settings.unwrap_burst = 24;
    open_with_blob(world);
    prepare(&errands, world, 1);
    int64_t start = clock_monotonic();
    for (size_t i = 0; i < JOBS; i++)
        submit(&errands.all[i]);
    buffer_init(&blob, 4096);
    must(secret_copy(&key, key_bytes), &error);
    must(keymanager_wrap(world->keymanager, &world->binding, &key, &blob), &error);
    assert_true(clock_monotonic() - start < 400);
    wait_for_all(&errands);
    int64_t took = clock_monotonic() - start;
    assert_in_range(took, 700, 3000); /* 40 of them at 50 a second */
    assert_int_equal(atomic_load(&errands.failures), 0);
    for (size_t i = 0; i < JOBS; i++)
        assert_int_equal(errands.all[i].place, i);
    for (int i = 0; i < 200 && status_of(world).counters.unwraps < JOBS; i++)
        sleep_ms(10);
    struct keyholder_counters counters = status_of(world).counters;
    assert_int_equal(counters.unwraps, JOBS);
    assert_int_equal(counters.wraps, 2);
    assert_in_range(counters.waited, 35, 40);
    assert_int_equal(counters.waiting, 0);
    secret_free(&key);
    buffer_free(&blob);
}

/* Background work goes after what clients wait for, though it came before. */
static void test_background(void **state)
{
    struct world *world = *state;
    struct errands errands;
    world->options.settings.unwrap_rate = 200;
    world->options.settings.unwrap_burst = 1;
    open_with_blob(world);
    prepare(&errands, world, 1);
    for (size_t i = 0; i < JOBS; i++)
        errands.all[i].job.background = i < JOBS / 2;
    for (size_t i = 0; i < JOBS; i++)
        submit(&errands.all[i]);
    wait_for_all(&errands);
    int early = 0;
    for (size_t i = 0; i < JOBS / 2; i++)
        early += errands.all[i].place < JOBS / 2;
    assert_in_range(early, 0, 3); /* what was done before the others had come */
    assert_int_equal(atomic_load(&errands.failures), 0);
}

/* A request whose deadline passed in the queue takes no token and is not answered. */
static void test_late_in_queue(void **state)
{
    struct world *world = *state;
    struct errands errands;
    world->options.settings.unwrap_rate = 2;
    world->options.settings.unwrap_burst = 1;
    open_with_blob(world);
    prepare(&errands, world, 1);
    int64_t start = clock_monotonic();
    for (size_t i = 0; i < JOBS; i++) {
        errands.all[i].job.deadline = start + 100;
        submit(&errands.all[i]);
    }
    wait_for_all(&errands);
    assert_true(atomic_load(&errands.failures) >= JOBS - 1);
    assert_int_equal(unwrap(world), STATUS_OK);
    assert_true(clock_monotonic() - start < 2000); /* not behind the 64 */
}

/* ---- The protocol ---- */

static void test_requests_round_trip(void **state)
{
    (void)state;
    for (enum keyholder_message message = KEYHOLDER_STATUS; message <= KEYHOLDER_MESSAGE_MAX;
         message++) {
        struct keyholder_request request = {
            .message = message,
            .code = message == KEYHOLDER_STATUS ? KEYMANAGER_NONE : KEYMANAGER_PKCS11,
            .background = message % 2 == 0,
            .number = UINT64_C(0x123456789ABCDEF0) + message,
            .deadline = 77,
            .binding = {{{1}}, {{2}}, {{3}}},
            .data = key_bytes,
            .root_key = {{9, 8, 7}},
            .from = 5,
            .state = ROOT_KEY_SUSPENDED,
            .now = NOW,
            .name = BYTES_LITERAL("a name"),
            .material = key_bytes,
        };
        struct buffer frame;
        struct keyholder_head head;
        struct keyholder_request read;
        struct bytes body;
        buffer_init(&frame, KEYHOLDER_FRAME_MAX);
        assert_int_equal(keyholder_request_append(&frame, &request), STATUS_OK);
        assert_true(frame.size <= keyholder_request_size(&request));
        for (size_t size = 0; size < frame.size; size++)
            assert_int_equal(keyholder_frame_read(bytes_of(frame.data, size), &head, &body),
                             STATUS_NOT_FOUND);
        assert_int_equal(keyholder_frame_read(buffer_bytes(&frame), &head, &body), STATUS_OK);
        assert_int_equal(keyholder_request_read(&head, body, &read), STATUS_OK);
        assert_int_equal(read.message, message);
        assert_int_equal(read.code, request.code);
        assert_int_equal(read.background, request.background);
        assert_true(read.number == request.number && read.deadline == 77);
        if (message == KEYHOLDER_UNWRAP) {
            assert_memory_equal(&read.binding, &request.binding, sizeof(read.binding));
            assert_true(bytes_equal(read.data, key_bytes));
        }
        if (message == KEYHOLDER_CREATE || message == KEYHOLDER_ROTATE) {
            assert_true(uuid_equal(&read.root_key, &request.root_key));
            assert_true(read.now == NOW);
            assert_true(bytes_equal(read.material, key_bytes));
        }
        head.size--; /* a byte is missing */
        if (message >= KEYHOLDER_SET_STATE && message <= KEYHOLDER_INFO)
            assert_int_equal(
                keyholder_request_read(&head, bytes_of(body.data, body.size - 1), &read),
                STATUS_MALFORMED);
        buffer_free(&frame);
    }
}

/* A keyholder of which this is the other side. */
struct raw {
    int socket;
    pid_t pid;
};

static struct raw raw_start(struct world *world)
{
    struct raw raw = {-1, 0};
    struct error error = {0};
    must(keyholder_process_start("/proc/self/exe", false, &raw.pid, &raw.socket, &error), &error);
    return raw;
}

static void raw_send(const struct raw *raw, const void *data, size_t size)
{
    assert_int_equal(send(raw->socket, data, size, MSG_NOSIGNAL), size);
}

static void raw_hello(struct world *world, const struct raw *raw)
{
    struct buffer body;
    uint8_t frame[KEYHOLDER_HEAD_SIZE];
    buffer_init(&body, 4096);
    assert_int_equal(keyholder_settings_append(&body, &world->options.settings), STATUS_OK);
    const struct keyholder_head head = {
        .size = (uint32_t)body.size, .message = KEYHOLDER_HELLO, .number = 4};
    keyholder_head_write(&head, frame);
    for (size_t i = 0; i < sizeof(frame); i++) /* byte by byte */
        raw_send(raw, frame + i, 1);
    raw_send(raw, body.data, body.size);
    buffer_free(&body);
}

static void raw_answer(const struct raw *raw, uint64_t number, enum status status)
{
    uint8_t come[4096];
    size_t size = 0;
    struct keyholder_head head;
    struct keyholder_answer answer;
    struct bytes body;
    while (keyholder_frame_read(bytes_of(come, size), &head, &body) == STATUS_NOT_FOUND) {
        ssize_t got = recv(raw->socket, come + size, 1, 0);
        assert_int_equal(got, 1);
        size++;
    }
    assert_int_equal(keyholder_answer_read(&head, body, &answer), STATUS_OK);
    assert_true(answer.number == number);
    if (answer.status != status)
        fail_msg("%s instead of %s", status_name(answer.status), status_name(status));
}

static void raw_ask(const struct raw *raw, const struct keyholder_head *head, const void *body)
{
    uint8_t frame[KEYHOLDER_HEAD_SIZE];
    keyholder_head_write(head, frame);
    raw_send(raw, frame, sizeof(frame));
    if (head->size > 0)
        raw_send(raw, body, head->size);
}

static void raw_end(struct raw *raw, int code)
{
    char how[KEYHOLDER_END_TEXT];
    char expected[KEYHOLDER_END_TEXT];
    (void)snprintf(expected, sizeof(expected), "exit code %d", code);
    keyholder_process_end(raw->pid, 5000, how);
    assert_string_equal(how, expected);
    (void)close(raw->socket);
}

/* What no kmipd sends is refused, and the next is answered all the same. */
static void test_unknown_messages(void **state)
{
    struct world *world = *state;
    struct raw raw = raw_start(world);
    static const uint8_t body[64];
    static const struct {
        struct keyholder_head head;
        enum status status;
    } cases[] = {
        {{.message = 0}, STATUS_OPERATION_NOT_SUPPORTED},
        {{.message = KEYHOLDER_HELLO}, STATUS_OPERATION_NOT_SUPPORTED},
        {{.message = KEYHOLDER_MESSAGE_MAX + 1}, STATUS_OPERATION_NOT_SUPPORTED},
        {{.message = 255, .size = 10}, STATUS_OPERATION_NOT_SUPPORTED},
        {{.message = KEYHOLDER_STATUS, .size = 1}, STATUS_MALFORMED},
        {{.message = KEYHOLDER_STATUS, .code = 1}, STATUS_MALFORMED},
        {{.message = KEYHOLDER_INFO, .size = 16}, STATUS_MALFORMED}, /* of no key manager */
        {{.message = KEYHOLDER_INFO, .code = 1, .size = 15}, STATUS_MALFORMED},
        {{.message = KEYHOLDER_INFO, .code = 1, .size = 17}, STATUS_MALFORMED},
        {{.message = KEYHOLDER_INFO, .code = 1, .size = 16, .flags = KEYHOLDER_MORE},
         STATUS_MALFORMED},
        {{.message = KEYHOLDER_INFO, .code = 2, .size = 16}, STATUS_KEY_MANAGER_UNAVAILABLE},
        {{.message = KEYHOLDER_CREATE, .code = 1, .size = 30}, STATUS_MALFORMED},
        {{.message = KEYHOLDER_UNWRAP, .code = 1, .size = 64}, STATUS_UNWRAP_FAILED},
        {{.message = KEYHOLDER_SET_STATE, .code = 1, .size = 20}, STATUS_INVALID_ARGUMENT},
        {{.message = KEYHOLDER_INFO, .code = 1, .size = 16}, STATUS_NOT_FOUND},
        {{.message = KEYHOLDER_CHECK, .code = 1}, STATUS_OK},
        {{.message = KEYHOLDER_STATUS}, STATUS_OK},
    };
    raw_hello(world, &raw);
    raw_answer(&raw, 4, STATUS_OK);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct keyholder_head head = cases[i].head;
        head.number = 100 + i;
        raw_ask(&raw, &head, body);
        raw_answer(&raw, 100 + i, cases[i].status);
    }
    (void)shutdown(raw.socket, SHUT_WR);
    raw_end(&raw, 0);
}

/* What cannot be understood ends it. */
static void test_malformed_frames(void **state)
{
    struct world *world = *state;
    static const struct keyholder_head heads[] = {
        {.message = KEYHOLDER_WRAP, .code = 1, .size = KEYHOLDER_BODY_MAX + 1},
        {.message = KEYHOLDER_WRAP, .code = 1, .size = UINT32_MAX},
        {.message = KEYHOLDER_INFO, .code = KEYMANAGER_CODE_MAX + 1},
        {.message = KEYHOLDER_INFO, .code = 1, .flags = 0x80},
    };
    for (size_t i = 0; i < ARRAY_COUNT(heads); i++) {
        struct raw raw = raw_start(world);
        raw_hello(world, &raw);
        raw_answer(&raw, 4, STATUS_OK);
        raw_ask(&raw, &(struct keyholder_head){0}, NULL);
        raw_answer(&raw, 0, STATUS_OPERATION_NOT_SUPPORTED);
        uint8_t frame[KEYHOLDER_HEAD_SIZE];
        keyholder_head_write(&heads[i], frame);
        raw_send(&raw, frame, sizeof(frame));
        raw_end(&raw, 1);
    }
}

static void test_no_hello(void **state)
{
    struct world *world = *state;
    struct raw raw = raw_start(world);
    (void)shutdown(raw.socket, SHUT_WR);
    raw_end(&raw, 0);
    raw = raw_start(world);
    raw_ask(&raw, &(struct keyholder_head){.message = KEYHOLDER_STATUS}, NULL);
    raw_end(&raw, 1);
    raw = raw_start(world);
    raw_ask(&raw, &(struct keyholder_head){.message = KEYHOLDER_HELLO, .size = 50},
            "\1\2\3\4\5\6\7\10\11\12\1\2\3\4\5\6\7\10\11\12\1\2\3\4\5\6\7\10\11\12\1\2\3\4\5\6\7\10\11"
            "\12\1\2\3\4\5\6\7\10\11\12");
    raw_end(&raw, 1);
}

/* ---- A keyholder that lies ---- */

/* This program in the place of a keyholder: says it is ready, then what is told by a file. */
static int pretend(void)
{
    uint8_t come[8192];
    uint8_t frame[KEYHOLDER_HEAD_SIZE];
    struct keyholder_head head = {.message = KEYHOLDER_HELLO};
    if (recv(KEYHOLDER_DESCRIPTOR, come, sizeof(come), 0) <= 0)
        return 1;
    keyholder_head_write(&head, frame);
    if (send(KEYHOLDER_DESCRIPTOR, frame, sizeof(frame), MSG_NOSIGNAL) != sizeof(frame) ||
        recv(KEYHOLDER_DESCRIPTOR, come, sizeof(come), 0) <= 0)
        return 1;
    memset(come, 0xEE, sizeof(come));
    (void)!send(KEYHOLDER_DESCRIPTOR, come, sizeof(come), MSG_NOSIGNAL);
    return recv(KEYHOLDER_DESCRIPTOR, come, sizeof(come), 0) > 0;
}

/* Which it is by the name that it was started under. */
static bool is_liar(void)
{
    return strstr((const char *)getauxval(AT_EXECFN), "-liar-") != NULL;
}

/* What it says is no protocol: it is ended, and three times is enough for any request. */
static void test_liar(void **state)
{
    struct world *world = *state;
    struct root_key_info info;
    struct uuid id = {{1}};
    world->options.program = getenv("KMIPD_TEST_LIAR");
    assert_non_null(world->options.program);
    world->options.patience = 5000;
    open_keyholder(world);
    int64_t start = clock_monotonic();
    assert_int_equal(keymanager_root_key_info(world->keymanager, &id, &info),
                     STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_true(clock_monotonic() - start < 4000);
    (void)pthread_mutex_lock(&world->lock);
    assert_non_null(strstr(world->last_text[KEYHOLDER_ENDED], "broke the protocol"));
    (void)pthread_mutex_unlock(&world->lock);
}

/* A link to this program under a name that says so. */
static int make_liar(void **state)
{
    static char link[64];
    static char program[4096];
    ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (secret_heap_init((size_t)1 << 22, NULL) != STATUS_OK || size <= 0)
        return -1;
    (void)snprintf(link, sizeof(link), "/tmp/kmipd-test-liar-%d", (int)getpid());
    return symlink(program, link) == 0 && setenv("KMIPD_TEST_LIAR", link, 1) == 0 ? 0 : -1;
}

static int remove_liar(void **state)
{
    return unlink(getenv("KMIPD_TEST_LIAR"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argument_count, char **arguments)
{
    if (argument_count == 2 && strcmp(arguments[1], "keyholder") == 0)
        is_liar() ? _exit(pretend()) : keyholder_main();
    const struct CMUnitTest tests[] = {
        TEST(test_starts_and_stops),
        TEST(test_wrong_passphrase),
        TEST(test_cannot_start),
        TEST(test_missing_module),
        TEST(test_confined),
        TEST(test_inherits_nothing),
        TEST(test_confinement),
        TEST(test_confinement_of_files),
        TEST(test_confinement_is_deadly),
        TEST(test_ends_with_parent),
        TEST(test_started_again),
        TEST(test_cannot_start_again),
        TEST(test_makes_no_file_again),
        TEST(test_killed_under_load),
        TEST(test_killed_under_changes),
        TEST(test_stopped_under_load),
        TEST(test_deadline),
        TEST(test_silence),
        cmocka_unit_test(test_bucket),
        TEST(test_rate),
        TEST(test_background),
        TEST(test_late_in_queue),
        cmocka_unit_test(test_requests_round_trip),
        TEST(test_unknown_messages),
        TEST(test_malformed_frames),
        TEST(test_no_hello),
        TEST(test_liar),
    };
    return cmocka_run_group_tests(tests, make_liar, remove_liar);
}
