/* SPDX-License-Identifier: Apache-2.0 */
/* Query (KMIP 1.4 §4.25). */
#include "kmip/payloads.h"

static const struct kmip_field request_fields[] = {
    KMIP_FIELD(kmip_query_request, QUERY_FUNCTION, ENUMERATION, KMIP_REQUIRED | KMIP_REPEATED, 0,
               functions),
};
const struct kmip_shape kmip_query_request_shape = KMIP_SHAPE(kmip_query_request, request_fields);

static const struct kmip_field rng_parameters_fields[] = {
    KMIP_FIELD(kmip_rng_parameters, RNG_ALGORITHM, ENUMERATION, KMIP_REQUIRED, 0, algorithm),
    KMIP_FIELD(kmip_rng_parameters, CRYPTOGRAPHIC_ALGORITHM, ENUMERATION, 0, 0,
               cryptographic_algorithm),
    KMIP_FIELD(kmip_rng_parameters, CRYPTOGRAPHIC_LENGTH, INTEGER, 0, 0, cryptographic_length),
    KMIP_FIELD(kmip_rng_parameters, HASHING_ALGORITHM, ENUMERATION, 0, 0, hashing_algorithm),
    KMIP_FIELD(kmip_rng_parameters, DRBG_ALGORITHM, ENUMERATION, 0, 0, drbg_algorithm),
    KMIP_FIELD(kmip_rng_parameters, RECOMMENDED_CURVE, ENUMERATION, 0, 0, recommended_curve),
    KMIP_FIELD(kmip_rng_parameters, FIPS186_VARIATION, ENUMERATION, 0, 0, fips186_variation),
    KMIP_FIELD(kmip_rng_parameters, PREDICTION_RESISTANCE, BOOLEAN, 0, 0, prediction_resistance),
};
const struct kmip_shape kmip_rng_parameters_shape =
    KMIP_SHAPE(kmip_rng_parameters, rng_parameters_fields);

static const struct kmip_field profile_fields[] = {
    KMIP_FIELD(kmip_profile, PROFILE_NAME, ENUMERATION, KMIP_REQUIRED, 0, name),
    KMIP_FIELD(kmip_profile, SERVER_URI, TEXT_STRING, 0, 0, server_uri),
    KMIP_FIELD(kmip_profile, SERVER_PORT, INTEGER, 0, 0, server_port),
};
static const struct kmip_shape profile_shape = KMIP_SHAPE(kmip_profile, profile_fields);

static const struct kmip_field capability_fields[] = {
    KMIP_FIELD(kmip_capability, STREAMING_CAPABILITY, BOOLEAN, 0, 0, streaming),
    KMIP_FIELD(kmip_capability, ASYNCHRONOUS_CAPABILITY, BOOLEAN, 0, 0, asynchronous),
    KMIP_FIELD(kmip_capability, ATTESTATION_CAPABILITY, BOOLEAN, 0, 0, attestation),
    KMIP_FIELD(kmip_capability, BATCH_UNDO_CAPABILITY, BOOLEAN, 0, KMIP_VERSION_1_4, batch_undo),
    KMIP_FIELD(kmip_capability, BATCH_CONTINUE_CAPABILITY, BOOLEAN, 0, KMIP_VERSION_1_4,
               batch_continue),
    KMIP_FIELD(kmip_capability, UNWRAP_MODE, ENUMERATION, 0, 0, unwrap_mode),
    KMIP_FIELD(kmip_capability, DESTROY_ACTION, ENUMERATION, 0, 0, destroy_action),
    KMIP_FIELD(kmip_capability, SHREDDING_ALGORITHM, ENUMERATION, 0, 0, shredding_algorithm),
    KMIP_FIELD(kmip_capability, RNG_MODE, ENUMERATION, 0, 0, rng_mode),
};
static const struct kmip_shape capability_shape = KMIP_SHAPE(kmip_capability, capability_fields);

static const struct kmip_field response_fields[] = {
    KMIP_FIELD(kmip_query_response, OPERATION, ENUMERATION, KMIP_REPEATED, 0, operations),
    KMIP_FIELD(kmip_query_response, OBJECT_TYPE, ENUMERATION, KMIP_REPEATED, 0, object_types),
    KMIP_FIELD(kmip_query_response, VENDOR_IDENTIFICATION, TEXT_STRING, 0, 0,
               vendor_identification),
    KMIP_FIELD(kmip_query_response, SERVER_INFORMATION, ANY, 0, 0, server_information),
    KMIP_FIELD(kmip_query_response, APPLICATION_NAMESPACE, TEXT_STRING, KMIP_REPEATED, 0,
               application_namespaces),
    KMIP_FIELD(kmip_query_response, EXTENSION_INFORMATION, ANY, KMIP_REPEATED, KMIP_VERSION_1_1,
               extensions),
    KMIP_FIELD(kmip_query_response, ATTESTATION_TYPE, ENUMERATION, KMIP_REPEATED, KMIP_VERSION_1_2,
               attestation_types),
    KMIP_NESTED(kmip_query_response, RNG_PARAMETERS, KMIP_REPEATED, KMIP_VERSION_1_3,
                rng_parameters, kmip_rng_parameters_shape),
    KMIP_NESTED(kmip_query_response, PROFILE_INFORMATION, KMIP_REPEATED, KMIP_VERSION_1_3, profiles,
                profile_shape),
    KMIP_FIELD(kmip_query_response, VALIDATION_INFORMATION, ANY, KMIP_REPEATED, KMIP_VERSION_1_3,
               validations),
    KMIP_NESTED(kmip_query_response, CAPABILITY_INFORMATION, KMIP_REPEATED, KMIP_VERSION_1_3,
                capabilities, capability_shape),
    KMIP_FIELD(kmip_query_response, CLIENT_REGISTRATION_METHOD, ENUMERATION, KMIP_REPEATED,
               KMIP_VERSION_1_3, client_registration_methods),
};
const struct kmip_shape kmip_query_response_shape =
    KMIP_SHAPE(kmip_query_response, response_fields);
