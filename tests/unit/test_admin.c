/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin process as its clients see it, with an API in memory behind it. This program is the
 * process, too: started as `test_admin admin`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/front.h"
#include "admin/process.h"
#include "api_bench.h"
#include "crypto/pki.h"

#define ANSWER_MAX  (256 * 1024)
#define SERVICE_IDS "/api/v2/kmipd/service_ids"

struct fixture {
    struct api_bench bench;
    struct admin_options options;
    char certificate[96];
    char key[96];
    struct admin *admin;
    SSL_CTX *tls;
    char answer[ANSWER_MAX];
    char bearer[API_BENCH_TEXT_MAX + 256];
};

static void make_identity(struct fixture *fixture, const char *name)
{
    EVP_PKEY *key;
    X509 *certificate;
    struct error error = {0};
    (void)snprintf(fixture->certificate, sizeof(fixture->certificate), "%s/server.pem",
                   fixture->bench.directory);
    (void)snprintf(fixture->key, sizeof(fixture->key), "%s/server.key", fixture->bench.directory);
    assert_int_equal(pki_key_make(PKI_KEY_ECDSA_P256, &key), STATUS_OK);
    assert_int_equal(pki_make_authority(key, name, clock_now(&fixture->bench.core.clock),
                                        &certificate, &error),
                     STATUS_OK);
    assert_int_equal(pki_certificate_write(fixture->certificate, &certificate, 1, 0, &error),
                     STATUS_OK);
    assert_int_equal(pki_key_write(fixture->key, key, 0, &error), STATUS_OK);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void open_admin(struct fixture *fixture)
{
    struct error error = {0};
    if (admin_open(&fixture->options, fixture->bench.api, &fixture->admin, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    api_bench_open(&fixture->bench);
    make_identity(fixture, "first");
    fixture->options = (struct admin_options){.address = "127.0.0.1:0",
                                              .certificate_file = fixture->certificate,
                                              .key_file = fixture->key,
                                              .connections_max = 64};
    fixture->tls = SSL_CTX_new(TLS_client_method());
    assert_non_null(fixture->tls);
    open_admin(fixture);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    admin_close(fixture->admin);
    SSL_CTX_free(fixture->tls);
    api_bench_close(&fixture->bench);
    free(fixture);
    return 0;
}

/* The same with other options. */
static void reopen(struct fixture *fixture)
{
    admin_close(fixture->admin);
    fixture->admin = NULL;
    open_admin(fixture);
}

/* ---- A client ---- */

static int dial(const struct fixture *fixture)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)admin_port(fixture->admin)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const struct timeval patience = {.tv_sec = 20};
    assert_true(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static SSL *call(const struct fixture *fixture)
{
    SSL *ssl = SSL_new(fixture->tls);
    assert_non_null(ssl);
    assert_int_equal(SSL_set_fd(ssl, dial(fixture)), 1);
    assert_int_equal(SSL_connect(ssl), 1);
    return ssl;
}

static void hang_up(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    (void)SSL_shutdown(ssl);
    SSL_free(ssl);
    (void)close(fd);
}

static void send_bytes(SSL *ssl, const char *text, size_t size)
{
    assert_int_equal(SSL_write(ssl, text, (int)size), size);
}

static void send_text(SSL *ssl, const char *text)
{
    send_bytes(ssl, text, strlen(text));
}

static size_t content_length(const char *head)
{
    const char *at = strcasestr(head, "\r\nContent-Length:");
    return at == NULL ? 0 : strtoul(at + 17, NULL, 10);
}

/* Reads one answer into fixture->answer; its status; 0: the other side ended. */
static unsigned read_answer(struct fixture *fixture, SSL *ssl, bool has_body)
{
    size_t size = 0;
    const char *end = NULL;
    size_t whole = SIZE_MAX;
    memset(fixture->answer, 0, ANSWER_MAX);
    while (size < whole && size < ANSWER_MAX - 1) {
        /* One byte at a time before the body, so that nothing of the next answer is taken. */
        size_t room = end == NULL ? 1 : whole - size;
        int result = SSL_read(ssl, fixture->answer + size, (int)room);
        if (result <= 0)
            return 0;
        size += (size_t)result;
        if (end == NULL && size >= 4 && memcmp(fixture->answer + size - 4, "\r\n\r\n", 4) == 0) {
            end = fixture->answer + size;
            whole = size + (has_body ? content_length(fixture->answer) : 0);
        }
    }
    return (unsigned)strtoul(fixture->answer + strlen("HTTP/1.1 "), NULL, 10);
}

static const char *body_of(const struct fixture *fixture)
{
    const char *end = strstr(fixture->answer, "\r\n\r\n");
    return end == NULL ? "" : end + 4;
}

static unsigned ask(struct fixture *fixture, SSL *ssl, const char *text)
{
    send_text(ssl, text);
    return read_answer(fixture, ssl, true);
}

static unsigned ask_once(struct fixture *fixture, const char *text)
{
    SSL *ssl = call(fixture);
    unsigned status = ask(fixture, ssl, text);
    hang_up(ssl);
    return status;
}

/* ---- What a client gets ---- */

static void test_a_request_and_its_answer(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(ask_once(fixture, "GET /identity/keys HTTP/1.1\r\nHost: x\r\n"
                                       "Correlation-Id: abc\r\n\r\n"),
                     200);
    assert_non_null(strcasestr(fixture->answer, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strcasestr(fixture->answer, "\r\nCorrelation-Id: abc\r\n"));
    assert_non_null(strcasestr(fixture->answer, "\r\nCache-Control: no-store\r\n"));
    json_t *json = json_loads(body_of(fixture), 0, NULL);
    assert_int_equal(json_array_size(json_object_get(json, "keys")), 1);
    json_decref(json);
}

/* An Authorization header of a new service ID that may do everything of this kind. */
static const char *authorization(struct fixture *fixture)
{
    api_bench_act_as(&fixture->bench, "boss", API_ROLE_ADMINISTRATOR);
    (void)snprintf(fixture->bearer, sizeof(fixture->bearer),
                   "Authorization: %s\r\nBluemix-Instance: " API_BENCH_INSTANCE "\r\nHost: x\r\n",
                   fixture->bench.bearer);
    return fixture->bearer;
}

static void test_from_the_api_key_to_a_resource(void **state)
{
    struct fixture *fixture = *state;
    char request[2 * API_BENCH_TEXT_MAX];
    const char *headers = authorization(fixture);
    SSL *ssl = call(fixture);
    (void)snprintf(request, sizeof(request), "GET " SERVICE_IDS " HTTP/1.1\r\n%s\r\n", headers);
    assert_int_equal(ask(fixture, ssl, request), 200);
    assert_non_null(strstr(body_of(fixture), "\"boss\""));
    (void)snprintf(request, sizeof(request),
                   "POST " SERVICE_IDS " HTTP/1.1\r\n%sContent-Length: 14\r\n\r\n{\"name\":\"two\"}",
                   headers);
    assert_int_equal(ask(fixture, ssl, request), 201);
    (void)snprintf(request, sizeof(request),
                   "POST " SERVICE_IDS " HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n"
                   "8\r\n{\"name\":\r\n8\r\n\"three\"}\r\n0\r\n\r\n",
                   headers);
    assert_int_equal(ask(fixture, ssl, request), 201);
    assert_non_null(strstr(body_of(fixture), "\"three\""));
    (void)snprintf(request, sizeof(request), "DELETE " SERVICE_IDS "/two HTTP/1.1\r\n%s\r\n",
                   headers);
    assert_int_equal(ask(fixture, ssl, request), 204);
    assert_int_equal(ask(fixture, ssl, request), 404);
    hang_up(ssl);
    /* The peer stands in the record as the process has seen it. */
    json_t *records = api_bench_records(&fixture->bench, 1);
    const char *peer = json_string_value(json_object_get(json_array_get(records, 0), "peer"));
    assert_non_null(peer);
    assert_memory_equal(peer, "127.0.0.1:", 10);
    json_decref(records);
}

static void test_401_names_its_scheme(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(ask_once(fixture, "GET " SERVICE_IDS " HTTP/1.1\r\nHost: x\r\n\r\n"), 401);
    assert_non_null(strcasestr(fixture->answer, "\r\nWWW-Authenticate: Bearer\r\n"));
}

static void test_methods(void **state)
{
    static const char *const others[] = {"OPTIONS", "TRACE", "PATCH", "PUT"};
    struct fixture *fixture = *state;
    char request[256];
    SSL *ssl = call(fixture);
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        (void)snprintf(request, sizeof(request), "%s /identity/keys HTTP/1.1\r\nHost: x\r\n\r\n",
                       others[i]);
        assert_int_equal(ask(fixture, ssl, request), 405);
        assert_non_null(strcasestr(fixture->answer, "\r\nAllow: HEAD, GET\r\n"));
    }
    send_text(ssl, "HEAD /identity/keys HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(read_answer(fixture, ssl, false), 200);
    assert_true(content_length(fixture->answer) > 0);
    assert_int_equal(ask(fixture, ssl, "GET /identity/keys HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    hang_up(ssl);
    assert_int_equal(ask_once(fixture, "BREW /identity/keys HTTP/1.1\r\nHost: x\r\n\r\n"), 501);
}

static void test_targets(void **state)
{
    struct fixture *fixture = *state;
    SSL *ssl = call(fixture);
    assert_int_equal(
        ask(fixture, ssl, "GET https://kms.example.com/identity/keys HTTP/1.1\r\nHost: x\r\n\r\n"),
        200);
    assert_int_equal(ask(fixture, ssl, "GET /identity/keys/?a=b HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_int_equal(ask(fixture, ssl, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    hang_up(ssl);
}

static void test_close_is_honoured(void **state)
{
    struct fixture *fixture = *state;
    SSL *ssl = call(fixture);
    char byte;
    assert_int_equal(ask(fixture, ssl,
                         "GET /identity/keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
                     200);
    assert_true(SSL_read(ssl, &byte, 1) <= 0);
    hang_up(ssl);
    assert_int_equal(ask_once(fixture, "GET /identity/keys HTTP/1.0\r\n\r\n"), 200);
}

static void test_requests_one_behind_the_other(void **state)
{
    struct fixture *fixture = *state;
    SSL *ssl = call(fixture);
    send_text(ssl, "GET /identity/keys HTTP/1.1\r\nHost: x\r\nCorrelation-Id: 1\r\n\r\n"
                   "GET /nothing HTTP/1.1\r\nHost: x\r\nCorrelation-Id: 2\r\n\r\n"
                   "POST /identity/token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
                   "Correlation-Id: 3\r\n\r\na=bGET /identity/keys HTTP/1.1\r\nHost: x\r\n"
                   "Correlation-Id: 4\r\n\r\n");
    static const unsigned statuses[] = {200, 404, 400, 200};
    for (unsigned i = 0; i < ARRAY_COUNT(statuses); i++) {
        char header[40];
        assert_int_equal(read_answer(fixture, ssl, true), statuses[i]);
        (void)snprintf(header, sizeof(header), "\r\nCorrelation-Id: %u\r\n", i + 1);
        assert_non_null(strcasestr(fixture->answer, header));
    }
    hang_up(ssl);
}

static void test_expectations(void **state)
{
    struct fixture *fixture = *state;
    SSL *ssl = call(fixture);
    send_text(ssl, "POST /identity/token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
                   "Expect: 100-continue\r\n\r\n");
    assert_int_equal(read_answer(fixture, ssl, false), 100);
    assert_int_equal(ask(fixture, ssl, "a=b"), 400);
    hang_up(ssl);
}

static void test_what_is_too_large(void **state)
{
    struct fixture *fixture = *state;
    char *headers = malloc(40000);
    SSL *ssl = call(fixture);
    assert_int_equal(ask(fixture, ssl, "POST /identity/token HTTP/1.1\r\nHost: x\r\n"
                                       "Content-Length: 99999999\r\n\r\n"),
                     413);
    hang_up(ssl);
    assert_non_null(headers);
    int length = snprintf(headers, 40000, "GET / HTTP/1.1\r\nHost: x\r\nX: ");
    memset(headers + length, 'a', 30000);
    memcpy(headers + length + 30000, "\r\n\r\n", 5);
    unsigned status = ask_once(fixture, headers);
    assert_true(status == 413 || status == 400 || status == 0);
    free(headers);
    assert_int_equal(ask_once(fixture, "GET /identity/keys HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
}

#define LARGE_BODY (900 * 1024)

/* More than is read from the socket at once. */
static void test_a_large_body_arrives(void **state)
{
    struct fixture *fixture = *state;
    char *request = malloc(LARGE_BODY + 256);
    assert_non_null(request);
    int length = snprintf(request, 256,
                          "POST /identity/token HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
                          LARGE_BODY);
    memset(request + length, 'a', LARGE_BODY);
    SSL *ssl = call(fixture);
    send_bytes(ssl, request, (size_t)length + LARGE_BODY);
    assert_int_equal(read_answer(fixture, ssl, true), 400);
    assert_non_null(strstr(body_of(fixture), "BXNIM0109E"));
    hang_up(ssl);
    free(request);
}

static void test_bytes_that_are_no_http(void **state)
{
    static const char *const others[] = {
        "\r\n\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /identity/token HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /identity/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"};
    struct fixture *fixture = *state;
    struct admin_status status;
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        SSL *ssl = call(fixture);
        send_text(ssl, others[i]);
        (void)shutdown(SSL_get_fd(ssl), SHUT_WR);
        unsigned answer = read_answer(fixture, ssl, true);
        assert_true(answer == 0 || answer >= 400);
        hang_up(ssl);
    }
    int fd = dial(fixture);
    assert_true(write(fd, "GET / HTTP/1.1\r\n\r\n", 18) == 18); /* no TLS */
    char byte[16];
    while (read(fd, byte, sizeof(byte)) > 0)
        ;
    (void)close(fd);
    admin_status(fixture->admin, &status);
    assert_int_equal(status.starts, 1);
    assert_int_equal(ask_once(fixture, "GET /identity/keys HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
}

/* ---- Limits ---- */

static void test_slow_clients_are_cut_off(void **state)
{
    struct fixture *fixture = *state;
    char byte;
    fixture->options.request_seconds = 1;
    reopen(fixture);
    SSL *silent = call(fixture);
    SSL *slow = call(fixture);
    int no_tls = dial(fixture);
    send_text(slow, "GET /identity/keys HTTP/1.1\r\n");
    for (int i = 0; i < 60; i++) { /* a header a tenth of a second */
        const struct timespec pause = {.tv_nsec = 100000000};
        (void)nanosleep(&pause, NULL);
        if (SSL_write(slow, "A: b\r\n", 6) <= 0)
            break;
    }
    assert_true(SSL_read(slow, &byte, 1) <= 0);
    assert_true(SSL_read(silent, &byte, 1) <= 0);
    assert_true(read(no_tls, &byte, 1) <= 0);
    hang_up(slow);
    hang_up(silent);
    (void)close(no_tls);
}

static void test_more_connections_than_are_allowed(void **state)
{
    struct fixture *fixture = *state;
    SSL *many[6];
    char byte;
    fixture->options.connections_max = 4;
    reopen(fixture);
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        many[i] = call(fixture);
        assert_int_equal(
            ask(fixture, many[i], "GET /identity/keys HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    }
    /* The oldest of those that were idle has made room. */
    assert_true(SSL_read(many[0], &byte, 1) <= 0);
    assert_int_equal(ask(fixture, many[5], "GET /identity/keys HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    for (size_t i = 0; i < ARRAY_COUNT(many); i++)
        hang_up(many[i]);
}

/* ---- The process ---- */

static void test_a_killed_process_is_started_again(void **state)
{
    struct fixture *fixture = *state;
    struct admin_status status;
    SSL *ssl = call(fixture);
    char byte;
    admin_status(fixture->admin, &status);
    assert_int_equal(status.starts, 1);
    assert_int_equal(kill(status.pid, SIGKILL), 0);
    assert_true(SSL_read(ssl, &byte, 1) <= 0);
    hang_up(ssl);
    /* Who calls meanwhile waits, and is not refused. */
    assert_int_equal(ask_once(fixture, "GET /identity/keys HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    admin_status(fixture->admin, &status);
    assert_int_equal(status.starts, 2);
}

static void expect_issuer(struct fixture *fixture, const char *name)
{
    char text[64];
    SSL *ssl = call(fixture);
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    (void)X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text,
                                    sizeof(text));
    assert_string_equal(text, name);
    X509_free(certificate);
    hang_up(ssl);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_another_certificate(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    expect_issuer(fixture, "first");
    SSL *old = call(fixture);
    make_identity(fixture, "second");
    assert_int_equal(admin_reload(fixture->admin, &error), STATUS_OK);
    expect_issuer(fixture, "second");
    assert_int_equal(ask(fixture, old, "GET /identity/keys HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    hang_up(old);
    write_file(fixture->certificate, "no certificate\n");
    assert_int_equal(admin_reload(fixture->admin, &error), STATUS_INVALID_ARGUMENT);
    assert_memory_equal(error.text, "the server certificate cannot be used", 37);
    expect_issuer(fixture, "second");
}

static void test_openings_that_fail(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    struct admin *other;
    struct admin_options options = fixture->options;
    char taken[32];
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%u", admin_port(fixture->admin));
    options.address = taken;
    assert_int_equal(admin_open(&options, fixture->bench.api, &other, &error), STATUS_EXISTS);
    options.address = "nowhere";
    assert_int_equal(admin_open(&options, fixture->bench.api, &other, &error),
                     STATUS_INVALID_ARGUMENT);
    options.address = "127.0.0.1:0";
    options.key_file = fixture->certificate;
    assert_int_not_equal(admin_open(&options, fixture->bench.api, &other, &error), STATUS_OK);
    options.key_file = "/nonexistent/key";
    assert_int_equal(admin_open(&options, fixture->bench.api, &other, &error), STATUS_NOT_FOUND);
    options.key_file = fixture->key;
    options.program = "/nonexistent/program";
    assert_int_not_equal(admin_open(&options, fixture->bench.api, &other, &error), STATUS_OK);
}

/* ---- Many at one time ---- */

#define CLIENTS  8
#define REQUESTS 50

struct client {
    struct fixture *fixture; /* its own, for the answer; the server is the test's */
    pthread_t thread;
    unsigned good;
};

static void *keep_asking(void *argument)
{
    struct client *client = argument;
    SSL *ssl = call(client->fixture);
    for (int i = 0; i < REQUESTS; i++) {
        char request[128];
        char header[64];
        (void)snprintf(request, sizeof(request),
                       "GET /identity/keys HTTP/1.1\r\nHost: x\r\nCorrelation-Id: %p-%d\r\n\r\n",
                       argument, i);
        (void)snprintf(header, sizeof(header), "\r\nCorrelation-Id: %p-%d\r\n", argument, i);
        unsigned status = ask(client->fixture, ssl, request);
        client->good += (status == 200 || status == 429) &&
                        strcasestr(client->fixture->answer, header) != NULL;
        if (status != 200) { /* too many strangers: the connection is closed */
            hang_up(ssl);
            ssl = call(client->fixture);
        }
    }
    hang_up(ssl);
    return NULL;
}

static void test_clients_get_their_own_answers(void **state)
{
    struct fixture *fixture = *state;
    struct client clients[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.fixture = calloc(1, sizeof(*fixture))};
        assert_non_null(clients[i].fixture);
        clients[i].fixture->admin = fixture->admin;
        clients[i].fixture->tls = fixture->tls;
        assert_int_equal(pthread_create(&clients[i].thread, NULL, keep_asking, &clients[i]), 0);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
        assert_int_equal(clients[i].good, REQUESTS);
        free(clients[i].fixture);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_and_its_answer),
        TEST(test_from_the_api_key_to_a_resource),
        TEST(test_401_names_its_scheme),
        TEST(test_methods),
        TEST(test_targets),
        TEST(test_close_is_honoured),
        TEST(test_requests_one_behind_the_other),
        TEST(test_expectations),
        TEST(test_what_is_too_large),
        TEST(test_a_large_body_arrives),
        TEST(test_bytes_that_are_no_http),
        TEST(test_slow_clients_are_cut_off),
        TEST(test_more_connections_than_are_allowed),
        TEST(test_a_killed_process_is_started_again),
        TEST(test_another_certificate),
        TEST(test_openings_that_fail),
        TEST(test_clients_get_their_own_answers),
    };
    if (count == 2 && strcmp(arguments[1], "admin") == 0)
        return admin_process();
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
