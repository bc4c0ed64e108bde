/* SPDX-License-Identifier: Apache-2.0 */
/* Checking the files of an audit log record by record. For audit_open() and audit_verify(). */
#ifndef KMIPD_AUDIT_CHECK_H
#define KMIPD_AUDIT_CHECK_H

#include "audit/chain.h"
#include "audit/scan.h"

struct check {
    int directory; /* borrowed */
    struct chain chain;
    bool anchored; /* the chain's position is known: a file has been read, or it is the first */
    struct audit_report report;
    uint64_t counted; /* the file counted last in it, by its first sequence; 0: none */
    struct chain_position known; /* a record that must have this value; sequence 0: none */
    struct scan scan;
};

/* Where the records of a file end, or where the first broken one begins. */
struct check_end {
    uint64_t offset;
    uint64_t lines; /* before it */
    enum scan_tail tail;
    uint64_t tail_size;
};

/* NO_MEMORY, CRYPTO_FAILED. End: check_free(). */
enum status check_new(int directory, struct check **ret_check, struct error *error) MUST_USE;
void check_free(struct check *check);

/*
 * Reads one file and moves the chain to its last record. A log that is not `anchored` is taken up
 * at what the file's first record says came before it. `newest`: the file may end in an unfinished
 * write, which *ret_end tells. AUDIT_BROKEN with the place in `report` and a text; NOT_FOUND
 * when the file is gone; IO; CRYPTO_FAILED.
 */
enum status check_file(struct check *check, uint64_t first, bool newest, struct check_end *ret_end,
                       struct error *error) MUST_USE;

/* Goes on where check_file() or this has ended, in a newest file that is being written: what was
 * there in part may be there as a whole now. Results as check_file(). */
enum status check_rest(struct check *check, uint64_t first, struct check_end *end,
                       struct error *error) MUST_USE;

#endif
