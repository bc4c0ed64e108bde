/* SPDX-License-Identifier: Apache-2.0 */
#include "histogram.h"

#include <string.h>

static unsigned bucket_of(uint64_t value)
{
    unsigned top = 63 - (unsigned)__builtin_clzll(value | 1);
    unsigned shift = top <= HISTOGRAM_STEP_BITS ? 0 : top - HISTOGRAM_STEP_BITS;

    return (shift << HISTOGRAM_STEP_BITS) + (unsigned)(value >> shift);
}

/* The middle of a bucket: the inverse of bucket_of(). */
static uint64_t value_of(unsigned bucket)
{
    unsigned steps = 1u << HISTOGRAM_STEP_BITS;
    unsigned shift = bucket < 2 * steps ? 0 : (bucket >> HISTOGRAM_STEP_BITS) - 1;
    uint64_t low = (uint64_t)(bucket - (shift << HISTOGRAM_STEP_BITS)) << shift;

    return low + (((uint64_t)1 << shift) >> 1);
}

void histogram_clear(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

void histogram_record(struct histogram *histogram, uint64_t nanoseconds)
{
    ++histogram->count[bucket_of(nanoseconds)];
    ++histogram->total;
    histogram->sum += nanoseconds;
    if (nanoseconds > histogram->max)
        histogram->max = nanoseconds;
}

uint64_t histogram_quantile(const struct histogram *histogram, double fraction)
{
    uint64_t wanted = (uint64_t)(fraction * (double)histogram->total + 0.5);
    uint64_t seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; ++i) {
        seen += histogram->count[i];
        if (histogram->count[i] != 0 && seen >= wanted)
            return value_of(i);
    }
    return 0;
}
