/* SPDX-License-Identifier: Apache-2.0 */
/* The thread: takes what other threads bring, gives it to free slots, and moves all on. */
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "keymanager/keyprotect_client.h"

#define TICK     50    /* milliseconds between two looks at deadlines */
#define WAIT_MAX 60000 /* milliseconds without anything to do */

/* ---- Queues ---- */

static void queue_init(struct kp_queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

static void queue_append(struct kp_queue *queue, struct keymanager_job *job)
{
    job->next = NULL;
    *queue->last = job;
    queue->last = &job->next;
}

static struct keymanager_job *queue_take(struct kp_queue *queue)
{
    struct keymanager_job *job = queue->first;
    queue->first = job->next;
    if (queue->first == NULL)
        queue->last = &queue->first;
    job->next = NULL;
    return job;
}

/* Moves all of `from` behind what is in `to`. */
static void queue_move(struct kp_queue *from, struct kp_queue *to)
{
    if (from->first == NULL)
        return;
    *to->last = from->first;
    to->last = from->last;
    queue_init(from);
}

static void end_job(struct keymanager_job *job, enum status status)
{
    job->status = status;
    job->done(job);
}

/* Ends the jobs whose time is up before a slot was free. */
static void expire(struct kp_queue *queue, int64_t now)
{
    struct kp_queue rest;
    queue_init(&rest);
    while (queue->first != NULL) {
        struct keymanager_job *job = queue_take(queue);
        if (job->deadline != 0 && now >= job->deadline)
            end_job(job, STATUS_KEY_MANAGER_UNAVAILABLE);
        else
            queue_append(&rest, job);
    }
    queue_move(&rest, queue);
}

/* ---- Slots ---- */

static struct kp_slot *take_slot(struct kp *kp, bool background)
{
    struct kp_slot *slot = kp->free;
    kp->free = slot->next;
    slot->next = NULL;
    slot->background = background;
    kp->background += background;
    return slot;
}

void kp_slot_release(struct kp_slot *slot)
{
    struct kp *kp = slot->kp;
    kp->background -= slot->background;
    slot->background = false;
    slot->job = NULL;
    slot->step = 0;
    secret_free(&slot->key);
    buffer_free(&slot->own.answer);
    slot->state = KP_SLOT_FREE;
    slot->next = kp->free;
    kp->free = slot;
}

static enum status open_slot(struct kp *kp, struct kp_slot *slot)
{
    slot->kp = kp;
    slot->locked = locked_allocate(kp_slot_locked_size());
    if (slot->locked == NULL || kp_transfer_init(&slot->transfer) != STATUS_OK)
        return STATUS_NO_MEMORY;
    slot->next = kp->free;
    kp->free = slot;
    return STATUS_OK;
}

static void close_slots(struct kp *kp)
{
    for (uint32_t i = 0; kp->slots != NULL && i < kp->options.connections_max; i++) {
        kp_transfer_free(&kp->slots[i].transfer);
        locked_free(kp->slots[i].locked, kp_slot_locked_size());
    }
    free(kp->slots);
    kp->slots = NULL;
}

static enum status open_slots(struct kp *kp)
{
    uint32_t count = kp->options.connections_max, reserved = (count + 3) / 4;
    kp->slots = calloc(count, sizeof(*kp->slots));
    if (kp->slots == NULL)
        return STATUS_NO_MEMORY;
    kp->background_max = count > reserved ? count - reserved : 1;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++)
        status = open_slot(kp, &kp->slots[i]);
    return status;
}

/* ---- Giving work to slots ---- */

static void start_call(struct kp *kp)
{
    struct kp_call *call = kp->calls;
    kp->calls = call->next;
    if (kp->calls == NULL)
        kp->last_call = &kp->calls;
    kp_call_begin(take_slot(kp, false), call);
}

static void start_job(struct kp *kp, bool background)
{
    struct keymanager_job *job = queue_take(&kp->jobs[background]);
    if (job->deadline == 0)
        job->deadline = clock_monotonic() + kp->options.job_timeout;
    struct kp_slot *slot = take_slot(kp, background);
    slot->job = job;
    kp_job_begin(slot);
}

static void start_probe(struct kp *kp)
{
    kp->aad.wanted = false;
    kp->aad.running = true;
    kp_aad_begin(take_slot(kp, true));
}

/* What people and checks wait for, which is little; what clients wait for; the rest. */
static bool start_next(struct kp *kp)
{
    bool room = kp->background < kp->background_max;
    if (kp->free == NULL)
        return false;
    if (kp->calls != NULL)
        start_call(kp);
    else if (kp->jobs[0].first != NULL)
        start_job(kp, false);
    else if (room && kp->aad.wanted)
        start_probe(kp);
    else if (room && kp->jobs[1].first != NULL)
        start_job(kp, true);
    else
        return false;
    return true;
}

static void take_in(struct kp *kp)
{
    (void)pthread_mutex_lock(&kp->mutex);
    queue_move(&kp->in_jobs[0], &kp->jobs[0]);
    queue_move(&kp->in_jobs[1], &kp->jobs[1]);
    if (kp->in_calls != NULL) {
        *kp->last_call = kp->in_calls;
        kp->last_call = kp->in_last_call;
        kp->in_calls = NULL;
        kp->in_last_call = &kp->in_calls;
    }
    (void)pthread_mutex_unlock(&kp->mutex);
}

/* ---- Time ---- */

static void expire_all(struct kp *kp, int64_t now)
{
    if (now < kp->tick)
        return;
    kp->tick = now + TICK;
    expire(&kp->jobs[0], now);
    expire(&kp->jobs[1], now);
}

/* Moves on who waits for a token or for the next try. */
static void step_slots(struct kp *kp, int64_t now)
{
    for (uint32_t i = 0; i < kp->options.connections_max; i++) {
        struct kp_slot *slot = &kp->slots[i];
        if (slot->call != NULL &&
            (slot->state == KP_SLOT_TOKEN || (slot->state == KP_SLOT_WAITING && now >= slot->wake)))
            kp_call_step(slot, now);
    }
}

static int64_t time_to_wait(struct kp *kp, int64_t now, int64_t wake)
{
    int64_t until = wake != 0 ? wake : now + WAIT_MAX;
    for (uint32_t i = 0; i < kp->options.connections_max; i++) {
        const struct kp_slot *slot = &kp->slots[i];
        if (slot->call != NULL && slot->state == KP_SLOT_WAITING && slot->wake < until)
            until = slot->wake;
        if (slot->call != NULL && slot->state == KP_SLOT_TOKEN && slot->call->deadline < until)
            until = slot->call->deadline;
    }
    if ((kp->jobs[0].first != NULL || kp->jobs[1].first != NULL) && kp->tick < until)
        until = kp->tick;
    return until > now ? until - now : 0;
}

/* ---- The thread ---- */

static bool is_stopping(struct kp *kp)
{
    (void)pthread_mutex_lock(&kp->mutex);
    bool stopping = kp->stopping;
    (void)pthread_mutex_unlock(&kp->mutex);
    return stopping;
}

static void abandon_all(struct kp *kp)
{
    for (uint32_t i = 0; i < kp->options.connections_max; i++)
        while (kp->slots[i].call != NULL)
            kp_call_abandon(&kp->slots[i]);
}

static void *work(void *context)
{
    struct kp *kp = context;
    while (!is_stopping(kp)) {
        take_in(kp);
        int64_t now = clock_monotonic();
        expire_all(kp, now);
        int64_t wake = kp_iam_tick(&kp->iam, now);
        step_slots(kp, now);
        while (start_next(kp)) {
        }
        kp_http_run(&kp->http);
        step_slots(kp, clock_monotonic()); /* a token may have come */
        while (start_next(kp)) {
        }
        now = clock_monotonic();
        wake = kp_iam_tick(&kp->iam, now);
        kp_http_wait(&kp->http, time_to_wait(kp, now, wake));
    }
    abandon_all(kp);
    return NULL;
}

static int start_thread(struct kp *kp)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for other threads */
    int failure = pthread_create(&kp->thread, NULL, work, kp);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}

enum status kp_work_open(struct kp *kp)
{
    queue_init(&kp->jobs[0]);
    queue_init(&kp->jobs[1]);
    queue_init(&kp->in_jobs[0]);
    queue_init(&kp->in_jobs[1]);
    kp->last_call = &kp->calls;
    kp->in_last_call = &kp->in_calls;
    enum status status = open_slots(kp);
    if (status == STATUS_OK && start_thread(kp) != 0)
        status = STATUS_NO_MEMORY;
    kp->started = status == STATUS_OK;
    return status;
}

void kp_work_close(struct kp *kp)
{
    if (kp->started) {
        (void)pthread_mutex_lock(&kp->mutex);
        kp->stopping = true;
        (void)pthread_mutex_unlock(&kp->mutex);
        kp_http_wake(&kp->http);
        (void)pthread_join(kp->thread, NULL);
    }
    close_slots(kp);
}

/* ---- Other threads ---- */

void kp_submit(struct keymanager *keymanager, struct keymanager_job *jobs)
{
    struct kp *kp = kp_of(keymanager);
    int64_t now = clock_monotonic();
    (void)pthread_mutex_lock(&kp->mutex);
    while (jobs != NULL) {
        struct keymanager_job *job = jobs;
        jobs = job->next;
        /* In the background time counts from when it begins: the queue may be long. */
        if (job->deadline == 0 && !job->background)
            job->deadline = now + kp->options.job_timeout;
        queue_append(&kp->in_jobs[job->background], job);
    }
    (void)pthread_mutex_unlock(&kp->mutex);
    kp_http_wake(&kp->http);
}

/* Who waits for a call, or for a job. */
struct waiter {
    struct kp *kp;
    bool finished;
    struct keymanager_job *job;
    struct keymanager_job inner;
};

static void wait_for(struct waiter *waiter)
{
    struct kp *kp = waiter->kp;
    kp_http_wake(&kp->http);
    (void)pthread_mutex_lock(&kp->mutex);
    while (!waiter->finished)
        (void)pthread_cond_wait(&kp->finished, &kp->mutex);
    (void)pthread_mutex_unlock(&kp->mutex);
}

static void finish_waiter(struct waiter *waiter)
{
    struct kp *kp = waiter->kp;
    (void)pthread_mutex_lock(&kp->mutex);
    waiter->finished = true;
    (void)pthread_cond_broadcast(&kp->finished);
    (void)pthread_mutex_unlock(&kp->mutex);
}

static void call_done(struct kp_call *call, struct kp_slot *slot)
{
    kp_slot_release(slot);
    finish_waiter(call->context);
}

enum status kp_run(struct kp *kp, struct kp_call *call)
{
    struct waiter waiter = {.kp = kp};
    call->done = call_done;
    call->context = &waiter;
    if (call->deadline == 0)
        call->deadline = clock_monotonic() + 2 * kp->options.job_timeout;
    (void)pthread_mutex_lock(&kp->mutex);
    call->next = NULL;
    *kp->in_last_call = call;
    kp->in_last_call = &call->next;
    (void)pthread_mutex_unlock(&kp->mutex);
    wait_for(&waiter);
    return call->status;
}

static void job_done(struct keymanager_job *job)
{
    finish_waiter(CONTAINER_OF(job, struct waiter, inner));
}

enum status kp_run_job(struct kp *kp, struct keymanager_job *job)
{
    struct waiter waiter = {.kp = kp, .inner = *job};
    waiter.inner.done = job_done;
    waiter.inner.next = NULL;
    kp_submit(&kp->keymanager, &waiter.inner);
    wait_for(&waiter);
    *job = waiter.inner;
    return job->status;
}
