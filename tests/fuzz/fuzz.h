/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz target is one function that must take any bytes: libFuzzer calls it (./fuzz), and
 * replay.c calls it in every build. What must always hold is said with REQUIRE.
 */
#ifndef KMIPD_TESTS_FUZZ_H
#define KMIPD_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * Changes the `size` bytes at `data` in place and returns their new size, at most `maximum`:
 * libFuzzer's mutation, or the one in replay.c. A target may have a mutation of its own, which
 * knows the form of its input: see mutate_ttlv.c.
 */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maximum);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maximum, unsigned seed)
    __attribute__((weak));

/* Unlike assert(), there in every build. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
