/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keyprotect_json.h"

#include "base/hex.h"
#include "base/utf8.h"

struct scanner {
    const uint8_t *at;
    const uint8_t *end;
};

static bool at_end(const struct scanner *scanner)
{
    return scanner->at == scanner->end;
}

static void skip_space(struct scanner *scanner)
{
    while (!at_end(scanner) && (*scanner->at == ' ' || *scanner->at == '\t' ||
                                *scanner->at == '\n' || *scanner->at == '\r'))
        scanner->at++;
}

/* Takes one character if it is the next one. */
static bool take(struct scanner *scanner, uint8_t character)
{
    if (at_end(scanner) || *scanner->at != character)
        return false;
    scanner->at++;
    return true;
}

static bool is_digit(const struct scanner *scanner)
{
    return !at_end(scanner) && *scanner->at >= '0' && *scanner->at <= '9';
}

static bool scan_digits(struct scanner *scanner)
{
    if (!is_digit(scanner))
        return false;
    while (is_digit(scanner))
        scanner->at++;
    return true;
}

/* RFC 8259 §6. */
static bool scan_number(struct scanner *scanner)
{
    (void)take(scanner, '-');
    if (!take(scanner, '0') && !scan_digits(scanner))
        return false;
    if (take(scanner, '.') && !scan_digits(scanner))
        return false;
    if (!take(scanner, 'e') && !take(scanner, 'E'))
        return true;
    if (!take(scanner, '+'))
        (void)take(scanner, '-');
    return scan_digits(scanner);
}

static bool scan_word(struct scanner *scanner, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(scanner->end - scanner->at) < size || memcmp(scanner->at, word, size) != 0)
        return false;
    scanner->at += size;
    return true;
}

/* The four digits of \u. */
static bool scan_unit(struct scanner *scanner, uint32_t *ret_unit)
{
    uint8_t bytes[2];
    if (scanner->end - scanner->at < 4 || !hex_decode(bytes_of(scanner->at, 4), bytes, 2))
        return false;
    scanner->at += 4;
    *ret_unit = (uint32_t)bytes[0] << 8 | bytes[1];
    return true;
}

/* Behind a backslash. */
static bool scan_escape(struct scanner *scanner)
{
    uint32_t unit;
    if (take(scanner, 'u'))
        return scan_unit(scanner, &unit);
    return !at_end(scanner) && *scanner->at != '\0' && strchr("\"\\/bfnrt", *scanner->at++) != NULL;
}

static bool scan_string(struct scanner *scanner)
{
    uint32_t code;
    if (!take(scanner, '"'))
        return false;
    while (!take(scanner, '"')) {
        if (take(scanner, '\\')) {
            if (!scan_escape(scanner))
                return false;
            continue;
        }
        size_t size =
            utf8_character(bytes_of(scanner->at, (size_t)(scanner->end - scanner->at)), &code);
        if (size == 0 || code < 0x20)
            return false;
        scanner->at += size;
    }
    return true;
}

static bool scan_value(struct scanner *scanner, unsigned depth, struct kp_json *ret_value);

static bool scan_array(struct scanner *scanner, unsigned depth)
{
    struct kp_json element;
    skip_space(scanner);
    if (take(scanner, ']'))
        return true;
    do {
        if (!scan_value(scanner, depth, &element))
            return false;
        skip_space(scanner);
    } while (take(scanner, ','));
    return take(scanner, ']');
}

/* One `"name": value`. */
static bool scan_member(struct scanner *scanner, unsigned depth, struct kp_json *ret_name,
                        struct kp_json *ret_value)
{
    skip_space(scanner);
    const uint8_t *start = scanner->at;
    if (!scan_string(scanner))
        return false;
    *ret_name = (struct kp_json){KP_JSON_STRING, bytes_of(start, (size_t)(scanner->at - start))};
    skip_space(scanner);
    return take(scanner, ':') && scan_value(scanner, depth, ret_value);
}

static bool scan_object(struct scanner *scanner, unsigned depth)
{
    struct kp_json name, value;
    skip_space(scanner);
    if (take(scanner, '}'))
        return true;
    do {
        if (!scan_member(scanner, depth, &name, &value))
            return false;
        skip_space(scanner);
    } while (take(scanner, ','));
    return take(scanner, '}');
}

static bool scan_any(struct scanner *scanner, unsigned depth, enum kp_json_type *ret_type)
{
    if (at_end(scanner))
        return false;
    switch (*scanner->at) {
    case '{':
        scanner->at++;
        *ret_type = KP_JSON_OBJECT;
        return depth < KP_JSON_DEPTH_MAX && scan_object(scanner, depth + 1);
    case '[':
        scanner->at++;
        *ret_type = KP_JSON_ARRAY;
        return depth < KP_JSON_DEPTH_MAX && scan_array(scanner, depth + 1);
    case '"':
        *ret_type = KP_JSON_STRING;
        return scan_string(scanner);
    case 't':
        *ret_type = KP_JSON_BOOLEAN;
        return scan_word(scanner, "true");
    case 'f':
        *ret_type = KP_JSON_BOOLEAN;
        return scan_word(scanner, "false");
    case 'n':
        *ret_type = KP_JSON_NULL;
        return scan_word(scanner, "null");
    default:
        *ret_type = KP_JSON_NUMBER;
        return scan_number(scanner);
    }
}

static bool scan_value(struct scanner *scanner, unsigned depth, struct kp_json *ret_value)
{
    enum kp_json_type type;
    skip_space(scanner);
    const uint8_t *start = scanner->at;
    if (!scan_any(scanner, depth, &type))
        return false;
    *ret_value = (struct kp_json){type, bytes_of(start, (size_t)(scanner->at - start))};
    return true;
}

static struct scanner scanner_of(struct bytes text)
{
    return (struct scanner){text.data, text.data + text.size};
}

bool kp_json_read(struct bytes text, struct kp_json *ret_value)
{
    struct kp_json value;
    if (text.size == 0)
        return false;
    struct scanner scanner = scanner_of(text);
    if (!scan_value(&scanner, 0, &value))
        return false;
    skip_space(&scanner);
    if (!at_end(&scanner))
        return false;
    *ret_value = value;
    return true;
}

/* Names of members that matter are plain ASCII; one written with escapes is another. */
static bool is_named(struct kp_json written, const char *name)
{
    struct bytes text;
    return kp_json_plain(written, &text) && bytes_equal_text(text, name);
}

bool kp_json_member(struct kp_json object, const char *name, struct kp_json *ret_value)
{
    struct kp_json written, value, found = {0};
    unsigned count = 0;
    if (object.type != KP_JSON_OBJECT)
        return false;
    struct scanner scanner = scanner_of(object.text);
    do {
        scanner.at++; /* the brace, or the comma */
        if (!scan_member(&scanner, 0, &written, &value))
            break; /* it has none: all was checked when it was read */
        if (is_named(written, name)) {
            found = value;
            count++;
        }
        skip_space(&scanner);
    } while (!at_end(&scanner) && *scanner.at == ',');
    if (count == 1)
        *ret_value = found;
    return count == 1;
}

bool kp_json_member_of(struct kp_json object, const char *name, enum kp_json_type type,
                       struct kp_json *ret_value)
{
    struct kp_json value;
    if (!kp_json_member(object, name, &value) || value.type != type)
        return false;
    *ret_value = value;
    return true;
}

bool kp_json_next(struct kp_json array, size_t *position, struct kp_json *ret_value)
{
    if (array.type != KP_JSON_ARRAY || *position >= array.text.size)
        return false;
    struct scanner scanner = scanner_of(array.text);
    scanner.at += *position + 1; /* behind the bracket, or the comma */
    skip_space(&scanner);
    if (at_end(&scanner) || *scanner.at == ']' || !scan_value(&scanner, 0, ret_value))
        return false;
    skip_space(&scanner);
    *position = (size_t)(scanner.at - array.text.data);
    return true;
}

/* ---- Strings ---- */

bool kp_json_plain(struct kp_json string, struct bytes *ret_text)
{
    if (string.type != KP_JSON_STRING)
        return false;
    struct bytes text = bytes_of(string.text.data + 1, string.text.size - 2);
    if (text.size > 0 && memchr(text.data, '\\', text.size) != NULL)
        return false;
    *ret_text = text;
    return true;
}

/* RFC 3629 §3. */
static void append_character(struct buffer *buffer, uint32_t code)
{
    static const struct {
        uint32_t below;
        uint8_t first;
        int shift;
    } forms[] = {{0x80, 0, 0}, {0x800, 0xC0, 6}, {0x10000, 0xE0, 12}, {0x110000, 0xF0, 18}};
    size_t form = 0;
    while (code >= forms[form].below)
        form++;
    uint8_t byte = (uint8_t)(forms[form].first | code >> forms[form].shift);
    buffer_append(buffer, &byte, 1);
    for (int shift = forms[form].shift - 6; shift >= 0; shift -= 6) {
        byte = (uint8_t)(0x80 | (code >> shift & 0x3F));
        buffer_append(buffer, &byte, 1);
    }
}

/* \uXXXX, with its other half where it is a surrogate. */
static bool append_units(struct scanner *scanner, struct buffer *buffer)
{
    uint32_t code, low;
    if (!scan_unit(scanner, &code) || code == 0 || (code >= 0xDC00 && code <= 0xDFFF))
        return false;
    if (code >= 0xD800 && code <= 0xDBFF) {
        if (!take(scanner, '\\') || !take(scanner, 'u') || !scan_unit(scanner, &low) ||
            low < 0xDC00 || low > 0xDFFF)
            return false;
        code = 0x10000 + ((code & 0x3FF) << 10 | (low & 0x3FF));
    }
    append_character(buffer, code);
    return true;
}

static bool append_escape(struct scanner *scanner, struct buffer *buffer)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (take(scanner, 'u'))
        return append_units(scanner, buffer);
    const char *letter = strchr(letters, *scanner->at++);
    if (letter == NULL)
        return false;
    buffer_append(buffer, &meant[letter - letters], 1);
    return true;
}

bool kp_json_text(struct kp_json string, struct buffer *buffer)
{
    size_t before = buffer->size;
    bool good = string.type == KP_JSON_STRING;
    struct scanner scanner = {NULL, NULL};
    if (good)
        scanner = (struct scanner){string.text.data + 1, string.text.data + string.text.size - 1};
    while (good && !at_end(&scanner)) {
        if (take(&scanner, '\\'))
            good = append_escape(&scanner, buffer);
        else
            buffer_append(buffer, scanner.at++, 1);
    }
    good = good && buffer_status(buffer) == STATUS_OK;
    if (!good)
        buffer->size = before;
    return good;
}

bool kp_json_copy(struct kp_json string, char *ret_text, size_t room)
{
    struct buffer buffer;
    buffer_over(&buffer, ret_text, room - 1);
    if (!kp_json_text(string, &buffer))
        return false;
    ret_text[buffer.size] = '\0';
    return true;
}

bool kp_json_integer(struct kp_json number, int64_t *ret_integer)
{
    if (number.type != KP_JSON_NUMBER)
        return false;
    bool negative = number.text.data[0] == '-';
    int64_t value = 0;
    for (size_t i = negative; i < number.text.size; i++) {
        uint8_t digit = number.text.data[i];
        if (digit < '0' || digit > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit - '0', &value))
            return false;
    }
    if (!negative && __builtin_sub_overflow(0, value, &value))
        return false;
    *ret_integer = value;
    return true;
}

void kp_json_write(struct buffer *buffer, struct bytes text)
{
    buffer_append(buffer, "\"", 1);
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte < 0x20)
            buffer_append_format(buffer, "\\u%04x", byte);
        else if (byte == '"' || byte == '\\')
            buffer_append_format(buffer, "\\%c", byte);
        else
            buffer_append(buffer, &byte, 1);
    }
    buffer_append(buffer, "\"", 1);
}
