/* SPDX-License-Identifier: Apache-2.0 */
/* What core remembers between requests: unwrapped keys, sealed, bounded in count and time; and that
 * a password was right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>

#include "core/credential.h"
#include "core/keycache.h"
#include "core/uuid_set.h"
#include "crypto/password.h"
#include "crypto/shield.h"

#define NOW     INT64_C(1700000000000)
#define SECONDS 60

static const struct uuid root_key = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}};
static const struct uuid other_root_key = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 11}};

static void make_uuid(struct uuid *uuid)
{
    assert_int_equal(uuid_make(NOW, uuid), STATUS_OK);
}

/* A wrapped blob: 32 bytes that tell it from others. */
static struct bytes blob(uint8_t mark)
{
    static _Thread_local uint8_t blobs[256][32];
    memset(blobs[mark], mark, sizeof(blobs[mark]));
    return bytes_of(blobs[mark], sizeof(blobs[mark]));
}

static void put(struct key_cache *cache, const struct uuid *object, uint8_t mark, int64_t now,
                struct bytes key)
{
    struct secret secret;
    assert_int_equal(secret_copy(&secret, key), STATUS_OK);
    const struct key_cache_item item = {
        .object = *object, .root_key = root_key, .wrapped = blob(mark), .seconds = SECONDS};
    key_cache_put(cache, &item, key_cache_epoch(cache, &root_key), now, &secret);
    secret_free(&secret);
}

static bool has(struct key_cache *cache, const struct uuid *object, uint8_t mark, int64_t now,
                struct bytes key)
{
    struct secret found;
    if (!key_cache_get(cache, object, blob(mark), now, &found))
        return false;
    bool right = bytes_equal(secret_bytes(&found), key);
    secret_free(&found);
    assert_true(right); /* another's key would be worse than none */
    return true;
}

static struct key_cache *open_cache(unsigned entries)
{
    struct key_cache *cache;
    assert_int_equal(secret_heap_init(1 << 20, NULL), STATUS_OK);
    assert_int_equal(shield_init(), STATUS_OK);
    assert_int_equal(key_cache_open(entries, &cache), STATUS_OK);
    return cache;
}

static void keys_are_kept_for_their_blob_and_time(void **state)
{
    (void)state;
    struct uuid object;
    struct uuid other;
    struct bytes key = BYTES_LITERAL("sixteen byte key");
    struct key_cache *cache = open_cache(16);
    make_uuid(&object);
    make_uuid(&other);
    assert_false(has(cache, &object, 1, NOW, key));
    put(cache, &object, 1, NOW, key);
    assert_true(has(cache, &object, 1, NOW, key));
    assert_true(has(cache, &object, 1, NOW + SECONDS * 1000 - 1, key));
    assert_false(has(cache, &object, 1, NOW + SECONDS * 1000, key));
    assert_false(has(cache, &object, 2, NOW, key)); /* wrapped anew since */
    assert_false(has(cache, &other, 1, NOW, key));
    put(cache, &object, 2, NOW, BYTES_LITERAL("another key"));
    assert_false(has(cache, &object, 1, NOW, key));
    assert_true(has(cache, &object, 2, NOW, BYTES_LITERAL("another key")));
    key_cache_clear(cache);
    assert_false(has(cache, &object, 2, NOW, key));
    key_cache_close(cache);
}

static void a_destroyed_key_has_no_blob_to_be_found_by(void **state)
{
    (void)state;
    struct uuid object;
    struct secret found;
    struct key_cache *cache = open_cache(16);
    make_uuid(&object);
    put(cache, &object, 1, NOW, BYTES_LITERAL("key"));
    assert_false(key_cache_get(cache, &object, (struct bytes){0}, NOW, &found));
    assert_false(key_cache_get(cache, &object, bytes_of(blob(1).data, 15), NOW, &found));
    key_cache_close(cache);
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    struct uuid object;
    static uint8_t large[4097];
    struct key_cache *cache = open_cache(4);
    make_uuid(&object);
    put(cache, &object, 1, NOW, bytes_of(large, 4096));
    assert_true(has(cache, &object, 1, NOW, bytes_of(large, 4096)));
    put(cache, &object, 2, NOW, bytes_of(large, 4097));
    assert_false(has(cache, &object, 2, NOW, bytes_of(large, 4097)));
    put(cache, &object, 3, NOW, (struct bytes){0});
    assert_true(has(cache, &object, 3, NOW, (struct bytes){0}));
    key_cache_close(cache);
}

/* Never more than was asked for, rounded up to whole sets; the newest stay. */
static void the_count_is_bounded(void **state)
{
    (void)state;
    enum { ENTRIES = 32, OBJECTS = 500 };
    struct uuid objects[OBJECTS];
    struct key_cache *cache = open_cache(ENTRIES);
    size_t kept = 0;
    for (int i = 0; i < OBJECTS; i++) {
        make_uuid(&objects[i]);
        put(cache, &objects[i], 1, NOW + i, bytes_of(&i, sizeof(i)));
        assert_true(has(cache, &objects[i], 1, NOW + i, bytes_of(&i, sizeof(i))));
    }
    for (int i = 0; i < OBJECTS; i++)
        kept += has(cache, &objects[i], 1, NOW + OBJECTS, bytes_of(&i, sizeof(i)));
    assert_true(kept <= ENTRIES);
    assert_true(kept > ENTRIES / 2); /* and it keeps something */
    key_cache_close(cache);
}

static void put_under(struct key_cache *cache, const struct uuid *object, uint8_t mark,
                      const struct uuid *under, uint64_t epoch)
{
    struct secret secret;
    assert_int_equal(secret_copy(&secret, BYTES_LITERAL("key")), STATUS_OK);
    const struct key_cache_item item = {
        .object = *object, .root_key = *under, .wrapped = blob(mark), .seconds = SECONDS};
    key_cache_put(cache, &item, epoch, NOW, &secret);
    secret_free(&secret);
}

/* A root key that goes takes its keys with it, those too that were on their way; others stay. */
static void keys_go_with_their_root_key(void **state)
{
    (void)state;
    struct uuid object;
    struct uuid other;
    struct key_cache *cache = open_cache(16);
    make_uuid(&object);
    make_uuid(&other);
    uint64_t epoch = key_cache_epoch(cache, &root_key);
    uint64_t other_epoch = key_cache_epoch(cache, &other_root_key);
    put_under(cache, &object, 1, &root_key, epoch);
    put_under(cache, &other, 1, &other_root_key, other_epoch);
    key_cache_forget(cache, &root_key);
    assert_false(has(cache, &object, 1, NOW, BYTES_LITERAL("key")));
    assert_true(has(cache, &other, 1, NOW, BYTES_LITERAL("key")));
    put_under(cache, &object, 1, &root_key, epoch); /* opened before */
    assert_false(has(cache, &object, 1, NOW, BYTES_LITERAL("key")));
    put_under(cache, &object, 1, &root_key, key_cache_epoch(cache, &root_key));
    assert_true(has(cache, &object, 1, NOW, BYTES_LITERAL("key")));
    key_cache_clear(cache);
    put_under(cache, &other, 1, &other_root_key, other_epoch);
    assert_false(has(cache, &other, 1, NOW, BYTES_LITERAL("key")));
    key_cache_close(cache);
}

/* The same key in another blob: it stays, under the new root key, and not a second longer. */
static void a_key_that_is_wrapped_anew_stays(void **state)
{
    (void)state;
    struct uuid object;
    struct key_cache *cache = open_cache(16);
    make_uuid(&object);
    put_under(cache, &object, 1, &root_key, key_cache_epoch(cache, &root_key));
    struct key_cache_item after = {
        .object = object, .root_key = other_root_key, .wrapped = blob(2), .seconds = 2 * SECONDS};
    key_cache_rewrapped(cache, blob(3), &after); /* not this one */
    assert_true(has(cache, &object, 1, NOW, BYTES_LITERAL("key")));
    key_cache_rewrapped(cache, blob(1), &after);
    assert_false(has(cache, &object, 1, NOW, BYTES_LITERAL("key")));
    assert_true(has(cache, &object, 2, NOW + SECONDS * 1000 - 1, BYTES_LITERAL("key")));
    assert_false(has(cache, &object, 2, NOW + SECONDS * 1000, BYTES_LITERAL("key")));
    key_cache_forget(cache, &root_key);
    assert_true(has(cache, &object, 2, NOW, BYTES_LITERAL("key")));
    after.wrapped = blob(4);
    after.seconds = 0; /* where nothing is cached */
    key_cache_rewrapped(cache, blob(2), &after);
    assert_false(has(cache, &object, 4, NOW, BYTES_LITERAL("key")));
    key_cache_close(cache);
}

static void ages_are_told_and_old_keys_swept(void **state)
{
    (void)state;
    struct uuid object;
    struct uuid young;
    struct key_cache *cache = open_cache(16);
    make_uuid(&object);
    make_uuid(&young);
    assert_int_equal(key_cache_age(cache, &object, blob(1), NOW), -1);
    put(cache, &object, 1, NOW, BYTES_LITERAL("key"));
    assert_int_equal(key_cache_age(cache, &object, blob(1), NOW), 0);
    assert_int_equal(key_cache_age(cache, &object, blob(2), NOW), -1);
    assert_int_equal(key_cache_age(cache, &object, blob(1), NOW + SECONDS * 500), 500);
    assert_int_equal(key_cache_age(cache, &object, blob(1), NOW + SECONDS * 1000), -1);
    put(cache, &young, 1, NOW + 1, BYTES_LITERAL("key"));
    key_cache_sweep(cache, NOW + SECONDS * 1000);
    assert_false(has(cache, &object, 1, NOW, BYTES_LITERAL("key"))); /* wiped, not only too old */
    assert_true(has(cache, &young, 1, NOW + SECONDS * 1000, BYTES_LITERAL("key")));
    key_cache_close(cache);
}

/* ---- Sets of identifiers ---- */

static void sets_hold_what_was_added(void **state)
{
    (void)state;
    enum { MEMBERS = 300 };
    static struct uuid members[MEMBERS];
    struct uuid_set set;
    uuid_set_init(&set);
    assert_true(uuid_set_is_empty(&set));
    for (int i = 0; i < MEMBERS; i++) {
        make_uuid(&members[i]);
        members[i].bytes[0] = (uint8_t)(i * 89); /* in no order */
        assert_false(uuid_set_has(&set, &members[i]));
        assert_int_equal(uuid_set_add(&set, &members[i]), STATUS_OK);
        assert_int_equal(uuid_set_add(&set, &members[i]), STATUS_OK);
    }
    for (int i = 0; i < MEMBERS; i += 2)
        uuid_set_remove(&set, &members[i]);
    for (int i = 0; i < MEMBERS; i++)
        assert_int_equal(uuid_set_has(&set, &members[i]), i % 2 == 1);
    for (int i = 0; i < MEMBERS; i++)
        uuid_set_remove(&set, &members[i]);
    assert_true(uuid_set_is_empty(&set));
    uuid_set_free(&set);
}

/* What a key manager's absence is survived with, and what is not fetched twice. */
static void every_key_has_its_place_in_a_cache_that_is_a_third_full(void **state)
{
    (void)state;
    enum { ENTRIES = 20000, KEYS = ENTRIES / 3 };
    static struct uuid objects[KEYS];
    struct bytes key = BYTES_LITERAL("key");
    struct key_cache *cache = open_cache(ENTRIES);
    uint64_t random = 1;
    for (size_t i = 0; i < KEYS; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t mixed = (random ^ random >> 32) * UINT64_C(0xD6E8FEB86659FD93);
        mixed ^= mixed >> 32;
        memcpy(objects[i].bytes, &i, sizeof(i));
        memcpy(objects[i].bytes + 8, &mixed, sizeof(mixed));
        put(cache, &objects[i], 1, NOW, key);
    }
    size_t found = 0;
    for (size_t i = 0; i < KEYS; i++)
        found += has(cache, &objects[i], 1, NOW, key);
    assert_int_equal(found, KEYS);
    key_cache_close(cache);
}

static void no_entries_keep_nothing(void **state)
{
    (void)state;
    struct uuid object;
    struct key_cache *cache = open_cache(0);
    make_uuid(&object);
    put(cache, &object, 1, NOW, BYTES_LITERAL("key"));
    assert_false(has(cache, &object, 1, NOW, BYTES_LITERAL("key")));
    key_cache_clear(cache);
    key_cache_close(cache);
    key_cache_close(NULL);
}

struct crowd {
    struct key_cache *cache;
    const struct uuid *objects;
    size_t count;
};

#define CROWD_OBJECTS 40

static void *use_cache(void *argument)
{
    struct crowd *crowd = argument;
    for (int round = 0; round < 40; round++)
        for (size_t i = 0; i < crowd->count; i++) {
            struct bytes key = uuid_bytes(&crowd->objects[i]);
            if (!has(crowd->cache, &crowd->objects[i], 1, NOW, key))
                put(crowd->cache, &crowd->objects[i], 1, NOW, key);
            if (round % 20 == 0 && i == 0)
                key_cache_clear(crowd->cache);
        }
    return NULL;
}

static void many_threads_share_the_keys(void **state)
{
    (void)state;
    struct uuid objects[CROWD_OBJECTS];
    pthread_t threads[4];
    struct crowd crowd = {.cache = open_cache(16), .objects = objects, .count = CROWD_OBJECTS};
    for (size_t i = 0; i < CROWD_OBJECTS; i++)
        make_uuid(&objects[i]);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_cache, &crowd), 0);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    key_cache_close(crowd.cache);
}

struct race {
    struct key_cache *cache;
    struct uuid object;
    _Atomic uint32_t generation; /* of what a key manager would give out */
    _Atomic bool over;
};

static void *keep_putting(void *argument)
{
    struct race *race = argument;
    while (!atomic_load(&race->over)) {
        struct secret secret;
        uint64_t epoch = key_cache_epoch(race->cache, &root_key);
        uint32_t generation = atomic_load(&race->generation);
        assert_int_equal(secret_copy(&secret, bytes_of(&generation, sizeof(generation))),
                         STATUS_OK);
        const struct key_cache_item item = {
            .object = race->object, .root_key = root_key, .wrapped = blob(1), .seconds = SECONDS};
        key_cache_put(race->cache, &item, epoch, NOW, &secret);
        secret_free(&secret);
    }
    return NULL;
}

/* However they meet: once keys were wiped, none is found that was opened before. */
static void nothing_slips_in_while_keys_are_wiped(void **state)
{
    (void)state;
    pthread_t threads[2];
    struct race race = {.cache = open_cache(64)};
    make_uuid(&race.object);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keep_putting, &race), 0);
    for (uint32_t i = 1; i < 3000; i++) {
        struct secret found;
        atomic_store(&race.generation, i);
        key_cache_forget(race.cache, &root_key);
        if (!key_cache_get(race.cache, &race.object, blob(1), NOW, &found))
            continue;
        uint32_t generation;
        memcpy(&generation, found.data, sizeof(generation));
        secret_free(&found);
        assert_true(generation >= i);
    }
    atomic_store(&race.over, true);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    key_cache_close(race.cache);
}

/* ---- Credentials ---- */

static void a_password_is_remembered_with_its_hash(void **state)
{
    (void)state;
    struct credential_cache *cache;
    char first[PASSWORD_HASH_MAX];
    char second[PASSWORD_HASH_MAX];
    assert_int_equal(secret_heap_init(1 << 20, NULL), STATUS_OK);
    assert_int_equal(credential_cache_open(&cache), STATUS_OK);
    assert_int_equal(password_hash(BYTES_LITERAL("one"), first), STATUS_OK);
    assert_int_equal(password_hash(BYTES_LITERAL("two"), second), STATUS_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(credential_check(cache, BYTES_LITERAL("one"), first), STATUS_OK);
        assert_int_equal(credential_check(cache, BYTES_LITERAL("one"), second),
                         STATUS_NOT_AUTHENTICATED);
    }
    assert_int_equal(credential_check(cache, BYTES_LITERAL("two"), second), STATUS_OK);
    assert_int_equal(credential_check(cache, BYTES_LITERAL("x"), "no hash"), STATUS_STORE_CORRUPT);
    credential_cache_close(cache);
    credential_cache_close(NULL);
}

/* Beyond the first check it costs no scrypt: a thousand would take a minute. */
static void what_was_right_once_is_quick(void **state)
{
    (void)state;
    struct credential_cache *cache;
    char hash[PASSWORD_HASH_MAX];
    assert_int_equal(secret_heap_init(1 << 20, NULL), STATUS_OK);
    assert_int_equal(credential_cache_open(&cache), STATUS_OK);
    assert_int_equal(password_hash(BYTES_LITERAL("one"), hash), STATUS_OK);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(credential_check(cache, BYTES_LITERAL("one"), hash), STATUS_OK);
    credential_cache_close(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_kept_for_their_blob_and_time),
        cmocka_unit_test(a_destroyed_key_has_no_blob_to_be_found_by),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(the_count_is_bounded),
        cmocka_unit_test(every_key_has_its_place_in_a_cache_that_is_a_third_full),
        cmocka_unit_test(no_entries_keep_nothing),
        cmocka_unit_test(keys_go_with_their_root_key),
        cmocka_unit_test(a_key_that_is_wrapped_anew_stays),
        cmocka_unit_test(ages_are_told_and_old_keys_swept),
        cmocka_unit_test(sets_hold_what_was_added),
        cmocka_unit_test(many_threads_share_the_keys),
        cmocka_unit_test(nothing_slips_in_while_keys_are_wiped),
        cmocka_unit_test(a_password_is_remembered_with_its_hash),
        cmocka_unit_test(what_was_right_once_is_quick),
    };
    return cmocka_run_group_tests_name("core_caches", tests, NULL, NULL);
}
