/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/arguments.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

struct reading {
    char **words;
    int count;
    int at;
    struct ctl_call *call;
    char command[64]; /* the words of the command so far */
    bool has_command;
    bool only_positional; /* behind `--` */
    bool help;
};

struct ctl_option_name ctl_option_name(const char *name)
{
    struct ctl_option_name option;
    (void)snprintf(option.text, sizeof(option.text), "--%.40s", name);
    for (char *at = option.text; *at != '\0'; at++)
        if (*at == '_')
            *at = '-';
    return option;
}

static bool is_positional(const struct ipc_argument *argument)
{
    return argument->place == IPC_POSITIONAL || argument->place == IPC_OPTIONAL ||
           argument->place == IPC_LOCAL_OPTIONAL;
}

static bool is_option(const struct ipc_argument *argument)
{
    return argument->place == IPC_OPTION || argument->place == IPC_LOCAL_OPTION;
}

static const char *try_help(const struct reading *reading)
{
    static char text[100];
    (void)snprintf(text, sizeof(text), "Try 'kmipctl %s%s--help'.", reading->command,
                   reading->command[0] != '\0' ? " " : "");
    return text;
}

static enum ctl_exit wrong(const struct reading *reading, const char *format, ...)
    PRINTF_LIKE(2, 3);
static enum ctl_exit wrong(const struct reading *reading, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("kmipctl: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n%s\n", try_help(reading));
    return CTL_USAGE;
}

/* ---- Values ---- */

static json_t *make_value(const struct ipc_argument *argument, const char *text)
{
    if (argument->type != IPC_NUMBER)
        return json_string(text);
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool whole = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
    return whole ? json_integer(number) : NULL;
}

static bool append_value(json_t *arguments, const char *name, json_t *value)
{
    json_t *list = json_object_get(arguments, name);
    if (list == NULL) {
        list = json_array();
        if (json_object_set_new(arguments, name, list) != 0) {
            json_decref(value);
            return false;
        }
    }
    return json_array_append_new(list, value) == 0;
}

static enum ctl_exit set_value(struct reading *reading, const struct ipc_argument *argument,
                               const char *text)
{
    json_t *arguments = reading->call->arguments;
    if (argument->type != IPC_LIST && json_object_get(arguments, argument->name) != NULL)
        return wrong(reading, "%s stands twice", ctl_option_name(argument->name).text);
    json_t *value = argument->type == IPC_FLAG ? json_true() : make_value(argument, text);
    if (value == NULL)
        return wrong(reading, "'%s' cannot be the value of %s", text,
                     ctl_option_name(argument->name).text);
    bool stored = argument->type == IPC_LIST
                      ? append_value(arguments, argument->name, value)
                      : json_object_set_new(arguments, argument->name, value) == 0;
    return stored ? CTL_GOOD : wrong(reading, "%s", status_text(STATUS_NO_MEMORY));
}

/* ---- Options ---- */

struct global_option {
    const char *name;
    const char **place; /* NULL: a flag */
    bool *flag;
};

/* The value of `--name value` or `--name=value`; NULL if there is none. */
static const char *take_value(struct reading *reading, const char *equals)
{
    if (equals != NULL)
        return equals + 1;
    return reading->at < reading->count ? reading->words[reading->at++] : NULL;
}

static bool names(const char *word, size_t length, const char *name)
{
    return strlen(name) == length && strncmp(word, name, length) == 0;
}

static const struct ipc_argument *find_option(const struct reading *reading, const char *word,
                                              size_t length)
{
    for (size_t i = 0; i < ipc_argument_count && reading->has_command; i++)
        if (ipc_arguments[i].command == reading->call->command && is_option(&ipc_arguments[i]) &&
            names(word, length, ctl_option_name(ipc_arguments[i].name).text))
            return &ipc_arguments[i];
    return NULL;
}

static enum ctl_exit read_command_option(struct reading *reading, const char *word, size_t length,
                                         const char *equals)
{
    const struct ipc_argument *argument = find_option(reading, word, length);
    if (argument == NULL)
        return wrong(reading, "there is no option %.*s here", (int)length, word);
    if (argument->type == IPC_FLAG)
        return equals == NULL ? set_value(reading, argument, NULL)
                              : wrong(reading, "%.*s takes no value", (int)length, word);
    const char *value = take_value(reading, equals);
    if (value == NULL)
        return wrong(reading, "%s needs %s behind it", word, argument->value);
    return set_value(reading, argument, value);
}

static enum ctl_exit read_option(struct reading *reading, const char *word)
{
    struct ctl_call *call = reading->call;
    const struct global_option globals[] = {{"--state", &call->state, NULL},
                                            {"--socket", &call->socket, NULL},
                                            {"--url", &call->url, NULL},
                                            {"--api-key-file", &call->key_file, NULL},
                                            {"--ca-file", &call->ca_file, NULL},
                                            {"--json", NULL, &call->json},
                                            {"--help", NULL, &reading->help}};
    const char *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    for (size_t i = 0; i < ARRAY_COUNT(globals); i++) {
        if (!names(word, length, globals[i].name))
            continue;
        if (globals[i].place == NULL) {
            *globals[i].flag = true;
            return CTL_GOOD;
        }
        *globals[i].place = take_value(reading, equals);
        return *globals[i].place != NULL ? CTL_GOOD
                                         : wrong(reading, "%s needs a value behind it", word);
    }
    return read_command_option(reading, word, length, equals);
}

/* ---- Words ---- */

static bool is_group(const char *word)
{
    for (size_t i = 0; i < ipc_group_count; i++)
        if (strcmp(ipc_groups[i].name, word) == 0)
            return true;
    return false;
}

static enum ctl_exit read_command_word(struct reading *reading, const char *word)
{
    char name[sizeof(reading->command)];
    (void)snprintf(name, sizeof(name), "%.20s%s%.40s", reading->command,
                   reading->command[0] != '\0' ? " " : "", word);
    reading->has_command = ipc_find_command(name, &reading->call->command);
    if (!reading->has_command && (reading->command[0] != '\0' || !is_group(word)))
        return wrong(reading, "there is no command '%s'", name);
    memcpy(reading->command, name, sizeof(name));
    return CTL_GOOD;
}

static enum ctl_exit read_positional(struct reading *reading, const char *word)
{
    for (size_t i = 0; i < ipc_argument_count; i++)
        if (ipc_arguments[i].command == reading->call->command &&
            is_positional(&ipc_arguments[i]) &&
            json_object_get(reading->call->arguments, ipc_arguments[i].name) == NULL)
            return set_value(reading, &ipc_arguments[i], word);
    return wrong(reading, "'%s' is one argument too many", word);
}

static enum ctl_exit read_word(struct reading *reading, const char *word)
{
    if (!reading->only_positional && strcmp(word, "--") == 0) {
        reading->only_positional = true;
        return CTL_GOOD;
    }
    if (!reading->only_positional && word[0] == '-' && word[1] != '\0')
        return read_option(reading, word);
    return reading->has_command ? read_positional(reading, word) : read_command_word(reading, word);
}

/* Options for files of this machine that a server elsewhere has nothing to do with. */
static enum ctl_exit check_elsewhere(const struct reading *reading)
{
    static const char *const here[] = {"follow", "directory"};
    for (size_t i = 0; i < ARRAY_COUNT(here); i++)
        if (json_object_get(reading->call->arguments, here[i]) != NULL)
            return wrong(reading,
                         "%s is for the files of this machine, and does not go with --url: use it "
                         "on the server's machine",
                         ctl_option_name(here[i]).text);
    return CTL_GOOD;
}

/* Which server is meant must be clear, and the key of one is not for another. */
static enum ctl_exit check_server(const struct reading *reading)
{
    const struct ctl_call *call = reading->call;
    if (call->url == NULL)
        return call->key_file == NULL && call->ca_file == NULL
                   ? CTL_GOOD
                   : wrong(reading, "--api-key-file and --ca-file go with --url");
    if (call->socket != NULL || call->state != NULL)
        return wrong(reading, "--url names another server than --state or --socket");
    if (strncmp(call->url, "https://", 8) != 0)
        return wrong(reading, "--url is https://HOST:PORT");
    return call->key_file != NULL ? check_elsewhere(reading)
                                  : wrong(reading, "--url needs --api-key-file FILE");
}

static enum ctl_exit check_complete(const struct reading *reading)
{
    if (!reading->has_command)
        return wrong(reading, reading->command[0] != '\0' ? "a command is missing behind '%s'"
                                                          : "a command is missing%s",
                     reading->command);
    for (size_t i = 0; i < ipc_argument_count; i++)
        if (ipc_arguments[i].command == reading->call->command &&
            ipc_arguments[i].place == IPC_POSITIONAL &&
            json_object_get(reading->call->arguments, ipc_arguments[i].name) == NULL)
            return wrong(reading, "%s is missing", ipc_arguments[i].value);
    return check_server(reading);
}

static void print_asked_help(const struct reading *reading)
{
    if (reading->has_command)
        ctl_print_command_help(stdout, reading->call->command);
    else if (reading->command[0] != '\0')
        ctl_print_group_help(stdout, reading->command);
    else
        ctl_print_help(stdout);
}

static enum ctl_exit read_all(struct reading *reading, bool *ret_ready)
{
    while (reading->at < reading->count) {
        enum ctl_exit code = read_word(reading, reading->words[reading->at++]);
        if (code != CTL_GOOD)
            return code;
    }
    if (reading->help) {
        print_asked_help(reading);
        return CTL_GOOD;
    }
    enum ctl_exit code = check_complete(reading);
    *ret_ready = code == CTL_GOOD;
    return code;
}

enum ctl_exit ctl_read_arguments(int count, char **words, struct ctl_call *ret_call,
                                 bool *ret_ready)
{
    *ret_ready = false;
    *ret_call = (struct ctl_call){.arguments = json_object()};
    struct reading reading = {.words = words, .count = count, .at = 1, .call = ret_call};
    if (count == 2 && strcmp(words[1], "--version") == 0) {
        puts("kmipctl " KMIPD_VERSION);
        json_decref(ret_call->arguments);
        return CTL_GOOD;
    }
    enum ctl_exit code = read_all(&reading, ret_ready);
    if (!*ret_ready)
        json_decref(ret_call->arguments);
    return code;
}

const char *ctl_text(const struct ctl_call *call, const char *name)
{
    return json_string_value(json_object_get(call->arguments, name));
}

long long ctl_number(const struct ctl_call *call, const char *name, long long otherwise)
{
    const json_t *value = json_object_get(call->arguments, name);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool ctl_flag(const struct ctl_call *call, const char *name)
{
    return json_is_true(json_object_get(call->arguments, name));
}
