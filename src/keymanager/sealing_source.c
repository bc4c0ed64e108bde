/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/sealing_source.h"

#include "base/file.h"
#include "base/prompt.h"

#define PASSPHRASE_MAX 1024
#define PASSPHRASE_MIN 12 /* of a new one that a person types */

static enum status read_passphrase_file(const char *path, struct secret *ret_passphrase,
                                        struct error *error)
{
    struct secret content = {0};
    enum status status =
        file_read_secret(path, FILE_CREDENTIAL, PASSPHRASE_MAX, &content, error);
    if (status != STATUS_OK)
        return status;
    const uint8_t *end = memchr(content.data, '\n', content.size);
    size_t size = end != NULL ? (size_t)(end - content.data) : content.size;
    if (size == 0)
        status = error_set(error, STATUS_INVALID_ARGUMENT,
                           "the first line of %.300s is empty: write the passphrase there", path);
    else
        status = secret_copy(ret_passphrase, bytes_of(content.data, size));
    secret_free(&content);
    return status;
}

static enum status ask_again(const struct secret *first, struct error *error)
{
    struct secret second = {0};
    if (first->size < PASSPHRASE_MIN)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the passphrase has fewer than %d characters: start again with a longer "
                         "one",
                         PASSPHRASE_MIN);
    enum status status = prompt_secret("The same passphrase again: ", PASSPHRASE_MAX, &second, error);
    if (status == STATUS_OK && !secret_equal(first, &second))
        status = error_set(error, STATUS_INVALID_ARGUMENT,
                           "the two passphrases differ: start again");
    secret_free(&second);
    return status;
}

static enum status ask_passphrase(bool is_new, struct secret *ret_passphrase, struct error *error)
{
    enum status status =
        prompt_secret(is_new ? "New passphrase for the root keys (without it no key can ever be "
                               "opened): "
                             : "Passphrase of the root keys: ",
                      PASSPHRASE_MAX, ret_passphrase, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, status,
                         "[keys] sealing = prompt asks on a terminal, and there is none: start "
                         "kmipd on one, or use sealing = credential or passphrase-file");
    if (status == STATUS_OK && is_new)
        status = ask_again(ret_passphrase, error);
    if (status != STATUS_OK)
        secret_free(ret_passphrase);
    return status;
}

enum status sealing_choose(const struct sealing_source *source, bool is_new,
                           struct sealing_choice *ret_choice, struct error *error)
{
    struct sealing_choice *choice = ret_choice;
    *choice = (struct sealing_choice){
        .sealing = {.method = SEALING_PASSPHRASE, .passphrase = &choice->passphrase},
    };
    switch (source->kind) {
    case SEALING_SOURCE_KEY_FILE:
        choice->sealing = (struct sealing){.method = SEALING_KEY_FILE, .path = source->path};
        return STATUS_OK;
    case SEALING_SOURCE_CREDENTIAL:
        choice->sealing = (struct sealing){.method = SEALING_CREDENTIAL, .path = source->path};
        return STATUS_OK;
    case SEALING_SOURCE_TPM:
        choice->sealing = (struct sealing){.method = SEALING_TPM,
                                           .path = source->path,
                                           .tcti = source->tcti,
                                           .pcrs = source->pcrs};
        return STATUS_OK;
    case SEALING_SOURCE_PASSPHRASE_FILE:
        return read_passphrase_file(source->path, &choice->passphrase, error);
    case SEALING_SOURCE_PROMPT:
        return ask_passphrase(is_new, &choice->passphrase, error);
    }
    return error_set(error, STATUS_INVALID_ARGUMENT, "there is no such way of sealing");
}

void sealing_choice_free(struct sealing_choice *choice)
{
    secret_free(&choice->passphrase);
}
