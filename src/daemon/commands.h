/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of def/control.def as they are carried out, one handler each in control_*.c. They are
 * called by the API (src/api/), which has checked the arguments and who asks, and which writes the
 * audit record; several at a time.
 */
#ifndef KMIPD_DAEMON_COMMANDS_H
#define KMIPD_DAEMON_COMMANDS_H

#include <jansson.h>

#include "api/open.h"
#include "daemon/daemon.h"

/* The `run` of struct api_commands; its context is the daemon. */
enum status commands_run(void *context, struct api_command *command);

struct control_call {
    struct daemon *daemon;
    struct store_session *session; /* of the calling thread */
    const char *actor;             /* "iam-ServiceId-<uuid>", "local-0" */
    int64_t now;
    const json_t *arguments;       /* checked against the table */
    json_t *result;                /* an empty object to be filled */
    struct error *error;           /* what is wrong and what to do */
    char adapter[STORE_NAME_MAX + 1]; /* for the audit record: set as soon as known */
    char subject[STORE_NAME_MAX + 1]; /* what was acted on */
    char detail[256];
};

/* The handler of each command. */
typedef enum status control_handler(struct control_call *call);
#define COMMAND(group, name, words, effect, role, text) control_handler control_##group##_##name;
#include "control.def"

/* Texts and numbers of arguments; NULL and `otherwise` where one was not given. */
const char *control_text(const struct control_call *call, const char *name);
int64_t control_number(const struct control_call *call, const char *name, int64_t otherwise);

/* Puts a member into the result, or into any object. A failure to allocate shows as a member that
 * is missing, which control_finished() finds. */
void control_put_text(json_t *object, const char *name, const char *text);
void control_put_number(json_t *object, const char *name, int64_t number);
void control_put_uuid(json_t *object, const char *name, const struct uuid *uuid);
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
