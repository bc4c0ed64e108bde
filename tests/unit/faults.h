/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that fail when a test wants them to. The linker puts them before the real ones (see
 * meson.build); they are the real ones until a test says otherwise.
 */
#ifndef KMIPD_TESTS_FAULTS_H
#define KMIPD_TESTS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* Of the calling thread: the allocation number `at` (from 0) fails, and with `forever` all after
 * it too. Counts anew. OpenSSL's count as well once faults_take_openssl() was called. */
void faults_allocations(size_t at, bool forever);
void faults_allocations_end(void);
bool faults_allocation_failed(void); /* whether one did, since faults_allocations() */

/* First thing in main(). */
void faults_take_openssl(void);

/* Calls of store and key manager, from core: the one number `at` fails with `status`, and with
 * `forever` all after it too. STATUS_OK: none. */
void faults_calls(size_t at, enum status status, bool forever);
bool faults_call_failed(void);

/* What store_health() says; STATUS_OK: the truth. */
void faults_health(enum status status);

#endif
