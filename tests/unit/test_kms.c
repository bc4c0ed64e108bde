/* SPDX-License-Identifier: Apache-2.0 */
/* The resources of the served API in their database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kms/identities.h"
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
    cmocka_unit_test_setup_teardown(test_opening, set_up, tear_down),
};

int main(void)
{
    return cmocka_run_group_tests_name("kms", tests, NULL, NULL);
}
