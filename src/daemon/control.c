/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/control.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/log.h"
#include "ipc/commands.h"
#include "ipc/ipc.h"

/* Others wait meanwhile; whoever connects is root or this user. */
#define REQUEST_MILLISECONDS 5000
#define ANSWER_MILLISECONDS  10000

struct control {
    struct daemon *daemon;
    struct store_session *session;
    int listener;
    int stop; /* eventfd(2): readable when the thread is to end */
    pthread_t thread;
    bool running;
};

static control_handler *const handlers[IPC_COMMAND_COUNT] = {
#define CONTROL_HANDLER_READS(function)    function
#define CONTROL_HANDLER_CHANGES(function)  function
#define CONTROL_HANDLER_LOCAL(function)    NULL
#define COMMAND(group, name, effect, text) CONTROL_HANDLER_##effect(control_##group##_##name),
#include "control.def"
};

/* ---- Arguments and results ---- */

const char *control_text(const struct control_call *call, const char *name)
{
    return json_string_value(json_object_get(call->arguments, name));
}

int64_t control_number(const struct control_call *call, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(call->arguments, name);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

void control_put_text(json_t *object, const char *name, const char *text)
{
    /* A name that is not UTF-8 (the store takes what certificates hold) is left out. */
    (void)json_object_set_new(object, name, json_string(text));
}

void control_put_number(json_t *object, const char *name, int64_t number)
{
    (void)json_object_set_new(object, name, json_integer(number));
}

void control_put_time(json_t *object, const char *name, int64_t milliseconds)
{
    char text[32];
    struct tm utc;
    time_t seconds = milliseconds / 1000;
    if (gmtime_r(&seconds, &utc) == NULL)
        return;
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
    control_put_text(object, name, text);
}

void control_put_fingerprint(json_t *object, const char *name, const uint8_t *fingerprint,
                             size_t size)
{
    char text[2 * 64 + 1] = "";
    if (size <= 64)
        hex_text(bytes_of(fingerprint, size), text);
    control_put_text(object, name, text);
}

enum status control_find_adapter(struct control_call *call, const char *name,
                                 struct adapter_row *ret_row)
{
    const char *wanted = control_text(call, name);
    if (wanted == NULL)
        wanted = "default";
    (void)snprintf(call->adapter, sizeof(call->adapter), "%s", wanted);
    enum status status = store_adapter_find(call->session, bytes_of_text(wanted), ret_row);
    if (status == STATUS_NOT_FOUND)
        return error_set(call->error, status,
                         "there is no adapter '%.100s'; kmipctl adapter list shows which there are",
                         wanted);
    if (status != STATUS_OK)
        return error_set(call->error, status, "%s", status_text(status));
    (void)snprintf(call->adapter, sizeof(call->adapter), "%s", ret_row->name);
    return STATUS_OK;
}

/* ---- One command ---- */

static void describe_peer(const struct ipc_peer *peer, char *text, size_t size)
{
    char memory[1024];
    struct passwd entry, *found = NULL;
    (void)getpwuid_r(peer->uid, &entry, memory, sizeof(memory), &found);
    (void)snprintf(text, size, "uid=%u user=%.64s", peer->uid,
                   found != NULL ? entry.pw_name : "unknown");
}

static enum status write_record(const struct control_call *call, const struct ipc_peer *peer,
                                enum ipc_command_code command, enum status outcome)
{
    char who[128];
    describe_peer(peer, who, sizeof(who));
    const char *detail = outcome == STATUS_OK ? call->detail : error_text(call->error);
    struct audit_entry entry = {
        .time = clock_now(&call->daemon->clock),
        .event = "admin",
        .adapter = bytes_of_text(call->adapter),
        .certificate = bytes_of_text(who),
        .operation = bytes_of_text(ipc_commands[command].name),
        .object = bytes_of_text(call->subject),
        .result = bytes_of_text(outcome == STATUS_OK ? "Success" : "Operation Failed"),
        .reason = bytes_of_text(outcome == STATUS_OK ? "" : status_name(outcome)),
        .detail = bytes_of_text(detail),
    };
    log_notice("admin command=\"%s\" %s adapter=\"%s\" object=\"%s\" result=%s",
               ipc_commands[command].name, who, call->adapter, call->subject,
               status_name(outcome));
    return audit_write(call->daemon->audit, &entry);
}

static const char audit_advice[] =
    "the audit log cannot be written, and nothing is changed without a record: make room on its "
    "disk or repair it, then try again; kmipctl status shows why";

static enum status run_command(struct control_call *call, const struct ipc_peer *peer,
                               enum ipc_command_code command)
{
    bool changes = ipc_commands[command].effect == IPC_CHANGES;
    if (changes && audit_health(call->daemon->audit) != STATUS_OK)
        return error_set(call->error, STATUS_AUDIT_FAILED, "%s", audit_advice);
    enum status status = handlers[command](call);
    if (status != STATUS_OK && call->error->text[0] == '\0')
        (void)error_set(call->error, status, "%s", status_text(status));
    if (changes && write_record(call, peer, command, status) != STATUS_OK)
        return error_set(call->error, STATUS_AUDIT_FAILED, "it is done, but %s", audit_advice);
    return status;
}

static enum status find_command(const json_t *request, enum ipc_command_code *ret_command,
                                struct error *error)
{
    const char *name = json_string_value(json_object_get(request, "command"));
    if (name == NULL || !ipc_find_command(name, ret_command) || handlers[*ret_command] == NULL)
        return error_set(error, STATUS_NOT_FOUND,
                         "this kmipd (" KMIPD_VERSION ") has no command '%.60s': use the kmipctl "
                         "of the same version",
                         name != NULL ? name : "");
    return ipc_check_arguments(*ret_command, json_object_get(request, "arguments"), error);
}

/* A text that is not UTF-8 (it may repeat what a client wrote) gives way to the general one. */
static json_t *make_refusal(enum status status, const char *text)
{
    json_t *refusal = json_pack("{s:b, s:s, s:s}", "ok", 0, "status", status_name(status), "text",
                                text);
    if (refusal != NULL)
        return refusal;
    return json_pack("{s:b, s:s, s:s}", "ok", 0, "status", status_name(status), "text",
                     status_text(status));
}

static json_t *answer(struct control *control, const struct ipc_peer *peer, const json_t *request)
{
    enum ipc_command_code command;
    struct error error = {0};
    struct control_call call = {.daemon = control->daemon,
                                .session = control->session,
                                .arguments = json_object_get(request, "arguments"),
                                .result = json_object(),
                                .error = &error};
    enum status status = find_command(request, &command, &error);
    if (status == STATUS_OK)
        status = run_command(&call, peer, command);
    if (status == STATUS_OK)
        return json_pack("{s:b, s:o}", "ok", 1, "result", call.result);
    json_decref(call.result);
    return make_refusal(status, error_text(&error));
}

/* ---- Connections ---- */

static bool may_command(int connection, struct ipc_peer *ret_peer)
{
    if (ipc_peer(connection, ret_peer) != STATUS_OK)
        return false;
    if (ret_peer->uid == 0 || ret_peer->uid == geteuid())
        return true;
    log_warning("control connection refused uid=%u pid=%d", ret_peer->uid, ret_peer->pid);
    return false;
}

static void refuse(int connection)
{
    json_t *refusal = make_refusal(STATUS_PERMISSION_DENIED,
                                   "use kmipctl as root or as the user that kmipd runs as");
    /* Whether it still listens does not matter. */
    if (refusal == NULL || ipc_send(connection, refusal, ANSWER_MILLISECONDS) != STATUS_OK)
        log_debug("control refusal could not be sent");
    json_decref(refusal);
}

/* Waits for the next request: CLOSED when the daemon stops, TIMED_OUT when none comes. */
static enum status wait_for_request(const struct control *control, int connection)
{
    struct pollfd entries[] = {{.fd = control->stop, .events = POLLIN},
                               {.fd = connection, .events = POLLIN}};
    int ready;
    do
        ready = poll(entries, ARRAY_COUNT(entries), REQUEST_MILLISECONDS);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return ready == 0 ? STATUS_TIMED_OUT : STATUS_IO;
    return entries[0].revents != 0 ? STATUS_CLOSED : STATUS_OK;
}

/* Answers commands until the other side ends, is late, or breaks the protocol. */
static void serve(struct control *control, int connection)
{
    struct ipc_peer peer;
    if (!may_command(connection, &peer)) {
        refuse(connection);
        return;
    }
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        json_t *request = NULL;
        status = wait_for_request(control, connection);
        if (status == STATUS_OK)
            status = ipc_receive(connection, REQUEST_MILLISECONDS, &request);
        if (status != STATUS_OK)
            break;
        json_t *reply = answer(control, &peer, request);
        status = reply != NULL ? ipc_send(connection, reply, ANSWER_MILLISECONDS)
                               : STATUS_NO_MEMORY;
        json_decref(reply);
        json_decref(request);
    }
    if (status != STATUS_CLOSED)
        log_warning("control connection ended uid=%u pid=%d status=%s", peer.uid, peer.pid,
                    status_name(status));
}

static void *run(void *argument)
{
    struct control *control = argument;
    struct pollfd entries[] = {{.fd = control->stop, .events = POLLIN},
                               {.fd = control->listener, .events = POLLIN}};
    for (;;) {
        if (poll(entries, ARRAY_COUNT(entries), -1) < 0 && errno != EINTR)
            break;
        if (entries[0].revents != 0)
            break;
        int connection = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0)
            continue;
        serve(control, connection);
        (void)close(connection);
    }
    return NULL;
}

/* ---- Life ---- */

static enum status open_parts(struct control *control, struct error *error)
{
    const char *path = state_path(&control->daemon->state, STATE_CONTROL);
    enum status status = store_session_open(control->daemon->store, &control->session);
    if (status != STATUS_OK)
        return error_set(error, status, "%s", status_text(status));
    control->stop = eventfd(0, EFD_CLOEXEC);
    if (control->stop < 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot make the control socket");
    return ipc_listen(path, &control->listener, error);
}

enum status control_open(struct daemon *daemon, struct control **ret_control, struct error *error)
{
    struct control *control = malloc(sizeof(*control));
    if (control == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    *control = (struct control){.daemon = daemon, .listener = -1, .stop = -1};
    enum status status = open_parts(control, error);
    if (status != STATUS_OK) {
        control_stop(control);
        return status;
    }
    *ret_control = control;
    return STATUS_OK;
}

enum status control_start(struct control *control, struct error *error)
{
    int failure = pthread_create(&control->thread, NULL, run, control);
    if (failure != 0)
        return error_set_errno(error, STATUS_IO, failure, "cannot start the control thread");
    control->running = true;
    return STATUS_OK;
}

void control_stop(struct control *control)
{
    if (control == NULL)
        return;
    if (control->running) {
        const uint64_t one = 1;
        (void)!write(control->stop, &one, sizeof(one));
        (void)pthread_join(control->thread, NULL);
    }
    if (control->listener >= 0) {
        (void)unlink(state_path(&control->daemon->state, STATE_CONTROL));
        (void)close(control->listener);
    }
    if (control->stop >= 0)
        (void)close(control->stop);
    store_session_close(control->session);
    free(control);
}
