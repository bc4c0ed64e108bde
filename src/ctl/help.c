/* SPDX-License-Identifier: Apache-2.0 */
/* Help texts, all of them from the table of commands. */
#include "ctl/arguments.h"

#define HELP_WIDTH 92

static const char global_options[] =
    "\n"
    "Options of every command:\n"
    "  --state DIRECTORY   the server's state directory (default: ./state if it is one of\n"
    "                      yours, else /var/lib/kmipd)\n"
    "  --socket PATH       the server's control socket (default: control.sock in the state\n"
    "                      directory)\n"
    "  --url URL           a server elsewhere: https://HOST:PORT of its administration API\n"
    "  --api-key-file FILE the API key for it, in its first line; readable for you alone\n"
    "  --ca-file FILE      the authority of its certificate, such as its ca.pem (default: those\n"
    "                      of this system)\n"
    "  --json              print the result as JSON\n"
    "  --help              explain a command\n";

/* Writes `text` behind a left column of `indent`, broken at spaces. */
static void print_wrapped(FILE *file, const char *text, int indent)
{
    size_t room = (size_t)(HELP_WIDTH - indent);
    while (*text != '\0') {
        size_t length = strlen(text);
        if (length > room) {
            length = room;
            while (length > 0 && text[length] != ' ')
                length--;
            if (length == 0)
                length = strcspn(text, " ");
        }
        fprintf(file, "%.*s\n", (int)length, text);
        text += length;
        text += strspn(text, " ");
        if (*text != '\0')
            fprintf(file, "%*s", indent, "");
    }
}

static void print_command_line(FILE *file, enum ipc_command_code command)
{
    fprintf(file, "  %-19s  ", ipc_commands[command].name);
    print_wrapped(file, ipc_commands[command].text, 23);
}

static bool in_group(enum ipc_command_code command, const char *group)
{
    size_t length = strlen(group);
    const char *name = ipc_commands[command].name;
    return strncmp(name, group, length) == 0 && name[length] == ' ';
}

void ctl_print_help(FILE *file)
{
    fputs("Usage: kmipctl [OPTION]... COMMAND [ARGUMENT]...\n"
          "\n"
          "Manages a running kmipd: through its control socket, or elsewhere with --url.\n",
          file);
    for (size_t g = 0; g < ipc_group_count; g++) {
        fprintf(file, "\n%s: %s\n", ipc_groups[g].name, ipc_groups[g].text);
        for (int i = 0; i < IPC_COMMAND_COUNT; i++)
            if (in_group((enum ipc_command_code)i, ipc_groups[g].name))
                print_command_line(file, (enum ipc_command_code)i);
    }
    fputc('\n', file);
    for (int i = 0; i < IPC_COMMAND_COUNT; i++)
        if (strchr(ipc_commands[i].name, ' ') == NULL)
            print_command_line(file, (enum ipc_command_code)i);
    fputs(global_options, file);
    fputs("\nExit codes: 0 done; 1 refused or failed; 2 the command line is wrong; 3 no server\n"
          "answers; 4 the audit log is broken.\n",
          file);
}

void ctl_print_group_help(FILE *file, const char *group)
{
    fprintf(file, "Usage: kmipctl %s COMMAND [ARGUMENT]...\n\n", group);
    for (int i = 0; i < IPC_COMMAND_COUNT; i++)
        if (in_group((enum ipc_command_code)i, group))
            print_command_line(file, (enum ipc_command_code)i);
    fprintf(file, "\nkmipctl %s COMMAND --help explains a command.\n", group);
}

static void print_usage(FILE *file, enum ipc_command_code command)
{
    fprintf(file, "Usage: kmipctl %s", ipc_commands[command].name);
    for (size_t i = 0; i < ipc_argument_count; i++) {
        const struct ipc_argument *argument = &ipc_arguments[i];
        if (argument->command != command)
            continue;
        if (argument->place == IPC_POSITIONAL)
            fprintf(file, " %s", argument->value);
        else if (argument->place == IPC_OPTIONAL || argument->place == IPC_LOCAL_OPTIONAL)
            fprintf(file, " [%s]", argument->value);
    }
    fputs(" [OPTION]...\n\n", file);
}

static void print_argument(FILE *file, const struct ipc_argument *argument)
{
    char left[80];
    bool option = argument->place == IPC_OPTION || argument->place == IPC_LOCAL_OPTION;
    (void)snprintf(left, sizeof(left), "%s%s%s",
                   option ? ctl_option_name(argument->name).text : "",
                   option && argument->value[0] != '\0' ? " " : "", argument->value);
    fprintf(file, "  %-24s  ", left);
    print_wrapped(file, argument->text, 28);
}

void ctl_print_command_help(FILE *file, enum ipc_command_code command)
{
    print_usage(file, command);
    print_wrapped(file, ipc_commands[command].text, 0);
    bool any = false;
    for (size_t i = 0; i < ipc_argument_count; i++) {
        if (ipc_arguments[i].command != command || ipc_arguments[i].place == IPC_SENT)
            continue;
        if (!any)
            fputc('\n', file);
        any = true;
        print_argument(file, &ipc_arguments[i]);
    }
    fputs(global_options, file);
}
