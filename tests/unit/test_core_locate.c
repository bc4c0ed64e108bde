/* SPDX-License-Identifier: Apache-2.0 */
/* Locate (KMIP 1.4 §4.9): what matches, what the indexes may not hide, pages, and a model that knows
 * no index to compare with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core_talk.h"
#include "dice.h"
#include "store_files.h"

static const struct kmip_response_item *try_locate(struct talk *talk,
                                                   const struct kmip_locate_request *request)
{
    kmip_encode(&kmip_locate_request_shape, request, KMIP_VERSION_LATEST,
                talk_item(talk, KMIP_OPERATION_LOCATE));
    return talk_send(talk, 1);
}

static struct kmip_list locate_with(struct talk *talk, const struct kmip_locate_request *request)
{
    struct kmip_locate_response response;
    talk_payload(talk, try_locate(talk, request), &kmip_locate_response_shape, &response);
    return response.unique_identifiers;
}

/* ---- Each attribute ---- */

/* An object that has something of everything. */
static struct bytes rich_object(struct talk *talk, const char *name)
{
    const struct structure_alternative_name alternative = {
        .value = BYTES_LITERAL("other"),
        .type = kmip_number(KMIP_ALTERNATIVE_NAME_TYPE_UNINTERPRETED_TEXT_STRING)};
    struct bytes id = create(
        talk, WITH(named("Name", name_value(name)), named("Object Group", text(name)),
                   named("Contact Information", text(name)), named("Comment", text(name)),
                   named("Description", text(name)), named("Operation Policy Name", text(name)),
                   named("Link", link_value(KMIP_LINK_TYPE_PARENT_LINK, bytes_of_text(name))),
                   named("Application Specific Information", application_value(name, "data")),
                   named("Alternative Name",
                         value_structure(talk_arena(talk), &structure_alternative_name_shape,
                                         &alternative)),
                   named("Activation Date", date(TALK_NOW)),
                   named("Process Start Date", date(TALK_NOW + 1)),
                   named("Protect Stop Date", date(TALK_NOW + 2)),
                   named("Deactivation Date", date(TALK_NOW + 3000)),
                   named("Usage Limits", usage_limits(100, -1)), named("x-text", text(name)),
                   named("x-integer", integer(-1)), named("x-long", long_integer(5)),
                   named("x-date", date(7)), named("x-boolean", boolean(false)),
                   named("x-bytes", byte_string(name)), named("x-interval", interval(9)),
                   named("x-enumeration", enumeration(3)), named("x-structure", name_value(name))));
    assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE));
    return id;
}

static bool is_found(struct talk *talk, struct kmip_list wanted, struct bytes id)
{
    struct kmip_list found = locate(talk, wanted);
    const struct bytes *ids = found.items;
    for (size_t i = 0; i < found.count; i++)
        if (bytes_equal(ids[i], id))
            return true;
    return false;
}

/* "All attributes are allowed to be used": whatever an object shows finds it, whatever else does
 * not. */
static void every_attribute_can_be_searched_for(void **state)
{
    struct talk *talk = *state;
    struct bytes id = rich_object(talk, "one");
    rich_object(talk, "two");
    struct kmip_list view = attributes_of(talk, id);
    const struct kmip_named_attribute *items = view.items;
    assert_true(view.count > 35);
    for (size_t i = 0; i < view.count; i++) {
        struct kmip_named_attribute wanted = {.name = items[i].name, .value = items[i].value};
        struct bytes other;
        assert_true(is_found(talk, WITH(wanted), id));
        if (wanted.value.value.size == 0)
            continue;
        assert_true(arena_copy(talk_arena(talk), wanted.value.value, &other));
        ((uint8_t *)(uintptr_t)other.data)[other.size - 1] ^= 1;
        wanted.value.value = other;
        bool allowed = ttlv_text_valid(other);
        bool mask = bytes_equal_text(wanted.name, "Cryptographic Usage Mask");
        bool limits = bytes_equal_text(wanted.name, "Usage Limits");
        if (wanted.value.type != TTLV_STRUCTURE && !mask && !limits && allowed)
            assert_false(is_found(talk, WITH(wanted), id));
    }
    assert_true(is_found(talk, view, id)); /* and all of them at once */
}

/* The standard speaks of an error here, but clients misspell names and must not get others' keys:
 * nothing is found. */
static void unknown_names_and_types_match_nothing(void **state)
{
    struct talk *talk = *state;
    rich_object(talk, "one");
    const struct kmip_named_attribute strange[] = {
        named("Nmae", name_value("one")),
        named("name", name_value("one")),
        named("", text("one")),
        named("x-", text("one")),
        named("y-text", text("one")),
        named("x-Text", text("one")),
        named("x-text", byte_string("one")),
        named("x-text", text("on")),
        named("x-text", text("one ")),
        named("x-integer", long_integer(-1)),
        named("x-date", integer(7)),
        named("x-enumeration", integer(3)),
        named("Name", text("one")),
        named("Object Group", byte_string("one")),
        named("State", integer(KMIP_STATE_COMPROMISED)),
        named("State", enumeration(0)),
        named("State", enumeration(77)),
        named("Object Type", integer(KMIP_OBJECT_TYPE_SYMMETRIC_KEY)),
        named("Object Type", enumeration(0)),
        named("Object Type", enumeration(99)),
        named("Activation Date", long_integer(TALK_NOW)),
        named("Cryptographic Usage Mask", enumeration(4)),
        named("Usage Limits", integer(1)),
        named("Unique Identifier", integer(1)),
        named("Unique Identifier", text("one")),
        named("Certificate Type", enumeration(1)),
    };
    for (size_t i = 0; i < ARRAY_COUNT(strange); i++)
        assert_finds_nothing(talk, WITH(strange[i]));
}

/* What came with a later version does not exist in this one. */
static void newer_attributes_match_nothing(void **state)
{
    struct talk *talk = *state;
    struct bytes id = rich_object(talk, "one");
    const struct kmip_list comment = WITH(named("Comment", text("one")));
    assert_finds(talk, comment, id);
    talk->version = KMIP_VERSION_1_3;
    assert_finds_nothing(talk, comment);
    talk->version = KMIP_VERSION_1_0;
    assert_finds_nothing(talk, WITH(named("Fresh", boolean(true))));
}

static void an_attribute_without_a_value_is_refused(void **state)
{
    struct talk *talk = *state;
    struct kmip_named_attribute empty = {.name = BYTES_LITERAL("x-a")};
    const struct kmip_locate_request request = {.attributes = {1, &empty}};
    assert_reason(try_locate(talk, &request), KMIP_RESULT_REASON_INVALID_FIELD);
}

static void an_empty_search_finds_everything_that_lives(void **state)
{
    struct talk *talk = *state;
    assert_finds_nothing(talk, WITHOUT);
    struct bytes key = create_key(talk);
    struct bytes secret = register_secret(talk, WITHOUT);
    struct bytes opaque = register_opaque(talk, WITHOUT);
    assert_finds(talk, WITHOUT, key, secret, opaque);
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, opaque));
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, key));
    assert_finds(talk, WITHOUT, secret);
}

/* ---- Matching ---- */

static void masks_match_by_their_bits(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk); /* 4 + 8 */
    static const int32_t inside[] = {0, 4, 8, 12};
    static const int32_t outside[] = {1, 5, 16, 12 + 16, -1};
    for (size_t i = 0; i < ARRAY_COUNT(inside); i++)
        assert_finds(talk, WITH(named("Cryptographic Usage Mask", integer(inside[i]))), id);
    for (size_t i = 0; i < ARRAY_COUNT(outside); i++)
        assert_finds_nothing(talk, WITH(named("Cryptographic Usage Mask", integer(outside[i]))));
}

static void usage_limits_match_what_is_as_large(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Usage Limits", usage_limits(100, -1))));
    assert_finds(talk, WITH(named("Usage Limits", usage_limits(100, 100))), id);
    assert_finds(talk, WITH(named("Usage Limits", usage_limits(1, -1))), id);
    assert_finds_nothing(talk, WITH(named("Usage Limits", usage_limits(101, -1))));
    assert_finds_nothing(talk, WITH(named("Usage Limits", usage_limits(100, 101))));
}

/* A structure's field alone. */
static struct kmip_any field(struct talk *talk, uint32_t tag, enum ttlv_type type,
                             struct bytes value)
{
    struct buffer buffer;
    struct kmip_any structure = {TTLV_STRUCTURE, {0}};
    buffer_init(&buffer, 256);
    ttlv_write_raw(&buffer, tag, type, value);
    assert_true(arena_copy(talk_arena(talk), buffer_bytes(&buffer), &structure.value));
    buffer_free(&buffer);
    return structure;
}

static void structures_match_by_the_fields_that_are_given(void **state)
{
    struct talk *talk = *state;
    struct bytes one = rich_object(talk, "one");
    struct bytes two = rich_object(talk, "two");
    const struct kmip_any value =
        field(talk, KMIP_TAG_NAME_VALUE, TTLV_TEXT_STRING, BYTES_LITERAL("one"));
    const struct kmip_any type =
        field(talk, KMIP_TAG_NAME_TYPE, TTLV_ENUMERATION, BYTES_LITERAL("\0\0\0\1"));
    assert_finds(talk, WITH(named("Name", value)), one);
    assert_finds(talk, WITH(named("Name", type)), one, two);
    assert_finds(talk, WITH(named("Name", value), named("Name", type)), one);
    assert_finds(talk, WITH(named("x-structure", value)), one);
    assert_finds(talk,
                 WITH(named("Link", field(talk, KMIP_TAG_LINKED_OBJECT_IDENTIFIER, TTLV_TEXT_STRING,
                                          BYTES_LITERAL("two")))),
                 two);
    assert_finds(talk,
                 WITH(named("Application Specific Information",
                            field(talk, KMIP_TAG_APPLICATION_DATA, TTLV_TEXT_STRING,
                                  BYTES_LITERAL("data")))),
                 one, two);
    const struct kmip_any nothing = {TTLV_STRUCTURE, BYTES_LITERAL("")};
    assert_finds(talk, WITH(named("Name", nothing)), one, two); /* any Name at all */
    assert_finds_nothing(talk, WITH(named("Name", field(talk, KMIP_TAG_LINK_TYPE, TTLV_ENUMERATION,
                                                        BYTES_LITERAL("\0\0\0\1")))));
}

static void all_attributes_must_match_and_any_instance_will_do(void **state)
{
    struct talk *talk = *state;
    struct bytes both =
        create(talk, WITH(named("Object Group", text("a")), named("Object Group", text("b")),
                          named("x-n", integer(1)), named("x-n", integer(2))));
    struct bytes single =
        create(talk, WITH(named("Object Group", text("a")), named("x-n", integer(2))));
    assert_finds(talk, WITH(named("Object Group", text("a"))), both, single);
    assert_finds(talk, WITH(named("Object Group", text("a")), named("Object Group", text("b"))),
                 both);
    assert_finds(talk, WITH(named("Object Group", text("a")), named("x-n", integer(2))), both,
                 single);
    assert_finds_nothing(talk, WITH(named("Object Group", text("b")), named("x-n", integer(3))));
    assert_finds(talk, WITH(named_at("Object Group", 7, text("b"))), both); /* index ignored */
    assert_finds(talk, WITH(named("x-n", integer(2)), named("x-n", integer(2))), both, single);
}

static void names_are_found_exactly(void **state)
{
    struct talk *talk = *state;
    static const char *const names[] = {"vm", "vm-1", "vm-10", "vm-100", "VM-1", " vm-1", ""};
    struct bytes ids[ARRAY_COUNT(names)];
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        ids[i] = create(talk, WITH(named("Name", name_value(names[i]))));
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        assert_finds(talk, WITH(named("Name", name_value(names[i]))), ids[i]);
    assert_finds_nothing(talk, WITH(named("Name", name_value("vm-"))));
}

/* ---- Dates ---- */

#define MINUTE 60

static void dates_match_exactly_or_in_a_range(void **state)
{
    struct talk *talk = *state;
    struct bytes ids[5];
    for (int i = 0; i < 5; i++) {
        ids[i] = create(talk, WITH(named("x-date", date(i))));
        talk_wait(talk, MINUTE);
    }
    const char *const names[] = {"Initial Date", "x-date"};
    for (int n = 0; n < 2; n++) {
        int64_t dates[5];
        for (int i = 0; i < 5; i++)
            dates[i] = n == 0 ? TALK_NOW + i * MINUTE : i;
        struct kmip_named_attribute second = named(names[n], date(dates[1]));
        struct kmip_named_attribute fourth = named(names[n], date(dates[3]));
        assert_finds(talk, WITH(second), ids[1]);
        assert_finds(talk, WITH(second, fourth), ids[1], ids[2], ids[3]); /* limits included */
        assert_finds(talk, WITH(fourth, second), ids[1], ids[2], ids[3]); /* in either order */
        assert_finds(talk, WITH(second, second), ids[1]);
        assert_finds_nothing(talk, WITH(named(names[n], date(dates[4] + 1))));
        assert_finds(talk, WITH(named(names[n], date(INT64_MIN)), named(names[n], date(dates[0]))),
                     ids[0]);
        assert_finds(talk, WITH(fourth, named(names[n], date(INT64_MAX))), ids[3], ids[4]);
    }
}

/* "If a Date attribute is set to its largest possible value, then it is equivalent to an undefined
 * attribute." */
static void the_largest_date_means_none(void **state)
{
    struct talk *talk = *state;
    struct bytes with =
        create(talk, WITH(named("Activation Date", date(TALK_NOW + 1)), named("x-date", date(1))));
    struct bytes without = create_key(talk);
    assert_finds(talk, WITH(named("Activation Date", date(INT64_MAX))), without);
    assert_finds(talk, WITH(named("x-date", date(INT64_MAX))), without);
    assert_finds(talk, WITH(named("Activation Date", date(TALK_NOW + 1))), with);
}

static void any_instance_of_a_date_will_do(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("x-date", date(10)), named("x-date", date(20))));
    assert_finds(talk, WITH(named("x-date", date(20))), id);
    assert_finds(talk, WITH(named("x-date", date(15)), named("x-date", date(25))), id);
    assert_finds_nothing(talk, WITH(named("x-date", date(11)), named("x-date", date(19))));
    assert_finds_nothing(talk, WITH(named("x-date", date(INT64_MAX))));
}

/* ---- States ---- */

static struct kmip_list in_state(enum kmip_state state)
{
    static struct kmip_named_attribute wanted;
    wanted = named("State", enumeration(state));
    return (struct kmip_list){1, &wanted};
}

static void destroyed_objects_are_found_by_state_alone(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Name", name_value("gone"))));
    struct bytes lives = create(talk, WITH(named("Name", name_value("lives"))));
    struct bytes compromised = create_key(talk);
    assert_success(revoke_key(talk, compromised, KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE));
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, compromised));
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
    assert_finds_nothing(talk, WITH(named("Name", name_value("gone"))));
    assert_finds_nothing(talk, WITH(named("Unique Identifier", value_text(id))));
    assert_finds(talk, WITHOUT, lives);
    assert_finds(talk, in_state(KMIP_STATE_DESTROYED), id);
    assert_finds(talk, in_state(KMIP_STATE_DESTROYED_COMPROMISED), compromised);
    assert_finds(
        talk,
        WITH(named("State", enumeration(KMIP_STATE_DESTROYED)), named("Name", name_value("gone"))),
        id);
    assert_finds(talk,
                 WITH(named("Unique Identifier", value_text(id)),
                      named("State", enumeration(KMIP_STATE_DESTROYED))),
                 id);
    assert_finds_nothing(talk, WITH(named("State", enumeration(KMIP_STATE_DESTROYED)),
                                    named("State", enumeration(KMIP_STATE_PRE_ACTIVE))));
}

/* The store knows the state in which an object was last changed; dates have moved it since. */
static void states_that_dates_brought_are_found(void **state)
{
    struct talk *talk = *state;
    struct bytes dated = create(talk, WITH(named("Activation Date", date(TALK_NOW + 100)),
                                           named("Deactivation Date", date(TALK_NOW + 200))));
    struct bytes waiting = create_key(talk);
    assert_finds(talk, in_state(KMIP_STATE_PRE_ACTIVE), dated, waiting);
    assert_finds_nothing(talk, in_state(KMIP_STATE_ACTIVE));
    talk_wait(talk, 100);
    assert_finds(talk, in_state(KMIP_STATE_ACTIVE), dated);
    assert_finds(talk, in_state(KMIP_STATE_PRE_ACTIVE), waiting);
    talk_wait(talk, 100);
    assert_finds(talk, in_state(KMIP_STATE_DEACTIVATED), dated);
    assert_finds_nothing(talk, in_state(KMIP_STATE_ACTIVE));
}

/* ---- The other fields ---- */

static void items_are_counted_and_skipped(void **state)
{
    struct talk *talk = *state;
    enum { ALL = 7 };
    struct bytes ids[ALL];
    for (int i = 0; i < ALL; i++)
        ids[i] = create_key(talk);
    for (int maximum = -1; maximum <= ALL + 1; maximum++) /* -1: not sent */
        for (int offset = -1; offset <= ALL + 1; offset++) {
            struct kmip_locate_request request = {0};
            if (maximum >= 0)
                request.maximum_items = kmip_number(maximum);
            if (offset >= 0)
                request.offset_items = kmip_number(offset);
            struct kmip_list found = locate_with(talk, &request);
            const struct bytes *items = found.items;
            int first = offset > 0 ? offset : 0;
            int left = first < ALL ? ALL - first : 0;
            int expected = maximum >= 0 && maximum < left ? maximum : left;
            assert_int_equal(found.count, expected);
            for (int i = 0; i < expected; i++)
                assert_true(bytes_equal(items[i], ids[first + i])); /* oldest first */
        }
    const struct kmip_locate_request negative[] = {{.maximum_items = kmip_number(-1)},
                                                   {.offset_items = kmip_number(-1)}};
    for (size_t i = 0; i < ARRAY_COUNT(negative); i++)
        assert_reason(try_locate(talk, &negative[i]), KMIP_RESULT_REASON_INVALID_FIELD);
    const struct kmip_locate_request far = {.offset_items = kmip_number(INT32_MAX)};
    assert_int_equal(locate_with(talk, &far).count, 0);
}

/* Offset Items came with 1.3, and libkmip sends it in 1.0. */
static void old_versions_may_skip_too(void **state)
{
    struct talk *talk = *state;
    create_key(talk);
    struct bytes second = create_key(talk);
    const struct kmip_locate_request request = {.offset_items = kmip_number(1)};
    talk->version = KMIP_VERSION_1_0;
    struct kmip_list found = locate_with(talk, &request);
    assert_int_equal(found.count, 1);
    assert_true(bytes_equal(*(const struct bytes *)found.items, second));
}

static void the_server_has_a_maximum_of_its_own(void **state)
{
    struct talk *talk = *state;
    unsigned maximum = core_bench_options.locate_max;
    const struct kmip_locate_request many = {.maximum_items = kmip_number(INT32_MAX)};
    const struct kmip_locate_request rest = {.offset_items = kmip_number((int64_t)maximum)};
    for (unsigned i = 0; i < maximum + 5; i++) {
        create_key(talk);
        talk_forget(talk);
    }
    assert_int_equal(locate(talk, WITHOUT).count, maximum);
    assert_int_equal(locate_with(talk, &many).count, maximum);
    assert_int_equal(locate_with(talk, &rest).count, 5);
}

/* §9.1.3.3.2: everything here is on line. */
static void archived_objects_alone_are_none(void **state)
{
    struct talk *talk = *state;
    create_key(talk);
    static const struct {
        int32_t mask;
        size_t found;
    } masks[] = {{1, 1}, {2, 0}, {3, 1}, {0, 0}, {4, 0}, {-1, 1}};
    for (size_t i = 0; i < ARRAY_COUNT(masks); i++) {
        const struct kmip_locate_request request = {.storage_status_mask =
                                                        kmip_number(masks[i].mask)};
        assert_int_equal(locate_with(talk, &request).count, masks[i].found);
    }
}

/* §3.34 */
static void fresh_members_of_a_group_have_not_been_served(void **state)
{
    struct talk *talk = *state;
    struct kmip_named_attribute group = named("Object Group", text("pool"));
    struct bytes used = create(talk, WITH(group));
    struct bytes fresh = create(talk, WITH(group));
    create_key(talk);
    key_of(talk, used);
    struct kmip_locate_request request = {
        .object_group_member = kmip_number(KMIP_OBJECT_GROUP_MEMBER_GROUP_MEMBER_FRESH),
        .attributes = {1, &group}};
    struct kmip_list found = locate_with(talk, &request);
    assert_int_equal(found.count, 1);
    assert_true(bytes_equal(*(const struct bytes *)found.items, fresh));
    request.object_group_member = kmip_number(KMIP_OBJECT_GROUP_MEMBER_GROUP_MEMBER_DEFAULT);
    assert_int_equal(locate_with(talk, &request).count, 2);
}

/* FortiGate's way of writing it. */
static void attributes_may_stand_in_a_template(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Name", name_value("vm")), named("x-a", integer(1))));
    create(talk, WITH(named("x-a", integer(1))));
    struct kmip_named_attribute name = named("Name", name_value("vm"));
    struct kmip_named_attribute custom = named("x-a", integer(1));
    struct kmip_template_attribute template = {.attributes = {1, &name}};
    const struct kmip_locate_request request = {.maximum_items = kmip_number(5),
                                                .template_attribute = &template,
                                                .attributes = {1, &custom}};
    struct kmip_list found = locate_with(talk, &request);
    assert_int_equal(found.count, 1);
    assert_true(bytes_equal(*(const struct bytes *)found.items, id));
}

/* ---- Unique Identifier ---- */

static void an_identifier_finds_its_object_if_all_else_matches(void **state)
{
    struct talk *talk = *state;
    struct core_session other;
    struct bytes id = create(talk, WITH(named("x-a", integer(1))));
    struct bytes another = create_key(talk);
    struct kmip_named_attribute by_identifier = named("Unique Identifier", value_text(id));
    assert_finds(talk, WITH(by_identifier), id);
    assert_finds(talk, WITH(by_identifier, named("x-a", integer(1))), id);
    assert_finds_nothing(talk, WITH(by_identifier, named("x-a", integer(2))));
    assert_finds_nothing(talk,
                         WITH(by_identifier, named("Unique Identifier", value_text(another))));
    assert_finds_nothing(talk, WITH(named("Unique Identifier", text(""))));
    core_bench_adapter(&talk->bench, "other", &other);
    talk->session = &other;
    assert_finds_nothing(talk, WITH(by_identifier));
    assert_finds_nothing(talk, WITHOUT);
}

/* No text is not the same as no field. */
static void an_empty_identifier_is_not_the_placeholder(void **state)
{
    struct talk *talk = *state;
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE),
                   WITH(named("Unique Identifier", text(""))));
    const struct kmip_response_item *items = talk_send(talk, 2);
    assert_success(&items[0]);
    assert_success(&items[1]);
    assert_int_equal(items[1].payload.value.size, 0);
}

/* ---- The ID Placeholder (§4.9) ---- */

static void one_object_found_fills_the_placeholder(void **state)
{
    struct talk *talk = *state;
    struct kmip_get_response response;
    struct bytes id = create(talk, WITH(named("Name", name_value("one"))));
    create_key(talk);
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), WITH(named("Name", name_value("one"))));
    talk_item(talk, KMIP_OPERATION_GET);
    const struct kmip_response_item *items = talk_send(talk, 2);
    talk_payload(talk, &items[1], &kmip_get_response_shape, &response);
    assert_true(bytes_equal(response.unique_identifier, id));
}

static void several_or_none_empty_it(void **state)
{
    struct talk *talk = *state;
    create_key(talk);
    create_key(talk);
    for (int none = 0; none < 2; none++) {
        put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
        put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE),
                       none ? WITH(named("x-a", integer(1))) : WITHOUT);
        talk_item(talk, KMIP_OPERATION_GET);
        const struct kmip_response_item *items = talk_send(talk, 3);
        assert_success(&items[1]);
        assert_reason(&items[2], KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    }
    const struct kmip_locate_request first = {.maximum_items = kmip_number(1)};
    kmip_encode(&kmip_locate_request_shape, &first, talk->version,
                talk_item(talk, KMIP_OPERATION_LOCATE));
    talk_item(talk, KMIP_OPERATION_GET);
    assert_success(&talk_send(talk, 2)[1]);
}

/* ---- What a batch has changed is seen by the items after ---- */

static size_t count_found(struct talk *talk, const struct kmip_response_item *item)
{
    struct kmip_locate_response response;
    talk_payload(talk, item, &kmip_locate_response_shape, &response);
    return response.unique_identifiers.count;
}

static void put_change(struct talk *talk, uint32_t operation, struct bytes id,
                       struct kmip_named_attribute attribute)
{
    const struct kmip_attribute_change change = {.unique_identifier = id, .attribute = &attribute};
    kmip_encode(&kmip_attribute_change_shape, &change, talk->version, talk_item(talk, operation));
}

static void a_batch_sees_what_it_has_made_and_changed(void **state)
{
    struct talk *talk = *state;
    const struct kmip_list group = WITH(named("Object Group", text("g")));
    const struct kmip_list moved = WITH(named("Object Group", text("h")));
    struct bytes old = create(talk, group);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), group);
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), group);
    put_change(talk, KMIP_OPERATION_MODIFY_ATTRIBUTE, old, named("Object Group", text("h")));
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), group);
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), moved);
    put_id(talk_item(talk, KMIP_OPERATION_DESTROY), old);
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), moved);
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE),
                   WITH(named("State", enumeration(KMIP_STATE_DESTROYED))));
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE),
                   WITH(named("Unique Identifier", value_text(old)),
                        named("State", enumeration(KMIP_STATE_DESTROYED))));
    const struct kmip_response_item *items = talk_send(talk, 9);
    assert_int_equal(count_found(talk, &items[1]), 2);
    assert_int_equal(count_found(talk, &items[3]), 1);
    assert_int_equal(count_found(talk, &items[4]), 1);
    assert_int_equal(count_found(talk, &items[6]), 0);
    assert_int_equal(count_found(talk, &items[7]), 1);
    assert_int_equal(count_found(talk, &items[8]), 1);
    assert_finds(talk, group, created_id(talk, &items[0]));
}

static void what_failed_in_a_batch_is_not_found(void **state)
{
    struct talk *talk = *state;
    const struct kmip_list group = WITH(named("Object Group", text("g")));
    create(talk, WITH(named("Name", name_value("taken"))));
    talk->header.batch_error_continuation_option =
        kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_CONTINUE);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE),
               WITH(named("Object Group", text("g")), named("Name", name_value("taken"))));
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), group);
    const struct kmip_response_item *items = talk_send(talk, 2);
    assert_reason(&items[0], KMIP_RESULT_REASON_INVALID_FIELD);
    assert_int_equal(count_found(talk, &items[1]), 0);
}

/* ---- Searches that take long ---- */

static enum status execute(struct talk *talk, size_t patience)
{
    static struct bytes frame;
    if (talk->count > 0)
        frame = talk_frame(talk);
    return core_execute(&talk->bench.request, talk->session, talk->bench.session_store, frame,
                        patience);
}

static void a_search_ends_with_its_patience(void **state)
{
    struct talk *talk = *state;
    for (int i = 0; i < 100; i++)
        create_key(talk);
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE),
                   WITH(named("Cryptographic Length", integer(128))));
    assert_int_equal(execute(talk, 99), STATUS_BUSY);
    assert_int_equal(execute(talk, 0), STATUS_BUSY);
    assert_int_equal(execute(talk, 100), STATUS_OK);
    assert_int_equal(count_found(talk, talk_read(talk, 1)), 0);
    assert_int_equal(execute(talk, SIZE_MAX), STATUS_OK);
}

/* An index answers without looking at others. */
static void an_indexed_search_needs_little_patience(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Name", name_value("one")), named("x-a", text("b"))));
    for (int i = 0; i < 100; i++)
        create_key(talk);
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), WITH(named("Name", name_value("one"))));
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), WITH(named("x-a", text("b"))));
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE),
                   WITH(named("Object Type", enumeration(KMIP_OBJECT_TYPE_OPAQUE_OBJECT))));
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE),
                   WITH(named("Unique Identifier", value_text(id))));
    assert_int_equal(execute(talk, 2), STATUS_OK);
    const struct kmip_response_item *items = talk_read(talk, 4);
    assert_int_equal(count_found(talk, &items[0]), 1);
    assert_int_equal(count_found(talk, &items[1]), 1);
    assert_int_equal(count_found(talk, &items[2]), 0);
    assert_int_equal(count_found(talk, &items[3]), 1);
}

/* Where patience ends, so does the batch, whatever it says of errors: it is executed again as a
 * whole where there is time, and until then the loop must not be kept by the items behind. */
static void a_batch_ends_with_its_patience(void **state)
{
    struct talk *talk = *state;
    for (int i = 0; i < 10; i++)
        create_key(talk);
    talk->header.batch_error_continuation_option =
        kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_CONTINUE);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    for (int i = 0; i < 3; i++)
        talk_item(talk, KMIP_OPERATION_LOCATE);
    assert_int_equal(execute(talk, 15), STATUS_BUSY);
    assert_int_equal(talk->bench.request.record_count, 3);
    assert_int_equal(execute(talk, SIZE_MAX), STATUS_OK);
    assert_success(&talk_read(talk, 4)[3]);
    assert_int_equal(talk->bench.request.change_count, 1);
}

/* ---- A model without indexes ---- */

#define OBJECTS 60
#define QUERIES 600

struct model {
    struct bytes ids[OBJECTS];
    struct kmip_list views[OBJECTS];
    bool destroyed[OBJECTS];
};

static struct kmip_named_attribute some_attribute(struct dice *dice)
{
    static const char *const texts[] = {"red", "green", "blue"};
    const char *word = texts[dice_below(dice, 3)];
    switch (dice_below(dice, 9)) {
    case 0:
        return named("Object Group", text(word));
    case 1:
        return named("x-color", text(word));
    case 2:
        return named("x-size", integer((int32_t)dice_below(dice, 3)));
    case 3:
        return named("x-when", date(dice_below(dice, 5)));
    case 4:
        return named("x-pair", application_value(word, texts[dice_below(dice, 2)]));
    case 5:
        return named("Application Specific Information", application_value(word, "data"));
    case 6:
        return named("Link", link_value(1 + dice_below(dice, 3), bytes_of_text(word)));
    case 7:
        return named("Alternative Name", name_value(word)); /* fields of Name: never complete */
    default:
        return named("x-flag", boolean(dice_once_in(dice, 2)));
    }
}

static bool is_single(struct bytes name)
{
    return !bytes_equal_text(name, "Object Group") && name.data[0] != 'x';
}

static size_t some_attributes(struct dice *dice, struct kmip_named_attribute *attributes,
                              size_t maximum)
{
    size_t count = 0;
    for (uint32_t i = dice_below(dice, 8); i > 0 && count < maximum; i--) {
        attributes[count] = some_attribute(dice);
        if (!bytes_equal_text(attributes[count].name, "Alternative Name"))
            count++;
    }
    return count;
}

static struct bytes some_object(struct talk *talk, struct dice *dice)
{
    struct kmip_named_attribute attributes[10];
    struct kmip_list list = {some_attributes(dice, attributes, 8), attributes};
    if (dice_once_in(dice, 3))
        attributes[list.count++] =
            named("Activation Date", date(TALK_NOW + (int64_t)dice_below(dice, 4) * 100 - 100));
    switch (dice_below(dice, 4)) {
    case 0:
        return register_secret(talk, list);
    case 1:
        while (list.count > 0 && (bytes_equal_text(attributes[list.count - 1].name, "Link") ||
                                  is_single(attributes[list.count - 1].name)))
            list.count--;
        for (size_t i = 0; i < list.count; i++)
            if (bytes_equal_text(attributes[i].name, "Link"))
                attributes[i] = attributes[--list.count];
        for (size_t i = 0; i < list.count; i++)
            if (bytes_equal_text(attributes[i].name, "Link"))
                list.count = i;
        return register_opaque(talk, list);
    default:
        return create(talk, list);
    }
}

static void live(struct talk *talk, struct dice *dice, struct bytes id)
{
    if (attribute_of(talk, id, "State", 0) == NULL) {
        if (dice_once_in(dice, 4))
            assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
        return;
    }
    if (dice_once_in(dice, 2)) /* may be Active already, or not */
        (void)by_id(talk, KMIP_OPERATION_ACTIVATE, id);
    if (dice_once_in(dice, 3))
        (void)revoke_key(talk, id, 1 + dice_below(dice, 4));
    if (dice_once_in(dice, 3))
        (void)by_id(talk, KMIP_OPERATION_DESTROY, id);
}

static void look(struct talk *talk, struct model *model)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        model->views[i] = attributes_of(talk, model->ids[i]);
        model->destroyed[i] = attribute_of(talk, model->ids[i], "Destroy Date", 0) != NULL;
    }
}

static bool has_field(struct bytes structure, const struct ttlv_item *wanted)
{
    struct ttlv_reader reader = ttlv_reader_over(structure);
    struct ttlv_item item;
    while (!ttlv_at_end(&reader)) {
        assert_int_equal(ttlv_next(&reader, &item), STATUS_OK);
        if (item.tag == wanted->tag && item.type == wanted->type &&
            bytes_equal(item.value, wanted->value))
            return true;
    }
    return false;
}

static bool value_fits(struct bytes name, const struct kmip_any *value,
                       const struct kmip_any *wanted)
{
    if (value->type != wanted->type)
        return false;
    if (bytes_equal_text(name, "Cryptographic Usage Mask"))
        return (value_number(wanted) & ~value_number(value)) == 0;
    if (wanted->type != TTLV_STRUCTURE)
        return bytes_equal(value->value, wanted->value);
    struct ttlv_reader reader = ttlv_reader_over(wanted->value);
    while (!ttlv_at_end(&reader)) {
        struct ttlv_item item;
        assert_int_equal(ttlv_next(&reader, &item), STATUS_OK);
        if (!has_field(value->value, &item))
            return false;
    }
    return true;
}

/* The range that all dates of one name span. */
static bool date_fits(const struct kmip_list *view, const struct kmip_named_attribute *wanted,
                      size_t count, struct bytes name)
{
    int64_t first = INT64_MAX;
    int64_t last = INT64_MIN;
    const struct kmip_named_attribute *items = view->items;
    bool there = false;
    for (size_t i = 0; i < count; i++) {
        if (!bytes_equal(wanted[i].name, name) || wanted[i].value.type != TTLV_DATE_TIME)
            continue;
        int64_t seconds = value_number(&wanted[i].value);
        first = seconds < first ? seconds : first;
        last = seconds > last ? seconds : last;
    }
    for (size_t i = 0; i < view->count; i++) {
        int64_t seconds = value_number(&items[i].value);
        if (!bytes_equal(items[i].name, name) || items[i].value.type != TTLV_DATE_TIME)
            continue;
        if (first <= seconds && seconds <= last)
            return true;
        there = true;
    }
    return !there && first == INT64_MAX;
}

static bool fits(const struct model *model, size_t object,
                 const struct kmip_named_attribute *wanted, size_t count)
{
    const struct kmip_named_attribute *items = model->views[object].items;
    bool wants_destroyed = false;
    for (size_t i = 0; i < count; i++) {
        bool fitting = wanted[i].value.type == TTLV_DATE_TIME &&
                       date_fits(&model->views[object], wanted, count, wanted[i].name);
        for (size_t j = 0;
             wanted[i].value.type != TTLV_DATE_TIME && j < model->views[object].count && !fitting;
             j++)
            fitting = bytes_equal(items[j].name, wanted[i].name) &&
                      value_fits(items[j].name, &items[j].value, &wanted[i].value);
        if (!fitting)
            return false;
        wants_destroyed |= bytes_equal_text(wanted[i].name, "State") &&
                           value_number(&wanted[i].value) >= KMIP_STATE_DESTROYED;
    }
    return wants_destroyed || !model->destroyed[object];
}

/* Only some fields of a structure, in their order. */
static struct kmip_any some_fields(struct talk *talk, struct dice *dice, struct kmip_any value)
{
    struct buffer buffer;
    struct ttlv_reader reader = ttlv_reader_over(value.value);
    buffer_init(&buffer, 4096);
    while (!ttlv_at_end(&reader)) {
        struct ttlv_item item;
        assert_int_equal(ttlv_next(&reader, &item), STATUS_OK);
        if (dice_once_in(dice, 2))
            ttlv_write_raw(&buffer, item.tag, item.type, item.value);
    }
    assert_true(arena_copy(talk_arena(talk), buffer_bytes(&buffer), &value.value));
    buffer_free(&buffer);
    return value;
}

/* What some object has, or might have. */
static struct kmip_named_attribute some_wish(struct talk *talk, struct dice *dice,
                                             const struct model *model)
{
    const struct kmip_list *view = &model->views[dice_below(dice, OBJECTS)];
    const struct kmip_named_attribute *items = view->items;
    struct kmip_named_attribute wish = items[dice_below(dice, (uint32_t)view->count)];
    if (dice_once_in(dice, 3))
        wish = some_attribute(dice);
    wish.index.present = false;
    if (wish.value.type == TTLV_STRUCTURE && dice_once_in(dice, 2))
        wish.value = some_fields(talk, dice, wish.value);
    if (wish.value.type == TTLV_DATE_TIME && dice_once_in(dice, 8))
        wish.value = date(INT64_MAX);
    return wish;
}

static size_t some_query(struct talk *talk, struct dice *dice, const struct model *model,
                         struct kmip_named_attribute *wanted)
{
    size_t count = dice_below(dice, 4);
    for (size_t i = 0; i < count; i++)
        wanted[i] = some_wish(talk, dice, model);
    if (count > 0 && wanted[0].value.type == TTLV_DATE_TIME && dice_once_in(dice, 2)) {
        wanted[count] = wanted[0]; /* the other end of a range */
        wanted[count++].value =
            date(value_number(&wanted[0].value) / 2 + (int64_t)dice_below(dice, 4));
    }
    return count;
}

static void ask_the_model(struct talk *talk, struct dice *dice, const struct model *model)
{
    struct kmip_named_attribute wanted[5];
    size_t count = some_query(talk, dice, model, wanted);
    struct kmip_locate_request request = {.attributes = {count, wanted}};
    size_t skip = dice_once_in(dice, 4) ? dice_below(dice, 5) : 0;
    size_t maximum = dice_once_in(dice, 4) ? 1 + dice_below(dice, 5) : OBJECTS;
    if (skip > 0)
        request.offset_items = kmip_number((int64_t)skip);
    if (maximum < OBJECTS)
        request.maximum_items = kmip_number((int64_t)maximum);
    struct kmip_list found = locate_with(talk, &request);
    const struct bytes *ids = found.items;
    size_t at = 0;
    for (size_t i = 0; i < OBJECTS; i++) {
        if (!fits(model, i, wanted, count))
            continue;
        if (skip > 0) {
            skip--;
            continue;
        }
        if (at == maximum)
            break;
        assert_true(at < found.count);
        assert_true(bytes_equal(ids[at++], model->ids[i]));
    }
    assert_int_equal(at, found.count);
}

static void compare_with_the_model(struct talk *talk, uint64_t seed)
{
    struct dice dice = {seed};
    struct model model = {0};
    struct core_session other;
    core_bench_adapter(&talk->bench, "other", &other);
    for (size_t i = 0; i < OBJECTS; i++) {
        talk->session = &other; /* neighbours with the same attributes */
        some_object(talk, &dice);
        talk->session = &talk->bench.session;
        model.ids[i] = some_object(talk, &dice);
    }
    for (size_t i = 0; i < OBJECTS; i++)
        live(talk, &dice, model.ids[i]);
    talk_wait(talk, 150); /* beyond some of the dates */
    look(talk, &model);
    for (int i = 0; i < QUERIES; i++)
        ask_the_model(talk, &dice, &model);
}

static void indexes_hide_nothing_and_invent_nothing(void **state)
{
    compare_with_the_model(*state, UINT64_C(0x10CA7E));
}

static void the_same_with_sqlite(void **state)
{
    struct talk *talk = *state;
    char directory[256];
    char path[300];
    struct store *store;
    const struct store_options options = {.cache_bytes = 1 << 20};
    core_bench_close(&talk->bench);
    files_make_directory(directory, sizeof(directory));
    (void)snprintf(path, sizeof(path), "%s/store.db", directory);
    assert_int_equal(store_open_sqlite(path, &options, &store, NULL), STATUS_OK);
    core_bench_open_over(&talk->bench, &core_bench_options, store);
    compare_with_the_model(talk, UINT64_C(0x5E7));
    files_remove_directory(directory);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, talk_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_attribute_can_be_searched_for),
        CASE(unknown_names_and_types_match_nothing),
        CASE(newer_attributes_match_nothing),
        CASE(an_attribute_without_a_value_is_refused),
        CASE(an_empty_search_finds_everything_that_lives),
        CASE(masks_match_by_their_bits),
        CASE(usage_limits_match_what_is_as_large),
        CASE(structures_match_by_the_fields_that_are_given),
        CASE(all_attributes_must_match_and_any_instance_will_do),
        CASE(names_are_found_exactly),
        CASE(dates_match_exactly_or_in_a_range),
        CASE(the_largest_date_means_none),
        CASE(any_instance_of_a_date_will_do),
        CASE(destroyed_objects_are_found_by_state_alone),
        CASE(states_that_dates_brought_are_found),
        CASE(items_are_counted_and_skipped),
        CASE(old_versions_may_skip_too),
        CASE(the_server_has_a_maximum_of_its_own),
        CASE(archived_objects_alone_are_none),
        CASE(fresh_members_of_a_group_have_not_been_served),
        CASE(attributes_may_stand_in_a_template),
        CASE(an_identifier_finds_its_object_if_all_else_matches),
        CASE(an_empty_identifier_is_not_the_placeholder),
        CASE(one_object_found_fills_the_placeholder),
        CASE(several_or_none_empty_it),
        CASE(a_batch_sees_what_it_has_made_and_changed),
        CASE(what_failed_in_a_batch_is_not_found),
        CASE(a_search_ends_with_its_patience),
        CASE(an_indexed_search_needs_little_patience),
        CASE(a_batch_ends_with_its_patience),
        CASE(indexes_hide_nothing_and_invent_nothing),
        CASE(the_same_with_sqlite),
    };
    return cmocka_run_group_tests_name("core_locate", tests, NULL, NULL);
}
