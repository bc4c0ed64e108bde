/* SPDX-License-Identifier: Apache-2.0 */
/* The two halves of confine_finish(). */
#ifndef KMIPD_KEYHOLDER_CONFINE_RULES_H
#define KMIPD_KEYHOLDER_CONFINE_RULES_H

#include "keyholder/confine.h"

/* Landlock; nothing happens where the kernel has none. */
enum status confine_restrict_files(const struct confinement *limits, struct error *error) MUST_USE;

/* seccomp. */
enum status confine_restrict_calls(const struct confinement *limits, struct error *error) MUST_USE;

#endif
