/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations that fail when a test wants them to. The linker puts these functions before the real
 * ones (meson.build); they are the real ones until a test says otherwise.
 */
#ifndef KMIPD_TESTS_FAULTS_H
#define KMIPD_TESTS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

/* Which of a series of calls fail. */
struct fault_plan {
    bool armed;
    bool forever; /* not only one, but all from it on */
    bool failed;  /* one has */
    size_t left;  /* calls that succeed before */
};

/* Whether the call that is made now is to fail. */
static inline bool fault_now(struct fault_plan *plan)
{
    if (!plan->armed)
        return false;
    if (plan->left > 0) {
        plan->left--;
        return false;
    }
    if (plan->failed && !plan->forever)
        return false;
    plan->failed = true;
    return true;
}

/* Of the calling thread: the allocation number `at` (from 0) fails, and with `forever` all after
 * it too. Counts anew. OpenSSL's count as well once faults_take_openssl() was called. */
void faults_allocations(size_t at, bool forever);
void faults_allocations_end(void);
bool faults_allocation_failed(void); /* whether one did, since faults_allocations() */

/* First thing in main(). */
void faults_take_openssl(void);

#endif
