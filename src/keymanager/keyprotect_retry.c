/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keyprotect_retry.h"

#define DELAY_FIRST 100
#define DELAY_MAX   30000

bool kp_retry_is_worthwhile(long http)
{
    return http == 429 || (http >= 500 && http <= 599 && http != 501);
}

int64_t kp_retry_delay(unsigned attempt, int64_t retry_after, uint32_t random)
{
    int64_t delay = DELAY_FIRST;
    for (unsigned i = 1; i < attempt && delay < DELAY_MAX; i++)
        delay *= 2;
    if (delay > DELAY_MAX)
        delay = DELAY_MAX;
    delay = delay / 2 + random % (delay / 2 + 1);
    /* A little is added to what was asked for: all who were refused together come apart. */
    return retry_after > 0 ? retry_after + random % (retry_after / 8 + 1) : delay;
}

bool kp_breaker_is_open(const struct kp_breaker *breaker)
{
    return breaker->pause > 0;
}

bool kp_breaker_admits(struct kp_breaker *breaker, int64_t now)
{
    if (!kp_breaker_is_open(breaker))
        return true;
    if (breaker->trying || now < breaker->reopens)
        return false;
    breaker->trying = true;
    return true;
}

void kp_breaker_succeeded(struct kp_breaker *breaker)
{
    *breaker = (struct kp_breaker){0};
}

static int64_t longer(int64_t pause)
{
    if (pause == 0)
        return KP_BREAKER_PAUSE;
    return pause * 2 < KP_BREAKER_PAUSE_MAX ? pause * 2 : KP_BREAKER_PAUSE_MAX;
}

void kp_breaker_failed(struct kp_breaker *breaker, int64_t now)
{
    if (breaker->failures++ == 0)
        breaker->first = now;
    /* What was in flight when it opened says nothing new. */
    bool opens = kp_breaker_is_open(breaker) ? breaker->trying
                                             : breaker->failures >= KP_BREAKER_FAILURES &&
                                                   now - breaker->first >= KP_BREAKER_PERIOD;
    if (!opens)
        return;
    breaker->pause = longer(breaker->pause);
    breaker->reopens = now + breaker->pause;
    breaker->trying = false;
}

void kp_breaker_undecided(struct kp_breaker *breaker)
{
    breaker->trying = false;
}
