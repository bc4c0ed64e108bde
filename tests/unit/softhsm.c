/* SPDX-License-Identifier: Apache-2.0 */
#include "softhsm.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char *const libraries[] = {
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
};

const char *softhsm_library(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(libraries); i++)
        if (access(libraries[i], R_OK) == 0)
            return libraries[i];
    return NULL;
}

bool softhsm_there(void)
{
    if (softhsm_library() != NULL && access("/usr/bin/softhsm2-util", X_OK) == 0)
        return true;
    (void)fprintf(stderr, "# SKIPPED: SoftHSM is not installed (package softhsm2)\n");
    return false;
}

static bool write_file(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
    if (file >= 0)
        (void)close(file);
    return good;
}

static bool run_util(void)
{
    const char *arguments[] = {"softhsm2-util", "--init-token", "--free",      "--label",
                               SOFTHSM_LABEL,   "--so-pin",     "0815-4711-0", "--pin",
                               SOFTHSM_PIN,     NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int state = -1;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    bool good = posix_spawn(&child, "/usr/bin/softhsm2-util", &actions, NULL,
                            (char *const *)(uintptr_t)arguments, environ) == 0 &&
                waitpid(child, &state, 0) == child && state == 0;
    (void)posix_spawn_file_actions_destroy(&actions);
    return good;
}

void softhsm_choose(const struct softhsm *softhsm)
{
    (void)setenv("SOFTHSM2_CONF", softhsm->configuration, 1);
    (void)setenv("PKCS11_SHIM_MODULE", softhsm_library(), 1);
}

static bool prepare(struct softhsm *softhsm)
{
    char tokens[96];
    char text[256];
    /* In memory where there is such a place: SoftHSM opens all its files again and again. */
    (void)snprintf(softhsm->directory, sizeof(softhsm->directory), "%s/kmipd-test-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(softhsm->directory) == NULL)
        return false;
    (void)snprintf(softhsm->configuration, sizeof(softhsm->configuration), "%s/softhsm2.conf",
                   softhsm->directory);
    (void)snprintf(softhsm->pin_path, sizeof(softhsm->pin_path), "%s/pin", softhsm->directory);
    (void)snprintf(tokens, sizeof(tokens), "%s/tokens", softhsm->directory);
    (void)snprintf(text, sizeof(text),
                   "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n",
                   tokens);
    softhsm_choose(softhsm);
    return mkdir(tokens, 0700) == 0 && write_file(softhsm->configuration, text) &&
           write_file(softhsm->pin_path, SOFTHSM_PIN "\n") && run_util();
}

struct softhsm *softhsm_start(void)
{
    if (!softhsm_there())
        return NULL;
    struct softhsm *softhsm = calloc(1, sizeof(*softhsm));
    if (!prepare(softhsm)) {
        (void)fprintf(stderr, "# cannot make a SoftHSM token\n");
        abort();
    }
    return softhsm;
}

static int remove_one(const char *path, const struct stat *stat_of, int type, struct FTW *place)
{
    (void)stat_of;
    (void)type;
    (void)place;
    return remove(path);
}

void softhsm_stop(struct softhsm *softhsm)
{
    (void)nftw(softhsm->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(softhsm);
}

struct pkcs11_options softhsm_options(const struct softhsm *softhsm)
{
    return (struct pkcs11_options){.module = getenv("KMIPD_PKCS11_SHIM"),
                                   .token = SOFTHSM_LABEL,
                                   .pin = softhsm->pin_path,
                                   .sessions_max = 4};
}

static void *symbol(const char *name)
{
    void *shim = dlopen(getenv("KMIPD_PKCS11_SHIM"), RTLD_NOW | RTLD_LOCAL);
    void *found = shim != NULL ? dlsym(shim, name) : NULL;
    if (found == NULL)
        abort();
    return found;
}

struct pkcs11_shim *softhsm_shim(void)
{
    return symbol("pkcs11_shim");
}

struct ck_function_list *softhsm_functions(void)
{
    struct ck_function_list *functions = NULL;
    ck_rv_t (*get)(struct ck_function_list **) = NULL;
    void *found = symbol("C_GetFunctionList");
    memcpy(&get, &found, sizeof(found));
    if (get(&functions) != CKR_OK)
        abort();
    return functions;
}
