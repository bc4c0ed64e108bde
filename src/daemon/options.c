/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/options.h"

#include <getopt.h>

static const struct option long_options[] = {
    {"listen", required_argument, NULL, 'l'},
    {"admin", required_argument, NULL, 'a'},
    {"state", required_argument, NULL, 's'},
    {"config", required_argument, NULL, 'c'},
    {"check-config", no_argument, NULL, 'k'},
    {"print-config", no_argument, NULL, 'p'},
    {"print-man-config", no_argument, NULL, 'm'},
    {"reseal", required_argument, NULL, 'r'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "Usage: kmipd [OPTION]...\n"
    "\n"
    "A KMIP key management server for VMware vSphere, vSAN and other KMIP clients.\n"
    "\n"
    "  --listen ADDRESS:PORT   serve here (default 127.0.0.1:5696)\n"
    "  --admin ADDRESS:PORT    serve the administration API here, over HTTPS (default\n"
    "                          127.0.0.1:8443); 'off' serves it to kmipctl on this machine alone\n"
    "  --state DIRECTORY       keep everything here; made on the first start (default ./state)\n"
    "  --config FILE           read this configuration, see kmipd.conf(5)\n"
    "  --check-config          name the mistakes in the configuration, and end\n"
    "  --print-config          print the configuration with all its keys explained, and end\n"
    "  --print-man-config      print the manual page kmipd.conf(5), and end\n"
    "  --reseal FILE           seal the root keys anew as the configuration FILE says, and end\n"
    "  --help, --version\n"
    "\n"
    "SIGTERM ends it when requests in flight are answered; SIGHUP reloads the configuration and\n"
    "the server certificate. Clients, adapters and keys are managed with kmipctl(8).\n";

static bool take_option(struct options *options, int option)
{
    switch (option) {
    case 'l':
        options->listen = optarg;
        return true;
    case 'a':
        options->admin = optarg;
        return true;
    case 's':
        options->state = optarg;
        return true;
    case 'c':
        options->config_path = optarg;
        return true;
    case 'r':
        options->reseal_path = optarg;
        options->task = TASK_RESEAL;
        return true;
    case 'k':
        options->task = TASK_CHECK_CONFIG;
        return true;
    case 'p':
        options->task = TASK_PRINT_CONFIG;
        return true;
    case 'm':
        options->task = TASK_PRINT_MANUAL;
        return true;
    case 'h':
        options->task = TASK_HELP;
        return true;
    case 'v':
        options->task = TASK_VERSION;
        return true;
    default:
        return false;
    }
}

enum exit_code options_parse(struct options *options, int count, char **arguments)
{
    *options = (struct options){0};
    int option;
    while ((option = getopt_long(count, arguments, "", long_options, NULL)) != -1) {
        if (!take_option(options, option)) {
            fputs("Try 'kmipd --help'.\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind == count)
        return EXIT_GOOD;
    fprintf(stderr, "kmipd: there is no argument '%s'\nTry 'kmipd --help'.\n", arguments[optind]);
    return EXIT_USAGE;
}

/* A key from the command line: its mistakes name the option. */
static bool set_from_option(struct config *config, enum config_key key, const char *option,
                            const char *value, config_report *report, void *context)
{
    struct error error = {0};
    if (value == NULL || config_set(config, key, bytes_of_text(value), &error) == STATUS_OK)
        return true;
    char mistake[700];
    (void)snprintf(mistake, sizeof(mistake), "%s: %s", option, error_text(&error));
    report(context, mistake);
    return false;
}

enum exit_code options_read_config(const struct options *options, struct config *ret_config,
                                   config_report *report, void *context)
{
    config_init(ret_config);
    if (options->config_path != NULL &&
        config_read(ret_config, options->config_path, report, context) != STATUS_OK)
        return EXIT_CONFIG;
    if (!set_from_option(ret_config, CONFIG_KEY_network_listen, "--listen", options->listen, report,
                         context) ||
        !set_from_option(ret_config, CONFIG_KEY_server_state, "--state", options->state, report,
                         context))
        return EXIT_CONFIG;
    bool off = options->admin != NULL && strcmp(options->admin, "off") == 0;
    if (off)
        ret_config->admin_enabled = false;
    else if (!set_from_option(ret_config, CONFIG_KEY_admin_listen, "--admin", options->admin,
                              report, context))
        return EXIT_CONFIG;
    else if (options->admin != NULL)
        ret_config->admin_enabled = true;
    struct error error = {0};
    if (config_check(ret_config, &error) == STATUS_OK)
        return EXIT_GOOD;
    char mistake[1500];
    (void)snprintf(mistake, sizeof(mistake), "%.900s%s%s",
                   options->config_path != NULL ? options->config_path : "",
                   options->config_path != NULL ? ": " : "", error_text(&error));
    report(context, mistake);
    return EXIT_CONFIG;
}

static void report_on_stderr(void *context, const char *mistake)
{
    (void)context;
    fprintf(stderr, "%s\n", mistake);
}

static enum exit_code written(bool well)
{
    if (well)
        return EXIT_GOOD;
    perror("kmipd: cannot write to standard output");
    return EXIT_FAILED;
}

enum exit_code options_do_task(const struct options *options)
{
    struct config config;
    switch (options->task) {
    case TASK_HELP:
        return written(fputs(help, stdout) >= 0 && fflush(stdout) == 0);
    case TASK_VERSION:
        return written(puts("kmipd " KMIPD_VERSION) >= 0 && fflush(stdout) == 0);
    case TASK_PRINT_MANUAL:
        return written(config_print_manual(stdout));
    case TASK_CHECK_CONFIG:
    case TASK_PRINT_CONFIG:
    case TASK_SERVE:
    case TASK_RESEAL:
        break;
    }
    enum exit_code code = options_read_config(options, &config, report_on_stderr, NULL);
    if (code != EXIT_GOOD)
        return code;
    if (options->task == TASK_PRINT_CONFIG)
        return written(config_print(&config, stdout));
    return written(puts("The configuration is good.") >= 0 && fflush(stdout) == 0);
}
