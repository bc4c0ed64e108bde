/* SPDX-License-Identifier: Apache-2.0 */
/* When a request is tried again, and when no more are sent for a while. Pure; times are of
 * clock_monotonic(). */
#ifndef KMIPD_KEYMANAGER_KEYPROTECT_RETRY_H
#define KMIPD_KEYMANAGER_KEYPROTECT_RETRY_H

#include <stdbool.h>
#include <stdint.h>

/* 429 and what is the server's fault, but not 501: that will not change. */
bool kp_retry_is_worthwhile(long http);

/* Milliseconds to wait before try `attempt` + 1 (the first failure is attempt 1): doubles, half of
 * it by chance; `retry_after` (0: none) is never undercut. `random` is any number. */
int64_t kp_retry_delay(unsigned attempt, int64_t retry_after, uint32_t random);

/*
 * Circuit breaker: after KP_BREAKER_FAILURES failures in a row, over at least KP_BREAKER_PERIOD,
 * all is refused at once for a while, twice as long each time; then one request may try.
 */
#define KP_BREAKER_FAILURES  8
#define KP_BREAKER_PERIOD    1000
#define KP_BREAKER_PAUSE     1000
#define KP_BREAKER_PAUSE_MAX 30000

/* All zero: closed. */
struct kp_breaker {
    unsigned failures; /* in a row */
    int64_t first;     /* when the first of them was */
    int64_t pause;     /* 0: closed */
    int64_t reopens;   /* when one may try */
    bool trying;       /* one does */
};

/* Whether a request may be sent; while it is open, true once after each pause. */
bool kp_breaker_admits(struct kp_breaker *breaker, int64_t now);
bool kp_breaker_is_open(const struct kp_breaker *breaker);
void kp_breaker_succeeded(struct kp_breaker *breaker);
void kp_breaker_failed(struct kp_breaker *breaker, int64_t now);
/* The request that was admitted was not sent after all, or its outcome says nothing. */
void kp_breaker_undecided(struct kp_breaker *breaker);

#endif
