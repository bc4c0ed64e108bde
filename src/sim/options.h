/* SPDX-License-Identifier: Apache-2.0 */
/* vsphere-sim's command line. */
#ifndef KMIPD_SIM_OPTIONS_H
#define KMIPD_SIM_OPTIONS_H

#include <limits.h>
#include <stdio.h>

#include "client/client.h"

enum {
    SIM_SCENARIOS_MAX = 32, /* on one command line */
    SIM_HOSTS_MAX = 1024,
    SIM_VM_NAME_MAX = 48,
};

struct sim_options {
    const char *servers[CLIENT_SERVERS_MAX];
    size_t server_count;
    const char *cert;
    const char *key;
    const char *ca; /* NULL: servers are trusted by what `trust` has stored alone */
    const char *state;
    const char *dir;
    const char *vm;
    const char *user;
    const char *password_file;
    const char *kmipctl; /* NULL: the one beside this program, or in PATH */
    const char *adapter; /* NULL: kmipctl's default */
    long hosts;
    long disk_size; /* MiB */
    long timeout;   /* seconds */
    bool tls12;
    bool json;
    bool help;
    bool version;
    const char *scenarios[SIM_SCENARIOS_MAX];
    size_t scenario_count;
    char paths[3][PATH_MAX]; /* those that come of --state */
};

/*
 * Reads the command line and adds what is not given: the server, and the files of --state. The
 * options borrow `words`. INVALID_ARGUMENT with a text that says what to do.
 */
enum status sim_options_parse(struct sim_options *options, int count, char **words,
                              struct error *error) MUST_USE;

void sim_options_help(FILE *file);

#endif
