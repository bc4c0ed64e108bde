/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KMIPD_UPKEEP_KEEPER_H
#define KMIPD_UPKEEP_KEEPER_H

#include "upkeep/inside.h"

struct keeper {
    struct upkeep *upkeep;
    enum keymanager_code code;
    struct keymanager *keymanager;
    pthread_t thread;

    /* The rest is the thread's own. */
    struct store_session *session;
    struct adapter_list adapters;
};

/* Looks at the root keys that are due; returns when the next is (monotonic milliseconds). */
int64_t keeper_look(struct keeper *keeper);

#endif
