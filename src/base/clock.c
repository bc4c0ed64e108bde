/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

static int64_t milliseconds_of(clockid_t id)
{
    struct timespec time;
    (void)clock_gettime(id, &time); /* cannot fail for these two clocks (clock_gettime(2)) */
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static int64_t read_system(struct clock *clock)
{
    (void)clock;
    return milliseconds_of(CLOCK_REALTIME);
}

static int64_t read_test(struct clock *clock)
{
    return clock->test_time;
}

void clock_init_system(struct clock *clock)
{
    clock->read = read_system;
    clock->test_time = 0;
    atomic_init(&clock->latest, 0);
}

void clock_init_test(struct clock *clock, int64_t milliseconds)
{
    clock->read = read_test;
    clock->test_time = milliseconds;
    atomic_init(&clock->latest, 0);
}

int64_t clock_now(struct clock *clock)
{
    int64_t now = clock->read(clock);
    int64_t latest = atomic_load_explicit(&clock->latest, memory_order_relaxed);
    while (now > latest)
        if (atomic_compare_exchange_weak(&clock->latest, &latest, now))
            return now;
    return latest;
}

int64_t clock_behind(struct clock *clock)
{
    int64_t behind = atomic_load(&clock->latest) - clock->read(clock);
    return behind > 0 ? behind : 0;
}

int64_t clock_monotonic(void)
{
    return milliseconds_of(CLOCK_MONOTONIC);
}
