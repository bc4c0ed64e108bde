/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What core stands on may fail at any call: store, key manager, memory. Each time there must be an
 * answer that sends the client to the next server (never Item Not Found, by which vCenter gives a
 * key up), nothing half done, and nothing lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/admin.h"
#include "core/attributes.h"
#include "core_talk.h"
#include "fault_calls.h"
#include "faults.h"
#include "keymanager/memory.h"

static int end(void **state)
{
    fault_calls(0, STATUS_OK, false);
    fault_health(STATUS_OK);
    return talk_teardown(state);
}

/* ---- One batch of everything ---- */

#define BATCH_ITEMS 15

static void put_batch(struct talk *talk, struct bytes id)
{
    struct kmip_revocation_reason reason = {.code = kmip_number(1)};
    const struct kmip_named_attribute custom = named("x-Product", text("vSphere"));
    talk->header.batch_error_continuation_option =
        kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_CONTINUE);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITH(custom));
    talk_item(talk, KMIP_OPERATION_GET);
    put_attributes(talk_item(talk, KMIP_OPERATION_ADD_ATTRIBUTE), WITH(named("x-a", integer(1))));
    put_attributes(talk_item(talk, KMIP_OPERATION_MODIFY_ATTRIBUTE),
                   WITH(named("x-a", integer(2))));
    talk_item(talk, KMIP_OPERATION_ACTIVATE);
    kmip_encode_structure(KMIP_TAG_REVOCATION_REASON, &kmip_revocation_reason_shape, &reason,
                          talk->version, talk_item(talk, KMIP_OPERATION_REVOKE));
    talk_item(talk, KMIP_OPERATION_RE_KEY);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    put_id(talk_item(talk, KMIP_OPERATION_GET_ATTRIBUTES), id);
    put_id(talk_item(talk, KMIP_OPERATION_GET_ATTRIBUTE_LIST), id);
    put_id(talk_item(talk, KMIP_OPERATION_CHECK), id);
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), WITH(custom));
    talk_item(talk, KMIP_OPERATION_LOCATE);
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE),
                   WITH(named("Unique Identifier", value_text(id))));
    ttlv_write_enumeration(talk_item(talk, KMIP_OPERATION_QUERY), KMIP_TAG_QUERY_FUNCTION,
                           KMIP_QUERY_FUNCTION_QUERY_OPERATIONS);
}

/* A key that stays, and the batch as bytes, to be run over and over. */
struct trial {
    struct talk *talk;
    struct bytes key;
    struct bytes frame;
    size_t answered;  /* items that succeeded in the last run */
    int64_t expected; /* objects that there must be */
};

static struct trial begin(struct talk *talk)
{
    struct trial trial = {.talk = talk, .expected = 1};
    trial.key = create(talk, WITH(named("Name", name_value("stays"))));
    put_batch(talk, trial.key);
    assert_true(arena_copy(talk_arena(talk), talk_frame(talk), &trial.frame));
    return trial;
}

static bool may_fail_so(const struct kmip_response_item *item)
{
    int64_t reason = item->result_reason.value;
    if (reason == KMIP_RESULT_REASON_GENERAL_FAILURE ||
        reason == KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE)
        return true;
    /* An item that relies on the ID Placeholder of one that failed. */
    return reason == KMIP_RESULT_REASON_ITEM_NOT_FOUND && item->operation.value != 0;
}

/* Reads the answer, and commits what it says has happened. */
static void settle(struct trial *trial)
{
    struct request *request = &trial->talk->bench.request;
    struct kmip_response response;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    assert_int_equal(kmip_decode_response(buffer_bytes(&request->reply), &arena, &response),
                     STATUS_OK);
    assert_int_equal(response.items.count, request->record_count);
    assert_true(response.items.count == BATCH_ITEMS || request->close);
    const struct kmip_response_item *items = response.items.items;
    trial->answered = 0;
    for (size_t i = 0; i < response.items.count; i++) {
        bool success = items[i].result_status.value == KMIP_RESULT_STATUS_SUCCESS;
        trial->answered += success;
        if (success && (items[i].operation.value == KMIP_OPERATION_CREATE ||
                        items[i].operation.value == KMIP_OPERATION_RE_KEY))
            trial->expected++;
        if (!success && !may_fail_so(&items[i]))
            fail_msg(
                "item %zu fails with %s", i,
                kmip_value_text(KMIP_TAG_RESULT_REASON, (uint32_t)items[i].result_reason.value));
    }
    if (request->change_count > 0)
        assert_int_equal(
            store_commit(trial->talk->bench.store, request->changes, request->change_count),
            STATUS_OK);
    arena_free(&arena);
}

static enum status run(struct trial *trial)
{
    struct talk *talk = trial->talk;
    core_forget_keys(talk->bench.core);
    return core_execute(&talk->bench.request, talk->session, talk->bench.session_store,
                        trial->frame, SIZE_MAX);
}

/* Everything is there that was answered, whole, and nothing else. */
static void assert_nothing_lost(struct trial *trial)
{
    struct talk *talk = trial->talk;
    int64_t counts[8];
    int64_t all = 0;
    assert_int_equal(store_count(talk->bench.session_store, talk->session->adapter, counts),
                     STATUS_OK);
    for (int i = 0; i < 8; i++)
        all += counts[i];
    assert_int_equal(all, trial->expected);
    int64_t most = core_bench_options.locate_max;
    struct kmip_list found = locate(talk, WITH(named("x-Product", text("vSphere"))));
    const struct bytes *ids = found.items;
    assert_int_equal(found.count, all - 1 < most ? all - 1 : most); /* no index forgot one */
    for (size_t i = 0; i < found.count && i < 50; i++)
        assert_int_equal(key_of(talk, ids[i]).size, 32);
    assert_int_equal(key_of(talk, trial->key).size, 32);
}

/* ---- Store and key manager ---- */

static void any_call_may_fail(void **state)
{
    struct talk *talk = *state;
    static const enum status statuses[] = {STATUS_STORE_FAILED,
                                           STATUS_STORE_CORRUPT,
                                           STATUS_NO_MEMORY,
                                           STATUS_KEY_MANAGER_UNAVAILABLE,
                                           STATUS_ROOT_KEY_UNAVAILABLE,
                                           STATUS_WRAP_FAILED,
                                           STATUS_UNWRAP_FAILED,
                                           STATUS_CRYPTO_FAILED};
    struct trial trial = begin(talk);
    for (size_t i = 0; i < ARRAY_COUNT(statuses); i++)
        for (int forever = 0; forever < 2; forever++)
            for (size_t at = 0;; at++) {
                fault_calls(at, statuses[i], forever != 0);
                assert_int_equal(run(&trial), STATUS_OK);
                bool failed = fault_call_failed();
                fault_calls(0, STATUS_OK, false);
                settle(&trial);
                if (!failed) {
                    assert_int_equal(trial.answered, BATCH_ITEMS);
                    break;
                }
                assert_true(trial.answered < BATCH_ITEMS);
            }
    assert_nothing_lost(&trial);
}

/* What cannot be reached now is no missing key. */
static void an_unreachable_key_manager_is_no_missing_key(void **state)
{
    struct talk *talk = *state;
    struct keymanager *keymanager = talk->bench.keymanager;
    struct bytes id = create_key(talk);
    keymanager_memory_fail(keymanager, STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(key_of(talk, id).size, 32); /* from the cache of unwrapped keys */
    assert_reason(try_create(talk, WITHOUT), KMIP_RESULT_REASON_GENERAL_FAILURE);
    core_forget_keys(talk->bench.core);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_int_equal(state_of(talk, id), KMIP_STATE_PRE_ACTIVE); /* needs no key */
    assert_success(by_id(talk, KMIP_OPERATION_ACTIVATE, id));
    keymanager_memory_fail(keymanager, STATUS_OK);
    assert_int_equal(key_of(talk, id).size, 32);
}

/* The kill switch: a root key that is suspended, and comes back. */
static void a_suspended_root_key_locks_its_keys(void **state)
{
    struct talk *talk = *state;
    struct keymanager *keymanager = talk->bench.keymanager;
    const struct uuid *root_key = &talk->bench.session.root_key;
    struct bytes id = create_key(talk);
    assert_int_equal(keymanager_memory_set_state(keymanager, root_key, ROOT_KEY_SUSPENDED),
                     STATUS_OK);
    core_forget_keys(talk->bench.core);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_reason(try_create(talk, WITHOUT), KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_reason(by_id(talk, KMIP_OPERATION_RE_KEY, id), KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_int_equal(keymanager_memory_set_state(keymanager, root_key, ROOT_KEY_ACTIVE), STATUS_OK);
    assert_int_equal(key_of(talk, id).size, 32);
}

/* Unwrapped keys are kept for a time, and not a second longer. */
static void keys_are_unwrapped_anew_after_a_while(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    keymanager_memory_fail(talk->bench.keymanager, STATUS_KEY_MANAGER_UNAVAILABLE);
    talk_wait(talk, CORE_BENCH_KEY_SECONDS - 1);
    assert_int_equal(key_of(talk, id).size, 32);
    talk_wait(talk, 1);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_GENERAL_FAILURE);
    keymanager_memory_fail(talk->bench.keymanager, STATUS_OK);
}

/* A store that cannot write: reading goes on, and Get does not even try to note that it served. */
static void keys_are_served_while_the_store_cannot_write(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    fault_health(STATUS_STORE_FULL);
    assert_int_equal(key_of(talk, id).size, 32);
    assert_int_equal(talk->bench.request.change_count, 0);
    assert_int_equal(number_of(talk, id, "Fresh"), 1);
    fault_health(STATUS_OK);
    assert_int_equal(key_of(talk, id).size, 32);
    assert_int_equal(number_of(talk, id, "Fresh"), 0);
}

static bool never(void *context, const struct core_admin_object *object)
{
    (void)context;
    (void)object;
    return true;
}

static void administrators_are_told_of_failures(void **state)
{
    struct talk *talk = *state;
    struct uuid uuid;
    struct uuid made;
    struct adapter_row adapter;
    const struct core_admin_query query = {.limit = 10};
    struct core *core = talk->bench.core;
    struct store_session *session = talk->bench.session_store;
    struct bytes id = create_key(talk);
    assert_true(uuid_parse(id, &uuid));
    assert_int_equal(store_adapter_find(session, BYTES_LITERAL("default"), &adapter), STATUS_OK);
    fault_calls(0, STATUS_STORE_FAILED, true);
    assert_int_equal(core_admin_find(core, session, &adapter, &query, never, NULL),
                     STATUS_STORE_FAILED);
    assert_int_equal(core_admin_show(core, session, &adapter, &uuid, never, NULL),
                     STATUS_STORE_FAILED);
    assert_int_equal(core_admin_destroy(core, session, &adapter, &uuid, true), STATUS_STORE_FAILED);
    assert_int_equal(core_admin_restore(core, session, &adapter, &uuid), STATUS_STORE_FAILED);
    assert_int_equal(core_admin_create_key(core, session, &adapter, BYTES_LITERAL("n"), &made),
                     STATUS_STORE_FAILED);
    fault_calls(0, STATUS_OK, false);
    assert_int_equal(state_of(talk, id), KMIP_STATE_PRE_ACTIVE);
}

/* ---- Memory of the request ---- */

/* From nothing to plenty. Where there is no room for any answer TOO_LARGE says so, and the service
 * closes the connection. */
static void any_amount_of_memory_gives_an_answer(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    struct trial trial = begin(talk);
    bool whole = false;
    for (size_t maximum = 0; !whole; maximum += maximum < 8192 ? 64 : 1024) {
        request_free(request);
        arena_init(&request->arena, maximum);
        enum status status = run(&trial);
        if (status != STATUS_OK) {
            assert_int_equal(status, STATUS_TOO_LARGE);
            assert_true(maximum < 1024);
            continue;
        }
        settle(&trial);
        whole = trial.answered == BATCH_ITEMS;
        assert_true(maximum < 1 << 20);
    }
    request_free(request);
    arena_init(&request->arena, core_bench_options.request_memory);
    assert_nothing_lost(&trial);
}

static struct kmip_any long_text(struct talk *talk)
{
    char *letters = arena_allocate(talk_arena(talk), ATTRIBUTE_VALUE_MAX);
    assert_non_null(letters);
    memset(letters, 'a', ATTRIBUTE_VALUE_MAX);
    return value_text(bytes_of(letters, ATTRIBUTE_VALUE_MAX));
}

/* More than one object may have: the request as a whole is refused, whatever room its answer has. */
static void an_object_has_a_largest_size(void **state)
{
    struct talk *talk = *state;
    const struct kmip_any value = long_text(talk);
    struct bytes id = create(talk, WITH(named("x-1", value), named("x-2", value)));
    assert_reason(
        try_create(talk, WITH(named("x-1", value), named("x-2", value), named("x-3", value),
                              named("x-4", value), named("x-5", value))),
        KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_success(add_attribute(talk, id, named("x-3", value)));
    assert_reason(add_attribute(talk, id, named("x-4", value)), KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_int_equal(talk->bench.request.change_count, 0);
    assert_int_equal(instances_of(talk, id, "x-4"), 0);
    assert_finds(talk, WITHOUT, id);
}

/* ---- Allocations ---- */

/* One allocation fails, or all from one on: no crash, no leak (a sanitizer looks), no half a
 * success. */
static void try_allocations(struct talk *talk, bool forever)
{
    struct request *request = &talk->bench.request;
    struct trial trial = begin(talk);
    for (size_t at = 0;; at++) {
        request_free(request); /* so that its memory is allocated anew */
        faults_allocations(at, forever);
        enum status status = run(&trial);
        bool failed = faults_allocation_failed();
        faults_allocations_end();
        if (status == STATUS_OK)
            settle(&trial);
        else
            assert_int_equal(status, STATUS_TOO_LARGE);
        if (!failed) {
            assert_int_equal(status, STATUS_OK);
            assert_int_equal(trial.answered, BATCH_ITEMS);
            assert_true(at > 20); /* there was something to fail */
            break;
        }
    }
    assert_nothing_lost(&trial);
}

static void any_one_allocation_may_fail(void **state)
{
    try_allocations(*state, false);
}

static void all_allocations_may_fail_from_any_one_on(void **state)
{
    try_allocations(*state, true);
}

/* Opening a core: all or nothing. */
static void opening_may_fail_at_any_allocation(void **state)
{
    struct talk *talk = *state;
    struct core_bench *bench = &talk->bench;
    for (size_t at = 0;; at++) {
        struct core *core = NULL;
        faults_allocations(at, true);
        enum status status =
            core_open(bench->store, &bench->keymanagers, &bench->clock, &core_bench_options, &core);
        bool failed = faults_allocation_failed();
        faults_allocations_end();
        core_close(core);
        if (!failed) {
            assert_int_equal(status, STATUS_OK);
            break;
        }
        /* Some of OpenSSL's may fail without harm. */
        assert_true(status == STATUS_NO_MEMORY || status == STATUS_CRYPTO_FAILED ||
                    status == STATUS_OK);
        assert_true((status == STATUS_OK) == (core != NULL));
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, talk_setup, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(any_call_may_fail),
        CASE(an_unreachable_key_manager_is_no_missing_key),
        CASE(a_suspended_root_key_locks_its_keys),
        CASE(keys_are_unwrapped_anew_after_a_while),
        CASE(keys_are_served_while_the_store_cannot_write),
        CASE(administrators_are_told_of_failures),
        CASE(any_amount_of_memory_gives_an_answer),
        CASE(an_object_has_a_largest_size),
        CASE(any_one_allocation_may_fail),
        CASE(all_allocations_may_fail_from_any_one_on),
        CASE(opening_may_fail_at_any_allocation),
    };
    faults_take_openssl();
    return cmocka_run_group_tests_name("core_failure", tests, NULL, NULL);
}
