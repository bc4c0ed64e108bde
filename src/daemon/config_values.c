/* SPDX-License-Identifier: Apache-2.0 */
/* The types of configuration values: reading, writing and describing each. */
#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

#include "daemon/config_table.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* Ascending, so that the last that divides a value writes it shortest. */
static const struct unit no_units[] = {{"", 1}};
static const struct unit size_units[] = {
    {"B", 1}, {"KiB", 1u << 10}, {"MiB", 1u << 20}, {"GiB", 1u << 30}};
static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};

static bool unit_factor(const struct unit *units, size_t count, struct bytes name,
                        uint64_t *ret_factor)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal_text(name, units[i].name)) {
            *ret_factor = units[i].factor;
            return true;
        }
    }
    return false;
}

/* Digits, then a unit; a space may stand between. Only the value 0 may go without. */
static bool parse_quantity(const struct unit *units, size_t count, const struct config_row *row,
                           struct bytes text, uint64_t *ret_value)
{
    uint64_t value = 0, factor = 1;
    size_t at = 0;
    for (; at < text.size && isdigit(text.data[at]); at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.data[at] - '0', &value))
            return false;
    if (at == 0)
        return false;
    while (at < text.size && text.data[at] == ' ')
        at++;
    struct bytes unit = {text.data + at, text.size - at};
    if (!unit_factor(units, count, unit, &factor) && !(value == 0 && unit.size == 0))
        return false;
    if (__builtin_mul_overflow(value, factor, &value) || value < row->minimum ||
        value > row->maximum)
        return false;
    *ret_value = value;
    return true;
}

static void print_quantity(const struct unit *units, size_t count, uint64_t value,
                           struct buffer *to)
{
    if (value == 0) {
        buffer_append_text(to, "0");
        return;
    }
    size_t unit = 0;
    for (size_t i = 1; i < count; i++)
        if (value % units[i].factor == 0)
            unit = i;
    buffer_append_format(to, "%" PRIu64 "%s", value / units[unit].factor, units[unit].name);
}

#define QUANTITY(TYPE, units, what)                                                             \
    static bool parse_##TYPE(const struct config_row *row, struct bytes text, void *field)      \
    {                                                                                           \
        return parse_quantity(units, ARRAY_COUNT(units), row, text, field);                     \
    }                                                                                           \
    static void print_##TYPE(const void *field, struct buffer *to)                              \
    {                                                                                           \
        print_quantity(units, ARRAY_COUNT(units), *(const uint64_t *)field, to);                \
    }                                                                                           \
    static void describe_##TYPE(const struct config_row *row, struct buffer *to)                \
    {                                                                                           \
        buffer_append_text(to, what);                                                           \
        print_quantity(units, ARRAY_COUNT(units), row->minimum, to);                            \
        buffer_append_text(to, " to ");                                                         \
        print_quantity(units, ARRAY_COUNT(units), row->maximum, to);                            \
    }                                                                                           \
    const struct config_type config_type_##TYPE = {sizeof(uint64_t), parse_##TYPE, print_##TYPE, \
                                                   describe_##TYPE};

QUANTITY(INTEGER, no_units, "a number from ")
QUANTITY(SIZE, size_units, "a size (B, KiB, MiB, GiB) from ")
QUANTITY(DURATION, duration_units, "a time (ms, s, min, h, d) from ")

/* ---- Text ---- */

static bool is_printable(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7F)
            return false;
    return true;
}

static bool store_text(struct bytes text, char *field)
{
    if (text.size >= CONFIG_TEXT_SIZE || !is_printable(text))
        return false;
    memset(field, 0, CONFIG_TEXT_SIZE);
    if (text.size > 0)
        memcpy(field, text.data, text.size);
    return true;
}

/* A default that is empty means that the key may be. */
static bool parse_text(const struct config_row *row, struct bytes text, void *field)
{
    bool empty = text.size == 0 && row->default_text[0] == '\0';
    if (!empty && (text.size < row->minimum || text.size > row->maximum))
        return false;
    return store_text(text, field);
}

static void print_text(const void *field, struct buffer *to)
{
    buffer_append_text(to, field);
}

static void describe_text(const struct config_row *row, struct buffer *to)
{
    buffer_append_format(to, "text of %" PRIu64 " to %" PRIu64 " characters", row->minimum,
                         row->maximum);
}

static void describe_path(const struct config_row *row, struct buffer *to)
{
    buffer_append_format(to, "a path of at most %" PRIu64 " characters", row->maximum);
}

const struct config_type config_type_TEXT = {CONFIG_TEXT_SIZE, parse_text, print_text,
                                             describe_text};
const struct config_type config_type_PATH = {CONFIG_TEXT_SIZE, parse_text, print_text,
                                             describe_path};

/* ---- Addresses and names ---- */

static bool is_ip_address(int family, const char *text)
{
    uint8_t address[sizeof(struct in6_addr)];
    return inet_pton(family, text, address) == 1;
}

static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= 5 && text[digits] == '\0' && strtoul(text, NULL, 10) <= 65535;
}

static bool parse_address(const struct config_row *row, struct bytes text, void *field)
{
    (void)row;
    char copy[CONFIG_TEXT_SIZE];
    if (!store_text(text, copy))
        return false;
    char *colon = strrchr(copy, ':');
    if (colon == NULL || !is_port(colon + 1))
        return false;
    *colon = '\0';
    size_t length = strlen(copy);
    bool bracketed = length > 2 && copy[0] == '[' && copy[length - 1] == ']';
    if (bracketed)
        copy[length - 1] = '\0';
    if (!(bracketed ? is_ip_address(AF_INET6, copy + 1) : is_ip_address(AF_INET, copy)))
        return false;
    return store_text(text, field);
}

static void describe_address(const struct config_row *row, struct buffer *to)
{
    (void)row;
    buffer_append_text(to, "ADDRESS:PORT with a numeric address, such as 192.0.2.10:5696 or "
                           "[2001:db8::10]:5696");
}

const struct config_type config_type_ADDRESS = {CONFIG_TEXT_SIZE, parse_address, print_text,
                                                describe_address};

/* A host name (RFC 1123 §2.1) or a numeric address. */
static bool is_name(struct bytes name)
{
    char text[256];
    if (name.size == 0 || name.size > 253)
        return false;
    memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    if (is_ip_address(AF_INET, text) || is_ip_address(AF_INET6, text))
        return true;
    for (size_t i = 0; i < name.size; i++)
        if (!isalnum(name.data[i]) && name.data[i] != '-' && name.data[i] != '.')
            return false;
    return isalnum(name.data[0]) != 0;
}

bool config_each_name(const char *names, config_visit_name *visit, void *context)
{
    for (const char *at = names; *at != '\0';) {
        at += strspn(at, ", ");
        size_t length = strcspn(at, ", ");
        if (length > 0 && !visit(context, bytes_of(at, length)))
            return false;
        at += length;
    }
    return true;
}

static bool check_name(void *context, struct bytes name)
{
    struct buffer *joined = context;
    if (!is_name(name))
        return false;
    if (joined->size > 0)
        buffer_append_text(joined, ", ");
    buffer_append_bytes(joined, name);
    return true;
}

static bool parse_names(const struct config_row *row, struct bytes text, void *field)
{
    (void)row;
    char copy[CONFIG_TEXT_SIZE], memory[CONFIG_TEXT_SIZE];
    struct buffer joined;
    buffer_over(&joined, memory, sizeof(memory) - 1);
    return store_text(text, copy) && config_each_name(copy, check_name, &joined) &&
           buffer_status(&joined) == STATUS_OK && store_text(buffer_bytes(&joined), field);
}

static void describe_names(const struct config_row *row, struct buffer *to)
{
    (void)row;
    buffer_append_text(to, "host names and numeric addresses, separated by commas");
}

const struct config_type config_type_NAMES = {CONFIG_TEXT_SIZE, parse_names, print_text,
                                              describe_names};

/* ---- Words ---- */

static bool parse_boolean(const struct config_row *row, struct bytes text, void *field)
{
    (void)row;
    bool yes = bytes_equal_text(text, "yes");
    if (!yes && !bytes_equal_text(text, "no"))
        return false;
    *(bool *)field = yes;
    return true;
}

static void print_boolean(const void *field, struct buffer *to)
{
    buffer_append_text(to, *(const bool *)field ? "yes" : "no");
}

static void describe_boolean(const struct config_row *row, struct buffer *to)
{
    (void)row;
    buffer_append_text(to, "yes or no");
}

const struct config_type config_type_BOOLEAN = {sizeof(bool), parse_boolean, print_boolean,
                                                describe_boolean};

static bool parse_word(const struct config_row *row, struct bytes text, void *field)
{
    for (int i = 0; i < CONFIG_WORD_COUNT; i++) {
        if (config_choices[i].key == row->key && bytes_equal_text(text, config_choices[i].word)) {
            *(enum config_word *)field = (enum config_word)i;
            return true;
        }
    }
    return false;
}

static void print_word(const void *field, struct buffer *to)
{
    buffer_append_text(to, config_choices[*(const enum config_word *)field].word);
}

static void describe_word(const struct config_row *row, struct buffer *to)
{
    const char *separator = "one of ";
    for (size_t i = 0; i < CONFIG_WORD_COUNT; i++) {
        if (config_choices[i].key != row->key)
            continue;
        buffer_append_text(to, separator);
        buffer_append_text(to, config_choices[i].word);
        separator = ", ";
    }
}

const struct config_type config_type_WORD = {sizeof(enum config_word), parse_word, print_word,
                                             describe_word};
