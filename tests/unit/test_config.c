/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/config.h"

#define MISTAKES_MAX 16

struct mistakes {
    size_t count;
    char text[MISTAKES_MAX][1500];
};

static void remember(void *context, const char *mistake)
{
    struct mistakes *mistakes = context;
    assert_true(mistakes->count < MISTAKES_MAX);
    (void)snprintf(mistakes->text[mistakes->count++], sizeof(mistakes->text[0]), "%s", mistake);
}

/* Reads `content` as a file over `config`. */
static enum status read_text(struct config *config, const char *content, struct mistakes *mistakes)
{
    char path[] = "/tmp/test_config.XXXXXX";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, content, strlen(content)), strlen(content));
    assert_int_equal(close(descriptor), 0);
    mistakes->count = 0;
    enum status status = config_read(config, path, remember, mistakes);
    assert_int_equal(unlink(path), 0);
    return status;
}

static void assert_set(enum config_key key, const char *value, bool allowed)
{
    struct config config;
    struct error error = {0};
    config_init(&config);
    enum status status = config_set(&config, key, bytes_of_text(value), &error);
    if ((status == STATUS_OK) != allowed)
        fail_msg("%s = '%s': %s", config_key_name(key).text, value, error_text(&error));
    if (allowed)
        return;
    assert_int_equal(status, STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, config_key_name(key).text));
    struct config unchanged;
    config_init(&unchanged);
    assert_memory_equal(&config, &unchanged, sizeof(config));
}

static void test_defaults(void **state)
{
    struct config config;
    config_init(&config);
    assert_string_equal(config.server_state, "./state");
    assert_string_equal(config.network_listen, "127.0.0.1:5696");
    assert_int_equal(config.network_frame_max, 1 << 20);
    assert_int_equal(config.network_idle_timeout, 30 * 60 * 1000);
    assert_int_equal(config.server_certificate_validity, 3650LL * 24 * 3600 * 1000);
    assert_int_equal(config.server_log_level, CONFIG_LOG_INFO);
    assert_int_equal(config.keys_sealing, CONFIG_SEALING_KEY_FILE);
    assert_false(config.network_legacy_ciphers);
    struct error error = {0};
    assert_int_equal(config_check(&config, &error), STATUS_OK);
}

static void test_values(void **state)
{
    static const struct {
        enum config_key key;
        const char *value;
        bool allowed;
    } cases[] = {
        {CONFIG_KEY_network_loops, "0", true},
        {CONFIG_KEY_network_loops, "256", true},
        {CONFIG_KEY_network_loops, "257", false},
        {CONFIG_KEY_network_loops, "-1", false},
        {CONFIG_KEY_network_loops, "", false},
        {CONFIG_KEY_network_loops, "4 threads", false},
        {CONFIG_KEY_network_loops, "18446744073709551617", false}, /* 2^64 + 1 */
        {CONFIG_KEY_network_frame_max, "4KiB", true},
        {CONFIG_KEY_network_frame_max, "4096 B", true},
        {CONFIG_KEY_network_frame_max, "4095B", false},
        {CONFIG_KEY_network_frame_max, "1MB", false},
        {CONFIG_KEY_network_frame_max, "1048576", false}, /* no unit */
        {CONFIG_KEY_network_frame_max, "18014398509481984GiB", false},
        {CONFIG_KEY_network_drain_timeout, "0", true},
        {CONFIG_KEY_network_drain_timeout, "0s", true},
        {CONFIG_KEY_network_drain_timeout, "1500ms", true},
        {CONFIG_KEY_network_drain_timeout, "5 min", true},
        {CONFIG_KEY_network_drain_timeout, "301s", false},
        {CONFIG_KEY_network_drain_timeout, "10", false},
        {CONFIG_KEY_network_listen, "0.0.0.0:5696", true},
        {CONFIG_KEY_network_listen, "[::]:0", true},
        {CONFIG_KEY_network_listen, "[2001:db8::10]:65535", true},
        {CONFIG_KEY_network_listen, "2001:db8::10:5696", false},
        {CONFIG_KEY_network_listen, "[192.0.2.1]:5696", false},
        {CONFIG_KEY_network_listen, "192.0.2.1:65536", false},
        {CONFIG_KEY_network_listen, "192.0.2.1:", false},
        {CONFIG_KEY_network_listen, "192.0.2.1", false},
        {CONFIG_KEY_network_listen, "kms.example:5696", false},
        {CONFIG_KEY_network_listen, "", false},
        {CONFIG_KEY_network_legacy_ciphers, "yes", true},
        {CONFIG_KEY_network_legacy_ciphers, "no", true},
        {CONFIG_KEY_network_legacy_ciphers, "true", false},
        {CONFIG_KEY_keys_sealing, "prompt", true},
        {CONFIG_KEY_keys_sealing, "info", false}, /* a word, but of another key */
        {CONFIG_KEY_keys_sealing_file, "", true},
        {CONFIG_KEY_server_state, "", false},
        {CONFIG_KEY_server_state, "with\ttab", false},
        {CONFIG_KEY_server_names, "kms1.example, 10.0.0.5,2001:db8::1", true},
        {CONFIG_KEY_server_names, "", true},
        {CONFIG_KEY_server_names, "kms 1_x", false},
        {CONFIG_KEY_server_names, "-kms", false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_set(cases[i].key, cases[i].value, cases[i].allowed);
}

static void test_text_limits(void **state)
{
    char path[CONFIG_TEXT_SIZE + 100];
    memset(path, 'a', sizeof(path));
    path[900] = '\0';
    assert_set(CONFIG_KEY_server_state, path, true);
    path[900] = 'a';
    path[901] = '\0';
    assert_set(CONFIG_KEY_server_state, path, false);
    path[901] = 'a';
    path[sizeof(path) - 1] = '\0';
    assert_set(CONFIG_KEY_server_names, path, false);
}

static void test_file(void **state)
{
    struct config config;
    struct mistakes mistakes;
    config_init(&config);
    assert_int_equal(read_text(&config,
                               "# comment\r\n; another\n\n"
                               "[server]\n  state = /srv/kmipd state \r\n"
                               "log-level=debug\nnames = a.example b.example,10.0.0.5\n"
                               "[ network ]\nloops\t=\t3\nlegacy-ciphers = yes", /* no newline */
                               &mistakes),
                     STATUS_OK);
    assert_int_equal(mistakes.count, 0);
    assert_string_equal(config.server_state, "/srv/kmipd state");
    assert_string_equal(config.server_names, "a.example, b.example, 10.0.0.5");
    assert_int_equal(config.server_log_level, CONFIG_LOG_DEBUG);
    assert_int_equal(config.network_loops, 3);
    assert_true(config.network_legacy_ciphers);
}

static void test_mistakes(void **state)
{
    static const struct {
        const char *content;
        const char *line;     /* where the mistake is */
        const char *words[2]; /* what it must say */
    } cases[] = {
        {"[server]\nstat = x\n", ":2: ", {"no key stat in [server]", "state, log-level"}},
        {"[sever]\nstate = x\n", ":1: ", {"no section [sever]", "[server], [network]"}},
        {"state = x\n", ":1: ", {"before the first section", "[server]"}},
        {"[server]\nstate\n", ":2: ", {"neither", "key = value"}},
        {"[network]\nloops = 1\n\nloops = 2\n", ":4: ", {"[network] loops", "line 2"}},
        {"[network]\nloops = 9999\n", ":2: ", {"[network] loops = 9999", "from 0 to 256"}},
        {"[network]\nframe-max = 1KiB\n", ":2: ", {"frame-max", "from 4KiB to 16MiB"}},
        {"[network]\nframe_max = 1MiB\n", ":2: ", {"no key frame_max", "frame-max"}},
        {"[network]\nlisten = kms:1\n", ":2: ", {"[network] listen", "192.0.2.10:5696"}},
        {"[keys]\nsealing = hsm\n", ":2: ", {"[keys] sealing", "key-file, credential"}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct config config;
        struct mistakes mistakes;
        config_init(&config);
        assert_int_equal(read_text(&config, cases[i].content, &mistakes),
                         STATUS_INVALID_ARGUMENT);
        assert_int_equal(mistakes.count, 1);
        assert_ptr_equal(strstr(mistakes.text[0], "/tmp/test_config."), mistakes.text[0]);
        assert_non_null(strstr(mistakes.text[0], cases[i].line));
        assert_non_null(strstr(mistakes.text[0], cases[i].words[0]));
        assert_non_null(strstr(mistakes.text[0], cases[i].words[1]));
        assert_null(strchr(mistakes.text[0], '\n'));
    }
}

static void test_all_mistakes_are_reported(void **state)
{
    struct config config;
    struct mistakes mistakes;
    config_init(&config);
    assert_int_equal(
        read_text(&config, "[server]\na = 1\n[b]\nc = 2\n[network]\nloops = x\n", &mistakes),
        STATUS_INVALID_ARGUMENT);
    assert_int_equal(mistakes.count, 3);
}

static void test_unreadable_file(void **state)
{
    struct config config;
    struct mistakes mistakes = {0};
    config_init(&config);
    assert_int_equal(config_read(&config, "/nonexistent/kmipd.conf", remember, &mistakes),
                     STATUS_IO);
    assert_int_equal(mistakes.count, 1);
    assert_non_null(strstr(mistakes.text[0], "/nonexistent/kmipd.conf"));
    assert_int_equal(config_read(&config, "/", remember, &mistakes), STATUS_IO);
}

static void test_long_line(void **state)
{
    char content[5000];
    struct config config;
    struct mistakes mistakes;
    memset(content, 'x', sizeof(content));
    content[sizeof(content) - 1] = '\0';
    config_init(&config);
    assert_int_equal(read_text(&config, content, &mistakes), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(mistakes.text[0], "longer than"));
}

static void test_check(void **state)
{
    struct config config;
    struct error error = {0};
    config_init(&config);
    config.keys_sealing = CONFIG_SEALING_PASSPHRASE_FILE;
    assert_int_equal(config_check(&config, &error), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "sealing-file"));
    config_init(&config);
    config.server_secure_memory = 3 << 20;
    assert_int_equal(config_check(&config, &error), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "power of two"));
    config_init(&config);
    config.limits_object_max = (1 << 20) / 16;
    assert_int_equal(config_check(&config, &error), STATUS_OK);
    config.limits_object_max++;
    assert_int_equal(config_check(&config, &error), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "secure-memory"));
}

/* What `print` writes, as text to be freed. */
static char *printed(const struct config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    assert_true(config != NULL ? config_print(config, file) : config_print_manual(file));
    assert_int_equal(fclose(file), 0);
    return text;
}

/* A default stands in a comment and must be readable when the comment sign is taken away. */
static void test_printed_defaults_are_read_again(void **state)
{
    struct config config, again;
    struct mistakes mistakes;
    config_init(&config);
    config_init(&again);
    char *text = printed(&config);
    for (char *at = text; (at = strstr(at, "\n#")) != NULL; at++)
        if (at[2] != ' ')
            at[1] = ' ';
    assert_int_equal(read_text(&again, text, &mistakes), STATUS_OK);
    enum config_key keys[CONFIG_KEY_COUNT];
    assert_int_equal(config_differences(&config, &again, keys), 0);
    free(text);
}

static void test_printed_changes_are_read_again(void **state)
{
    struct config config, again;
    struct mistakes mistakes;
    config_init(&config);
    config_init(&again);
    assert_int_equal(read_text(&config,
                               "[server]\nstate = /srv/k\nnames = a, b\nlog-level = error\n"
                               "[network]\nframe-max = 65537B\nidle-timeout = 61s\n"
                               "legacy-ciphers = yes\n",
                               &mistakes),
                     STATUS_OK);
    char *text = printed(&config);
    assert_non_null(strstr(text, "\nframe-max = 65537B\n"));
    assert_int_equal(read_text(&again, text, &mistakes), STATUS_OK);
    enum config_key keys[CONFIG_KEY_COUNT];
    assert_int_equal(config_differences(&config, &again, keys), 0);
    free(text);
}

static void test_differences_and_reload(void **state)
{
    struct config old, new;
    struct mistakes mistakes;
    config_init(&old);
    config_init(&new);
    assert_int_equal(
        read_text(&new, "[server]\nlog-level = debug\n[network]\nloops = 7\n", &mistakes),
        STATUS_OK);
    enum config_key keys[CONFIG_KEY_COUNT];
    assert_int_equal(config_differences(&old, &new, keys), 2);
    assert_int_equal(keys[0], CONFIG_KEY_server_log_level);
    assert_int_equal(config_key_when(keys[0]), CONFIG_RELOAD);
    assert_int_equal(keys[1], CONFIG_KEY_network_loops);
    assert_int_equal(config_key_when(keys[1]), CONFIG_RESTART);
    config_take_reloadable(&old, &new);
    assert_int_equal(old.server_log_level, CONFIG_LOG_DEBUG);
    assert_int_equal(old.network_loops, 0);
}

static void test_manual_has_every_key(void **state)
{
    char *text = printed(NULL);
    assert_ptr_equal(strstr(text, ".\\\" SPDX"), text);
    for (int key = 0; key < CONFIG_KEY_COUNT; key++) {
        char entry[200], *to = entry + sprintf(entry, ".TP\n.B ");
        const char *name = strchr(config_key_name((enum config_key)key).text, ' ') + 1;
        for (; *name != '\0'; name++)
            to += sprintf(to, *name == '-' ? "\\-" : "%c", *name);
        assert_non_null(strstr(text, entry));
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_text_limits),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_all_mistakes_are_reported),
        cmocka_unit_test(test_unreadable_file),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_printed_defaults_are_read_again),
        cmocka_unit_test(test_printed_changes_are_read_again),
        cmocka_unit_test(test_differences_and_reload),
        cmocka_unit_test(test_manual_has_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
