/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a call: route, identity, permission, body, handler, record. */
#include "api/api.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/auth.h"
#include "api/jwt.h"
#include "api/permission.h"
#include "api/record.h"
#include "api/router.h"
#include "api/state.h"
#include "base/log.h"

#define RETRY_SECONDS 5

/* ---- Sessions of the store ---- */

static enum status take_session(struct api *api, struct api_session **ret_session)
{
    (void)pthread_mutex_lock(&api->lock);
    struct api_session *session = api->sessions;
    if (session != NULL)
        api->sessions = session->next;
    (void)pthread_mutex_unlock(&api->lock);
    if (session != NULL) {
        *ret_session = session;
        return STATUS_OK;
    }
    session = calloc(1, sizeof(*session));
    if (session == NULL)
        return STATUS_NO_MEMORY;
    enum status status = store_session_open(api->context.store, &session->store);
    if (status != STATUS_OK)
        free(session);
    else
        *ret_session = session;
    return status;
}

static void give_session(struct api *api, struct api_session *session)
{
    (void)pthread_mutex_lock(&api->lock);
    session->next = api->sessions;
    api->sessions = session;
    (void)pthread_mutex_unlock(&api->lock);
}

/* ---- A call ---- */

static bool is_safe_in_header(uint8_t byte)
{
    return byte > ' ' && byte < 0x7F && byte != '"' && byte != '\\';
}

/* What the client calls its request, if that may stand in a header and in the log; else a new
 * random UUID (RFC 9562 §5.4). */
static void choose_correlation(struct bytes given, char *ret_text, size_t size)
{
    struct uuid uuid;
    bool good = given.size > 0 && given.size < size;
    for (size_t i = 0; good && i < given.size; i++)
        good = is_safe_in_header(given.data[i]);
    if (good) {
        memcpy(ret_text, given.data, given.size);
        ret_text[given.size] = '\0';
        return;
    }
    if (RAND_bytes(uuid.bytes, UUID_SIZE) != 1)
        memset(uuid.bytes, 0, UUID_SIZE); /* no secret; a call without one is as good */
    uuid.bytes[6] = (uint8_t)(0x40 | (uuid.bytes[6] & 0x0F));
    uuid.bytes[8] = (uint8_t)(0x80 | (uuid.bytes[8] & 0x3F));
    uuid_text(&uuid, ret_text);
}

static bool find_route(struct api_call *call)
{
    const struct api_request *request = call->request;
    enum api_match match = router_find(request->method, request->path, &call->route,
                                       call->parameters, call->response->allow);
    if (call->route != NULL) {
        call->action = call->route->action;
        call->roles = call->route->role;
    }
    if (match == API_MATCH_NO_PATH)
        api_fail(call, API_NOT_FOUND_ERR, NULL, NULL);
    else if (match == API_MATCH_NO_METHOD)
        api_fail(call, API_METHOD_NOT_ALLOWED_ERR, NULL, NULL);
    return match == API_MATCH_FOUND;
}

static bool is_permitted(struct api_call *call)
{
    const struct api_route *route = call->route;
    bool permitted = route->scope == API_SCOPE_PART
                         ? permission_somewhere(&call->identity, route->role)
                         : api_may(call, route->role, NULL, NULL);
    if (route->role == API_ROLE_ANY)
        permitted = permission_somewhere(&call->identity, route->role);
    if (!permitted)
        api_fail(call, API_UNAUTHORIZED_ERR, NULL, NULL);
    return permitted;
}

/* By the instance's policy on addresses, which does not concern who is on this machine. */
static bool is_admitted(struct api_call *call)
{
    bool admitted = true;
    enum status status = STATUS_OK;
    if (!call->request->local)
        status = admission_ask(&call->api->admission, call->context->kms, call->request->peer,
                               &admitted);
    if (status != STATUS_OK)
        api_fail_status(call, status, NULL);
    else if (!admitted)
        api_fail(call, API_UNAUTHORIZED_ERR, NULL, NULL);
    return status == STATUS_OK && admitted;
}

static bool is_blank(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (strchr(" \t\r\n", text.data[i]) == NULL || text.data[i] == '\0')
            return false;
    return true;
}

/* No body, null and {} are the same: clients send each of them where there is nothing to say. */
static bool parse_body(struct api_call *call)
{
    json_error_t where;
    struct bytes text = call->request->body;
    if (is_blank(text))
        return true;
    json_t *body = json_loadb((const char *)text.data, text.size,
                              JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);
    if (body == NULL) {
        /* Not jansson's own text: it has a piece of the body in it. */
        api_fail_text(call, API_BAD_BODY_ERR, NULL, NULL, "The body is not JSON (line %d, byte %d)",
                      where.line, where.position);
        return false;
    }
    bool empty = json_is_null(body) || (json_is_object(body) && json_object_size(body) == 0);
    if (empty)
        json_decref(body);
    else
        call->body = body;
    return true;
}

static void carry_out(struct api_call *call)
{
    struct api_session *session;
    enum status status = take_session(call->api, &session);
    if (status != STATUS_OK) {
        api_fail_status(call, status, NULL);
        return;
    }
    call->session = session->store;
    call->route->handler(call);
    give_session(call->api, session);
    if (call->response->status == 0)
        api_fail(call, API_INTERNAL_ERR, NULL, NULL);
}

/* From the request to the answer, but for the record. */
static void answer(struct api_call *call)
{
    if (!find_route(call))
        return;
    bool is_public = call->route->role == API_ROLE_PUBLIC;
    if (!is_public && (!auth_identify(call) || !is_admitted(call) || !is_permitted(call) ||
                       !parse_body(call)))
        return;
    carry_out(call);
    json_decref(call->body);
    call->body = NULL;
}

static void begin(struct api *api, const struct api_request *request,
                  struct api_response *response, struct api_call *ret_call)
{
    response->status = 0;
    response->content_type = NULL;
    response->key_total = -1;
    response->allow[0] = '\0';
    response->retry_after = 0;
    response->close = false;
    choose_correlation(request->correlation, response->correlation, sizeof(response->correlation));
    ret_call->api = api;
    ret_call->context = &api->context;
    ret_call->request = request;
    ret_call->response = response;
    ret_call->now = clock_now(api->context.clock);
}

/* Sends somebody away of whom nothing is recorded, since too many like him come. */
static void send_away(struct api_call *call)
{
    buffer_free(&call->response->body);
    call->response->status = 0;
    call->response->allow[0] = '\0';
    api_fail(call, API_TOO_MANY_REQUESTS_ERR, NULL, NULL);
    call->response->close = true;
}

/* Carries the call out. False: it is not to be recorded. */
static bool run(struct api_call *call, struct record *ret_record)
{
    uint64_t left_out = 0;
    answer(call);
    bool stranger = call->identity.iam_id[0] == '\0';
    if (stranger && !strangers_admit(&call->api->strangers, &left_out)) {
        send_away(call);
        return false;
    }
    if (call->unrecorded && call->error == API_OK)
        return false;
    record_make(call, left_out, ret_record);
    log_debug("api method=%d action=\"%s\" status=%u correlation=%s", call->request->method,
              call->action != NULL ? call->action : "", call->response->status,
              call->response->correlation);
    return true;
}

void api_handle(struct api *api, const struct api_request *request, struct api_response *response)
{
    struct api_call call = {0};
    struct record record;
    begin(api, request, response, &call);
    if (run(&call, &record) && audit_write(api->context.audit, &record.entry) != STATUS_OK)
        record_failed(response);
}

/* ---- Jobs ---- */

/* A job whose record is on its way to the disk. */
struct ticket {
    struct audit_ticket audit;
    struct api *api;
    struct api_job *job;
};

static void finish(struct api *api, struct api_job *job)
{
    job->done(job);
    (void)pthread_mutex_lock(&api->lock);
    if (--api->unfinished == 0)
        (void)pthread_cond_broadcast(&api->finished);
    (void)pthread_mutex_unlock(&api->lock);
}

static void recorded(struct audit_ticket *audit, enum status status)
{
    struct ticket *ticket = CONTAINER_OF(audit, struct ticket, audit);
    struct api *api = ticket->api;
    struct api_job *job = ticket->job;
    free(ticket);
    if (status != STATUS_OK)
        record_failed(&job->response);
    finish(api, job);
}

static void do_job(struct api *api, struct api_job *job)
{
    struct api_call call = {0};
    struct record record;
    begin(api, &job->request, &job->response, &call);
    if (!run(&call, &record)) {
        finish(api, job);
        return;
    }
    struct ticket *ticket = malloc(sizeof(*ticket));
    if (ticket == NULL) {
        if (audit_write(api->context.audit, &record.entry) != STATUS_OK)
            record_failed(&job->response);
        finish(api, job);
        return;
    }
    *ticket = (struct ticket){.audit = {.done = recorded}, .api = api, .job = job};
    audit_append(api->context.audit, &record.entry, 1, &ticket->audit);
}

/* The next job; NULL: the end has come. */
static struct api_job *take_job(struct api *api)
{
    (void)pthread_mutex_lock(&api->lock);
    while (api->first == NULL && !api->closing)
        (void)pthread_cond_wait(&api->work, &api->lock);
    struct api_job *job = api->closing ? NULL : api->first;
    if (job != NULL) {
        api->first = job->next;
        api->waiting--;
        api->unfinished++;
    }
    (void)pthread_mutex_unlock(&api->lock);
    return job;
}

static void *work(void *argument)
{
    struct api *api = argument;
    struct api_job *job;
    while ((job = take_job(api)) != NULL)
        do_job(api, job);
    return NULL;
}

/* Answers 503 on the caller's thread. */
static void refuse(struct api *api, struct api_job *job)
{
    struct api_call call = {0};
    begin(api, &job->request, &job->response, &call);
    api_fail(&call, API_UNAVAILABLE_ERR, NULL, NULL);
    job->response.retry_after = RETRY_SECONDS;
    job->done(job);
}

static bool enqueue(struct api *api, struct api_job *job)
{
    bool room = !api->closing && api->waiting < API_QUEUE_MAX;
    if (!room)
        return false;
    job->next = NULL;
    if (api->first == NULL)
        api->first = job;
    else
        api->last->next = job;
    api->last = job;
    api->waiting++;
    (void)pthread_cond_signal(&api->work);
    return true;
}

void api_submit(struct api *api, struct api_job *job)
{
    (void)pthread_mutex_lock(&api->lock);
    bool taken = enqueue(api, job);
    (void)pthread_mutex_unlock(&api->lock);
    if (!taken)
        refuse(api, job);
}

/* ---- Opening and closing ---- */

/* What jansson frees may have been key material. */
static void wipe_and_free(void *memory)
{
    if (memory != NULL)
        OPENSSL_cleanse(memory, malloc_usable_size(memory));
    free(memory);
}

static enum status start_threads(struct api *api, struct error *error)
{
    unsigned wanted = api->context.threads < API_THREADS_MAX ? api->context.threads
                                                             : API_THREADS_MAX;
    while (api->thread_count < wanted) {
        int failure = pthread_create(&api->threads[api->thread_count], NULL, work, api);
        if (failure != 0)
            return error_set_errno(error, STATUS_NO_MEMORY, failure,
                                   "cannot start the threads of the API");
        api->thread_count++;
    }
    return STATUS_OK;
}

enum status api_open(const struct api_context *context, struct api **ret_api, struct error *error)
{
    struct api *api = calloc(1, sizeof(*api));
    if (api == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    json_set_alloc_funcs(malloc, wipe_and_free);
    api->context = *context;
    strangers_init(&api->strangers);
    admission_init(&api->admission);
    (void)pthread_mutex_init(&api->lock, NULL);
    (void)pthread_cond_init(&api->work, NULL);
    (void)pthread_cond_init(&api->finished, NULL);
    enum status status = jwt_open(&api->context, &api->jwt, error);
    if (status == STATUS_OK)
        status = auth_open(&api->auth, error);
    if (status == STATUS_OK)
        status = start_threads(api, error);
    if (status != STATUS_OK)
        api_close(api);
    else
        *ret_api = api;
    return status;
}

/* Jobs that nobody has begun are refused; those that are begun are waited for. */
static void end_threads(struct api *api)
{
    (void)pthread_mutex_lock(&api->lock);
    api->closing = true;
    (void)pthread_cond_broadcast(&api->work);
    (void)pthread_mutex_unlock(&api->lock);
    for (unsigned i = 0; i < api->thread_count; i++)
        (void)pthread_join(api->threads[i], NULL);
    while (api->first != NULL) {
        struct api_job *job = api->first;
        api->first = job->next;
        refuse(api, job);
    }
    (void)pthread_mutex_lock(&api->lock);
    while (api->unfinished > 0)
        (void)pthread_cond_wait(&api->finished, &api->lock);
    (void)pthread_mutex_unlock(&api->lock);
}

void api_close(struct api *api)
{
    if (api == NULL)
        return;
    end_threads(api);
    while (api->sessions != NULL) {
        struct api_session *session = api->sessions;
        api->sessions = session->next;
        store_session_close(session->store);
        free(session);
    }
    auth_close(api->auth);
    jwt_close(api->jwt);
    (void)pthread_cond_destroy(&api->finished);
    (void)pthread_cond_destroy(&api->work);
    (void)pthread_mutex_destroy(&api->lock);
    strangers_close(&api->strangers);
    admission_free(&api->admission);
    free(api);
}
