/* SPDX-License-Identifier: Apache-2.0 */
/* One request in flight, with the locked memory for its bytes and its answer. */
#ifndef KMIPD_SERVICE_WORK_H
#define KMIPD_SERVICE_WORK_H

#include "service/service.h"

#define WORK_MEMORY 4096 /* frame and answer of nearly every request */

struct work_pool;
struct service_lane;

/* What a worker thread does with a work that it is given. */
enum work_task {
    WORK_EXECUTE,       /* execute: the request may take long */
    WORK_AGAIN,         /* execute again: a conflict */
    WORK_SKIP_OPTIONAL, /* execute again without the changes that may be left out */
    WORK_FETCHED,       /* execute again: the keys are there that it has waited for */
    WORK_PREPARED,      /* go on with the commit: its new keys are wrapped, or recorded */
    WORK_REFUSE,        /* answer with `status` instead */
};

struct work {
    struct request request;
    struct store_transaction transaction;
    struct audit_ticket ticket;
    struct net_reply reply;
    struct net_connection *connection;
    struct service *service;
    struct core_session *session;
    struct bytes frame; /* a copy, in `memory` */
    enum work_task task;
    enum status status; /* why it is refused */
    unsigned attempts;
    struct service_lane *lane; /* which it has, or NULL; see service.c */
    bool unrecorded;           /* the audit log has failed: the refusal goes out without a record */
    struct work_pool *pool;
    uint8_t *memory; /* frame, then answer */
    size_t memory_size;
    uint8_t *own_memory; /* the WORK_MEMORY bytes it always has */
    struct work *next;
};

struct work_slab;

/*
 * The works of one loop; taken and given back on its thread. It grows by slabs when more requests
 * are in flight than ever before, and keeps them: locking memory costs more than a request.
 */
struct work_pool {
    struct work *free;
    struct core *core;
    struct service *service;
    struct work_slab *slabs;
};

enum status work_pool_open(struct work_pool *pool, struct service *service, struct core *core,
                           size_t count) MUST_USE;
void work_pool_close(struct work_pool *pool);

/* A work with a copy of `frame`; NULL when no more memory can be locked. */
struct work *work_take(struct work_pool *pool, struct bytes frame);

/* Wipes it and gives it back. On the thread of the pool's loop. */
void work_give_back(struct work *work);

/* Makes room for a longer answer: doubles the memory behind the frame up to `maximum`. False when
 * that is reached or memory cannot be locked. */
bool work_grow_reply(struct work *work, size_t maximum);

#endif
