/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sealing_config.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/prompt.h"
#include "keymanager/sealed_file.h"

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

static const char *key_file_path(const struct config *config, const struct state *state)
{
    return config->keys_sealing_file[0] != '\0' ? config->keys_sealing_file
                                                : state_path(state, STATE_SEALING_KEY);
}

/* What a configuration says, with the passphrase where it is one. */
struct choice {
    struct sealing sealing;
    struct secret passphrase;
};

/* `is_new`: a passphrase that a person types is asked for twice. */
static enum status choose(const struct config *config, const struct state *state, bool is_new,
                          struct choice *choice, struct error *error)
{
    choice->sealing = (struct sealing){SEALING_PASSPHRASE, NULL, &choice->passphrase};
    choice->passphrase = (struct secret){0};
    switch (config->keys_sealing) {
    case CONFIG_SEALING_CREDENTIAL:
        choice->sealing = (struct sealing){SEALING_CREDENTIAL, config->keys_sealing_credential, NULL};
        return STATUS_OK;
    case CONFIG_SEALING_PASSPHRASE_FILE:
        return read_passphrase_file(config->keys_sealing_file, &choice->passphrase, error);
    case CONFIG_SEALING_PROMPT:
        return ask_passphrase(is_new, &choice->passphrase, error);
    default: /* key-file; config.h knows no other word of this key */
        choice->sealing = (struct sealing){SEALING_KEY_FILE, key_file_path(config, state), NULL};
        return STATUS_OK;
    }
}

enum status sealing_open(const struct config *config, const struct state *state,
                         struct keymanager **ret_keymanager, struct error *error)
{
    const char *path = state_path(state, STATE_ROOT_KEYS);
    struct choice choice;
    bool is_new = !state->complete && !file_exists(path);
    enum status status = choose(config, state, is_new, &choice, error);
    if (status == STATUS_OK)
        status = sealed_file_open(path, &choice.sealing, !state->complete, ret_keymanager, error);
    secret_free(&choice.passphrase);
    return status;
}

static enum status remove_previous(const struct state *state, struct error *error)
{
    char path[PATH_MAX + 16];
    (void)snprintf(path, sizeof(path), "%s.previous", state_path(state, STATE_ROOT_KEYS));
    if (unlink(path) == 0 || errno == ENOENT)
        return STATUS_OK;
    return error_set_errno(error, STATUS_IO, errno,
                           "the root keys are sealed anew, but %.300s, which opens with the former "
                           "secret, cannot be removed",
                           path);
}

enum status sealing_change(const struct config *config, const struct state *state,
                           struct keymanager *keymanager, struct error *error)
{
    struct choice choice;
    enum status status = choose(config, state, true, &choice, error);
    if (status == STATUS_OK)
        status = sealed_file_reseal(keymanager, &choice.sealing, error);
    if (status == STATUS_OK)
        status = remove_previous(state, error);
    secret_free(&choice.passphrase);
    return status;
}
