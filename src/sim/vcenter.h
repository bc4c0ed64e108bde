/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCenter's conversations with the servers of a key provider, message by message as it was recorded
 * (vCenter 7.0.3): KMIP 1.1 in every header; short connections, each beginning with a Discover
 * Versions without a Unique Batch Item ID; after it ids of "QLKC" and a number; a credential, where
 * there is one, with some operations only.
 *
 * A vcenter is used by one thread at a time, open one for each; it stays where it was opened.
 * Functions fail with a text.
 */
#ifndef KMIPD_SIM_VCENTER_H
#define KMIPD_SIM_VCENTER_H

#include "client/operations.h"
#include "sim/sim.h"

#define VCENTER_PASSED_MAX 512

struct vcenter {
    struct sim *sim;
    struct client *client;
    size_t server_count;
    char answered_by[CLIENT_ADDRESS_MAX]; /* the server of the latest conversation */
    char passed[VCENTER_PASSED_MAX];      /* servers that were passed over in it, for people */
};

enum vcenter_trust {
    VCENTER_TRUST_STORED,    /* pinned by `trust`, else by --ca */
    VCENTER_TRUST_NOBODY,    /* handshakes only: to see a certificate */
    VCENTER_TRUST_AUTHORITY, /* by --ca alone */
};

/* All servers of the options, trusted as `trust` has stored. NOT_AUTHENTICATED with what to do
 * where a server is not trusted yet. End: vcenter_close(). */
enum status vcenter_open(struct sim *sim, struct vcenter *ret_vcenter,
                         struct error *error) MUST_USE;

/* One server of the options. */
enum status vcenter_open_one(struct sim *sim, size_t server, enum vcenter_trust trust,
                             struct vcenter *ret_vcenter, struct error *error) MUST_USE;

/* A list of its own, with its own patience. */
enum status vcenter_open_list(struct sim *sim, const struct client_server *servers, size_t count,
                              unsigned connect_milliseconds, struct vcenter *ret_vcenter,
                              struct error *error) MUST_USE;

void vcenter_close(struct vcenter *vcenter);

/* ---- The provider ---- */

/* A TLS handshake without a byte of KMIP, with the first server of the list that takes part. */
enum status vcenter_shake_hands(struct vcenter *vcenter, struct client_peer *ret_peer,
                                struct error *error) MUST_USE;

/* Discover Versions without an id, and with one. Writes the versions as people read them. */
enum status vcenter_discover(struct vcenter *vcenter, char *ret_versions, size_t size,
                             struct error *error) MUST_USE;

/* Discover Versions, and Query for Query Server Information. */
enum status vcenter_query(struct vcenter *vcenter, char *ret_vendor, size_t size,
                          struct error *error) MUST_USE;

/* ---- Keys ---- */

/* Discover Versions, Create: AES, Encrypt and Decrypt, 256 bits; no name, not activated. */
enum status vcenter_create_key(struct vcenter *vcenter, struct client_id *ret_id,
                               struct error *error) MUST_USE;

struct vcenter_key {
    struct secret material; /* 32 bytes */
    enum kmip_state state;  /* as it is now */
    bool activated;         /* it was Pre-Active */
};

/* Discover Versions, Get, Get Attributes (State), and Activate where that says Pre-Active. Gives
 * the key in whatever state it is. End: secret_free() of the material. */
enum status vcenter_read_key(struct vcenter *vcenter, const char *id, struct vcenter_key *ret_key,
                             struct error *error) MUST_USE;

/*
 * As vcenter_read_key(), for a machine that is to run: a key that is not Active, or not to be had,
 * is a failure, with the status vSphere has for it and the words in which it says it.
 * PERMISSION_DENIED: the key is there, but not Active; OBJECT_NOT_FOUND.
 */
enum status vcenter_unlock(struct vcenter *vcenter, const char *id, struct secret *ret_material,
                           struct error *error) MUST_USE;

/* Discover Versions, Get Attributes for each of three custom attributes, and one batch of Add
 * Attribute for those that are not there. */
enum status vcenter_tag_product(struct vcenter *vcenter, const char *id,
                                struct error *error) MUST_USE;
enum status vcenter_tag_component(struct vcenter *vcenter, const char *id, const char *identifier,
                                  const char *component, const char *name,
                                  struct error *error) MUST_USE;

/* ---- What vCenter never sends, but an administrator of keys might ---- */

enum status vcenter_revoke_key(struct vcenter *vcenter, const char *id,
                               struct error *error) MUST_USE;
enum status vcenter_destroy_key(struct vcenter *vcenter, const char *id,
                                struct error *error) MUST_USE;

#endif
