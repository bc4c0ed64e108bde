/* SPDX-License-Identifier: Apache-2.0 */
#include "store/committer.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define GROUP_MAX       1024 /* transactions that share a commit: bounds the wait of the first */
#define PROBE_SECONDS   1
#define FOREVER_SECONDS 86400

/* A change as applied: what the cache is told once it is committed. */
struct image {
    struct stored_object *object;
    enum store_change_kind kind;
};

/* Administration in the queue of transactions: recognised by its `done`. */
struct order {
    struct store_transaction transaction;
    unsigned effects;
    committer_order *run;
    void *argument;
    enum status status;
    sem_t finished;
};

struct committer {
    struct backend *backend;
    struct store_cache *cache;
    _Atomic(struct store_transaction *) waiting; /* newest first */
    sem_t wake;
    atomic_bool stopping;
    _Atomic uint64_t generation;
    _Atomic(enum status) health;
    pthread_t thread;

    /* The rest is the thread's own. */
    bool refusing; /* what is on disk is unknown: nothing is written any more */
    unsigned effects;
    struct image *images; /* of the group, in the order applied */
    size_t image_count;
    size_t image_capacity;
    enum status outcomes[GROUP_MAX];
};

/* ---- Images ---- */

static void drop_images(struct committer *committer, size_t keep)
{
    while (committer->image_count > keep)
        stored_object_release(committer->images[--committer->image_count].object);
}

static bool reserve_images(struct committer *committer, size_t more)
{
    size_t needed = committer->image_count + more;
    if (needed <= committer->image_capacity)
        return true;
    size_t capacity = needed < GROUP_MAX ? GROUP_MAX : needed * 2;
    struct image *images = reallocarray(committer->images, capacity, sizeof(*images));
    if (images == NULL)
        return false;
    committer->images = images;
    committer->image_capacity = capacity;
    return true;
}

/* Copies the row as it will stand, for an insertion or an update. */
static enum status add_image(struct committer *committer, const struct store_change *change)
{
    struct object_row row = change->row;
    if (change->kind != STORE_RESTORE)
        row.version = change->kind == STORE_INSERT ? 1 : row.version + 1;
    struct image image = {.kind = change->kind};
    enum status status = stored_object_copy(&row, &image.object);
    if (status == STATUS_OK)
        committer->images[committer->image_count++] = image;
    return status;
}

/* ---- One transaction ---- */

static enum status apply_record(struct committer *committer, const struct store_change *change)
{
    const struct record_row row = {.object = change->row.id,
                                   .adapter = change->row.adapter,
                                   .key_manager = change->record_key_manager,
                                   .record = *change->record,
                                   .version = change->row.version};
    return committer->backend->type->record_put(committer->backend, &row);
}

static enum status apply_change(struct committer *committer, const struct store_change *change)
{
    if (change->kind == STORE_RECORD)
        return apply_record(committer, change);
    enum status status = add_image(committer, change);
    if (status != STATUS_OK)
        return status;
    const struct backend_type *type = committer->backend->type;
    struct stored_object *object = committer->images[committer->image_count - 1].object;
    return change->kind == STORE_INSERT || change->kind == STORE_RESTORE
               ? type->insert(committer->backend, object, change)
               : type->update(committer->backend, object, change);
}

static enum status apply_changes(struct committer *committer,
                                 const struct store_transaction *transaction)
{
    for (size_t i = 0; i < transaction->count; i++) {
        enum status status = apply_change(committer, &transaction->changes[i]);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static void order_done(struct store_transaction *transaction, enum status status)
{
    struct order *order = CONTAINER_OF(transaction, struct order, transaction);
    order->status = status;
    (void)sem_post(&order->finished);
}

static enum status apply_order(struct committer *committer, struct store_transaction *transaction)
{
    struct order *order = CONTAINER_OF(transaction, struct order, transaction);
    enum status status = order->run(committer->backend, order->argument);
    if (status == STATUS_OK)
        committer->effects |= order->effects;
    return status;
}

/* A refused change has changed nothing in itself; what came before it has to be taken back. */
static enum status apply_marked(struct committer *committer, struct store_transaction *transaction)
{
    const struct backend_type *type = committer->backend->type;
    enum status marked = type->mark(committer->backend);
    if (marked != STATUS_OK)
        return marked;
    enum status status = transaction->done == order_done ? apply_order(committer, transaction)
                                                         : apply_changes(committer, transaction);
    if (backend_failed(status))
        return status;
    enum status ended =
        status == STATUS_OK ? type->release(committer->backend) : type->undo(committer->backend);
    return ended != STATUS_OK ? ended : status;
}

static enum status apply(struct committer *committer, struct store_transaction *transaction)
{
    size_t before = committer->image_count;
    if (!reserve_images(committer, transaction->count))
        return STATUS_NO_MEMORY;
    bool simple = transaction->count <= 1 && transaction->done != order_done;
    enum status status =
        simple ? apply_changes(committer, transaction) : apply_marked(committer, transaction);
    if (status != STATUS_OK)
        drop_images(committer, before);
    return status;
}

/* ---- One group ---- */

/* Applies all, until the back end fails. */
static enum status apply_group(struct committer *committer, struct store_transaction *group)
{
    size_t i = 0;
    for (; group != NULL; group = group->next) {
        enum status status = apply(committer, group);
        if (backend_failed(status))
            return status;
        committer->outcomes[i++] = status;
    }
    return STATUS_OK;
}

static void tell_cache_begin(struct committer *committer)
{
    for (size_t i = 0; i < committer->image_count; i++)
        if (committer->images[i].kind != STORE_INSERT)
            store_cache_write_begin(committer->cache, &committer->images[i].object->row.id);
    if (committer->effects & ORDER_CLEARS_CACHE)
        store_cache_clear_begin(committer->cache);
}

static void tell_cache_end(struct committer *committer, bool committed)
{
    bool clears = committer->effects & ORDER_CLEARS_CACHE;
    if (clears)
        store_cache_clear_end(committer->cache);
    bool keep = committed && !clears; /* what was cleared may have been made in this very group */
    for (size_t i = 0; i < committer->image_count; i++) {
        struct stored_object *object = committer->images[i].object;
        if (committer->images[i].kind != STORE_INSERT)
            store_cache_write_end(committer->cache, &object->row.id, keep ? object : NULL);
        else if (keep)
            store_cache_add(committer->cache, object);
    }
}

static enum status commit_group(struct committer *committer)
{
    tell_cache_begin(committer);
    enum status status = committer->backend->type->commit(committer->backend);
    tell_cache_end(committer, status == STATUS_OK);
    if (status == STATUS_OK && committer->effects & ORDER_CHANGES_GENERATION)
        atomic_fetch_add(&committer->generation, 1);
    /* Nothing of the group is on disk after these; after anything else, who knows. */
    if (status != STATUS_OK && status != STATUS_STORE_FULL && status != STATUS_STORE_READ_ONLY &&
        status != STATUS_NO_MEMORY)
        committer->refusing = true;
    return status;
}

/* *ret_applied: whether the failure, if any, is of the group as a whole and not of one in it. */
static enum status write_group(struct committer *committer, struct store_transaction *group,
                               bool *ret_applied)
{
    *ret_applied = true;
    if (committer->refusing)
        return STATUS_STORE_FAILED;
    const struct backend_type *type = committer->backend->type;
    enum status status = type->begin(committer->backend);
    if (status != STATUS_OK)
        return status;
    committer->effects = 0;
    status = apply_group(committer, group);
    *ret_applied = status == STATUS_OK;
    if (status == STATUS_OK)
        status = commit_group(committer);
    else
        type->rollback(committer->backend);
    drop_images(committer, 0);
    return status;
}

static void set_health(struct committer *committer, enum status status)
{
    if (status == STATUS_NO_MEMORY)
        return; /* says nothing about the store */
    atomic_store(&committer->health, status);
}

static void run_group(struct committer *committer, struct store_transaction *group);

/* One of the group met a damaged page, say: the others need not suffer for it. */
static void run_each_alone(struct committer *committer, struct store_transaction *group)
{
    while (group != NULL) {
        struct store_transaction *alone = group;
        group = group->next;
        alone->next = NULL;
        run_group(committer, alone);
    }
}

static void run_group(struct committer *committer, struct store_transaction *group)
{
    bool applied;
    enum status status = write_group(committer, group, &applied);
    if (!applied && group->next != NULL) {
        run_each_alone(committer, group);
        return;
    }
    set_health(committer, status);
    size_t i = 0;
    while (group != NULL) {
        struct store_transaction *transaction = group;
        group = group->next; /* before `done`, which may free or submit it again */
        transaction->done(transaction, status == STATUS_OK ? committer->outcomes[i++] : status);
    }
}

/* ---- The thread ---- */

/* All that waits, oldest first. */
static struct store_transaction *take_waiting(struct committer *committer)
{
    struct store_transaction *newest = atomic_exchange(&committer->waiting, NULL);
    struct store_transaction *oldest = NULL;
    while (newest != NULL) {
        struct store_transaction *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

/* Cuts a list after its first GROUP_MAX and returns the rest. */
static struct store_transaction *cut_group(struct store_transaction *list)
{
    for (size_t i = 1; i < GROUP_MAX && list != NULL; i++)
        list = list->next;
    if (list == NULL)
        return NULL;
    struct store_transaction *rest = list->next;
    list->next = NULL;
    return rest;
}

static void maintain(struct committer *committer)
{
    if (committer->refusing)
        return;
    enum status status = committer->backend->type->maintain(committer->backend);
    if (status == STATUS_OK)
        return;
    committer->refusing = true;
    set_health(committer, status);
}

static enum status write_probe(struct backend *backend, void *argument)
{
    return backend->type->value_put(backend, "store probe", BYTES_LITERAL(""));
}

/* A full disk gets room again without anyone writing to the store: look for it. */
static void probe(struct committer *committer)
{
    struct order order = {.transaction.done = order_done, .run = write_probe};
    if (sem_init(&order.finished, 0, 0) != 0)
        return;
    run_group(committer, &order.transaction);
    (void)sem_destroy(&order.finished);
}

/* Waits until something is submitted; meanwhile looks whether a store that could not write can
 * again. Every list ever taken was posted for once, by the first in it. */
static void wait_for_work(struct committer *committer)
{
    for (;;) {
        bool recovering = !committer->refusing && atomic_load(&committer->health) != STATUS_OK;
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += recovering ? PROBE_SECONDS : FOREVER_SECONDS;
        if (sem_clockwait(&committer->wake, CLOCK_MONOTONIC, &until) == 0)
            return;
        if (recovering && errno == ETIMEDOUT)
            probe(committer);
    }
}

static void *run(void *argument)
{
    struct committer *committer = argument;
    for (;;) {
        wait_for_work(committer);
        struct store_transaction *list = take_waiting(committer);
        if (list == NULL && atomic_load(&committer->stopping))
            return NULL;
        while (list != NULL) {
            struct store_transaction *rest = cut_group(list);
            run_group(committer, list);
            maintain(committer);
            list = rest;
        }
    }
}

/* Signals are the main thread's business. */
static int create_thread(struct committer *committer)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&committer->thread, NULL, run, committer);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0)
        (void)pthread_setname_np(committer->thread, "store");
    return failed;
}

/* ---- For everyone ---- */

enum status committer_start(struct backend *backend, struct store_cache *cache,
                            struct committer **ret_committer)
{
    struct committer *committer = calloc(1, sizeof(*committer));
    if (committer == NULL)
        return STATUS_NO_MEMORY;
    committer->backend = backend;
    committer->cache = cache;
    atomic_init(&committer->generation, 1);
    if (sem_init(&committer->wake, 0, 0) != 0)
        goto no_semaphore;
    if (create_thread(committer) != 0)
        goto no_thread;
    *ret_committer = committer;
    return STATUS_OK;

no_thread:
    (void)sem_destroy(&committer->wake);
no_semaphore:
    free(committer);
    return STATUS_NO_MEMORY;
}

void committer_stop(struct committer *committer)
{
    if (committer == NULL)
        return;
    atomic_store(&committer->stopping, true);
    (void)sem_post(&committer->wake);
    (void)pthread_join(committer->thread, NULL);
    (void)sem_destroy(&committer->wake);
    free(committer->images);
    free(committer);
}

void committer_submit(struct committer *committer, struct store_transaction *transaction)
{
    struct store_transaction *newest = atomic_load(&committer->waiting);
    do {
        transaction->next = newest;
    } while (!atomic_compare_exchange_weak(&committer->waiting, &newest, transaction));
    /* Whoever finds others waiting need not wake: the first of them did. */
    if (newest == NULL)
        (void)sem_post(&committer->wake);
}

static void wait_semaphore(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0 && errno == EINTR)
        continue;
}

enum status committer_run(struct committer *committer, unsigned effects, committer_order *run_order,
                          void *argument)
{
    struct order order = {.transaction.done = order_done,
                          .effects = effects,
                          .run = run_order,
                          .argument = argument,
                          .status = STATUS_INTERNAL};
    if (sem_init(&order.finished, 0, 0) != 0)
        return STATUS_NO_MEMORY;
    committer_submit(committer, &order.transaction);
    wait_semaphore(&order.finished);
    (void)sem_destroy(&order.finished);
    return order.status;
}

enum status committer_health(struct committer *committer)
{
    return atomic_load(&committer->health);
}

uint64_t committer_generation(struct committer *committer)
{
    return atomic_load_explicit(&committer->generation, memory_order_acquire);
}
