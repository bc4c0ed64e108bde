/* SPDX-License-Identifier: Apache-2.0 */
#include "service/work.h"

#include <stdlib.h>

#include "base/secret.h"

#define SLAB_WORKS 64 /* that a pool grows by */

struct work_slab {
    struct work_slab *next;
    uint8_t *memory;
    size_t size; /* of memory */
    size_t count;
    struct work works[];
};

static void init_work(struct work_pool *pool, struct work *work, uint8_t *memory)
{
    work->pool = pool;
    work->service = pool->service;
    work->own_memory = work->memory = memory;
    work->memory_size = WORK_MEMORY;
    request_init(&work->request, pool->core, memory, WORK_MEMORY);
    work->next = pool->free;
    pool->free = work;
}

static enum status add_slab(struct work_pool *pool, size_t count)
{
    struct work_slab *slab = calloc(1, sizeof(*slab) + count * sizeof(slab->works[0]));
    if (slab == NULL)
        return STATUS_NO_MEMORY;
    slab->size = count * WORK_MEMORY;
    slab->count = count;
    slab->memory = locked_allocate(slab->size);
    if (slab->memory == NULL) {
        free(slab);
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++)
        init_work(pool, &slab->works[i], slab->memory + i * WORK_MEMORY);
    slab->next = pool->slabs;
    pool->slabs = slab;
    return STATUS_OK;
}

enum status work_pool_open(struct work_pool *pool, struct service *service, struct core *core,
                           size_t count)
{
    *pool = (struct work_pool){.core = core, .service = service};
    return add_slab(pool, count);
}

void work_pool_close(struct work_pool *pool)
{
    while (pool->slabs != NULL) {
        struct work_slab *slab = pool->slabs;
        pool->slabs = slab->next;
        for (size_t i = 0; i < slab->count; i++)
            request_free(&slab->works[i].request);
        locked_free(slab->memory, slab->size);
        free(slab);
    }
    pool->free = NULL;
}

static bool use_memory(struct work *work, struct bytes frame, size_t size)
{
    uint8_t *memory = locked_allocate(size);
    if (memory == NULL)
        return false;
    memcpy(memory, frame.data, frame.size);
    if (work->memory != work->own_memory)
        locked_free(work->memory, work->memory_size);
    work->memory = memory;
    work->memory_size = size;
    work->frame = bytes_of(memory, frame.size);
    request_set_reply(&work->request, memory + frame.size, size - frame.size);
    return true;
}

static bool place_frame(struct work *work, struct bytes frame)
{
    if (frame.size > WORK_MEMORY / 2)
        return use_memory(work, frame, frame.size + 2 * WORK_MEMORY);
    memcpy(work->memory, frame.data, frame.size);
    work->frame = bytes_of(work->memory, frame.size);
    request_set_reply(&work->request, work->memory + frame.size, WORK_MEMORY - frame.size);
    return true;
}

struct work *work_take(struct work_pool *pool, struct bytes frame)
{
    if (pool->free == NULL && add_slab(pool, SLAB_WORKS) != STATUS_OK)
        return NULL;
    struct work *work = pool->free;
    pool->free = work->next;
    work->attempts = 0;
    work->lane = NULL;
    work->unrecorded = false;
    if (place_frame(work, frame))
        return work;
    work_give_back(work);
    return NULL;
}

static void return_memory(struct work *work)
{
    if (work->memory != work->own_memory) {
        locked_free(work->memory, work->memory_size);
        work->memory = work->own_memory;
        work->memory_size = WORK_MEMORY;
    }
    /* The answer was wiped with the request; the frame may have brought a key. */
    if (work->frame.size > 0 && work->frame.size <= WORK_MEMORY)
        explicit_bzero(work->own_memory, work->frame.size);
    work->frame = (struct bytes){0};
}

void work_give_back(struct work *work)
{
    struct work_pool *pool = work->pool;
    request_finish(&work->request);
    return_memory(work);
    work->next = pool->free;
    pool->free = work;
}

bool work_grow_reply(struct work *work, size_t maximum)
{
    size_t reply = work->memory_size - work->frame.size;
    if (reply >= maximum)
        return false;
    size_t larger = reply * 8 < maximum ? reply * 8 : maximum;
    /* request_reset() wipes the old answer before its memory goes. */
    request_reset(&work->request);
    return use_memory(work, work->frame, work->frame.size + larger);
}
