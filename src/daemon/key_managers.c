/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/key_managers.h"

#include <stdio.h>

#include "base/log.h"
#include "daemon/sealing_config.h"
#include "keymanager/keyholder_client.h"
#include "keymanager/keyprotect.h"

/* Background jobs in flight at one time: for a process beside us, and for a service far away. */
#define LOCAL_JOBS 64

enum keymanager_code key_managers_default(const struct config *config)
{
    switch (config->keys_key_manager) {
    case CONFIG_KEYS_PKCS11:
        return KEYMANAGER_PKCS11;
    case CONFIG_KEYS_KEY_PROTECT:
        return KEYMANAGER_KEY_PROTECT;
    case CONFIG_KEYS_KEY_PROTECT_2:
        return KEYMANAGER_KEY_PROTECT_2;
    default: /* sealed-file; config.h knows no other word of this key */
        return KEYMANAGER_SEALED_FILE;
    }
}

enum keymanager_code key_managers_local(const struct config *config)
{
    return config->keys_key_manager == CONFIG_KEYS_PKCS11 ? KEYMANAGER_PKCS11
                                                          : KEYMANAGER_SEALED_FILE;
}

/* ---- The two sections of services ---- */

struct service_section {
    enum keymanager_code code;
    struct keyprotect_options options;
    const char *root_key;
    int64_t cache_time;
    bool store_wrapped_keys;
    bool warm;
};

#define SERVICE_SECTION(config, section, number)                              \
    (struct service_section)                                                  \
    {                                                                         \
        .code = (number), .root_key = (config)->section##_root_key,           \
        .cache_time = (int64_t)(config)->section##_cache_time,                \
        .store_wrapped_keys = (config)->section##_store_wrapped_keys,         \
        .warm = (config)->section##_warm,                                     \
        .options = {                                                          \
            .code = (number),                                                 \
            .url = (config)->section##_url,                                   \
            .iam_url = (config)->section##_iam_url,                           \
            .instance = (config)->section##_instance,                         \
            .key_ring = (config)->section##_key_ring,                         \
            .record_key_ring = (config)->section##_wrapped_keys_ring,         \
            .api_key_file = (config)->section##_api_key_file,                 \
            .ca_file = (config)->section##_ca_file,                           \
            .proxy = (config)->section##_proxy,                               \
            .connect_timeout = (int64_t)(config)->section##_connect_timeout,  \
            .job_timeout = (int64_t)(config)->section##_request_timeout,      \
            .connections_max = (uint32_t)(config)->section##_connections,     \
        }                                                                     \
    }

#define SERVICE_SECTIONS 2

/* Those that name no service have an empty URL. */
static void read_sections(const struct config *config,
                          struct service_section ret_sections[static SERVICE_SECTIONS])
{
    ret_sections[0] = SERVICE_SECTION(config, key_protect, KEYMANAGER_KEY_PROTECT);
    ret_sections[1] = SERVICE_SECTION(config, key_protect_2, KEYMANAGER_KEY_PROTECT_2);
}

/* The root key that new adapters in a key manager are to have; false: one of their own. */
static bool configured_root_key(const struct config *config, enum keymanager_code code,
                                struct uuid *ret_root_key)
{
    struct service_section sections[SERVICE_SECTIONS];
    read_sections(config, sections);
    for (size_t i = 0; i < SERVICE_SECTIONS; i++)
        if (sections[i].code == code)
            return uuid_parse(bytes_of_text(sections[i].root_key), ret_root_key);
    return false;
}

void key_managers_core_options(const struct config *config, struct core_options *options)
{
    struct service_section sections[SERVICE_SECTIONS];
    read_sections(config, sections);
    for (size_t code = 0; code <= KEYMANAGER_CODE_MAX; code++)
        options->key_cache_seconds[code] = (unsigned)(config->keys_cache_time / 1000);
    for (size_t i = 0; i < SERVICE_SECTIONS; i++) {
        options->key_cache_seconds[sections[i].code] = (unsigned)(sections[i].cache_time / 1000);
        options->store_wrapped_keys[sections[i].code] = sections[i].store_wrapped_keys;
    }
}

void key_managers_upkeep_options(const struct config *config, struct upkeep_options *ret_options)
{
    struct service_section sections[SERVICE_SECTIONS];
    read_sections(config, sections);
    *ret_options = (struct upkeep_options){0};
    for (size_t code = 0; code <= KEYMANAGER_CODE_MAX; code++)
        ret_options->policies[code] = (struct upkeep_policy){
            .check_interval = (int64_t)config->keys_check_interval,
            .cache_time = (int64_t)config->keys_cache_time,
            .jobs_max = LOCAL_JOBS,
        };
    for (size_t i = 0; i < SERVICE_SECTIONS; i++) {
        struct upkeep_policy *policy = &ret_options->policies[sections[i].code];
        policy->cache_time = sections[i].cache_time;
        policy->store_wrapped_keys = sections[i].store_wrapped_keys;
        policy->warm = sections[i].warm;
        policy->jobs_max = sections[i].options.connections_max;
    }
}

/* ---- Opening ---- */

static enum status open_services(struct daemon *daemon, struct error *error)
{
    struct service_section sections[SERVICE_SECTIONS];
    enum status status = STATUS_OK;
    read_sections(&daemon->config, sections);
    for (size_t i = 0; i < SERVICE_SECTIONS && status == STATUS_OK; i++)
        if (sections[i].options.url[0] != '\0')
            status = keyprotect_open(&sections[i].options,
                                     &daemon->keymanagers.by_code[sections[i].code], error);
    return status;
}

static void log_keyholder(void *context, enum keyholder_event event, const char *text)
{
    (void)context;
    switch (event) {
    case KEYHOLDER_STARTED:
        log_notice("keyholder started: %s", text);
        break;
    case KEYHOLDER_ENDED:
        log_error("keyholder ended: %s", text);
        break;
    case KEYHOLDER_FAILED:
        log_critical("keyholder cannot be started: %s", text);
        break;
    case KEYHOLDER_GONE:
        log_critical("keyholder ended, and only a restart of kmipd brings it back: %s", text);
        break;
    }
}

#define DEFAULT_PIN "kmipd.pin" /* a systemd credential */

static enum status open_keyholder(struct daemon *daemon, struct error *error)
{
    const struct config *config = &daemon->config;
    const struct keyholder_options options = {
        .settings =
            {
                .secret_memory = config->server_secure_memory,
                .unwrap_rate = config->keys_unwrap_rate,
                .unwrap_burst = config->keys_unwrap_burst,
                .user = config->keys_keyholder_user,
                .sealed_path = state_path(&daemon->state, STATE_ROOT_KEYS),
                .create = !daemon->state.complete,
                .sealing = sealing_source_of(config, &daemon->state),
                .pkcs11_module = config->pkcs11_module,
                .pkcs11_token = config->pkcs11_token,
                .pkcs11_pin =
                    config->pkcs11_pin_file[0] != '\0' ? config->pkcs11_pin_file : DEFAULT_PIN,
                .pkcs11_sessions = (uint32_t)config->pkcs11_sessions,
                .network = config->pkcs11_network,
            },
        .event = log_keyholder,
    };
    enum status status = keyholder_open(&options, &daemon->keyholder, error);
    static const enum keymanager_code codes[] = {KEYMANAGER_SEALED_FILE, KEYMANAGER_PKCS11};
    for (size_t i = 0; i < ARRAY_COUNT(codes) && status == STATUS_OK; i++)
        daemon->keymanagers.by_code[codes[i]] = keyholder_keymanager(daemon->keyholder, codes[i]);
    return status;
}

enum status key_managers_open(struct daemon *daemon, struct error *error)
{
    enum status status = open_keyholder(daemon, error);
    return status == STATUS_OK ? open_services(daemon, error) : status;
}

void key_managers_close(struct daemon *daemon)
{
    for (size_t code = 0; code <= KEYMANAGER_CODE_MAX; code++)
        keymanager_close(daemon->keymanagers.by_code[code]);
    daemon->keymanagers = (struct keymanagers){0};
    keyholder_free(daemon->keyholder);
    daemon->keyholder = NULL;
}

enum status key_managers_root_key_for(struct daemon *daemon, enum keymanager_code code,
                                      const char *adapter, struct uuid *ret_root_key,
                                      struct error *error)
{
    char name[91];
    struct root_key_wish wish = {.name = name, .now = clock_now(&daemon->clock)};
    struct keymanager *keymanager = keymanagers_get(&daemon->keymanagers, code);
    if (keymanager == NULL)
        return error_set(error, STATUS_NOT_FOUND,
                         "the key manager %s is not configured here: see [%s] in kmipd.conf(5)",
                         keymanager_code_name(code), keymanager_code_name(code));
    if (configured_root_key(&daemon->config, code, ret_root_key))
        return STATUS_OK;
    (void)snprintf(name, sizeof(name), "kmipd-%.60s", adapter);
    enum status status = uuid_make_random(&wish.id);
    return status == STATUS_OK
               ? keymanager_create_root_key(keymanager, &wish, ret_root_key, error)
               : error_set(error, status, "cannot make an identifier: %s", status_text(status));
}
