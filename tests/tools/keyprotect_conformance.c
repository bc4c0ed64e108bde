/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keyprotect_conformance NAME=VALUE...: puts Key Protect's client, with these options, through what
 * every key manager promises. The service is the caller's.
 */
#include "../unit/keymanager_suite.h"

#include "keymanager/keyprotect.h"
#include "options.h"

static struct keyprotect_options options = {.code = KEYMANAGER_KEY_PROTECT};

static void *start(void)
{
    return &options;
}

static struct keymanager *open_client(void *world)
{
    struct keymanager *keymanager = NULL;
    struct error error = {0};
    if (keyprotect_open(world, &keymanager, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    return keymanager;
}

static void stop(void *world)
{
    (void)world;
}

static const struct suite_provider provider = {
    .name = "key protect",
    .start = start,
    .open = open_client,
    .stop = stop,
    .durable = true,
    .own_identifiers = true,
    .cannot_purge = true,
    .hint = 65, /* the version of the root key, which the service's ciphertext knows better */
    .hint_size = sizeof(struct uuid),
};

int main(int count, char **arguments)
{
    static struct CMUnitTest tests[SUITE_TESTS_MAX];
    size_t test_count = 0;
    struct error error;
    for (int i = 1; i < count; i++)
        if (!tool_option(&options, arguments[i]))
            return 2;
    if (secret_heap_init((size_t)1 << 22, &error) != STATUS_OK)
        return 1;
    keymanager_suite_add(tests, &test_count, &provider);
    return _cmocka_run_group_tests("keyprotect_conformance", tests, test_count, NULL, NULL);
}
