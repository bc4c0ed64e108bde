/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines without timers. All entries of one list wait equally long, so the order of stamping is
 * the order of expiry: stamping, removing and finding the next to expire are O(1). One thread.
 */
#ifndef KMIPD_NET_DEADLINE_H
#define KMIPD_NET_DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Part of what waits; zeroed when in no list. */
struct deadline {
    struct deadline *previous;
    struct deadline *next;
    int64_t since; /* when it was stamped, milliseconds of the caller's clock */
};

struct deadline_list {
    struct deadline ends; /* next is the oldest, previous the youngest */
    int64_t wait;         /* milliseconds that an entry may stay */
};

void deadline_list_init(struct deadline_list *list, int64_t wait);

/* Puts an entry that is in no list at the young end. */
void deadline_add(struct deadline_list *list, struct deadline *entry, int64_t now);

/* Takes an entry out of its list; one that is in none is fine. */
void deadline_remove(struct deadline *entry);

/* The entry that expires first, or NULL. */
static inline struct deadline *deadline_oldest(const struct deadline_list *list)
{
    return list->ends.next == &list->ends ? NULL : list->ends.next;
}

/* When the oldest entry expires; INT64_MAX for an empty list. */
int64_t deadline_next(const struct deadline_list *list);

#endif
