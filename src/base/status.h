/* SPDX-License-Identifier: Apache-2.0 */
/* The one result type of the project; def/errors.def is the table behind it. */
#ifndef KMIPD_BASE_STATUS_H
#define KMIPD_BASE_STATUS_H

#include "base/compiler.h"

enum status {
    STATUS_OK = 0,
#define ERROR(code, reason, level, text) STATUS_##code,
#include "errors.def"
#undef ERROR
    STATUS_COUNT
};

/* The name of a status, such as "OBJECT_NOT_FOUND"; static storage, never NULL. */
const char *status_name(enum status status);

/* A sentence about a status that is safe to show to any client; static storage, never NULL. */
const char *status_text(enum status status);

/* How severe it is that a request ends so: an enum log_level. Up to LOG_LEVEL_ERROR it is the
 * server's fault. */
int status_level(enum status status);

#endif
