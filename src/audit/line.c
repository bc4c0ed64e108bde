/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/line.h"

#define LINE_START "{\"seq\":"

static bool has_at(struct bytes line, size_t at, const char *text)
{
    return memcmp(line.data + at, text, strlen(text)) == 0;
}

/* The number between LINE_START and a comma, as put_number() writes it: no leading zero. */
static bool parse_sequence(struct bytes line, uint64_t *ret_sequence)
{
    size_t at = sizeof(LINE_START) - 1;
    uint64_t number = 0;
    if (line.size <= at || line.data[at] == '0')
        return false;
    for (; at < line.size && line.data[at] >= '0' && line.data[at] <= '9'; at++)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, line.data[at] - '0', &number))
            return false;
    *ret_sequence = number;
    return number > 0 && at < line.size && line.data[at] == ',';
}

/* A quote that no backslash precedes stands in no text, so that no text can imitate the member. */
static struct bytes find_previous(struct bytes body)
{
    if (body.size < RECORD_PREVIOUS_SIZE || body.data[body.size - 1] != '"' ||
        !has_at(body, body.size - RECORD_PREVIOUS_SIZE, RECORD_PREVIOUS_MEMBER))
        return bytes_of(NULL, 0);
    return bytes_of(body.data + body.size - 1 - RECORD_DIGITS, RECORD_DIGITS);
}

bool audit_line_parse(struct bytes line, struct audit_line *ret_line)
{
    const size_t suffix = RECORD_SUFFIX_SIZE - 1; /* without the newline */
    if (line.size < sizeof(LINE_START) - 1 + suffix || line.size >= RECORD_SIZE_MAX)
        return false;
    struct audit_line parsed = {.body = bytes_of(line.data, line.size - suffix)};
    if (!has_at(line, 0, LINE_START) || !has_at(line, parsed.body.size, RECORD_CHAIN_MEMBER) ||
        !has_at(line, line.size - 2, "\"}") || !parse_sequence(parsed.body, &parsed.sequence))
        return false;
    parsed.previous = find_previous(parsed.body);
    parsed.chain = bytes_of(line.data + line.size - 2 - RECORD_DIGITS, RECORD_DIGITS);
    *ret_line = parsed;
    return true;
}
