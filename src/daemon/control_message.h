/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of the control socket (ipc/ipc.h) as requests of the administration API. */
#ifndef KMIPD_DAEMON_CONTROL_MESSAGE_H
#define KMIPD_DAEMON_CONTROL_MESSAGE_H

#include <jansson.h>

#include "api/api.h"

/*
 * Has the API carry out what a message asks for, and makes the message with the answer, which the
 * caller gives back with json_decref(). `who` is "uid=0 user=root", from the kernel. MALFORMED: it
 * is no request. Blocks as api_handle() does; any thread.
 */
enum status control_answer(struct api *api, const char *who, const json_t *message,
                           json_t **ret_answer) MUST_USE;

#endif
