/* SPDX-License-Identifier: Apache-2.0 */
/* Requests from evhttp to kmipd, and answers back. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/process_inside.h"
#include "base/log.h"

#define LINK_FULL       ((size_t)32 << 20) /* bytes on their way to kmipd beyond which we say 503 */
#define SLOTS_PER_PEER  2 /* a request may outlive its connection */
#define PEER_TEXT_MAX   64
#define HEADER_TEXT_MAX 256

/* ---- Slots ---- */

enum status process_open_http(struct process *process, struct error *error)
{
    process->slot_count = process->setup.connections_max * SLOTS_PER_PEER;
    process->slots = calloc(process->slot_count, sizeof(process->slots[0]));
    buffer_init(&process->frame, LINK_FRAME_MAX);
    if (process->slots == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    for (uint32_t i = 0; i < process->slot_count; i++)
        process->slots[i].next_free = i + 1;
    return STATUS_OK;
}

/* A number for the request, by which its answer is known. False: too many are under way. */
static bool take_slot(struct process *process, struct evhttp_request *request,
                      uint64_t *ret_number)
{
    uint32_t place = process->first_free;
    if (place == process->slot_count)
        return false;
    struct slot *slot = &process->slots[place];
    process->first_free = slot->next_free;
    slot->request = request;
    slot->serial++;
    *ret_number = (uint64_t)slot->serial << 32 | place;
    return true;
}

/* The request of this number; NULL: there is none, or it has been answered. */
static struct evhttp_request *give_slot(struct process *process, uint64_t number)
{
    uint32_t place = (uint32_t)number;
    struct slot *slot = place < process->slot_count ? &process->slots[place] : NULL;
    if (slot == NULL || slot->request == NULL || slot->serial != number >> 32)
        return NULL;
    struct evhttp_request *request = slot->request;
    slot->request = NULL;
    slot->next_free = process->first_free;
    process->first_free = place;
    return request;
}

/* ---- Requests ---- */

static enum api_method method_of(struct evhttp_request *request)
{
    switch (evhttp_request_get_command(request)) {
    case EVHTTP_REQ_HEAD:
        return API_HEAD;
    case EVHTTP_REQ_GET:
        return API_GET;
    case EVHTTP_REQ_POST:
        return API_POST;
    case EVHTTP_REQ_PUT:
        return API_PUT;
    case EVHTTP_REQ_PATCH:
        return API_PATCH;
    case EVHTTP_REQ_DELETE:
        return API_DELETE;
    default:
        return API_OTHER;
    }
}

static struct bytes text_or_nothing(const char *text)
{
    return text == NULL ? bytes_of(NULL, 0) : bytes_of_text(text);
}

static struct bytes header_of(struct evhttp_request *request, const char *name)
{
    return text_or_nothing(evhttp_find_header(evhttp_request_get_input_headers(request), name));
}

/* By the first of these names that is there. */
static struct bytes correlation_of(struct evhttp_request *request)
{
    struct bytes value = header_of(request, "Correlation-Id");
    if (value.size == 0)
        value = header_of(request, "X-Correlation-ID");
    return value.size > 0 ? value : header_of(request, "X-Request-Id");
}

static void write_peer(struct evhttp_request *request, char *ret_text)
{
    char *address = NULL;
    ev_uint16_t port = 0;
    evhttp_connection_get_peer(evhttp_request_get_connection(request), &address, &port);
    const char *text = address != NULL ? address : "unknown";
    bool six = strchr(text, ':') != NULL;
    (void)snprintf(ret_text, PEER_TEXT_MAX, "%s%s%s:%u", six ? "[" : "", text, six ? "]" : "",
                   (unsigned)port);
}

static void write_frame(struct process *process, struct evhttp_request *request, uint64_t number)
{
    char peer[PEER_TEXT_MAX];
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    size_t size = evbuffer_get_length(input);
    write_peer(request, peer);
    const struct api_request ours = {
        .method = method_of(request),
        .path = text_or_nothing(uri == NULL ? NULL : evhttp_uri_get_path(uri)),
        .query = text_or_nothing(uri == NULL ? NULL : evhttp_uri_get_query(uri)),
        .authorization = header_of(request, "Authorization"),
        .instance = header_of(request, "Bluemix-Instance"),
        .correlation = correlation_of(request),
        .key_ring = header_of(request, "X-Kms-Key-Ring"),
        .prefer = header_of(request, "Prefer"),
        .accept = header_of(request, "Accept"),
        .content_type = header_of(request, "Content-Type"),
        .body = bytes_of(size == 0 ? NULL : evbuffer_pullup(input, -1), size),
        .peer = bytes_of_text(peer),
    };
    link_begin(&process->frame, LINK_REQUEST, number);
    link_write_request(&ours, &process->frame);
    link_end(&process->frame);
    (void)evbuffer_drain(input, size);
}

static void answer_later(struct evhttp_request *request)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    (void)evhttp_add_header(headers, "Retry-After", "5");
    evhttp_send_reply(request, 503, NULL, NULL);
}

static void answer_is_sent(struct evhttp_request *request, void *context)
{
    struct process *process = context;
    process_move_peer(process, request, &process->silent);
}

void process_take_request(struct evhttp_request *request, void *context)
{
    struct process *process = context;
    uint64_t number;
    size_t waiting = evbuffer_get_length(bufferevent_get_output(process->link));
    /* What is asked of a proxy is asked of us (RFC 9112 §3.2.2), and the connection goes on. */
    request->flags &= ~EVHTTP_PROXY_REQUEST;
    evhttp_request_set_on_complete_cb(request, answer_is_sent, process);
    if (process->ending || waiting > LINK_FULL || !take_slot(process, request, &number)) {
        process_move_peer(process, request, &process->answering);
        answer_later(request);
        return;
    }
    process_move_peer(process, request, &process->working);
    write_frame(process, request, number);
    bool sent = buffer_status(&process->frame) == STATUS_OK &&
                bufferevent_write(process->link, process->frame.data, process->frame.size) == 0;
    buffer_reset(&process->frame);
    if (!sent && give_slot(process, number) != NULL)
        answer_later(request);
}

/* ---- Answers ---- */

static void add_header(struct evkeyvalq *headers, const char *name, struct bytes value)
{
    char text[HEADER_TEXT_MAX];
    if (value.size == 0 || value.size >= sizeof(text))
        return;
    (void)snprintf(text, sizeof(text), "%.*s", (int)value.size, (const char *)value.data);
    /* evhttp refuses values with line ends. */
    if (evhttp_add_header(headers, name, text) != 0)
        log_warning("admin a header cannot be sent name=%s", name);
}

static void add_number(struct evkeyvalq *headers, const char *name, int64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, number);
    (void)evhttp_add_header(headers, name, text);
}

static void add_headers(struct evkeyvalq *headers, const struct link_answer *answer)
{
    add_header(headers, "Content-Type", answer->content_type);
    add_header(headers, "Correlation-Id", answer->correlation);
    add_header(headers, "Allow", answer->allow);
    add_header(headers, "Cache-Control", BYTES_LITERAL("no-store"));
    if (answer->key_total >= 0)
        add_number(headers, "Key-Total", answer->key_total);
    if (answer->retry_after > 0)
        add_number(headers, "Retry-After", answer->retry_after);
    if (answer->status == 401) /* RFC 9110 §15.5.2 */
        add_header(headers, "WWW-Authenticate", BYTES_LITERAL("Bearer"));
    if (answer->close)
        add_header(headers, "Connection", BYTES_LITERAL("close"));
}

/* evhttp would send a body behind any headers (RFC 9110 §9.3.2, §15.3.5). */
static bool add_body(struct evhttp_request *request, const struct link_answer *answer,
                     struct evbuffer *body)
{
    if (evhttp_request_get_command(request) != EVHTTP_REQ_HEAD)
        return answer->status == 204 ||
               evbuffer_add(body, answer->body.data, answer->body.size) == 0;
    add_number(evhttp_request_get_output_headers(request), "Content-Length",
               (int64_t)answer->body.size);
    return true;
}

bool process_take_answer(struct process *process, uint64_t number, struct bytes payload)
{
    struct link_answer answer;
    if (link_read_answer(payload, &answer) != STATUS_OK)
        return false;
    struct evhttp_request *request = give_slot(process, number);
    if (request == NULL)
        return false;
    struct evbuffer *body = evbuffer_new();
    process_move_peer(process, request, &process->answering);
    if (body != NULL && add_body(request, &answer, body)) {
        add_headers(evhttp_request_get_output_headers(request), &answer);
        evhttp_send_reply(request, (int)answer.status, NULL, body);
    } else {
        answer_later(request);
    }
    if (body != NULL)
        evbuffer_free(body);
    return true;
}
