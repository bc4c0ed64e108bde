/* SPDX-License-Identifier: Apache-2.0 */
#include "net/carry.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

#define PAGE_SIZE  ((size_t)4096)
#define LOCKED_MAX ((size_t)256 * 1024) /* of one loop; RLIMIT_MEMLOCK is 8 MiB on Debian */

void carry_pool_init(struct carry_pool *pool, size_t maximum)
{
    *pool = (struct carry_pool){.maximum = maximum};
}

void carry_pool_free(struct carry_pool *pool)
{
    while (pool->pages != NULL) {
        void *page = pool->pages;
        memcpy(&pool->pages, page, sizeof(pool->pages));
        locked_free(page, PAGE_SIZE);
    }
    pool->locked = 0;
}

static void *lock_more(struct carry_pool *pool, size_t size)
{
    if (size > LOCKED_MAX - pool->locked)
        return NULL;
    void *memory = locked_allocate(size);
    if (memory != NULL)
        pool->locked += size;
    return memory;
}

static void *take_page(struct carry_pool *pool)
{
    void *page = pool->pages;
    if (page == NULL)
        return lock_more(pool, PAGE_SIZE);
    memcpy(&pool->pages, page, sizeof(pool->pages));
    return page;
}

/* A new piece of at least `size` bytes, a page's size or a power of two. */
static enum status allocate(struct carry_pool *pool, size_t size, struct carry *ret_piece)
{
    size_t capacity = PAGE_SIZE;
    while (capacity < size)
        capacity *= 2;
    if (capacity > pool->maximum - pool->used)
        return STATUS_NO_MEMORY;
    struct carry piece = {.capacity = capacity, .kind = CARRY_PAGE};
    if (capacity > PAGE_SIZE)
        piece.kind = CARRY_LOCKED;
    piece.data = capacity > PAGE_SIZE ? lock_more(pool, capacity) : take_page(pool);
    if (piece.data == NULL) {
        piece.kind = CARRY_HEAP;
        piece.data = malloc(capacity);
    }
    if (piece.data == NULL)
        return STATUS_NO_MEMORY;
    pool->used += capacity;
    *ret_piece = piece;
    return STATUS_OK;
}

static void give_back(struct carry_pool *pool, struct carry *carry)
{
    switch (carry->kind) {
    case CARRY_NONE:
        break;
    case CARRY_PAGE:
        memcpy(carry->data, &pool->pages, sizeof(pool->pages));
        pool->pages = carry->data;
        break;
    case CARRY_LOCKED:
        locked_free(carry->data, carry->capacity);
        pool->locked -= carry->capacity;
        break;
    case CARRY_HEAP:
        free(carry->data);
        break;
    }
}

void carry_free(struct carry_pool *pool, struct carry *carry)
{
    if (carry->data == NULL)
        return;
    explicit_bzero(carry->data, carry->end);
    pool->used -= carry->capacity;
    give_back(pool, carry);
    *carry = (struct carry){0};
}

enum status carry_reserve(struct carry_pool *pool, struct carry *carry, size_t size)
{
    if (size <= carry->capacity - carry->end)
        return STATUS_OK;
    struct carry larger;
    enum status status = allocate(pool, carry_size(carry) + size, &larger);
    if (status != STATUS_OK)
        return status;
    larger.end = carry_size(carry);
    if (larger.end > 0)
        memcpy(larger.data, carry->data + carry->start, larger.end);
    carry_free(pool, carry);
    *carry = larger;
    return STATUS_OK;
}

enum status carry_append(struct carry_pool *pool, struct carry *carry, struct bytes bytes)
{
    enum status status = carry_reserve(pool, carry, bytes.size);
    if (status != STATUS_OK || bytes.size == 0)
        return status;
    memcpy(carry->data + carry->end, bytes.data, bytes.size);
    carry->end += bytes.size;
    return STATUS_OK;
}

enum status carry_move(struct carry_pool *pool, struct carry *to, struct carry *from)
{
    const struct bytes bytes = {from->data + from->start, carry_size(from)};
    enum status status = carry_append(pool, to, bytes);
    if (status == STATUS_OK)
        carry_wipe(from);
    return status;
}

void carry_compact(struct carry *carry)
{
    size_t size = carry_size(carry);
    if (carry->start == 0)
        return;
    if (size > 0)
        memmove(carry->data, carry->data + carry->start, size);
    explicit_bzero(carry->data + size, carry->start);
    carry->start = 0;
    carry->end = size;
}

void carry_wipe(struct carry *carry)
{
    if (carry->end > 0)
        explicit_bzero(carry->data, carry->end);
    carry->start = 0;
    carry->end = 0;
}
