/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/process.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "admin/process_inside.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "base/secret.h"

#define ALL_METHODS                                                                              \
    (EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |   \
     EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH)
#define SILENCE_SECONDS 600 /* evhttp's own limit; process_peers.c has nearer ones */

/* What serving takes beside what every process does. */
static const char *const system_calls[] = {
    "close_range", "dup", "ioctl", "epoll_ctl", "epoll_wait", "epoll_pwait", "accept", "accept4", "recvfrom", "recvmsg",
    "sendto", "sendmsg", "shutdown", "getsockopt", "setsockopt", "getsockname", "getpeername",
};

/* ---- Memory: all that libevent and OpenSSL give back may have been key material ---- */

static void wipe_and_free(void *memory)
{
    if (memory != NULL)
        explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

static void *wipe_and_move(void *memory, size_t size)
{
    if (memory == NULL)
        return malloc(size);
    if (size == 0) {
        wipe_and_free(memory);
        return NULL;
    }
    size_t before = malloc_usable_size(memory);
    if (size <= before && size > before / 2)
        return memory;
    void *moved = malloc(size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, memory, before < size ? before : size);
    wipe_and_free(memory);
    return moved;
}

static void *openssl_allocate(size_t size, const char *file, int line)
{
    return malloc(size);
}

static void *openssl_move(void *memory, size_t size, const char *file, int line)
{
    return wipe_and_move(memory, size);
}

static void openssl_free(void *memory, const char *file, int line)
{
    wipe_and_free(memory);
}

static void prepare_memory(void)
{
    struct rlimit limit;
    (void)CRYPTO_set_mem_functions(openssl_allocate, openssl_move, openssl_free);
    event_set_mem_functions(malloc, wipe_and_move, wipe_and_free);
    /* Nothing of it in swap, where that cannot make an allocation fail later. */
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY)
        (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

/* ---- Setup ---- */

/* The first bytes, and the listening socket that comes with them. */
static ssize_t receive_first(uint8_t *to, size_t size, int *ret_listener)
{
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control = {.room = ""};
    struct iovec piece = {to, size};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof(control.room)};
    ssize_t received = recvmsg(LINK_DESCRIPTOR, &message, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = received > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_listener, CMSG_DATA(header), sizeof(*ret_listener));
    return received;
}

static bool receive(uint8_t *to, size_t size, int *ret_listener)
{
    for (size_t had = 0; had < size;) {
        ssize_t received = ret_listener != NULL && had == 0
                               ? receive_first(to, size, ret_listener)
                               : recv(LINK_DESCRIPTOR, to + had, size - had, 0);
        if (received < 0 && errno == EINTR)
            continue;
        if (received <= 0)
            return false;
        had += (size_t)received;
    }
    return true;
}

/* Reads the SETUP frame into a buffer that the caller frees. */
static bool receive_setup(struct buffer *ret_payload, int *ret_listener)
{
    uint8_t bytes[LINK_HEADER_SIZE];
    struct link_header header;
    *ret_listener = -1;
    if (!receive(bytes, sizeof(bytes), ret_listener) || *ret_listener < 0 ||
        link_read_header(bytes, &header) != STATUS_OK || header.kind != LINK_SETUP)
        return false;
    uint8_t *payload = buffer_reserve(ret_payload, header.size);
    return payload != NULL && receive(payload, header.size, NULL);
}

/* ---- What kmipd says ---- */

static void say(struct process *process, enum link_kind kind, const char *text)
{
    link_begin(&process->frame, kind, 0);
    buffer_append(&process->frame, text, strnlen(text, LINK_TEXT_MAX));
    link_end(&process->frame);
    if (buffer_status(&process->frame) == STATUS_OK)
        (void)bufferevent_write(process->link, process->frame.data, process->frame.size);
    buffer_reset(&process->frame);
}

static bool take_identity(struct process *process, struct bytes payload)
{
    struct link_identity identity;
    struct error error = {0};
    SSL_CTX *tls;
    if (link_read_identity(payload, &identity) != STATUS_OK)
        return false;
    if (process_make_tls(&identity, &tls, &error) != STATUS_OK) {
        say(process, LINK_FAILED, error_text(&error));
        return true;
    }
    SSL_CTX_free(process->tls); /* connections have theirs until they end */
    process->tls = tls;
    say(process, LINK_READY, "");
    return true;
}

static bool take_frame(struct process *process, const struct link_header *header,
                       struct bytes payload)
{
    if (header->kind == LINK_ANSWER)
        return process_take_answer(process, header->number, payload);
    return header->kind == LINK_IDENTITY && take_identity(process, payload);
}

/* Ends serving: what is answered already is sent, for a second at most. */
static void end(struct process *process)
{
    static const struct timeval grace = {.tv_sec = 1};
    bool idle = TAILQ_EMPTY(&process->answering);
    process->ending = true;
    (void)evconnlistener_disable(process->listener);
    (void)event_base_loopexit(process->base, idle ? NULL : &grace);
}

static void read_link(struct bufferevent *link, void *context)
{
    struct process *process = context;
    struct evbuffer *input = bufferevent_get_input(link);
    uint8_t bytes[LINK_HEADER_SIZE];
    struct link_header header;
    while (evbuffer_copyout(input, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes)) {
        bool good = link_read_header(bytes, &header) == STATUS_OK;
        size_t whole = good ? LINK_HEADER_SIZE + (size_t)header.size : 0;
        if (good && evbuffer_get_length(input) < whole)
            return;
        const uint8_t *frame = good ? evbuffer_pullup(input, (ev_ssize_t)whole) : NULL;
        if (frame == NULL ||
            !take_frame(process, &header, bytes_of(frame + LINK_HEADER_SIZE, header.size))) {
            log_critical("admin kmipd has said something that makes no sense");
            end(process);
            return;
        }
        (void)evbuffer_drain(input, whole);
    }
}

static void link_event(struct bufferevent *link, short what, void *context)
{
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
        end(context);
}

/* ---- Serving ---- */

static void each_second(evutil_socket_t fd, short what, void *context)
{
    process_look_at_peers(context);
}

static bool add_timer(struct process *process)
{
    static const struct timeval second = {.tv_sec = 1};
    struct event *timer = event_new(process->base, -1, EV_PERSIST, each_second, process);
    return timer != NULL && event_add(timer, &second) == 0;
}

static bool add_link(struct process *process)
{
    if (evutil_make_socket_nonblocking(LINK_DESCRIPTOR) != 0)
        return false;
    process->link = bufferevent_socket_new(process->base, LINK_DESCRIPTOR, 0);
    if (process->link == NULL)
        return false;
    bufferevent_setcb(process->link, read_link, NULL, link_event, process);
    return bufferevent_enable(process->link, EV_READ | EV_WRITE) == 0;
}

static bool add_http(struct process *process, int listener)
{
    process->http = evhttp_new(process->base);
    if (process->http == NULL)
        return false;
    evhttp_set_max_headers_size(process->http, (ev_ssize_t)process->setup.headers_max);
    evhttp_set_max_body_size(process->http, (ev_ssize_t)process->setup.body_max);
    evhttp_set_timeout(process->http, SILENCE_SECONDS);
    evhttp_set_allowed_methods(process->http, ALL_METHODS);
    evhttp_set_default_content_type(process->http, NULL);
    evhttp_set_bevcb(process->http, process_make_peer, process);
    evhttp_set_gencb(process->http, process_take_request, process);
    process->listener = evconnlistener_new(process->base, NULL, NULL,
                                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0,
                                           listener);
    return process->listener != NULL &&
           evhttp_bind_listener(process->http, process->listener) != NULL;
}

static enum status prepare(struct process *process, const struct link_identity *identity,
                           int listener, struct error *error)
{
    const struct sandbox_options sandbox = {.calls = {SANDBOX_CALLS(system_calls)}};
    enum status status = process_open_peers(process, error);
    if (status == STATUS_OK)
        status = process_open_http(process, error);
    if (status == STATUS_OK)
        status = process_make_tls(identity, &process->tls, error);
    if (status != STATUS_OK)
        return status;
    process->base = event_base_new();
    if (process->base == NULL || !add_link(process) || !add_http(process, listener) ||
        !add_timer(process))
        return error_set(error, STATUS_NO_MEMORY, "cannot prepare HTTP");
    tzset(); /* reads a file, at the latest for the first Date header */
    status = secret_protect_process(error);
    if (status == STATUS_OK)
        status = sandbox_drop_privileges(SANDBOX_NOBODY, error);
    return status == STATUS_OK ? sandbox_enter(&sandbox, error) : status;
}

/* Says why it cannot serve; the loop is not there to send it. */
static int fail(struct process *process, const struct error *error)
{
    log_critical("admin %s", error_text(error));
    buffer_reset(&process->frame);
    link_begin(&process->frame, LINK_FAILED, 0);
    buffer_append(&process->frame, error_text(error), strnlen(error_text(error), LINK_TEXT_MAX));
    link_end(&process->frame);
    if (buffer_status(&process->frame) == STATUS_OK)
        (void)!write(LINK_DESCRIPTOR, process->frame.data, process->frame.size);
    return 1;
}

/* What a terminal or a service manager sends to all processes of a group: kmipd decides when this
 * one ends. */
static void ignore_signals(void)
{
    static const int signals[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
        (void)signal(signals[i], SIG_IGN);
}

int admin_process(void)
{
    static struct process process;
    struct buffer payload;
    struct error error = {0};
    int listener;
    prepare_memory();
    ignore_signals();
    buffer_init(&payload, LINK_IDENTITY_MAX + 64);
    buffer_init(&process.frame, LINK_FRAME_MAX);
    if (!receive_setup(&payload, &listener) ||
        link_read_setup(buffer_bytes(&payload), &process.setup) != STATUS_OK) {
        buffer_free(&payload);
        return fail(&process, &(struct error){.text = "it was not told what to serve"});
    }
    log_init((enum log_level)process.setup.log_level, process.setup.journal);
    struct link_identity identity = process.setup.identity;
    process.setup.identity = (struct link_identity){{NULL, 0}, {NULL, 0}};
    enum status status = prepare(&process, &identity, listener, &error);
    buffer_free(&payload);
    if (status != STATUS_OK)
        return fail(&process, &error);
    say(&process, LINK_READY, "");
    (void)event_base_dispatch(process.base);
#ifdef __SANITIZE_ADDRESS__
    /* The leak checker looks at the process as a debugger does. */
    (void)prctl(PR_SET_DUMPABLE, 1);
#endif
    return 0;
}
