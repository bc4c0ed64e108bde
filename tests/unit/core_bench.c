/* SPDX-License-Identifier: Apache-2.0 */
#include "core_bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "keymanager/memory.h"

#define REPLY_SIZE (256u * 1024)
#define NOW        INT64_C(1700000000000)

static void must(enum status status, const char *what)
{
    if (status == STATUS_OK)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, status_name(status));
    abort();
}

void core_bench_adapter(struct core_bench *bench, const char *name, struct core_session *session)
{
    struct adapter_row row = {.created = NOW, .key_manager = KEYMANAGER_SEALED_FILE};
    must(uuid_make(NOW, &row.uuid), "uuid");
    const struct root_key_wish wish = {.now = NOW};
    must(keymanager_create_root_key(bench->keymanager, &wish, &row.root_key, NULL), "root key");
    (void)snprintf(row.name, sizeof(row.name), "%s", name);
    must(store_adapter_insert(bench->store, &row), "adapter");
    *session = (struct core_session){
        .adapter = row.id, .adapter_uuid = row.uuid, .root_key = row.root_key};
    (void)snprintf(session->adapter_name, sizeof(session->adapter_name), "%s", name);
}

#define SECONDS     CORE_BENCH_KEY_SECONDS
#define KEY_SECONDS SECONDS, SECONDS, SECONDS, SECONDS, SECONDS

const struct core_options core_bench_options = {
    .locate_max = 1000,
    .lease_seconds = 3600,
    .key_cache_entries = 64,
    .key_cache_seconds = {KEY_SECONDS},
    .store_wrapped_keys = {[KEYMANAGER_KEY_PROTECT] = true},
    .key_manager_seconds = 1,
    .object_max = 65536,
    .request_memory = 4u * 1024 * 1024};

void core_bench_open(struct core_bench *bench)
{
    core_bench_open_over(bench, &core_bench_options, NULL);
}

void core_bench_open_over(struct core_bench *bench, const struct core_options *options,
                          struct store *store)
{
    *bench = (struct core_bench){.store = store};
    must(secret_heap_init(1 << 20, NULL), "secret heap");
    if (store == NULL)
        must(store_open_memory(&bench->store, NULL), "store");
    must(store_session_open(bench->store, &bench->session_store), "session");
    must(keymanager_open_memory(&bench->keymanager), "key manager");
    clock_init_test(&bench->clock, NOW);
    bench->keymanagers.by_code[KEYMANAGER_SEALED_FILE] = bench->keymanager;
    must(core_open(bench->store, &bench->keymanagers, &bench->clock, options, &bench->core),
         "core");
    core_bench_adapter(bench, "default", &bench->session);
    bench->reply_memory = malloc(REPLY_SIZE);
    if (bench->reply_memory == NULL)
        abort();
    if (sem_init(&bench->fetched, 0, 0) != 0)
        abort();
    request_init(&bench->request, bench->core, bench->reply_memory, REPLY_SIZE);
    arena_init(&bench->arena, 16u * 1024 * 1024);
}

void core_bench_close(struct core_bench *bench)
{
    request_free(&bench->request);
    arena_free(&bench->arena);
    free(bench->reply_memory);
    (void)sem_destroy(&bench->fetched);
    core_close(bench->core);
    keymanager_close(bench->keymanager);
    store_session_close(bench->session_store);
    store_close(bench->store);
}

static void wake(struct request *request)
{
    struct core_bench *bench = CONTAINER_OF(request, struct core_bench, request);
    (void)sem_post(&bench->fetched);
}

static void fetch(struct core_bench *bench)
{
    core_fetch(&bench->request, wake);
    while (sem_wait(&bench->fetched) != 0)
        ;
}

enum status core_bench_settle(struct core_bench *bench, enum status status)
{
    struct request *request = &bench->request;
    while (status == STATUS_PENDING) {
        fetch(bench);
        status = core_execute_fetched(request);
    }
    if (status != STATUS_OK || request->change_count == 0)
        return status;
    while ((status = core_prepare(request)) == STATUS_PENDING)
        fetch(bench);
    return status == STATUS_OK ? STATUS_OK : core_refuse(request, status);
}

enum status core_bench_run(struct core_bench *bench, const struct core_session *session,
                           struct bytes frame)
{
    struct request *request = &bench->request;
    enum status status = core_bench_settle(
        bench, core_execute(request, session, bench->session_store, frame, SIZE_MAX));
    if (status != STATUS_OK)
        return status;
    for (int i = 0; request->change_count > 0 && i < 8; i++) {
        status = store_commit(bench->store, request->changes, request->change_count);
        core_committed(request, status);
        if (status == STATUS_OK)
            return STATUS_OK;
        enum status again = core_bench_settle(bench, core_execute_again(request, false));
        if (again != STATUS_OK)
            return again;
    }
    return status;
}
