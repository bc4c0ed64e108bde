/* SPDX-License-Identifier: Apache-2.0 */
/* A key manager that keeps its root keys in memory and forgets them when closed. For tests. */
#ifndef KMIPD_KEYMANAGER_MEMORY_H
#define KMIPD_KEYMANAGER_MEMORY_H

#include "keymanager/keymanager.h"

/* STATUS_NO_MEMORY. End: keymanager_close(). */
enum status keymanager_open_memory(struct keymanager **ret_keymanager) MUST_USE;

/* Puts a root key in another state. STATUS_NOT_FOUND. Any thread. */
enum status keymanager_memory_set_state(struct keymanager *keymanager, const struct uuid *root_key,
                                        enum root_key_state state) MUST_USE;

/* From now on every function of the interface answers `status`, until it is STATUS_OK again: how a
 * key manager that does not answer looks. Any thread. */
void keymanager_memory_fail(struct keymanager *keymanager, enum status status);

#endif
