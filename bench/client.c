/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

enum { EVENTS_MAX = 256, TICK_MS = 50 };

/* How long a server may leave everything unanswered before the slice is given up. */
static const uint64_t patience = 15ull * 1000 * 1000 * 1000;

enum phase { PHASE_CLOSED, PHASE_HANDSHAKE, PHASE_OPEN, PHASE_CLOSING };

struct connection {
    SSL *ssl;
    int fd;
    enum phase phase;
    unsigned index;
    unsigned step; /* of client->steps */
    unsigned outstanding;
    unsigned oldest;                 /* in sent[], a ring */
    uint64_t sent[CLIENT_DEPTH_MAX]; /* when the outstanding requests went out */
    uint64_t started;
    struct message_carry carry;
    SSL_SESSION *session;
};

/* One request of the sequence that a connection sends. */
struct step {
    struct message_request request;
    size_t answer_length; /* 0: the first answer tells */
};

struct client {
    const struct client_options *options;
    SSL_CTX *tls;
    int epoll;
    struct connection *connections;
    struct step steps[CLIENT_STEPS_MAX];
    unsigned step_count;
    struct slice *slice; /* of the slice under way */
    struct client_negotiated negotiated;
    uint64_t now;
    uint64_t deadline;
    uint64_t left; /* requests or connections that may still be begun */
    uint64_t busy; /* requests or connections under way */
    uint64_t random;
    uint64_t next_id; /* in_order */
    uint8_t input[MESSAGE_SIZE_MAX + SSL3_RT_MAX_PLAIN_LENGTH];
    uint8_t output[CLIENT_DEPTH_MAX * MESSAGE_REQUEST_MAX];
};

static void connection_start(struct client *client, struct connection *c);

/* xorshift64*: good enough to spread reads over keys, and free. */
static uint64_t next_random(struct client *client)
{
    client->random ^= client->random >> 12;
    client->random ^= client->random << 25;
    client->random ^= client->random >> 27;
    return client->random * 0x2545f4914f6cdd1dull;
}

/* Whether another request (connect: connection) may be begun; counts it. */
static bool may_begin(struct client *client)
{
    if (client->left == 0 || client->now >= client->deadline)
        return false;
    --client->left;
    ++client->busy;
    return true;
}

/* Invariant: c->fd is open unless the phase is PHASE_CLOSED. */
static void connection_close(struct connection *c)
{
    if (c->phase == PHASE_CLOSED)
        return;
    if (c->phase == PHASE_OPEN)
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    close(c->fd);
    c->ssl = NULL;
    c->phase = PHASE_CLOSED;
    message_carry_free(&c->carry);
}

/* Counts a failure, describes the first one, and closes the connection for good. */
__attribute__((format(printf, 3, 4))) static void fail(struct client *client, struct connection *c,
                                                       const char *format, ...)
{
    va_list arguments;

    if (client->slice->errors++ == 0) {
        va_start(arguments, format);
        vsnprintf(client->slice->first_error, sizeof client->slice->first_error, format, arguments);
        va_end(arguments);
    }
    client->busy -= client->options->connect_each ? 1 : c->outstanding;
    c->outstanding = 0;
    connection_close(c);
    ERR_clear_error();
}

static void fail_tls(struct client *client, struct connection *c, const char *what)
{
    int error = SSL_get_error(c->ssl, 0);
    char text[128] = "connection closed by the server";

    if (error == SSL_ERROR_SSL)
        ERR_error_string_n(ERR_peek_error(), text, sizeof text);
    else if (error == SSL_ERROR_SYSCALL && errno != 0)
        snprintf(text, sizeof text, "%s", strerror(errno));
    fail(client, c, "%s: %s", what, text);
}

static bool connection_watch(struct client *client, struct connection *c, int operation,
                             uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (epoll_ctl(client->epoll, operation, c->fd, &event) == 0)
        return true;
    fail(client, c, "epoll_ctl: %s", strerror(errno));
    return false;
}

static uint64_t next_id(struct client *client)
{
    const struct client_options *options = client->options;
    uint64_t next = options->in_order ? client->next_id++ : next_random(client);

    return next % options->ids.count;
}

static size_t put_request(struct client *client, const struct step *step, uint8_t *out)
{
    const struct client_ids *ids = &client->options->ids;
    size_t offset = step->request.id_offset;

    memcpy(out, step->request.bytes, step->request.length);
    if (offset != 0)
        memcpy(out + offset, ids->text + next_id(client) * ids->length, ids->length);
    return step->request.length;
}

/* Sends `count` requests in one write. */
static void send_requests(struct client *client, struct connection *c, unsigned count)
{
    size_t length = 0;
    size_t written = 0;

    for (unsigned i = 0; i < count; ++i) {
        length += put_request(client, &client->steps[c->step], client->output + length);
        c->sent[(c->oldest + c->outstanding++) % CLIENT_DEPTH_MAX] = client->now;
    }
    if (SSL_write_ex(c->ssl, client->output, length, &written) != 1)
        fail_tls(client, c, "sending a request");
}

/* Kept: fills the connection up to its depth, as far as the slice allows. */
static void refill(struct client *client, struct connection *c)
{
    unsigned count = 0;

    while (c->outstanding + count < client->options->depth && may_begin(client))
        ++count;
    if (count != 0)
        send_requests(client, c, count);
}

static void connection_done(struct client *client, struct connection *c)
{
    histogram_record(&client->slice->latency, client->now - c->started);
    ++client->slice->connections;
    connection_close(c);
    --client->busy;
    if (may_begin(client))
        connection_start(client, c);
}

static void note_new_id(struct client *client, const uint8_t *frame, size_t length)
{
    const uint8_t *id;
    size_t id_length;

    if (message_find(frame, length, MESSAGE_TAG_UNIQUE_IDENTIFIER, &id, &id_length))
        fprintf(client->options->new_ids, "%.*s\n", (int)id_length, (const char *)id);
}

static bool answer_is_right(struct client *client, struct connection *c, const uint8_t *frame,
                            size_t length)
{
    struct step *step = &client->steps[c->step];
    const uint8_t *text = (const uint8_t *)"no text";
    size_t text_length = strlen((const char *)text);

    if (!message_succeeded(frame, length)) {
        message_find(frame, length, MESSAGE_TAG_RESULT_MESSAGE, &text, &text_length);
        fail(client, c, "the server refused: %.*s", (int)text_length, (const char *)text);
        return false;
    }
    if (step->answer_length == 0)
        step->answer_length = length;
    if (step->answer_length != length) {
        fail(client, c, "an answer of %zu bytes where %zu were expected", length,
             step->answer_length);
        return false;
    }
    return true;
}

/* False: the connection is closed. */
static bool on_answer(struct client *client, struct connection *c, const uint8_t *frame,
                      size_t length)
{
    if (c->outstanding == 0) {
        fail(client, c, "an answer to nothing");
        return false;
    }
    if (!answer_is_right(client, c, frame, length))
        return false;
    if (!client->options->connect_each) {
        histogram_record(&client->slice->latency, client->now - c->sent[c->oldest]);
        --client->busy;
    }
    if (client->options->new_ids != NULL)
        note_new_id(client, frame, length);
    c->oldest = (c->oldest + 1) % CLIENT_DEPTH_MAX;
    --c->outstanding;
    ++client->slice->requests;
    return true;
}

/* Takes every whole frame of client->input. False: the connection is closed. */
static bool take_answers(struct client *client, struct connection *c, size_t length)
{
    size_t used = 0;

    while (length - used >= MESSAGE_HEADER_SIZE) {
        size_t frame = message_length(client->input + used);

        if (frame > MESSAGE_SIZE_MAX) {
            fail(client, c, "an answer larger than %d bytes", MESSAGE_SIZE_MAX);
            return false;
        }
        if (frame > length - used)
            break;
        if (!on_answer(client, c, client->input + used, frame))
            return false;
        used += frame;
    }
    if (used != length && !message_carry_keep(&c->carry, client->input + used, length - used)) {
        fail(client, c, "out of memory");
        return false;
    }
    return true;
}

/* What follows when all that was there is read. */
static void proceed(struct client *client, struct connection *c)
{
    if (!client->options->connect_each) {
        refill(client, c);
    } else if (c->outstanding == 0) {
        if (++c->step < client->step_count)
            send_requests(client, c, 1);
        else
            connection_done(client, c);
    }
}

static void read_answers(struct client *client, struct connection *c)
{
    do {
        size_t length = message_carry_take(&c->carry, client->input);
        size_t got = 0;

        if (SSL_read_ex(c->ssl, client->input + length, sizeof client->input - length, &got) != 1) {
            if (SSL_get_error(c->ssl, 0) != SSL_ERROR_WANT_READ)
                fail_tls(client, c, "reading an answer");
            else if (length != 0 && !message_carry_keep(&c->carry, client->input, length))
                fail(client, c, "out of memory");
            return;
        }
        if (!take_answers(client, c, length + got))
            return;
    } while (SSL_has_pending(c->ssl) == 1);
    proceed(client, c);
}

static void note_negotiated(struct client *client, SSL *ssl)
{
    struct client_negotiated *n = &client->negotiated;
    int group = (int)SSL_get_negotiated_group(ssl);
    const char *name = group == 0 ? NULL : SSL_group_to_name(ssl, group);

    snprintf(n->protocol, sizeof n->protocol, "%s", SSL_get_version(ssl));
    snprintf(n->cipher, sizeof n->cipher, "%s", SSL_get_cipher_name(ssl));
    snprintf(n->group, sizeof n->group, "%s", name == NULL ? "" : name);
}

/* Says that it will close; the connection is done when the server has closed too. */
static void begin_close(struct client *client, struct connection *c)
{
    if (SSL_shutdown(c->ssl) < 0)
        fail_tls(client, c, "closing");
    else
        c->phase = PHASE_CLOSING;
}

/* In TLS 1.3 a client certificate is refused only after the client's part of the handshake, so what
 * comes now is looked at. */
static void await_close(struct client *client, struct connection *c)
{
    size_t got = 0;

    if (SSL_read_ex(c->ssl, client->input, sizeof client->input, &got) == 1) {
        fail(client, c, "an answer to nothing");
        return;
    }
    if (SSL_get_error(c->ssl, 0) == SSL_ERROR_ZERO_RETURN)
        connection_done(client, c);
    else if (SSL_get_error(c->ssl, 0) != SSL_ERROR_WANT_READ)
        fail_tls(client, c, "waiting for the server to close");
}

static void on_handshake(struct client *client, struct connection *c)
{
    int result = SSL_connect(c->ssl);

    if (result != 1) {
        int error = SSL_get_error(c->ssl, result);

        if (error == SSL_ERROR_WANT_READ)
            connection_watch(client, c, EPOLL_CTL_MOD, EPOLLIN);
        else if (error == SSL_ERROR_WANT_WRITE)
            connection_watch(client, c, EPOLL_CTL_MOD, EPOLLOUT);
        else
            fail_tls(client, c, "handshake");
        return;
    }
    c->phase = PHASE_OPEN;
    ++client->slice->handshakes;
    client->slice->resumed += SSL_session_reused(c->ssl) == 1;
    note_negotiated(client, c->ssl);
    if (!connection_watch(client, c, EPOLL_CTL_MOD, EPOLLIN))
        return;
    if (client->options->bare)
        begin_close(client, c);
    else if (client->options->connect_each)
        send_requests(client, c, 1);
}

static int socket_new(const struct client *client, unsigned index)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index % client->options->sources);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        return fd;
    /* The port is left to connect(2), which may take one that another source address uses. */
    if (client->options->sources > 1 &&
        (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0 ||
         bind(fd, (struct sockaddr *)&source, sizeof source) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool tls_start(struct client *client, struct connection *c)
{
    c->ssl = SSL_new(client->tls);
    if (c->ssl == NULL)
        return false;
    SSL_set_app_data(c->ssl, c);
    if (SSL_set_fd(c->ssl, c->fd) != 1)
        return false;
    return !client->options->resume || c->session == NULL ||
           SSL_set_session(c->ssl, c->session) == 1;
}

static void connection_start(struct client *client, struct connection *c)
{
    const struct sockaddr_in *server = &client->options->server;

    c->started = client->now;
    c->step = 0;
    c->outstanding = 0;
    c->fd = socket_new(client, c->index);
    if (c->fd < 0) {
        fail(client, c, "socket: %s", strerror(errno));
        return;
    }
    c->phase = PHASE_HANDSHAKE;
    if (connect(c->fd, (const struct sockaddr *)server, sizeof *server) != 0 &&
        errno != EINPROGRESS)
        fail(client, c, "connect: %s", strerror(errno));
    else if (!tls_start(client, c))
        fail(client, c, "out of memory");
    else
        connection_watch(client, c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void on_event(struct client *client, struct connection *c)
{
    client->now = slice_clock(CLOCK_MONOTONIC);
    if (c->phase == PHASE_HANDSHAKE)
        on_handshake(client, c);
    else if (c->phase == PHASE_OPEN)
        read_answers(client, c);
    else if (c->phase == PHASE_CLOSING)
        await_close(client, c);
}

/* False: nothing happened for longer than a server may take. */
static bool wait_once(struct client *client, uint64_t *last)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(client->epoll, events, EVENTS_MAX, TICK_MS);

    for (int i = 0; i < count; ++i)
        on_event(client, events[i].data.ptr);
    client->now = slice_clock(CLOCK_MONOTONIC);
    if (count > 0)
        *last = client->now;
    return client->now - *last < patience;
}

static void begin(struct client *client, struct slice *slice)
{
    client->slice = slice;
    client->busy = 0;
    client->now = slice_clock(CLOCK_MONOTONIC);
    slice_begin(slice);
}

static void give_up(struct client *client)
{
    for (unsigned i = 0; i < client->options->connections; ++i) {
        struct connection *c = &client->connections[i];

        if (c->outstanding != 0 || c->phase == PHASE_HANDSHAKE || c->phase == PHASE_CLOSING)
            fail(client, c, "no answer within %u s", (unsigned)(patience / 1000000000u));
    }
}

void client_open_all(struct client *client, struct slice *ret_slice)
{
    unsigned begun = 0;
    uint64_t last;

    begin(client, ret_slice);
    last = client->now;
    while (ret_slice->handshakes < client->options->connections && ret_slice->errors == 0) {
        while (begun < client->options->connections &&
               begun - ret_slice->handshakes < client->options->opening)
            connection_start(client, &client->connections[begun++]);
        if (!wait_once(client, &last))
            give_up(client);
    }
    slice_end(ret_slice);
}

static void begin_all(struct client *client)
{
    for (unsigned i = 0; i < client->options->connections; ++i) {
        struct connection *c = &client->connections[i];

        if (!client->options->connect_each && c->phase == PHASE_OPEN)
            refill(client, c);
        else if (client->options->connect_each && may_begin(client))
            connection_start(client, c);
    }
}

void client_run(struct client *client, const struct slice_limits *limits, struct slice *ret_slice)
{
    uint64_t last;

    begin(client, ret_slice);
    last = client->now;
    client->deadline = client->now + limits->nanoseconds;
    client->left = limits->units;
    begin_all(client);
    while (client->busy != 0) {
        if (!wait_once(client, &last)) {
            give_up(client);
            break;
        }
    }
    slice_end(ret_slice);
}

/* OpenSSL hands over one reference. The latest session is the one to offer: a TLS 1.3 ticket should
 * be used once only (RFC 8446 §C.4). */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct connection *c = SSL_get_app_data(ssl);
    struct client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    ++client->slice->tickets;
    if (!client->options->resume)
        return 0;
    SSL_SESSION_free(c->session);
    c->session = session;
    return 1;
}

/* The server's certificate is not what is measured: its signature is checked, its chain is not. */
static int trust_server(X509_STORE_CTX *store, void *argument)
{
    (void)store;
    (void)argument;
    return 1;
}

void client_prepare_tls(SSL_CTX *tls)
{
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls, keep_session);
    SSL_CTX_set_cert_verify_callback(tls, trust_server, NULL);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
}

static void steps_prepare(struct client *client)
{
    const struct client_options *options = client->options;

    if (options->connect_each && options->operation != MESSAGE_DISCOVER_VERSIONS)
        message_request(&client->steps[client->step_count++].request, MESSAGE_DISCOVER_VERSIONS, 0);
    message_request(&client->steps[client->step_count++].request, options->operation,
                    options->ids.length);
}

struct client *client_new(const struct client_options *options, SSL_CTX *tls)
{
    struct client *client = calloc(1, sizeof *client);

    if (client == NULL)
        return NULL;
    client->options = options;
    client->tls = tls;
    client->random = slice_clock(CLOCK_MONOTONIC) | 1;
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    client->connections = calloc(options->connections, sizeof *client->connections);
    if (client->epoll < 0 || client->connections == NULL) {
        client_free(client);
        return NULL;
    }
    for (unsigned i = 0; i < options->connections; ++i)
        client->connections[i].index = i;
    SSL_CTX_set_app_data(tls, client);
    steps_prepare(client);
    return client;
}

void client_free(struct client *client)
{
    if (client == NULL)
        return;
    for (unsigned i = 0; client->connections != NULL && i < client->options->connections; ++i) {
        connection_close(&client->connections[i]);
        SSL_SESSION_free(client->connections[i].session);
    }
    free(client->connections);
    if (client->epoll >= 0)
        close(client->epoll);
    free(client);
}

const struct client_negotiated *client_negotiated(const struct client *client)
{
    return &client->negotiated;
}

size_t client_answer_length(const struct client *client)
{
    return client->steps[client->step_count - 1].answer_length;
}
