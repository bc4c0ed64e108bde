/* SPDX-License-Identifier: Apache-2.0 */
#include "client/request.h"

#include <endian.h>

static const struct client_shapes shapes[] = {
    {KMIP_OPERATION_CREATE, &kmip_create_request_shape, &kmip_create_response_shape},
    {KMIP_OPERATION_REGISTER, NULL, &kmip_rekey_response_shape},
    {KMIP_OPERATION_RE_KEY, &kmip_rekey_request_shape, &kmip_rekey_response_shape},
    {KMIP_OPERATION_LOCATE, &kmip_locate_request_shape, &kmip_locate_response_shape},
    {KMIP_OPERATION_CHECK, &kmip_check_shape, &kmip_check_shape},
    {KMIP_OPERATION_GET, &kmip_get_request_shape, &kmip_get_response_shape},
    {KMIP_OPERATION_GET_ATTRIBUTES, &kmip_get_attributes_request_shape,
     &kmip_get_attributes_response_shape},
    {KMIP_OPERATION_GET_ATTRIBUTE_LIST, &kmip_identifier_shape,
     &kmip_get_attribute_list_response_shape},
    {KMIP_OPERATION_ADD_ATTRIBUTE, &kmip_attribute_change_shape, &kmip_attribute_change_shape},
    {KMIP_OPERATION_MODIFY_ATTRIBUTE, &kmip_attribute_change_shape, &kmip_attribute_change_shape},
    {KMIP_OPERATION_DELETE_ATTRIBUTE, &kmip_delete_attribute_request_shape,
     &kmip_attribute_change_shape},
    {KMIP_OPERATION_ACTIVATE, &kmip_identifier_shape, &kmip_identifier_shape},
    {KMIP_OPERATION_REVOKE, &kmip_revoke_request_shape, &kmip_identifier_shape},
    {KMIP_OPERATION_DESTROY, &kmip_identifier_shape, &kmip_identifier_shape},
    {KMIP_OPERATION_QUERY, &kmip_query_request_shape, &kmip_query_response_shape},
    {KMIP_OPERATION_DISCOVER_VERSIONS, &kmip_discover_versions_shape,
     &kmip_discover_versions_shape},
};

const struct client_shapes *client_shapes_of(uint32_t operation)
{
    for (size_t i = 0; i < ARRAY_COUNT(shapes); i++)
        if (shapes[i].operation == operation)
            return &shapes[i];
    return NULL;
}

struct bytes client_item_id(const struct client_request *request, size_t index,
                            uint8_t memory[static CLIENT_ITEM_ID_SIZE])
{
    static const uint8_t zeros[4] = {0};
    struct bytes prefix = request->id_prefix;
    if (prefix.size == 0 && request->count < 2)
        return (struct bytes){0};
    if (prefix.size == 0)
        prefix = bytes_of(zeros, sizeof(zeros));
    uint32_t number = htole32((uint32_t)index + 1);
    memcpy(memory, prefix.data, sizeof(zeros));
    memcpy(memory + sizeof(zeros), &number, sizeof(number));
    return bytes_of(memory, CLIENT_ITEM_ID_SIZE);
}

static void write_header(const struct client_request *request, struct buffer *buffer)
{
    struct kmip_protocol_version version = kmip_version_structure(request->version);
    struct kmip_credential credential = {kmip_number(KMIP_CREDENTIAL_TYPE_USERNAME_AND_PASSWORD),
                                         {TTLV_STRUCTURE, request->credential}};
    struct kmip_authentication authentication = {{1, &credential}};
    struct kmip_request_header header = {
        .version = &version,
        .authentication = request->credential.size > 0 ? &authentication : NULL,
        .batch_count = kmip_number((int64_t)request->count),
    };
    if (request->carry_on)
        header.batch_error_continuation_option =
            kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_CONTINUE);
    kmip_encode_structure(KMIP_TAG_REQUEST_HEADER, &kmip_request_header_shape, &header,
                          request->version, buffer);
}

static void write_payload(const struct client_shapes *known, const struct client_item *item,
                          uint16_t version, struct buffer *buffer)
{
    if (item->payload == NULL)
        return;
    if (known->request != NULL)
        kmip_encode(known->request, item->payload, version, buffer);
    else
        kmip_encode_register_request(item->payload, version, buffer);
}

static enum status write_item(const struct client_request *request, size_t index,
                              struct buffer *buffer)
{
    const struct client_item *item = &request->items[index];
    const struct client_shapes *known = client_shapes_of(item->operation);
    uint8_t memory[CLIENT_ITEM_ID_SIZE];
    struct bytes id = client_item_id(request, index, memory);
    if (known == NULL)
        return STATUS_OPERATION_NOT_SUPPORTED;
    size_t mark = ttlv_begin(buffer, KMIP_TAG_BATCH_ITEM);
    ttlv_write_enumeration(buffer, KMIP_TAG_OPERATION, item->operation);
    if (id.size > 0)
        ttlv_write_byte_string(buffer, KMIP_TAG_UNIQUE_BATCH_ITEM_ID, id);
    size_t payload = ttlv_begin(buffer, KMIP_TAG_REQUEST_PAYLOAD);
    write_payload(known, item, request->version, buffer);
    ttlv_end(buffer, payload);
    ttlv_end(buffer, mark);
    return STATUS_OK;
}

enum status client_write_request(const struct client_request *request, struct buffer *buffer)
{
    size_t message = ttlv_begin(buffer, KMIP_TAG_REQUEST_MESSAGE);
    write_header(request, buffer);
    for (size_t i = 0; i < request->count; i++) {
        enum status status = write_item(request, i, buffer);
        if (status != STATUS_OK)
            return status;
    }
    ttlv_end(buffer, message);
    return buffer_status(buffer);
}
