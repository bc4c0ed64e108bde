/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of def/config.def as data: for config*.c alone. */
#ifndef KMIPD_DAEMON_CONFIG_TABLE_H
#define KMIPD_DAEMON_CONFIG_TABLE_H

#include "base/buffer.h"
#include "daemon/config.h"

struct config_row;

/* A type of values: how its text is read, written and described. */
struct config_type {
    size_t size; /* of the field */
    /* Writes all of the field, or returns false and leaves it alone. */
    bool (*parse)(const struct config_row *row, struct bytes text, void *field);
    void (*print)(const void *field, struct buffer *to);
    /* What is allowed: "1 to 256", "a size from 4KiB to 16MiB", ... */
    void (*describe)(const struct config_row *row, struct buffer *to);
};

struct config_row {
    const char *section;
    const char *name; /* with '_' where the file has '-' */
    const struct config_type *type;
    uint64_t minimum;
    uint64_t maximum;
    const char *default_text;
    enum config_when when;
    const char *text;
    size_t offset; /* of the field in struct config */
    enum config_key key;
};

struct config_choice {
    enum config_key key;
    const char *word;
    const char *text;
};

struct config_section {
    const char *name; /* with '_' where the file has '-' */
    const char *text;
};

extern const struct config_row config_rows[CONFIG_KEY_COUNT];
extern const struct config_choice config_choices[CONFIG_WORD_COUNT];
extern const struct config_section config_sections[];
extern const size_t config_section_count;

extern const struct config_type config_type_TEXT, config_type_PATH, config_type_NAMES,
    config_type_ADDRESS, config_type_INTEGER, config_type_SIZE, config_type_DURATION,
    config_type_BOOLEAN, config_type_WORD;

/* The name of a key or a section as the file writes it. */
struct config_name config_written_name(const char *name);

#endif
