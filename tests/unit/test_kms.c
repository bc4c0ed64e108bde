/* SPDX-License-Identifier: Apache-2.0 */
/* The resources of the served API in their database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_vfs.h"
#include "kms/identities.h"
#include "kms/keys.h"
#include "store_files.h"

struct fixture {
    char directory[64];
    char path[96];
    struct kms *kms;
    struct error error;
};

static enum status try_open(struct fixture *fixture, bool create)
{
    fixture->error = (struct error){0};
    return kms_open(fixture->path, create, &fixture->kms, &fixture->error);
}

static void open_kms(struct fixture *fixture)
{
    if (try_open(fixture, true) != STATUS_OK)
        fail_msg("%s", fixture->error.text);
}

static void reopen(struct fixture *fixture)
{
    kms_close(fixture->kms);
    fixture->kms = NULL;
    open_kms(fixture);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    files_make_directory(fixture->directory, sizeof(fixture->directory));
    (void)snprintf(fixture->path, sizeof(fixture->path), "%s/keys.db", fixture->directory);
    open_kms(fixture);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    kms_close(fixture->kms);
    files_remove_directory(fixture->directory);
    free(fixture);
    return 0;
}

static struct uuid uuid_of(uint8_t number)
{
    struct uuid uuid = {{0}};
    uuid.bytes[0] = number;
    uuid.bytes[15] = 1;
    return uuid;
}

/* ---- Identities ---- */

static struct kms_service_id *service_id(uint8_t number, const char *name)
{
    static struct kms_service_id row;
    row = (struct kms_service_id){.id = uuid_of(number), .created = 1000 + number};
    (void)snprintf(row.name, sizeof(row.name), "%s", name);
    (void)snprintf(row.description, sizeof(row.description), "about %s", name);
    row.grants[0] = (struct kms_grant){.role = 2, .key_ring = "ring"};
    row.grants[1] = (struct kms_grant){.role = 4, .adapter = "cluster"};
    row.grant_count = 2;
    return &row;
}

static void test_service_ids(void **state)
{
    struct fixture *fixture = *state;
    static struct kms_service_id found;
    assert_int_equal(kms_service_id_insert(fixture->kms, service_id(1, "vcenter")), STATUS_OK);
    assert_int_equal(kms_service_id_insert(fixture->kms, service_id(2, "vcenter")), STATUS_EXISTS);
    assert_int_equal(kms_service_id_insert(fixture->kms, service_id(1, "other")), STATUS_EXISTS);
    reopen(fixture);
    assert_int_equal(kms_service_id_find(fixture->kms, BYTES_LITERAL("vcenter"), &found),
                     STATUS_OK);
    assert_memory_equal(&found, service_id(1, "vcenter"), sizeof(found));
    assert_int_equal(kms_service_id_find(fixture->kms,
                                         BYTES_LITERAL("01000000-0000-0000-0000-000000000001"),
                                         &found),
                     STATUS_OK);
    assert_string_equal(found.name, "vcenter");
    assert_int_equal(kms_service_id_find(fixture->kms, BYTES_LITERAL("nobody"), &found),
                     STATUS_NOT_FOUND);
    struct uuid id = uuid_of(1);
    const struct kms_grant grant = {.role = 8};
    assert_int_equal(kms_service_id_set_grants(fixture->kms, &id, &grant, 1), STATUS_OK);
    assert_int_equal(kms_service_id_get(fixture->kms, &id, &found), STATUS_OK);
    assert_int_equal(found.grant_count, 1);
    assert_int_equal(found.grants[0].role, 8);
    assert_int_equal(kms_service_id_set_grants(fixture->kms, &id, &grant, KMS_GRANTS_MAX + 1),
                     STATUS_TOO_LARGE);
    struct uuid other = uuid_of(9);
    assert_int_equal(kms_service_id_set_grants(fixture->kms, &other, &grant, 1), STATUS_NOT_FOUND);
    assert_int_equal(kms_service_id_delete(fixture->kms, &other), STATUS_NOT_FOUND);
    assert_int_equal(kms_service_id_delete(fixture->kms, &id), STATUS_OK);
    assert_int_equal(kms_service_id_get(fixture->kms, &id, &found), STATUS_NOT_FOUND);
}

static bool add_name(void *context, const struct kms_service_id *row)
{
    char *text = context;
    size_t length = strlen(text);
    (void)snprintf(text + length, 128 - length, "%s", row->name);
    return strlen(text) < 4;
}

static void test_service_ids_are_listed_by_name(void **state)
{
    struct fixture *fixture = *state;
    const char *names[] = {"cc", "aa", "bb"};
    for (uint8_t i = 0; i < 3; i++)
        assert_int_equal(kms_service_id_insert(fixture->kms, service_id(i, names[i])), STATUS_OK);
    char text[128] = "";
    assert_int_equal(kms_service_ids(fixture->kms, add_name, text), STATUS_OK);
    assert_string_equal(text, "aabb"); /* and no more, as the visitor said */
}

static struct kms_api_key api_key(uint8_t number, uint8_t owner, const char *name)
{
    struct kms_api_key row = {.id = uuid_of(number), .service_id = uuid_of(owner), .created = 5};
    (void)snprintf(row.name, sizeof(row.name), "%s", name);
    return row;
}

static bool count_api_key(void *context, const struct kms_api_key *row)
{
    ++*(int *)context;
    return true;
}

static void test_api_keys(void **state)
{
    struct fixture *fixture = *state;
    uint8_t hash[KMS_API_KEY_HASH_SIZE] = {1, 2, 3};
    uint8_t other_hash[KMS_API_KEY_HASH_SIZE] = {9};
    struct kms_api_key first = api_key(50, 1, "first");
    assert_int_equal(kms_api_key_insert(fixture->kms, &first, hash), STATUS_NOT_FOUND);
    assert_int_equal(kms_service_id_insert(fixture->kms, service_id(1, "vcenter")), STATUS_OK);
    assert_int_equal(kms_api_key_insert(fixture->kms, &first, hash), STATUS_OK);
    struct kms_api_key same_hash = api_key(51, 1, "second");
    assert_int_equal(kms_api_key_insert(fixture->kms, &same_hash, hash), STATUS_EXISTS);
    struct kms_api_key same_name = api_key(52, 1, "first");
    assert_int_equal(kms_api_key_insert(fixture->kms, &same_name, other_hash), STATUS_EXISTS);

    struct kms_api_key found;
    assert_int_equal(kms_api_key_find(fixture->kms, other_hash, &found), STATUS_NOT_FOUND);
    assert_int_equal(kms_api_key_find(fixture->kms, hash, &found), STATUS_OK);
    assert_true(uuid_equal(&found.service_id, &first.service_id));
    assert_int_equal(kms_api_key_used(fixture->kms, &first.id, 77), STATUS_OK);
    assert_int_equal(kms_api_key_used(fixture->kms, &first.id, 66), STATUS_OK);
    assert_int_equal(kms_api_key_find(fixture->kms, hash, &found), STATUS_OK);
    assert_int_equal(found.used, 77); /* never back */

    int count = 0;
    assert_int_equal(kms_api_keys(fixture->kms, NULL, count_api_key, &count), STATUS_OK);
    assert_int_equal(kms_api_keys(fixture->kms, &first.service_id, count_api_key, &count),
                     STATUS_OK);
    assert_int_equal(kms_api_keys(fixture->kms, &first.id, count_api_key, &count), STATUS_OK);
    assert_int_equal(count, 2);
    assert_int_equal(kms_api_key_delete(fixture->kms, &first.service_id, BYTES_LITERAL("none")),
                     STATUS_NOT_FOUND);
    assert_int_equal(kms_api_key_delete(fixture->kms, &first.service_id, BYTES_LITERAL("first")),
                     STATUS_OK);
    assert_int_equal(kms_api_key_find(fixture->kms, hash, &found), STATUS_NOT_FOUND);
}

static void test_a_service_id_takes_its_api_keys_along(void **state)
{
    struct fixture *fixture = *state;
    uint8_t hash[KMS_API_KEY_HASH_SIZE] = {1};
    struct kms_api_key row = api_key(50, 1, "key");
    assert_int_equal(kms_service_id_insert(fixture->kms, service_id(1, "vcenter")), STATUS_OK);
    assert_int_equal(kms_api_key_insert(fixture->kms, &row, hash), STATUS_OK);
    assert_int_equal(kms_service_id_delete(fixture->kms, &row.service_id), STATUS_OK);
    assert_int_equal(kms_api_key_find(fixture->kms, hash, &row), STATUS_NOT_FOUND);
}

/* ---- Keys ---- */

#define PAYLOAD "what a key manager made of a payload"

static struct kms_key *new_key(uint8_t number, bool extractable)
{
    static struct kms_key key;
    key = (struct kms_key){.id = uuid_of(number),
                           .state = KMS_KEY_ACTIVE,
                           .extractable = extractable,
                           .bits = 256,
                           .created = 1000 * (int64_t)number,
                           .updated = 1000 * (int64_t)number};
    (void)snprintf(key.name, sizeof(key.name), "Key %u", number);
    (void)snprintf(key.ring, sizeof(key.ring), "%s", KMS_RING_DEFAULT);
    (void)snprintf(key.created_by, sizeof(key.created_by), "somebody");
    return &key;
}

static enum status insert(struct fixture *fixture, const struct kms_key *key)
{
    const struct kms_key_parts parts = {.payload = {BYTES_LITERAL(PAYLOAD)}};
    return kms_key_insert(fixture->kms, key, &parts);
}

static void test_a_key_is_kept_whole(void **state)
{
    struct fixture *fixture = *state;
    struct kms_key found = {0}; /* compared whole: behind the texts, too */
    struct kms_key *key = new_key(7, true);
    (void)snprintf(key->description, sizeof(key->description), "about it");
    (void)snprintf(key->tags, sizeof(key->tags), "one\ntwo");
    (void)snprintf(key->aliases, sizeof(key->aliases), "a1\nb2");
    key->expiration = 99;
    key->version = key->id;
    key->version_number = 1;
    key->version_created = key->created;
    assert_int_equal(insert(fixture, key), STATUS_OK);
    reopen(fixture);
    assert_int_equal(kms_key_find(fixture->kms, "b2", &found), STATUS_OK);
    assert_memory_equal(&found, key, sizeof(found));
    assert_int_equal(kms_key_find(fixture->kms, "B2", &found), STATUS_NOT_FOUND);
    struct buffer payload;
    buffer_init(&payload, 1000);
    assert_int_equal(kms_key_payload(fixture->kms, &key->id, &payload), STATUS_OK);
    assert_true(bytes_equal_text(buffer_bytes(&payload), PAYLOAD));
    buffer_free(&payload);
    buffer_init(&payload, 1000);
    assert_int_equal(
        kms_key_payload_put(fixture->kms, &key->id, (struct wrapped){BYTES_LITERAL("other")}),
        STATUS_OK);
    assert_int_equal(kms_key_payload(fixture->kms, &key->id, &payload), STATUS_OK);
    assert_true(bytes_equal_text(buffer_bytes(&payload), "other"));
    buffer_free(&payload);
}

static void test_keys_that_do_not_get_in(void **state)
{
    struct fixture *fixture = *state;
    struct kms_key found;
    struct kms_key *key = new_key(1, true);
    (void)snprintf(key->aliases, sizeof(key->aliases), "taken");
    assert_int_equal(insert(fixture, key), STATUS_OK);
    assert_int_equal(insert(fixture, new_key(1, false)), STATUS_EXISTS);
    key = new_key(2, true);
    (void)snprintf(key->ring, sizeof(key->ring), "nowhere");
    assert_int_equal(insert(fixture, key), STATUS_NOT_FOUND);
    key = new_key(2, true);
    (void)snprintf(key->aliases, sizeof(key->aliases), "free\ntaken");
    assert_int_equal(insert(fixture, key), STATUS_NAME_EXISTS);
    assert_int_equal(kms_key_get(fixture->kms, &key->id, &found), STATUS_NOT_FOUND);
    assert_int_equal(kms_key_find(fixture->kms, "free", &found), STATUS_NOT_FOUND);
}

static enum status suspend(struct kms_key *key, void *context)
{
    if (key->state != KMS_KEY_ACTIVE)
        return STATUS_CONFLICT;
    key->state = KMS_KEY_SUSPENDED;
    return STATUS_OK;
}

static void test_what_is_remembered_of_root_keys_follows_changes(void **state)
{
    struct fixture *fixture = *state;
    struct kms_key found;
    struct uuid id = new_key(1, false)->id;
    assert_int_equal(insert(fixture, new_key(1, false)), STATUS_OK);
    assert_int_equal(kms_alias_insert(fixture->kms, &id, "alias", 5, "me"), STATUS_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kms_key_get(fixture->kms, &id, &found), STATUS_OK);
        assert_int_equal(kms_key_find(fixture->kms, "alias", &found), STATUS_OK);
    }
    assert_int_equal(kms_key_change(fixture->kms, &id, suspend, NULL, &found), STATUS_OK);
    assert_int_equal(kms_key_change(fixture->kms, &id, suspend, NULL, NULL), STATUS_CONFLICT);
    assert_int_equal(kms_key_find(fixture->kms, "alias", &found), STATUS_OK);
    assert_int_equal(found.state, KMS_KEY_SUSPENDED);
    struct kms_version version = {.id = uuid_of(40), .number = 2, .created = 77};
    assert_int_equal(kms_version_plan(fixture->kms, &id, &version), STATUS_OK);
    assert_int_equal(kms_key_get(fixture->kms, &id, &found), STATUS_OK);
    assert_int_equal(found.version_number, 1);
    assert_int_equal(kms_version_confirm(fixture->kms, &id, 2), STATUS_OK);
    assert_int_equal(kms_version_confirm(fixture->kms, &id, 2), STATUS_NOT_FOUND);
    assert_int_equal(kms_version_plan(fixture->kms, &id, &version), STATUS_CONFLICT);
    assert_int_equal(kms_key_get(fixture->kms, &id, &found), STATUS_OK);
    assert_int_equal(found.version_number, 2);
    assert_int_equal(found.rotated, 77);
    assert_int_equal(kms_alias_delete(fixture->kms, &id, "alias"), STATUS_OK);
    assert_int_equal(kms_key_find(fixture->kms, "alias", &found), STATUS_NOT_FOUND);
    assert_int_equal(kms_key_purge(fixture->kms, &id), STATUS_OK);
    assert_int_equal(kms_key_get(fixture->kms, &id, &found), STATUS_NOT_FOUND);
    assert_int_equal(kms_key_purge(fixture->kms, &id), STATUS_NOT_FOUND);
}

static int64_t count_keys(struct fixture *fixture, unsigned states)
{
    const struct kms_key_query query = {.states = states, .extractable = -1};
    int64_t total = -1;
    assert_int_equal(kms_keys(fixture->kms, &query, NULL, NULL, &total), STATUS_OK);
    return total;
}

static void test_a_search_has_a_limit(void **state)
{
    struct fixture *fixture = *state;
    struct kms_key_query query = {
        .extractable = -1, .limit = 10, .search = {.text = "key", .names = true}};
    int64_t total = 0;
    for (int i = 0; i <= KMS_SEARCH_MAX; i++) {
        struct kms_key *key = new_key(1, true);
        key->id.bytes[1] = (uint8_t)(i >> 8);
        key->id.bytes[2] = (uint8_t)i;
        assert_int_equal(insert(fixture, key), STATUS_OK);
        if (i == KMS_SEARCH_MAX - 1)
            assert_int_equal(kms_keys(fixture->kms, &query, NULL, NULL, &total), STATUS_OK);
    }
    assert_int_equal(total, KMS_SEARCH_MAX);
    assert_int_equal(kms_keys(fixture->kms, &query, NULL, NULL, &total), STATUS_TOO_LARGE);
    query.extractable = 0;
    assert_int_equal(kms_keys(fixture->kms, &query, NULL, NULL, &total), STATUS_OK);
    assert_int_equal(total, 0);
}

/* ---- Many at once ---- */

#define THREADS    8
#define PER_THREAD 100

struct crowd {
    struct fixture *fixture;
    uint8_t number;
    enum status status;
};

static void *crowd_insert(void *argument)
{
    struct crowd *one = argument;
    const struct kms_key_parts parts = {.payload = {BYTES_LITERAL(PAYLOAD)}};
    struct kms_key key = {.state = KMS_KEY_ACTIVE, .extractable = true, .name = "many"};
    (void)snprintf(key.ring, sizeof(key.ring), "%s", KMS_RING_DEFAULT);
    for (int i = 0; i < PER_THREAD && one->status == STATUS_OK; i++) {
        struct kms_key found;
        key.id = uuid_of(one->number);
        key.id.bytes[1] = (uint8_t)i;
        one->status = kms_key_insert(one->fixture->kms, &key, &parts);
        if (one->status == STATUS_OK && /* refused, and nobody else suffers */
            kms_key_insert(one->fixture->kms, &key, &parts) != STATUS_EXISTS)
            one->status = STATUS_INTERNAL;
        if (one->status == STATUS_OK)
            one->status = kms_key_get(one->fixture->kms, &key.id, &found);
    }
    return NULL;
}

static void test_many_at_once(void **state)
{
    struct crowd crowd[THREADS];
    pthread_t threads[THREADS];
    for (uint8_t i = 0; i < THREADS; i++) {
        crowd[i] = (struct crowd){.fixture = *state, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_insert, &crowd[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(crowd[i].status, STATUS_OK);
    }
    reopen(*state);
    assert_int_equal(count_keys(*state, KMS_STATES_LISTED), THREADS * PER_THREAD);
}

/* ---- What goes wrong ---- */

/* Inserts keys until it is killed, telling of each that is kept. */
static void insert_for_ever(struct fixture *fixture, uint8_t round, int pipe_end)
{
    struct kms_key *key = new_key(round, true);
    open_kms(fixture);
    for (uint32_t i = 0;; i++) {
        memcpy(key->id.bytes + 4, &i, sizeof(i));
        if (insert(fixture, key) != STATUS_OK || write(pipe_end, &i, sizeof(i)) != sizeof(i))
            _exit(1);
    }
}

static void test_a_kill_loses_nothing(void **state)
{
    struct fixture *fixture = *state;
    int64_t least = 0;
    kms_close(fixture->kms);
    for (uint8_t round = 1; round <= 4; round++) {
        int ends[2];
        uint32_t last = 0;
        int status;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            insert_for_ever(fixture, round, ends[1]);
        assert_int_equal(close(ends[1]), 0);
        for (int i = 0; i < 5 * round; i++)
            assert_int_equal(read(ends[0], &last, sizeof(last)), sizeof(last));
        assert_int_equal(kill(child, SIGKILL), 0);
        while (read(ends[0], &last, sizeof(last)) == sizeof(last))
            continue;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(close(ends[0]), 0);
        least += last + 1;
        open_kms(fixture);
        int64_t count = count_keys(fixture, 0);
        assert_true(count >= least && count <= least + 1); /* the one that nobody was told of */
        least = count;
        if (round < 4)
            kms_close(fixture->kms);
    }
}

static void test_a_full_disk(void **state)
{
    struct fixture *fixture = *state;
    kms_close(fixture->kms);
    fault_vfs_install();
    open_kms(fixture);
    assert_int_equal(insert(fixture, new_key(1, true)), STATUS_OK);
    atomic_store(&faults.full_after, 1);
    assert_int_equal(insert(fixture, new_key(2, true)), STATUS_STORE_FULL);
    struct kms_key found;
    struct uuid id = uuid_of(1);
    assert_int_equal(kms_key_get(fixture->kms, &id, &found), STATUS_OK);
    id = uuid_of(2);
    assert_int_equal(kms_key_get(fixture->kms, &id, &found), STATUS_NOT_FOUND);
    atomic_store(&faults.full_after, 0);
    assert_int_equal(insert(fixture, new_key(2, true)), STATUS_OK);
    kms_close(fixture->kms);
    fault_vfs_remove();
    open_kms(fixture);
    assert_int_equal(count_keys(fixture, 0), 2);
}

static void test_a_failed_sync_is_the_end_of_writing(void **state)
{
    struct fixture *fixture = *state;
    kms_close(fixture->kms);
    fault_vfs_install();
    open_kms(fixture);
    assert_int_equal(insert(fixture, new_key(1, true)), STATUS_OK);
    atomic_store(&faults.log_sync, true);
    assert_int_equal(insert(fixture, new_key(2, true)), STATUS_STORE_FAILED);
    atomic_store(&faults.log_sync, false);
    assert_int_equal(insert(fixture, new_key(3, true)), STATUS_STORE_FAILED);
    struct kms_key found;
    struct uuid id = uuid_of(1);
    assert_int_equal(kms_key_get(fixture->kms, &id, &found), STATUS_OK);
    reopen(fixture);
    assert_int_equal(insert(fixture, new_key(3, true)), STATUS_OK);
    kms_close(fixture->kms);
    fault_vfs_remove();
    open_kms(fixture);
}

static void test_damage(void **state)
{
    struct fixture *fixture = *state;
    uint8_t noise[4096];
    struct stat file;
    for (uint8_t i = 1; i < 200; i++)
        assert_int_equal(insert(fixture, new_key(i, true)), STATUS_OK);
    kms_close(fixture->kms);
    fixture->kms = NULL;
    assert_int_equal(stat(fixture->path, &file), 0);
    memset(noise, 0xA5, sizeof(noise));
    int handle = open(fixture->path, O_WRONLY);
    for (off_t at = 4096; at + 4096 <= file.st_size; at += 4096)
        assert_int_equal(pwrite(handle, noise, sizeof(noise), at), sizeof(noise));
    assert_int_equal(close(handle), 0);
    if (try_open(fixture, false) != STATUS_OK)
        return; /* found at once */
    struct kms_key found;
    struct uuid id = uuid_of(3);
    assert_int_equal(kms_key_get(fixture->kms, &id, &found), STATUS_STORE_CORRUPT);
    assert_int_equal(insert(fixture, new_key(201, true)), STATUS_STORE_CORRUPT);
}

static void test_a_file_of_the_future(void **state)
{
    struct fixture *fixture = *state;
    sqlite3 *handle = NULL;
    kms_close(fixture->kms);
    fixture->kms = NULL;
    assert_int_equal(sqlite3_open(fixture->path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
    assert_int_equal(try_open(fixture, true), STATUS_STORE_NEWER);
    assert_non_null(strstr(fixture->error.text, "newer version"));
}

/* What a purge removes is not in the file either. */
static void test_a_purge_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct stat file;
    struct uuid id = uuid_of(1);
    assert_int_equal(insert(fixture, new_key(1, true)), STATUS_OK);
    reopen(fixture);
    assert_int_equal(kms_key_purge(fixture->kms, &id), STATUS_OK);
    kms_close(fixture->kms);
    fixture->kms = NULL;
    assert_int_equal(stat(fixture->path, &file), 0);
    char *content = malloc((size_t)file.st_size);
    int handle = open(fixture->path, O_RDONLY);
    assert_int_equal(read(handle, content, (size_t)file.st_size), file.st_size);
    assert_int_equal(close(handle), 0);
    assert_null(memmem(content, (size_t)file.st_size, PAYLOAD, strlen(PAYLOAD)));
    free(content);
}

/* ---- Opening ---- */

static void test_opening(void **state)
{
    struct fixture *fixture = *state;
    struct kms *second = NULL;
    assert_int_equal(kms_open(fixture->path, true, &second, &fixture->error), STATUS_BUSY);
    assert_non_null(strstr(fixture->error.text, "in use"));
    kms_close(fixture->kms);
    fixture->kms = NULL;

    assert_int_equal(unlink(fixture->path), 0);
    assert_int_equal(try_open(fixture, false), STATUS_NOT_FOUND);
    int file = open(fixture->path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(file, "no database, though long enough", 31), 31);
    assert_int_equal(close(file), 0);
    assert_int_equal(try_open(fixture, true), STATUS_STORE_CORRUPT);
    assert_non_null(strstr(fixture->error.text, fixture->path));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_service_ids, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_service_ids_are_listed_by_name, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_api_keys, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_a_service_id_takes_its_api_keys_along, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_a_key_is_kept_whole, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_keys_that_do_not_get_in, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_what_is_remembered_of_root_keys_follows_changes, set_up,
                                    tear_down),
    cmocka_unit_test_setup_teardown(test_a_search_has_a_limit, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_many_at_once, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_a_kill_loses_nothing, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_a_full_disk, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_a_failed_sync_is_the_end_of_writing, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_damage, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_a_file_of_the_future, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_a_purge_leaves_nothing, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_opening, set_up, tear_down),
};

int main(void)
{
    return cmocka_run_group_tests_name("kms", tests, NULL, NULL);
}
