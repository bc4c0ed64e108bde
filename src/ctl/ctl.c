/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ctl.h"

#include <locale.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "ctl/output.h"
#include "ipc/ipc.h"

#define DEFAULT_STATE   "./state"
#define INSTALLED_STATE "/var/lib/kmipd"

#define SECRET_HEAP_SIZE    65536
#define ANSWER_MILLISECONDS 60000
#define LONG_MILLISECONDS   86400000

enum ctl_exit ctl_fail(enum status status, const char *text)
{
    fprintf(stderr, "kmipctl: %s\n", text);
    return status == STATUS_AUDIT_BROKEN ? CTL_BROKEN : CTL_FAILED;
}

enum status ctl_secret_heap(struct error *error)
{
    static bool made;
    if (made)
        return STATUS_OK;
    enum status status = secret_heap_init(SECRET_HEAP_SIZE, error);
    made = status == STATUS_OK;
    return status;
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

/* What the API itself says, where the command was not reached. */
static const char *api_text(const json_t *body)
{
    const json_t *resource = json_array_get(json_object_get(body, "resources"), 0);
    const json_t *reason = json_array_get(json_object_get(resource, "reasons"), 0);
    const char *text = json_string_value(json_object_get(reason, "message"));
    return text != NULL ? text : json_string_value(json_object_get(resource, "errorMsg"));
}

static enum status read_refusal(unsigned code, const json_t *body, struct error *error)
{
    const char *text = json_string_value(json_object_get(body, "text"));
    enum status status = status_of(json_string_value(json_object_get(body, "status")));
    if (text != NULL)
        return error_set(error, status != STATUS_OK ? status : STATUS_INTERNAL, "%s", text);
    if (code == 401)
        return error_set(error, STATUS_PERMISSION_DENIED,
                         "the service ID of this API key may not do that");
    if (code == 404)
        return error_set(error, STATUS_NOT_FOUND,
                         "the server has no such command: use the kmipctl of its version (this is "
                         "version " KMIPD_VERSION ")");
    text = api_text(body);
    return error_set(error, STATUS_INTERNAL, "%s (HTTP status %u)",
                     text != NULL ? text : "the server's answer cannot be understood", code);
}

/* Making a root key or counting objects takes a moment, a stopped machine longer; a rebuild goes
 * through everything that a key manager has, a verification through the whole audit log. */
static int patience(enum ipc_command_code command)
{
    bool is_long = command == IPC_adapter_rebuild || command == IPC_audit_verify;
    return is_long ? LONG_MILLISECONDS : ANSWER_MILLISECONDS;
}

enum status ctl_request(struct ctl_server *server, enum ipc_command_code command,
                        const json_t *arguments, json_t **ret_result, struct error *error)
{
    char path[128];
    unsigned code = 0;
    json_t *body = NULL, *sent = sent_arguments(command, arguments);
    (void)ipc_command_path(command, path, sizeof(path));
    enum status status =
        ctl_server_post(server, path, sent, patience(command), &code, &body, error);
    json_decref(sent);
    if (status == STATUS_OK && (code != 200 || !json_is_object(body)))
        status = read_refusal(code, body, error);
    if (status == STATUS_OK)
        *ret_result = json_incref(body);
    json_decref(body);
    return status;
}

/* ---- Commands ---- */

/* Asks for what is behind `next`, and puts it behind what is there. */
static enum status request_more(const struct ctl_call *call, struct ctl_server *server,
                                json_t *result, struct error *error)
{
    json_t *more = NULL, *arguments = json_copy(call->arguments);
    json_t *objects = json_object_get(result, "objects");
    long long limit = ctl_number(call, "limit", -1);
    (void)json_object_set(arguments, "after", json_object_get(result, "next"));
    if (limit >= 0)
        (void)json_object_set_new(arguments, "limit",
                                  json_integer(limit - (json_int_t)json_array_size(objects)));
    enum status status = ctl_request(server, call->command, arguments, &more, error);
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
static enum status request_all(const struct ctl_call *call, struct ctl_server *server,
                               json_t **ret_result, struct error *error)
{
    json_t *result = NULL;
    enum status status = ctl_request(server, call->command, call->arguments, &result, error);
    while (status == STATUS_OK && json_object_get(result, "next") != NULL)
        status = request_more(call, server, result, error);
    if (status == STATUS_OK)
        *ret_result = result;
    else
        json_decref(result);
    return status;
}

/* A file that was made for the command is of no use without its success. */
static enum status request_or_clean(struct ctl_call *call, struct ctl_server *server,
                                    json_t **ret_result, struct error *error)
{
    enum status status = request_all(call, server, ret_result, error);
    if (status != STATUS_OK && call->made_file[0] != '\0')
        (void)unlink(call->made_file);
    return status;
}

static enum status run_over(struct ctl_call *call, struct ctl_server *server, struct error *error)
{
    json_t *result = NULL;
    enum status status = ctl_prepare(call, server, error);
    if (status == STATUS_OK)
        status = request_or_clean(call, server, &result, error);
    if (status == STATUS_OK)
        status = ctl_present(call, server, result, error);
    json_decref(result);
    return status;
}

/* Nobody is asked anything when no server is there. */
static enum ctl_exit run_remote(struct ctl_call *call)
{
    struct error error = {0};
    struct ctl_server *server;
    enum status status = ctl_server_open(call, &server, &error);
    if (status != STATUS_OK) {
        (void)ctl_fail(status, error_text(&error));
        return CTL_UNREACHABLE;
    }
    status = run_over(call, server, &error);
    ctl_server_close(server);
    if (status != STATUS_OK)
        return ctl_fail(status, error_text(&error));
    if (fflush(stdout) == 0)
        return CTL_GOOD;
    perror("kmipctl: cannot write to standard output");
    return CTL_FAILED;
}

/* The audit log of this machine is read here, whether a server runs or not. */
static enum ctl_exit run(struct ctl_call *call)
{
    if (call->url != NULL)
        return run_remote(call);
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
    ipc_wipe_json();
    enum ctl_exit code = ctl_read_arguments(count, words, &call, &ready);
    if (!ready)
        return code;
    code = run(&call);
    json_decref(call.arguments);
    return code;
}
