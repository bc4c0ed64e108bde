/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as a client writes them (KMIP 1.4 §7). Pure functions, any thread. */
#ifndef KMIPD_CLIENT_REQUEST_H
#define KMIPD_CLIENT_REQUEST_H

#include "kmip/payloads.h"

#define CLIENT_ITEMS_MAX    64
#define CLIENT_ITEM_ID_SIZE 8

/* One batch item. `payload` is the operation's request struct of kmip/payloads.h; NULL: empty. */
struct client_item {
    uint32_t operation; /* enum kmip_operation */
    const void *payload;
};

struct client_request {
    uint16_t version;
    const struct client_item *items;
    size_t count;
    struct bytes id_prefix;  /* four bytes; empty: only batches of several items have ids */
    struct bytes credential; /* an encoded Credential Value; empty: none */
    bool carry_on;           /* Batch Error Continuation Option: Continue */
};

/* Appends the whole message. The buffer's status tells the outcome; an operation this client does
 * not know makes STATUS_OPERATION_NOT_SUPPORTED. */
enum status client_write_request(const struct client_request *request,
                                 struct buffer *buffer) MUST_USE;

/* The Unique Batch Item ID of one item; empty if it has none. `memory` is where it stands. */
struct bytes client_item_id(const struct client_request *request, size_t index,
                            uint8_t memory[static CLIENT_ITEM_ID_SIZE]);

/* The shapes of an operation's payloads. */
struct client_shapes {
    uint32_t operation;
    const struct kmip_shape *request; /* NULL: none, or not to be said with a shape (Register) */
    const struct kmip_shape *response;
};

/* NULL for operations that this client does not know. */
const struct client_shapes *client_shapes_of(uint32_t operation);

#endif
