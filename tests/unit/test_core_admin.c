/* SPDX-License-Identifier: Apache-2.0 */
/* What an administrator does with objects: find, show, destroy, restore, make one; and values as
 * people read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/admin.h"
#include "core/attributes.h"
#include "core_talk.h"
#include "keymanager/memory.h"

static struct adapter_row adapter_of(struct talk *talk, const char *name)
{
    struct adapter_row row;
    assert_int_equal(store_adapter_find(talk->bench.session_store, bytes_of_text(name), &row),
                     STATUS_OK);
    return row;
}

/* ---- Finding ---- */

#define SEEN_MAX 64

struct seen {
    size_t count;
    size_t stop_at; /* 0: never */
    struct uuid ids[SEEN_MAX];
    int64_t sequences[SEEN_MAX];
    uint32_t states[SEEN_MAX];
    size_t attributes[SEEN_MAX];
};

static bool note(void *context, const struct core_admin_object *object)
{
    struct seen *seen = context;
    if (seen->count < SEEN_MAX) {
        seen->ids[seen->count] = object->id;
        seen->sequences[seen->count] = object->sequence;
        seen->states[seen->count] = object->state;
        seen->attributes[seen->count] = object->attributes.count;
    }
    seen->count++;
    return seen->count != seen->stop_at;
}

static struct seen find(struct talk *talk, struct core_admin_query query)
{
    struct seen seen = {0};
    struct adapter_row adapter = adapter_of(talk, "default");
    if (query.limit == 0)
        query.limit = SEEN_MAX;
    assert_int_equal(
        core_admin_find(talk->bench.core, talk->bench.session_store, &adapter, &query, note, &seen),
        STATUS_OK);
    return seen;
}

static bool is_id(const struct uuid *uuid, struct bytes id)
{
    struct uuid parsed;
    return uuid_parse(id, &parsed) && uuid_equal(&parsed, uuid);
}

static void objects_are_found_by_what_vsphere_wrote(void **state)
{
    struct talk *talk = *state;
    const struct core_admin_filter by_name[] = {{BYTES_LITERAL("x-Name"), BYTES_LITERAL("vm-7")}};
    const struct core_admin_filter both[] = {
        {BYTES_LITERAL("x-Name"), BYTES_LITERAL("vm-7")},
        {BYTES_LITERAL("x-Component"), BYTES_LITERAL("ESXi Server")}};
    const struct core_admin_filter named_so[] = {{BYTES_LITERAL("Name"), BYTES_LITERAL("a name")}};
    const struct core_admin_filter contact[] = {
        {BYTES_LITERAL("Contact Information"), BYTES_LITERAL("mail")}};
    const struct core_admin_filter comment[] = {{BYTES_LITERAL("Comment"), BYTES_LITERAL("c")}};
    struct bytes vm = create(talk, WITH(named("x-Name", text("vm-7")), named("Comment", text("c")),
                                        named("x-Component", text("Virtual Machine"))));
    struct bytes host = create(
        talk, WITH(named("x-Name", text("vm-7")), named("x-Component", text("ESXi Server"))));
    struct bytes other = create(talk, WITH(named("Name", name_value("a name")),
                                           named("Contact Information", text("mail"))));
    struct seen seen = find(talk, (struct core_admin_query){.filters = by_name, .filter_count = 1});
    assert_int_equal(seen.count, 2);
    assert_true(is_id(&seen.ids[0], vm)); /* oldest first */
    assert_true(is_id(&seen.ids[1], host));
    assert_true(seen.sequences[0] < seen.sequences[1]);
    seen = find(talk, (struct core_admin_query){.filters = both, .filter_count = 2});
    assert_int_equal(seen.count, 1);
    assert_true(is_id(&seen.ids[0], host));
    seen = find(talk, (struct core_admin_query){.filters = named_so, .filter_count = 1});
    assert_true(seen.count == 1 && is_id(&seen.ids[0], other));
    seen = find(talk, (struct core_admin_query){.filters = contact, .filter_count = 1});
    assert_true(seen.count == 1 && is_id(&seen.ids[0], other));
    seen = find(talk, (struct core_admin_query){.filters = comment, .filter_count = 1});
    assert_true(seen.count == 1 && is_id(&seen.ids[0], vm)); /* not indexed */
    assert_int_equal(find(talk, (struct core_admin_query){0}).count, 3);
}

static void states_choose_what_is_found(void **state)
{
    struct talk *talk = *state;
    struct bytes dated = create(talk, WITH(named("Activation Date", date(TALK_NOW + 100))));
    struct bytes gone = create_key(talk);
    struct bytes opaque = register_opaque(talk, WITHOUT);
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, gone));
    const struct core_admin_query pre_active = {.states = STORE_STATE_BIT(KMIP_STATE_PRE_ACTIVE)};
    const struct core_admin_query active = {.states = STORE_STATE_BIT(KMIP_STATE_ACTIVE)};
    const struct core_admin_query destroyed = {.states = STORE_STATE_BIT(KMIP_STATE_DESTROYED)};
    const struct core_admin_query stateless = {.states = STORE_STATE_BIT(0)};
    assert_int_equal(find(talk, pre_active).count, 1);
    assert_int_equal(find(talk, active).count, 0);
    talk_wait(talk, 100);
    assert_int_equal(find(talk, pre_active).count, 0);
    struct seen seen = find(talk, active);
    assert_true(seen.count == 1 && is_id(&seen.ids[0], dated));
    assert_int_equal(seen.states[0], KMIP_STATE_ACTIVE);
    seen = find(talk, destroyed);
    assert_true(seen.count == 1 && is_id(&seen.ids[0], gone));
    seen = find(talk, stateless);
    assert_true(seen.count == 1 && is_id(&seen.ids[0], opaque));
    assert_int_equal(find(talk, (struct core_admin_query){0}).count, 2); /* all but destroyed */
}

static void listings_come_in_pages(void **state)
{
    struct talk *talk = *state;
    enum { ALL = 23, PAGE = 5 };
    struct bytes ids[ALL];
    for (int i = 0; i < ALL; i++)
        ids[i] = create_key(talk);
    struct core_admin_query query = {.limit = PAGE};
    size_t total = 0;
    for (;;) {
        struct seen seen = find(talk, query);
        for (size_t i = 0; i < seen.count; i++)
            assert_true(is_id(&seen.ids[i], ids[total + i]));
        total += seen.count;
        if (seen.count < PAGE)
            break;
        query.after = seen.sequences[seen.count - 1];
    }
    assert_int_equal(total, ALL);
    struct seen stopped = {.stop_at = 3};
    struct adapter_row adapter = adapter_of(talk, "default");
    assert_int_equal(core_admin_find(talk->bench.core, talk->bench.session_store, &adapter, &query,
                                     note, &stopped),
                     STATUS_OK);
    query = (struct core_admin_query){.limit = 100};
    stopped = (struct seen){.stop_at = 3};
    assert_int_equal(core_admin_find(talk->bench.core, talk->bench.session_store, &adapter, &query,
                                     note, &stopped),
                     STATUS_OK);
    assert_int_equal(stopped.count, 3);
    query.limit = 0;
    assert_int_equal(core_admin_find(talk->bench.core, talk->bench.session_store, &adapter, &query,
                                     note, &stopped),
                     STATUS_OK);
    assert_int_equal(stopped.count, 3);
}

/* However much is written on objects, a listing takes the memory of one. */
static void large_objects_are_listed_too(void **state)
{
    struct talk *talk = *state;
    char names[900][16];
    struct kmip_named_attribute attributes[900];
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "x-%zu", i);
        attributes[i] = named(names[i], integer((int32_t)i));
    }
    for (int i = 0; i < 60; i++)
        create(talk, (struct kmip_list){ARRAY_COUNT(names), attributes});
    struct seen seen = find(talk, (struct core_admin_query){0});
    assert_int_equal(seen.count, 60);
    assert_true(seen.attributes[59] > 900);
}

static void adapters_are_listed_apart(void **state)
{
    struct talk *talk = *state;
    struct core_session other;
    create_key(talk);
    core_bench_adapter(&talk->bench, "other", &other);
    talk->session = &other;
    struct bytes id = create_key(talk);
    assert_int_equal(find(talk, (struct core_admin_query){0}).count, 1);
    struct uuid uuid;
    struct seen seen = {0};
    struct adapter_row first = adapter_of(talk, "default");
    assert_true(uuid_parse(id, &uuid));
    assert_int_equal(
        core_admin_show(talk->bench.core, talk->bench.session_store, &first, &uuid, note, &seen),
        STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(
        core_admin_destroy(talk->bench.core, talk->bench.session_store, &first, &uuid, true),
        STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(core_admin_restore(talk->bench.core, talk->bench.session_store, &first, &uuid),
                     STATUS_OBJECT_NOT_FOUND);
    assert_int_equal(seen.count, 0);
    assert_int_equal(state_of(talk, id), KMIP_STATE_PRE_ACTIVE);
}

/* ---- Showing ---- */

static void an_object_is_shown_as_clients_see_it(void **state)
{
    struct talk *talk = *state;
    struct uuid uuid;
    struct seen seen = {0};
    struct adapter_row adapter = adapter_of(talk, "default");
    struct bytes id = create(talk, WITH(named("x-a", integer(1))));
    assert_true(uuid_parse(id, &uuid));
    assert_int_equal(
        core_admin_show(talk->bench.core, talk->bench.session_store, &adapter, &uuid, note, &seen),
        STATUS_OK);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.attributes[0], attributes_of(talk, id).count);
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
    assert_int_equal(
        core_admin_show(talk->bench.core, talk->bench.session_store, &adapter, &uuid, note, &seen),
        STATUS_OK); /* destroyed or not */
    assert_int_equal(seen.states[1], KMIP_STATE_DESTROYED);
}

/* ---- Restoring ---- */

static enum status restore(struct talk *talk, struct bytes id)
{
    struct uuid uuid;
    struct adapter_row adapter = adapter_of(talk, "default");
    assert_true(uuid_parse(id, &uuid));
    return core_admin_restore(talk->bench.core, talk->bench.session_store, &adapter, &uuid);
}

static enum status destroy(struct talk *talk, struct bytes id, bool force)
{
    struct uuid uuid;
    struct adapter_row adapter = adapter_of(talk, "default");
    assert_true(uuid_parse(id, &uuid));
    return core_admin_destroy(talk->bench.core, talk->bench.session_store, &adapter, &uuid, force);
}

/* vSphere asks administrators to do this, and KMIP has no operation for it. */
static void a_deactivated_key_is_restored(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    struct bytes key = key_of(talk, id);
    assert_success(by_id(talk, KMIP_OPERATION_ACTIVATE, id));
    talk_wait(talk, 10);
    assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_CESSATION_OF_OPERATION));
    talk_wait(talk, 10);
    assert_int_equal(restore(talk, id), STATUS_OK);
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
    assert_null(attribute_of(talk, id, "Deactivation Date", 0));
    assert_null(attribute_of(talk, id, "Revocation Reason", 0));
    assert_int_equal(number_of(talk, id, "Activation Date"), TALK_NOW);
    assert_int_equal(number_of(talk, id, "Last Change Date"), TALK_NOW + 20);
    assert_true(bytes_equal(key_of(talk, id), key));
    talk_wait(talk, 100000);
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE); /* and stays so */
    assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_UNSPECIFIED));
    assert_int_equal(state_of(talk, id), KMIP_STATE_DEACTIVATED); /* and may be revoked again */
}

/* By its date, which the store does not know of. */
static void a_key_that_ran_out_is_restored(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Activation Date", date(TALK_NOW)),
                                        named("Deactivation Date", date(TALK_NOW + 10))));
    assert_int_equal(restore(talk, id), STATUS_PERMISSION_DENIED);
    talk_wait(talk, 10);
    assert_int_equal(state_of(talk, id), KMIP_STATE_DEACTIVATED);
    assert_int_equal(restore(talk, id), STATUS_OK);
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
}

static void nothing_else_is_restored(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    assert_int_equal(restore(talk, id), STATUS_PERMISSION_DENIED); /* Pre-Active */
    assert_success(by_id(talk, KMIP_OPERATION_ACTIVATE, id));
    assert_int_equal(restore(talk, id), STATUS_PERMISSION_DENIED); /* Active */
    assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE));
    assert_int_equal(restore(talk, id), STATUS_PERMISSION_DENIED); /* Compromised */
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
    assert_int_equal(restore(talk, id), STATUS_PERMISSION_DENIED);
    assert_int_equal(restore(talk, register_opaque(talk, WITHOUT)), STATUS_PERMISSION_DENIED);
    assert_int_equal(restore(talk, BYTES_LITERAL("0190163d-ecbc-7ae4-bee4-dd9a4a43d9b5")),
                     STATUS_OBJECT_NOT_FOUND);
}

/* ---- Destroying ---- */

static void an_active_key_is_destroyed_by_force_alone(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    assert_success(by_id(talk, KMIP_OPERATION_ACTIVATE, id));
    talk_wait(talk, 10);
    assert_int_equal(destroy(talk, id, false), STATUS_PERMISSION_DENIED);
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
    assert_int_equal(destroy(talk, id, true), STATUS_OK);
    assert_int_equal(state_of(talk, id), KMIP_STATE_DESTROYED);
    assert_int_equal(number_of(talk, id, "Deactivation Date"), TALK_NOW + 10);
    assert_int_equal(number_of(talk, id, "Destroy Date"), TALK_NOW + 10);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    assert_int_equal(destroy(talk, id, true), STATUS_PERMISSION_DENIED);
}

static void what_is_not_active_needs_no_force(void **state)
{
    struct talk *talk = *state;
    struct bytes compromised = create_key(talk);
    struct bytes opaque = register_opaque(talk, WITHOUT);
    assert_success(revoke_key(talk, compromised, KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE));
    assert_int_equal(destroy(talk, create_key(talk), false), STATUS_OK);
    assert_int_equal(destroy(talk, compromised, true), STATUS_OK);
    assert_int_equal(state_of(talk, compromised), KMIP_STATE_DESTROYED_COMPROMISED);
    assert_int_equal(destroy(talk, opaque, false), STATUS_OK);
    assert_int_equal(destroy(talk, opaque, true), STATUS_PERMISSION_DENIED);
}

/* ---- Making one by hand ---- */

static void a_key_is_made_by_hand(void **state)
{
    struct talk *talk = *state;
    struct uuid uuid;
    char id_text[UUID_TEXT_LENGTH + 1];
    struct adapter_row adapter = adapter_of(talk, "default");
    for (int i = 0; i < 2; i++) { /* with and without a name */
        struct bytes name = i == 0 ? BYTES_LITERAL("by hand") : BYTES_LITERAL("");
        assert_int_equal(core_admin_create_key(talk->bench.core, talk->bench.session_store,
                                               &adapter, name, &uuid),
                         STATUS_OK);
        uuid_text(&uuid, id_text);
        struct bytes id = bytes_of_text(id_text);
        assert_int_equal(key_of(talk, id).size, 32);
        assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
        assert_int_equal(number_of(talk, id, "Cryptographic Usage Mask"), 12);
        assert_int_equal(instances_of(talk, id, "Name"), i == 0);
    }
    assert_int_equal(core_admin_create_key(talk->bench.core, talk->bench.session_store, &adapter,
                                           BYTES_LITERAL("by hand"), &uuid),
                     STATUS_NAME_EXISTS);
    keymanager_memory_fail(talk->bench.keymanager, STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(core_admin_create_key(talk->bench.core, talk->bench.session_store, &adapter,
                                           BYTES_LITERAL("x"), &uuid),
                     STATUS_KEY_MANAGER_UNAVAILABLE);
    keymanager_memory_fail(talk->bench.keymanager, STATUS_OK);
    assert_int_equal(find(talk, (struct core_admin_query){0}).count, 2);
}

/* ---- Values as text ---- */

static void assert_text(const char *name, struct kmip_any value, const char *expected)
{
    struct buffer written;
    const struct kmip_named_attribute attribute = named(name, value);
    buffer_init(&written, 4096);
    core_admin_value_text(&attribute, &written);
    buffer_append(&written, "", 1);
    assert_int_equal(buffer_status(&written), STATUS_OK);
    assert_string_equal((const char *)written.data, expected);
    buffer_free(&written);
}

static void values_are_written_for_people(void **state)
{
    (void)state;
    const struct kmip_any extended = {TTLV_DATE_TIME_EXTENDED, date(1).value};
    const struct kmip_any big = {TTLV_BIG_INTEGER, BYTES_LITERAL("\0\0\0\0\0\0\1\xFF")};
    const struct {
        const char *name;
        struct kmip_any value;
        const char *text;
    } values[] = {
        {"State", enumeration(KMIP_STATE_PRE_ACTIVE), "Pre-Active"},
        {"Object Type", enumeration(KMIP_OBJECT_TYPE_SYMMETRIC_KEY), "Symmetric Key"},
        {"Cryptographic Algorithm", enumeration(KMIP_CRYPTOGRAPHIC_ALGORITHM_AES), "AES"},
        {"Cryptographic Algorithm", enumeration(0x80000001), "0x80000001"},
        {"Cryptographic Length", integer(256), "256"},
        {"Cryptographic Usage Mask", integer(12), "Encrypt, Decrypt"},
        {"Cryptographic Usage Mask", integer(0), ""},
        {"Cryptographic Usage Mask", integer(4 | INT32_MIN), "Encrypt, 0x80000000"},
        {"Initial Date", date(TALK_NOW), "2023-11-14T22:13:20Z"},
        {"Initial Date", date(0), "1970-01-01T00:00:00Z"},
        {"Initial Date", date(-1), "1969-12-31T23:59:59Z"},
        {"Activation Date", date(253402300799), "9999-12-31T23:59:59Z"},
        {"Activation Date", date(253402300800), "253402300800"},
        {"Activation Date", date(INT64_MAX), "9223372036854775807"},
        {"Activation Date", date(INT64_MIN), "-9223372036854775808"},
        {"Lease Time", interval(3600), "3600"},
        {"Fresh", boolean(true), "true"},
        {"Fresh", boolean(false), "false"},
        {"Name", name_value("a name"), "a name"},
        {"Name", {TTLV_STRUCTURE, BYTES_LITERAL("")}, ""},
        {"Object Group", text("group"), "group"},
        {"Application Specific Information", application_value("space", "data"),
         "Application Namespace: space, Application Data: data"},
        {"Link", link_value(KMIP_LINK_TYPE_PARENT_LINK, BYTES_LITERAL("id")),
         "Link Type: Parent Link, Linked Object Identifier: id"},
        {"x-integer", integer(-5), "-5"},
        {"x-long", long_integer(INT64_MIN), "-9223372036854775808"},
        {"x-enumeration", enumeration(7), "7"},
        {"x-bytes", byte_string("\001\377"), "01ff"},
        {"x-big", big, "00000000000001ff"},
        {"x-empty", byte_string(""), ""},
        {"x-text", text("\xC3\xA4"), "\xC3\xA4"},
        {"x-date", date(TALK_NOW), "2023-11-14T22:13:20Z"},
        {"x-extended", extended, "1"},
        {"x-boolean", boolean(true), "true"},
        {"x-interval", interval(UINT32_MAX), "4294967295"},
        {"x-structure", name_value("n"), "Name Value: n, Name Type: Uninterpreted Text String"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(values); i++)
        assert_text(values[i].name, values[i].value, values[i].text);
}

/* Every attribute that objects have, without a crash and without an empty text. */
static bool write_all(void *context, const struct core_admin_object *object)
{
    const struct kmip_named_attribute *attributes = object->attributes.items;
    for (size_t i = 0; i < object->attributes.count; i++) {
        struct buffer written;
        buffer_init(&written, 65536);
        core_admin_value_text(&attributes[i], &written);
        assert_int_equal(buffer_status(&written), STATUS_OK);
        assert_true(written.size > 0);
        buffer_free(&written);
    }
    ++*(size_t *)context;
    return true;
}

static void all_that_is_shown_has_a_text(void **state)
{
    struct talk *talk = *state;
    size_t count = 0;
    const struct core_admin_query query = {.limit = 10};
    struct adapter_row adapter = adapter_of(talk, "default");
    create(talk, WITH(named("Usage Limits", usage_limits(5, -1)), named("x-a", name_value("b"))));
    register_secret(talk, WITH(named("Cryptographic Usage Mask", integer(1))));
    register_opaque(talk, WITHOUT);
    assert_int_equal(core_admin_find(talk->bench.core, talk->bench.session_store, &adapter, &query,
                                     write_all, &count),
                     STATUS_OK);
    assert_int_equal(count, 3);
}

/* A text that does not fit is told by the buffer, and stays inside. */
static void texts_stay_in_their_buffer(void **state)
{
    (void)state;
    char memory[8];
    for (size_t size = 0; size <= sizeof(memory); size++) {
        struct buffer small;
        const struct kmip_named_attribute attribute = named("x-a", name_value("a long name"));
        const struct kmip_named_attribute bytes = named("x-b", byte_string("12345"));
        buffer_over(&small, memory, size);
        core_admin_value_text(&attribute, &small);
        assert_int_equal(buffer_status(&small), STATUS_TOO_LARGE);
        buffer_over(&small, memory, size);
        core_admin_value_text(&bytes, &small);
        assert_int_equal(buffer_status(&small), STATUS_TOO_LARGE);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, talk_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(objects_are_found_by_what_vsphere_wrote),
        CASE(states_choose_what_is_found),
        CASE(listings_come_in_pages),
        CASE(large_objects_are_listed_too),
        CASE(adapters_are_listed_apart),
        CASE(an_object_is_shown_as_clients_see_it),
        CASE(a_deactivated_key_is_restored),
        CASE(a_key_that_ran_out_is_restored),
        CASE(nothing_else_is_restored),
        CASE(an_active_key_is_destroyed_by_force_alone),
        CASE(what_is_not_active_needs_no_force),
        CASE(a_key_is_made_by_hand),
        CASE(values_are_written_for_people),
        CASE(all_that_is_shown_has_a_text),
        CASE(texts_stay_in_their_buffer),
    };
    return cmocka_run_group_tests_name("core_admin", tests, NULL, NULL);
}
