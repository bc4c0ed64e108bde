/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs that make load have in common: they sleep until standard input tells them to
 * work for a while, and report that slice as one line of JSON on standard output. So several of
 * them can take turns on one machine.
 *
 *   run MILLISECONDS    work for that long
 *   count N             do N units of work (requests, connections, or rows)
 *   end of input        leave
 */
#ifndef KMIPD_BENCH_SLICE_H
#define KMIPD_BENCH_SLICE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "histogram.h"

enum { SLICE_ERROR_MAX = 256 };

struct slice_limits {
    uint64_t nanoseconds;
    uint64_t units; /* whichever is reached first ends the slice */
};

/* What one slice did. */
struct slice {
    uint64_t requests;    /* answered rightly */
    uint64_t connections; /* opened, answered and closed, where each is made anew */
    uint64_t handshakes;
    uint64_t resumed; /* of these handshakes */
    uint64_t tickets; /* sessions that servers gave */
    uint64_t errors;
    char first_error[SLICE_ERROR_MAX];
    uint64_t elapsed; /* ns, from the first request to the last answer */
    uint64_t cpu;     /* ns of this process in that time */
    struct histogram latency;
};

/* ns of a clock. */
uint64_t slice_clock(clockid_t clock);

/* Waits for the next command. False at the end of input; a malformed command ends the program. */
bool slice_next(struct slice_limits *ret_limits);

void slice_begin(struct slice *ret_slice);
void slice_end(struct slice *slice);

/* `more`: further members of the JSON object, each with a comma behind it; may be "". */
void slice_report(const struct slice *slice, const char *more);

/* A whole argument as a number. Anything else ends the program with a message. */
long slice_number(const char *text, long least, long most);

#endif
