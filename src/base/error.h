/* SPDX-License-Identifier: Apache-2.0 */
/* A status with a sentence for a person: used where an administrator reads the outcome. */
#ifndef KMIPD_BASE_ERROR_H
#define KMIPD_BASE_ERROR_H

#include "base/status.h"

struct error {
    enum status status;
    char text[512]; /* what happened and what to do, one line, no secret, NUL-terminated */
};

/*
 * Fills `error` (which may be NULL) and returns `status`, so that a function can end with
 * `return error_set(error, STATUS_IO, "cannot open %s: %s", ...)`. Text that does not fit is cut.
 */
enum status error_set(struct error *error, enum status status, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* As error_set(), with ": " and the text of `errno_value` behind the message. */
enum status error_set_errno(struct error *error, enum status status, int errno_value,
                            const char *format, ...) PRINTF_LIKE(4, 5);

/* The text if there is one, else the general text of the status. Lives as long as `error`. */
const char *error_text(const struct error *error);

#endif
