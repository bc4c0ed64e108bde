/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum status error_set(struct error *error, enum status status, const char *format, ...)
{
    if (error == NULL)
        return status;
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return status;
}

enum status error_set_errno(struct error *error, enum status status, int errno_value,
                            const char *format, ...)
{
    if (error == NULL)
        return status;
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    const char *description = strerrordesc_np(errno_value);
    if (length >= 0 && (size_t)length < sizeof(error->text))
        (void)snprintf(error->text + length, sizeof(error->text) - (size_t)length, ": %s",
                       description != NULL ? description : "unknown error");
    return status;
}

const char *error_text(const struct error *error)
{
    return error->text[0] != '\0' ? error->text : status_text(error->status);
}
