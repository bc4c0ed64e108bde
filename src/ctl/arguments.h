/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl's command line, read by the table of commands. */
#ifndef KMIPD_CTL_ARGUMENTS_H
#define KMIPD_CTL_ARGUMENTS_H

#include <stdio.h>

#include "ipc/commands.h"

/* What kmipctl ends with; kmipctl(8) lists them. */
enum ctl_exit {
    CTL_GOOD = 0,
    CTL_FAILED = 1,      /* the command was refused or failed */
    CTL_USAGE = 2,       /* the command line is wrong */
    CTL_UNREACHABLE = 3, /* no server answers, or it is not yours */
    CTL_BROKEN = 4,      /* audit verify found a broken record */
};

#define CTL_PATH_MAX 4096

/* A command line that was read. Texts are of argv. */
struct ctl_call {
    enum ipc_command_code command;
    json_t *arguments; /* all that were given, by name; local ones too */
    const char *state; /* --state; NULL: not given */
    const char *socket;
    const char *url;     /* --url; NULL: the control socket */
    const char *key_file; /* --api-key-file */
    const char *ca_file;  /* --ca-file; NULL: the system's authorities */
    bool json;
    char made_file[CTL_PATH_MAX]; /* a private key written for this call; empty: none */
};

/*
 * Reads the command line. CTL_GOOD with *ret_ready: the call is complete (end: json_decref of its
 * arguments). CTL_GOOD without: help or the version was printed. CTL_USAGE: what is wrong was said
 * on standard error.
 */
enum ctl_exit ctl_read_arguments(int count, char **words, struct ctl_call *ret_call,
                                 bool *ret_ready);

/* "--new-name" of "new_name": as people write it. */
struct ctl_option_name {
    char text[48];
};
struct ctl_option_name ctl_option_name(const char *name);

/* Help for everything, a group, or a command. */
void ctl_print_help(FILE *file);
void ctl_print_group_help(FILE *file, const char *group);
void ctl_print_command_help(FILE *file, enum ipc_command_code command);

/* The text of an argument; NULL where it was not given. */
const char *ctl_text(const struct ctl_call *call, const char *name);
/* The number of an argument, or `otherwise`. */
long long ctl_number(const struct ctl_call *call, const char *name, long long otherwise);
bool ctl_flag(const struct ctl_call *call, const char *name);

#endif
