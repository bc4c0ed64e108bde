/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hex.h"

enum {
    MEMORY_FIRST = 4096,      /* one page holds most requests and answers */
    REQUEST_MAX = 1 << 20,    /* of one request */
    ARENA_MAX = 4 * (1 << 20) /* what one answer may be decoded into */
};

/* ---- Opening ---- */

int client_keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct client_connection *connection = SSL_get_app_data(ssl);
    struct client *client = connection->client;
    (void)pthread_mutex_lock(&client->lock);
    SSL_SESSION *old = connection->server->session;
    connection->server->session = session;
    (void)pthread_mutex_unlock(&client->lock);
    SSL_SESSION_free(old);
    return 1; /* the session is ours */
}

/* A session is offered once: that is what TLS 1.3 asks for (RFC 8446 §C.4). */
static void offer_session(struct client_connection *connection)
{
    struct client *client = connection->client;
    (void)pthread_mutex_lock(&client->lock);
    SSL_SESSION *session = connection->server->session;
    connection->server->session = NULL;
    (void)pthread_mutex_unlock(&client->lock);
    if (session != NULL)
        (void)SSL_set_session(connection->ssl, session);
    SSL_SESSION_free(session);
}

static enum status shake_hands(struct client_connection *connection, struct error *error)
{
    struct client *client = connection->client;
    struct server *server = connection->server;
    int64_t deadline = clock_monotonic() + client->options.connect_milliseconds;
    enum status status = client_address_connect(&server->address, deadline, &connection->socket,
                                                &connection->peer.connect_microseconds, error);
    if (status == STATUS_OK)
        status = client_tls_start(client->context, connection->socket, server->proof,
                                  server->address.host, &connection->ssl, error);
    if (status != STATUS_OK)
        return status;
    SSL_set_app_data(connection->ssl, connection);
    offer_session(connection);
    int64_t begun = client_microseconds();
    status = client_tls_handshake(connection->ssl, server->text, deadline, error);
    connection->peer.handshake_microseconds = client_microseconds() - begun;
    if (client_tls_peer(connection->ssl, &connection->peer) != STATUS_OK && status == STATUS_OK)
        status =
            error_set(error, STATUS_NOT_AUTHENTICATED, "%s shows no certificate", server->text);
    return status;
}

static enum status check_pin(const struct client_connection *connection, struct error *error)
{
    const struct server *server = connection->server;
    char shown[2 * CLIENT_SHA256_SIZE + 1];
    char pinned[2 * CLIENT_SHA256_SIZE + 1];
    if (server->proof != CLIENT_PROOF_PIN ||
        CRYPTO_memcmp(connection->peer.sha256, server->pin, CLIENT_SHA256_SIZE) == 0)
        return STATUS_OK;
    hex_text(bytes_of(connection->peer.sha256, CLIENT_SHA256_SIZE), shown);
    hex_text(bytes_of(server->pin, CLIENT_SHA256_SIZE), pinned);
    return error_set(error, STATUS_NOT_AUTHENTICATED,
                     "%s shows another certificate (SHA-256 %s) than the one trusted (%s): if it "
                     "was renewed, trust it again; if not, somebody is in between",
                     server->text, shown, pinned);
}

static struct client_connection *new_connection(struct client *client, size_t index)
{
    struct client_connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        return NULL;
    connection->client = client;
    connection->server = &client->servers[index];
    connection->socket = -1;
    arena_init(&connection->arena, ARENA_MAX);
    (void)snprintf(connection->peer.server, sizeof(connection->peer.server), "%s",
                   connection->server->text);
    return connection;
}

enum status client_connect_to(struct client *client, size_t server,
                              struct client_connection **ret_connection, struct error *error)
{
    if (client->servers[server].proof == CLIENT_PROOF_NONE)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the certificate of %s is not trusted yet: pin its fingerprint or name "
                         "its certificate authority",
                         client->servers[server].text);
    struct client_connection *connection = new_connection(client, server);
    if (connection == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a connection");
    enum status status = shake_hands(connection, error);
    if (status == STATUS_OK)
        status = check_pin(connection, error);
    if (status == STATUS_OK)
        *ret_connection = connection;
    else
        client_disconnect(connection);
    return status;
}

enum status client_shake_hands(struct client *client, size_t server, struct client_peer *ret_peer,
                               struct error *error)
{
    struct client_connection *connection = new_connection(client, server);
    if (connection == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a connection");
    enum status status = shake_hands(connection, error);
    if (status == STATUS_OK)
        status = check_pin(connection, error);
    *ret_peer = connection->peer;
    client_disconnect(connection);
    return status;
}

void client_disconnect(struct client_connection *connection)
{
    if (connection == NULL)
        return;
    if (connection->ssl != NULL && SSL_is_init_finished(connection->ssl))
        (void)SSL_shutdown(connection->ssl);
    SSL_free(connection->ssl);
    if (connection->socket >= 0)
        (void)close(connection->socket);
    arena_free(&connection->arena);
    locked_free(connection->memory, connection->capacity);
    free(connection);
}

/* ---- Settings ---- */

const struct client_peer *client_peer(const struct client_connection *connection)
{
    return &connection->peer;
}

struct arena *client_arena(struct client_connection *connection)
{
    return &connection->arena;
}

void client_number_items(struct client_connection *connection, const char *prefix)
{
    memcpy(connection->id_prefix, prefix, CLIENT_ID_PREFIX_LENGTH);
    connection->numbered = true;
}

void client_carry_on(struct client_connection *connection, bool carry_on)
{
    connection->carry_on = carry_on;
}

void client_use_credential(struct client_connection *connection, const struct secret *credential)
{
    connection->credential = credential != NULL ? secret_bytes(credential) : (struct bytes){0};
}

enum status client_credential_make(const char *username, struct bytes password,
                                   struct secret *ret_credential)
{
    struct kmip_username_password pair = {bytes_of_text(username), password};
    size_t room = 2 * (TTLV_HEADER_SIZE + 8) + pair.username.size + password.size;
    struct secret memory = {0};
    struct buffer buffer;
    if (secret_allocate(&memory, room) != STATUS_OK)
        return STATUS_NO_MEMORY;
    buffer_over(&buffer, memory.data, memory.size);
    kmip_encode(&kmip_username_password_shape, &pair, KMIP_VERSION_1_0, &buffer);
    enum status status = buffer_status(&buffer);
    if (status == STATUS_OK)
        status = secret_copy(ret_credential, buffer_bytes(&buffer));
    secret_free(&memory);
    return status;
}

/* ---- Requests ---- */

/* At least `size` bytes of locked memory, the first `kept` of them as they were. */
static enum status reserve(struct client_connection *connection, size_t size, size_t kept)
{
    size_t capacity = MEMORY_FIRST;
    if (size <= connection->capacity)
        return STATUS_OK;
    while (capacity < size)
        capacity *= 2;
    uint8_t *memory = locked_allocate(capacity);
    if (memory == NULL)
        return STATUS_NO_MEMORY;
    if (kept > 0)
        memcpy(memory, connection->memory, kept);
    locked_free(connection->memory, connection->capacity);
    connection->memory = memory;
    connection->capacity = capacity;
    return STATUS_OK;
}

static enum status no_memory(size_t size, struct error *error)
{
    return error_set(error, STATUS_NO_MEMORY,
                     "cannot lock %zu KiB of memory for a message: raise RLIMIT_MEMLOCK (ulimit "
                     "-l)",
                     size / 1024 + 1);
}

/* Encodes into locked memory, in more of it until the request fits. */
static enum status encode(struct client_connection *connection,
                          const struct client_request *request, struct bytes *ret_message,
                          struct error *error)
{
    for (size_t size = MEMORY_FIRST; size <= REQUEST_MAX; size *= 2) {
        struct buffer buffer;
        if (reserve(connection, size, 0) != STATUS_OK)
            return no_memory(size, error);
        buffer_over(&buffer, connection->memory, connection->capacity);
        enum status status = client_write_request(request, &buffer);
        *ret_message = buffer_bytes(&buffer);
        if (status != STATUS_TOO_LARGE)
            return status == STATUS_OK ? status
                                       : error_set(error, status, "cannot make the request: %s",
                                                   status_text(status));
        buffer_reset(&buffer);
    }
    return error_set(error, STATUS_TOO_LARGE, "the request is larger than %d KiB",
                     REQUEST_MAX / 1024);
}

static enum status receive(struct client_connection *connection, int64_t deadline,
                           struct bytes *ret_frame, struct error *error)
{
    size_t size = 0;
    enum status status = reserve(connection, MEMORY_FIRST, 0);
    if (status == STATUS_OK)
        status = client_tls_receive(connection->ssl, connection->memory, TTLV_HEADER_SIZE, deadline,
                                    error);
    if (status != STATUS_OK)
        return status;
    status = ttlv_frame_size(connection->memory, connection->client->options.answer_max, &size);
    if (status != STATUS_OK)
        return error_set(error, status, "it answered with %s",
                         status == STATUS_TOO_LARGE ? "more than this client takes"
                                                    : "something that is not KMIP");
    if (reserve(connection, size, TTLV_HEADER_SIZE) != STATUS_OK)
        return no_memory(size, error);
    *ret_frame = bytes_of(connection->memory, size);
    return client_tls_receive(connection->ssl, connection->memory + TTLV_HEADER_SIZE,
                              size - TTLV_HEADER_SIZE, deadline, error);
}

static enum status exchange(struct client_connection *connection,
                            const struct client_request *request, struct client_answer *ret_answer,
                            struct error *error)
{
    struct bytes message = {0};
    struct bytes frame = {0};
    int64_t deadline = clock_monotonic() + connection->client->options.answer_milliseconds;
    enum status status = encode(connection, request, &message, error);
    if (status == STATUS_OK)
        status = client_tls_send(connection->ssl, message, deadline, error);
    explicit_bzero(connection->memory, connection->memory != NULL ? connection->capacity : 0);
    arena_reset(&connection->arena);
    if (status == STATUS_OK)
        status = receive(connection, deadline, &frame, error);
    if (status == STATUS_OK)
        status = client_read_answer(frame, request, &connection->arena, ret_answer, error);
    return status;
}

enum status client_exchange(struct client_connection *connection, const struct client_item *items,
                            size_t count, struct client_answer *ret_answer, struct error *error)
{
    struct client_request request = {
        .version = connection->client->options.version,
        .items = items,
        .count = count,
        .id_prefix = connection->numbered ? bytes_of(connection->id_prefix, CLIENT_ID_PREFIX_LENGTH)
                                          : (struct bytes){0},
        .credential = connection->credential,
        .carry_on = connection->carry_on,
    };
    struct error why = {0};
    if (count == 0 || count > CLIENT_ITEMS_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "a request has 1 to %d batch items",
                         CLIENT_ITEMS_MAX);
    if (connection->broken)
        return error_set(error, STATUS_CLOSED, "the connection to %s is no longer usable",
                         connection->server->text);
    enum status status = exchange(connection, &request, ret_answer, &why);
    if (status == STATUS_OK)
        return status;
    connection->broken = true;
    return error_set(error, status, "%s did not answer %s: %s", connection->server->text,
                     kmip_value_text(KMIP_TAG_OPERATION, items[0].operation), error_text(&why));
}

enum status client_call(struct client_connection *connection, uint32_t operation,
                        const void *payload, void *ret_payload, struct error *error)
{
    struct client_item item = {operation, payload};
    struct client_answer answer;
    enum status status = client_exchange(connection, &item, 1, &answer, error);
    if (status == STATUS_OK)
        status = client_result_check(&answer.results[0], connection->server->text, error);
    if (status != STATUS_OK || ret_payload == NULL)
        return status;
    status = client_result_payload(&answer.results[0], &connection->arena, ret_payload);
    if (status == STATUS_OK)
        return status;
    return error_set(error, status, "%s answered %s with an unsound payload: %s",
                     connection->server->text, kmip_value_text(KMIP_TAG_OPERATION, operation),
                     status_text(status));
}
