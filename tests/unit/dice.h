/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for property tests that are the same in every run (xorshift64*). */
#ifndef KMIPD_TESTS_DICE_H
#define KMIPD_TESTS_DICE_H

#include <stdbool.h>
#include <stdint.h>

struct dice {
    uint64_t state; /* not 0 */
};

static inline uint64_t dice_roll(struct dice *dice)
{
    dice->state ^= dice->state >> 12;
    dice->state ^= dice->state << 25;
    dice->state ^= dice->state >> 27;
    return dice->state * UINT64_C(2685821657736338717);
}

/* 0 to `count` - 1. */
static inline uint32_t dice_below(struct dice *dice, uint32_t count)
{
    return (uint32_t)((dice_roll(dice) >> 32) % count);
}

/* True once in `times`. */
static inline bool dice_once_in(struct dice *dice, uint32_t times)
{
    return dice_below(dice, times) == 0;
}

#endif
