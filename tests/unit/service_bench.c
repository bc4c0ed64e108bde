/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "service_bench.h"

#include <errno.h>

#include "base/secret.h"
#include "faults.h"
#include "store_files.h"

#define REPLY_MAX      (2u * 1024 * 1024)
#define READY          4
#define FINGERPRINT    STORE_FINGERPRINT_SIZE
#define REGIONS_MAX    256
#define AUDIT_FOLDER   "/audit"
#define ANSWER_SECONDS 20

struct service_faults service_faults;

/* ---- Opening ---- */

void service_bench_let_in(struct service_bench *bench, int64_t adapter, uint8_t mark)
{
    struct certificate_row row = {.adapter = adapter, .der = BYTES_LITERAL("der")};
    assert_int_equal(uuid_make(TALK_NOW * 1000, &row.id), STATUS_OK);
    (void)snprintf(row.name, sizeof(row.name), "certificate %u", mark);
    memset(row.fingerprint, mark, sizeof(row.fingerprint));
    assert_int_equal(store_certificate_insert(bench->talk.bench.store, &row), STATUS_OK);
}

void service_bench_open(struct service_bench *bench, size_t reply_max)
{
    char folder[300];
    struct error error = {0};
    const struct service_options options = {
        .loops = SERVICE_LOOPS, .ready = READY, .reply_max = reply_max};
    service_faults = (struct service_faults){.locked_left = -1, .bench = bench};
    talk_open(&bench->talk);
    files_make_directory(bench->directory, sizeof(bench->directory));
    (void)snprintf(folder, sizeof(folder), "%s" AUDIT_FOLDER, bench->directory);
    const struct audit_options audit = {.directory = folder};
    assert_int_equal(audit_open(&audit, &bench->audit, &error), STATUS_OK);
    assert_int_equal(service_open(bench->talk.bench.core, bench->talk.bench.store, bench->audit,
                                  &options, &bench->service, &error),
                     STATUS_OK);
    bench->handler = service_handler(bench->service);
    service_bench_let_in(bench, bench->talk.bench.session.adapter, 1);
}

void service_bench_stop(struct service_bench *bench)
{
    service_close(bench->service);
    audit_close(bench->audit);
    bench->service = NULL;
    bench->audit = NULL;
}

void service_bench_close(struct service_bench *bench)
{
    char folder[300];
    service_bench_stop(bench);
    talk_close(&bench->talk);
    (void)snprintf(folder, sizeof(folder), "%s" AUDIT_FOLDER, bench->directory);
    files_remove_directory(folder);
    files_remove_directory(bench->directory);
}

int service_bench_setup(void **state)
{
    static struct service_bench bench;
    service_bench_open(&bench, REPLY_MAX);
    *state = &bench;
    return 0;
}

int service_bench_teardown(void **state)
{
    service_bench_close(*state);
    return 0;
}

/* ---- Connections ---- */

void connection_open(struct net_connection *connection, struct service_bench *bench, unsigned loop,
                     uint8_t mark)
{
    *connection =
        (struct net_connection){.bench = bench, .loop = loop, .peer.has_certificate = mark != 0};
    (void)snprintf(connection->peer.address, sizeof(connection->peer.address), "192.0.2.%u:5000",
                   mark);
    memset(connection->peer.fingerprint, mark, sizeof(connection->peer.fingerprint));
    assert_int_equal(pthread_mutex_init(&connection->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&connection->answered, NULL), 0);
    connection->session =
        bench->handler->opened(bench->handler->context, connection, &connection->peer);
    assert_non_null(connection->session);
}

void connection_close(struct net_connection *connection)
{
    connection->bench->handler->closed(connection->bench->handler->context, connection->session);
    pthread_mutex_destroy(&connection->lock);
    pthread_cond_destroy(&connection->answered);
}

void __wrap_net_answer(struct net_connection *connection, struct net_reply *reply);
unsigned __wrap_net_connection_loop(const struct net_connection *connection);

unsigned __wrap_net_connection_loop(const struct net_connection *connection)
{
    return connection->loop;
}

void __wrap_net_answer(struct net_connection *connection, struct net_reply *reply)
{
    pthread_mutex_lock(&connection->lock);
    assert_null(connection->reply); /* exactly one answer to a frame */
    connection->reply = reply;
    connection->answering = pthread_self();
    pthread_cond_signal(&connection->answered);
    pthread_mutex_unlock(&connection->lock);
}

/* Waits for the answer, copies it, and gives it back on this thread, which is the loop's. */
static struct reply take_answer(struct net_connection *connection)
{
    struct timespec deadline;
    struct reply copy = {0};
    (void)clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += ANSWER_SECONDS;
    pthread_mutex_lock(&connection->lock);
    while (connection->reply == NULL)
        if (pthread_cond_timedwait(&connection->answered, &connection->lock, &deadline) != 0)
            abort(); /* a frame was never answered */
    struct net_reply *reply = connection->reply;
    connection->reply = NULL;
    pthread_mutex_unlock(&connection->lock);
    if (reply->bytes.size > 0) {
        uint8_t *data = malloc(reply->bytes.size);
        if (data == NULL)
            abort();
        memcpy(data, reply->bytes.data, reply->bytes.size);
        copy.bytes = bytes_of(data, reply->bytes.size);
    }
    copy.close = reply->close;
    reply->release(reply);
    return copy;
}

/* A frame lives only during the call: the copy is gone behind it. */
static uint8_t *borrow(struct bytes bytes)
{
    uint8_t *copy = malloc(bytes.size > 0 ? bytes.size : 1);
    if (copy == NULL)
        abort();
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    return copy;
}

struct reply connection_send(struct net_connection *connection, struct bytes frame)
{
    const struct net_handler *handler = connection->bench->handler;
    uint8_t *copy = borrow(frame);
    handler->frame(handler->context, connection->session, connection, bytes_of(copy, frame.size));
    free(copy);
    return take_answer(connection);
}

struct reply connection_send_bad(struct net_connection *connection, struct bytes header,
                                 enum status status)
{
    const struct net_handler *handler = connection->bench->handler;
    uint8_t *copy = borrow(header);
    handler->bad_frame(handler->context, connection->session, connection,
                       bytes_of(copy, header.size), status);
    free(copy);
    return take_answer(connection);
}

struct reply connection_send_without(struct net_connection *connection, struct bytes frame,
                                     size_t at, bool *ret_failed)
{
    const struct net_handler *handler = connection->bench->handler;
    faults_allocations(at, false);
    handler->frame(handler->context, connection->session, connection, frame);
    *ret_failed = faults_allocation_failed();
    faults_allocations_end();
    return take_answer(connection);
}

void reply_free(struct reply *reply)
{
    free((void *)(uintptr_t)reply->bytes.data);
    *reply = (struct reply){0};
}

const struct kmip_response_item *ask(struct net_connection *connection, size_t expected)
{
    struct talk *talk = &connection->bench->talk;
    struct kmip_response response;
    struct bytes copy;
    struct reply reply = connection_send(connection, talk_frame(talk));
    assert_true(arena_copy(talk_arena(talk), reply.bytes, &copy));
    reply_free(&reply);
    assert_int_equal(kmip_decode_response(copy, talk_arena(talk), &response), STATUS_OK);
    assert_int_equal(response.items.count, expected);
    return response.items.items;
}

/* ---- What goes wrong ---- */

void __real_store_submit(struct store *store, struct store_transaction *transaction);
void __wrap_store_submit(struct store *store, struct store_transaction *transaction);
enum status __real_store_adapters(struct store_session *session, store_visit_adapter *visit,
                                  void *context);
enum status __wrap_store_adapters(struct store_session *session, store_visit_adapter *visit,
                                  void *context);
enum status __real_store_find(struct store_session *session, const struct store_query *query,
                              store_visit *visit, void *context, int64_t *ret_next);
enum status __wrap_store_find(struct store_session *session, const struct store_query *query,
                              store_visit *visit, void *context, int64_t *ret_next);
int __real_fdatasync(int file);
int __wrap_fdatasync(int file);
void *__real_locked_allocate(size_t size);
void *__wrap_locked_allocate(size_t size);
void __real_locked_free(void *memory, size_t size);
void __wrap_locked_free(void *memory, size_t size);

/* True once for each of those that are left; -1: always. */
static bool take_one(_Atomic int *left)
{
    int now = atomic_load(left);
    while (now > 0)
        if (atomic_compare_exchange_weak(left, &now, now - 1))
            return true;
    return now < 0;
}

void __wrap_store_submit(struct store *store, struct store_transaction *transaction)
{
    if (service_faults.before_submit != NULL)
        service_faults.before_submit(service_faults.bench);
    if (take_one(&service_faults.submits_left))
        transaction->done(transaction, atomic_load(&service_faults.submit_status));
    else
        __real_store_submit(store, transaction);
}

enum status __wrap_store_adapters(struct store_session *session, store_visit_adapter *visit,
                                  void *context)
{
    enum status status = atomic_load(&service_faults.adapters_status);
    return status != STATUS_OK ? status : __real_store_adapters(session, visit, context);
}

enum status __wrap_store_find(struct store_session *session, const struct store_query *query,
                              store_visit *visit, void *context, int64_t *ret_next)
{
    atomic_store(&service_faults.searching, (uint64_t)pthread_self());
    return __real_store_find(session, query, visit, context, ret_next);
}

int __wrap_fdatasync(int file)
{
    if (!atomic_load(&service_faults.audit_fails))
        return __real_fdatasync(file);
    errno = EIO;
    return -1;
}

static struct region {
    uint8_t *memory;
    size_t size;
} regions[REGIONS_MAX];
static pthread_mutex_t regions_lock = PTHREAD_MUTEX_INITIALIZER;

void *__wrap_locked_allocate(size_t size)
{
    if (!take_one(&service_faults.locked_left))
        return NULL;
    uint8_t *memory = __real_locked_allocate(size);
    pthread_mutex_lock(&regions_lock);
    for (size_t i = 0; i < REGIONS_MAX && memory != NULL; i++)
        if (regions[i].memory == NULL) {
            regions[i] = (struct region){memory, size};
            break;
        }
    pthread_mutex_unlock(&regions_lock);
    return memory;
}

void __wrap_locked_free(void *memory, size_t size)
{
    pthread_mutex_lock(&regions_lock);
    for (size_t i = 0; i < REGIONS_MAX && memory != NULL; i++)
        if (regions[i].memory == memory)
            regions[i] = (struct region){0};
    pthread_mutex_unlock(&regions_lock);
    __real_locked_free(memory, size);
}

bool locked_memory_has(struct bytes needle)
{
    bool found = false;
    pthread_mutex_lock(&regions_lock);
    for (size_t i = 0; i < REGIONS_MAX; i++)
        if (regions[i].memory != NULL)
            found |= memmem(regions[i].memory, regions[i].size, needle.data, needle.size) != NULL;
    pthread_mutex_unlock(&regions_lock);
    return found;
}
