/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

static const struct {
    const char *name;
    const char *text;
} rows[STATUS_COUNT] = {
    [STATUS_OK] = {"OK", "Success"},
#define ERROR(code, reason, level, text) [STATUS_##code] = {#code, text},
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
