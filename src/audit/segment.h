/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that is being written. Ahead of the records it is filled with zero bytes, 1 MiB at a
 * time: overwriting them changes no metadata, so that a sync is one flush of data and does not
 * wait for the file system's journal. Zero bytes at the end are therefore room, not records.
 *
 * One thread. After a failure only segment_recover() and segment_close() make sense.
 */
#ifndef KMIPD_AUDIT_SEGMENT_H
#define KMIPD_AUDIT_SEGMENT_H

#include "audit/chain.h"

struct segment {
    int directory; /* borrowed */
    int file;
    uint64_t first;     /* the sequence it is named by */
    uint64_t size;      /* bytes of records written */
    uint64_t synced;    /* of these, on stable storage */
    uint64_t allocated; /* bytes of the file, zeros included, on stable storage */
    bool suspect;       /* a sync failed: the kernel may have dropped what it could not write */
    int failure;        /* errno of the latest failure */
};

/* Makes an empty file, on stable storage with its name. AUDIT_FAILED, see `failure`; the segment
 * is unchanged otherwise. */
enum status segment_create(struct segment *segment, int directory, uint64_t first) MUST_USE;

/* Goes on in an existing file of `size` good bytes: cuts off what is behind them. */
enum status segment_reopen(struct segment *segment, int directory, uint64_t first,
                           uint64_t size) MUST_USE;

/* Appends. AUDIT_FAILED: nothing is known of the bytes behind `synced`. */
enum status segment_write(struct segment *segment, struct bytes data) MUST_USE;

/* Puts what was written on stable storage. AUDIT_FAILED also if the file was deleted. */
enum status segment_sync(struct segment *segment) MUST_USE;

/* Syncs this file without the zeros behind its records and goes on in a new one. */
enum status segment_rotate(struct segment *segment, uint64_t first) MUST_USE;

/*
 * After a failure: cuts the file back to what is on stable storage, makes sure that this ends with
 * `last`, and reserves room to write. When a sync had failed, goes on in a new file: what the
 * kernel holds of the old one beyond the cut cannot be trusted. AUDIT_FAILED: try again later.
 */
enum status segment_recover(struct segment *segment, const struct chain_position *last) MUST_USE;

/* Cuts off the zeros where that is possible, and closes. A closed segment (file -1) is fine. */
void segment_close(struct segment *segment);

#endif
