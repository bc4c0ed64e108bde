/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records in a key manager whose object was not committed in the end: deleted by a thread of their
 * own, since that waits for the key manager, and again when it does not answer. What is left at the
 * end of the process, or when too many wait, stays there as a record of no object, which upkeep
 * counts as unknown: it opens nothing that anybody has. Any thread.
 */
#ifndef KMIPD_SERVICE_STRAYS_H
#define KMIPD_SERVICE_STRAYS_H

#include "keymanager/keymanager.h"

struct strays;

enum status strays_open(struct strays **ret_strays) MUST_USE;

/* Deletes what waits, as long as the key managers answer. NULL is fine. */
void strays_close(struct strays *strays);

/* Never waits. */
void strays_add(struct strays *strays, struct keymanager *keymanager, const struct uuid *record);

#endif
