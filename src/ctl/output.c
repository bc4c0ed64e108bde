/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/output.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/compiler.h"

#define CELL_MAX    512
#define COLUMNS_MAX 12

/* ---- Cells ---- */

/* Bytes that could steer a terminal become '?': C0, DEL, and C1 as UTF-8 writes it. */
static void make_harmless(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7F)
            *at = '?';
        else if (*at == 0xC2 && at[1] >= 0x80 && at[1] < 0xA0)
            at[0] = at[1] = '?';
    }
}

/* "a, b": of an array of texts. */
static void join_elements(const json_t *array, char cell[static CELL_MAX])
{
    size_t index, used = 0;
    json_t *element;
    json_array_foreach((json_t *)array, index, element)
    {
        const char *text = json_string_value(element);
        int length = snprintf(&cell[used], CELL_MAX - used, "%s%s", index > 0 ? ", " : "",
                              text != NULL ? text : "");
        if (length < 0 || (used += (size_t)length) >= CELL_MAX)
            return;
    }
}

static void format_cell(const json_t *value, char cell[static CELL_MAX])
{
    if (json_is_string(value))
        (void)snprintf(cell, CELL_MAX, "%s", json_string_value(value));
    else if (json_is_integer(value))
        (void)snprintf(cell, CELL_MAX, "%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        (void)snprintf(cell, CELL_MAX, "%s", json_is_true(value) ? "yes" : "no");
    else
        cell[0] = '\0';
    if (json_is_array(value))
        join_elements(value, cell);
    make_harmless(cell);
}

/* Columns on a terminal; bytes where the locale cannot tell. */
static int width_of(const char *text)
{
    wchar_t wide[CELL_MAX];
    size_t count = mbstowcs(wide, text, CELL_MAX);
    int width = count < CELL_MAX ? wcswidth(wide, count) : -1;
    return width >= 0 ? width : (int)strlen(text);
}

static void print_padded(FILE *file, const char *text, int width, bool right)
{
    int padding = width - width_of(text);
    if (right)
        fprintf(file, "%*s%s", padding > 0 ? padding : 0, "", text);
    else
        fprintf(file, "%s%*s", text, padding > 0 ? padding : 0, "");
}

/* ---- Tables ---- */

/* Columns in which something stands. */
static size_t pick_columns(const json_t *rows, const struct ctl_column *columns, size_t count,
                           struct ctl_column *ret_picked)
{
    char cell[CELL_MAX];
    size_t picked = 0, index;
    json_t *row;
    for (size_t c = 0; c < count && c < COLUMNS_MAX; c++) {
        json_array_foreach((json_t *)rows, index, row)
        {
            format_cell(json_object_get(row, columns[c].key), cell);
            if (cell[0] == '\0')
                continue;
            ret_picked[picked++] = columns[c];
            break;
        }
    }
    return picked;
}

static void measure(const json_t *rows, const struct ctl_column *columns, size_t count,
                    int *ret_widths)
{
    char cell[CELL_MAX];
    size_t index;
    json_t *row;
    for (size_t c = 0; c < count; c++)
        ret_widths[c] = width_of(columns[c].title);
    json_array_foreach((json_t *)rows, index, row)
    {
        for (size_t c = 0; c < count; c++) {
            format_cell(json_object_get(row, columns[c].key), cell);
            int width = width_of(cell);
            ret_widths[c] = width > ret_widths[c] ? width : ret_widths[c];
        }
    }
}

static void print_row(FILE *file, const json_t *row, const struct ctl_column *columns, size_t count,
                      const int *widths)
{
    char cell[CELL_MAX];
    for (size_t c = 0; c < count; c++) {
        const json_t *value = json_object_get(row, columns[c].key);
        format_cell(value, cell);
        /* No blanks behind the last column. */
        bool last = c + 1 == count;
        print_padded(file, cell, last && !json_is_integer(value) ? 0 : widths[c],
                     json_is_integer(value));
        fputs(last ? "\n" : "  ", file);
    }
}

void ctl_print_table(FILE *file, const json_t *rows, const struct ctl_column *all, size_t count)
{
    int widths[COLUMNS_MAX];
    struct ctl_column columns[COLUMNS_MAX];
    size_t index;
    json_t *row;
    count = pick_columns(rows, all, count, columns);
    measure(rows, columns, count, widths);
    for (size_t c = 0; c < count; c++) {
        bool number = json_is_integer(json_object_get(json_array_get(rows, 0), columns[c].key));
        bool last = c + 1 == count;
        print_padded(file, columns[c].title, last && !number ? 0 : widths[c], number);
        fputs(last ? "\n" : "  ", file);
    }
    json_array_foreach((json_t *)rows, index, row)
        print_row(file, row, columns, count, widths);
}

/* ---- Members ---- */

/* Keys of ours that are more than their words. */
static const char *const key_titles[][2] = {
    {"id", "ID"}, {"uuid", "UUID"}, {"url", "URL"},
    {"api_keys", "API keys"}, {"sha1", "SHA-1"}, {"sha256", "SHA-256"}};

static void format_key(const char *key, char text[static CELL_MAX])
{
    (void)snprintf(text, CELL_MAX - 1, "%s", key);
    make_harmless(text);
    for (size_t i = 0; i < ARRAY_COUNT(key_titles); i++)
        if (strcmp(key, key_titles[i][0]) == 0)
            (void)snprintf(text, CELL_MAX - 1, "%s", key_titles[i][1]);
    /* Our own keys are written with '_'; names of attributes stay as they are. */
    if (islower((unsigned char)text[0]) && strchr(text, '-') == NULL) {
        text[0] = (char)toupper((unsigned char)text[0]);
        for (char *at = text; *at != '\0'; at++)
            if (*at == '_')
                *at = ' ';
    }
    size_t length = strlen(text); /* at most CELL_MAX - 2 */
    text[length] = ':';
    text[length + 1] = '\0';
}

static int widest_key(const json_t *object)
{
    char text[CELL_MAX];
    const char *key;
    json_t *value;
    int widest = 0;
    json_object_foreach((json_t *)object, key, value)
    {
        format_key(key, text);
        int width = width_of(text);
        if (!json_is_object(value) && width > widest)
            widest = width;
    }
    return widest;
}

static void print_members(FILE *file, const json_t *object, int indent);

static void print_elements(FILE *file, const json_t *array, int indent)
{
    char cell[CELL_MAX];
    size_t index;
    json_t *value;
    json_array_foreach((json_t *)array, index, value)
    {
        if (index > 0)
            fprintf(file, "%*s", indent, "");
        format_cell(value, cell);
        fprintf(file, "%s\n", cell);
    }
    if (json_array_size(array) == 0)
        fputs("none\n", file);
}

static void print_member(FILE *file, const char *key, const json_t *value, int indent, int width)
{
    char text[CELL_MAX], cell[CELL_MAX];
    format_key(key, text);
    if (json_is_object(value) && json_object_size(value) == 0)
        return;
    fprintf(file, "%*s", indent, "");
    if (json_is_object(value)) {
        fprintf(file, "%s\n", text);
        print_members(file, value, indent + 2);
        return;
    }
    print_padded(file, text, width + 1, false);
    if (json_is_array(value)) {
        print_elements(file, value, indent + width + 1);
        return;
    }
    format_cell(value, cell);
    fprintf(file, "%s\n", cell);
}

static void print_members(FILE *file, const json_t *object, int indent)
{
    const char *key;
    json_t *value;
    int width = widest_key(object);
    json_object_foreach((json_t *)object, key, value)
        print_member(file, key, value, indent, width);
}

void ctl_print_members(FILE *file, const json_t *object)
{
    print_members(file, object, 0);
}

void ctl_print_json(FILE *file, const json_t *value)
{
    (void)json_dumpf(value, file, JSON_INDENT(2));
    fputc('\n', file);
}

void ctl_print_json_line(FILE *file, const json_t *value)
{
    (void)json_dumpf(value, file, JSON_COMPACT);
    fputc('\n', file);
}
