/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keyprotect_answer.h"

#include <strings.h>
#include <time.h>

#include "base/base64.h"

#define LIFETIME_MAX (INT64_C(24) * 3600) /* seconds; IAM gives an hour at most */
#define PAYLOAD_MAX  16384                /* characters; the service has a limit of 10,000 */
#define WORD_MAX     40                   /* a UUID is 36 long, 256 bits in base64 are 43 */

/* ---- Parts ---- */

static bool read_number(const char *text, size_t digits, int *ret_number)
{
    int number = 0;
    for (size_t i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        number = number * 10 + (text[i] - '0');
    }
    *ret_number = number;
    return true;
}

/* "Z", "+hh:mm" or "-hh:mm", to the end: seconds east of Greenwich. */
static bool read_zone(const char *text, int64_t *ret_seconds)
{
    int hours, minutes;
    *ret_seconds = 0;
    if (strcasecmp(text, "Z") == 0)
        return true;
    if (strlen(text) != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':' ||
        !read_number(text + 1, 2, &hours) || !read_number(text + 4, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *ret_seconds = (text[0] == '-' ? -60 : 60) * (hours * 60 + minutes);
    return true;
}

static bool read_date(const char *text, struct tm *ret_time)
{
    struct tm time = {0};
    bool good = read_number(text, 4, &time.tm_year) && text[4] == '-' &&
                read_number(text + 5, 2, &time.tm_mon) && text[7] == '-' &&
                read_number(text + 8, 2, &time.tm_mday) && (text[10] == 'T' || text[10] == 't') &&
                read_number(text + 11, 2, &time.tm_hour) && text[13] == ':' &&
                read_number(text + 14, 2, &time.tm_min) && text[16] == ':' &&
                read_number(text + 17, 2, &time.tm_sec);
    if (!good || time.tm_year < 1970 || time.tm_mon < 1 || time.tm_mon > 12 || time.tm_mday < 1 ||
        time.tm_mday > 31 || time.tm_hour > 23 || time.tm_min > 59 || time.tm_sec > 60)
        return false;
    time.tm_year -= 1900;
    time.tm_mon--;
    *ret_time = time;
    return true;
}

bool kp_time_read(struct bytes text, int64_t *ret_milliseconds)
{
    char copy[48];
    struct tm time;
    int64_t zone;
    if (text.size < 20 || text.size >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (!read_date(copy, &time))
        return false;
    const char *rest = copy + 19;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (!read_zone(rest, &zone))
        return false;
    *ret_milliseconds = ((int64_t)timegm(&time) - zone) * 1000;
    return true;
}

bool kp_is_json_type(const char *content_type)
{
    static const char vendor[] = "application/vnd.ibm.";
    if (content_type == NULL)
        return false;
    size_t size = strcspn(content_type, "; \t");
    if (size == strlen("application/json") &&
        strncasecmp(content_type, "application/json", size) == 0)
        return true;
    return size > sizeof(vendor) + 4 &&
           strncasecmp(content_type, vendor, sizeof(vendor) - 1) == 0 &&
           strncasecmp(content_type + size - 5, "+json", 5) == 0;
}

static bool member_uuid(struct kp_json object, const char *name, struct uuid *ret_uuid)
{
    struct kp_json value;
    struct bytes text;
    return kp_json_member_of(object, name, KP_JSON_STRING, &value) && kp_json_plain(value, &text) &&
           uuid_parse(text, ret_uuid);
}

/* The identifier in {"name": {"id": ...}}. */
static bool member_version(struct kp_json object, const char *name, struct uuid *ret_uuid)
{
    struct kp_json version;
    return kp_json_member_of(object, name, KP_JSON_OBJECT, &version) &&
           member_uuid(version, "id", ret_uuid);
}

static bool member_true(struct kp_json object, const char *name)
{
    struct kp_json value;
    return kp_json_member_of(object, name, KP_JSON_BOOLEAN, &value) && value.text.data[0] == 't';
}

static int64_t member_time(struct kp_json object, const char *name)
{
    struct kp_json value;
    struct bytes text;
    int64_t time = 0;
    if (!kp_json_member_of(object, name, KP_JSON_STRING, &value) || !kp_json_plain(value, &text) ||
        !kp_time_read(text, &time))
        return 0;
    return time;
}

/* What a string stands for, in the secret heap alone. */
static bool copy_secret(struct kp_json value, size_t maximum, struct secret *ret_secret)
{
    struct buffer buffer;
    struct secret text = {0};
    if (value.type != KP_JSON_STRING || value.text.size - 2 > maximum ||
        secret_allocate(&text, value.text.size) != STATUS_OK)
        return false;
    buffer_over(&buffer, text.data, text.size);
    bool good =
        kp_json_text(value, &buffer) && secret_copy(ret_secret, buffer_bytes(&buffer)) == STATUS_OK;
    secret_free(&text);
    return good;
}

/* ---- Tokens ---- */

static bool is_visible(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7F)
            return false;
    return text.size > 0;
}

bool kp_answer_token(struct bytes body, struct kp_token *ret_token)
{
    struct kp_json root, token, lifetime;
    struct kp_token made = {0};
    int64_t seconds;
    bool good = kp_json_read(body, &root) && kp_json_member(root, "access_token", &token) &&
                kp_json_member(root, "expires_in", &lifetime) &&
                kp_json_integer(lifetime, &seconds) && seconds > 0 &&
                copy_secret(token, KP_TOKEN_MAX, &made.text);
    if (!good || !is_visible(secret_bytes(&made.text))) {
        secret_free(&made.text);
        return false;
    }
    made.lifetime = (seconds < LIFETIME_MAX ? seconds : LIFETIME_MAX) * 1000;
    *ret_token = made;
    return true;
}

/* ---- Actions ---- */

static bool is_base64(const char *text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "+/-_=";
    return text[0] != '\0' && text[strspn(text, letters)] == '\0';
}

static bool read_plaintext(struct kp_json value, struct secret *ret_plaintext)
{
    struct secret text, plaintext = {0};
    if (!copy_secret(value, (KP_PLAINTEXT_MAX + 2) / 3 * 4, &text))
        return false;
    bool good =
        secret_allocate(&plaintext, base64_decoded_size(BASE64_STANDARD, secret_bytes(&text))) ==
            STATUS_OK &&
        base64_decode(BASE64_STANDARD, secret_bytes(&text), plaintext.data);
    secret_free(&text);
    if (good)
        *ret_plaintext = secret_take(&plaintext);
    secret_free(&plaintext);
    return good;
}

bool kp_answer_action(struct bytes body, struct kp_action *ret_action)
{
    struct kp_json root, value;
    *ret_action = (struct kp_action){0};
    bool good = kp_json_read(body, &root) && root.type == KP_JSON_OBJECT;
    if (good && kp_json_member(root, "ciphertext", &value))
        good = kp_json_copy(value, ret_action->ciphertext, sizeof(ret_action->ciphertext)) &&
               is_base64(ret_action->ciphertext);
    if (good && kp_json_member(root, "plaintext", &value))
        good = read_plaintext(value, &ret_action->plaintext);
    if (!good)
        return false;
    ret_action->has_version = member_version(root, "keyVersion", &ret_action->version);
    ret_action->has_rewrapped = member_version(root, "rewrappedKeyVersion", &ret_action->rewrapped);
    return true;
}

/* ---- Keys ---- */

static bool read_key(struct kp_json resource, struct kp_key *ret_key)
{
    struct kp_json name, state;
    struct kp_key key = {.state = 1, .whole = resource};
    if (resource.type != KP_JSON_OBJECT || !member_uuid(resource, "id", &key.id))
        return false;
    if (kp_json_member(resource, "name", &name) && !kp_json_copy(name, key.name, sizeof(key.name)))
        key.name[0] = '\0';
    if (kp_json_member(resource, "state", &state) && !kp_json_integer(state, &key.state))
        return false;
    key.extractable = member_true(resource, "extractable");
    key.imported = member_true(resource, "imported");
    key.purged = key.state == 5 && kp_json_member(resource, "restoreAllowed", &state) &&
                 !member_true(resource, "restoreAllowed");
    key.has_version = member_version(resource, "keyVersion", &key.version);
    key.created = member_time(resource, "creationDate");
    key.rotated = member_time(resource, "lastRotateDate");
    key.deleted = member_time(resource, "deletionDate");
    *ret_key = key;
    return true;
}

static bool read_resources(struct bytes body, struct kp_json *ret_root,
                           struct kp_json *ret_resources)
{
    return kp_json_read(body, ret_root) &&
           kp_json_member_of(*ret_root, "resources", KP_JSON_ARRAY, ret_resources);
}

/* The service leaves `resources` out where it would be empty. */
static bool is_empty_list(struct kp_json root)
{
    struct kp_json metadata, total, resources;
    int64_t count;
    return kp_json_member_of(root, "metadata", KP_JSON_OBJECT, &metadata) &&
           kp_json_member(metadata, "collectionTotal", &total) && kp_json_integer(total, &count) &&
           count == 0 &&
           (!kp_json_member(root, "resources", &resources) || resources.type == KP_JSON_NULL);
}

bool kp_answer_keys(struct bytes body, kp_visit_key *visit, void *context, size_t *ret_count)
{
    struct kp_json root, resources, resource;
    struct kp_key key;
    size_t position = 0, count = 0;
    *ret_count = 0;
    if (!kp_json_read(body, &root))
        return false;
    if (!kp_json_member_of(root, "resources", KP_JSON_ARRAY, &resources))
        return is_empty_list(root);
    for (bool going = true; kp_json_next(resources, &position, &resource); count++) {
        if (!read_key(resource, &key))
            return false;
        going = going && (visit == NULL || visit(context, &key));
    }
    *ret_count = count;
    return true;
}

static bool only_resource(struct bytes body, struct kp_json *ret_resource)
{
    struct kp_json root, resources, second;
    size_t position = 0;
    return read_resources(body, &root, &resources) &&
           kp_json_next(resources, &position, ret_resource) &&
           !kp_json_next(resources, &position, &second);
}

bool kp_answer_key(struct bytes body, struct kp_key *ret_key)
{
    struct kp_json resource;
    return only_resource(body, &resource) && read_key(resource, ret_key);
}

static bool decode_text(struct bytes text, struct buffer *buffer)
{
    size_t before = buffer->size;
    uint8_t *to = buffer_reserve(buffer, base64_decoded_size(BASE64_STANDARD, text));
    if (to == NULL)
        return false;
    bool good = base64_decode(BASE64_STANDARD, text, to);
    if (!good)
        buffer->size = before;
    return good;
}

bool kp_answer_payload(struct bytes body, struct buffer *ret_payload)
{
    struct kp_json resource, payload;
    struct buffer text;
    buffer_init(&text, PAYLOAD_MAX);
    bool good = only_resource(body, &resource) && kp_json_member(resource, "payload", &payload) &&
                kp_json_text(payload, &text) && decode_text(buffer_bytes(&text), ret_payload);
    buffer_free(&text);
    return good;
}

bool kp_key_is_described(const struct kp_key *key, const char *description)
{
    struct kp_json value;
    char text[256];
    return kp_json_member(key->whole, "description", &value) &&
           kp_json_copy(value, text, sizeof(text)) && strcmp(text, description) == 0;
}

bool kp_answer_versions(struct bytes body, uint32_t *ret_total, struct uuid *ret_newest)
{
    struct kp_json root, resources, resource, metadata, value;
    size_t position = 0;
    int64_t total;
    bool good = read_resources(body, &root, &resources) &&
                kp_json_next(resources, &position, &resource) &&
                member_uuid(resource, "id", ret_newest) &&
                kp_json_member_of(root, "metadata", KP_JSON_OBJECT, &metadata) &&
                (kp_json_member(metadata, "totalCount", &value) ||
                 kp_json_member(metadata, "collectionTotal", &value)) &&
                kp_json_integer(value, &total) && total > 0 && total <= UINT32_MAX;
    if (good)
        *ret_total = (uint32_t)total;
    return good;
}

/* ---- Refusals ---- */

/* What a service puts into a message may repeat what it was sent. */
static void make_printable(char *text)
{
    char *to = text;
    for (const char *at = text; *at != '\0';) {
        size_t word = strcspn(at, " \t\r\n");
        size_t written = word > WORD_MAX ? 0 : word;
        memmove(to, at, written);
        for (size_t i = 0; i < written; i++)
            if ((unsigned char)to[i] < 0x20 || (unsigned char)to[i] >= 0x7F)
                to[i] = '?';
        to += written;
        at += word;
        if (word > WORD_MAX)
            to = mempcpy(to, "[...]", 5);
        if (*at != '\0') {
            *to++ = ' ';
            at++;
        }
    }
    *to = '\0';
}

static void copy_message(struct kp_json value, char ret_text[static KP_MESSAGE_MAX + 1])
{
    char text[4096];
    ret_text[0] = '\0';
    if (!kp_json_copy(value, text, sizeof(text)))
        return;
    make_printable(text);
    size_t size = strnlen(text, KP_MESSAGE_MAX);
    memcpy(ret_text, text, size);
    ret_text[size] = '\0';
    explicit_bzero(text, sizeof(text));
}

static void copy_code(struct kp_json value, char ret_code[static KP_CODE_MAX + 1])
{
    struct bytes text;
    ret_code[0] = '\0';
    if (!kp_json_plain(value, &text) || text.size > KP_CODE_MAX)
        return;
    for (size_t i = 0; i < text.size; i++)
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", text.data[i]) == NULL)
            return;
    memcpy(ret_code, text.data, text.size);
    ret_code[text.size] = '\0';
}

bool kp_answer_refusal(struct bytes body, struct kp_refusal *ret_refusal)
{
    struct kp_json root, resources, resource, message, reasons, reason, code;
    size_t first = 0, position = 0;
    struct kp_refusal refusal = {0};
    if (!read_resources(body, &root, &resources) || !kp_json_next(resources, &first, &resource) ||
        !kp_json_member_of(resource, "errorMsg", KP_JSON_STRING, &message))
        return false;
    copy_message(message, refusal.message);
    if (kp_json_member_of(resource, "reasons", KP_JSON_ARRAY, &reasons) &&
        kp_json_next(reasons, &position, &reason) && kp_json_member(reason, "code", &code))
        copy_code(code, refusal.code);
    *ret_refusal = refusal;
    return true;
}

bool kp_answer_iam_refusal(struct bytes body, struct kp_refusal *ret_refusal)
{
    struct kp_json root, code, message;
    struct kp_refusal refusal = {0};
    if (!kp_json_read(body, &root) || !kp_json_member_of(root, "errorCode", KP_JSON_STRING, &code))
        return false;
    copy_code(code, refusal.code);
    if (kp_json_member(root, "errorMessage", &message))
        copy_message(message, refusal.message);
    *ret_refusal = refusal;
    return true;
}
