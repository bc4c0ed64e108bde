/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "keyholder/answer.h"
#include "keyholder/bucket.h"
#include "keyholder/task.h"

#define ROOM          (KEYHOLDER_FRAME_MAX + ((size_t)64 << 10)) /* for what comes and what goes */
#define WAITING_MAX   ((size_t)65536) /* then nothing more is read */
#define WORKERS_MAX   256
#define AT_ONE_TIME   16 /* background requests before the socket is looked at */

/* What is in work for the workers; foreground first. */
struct workers {
    pthread_mutex_t lock; /* guards the queues and `ending` */
    pthread_cond_t wake;
    struct task_queue foreground;
    struct task_queue background;
    bool ending;
    pthread_t threads[WORKERS_MAX];
    unsigned count;
};

struct server {
    struct server_options options;
    uint8_t *come; /* ROOM, locked; the reading thread's */
    size_t come_size;
    pthread_mutex_t out_lock; /* guards `out`, and the order on the socket */
    struct buffer out;
    atomic_bool broken; /* the socket no longer takes anything */
    struct bucket bucket;
    struct task_queue waiting; /* unwraps over the rate; foreground, background */
    struct task_queue waiting_background;
    struct task_queue background; /* what never waits, for a moment without other work */
    struct workers workers;
    _Atomic uint64_t wraps;
    _Atomic uint64_t unwraps;
    _Atomic uint64_t rewraps;
    _Atomic uint64_t others;
    uint64_t waited;
};

static int64_t nanoseconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- Answers go out ---- */

/* All of `out`; the lock is held. What was sent is wiped. */
static void flush_locked(struct server *server)
{
    size_t sent = 0;
    while (sent < server->out.size && server->options.socket >= 0 &&
           !atomic_load(&server->broken)) {
        ssize_t result = send(server->options.socket, server->out.data + sent,
                              server->out.size - sent, MSG_NOSIGNAL);
        if (result >= 0)
            sent += (size_t)result;
        else if (errno != EINTR)
            atomic_store(&server->broken, true);
    }
    buffer_reset(&server->out);
}

static void flush(struct server *server)
{
    (void)pthread_mutex_lock(&server->out_lock);
    flush_locked(server);
    (void)pthread_mutex_unlock(&server->out_lock);
}

static void send_answer(void *context, const struct keyholder_answer *answer)
{
    struct server *server = context;
    (void)pthread_mutex_lock(&server->out_lock);
    if (server->out.size + keyholder_answer_size(answer) > server->out.capacity)
        flush_locked(server);
    enum status status = keyholder_answer_append(&server->out, answer);
    if (status != STATUS_OK) { /* longer than any frame: then this one is not */
        const struct keyholder_answer failure = {
            .message = answer->message, .number = answer->number, .status = status};
        (void)!keyholder_answer_append(&server->out, &failure);
    }
    (void)pthread_mutex_unlock(&server->out_lock);
}

static void refuse(struct server *server, const struct keyholder_head *head, enum status status,
                   const char *text)
{
    const struct keyholder_answer answer = {.message = head->message,
                                            .number = head->number,
                                            .status = status,
                                            .text = bytes_of_text(text)};
    send_answer(server, &answer);
}

/* ---- Carrying out ---- */

static void count(struct server *server, enum keyholder_message message)
{
    _Atomic uint64_t *counter = message == KEYHOLDER_WRAP     ? &server->wraps
                                : message == KEYHOLDER_UNWRAP ? &server->unwraps
                                : message == KEYHOLDER_REWRAP ? &server->rewraps
                                                              : &server->others;
    (void)atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static bool is_late(const struct keyholder_request *request)
{
    return request->deadline != 0 && clock_monotonic() >= request->deadline;
}

static void carry_out(struct server *server, const struct keyholder_request *request)
{
    count(server, request->message);
    answer_request(keymanagers_get(&server->options.keymanagers, request->code), request,
                   send_answer, server);
}

/* Nobody waits any more for what is late: it is left out, and not answered. */
static void carry_out_task(struct server *server, struct task *task)
{
    if (!is_late(&task->request))
        carry_out(server, &task->request);
    task_free(task);
}

static void answer_status(struct server *server, const struct keyholder_request *request)
{
    const struct keyholder_answer answer = {
        .message = KEYHOLDER_STATUS,
        .number = request->number,
        .counters = {.wraps = atomic_load(&server->wraps),
                     .unwraps = atomic_load(&server->unwraps),
                     .rewraps = atomic_load(&server->rewraps),
                     .others = atomic_load(&server->others),
                     .waiting = server->waiting.count + server->waiting_background.count,
                     .waited = server->waited},
    };
    send_answer(server, &answer);
}

/* ---- Workers ---- */

static struct task *next_for_worker(struct workers *workers)
{
    (void)pthread_mutex_lock(&workers->lock);
    struct task *task = NULL;
    while (!workers->ending) {
        task = task_queue_take(&workers->foreground);
        if (task == NULL)
            task = task_queue_take(&workers->background);
        if (task != NULL)
            break;
        (void)pthread_cond_wait(&workers->wake, &workers->lock);
    }
    (void)pthread_mutex_unlock(&workers->lock);
    return task;
}

static void *work(void *argument)
{
    struct server *server = argument;
    for (struct task *task; (task = next_for_worker(&server->workers)) != NULL;) {
        carry_out_task(server, task);
        flush(server);
    }
    return NULL;
}

static void give_to_workers(struct server *server, struct task *task)
{
    struct workers *workers = &server->workers;
    (void)pthread_mutex_lock(&workers->lock);
    task_queue_put(task->request.background ? &workers->background : &workers->foreground, task);
    (void)pthread_cond_signal(&workers->wake);
    (void)pthread_mutex_unlock(&workers->lock);
}

static enum status start_workers(struct server *server)
{
    struct workers *workers = &server->workers;
    unsigned wanted = server->options.workers;
    if (wanted < 1 || wanted > WORKERS_MAX)
        return STATUS_INVALID_ARGUMENT;
    for (; workers->count < wanted; workers->count++)
        if (pthread_create(&workers->threads[workers->count], NULL, work, server) != 0)
            return STATUS_NO_MEMORY;
    return STATUS_OK;
}

static void end_workers(struct workers *workers)
{
    (void)pthread_mutex_lock(&workers->lock);
    workers->ending = true;
    (void)pthread_cond_broadcast(&workers->wake);
    (void)pthread_mutex_unlock(&workers->lock);
    for (unsigned i = 0; i < workers->count; i++)
        (void)pthread_join(workers->threads[i], NULL);
    task_queue_free(&workers->foreground);
    task_queue_free(&workers->background);
}

/* ---- The way of a request ---- */

static bool never_waits(const struct server *server, const struct keyholder_request *request)
{
    const struct keymanager *keymanager =
        keymanagers_get(&server->options.keymanagers, request->code);
    return keymanager->provider->immediate &&
           (request->message == KEYHOLDER_WRAP || request->message == KEYHOLDER_UNWRAP ||
            request->message == KEYHOLDER_REWRAP || request->message == KEYHOLDER_INFO ||
            request->message == KEYHOLDER_IS_NEWEST);
}

/* A task that may go on now. */
static void pass_on(struct server *server, struct task *task)
{
    if (!never_waits(server, &task->request))
        give_to_workers(server, task);
    else if (task->request.background)
        task_queue_put(&server->background, task);
    else
        carry_out_task(server, task);
}

static bool must_wait(struct server *server, const struct keyholder_request *request)
{
    if (request->message != KEYHOLDER_UNWRAP)
        return false;
    /* Nobody goes before who waits already; background goes after all others. */
    bool queued = server->waiting.count > 0 ||
                  (request->background && server->waiting_background.count > 0);
    return queued || !bucket_take(&server->bucket, nanoseconds());
}

static enum status keep(struct server *server, const struct keyholder_request *request, bool waits)
{
    struct task *task;
    enum status status = task_make(request, &task);
    if (status != STATUS_OK)
        return status;
    if (!waits) {
        pass_on(server, task);
        return STATUS_OK;
    }
    server->waited++;
    task_queue_put(request->background ? &server->waiting_background : &server->waiting, task);
    return STATUS_OK;
}

static void take_request(struct server *server, const struct keyholder_head *head,
                         const struct keyholder_request *request)
{
    if (request->message == KEYHOLDER_STATUS) {
        answer_status(server, request);
        return;
    }
    if (keymanagers_get(&server->options.keymanagers, request->code) == NULL) {
        refuse(server, head, STATUS_KEY_MANAGER_UNAVAILABLE,
               "the keyholder process has no such key manager");
        return;
    }
    bool waits = must_wait(server, request);
    if (!waits && !request->background && never_waits(server, request)) {
        carry_out(server, request);
        return;
    }
    enum status status = keep(server, request, waits);
    if (status != STATUS_OK)
        refuse(server, head, status, status_text(status));
}

enum status server_take(struct server *server, struct bytes come, size_t *ret_used)
{
    size_t used = 0;
    enum status status = STATUS_OK;
    for (;;) {
        struct keyholder_head head;
        struct keyholder_request request;
        struct bytes body;
        status = keyholder_frame_read(bytes_of(come.data + used, come.size - used), &head, &body);
        if (status != STATUS_OK)
            break;
        status = keyholder_request_read(&head, body, &request);
        if (status == STATUS_OK)
            take_request(server, &head, &request);
        else
            refuse(server, &head, status, "the keyholder process does not answer to that");
        used += KEYHOLDER_HEAD_SIZE + head.size;
    }
    *ret_used = used;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* ---- The loop ---- */

static bool release(struct server *server, struct task_queue *queue)
{
    while (queue->count > 0) {
        if (is_late(&queue->first->request)) {
            task_free(task_queue_take(queue));
            continue;
        }
        if (!bucket_take(&server->bucket, nanoseconds()))
            return false;
        pass_on(server, task_queue_take(queue));
    }
    return true;
}

static void release_waiting(struct server *server)
{
    if (release(server, &server->waiting))
        (void)release(server, &server->waiting_background);
}

static void do_some_background(struct server *server)
{
    for (int i = 0; i < AT_ONE_TIME && server->background.count > 0; i++)
        carry_out_task(server, task_queue_take(&server->background));
}

static size_t waiting_count(const struct server *server)
{
    return server->waiting.count + server->waiting_background.count + server->background.count;
}

/* Milliseconds that there is nothing to do unless something comes; -1: for ever. */
static int patience(struct server *server)
{
    if (server->background.count > 0)
        return 0;
    if (waiting_count(server) == 0)
        return -1;
    int64_t wait = bucket_wait(&server->bucket, nanoseconds());
    return wait < 1000000000 ? (int)((wait + 999999) / 1000000) : 1000;
}

static enum status read_some(struct server *server)
{
    ssize_t size = recv(server->options.socket, server->come + server->come_size,
                        ROOM - server->come_size, 0);
    if (size < 0)
        return errno == EINTR ? STATUS_OK : STATUS_IO;
    if (size == 0)
        return STATUS_CLOSED;
    server->come_size += (size_t)size;
    size_t used = 0;
    enum status status =
        server_take(server, bytes_of(server->come, server->come_size), &used);
    size_t left = server->come_size - used;
    memmove(server->come, server->come + used, left);
    explicit_bzero(server->come + left, used);
    server->come_size = left;
    return status;
}

/* Reads if there is something, within the time; without a limit it is the read that waits. */
static enum status read_within(struct server *server, int milliseconds)
{
    if (milliseconds < 0)
        return read_some(server);
    struct pollfd poll_for = {server->options.socket,
                              waiting_count(server) < WAITING_MAX ? POLLIN : 0, 0};
    int count = poll(&poll_for, 1, milliseconds);
    if (count < 0)
        return errno == EINTR ? STATUS_OK : STATUS_IO;
    if ((poll_for.revents & POLLIN) != 0)
        return read_some(server);
    return (poll_for.revents & (POLLHUP | POLLERR)) != 0 ? STATUS_CLOSED : STATUS_OK;
}

enum status server_run(struct server *server)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && !atomic_load(&server->broken)) {
        status = read_within(server, patience(server));
        release_waiting(server);
        flush(server);
        do_some_background(server);
        flush(server);
    }
    return status == STATUS_OK ? STATUS_IO : status;
}

/* ---- Making and ending ---- */

static enum status make(struct server *server)
{
    void *out = locked_allocate(ROOM);
    server->come = locked_allocate(ROOM);
    if (out == NULL || server->come == NULL) {
        locked_free(out, ROOM);
        return STATUS_NO_MEMORY;
    }
    buffer_over(&server->out, out, ROOM);
    if (pthread_mutex_init(&server->out_lock, NULL) != 0 ||
        pthread_mutex_init(&server->workers.lock, NULL) != 0 ||
        pthread_cond_init(&server->workers.wake, NULL) != 0)
        return STATUS_NO_MEMORY;
    return start_workers(server);
}

enum status server_open(const struct server_options *options, struct server **ret_server)
{
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return STATUS_NO_MEMORY;
    server->options = *options;
    bucket_init(&server->bucket, options->unwrap_rate, options->unwrap_burst, nanoseconds());
    enum status status = make(server);
    if (status == STATUS_OK)
        *ret_server = server;
    else
        server_close(server);
    return status;
}

void server_close(struct server *server)
{
    if (server == NULL)
        return;
    end_workers(&server->workers);
    task_queue_free(&server->waiting);
    task_queue_free(&server->waiting_background);
    task_queue_free(&server->background);
    locked_free(server->come, ROOM);
    locked_free(server->out.data, ROOM);
    free(server);
}
