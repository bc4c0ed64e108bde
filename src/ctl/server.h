/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a server: its control socket, or HTTPS with an API key. Both carry the same requests
 * of the administration API, so that whatever one can do the other can.
 */
#ifndef KMIPD_CTL_SERVER_H
#define KMIPD_CTL_SERVER_H

#include <jansson.h>

#include "ctl/arguments.h"

struct ctl_server;

/*
 * Finds the server that the options name, and makes sure that it answers (and that it takes the API
 * key: its token is kept until ctl_server_close()). NOT_FOUND, PERMISSION_DENIED and others with a
 * text.
 */
enum status ctl_server_open(const struct ctl_call *call, struct ctl_server **ret_server,
                            struct error *error) MUST_USE;
void ctl_server_close(struct ctl_server *server); /* NULL is fine */

/*
 * Posts `body` to `path`. STATUS_OK: there is an answer, its HTTP status in *ret_code and its JSON,
 * to be given back with json_decref(), in *ret_body (NULL where it is none). Otherwise it is not
 * known whether the request was carried out, and the text says so.
 */
enum status ctl_server_post(struct ctl_server *server, const char *path, const json_t *body,
                            int milliseconds, unsigned *ret_code, json_t **ret_body,
                            struct error *error) MUST_USE;

/* ---- For server_*.c ---- */

struct ctl_server_kind {
    enum status (*open)(const struct ctl_call *call, struct ctl_server **ret_server,
                        struct error *error);
    enum status (*post)(struct ctl_server *server, const char *path, const char *body,
                        int milliseconds, unsigned *ret_code, json_t **ret_body,
                        struct error *error);
    void (*close)(struct ctl_server *server);
};

/* The first member of what each kind's `open` makes. */
struct ctl_server {
    const struct ctl_server_kind *kind;
};

extern const struct ctl_server_kind ctl_server_socket;
extern const struct ctl_server_kind ctl_server_https;

#endif
