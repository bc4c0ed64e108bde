/* SPDX-License-Identifier: Apache-2.0 */
/* Messages and batches (KMIP 1.4 §4, §6, §7, §11.1): order, errors, the ID Placeholder, sizes, and
 * that what fails leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core_talk.h"

static void continue_after_errors(struct talk *talk)
{
    talk->header.batch_error_continuation_option =
        kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_CONTINUE);
}

static int64_t objects_in_store(struct talk *talk)
{
    int64_t counts[8];
    int64_t all = 0;
    assert_int_equal(store_count(talk->bench.session_store, talk->bench.session.adapter, counts),
                     STATUS_OK);
    for (int i = 0; i < 8; i++)
        all += counts[i];
    return all;
}

/* The message that was put together, executed, not committed. */
static enum status execute(struct talk *talk)
{
    return core_execute(&talk->bench.request, talk->session, talk->bench.session_store,
                        talk_frame(talk), SIZE_MAX);
}

static enum status commit(struct talk *talk)
{
    struct request *request = &talk->bench.request;
    return store_commit(talk->bench.store, request->changes, request->change_count);
}

/* ---- Answers ---- */

static void items_are_answered_in_order_with_their_ids(void **state)
{
    struct talk *talk = *state;
    static const char *const ids[] = {"first", "second", "", "12 bytes...."};
    static const uint32_t operations[] = {KMIP_OPERATION_CREATE, KMIP_OPERATION_GET,
                                          KMIP_OPERATION_QUERY, KMIP_OPERATION_DISCOVER_VERSIONS};
    continue_after_errors(talk);
    put_create(talk_item_with_id(talk, operations[0], ids[0]), WITHOUT);
    put_id(talk_item_with_id(talk, operations[1], ids[1]), BYTES_LITERAL("unknown"));
    talk_item_with_id(talk, operations[2], ids[2]);
    talk_item_with_id(talk, operations[3], ids[3]);
    const struct kmip_response_item *items = talk_send(talk, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(items[i].operation.value, operations[i]);
        assert_true(bytes_equal_text(items[i].unique_batch_item_id, ids[i]));
        assert_non_null(items[i].unique_batch_item_id.data);
    }
    assert_success(&items[0]);
    assert_reason(&items[1], KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    assert_reason(&items[2], KMIP_RESULT_REASON_MISSING_DATA);
    assert_success(&items[3]);
}

/* An answer without an id to a request without one. */
static void no_id_is_answered_without_one(void **state)
{
    struct talk *talk = *state;
    talk_item(talk, KMIP_OPERATION_DISCOVER_VERSIONS);
    assert_null(talk_send(talk, 1)->unique_batch_item_id.data);
    assert_null(by_id(talk, KMIP_OPERATION_GET, BYTES_LITERAL("x"))->unique_batch_item_id.data);
}

static void put_three(struct talk *talk)
{
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    put_id(talk_item(talk, KMIP_OPERATION_GET), BYTES_LITERAL("unknown"));
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
}

static void a_batch_stops_at_the_first_error(void **state)
{
    struct talk *talk = *state;
    for (int explicitly = 0; explicitly < 2; explicitly++) {
        if (explicitly)
            talk->header.batch_error_continuation_option =
                kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_STOP);
        put_three(talk);
        const struct kmip_response_item *items = talk_send(talk, 2);
        assert_success(&items[0]);
        assert_reason(&items[1], KMIP_RESULT_REASON_ITEM_NOT_FOUND);
        assert_int_equal(objects_in_store(talk), 1 + explicitly);
    }
}

static void a_batch_goes_on_if_it_is_told_to(void **state)
{
    struct talk *talk = *state;
    continue_after_errors(talk);
    put_three(talk);
    const struct kmip_response_item *items = talk_send(talk, 3);
    assert_success(&items[0]);
    assert_reason(&items[1], KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    assert_success(&items[2]);
    assert_int_equal(objects_in_store(talk), 2);
}

/* Undo is not offered (Query says so): nothing of such a batch happens. */
static void undo_is_refused_as_a_whole(void **state)
{
    struct talk *talk = *state;
    talk->header.batch_error_continuation_option =
        kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_UNDO);
    put_three(talk);
    const struct kmip_response_item *items = talk_send(talk, 3);
    for (int i = 0; i < 3; i++)
        assert_reason(&items[i], KMIP_RESULT_REASON_FEATURE_NOT_SUPPORTED);
    assert_int_equal(objects_in_store(talk), 0);
    talk->header.batch_error_continuation_option = kmip_number(4); /* there is no such option */
    put_three(talk);
    assert_reason(&talk_send(talk, 3)[0], KMIP_RESULT_REASON_INVALID_FIELD);
    assert_int_equal(objects_in_store(talk), 0);
}

/* §6.7, §6.12, §6.5: taken, and answered at once and in order all the same. */
static void wishes_that_change_nothing_are_taken(void **state)
{
    struct talk *talk = *state;
    talk->header.asynchronous_indicator = kmip_number(1);
    talk->header.batch_order_option = kmip_number(0);
    talk->header.time_stamp = kmip_number(1);
    talk->header.attestation_capable_indicator = kmip_number(1);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    talk_item(talk, KMIP_OPERATION_GET);
    const struct kmip_response_item *items = talk_send(talk, 2);
    assert_success(&items[0]);
    assert_success(&items[1]);
}

/* §6.16: a critical extension that is not understood refuses the message, another is passed over. */
static void critical_extensions_are_refused(void **state)
{
    struct talk *talk = *state;
    for (int critical = 0; critical < 2; critical++) {
        struct kmip_message_extension extension = {.vendor_identification = BYTES_LITERAL("v"),
                                                   .criticality_indicator = kmip_number(critical)};
        extension.vendor_extension = (struct kmip_any){TTLV_STRUCTURE, BYTES_LITERAL("")};
        struct kmip_request_item item = {.operation = kmip_number(KMIP_OPERATION_CREATE),
                                         .extension = &extension};
        struct buffer payload;
        buffer_init(&payload, 4096);
        put_create(&payload, WITHOUT);
        item.payload = (struct kmip_any){TTLV_STRUCTURE, buffer_bytes(&payload)};
        talk_item(talk, KMIP_OPERATION_QUERY);
        buffer_reset(&talk->items);
        talk->item = ttlv_begin(&talk->items, KMIP_TAG_BATCH_ITEM);
        kmip_encode(&kmip_request_item_shape, &item, KMIP_VERSION_LATEST, &talk->items);
        talk->payload = talk->item;
        const struct kmip_response_item *answer = talk_send(talk, 1);
        if (critical)
            assert_reason(answer, KMIP_RESULT_REASON_FEATURE_NOT_SUPPORTED);
        else
            assert_success(answer);
        buffer_free(&payload);
    }
    assert_int_equal(objects_in_store(talk), 1);
}

/* ---- Operations and versions ---- */

static bool is_offered(uint32_t operation)
{
    static const uint32_t offered[] = {KMIP_OPERATION_CREATE,
                                       KMIP_OPERATION_REGISTER,
                                       KMIP_OPERATION_RE_KEY,
                                       KMIP_OPERATION_LOCATE,
                                       KMIP_OPERATION_CHECK,
                                       KMIP_OPERATION_GET,
                                       KMIP_OPERATION_GET_ATTRIBUTES,
                                       KMIP_OPERATION_GET_ATTRIBUTE_LIST,
                                       KMIP_OPERATION_ADD_ATTRIBUTE,
                                       KMIP_OPERATION_MODIFY_ATTRIBUTE,
                                       KMIP_OPERATION_DELETE_ATTRIBUTE,
                                       KMIP_OPERATION_ACTIVATE,
                                       KMIP_OPERATION_REVOKE,
                                       KMIP_OPERATION_DESTROY,
                                       KMIP_OPERATION_QUERY,
                                       KMIP_OPERATION_DISCOVER_VERSIONS};
    for (size_t i = 0; i < ARRAY_COUNT(offered); i++)
        if (offered[i] == operation)
            return true;
    return false;
}

static void operations_that_are_not_offered_are_refused(void **state)
{
    struct talk *talk = *state;
    static const uint32_t strange[] = {0, 0x7FFFFFFF, 0x80000001, UINT32_MAX};
    for (uint32_t operation = 0; operation < 0x50 + ARRAY_COUNT(strange); operation++) {
        uint32_t code = operation < 0x50 ? operation : strange[operation - 0x50];
        talk_item(talk, code);
        const struct kmip_response_item *item = talk_send(talk, 1);
        assert_int_equal(item->operation.value, code);
        if (!is_offered(code))
            assert_reason(item, KMIP_RESULT_REASON_OPERATION_NOT_SUPPORTED);
        else if (item->result_status.value != KMIP_RESULT_STATUS_SUCCESS)
            assert_int_not_equal(item->result_reason.value,
                                 KMIP_RESULT_REASON_OPERATION_NOT_SUPPORTED);
    }
}

/* An answer to a message that cannot be taken: one item, without an operation. */
static void assert_rejected(struct talk *talk, uint32_t reason, uint16_t version)
{
    struct kmip_response response;
    const struct request *request = &talk->bench.request;
    assert_int_equal(
        kmip_decode_response(buffer_bytes(&request->reply), talk_arena(talk), &response),
        STATUS_OK);
    assert_int_equal(response.items.count, 1);
    assert_int_equal(kmip_version_of(response.header.version), version);
    const struct kmip_response_item *item = response.items.items;
    assert_false(item->operation.present);
    assert_reason(item, reason);
    assert_true(request->close);
    assert_int_equal(request->record_count, 1);
    assert_int_equal(request->change_count, 0);
    assert_int_equal(request->records[0].operation.size, 0);
    assert_true(request->records[0].detail.size > 0);
}

static void the_answer_is_in_the_version_of_the_request(void **state)
{
    struct talk *talk = *state;
    static const struct {
        uint16_t asked, answered;
    } versions[] = {{0x0100, 0x0100}, {0x0101, 0x0101}, {0x0102, 0x0102}, {0x0103, 0x0103},
                    {0x0104, 0x0104}, {0x0105, 0x0104}, {0x0200, 0x0104}, {0x0201, 0x0104},
                    {0xFFFF, 0x0104}, {0x0001, 0x0100}, {0x0000, 0x0100}};
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
        struct kmip_response response;
        talk->version = versions[i].asked;
        talk_item(talk, KMIP_OPERATION_DISCOVER_VERSIONS);
        assert_int_equal(execute(talk), STATUS_OK);
        if (versions[i].asked != versions[i].answered) {
            assert_rejected(talk, KMIP_RESULT_REASON_INVALID_MESSAGE, versions[i].answered);
            continue;
        }
        assert_int_equal(kmip_decode_response(buffer_bytes(&talk->bench.request.reply),
                                              talk_arena(talk), &response),
                         STATUS_OK);
        assert_int_equal(kmip_version_of(response.header.version), versions[i].answered);
        assert_false(talk->bench.request.close);
    }
}

/* §6.18; a Server Correlation Value is never sent: older clients break on it. */
static void the_correlation_value_comes_back_where_it_exists(void **state)
{
    struct talk *talk = *state;
    for (talk->version = KMIP_VERSION_1_0; talk->version <= KMIP_VERSION_1_4; talk->version++) {
        struct kmip_response response;
        talk->header.client_correlation_value = BYTES_LITERAL("mine");
        talk_item(talk, KMIP_OPERATION_DISCOVER_VERSIONS);
        assert_int_equal(execute(talk), STATUS_OK);
        assert_int_equal(kmip_decode_response(buffer_bytes(&talk->bench.request.reply),
                                              talk_arena(talk), &response),
                         STATUS_OK);
        bool there = talk->version >= KMIP_VERSION_1_4;
        assert_true(
            bytes_equal_text(response.header.client_correlation_value, there ? "mine" : ""));
        assert_null(response.header.server_correlation_value.data);
    }
}

static void what_is_no_message_is_rejected(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    static const char *const frames[] = {"", "x", "GET / HTTP/1.1\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_COUNT(frames); i++) {
        assert_int_equal(core_execute(request, talk->session, talk->bench.session_store,
                                      bytes_of_text(frames[i]), SIZE_MAX),
                         STATUS_OK);
        assert_rejected(talk, KMIP_RESULT_REASON_INVALID_MESSAGE, KMIP_VERSION_1_0);
    }
    talk->version = KMIP_VERSION_1_3;
    talk_item(talk, KMIP_OPERATION_DISCOVER_VERSIONS);
    struct bytes frame = talk_frame(talk);
    for (size_t size = 1; size < frame.size; size++) {
        assert_int_equal(core_execute(request, talk->session, talk->bench.session_store,
                                      bytes_of(frame.data, size), SIZE_MAX),
                         STATUS_OK);
        assert_rejected(talk, KMIP_RESULT_REASON_INVALID_MESSAGE,
                        size < 56 ? KMIP_VERSION_1_0 : KMIP_VERSION_1_3);
    }
}

/* A frame of which only the beginning was read, because it is too long or no frame. */
static void what_is_no_frame_is_rejected(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    static const enum status statuses[] = {STATUS_MALFORMED, STATUS_TOO_LARGE};
    talk->version = KMIP_VERSION_1_2;
    talk_item(talk, KMIP_OPERATION_DISCOVER_VERSIONS);
    struct bytes frame = talk_frame(talk);
    for (size_t i = 0; i < ARRAY_COUNT(statuses); i++) {
        assert_int_equal(core_reject_frame(request, talk->session, frame, statuses[i]), STATUS_OK);
        assert_rejected(talk, KMIP_RESULT_REASON_INVALID_MESSAGE, KMIP_VERSION_1_2);
        assert_int_equal(
            core_reject_frame(request, talk->session, bytes_of(frame.data, 8), statuses[i]),
            STATUS_OK);
        assert_rejected(talk, KMIP_RESULT_REASON_INVALID_MESSAGE, KMIP_VERSION_1_0);
    }
}

/* A payload that breaks the structure costs the connection, one that lacks something does not. */
static void a_malformed_payload_closes(void **state)
{
    struct talk *talk = *state;
    ttlv_write_integer(talk_item(talk, KMIP_OPERATION_GET), KMIP_TAG_BATCH_COUNT, 1);
    assert_reason(talk_send(talk, 1), KMIP_RESULT_REASON_INVALID_MESSAGE);
    assert_true(talk->bench.request.close);
    talk_item(talk, KMIP_OPERATION_CREATE);
    assert_reason(talk_send(talk, 1), KMIP_RESULT_REASON_MISSING_DATA);
    assert_false(talk->bench.request.close);
}

/* ---- The ID Placeholder (§4) ---- */

static void the_placeholder_goes_through_a_whole_life(void **state)
{
    struct talk *talk = *state;
    struct kmip_get_response got;
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    talk_item(talk, KMIP_OPERATION_GET);
    talk_item(talk, KMIP_OPERATION_GET_ATTRIBUTES);
    talk_item(talk, KMIP_OPERATION_GET_ATTRIBUTE_LIST);
    talk_item(talk, KMIP_OPERATION_CHECK);
    put_attributes(talk_item(talk, KMIP_OPERATION_ADD_ATTRIBUTE), WITH(named("x-a", integer(1))));
    put_attributes(talk_item(talk, KMIP_OPERATION_MODIFY_ATTRIBUTE),
                   WITH(named("x-a", integer(2))));
    ttlv_write_text(talk_item(talk, KMIP_OPERATION_DELETE_ATTRIBUTE), KMIP_TAG_ATTRIBUTE_NAME,
                    BYTES_LITERAL("x-a"));
    talk_item(talk, KMIP_OPERATION_ACTIVATE);
    struct kmip_revocation_reason reason = {.code = kmip_number(1)};
    kmip_encode_structure(KMIP_TAG_REVOCATION_REASON, &kmip_revocation_reason_shape, &reason,
                          talk->version, talk_item(talk, KMIP_OPERATION_REVOKE));
    talk_item(talk, KMIP_OPERATION_RE_KEY);
    talk_item(talk, KMIP_OPERATION_DESTROY); /* of the replacement, which is Deactivated too */
    const struct kmip_response_item *items = talk_send(talk, 12);
    for (int i = 0; i < 12; i++)
        assert_success(&items[i]);
    struct bytes first = created_id(talk, &items[0]);
    struct bytes second = created_id(talk, &items[10]);
    talk_payload(talk, &items[1], &kmip_get_response_shape, &got);
    assert_true(bytes_equal(got.unique_identifier, first));
    assert_int_equal(state_of(talk, first), KMIP_STATE_DEACTIVATED);
    assert_int_equal(state_of(talk, second), KMIP_STATE_DESTROYED);
}

static void the_placeholder_lasts_one_request(void **state)
{
    struct talk *talk = *state;
    create_key(talk);
    static const uint32_t operations[] = {
        KMIP_OPERATION_GET,      KMIP_OPERATION_GET_ATTRIBUTES, KMIP_OPERATION_GET_ATTRIBUTE_LIST,
        KMIP_OPERATION_ACTIVATE, KMIP_OPERATION_DESTROY,        KMIP_OPERATION_CHECK,
        KMIP_OPERATION_RE_KEY};
    for (size_t i = 0; i < ARRAY_COUNT(operations); i++) {
        talk_item(talk, operations[i]);
        assert_reason(talk_send(talk, 1), KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    }
}

/* What fails does not set it; other items leave it as it is. */
static void the_placeholder_is_set_by_success(void **state)
{
    struct talk *talk = *state;
    struct kmip_get_response got;
    struct bytes other = create(talk, WITH(named("Name", name_value("taken"))));
    continue_after_errors(talk);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITH(named("Name", name_value("taken"))));
    put_id(talk_item(talk, KMIP_OPERATION_ACTIVATE), other);
    talk_item(talk, KMIP_OPERATION_GET);
    const struct kmip_response_item *items = talk_send(talk, 4);
    assert_reason(&items[1], KMIP_RESULT_REASON_INVALID_FIELD);
    talk_payload(talk, &items[3], &kmip_get_response_shape, &got);
    assert_true(bytes_equal(got.unique_identifier, created_id(talk, &items[0])));
}

/* ---- What fails leaves nothing ---- */

static void a_failed_item_leaves_no_edit(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Name", name_value("mine")),
                                        named("Process Start Date", date(TALK_NOW + 10))));
    create(talk, WITH(named("Name", name_value("taken"))));
    continue_after_errors(talk);
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_MODIFY_ATTRIBUTE);
    put_id(payload, id); /* the value is set before the Name is found taken */
    put_attributes(payload, WITH(named("Name", name_value("taken"))));
    payload = talk_item(talk, KMIP_OPERATION_RE_KEY); /* no Activation Date to count from */
    put_id(payload, id);
    ttlv_write_interval(payload, KMIP_TAG_OFFSET, 60);
    payload = talk_item(talk, KMIP_OPERATION_ADD_ATTRIBUTE);
    put_id(payload, id); /* after the Process Start Date */
    put_attributes(payload, WITH(named("Activation Date", date(TALK_NOW + 20))));
    put_id(talk_item(talk, KMIP_OPERATION_GET_ATTRIBUTES), id);
    const struct kmip_response_item *items = talk_send(talk, 4);
    assert_reason(&items[0], KMIP_RESULT_REASON_ILLEGAL_OPERATION);
    assert_reason(&items[1], KMIP_RESULT_REASON_ILLEGAL_OPERATION);
    assert_reason(&items[2], KMIP_RESULT_REASON_INVALID_FIELD);
    assert_success(&items[3]);
    assert_int_equal(talk->bench.request.change_count, 0);
    assert_finds(talk, WITH(named("Name", name_value("mine"))), id);
    assert_int_equal(objects_in_store(talk), 2);
    assert_int_equal(number_of(talk, id, "Activation Date"), -1);
    assert_null(attribute_of(talk, id, "Link", 0));
}

static int64_t stored_version(struct talk *talk, struct bytes id)
{
    struct uuid uuid;
    struct stored_object *stored;
    assert_true(uuid_parse(id, &uuid));
    assert_int_equal(store_get(talk->bench.session_store, talk->session->adapter, &uuid, &stored),
                     STATUS_OK);
    int64_t version = stored->row.version;
    stored_object_release(stored);
    return version;
}

static void put_custom(struct talk *talk, uint32_t operation, struct bytes id, int32_t number)
{
    struct buffer *payload = talk_item(talk, operation);
    put_id(payload, id);
    put_attributes(payload, WITH(named("x-a", integer(number))));
}

/* However often a batch changes an object, it is written once, as it stands in the end. */
static void an_object_is_written_once(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    put_custom(talk, KMIP_OPERATION_ADD_ATTRIBUTE, id, 1);
    put_custom(talk, KMIP_OPERATION_MODIFY_ATTRIBUTE, id, 2);
    put_id(talk_item(talk, KMIP_OPERATION_ACTIVATE), id);
    put_custom(talk, KMIP_OPERATION_MODIFY_ATTRIBUTE, id, 3);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    talk_item(talk, KMIP_OPERATION_ACTIVATE);
    const struct kmip_response_item *items = talk_send(talk, 6);
    assert_success(&items[5]);
    assert_int_equal(talk->bench.request.change_count, 2);
    struct bytes other = created_id(talk, &items[4]);
    assert_int_equal(number_of(talk, id, "x-a"), 3);
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
    assert_int_equal(stored_version(talk, id), 2);
    assert_int_equal(state_of(talk, other), KMIP_STATE_ACTIVE);
    assert_int_equal(stored_version(talk, other), 1);
}

static void a_key_may_come_and_go_in_one_batch(void **state)
{
    struct talk *talk = *state;
    const struct kmip_list name = WITH(named("Name", name_value("short")));
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), name);
    talk_item(talk, KMIP_OPERATION_GET);
    talk_item(talk, KMIP_OPERATION_DESTROY);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), name);
    const struct kmip_response_item *items = talk_send(talk, 4);
    for (int i = 0; i < 4; i++)
        assert_success(&items[i]);
    assert_int_equal(state_of(talk, created_id(talk, &items[0])), KMIP_STATE_DESTROYED);
    assert_finds(talk, name, created_id(talk, &items[3]));
}

/* ---- Somebody was faster ---- */

static void a_conflict_is_executed_again(void **state)
{
    struct talk *talk = *state;
    struct request rival;
    uint8_t *memory = malloc(65536);
    assert_non_null(memory);
    struct bytes id = create(talk, WITH(named("x-a", integer(1))));
    request_init(&rival, talk->bench.core, memory, 65536);
    put_custom(talk, KMIP_OPERATION_MODIFY_ATTRIBUTE, id, 2);
    struct bytes frame = talk_frame(talk);
    assert_int_equal(
        core_execute(&rival, talk->session, talk->bench.session_store, frame, SIZE_MAX), STATUS_OK);
    struct bytes kept;
    assert_true(arena_copy(talk_arena(talk), frame, &kept));
    rival.frame = kept; /* the talk writes others where it stands */
    put_id(talk_item(talk, KMIP_OPERATION_ACTIVATE), id);
    assert_success(talk_send(talk, 1));
    assert_int_equal(store_commit(talk->bench.store, rival.changes, rival.change_count),
                     STATUS_CONFLICT);
    assert_int_equal(core_execute_again(&rival, false), STATUS_OK);
    assert_int_equal(store_commit(talk->bench.store, rival.changes, rival.change_count), STATUS_OK);
    assert_int_equal(number_of(talk, id, "x-a"), 2); /* and neither change is lost */
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
    request_free(&rival);
    free(memory);
}

/* Two that took the same Name at the same time: the second is told when it looks again. */
static void a_name_taken_meanwhile_is_refused(void **state)
{
    struct talk *talk = *state;
    struct request rival;
    uint8_t *memory = malloc(65536);
    struct bytes frame;
    assert_non_null(memory);
    request_init(&rival, talk->bench.core, memory, 65536);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITH(named("Name", name_value("one"))));
    assert_true(arena_copy(talk_arena(talk), talk_frame(talk), &frame));
    assert_int_equal(
        core_execute(&rival, talk->session, talk->bench.session_store, frame, SIZE_MAX), STATUS_OK);
    struct bytes id = create(talk, WITH(named("Name", name_value("one"))));
    assert_int_equal(store_commit(talk->bench.store, rival.changes, rival.change_count),
                     STATUS_NAME_EXISTS);
    assert_int_equal(core_execute_again(&rival, false), STATUS_OK);
    assert_int_equal(rival.change_count, 0);
    struct kmip_response response;
    assert_int_equal(kmip_decode_response(buffer_bytes(&rival.reply), talk_arena(talk), &response),
                     STATUS_OK);
    assert_reason(response.items.items, KMIP_RESULT_REASON_INVALID_FIELD);
    assert_finds(talk, WITH(named("Name", name_value("one"))), id);
    request_free(&rival);
    free(memory);
}

/* That a key was served is noted where that can be done; it alone fails no Get. */
static void fresh_may_be_left_out(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    struct bytes id = create_key(talk);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    assert_int_equal(execute(talk), STATUS_OK);
    assert_int_equal(request->change_count, 1);
    assert_true(request_only_optional(request));
    assert_int_equal(core_execute_again(request, true), STATUS_OK);
    assert_int_equal(request->change_count, 0);
    assert_success(talk_read(talk, 1));
    assert_int_equal(number_of(talk, id, "Fresh"), 1);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    put_id(talk_item(talk, KMIP_OPERATION_ACTIVATE), id);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    assert_int_equal(execute(talk), STATUS_OK);
    assert_false(request_only_optional(request)); /* with it goes an Activate */
    assert_int_equal(request->change_count, 1);
    assert_int_equal(core_execute_again(request, true), STATUS_OK);
    assert_int_equal(request->change_count, 1);
    assert_int_equal(commit(talk), STATUS_OK);
    assert_int_equal(state_of(talk, id), KMIP_STATE_ACTIVE);
}

/* What the store could not take is answered with its reason, and has not happened. */
static void a_refused_request_does_nothing(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    put_create(talk_item_with_id(talk, KMIP_OPERATION_CREATE, "1"), WITHOUT);
    put_create(talk_item_with_id(talk, KMIP_OPERATION_CREATE, "2"), WITHOUT);
    assert_int_equal(execute(talk), STATUS_OK);
    assert_int_equal(request->change_count, 2);
    assert_int_equal(core_refuse(request, STATUS_STORE_FULL), STATUS_OK);
    assert_int_equal(request->change_count, 0);
    const struct kmip_response_item *items = talk_read(talk, 2);
    for (int i = 0; i < 2; i++) {
        assert_reason(&items[i], KMIP_RESULT_REASON_GENERAL_FAILURE);
        assert_true(bytes_equal_text(items[i].unique_batch_item_id, i == 0 ? "1" : "2"));
        assert_true(bytes_equal_text(request->records[i].result, "Operation Failed"));
    }
    assert_false(request->close);
    assert_int_equal(request->worst, STATUS_STORE_FULL);
    assert_success(try_create(talk, WITHOUT)); /* the next one is not refused */
}

/* ---- Sizes ---- */

static void answers_longer_than_the_client_takes_are_not_given(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    assert_success(by_id(talk, KMIP_OPERATION_GET, id));
    size_t size = talk->bench.request.reply.size;
    for (int less = 0; less < 2; less++) {
        talk->header.maximum_response_size = kmip_number((int64_t)size - less);
        put_id(talk_item(talk, KMIP_OPERATION_GET), id);
        if (less)
            assert_reason(talk_send(talk, 1), KMIP_RESULT_REASON_RESPONSE_TOO_LARGE);
        else
            assert_success(talk_send(talk, 1));
    }
    static const int64_t silly[] = {0, 1, -1, INT32_MIN};
    for (size_t i = 0; i < ARRAY_COUNT(silly); i++) {
        talk->header.maximum_response_size = kmip_number(silly[i]);
        put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
        put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
        const struct kmip_response_item *items = talk_send(talk, 2);
        assert_reason(&items[0], KMIP_RESULT_REASON_RESPONSE_TOO_LARGE);
        assert_reason(&items[1], KMIP_RESULT_REASON_RESPONSE_TOO_LARGE);
    }
    assert_int_equal(objects_in_store(talk), 1); /* nothing of them happened */
}

/* Too little room for the answer: nothing happens, and with enough it is the same as ever. */
static void answers_grow_into_more_memory(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    struct bytes id = create(talk, WITH(named("Object Group", text("g"))));
    continue_after_errors(talk);
    put_id(talk_item(talk, KMIP_OPERATION_GET_ATTRIBUTES), id);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    put_id(talk_item(talk, KMIP_OPERATION_GET), BYTES_LITERAL("unknown"));
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), WITH(named("Object Group", text("g"))));
    struct bytes frame = talk_frame(talk);
    size_t enough = 0;
    for (size_t size = 0; enough == 0; size += 8) {
        uint8_t *memory = malloc(size > 0 ? size : 1);
        assert_non_null(memory);
        request_set_reply(request, memory, size);
        enum status status =
            core_execute(request, talk->session, talk->bench.session_store, frame, SIZE_MAX);
        if (status == STATUS_OK) {
            enough = size;
            assert_int_equal(request->reply.size, size); /* and not a byte more than needed */
            assert_success(&talk_read(talk, 4)[3]);
        } else {
            assert_int_equal(status, STATUS_TOO_LARGE);
        }
        request_reset(request);
        free(memory);
        request_set_reply(request, NULL, 0);
    }
    assert_true(enough > 1000);
    request_set_reply(request, talk->bench.reply_memory, 65536);
}

static bool is_wiped(const uint8_t *memory, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (memory[i] != 0)
            return false;
    return true;
}

/* Answers carry keys: nothing of one is left in the memory when it goes to another request. */
static void nothing_is_left_in_the_memory_of_answers(void **state)
{
    struct talk *talk = *state;
    struct request *request = &talk->bench.request;
    enum { SIZE = 2048 };
    uint8_t *memory = calloc(1, SIZE);
    assert_non_null(memory);
    struct bytes id = create_key(talk);
    for (size_t size = 64; size <= SIZE; size += 8) {
        request_set_reply(request, memory, size);
        continue_after_errors(talk);
        put_id(talk_item(talk, KMIP_OPERATION_GET), id);
        put_id(talk_item(talk, KMIP_OPERATION_GET), BYTES_LITERAL("unknown"));
        put_id(talk_item(talk, KMIP_OPERATION_GET), id);
        (void)execute(talk);
        request_reset(request);
        assert_true(is_wiped(memory, SIZE));
    }
    request_set_reply(request, talk->bench.reply_memory, 65536);
    free(memory);
}

/* ---- Records ---- */

static void each_item_is_recorded(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("x-Product", text("VMware vSphere")),
                                        named("x-Component", text("Virtual Machine")),
                                        named("x-Name", text("vm-7"))));
    continue_after_errors(talk);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    put_id(talk_item(talk, KMIP_OPERATION_GET), BYTES_LITERAL("nothing like an id"));
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITHOUT);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), WITH(named("y-a", integer(1))));
    talk_item(talk, KMIP_OPERATION_QUERY);
    talk_item(talk, 0x1234);
    const struct kmip_response_item *items = talk_send(talk, 6);
    const struct audit_entry *records = talk->bench.request.records;
    for (int i = 0; i < 6; i++) {
        assert_string_equal(records[i].event, "kmip");
        assert_true(bytes_equal_text(records[i].adapter, "default"));
        assert_int_equal(records[i].time, TALK_NOW * 1000);
        bool success = items[i].result_status.value == KMIP_RESULT_STATUS_SUCCESS;
        assert_true(bytes_equal_text(records[i].result, success ? "Success" : "Operation Failed"));
        assert_true(success == (records[i].reason.size == 0));
    }
    assert_true(bytes_equal_text(records[0].operation, "Get"));
    assert_true(bytes_equal(records[0].object, id));
    assert_true(bytes_equal_text(records[0].product, "VMware vSphere Virtual Machine vm-7"));
    assert_true(bytes_equal_text(records[1].object, "nothing like an id"));
    assert_true(bytes_equal_text(records[1].reason, "Item Not Found"));
    assert_int_equal(records[1].product.size, 0);
    assert_true(bytes_equal(records[2].object, created_id(talk, &items[2])));
    assert_int_equal(records[3].object.size, 0); /* it never was */
    assert_true(bytes_equal_text(records[5].operation, "unknown"));
    assert_true(bytes_equal_text(records[5].reason, "Operation Not Supported"));
}

/* ---- Strangers ---- */

static void a_certificate_that_is_nobodys_is_refused(void **state)
{
    struct talk *talk = *state;
    const struct core_session nobody = {.peer = "192.0.2.1:5000", .certificate = "ab"};
    struct bytes id = create_key(talk);
    talk->session = &nobody;
    talk_item(talk, KMIP_OPERATION_DISCOVER_VERSIONS);
    put_id(talk_item(talk, KMIP_OPERATION_GET), id);
    talk_item(talk, 0x1234);
    const struct kmip_response_item *items = talk_send(talk, 3);
    for (int i = 0; i < 3; i++)
        assert_reason(&items[i], KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
    assert_true(bytes_equal_text(talk->bench.request.records[0].peer, "192.0.2.1:5000"));
    assert_true(bytes_equal_text(talk->bench.request.records[0].certificate, "ab"));
    assert_int_equal(talk->bench.request.records[0].adapter.size, 0);
}

/* Whose the certificate is cannot be read now: that is no verdict, and the client tries elsewhere. */
static void a_certificate_that_cannot_be_looked_up_is_no_strangers(void **state)
{
    struct talk *talk = *state;
    const struct core_session unclear = {.failure = STATUS_STORE_FAILED};
    talk->session = &unclear;
    talk_item(talk, KMIP_OPERATION_DISCOVER_VERSIONS);
    assert_reason(talk_send(talk, 1), KMIP_RESULT_REASON_GENERAL_FAILURE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, talk_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(items_are_answered_in_order_with_their_ids),
        CASE(no_id_is_answered_without_one),
        CASE(a_batch_stops_at_the_first_error),
        CASE(a_batch_goes_on_if_it_is_told_to),
        CASE(undo_is_refused_as_a_whole),
        CASE(wishes_that_change_nothing_are_taken),
        CASE(critical_extensions_are_refused),
        CASE(operations_that_are_not_offered_are_refused),
        CASE(the_answer_is_in_the_version_of_the_request),
        CASE(the_correlation_value_comes_back_where_it_exists),
        CASE(what_is_no_message_is_rejected),
        CASE(what_is_no_frame_is_rejected),
        CASE(a_malformed_payload_closes),
        CASE(the_placeholder_goes_through_a_whole_life),
        CASE(the_placeholder_lasts_one_request),
        CASE(the_placeholder_is_set_by_success),
        CASE(a_failed_item_leaves_no_edit),
        CASE(an_object_is_written_once),
        CASE(a_key_may_come_and_go_in_one_batch),
        CASE(a_conflict_is_executed_again),
        CASE(a_name_taken_meanwhile_is_refused),
        CASE(fresh_may_be_left_out),
        CASE(a_refused_request_does_nothing),
        CASE(answers_longer_than_the_client_takes_are_not_given),
        CASE(answers_grow_into_more_memory),
        CASE(nothing_is_left_in_the_memory_of_answers),
        CASE(each_item_is_recorded),
        CASE(a_certificate_that_is_nobodys_is_refused),
        CASE(a_certificate_that_cannot_be_looked_up_is_no_strangers),
    };
    return cmocka_run_group_tests_name("core_batch", tests, NULL, NULL);
}
