/* SPDX-License-Identifier: Apache-2.0 */
#include "net/deadline.h"

void deadline_list_init(struct deadline_list *list, int64_t wait)
{
    list->ends.previous = &list->ends;
    list->ends.next = &list->ends;
    list->wait = wait;
}

void deadline_add(struct deadline_list *list, struct deadline *entry, int64_t now)
{
    entry->since = now;
    entry->previous = list->ends.previous;
    entry->next = &list->ends;
    entry->previous->next = entry;
    list->ends.previous = entry;
}

void deadline_remove(struct deadline *entry)
{
    if (entry->next == NULL)
        return;
    entry->previous->next = entry->next;
    entry->next->previous = entry->previous;
    entry->previous = NULL;
    entry->next = NULL;
}

int64_t deadline_next(const struct deadline_list *list)
{
    const struct deadline *oldest = deadline_oldest(list);
    return oldest == NULL ? INT64_MAX : oldest->since + list->wait;
}
