/* SPDX-License-Identifier: Apache-2.0 */
#include "upkeep/upkeep.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "upkeep/inside.h"

#define SWEEP_PERIOD 10000

static const struct upkeep_times usual_times = {
    .tick = 1000, .save = 2000, .settle = 60000, .retry_first = 2000, .retry_most = 300000};

/* ---- Adapters ---- */

static bool gather_adapter(void *context, const struct adapter_row *row)
{
    struct adapter_list *list = context;
    struct adapter_row *rows = reallocarray(list->rows, list->count + 1, sizeof(*rows));
    list->no_memory = rows == NULL;
    if (rows == NULL)
        return false;
    list->rows = rows;
    rows[list->count++] = *row;
    return true;
}

enum status upkeep_read_adapters(struct upkeep *upkeep, struct store_session *session,
                                 struct adapter_list *list)
{
    struct adapter_list read = {.generation = store_generation(upkeep->store)};
    if (list->generation == read.generation)
        return STATUS_OK;
    enum status status = store_adapters(session, gather_adapter, &read);
    if (status == STATUS_OK && read.no_memory)
        status = STATUS_NO_MEMORY;
    if (status != STATUS_OK) {
        free(read.rows);
        return status;
    }
    free(list->rows);
    *list = read;
    return STATUS_OK;
}

const struct adapter_row *upkeep_adapter(const struct adapter_list *list, const struct uuid *uuid)
{
    for (size_t i = 0; i < list->count; i++)
        if (uuid_equal(&list->rows[i].uuid, uuid))
            return &list->rows[i];
    return NULL;
}

/* ---- The thread ---- */

/* The lock is held. */
static void wake(struct waiting *waiting)
{
    waiting->wakes++;
    (void)pthread_cond_broadcast(&waiting->wake);
}

void upkeep_wake(struct upkeep *upkeep)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    wake(&upkeep->walking);
    wake(&upkeep->keeping);
    (void)pthread_mutex_unlock(&upkeep->lock);
}

void upkeep_wake_walker(struct upkeep *upkeep)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    wake(&upkeep->walking);
    (void)pthread_mutex_unlock(&upkeep->lock);
}

bool upkeep_thread(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *argument)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(ret_thread, NULL, run, argument);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0)
        (void)pthread_setname_np(*ret_thread, name);
    return failed == 0;
}

void upkeep_wait(struct upkeep *upkeep, struct waiting *waiting, uint64_t *wakes, int64_t until)
{
    int64_t most = clock_monotonic() + 3600000;
    until = until < most ? until : most;
    const struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    (void)pthread_mutex_lock(&upkeep->lock);
    while (waiting->wakes == *wakes && !atomic_load(&upkeep->stopping))
        if (pthread_cond_timedwait(&waiting->wake, &upkeep->lock, &at) == ETIMEDOUT)
            break;
    *wakes = waiting->wakes;
    (void)pthread_mutex_unlock(&upkeep->lock);
}

static void sweep(struct upkeep *upkeep, int64_t now)
{
    if (now - upkeep->swept < SWEEP_PERIOD)
        return;
    upkeep->swept = now;
    core_sweep_keys(upkeep->core);
}

static void *run(void *argument)
{
    struct upkeep *upkeep = argument;
    uint64_t wakes = 0;
    while (!atomic_load(&upkeep->stopping)) {
        int64_t now = clock_monotonic();
        (void)upkeep_read_adapters(upkeep, upkeep->walker, &upkeep->adapters); /* else next time */
        rewraps_finish(upkeep);
        int64_t next = rewraps_step(upkeep, now);
        int64_t warm = warm_step(upkeep, now);
        sweep(upkeep, now);
        next = warm < next ? warm : next;
        int64_t tick = now + upkeep->times.tick;
        upkeep_wait(upkeep, &upkeep->walking, &wakes, next < tick ? next : tick);
    }
    rewraps_end(upkeep);
    warm_end(upkeep);
    return NULL;
}

/* ---- Life ---- */

static bool make_wake(pthread_cond_t *wake)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    bool made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                pthread_cond_init(wake, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    return made;
}

static bool make_locks(struct upkeep *upkeep)
{
    pthread_mutex_t *const locks[] = {&upkeep->lock, &upkeep->looking, &upkeep->saving,
                                      &upkeep->session_lock};
    for (size_t i = 0; i < ARRAY_COUNT(locks); i++)
        if (pthread_mutex_init(locks[i], NULL) != 0)
            return false;
    return make_wake(&upkeep->walking.wake) && make_wake(&upkeep->keeping.wake);
}

/* What was to be done when the last process ended. */
static enum status load(struct upkeep *upkeep)
{
    enum status status = upkeep_read_adapters(upkeep, upkeep->walker, &upkeep->adapters);
    if (status == STATUS_OK)
        status = rewraps_load(upkeep, upkeep->walker, &upkeep->adapters);
    return status != STATUS_OK ? status : records_load(upkeep, upkeep->walker);
}

static enum status open_sessions(struct upkeep *upkeep)
{
    enum status status = store_session_open(upkeep->store, &upkeep->walker);
    return status != STATUS_OK ? status : store_session_open(upkeep->store, &upkeep->session);
}

enum status upkeep_open(struct core *core, struct store *store, struct audit *audit,
                        struct clock *clock, const struct keymanagers *keymanagers,
                        const struct upkeep_options *options, struct upkeep **ret_upkeep,
                        struct error *error)
{
    struct upkeep *upkeep = calloc(1, sizeof(*upkeep));
    if (upkeep == NULL || !make_locks(upkeep)) {
        free(upkeep);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the upkeep of keys");
    }
    upkeep->core = core;
    upkeep->store = store;
    upkeep->audit = audit;
    upkeep->clock = clock;
    upkeep->keymanagers = keymanagers;
    upkeep->options = *options;
    upkeep->times = usual_times;
    upkeep->finished_end = &upkeep->finished;
    enum status status = open_sessions(upkeep);
    if (status == STATUS_OK)
        status = load(upkeep);
    if (status != STATUS_OK) {
        upkeep_close(upkeep);
        return error_set(error, status, "the store cannot be read for the upkeep of keys: %s",
                         status_text(status));
    }
    *ret_upkeep = upkeep;
    return STATUS_OK;
}

enum status upkeep_start(struct upkeep *upkeep, struct error *error)
{
    upkeep->started = upkeep_thread(&upkeep->thread, "upkeep", run, upkeep);
    if (!upkeep->started)
        return error_set(error, STATUS_NO_MEMORY, "no thread for the upkeep of keys");
    return keepers_start(upkeep, error);
}

static void free_lists(struct upkeep *upkeep)
{
    while (upkeep->rewraps != NULL) {
        struct rewrap *rewrap = upkeep->rewraps;
        upkeep->rewraps = rewrap->next;
        free(rewrap);
    }
    while (upkeep->watched != NULL) {
        struct watched *watched = upkeep->watched;
        upkeep->watched = watched->next;
        free(watched);
    }
    while (upkeep->records != NULL) {
        struct shown_records *records = upkeep->records;
        upkeep->records = records->next;
        free(records);
    }
    free(upkeep->adapters.rows);
}

void upkeep_close(struct upkeep *upkeep)
{
    if (upkeep == NULL)
        return;
    atomic_store(&upkeep->stopping, true);
    upkeep_wake(upkeep);
    keepers_stop(upkeep);
    if (upkeep->started)
        (void)pthread_join(upkeep->thread, NULL);
    store_session_close(upkeep->walker);
    store_session_close(upkeep->session);
    free_lists(upkeep);
    (void)pthread_mutex_destroy(&upkeep->lock);
    (void)pthread_mutex_destroy(&upkeep->looking);
    (void)pthread_mutex_destroy(&upkeep->saving);
    (void)pthread_mutex_destroy(&upkeep->session_lock);
    (void)pthread_cond_destroy(&upkeep->walking.wake);
    (void)pthread_cond_destroy(&upkeep->keeping.wake);
    free(upkeep);
}
