/* SPDX-License-Identifier: Apache-2.0 */
#include "scripted.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { MESSAGE_MAX = 65536, ARENA_MAX = 1 << 20 };

struct scripted_server {
    const struct scripted_script *script;
    SSL_CTX *context;
    int listener;
    int stop; /* readable once the server is to end */
    char address[32];
    pthread_t thread;
    uint8_t incoming[MESSAGE_MAX]; /* the thread's own */
    pthread_mutex_t lock; /* for all below */
    unsigned connections;
    unsigned requests;
    bool has_client;
    uint8_t client[32];
    uint8_t last[MESSAGE_MAX];
    size_t last_size;
};

static int accept_any(X509_STORE_CTX *store, void *unused)
{
    return 1;
}

static SSL_CTX *server_context(const struct credentials *credentials)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    assert_non_null(context);
    assert_int_equal(SSL_CTX_use_certificate(context, credentials->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, credentials->key), 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context, accept_any, NULL);
    assert_int_equal(SSL_CTX_set_session_id_context(context, (const unsigned char *)"test", 4), 1);
    return context;
}

/* False when the server is to end. */
static bool wait_readable(struct scripted_server *server, int fd)
{
    struct pollfd ready[] = {{.fd = server->stop, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    if (poll(ready, fd >= 0 ? 2 : 1, -1) < 0)
        return false;
    return ready[0].revents == 0;
}

static bool read_exactly(struct scripted_server *server, SSL *ssl, uint8_t *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        size_t got = 0;
        if (SSL_pending(ssl) == 0 && !wait_readable(server, SSL_get_fd(ssl)))
            return false;
        if (SSL_read_ex(ssl, bytes + done, size - done, &got) != 1)
            return false;
        done += got;
    }
    return true;
}

static bool read_request(struct scripted_server *server, SSL *ssl)
{
    uint8_t *bytes = server->incoming;
    size_t size = 0;
    if (!read_exactly(server, ssl, bytes, TTLV_HEADER_SIZE) ||
        ttlv_frame_size(bytes, MESSAGE_MAX, &size) != STATUS_OK ||
        !read_exactly(server, ssl, bytes + TTLV_HEADER_SIZE, size - TTLV_HEADER_SIZE))
        return false;
    (void)pthread_mutex_lock(&server->lock);
    memcpy(server->last, bytes, size);
    server->last_size = size;
    server->requests++;
    (void)pthread_mutex_unlock(&server->lock);
    return true;
}

static bool send_bytes(SSL *ssl, struct bytes bytes)
{
    size_t written = 0;
    return SSL_write_ex(ssl, bytes.data, bytes.size, &written) == 1;
}

static bool send_answer(struct scripted_server *server, SSL *ssl)
{
    struct arena arena;
    struct buffer reply;
    struct kmip_request request;
    uint16_t version = 0;
    arena_init(&arena, ARENA_MAX);
    buffer_init(&reply, MESSAGE_MAX);
    bool sent = kmip_decode_request(bytes_of(server->last, server->last_size), &arena, &version,
                                    &request) == STATUS_OK;
    if (sent) {
        server->script->answer(server->script->context, &request, version, &reply);
        sent = buffer_status(&reply) == STATUS_OK && send_bytes(ssl, buffer_bytes(&reply));
    }
    buffer_free(&reply);
    arena_free(&arena);
    return sent;
}

static void note_client(struct scripted_server *server, SSL *ssl)
{
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    (void)pthread_mutex_lock(&server->lock);
    server->has_client = certificate != NULL;
    if (certificate != NULL)
        (void)X509_digest(certificate, EVP_sha256(), server->client, NULL);
    (void)pthread_mutex_unlock(&server->lock);
}

static void serve_requests(struct scripted_server *server, SSL *ssl)
{
    while (read_request(server, ssl)) {
        if (server->script->seen != NULL)
            server->script->seen(server->script->context,
                                 bytes_of(server->last, server->last_size));
        switch (server->script->act) {
        case ACT_ANSWER:
            if (!send_answer(server, ssl))
                return;
            break;
        case ACT_RAW:
            if (!send_bytes(ssl, server->script->raw))
                return;
            break;
        case ACT_SILENT:
            break;
        case ACT_HANG_UP:
        case ACT_NO_HANDSHAKE:
            return;
        }
    }
}

static void serve(struct scripted_server *server, int fd)
{
    SSL *ssl = SSL_new(server->context);
    ERR_clear_error();
    if (ssl != NULL && SSL_set_fd(ssl, fd) == 1) {
        if (server->script->act == ACT_NO_HANDSHAKE) {
            char byte;
            while (wait_readable(server, fd) && read(fd, &byte, 1) == 1)
                ;
        } else if (SSL_accept(ssl) == 1) {
            note_client(server, ssl);
            serve_requests(server, ssl);
            (void)SSL_shutdown(ssl);
        }
    }
    SSL_free(ssl);
    (void)close(fd);
}

static void *run(void *argument)
{
    struct scripted_server *server = argument;
    while (wait_readable(server, server->listener)) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        (void)pthread_mutex_lock(&server->lock);
        server->connections++;
        (void)pthread_mutex_unlock(&server->lock);
        serve(server, fd);
    }
    return NULL;
}

struct scripted_server *scripted_start(const struct credentials *credentials,
                                       const struct scripted_script *script)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    struct scripted_server *server = calloc(1, sizeof(*server));
    assert_non_null(server);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->script = script;
    server->context = server_context(credentials);
    server->stop = eventfd(0, EFD_CLOEXEC);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(server->stop >= 0 && server->listener >= 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&at, &size), 0);
    (void)snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(pthread_mutex_init(&server->lock, NULL), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, run, server), 0);
    return server;
}

void scripted_stop(struct scripted_server *server)
{
    assert_int_equal(eventfd_write(server->stop, 1), 0);
    assert_int_equal(pthread_join(server->thread, NULL), 0);
    (void)close(server->listener);
    (void)close(server->stop);
    SSL_CTX_free(server->context);
    (void)pthread_mutex_destroy(&server->lock);
    free(server);
}

const char *scripted_address(const struct scripted_server *server)
{
    return server->address;
}

unsigned scripted_connections(struct scripted_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    unsigned count = server->connections;
    (void)pthread_mutex_unlock(&server->lock);
    return count;
}

unsigned scripted_requests(struct scripted_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    unsigned count = server->requests;
    (void)pthread_mutex_unlock(&server->lock);
    return count;
}

size_t scripted_last_request(struct scripted_server *server, uint8_t *ret_bytes, size_t capacity)
{
    (void)pthread_mutex_lock(&server->lock);
    size_t size = server->last_size;
    assert_true(size <= capacity);
    memcpy(ret_bytes, server->last, size);
    (void)pthread_mutex_unlock(&server->lock);
    return size;
}

bool scripted_client(struct scripted_server *server, uint8_t ret_fingerprint[32])
{
    (void)pthread_mutex_lock(&server->lock);
    bool has_client = server->has_client;
    memcpy(ret_fingerprint, server->client, sizeof(server->client));
    (void)pthread_mutex_unlock(&server->lock);
    return has_client;
}

/* ---- Answers ---- */

static void write_header(uint16_t version, size_t count, struct buffer *reply)
{
    struct kmip_protocol_version structure = kmip_version_structure(version);
    struct kmip_response_header header = {.version = &structure,
                                          .time_stamp = kmip_number(1700000000),
                                          .batch_count = kmip_number((int64_t)count)};
    kmip_encode_structure(KMIP_TAG_RESPONSE_HEADER, &kmip_response_header_shape, &header, version,
                          reply);
}

static size_t begin_item(const struct kmip_request_item *item, uint32_t status,
                         struct buffer *reply)
{
    size_t mark = ttlv_begin(reply, KMIP_TAG_BATCH_ITEM);
    ttlv_write_enumeration(reply, KMIP_TAG_OPERATION, (uint32_t)item->operation.value);
    if (item->unique_batch_item_id.data != NULL)
        ttlv_write_byte_string(reply, KMIP_TAG_UNIQUE_BATCH_ITEM_ID, item->unique_batch_item_id);
    ttlv_write_enumeration(reply, KMIP_TAG_RESULT_STATUS, status);
    return mark;
}

void scripted_success(const struct kmip_request *request, uint16_t version, scripted_payload *write,
                      void *context, struct buffer *reply)
{
    const struct kmip_request_item *items = request->items.items;
    size_t message = ttlv_begin(reply, KMIP_TAG_RESPONSE_MESSAGE);
    write_header(version, request->items.count, reply);
    for (size_t i = 0; i < request->items.count; i++) {
        size_t item = begin_item(&items[i], KMIP_RESULT_STATUS_SUCCESS, reply);
        size_t payload = ttlv_begin(reply, KMIP_TAG_RESPONSE_PAYLOAD);
        write(context, &items[i], reply);
        ttlv_end(reply, payload);
        ttlv_end(reply, item);
    }
    ttlv_end(reply, message);
}

void scripted_failure(const struct kmip_request *request, uint16_t version, uint32_t reason,
                      const char *message, struct buffer *reply)
{
    const struct kmip_request_item *items = request->items.items;
    size_t outer = ttlv_begin(reply, KMIP_TAG_RESPONSE_MESSAGE);
    write_header(version, request->items.count, reply);
    for (size_t i = 0; i < request->items.count; i++) {
        size_t item = begin_item(&items[i], KMIP_RESULT_STATUS_OPERATION_FAILED, reply);
        ttlv_write_enumeration(reply, KMIP_TAG_RESULT_REASON, reason);
        ttlv_write_text(reply, KMIP_TAG_RESULT_MESSAGE, bytes_of_text(message));
        ttlv_end(reply, item);
    }
    ttlv_end(reply, outer);
}
