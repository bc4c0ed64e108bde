/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a request that needs a distant key manager: nobody waits in line, a loop serves others
 * meanwhile, and what happens to adapter, store or key manager on the way leaves nothing half done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "core/record.h"
#include "service_bench.h"
#include "slow_keymanager.h"

static struct slow_keymanager *near_one; /* of the adapter; keeps records */
static struct slow_keymanager *other_one;
static struct slow_script *script; /* of near_one */

static int setup(void **state)
{
    service_bench_setup(state);
    struct service_bench *bench = *state;
    struct core_bench *core = &bench->talk.bench;
    near_one = slow_open(KEYMANAGER_KEY_PROTECT);
    other_one = slow_open(KEYMANAGER_KEY_PROTECT_2);
    script = slow_script(near_one);
    core->keymanagers.by_code[KEYMANAGER_KEY_PROTECT] = slow_keymanager(near_one);
    core->keymanagers.by_code[KEYMANAGER_KEY_PROTECT_2] = slow_keymanager(other_one);
    core->session.key_manager = KEYMANAGER_KEY_PROTECT;
    core->session.root_key = slow_root_key(near_one);
    assert_int_equal(store_adapter_move(core->store, core->session.adapter,
                                        core->session.key_manager, &core->session.root_key),
                     STATUS_OK);
    return 0;
}

static int teardown(void **state)
{
    slow_release(near_one);
    service_bench_teardown(state);
    slow_close(near_one);
    slow_close(other_one);
    return 0;
}

static struct service_counters counters_of(struct service_bench *bench)
{
    struct service_counters counters;
    service_counters(bench->service, &counters);
    return counters;
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

static void forget(struct service_bench *bench)
{
    core_forget_keys(bench->talk.bench.core);
}

/* ---- Clients that do not wait for each other ---- */

struct client {
    pthread_t thread;
    struct net_connection connection;
    struct bytes frame;
    struct reply reply;
};

static void *send_frame(void *argument)
{
    struct client *client = argument;
    client->reply = connection_send(&client->connection, client->frame);
    return NULL;
}

/* Sends the message that stands in the talk from a thread of its own, which is loop `loop`'s. */
static void client_start(struct client *client, struct service_bench *bench, unsigned loop)
{
    connection_open(&client->connection, bench, loop, 1);
    assert_true(arena_copy(talk_arena(&bench->talk), talk_frame(&bench->talk), &client->frame));
    assert_int_equal(pthread_create(&client->thread, NULL, send_frame, client), 0);
}

/* Waits for the answer, which has one item. */
static const struct kmip_response_item *client_end(struct client *client)
{
    struct talk *talk = &client->connection.bench->talk;
    struct kmip_response response;
    struct bytes copy;
    assert_int_equal(pthread_join(client->thread, NULL), 0);
    assert_true(arena_copy(talk_arena(talk), client->reply.bytes, &copy));
    reply_free(&client->reply);
    connection_close(&client->connection);
    assert_int_equal(kmip_decode_response(copy, talk_arena(talk), &response), STATUS_OK);
    return response.items.items;
}

static void wait_until_asked(enum keymanager_task task, unsigned count)
{
    for (int i = 0; asked(task) < count; i++) {
        if (i > 20000)
            abort();
        (void)usleep(1000);
    }
}

/* ---- The straight way ---- */

static void a_new_key_is_wrapped_recorded_and_committed(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct slow_record record;
    connection_open(&connection, bench, 0, 1);
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    struct bytes id = created_id(&bench->talk, ask(&connection, 1));
    assert_int_equal(asked(KEYMANAGER_WRAP), 1);
    assert_true(slow_record(near_one, 0, &record)); /* it is there when the answer is */
    assert_true(bytes_equal_text(id, record.name + sizeof(CORE_RECORD_PREFIX) - 1));
    assert_int_equal(counters_of(bench).waited, 2);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    assert_success(ask(&connection, 1));
    assert_int_equal(counters_of(bench).waited, 2); /* not for a key that is in the cache */
    forget(bench);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    assert_success(ask(&connection, 1));
    assert_int_equal(counters_of(bench).waited, 3);
    assert_int_equal(counters_of(bench).again + counters_of(bench).refused, 0);
    assert_int_equal(key_of(&bench->talk, id).size, 32);
    connection_close(&connection);
}

static void requests_wait_side_by_side(void **state)
{
    struct service_bench *bench = *state;
    enum { DELAY = 300 };
    struct client clients[SERVICE_LOOPS];
    struct bytes ids[SERVICE_LOOPS];
    for (unsigned i = 0; i < SERVICE_LOOPS; i++)
        ids[i] = create_key(&bench->talk);
    forget(bench);
    atomic_store(&script->most, 0);
    atomic_store(&script->delay, DELAY);
    int64_t begun = clock_monotonic();
    for (unsigned i = 0; i < SERVICE_LOOPS; i++) {
        put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), ids[i]);
        client_start(&clients[i], bench, i);
    }
    for (unsigned i = 0; i < SERVICE_LOOPS; i++)
        assert_success(client_end(&clients[i]));
    assert_int_equal(atomic_load(&script->most), SERVICE_LOOPS);
    assert_true(clock_monotonic() - begun < DELAY * SERVICE_LOOPS / 2);
}

/* What waits holds no thread: neither a loop nor all workers. */
static void others_are_served_meanwhile(void **state)
{
    struct service_bench *bench = *state;
    struct client clients[SERVICE_LOOPS];
    struct net_connection connection;
    struct bytes warm = create_key(&bench->talk);
    atomic_store(&script->holding, true);
    for (unsigned i = 1; i < SERVICE_LOOPS; i++) {
        put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
        client_start(&clients[i], bench, i);
    }
    wait_until_asked(KEYMANAGER_WRAP, SERVICE_LOOPS);
    connection_open(&connection, bench, 0, 1);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), warm);
    assert_success(ask(&connection, 1));
    put_id(talk_item(&bench->talk, KMIP_OPERATION_ACTIVATE), warm);
    assert_success(ask(&connection, 1));
    slow_release(near_one);
    for (unsigned i = 1; i < SERVICE_LOOPS; i++)
        assert_success(client_end(&clients[i]));
    connection_close(&connection);
}

/* ---- What goes wrong ---- */

static void a_silent_key_manager_sends_clients_elsewhere(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct bytes id = create_key(&bench->talk);
    connection_open(&connection, bench, 0, 1);
    forget(bench);
    atomic_store(&script->holding, true);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    assert_reason(ask(&connection, 1), KMIP_RESULT_REASON_GENERAL_FAILURE);
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    assert_reason(ask(&connection, 1), KMIP_RESULT_REASON_GENERAL_FAILURE);
    slow_release(near_one);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    assert_success(ask(&connection, 1));
    connection_close(&connection);
}

static void a_key_that_is_not_wrapped_or_recorded_is_none(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    static const enum keymanager_task tasks[] = {KEYMANAGER_WRAP, KEYMANAGER_RECORD};
    connection_open(&connection, bench, 0, 1);
    for (size_t i = 0; i < ARRAY_COUNT(tasks); i++) {
        let_fail(tasks[i], STATUS_ROOT_KEY_UNAVAILABLE, 1);
        put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
        assert_reason(ask(&connection, 1), KMIP_RESULT_REASON_GENERAL_FAILURE);
        assert_int_equal(counters_of(bench).refused, i + 1);
    }
    assert_int_equal(locate(&bench->talk, WITHOUT).count, 0);
    connection_close(&connection);
}

static void wait_for_records(size_t count)
{
    for (int i = 0; slow_records(near_one) != count; i++) {
        if (i > 20000)
            abort();
        (void)usleep(1000);
    }
}

static void the_record_of_what_the_store_refuses_is_deleted(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    connection_open(&connection, bench, 0, 1);
    atomic_store(&service_faults.submit_status, STATUS_STORE_FULL);
    atomic_store(&service_faults.submits_left, 1);
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    assert_reason(ask(&connection, 1), KMIP_RESULT_REASON_GENERAL_FAILURE);
    wait_for_records(0);
    assert_int_equal(atomic_load(&script->deletes), 1);
    assert_int_equal(locate(&bench->talk, WITHOUT).count, 0);
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    assert_success(ask(&connection, 1));
    assert_int_equal(slow_records(near_one), 1);
    connection_close(&connection);
}

/* The end does not wait for a key manager that is away. */
static void strays_do_not_hold_up_the_end(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    connection_open(&connection, bench, 0, 1);
    atomic_store(&script->delete_fails, STATUS_KEY_MANAGER_UNAVAILABLE);
    atomic_store(&service_faults.submit_status, STATUS_STORE_FULL);
    for (unsigned i = 0; i < 3; i++) {
        atomic_store(&service_faults.submits_left, 1);
        put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
        assert_reason(ask(&connection, 1), KMIP_RESULT_REASON_GENERAL_FAILURE);
    }
    connection_close(&connection);
    int64_t begun = clock_monotonic();
    service_bench_stop(bench);
    assert_true(clock_monotonic() - begun < 3000);
    assert_int_equal(slow_records(near_one), 3);
}

static struct bytes contested; /* the object that the rival changes */
static _Atomic int rivals_left;

/* Somebody else's change of the same object, committed between execution and commit. */
static void rival(struct service_bench *bench)
{
    struct uuid id;
    struct stored_object *stored;
    struct store_session *session;
    if (atomic_fetch_sub(&rivals_left, 1) <= 0)
        return;
    assert_int_equal(store_session_open(bench->talk.bench.store, &session), STATUS_OK);
    assert_true(uuid_parse(contested, &id));
    assert_int_equal(store_get(session, bench->talk.bench.session.adapter, &id, &stored),
                     STATUS_OK);
    struct store_change change = {.kind = STORE_UPDATE, .row = stored->row};
    assert_int_equal(store_commit(bench->talk.bench.store, &change, 1), STATUS_OK);
    stored_object_release(stored);
    store_session_close(session);
}

static void conflicts_wrap_nothing_twice(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    contested = create_key(&bench->talk);
    unsigned wraps = asked(KEYMANAGER_WRAP);
    connection_open(&connection, bench, 0, 1);
    atomic_store(&rivals_left, 5);
    service_faults.bench = bench;
    service_faults.before_submit = rival;
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_ACTIVATE), contested);
    const struct kmip_response_item *items = ask(&connection, 2);
    service_faults.before_submit = NULL;
    assert_success(&items[0]);
    assert_success(&items[1]);
    assert_int_equal(counters_of(bench).again, 5);
    assert_int_equal(asked(KEYMANAGER_WRAP), wraps + 1);
    assert_int_equal(asked(KEYMANAGER_RECORD), wraps + 1);
    assert_int_equal(slow_records(near_one), 2);
    connection_close(&connection);
}

/* ---- What changes meanwhile ---- */

static void a_certificate_deleted_meanwhile_gets_no_key(void **state)
{
    struct service_bench *bench = *state;
    struct client clients[2];
    struct bytes id = create_key(&bench->talk);
    forget(bench);
    atomic_store(&script->holding, true);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    client_start(&clients[0], bench, 0);
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    client_start(&clients[1], bench, 1);
    wait_until_asked(KEYMANAGER_UNWRAP, 1);
    wait_until_asked(KEYMANAGER_WRAP, 2);
    assert_int_equal(store_certificate_delete(bench->talk.bench.store,
                                              bench->talk.bench.session.adapter,
                                              BYTES_LITERAL("certificate 1")),
                     STATUS_OK);
    slow_release(near_one);
    for (int i = 0; i < 2; i++)
        assert_reason(client_end(&clients[i]), KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
    assert_int_equal(locate(&bench->talk, WITHOUT).count, 1);
    assert_int_equal(slow_records(near_one), 1);
}

/* An adapter that was moved while a key was made for it: the key is under the new root key, whether
 * it was being wrapped or recorded. */
static void an_adapter_moved_meanwhile_gets_its_key_there(void **state)
{
    struct service_bench *bench = *state;
    struct core_bench *core = &bench->talk.bench;
    const struct uuid old_root = core->session.root_key;
    const struct uuid new_root = slow_root_key(other_one);
    static const enum keymanager_task tasks[] = {KEYMANAGER_WRAP, KEYMANAGER_RECORD};
    for (size_t i = 0; i < ARRAY_COUNT(tasks); i++) {
        struct client client;
        struct uuid uuid;
        struct stored_object *stored;
        struct wrapped_origin origin;
        assert_int_equal(store_adapter_move(core->store, core->session.adapter,
                                            KEYMANAGER_KEY_PROTECT, &old_root),
                         STATUS_OK);
        atomic_store(&script->delay, tasks[i] == KEYMANAGER_RECORD ? 100 : 0);
        atomic_store(&script->holding, tasks[i] == KEYMANAGER_WRAP);
        put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
        client_start(&client, bench, 0);
        wait_until_asked(tasks[i], 1);
        assert_int_equal(store_adapter_move(core->store, core->session.adapter,
                                            KEYMANAGER_KEY_PROTECT_2, &new_root),
                         STATUS_OK);
        slow_release(near_one);
        assert_true(uuid_parse(created_id(&bench->talk, client_end(&client)), &uuid));
        assert_int_equal(store_get(core->session_store, core->session.adapter, &uuid, &stored),
                         STATUS_OK);
        assert_int_equal(wrapped_origin(stored->row.wrapped, &origin), STATUS_OK);
        assert_int_equal(origin.code, KEYMANAGER_KEY_PROTECT_2);
        assert_true(uuid_equal(&origin.binding.root_key, &new_root));
        stored_object_release(stored);
        wait_for_records(0); /* that of the old place is gone */
    }
}

static void a_root_key_blocked_meanwhile_gives_no_key(void **state)
{
    struct service_bench *bench = *state;
    struct core *core = bench->talk.bench.core;
    struct client client;
    struct bytes id = create_key(&bench->talk);
    forget(bench);
    atomic_store(&script->holding, true);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    client_start(&client, bench, 0);
    wait_until_asked(KEYMANAGER_UNWRAP, 1);
    assert_int_equal(core_root_key_blocked(core, &bench->talk.bench.session.root_key, true),
                     STATUS_OK);
    slow_release(near_one);
    assert_reason(client_end(&client), KMIP_RESULT_REASON_GENERAL_FAILURE);
}

/* ---- Sizes ---- */

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

/* Answers that outgrow their memory are executed again with what was fetched. */
static void large_objects_are_fetched_once_and_counted(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    connection_open(&connection, bench, 0, 1);
    put_opaque_of(&bench->talk, 60000);
    struct bytes id = created_id(&bench->talk, ask(&connection, 1));
    assert_int_equal(counters_of(bench).unrecorded, 1);
    forget(bench);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    assert_success(ask(&connection, 1));
    assert_int_equal(asked(KEYMANAGER_UNWRAP), 1);
    connection_close(&connection);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_new_key_is_wrapped_recorded_and_committed),
        CASE(requests_wait_side_by_side),
        CASE(others_are_served_meanwhile),
        CASE(a_silent_key_manager_sends_clients_elsewhere),
        CASE(a_key_that_is_not_wrapped_or_recorded_is_none),
        CASE(the_record_of_what_the_store_refuses_is_deleted),
        CASE(strays_do_not_hold_up_the_end),
        CASE(conflicts_wrap_nothing_twice),
        CASE(a_certificate_deleted_meanwhile_gets_no_key),
        CASE(an_adapter_moved_meanwhile_gets_its_key_there),
        CASE(a_root_key_blocked_meanwhile_gives_no_key),
        CASE(large_objects_are_fetched_once_and_counted),
    };
    log_set_level(0); /* what is refused here is meant to be */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
