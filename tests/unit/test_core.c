/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/admin.h"
#include "core_bench.h"
#include "keymanager/memory.h"

#define VERSION KMIP_VERSION_1_1

/* A request of one item, as it is built up. */
struct message {
    struct buffer buffer;
    size_t message, item, payload;
};

static void begin_item(struct message *message, uint32_t operation)
{
    message->item = ttlv_begin(&message->buffer, KMIP_TAG_BATCH_ITEM);
    ttlv_write_enumeration(&message->buffer, KMIP_TAG_OPERATION, operation);
    message->payload = ttlv_begin(&message->buffer, KMIP_TAG_REQUEST_PAYLOAD);
}

static void end_item(struct message *message)
{
    ttlv_end(&message->buffer, message->payload);
    ttlv_end(&message->buffer, message->item);
}

static void begin_message(struct message *message, uint16_t version, int items)
{
    struct kmip_protocol_version protocol = kmip_version_structure(version);
    struct kmip_request_header header = {.version = &protocol, .batch_count = kmip_number(items)};
    buffer_init(&message->buffer, 1 << 20);
    message->message = ttlv_begin(&message->buffer, KMIP_TAG_REQUEST_MESSAGE);
    kmip_encode_structure(KMIP_TAG_REQUEST_HEADER, &kmip_request_header_shape, &header, version,
                          &message->buffer);
}

static struct kmip_response_item *run_as(struct core_bench *bench,
                                         const struct core_session *session,
                                         struct message *message, size_t expected_items)
{
    struct kmip_response response;
    ttlv_end(&message->buffer, message->message);
    assert_int_equal(buffer_status(&message->buffer), STATUS_OK);
    assert_int_equal(core_bench_run(bench, session, buffer_bytes(&message->buffer)), STATUS_OK);
    struct bytes answer;
    assert_true(arena_copy(&bench->arena, buffer_bytes(&bench->request.reply), &answer));
    assert_int_equal(kmip_decode_response(answer, &bench->arena, &response), STATUS_OK);
    assert_int_equal(response.items.count, expected_items);
    assert_int_equal(response.header.batch_count.value, expected_items);
    assert_int_equal(bench->request.record_count, expected_items);
    buffer_free(&message->buffer);
    return response.items.items;
}

static struct kmip_response_item *run(struct core_bench *bench, struct message *message)
{
    return run_as(bench, &bench->session, message, 1);
}

static void assert_success(const struct kmip_response_item *item)
{
    if (item->result_status.value != KMIP_RESULT_STATUS_SUCCESS)
        fail_msg("failed: %.*s", (int)item->result_message.size, item->result_message.data);
}

static void assert_reason(const struct kmip_response_item *item, uint32_t reason)
{
    assert_int_equal(item->result_status.value, KMIP_RESULT_STATUS_OPERATION_FAILED);
    assert_string_equal(
        kmip_value_text(KMIP_TAG_RESULT_REASON, (uint32_t)item->result_reason.value),
        kmip_value_text(KMIP_TAG_RESULT_REASON, reason));
    assert_true(item->result_message.size > 0);
}

/* vCenter's Create: three attributes, no Name. */
static void write_create(struct buffer *buffer, const char *name)
{
    ttlv_write_enumeration(buffer, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
    size_t template_attribute = ttlv_begin(buffer, KMIP_TAG_TEMPLATE_ATTRIBUTE);
    size_t attribute = ttlv_begin(buffer, KMIP_TAG_ATTRIBUTE);
    ttlv_write_text(buffer, KMIP_TAG_ATTRIBUTE_NAME, bytes_of_text("Cryptographic Algorithm"));
    ttlv_write_enumeration(buffer, KMIP_TAG_ATTRIBUTE_VALUE, KMIP_CRYPTOGRAPHIC_ALGORITHM_AES);
    ttlv_end(buffer, attribute);
    attribute = ttlv_begin(buffer, KMIP_TAG_ATTRIBUTE);
    ttlv_write_text(buffer, KMIP_TAG_ATTRIBUTE_NAME, bytes_of_text("Cryptographic Usage Mask"));
    ttlv_write_integer(buffer, KMIP_TAG_ATTRIBUTE_VALUE, 12);
    ttlv_end(buffer, attribute);
    attribute = ttlv_begin(buffer, KMIP_TAG_ATTRIBUTE);
    ttlv_write_text(buffer, KMIP_TAG_ATTRIBUTE_NAME, bytes_of_text("Cryptographic Length"));
    ttlv_write_integer(buffer, KMIP_TAG_ATTRIBUTE_VALUE, 256);
    ttlv_end(buffer, attribute);
    if (name != NULL) {
        attribute = ttlv_begin(buffer, KMIP_TAG_ATTRIBUTE);
        ttlv_write_text(buffer, KMIP_TAG_ATTRIBUTE_NAME, bytes_of_text("Name"));
        size_t value = ttlv_begin(buffer, KMIP_TAG_ATTRIBUTE_VALUE);
        ttlv_write_text(buffer, KMIP_TAG_NAME_VALUE, bytes_of_text(name));
        ttlv_write_enumeration(buffer, KMIP_TAG_NAME_TYPE,
                               KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING);
        ttlv_end(buffer, value);
        ttlv_end(buffer, attribute);
    }
    ttlv_end(buffer, template_attribute);
}

static struct kmip_response_item *create_as(struct core_bench *bench,
                                            const struct core_session *session, const char *name)
{
    struct message message;
    begin_message(&message, VERSION, 1);
    begin_item(&message, KMIP_OPERATION_CREATE);
    write_create(&message.buffer, name);
    end_item(&message);
    return run_as(bench, session, &message, 1);
}

static struct bytes create(struct core_bench *bench, const char *name)
{
    struct kmip_response_item *item = create_as(bench, &bench->session, name);
    struct kmip_create_response response;
    assert_success(item);
    assert_int_equal(kmip_decode(&kmip_create_response_shape, ttlv_reader_over(item->payload.value),
                                 &bench->arena, &response),
                     STATUS_OK);
    assert_int_equal(response.unique_identifier.size, UUID_TEXT_LENGTH);
    return response.unique_identifier;
}

static struct kmip_response_item *by_id_as(struct core_bench *bench,
                                           const struct core_session *session, uint32_t operation,
                                           struct bytes id)
{
    struct message message;
    begin_message(&message, VERSION, 1);
    begin_item(&message, operation);
    ttlv_write_text(&message.buffer, KMIP_TAG_UNIQUE_IDENTIFIER, id);
    end_item(&message);
    return run_as(bench, session, &message, 1);
}

static struct kmip_response_item *by_id(struct core_bench *bench, uint32_t operation,
                                        struct bytes id)
{
    return by_id_as(bench, &bench->session, operation, id);
}

static int64_t get_number(struct core_bench *bench, struct bytes id, const char *name)
{
    struct message message;
    struct kmip_get_attributes_response response;
    begin_message(&message, KMIP_VERSION_1_4, 1);
    begin_item(&message, KMIP_OPERATION_GET_ATTRIBUTES);
    ttlv_write_text(&message.buffer, KMIP_TAG_UNIQUE_IDENTIFIER, id);
    ttlv_write_text(&message.buffer, KMIP_TAG_ATTRIBUTE_NAME, bytes_of_text(name));
    end_item(&message);
    struct kmip_response_item *item = run(bench, &message);
    assert_success(item);
    assert_int_equal(kmip_decode(&kmip_get_attributes_response_shape,
                                 ttlv_reader_over(item->payload.value), &bench->arena, &response),
                     STATUS_OK);
    if (response.attributes.count == 0)
        return -1;
    const struct kmip_named_attribute *attribute = response.attributes.items;
    struct ttlv_item value = {0, (enum ttlv_type)attribute->value.type, attribute->value.value};
    return value.type == TTLV_DATE_TIME ? ttlv_long_integer(&value) : ttlv_enumeration(&value);
}

static struct bytes get_key(struct core_bench *bench, struct bytes id)
{
    struct kmip_response_item *item = by_id(bench, KMIP_OPERATION_GET, id);
    struct kmip_get_response response;
    struct kmip_key_value value;
    assert_success(item);
    assert_int_equal(kmip_decode(&kmip_get_response_shape, ttlv_reader_over(item->payload.value),
                                 &bench->arena, &response),
                     STATUS_OK);
    assert_non_null(response.symmetric_key);
    assert_int_equal(
        kmip_decode(&kmip_key_value_shape,
                    ttlv_reader_over(response.symmetric_key->key_block->key_value.value),
                    &bench->arena, &value),
        STATUS_OK);
    return value.key_material.value;
}

static int setup(void **state)
{
    static struct core_bench bench;
    core_bench_open(&bench);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    core_bench_close(*state);
    return 0;
}

static void a_key_lives_its_life(void **state)
{
    struct core_bench *bench = *state;
    struct bytes id = create(bench, NULL);
    assert_int_equal(get_number(bench, id, "State"), KMIP_STATE_PRE_ACTIVE);
    struct bytes key = get_key(bench, id);
    assert_int_equal(key.size, 32);
    assert_true(bytes_equal(key, get_key(bench, id)));
    assert_success(by_id(bench, KMIP_OPERATION_ACTIVATE, id));
    assert_int_equal(get_number(bench, id, "State"), KMIP_STATE_ACTIVE);
    assert_int_equal(get_number(bench, id, "Activation Date"), 1700000000);
    assert_reason(by_id(bench, KMIP_OPERATION_ACTIVATE, id), KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_reason(by_id(bench, KMIP_OPERATION_DESTROY, id), KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_true(bytes_equal(key, get_key(bench, id)));
}

static void a_destroyed_key_is_gone(void **state)
{
    struct core_bench *bench = *state;
    struct bytes id = create(bench, "to-destroy");
    assert_success(by_id(bench, KMIP_OPERATION_DESTROY, id));
    assert_int_equal(get_number(bench, id, "State"), KMIP_STATE_DESTROYED);
    assert_int_equal(by_id(bench, KMIP_OPERATION_GET, id)->result_status.value,
                     KMIP_RESULT_STATUS_OPERATION_FAILED);
    create(bench, "to-destroy"); /* the Name is free again */
}

static void names_are_unique_in_an_adapter(void **state)
{
    struct core_bench *bench = *state;
    struct core_session other;
    create(bench, "one");
    assert_reason(create_as(bench, &bench->session, "one"), KMIP_RESULT_REASON_INVALID_FIELD);
    core_bench_adapter(bench, "other", &other);
    assert_success(create_as(bench, &other, "one"));
}

/* Replacement and replaced change in one transaction, in which the Name has two holders by turns. */
static void a_named_key_is_rekeyed(void **state)
{
    struct core_bench *bench = *state;
    struct bytes id = create(bench, "moves");
    assert_success(by_id(bench, KMIP_OPERATION_RE_KEY, id));
    assert_int_equal(get_number(bench, id, "Name"), -1);
    assert_reason(create_as(bench, &bench->session, "moves"), KMIP_RESULT_REASON_INVALID_FIELD);
}

static void adapters_do_not_see_each_other(void **state)
{
    struct core_bench *bench = *state;
    struct core_session other;
    struct bytes id = create(bench, NULL);
    core_bench_adapter(bench, "other", &other);
    static const uint32_t operations[] = {KMIP_OPERATION_GET, KMIP_OPERATION_ACTIVATE,
                                          KMIP_OPERATION_DESTROY, KMIP_OPERATION_GET_ATTRIBUTES,
                                          KMIP_OPERATION_GET_ATTRIBUTE_LIST};
    for (size_t i = 0; i < ARRAY_COUNT(operations); i++)
        assert_reason(by_id_as(bench, &other, operations[i], id),
                      KMIP_RESULT_REASON_ITEM_NOT_FOUND);
}

static void dates_move_states(void **state)
{
    struct core_bench *bench = *state;
    struct message message;
    begin_message(&message, VERSION, 1);
    begin_item(&message, KMIP_OPERATION_ADD_ATTRIBUTE);
    struct bytes id = create(bench, NULL);
    ttlv_write_text(&message.buffer, KMIP_TAG_UNIQUE_IDENTIFIER, id);
    size_t attribute = ttlv_begin(&message.buffer, KMIP_TAG_ATTRIBUTE);
    ttlv_write_text(&message.buffer, KMIP_TAG_ATTRIBUTE_NAME, bytes_of_text("Activation Date"));
    ttlv_write_date_time(&message.buffer, KMIP_TAG_ATTRIBUTE_VALUE, 1700000100);
    ttlv_end(&message.buffer, attribute);
    end_item(&message);
    assert_success(run(bench, &message));
    assert_int_equal(get_number(bench, id, "State"), KMIP_STATE_PRE_ACTIVE);
    bench->clock.test_time += 100 * 1000;
    assert_int_equal(get_number(bench, id, "State"), KMIP_STATE_ACTIVE);
}

static void a_failed_item_leaves_no_trace(void **state)
{
    struct core_bench *bench = *state;
    create(bench, "taken");
    struct message message;
    begin_message(&message, VERSION, 2);
    begin_item(&message, KMIP_OPERATION_CREATE);
    write_create(&message.buffer, "mine");
    end_item(&message);
    begin_item(&message, KMIP_OPERATION_CREATE);
    write_create(&message.buffer, "taken");
    end_item(&message);
    struct kmip_response_item *items = run_as(bench, &bench->session, &message, 2);
    assert_success(&items[0]);
    assert_reason(&items[1], KMIP_RESULT_REASON_INVALID_FIELD);
    int64_t counts[8];
    assert_int_equal(store_count(bench->session_store, bench->session.adapter, counts), STATUS_OK);
    assert_int_equal(counts[KMIP_STATE_PRE_ACTIVE], 2);
}

static void a_refused_request_changes_nothing(void **state)
{
    struct core_bench *bench = *state;
    struct message message;
    begin_message(&message, VERSION, 1);
    begin_item(&message, KMIP_OPERATION_CREATE);
    write_create(&message.buffer, NULL);
    end_item(&message);
    ttlv_end(&message.buffer, message.message);
    assert_int_equal(core_execute(&bench->request, &bench->session, bench->session_store,
                                  buffer_bytes(&message.buffer), SIZE_MAX),
                     STATUS_OK);
    assert_int_equal(bench->request.change_count, 1);
    assert_int_equal(core_refuse(&bench->request, STATUS_STORE_FULL), STATUS_OK);
    assert_int_equal(bench->request.change_count, 0);
    struct kmip_response response;
    assert_int_equal(
        kmip_decode_response(buffer_bytes(&bench->request.reply), &bench->arena, &response),
        STATUS_OK);
    assert_reason(response.items.items, KMIP_RESULT_REASON_GENERAL_FAILURE);
    buffer_free(&message.buffer);
}

static void strangers_are_refused(void **state)
{
    struct core_bench *bench = *state;
    const struct core_session nobody = {0};
    struct message message;
    begin_message(&message, VERSION, 1);
    begin_item(&message, KMIP_OPERATION_DISCOVER_VERSIONS);
    end_item(&message);
    assert_reason(run_as(bench, &nobody, &message, 1),
                  KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
}

static void an_unreachable_key_manager_is_no_missing_key(void **state)
{
    struct core_bench *bench = *state;
    keymanager_memory_fail(bench->keymanager, STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_reason(create_as(bench, &bench->session, NULL), KMIP_RESULT_REASON_GENERAL_FAILURE);
    keymanager_memory_fail(bench->keymanager, STATUS_OK);
    struct bytes id = create(bench, NULL);
    keymanager_memory_fail(bench->keymanager, STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(get_key(bench, id).size, 32); /* from the cache of unwrapped keys */
    core_forget_keys(bench->core);
    assert_reason(by_id(bench, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_GENERAL_FAILURE);
    keymanager_memory_fail(bench->keymanager, STATUS_OK);
}

static bool count_visits(void *context, const struct core_admin_object *object)
{
    (void)object;
    ++*(int *)context;
    return true;
}

static void administrators_restore_deactivated_keys(void **state)
{
    struct core_bench *bench = *state;
    struct adapter_row adapter;
    struct uuid id;
    int visits = 0;
    const struct core_admin_filter filter = {BYTES_LITERAL("Name"), BYTES_LITERAL("by hand")};
    const struct core_admin_query query = {.filters = &filter, .filter_count = 1, .limit = 10};
    assert_int_equal(store_adapter_find(bench->session_store, BYTES_LITERAL("default"), &adapter),
                     STATUS_OK);
    assert_int_equal(core_admin_create_key(bench->core, bench->session_store, &adapter,
                                           BYTES_LITERAL("by hand"), &id),
                     STATUS_OK);
    assert_int_equal(
        core_admin_find(bench->core, bench->session_store, &adapter, &query, count_visits, &visits),
        STATUS_OK);
    assert_int_equal(visits, 1);
    assert_int_equal(core_admin_restore(bench->core, bench->session_store, &adapter, &id),
                     STATUS_PERMISSION_DENIED);
    assert_int_equal(core_admin_destroy(bench->core, bench->session_store, &adapter, &id, false),
                     STATUS_PERMISSION_DENIED);
    assert_int_equal(core_admin_destroy(bench->core, bench->session_store, &adapter, &id, true),
                     STATUS_OK);
    assert_int_equal(
        core_admin_find(bench->core, bench->session_store, &adapter, &query, count_visits, &visits),
        STATUS_OK);
    assert_int_equal(visits, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_key_lives_its_life),
        CASE(a_destroyed_key_is_gone),
        CASE(names_are_unique_in_an_adapter),
        CASE(a_named_key_is_rekeyed),
        CASE(adapters_do_not_see_each_other),
        CASE(dates_move_states),
        CASE(a_failed_item_leaves_no_trace),
        CASE(a_refused_request_changes_nothing),
        CASE(strangers_are_refused),
        CASE(an_unreachable_key_manager_is_no_missing_key),
        CASE(administrators_restore_deactivated_keys),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
