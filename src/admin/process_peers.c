/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of the admin process: how many, and for how long. */
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/process_inside.h"
#include "base/clock.h"
#include "base/log.h"

#define ANSWER_TIMES 5 /* so much longer than a request may an answer take */

/* ---- The lists ---- */

static void put(struct peer *peer, struct peer_list *list)
{
    if (peer->list != NULL)
        TAILQ_REMOVE(peer->list, peer, place);
    peer->list = list;
    peer->since = clock_monotonic();
    TAILQ_INSERT_TAIL(list, peer, place);
}

void process_move_peer(struct process *process, struct evhttp_request *request,
                       struct peer_list *list)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    if (connection == NULL)
        return;
    SSL *ssl = bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(connection));
    struct peer *peer = ssl == NULL ? NULL : SSL_get_ex_data(ssl, process->peer_index);
    if (peer != NULL)
        put(peer, list);
}

/* The loop then sees its end, and frees it. */
static void hang_up(struct peer *peer)
{
    int fd = SSL_get_fd(peer->ssl);
    if (fd >= 0)
        (void)shutdown(fd, SHUT_RDWR);
}

/* ---- Beginning and end ---- */

/* Called by SSL_free(). */
static void forget_peer(void *parent, void *data, CRYPTO_EX_DATA *extra, int index, long argument,
                        void *pointer)
{
    struct peer *peer = data;
    if (peer == NULL)
        return;
    struct process *process = peer->process;
    TAILQ_REMOVE(peer->list, peer, place);
    free(peer);
    if (process->peer_count-- == process->setup.connections_max && !process->ending)
        (void)evconnlistener_enable(process->listener);
}

/* evhttp would speak without TLS where it is given nothing: better to end, and be started again. */
static void end_without_memory(void)
{
    log_critical("admin no memory for a connection");
    _exit(1);
}

struct bufferevent *process_make_peer(struct event_base *base, void *context)
{
    struct process *process = context;
    struct peer *peer = calloc(1, sizeof(*peer));
    SSL *ssl = SSL_new(process->tls);
    if (peer == NULL || ssl == NULL || SSL_set_ex_data(ssl, process->peer_index, peer) != 1)
        end_without_memory();
    peer->process = process;
    peer->ssl = ssl;
    put(peer, &process->silent);
    process->peer_count++;
    struct bufferevent *event = bufferevent_openssl_socket_new(
        base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (event == NULL)
        end_without_memory();
    /* Clients that end without saying so in TLS are as good as others: HTTP says where it ends. */
    bufferevent_openssl_set_allow_dirty_shutdown(event, 1);
    if (process->peer_count >= process->setup.connections_max) {
        struct peer *oldest = TAILQ_FIRST(&process->silent);
        (void)evconnlistener_disable(process->listener);
        if (oldest != peer)
            hang_up(oldest);
    }
    return event;
}

/* Ends those of a list that are in it for too long. */
static void end_slow(const struct peer_list *list, int64_t limit)
{
    struct peer *peer;
    int64_t now = clock_monotonic();
    TAILQ_FOREACH(peer, list, place)
    {
        if (now - peer->since < limit)
            return;
        hang_up(peer);
    }
}

void process_look_at_peers(struct process *process)
{
    int64_t limit = process->setup.request_seconds * INT64_C(1000);
    end_slow(&process->silent, limit);
    end_slow(&process->answering, limit * ANSWER_TIMES);
    /* All may be waited for, and none has ended since: those that idle make room. */
    if (process->peer_count >= process->setup.connections_max &&
        !TAILQ_EMPTY(&process->silent))
        hang_up(TAILQ_FIRST(&process->silent));
}

enum status process_open_peers(struct process *process, struct error *error)
{
    TAILQ_INIT(&process->silent);
    TAILQ_INIT(&process->working);
    TAILQ_INIT(&process->answering);
    process->peer_index =
        CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, NULL, NULL, NULL, forget_peer);
    return process->peer_index >= 0
               ? STATUS_OK
               : error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
}
