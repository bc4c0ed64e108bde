/* SPDX-License-Identifier: Apache-2.0 */
/* The promises of net/net.h, by a server in this process and blocking clients beside it. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/net.h"
#include "tls_peer.h"

/* What the server of these tests does with a frame; the first byte behind the header. */
enum order {
    ORDER_ECHO = 'e',  /* answers at once, with the same bytes */
    ORDER_LATER = 'l', /* answers with the same bytes, from another thread */
    ORDER_HOLD = 'h',  /* answers when the test says so */
    ORDER_CLOSE = 'c', /* answers at once, and closes */
    ORDER_BIG = 'b',   /* answers with BIG_ANSWER bytes */
    ORDER_HANG_UP = 'u', /* answers with nothing, and closes */
};

enum {
    FRAME_MAX = 1024 * 1024,
    BIG_ANSWER = 8 * 1024 * 1024,
    HEADER = 8,
    TEXTS_MAX = 64,
};

struct answer {
    struct net_reply reply;
    struct net_connection *connection;
    struct answer *next;
    uint8_t bytes[];
};

/* What the handler has seen; the lock is for everything. */
struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct answer *later; /* for the other thread */
    struct answer *held;  /* for the test */
    pthread_t thread;
    bool stop;
    unsigned opened;
    unsigned closed;
    unsigned frames;
    unsigned released;
    unsigned bad_malformed;
    unsigned bad_too_large;
    unsigned in_flight_max; /* of one connection */
    bool refuse;            /* opened() returns NULL */
    struct net_peer peer;   /* the last one opened */
    char events[4096];
};

struct session {
    unsigned in_flight;
};

static struct {
    char directory[64];
    char certificate_file[96];
    char key_file[96];
    struct credentials server;
    struct credentials client;
    struct seen seen;
    struct net *net;
    unsigned port;
    SSL_CTX *tls13;
    SSL_CTX *tls12;
} fixture;

static void release(struct net_reply *reply)
{
    struct answer *answer = CONTAINER_OF(reply, struct answer, reply);
    (void)pthread_mutex_lock(&fixture.seen.lock);
    ++fixture.seen.released;
    (void)pthread_cond_broadcast(&fixture.seen.changed);
    (void)pthread_mutex_unlock(&fixture.seen.lock);
    free(answer);
}

static struct answer *make_answer(struct net_connection *connection, struct bytes bytes)
{
    struct answer *answer = calloc(1, sizeof(*answer) + bytes.size);
    assert_non_null(answer);
    if (bytes.size > 0)
        memcpy(answer->bytes, bytes.data, bytes.size);
    answer->connection = connection;
    answer->reply = (struct net_reply){.bytes = {answer->bytes, bytes.size}, .release = release};
    return answer;
}

static struct answer *make_big_answer(struct net_connection *connection)
{
    uint8_t *bytes = malloc(BIG_ANSWER);
    for (size_t i = 0; i < BIG_ANSWER; ++i)
        bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    struct answer *answer = make_answer(connection, (struct bytes){bytes, BIG_ANSWER});
    free(bytes);
    return answer;
}

static void *on_opened(void *context, struct net_connection *connection,
                       const struct net_peer *peer)
{
    struct seen *seen = context;
    struct session *session = NULL;
    (void)pthread_mutex_lock(&seen->lock);
    seen->peer = *peer;
    if (!seen->refuse) {
        ++seen->opened;
        session = calloc(1, sizeof(*session));
    }
    (void)pthread_mutex_unlock(&seen->lock);
    return session;
}

static void on_closed(void *context, void *session)
{
    struct seen *seen = context;
    (void)pthread_mutex_lock(&seen->lock);
    ++seen->closed;
    (void)pthread_cond_broadcast(&seen->changed);
    (void)pthread_mutex_unlock(&seen->lock);
    free(session);
}

static void queue(struct answer **list, struct answer *answer)
{
    while (*list != NULL)
        list = &(*list)->next;
    *list = answer;
}

static void on_frame(void *context, void *session, struct net_connection *connection,
                     struct bytes frame)
{
    struct seen *seen = context;
    uint8_t order = frame.size > HEADER ? frame.data[HEADER] : ORDER_ECHO;
    struct answer *answer = order == ORDER_BIG     ? make_big_answer(connection)
                            : order == ORDER_HANG_UP ? make_answer(connection, (struct bytes){0})
                                                     : make_answer(connection, frame);
    answer->reply.close = order == ORDER_CLOSE || order == ORDER_HANG_UP;
    (void)pthread_mutex_lock(&seen->lock);
    ++seen->frames;
    if (order == ORDER_LATER)
        queue(&seen->later, answer);
    else if (order == ORDER_HOLD)
        queue(&seen->held, answer);
    (void)pthread_cond_broadcast(&seen->changed);
    (void)pthread_mutex_unlock(&seen->lock);
    if (order != ORDER_LATER && order != ORDER_HOLD)
        net_answer(connection, &answer->reply);
}

static void on_bad_frame(void *context, void *session, struct net_connection *connection,
                         struct bytes header, enum status status)
{
    static const uint8_t sorry[HEADER] = {0x42, 0, 0x7b, 1, 0, 0, 0, 0};
    struct seen *seen = context;
    (void)pthread_mutex_lock(&seen->lock);
    seen->bad_malformed += status == STATUS_MALFORMED && header.size >= HEADER;
    seen->bad_too_large += status == STATUS_TOO_LARGE && header.size >= HEADER;
    (void)pthread_mutex_unlock(&seen->lock);
    struct answer *answer = make_answer(connection, (struct bytes){sorry, sizeof(sorry)});
    answer->reply.close = true;
    net_answer(connection, &answer->reply);
}

static void on_event(void *context, const char *address, const char *text)
{
    struct seen *seen = context;
    (void)pthread_mutex_lock(&seen->lock);
    size_t length = strlen(seen->events);
    (void)snprintf(seen->events + length, sizeof(seen->events) - length, "%s %s\n", address, text);
    (void)pthread_mutex_unlock(&seen->lock);
}

/* The other thread. */
static void *answer_later(void *context)
{
    struct seen *seen = context;
    (void)pthread_mutex_lock(&seen->lock);
    while (!seen->stop || seen->later != NULL) {
        struct answer *answer = seen->later;
        if (answer == NULL) {
            (void)pthread_cond_wait(&seen->changed, &seen->lock);
            continue;
        }
        seen->later = answer->next;
        (void)pthread_mutex_unlock(&seen->lock);
        net_answer(answer->connection, &answer->reply);
        (void)pthread_mutex_lock(&seen->lock);
    }
    (void)pthread_mutex_unlock(&seen->lock);
    return NULL;
}

/* Waits, at most ten seconds, until *number reaches `least`. */
static void wait_until(const unsigned *number, unsigned least)
{
    struct timespec end;
    int result = 0;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 10;
    (void)pthread_mutex_lock(&fixture.seen.lock);
    while (*number < least && result == 0)
        result = pthread_cond_timedwait(&fixture.seen.changed, &fixture.seen.lock, &end);
    unsigned reached = *number;
    (void)pthread_mutex_unlock(&fixture.seen.lock);
    assert_true(reached >= least);
}

static void answer_held(void)
{
    (void)pthread_mutex_lock(&fixture.seen.lock);
    struct answer *answer = fixture.seen.held;
    assert_non_null(answer);
    fixture.seen.held = answer->next;
    (void)pthread_mutex_unlock(&fixture.seen.lock);
    net_answer(answer->connection, &answer->reply);
}

static struct net_counters counters(void)
{
    struct net_counters now;
    net_counters(fixture.net, &now);
    return now;
}

/* Waits, at most ten seconds, until a counter, given by its offset, has `value`. */
static void wait_for_counter(size_t offset, uint64_t value)
{
    uint64_t reached = UINT64_MAX;
    for (unsigned i = 0; i < 1000 && reached != value; ++i) {
        struct net_counters now = counters();
        memcpy(&reached, (const uint8_t *)&now + offset, sizeof(reached));
        if (reached != value)
            (void)usleep(10000);
    }
    assert_int_equal(reached, value);
}

#define wait_for_count(field, value) wait_for_counter(offsetof(struct net_counters, field), value)

static struct net_options usual_options(void)
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

static const struct net_handler handler = {
    .context = &fixture.seen,
    .opened = on_opened,
    .frame = on_frame,
    .bad_frame = on_bad_frame,
    .closed = on_closed,
    .event = on_event,
};

static void start(const struct net_options *options)
{
    struct error warning;
    struct error error = {0};
    if (net_start(options, &handler, &fixture.net, &warning, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    fixture.port = net_port(fixture.net);
}

static void start_usual(void)
{
    const struct net_options options = usual_options();
    start(&options);
}

static void stop(unsigned milliseconds)
{
    net_stop(fixture.net, milliseconds);
    fixture.net = NULL;
}

/* Fixture */

static int set_up_all(void **state)
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
    credentials_write(&fixture.server, fixture.certificate_file, fixture.key_file);
    fixture.tls13 = peer_context(&fixture.client, TLS1_3_VERSION);
    fixture.tls12 = peer_context(&fixture.client, TLS1_2_VERSION);
    return 0;
}

static int tear_down_all(void **state)
{
    SSL_CTX_free(fixture.tls13);
    SSL_CTX_free(fixture.tls12);
    credentials_free(&fixture.server);
    credentials_free(&fixture.client);
    (void)unlink(fixture.certificate_file);
    (void)unlink(fixture.key_file);
    return rmdir(fixture.directory);
}

static int set_up(void **state)
{
    fixture.seen = (struct seen){0};
    (void)pthread_mutex_init(&fixture.seen.lock, NULL);
    (void)pthread_cond_init(&fixture.seen.changed, NULL);
    return pthread_create(&fixture.seen.thread, NULL, answer_later, &fixture.seen);
}

/* Every session that was opened must have been closed, every answer released. */
static int tear_down(void **state)
{
    struct seen *seen = &fixture.seen;
    stop(0);
    (void)pthread_mutex_lock(&seen->lock);
    seen->stop = true;
    (void)pthread_cond_broadcast(&seen->changed);
    (void)pthread_mutex_unlock(&seen->lock);
    (void)pthread_join(seen->thread, NULL);
    assert_int_equal(seen->opened, seen->closed);
    assert_int_equal(seen->frames + seen->bad_malformed + seen->bad_too_large, seen->released);
    (void)pthread_mutex_destroy(&seen->lock);
    (void)pthread_cond_destroy(&seen->changed);
    return 0;
}

/* A frame of `size` bytes, at least 16, whose content begins with `order`. */
static struct bytes frame_make(uint8_t *memory, size_t size, enum order order)
{
    size_t length = size - HEADER;
    const uint8_t header[HEADER] = {0x42, 0x00, 0x78, 0x01, (uint8_t)(length >> 24),
                                    (uint8_t)(length >> 16), (uint8_t)(length >> 8),
                                    (uint8_t)length};
    memcpy(memory, header, HEADER);
    for (size_t i = HEADER; i < size; ++i)
        memory[i] = (uint8_t)(i * 13 + (i >> 8));
    memory[HEADER] = (uint8_t)order;
    return (struct bytes){memory, size};
}

static void expect(const struct peer *peer, struct bytes bytes)
{
    uint8_t *received = malloc(bytes.size);
    assert_non_null(received);
    peer_receive(peer, received, bytes.size);
    assert_memory_equal(received, bytes.data, bytes.size);
    free(received);
}

static void exchange(const struct peer *peer, size_t size, enum order order)
{
    uint8_t *memory = malloc(size);
    assert_non_null(memory);
    struct bytes frame = frame_make(memory, size, order);
    peer_send(peer, frame);
    expect(peer, frame);
    free(memory);
}

/* Tests */

static void frames_are_answered(void **state)
{
    SSL_CTX *contexts[] = {fixture.tls12, fixture.tls13};
    start_usual();
    for (unsigned i = 0; i < ARRAY_COUNT(contexts); ++i) {
        struct peer peer = peer_connect(contexts[i], fixture.port, NULL);
        for (unsigned round = 0; round < 20; ++round)
            exchange(&peer, 104 + 8 * round, round % 2 == 0 ? ORDER_ECHO : ORDER_LATER);
        peer_close(&peer);
    }
    wait_for_count(open, 0);
    assert_int_equal(counters().accepted, 2);
    assert_int_equal(counters().handshakes, 2);
    assert_int_equal(counters().frames, 40);
    assert_int_equal(counters().bare, 0);
}

static void big_frames_are_answered(void **state)
{
    static const size_t sizes[] = {4088, 4096, 4104, 16376, 16384, 16392, 32768, 32776, 262144,
                                   FRAME_MAX};
    start_usual();
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); ++i) {
        exchange(&peer, sizes[i], ORDER_ECHO);
        exchange(&peer, sizes[i], ORDER_LATER);
    }
    peer_close(&peer);
}

static void a_client_may_vanish_before_its_answer(void **state)
{
    uint8_t memory[104];
    start_usual();
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    peer_send(&peer, frame_make(memory, sizeof(memory), ORDER_HOLD));
    wait_until(&fixture.seen.frames, 1);
    peer_reset(&peer);
    (void)usleep(50000);
    assert_int_equal(fixture.seen.closed, 0); /* the handler still has the session */
    answer_held();
    wait_until(&fixture.seen.closed, 1);
    wait_for_count(open, 0);
}

static void pipelined_frames_are_answered_in_order(void **state)
{
    enum { FRAMES = 16, SIZE = 304 };
    static const enum order orders[] = {ORDER_ECHO, ORDER_LATER};
    uint8_t memory[FRAMES * SIZE];
    start_usual();
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    for (unsigned mix = 0; mix < 4; ++mix) {
        for (unsigned i = 0; i < FRAMES; ++i) {
            enum order order = mix < 2 ? orders[mix] : orders[(i >> (mix - 2)) % 2];
            (void)frame_make(memory + i * SIZE, SIZE, order);
            memory[i * SIZE + HEADER + 1] = (uint8_t)i;
        }
        peer_send(&peer, (struct bytes){memory, sizeof(memory)});
        expect(&peer, (struct bytes){memory, sizeof(memory)});
    }
    peer_close(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_are_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(big_frames_are_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_may_vanish_before_its_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pipelined_frames_are_answered_in_order, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
