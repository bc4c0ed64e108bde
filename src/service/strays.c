/* SPDX-License-Identifier: Apache-2.0 */
#include "service/strays.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"

#define WAITING_MAX   10000
#define PAUSE_SECONDS 5 /* before a key manager that did not answer is asked again */

struct stray {
    struct keymanager *keymanager;
    struct uuid record;
    struct stray *next;
};

struct strays {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct stray *first;
    struct stray **last;
    size_t count;
    bool stopping;
};

static void tell(const struct stray *stray, enum status status, const char *what)
{
    char id[UUID_TEXT_LENGTH + 1];
    uuid_text(&stray->record, id);
    log_warning(
        "records %s record=%s key-manager=%s status=%s: it is of a key that was never given "
        "out and can be deleted",
        what, id, stray->keymanager->provider->name, status_name(status));
}

/* The first one that waits; NULL when all is done and the end has come. */
static struct stray *next_stray(struct strays *strays)
{
    pthread_mutex_lock(&strays->lock);
    while (strays->first == NULL && !strays->stopping)
        pthread_cond_wait(&strays->wake, &strays->lock);
    struct stray *stray = strays->first;
    if (stray != NULL) {
        strays->first = stray->next;
        if (strays->first == NULL)
            strays->last = &strays->first;
        strays->count--;
    }
    pthread_mutex_unlock(&strays->lock);
    return stray;
}

static void put_back(struct strays *strays, struct stray *stray)
{
    stray->next = strays->first;
    if (strays->first == NULL)
        strays->last = &stray->next;
    strays->first = stray;
    strays->count++;
}

/* Waits a while and has it tried again; false when the end has come. */
static bool try_later(struct strays *strays, struct stray *stray)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PAUSE_SECONDS;
    pthread_mutex_lock(&strays->lock);
    put_back(strays, stray);
    while (!strays->stopping && pthread_cond_timedwait(&strays->wake, &strays->lock, &until) == 0)
        ;
    bool stopping = strays->stopping;
    pthread_mutex_unlock(&strays->lock);
    return !stopping;
}

static void *run(void *argument)
{
    struct strays *strays = argument;
    struct stray *stray;
    while ((stray = next_stray(strays)) != NULL) {
        enum status status = keymanager_record_delete(stray->keymanager, &stray->record, NULL);
        if (status == STATUS_KEY_MANAGER_UNAVAILABLE) {
            if (!try_later(strays, stray))
                break;
            continue;
        }
        if (status != STATUS_OK && status != STATUS_NOT_FOUND)
            tell(stray, status, "cannot-delete");
        free(stray);
    }
    return NULL;
}

enum status strays_open(struct strays **ret_strays)
{
    pthread_condattr_t attributes;
    struct strays *strays = calloc(1, sizeof(*strays));
    if (strays == NULL)
        return STATUS_NO_MEMORY;
    strays->last = &strays->first;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&strays->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&strays->lock, NULL);
    if (pthread_create(&strays->thread, NULL, run, strays) == 0) {
        *ret_strays = strays;
        return STATUS_OK;
    }
    pthread_cond_destroy(&strays->wake);
    pthread_mutex_destroy(&strays->lock);
    free(strays);
    return STATUS_NO_MEMORY;
}

void strays_close(struct strays *strays)
{
    if (strays == NULL)
        return;
    pthread_mutex_lock(&strays->lock);
    strays->stopping = true;
    pthread_cond_signal(&strays->wake);
    pthread_mutex_unlock(&strays->lock);
    pthread_join(strays->thread, NULL);
    while (strays->first != NULL) {
        struct stray *stray = strays->first;
        strays->first = stray->next;
        tell(stray, STATUS_KEY_MANAGER_UNAVAILABLE, "left-behind");
        free(stray);
    }
    pthread_cond_destroy(&strays->wake);
    pthread_mutex_destroy(&strays->lock);
    free(strays);
}

void strays_add(struct strays *strays, struct keymanager *keymanager, const struct uuid *record)
{
    struct stray *stray = calloc(1, sizeof(*stray));
    if (stray == NULL) {
        const struct stray lost = {.keymanager = keymanager, .record = *record};
        tell(&lost, STATUS_NO_MEMORY, "left-behind");
        return;
    }
    *stray = (struct stray){.keymanager = keymanager, .record = *record};
    pthread_mutex_lock(&strays->lock);
    bool room = strays->count < WAITING_MAX;
    if (room) {
        *strays->last = stray;
        strays->last = &stray->next;
        strays->count++;
        pthread_cond_signal(&strays->wake);
    }
    pthread_mutex_unlock(&strays->lock);
    if (room)
        return;
    tell(stray, STATUS_BUSY, "left-behind");
    free(stray);
}
