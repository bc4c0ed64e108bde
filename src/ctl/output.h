/* SPDX-License-Identifier: Apache-2.0 */
/* Results for people: aligned tables, and named values. Text of clients is made harmless for a
 * terminal: control characters become '?'. */
#ifndef KMIPD_CTL_OUTPUT_H
#define KMIPD_CTL_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

#include <stdbool.h>

struct ctl_column {
    const char *title;
    const char *key; /* of each row's object */
};

/* Prints an array of objects, a row each, under its titles (at most 12 columns). Numbers stand at
 * the right; a column in which nothing stands is left out. */
void ctl_print_table(FILE *file, const json_t *rows, const struct ctl_column *columns,
                     size_t count);

/*
 * Prints an object's members, a line each, in their order: "root_key" becomes "Root key:". Objects
 * inside are indented, and left out where nothing is in them; arrays have their elements one below
 * the other.
 */
void ctl_print_members(FILE *file, const json_t *object);

/* A JSON text, indented, with its newline. */
void ctl_print_json(FILE *file, const json_t *value);
/* The same in one line, as in the audit log. */
void ctl_print_json_line(FILE *file, const json_t *value);

#endif
