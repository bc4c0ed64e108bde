/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request and response payloads (KMIP 1.4 §4) and the objects in them (§2). Members are in the
 * order of the standard; see kmip/codec.h for what stands for "absent". The tables are in
 * kmip/payloads/, one file an operation.
 */
#ifndef KMIPD_KMIP_PAYLOADS_H
#define KMIPD_KMIP_PAYLOADS_H

#include "kmip/message.h"

/* KMIP 1.4 §2.1.1. `value` is typed by the attribute of that name. */
struct kmip_named_attribute {
    struct bytes name;
    struct kmip_number index;
    struct kmip_any value;
};
extern const struct kmip_shape kmip_named_attribute_shape;

/* KMIP 1.4 §2.1.8. Names refer to Template objects. */
struct kmip_template_attribute {
    struct kmip_list names;      /* struct kmip_any, encoded Name structures */
    struct kmip_list attributes; /* struct kmip_named_attribute */
};
extern const struct kmip_shape kmip_template_attribute_shape;

/* KMIP 1.4 §2.1.3. Key Value is a Structure, or a Byte String when the key is wrapped. */
struct kmip_key_block {
    struct kmip_number key_format_type;
    struct kmip_number key_compression_type;
    struct kmip_any key_value;
    struct kmip_number cryptographic_algorithm;
    struct kmip_number cryptographic_length;
    struct kmip_any key_wrapping_data;
};
extern const struct kmip_shape kmip_key_block_shape;

/* KMIP 1.4 §2.1.4 */
struct kmip_key_value {
    struct kmip_any key_material;
    struct kmip_list attributes; /* struct kmip_named_attribute */
};
extern const struct kmip_shape kmip_key_value_shape;

/* KMIP 1.4 §2.2.2 */
struct kmip_symmetric_key {
    struct kmip_key_block *key_block;
};
extern const struct kmip_shape kmip_symmetric_key_shape;

/* KMIP 1.4 §2.2.7 */
struct kmip_secret_data {
    struct kmip_number secret_data_type;
    struct kmip_key_block *key_block;
};
extern const struct kmip_shape kmip_secret_data_shape;

/* KMIP 1.4 §2.2.8 */
struct kmip_opaque_object {
    struct kmip_number opaque_data_type;
    struct bytes opaque_data_value;
};
extern const struct kmip_shape kmip_opaque_object_shape;

struct kmip_create_request {
    struct kmip_number object_type;
    struct kmip_template_attribute *template_attribute;
};
/* Also the answer to Register and Re-key, without the object type. */
struct kmip_create_response {
    struct kmip_number object_type;
    struct bytes unique_identifier;
    struct kmip_template_attribute *template_attribute;
};
extern const struct kmip_shape kmip_create_request_shape;
extern const struct kmip_shape kmip_create_response_shape;

/* The managed object itself stays encoded: core decodes the kind that the type names. */
struct kmip_register_request {
    struct kmip_number object_type;
    struct kmip_template_attribute *template_attribute;
    uint32_t object_tag;    /* KMIP_TAG_SYMMETRIC_KEY, ...; 0: none */
    struct kmip_any object; /* a Structure */
};
/* Register's object is a choice, which a shape cannot say: as kmip_decode() and kmip_encode(). */
enum status kmip_decode_register_request(struct ttlv_reader reader, struct arena *arena,
                                         struct kmip_register_request *ret_request) MUST_USE;
void kmip_encode_register_request(const struct kmip_register_request *request, uint16_t version,
                                  struct buffer *buffer);

struct kmip_get_request {
    struct bytes unique_identifier;
    struct kmip_number key_format_type;
    struct kmip_number key_wrap_type;
    struct kmip_number key_compression_type;
    struct kmip_any key_wrapping_specification;
};
struct kmip_get_response {
    struct kmip_number object_type;
    struct bytes unique_identifier;
    struct kmip_symmetric_key *symmetric_key; /* exactly one of the three */
    struct kmip_secret_data *secret_data;
    struct kmip_opaque_object *opaque_object;
};
extern const struct kmip_shape kmip_get_request_shape;
extern const struct kmip_shape kmip_get_response_shape;

struct kmip_get_attributes_request {
    struct bytes unique_identifier;
    struct kmip_list attribute_names; /* struct bytes */
};
struct kmip_get_attributes_response {
    struct bytes unique_identifier;
    struct kmip_list attributes; /* struct kmip_named_attribute */
};
extern const struct kmip_shape kmip_get_attributes_request_shape;
extern const struct kmip_shape kmip_get_attributes_response_shape;

struct kmip_get_attribute_list_response {
    struct bytes unique_identifier;
    struct kmip_list attribute_names; /* struct bytes */
};
extern const struct kmip_shape kmip_get_attribute_list_response_shape;

/* Requests and answers of Add Attribute and Modify Attribute, and the answer of Delete Attribute. */
struct kmip_attribute_change {
    struct bytes unique_identifier;
    struct kmip_named_attribute *attribute;
};
extern const struct kmip_shape kmip_attribute_change_shape;

struct kmip_delete_attribute_request {
    struct bytes unique_identifier;
    struct bytes attribute_name;
    struct kmip_number attribute_index;
};
extern const struct kmip_shape kmip_delete_attribute_request_shape;

struct kmip_locate_request {
    struct kmip_number maximum_items;
    struct kmip_number offset_items;
    struct kmip_number storage_status_mask;
    struct kmip_number object_group_member;
    struct kmip_template_attribute *template_attribute; /* not of the standard; FortiGate sends it */
    struct kmip_list attributes;                        /* struct kmip_named_attribute */
};
struct kmip_locate_response {
    struct kmip_number located_items;
    struct kmip_list unique_identifiers; /* struct bytes */
};
extern const struct kmip_shape kmip_locate_request_shape;
extern const struct kmip_shape kmip_locate_response_shape;

/* Payloads of a Unique Identifier alone: Get Attribute List, Activate, Destroy requests; Activate,
 * Revoke, Destroy answers. */
struct kmip_identifier {
    struct bytes unique_identifier;
};
extern const struct kmip_shape kmip_identifier_shape;

/* KMIP 1.4 §3.31 */
struct kmip_revocation_reason {
    struct kmip_number code;
    struct bytes message;
};
extern const struct kmip_shape kmip_revocation_reason_shape;

struct kmip_revoke_request {
    struct bytes unique_identifier;
    struct kmip_revocation_reason *revocation_reason;
    struct kmip_number compromise_occurrence_date;
};
extern const struct kmip_shape kmip_revoke_request_shape;

/* Request and answer of Check. */
struct kmip_check {
    struct bytes unique_identifier;
    struct kmip_number usage_limits_count;
    struct kmip_number cryptographic_usage_mask;
    struct kmip_number lease_time;
};
extern const struct kmip_shape kmip_check_shape;

struct kmip_rekey_request {
    struct bytes unique_identifier;
    struct kmip_number offset; /* seconds */
    struct kmip_template_attribute *template_attribute;
};
struct kmip_rekey_response {
    struct bytes unique_identifier;
    struct kmip_template_attribute *template_attribute;
};
extern const struct kmip_shape kmip_rekey_request_shape;
extern const struct kmip_shape kmip_rekey_response_shape;

struct kmip_query_request {
    struct kmip_list functions; /* struct kmip_number */
};
struct kmip_query_response {
    struct kmip_list operations;   /* struct kmip_number */
    struct kmip_list object_types; /* struct kmip_number */
    struct bytes vendor_identification;
    struct kmip_any server_information;
    struct kmip_list application_namespaces; /* struct bytes */
    struct kmip_list extensions;             /* struct kmip_any: Extension Information */
    struct kmip_list attestation_types;      /* struct kmip_number */
    struct kmip_list rng_parameters;         /* struct kmip_rng_parameters */
    struct kmip_list profiles;               /* struct kmip_profile */
    struct kmip_list validations;            /* struct kmip_any */
    struct kmip_list capabilities;           /* struct kmip_capability */
    struct kmip_list client_registration_methods; /* struct kmip_number */
};
/* KMIP 1.4 §2.1.18 */
struct kmip_rng_parameters {
    struct kmip_number algorithm;
    struct kmip_number cryptographic_algorithm;
    struct kmip_number cryptographic_length;
    struct kmip_number hashing_algorithm;
    struct kmip_number drbg_algorithm;
    struct kmip_number recommended_curve;
    struct kmip_number fips186_variation;
    struct kmip_number prediction_resistance;
};
extern const struct kmip_shape kmip_rng_parameters_shape;
/* KMIP 1.4 §2.1.19 */
struct kmip_profile {
    struct kmip_number name;
    struct bytes server_uri;
    struct kmip_number server_port;
};
/* KMIP 1.4 §2.1.21 */
struct kmip_capability {
    struct kmip_number streaming;
    struct kmip_number asynchronous;
    struct kmip_number attestation;
    struct kmip_number batch_undo;
    struct kmip_number batch_continue;
    struct kmip_number unwrap_mode;
    struct kmip_number destroy_action;
    struct kmip_number shredding_algorithm;
    struct kmip_number rng_mode;
};
extern const struct kmip_shape kmip_query_request_shape;
extern const struct kmip_shape kmip_query_response_shape;

/* Request and answer of Discover Versions. */
struct kmip_discover_versions {
    struct kmip_list versions; /* struct kmip_protocol_version */
};
extern const struct kmip_shape kmip_discover_versions_shape;

#endif
