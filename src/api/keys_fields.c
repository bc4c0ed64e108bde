/* SPDX-License-Identifier: Apache-2.0 */
/* What the resource of a new key says. */
#include <stdio.h>

#include "api/keys.h"
#include "base/utf8.h"

#define NAME_MIN        2
#define NAME_MAX_CHARS  90
#define ABOUT_MAX_CHARS 240
#define TAGS_MAX        30
#define TAG_MAX_CHARS   30

static bool refuse(struct api_call *call, const char *field, const char *text)
{
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", field, "The field `%s` must be: %s", field,
                  text);
    return false;
}

int keys_count_characters(const char *text)
{
    struct bytes rest = bytes_of_text(text);
    int count = 0;
    while (rest.size > 0) {
        uint32_t code = 0;
        size_t size = utf8_character(rest, &code);
        if (size == 0 || code < 0x20 || code == 0x7F)
            return -1;
        rest = bytes_of(rest.data + size, rest.size - size);
        count++;
    }
    return count;
}

/* ---- Texts ---- */

/* A text of `minimum` to `maximum` characters; absent, null and empty are the same. */
static bool read_text(struct api_call *call, const json_t *resource, const char *field, int minimum,
                      int maximum, char *ret_text, size_t size)
{
    const json_t *value = api_member(resource, field);
    ret_text[0] = '\0';
    if (value == NULL || json_is_null(value))
        return true;
    const char *text = json_string_value(value);
    int count = text == NULL || json_string_length(value) != strlen(text)
                    ? -1
                    : keys_count_characters(text);
    if (count == 0)
        return true;
    if (count < minimum || count > maximum || strlen(text) >= size) {
        api_fail_text(call, API_INVALID_FIELD_ERR, "field", field,
                      "The field `%s` must be: a text of %d to %d characters", field, minimum,
                      maximum);
        return false;
    }
    (void)snprintf(ret_text, size, "%s", text);
    return true;
}

static bool read_name(struct api_call *call, const json_t *resource, struct kms_key *key)
{
    if (!read_text(call, resource, "name", NAME_MIN, NAME_MAX_CHARS, key->name, sizeof(key->name)))
        return false;
    return key->name[0] != '\0' || refuse(call, "name", "a text of 2 to 90 characters");
}

/* Appends to a list separated by newlines. */
static void append_item(char *list, size_t size, const char *item)
{
    size_t length = strlen(list);
    (void)snprintf(list + length, size - length, "%s%s", length > 0 ? "\n" : "", item);
}

static const char *array_text(const json_t *array, size_t i)
{
    const json_t *value = json_array_get(array, i);
    const char *text = json_string_value(value);
    return text != NULL && strlen(text) == json_string_length(value) ? text : NULL;
}

/* NULL when it is absent; *ret_good false when it is no array. */
static const json_t *read_array(const json_t *resource, const char *field, size_t maximum,
                                bool *ret_good)
{
    const json_t *value = api_member(resource, field);
    *ret_good = true;
    if (value == NULL || json_is_null(value))
        return NULL;
    *ret_good = json_is_array(value) && json_array_size(value) <= maximum;
    return value;
}

static bool read_tags(struct api_call *call, const json_t *resource, struct kms_key *key)
{
    bool good;
    const json_t *tags = read_array(resource, "tags", TAGS_MAX, &good);
    for (size_t i = 0; good && i < json_array_size(tags); i++) {
        const char *tag = array_text(tags, i);
        int count = tag == NULL ? -1 : keys_count_characters(tag);
        good = count >= 1 && count <= TAG_MAX_CHARS && strpbrk(tag, "<>,:&|") == NULL;
        if (good)
            append_item(key->tags, sizeof(key->tags), tag);
    }
    return good || refuse(call, "tags",
                          "at most 30 texts of at most 30 characters without any of < > , : & |");
}

/* ---- Aliases ---- */

/* Words that stand in paths. */
static const char *const reserved[] = {
    "allowed_ip",   "key",           "keys",    "metadata", "policy", "policies",
    "registration", "registrations", "ring",    "rings",    "rotate", "wrap",
    "unwrap",       "rewrap",        "version", "versions",
};

static bool is_alias(const char *alias)
{
    static const char characters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    struct uuid id;
    size_t length = strlen(alias);
    if (length < 2 || length > KMS_ALIAS_MAX || strspn(alias, characters) != length ||
        uuid_parse(bytes_of_text(alias), &id))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(reserved); i++)
        if (strcmp(reserved[i], alias) == 0)
            return false;
    return true;
}

bool keys_check_alias(struct api_call *call, const char *alias)
{
    return is_alias(alias) ||
           refuse(call, "alias",
                  "2 to 90 letters, digits, `_` and `-`; not a UUID, and not a reserved word");
}

static bool read_aliases(struct api_call *call, const json_t *resource, struct kms_key *key)
{
    bool good;
    const json_t *aliases = read_array(resource, "aliases", KMS_ALIASES_PER_KEY, &good);
    if (!good && json_is_array(aliases)) {
        api_fail(call, API_KEY_ALIAS_QUOTA_ERR, "field", "aliases");
        return false;
    }
    for (size_t i = 0; good && i < json_array_size(aliases); i++) {
        const char *alias = array_text(aliases, i);
        good = alias != NULL && is_alias(alias);
        if (good)
            append_item(key->aliases, sizeof(key->aliases), alias);
    }
    return good || refuse(call, "aliases",
                          "at most 5 texts of 2 to 90 letters, digits, `_` and `-`; none of them a "
                          "UUID or a reserved word");
}

/* ---- The rest ---- */

static bool read_type(struct api_call *call, const json_t *resource)
{
    const json_t *type = api_member(resource, "type");
    const char *text = json_string_value(type);
    if (type == NULL || json_is_null(type) || (text != NULL && strcmp(text, KEYS_TYPE) == 0))
        return true;
    return refuse(call, "type", KEYS_TYPE);
}

static bool read_extractable(struct api_call *call, const json_t *resource, struct kms_key *key)
{
    const json_t *value = api_member(resource, "extractable");
    key->extractable = value == NULL || json_is_null(value) || json_is_true(value);
    return value == NULL || json_is_null(value) || json_is_boolean(value) ||
           refuse(call, "extractable", "true or false");
}

static bool read_expiration(struct api_call *call, const json_t *resource, struct kms_key *key)
{
    const json_t *value = api_member(resource, "expirationDate");
    const char *text = json_string_value(value);
    if (value == NULL || json_is_null(value) || (text != NULL && text[0] == '\0'))
        return true;
    if (text == NULL || !api_parse_time(text, &key->expiration) || key->expiration <= call->now)
        return refuse(call, "expirationDate", "a date and time of RFC 3339 in the future");
    return true;
}

bool keys_read_fields(struct api_call *call, const json_t *resource, struct kms_key *key)
{
    return read_type(call, resource) && read_name(call, resource, key) &&
           read_text(call, resource, "description", 2, ABOUT_MAX_CHARS, key->description,
                     sizeof(key->description)) &&
           read_tags(call, resource, key) && read_aliases(call, resource, key) &&
           read_extractable(call, resource, key) && read_expiration(call, resource, key);
}
