/* SPDX-License-Identifier: Apache-2.0 */
/* States and dates (KMIP 1.4 §3.22-3.31, §4.19-4.21): every transition of def/states.def, and no
 * other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core_talk.h"

#define HOUR 3600

static const struct {
    enum kmip_state from, to;
    enum kmip_cause cause;
} transitions[] = {
#define TRANSITION(number, FROM, TO, CAUSE)                                                        \
    {KMIP_STATE_##FROM, KMIP_STATE_##TO, KMIP_CAUSE_##CAUSE},
#include "states.def"
};

static struct bytes key_in_state(struct talk *talk, enum kmip_state state)
{
    struct bytes id = create_key(talk);
    if (state == KMIP_STATE_ACTIVE || state == KMIP_STATE_DEACTIVATED)
        assert_success(by_id(talk, KMIP_OPERATION_ACTIVATE, id));
    if (state == KMIP_STATE_DEACTIVATED)
        assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_SUPERSEDED));
    if (state == KMIP_STATE_COMPROMISED || state == KMIP_STATE_DESTROYED_COMPROMISED)
        assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE));
    if (state == KMIP_STATE_DESTROYED || state == KMIP_STATE_DESTROYED_COMPROMISED)
        assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
    assert_int_equal(state_of(talk, id), state);
    return id;
}

static const struct kmip_response_item *set_date(struct talk *talk, struct bytes id,
                                                 const char *name, int64_t seconds)
{
    bool there = attribute_of(talk, id, name, 0) != NULL;
    return there ? modify_attribute(talk, id, named(name, date(seconds)))
                 : add_attribute(talk, id, named(name, date(seconds)));
}

/* What a client does to bring a cause about. */
static const struct kmip_response_item *bring_about(struct talk *talk, struct bytes id,
                                                    enum kmip_cause cause)
{
    switch (cause) {
    case KMIP_CAUSE_ACTIVATE:
        return by_id(talk, KMIP_OPERATION_ACTIVATE, id);
    case KMIP_CAUSE_ACTIVATION_DATE:
        return set_date(talk, id, "Activation Date", TALK_NOW - HOUR);
    case KMIP_CAUSE_DEACTIVATION_DATE:
        return set_date(talk, id, "Deactivation Date", TALK_NOW - HOUR);
    case KMIP_CAUSE_REVOKE:
        return revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_CESSATION_OF_OPERATION);
    case KMIP_CAUSE_COMPROMISE:
        return revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_CA_COMPROMISE);
    case KMIP_CAUSE_DESTROY:
        break;
    }
    return by_id(talk, KMIP_OPERATION_DESTROY, id);
}

/* §11.20-11.22: Revoke has a reason of its own for what it cannot do. */
static uint32_t refusal_of(enum kmip_cause cause)
{
    return cause == KMIP_CAUSE_REVOKE || cause == KMIP_CAUSE_COMPROMISE
               ? KMIP_RESULT_REASON_ILLEGAL_OPERATION
               : KMIP_RESULT_REASON_PERMISSION_DENIED;
}

/* The state that the table gives; 0 if it has no such transition. */
static int64_t state_behind(enum kmip_state from, enum kmip_cause cause)
{
    for (size_t i = 0; i < ARRAY_COUNT(transitions); i++)
        if (transitions[i].from == from && transitions[i].cause == cause)
            return transitions[i].to;
    return 0;
}

static void every_transition_of_the_table_and_no_other(void **state)
{
    struct talk *talk = *state;
    for (int from = KMIP_STATE_PRE_ACTIVE; from <= KMIP_STATE_DESTROYED_COMPROMISED; from++)
        for (int cause = KMIP_CAUSE_ACTIVATE; cause <= KMIP_CAUSE_DESTROY; cause++) {
            struct bytes id = key_in_state(talk, (enum kmip_state)from);
            int64_t to = state_behind((enum kmip_state)from, (enum kmip_cause)cause);
            const struct kmip_response_item *item = bring_about(talk, id, (enum kmip_cause)cause);
            if (to != 0) {
                assert_success(item);
                assert_int_equal(state_of(talk, id), to);
            } else if (from == KMIP_STATE_PRE_ACTIVE && cause == KMIP_CAUSE_DEACTIVATION_DATE) {
                assert_success(item); /* may be set; counts once the key is Active */
                assert_int_equal(state_of(talk, id), from);
            } else {
                assert_reason(item, refusal_of((enum kmip_cause)cause));
                assert_int_equal(state_of(talk, id), from);
            }
        }
}

/* What is refused leaves no mark: no date, no change, and no new version in the store. */
static void a_refused_transition_changes_nothing(void **state)
{
    struct talk *talk = *state;
    for (int from = KMIP_STATE_PRE_ACTIVE; from <= KMIP_STATE_DESTROYED_COMPROMISED; from++)
        for (int cause = KMIP_CAUSE_ACTIVATE; cause <= KMIP_CAUSE_DESTROY; cause++) {
            struct bytes id = key_in_state(talk, (enum kmip_state)from);
            struct kmip_list before = attributes_of(talk, id);
            talk_wait(talk, 60);
            if (state_behind((enum kmip_state)from, (enum kmip_cause)cause) != 0 ||
                bring_about(talk, id, (enum kmip_cause)cause)->result_status.value ==
                    KMIP_RESULT_STATUS_SUCCESS)
                continue;
            assert_int_equal(talk->bench.request.change_count, 0);
            struct kmip_list after = attributes_of(talk, id);
            assert_int_equal(before.count, after.count);
            const struct kmip_named_attribute *old = before.items;
            const struct kmip_named_attribute *new = after.items;
            for (size_t i = 0; i < before.count; i++)
                assert_true(value_equal(&old[i].value, &new[i].value));
        }
}

static void each_cause_sets_its_dates(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    static const char *const dates[] = {"Activation Date", "Deactivation Date", "Compromise Date",
                                        "Compromise Occurrence Date", "Destroy Date"};
    for (size_t i = 0; i < ARRAY_COUNT(dates); i++)
        assert_int_equal(number_of(talk, id, dates[i]), -1);
    talk_wait(talk, 10);
    assert_success(by_id(talk, KMIP_OPERATION_ACTIVATE, id));
    assert_int_equal(number_of(talk, id, "Activation Date"), TALK_NOW + 10);
    assert_int_equal(number_of(talk, id, "Last Change Date"), TALK_NOW + 10);
    talk_wait(talk, 10);
    assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_UNSPECIFIED));
    assert_int_equal(number_of(talk, id, "Deactivation Date"), TALK_NOW + 20);
    assert_int_equal(number_of(talk, id, "Compromise Date"), -1);
    talk_wait(talk, 10);
    assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE));
    assert_int_equal(number_of(talk, id, "Compromise Date"), TALK_NOW + 30);
    assert_int_equal(number_of(talk, id, "Compromise Occurrence Date"), TALK_NOW + 30);
    talk_wait(talk, 10);
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
    assert_int_equal(number_of(talk, id, "Destroy Date"), TALK_NOW + 40);
    assert_int_equal(number_of(talk, id, "Last Change Date"), TALK_NOW + 40);
    assert_int_equal(number_of(talk, id, "Activation Date"), TALK_NOW + 10);
    assert_int_equal(number_of(talk, id, "Initial Date"), TALK_NOW);
}

/* ---- Dates that come by themselves ---- */

static void dates_move_a_key_when_they_come(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Activation Date", date(TALK_NOW + 100)),
                                        named("Deactivation Date", date(TALK_NOW + 200))));
    assert_int_equal(state_of(talk, id), KMIP_STATE_PRE_ACTIVE);
    talk_wait(talk, 99);
    assert_int_equal(state_of(talk, id), KMIP_STATE_PRE_ACTIVE);
    talk_wait(talk, 1);
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
    assert_reason(by_id(talk, KMIP_OPERATION_ACTIVATE, id), KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_reason(by_id(talk, KMIP_OPERATION_DESTROY, id), KMIP_RESULT_REASON_PERMISSION_DENIED);
    talk_wait(talk, 99);
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
    talk_wait(talk, 1);
    assert_int_equal(state_of(talk, id), KMIP_STATE_DEACTIVATED);
    assert_int_equal(number_of(talk, id, "Last Change Date"), TALK_NOW); /* nobody changed it */
    assert_int_equal(key_of(talk, id).size, 32); /* data under it must still be read */
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
}

/* Nobody looked while both dates passed. */
static void dates_are_passed_one_after_the_other(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Activation Date", date(TALK_NOW + 100)),
                                        named("Deactivation Date", date(TALK_NOW + 200))));
    talk_wait(talk, 1000);
    assert_int_equal(state_of(talk, id), KMIP_STATE_DEACTIVATED);
}

static void a_past_activation_date_makes_active_at_once(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Activation Date", date(TALK_NOW))));
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
    id = create_key(talk);
    assert_success(add_attribute(talk, id, named("Activation Date", date(0))));
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
    assert_int_equal(number_of(talk, id, "Activation Date"), 0);
}

/* §3.24, §3.27: until when a client may move the dates. */
static void dates_are_fixed_once_they_have_come(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Activation Date", date(TALK_NOW + 100)),
                                        named("Process Start Date", date(TALK_NOW + 150)),
                                        named("Protect Stop Date", date(TALK_NOW + 160)),
                                        named("Deactivation Date", date(TALK_NOW + 300))));
    assert_success(modify_attribute(talk, id, named("Activation Date", date(TALK_NOW + 110))));
    talk_wait(talk, 120);
    assert_reason(modify_attribute(talk, id, named("Activation Date", date(TALK_NOW + 900))),
                  KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_success(modify_attribute(talk, id, named("Process Start Date", date(TALK_NOW + 151))));
    assert_success(modify_attribute(talk, id, named("Protect Stop Date", date(TALK_NOW + 161))));
    talk_wait(talk, 80);
    assert_reason(modify_attribute(talk, id, named("Process Start Date", date(TALK_NOW + 900))),
                  KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_reason(modify_attribute(talk, id, named("Protect Stop Date", date(TALK_NOW + 290))),
                  KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_success(modify_attribute(talk, id, named("Deactivation Date", date(TALK_NOW + 310))));
    talk_wait(talk, 200);
    assert_int_equal(state_of(talk, id), KMIP_STATE_DEACTIVATED);
    assert_reason(modify_attribute(talk, id, named("Deactivation Date", date(TALK_NOW + 900))),
                  KMIP_RESULT_REASON_PERMISSION_DENIED);
}

/* A batch sees at once what everybody sees after it. */
static void activating_behind_the_deactivation_date_deactivates(void **state)
{
    struct talk *talk = *state;
    struct kmip_get_attributes_response response;
    struct bytes id = create(talk, WITH(named("Deactivation Date", date(TALK_NOW - 10))));
    assert_int_equal(state_of(talk, id), KMIP_STATE_PRE_ACTIVE);
    put_id(talk_item(talk, KMIP_OPERATION_ACTIVATE), id);
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_GET_ATTRIBUTES);
    put_id(payload, id);
    ttlv_write_text(payload, KMIP_TAG_ATTRIBUTE_NAME, bytes_of_text("State"));
    const struct kmip_response_item *items = talk_send(talk, 2);
    assert_success(&items[0]);
    talk_payload(talk, &items[1], &kmip_get_attributes_response_shape, &response);
    const struct kmip_named_attribute *attributes = response.attributes.items;
    assert_int_equal(value_number(&attributes[0].value), KMIP_STATE_DEACTIVATED);
    assert_int_equal(state_of(talk, id), KMIP_STATE_DEACTIVATED);
}

/* A wall clock that steps back takes nothing back. */
static void a_clock_that_steps_back_stands_still(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Activation Date", date(TALK_NOW + 100))));
    talk_wait(talk, 100);
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
    talk_wait(talk, -5000);
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
    struct bytes later = create_key(talk);
    assert_int_equal(number_of(talk, later, "Initial Date"), TALK_NOW + 100);
    assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_SUPERSEDED));
    assert_int_equal(number_of(talk, id, "Deactivation Date"), TALK_NOW + 100);
}

/* ---- Revoke ---- */

static void every_reason_is_kept_and_moves_the_key(void **state)
{
    struct talk *talk = *state;
    static const struct {
        uint32_t code;
        int64_t state;
    } codes[] = {
        {KMIP_REVOCATION_REASON_CODE_UNSPECIFIED, KMIP_STATE_DEACTIVATED},
        {KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE, KMIP_STATE_COMPROMISED},
        {KMIP_REVOCATION_REASON_CODE_CA_COMPROMISE, KMIP_STATE_COMPROMISED},
        {KMIP_REVOCATION_REASON_CODE_AFFILIATION_CHANGED, KMIP_STATE_DEACTIVATED},
        {KMIP_REVOCATION_REASON_CODE_SUPERSEDED, KMIP_STATE_DEACTIVATED},
        {KMIP_REVOCATION_REASON_CODE_CESSATION_OF_OPERATION, KMIP_STATE_DEACTIVATED},
        {KMIP_REVOCATION_REASON_CODE_PRIVILEGE_WITHDRAWN, KMIP_STATE_DEACTIVATED},
    };
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++) {
        struct kmip_revocation_reason kept;
        struct bytes id = key_in_state(talk, KMIP_STATE_ACTIVE);
        struct kmip_revocation_reason reason = {.code = kmip_number(codes[i].code),
                                                .message = BYTES_LITERAL("because")};
        const struct kmip_revoke_request request = {.unique_identifier = id,
                                                    .revocation_reason = &reason};
        kmip_encode(&kmip_revoke_request_shape, &request, talk->version,
                    talk_item(talk, KMIP_OPERATION_REVOKE));
        assert_success(talk_send(talk, 1));
        assert_int_equal(state_of(talk, id), codes[i].state);
        const struct kmip_any *value = attribute_of(talk, id, "Revocation Reason", 0);
        assert_non_null(value);
        assert_int_equal(kmip_decode(&kmip_revocation_reason_shape, ttlv_reader_over(value->value),
                                     talk_arena(talk), &kept),
                         STATUS_OK);
        assert_int_equal(kept.code.value, codes[i].code);
        assert_true(bytes_equal_text(kept.message, "because"));
    }
}

static void an_unknown_reason_is_refused(void **state)
{
    struct talk *talk = *state;
    struct bytes id = key_in_state(talk, KMIP_STATE_ACTIVE);
    static const uint32_t codes[] = {0, 8, 0xFFFFFFFF};
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++)
        assert_reason(revoke_key(talk, id, codes[i]), KMIP_RESULT_REASON_INVALID_FIELD);
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
}

static void a_compromise_may_be_older_than_its_discovery(void **state)
{
    struct talk *talk = *state;
    struct bytes id = key_in_state(talk, KMIP_STATE_ACTIVE);
    struct kmip_revocation_reason reason = {
        .code = kmip_number(KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE)};
    const struct kmip_revoke_request request = {.unique_identifier = id,
                                                .revocation_reason = &reason,
                                                .compromise_occurrence_date =
                                                    kmip_number(TALK_NOW - 86400)};
    kmip_encode(&kmip_revoke_request_shape, &request, talk->version,
                talk_item(talk, KMIP_OPERATION_REVOKE));
    assert_success(talk_send(talk, 1));
    assert_int_equal(number_of(talk, id, "Compromise Occurrence Date"), TALK_NOW - 86400);
    assert_int_equal(number_of(talk, id, "Compromise Date"), TALK_NOW);
}

/* ---- Destroy ---- */

static void a_destroyed_key_is_gone_and_its_attributes_stay(void **state)
{
    struct talk *talk = *state;
    struct uuid uuid;
    struct stored_object *stored;
    struct bytes id = create(talk, WITH(named("Name", name_value("to-destroy"))));
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
    assert_int_equal(state_of(talk, id), KMIP_STATE_DESTROYED);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    assert_int_equal(number_of(talk, id, "Cryptographic Length"), 256);
    assert_int_equal(instances_of(talk, id, "Name"), 1);
    assert_true(uuid_parse(id, &uuid));
    assert_int_equal(store_get(talk->bench.session_store, talk->session->adapter, &uuid, &stored),
                     STATUS_OK);
    assert_int_equal(stored->row.wrapped.blob.size, 0); /* not even wrapped */
    stored_object_release(stored);
    create(talk, WITH(named("Name", name_value("to-destroy")))); /* its Name is free again */
}

/* A cache of unwrapped keys must not know it any more. */
static void a_destroyed_key_does_not_come_out_of_the_cache(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    assert_int_equal(key_of(talk, id).size, 32);
    put_id(talk_item(talk, KMIP_OPERATION_DESTROY), id);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    const struct kmip_response_item *items = talk_send(talk, 2);
    assert_success(&items[0]);
    assert_reason(&items[1], KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_ITEM_NOT_FOUND);
}

/* ---- Other kinds of object ---- */

static void opaque_objects_have_no_state(void **state)
{
    struct talk *talk = *state;
    struct bytes id = register_opaque(talk, WITHOUT);
    assert_null(attribute_of(talk, id, "State", 0));
    assert_reason(by_id(talk, KMIP_OPERATION_ACTIVATE, id), KMIP_RESULT_REASON_ILLEGAL_OPERATION);
    assert_reason(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_UNSPECIFIED),
                  KMIP_RESULT_REASON_ILLEGAL_OPERATION);
    assert_reason(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE),
                  KMIP_RESULT_REASON_ILLEGAL_OPERATION);
    assert_reason(add_attribute(talk, id, named("Activation Date", date(TALK_NOW))),
                  KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_success(by_id(talk, KMIP_OPERATION_GET, id));
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
    assert_int_equal(number_of(talk, id, "Destroy Date"), TALK_NOW);
    assert_null(attribute_of(talk, id, "State", 0));
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    assert_reason(by_id(talk, KMIP_OPERATION_DESTROY, id), KMIP_RESULT_REASON_PERMISSION_DENIED);
}

static void secret_data_lives_as_keys_do(void **state)
{
    struct talk *talk = *state;
    struct bytes id = register_secret(talk, WITHOUT);
    assert_int_equal(state_of(talk, id), KMIP_STATE_PRE_ACTIVE);
    assert_success(by_id(talk, KMIP_OPERATION_ACTIVATE, id));
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
    assert_success(revoke_key(talk, id, KMIP_REVOCATION_REASON_CODE_UNSPECIFIED));
    assert_int_equal(state_of(talk, id), KMIP_STATE_DEACTIVATED);
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
    assert_int_equal(state_of(talk, id), KMIP_STATE_DESTROYED);
}

/* Nobody's, malformed and another adapter's identifiers are one and the same answer. */
static void what_does_not_exist_has_no_life(void **state)
{
    struct talk *talk = *state;
    static struct core_session other; /* the bench keeps its address */
    core_bench_adapter(&talk->bench, "other", &other);
    const struct bytes ids[] = {BYTES_LITERAL("0190163d-ecbc-7ae4-bee4-dd9a4a43d9b5"),
                                BYTES_LITERAL(""), BYTES_LITERAL("1"), create_key(talk)};
    static const uint32_t operations[] = {KMIP_OPERATION_ACTIVATE,
                                          KMIP_OPERATION_DESTROY,
                                          KMIP_OPERATION_GET,
                                          KMIP_OPERATION_GET_ATTRIBUTES,
                                          KMIP_OPERATION_GET_ATTRIBUTE_LIST,
                                          KMIP_OPERATION_CHECK,
                                          KMIP_OPERATION_RE_KEY};
    talk->session = &other;
    for (size_t i = 0; i < ARRAY_COUNT(ids); i++) {
        for (size_t j = 0; j < ARRAY_COUNT(operations); j++)
            assert_reason(by_id(talk, operations[j], ids[i]), KMIP_RESULT_REASON_ITEM_NOT_FOUND);
        assert_reason(revoke_key(talk, ids[i], KMIP_REVOCATION_REASON_CODE_UNSPECIFIED),
                      KMIP_RESULT_REASON_ITEM_NOT_FOUND);
        assert_reason(add_attribute(talk, ids[i], named("x-a", integer(1))),
                      KMIP_RESULT_REASON_ITEM_NOT_FOUND);
        assert_reason(modify_attribute(talk, ids[i], named("x-a", integer(1))),
                      KMIP_RESULT_REASON_ITEM_NOT_FOUND);
        assert_reason(delete_attribute(talk, ids[i], "x-a", -1), KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, talk_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_transition_of_the_table_and_no_other),
        CASE(a_refused_transition_changes_nothing),
        CASE(each_cause_sets_its_dates),
        CASE(dates_move_a_key_when_they_come),
        CASE(dates_are_passed_one_after_the_other),
        CASE(a_past_activation_date_makes_active_at_once),
        CASE(dates_are_fixed_once_they_have_come),
        CASE(activating_behind_the_deactivation_date_deactivates),
        CASE(a_clock_that_steps_back_stands_still),
        CASE(every_reason_is_kept_and_moves_the_key),
        CASE(an_unknown_reason_is_refused),
        CASE(a_compromise_may_be_older_than_its_discovery),
        CASE(a_destroyed_key_is_gone_and_its_attributes_stay),
        CASE(a_destroyed_key_does_not_come_out_of_the_cache),
        CASE(opaque_objects_have_no_state),
        CASE(secret_data_lives_as_keys_do),
        CASE(what_does_not_exist_has_no_life),
    };
    return cmocka_run_group_tests_name("core_lifecycle", tests, NULL, NULL);
}
