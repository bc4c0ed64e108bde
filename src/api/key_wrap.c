/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wrap, unwrap, rewrap. What a root key seals is SHA-256 of the additional authenticated data and
 * the plaintext behind it, bound to a nil object and to an adapter of its own: so the answer to a
 * wrong AAD can differ from that to a changed ciphertext, as in Key Protect, and nothing of an
 * adapter's can be opened here. The ciphertext has Key Protect's outer form: base64 of JSON with
 * `ciphertext`, `iv` (empty here: the nonce is in the ciphertext), `version` and `handle`, the
 * identifier of the root key version, which is told but not relied on.
 *
 * No row is read but those in memory, none is written: another kmipd may do thousands a second.
 */
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>

#include "api/keys.h"
#include "base/base64.h"
#include "crypto/digest.h"

#define PLAINTEXT_TEXT_MAX 4096 /* characters of base64 */
#define PLAINTEXT_MAX      3072
#define GENERATED_SIZE     32
#define AAD_MAX            126
#define AAD_TEXT_MAX       255
#define CIPHERTEXT_MAX     32768 /* characters of base64 */
#define BLOB_MAX           (PLAINTEXT_MAX + SHA256_SIZE + WRAPPED_OVERHEAD_MAX)
#define FORM_VERSION       "4.0.0"

/* In the place of an adapter. */
static const struct uuid wraps = {{0x6F, 0x0A, 0x93, 0x1D, 0x58, 0xC4, 0x42, 0x7B, 0xA3, 0x19, 0xE7,
                                   0x2C, 0x90, 0x4D, 0xB6, 0x53}};

/* Every action has one: what it is given, and what it makes. */
struct work {
    struct keymanager *keymanager;
    struct wrap_binding binding;
    uint8_t aad[SHA256_SIZE];
    uint8_t *blob; /* that came, in its own memory */
    size_t blob_size;
    uint32_t version; /* that the blob says it is under; authenticated when it is opened */
    struct buffer made;
};

/* ---- Additional authenticated data ---- */

static bool refuse_field(struct api_call *call, const char *field, const char *text)
{
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", field, "The field `%s` must be: %s", field,
                  text);
    return false;
}

/* Each text with its length before it, so that no two lists have the same digest. */
static enum status digest_aad(const json_t *aad, uint8_t ret_digest[static SHA256_SIZE])
{
    uint8_t lengths[AAD_MAX][2];
    struct bytes pieces[2 * AAD_MAX];
    size_t count = json_array_size(aad);
    for (size_t i = 0; i < count; i++) {
        const json_t *text = json_array_get(aad, i);
        size_t length = json_string_length(text);
        lengths[i][0] = (uint8_t)(length >> 8);
        lengths[i][1] = (uint8_t)length;
        pieces[2 * i] = bytes_of(lengths[i], sizeof(lengths[i]));
        pieces[2 * i + 1] = bytes_of(json_string_value(text), length);
    }
    return digest_sha256_pieces(pieces, 2 * count, ret_digest);
}

/* Characters, as Key Protect counts them; the bytes have their own bound in the body's. */
static bool is_aad(const json_t *text)
{
    if (!json_is_string(text) || json_string_length(text) > 4 * AAD_TEXT_MAX)
        return false;
    size_t characters = 0;
    const char *bytes = json_string_value(text);
    for (size_t i = 0; i < json_string_length(text); i++)
        characters += ((uint8_t)bytes[i] & 0xC0) != 0x80;
    return characters <= AAD_TEXT_MAX;
}

static bool read_aad(struct api_call *call, struct work *work)
{
    const json_t *aad = api_member(call->body, "aad");
    if (json_is_null(aad))
        aad = NULL;
    bool good = aad == NULL || (json_is_array(aad) && json_array_size(aad) <= AAD_MAX);
    for (size_t i = 0; good && i < json_array_size(aad); i++)
        good = is_aad(json_array_get(aad, i));
    if (!good)
        return refuse_field(call, "aad", "at most 126 texts of at most 255 characters");
    enum status status = digest_aad(aad, work->aad);
    if (status != STATUS_OK)
        api_fail_status(call, status, NULL);
    return status == STATUS_OK;
}

/* ---- The beginning and the end ---- */

static bool begin(struct api_call *call, const struct kms_key *key, struct work *work)
{
    *work = (struct work){.binding = {.adapter = wraps, .root_key = key->id}};
    buffer_init(&work->made, BLOB_MAX);
    if (call->body != NULL && !json_is_object(call->body)) {
        api_fail_text(call, API_BAD_BODY_ERR, NULL, NULL, "The body must be a JSON object");
        return false;
    }
    work->keymanager = keys_keymanager(call);
    return work->keymanager != NULL && read_aad(call, work);
}

static void end(struct work *work)
{
    free(work->blob);
    buffer_free(&work->made);
}

/* What the key manager has refused. */
static void answer_failure(struct api_call *call, enum status status)
{
    if (status == STATUS_UNWRAP_FAILED)
        api_fail(call, API_UNPROCESSABLE_CIPHERTEXT_ERR, "field", "ciphertext");
    else
        api_fail_status(call, status, NULL);
}

/* ---- The outer form ---- */

/* NULL without memory. */
static json_t *write_ciphertext(struct bytes blob, const struct uuid *version)
{
    struct buffer form;
    char handle[UUID_TEXT_LENGTH + 1];
    json_t *text = NULL;
    uuid_text(version, handle);
    buffer_init(&form, 2 * CIPHERTEXT_MAX);
    buffer_append_text(&form, "{\"ciphertext\":\"");
    base64_encode(BASE64_STANDARD, blob, &form);
    buffer_append_format(
        &form, "\",\"iv\":\"\",\"version\":\"" FORM_VERSION "\",\"handle\":\"%s\"}", handle);
    if (buffer_status(&form) == STATUS_OK)
        text = api_json_base64(buffer_bytes(&form));
    buffer_free(&form);
    return text;
}

/* Decodes into fresh memory, which the caller frees. NULL: it is not that, or no memory. */
static uint8_t *decode(const char *text, size_t length, size_t *ret_size)
{
    struct bytes encoded = bytes_of(text, length);
    size_t size = base64_decoded_size(BASE64_STANDARD, encoded);
    uint8_t *bytes = malloc(size + 1);
    if (bytes == NULL || !base64_decode(BASE64_STANDARD, encoded, bytes)) {
        free(bytes);
        return NULL;
    }
    *ret_size = size;
    return bytes;
}

static bool read_form(const json_t *ciphertext, struct work *work)
{
    size_t size = 0;
    uint8_t *form = decode(json_string_value(ciphertext), json_string_length(ciphertext), &size);
    json_t *value = form == NULL ? NULL : json_loadb((const char *)form, size, 0, NULL);
    const json_t *blob = json_object_get(value, "ciphertext");
    if (json_is_string(blob))
        work->blob = decode(json_string_value(blob), json_string_length(blob), &work->blob_size);
    json_decref(value);
    free(form);
    return work->blob != NULL;
}

static struct wrapped blob_of(const struct work *work)
{
    return (struct wrapped){bytes_of(work->blob, work->blob_size)};
}

/* The blob of the request, as far as it says for itself that it is of this root key. */
static bool read_ciphertext(struct api_call *call, struct work *work)
{
    const json_t *ciphertext = api_member(call->body, "ciphertext");
    struct wrapped_origin origin;
    if (call->body == NULL) {
        api_fail(call, API_NO_BODY_ERR, NULL, NULL);
        return false;
    }
    if (!json_is_string(ciphertext) || json_string_length(ciphertext) == 0 ||
        json_string_length(ciphertext) > CIPHERTEXT_MAX)
        return refuse_field(call, "ciphertext",
                            "the original base64 encoded ciphertext from the wrap operation");
    if (!read_form(ciphertext, work) || wrapped_origin(blob_of(work), &origin) != STATUS_OK ||
        origin.code != call->context->local ||
        !uuid_equal(&origin.binding.root_key, &work->binding.root_key)) {
        api_fail(call, API_UNPROCESSABLE_CIPHERTEXT_ERR, "field", "ciphertext");
        return false;
    }
    work->version = origin.version;
    return true;
}

/* ---- Wrapping ---- */

/* {"id":"..."} */
static json_t *version_json(const struct uuid *id)
{
    json_t *object = json_object();
    (void)keys_set(&object, "id", api_json_uuid(id));
    return object;
}

/* The version that a blob just made is under: one that came with a rotation this moment may not be
 * in the row yet, and is then read. */
static enum status version_of(struct api_call *call, const struct kms_key *key, struct bytes blob,
                              struct uuid *ret_id)
{
    struct wrapped_origin origin;
    enum status status = wrapped_origin((struct wrapped){blob}, &origin);
    if (status == STATUS_OK)
        status = kms_version_by_number(call->context->kms, key, origin.version, ret_id);
    if (status != STATUS_NOT_FOUND)
        return status;
    *ret_id = key->version;
    return STATUS_OK;
}

static enum status seal(struct work *work, const struct secret *plaintext)
{
    struct secret sealed = {0};
    enum status status = secret_allocate(&sealed, SHA256_SIZE + plaintext->size);
    if (status != STATUS_OK)
        return status;
    memcpy(sealed.data, work->aad, SHA256_SIZE);
    memcpy(sealed.data + SHA256_SIZE, plaintext->data, plaintext->size);
    status = keymanager_wrap(work->keymanager, &work->binding, &sealed, &work->made);
    secret_free(&sealed);
    return status;
}

/* {"ciphertext":...,"keyVersion":...} of what was made. */
static enum status describe(struct api_call *call, const struct kms_key *key,
                            const struct work *work, json_t **ret_object)
{
    struct uuid version;
    enum status status = version_of(call, key, buffer_bytes(&work->made), &version);
    if (status != STATUS_OK)
        return status;
    json_t *object = json_object();
    (void)keys_set(&object, "ciphertext", write_ciphertext(buffer_bytes(&work->made), &version));
    (void)keys_set(&object, "keyVersion", version_json(&version));
    *ret_object = object;
    return object == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static void wrap(struct api_call *call, const struct kms_key *key, struct work *work,
                 const struct secret *plaintext, bool generated)
{
    json_t *object = NULL;
    enum status status = seal(work, plaintext);
    if (status == STATUS_OK)
        status = describe(call, key, work, &object);
    if (status != STATUS_OK)
        answer_failure(call, status);
    else if (generated)
        keys_reply_secret(call, 200, "key_action", object, "plaintext", plaintext, false);
    else
        api_reply_value(call, 200, "key_action", object);
}

/* What is to be wrapped, or 32 random bytes. */
static bool read_plaintext(struct api_call *call, struct secret *plaintext, bool *ret_generated)
{
    bool present = false;
    const json_t *text = api_member(call->body, "plaintext");
    if (json_string_length(text) > PLAINTEXT_TEXT_MAX)
        return refuse_field(call, "plaintext", "at most 4096 characters of base64");
    if (call->body != NULL &&
        !api_member_secret(call, call->body, "plaintext", PLAINTEXT_MAX, plaintext, &present))
        return false;
    *ret_generated = !present;
    enum status status = present ? STATUS_OK : secret_random(plaintext, GENERATED_SIZE);
    if (status != STATUS_OK)
        api_fail_status(call, status, NULL);
    return status == STATUS_OK;
}

void keys_wrap(struct api_call *call, struct kms_key *key)
{
    struct work work;
    struct secret plaintext = {0};
    bool generated = false;
    if (begin(call, key, &work) && read_plaintext(call, &plaintext, &generated))
        wrap(call, key, &work, &plaintext, generated);
    secret_free(&plaintext);
    end(&work);
}

/* ---- Unwrapping ---- */

/* Opens the blob; *ret_plaintext is without the digest of the AAD, which was compared. */
static bool open_blob(struct api_call *call, struct work *work, struct secret *ret_plaintext)
{
    struct secret sealed = {0};
    enum status status =
        keymanager_unwrap(work->keymanager, &work->binding, blob_of(work), &sealed, &work->made);
    if (status == STATUS_OK && sealed.size < SHA256_SIZE)
        status = STATUS_UNWRAP_FAILED;
    if (status == STATUS_OK && CRYPTO_memcmp(sealed.data, work->aad, SHA256_SIZE) != 0) {
        secret_free(&sealed);
        return refuse_field(call, "ciphertext",
                            "the original base64 encoded ciphertext from the wrap operation");
    }
    if (status == STATUS_OK && sealed.size > SHA256_SIZE)
        status = secret_copy(ret_plaintext,
                             bytes_of(sealed.data + SHA256_SIZE, sealed.size - SHA256_SIZE));
    secret_free(&sealed);
    if (status != STATUS_OK)
        answer_failure(call, status);
    return status == STATUS_OK;
}

/* Brings the blob under the newest version if it is not, unless that came with the unwrap. */
static enum status renew(const struct kms_key *key, struct work *work)
{
    if (work->version == key->version_number || work->made.size > 0)
        return STATUS_OK;
    return keymanager_rewrap(work->keymanager, &work->binding, blob_of(work), &work->made);
}

/* `keyVersion` is what the blob was under, and `rewrappedKeyVersion` what it is under now. */
static enum status describe_both(struct api_call *call, const struct kms_key *key,
                                 const struct work *work, json_t **ret_object)
{
    struct uuid former;
    struct uuid version;
    enum status status = kms_version_by_number(call->context->kms, key, work->version, &former);
    if (status == STATUS_NOT_FOUND) {
        former = key->version;
        status = STATUS_OK;
    }
    json_t *object = json_object();
    if (status == STATUS_OK && work->made.size > 0)
        status = version_of(call, key, buffer_bytes(&work->made), &version);
    if (status == STATUS_OK && work->made.size > 0) {
        (void)keys_set(&object, "ciphertext",
                       write_ciphertext(buffer_bytes(&work->made), &version));
        (void)keys_set(&object, "rewrappedKeyVersion", version_json(&version));
    }
    (void)keys_set(&object, "keyVersion", version_json(&former));
    if (status == STATUS_OK && object != NULL) {
        *ret_object = object;
        return STATUS_OK;
    }
    json_decref(object);
    return status == STATUS_OK ? STATUS_NO_MEMORY : status;
}

static void unwrap(struct api_call *call, const struct kms_key *key, struct work *work,
                   const struct secret *plaintext)
{
    json_t *object = NULL;
    enum status status = renew(key, work);
    if (status == STATUS_OK)
        status = describe_both(call, key, work, &object);
    if (status != STATUS_OK)
        answer_failure(call, status);
    else
        keys_reply_secret(call, 200, "key_action", object, "plaintext", plaintext, false);
}

void keys_unwrap(struct api_call *call, struct kms_key *key)
{
    struct work work;
    struct secret plaintext = {0};
    if (begin(call, key, &work) && read_ciphertext(call, &work) &&
        open_blob(call, &work, &plaintext))
        unwrap(call, key, &work, &plaintext);
    secret_free(&plaintext);
    end(&work);
}

/* ---- Rewrapping ---- */

/* What was under the newest version already is sealed anew, so that there is an answer. */
static enum status seal_again(struct work *work, const struct secret *plaintext)
{
    return work->made.size > 0 ? STATUS_OK : seal(work, plaintext);
}

void keys_rewrap(struct api_call *call, struct kms_key *key)
{
    struct work work;
    struct secret plaintext = {0};
    json_t *object = NULL;
    if (begin(call, key, &work) && read_ciphertext(call, &work) &&
        open_blob(call, &work, &plaintext)) {
        enum status status = renew(key, &work);
        if (status == STATUS_OK)
            status = seal_again(&work, &plaintext);
        if (status == STATUS_OK)
            status = describe_both(call, key, &work, &object);
        if (status != STATUS_OK)
            answer_failure(call, status);
        else
            api_reply_value(call, 200, "key_action", object);
    }
    secret_free(&plaintext);
    end(&work);
}
