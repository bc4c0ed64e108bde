/* SPDX-License-Identifier: Apache-2.0 */
#include "net_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 10 };

struct session {
    bool busy; /* has a frame that was not answered */
};

struct answer {
    struct net_reply reply;
    struct net_connection *connection;
    struct session *session;
    struct answer *next;
    uint8_t bytes[];
};

struct fixture fixture;

static void lock(void)
{
    (void)pthread_mutex_lock(&fixture.seen.lock);
}

/* Whoever waits for a change looks again. */
static void unlock(void)
{
    (void)pthread_cond_broadcast(&fixture.seen.changed);
    (void)pthread_mutex_unlock(&fixture.seen.lock);
}

/* The handler. It runs on threads on which cmocka's assertions cannot be used: it counts, and
 * fixture_tear_down() judges. */

static void release(struct net_reply *reply)
{
    lock();
    ++fixture.seen.released;
    unlock();
    free(CONTAINER_OF(reply, struct answer, reply));
}

static struct answer *make_answer(struct net_connection *connection, struct session *session,
                                  size_t size)
{
    struct answer *answer = calloc(1, sizeof(*answer) + size);
    if (answer == NULL)
        abort();
    answer->connection = connection;
    answer->session = session;
    answer->reply = (struct net_reply){.bytes = {answer->bytes, size}, .release = release};
    return answer;
}

static void give(struct answer *answer)
{
    lock();
    answer->session->busy = false;
    unlock();
    net_answer(answer->connection, &answer->reply);
}

static struct answer *pop(struct answer **list)
{
    struct answer *first = *list;
    if (first != NULL)
        *list = first->next;
    return first;
}

static void append(struct answer **list, struct answer *answer)
{
    while (*list != NULL)
        list = &(*list)->next;
    *list = answer;
}

static void *on_opened(void *context, struct net_connection *connection,
                       const struct net_peer *peer)
{
    struct seen *seen = context;
    struct session *session = NULL;
    lock();
    seen->peer = *peer;
    if (!seen->refuse) {
        ++seen->opened;
        session = calloc(1, sizeof(*session));
    }
    unlock();
    return session;
}

static void on_closed(void *context, void *closed)
{
    struct seen *seen = context;
    struct session *session = closed;
    lock();
    seen->overlaps += session->busy;
    ++seen->closed;
    unlock();
    free(session);
}

static struct answer *obey(struct net_connection *connection, struct session *session,
                           struct bytes frame, enum order order)
{
    size_t size = order == ORDER_BIG ? BIG_ANSWER : order == ORDER_HANG_UP ? 0 : frame.size;
    struct answer *answer = make_answer(connection, session, size);
    answer->reply.close = order == ORDER_CLOSE || order == ORDER_HANG_UP;
    if (order != ORDER_BIG && size > 0)
        memcpy(answer->bytes, frame.data, size);
    return answer;
}

static void on_frame(void *context, void *session_given, struct net_connection *connection,
                     struct bytes frame)
{
    struct seen *seen = context;
    struct session *session = session_given;
    enum order order = frame.size > HEADER ? (enum order)frame.data[HEADER] : ORDER_ECHO;
    struct answer *answer = obey(connection, session, frame, order);
    struct answer *freed = NULL;
    lock();
    ++seen->frames;
    seen->overlaps += session->busy;
    session->busy = true;
    if (order == ORDER_LATER)
        append(&seen->later, answer);
    else if (order == ORDER_HOLD)
        append(&seen->held, answer);
    if (order == ORDER_FREE) {
        freed = seen->held;
        seen->held = NULL;
    }
    unlock();
    while (freed != NULL)
        give(pop(&freed));
    if (order != ORDER_LATER && order != ORDER_HOLD)
        give(answer);
}

static void on_bad_frame(void *context, void *session, struct net_connection *connection,
                         struct bytes header, enum status status)
{
    struct seen *seen = context;
    lock();
    seen->malformed += status == STATUS_MALFORMED && header.size >= HEADER;
    seen->too_large += status == STATUS_TOO_LARGE && header.size >= HEADER;
    unlock();
    struct answer *answer = make_answer(connection, session, SORRY_SIZE);
    answer->reply.close = true;
    give(answer);
}

static void on_event(void *context, const char *address, const char *text)
{
    struct seen *seen = context;
    lock();
    size_t length = strlen(seen->events);
    (void)snprintf(seen->events + length, sizeof(seen->events) - length, "%s %s\n", address, text);
    unlock();
}

static void *answer_later(void *context)
{
    struct seen *seen = context;
    (void)pthread_mutex_lock(&seen->lock);
    while (!seen->stop || seen->later != NULL) {
        struct answer *answer = pop(&seen->later);
        if (answer == NULL) {
            (void)pthread_cond_wait(&seen->changed, &seen->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&seen->lock);
        give(answer);
        (void)pthread_mutex_lock(&seen->lock);
    }
    (void)pthread_mutex_unlock(&seen->lock);
    return NULL;
}

static const struct net_handler handler = {
    .context = &fixture.seen,
    .opened = on_opened,
    .frame = on_frame,
    .bad_frame = on_bad_frame,
    .closed = on_closed,
    .event = on_event,
};

/* Looking at it */

unsigned number(const unsigned *of_seen)
{
    lock();
    unsigned value = *of_seen;
    unlock();
    return value;
}

struct net_peer last_peer(void)
{
    lock();
    struct net_peer peer = fixture.seen.peer;
    unlock();
    return peer;
}

void wait_until(const unsigned *number, unsigned least)
{
    struct timespec end;
    int result = 0;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE_SECONDS;
    (void)pthread_mutex_lock(&fixture.seen.lock);
    while (*number < least && result == 0)
        result = pthread_cond_timedwait(&fixture.seen.changed, &fixture.seen.lock, &end);
    unsigned reached = *number;
    (void)pthread_mutex_unlock(&fixture.seen.lock);
    assert_in_range(reached, least, UINT32_MAX);
}

struct net_counters counters(void)
{
    struct net_counters now;
    net_counters(fixture.net, &now);
    return now;
}

void wait_for_counter(size_t offset, uint64_t value)
{
    uint64_t reached = ~value;
    for (unsigned i = 0; i < PATIENCE_SECONDS * 200 && reached != value; ++i) {
        struct net_counters now = counters();
        memcpy(&reached, (const uint8_t *)&now + offset, sizeof(reached));
        if (reached != value)
            (void)usleep(5000);
    }
    assert_int_equal(reached, value);
}

bool event_seen(const char *text)
{
    lock();
    bool found = strstr(fixture.seen.events, text) != NULL;
    unlock();
    return found;
}

void answer_held(void)
{
    lock();
    struct answer *answer = pop(&fixture.seen.held);
    unlock();
    assert_non_null(answer);
    give(answer);
}

/* Starting and stopping */

struct net_options fixture_options(void)
{
    return (struct net_options){
        .address = "127.0.0.1:0",
        .loops = 2,
        .frame_max = FRAME_MAX,
        .connections_max = 2000,
        .connections_per_certificate = 1500,
        .handshake_seconds = 30,
        .frame_seconds = 30,
        .idle_seconds = 30,
        .certificate_file = fixture.certificate_file,
        .key_file = fixture.key_file,
    };
}

void fixture_start(const struct net_options *options)
{
    struct error warning;
    struct error error = {0};
    if (net_start(options, &handler, &fixture.net, &warning, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    assert_string_equal(warning.text, "");
    fixture.port = net_port(fixture.net);
}

void fixture_stop(unsigned milliseconds)
{
    net_stop(fixture.net, milliseconds);
    fixture.net = NULL;
}

void fixture_refuse(const struct net_options *options, enum status status, struct error *ret_error)
{
    struct error warning;
    *ret_error = (struct error){0};
    assert_int_equal(net_start(options, &handler, &fixture.net, &warning, ret_error), status);
    assert_null(fixture.net);
    assert_int_equal(ret_error->status, status);
}

int fixture_set_up_all(void **state)
{
    struct rlimit files;
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    (void)snprintf(fixture.directory, sizeof(fixture.directory), "/tmp/test_net.XXXXXX");
    assert_non_null(mkdtemp(fixture.directory));
    (void)snprintf(fixture.certificate_file, sizeof(fixture.certificate_file), "%s/server.pem",
                   fixture.directory);
    (void)snprintf(fixture.key_file, sizeof(fixture.key_file), "%s/server.key", fixture.directory);
    fixture.server = credentials_make("EC", 0, "server", -1, 365);
    fixture.client = credentials_make("EC", 0, "kmipClient20240101000000", -1, 365);
    fixture.tls13 = peer_context(&fixture.client, TLS1_3_VERSION);
    fixture.tls12 = peer_context(&fixture.client, TLS1_2_VERSION);
    return 0;
}

int fixture_tear_down_all(void **state)
{
    SSL_CTX_free(fixture.tls13);
    SSL_CTX_free(fixture.tls12);
    credentials_free(&fixture.server);
    credentials_free(&fixture.client);
    (void)unlink(fixture.certificate_file);
    (void)unlink(fixture.key_file);
    return rmdir(fixture.directory);
}

int fixture_set_up(void **state)
{
    fixture.seen = (struct seen){0};
    credentials_write(&fixture.server, fixture.certificate_file, fixture.key_file);
    (void)pthread_mutex_init(&fixture.seen.lock, NULL);
    (void)pthread_cond_init(&fixture.seen.changed, NULL);
    return pthread_create(&fixture.seen.thread, NULL, answer_later, &fixture.seen);
}

int fixture_tear_down(void **state)
{
    struct seen *seen = &fixture.seen;
    fixture_stop(0);
    lock();
    seen->stop = true;
    unlock();
    (void)pthread_join(seen->thread, NULL);
    assert_int_equal(seen->opened, seen->closed);
    assert_int_equal(seen->frames + seen->malformed + seen->too_large, seen->released);
    assert_int_equal(seen->overlaps, 0);
    assert_null(seen->held);
    (void)pthread_mutex_destroy(&seen->lock);
    (void)pthread_cond_destroy(&seen->changed);
    return 0;
}

/* Frames */

struct bytes frame_make(uint8_t *memory, size_t size, enum order order)
{
    size_t length = size - HEADER;
    const uint8_t header[HEADER] = {0x42,
                                    0x00,
                                    0x78,
                                    0x01,
                                    (uint8_t)(length >> 24),
                                    (uint8_t)(length >> 16),
                                    (uint8_t)(length >> 8),
                                    (uint8_t)length};
    memcpy(memory, header, HEADER);
    for (size_t i = HEADER; i < size; ++i)
        memory[i] = (uint8_t)(i * 13 + (i >> 8));
    memory[HEADER] = (uint8_t)order;
    return (struct bytes){memory, size};
}

void expect(const struct peer *peer, struct bytes bytes)
{
    uint8_t *received = malloc(bytes.size);
    assert_non_null(received);
    peer_receive(peer, received, bytes.size);
    assert_memory_equal(received, bytes.data, bytes.size);
    free(received);
}

void exchange(const struct peer *peer, size_t size, enum order order)
{
    uint8_t *memory = malloc(size);
    assert_non_null(memory);
    struct bytes frame = frame_make(memory, size, order);
    peer_send(peer, frame);
    expect(peer, frame);
    free(memory);
}
