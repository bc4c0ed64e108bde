/* SPDX-License-Identifier: Apache-2.0 */
/* Records in a key manager: written, compared, and what a store is rebuilt from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/record.h"
#include "upkeep_bench.h"

/* An adapter whose key manager keeps records, and upkeep not started yet. */
static struct upkeep_bench *open_bench(bool on_disk)
{
    struct upkeep_bench *bench = malloc(sizeof(*bench));
    assert_non_null(bench);
    bench_open(bench, on_disk);
    bench->options.policies[KEYMANAGER_KEY_PROTECT].store_wrapped_keys = true;
    assert_int_equal(store_adapter_move(bench->store, bench->adapter.id, KEYMANAGER_KEY_PROTECT,
                                        &bench->remote_root_key),
                     STATUS_OK);
    bench->adapter = bench_read_adapter(bench);
    return bench;
}

static int setup(void **state)
{
    *state = open_bench(false);
    return 0;
}

static int setup_on_disk(void **state)
{
    *state = open_bench(true);
    return 0;
}

static int teardown(void **state)
{
    bench_close(*state);
    free(*state);
    return 0;
}

static const char *record_name(unsigned number)
{
    static char name[CORE_RECORD_NAME_SIZE];
    const struct uuid id = bench_id(number);
    core_record_name(&id, name);
    return name;
}

static struct upkeep_records records_of(struct upkeep_bench *bench)
{
    struct upkeep_records records = {.recorded = -1, .due = -1, .withdrawn = -1, .unknown = -1};
    (void)!upkeep_records_state(bench->upkeep, &bench->adapter.uuid, &records);
    return records;
}

static bool row_of(struct upkeep_bench *bench, unsigned number, struct record_row *ret_row)
{
    const struct uuid id = bench_id(number);
    return store_record_get(bench->session, &id, ret_row) == STATUS_OK;
}

static bool is_withdrawn(struct upkeep_bench *bench, unsigned number)
{
    struct record_row row;
    return row_of(bench, number, &row) && row.withdrawn;
}

static bool note_due(void *context, struct stored_object *object, const struct record_row *row)
{
    *(bool *)context = true;
    return false;
}

/* Nothing is due, and nothing left behind. */
static bool is_recorded(struct upkeep_bench *bench, int64_t count)
{
    struct upkeep_records records = records_of(bench);
    struct record_left left;
    size_t left_count = 1;
    bool due = false;
    int64_t next;
    if (store_records_left(bench->session, NULL, 1, &left, &left_count) != STATUS_OK ||
        store_records_due(bench->session, bench->adapter.id, 0, 1, note_due, &due, &next) !=
            STATUS_OK)
        return false;
    return !due && records.due == 0 && records.recorded == count && left_count == 0;
}

/* Waits until two comparisons have begun since. */
static void wait_compared(struct upkeep_bench *bench)
{
    for (int i = 0; i < 2; i++) {
        bench->clock.test_time += 1000;
        int64_t now = clock_now(&bench->clock);
        BENCH_WAIT(records_of(bench).checked >= now);
    }
}

static struct core_record read_record(struct upkeep_bench *bench, unsigned number,
                                      struct buffer *bytes)
{
    struct record_row row;
    struct core_record record;
    assert_true(row_of(bench, number, &row));
    buffer_init(bytes, KEYMANAGER_RECORD_MAX);
    assert_int_equal(keymanager_record_get(bench->remote, &row.record, bytes, NULL), STATUS_OK);
    assert_int_equal(core_record_decode(buffer_bytes(bytes), &record), STATUS_OK);
    assert_int_equal(record.version, row.version);
    return record;
}

/* ---- Writing ---- */

static void test_each_object_is_recorded(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 150);
    bench_upkeep_start(bench);
    BENCH_WAIT(is_recorded(bench, 150));
    assert_int_equal(fake_record_count(bench->remote), 150);
    for (unsigned i = 1; i <= 150; i++) {
        struct buffer bytes;
        struct stored_object *object;
        const struct uuid id = bench_id(i);
        struct core_record record = read_record(bench, i, &bytes);
        assert_int_equal(store_get(bench->session, bench->adapter.id, &id, &object), STATUS_OK);
        assert_true(bytes_equal(record.wrapped.blob, object->row.wrapped.blob));
        assert_true(bytes_equal_text(record.adapter_name, "default"));
        assert_int_equal(record.state, 2);
        stored_object_release(object);
        buffer_free(&bytes);
    }
    assert_true(fake_most_in_flight(bench->remote) <= 16);
}

static void test_changed_object_is_recorded_anew(void **state)
{
    struct upkeep_bench *bench = *state;
    struct buffer bytes;
    struct record_row before;
    bench_insert_many(bench, 1, 5);
    bench_upkeep_start(bench);
    BENCH_WAIT(is_recorded(bench, 5));
    assert_true(row_of(bench, 3, &before));
    assert_true(bench_update(bench, bench->session, 3, 3));
    BENCH_WAIT(row_of(bench, 3, &before) && before.version == 2);
    BENCH_WAIT(is_recorded(bench, 5));
    struct core_record record = read_record(bench, 3, &bytes);
    assert_int_equal(record.state, 3);
    buffer_free(&bytes);
    assert_int_equal(fake_record_count(bench->remote), 5); /* the former one is gone */
}

static void test_destroyed_object_loses_its_record(void **state)
{
    struct upkeep_bench *bench = *state;
    struct record_row row;
    bench_insert_many(bench, 1, 5);
    bench_upkeep_start(bench);
    BENCH_WAIT(is_recorded(bench, 5));
    assert_true(bench_update(bench, bench->session, 2, 5));
    BENCH_WAIT(!row_of(bench, 2, &row) && fake_record_count(bench->remote) == 4);
    BENCH_WAIT(is_recorded(bench, 4));
    for (unsigned i = 1; i <= 5; i++)
        if (i != 2)
            assert_true(bench_update(bench, bench->session, i, 5));
    assert_int_equal(store_adapter_delete(bench->store, bench->adapter.id), STATUS_OK);
    BENCH_WAIT(fake_record_count(bench->remote) == 0);
}

static void test_rewrapped_objects_are_recorded_anew(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 50);
    bench_upkeep_start(bench);
    BENCH_WAIT(is_recorded(bench, 50));
    assert_int_equal(keymanager_rotate(bench->remote, &bench->remote_root_key, 1, NULL, BENCH_NOW,
                                       NULL),
                     STATUS_OK);
    assert_int_equal(upkeep_rewrap(bench->upkeep, &bench->adapter.uuid), STATUS_OK);
    BENCH_WAIT(bench_settled(bench));
    wait_compared(bench);
    BENCH_WAIT(is_recorded(bench, 50));
    for (unsigned i = 1; i <= 50; i++) {
        struct buffer bytes;
        struct core_record record = read_record(bench, i, &bytes);
        struct wrapped_origin origin;
        assert_int_equal(wrapped_origin(record.wrapped, &origin), STATUS_OK);
        assert_int_equal(origin.version, 2);
        buffer_free(&bytes);
    }
    assert_int_equal(fake_record_count(bench->remote), 50);
}

/* Moved to a key manager without records: those there are of no use, and go. And back again. */
static void test_move_takes_the_records_along(void **state)
{
    struct upkeep_bench *bench = *state;
    struct error error;
    const struct uuid local = bench_root_key(bench->local);
    bench_insert_many(bench, 1, 30);
    bench_upkeep_start(bench);
    BENCH_WAIT(is_recorded(bench, 30));
    assert_int_equal(upkeep_move(bench->upkeep, &bench->adapter.uuid, KEYMANAGER_SEALED_FILE,
                                 &local, &error),
                     STATUS_OK);
    BENCH_WAIT(fake_record_count(bench->remote) == 0);
    BENCH_WAIT(bench_settled(bench));
    bench_check(bench, 1, 30, KEYMANAGER_SEALED_FILE, &local, 1);
    for (unsigned i = 1; i <= 30; i++)
        assert_false(is_withdrawn(bench, i));
    assert_int_equal(upkeep_move(bench->upkeep, &bench->adapter.uuid, KEYMANAGER_KEY_PROTECT,
                                 &bench->remote_root_key, &error),
                     STATUS_OK);
    BENCH_WAIT(bench_settled(bench));
    BENCH_WAIT(is_recorded(bench, 30));
    assert_int_equal(fake_record_count(bench->remote), 30);
}

static void test_key_manager_down(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 100);
    fake_fail(bench->remote, STATUS_KEY_MANAGER_UNAVAILABLE);
    bench_upkeep_start(bench);
    (void)usleep(100000);
    fake_fail(bench->remote, STATUS_OK);
    fake_fail_some(bench->remote, 5, STATUS_KEY_MANAGER_UNAVAILABLE);
    BENCH_WAIT(is_recorded(bench, 100));
    assert_int_equal(fake_record_count(bench->remote), 100);
}

/* ---- Comparing ---- */

static void test_disabled_and_deleted_records(void **state)
{
    struct upkeep_bench *bench = *state;
    static const enum root_key_state states[] = {ROOT_KEY_SUSPENDED, ROOT_KEY_DESTROYED};
    bench_insert_many(bench, 1, 6);
    bench_upkeep_start(bench);
    BENCH_WAIT(is_recorded(bench, 6));
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        assert_true(fake_record_set_state(bench->remote, record_name(4), states[i]));
        BENCH_WAIT(is_withdrawn(bench, 4));
        BENCH_WAIT(records_of(bench).withdrawn == 1);
        /* A change of the object does not bring it back. */
        assert_true(bench_update(bench, bench->session, 4, 3));
        wait_compared(bench);
        assert_true(is_withdrawn(bench, 4));
        assert_int_equal(fake_record_count(bench->remote), 5);
        /* Nor does a new start. */
        bench_upkeep_stop(bench);
        bench_upkeep_start(bench);
        assert_true(is_withdrawn(bench, 4));
        /* But what does is its record. */
        assert_true(fake_record_set_state(bench->remote, record_name(4), ROOT_KEY_ACTIVE));
        BENCH_WAIT(!is_withdrawn(bench, 4));
        BENCH_WAIT(is_recorded(bench, 6));
        BENCH_WAIT(fake_record_count(bench->remote) == 6);
    }
}

/* Disabled in the moment in which the object changes: that is not lost, whichever comes first. */
static void test_disabled_while_it_changes(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 40);
    bench_upkeep_start(bench);
    BENCH_WAIT(is_recorded(bench, 40));
    for (unsigned i = 1; i <= 40; i++) {
        if (i % 2 == 0)
            assert_true(bench_update(bench, bench->session, i, 3));
        (void)usleep(i % 7 * 1000);
        assert_true(fake_record_set_state(bench->remote, record_name(i), ROOT_KEY_SUSPENDED));
        if (i % 2 != 0)
            assert_true(bench_update(bench, bench->session, i, 3));
    }
    for (unsigned i = 1; i <= 40; i++)
        BENCH_WAIT(is_withdrawn(bench, i));
}

static struct uuid put_record(struct upkeep_bench *bench, unsigned number, int64_t version)
{
    struct stored_object *object = NULL;
    const struct uuid id = bench_id(number);
    struct buffer bytes;
    struct uuid record_id;
    char name[CORE_RECORD_NAME_SIZE];
    (void)!store_get(bench->session, bench->adapter.id, &id, &object);
    const struct core_record record = {
        .object = id,
        .version = version,
        .object_type = 2,
        .state = 2,
        .adapter = bench->adapter.uuid,
        .adapter_name = BYTES_LITERAL("default"),
        .key_manager = KEYMANAGER_KEY_PROTECT,
        .root_key = bench->remote_root_key,
        .wrapped.blob = object != NULL ? object->row.wrapped.blob : BYTES_LITERAL("none"),
    };
    core_record_name(&id, name);
    buffer_init(&bytes, KEYMANAGER_RECORD_MAX);
    assert_int_equal(core_record_encode(&record, &bytes), STATUS_OK);
    assert_int_equal(keymanager_record_put(bench->remote, name, buffer_bytes(&bytes), &record_id,
                                           NULL),
                     STATUS_OK);
    buffer_free(&bytes);
    stored_object_release(object);
    return record_id;
}

/* Somebody who deletes a record at one moment of its replacement. */
struct intruder {
    struct keymanager *keymanager;
    struct uuid record;
    enum fake_moment moment;
    bool refused; /* no answer follows for a while */
    atomic_bool put;
    atomic_bool acted;
};

static void intrude(void *context, enum fake_moment moment)
{
    struct intruder *intruder = context;
    bool follows = intruder->moment <= FAKE_PUT_DONE || atomic_load(&intruder->put);
    if (moment == FAKE_PUT_DONE)
        atomic_store(&intruder->put, true);
    if (moment != intruder->moment || !follows || atomic_load(&intruder->acted))
        return;
    (void)!keymanager_record_delete(intruder->keymanager, &intruder->record, NULL);
    if (intruder->refused)
        fake_fail(intruder->keymanager, STATUS_KEY_MANAGER_UNAVAILABLE);
    atomic_store(&intruder->acted, true);
}

static void delete_while_it_is_replaced(struct upkeep_bench *bench, unsigned number,
                                        enum fake_moment moment, bool refused)
{
    struct record_row row;
    assert_true(row_of(bench, number, &row));
    struct intruder intruder = {.keymanager = bench->remote,
                                .record = row.record,
                                .moment = moment,
                                .refused = refused};
    fake_watch(bench->remote, intrude, &intruder);
    assert_true(bench_update(bench, bench->session, number, 3));
    BENCH_WAIT(atomic_load(&intruder.acted));
    (void)usleep(refused ? 50000 : 0);
    fake_fail(bench->remote, STATUS_OK);
    BENCH_WAIT(is_withdrawn(bench, number));
    BENCH_WAIT(fake_record_count(bench->remote) == 5); /* what was to replace it is gone, too */
    wait_compared(bench);
    assert_true(is_withdrawn(bench, number));
    assert_int_equal(records_of(bench).withdrawn, 1);
    assert_true(row_of(bench, number, &row));
    assert_true(uuid_equal(&row.record, &intruder.record)); /* who restores it brings it back */
    fake_watch(bench->remote, NULL, NULL);
}

static void test_deleted_while_it_is_replaced(void **state)
{
    struct upkeep_bench *bench = *state;
    static const struct {
        enum fake_moment moment;
        bool refused;
    } cases[] = {
        {FAKE_PUT, false},  {FAKE_PUT_DONE, false},  {FAKE_PUT_DONE, true},
        {FAKE_LIST, false}, {FAKE_LIST_DONE, false},
    };
    bench_insert_many(bench, 1, 6);
    bench_upkeep_start(bench);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        print_message("# deleted at %d\n", (int)i);
        BENCH_WAIT(is_recorded(bench, 6));
        wait_compared(bench);
        delete_while_it_is_replaced(bench, 4, cases[i].moment, cases[i].refused);
        (void)put_record(bench, 4, 1);
        BENCH_WAIT(!is_withdrawn(bench, 4));
    }
}

static void test_all_records_deleted(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 100);
    bench_upkeep_start(bench);
    BENCH_WAIT(is_recorded(bench, 100));
    for (unsigned i = 1; i <= 100; i++)
        assert_true(fake_record_set_state(bench->remote, record_name(i), ROOT_KEY_DESTROYED));
    BENCH_WAIT(records_of(bench).withdrawn == 100);
    for (unsigned i = 1; i <= 100; i++)
        assert_true(is_withdrawn(bench, i));
    assert_true(bench_update(bench, bench->session, 7, 5)); /* destroyed all the same */
    BENCH_WAIT(records_of(bench).withdrawn == 99);
}

/* No answer changes nothing. */
static void test_no_answer_withdraws_nothing(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 10);
    bench_upkeep_start(bench);
    BENCH_WAIT(is_recorded(bench, 10));
    static const enum status answers[] = {STATUS_KEY_MANAGER_UNAVAILABLE, STATUS_NO_MEMORY,
                                          STATUS_ROOT_KEY_UNAVAILABLE};
    for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
        fake_fail(bench->remote, answers[i]);
        (void)usleep(60000);
        fake_fail(bench->remote, STATUS_OK);
        wait_compared(bench);
        assert_int_equal(records_of(bench).withdrawn, 0);
    }
}

/* What a kill leaves is deleted; what is newer, or of nobody we know, is not ours to delete. */
static void test_records_too_many(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 3);
    bench_upkeep_start(bench);
    BENCH_WAIT(is_recorded(bench, 3));
    assert_true(bench_update(bench, bench->session, 1, 3));
    BENCH_WAIT(is_recorded(bench, 3));
    put_record(bench, 1, 1);  /* older */
    put_record(bench, 2, 99); /* newer: this store is an old backup */
    put_record(bench, 77, 1); /* of an object that is not here */
    struct uuid foreign;
    assert_int_equal(keymanager_record_put(bench->remote, "vmware_kmip-somebody", BYTES_LITERAL("x"),
                                           &foreign, NULL),
                     STATUS_OK);
    BENCH_WAIT(fake_record_count(bench->remote) == 6);
    wait_compared(bench);
    assert_int_equal(fake_record_count(bench->remote), 6);
    assert_int_equal(records_of(bench).unknown, 2);
    assert_int_equal(records_of(bench).withdrawn, 0);
}

/* Our record is gone, and another of the object is there: somebody put it back under a new
 * identifier. */
static void test_another_record_is_adopted(void **state)
{
    struct upkeep_bench *bench = *state;
    struct record_row row;
    bench_insert_many(bench, 1, 3);
    bench_upkeep_start(bench);
    BENCH_WAIT(is_recorded(bench, 3));
    assert_true(fake_record_set_state(bench->remote, record_name(2), ROOT_KEY_DESTROYED));
    BENCH_WAIT(is_withdrawn(bench, 2));
    struct uuid other = put_record(bench, 2, 1);
    BENCH_WAIT(row_of(bench, 2, &row) && !row.withdrawn);
    assert_true(uuid_equal(&row.record, &other));
    BENCH_WAIT(is_recorded(bench, 3));
    assert_int_equal(fake_record_count(bench->remote), 3);
}

/* ---- Kills ---- */

static void test_killed_at_any_point(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 60);
    bench_upkeep_start(bench);
    for (unsigned i = 0; i < 8; i++) {
        struct upkeep_bench copy;
        (void)bench_update(bench, bench->session, 1 + i, 3);
        (void)bench_update(bench, bench->session, 30 + i, 5);
        (void)usleep((useconds_t)(1500 * i));
        bench_copy(bench, &copy);
        bench_upkeep_stop(bench); /* it is dead; the copy is what comes after */
        bench_upkeep_start(&copy);
        BENCH_WAIT(is_recorded(&copy, 60 - (int64_t)i - 1));
        BENCH_WAIT(fake_record_count(bench->remote) == 60 - i - 1);
        for (unsigned j = 1; j <= 60; j++)
            assert_false(is_withdrawn(&copy, j));
        bench_upkeep_stop(&copy);
        bench_close_copy(&copy);
        bench_upkeep_start(bench); /* an old backup now: it comes to rest all the same */
        BENCH_WAIT(is_recorded(bench, 60 - (int64_t)i - 1));
        BENCH_WAIT(fake_record_count(bench->remote) == 60 - i - 1);
    }
}

#define IN_MEMORY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define ON_DISK(test)   cmocka_unit_test_setup_teardown(test, setup_on_disk, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_MEMORY(test_each_object_is_recorded),
        IN_MEMORY(test_changed_object_is_recorded_anew),
        IN_MEMORY(test_destroyed_object_loses_its_record),
        IN_MEMORY(test_rewrapped_objects_are_recorded_anew),
        IN_MEMORY(test_move_takes_the_records_along),
        IN_MEMORY(test_key_manager_down),
        IN_MEMORY(test_disabled_and_deleted_records),
        IN_MEMORY(test_disabled_while_it_changes),
        IN_MEMORY(test_deleted_while_it_is_replaced),
        IN_MEMORY(test_all_records_deleted),
        IN_MEMORY(test_no_answer_withdraws_nothing),
        IN_MEMORY(test_records_too_many),
        IN_MEMORY(test_another_record_is_adopted),
        ON_DISK(test_each_object_is_recorded),
        ON_DISK(test_deleted_while_it_is_replaced),
        ON_DISK(test_killed_at_any_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
