/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT(name)   {#name, offsetof(struct keyprotect_options, name), IS_TEXT}
#define TIME(name)   {#name, offsetof(struct keyprotect_options, name), IS_TIME}
#define NUMBER(name) {#name, offsetof(struct keyprotect_options, name), IS_NUMBER}

static const struct {
    const char *name;
    size_t offset;
    enum { IS_TEXT, IS_TIME, IS_NUMBER } kind;
} settings[] = {
    TEXT(url),          TEXT(iam_url),         TEXT(instance),    TEXT(key_ring),
    TEXT(proxy),        TEXT(record_key_ring), TEXT(ca_file),     TEXT(api_key_file),
    TIME(try_timeout),  TIME(connect_timeout), TIME(job_timeout), NUMBER(connections_max),
    NUMBER(retries),
};

bool tool_option(struct keyprotect_options *options, const char *argument)
{
    for (size_t i = 0; i < ARRAY_COUNT(settings); i++) {
        size_t size = strlen(settings[i].name);
        if (strncmp(argument, settings[i].name, size) != 0 || argument[size] != '=')
            continue;
        const char *value = argument + size + 1;
        void *member = (char *)options + settings[i].offset;
        if (settings[i].kind == IS_TEXT)
            *(const char **)member = value;
        else if (settings[i].kind == IS_TIME)
            *(int64_t *)member = strtol(value, NULL, 10);
        else
            *(uint32_t *)member = (uint32_t)strtoul(value, NULL, 10);
        return true;
    }
    (void)fprintf(stderr, "%s is no option\n", argument);
    return false;
}
