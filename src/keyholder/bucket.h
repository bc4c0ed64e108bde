/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket: so many at once, and so many a second in the long run. One thread. */
#ifndef KMIPD_KEYHOLDER_BUCKET_H
#define KMIPD_KEYHOLDER_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    double rate; /* a nanosecond; 0: no limit */
    double burst;
    double level;
    int64_t filled; /* when `level` was so; nanoseconds */
};

/* A full one. `rate` is a second's, 0 for no limit; `now` in nanoseconds of a monotonic clock. */
void bucket_init(struct bucket *bucket, uint64_t rate, uint64_t burst, int64_t now);

/* Takes one; false when it is empty. */
bool bucket_take(struct bucket *bucket, int64_t now);

/* Nanoseconds until there is one to take; 0: there is. */
int64_t bucket_wait(struct bucket *bucket, int64_t now);

#endif
