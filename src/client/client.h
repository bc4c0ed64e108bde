/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of KMIP: a client for tools and tests, on the same codec as the server. A client
 * knows the servers of one key provider in the order in which they are tried; a connection belongs
 * to one of them and carries requests of one or more batch items, one at a time. Typed operations
 * are in client/operations.h.
 *
 * Nothing is sent to a server before it has proven who it is: by the pinned fingerprint of its
 * certificate (as vCenter pins what an administrator has clicked "Trust" for) or by a certificate
 * authority. client_peer() of client_shake_hands() gives the fingerprint to pin.
 *
 * A client may be used by any number of threads, a connection by one at a time. Programs that use
 * this library ignore SIGPIPE, and have made the secret heap (base/secret.h). Keys are received
 * into locked memory and handed out as struct secret.
 */
#ifndef KMIPD_CLIENT_CLIENT_H
#define KMIPD_CLIENT_CLIENT_H

#include "base/error.h"
#include "base/secret.h"
#include "client/answer.h"

#define CLIENT_SERVERS_MAX      16
#define CLIENT_ADDRESS_MAX      280 /* "host:port" with the NUL */
#define CLIENT_SHA256_SIZE      32
#define CLIENT_SHA1_SIZE        20
#define CLIENT_ID_PREFIX_LENGTH 4

struct client;
struct client_connection;

/* ---- Who we are ---- */

/* A certificate with its chain and private key. Any thread; shared by any number of clients. */
struct client_identity;

/*
 * Reads both from PEM files; the key may stand in the certificate's file (`key_file` the same).
 * Texts for: missing, unreadable, readable by others, under a passphrase, damaged, not belonging
 * together. End: client_identity_free(), after the clients that use it.
 */
enum status client_identity_load(const char *certificate_file, const char *key_file,
                                 struct client_identity **ret_identity,
                                 struct error *error) MUST_USE;
void client_identity_free(struct client_identity *identity);

/* SHA-256 of the certificate's DER: how kmipd knows this client. */
const uint8_t *client_identity_fingerprint(const struct client_identity *identity);

/* ---- The servers ---- */

struct client_server {
    const char *address;   /* "192.0.2.1:5696", "kms1.example.com:5696", "[2001:db8::1]:5696" */
    const uint8_t *pinned; /* SHA-256 of its certificate's DER; NULL: `ca_file` decides */
};

struct client_options {
    const struct client_server *servers;    /* in the order in which they are tried; copied */
    size_t server_count;                    /* 1 to CLIENT_SERVERS_MAX */
    const struct client_identity *identity; /* borrowed; NULL: no client certificate */
    const char *ca_file; /* PEM; server certificates must be signed by it and be for the host
                            connected to; NULL: only pinned servers receive requests */
    uint16_t version;    /* in every header, such as KMIP_VERSION_1_4 */
    unsigned connect_milliseconds; /* for TCP and TLS together, each server (without the name
                                      service, which has time limits of its own) */
    unsigned answer_milliseconds;  /* from the first byte sent to the last one received */
    size_t answer_max;             /* bytes of one answer; larger ones are not read */
    bool resume;                   /* offer TLS sessions of earlier connections */
    bool tls12;                    /* no TLS 1.3 */
    /* Told of each server that fail-over passes, on the calling thread; may be NULL. */
    void (*passed_over)(void *context, const char *server, const struct error *why);
    void *context;
};

/* What a program that has no other wishes starts with: 1.4, 5 s, 25 s, 1 MiB. */
void client_options_init(struct client_options *options);

/* Checks the options, loads the authority. Connects to nobody. End: client_free(). */
enum status client_open(const struct client_options *options, struct client **ret_client,
                        struct error *error) MUST_USE;

/* Every connection must have been closed. NULL is fine. */
void client_free(struct client *client);

/* ---- Connections ---- */

/* What the TLS handshake showed of the server. */
struct client_peer {
    char server[CLIENT_ADDRESS_MAX]; /* as in the options */
    uint8_t sha256[CLIENT_SHA256_SIZE];
    uint8_t sha1[CLIENT_SHA1_SIZE]; /* vCenter shows this one */
    char subject[256];              /* RFC 2253 */
    char issuer[256];
    int64_t valid_until; /* seconds since 1970 */
    char protocol[16];   /* "TLSv1.3" */
    char cipher[64];
    bool resumed;
    int64_t connect_microseconds; /* TCP; without the name service */
    int64_t handshake_microseconds;
};

/*
 * Connects to the server of this index in the options. INVALID_ARGUMENT where neither a pin nor an
 * authority could prove who it is; TIMED_OUT, CLOSED, IO; NOT_AUTHENTICATED: it is somebody else.
 * End: client_disconnect().
 */
enum status client_connect_to(struct client *client, size_t server,
                              struct client_connection **ret_connection,
                              struct error *error) MUST_USE;

/* The first server that can be connected to, in order. The text of the error has one reason for
 * each server. */
enum status client_connect(struct client *client, struct client_connection **ret_connection,
                           struct error *error) MUST_USE;

/* Says goodbye (close_notify) and frees. NULL is fine. */
void client_disconnect(struct client_connection *connection);

/*
 * Connects, shakes hands and says goodbye without a byte of KMIP: vCenter's reachability check, and
 * the way to a certificate that is not trusted yet. A pin or an authority is checked if there is
 * one; `ret_peer` is filled also where that fails.
 */
enum status client_shake_hands(struct client *client, size_t server, struct client_peer *ret_peer,
                               struct error *error) MUST_USE;

/* Borrowed until the connection ends. */
const struct client_peer *client_peer(const struct client_connection *connection);

/*
 * From now on every batch item has a Unique Batch Item ID: `prefix` (CLIENT_ID_PREFIX_LENGTH bytes)
 * and the item's number in its message, from 1, in 32 bits, least significant byte first. Before,
 * only the items of batches of several have one, with a prefix of zeros.
 */
void client_number_items(struct client_connection *connection, const char *prefix);

/* A Username and Password Credential, encoded (KMIP 1.4 §2.1.2). NO_MEMORY. */
enum status client_credential_make(const char *username, struct bytes password,
                                   struct secret *ret_credential) MUST_USE;

/* From now on every request carries this credential, which is borrowed; NULL: none. */
void client_use_credential(struct client_connection *connection, const struct secret *credential);

/* What happens to the rest of a batch when one of its items has failed (KMIP 1.4 §6.13): it is
 * left (false, the standard's default), or done all the same. */
void client_carry_on(struct client_connection *connection, bool carry_on);

/*
 * Sends one request and reads its answer. `ret_answer` and what it points to live until the next
 * request on this connection, or its end. A status other than OK means that there is no answer to
 * trust: TIMED_OUT, CLOSED, IO, MALFORMED, TOO_LARGE; the connection is of no more use then.
 * That the server refused an item is told by client_result_check().
 */
enum status client_exchange(struct client_connection *connection, const struct client_item *items,
                            size_t count, struct client_answer *ret_answer,
                            struct error *error) MUST_USE;

/*
 * One item: sends, checks, decodes. `payload` and `ret_payload` are the operation's structs of
 * kmip/payloads.h; NULL for an empty payload. *ret_payload lives as an answer does.
 */
enum status client_call(struct client_connection *connection, uint32_t operation,
                        const void *payload, void *ret_payload, struct error *error) MUST_USE;

/* Memory for building payloads (not the array of items); forgotten when the request has been sent. */
struct arena *client_arena(struct client_connection *connection);

/*
 * Runs `task` on a connection to the first server of the list; where that server cannot be reached
 * or fails at its side (client_should_try_next()), on the next one, and so on. Thus a task may run
 * more than once. The text of the error has one reason for each server.
 */
typedef enum status client_task(struct client_connection *connection, void *context,
                                struct error *error);
enum status client_on_any_server(struct client *client, client_task *task, void *context,
                                 struct error *error) MUST_USE;

/*
 * Whether another server of the same provider may do better after this status: true for all that
 * went wrong on the way or at the server, false for an answer that is final (no such object, not
 * permitted in its state, wrong field, ...).
 */
bool client_should_try_next(enum status status);

#endif
