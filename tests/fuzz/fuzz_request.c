/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole way of a request: decoding, permission, operations, store, answer. The input is a
 * conversation: frames, one behind the other, to a server that is new each time. Identifiers are
 * not known beforehand: 00000000-0000-7000-8000-0000000000NN in a frame stands for the object that
 * was made as the NN-th (in hexadecimal, from 00).
 *
 * Then a client of another adapter says the same, and may touch nothing of the first one's.
 */
#include <string.h>

#include "base/hex.h"
#include "core_bench.h"
#include "fuzz.h"

#define FRAME_MAX   65536
#define FRAMES_MAX  32
#define OBJECTS_MAX 64
#define STANDS_FOR  "00000000-0000-7000-8000-0000000000"
#define STANDS_LEN  (sizeof(STANDS_FOR) - 1)

struct made {
    char text[UUID_TEXT_LENGTH + 1];
    struct uuid id;
    int64_t version; /* when the first client was done */
};

struct conversation {
    struct core_bench bench;
    struct core_session other;
    struct made made[OBJECTS_MAX];
    size_t count;
    bool is_other; /* who talks */
    uint8_t frame[FRAME_MAX];
};

/* ---- Answers ---- */

/* Whether an answer is about an object that the other adapter has not. */
static void expect_own(const struct conversation *talk, struct bytes payload)
{
    struct ttlv_reader reader = ttlv_reader_over(payload);
    struct ttlv_item item;
    while (!ttlv_at_end(&reader) && ttlv_next(&reader, &item) == STATUS_OK) {
        if (item.tag != KMIP_TAG_UNIQUE_IDENTIFIER)
            continue;
        for (size_t i = 0; i < talk->count; i++)
            REQUIRE(!bytes_equal_text(item.value, talk->made[i].text));
    }
}

static bool is_served(uint16_t version)
{
    for (size_t i = 0; i < core_version_count; i++)
        if (core_versions[i] == version)
            return true;
    return false;
}

static void check_item(const struct conversation *talk, const struct kmip_response_item *item)
{
    bool success = item->result_status.value == KMIP_RESULT_STATUS_SUCCESS;
    REQUIRE(success || item->result_status.value == KMIP_RESULT_STATUS_OPERATION_FAILED);
    REQUIRE(success == !item->result_reason.present);
    REQUIRE(success || item->result_message.size > 0);
    if (success && talk->is_other)
        expect_own(talk, item->payload.value);
}

static void check_records(const struct request *request, size_t items)
{
    REQUIRE(request->record_count == items);
    for (size_t i = 0; i < request->record_count; i++) {
        const struct audit_entry *entry = &request->records[i];
        REQUIRE(entry->event != NULL && entry->result.size > 0 && entry->time > 0);
        REQUIRE((entry->reason.size == 0) == bytes_equal_text(entry->result, "Success"));
    }
}

/* Whatever was asked, there is one well-formed answer, and a record of each item. */
static void check_answer(struct conversation *talk)
{
    struct request *request = &talk->bench.request;
    struct bytes reply = buffer_bytes(&request->reply);
    struct kmip_response response;
    arena_reset(&talk->bench.arena);
    REQUIRE(ttlv_check(reply) == STATUS_OK);
    REQUIRE(kmip_decode_response(reply, &talk->bench.arena, &response) == STATUS_OK);
    REQUIRE(is_served(kmip_version_of(response.header.version)));
    REQUIRE(response.header.batch_count.value == (int64_t)response.items.count);
    REQUIRE(response.items.count > 0 || request->record_count == 0);
    const struct kmip_response_item *items = response.items.items;
    for (size_t i = 0; i < response.items.count; i++)
        check_item(talk, &items[i]);
    check_records(request, response.items.count);
}

/* ---- Objects ---- */

static void remember_made(struct conversation *talk)
{
    const struct request *request = &talk->bench.request;
    for (size_t i = 0; i < request->change_count && talk->count < OBJECTS_MAX; i++) {
        if (request->changes[i].kind != STORE_INSERT)
            continue;
        struct made *made = &talk->made[talk->count++];
        made->id = request->changes[i].row.id;
        uuid_text(&made->id, made->text);
    }
}

static int64_t stored_version(struct conversation *talk, const struct uuid *id)
{
    struct stored_object *object;
    REQUIRE(store_get(talk->bench.session_store, talk->bench.session.adapter, id, &object) ==
            STATUS_OK);
    int64_t version = object->row.version;
    stored_object_release(object);
    return version;
}

/* Puts the identifiers of objects in the place of what stands for them. */
static void name_objects(const struct conversation *talk, uint8_t *frame, size_t size)
{
    uint8_t *at = frame;
    uint8_t number;
    while ((at = memmem(at, size - (size_t)(at - frame), STANDS_FOR, STANDS_LEN)) != NULL) {
        if (size - (size_t)(at - frame) < UUID_TEXT_LENGTH)
            break;
        if (hex_decode(bytes_of(at + STANDS_LEN, 2), &number, 1) && number < talk->count)
            memcpy(at, talk->made[number].text, UUID_TEXT_LENGTH);
        at++;
    }
}

/* ---- The conversation ---- */

static void ask(struct conversation *talk, struct bytes frame)
{
    struct core_bench *bench = &talk->bench;
    const struct core_session *session = talk->is_other ? &talk->other : &bench->session;
    bench->clock.test_time += 1000;
    enum status status = core_bench_run(bench, session, frame);
    /* Nobody else is there whom a change could meet; only the answer may be too long. */
    if (status != STATUS_OK && status != STATUS_TOO_LARGE)
        (void)fprintf(stderr, "%s\n", status_name(status));
    REQUIRE(status == STATUS_OK || status == STATUS_TOO_LARGE);
    if (status == STATUS_OK && !talk->is_other)
        remember_made(talk);
    if (status != STATUS_OK)
        REQUIRE(core_refuse(&bench->request, STATUS_RESPONSE_TOO_LARGE) == STATUS_OK);
    check_answer(talk);
}

/* Bytes that are no frame end a conversation. */
static void reject(struct conversation *talk, struct bytes rest, enum status status)
{
    struct core_bench *bench = &talk->bench;
    if (rest.size < TTLV_HEADER_SIZE)
        return;
    REQUIRE(core_reject_frame(&bench->request, &bench->session, rest, status) == STATUS_OK);
    REQUIRE(bench->request.close && bench->request.change_count == 0);
    check_answer(talk);
}

static void converse(struct conversation *talk, struct bytes input)
{
    for (int i = 0; i < FRAMES_MAX && input.size >= TTLV_HEADER_SIZE; i++) {
        size_t size;
        enum status status = ttlv_frame_size(input.data, FRAME_MAX, &size);
        if (status != STATUS_OK || size > input.size) {
            reject(talk, input, status == STATUS_OK ? STATUS_MALFORMED : status);
            return;
        }
        memcpy(talk->frame, input.data, size);
        name_objects(talk, talk->frame, size);
        ask(talk, bytes_of(talk->frame, size));
        input = bytes_of(input.data + size, input.size - size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conversation talk;
    struct bytes input = bytes_of(data, size);
    core_bench_open(&talk.bench);
    core_bench_adapter(&talk.bench, "other", &talk.other);
    talk.count = 0;
    talk.is_other = false;
    converse(&talk, input);
    for (size_t i = 0; i < talk.count; i++)
        talk.made[i].version = stored_version(&talk, &talk.made[i].id);
    talk.is_other = true;
    converse(&talk, input);
    for (size_t i = 0; i < talk.count; i++)
        REQUIRE(talk.made[i].version == stored_version(&talk, &talk.made[i].id));
    core_bench_close(&talk.bench);
    return 0;
}
