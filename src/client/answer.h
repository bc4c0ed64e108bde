/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers as a client reads them: whoever is on the other side may send anything, so an answer is
 * checked against the request before a caller sees it. Pure functions, any thread.
 */
#ifndef KMIPD_CLIENT_ANSWER_H
#define KMIPD_CLIENT_ANSWER_H

#include "base/error.h"
#include "client/request.h"

/* What became of one batch item. */
struct client_result {
    uint32_t operation;
    bool answered;        /* false: an item before it failed and the batch ended there */
    bool failed;          /* the server refused it */
    uint32_t reason;      /* enum kmip_result_reason, of one that failed */
    struct bytes message; /* Result Message; may be empty; not trusted to be printable */
    struct bytes payload; /* of one that succeeded: the fields of its Response Payload */
};

struct client_answer {
    size_t count; /* as many as the request had items, in their order */
    struct client_result *results;
};

/*
 * Decodes `frame` and checks that it answers `request`: version, batch count, Unique Batch Item
 * IDs, operations, results. A failure of the whole message (one item that names no operation)
 * counts for the first item, in whatever version it is given. Results are in the arena and borrow
 * the frame. MALFORMED with a text that says what is wrong; TOO_LARGE: the arena is full.
 */
enum status client_read_answer(struct bytes frame, const struct client_request *request,
                               struct arena *arena, struct client_answer *ret_answer,
                               struct error *error) MUST_USE;

/*
 * OK if the item succeeded; else the status that stands for the Result Reason
 * (client_status_of_reason()) and a text with operation, reason and the server's message.
 * `server` is for the text.
 */
enum status client_result_check(const struct client_result *result, const char *server,
                                struct error *error) MUST_USE;

/* Decodes the payload of an item that succeeded, by its operation's shape. MALFORMED, MISSING_DATA,
 * TOO_LARGE. */
enum status client_result_payload(const struct client_result *result, struct arena *arena,
                                  void *ret_payload) MUST_USE;

/* INTERNAL for General Failure and for reasons that have no better status. */
enum status client_status_of_reason(uint32_t reason);

#endif
