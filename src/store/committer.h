/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one writer of a store: a thread that takes all transactions that wait, applies them to the
 * back end one after the other, and commits them together. Submitting takes no lock.
 */
#ifndef KMIPD_STORE_COMMITTER_H
#define KMIPD_STORE_COMMITTER_H

#include "store/backend.h"
#include "store/cache.h"

struct committer;

/* Starts the thread. Both `backend` and `cache` (which may be NULL) stay the caller's. */
enum status committer_start(struct backend *backend, struct store_cache *cache,
                            struct committer **ret_committer) MUST_USE;

/* Finishes what was submitted and ends the thread. NULL is fine. */
void committer_stop(struct committer *committer);

/* As store_submit(). */
void committer_submit(struct committer *committer, struct store_transaction *transaction);

/* What an order changes besides rows. */
enum order_effect {
    ORDER_PLAIN = 0,
    ORDER_CHANGES_GENERATION = 1, /* an adapter or a certificate */
    ORDER_CLEARS_CACHE = 2,       /* objects go away */
};

/* Administration: `run` is called on the committer's thread inside of a group, all or nothing. */
typedef enum status committer_order(struct backend *backend, void *argument);

/* Has `run` called and waits until what it did is on stable storage. */
enum status committer_run(struct committer *committer, unsigned effects, committer_order *run,
                          void *argument) MUST_USE;

/* As store_health() and store_generation(). */
enum status committer_health(struct committer *committer);
uint64_t committer_generation(struct committer *committer);

#endif
