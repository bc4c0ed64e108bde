/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages: headers, batch items and the structures that several operations share (KMIP 1.4 §6,
 * §7, §2.1). Payloads are in kmip/payloads.h.
 */
#ifndef KMIPD_KMIP_MESSAGE_H
#define KMIPD_KMIP_MESSAGE_H

#include "kmip/codec.h"

/* KMIP 1.4 §6.1 */
struct kmip_protocol_version {
    struct kmip_number major;
    struct kmip_number minor;
};
extern const struct kmip_shape kmip_protocol_version_shape;

/* The version as one integer (0x0104), 0 if major or minor is not in 0-255. */
uint16_t kmip_version_of(const struct kmip_protocol_version *version);
struct kmip_protocol_version kmip_version_structure(uint16_t version);

/* KMIP 1.4 §2.1.2. `value` is left encoded: what is in it depends on the type. */
struct kmip_credential {
    struct kmip_number type;
    struct kmip_any value;
};

/* Credential Value of the type Username and Password. */
struct kmip_username_password {
    struct bytes username;
    struct bytes password;
};
extern const struct kmip_shape kmip_username_password_shape;

struct kmip_authentication {
    struct kmip_list credentials; /* struct kmip_credential */
};

/* KMIP 1.4 §7.2, Table 296 */
struct kmip_request_header {
    struct kmip_protocol_version *version;
    struct kmip_number maximum_response_size;
    struct bytes client_correlation_value;
    struct bytes server_correlation_value;
    struct kmip_number asynchronous_indicator;
    struct kmip_number attestation_capable_indicator;
    struct kmip_list attestation_types;
    struct kmip_authentication *authentication;
    struct kmip_number batch_error_continuation_option;
    struct kmip_number batch_order_option;
    struct kmip_number time_stamp;
    struct kmip_number batch_count;
};
extern const struct kmip_shape kmip_request_header_shape;

/* KMIP 1.4 §6.16 */
struct kmip_message_extension {
    struct bytes vendor_identification;
    struct kmip_number criticality_indicator;
    struct kmip_any vendor_extension;
};

struct kmip_request_item {
    struct kmip_number operation;
    struct bytes unique_batch_item_id;
    struct kmip_any payload; /* a Structure */
    struct kmip_message_extension *extension;
};
extern const struct kmip_shape kmip_request_item_shape;

struct kmip_request {
    struct kmip_request_header header;
    struct kmip_list items; /* struct kmip_request_item */
};

/*
 * The version in the header of a request message of which only the beginning may be there, or be
 * well-formed: a message that cannot be read is answered in it (KMIP 1.4 §11.1). 0 if it does not
 * begin as a request does.
 */
uint16_t kmip_peek_version(struct bytes beginning);

/*
 * Reads a whole request message. `frame` is borrowed by everything in *ret_request.
 * *ret_version is as kmip_peek_version() gives it, whatever is wrong behind. MALFORMED; TOO_LARGE
 * (arena).
 */
enum status kmip_decode_request(struct bytes frame, struct arena *arena, uint16_t *ret_version,
                                struct kmip_request *ret_request) MUST_USE;

struct kmip_response_header {
    struct kmip_protocol_version *version;
    struct kmip_number time_stamp;
    struct bytes client_correlation_value;
    struct bytes server_correlation_value;
    struct kmip_number batch_count;
};
extern const struct kmip_shape kmip_response_header_shape;

struct kmip_response_item {
    struct kmip_number operation;
    struct bytes unique_batch_item_id;
    struct kmip_number result_status;
    struct kmip_number result_reason;
    struct bytes result_message;
    struct kmip_any payload; /* a Structure */
};
extern const struct kmip_shape kmip_response_item_shape;

struct kmip_response {
    struct kmip_response_header header;
    struct kmip_list items; /* struct kmip_response_item */
};

/* The client's side: reads a whole response message. */
enum status kmip_decode_response(struct bytes frame, struct arena *arena,
                                 struct kmip_response *ret_response) MUST_USE;

/*
 * The Result Reason for a status in a version: what def/errors.def says, or General Failure where
 * that reason is newer than the version.
 */
uint32_t kmip_result_reason(enum status status, uint16_t version);

#endif
