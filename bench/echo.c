/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ceiling: a TLS server that does nothing but take a frame and give a fixed answer.
 *
 * What it leaves out is what kmipd does beside TLS; what it does, it does as well as plain C and
 * OpenSSL allow: one level-triggered epoll loop per core with its own listener, one read for all
 * that is there, one write for all answers, and no memory kept for an idle connection beyond
 * OpenSSL's own. With a journal it is the ceiling of a server that must have each request on
 * stable storage before it answers: one sync for all requests that are there.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "message.h"

enum {
    THREADS_MAX = 64,
    ANSWERS_MAX = 8,
    EVENTS_MAX = 256,
    LISTEN_BACKLOG = 4096,
    RECORD_SIZE = 400, /* of the journal: about as long as a line of kmipd's audit log */
    OUTPUT_SIZE = 2 * MESSAGE_SIZE_MAX,
};

/* The answer to requests of one length. */
struct answer {
    size_t request_length; /* 0: every length that has no entry of its own */
    size_t size;
    uint8_t *bytes;
};

struct options {
    const char *address;
    const char *certificate;
    const char *key;
    const char *groups;
    const char *ciphersuites;
    const char *journal; /* file to which each request is recorded before its answer; or NULL */
    long port;
    long threads;
    long tickets;
    size_t answer_count;
    struct answer answers[ANSWERS_MAX];
};

struct connection {
    SSL *ssl;
    int fd;
    bool wants_write;
    struct message_carry input;  /* beginning of a request */
    struct message_carry output; /* answers that the socket did not take */
};

/* One thread. Buffers are its own and shared by all its connections, none of which keeps bytes in
 * them from one event to the next. */
struct loop {
    const struct options *options;
    SSL_CTX *tls;
    pthread_t thread;
    int epoll;
    int listener;
    int journal;    /* descriptor; -1: none */
    size_t records; /* to be written to it */
    size_t output_length;
    uint8_t record[64 * RECORD_SIZE];
    uint8_t input[MESSAGE_SIZE_MAX + SSL3_RT_MAX_PLAIN_LENGTH];
    uint8_t output[OUTPUT_SIZE];
};

static void fail_tls(const char *what)
{
    ERR_print_errors_fp(stderr);
    errx(EXIT_FAILURE, "%s", what);
}

static const struct answer *answer_for(const struct options *options, size_t request_length)
{
    const struct answer *any = NULL;

    for (size_t i = 0; i < options->answer_count; ++i) {
        if (options->answers[i].request_length == request_length)
            return &options->answers[i];
        if (options->answers[i].request_length == 0)
            any = &options->answers[i];
    }
    return any;
}

static void connection_close(struct connection *c)
{
    SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    close(c->fd);
    message_carry_free(&c->input);
    message_carry_free(&c->output);
    free(c);
    /* A peer that is gone leaves entries that would be taken for those of the next connection. */
    ERR_clear_error();
}

static bool connection_watch(struct loop *loop, struct connection *c, bool wants_write)
{
    struct epoll_event event = {.events = wants_write ? EPOLLOUT : EPOLLIN, .data.ptr = c};

    if (c->wants_write == wants_write)
        return true;
    c->wants_write = wants_write;
    return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, c->fd, &event) == 0;
}

/* Writes what is in loop->output; the rest, if the socket is full, is kept for later. */
static bool connection_flush(struct loop *loop, struct connection *c)
{
    size_t done = 0;

    while (done < loop->output_length) {
        size_t written = 0;

        if (SSL_write_ex(c->ssl, loop->output + done, loop->output_length - done, &written) != 1)
            break;
        done += written;
    }
    if (done == loop->output_length)
        return connection_watch(loop, c, false);
    if (SSL_get_error(c->ssl, 0) != SSL_ERROR_WANT_WRITE)
        return false;
    return message_carry_keep(&c->output, loop->output + done, loop->output_length - done) &&
           connection_watch(loop, c, true);
}

/* Answers every whole frame in loop->input and returns the bytes used up. -1: the frame is too
 * large, nothing was said about its length, or a client has more than OUTPUT_SIZE outstanding. */
static ssize_t answer_frames(struct loop *loop, size_t length)
{
    size_t used = 0;

    while (length - used >= MESSAGE_HEADER_SIZE) {
        size_t frame = message_length(loop->input + used);
        const struct answer *answer = answer_for(loop->options, frame);

        if (frame > MESSAGE_SIZE_MAX || answer == NULL)
            return -1;
        if (frame > length - used)
            break;
        if (answer->size > sizeof loop->output - loop->output_length)
            return -1;
        memcpy(loop->output + loop->output_length, answer->bytes, answer->size);
        loop->output_length += answer->size;
        ++loop->records;
        used += frame;
    }
    return (ssize_t)used;
}

/* One TLS record, or what there is of a handshake. */
static bool read_record(struct loop *loop, struct connection *c, bool *ret_more)
{
    size_t length = message_carry_take(&c->input, loop->input);
    size_t got = 0;
    ssize_t used;

    if (SSL_read_ex(c->ssl, loop->input + length, sizeof loop->input - length, &got) != 1) {
        int error = SSL_get_error(c->ssl, 0);

        *ret_more = false;
        if (length != 0 && !message_carry_keep(&c->input, loop->input, length))
            return false;
        if (error == SSL_ERROR_WANT_WRITE)
            return connection_watch(loop, c, true);
        return error == SSL_ERROR_WANT_READ && connection_watch(loop, c, false);
    }
    length += got;
    used = answer_frames(loop, length);
    *ret_more = SSL_has_pending(c->ssl) == 1;
    if (used < 0)
        return false;
    return (size_t)used == length ||
           message_carry_keep(&c->input, loop->input + used, length - (size_t)used);
}

/* Sends what was kept for the connection. */
static bool connection_send(struct loop *loop, struct connection *c)
{
    loop->output_length = message_carry_take(&c->output, loop->output);
    return loop->output_length == 0 || connection_flush(loop, c);
}

/* Reads all that is there. Answers go out at once, or, with a journal, when that is synced. */
static bool connection_serve(struct loop *loop, struct connection *c)
{
    bool more = true;

    if (c->output.length != 0)
        return connection_send(loop, c);
    loop->output_length = 0;
    while (more) {
        if (!read_record(loop, c, &more))
            return false;
    }
    if (loop->output_length == 0)
        return true;
    if (loop->journal < 0)
        return connection_flush(loop, c);
    return message_carry_keep(&c->output, loop->output, loop->output_length);
}

static bool connection_open(struct loop *loop, int fd)
{
    struct connection *c = calloc(1, sizeof *c);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;

    if (c == NULL)
        return false;
    c->fd = fd;
    c->ssl = SSL_new(loop->tls);
    if (c->ssl != NULL && SSL_set_fd(c->ssl, fd) == 1 &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
        epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0) {
        SSL_set_accept_state(c->ssl);
        return true;
    }
    SSL_free(c->ssl);
    free(c);
    return false;
}

static void accept_all(struct loop *loop)
{
    for (;;) {
        int fd = accept4(loop->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
            return;
        if (fd < 0)
            err(EXIT_FAILURE, "accept");
        if (!connection_open(loop, fd))
            errx(EXIT_FAILURE, "cannot serve another connection");
    }
}

/* Serves a connection, or takes new ones; NULL if it is gone then. */
static struct connection *on_event(struct loop *loop, struct connection *c)
{
    if (c == NULL) {
        accept_all(loop);
    } else if (!connection_serve(loop, c)) {
        connection_close(c);
        c = NULL;
    }
    return c;
}

/* Makes the records of all requests that were read durable, with one write and one sync. */
static void journal_sync(struct loop *loop)
{
    size_t length = loop->records * RECORD_SIZE;

    for (size_t done = 0; done < length;) {
        size_t left = length - done;
        ssize_t written = write(loop->journal, loop->record,
                                left < sizeof loop->record ? left : sizeof loop->record);

        if (written < 0)
            err(EXIT_FAILURE, "cannot write the journal");
        done += (size_t)written;
    }
    if (fdatasync(loop->journal) != 0)
        err(EXIT_FAILURE, "cannot sync the journal");
    loop->records = 0;
}

/* The answers that were kept until the records of their requests are durable. */
static void send_kept(struct loop *loop, struct epoll_event *events, int count)
{
    if (loop->records == 0)
        return;
    journal_sync(loop);
    for (int i = 0; i < count; ++i) {
        struct connection *c = events[i].data.ptr;

        if (c != NULL && !connection_send(loop, c))
            connection_close(c);
    }
}

static void *loop_run(void *argument)
{
    struct loop *loop = argument;
    struct epoll_event events[EVENTS_MAX];

    for (;;) {
        int count = epoll_wait(loop->epoll, events, EVENTS_MAX, -1);

        if (count < 0 && errno != EINTR)
            err(EXIT_FAILURE, "epoll_wait");
        for (int i = 0; i < count; ++i)
            events[i].data.ptr = on_event(loop, events[i].data.ptr);
        if (loop->journal >= 0)
            send_kept(loop, events, count);
    }
    return NULL;
}

/* Any certificate is let in, as kmipd does: it looks the leaf up itself, after the handshake. */
static int accept_any_certificate(X509_STORE_CTX *store, void *argument)
{
    (void)store;
    (void)argument;
    return 1;
}

static SSL_CTX *tls_new(const struct options *options)
{
    static const unsigned char id_context[] = "echo";
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

    if (tls == NULL || SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) != 1 ||
        SSL_CTX_use_certificate_chain_file(tls, options->certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, options->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_set1_groups_list(tls, options->groups) != 1 ||
        SSL_CTX_set_num_tickets(tls, (size_t)options->tickets) != 1 ||
        SSL_CTX_set_session_id_context(tls, id_context, sizeof id_context - 1) != 1)
        fail_tls("cannot set up TLS");
    if (options->ciphersuites != NULL && SSL_CTX_set_ciphersuites(tls, options->ciphersuites) != 1)
        fail_tls("unknown cipher suite");
    SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(tls, accept_any_certificate, NULL);
    return tls;
}

/* Port 0 takes a free one; *port is the one taken. */
static int listen_on(const char *address, long *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t length = sizeof at;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
        errx(EXIT_FAILURE, "%s is not an IPv4 address", address);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, LISTEN_BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &length) != 0)
        err(EXIT_FAILURE, "cannot listen on %s port %ld", address, *port);
    *port = ntohs(at.sin_port);
    return fd;
}

static int journal_open(const char *path)
{
    int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (path != NULL && fd < 0)
        err(EXIT_FAILURE, "%s", path);
    return fd;
}

static struct loop *loop_new(struct options *options, SSL_CTX *tls)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    struct loop *loop = calloc(1, sizeof *loop);

    if (loop == NULL)
        errx(EXIT_FAILURE, "out of memory");
    loop->options = options;
    loop->tls = tls;
    loop->listener = listen_on(options->address, &options->port);
    loop->journal = journal_open(options->journal);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->listener, &event) != 0)
        err(EXIT_FAILURE, "epoll");
    return loop;
}

static long cores_allowed(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        err(EXIT_FAILURE, "sched_getaffinity");
    return CPU_COUNT(&set);
}

static long number(const char *text, long most)
{
    char *rest;
    long value = strtol(text, &rest, 10);

    if (*text == '\0' || *rest != '\0' || value < 0 || value > most)
        errx(EXIT_FAILURE, "\"%s\" is not a number from 0 to %ld", text, most);
    return value;
}

/* "SIZE", or "LENGTH=SIZE" for requests of that length only. */
static void add_answer(struct options *options, const char *text)
{
    struct answer *answer = &options->answers[options->answer_count];
    const char *size = strchr(text, '=');

    if (options->answer_count == ANSWERS_MAX)
        errx(EXIT_FAILURE, "more than %d answers", ANSWERS_MAX);
    if (size != NULL)
        answer->request_length = strtoul(text, NULL, 10);
    answer->size = (size_t)number(size == NULL ? text : size + 1, MESSAGE_SIZE_MAX);
    answer->bytes = calloc(1, answer->size + message_answer_min());
    if (answer->bytes == NULL || !message_answer(answer->bytes, answer->size))
        errx(EXIT_FAILURE, "no answer of %zu bytes: a multiple of 8 from %zu on", answer->size,
             message_answer_min());
    ++options->answer_count;
}

static const char usage[] =
    "usage: echo --certificate PEM --key PEM [--address A] [--port N] [--threads N] [--tickets N]\n"
    "            [--groups LIST] [--ciphersuites LIST] [--answer [LENGTH=]SIZE]... [--journal "
    "FILE]\n"
    "Answers every TTLV frame over mutual TLS with SIZE bytes (default 400), whatever it says.\n"
    "With a journal, it syncs a record of each request before the answer.\n"
    "Prints its port when it serves. One loop per core that it may use, unless told otherwise.\n";

static void set_option(struct options *options, int which, const char *value)
{
    switch (which) {
    case 'a':
        options->address = value;
        break;
    case 'c':
        options->certificate = value;
        break;
    case 'k':
        options->key = value;
        break;
    case 'g':
        options->groups = value;
        break;
    case 's':
        options->ciphersuites = value;
        break;
    case 'j':
        options->journal = value;
        break;
    case 'p':
        options->port = number(value, UINT16_MAX);
        break;
    case 't':
        options->threads = number(value, THREADS_MAX);
        break;
    case 'n':
        options->tickets = number(value, 16);
        break;
    case 'w':
        add_answer(options, value);
        break;
    default:
        fputs(usage, stderr);
        exit(EXIT_FAILURE);
    }
}

static void parse_options(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"address", required_argument, NULL, 'a'},
        {"answer", required_argument, NULL, 'w'},
        {"certificate", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'},
        {"groups", required_argument, NULL, 'g'},
        {"journal", required_argument, NULL, 'j'},
        {"port", required_argument, NULL, 'p'},
        {"ciphersuites", required_argument, NULL, 's'},
        {"tickets", required_argument, NULL, 'n'},
        {"threads", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    int which;

    while ((which = getopt_long(argc, argv, "", known, NULL)) != -1)
        set_option(options, which, optarg);
    if (optind != argc || options->certificate == NULL || options->key == NULL)
        set_option(options, '?', NULL);
    if (options->answer_count == 0)
        add_answer(options, "400");
    if (options->threads == 0)
        options->threads = cores_allowed();
}

int main(int argc, char **argv)
{
    struct options options = {.address = "127.0.0.1", .groups = "X25519:P-256:P-384"};
    struct loop *loops[THREADS_MAX];
    SSL_CTX *tls;

    parse_options(&options, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    tls = tls_new(&options);
    for (long i = 0; i < options.threads; ++i)
        loops[i] = loop_new(&options, tls);
    printf("%ld\n", options.port);
    fflush(stdout);
    for (long i = 1; i < options.threads; ++i) {
        if (pthread_create(&loops[i]->thread, NULL, loop_run, loops[i]) != 0)
            errx(EXIT_FAILURE, "cannot start a thread");
    }
    loop_run(loops[0]);
    return EXIT_FAILURE;
}
