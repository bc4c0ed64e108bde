/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/pkcs11.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "keyholder/pkcs11_provider.h"
#include "keymanager/envelope.h"
#include "keymanager/sealing.h"

#define PIN_FILE_MAX 1024
#define LABEL_MAX    32

/* ---- Wrapping ---- */

/* What the token authenticates besides, where it can. */
#define DOMAIN      "kmipd envelope key"
#define DOMAIN_SIZE (sizeof(DOMAIN) - 1)

struct associated {
    uint8_t bytes[DOMAIN_SIZE + 4 + 3 * UUID_SIZE];
};

static struct associated associated_with(const struct wrap_binding *binding, uint32_t version)
{
    struct associated associated;
    uint8_t *to = associated.bytes;
    version = htobe32(version);
    memcpy(to, DOMAIN, DOMAIN_SIZE);
    to += DOMAIN_SIZE;
    memcpy(to, &version, sizeof(version));
    to += sizeof(version);
    memcpy(to, binding->root_key.bytes, UUID_SIZE);
    memcpy(to + UUID_SIZE, binding->adapter.bytes, UUID_SIZE);
    memcpy(to + 2 * UUID_SIZE, binding->object.bytes, UUID_SIZE);
    return associated;
}

/* The wrapped envelope key as it stands in a blob: form, tag of the key, the rest. */
struct part {
    uint8_t bytes[PKCS11_WRAPPED_MAX + PKCS11_TAG_SIZE];
    size_t size;
};

static struct part part_of(const struct pkcs11_wrapped *wrapped, const struct pkcs11_tag *tag)
{
    struct part part = {.size = wrapped->size + PKCS11_TAG_SIZE};
    part.bytes[0] = wrapped->bytes[0];
    memcpy(part.bytes + 1, tag->bytes, PKCS11_TAG_SIZE);
    memcpy(part.bytes + 1 + PKCS11_TAG_SIZE, wrapped->bytes + 1, wrapped->size - 1);
    return part;
}

static bool part_read(struct bytes part, struct pkcs11_wrapped *ret_wrapped,
                      struct pkcs11_tag *ret_tag)
{
    if (part.size <= 1 + PKCS11_TAG_SIZE || part.size > PKCS11_WRAPPED_MAX + PKCS11_TAG_SIZE)
        return false;
    ret_wrapped->size = part.size - PKCS11_TAG_SIZE;
    ret_wrapped->bytes[0] = part.data[0];
    memcpy(ret_tag->bytes, part.data + 1, PKCS11_TAG_SIZE);
    memcpy(ret_wrapped->bytes + 1, part.data + 1 + PKCS11_TAG_SIZE, ret_wrapped->size - 1);
    return true;
}

/* One wrap, unwrap or rewrap. */
struct work {
    struct pkcs11 *self;
    const struct wrap_binding *binding;
    enum status status;
    uint32_t version;   /* of the blob that is there, then of the one that is made */
    struct part part;   /* likewise */
    struct secret key;  /* the envelope key */
};

/* A handle that is not valid any more must be looked up before it is used again. */
static ck_rv_t mind_handles(struct work *work, ck_rv_t value)
{
    if (pkcs11_fault(value) == PKCS11_STALE)
        pkcs11_roots_forget(&work->self->roots, &work->binding->root_key);
    return value;
}

static ck_rv_t wrap_newest(const struct pkcs11_session *session, struct work *work)
{
    struct pkcs11_key key;
    struct pkcs11_wrapped wrapped;
    ck_rv_t value = pkcs11_roots_key(&work->self->roots, session, &work->binding->root_key, 0, NULL,
                                     &key, &work->status);
    if (value != CKR_OK || work->status != STATUS_OK)
        return value;
    struct associated associated = associated_with(work->binding, key.version);
    value = pkcs11_wrap(session, &work->self->cipher, key.handle,
                        bytes_of(associated.bytes, sizeof(associated.bytes)), &work->key, &wrapped);
    if (value == CKR_OK) {
        work->version = key.version;
        work->part = part_of(&wrapped, &key.tag);
    }
    return mind_handles(work, value);
}

static ck_rv_t wrap_operation(const struct pkcs11_session *session, void *context)
{
    return wrap_newest(session, context);
}

static ck_rv_t unwrap_operation(const struct pkcs11_session *session, void *context)
{
    struct work *work = context;
    struct pkcs11_key key;
    struct pkcs11_wrapped wrapped;
    struct pkcs11_tag tag;
    work->status = STATUS_UNWRAP_FAILED;
    if (!part_read(bytes_of(work->part.bytes, work->part.size), &wrapped, &tag))
        return CKR_OK;
    ck_rv_t value = pkcs11_roots_key(&work->self->roots, session, &work->binding->root_key,
                                     work->version, &tag, &key, &work->status);
    if (value != CKR_OK || work->status != STATUS_OK)
        return value;
    struct associated associated = associated_with(work->binding, work->version);
    secret_free(&work->key);
    value = pkcs11_unwrap(session, &work->self->cipher, key.handle,
                          bytes_of(associated.bytes, sizeof(associated.bytes)),
                          bytes_of(wrapped.bytes, wrapped.size), &work->key);
    return mind_handles(work, value);
}

static enum status run(struct work *work, pkcs11_operation *operation)
{
    ck_rv_t value = pkcs11_token_run(&work->self->token, operation, work, NULL);
    return value != CKR_OK ? pkcs11_status(value) : work->status;
}

static enum status provider_wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                                 const struct secret *plaintext, struct buffer *ret_wrapped)
{
    struct work work = {.self = pkcs11_of(keymanager), .binding = binding};
    enum status status = envelope_key_make(&work.key);
    if (status == STATUS_OK)
        status = run(&work, wrap_operation);
    const struct envelope envelope = {KEYMANAGER_PKCS11, work.version, *binding,
                                      bytes_of(work.part.bytes, work.part.size)};
    if (status == STATUS_OK)
        status = envelope_seal(&envelope, &work.key, plaintext, ret_wrapped);
    secret_free(&work.key);
    return status == STATUS_UNWRAP_FAILED ? STATUS_WRAP_FAILED : status;
}

static enum status read_blob(struct work *work, struct wrapped wrapped)
{
    struct envelope envelope;
    enum status status = envelope_read(wrapped.blob, work->binding, &envelope);
    if (status != STATUS_OK)
        return status;
    if (envelope.code != KEYMANAGER_PKCS11 || envelope.version == 0 ||
        envelope.wrapped_key.size > sizeof(work->part.bytes))
        return STATUS_UNWRAP_FAILED;
    work->version = envelope.version;
    work->part.size = envelope.wrapped_key.size;
    memcpy(work->part.bytes, envelope.wrapped_key.data, envelope.wrapped_key.size);
    return STATUS_OK;
}

static enum status open_blob(struct work *work, struct wrapped wrapped, struct secret *ret_plaintext)
{
    enum status status = read_blob(work, wrapped);
    if (status == STATUS_OK)
        status = run(work, unwrap_operation);
    return status == STATUS_OK ? envelope_open(wrapped.blob, &work->key, ret_plaintext) : status;
}

static enum status provider_unwrap(struct keymanager *keymanager,
                                   const struct wrap_binding *binding, struct wrapped wrapped,
                                   struct secret *ret_plaintext, struct buffer *ret_rewrapped)
{
    struct work work = {.self = pkcs11_of(keymanager), .binding = binding};
    enum status status = open_blob(&work, wrapped, ret_plaintext);
    secret_free(&work.key);
    return status;
}

static ck_rv_t find_newest(const struct pkcs11_session *session, void *context)
{
    struct work *work = context;
    struct pkcs11_key key;
    ck_rv_t value = pkcs11_roots_key(&work->self->roots, session, &work->binding->root_key, 0, NULL,
                                     &key, &work->status);
    if (value == CKR_OK && work->status == STATUS_OK)
        work->version = key.version;
    return value;
}

static enum status newest_version(struct pkcs11 *self, const struct wrap_binding *binding,
                                  uint32_t *ret_version)
{
    struct work work = {.self = self, .binding = binding};
    enum status status = run(&work, find_newest);
    *ret_version = work.version;
    return status;
}

/* The material is opened too, so that nothing that does not open is brought to a new version. */
static enum status provider_rewrap(struct keymanager *keymanager,
                                   const struct wrap_binding *binding, struct wrapped wrapped,
                                   struct buffer *ret_wrapped)
{
    struct work work = {.self = pkcs11_of(keymanager), .binding = binding};
    struct secret plaintext = {0};
    uint32_t newest = 0;
    enum status status = open_blob(&work, wrapped, &plaintext);
    secret_free(&plaintext);
    if (status == STATUS_OK)
        status = newest_version(work.self, binding, &newest);
    if (status == STATUS_OK && newest != work.version) {
        status = run(&work, wrap_operation);
        if (status == STATUS_OK)
            status = envelope_rewrap(wrapped.blob, work.version,
                                     bytes_of(work.part.bytes, work.part.size), ret_wrapped);
    }
    secret_free(&work.key);
    return status;
}

static enum status provider_is_newest(struct keymanager *keymanager, struct wrapped wrapped,
                                      bool *ret_newest)
{
    struct envelope envelope;
    uint32_t newest;
    enum status status = envelope_read(wrapped.blob, NULL, &envelope);
    if (status == STATUS_OK && envelope.code != KEYMANAGER_PKCS11)
        status = STATUS_UNWRAP_FAILED;
    if (status == STATUS_OK)
        status = newest_version(pkcs11_of(keymanager), &envelope.binding, &newest);
    if (status == STATUS_OK)
        *ret_newest = newest == envelope.version;
    return status;
}

/* ---- State ---- */

struct examination {
    struct pkcs11 *self;
    struct ck_token_info info;
    bool can_make;
    bool logged_in;
    const char *cipher;
};

static ck_rv_t examine(const struct pkcs11_session *session, void *context)
{
    struct examination *found = context;
    struct ck_session_info session_info;
    struct ck_mechanism_info generate;
    ck_rv_t value = session->functions->C_GetTokenInfo(session->slot, &found->info);
    if (value == CKR_OK)
        value = session->functions->C_GetSessionInfo(session->handle, &session_info);
    if (value != CKR_OK)
        return value;
    found->logged_in = (found->info.flags & CKF_LOGIN_REQUIRED) == 0 ||
                       session_info.state == CKS_RW_USER_FUNCTIONS;
    found->cipher = pkcs11_cipher_name(session, &found->self->cipher);
    found->can_make =
        session->functions->C_GetMechanismInfo(session->slot, CKM_AES_KEY_GEN, &generate) == CKR_OK;
    return found->logged_in ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
}

/* The token's texts are padded with blanks. */
static int length_of(const unsigned char *text, int size)
{
    while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\0'))
        size--;
    return size;
}

static enum status provider_check(struct keymanager *keymanager, struct error *error)
{
    struct examination found = {.self = pkcs11_of(keymanager)};
    ck_rv_t value = pkcs11_token_run(&found.self->token, examine, &found, error);
    if (value != CKR_OK)
        return pkcs11_status(value);
    const struct ck_token_info *info = &found.info;
    if (!found.can_make || found.cipher == NULL)
        return error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                         "the token \"%s\" cannot be used: it must make AES keys "
                         "(CKM_AES_KEY_GEN) and have CKM_AES_GCM, CKM_AES_KEY_WRAP or CKM_AES_ECB "
                         "for data",
                         found.self->token.label);
    return error_set(error, STATUS_OK,
                     "token \"%s\" (%.*s %.*s, serial %.*s): logged in, wraps by %s",
                     found.self->token.label, length_of(info->manufacturer_id, 32),
                     info->manufacturer_id, length_of(info->model, 16), info->model,
                     length_of(info->serial_number, 16), info->serial_number,
                     found.cipher);
}

static void provider_close(struct keymanager *keymanager)
{
    struct pkcs11 *self = pkcs11_of(keymanager);
    pkcs11_token_free(&self->token);
    if (self->token.module.functions != NULL)
        pkcs11_module_close(&self->token.module);
    pkcs11_roots_free(&self->roots);
    (void)pthread_mutex_destroy(&self->change);
    free(self);
}

static const struct keymanager_provider provider = {
    .name = "pkcs11",
    .wrap = provider_wrap,
    .unwrap = provider_unwrap,
    .rewrap = provider_rewrap,
    .create_root_key = pkcs11_create_root_key,
    .rotate = pkcs11_rotate,
    .set_state = pkcs11_set_state,
    .delete = pkcs11_delete,
    .restore = pkcs11_restore,
    .purge = pkcs11_purge,
    .root_key_info = pkcs11_root_key_info,
    .root_keys = pkcs11_root_keys,
    .is_newest = provider_is_newest,
    .check = provider_check,
    .close = provider_close,
};

/* ---- Opening ---- */

static size_t first_line(struct bytes text)
{
    size_t size = 0;
    while (size < text.size && text.data[size] != '\n' && text.data[size] != '\r')
        size++;
    return size;
}

static enum status read_pin(const char *name, char **ret_path, struct secret *ret_pin,
                            struct error *error)
{
    struct secret content = {0};
    enum status status = sealing_credential_path(name, ret_path, error);
    if (status != STATUS_OK)
        return status;
    status = file_read_secret(*ret_path, FILE_CREDENTIAL, PIN_FILE_MAX, &content, error);
    if (status != STATUS_OK)
        return status;
    size_t size = first_line(secret_bytes(&content));
    if (size == 0)
        status = error_set(error, STATUS_INVALID_ARGUMENT,
                           "the first line of %s is empty: write the PIN of the token there",
                           *ret_path);
    else if ((status = secret_copy(ret_pin, bytes_of(content.data, size))) != STATUS_OK)
        (void)error_set(error, status, "no locked memory for the PIN of the token");
    secret_free(&content);
    return status;
}

static enum status check_options(const struct pkcs11_options *options, struct error *error)
{
    if (options->token == NULL || options->token[0] == '\0' || strlen(options->token) > LABEL_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the label of the token must have 1 to %d bytes", LABEL_MAX);
    if (options->pin == NULL || options->pin[0] == '\0')
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the file with the PIN of the token is not named");
    if (options->sessions_max == 0 || options->sessions_max > PKCS11_SESSIONS_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "sessions must be 1 to %d",
                         PKCS11_SESSIONS_MAX);
    return STATUS_OK;
}

static struct pkcs11 *pkcs11_new(void)
{
    struct pkcs11 *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return NULL;
    self->keymanager = (struct keymanager){&provider, KEYMANAGER_PKCS11};
    if (pkcs11_roots_init(&self->roots) != STATUS_OK) {
        free(self);
        return NULL;
    }
    if (pthread_mutex_init(&self->change, NULL) == 0)
        return self;
    pkcs11_roots_free(&self->roots);
    free(self);
    return NULL;
}

enum status pkcs11_open(const struct pkcs11_options *options, struct keymanager **ret_keymanager,
                        struct error *error)
{
    struct secret pin = {0};
    char *pin_path = NULL;
    enum status status = check_options(options, error);
    if (status != STATUS_OK)
        return status;
    struct pkcs11 *self = pkcs11_new();
    if (self == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory to open the HSM");
    status = read_pin(options->pin, &pin_path, &pin, error);
    if (status == STATUS_OK)
        status = pkcs11_module_open(options->module, &self->token.module, error);
    if (status == STATUS_OK) {
        status = pkcs11_token_init(&self->token, options->token, pin_path, &pin,
                                   options->sessions_max);
        if (status != STATUS_OK)
            (void)error_set(error, status, "no memory to open the HSM");
    }
    if (status == STATUS_OK) {
        (void)provider_check(&self->keymanager, NULL);
        *ret_keymanager = &self->keymanager;
    } else {
        provider_close(&self->keymanager);
    }
    secret_free(&pin);
    free(pin_path);
    return status;
}
