/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "keymanager/keyholder_parts.h"

#define SENDS_MAX        3     /* a request that ends the process each time must not do so for ever */
#define BACKGROUND_MAX   64    /* background requests sent and not answered */
#define LONGEST          60000 /* milliseconds, of a request without a deadline */

static void lock(struct transfers *transfers)
{
    (void)pthread_mutex_lock(&transfers->lock);
}

static void unlock(struct transfers *transfers)
{
    (void)pthread_mutex_unlock(&transfers->lock);
}

/* ---- Queues ---- */

static void enqueue(struct transfer_queue *queue, struct transfer *transfer)
{
    transfer->queue = queue;
    transfer->next = NULL;
    transfer->previous = queue->last;
    if (queue->last != NULL)
        queue->last->next = transfer;
    else
        queue->first = transfer;
    queue->last = transfer;
}

static void enqueue_first(struct transfer_queue *queue, struct transfer *transfer)
{
    transfer->queue = queue;
    transfer->previous = NULL;
    transfer->next = queue->first;
    if (queue->first != NULL)
        queue->first->previous = transfer;
    else
        queue->last = transfer;
    queue->first = transfer;
}

static void dequeue(struct transfer *transfer)
{
    struct transfer_queue *queue = transfer->queue;
    if (transfer->previous != NULL)
        transfer->previous->next = transfer->next;
    else
        queue->first = transfer->next;
    if (transfer->next != NULL)
        transfer->next->previous = transfer->previous;
    else
        queue->last = transfer->previous;
    transfer->queue = NULL;
    transfer->next = transfer->previous = NULL;
}

/* ---- The table ---- */

static bool grow(struct transfers *transfers)
{
    uint32_t count = transfers->slot_count == 0 ? 64 : 2 * transfers->slot_count;
    struct transfer_slot *slots = reallocarray(transfers->slots, count, sizeof(*slots));
    if (slots == NULL)
        return false;
    for (uint32_t i = count; i-- > transfers->slot_count;) {
        slots[i] = (struct transfer_slot){.next_free = transfers->first_free};
        transfers->first_free = i + 1;
    }
    transfers->slots = slots;
    transfers->slot_count = count;
    return true;
}

/* Gives it a number. False without memory. */
static bool put_in_table(struct transfers *transfers, struct transfer *transfer)
{
    if (transfers->first_free == 0 && !grow(transfers))
        return false;
    uint32_t place = transfers->first_free - 1;
    struct transfer_slot *slot = &transfers->slots[place];
    transfers->first_free = slot->next_free;
    slot->transfer = transfer;
    slot->uses = (slot->uses + 1) & 0x7FFFFFFF; /* no number is KEYHOLDER_PING */
    transfer->request.number = (uint64_t)slot->uses << 32 | place;
    transfers->count++;
    return true;
}

/* NULL: nobody waits for that number any more. */
static struct transfer *find(const struct transfers *transfers, uint64_t number)
{
    uint32_t place = (uint32_t)number;
    if (place >= transfers->slot_count)
        return NULL;
    const struct transfer_slot *slot = &transfers->slots[place];
    return slot->transfer != NULL && slot->uses == number >> 32 ? slot->transfer : NULL;
}

/* Out of the table, and of its queue. */
static void take_out(struct transfers *transfers, struct transfer *transfer)
{
    uint32_t place = (uint32_t)transfer->request.number;
    struct transfer_slot *slot = &transfers->slots[place];
    if (transfer->queue != NULL)
        dequeue(transfer);
    else if (transfer->request.background)
        transfers->background_sent--;
    slot->transfer = NULL;
    slot->next_free = transfers->first_free;
    transfers->first_free = place + 1;
    transfers->count--;
}

static void end_with(struct transfer *transfer, enum status status)
{
    const struct keyholder_answer answer = {
        .message = transfer->request.message,
        .status = status,
        .text = bytes_of_text(status_text(status)),
    };
    transfer->finish(transfer, &answer);
}

/* Ends a list (by `next`) that nothing else knows of. */
static void end_list(struct transfer *list, enum status status)
{
    while (list != NULL) {
        struct transfer *transfer = list;
        list = transfer->next;
        end_with(transfer, status);
    }
}

/* ---- Sending; the lock is held ---- */

static void wake_thread(const struct transfers *transfers)
{
    uint64_t one = 1;
    (void)!write(transfers->wake, &one, sizeof(one));
}

/* What was sent is wiped: material to wrap may be in it. */
static void put_on_socket(struct transfers *transfers)
{
    struct buffer *out = &transfers->out;
    while (transfers->out_start < out->size && !transfers->full) {
        ssize_t sent = send(transfers->socket, out->data + transfers->out_start,
                            out->size - transfers->out_start, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0)
            transfers->out_start += (size_t)sent;
        else if (errno != EINTR)
            transfers->full = true; /* or broken, which the thread finds out as it reads */
    }
    if (transfers->full)
        wake_thread(transfers);
    if (transfers->out_start == out->size) {
        buffer_reset(out);
        transfers->out_start = 0;
    }
}

static struct transfer *next_to_send(struct transfers *transfers)
{
    if (transfers->foreground.first != NULL)
        return transfers->foreground.first;
    return transfers->background_sent < BACKGROUND_MAX ? transfers->background.first : NULL;
}

static void send_queued(struct transfers *transfers)
{
    struct transfer *transfer;
    while (transfers->socket >= 0 && !transfers->full &&
           (transfer = next_to_send(transfers)) != NULL) {
        if (transfers->out.size + keyholder_request_size(&transfer->request) >
            transfers->out.capacity) {
            put_on_socket(transfers);
            if (transfers->out.size > 0)
                return; /* the rest when there is room */
        }
        /* There is room, and all sizes were looked at when it was made: this does not fail. */
        (void)!keyholder_request_append(&transfers->out, &transfer->request);
        dequeue(transfer);
        transfer->sends++;
        transfers->background_sent += transfer->request.background;
        transfers->active = true;
    }
    if (transfers->socket >= 0)
        put_on_socket(transfers);
}

/* ---- From outside ---- */

static bool take_one(struct transfers *transfers, struct transfer *transfer)
{
    transfer->submitted = clock_monotonic();
    transfer->own_deadline = transfer->request.deadline != 0;
    if (!transfer->own_deadline)
        transfer->request.deadline = transfer->submitted + LONGEST;
    if (!put_in_table(transfers, transfer))
        return false;
    enqueue(transfer->request.background ? &transfers->background : &transfers->foreground,
            transfer);
    return true;
}

void transfers_submit(struct transfers *transfers, struct transfer *list)
{
    lock(transfers);
    bool closed = transfers->closed;
    while (list != NULL && !closed) {
        struct transfer *transfer = list;
        struct transfer *next = transfer->next;
        if (!take_one(transfers, transfer))
            break;
        list = next;
    }
    if (transfers->count > 0 && transfers->socket < 0)
        wake_thread(transfers); /* it looks after deadlines */
    send_queued(transfers);
    unlock(transfers);
    end_list(list, closed ? STATUS_KEY_MANAGER_UNAVAILABLE : STATUS_NO_MEMORY);
}

void transfers_flush(struct transfers *transfers)
{
    lock(transfers);
    transfers->full = false;
    send_queued(transfers);
    unlock(transfers);
}

void transfers_ping(struct transfers *transfers)
{
    const struct keyholder_request ping = {.message = KEYHOLDER_STATUS, .number = KEYHOLDER_PING};
    lock(transfers);
    bool room =
        transfers->out.size + keyholder_request_size(&ping) <= transfers->out.capacity;
    if (transfers->socket >= 0 && room && (transfers->active || transfers->count > 0)) {
        transfers->active = false;
        (void)!keyholder_request_append(&transfers->out, &ping);
        put_on_socket(transfers);
    }
    unlock(transfers);
}

enum status transfers_answer(struct transfers *transfers, const struct keyholder_answer *answer)
{
    lock(transfers);
    transfers->active = true;
    struct transfer *transfer = find(transfers, answer->number);
    bool fits = transfer == NULL || (transfer->queue == NULL &&
                                     transfer->request.message == answer->message);
    if (transfer != NULL && fits && !answer->more) {
        take_out(transfers, transfer);
        if (transfers->background.first != NULL)
            send_queued(transfers); /* this one's answer lets another go */
    }
    unlock(transfers);
    if (transfer != NULL && fits)
        transfer->finish(transfer, answer);
    return fits ? STATUS_OK : STATUS_MALFORMED;
}

/* Which end, of all that there are; those are taken out and linked. */
typedef bool choose_transfer(const struct transfer *transfer, const void *context);

static struct transfer *take_out_chosen(struct transfers *transfers, choose_transfer *choose,
                                        const void *context)
{
    struct transfer *list = NULL;
    for (uint32_t i = 0; i < transfers->slot_count && transfers->count > 0; i++) {
        struct transfer *transfer = transfers->slots[i].transfer;
        if (transfer == NULL || !choose(transfer, context))
            continue;
        take_out(transfers, transfer);
        transfer->next = list;
        list = transfer;
    }
    return list;
}

static bool is_any(const struct transfer *transfer, const void *context)
{
    return true;
}

static bool was_sent_too_often(const struct transfer *transfer, const void *context)
{
    return transfer->queue == NULL && transfer->sends >= SENDS_MAX;
}

struct moment {
    int64_t now;
    bool silent;
    int64_t patience;
};

static bool is_over(const struct transfer *transfer, const void *context)
{
    const struct moment *moment = context;
    return moment->now >= transfer->request.deadline ||
           (!transfer->own_deadline && moment->silent &&
            moment->now - transfer->submitted >= moment->patience);
}

void transfers_expire(struct transfers *transfers, int64_t now, int64_t silent, int64_t patience)
{
    const struct moment moment = {now, now - silent >= patience, patience};
    lock(transfers);
    struct transfer *list = take_out_chosen(transfers, is_over, &moment);
    unlock(transfers);
    end_list(list, STATUS_KEY_MANAGER_UNAVAILABLE);
}

void transfers_end_all(struct transfers *transfers, bool close)
{
    lock(transfers);
    transfers->closed = transfers->closed || close;
    struct transfer *list = take_out_chosen(transfers, is_any, NULL);
    unlock(transfers);
    end_list(list, STATUS_KEY_MANAGER_UNAVAILABLE);
}

static void send_again(struct transfers *transfers)
{
    for (uint32_t i = transfers->slot_count; i-- > 0;) {
        struct transfer *transfer = transfers->slots[i].transfer;
        if (transfer != NULL && transfer->queue == NULL)
            enqueue_first(transfer->request.background ? &transfers->background
                                                       : &transfers->foreground,
                          transfer);
    }
    transfers->background_sent = 0;
}

void transfers_connect(struct transfers *transfers, int socket)
{
    struct transfer *list = NULL;
    lock(transfers);
    transfers->socket = socket;
    transfers->full = false;
    transfers->out_start = 0;
    buffer_reset(&transfers->out);
    if (socket < 0) {
        list = take_out_chosen(transfers, was_sent_too_often, NULL);
        send_again(transfers);
    } else {
        send_queued(transfers);
    }
    unlock(transfers);
    end_list(list, STATUS_KEY_MANAGER_UNAVAILABLE);
}

enum status transfers_init(struct transfers *transfers)
{
    *transfers = (struct transfers){.socket = -1, .wake = -1};
    if (pthread_mutex_init(&transfers->lock, NULL) != 0)
        return STATUS_NO_MEMORY;
    void *memory = locked_allocate(KEYHOLDER_ROOM);
    buffer_over(&transfers->out, memory, memory == NULL ? 0 : KEYHOLDER_ROOM);
    transfers->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (memory != NULL && transfers->wake >= 0)
        return STATUS_OK;
    transfers_free(transfers);
    return memory == NULL ? STATUS_NO_MEMORY : STATUS_IO;
}

void transfers_free(struct transfers *transfers)
{
    locked_free(transfers->out.data, KEYHOLDER_ROOM);
    free(transfers->slots);
    if (transfers->wake >= 0)
        (void)close(transfers->wake);
    (void)pthread_mutex_destroy(&transfers->lock);
}
