/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: def/config.def is the table behind everything here. Keys of section `s` named
 * `k` are config->s_k. One thread at a time; a configuration that others read is not changed.
 */
#ifndef KMIPD_DAEMON_CONFIG_H
#define KMIPD_DAEMON_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"

#define CONFIG_TEXT_SIZE 1024 /* with the NUL */

/* The values of all keys that are one of several words. */
enum config_word {
#define CHOICE(section, name, value, word, text) CONFIG_##value,
#include "config.def"
    CONFIG_WORD_COUNT
};

/* What each TYPE of the table is in C. Sizes are bytes, durations milliseconds. */
typedef char config_TEXT[CONFIG_TEXT_SIZE];
typedef char config_PATH[CONFIG_TEXT_SIZE];
typedef char config_NAMES[CONFIG_TEXT_SIZE];   /* separated by ", " */
typedef char config_ADDRESS[CONFIG_TEXT_SIZE]; /* numeric, with the port */
typedef uint64_t config_INTEGER;
typedef uint64_t config_SIZE;
typedef uint64_t config_DURATION;
typedef bool config_BOOLEAN;
typedef enum config_word config_WORD;

struct config {
#define KEY(section, name, type, minimum, maximum, default_text, when, text) \
    config_##type section##_##name;
#include "config.def"
};

enum config_key {
#define KEY(section, name, type, minimum, maximum, default_text, when, text) \
    CONFIG_KEY_##section##_##name,
#include "config.def"
    CONFIG_KEY_COUNT
};

/* When a changed value is taken up. */
enum config_when { CONFIG_RELOAD, CONFIG_RESTART, CONFIG_SETUP };

/* Every key at its default. */
void config_init(struct config *config);

/*
 * Sets one key from its text, as a line in the file would. INVALID_ARGUMENT with a text that says
 * what is allowed; the key keeps its value then.
 */
enum status config_set(struct config *config, enum config_key key, struct bytes value,
                       struct error *error) MUST_USE;

/* Called with each mistake: one line, `FILE:LINE: ...`. */
typedef void config_report(void *context, const char *mistake);

/*
 * Reads a file over what `config` holds: unknown sections and keys, duplicates, and values out of
 * range are mistakes. All of them are reported. OK, INVALID_ARGUMENT when there was a mistake, IO
 * when the file cannot be read (reported too); `config` is unspecified then.
 */
enum status config_read(struct config *config, const char *path, config_report *report,
                        void *context) MUST_USE;

/* Mistakes that show only when all keys are known: a key that another one needs, ... */
enum status config_check(const struct config *config, struct error *error) MUST_USE;

/* The keys that differ, in the order of the table; returns how many. */
size_t config_differences(const struct config *a, const struct config *b,
                          enum config_key ret_keys[static CONFIG_KEY_COUNT]);

/* Copies the keys that SIGHUP may change. */
void config_take_reloadable(struct config *config, const struct config *from);

enum config_when config_key_when(enum config_key key);

/* "[network] listen" */
struct config_name {
    char text[96];
};
struct config_name config_key_name(enum config_key key);

/* [server] log-level for base/log.h. */
enum log_level config_log_level(const struct config *config);

/* Writes every key, with its text and range as comments: a key that has its default is written
 * as a comment too, so that of the defaults an example comes out. False if `file` fails. */
bool config_print(const struct config *config, FILE *file) MUST_USE;

/* Writes kmipd.conf(5) in the man macros of roff. False if `file` fails. */
bool config_print_manual(FILE *file) MUST_USE;

/* Visits each name of a NAMES key. */
typedef bool config_visit_name(void *context, struct bytes name);
bool config_each_name(const char *names, config_visit_name *visit, void *context);

#endif
