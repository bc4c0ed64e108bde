/* SPDX-License-Identifier: Apache-2.0 */
/* What net/net.h promises of frames, answers and the end of connections. */
#include "net_fixture.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

static void start_usual(void)
{
    const struct net_options options = fixture_options();
    fixture_start(&options);
}

static struct peer connect_usual(void)
{
    return peer_connect(fixture.tls13, fixture.port, NULL);
}

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
    const struct net_counters now = counters();
    assert_int_equal(now.accepted, 2);
    assert_int_equal(now.handshakes, 2);
    assert_int_equal(now.handshakes_failed, 0);
    assert_int_equal(now.frames, 40);
    assert_int_equal(now.bare, 0);
    assert_int_equal(now.timed_out, 0);
}

static void big_frames_are_answered(void **state)
{
    static const size_t sizes[] = {4088,  4096,  4104,  16376,  16384,
                                   16392, 32768, 32776, 262144, FRAME_MAX};
    start_usual();
    struct peer peer = connect_usual();
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); ++i) {
        exchange(&peer, sizes[i], ORDER_ECHO);
        exchange(&peer, sizes[i], ORDER_LATER);
    }
    peer_close(&peer);
}

/* libkmip reads the body of an answer with one call, and takes a part for the whole. */
static void an_answer_is_one_record(void **state)
{
    uint8_t memory[16384];
    uint8_t received[16384];
    size_t size = 0;
    start_usual();
    struct peer peer = connect_usual();
    for (size_t length = 16; length <= sizeof(memory); length += 16368) {
        peer_send(&peer, frame_make(memory, length, ORDER_ECHO));
        assert_int_equal(SSL_read_ex(peer.ssl, received, sizeof(received), &size), 1);
        assert_int_equal(size, length);
        peer_send(&peer, frame_make(memory, length, ORDER_LATER));
        assert_int_equal(SSL_read_ex(peer.ssl, received, sizeof(received), &size), 1);
        assert_int_equal(size, length);
    }
    peer_close(&peer);
}

static void send_in_pieces(const struct peer *peer, struct bytes bytes, size_t piece)
{
    for (size_t done = 0; done < bytes.size; done += piece) {
        size_t rest = bytes.size - done;
        peer_send(peer, (struct bytes){bytes.data + done, rest < piece ? rest : piece});
    }
}

/* Each piece is a record, each record a packet. */
static void frames_may_come_in_any_pieces(void **state)
{
    static const struct {
        size_t frame;
        size_t piece;
    } rows[] = {{104, 1}, {104, 7}, {104, 8}, {104, 100}, {20000, 1000}, {200000, 16384}};
    static uint8_t memory[200000];
    start_usual();
    struct peer peer = connect_usual();
    for (unsigned i = 0; i < ARRAY_COUNT(rows); ++i) {
        struct bytes frame =
            frame_make(memory, rows[i].frame, i % 2 == 0 ? ORDER_ECHO : ORDER_LATER);
        send_in_pieces(&peer, frame, rows[i].piece);
        expect(&peer, frame);
    }
    peer_close(&peer);
    wait_for_count(open, 0);
    assert_int_equal(counters().frames, ARRAY_COUNT(rows));
}

/* `count` frames of which each has a number, some answered at once, some by the other thread. */
static struct bytes many_frames(uint8_t *memory, unsigned count, size_t size, unsigned mix)
{
    for (unsigned i = 0; i < count; ++i) {
        bool later = mix == 0 ? false : mix == 1 ? true : (i >> (mix - 2)) % 2 == 1;
        uint8_t *frame = memory + i * size;
        (void)frame_make(frame, size, later ? ORDER_LATER : ORDER_ECHO);
        frame[HEADER + 1] = (uint8_t)i;
        frame[HEADER + 2] = (uint8_t)(i >> 8);
    }
    return (struct bytes){memory, count * size};
}

static void pipelined_frames_are_answered_in_order(void **state)
{
    static uint8_t memory[1000 * 304];
    start_usual();
    struct peer peer = connect_usual();
    for (unsigned mix = 0; mix < 5; ++mix) {
        struct bytes frames = many_frames(memory, 16, 304, mix);
        peer_send(&peer, frames);
        expect(&peer, frames);
    }
    for (unsigned mix = 0; mix < 5; ++mix) { /* more than one turn, and cut anywhere */
        struct bytes frames = many_frames(memory, 1000, 304, mix);
        send_in_pieces(&peer, frames, 1001);
        expect(&peer, frames);
    }
    peer_close(&peer);
}

/* Answers that do not fit the buffer in which they are collected. */
static void pipelined_large_frames_are_answered_in_order(void **state)
{
    static const size_t sizes[] = {6000, 16384, 20000, 40000};
    static uint8_t memory[20 * 40000];
    start_usual();
    struct peer peer = connect_usual();
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); ++i)
        for (unsigned mix = 0; mix < 3; ++mix) {
            struct bytes frames = many_frames(memory, 20, sizes[i], mix);
            peer_send(&peer, frames);
            expect(&peer, frames);
        }
    peer_close(&peer);
}

/* As many at once as the answering thread wakes in groups. */
static void a_thousand_connections_are_served(void **state)
{
    enum { CONNECTIONS = 1000 };
    static struct peer peers[CONNECTIONS];
    uint8_t memory[104];
    start_usual();
    for (unsigned i = 0; i < CONNECTIONS; ++i)
        peers[i] = connect_usual();
    for (unsigned round = 0; round < 4; ++round) {
        struct bytes frame =
            frame_make(memory, sizeof(memory), round % 2 == 0 ? ORDER_LATER : ORDER_ECHO);
        for (unsigned i = 0; i < CONNECTIONS; ++i)
            peer_send(&peers[i], frame);
        for (unsigned i = 0; i < CONNECTIONS; ++i)
            expect(&peers[i], frame);
    }
    assert_int_equal(counters().open, CONNECTIONS);
    for (unsigned i = 0; i < CONNECTIONS; ++i)
        peer_close(&peers[i]);
    wait_for_count(open, 0);
    assert_int_equal(counters().frames, 4 * CONNECTIONS);
}

/* Answers to other connections, given on the loop's own thread. */
static void a_loop_may_answer_its_other_connections(void **state)
{
    enum { HELD = 20 };
    struct peer peers[HELD];
    uint8_t memory[104];
    struct net_options options = fixture_options();
    options.loops = 1;
    fixture_start(&options);
    for (unsigned i = 0; i < HELD; ++i) {
        peers[i] = connect_usual();
        peer_send(&peers[i], frame_make(memory, sizeof(memory), ORDER_HOLD));
    }
    wait_until(&fixture.seen.frames, HELD);
    struct peer last = connect_usual();
    exchange(&last, 104, ORDER_FREE);
    (void)frame_make(memory, sizeof(memory), ORDER_HOLD);
    for (unsigned i = 0; i < HELD; ++i) {
        expect(&peers[i], (struct bytes){memory, sizeof(memory)});
        peer_close(&peers[i]);
    }
    peer_close(&last);
}

static void bare_handshakes_are_counted(void **state)
{
    start_usual();
    for (unsigned i = 0; i < 5; ++i) {
        struct peer peer = connect_usual();
        peer_close(&peer);
    }
    wait_for_count(bare, 5);
    wait_for_count(open, 0);
    assert_int_equal(counters().handshakes, 5);
    assert_int_equal(counters().handshakes_failed, 0);
    assert_int_equal(number(&fixture.seen.opened), 0);
    assert_false(event_seen("\n"));
}

static void the_handler_knows_who_it_is(void **state)
{
    uint8_t fingerprint[NET_FINGERPRINT_SIZE];
    char address[NET_ADDRESS_MAX];
    struct sockaddr_in local;
    socklen_t size = sizeof(local);
    credentials_fingerprint(&fixture.client, fingerprint);
    start_usual();
    struct peer peer = connect_usual();
    exchange(&peer, 104, ORDER_ECHO);
    assert_int_equal(getsockname(peer.fd, (struct sockaddr *)&local, &size), 0);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(local.sin_port));
    const struct net_peer known = last_peer();
    assert_string_equal(known.address, address);
    assert_true(known.has_certificate);
    assert_memory_equal(known.fingerprint, fingerprint, sizeof(fingerprint));
    peer_close(&peer);
}

static void the_handler_may_refuse_a_connection(void **state)
{
    uint8_t memory[104];
    fixture.seen.refuse = true;
    start_usual();
    struct peer peer = connect_usual();
    peer_send(&peer, frame_make(memory, sizeof(memory), ORDER_ECHO));
    assert_true(peer_is_closed(&peer));
    wait_for_count(open, 0);
    assert_int_equal(counters().bare, 0);
    peer_close(&peer);
}

static void the_handler_may_close_behind_an_answer(void **state)
{
    uint8_t memory[104];
    start_usual();
    struct peer peer = connect_usual();
    exchange(&peer, 104, ORDER_CLOSE);
    assert_true(peer_is_closed(&peer));
    assert_int_equal(SSL_get_shutdown(peer.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    peer_close(&peer);
    peer = connect_usual();
    peer_send(&peer, frame_make(memory, sizeof(memory), ORDER_HANG_UP));
    assert_true(peer_is_closed(&peer));
    peer_close(&peer);
    wait_for_count(open, 0);
}

/* Frames behind the one with which the handler closes are not handled. */
static void nothing_is_handled_behind_the_end(void **state)
{
    uint8_t memory[3 * 104];
    start_usual();
    struct peer peer = connect_usual();
    (void)frame_make(memory, 104, ORDER_ECHO);
    (void)frame_make(memory + 104, 104, ORDER_CLOSE);
    (void)frame_make(memory + 208, 104, ORDER_ECHO);
    peer_send(&peer, (struct bytes){memory, sizeof(memory)});
    expect(&peer, (struct bytes){memory, 208});
    assert_true(peer_is_closed(&peer));
    assert_int_equal(number(&fixture.seen.frames), 2);
    peer_close(&peer);
}

static const uint8_t no_frames[][HEADER] = {
    {'G', 'E', 'T', ' ', '/', ' ', 'H', 'T'},
    {0x00, 0x00, 0x78, 0x01, 0, 0, 0, 8},
    {0x42, 0x00, 0x78, 0x02, 0, 0, 0, 8},
    {0x42, 0x00, 0x78, 0x01, 0, 0, 0, 7},
    {0x42, 0x00, 0x78, 0x01, 0xff, 0xff, 0xff, 0xff},
};

static const uint8_t too_large_frames[][HEADER] = {
    {0x42, 0x00, 0x78, 0x01, 0xff, 0xff, 0xff, 0xf8},
    {0x42, 0x00, 0x78, 0x01, 0x80, 0x00, 0x00, 0x00},
    {0x42, 0x00, 0x78, 0x01, 0x00, 0x10, 0x00, 0x00}, /* FRAME_MAX and a header */
};

/* Answered, though the client goes on sending, and closed. */
static void send_nonsense(const uint8_t *header, bool good_one_before)
{
    static uint8_t garbage[300000];
    uint8_t sorry[SORRY_SIZE] = {0};
    uint8_t memory[104 + HEADER];
    struct bytes good = frame_make(memory, 104, ORDER_LATER);
    struct peer peer = connect_usual();
    memcpy(memory + 104, header, HEADER);
    if (good_one_before)
        peer_send(&peer, (struct bytes){memory, sizeof(memory)});
    else
        peer_send(&peer, (struct bytes){header, HEADER});
    for (unsigned i = 0; i < 3; ++i) /* may fail, when the server has gone on */
        (void)SSL_write(peer.ssl, garbage, sizeof(garbage));
    if (good_one_before)
        expect(&peer, good);
    expect(&peer, (struct bytes){sorry, sizeof(sorry)});
    assert_true(peer_is_closed(&peer));
    peer_close(&peer);
}

static void what_is_no_frame_is_answered(void **state)
{
    start_usual();
    for (unsigned i = 0; i < ARRAY_COUNT(no_frames); ++i) {
        send_nonsense(no_frames[i], false);
        send_nonsense(no_frames[i], true);
    }
    assert_int_equal(number(&fixture.seen.malformed), 2 * ARRAY_COUNT(no_frames));
    for (unsigned i = 0; i < ARRAY_COUNT(too_large_frames); ++i) {
        send_nonsense(too_large_frames[i], false);
        send_nonsense(too_large_frames[i], true);
    }
    assert_int_equal(number(&fixture.seen.too_large), 2 * ARRAY_COUNT(too_large_frames));
    assert_int_equal(number(&fixture.seen.malformed), 2 * ARRAY_COUNT(no_frames));
}

static void a_client_may_vanish_before_its_answer(void **state)
{
    uint8_t memory[104];
    start_usual();
    struct peer peer = connect_usual();
    peer_send(&peer, frame_make(memory, sizeof(memory), ORDER_HOLD));
    wait_until(&fixture.seen.frames, 1);
    peer_reset(&peer);
    (void)usleep(50000);
    assert_int_equal(number(&fixture.seen.closed), 0); /* the handler still has the session */
    answer_held();
    wait_until(&fixture.seen.closed, 1);
    wait_for_count(open, 0);
}

static void a_client_may_vanish_while_it_is_answered(void **state)
{
    static const enum order orders[] = {ORDER_BIG, ORDER_LATER, ORDER_CLOSE, ORDER_HANG_UP};
    uint8_t memory[104];
    start_usual();
    for (unsigned i = 0; i < 40; ++i) {
        struct peer peer = connect_usual();
        peer_send(&peer, frame_make(memory, sizeof(memory), orders[i % ARRAY_COUNT(orders)]));
        if (i % 8 < 4)
            peer_reset(&peer);
        else
            peer_close(&peer);
    }
    wait_for_count(open, 0);
}

/* It sends its request, says that it will send no more, and waits for the answer. */
static void a_client_may_close_its_side_first(void **state)
{
    uint8_t memory[104];
    struct bytes frame = frame_make(memory, sizeof(memory), ORDER_HOLD);
    start_usual();
    struct peer peer = connect_usual();
    peer_send(&peer, frame);
    wait_until(&fixture.seen.frames, 1);
    (void)SSL_shutdown(peer.ssl);
    assert_int_equal(shutdown(peer.fd, SHUT_WR), 0);
    (void)usleep(20000);
    answer_held();
    expect(&peer, frame);
    assert_true(peer_is_closed(&peer));
    peer_close(&peer);
    wait_for_count(open, 0);
}

/* A client that sends on while its request is handled costs no work until the answer. */
static void frames_wait_while_one_is_handled(void **state)
{
    static uint8_t memory[200 * 304];
    start_usual();
    struct peer peer = connect_usual();
    struct bytes first = frame_make(memory, 304, ORDER_HOLD);
    peer_send(&peer, first);
    wait_until(&fixture.seen.frames, 1);
    peer_send(&peer, many_frames(memory + 304, 199, 304, 2));
    (void)usleep(50000);
    assert_int_equal(number(&fixture.seen.frames), 1);
    answer_held();
    expect(&peer, (struct bytes){memory, sizeof(memory)});
    peer_close(&peer);
}

static void answers_larger_than_the_socket_takes_are_sent(void **state)
{
    static uint8_t received[BIG_ANSWER];
    uint8_t memory[104];
    start_usual();
    struct peer peer = connect_usual();
    for (unsigned i = 0; i < 2; ++i) {
        peer_send(&peer, frame_make(memory, sizeof(memory), ORDER_BIG));
        (void)usleep(20000);
        peer_receive(&peer, received, sizeof(received));
    }
    exchange(&peer, 104, ORDER_ECHO);
    peer_close(&peer);
}

/* Draining */

static void *stop_slowly(void *unused)
{
    fixture_stop(5000);
    return NULL;
}

static void frames_in_flight_are_answered_before_the_end(void **state)
{
    static uint8_t begun[304];
    uint8_t memory[104];
    struct bytes held = frame_make(memory, sizeof(memory), ORDER_HOLD);
    struct bytes late = frame_make(begun, sizeof(begun), ORDER_LATER);
    pthread_t stopper;
    start_usual();
    struct peer idle = connect_usual();
    struct peer silent = connect_usual();
    struct peer waiting = connect_usual();
    struct peer sending = connect_usual();
    exchange(&idle, 104, ORDER_ECHO);
    peer_send(&waiting, held);
    exchange(&sending, 104, ORDER_ECHO);
    peer_send(&sending, (struct bytes){late.data, 100});
    wait_until(&fixture.seen.frames, 3);
    (void)usleep(20000);
    assert_int_equal(pthread_create(&stopper, NULL, stop_slowly, NULL), 0);
    assert_true(peer_is_closed(&idle));
    assert_true(peer_is_closed(&silent));
    peer_send(&sending, (struct bytes){late.data + 100, late.size - 100});
    expect(&sending, late);
    assert_true(peer_is_closed(&sending));
    answer_held();
    expect(&waiting, held);
    assert_true(peer_is_closed(&waiting));
    peer_close(&idle);
    peer_close(&silent);
    peer_close(&waiting);
    peer_close(&sending);
    int64_t before = clock_monotonic();
    assert_int_equal(pthread_join(stopper, NULL), 0);
    assert_in_range(clock_monotonic() - before, 0, 4000);
}

static void *answer_after_a_while(void *unused)
{
    (void)usleep(600000);
    answer_held();
    return NULL;
}

/* The client is cut off in time; the handler's answer is waited for and thrown away. */
static void stopping_does_not_wait_for_clients(void **state)
{
    uint8_t memory[104];
    pthread_t answerer;
    start_usual();
    struct peer waiting = connect_usual();
    struct peer shaking = peer_connect_plain(fixture.port);
    struct peer unread = connect_usual();
    peer_send(&waiting, frame_make(memory, sizeof(memory), ORDER_HOLD));
    peer_send(&unread, frame_make(memory, sizeof(memory), ORDER_BIG));
    wait_until(&fixture.seen.frames, 2);
    assert_int_equal(pthread_create(&answerer, NULL, answer_after_a_while, NULL), 0);
    int64_t before = clock_monotonic();
    fixture_stop(100);
    assert_in_range(clock_monotonic() - before, 500, 8000);
    assert_true(peer_is_closed(&waiting));
    assert_true(peer_is_closed(&shaking));
    assert_int_equal(pthread_join(answerer, NULL), 0);
    peer_close(&waiting);
    peer_close(&shaking);
    peer_close(&unread);
}

static void *load(void *port)
{
    for (unsigned i = 0; i < 30; ++i) {
        struct peer peer;
        uint8_t memory[104];
        struct bytes frame =
            frame_make(memory, sizeof(memory), i % 2 == 0 ? ORDER_LATER : ORDER_ECHO);
        if (!peer_try_connect(fixture.tls13, *(unsigned *)port, NULL, &peer)) {
            peer_close(&peer);
            break;
        }
        for (unsigned j = 0; j < 20; ++j) {
            uint8_t answer[104];
            size_t size = 0;
            if (SSL_write_ex(peer.ssl, frame.data, frame.size, &size) != 1 ||
                SSL_read_ex(peer.ssl, answer, sizeof(answer), &size) != 1)
                break;
        }
        peer_close(&peer);
    }
    return NULL;
}

static void stopping_under_load_is_clean(void **state)
{
    enum { CLIENTS = 4 };
    pthread_t clients[CLIENTS];
    start_usual();
    unsigned port = fixture.port;
    for (unsigned i = 0; i < CLIENTS; ++i)
        assert_int_equal(pthread_create(&clients[i], NULL, load, &port), 0);
    wait_until(&fixture.seen.frames, 100);
    fixture_stop(1000);
    for (unsigned i = 0; i < CLIENTS; ++i)
        assert_int_equal(pthread_join(clients[i], NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        net_test(frames_are_answered),
        net_test(big_frames_are_answered),
        net_test(an_answer_is_one_record),
        net_test(frames_may_come_in_any_pieces),
        net_test(pipelined_frames_are_answered_in_order),
        net_test(pipelined_large_frames_are_answered_in_order),
        net_test(a_thousand_connections_are_served),
        net_test(a_loop_may_answer_its_other_connections),
        net_test(bare_handshakes_are_counted),
        net_test(the_handler_knows_who_it_is),
        net_test(the_handler_may_refuse_a_connection),
        net_test(the_handler_may_close_behind_an_answer),
        net_test(nothing_is_handled_behind_the_end),
        net_test(what_is_no_frame_is_answered),
        net_test(a_client_may_vanish_before_its_answer),
        net_test(a_client_may_vanish_while_it_is_answered),
        net_test(a_client_may_close_its_side_first),
        net_test(frames_wait_while_one_is_handled),
        net_test(answers_larger_than_the_socket_takes_are_sent),
        net_test(frames_in_flight_are_answered_before_the_end),
        net_test(stopping_does_not_wait_for_clients),
        net_test(stopping_under_load_is_clean),
    };
    return cmocka_run_group_tests(tests, fixture_set_up_all, fixture_tear_down_all);
}
