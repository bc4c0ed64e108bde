/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include "base/log.h"

static const struct {
    const char *name;
    int level;
    const char *text;
} rows[STATUS_COUNT] = {
    [STATUS_OK] = {"OK", LOG_LEVEL_DEBUG, "Success"},
#define ERROR(code, reason, level, text) [STATUS_##code] = {#code, LOG_LEVEL_##level, text},
#include "errors.def"
#undef ERROR
};

const char *status_name(enum status status)
{
    return (unsigned)status < STATUS_COUNT ? rows[status].name : "UNKNOWN";
}

const char *status_text(enum status status)
{
    return (unsigned)status < STATUS_COUNT ? rows[status].text : "Unknown error";
}

int status_level(enum status status)
{
    return (unsigned)status < STATUS_COUNT ? rows[status].level : LOG_LEVEL_CRITICAL;
}
