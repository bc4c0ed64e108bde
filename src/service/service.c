/* SPDX-License-Identifier: Apache-2.0 */
#include "service/service.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hex.h"
#include "base/log.h"
#include "service/registry.h"
#include "service/report.h"
#include "service/strays.h"
#include "service/work.h"

#define ATTEMPTS_MAX 32 /* executions of one request when others are always faster */
#define WORKERS      4  /* threads for what takes long or went wrong */

/* Requests of clients that nobody has let in: so many at once, and so many a second. Each costs an
 * audit record, and a flood of them must not fill the disk or push older records out of the log. */
#define STRANGERS_BURST      1000
#define STRANGERS_PER_SECOND 20

/* Objects that a search may look at on a loop's thread, a few milliseconds' worth: beyond, it goes
 * on (from the beginning) on a worker's. */
#define LOOP_PATIENCE 1000

/*
 * Requests that lost against another at the same object go on one after the other: executed again
 * all at once, they would lose against each other, and some of them every time.
 */
#define LANES 64
struct service_lane {
    bool taken; /* by one that is executed again until it is through */
    struct work *first;
    struct work **last;
};

struct service_loop {
    struct store_session *store;
    struct work_pool pool;
};

struct service {
    struct core *core;
    struct store *store;
    struct audit *audit;
    struct registry *registry;
    struct service_options options;
    struct net_handler handler;
    struct service_loop *loops;
    /* The workers' queue. */
    struct service_worker {
        pthread_t thread;
        struct service *service;
        struct store_session *store;
    } workers[WORKERS];
    unsigned worker_count; /* that run */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct work *first;
    struct work **last;
    struct service_lane lanes[LANES];
    bool stopping;
    _Atomic uint64_t requests, items, refused, again, waited, unrecorded;
    struct strays *strays;
    struct report report;
    /* A bucket of what strangers may still send, in thousandths, and when it was last filled. */
    pthread_mutex_t strangers_lock;
    int64_t strangers_left;
    int64_t strangers_filled;
    _Atomic uint64_t strangers_dropped;
};

/* A connection's session. */
struct service_session {
    struct core_session core;
    uint64_t generation;
    const struct net_peer *peer;
};

static void pass_on(struct work *work);
static void bind_session(struct service *service, struct store_session *store,
                         struct core_session *core);

static bool somebody_was_faster(enum status status)
{
    return status == STATUS_CONFLICT || status == STATUS_NAME_EXISTS || status == STATUS_EXISTS;
}

/* ---- The workers ---- */

/* Under the lock. */
static void queue_for_worker(struct service *service, struct work *work)
{
    work->next = NULL;
    *service->last = work;
    service->last = &work->next;
    pthread_cond_signal(&service->wake);
}

static void give_to_worker(struct work *work, enum work_task task, enum status status)
{
    struct service *service = work->service;
    work->task = task;
    work->status = status;
    pthread_mutex_lock(&service->lock);
    queue_for_worker(service, work);
    pthread_mutex_unlock(&service->lock);
}

static struct service_lane *lane_of(struct service *service, const struct work *work)
{
    const struct uuid *object = &work->transaction.changes[0].row.id;
    return &service->lanes[object->bytes[sizeof(object->bytes) - 1] % LANES];
}

/* Executes it again: at once if it has the lane or the lane is free, else when its turn comes. */
static void try_again(struct work *work)
{
    struct service *service = work->service;
    struct service_lane *lane = work->lane != NULL ? work->lane : lane_of(service, work);
    work->task = WORK_AGAIN;
    pthread_mutex_lock(&service->lock);
    if (work->lane == NULL && lane->taken) {
        work->next = NULL;
        *lane->last = work;
        lane->last = &work->next;
    } else {
        lane->taken = true;
        work->lane = lane;
        queue_for_worker(service, work);
    }
    pthread_mutex_unlock(&service->lock);
}

/* It is through, one way or the other: the next one's turn. */
static void leave_lane(struct work *work)
{
    struct service *service = work->service;
    struct service_lane *lane = work->lane;
    if (lane == NULL)
        return;
    work->lane = NULL;
    pthread_mutex_lock(&service->lock);
    struct work *next = lane->first;
    lane->taken = next != NULL;
    if (next != NULL) {
        lane->first = next->next;
        if (lane->first == NULL)
            lane->last = &lane->first;
        next->lane = lane;
        queue_for_worker(service, next);
    }
    pthread_mutex_unlock(&service->lock);
}

static struct work *next_for_worker(struct service *service)
{
    pthread_mutex_lock(&service->lock);
    while (service->first == NULL && !service->stopping)
        pthread_cond_wait(&service->wake, &service->lock);
    struct work *work = service->first;
    if (work != NULL) {
        service->first = work->next;
        if (service->first == NULL)
            service->last = &service->first;
    }
    pthread_mutex_unlock(&service->lock);
    return work;
}

static enum status execute_once(struct work *work, struct store_session *store, size_t patience)
{
    struct request *request = &work->request;
    switch (work->task) {
    case WORK_EXECUTE:
        return core_execute(request, work->session, store, work->frame, patience);
    case WORK_AGAIN:
        return core_execute_again(request, false);
    case WORK_SKIP_OPTIONAL:
        return core_execute_again(request, true);
    case WORK_FETCHED:
        return core_execute_fetched(request);
    case WORK_REFUSE:
        return core_refuse(request, work->status);
    case WORK_PREPARED: /* executed already */
        break;
    }
    return STATUS_INTERNAL;
}

/* Executes with as much room as the answer needs. BUSY: it takes longer than `patience`. PENDING: a
 * key is missing. TOO_LARGE: there is no answer at all. */
static enum status execute(struct work *work, struct store_session *store, size_t patience)
{
    for (;;) {
        enum status status = execute_once(work, store, patience);
        if (status == STATUS_OK || status == STATUS_BUSY || status == STATUS_PENDING)
            return status;
        if (work_grow_reply(work, work->service->options.reply_max)) {
            work->request.frame = work->frame;
            continue;
        }
        if (work->task == WORK_REFUSE)
            return STATUS_TOO_LARGE;
        work->task = WORK_REFUSE;
        work->status = STATUS_RESPONSE_TOO_LARGE;
    }
}

/* What has been recorded for nothing. */
static void hand_over_strays(struct work *work)
{
    struct keymanager *keymanager;
    struct uuid record;
    while (core_take_stray(&work->request, &keymanager, &record))
        strays_add(work->service->strays, keymanager, &record);
}

static void close_without_answer(struct work *work)
{
    leave_lane(work);
    hand_over_strays(work);
    work->reply.bytes = (struct bytes){0};
    work->reply.close = true;
    net_answer(work->connection, &work->reply);
}

/* What was asked of the key managers is back: on one of their threads, or on this one. */
static void fetched(struct request *request)
{
    struct work *work = CONTAINER_OF(request, struct work, request);
    give_to_worker(work, work->task, STATUS_OK);
}

/* Nobody waits in its lane for a key manager: it takes its turn again when it must. */
static void fetch(struct work *work, enum work_task then)
{
    leave_lane(work);
    atomic_fetch_add(&work->service->waited, 1);
    work->task = then;
    core_fetch(&work->request, fetched);
}

/* After an execution. */
static void go_on(struct work *work, enum status status)
{
    if (status == STATUS_OK)
        pass_on(work);
    else if (status == STATUS_PENDING)
        fetch(work, WORK_FETCHED);
    else if (status == STATUS_BUSY)
        give_to_worker(work, WORK_EXECUTE, STATUS_OK);
    else
        close_without_answer(work);
}

static bool waited(const struct work *work)
{
    return work->task == WORK_FETCHED || work->task == WORK_PREPARED;
}

static void work_on(struct service_worker *worker, struct work *work)
{
    struct service *service = worker->service;
    if (work->task == WORK_REFUSE)
        atomic_fetch_add(&service->refused, 1);
    else if (work->task == WORK_AGAIN)
        atomic_fetch_add(&service->again, 1);
    /* The worker's own session, whichever one the request was begun with. */
    work->request.store = worker->store;
    /* The key manager took its time: the adapter may have been moved or deleted. */
    if (waited(work))
        bind_session(service, worker->store, work->session);
    if (work->task == WORK_PREPARED)
        pass_on(work);
    else
        go_on(work, execute(work, worker->store, SIZE_MAX));
}

static void *run_worker(void *argument)
{
    struct service_worker *worker = argument;
    struct work *work;
    while ((work = next_for_worker(worker->service)) != NULL)
        work_on(worker, work);
    return NULL;
}

/* ---- The way of a request ---- */

static void release(struct net_reply *reply)
{
    work_give_back(CONTAINER_OF(reply, struct work, reply));
}

static void answer(struct work *work)
{
    struct service *service = work->service;
    atomic_fetch_add_explicit(&service->requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&service->items, work->request.record_count, memory_order_relaxed);
    report_request(&service->report, &work->request);
    hand_over_strays(work);
    work->reply.bytes = buffer_bytes(&work->request.reply);
    work->reply.close = work->request.close;
    net_answer(work->connection, &work->reply);
}

/* On the audit log's thread. */
static void recorded(struct audit_ticket *ticket, enum status status)
{
    struct work *work = CONTAINER_OF(ticket, struct work, ticket);
    if (status == STATUS_OK) {
        answer(work);
        return;
    }
    work->unrecorded = true;
    give_to_worker(work, WORK_REFUSE, status);
}

static void record(struct work *work)
{
    struct request *request = &work->request;
    if (request->record_count == 0 || work->unrecorded) {
        answer(work);
        return;
    }
    work->ticket.done = recorded;
    audit_append(work->service->audit, request->records, request->record_count, &work->ticket);
}

/* An object that is made needs its adapter: when that was deleted meanwhile, the client is nobody's
 * any more. */
static enum status refusal_of(enum status status)
{
    return status == STATUS_NOT_FOUND ? STATUS_NOT_AUTHENTICATED : status;
}

/* On the committer's thread. */
static void committed(struct store_transaction *transaction, enum status status)
{
    struct work *work = CONTAINER_OF(transaction, struct work, transaction);
    core_committed(&work->request, status);
    if (somebody_was_faster(status) && work->attempts++ < ATTEMPTS_MAX) {
        try_again(work);
        return;
    }
    leave_lane(work);
    if (status == STATUS_OK)
        record(work);
    else if (request_only_optional(&work->request))
        give_to_worker(work, WORK_SKIP_OPTIONAL, status);
    else
        give_to_worker(work, WORK_REFUSE, refusal_of(status));
}

static void commit(struct work *work)
{
    struct request *request = &work->request;
    work->transaction = (struct store_transaction){
        .changes = request->changes, .count = request->change_count, .done = committed};
    store_submit(work->service->store, &work->transaction);
}

/* Objects that were too large to be recorded are kept all the same. */
static void note_unrecorded(struct work *work)
{
    unsigned count = work->request.keys.unrecorded;
    if (count == 0)
        return;
    work->request.keys.unrecorded = 0;
    atomic_fetch_add(&work->service->unrecorded, count);
    report_unrecorded(&work->service->report, work->session->adapter_name);
}

/* An executed request goes to the store if it changes something, once its new keys are wrapped; and
 * to the audit log. */
static void pass_on(struct work *work)
{
    struct request *request = &work->request;
    if (request->change_count == 0) {
        leave_lane(work);
        record(work);
        return;
    }
    enum status status = core_prepare(request);
    if (status == STATUS_OK) {
        note_unrecorded(work);
        commit(work);
    } else if (status == STATUS_PENDING) {
        fetch(work, WORK_PREPARED);
    } else if (status == STATUS_CONFLICT && work->attempts++ < ATTEMPTS_MAX) {
        give_to_worker(work, WORK_AGAIN, status);
    } else {
        leave_lane(work);
        give_to_worker(work, WORK_REFUSE, status);
    }
}

/* ---- What the network calls ---- */

static void *opened(void *context, struct net_connection *connection, const struct net_peer *peer)
{
    (void)context;
    (void)connection;
    struct service_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return NULL;
    session->peer = peer;
    memcpy(session->core.peer, peer->address, sizeof(session->core.peer));
    if (peer->has_certificate)
        hex_text(bytes_of(peer->fingerprint, sizeof(peer->fingerprint)), session->core.certificate);
    return session;
}

static void closed(void *context, void *session)
{
    (void)context;
    free(session);
}

/* What a session may do is looked at for each frame: certificates come and go. */
static void bind_session(struct service *service, struct store_session *store,
                         struct core_session *core)
{
    struct service_session *session = CONTAINER_OF(core, struct service_session, core);
    const struct net_peer *peer = session->peer;
    registry_bind(service->registry, store, peer->has_certificate ? peer->fingerprint : NULL,
                  &session->core, &session->generation);
}

static void free_reply(struct net_reply *reply)
{
    free(reply);
}

/* No answer, no record: the connection goes. */
static void just_close(struct net_connection *connection)
{
    struct net_reply *reply = calloc(1, sizeof(*reply));
    if (reply == NULL)
        abort(); /* not even a pointer's worth: nothing can be answered, and nothing may hang */
    reply->close = true;
    reply->release = free_reply;
    net_answer(connection, reply);
}

/* Whether a stranger's request is answered and recorded, or the stranger only shown out. */
static bool admit_stranger(struct service *service)
{
    int64_t now = clock_monotonic();
    pthread_mutex_lock(&service->strangers_lock);
    service->strangers_left += (now - service->strangers_filled) * STRANGERS_PER_SECOND;
    service->strangers_filled = now;
    if (service->strangers_left > STRANGERS_BURST * INT64_C(1000))
        service->strangers_left = STRANGERS_BURST * INT64_C(1000);
    bool admitted = service->strangers_left >= 1000;
    if (admitted)
        service->strangers_left -= 1000;
    pthread_mutex_unlock(&service->strangers_lock);
    return admitted;
}

static struct work *begin(struct service *service, struct service_session *session,
                          struct net_connection *connection, struct bytes frame)
{
    struct service_loop *loop = &service->loops[net_connection_loop(connection)];
    bind_session(service, loop->store, &session->core);
    bool stranger = session->core.adapter == 0 && session->core.failure == STATUS_OK;
    if (stranger && !admit_stranger(service)) {
        atomic_fetch_add(&service->strangers_dropped, 1);
        just_close(connection);
        return NULL;
    }
    struct work *work = work_take(&loop->pool, frame);
    if (work == NULL) {
        report_fault(&service->report, STATUS_NO_MEMORY);
        just_close(connection);
        return NULL;
    }
    work->connection = connection;
    work->session = &session->core;
    work->task = WORK_EXECUTE;
    work->reply.release = release;
    return work;
}

static void frame(void *context, void *session, struct net_connection *connection,
                  struct bytes bytes)
{
    struct service *service = context;
    struct work *work = begin(service, session, connection, bytes);
    if (work == NULL)
        return;
    struct store_session *store = service->loops[net_connection_loop(connection)].store;
    go_on(work, execute(work, store, LOOP_PATIENCE));
}

static void bad_frame(void *context, void *session, struct net_connection *connection,
                      struct bytes header, enum status status)
{
    struct service *service = context;
    /* What there is of a frame that is far too long is enough to find its version in. */
    if (header.size > WORK_MEMORY / 4)
        header.size = WORK_MEMORY / 4;
    struct work *work = begin(service, session, connection, header);
    if (work == NULL)
        return;
    if (core_reject_frame(&work->request, work->session, work->frame, status) == STATUS_OK)
        record(work);
    else
        close_without_answer(work);
}

static void event(void *context, const char *address, const char *text)
{
    (void)context;
    log_debug("connection peer=%s %s", address, text);
}

const struct net_handler *service_handler(struct service *service)
{
    return &service->handler;
}

/* ---- Opening and closing ---- */

static enum status open_loops(struct service *service)
{
    unsigned loops = service->options.loops;
    service->loops = calloc(loops, sizeof(*service->loops));
    if (service->loops == NULL)
        return STATUS_NO_MEMORY;
    for (unsigned i = 0; i < loops; i++) {
        struct service_loop *loop = &service->loops[i];
        size_t ready = service->options.ready / loops + 1;
        enum status status = work_pool_open(&loop->pool, service, service->core, ready);
        if (status == STATUS_OK)
            status = store_session_open(service->store, &loop->store);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status open_workers(struct service *service)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        struct service_worker *worker = &service->workers[i];
        worker->service = service;
        enum status status = store_session_open(service->store, &worker->store);
        if (status != STATUS_OK)
            return status;
        if (pthread_create(&worker->thread, NULL, run_worker, worker) != 0)
            return STATUS_NO_MEMORY;
        service->worker_count++;
    }
    return STATUS_OK;
}

static struct service *new_service(struct core *core, struct store *store, struct audit *audit,
                                   const struct service_options *options)
{
    struct service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return NULL;
    service->core = core;
    service->store = store;
    service->audit = audit;
    service->options = *options;
    service->last = &service->first;
    for (size_t i = 0; i < LANES; i++)
        service->lanes[i].last = &service->lanes[i].first;
    report_init(&service->report);
    service->handler = (struct net_handler){.context = service,
                                            .opened = opened,
                                            .frame = frame,
                                            .bad_frame = bad_frame,
                                            .closed = closed,
                                            .event = event};
    service->strangers_left = STRANGERS_BURST * INT64_C(1000);
    service->strangers_filled = clock_monotonic();
    pthread_mutex_init(&service->strangers_lock, NULL);
    pthread_mutex_init(&service->lock, NULL);
    pthread_cond_init(&service->wake, NULL);
    return service;
}

enum status service_open(struct core *core, struct store *store, struct audit *audit,
                         const struct service_options *options, struct service **ret_service,
                         struct error *error)
{
    struct service *service = new_service(core, store, audit, options);
    if (service == NULL)
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    enum status status = registry_open(store, &service->registry);
    if (status == STATUS_OK)
        status = strays_open(&service->strays);
    if (status == STATUS_OK)
        status = open_loops(service);
    if (status == STATUS_OK)
        status = open_workers(service);
    if (status == STATUS_OK) {
        *ret_service = service;
        return STATUS_OK;
    }
    service_close(service);
    return error_set(error, status,
                     "cannot lock %u KiB of memory for answers: raise RLIMIT_MEMLOCK (ulimit -l, "
                     "or LimitMEMLOCK= in the systemd unit): %s",
                     options->ready * (WORK_MEMORY / 1024), status_text(status));
}

static void stop_workers(struct service *service)
{
    pthread_mutex_lock(&service->lock);
    service->stopping = true;
    pthread_cond_broadcast(&service->wake);
    pthread_mutex_unlock(&service->lock);
    for (unsigned i = 0; i < service->worker_count; i++)
        pthread_join(service->workers[i].thread, NULL);
    for (unsigned i = 0; i < WORKERS; i++)
        store_session_close(service->workers[i].store);
}

void service_close(struct service *service)
{
    if (service == NULL)
        return;
    stop_workers(service);
    for (unsigned i = 0; service->loops != NULL && i < service->options.loops; i++) {
        store_session_close(service->loops[i].store);
        work_pool_close(&service->loops[i].pool);
    }
    free(service->loops);
    strays_close(service->strays);
    registry_close(service->registry);
    pthread_mutex_destroy(&service->strangers_lock);
    pthread_mutex_destroy(&service->lock);
    pthread_cond_destroy(&service->wake);
    free(service);
}

void service_counters(struct service *service, struct service_counters *ret_counters)
{
    *ret_counters = (struct service_counters){
        .requests = atomic_load(&service->requests),
        .items = atomic_load(&service->items),
        .refused = atomic_load(&service->refused),
        .again = atomic_load(&service->again),
        .waited = atomic_load(&service->waited),
        .unrecorded = atomic_load(&service->unrecorded),
        .strangers_dropped = atomic_load(&service->strangers_dropped),
    };
}
