/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time as an interface, so that tests decide what time it is. A request reads the clock once and
 * carries the value. Wall-clock time that steps back never makes a time stamp go back: see
 * clock_now().
 */
#ifndef KMIPD_BASE_CLOCK_H
#define KMIPD_BASE_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

struct clock {
    /* Wall-clock milliseconds since 1970. */
    int64_t (*read)(struct clock *clock);
    _Atomic int64_t latest; /* the largest value handed out */
    _Atomic int64_t test_time; /* what a clock of clock_init_test() reads; set it freely */
};

/* The system's clock. */
void clock_init_system(struct clock *clock);

/* A clock that stands at `milliseconds` until a test moves clock->test_time. */
void clock_init_test(struct clock *clock, int64_t milliseconds);

/*
 * Milliseconds since 1970, never smaller than a value returned before by this clock: after a step
 * back the time stands still until the wall clock has caught up. Any thread.
 */
int64_t clock_now(struct clock *clock);

/* How far the wall clock stands behind the latest value handed out, in milliseconds; 0 normally. */
int64_t clock_behind(struct clock *clock);

/* Monotonic milliseconds, for deadlines only. */
int64_t clock_monotonic(void);

#endif
