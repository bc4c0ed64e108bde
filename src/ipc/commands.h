/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands (def/control.def), as the server and kmipctl both read it. */
#ifndef KMIPD_IPC_COMMANDS_H
#define KMIPD_IPC_COMMANDS_H

#include <jansson.h>

#include "base/bytes.h"
#include "base/error.h"

enum ipc_command_code {
#define COMMAND(group, name, words, effect, role, text) IPC_##group##_##name,
#include "control.def"
    IPC_COMMAND_COUNT
};

enum ipc_effect { IPC_READS, IPC_CHANGES };
enum ipc_role { IPC_READER, IPC_ADAPTER_MANAGER, IPC_MANAGER, IPC_ADMINISTRATOR };
enum ipc_argument_type { IPC_TEXT, IPC_NUMBER, IPC_FLAG, IPC_LIST };
enum ipc_place {
    IPC_POSITIONAL,
    IPC_OPTIONAL,
    IPC_OPTION,
    IPC_LOCAL_OPTIONAL,
    IPC_LOCAL_OPTION,
    IPC_SENT
};

struct ipc_command {
    const char *name; /* "adapter create", or "status": as people write it */
    enum ipc_effect effect;
    enum ipc_role role;
    const char *text;
};

struct ipc_argument {
    enum ipc_command_code command;
    const char *name; /* with '_', as in JSON */
    enum ipc_argument_type type;
    enum ipc_place place;
    const char *value; /* what stands for the value in a usage line */
    const char *text;
};

struct ipc_group {
    const char *name;
    const char *text;
};

extern const struct ipc_command ipc_commands[IPC_COMMAND_COUNT];
extern const struct ipc_argument ipc_arguments[];
extern const size_t ipc_argument_count;
extern const struct ipc_group ipc_groups[];
extern const size_t ipc_group_count;

#define IPC_TEXT_MAX 65536 /* of one text argument: a certificate chain in PEM is far smaller */

/* Whether an argument goes to the server. */
bool ipc_argument_is_sent(const struct ipc_argument *argument);

/* The argument of a command by the name in JSON; NULL if it has none such. */
const struct ipc_argument *ipc_find_argument(enum ipc_command_code command, const char *name);

/* False if there is no command of this name ("adapter create"). */
bool ipc_find_command(const char *name, enum ipc_command_code *ret_command) MUST_USE;

#define IPC_COMMANDS_PATH "/api/v2/kmipd/"

/* The path of a command's route: "/api/v2/kmipd/adapter/create". Returns its length. */
size_t ipc_command_path(enum ipc_command_code command, char *ret_path, size_t size);

/*
 * Checks a request's arguments against the table: an object of known names, each of its type, texts
 * at most IPC_TEXT_MAX long without control characters other than line ends, and all that must be
 * given. INVALID_ARGUMENT with a text.
 */
enum status ipc_check_arguments(enum ipc_command_code command, const json_t *arguments,
                                struct error *error) MUST_USE;

#endif
