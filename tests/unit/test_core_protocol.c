/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asks before it begins: Discover Versions, Query, Check (KMIP 1.4 §4.10, §4.25,
 * §4.26), and how it says who it is (§6.6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core_talk.h"
#include "crypto/password.h"

/* ---- Discover Versions ---- */

static struct kmip_list discover(struct talk *talk, size_t count, const uint16_t *asked)
{
    struct kmip_protocol_version versions[8];
    struct kmip_discover_versions response;
    struct kmip_discover_versions request = {.versions = {count, versions}};
    for (size_t i = 0; i < count; i++)
        versions[i] = kmip_version_structure(asked[i]);
    kmip_encode(&kmip_discover_versions_shape, &request, talk->version,
                talk_item(talk, KMIP_OPERATION_DISCOVER_VERSIONS));
    talk_payload(talk, talk_send(talk, 1), &kmip_discover_versions_shape, &response);
    return response.versions;
}

static void assert_versions(struct kmip_list list, size_t count, const uint16_t *expected)
{
    const struct kmip_protocol_version *versions = list.items;
    assert_int_equal(list.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(kmip_version_of(&versions[i]), expected[i]);
}

static void versions_are_listed_highest_first(void **state)
{
    struct talk *talk = *state;
    static const uint16_t all[] = {0x0104, 0x0103, 0x0102, 0x0101, 0x0100};
    for (talk->version = KMIP_VERSION_1_0; talk->version <= KMIP_VERSION_1_4; talk->version++)
        assert_versions(discover(talk, 0, NULL), 5, all);
}

static void versions_are_those_of_both_sides(void **state)
{
    struct talk *talk = *state;
    static const struct {
        size_t asked, answered;
        uint16_t list[4], answer[4];
    } cases[] = {
        {2, 2, {0x0101, 0x0104}, {0x0104, 0x0101}},
        {3, 1, {0x0201, 0x0200, 0x0102}, {0x0102}},
        {2, 0, {0x0201, 0x0300}, {0}},
        {3, 1, {0x0100, 0x0100, 0x0100}, {0x0100}},
        {1, 0, {0x0000}, {0}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_versions(discover(talk, cases[i].asked, cases[i].list), cases[i].answered,
                        cases[i].answer);
}

/* ---- Query ---- */

static const struct kmip_response_item *try_query(struct talk *talk, size_t count,
                                                  const uint32_t *functions)
{
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_QUERY);
    for (size_t i = 0; i < count; i++)
        ttlv_write_enumeration(payload, KMIP_TAG_QUERY_FUNCTION, functions[i]);
    return talk_send(talk, 1);
}

static struct kmip_query_response query(struct talk *talk, size_t count, const uint32_t *functions)
{
    struct kmip_query_response response;
    talk_payload(talk, try_query(talk, count, functions), &kmip_query_response_shape, &response);
    return response;
}

static bool lists(struct kmip_list list, uint32_t wanted)
{
    const struct kmip_number *items = list.items;
    for (size_t i = 0; i < list.count; i++)
        if (items[i].value == wanted)
            return true;
    return false;
}

/* Whatever is listed can be sent, and whatever can be sent is listed. */
static void operations_are_listed_truthfully(void **state)
{
    struct talk *talk = *state;
    static const uint32_t operations[] = {KMIP_QUERY_FUNCTION_QUERY_OPERATIONS};
    for (talk->version = KMIP_VERSION_1_0; talk->version <= KMIP_VERSION_1_4; talk->version++) {
        struct kmip_query_response response = query(talk, 1, operations);
        for (uint32_t code = 1; code < 0x40; code++) {
            const struct kmip_operation_info *info = kmip_operation_by_code(code);
            talk_item(talk, code);
            bool known = talk_send(talk, 1)->result_reason.value !=
                         KMIP_RESULT_REASON_OPERATION_NOT_SUPPORTED;
            /* Asked in 1.0 it is answered, but 1.0 has no word for it to list. */
            if (code == KMIP_OPERATION_DISCOVER_VERSIONS && talk->version == KMIP_VERSION_1_0)
                known = false;
            assert_true(lists(response.operations, code) == known);
            if (known)
                assert_true(info->value->since <= talk->version);
        }
        assert_int_equal(response.object_types.count, 0); /* and nothing that was not asked */
        assert_null(response.vendor_identification.data);
    }
}

static void object_types_are_those_that_can_be_made(void **state)
{
    struct talk *talk = *state;
    static const uint32_t objects[] = {KMIP_QUERY_FUNCTION_QUERY_OBJECTS};
    struct kmip_query_response response = query(talk, 1, objects);
    assert_int_equal(response.object_types.count, 3);
    assert_true(lists(response.object_types, KMIP_OBJECT_TYPE_SYMMETRIC_KEY));
    assert_true(lists(response.object_types, KMIP_OBJECT_TYPE_SECRET_DATA));
    assert_true(lists(response.object_types, KMIP_OBJECT_TYPE_OPAQUE_OBJECT));
    assert_int_equal(response.operations.count, 0);
}

/* The trust test of vCenter. */
static void the_vendor_names_itself(void **state)
{
    struct talk *talk = *state;
    static const uint32_t information[] = {KMIP_QUERY_FUNCTION_QUERY_SERVER_INFORMATION};
    talk->version = KMIP_VERSION_1_1;
    struct kmip_query_response response = query(talk, 1, information);
    assert_true(bytes_equal_text(response.vendor_identification, "kmipd " KMIPD_VERSION));
}

static void generators_and_capabilities_are_told_since_1_3(void **state)
{
    struct talk *talk = *state;
    static const uint32_t functions[] = {KMIP_QUERY_FUNCTION_QUERY_RNGS,
                                         KMIP_QUERY_FUNCTION_QUERY_CAPABILITIES};
    for (talk->version = KMIP_VERSION_1_3; talk->version <= KMIP_VERSION_1_4; talk->version++) {
        struct kmip_query_response response = query(talk, 2, functions);
        assert_int_equal(response.rng_parameters.count, 1);
        const struct kmip_rng_parameters *generator = response.rng_parameters.items;
        assert_int_equal(generator->drbg_algorithm.value, KMIP_DRBG_ALGORITHM_CTR);
        assert_int_equal(response.capabilities.count, 1);
        const struct kmip_capability *capability = response.capabilities.items;
        assert_int_equal(capability->asynchronous.value, 0);
        bool batches = talk->version >= KMIP_VERSION_1_4; /* newer fields stay out */
        assert_true(capability->batch_undo.present == batches);
        assert_true(capability->batch_continue.present == batches);
        assert_int_equal(capability->batch_continue.value, batches);
    }
}

/* A function is known from its version on, and none is known that the version does not have. */
static void functions_belong_to_their_versions(void **state)
{
    struct talk *talk = *state;
    for (talk->version = KMIP_VERSION_1_0; talk->version <= KMIP_VERSION_1_4; talk->version++)
        for (uint32_t function = 0; function < 0x12; function++) {
            const struct kmip_value_info *info =
                kmip_value_by_number(KMIP_TAG_QUERY_FUNCTION, function);
            bool known = info != NULL && kmip_in_version(info->since, info->until, talk->version);
            const struct kmip_response_item *item = try_query(talk, 1, &function);
            if (known)
                assert_success(item);
            else
                assert_reason(item, KMIP_RESULT_REASON_INVALID_FIELD);
        }
}

/* Synology asks for six at once; others ask for one twice. */
static void several_functions_are_answered_together(void **state)
{
    struct talk *talk = *state;
    static const uint32_t functions[] = {3, 1, 2, 4, 5, 6, 1, 3};
    struct kmip_query_response response = query(talk, ARRAY_COUNT(functions), functions);
    assert_true(response.operations.count > 10);
    assert_int_equal(response.object_types.count, 3);
    assert_non_null(response.vendor_identification.data);
    assert_int_equal(response.extensions.count, 0);
    assert_reason(try_query(talk, 0, NULL), KMIP_RESULT_REASON_MISSING_DATA);
}

/* ---- Check ---- */

static const struct kmip_response_item *try_check(struct talk *talk, struct bytes id,
                                                  struct kmip_check wish)
{
    wish.unique_identifier = id;
    kmip_encode(&kmip_check_shape, &wish, talk->version, talk_item(talk, KMIP_OPERATION_CHECK));
    return talk_send(talk, 1);
}

static struct kmip_check denied(struct talk *talk, const struct kmip_response_item *item)
{
    struct kmip_check denial;
    assert_reason(item, KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_int_equal(item->payload.type, TTLV_STRUCTURE);
    assert_int_equal(kmip_decode(&kmip_check_shape, ttlv_reader_over(item->payload.value),
                                 talk_arena(talk), &denial),
                     STATUS_OK);
    assert_null(denial.unique_identifier.data);
    return denial;
}

static void a_check_names_what_is_denied(void **state)
{
    struct talk *talk = *state;
    int64_t lease = core_bench_options.lease_seconds;
    struct bytes id = create(talk, WITH(named("Usage Limits", usage_limits(100, -1))));
    const struct kmip_check allowed = {.usage_limits_count = kmip_number(100),
                                       .cryptographic_usage_mask = kmip_number(12),
                                       .lease_time = kmip_number(lease)};
    struct kmip_identifier answer;
    talk_payload(talk, try_check(talk, id, allowed), &kmip_identifier_shape, &answer);
    assert_true(bytes_equal(answer.unique_identifier, id));
    struct kmip_check wish = allowed;
    wish.usage_limits_count = kmip_number(101);
    struct kmip_check denial = denied(talk, try_check(talk, id, wish));
    assert_int_equal(denial.usage_limits_count.value, 101);
    assert_false(denial.cryptographic_usage_mask.present);
    assert_false(denial.lease_time.present);
    wish.cryptographic_usage_mask = kmip_number(12 + 16);
    wish.lease_time = kmip_number(lease + 1);
    denial = denied(talk, try_check(talk, id, wish));
    assert_true(denial.usage_limits_count.present);
    assert_int_equal(denial.cryptographic_usage_mask.value, 12 + 16);
    assert_int_equal(denial.lease_time.value, lease + 1);
}

static void what_has_no_limits_allows_any_use(void **state)
{
    struct talk *talk = *state;
    const struct kmip_check wish = {.usage_limits_count = kmip_number(INT64_MAX)};
    assert_success(try_check(talk, create_key(talk), wish));
    const struct kmip_check use = {.cryptographic_usage_mask = kmip_number(1)};
    denied(talk, try_check(talk, register_opaque(talk, WITHOUT), use));
}

/* "The server empties the ID Placeholder". */
static void a_denial_empties_the_placeholder(void **state)
{
    struct talk *talk = *state;
    for (int32_t mask = 4; mask <= 16; mask *= 4) {
        const struct kmip_check wish = {.cryptographic_usage_mask = kmip_number(mask)};
        talk->header.batch_error_continuation_option =
            kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_CONTINUE);
        put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
        kmip_encode(&kmip_check_shape, &wish, talk->version, talk_item(talk, KMIP_OPERATION_CHECK));
        talk_item(talk, KMIP_OPERATION_GET);
        const struct kmip_response_item *items = talk_send(talk, 3);
        if (mask == 4)
            assert_success(&items[2]);
        else
            assert_reason(&items[2], KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    }
}

/* ---- Credentials ---- */

struct credential {
    uint32_t type;
    const char *username; /* NULL: the value is no structure */
    const char *password; /* NULL: none */
};

static struct kmip_any credential_value(struct talk *talk, const struct credential *credential)
{
    struct kmip_username_password pair = {0};
    if (credential->username == NULL)
        return text("what is this");
    pair.username = bytes_of_text(credential->username);
    if (credential->password != NULL)
        pair.password = bytes_of_text(credential->password);
    return value_structure(talk_arena(talk), &kmip_username_password_shape, &pair);
}

static const struct kmip_response_item *ask_as(struct talk *talk, size_t count,
                                               const struct credential *credentials)
{
    struct kmip_credential list[4];
    struct kmip_authentication authentication = {.credentials = {count, list}};
    for (size_t i = 0; i < count; i++)
        list[i] = (struct kmip_credential){.type = kmip_number(credentials[i].type),
                                           .value = credential_value(talk, &credentials[i])};
    talk->header.authentication = &authentication;
    talk_item(talk, KMIP_OPERATION_DISCOVER_VERSIONS);
    return talk_send(talk, 1);
}

#define PASSWORD_TYPE KMIP_CREDENTIAL_TYPE_USERNAME_AND_PASSWORD

static void nothing_configured_takes_any_credential(void **state)
{
    struct talk *talk = *state;
    static const struct credential any[] = {{PASSWORD_TYPE, "anybody", "anything"},
                                            {PASSWORD_TYPE, "", NULL},
                                            {KMIP_CREDENTIAL_TYPE_DEVICE, "x", NULL},
                                            {KMIP_CREDENTIAL_TYPE_ATTESTATION, NULL, NULL},
                                            {0x80000001, NULL, NULL}};
    for (size_t i = 0; i < ARRAY_COUNT(any); i++)
        assert_success(ask_as(talk, 1, &any[i]));
    static const struct credential broken = {PASSWORD_TYPE, NULL, NULL};
    assert_reason(ask_as(talk, 1, &broken), KMIP_RESULT_REASON_INVALID_FIELD);
}

/* §6.6, and vCenter's way: where one is configured it is checked when it comes, and need not come. */
static void a_configured_credential_is_checked_when_it_comes(void **state)
{
    struct talk *talk = *state;
    struct core_session session = talk->bench.session;
    (void)snprintf(session.username, sizeof(session.username), "vcenter");
    assert_int_equal(password_hash(BYTES_LITERAL("correct"), session.password_hash), STATUS_OK);
    talk->session = &session;
    static const struct {
        size_t count;
        struct credential credentials[2];
        uint32_t reason;
    } cases[] = {
        {1, {{PASSWORD_TYPE, "vcenter", "correct"}}, 0},
        {1, {{PASSWORD_TYPE, "vcenter", "correct"}}, 0}, /* remembered */
        {1,
         {{PASSWORD_TYPE, "vcenter", "wrong"}},
         KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL},
        {1, {{PASSWORD_TYPE, "vcenter", NULL}}, KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL},
        {1,
         {{PASSWORD_TYPE, "VCENTER", "correct"}},
         KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL},
        {2,
         {{PASSWORD_TYPE, "vcenter", "correct"}, {PASSWORD_TYPE, "other", "x"}},
         KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL},
        {2, {{KMIP_CREDENTIAL_TYPE_DEVICE, "x", NULL}, {PASSWORD_TYPE, "vcenter", "correct"}}, 0},
        {1, {{KMIP_CREDENTIAL_TYPE_DEVICE, "x", NULL}}, 0},
    };
    talk_item(talk, KMIP_OPERATION_DISCOVER_VERSIONS);
    assert_success(talk_send(talk, 1)); /* no credential at all */
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct kmip_response_item *item = ask_as(talk, cases[i].count, cases[i].credentials);
        if (cases[i].reason == 0)
            assert_success(item);
        else
            assert_reason(item, cases[i].reason);
    }
}

/* A new password counts at once, though the old one is remembered. */
static void a_changed_password_counts_at_once(void **state)
{
    struct talk *talk = *state;
    struct core_session session = talk->bench.session;
    static const struct credential old = {PASSWORD_TYPE, "vcenter", "old"};
    (void)snprintf(session.username, sizeof(session.username), "vcenter");
    assert_int_equal(password_hash(BYTES_LITERAL("old"), session.password_hash), STATUS_OK);
    talk->session = &session;
    assert_success(ask_as(talk, 1, &old));
    assert_int_equal(password_hash(BYTES_LITERAL("new"), session.password_hash), STATUS_OK);
    assert_reason(ask_as(talk, 1, &old), KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
    (void)snprintf(session.password_hash, sizeof(session.password_hash), "$no$hash");
    assert_reason(ask_as(talk, 1, &old), KMIP_RESULT_REASON_GENERAL_FAILURE);
}

/* A refused credential refuses every item, and nothing happens. */
static void a_wrong_credential_does_nothing(void **state)
{
    struct talk *talk = *state;
    struct core_session session = talk->bench.session;
    struct kmip_credential wrong = {.type = kmip_number(PASSWORD_TYPE)};
    struct kmip_authentication authentication = {.credentials = {1, &wrong}};
    static const struct credential credential = {PASSWORD_TYPE, "nobody", "x"};
    wrong.value = credential_value(talk, &credential);
    (void)snprintf(session.username, sizeof(session.username), "vcenter");
    talk->session = &session;
    talk->header.authentication = &authentication;
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    const struct kmip_response_item *items = talk_send(talk, 2);
    assert_reason(&items[0], KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
    assert_reason(&items[1], KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
    assert_int_equal(talk->bench.request.change_count, 0);
    assert_false(talk->bench.request.close);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, talk_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(versions_are_listed_highest_first),
        CASE(versions_are_those_of_both_sides),
        CASE(operations_are_listed_truthfully),
        CASE(object_types_are_those_that_can_be_made),
        CASE(the_vendor_names_itself),
        CASE(generators_and_capabilities_are_told_since_1_3),
        CASE(functions_belong_to_their_versions),
        CASE(several_functions_are_answered_together),
        CASE(a_check_names_what_is_denied),
        CASE(what_has_no_limits_allows_any_use),
        CASE(a_denial_empties_the_placeholder),
        CASE(nothing_configured_takes_any_credential),
        CASE(a_configured_credential_is_checked_when_it_comes),
        CASE(a_changed_password_counts_at_once),
        CASE(a_wrong_credential_does_nothing),
    };
    return cmocka_run_group_tests_name("core_protocol", tests, NULL, NULL);
}
