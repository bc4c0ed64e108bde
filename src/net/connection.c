/* SPDX-License-Identifier: Apache-2.0 */
#include "net/connection.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net/tls.h"
#include "ttlv/ttlv.h"

enum {
    FRAMES_PER_TURN = 64, /* of one connection, before others have their turn */
    WARM_IDLE = 3000,     /* milliseconds; more than STAMP_EVERY, since that is what tells */
    READS_PER_TURN = 32,  /* of one connection, each at most a record's size */
    STAMP_EVERY = 1000,   /* milliseconds: a busy connection's deadline is moved so often */
};

/* What came of reading, of delivering, of a whole turn. */
enum step {
    STEP_MORE,  /* go on */
    STEP_PAUSE, /* nothing more now: the socket is empty or full, or an answer is awaited */
    STEP_YIELD, /* there is more, but others wait too */
    STEP_END,   /* the connection is over */
};

static void watch(struct net_connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (connection->interest == events)
        return;
    /* Cannot fail: the socket is watched, and changing it allocates nothing (epoll_ctl(2)). */
    (void)epoll_ctl(connection->loop->epoll, EPOLL_CTL_MOD, connection->socket.fd, &event);
    connection->interest = events;
}

static void wait_for(struct net_connection *connection, enum wait wait)
{
    struct loop *loop = connection->loop;
    deadline_remove(&connection->deadline);
    deadline_add(&loop->waiting[wait], &connection->deadline, loop->now);
    connection->wait = wait;
    connection->progress = false;
}

static void report(const struct net_connection *connection, const char *text)
{
    const struct net_handler *handler = &connection->loop->shared->handler;
    if (handler->event != NULL)
        handler->event(handler->context, connection->peer.address, text);
}

/* Errors that others left in this thread's queue would be taken for those of the next call. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

static void count_open(struct loop *loop, bool more)
{
    uint64_t open = atomic_load_explicit(&loop->counters.open, memory_order_relaxed);
    atomic_store_explicit(&loop->counters.open, more ? open + 1 : open - 1, memory_order_relaxed);
    if (more)
        (void)atomic_fetch_add(&loop->shared->open, 1);
    else
        (void)atomic_fetch_sub(&loop->shared->open, 1);
}

static bool prepare(struct net_connection *connection)
{
    int fd = connection->socket.fd;
    const int on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    connection->interest = EPOLLIN;
    connection->ssl = SSL_new(connection->loop->tls);
    if (connection->ssl == NULL || socket_use(connection->ssl, connection->loop->socket_method,
                                              &connection->socket) != STATUS_OK)
        return false;
    SSL_set_accept_state(connection->ssl);
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
           epoll_ctl(connection->loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

void connection_open(struct loop *loop, int fd, const union address *address)
{
    struct net_connection *connection = calloc(1, sizeof(*connection));
    loop_count(&loop->counters.accepted);
    if (connection == NULL) {
        (void)close(fd);
        return;
    }
    connection->loop = loop;
    connection->socket.fd = fd;
    if (!prepare(connection)) {
        ERR_clear_error();
        SSL_free(connection->ssl);
        free(connection);
        (void)close(fd);
        return;
    }
    address_text(address, connection->peer.address, sizeof(connection->peer.address));
    count_open(loop, true);
    wait_for(connection, WAIT_HANDSHAKE);
}

void connection_free(struct net_connection *connection)
{
    free(connection);
}

/* The last of it, when no answer is outstanding. */
static void bury(struct net_connection *connection)
{
    struct loop *loop = connection->loop;
    if (connection->known)
        loop->shared->handler.closed(loop->shared->handler.context, connection->session);
    count_open(loop, false);
    connection->state = CONNECTION_DEAD;
    connection->next = loop->dead;
    loop->dead = connection;
}

static void leave_warm(struct net_connection *connection)
{
    struct loop *loop = connection->loop;
    for (unsigned i = 0; i < WARM_MAX; ++i)
        if (loop->warm[i] == connection)
            loop->warm[i] = NULL;
    connection->warm = false;
}

/* The client's side of it is over: everything but the session goes. */
static void release_tls(struct net_connection *connection)
{
    struct loop *loop = connection->loop;
    if (connection->state == CONNECTION_HANDSHAKE)
        loop_count(&loop->counters.handshakes_failed);
    else if (!connection->spoke)
        loop_count(&loop->counters.bare);
    if (connection->known)
        clients_leave(loop->shared->clients, connection->peer.fingerprint);
    if (connection->warm)
        leave_warm(connection);
    carry_free(&loop->pool, &connection->input);
    carry_free(&loop->pool, &connection->unsent);
    tls_release_buffers(connection->ssl);
    SSL_free(connection->ssl);
    connection->ssl = NULL;
}

void connection_close(struct net_connection *connection)
{
    if (connection->state == CONNECTION_OPEN) {
        forget_errors();
        (void)SSL_shutdown(connection->ssl); /* close_notify; nobody waits for the other */
        ERR_clear_error();
    }
    deadline_remove(&connection->deadline);
    if (connection->ssl != NULL)
        release_tls(connection);
    (void)close(connection->socket.fd);
    connection->state = CONNECTION_LOST;
    if (!connection->outstanding)
        bury(connection);
}

/*
 * Ends it so that the client reads the last answer: closing a socket in which something is unread
 * sends a reset, which overtakes the answer. So only our side is closed, and what still comes is
 * thrown away until the client closes too or the deadline passes.
 */
static void connection_finish(struct net_connection *connection)
{
    if (connection->state == CONNECTION_OPEN)
        (void)SSL_shutdown(connection->ssl);
    ERR_clear_error();
    release_tls(connection);
    connection->state = CONNECTION_LINGER; /* from here on there is no TLS to shut down */
    if (shutdown(connection->socket.fd, SHUT_WR) != 0) {
        connection_close(connection);
        return;
    }
    watch(connection, EPOLLIN);
    wait_for(connection, WAIT_LINGER);
}

static void linger(struct net_connection *connection)
{
    struct carry *scratch = &connection->loop->input;
    ssize_t size = read(connection->socket.fd, scratch->data, scratch->capacity);
    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
        connection_close(connection);
}

/* Sending */

/* The certificate in a session is parsed in the thread's context, whatever that of the SSL is. */
static int do_handshake(struct net_connection *connection)
{
    OSSL_LIB_CTX *others = OSSL_LIB_CTX_set0_default(connection->loop->library);
    int result = SSL_do_handshake(connection->ssl);
    (void)OSSL_LIB_CTX_set0_default(others);
    return result;
}

/* What the socket does not take now, SSL_write() sends before the answer. */
static void offer_ticket(struct net_connection *connection)
{
    connection->offer_ticket = false;
    forget_errors();
    if (SSL_version(connection->ssl) == TLS1_3_VERSION &&
        SSL_new_session_ticket(connection->ssl) == 1)
        (void)do_handshake(connection);
}

/* Writes what the socket takes and returns how much, or STEP_END when the client is gone. */
static enum step write_some(struct net_connection *connection, struct bytes bytes,
                            size_t *ret_written)
{
    size_t done = 0;
    forget_errors();
    while (done < bytes.size) {
        size_t written = 0;
        if (SSL_write_ex(connection->ssl, bytes.data + done, bytes.size - done, &written) != 1)
            break;
        done += written;
    }
    *ret_written = done;
    if (done == bytes.size)
        return STEP_MORE;
    return SSL_get_error(connection->ssl, 0) == SSL_ERROR_WANT_WRITE ? STEP_PAUSE : STEP_END;
}

/* What the socket does not take is kept, so that the caller's bytes are free in any case. */
static enum step send_bytes(struct net_connection *connection, struct bytes bytes)
{
    struct carry_pool *pool = &connection->loop->pool;
    size_t written = 0;
    if (connection->offer_ticket)
        offer_ticket(connection);
    if (connection->unsent.data == NULL) {
        enum step step = write_some(connection, bytes, &written);
        if (step != STEP_PAUSE)
            return step;
    }
    const struct bytes rest = {bytes.data + written, bytes.size - written};
    return carry_append(pool, &connection->unsent, rest) == STATUS_OK ? STEP_PAUSE : STEP_END;
}

static enum step send_unsent(struct net_connection *connection)
{
    struct carry *unsent = &connection->unsent;
    size_t written;
    enum step step = write_some(
        connection, (struct bytes){unsent->data + unsent->start, carry_size(unsent)}, &written);
    unsent->start += written;
    if (step == STEP_MORE) {
        carry_free(&connection->loop->pool, unsent);
        connection->progress = true;
    }
    return step;
}

static enum step send_output(struct net_connection *connection)
{
    struct carry *output = &connection->loop->output;
    if (output->end == 0)
        return STEP_MORE;
    enum step step = send_bytes(connection, (struct bytes){output->data, output->end});
    carry_wipe(output);
    return step;
}

/* Collects the answers to pipelined frames in one record; a lone one is written where it lies. */
static enum step send_or_collect(struct net_connection *connection, struct bytes bytes, bool last)
{
    struct carry *output = &connection->loop->output;
    enum step step = STEP_MORE;
    if (bytes.size > output->capacity - output->end)
        step = send_output(connection);
    if (step == STEP_END)
        return step;
    if ((last && output->end == 0) || bytes.size > output->capacity)
        return send_bytes(connection, bytes);
    memcpy(output->data + output->end, bytes.data, bytes.size);
    output->end += bytes.size;
    return last ? send_output(connection) : STEP_MORE;
}

static enum step take_reply(struct net_connection *connection, struct net_reply *reply, bool last)
{
    enum step step = STEP_MORE;
    connection->outstanding = false;
    connection->progress = true;
    if (reply->close)
        connection->closing = true;
    if (connection->state == CONNECTION_OPEN && reply->bytes.size > 0)
        step = send_or_collect(connection, reply->bytes, last || reply->close);
    reply->release(reply);
    return step;
}

/* Receiving */

static void take_fingerprint(struct net_connection *connection)
{
    const X509 *certificate = SSL_get0_peer_certificate(connection->ssl);
    struct net_peer *peer = &connection->peer;
    peer->has_certificate =
        certificate != NULL && X509_digest(certificate, EVP_sha256(), peer->fingerprint, NULL) == 1;
}

/* At the first frame: half of all connections end without one. */
static enum step make_known(struct net_connection *connection)
{
    struct loop *loop = connection->loop;
    const struct net_handler *handler = &loop->shared->handler;
    take_fingerprint(connection);
    if (clients_enter(loop->shared->clients, connection->peer.fingerprint,
                      SSL_session_reused(connection->ssl) == 1,
                      &connection->offer_ticket) != STATUS_OK) {
        loop_count(&loop->counters.refused_certificate_limit);
        report(connection, "closed: too many connections with this certificate");
        return STEP_END;
    }
    connection->session = handler->opened(handler->context, connection, &connection->peer);
    if (connection->session == NULL) {
        clients_leave(loop->shared->clients, connection->peer.fingerprint);
        return STEP_END;
    }
    connection->known = true;
    return STEP_MORE;
}

/* Whether a whole frame, or what can be none, is at the start of the input. *ret_frame: the frame,
 * or with a status what there is. */
static bool next_frame(const struct net_connection *connection, const struct carry *input,
                       struct bytes *ret_frame, enum status *ret_status)
{
    const uint8_t *data = input->data + input->start;
    size_t size;
    if (carry_size(input) < TTLV_HEADER_SIZE)
        return false;
    *ret_status = ttlv_frame_size(data, connection->loop->shared->frame_max, &size);
    *ret_frame = (struct bytes){data, *ret_status == STATUS_OK ? size : carry_size(input)};
    return ret_frame->size <= carry_size(input);
}

/* The handler may answer at once, later, or has done so already on another thread. */
static void call_handler(struct net_connection *connection, struct bytes frame, enum status status)
{
    const struct net_handler *handler = &connection->loop->shared->handler;
    connection->outstanding = true;
    connection->delivering = true;
    if (status == STATUS_OK)
        handler->frame(handler->context, connection->session, connection, frame);
    else
        handler->bad_frame(handler->context, connection->session, connection, frame, status);
    connection->delivering = false;
}

static enum step deliver_one(struct net_connection *connection, struct carry *input,
                             struct bytes frame, enum status status)
{
    connection->spoke = true;
    if (!connection->known && make_known(connection) != STEP_MORE)
        return STEP_END;
    if (status == STATUS_OK)
        loop_count(&connection->loop->counters.frames);
    else
        connection->closing = true;
    connection->reply_inside = NULL;
    call_handler(connection, frame, status);
    connection->progress = true;
    input->start += frame.size;
    struct net_reply *reply = connection->reply_inside;
    if (reply == NULL)
        return send_output(connection) == STEP_END ? STEP_END : STEP_PAUSE;
    bool last = connection->closing || !next_frame(connection, input, &frame, &status);
    enum step step = take_reply(connection, reply, last);
    return step == STEP_MORE && connection->closing ? STEP_PAUSE : step;
}

/* Hands over frames until none is whole, one waits for its answer, or the socket is full. */
static enum step deliver(struct net_connection *connection, struct carry *input, unsigned *frames)
{
    struct bytes frame;
    enum status status;
    while (next_frame(connection, input, &frame, &status)) {
        if ((*frames)++ == FRAMES_PER_TURN)
            return send_output(connection) == STEP_END ? STEP_END : STEP_YIELD;
        enum step step = deliver_one(connection, input, frame, status);
        if (step != STEP_MORE)
            return step;
    }
    return STEP_MORE;
}

/*
 * Makes room for the rest of the frame that has begun in *input and returns how many bytes to read
 * behind it. The loop's buffer takes what comes. A buffer of the connection's own is filled to the
 * end of its frame and not beyond, so that it is given back with it; it grows as bytes come, not
 * by what a header promises.
 */
static enum status make_space(struct net_connection *connection, struct carry **input,
                              size_t *ret_space)
{
    struct loop *loop = connection->loop;
    struct carry *own = &connection->input;
    size_t whole = TTLV_HEADER_SIZE;
    enum status status = STATUS_OK;
    carry_compact(*input);
    if ((*input)->end >= TTLV_HEADER_SIZE)
        status = ttlv_frame_size((*input)->data, loop->shared->frame_max, &whole);
    if (status != STATUS_OK)
        return status;
    if (*input == &loop->input && whole <= loop->input.capacity) {
        *ret_space = loop->input.capacity - loop->input.end;
        return STATUS_OK;
    }
    if (*input != own)
        status = carry_move(&loop->pool, own, *input);
    if (status != STATUS_OK)
        return status;
    *input = own;
    size_t rest = whole - own->end;
    status = carry_reserve(&loop->pool, own, own->end < rest ? own->end : rest);
    size_t room = own->capacity - own->end;
    *ret_space = room < rest ? room : rest;
    return status;
}

static enum step read_some(struct net_connection *connection, struct carry **input)
{
    struct carry_pool *pool = &connection->loop->pool;
    size_t space;
    size_t size = 0;
    if (carry_size(*input) == 0 && *input == &connection->input) {
        carry_free(pool, *input);
        *input = &connection->loop->input;
    }
    if (make_space(connection, input, &space) != STATUS_OK)
        return STEP_END;
    forget_errors();
    uint8_t *end = (*input)->data + (*input)->end;
    if (SSL_read_ex(connection->ssl, end, space, &size) == 1) {
        (*input)->end += size;
        return STEP_MORE;
    }
    int error = SSL_get_error(connection->ssl, 0);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? STEP_PAUSE : STEP_END;
}

/* Nothing of one connection stays in the loop's buffers. */
static enum step leave_buffers(struct net_connection *connection, enum step step)
{
    struct loop *loop = connection->loop;
    if (carry_size(&loop->input) > 0 && step != STEP_END && !connection->closing &&
        carry_move(&loop->pool, &connection->input, &loop->input) != STATUS_OK)
        step = STEP_END;
    carry_wipe(&loop->input);
    carry_wipe(&loop->output);
    if (connection->input.data != NULL && carry_size(&connection->input) == 0)
        carry_free(&loop->pool, &connection->input);
    return step;
}

/* Frames that are there, then what can be read, and so on. `readable`: the socket may have more;
 * otherwise only what OpenSSL has read ahead is taken, which epoll does not know of. */
static enum step take_turn(struct net_connection *connection, bool readable)
{
    struct loop *loop = connection->loop;
    struct carry *input = connection->input.data != NULL ? &connection->input : &loop->input;
    unsigned frames = 0;
    enum step step;
    connection->socket.reads = READS_PER_TURN;
    for (;;) {
        step = deliver(connection, input, &frames);
        if (step != STEP_MORE)
            break;
        if (!readable && SSL_has_pending(connection->ssl) != 1) {
            step = STEP_PAUSE;
            break;
        }
        readable = false;
        step = read_some(connection, &input);
        if (step != STEP_MORE)
            break;
    }
    return leave_buffers(connection, step);
}

/* Waiting */

static enum wait wait_of(const struct net_connection *connection)
{
    if (connection->unsent.data != NULL)
        return WAIT_WRITE;
    if (connection->outstanding)
        return WAIT_IDLE;
    if (connection->input.data != NULL || tls_record_begun(connection->ssl))
        return WAIT_FRAME;
    return connection->known ? WAIT_IDLE : WAIT_FIRST_FRAME;
}

/* Moving a deadline touches two neighbours that the cache may not have: not for every request. */
static void stamp(struct net_connection *connection)
{
    enum wait wait = wait_of(connection);
    bool old =
        wait != WAIT_IDLE || connection->loop->now - connection->deadline.since >= STAMP_EVERY;
    if (wait != connection->wait || (connection->progress && old))
        wait_for(connection, wait);
}

/*
 * Allocating record buffers for each request costs a twentieth of it, keeping them for all
 * connections 32 KiB each and, when these are many, more in cache misses. So a few busy ones keep
 * theirs: a place becomes free when who has it was idle for a while.
 */
static void warm_or_release(struct net_connection *connection)
{
    struct loop *loop = connection->loop;
    struct net_connection **place = &loop->warm[loop->warm_next++ % WARM_MAX];
    if (*place != NULL && loop->now - (*place)->deadline.since <= WARM_IDLE) {
        tls_release_buffers(connection->ssl);
        return;
    }
    if (*place != NULL) {
        (*place)->warm = false;
        tls_release_buffers((*place)->ssl);
    }
    *place = connection;
    connection->warm = true;
}

/* At the end of whatever happened to an open connection: what it waits for now. */
static void settle(struct net_connection *connection)
{
    bool unsent = connection->unsent.data != NULL;
    bool busy = connection->outstanding || unsent;
    if (connection->closing && !busy) {
        connection_finish(connection);
        return;
    }
    if (connection->loop->draining && !busy && wait_of(connection) != WAIT_FRAME) {
        if (connection->progress)
            connection_finish(connection);
        else
            connection_close(connection);
        return;
    }
    if (unsent)
        watch(connection, EPOLLOUT);
    else if (!busy)
        watch(connection, EPOLLIN);
    else if ((connection->interest & EPOLLOUT) != 0)
        watch(connection, 0);
    stamp(connection);
    if (!connection->warm)
        warm_or_release(connection);
}

static void serve(struct net_connection *connection, bool readable)
{
    enum step step = take_turn(connection, readable);
    if (step == STEP_END) {
        connection_close(connection);
    } else if (step == STEP_YIELD) {
        watch(connection, EPOLLIN | EPOLLOUT); /* writable at once: its turn comes again */
        stamp(connection);
    } else {
        settle(connection);
    }
}

void connection_answered(struct net_connection *connection)
{
    struct net_reply *reply = connection->reply;
    enum step step = take_reply(connection, reply, true);
    if (connection->state == CONNECTION_LOST)
        bury(connection);
    else if (step == STEP_END)
        connection_close(connection);
    else if (step == STEP_MORE && !connection->closing &&
             (connection->input.data != NULL || SSL_has_pending(connection->ssl) == 1))
        serve(connection, false);
    else
        settle(connection);
}

void net_answer(struct net_connection *connection, struct net_reply *reply)
{
    if (loop_is_here(connection->loop) && connection->delivering) {
        connection->reply_inside = reply;
        return;
    }
    connection->reply = reply;
    loop_push_answered(connection->loop, connection);
}

unsigned net_connection_loop(const struct net_connection *connection)
{
    return connection->loop->index;
}

static void shake_hands(struct net_connection *connection)
{
    struct loop *loop = connection->loop;
    forget_errors();
    connection->socket.reads = READS_PER_TURN;
    int result = do_handshake(connection);
    if (result == 1) {
        loop_count(&loop->counters.handshakes);
        if (SSL_session_reused(connection->ssl) == 1)
            loop_count(&loop->counters.resumed);
        connection->state = CONNECTION_OPEN;
        serve(connection, false);
        return;
    }
    int error = SSL_get_error(connection->ssl, result);
    if (error == SSL_ERROR_WANT_READ) {
        tls_release_buffers(connection->ssl);
        watch(connection, EPOLLIN);
    } else if (error == SSL_ERROR_WANT_WRITE) {
        watch(connection, EPOLLOUT);
    } else if (error == SSL_ERROR_SSL) {
        report(connection, tls_reason());
        connection_finish(connection); /* so that the client reads the alert */
    } else {
        report(connection, "closed by the client during the handshake");
        connection_close(connection);
    }
}

static void serve_open(struct net_connection *connection, uint32_t events)
{
    if (connection->unsent.data != NULL) {
        enum step step = send_unsent(connection);
        if (step == STEP_END) {
            connection_close(connection);
            return;
        }
    }
    if (connection->outstanding && (events & (EPOLLERR | EPOLLHUP)) != 0) {
        connection_close(connection);
    } else if (connection->outstanding) {
        watch(connection, 0); /* most clients send nothing before the answer: not done in advance */
        settle(connection);
    } else if (connection->unsent.data == NULL && !connection->closing) {
        serve(connection, (events & ~(uint32_t)EPOLLOUT) != 0);
    } else {
        settle(connection);
    }
}

void connection_event(struct net_connection *connection, uint32_t events)
{
    switch (connection->state) {
    case CONNECTION_HANDSHAKE:
        shake_hands(connection);
        break;
    case CONNECTION_OPEN:
        serve_open(connection, events);
        break;
    case CONNECTION_LINGER:
        linger(connection);
        break;
    case CONNECTION_LOST:
    case CONNECTION_DEAD:
        break; /* lost earlier in this turn */
    }
}

void connection_expired(struct net_connection *connection)
{
    static const char *const reasons[WAIT_COUNT] = {
        [WAIT_HANDSHAKE] = "closed: no handshake in time",
        [WAIT_FIRST_FRAME] = "closed: no request in time",
        [WAIT_IDLE] = "closed: idle",
        [WAIT_FRAME] = "closed: the rest of a request did not come in time",
        [WAIT_WRITE] = "closed: the client did not read its answer in time",
    };
    if (connection->outstanding && connection->wait == WAIT_IDLE) {
        wait_for(connection, WAIT_IDLE);
        return;
    }
    if (connection->wait != WAIT_LINGER) {
        loop_count(&connection->loop->counters.timed_out);
        report(connection, reasons[connection->wait]);
    }
    connection_close(connection);
}

void connection_drain(struct net_connection *connection)
{
    if (connection->state == CONNECTION_HANDSHAKE) {
        connection_close(connection);
    } else if (connection->state == CONNECTION_OPEN && !connection->outstanding &&
               connection->unsent.data == NULL) {
        connection->progress = false;
        serve(connection, true);
    }
}
