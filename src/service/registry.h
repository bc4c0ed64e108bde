/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a client certificate belongs to: a copy of the store's adapters and certificates in memory,
 * made anew as soon as the store's generation has changed. A certificate added or deleted counts
 * from the next request on, on open connections too. Any thread.
 */
#ifndef KMIPD_SERVICE_REGISTRY_H
#define KMIPD_SERVICE_REGISTRY_H

#include "core/core.h"

struct registry;

enum status registry_open(struct store *store, struct registry **ret_registry) MUST_USE;
void registry_close(struct registry *registry); /* NULL is fine */

/*
 * Sets the adapter part of `session` by its certificate's fingerprint (NULL: there was none), and
 * *generation to what it was read from. Does nothing while *generation is the store's. A
 * certificate that is nobody's: adapter 0. So it is when the store cannot be read, with the failure
 * in the session: nobody is let in, and nobody is told that he is unknown.
 */
void registry_bind(struct registry *registry, struct store_session *store,
                   const uint8_t *fingerprint, struct core_session *session, uint64_t *generation);

#endif
