/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the lines of one audit file of any size, which may be growing meanwhile. */
#ifndef KMIPD_AUDIT_SCAN_H
#define KMIPD_AUDIT_SCAN_H

#include "audit/record.h"

/* At most so many bytes are written between two syncs: what a power cut can leave unfinished. */
#define SCAN_UNFINISHED_MAX ((1u << 20) + RECORD_SIZE_MAX)

struct scan {
    int file;        /* borrowed */
    uint64_t offset; /* in the file, of data[at] */
    size_t at;
    size_t size;
    uint8_t data[4 * RECORD_SIZE_MAX];
};

void scan_begin(struct scan *scan, int file, uint64_t offset);

/*
 * The next line, without its newline, borrowed until the next call. *ret_found is false when no
 * whole line is there, and `offset` then says where it would begin. IO, see errno.
 */
enum status scan_next(struct scan *scan, struct bytes *ret_line, bool *ret_found) MUST_USE;

/* What can stand where no record does. */
enum scan_tail {
    SCAN_TAIL_CLEAN,      /* nothing, or zeros to be overwritten */
    SCAN_TAIL_UNFINISHED, /* what a write cut short leaves: never acknowledged */
    SCAN_TAIL_BROKEN,     /* neither */
};

/*
 * Judges everything from `offset`, where no good record begins. Unfinished is: the beginning of one
 * line and nothing else but zeros; or, when the power went during a write, a sector of zeros that
 * was not overwritten, with some that were behind it, within SCAN_UNFINISHED_MAX bytes. IO, see
 * errno.
 */
enum status scan_tail(int file, uint64_t offset, enum scan_tail *ret_tail,
                      uint64_t *ret_size) MUST_USE;

#endif
