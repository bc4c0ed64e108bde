/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client takes any answer: whatever bytes come back for whatever was asked, it finds fault or
 * gives results that lie within the bytes. What was asked is made of the input: the operations are
 * those that the answer names, so that it fits as often as it can.
 */
#include <string.h>

#include "client/operations.h"
#include "fuzz.h"

/* Large enough for any payload. */
union decoded {
    max_align_t aligned;
    uint8_t bytes[1024];
};

static struct arena arena;
static struct bytes input;

static bool is_within_input(struct bytes bytes)
{
    return bytes.size == 0 ||
           (bytes.data >= input.data && bytes.data + bytes.size <= input.data + input.size);
}

static void try_object(const struct kmip_get_response *response)
{
    struct client_key key = {0};
    struct bytes material = {0};
    if (client_read_object(response, &arena, &key, &material))
        REQUIRE(is_within_input(material));
}

static void try_result(const struct client_result *result, const struct client_request *request)
{
    union decoded decoded;
    struct error error = {0};
    enum status status = client_result_check(result, "server", &error);
    REQUIRE((status == STATUS_OK) == (result->answered && !result->failed));
    REQUIRE(status == STATUS_OK || (error.status == status && error.text[0] != '\0'));
    REQUIRE(is_within_input(result->message) && is_within_input(result->payload));
    if (status != STATUS_OK)
        return;
    REQUIRE(client_shapes_of(result->operation)->response->size <= sizeof(decoded));
    if (client_result_payload(result, &arena, &decoded) == STATUS_OK &&
        result->operation == KMIP_OPERATION_GET)
        try_object((const struct kmip_get_response *)(const void *)&decoded);
}

static void try_request(const struct client_request *request)
{
    struct client_answer answer = {0};
    struct error error = {0};
    enum status status = client_read_answer(input, request, &arena, &answer, &error);
    if (status != STATUS_OK) {
        REQUIRE(error.status == status && error.text[0] != '\0');
        return;
    }
    REQUIRE(answer.count == request->count);
    REQUIRE(answer.results[0].answered || !request->carry_on);
    for (size_t i = 0; i < answer.count; i++) {
        REQUIRE(answer.results[i].operation == request->items[i].operation);
        try_result(&answer.results[i], request);
    }
}

/* What the answer says that it answers. */
static void guess_request(const struct kmip_response *response, struct client_item *items,
                          struct client_request *request)
{
    const struct kmip_response_item *answered = response->items.items;
    size_t count = response->items.count;
    request->version = kmip_version_of(response->header.version);
    request->items = items;
    request->count = count == 0 ? 1 : count < CLIENT_ITEMS_MAX ? count : CLIENT_ITEMS_MAX;
    items[0].operation = KMIP_OPERATION_ACTIVATE;
    for (size_t i = 0; i < request->count && i < count; i++) {
        uint32_t operation = (uint32_t)answered[i].operation.value;
        items[i].operation =
            client_shapes_of(operation) != NULL ? operation : KMIP_OPERATION_ACTIVATE;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char prefixes[][CLIENT_ID_PREFIX_LENGTH + 1] = {"", "QLKC"};
    struct client_item items[CLIENT_ITEMS_MAX] = {{0}};
    struct client_request request = {.version = KMIP_VERSION_1_1, .items = items, .count = 1};
    struct kmip_response response;
    if (arena.maximum == 0)
        arena_init(&arena, 1u << 20);
    input = bytes_of(data, size);
    items[0].operation = KMIP_OPERATION_GET;
    if (kmip_decode_response(input, &arena, &response) == STATUS_OK)
        guess_request(&response, items, &request);
    for (size_t i = 0; i < 2 * ARRAY_COUNT(prefixes); i++) {
        request.id_prefix = bytes_of_text(prefixes[i / 2]);
        request.carry_on = i % 2 == 1;
        arena_reset(&arena);
        try_request(&request);
    }
    arena_reset(&arena);
    return 0;
}
