/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few KMIP messages that the benchmark sends and checks, as bytes.
 *
 * This is deliberately not the project's codec: the load generator must cost as little as possible,
 * and what is measured must not share a mistake with what measures it. Requests have the shapes
 * that vCenter sends (KMIP 1.1, one batch item with a Unique Batch Item ID); they are built once
 * and only the Unique Identifier is patched in.
 */
#ifndef KMIPD_BENCH_MESSAGE_H
#define KMIPD_BENCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MESSAGE_HEADER_SIZE = 8,      /* tag, type and length of a TTLV item, KMIP 1.4 §9.1.1 */
    MESSAGE_SIZE_MAX = 64 * 1024, /* largest frame that either program accepts */
    MESSAGE_REQUEST_MAX = 512,
    MESSAGE_ID_MAX = 64,
};

enum message_operation {
    MESSAGE_CREATE = 0x01,
    MESSAGE_GET = 0x0a,
    MESSAGE_DISCOVER_VERSIONS = 0x1e,
};

struct message_request {
    uint8_t bytes[MESSAGE_REQUEST_MAX];
    size_t length;
    size_t
        id_offset; /* where the text of the Unique Identifier starts; 0: the request names none */
};

/* Length in bytes, header included, of the frame that begins with the MESSAGE_HEADER_SIZE bytes at
 * `header`. */
size_t message_length(const uint8_t *header);

/* Builds a request. `id_length` (at most MESSAGE_ID_MAX) only counts for Get: the caller fills in
 * so many bytes at `id_offset`. */
void message_request(struct message_request *ret_request, enum message_operation operation,
                     size_t id_length);

/* Writes a successful answer of exactly `size` bytes (a multiple of 8) to `out`. False if it cannot
 * have that size. */
bool message_answer(uint8_t *out, size_t size);

/* Smallest answer that message_answer() can make, in bytes. */
size_t message_answer_min(void);

/* Says whether a whole frame is a Response Message whose first batch item has Result Status
 * Success. Never reads behind `length`. */
bool message_succeeded(const uint8_t *frame, size_t length);

/* Finds the first item with `tag` at any depth. True and its value, borrowed from the frame, if
 * there is one. */
bool message_find(const uint8_t *frame, size_t length, uint32_t tag, const uint8_t **ret_value,
                  size_t *ret_length);

enum message_tag {
    MESSAGE_TAG_RESULT_MESSAGE = 0x42007d,
    MESSAGE_TAG_UNIQUE_IDENTIFIER = 0x420094,
};

/*
 * The beginning of a frame whose end has not arrived. A connection holds memory for it only that
 * long, so that an idle one costs nothing here.
 */
struct message_carry {
    uint8_t *bytes;
    size_t length;
};

/* Moves what was kept to `buffer` (at least MESSAGE_SIZE_MAX bytes) and returns its length; nothing
 * is kept any more. */
size_t message_carry_take(struct message_carry *carry, uint8_t *buffer);

/* Keeps a copy of `length` bytes; the carry must be empty. False: no memory. */
bool message_carry_keep(struct message_carry *carry, const uint8_t *rest, size_t length);

void message_carry_free(struct message_carry *carry);

#endif
