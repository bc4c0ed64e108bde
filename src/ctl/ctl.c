/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ctl.h"

#include <locale.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/output.h"
#include "ipc/ipc.h"

#define DEFAULT_STATE   "./state"
#define INSTALLED_STATE "/var/lib/kmipd"

/* Making a root key or counting objects takes a moment; a stopped machine takes longer. */
#define ANSWER_MILLISECONDS 60000
#define SEND_MILLISECONDS   10000

enum ctl_exit ctl_fail(enum status status, const char *text)
{
    fprintf(stderr, "kmipctl: %s\n", text);
    return status == STATUS_AUDIT_BROKEN ? CTL_BROKEN : CTL_FAILED;
}

/* A directory that somebody else has put where root works must not be taken for the server's. */
static bool is_own_state(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && status.st_uid == geteuid();
}

bool ctl_state_path(const struct ctl_call *call, const char *name, char *ret_path, size_t size)
{
    const char *directory = call->state;
    if (directory == NULL)
        directory = is_own_state(DEFAULT_STATE "/lock") ? DEFAULT_STATE : INSTALLED_STATE;
    int length = snprintf(ret_path, size, "%s/%s", directory, name);
    return length >= 0 && (size_t)length < size;
}

enum status ctl_connect(const struct ctl_call *call, int *ret_connection, struct error *error)
{
    char path[4096];
    if (call->socket != NULL)
        return ipc_connect(call->socket, ret_connection, error);
    if (!ctl_state_path(call, "control.sock", path, sizeof(path)))
        return error_set(error, STATUS_INVALID_ARGUMENT, "the path of --state is too long");
    return ipc_connect(path, ret_connection, error);
}

/* ---- Requests ---- */

/* What the table lets over the socket; the rest is kmipctl's own. */
static json_t *sent_arguments(enum ipc_command_code command, const json_t *arguments)
{
    json_t *sent = json_object();
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)arguments, name, value)
    {
        const struct ipc_argument *argument = ipc_find_argument(command, name);
        if (argument != NULL && ipc_argument_is_sent(argument))
            (void)json_object_set(sent, name, value);
    }
    return sent;
}

static enum status status_of(const char *name)
{
    for (int i = 0; i < STATUS_COUNT && name != NULL; i++)
        if (strcmp(status_name((enum status)i), name) == 0)
            return (enum status)i;
    return STATUS_INTERNAL;
}

static enum status read_reply(json_t *reply, json_t **ret_result, struct error *error)
{
    json_t *result = json_object_get(reply, "result");
    if (json_is_true(json_object_get(reply, "ok")) && json_is_object(result)) {
        *ret_result = json_incref(result);
        return STATUS_OK;
    }
    const char *text = json_string_value(json_object_get(reply, "text"));
    enum status status = status_of(json_string_value(json_object_get(reply, "status")));
    if (status == STATUS_OK)
        status = STATUS_INTERNAL;
    return error_set(error, status, "%s",
                     text != NULL ? text : "the server's answer cannot be understood");
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

enum status ctl_request(int connection, enum ipc_command_code command, const json_t *arguments,
                        json_t **ret_result, struct error *error)
{
    json_t *request = json_pack("{s:s, s:o}", "command", ipc_commands[command].name, "arguments",
                                sent_arguments(command, arguments));
    if (request == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    json_t *reply = NULL;
    enum status status = ipc_send(connection, request, SEND_MILLISECONDS);
    if (status == STATUS_OK || status == STATUS_CLOSED) /* who is refused is told why */
        status = ipc_receive(connection, ANSWER_MILLISECONDS, &reply);
    json_decref(request);
    if (status != STATUS_OK)
        return lost(status, error);
    status = read_reply(reply, ret_result, error);
    json_decref(reply);
    return status;
}

/* ---- Commands ---- */

/* Asks for what is behind `next`, and puts it behind what is there. */
static enum status request_more(const struct ctl_call *call, int connection, json_t *result,
                                struct error *error)
{
    json_t *more = NULL, *arguments = json_copy(call->arguments);
    json_t *objects = json_object_get(result, "objects");
    long long limit = ctl_number(call, "limit", -1);
    (void)json_object_set(arguments, "after", json_object_get(result, "next"));
    if (limit >= 0)
        (void)json_object_set_new(arguments, "limit",
                                  json_integer(limit - (json_int_t)json_array_size(objects)));
    enum status status = ctl_request(connection, call->command, arguments, &more, error);
    json_decref(arguments);
    if (status != STATUS_OK)
        return status;
    (void)json_array_extend(objects, json_object_get(more, "objects"));
    json_t *next = json_object_get(more, "next");
    if (next != NULL)
        (void)json_object_set(result, "next", next);
    else
        (void)json_object_del(result, "next");
    json_decref(more);
    return STATUS_OK;
}

/* A long listing comes in several answers; "next" stands in all but the last. */
static enum status request_all(const struct ctl_call *call, int connection, json_t **ret_result,
                               struct error *error)
{
    json_t *result = NULL;
    enum status status = ctl_request(connection, call->command, call->arguments, &result, error);
    while (status == STATUS_OK && json_object_get(result, "next") != NULL)
        status = request_more(call, connection, result, error);
    if (status == STATUS_OK)
        *ret_result = result;
    else
        json_decref(result);
    return status;
}

/* A file that was made for the command is of no use without its success. */
static enum status request_over_new_connection(struct ctl_call *call, json_t **ret_result,
                                               struct error *error)
{
    int connection;
    enum status status = ctl_connect(call, &connection, error);
    if (status == STATUS_OK) {
        status = request_all(call, connection, ret_result, error);
        (void)close(connection);
    }
    if (status != STATUS_OK && call->made_file[0] != '\0')
        (void)unlink(call->made_file);
    return status;
}

/* The server waits for a request some seconds only, a person takes longer: so what comes before
 * has no connection open, but nobody is asked anything when no server is there. */
static enum ctl_exit run_remote(struct ctl_call *call)
{
    struct error error = {0};
    json_t *result = NULL;
    int connection;
    enum status status = ctl_connect(call, &connection, &error);
    if (status != STATUS_OK) {
        (void)ctl_fail(status, error_text(&error));
        return CTL_UNREACHABLE;
    }
    (void)close(connection);
    status = ctl_prepare(call, &error);
    if (status == STATUS_OK)
        status = request_over_new_connection(call, &result, &error);
    if (status == STATUS_OK)
        status = ctl_present(call, result, &error);
    json_decref(result);
    if (status != STATUS_OK)
        return ctl_fail(status, error_text(&error));
    if (fflush(stdout) == 0)
        return CTL_GOOD;
    perror("kmipctl: cannot write to standard output");
    return CTL_FAILED;
}

static enum ctl_exit run(struct ctl_call *call)
{
    switch (call->command) {
    case IPC_audit_tail:
        return ctl_audit_tail(call);
    case IPC_audit_verify:
        return ctl_audit_verify(call);
    default:
        return run_remote(call);
    }
}

int ctl_main(int count, char **words)
{
    struct ctl_call call;
    bool ready;
    (void)setlocale(LC_CTYPE, ""); /* widths of names in tables */
    enum ctl_exit code = ctl_read_arguments(count, words, &call, &ready);
    if (!ready)
        return code;
    code = run(&call);
    json_decref(call.arguments);
    return code;
}
