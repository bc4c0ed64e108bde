/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event, for people and journals: `LEVEL message key=value key=value`. Called by
 * outer layers only (daemon, net glue, bin); libraries return errors. Never given a secret.
 */
#ifndef KMIPD_BASE_LOG_H
#define KMIPD_BASE_LOG_H

#include "base/compiler.h"

/* syslog's severities (RFC 5424 §6.2.1), which journald reads as a `<n>` prefix. */
enum log_level {
    LOG_LEVEL_CRITICAL = 2,
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

/* Lines less severe than `level` are dropped. `journal`: prefix each with its severity for
 * journald instead of a time stamp and a word. Call before threads start. */
void log_init(enum log_level level, int journal);

void log_set_level(enum log_level level);

/*
 * Writes one line to standard error in a single write(2), cut at 2,000 bytes; control characters
 * become '?'. Fields go into the text as key=value, values from outside in quotes: key="%s".
 * Any thread.
 */
void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

#define log_critical(...) log_write(LOG_LEVEL_CRITICAL, __VA_ARGS__)
#define log_error(...)    log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...)  log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)   log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)     log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)    log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
