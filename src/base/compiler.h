/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KMIPD_BASE_COMPILER_H
#define KMIPD_BASE_COMPILER_H

#include <stddef.h>

/* The result must be looked at: ignoring it is a compile error (-Werror). */
#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((__format__(__printf__, text, first)))

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The struct of which `member` is a part, from a pointer to that member. */
#define CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

#endif
