/* SPDX-License-Identifier: Apache-2.0 */
/* What every key manager promises (keymanager.h), as tests that any provider can be put through. */
#ifndef KMIPD_TESTS_KEYMANAGER_SUITE_H
#define KMIPD_TESTS_KEYMANAGER_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "keymanager/keymanager.h"

struct suite_provider {
    const char *name;
    /* Something fresh for a test to open, NULL where this machine cannot (the test is skipped). */
    void *(*start)(void);
    /* A key manager on it; with what was made before where `durable`. */
    struct keymanager *(*open)(void *world);
    void (*close)(void *world, struct keymanager *keymanager); /* NULL: keymanager_close() */
    void (*stop)(void *world);
    bool durable;
    bool own_identifiers; /* a wish's identifier is ignored */
    bool cannot_purge;
    bool cannot_import;
    size_t hint, hint_size; /* bytes of a blob that nothing is opened by */
};

#define SUITE_TESTS_MAX 32

/* Appends the suite's tests for a provider, which must outlive them, to an array that has room for
 * SUITE_TESTS_MAX more. The secret heap must be there (4 MiB). */
void keymanager_suite_add(struct CMUnitTest *tests, size_t *count,
                          const struct suite_provider *provider);

#endif
