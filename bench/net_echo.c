/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The echo once more, as a handler of src/net: what is between the two is what the network layer
 * costs, or saves, beside bare TLS. Arguments as of echo; --tickets is taken and has no meaning.
 */
#include <err.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "net/net.h"

enum { ANSWERS_MAX = 8 };

struct answer {
    size_t request_length; /* 0: any other */
    struct bytes bytes;
};

static struct {
    struct net_options net;
    size_t count;
    struct answer answers[ANSWERS_MAX];
} options = {
    .net = {.address = "127.0.0.1:0",
            .loops = 1,
            .frame_max = MESSAGE_SIZE_MAX,
            .connections_max = 100000,
            .connections_per_certificate = 100000,
            .handshake_seconds = 60,
            .frame_seconds = 60,
            .idle_seconds = 900},
};

static void release(struct net_reply *reply)
{
    (void)reply;
}

static void *opened(void *context, struct net_connection *connection, const struct net_peer *peer)
{
    (void)connection;
    (void)peer;
    return context;
}

static void closed(void *context, void *session)
{
    (void)context;
    (void)session;
}

static void give(struct net_connection *connection, struct bytes bytes, bool close)
{
    /* Taken before net_answer() returns to the loop, so that one will do for each thread. */
    static _Thread_local struct net_reply reply;
    reply = (struct net_reply){.bytes = bytes, .close = close, .release = release};
    net_answer(connection, &reply);
}

static void frame(void *context, void *session, struct net_connection *connection,
                  struct bytes request)
{
    const struct answer *any = NULL;
    (void)context;
    (void)session;
    for (size_t i = 0; i < options.count; ++i) {
        const struct answer *answer = &options.answers[i];
        if (answer->request_length == request.size) {
            give(connection, answer->bytes, false);
            return;
        }
        if (answer->request_length == 0)
            any = answer;
    }
    give(connection, any != NULL ? any->bytes : (struct bytes){0}, any == NULL);
}

static void bad_frame(void *context, void *session, struct net_connection *connection,
                      struct bytes header, enum status status)
{
    (void)context;
    (void)session;
    (void)header;
    (void)status;
    give(connection, (struct bytes){0}, true);
}

/* "SIZE", or "LENGTH=SIZE" for requests of that length only. */
static void add_answer(const char *text)
{
    const char *equals = strchr(text, '=');
    size_t size = strtoul(equals == NULL ? text : equals + 1, NULL, 10);
    if (options.count == ANSWERS_MAX || size == 0 || size > MESSAGE_SIZE_MAX)
        errx(EXIT_FAILURE, "--answer %s: too many, or no size", text);
    uint8_t *bytes = calloc(1, size + message_answer_min());
    if (bytes == NULL || !message_answer(bytes, size))
        errx(EXIT_FAILURE, "--answer %s: there is no answer of that size", text);
    options.answers[options.count++] = (struct answer){
        equals == NULL ? 0 : strtoul(text, NULL, 10), {bytes, size}};
}

static void parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"certificate", required_argument, NULL, 'c'}, {"key", required_argument, NULL, 'k'},
        {"answer", required_argument, NULL, 'w'},      {"threads", required_argument, NULL, 't'},
        {"tickets", required_argument, NULL, 'n'},     {NULL, 0, NULL, 0},
    };
    int which;
    while ((which = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (which == 'c')
            options.net.certificate_file = optarg;
        else if (which == 'k')
            options.net.key_file = optarg;
        else if (which == 'w')
            add_answer(optarg);
        else if (which == 't')
            options.net.loops = (unsigned)strtoul(optarg, NULL, 10);
        else if (which != 'n')
            exit(EXIT_FAILURE);
    }
    if (options.net.certificate_file == NULL || options.net.key_file == NULL || options.count == 0)
        errx(EXIT_FAILURE, "usage: net_echo --certificate PEM --key PEM [--threads N] "
                           "--answer [LENGTH=]SIZE...");
}

/* Prints its port when it serves; ends with SIGTERM. */
int main(int argc, char **argv)
{
    const struct net_handler handler = {
        .context = &options,
        .opened = opened,
        .frame = frame,
        .bad_frame = bad_frame,
        .closed = closed,
    };
    struct error warning;
    struct error error;
    struct net *net;
    sigset_t end;
    int signal;
    parse_options(argc, argv);
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, NULL);
    if (net_start(&options.net, &handler, &net, &warning, &error) != STATUS_OK)
        errx(EXIT_FAILURE, "%s", error.text);
    printf("%u\n", net_port(net));
    fflush(stdout);
    sigwait(&end, &signal);
    net_stop(net, 0);
    for (size_t i = 0; i < options.count; ++i)
        free((void *)options.answers[i].bytes.data);
    return EXIT_SUCCESS;
}
