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

#endif
