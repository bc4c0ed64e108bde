/* SPDX-License-Identifier: Apache-2.0 */
/* What the keyholder process keeps of its rights when all is open, before it answers anybody. */
#ifndef KMIPD_KEYHOLDER_LIMITS_H
#define KMIPD_KEYHOLDER_LIMITS_H

#include "base/sandbox.h"

struct limits {
    const char *directory; /* the only one where it may read and write files; NULL: none */
    bool module; /* a PKCS#11 module is loaded: nobody knows which files, locks and memory it needs,
                    so files are hardly restricted and more calls are allowed */
    bool network; /* and it speaks over the network */
};

/*
 * sandbox_enter() for that: calls that are not allowed fail with EPERM, since a module may try many
 * and do without. There is no keyholder without a filter. IO with a text.
 */
enum status limits_enter(const struct limits *limits, struct error *error) MUST_USE;

#endif
