/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts of durations in buckets that grow with the value: 64 to each power of two, so that a
 * percentile is off by at most 1.6 % and recording one is a shift and an increment.
 */
#ifndef KMIPD_BENCH_HISTOGRAM_H
#define KMIPD_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_STEP_BITS = 6,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS,
};

struct histogram {
    uint64_t count[HISTOGRAM_BUCKETS];
    uint64_t total; /* values recorded */
    uint64_t sum;
    uint64_t max;
};

void histogram_clear(struct histogram *histogram);

void histogram_record(struct histogram *histogram, uint64_t nanoseconds);

/* The value, in nanoseconds, that `fraction` (0 to 1) of all recorded ones do not exceed; 0 if none
 * was recorded. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);

#endif
