/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/bucket.h"

void bucket_init(struct bucket *bucket, uint64_t rate, uint64_t burst, int64_t now)
{
    double most = burst > 0 ? (double)burst : 1;
    *bucket = (struct bucket){(double)rate / 1e9, most, most, now};
}

static void fill(struct bucket *bucket, int64_t now)
{
    if (now <= bucket->filled)
        return;
    bucket->level += (double)(now - bucket->filled) * bucket->rate;
    if (bucket->level > bucket->burst)
        bucket->level = bucket->burst;
    bucket->filled = now;
}

bool bucket_take(struct bucket *bucket, int64_t now)
{
    if (bucket->rate <= 0)
        return true;
    fill(bucket, now);
    if (bucket->level < 1)
        return false;
    bucket->level -= 1;
    return true;
}

int64_t bucket_wait(struct bucket *bucket, int64_t now)
{
    if (bucket->rate <= 0)
        return 0;
    fill(bucket, now);
    return bucket->level >= 1 ? 0 : (int64_t)((1 - bucket->level) / bucket->rate) + 1;
}
