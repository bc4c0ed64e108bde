/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both sides of the keyholder's socket take any bytes. As requests: those that can be read are
 * written back the same, are answered, and the answers can be read. As answers, and as settings:
 * what is read lies within the bytes.
 */
#include <string.h>

#include "fuzz.h"
#include "keyholder/answer.h"
#include "keyholder/server.h"
#include "keymanager/memory.h"

#define INPUTS_OF_ONE 512 /* then what root keys they made is forgotten */

/* A thread's random generator stands in OpenSSL's secure heap, where the leak checker does not look
 * for what points to its parts. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:CRYPTO_zalloc";
}

static struct keymanager *keymanager;
static struct server *server;

static void begin_anew(void)
{
    static unsigned inputs;
    struct error error;
    if (inputs++ % INPUTS_OF_ONE != 0)
        return;
    server_close(server);
    keymanager_close(keymanager);
    REQUIRE(secret_heap_init((size_t)1 << 24, &error) == STATUS_OK);
    REQUIRE(keymanager_open_memory(&keymanager) == STATUS_OK);
    struct server_options options = {.socket = -1, .workers = 1, .unwrap_rate = 1000000};
    options.keymanagers.by_code[KEYMANAGER_SEALED_FILE] = keymanager;
    REQUIRE(server_open(&options, &server) == STATUS_OK);
}

static bool lies_within(struct bytes part, struct bytes whole)
{
    return part.size == 0 ||
           (part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
}

/* ---- As requests ---- */

static void check_answer(void *context, const struct keyholder_answer *answer)
{
    const struct keyholder_request *request = context;
    struct buffer frame;
    struct keyholder_head head;
    struct keyholder_answer read;
    struct bytes body;
    buffer_init(&frame, KEYHOLDER_FRAME_MAX);
    REQUIRE(answer->message == request->message && answer->number == request->number);
    REQUIRE(keyholder_answer_append(&frame, answer) == STATUS_OK);
    REQUIRE(frame.size <= keyholder_answer_size(answer));
    REQUIRE(keyholder_frame_read(buffer_bytes(&frame), &head, &body) == STATUS_OK);
    REQUIRE(frame.size == KEYHOLDER_HEAD_SIZE + body.size);
    REQUIRE(keyholder_answer_read(&head, body, &read) == STATUS_OK);
    REQUIRE(read.status == answer->status && read.number == answer->number);
    REQUIRE(read.info_count == (read.status == STATUS_OK ? answer->info_count : 0));
    buffer_free(&frame);
}

static void check_request(struct bytes frame, const struct keyholder_request *request)
{
    struct buffer again;
    buffer_init(&again, KEYHOLDER_FRAME_MAX);
    REQUIRE(lies_within(request->data, frame) && lies_within(request->name, frame) &&
            lies_within(request->material, frame));
    REQUIRE(keyholder_request_append(&again, request) == STATUS_OK);
    REQUIRE(again.size <= keyholder_request_size(request));
    REQUIRE(bytes_equal(buffer_bytes(&again), frame));
    buffer_free(&again);
    if (request->message != KEYHOLDER_STATUS)
        answer_request(keymanager, request, check_answer, (void *)(uintptr_t)request);
}

static void as_requests(struct bytes input)
{
    struct keyholder_head head;
    struct keyholder_request request;
    struct bytes body;
    size_t used = 0;
    struct bytes left = input;
    while (keyholder_frame_read(left, &head, &body) == STATUS_OK) {
        struct bytes frame = bytes_of(left.data, KEYHOLDER_HEAD_SIZE + head.size);
        REQUIRE(lies_within(body, input) && body.size == head.size);
        if (keyholder_request_read(&head, body, &request) == STATUS_OK)
            check_request(frame, &request);
        left = bytes_of(left.data + frame.size, left.size - frame.size);
    }
    enum status status = server_take(server, input, &used);
    REQUIRE(status == STATUS_OK || status == STATUS_MALFORMED);
    REQUIRE(used == input.size - left.size);
}

/* ---- As answers and settings ---- */

static void as_answers(struct bytes input)
{
    struct keyholder_head head;
    struct keyholder_answer answer;
    struct bytes body;
    while (keyholder_frame_read(input, &head, &body) == STATUS_OK) {
        if (keyholder_answer_read(&head, body, &answer) == STATUS_OK) {
            REQUIRE(lies_within(answer.data, body) && lies_within(answer.rewrapped, body) &&
                    lies_within(answer.text, body) && lies_within(answer.packed, body));
            for (size_t i = 0; i < answer.info_count; i++)
                (void)keyholder_info_at(&answer, i);
        }
        size_t size = KEYHOLDER_HEAD_SIZE + head.size;
        input = bytes_of(input.data + size, input.size - size);
    }
}

static void as_settings(struct bytes input)
{
    struct keyholder_settings settings;
    struct buffer again;
    if (keyholder_settings_read(input, &settings) != STATUS_OK)
        return;
    buffer_init(&again, input.size + 1);
    REQUIRE(keyholder_settings_append(&again, &settings) == STATUS_OK);
    REQUIRE(bytes_equal(buffer_bytes(&again), input));
    buffer_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    begin_anew();
    as_requests(input);
    as_answers(input);
    as_settings(input);
    return 0;
}
