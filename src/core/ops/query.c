/* SPDX-License-Identifier: Apache-2.0 */
/* Query (KMIP 1.4 §4.25): each function answered from the tables that the server itself obeys. */
#include "core/request.h"

#define VENDOR_IDENTIFICATION "kmipd " KMIPD_VERSION

static const uint32_t object_types[] = {
    KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
    KMIP_OBJECT_TYPE_SECRET_DATA,
    KMIP_OBJECT_TYPE_OPAQUE_OBJECT,
};

static bool in_version(const struct request *request, uint32_t operation)
{
    const struct kmip_operation_info *info = kmip_operation_by_code(operation);
    return info != NULL && info->value->since <= request->version;
}

static enum status list_operations(struct request *request, struct kmip_query_response *response)
{
    struct kmip_number *items =
        arena_allocate_array(&request->arena, operation_count, sizeof(*items));
    if (items == NULL)
        return STATUS_TOO_LARGE;
    size_t count = 0;
    for (size_t i = 0; i < operation_count; i++)
        if (in_version(request, operations[i].code))
            items[count++] = kmip_number(operations[i].code);
    response->operations = (struct kmip_list){count, items};
    return STATUS_OK;
}

static enum status list_objects(struct request *request, struct kmip_query_response *response)
{
    struct kmip_number *items =
        arena_allocate_array(&request->arena, ARRAY_COUNT(object_types), sizeof(*items));
    if (items == NULL)
        return STATUS_TOO_LARGE;
    for (size_t i = 0; i < ARRAY_COUNT(object_types); i++)
        items[i] = kmip_number(object_types[i]);
    response->object_types = (struct kmip_list){ARRAY_COUNT(object_types), items};
    return STATUS_OK;
}

static enum status server_information(struct request *request, struct kmip_query_response *response)
{
    (void)request;
    response->vendor_identification = BYTES_LITERAL(VENDOR_IDENTIFICATION);
    return STATUS_OK;
}

/* §3.44: what makes this server's keys. */
static enum status list_generators(struct request *request, struct kmip_query_response *response)
{
    struct kmip_rng_parameters *generator = arena_allocate(&request->arena, sizeof(*generator));
    if (generator == NULL)
        return STATUS_TOO_LARGE;
    generator->algorithm = kmip_number(KMIP_RNG_ALGORITHM_DRBG);
    generator->cryptographic_algorithm = kmip_number(KMIP_CRYPTOGRAPHIC_ALGORITHM_AES);
    generator->cryptographic_length = kmip_number(256);
    generator->drbg_algorithm = kmip_number(KMIP_DRBG_ALGORITHM_CTR);
    response->rng_parameters = (struct kmip_list){1, generator};
    return STATUS_OK;
}

static enum status capabilities(struct request *request, struct kmip_query_response *response)
{
    struct kmip_capability *capability = arena_allocate(&request->arena, sizeof(*capability));
    if (capability == NULL)
        return STATUS_TOO_LARGE;
    capability->streaming = kmip_number(0);
    capability->asynchronous = kmip_number(0);
    capability->attestation = kmip_number(0);
    capability->batch_undo = kmip_number(0);
    capability->batch_continue = kmip_number(1);
    capability->destroy_action = kmip_number(KMIP_DESTROY_ACTION_KEY_MATERIAL_DELETED);
    response->capabilities = (struct kmip_list){1, capability};
    return STATUS_OK;
}

/* Known functions of which the truthful answer is an empty list. */
static enum status nothing(struct request *request, struct kmip_query_response *response)
{
    (void)request;
    (void)response;
    return STATUS_OK;
}

static const struct {
    uint32_t function;
    enum status (*answer)(struct request *request, struct kmip_query_response *response);
} functions[] = {
    {KMIP_QUERY_FUNCTION_QUERY_OPERATIONS, list_operations},
    {KMIP_QUERY_FUNCTION_QUERY_OBJECTS, list_objects},
    {KMIP_QUERY_FUNCTION_QUERY_SERVER_INFORMATION, server_information},
    {KMIP_QUERY_FUNCTION_QUERY_APPLICATION_NAMESPACES, nothing},
    {KMIP_QUERY_FUNCTION_QUERY_EXTENSION_LIST, nothing},
    {KMIP_QUERY_FUNCTION_QUERY_EXTENSION_MAP, nothing},
    {KMIP_QUERY_FUNCTION_QUERY_ATTESTATION_TYPES, nothing},
    {KMIP_QUERY_FUNCTION_QUERY_RNGS, list_generators},
    {KMIP_QUERY_FUNCTION_QUERY_VALIDATIONS, nothing},
    {KMIP_QUERY_FUNCTION_QUERY_PROFILES, nothing},
    {KMIP_QUERY_FUNCTION_QUERY_CAPABILITIES, capabilities},
    {KMIP_QUERY_FUNCTION_QUERY_CLIENT_REGISTRATION_METHODS, nothing},
};

static enum status answer_function(struct request *request, uint32_t function,
                                   struct kmip_query_response *response)
{
    const struct kmip_value_info *info = kmip_value_by_number(KMIP_TAG_QUERY_FUNCTION, function);
    if (info == NULL || !kmip_in_version(info->since, info->until, request->version))
        return STATUS_INVALID_FIELD;
    for (size_t i = 0; i < ARRAY_COUNT(functions); i++)
        if (functions[i].function == function)
            return functions[i].answer(request, response);
    return STATUS_OK;
}

enum status operation_query(struct request *request, struct ttlv_reader payload)
{
    struct kmip_query_request asked;
    struct kmip_query_response response = {0};
    enum status status = kmip_decode(&kmip_query_request_shape, payload, &request->arena, &asked);
    const struct kmip_number *items = asked.functions.items;
    for (size_t i = 0; status == STATUS_OK && i < asked.functions.count; i++)
        status = answer_function(request, (uint32_t)items[i].value, &response);
    if (status == STATUS_OK)
        kmip_encode(&kmip_query_response_shape, &response, request->version, &request->reply);
    return status;
}
