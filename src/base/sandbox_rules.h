/* SPDX-License-Identifier: Apache-2.0 */
/* The two halves of sandbox_enter(). */
#ifndef KMIPD_BASE_SANDBOX_RULES_H
#define KMIPD_BASE_SANDBOX_RULES_H

#include "base/sandbox.h"

/* Landlock; nothing happens where the kernel has none. */
enum status sandbox_restrict_files(const struct sandbox_options *options,
                                   struct error *error) MUST_USE;

/* seccomp. */
enum status sandbox_restrict_calls(const struct sandbox_options *options,
                                   struct error *error) MUST_USE;

#endif
