/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl's commands as routes: who may, whether the arguments are right, and the outcome. */
#include <stdio.h>

#include "api/call.h"
#include "ipc/commands.h"

/* Beside the roles of a command those that hold for its adapter alone. */
static const unsigned roles[] = {
    [IPC_READER] = API_ROLE_READER | API_ROLE_KMIP_ADAPTER_MANAGER | API_ROLE_ADMINISTRATOR,
    [IPC_MANAGER] = API_ROLE_MANAGER | API_ROLE_ADMINISTRATOR,
    [IPC_ADAPTER_MANAGER] =
        API_ROLE_MANAGER | API_ROLE_KMIP_ADAPTER_MANAGER | API_ROLE_ADMINISTRATOR,
    [IPC_ADMINISTRATOR] = API_ROLE_ADMINISTRATOR,
};

static bool find_command(struct api_call *call, enum ipc_command_code *ret_code)
{
    char name[2 * API_PARAMETER_SIZE];
    (void)snprintf(name, sizeof(name), "%s%s%s", call->parameters[0],
                   call->parameters[1][0] != '\0' ? " " : "", call->parameters[1]);
    if (ipc_find_command(name, ret_code))
        return true;
    api_fail_text(call, API_NOT_FOUND_ERR, NULL, NULL,
                  "this kmipd (" KMIPD_VERSION ") has no command '%.60s'", name);
    return false;
}

/* The argument that names the adapter which a command is about; NULL: it is about none. */
static const struct ipc_argument *adapter_argument(enum ipc_command_code code)
{
    bool of_adapter = strncmp(ipc_commands[code].name, "adapter ", 8) == 0;
    return ipc_find_argument(code, of_adapter ? "name" : "adapter");
}

/* False: the command is about all adapters, or about one that is not there. */
static bool find_adapter(struct api_call *call, enum ipc_command_code code, const json_t *arguments,
                         struct adapter_row *ret_row)
{
    const struct ipc_argument *argument = adapter_argument(code);
    if (argument == NULL)
        return false;
    const char *name = json_string_value(json_object_get(arguments, argument->name));
    if (name == NULL && (argument->place == IPC_POSITIONAL || code == IPC_cert_list))
        return false;
    return store_adapter_find(call->session, bytes_of_text(name != NULL ? name : "default"),
                              ret_row) == STATUS_OK;
}

/* Grants name an adapter by its UUID: another one of the same name is not meant. */
static bool is_permitted(struct api_call *call, enum ipc_command_code code,
                         const json_t *arguments)
{
    struct adapter_row row;
    char uuid[UUID_TEXT_LENGTH + 1];
    unsigned wanted = roles[ipc_commands[code].role];
    if (!find_adapter(call, code, arguments, &row))
        return api_require(call, wanted, NULL, NULL);
    uuid_text(&row.uuid, uuid);
    return api_require(call, wanted, NULL, uuid);
}

static const char audit_advice[] =
    "the audit log cannot be written, and nothing is changed without a record: make room on its "
    "disk or repair it, then try again; kmipctl status shows why";

static enum status carry_out(struct api_call *call, struct api_command *command)
{
    const struct api_commands *commands = call->context->commands;
    enum status status = ipc_check_arguments(command->code, command->arguments, command->error);
    if (status != STATUS_OK)
        return status;
    if (ipc_commands[command->code].effect == IPC_CHANGES &&
        audit_health(call->context->audit) != STATUS_OK)
        return error_set(command->error, STATUS_AUDIT_FAILED, "%s", audit_advice);
    return commands->run(commands->context, command);
}

static void note(struct api_call *call, const struct api_command *command)
{
    memcpy(call->adapter, command->adapter, sizeof(call->adapter));
    memcpy(call->subject, command->subject, sizeof(call->subject));
    memcpy(call->detail, command->detail, sizeof(call->detail));
}

static void run(struct api_call *call, enum ipc_command_code code, const json_t *arguments)
{
    struct error error = {0};
    struct api_command command = {.code = code,
                                  .session = call->session,
                                  .actor = call->identity.iam_id,
                                  .now = call->now,
                                  .arguments = arguments,
                                  .result = json_object(),
                                  .error = &error};
    enum status status = carry_out(call, &command);
    note(call, &command);
    if (status == STATUS_OK) {
        api_reply_json(call, 200, command.result);
        return;
    }
    json_decref(command.result);
    api_fail_command(call, status, &error);
}

void api_commands_run(struct api_call *call)
{
    enum ipc_command_code code;
    if (!find_command(call, &code))
        return;
    call->action = ipc_commands[code].name;
    call->unrecorded = call->request->local && ipc_commands[code].effect == IPC_READS;
    json_t *arguments = call->body != NULL ? json_incref(call->body) : json_object();
    if (is_permitted(call, code, arguments))
        run(call, code, arguments);
    json_decref(arguments);
}
