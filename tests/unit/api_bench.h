/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API over a store, a key manager and a core in memory (core_bench.h), with its database and
 * audit log in a directory of its own, a clock that tests move, and somebody who asks. For unit
 * tests and fuzzing.
 */
#ifndef KMIPD_TESTS_API_BENCH_H
#define KMIPD_TESTS_API_BENCH_H

#include <jansson.h>

#include "api/identities.h"
#include "core_bench.h"

#define API_BENCH_TEXT_MAX 4096
#define API_BENCH_ISSUER   "https://kms.example.com:8443"
#define API_BENCH_INSTANCE "12345678-1234-4123-8123-123456789abc"

struct api_bench {
    char directory[64];
    struct core_bench core;
    struct kms *kms;
    struct audit *audit;
    struct api_context context;
    struct api *api;
    struct api_request request; /* the headers of the next one; who asks is in it */
    char bearer[API_BENCH_TEXT_MAX];
    struct api_response response;
    json_t *json; /* of the last answer; NULL: no body, or none of JSON */
};

/* All of it; fails the process when it cannot. The key that signs tokens is made once a process. */
void api_bench_open(struct api_bench *bench);
void api_bench_close(struct api_bench *bench);

/* Asks, and parses the answer. `target` is path and query; `body` may be NULL. The status. */
unsigned api_bench_ask(struct api_bench *bench, enum api_method method, const char *target,
                       const char *body);

/* "resources"[0] of the last answer; NULL when there is none. */
const json_t *api_bench_resource(const struct api_bench *bench);
/* The code of the first reason, or "". */
const char *api_bench_code(const struct api_bench *bench);

/* Makes a service ID with these grants and an API key "key", which it writes as text. */
void api_bench_service_id(struct api_bench *bench, const char *name, const struct kms_grant *grants,
                          size_t count, char ret_key[static API_KEY_TEXT_LENGTH + 1]);
/* Who asks from now on: the owner of an API key; 0 when it gets no token. */
bool api_bench_log_in(struct api_bench *bench, const char *api_key);
/* Both, with one grant for the whole instance. */
void api_bench_act_as(struct api_bench *bench, const char *name, unsigned role);
/* The control socket. */
void api_bench_act_locally(struct api_bench *bench);

/* The last records of the audit log, as an array; the caller's. */
json_t *api_bench_records(struct api_bench *bench, size_t count);

#endif
