/* SPDX-License-Identifier: Apache-2.0 */
/* What those may do of whom it is not known who they are. Any thread. Inside src/api/ only. */
#ifndef KMIPD_API_STRANGERS_H
#define KMIPD_API_STRANGERS_H

#include <pthread.h>

#include "base/bytes.h"

#define STRANGERS_PEERS   1024 /* addresses that are remembered */
#define STRANGERS_WAYS    4
#define STRANGERS_ADDRESS 40

/* A bucket of what may still be done, in thousandths, and when it was last filled. */
struct strangers_bucket {
    int64_t left;
    int64_t filled; /* monotonic milliseconds */
};

struct strangers_peer {
    char address[STRANGERS_ADDRESS]; /* without the port; IPv6: its /64; empty: nobody */
    struct strangers_bucket failures;
};

struct strangers {
    pthread_mutex_t lock;
    struct strangers_bucket calls;
    uint64_t left_out; /* calls of strangers that were not recorded since the last that was */
    struct strangers_peer peers[STRANGERS_PEERS];
};

void strangers_init(struct strangers *strangers);
void strangers_close(struct strangers *strangers);

/* Whether a call of somebody unknown is answered and recorded, or only sent away. *ret_left_out:
 * how many were sent away since the last one that was recorded. */
bool strangers_admit(struct strangers *strangers, uint64_t *ret_left_out);

/* Whether this peer ("address:port") has failures left: with false it is not listened to. */
bool strangers_may_try(struct strangers *strangers, struct bytes peer);
/* A wrong API key, or a token that we did not sign. */
void strangers_failed(struct strangers *strangers, struct bytes peer);

#endif
