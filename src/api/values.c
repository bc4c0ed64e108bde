/* SPDX-License-Identifier: Apache-2.0 */
/* Values as they stand in JSON. */
#include <stdio.h>
#include <time.h>

#include "api/call.h"
#include "base/base64.h"

#define TIME_TEXT_MAX 32

json_t *api_json_time(int64_t milliseconds)
{
    struct tm parts;
    char text[TIME_TEXT_MAX];
    time_t seconds = (time_t)(milliseconds / 1000 - (milliseconds % 1000 < 0));
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        return NULL;
    return json_string(text);
}

json_t *api_json_uuid(const struct uuid *uuid)
{
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(uuid, text);
    return json_string(text);
}

json_t *api_json_base64(struct bytes bytes)
{
    struct buffer text;
    json_t *value = NULL;
    buffer_init(&text, base64_length(BASE64_STANDARD, bytes.size));
    base64_encode(BASE64_STANDARD, bytes, &text);
    if (buffer_status(&text) == STATUS_OK)
        value = json_stringn_nocheck(text.size > 0 ? (const char *)text.data : "", text.size);
    buffer_free(&text);
    return value;
}

/* ---- RFC 3339 ---- */

/* `count` digits; advances. */
static bool take_digits(const char **text, int count, int *ret_number)
{
    int number = 0;
    for (int i = 0; i < count; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return false;
        number = number * 10 + (**text - '0');
    }
    *ret_number = number;
    return true;
}

static bool take(const char **text, char wanted)
{
    if (**text != wanted)
        return false;
    (*text)++;
    return true;
}

static bool take_date(const char **text, struct tm *ret_parts)
{
    struct tm parts = {0};
    if (!take_digits(text, 4, &parts.tm_year) || !take(text, '-') ||
        !take_digits(text, 2, &parts.tm_mon) || !take(text, '-') ||
        !take_digits(text, 2, &parts.tm_mday) || (!take(text, 'T') && !take(text, 't')) ||
        !take_digits(text, 2, &parts.tm_hour) || !take(text, ':') ||
        !take_digits(text, 2, &parts.tm_min) || !take(text, ':') ||
        !take_digits(text, 2, &parts.tm_sec))
        return false;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    *ret_parts = parts;
    return true;
}

/* A fraction of a second; what is finer than a millisecond is left out. */
static bool take_fraction(const char **text, int *ret_milliseconds)
{
    int scale = 100;
    *ret_milliseconds = 0;
    if (!take(text, '.'))
        return true;
    if (**text < '0' || **text > '9')
        return false;
    for (; **text >= '0' && **text <= '9'; (*text)++, scale /= 10)
        *ret_milliseconds += (**text - '0') * scale;
    return true;
}

static bool take_zone(const char **text, int *ret_minutes)
{
    int hours = 0;
    int minutes = 0;
    *ret_minutes = 0;
    if (take(text, 'Z') || take(text, 'z'))
        return true;
    int sign = take(text, '-') ? -1 : take(text, '+') ? 1 : 0;
    if (sign == 0 || !take_digits(text, 2, &hours) || !take(text, ':') ||
        !take_digits(text, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_minutes = sign * (hours * 60 + minutes);
    return true;
}

/* Whether timegm() took the parts as they stood: it makes 2 March of 30 February. */
static bool is_date(const struct tm *parts, time_t seconds)
{
    struct tm back;
    return parts->tm_hour < 24 && parts->tm_min < 60 && parts->tm_sec <= 60 &&
           gmtime_r(&seconds, &back) != NULL &&
           (parts->tm_sec == 60 ||
            (back.tm_mday == parts->tm_mday && back.tm_mon == parts->tm_mon &&
             back.tm_year == parts->tm_year));
}

bool api_parse_time(const char *text, int64_t *ret_milliseconds)
{
    struct tm parts;
    int milliseconds;
    int minutes;
    if (text == NULL || !take_date(&text, &parts) || !take_fraction(&text, &milliseconds) ||
        !take_zone(&text, &minutes) || *text != '\0')
        return false;
    struct tm copy = parts;
    time_t seconds = timegm(&copy);
    if (!is_date(&parts, seconds))
        return false;
    *ret_milliseconds = ((int64_t)seconds - minutes * INT64_C(60)) * 1000 + milliseconds;
    return true;
}
