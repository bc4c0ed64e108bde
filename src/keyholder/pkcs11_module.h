/* SPDX-License-Identifier: Apache-2.0 */
/* A PKCS#11 library, loaded and started. */
#ifndef KMIPD_KEYHOLDER_PKCS11_MODULE_H
#define KMIPD_KEYHOLDER_PKCS11_MODULE_H

#include "keyholder/pkcs11_api.h"

struct pkcs11_module {
    struct ck_function_list *functions;
    bool ours;          /* started here: ended here */
    bool single_thread; /* it does no locking: one thread at a time may be inside */
};

/* Loads and starts it. NOT_FOUND, IO, INVALID_ARGUMENT, KEY_MANAGER_UNAVAILABLE, with a text. */
enum status pkcs11_module_open(const char *path, struct pkcs11_module *ret_module,
                               struct error *error) MUST_USE;

/* Ends it, if it was started here, and starts it again: what helps where a module has lost its
 * device for good. All sessions are gone after; no other thread may be inside. */
ck_rv_t pkcs11_module_restart(struct pkcs11_module *module) MUST_USE;

/* Ends it; it stays loaded. No other thread may be inside. */
void pkcs11_module_close(struct pkcs11_module *module);

#endif
