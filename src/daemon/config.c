/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"

#include <stdlib.h>

#include "daemon/config_table.h"

#define OBJECTS_IN_SECURE_MEMORY 16

#define KIB(n)     ((uint64_t)(n) << 10)
#define MIB(n)     ((uint64_t)(n) << 20)
#define SECONDS(n) ((uint64_t)(n) * 1000)
#define HOURS(n)   SECONDS((n) * 3600)
#define DAYS(n)    HOURS((n) * 24)

const struct config_row config_rows[CONFIG_KEY_COUNT] = {
#define KEY(section, name, type, minimum, maximum, default_text, when, text)             \
    {#section, #name,          &config_type_##type, minimum, maximum, default_text,      \
     CONFIG_##when, text, offsetof(struct config, section##_##name), CONFIG_KEY_##section##_##name},
#include "config.def"
};

const struct config_choice config_choices[CONFIG_WORD_COUNT] = {
#define CHOICE(section, name, value, word, text) {CONFIG_KEY_##section##_##name, word, text},
#include "config.def"
};

const struct config_section config_sections[] = {
#define SECTION(name, text) {#name, text},
#include "config.def"
};
const size_t config_section_count = ARRAY_COUNT(config_sections);

struct config_name config_written_name(const char *name)
{
    struct config_name written;
    (void)snprintf(written.text, sizeof(written.text), "%.60s", name);
    for (char *at = written.text; *at != '\0'; at++)
        if (*at == '_')
            *at = '-';
    return written;
}

struct config_name config_key_name(enum config_key key)
{
    struct config_name name;
    (void)snprintf(name.text, sizeof(name.text), "[%.20s] %.70s",
                   config_written_name(config_rows[key].section).text,
                   config_written_name(config_rows[key].name).text);
    return name;
}

static void *field_of(struct config *config, const struct config_row *row)
{
    return (char *)config + row->offset;
}

void config_init(struct config *config)
{
    memset(config, 0, sizeof(*config));
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        const struct config_row *row = &config_rows[i];
        if (!row->type->parse(row, bytes_of_text(row->default_text), field_of(config, row)))
            abort(); /* a wrong row in config.def: every start and every test would stop here */
    }
}

enum status config_set(struct config *config, enum config_key key, struct bytes value,
                       struct error *error)
{
    const struct config_row *row = &config_rows[key];
    if (row->type->parse(row, value, field_of(config, row)))
        return STATUS_OK;
    struct buffer allowed;
    char memory[400] = "";
    buffer_over(&allowed, memory, sizeof(memory) - 1);
    row->type->describe(row, &allowed);
    return error_set(error, STATUS_INVALID_ARGUMENT, "%s = %.*s is not allowed; it is %s",
                     config_key_name(key).text, (int)(value.size < 80 ? value.size : 80),
                     (const char *)value.data, memory);
}

/* A service that is named needs all of these. */
static enum status check_key_protect(const char *section, const char *url, const char *iam_url,
                                     const char *instance, const char *api_key_file,
                                     struct error *error)
{
    const struct {
        const char *name;
        const char *value;
    } needed[] = {{"instance", instance}, {"api-key-file", api_key_file}};
    if (url[0] == '\0')
        return STATUS_OK;
    for (size_t i = 0; i < ARRAY_COUNT(needed); i++)
        if (needed[i].value[0] == '\0')
            return error_set(error, STATUS_INVALID_ARGUMENT, "[%s] url needs [%s] %s", section,
                             section, needed[i].name);
    if (strncmp(url, "https://", 8) != 0 || strncmp(iam_url, "https://", 8) != 0)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "[%s] url and iam-url must begin with https://", section);
    return STATUS_OK;
}

/* New adapters need the key manager that is to hold their root keys. */
static enum status check_key_manager(const struct config *config, struct error *error)
{
    const struct {
        enum config_word word;
        const char *section;
        const char *key;
        const char *value;
    } needs[] = {
        {CONFIG_KEYS_PKCS11, "pkcs11", "module", config->pkcs11_module},
        {CONFIG_KEYS_KEY_PROTECT, "key-protect", "url", config->key_protect_url},
        {CONFIG_KEYS_KEY_PROTECT_2, "key-protect-2", "url", config->key_protect_2_url},
    };
    for (size_t i = 0; i < ARRAY_COUNT(needs); i++)
        if (config->keys_key_manager == needs[i].word && needs[i].value[0] == '\0')
            return error_set(error, STATUS_INVALID_ARGUMENT, "[keys] key-manager = %s needs [%s] %s",
                             needs[i].section, needs[i].section, needs[i].key);
    enum status status =
        check_key_protect("key-protect", config->key_protect_url, config->key_protect_iam_url,
                          config->key_protect_instance, config->key_protect_api_key_file, error);
    if (status == STATUS_OK)
        status = check_key_protect("key-protect-2", config->key_protect_2_url,
                                   config->key_protect_2_iam_url, config->key_protect_2_instance,
                                   config->key_protect_2_api_key_file, error);
    return status;
}

enum status config_check(const struct config *config, struct error *error)
{
    if (config->keys_sealing == CONFIG_SEALING_PASSPHRASE_FILE &&
        config->keys_sealing_file[0] == '\0')
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "[keys] sealing = passphrase-file needs [keys] sealing-file: the file that "
                         "has the passphrase in its first line");
    if ((config->server_secure_memory & (config->server_secure_memory - 1)) != 0)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "[server] secure-memory is not a power of two: use 512KiB, 1MiB, 2MiB, ...");
    if (config->limits_object_max > config->server_secure_memory / OBJECTS_IN_SECURE_MEMORY)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "[limits] object-max is more than a %dth of [server] secure-memory, in "
                         "which several objects must find room at one time: raise secure-memory",
                         OBJECTS_IN_SECURE_MEMORY);
    return check_key_manager(config, error);
}

size_t config_differences(const struct config *a, const struct config *b,
                          enum config_key ret_keys[static CONFIG_KEY_COUNT])
{
    size_t count = 0;
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        size_t offset = config_rows[i].offset;
        if (memcmp((const char *)a + offset, (const char *)b + offset, config_rows[i].type->size))
            ret_keys[count++] = (enum config_key)i;
    }
    return count;
}

void config_take_reloadable(struct config *config, const struct config *from)
{
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
        if (config_rows[i].when == CONFIG_RELOAD)
            memcpy((char *)config + config_rows[i].offset,
                   (const char *)from + config_rows[i].offset, config_rows[i].type->size);
}

enum config_when config_key_when(enum config_key key)
{
    return config_rows[key].when;
}

enum log_level config_log_level(const struct config *config)
{
    static const enum log_level levels[CONFIG_WORD_COUNT] = {
        [CONFIG_LOG_CRITICAL] = LOG_LEVEL_CRITICAL, [CONFIG_LOG_ERROR] = LOG_LEVEL_ERROR,
        [CONFIG_LOG_WARNING] = LOG_LEVEL_WARNING,   [CONFIG_LOG_NOTICE] = LOG_LEVEL_NOTICE,
        [CONFIG_LOG_INFO] = LOG_LEVEL_INFO,         [CONFIG_LOG_DEBUG] = LOG_LEVEL_DEBUG,
    };
    return levels[config->server_log_level];
}
