/* SPDX-License-Identifier: Apache-2.0 */
/* kmipd's command line, and the configuration that comes of it and of the file it names. */
#ifndef KMIPD_DAEMON_OPTIONS_H
#define KMIPD_DAEMON_OPTIONS_H

#include "daemon/config.h"

/* What kmipd ends with; kmipd(8) lists them. */
enum exit_code {
    EXIT_GOOD = 0,
    EXIT_FAILED = 1,  /* could not start, or could not go on */
    EXIT_USAGE = 2,   /* the command line is wrong */
    EXIT_CONFIG = 3,  /* the configuration is wrong */
};

enum options_task {
    TASK_SERVE,
    TASK_CHECK_CONFIG,
    TASK_PRINT_CONFIG,
    TASK_PRINT_MANUAL,
    TASK_RESEAL,
    TASK_HELP,
    TASK_VERSION,
};

struct options {
    enum options_task task;
    const char *config_path; /* NULL: none */
    const char *listen;
    const char *admin;      /* NULL: not on the command line */
    const char *state;
    const char *reseal_path; /* of TASK_RESEAL */
};

/* Reads the command line; says what is wrong on standard error. EXIT_GOOD or EXIT_USAGE. */
enum exit_code options_parse(struct options *options, int count, char **arguments);

/*
 * Defaults, then the file, then the command line. Every mistake is reported to `report`.
 * EXIT_GOOD or EXIT_CONFIG.
 */
enum exit_code options_read_config(const struct options *options, struct config *ret_config,
                                   config_report *report, void *context);

/* Does a task that is neither TASK_SERVE nor TASK_RESEAL, on standard output. */
enum exit_code options_do_task(const struct options *options);

#endif
