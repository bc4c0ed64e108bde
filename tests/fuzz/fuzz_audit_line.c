/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of the audit log: any line can be parsed, any bytes can be recorded. The input is a line,
 * and is the text of a record that is written, read back by a JSON parser, and parsed.
 */
#include <jansson.h>
#include <string.h>

#include "audit/line.h"
#include "base/utf8.h"
#include "fuzz.h"

static bool lies_within(struct bytes part, struct bytes whole)
{
    return part.size == 0 ||
           (part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
}

static void parse(struct bytes input)
{
    struct audit_line line;
    if (!audit_line_parse(input, &line))
        return;
    REQUIRE(line.sequence > 0);
    REQUIRE(lies_within(line.body, input) && line.body.data == input.data);
    REQUIRE(lies_within(line.previous, line.body));
    REQUIRE(line.previous.size == 0 || line.previous.size == RECORD_DIGITS);
    REQUIRE(lies_within(line.chain, input) && line.chain.size == RECORD_DIGITS);
}

/* What is read back of a text: the text itself, unless it is cut or has bytes that are not UTF-8. */
static void check_text(struct bytes text, const json_t *member)
{
    uint32_t code;
    if (text.size == 0 || text.size > RECORD_TEXT_MAX) {
        REQUIRE((text.size == 0) == (member == NULL));
        return;
    }
    REQUIRE(member != NULL);
    for (size_t i = 0, size; i < text.size; i += size) {
        size = utf8_character(bytes_of(text.data + i, text.size - i), &code);
        if (size == 0)
            return;
    }
    REQUIRE(json_string_length(member) == text.size);
    REQUIRE(memcmp(json_string_value(member), text.data, text.size) == 0);
}

static void check_printable(const uint8_t *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        REQUIRE(line[i] >= 0x20 && line[i] != 0x7F);
}

static void record(struct bytes input)
{
    static struct record_clock clock;
    static uint8_t line[RECORD_SIZE_MAX];
    size_t half = input.size / 2;
    struct audit_entry entry = {
        .event = "kmip",
        .object = bytes_of(input.data, half),
        .detail = bytes_of(input.data + half, input.size - half),
    };
    if (input.size >= sizeof(entry.time))
        memcpy(&entry.time, input.data, sizeof(entry.time));
    size_t size = record_write(&clock, &entry, input.size + 1, "", line);
    REQUIRE(size <= RECORD_SIZE_MAX - RECORD_PREVIOUS_SIZE && line[size - 1] == '\n');
    check_printable(line, size - 1);
    struct audit_line parsed;
    REQUIRE(audit_line_parse(bytes_of(line, size - 1), &parsed));
    REQUIRE(parsed.sequence == input.size + 1 && parsed.previous.size == 0);
    json_t *json =
        json_loadb((const char *)line, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    REQUIRE(json != NULL);
    check_text(entry.object, json_object_get(json, "object"));
    check_text(entry.detail, json_object_get(json, "detail"));
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    parse(input);
    record(input);
    return 0;
}
