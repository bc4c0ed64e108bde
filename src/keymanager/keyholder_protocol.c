/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keyholder_protocol.h"

#include <endian.h>

static const struct {
    const char *name;
    bool of_manager;
    size_t least;
    size_t most;
} rules[] = {
#define KEYHOLDER_MESSAGE(code, number, name, of_manager, least, most) \
    [number] = {name, of_manager, least, most},
    KEYHOLDER_MESSAGES
#undef KEYHOLDER_MESSAGE
};
_Static_assert(ARRAY_COUNT(rules) == KEYHOLDER_MESSAGE_MAX + 1, "the table is whole");

static bool known(unsigned message)
{
    return message < ARRAY_COUNT(rules) && rules[message].name != NULL;
}

const char *keyholder_message_name(unsigned message)
{
    return known(message) ? rules[message].name : "?";
}

/* ---- Numbers ---- */

static void put8(struct buffer *buffer, uint8_t value)
{
    buffer_append(buffer, &value, sizeof(value));
}

static void put32(struct buffer *buffer, uint32_t value)
{
    value = htobe32(value);
    buffer_append(buffer, &value, sizeof(value));
}

static void put64(struct buffer *buffer, uint64_t value)
{
    value = htobe64(value);
    buffer_append(buffer, &value, sizeof(value));
}

/* A cursor that fails once and for all when it is asked for more than there is. */
struct cursor {
    struct bytes left;
    bool failed;
};

static struct bytes get(struct cursor *cursor, size_t size)
{
    static const uint8_t zeros[64];
    cursor->failed = cursor->failed || size > cursor->left.size;
    if (cursor->failed)
        return bytes_of(zeros, size < sizeof(zeros) ? size : 0);
    struct bytes got = bytes_of(cursor->left.data, size);
    cursor->left = bytes_of(got.data + size, cursor->left.size - size);
    return got;
}

static uint8_t get8(struct cursor *cursor)
{
    return get(cursor, 1).data[0];
}

static uint32_t get32(struct cursor *cursor)
{
    uint32_t value;
    memcpy(&value, get(cursor, sizeof(value)).data, sizeof(value));
    return be32toh(value);
}

static uint64_t get64(struct cursor *cursor)
{
    uint64_t value;
    memcpy(&value, get(cursor, sizeof(value)).data, sizeof(value));
    return be64toh(value);
}

static struct bytes get_rest(struct cursor *cursor)
{
    return get(cursor, cursor->failed ? 0 : cursor->left.size);
}

static void get_uuid(struct cursor *cursor, struct uuid *ret_uuid)
{
    memcpy(ret_uuid->bytes, get(cursor, UUID_SIZE).data, UUID_SIZE);
}

static bool get_flag(struct cursor *cursor)
{
    uint8_t value = get8(cursor);
    cursor->failed = cursor->failed || value > 1;
    return value == 1;
}

/* A byte for the length; 255: there is none, which is no data at all. */
#define SHORT_NONE 255

static void put_short(struct buffer *buffer, struct bytes bytes)
{
    put8(buffer, bytes.data == NULL ? SHORT_NONE : (uint8_t)bytes.size);
    buffer_append_bytes(buffer, bytes);
}

static struct bytes get_short(struct cursor *cursor)
{
    uint8_t size = get8(cursor);
    return size == SHORT_NONE ? bytes_of(NULL, 0) : get(cursor, size);
}

/* ---- The head ---- */

void keyholder_head_write(const struct keyholder_head *head,
                          uint8_t ret_bytes[static KEYHOLDER_HEAD_SIZE])
{
    struct buffer buffer;
    buffer_over(&buffer, ret_bytes, KEYHOLDER_HEAD_SIZE);
    put32(&buffer, head->size);
    put8(&buffer, head->message);
    put8(&buffer, head->code);
    put8(&buffer, head->flags);
    put8(&buffer, 0);
    put64(&buffer, head->number);
    put64(&buffer, (uint64_t)head->extra);
}

enum status keyholder_frame_read(struct bytes come, struct keyholder_head *ret_head,
                                 struct bytes *ret_body)
{
    struct cursor cursor = {come, false};
    if (come.size < KEYHOLDER_HEAD_SIZE)
        return STATUS_NOT_FOUND;
    struct keyholder_head head = {.size = get32(&cursor)};
    head.message = get8(&cursor);
    head.code = get8(&cursor);
    head.flags = get8(&cursor);
    uint8_t zero = get8(&cursor);
    head.number = get64(&cursor);
    head.extra = (int64_t)get64(&cursor);
    if (zero != 0 || head.size > KEYHOLDER_BODY_MAX || head.code > KEYMANAGER_CODE_MAX ||
        (head.flags & ~(KEYHOLDER_BACKGROUND | KEYHOLDER_MORE)) != 0)
        return STATUS_MALFORMED;
    if (cursor.left.size < head.size)
        return STATUS_NOT_FOUND;
    *ret_head = head;
    *ret_body = get(&cursor, head.size);
    return STATUS_OK;
}

/* ---- HELLO ---- */



static void put_text(struct buffer *buffer, const char *text)
{
    if (text != NULL)
        buffer_append_text(buffer, text);
    put8(buffer, 0);
}

static const char *get_text(struct cursor *cursor)
{
    size_t size = strnlen((const char *)cursor->left.data, cursor->left.size);
    struct bytes text = get(cursor, size + 1);
    return cursor->failed ? "" : (const char *)text.data;
}

enum status keyholder_settings_append(struct buffer *buffer,
                                      const struct keyholder_settings *settings)
{
    put64(buffer, settings->secret_memory);
    put64(buffer, settings->unwrap_rate);
    put64(buffer, settings->unwrap_burst);
    put32(buffer, settings->sealing.kind);
    put32(buffer, settings->pkcs11_sessions);
    put8(buffer, settings->create);
    put8(buffer, settings->network);
    put_text(buffer, settings->user);
    put_text(buffer, settings->sealed_path);
    put_text(buffer, settings->sealing.path);
    put_text(buffer, settings->sealing.tcti);
    put_text(buffer, settings->sealing.pcrs);
    put_text(buffer, settings->pkcs11_module);
    put_text(buffer, settings->pkcs11_token);
    put_text(buffer, settings->pkcs11_pin);
    return buffer_status(buffer);
}

enum status keyholder_settings_read(struct bytes body, struct keyholder_settings *ret_settings)
{
    struct cursor cursor = {body, false};
    struct keyholder_settings settings = {.secret_memory = get64(&cursor)};
    settings.unwrap_rate = get64(&cursor);
    settings.unwrap_burst = get64(&cursor);
    settings.sealing.kind = get32(&cursor);
    settings.pkcs11_sessions = get32(&cursor);
    settings.create = get_flag(&cursor);
    settings.network = get_flag(&cursor);
    settings.user = get_text(&cursor);
    settings.sealed_path = get_text(&cursor);
    settings.sealing.path = get_text(&cursor);
    settings.sealing.tcti = get_text(&cursor);
    settings.sealing.pcrs = get_text(&cursor);
    settings.pkcs11_module = get_text(&cursor);
    settings.pkcs11_token = get_text(&cursor);
    settings.pkcs11_pin = get_text(&cursor);
    if (cursor.failed || cursor.left.size > 0)
        return STATUS_MALFORMED;
    *ret_settings = settings;
    return STATUS_OK;
}

/* ---- Requests ---- */

/* What stands in a body, in this order. */
enum part {
    PART_END,
    PART_BINDING,
    PART_ROOT_KEY,
    PART_FROM,
    PART_STATE,
    PART_NOW,
    PART_NAME,
    PART_MATERIAL,
    PART_DATA, /* all the rest */
};
#define PARTS_MAX 5

static const uint8_t request_parts[KEYHOLDER_MESSAGE_MAX + 1][PARTS_MAX] = {
    [KEYHOLDER_WRAP] = {PART_BINDING, PART_DATA},
    [KEYHOLDER_UNWRAP] = {PART_BINDING, PART_DATA},
    [KEYHOLDER_REWRAP] = {PART_BINDING, PART_DATA},
    [KEYHOLDER_CREATE] = {PART_ROOT_KEY, PART_NOW, PART_NAME, PART_MATERIAL},
    [KEYHOLDER_ROTATE] = {PART_ROOT_KEY, PART_FROM, PART_NOW, PART_MATERIAL},
    [KEYHOLDER_SET_STATE] = {PART_ROOT_KEY, PART_STATE},
    [KEYHOLDER_DELETE] = {PART_ROOT_KEY, PART_NOW},
    [KEYHOLDER_RESTORE] = {PART_ROOT_KEY},
    [KEYHOLDER_PURGE] = {PART_ROOT_KEY},
    [KEYHOLDER_INFO] = {PART_ROOT_KEY},
    [KEYHOLDER_IS_NEWEST] = {PART_DATA},
};

static void put_request_part(struct buffer *buffer, const struct keyholder_request *request,
                             enum part part)
{
    switch (part) {
    case PART_BINDING:
        buffer_append(buffer, &request->binding, sizeof(request->binding));
        break;
    case PART_ROOT_KEY:
        buffer_append_bytes(buffer, uuid_bytes(&request->root_key));
        break;
    case PART_FROM:
        put32(buffer, request->from);
        break;
    case PART_STATE:
        put32(buffer, request->state);
        break;
    case PART_NOW:
        put64(buffer, (uint64_t)request->now);
        break;
    case PART_NAME:
        put_short(buffer, request->name);
        break;
    case PART_MATERIAL:
        put_short(buffer, request->material);
        break;
    case PART_DATA:
        buffer_append_bytes(buffer, request->data);
        break;
    case PART_END:
        break;
    }
}

static void get_request_part(struct cursor *cursor, struct keyholder_request *request,
                             enum part part)
{
    switch (part) {
    case PART_BINDING:
        get_uuid(cursor, &request->binding.object);
        get_uuid(cursor, &request->binding.adapter);
        get_uuid(cursor, &request->binding.root_key);
        break;
    case PART_ROOT_KEY:
        get_uuid(cursor, &request->root_key);
        break;
    case PART_FROM:
        request->from = get32(cursor);
        break;
    case PART_STATE:
        request->state = get32(cursor);
        break;
    case PART_NOW:
        request->now = (int64_t)get64(cursor);
        break;
    case PART_NAME:
        request->name = get_short(cursor);
        break;
    case PART_MATERIAL:
        request->material = get_short(cursor);
        break;
    case PART_DATA:
        request->data = get_rest(cursor);
        break;
    case PART_END:
        break;
    }
}
_Static_assert(sizeof(struct wrap_binding) == 3 * UUID_SIZE, "a binding has no padding");

/* The room for a head, to be filled when the size of the body is known. */
static size_t start_frame(struct buffer *buffer)
{
    size_t start = buffer->size;
    (void)buffer_reserve(buffer, KEYHOLDER_HEAD_SIZE);
    return start;
}

/* Fills in the head, or takes everything back. */
static enum status end_frame(struct buffer *buffer, size_t start, struct keyholder_head *head)
{
    enum status status = buffer_status(buffer);
    if (status == STATUS_OK && buffer->size - start - KEYHOLDER_HEAD_SIZE > KEYHOLDER_BODY_MAX)
        status = STATUS_TOO_LARGE;
    if (status != STATUS_OK) {
        buffer->size = start;
        buffer->status = STATUS_OK;
        return status;
    }
    head->size = (uint32_t)(buffer->size - start - KEYHOLDER_HEAD_SIZE);
    keyholder_head_write(head, buffer->data + start);
    return STATUS_OK;
}

size_t keyholder_request_size(const struct keyholder_request *request)
{
    return KEYHOLDER_HEAD_SIZE + 64 + request->data.size + request->name.size +
           request->material.size;
}

enum status keyholder_request_append(struct buffer *buffer, const struct keyholder_request *request)
{
    struct keyholder_head head = {
        .message = (uint8_t)request->message,
        .code = (uint8_t)request->code,
        .flags = request->background ? KEYHOLDER_BACKGROUND : 0,
        .number = request->number,
        .extra = request->deadline,
    };
    size_t start = start_frame(buffer);
    for (size_t i = 0; i < PARTS_MAX; i++)
        put_request_part(buffer, request, request_parts[request->message][i]);
    return end_frame(buffer, start, &head);
}

static bool request_fits(const struct keyholder_head *head)
{
    return head->size >= rules[head->message].least && head->size <= rules[head->message].most &&
           (head->code != KEYMANAGER_NONE) == rules[head->message].of_manager &&
           (head->flags & KEYHOLDER_MORE) == 0;
}

enum status keyholder_request_read(const struct keyholder_head *head, struct bytes body,
                                   struct keyholder_request *ret_request)
{
    struct cursor cursor = {body, false};
    if (!known(head->message) || head->message == KEYHOLDER_HELLO)
        return STATUS_OPERATION_NOT_SUPPORTED;
    if (!request_fits(head))
        return STATUS_MALFORMED;
    struct keyholder_request request = {
        .message = head->message,
        .code = head->code,
        .background = (head->flags & KEYHOLDER_BACKGROUND) != 0,
        .number = head->number,
        .deadline = head->extra,
    };
    for (size_t i = 0; i < PARTS_MAX; i++)
        get_request_part(&cursor, &request, request_parts[head->message][i]);
    if (cursor.failed || cursor.left.size > 0)
        return STATUS_MALFORMED;
    *ret_request = request;
    return STATUS_OK;
}

/* ---- Answers ---- */

#define INFO_SIZE     52
#define INFO_IMPORTED 1u
#define INFO_PURGED   2u

static void put_info(struct buffer *buffer, const struct root_key_info *info)
{
    buffer_append_bytes(buffer, uuid_bytes(&info->id));
    put32(buffer, info->state);
    put32(buffer, info->version);
    put32(buffer, (info->imported ? INFO_IMPORTED : 0) | (info->purged ? INFO_PURGED : 0));
    put64(buffer, (uint64_t)info->created);
    put64(buffer, (uint64_t)info->rotated);
    put64(buffer, (uint64_t)info->deleted);
}

static struct root_key_info get_info(struct cursor *cursor)
{
    struct root_key_info info = {0};
    get_uuid(cursor, &info.id);
    info.state = get32(cursor);
    info.version = get32(cursor);
    uint32_t flags = get32(cursor);
    info.imported = (flags & INFO_IMPORTED) != 0;
    info.purged = (flags & INFO_PURGED) != 0;
    info.created = (int64_t)get64(cursor);
    info.rotated = (int64_t)get64(cursor);
    info.deleted = (int64_t)get64(cursor);
    return info;
}

struct root_key_info keyholder_info_at(const struct keyholder_answer *answer, size_t place)
{
    struct cursor cursor = {bytes_of(answer->packed.data + place * INFO_SIZE, INFO_SIZE), false};
    return get_info(&cursor);
}

static void put_counters(struct buffer *buffer, const struct keyholder_counters *counters)
{
    put64(buffer, counters->wraps);
    put64(buffer, counters->unwraps);
    put64(buffer, counters->rewraps);
    put64(buffer, counters->others);
    put64(buffer, counters->waiting);
    put64(buffer, counters->waited);
}

static void get_counters(struct cursor *cursor, struct keyholder_counters *counters)
{
    counters->wraps = get64(cursor);
    counters->unwraps = get64(cursor);
    counters->rewraps = get64(cursor);
    counters->others = get64(cursor);
    counters->waiting = get64(cursor);
    counters->waited = get64(cursor);
}

static void put_answer(struct buffer *buffer, const struct keyholder_answer *answer)
{
    switch (answer->message) {
    case KEYHOLDER_STATUS:
        put_counters(buffer, &answer->counters);
        break;
    case KEYHOLDER_UNWRAP:
        put32(buffer, (uint32_t)answer->data.size);
        buffer_append_bytes(buffer, answer->data);
        buffer_append_bytes(buffer, answer->rewrapped);
        break;
    case KEYHOLDER_WRAP:
    case KEYHOLDER_REWRAP:
        buffer_append_bytes(buffer, answer->data);
        break;
    case KEYHOLDER_CREATE:
        buffer_append_bytes(buffer, uuid_bytes(&answer->root_key));
        break;
    case KEYHOLDER_INFO:
        put_info(buffer, &answer->info);
        break;
    case KEYHOLDER_LIST:
        for (size_t i = 0; i < answer->info_count; i++)
            put_info(buffer, &answer->infos[i]);
        break;
    case KEYHOLDER_IS_NEWEST:
        put8(buffer, answer->newest);
        break;
    case KEYHOLDER_HELLO:
    case KEYHOLDER_CHECK:
        buffer_append_bytes(buffer, answer->text);
        break;
    default: /* there is nothing to say but that it was done */
        break;
    }
}

size_t keyholder_answer_size(const struct keyholder_answer *answer)
{
    return KEYHOLDER_HEAD_SIZE + 64 + answer->text.size + answer->data.size +
           answer->rewrapped.size + answer->info_count * INFO_SIZE;
}

enum status keyholder_answer_append(struct buffer *buffer, const struct keyholder_answer *answer)
{
    struct keyholder_head head = {
        .message = (uint8_t)answer->message,
        .flags = answer->more ? KEYHOLDER_MORE : 0,
        .number = answer->number,
        .extra = answer->status,
    };
    size_t start = start_frame(buffer);
    if (answer->status == STATUS_OK)
        put_answer(buffer, answer);
    else
        buffer_append_bytes(buffer, answer->text);
    return end_frame(buffer, start, &head);
}

static void get_answer(struct cursor *cursor, struct keyholder_answer *answer)
{
    switch (answer->message) {
    case KEYHOLDER_STATUS:
        get_counters(cursor, &answer->counters);
        break;
    case KEYHOLDER_UNWRAP:
        answer->data = get(cursor, get32(cursor));
        answer->rewrapped = get_rest(cursor);
        break;
    case KEYHOLDER_WRAP:
    case KEYHOLDER_REWRAP:
        answer->data = get_rest(cursor);
        break;
    case KEYHOLDER_CREATE:
        get_uuid(cursor, &answer->root_key);
        break;
    case KEYHOLDER_INFO:
        answer->info = get_info(cursor);
        break;
    case KEYHOLDER_LIST:
        answer->packed = get_rest(cursor);
        answer->info_count = answer->packed.size / INFO_SIZE;
        cursor->failed = cursor->failed || answer->packed.size % INFO_SIZE != 0 ||
                         answer->info_count > KEYHOLDER_INFOS_MAX;
        break;
    case KEYHOLDER_IS_NEWEST:
        answer->newest = get_flag(cursor);
        break;
    case KEYHOLDER_HELLO:
    case KEYHOLDER_CHECK:
        answer->text = get_rest(cursor);
        break;
    default:
        break;
    }
}

enum status keyholder_answer_read(const struct keyholder_head *head, struct bytes body,
                                  struct keyholder_answer *ret_answer)
{
    struct cursor cursor = {body, false};
    struct keyholder_answer answer = {
        .message = head->message,
        .number = head->number,
        .more = (head->flags & KEYHOLDER_MORE) != 0,
    };
    if (head->extra < 0 || head->extra >= STATUS_COUNT ||
        (!known(head->message) && head->extra == STATUS_OK) ||
        (answer.more && (head->message != KEYHOLDER_LIST || head->extra != STATUS_OK)))
        return STATUS_MALFORMED;
    answer.status = (enum status)head->extra;
    if (answer.status == STATUS_OK)
        get_answer(&cursor, &answer);
    else
        answer.text = get_rest(&cursor);
    if (cursor.failed || cursor.left.size > 0)
        return STATUS_MALFORMED;
    *ret_answer = answer;
    return STATUS_OK;
}
