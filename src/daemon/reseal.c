/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reseal.h"

#include "base/file.h"
#include "base/secret.h"
#include "daemon/sealing_config.h"

static void keep_first(void *context, const char *mistake)
{
    struct error *error = context;
    if (error->text[0] == '\0')
        (void)error_set(error, STATUS_INVALID_ARGUMENT, "%.480s", mistake);
}

static enum status open_both(struct daemon *daemon, struct keymanager **ret_sealed,
                             struct error *error)
{
    /* This process changes the files itself; the next start gives them to the keyholder's user. */
    const struct state_options options = {.keyholder_user = "",
                                          .sealing_file = daemon->config.keys_sealing_file};
    enum status status = secret_heap_init(daemon->config.server_secure_memory, error);
    if (status == STATUS_OK)
        status = state_open(daemon->config.server_state, &options, &daemon->state, error);
    if (status == STATUS_OK && !daemon->state.complete)
        status = error_set(error, STATUS_NOT_FOUND,
                           "there are no root keys in %.200s yet: say in the configuration how "
                           "they are to be sealed, and start kmipd",
                           daemon->state.directory);
    if (status == STATUS_OK)
        status = sealing_open(&daemon->config, &daemon->state, ret_sealed, error);
    const struct audit_options audit = {.directory = state_path(&daemon->state, STATE_AUDIT),
                                        .rotate_bytes = daemon->config.audit_rotate_size,
                                        .keep_files = (unsigned)daemon->config.audit_keep_files};
    return status == STATUS_OK ? audit_open(&audit, &daemon->audit, error) : status;
}

static enum status change(struct daemon *daemon, const struct config *new,
                          struct keymanager *sealed, struct error *error)
{
    enum status status = sealing_change(new, &daemon->state, sealed, error);
    if (status == STATUS_OK && daemon_audit(daemon, "reseal", "") != STATUS_OK)
        status = audit_explain(daemon->audit, error);
    return status;
}

static void say_done(const struct daemon *daemon)
{
    const char *key_file = state_path(&daemon->state, STATE_SEALING_KEY);
    printf("The root keys in %s are sealed anew. Start kmipd with the new configuration.\n",
           daemon->state.directory);
    if (daemon->config.keys_sealing == CONFIG_SEALING_KEY_FILE && file_exists(key_file))
        printf("When it serves, delete %s; copies and backups of the state from before open with "
               "it still.\n",
               key_file);
}

enum exit_code reseal(struct daemon *daemon, struct error *error)
{
    struct config new;
    const struct options from = {.config_path = daemon->options.reseal_path};
    enum exit_code code = options_read_config(&from, &new, keep_first, error);
    if (code != EXIT_GOOD)
        return code;
    daemon->state.lock = -1;
    clock_init_system(&daemon->clock);
    struct keymanager *sealed = NULL;
    enum status status = open_both(daemon, &sealed, error);
    if (status == STATUS_OK)
        status = change(daemon, &new, sealed, error);
    if (status == STATUS_OK)
        say_done(daemon);
    keymanager_close(sealed);
    daemon_stop(daemon);
    return status == STATUS_OK ? EXIT_GOOD : EXIT_FAILED;
}
