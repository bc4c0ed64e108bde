/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/hex.h"
#include "ttlv/ttlv.h"

#define TAG 0x420020

/* ---- Helpers ---- */

/* Bytes from hexadecimal text with blanks and bars in it, as the specification prints them. In
 * memory of exactly that size, so that a sanitizer sees who reads behind it. */
static struct bytes from_hex(const char *text)
{
    char digits[2048];
    size_t count = 0;
    for (; *text != '\0'; text++)
        if (*text != ' ' && *text != '|') {
            assert_true(count < sizeof(digits));
            digits[count++] = *text;
        }
    uint8_t *bytes = malloc(count / 2 > 0 ? count / 2 : 1);
    assert_true(hex_decode(bytes_of(digits, count), bytes, count / 2));
    return bytes_of(bytes, count / 2);
}

static void free_bytes(struct bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

static void assert_is_hex(struct buffer *buffer, const char *expected)
{
    struct bytes bytes = from_hex(expected);
    assert_int_equal(buffer_status(buffer), STATUS_OK);
    assert_int_equal(buffer->size, bytes.size);
    assert_memory_equal(buffer->data, bytes.data, bytes.size);
    assert_int_equal(ttlv_check(bytes), STATUS_OK);
    free_bytes(bytes);
    buffer_reset(buffer);
}

static struct ttlv_item only_item(struct bytes bytes)
{
    struct ttlv_item item = {0};
    struct ttlv_reader reader = ttlv_reader_over(bytes);
    assert_int_equal(ttlv_peek_tag(&reader), TAG);
    assert_int_equal(ttlv_next(&reader, &item), STATUS_OK);
    assert_true(ttlv_at_end(&reader));
    assert_int_equal(ttlv_peek_tag(&reader), 0);
    assert_int_equal(item.tag, TAG);
    return item;
}

/* ---- The examples of KMIP 1.4 §9.1.2 ---- */

static const char integer_8[] = "42 00 20 | 02 | 00 00 00 04 | 00 00 00 08 00 00 00 00";
static const char long_integer[] = "42 00 20 | 03 | 00 00 00 08 | 01 B6 9B 4B A5 74 92 00";
static const char big_integer[] =
    "42 00 20 | 04 | 00 00 00 10 | 00 00 00 00 03 FD 35 EB 6B C2 DF 46 18 08 00 00";
static const char enumeration_255[] = "42 00 20 | 05 | 00 00 00 04 | 00 00 00 FF 00 00 00 00";
static const char boolean_true[] = "42 00 20 | 06 | 00 00 00 08 | 00 00 00 00 00 00 00 01";
static const char hello_world[] =
    "42 00 20 | 07 | 00 00 00 0B | 48 65 6C 6C 6F 20 57 6F 72 6C 64 00 00 00 00 00";
static const char byte_string[] = "42 00 20 | 08 | 00 00 00 03 | 01 02 03 00 00 00 00 00";
static const char date_time[] = "42 00 20 | 09 | 00 00 00 08 | 00 00 00 00 47 DA 67 F8";
static const char interval[] = "42 00 20 | 0A | 00 00 00 04 | 00 0D 2F 00 00 00 00 00";
static const char structure[] =
    "42 00 20 | 01 | 00 00 00 20 | 42 00 04 | 05 | 00 00 00 04 | 00 00 00 FE 00 00 00 00 | "
    "42 00 05 | 02 | 00 00 00 04 | 00 00 00 FF 00 00 00 00";

static void test_examples_written(void **state)
{
    (void)state;
    struct buffer buffer;
    struct bytes big = from_hex("00 00 00 00 03 FD 35 EB 6B C2 DF 46 18 08 00 00");
    buffer_init(&buffer, 1000);
    ttlv_write_integer(&buffer, TAG, 8);
    assert_is_hex(&buffer, integer_8);
    ttlv_write_long_integer(&buffer, TAG, INT64_C(123456789000000000));
    assert_is_hex(&buffer, long_integer);
    ttlv_write_big_integer(&buffer, TAG, big);
    assert_is_hex(&buffer, big_integer);
    ttlv_write_enumeration(&buffer, TAG, 255);
    assert_is_hex(&buffer, enumeration_255);
    ttlv_write_boolean(&buffer, TAG, true);
    assert_is_hex(&buffer, boolean_true);
    ttlv_write_text(&buffer, TAG, BYTES_LITERAL("Hello World"));
    assert_is_hex(&buffer, hello_world);
    ttlv_write_byte_string(&buffer, TAG, BYTES_LITERAL("\1\2\3"));
    assert_is_hex(&buffer, byte_string);
    ttlv_write_date_time(&buffer, TAG, 1205495800);
    assert_is_hex(&buffer, date_time);
    ttlv_write_interval(&buffer, TAG, 10 * 86400);
    assert_is_hex(&buffer, interval);
    size_t mark = ttlv_begin(&buffer, TAG);
    ttlv_write_enumeration(&buffer, 0x420004, 254);
    ttlv_write_integer(&buffer, 0x420005, 255);
    ttlv_end(&buffer, mark);
    assert_is_hex(&buffer, structure);
    free_bytes(big);
    buffer_free(&buffer);
}

static void test_examples_read(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        enum ttlv_type type;
        size_t size;
    } examples[] = {
        {integer_8, TTLV_INTEGER, 4},        {long_integer, TTLV_LONG_INTEGER, 8},
        {big_integer, TTLV_BIG_INTEGER, 16}, {enumeration_255, TTLV_ENUMERATION, 4},
        {boolean_true, TTLV_BOOLEAN, 8},     {hello_world, TTLV_TEXT_STRING, 11},
        {byte_string, TTLV_BYTE_STRING, 3},  {date_time, TTLV_DATE_TIME, 8},
        {interval, TTLV_INTERVAL, 4},        {structure, TTLV_STRUCTURE, 32},
    };
    struct ttlv_item items[ARRAY_COUNT(examples)];
    struct bytes bytes[ARRAY_COUNT(examples)];
    for (size_t i = 0; i < ARRAY_COUNT(examples); i++) {
        bytes[i] = from_hex(examples[i].hex);
        items[i] = only_item(bytes[i]);
        assert_int_equal(items[i].type, examples[i].type);
        assert_int_equal(items[i].value.size, examples[i].size);
        assert_ptr_equal(items[i].value.data, bytes[i].data + TTLV_HEADER_SIZE);
    }
    assert_int_equal(ttlv_integer(&items[0]), 8);
    assert_true(ttlv_long_integer(&items[1]) == INT64_C(123456789000000000));
    assert_int_equal(ttlv_enumeration(&items[3]), 255);
    assert_true(ttlv_boolean(&items[4]));
    assert_true(bytes_equal_text(items[5].value, "Hello World"));
    assert_true(ttlv_long_integer(&items[7]) == 1205495800);
    assert_int_equal(ttlv_enumeration(&items[8]), 10 * 86400);
    struct ttlv_reader inside = ttlv_enter(&items[9]);
    struct ttlv_item item;
    assert_int_equal(ttlv_next(&inside, &item), STATUS_OK);
    assert_int_equal(item.tag, 0x420004);
    assert_int_equal(ttlv_enumeration(&item), 254);
    assert_int_equal(ttlv_peek_tag(&inside), 0x420005);
    assert_int_equal(ttlv_next(&inside, &item), STATUS_OK);
    assert_int_equal(ttlv_integer(&item), 255);
    assert_true(ttlv_at_end(&inside));
    assert_int_equal(ttlv_next(&inside, &item), STATUS_MALFORMED);
    for (size_t i = 0; i < ARRAY_COUNT(examples); i++)
        free_bytes(bytes[i]);
}

/* ---- Values at their ends ---- */

static void test_extreme_values(void **state)
{
    (void)state;
    static const int64_t values[] = {0,         1,         -1,        INT32_MAX,
                                     INT32_MIN, INT64_MAX, INT64_MIN, INT64_C(1) << 32};
    uint8_t memory[64];
    struct buffer buffer;
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        struct ttlv_item item;
        buffer_over(&buffer, memory, sizeof(memory));
        ttlv_write_long_integer(&buffer, TAG, values[i]);
        item = only_item(buffer_bytes(&buffer));
        assert_true(ttlv_long_integer(&item) == values[i]);
        buffer_reset(&buffer);
        ttlv_write_integer(&buffer, TAG, (int32_t)values[i]);
        item = only_item(buffer_bytes(&buffer));
        assert_int_equal(ttlv_integer(&item), (int32_t)values[i]);
        buffer_reset(&buffer);
        ttlv_write_enumeration(&buffer, TAG, (uint32_t)values[i]);
        item = only_item(buffer_bytes(&buffer));
        assert_int_equal(ttlv_enumeration(&item), (uint32_t)values[i]);
        buffer_reset(&buffer);
        ttlv_write_boolean(&buffer, TAG, values[i] % 2 != 0);
        item = only_item(buffer_bytes(&buffer));
        assert_int_equal(ttlv_boolean(&item), values[i] % 2 != 0);
        buffer_free(&buffer);
    }
}

/* Every length of padding; what was in the memory before does not shine through. */
static void test_padding(void **state)
{
    (void)state;
    uint8_t memory[64];
    struct buffer buffer;
    for (size_t size = 0; size <= 17; size++) {
        memset(memory, 0xEE, sizeof(memory));
        buffer_over(&buffer, memory, sizeof(memory));
        ttlv_write_byte_string(&buffer, TAG, bytes_of("0123456789abcdefg", size));
        assert_int_equal(buffer.size, TTLV_HEADER_SIZE + (size + 7) / 8 * 8);
        struct ttlv_item item = only_item(buffer_bytes(&buffer));
        assert_int_equal(item.value.size, size);
        assert_memory_equal(item.value.data, "0123456789abcdefg", size);
        for (size_t i = TTLV_HEADER_SIZE + size; i < buffer.size; i++)
            assert_int_equal(memory[i], 0);
    }
}

static void test_tags(void **state)
{
    (void)state;
    static const uint32_t good[] = {0x420000, 0x42FFFF, 0x540000, 0x54FFFF, 0x420001};
    static const uint32_t bad[] = {0x000000, 0x41FFFF, 0x430000, 0x53FFFF, 0x550000, 0xFFFFFF};
    uint8_t memory[16];
    struct buffer buffer;
    struct ttlv_item item;
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        buffer_over(&buffer, memory, sizeof(memory));
        ttlv_write_integer(&buffer, good[i], 1);
        struct ttlv_reader reader = ttlv_reader_over(buffer_bytes(&buffer));
        assert_int_equal(ttlv_next(&reader, &item), STATUS_OK);
        assert_int_equal(item.tag, good[i]);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        buffer_over(&buffer, memory, sizeof(memory));
        ttlv_write_integer(&buffer, bad[i], 1);
        struct ttlv_reader reader = ttlv_reader_over(buffer_bytes(&buffer));
        assert_int_equal(ttlv_next(&reader, &item), STATUS_MALFORMED);
    }
}

/* ---- Malformed ---- */

static const struct {
    const char *what;
    const char *hex;
} malformed[] = {
    {"half a header", "42 00 20 02 00 00 00"},
    {"a header alone", "42 00 20 | 02 | 00 00 00 04"},
    {"value cut off", "42 00 20 | 02 | 00 00 00 04 | 00 00 00 08"},
    {"padding cut off", "42 00 20 | 02 | 00 00 00 04 | 00 00 00 08 00 00 00"},
    {"integer of 0", "42 00 20 | 02 | 00 00 00 00"},
    {"integer of 3", "42 00 20 | 02 | 00 00 00 03 | 00 00 08 00 00 00 00 00"},
    {"integer of 8", "42 00 20 | 02 | 00 00 00 08 | 00 00 00 00 00 00 00 08"},
    {"long integer of 0", "42 00 20 | 03 | 00 00 00 00"},
    {"long integer of 4", "42 00 20 | 03 | 00 00 00 04 | 00 00 00 08 00 00 00 00"},
    {"long integer of 16",
     "42 00 20 | 03 | 00 00 00 10 | 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"},
    {"big integer of 0", "42 00 20 | 04 | 00 00 00 00"},
    {"big integer of 4", "42 00 20 | 04 | 00 00 00 04 | 00 00 00 08 00 00 00 00"},
    {"big integer of 9",
     "42 00 20 | 04 | 00 00 00 09 | 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"},
    {"enumeration of 0", "42 00 20 | 05 | 00 00 00 00"},
    {"enumeration of 8", "42 00 20 | 05 | 00 00 00 08 | 00 00 00 00 00 00 00 08"},
    {"boolean of 4", "42 00 20 | 06 | 00 00 00 04 | 00 00 00 01 00 00 00 00"},
    {"boolean 2", "42 00 20 | 06 | 00 00 00 08 | 00 00 00 00 00 00 00 02"},
    {"boolean with high bits", "42 00 20 | 06 | 00 00 00 08 | 80 00 00 00 00 00 00 01"},
    {"date of 4", "42 00 20 | 09 | 00 00 00 04 | 00 00 00 01 00 00 00 00"},
    {"interval of 8", "42 00 20 | 0A | 00 00 00 08 | 00 00 00 00 00 00 00 01"},
    {"extended date of 4", "42 00 20 | 0B | 00 00 00 04 | 00 00 00 01 00 00 00 00"},
    {"structure of 4", "42 00 20 | 01 | 00 00 00 04 | 00 00 00 00 00 00 00 00"},
    {"type 0", "42 00 20 | 00 | 00 00 00 00"},
    {"type 0C", "42 00 20 | 0C | 00 00 00 08 | 00 00 00 00 00 00 00 00"},
    {"type FF", "42 00 20 | FF | 00 00 00 08 | 00 00 00 00 00 00 00 00"},
    {"padding of an integer", "42 00 20 | 02 | 00 00 00 04 | 00 00 00 08 00 00 00 01"},
    {"padding of an enumeration", "42 00 20 | 05 | 00 00 00 04 | 00 00 00 08 01 00 00 00"},
    {"padding of text", "42 00 20 | 07 | 00 00 00 01 | 41 20 20 20 20 20 20 20"},
    {"padding of bytes", "42 00 20 | 08 | 00 00 00 07 | 01 02 03 04 05 06 07 80"},
    {"text of FFFFFFFF", "42 00 20 | 07 | FF FF FF FF | 41 42 43 44 45 46 47 48"},
    {"bytes of FFFFFFFF", "42 00 20 | 08 | FF FF FF FF | 41 42 43 44 45 46 47 48"},
    {"bytes of FFFFFFF9, whose padding wraps in 32 bits",
     "42 00 20 | 08 | FF FF FF F9 | 41 42 43 44 45 46 47 48"},
    {"bytes of FFFFFFF8", "42 00 20 | 08 | FF FF FF F8 | 41 42 43 44 45 46 47 48"},
    {"bytes of 80000000", "42 00 20 | 08 | 80 00 00 00 | 41 42 43 44 45 46 47 48"},
    {"bytes of 7FFFFFFF", "42 00 20 | 08 | 7F FF FF FF | 41 42 43 44 45 46 47 48"},
    {"structure of FFFFFFF8", "42 00 20 | 01 | FF FF FF F8 | 41 42 43 44 45 46 47 48"},
    {"big integer of FFFFFFF8", "42 00 20 | 04 | FF FF FF F8 | 41 42 43 44 45 46 47 48"},
    {"tag of another block", "41 00 20 | 02 | 00 00 00 04 | 00 00 00 08 00 00 00 00"},
};

static void test_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(malformed); i++) {
        struct bytes bytes = from_hex(malformed[i].hex);
        struct ttlv_reader reader = ttlv_reader_over(bytes);
        struct ttlv_item item = {.tag = 1};
        if (ttlv_next(&reader, &item) != STATUS_MALFORMED || ttlv_check(bytes) != STATUS_MALFORMED)
            fail_msg("accepted: %s", malformed[i].what);
        assert_ptr_equal(reader.at, bytes.data); /* it stays, and gives nothing out */
        assert_int_equal(item.tag, 1);
        free_bytes(bytes);
    }
}

/* The same inside a structure whose own length is right. */
static void test_malformed_inside(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(malformed); i++) {
        struct bytes bytes = from_hex(malformed[i].hex);
        struct buffer buffer;
        struct ttlv_item item;
        if (bytes.size % 8 != 0) {
            free_bytes(bytes);
            continue;
        }
        buffer_init(&buffer, 1000);
        ttlv_write_raw(&buffer, TAG, TTLV_STRUCTURE, bytes);
        ttlv_write_integer(&buffer, TAG, 1); /* what a length too long would reach into */
        struct ttlv_reader reader = ttlv_reader_over(buffer_bytes(&buffer));
        assert_int_equal(ttlv_next(&reader, &item), STATUS_OK);
        struct ttlv_reader inside = ttlv_enter(&item);
        if (ttlv_next(&inside, &item) != STATUS_MALFORMED ||
            ttlv_check(buffer_bytes(&buffer)) != STATUS_MALFORMED)
            fail_msg("accepted inside: %s", malformed[i].what);
        buffer_free(&buffer);
        free_bytes(bytes);
    }
}

/* Lengths that lie about nesting: each block is whole for a reader that trusts the wrong length. */
static void test_nested_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *hex;
    } cases[] = {
        {"child ends behind its parent",
         "42 00 20 | 01 | 00 00 00 10 | 42 00 21 | 08 | 00 00 00 10 | 01 02 03 04 05 06 07 08 | "
         "42 00 22 | 02 | 00 00 00 04 | 00 00 00 01 00 00 00 00"},
        {"child structure ends behind its parent",
         "42 00 20 | 01 | 00 00 00 08 | 42 00 21 | 01 | 00 00 00 10 | "
         "42 00 22 | 02 | 00 00 00 04 | 00 00 00 01 00 00 00 00"},
        {"parent ends in a child's header",
         "42 00 20 | 01 | 00 00 00 18 | 42 00 21 | 02 | 00 00 00 04 | 00 00 00 01 00 00 00 00 | "
         "42 00 22 | 02 | 00 00 00 04 | 00 00 00 01 00 00 00 00"},
        {"parent ends before a child's padding",
         "42 00 20 | 01 | 00 00 00 0C | 42 00 21 | 02 | 00 00 00 04 | 00 00 00 01 00 00 00 00"},
        {"parent ends behind the message",
         "42 00 20 | 01 | 00 00 00 18 | 42 00 21 | 02 | 00 00 00 04 | 00 00 00 01 00 00 00 00"},
        {"grandchild ends behind the grandparent",
         "42 00 20 | 01 | 00 00 00 18 | 42 00 21 | 01 | 00 00 00 10 | "
         "42 00 22 | 08 | 00 00 00 10 | 01 02 03 04 05 06 07 08 | 01 02 03 04 05 06 07 08"},
        {"bytes behind the message", "42 00 20 | 01 | 00 00 00 00 | 00 00 00 00 00 00 00 00"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bytes bytes = from_hex(cases[i].hex);
        if (ttlv_check(bytes) != STATUS_MALFORMED)
            fail_msg("accepted: %s", cases[i].what);
        free_bytes(bytes);
    }
}

static void test_empty(void **state)
{
    (void)state;
    struct ttlv_item item;
    struct ttlv_reader reader = ttlv_reader_over((struct bytes){0});
    assert_true(ttlv_at_end(&reader));
    assert_int_equal(ttlv_peek_tag(&reader), 0);
    assert_int_equal(ttlv_next(&reader, &item), STATUS_MALFORMED);
    assert_int_equal(ttlv_check((struct bytes){0}), STATUS_OK);
    struct bytes empty = from_hex("42 00 20 | 01 | 00 00 00 00");
    item = only_item(empty);
    assert_int_equal(item.value.size, 0);
    struct ttlv_reader inside = ttlv_enter(&item);
    assert_true(ttlv_at_end(&inside));
    assert_int_equal(ttlv_check(empty), STATUS_OK);
    free_bytes(empty);
}

/* ---- Text ---- */

static void test_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"", true},
        {"plain \x7F \x01", true},
        {"\xC2\x80 \xDF\xBF", true},
        {"\xE0\xA0\x80 \xEF\xBF\xBF", true},
        {"\xED\x9F\xBF \xEE\x80\x80", true},
        {"\xF0\x90\x80\x80 \xF4\x8F\xBF\xBF", true},
        {"\x80", false}, /* a continuation alone */
        {"\xBF", false},
        {"\xC2", false}, /* cut off */
        {"\xE2\x82", false},
        {"\xF0\x9F\x98", false},
        {"\xC2 ", false}, /* no continuation */
        {"\xE2\x82 ", false},
        {"\xC0\x80", false}, /* overlong NUL */
        {"\xC1\xBF", false}, /* overlong */
        {"\xE0\x9F\xBF", false},
        {"\xF0\x8F\xBF\xBF", false},
        {"\xED\xA0\x80", false}, /* surrogates */
        {"\xED\xBF\xBF", false},
        {"\xF4\x90\x80\x80", false},     /* above 10FFFF */
        {"\xF8\x88\x80\x80\x80", false}, /* five bytes */
        {"\xFE", false},
        {"\xFF", false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buffer buffer;
        buffer_init(&buffer, 1000);
        struct bytes text = bytes_of_text(cases[i].text);
        assert_int_equal(ttlv_text_valid(text), cases[i].valid);
        ttlv_write_text(&buffer, TAG, text);
        assert_int_equal(ttlv_check(buffer_bytes(&buffer)),
                         cases[i].valid ? STATUS_OK : STATUS_MALFORMED);
        buffer_free(&buffer);
    }
    assert_false(ttlv_text_valid(bytes_of("a\0b", 3)));
    assert_true(ttlv_text_valid((struct bytes){0}));
}

static size_t encode_utf8(uint32_t code, uint8_t ret_bytes[static 4])
{
    static const struct {
        uint32_t limit;
        uint8_t lead;
    } forms[] = {{0x80, 0}, {0x800, 0xC0}, {0x10000, 0xE0}, {0x110000, 0xF0}};
    size_t more = 0;
    while (code >= forms[more].limit)
        more++;
    ret_bytes[0] = (uint8_t)(forms[more].lead | code >> (6 * more));
    for (size_t i = 1; i <= more; i++)
        ret_bytes[i] = (uint8_t)(0x80 | (code >> (6 * (more - i)) & 0x3F));
    return more + 1;
}

/* Every code point, alone. */
static void test_text_all(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code++) {
        uint8_t bytes[4];
        size_t size = encode_utf8(code, bytes);
        bool valid = code != 0 && (code < 0xD800 || code > 0xDFFF);
        if (ttlv_text_valid(bytes_of(bytes, size)) != valid)
            fail_msg("U+%04X", code);
    }
}

/* ---- Depth ---- */

/* `depth` items inside each other, an integer or nothing in the last. */
static void nest(struct buffer *buffer, int depth, bool empty)
{
    size_t marks[TTLV_DEPTH_MAX * 4];
    int structures = empty ? depth : depth - 1;
    buffer_init(buffer, 10000);
    for (int i = 0; i < structures; i++)
        marks[i] = ttlv_begin(buffer, TAG);
    if (!empty)
        ttlv_write_integer(buffer, TAG, 1);
    for (int i = structures; i-- > 0;)
        ttlv_end(buffer, marks[i]);
    assert_int_equal(buffer_status(buffer), STATUS_OK);
}

static void test_depth(void **state)
{
    (void)state;
    for (int depth = 1; depth <= TTLV_DEPTH_MAX * 3; depth++) {
        for (int empty = 0; empty < 2; empty++) {
            struct buffer buffer;
            nest(&buffer, depth, empty);
            assert_int_equal(ttlv_check(buffer_bytes(&buffer)),
                             depth <= TTLV_DEPTH_MAX ? STATUS_OK : STATUS_MALFORMED);
            buffer_free(&buffer);
        }
    }
}

/* ---- Frames ---- */

static void test_frame_size(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        size_t maximum;
        enum status status;
        size_t size;
    } cases[] = {
        {"42 00 78 | 01 | 00 00 00 10", 1000, STATUS_OK, 24},
        {"42 00 78 | 01 | 00 00 00 00", 8, STATUS_OK, 8},
        {"42 00 78 | 01 | 00 00 00 10", 24, STATUS_OK, 24},
        {"42 00 78 | 01 | 00 00 00 10", 23, STATUS_TOO_LARGE, 0},
        {"42 00 78 | 01 | 00 00 00 00", 7, STATUS_TOO_LARGE, 0},
        {"42 00 78 | 01 | 00 00 00 00", 0, STATUS_TOO_LARGE, 0},
        {"42 00 78 | 01 | FF FF FF F8", 1 << 20, STATUS_TOO_LARGE, 0},
        {"42 00 78 | 01 | FF FF FF F8", SIZE_MAX, STATUS_OK, 0x100000000},
        {"42 00 78 | 01 | FF FF FF FF", SIZE_MAX, STATUS_MALFORMED, 0},
        {"42 00 78 | 01 | 00 00 00 0C", 1000, STATUS_MALFORMED, 0},
        {"42 00 78 | 02 | 00 00 00 08", 1000, STATUS_MALFORMED, 0},
        {"54 00 78 | 01 | 00 00 00 08", 1000, STATUS_MALFORMED, 0},
        {"16 03 01 | 02 | 00 01 00 01", 1000, STATUS_MALFORMED, 0}, /* TLS inside TLS */
        {"47 45 54 20 2F 20 48 54", 1000, STATUS_MALFORMED, 0},     /* GET / HT */
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bytes header = from_hex(cases[i].hex);
        size_t size = 0;
        assert_int_equal(ttlv_frame_size(header.data, cases[i].maximum, &size), cases[i].status);
        assert_true(size == cases[i].size);
        free_bytes(header);
    }
}

/* ---- Writing into too small a buffer ---- */

static void write_sample(struct buffer *buffer)
{
    size_t outer = ttlv_begin(buffer, TAG);
    ttlv_write_text(buffer, TAG, BYTES_LITERAL("Hello World"));
    size_t inner = ttlv_begin(buffer, TAG);
    ttlv_write_long_integer(buffer, TAG, 1);
    ttlv_end(buffer, inner);
    ttlv_write_integer(buffer, TAG, 1);
    ttlv_end(buffer, outer);
}

static void test_buffer_full(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 1000);
    write_sample(&buffer);
    size_t needed = buffer.size;
    assert_int_equal(ttlv_check(buffer_bytes(&buffer)), STATUS_OK);
    buffer_free(&buffer);
    for (size_t room = 0; room <= needed; room++) {
        uint8_t *memory = malloc(room > 0 ? room : 1); /* a sanitizer watches its end */
        buffer_over(&buffer, memory, room);
        write_sample(&buffer);
        assert_int_equal(buffer_status(&buffer), room < needed ? STATUS_TOO_LARGE : STATUS_OK);
        free(memory);
    }
    buffer_init(&buffer, 1000);
    ttlv_write_byte_string(&buffer, TAG, bytes_of("", (size_t)UINT32_MAX));
    assert_int_equal(buffer_status(&buffer), STATUS_TOO_LARGE);
    assert_int_equal(buffer.size, 0);
    buffer_free(&buffer);
}

/* ---- Properties, over messages drawn from a seed ---- */

/* splitmix64 */
static uint64_t next_random(uint64_t *seed)
{
    uint64_t value = *seed += UINT64_C(0x9E3779B97F4A7C15);
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

/* What was written, in the order of writing. */
struct event {
    uint32_t tag;
    enum ttlv_type type;
    uint8_t value[40];
    size_t size;  /* of the value; not of structures */
    size_t count; /* of the items in a structure */
};

struct message {
    uint64_t seed;
    struct buffer buffer;
    struct event events[400];
    size_t count;
};

static void draw_items(struct message *message, int depth, size_t count);

static void draw_value(struct message *message, struct event *event)
{
    static const uint8_t sizes[] = {
        [TTLV_INTEGER] = 4,           [TTLV_LONG_INTEGER] = 8, [TTLV_ENUMERATION] = 4,
        [TTLV_BOOLEAN] = 8,           [TTLV_DATE_TIME] = 8,    [TTLV_INTERVAL] = 4,
        [TTLV_DATE_TIME_EXTENDED] = 8};
    uint64_t random = next_random(&message->seed);
    bool is_text = event->type == TTLV_TEXT_STRING;
    event->size = event->type == TTLV_BIG_INTEGER              ? 8 * (1 + random % 5)
                  : is_text || event->type == TTLV_BYTE_STRING ? random % 41
                                                               : sizes[event->type];
    for (size_t i = 0; i < event->size; i++) {
        uint64_t byte = next_random(&message->seed);
        event->value[i] = (uint8_t)(is_text ? 1 + byte % 127 : byte);
    }
    if (event->type == TTLV_BOOLEAN) {
        memset(event->value, 0, 8);
        event->value[7] = (uint8_t)(random & 1);
    }
    ttlv_write_raw(&message->buffer, event->tag, event->type, bytes_of(event->value, event->size));
}

static void draw_item(struct message *message, int depth)
{
    struct event *event = &message->events[message->count++];
    uint64_t random = next_random(&message->seed);
    /* Each structure that is open may still have three items to come. */
    bool room = depth < TTLV_DEPTH_MAX &&
                message->count + 4 * TTLV_DEPTH_MAX < ARRAY_COUNT(message->events);
    *event = (struct event){
        .tag = (random & 1 ? 0x420000u : 0x540000u) | (uint32_t)(random >> 8 & 0xFFFF),
        .type = room && (random & 6) != 0 ? TTLV_STRUCTURE
                                          : (enum ttlv_type)(TTLV_INTEGER + (random >> 32) % 10),
    };
    if (event->type != TTLV_STRUCTURE) {
        draw_value(message, event);
        return;
    }
    event->count = (random >> 40) % 4;
    size_t mark = ttlv_begin(&message->buffer, event->tag);
    draw_items(message, depth + 1, event->count);
    ttlv_end(&message->buffer, mark);
}

static void draw_items(struct message *message, int depth, size_t count)
{
    for (size_t i = 0; i < count; i++)
        draw_item(message, depth);
}

static void draw(struct message *message, uint64_t seed)
{
    message->seed = seed;
    message->count = 0;
    buffer_init(&message->buffer, 100000);
    draw_items(message, 1, 1 + seed % 5);
    assert_int_equal(buffer_status(&message->buffer), STATUS_OK);
}

static size_t compare(const struct message *message, size_t at, struct ttlv_reader reader)
{
    while (!ttlv_at_end(&reader)) {
        struct ttlv_item item;
        const struct event *event = &message->events[at++];
        assert_int_equal(ttlv_peek_tag(&reader), event->tag);
        assert_int_equal(ttlv_next(&reader, &item), STATUS_OK);
        assert_int_equal(item.tag, event->tag);
        assert_int_equal(item.type, event->type);
        if (item.type == TTLV_STRUCTURE)
            at = compare(message, at, ttlv_enter(&item));
        else
            assert_true(bytes_equal(item.value, bytes_of(event->value, event->size)));
    }
    return at;
}

static void test_round_trip(void **state)
{
    (void)state;
    static struct message message;
    size_t items = 0;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        draw(&message, seed);
        struct bytes bytes = buffer_bytes(&message.buffer);
        assert_int_equal(ttlv_check(bytes), STATUS_OK);
        assert_int_equal(compare(&message, 0, ttlv_reader_over(bytes)), message.count);
        items += message.count;
        buffer_free(&message.buffer);
    }
    assert_true(items > 2000); /* the messages are worth the name */
}

/* After ttlv_check() every item can be read: its promise. */
static void read_all(struct ttlv_reader reader, int depth)
{
    assert_true(depth <= TTLV_DEPTH_MAX + 1);
    while (!ttlv_at_end(&reader)) {
        struct ttlv_item item;
        assert_int_equal(ttlv_next(&reader, &item), STATUS_OK);
        if (item.type == TTLV_STRUCTURE)
            read_all(ttlv_enter(&item), depth + 1);
        if (item.type == TTLV_TEXT_STRING)
            assert_true(ttlv_text_valid(item.value));
    }
}

/* Changed or cut anywhere, a message is refused, or what is left of it can be read. */
static void test_mutations(void **state)
{
    (void)state;
    static struct message message;
    int accepted = 0;
    int refused = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        draw(&message, seed);
        for (int i = 0; i < 300 && message.buffer.size > 0; i++) {
            size_t size = message.buffer.size;
            uint8_t *copy = malloc(size);
            memcpy(copy, message.buffer.data, size);
            uint64_t random = next_random(&message.seed);
            copy[random % size] = (uint8_t)(random >> 32);
            if (random >> 63)
                size = (random >> 40) % size;
            bool good = ttlv_check(bytes_of(copy, size)) == STATUS_OK;
            if (good)
                read_all(ttlv_reader_over(bytes_of(copy, size)), 1);
            accepted += good;
            refused += !good;
            free(copy);
        }
        buffer_free(&message.buffer);
    }
    assert_true(accepted > 100);
    assert_true(refused > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_written),
        cmocka_unit_test(test_examples_read),
        cmocka_unit_test(test_extreme_values),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_malformed_inside),
        cmocka_unit_test(test_nested_lengths),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_all),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_frame_size),
        cmocka_unit_test(test_buffer_full),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
