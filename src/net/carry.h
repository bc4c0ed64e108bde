/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that a connection keeps from one event to the next: the beginning of a frame, requests
 * behind the one in flight, an answer that the socket did not take. They may hold plaintext keys,
 * so they lie in locked memory as long as the loop's share of that lasts (a client that opens many
 * frames must not use up what the process may lock), and are wiped in any case.
 */
#ifndef KMIPD_NET_CARRY_H
#define KMIPD_NET_CARRY_H

#include "base/bytes.h"
#include "base/status.h"

/* What the connections of one loop may keep. */
struct carry_pool {
    void *pages;   /* locked pages that are free, each pointing to the next */
    size_t locked; /* bytes of locked memory, free pages included */
    size_t used;   /* bytes handed out */
    size_t maximum;
};

enum carry_kind { CARRY_NONE, CARRY_PAGE, CARRY_LOCKED, CARRY_HEAP };

/* The bytes are data[start..end). Zeroed when empty. */
struct carry {
    uint8_t *data;
    size_t start;
    size_t end;
    size_t capacity;
    enum carry_kind kind;
};

void carry_pool_init(struct carry_pool *pool, size_t maximum);

/* Every carry must have been freed. */
void carry_pool_free(struct carry_pool *pool);

static inline size_t carry_size(const struct carry *carry)
{
    return carry->end - carry->start;
}

/*
 * Room for `size` more bytes behind `end`; the content may move. STATUS_NO_MEMORY when the pool's
 * maximum or the memory is exhausted; the carry is unchanged then.
 */
enum status carry_reserve(struct carry_pool *pool, struct carry *carry, size_t size) MUST_USE;

/* Reserves and copies. */
enum status carry_append(struct carry_pool *pool, struct carry *carry, struct bytes bytes) MUST_USE;

/* Moves all bytes of `from` behind those of `to`; `from` is empty and wiped after, but keeps its
 * memory. Both are unchanged when there is no room. */
enum status carry_move(struct carry_pool *pool, struct carry *to, struct carry *from) MUST_USE;

/* Moves the content to the start of the memory and wipes where it was. */
void carry_compact(struct carry *carry);

/* Wipes the content and keeps the memory. */
void carry_wipe(struct carry *carry);

/* Wipes and gives back; a zeroed carry is fine. It is zeroed after. */
void carry_free(struct carry_pool *pool, struct carry *carry);

#endif
