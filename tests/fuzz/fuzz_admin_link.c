/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kmipd and its admin process read of each other: frames, one behind the other. Whatever is
 * accepted is written again as it was, so that both sides mean the same.
 */
#include "admin/link.h"
#include "fuzz.h"

static void check_request(struct bytes payload, struct buffer *again)
{
    struct api_request request;
    if (link_read_request(payload, &request) != STATUS_OK)
        return;
    REQUIRE(!request.local && request.method <= API_OTHER);
    REQUIRE(request.body.data + request.body.size == payload.data + payload.size);
    link_write_request(&request, again);
    REQUIRE(bytes_equal(buffer_bytes(again), payload));
}

static void check_answer(struct bytes payload)
{
    struct link_answer answer;
    if (link_read_answer(payload, &answer) != STATUS_OK)
        return;
    REQUIRE(answer.status >= 200 && answer.status <= 599);
    REQUIRE(answer.body.data + answer.body.size == payload.data + payload.size);
}

static void check_identity(struct bytes payload, struct buffer *again)
{
    struct link_identity identity;
    if (link_read_identity(payload, &identity) != STATUS_OK)
        return;
    link_write_identity(&identity, again);
    REQUIRE(bytes_equal(buffer_bytes(again), payload));
}

static void check_setup(struct bytes payload, struct buffer *again)
{
    struct link_setup setup;
    struct link_setup second;
    if (link_read_setup(payload, &setup) != STATUS_OK)
        return;
    REQUIRE(setup.connections_max > 0 && setup.body_max <= LINK_BODY_MAX);
    link_write_setup(&setup, again);
    REQUIRE(link_read_setup(buffer_bytes(again), &second) == STATUS_OK);
    REQUIRE(bytes_equal(setup.identity.key, second.identity.key));
}

static void check_payload(enum link_kind kind, struct bytes payload)
{
    struct buffer again;
    buffer_init(&again, LINK_FRAME_MAX);
    if (kind == LINK_REQUEST)
        check_request(payload, &again);
    else if (kind == LINK_ANSWER)
        check_answer(payload);
    else if (kind == LINK_IDENTITY)
        check_identity(payload, &again);
    else if (kind == LINK_SETUP)
        check_setup(payload, &again);
    buffer_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct link_header header;
    while (size >= LINK_HEADER_SIZE && link_read_header(data, &header) == STATUS_OK &&
           size - LINK_HEADER_SIZE >= header.size) {
        check_payload(header.kind, bytes_of(data + LINK_HEADER_SIZE, header.size));
        data += LINK_HEADER_SIZE + header.size;
        size -= LINK_HEADER_SIZE + header.size;
    }
    return 0;
}
