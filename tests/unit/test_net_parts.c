/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of src/net that can be tried alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/carry.h"
#include "net/clients.h"
#include "net/deadline.h"
#include "net/socket.h"
#include "net/tickets.h"
#include "tls_peer.h"

/* deadline.h */

static void deadlines_expire_in_order(void **state)
{
    struct deadline_list list;
    struct deadline entries[3] = {0};
    deadline_list_init(&list, 100);
    assert_null(deadline_oldest(&list));
    assert_int_equal(deadline_next(&list), INT64_MAX);
    for (unsigned i = 0; i < 3; ++i)
        deadline_add(&list, &entries[i], 10 * i);
    assert_ptr_equal(deadline_oldest(&list), &entries[0]);
    assert_int_equal(deadline_next(&list), 100);
    deadline_remove(&entries[0]);
    deadline_remove(&entries[0]); /* in no list: fine */
    assert_ptr_equal(deadline_oldest(&list), &entries[1]);
    deadline_remove(&entries[1]);
    deadline_add(&list, &entries[1], 50);
    assert_ptr_equal(deadline_oldest(&list), &entries[2]);
    assert_int_equal(deadline_next(&list), 120);
    deadline_remove(&entries[2]);
    deadline_remove(&entries[1]);
    assert_null(deadline_oldest(&list));
}

/* carry.h */

static struct bytes pattern(uint8_t *memory, size_t size)
{
    for (size_t i = 0; i < size; ++i)
        memory[i] = (uint8_t)(i * 31 + 1);
    return (struct bytes){memory, size};
}

static void a_carry_grows_and_keeps_its_bytes(void **state)
{
    static uint8_t memory[300000];
    struct bytes bytes = pattern(memory, sizeof(memory));
    struct carry_pool pool;
    struct carry carry = {0};
    carry_pool_init(&pool, 1024 * 1024);
    for (size_t done = 0; done < bytes.size; done += 1000)
        assert_int_equal(carry_append(&pool, &carry, (struct bytes){bytes.data + done, 1000}),
                         STATUS_OK);
    assert_int_equal(carry_size(&carry), bytes.size);
    assert_memory_equal(carry.data + carry.start, bytes.data, bytes.size);
    carry.start = 123456;
    carry_compact(&carry);
    assert_int_equal(carry.start, 0);
    assert_int_equal(carry_size(&carry), bytes.size - 123456);
    assert_memory_equal(carry.data, bytes.data + 123456, bytes.size - 123456);
    carry_free(&pool, &carry);
    assert_null(carry.data);
    assert_int_equal(pool.used, 0);
    carry_pool_free(&pool);
    assert_int_equal(pool.locked, 0);
}

static void what_a_carry_held_is_wiped(void **state)
{
    static const uint8_t zeros[4000];
    uint8_t memory[4000];
    struct bytes bytes = pattern(memory, sizeof(memory));
    struct carry_pool pool;
    struct carry carry = {0};
    carry_pool_init(&pool, 1024 * 1024);
    assert_int_equal(carry_append(&pool, &carry, bytes), STATUS_OK);
    assert_int_equal(carry.kind, CARRY_PAGE);
    carry.start = 3000;
    carry_compact(&carry);
    assert_memory_equal(carry.data + 1000, zeros, 3000);
    carry_wipe(&carry);
    assert_memory_equal(carry.data, zeros, 4000);
    assert_int_equal(carry_size(&carry), 0);
    assert_int_equal(carry_append(&pool, &carry, bytes), STATUS_OK);
    const uint8_t *page = carry.data; /* stays mapped: the pool keeps it */
    carry_free(&pool, &carry);
    assert_memory_equal(page + sizeof(void *), zeros, 4000 - sizeof(void *));
    assert_int_equal(carry_append(&pool, &carry, bytes), STATUS_OK);
    assert_ptr_equal(carry.data, page);
    carry_free(&pool, &carry);
    carry_pool_free(&pool);
}

static void a_pool_has_a_maximum(void **state)
{
    struct carry_pool pool;
    struct carry one = {0};
    struct carry two = {0};
    carry_pool_init(&pool, 16384);
    assert_int_equal(carry_reserve(&pool, &one, 8000), STATUS_OK);
    assert_int_equal(carry_reserve(&pool, &two, 8000), STATUS_OK);
    two.end = 8000;
    assert_int_equal(carry_reserve(&pool, &two, 1000), STATUS_NO_MEMORY);
    assert_int_equal(carry_size(&two), 8000);
    carry_free(&pool, &one);
    assert_int_equal(carry_reserve(&pool, &one, 4096), STATUS_OK);
    carry_free(&pool, &one);
    carry_free(&pool, &two);
    carry_pool_free(&pool);
}

/* Beyond what the loop may lock, the memory is ordinary, and the service goes on. */
static void locked_memory_may_run_out(void **state)
{
    enum { PIECES = 80 };
    struct carry pieces[PIECES] = {{0}};
    struct carry_pool pool;
    unsigned kinds[CARRY_HEAP + 1] = {0};
    carry_pool_init(&pool, 1024 * 1024);
    for (unsigned i = 0; i < PIECES; ++i) {
        assert_int_equal(carry_reserve(&pool, &pieces[i], 4096), STATUS_OK);
        ++kinds[pieces[i].kind];
    }
    assert_int_equal(kinds[CARRY_PAGE], 64);
    assert_int_equal(kinds[CARRY_HEAP], 16);
    for (unsigned i = 0; i < PIECES; ++i)
        carry_free(&pool, &pieces[i]);
    assert_int_equal(pool.used, 0);
    carry_pool_free(&pool);
}

static void bytes_move_from_one_carry_to_another(void **state)
{
    uint8_t memory[100];
    struct bytes bytes = pattern(memory, sizeof(memory));
    struct carry_pool pool;
    struct carry from = {0};
    struct carry to = {0};
    carry_pool_init(&pool, 1024 * 1024);
    assert_int_equal(carry_append(&pool, &from, bytes), STATUS_OK);
    from.start = 40;
    assert_int_equal(carry_move(&pool, &to, &from), STATUS_OK);
    assert_int_equal(carry_size(&from), 0);
    assert_int_equal(carry_size(&to), 60);
    assert_memory_equal(to.data, bytes.data + 40, 60);
    carry_free(&pool, &from);
    carry_free(&pool, &to);
    carry_pool_free(&pool);
}

/* clients.h */

static const uint8_t *fingerprint(unsigned number)
{
    static uint8_t memory[NET_FINGERPRINT_SIZE];
    memcpy(memory, &number, sizeof(number));
    return memory;
}

static void connections_are_counted_by_certificate(void **state)
{
    struct clients *clients;
    bool offer;
    assert_int_equal(clients_make(10, 2, &clients), STATUS_OK);
    for (unsigned i = 1; i <= 5; ++i) {
        assert_int_equal(clients_enter(clients, fingerprint(i), false, &offer), STATUS_OK);
        assert_int_equal(clients_enter(clients, fingerprint(i), false, &offer), STATUS_OK);
        assert_int_equal(clients_enter(clients, fingerprint(i), false, &offer), STATUS_BUSY);
    }
    clients_leave(clients, fingerprint(3));
    assert_int_equal(clients_enter(clients, fingerprint(2), false, &offer), STATUS_BUSY);
    assert_int_equal(clients_enter(clients, fingerprint(3), false, &offer), STATUS_OK);
    clients_free(clients);
}

/* How many of `count` connections of a certificate, one after another, are offered a ticket. */
static unsigned offers(struct clients *clients, unsigned number, unsigned count, bool resumed)
{
    unsigned offered = 0;
    for (unsigned i = 0; i < count; ++i) {
        bool offer;
        assert_int_equal(clients_enter(clients, fingerprint(number), resumed, &offer), STATUS_OK);
        clients_leave(clients, fingerprint(number));
        offered += offer;
    }
    return offered;
}

static void tickets_are_offered_where_they_are_used(void **state)
{
    struct clients *clients;
    assert_int_equal(clients_make(10, 2, &clients), STATUS_OK);
    assert_int_equal(offers(clients, 1, 4, false), 4);
    assert_int_equal(offers(clients, 1, 255, false), 0);
    assert_int_equal(offers(clients, 1, 1, false), 1);
    assert_int_equal(offers(clients, 2, 1, false), 1);
    assert_int_equal(offers(clients, 1, 1, true), 1);
    assert_int_equal(offers(clients, 1, 50, false), 50);
    assert_int_equal(offers(clients, 1, 1000, true), 1000);
    assert_int_equal(offers(clients, 1, 2000, false), 63 + (2000 - 63) / 256);
    clients_free(clients);
}

/* A great many certificates, as a stranger can make them: those with connections stay known. */
static void the_longest_unseen_are_forgotten(void **state)
{
    struct clients *clients;
    bool offer;
    assert_int_equal(clients_make(10, 1, &clients), STATUS_OK);
    assert_int_equal(clients_enter(clients, fingerprint(1), false, &offer), STATUS_OK);
    assert_int_equal(offers(clients, 2, 4, false), 4);
    assert_int_equal(offers(clients, 2, 1, false), 0); /* known */
    for (unsigned i = 0; i < 500; ++i)
        assert_int_equal(offers(clients, 100 + i, 1, false), 1);
    assert_int_equal(offers(clients, 2, 1, false), 0); /* still */
    for (unsigned i = 0; i < 50000; ++i)
        assert_int_equal(offers(clients, 1000 + i, 1, false), 1);
    assert_int_equal(offers(clients, 2, 1, false), 1); /* new again */
    assert_int_equal(clients_enter(clients, fingerprint(1), false, &offer), STATUS_BUSY);
    clients_leave(clients, fingerprint(1));
    assert_int_equal(clients_enter(clients, fingerprint(1), false, &offer), STATUS_OK);
    clients_free(clients);
}

/* tickets.h */

/* A handshake over memory; the session, or whether the given one was resumed. */
static SSL_SESSION *shake_hands(SSL_CTX *server_context, SSL_CTX *client_context,
                                SSL_SESSION *session, bool *ret_resumed)
{
    SSL *server = SSL_new(server_context);
    SSL *client = SSL_new(client_context);
    BIO *to_server;
    BIO *to_client;
    assert_int_equal(BIO_new_bio_pair(&to_server, 0, &to_client, 0), 1);
    SSL_set_bio(server, to_client, to_client);
    SSL_set_bio(client, to_server, to_server);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    if (session != NULL)
        assert_int_equal(SSL_set_session(client, session), 1);
    for (unsigned i = 0; i < 10; ++i) {
        (void)SSL_do_handshake(client);
        (void)SSL_do_handshake(server);
    }
    assert_int_equal(SSL_is_init_finished(client), 1);
    assert_int_equal(SSL_is_init_finished(server), 1);
    *ret_resumed = SSL_session_reused(server) == 1;
    SSL_SESSION *next = SSL_get1_session(client);
    (void)SSL_shutdown(client);
    SSL_free(client);
    SSL_free(server);
    return next;
}

static SSL_CTX *server_context(const struct credentials *credentials, struct tickets *tickets)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(context, credentials->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, credentials->key), 1);
    (void)SSL_CTX_set_timeout(context, TICKET_LIFE_SECONDS);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    tickets_use(tickets, context);
    return context;
}

/* Keys older than a day open nothing. (The clock of the handshakes themselves stands.) */
static void ticket_keys_live_a_day(void **state)
{
    enum { HOUR = 60 * 60 * 1000 };
    struct credentials credentials = credentials_make("EC", 0, "server", -1, 365);
    int64_t now = clock_monotonic();
    struct tickets *tickets;
    struct error error;
    bool resumed;
    assert_int_equal(tickets_make(&tickets, &error), STATUS_OK);
    SSL_CTX *server = server_context(&credentials, tickets);
    SSL_CTX *client = peer_context(NULL, TLS1_2_VERSION);
    SSL_SESSION *session = shake_hands(server, client, NULL, &resumed);
    assert_false(resumed);
    for (unsigned hour = 1; hour <= 24; ++hour) {
        tickets_rotate(tickets, now + (int64_t)hour * HOUR + 1000);
        SSL_SESSION_free(shake_hands(server, client, session, &resumed));
        assert_true(resumed);
    }
    tickets_rotate(tickets, now + (int64_t)25 * HOUR + 2000);
    SSL_SESSION_free(shake_hands(server, client, session, &resumed));
    assert_false(resumed);
    SSL_SESSION_free(session);

    session = shake_hands(server, client, NULL, &resumed);
    tickets_rotate(tickets, now + (int64_t)200 * HOUR); /* nobody came for days */
    SSL_SESSION_free(shake_hands(server, client, session, &resumed));
    assert_false(resumed);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    tickets_free(tickets);
    credentials_free(&credentials);
}

/* A ticket of another process is no ticket. */
static void foreign_tickets_are_ignored(void **state)
{
    struct credentials credentials = credentials_make("EC", 0, "server", -1, 365);
    struct tickets *tickets[2];
    SSL_CTX *servers[2];
    struct error error;
    bool resumed;
    for (unsigned i = 0; i < 2; ++i) {
        assert_int_equal(tickets_make(&tickets[i], &error), STATUS_OK);
        servers[i] = server_context(&credentials, tickets[i]);
    }
    SSL_CTX *client = peer_context(NULL, TLS1_2_VERSION);
    SSL_SESSION *session = shake_hands(servers[0], client, NULL, &resumed);
    SSL_SESSION_free(shake_hands(servers[1], client, session, &resumed));
    assert_false(resumed);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    for (unsigned i = 0; i < 2; ++i) {
        SSL_CTX_free(servers[i]);
        tickets_free(tickets[i]);
    }
    credentials_free(&credentials);
}

/* socket.h */

static void a_socket_is_read_so_often_a_turn(void **state)
{
    int pair[2];
    char bytes[4];
    BIO_METHOD *method = socket_method();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    SSL *ssl = SSL_new(context);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct socket socket = {.fd = pair[0], .reads = 2};
    assert_int_equal(socket_use(ssl, method, &socket), STATUS_OK);
    BIO *bio = SSL_get_rbio(ssl);
    assert_int_equal(write(pair[1], "0123456789", 10), 10);
    for (unsigned i = 0; i < 2; ++i)
        assert_int_equal(BIO_read(bio, bytes, sizeof(bytes)), 4);
    assert_true(BIO_read(bio, bytes, sizeof(bytes)) <= 0); /* more is there, but later */
    assert_true(BIO_should_read(bio));
    socket.reads = 3;
    assert_int_equal(BIO_read(bio, bytes, sizeof(bytes)), 2);
    assert_memory_equal(bytes, "89", 2);
    assert_true(BIO_read(bio, bytes, sizeof(bytes)) <= 0); /* nothing is there */
    assert_true(BIO_should_read(bio));
    assert_int_equal(BIO_write(bio, "answer", 6), 6);
    assert_int_equal(close(pair[1]), 0);
    assert_true(BIO_read(bio, bytes, sizeof(bytes)) <= 0); /* it is over */
    assert_false(BIO_should_retry(bio));
    assert_true(BIO_write(bio, "answer", 6) <= 0); /* without a signal */
    assert_false(BIO_should_retry(bio));
    SSL_free(ssl);
    SSL_CTX_free(context);
    BIO_meth_free(method);
    assert_int_equal(close(pair[0]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadlines_expire_in_order),
        cmocka_unit_test(a_carry_grows_and_keeps_its_bytes),
        cmocka_unit_test(what_a_carry_held_is_wiped),
        cmocka_unit_test(a_pool_has_a_maximum),
        cmocka_unit_test(locked_memory_may_run_out),
        cmocka_unit_test(bytes_move_from_one_carry_to_another),
        cmocka_unit_test(connections_are_counted_by_certificate),
        cmocka_unit_test(tickets_are_offered_where_they_are_used),
        cmocka_unit_test(the_longest_unseen_are_forgotten),
        cmocka_unit_test(ticket_keys_live_a_day),
        cmocka_unit_test(foreign_tickets_are_ignored),
        cmocka_unit_test(a_socket_is_read_so_often_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
