/* SPDX-License-Identifier: Apache-2.0 */
/* The promises of the client library, against servers of this process that follow a script. */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hex.h"
#include "client/address.h"
#include "client/operations.h"
#include "scripted.h"

enum { SECURE_HEAP = 256 * 1024, FRAME_MAX = 4096, QUICK = 300, PATIENT = 10000 };

#define KEY_ID "0190b5a4-0000-7000-8000-000000000001"

static struct {
    char directory[64];
    char certificate_file[96];
    char key_file[96];
    char authority_file[96]; /* the server's own certificate, which has 127.0.0.1 in it */
    char stranger_file[96];  /* a certificate that has signed nothing */
    struct credentials server;
    struct credentials client;
    struct client_identity *identity;
    uint8_t pin[CLIENT_SHA256_SIZE];
    struct scripted_script script;
    struct scripted_server *scripted;
} fixture;

/* ---- Setting up ---- */

static void in_directory(char *path, size_t size, const char *name)
{
    (void)snprintf(path, size, "%s/%s", fixture.directory, name);
}

/* Signs the certificate again, with the address of these tests in it. */
static void add_address(const struct credentials *credentials)
{
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(credentials->certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(credentials->certificate, credentials->key, EVP_sha256()) > 0);
}

static void write_files(void)
{
    char unused[96];
    struct credentials stranger = credentials_make("EC", 0, "stranger", -1, 1);
    in_directory(fixture.certificate_file, sizeof(fixture.certificate_file), "client.pem");
    in_directory(fixture.key_file, sizeof(fixture.key_file), "client.key");
    in_directory(fixture.authority_file, sizeof(fixture.authority_file), "ca.pem");
    in_directory(fixture.stranger_file, sizeof(fixture.stranger_file), "stranger.pem");
    in_directory(unused, sizeof(unused), "unused.key");
    credentials_write(&fixture.client, fixture.certificate_file, fixture.key_file);
    credentials_write(&fixture.server, fixture.authority_file, unused);
    credentials_write(&stranger, fixture.stranger_file, unused);
    credentials_free(&stranger);
}

static int set_up_all(void **state)
{
    struct error error = {0};
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(secret_heap_init(SECURE_HEAP, &error), STATUS_OK);
    (void)snprintf(fixture.directory, sizeof(fixture.directory), "/tmp/test_client.XXXXXX");
    assert_non_null(mkdtemp(fixture.directory));
    fixture.server = credentials_make("EC", 0, "server", -1, 1);
    fixture.client = credentials_make("EC", 0, "kmipClient", -1, 1);
    add_address(&fixture.server);
    credentials_fingerprint(&fixture.server, fixture.pin);
    write_files();
    assert_int_equal(
        client_identity_load(fixture.certificate_file, fixture.key_file, &fixture.identity, &error),
        STATUS_OK);
    return 0;
}

static int tear_down_all(void **state)
{
    static const char *const names[] = {"client.pem", "client.key", "ca.pem", "stranger.pem",
                                        "unused.key"};
    client_identity_free(fixture.identity);
    credentials_free(&fixture.server);
    credentials_free(&fixture.client);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char path[96];
        in_directory(path, sizeof(path), names[i]);
        assert_int_equal(unlink(path), 0);
    }
    return rmdir(fixture.directory);
}

static int start(void **state)
{
    fixture.script = (struct scripted_script){.act = ACT_SILENT};
    fixture.scripted = scripted_start(&fixture.server, &fixture.script);
    return 0;
}

static int stop(void **state)
{
    scripted_stop(fixture.scripted);
    return 0;
}

static struct client *open_client(const struct client_options *options)
{
    struct client *client;
    struct error error = {0};
    if (client_open(options, &client, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    return client;
}

/* Options for the scripted server, pinned; `server` is where it stands. */
static struct client_options usual(struct client_server *server)
{
    struct client_options options;
    client_options_init(&options);
    *server = (struct client_server){scripted_address(fixture.scripted), fixture.pin};
    options.servers = server;
    options.server_count = 1;
    options.identity = fixture.identity;
    options.connect_milliseconds = PATIENT;
    options.answer_milliseconds = PATIENT;
    return options;
}

struct session {
    struct client *client;
    struct client_connection *connection;
};

static struct session connect_with(const struct client_options *options)
{
    struct session session = {.client = open_client(options)};
    struct error error = {0};
    if (client_connect(session.client, &session.connection, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    return session;
}

static struct session connect_usual(void)
{
    struct client_server server;
    struct client_options options = usual(&server);
    return connect_with(&options);
}

static void close_session(struct session *session)
{
    client_disconnect(session->connection);
    client_free(session->client);
}

static void assert_contains(const struct error *error, const char *part)
{
    if (strstr(error->text, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, error->text);
}

/* ---- Addresses ---- */

static void addresses_are_read(void **state)
{
    static const struct {
        const char *text;
        const char *host;
        const char *port;
    } good[] = {
        {"127.0.0.1:5696", "127.0.0.1", "5696"},
        {"kms1.example.com:1", "kms1.example.com", "1"},
        {"[2001:db8::1]:65535", "2001:db8::1", "65535"},
    };
    static const char *const bad[] = {
        "",        "127.0.0.1",   ":5696", "host:",  "host:port", "2001:db8::1",
        "host:+1", "host:123456", "[::1]", "[]:5696"};
    struct client_address address;
    struct error error = {0};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        assert_int_equal(client_address_parse(good[i].text, &address, &error), STATUS_OK);
        assert_string_equal(address.host, good[i].host);
        assert_string_equal(address.port, good[i].port);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(client_address_parse(bad[i], &address, &error), STATUS_INVALID_ARGUMENT);
        assert_contains(&error, "write HOST:PORT");
    }
}

/* ---- Identities ---- */

static void identities_are_checked(void **state)
{
    struct client_identity *identity = NULL;
    struct error error = {0};
    char other_key[96];
    char missing[96];
    uint8_t fingerprint[CLIENT_SHA256_SIZE];
    in_directory(other_key, sizeof(other_key), "unused.key");
    in_directory(missing, sizeof(missing), "missing.pem");
    credentials_fingerprint(&fixture.client, fingerprint);
    assert_memory_equal(client_identity_fingerprint(fixture.identity), fingerprint,
                        sizeof(fingerprint));

    assert_int_equal(client_identity_load(fixture.certificate_file, other_key, &identity, &error),
                     STATUS_INVALID_ARGUMENT);
    assert_contains(&error, "is not that of the certificate");
    assert_int_equal(client_identity_load(missing, fixture.key_file, &identity, &error),
                     STATUS_NOT_FOUND);
    assert_int_equal(client_identity_load(fixture.key_file, fixture.key_file, &identity, &error),
                     STATUS_INVALID_ARGUMENT);
    assert_contains(&error, "no certificate in PEM");
    assert_int_equal(
        client_identity_load(fixture.certificate_file, fixture.certificate_file, &identity, &error),
        STATUS_INVALID_ARGUMENT);
    assert_int_equal(chmod(fixture.key_file, 0640 | S_IWGRP), 0);
    assert_int_equal(
        client_identity_load(fixture.certificate_file, fixture.key_file, &identity, &error),
        STATUS_INVALID_ARGUMENT);
    assert_contains(&error, "chmod 600");
    assert_int_equal(chmod(fixture.key_file, 0600), 0);
    assert_null(identity);
}

static void a_key_under_a_passphrase_is_refused(void **state)
{
    struct client_identity *identity = NULL;
    struct error error = {0};
    char path[96];
    unsigned char passphrase[] = "secret";
    in_directory(path, sizeof(path), "protected.key");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(PEM_write_PrivateKey(file, fixture.client.key, EVP_aes_256_cbc(), passphrase,
                                          (int)sizeof(passphrase) - 1, NULL, NULL),
                     1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(client_identity_load(fixture.certificate_file, path, &identity, &error),
                     STATUS_INVALID_ARGUMENT);
    assert_contains(&error, "passphrase");
    assert_int_equal(unlink(path), 0);
}

/* ---- Who the server is ---- */

static void a_pinned_server_is_believed(void **state)
{
    uint8_t seen[32];
    uint8_t own[32];
    struct session session = connect_usual();
    const struct client_peer *peer = client_peer(session.connection);
    assert_string_equal(peer->server, scripted_address(fixture.scripted));
    assert_memory_equal(peer->sha256, fixture.pin, sizeof(fixture.pin));
    assert_string_equal(peer->subject, "CN=server");
    assert_string_equal(peer->protocol, "TLSv1.3");
    assert_in_range(peer->valid_until, time(NULL), time(NULL) + 25 * 60 * 60);
    assert_false(peer->resumed);
    close_session(&session);
    credentials_fingerprint(&fixture.client, own);
    while (scripted_connections(fixture.scripted) == 0 || !scripted_client(fixture.scripted, seen))
        (void)usleep(1000);
    assert_memory_equal(seen, own, sizeof(own));
}

static void another_server_is_not(void **state)
{
    uint8_t pin[CLIENT_SHA256_SIZE] = {1};
    struct client_server server;
    struct client_options options = usual(&server);
    struct client_connection *connection = NULL;
    struct client_peer peer;
    struct error error = {0};
    server.pinned = pin;
    struct client *client = open_client(&options);
    assert_int_equal(client_connect(client, &connection, &error), STATUS_NOT_AUTHENTICATED);
    assert_contains(&error, "another certificate");
    assert_null(connection);
    assert_int_equal(client_shake_hands(client, 0, &peer, &error), STATUS_NOT_AUTHENTICATED);
    assert_memory_equal(peer.sha256, fixture.pin, sizeof(fixture.pin));
    client_free(client);
    assert_int_equal(scripted_requests(fixture.scripted), 0);
}

static void an_authority_is_believed(void **state)
{
    struct client_server server;
    struct client_options options = usual(&server);
    server.pinned = NULL;
    options.ca_file = fixture.authority_file;
    struct session session = connect_with(&options);
    close_session(&session);
}

static void another_authority_is_not(void **state)
{
    struct client_server server;
    struct client_options options = usual(&server);
    struct client_connection *connection = NULL;
    struct error error = {0};
    server.pinned = NULL;
    options.ca_file = fixture.stranger_file;
    struct client *client = open_client(&options);
    assert_int_equal(client_connect(client, &connection, &error), STATUS_NOT_AUTHENTICATED);
    assert_contains(&error, "cannot be trusted");
    client_free(client);
}

static void another_host_is_not(void **state)
{
    struct client_server server;
    struct client_options options = usual(&server);
    struct client_connection *connection = NULL;
    struct error error = {0};
    char address[64];
    const char *port = strrchr(scripted_address(fixture.scripted), ':');
    (void)snprintf(address, sizeof(address), "localhost%s", port);
    server = (struct client_server){address, NULL};
    options.ca_file = fixture.authority_file;
    struct client *client = open_client(&options);
    assert_int_equal(client_connect(client, &connection, &error), STATUS_NOT_AUTHENTICATED);
    client_free(client);
}

static void an_unknown_server_gets_no_request(void **state)
{
    struct client_server server;
    struct client_options options = usual(&server);
    struct client_connection *connection = NULL;
    struct client_peer peer;
    struct error error = {0};
    server.pinned = NULL;
    struct client *client = open_client(&options);
    assert_int_equal(client_shake_hands(client, 0, &peer, &error), STATUS_OK);
    assert_memory_equal(peer.sha256, fixture.pin, sizeof(fixture.pin));
    assert_int_equal(client_connect(client, &connection, &error), STATUS_INVALID_ARGUMENT);
    assert_contains(&error, "not trusted yet");
    client_free(client);
}

static void options_are_checked(void **state)
{
    struct client_server server;
    struct client_options options = usual(&server);
    struct client *client = NULL;
    struct error error = {0};
    options.ca_file = "/nonexistent/ca.pem";
    assert_int_equal(client_open(&options, &client, &error), STATUS_INVALID_ARGUMENT);
    options.ca_file = fixture.key_file;
    assert_int_equal(client_open(&options, &client, &error), STATUS_INVALID_ARGUMENT);
    options.ca_file = NULL;
    server.address = "nonsense";
    assert_int_equal(client_open(&options, &client, &error), STATUS_INVALID_ARGUMENT);
    options.server_count = 0;
    assert_int_equal(client_open(&options, &client, &error), STATUS_INVALID_ARGUMENT);
    assert_null(client);
}

static void sessions_are_resumed_where_wanted(void **state)
{
    for (int wanted = 0; wanted < 2; wanted++) {
        struct client_server server;
        struct client_options options = usual(&server);
        struct client_peer peer;
        struct error error = {0};
        options.resume = wanted;
        options.tls12 = true; /* here the ticket is part of the handshake */
        struct client *client = open_client(&options);
        assert_int_equal(client_shake_hands(client, 0, &peer, &error), STATUS_OK);
        assert_string_equal(peer.protocol, "TLSv1.2");
        assert_false(peer.resumed);
        assert_int_equal(client_shake_hands(client, 0, &peer, &error), STATUS_OK);
        assert_int_equal(peer.resumed, wanted);
        assert_memory_equal(peer.sha256, fixture.pin, sizeof(fixture.pin));
        client_free(client);
    }
}

/* ---- Operations ---- */

static void key_block(struct buffer *reply, const uint8_t *material, size_t size)
{
    size_t key = ttlv_begin(reply, KMIP_TAG_SYMMETRIC_KEY);
    size_t block = ttlv_begin(reply, KMIP_TAG_KEY_BLOCK);
    ttlv_write_enumeration(reply, KMIP_TAG_KEY_FORMAT_TYPE, KMIP_KEY_FORMAT_TYPE_RAW);
    size_t value = ttlv_begin(reply, KMIP_TAG_KEY_VALUE);
    ttlv_write_byte_string(reply, KMIP_TAG_KEY_MATERIAL, bytes_of(material, size));
    ttlv_end(reply, value);
    ttlv_write_enumeration(reply, KMIP_TAG_CRYPTOGRAPHIC_ALGORITHM,
                           KMIP_CRYPTOGRAPHIC_ALGORITHM_AES);
    ttlv_write_integer(reply, KMIP_TAG_CRYPTOGRAPHIC_LENGTH, 256);
    ttlv_end(reply, block);
    ttlv_end(reply, key);
}

static void attribute(struct buffer *reply, const char *name, const char *text, uint32_t number)
{
    size_t mark = ttlv_begin(reply, KMIP_TAG_ATTRIBUTE);
    ttlv_write_text(reply, KMIP_TAG_ATTRIBUTE_NAME, bytes_of_text(name));
    if (text != NULL)
        ttlv_write_text(reply, KMIP_TAG_ATTRIBUTE_VALUE, bytes_of_text(text));
    else
        ttlv_write_enumeration(reply, KMIP_TAG_ATTRIBUTE_VALUE, number);
    ttlv_end(reply, mark);
}

static void identifier(struct buffer *reply)
{
    ttlv_write_text(reply, KMIP_TAG_UNIQUE_IDENTIFIER, bytes_of_text(KEY_ID));
}

/* What a sound server would say about one key. */
static void usual_payload(void *context, const struct kmip_request_item *item, struct buffer *reply)
{
    static const uint8_t material[32] = {1, 2, 3};
    switch (item->operation.value) {
    case KMIP_OPERATION_DISCOVER_VERSIONS:
        for (uint16_t minor = 5; minor-- > 0;) {
            struct kmip_protocol_version version = kmip_version_structure(KMIP_VERSION_1_0 + minor);
            kmip_encode_structure(KMIP_TAG_PROTOCOL_VERSION, &kmip_protocol_version_shape, &version,
                                  KMIP_VERSION_1_1, reply);
        }
        break;
    case KMIP_OPERATION_QUERY:
        ttlv_write_text(reply, KMIP_TAG_VENDOR_IDENTIFICATION, bytes_of_text("scripted"));
        break;
    case KMIP_OPERATION_CREATE:
        ttlv_write_enumeration(reply, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
        identifier(reply);
        break;
    case KMIP_OPERATION_GET:
        ttlv_write_enumeration(reply, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
        identifier(reply);
        key_block(reply, material, sizeof(material));
        break;
    case KMIP_OPERATION_GET_ATTRIBUTES:
        identifier(reply);
        attribute(reply, "State", NULL, KMIP_STATE_ACTIVE);
        break;
    case KMIP_OPERATION_ADD_ATTRIBUTE:
        buffer_append_bytes(reply, item->payload.value);
        break;
    case KMIP_OPERATION_LOCATE:
        identifier(reply);
        identifier(reply);
        break;
    default:
        identifier(reply);
    }
}

static void usual_answer(void *context, const struct kmip_request *request, uint16_t version,
                         struct buffer *reply)
{
    scripted_success(request, version, usual_payload, context, reply);
}

static void answer_as_usual(void)
{
    fixture.script = (struct scripted_script){.act = ACT_ANSWER, .answer = usual_answer};
}

static void operations_are_understood(void **state)
{
    static const uint32_t functions[] = {KMIP_QUERY_FUNCTION_QUERY_SERVER_INFORMATION};
    const struct client_key_wish wish = {KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 12, 256, NULL};
    const struct client_text tag = {"x-Name", "test01"};
    struct kmip_query_response query;
    struct client_id id = {{0}};
    struct client_key key = {0};
    struct kmip_list located;
    struct error error = {0};
    enum kmip_state key_state = KMIP_STATE_PRE_ACTIVE;
    uint16_t versions[3];
    size_t count = 0;
    answer_as_usual();
    struct session session = connect_usual();
    struct client_connection *to = session.connection;

    assert_int_equal(client_discover_versions(to, versions, 3, &count, &error), STATUS_OK);
    assert_int_equal(count, 5);
    assert_int_equal(versions[0], KMIP_VERSION_1_4);
    assert_int_equal(client_query(to, functions, 1, &query, &error), STATUS_OK);
    assert_true(bytes_equal_text(query.vendor_identification, "scripted"));
    assert_int_equal(client_create(to, &wish, &id, &error), STATUS_OK);
    assert_string_equal(id.text, KEY_ID);
    assert_int_equal(client_get(to, KEY_ID, &key, &error), STATUS_OK);
    assert_int_equal(key.material.size, 32);
    assert_int_equal(key.material.data[2], 3);
    assert_int_equal(key.length, 256);
    assert_int_equal(client_register(to, &wish, &key.material, &id, &error), STATUS_OK);
    secret_free(&key.material);
    assert_int_equal(client_get_state(to, KEY_ID, &key_state, &error), STATUS_OK);
    assert_int_equal(key_state, KMIP_STATE_ACTIVE);
    assert_int_equal(client_add_texts(to, KEY_ID, &tag, 1, &error), STATUS_OK);
    assert_int_equal(client_locate(to, &tag, 1, 10, &located, &error), STATUS_OK);
    assert_int_equal(located.count, 2);
    assert_int_equal(client_activate(to, KEY_ID, &error), STATUS_OK);
    assert_int_equal(
        client_revoke(to, KEY_ID, KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE, "lost", &error),
        STATUS_OK);
    assert_int_equal(client_destroy(to, KEY_ID, &error), STATUS_OK);
    close_session(&session);
}

static void answers_about_other_objects_are_refused(void **state)
{
    struct client_key key = {0};
    struct error error = {0};
    enum kmip_state key_state;
    answer_as_usual();
    struct session session = connect_usual();
    assert_int_equal(client_get(session.connection, "another", &key, &error), STATUS_MALFORMED);
    assert_contains(&error, "another object");
    assert_null(key.material.data);
    assert_int_equal(client_get_state(session.connection, "another", &key_state, &error),
                     STATUS_MALFORMED);
    assert_int_equal(client_activate(session.connection, "another", &error), STATUS_MALFORMED);
    close_session(&session);
}

/* ---- What is sent ---- */

static void expect_sent(struct scripted_server *server, const char *hex)
{
    uint8_t sent[FRAME_MAX];
    char text[2 * FRAME_MAX + 1];
    size_t size = scripted_last_request(server, sent, sizeof(sent));
    hex_text(bytes_of(sent, size), text);
    assert_string_equal(text, hex);
}

/* vCenter's own bytes (recorded; the identifiers are those of that server). */
static void requests_are_vcenters_byte_for_byte(void **state)
{
    const struct client_key_wish wish = {KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 12, 256, NULL};
    struct client_server server;
    struct client_options options = usual(&server);
    struct client_id id;
    struct client_key key = {0};
    struct error error = {0};
    size_t count;
    answer_as_usual();
    options.version = KMIP_VERSION_1_1;
    struct session session = connect_with(&options);
    assert_int_equal(client_discover_versions(session.connection, NULL, 0, &count, &error),
                     STATUS_OK);
    expect_sent(fixture.scripted,
                "42007801000000604200770100000038420069010000002042006a0200000004000000010000000042"
                "006b0200000004000000010000000042000d0200000004000000010000000042000f01000000184200"
                "5c05000000040000001e000000004200790100000000");
    client_number_items(session.connection, "QLKC");
    assert_int_equal(client_create(session.connection, &wish, &id, &error), STATUS_OK);
    expect_sent(fixture.scripted,
                "42007801000001304200770100000038420069010000002042006a0200000004000000010000000042"
                "006b0200000004000000010000000042000d0200000004000000010000000042000f01000000e84200"
                "5c050000000400000001000000004200930800000008514c4b430100000042007901000000c0420057"
                "0500000004000000020000000042009101000000a8420008010000003042000a070000001743727970"
                "746f6772617068696320416c676f726974686d0042000b050000000400000003000000004200080100"
                "00003042000a070000001843727970746f67726170686963205573616765204d61736b42000b020000"
                "00040000000c00000000420008010000003042000a070000001443727970746f67726170686963204c"
                "656e6774680000000042000b02000000040000010000000000");
    assert_int_equal(client_get(session.connection, "2", &key, &error), STATUS_MALFORMED);
    expect_sent(fixture.scripted,
                "42007801000000804200770100000038420069010000002042006a0200000004000000010000000042"
                "006b0200000004000000010000000042000d0200000004000000010000000042000f01000000384200"
                "5c05000000040000000a000000004200930800000008514c4b43010000004200790100000010420094"
                "07000000013200000000000000");
    close_session(&session);
}

static bool contains(struct bytes bytes, const char *text)
{
    return memmem(bytes.data, bytes.size, text, strlen(text)) != NULL;
}

static void credentials_are_sent_when_wanted(void **state)
{
    struct error error = {0};
    struct secret credential = {0};
    uint8_t sent[FRAME_MAX];
    size_t count;
    answer_as_usual();
    struct session session = connect_usual();
    assert_int_equal(client_credential_make("vcenter", BYTES_LITERAL("hunter2"), &credential),
                     STATUS_OK);
    for (int wanted = 0; wanted < 3; wanted++) {
        client_use_credential(session.connection, wanted == 1 ? &credential : NULL);
        assert_int_equal(client_discover_versions(session.connection, NULL, 0, &count, &error),
                         STATUS_OK);
        size_t size = scripted_last_request(fixture.scripted, sent, sizeof(sent));
        assert_int_equal(contains(bytes_of(sent, size), "vcenter"), wanted == 1);
        assert_int_equal(contains(bytes_of(sent, size), "hunter2"), wanted == 1);
    }
    secret_free(&credential);
    close_session(&session);
}

static void large_requests_and_answers_pass(void **state)
{
    enum { SIZE = 30000 };
    static char value[SIZE + 1];
    const struct client_text tags[] = {{"x-long", value}, {"x-longer", value}};
    struct error error = {0};
    memset(value, 'v', SIZE);
    answer_as_usual();
    struct session session = connect_usual();
    assert_int_equal(client_add_texts(session.connection, KEY_ID, tags, 2, &error), STATUS_OK);
    assert_int_equal(client_activate(session.connection, KEY_ID, &error), STATUS_OK);
    close_session(&session);
}

/* ---- Refusals ---- */

struct refusal {
    uint32_t reason;
    const char *message;
};

static void refuse(void *context, const struct kmip_request *request, uint16_t version,
                   struct buffer *reply)
{
    const struct refusal *refusal = context;
    scripted_failure(request, version, refusal->reason, refusal->message, reply);
}

static void refusals_have_status_and_text(void **state)
{
    static const struct {
        struct refusal refusal;
        enum status status;
        const char *text;
    } cases[] = {
        {{KMIP_RESULT_REASON_ITEM_NOT_FOUND, "no such key"},
         STATUS_OBJECT_NOT_FOUND,
         "refused Activate: Item Not Found (no such key)"},
        {{KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL, ""},
         STATUS_NOT_AUTHENTICATED,
         "kmipctl cert add"},
        {{KMIP_RESULT_REASON_PERMISSION_DENIED, "x"}, STATUS_PERMISSION_DENIED, "Permission"},
        {{KMIP_RESULT_REASON_GENERAL_FAILURE, "disk"}, STATUS_INTERNAL, "server's log"},
        {{KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE, "x"}, STATUS_CRYPTO_FAILED, "Crypto"},
        {{0x7777, "\x1b[2Jbell\a"}, STATUS_INTERNAL, "?[2Jbell?"},
    };
    struct session session = connect_usual();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct refusal refusal = cases[i].refusal;
        struct error error = {0};
        fixture.script =
            (struct scripted_script){.act = ACT_ANSWER, .answer = refuse, .context = &refusal};
        assert_int_equal(client_activate(session.connection, KEY_ID, &error), cases[i].status);
        assert_int_equal(error.status, cases[i].status);
        assert_contains(&error, cases[i].text);
    }
    close_session(&session);
}

/* ---- Servers that do not answer ---- */

static void expect_broken(struct session *session, enum status status, const char *text)
{
    struct error error = {0};
    assert_int_equal(client_activate(session->connection, KEY_ID, &error), status);
    assert_contains(&error, text);
    assert_int_equal(client_activate(session->connection, KEY_ID, &error), STATUS_CLOSED);
    assert_contains(&error, "no longer usable");
    close_session(session);
}

static void silence_ends_at_the_deadline(void **state)
{
    struct client_server server;
    struct client_options options = usual(&server);
    options.answer_milliseconds = QUICK;
    struct session session = connect_with(&options);
    int64_t begun = clock_monotonic();
    expect_broken(&session, STATUS_TIMED_OUT, "did not answer Activate");
    assert_in_range(clock_monotonic() - begun, QUICK - 1, PATIENT);
}

static void a_silent_handshake_ends_at_the_deadline(void **state)
{
    struct client_server server;
    struct client_options options = usual(&server);
    struct client_connection *connection = NULL;
    struct error error = {0};
    fixture.script.act = ACT_NO_HANDSHAKE;
    options.connect_milliseconds = QUICK;
    struct client *client = open_client(&options);
    assert_int_equal(client_connect(client, &connection, &error), STATUS_TIMED_OUT);
    assert_contains(&error, "TLS handshake in time");
    client_free(client);
}

static void hanging_up_is_noticed(void **state)
{
    fixture.script.act = ACT_HANG_UP;
    struct session session = connect_usual();
    expect_broken(&session, STATUS_CLOSED, "closed the connection");
}

static void nobody_there_is_told(void **state)
{
    struct client_server server;
    struct client_options options = usual(&server);
    struct client_connection *connection = NULL;
    struct error error = {0};
    server.address = "127.0.0.1:1";
    struct client *client = open_client(&options);
    assert_int_equal(client_connect(client, &connection, &error), STATUS_IO);
    assert_contains(&error, "is kmipd running?");
    client_free(client);
}

static void strange_bytes_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum status status;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n", 26, STATUS_MALFORMED},
        {"\x42\x00\x7b\x01\x7f\xff\xff\xf8", 8, STATUS_TOO_LARGE},
        {"\x42\x00\x7b\x01\x00\x00\x00\x08\x42\x00\x7a\x01\x00\x00\x00\x00", 16, STATUS_MALFORMED},
        {"\x42\x00\x78\x01\x00\x00\x00\x00", 8, STATUS_MALFORMED},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct error error = {0};
        fixture.script = (struct scripted_script){.act = ACT_RAW,
                                                  .raw = bytes_of(cases[i].bytes, cases[i].size)};
        struct session session = connect_usual();
        assert_int_equal(client_activate(session.connection, KEY_ID, &error), cases[i].status);
        close_session(&session);
    }
}

/* ---- Fail-over ---- */

struct passes {
    unsigned count;
    char last[CLIENT_ADDRESS_MAX];
};

static void note_pass(void *context, const char *server, const struct error *why)
{
    struct passes *passes = context;
    passes->count++;
    (void)snprintf(passes->last, sizeof(passes->last), "%s", server);
    assert_true(why->text[0] != '\0');
}

static enum status activate_task(struct client_connection *connection, void *context,
                                 struct error *error)
{
    return client_activate(connection, KEY_ID, error);
}

/* A list of a dead server and two scripted ones: what becomes of a task when the first of those
 * fails for `reason` (0: it works). */
static enum status run_on_list(uint32_t reason, struct passes *passes, unsigned *ret_second,
                               struct error *error)
{
    struct refusal refusal = {reason, "no"};
    struct scripted_script second_script = {.act = ACT_ANSWER, .answer = usual_answer};
    struct scripted_server *second = scripted_start(&fixture.server, &second_script);
    struct client_server servers[3];
    struct client_options options = usual(&servers[1]);
    fixture.script = (struct scripted_script){
        .act = ACT_ANSWER, .answer = reason != 0 ? refuse : usual_answer, .context = &refusal};
    servers[0] = (struct client_server){"127.0.0.1:1", fixture.pin};
    servers[2] = (struct client_server){scripted_address(second), fixture.pin};
    options.servers = servers;
    options.server_count = 3;
    options.passed_over = note_pass;
    options.context = passes;
    struct client *client = open_client(&options);
    enum status status = client_on_any_server(client, activate_task, NULL, error);
    client_free(client);
    *ret_second = scripted_requests(second);
    scripted_stop(second);
    return status;
}

static void a_dead_server_is_passed(void **state)
{
    struct passes passes = {0};
    struct error error = {0};
    unsigned second = 0;
    assert_int_equal(run_on_list(0, &passes, &second, &error), STATUS_OK);
    assert_int_equal(passes.count, 1);
    assert_string_equal(passes.last, "127.0.0.1:1");
    assert_int_equal(second, 0);
}

static void a_failing_server_is_passed(void **state)
{
    struct passes passes = {0};
    struct error error = {0};
    unsigned second = 0;
    assert_int_equal(run_on_list(KMIP_RESULT_REASON_GENERAL_FAILURE, &passes, &second, &error),
                     STATUS_OK);
    assert_int_equal(passes.count, 2);
    assert_string_equal(passes.last, scripted_address(fixture.scripted));
    assert_int_equal(second, 1);
}

static void a_final_answer_is_final(void **state)
{
    struct passes passes = {0};
    struct error error = {0};
    unsigned second = 0;
    assert_int_equal(run_on_list(KMIP_RESULT_REASON_ITEM_NOT_FOUND, &passes, &second, &error),
                     STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(second, 0);
    assert_contains(&error, "nothing listens there");
    assert_contains(&error, "Item Not Found");
}

/* ---- Answers, without a network ---- */

/* One answer to a request of two Activate items with ids, made wrong in one way. */
struct answer_case {
    const char *what;
    uint16_t version;
    int count;          /* Batch Count */
    int items;          /* batch items there are */
    uint8_t ids[3];     /* last bytes of the ids; 0: none */
    uint32_t operation; /* 0: none */
    uint32_t status;
    uint32_t reason; /* 0: none */
    enum status expected;
};

static const struct answer_case answer_cases[] = {
    {"sound", 0x0101, 2, 2, {1, 2}, KMIP_OPERATION_ACTIVATE, 0, 0, STATUS_OK},
    {"in another order", 0x0101, 2, 2, {2, 1}, KMIP_OPERATION_ACTIVATE, 0, 0, STATUS_OK},
    {"another version", 0x0104, 2, 2, {1, 2}, KMIP_OPERATION_ACTIVATE, 0, 0, STATUS_MALFORMED},
    {"wrong count", 0x0101, 1, 2, {1, 2}, KMIP_OPERATION_ACTIVATE, 0, 0, STATUS_MALFORMED},
    {"negative count", 0x0101, -2, 2, {1, 2}, KMIP_OPERATION_ACTIVATE, 0, 0, STATUS_MALFORMED},
    {"no items", 0x0101, 0, 0, {0}, KMIP_OPERATION_ACTIVATE, 0, 0, STATUS_MALFORMED},
    {"an item too many", 0x0101, 3, 3, {1, 2, 3}, KMIP_OPERATION_ACTIVATE, 0, 0, STATUS_MALFORMED},
    {"an item too few", 0x0101, 1, 1, {1}, KMIP_OPERATION_ACTIVATE, 0, 0, STATUS_MALFORMED},
    {"an id twice", 0x0101, 2, 2, {1, 1}, KMIP_OPERATION_ACTIVATE, 0, 0, STATUS_MALFORMED},
    {"an unknown id", 0x0101, 2, 2, {1, 9}, KMIP_OPERATION_ACTIVATE, 0, 0, STATUS_MALFORMED},
    {"no ids", 0x0101, 2, 2, {0, 0}, KMIP_OPERATION_ACTIVATE, 0, 0, STATUS_MALFORMED},
    {"another operation", 0x0101, 2, 2, {1, 2}, KMIP_OPERATION_DESTROY, 0, 0, STATUS_MALFORMED},
    {"no operation", 0x0101, 2, 2, {1, 2}, 0, 0, 0, STATUS_MALFORMED},
    {"pending", 0x0101, 2, 2, {1, 2}, KMIP_OPERATION_ACTIVATE, 2, 0, STATUS_MALFORMED},
    {"failed without reason",
     0x0101,
     2,
     2,
     {1, 2},
     KMIP_OPERATION_ACTIVATE,
     1,
     0,
     STATUS_MALFORMED},
    {"the first failed", 0x0101, 1, 1, {1}, KMIP_OPERATION_ACTIVATE, 1, 1, STATUS_OK},
    {"message failed, 1.0", 0x0100, 1, 1, {0}, 0, 1, 4, STATUS_OK},
    {"half failed, 1.0", 0x0100, 1, 1, {1}, KMIP_OPERATION_ACTIVATE, 1, 4, STATUS_MALFORMED},
};

static void write_case(const struct answer_case *c, struct buffer *buffer)
{
    struct kmip_protocol_version version = kmip_version_structure(c->version);
    struct kmip_response_header header = {
        .version = &version, .time_stamp = kmip_number(0), .batch_count = kmip_number(c->count)};
    uint8_t id[CLIENT_ITEM_ID_SIZE] = "QLKC";
    size_t message = ttlv_begin(buffer, KMIP_TAG_RESPONSE_MESSAGE);
    kmip_encode_structure(KMIP_TAG_RESPONSE_HEADER, &kmip_response_header_shape, &header,
                          c->version, buffer);
    for (int i = 0; i < c->items; i++) {
        size_t item = ttlv_begin(buffer, KMIP_TAG_BATCH_ITEM);
        id[4] = c->ids[i];
        if (c->operation != 0)
            ttlv_write_enumeration(buffer, KMIP_TAG_OPERATION, c->operation);
        if (c->ids[i] != 0)
            ttlv_write_byte_string(buffer, KMIP_TAG_UNIQUE_BATCH_ITEM_ID, bytes_of(id, sizeof(id)));
        ttlv_write_enumeration(buffer, KMIP_TAG_RESULT_STATUS, c->status);
        if (c->reason != 0)
            ttlv_write_enumeration(buffer, KMIP_TAG_RESULT_REASON, c->reason);
        ttlv_end(buffer, item);
    }
    ttlv_end(buffer, message);
}

static void answers_are_checked(void **state)
{
    static const struct client_item items[] = {{KMIP_OPERATION_ACTIVATE, NULL},
                                               {KMIP_OPERATION_ACTIVATE, NULL}};
    const struct client_request request = {.version = KMIP_VERSION_1_1,
                                           .items = items,
                                           .count = ARRAY_COUNT(items),
                                           .id_prefix = BYTES_LITERAL("QLKC")};
    for (size_t i = 0; i < ARRAY_COUNT(answer_cases); i++) {
        struct client_answer answer = {0};
        struct error error = {0};
        struct buffer buffer;
        struct arena arena;
        buffer_init(&buffer, FRAME_MAX);
        arena_init(&arena, 1 << 20);
        write_case(&answer_cases[i], &buffer);
        assert_int_equal(buffer_status(&buffer), STATUS_OK);
        enum status status =
            client_read_answer(buffer_bytes(&buffer), &request, &arena, &answer, &error);
        if (status != answer_cases[i].expected)
            fail_msg("%s: %s (%s)", answer_cases[i].what, status_name(status), error.text);
        if (status == STATUS_OK && answer_cases[i].reason != 0) {
            assert_true(answer.results[0].failed);
            assert_false(answer.results[1].answered);
            assert_int_equal(client_result_check(&answer.results[1], "it", &error),
                             STATUS_INTERNAL);
        }
        arena_free(&arena);
        buffer_free(&buffer);
    }
}

/* A batch that is carried on has an answer to every item. */
static void carrying_on_needs_every_answer(void **state)
{
    static const struct client_item items[] = {{KMIP_OPERATION_ACTIVATE, NULL},
                                               {KMIP_OPERATION_ACTIVATE, NULL}};
    static const struct answer_case one = {"", 0x0101, 1,        1, {1}, KMIP_OPERATION_ACTIVATE,
                                           1,  1,      STATUS_OK};
    struct client_request request = {.version = KMIP_VERSION_1_1,
                                     .items = items,
                                     .count = ARRAY_COUNT(items),
                                     .id_prefix = BYTES_LITERAL("QLKC"),
                                     .carry_on = true};
    struct client_answer answer;
    struct error error = {0};
    struct buffer buffer;
    struct arena arena;
    buffer_init(&buffer, FRAME_MAX);
    arena_init(&arena, 1 << 20);
    write_case(&one, &buffer);
    assert_int_equal(client_read_answer(buffer_bytes(&buffer), &request, &arena, &answer, &error),
                     STATUS_MALFORMED);
    assert_contains(&error, "no answer");
    arena_free(&arena);
    buffer_free(&buffer);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(identities_are_checked),
        cmocka_unit_test(a_key_under_a_passphrase_is_refused),
        cmocka_unit_test(answers_are_checked),
        cmocka_unit_test(carrying_on_needs_every_answer),
        SERVED(nobody_there_is_told),
        SERVED(options_are_checked),
        SERVED(a_pinned_server_is_believed),
        SERVED(another_server_is_not),
        SERVED(an_authority_is_believed),
        SERVED(another_authority_is_not),
        SERVED(another_host_is_not),
        SERVED(an_unknown_server_gets_no_request),
        SERVED(sessions_are_resumed_where_wanted),
        SERVED(operations_are_understood),
        SERVED(answers_about_other_objects_are_refused),
        SERVED(requests_are_vcenters_byte_for_byte),
        SERVED(credentials_are_sent_when_wanted),
        SERVED(large_requests_and_answers_pass),
        SERVED(refusals_have_status_and_text),
        SERVED(silence_ends_at_the_deadline),
        SERVED(a_silent_handshake_ends_at_the_deadline),
        SERVED(hanging_up_is_noticed),
        SERVED(strange_bytes_are_refused),
        SERVED(a_dead_server_is_passed),
        SERVED(a_failing_server_is_passed),
        SERVED(a_final_answer_is_final),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
