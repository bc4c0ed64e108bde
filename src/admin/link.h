/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kmipd and its admin process say to each other over the one socket between them (a stream).
 * Both are the same program, so there are no versions; and neither trusts the other's bytes. A frame:
 *
 *   4  size of the payload
 *   4  kind
 *   8  number of the request (requests and answers; else 0)
 *   n  payload
 *
 * Numbers are big-endian; a run of bytes stands behind its size (4). Whoever reads a frame that
 * breaks these rules ends the connection: nothing is guessed.
 *
 * kmipd begins with SETUP, with which the listening socket comes (SCM_RIGHTS); the other side
 * answers READY and begins to accept, or FAILED. IDENTITY brings another certificate: READY, or
 * FAILED and the former one stays.
 */
#ifndef KMIPD_ADMIN_LINK_H
#define KMIPD_ADMIN_LINK_H

#include "api/api.h"

#define LINK_DESCRIPTOR   3
#define LINK_HEADER_SIZE  16
#define LINK_IDENTITY_MAX ((size_t)128 << 10) /* certificate and key */
#define LINK_TEXT_MAX     480
#define LINK_FIELDS_MAX   ((size_t)64 << 10) /* all of a request but its body */
#define LINK_BODY_MAX     ((size_t)12 << 20)
#define LINK_FRAME_MAX    (LINK_HEADER_SIZE + API_RESPONSE_MAX + LINK_FIELDS_MAX)

enum link_kind {
    LINK_SETUP = 1,
    LINK_IDENTITY,
    LINK_READY,
    LINK_FAILED, /* payload: why, for a person */
    LINK_REQUEST,
    LINK_ANSWER,
};

struct link_header {
    uint32_t size;
    enum link_kind kind;
    uint64_t number;
};

/* MALFORMED: no such kind, or more than a frame of this kind may have. */
enum status link_read_header(const uint8_t header[static LINK_HEADER_SIZE],
                             struct link_header *ret_header) MUST_USE;

/* A frame is begun in an empty buffer, its payload appended, and its size written at the end. The
 * buffer's status tells of a failure. */
void link_begin(struct buffer *frame, enum link_kind kind, uint64_t number);
void link_end(struct buffer *frame);

struct link_identity {
    struct bytes certificate; /* PEM, with the chain behind it */
    struct bytes key;         /* PEM */
};

struct link_setup {
    uint32_t connections_max;
    uint32_t body_max;
    uint32_t headers_max;
    uint32_t request_seconds;
    uint32_t log_level; /* enum log_level */
    bool journal;
    struct link_identity identity;
};

/* What an answer is on the other side: everything borrowed from the payload. */
struct link_answer {
    unsigned status; /* 200 to 599 */
    struct bytes content_type;
    struct bytes correlation;
    struct bytes allow;
    int64_t key_total;
    uint32_t retry_after;
    bool close;
    struct bytes body;
};

/* Payloads. Reading borrows from them. MALFORMED: too short, too long, or values that are none. */
void link_write_setup(const struct link_setup *setup, struct buffer *frame);
enum status link_read_setup(struct bytes payload, struct link_setup *ret_setup) MUST_USE;
void link_write_identity(const struct link_identity *identity, struct buffer *frame);
enum status link_read_identity(struct bytes payload, struct link_identity *ret_identity) MUST_USE;
void link_write_request(const struct api_request *request, struct buffer *frame);
/* Never `local`: that is not for the other side to say. */
enum status link_read_request(struct bytes payload, struct api_request *ret_request) MUST_USE;
void link_write_answer(const struct api_response *response, struct buffer *frame);
enum status link_read_answer(struct bytes payload, struct link_answer *ret_answer) MUST_USE;

#endif
