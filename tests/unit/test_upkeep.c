/* SPDX-License-Identifier: Apache-2.0 */
/* Upkeep: rewrapping, moves and root keys, with everything that may come between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "upkeep_bench.h"

#define OBJECTS 300

static void rotate(struct keymanager *keymanager, const struct uuid *root_key, uint32_t from)
{
    assert_int_equal(keymanager_rotate(keymanager, root_key, from, NULL, BENCH_NOW, NULL),
                     STATUS_OK);
}

static enum status move(struct upkeep_bench *bench, enum keymanager_code to,
                        const struct uuid *root_key)
{
    struct error error = {0};
    enum status status =
        upkeep_move(bench->upkeep, &bench->adapter.uuid, to, root_key, &error);
    if (status != STATUS_OK)
        assert_true(error.text[0] != '\0');
    return status;
}

static void move_away(struct upkeep_bench *bench)
{
    assert_int_equal(move(bench, KEYMANAGER_KEY_PROTECT, &bench->remote_root_key), STATUS_OK);
}

static void check_moved(struct upkeep_bench *bench, unsigned first, unsigned count)
{
    bench_check(bench, first, count, KEYMANAGER_KEY_PROTECT, &bench->remote_root_key, 0);
}

static int setup(void **state)
{
    struct upkeep_bench *bench = malloc(sizeof(*bench));
    assert_non_null(bench);
    bench_open(bench, false);
    *state = bench;
    return 0;
}

static int setup_on_disk(void **state)
{
    struct upkeep_bench *bench = malloc(sizeof(*bench));
    assert_non_null(bench);
    bench_open(bench, true);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    bench_close(*state);
    free(*state);
    return 0;
}

/* ---- Rotations ---- */

static void test_nothing_to_do(void **state)
{
    struct upkeep_bench *bench = *state;
    struct upkeep_progress progress;
    const struct uuid unknown = {{1}};
    bench_insert_many(bench, 1, 3);
    bench_upkeep_start(bench);
    assert_int_equal(upkeep_rewrap_progress(bench->upkeep, &bench->adapter.uuid, &progress),
                     STATUS_NOT_FOUND);
    assert_int_equal(upkeep_rewrap(bench->upkeep, &unknown), STATUS_NOT_FOUND);
    assert_int_equal(upkeep_rewrap(bench->upkeep, &bench->adapter.uuid), STATUS_OK);
    BENCH_WAIT(!bench_progress(bench).running);
    progress = bench_progress(bench);
    assert_int_equal(progress.total, 3);
    assert_int_equal(progress.done, 3);
    assert_int_equal(progress.rewrapped, 0);
    assert_int_equal(progress.failed, 0);
    assert_int_equal(progress.remaining, 0);
    assert_false(upkeep_uses_root_key(bench->upkeep, &bench->adapter.root_key));
}

static void test_rotation(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, OBJECTS);
    bench_upkeep_start(bench);
    rotate(bench->local, &bench->adapter.root_key, 1);
    assert_int_equal(upkeep_rewrap(bench->upkeep, &bench->adapter.uuid), STATUS_OK);
    BENCH_WAIT(!bench_progress(bench).running);
    bench_check(bench, 1, OBJECTS, KEYMANAGER_SEALED_FILE, &bench->adapter.root_key, 2);
    struct upkeep_progress progress = bench_progress(bench);
    assert_int_equal(progress.total, OBJECTS);
    assert_int_equal(progress.done, OBJECTS);
    assert_int_equal(progress.rewrapped, OBJECTS);
}

/* Rotated where we do not see it: by the service's policy, or just before a kill. */
static void test_rotation_elsewhere_is_noticed(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 20);
    bench_upkeep_start(bench);
    rotate(bench->local, &bench->adapter.root_key, 1);
    BENCH_WAIT(bench_settled(bench));
    bench_check(bench, 1, 20, KEYMANAGER_SEALED_FILE, &bench->adapter.root_key, 2);
    bench_upkeep_stop(bench);
    rotate(bench->local, &bench->adapter.root_key, 2);
    bench_upkeep_start(bench);
    BENCH_WAIT(bench_progress(bench).rewrapped == 20 && bench_settled(bench));
    (void)usleep(50000);
    bench_check(bench, 1, 20, KEYMANAGER_SEALED_FILE, &bench->adapter.root_key, 3);
}

static void rotate_during_rewrap(struct upkeep_bench *bench)
{
    bench_upkeep_start(bench);
    move_away(bench);
    BENCH_WAIT(bench_settled(bench));
    for (uint32_t version = 1; version < 4; version++) {
        rotate(bench->remote, &bench->remote_root_key, version);
        assert_int_equal(upkeep_rewrap(bench->upkeep, &bench->adapter.uuid), STATUS_OK);
        BENCH_WAIT(version == 3 || bench_progress(bench).rewrapped > 20);
    }
    BENCH_WAIT(bench_settled(bench));
    bench_check(bench, 1, OBJECTS, KEYMANAGER_KEY_PROTECT, &bench->remote_root_key, 4);
}

static void test_rotations_while_rewrapping(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, OBJECTS);
    rotate_during_rewrap(bench);
}

/* ---- Moves ---- */

static void test_move_there_and_back(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, OBJECTS);
    bench_upkeep_start(bench);
    const struct uuid first = bench->adapter.root_key;
    move_away(bench);
    assert_true(upkeep_uses_root_key(bench->upkeep, &first));
    struct adapter_row row = bench_read_adapter(bench);
    assert_int_equal(row.key_manager, KEYMANAGER_KEY_PROTECT);
    assert_true(uuid_equal(&row.root_key, &bench->remote_root_key));
    assert_int_equal(move(bench, KEYMANAGER_SEALED_FILE, &first), STATUS_CONFLICT);
    BENCH_WAIT(bench_settled(bench));
    assert_false(upkeep_uses_root_key(bench->upkeep, &first));
    check_moved(bench, 1, OBJECTS);
    assert_true(fake_most_in_flight(bench->remote) > 4);
    assert_true(fake_most_in_flight(bench->remote) <= 16);
    assert_int_equal(move(bench, KEYMANAGER_SEALED_FILE, &first), STATUS_OK);
    assert_true(upkeep_uses_root_key(bench->upkeep, &bench->remote_root_key));
    BENCH_WAIT(bench_settled(bench));
    bench_check(bench, 1, OBJECTS, KEYMANAGER_SEALED_FILE, &first, 1);
    assert_int_equal(bench_progress(bench).rewrapped, OBJECTS);
}

static void test_move_within_a_key_manager(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 30);
    bench_upkeep_start(bench);
    const struct uuid other = bench_root_key(bench->local);
    assert_int_equal(move(bench, KEYMANAGER_SEALED_FILE, &other), STATUS_OK);
    BENCH_WAIT(bench_settled(bench));
    bench_check(bench, 1, 30, KEYMANAGER_SEALED_FILE, &other, 1);
}

static void test_moves_that_are_refused(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 3);
    bench_upkeep_start(bench);
    const struct uuid unknown = {{7}};
    assert_int_equal(move(bench, KEYMANAGER_PKCS11, &unknown), STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(move(bench, KEYMANAGER_KEY_PROTECT, &unknown), STATUS_ROOT_KEY_UNAVAILABLE);
    assert_int_equal(keymanager_set_state(bench->remote, &bench->remote_root_key,
                                          ROOT_KEY_SUSPENDED, NULL),
                     STATUS_OK);
    assert_int_equal(move(bench, KEYMANAGER_KEY_PROTECT, &bench->remote_root_key),
                     STATUS_ROOT_KEY_UNAVAILABLE);
    fake_fail(bench->remote, STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(move(bench, KEYMANAGER_KEY_PROTECT, &bench->remote_root_key),
                     STATUS_KEY_MANAGER_UNAVAILABLE);
    fake_fail(bench->remote, STATUS_OK);
    struct adapter_row row = bench_read_adapter(bench);
    assert_int_equal(row.key_manager, KEYMANAGER_SEALED_FILE);
    struct error error = {0};
    const struct uuid root_key = bench_root_key(bench->local);
    assert_int_equal(upkeep_move(bench->upkeep, &unknown, KEYMANAGER_SEALED_FILE, &root_key,
                                 &error),
                     STATUS_NOT_FOUND);
}

/* What a client had wrapped before the move, and stores after the walk has passed. */
static void test_late_object_of_the_former_root_key(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 10);
    bench_upkeep_start(bench);
    move_away(bench);
    BENCH_WAIT(!bench_progress(bench).running); /* but not settled */
    bench_insert(bench, &bench->adapter, 11);   /* with the row from before */
    assert_true(upkeep_uses_root_key(bench->upkeep, &bench->adapter.root_key));
    BENCH_WAIT(bench_settled(bench));
    check_moved(bench, 1, 11);
}

/* ---- Failures ---- */

static void test_key_manager_down_in_the_middle(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, OBJECTS);
    bench_upkeep_start(bench);
    move_away(bench);
    BENCH_WAIT(bench_progress(bench).rewrapped > 30);
    fake_fail(bench->remote, STATUS_KEY_MANAGER_UNAVAILABLE);
    (void)usleep(100000);
    unsigned jobs = fake_jobs_done(bench->remote);
    (void)usleep(200000);
    assert_true(fake_jobs_done(bench->remote) - jobs < 1000); /* it does not run hot */
    struct upkeep_progress progress = bench_progress(bench);
    assert_true(progress.running);
    assert_true(progress.done < OBJECTS);
    bench_check(bench, 290, 5, KEYMANAGER_SEALED_FILE, NULL, 0);
    fake_fail(bench->remote, STATUS_OK);
    BENCH_WAIT(bench_settled(bench));
    check_moved(bench, 1, OBJECTS);
    progress = bench_progress(bench);
    assert_int_equal(progress.total, OBJECTS);
    assert_int_equal(progress.done, OBJECTS);
    assert_int_equal(progress.failed, 0);
    assert_string_equal(progress.failure, "");
}

static void test_some_jobs_fail(void **state)
{
    struct upkeep_bench *bench = *state;
    static const enum status failures[] = {STATUS_KEY_MANAGER_UNAVAILABLE, STATUS_UNWRAP_FAILED,
                                           STATUS_ROOT_KEY_UNAVAILABLE, STATUS_NO_MEMORY};
    bench_insert_many(bench, 1, 100);
    bench_upkeep_start(bench);
    for (size_t i = 0; i < ARRAY_COUNT(failures); i++) {
        fake_fail_some(bench->remote, 3, failures[i]);
        move_away(bench);
        BENCH_WAIT(bench_settled(bench));
        check_moved(bench, 1, 100);
        assert_int_equal(bench_progress(bench).done, 100);
        assert_int_equal(bench_progress(bench).failed, 0);
        assert_int_equal(move(bench, KEYMANAGER_SEALED_FILE, &bench->adapter.root_key), STATUS_OK);
        BENCH_WAIT(bench_settled(bench));
        bench_check(bench, 1, 100, KEYMANAGER_SEALED_FILE, &bench->adapter.root_key, 0);
    }
}

/* What it makes does not open: nothing of that takes the place of what does. */
static void test_key_manager_lies(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 40);
    bench_upkeep_start(bench);
    fake_lie(bench->remote, true);
    move_away(bench);
    BENCH_WAIT(bench_progress(bench).failed == 40);
    bench_check(bench, 1, 40, KEYMANAGER_SEALED_FILE, &bench->adapter.root_key, 1);
    assert_true(bench_progress(bench).running);
    assert_true(upkeep_uses_root_key(bench->upkeep, &bench->adapter.root_key));
    fake_lie(bench->remote, false);
    BENCH_WAIT(bench_settled(bench));
    check_moved(bench, 1, 40);
    fake_lie(bench->remote, true);
    rotate(bench->remote, &bench->remote_root_key, 1);
    assert_int_equal(upkeep_rewrap(bench->upkeep, &bench->adapter.uuid), STATUS_OK);
    BENCH_WAIT(bench_progress(bench).failed == 40);
    bench_check(bench, 1, 40, KEYMANAGER_KEY_PROTECT, &bench->remote_root_key, 1);
    fake_lie(bench->remote, false);
    BENCH_WAIT(bench_settled(bench));
    bench_check(bench, 1, 40, KEYMANAGER_KEY_PROTECT, &bench->remote_root_key, 2);
}

/* An object that no root key opens any more neither stops the others nor is forgotten; and the
 * adapter can go on to another root key all the same. */
static void test_object_that_cannot_be_opened(void **state)
{
    struct upkeep_bench *bench = *state;
    struct adapter_row elsewhere = bench->adapter;
    elsewhere.root_key = bench_root_key(bench->local);
    bench_insert(bench, &elsewhere, 1);
    bench_insert_many(bench, 2, 20);
    assert_int_equal(keymanager_set_state(bench->local, &elsewhere.root_key, ROOT_KEY_SUSPENDED,
                                          NULL),
                     STATUS_OK);
    bench_upkeep_start(bench);
    move_away(bench);
    BENCH_WAIT(bench_progress(bench).failed == 1 && bench_progress(bench).done == 20);
    check_moved(bench, 2, 20);
    assert_non_null(strstr(bench_progress(bench).failure, "0001"));
    (void)usleep(50000); /* it was tried again meanwhile */
    assert_int_equal(bench_progress(bench).failed, 1);
    assert_int_equal(bench_progress(bench).done, 20);
    unsigned jobs = fake_jobs_done(bench->remote);
    (void)usleep(50000);
    assert_int_equal(fake_jobs_done(bench->remote), jobs); /* the others are left alone */
    const struct uuid third = bench_root_key(bench->local);
    BENCH_WAIT(move(bench, KEYMANAGER_SEALED_FILE, &third) == STATUS_OK);
    BENCH_WAIT(bench_progress(bench).failed == 1 && bench_progress(bench).done == 20);
    bench_check(bench, 2, 20, KEYMANAGER_SEALED_FILE, &third, 1);
    assert_true(upkeep_uses_root_key(bench->upkeep, &bench->adapter.root_key));
    assert_true(upkeep_uses_root_key(bench->upkeep, &bench->remote_root_key));
    assert_int_equal(keymanager_set_state(bench->local, &elsewhere.root_key, ROOT_KEY_ACTIVE,
                                          NULL),
                     STATUS_OK);
    BENCH_WAIT(bench_settled(bench));
    bench_check(bench, 1, 21, KEYMANAGER_SEALED_FILE, &third, 1);
    assert_false(upkeep_uses_root_key(bench->upkeep, &bench->remote_root_key));
}

/* ---- Clients at work meanwhile ---- */

struct client {
    struct upkeep_bench *bench;
    pthread_t thread;
    atomic_bool stop;
    unsigned updates;
    unsigned conflicts;
};

static void *change_objects(void *argument)
{
    struct client *client = argument;
    struct store_session *session;
    if (store_session_open(client->bench->store, &session) != STATUS_OK)
        abort();
    for (unsigned i = 0; !atomic_load(&client->stop); i++) {
        bool done = bench_update(client->bench, session, 1 + i * 7 % OBJECTS, 2 + i % 3);
        client->updates += done;
        client->conflicts += !done;
    }
    store_session_close(session);
    return NULL;
}

static void test_clients_change_what_is_rewrapped(void **state)
{
    struct upkeep_bench *bench = *state;
    struct client client = {.bench = bench};
    bench_insert_many(bench, 1, OBJECTS);
    bench_upkeep_start(bench);
    assert_int_equal(pthread_create(&client.thread, NULL, change_objects, &client), 0);
    move_away(bench);
    unsigned next = OBJECTS;
    while (!bench_settled(bench)) {
        const struct adapter_row row = bench_read_adapter(bench);
        bench_insert(bench, &row, ++next);
        (void)usleep(2000);
        if (next == OBJECTS + 50)
            atomic_store(&client.stop, true); /* else it may never come to rest */
    }
    atomic_store(&client.stop, true);
    assert_int_equal(pthread_join(client.thread, NULL), 0);
    assert_true(client.updates > 100);
    check_moved(bench, 1, next);
}

static void test_objects_destroyed_meanwhile(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, OBJECTS);
    bench_upkeep_start(bench);
    fake_hold(bench->remote, true);
    move_away(bench);
    BENCH_WAIT(fake_most_in_flight(bench->remote) == 16);
    for (unsigned i = 1; i <= OBJECTS; i += 2)
        assert_true(bench_update(bench, bench->session, i, 5));
    fake_hold(bench->remote, false);
    BENCH_WAIT(bench_settled(bench));
    for (unsigned i = 2; i <= OBJECTS; i += 2)
        check_moved(bench, i, 1);
    assert_int_equal(bench_progress(bench).done, OBJECTS / 2);
    assert_int_equal(bench_progress(bench).total, OBJECTS / 2);
}

static void test_adapter_deleted_meanwhile(void **state)
{
    struct upkeep_bench *bench = *state;
    struct upkeep_progress progress;
    bench_insert_many(bench, 1, 50);
    bench_upkeep_start(bench);
    fake_hold(bench->remote, true);
    move_away(bench);
    BENCH_WAIT(fake_most_in_flight(bench->remote) == 16);
    for (unsigned i = 1; i <= 50; i++)
        assert_true(bench_update(bench, bench->session, i, 5));
    assert_int_equal(store_adapter_delete(bench->store, bench->adapter.id), STATUS_OK);
    fake_hold(bench->remote, false);
    BENCH_WAIT(upkeep_rewrap_progress(bench->upkeep, &bench->adapter.uuid, &progress) ==
               STATUS_NOT_FOUND);
    assert_false(upkeep_uses_root_key(bench->upkeep, &bench->adapter.root_key));
}

/* ---- Ends in the midst ---- */

static void test_stopped_and_started_again(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, OBJECTS);
    bench_upkeep_start(bench);
    move_away(bench);
    int64_t rewrapped = 0;
    for (int i = 0; i < 10; i++) {
        BENCH_WAIT(bench_settled(bench) || bench_progress(bench).rewrapped > rewrapped);
        bench_upkeep_stop(bench);
        bench_check(bench, 1, OBJECTS, KEYMANAGER_NONE, NULL, 0);
        bench_upkeep_start(bench);
        struct upkeep_progress progress = bench_progress(bench);
        assert_true(progress.rewrapped > rewrapped || !progress.running);
        rewrapped = progress.rewrapped;
        assert_true(bench_settled(bench) ||
                    upkeep_uses_root_key(bench->upkeep, &bench->adapter.root_key));
    }
    BENCH_WAIT(bench_settled(bench));
    check_moved(bench, 1, OBJECTS);
    assert_int_equal(bench_progress(bench).rewrapped, OBJECTS); /* none was done twice */
}

/* The store as a kill leaves it, at any point. */
static void test_killed_at_any_point(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 200);
    bench_upkeep_start(bench);
    fake_fail_some(bench->remote, 11, STATUS_ROOT_KEY_UNAVAILABLE);
    move_away(bench);
    for (int i = 0; i < 12; i++) {
        struct upkeep_bench copy;
        (void)usleep((useconds_t)(1000 * i));
        bench_copy(bench, &copy);
        bench_check(&copy, 1, 200, KEYMANAGER_NONE, NULL, 0);
        bench_upkeep_start(&copy);
        BENCH_WAIT(bench_settled(&copy));
        check_moved(&copy, 1, 200);
        assert_false(upkeep_uses_root_key(copy.upkeep, &bench->adapter.root_key));
        bench_close_copy(&copy);
    }
    BENCH_WAIT(bench_settled(bench));
    check_moved(bench, 1, 200);
}

/* What was saved by a newer version, or is damaged: begun again. */
static void test_saved_state_that_cannot_be_read(void **state)
{
    struct upkeep_bench *bench = *state;
    static const uint8_t values[][300] = {{9}, {1, 77}, {1, 1, 99}, {0}};
    static const size_t sizes[] = {224, 224, 224, 3, 300};
    char name[80] = "upkeep.rewrap.";
    bench_insert_many(bench, 1, 5);
    uuid_text(&bench->adapter.uuid, name + strlen(name));
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        assert_int_equal(store_value_put(bench->store, name, bytes_of(values[i % 4], sizes[i])),
                         STATUS_OK);
        bench_upkeep_start(bench);
        BENCH_WAIT(bench_settled(bench));
        assert_int_equal(bench_progress(bench).done, 5);
        bench_upkeep_stop(bench);
    }
}

/* ---- Root keys ---- */

static struct upkeep_root_key look(struct upkeep_bench *bench, const struct uuid *root_key)
{
    struct upkeep_root_key shown = {0};
    enum status status = upkeep_root_key(bench->upkeep, root_key, &shown);
    if (status != STATUS_OK)
        shown.status = status;
    return shown;
}

static bool is_blocked(struct upkeep_bench *bench, enum keymanager_code code,
                       const struct uuid *root_key)
{
    (void)pthread_mutex_lock(&bench->upkeep->lock);
    const struct watched *watched = upkeep_watched(bench->upkeep, code, root_key);
    bool blocked = watched != NULL && watched->blocked;
    (void)pthread_mutex_unlock(&bench->upkeep->lock);
    return blocked;
}

static void test_root_keys_are_watched(void **state)
{
    struct upkeep_bench *bench = *state;
    const struct uuid *root_key = &bench->remote_root_key;
    bench_upkeep_start(bench);
    assert_int_equal(look(bench, root_key).status, STATUS_NOT_FOUND);
    move_away(bench);
    BENCH_WAIT(bench_settled(bench));
    BENCH_WAIT(look(bench, root_key).status == STATUS_OK);
    assert_true(look(bench, root_key).checked > 0);
    /* No answer is no "no". */
    fake_fail(bench->remote, STATUS_KEY_MANAGER_UNAVAILABLE);
    BENCH_WAIT(look(bench, root_key).status == STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_false(is_blocked(bench, KEYMANAGER_KEY_PROTECT, root_key));
    fake_fail(bench->remote, STATUS_OK);
    BENCH_WAIT(look(bench, root_key).status == STATUS_OK);
    /* Found by itself. */
    const enum status answers[] = {STATUS_ROOT_KEY_UNAVAILABLE, STATUS_NOT_FOUND};
    for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
        fake_fail(bench->remote, answers[i]);
        BENCH_WAIT(is_blocked(bench, KEYMANAGER_KEY_PROTECT, root_key));
        assert_int_equal(look(bench, root_key).status, STATUS_ROOT_KEY_UNAVAILABLE);
        fake_fail(bench->remote, STATUS_KEY_MANAGER_UNAVAILABLE);
        BENCH_WAIT(look(bench, root_key).status == STATUS_KEY_MANAGER_UNAVAILABLE);
        assert_true(is_blocked(bench, KEYMANAGER_KEY_PROTECT, root_key));
        fake_fail(bench->remote, STATUS_OK);
        BENCH_WAIT(!is_blocked(bench, KEYMANAGER_KEY_PROTECT, root_key));
    }
}

static void test_changed_root_key_is_looked_at_at_once(void **state)
{
    struct upkeep_bench *bench = *state;
    const struct uuid *root_key = &bench->adapter.root_key;
    for (size_t i = 0; i < ARRAY_COUNT(bench->options.policies); i++)
        bench->options.policies[i].check_interval = 3600000;
    bench_upkeep_start(bench);
    BENCH_WAIT(look(bench, root_key).status == STATUS_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(keymanager_set_state(bench->local, root_key, ROOT_KEY_SUSPENDED, NULL),
                         STATUS_OK);
        upkeep_root_key_changed(bench->upkeep, KEYMANAGER_SEALED_FILE, root_key);
        assert_true(is_blocked(bench, KEYMANAGER_SEALED_FILE, root_key));
        assert_string_equal(look(bench, root_key).text, "disabled");
        assert_int_equal(keymanager_set_state(bench->local, root_key, ROOT_KEY_ACTIVE, NULL),
                         STATUS_OK);
        upkeep_root_key_changed(bench->upkeep, KEYMANAGER_SEALED_FILE, root_key);
        assert_false(is_blocked(bench, KEYMANAGER_SEALED_FILE, root_key));
    }
}

/* A disabled root key stops a rewrap, and does not make it fail object by object. */
static void test_rewrap_waits_for_the_root_key(void **state)
{
    struct upkeep_bench *bench = *state;
    bench_insert_many(bench, 1, 50);
    bench_upkeep_start(bench);
    rotate(bench->local, &bench->adapter.root_key, 1);
    assert_int_equal(keymanager_set_state(bench->local, &bench->adapter.root_key,
                                          ROOT_KEY_SUSPENDED, NULL),
                     STATUS_OK);
    assert_int_equal(upkeep_rewrap(bench->upkeep, &bench->adapter.uuid), STATUS_OK);
    BENCH_WAIT(strstr(bench_progress(bench).failure, "disabled") != NULL);
    assert_int_equal(bench_progress(bench).failed, 0);
    assert_true(bench_progress(bench).running);
    assert_int_equal(keymanager_set_state(bench->local, &bench->adapter.root_key, ROOT_KEY_ACTIVE,
                                          NULL),
                     STATUS_OK);
    BENCH_WAIT(bench_settled(bench));
    bench_check(bench, 1, 50, KEYMANAGER_SEALED_FILE, &bench->adapter.root_key, 2);
}

/* ---- Keys held ready ---- */

static void ignore(void *context, enum status status)
{
}

struct readiness {
    struct upkeep_bench *bench;
    unsigned ready;
};

static bool note_ready(void *context, struct stored_object *object)
{
    struct readiness *readiness = context;
    struct upkeep_bench *bench = readiness->bench;
    enum status status =
        core_fetch_key(bench->core, &bench->adapter.uuid, object, ignore, NULL);
    readiness->ready += status == STATUS_OK;
    return status == STATUS_OK;
}

/* Up to the first that would have to be fetched. */
static unsigned count_ready(struct upkeep_bench *bench)
{
    struct readiness readiness = {.bench = bench};
    const struct store_query query = {.adapter = bench->adapter.id, .limit = 1000};
    int64_t next;
    assert_int_equal(store_find(bench->session, &query, note_ready, &readiness, &next), STATUS_OK);
    return readiness.ready;
}

static void test_keys_are_held_ready(void **state)
{
    struct upkeep_bench *bench = *state;
    struct upkeep_policy *policy = &bench->options.policies[KEYMANAGER_KEY_PROTECT];
    assert_int_equal(store_adapter_move(bench->store, bench->adapter.id, KEYMANAGER_KEY_PROTECT,
                                        &bench->remote_root_key),
                     STATUS_OK);
    bench_insert_many(bench, 1, OBJECTS);
    bench_upkeep_start(bench); /* not to be held ready */
    (void)usleep(30000);
    assert_int_equal(fake_jobs_done(bench->remote), 0);
    bench_upkeep_stop(bench);
    policy->warm = true;
    fake_fail(bench->remote, STATUS_KEY_MANAGER_UNAVAILABLE);
    bench_upkeep_start(bench);
    BENCH_WAIT(fake_jobs_done(bench->remote) > 20);
    fake_fail(bench->remote, STATUS_OK);
    unsigned before = 0;
    unsigned jobs = 1;
    BENCH_WAIT((before = jobs, (void)usleep(60000), jobs = fake_jobs_done(bench->remote),
                jobs >= OBJECTS && jobs == before));
    bench_upkeep_stop(bench);
    assert_int_equal(count_ready(bench), OBJECTS);
    assert_true(fake_most_in_flight(bench->remote) <= 16);
}

static void test_keys_are_fetched_anew(void **state)
{
    struct upkeep_bench *bench = *state;
    struct upkeep_policy *policy = &bench->options.policies[KEYMANAGER_KEY_PROTECT];
    policy->warm = true;
    policy->cache_time = 80; /* of upkeep alone: core keeps them for a minute */
    assert_int_equal(store_adapter_move(bench->store, bench->adapter.id, KEYMANAGER_KEY_PROTECT,
                                        &bench->remote_root_key),
                     STATUS_OK);
    bench_insert_many(bench, 1, 20);
    bench_upkeep_start(bench);
    BENCH_WAIT(fake_jobs_done(bench->remote) == 20);
    (void)usleep(100000);
    assert_int_equal(fake_jobs_done(bench->remote), 20); /* fresh still */
    bench->clock.test_time += 31000;
    BENCH_WAIT(fake_jobs_done(bench->remote) == 40);
}

#define IN_MEMORY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define ON_DISK(test)   cmocka_unit_test_setup_teardown(test, setup_on_disk, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_MEMORY(test_nothing_to_do),
        IN_MEMORY(test_rotation),
        IN_MEMORY(test_rotation_elsewhere_is_noticed),
        IN_MEMORY(test_rotations_while_rewrapping),
        IN_MEMORY(test_move_there_and_back),
        IN_MEMORY(test_move_within_a_key_manager),
        IN_MEMORY(test_moves_that_are_refused),
        IN_MEMORY(test_late_object_of_the_former_root_key),
        IN_MEMORY(test_key_manager_down_in_the_middle),
        IN_MEMORY(test_some_jobs_fail),
        IN_MEMORY(test_key_manager_lies),
        IN_MEMORY(test_object_that_cannot_be_opened),
        IN_MEMORY(test_clients_change_what_is_rewrapped),
        IN_MEMORY(test_objects_destroyed_meanwhile),
        IN_MEMORY(test_adapter_deleted_meanwhile),
        IN_MEMORY(test_stopped_and_started_again),
        ON_DISK(test_move_there_and_back),
        ON_DISK(test_clients_change_what_is_rewrapped),
        ON_DISK(test_killed_at_any_point),
        IN_MEMORY(test_saved_state_that_cannot_be_read),
        IN_MEMORY(test_root_keys_are_watched),
        IN_MEMORY(test_changed_root_key_is_looked_at_at_once),
        IN_MEMORY(test_rewrap_waits_for_the_root_key),
        IN_MEMORY(test_keys_are_held_ready),
        IN_MEMORY(test_keys_are_fetched_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
