/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What store.h promises, checked against each kind of store: one conformance suite. What only the
 * SQLite store has (files, faults, processes) is in test_store_sqlite.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hex.h"
#include "store/store.h"
#include "store_files.h"

#define SYMMETRIC_KEY 2
#define SECRET_DATA   7
#define OPAQUE_OBJECT 8

#define PRE_ACTIVE            1
#define ACTIVE                2
#define COMPROMISED           4
#define DESTROYED             5
#define DESTROYED_COMPROMISED 6

/* In what threads run too: an assertion of cmocka jumps, and cannot from another thread. */
#define CHECK(condition) check(condition, #condition, __LINE__)

static pthread_t main_thread;

static void check(bool true_so_far, const char *condition, int line)
{
    if (true_so_far)
        return;
    if (pthread_equal(pthread_self(), main_thread))
        fail_msg("line %d: %s", line, condition);
    (void)fprintf(stderr, "test_store.c:%d: %s\n", line, condition);
    abort();
}

/* ---- The kinds of store ---- */

struct kind {
    const char *name;
    bool file;
    size_t cache_bytes;
};

static const struct kind kinds[] = {
    {"memory", false, 0},
    {"sqlite", true, 0},
    {"sqlite with cache", true, 4 << 20},
    {"sqlite with tiny cache", true, 4096},
};

struct fixture {
    const struct kind *kind;
    struct store *store;
    struct store_session *session;
    char directory[64];
    char path[96];
    int64_t adapter;
    int64_t other; /* another adapter */
};

static void open_store(struct fixture *fixture)
{
    struct error error = {0};
    const struct store_options options = {.cache_bytes = fixture->kind->cache_bytes};
    enum status status = fixture->kind->file
                             ? store_open_sqlite(fixture->path, &options, &fixture->store, &error)
                             : store_open_memory(&fixture->store, &error);
    if (status != STATUS_OK)
        fail_msg("%s", error.text);
    assert_int_equal(store_session_open(fixture->store, &fixture->session), STATUS_OK);
}

static void close_store(struct fixture *fixture)
{
    store_session_close(fixture->session);
    store_close(fixture->store);
}

/* ---- Rows ---- */

static struct uuid make_id(unsigned number)
{
    struct uuid id = {{0x01, 0x90, 0, 0, 0, 0, 0x70, 0, 0x80}};
    for (int i = 0; i < 4; i++)
        id.bytes[15 - i] = (uint8_t)(number >> (8 * i));
    return id;
}

static struct adapter_row make_adapter(const char *name, unsigned number)
{
    struct adapter_row row = {.uuid = make_id(0xA0000000u + number), .created = 1700000000000};
    row.key_manager = 1 + number % 3;
    row.root_key = make_id(0xB0000000u + number);
    (void)snprintf(row.name, sizeof(row.name), "%s", name);
    return row;
}

static struct store_change make_insert(const struct fixture *fixture, unsigned number)
{
    return (struct store_change){.kind = STORE_INSERT,
                                 .row = {.id = make_id(number),
                                         .adapter = fixture->adapter,
                                         .object_type = SYMMETRIC_KEY,
                                         .state = PRE_ACTIVE,
                                         .attributes = BYTES_LITERAL("attributes"),
                                         .wrapped.blob = BYTES_LITERAL("wrapped")}};
}

static void set_terms(struct store_change *change, const struct store_term *terms, size_t count)
{
    change->terms = terms;
    change->term_count = count;
}

static void insert(const struct fixture *fixture, unsigned number)
{
    struct store_change change = make_insert(fixture, number);
    CHECK(store_commit(fixture->store, &change, 1) == STATUS_OK);
}

static enum status insert_with(const struct fixture *fixture, unsigned number, int64_t adapter,
                               uint32_t state, const struct store_term *terms, size_t count)
{
    struct store_change change = make_insert(fixture, number);
    change.row.adapter = adapter;
    change.row.state = state;
    set_terms(&change, terms, count);
    return store_commit(fixture->store, &change, 1);
}

static struct stored_object *get(const struct fixture *fixture, unsigned number)
{
    struct stored_object *object = NULL;
    const struct uuid id = make_id(number);
    CHECK(store_get(fixture->session, fixture->adapter, &id, &object) == STATUS_OK);
    CHECK(object != NULL);
    return object;
}

static enum status try_get(const struct fixture *fixture, int64_t adapter, unsigned number)
{
    struct stored_object *object = NULL;
    const struct uuid id = make_id(number);
    enum status status = store_get(fixture->session, adapter, &id, &object);
    if (status != STATUS_OK)
        assert_null(object);
    stored_object_release(object);
    return status;
}

static int64_t version_of(const struct fixture *fixture, unsigned number)
{
    struct stored_object *object = get(fixture, number);
    int64_t version = object->row.version;
    stored_object_release(object);
    return version;
}

/* A change of the object as it is now, into `state`; what it points to is static. */
static struct store_change make_update(const struct fixture *fixture, unsigned number,
                                       uint32_t state)
{
    struct stored_object *object = get(fixture, number);
    struct store_change change = {.kind = STORE_UPDATE, .row = object->row};
    change.row.state = state;
    change.row.attributes = BYTES_LITERAL("changed");
    change.row.wrapped.blob = BYTES_LITERAL("wrapped");
    stored_object_release(object);
    return change;
}

static enum status update_with(const struct fixture *fixture, unsigned number, uint32_t state,
                               const struct store_term *terms, size_t count)
{
    struct store_change change = make_update(fixture, number, state);
    set_terms(&change, terms, count);
    return store_commit(fixture->store, &change, 1);
}

static int64_t count_state(const struct fixture *fixture, unsigned state)
{
    int64_t counts[8];
    assert_int_equal(store_count(fixture->session, fixture->adapter, counts), STATUS_OK);
    return counts[state];
}

/* ---- Fixture ---- */

static int setup(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->kind->file)
        files_make_directory(fixture->directory, sizeof(fixture->directory));
    (void)snprintf(fixture->path, sizeof(fixture->path), "%s/store.db", fixture->directory);
    open_store(fixture);
    struct adapter_row adapter = make_adapter("default", 1);
    struct adapter_row other = make_adapter("other", 2);
    assert_int_equal(store_adapter_insert(fixture->store, &adapter), STATUS_OK);
    assert_int_equal(store_adapter_insert(fixture->store, &other), STATUS_OK);
    fixture->adapter = adapter.id;
    fixture->other = other.id;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(store_health(fixture->store), STATUS_OK);
    close_store(fixture);
    if (fixture->kind->file)
        files_remove_directory(fixture->directory);
    return 0;
}

/* ---- Objects ---- */

static void test_object_comes_back_as_inserted(void **state)
{
    const struct fixture *fixture = *state;
    insert(fixture, 1);
    struct stored_object *object = get(fixture, 1);
    const struct uuid id = make_id(1);
    assert_true(uuid_equal(&object->row.id, &id));
    assert_int_equal(object->row.adapter, fixture->adapter);
    assert_true(object->row.sequence > 0);
    assert_int_equal(object->row.version, 1);
    assert_int_equal(object->row.object_type, SYMMETRIC_KEY);
    assert_int_equal(object->row.state, PRE_ACTIVE);
    assert_true(bytes_equal_text(object->row.attributes, "attributes"));
    assert_true(bytes_equal_text(object->row.wrapped.blob, "wrapped"));
    stored_object_release(object);
}

static void test_empty_and_large_bytes_come_back(void **state)
{
    const struct fixture *fixture = *state;
    static uint8_t large[300000];
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (uint8_t)(i * 7);
    struct store_change change = make_insert(fixture, 1);
    change.row.attributes = bytes_of(NULL, 0);
    change.row.wrapped.blob = bytes_of(large, sizeof(large));
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK);
    struct stored_object *object = get(fixture, 1);
    assert_int_equal(object->row.attributes.size, 0);
    assert_true(bytes_equal(object->row.wrapped.blob, bytes_of(large, sizeof(large))));
    stored_object_release(object);
}

static void test_sequence_and_version_of_an_insert_are_the_stores(void **state)
{
    const struct fixture *fixture = *state;
    struct store_change change = make_insert(fixture, 1);
    change.row.sequence = 77;
    change.row.version = 99;
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK);
    insert(fixture, 2);
    struct stored_object *first = get(fixture, 1);
    struct stored_object *second = get(fixture, 2);
    assert_int_equal(first->row.version, 1);
    assert_true(first->row.sequence < second->row.sequence);
    stored_object_release(first);
    stored_object_release(second);
}

static void test_restored_object_keeps_its_version(void **state)
{
    const struct fixture *fixture = *state;
    struct store_change change = make_insert(fixture, 1);
    change.kind = STORE_RESTORE;
    change.row.version = 41;
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK);
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_EXISTS);
    assert_int_equal(version_of(fixture, 1), 41);
    assert_int_equal(update_with(fixture, 1, ACTIVE, NULL, 0), STATUS_OK);
    assert_int_equal(version_of(fixture, 1), 42);
}

static void test_missing_and_foreign_objects_are_alike(void **state)
{
    const struct fixture *fixture = *state;
    insert(fixture, 1);
    assert_int_equal(try_get(fixture, fixture->adapter, 2), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(try_get(fixture, fixture->other, 1), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(try_get(fixture, fixture->adapter, 1), STATUS_OK);
    assert_int_equal(try_get(fixture, fixture->other, 1), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(try_get(fixture, fixture->adapter, 1), STATUS_OK);
}

static void test_object_outlives_store(void **state)
{
    struct fixture *fixture = *state;
    insert(fixture, 1);
    struct stored_object *object = get(fixture, 1);
    stored_object_hold(object);
    stored_object_release(object);
    assert_int_equal(update_with(fixture, 1, ACTIVE, NULL, 0), STATUS_OK);
    assert_int_equal(object->row.state, PRE_ACTIVE);
    close_store(fixture);
    assert_true(bytes_equal_text(object->row.attributes, "attributes"));
    stored_object_release(object);
    open_store(fixture);
}

static void test_update_replaces_row(void **state)
{
    const struct fixture *fixture = *state;
    insert(fixture, 1);
    struct stored_object *before = get(fixture, 1);
    struct store_change change = make_update(fixture, 1, ACTIVE);
    change.row.object_type = SECRET_DATA; /* stays as it is, as does the sequence */
    change.row.sequence = 1000;
    change.row.wrapped.blob = bytes_of(NULL, 0);
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK);
    struct stored_object *after = get(fixture, 1);
    assert_int_equal(after->row.version, 2);
    assert_int_equal(after->row.state, ACTIVE);
    assert_int_equal(after->row.object_type, SYMMETRIC_KEY);
    assert_int_equal(after->row.sequence, before->row.sequence);
    assert_true(bytes_equal_text(after->row.attributes, "changed"));
    assert_int_equal(after->row.wrapped.blob.size, 0);
    stored_object_release(before);
    stored_object_release(after);
}

static void test_update_of_old_version_conflicts(void **state)
{
    const struct fixture *fixture = *state;
    insert(fixture, 1);
    struct store_change first = make_update(fixture, 1, ACTIVE);
    struct store_change second = make_update(fixture, 1, COMPROMISED);
    assert_int_equal(store_commit(fixture->store, &first, 1), STATUS_OK);
    assert_int_equal(store_commit(fixture->store, &second, 1), STATUS_CONFLICT);
    second.row.version = 3;
    assert_int_equal(store_commit(fixture->store, &second, 1), STATUS_CONFLICT);
    struct stored_object *object = get(fixture, 1);
    assert_int_equal(object->row.state, ACTIVE);
    assert_int_equal(object->row.version, 2);
    stored_object_release(object);
}

static void test_update_of_missing_or_foreign_object(void **state)
{
    const struct fixture *fixture = *state;
    insert(fixture, 1);
    struct store_change change = make_update(fixture, 1, ACTIVE);
    change.row.adapter = fixture->other;
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OBJECT_NOT_FOUND);
    change.row.adapter = fixture->adapter;
    change.row.id = make_id(2);
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(version_of(fixture, 1), 1);
}

static void test_identifier_is_used_once(void **state)
{
    const struct fixture *fixture = *state;
    insert(fixture, 1);
    struct store_change change = make_insert(fixture, 1);
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_EXISTS);
    change.row.adapter = fixture->other;
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_EXISTS);
    assert_int_equal(count_state(fixture, PRE_ACTIVE), 1);
}

static void test_object_needs_its_adapter(void **state)
{
    const struct fixture *fixture = *state;
    struct store_change change = make_insert(fixture, 1);
    change.row.adapter = 4711;
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_NOT_FOUND);
    change.row.adapter = fixture->adapter;
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK);
}

/* ---- Unique terms ---- */

static const struct store_term name[] = {{0xFFFFFFFFFFFFFF01u, true}};
static const struct store_term other_name[] = {{0xFFFFFFFFFFFFFF02u, true}};

static void test_name_belongs_to_one_live_object(void **state)
{
    const struct fixture *fixture = *state;
    assert_int_equal(insert_with(fixture, 1, fixture->adapter, ACTIVE, name, 1), STATUS_OK);
    assert_int_equal(insert_with(fixture, 2, fixture->adapter, ACTIVE, name, 1),
                     STATUS_NAME_EXISTS);
    assert_int_equal(try_get(fixture, fixture->adapter, 2), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(insert_with(fixture, 2, fixture->adapter, ACTIVE, other_name, 1), STATUS_OK);
    assert_int_equal(update_with(fixture, 2, ACTIVE, name, 1), STATUS_NAME_EXISTS);
    assert_int_equal(version_of(fixture, 2), 1);
    assert_int_equal(update_with(fixture, 1, COMPROMISED, name, 1), STATUS_OK);
    assert_int_equal(update_with(fixture, 2, ACTIVE, name, 1), STATUS_NAME_EXISTS);
}

static void test_name_is_free_in_another_adapter(void **state)
{
    const struct fixture *fixture = *state;
    assert_int_equal(insert_with(fixture, 1, fixture->adapter, ACTIVE, name, 1), STATUS_OK);
    assert_int_equal(insert_with(fixture, 2, fixture->other, ACTIVE, name, 1), STATUS_OK);
}

static void test_destroyed_object_gives_up_its_name(void **state)
{
    const struct fixture *fixture = *state;
    static const uint32_t destroyed[] = {DESTROYED, DESTROYED_COMPROMISED};
    for (unsigned i = 0; i < ARRAY_COUNT(destroyed); i++) {
        assert_int_equal(insert_with(fixture, 10 + i, fixture->adapter, ACTIVE, name, 1),
                         STATUS_OK);
        assert_int_equal(update_with(fixture, 10 + i, destroyed[i], name, 1), STATUS_OK);
    }
    assert_int_equal(insert_with(fixture, 3, fixture->adapter, ACTIVE, name, 1), STATUS_OK);
    /* Changing a destroyed one is not stopped by the name it once had; reviving it would be. */
    assert_int_equal(update_with(fixture, 10, DESTROYED_COMPROMISED, name, 1), STATUS_OK);
    assert_int_equal(update_with(fixture, 10, ACTIVE, name, 1), STATUS_NAME_EXISTS);
    assert_int_equal(insert_with(fixture, 4, fixture->adapter, DESTROYED, name, 1), STATUS_OK);
    assert_int_equal(update_with(fixture, 3, ACTIVE, NULL, 0), STATUS_OK);
    assert_int_equal(update_with(fixture, 10, ACTIVE, name, 1), STATUS_OK);
}

static void test_name_given_up_is_free(void **state)
{
    const struct fixture *fixture = *state;
    assert_int_equal(insert_with(fixture, 1, fixture->adapter, ACTIVE, name, 1), STATUS_OK);
    assert_int_equal(update_with(fixture, 1, ACTIVE, name, 1), STATUS_OK); /* keeps its own */
    assert_int_equal(update_with(fixture, 1, ACTIVE, other_name, 1), STATUS_OK);
    assert_int_equal(insert_with(fixture, 2, fixture->adapter, ACTIVE, name, 1), STATUS_OK);
    assert_int_equal(update_with(fixture, 1, ACTIVE, name, 1), STATUS_NAME_EXISTS);
}

/* Re-key gives the new key the old one's Name in one transaction (KMIP 1.4 §4.4). */
static void test_name_moves_within_a_transaction(void **state)
{
    const struct fixture *fixture = *state;
    assert_int_equal(insert_with(fixture, 1, fixture->adapter, ACTIVE, name, 1), STATUS_OK);
    struct store_change changes[] = {make_update(fixture, 1, ACTIVE), make_insert(fixture, 2)};
    set_terms(&changes[1], name, 1);
    assert_int_equal(store_commit(fixture->store, changes, 2), STATUS_OK);
    assert_int_equal(update_with(fixture, 1, ACTIVE, name, 1), STATUS_NAME_EXISTS);
    assert_int_equal(update_with(fixture, 2, ACTIVE, name, 1), STATUS_OK);
}

static void test_terms_that_are_not_unique_are_shared(void **state)
{
    const struct fixture *fixture = *state;
    const struct store_term shared[] = {{1, false}, {1, false}, {2, true}, {2, true}, {2, false}};
    const struct store_term plain[] = {{2, false}, {1, false}};
    assert_int_equal(insert_with(fixture, 1, fixture->adapter, ACTIVE, shared, 5), STATUS_OK);
    assert_int_equal(insert_with(fixture, 2, fixture->adapter, ACTIVE, plain, 2), STATUS_OK);
    assert_int_equal(insert_with(fixture, 3, fixture->adapter, ACTIVE, shared, 5),
                     STATUS_NAME_EXISTS);
    assert_int_equal(update_with(fixture, 1, ACTIVE, plain, 2), STATUS_OK);
    assert_int_equal(insert_with(fixture, 3, fixture->adapter, ACTIVE, shared, 5), STATUS_OK);
}

/* ---- Finding ---- */

struct found {
    unsigned numbers[512];
    size_t count;
    size_t stop_after; /* 0: do not stop */
    int64_t last_sequence;
    bool descending;
};

static unsigned number_of(const struct uuid *id)
{
    unsigned number = 0;
    for (int i = 12; i < 16; i++)
        number = number << 8 | id->bytes[i];
    return number;
}

static bool note_found(void *context, struct stored_object *object)
{
    struct found *found = context;
    found->descending |= object->row.sequence <= found->last_sequence;
    found->last_sequence = object->row.sequence;
    found->numbers[found->count++] = number_of(&object->row.id);
    return found->count != found->stop_after;
}

/* Reads page after page of at most `limit`. */
static struct found find_all(const struct fixture *fixture, const struct store_query *query,
                             size_t limit)
{
    struct found found = {0};
    struct store_query page = *query;
    page.limit = limit;
    do {
        size_t before = found.count;
        assert_int_equal(store_find(fixture->session, &page, note_found, &found, &page.after),
                         STATUS_OK);
        assert_true(found.count - before <= limit);
    } while (page.after != 0);
    assert_false(found.descending);
    return found;
}

static void assert_finds(const struct fixture *fixture, const struct store_query *query,
                         const unsigned *numbers, size_t count)
{
    static const size_t limits[] = {1, 2, 3, 100};
    for (size_t i = 0; i < ARRAY_COUNT(limits); i++) {
        struct found found = find_all(fixture, query, limits[i]);
        assert_int_equal(found.count, count);
        for (size_t j = 0; j < count; j++)
            assert_int_equal(found.numbers[j], numbers[j]);
    }
}

#define ASSERT_FINDS(fixture, query, ...)                                                          \
    do {                                                                                           \
        const unsigned expected[] = {0, ##__VA_ARGS__};                                            \
        assert_finds(fixture, query, expected + 1, ARRAY_COUNT(expected) - 1);                     \
    } while (0)

/*
 * 1 Pre-Active key {A}   2 Active key {A, B}   3 Active secret {A, C}
 * 4 destroyed key {B}    5 opaque {A, B, C}    6 the other adapter's Active key {A, B, C}
 */
#define TERM_A 0x0000000000000001u
#define TERM_B 0x8000000000000002u
#define TERM_C 0xFFFFFFFFFFFFFFFFu

static void insert_six(const struct fixture *fixture)
{
    static const struct store_term all[] = {{TERM_C, false}, {TERM_A, false}, {TERM_B, false}};
    static const struct store_term a_and_b[] = {{TERM_A, false}, {TERM_B, false}};
    struct store_change changes[6];
    for (unsigned i = 0; i < 6; i++)
        changes[i] = make_insert(fixture, i + 1);
    set_terms(&changes[0], a_and_b, 1);
    set_terms(&changes[1], a_and_b, 2);
    set_terms(&changes[2], all, 2);
    set_terms(&changes[3], &a_and_b[1], 1);
    set_terms(&changes[4], all, 3);
    set_terms(&changes[5], all, 3);
    changes[1].row.state = changes[2].row.state = changes[5].row.state = ACTIVE;
    changes[2].row.object_type = SECRET_DATA;
    changes[3].row.state = DESTROYED;
    changes[4].row.object_type = OPAQUE_OBJECT;
    changes[4].row.state = 0;
    changes[5].row.adapter = fixture->other;
    assert_int_equal(store_commit(fixture->store, changes, 6), STATUS_OK);
}

static void test_find_by_terms(void **state)
{
    const struct fixture *fixture = *state;
    insert_six(fixture);
    struct store_query query = {.adapter = fixture->adapter, .terms = (uint64_t[]){TERM_A, 0, 0}};
    ASSERT_FINDS(fixture, &query, 1, 2, 3, 4, 5);
    query.term_count = 1;
    ASSERT_FINDS(fixture, &query, 1, 2, 3, 5);
    query.terms = (uint64_t[]){TERM_A, TERM_B};
    query.term_count = 2;
    ASSERT_FINDS(fixture, &query, 2, 5);
    query.terms = (uint64_t[]){TERM_C, TERM_A, TERM_B};
    query.term_count = 3;
    ASSERT_FINDS(fixture, &query, 5);
    query.terms = (uint64_t[]){TERM_C, TERM_A, TERM_A};
    ASSERT_FINDS(fixture, &query, 3, 5);
    query.terms = (uint64_t[]){TERM_A, 4711};
    query.term_count = 2;
    ASSERT_FINDS(fixture, &query);
}

static void test_find_by_type_and_state(void **state)
{
    const struct fixture *fixture = *state;
    insert_six(fixture);
    struct store_query query = {.adapter = fixture->adapter, .object_type = SYMMETRIC_KEY};
    ASSERT_FINDS(fixture, &query, 1, 2, 4);
    query.states = STORE_STATE_BIT(ACTIVE) | STORE_STATE_BIT(PRE_ACTIVE);
    ASSERT_FINDS(fixture, &query, 1, 2);
    query.object_type = 0;
    ASSERT_FINDS(fixture, &query, 1, 2, 3);
    query.states = STORE_STATE_BIT(0) | STORE_STATE_BIT(DESTROYED);
    ASSERT_FINDS(fixture, &query, 4, 5);
    query.states = STORE_STATE_BIT(COMPROMISED);
    ASSERT_FINDS(fixture, &query);
}

static void test_find_by_terms_type_and_state(void **state)
{
    const struct fixture *fixture = *state;
    insert_six(fixture);
    struct store_query query = {.adapter = fixture->adapter,
                                .terms = (uint64_t[]){TERM_A},
                                .term_count = 1,
                                .states = STORE_STATE_BIT(ACTIVE)};
    ASSERT_FINDS(fixture, &query, 2, 3);
    query.object_type = SECRET_DATA;
    ASSERT_FINDS(fixture, &query, 3);
    query.states = 0;
    query.object_type = OPAQUE_OBJECT;
    ASSERT_FINDS(fixture, &query, 5);
}

static void test_find_sees_one_adapter_only(void **state)
{
    const struct fixture *fixture = *state;
    insert_six(fixture);
    struct store_query query = {.adapter = fixture->other};
    ASSERT_FINDS(fixture, &query, 6);
    query.terms = (uint64_t[]){TERM_A, TERM_B};
    query.term_count = 2;
    ASSERT_FINDS(fixture, &query, 6);
    query.adapter = 4711;
    ASSERT_FINDS(fixture, &query);
}

static void test_update_replaces_terms_and_state(void **state)
{
    const struct fixture *fixture = *state;
    static const struct store_term terms[] = {{TERM_B, false}, {TERM_C, false}};
    insert_six(fixture);
    assert_int_equal(update_with(fixture, 2, DESTROYED, terms, 2), STATUS_OK);
    struct store_query query = {
        .adapter = fixture->adapter, .terms = (uint64_t[]){TERM_A}, .term_count = 1};
    ASSERT_FINDS(fixture, &query, 1, 3, 5);
    query.terms = (uint64_t[]){TERM_B};
    ASSERT_FINDS(fixture, &query, 2, 4, 5);
    query.terms = (uint64_t[]){TERM_C};
    ASSERT_FINDS(fixture, &query, 2, 3, 5);
    query.states = STORE_STATE_BIT(DESTROYED);
    ASSERT_FINDS(fixture, &query, 2);
    assert_int_equal(update_with(fixture, 2, DESTROYED, NULL, 0), STATUS_OK);
    query.states = 0;
    ASSERT_FINDS(fixture, &query, 3, 5);
}

static void insert_many(const struct fixture *fixture, unsigned count)
{
    struct store_change *changes = calloc(count, sizeof(*changes));
    assert_non_null(changes);
    for (unsigned i = 0; i < count; i++) {
        changes[i] = make_insert(fixture, i + 1);
        changes[i].row.state = i % 3 == 0 ? ACTIVE : PRE_ACTIVE;
        changes[i].row.object_type = i % 2 == 0 ? SYMMETRIC_KEY : SECRET_DATA;
    }
    assert_int_equal(store_commit(fixture->store, changes, count), STATUS_OK);
    free(changes);
}

static void test_pages_are_complete(void **state)
{
    const struct fixture *fixture = *state;
    static const size_t limits[] = {7, 63, 64, 65, 128, 199, 200, 201, 100000};
    insert_many(fixture, 200);
    const struct store_query query = {.adapter = fixture->adapter};
    for (size_t i = 0; i < ARRAY_COUNT(limits); i++) {
        struct found found = find_all(fixture, &query, limits[i]);
        assert_int_equal(found.count, 200);
        for (unsigned j = 0; j < 200; j++)
            assert_int_equal(found.numbers[j], j + 1);
    }
}

static void test_full_last_page_has_no_next(void **state)
{
    const struct fixture *fixture = *state;
    insert_many(fixture, 128);
    static const size_t limits[] = {128, 64};
    for (size_t i = 0; i < ARRAY_COUNT(limits); i++) {
        struct found found = {0};
        struct store_query query = {.adapter = fixture->adapter, .limit = limits[i]};
        for (size_t pages = 128 / limits[i]; pages > 0; pages--) {
            assert_true(pages == 128 / limits[i] || query.after != 0);
            assert_int_equal(store_find(fixture->session, &query, note_found, &found, &query.after),
                             STATUS_OK);
        }
        assert_int_equal(query.after, 0);
        assert_int_equal(found.count, 128);
    }
}

static void test_visitor_stops_and_goes_on(void **state)
{
    const struct fixture *fixture = *state;
    insert_many(fixture, 150);
    static const size_t stops[] = {1, 63, 64, 65, 149, 150};
    for (size_t i = 0; i < ARRAY_COUNT(stops); i++) {
        struct found found = {.stop_after = stops[i]};
        struct store_query query = {.adapter = fixture->adapter, .limit = 1000};
        assert_int_equal(store_find(fixture->session, &query, note_found, &found, &query.after),
                         STATUS_OK);
        assert_int_equal(found.count, stops[i]);
        assert_int_equal(query.after == 0, stops[i] == 150);
        while (query.after != 0)
            assert_int_equal(store_find(fixture->session, &query, note_found, &found, &query.after),
                             STATUS_OK);
        assert_int_equal(found.count, 150);
        assert_false(found.descending);
    }
}

struct reading_visit {
    struct fixture *fixture;
    size_t count;
};

/* Changes what it is shown, and reads it again through the same session. */
static bool change_found(void *context, struct stored_object *object)
{
    struct reading_visit *visit = context;
    unsigned number = number_of(&object->row.id);
    assert_int_equal(update_with(visit->fixture, number, COMPROMISED, NULL, 0), STATUS_OK);
    assert_int_equal(version_of(visit->fixture, number), 2);
    assert_int_equal(object->row.version, 1);
    visit->count++;
    return true;
}

static void test_visitor_may_use_the_session(void **state)
{
    struct fixture *fixture = *state;
    insert_many(fixture, 100);
    struct reading_visit visit = {.fixture = fixture};
    struct store_query query = {.adapter = fixture->adapter, .limit = 1000};
    int64_t next = -1;
    assert_int_equal(store_find(fixture->session, &query, change_found, &visit, &next), STATUS_OK);
    assert_int_equal(visit.count, 100);
    assert_int_equal(next, 0);
    for (unsigned i = 1; i <= 100; i++)
        assert_int_equal(version_of(fixture, i), 2);
}

static void test_count_by_state(void **state)
{
    const struct fixture *fixture = *state;
    insert_six(fixture);
    int64_t counts[8];
    assert_int_equal(store_count(fixture->session, fixture->adapter, counts), STATUS_OK);
    const int64_t expected[8] = {1, 1, 2, 0, 0, 1, 0, 0};
    assert_memory_equal(counts, expected, sizeof(counts));
    assert_int_equal(update_with(fixture, 1, COMPROMISED, NULL, 0), STATUS_OK);
    assert_int_equal(update_with(fixture, 2, COMPROMISED, NULL, 0), STATUS_OK);
    assert_int_equal(update_with(fixture, 2, DESTROYED_COMPROMISED, NULL, 0), STATUS_OK);
    assert_int_equal(store_count(fixture->session, fixture->adapter, counts), STATUS_OK);
    const int64_t changed[8] = {1, 0, 1, 0, 1, 1, 1, 0};
    assert_memory_equal(counts, changed, sizeof(counts));
    assert_int_equal(store_count(fixture->session, 4711, counts), STATUS_OK);
    const int64_t none[8] = {0};
    assert_memory_equal(counts, none, sizeof(counts));
}

/* ---- Transactions ---- */

static void test_transaction_is_all_or_nothing(void **state)
{
    const struct fixture *fixture = *state;
    static const struct store_term terms[] = {{TERM_A, true}};
    insert(fixture, 1);
    insert(fixture, 2);
    struct store_change changes[] = {make_insert(fixture, 3), make_update(fixture, 1, DESTROYED),
                                     make_update(fixture, 2, ACTIVE)};
    set_terms(&changes[0], terms, 1);
    set_terms(&changes[1], terms, 1);
    changes[2].row.version = 9;
    assert_int_equal(store_commit(fixture->store, changes, 3), STATUS_CONFLICT);
    assert_int_equal(try_get(fixture, fixture->adapter, 3), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(version_of(fixture, 1), 1);
    assert_int_equal(count_state(fixture, PRE_ACTIVE), 2);
    assert_int_equal(count_state(fixture, DESTROYED), 0);
    const struct store_query query = {
        .adapter = fixture->adapter, .terms = (uint64_t[]){TERM_A}, .term_count = 1};
    ASSERT_FINDS(fixture, &query);
    changes[2].row.version = 1;
    assert_int_equal(store_commit(fixture->store, changes, 3), STATUS_OK);
    ASSERT_FINDS(fixture, &query, 1, 3);
    assert_int_equal(count_state(fixture, DESTROYED), 1);
}

static void test_transaction_may_change_an_object_twice(void **state)
{
    const struct fixture *fixture = *state;
    struct store_change changes[] = {make_insert(fixture, 1), make_insert(fixture, 1),
                                     make_insert(fixture, 1)};
    changes[1].kind = changes[2].kind = STORE_UPDATE;
    changes[1].row.version = 1;
    changes[1].row.state = ACTIVE;
    changes[2].row.version = 2;
    changes[2].row.state = COMPROMISED;
    assert_int_equal(store_commit(fixture->store, changes, 3), STATUS_OK);
    struct stored_object *object = get(fixture, 1);
    assert_int_equal(object->row.version, 3);
    assert_int_equal(object->row.state, COMPROMISED);
    stored_object_release(object);
    assert_int_equal(count_state(fixture, COMPROMISED), 1);
    assert_int_equal(count_state(fixture, ACTIVE), 0);
}

static void test_empty_transaction_succeeds(void **state)
{
    const struct fixture *fixture = *state;
    assert_int_equal(store_commit(fixture->store, NULL, 0), STATUS_OK);
}

/* A transaction of the tests' own, which posts when it is done. */
struct submission {
    struct store_transaction transaction;
    struct store_change changes[2];
    enum status status;
    sem_t *done;
};

static void note_done(struct store_transaction *transaction, enum status status)
{
    struct submission *submission = CONTAINER_OF(transaction, struct submission, transaction);
    submission->status = status;
    (void)sem_post(submission->done);
}

static void fill_submission(struct submission *submission, const struct store_change *change,
                            sem_t *done)
{
    submission->changes[0] = *change;
    submission->transaction =
        (struct store_transaction){.changes = submission->changes, .count = 1, .done = note_done};
    submission->status = STATUS_INTERNAL;
    submission->done = done;
}

static void wait_for(sem_t *done, size_t count)
{
    for (size_t i = 0; i < count; i++)
        while (sem_wait(done) != 0)
            continue;
}

/* Submits many from the committer's own thread, so that they make one group. */
struct starter {
    struct store_transaction transaction;
    struct store *store;
    struct submission *submissions;
    size_t count;
};

static void submit_all(struct store_transaction *transaction, enum status status)
{
    struct starter *starter = CONTAINER_OF(transaction, struct starter, transaction);
    CHECK(status == STATUS_OK);
    for (size_t i = 0; i < starter->count; i++)
        store_submit(starter->store, &starter->submissions[i].transaction);
}

static void test_failures_in_a_group_touch_nobody_else(void **state)
{
    const struct fixture *fixture = *state;
    insert(fixture, 1);
    assert_int_equal(insert_with(fixture, 2, fixture->adapter, ACTIVE, name, 1), STATUS_OK);
    struct store_change changes[] = {
        make_insert(fixture, 10),           make_insert(fixture, 1),
        make_update(fixture, 1, ACTIVE),    make_insert(fixture, 11),
        make_update(fixture, 1, DESTROYED), make_insert(fixture, 12),
        make_insert(fixture, 13),           make_update(fixture, 2, DESTROYED),
        make_insert(fixture, 14),           make_insert(fixture, 15),
    };
    set_terms(&changes[5], name, 1);
    set_terms(&changes[8], name, 1);
    set_terms(&changes[9], name, 1);
    static const enum status expected[] = {
        STATUS_OK,          STATUS_EXISTS, STATUS_OK, STATUS_OK, STATUS_CONFLICT,
        STATUS_NAME_EXISTS, STATUS_OK,     STATUS_OK, STATUS_OK, STATUS_NAME_EXISTS,
    };
    struct submission submissions[ARRAY_COUNT(changes) + 1];
    sem_t done;
    assert_int_equal(sem_init(&done, 0, 0), 0);
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++)
        fill_submission(&submissions[i], &changes[i], &done);
    /* Its first change is taken back with its second. */
    struct submission *two = &submissions[ARRAY_COUNT(changes)];
    changes[0].row.id = make_id(16);
    fill_submission(two, &changes[0], &done);
    two->changes[1] = changes[1];
    two->transaction.count = 2;
    struct starter starter = {.transaction.done = submit_all,
                              .store = fixture->store,
                              .submissions = submissions,
                              .count = ARRAY_COUNT(submissions)};
    store_submit(fixture->store, &starter.transaction);
    wait_for(&done, ARRAY_COUNT(submissions));
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++)
        assert_int_equal(submissions[i].status, expected[i]);
    assert_int_equal(two->status, STATUS_EXISTS);
    assert_int_equal(try_get(fixture, fixture->adapter, 10), STATUS_OK);
    assert_int_equal(try_get(fixture, fixture->adapter, 12), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(try_get(fixture, fixture->adapter, 13), STATUS_OK);
    assert_int_equal(try_get(fixture, fixture->adapter, 14), STATUS_OK);
    assert_int_equal(try_get(fixture, fixture->adapter, 15), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(try_get(fixture, fixture->adapter, 16), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(count_state(fixture, ACTIVE), 1);
    assert_int_equal(count_state(fixture, DESTROYED), 1);
    assert_int_equal(count_state(fixture, PRE_ACTIVE), 4);
    (void)sem_destroy(&done);
}

static void test_close_finishes_what_was_submitted(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 3000 }; /* more than fit one group */
    struct submission *submissions = calloc(COUNT, sizeof(*submissions));
    assert_non_null(submissions);
    sem_t done;
    assert_int_equal(sem_init(&done, 0, 0), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        struct store_change change = make_insert(fixture, i + 1);
        fill_submission(&submissions[i], &change, &done);
    }
    for (unsigned i = 0; i < COUNT; i++)
        store_submit(fixture->store, &submissions[i].transaction);
    close_store(fixture);
    int finished = 0;
    assert_int_equal(sem_getvalue(&done, &finished), 0);
    assert_int_equal(finished, COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(submissions[i].status, STATUS_OK);
    free(submissions);
    (void)sem_destroy(&done);
    open_store(fixture);
    if (fixture->kind->file)
        assert_int_equal(count_state(fixture, PRE_ACTIVE), COUNT);
}

/* ---- Threads ---- */

#define THREADS    6
#define PER_THREAD 60

struct worker {
    struct fixture fixture; /* with a session of its own */
    unsigned number;
    pthread_t thread;
};

static void start_workers(const struct fixture *fixture, struct worker *workers,
                          void *(*run)(void *))
{
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.fixture = *fixture, .number = i};
        assert_int_equal(store_session_open(fixture->store, &workers[i].fixture.session),
                         STATUS_OK);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
}

static void join_workers(struct worker *workers)
{
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        store_session_close(workers[i].fixture.session);
    }
}

static void *insert_and_change(void *argument)
{
    struct worker *worker = argument;
    for (unsigned i = 0; i < PER_THREAD; i++) {
        unsigned number = worker->number * 1000 + i + 1;
        insert(&worker->fixture, number);
        CHECK(version_of(&worker->fixture, number) == 1);
        CHECK(update_with(&worker->fixture, number, ACTIVE, NULL, 0) == STATUS_OK);
        CHECK(version_of(&worker->fixture, number) == 2);
    }
    return NULL;
}

static void test_many_submitters(void **state)
{
    struct fixture *fixture = *state;
    struct worker workers[THREADS];
    start_workers(fixture, workers, insert_and_change);
    join_workers(workers);
    assert_int_equal(count_state(fixture, ACTIVE), THREADS * PER_THREAD);
    assert_int_equal(count_state(fixture, PRE_ACTIVE), 0);
    const struct store_query query = {.adapter = fixture->adapter};
    assert_int_equal(find_all(fixture, &query, 100).count, THREADS * PER_THREAD);
}

/* All race for the same object: each version is won by one. */
static void *race_for_versions(void *argument)
{
    struct worker *worker = argument;
    for (unsigned won = 0; won < PER_THREAD;) {
        enum status status = update_with(&worker->fixture, 1, ACTIVE, NULL, 0);
        CHECK(status == STATUS_OK || status == STATUS_CONFLICT);
        won += status == STATUS_OK;
    }
    return NULL;
}

static void test_each_version_is_won_once(void **state)
{
    struct fixture *fixture = *state;
    struct worker workers[THREADS];
    insert(fixture, 1);
    start_workers(fixture, workers, race_for_versions);
    join_workers(workers);
    assert_int_equal(version_of(fixture, 1), 1 + THREADS * PER_THREAD);
}

/*
 * Coherence: two threads change eight objects; the others check that a get never shows less than
 * what was acknowledged before it began, or what this thread has seen before, by get or by find.
 */
#define SHARED_OBJECTS 8
#define CHANGES        150

static _Atomic int64_t acknowledged[SHARED_OBJECTS];
static _Atomic unsigned changers;

static void change_shared(struct worker *worker)
{
    for (unsigned i = 0; i < CHANGES; i++) {
        unsigned object = i % (SHARED_OBJECTS / 2) * 2 + worker->number;
        struct store_change change = make_update(&worker->fixture, object + 1, ACTIVE);
        CHECK(store_commit(worker->fixture.store, &change, 1) == STATUS_OK);
        atomic_store(&acknowledged[object], change.row.version + 1);
    }
    atomic_fetch_sub(&changers, 1);
}

static bool note_versions(void *context, struct stored_object *object)
{
    int64_t *seen = context;
    unsigned number = number_of(&object->row.id) - 1;
    CHECK(object->row.version >= seen[number]);
    seen[number] = object->row.version;
    return true;
}

static void check_shared(struct worker *worker)
{
    int64_t seen[SHARED_OBJECTS] = {0};
    const struct store_query query = {.adapter = worker->fixture.adapter, .limit = SHARED_OBJECTS};
    do {
        int64_t next;
        CHECK(store_find(worker->fixture.session, &query, note_versions, seen, &next) == STATUS_OK);
        for (unsigned i = 0; i < SHARED_OBJECTS * 4; i++) {
            unsigned object = i % SHARED_OBJECTS;
            int64_t least = atomic_load(&acknowledged[object]);
            int64_t version = version_of(&worker->fixture, object + 1);
            CHECK(version >= least);
            CHECK(version >= seen[object]);
            seen[object] = version;
        }
    } while (atomic_load(&changers) > 0);
}

static void *change_or_check(void *argument)
{
    struct worker *worker = argument;
    if (worker->number < 2)
        change_shared(worker);
    else
        check_shared(worker);
    return NULL;
}

static void test_no_reader_sees_an_older_version(void **state)
{
    struct fixture *fixture = *state;
    struct worker workers[THREADS];
    for (unsigned i = 0; i < SHARED_OBJECTS; i++) {
        insert(fixture, i + 1);
        atomic_store(&acknowledged[i], 1);
    }
    atomic_store(&changers, 2);
    start_workers(fixture, workers, change_or_check);
    join_workers(workers);
}

/* ---- Adapters ---- */

static void test_adapter_comes_back_as_inserted(void **state)
{
    const struct fixture *fixture = *state;
    struct adapter_row row = make_adapter("Prod 1", 3);
    (void)strcpy(row.description, "Frankfurt, row 3");
    (void)strcpy(row.username, "vcenter");
    (void)strcpy(row.password_hash, "scrypt$...");
    (void)strcpy(row.created_by, "iam-ServiceId-1");
    (void)strcpy(row.updated_by, "iam-ServiceId-2");
    row.updated = 1700000000001;
    assert_int_equal(store_adapter_insert(fixture->store, &row), STATUS_OK);
    assert_true(row.id > fixture->other);
    char uuid[UUID_TEXT_LENGTH + 1];
    uuid_text(&row.uuid, uuid);
    const char *const names[] = {"Prod 1", uuid};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct adapter_row read;
        assert_int_equal(store_adapter_find(fixture->session, bytes_of_text(names[i]), &read),
                         STATUS_OK);
        assert_int_equal(read.id, row.id);
        assert_true(uuid_equal(&read.uuid, &row.uuid));
        assert_int_equal(read.key_manager, row.key_manager);
        assert_true(uuid_equal(&read.root_key, &row.root_key));
        assert_string_equal(read.name, row.name);
        assert_string_equal(read.description, row.description);
        assert_string_equal(read.username, row.username);
        assert_string_equal(read.password_hash, row.password_hash);
        assert_int_equal(read.created, row.created);
        assert_string_equal(read.created_by, row.created_by);
        assert_int_equal(read.updated, row.updated);
        assert_string_equal(read.updated_by, row.updated_by);
    }
}

static void test_adapter_names_and_uuids_are_unique(void **state)
{
    const struct fixture *fixture = *state;
    struct adapter_row row = make_adapter("default", 3);
    assert_int_equal(store_adapter_insert(fixture->store, &row), STATUS_EXISTS);
    assert_int_equal(row.id, 0);
    row = make_adapter("third", 1);
    assert_int_equal(store_adapter_insert(fixture->store, &row), STATUS_EXISTS);
    row = make_adapter("Default", 3); /* names differ by case */
    assert_int_equal(store_adapter_insert(fixture->store, &row), STATUS_OK);
    row = make_adapter("none", 4);
    row.key_manager = 0;
    assert_int_equal(store_adapter_insert(fixture->store, &row), STATUS_INVALID_ARGUMENT);
    struct adapter_row read = {.id = 17};
    assert_int_equal(store_adapter_find(fixture->session, BYTES_LITERAL("third"), &read),
                     STATUS_NOT_FOUND);
    assert_int_equal(read.id, 17);
}

static void test_adapter_update(void **state)
{
    const struct fixture *fixture = *state;
    struct adapter_row row = make_adapter("renamed", 9); /* UUID, root key: not to be written */
    row.id = fixture->adapter;
    row.created = 1;
    (void)strcpy(row.description, "new");
    (void)strcpy(row.username, "user");
    (void)strcpy(row.password_hash, "hash");
    row.updated = 5;
    (void)strcpy(row.updated_by, "somebody");
    (void)strcpy(row.created_by, "not to be written");
    assert_int_equal(store_adapter_update(fixture->store, &row), STATUS_OK);
    struct adapter_row read;
    assert_int_equal(store_adapter_find(fixture->session, BYTES_LITERAL("renamed"), &read),
                     STATUS_OK);
    const struct adapter_row original = make_adapter("default", 1);
    assert_true(uuid_equal(&read.uuid, &original.uuid));
    assert_int_equal(read.key_manager, original.key_manager);
    assert_true(uuid_equal(&read.root_key, &original.root_key));
    assert_int_equal(read.created, original.created);
    assert_string_equal(read.description, "new");
    assert_string_equal(read.username, "user");
    assert_string_equal(read.password_hash, "hash");
    assert_int_equal(read.updated, 5);
    assert_string_equal(read.updated_by, "somebody");
    assert_string_equal(read.created_by, "");
    (void)strcpy(row.name, "other");
    assert_int_equal(store_adapter_update(fixture->store, &row), STATUS_EXISTS);
    row.id = 4711;
    (void)strcpy(row.name, "nobody");
    assert_int_equal(store_adapter_update(fixture->store, &row), STATUS_NOT_FOUND);
}

static void test_adapter_move(void **state)
{
    const struct fixture *fixture = *state;
    const struct uuid root_key = make_id(0xC0000000u);
    uint64_t generation = store_generation(fixture->store);
    assert_int_equal(store_adapter_move(fixture->store, fixture->adapter, 4, &root_key), STATUS_OK);
    assert_true(store_generation(fixture->store) > generation);
    struct adapter_row read;
    assert_int_equal(store_adapter_find(fixture->session, BYTES_LITERAL("default"), &read),
                     STATUS_OK);
    const struct adapter_row original = make_adapter("default", 1);
    assert_int_equal(read.key_manager, 4);
    assert_true(uuid_equal(&read.root_key, &root_key));
    assert_true(uuid_equal(&read.uuid, &original.uuid));
    assert_string_equal(read.description, original.description);
    assert_int_equal(store_adapter_move(fixture->store, fixture->adapter, 0, &root_key),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(store_adapter_move(fixture->store, 4711, 1, &root_key), STATUS_NOT_FOUND);
}

struct names {
    char text[512];
    size_t stop_after;
    size_t count;
};

static bool note_adapter(void *context, const struct adapter_row *row)
{
    struct names *names = context;
    size_t length = strlen(names->text);
    (void)snprintf(names->text + length, sizeof(names->text) - length, "%s ", row->name);
    return ++names->count != names->stop_after;
}

static void test_adapters_are_listed_by_name(void **state)
{
    const struct fixture *fixture = *state;
    static const char *const more[] = {"zeta", "alpha", "middle"};
    for (unsigned i = 0; i < ARRAY_COUNT(more); i++) {
        struct adapter_row row = make_adapter(more[i], 10 + i);
        assert_int_equal(store_adapter_insert(fixture->store, &row), STATUS_OK);
    }
    struct names names = {0};
    assert_int_equal(store_adapters(fixture->session, note_adapter, &names), STATUS_OK);
    assert_string_equal(names.text, "alpha default middle other zeta ");
    struct names two = {.stop_after = 2};
    assert_int_equal(store_adapters(fixture->session, note_adapter, &two), STATUS_OK);
    assert_string_equal(two.text, "alpha default ");
}

static struct certificate_row make_certificate(int64_t adapter, const char *cert_name,
                                               unsigned number)
{
    struct certificate_row row = {.id = make_id(0xC0000000u + number),
                                  .adapter = adapter,
                                  .der = BYTES_LITERAL("\x30\x82 der"),
                                  .created = 1700000000123};
    memset(row.fingerprint, (int)number, sizeof(row.fingerprint));
    (void)snprintf(row.name, sizeof(row.name), "%s", cert_name);
    (void)strcpy(row.created_by, "iam-ServiceId-1");
    return row;
}

static void test_adapter_delete(void **state)
{
    const struct fixture *fixture = *state;
    static const struct store_term terms[] = {{TERM_A, true}, {TERM_B, false}};
    assert_int_equal(insert_with(fixture, 1, fixture->adapter, ACTIVE, terms, 2), STATUS_OK);
    assert_int_equal(insert_with(fixture, 2, fixture->adapter, DESTROYED, terms, 2), STATUS_OK);
    assert_int_equal(insert_with(fixture, 3, fixture->other, ACTIVE, terms, 2), STATUS_OK);
    struct certificate_row certificate = make_certificate(fixture->adapter, "one", 1);
    assert_int_equal(store_certificate_insert(fixture->store, &certificate), STATUS_OK);

    assert_int_equal(store_adapter_delete(fixture->store, 4711), STATUS_NOT_FOUND);
    assert_int_equal(store_adapter_delete(fixture->store, fixture->adapter),
                     STATUS_PERMISSION_DENIED);
    assert_int_equal(try_get(fixture, fixture->adapter, 2), STATUS_OK);
    assert_int_equal(update_with(fixture, 1, DESTROYED_COMPROMISED, terms, 2), STATUS_OK);
    assert_int_equal(store_adapter_delete(fixture->store, fixture->adapter), STATUS_OK);

    assert_int_equal(try_get(fixture, fixture->adapter, 1), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(try_get(fixture, fixture->adapter, 2), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(try_get(fixture, fixture->other, 3), STATUS_OK);
    const struct store_query query = {
        .adapter = fixture->adapter, .terms = (uint64_t[]){TERM_B}, .term_count = 1};
    ASSERT_FINDS(fixture, &query);
    assert_int_equal(count_state(fixture, DESTROYED), 0);
    assert_int_equal(store_adapter_delete(fixture->store, fixture->adapter), STATUS_NOT_FOUND);
    certificate.adapter = fixture->other; /* its fingerprint is free again */
    assert_int_equal(store_certificate_insert(fixture->store, &certificate), STATUS_OK);
    struct store_change late = make_insert(fixture, 4);
    assert_int_equal(store_commit(fixture->store, &late, 1), STATUS_NOT_FOUND);
}

/* More than go in one step. */
static void test_adapter_delete_with_many_objects(void **state)
{
    struct fixture *fixture = *state;
    static const struct store_term terms[] = {{TERM_A, true}, {TERM_B, false}};
    enum { COUNT = 1234 };
    struct store_change *changes = calloc(COUNT, sizeof(*changes));
    assert_non_null(changes);
    for (unsigned i = 0; i < COUNT; i++) {
        changes[i] = make_insert(fixture, i + 1);
        changes[i].row.state = DESTROYED;
        set_terms(&changes[i], terms, 2);
    }
    assert_int_equal(store_commit(fixture->store, changes, COUNT), STATUS_OK);
    free(changes);
    assert_int_equal(insert_with(fixture, 9000, fixture->other, DESTROYED, terms, 2), STATUS_OK);
    assert_int_equal(store_adapter_delete(fixture->store, fixture->adapter), STATUS_OK);
    assert_int_equal(try_get(fixture, fixture->adapter, 1), STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(count_state(fixture, DESTROYED), 0);
    fixture->adapter = fixture->other;
    const struct store_query query = {
        .adapter = fixture->other, .terms = (uint64_t[]){TERM_B}, .term_count = 1};
    ASSERT_FINDS(fixture, &query, 9000);
    assert_int_equal(count_state(fixture, DESTROYED), 1);
}

static void test_object_without_state_keeps_its_adapter(void **state)
{
    const struct fixture *fixture = *state;
    assert_int_equal(insert_with(fixture, 1, fixture->adapter, 0, NULL, 0), STATUS_OK);
    assert_int_equal(store_adapter_delete(fixture->store, fixture->adapter),
                     STATUS_PERMISSION_DENIED);
}

static void test_adapter_numbers_are_not_used_again(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(store_adapter_delete(fixture->store, fixture->other), STATUS_OK);
    struct adapter_row row = make_adapter("third", 3);
    assert_int_equal(store_adapter_insert(fixture->store, &row), STATUS_OK);
    assert_true(row.id > fixture->other);
}

/* ---- Certificates ---- */

static void test_certificates_are_unique(void **state)
{
    const struct fixture *fixture = *state;
    struct certificate_row row = make_certificate(fixture->adapter, "vcenter", 1);
    assert_int_equal(store_certificate_insert(fixture->store, &row), STATUS_OK);
    row = make_certificate(fixture->adapter, "vcenter", 2);
    assert_int_equal(store_certificate_insert(fixture->store, &row), STATUS_EXISTS);
    row = make_certificate(fixture->other, "vcenter", 2);
    assert_int_equal(store_certificate_insert(fixture->store, &row), STATUS_OK);
    row = make_certificate(fixture->other, "esx", 3);
    memset(row.fingerprint, 1, sizeof(row.fingerprint)); /* the first one's, in another adapter */
    assert_int_equal(store_certificate_insert(fixture->store, &row), STATUS_EXISTS);
    row = make_certificate(4711, "esx", 4);
    assert_int_equal(store_certificate_insert(fixture->store, &row), STATUS_NOT_FOUND);
}

static bool note_certificate(void *context, const struct certificate_row *row)
{
    struct names *names = context;
    size_t length = strlen(names->text);
    (void)snprintf(names->text + length, sizeof(names->text) - length, "%s ", row->name);
    assert_true(bytes_equal_text(row->der, "\x30\x82 der"));
    assert_int_equal(row->created, 1700000000123);
    assert_string_equal(row->created_by, "iam-ServiceId-1");
    const struct certificate_row made =
        make_certificate(row->adapter, row->name, row->fingerprint[0]);
    assert_memory_equal(row->fingerprint, made.fingerprint, sizeof(made.fingerprint));
    assert_true(uuid_equal(&row->id, &made.id));
    return ++names->count != names->stop_after;
}

static void insert_certificates(const struct fixture *fixture)
{
    const struct certificate_row rows[] = {
        make_certificate(fixture->adapter, "gamma", 1),
        make_certificate(fixture->adapter, "alpha", 2),
        make_certificate(fixture->other, "beta", 3),
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        assert_int_equal(store_certificate_insert(fixture->store, &rows[i]), STATUS_OK);
}

static void assert_certificates(const struct fixture *fixture, int64_t adapter, const char *text)
{
    struct names names = {0};
    assert_int_equal(store_certificates(fixture->session, adapter, note_certificate, &names),
                     STATUS_OK);
    assert_string_equal(names.text, text);
}

static void test_certificates_are_listed_by_name(void **state)
{
    const struct fixture *fixture = *state;
    insert_certificates(fixture);
    assert_certificates(fixture, fixture->adapter, "alpha gamma ");
    assert_certificates(fixture, fixture->other, "beta ");
    assert_certificates(fixture, 0, "alpha beta gamma ");
    assert_certificates(fixture, 4711, "");
    struct names first = {.stop_after = 1};
    assert_int_equal(store_certificates(fixture->session, 0, note_certificate, &first), STATUS_OK);
    assert_string_equal(first.text, "alpha ");
}

static void test_certificate_delete(void **state)
{
    const struct fixture *fixture = *state;
    insert_certificates(fixture);
    const struct certificate_row alpha = make_certificate(fixture->adapter, "alpha", 2);
    const struct certificate_row beta = make_certificate(fixture->other, "beta", 3);
    char id[UUID_TEXT_LENGTH + 1];
    uuid_text(&alpha.id, id);
    char fingerprint[2 * STORE_FINGERPRINT_SIZE + 1];
    hex_text(bytes_of(beta.fingerprint, sizeof(beta.fingerprint)), fingerprint);

    assert_int_equal(store_certificate_delete(fixture->store, fixture->other, bytes_of_text(id)),
                     STATUS_NOT_FOUND);
    assert_int_equal(
        store_certificate_delete(fixture->store, fixture->other, BYTES_LITERAL("gamma")),
        STATUS_NOT_FOUND);
    assert_int_equal(
        store_certificate_delete(fixture->store, fixture->adapter, BYTES_LITERAL("gamma")),
        STATUS_OK);
    assert_int_equal(store_certificate_delete(fixture->store, fixture->adapter, bytes_of_text(id)),
                     STATUS_OK);
    assert_int_equal(
        store_certificate_delete(fixture->store, fixture->other, bytes_of_text(fingerprint)),
        STATUS_OK);
    assert_certificates(fixture, 0, "");
    assert_int_equal(
        store_certificate_delete(fixture->store, fixture->adapter, BYTES_LITERAL("gamma")),
        STATUS_NOT_FOUND);
}

/* ---- Generation, values ---- */

static void test_generation_tells_of_administration(void **state)
{
    const struct fixture *fixture = *state;
    uint64_t last = store_generation(fixture->store);
    insert(fixture, 1);
    assert_int_equal(update_with(fixture, 1, DESTROYED, NULL, 0), STATUS_OK);
    assert_int_equal(store_value_put(fixture->store, "a", BYTES_LITERAL("b")), STATUS_OK);
    assert_int_equal(store_generation(fixture->store), last);

    struct adapter_row adapter = make_adapter("third", 3);
    assert_int_equal(store_adapter_insert(fixture->store, &adapter), STATUS_OK);
    assert_int_not_equal(store_generation(fixture->store), last);
    last = store_generation(fixture->store);
    assert_int_equal(store_adapter_update(fixture->store, &adapter), STATUS_OK);
    assert_int_not_equal(store_generation(fixture->store), last);
    last = store_generation(fixture->store);
    const struct certificate_row row = make_certificate(adapter.id, "one", 1);
    assert_int_equal(store_certificate_insert(fixture->store, &row), STATUS_OK);
    assert_int_not_equal(store_generation(fixture->store), last);
    last = store_generation(fixture->store);
    assert_int_equal(store_certificate_delete(fixture->store, adapter.id, BYTES_LITERAL("one")),
                     STATUS_OK);
    assert_int_not_equal(store_generation(fixture->store), last);
    last = store_generation(fixture->store);
    assert_int_equal(store_adapter_delete(fixture->store, adapter.id), STATUS_OK);
    assert_int_not_equal(store_generation(fixture->store), last);
    last = store_generation(fixture->store);
    assert_int_equal(store_adapter_delete(fixture->store, adapter.id), STATUS_NOT_FOUND);
    assert_int_equal(store_generation(fixture->store), last);
}

static void test_values(void **state)
{
    const struct fixture *fixture = *state;
    uint8_t value[8] = {0};
    size_t size = 99;
    assert_int_equal(store_value_get(fixture->session, "server", value, sizeof(value), &size),
                     STATUS_NOT_FOUND);
    assert_int_equal(size, 99);
    assert_int_equal(store_value_put(fixture->store, "server", BYTES_LITERAL("12345678")),
                     STATUS_OK);
    assert_int_equal(store_value_get(fixture->session, "server", value, sizeof(value), &size),
                     STATUS_OK);
    assert_int_equal(size, 8);
    assert_memory_equal(value, "12345678", 8);
    assert_int_equal(store_value_get(fixture->session, "server", value, 7, &size),
                     STATUS_TOO_LARGE);
    assert_int_equal(store_value_put(fixture->store, "server", bytes_of(NULL, 0)), STATUS_OK);
    assert_int_equal(store_value_get(fixture->session, "server", value, sizeof(value), &size),
                     STATUS_OK);
    assert_int_equal(size, 0);
}

/* ---- Reopening ---- */

static void test_everything_is_there_after_reopening(void **state)
{
    struct fixture *fixture = *state;
    if (!fixture->kind->file)
        return; /* memory is gone at the end, and says so */
    insert_six(fixture);
    insert_certificates(fixture);
    assert_int_equal(insert_with(fixture, 7, fixture->adapter, ACTIVE, name, 1), STATUS_OK);
    assert_int_equal(store_value_put(fixture->store, "server", BYTES_LITERAL("id")), STATUS_OK);
    close_store(fixture);
    open_store(fixture);
    struct store_query query = {
        .adapter = fixture->adapter, .terms = (uint64_t[]){TERM_A, TERM_B}, .term_count = 2};
    ASSERT_FINDS(fixture, &query, 2, 5);
    query.term_count = 0;
    ASSERT_FINDS(fixture, &query, 1, 2, 3, 4, 5, 7);
    assert_certificates(fixture, 0, "alpha beta gamma ");
    assert_int_equal(count_state(fixture, ACTIVE), 3);
    uint8_t value[2];
    size_t size;
    assert_int_equal(store_value_get(fixture->session, "server", value, sizeof(value), &size),
                     STATUS_OK);
    assert_int_equal(insert_with(fixture, 8, fixture->adapter, ACTIVE, name, 1),
                     STATUS_NAME_EXISTS);
    insert(fixture, 9); /* comes behind the others */
    ASSERT_FINDS(fixture, &query, 1, 2, 3, 4, 5, 7, 9);
}

/* ---- Rewrapping ---- */

static bool count_object(void *context, struct stored_object *object)
{
    size_t *count = context;
    *count += object->row.sequence > 0;
    return true;
}

static void test_rewrap_replaces_the_wrapped_key_alone(void **state)
{
    const struct fixture *fixture = *state;
    const struct store_term terms[] = {{7, false}, {8, true}};
    assert_int_equal(insert_with(fixture, 1, fixture->adapter, ACTIVE, terms, 2), STATUS_OK);
    struct stored_object *object = get(fixture, 1);
    struct store_change change = {.kind = STORE_REWRAP, .row = object->row};
    change.row.wrapped.blob = BYTES_LITERAL("rewrapped");
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK);
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_CONFLICT);
    stored_object_release(object);
    object = get(fixture, 1);
    assert_int_equal(object->row.version, 2);
    assert_int_equal(object->row.state, ACTIVE);
    assert_true(bytes_equal_text(object->row.attributes, "attributes"));
    assert_true(bytes_equal_text(object->row.wrapped.blob, "rewrapped"));
    stored_object_release(object);
    assert_int_equal(insert_with(fixture, 2, fixture->adapter, ACTIVE, terms + 1, 1),
                     STATUS_NAME_EXISTS);
    const struct store_query query = {
        .adapter = fixture->adapter, .terms = (uint64_t[]){7, 8}, .term_count = 2, .limit = 9};
    size_t count = 0;
    int64_t next;
    assert_int_equal(store_find(fixture->session, &query, count_object, &count, &next), STATUS_OK);
    assert_int_equal(count, 1);
    assert_int_equal(update_with(fixture, 1, DESTROYED, NULL, 0), STATUS_OK); /* gives all up */
    assert_int_equal(insert_with(fixture, 2, fixture->adapter, ACTIVE, terms, 2), STATUS_OK);
}

/* ---- Records ---- */

static struct record_row make_record_row(const struct fixture *fixture, unsigned number,
                                         int64_t version)
{
    return (struct record_row){.object = make_id(number),
                               .adapter = fixture->adapter,
                               .key_manager = 3,
                               .record = make_id(0xD0000000u + number),
                               .version = version};
}

static void put_record(const struct fixture *fixture, unsigned number, int64_t version)
{
    const struct record_row row = make_record_row(fixture, number, version);
    assert_int_equal(store_record_put(fixture->store, &row), STATUS_OK);
}

static void assert_record(const struct fixture *fixture, const struct record_row *expected)
{
    struct record_row row;
    assert_int_equal(store_record_get(fixture->session, &expected->object, &row), STATUS_OK);
    assert_true(uuid_equal(&row.object, &expected->object));
    assert_true(uuid_equal(&row.record, &expected->record));
    assert_int_equal(row.adapter, expected->adapter);
    assert_int_equal(row.key_manager, expected->key_manager);
    assert_int_equal(row.version, expected->version);
    assert_int_equal(row.withdrawn, expected->withdrawn);
}

static size_t left_behind(const struct fixture *fixture, struct record_left *ret_left)
{
    size_t count = 99;
    assert_int_equal(store_records_left(fixture->session, NULL, 4, ret_left, &count), STATUS_OK);
    return count;
}

static void test_record_rows_come_and_go(void **state)
{
    const struct fixture *fixture = *state;
    insert(fixture, 1);
    struct record_row row = make_record_row(fixture, 1, 1);
    struct record_left left[4];
    assert_int_equal(store_record_get(fixture->session, &row.object, &row), STATUS_NOT_FOUND);
    assert_int_equal(store_record_put(fixture->store, &row), STATUS_OK);
    assert_record(fixture, &row);
    row.withdrawn = true;
    assert_int_equal(store_record_put(fixture->store, &row), STATUS_OK);
    assert_record(fixture, &row);
    assert_int_equal(left_behind(fixture, left), 0); /* it was the same record */
    assert_int_equal(store_record_remove(fixture->store, &row.object), STATUS_OK);
    assert_int_equal(store_record_remove(fixture->store, &row.object), STATUS_OK);
    assert_int_equal(store_record_get(fixture->session, &row.object, &row), STATUS_NOT_FOUND);
    assert_int_equal(left_behind(fixture, left), 0); /* who removes the row removed the record */
    row.object = make_id(2);
    assert_int_equal(store_record_put(fixture->store, &row), STATUS_OBJECT_NOT_FOUND);
    row.object = make_id(1);
    row.adapter = fixture->other;
    assert_int_equal(store_record_put(fixture->store, &row), STATUS_OBJECT_NOT_FOUND);
}

static void test_replaced_record_is_left_behind(void **state)
{
    const struct fixture *fixture = *state;
    insert(fixture, 1);
    put_record(fixture, 1, 1);
    struct record_row row = make_record_row(fixture, 1, 1);
    const struct record_left first = {row.key_manager, row.record};
    struct record_left left[4];
    row.record = make_id(0xE0000000u);
    assert_int_equal(store_record_put(fixture->store, &row), STATUS_OK);
    assert_int_equal(left_behind(fixture, left), 1);
    assert_int_equal(left[0].key_manager, 3);
    assert_true(uuid_equal(&left[0].record, &first.record));
    put_record(fixture, 1, 1); /* the first is in use again: the second is left behind now */
    assert_int_equal(left_behind(fixture, left), 1);
    assert_true(uuid_equal(&left[0].record, &row.record));
    assert_int_equal(store_record_left_remove(fixture->store, left), STATUS_OK);
    assert_int_equal(store_record_left_remove(fixture->store, left), STATUS_OK);
    assert_int_equal(left_behind(fixture, left), 0);
}

static void test_record_comes_with_its_change(void **state)
{
    const struct fixture *fixture = *state;
    const struct uuid records[] = {make_id(0xE0000001u), make_id(0xE0000002u),
                                   make_id(0xE0000003u)};
    struct store_change change = make_insert(fixture, 1);
    change.record = &records[0]; /* of the adapter's key manager, which is number 2 */
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK);
    struct record_row row = make_record_row(fixture, 1, 1);
    row.key_manager = 2;
    row.record = records[0];
    assert_record(fixture, &row);
    change = make_update(fixture, 1, ACTIVE);
    change.record = &records[1];
    change.record_key_manager = 4;
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK);
    row.key_manager = 4;
    row.record = records[1];
    row.version = 2;
    assert_record(fixture, &row);
    change = make_update(fixture, 1, ACTIVE);
    change.kind = STORE_RECORD;
    change.record = &records[2];
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OK);
    row.key_manager = 2;
    row.record = records[2];
    assert_record(fixture, &row);
    assert_int_equal(version_of(fixture, 1), 2);
    struct record_left left[4];
    assert_int_equal(left_behind(fixture, left), 2);
    size_t count = 0;
    assert_int_equal(store_records_left(fixture->session, &left[0], 4, &left[2], &count),
                     STATUS_OK);
    assert_int_equal(count, 1);
    assert_memory_equal(&left[1], &left[2], sizeof(left[1]));
    change.row.id = make_id(9);
    assert_int_equal(store_commit(fixture->store, &change, 1), STATUS_OBJECT_NOT_FOUND);
}

/* A refused transaction leaves the records as they were. */
static void test_record_of_a_refused_change(void **state)
{
    const struct fixture *fixture = *state;
    insert(fixture, 1);
    put_record(fixture, 1, 1);
    const struct uuid record = make_id(0xE0000001u);
    struct store_change changes[] = {make_update(fixture, 1, ACTIVE), make_insert(fixture, 1)};
    changes[0].record = &record;
    assert_int_equal(store_commit(fixture->store, changes, 2), STATUS_EXISTS);
    const struct record_row row = make_record_row(fixture, 1, 1);
    assert_record(fixture, &row);
    struct record_left left[4];
    assert_int_equal(left_behind(fixture, left), 0);
}

struct due_list {
    unsigned numbers[128];
    bool recorded[128];
    size_t count;
};

static bool note_due(void *context, struct stored_object *object, const struct record_row *row)
{
    struct due_list *list = context;
    const struct uuid none = {{0}};
    CHECK(uuid_equal(&object->row.id, &row->object));
    list->recorded[list->count] = !uuid_equal(&row->record, &none);
    const uint8_t *end = object->row.id.bytes + 14;
    list->numbers[list->count++] = (unsigned)end[0] << 8 | end[1];
    return true;
}

static struct due_list find_due(const struct fixture *fixture, size_t limit)
{
    struct due_list list = {0};
    int64_t next = 0;
    do {
        assert_int_equal(store_records_due(fixture->session, fixture->adapter, next, limit,
                                           note_due, &list, &next),
                         STATUS_OK);
    } while (next != 0);
    return list;
}

static void test_what_is_due_is_found(void **state)
{
    const struct fixture *fixture = *state;
    for (unsigned i = 1; i <= 8; i++)
        insert(fixture, i);
    for (unsigned i = 2; i <= 7; i++)
        put_record(fixture, i, i == 3 ? 9 : 1);
    assert_int_equal(update_with(fixture, 4, ACTIVE, NULL, 0), STATUS_OK);    /* older */
    assert_int_equal(update_with(fixture, 5, DESTROYED, NULL, 0), STATUS_OK); /* to take away */
    assert_int_equal(update_with(fixture, 8, DESTROYED_COMPROMISED, NULL, 0), STATUS_OK);
    assert_int_equal(update_with(fixture, 6, ACTIVE, NULL, 0), STATUS_OK);
    put_record(fixture, 6, 2);
    assert_int_equal(update_with(fixture, 7, DESTROYED, NULL, 0), STATUS_OK);
    put_record(fixture, 7, 2); /* destroyed while it was recorded */
    struct store_change without_material = make_insert(fixture, 9);
    without_material.row.wrapped.blob = bytes_of(NULL, 0);
    assert_int_equal(store_commit(fixture->store, &without_material, 1), STATUS_OK);
    assert_int_equal(insert_with(fixture, 10, fixture->other, ACTIVE, NULL, 0), STATUS_OK);
    for (size_t limit = 1; limit < 7; limit++) {
        struct due_list list = find_due(fixture, limit);
        assert_int_equal(list.count, 5);
        static const unsigned expected[] = {1, 3, 4, 5, 7};
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(list.numbers[i], expected[i]);
            assert_int_equal(list.recorded[i], expected[i] != 1);
        }
    }
}

static void test_due_pages_are_complete(void **state)
{
    const struct fixture *fixture = *state;
    static struct store_change changes[30000];
    for (unsigned i = 0; i < ARRAY_COUNT(changes); i++) {
        changes[i] = make_insert(fixture, i + 1);
        changes[i].row.state = i % 2 == 0 ? PRE_ACTIVE : ACTIVE;
        if (i % 300 != 0)
            changes[i].row.wrapped.blob = bytes_of(NULL, 0);
    }
    assert_int_equal(store_commit(fixture->store, changes, ARRAY_COUNT(changes)), STATUS_OK);
    struct due_list list = find_due(fixture, 1000);
    assert_int_equal(list.count, 100);
    for (unsigned i = 0; i < list.count; i++)
        assert_int_equal(list.numbers[i], i * 300 + 1);
}

struct record_count {
    struct uuid last;
    size_t count;
    size_t stop_after;
};

static bool count_record(void *context, const struct record_row *row)
{
    struct record_count *seen = context;
    CHECK(memcmp(row->object.bytes, seen->last.bytes, UUID_SIZE) > 0);
    seen->last = row->object;
    return ++seen->count != seen->stop_after;
}

static void test_records_are_listed(void **state)
{
    const struct fixture *fixture = *state;
    for (unsigned i = 1; i <= 150; i++) {
        insert(fixture, i);
        put_record(fixture, i, 1);
    }
    assert_int_equal(insert_with(fixture, 200, fixture->other, ACTIVE, NULL, 0), STATUS_OK);
    struct record_row other = make_record_row(fixture, 200, 1);
    other.adapter = fixture->other;
    assert_int_equal(store_record_put(fixture->store, &other), STATUS_OK);
    const struct uuid middle = make_id(100);
    const struct {
        int64_t adapter;
        const struct uuid *after;
        size_t limit, stop_after, expected;
    } cases[] = {
        {0, NULL, 1000, 0, 151},
        {fixture->adapter, NULL, 1000, 0, 150},
        {fixture->other, NULL, 1000, 0, 1},
        {fixture->adapter, &middle, 1000, 0, 50},
        {fixture->adapter, NULL, 70, 0, 70},
        {fixture->adapter, NULL, 1000, 65, 65},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct record_count seen = {.stop_after = cases[i].stop_after};
        assert_int_equal(store_records(fixture->session, cases[i].adapter, cases[i].after,
                                       cases[i].limit, count_record, &seen),
                         STATUS_OK);
        assert_int_equal(seen.count, cases[i].expected);
    }
}

static void test_deleted_adapter_leaves_its_records_behind(void **state)
{
    const struct fixture *fixture = *state;
    insert(fixture, 1);
    insert(fixture, 2);
    put_record(fixture, 1, 1);
    for (unsigned i = 1; i <= 2; i++)
        assert_int_equal(update_with(fixture, i, DESTROYED, NULL, 0), STATUS_OK);
    assert_int_equal(store_adapter_delete(fixture->store, fixture->adapter), STATUS_OK);
    struct record_row row = make_record_row(fixture, 1, 1);
    struct record_left left[4];
    assert_int_equal(left_behind(fixture, left), 1);
    assert_true(uuid_equal(&left[0].record, &row.record));
    assert_int_equal(store_record_get(fixture->session, &row.object, &row), STATUS_NOT_FOUND);
}

/* ---- The suite, once for each kind ---- */

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_object_comes_back_as_inserted),
    cmocka_unit_test(test_empty_and_large_bytes_come_back),
    cmocka_unit_test(test_sequence_and_version_of_an_insert_are_the_stores),
    cmocka_unit_test(test_restored_object_keeps_its_version),
    cmocka_unit_test(test_missing_and_foreign_objects_are_alike),
    cmocka_unit_test(test_object_outlives_store),
    cmocka_unit_test(test_update_replaces_row),
    cmocka_unit_test(test_update_of_old_version_conflicts),
    cmocka_unit_test(test_update_of_missing_or_foreign_object),
    cmocka_unit_test(test_identifier_is_used_once),
    cmocka_unit_test(test_object_needs_its_adapter),
    cmocka_unit_test(test_name_belongs_to_one_live_object),
    cmocka_unit_test(test_name_is_free_in_another_adapter),
    cmocka_unit_test(test_destroyed_object_gives_up_its_name),
    cmocka_unit_test(test_name_given_up_is_free),
    cmocka_unit_test(test_name_moves_within_a_transaction),
    cmocka_unit_test(test_terms_that_are_not_unique_are_shared),
    cmocka_unit_test(test_find_by_terms),
    cmocka_unit_test(test_find_by_type_and_state),
    cmocka_unit_test(test_find_by_terms_type_and_state),
    cmocka_unit_test(test_find_sees_one_adapter_only),
    cmocka_unit_test(test_update_replaces_terms_and_state),
    cmocka_unit_test(test_pages_are_complete),
    cmocka_unit_test(test_full_last_page_has_no_next),
    cmocka_unit_test(test_visitor_stops_and_goes_on),
    cmocka_unit_test(test_visitor_may_use_the_session),
    cmocka_unit_test(test_count_by_state),
    cmocka_unit_test(test_transaction_is_all_or_nothing),
    cmocka_unit_test(test_transaction_may_change_an_object_twice),
    cmocka_unit_test(test_empty_transaction_succeeds),
    cmocka_unit_test(test_failures_in_a_group_touch_nobody_else),
    cmocka_unit_test(test_close_finishes_what_was_submitted),
    cmocka_unit_test(test_many_submitters),
    cmocka_unit_test(test_each_version_is_won_once),
    cmocka_unit_test(test_no_reader_sees_an_older_version),
    cmocka_unit_test(test_adapter_comes_back_as_inserted),
    cmocka_unit_test(test_adapter_names_and_uuids_are_unique),
    cmocka_unit_test(test_adapter_update),
    cmocka_unit_test(test_adapter_move),
    cmocka_unit_test(test_adapters_are_listed_by_name),
    cmocka_unit_test(test_adapter_delete),
    cmocka_unit_test(test_adapter_delete_with_many_objects),
    cmocka_unit_test(test_object_without_state_keeps_its_adapter),
    cmocka_unit_test(test_adapter_numbers_are_not_used_again),
    cmocka_unit_test(test_certificates_are_unique),
    cmocka_unit_test(test_certificates_are_listed_by_name),
    cmocka_unit_test(test_certificate_delete),
    cmocka_unit_test(test_generation_tells_of_administration),
    cmocka_unit_test(test_rewrap_replaces_the_wrapped_key_alone),
    cmocka_unit_test(test_record_rows_come_and_go),
    cmocka_unit_test(test_replaced_record_is_left_behind),
    cmocka_unit_test(test_record_comes_with_its_change),
    cmocka_unit_test(test_record_of_a_refused_change),
    cmocka_unit_test(test_what_is_due_is_found),
    cmocka_unit_test(test_due_pages_are_complete),
    cmocka_unit_test(test_records_are_listed),
    cmocka_unit_test(test_deleted_adapter_leaves_its_records_behind),
    cmocka_unit_test(test_values),
    cmocka_unit_test(test_everything_is_there_after_reopening),
};

int main(void)
{
    static struct CMUnitTest suite[ARRAY_COUNT(kinds) * ARRAY_COUNT(tests)];
    static char names[ARRAY_COUNT(suite)][128];
    static struct fixture fixtures[ARRAY_COUNT(suite)];
    main_thread = pthread_self();
    for (size_t i = 0; i < ARRAY_COUNT(suite); i++) {
        size_t kind = i / ARRAY_COUNT(tests);
        size_t test = i % ARRAY_COUNT(tests);
        (void)snprintf(names[i], sizeof(names[i]), "%s: %s", kinds[kind].name, tests[test].name);
        fixtures[i].kind = &kinds[kind];
        suite[i] = (struct CMUnitTest){.name = names[i],
                                       .test_func = tests[test].test_func,
                                       .setup_func = setup,
                                       .teardown_func = teardown,
                                       .initial_state = &fixtures[i]};
    }
    return cmocka_run_group_tests_name("store", suite, NULL, NULL);
}
