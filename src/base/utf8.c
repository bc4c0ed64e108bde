/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include "base/compiler.h"

/* A character of n + 1 bytes begins with one of row n, and is no smaller than that row says. */
static const struct {
    uint8_t mask, lead;
    uint32_t smallest;
} forms[] = {{0x80, 0x00, 0x00}, {0xE0, 0xC0, 0x80}, {0xF0, 0xE0, 0x800}, {0xF8, 0xF0, 0x10000}};

size_t utf8_character(struct bytes text, uint32_t *ret_code)
{
    if (text.size == 0)
        return 0;
    size_t more = 0;
    while (more < ARRAY_COUNT(forms) && (text.data[0] & forms[more].mask) != forms[more].lead)
        more++;
    if (more == ARRAY_COUNT(forms) || more >= text.size)
        return 0;
    uint32_t code = (uint32_t)text.data[0] & (uint8_t)~forms[more].mask;
    for (size_t i = 1; i <= more; i++) {
        if ((text.data[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (text.data[i] & 0x3F);
    }
    if (code < forms[more].smallest || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return 0;
    *ret_code = code;
    return more + 1;
}
