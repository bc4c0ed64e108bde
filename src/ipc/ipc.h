/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: a stream socket of the local machine that carries JSON (RFC 8259) objects,
 * each behind its length in four bytes, most significant first. Requests and answers alternate:
 *
 *   {"command": "cert add", "arguments": {"certificate": "-----BEGIN...", "adapter": "default"}}
 *   {"ok": true, "result": {...}}
 *   {"ok": false, "status": "EXISTS", "text": "..."}
 *
 * Who is on the other side is known from the kernel (SO_PEERCRED), not from what it says. No key
 * material goes through it in either direction.
 */
#ifndef KMIPD_IPC_IPC_H
#define KMIPD_IPC_IPC_H

#include <jansson.h>
#include <sys/types.h>

#include "base/error.h"

#define IPC_MESSAGE_MAX (4u << 20) /* bytes of one JSON text */

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

/* Sends one message within `milliseconds`. TOO_LARGE, TIMED_OUT, CLOSED, IO, NO_MEMORY. */
enum status ipc_send(int socket, const json_t *message, int milliseconds) MUST_USE;

/*
 * Receives one message, an object; the caller gives it back with json_decref(). CLOSED: the other
 * side ended between two messages. TOO_LARGE, MALFORMED, TIMED_OUT, IO, NO_MEMORY.
 */
enum status ipc_receive(int socket, int milliseconds, json_t **ret_message) MUST_USE;

#endif
