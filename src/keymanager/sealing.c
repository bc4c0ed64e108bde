/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/sealing.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/hex.h"
#include "keymanager/sealing_tpm.h"

#define KEY_SIZE         32
#define KEY_TEXT_SIZE    (2 * KEY_SIZE)
#define CREDENTIAL_LEAST 32
#define CREDENTIAL_MOST  4096

const char *sealing_method_text(unsigned method)
{
    static const char *const texts[] = {
        [SEALING_KEY_FILE] = "key file",
        [SEALING_CREDENTIAL] = "credential",
        [SEALING_PASSPHRASE] = "passphrase",
        [SEALING_TPM] = "TPM",
    };
    bool known = method >= SEALING_KEY_FILE && method <= SEALING_TPM;
    return known ? texts[method] : "unknown method";
}

/* ---- Key file: 64 hex digits and a newline ---- */

static enum status key_file_make(const char *path, struct error *error)
{
    struct secret key = {0};
    struct secret text = {0};
    int lock = -1;
    enum status status = secret_random(&key, KEY_SIZE);
    if (status == STATUS_OK)
        status = secret_allocate(&text, KEY_TEXT_SIZE + 1);
    if (status != STATUS_OK) {
        (void)error_set(error, status, "cannot make the sealing key for %s: %s", path,
                        status_text(status));
        goto out;
    }
    hex_encode(secret_bytes(&key), (char *)text.data);
    text.data[KEY_TEXT_SIZE] = '\n';
    status = file_lock(path, &lock, error);
    if (status == STATUS_OK)
        status = file_replace(lock, path, secret_bytes(&text), 0600, FILE_MUST_BE_NEW, error);
out:
    if (lock >= 0)
        file_unlock(lock);
    secret_free(&text);
    secret_free(&key);
    return status;
}

static enum status key_file_parse(struct bytes text, const char *path, struct secret *ret_key,
                                  struct error *error)
{
    if (text.size > 0 && text.data[text.size - 1] == '\n')
        text.size--;
    if (text.size > 0 && text.data[text.size - 1] == '\r')
        text.size--;
    struct secret key;
    enum status status = secret_allocate(&key, KEY_SIZE);
    if (status != STATUS_OK)
        return error_set(error, status, "no locked memory for the key of %s", path);
    if (!hex_decode(text, key.data, KEY_SIZE)) {
        secret_free(&key);
        return error_set(error, STATUS_STORE_CORRUPT,
                         "the key file %s does not hold 64 hexadecimal digits on one line", path);
    }
    *ret_key = secret_take(&key);
    return STATUS_OK;
}

static enum status key_file_load(const struct sealing *sealing, bool create,
                                 struct secret *ret_material, struct error *error)
{
    if (create && !file_exists(sealing->path)) {
        enum status status = key_file_make(sealing->path, error);
        if (status != STATUS_OK)
            return status;
    }
    struct secret text;
    enum status status =
        file_read_secret(sealing->path, FILE_PRIVATE, KEY_TEXT_SIZE + 2, &text, error);
    if (status != STATUS_OK)
        return status;
    status = key_file_parse(secret_bytes(&text), sealing->path, ret_material, error);
    secret_free(&text);
    return status;
}

/* ---- Credential ---- */

enum status sealing_credential_path(const char *name, char **ret_path, struct error *error)
{
    const char *directory = strchr(name, '/') != NULL ? NULL : getenv("CREDENTIALS_DIRECTORY");
    if (strchr(name, '/') == NULL && directory == NULL)
        return error_set(error, STATUS_NOT_FOUND,
                         "there is no credential %s: $CREDENTIALS_DIRECTORY is not set; does the "
                         "systemd unit have LoadCredentialEncrypted=%s?",
                         name, name);
    int length = directory == NULL ? asprintf(ret_path, "%s", name)
                                   : asprintf(ret_path, "%s/%s", directory, name);
    return length >= 0 ? STATUS_OK
                       : error_set(error, STATUS_NO_MEMORY, "no memory to read a credential");
}

static enum status credential_load(const struct sealing *sealing, struct secret *ret_material,
                                   struct error *error)
{
    char *path = NULL;
    enum status status = sealing_credential_path(sealing->path, &path, error);
    if (status != STATUS_OK)
        return status;
    struct secret content = {0};
    status = file_read_secret(path, FILE_CREDENTIAL, CREDENTIAL_MOST, &content, error);
    if (status == STATUS_OK && content.size < CREDENTIAL_LEAST)
        status =
            error_set(error, STATUS_INVALID_ARGUMENT,
                      "the credential %s is too short: %d bytes at least", path, CREDENTIAL_LEAST);
    if (status == STATUS_OK)
        *ret_material = secret_take(&content);
    secret_free(&content);
    free(path);
    return status;
}

/* ---- Passphrase ---- */

static enum status passphrase_copy(const struct sealing *sealing, struct secret *ret_material,
                                   struct error *error)
{
    if (sealing->passphrase == NULL || sealing->passphrase->size == 0)
        return error_set(error, STATUS_INVALID_ARGUMENT, "the sealing passphrase is empty");
    enum status status = secret_copy(ret_material, secret_bytes(sealing->passphrase));
    if (status != STATUS_OK)
        return error_set(error, status, "no locked memory for the sealing passphrase");
    return STATUS_OK;
}

enum status sealing_material(const struct sealing *sealing, bool create,
                             struct secret *ret_material, struct error *error)
{
    if (sealing->method == SEALING_PASSPHRASE)
        return passphrase_copy(sealing, ret_material, error);
    if (sealing->path == NULL || sealing->path[0] == '\0')
        return error_set(error, STATUS_INVALID_ARGUMENT, "the path of the %s is missing",
                         sealing_method_text(sealing->method));
    if (sealing->method == SEALING_CREDENTIAL)
        return credential_load(sealing, ret_material, error);
    if (sealing->method == SEALING_TPM)
        return sealing_tpm_material(sealing, create, ret_material, error);
    if (sealing->method == SEALING_KEY_FILE)
        return key_file_load(sealing, create, ret_material, error);
    return error_set(error, STATUS_INVALID_ARGUMENT, "there is no such way of sealing");
}
