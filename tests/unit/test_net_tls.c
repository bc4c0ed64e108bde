/* SPDX-License-Identifier: Apache-2.0 */
/* What net/net.h promises of TLS: who may connect, certificates, resumption. */
#include "net_fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

static void start_usual(void)
{
    const struct net_options options = fixture_options();
    fixture_start(&options);
}

/* Whether the handshake succeeds on both sides. */
static bool shakes_hands(SSL_CTX *context)
{
    struct peer peer;
    uint8_t memory[104];
    struct bytes frame = frame_make(memory, sizeof(memory), ORDER_ECHO);
    size_t size = 0;
    bool done = peer_try_connect(context, fixture.port, NULL, &peer) &&
                SSL_write_ex(peer.ssl, frame.data, frame.size, &size) == 1 &&
                SSL_read_ex(peer.ssl, memory, sizeof(memory), &size) == 1;
    peer_close(&peer);
    return done;
}

/* Certificates */

static void any_client_certificate_is_let_in(void **state)
{
    static const struct {
        const char *type;
        unsigned bits;
        int from_day;
        int to_day;
    } rows[] = {
        {"EC", 0, -1, 365},    {"RSA", 2048, -1, 365}, {"RSA", 1024, -1, 365},
        {"P-384", 0, -1, 365}, {"P-521", 0, -1, 365},  {"ED25519", 0, -1, 365},
        {"ED448", 0, -1, 365}, {"EC", 0, -20, -1},     {"RSA", 2048, -20, -10},
        {"EC", 0, 5, 10},
    };
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    start_usual();
    for (unsigned i = 0; i < ARRAY_COUNT(rows); ++i)
        for (unsigned version = 0; version < ARRAY_COUNT(versions); ++version) {
            struct credentials client = credentials_make(rows[i].type, rows[i].bits, "any",
                                                         rows[i].from_day, rows[i].to_day);
            SSL_CTX *context = peer_context(&client, versions[version]);
            uint8_t fingerprint[NET_FINGERPRINT_SIZE];
            credentials_fingerprint(&client, fingerprint);
            if (!shakes_hands(context))
                fail_msg("%s %u: no handshake in version %x", rows[i].type, rows[i].bits,
                         (unsigned)versions[version]);
            assert_true(last_peer().has_certificate);
            assert_memory_equal(last_peer().fingerprint, fingerprint, sizeof(fingerprint));
            SSL_CTX_free(context);
            credentials_free(&client);
        }
}

static void no_client_certificate_is_let_in(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    start_usual();
    for (unsigned i = 0; i < ARRAY_COUNT(versions); ++i) {
        SSL_CTX *context = peer_context(NULL, versions[i]);
        assert_true(shakes_hands(context));
        assert_false(last_peer().has_certificate);
        SSL_CTX_free(context);
    }
}

/* The server asks for a certificate without naming authorities: a client with a self-signed one
 * would find it in no list. */
static int on_certificate_request(SSL *ssl, X509 **ret_certificate, EVP_PKEY **ret_key)
{
    const STACK_OF(X509_NAME) *names = SSL_get0_peer_CA_list(ssl);
    bool *asked = SSL_get_app_data(ssl);
    *asked = names == NULL || sk_X509_NAME_num(names) == 0;
    return 0;
}

static void no_authorities_are_named(void **state)
{
    bool asked = false;
    start_usual();
    SSL_CTX *context = peer_context(NULL, TLS1_3_VERSION);
    SSL_CTX_set_client_cert_cb(context, on_certificate_request);
    struct peer peer = peer_connect_plain(fixture.port);
    peer.ssl = SSL_new(context);
    (void)SSL_set_app_data(peer.ssl, &asked);
    assert_int_equal(SSL_set_fd(peer.ssl, peer.fd), 1);
    assert_int_equal(SSL_connect(peer.ssl), 1);
    assert_true(asked);
    peer_close(&peer);
    SSL_CTX_free(context);
}

/* A key that claims to be the certificate's, by its public half, and is not. */
static EVP_PKEY *forge_key(const struct credentials *victim)
{
    EVP_PKEY *mine = EVP_EC_gen("P-256");
    EVP_PKEY *forged = NULL;
    BIGNUM *private = NULL;
    uint8_t public[128];
    size_t size = 0;
    assert_int_equal(EVP_PKEY_get_bn_param(mine, OSSL_PKEY_PARAM_PRIV_KEY, &private), 1);
    assert_int_equal(EVP_PKEY_get_octet_string_param(victim->key, OSSL_PKEY_PARAM_PUB_KEY, public,
                                                     sizeof(public), &size),
                     1);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    assert_int_equal(
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0), 1);
    assert_int_equal(
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, public, size), 1);
    assert_int_equal(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, private), 1);
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
    assert_int_equal(EVP_PKEY_fromdata(context, &forged, EVP_PKEY_KEYPAIR, parameters), 1);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(builder);
    BN_clear_free(private);
    EVP_PKEY_free(mine);
    return forged;
}

/* A certificate is public: who shows it must have its key. */
static void a_stolen_certificate_is_refused(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct credentials thief = {fixture.client.certificate, forge_key(&fixture.client)};
    start_usual();
    for (unsigned i = 0; i < ARRAY_COUNT(versions); ++i) {
        SSL_CTX *context = peer_context(&thief, versions[i]);
        assert_false(shakes_hands(context));
        SSL_CTX_free(context);
    }
    wait_for_count(handshakes_failed, 2);
    assert_int_equal(counters().handshakes, 0);
    assert_int_equal(number(&fixture.seen.opened), 0);
    assert_true(event_seen("bad signature"));
    EVP_PKEY_free(thief.key);
}

/* Versions and ciphers */

static void old_versions_are_refused(void **state)
{
    static const int versions[] = {TLS1_VERSION, TLS1_1_VERSION};
    struct net_options options = fixture_options();
    for (unsigned legacy = 0; legacy < 2; ++legacy) {
        options.legacy_ciphers = legacy == 1;
        fixture_start(&options);
        for (unsigned i = 0; i < ARRAY_COUNT(versions); ++i) {
            SSL_CTX *context = peer_context(&fixture.client, versions[i]);
            assert_false(shakes_hands(context));
            SSL_CTX_free(context);
        }
        wait_for_count(handshakes_failed, 2);
        assert_true(event_seen("unsupported protocol"));
        fixture_stop(0);
    }
}

static bool shakes_hands_with(const char *ciphers)
{
    SSL_CTX *context = peer_context(&fixture.client, TLS1_2_VERSION);
    assert_int_equal(SSL_CTX_set_cipher_list(context, ciphers), 1);
    bool done = shakes_hands(context);
    SSL_CTX_free(context);
    return done;
}

static void cbc_and_rsa_key_exchange_are_for_those_who_ask(void **state)
{
    static const char *const legacy_ciphers[] = {"AES128-SHA256", "AES256-SHA", "AES128-GCM-SHA256",
                                                 "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA"};
    static const char *const modern_ciphers[] = {"ECDHE-RSA-AES128-GCM-SHA256",
                                                 "ECDHE-RSA-AES256-GCM-SHA384",
                                                 "ECDHE-RSA-CHACHA20-POLY1305"};
    static const char *const bad_ciphers[] = {"NULL-SHA256", "DHE-RSA-AES128-GCM-SHA256",
                                              "PSK-AES128-CBC-SHA256", "AECDH-AES128-SHA",
                                              "AES128-CCM"};
    struct credentials rsa = credentials_make("RSA", 2048, "server", -1, 365);
    struct net_options options = fixture_options();
    credentials_write(&rsa, fixture.certificate_file, fixture.key_file);
    for (unsigned legacy = 0; legacy < 2; ++legacy) {
        options.legacy_ciphers = legacy == 1;
        fixture_start(&options);
        for (unsigned i = 0; i < ARRAY_COUNT(legacy_ciphers); ++i)
            assert_int_equal(shakes_hands_with(legacy_ciphers[i]), legacy == 1);
        for (unsigned i = 0; i < ARRAY_COUNT(modern_ciphers); ++i)
            assert_true(shakes_hands_with(modern_ciphers[i]));
        for (unsigned i = 0; i < ARRAY_COUNT(bad_ciphers); ++i)
            assert_false(shakes_hands_with(bad_ciphers[i]));
        fixture_stop(0);
    }
    credentials_free(&rsa);
}

/* A client that likes CBC best still gets GCM where it can. */
static void good_ciphers_come_first(void **state)
{
    struct credentials rsa = credentials_make("RSA", 2048, "server", -1, 365);
    struct net_options options = fixture_options();
    credentials_write(&rsa, fixture.certificate_file, fixture.key_file);
    options.legacy_ciphers = true;
    fixture_start(&options);
    assert_int_equal(SSL_CTX_set_cipher_list(fixture.tls12,
                                             "AES128-SHA256:AES256-SHA:ECDHE-RSA-AES128-SHA256:"
                                             "ECDHE-RSA-AES128-GCM-SHA256"),
                     1);
    struct peer peer = peer_connect(fixture.tls12, fixture.port, NULL);
    assert_string_equal(SSL_get_cipher(peer.ssl), "ECDHE-RSA-AES128-GCM-SHA256");
    peer_close(&peer);
    assert_int_equal(SSL_CTX_set_cipher_list(fixture.tls12, "DEFAULT"), 1);
    credentials_free(&rsa);
}

static void what_is_not_tls_is_refused(void **state)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: kms\r\n\r\n";
    start_usual();
    struct peer peer = peer_connect_plain(fixture.port);
    assert_int_equal(write(peer.fd, http, sizeof(http) - 1), sizeof(http) - 1);
    uint8_t alert[64];
    while (read(peer.fd, alert, sizeof(alert)) > 0) /* an alert, and the end */
        ;
    peer_close(&peer);
    wait_for_count(handshakes_failed, 1);
    assert_true(event_seen("http request"));
}

static void renegotiation_is_refused(void **state)
{
    start_usual();
    struct peer peer = peer_connect(fixture.tls12, fixture.port, NULL);
    exchange(&peer, 104, ORDER_ECHO);
    assert_int_equal(SSL_renegotiate(peer.ssl), 1);
    (void)SSL_do_handshake(peer.ssl); /* the server says no, and OpenSSL's client gives up */
    assert_int_equal(counters().handshakes, 1);
    peer_close(&peer);
    wait_for_count(open, 0);
    assert_true(shakes_hands(fixture.tls12));
}

/* Resumption */

/* After the first answer, as Python's ssl and OpenSSL's own client see it. */
static SSL_SESSION *session_after_answer(SSL_CTX *context, SSL_SESSION *session, bool *ret_resumed)
{
    struct peer peer = peer_connect(context, fixture.port, session);
    exchange(&peer, 104, ORDER_ECHO);
    *ret_resumed = SSL_session_reused(peer.ssl) == 1;
    SSL_SESSION *next = SSL_get1_session(peer.ssl);
    assert_int_equal(SSL_SESSION_is_resumable(next), 1);
    peer_close(&peer);
    return next;
}

static void sessions_resume(void **state)
{
    SSL_CTX *contexts[] = {fixture.tls12, fixture.tls13};
    uint8_t fingerprint[NET_FINGERPRINT_SIZE];
    uint64_t resumed_before = 0;
    credentials_fingerprint(&fixture.client, fingerprint);
    start_usual();
    for (unsigned i = 0; i < ARRAY_COUNT(contexts); ++i) {
        bool resumed;
        SSL_SESSION *session = session_after_answer(contexts[i], NULL, &resumed);
        assert_false(resumed);
        for (unsigned again = 0; again < 20; ++again) { /* on either loop */
            SSL_SESSION *next = session_after_answer(contexts[i], session, &resumed);
            assert_true(resumed);
            assert_true(last_peer().has_certificate);
            assert_memory_equal(last_peer().fingerprint, fingerprint, sizeof(fingerprint));
            SSL_SESSION_free(session);
            session = next;
        }
        SSL_SESSION_free(session);
        assert_int_equal(counters().resumed - resumed_before, 20);
        resumed_before = counters().resumed;
    }
}

/* As TLS 1.2 does it without tickets. Each loop remembers its own. */
static void sessions_without_tickets_resume(void **state)
{
    struct net_options options = fixture_options();
    bool resumed = false;
    options.loops = 1;
    fixture_start(&options);
    SSL_CTX *context = peer_context(&fixture.client, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_SESSION *session = session_after_answer(context, NULL, &resumed);
    assert_false(resumed);
    SSL_SESSION *next = session_after_answer(context, session, &resumed);
    assert_true(resumed);
    assert_true(last_peer().has_certificate);
    SSL_SESSION_free(session);
    SSL_SESSION_free(next);
    SSL_CTX_free(context);
}

static void keys_may_be_updated(void **state)
{
    start_usual();
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    for (unsigned i = 0; i < 200; ++i) {
        assert_int_equal(SSL_key_update(peer.ssl, i % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED
                                                             : SSL_KEY_UPDATE_NOT_REQUESTED),
                         1);
        assert_int_equal(SSL_do_handshake(peer.ssl), 1);
        if (i % 10 == 0)
            exchange(&peer, 104, ORDER_ECHO);
    }
    exchange(&peer, 104, ORDER_LATER);
    peer_close(&peer);
}

/* The answers, not the requests, bring the ticket: no round trip is added. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    ++*(unsigned *)SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    return 0;
}

static void tickets_are_for_those_who_use_them(void **state)
{
    enum { CONNECTIONS = 40 };
    unsigned tickets = 0;
    SSL_CTX *context = peer_context(&fixture.client, TLS1_3_VERSION);
    SSL_CTX_set_app_data(context, &tickets);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(context, on_session);
    start_usual();
    for (unsigned i = 0; i < CONNECTIONS; ++i)
        assert_true(shakes_hands(context));
    assert_in_range(tickets, 1, 8); /* one who never uses one is soon offered none */
    unsigned unused = tickets;
    bool resumed;
    SSL_CTX *other = peer_context(&fixture.client, TLS1_2_VERSION); /* the same certificate */
    SSL_SESSION *session = session_after_answer(other, NULL, &resumed);
    SSL_SESSION *next = session_after_answer(other, session, &resumed);
    assert_true(resumed);
    for (unsigned i = 0; i < CONNECTIONS; ++i)
        assert_true(shakes_hands(context));
    assert_int_equal(tickets - unused, CONNECTIONS);
    SSL_SESSION_free(session);
    SSL_SESSION_free(next);
    SSL_CTX_free(other);
    SSL_CTX_free(context);
}

static void bare_handshakes_bring_no_ticket(void **state)
{
    start_usual();
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    SSL_SESSION *session = SSL_get1_session(peer.ssl);
    assert_int_equal(SSL_SESSION_is_resumable(session), 0);
    SSL_SESSION_free(session);
    peer_close(&peer);
}

/* The server's own certificate */

static const struct net_handler no_handler;

static struct error warning_of(int from_day, int to_day)
{
    const struct net_options options = fixture_options();
    struct credentials server = credentials_make("EC", 0, "server", from_day, to_day);
    struct error warning = {0};
    struct error error = {0};
    credentials_write(&server, fixture.certificate_file, fixture.key_file);
    assert_int_equal(net_start(&options, &no_handler, &fixture.net, &warning, &error), STATUS_OK);
    fixture.port = net_port(fixture.net);
    SSL_CTX *context = peer_context(NULL, TLS1_3_VERSION);
    struct peer peer = peer_connect(context, fixture.port, NULL);
    peer_close(&peer);
    SSL_CTX_free(context);
    fixture_stop(0);
    credentials_free(&server);
    return warning;
}

/* A data centre must boot. */
static void an_expired_certificate_is_served_with_a_warning(void **state)
{
    assert_non_null(strstr(warning_of(-20, -1).text, "expired on 20"));
    assert_non_null(strstr(warning_of(-20, 10).text, "expires on 20"));
    assert_non_null(strstr(warning_of(5, 10).text, "not valid yet"));
    assert_string_equal(warning_of(-1, 365).text, "");
}

static void write_text(const char *file, const char *text)
{
    FILE *stream = fopen(file, "w");
    assert_non_null(stream);
    assert_true(fputs(text, stream) >= 0);
    assert_int_equal(fclose(stream), 0);
}

static void expect_refusal(enum status status, const char *text)
{
    const struct net_options options = fixture_options();
    struct error error;
    fixture_refuse(&options, status, &error);
    if (strstr(error.text, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, text);
}

static void encrypt_key(void)
{
    FILE *stream = fopen(fixture.key_file, "w");
    assert_non_null(stream);
    assert_int_equal(PEM_write_PrivateKey(stream, fixture.server.key, EVP_aes_256_cbc(),
                                          (unsigned char *)"secret", 6, NULL, NULL),
                     1);
    assert_int_equal(fclose(stream), 0);
}

static void bad_certificates_and_keys_are_refused(void **state)
{
    struct credentials other = credentials_make("EC", 0, "other", -1, 365);
    struct credentials weak = credentials_make("RSA", 1024, "weak", -1, 365);
    assert_int_equal(unlink(fixture.certificate_file), 0);
    expect_refusal(STATUS_IO, "server.pem: No such file or directory");
    write_text(fixture.certificate_file, "hello\n");
    expect_refusal(STATUS_INVALID_ARGUMENT, "holds no certificate in PEM");
    write_text(fixture.certificate_file,
               "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    expect_refusal(STATUS_INVALID_ARGUMENT, "holds no certificate in PEM");

    credentials_write(&fixture.server, fixture.certificate_file, fixture.key_file);
    assert_int_equal(chmod(fixture.key_file, 0644), 0);
    expect_refusal(STATUS_INVALID_ARGUMENT, "chmod 600");
    assert_int_equal(unlink(fixture.key_file), 0);
    expect_refusal(STATUS_IO, "server.key: No such file or directory");
    write_text(fixture.key_file, "hello\n");
    assert_int_equal(chmod(fixture.key_file, 0600), 0);
    expect_refusal(STATUS_INVALID_ARGUMENT, "holds no private key in PEM");
    encrypt_key();
    expect_refusal(STATUS_INVALID_ARGUMENT, "under a passphrase");

    credentials_write(&other, fixture.certificate_file, fixture.key_file);
    credentials_write_certificate(&fixture.server, fixture.certificate_file);
    expect_refusal(STATUS_INVALID_ARGUMENT, "is not that of the certificate");
    credentials_write(&weak, fixture.certificate_file, fixture.key_file);
    expect_refusal(STATUS_INVALID_ARGUMENT, "key too small");
    credentials_free(&other);
    credentials_free(&weak);
}

/* The chain behind the leaf is sent, and nothing is added to it. */
static void the_chain_of_the_file_is_sent(void **state)
{
    struct credentials second = credentials_make("EC", 0, "second", -1, 365);
    FILE *stream = fopen(fixture.certificate_file, "a");
    assert_int_equal(PEM_write_X509(stream, second.certificate), 1);
    assert_int_equal(fclose(stream), 0);
    start_usual();
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(peer.ssl);
    assert_int_equal(sk_X509_num(chain), 2);
    assert_int_equal(X509_cmp(sk_X509_value(chain, 0), fixture.server.certificate), 0);
    assert_int_equal(X509_cmp(sk_X509_value(chain, 1), second.certificate), 0);
    peer_close(&peer);
    credentials_free(&second);
}

static bool serves(const struct credentials *server)
{
    struct peer peer = peer_connect(fixture.tls13, fixture.port, NULL);
    bool same = X509_cmp(SSL_get0_peer_certificate(peer.ssl), server->certificate) == 0;
    peer_close(&peer);
    return same;
}

static void the_certificate_can_be_replaced(void **state)
{
    struct credentials second = credentials_make("RSA", 2048, "second", -1, 10);
    struct error error = {0};
    bool resumed = false;
    start_usual();
    SSL_SESSION *session = session_after_answer(fixture.tls13, NULL, &resumed);
    struct peer before = peer_connect(fixture.tls13, fixture.port, NULL);
    credentials_write(&second, fixture.certificate_file, fixture.key_file);
    assert_true(serves(&fixture.server));
    assert_int_equal(net_reload_certificate(fixture.net, &error), STATUS_OK);
    assert_true(event_seen("expires on"));
    for (unsigned i = 0; i < 10; ++i)
        assert_true(serves(&second));
    exchange(&before, 104, ORDER_ECHO);
    peer_close(&before);
    SSL_SESSION *next = session_after_answer(fixture.tls13, session, &resumed);
    assert_true(resumed);

    write_text(fixture.certificate_file, "hello\n");
    assert_int_equal(net_reload_certificate(fixture.net, &error), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "holds no certificate"));
    assert_true(serves(&second));
    SSL_SESSION_free(session);
    SSL_SESSION_free(next);
    credentials_free(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        net_test(any_client_certificate_is_let_in),
        net_test(no_client_certificate_is_let_in),
        net_test(no_authorities_are_named),
        net_test(a_stolen_certificate_is_refused),
        net_test(old_versions_are_refused),
        net_test(cbc_and_rsa_key_exchange_are_for_those_who_ask),
        net_test(good_ciphers_come_first),
        net_test(what_is_not_tls_is_refused),
        net_test(renegotiation_is_refused),
        net_test(sessions_resume),
        net_test(sessions_without_tickets_resume),
        net_test(keys_may_be_updated),
        net_test(tickets_are_for_those_who_use_them),
        net_test(bare_handshakes_bring_no_ticket),
        net_test(an_expired_certificate_is_served_with_a_warning),
        net_test(bad_certificates_and_keys_are_refused),
        net_test(the_chain_of_the_file_is_sent),
        net_test(the_certificate_can_be_replaced),
    };
    return cmocka_run_group_tests(tests, fixture_set_up_all, fixture_tear_down_all);
}
