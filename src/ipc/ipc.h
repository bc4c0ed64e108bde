/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: a stream socket of the local machine that carries requests of the
 * administration API (src/api/api.h) and their answers, in turn. Each is a JSON (RFC 8259) object
 * behind its length in four bytes, most significant first:
 *
 *   {"method": "POST", "path": "/api/v2/kmipd/adapter/show", "body": "{\"name\":\"default\"}",
 *    "headers": {"prefer": "return=representation"}}
 *   {"status": 200, "body": "{\"name\":\"default\",...}", "headers": {"correlation-id": "..."}}
 *
 * "path" may have a query behind '?'; "body" and "headers" may be left out. The headers Authorization
 * and Bluemix-Instance are not needed: who is on the other side is known from the kernel
 * (SO_PEERCRED), not from what it says.
 */
#ifndef KMIPD_IPC_IPC_H
#define KMIPD_IPC_IPC_H

#include <jansson.h>
#include <sys/types.h>

#include "base/error.h"

#define IPC_MESSAGE_MAX (24u << 20) /* bytes of one JSON text: an answer of 16 MiB, quoted */

/*
 * Listens at `path`, readable and writable for the owner alone; what stood there before is removed,
 * so the caller must hold the lock of the directory. The path may be longer than sockaddr_un has
 * room for.
 */
enum status ipc_listen(const char *path, int *ret_socket, struct error *error) MUST_USE;

/* NOT_FOUND: no such socket, or nobody listens: the server does not run. PERMISSION_DENIED. */
enum status ipc_connect(const char *path, int *ret_socket, struct error *error) MUST_USE;

struct ipc_peer {
    uid_t uid;
    pid_t pid;
};

/* Who connected. */
enum status ipc_peer(int socket, struct ipc_peer *ret_peer) MUST_USE;

/* From now on memory of JSON is wiped when it is freed: bodies may carry key material. Once, before
 * the process makes its first JSON value. */
void ipc_wipe_json(void);

/* Sends one message within `milliseconds`. TOO_LARGE, TIMED_OUT, CLOSED, IO, NO_MEMORY. */
enum status ipc_send(int socket, const json_t *message, int milliseconds) MUST_USE;

/*
 * Receives one message, an object; the caller gives it back with json_decref(). CLOSED: the other
 * side ended between two messages. TOO_LARGE, MALFORMED, TIMED_OUT, IO, NO_MEMORY.
 */
enum status ipc_receive(int socket, int milliseconds, json_t **ret_message) MUST_USE;

#endif
