/* SPDX-License-Identifier: Apache-2.0 */
/* What clients and connections are made of. Inside src/client/ only. */
#ifndef KMIPD_CLIENT_CONNECTION_H
#define KMIPD_CLIENT_CONNECTION_H

#include <pthread.h>

#include "client/address.h"
#include "client/tls.h"

/* One server of the list. */
struct server {
    char *text; /* as in the options */
    struct client_address address;
    enum client_proof proof;
    uint8_t pin[CLIENT_SHA256_SIZE];
    SSL_SESSION *session; /* the latest one, to be resumed; guarded by the client's lock */
};

struct client {
    struct client_options options; /* without the borrowed list of servers */
    SSL_CTX *context;
    pthread_mutex_t lock; /* for the servers' sessions; all else is constant */
    struct server servers[CLIENT_SERVERS_MAX];
    size_t server_count;
};

struct client_connection {
    struct client *client;
    struct server *server;
    int socket;
    SSL *ssl;
    bool broken; /* an exchange failed: whose answer would come next is unknown */
    struct client_peer peer;
    struct arena arena;
    uint8_t *memory; /* locked: the request on its way out, then the answer */
    size_t capacity;
    char id_prefix[CLIENT_ID_PREFIX_LENGTH];
    bool numbered;
    bool carry_on;
    struct bytes credential;
};

/* Called by OpenSSL for each session that can be resumed. */
int client_keep_session(SSL *ssl, SSL_SESSION *session);

#endif
