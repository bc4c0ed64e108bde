/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sealing_config.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"

static const char *sealing_path(const struct config *config, const struct state *state,
                                enum state_file standard)
{
    return config->keys_sealing_file[0] != '\0' ? config->keys_sealing_file
                                                : state_path(state, standard);
}

struct sealing_source sealing_source_of(const struct config *config, const struct state *state)
{
    switch (config->keys_sealing) {
    case CONFIG_SEALING_CREDENTIAL:
        return (struct sealing_source){.kind = SEALING_SOURCE_CREDENTIAL,
                                       .path = config->keys_sealing_credential};
    case CONFIG_SEALING_PASSPHRASE_FILE:
        return (struct sealing_source){.kind = SEALING_SOURCE_PASSPHRASE_FILE,
                                       .path = config->keys_sealing_file};
    case CONFIG_SEALING_PROMPT:
        return (struct sealing_source){.kind = SEALING_SOURCE_PROMPT};
    case CONFIG_SEALING_TPM:
        return (struct sealing_source){.kind = SEALING_SOURCE_TPM,
                                       .path = sealing_path(config, state, STATE_TPM_SEALING),
                                       .tcti = config->keys_sealing_tpm_tcti,
                                       .pcrs = config->keys_sealing_tpm_pcrs};
    default: /* key-file; config.h knows no other word of this key */
        return (struct sealing_source){.kind = SEALING_SOURCE_KEY_FILE,
                                       .path = sealing_path(config, state, STATE_SEALING_KEY)};
    }
}

enum status sealing_open(const struct config *config, const struct state *state,
                         struct keymanager **ret_keymanager, struct error *error)
{
    const char *path = state_path(state, STATE_ROOT_KEYS);
    struct sealing_source source = sealing_source_of(config, state);
    struct sealing_choice choice;
    bool is_new = !state->complete && !file_exists(path);
    enum status status = sealing_choose(&source, is_new, &choice, error);
    if (status == STATUS_OK)
        status = sealed_file_open(path, &choice.sealing, !state->complete, ret_keymanager, error);
    sealing_choice_free(&choice);
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
    struct sealing_source source = sealing_source_of(config, state);
    struct sealing_choice choice;
    enum status status = sealing_choose(&source, true, &choice, error);
    if (status == STATUS_OK)
        status = sealed_file_reseal(keymanager, &choice.sealing, error);
    if (status == STATUS_OK)
        status = remove_previous(state, error);
    sealing_choice_free(&choice);
    return status;
}
