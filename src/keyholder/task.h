/* SPDX-License-Identifier: Apache-2.0 */
/* One request in the keyholder, kept while it waits. */
#ifndef KMIPD_KEYHOLDER_TASK_H
#define KMIPD_KEYHOLDER_TASK_H

#include "keymanager/keyholder_protocol.h"

struct task {
    struct keyholder_request request; /* its bytes are the task's own */
    struct secret secret;             /* where they are secret */
    uint8_t *bytes;                   /* where they are not */
    struct task *next;
};

/* First in, first out. Zeroed: empty. */
struct task_queue {
    struct task *first;
    struct task *last;
    size_t count;
};

/* A copy of a request with all its bytes. STATUS_NO_MEMORY. End: task_free(). */
enum status task_make(const struct keyholder_request *request, struct task **ret_task) MUST_USE;
/* Wipes and frees. */
void task_free(struct task *task);

void task_queue_put(struct task_queue *queue, struct task *task);
/* NULL: it is empty. */
struct task *task_queue_take(struct task_queue *queue);
void task_queue_free(struct task_queue *queue);

#endif
