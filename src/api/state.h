/* SPDX-License-Identifier: Apache-2.0 */
/* What an open API is made of. Inside src/api/ only. */
#ifndef KMIPD_API_STATE_H
#define KMIPD_API_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/admission.h"
#include "api/open.h"
#include "api/strangers.h"

struct auth;
struct jwt;

#define API_THREADS_MAX 256
#define API_QUEUE_MAX   1024 /* requests that wait for a thread */

/* A session of the store that no call has at the moment. */
struct api_session {
    struct store_session *store;
    struct api_session *next;
};

struct api {
    struct api_context context;
    struct jwt *jwt;   /* makes and verifies tokens */
    struct auth *auth; /* knows who had one lately */
    struct strangers strangers;
    struct admission admission;
    /* Counts the changes of service IDs and API keys: what is known of them is of one number. */
    _Atomic uint64_t identities;

    pthread_mutex_t lock;
    pthread_cond_t work;     /* for the threads: there is some, or the end has come */
    pthread_cond_t finished; /* for api_close(): nothing waits for the audit log any more */
    struct api_session *sessions;
    struct api_job *first;
    struct api_job *last;
    size_t waiting;
    size_t unfinished; /* jobs whose record is on its way */
    bool closing;
    pthread_t threads[API_THREADS_MAX];
    unsigned thread_count;
};

#endif
