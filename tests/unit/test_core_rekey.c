/* SPDX-License-Identifier: Apache-2.0 */
/* Re-key (KMIP 1.4 §4.4): Table 172 for the dates, Table 173 for everything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core_talk.h"

#define HOUR 3600

struct rekey {
    int64_t offset; /* seconds; < 0: none */
    struct kmip_list attributes;
    bool templated; /* send the Template-Attribute */
};

static const struct kmip_response_item *try_rekey(struct talk *talk, struct bytes id,
                                                  struct rekey wish)
{
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_RE_KEY);
    put_id(payload, id);
    if (wish.offset >= 0)
        ttlv_write_interval(payload, KMIP_TAG_OFFSET, (uint32_t)wish.offset);
    if (wish.templated)
        put_template(payload, wish.attributes);
    return talk_send(talk, 1);
}

static struct bytes rekey(struct talk *talk, struct bytes id, struct rekey wish)
{
    struct kmip_rekey_response response;
    talk_payload(talk, try_rekey(talk, id, wish), &kmip_rekey_response_shape, &response);
    assert_null(response.template_attribute);
    return response.unique_identifier;
}

static const struct rekey plain = {.offset = -1};

static struct rekey offset(uint32_t seconds)
{
    return (struct rekey){.offset = seconds};
}

static struct rekey with_template(struct kmip_list attributes)
{
    return (struct rekey){.offset = -1, .attributes = attributes, .templated = true};
}

/* ---- Dates: Table 172 ---- */

static void assert_dates(struct talk *talk, struct bytes id, int64_t activation, int64_t start,
                         int64_t stop, int64_t deactivation)
{
    assert_int_equal(number_of(talk, id, "Activation Date"), activation);
    assert_int_equal(number_of(talk, id, "Process Start Date"), start);
    assert_int_equal(number_of(talk, id, "Protect Stop Date"), stop);
    assert_int_equal(number_of(talk, id, "Deactivation Date"), deactivation);
}

static struct bytes dated_key(struct talk *talk)
{
    return create(talk, WITH(named("Activation Date", date(TALK_NOW - HOUR)),
                             named("Process Start Date", date(TALK_NOW + HOUR)),
                             named("Protect Stop Date", date(TALK_NOW + 2 * HOUR)),
                             named("Deactivation Date", date(TALK_NOW + 3 * HOUR))));
}

static void without_offset_dates_are_copied(void **state)
{
    struct talk *talk = *state;
    struct bytes id = dated_key(talk);
    talk_wait(talk, 60);
    struct bytes next = rekey(talk, id, plain);
    assert_dates(talk, next, TALK_NOW - HOUR, TALK_NOW + HOUR, TALK_NOW + 2 * HOUR,
                 TALK_NOW + 3 * HOUR);
    assert_int_equal(state_of(talk, next), KMIP_STATE_ACTIVE);
    assert_int_equal(number_of(talk, next, "Initial Date"), TALK_NOW + 60);
}

/* AT2 = IT2 + Offset; CT2 = CT1 + (AT2 - AT1); TT2, DT2 likewise. */
static void an_offset_shifts_the_dates(void **state)
{
    struct talk *talk = *state;
    static const uint32_t offsets[] = {0, 1, 1000, 40 * HOUR};
    for (size_t i = 0; i < ARRAY_COUNT(offsets); i++) {
        struct bytes id = dated_key(talk);
        int64_t now = clock_now(&talk->bench.clock) / 1000;
        int64_t activation = now + offsets[i];
        int64_t shift = activation - (TALK_NOW - HOUR);
        struct bytes next = rekey(talk, id, offset(offsets[i]));
        assert_dates(talk, next, activation, TALK_NOW + HOUR + shift, TALK_NOW + 2 * HOUR + shift,
                     TALK_NOW + 3 * HOUR + shift);
        assert_int_equal(state_of(talk, next),
                         offsets[i] == 0 ? KMIP_STATE_ACTIVE : KMIP_STATE_PRE_ACTIVE);
        assert_dates(talk, id, TALK_NOW - HOUR, TALK_NOW + HOUR, TALK_NOW + 2 * HOUR,
                     TALK_NOW + 3 * HOUR);
    }
}

static void an_offset_gives_an_activation_date_where_there_was_none(void **state)
{
    struct talk *talk = *state;
    struct bytes next = rekey(talk, create_key(talk), offset(60));
    assert_dates(talk, next, TALK_NOW + 60, -1, -1, -1);
    talk_wait(talk, 60);
    assert_int_equal(state_of(talk, next), KMIP_STATE_ACTIVE);
}

/* §11.5: "since no Activation Date has been specified for the existing key". */
static void an_offset_cannot_shift_dates_from_nothing(void **state)
{
    struct talk *talk = *state;
    const struct kmip_named_attribute dates[] = {named("Process Start Date", date(TALK_NOW + HOUR)),
                                                 named("Protect Stop Date", date(TALK_NOW + HOUR)),
                                                 named("Deactivation Date", date(TALK_NOW + HOUR))};
    for (size_t i = 0; i < ARRAY_COUNT(dates); i++) {
        struct bytes id = create(talk, WITH(dates[i]));
        assert_reason(try_rekey(talk, id, offset(60)), KMIP_RESULT_REASON_ILLEGAL_OPERATION);
        assert_success(try_rekey(talk, id, plain));
    }
}

/* §11.5 */
static void an_offset_contradicts_dates(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    static const char *const names[] = {"Activation Date", "Process Start Date",
                                        "Protect Stop Date", "Deactivation Date"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct rekey wish = with_template(WITH(named(names[i], date(TALK_NOW + HOUR))));
        assert_success(try_rekey(talk, id, wish));
        wish.offset = 0;
        assert_reason(try_rekey(talk, id, wish), KMIP_RESULT_REASON_INVALID_MESSAGE);
        assert_false(talk->bench.request.close);
    }
    struct rekey wish = with_template(WITH(named("x-a", integer(1))));
    wish.offset = 60;
    assert_success(try_rekey(talk, id, wish));
}

/* Dates that leave their range when they are shifted. */
static void dates_do_not_overflow(void **state)
{
    struct talk *talk = *state;
    static const int64_t extremes[] = {INT64_MAX, INT64_MAX - 1, INT64_MIN, INT64_MIN + 1};
    for (size_t i = 0; i < ARRAY_COUNT(extremes); i++) {
        struct bytes id = create(talk, WITH(named("Activation Date", date(extremes[i]))));
        const struct kmip_response_item *item = try_rekey(talk, id, offset(UINT32_MAX));
        if (item->result_status.value != KMIP_RESULT_STATUS_SUCCESS)
            assert_reason(item, KMIP_RESULT_REASON_INVALID_FIELD);
        id = create(talk, WITH(named("Activation Date", date(TALK_NOW)),
                               named("Deactivation Date", date(extremes[i]))));
        item = try_rekey(talk, id, offset(UINT32_MAX));
        if (item->result_status.value != KMIP_RESULT_STATUS_SUCCESS)
            assert_reason(item, KMIP_RESULT_REASON_INVALID_FIELD);
    }
}

/* ---- Attributes: Table 173 ---- */

static void what_is_the_keys_own_is_new(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Usage Limits", usage_limits(500, -1))));
    struct bytes before = key_of(talk, id);
    const struct kmip_any *digest = attribute_of(talk, id, "Digest", 0);
    assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE));
    talk_wait(talk, 30);
    struct bytes next = rekey(talk, id, plain);
    assert_false(bytes_equal(id, next));
    assert_false(bytes_equal(before, key_of(talk, next)));
    assert_true(bytes_equal(before, key_of(talk, id)));
    assert_false(value_equal(digest, attribute_of(talk, next, "Digest", 0)));
    static const char *const not_set[] = {"Destroy Date", "Compromise Occurrence Date",
                                          "Compromise Date", "Revocation Reason"};
    for (size_t i = 0; i < ARRAY_COUNT(not_set); i++)
        assert_null(attribute_of(talk, next, not_set[i], 0));
    assert_int_equal(state_of(talk, next), KMIP_STATE_PRE_ACTIVE);
    assert_int_equal(state_of(talk, id), KMIP_STATE_COMPROMISED);
    static const char *const now[] = {"Initial Date", "Last Change Date", "Original Creation Date"};
    for (size_t i = 0; i < ARRAY_COUNT(now); i++)
        assert_int_equal(number_of(talk, next, now[i]), TALK_NOW + 30);
    assert_int_equal(number_of(talk, id, "Last Change Date"), TALK_NOW + 30);
    assert_int_equal(number_of(talk, id, "Initial Date"), TALK_NOW);
    assert_non_null(attribute_of(talk, next, "Random Number Generator", 0));
    assert_true(value_equal(attribute_of(talk, next, "Usage Limits", 0),
                            attribute_of(talk, id, "Usage Limits", 0)));
}

static void it_is_fresh(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    key_of(talk, id);
    assert_int_equal(number_of(talk, id, "Fresh"), 0);
    assert_int_equal(number_of(talk, rekey(talk, id, plain), "Fresh"), 1);
}

static void everything_else_is_copied(void **state)
{
    struct talk *talk = *state;
    const struct kmip_named_attribute copied[] = {
        named("Object Group", text("g")),
        named("Object Group", text("h")),
        named("Contact Information", text("mail")),
        named("Operation Policy Name", text("default")),
        named("Comment", text("c")),
        named("Application Specific Information", application_value("space", "data")),
        named("x-Name", text("vm")),
        named("x-structure", name_value("x")),
        named("Sensitive", boolean(true)),
    };
    struct bytes id =
        create(talk, (struct kmip_list){ARRAY_COUNT(copied), (void *)(uintptr_t)copied});
    struct bytes next = rekey(talk, id, plain);
    for (size_t i = 0; i < ARRAY_COUNT(copied); i++) {
        char name[64] = "";
        memcpy(name, copied[i].name.data, copied[i].name.size);
        int32_t index = i == 1;
        assert_true(value_equal(attribute_of(talk, next, name, index), &copied[i].value));
        assert_true(value_equal(attribute_of(talk, id, name, index), &copied[i].value));
    }
    static const char *const key[] = {"Cryptographic Algorithm", "Cryptographic Length",
                                      "Cryptographic Usage Mask", "Always Sensitive"};
    for (size_t i = 0; i < ARRAY_COUNT(key); i++)
        assert_int_equal(number_of(talk, next, key[i]), number_of(talk, id, key[i]));
}

static int64_t link_type(struct talk *talk, struct bytes id, int32_t index,
                         struct bytes expected_target)
{
    struct structure_link link;
    const struct kmip_any *value = attribute_of(talk, id, "Link", index);
    assert_non_null(value);
    assert_int_equal(
        kmip_decode(&structure_link_shape, ttlv_reader_over(value->value), talk_arena(talk), &link),
        STATUS_OK);
    assert_true(bytes_equal(link.linked_object_identifier, expected_target));
    return link.type.value;
}

static void both_point_to_each_other(void **state)
{
    struct talk *talk = *state;
    struct bytes parent = create_key(talk);
    struct bytes id =
        create(talk, WITH(named("Link", link_value(KMIP_LINK_TYPE_PARENT_LINK, parent))));
    struct bytes next = rekey(talk, id, plain);
    assert_int_equal(instances_of(talk, id, "Link"), 2);
    assert_int_equal(instances_of(talk, next, "Link"), 1); /* its own, none copied */
    assert_int_equal(link_type(talk, id, 1, next), KMIP_LINK_TYPE_REPLACEMENT_OBJECT_LINK);
    assert_int_equal(link_type(talk, next, 0, id), KMIP_LINK_TYPE_REPLACED_OBJECT_LINK);
    struct bytes last = rekey(talk, next, plain); /* a chain */
    assert_int_equal(instances_of(talk, next, "Link"), 2);
    assert_int_equal(link_type(talk, next, 1, last), KMIP_LINK_TYPE_REPLACEMENT_OBJECT_LINK);
    assert_finds(talk, WITH(named("Link", link_value(KMIP_LINK_TYPE_REPLACED_OBJECT_LINK, next))),
                 last);
}

/* §3.35: "there SHALL be only one such replacement object". */
static void a_key_has_one_replacement(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    rekey(talk, id, plain);
    struct bytes second = rekey(talk, id, plain);
    assert_int_equal(instances_of(talk, id, "Link"), 1);
    assert_finds(
        talk, WITH(named("Link", link_value(KMIP_LINK_TYPE_REPLACEMENT_OBJECT_LINK, second))), id);
}

/* ---- Names ---- */

static void names_move_to_the_replacement(void **state)
{
    struct talk *talk = *state;
    const struct kmip_list one = WITH(named("Name", name_value("one")));
    const struct kmip_list two = WITH(named("Name", name_value("two")));
    struct bytes id =
        create(talk, WITH(named("Name", name_value("one")), named("Name", name_value("two"))));
    struct bytes next = rekey(talk, id, plain);
    assert_int_equal(instances_of(talk, id, "Name"), 0);
    assert_int_equal(instances_of(talk, next, "Name"), 2);
    assert_finds(talk, one, next);
    assert_finds(talk, two, next);
    assert_reason(try_create(talk, one), KMIP_RESULT_REASON_INVALID_FIELD);
}

static void the_template_may_give_other_names(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Name", name_value("old"))));
    struct bytes taken = create(talk, WITH(named("Name", name_value("taken"))));
    assert_reason(try_rekey(talk, id, with_template(WITH(named("Name", name_value("taken"))))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_int_equal(instances_of(talk, id, "Name"), 1); /* nothing was handed over */
    assert_finds(talk, WITH(named("Name", name_value("taken"))), taken);
    struct bytes next = rekey(talk, id, with_template(WITH(named("Name", name_value("new")))));
    assert_finds(talk, WITH(named("Name", name_value("new"))), next);
    assert_finds_nothing(talk, WITH(named("Name", name_value("old"))));
    struct bytes last = rekey(talk, next, with_template(WITH(named("Name", name_value("new")))));
    assert_finds(talk, WITH(named("Name", name_value("new"))), last); /* the same again */
}

/* In one batch, where nothing is committed: create, replace, replace again. */
static void keys_of_a_batch_are_rekeyed_too(void **state)
{
    struct talk *talk = *state;
    const struct kmip_list name = WITH(named("Name", name_value("batch")));
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), name);
    talk_item(talk, KMIP_OPERATION_RE_KEY);
    talk_item(talk, KMIP_OPERATION_RE_KEY);
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), name);
    talk_item(talk, KMIP_OPERATION_GET);
    const struct kmip_response_item *items = talk_send(talk, 5);
    for (int i = 0; i < 5; i++)
        assert_success(&items[i]);
    assert_int_equal(talk->bench.request.change_count, 3);
    assert_finds(talk, name, created_id(talk, &items[2]));
}

/* ---- The template ---- */

static void the_template_replaces_what_would_be_copied(void **state)
{
    struct talk *talk = *state;
    struct bytes id =
        create(talk, WITH(named("Object Group", text("a")), named("Object Group", text("b")),
                          named("Contact Information", text("old"))));
    struct bytes next = rekey(talk, id,
                              with_template(WITH(named("Object Group", text("c")),
                                                 named("Contact Information", text("new")),
                                                 named("Cryptographic Length", integer(128)),
                                                 named("Cryptographic Usage Mask", integer(4)))));
    assert_int_equal(instances_of(talk, next, "Object Group"), 1);
    assert_true(bytes_equal_text(attribute_of(talk, next, "Object Group", 0)->value, "c"));
    assert_true(bytes_equal_text(attribute_of(talk, next, "Contact Information", 0)->value, "new"));
    assert_int_equal(number_of(talk, next, "Cryptographic Usage Mask"), 4);
    assert_int_equal(key_of(talk, next).size, 16);
    assert_int_equal(key_of(talk, id).size, 32);
}

static void what_a_template_may_not_say_fails(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    const struct kmip_named_attribute bad[] = {named("State", enumeration(KMIP_STATE_ACTIVE)),
                                               named("Digest", name_value("x")),
                                               named("y-server", integer(1)),
                                               named("Unknown", integer(1)),
                                               named("Cryptographic Length", integer(129)),
                                               named("Contact Information", integer(1))};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_reason(try_rekey(talk, id, with_template(WITH(bad[i]))),
                      KMIP_RESULT_REASON_INVALID_FIELD);
    assert_int_equal(instances_of(talk, id, "Link"), 0);
    assert_finds(talk, WITHOUT, id);
}

/* ---- What cannot be re-keyed ---- */

static void only_keys_that_are_there_can_be_rekeyed(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
    assert_reason(try_rekey(talk, id, plain), KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_reason(try_rekey(talk, register_secret(talk, WITHOUT), plain),
                  KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_reason(try_rekey(talk, register_opaque(talk, WITHOUT), plain),
                  KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_reason(try_rekey(talk, BYTES_LITERAL("none"), plain), KMIP_RESULT_REASON_ITEM_NOT_FOUND);
}

static void a_key_is_rekeyed_in_every_state_but_destroyed(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    assert_int_equal(state_of(talk, rekey(talk, id, plain)), KMIP_STATE_PRE_ACTIVE);
    assert_success(by_id(talk, KMIP_OPERATION_ACTIVATE, id));
    assert_int_equal(state_of(talk, rekey(talk, id, plain)), KMIP_STATE_ACTIVE);
    talk_wait(talk, 10);
    assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_SUPERSEDED));
    struct bytes next = rekey(talk, id, plain); /* with its Deactivation Date */
    assert_int_equal(state_of(talk, next), KMIP_STATE_DEACTIVATED);
    assert_int_equal(state_of(talk, rekey(talk, id, offset(0))), KMIP_STATE_ACTIVE); /* 10 s */
    assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE));
    assert_success(try_rekey(talk, id, plain));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, talk_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(without_offset_dates_are_copied),
        CASE(an_offset_shifts_the_dates),
        CASE(an_offset_gives_an_activation_date_where_there_was_none),
        CASE(an_offset_cannot_shift_dates_from_nothing),
        CASE(an_offset_contradicts_dates),
        CASE(dates_do_not_overflow),
        CASE(what_is_the_keys_own_is_new),
        CASE(it_is_fresh),
        CASE(everything_else_is_copied),
        CASE(both_point_to_each_other),
        CASE(a_key_has_one_replacement),
        CASE(names_move_to_the_replacement),
        CASE(the_template_may_give_other_names),
        CASE(keys_of_a_batch_are_rekeyed_too),
        CASE(the_template_replaces_what_would_be_copied),
        CASE(what_a_template_may_not_say_fails),
        CASE(only_keys_that_are_there_can_be_rekeyed),
        CASE(a_key_is_rekeyed_in_every_state_but_destroyed),
    };
    return cmocka_run_group_tests_name("core_rekey", tests, NULL, NULL);
}
