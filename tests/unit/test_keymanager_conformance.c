/* SPDX-License-Identifier: Apache-2.0 */
/* Every provider of root keys through the same tests. */
#include "keymanager_suite.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

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

static const struct suite_provider *const providers[] = {&memory, &sealed_file};

int main(void)
{
    static struct CMUnitTest tests[ARRAY_COUNT(providers) * SUITE_TESTS_MAX];
    size_t count = 0;
    struct error error;
    if (secret_heap_init((size_t)1 << 22, &error) != STATUS_OK)
        return 1;
    for (size_t i = 0; i < ARRAY_COUNT(providers); i++)
        keymanager_suite_add(tests, &count, providers[i]);
    return _cmocka_run_group_tests("keymanager_conformance", tests, count, NULL, NULL);
}
