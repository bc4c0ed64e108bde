/* SPDX-License-Identifier: Apache-2.0 */
/* Wrapped key material: ciphertext that a key manager made. A type of its own, so that nothing
 * else can be handed to the store by mistake. */
#ifndef KMIPD_CRYPTO_WRAPPED_H
#define KMIPD_CRYPTO_WRAPPED_H

#include "base/bytes.h"

#define WRAPPED_OVERHEAD_MAX 2304 /* a wrapped blob is at most this much longer than the plaintext */

struct wrapped {
    struct bytes blob; /* borrowed; empty: there is no key material (destroyed, or none ever) */
};

#endif
