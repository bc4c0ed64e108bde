/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/commands.h"

#include <stdio.h>

const struct ipc_command ipc_commands[IPC_COMMAND_COUNT] = {
#define COMMAND(group, name, words, effect, role, text) {words, IPC_##effect, IPC_##role, text},
#include "control.def"
};

const struct ipc_argument ipc_arguments[] = {
#define ARGUMENT(group, name, argument, type, place, value, text) \
    {IPC_##group##_##name, #argument, IPC_##type, IPC_##place, value, text},
#include "control.def"
};
const size_t ipc_argument_count = ARRAY_COUNT(ipc_arguments);

const struct ipc_group ipc_groups[] = {
#define GROUP(name, words, text) {words, text},
#include "control.def"
};
const size_t ipc_group_count = ARRAY_COUNT(ipc_groups);

bool ipc_argument_is_sent(const struct ipc_argument *argument)
{
    return argument->place != IPC_LOCAL_OPTION && argument->place != IPC_LOCAL_OPTIONAL;
}

const struct ipc_argument *ipc_find_argument(enum ipc_command_code command, const char *name)
{
    for (size_t i = 0; i < ipc_argument_count; i++)
        if (ipc_arguments[i].command == command && strcmp(ipc_arguments[i].name, name) == 0)
            return &ipc_arguments[i];
    return NULL;
}

bool ipc_find_command(const char *name, enum ipc_command_code *ret_command)
{
    for (int i = 0; i < IPC_COMMAND_COUNT; i++) {
        if (strcmp(ipc_commands[i].name, name) == 0) {
            *ret_command = (enum ipc_command_code)i;
            return true;
        }
    }
    return false;
}

size_t ipc_command_path(enum ipc_command_code command, char *ret_path, size_t size)
{
    int length = snprintf(ret_path, size, "%s%s", IPC_COMMANDS_PATH, ipc_commands[command].name);
    char *space = strchr(ret_path, ' ');
    if (space != NULL)
        *space = '/';
    return (size_t)length;
}

static bool is_text(const json_t *value)
{
    if (!json_is_string(value) || json_string_length(value) > IPC_TEXT_MAX)
        return false;
    const unsigned char *at = (const unsigned char *)json_string_value(value);
    for (size_t i = 0; i < json_string_length(value); i++)
        if ((at[i] < 0x20 && at[i] != '\n' && at[i] != '\r' && at[i] != '\t') || at[i] == 0x7F)
            return false;
    return true;
}

static bool is_list(const json_t *value)
{
    if (!json_is_array(value))
        return false;
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!is_text(json_array_get(value, i)))
            return false;
    return true;
}

static bool type_fits(enum ipc_argument_type type, const json_t *value)
{
    switch (type) {
    case IPC_TEXT:
        return is_text(value);
    case IPC_NUMBER:
        return json_is_integer(value) && json_integer_value(value) >= 0;
    case IPC_FLAG:
        return json_is_boolean(value);
    case IPC_LIST:
        return is_list(value);
    }
    return false;
}

static enum status check_known(enum ipc_command_code command, const json_t *arguments,
                               struct error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)arguments, name, value)
    {
        const struct ipc_argument *argument = ipc_find_argument(command, name);
        if (argument == NULL || !ipc_argument_is_sent(argument))
            return error_set(error, STATUS_INVALID_ARGUMENT, "%s has no argument %.40s",
                             ipc_commands[command].name, name);
        if (!type_fits(argument->type, value))
            return error_set(error, STATUS_INVALID_ARGUMENT,
                             "the argument %s of %s has a value that is not allowed", name,
                             ipc_commands[command].name);
    }
    return STATUS_OK;
}

enum status ipc_check_arguments(enum ipc_command_code command, const json_t *arguments,
                                struct error *error)
{
    if (!json_is_object(arguments))
        return error_set(error, STATUS_INVALID_ARGUMENT, "arguments are not an object");
    enum status status = check_known(command, arguments, error);
    for (size_t i = 0; i < ipc_argument_count && status == STATUS_OK; i++)
        if (ipc_arguments[i].command == command && ipc_arguments[i].place == IPC_POSITIONAL &&
            json_object_get(arguments, ipc_arguments[i].name) == NULL)
            status = error_set(error, STATUS_INVALID_ARGUMENT, "%s needs the argument %s",
                               ipc_commands[command].name, ipc_arguments[i].name);
    return status;
}
