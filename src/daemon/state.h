/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: its files, and the lock that keeps a second daemon out. One thread. */
#ifndef KMIPD_DAEMON_STATE_H
#define KMIPD_DAEMON_STATE_H

#include <limits.h>
#include <stdbool.h>

#include "base/error.h"

/* The layout that this program makes and knows; the file `version` holds its number. */
#define STATE_LAYOUT 2

/* STATE_FILE(CODE, "path in the directory"). The first start makes `version` last of all. */
#define STATE_FILES                                       \
    STATE_FILE(LOCK, "lock")                              \
    STATE_FILE(VERSION, "version")                        \
    STATE_FILE(CA_CERTIFICATE, "ca.pem")                  \
    STATE_FILE(CA_KEY, "ca.key")                          \
    STATE_FILE(SERVER_CERTIFICATE, "server.pem")          \
    STATE_FILE(SERVER_KEY, "server.key")                  \
    STATE_FILE(KEYHOLDER, "keyholder")                    \
    STATE_FILE(ROOT_KEYS, "keyholder/root-keys.sealed")   \
    STATE_FILE(SEALING_KEY, "keyholder/root-keys.key")    \
    STATE_FILE(TPM_SEALING, "keyholder/root-keys.tpm")    \
    STATE_FILE(STORE, "store.db")                         \
    STATE_FILE(KEYS, "keys.db")                           \
    STATE_FILE(TOKEN_KEY, "token.key")                    \
    STATE_FILE(AUDIT, "audit")                            \
    STATE_FILE(CLIENTS, "clients")                        \
    STATE_FILE(CLIENT_CERTIFICATE, "clients/default.pem") \
    STATE_FILE(CLIENT_KEY, "clients/default.key")         \
    STATE_FILE(CONTROL, "control.sock")

enum state_file {
#define STATE_FILE(code, path) STATE_##code,
    STATE_FILES
#undef STATE_FILE
    STATE_FILE_COUNT
};

struct state {
    char directory[PATH_MAX]; /* absolute */
    char paths[STATE_FILE_COUNT][PATH_MAX];
    int lock;      /* descriptor of the lock; -1: not held */
    bool complete; /* the first start came to its end */
};

struct state_options {
    const char *keyholder_user; /* whose the keyholder's directory is to be; "": this process's */
    const char *sealing_file;   /* configured, and not to be moved; "": none */
};

/*
 * Makes the directory where it is missing (not those above it), checks that it is the user's alone,
 * and locks it. Makes the keyholder's directory in it, and moves there what a former layout had
 * elsewhere; a crash meanwhile leaves what the next start goes on with. Each failure has a text that says what to do: no permission, read-only, full,
 * another kmipd has it, made by a newer version, of a first start whose files are gone. End:
 * state_close().
 */
enum status state_open(const char *directory, const struct state_options *options,
                       struct state *ret_state, struct error *error) MUST_USE;

/* Notes durably that the first start came to its end. */
enum status state_set_complete(struct state *state, struct error *error) MUST_USE;

/* Lets another daemon in. */
void state_close(struct state *state);

static inline const char *state_path(const struct state *state, enum state_file file)
{
    return state->paths[file];
}

#endif
