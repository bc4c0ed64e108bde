/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl: its parts, and what they share. */
#ifndef KMIPD_CTL_CTL_H
#define KMIPD_CTL_CTL_H

#include "ctl/arguments.h"
#include "ctl/server.h"

/* kmipctl's main(). Returns an enum ctl_exit. */
int ctl_main(int count, char **words);

/* "kmipctl: ..." on standard error; returns the exit code that fits the status. */
enum ctl_exit ctl_fail(enum status status, const char *text);

/* The state directory or a path in it, as the options say. False if it is too long. */
bool ctl_state_path(const struct ctl_call *call, const char *name, char *ret_path, size_t size)
    MUST_USE;

/* Makes the secret heap, at the first call. */
enum status ctl_secret_heap(struct error *error) MUST_USE;

/* ---- Talking to the server (ctl.c) ---- */

/*
 * Sends a command and waits for its result, which the caller gives back with json_decref().
 * Failures of the command have the server's text.
 */
enum status ctl_request(struct ctl_server *server, enum ipc_command_code command,
                        const json_t *arguments, json_t **ret_result, struct error *error) MUST_USE;

/* ---- Before a command is sent (prepare.c) ---- */

/*
 * Reads files, makes keys, asks passwords and confirmations: adds to call->arguments what the
 * server is to be sent.
 */
enum status ctl_prepare(struct ctl_call *call, struct ctl_server *server, struct error *error)
    MUST_USE;

/* The path of a file that `cert issue` writes: the name, with ".key" or ".pem". */
enum status ctl_issue_path(const struct ctl_call *call, const char *suffix, char *ret_path,
                           size_t size, struct error *error) MUST_USE;

/* ---- After it (present.c) ---- */

/* Writes files that come of a result, and prints it for people. */
enum status ctl_present(const struct ctl_call *call, struct ctl_server *server,
                        const json_t *result, struct error *error) MUST_USE;

/* Shows how far the rewrapping of adapters is until it is done (progress.c). */
enum status ctl_watch(struct ctl_server *server, const json_t *adapters, struct error *error)
    MUST_USE;

/* ---- The audit log (audit_log.c) ---- */

/* Of this machine: no server need run. */
enum ctl_exit ctl_audit_tail(const struct ctl_call *call);
enum ctl_exit ctl_audit_verify(const struct ctl_call *call);

/* What a server elsewhere answered to either. AUDIT_BROKEN when it says so. */
enum status ctl_present_audit(const struct ctl_call *call, const json_t *result,
                              struct error *error) MUST_USE;

#endif
