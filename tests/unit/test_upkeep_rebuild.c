/* SPDX-License-Identifier: Apache-2.0 */
/* A store that was lost, made again from the records in the key manager. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/record.h"
#include "core_talk.h"
#include "dice.h"
#include "fake_keymanager.h"
#include "upkeep/inside.h"

#define PATIENCE 20000

/* A server whose adapter "default" is in the key manager. */
struct world {
    struct talk talk;
    struct upkeep *upkeep;
    struct core_session rebuilt;
};

struct fixture {
    struct keymanager *remote;
    struct uuid root_key;
    struct world lost;
    struct world found;
    char told[8192];
    unsigned told_count;
};

static void open_upkeep(struct world *world)
{
    struct upkeep_options options = {0};
    struct core_bench *bench = &world->talk.bench;
    options.policies[KEYMANAGER_KEY_PROTECT] = (struct upkeep_policy){
        .check_interval = 20, .cache_time = 60000, .jobs_max = 16, .store_wrapped_keys = true};
    assert_int_equal(upkeep_open(bench->core, bench->store, NULL, &bench->clock,
                                 &bench->keymanagers, &options, &world->upkeep, NULL),
                     STATUS_OK);
    world->upkeep->times = (struct upkeep_times){
        .tick = 5, .save = 1, .settle = 20, .retry_first = 4, .retry_most = 20};
}

static void open_world(struct fixture *fixture, struct world *world)
{
    talk_open(&world->talk);
    world->talk.bench.keymanagers.by_code[KEYMANAGER_KEY_PROTECT] = fixture->remote;
    open_upkeep(world);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    fixture->remote = fake_open(KEYMANAGER_KEY_PROTECT, 0);
    open_world(fixture, &fixture->lost);
    const struct root_key_wish wish = {.now = TALK_NOW * 1000};
    assert_int_equal(
        keymanager_create_root_key(fixture->remote, &wish, &fixture->root_key, NULL), STATUS_OK);
    struct core_bench *bench = &fixture->lost.talk.bench;
    assert_int_equal(store_adapter_move(bench->store, bench->session.adapter,
                                        KEYMANAGER_KEY_PROTECT, &fixture->root_key),
                     STATUS_OK);
    bench->session.key_manager = KEYMANAGER_KEY_PROTECT;
    bench->session.root_key = fixture->root_key;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    upkeep_close(fixture->found.upkeep);
    if (fixture->found.talk.bench.core != NULL)
        talk_close(&fixture->found.talk);
    upkeep_close(fixture->lost.upkeep);
    talk_close(&fixture->lost.talk);
    keymanager_close(fixture->remote);
    free(fixture);
    return 0;
}

/* ---- Recording ---- */

static bool note_due(void *context, struct stored_object *object, const struct record_row *row)
{
    ++*(size_t *)context;
    return false;
}

static bool is_recorded(struct world *world)
{
    struct core_bench *bench = &world->talk.bench;
    struct record_left left;
    size_t due = 0;
    size_t left_count = 0;
    int64_t next;
    assert_int_equal(store_records_left(bench->session_store, NULL, 1, &left, &left_count),
                     STATUS_OK);
    assert_int_equal(store_records_due(bench->session_store, bench->session.adapter, 0, 1,
                                       note_due, &due, &next),
                     STATUS_OK);
    return due == 0 && left_count == 0;
}

static void record_all(struct world *world)
{
    int64_t until = clock_monotonic() + PATIENCE;
    assert_int_equal(upkeep_start(world->upkeep, NULL), STATUS_OK);
    while (!is_recorded(world)) {
        assert_true(clock_monotonic() < until);
        (void)usleep(1000);
    }
    upkeep_close(world->upkeep);
    world->upkeep = NULL;
}

/* ---- Rebuilding ---- */

static void note_failure(void *context, const char *record, const char *why)
{
    struct fixture *fixture = context;
    size_t length = strlen(fixture->told);
    (void)snprintf(fixture->told + length, sizeof(fixture->told) - length, "%s: %s\n", record, why);
    fixture->told_count++;
}

static bool find_rebuilt(void *context, const struct adapter_row *row)
{
    struct fixture *fixture = context;
    if (!uuid_equal(&row->uuid, &fixture->lost.talk.bench.session.adapter_uuid))
        return true;
    struct core_session *session = &fixture->found.rebuilt;
    *session = (struct core_session){.adapter = row->id,
                                     .adapter_uuid = row->uuid,
                                     .key_manager = row->key_manager,
                                     .root_key = row->root_key};
    (void)snprintf(session->adapter_name, sizeof(session->adapter_name), "%s", row->name);
    return false;
}

static struct upkeep_rebuilt rebuild_only(struct fixture *fixture, const struct uuid *only)
{
    struct upkeep_rebuilt rebuilt = {0};
    struct error error = {0};
    if (fixture->found.upkeep == NULL)
        open_world(fixture, &fixture->found);
    fixture->told[0] = '\0';
    fixture->told_count = 0;
    if (upkeep_rebuild(fixture->found.upkeep, KEYMANAGER_KEY_PROTECT, only, note_failure, fixture,
                       &rebuilt, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    assert_int_equal(rebuilt.failed, fixture->told_count);
    struct core_bench *bench = &fixture->found.talk.bench;
    assert_int_equal(store_adapters(bench->session_store, find_rebuilt, fixture), STATUS_OK);
    fixture->found.talk.session = &fixture->found.rebuilt;
    return rebuilt;
}

static struct upkeep_rebuilt rebuild(struct fixture *fixture)
{
    return rebuild_only(fixture, NULL);
}

struct comparison {
    struct fixture *fixture;
    size_t alive;
};

static bool compare_object(void *context, struct stored_object *object)
{
    struct comparison *comparison = context;
    struct fixture *fixture = comparison->fixture;
    const struct object_row *row = &object->row;
    struct stored_object *made = NULL;
    enum status status = store_get(fixture->found.talk.bench.session_store,
                                   fixture->found.rebuilt.adapter, &row->id, &made);
    if (row->state == 5 || row->state == 6) {
        assert_int_equal(status, STATUS_OBJECT_NOT_FOUND);
        return true;
    }
    assert_int_equal(status, STATUS_OK);
    assert_int_equal(made->row.version, row->version);
    assert_int_equal(made->row.object_type, row->object_type);
    assert_int_equal(made->row.state, row->state);
    assert_true(bytes_equal(made->row.attributes, row->attributes));
    assert_true(bytes_equal(made->row.wrapped.blob, row->wrapped.blob));
    stored_object_release(made);
    comparison->alive++;
    return true;
}

static size_t compare_worlds(struct fixture *fixture)
{
    struct comparison comparison = {.fixture = fixture};
    const struct core_bench *bench = &fixture->lost.talk.bench;
    const struct store_query query = {.adapter = bench->session.adapter, .limit = 100000};
    int64_t next;
    assert_int_equal(store_find(bench->session_store, &query, compare_object, &comparison, &next),
                     STATUS_OK);
    assert_int_equal(next, 0);
    return comparison.alive;
}

/* ---- Tests ---- */

struct known {
    char id[UUID_TEXT_LENGTH + 1];
    char name[32];
    bool destroyed;
};

static void remember(struct known *known, struct bytes id)
{
    memcpy(known->id, id.data, UUID_TEXT_LENGTH);
    known->id[UUID_TEXT_LENGTH] = '\0';
}

static void make_object(struct talk *talk, struct dice *dice, struct known *known, unsigned i)
{
    (void)snprintf(known->name, sizeof(known->name), "name-%u", i);
    struct kmip_list with = WITH(named("Name", name_value(known->name)),
                                 named("x-vendor", text(i % 3 == 0 ? "VMware" : "other")));
    switch (dice_below(dice, 4)) {
    case 0:
        remember(known, register_opaque(talk, with));
        break;
    case 1:
        remember(known, register_secret(talk, with));
        break;
    default:
        remember(known, create(talk, with));
    }
}

static void change_object(struct talk *talk, struct dice *dice, struct known *known)
{
    struct bytes id = bytes_of_text(known->id);
    switch (dice_below(dice, 4)) {
    case 0:
        (void)by_id(talk, KMIP_OPERATION_ACTIVATE, id);
        break;
    case 1:
        (void)by_id(talk, KMIP_OPERATION_DESTROY, id);
        break;
    case 2:
        (void)add_attribute(talk, id, named("x-more", long_integer(dice_below(dice, 1000))));
        break;
    default:
        (void)by_id(talk, KMIP_OPERATION_GET, id);
    }
}

/* Whatever was done to objects: those that are rebuilt are what they were. */
static void test_rebuilt_store_equals_the_lost_one(void **state)
{
    struct fixture *fixture = *state;
    struct talk *talk = &fixture->lost.talk;
    struct dice dice = {.state = 4711};
    static struct known known[120];
    for (unsigned i = 0; i < ARRAY_COUNT(known); i++) {
        make_object(talk, &dice, &known[i], i);
        for (unsigned j = 0; j < 3; j++)
            change_object(talk, &dice, &known[dice_below(&dice, i + 1)]);
        talk_forget(talk);
    }
    record_all(&fixture->lost);
    size_t records = fake_record_count(fixture->remote);
    struct upkeep_rebuilt rebuilt = rebuild(fixture);
    assert_int_equal(rebuilt.adapters, 1);
    assert_int_equal(rebuilt.objects, compare_worlds(fixture));
    assert_int_equal(rebuilt.objects, records);
    assert_int_equal(rebuilt.failed, 0);
    assert_int_equal(rebuilt.present, 0);
    assert_int_equal(rebuilt.disabled, 0);
    assert_true(rebuilt.objects > 50 && rebuilt.objects < 120);
    assert_string_equal(fixture->found.rebuilt.adapter_name, "default-2"); /* its own is there */
    /* It can be used, and rebuilt again. */
    assert_true(is_recorded(&fixture->found));
    for (unsigned i = 0; i < ARRAY_COUNT(known); i += 5) {
        struct talk *again = &fixture->found.talk;
        struct kmip_list found =
            locate(again, WITH(named("Name", name_value(known[i].name))));
        const struct kmip_response_item *got =
            by_id(again, KMIP_OPERATION_GET, bytes_of_text(known[i].id));
        if (found.count > 0)
            assert_success(got);
        talk_forget(again);
    }
    rebuilt = rebuild(fixture);
    assert_int_equal(rebuilt.adapters, 0);
    assert_int_equal(rebuilt.objects, 0);
    assert_int_equal(rebuilt.present, records);
}

static struct uuid uuid_of(struct bytes id)
{
    struct uuid uuid;
    assert_true(uuid_parse(id, &uuid));
    return uuid;
}

static const char *name_of(const struct uuid *id)
{
    static char name[CORE_RECORD_NAME_SIZE];
    core_record_name(id, name);
    return name;
}

static void test_disabled_and_deleted_records(void **state)
{
    struct fixture *fixture = *state;
    struct talk *talk = &fixture->lost.talk;
    const struct uuid ids[] = {uuid_of(create_key(talk)), uuid_of(create_key(talk)),
                               uuid_of(create_key(talk))};
    record_all(&fixture->lost);
    assert_true(fake_record_set_state(fixture->remote, name_of(&ids[0]), ROOT_KEY_SUSPENDED));
    assert_true(fake_record_set_state(fixture->remote, name_of(&ids[1]), ROOT_KEY_DESTROYED));
    struct upkeep_rebuilt rebuilt = rebuild(fixture);
    assert_int_equal(rebuilt.objects, 2);
    assert_int_equal(rebuilt.disabled, 1);
    struct record_row row;
    struct core_bench *bench = &fixture->found.talk.bench;
    assert_int_equal(store_record_get(bench->session_store, &ids[0], &row), STATUS_OK);
    assert_true(row.withdrawn);
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(&ids[0], text);
    const struct kmip_response_item *answer =
        by_id(&fixture->found.talk, KMIP_OPERATION_GET, bytes_of_text(text));
    assert_reason(answer, KMIP_RESULT_REASON_PERMISSION_DENIED);
}

/* Puts what the store has of an object under another version, changed by `change`. */
static void put_variant(struct fixture *fixture, const struct uuid *id, int64_t version,
                        void (*change)(struct core_record *record, struct buffer *bytes))
{
    struct core_bench *bench = &fixture->lost.talk.bench;
    struct stored_object *object;
    struct buffer bytes;
    struct uuid record_id;
    assert_int_equal(store_get(bench->session_store, bench->session.adapter, id, &object),
                     STATUS_OK);
    struct core_record record = {.object = *id,
                                 .version = version,
                                 .object_type = object->row.object_type,
                                 .state = object->row.state,
                                 .adapter = bench->session.adapter_uuid,
                                 .adapter_name = BYTES_LITERAL("default"),
                                 .key_manager = KEYMANAGER_KEY_PROTECT,
                                 .root_key = fixture->root_key,
                                 .attributes = object->row.attributes,
                                 .wrapped = object->row.wrapped};
    buffer_init(&bytes, KEYMANAGER_RECORD_MAX);
    change(&record, NULL);
    assert_int_equal(core_record_encode(&record, &bytes), STATUS_OK);
    change(NULL, &bytes);
    assert_int_equal(keymanager_record_put(fixture->remote, name_of(id), buffer_bytes(&bytes),
                                           &record_id, NULL),
                     STATUS_OK);
    buffer_free(&bytes);
    stored_object_release(object);
}

static void change_nothing(struct core_record *record, struct buffer *bytes)
{
}

static void damage(struct core_record *record, struct buffer *bytes)
{
    if (bytes != NULL)
        bytes->data[bytes->size / 2] ^= 1;
}

static void make_newer(struct core_record *record, struct buffer *bytes)
{
    if (bytes != NULL)
        bytes->data[3]++;
}

/* Authentic in form, but the key is not the object's. */
static void change_key(struct core_record *record, struct buffer *bytes)
{
    static uint8_t changed[1024];
    if (record == NULL)
        return;
    assert_true(record->wrapped.blob.size <= sizeof(changed));
    memcpy(changed, record->wrapped.blob.data, record->wrapped.blob.size);
    changed[record->wrapped.blob.size - 1] ^= 1;
    record->wrapped.blob.data = changed;
}

static void test_records_that_cannot_be_used(void **state)
{
    struct fixture *fixture = *state;
    struct talk *talk = &fixture->lost.talk;
    struct uuid ids[5];
    for (size_t i = 0; i < ARRAY_COUNT(ids); i++)
        ids[i] = uuid_of(create_key(talk));
    record_all(&fixture->lost);
    for (size_t i = 0; i < 4; i++)
        assert_true(fake_record_set_state(fixture->remote, name_of(&ids[i]), ROOT_KEY_DESTROYED));
    put_variant(fixture, &ids[0], 7, damage);
    put_variant(fixture, &ids[1], 7, make_newer);
    put_variant(fixture, &ids[2], 7, change_key);
    put_variant(fixture, &ids[3], 3, change_nothing); /* several: the newest that can be read */
    put_variant(fixture, &ids[3], 9, change_nothing);
    put_variant(fixture, &ids[3], 5, change_nothing);
    put_variant(fixture, &ids[3], 11, damage);
    struct upkeep_rebuilt rebuilt = rebuild(fixture);
    assert_int_equal(rebuilt.objects, 2);
    assert_int_equal(rebuilt.failed, 4);
    assert_non_null(strstr(fixture->told, "damaged"));
    assert_non_null(strstr(fixture->told, "newer version"));
    assert_non_null(strstr(fixture->told, "does not open"));
    assert_non_null(strstr(fixture->told, name_of(&ids[0])));
    struct stored_object *object;
    assert_int_equal(store_get(fixture->found.talk.bench.session_store,
                               fixture->found.rebuilt.adapter, &ids[3], &object),
                     STATUS_OK);
    assert_int_equal(object->row.version, 9);
    stored_object_release(object);
}

static void test_root_key_that_is_disabled(void **state)
{
    struct fixture *fixture = *state;
    (void)create_key(&fixture->lost.talk);
    record_all(&fixture->lost);
    assert_int_equal(
        keymanager_set_state(fixture->remote, &fixture->root_key, ROOT_KEY_SUSPENDED, NULL),
        STATUS_OK);
    struct upkeep_rebuilt rebuilt = rebuild(fixture);
    assert_int_equal(rebuilt.objects, 1);
    assert_int_equal(rebuilt.failed, 1);
    assert_non_null(strstr(fixture->told, "cannot be opened now"));
    assert_int_equal(compare_worlds(fixture), 1);
}

static void test_one_adapter_alone(void **state)
{
    struct fixture *fixture = *state;
    (void)create_key(&fixture->lost.talk);
    record_all(&fixture->lost);
    const struct uuid other = {{9}};
    struct upkeep_rebuilt rebuilt = rebuild_only(fixture, &other);
    assert_int_equal(rebuilt.adapters + rebuilt.objects + rebuilt.failed, 0);
    rebuilt = rebuild_only(fixture, &fixture->lost.talk.bench.session.adapter_uuid);
    assert_int_equal(rebuilt.objects, 1);
}

static void test_what_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct upkeep_rebuilt rebuilt = {0};
    struct error error = {0};
    struct upkeep *upkeep = fixture->lost.upkeep;
    (void)create_key(&fixture->lost.talk);
    assert_int_equal(upkeep_rebuild(upkeep, KEYMANAGER_SEALED_FILE, NULL, NULL, NULL, &rebuilt,
                                    &error),
                     STATUS_FEATURE_NOT_SUPPORTED);
    assert_int_equal(upkeep_rebuild(upkeep, KEYMANAGER_PKCS11, NULL, NULL, NULL, &rebuilt, &error),
                     STATUS_KEY_MANAGER_UNAVAILABLE);
    fake_fail(fixture->remote, STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(upkeep_rebuild(upkeep, KEYMANAGER_KEY_PROTECT, NULL, NULL, NULL, &rebuilt,
                                    &error),
                     STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_non_null(strstr(error.text, "listed"));
    fake_fail(fixture->remote, STATUS_OK);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rebuilt_store_equals_the_lost_one),
        TEST(test_disabled_and_deleted_records),
        TEST(test_records_that_cannot_be_used),
        TEST(test_root_key_that_is_disabled),
        TEST(test_one_adapter_alone),
        TEST(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
