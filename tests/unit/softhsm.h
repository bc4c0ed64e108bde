/* SPDX-License-Identifier: Apache-2.0 */
/* A SoftHSM token of its own for each test, and a module in front of it that fails when told. */
#ifndef KMIPD_TESTS_SOFTHSM_H
#define KMIPD_TESTS_SOFTHSM_H

#include "pkcs11_shim.h"

#include "keyholder/pkcs11.h"

#define SOFTHSM_LABEL "kmipd test"
#define SOFTHSM_PIN   "4711-0815"

struct softhsm {
    char directory[64];
    char configuration[96];
    char pin_path[96];
};

/* False, and why on standard error, where SoftHSM is not installed. */
bool softhsm_there(void);
/* A new directory with an initialised token and a file with its PIN; SOFTHSM2_CONF names it. NULL
 * where SoftHSM is not installed. */
struct softhsm *softhsm_start(void);
/* Makes it the one that the next module to start finds. */
void softhsm_choose(const struct softhsm *softhsm);
void softhsm_stop(struct softhsm *softhsm);

/* What to open it with: through the shim. */
struct pkcs11_options softhsm_options(const struct softhsm *softhsm);

/* The shim's control, and its functions, for what happens behind the back of who is tested. */
struct pkcs11_shim *softhsm_shim(void);
struct ck_function_list *softhsm_functions(void);

/* The module itself; NULL where it is not installed. */
const char *softhsm_library(void);

#endif
