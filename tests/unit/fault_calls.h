/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of store and key manager that fail when a test wants them to; see faults.h. */
#ifndef KMIPD_TESTS_FAULT_CALLS_H
#define KMIPD_TESTS_FAULT_CALLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* The call number `at` (from 0) fails with `status`, and with `forever` all after it too.
 * STATUS_OK: none. One thread. */
void fault_calls(size_t at, enum status status, bool forever);
bool fault_call_failed(void);

/* What store_health() says; STATUS_OK: the truth. */
void fault_health(enum status status);

#endif
