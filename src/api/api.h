/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The administration API: IBM Key Protect's /api/v2 and token endpoints, and kmipd's own commands
 * under /api/v2/kmipd. What is said here is HTTP in meaning and knows no socket: requests come from
 * the admin process (HTTPS) and from the control socket (kmipctl on this machine), and both can do
 * the same. def/routes.def is the table of routes; docs/root-keys.md the design.
 */
#ifndef KMIPD_API_API_H
#define KMIPD_API_API_H

#include "base/buffer.h"
#include "base/error.h"

struct api;

enum api_method {
    API_HEAD,
    API_GET,
    API_POST,
    API_PUT,
    API_PATCH,
    API_DELETE,
    API_OTHER, /* any other word: 405 */
};

/* One request, everything borrowed until the answer is there. Absent headers are empty. */
struct api_request {
    enum api_method method;
    struct bytes path;  /* "/api/v2/keys/...", percent-encoded as it came, without the query */
    struct bytes query; /* behind '?', as it came */
    struct bytes authorization;
    struct bytes instance; /* Bluemix-Instance */
    struct bytes correlation; /* Correlation-Id, or X-Correlation-ID, or X-Request-Id */
    struct bytes key_ring; /* X-Kms-Key-Ring */
    struct bytes prefer;
    struct bytes accept;
    struct bytes content_type;
    struct bytes body; /* in locked memory: it may carry key material */
    struct bytes peer; /* address:port; or "uid=0 user=root" where `local` */
    bool local;        /* from the control socket: may do everything; who it is stands in `peer` */
};

#define API_ALLOW_SIZE   48
#define API_RESPONSE_MAX ((size_t)16 << 20) /* bytes of one response body */

struct api_response {
    unsigned status;
    const char *content_type;   /* static; NULL: no body */
    struct buffer body;         /* initialised by the caller; wiped by buffer_free() */
    char correlation[64];       /* correlation-id */
    int64_t key_total;          /* Key-Total; -1: none */
    char allow[API_ALLOW_SIZE]; /* Allow, with 405; or empty */
    unsigned retry_after;       /* seconds; 0: none */
    bool close;                 /* the connection should end (too many failures) */
};

/*
 * Carries one request out. Blocks (store, key manager, audit log): called on the threads of
 * api_submit(), or on one that may wait. Always leaves an answer. Any number of threads at once.
 */
void api_handle(struct api *api, const struct api_request *request, struct api_response *response);

/* A request for the API's own threads. Belongs to the API from api_submit() to `done`, which runs
 * once on one of them and must not block for long. */
struct api_job {
    struct api_request request;
    struct api_response response;
    void (*done)(struct api_job *job);
    struct api_job *next;
};
/* Never waits. Where too many wait already, `done` is called at once with 503 and Retry-After. */
void api_submit(struct api *api, struct api_job *job);

#endif
