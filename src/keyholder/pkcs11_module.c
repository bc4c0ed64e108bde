/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/pkcs11_module.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever may write the library is the keyholder. */
static enum status check_file(const char *path, struct error *error)
{
    struct stat stat_of;
    if (path == NULL || path[0] != '/')
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the PKCS#11 module must be named by an absolute path");
    if (stat(path, &stat_of) != 0)
        return error_set_errno(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, errno,
                               "cannot open the PKCS#11 module %s", path);
    if (!S_ISREG(stat_of.st_mode))
        return error_set(error, STATUS_IO, "the PKCS#11 module %s is not a regular file", path);
    if ((stat_of.st_mode & (S_IWGRP | S_IWOTH)) != 0 ||
        (stat_of.st_uid != 0 && stat_of.st_uid != geteuid()))
        return error_set(error, STATUS_IO,
                         "others than root may write the PKCS#11 module %s: chown root and chmod "
                         "go-w it",
                         path);
    return STATUS_OK;
}

static enum status load(const char *path, struct ck_function_list **ret_functions,
                        struct error *error)
{
    ck_rv_t (*get_function_list)(struct ck_function_list **) = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE, "cannot load the PKCS#11 module: %s",
                         dlerror());
    void *symbol = dlsym(library, "C_GetFunctionList");
    memcpy(&get_function_list, &symbol, sizeof(symbol));
    if (symbol == NULL || get_function_list(ret_functions) != CKR_OK || *ret_functions == NULL)
        return error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                         "%s is not a PKCS#11 module: it has no list of functions", path);
    return STATUS_OK;
}

/* Another part of the process may have started it already: a fact, no failure. */
static ck_rv_t start(struct pkcs11_module *module)
{
    struct ck_c_initialize_args arguments = {.flags = CKF_OS_LOCKING_OK};
    ck_rv_t value = module->functions->C_Initialize(&arguments);
    if (value == CKR_CANT_LOCK || value == CKR_ARGUMENTS_BAD) {
        module->single_thread = true;
        value = module->functions->C_Initialize(NULL);
    }
    module->ours = value == CKR_OK;
    return value == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : value;
}

enum status pkcs11_module_open(const char *path, struct pkcs11_module *ret_module,
                               struct error *error)
{
    struct pkcs11_module module = {0};
    enum status status = check_file(path, error);
    if (status == STATUS_OK)
        status = load(path, &module.functions, error);
    if (status != STATUS_OK)
        return status;
    ck_rv_t value = start(&module);
    if (value != CKR_OK)
        return pkcs11_explain(error, value, "the PKCS#11 module does not start");
    *ret_module = module;
    return STATUS_OK;
}

void pkcs11_module_close(struct pkcs11_module *module)
{
    if (module->ours)
        (void)module->functions->C_Finalize(NULL);
    module->ours = false;
}

ck_rv_t pkcs11_module_restart(struct pkcs11_module *module)
{
    pkcs11_module_close(module);
    return start(module);
}
