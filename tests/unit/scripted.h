/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: a KMIP server of one thread in this process, which does what a script says. Failures
 * inside it show as answers that do not come. */
#ifndef KMIPD_TESTS_SCRIPTED_H
#define KMIPD_TESTS_SCRIPTED_H

#include "kmip/payloads.h"
#include "tls_peer.h"

enum scripted_act {
    ACT_ANSWER,       /* `answer` makes the reply */
    ACT_RAW,          /* replies with `raw`, whatever it was asked */
    ACT_SILENT,       /* never replies */
    ACT_HANG_UP,      /* closes when it was asked */
    ACT_NO_HANDSHAKE, /* accepts the connection and says nothing */
};

struct scripted_script {
    enum scripted_act act;
    void (*answer)(void *context, const struct kmip_request *request, uint16_t version,
                   struct buffer *reply);
    void (*seen)(void *context, struct bytes request); /* of every request; may be NULL */
    void *context;
    struct bytes raw;
};

struct scripted_server;

/* Serves on a free port of 127.0.0.1; `script` is borrowed and may be changed between requests. */
struct scripted_server *scripted_start(const struct credentials *credentials,
                                       const struct scripted_script *script);
void scripted_stop(struct scripted_server *server);

/* "127.0.0.1:PORT"; lives as long as the server. */
const char *scripted_address(const struct scripted_server *server);

/* How many connections came, and how many requests. */
unsigned scripted_connections(struct scripted_server *server);
unsigned scripted_requests(struct scripted_server *server);

/* Copies the latest request that was received whole; returns its size. */
size_t scripted_last_request(struct scripted_server *server, uint8_t *ret_bytes, size_t capacity);

/* SHA-256 of the client's certificate on the latest connection; false if it showed none. */
bool scripted_client(struct scripted_server *server, uint8_t ret_fingerprint[32]);

/* For `answer`: a response message that says Success to each item, with the payload that `payload`
 * writes for it. */
typedef void scripted_payload(void *context, const struct kmip_request_item *item,
                              struct buffer *reply);
void scripted_success(const struct kmip_request *request, uint16_t version, scripted_payload *write,
                      void *context, struct buffer *reply);

/* As scripted_success(), but every item fails, for `reason`. */
void scripted_failure(const struct kmip_request *request, uint16_t version, uint32_t reason,
                      const char *message, struct buffer *reply);

#endif
