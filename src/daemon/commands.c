/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/commands.h"

#include <time.h>

#include "base/hex.h"

static control_handler *const handlers[IPC_COMMAND_COUNT] = {
#define COMMAND(group, name, words, effect, role, text) control_##group##_##name,
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

void control_put_uuid(json_t *object, const char *name, const struct uuid *uuid)
{
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(uuid, text);
    control_put_text(object, name, text);
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

enum status commands_run(void *context, struct api_command *command)
{
    struct control_call call = {.daemon = context,
                                .session = command->session,
                                .actor = command->actor,
                                .now = command->now,
                                .arguments = command->arguments,
                                .result = command->result,
                                .error = command->error};
    enum status status = handlers[command->code](&call);
    memcpy(command->adapter, call.adapter, sizeof(command->adapter));
    memcpy(command->subject, call.subject, sizeof(command->subject));
    memcpy(command->detail, call.detail, sizeof(command->detail));
    if (status != STATUS_OK && command->error->text[0] == '\0')
        (void)error_set(command->error, status, "%s", status_text(status));
    return status;
}
