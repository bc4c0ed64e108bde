/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for one request: allocated piece by piece, given back all at once. It has a maximum, so
 * that no request can make the server allocate more than its share. The first chunk is kept
 * between requests. One thread at a time. Not for plaintext keys.
 */
#ifndef KMIPD_BASE_ARENA_H
#define KMIPD_BASE_ARENA_H

#include "base/bytes.h"
#include "base/status.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used;                /* bytes used of the newest chunk */
    size_t allocated;           /* bytes of all chunks */
    size_t maximum;
};

/* An empty arena of at most `maximum` bytes. Allocates nothing yet. End: arena_free(). */
void arena_init(struct arena *arena, size_t maximum);

/* Wipes and frees everything. The arena is empty and usable after. */
void arena_free(struct arena *arena);

/* Forgets everything that was allocated, wipes it, and keeps the first chunk for the next use. */
void arena_reset(struct arena *arena);

/*
 * `size` zeroed bytes aligned for any type, valid until reset or free; NULL when the maximum or
 * the memory is exhausted. A size of 0 gives a valid pointer that must not be read.
 */
void *arena_allocate(struct arena *arena, size_t size);

/* As arena_allocate() for `count` elements of `size` bytes; the product may not overflow. */
void *arena_allocate_array(struct arena *arena, size_t count, size_t size);

/* Copies `bytes` into the arena. On failure returns false and leaves *ret_copy alone. */
bool arena_copy(struct arena *arena, struct bytes bytes, struct bytes *ret_copy) MUST_USE;

#endif
