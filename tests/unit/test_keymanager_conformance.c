/* SPDX-License-Identifier: Apache-2.0 */
/* Every provider of root keys through the same tests. */
#include "keymanager_suite.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "keyholder/keyholder.h"
#include "keymanager/keyholder_client.h"
#include "keymanager/memory.h"
#include "keymanager/sealed_file.h"

/* ---- Memory ---- */

static void *memory_start(void)
{
    return malloc(1);
}

static struct keymanager *memory_open(void *world)
{
    struct keymanager *keymanager = NULL;
    assert_int_equal(keymanager_open_memory(&keymanager), STATUS_OK);
    return keymanager;
}

static const struct suite_provider memory = {
    .name = "memory", .start = memory_start, .open = memory_open, .stop = free};

/* ---- Sealed file ---- */

struct files {
    char directory[64];
    char path[96];
    char key_path[96];
};

static void *files_start(void)
{
    struct files *files = calloc(1, sizeof(*files));
    (void)snprintf(files->directory, sizeof(files->directory), "/tmp/kmipd-test-XXXXXX");
    assert_non_null(mkdtemp(files->directory));
    (void)snprintf(files->path, sizeof(files->path), "%s/keys", files->directory);
    (void)snprintf(files->key_path, sizeof(files->key_path), "%s/seal", files->directory);
    return files;
}

static struct keymanager *sealed_open(void *world)
{
    const struct files *files = world;
    const struct sealing sealing = {.method = SEALING_KEY_FILE, .path = files->key_path};
    struct keymanager *keymanager = NULL;
    struct error error = {0};
    if (sealed_file_open(files->path, &sealing, true, &keymanager, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    return keymanager;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *place)
{
    return remove(path);
}

static void files_stop(void *world)
{
    struct files *files = world;
    (void)nftw(files->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(files);
}

static const struct suite_provider sealed_file = {.name = "sealed-file",
                                                  .start = files_start,
                                                  .open = sealed_open,
                                                  .stop = files_stop,
                                                  .durable = true};

/* ---- The sealed file in a keyholder process: this program, called as kmipd calls itself ---- */

struct held {
    struct files *files;
    struct keyholder *keyholder;
};

static void *held_start(void)
{
    struct held *held = calloc(1, sizeof(*held));
    held->files = files_start();
    return held;
}

static struct keymanager *held_open(void *world)
{
    struct held *held = world;
    const struct keyholder_options options = {
        .settings = {.secret_memory = 1 << 22,
                     .sealed_path = held->files->path,
                     .create = true,
                     .sealing = {.kind = SEALING_SOURCE_KEY_FILE, .path = held->files->key_path}},
    };
    struct error error = {0};
    if (keyholder_open(&options, &held->keyholder, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    return keyholder_keymanager(held->keyholder, KEYMANAGER_SEALED_FILE);
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
    files_stop(held->files);
    free(held);
}

static const struct suite_provider in_keyholder = {.name = "keyholder",
                                                   .start = held_start,
                                                   .open = held_open,
                                                   .close = held_close,
                                                   .stop = held_stop,
                                                   .durable = true};

static const struct suite_provider *const providers[] = {&memory, &sealed_file, &in_keyholder};

int main(int argument_count, char **arguments)
{
    if (argument_count == 2 && strcmp(arguments[1], "keyholder") == 0)
        keyholder_main();
    static struct CMUnitTest tests[ARRAY_COUNT(providers) * SUITE_TESTS_MAX];
    size_t count = 0;
    struct error error;
    if (secret_heap_init((size_t)1 << 22, &error) != STATUS_OK)
        return 1;
    for (size_t i = 0; i < ARRAY_COUNT(providers); i++)
        keymanager_suite_add(tests, &count, providers[i]);
    return _cmocka_run_group_tests("keymanager_conformance", tests, count, NULL, NULL);
}
