/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/link.h"

#include <endian.h>

#include "base/compiler.h"

#define FLAG_CLOSE 1u

static const size_t payload_max[] = {
    [LINK_SETUP] = LINK_IDENTITY_MAX + 64,
    [LINK_IDENTITY] = LINK_IDENTITY_MAX,
    [LINK_READY] = 0,
    [LINK_FAILED] = LINK_TEXT_MAX,
    [LINK_REQUEST] = LINK_FIELDS_MAX + LINK_BODY_MAX,
    [LINK_ANSWER] = LINK_FIELDS_MAX + API_RESPONSE_MAX,
};

/* ---- Writing ---- */

static void write_32(struct buffer *frame, uint32_t value)
{
    value = htobe32(value);
    buffer_append(frame, &value, sizeof(value));
}

static void write_64(struct buffer *frame, uint64_t value)
{
    value = htobe64(value);
    buffer_append(frame, &value, sizeof(value));
}

static void write_bytes(struct buffer *frame, struct bytes bytes)
{
    write_32(frame, (uint32_t)bytes.size);
    buffer_append_bytes(frame, bytes);
}

void link_begin(struct buffer *frame, enum link_kind kind, uint64_t number)
{
    write_32(frame, 0);
    write_32(frame, kind);
    write_64(frame, number);
}

void link_end(struct buffer *frame)
{
    if (buffer_status(frame) != STATUS_OK)
        return;
    uint32_t size = htobe32((uint32_t)(frame->size - LINK_HEADER_SIZE));
    memcpy(frame->data, &size, sizeof(size));
}

/* ---- Reading: after the first failure everything is 0 or empty ---- */

struct reader {
    struct bytes rest;
    bool failed;
};

static const uint8_t *take(struct reader *reader, size_t size)
{
    if (reader->failed || size > reader->rest.size) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *data = reader->rest.data;
    reader->rest = bytes_of(data + size, reader->rest.size - size);
    return data;
}

static uint32_t read_32(struct reader *reader)
{
    uint32_t value = 0;
    const uint8_t *data = take(reader, sizeof(value));
    if (data != NULL)
        memcpy(&value, data, sizeof(value));
    return be32toh(value);
}

static uint64_t read_64(struct reader *reader)
{
    uint64_t value = 0;
    const uint8_t *data = take(reader, sizeof(value));
    if (data != NULL)
        memcpy(&value, data, sizeof(value));
    return be64toh(value);
}

static struct bytes read_bytes(struct reader *reader)
{
    uint32_t size = read_32(reader);
    const uint8_t *data = take(reader, size);
    return data == NULL ? bytes_of(NULL, 0) : bytes_of(data, size);
}

/* To be called last: nothing may be left. */
static enum status end_of(const struct reader *reader)
{
    return reader->failed || reader->rest.size > 0 ? STATUS_MALFORMED : STATUS_OK;
}

enum status link_read_header(const uint8_t header[static LINK_HEADER_SIZE],
                             struct link_header *ret_header)
{
    struct reader reader = {.rest = bytes_of(header, LINK_HEADER_SIZE)};
    uint32_t size = read_32(&reader);
    uint32_t kind = read_32(&reader);
    uint64_t number = read_64(&reader);
    if (kind < LINK_SETUP || kind > LINK_ANSWER || size > payload_max[kind])
        return STATUS_MALFORMED;
    *ret_header = (struct link_header){.size = size, .kind = kind, .number = number};
    return STATUS_OK;
}

/* ---- Setup ---- */

void link_write_identity(const struct link_identity *identity, struct buffer *frame)
{
    write_bytes(frame, identity->certificate);
    write_bytes(frame, identity->key);
}

static struct link_identity take_identity(struct reader *reader)
{
    struct bytes certificate = read_bytes(reader);
    return (struct link_identity){.certificate = certificate, .key = read_bytes(reader)};
}

enum status link_read_identity(struct bytes payload, struct link_identity *ret_identity)
{
    struct reader reader = {.rest = payload};
    struct link_identity identity = take_identity(&reader);
    enum status status = end_of(&reader);
    if (status == STATUS_OK)
        *ret_identity = identity;
    return status;
}

void link_write_setup(const struct link_setup *setup, struct buffer *frame)
{
    write_32(frame, setup->connections_max);
    write_32(frame, setup->body_max);
    write_32(frame, setup->headers_max);
    write_32(frame, setup->request_seconds);
    write_32(frame, setup->log_level);
    write_32(frame, setup->journal);
    link_write_identity(&setup->identity, frame);
}

enum status link_read_setup(struct bytes payload, struct link_setup *ret_setup)
{
    struct reader reader = {.rest = payload};
    struct link_setup setup = {0};
    setup.connections_max = read_32(&reader);
    setup.body_max = read_32(&reader);
    setup.headers_max = read_32(&reader);
    setup.request_seconds = read_32(&reader);
    setup.log_level = read_32(&reader);
    setup.journal = read_32(&reader) != 0;
    setup.identity = take_identity(&reader);
    enum status status = end_of(&reader);
    if (status == STATUS_OK && (setup.connections_max == 0 || setup.body_max > LINK_BODY_MAX ||
                                setup.headers_max > LINK_FIELDS_MAX / 2))
        status = STATUS_MALFORMED;
    if (status == STATUS_OK)
        *ret_setup = setup;
    return status;
}

/* ---- Requests ---- */

void link_write_request(const struct api_request *request, struct buffer *frame)
{
    write_32(frame, request->method);
    write_bytes(frame, request->path);
    write_bytes(frame, request->query);
    write_bytes(frame, request->authorization);
    write_bytes(frame, request->instance);
    write_bytes(frame, request->correlation);
    write_bytes(frame, request->key_ring);
    write_bytes(frame, request->prefer);
    write_bytes(frame, request->accept);
    write_bytes(frame, request->content_type);
    write_bytes(frame, request->peer);
    write_bytes(frame, request->body);
}

enum status link_read_request(struct bytes payload, struct api_request *ret_request)
{
    struct reader reader = {.rest = payload};
    struct api_request request = {0};
    uint32_t method = read_32(&reader);
    request.path = read_bytes(&reader);
    request.query = read_bytes(&reader);
    request.authorization = read_bytes(&reader);
    request.instance = read_bytes(&reader);
    request.correlation = read_bytes(&reader);
    request.key_ring = read_bytes(&reader);
    request.prefer = read_bytes(&reader);
    request.accept = read_bytes(&reader);
    request.content_type = read_bytes(&reader);
    request.peer = read_bytes(&reader);
    request.body = read_bytes(&reader);
    enum status status = end_of(&reader);
    if (status != STATUS_OK || method > API_OTHER || request.body.size > LINK_BODY_MAX)
        return STATUS_MALFORMED;
    request.method = method;
    *ret_request = request;
    return STATUS_OK;
}

/* ---- Answers ---- */

static struct bytes text_or_none(const char *text)
{
    return text == NULL ? bytes_of(NULL, 0) : bytes_of_text(text);
}

void link_write_answer(const struct api_response *response, struct buffer *frame)
{
    write_32(frame, response->status);
    write_32(frame, response->retry_after);
    write_32(frame, response->close ? FLAG_CLOSE : 0);
    write_64(frame, (uint64_t)response->key_total);
    write_bytes(frame, text_or_none(response->content_type));
    write_bytes(frame, bytes_of_text(response->correlation));
    write_bytes(frame, bytes_of_text(response->allow));
    write_bytes(frame, buffer_bytes(&response->body));
}

enum status link_read_answer(struct bytes payload, struct link_answer *ret_answer)
{
    struct reader reader = {.rest = payload};
    struct link_answer answer = {0};
    answer.status = read_32(&reader);
    answer.retry_after = read_32(&reader);
    uint32_t flags = read_32(&reader);
    answer.close = flags == FLAG_CLOSE;
    answer.key_total = (int64_t)read_64(&reader);
    answer.content_type = read_bytes(&reader);
    answer.correlation = read_bytes(&reader);
    answer.allow = read_bytes(&reader);
    answer.body = read_bytes(&reader);
    enum status status = end_of(&reader);
    if (status != STATUS_OK || answer.status < 200 || answer.status > 599 || flags > FLAG_CLOSE)
        return STATUS_MALFORMED;
    *ret_answer = answer;
    return STATUS_OK;
}
