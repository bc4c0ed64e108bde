/* SPDX-License-Identifier: Apache-2.0 */
#include "client/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/connection.h"

enum {
    CONNECT_MILLISECONDS = 5000,
    ANSWER_MILLISECONDS = 25000,
    ANSWER_MAX = 1 << 20,
};

void client_options_init(struct client_options *options)
{
    *options = (struct client_options){
        .version = KMIP_VERSION_1_4,
        .connect_milliseconds = CONNECT_MILLISECONDS,
        .answer_milliseconds = ANSWER_MILLISECONDS,
        .answer_max = ANSWER_MAX,
    };
}

static enum status add_server(struct client *client, const struct client_server *wanted,
                              struct error *error)
{
    struct server *server = &client->servers[client->server_count];
    enum status status = client_address_parse(wanted->address, &server->address, error);
    if (status != STATUS_OK)
        return status;
    server->text = strdup(wanted->address);
    if (server->text == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a client");
    client->server_count++;
    if (wanted->pinned != NULL) {
        server->proof = CLIENT_PROOF_PIN;
        memcpy(server->pin, wanted->pinned, sizeof(server->pin));
    } else if (client->options.ca_file != NULL) {
        server->proof = CLIENT_PROOF_AUTHORITY;
    }
    return STATUS_OK;
}

static enum status fill(struct client *client, const struct client_options *options,
                        struct error *error)
{
    client->options = *options;
    client->options.servers = NULL;
    for (size_t i = 0; i < options->server_count; i++) {
        enum status status = add_server(client, &options->servers[i], error);
        if (status != STATUS_OK)
            return status;
    }
    enum status status = client_tls_context(options, &client->context, error);
    if (status == STATUS_OK && options->resume)
        SSL_CTX_sess_set_new_cb(client->context, client_keep_session);
    return status;
}

enum status client_open(const struct client_options *options, struct client **ret_client,
                        struct error *error)
{
    if (options->server_count == 0 || options->server_count > CLIENT_SERVERS_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "a client needs 1 to %d servers",
                         CLIENT_SERVERS_MAX);
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL || pthread_mutex_init(&client->lock, NULL) != 0) {
        free(client);
        return error_set(error, STATUS_NO_MEMORY, "no memory for a client");
    }
    enum status status = fill(client, options, error);
    if (status == STATUS_OK)
        *ret_client = client;
    else
        client_free(client);
    return status;
}

void client_free(struct client *client)
{
    if (client == NULL)
        return;
    for (size_t i = 0; i < client->server_count; i++) {
        free(client->servers[i].text);
        SSL_SESSION_free(client->servers[i].session);
    }
    SSL_CTX_free(client->context);
    (void)pthread_mutex_destroy(&client->lock);
    free(client);
}

/* ---- Fail-over ---- */

bool client_should_try_next(enum status status)
{
    switch (status) {
    case STATUS_OK:
    case STATUS_OBJECT_NOT_FOUND:
    case STATUS_ATTRIBUTE_NOT_FOUND:
    case STATUS_MISSING_DATA:
    case STATUS_INVALID_FIELD:
    case STATUS_PERMISSION_DENIED:
    case STATUS_ILLEGAL_OPERATION:
    case STATUS_OPERATION_NOT_SUPPORTED:
    case STATUS_FEATURE_NOT_SUPPORTED:
    case STATUS_RESPONSE_TOO_LARGE:
    case STATUS_INDEX_OUT_OF_BOUNDS:
    case STATUS_NAMESPACE_NOT_SUPPORTED:
    case STATUS_KEY_FORMAT_NOT_SUPPORTED:
    case STATUS_KEY_COMPRESSION_NOT_SUPPORTED:
    case STATUS_ENCODING_OPTION_NOT_SUPPORTED:
        return false;
    default:
        return true;
    }
}

/* The way along the list, and why it went on from each server. */
struct attempt {
    struct client *client;
    size_t server;
    char reasons[sizeof(((struct error *)0)->text)];
    size_t length;
};

/* Notes why a server failed. True if the next one is to be tried. */
static bool pass_over(struct attempt *attempt, const struct error *why)
{
    const struct client_options *options = &attempt->client->options;
    size_t room = sizeof(attempt->reasons) - attempt->length;
    int length = snprintf(attempt->reasons + attempt->length, room, "%s%s",
                          attempt->length > 0 ? "; " : "", error_text(why));
    if (length > 0)
        attempt->length += (size_t)length < room ? (size_t)length : room - 1;
    const char *passed = attempt->client->servers[attempt->server].text;
    attempt->server++;
    if (!client_should_try_next(why->status) || attempt->server == attempt->client->server_count)
        return false;
    if (options->passed_over != NULL)
        options->passed_over(options->context, passed, why);
    return true;
}

enum status client_connect(struct client *client, struct client_connection **ret_connection,
                           struct error *error)
{
    struct attempt attempt = {.client = client};
    struct error why;
    do {
        why = (struct error){0};
        if (client_connect_to(client, attempt.server, ret_connection, &why) == STATUS_OK)
            return STATUS_OK;
    } while (pass_over(&attempt, &why));
    return error_set(error, why.status, "%s", attempt.reasons);
}

static enum status run_on(struct client *client, size_t server, client_task *task, void *context,
                          struct error *error)
{
    struct client_connection *connection;
    enum status status = client_connect_to(client, server, &connection, error);
    if (status != STATUS_OK)
        return status;
    status = task(connection, context, error);
    if (status != STATUS_OK && (error->text[0] == '\0' || error->status != status))
        (void)error_set(error, status, "%s: %s", client->servers[server].text, status_text(status));
    client_disconnect(connection);
    return status;
}

enum status client_on_any_server(struct client *client, client_task *task, void *context,
                                 struct error *error)
{
    struct attempt attempt = {.client = client};
    struct error why;
    do {
        why = (struct error){0};
        if (run_on(client, attempt.server, task, context, &why) == STATUS_OK)
            return STATUS_OK;
    } while (pass_over(&attempt, &why));
    return error_set(error, why.status, "%s", attempt.reasons);
}
