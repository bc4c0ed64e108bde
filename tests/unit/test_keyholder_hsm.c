/* SPDX-License-Identifier: Apache-2.0 */
/* The HSM's key manager in a keyholder process: what test_pkcs11 does in one process, through the
 * socket, and with a module that is confined like the process that loaded it. */
#include "keymanager_suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "keyholder/keyholder.h"
#include "keymanager/keyholder_client.h"
#include "softhsm.h"

struct held {
    struct softhsm *softhsm;
    struct keyholder *keyholder;
};

static void *held_start(void)
{
    struct softhsm *softhsm = softhsm_start();
    if (softhsm == NULL)
        return NULL;
    struct held *held = calloc(1, sizeof(*held));
    held->softhsm = softhsm;
    return held;
}

static struct keymanager *held_open(void *world)
{
    struct held *held = world;
    struct pkcs11_options module = softhsm_options(held->softhsm);
    const struct keyholder_options options = {
        .settings = {.secret_memory = 1 << 22,
                     .pkcs11_module = module.module,
                     .pkcs11_token = module.token,
                     .pkcs11_pin = module.pin,
                     .pkcs11_sessions = module.sessions_max},
        .patience = 20000,
    };
    struct error error = {0};
    if (keyholder_open(&options, &held->keyholder, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    assert_null(keyholder_keymanager(held->keyholder, KEYMANAGER_SEALED_FILE));
    return keyholder_keymanager(held->keyholder, KEYMANAGER_PKCS11);
}

static void held_close(void *world, struct keymanager *keymanager)
{
    struct held *held = world;
    keyholder_free(held->keyholder);
    held->keyholder = NULL;
}

static void held_stop(void *world)
{
    struct held *held = world;
    softhsm_stop(held->softhsm);
    free(held);
}

static const struct suite_provider in_keyholder = {.name = "SoftHSM in a keyholder",
                                                   .start = held_start,
                                                   .open = held_open,
                                                   .close = held_close,
                                                   .stop = held_stop,
                                                   .durable = true};

int main(int argument_count, char **arguments)
{
    static struct CMUnitTest tests[SUITE_TESTS_MAX];
    size_t count = 0;
    struct error error;
    if (argument_count == 2 && strcmp(arguments[1], "keyholder") == 0)
        keyholder_main();
    if (secret_heap_init((size_t)1 << 22, &error) != STATUS_OK)
        return 1;
    keymanager_suite_add(tests, &count, &in_keyholder);
    return _cmocka_run_group_tests("keyholder_hsm", tests, count, NULL, NULL);
}
