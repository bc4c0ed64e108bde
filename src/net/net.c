/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net.h"

#include <stdlib.h>

#include "base/clock.h"
#include "net/connection.h"
#include "net/tls.h"
#include "ttlv/ttlv.h"

enum {
    LINGER_MILLISECONDS = 2000,
    IDLE_SLACK = 1000, /* an idle connection's deadline is stamped once a second: never too early */
};

struct net {
    struct loop_shared shared;
    struct tickets *tickets;
    char *certificate_file;
    char *key_file;
    bool legacy_ciphers;
    unsigned port;
    unsigned loop_count;
    struct loop loops[];
};

static void net_free(struct net *net)
{
    for (unsigned i = 0; i < net->loop_count; ++i)
        loop_free(&net->loops[i]);
    tickets_free(net->tickets);
    clients_free(net->shared.clients);
    free(net->certificate_file);
    free(net->key_file);
    free(net);
}

static enum status no_memory(struct error *error)
{
    return error_set(error, STATUS_NO_MEMORY, "out of memory");
}

static void set_waits(int64_t waits[static WAIT_COUNT], const struct net_options *options)
{
    int64_t frame = (int64_t)options->frame_seconds * 1000;
    int64_t idle = (int64_t)options->idle_seconds * 1000 + IDLE_SLACK;
    waits[WAIT_HANDSHAKE] = (int64_t)options->handshake_seconds * 1000;
    waits[WAIT_FIRST_FRAME] = idle;
    waits[WAIT_IDLE] = idle;
    waits[WAIT_FRAME] = frame;
    waits[WAIT_WRITE] = frame;
    waits[WAIT_LINGER] = LINGER_MILLISECONDS;
}

static bool options_valid(const struct net_options *options)
{
    return options->loops > 0 && options->frame_max >= TTLV_HEADER_SIZE &&
           options->connections_max > 0 && options->connections_per_certificate > 0 &&
           options->handshake_seconds > 0 && options->frame_seconds > 0 &&
           options->idle_seconds > 0;
}

static enum status make(const struct net_options *options, const struct net_handler *handler,
                        struct net **ret_net, struct error *error)
{
    if (!options_valid(options))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "network limits, deadlines and the number of loops must not be 0");
    struct net *net = calloc(1, sizeof(*net) + options->loops * sizeof(net->loops[0]));
    if (net == NULL)
        return no_memory(error);
    net->loop_count = options->loops;
    for (unsigned i = 0; i < net->loop_count; ++i)
        loop_clear(&net->loops[i], i);
    net->legacy_ciphers = options->legacy_ciphers;
    net->shared.loops = net->loops;
    net->shared.loop_count = net->loop_count;
    net->shared.handler = *handler;
    net->shared.frame_max = options->frame_max;
    net->shared.connections_max = options->connections_max;
    set_waits(net->shared.waits, options);
    net->certificate_file = strdup(options->certificate_file);
    net->key_file = strdup(options->key_file);
    enum status status = tickets_make(&net->tickets, error);
    if (status == STATUS_OK &&
        (net->certificate_file == NULL || net->key_file == NULL ||
         clients_make(options->connections_max, options->connections_per_certificate,
                      &net->shared.clients) != STATUS_OK))
        status = no_memory(error);
    if (status != STATUS_OK) {
        net_free(net);
        return status;
    }
    *ret_net = net;
    return STATUS_OK;
}

/* One context for each loop, or none at all. */
static enum status make_contexts(struct net *net, const struct identity *identity,
                                 SSL_CTX **ret_contexts, struct error *error)
{
    enum status status = STATUS_OK;
    for (unsigned i = 0; status == STATUS_OK && i < net->loop_count; ++i)
        status = tls_context_make(identity, net->loops[i].library, net->tickets,
                                  net->legacy_ciphers, &ret_contexts[i], error);
    for (unsigned i = 0; status != STATUS_OK && i < net->loop_count; ++i)
        SSL_CTX_free(ret_contexts[i]);
    return status;
}

static enum status load_certificate(struct net *net, struct error *ret_warning, struct error *error)
{
    struct identity identity;
    enum status status =
        identity_load(net->certificate_file, net->key_file, &identity, ret_warning, error);
    if (status != STATUS_OK)
        return status;
    SSL_CTX **contexts = calloc(net->loop_count, sizeof(SSL_CTX *));
    status = contexts == NULL ? no_memory(error) : make_contexts(net, &identity, contexts, error);
    for (unsigned i = 0; status == STATUS_OK && i < net->loop_count; ++i)
        loop_set_tls(&net->loops[i], contexts[i]);
    free(contexts);
    identity_free(&identity);
    return status;
}

static enum status make_loops(struct net *net, const char *text, struct error *error)
{
    union address address = {0};
    enum status status = address_parse(text, &address, error);
    for (unsigned i = 0; status == STATUS_OK && i < net->loop_count; ++i) {
        int listener = -1;
        status = address_listen(&address, i == 0, &listener, error);
        if (status == STATUS_OK)
            status = loop_init(&net->loops[i], &net->shared, listener, error);
    }
    net->port = address_port(&address);
    return status;
}

/* Ends loops that have been started; each waits for no more than outstanding answers. */
static void stop_loops(struct net *net, unsigned milliseconds)
{
    int64_t stop_at = clock_monotonic() + milliseconds;
    for (unsigned i = 0; i < net->loop_count; ++i)
        loop_stop(&net->loops[i], stop_at);
    for (unsigned i = 0; i < net->loop_count; ++i)
        loop_join(&net->loops[i]);
}

enum status net_start(const struct net_options *options, const struct net_handler *handler,
                      struct net **ret_net, struct error *ret_warning, struct error *error)
{
    struct net *net;
    enum status status = make(options, handler, &net, error);
    if (status != STATUS_OK)
        return status;
    status = load_certificate(net, ret_warning, error);
    if (status == STATUS_OK)
        status = make_loops(net, options->address, error);
    for (unsigned i = 0; status == STATUS_OK && i < net->loop_count; ++i)
        status = loop_start(&net->loops[i], error);
    if (status == STATUS_OK) {
        *ret_net = net;
        return STATUS_OK;
    }
    stop_loops(net, 0);
    net_free(net);
    return status;
}

unsigned net_port(const struct net *net)
{
    return net->port;
}

enum status net_reload_certificate(struct net *net, struct error *error)
{
    struct error warning;
    enum status status = load_certificate(net, &warning, error);
    const struct net_handler *handler = &net->shared.handler;
    if (status == STATUS_OK && warning.text[0] != '\0' && handler->event != NULL)
        handler->event(handler->context, "", warning.text);
    return status;
}

void net_counters(struct net *net, struct net_counters *ret_counters)
{
    *ret_counters = (struct net_counters){0};
    for (unsigned i = 0; i < net->loop_count; ++i) {
        struct loop_counters *counters = &net->loops[i].counters;
#define ADD(name) ret_counters->name += atomic_load_explicit(&counters->name, memory_order_relaxed);
        LOOP_COUNTERS(ADD)
#undef ADD
    }
}

void net_stop(struct net *net, unsigned milliseconds)
{
    if (net == NULL)
        return;
    stop_loops(net, milliseconds);
    net_free(net);
}
