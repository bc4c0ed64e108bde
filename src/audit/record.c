/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/record.h"

#include <assert.h>
#include <time.h>

#include "base/utf8.h"

#define NOTE_MAX 512
#define ESCAPED  6 /* `\u0000`: what one byte becomes at most */

static const struct {
    struct bytes label;
    size_t offset;
} members[] = {
    {BYTES_LITERAL(",\"adapter\":\""), offsetof(struct audit_entry, adapter)},
    {BYTES_LITERAL(",\"certificate\":\""), offsetof(struct audit_entry, certificate)},
    {BYTES_LITERAL(",\"peer\":\""), offsetof(struct audit_entry, peer)},
    {BYTES_LITERAL(",\"operation\":\""), offsetof(struct audit_entry, operation)},
    {BYTES_LITERAL(",\"object\":\""), offsetof(struct audit_entry, object)},
    {BYTES_LITERAL(",\"result\":\""), offsetof(struct audit_entry, result)},
    {BYTES_LITERAL(",\"reason\":\""), offsetof(struct audit_entry, reason)},
    {BYTES_LITERAL(",\"product\":\""), offsetof(struct audit_entry, product)},
};

/* Event, the members, detail; each with a label, U+2026 and a quote; the rest is under 512. */
static_assert((ARRAY_COUNT(members) + 2) * (RECORD_TEXT_MAX * ESCAPED + 32) + NOTE_MAX * ESCAPED +
                      512 + RECORD_PREVIOUS_SIZE + RECORD_SUFFIX_SIZE <
                  RECORD_SIZE_MAX,
              "a record of the longest texts fits");

static uint8_t *put(uint8_t *to, const void *data, size_t size)
{
    memcpy(to, data, size);
    return to + size;
}

static uint8_t *put_bytes(uint8_t *to, struct bytes bytes)
{
    return put(to, bytes.data, bytes.size);
}

static uint8_t *put_number(uint8_t *to, uint64_t number)
{
    uint8_t digits[20];
    size_t at = sizeof(digits);
    do
        digits[--at] = (uint8_t)('0' + number % 10);
    while ((number /= 10) != 0);
    return put(to, digits + at, sizeof(digits) - at);
}

static uint8_t *put_escape(uint8_t *to, uint32_t code)
{
    static const char digits[] = "0123456789abcdef";
    to = put(to, "\\u", 2);
    for (int shift = 12; shift >= 0; shift -= 4)
        *to++ = (uint8_t)digits[code >> shift & 15];
    return to;
}

static bool is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\';
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Whether all eight bytes stand for themselves. A byte above the offending one may be taken for
 * offending too, which costs only time. */
static bool are_plain(uint64_t word)
{
    uint64_t quote = word ^ EACH('"');
    uint64_t backslash = word ^ EACH('\\');
    uint64_t special =
        (word - EACH(0x20)) | (word + EACH(1)) | word | (quote - EACH(1)) | (backslash - EACH(1));
    return (special & EACH(0x80)) == 0;
}

static size_t plain_prefix(struct bytes text)
{
    size_t i = 0;
    for (uint64_t word; text.size - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, text.data + i, sizeof(word));
        if (!are_plain(word))
            break;
    }
    while (i < text.size && is_plain(text.data[i]))
        i++;
    return i;
}

/* Writes the one character that `text` begins with and returns how many bytes it had. */
static size_t put_special(uint8_t **to, struct bytes text)
{
    uint32_t code;
    size_t size = utf8_character(text, &code);
    if (size == 0) {
        *to = put_escape(*to, 0xFFFD);
        return 1;
    }
    if (code < 0x20 || (code >= 0x7F && code < 0xA0)) {
        *to = put_escape(*to, code);
        return size;
    }
    if (code == '"' || code == '\\')
        *(*to)++ = '\\';
    *to = put(*to, text.data, size);
    return size;
}

/* Cuts to RECORD_TEXT_MAX bytes, not inside of a character. */
static struct bytes cut(struct bytes text)
{
    size_t size = RECORD_TEXT_MAX;
    for (int i = 0; i < 3 && (text.data[size] & 0xC0) == 0x80; i++)
        size--;
    return bytes_of(text.data, size);
}

static uint8_t *put_text(uint8_t *to, struct bytes text)
{
    bool too_long = text.size > RECORD_TEXT_MAX;
    if (too_long)
        text = cut(text);
    while (text.size > 0) {
        size_t used = plain_prefix(text);
        if (used > 0)
            to = put(to, text.data, used);
        else
            used = put_special(&to, text);
        text = bytes_of(text.data + used, text.size - used);
    }
    return too_long ? put(to, "\xE2\x80\xA6", 3) : to;
}

static uint8_t *put_member(uint8_t *to, struct bytes label, struct bytes text)
{
    if (text.size == 0)
        return to;
    to = put_text(put_bytes(to, label), text);
    *to++ = '"';
    return to;
}

static uint8_t *put_detail(uint8_t *to, struct bytes detail, const char *note)
{
    static const struct bytes label = BYTES_LITERAL(",\"detail\":\"");
    if (note[0] == '\0')
        return put_member(to, label, detail);
    to = put_text(put_bytes(to, label), detail);
    if (detail.size > 0)
        to = put(to, "; ", 2);
    to = put_text(to, bytes_of(note, strnlen(note, NOTE_MAX)));
    *to++ = '"';
    return to;
}

static uint8_t *put_time(struct record_clock *clock, uint8_t *to, int64_t milliseconds)
{
    static const int64_t last = INT64_C(253402300799999); /* 9999-12-31T23:59:59.999Z */
    milliseconds = milliseconds < 0 ? 0 : milliseconds > last ? last : milliseconds;
    if (!clock->set || clock->second != milliseconds / 1000) {
        clock->second = milliseconds / 1000;
        clock->set = true;
        struct tm utc;
        (void)gmtime_r(&clock->second, &utc); /* fails only for years beyond an int */
        (void)strftime(clock->text, sizeof(clock->text), "%Y-%m-%dT%H:%M:%S.", &utc);
    }
    to = put(to, clock->text, strlen(clock->text));
    int fraction = (int)(milliseconds % 1000);
    *to++ = (uint8_t)('0' + fraction / 100);
    *to++ = (uint8_t)('0' + fraction / 10 % 10);
    *to++ = (uint8_t)('0' + fraction % 10);
    return put(to, "Z\"", 2);
}

size_t record_write(struct record_clock *clock, const struct audit_entry *entry, uint64_t sequence,
                    const char *note, uint8_t *to)
{
    static const char suffix[] =
        RECORD_CHAIN_MEMBER "0000000000000000000000000000000000000000000000000000000000000000\"}\n";
    static_assert(sizeof(suffix) - 1 == RECORD_SUFFIX_SIZE, "the suffix has room for the chain");
    uint8_t *start = to;
    to = put_number(put(to, "{\"seq\":", 7), sequence);
    to = put_time(clock, put(to, ",\"time\":\"", 9), entry->time);
    to = put_member(to, BYTES_LITERAL(",\"event\":\""), bytes_of_text(entry->event));
    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        struct bytes text;
        memcpy(&text, (const char *)entry + members[i].offset, sizeof(text));
        to = put_member(to, members[i].label, text);
    }
    to = put_detail(to, entry->detail, note);
    to = put(to, suffix, RECORD_SUFFIX_SIZE);
    return (size_t)(to - start);
}
