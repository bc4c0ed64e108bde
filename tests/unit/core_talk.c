/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core_talk.h"

#define MESSAGE_MAX (4u * 1024 * 1024)

/* For the values that the helpers without a talk make: of the one talk of the process. */
static struct arena *values;

void talk_open(struct talk *talk)
{
    core_bench_open(&talk->bench);
    talk->version = KMIP_VERSION_1_4;
    talk->session = &talk->bench.session;
    talk->header = (struct kmip_request_header){0};
    talk->count = 0;
    buffer_init(&talk->items, MESSAGE_MAX);
    buffer_init(&talk->frame, MESSAGE_MAX);
    values = &talk->bench.arena;
}

void talk_close(struct talk *talk)
{
    buffer_free(&talk->items);
    buffer_free(&talk->frame);
    core_bench_close(&talk->bench);
}

int talk_setup(void **state)
{
    static struct talk talk;
    talk_open(&talk);
    *state = &talk;
    return 0;
}

int talk_teardown(void **state)
{
    talk_close(*state);
    return 0;
}

struct arena *talk_arena(struct talk *talk)
{
    return &talk->bench.arena;
}

void talk_forget(struct talk *talk)
{
    arena_reset(talk_arena(talk));
}

void talk_wait(struct talk *talk, int64_t seconds)
{
    talk->bench.clock.test_time += seconds * 1000;
}

/* ---- One request ---- */

static void end_item(struct talk *talk)
{
    if (talk->count == 0)
        return;
    ttlv_end(&talk->items, talk->payload);
    ttlv_end(&talk->items, talk->item);
}

struct buffer *talk_item_with_id(struct talk *talk, uint32_t operation, const char *id)
{
    end_item(talk);
    talk->count++;
    talk->item = ttlv_begin(&talk->items, KMIP_TAG_BATCH_ITEM);
    ttlv_write_enumeration(&talk->items, KMIP_TAG_OPERATION, operation);
    if (id != NULL)
        ttlv_write_byte_string(&talk->items, KMIP_TAG_UNIQUE_BATCH_ITEM_ID, bytes_of_text(id));
    talk->payload = ttlv_begin(&talk->items, KMIP_TAG_REQUEST_PAYLOAD);
    return &talk->items;
}

struct buffer *talk_item(struct talk *talk, uint32_t operation)
{
    return talk_item_with_id(talk, operation, NULL);
}

struct bytes talk_frame(struct talk *talk)
{
    struct kmip_protocol_version version = kmip_version_structure(talk->version);
    end_item(talk);
    buffer_reset(&talk->frame);
    size_t message = ttlv_begin(&talk->frame, KMIP_TAG_REQUEST_MESSAGE);
    talk->header.version = &version;
    talk->header.batch_count = kmip_number((int64_t)talk->count);
    kmip_encode_structure(KMIP_TAG_REQUEST_HEADER, &kmip_request_header_shape, &talk->header,
                          KMIP_VERSION_LATEST, &talk->frame);
    buffer_append_bytes(&talk->frame, buffer_bytes(&talk->items));
    ttlv_end(&talk->frame, message);
    assert_int_equal(buffer_status(&talk->frame), STATUS_OK);
    buffer_reset(&talk->items);
    talk->count = 0;
    talk->header = (struct kmip_request_header){0};
    return buffer_bytes(&talk->frame);
}

const struct kmip_response_item *talk_read(struct talk *talk, size_t expected)
{
    struct bytes answer;
    struct kmip_response response;
    struct request *request = &talk->bench.request;
    assert_true(arena_copy(talk_arena(talk), buffer_bytes(&request->reply), &answer));
    assert_int_equal(kmip_decode_response(answer, talk_arena(talk), &response), STATUS_OK);
    assert_int_equal(response.items.count, expected);
    assert_int_equal(response.header.batch_count.value, expected);
    assert_int_equal(request->record_count, expected);
    assert_int_equal(response.header.time_stamp.value, clock_now(&talk->bench.clock) / 1000);
    return response.items.items;
}

const struct kmip_response_item *talk_send(struct talk *talk, size_t expected)
{
    struct bytes frame = talk_frame(talk);
    assert_int_equal(core_bench_run(&talk->bench, talk->session, frame), STATUS_OK);
    return talk_read(talk, expected);
}

void talk_payload(struct talk *talk, const struct kmip_response_item *item,
                  const struct kmip_shape *shape, void *ret_structure)
{
    assert_success(item);
    assert_int_equal(
        kmip_decode(shape, ttlv_reader_over(item->payload.value), talk_arena(talk), ret_structure),
        STATUS_OK);
}

void assert_success(const struct kmip_response_item *item)
{
    if (item->result_status.value != KMIP_RESULT_STATUS_SUCCESS)
        fail_msg("failed: %.*s", (int)item->result_message.size, item->result_message.data);
    assert_false(item->result_reason.present);
    assert_null(item->result_message.data);
}

void assert_reason(const struct kmip_response_item *item, uint32_t reason)
{
    assert_int_equal(item->result_status.value, KMIP_RESULT_STATUS_OPERATION_FAILED);
    assert_string_equal(
        kmip_value_text(KMIP_TAG_RESULT_REASON, (uint32_t)item->result_reason.value),
        kmip_value_text(KMIP_TAG_RESULT_REASON, reason));
    assert_true(item->result_message.size > 0);
}

/* ---- Attributes ---- */

struct kmip_named_attribute named(const char *name, struct kmip_any value)
{
    assert_int_not_equal(value.type, 0);
    return (struct kmip_named_attribute){.name = bytes_of_text(name), .value = value};
}

struct kmip_named_attribute named_at(const char *name, int32_t index, struct kmip_any value)
{
    struct kmip_named_attribute attribute = named(name, value);
    attribute.index = kmip_number(index);
    return attribute;
}

struct arena *talk_values(void)
{
    return values;
}

struct kmip_any integer(int32_t number)
{
    return value_integer(values, number);
}

struct kmip_any long_integer(int64_t number)
{
    return (struct kmip_any){TTLV_LONG_INTEGER, value_date_time(values, number).value};
}

struct kmip_any enumeration(uint32_t number)
{
    return value_enumeration(values, number);
}

struct kmip_any boolean(bool yes)
{
    return value_boolean(values, yes);
}

struct kmip_any date(int64_t seconds)
{
    return value_date_time(values, seconds);
}

struct kmip_any interval(uint32_t seconds)
{
    return value_interval(values, seconds);
}

struct kmip_any text(const char *text)
{
    return value_text(bytes_of_text(text));
}

struct kmip_any byte_string(const char *text)
{
    return (struct kmip_any){TTLV_BYTE_STRING, bytes_of_text(text)};
}

struct kmip_any name_value(const char *name)
{
    const struct structure_name structure = {
        .value = bytes_of_text(name),
        .type = kmip_number(KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING)};
    return value_structure(values, &structure_name_shape, &structure);
}

struct kmip_any link_value(uint32_t type, struct bytes id)
{
    const struct structure_link structure = {.type = kmip_number(type),
                                             .linked_object_identifier = id};
    return value_structure(values, &structure_link_shape, &structure);
}

struct kmip_any application_value(const char *name_space, const char *data)
{
    const struct structure_application_information structure = {
        .name_space = bytes_of_text(name_space), .data = bytes_of_text(data)};
    return value_structure(values, &structure_application_information_shape, &structure);
}

struct kmip_any usage_limits(int64_t total, int64_t count)
{
    struct structure_usage_limits structure = {.total = kmip_number(total),
                                               .unit = kmip_number(KMIP_USAGE_LIMITS_UNIT_BYTE)};
    if (count >= 0)
        structure.count = kmip_number(count);
    return value_structure(values, &structure_usage_limits_shape, &structure);
}

void put_id(struct buffer *payload, struct bytes id)
{
    ttlv_write_text(payload, KMIP_TAG_UNIQUE_IDENTIFIER, id);
}

void put_attribute(struct buffer *payload, const struct kmip_named_attribute *attribute)
{
    kmip_encode_structure(KMIP_TAG_ATTRIBUTE, &kmip_named_attribute_shape, attribute,
                          KMIP_VERSION_LATEST, payload);
}

void put_attributes(struct buffer *payload, struct kmip_list attributes)
{
    const struct kmip_named_attribute *items = attributes.items;
    for (size_t i = 0; i < attributes.count; i++)
        put_attribute(payload, &items[i]);
}

void put_template(struct buffer *payload, struct kmip_list attributes)
{
    size_t mark = ttlv_begin(payload, KMIP_TAG_TEMPLATE_ATTRIBUTE);
    put_attributes(payload, attributes);
    ttlv_end(payload, mark);
}

/* ---- Whole requests of one item ---- */

void put_create(struct buffer *payload, struct kmip_list more)
{
    const struct kmip_list basic =
        WITH(named("Cryptographic Algorithm", enumeration(KMIP_CRYPTOGRAPHIC_ALGORITHM_AES)),
             named("Cryptographic Usage Mask", integer(KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT |
                                                       KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT)),
             named("Cryptographic Length", integer(256)));
    ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
    size_t mark = ttlv_begin(payload, KMIP_TAG_TEMPLATE_ATTRIBUTE);
    put_attributes(payload, basic);
    put_attributes(payload, more);
    ttlv_end(payload, mark);
}

const struct kmip_response_item *try_create(struct talk *talk, struct kmip_list more)
{
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), more);
    return talk_send(talk, 1);
}

struct bytes created_id(struct talk *talk, const struct kmip_response_item *item)
{
    struct kmip_create_response response;
    talk_payload(talk, item, &kmip_create_response_shape, &response);
    assert_int_equal(response.unique_identifier.size, UUID_TEXT_LENGTH);
    return response.unique_identifier;
}

struct bytes create(struct talk *talk, struct kmip_list more)
{
    return created_id(talk, try_create(talk, more));
}

struct bytes create_key(struct talk *talk)
{
    return create(talk, WITHOUT);
}

const struct kmip_response_item *by_id(struct talk *talk, uint32_t operation, struct bytes id)
{
    put_id(talk_item(talk, operation), id);
    return talk_send(talk, 1);
}

const struct kmip_response_item *revoke_key(struct talk *talk, struct bytes id, uint32_t code)
{
    struct kmip_revocation_reason reason = {.code = kmip_number(code)};
    const struct kmip_revoke_request request = {.unique_identifier = id,
                                                .revocation_reason = &reason};
    kmip_encode(&kmip_revoke_request_shape, &request, talk->version,
                talk_item(talk, KMIP_OPERATION_REVOKE));
    return talk_send(talk, 1);
}

static const struct kmip_response_item *change_attribute(struct talk *talk, uint32_t operation,
                                                         struct bytes id,
                                                         struct kmip_named_attribute *attribute)
{
    const struct kmip_attribute_change request = {.unique_identifier = id, .attribute = attribute};
    kmip_encode(&kmip_attribute_change_shape, &request, talk->version, talk_item(talk, operation));
    return talk_send(talk, 1);
}

const struct kmip_response_item *add_attribute(struct talk *talk, struct bytes id,
                                               struct kmip_named_attribute attribute)
{
    return change_attribute(talk, KMIP_OPERATION_ADD_ATTRIBUTE, id, &attribute);
}

const struct kmip_response_item *modify_attribute(struct talk *talk, struct bytes id,
                                                  struct kmip_named_attribute attribute)
{
    return change_attribute(talk, KMIP_OPERATION_MODIFY_ATTRIBUTE, id, &attribute);
}

const struct kmip_response_item *delete_attribute(struct talk *talk, struct bytes id,
                                                  const char *name, int32_t index)
{
    struct kmip_delete_attribute_request request = {.unique_identifier = id,
                                                    .attribute_name = bytes_of_text(name)};
    if (index >= 0)
        request.attribute_index = kmip_number(index);
    kmip_encode(&kmip_delete_attribute_request_shape, &request, talk->version,
                talk_item(talk, KMIP_OPERATION_DELETE_ATTRIBUTE));
    return talk_send(talk, 1);
}

struct bytes register_opaque(struct talk *talk, struct kmip_list attributes)
{
    const struct kmip_opaque_object opaque = {.opaque_data_type = kmip_number(0x80000001),
                                              .opaque_data_value = BYTES_LITERAL("opaque")};
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_REGISTER);
    ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_OPAQUE_OBJECT);
    put_template(payload, attributes);
    kmip_encode_structure(KMIP_TAG_OPAQUE_OBJECT, &kmip_opaque_object_shape, &opaque, talk->version,
                          payload);
    return created_id(talk, talk_send(talk, 1));
}

struct bytes register_secret(struct talk *talk, struct kmip_list attributes)
{
    struct kmip_key_value value = {.key_material = byte_string("secret")};
    struct kmip_key_block block = {.key_format_type = kmip_number(KMIP_KEY_FORMAT_TYPE_OPAQUE)};
    block.key_value = value_structure(values, &kmip_key_value_shape, &value);
    const struct kmip_secret_data secret = {
        .secret_data_type = kmip_number(KMIP_SECRET_DATA_TYPE_PASSWORD), .key_block = &block};
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_REGISTER);
    ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SECRET_DATA);
    put_template(payload, attributes);
    kmip_encode_structure(KMIP_TAG_SECRET_DATA, &kmip_secret_data_shape, &secret, talk->version,
                          payload);
    return created_id(talk, talk_send(talk, 1));
}

struct kmip_list attributes_of(struct talk *talk, struct bytes id)
{
    struct kmip_get_attributes_response response;
    talk_payload(talk, by_id(talk, KMIP_OPERATION_GET_ATTRIBUTES, id),
                 &kmip_get_attributes_response_shape, &response);
    assert_true(bytes_equal(response.unique_identifier, id));
    return response.attributes;
}

const struct kmip_any *attribute_of(struct talk *talk, struct bytes id, const char *name,
                                    int32_t index)
{
    struct kmip_list list = attributes_of(talk, id);
    const struct kmip_named_attribute *items = list.items;
    for (size_t i = 0; i < list.count; i++)
        if (bytes_equal_text(items[i].name, name) && items[i].index.value == index)
            return &items[i].value;
    return NULL;
}

size_t instances_of(struct talk *talk, struct bytes id, const char *name)
{
    struct kmip_list list = attributes_of(talk, id);
    const struct kmip_named_attribute *items = list.items;
    size_t count = 0;
    for (size_t i = 0; i < list.count; i++)
        count += bytes_equal_text(items[i].name, name);
    return count;
}

int64_t number_of(struct talk *talk, struct bytes id, const char *name)
{
    const struct kmip_any *value = attribute_of(talk, id, name, 0);
    return value == NULL ? -1 : value_number(value);
}

int64_t state_of(struct talk *talk, struct bytes id)
{
    return number_of(talk, id, "State");
}

struct bytes key_of(struct talk *talk, struct bytes id)
{
    struct kmip_get_response response;
    struct kmip_key_value value;
    talk_payload(talk, by_id(talk, KMIP_OPERATION_GET, id), &kmip_get_response_shape, &response);
    assert_non_null(response.symmetric_key);
    assert_int_equal(response.symmetric_key->key_block->key_format_type.value,
                     KMIP_KEY_FORMAT_TYPE_RAW);
    assert_int_equal(
        kmip_decode(&kmip_key_value_shape,
                    ttlv_reader_over(response.symmetric_key->key_block->key_value.value),
                    talk_arena(talk), &value),
        STATUS_OK);
    assert_int_equal(value.key_material.type, TTLV_BYTE_STRING);
    return value.key_material.value;
}

struct kmip_list locate(struct talk *talk, struct kmip_list wanted)
{
    struct kmip_locate_response response;
    put_attributes(talk_item(talk, KMIP_OPERATION_LOCATE), wanted);
    talk_payload(talk, talk_send(talk, 1), &kmip_locate_response_shape, &response);
    return response.unique_identifiers;
}

static bool is_among(const struct bytes *ids, size_t count, struct bytes id)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_equal(ids[i], id))
            return true;
    return false;
}

void talk_assert_finds(struct talk *talk, struct kmip_list wanted, size_t count,
                       const struct bytes *ids, const char *file, int line)
{
    struct kmip_list found = locate(talk, wanted);
    const struct bytes *items = found.items;
    bool right = found.count == count;
    for (size_t i = 0; right && i < count; i++)
        right = is_among(items, found.count, ids[i]);
    if (right)
        return;
    print_error("%s:%d: %zu objects are found where there must be %zu, or others\n", file, line,
                found.count, count);
    fail();
}
