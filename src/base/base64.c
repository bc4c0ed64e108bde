/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#define NO_DIGIT 64

static const char alphabets[][65] = {
    [BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

size_t base64_length(enum base64_form form, size_t size)
{
    if (form == BASE64_STANDARD)
        return (size + 2) / 3 * 4;
    return size / 3 * 4 + (size % 3 == 0 ? 0 : size % 3 + 1);
}

void base64_encode(enum base64_form form, struct bytes bytes, struct buffer *buffer)
{
    size_t length = base64_length(form, bytes.size);
    uint8_t *to = buffer_reserve(buffer, length);
    if (to == NULL)
        return;
    const uint8_t *end = to + length;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t count = bytes.size - i < 3 ? bytes.size - i : 3;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= count > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= count > 2 ? bytes.data[i + 2] : 0;
        for (size_t digit = 0; digit < 4 && to < end; digit++)
            *to++ = digit <= count ? (uint8_t)alphabets[form][(group >> (18 - 6 * digit)) & 63] : '=';
    }
}

static size_t padding(enum base64_form form, struct bytes text)
{
    size_t count = 0;
    while (form == BASE64_STANDARD && count < 2 && count < text.size &&
           text.data[text.size - 1 - count] == '=')
        count++;
    return count;
}

size_t base64_decoded_size(enum base64_form form, struct bytes text)
{
    size_t digits = text.size - padding(form, text);
    return digits / 4 * 3 + digits % 4 * 6 / 8;
}

/* The value of a digit; NO_DIGIT if it is none. */
static uint32_t digit_value(enum base64_form form, uint8_t digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a' + 26u;
    if (digit >= '0' && digit <= '9')
        return digit - '0' + 52u;
    if (digit == (uint8_t)alphabets[form][62])
        return 62;
    return digit == (uint8_t)alphabets[form][63] ? 63 : NO_DIGIT;
}

/* Bytes of up to four digits; false if they are no digits, or have bits beyond the bytes. */
static bool decode_group(enum base64_form form, const uint8_t *digits, size_t count, uint8_t *to)
{
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t value = i < count ? digit_value(form, digits[i]) : 0;
        if (value == NO_DIGIT)
            return false;
        group = group << 6 | value;
    }
    size_t bytes = count * 6 / 8;
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(group >> (16 - 8 * i));
    return count > 1 && (group & (0xFFFFFFu >> (8 * bytes))) == 0;
}

bool base64_decode(enum base64_form form, struct bytes text, uint8_t *ret_bytes)
{
    size_t size = base64_decoded_size(form, text);
    size_t digits = text.size - padding(form, text);
    bool good = form == BASE64_URL || text.size % 4 == 0;
    uint8_t *to = ret_bytes;
    for (size_t i = 0; good && i < digits; i += 4) {
        size_t count = digits - i < 4 ? digits - i : 4;
        good = decode_group(form, text.data + i, count, to);
        to += count * 6 / 8;
    }
    if (!good && size > 0)
        explicit_bzero(ret_bytes, size);
    return good;
}
