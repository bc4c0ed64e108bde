/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "upkeep/inside.h"

static void write_log(enum status status, const char *operation, const char *adapter,
                      const char *object, const char *detail)
{
    log_write(status == STATUS_OK ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING,
              "upkeep %s%s%s%s%s%s: %s", operation, adapter[0] != '\0' ? " adapter=\"" : "",
              adapter, adapter[0] != '\0' ? "\"" : "", object[0] != '\0' ? " object=" : "", object,
              detail);
}

void upkeep_report(struct upkeep *upkeep, enum status status, const char *operation,
                   const char *adapter, const struct uuid *object, const char *format, ...)
{
    char detail[512];
    char text[UUID_TEXT_LENGTH + 1] = "";
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof(detail), format, arguments);
    va_end(arguments);
    if (object != NULL)
        uuid_text(object, text);
    write_log(status, operation, adapter, text, detail);
    const struct audit_entry entry = {
        .time = clock_now(upkeep->clock),
        .event = "server",
        .adapter = bytes_of_text(adapter),
        .operation = bytes_of_text(operation),
        .object = bytes_of_text(text),
        .result = bytes_of_text(status == STATUS_OK ? "Success" : "Operation Failed"),
        .detail = bytes_of_text(detail),
    };
    if (upkeep->audit != NULL && audit_write(upkeep->audit, &entry) != STATUS_OK)
        log_error("upkeep %s could not be recorded in the audit log", operation);
}
