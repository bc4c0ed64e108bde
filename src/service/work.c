/* SPDX-License-Identifier: Apache-2.0 */
#include "service/work.h"

#include <stdlib.h>

#include "base/secret.h"

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

enum status work_pool_open(struct work_pool *pool, struct service *service, struct core *core,
                           size_t count)
{
    *pool = (struct work_pool){.core = core, .service = service, .count = count};
    pool->slab_size = count * WORK_MEMORY;
    pool->slab = locked_allocate(pool->slab_size);
    pool->works = calloc(count, sizeof(*pool->works));
    if (pool->slab == NULL || pool->works == NULL) {
        work_pool_close(pool);
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++)
        init_work(pool, &pool->works[i], pool->slab + i * WORK_MEMORY);
    return STATUS_OK;
}

static bool is_of_slab(const struct work *work)
{
    const struct work_pool *pool = work->pool;
    return work >= pool->works && work < pool->works + pool->count;
}

void work_pool_close(struct work_pool *pool)
{
    for (size_t i = 0; i < pool->count && pool->works != NULL; i++)
        if (pool->works[i].pool != NULL)
            request_free(&pool->works[i].request);
    free(pool->works);
    locked_free(pool->slab, pool->slab_size);
    *pool = (struct work_pool){0};
}

/* Beyond those made beforehand: one of its own, freed after use. */
static struct work *make_extra(struct work_pool *pool)
{
    struct work *work = calloc(1, sizeof(*work));
    uint8_t *memory = locked_allocate(WORK_MEMORY);
    if (work == NULL || memory == NULL) {
        free(work);
        locked_free(memory, WORK_MEMORY);
        return NULL;
    }
    init_work(pool, work, memory);
    pool->free = work->next;
    return work;
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
        return use_memory(work, frame, frame.size + WORK_MEMORY);
    memcpy(work->memory, frame.data, frame.size);
    work->frame = bytes_of(work->memory, frame.size);
    request_set_reply(&work->request, work->memory + frame.size, WORK_MEMORY - frame.size);
    return true;
}

struct work *work_take(struct work_pool *pool, struct bytes frame)
{
    struct work *work = pool->free;
    if (work != NULL)
        pool->free = work->next;
    else
        work = make_extra(pool);
    if (work == NULL)
        return NULL;
    work->attempts = 0;
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
    request_reset(&work->request);
    return_memory(work);
    if (is_of_slab(work)) {
        work->next = pool->free;
        pool->free = work;
        return;
    }
    request_free(&work->request);
    locked_free(work->own_memory, WORK_MEMORY);
    free(work);
}

bool work_grow_reply(struct work *work, size_t maximum)
{
    size_t reply = work->memory_size - work->frame.size;
    if (reply >= maximum)
        return false;
    size_t larger = reply * 4 < maximum ? reply * 4 : maximum;
    /* request_reset() wipes the old answer before its memory goes. */
    request_reset(&work->request);
    return use_memory(work, work->frame, work->frame.size + larger);
}
