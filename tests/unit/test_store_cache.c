/* SPDX-License-Identifier: Apache-2.0 */
/* The races of the object cache, step by step; test_store.c has them with threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/cache.h"

#define ADAPTER 1
#define OTHER   2

static struct uuid make_id(unsigned number)
{
    struct uuid id = {{0x01, 0x90, 0, 0, 0, 0, 0x70, 0, 0x80}};
    id.bytes[14] = (uint8_t)(number >> 8);
    id.bytes[15] = (uint8_t)number;
    return id;
}

static struct stored_object *make_object(unsigned number, int64_t version, size_t size)
{
    static const uint8_t attributes[100000];
    const struct object_row row = {.id = make_id(number),
                                   .adapter = ADAPTER,
                                   .version = version,
                                   .attributes = bytes_of(attributes, size)};
    struct stored_object *object = NULL;
    assert_int_equal(stored_object_copy(&row, &object), STATUS_OK);
    return object;
}

static struct store_cache *make_cache(size_t bytes)
{
    struct store_cache *cache = NULL;
    assert_int_equal(store_cache_new(bytes, &cache), STATUS_OK);
    return cache;
}

/* The version in the cache; 0: a miss. */
static int64_t version_in(struct store_cache *cache, int64_t adapter, unsigned number)
{
    uint64_t ticket;
    const struct uuid id = make_id(number);
    struct stored_object *object = store_cache_get(cache, adapter, &id, &ticket);
    int64_t version = object != NULL ? object->row.version : 0;
    stored_object_release(object);
    return version;
}

static uint64_t miss(struct store_cache *cache, unsigned number)
{
    uint64_t ticket = UINT64_MAX;
    const struct uuid id = make_id(number);
    assert_null(store_cache_get(cache, ADAPTER, &id, &ticket));
    return ticket;
}

static void offer(struct store_cache *cache, unsigned number, int64_t version, uint64_t ticket)
{
    struct stored_object *object = make_object(number, version, 100);
    store_cache_offer(cache, object, ticket);
    stored_object_release(object);
}

static void write_begin(struct store_cache *cache, unsigned number)
{
    const struct uuid id = make_id(number);
    store_cache_write_begin(cache, &id);
}

/* Version 0: the commit failed. */
static void write_end(struct store_cache *cache, unsigned number, int64_t version)
{
    const struct uuid id = make_id(number);
    struct stored_object *object = version != 0 ? make_object(number, version, 100) : NULL;
    store_cache_write_end(cache, &id, object);
    stored_object_release(object);
}

static void test_what_was_read_is_kept(void **state)
{
    struct store_cache *cache = make_cache(1 << 16);
    offer(cache, 1, 1, miss(cache, 1));
    assert_int_equal(version_in(cache, ADAPTER, 1), 1);
    assert_int_equal(version_in(cache, ADAPTER, 2), 0);
    store_cache_free(cache);
}

static void test_foreign_object_is_a_miss(void **state)
{
    struct store_cache *cache = make_cache(1 << 16);
    offer(cache, 1, 1, miss(cache, 1));
    assert_int_equal(version_in(cache, OTHER, 1), 0);
    assert_int_equal(version_in(cache, ADAPTER, 1), 1);
    store_cache_free(cache);
}

/* A reader misses and reads version 1; before it offers that, version 2 is committed. */
static void test_read_before_a_commit_is_not_kept(void **state)
{
    struct store_cache *cache = make_cache(1 << 16);
    uint64_t ticket = miss(cache, 1);
    write_begin(cache, 1);
    write_end(cache, 1, 2);
    offer(cache, 1, 1, ticket);
    assert_int_equal(version_in(cache, ADAPTER, 1), 2);
    store_cache_free(cache);
}

/* The same, and version 2 has been pushed out meanwhile: versions alone would not tell. */
static void test_read_before_a_commit_is_not_kept_after_eviction(void **state)
{
    struct store_cache *cache = make_cache(2000);
    uint64_t ticket = miss(cache, 1);
    write_begin(cache, 1);
    write_end(cache, 1, 2);
    struct stored_object *large = make_object(2, 1, 1700);
    store_cache_add(cache, large);
    stored_object_release(large);
    assert_int_equal(version_in(cache, ADAPTER, 1), 0);
    offer(cache, 1, 1, ticket);
    assert_int_equal(version_in(cache, ADAPTER, 1), 0);
    store_cache_free(cache);
}

/* While a commit is under way the cache shows neither version: the back end knows which counts. */
static void test_nothing_is_kept_during_a_commit(void **state)
{
    struct store_cache *cache = make_cache(1 << 16);
    offer(cache, 1, 1, miss(cache, 1));
    write_begin(cache, 1);
    uint64_t ticket = miss(cache, 1);
    offer(cache, 1, 1, ticket);
    assert_int_equal(version_in(cache, ADAPTER, 1), 0);
    write_end(cache, 1, 2);
    assert_int_equal(version_in(cache, ADAPTER, 1), 2);
    store_cache_free(cache);
}

static void test_read_during_a_commit_is_not_kept_after_it(void **state)
{
    struct store_cache *cache = make_cache(1 << 16);
    write_begin(cache, 1);
    uint64_t ticket = miss(cache, 1);
    write_end(cache, 1, 0);
    offer(cache, 1, 1, ticket);
    assert_int_equal(version_in(cache, ADAPTER, 1), 0);
    offer(cache, 1, 1, miss(cache, 1));
    assert_int_equal(version_in(cache, ADAPTER, 1), 1);
    store_cache_free(cache);
}

/* One commit with versions 2 and 3: version 2 never shows. */
static void test_only_the_last_of_a_commit_is_kept(void **state)
{
    struct store_cache *cache = make_cache(1 << 16);
    write_begin(cache, 1);
    write_begin(cache, 1);
    write_end(cache, 1, 2);
    assert_int_equal(version_in(cache, ADAPTER, 1), 0);
    write_end(cache, 1, 3);
    assert_int_equal(version_in(cache, ADAPTER, 1), 3);
    store_cache_free(cache);
}

static void test_older_never_replaces_newer(void **state)
{
    struct store_cache *cache = make_cache(1 << 16);
    uint64_t ticket = miss(cache, 1);
    offer(cache, 1, 5, ticket);
    offer(cache, 1, 4, ticket);
    assert_int_equal(version_in(cache, ADAPTER, 1), 5);
    store_cache_free(cache);
}

static void test_clearing_empties_until_its_end(void **state)
{
    struct store_cache *cache = make_cache(1 << 20);
    uint64_t early = miss(cache, 9);
    for (unsigned i = 1; i <= 8; i++)
        offer(cache, i, 1, miss(cache, i));
    store_cache_clear_begin(cache);
    assert_int_equal(store_cache_bytes(cache), 0);
    offer(cache, 1, 1, miss(cache, 1));
    assert_int_equal(store_cache_bytes(cache), 0);
    store_cache_clear_end(cache);
    offer(cache, 9, 1, early);
    assert_int_equal(store_cache_bytes(cache), 0);
    offer(cache, 9, 1, miss(cache, 9));
    assert_int_equal(version_in(cache, ADAPTER, 9), 1);
    store_cache_free(cache);
}

static void test_bytes_are_bounded(void **state)
{
    static const size_t limits[] = {1, 3000, 100000, 1 << 20};
    for (size_t i = 0; i < ARRAY_COUNT(limits); i++) {
        struct store_cache *cache = make_cache(limits[i]);
        for (unsigned number = 0; number < 3000; number++) {
            struct stored_object *object = make_object(number, 1, number % 7 * 300);
            store_cache_add(cache, object);
            stored_object_release(object);
            assert_true(store_cache_bytes(cache) <= limits[i]);
        }
        assert_true(limits[i] < 3000 || store_cache_bytes(cache) > limits[i] / 3);
        store_cache_free(cache);
    }
}

static void test_too_large_object_pushes_nothing_out(void **state)
{
    struct store_cache *cache = make_cache(10000);
    offer(cache, 1, 1, miss(cache, 1));
    struct stored_object *large = make_object(2, 1, 10000);
    store_cache_add(cache, large);
    stored_object_release(large);
    assert_int_equal(version_in(cache, ADAPTER, 1), 1);
    assert_int_equal(version_in(cache, ADAPTER, 2), 0);
    store_cache_free(cache);
}

static void test_least_recently_used_goes_first(void **state)
{
    struct store_cache *cache = make_cache(3000);
    unsigned count = 0;
    for (size_t bytes = 0; store_cache_bytes(cache) >= bytes; count++) {
        bytes = store_cache_bytes(cache) + 1;
        struct stored_object *object = make_object(count, 1, 100);
        store_cache_add(cache, object);
        stored_object_release(object);
        assert_int_equal(version_in(cache, ADAPTER, 0), 1); /* used all the time */
    }
    assert_true(count > 4);
    assert_int_equal(version_in(cache, ADAPTER, 1), 0);
    for (unsigned i = 2; i < count; i++)
        assert_int_equal(version_in(cache, ADAPTER, i), 1);
    store_cache_free(cache);
}

static void test_object_outlives_cache(void **state)
{
    struct store_cache *cache = make_cache(1 << 16);
    offer(cache, 1, 1, miss(cache, 1));
    uint64_t ticket;
    const struct uuid id = make_id(1);
    struct stored_object *object = store_cache_get(cache, ADAPTER, &id, &ticket);
    store_cache_free(cache);
    assert_int_equal(object->row.version, 1);
    stored_object_release(object);
}

static void test_no_cache_keeps_nothing(void **state)
{
    offer(NULL, 1, 1, 0);
    write_begin(NULL, 1);
    write_end(NULL, 1, 2);
    store_cache_clear_begin(NULL);
    store_cache_clear_end(NULL);
    assert_int_equal(version_in(NULL, ADAPTER, 1), 0);
    assert_int_equal(store_cache_bytes(NULL), 0);
    store_cache_free(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_read_is_kept),
        cmocka_unit_test(test_foreign_object_is_a_miss),
        cmocka_unit_test(test_read_before_a_commit_is_not_kept),
        cmocka_unit_test(test_read_before_a_commit_is_not_kept_after_eviction),
        cmocka_unit_test(test_nothing_is_kept_during_a_commit),
        cmocka_unit_test(test_read_during_a_commit_is_not_kept_after_it),
        cmocka_unit_test(test_only_the_last_of_a_commit_is_kept),
        cmocka_unit_test(test_older_never_replaces_newer),
        cmocka_unit_test(test_clearing_empties_until_its_end),
        cmocka_unit_test(test_bytes_are_bounded),
        cmocka_unit_test(test_too_large_object_pushes_nothing_out),
        cmocka_unit_test(test_least_recently_used_goes_first),
        cmocka_unit_test(test_object_outlives_cache),
        cmocka_unit_test(test_no_cache_keeps_nothing),
    };
    return cmocka_run_group_tests_name("store's cache", tests, NULL, NULL);
}
