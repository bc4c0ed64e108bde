/* SPDX-License-Identifier: Apache-2.0 */
#include "net/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "net/connection.h"
#include "net/library.h"
#include "net/socket.h"

enum {
    EVENTS = 128,
    ACCEPTS_PER_TURN = 64,
    HANDSHAKES_PER_TURN = 8, /* each takes a millisecond; requests wait so long at most */
    ABOVE_LIMIT = 32, /* connections, for the moment until others are closed in their favour */
    ACCEPT_PAUSE = 100,      /* milliseconds, when the system has nothing left to accept with */
    TLS_RECORD = 16384,
    INPUT_SIZE = 2 * TLS_RECORD, /* the rest of one record and another one behind it */
    OUTPUT_SIZE = TLS_RECORD,
    KEPT_BYTES_MAX = 64 * 1024 * 1024, /* what the connections of one loop may keep together */
};

static _Thread_local const struct loop *this_loop;

bool loop_is_here(const struct loop *loop)
{
    return this_loop == loop;
}

static void wake(struct loop *loop)
{
    /* Cannot fail: the counter would have to reach 2^64 - 1. It is never read (see watch()). */
    (void)eventfd_write(loop->wake, 1);
}

/*
 * The loop announces that it goes to sleep before it looks at the stack for the last time, and
 * whoever pushes looks for the announcement after pushing: one of the two sees the other. Whoever
 * takes the announcement back wakes the loop, so that a group of answers costs one system call.
 * Once pushed, the answer may be the last that the loop waited for: `pushing` keeps it from being
 * freed under our feet.
 */
void loop_push_answered(struct loop *loop, struct net_connection *connection)
{
    (void)atomic_fetch_add_explicit(&loop->pushing, 1, memory_order_relaxed);
    struct net_connection *top = atomic_load_explicit(&loop->answered, memory_order_relaxed);
    do
        connection->next = top;
    while (!atomic_compare_exchange_weak(&loop->answered, &top, connection));
    if (atomic_load(&loop->sleeping) && atomic_exchange(&loop->sleeping, false))
        wake(loop);
    (void)atomic_fetch_sub_explicit(&loop->pushing, 1, memory_order_release);
}

static void take_answers(struct loop *loop)
{
    if (atomic_load_explicit(&loop->answered, memory_order_relaxed) == NULL)
        return;
    struct net_connection *stack = atomic_exchange(&loop->answered, NULL);
    struct net_connection *queue = NULL;
    while (stack != NULL) { /* the first answered first */
        struct net_connection *next = stack->next;
        stack->next = queue;
        queue = stack;
        stack = next;
    }
    while (queue != NULL) {
        struct net_connection *connection = queue;
        queue = connection->next;
        connection_answered(connection);
    }
}

static enum status failed(const char *what, struct error *error)
{
    return error_set_errno(error, STATUS_IO, errno, "cannot start the network: %s", what);
}

static enum status make_buffer(struct carry *ret_buffer, size_t size, struct error *error)
{
    uint8_t *memory = locked_allocate(size);
    if (memory == NULL)
        return error_set(error, STATUS_NO_MEMORY,
                         "cannot lock %zu KiB of memory for network buffers: raise RLIMIT_MEMLOCK "
                         "(ulimit -l, or LimitMEMLOCK= in the systemd unit)",
                         size / 1024);
    *ret_buffer = (struct carry){.data = memory, .capacity = size};
    return STATUS_OK;
}

/* The listener and the eventfd are told apart from connections by the address of their field. */
static bool watch(struct loop *loop, int *fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = fd};
    return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, *fd, &event) == 0;
}

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void loop_clear(struct loop *loop, unsigned index)
{
    *loop = (struct loop){.index = index,
                          .library = library_get(index),
                          .listener = -1,
                          .epoll = -1,
                          .wake = -1,
                          .spare = -1,
                          .oldest_silent = INT64_MAX};
}

enum status loop_init(struct loop *loop, struct loop_shared *shared, int listener,
                      struct error *error)
{
    loop->shared = shared;
    loop->listener = listener;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->spare = open_spare();
    loop->socket_method = socket_method();
    if (loop->socket_method == NULL)
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    for (unsigned i = 0; i < WAIT_COUNT; ++i)
        deadline_list_init(&loop->waiting[i], shared->waits[i]);
    size_t kept = 4 * shared->frame_max;
    carry_pool_init(&loop->pool, kept > KEPT_BYTES_MAX ? kept : KEPT_BYTES_MAX);
    /* Edge-triggered: each write to the eventfd is one event, and none has to be read. */
    if (loop->epoll < 0 || loop->wake < 0 || loop->spare < 0 ||
        !watch(loop, &loop->listener, EPOLLIN) || !watch(loop, &loop->wake, EPOLLIN | EPOLLET))
        return failed("epoll", error);
    enum status status = make_buffer(&loop->input, INPUT_SIZE, error);
    return status != STATUS_OK ? status : make_buffer(&loop->output, OUTPUT_SIZE, error);
}

void loop_set_tls(struct loop *loop, SSL_CTX *context)
{
    SSL_CTX_free(atomic_exchange(&loop->next_tls, context));
}

static void take_tls(struct loop *loop)
{
    if (atomic_load_explicit(&loop->next_tls, memory_order_relaxed) == NULL)
        return;
    SSL_CTX_free(loop->tls);
    loop->tls = atomic_exchange(&loop->next_tls, NULL);
}

/*
 * With no descriptor left, the connection at the head of the queue would stay there and wake the
 * loop for ever: one is given up to take and close it.
 */
static bool accept_and_close(struct loop *loop)
{
    (void)close(loop->spare);
    int fd = accept4(loop->listener, NULL, NULL, SOCK_CLOEXEC);
    int number = errno;
    if (fd >= 0) {
        (void)close(fd);
        loop_count(&loop->counters.refused_total_limit);
    }
    loop->spare = open_spare();
    errno = number;
    return fd >= 0;
}

static void pause_accepting(struct loop *loop, bool paused)
{
    struct epoll_event event = {.events = paused ? 0 : EPOLLIN, .data.ptr = &loop->listener};
    (void)epoll_ctl(loop->epoll, EPOLL_CTL_MOD, loop->listener, &event);
    loop->accept_again = paused ? loop->now + ACCEPT_PAUSE : 0;
}

/* The connection of this loop that has been longest here without a word, or NULL. */
static struct deadline *oldest_silent(struct loop *loop)
{
    struct deadline *silent = deadline_oldest(&loop->waiting[WAIT_FIRST_FRAME]);
    struct deadline *shaking = deadline_oldest(&loop->waiting[WAIT_HANDSHAKE]);
    return silent == NULL || (shaking != NULL && shaking->since < silent->since) ? shaking : silent;
}

static void tell_oldest_silent(struct loop *loop)
{
    const struct deadline *silent = oldest_silent(loop);
    atomic_store_explicit(&loop->oldest_silent, silent != NULL ? silent->since : INT64_MAX,
                          memory_order_relaxed);
}

static void evict(struct loop *loop)
{
    if (atomic_load_explicit(&loop->evictions, memory_order_relaxed) == 0)
        return;
    for (unsigned left = atomic_exchange(&loop->evictions, 0); left > 0; --left) {
        struct deadline *silent = oldest_silent(loop);
        if (silent == NULL)
            return;
        connection_close(CONTAINER_OF(silent, struct net_connection, deadline));
    }
}

/* The loop with the oldest of all. NULL: nobody is silent for longer than this very moment. */
static struct loop *loop_of_oldest(struct loop *loop)
{
    struct loop *found = NULL;
    int64_t oldest = loop->now;
    tell_oldest_silent(loop);
    for (unsigned i = 0; i < loop->shared->loop_count; ++i) {
        struct loop *other = &loop->shared->loops[i];
        int64_t since = atomic_load_explicit(&other->oldest_silent, memory_order_relaxed);
        if (since < oldest) {
            oldest = since;
            found = other;
        }
    }
    return found;
}

/* Room for one more: at the limit, who was longest here without a word goes. A stranger can hold a
 * place only until others need it; a connection that sent a frame stays. Another loop is asked to
 * close it, and has not done so yet. */
static bool make_room(struct loop *loop)
{
    unsigned open = atomic_load(&loop->shared->open);
    if (open < loop->shared->connections_max)
        return true;
    loop_count(&loop->counters.refused_total_limit);
    struct loop *from =
        open < loop->shared->connections_max + ABOVE_LIMIT ? loop_of_oldest(loop) : NULL;
    if (from == NULL)
        return false;
    (void)atomic_fetch_add(&from->evictions, 1);
    if (from == loop)
        evict(loop);
    else
        wake(from);
    return true;
}

static void accept_connections(struct loop *loop)
{
    take_tls(loop);
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; ++i) {
        union address address = {0};
        socklen_t size = sizeof(address);
        int fd = accept4(loop->listener, &address.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && make_room(loop))
            connection_open(loop, fd, &address);
        else if (fd >= 0)
            (void)close(fd);
        else if ((errno != EMFILE && errno != ENFILE) || !accept_and_close(loop))
            break;
    }
    /* EAGAIN: all done. Others befell one connection (accept(2)); epoll reports the next again. */
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        pause_accepting(loop, true);
}

static void expire(struct loop *loop)
{
    for (unsigned i = 0; i < WAIT_COUNT; ++i)
        while (deadline_next(&loop->waiting[i]) <= loop->now)
            connection_expired(
                CONTAINER_OF(deadline_oldest(&loop->waiting[i]), struct net_connection, deadline));
    if (loop->accept_again != 0 && loop->accept_again <= loop->now && !loop->draining)
        pause_accepting(loop, false);
}

static void bury(struct loop *loop)
{
    while (loop->dead != NULL) {
        struct net_connection *connection = loop->dead;
        loop->dead = connection->next;
        connection_free(connection);
    }
}

static void each_connection(struct loop *loop, void (*act)(struct net_connection *))
{
    for (unsigned i = 0; i < WAIT_COUNT; ++i) {
        struct deadline *last = loop->waiting[i].ends.previous;
        struct deadline *at = loop->waiting[i].ends.next;
        while (at != &loop->waiting[i].ends) {
            struct deadline *next = at == last ? &loop->waiting[i].ends : at->next;
            act(CONTAINER_OF(at, struct net_connection, deadline));
            at = next;
        }
    }
}

/* True when the loop has ended. */
static bool drained(struct loop *loop)
{
    int64_t stop_at = atomic_load_explicit(&loop->stop_at, memory_order_acquire);
    if (stop_at == 0)
        return false;
    if (!loop->draining) {
        loop->draining = true;
        (void)close(loop->listener);
        loop->listener = -1;
        each_connection(loop, connection_drain);
    }
    if (loop->now >= stop_at)
        each_connection(loop, connection_close);
    bury(loop);
    return atomic_load_explicit(&loop->counters.open, memory_order_relaxed) == 0;
}

static int sleep_milliseconds(const struct loop *loop)
{
    int64_t next = INT64_MAX;
    for (unsigned i = 0; i < WAIT_COUNT; ++i) {
        int64_t expiry = deadline_next(&loop->waiting[i]);
        next = expiry < next ? expiry : next;
    }
    if (loop->accept_again != 0 && loop->accept_again < next)
        next = loop->accept_again;
    int64_t stop_at = atomic_load_explicit(&loop->stop_at, memory_order_relaxed);
    if (stop_at > loop->now && stop_at < next)
        next = stop_at;
    if (next == INT64_MAX)
        return -1;
    if (next <= loop->now)
        return 0;
    return next - loop->now < 60000 ? (int)(next - loop->now) : 60000;
}

static int wait_for_events(struct loop *loop, struct epoll_event *events)
{
    int milliseconds = sleep_milliseconds(loop);
    atomic_store(&loop->sleeping, true);
    if (atomic_load(&loop->answered) != NULL)
        milliseconds = 0;
    int count = epoll_wait(loop->epoll, events, EVENTS, milliseconds);
    atomic_store_explicit(&loop->sleeping, false, memory_order_relaxed);
    loop->now = clock_monotonic();
    return count;
}

/* Requests before handshakes, which take a hundred times as long, and these a few at a time: epoll
 * reports the others again. */
static void serve(struct loop *loop, const struct epoll_event *events, int count)
{
    unsigned handshakes = 0;
    for (int i = 0; i < count; ++i) {
        void *source = events[i].data.ptr;
        if (source == &loop->listener)
            accept_connections(loop);
        else if (source != &loop->wake &&
                 ((struct net_connection *)source)->state != CONNECTION_HANDSHAKE)
            connection_event(source, events[i].events);
    }
    for (int i = 0; i < count && handshakes < HANDSHAKES_PER_TURN; ++i) {
        void *source = events[i].data.ptr;
        if (source == &loop->listener || source == &loop->wake ||
            ((struct net_connection *)source)->state != CONNECTION_HANDSHAKE)
            continue;
        connection_event(source, events[i].events);
        ++handshakes;
    }
}

static void *run(void *argument)
{
    struct loop *loop = argument;
    struct epoll_event events[EVENTS];
    char name[16];
    (void)snprintf(name, sizeof(name), "net-%u", loop->index);
    (void)pthread_setname_np(pthread_self(), name);
    this_loop = loop;
    loop->now = clock_monotonic();
    while (!drained(loop)) {
        int count = wait_for_events(loop, events);
        take_answers(loop);
        evict(loop);
        serve(loop, events, count);
        expire(loop);
        bury(loop);
        tell_oldest_silent(loop);
    }
    return NULL;
}

/* Signals are for the main thread. */
enum status loop_start(struct loop *loop, struct error *error)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&loop->thread, NULL, run, loop);
    loop->started = errno == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return loop->started ? STATUS_OK : failed("a thread", error);
}

void loop_stop(struct loop *loop, int64_t stop_at)
{
    if (!loop->started)
        return;
    atomic_store_explicit(&loop->stop_at, stop_at, memory_order_release);
    wake(loop);
}

void loop_join(struct loop *loop)
{
    if (loop->started)
        (void)pthread_join(loop->thread, NULL);
    loop->started = false;
    while (atomic_load_explicit(&loop->pushing, memory_order_acquire) != 0)
        (void)sched_yield();
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

void loop_free(struct loop *loop)
{
    close_if_open(loop->listener);
    close_if_open(loop->epoll);
    close_if_open(loop->wake);
    close_if_open(loop->spare);
    locked_free(loop->input.data, loop->input.capacity);
    locked_free(loop->output.data, loop->output.capacity);
    carry_pool_free(&loop->pool);
    BIO_meth_free(loop->socket_method);
    SSL_CTX_free(loop->tls);
    SSL_CTX_free(atomic_load(&loop->next_tls));
}
