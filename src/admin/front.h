/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin process from kmipd's side: started, kept running, and its requests given to the API. It
 * speaks TLS and HTTP for us and knows nothing else; docs/root-keys.md, docs/threat-model.md.
 *
 * kmipd itself listens and hands the socket over, so that clients wait, and are not refused, while
 * the process is started again: at once when it ends, then after 100 ms, later up to 10 s. Requests
 * in flight are carried out to their end; their clients see the connection closed.
 */
#ifndef KMIPD_ADMIN_FRONT_H
#define KMIPD_ADMIN_FRONT_H

#include "api/api.h"
#include "base/error.h"

struct admin;

struct admin_options {
    const char *address;          /* "192.0.2.1:8443"; port 0: any */
    const char *certificate_file; /* PEM, with the chain behind it */
    const char *key_file;         /* PEM, for nobody else to read */
    unsigned connections_max;     /* at one time; beyond, those that are idle make room */
    size_t body_max;              /* bytes of one request body; 0: 1 MiB */
    size_t headers_max;           /* bytes of one request's line and headers; 0: 16 KiB */
    unsigned request_seconds;     /* in which a request must have come, and an answer gone; and for
                                     how long a connection may be idle; 0: 60 */
    const char *program;          /* NULL: this one (/proc/self/exe); called as `PROGRAM admin` */
    bool journal;                 /* its log lines are for journald (log_init()) */
    int log_level;                /* enum log_level; 0: LOG_LEVEL_INFO */
};

/*
 * Listens and starts the process; waits until it is ready. Copies the options; borrows the API,
 * which must outlive it. INVALID_ARGUMENT: the address, or the certificate or its key, is none;
 * EXISTS: the port is taken; IO, NOT_FOUND, PERMISSION_DENIED, NO_MEMORY; nothing is left then.
 */
enum status admin_open(const struct admin_options *options, struct api *api,
                       struct admin **ret_admin, struct error *error) MUST_USE;

/* The port that is listened on. */
unsigned admin_port(const struct admin *admin);

/* Reads certificate and key anew, for new connections. On failure the former ones stay. */
enum status admin_reload(struct admin *admin, struct error *error) MUST_USE;

struct admin_status {
    int pid;          /* 0: it does not run */
    uint64_t starts;  /* 1: it never ended */
    uint64_t requests;
    uint64_t in_flight;
};
void admin_status(struct admin *admin, struct admin_status *ret_status); /* any thread */

/* Stops accepting, waits for requests in flight, ends the process. NULL is fine. */
void admin_close(struct admin *admin);

#endif
