/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#define CHUNK_SIZE 16384

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of data */
    alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *arena, size_t maximum)
{
    *arena = (struct arena){.maximum = maximum};
}

static void free_chunk(struct arena *arena, struct arena_chunk *chunk, size_t used)
{
    arena->allocated -= chunk->size;
    explicit_bzero(chunk->data, used);
    free(chunk);
}

void arena_reset(struct arena *arena)
{
    if (arena->chunks == NULL)
        return;
    while (arena->chunks->next != NULL) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free_chunk(arena, chunk, arena->used);
        arena->used = arena->chunks->size;
    }
    explicit_bzero(arena->chunks->data, arena->used);
    arena->used = 0;
}

void arena_free(struct arena *arena)
{
    arena_reset(arena);
    if (arena->chunks != NULL)
        free_chunk(arena, arena->chunks, 0);
    arena->chunks = NULL;
}

static bool add_chunk(struct arena *arena, size_t size)
{
    size_t left = arena->maximum - arena->allocated;
    if (size > left)
        return false;
    size_t chunk_size = size > CHUNK_SIZE ? size : CHUNK_SIZE;
    if (chunk_size > left)
        chunk_size = left;
    struct arena_chunk *chunk = malloc(sizeof(*chunk) + chunk_size);
    if (chunk == NULL)
        return false;
    chunk->next = arena->chunks;
    chunk->size = chunk_size;
    arena->chunks = chunk;
    arena->allocated += chunk_size;
    arena->used = 0;
    return true;
}

void *arena_allocate(struct arena *arena, size_t size)
{
    size_t alignment = alignof(max_align_t);
    if (size > arena->maximum || __builtin_add_overflow(size, alignment - 1, &size))
        return NULL;
    size = size / alignment * alignment;
    if ((arena->chunks == NULL || size > arena->chunks->size - arena->used) &&
        !add_chunk(arena, size))
        return NULL;
    void *place = arena->chunks->data + arena->used;
    arena->used += size;
    return memset(place, 0, size);
}

void *arena_allocate_array(struct arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    return arena_allocate(arena, total);
}

bool arena_copy(struct arena *arena, struct bytes bytes, struct bytes *ret_copy)
{
    uint8_t *copy = arena_allocate(arena, bytes.size);
    if (copy == NULL)
        return false;
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    *ret_copy = bytes_of(copy, bytes.size);
    return true;
}
