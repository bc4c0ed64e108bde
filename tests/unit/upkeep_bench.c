/* SPDX-License-Identifier: Apache-2.0 */
#include "upkeep_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "keymanager/memory.h"
#include "store_files.h"

#define SECONDS 60

static const struct core_options core_options = {
    .locate_max = 1000,
    .lease_seconds = 3600,
    .key_cache_entries = 4096,
    .key_cache_seconds = {SECONDS, SECONDS, SECONDS, SECONDS, SECONDS},
    .object_max = 65536,
    .request_memory = 1024 * 1024};

static const struct upkeep_times times = {
    .tick = 5, .save = 1, .settle = 40, .retry_first = 4, .retry_most = 20};

static void must(enum status status, const char *what)
{
    if (status == STATUS_OK)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, status_name(status));
    abort();
}

struct uuid bench_root_key(struct keymanager *keymanager)
{
    const struct root_key_wish wish = {.now = BENCH_NOW};
    struct uuid id;
    must(keymanager_create_root_key(keymanager, &wish, &id, NULL), "root key");
    return id;
}

void bench_adapter(struct upkeep_bench *bench, const char *name, struct adapter_row *ret_row)
{
    *ret_row = (struct adapter_row){.created = BENCH_NOW, .key_manager = KEYMANAGER_SEALED_FILE};
    ret_row->root_key = bench_root_key(bench->local);
    must(uuid_make(BENCH_NOW, &ret_row->uuid), "uuid");
    (void)snprintf(ret_row->name, sizeof(ret_row->name), "%s", name);
    must(store_adapter_insert(bench->store, ret_row), "adapter");
}

static void open_store(struct upkeep_bench *bench)
{
    const struct store_options options = {.cache_bytes = 1 << 20};
    struct error error = {0};
    must(bench->directory[0] == '\0'
             ? store_open_memory(&bench->store, &error)
             : store_open_sqlite(bench->path, &options, &bench->store, &error),
         "store");
    must(store_session_open(bench->store, &bench->session), "session");
    must(core_open(bench->store, &bench->keymanagers, &bench->clock, &core_options, &bench->core),
         "core");
}

static void close_store(struct upkeep_bench *bench)
{
    core_close(bench->core);
    store_session_close(bench->session);
    store_close(bench->store);
}

void bench_open(struct upkeep_bench *bench, bool on_disk)
{
    *bench = (struct upkeep_bench){0};
    must(secret_heap_init(1 << 20, NULL), "secret heap");
    if (on_disk)
        files_make_directory(bench->directory, sizeof(bench->directory));
    (void)snprintf(bench->path, sizeof(bench->path), "%s/store.db", bench->directory);
    clock_init_test(&bench->clock, BENCH_NOW);
    must(keymanager_open_memory(&bench->local), "key manager");
    bench->remote = fake_open(KEYMANAGER_KEY_PROTECT, 1);
    bench->keymanagers.by_code[KEYMANAGER_SEALED_FILE] = bench->local;
    bench->keymanagers.by_code[KEYMANAGER_KEY_PROTECT] = bench->remote;
    bench->remote_root_key = bench_root_key(bench->remote);
    for (size_t i = 0; i < ARRAY_COUNT(bench->options.policies); i++)
        bench->options.policies[i] =
            (struct upkeep_policy){.check_interval = 20, .cache_time = 60000, .jobs_max = 16};
    open_store(bench);
    bench_adapter(bench, "default", &bench->adapter);
}

void bench_close(struct upkeep_bench *bench)
{
    bench_upkeep_stop(bench);
    close_store(bench);
    keymanager_close(bench->local);
    keymanager_close(bench->remote);
    if (bench->directory[0] != '\0')
        files_remove_directory(bench->directory);
}

static void copy_file(const char *from, const char *to)
{
    char command[512];
    (void)snprintf(command, sizeof(command), "test ! -e %s || cp %s %s", from, from, to);
    if (system(command) != 0)
        abort();
}

/* As after a power cut: the log first, which SQLite takes as far as it is whole and fits the file. */
void bench_copy(struct upkeep_bench *from, struct upkeep_bench *copy)
{
    char source[128];
    char target[128];
    *copy = (struct upkeep_bench){.local = from->local,
                                  .remote = from->remote,
                                  .keymanagers = from->keymanagers,
                                  .options = from->options,
                                  .adapter = from->adapter,
                                  .remote_root_key = from->remote_root_key};
    clock_init_test(&copy->clock, clock_now(&from->clock));
    files_make_directory(copy->directory, sizeof(copy->directory));
    (void)snprintf(copy->path, sizeof(copy->path), "%s/store.db", copy->directory);
    copy_file(from->path, copy->path);
    (void)snprintf(source, sizeof(source), "%s-wal", from->path);
    (void)snprintf(target, sizeof(target), "%s-wal", copy->path);
    copy_file(source, target);
    open_store(copy);
}

void bench_close_copy(struct upkeep_bench *copy)
{
    bench_upkeep_stop(copy);
    close_store(copy);
    files_remove_directory(copy->directory);
}

void bench_upkeep_start(struct upkeep_bench *bench)
{
    struct error error = {0};
    must(upkeep_open(bench->core, bench->store, NULL, &bench->clock, &bench->keymanagers,
                     &bench->options, &bench->upkeep, &error),
         "upkeep");
    bench->upkeep->times = times;
    must(upkeep_start(bench->upkeep, &error), "upkeep");
}

void bench_upkeep_stop(struct upkeep_bench *bench)
{
    upkeep_close(bench->upkeep);
    bench->upkeep = NULL;
}

struct adapter_row bench_read_adapter(struct upkeep_bench *bench)
{
    struct adapter_row row;
    must(store_adapter_find(bench->session, bytes_of_text(bench->adapter.name), &row), "adapter");
    return row;
}

/* ---- Objects ---- */

struct uuid bench_id(unsigned number)
{
    struct uuid id = {{0x01, 0x90, 0, 0, 0, 0, 0x70, 0, 0x80}};
    for (int i = 0; i < 4; i++)
        id.bytes[15 - i] = (uint8_t)(number >> (8 * i));
    id.bytes[8] |= number & 0x3F; /* where the cache of keys expects randomness */
    id.bytes[9] = (uint8_t)(number >> 6);
    return id;
}

static void fill_key(uint8_t key[static BENCH_KEY_SIZE], unsigned number)
{
    for (int i = 0; i < BENCH_KEY_SIZE; i++)
        key[i] = (uint8_t)((number + 1) * 7 + (unsigned)i * 13 + (number >> 8));
}

void bench_insert(struct upkeep_bench *bench, const struct adapter_row *adapter, unsigned number)
{
    uint8_t key[BENCH_KEY_SIZE];
    struct secret secret = {0};
    struct buffer blob;
    const struct wrap_binding binding = {
        .object = bench_id(number), .adapter = adapter->uuid, .root_key = adapter->root_key};
    fill_key(key, number);
    buffer_init(&blob, 4096);
    must(secret_copy(&secret, bytes_of(key, sizeof(key))), "secret");
    must(keymanager_wrap(bench->keymanagers.by_code[adapter->key_manager], &binding, &secret, &blob),
         "wrap");
    secret_free(&secret);
    struct store_change change = {.kind = STORE_INSERT,
                                  .row = {.id = binding.object,
                                          .adapter = adapter->id,
                                          .object_type = 2,
                                          .state = 2,
                                          .wrapped.blob = buffer_bytes(&blob)}};
    must(store_commit(bench->store, &change, 1), "insert");
    buffer_free(&blob);
}

void bench_insert_many(struct upkeep_bench *bench, unsigned first, unsigned count)
{
    const struct adapter_row adapter = bench_read_adapter(bench);
    for (unsigned i = 0; i < count; i++)
        bench_insert(bench, &adapter, first + i);
}

bool bench_update(struct upkeep_bench *bench, struct store_session *session, unsigned number,
                  uint32_t state)
{
    struct stored_object *object;
    const struct uuid id = bench_id(number);
    must(store_get(session, bench->adapter.id, &id, &object), "get");
    struct store_change change = {.kind = STORE_UPDATE, .row = object->row};
    change.row.state = state;
    if (state == 5)
        change.row.wrapped = (struct wrapped){0};
    enum status status = store_commit(bench->store, &change, 1);
    stored_object_release(object);
    if (status != STATUS_CONFLICT)
        must(status, "update");
    return status == STATUS_OK;
}

void bench_check(struct upkeep_bench *bench, unsigned first, unsigned count,
                 enum keymanager_code code, const struct uuid *root_key, uint32_t version)
{
    for (unsigned i = first; i < first + count; i++) {
        struct stored_object *object = NULL;
        struct wrapped_origin origin;
        struct keymanager *keymanager;
        struct wrap_binding binding;
        struct secret secret = {0};
        uint8_t key[BENCH_KEY_SIZE];
        const struct uuid id = bench_id(i);
        fill_key(key, i);
        assert_int_equal(store_get(bench->session, bench->adapter.id, &id, &object), STATUS_OK);
        assert_int_equal(wrapped_origin(object->row.wrapped, &origin), STATUS_OK);
        if (root_key != NULL) {
            assert_int_equal(origin.code, code);
            assert_true(uuid_equal(&origin.binding.root_key, root_key));
        }
        if (version != 0)
            assert_int_equal(origin.version, version);
        assert_int_equal(keymanagers_of(&bench->keymanagers, object->row.wrapped, &id,
                                        &bench->adapter.uuid, &keymanager, &binding),
                         STATUS_OK);
        assert_int_equal(
            keymanager_unwrap(keymanager, &binding, object->row.wrapped, &secret, NULL),
            STATUS_OK);
        assert_int_equal(secret.size, sizeof(key));
        assert_memory_equal(secret.data, key, sizeof(key));
        secret_free(&secret);
        stored_object_release(object);
    }
}

struct upkeep_progress bench_progress(struct upkeep_bench *bench)
{
    struct upkeep_progress progress = {0};
    must(upkeep_rewrap_progress(bench->upkeep, &bench->adapter.uuid, &progress), "progress");
    return progress;
}

bool bench_settled(struct upkeep_bench *bench)
{
    (void)pthread_mutex_lock(&bench->upkeep->lock);
    const struct rewrap *rewrap = rewrap_find(bench->upkeep, &bench->adapter.uuid);
    bool settled =
        rewrap != NULL && !rewrap->restart && rewrap->state.phase == REWRAP_DONE;
    (void)pthread_mutex_unlock(&bench->upkeep->lock);
    return settled;
}
