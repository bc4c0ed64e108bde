/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/options.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/file.h"
#include "sim/scenarios.h"

enum kind { TEXT, NUMBER, FLAG, SERVER };

struct option {
    const char *name;
    enum kind kind;
    size_t offset; /* of the member; SERVER has none */
    long minimum;
    long maximum;
    const char *value; /* what stands for the value in the help */
    const char *text;
};

#define OPTION(kind, name, member, minimum, maximum, value, text)                                  \
    {                                                                                              \
        name, kind, offsetof(struct sim_options, member), minimum, maximum, value, text            \
    }

static const struct option table[] = {
    OPTION(SERVER, "server", servers, 0, 0, "HOST:PORT",
           "a server of the key provider; several, in the order in which they are\n"
           "tried (default: 127.0.0.1:5696)"),
    OPTION(TEXT, "state", state, 0, 0, "DIR",
           "the state directory of a kmipd on this machine: takes --cert, --key and\n"
           "--ca from it, and lets kmipctl find it (default: ./state if it is there)"),
    OPTION(TEXT, "cert", cert, 0, 0, "FILE", "the client certificate in PEM"),
    OPTION(TEXT, "key", key, 0, 0, "FILE", "its private key in PEM, mode 0600"),
    OPTION(TEXT, "ca", ca, 0, 0, "FILE",
           "what the server's certificate must be signed by, in PEM; without it, it\n"
           "is believed when `trust` sees it first, as in vCenter, and pinned"),
    OPTION(TEXT, "dir", dir, 0, 0, "DIR",
           "the datastore: configurations and disk images (default: vsphere-sim.d)"),
    OPTION(TEXT, "vm", vm, 0, 0, "NAME", "the virtual machine (default: test01)"),
    OPTION(NUMBER, "disk-size", disk_size, 1, 65536, "MIB", "the size of its disk (default: 4)"),
    OPTION(NUMBER, "hosts", hosts, 1, SIM_HOSTS_MAX, "N",
           "ESXi hosts in the vSAN cluster (default: 64)"),
    OPTION(TEXT, "user", user, 0, 0, "NAME", "user name of the key provider, if it has one"),
    OPTION(TEXT, "password-file", password_file, 0, 0, "FILE",
           "the password that goes with it, in the first line, mode 0600"),
    OPTION(TEXT, "kmipctl", kmipctl, 0, 0, "FILE",
           "kmipctl (default: the one beside this program, else in PATH)"),
    OPTION(TEXT, "adapter", adapter, 0, 0, "NAME",
           "the adapter that kmipctl is to look in (default: its own default)"),
    OPTION(NUMBER, "timeout", timeout, 1, 600, "SECONDS",
           "to wait for a connection, or for an answer (default: 10)"),
    OPTION(FLAG, "tls12", tls12, 0, 0, "", "speak TLS 1.2, as vCenter 7 does"),
    OPTION(FLAG, "json", json, 0, 0, "", "print the result as JSON"),
    OPTION(FLAG, "help", help, 0, 0, "", "explain"),
    OPTION(FLAG, "version", version, 0, 0, "", "print the version"),
};

/* ---- Reading ---- */

static enum status take_number(const struct option *option, const char *text, long *ret_number,
                               struct error *error)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number < option->minimum || number > option->maximum)
        return error_set(error, STATUS_INVALID_ARGUMENT, "--%s takes a number from %ld to %ld",
                         option->name, option->minimum, option->maximum);
    *ret_number = number;
    return STATUS_OK;
}

static enum status add_server(struct sim_options *options, const char *text, struct error *error)
{
    if (options->server_count == CLIENT_SERVERS_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "at most %d servers", CLIENT_SERVERS_MAX);
    options->servers[options->server_count++] = text;
    return STATUS_OK;
}

static enum status take(struct sim_options *options, const struct option *option, const char *value,
                        struct error *error)
{
    void *member = (char *)options + option->offset;
    switch (option->kind) {
    case TEXT:
        *(const char **)member = value;
        return STATUS_OK;
    case NUMBER:
        return take_number(option, value, member, error);
    case SERVER:
        return add_server(options, value, error);
    case FLAG:
        break;
    }
    *(bool *)member = true;
    return STATUS_OK;
}

static const struct option *find(const char *word, size_t length)
{
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (strlen(table[i].name) == length && strncmp(table[i].name, word, length) == 0)
            return &table[i];
    return NULL;
}

/* One option, with its value in the same word or the next one. Returns how many words it took. */
static int take_option(struct sim_options *options, char **words, int left, enum status *ret_status,
                       struct error *error)
{
    const char *name = words[0] + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct option *option = find(name, length);
    const char *value = equals != NULL ? equals + 1 : left > 1 ? words[1] : NULL;
    if (option == NULL) {
        *ret_status = error_set(error, STATUS_INVALID_ARGUMENT,
                                "there is no option %s: see vsphere-sim --help", words[0]);
    } else if (option->kind == FLAG) {
        *ret_status = equals == NULL ? take(options, option, NULL, error)
                                     : error_set(error, STATUS_INVALID_ARGUMENT,
                                                 "--%s takes no value", option->name);
        return 1;
    } else if (value == NULL) {
        *ret_status = error_set(error, STATUS_INVALID_ARGUMENT, "--%s needs a value: --%s %s",
                                option->name, option->name, option->value);
    } else {
        *ret_status = take(options, option, value, error);
    }
    return equals != NULL ? 1 : 2;
}

static enum status take_scenario(struct sim_options *options, const char *word, struct error *error)
{
    if (sim_scenario_find(word) == NULL && strcmp(word, "all") != 0)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "there is no scenario '%.40s': see vsphere-sim --help", word);
    if (options->scenario_count == SIM_SCENARIOS_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "at most %d scenarios at once",
                         SIM_SCENARIOS_MAX);
    options->scenarios[options->scenario_count++] = word;
    return STATUS_OK;
}

/* ---- What is not given ---- */

static enum status take_from_state(struct sim_options *options, const char **member,
                                   const char *name, char path[static PATH_MAX],
                                   struct error *error)
{
    if (*member != NULL)
        return STATUS_OK;
    if (snprintf(path, PATH_MAX, "%s/%s", options->state, name) >= PATH_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "the path in --state is too long");
    *member = path;
    return STATUS_OK;
}

static enum status complete(struct sim_options *options, struct error *error)
{
    enum status status = STATUS_OK;
    if (options->server_count == 0)
        options->servers[options->server_count++] = "127.0.0.1:5696";
    if (options->state == NULL && options->cert == NULL && file_exists("state/clients/default.pem"))
        options->state = "state";
    if (options->state != NULL) {
        status = take_from_state(options, &options->cert, "clients/default.pem", options->paths[0],
                                 error);
        if (status == STATUS_OK)
            status = take_from_state(options, &options->key, "clients/default.key",
                                     options->paths[1], error);
        if (status == STATUS_OK)
            status = take_from_state(options, &options->ca, "ca.pem", options->paths[2], error);
    }
    if (status != STATUS_OK)
        return status;
    if (options->cert == NULL || options->key == NULL)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "who is vCenter? Give --state DIR (the state directory of a kmipd on this "
                         "machine), or --cert and --key");
    return STATUS_OK;
}

static enum status check(const struct sim_options *options, struct error *error)
{
    if (options->scenario_count == 0)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "what is to be done? `vsphere-sim all`, or one of the scenarios that "
                         "vsphere-sim --help lists");
    if ((options->user == NULL) != (options->password_file == NULL))
        return error_set(error, STATUS_INVALID_ARGUMENT, "--user and --password-file go together");
    size_t length = strlen(options->vm);
    size_t good = strspn(options->vm, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789-_.");
    if (length == 0 || length > SIM_VM_NAME_MAX || good != length || options->vm[0] == '.')
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "--vm takes letters, digits, '-', '_' and '.', at most %d of them",
                         SIM_VM_NAME_MAX);
    return STATUS_OK;
}

enum status sim_options_parse(struct sim_options *options, int count, char **words,
                              struct error *error)
{
    enum status status = STATUS_OK;
    *options = (struct sim_options){
        .dir = "vsphere-sim.d", .vm = "test01", .hosts = 64, .disk_size = 4, .timeout = 10};
    for (int i = 1; i < count && status == STATUS_OK;) {
        if (strncmp(words[i], "--", 2) == 0)
            i += take_option(options, words + i, count - i, &status, error);
        else
            status = take_scenario(options, words[i++], error);
    }
    if (status != STATUS_OK || options->help || options->version)
        return status;
    status = check(options, error);
    return status == STATUS_OK ? complete(options, error) : status;
}

/* ---- Help ---- */

#define OPTION_WIDTH 24

/* A text of several lines, the later ones under the first. */
static void print_lines(FILE *file, const char *text)
{
    for (; *text != '\0'; text++) {
        fputc(*text, file);
        if (*text == '\n')
            fprintf(file, "%*s", OPTION_WIDTH + 2, "");
    }
    fputc('\n', file);
}

void sim_options_help(FILE *file)
{
    fputs("Usage: vsphere-sim [OPTION]... SCENARIO...\n"
          "\n"
          "Does to a KMIP server what vCenter and ESXi do, with their requests, and encrypts\n"
          "disk images with the keys. Ends with 0 only if every step did what it should.\n"
          "\n"
          "Scenarios, in the order in which `all` runs them:\n",
          file);
    for (size_t i = 0; i < sim_scenario_count; i++)
        fprintf(file, "  %-*s%s\n", OPTION_WIDTH, sim_scenarios[i].name, sim_scenarios[i].text);
    fprintf(file, "  %-*s%s\n\nOptions:\n", OPTION_WIDTH, "all", "All of them");
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        char left[OPTION_WIDTH + 16];
        (void)snprintf(left, sizeof(left), "--%s %s", table[i].name, table[i].value);
        fprintf(file, "  %-*s", OPTION_WIDTH, left);
        print_lines(file, table[i].text);
    }
    fputs("\nSee vsphere-sim(1).\n", file);
}
