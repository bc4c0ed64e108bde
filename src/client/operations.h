/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations of KMIP 1.x as functions. All of them send one request on a connection (batches
 * are told) and fail as client_call() does: with the status of the connection's failure, or of the
 * Result Reason (client_status_of_reason()), and a text. Outputs are untouched on failure. What
 * is "borrowed" lives until the next request on the connection.
 */
#ifndef KMIPD_CLIENT_OPERATIONS_H
#define KMIPD_CLIENT_OPERATIONS_H

#include "client/client.h"

#define CLIENT_ID_MAX 255

/* A Unique Identifier. One that is longer makes STATUS_TOO_LARGE. */
struct client_id {
    char text[CLIENT_ID_MAX + 1];
};

/* A custom attribute, or another one that is a Text String. */
struct client_text {
    const char *name;
    const char *value;
};

/* What a key is to be. The attributes are sent in this order. */
struct client_key_wish {
    uint32_t algorithm;  /* enum kmip_cryptographic_algorithm */
    uint32_t usage_mask; /* KMIP_CRYPTOGRAPHIC_USAGE_MASK_... */
    uint32_t length;     /* bits */
    const char *name;    /* Name attribute; NULL: none */
};

/* A key, secret or opaque object as the server gave it. End: secret_free() of the material. */
struct client_key {
    uint32_t object_type;
    uint32_t algorithm; /* 0: not told */
    uint32_t length;    /* bits; 0: not told */
    struct secret material;
};

/* Discover Versions (§4.26), asking for all. Writes at most `capacity`, the server's order; *ret_count
 * may be more. */
enum status client_discover_versions(struct client_connection *connection, uint16_t *ret_versions,
                                     size_t capacity, size_t *ret_count,
                                     struct error *error) MUST_USE;

/* Query (§4.25). *ret_response is borrowed. */
enum status client_query(struct client_connection *connection, const uint32_t *functions,
                         size_t count, struct kmip_query_response *ret_response,
                         struct error *error) MUST_USE;

/* Create (§4.1) a symmetric key. */
enum status client_create(struct client_connection *connection, const struct client_key_wish *wish,
                          struct client_id *ret_id, struct error *error) MUST_USE;

/* Register (§4.3) a symmetric key of our own. */
enum status client_register(struct client_connection *connection,
                            const struct client_key_wish *wish, const struct secret *material,
                            struct client_id *ret_id, struct error *error) MUST_USE;

/* Get (§4.11), in whatever format the server has it; Raw, Opaque and Transparent Symmetric Key are
 * understood. MALFORMED for anything else, or for another object than the one asked for. */
enum status client_get(struct client_connection *connection, const char *id,
                       struct client_key *ret_key, struct error *error) MUST_USE;

/*
 * The object in a payload of Get, as client_get() reads it; a pure function. *ret_material borrows
 * what the payload borrows. False if it is in no form that this client understands.
 */
bool client_read_object(const struct kmip_get_response *response, struct arena *arena,
                        struct client_key *ret_key, struct bytes *ret_material) MUST_USE;

/* Get Attributes (§4.12). *ret_response is borrowed; attributes that the object does not have are
 * not in it. */
enum status client_get_attributes(struct client_connection *connection, const char *id,
                                  const char *const *names, size_t count,
                                  struct kmip_get_attributes_response *ret_response,
                                  struct error *error) MUST_USE;

/* One attribute that is a Text String. *ret_text is borrowed, and absent (NULL) if there is none.
 * MALFORMED if the answer has another attribute, several, or one of another type. */
enum status client_get_text(struct client_connection *connection, const char *id, const char *name,
                            struct bytes *ret_text, struct error *error) MUST_USE;

/* The State attribute. MALFORMED if there is none. */
enum status client_get_state(struct client_connection *connection, const char *id,
                             enum kmip_state *ret_state, struct error *error) MUST_USE;

/* Adds `count` (at most CLIENT_ITEMS_MAX) attributes with one batch of Add Attribute (§4.14) and
 * checks that each is echoed. The error is that of the first item that failed. */
enum status client_add_texts(struct client_connection *connection, const char *id,
                             const struct client_text *attributes, size_t count,
                             struct error *error) MUST_USE;

/* Activate (§4.19). */
enum status client_activate(struct client_connection *connection, const char *id,
                            struct error *error) MUST_USE;

/* Revoke (§4.20) for a reason (enum kmip_revocation_reason_code) with a message, which may be NULL.
 * Key Compromise needs the time of it: the present is sent. */
enum status client_revoke(struct client_connection *connection, const char *id, uint32_t reason,
                          const char *message, struct error *error) MUST_USE;

/* Destroy (§4.21). */
enum status client_destroy(struct client_connection *connection, const char *id,
                           struct error *error) MUST_USE;

/* Locate (§4.9) objects that have all these attributes, at most `maximum` (0: all). The list of
 * struct bytes is borrowed. */
enum status client_locate(struct client_connection *connection,
                          const struct client_text *attributes, size_t count, uint32_t maximum,
                          struct kmip_list *ret_ids, struct error *error) MUST_USE;

#endif
