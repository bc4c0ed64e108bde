/* SPDX-License-Identifier: Apache-2.0 */
/* What net/net.h promises of slow, silent and too many clients, and of addresses. */
#include "net_fixture.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* Milliseconds until the other side closes. */
static int64_t time_to_close(const struct peer *peer, int64_t since)
{
    assert_true(peer_is_closed(peer));
    return clock_monotonic() - since;
}

/* Deadlines */

static void a_handshake_must_be_done_in_time(void **state)
{
    static const uint8_t hello_begun[] = {22, 3, 1, 2, 0, 1, 0};
    struct net_options options = fixture_options();
    options.handshake_seconds = 1;
    fixture_start(&options);
    int64_t now = clock_monotonic();
    struct peer silent = peer_connect_plain(fixture.port);
    struct peer slow = peer_connect_plain(fixture.port);
    for (unsigned i = 0; i < sizeof(hello_begun); ++i) { /* a byte now and then helps nothing */
        assert_int_equal(write(slow.fd, &hello_begun[i], 1), 1);
        (void)usleep(100000);
    }
    assert_in_range(time_to_close(&silent, now), 900, 5000);
    assert_in_range(time_to_close(&slow, now), 900, 5000);
    wait_for_count(timed_out, 2);
    wait_for_count(handshakes_failed, 2);
    wait_for_count(open, 0);
    assert_true(event_seen("no handshake in time"));
    peer_close(&silent);
    peer_close(&slow);
}

static void a_frame_must_be_sent_in_time(void **state)
{
    uint8_t memory[304];
    struct net_options options = fixture_options();
    options.frame_seconds = 1;
    fixture_start(&options);
    struct bytes frame = frame_make(memory, sizeof(memory), ORDER_ECHO);
    struct peer half = peer_connect(fixture.tls13, fixture.port, NULL);
    struct peer slow = peer_connect(fixture.tls13, fixture.port, NULL);
    struct peer idle = peer_connect(fixture.tls13, fixture.port, NULL);
    exchange(&half, 104, ORDER_ECHO);
    exchange(&idle, 104, ORDER_ECHO);
    int64_t now = clock_monotonic();
    peer_send(&half, (struct bytes){frame.data, 5});
    for (unsigned i = 0; i < 7; ++i) { /* a byte now and then helps nothing */
        peer_send(&slow, (struct bytes){frame.data + i, 1});
        (void)usleep(100000);
    }
    assert_in_range(time_to_close(&half, now), 900, 5000);
    assert_in_range(time_to_close(&slow, now), 900, 5000);
    wait_for_count(timed_out, 2);
    assert_true(event_seen("did not come in time"));
    exchange(&idle, 104, ORDER_ECHO);
    peer_close(&half);
    peer_close(&slow);
    peer_close(&idle);
}

/* What peer_send() would send, not sent. */
static size_t seal_record(const struct peer *peer, struct bytes bytes, uint8_t *ret_record,
                          size_t size)
{
    BIO *socket = SSL_get_wbio(peer->ssl);
    BIO *memory = BIO_new(BIO_s_mem());
    assert_int_equal(BIO_up_ref(socket), 1);
    SSL_set0_wbio(peer->ssl, memory);
    peer_send(peer, bytes);
    int length = BIO_read(memory, ret_record, (int)size);
    assert_in_range(length, 1, size - 1);
    SSL_set0_wbio(peer->ssl, socket);
    return (size_t)length;
}

/* A record that has begun is a frame that has begun, though not a byte of it can be read yet. */
static void a_record_must_be_sent_in_time(void **state)
{
    static const size_t parts[] = {1, 4, 5, 6, 100};
    uint8_t memory[304];
    uint8_t record[512];
    struct peer peers[ARRAY_COUNT(parts)];
    struct net_options options = fixture_options();
    options.frame_seconds = 1;
    fixture_start(&options);
    struct bytes frame = frame_make(memory, sizeof(memory), ORDER_ECHO);
    for (unsigned i = 0; i < ARRAY_COUNT(parts); ++i) {
        peers[i] = peer_connect(fixture.tls13, fixture.port, NULL);
        exchange(&peers[i], 104, ORDER_ECHO);
        for (unsigned cut = 0; cut < ARRAY_COUNT(parts); ++cut) { /* in time */
            size_t size = seal_record(&peers[i], frame, record, sizeof(record));
            assert_int_equal(write(peers[i].fd, record, parts[cut]), parts[cut]);
            (void)usleep(5000);
            assert_int_equal(write(peers[i].fd, record + parts[cut], size - parts[cut]),
                             size - parts[cut]);
            expect(&peers[i], frame);
        }
    }
    assert_int_equal(counters().timed_out, 0);
    int64_t now = clock_monotonic();
    for (unsigned i = 0; i < ARRAY_COUNT(parts); ++i) {
        (void)seal_record(&peers[i], frame, record, sizeof(record));
        assert_int_equal(write(peers[i].fd, record, parts[i]), parts[i]);
    }
    for (unsigned i = 0; i < ARRAY_COUNT(parts); ++i) {
        assert_in_range(time_to_close(&peers[i], now), 900, 5000);
        peer_close(&peers[i]);
    }
    wait_for_count(timed_out, ARRAY_COUNT(parts));
}

/* Many frames, each sent slowly but in time, are fine. */
static void each_frame_has_its_own_time(void **state)
{
    uint8_t memory[104];
    struct net_options options = fixture_options();
    options.frame_seconds = 2;
    fixture_start(&options);
    struct bytes frame = frame_make(memory, sizeof(memory), ORDER_LATER);
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    peer_send(&peer, (struct bytes){frame.data, 50});
    for (unsigned i = 0; i < 4; ++i) {
        uint8_t next[104];
        (void)usleep(700000);
        memcpy(next, frame.data + 50, 54);
        memcpy(next + 54, frame.data, 50);
        peer_send(&peer, (struct bytes){next, sizeof(next)});
        expect(&peer, frame);
    }
    assert_int_equal(counters().timed_out, 0);
    peer_close(&peer);
}

static void an_idle_connection_is_closed(void **state)
{
    struct net_options options = fixture_options();
    options.idle_seconds = 1;
    fixture_start(&options);
    int64_t now = clock_monotonic();
    struct peer silent = peer_connect(fixture.tls13, fixture.port, NULL);
    struct peer idle = peer_connect(fixture.tls13, fixture.port, NULL);
    exchange(&idle, 104, ORDER_ECHO);
    (void)usleep(500000);
    exchange(&idle, 104, ORDER_ECHO);
    int64_t later = clock_monotonic();
    assert_in_range(time_to_close(&silent, now), 1000, 5000);
    assert_in_range(time_to_close(&idle, later), 1000, 5000);
    wait_for_count(timed_out, 2);
    wait_for_count(bare, 1);
    peer_close(&silent);
    peer_close(&idle);
}

/* However long the handler takes, it is not the client that is idle. */
static void a_waiting_client_is_not_idle(void **state)
{
    uint8_t memory[104];
    struct net_options options = fixture_options();
    struct bytes frame = frame_make(memory, sizeof(memory), ORDER_HOLD);
    options.idle_seconds = 1;
    options.frame_seconds = 1;
    fixture_start(&options);
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    peer_send(&peer, frame);
    peer_send(&peer, (struct bytes){frame.data, 50}); /* half of the next */
    (void)usleep(3200000);
    answer_held();
    expect(&peer, frame);
    peer_send(&peer, (struct bytes){frame.data + 50, 54});
    wait_until(&fixture.seen.frames, 2);
    answer_held();
    expect(&peer, frame);
    assert_int_equal(counters().timed_out, 0);
    peer_close(&peer);
}

static void an_answer_must_be_read_in_time(void **state)
{
    uint8_t memory[104];
    struct net_options options = fixture_options();
    options.frame_seconds = 1;
    fixture_start(&options);
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    peer_send(&peer, frame_make(memory, sizeof(memory), ORDER_BIG));
    int64_t now = clock_monotonic();
    wait_for_count(timed_out, 1);
    assert_in_range(clock_monotonic() - now, 500, 5000);
    wait_for_count(open, 0);
    assert_true(event_seen("did not read its answer in time"));
    peer_close(&peer);
}

/* It sends requests, and reads no answer: it is not read from either, and then closed. */
static void a_client_that_only_sends_is_stopped(void **state)
{
    static uint8_t memory[16000];
    struct net_options options = fixture_options();
    struct timeval soon = {.tv_usec = 200000};
    size_t size = 0;
    unsigned sent = 0;
    options.frame_seconds = 1;
    fixture_start(&options);
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    assert_int_equal(setsockopt(peer.fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon)), 0);
    struct bytes frame = frame_make(memory, sizeof(memory), ORDER_ECHO);
    while (sent < 10000 && SSL_write_ex(peer.ssl, frame.data, frame.size, &size) == 1)
        ++sent;
    assert_in_range(sent, 1, 9999);
    wait_for_count(timed_out, 1);
    wait_for_count(open, 0);
    peer_close(&peer);
}

/* Closed on our side, the connection of a client that never does goes too. */
static void lingering_has_an_end(void **state)
{
    const struct net_options options = fixture_options();
    fixture_start(&options);
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    exchange(&peer, 104, ORDER_CLOSE);
    wait_for_count(open, 0);
    assert_int_equal(counters().timed_out, 0);
    peer_close(&peer);
}

/* Limits */

static void at_the_limit_the_silent_give_way(void **state)
{
    enum { MOST = 4 };
    struct peer peers[MOST];
    struct net_options options = fixture_options();
    options.loops = 1;
    options.connections_max = MOST;
    fixture_start(&options);
    for (unsigned i = 0; i < MOST; ++i) {
        peers[i] = peer_connect(fixture.tls13, fixture.port, NULL);
        (void)usleep(5000);
    }
    exchange(&peers[0], 104, ORDER_ECHO); /* has spoken, and stays */
    struct peer another = peer_connect(fixture.tls13, fixture.port, NULL);
    exchange(&another, 104, ORDER_ECHO);
    assert_true(peer_is_closed(&peers[1])); /* was silent longest */
    exchange(&peers[0], 104, ORDER_ECHO);
    exchange(&peers[2], 104, ORDER_ECHO);
    exchange(&peers[3], 104, ORDER_ECHO);
    assert_int_equal(counters().refused_total_limit, 1);
    assert_int_equal(counters().open, MOST);

    struct peer refused; /* all others have spoken */
    assert_false(peer_try_connect(fixture.tls13, fixture.port, NULL, &refused));
    peer_close(&refused);
    wait_for_count(refused_total_limit, 2);
    peer_close(&another);
    wait_for_count(open, MOST - 1);
    another = peer_connect(fixture.tls13, fixture.port, NULL);
    exchange(&another, 104, ORDER_ECHO);
    peer_close(&another);
    for (unsigned i = 0; i < MOST; ++i)
        peer_close(&peers[i]);
}

static void unfinished_handshakes_give_way_too(void **state)
{
    enum { MOST = 3 };
    struct peer peers[MOST];
    struct net_options options = fixture_options();
    options.loops = 1;
    options.connections_max = MOST;
    fixture_start(&options);
    for (unsigned i = 0; i < MOST; ++i)
        peers[i] = peer_connect_plain(fixture.port);
    wait_for_count(open, MOST);
    (void)usleep(5000);
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    exchange(&peer, 104, ORDER_ECHO);
    assert_int_equal(counters().refused_total_limit, 1);
    peer_close(&peer);
    for (unsigned i = 0; i < MOST; ++i)
        peer_close(&peers[i]);
}

static bool is_served(SSL_CTX *context, struct peer *ret_peer)
{
    uint8_t memory[104];
    size_t size = 0;
    struct bytes frame = frame_make(memory, sizeof(memory), ORDER_ECHO);
    *ret_peer = peer_connect(context, fixture.port, NULL);
    return SSL_write_ex(ret_peer->ssl, frame.data, frame.size, &size) == 1 &&
           SSL_read_ex(ret_peer->ssl, memory, sizeof(memory), &size) == 1;
}

static void a_certificate_has_a_limit_of_its_own(void **state)
{
    enum { MOST = 3 };
    struct credentials other = credentials_make("EC", 0, "other", -1, 365);
    SSL_CTX *contexts[] = {fixture.tls13, peer_context(&other, TLS1_3_VERSION),
                           peer_context(NULL, TLS1_3_VERSION)};
    struct peer peers[ARRAY_COUNT(contexts)][MOST];
    struct peer refused;
    struct net_options options = fixture_options();
    options.connections_per_certificate = MOST;
    fixture_start(&options);
    for (unsigned i = 0; i < ARRAY_COUNT(contexts); ++i) {
        for (unsigned j = 0; j < MOST; ++j)
            assert_true(is_served(contexts[i], &peers[i][j]));
        assert_false(is_served(contexts[i], &refused));
        peer_close(&refused);
        wait_for_count(refused_certificate_limit, i + 1);
    }
    assert_true(event_seen("too many connections with this certificate"));
    wait_for_count(open, ARRAY_COUNT(contexts) * MOST);
    peer_close(&peers[1][0]);
    wait_for_count(open, ARRAY_COUNT(contexts) * MOST - 1);
    assert_true(is_served(contexts[1], &peers[1][0]));
    for (unsigned i = 0; i < ARRAY_COUNT(contexts); ++i)
        for (unsigned j = 0; j < MOST; ++j)
            peer_close(&peers[i][j]);
    SSL_CTX_free(contexts[1]);
    SSL_CTX_free(contexts[2]);
    credentials_free(&other);
    assert_int_equal(counters().bare, 0);
}

/* What unfinished frames may occupy is bounded: those who have begun can finish theirs, and others
 * are closed when they send so much. */
static void unfinished_frames_have_a_limit(void **state)
{
    enum { CLIENTS = 100, FIT = 64 };
    static uint8_t memory[FRAME_MAX];
    static struct peer peers[CLIENTS];
    struct net_options options = fixture_options();
    size_t size = 0;
    options.loops = 1;
    fixture_start(&options);
    struct bytes frame = frame_make(memory, sizeof(memory), ORDER_ECHO);
    for (unsigned i = 0; i < CLIENTS; ++i) {
        peers[i] = peer_connect(fixture.tls13, fixture.port, NULL);
        (void)SSL_write_ex(peers[i].ssl, frame.data, frame.size - 8, &size);
    }
    for (unsigned i = 0; i < 1000 && counters().open > FIT; ++i)
        (void)usleep(10000);
    assert_in_range(counters().open, FIT / 2, FIT);
    peer_send(&peers[0], (struct bytes){frame.data + frame.size - 8, 8});
    expect(&peers[0], frame);
    for (unsigned i = 0; i < CLIENTS; ++i)
        peer_close(&peers[i]);
}

/* Descriptors */

/* Leaves not one free descriptor; returns how many it took. */
static unsigned take_descriptors(int *ret_taken, unsigned most)
{
    unsigned count = 0;
    while (count < most && (ret_taken[count] = dup(STDERR_FILENO)) >= 0)
        ++count;
    assert_in_range(count, 1, most - 1);
    return count;
}

/* With no descriptor left, connections are closed and not left hanging, and the loop does not
 * spin. */
static void descriptors_may_run_out(void **state)
{
    enum { CLIENTS = 5, MOST = 256 };
    struct rlimit before;
    int taken[MOST];
    int sockets[CLIENTS];
    struct sockaddr_in to = {.sin_family = AF_INET};
    ssize_t ends[CLIENTS];
    struct net_options options = fixture_options();
    const struct timeval patience = {.tv_sec = 10};
    options.loops = 1; /* two may take the descriptor from each other that one gives up */
    fixture_start(&options);
    to.sin_port = htons((uint16_t)fixture.port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (unsigned i = 0; i < CLIENTS; ++i) {
        sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(
            setsockopt(sockets[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit tight = {MOST, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    unsigned count = take_descriptors(taken, MOST);
    for (unsigned i = 0; i < CLIENTS; ++i) {
        char byte;
        assert_int_equal(connect(sockets[i], (struct sockaddr *)&to, sizeof(to)), 0);
        ends[i] = read(sockets[i], &byte, 1);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (count > 0)
        (void)close(taken[--count]);
    for (unsigned i = 0; i < CLIENTS; ++i) {
        (void)close(sockets[i]);
        assert_int_equal(ends[i], 0);
    }
    wait_for_count(refused_total_limit, CLIENTS);
    assert_int_equal(counters().accepted, 0);
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    exchange(&peer, 104, ORDER_ECHO);
    peer_close(&peer);
}

/* Addresses */

static void expect_refusal(const char *address, enum status status, const char *text)
{
    struct net_options options = fixture_options();
    struct error error;
    options.address = address;
    fixture_refuse(&options, status, &error);
    if (strstr(error.text, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, text);
}

static void bad_addresses_are_refused(void **state)
{
    static const char *const texts[] = {
        "",          "5696",        ":5696",        "127.0.0.1",      "127.0.0.1:",
        "::1:5696",  "[::1]",       "[::1]5696",    "127.0.0.1:kmip", "127.0.0.1:65536",
        "[]:5696",   "localhost:1", "127.0.0.1:-1", "127.0.0.1: 1",   "127.0.0.256:5696",
        "[::g]:5696"};
    for (unsigned i = 0; i < ARRAY_COUNT(texts); ++i)
        expect_refusal(texts[i], STATUS_INVALID_ARGUMENT, "is not an address to listen on");
    expect_refusal("192.0.2.1:5696", STATUS_INVALID_ARGUMENT, "does not have that address");
}

/* SO_REUSEPORT alone would let a second server in. */
static void a_taken_port_is_refused(void **state)
{
    char address[64];
    char any[64];
    const struct net_options options = fixture_options();
    struct net *net;
    fixture_start(&options);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", fixture.port);
    (void)snprintf(any, sizeof(any), "0.0.0.0:%u", fixture.port);
    net = fixture.net;
    fixture.net = NULL;
    expect_refusal(address, STATUS_EXISTS, "the port is in use");
    expect_refusal(any, STATUS_EXISTS, "the port is in use");
    fixture.net = net;
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    exchange(&peer, 104, ORDER_ECHO);
    peer_close(&peer);
}

/* And one that was ours a moment ago, with connections of it dying away, is free. */
static void a_port_can_be_taken_again(void **state)
{
    char address[64];
    struct net_options options = fixture_options();
    fixture_start(&options);
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    exchange(&peer, 104, ORDER_ECHO);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", fixture.port);
    options.address = address;
    fixture_stop(0); /* we close first: TIME-WAIT is on our side */
    fixture_start(&options);
    peer_close(&peer);
    peer = peer_connect(fixture.tls13, fixture.port, NULL);
    exchange(&peer, 104, ORDER_ECHO);
    peer_close(&peer);
}

/* An IPv4 client of a socket for both looks like one. */
static void both_kinds_of_addresses_are_served(void **state)
{
    struct net_options options = fixture_options();
    if (access("/proc/net/if_inet6", R_OK) != 0) {
        print_message("this machine has no IPv6: skipped\n");
        skip();
    }
    options.address = "[::]:0";
    fixture_start(&options);
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    exchange(&peer, 104, ORDER_ECHO);
    assert_int_equal(strncmp(last_peer().address, "127.0.0.1:", 10), 0);
    peer_close(&peer);
}

static void zero_is_no_limit_to_have(void **state)
{
    struct net_options options = fixture_options();
    struct error error;
    options.idle_seconds = 0;
    fixture_refuse(&options, STATUS_INVALID_ARGUMENT, &error);
    assert_non_null(strstr(error.text, "must not be 0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        net_test(a_handshake_must_be_done_in_time),
        net_test(a_frame_must_be_sent_in_time),
        net_test(a_record_must_be_sent_in_time),
        net_test(each_frame_has_its_own_time),
        net_test(an_idle_connection_is_closed),
        net_test(a_waiting_client_is_not_idle),
        net_test(an_answer_must_be_read_in_time),
        net_test(a_client_that_only_sends_is_stopped),
        net_test(lingering_has_an_end),
        net_test(at_the_limit_the_silent_give_way),
        net_test(unfinished_handshakes_give_way_too),
        net_test(a_certificate_has_a_limit_of_its_own),
        net_test(unfinished_frames_have_a_limit),
        net_test(descriptors_may_run_out),
        net_test(bad_addresses_are_refused),
        net_test(a_taken_port_is_refused),
        net_test(a_port_can_be_taken_again),
        net_test(both_kinds_of_addresses_are_served),
        net_test(zero_is_no_limit_to_have),
    };
    return cmocka_run_group_tests(tests, fixture_set_up_all, fixture_tear_down_all);
}
