/* SPDX-License-Identifier: Apache-2.0 */
/* Reading kmipd.conf: sections, `key = value`, comments; nothing else. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "daemon/config_table.h"

#define LINE_MAX_SIZE 2048

struct reading {
    struct config *config;
    const char *path;
    unsigned line;
    const struct config_section *section; /* NULL before the first, and in an unknown one */
    bool in_unknown_section;
    unsigned lines[CONFIG_KEY_COUNT]; /* where each key stood; 0: not yet */
    config_report *report;
    void *context;
    enum status status;
};

static void mistake(struct reading *reading, const char *format, ...) PRINTF_LIKE(2, 3);
static void mistake(struct reading *reading, const char *format, ...)
{
    char text[1500];
    int length = snprintf(text, sizeof(text), "%.500s:%u: ", reading->path, reading->line);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + length, sizeof(text) - (size_t)length, format, arguments);
    va_end(arguments);
    reading->report(reading->context, text);
    reading->status = STATUS_INVALID_ARGUMENT;
}

static struct bytes trim(struct bytes text)
{
    static const char blank[] = " \t\r\n";
    while (text.size > 0 && memchr(blank, text.data[text.size - 1], sizeof(blank) - 1) != NULL)
        text.size--;
    while (text.size > 0 && memchr(blank, text.data[0], sizeof(blank) - 1) != NULL) {
        text.data++;
        text.size--;
    }
    return text;
}

/* The names that are allowed, separated by commas: the keys of a section, or the sections. */
static void list_names(const struct config_section *section, char *text, size_t size)
{
    struct buffer list;
    buffer_over(&list, text, size - 1);
    for (size_t i = 0; section == NULL && i < config_section_count; i++)
        buffer_append_format(&list, "%s[%s]", list.size > 0 ? ", " : "",
                             config_written_name(config_sections[i].name).text);
    for (size_t i = 0; section != NULL && i < CONFIG_KEY_COUNT; i++)
        if (strcmp(config_rows[i].section, section->name) == 0)
            buffer_append_format(&list, "%s%s", list.size > 0 ? ", " : "",
                                 config_written_name(config_rows[i].name).text);
    text[list.size] = '\0';
}

static void read_section(struct reading *reading, struct bytes line)
{
    struct bytes name = trim(bytes_of(line.data + 1, line.size - 2));
    reading->section = NULL;
    for (size_t i = 0; i < config_section_count; i++)
        if (bytes_equal_text(name, config_written_name(config_sections[i].name).text))
            reading->section = &config_sections[i];
    reading->in_unknown_section = reading->section == NULL;
    if (reading->section != NULL)
        return;
    char allowed[800];
    list_names(NULL, allowed, sizeof(allowed));
    mistake(reading, "there is no section [%.*s]; sections are %s",
            (int)(name.size < 80 ? name.size : 80), (const char *)name.data, allowed);
}

static const struct config_row *find_row(const struct config_section *section, struct bytes name)
{
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
        if (strcmp(config_rows[i].section, section->name) == 0 &&
            bytes_equal_text(name, config_written_name(config_rows[i].name).text))
            return &config_rows[i];
    return NULL;
}

static void read_known(struct reading *reading, const struct config_row *row, struct bytes value)
{
    unsigned *seen = &reading->lines[row->key];
    if (*seen != 0) {
        mistake(reading, "%s stands in line %u already; keep one of the two",
                config_key_name(row->key).text, *seen);
        return;
    }
    *seen = reading->line;
    struct error error = {0};
    if (config_set(reading->config, row->key, value, &error) != STATUS_OK)
        mistake(reading, "%s", error_text(&error));
}

static void read_key(struct reading *reading, struct bytes line, const uint8_t *equals)
{
    struct bytes name = trim(bytes_of(line.data, (size_t)(equals - line.data)));
    struct bytes value = trim(bytes_of(equals + 1, line.size - (size_t)(equals + 1 - line.data)));
    if (reading->in_unknown_section)
        return; /* reported with the section */
    if (reading->section == NULL) {
        mistake(reading, "a key stands before the first section; begin with a line such as "
                         "[server]");
        return;
    }
    const struct config_row *row = find_row(reading->section, name);
    if (row != NULL) {
        read_known(reading, row, value);
        return;
    }
    char allowed[800];
    list_names(reading->section, allowed, sizeof(allowed));
    mistake(reading, "there is no key %.*s in [%s]; its keys are %s",
            (int)(name.size < 80 ? name.size : 80), (const char *)name.data,
            config_written_name(reading->section->name).text,
            allowed);
}

static void read_line(struct reading *reading, struct bytes line)
{
    line = trim(line);
    if (line.size == 0 || line.data[0] == '#' || line.data[0] == ';')
        return;
    if (line.data[0] == '[' && line.data[line.size - 1] == ']') {
        read_section(reading, line);
        return;
    }
    const uint8_t *equals = memchr(line.data, '=', line.size);
    if (equals != NULL)
        read_key(reading, line, equals);
    else
        mistake(reading, "this is neither [section], nor key = value, nor a # comment");
}

static void read_lines(struct reading *reading, FILE *file)
{
    char line[LINE_MAX_SIZE];
    while (fgets(line, sizeof(line), file) != NULL) {
        reading->line++;
        size_t length = strlen(line);
        if (length == sizeof(line) - 1 && line[length - 1] != '\n') {
            mistake(reading, "this line is longer than %d characters", LINE_MAX_SIZE - 2);
            return;
        }
        read_line(reading, bytes_of(line, length));
    }
}

static enum status unreadable(const char *path, config_report *report, void *context)
{
    struct error error = {0};
    (void)error_set_errno(&error, STATUS_IO, errno, "%.300s: cannot read the configuration", path);
    report(context, error_text(&error));
    return STATUS_IO;
}

enum status config_read(struct config *config, const char *path, config_report *report,
                        void *context)
{
    struct reading reading = {
        .config = config, .path = path, .report = report, .context = context};
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return unreadable(path, report, context);
    read_lines(&reading, file);
    bool failed = ferror(file) != 0;
    if (failed)
        (void)unreadable(path, report, context);
    (void)fclose(file); /* only read from */
    return failed ? STATUS_IO : reading.status;
}
