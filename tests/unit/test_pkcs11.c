/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager_suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "softhsm.h"

/* ---- The suite, by each way of wrapping ---- */

static struct keymanager *open_hsm(void *world)
{
    struct keymanager *keymanager = NULL;
    struct error error = {0};
    const struct pkcs11_options options = softhsm_options(world);
    if (pkcs11_open(&options, &keymanager, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    return keymanager;
}

static void *start_gcm(void)
{
    return softhsm_start();
}

static void *start_key_wrap(void)
{
    struct softhsm *softhsm = softhsm_start();
    if (softhsm == NULL)
        return NULL;
    atomic_store(&softhsm_shim()->without_gcm, true);
    atomic_store(&softhsm_shim()->without_import, true);
    return softhsm;
}

static void stop(void *world)
{
    struct pkcs11_shim *shim = softhsm_shim();
    memset(shim, 0, sizeof(*shim));
    softhsm_stop(world);
}

static const struct suite_provider by_gcm = {
    .name = "SoftHSM", .start = start_gcm, .open = open_hsm, .stop = stop, .durable = true};
static const struct suite_provider by_key_wrap = {
    .name = "SoftHSM without GCM and import",
    .start = start_key_wrap,
    .open = open_hsm,
    .stop = stop,
    .durable = true,
};

static int group_set_up(void **state)
{
    (void)state;
    struct error error;
    return secret_heap_init(1 << 22, &error) == STATUS_OK ? 0 : -1;
}

int main(void)
{
    static struct CMUnitTest tests[2 * SUITE_TESTS_MAX];
    size_t count = 0;
    keymanager_suite_add(tests, &count, &by_gcm);
    keymanager_suite_add(tests, &count, &by_key_wrap);
    return _cmocka_run_group_tests("pkcs11", tests, count, group_set_up, NULL);
}
