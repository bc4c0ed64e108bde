/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that need a key manager which is far away: keys are fetched between two executions, new
 * ones wrapped and recorded before the commit, and nothing of it happens twice or halfway. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <openssl/crypto.h>

#include "core/admin.h"
#include "core/record.h"
#include "core_talk.h"
#include "faults.h"
#include "slow_keymanager.h"

static struct slow_keymanager *near_one; /* of the adapter; keeps records */
static struct slow_keymanager *other_one;
static struct slow_script *script; /* of near_one */
static size_t secrets;             /* bytes of the secret heap that were in use before */

static int setup(void **state)
{
    static struct talk talk;
    secrets = CRYPTO_secure_used();
    talk_open(&talk);
    near_one = slow_open(KEYMANAGER_KEY_PROTECT);
    other_one = slow_open(KEYMANAGER_KEY_PROTECT_2);
    script = slow_script(near_one);
    talk.bench.keymanagers.by_code[KEYMANAGER_KEY_PROTECT] = slow_keymanager(near_one);
    talk.bench.keymanagers.by_code[KEYMANAGER_KEY_PROTECT_2] = slow_keymanager(other_one);
    talk.bench.session.key_manager = KEYMANAGER_KEY_PROTECT;
    talk.bench.session.root_key = slow_root_key(near_one);
    *state = &talk;
    return 0;
}

static int teardown(void **state)
{
    struct talk *talk = *state;
    talk_close(talk);
    slow_close(near_one);
    slow_close(other_one);
    assert_int_equal(CRYPTO_secure_used(), secrets); /* no key is left behind */
    return 0;
}

static unsigned asked(enum keymanager_task task)
{
    return atomic_load(&script->asked[task]);
}

static void let_fail(enum keymanager_task task, enum status status, int count)
{
    atomic_store(&script->fail[task], status);
    atomic_store(&script->fail_left[task], count);
}

static void forget(struct talk *talk)
{
    core_forget_keys(talk->bench.core);
}

static enum status execute(struct talk *talk)
{
    struct core_bench *bench = &talk->bench;
    return core_execute(&bench->request, talk->session, bench->session_store, talk_frame(talk),
                        SIZE_MAX);
}

static void wake(struct request *request)
{
    (void)sem_post(&CONTAINER_OF(request, struct core_bench, request)->fetched);
}

static void fetch(struct talk *talk)
{
    core_fetch(&talk->bench.request, wake);
    assert_int_equal(sem_wait(&talk->bench.fetched), 0);
}

/* Executes the message until only its commit is missing. */
static void execute_all_but_commit(struct talk *talk)
{
    assert_int_equal(core_bench_settle(&talk->bench, execute(talk)), STATUS_OK);
    assert_int_equal(talk->bench.request.refusal, STATUS_OK);
}

static void commit(struct talk *talk)
{
    struct request *request = &talk->bench.request;
    enum status status = store_commit(talk->bench.store, request->changes, request->change_count);
    assert_int_equal(status, STATUS_OK);
    core_committed(request, status);
}

static struct stored_object *stored(struct talk *talk, struct bytes id)
{
    struct uuid uuid;
    struct stored_object *object;
    assert_true(uuid_parse(id, &uuid));
    assert_int_equal(store_get(talk->bench.session_store, talk->session->adapter, &uuid, &object),
                     STATUS_OK);
    return object;
}

static unsigned strays(struct talk *talk)
{
    unsigned count = 0;
    struct keymanager *keymanager;
    struct uuid record;
    while (core_take_stray(&talk->bench.request, &keymanager, &record)) {
        assert_ptr_equal(keymanager, slow_keymanager(near_one));
        assert_int_equal(keymanager_record_delete(keymanager, &record, NULL), STATUS_OK);
        count++;
    }
    return count;
}

struct waiting {
    sem_t done;
    enum status status;
};

static void came(void *context, enum status status)
{
    struct waiting *waiting = context;
    waiting->status = status;
    (void)sem_post(&waiting->done);
}

/* PENDING: it was fetched. */
static enum status fetch_key_of(struct core *core, const struct uuid *adapter,
                                struct stored_object *object)
{
    struct waiting waiting = {.status = STATUS_OK};
    assert_int_equal(sem_init(&waiting.done, 0, 0), 0);
    enum status status = core_fetch_key(core, adapter, object, came, &waiting);
    if (status == STATUS_PENDING)
        assert_int_equal(sem_wait(&waiting.done), 0);
    assert_int_equal(sem_destroy(&waiting.done), 0);
    return waiting.status != STATUS_OK ? waiting.status : status;
}

static enum status fetch_key(struct talk *talk, struct bytes id)
{
    struct stored_object *object = stored(talk, id);
    enum status status = fetch_key_of(talk->bench.core, &talk->session->adapter_uuid, object);
    stored_object_release(object);
    return status;
}

/* ---- Fetching ---- */

static void a_cold_key_is_fetched_once(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    struct bytes key = key_of(talk, id);
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 0); /* it is known since it was made */
    forget(talk);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    assert_int_equal(execute(talk), STATUS_PENDING);
    assert_int_equal(talk->bench.request.change_count, 0);
    assert_int_equal(talk->bench.request.record_count, 0);
    fetch(talk);
    assert_int_equal(core_execute_fetched(&talk->bench.request), STATUS_OK);
    assert_success(talk_read(talk, 1));
    assert_true(bytes_equal(key_of(talk, id), key));
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 1);
    assert_int_equal(atomic_load(&script->background), 0);
}

static void keys_of_a_batch_are_fetched_together(void **state)
{
    struct talk *talk = *state;
    enum { KEYS = 9 };
    struct bytes ids[KEYS];
    for (int i = 0; i < KEYS; i++)
        ids[i] = create_key(talk);
    forget(talk);
    atomic_store(&script->delay, 20);
    for (int i = 0; i < KEYS; i++)
        put_id(talk_item(talk, KMIP_OPERATION_GET), ids[i]);
    put_id(talk_item(talk, KMIP_OPERATION_GET), ids[0]); /* once more: not fetched twice */
    atomic_store(&script->most, 0);
    const struct kmip_response_item *items = talk_send(talk, KEYS + 1);
    for (int i = 0; i <= KEYS; i++)
        assert_success(&items[i]);
    assert_int_equal(asked(KEYMANAGER_UNWRAP), KEYS);
    assert_int_equal(atomic_load(&script->most), KEYS);
    assert_int_equal(talk->bench.request.keys.rounds, 1);
}

static void a_batch_that_ends_early_fetches_no_more(void **state)
{
    struct talk *talk = *state;
    struct bytes first = create_key(talk);
    struct bytes last = create_key(talk);
    forget(talk);
    put_id(talk_item(talk, KMIP_OPERATION_GET), first);
    put_id(talk_item(talk, KMIP_OPERATION_GET), BYTES_LITERAL("unknown"));
    put_id(talk_item(talk, KMIP_OPERATION_GET), last);
    const struct kmip_response_item *items = talk_send(talk, 2);
    assert_success(&items[0]);
    assert_reason(&items[1], KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 1);
}

/* Everything takes effect once, however often the batch was executed. */
static void changes_of_a_batch_that_waits_happen_once(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    forget(talk);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITH(named("x-a", integer(7))));
    talk_item(talk, KMIP_OPERATION_ACTIVATE);
    talk_item(talk, KMIP_OPERATION_GET);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    put_id(talk_item(talk, KMIP_OPERATION_RE_KEY), id);
    talk_item(talk, KMIP_OPERATION_GET);
    const struct kmip_response_item *items = talk_send(talk, 6);
    for (int i = 0; i < 6; i++)
        assert_success(&items[i]);
    assert_int_equal(locate(talk, WITHOUT).count, 3);
    assert_int_equal(asked(KEYMANAGER_WRAP), 3);
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 1);
    assert_int_equal(slow_records(near_one), 3);
    assert_int_equal(strays(talk), 0);
    assert_int_equal(state_of(talk, created_id(talk, &items[0])), KMIP_STATE_ACTIVE);
}

/* A key that is made and read in one message is the one that is stored. */
static void a_new_key_is_read_before_it_is_wrapped(void **state)
{
    struct talk *talk = *state;
    struct kmip_get_response got;
    struct kmip_key_value value;
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    talk_item(talk, KMIP_OPERATION_GET);
    const struct kmip_response_item *items = talk_send(talk, 2);
    talk_payload(talk, &items[1], &kmip_get_response_shape, &got);
    assert_int_equal(kmip_decode(&kmip_key_value_shape,
                                 ttlv_reader_over(got.symmetric_key->key_block->key_value.value),
                                 talk_arena(talk), &value),
                     STATUS_OK);
    struct bytes id = created_id(talk, &items[0]);
    assert_true(bytes_equal(value.key_material.value, key_of(talk, id)));
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 0);
    forget(talk);
    assert_true(bytes_equal(value.key_material.value, key_of(talk, id)));
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 1);
}

static void a_key_destroyed_in_its_batch_is_not_wrapped(void **state)
{
    struct talk *talk = *state;
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    talk_item(talk, KMIP_OPERATION_DESTROY);
    const struct kmip_response_item *items = talk_send(talk, 2);
    assert_success(&items[1]);
    assert_int_equal(asked(KEYMANAGER_WRAP) + asked(KEYMANAGER_RECORD), 0);
    assert_int_equal(state_of(talk, created_id(talk, &items[0])), KMIP_STATE_DESTROYED);
}

/* ---- What goes wrong ---- */

static void what_cannot_be_fetched_fails_its_item_alone(void **state)
{
    struct talk *talk = *state;
    static const struct {
        enum status status;
        uint32_t reason;
    } cases[] = {
        {STATUS_KEY_MANAGER_UNAVAILABLE, KMIP_RESULT_REASON_GENERAL_FAILURE},
        {STATUS_ROOT_KEY_UNAVAILABLE, KMIP_RESULT_REASON_GENERAL_FAILURE},
        {STATUS_UNWRAP_FAILED, KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE},
        {STATUS_NO_MEMORY, KMIP_RESULT_REASON_GENERAL_FAILURE},
    };
    struct bytes ids[] = {create_key(talk), create_key(talk)};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        forget(talk);
        let_fail(KEYMANAGER_UNWRAP, cases[i].status, 1);
        talk->header.batch_error_continuation_option =
            kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_CONTINUE);
        put_id(talk_item(talk, KMIP_OPERATION_GET), ids[0]);
        put_id(talk_item(talk, KMIP_OPERATION_GET), ids[1]);
        put_id(talk_item(talk, KMIP_OPERATION_GET_ATTRIBUTES), ids[0]);
        const struct kmip_response_item *items = talk_send(talk, 3);
        bool first = items[0].result_status.value != KMIP_RESULT_STATUS_SUCCESS;
        assert_reason(&items[first ? 0 : 1], cases[i].reason);
        assert_success(&items[first ? 1 : 0]);
        assert_success(&items[2]);
        assert_int_equal(talk->bench.request.worst, cases[i].status);
    }
    let_fail(KEYMANAGER_UNWRAP, STATUS_OK, 0);
    assert_int_equal(key_of(talk, ids[0]).size, 32);
}

/* A key manager that lies is not believed. */
static void impossible_answers_are_no_keys(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    forget(talk);
    atomic_store(&script->empty, true);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE);
    assert_reason(try_create(talk, WITHOUT), KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE);
    atomic_store(&script->empty, false);
    atomic_store(&script->another, true);
    assert_reason(try_create(talk, WITHOUT), KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE);
    atomic_store(&script->another, false);
    assert_int_equal(key_of(talk, id).size, 32);
    assert_int_equal(locate(talk, WITHOUT).count, 1);
}

static void what_cannot_be_wrapped_refuses_the_message(void **state)
{
    struct talk *talk = *state;
    static const enum keymanager_task tasks[] = {KEYMANAGER_WRAP, KEYMANAGER_RECORD};
    struct bytes id = create_key(talk);
    for (size_t i = 0; i < ARRAY_COUNT(tasks); i++) {
        let_fail(tasks[i], STATUS_KEY_MANAGER_UNAVAILABLE, 1);
        put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
        put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
        put_id(talk_item(talk, KMIP_OPERATION_ACTIVATE), id);
        const struct kmip_response_item *items = talk_send(talk, 3);
        for (int j = 0; j < 3; j++)
            assert_reason(&items[j], KMIP_RESULT_REASON_GENERAL_FAILURE);
        assert_int_equal(strays(talk), i); /* the one of two records that was made */
    }
    assert_int_equal(locate(talk, WITHOUT).count, 1);
    assert_int_equal(state_of(talk, id), KMIP_STATE_PRE_ACTIVE);
    assert_int_equal(slow_records(near_one), 1);
}

static void a_key_manager_that_is_silent_is_given_up(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    forget(talk);
    atomic_store(&script->holding, true);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_int_equal(talk->bench.request.worst, STATUS_KEY_MANAGER_UNAVAILABLE);
    slow_release(near_one);
}

static void a_key_manager_that_is_not_here_is_unavailable(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    talk->bench.keymanagers.by_code[KEYMANAGER_KEY_PROTECT] = NULL;
    assert_int_equal(key_of(talk, id).size, 32); /* from the cache */
    forget(talk);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_reason(try_create(talk, WITHOUT), KMIP_RESULT_REASON_GENERAL_FAILURE);
}

/* Somebody wraps the key anew each time that it was fetched. The version in an envelope's header is
 * such a change, and the key opens all the same. */
static void a_blob_that_never_stays_is_given_up(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    unsigned rounds = 0;
    forget(talk);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    enum status status = execute(talk);
    for (; status == STATUS_PENDING; rounds++) {
        fetch(talk);
        struct stored_object *object = stored(talk, id);
        uint8_t blob[1024];
        memcpy(blob, object->row.wrapped.blob.data, object->row.wrapped.blob.size);
        blob[8]++;
        struct store_change change = {.kind = STORE_UPDATE, .row = object->row};
        change.row.wrapped.blob.data = blob;
        assert_int_equal(store_commit(talk->bench.store, &change, 1), STATUS_OK);
        stored_object_release(object);
        forget(talk);
        status = core_execute_fetched(&talk->bench.request);
    }
    assert_int_equal(rounds, 8);
    assert_int_equal(status, STATUS_OK);
    assert_reason(talk_read(talk, 1), KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_int_equal(key_of(talk, id).size, 32);
}

/* Any allocation may fail: there is an answer, and nothing is made by half. */
static void without_memory_nothing_is_lost(void **state)
{
    struct talk *talk = *state;
    struct core_bench *bench = &talk->bench;
    struct bytes id = create_key(talk);
    struct bytes frame;
    int64_t made = 1;
    talk->header.batch_error_continuation_option =
        kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_CONTINUE);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    assert_true(arena_copy(talk_arena(talk), talk_frame(talk), &frame));
    bool failed = true;
    for (size_t at = 0; failed; at++) {
        forget(talk);
        faults_allocations(at, false);
        enum status status = core_bench_run(bench, talk->session, frame);
        failed = faults_allocation_failed();
        faults_allocations_end();
        assert_true(status == STATUS_OK);
        const struct kmip_response_item *items = talk_read(talk, 2);
        made += items[1].result_status.value == KMIP_RESULT_STATUS_SUCCESS;
        assert_true(failed || items[0].result_status.value == KMIP_RESULT_STATUS_SUCCESS);
        (void)strays(talk);
    }
    assert_int_equal(locate(talk, WITHOUT).count, made);
    assert_int_equal(slow_records(near_one), made);
}

/* ---- Records ---- */

static void a_new_object_is_recorded_before_it_is_committed(void **state)
{
    struct talk *talk = *state;
    struct slow_record record;
    struct core_record read;
    struct record_row row;
    struct bytes id = create(talk, WITH(named("x-Product", text("vSphere"))));
    struct stored_object *object = stored(talk, id);
    assert_true(slow_record(near_one, 0, &record));
    assert_memory_equal(record.name, "vmware_kmip-", 12);
    assert_true(bytes_equal_text(id, record.name + 12));
    assert_int_equal(core_record_decode(buffer_bytes(&record.bytes), &read), STATUS_OK);
    assert_true(uuid_equal(&read.object, &object->row.id));
    assert_true(uuid_equal(&read.adapter, &talk->session->adapter_uuid));
    assert_true(uuid_equal(&read.root_key, &talk->session->root_key));
    assert_true(bytes_equal_text(read.adapter_name, "default"));
    assert_int_equal(read.key_manager, KEYMANAGER_KEY_PROTECT);
    assert_int_equal(read.version, object->row.version);
    assert_int_equal(read.object_type, object->row.object_type);
    assert_int_equal(read.state, object->row.state);
    assert_true(bytes_equal(read.attributes, object->row.attributes));
    assert_true(bytes_equal(read.wrapped.blob, object->row.wrapped.blob));
    assert_int_equal(store_record_get(talk->bench.session_store, &object->row.id, &row), STATUS_OK);
    assert_true(uuid_equal(&row.record, &record.id));
    assert_int_equal(row.version, 1);
    assert_int_equal(row.key_manager, KEYMANAGER_KEY_PROTECT);
    stored_object_release(object);
}

static void records_are_whole_or_no_records(void **state)
{
    struct talk *talk = *state;
    struct core_record read;
    struct slow_record record;
    struct uuid object;
    uint8_t bytes[KEYMANAGER_RECORD_MAX];
    (void)create_key(talk);
    assert_true(slow_record(near_one, 0, &record));
    size_t size = record.bytes.size;
    memcpy(bytes, record.bytes.data, size);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(core_record_decode(bytes_of(bytes, i), &read), STATUS_STORE_CORRUPT);
        bytes[i] ^= 0x40;
        assert_int_equal(core_record_decode(bytes_of(bytes, size), &read),
                         i == 3 ? STATUS_STORE_NEWER : STATUS_STORE_CORRUPT);
        bytes[i] ^= 0x40;
    }
    assert_int_equal(core_record_decode(bytes_of(bytes, size), &read), STATUS_OK);
    assert_true(core_record_object(record.name, &object));
    assert_true(uuid_equal(&object, &read.object));
    assert_false(core_record_object("vmware_kmip-", &object));
    assert_false(core_record_object("vmware_kmip-x", &object));
    assert_false(core_record_object(record.name + 1, &object));
}

static bool count_objects(void *context, const struct core_admin_object *object)
{
    (void)object;
    ++*(int *)context;
    return true;
}

/* A store that was lost: adapter, object, terms and key are back from the record alone. */
static void an_object_is_restored_from_its_record(void **state)
{
    struct talk *talk = *state;
    struct core_record read;
    struct slow_record record;
    static struct core_bench lost;
    const struct core_admin_filter filter = {BYTES_LITERAL("x-Product"), BYTES_LITERAL("vSphere")};
    const struct core_admin_query query = {.filters = &filter, .filter_count = 1, .limit = 9};
    (void)create(talk, WITH(named("x-Product", text("vSphere")), named("Name", name_value("n"))));
    assert_true(slow_record(near_one, 0, &record));
    assert_int_equal(core_record_decode(buffer_bytes(&record.bytes), &read), STATUS_OK);
    core_bench_open(&lost);
    lost.keymanagers.by_code[KEYMANAGER_KEY_PROTECT] = slow_keymanager(near_one);
    struct adapter_row row = {.uuid = read.adapter,
                              .name = "back",
                              .key_manager = read.key_manager,
                              .root_key = read.root_key};
    assert_int_equal(store_adapter_insert(lost.store, &row), STATUS_OK);
    const struct record_left where = {KEYMANAGER_KEY_PROTECT, record.id};
    assert_int_equal(core_record_restore(lost.core, lost.session_store, &row, &read, &where),
                     STATUS_OK);
    assert_int_equal(core_record_restore(lost.core, lost.session_store, &row, &read, &where),
                     STATUS_EXISTS);
    int found = 0;
    assert_int_equal(
        core_admin_find(lost.core, lost.session_store, &row, &query, count_objects, &found),
        STATUS_OK);
    assert_int_equal(found, 1);
    struct stored_object *object;
    struct record_row put;
    assert_int_equal(store_get(lost.session_store, row.id, &read.object, &object), STATUS_OK);
    assert_int_equal(store_record_get(lost.session_store, &read.object, &put), STATUS_OK);
    assert_true(uuid_equal(&put.record, &record.id));
    assert_int_equal(fetch_key_of(lost.core, &row.uuid, object), STATUS_PENDING); /* it opens */
    stored_object_release(object);
    row.uuid.bytes[0] ^= 1;
    assert_int_equal(core_record_restore(lost.core, lost.session_store, &row, &read, &where),
                     STATUS_INVALID_ARGUMENT);
    core_bench_close(&lost);
}

static void put_opaque_of(struct talk *talk, size_t size)
{
    uint8_t *data = arena_allocate(talk_arena(talk), size);
    assert_non_null(data);
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_REGISTER);
    ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_OPAQUE_OBJECT);
    put_template(payload, WITHOUT);
    size_t opaque = ttlv_begin(payload, KMIP_TAG_OPAQUE_OBJECT);
    ttlv_write_enumeration(payload, KMIP_TAG_OPAQUE_DATA_TYPE, 0x80000001);
    ttlv_write_byte_string(payload, KMIP_TAG_OPAQUE_DATA_VALUE, bytes_of(data, size));
    ttlv_end(payload, opaque);
}

static struct bytes opaque_of(struct talk *talk, size_t size)
{
    put_opaque_of(talk, size);
    return created_id(talk, talk_send(talk, 1));
}

static void what_is_too_large_to_record_is_kept(void **state)
{
    struct talk *talk = *state;
    struct record_row row;
    struct stored_object *object = stored(talk, opaque_of(talk, 8000));
    assert_int_equal(talk->bench.request.keys.unrecorded, 1);
    assert_int_equal(asked(KEYMANAGER_WRAP), 1);
    assert_int_equal(asked(KEYMANAGER_RECORD), 0);
    assert_int_equal(store_record_get(talk->bench.session_store, &object->row.id, &row),
                     STATUS_NOT_FOUND);
    stored_object_release(object);
    stored_object_release(stored(talk, opaque_of(talk, 6000)));
    assert_int_equal(asked(KEYMANAGER_RECORD), 1);
}

/* Large objects that wait for their key manager leave room for the keys of others. */
static void what_waits_does_not_fill_the_secret_heap(void **state)
{
    struct talk *talk = *state;
    enum { OBJECTS = 12 };
    int made = 0;
    for (int i = 0; i < OBJECTS; i++)
        put_opaque_of(talk, 60000);
    talk->header.batch_error_continuation_option =
        kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_CONTINUE);
    assert_int_equal(execute(talk), STATUS_OK);
    const struct kmip_response_item *items = talk_read(talk, OBJECTS);
    for (int i = 0; i < OBJECTS; i++)
        made += items[i].result_status.value == KMIP_RESULT_STATUS_SUCCESS;
    assert_in_range(made, 1, OBJECTS - 1);
    assert_int_equal(talk->bench.request.worst, STATUS_BUSY);
    assert_reason(&items[OBJECTS - 1], KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_true(CRYPTO_secure_used() < (1 << 20) - (1 << 18));
    request_finish(&talk->bench.request);
    assert_int_equal(key_of(talk, create_key(talk)).size, 32);
}

static void the_record_of_what_was_not_committed_is_a_stray(void **state)
{
    struct talk *talk = *state;
    static const struct {
        enum status status;
        unsigned strays;
    } cases[] = {{STATUS_STORE_FULL, 1},
                 {STATUS_NAME_EXISTS, 1},
                 {STATUS_NOT_FOUND, 1},
                 {STATUS_STORE_FAILED, 0}}; /* may yet be found when the store is opened again */
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
        execute_all_but_commit(talk);
        core_committed(&talk->bench.request, cases[i].status);
        assert_int_equal(core_refuse(&talk->bench.request, cases[i].status), STATUS_OK);
        assert_int_equal(strays(talk), cases[i].strays);
        assert_int_equal(strays(talk), 0);
    }
    assert_int_equal(slow_records(near_one), 1);
}

/* Somebody was faster at another object of the batch: what was wrapped and recorded is used. */
static void a_conflict_wraps_and_records_nothing_twice(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    execute_all_but_commit(talk);
    struct uuid first = request->changes[0].row.id;
    core_committed(request, STATUS_CONFLICT);
    assert_int_equal(core_execute_again(request, false), STATUS_OK);
    assert_true(uuid_equal(&request->changes[0].row.id, &first));
    assert_int_equal(core_prepare(request), STATUS_OK);
    assert_int_equal(asked(KEYMANAGER_WRAP), 2);
    assert_int_equal(asked(KEYMANAGER_RECORD), 2);
    talk_wait(talk, 5); /* now other dates are to be recorded */
    core_committed(request, STATUS_CONFLICT);
    assert_int_equal(core_bench_settle(&talk->bench, core_execute_again(request, false)),
                     STATUS_OK);
    assert_int_equal(asked(KEYMANAGER_WRAP), 2);
    assert_int_equal(asked(KEYMANAGER_RECORD), 4);
    commit(talk);
    assert_int_equal(strays(talk), 2);
    assert_int_equal(slow_records(near_one), 2);
    const struct kmip_response_item *items = talk_read(talk, 2);
    assert_int_equal(key_of(talk, created_id(talk, &items[0])).size, 32);
    forget(talk);
    assert_int_equal(key_of(talk, created_id(talk, &items[1])).size, 32);
}

static void an_identifier_that_is_taken_is_not_tried_again(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    execute_all_but_commit(talk);
    struct uuid taken = request->changes[0].row.id;
    core_committed(request, STATUS_EXISTS);
    assert_int_equal(core_bench_settle(&talk->bench, core_execute_again(request, false)),
                     STATUS_OK);
    assert_false(uuid_equal(&request->changes[0].row.id, &taken));
    commit(talk);
    assert_int_equal(strays(talk), 1);
}

/* ---- Adapters that move ---- */

static void a_move_while_a_key_is_wrapped_wraps_it_anew(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    struct wrapped_origin origin;
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    assert_int_equal(execute(talk), STATUS_OK);
    assert_int_equal(core_prepare(request), STATUS_PENDING);
    fetch(talk);
    talk->bench.session.key_manager = KEYMANAGER_KEY_PROTECT_2;
    talk->bench.session.root_key = slow_root_key(other_one);
    assert_int_equal(core_prepare(request), STATUS_CONFLICT);
    assert_int_equal(core_bench_settle(&talk->bench, core_execute_again(request, false)),
                     STATUS_OK);
    commit(talk);
    struct bytes id = created_id(talk, talk_read(talk, 1));
    struct stored_object *object = stored(talk, id);
    assert_int_equal(wrapped_origin(object->row.wrapped, &origin), STATUS_OK);
    assert_int_equal(origin.code, KEYMANAGER_KEY_PROTECT_2);
    stored_object_release(object);
    forget(talk);
    assert_int_equal(key_of(talk, id).size, 32);
    assert_int_equal(slow_records(near_one) + slow_records(other_one), 0);
}

/* To the sealed file, which is never waited for. */
static void a_move_may_end_where_nothing_waits(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    struct core_session file;
    struct bytes old = create_key(talk);
    core_bench_adapter(&talk->bench, "file", &file);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    assert_int_equal(execute(talk), STATUS_OK);
    assert_int_equal(core_prepare(request), STATUS_PENDING);
    fetch(talk);
    talk->bench.session.key_manager = KEYMANAGER_SEALED_FILE;
    talk->bench.session.root_key = file.root_key;
    assert_int_equal(core_prepare(request), STATUS_CONFLICT);
    assert_int_equal(core_execute_again(request, false), STATUS_OK);
    assert_int_equal(core_prepare(request), STATUS_OK);
    commit(talk);
    struct bytes id = created_id(talk, talk_read(talk, 1));
    forget(talk);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id); /* one of each in a message */
    put_id(talk_item(talk, KMIP_OPERATION_GET), old);
    const struct kmip_response_item *items = talk_send(talk, 2);
    assert_success(&items[0]);
    assert_success(&items[1]);
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 1);
}

static void an_adapter_that_is_gone_is_not_wrapped_for(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    assert_int_equal(execute(talk), STATUS_OK);
    assert_int_equal(core_prepare(request), STATUS_PENDING);
    fetch(talk);
    talk->bench.session.adapter = 0;
    assert_int_equal(core_prepare(request), STATUS_CONFLICT);
    assert_int_equal(core_execute_again(request, false), STATUS_OK);
    assert_reason(talk_read(talk, 1), KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
    assert_int_equal(request->change_count, 0);
}

/* ---- Newer root key versions ---- */

static void what_came_under_a_newer_version_is_stored(void **state)
{
    struct talk *talk = *state;
    struct wrapped_origin origin;
    struct bytes id = create_key(talk);
    forget(talk);
    atomic_store(&script->newer, true);
    struct bytes key = key_of(talk, id);
    struct stored_object *object = stored(talk, id);
    assert_int_equal(wrapped_origin(object->row.wrapped, &origin), STATUS_OK);
    assert_int_equal(origin.version, 2);
    assert_int_equal(object->row.version, 2); /* in one change with Fresh */
    stored_object_release(object);
    assert_true(bytes_equal(key_of(talk, id), key));
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 1); /* what was cached is the same key */
    assert_int_equal(number_of(talk, id, "Fresh"), 0);
    forget(talk);
    assert_true(bytes_equal(key_of(talk, id), key));
}

static void a_newer_version_is_left_out_when_the_store_cannot(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    struct bytes id = create_key(talk);
    key_of(talk, id); /* no longer Fresh */
    forget(talk);
    atomic_store(&script->newer, true);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    execute_all_but_commit(talk);
    assert_int_equal(request->change_count, 1);
    assert_true(request_only_optional(request));
    core_committed(request, STATUS_STORE_FULL);
    assert_int_equal(core_execute_again(request, true), STATUS_OK);
    assert_int_equal(request->change_count, 0);
    assert_success(talk_read(talk, 1));
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 1);
    /* Not with a change that counts, nor for a key that is destroyed with it. */
    forget(talk);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    put_id(talk_item(talk, KMIP_OPERATION_DESTROY), id);
    const struct kmip_response_item *items = talk_send(talk, 2);
    assert_success(&items[1]);
    struct stored_object *object = stored(talk, id);
    assert_int_equal(object->row.wrapped.blob.size, 0);
    stored_object_release(object);
}

/* ---- The kill switch ---- */

static void a_blocked_root_key_refuses_cached_keys_too(void **state)
{
    struct talk *talk = *state;
    struct core *core = talk->bench.core;
    struct uuid other = slow_root_key(near_one);
    struct bytes id = create_key(talk);
    assert_int_equal(core_root_key_blocked(core, &other, true), STATUS_OK);
    assert_int_equal(key_of(talk, id).size, 32);
    assert_int_equal(core_root_key_blocked(core, &talk->session->root_key, true), STATUS_OK);
    assert_int_equal(core_root_key_blocked(core, &talk->session->root_key, true), STATUS_OK);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_int_equal(talk->bench.request.worst, STATUS_ROOT_KEY_UNAVAILABLE);
    assert_reason(try_create(talk, WITHOUT), KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 0);
    assert_int_equal(asked(KEYMANAGER_WRAP), 1);
    assert_int_equal(core_root_key_blocked(core, &talk->session->root_key, false), STATUS_OK);
    assert_int_equal(key_of(talk, id).size, 32);
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 1); /* the cache was emptied */
}

/* What was begun before is neither given out after, nor kept. */
static void a_root_key_may_be_blocked_while_a_key_comes(void **state)
{
    struct talk *talk = *state;
    struct core *core = talk->bench.core;
    struct request *request = &talk->bench.request;
    const struct uuid *root_key = &talk->session->root_key;
    struct bytes id = create_key(talk);
    forget(talk);
    for (int unblocked = 0; unblocked < 2; unblocked++) {
        put_id(talk_item(talk, KMIP_OPERATION_GET), id);
        assert_int_equal(execute(talk), STATUS_PENDING);
        atomic_store(&script->holding, true);
        core_fetch(request, wake);
        assert_int_equal(core_root_key_blocked(core, root_key, true), STATUS_OK);
        if (unblocked)
            assert_int_equal(core_root_key_blocked(core, root_key, false), STATUS_OK);
        slow_release(near_one);
        assert_int_equal(sem_wait(&talk->bench.fetched), 0);
        assert_int_equal(core_execute_fetched(request), STATUS_OK);
        if (unblocked)
            assert_success(talk_read(talk, 1));
        else
            assert_reason(talk_read(talk, 1), KMIP_RESULT_REASON_GENERAL_FAILURE);
        assert_int_equal(core_root_key_blocked(core, root_key, false), STATUS_OK);
        request_finish(request);
    }
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    assert_int_equal(execute(talk), STATUS_PENDING);
}

static void a_withdrawn_key_is_not_given_out(void **state)
{
    struct talk *talk = *state;
    struct uuid uuid;
    struct bytes id = create_key(talk);
    struct bytes other = create_key(talk);
    assert_true(uuid_parse(id, &uuid));
    assert_int_equal(core_withdraw(talk->bench.core, &uuid), STATUS_OK);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_int_equal(talk->bench.request.worst, STATUS_KEY_WITHDRAWN);
    assert_int_equal(key_of(talk, other).size, 32);
    assert_success(by_id(talk, KMIP_OPERATION_ACTIVATE, id));
    core_reinstate(talk->bench.core, &uuid);
    core_reinstate(talk->bench.core, &uuid);
    assert_int_equal(key_of(talk, id).size, 32);
}

/* ---- In the background ---- */

static void keys_are_fetched_and_refreshed_in_the_background(void **state)
{
    struct talk *talk = *state;
    struct core *core = talk->bench.core;
    struct bytes id = create_key(talk);
    forget(talk);
    assert_int_equal(fetch_key(talk, id), STATUS_PENDING);
    assert_int_equal(fetch_key(talk, id), STATUS_OK); /* it is there, and young */
    assert_int_equal(key_of(talk, id).size, 32);
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 1);
    assert_int_equal(atomic_load(&script->background), 1);
    talk_wait(talk, CORE_BENCH_KEY_SECONDS / 2);
    assert_int_equal(fetch_key(talk, id), STATUS_PENDING);
    talk_wait(talk, CORE_BENCH_KEY_SECONDS - 1);
    let_fail(KEYMANAGER_UNWRAP, STATUS_KEY_MANAGER_UNAVAILABLE, -1);
    assert_int_equal(fetch_key(talk, id), STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(key_of(talk, id).size, 32); /* for what is left of its time */
    talk_wait(talk, 1);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_int_equal(core_root_key_blocked(core, &talk->session->root_key, true), STATUS_OK);
    assert_int_equal(fetch_key(talk, id), STATUS_ROOT_KEY_UNAVAILABLE);
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
    assert_int_equal(fetch_key(talk, id), STATUS_OK); /* nothing to fetch */
}

static _Atomic unsigned ended;

static void note_end(void *context, enum status status)
{
    (void)context;
    (void)status;
    atomic_fetch_add(&ended, 1);
}

/* Nobody may close a key manager while it works for the core. */
static void a_core_waits_for_the_keys_it_fetches(void **state)
{
    struct talk *talk = *state;
    struct core *core;
    enum { KEYS = 5 };
    struct core_bench *bench = &talk->bench;
    assert_int_equal(
        core_open(bench->store, &bench->keymanagers, &bench->clock, &core_bench_options, &core),
        STATUS_OK);
    atomic_store(&ended, 0);
    atomic_store(&script->delay, 50);
    for (int i = 0; i < KEYS; i++) {
        struct stored_object *object = stored(talk, create_key(talk));
        assert_int_equal(core_fetch_key(core, &talk->session->adapter_uuid, object, note_end, NULL),
                         STATUS_PENDING);
        stored_object_release(object);
    }
    core_close(core);
    assert_int_equal(atomic_load(&ended), KEYS);
}

/* ---- Beside KMIP ---- */

static void an_administrator_waits_for_the_key_manager(void **state)
{
    struct talk *talk = *state;
    struct adapter_row adapter;
    struct core_bench *bench = &talk->bench;
    struct uuid id;
    struct stored_object *object;
    struct wrapped_origin origin;
    assert_int_equal(store_adapter_find(bench->session_store, BYTES_LITERAL("default"), &adapter),
                     STATUS_OK);
    adapter.key_manager = KEYMANAGER_KEY_PROTECT;
    adapter.root_key = bench->session.root_key;
    assert_int_equal(core_admin_create_key(bench->core, bench->session_store, &adapter,
                                           BYTES_LITERAL("by hand"), &id),
                     STATUS_OK);
    assert_int_equal(store_get(bench->session_store, adapter.id, &id, &object), STATUS_OK);
    assert_int_equal(wrapped_origin(object->row.wrapped, &origin), STATUS_OK);
    assert_int_equal(origin.code, KEYMANAGER_KEY_PROTECT);
    stored_object_release(object);
    assert_int_equal(slow_records(near_one), 1);
    assert_int_equal(core_admin_create_key(bench->core, bench->session_store, &adapter,
                                           BYTES_LITERAL("by hand"), &id),
                     STATUS_NAME_EXISTS);
    let_fail(KEYMANAGER_WRAP, STATUS_ROOT_KEY_UNAVAILABLE, -1);
    assert_int_equal(
        core_admin_create_key(bench->core, bench->session_store, &adapter, (struct bytes){0}, &id),
        STATUS_ROOT_KEY_UNAVAILABLE);
    assert_int_equal(slow_records(near_one), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* What a process makes once stays: its shield, random generators, contexts. */
static int warm_up(void **state)
{
    static struct talk talk;
    talk_open(&talk);
    (void)key_of(&talk, create_key(&talk));
    talk_close(&talk);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_cold_key_is_fetched_once),
        CASE(keys_of_a_batch_are_fetched_together),
        CASE(a_batch_that_ends_early_fetches_no_more),
        CASE(changes_of_a_batch_that_waits_happen_once),
        CASE(a_new_key_is_read_before_it_is_wrapped),
        CASE(a_key_destroyed_in_its_batch_is_not_wrapped),
        CASE(what_cannot_be_fetched_fails_its_item_alone),
        CASE(impossible_answers_are_no_keys),
        CASE(what_cannot_be_wrapped_refuses_the_message),
        CASE(a_key_manager_that_is_silent_is_given_up),
        CASE(a_key_manager_that_is_not_here_is_unavailable),
        CASE(a_blob_that_never_stays_is_given_up),
        CASE(without_memory_nothing_is_lost),
        CASE(a_new_object_is_recorded_before_it_is_committed),
        CASE(records_are_whole_or_no_records),
        CASE(an_object_is_restored_from_its_record),
        CASE(what_is_too_large_to_record_is_kept),
        CASE(what_waits_does_not_fill_the_secret_heap),
        CASE(the_record_of_what_was_not_committed_is_a_stray),
        CASE(a_conflict_wraps_and_records_nothing_twice),
        CASE(an_identifier_that_is_taken_is_not_tried_again),
        CASE(a_move_while_a_key_is_wrapped_wraps_it_anew),
        CASE(a_move_may_end_where_nothing_waits),
        CASE(an_adapter_that_is_gone_is_not_wrapped_for),
        CASE(what_came_under_a_newer_version_is_stored),
        CASE(a_newer_version_is_left_out_when_the_store_cannot),
        CASE(a_blocked_root_key_refuses_cached_keys_too),
        CASE(a_root_key_may_be_blocked_while_a_key_comes),
        CASE(a_withdrawn_key_is_not_given_out),
        CASE(keys_are_fetched_and_refreshed_in_the_background),
        CASE(a_core_waits_for_the_keys_it_fetches),
        CASE(an_administrator_waits_for_the_key_manager),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
