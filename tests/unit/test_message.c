/* SPDX-License-Identifier: Apache-2.0 */
/* Whole messages: what a request is, which version it is answered in, which reason stands for what
 * went wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dice.h"
#include "kmip/payloads.h"

#define ARENA_MAX (1u * 1024 * 1024)
#define FRAME_MAX (1u * 1024 * 1024)

struct bench {
    struct arena arena;
    struct buffer frame;
    struct kmip_request_header header; /* what write_message() writes */
    struct kmip_protocol_version version;
};

static int setup(void **state)
{
    static struct bench bench;
    bench = (struct bench){.version = kmip_version_structure(KMIP_VERSION_1_2)};
    bench.header.version = &bench.version;
    arena_init(&bench.arena, ARENA_MAX);
    buffer_init(&bench.frame, FRAME_MAX);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    arena_free(&bench->arena);
    buffer_free(&bench->frame);
    return 0;
}

static void write_item(struct bench *bench, uint32_t operation)
{
    struct buffer *frame = &bench->frame;
    size_t item = ttlv_begin(frame, KMIP_TAG_BATCH_ITEM);
    ttlv_write_enumeration(frame, KMIP_TAG_OPERATION, operation);
    ttlv_write_byte_string(frame, KMIP_TAG_UNIQUE_BATCH_ITEM_ID, BYTES_LITERAL("id"));
    size_t payload = ttlv_begin(frame, KMIP_TAG_REQUEST_PAYLOAD);
    ttlv_write_text(frame, KMIP_TAG_UNIQUE_IDENTIFIER, BYTES_LITERAL("somebody"));
    ttlv_end(frame, payload);
    ttlv_end(frame, item);
}

/* A message of `items` items; its Batch Count says `count`. */
static struct bytes write_message(struct bench *bench, int items, int count)
{
    struct buffer *frame = &bench->frame;
    buffer_reset(frame);
    size_t message = ttlv_begin(frame, KMIP_TAG_REQUEST_MESSAGE);
    bench->header.batch_count = kmip_number(count);
    kmip_encode_structure(KMIP_TAG_REQUEST_HEADER, &kmip_request_header_shape, &bench->header,
                          KMIP_VERSION_LATEST, frame);
    for (int i = 0; i < items; i++)
        write_item(bench, KMIP_OPERATION_GET);
    ttlv_end(frame, message);
    assert_int_equal(buffer_status(frame), STATUS_OK);
    return buffer_bytes(frame);
}

static enum status read_request(struct bench *bench, struct bytes frame, uint16_t *ret_version)
{
    struct kmip_request request;
    arena_reset(&bench->arena);
    return kmip_decode_request(frame, &bench->arena, ret_version, &request);
}

static void assert_malformed(struct bench *bench, struct bytes frame, uint16_t expected_version)
{
    uint16_t version = 0xABCD;
    assert_int_equal(read_request(bench, frame, &version), STATUS_MALFORMED);
    assert_int_equal(version, expected_version);
}

/* ---- Versions ---- */

static void versions_are_pairs_of_bytes(void **state)
{
    (void)state;
    static const struct {
        int64_t major, minor;
        uint16_t version;
    } pairs[] = {{1, 0, 0x0100},     {1, 4, 0x0104},    {2, 1, 0x0201},   {0, 0, 0},
                 {255, 255, 0xFFFF}, {256, 0, 0},       {1, 256, 0},      {-1, 4, 0},
                 {1, -1, 0},         {INT32_MAX, 0, 0}, {1, INT32_MIN, 0}};
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        struct kmip_protocol_version version = {kmip_number(pairs[i].major),
                                                kmip_number(pairs[i].minor)};
        assert_int_equal(kmip_version_of(&version), pairs[i].version);
        version = kmip_version_structure(pairs[i].version);
        assert_int_equal(kmip_version_of(&version), pairs[i].version);
    }
}

/* Even where nothing behind the version can be read: lengths, and what follows, may be wrong. */
static void the_version_is_read_from_any_beginning(void **state)
{
    struct bench *bench = *state;
    enum { VERSION_END = 16 + 8 + 32, LENGTHS = 3 };
    static const size_t lengths[LENGTHS] = {4, 8 + 4, 16 + 4};
    struct bytes frame = write_message(bench, 1, 1);
    for (size_t size = 0; size <= frame.size; size++) {
        uint8_t *beginning = malloc(size > 0 ? size : 1);
        assert_non_null(beginning);
        memcpy(beginning, frame.data, size);
        assert_int_equal(kmip_peek_version(bytes_of(beginning, size)),
                         size < VERSION_END ? 0 : KMIP_VERSION_1_2);
        free(beginning);
    }
    for (int i = 0; i < LENGTHS; i++) {
        frame = write_message(bench, 1, 1);
        memset(bench->frame.data + lengths[i], 0xFF, 4);
        assert_int_equal(kmip_peek_version(frame), KMIP_VERSION_1_2);
        assert_malformed(bench, frame, KMIP_VERSION_1_2);
    }
}

/* The version stands where it stands, in integers, or there is none. */
static void what_begins_otherwise_has_no_version(void **state)
{
    struct bench *bench = *state;
    struct bytes frame = write_message(bench, 1, 1);
    static const size_t headers[] = {0, 8, 16, 24, 40}; /* message, header, version, major, minor */
    for (size_t i = 0; i < ARRAY_COUNT(headers); i++)
        for (size_t at = headers[i]; at < headers[i] + 4; at++) { /* tag and type */
            frame = write_message(bench, 1, 1);
            bench->frame.data[at] ^= 0x10;
            assert_int_equal(kmip_peek_version(frame), 0);
        }
}

/* ---- Requests ---- */

static void a_request_is_read_as_it_was_written(void **state)
{
    struct bench *bench = *state;
    struct kmip_request request;
    uint16_t version;
    bench->header.maximum_response_size = kmip_number(4096);
    bench->header.asynchronous_indicator = kmip_number(0);
    bench->header.batch_order_option = kmip_number(1);
    bench->header.time_stamp = kmip_number(1700000000);
    struct bytes frame = write_message(bench, 3, 3);
    assert_int_equal(kmip_decode_request(frame, &bench->arena, &version, &request), STATUS_OK);
    assert_int_equal(version, KMIP_VERSION_1_2);
    assert_int_equal(request.header.maximum_response_size.value, 4096);
    assert_true(request.header.batch_order_option.present);
    assert_false(request.header.batch_error_continuation_option.present);
    assert_null(request.header.authentication);
    assert_int_equal(request.items.count, 3);
    const struct kmip_request_item *items = request.items.items;
    for (size_t i = 0; i < 3; i++) {
        struct kmip_identifier payload;
        assert_int_equal(items[i].operation.value, KMIP_OPERATION_GET);
        assert_true(bytes_equal_text(items[i].unique_batch_item_id, "id"));
        assert_int_equal(kmip_decode(&kmip_identifier_shape,
                                     ttlv_reader_over(items[i].payload.value), &bench->arena,
                                     &payload),
                         STATUS_OK);
        assert_true(bytes_equal_text(payload.unique_identifier, "somebody"));
    }
}

/* Fields newer than the header's version are read all the same: libkmip sends them. */
static void newer_header_fields_are_read_in_any_version(void **state)
{
    struct bench *bench = *state;
    struct kmip_request request;
    uint16_t version;
    bench->version = kmip_version_structure(KMIP_VERSION_1_0);
    bench->header.client_correlation_value = BYTES_LITERAL("mine");
    struct bytes frame = write_message(bench, 1, 1);
    assert_int_equal(kmip_decode_request(frame, &bench->arena, &version, &request), STATUS_OK);
    assert_int_equal(version, KMIP_VERSION_1_0);
    assert_true(bytes_equal_text(request.header.client_correlation_value, "mine"));
}

static void the_batch_count_must_be_right(void **state)
{
    struct bench *bench = *state;
    uint16_t version;
    static const struct {
        int items, count;
    } wrong[] = {{0, 0}, {1, 0}, {1, 2}, {2, 1}, {1, -1}, {0, 1}, {1, INT32_MAX}};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++)
        assert_malformed(bench, write_message(bench, wrong[i].items, wrong[i].count),
                         KMIP_VERSION_1_2);
    assert_int_equal(read_request(bench, write_message(bench, 200, 200), &version), STATUS_OK);
}

static void a_request_cut_off_at_any_byte_is_malformed(void **state)
{
    struct bench *bench = *state;
    struct bytes frame = write_message(bench, 2, 2);
    for (size_t size = 0; size < frame.size; size++) {
        uint16_t version;
        uint8_t *beginning = malloc(size > 0 ? size : 1);
        assert_non_null(beginning);
        memcpy(beginning, frame.data, size);
        assert_int_equal(read_request(bench, bytes_of(beginning, size), &version),
                         STATUS_MALFORMED);
        free(beginning);
    }
}

static void nothing_stands_behind_a_message(void **state)
{
    struct bench *bench = *state;
    struct bytes frame = write_message(bench, 1, 1);
    write_item(bench, KMIP_OPERATION_GET);
    assert_malformed(bench, buffer_bytes(&bench->frame), KMIP_VERSION_1_2);
    (void)frame;
}

/* The messages below are put together by hand: one that is right, and what is wrong in others. */
enum fault {
    NO_FAULT,
    RESPONSE_TAG,
    MESSAGE_IS_TEXT,
    NO_HEADER,
    HEADER_IS_TEXT,
    HEADER_TWICE,
    NO_VERSION,
    NO_BATCH_COUNT,
    HEADER_OUT_OF_ORDER,
    NO_OPERATION,
    NO_PAYLOAD,
    PAYLOAD_IS_TEXT,
    ITEM_IS_TEXT,
    ITEM_BEFORE_HEADER,
    UNKNOWN_BEHIND_ITEMS,
    TEXT_IS_NO_UTF8,
    FAULTS
};

static void write_header_with(struct buffer *frame, enum fault fault)
{
    struct kmip_protocol_version version = kmip_version_structure(KMIP_VERSION_1_1);
    if (fault == HEADER_IS_TEXT) {
        ttlv_write_text(frame, KMIP_TAG_REQUEST_HEADER, BYTES_LITERAL("header"));
        return;
    }
    size_t header = ttlv_begin(frame, KMIP_TAG_REQUEST_HEADER);
    if (fault != NO_VERSION)
        kmip_encode_structure(KMIP_TAG_PROTOCOL_VERSION, &kmip_protocol_version_shape, &version,
                              KMIP_VERSION_LATEST, frame);
    if (fault != NO_BATCH_COUNT)
        ttlv_write_integer(frame, KMIP_TAG_BATCH_COUNT, 1);
    if (fault == HEADER_OUT_OF_ORDER)
        ttlv_write_boolean(frame, KMIP_TAG_BATCH_ORDER_OPTION, true);
    ttlv_end(frame, header);
}

static void write_item_with(struct buffer *frame, enum fault fault)
{
    if (fault == ITEM_IS_TEXT) {
        ttlv_write_text(frame, KMIP_TAG_BATCH_ITEM, BYTES_LITERAL("item"));
        return;
    }
    size_t item = ttlv_begin(frame, KMIP_TAG_BATCH_ITEM);
    if (fault != NO_OPERATION)
        ttlv_write_enumeration(frame, KMIP_TAG_OPERATION, KMIP_OPERATION_GET);
    if (fault == PAYLOAD_IS_TEXT) {
        ttlv_write_text(frame, KMIP_TAG_REQUEST_PAYLOAD, BYTES_LITERAL("payload"));
    } else if (fault != NO_PAYLOAD) {
        size_t payload = ttlv_begin(frame, KMIP_TAG_REQUEST_PAYLOAD);
        ttlv_write_text(frame, KMIP_TAG_UNIQUE_IDENTIFIER,
                        fault == TEXT_IS_NO_UTF8 ? BYTES_LITERAL("\xC3(") : BYTES_LITERAL("id"));
        ttlv_end(frame, payload);
    }
    ttlv_end(frame, item);
}

static struct bytes write_message_with(struct bench *bench, enum fault fault)
{
    struct buffer *frame = &bench->frame;
    buffer_reset(frame);
    if (fault == MESSAGE_IS_TEXT) {
        ttlv_write_text(frame, KMIP_TAG_REQUEST_MESSAGE, BYTES_LITERAL("message"));
        return buffer_bytes(frame);
    }
    size_t message = ttlv_begin(frame, fault == RESPONSE_TAG ? KMIP_TAG_RESPONSE_MESSAGE
                                                             : KMIP_TAG_REQUEST_MESSAGE);
    if (fault == ITEM_BEFORE_HEADER)
        write_item_with(frame, fault);
    if (fault != NO_HEADER)
        write_header_with(frame, fault);
    if (fault == HEADER_TWICE)
        write_header_with(frame, fault);
    write_item_with(frame, fault);
    if (fault == UNKNOWN_BEHIND_ITEMS)
        ttlv_write_integer(frame, KMIP_TAG_BATCH_COUNT, 1);
    ttlv_end(frame, message);
    return buffer_bytes(frame);
}

static void messages_with_a_fault_are_malformed(void **state)
{
    struct bench *bench = *state;
    uint16_t version;
    assert_int_equal(read_request(bench, write_message_with(bench, NO_FAULT), &version), STATUS_OK);
    for (int fault = NO_FAULT + 1; fault < FAULTS; fault++) {
        static const bool no_version[FAULTS] = {
            [RESPONSE_TAG] = true,   [MESSAGE_IS_TEXT] = true, [NO_HEADER] = true,
            [HEADER_IS_TEXT] = true, [NO_VERSION] = true,      [ITEM_BEFORE_HEADER] = true};
        assert_malformed(bench, write_message_with(bench, (enum fault)fault),
                         no_version[fault] ? 0 : KMIP_VERSION_1_1);
    }
}

static void a_message_is_at_most_so_deep(void **state)
{
    struct bench *bench = *state;
    struct buffer *frame = &bench->frame;
    size_t marks[TTLV_DEPTH_MAX + 1];
    buffer_reset(frame);
    size_t message = ttlv_begin(frame, KMIP_TAG_REQUEST_MESSAGE);
    write_header_with(frame, NO_FAULT);
    for (int i = 0; i <= TTLV_DEPTH_MAX; i++)
        marks[i] = ttlv_begin(frame, KMIP_TAG_BATCH_ITEM);
    ttlv_write_integer(frame, KMIP_TAG_BATCH_COUNT, 1);
    for (int i = TTLV_DEPTH_MAX; i >= 0; i--)
        ttlv_end(frame, marks[i]);
    ttlv_end(frame, message);
    assert_malformed(bench, buffer_bytes(frame), KMIP_VERSION_1_1);
}

/* The smallest items take the most memory for their bytes: the arena's maximum answers for them. */
static void many_tiny_items_end_at_the_arena(void **state)
{
    struct bench *bench = *state;
    struct buffer *frame = &bench->frame;
    uint16_t version;
    size_t message = ttlv_begin(frame, KMIP_TAG_REQUEST_MESSAGE);
    write_header_with(frame, NO_FAULT);
    for (int i = 0; i < 60000; i++)
        ttlv_end(frame, ttlv_begin(frame, KMIP_TAG_BATCH_ITEM));
    ttlv_end(frame, message);
    assert_int_equal(buffer_status(frame), STATUS_OK);
    assert_int_equal(read_request(bench, buffer_bytes(frame), &version), STATUS_TOO_LARGE);
    assert_int_equal(version, KMIP_VERSION_1_1);
    assert_true(bench->arena.allocated <= ARENA_MAX);
}

static void damaged_messages_are_read_or_refused(void **state)
{
    struct bench *bench = *state;
    struct dice dice = {UINT64_C(0xD1CE)};
    for (int i = 0; i < 20000; i++) {
        uint16_t version;
        struct bytes frame = write_message(bench, 2, 2);
        for (uint32_t hits = 1 + dice_below(&dice, 3); hits > 0; hits--)
            bench->frame.data[dice_below(&dice, (uint32_t)frame.size)] ^=
                (uint8_t)(1u << dice_below(&dice, 8));
        enum status status = read_request(bench, frame, &version);
        assert_true(status == STATUS_OK || status == STATUS_MALFORMED);
    }
}

/* ---- Responses ---- */

static struct bytes write_response(struct bench *bench, uint32_t tag, bool with_status)
{
    struct buffer *frame = &bench->frame;
    struct kmip_response_header header = {.version = &bench->version,
                                          .time_stamp = kmip_number(1700000000),
                                          .batch_count = kmip_number(1)};
    struct kmip_response_item item = {.operation = kmip_number(KMIP_OPERATION_GET),
                                      .result_reason =
                                          kmip_number(KMIP_RESULT_REASON_ITEM_NOT_FOUND),
                                      .result_message = BYTES_LITERAL("gone")};
    if (with_status)
        item.result_status = kmip_number(KMIP_RESULT_STATUS_OPERATION_FAILED);
    buffer_reset(frame);
    size_t message = ttlv_begin(frame, tag);
    kmip_encode_structure(KMIP_TAG_RESPONSE_HEADER, &kmip_response_header_shape, &header,
                          KMIP_VERSION_1_2, frame);
    kmip_encode_structure(KMIP_TAG_BATCH_ITEM, &kmip_response_item_shape, &item, KMIP_VERSION_1_2,
                          frame);
    ttlv_end(frame, message);
    return buffer_bytes(frame);
}

static void a_response_is_read_as_it_was_written(void **state)
{
    struct bench *bench = *state;
    struct kmip_response response;
    struct bytes frame = write_response(bench, KMIP_TAG_RESPONSE_MESSAGE, true);
    assert_int_equal(kmip_decode_response(frame, &bench->arena, &response), STATUS_OK);
    assert_int_equal(kmip_version_of(response.header.version), KMIP_VERSION_1_2);
    assert_int_equal(response.items.count, 1);
    const struct kmip_response_item *item = response.items.items;
    assert_int_equal(item->result_status.value, KMIP_RESULT_STATUS_OPERATION_FAILED);
    assert_true(bytes_equal_text(item->result_message, "gone"));
    assert_int_equal(item->payload.type, 0);
}

static void what_is_no_response_is_malformed(void **state)
{
    struct bench *bench = *state;
    struct kmip_response response;
    struct bytes frame = write_response(bench, KMIP_TAG_REQUEST_MESSAGE, true);
    assert_int_equal(kmip_decode_response(frame, &bench->arena, &response), STATUS_MALFORMED);
    frame = write_response(bench, KMIP_TAG_RESPONSE_MESSAGE, false);
    assert_int_equal(kmip_decode_response(frame, &bench->arena, &response), STATUS_MALFORMED);
    frame = write_response(bench, KMIP_TAG_RESPONSE_MESSAGE, true);
    for (size_t size = 0; size < frame.size; size++)
        assert_int_equal(kmip_decode_response(bytes_of(frame.data, size), &bench->arena, &response),
                         STATUS_MALFORMED);
    struct arena none;
    arena_init(&none, 0);
    assert_int_equal(kmip_decode_response(frame, &none, &response), STATUS_TOO_LARGE);
    arena_free(&none);
}

/* ---- Reasons ---- */

/* Every failure has a reason that exists in the version of the answer. */
static void reasons_exist_in_the_version(void **state)
{
    (void)state;
    for (uint16_t version = KMIP_VERSION_1_0; version <= KMIP_VERSION_1_4; version++)
        for (int status = STATUS_OK + 1; status < STATUS_COUNT; status++) {
            uint32_t reason = kmip_result_reason((enum status)status, version);
            const struct kmip_value_info *value =
                kmip_value_by_number(KMIP_TAG_RESULT_REASON, reason);
            assert_non_null(value);
            assert_true(kmip_in_version(value->since, value->until, version));
        }
    assert_int_equal(kmip_result_reason(STATUS_OBJECT_NOT_FOUND, KMIP_VERSION_1_0),
                     KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    assert_int_equal(kmip_result_reason(STATUS_ENCODING_OPTION_NOT_SUPPORTED, KMIP_VERSION_1_0),
                     KMIP_RESULT_REASON_GENERAL_FAILURE);
    assert_int_equal(kmip_result_reason(STATUS_COUNT, KMIP_VERSION_1_4),
                     KMIP_RESULT_REASON_GENERAL_FAILURE);
}

/* vCenter declares a key lost on Item Not Found: nothing that may come back may say so. */
static void only_what_is_gone_is_not_found(void **state)
{
    (void)state;
    static const enum status gone[] = {STATUS_OBJECT_NOT_FOUND, STATUS_ATTRIBUTE_NOT_FOUND,
                                       STATUS_NOT_FOUND};
    for (int status = STATUS_OK + 1; status < STATUS_COUNT; status++) {
        bool is_gone = false;
        for (size_t i = 0; i < ARRAY_COUNT(gone); i++)
            is_gone |= gone[i] == (enum status)status;
        assert_int_equal(kmip_result_reason((enum status)status, KMIP_VERSION_1_4) ==
                             KMIP_RESULT_REASON_ITEM_NOT_FOUND,
                         is_gone);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(versions_are_pairs_of_bytes),
        CASE(the_version_is_read_from_any_beginning),
        CASE(what_begins_otherwise_has_no_version),
        CASE(a_request_is_read_as_it_was_written),
        CASE(newer_header_fields_are_read_in_any_version),
        CASE(the_batch_count_must_be_right),
        CASE(a_request_cut_off_at_any_byte_is_malformed),
        CASE(nothing_stands_behind_a_message),
        CASE(messages_with_a_fault_are_malformed),
        CASE(a_message_is_at_most_so_deep),
        CASE(many_tiny_items_end_at_the_arena),
        CASE(damaged_messages_are_read_or_refused),
        CASE(a_response_is_read_as_it_was_written),
        CASE(what_is_no_response_is_malformed),
        CASE(reasons_exist_in_the_version),
        CASE(only_what_is_gone_is_not_found),
    };
    return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
