/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket of this machine. */
#include <stdlib.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ipc/ipc.h"

#define SEND_MILLISECONDS 10000

struct socket_server {
    struct ctl_server server;
    char path[CTL_PATH_MAX];
};

static void close_server(struct ctl_server *server)
{
    free(server);
}

static bool find_path(const struct ctl_call *call, struct socket_server *server)
{
    if (call->socket == NULL)
        return ctl_state_path(call, "control.sock", server->path, sizeof(server->path));
    int length = snprintf(server->path, sizeof(server->path), "%s", call->socket);
    return length >= 0 && (size_t)length < sizeof(server->path);
}

static enum status probe(const char *path, struct error *error)
{
    int connection;
    enum status status = ipc_connect(path, &connection, error);
    if (status == STATUS_OK)
        (void)close(connection);
    return status;
}

static enum status open_server(const struct ctl_call *call, struct ctl_server **ret_server,
                               struct error *error)
{
    struct socket_server *server = malloc(sizeof(*server));
    if (server == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    server->server.kind = &ctl_server_socket;
    enum status status =
        find_path(call, server)
            ? probe(server->path, error)
            : error_set(error, STATUS_INVALID_ARGUMENT, "the path of the state is too long");
    if (status == STATUS_OK)
        *ret_server = &server->server;
    else
        free(server);
    return status;
}

static enum status lost(enum status status, struct error *error)
{
    if (status == STATUS_TIMED_OUT)
        return error_set(error, status,
                         "the server does not answer; whether the command was done shows in "
                         "kmipctl audit tail");
    if (status == STATUS_TOO_LARGE)
        return error_set(error, status, "the request or its answer is too large");
    return error_set(error, STATUS_CLOSED,
                     "the server ended the connection (%s); whether the command was done shows in "
                     "kmipctl audit tail",
                     status_text(status));
}

static void read_answer(const json_t *answer, unsigned *ret_code, json_t **ret_body)
{
    const json_t *body = json_object_get(answer, "body");
    *ret_code = (unsigned)json_integer_value(json_object_get(answer, "status"));
    *ret_body = json_is_string(body)
                    ? json_loadb(json_string_value(body), json_string_length(body), JSON_ALLOW_NUL,
                                 NULL)
                    : NULL;
}

/* A connection for each: the server waits for the next request some seconds only. */
static enum status post(struct ctl_server *base, const char *path, const char *body,
                        int milliseconds, unsigned *ret_code, json_t **ret_body,
                        struct error *error)
{
    struct socket_server *server = (struct socket_server *)base;
    int connection;
    json_t *answer = NULL;
    enum status status = ipc_connect(server->path, &connection, error);
    if (status != STATUS_OK)
        return status;
    json_t *request =
        json_pack("{s:s, s:s, s:s}", "method", "POST", "path", path, "body", body);
    status = request != NULL ? ipc_send(connection, request, SEND_MILLISECONDS) : STATUS_NO_MEMORY;
    if (status == STATUS_OK || status == STATUS_CLOSED) /* who is refused is told why */
        status = ipc_receive(connection, milliseconds, &answer);
    json_decref(request);
    (void)close(connection);
    if (status != STATUS_OK)
        return lost(status, error);
    read_answer(answer, ret_code, ret_body);
    json_decref(answer);
    return STATUS_OK;
}

const struct ctl_server_kind ctl_server_socket = {
    .open = open_server, .post = post, .close = close_server};
