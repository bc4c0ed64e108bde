/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The administrator's way in: one thread that answers the commands of def/control.def on the
 * control socket, one after another. Only root and the daemon's own user are answered. A command
 * that changes something has its audit record on stable storage before its answer.
 */
#ifndef KMIPD_DAEMON_CONTROL_H
#define KMIPD_DAEMON_CONTROL_H

#include <jansson.h>

#include "daemon/daemon.h"

/* Listens at the state's control.sock. Whoever connects waits until control_start(). */
enum status control_open(struct daemon *daemon, struct control **ret_control, struct error *error)
    MUST_USE;

/* Starts the thread: the rest of the daemon must be there. */
enum status control_start(struct control *control, struct error *error) MUST_USE;

/* Ends the thread after the command it is at. NULL is fine. */
void control_stop(struct control *control);

/* ---- For control_*.c: one command at work ---- */

struct control_call {
    struct daemon *daemon;
    struct store_session *session; /* the control thread's */
    const json_t *arguments;       /* checked against the table */
    json_t *result;                /* an empty object to be filled */
    struct error *error;           /* what is wrong and what to do */
    char adapter[STORE_NAME_MAX + 1]; /* for the audit record: set as soon as known */
    char subject[STORE_NAME_MAX + 1]; /* what was acted on */
    char detail[256];
};

/* The handler of each command that goes over the socket. */
typedef enum status control_handler(struct control_call *call);
#define CONTROL_DECLARE_READS(function)   control_handler function;
#define CONTROL_DECLARE_CHANGES(function) control_handler function;
#define CONTROL_DECLARE_LOCAL(function)
#define COMMAND(group, name, effect, text) CONTROL_DECLARE_##effect(control_##group##_##name)
#include "control.def"

/* Texts and numbers of arguments; NULL and `otherwise` where one was not given. */
const char *control_text(const struct control_call *call, const char *name);
int64_t control_number(const struct control_call *call, const char *name, int64_t otherwise);

/* Puts a member into the result, or into any object. A failure to allocate shows as a member that
 * is missing, which control_finished() finds. */
void control_put_text(json_t *object, const char *name, const char *text);
void control_put_number(json_t *object, const char *name, int64_t number);
/* Milliseconds since 1970 as "2026-01-02T03:04:05Z". */
void control_put_time(json_t *object, const char *name, int64_t milliseconds);
void control_put_fingerprint(json_t *object, const char *name, const uint8_t *fingerprint,
                             size_t size);

/*
 * The adapter that the argument `name` names, "default" where it is not given; notes it for the
 * audit record. NOT_FOUND with a text.
 */
enum status control_find_adapter(struct control_call *call, const char *name,
                                 struct adapter_row *ret_row) MUST_USE;

#endif
