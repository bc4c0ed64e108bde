/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/task.h"

#include <stdlib.h>

/* Of all requests only those to wrap and to import have secrets in them, those to unwrap have
 * blobs of any size, which would fill the secret heap. */
static bool has_secret(const struct keyholder_request *request)
{
    return request->message == KEYHOLDER_WRAP || request->material.data != NULL;
}

static struct bytes move(struct bytes from, uint8_t **to)
{
    if (from.data == NULL)
        return from;
    if (from.size > 0)
        memcpy(*to, from.data, from.size);
    struct bytes moved = bytes_of(*to, from.size);
    *to += from.size;
    return moved;
}

static enum status allocate(struct task *task, size_t size, uint8_t **ret_memory)
{
    if (has_secret(&task->request)) {
        enum status status = secret_allocate(&task->secret, size);
        *ret_memory = task->secret.data;
        return status;
    }
    task->bytes = malloc(size > 0 ? size : 1);
    *ret_memory = task->bytes;
    return task->bytes != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status task_make(const struct keyholder_request *request, struct task **ret_task)
{
    uint8_t *memory;
    struct task *task = calloc(1, sizeof(*task));
    if (task == NULL)
        return STATUS_NO_MEMORY;
    task->request = *request;
    size_t size = request->data.size + request->name.size + request->material.size;
    enum status status = allocate(task, size, &memory);
    if (status != STATUS_OK) {
        free(task);
        return status;
    }
    task->request.data = move(request->data, &memory);
    task->request.name = move(request->name, &memory);
    task->request.material = move(request->material, &memory);
    *ret_task = task;
    return STATUS_OK;
}

void task_free(struct task *task)
{
    secret_free(&task->secret);
    free(task->bytes);
    free(task);
}

void task_queue_put(struct task_queue *queue, struct task *task)
{
    task->next = NULL;
    if (queue->last != NULL)
        queue->last->next = task;
    else
        queue->first = task;
    queue->last = task;
    queue->count++;
}

struct task *task_queue_take(struct task_queue *queue)
{
    struct task *task = queue->first;
    if (task == NULL)
        return NULL;
    queue->first = task->next;
    if (queue->first == NULL)
        queue->last = NULL;
    queue->count--;
    return task;
}

void task_queue_free(struct task_queue *queue)
{
    for (struct task *task; (task = task_queue_take(queue)) != NULL;)
        task_free(task);
}
