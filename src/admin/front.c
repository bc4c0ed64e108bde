/* SPDX-License-Identifier: Apache-2.0 */
/* The admin process kept running: one thread, which waits for it and for what is to be sent. */
#include "admin/front.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "admin/inside.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "net/address.h"

#define FIRST_DELAY     100   /* milliseconds before a process that ended is started once more */
#define LAST_DELAY      10000
#define GOOD_LIFE       60000 /* one that lived so long is started again at once */
#define OUTCOME_SECONDS 15
#define END_TEXT_MAX    128

/* ---- The process ---- */

static void set_pid(struct admin *admin, pid_t pid)
{
    (void)pthread_mutex_lock(&admin->lock);
    admin->pid = pid;
    (void)pthread_mutex_unlock(&admin->lock);
}

/* Whoever waits for an outcome has waited long enough. */
static void note_end(struct admin *admin, const char *text)
{
    (void)pthread_mutex_lock(&admin->lock);
    admin->pid = 0;
    if (admin->outcome == OUTCOME_NONE) {
        admin->outcome = OUTCOME_FAILED;
        (void)error_set(&admin->failure, STATUS_IO, "the admin process %s", text);
        (void)pthread_cond_broadcast(&admin->changed);
    }
    (void)pthread_mutex_unlock(&admin->lock);
}

/* Ends what is left of the process, and says when there is another. */
static void end_process(struct admin *admin)
{
    char text[END_TEXT_MAX];
    if (admin->link < 0)
        return;
    (void)close(admin->link);
    admin->link = -1;
    child_end(admin->pid, text, sizeof(text));
    note_end(admin, text);
    frames_clear(admin);
    int64_t now = clock_monotonic();
    bool lived = now - admin->started >= GOOD_LIFE;
    admin->start_at = now + (lived ? 0 : admin->delay);
    admin->delay = lived || admin->delay == 0 ? FIRST_DELAY : admin->delay * 2;
    if (admin->delay > LAST_DELAY)
        admin->delay = LAST_DELAY;
    if (!admin->closing)
        log_error("admin process %s: it is started again in %lld ms", text,
                  (long long)(admin->start_at - now));
}

static enum status set_up_process(struct admin *admin, struct error *error)
{
    struct buffer frame;
    pid_t pid;
    buffer_init(&frame, LINK_IDENTITY_MAX + LINK_HEADER_SIZE + 64);
    enum status status = frames_identity(admin, true, &frame, error);
    if (status == STATUS_OK)
        status = child_start(admin->options.program, &admin->link, &pid, error);
    if (status == STATUS_OK) {
        set_pid(admin, pid);
        admin->started = clock_monotonic();
        status = child_send(admin->link, buffer_bytes(&frame), admin->listener, error);
    }
    buffer_free(&frame);
    if (status == STATUS_OK && fcntl(admin->link, F_SETFL, O_NONBLOCK) != 0)
        status = error_set_errno(error, STATUS_IO, errno, "cannot use a socket");
    return status;
}

static void fail_start(struct admin *admin, const struct error *error)
{
    (void)pthread_mutex_lock(&admin->lock);
    admin->outcome = OUTCOME_FAILED;
    admin->failure = *error;
    (void)pthread_cond_broadcast(&admin->changed);
    (void)pthread_mutex_unlock(&admin->lock);
    log_error("admin process cannot be started: %s", error_text(error));
    end_process(admin);
    if (admin->start_at <= clock_monotonic())
        admin->start_at = clock_monotonic() + LAST_DELAY;
}

static void start_process(struct admin *admin)
{
    struct error error = {0};
    if (set_up_process(admin, &error) != STATUS_OK) {
        fail_start(admin, &error);
        return;
    }
    log_info("admin process started pid=%d", (int)admin->pid);
}

/* ---- The thread ---- */

static bool is_closing(struct admin *admin)
{
    (void)pthread_mutex_lock(&admin->lock);
    bool closing = admin->closing;
    (void)pthread_mutex_unlock(&admin->lock);
    return closing;
}

static bool has_outgoing(struct admin *admin)
{
    (void)pthread_mutex_lock(&admin->lock);
    bool has = admin->first != NULL;
    (void)pthread_mutex_unlock(&admin->lock);
    return has;
}

/* How long to wait for events; -1: as long as it takes. */
static int patience(const struct admin *admin)
{
    if (admin->link >= 0)
        return -1;
    int64_t left = admin->start_at - clock_monotonic();
    return left > 0 ? (int)left : 0;
}

static void wait_and_serve(struct admin *admin)
{
    eventfd_t ignored;
    struct pollfd waited[] = {{.fd = admin->wake, .events = POLLIN},
                              {.fd = admin->link, .events = 0}};
    if (frames_has_room(admin))
        waited[1].events = POLLIN;
    if (has_outgoing(admin))
        waited[1].events |= POLLOUT;
    if (poll(waited, ARRAY_COUNT(waited), patience(admin)) < 0)
        return;
    if ((waited[0].revents & POLLIN) != 0)
        (void)eventfd_read(admin->wake, &ignored);
    if (admin->link < 0)
        return;
    bool good = (waited[1].revents & (POLLERR | POLLNVAL)) == 0;
    if (good && (waited[1].revents & (POLLIN | POLLHUP)) != 0)
        good = frames_read(admin);
    if (good)
        good = frames_write(admin);
    if (!good)
        end_process(admin);
}

static void *run(void *argument)
{
    struct admin *admin = argument;
    while (!is_closing(admin)) {
        if (admin->link < 0 && clock_monotonic() >= admin->start_at)
            start_process(admin);
        wait_and_serve(admin);
    }
    end_process(admin);
    return NULL;
}

/* Waits for what the process says to its setup or to another identity. */
static enum status wait_outcome(struct admin *admin, struct error *error)
{
    struct timespec until;
    int waited = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += OUTCOME_SECONDS;
    (void)pthread_mutex_lock(&admin->lock);
    while (admin->outcome == OUTCOME_NONE && waited == 0)
        waited = pthread_cond_timedwait(&admin->changed, &admin->lock, &until);
    enum outcome outcome = admin->outcome;
    struct error failure = admin->failure;
    (void)pthread_mutex_unlock(&admin->lock);
    if (outcome == OUTCOME_READY)
        return STATUS_OK;
    if (outcome == OUTCOME_FAILED)
        return error_set(error, failure.status, "%s", failure.text);
    return error_set(error, STATUS_TIMED_OUT, "the admin process does not answer");
}

/* ---- Opening and closing ---- */

static bool copy_text(struct admin *admin, size_t place, const char **text)
{
    if (*text == NULL)
        return true;
    admin->texts[place] = strdup(*text);
    *text = admin->texts[place];
    return *text != NULL;
}

static enum status prepare(struct admin *admin, const struct admin_options *options,
                           struct error *error)
{
    pthread_condattr_t attributes;
    admin->options = *options;
    (void)pthread_mutex_init(&admin->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&admin->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    admin->input = locked_allocate(INSIDE_READ_SIZE);
    admin->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (admin->input == NULL || admin->wake < 0 ||
        !copy_text(admin, 0, &admin->options.certificate_file) ||
        !copy_text(admin, 1, &admin->options.key_file) ||
        !copy_text(admin, 2, &admin->options.program))
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    admin->options.address = NULL;
    return STATUS_OK;
}

static enum status start_listening(struct admin *admin, const char *text, struct error *error)
{
    union address address;
    enum status status = address_parse(text, &address, error);
    if (status == STATUS_OK)
        status = address_listen(&address, true, &admin->listener, error);
    if (status != STATUS_OK)
        return status;
    /* Connections inherit it. Without, the last piece of an answer waits for an acknowledgement. */
    (void)setsockopt(admin->listener, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    admin->port = address_port(&address);
    return STATUS_OK;
}

/* The thread also starts the process: it dies with the thread that has started it
 * (PR_SET_PDEATHSIG), and this one lives until admin_close(). */
static enum status start_thread(struct admin *admin, struct error *error)
{
    int failure = pthread_create(&admin->thread, NULL, run, admin);
    if (failure != 0)
        return error_set_errno(error, STATUS_NO_MEMORY, failure, "cannot start a thread");
    admin->has_thread = true;
    return wait_outcome(admin, error);
}

enum status admin_open(const struct admin_options *options, struct api *api,
                       struct admin **ret_admin, struct error *error)
{
    struct admin *admin = calloc(1, sizeof(*admin));
    if (admin == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    admin->api = api;
    admin->link = -1;
    admin->listener = -1;
    enum status status = prepare(admin, options, error);
    if (status == STATUS_OK)
        status = start_listening(admin, options->address, error);
    if (status == STATUS_OK)
        status = start_thread(admin, error);
    if (status == STATUS_OK)
        *ret_admin = admin;
    else
        admin_close(admin);
    return status;
}

unsigned admin_port(const struct admin *admin)
{
    return admin->port;
}

enum status admin_reload(struct admin *admin, struct error *error)
{
    struct buffer frame;
    buffer_init(&frame, LINK_IDENTITY_MAX + LINK_HEADER_SIZE + 64);
    enum status status = frames_identity(admin, false, &frame, error);
    if (status == STATUS_OK) {
        (void)pthread_mutex_lock(&admin->lock);
        admin->outcome = OUTCOME_NONE;
        uint64_t generation = admin->generation;
        (void)pthread_mutex_unlock(&admin->lock);
        frames_queue(admin, generation, &frame);
        status = wait_outcome(admin, error);
    }
    buffer_free(&frame);
    return status;
}

void admin_status(struct admin *admin, struct admin_status *ret_status)
{
    (void)pthread_mutex_lock(&admin->lock);
    *ret_status = (struct admin_status){.pid = admin->pid,
                                        .starts = admin->generation + (admin->pid != 0),
                                        .requests = admin->requests,
                                        .in_flight = admin->in_flight};
    (void)pthread_mutex_unlock(&admin->lock);
}

static void stop_thread(struct admin *admin)
{
    (void)pthread_mutex_lock(&admin->lock);
    admin->closing = true;
    (void)pthread_mutex_unlock(&admin->lock);
    (void)eventfd_write(admin->wake, 1);
    (void)pthread_join(admin->thread, NULL);
    (void)pthread_mutex_lock(&admin->lock);
    while (admin->in_flight > 0)
        (void)pthread_cond_wait(&admin->changed, &admin->lock);
    (void)pthread_mutex_unlock(&admin->lock);
}

void admin_close(struct admin *admin)
{
    if (admin == NULL)
        return;
    if (admin->listener >= 0)
        (void)close(admin->listener);
    if (admin->has_thread)
        stop_thread(admin);
    if (admin->input != NULL)
        frames_free(admin);
    locked_free(admin->input, INSIDE_READ_SIZE);
    if (admin->wake >= 0)
        (void)close(admin->wake);
    for (size_t i = 0; i < ARRAY_COUNT(admin->texts); i++)
        free(admin->texts[i]);
    (void)pthread_cond_destroy(&admin->changed);
    (void)pthread_mutex_destroy(&admin->lock);
    free(admin);
}
