/* SPDX-License-Identifier: Apache-2.0 */
/* Key material of new objects: what sizes each algorithm has, and what comes with every new
 * object (KMIP 1.4 §4.1, §4.3). */
#ifndef KMIPD_CORE_MATERIAL_H
#define KMIPD_CORE_MATERIAL_H

#include "core/attributes.h"

/* True if keys of this length, in bits as KMIP counts them, exist for the algorithm. */
bool material_length_valid(uint32_t algorithm, int64_t bits);

/* Bytes of material of a key of that length: a DES key of 56 bits takes eight. */
size_t material_bytes(uint32_t algorithm, int64_t bits);

/* The length in bits of a key of so many bytes. */
int64_t material_bits(uint32_t algorithm, size_t bytes);

/* The length that a Create without one gets; 0 if the algorithm has no usual one. */
int64_t material_default_bits(uint32_t algorithm);

/*
 * Completes a new object: dates, Digest of `material`, Fresh; state from its dates; wraps the
 * material; checks that its Names are free. `created`: the server made the key itself.
 */
enum status material_complete(struct request *request, struct object *object,
                              const struct secret *material, bool created) MUST_USE;

/* The parts of material_complete() that Re-key needs apart. */
enum status material_describe(struct request *request, struct object *object,
                              const struct secret *material, bool created) MUST_USE;

#endif
