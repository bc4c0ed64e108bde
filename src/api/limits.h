/* SPDX-License-Identifier: Apache-2.0 */
/* What those may do of whom it is not known who they are. Any thread. Inside src/api/ only. */
#ifndef KMIPD_API_LIMITS_H
#define KMIPD_API_LIMITS_H

#include <pthread.h>

#include "base/bytes.h"

#define LIMITS_PEERS   1024 /* addresses that are remembered */
#define LIMITS_WAYS    4
#define LIMITS_ADDRESS 40

/* A bucket of what may still be done, in thousandths, and when it was last filled. */
struct limits_bucket {
    int64_t left;
    int64_t filled; /* monotonic milliseconds */
};

struct limits_peer {
    char address[LIMITS_ADDRESS]; /* without the port; IPv6: its /64; empty: nobody */
    struct limits_bucket failures;
};

struct limits {
    pthread_mutex_t lock;
    struct limits_bucket strangers;
    uint64_t left_out; /* calls of strangers that were not recorded since the last that was */
    struct limits_peer peers[LIMITS_PEERS];
};

void limits_init(struct limits *limits);
void limits_close(struct limits *limits);

/* Whether a call of somebody unknown is answered and recorded, or only sent away. *ret_left_out:
 * how many were sent away since the last one that was recorded. */
bool limits_admit_stranger(struct limits *limits, uint64_t *ret_left_out);

/* Whether this peer ("address:port") has failures left: with false it is not listened to. */
bool limits_may_try(struct limits *limits, struct bytes peer);
/* A wrong API key, or a token that we did not sign. */
void limits_failed(struct limits *limits, struct bytes peer);

#endif
