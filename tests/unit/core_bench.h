/* SPDX-License-Identifier: Apache-2.0 */
/* A core over a store and a key manager in memory, with a clock that tests move, and requests
 * that are executed and committed as the service would. For unit tests and fuzzing. */
#ifndef KMIPD_TESTS_CORE_BENCH_H
#define KMIPD_TESTS_CORE_BENCH_H

#include <semaphore.h>

#include "core/core.h"
#include "kmip/payloads.h"

struct core_bench {
    struct store *store;
    struct store_session *session_store;
    struct keymanager *keymanager;
    struct keymanagers keymanagers; /* that one, as the sealed file's */
    struct clock clock;
    struct core *core;
    struct core_session session; /* of the adapter "default" */
    struct request request;
    sem_t fetched; /* what the request waits for is back */
    uint8_t *reply_memory;
    struct arena arena; /* for messages a test makes and answers it reads */
};

extern const struct core_options core_bench_options; /* what core_bench_open() opens a core with */

/* Makes everything; fails the process when it cannot. */
void core_bench_open(struct core_bench *bench);

/* The same with other options, over a store that the bench owns from now on (NULL: one in memory). */
void core_bench_open_over(struct core_bench *bench, const struct core_options *options,
                          struct store *store);
void core_bench_close(struct core_bench *bench);

/* Another adapter with the same root key; fills a session of it. */
void core_bench_adapter(struct core_bench *bench, const char *name, struct core_session *session);

/* How long core_bench_options keep a key of any key manager. */
#define CORE_BENCH_KEY_SECONDS 60

/* Executes the request again as long as it is PENDING, and completes its changes. */
enum status core_bench_settle(struct core_bench *bench, enum status status);

/* Executes the frame and commits its changes (again after conflicts). The answer stands in
 * bench->request.reply until the next call. Returns the status of the commit. */
enum status core_bench_run(struct core_bench *bench, const struct core_session *session,
                           struct bytes frame);

#endif
