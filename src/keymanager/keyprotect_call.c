/* SPDX-License-Identifier: Apache-2.0 */
/* One request of the API: token, tries, what the answer means. */
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "keymanager/keyprotect_client.h"

#define BODY_MAX   4096  /* in locked memory */
#define ANSWER_MAX 8192  /* in locked memory */
#define PLAIN_BODY 16384 /* not in locked memory */
#define URL_MAX    (512 + KP_PATH_MAX + 16)

void kp_call_init(struct kp_call *call, const char *method, const char *path, ...)
{
    *call = (struct kp_call){
        .method = method, .key_ring = "", .type = "key", .answer_max = KP_ANSWER_MAX};
    va_list arguments;
    va_start(arguments, path);
    (void)vsnprintf(call->path, sizeof(call->path), path, arguments);
    va_end(arguments);
}

static uint32_t chance(void)
{
    uint32_t random = 0;
    (void)RAND_bytes((unsigned char *)&random, sizeof(random)); /* without it: no jitter */
    return random;
}

/* ---- What an answer means ---- */

#define ANY ""

/* The first that fits. Without an entry it is nothing that the service would answer. */
static const struct {
    long http;
    const char *code;
    enum status status;
} meanings[] = {
    {400, "KEY_ROOT_REQ_ERR", STATUS_ROOT_KEY_UNAVAILABLE},
    {400, "KEY_EXPIRED_ERR", STATUS_ROOT_KEY_UNAVAILABLE},
    {400, "KEY_RESTORE_EXPIRED", STATUS_NOT_FOUND},
    {400, ANY, STATUS_INVALID_ARGUMENT},
    {401, ANY, STATUS_ROOT_KEY_UNAVAILABLE},
    {403, ANY, STATUS_ROOT_KEY_UNAVAILABLE},
    {404, ANY, STATUS_NOT_FOUND},
    {405, ANY, STATUS_FEATURE_NOT_SUPPORTED},
    {409, ANY, STATUS_CONFLICT},
    {410, ANY, STATUS_CONFLICT},
    {413, ANY, STATUS_TOO_LARGE},
    {422, ANY, STATUS_INVALID_ARGUMENT},
    {501, ANY, STATUS_FEATURE_NOT_SUPPORTED},
};

static enum status meaning_of(long http, const char *code)
{
    for (size_t i = 0; i < ARRAY_COUNT(meanings); i++)
        if (meanings[i].http == http &&
            (meanings[i].code[0] == '\0' || strcmp(meanings[i].code, code) == 0))
            return meanings[i].status;
    return STATUS_KEY_MANAGER_UNAVAILABLE;
}

enum status kp_call_job_status(const struct kp_call *call, enum status refused)
{
    switch (call->status) {
    case STATUS_INVALID_ARGUMENT:
    case STATUS_TOO_LARGE:
        return refused;
    case STATUS_NOT_FOUND:
    case STATUS_CONFLICT:
        return STATUS_ROOT_KEY_UNAVAILABLE;
    case STATUS_FEATURE_NOT_SUPPORTED:
        return STATUS_KEY_MANAGER_UNAVAILABLE;
    default:
        return call->status;
    }
}

/* What to do about it, for the person who reads the text. */
static const struct {
    long http;
    const char *advice;
} advices[] = {
    {400, "it does not accept the request"},
    {401,
     "access denied: the service ID needs the platform role Viewer and the service role Manager "
     "on this instance, and instance must be its GUID"},
    {403, "forbidden: see the roles of the service ID, and the instance's network and IP policies"},
    {404, "there is no such key, or no such instance or key ring"},
    {409, "the state of the key does not allow it"},
    {410, "the key was deleted"},
    {422, "it does not accept the request"},
    {429, "too many requests: the service wants us to wait"},
};

static const char *advice_on(long http)
{
    for (size_t i = 0; i < ARRAY_COUNT(advices); i++)
        if (advices[i].http == http)
            return advices[i].advice;
    if (http >= 300 && http <= 399)
        return "a redirect, which is not followed: check url";
    if (http >= 500)
        return "the service has a fault of its own: see its status page";
    return "an answer that the service does not give: check url and what is between";
}

static void explain_answer(const struct kp_slot *slot, enum status status)
{
    const struct kp_refusal *refusal = &slot->call->refusal;
    /* What was sent may come back in a message; see kp_answer_refusal() too. */
    const char *message = slot->call->secret ? "" : refusal->message;
    (void)error_set(slot->call->error, status, "%s: %s (%ld%s%s%s%s; correlation id %s)",
                    slot->kp->options.url, advice_on(slot->call->http), slot->call->http,
                    refusal->code[0] != '\0' ? " " : "", refusal->code,
                    message[0] != '\0' ? ": " : "", message, slot->correlation);
}

static void explain(const struct kp_slot *slot, enum status status, const char *what)
{
    (void)error_set(slot->call->error, status, "%s: %s (correlation id %s)", slot->kp->options.url,
                    what, slot->correlation);
}

/* ---- The end of a call ---- */

static void decide_breaker(struct kp_slot *slot, bool succeeded)
{
    slot->probing = false;
    if (succeeded)
        kp_breaker_succeeded(&slot->kp->breaker);
    else
        kp_breaker_failed(&slot->kp->breaker, clock_monotonic());
}

static void finish(struct kp_slot *slot, enum status status)
{
    struct kp_call *call = slot->call;
    if (slot->probing)
        kp_breaker_undecided(&slot->kp->breaker);
    slot->probing = false;
    slot->call = NULL;
    slot->state = KP_SLOT_WAITING;
    buffer_free(&slot->body);
    call->status = status;
    bool secret = call->answer_max == 0;
    call->done(call, slot);
    if (secret && slot->call == NULL)
        explicit_bzero((uint8_t *)slot->locked + BODY_MAX, ANSWER_MAX);
}

static void fail_at_once(struct kp_slot *slot, const char *what)
{
    explain(slot, STATUS_KEY_MANAGER_UNAVAILABLE, what);
    finish(slot, STATUS_KEY_MANAGER_UNAVAILABLE);
}

static void try_again(struct kp_slot *slot, enum status status)
{
    int64_t now = clock_monotonic();
    int64_t delay = kp_retry_delay(slot->attempt, slot->transfer.retry_after, chance());
    if (slot->attempt > slot->kp->options.retries || now + delay >= slot->call->deadline) {
        finish(slot, status);
        return;
    }
    slot->state = KP_SLOT_WAITING;
    slot->wake = now + delay;
}

/* ---- Sending ---- */

static bool make_correlation(char ret_text[static KP_CORRELATION_MAX])
{
    struct uuid uuid;
    if (RAND_bytes(uuid.bytes, sizeof(uuid.bytes)) != 1)
        return false;
    uuid.bytes[6] = (uint8_t)(0x40 | (uuid.bytes[6] & 0x0F));
    uuid.bytes[8] = (uint8_t)(0x80 | (uuid.bytes[8] & 0x3F));
    uuid_text(&uuid, ret_text);
    return true;
}

static bool add_authorization(struct kp_slot *slot)
{
    struct secret value = {0};
    const struct secret *token = &slot->kp->iam.token;
    const struct bytes scheme = BYTES_LITERAL("Bearer ");
    if (secret_allocate(&value, scheme.size + token->size) != STATUS_OK)
        return false;
    memcpy(value.data, scheme.data, scheme.size);
    memcpy(value.data + scheme.size, token->data, token->size);
    bool good = kp_transfer_header(&slot->transfer, "Authorization", secret_bytes(&value));
    secret_free(&value);
    return good;
}

static bool add_headers(struct kp_slot *slot)
{
    struct kp_call *call = slot->call;
    char type[64];
    (void)snprintf(type, sizeof(type), "application/vnd.ibm.kms.%s+json", call->type);
    const struct {
        const char *name;
        const char *value;
    } headers[] = {
        {"Bluemix-Instance", slot->kp->options.instance},
        {"Correlation-Id", slot->correlation},
        {"Accept", "application/json"},
        {"X-Kms-Key-Ring", call->key_ring},
        {"Prefer", call->minimal ? "return=minimal" : ""},
        {"Content-Type", strcmp(call->method, "POST") == 0 ? type : ""},
    };
    for (size_t i = 0; i < ARRAY_COUNT(headers); i++)
        if (headers[i].value[0] != '\0' &&
            !kp_transfer_header(&slot->transfer, headers[i].name, bytes_of_text(headers[i].value)))
            return false;
    return add_authorization(slot);
}

static void set_up_buffers(struct kp_slot *slot)
{
    struct kp_call *call = slot->call;
    buffer_free(&slot->body);
    buffer_free(&call->answer);
    if (call->secret)
        buffer_over(&slot->body, slot->locked, BODY_MAX);
    else
        buffer_init(&slot->body, PLAIN_BODY);
    if (call->answer_max == 0)
        buffer_over(&call->answer, (uint8_t *)slot->locked + BODY_MAX, ANSWER_MAX);
    else
        buffer_init(&call->answer, call->answer_max);
}

static enum status prepare(struct kp_slot *slot)
{
    struct kp_call *call = slot->call;
    set_up_buffers(slot);
    if (!make_correlation(slot->correlation))
        return STATUS_CRYPTO_FAILED;
    enum status status = call->write != NULL ? call->write(call, &slot->body) : STATUS_OK;
    if (status == STATUS_OK)
        status = buffer_status(&slot->body);
    if (status == STATUS_OK && !add_headers(slot))
        status = STATUS_NO_MEMORY;
    return status;
}

static int64_t time_of_try(const struct kp_slot *slot, int64_t now)
{
    int64_t left = slot->call->deadline - now;
    int64_t longest =
        slot->call->try_timeout > 0 ? slot->call->try_timeout : slot->kp->options.try_timeout;
    return left < longest ? left : longest;
}

static void answered(struct kp_transfer *transfer);

static void send_request(struct kp_slot *slot, int64_t now)
{
    struct kp_call *call = slot->call;
    char url[URL_MAX];
    enum status status = prepare(slot);
    struct kp_transfer *transfer = &slot->transfer;
    transfer->body = buffer_bytes(&slot->body);
    transfer->answer = &call->answer;
    transfer->once = call->once;
    transfer->done = answered;
    slot->generation = slot->kp->iam.generation;
    slot->state = KP_SLOT_SENT;
    (void)snprintf(url, sizeof(url), "%s/api/v2%s", slot->kp->options.url, call->path);
    if (status == STATUS_OK &&
        !kp_transfer_start(&slot->kp->http, transfer, call->method, url, time_of_try(slot, now)))
        status = STATUS_NO_MEMORY;
    if (status != STATUS_OK) {
        (void)error_set(call->error, status, "%s", status_text(status));
        finish(slot, status);
    }
}

void kp_call_step(struct kp_slot *slot, int64_t now)
{
    struct kp *kp = slot->kp;
    if (now >= slot->call->deadline) {
        fail_at_once(slot, slot->state == KP_SLOT_TOKEN ? "IAM gave no token in time"
                                                        : "no answer in time");
        return;
    }
    enum kp_iam_answer token = kp_iam_get(&kp->iam, now);
    slot->state = KP_SLOT_TOKEN;
    if (token == KP_IAM_PENDING)
        return;
    if (token == KP_IAM_FAILED) {
        (void)error_set(slot->call->error, kp->iam.error.status, "%s", error_text(&kp->iam.error));
        finish(slot, kp->iam.error.status);
        return;
    }
    if (!slot->probing) {
        slot->probing = kp_breaker_is_open(&kp->breaker);
        if (!kp_breaker_admits(&kp->breaker, now)) {
            slot->probing = false;
            fail_at_once(slot, "it has not answered lately; it is tried again shortly");
            return;
        }
    }
    send_request(slot, now);
}

void kp_call_begin(struct kp_slot *slot, struct kp_call *call)
{
    slot->call = call;
    slot->attempt = 0;
    slot->refreshed = false;
    slot->correlation[0] = '\0';
    call->http = 0;
    call->ambiguous = false;
    call->refusal = (struct kp_refusal){0};
    kp_call_step(slot, clock_monotonic());
}

/* ---- Answers ---- */

static void transport_failed(struct kp_slot *slot)
{
    struct kp_transfer *transfer = &slot->transfer;
    struct kp_call *call = slot->call;
    bool may_pass = kp_http_may_pass(transfer->code) && !transfer->too_large;
    call->ambiguous = call->once && transfer->sent > 0;
    (void)error_set(call->error, STATUS_KEY_MANAGER_UNAVAILABLE, "%s: %s (%s; correlation id %s)",
                    slot->kp->options.url, kp_http_advice(transfer->code),
                    transfer->text[0] != '\0' ? transfer->text : curl_easy_strerror(transfer->code),
                    slot->correlation);
    decide_breaker(slot, false);
    if (may_pass && !call->ambiguous)
        try_again(slot, STATUS_KEY_MANAGER_UNAVAILABLE);
    else
        finish(slot, STATUS_KEY_MANAGER_UNAVAILABLE);
}

static void take_success(struct kp_slot *slot)
{
    char *type = NULL;
    struct kp_call *call = slot->call;
    (void)curl_easy_getinfo(slot->transfer.easy, CURLINFO_CONTENT_TYPE, &type);
    decide_breaker(slot, true);
    if (call->answer.size == 0 || kp_is_json_type(type)) {
        finish(slot, STATUS_OK);
        return;
    }
    call->ambiguous = call->once;
    fail_at_once(slot,
                 "the answer is not JSON: something else than the service answers; check url");
}

/* 401 once may mean that the token has ended on the way. */
static bool gets_new_token(struct kp_slot *slot, int64_t now)
{
    if (slot->call->http != 401 || slot->refreshed ||
        !kp_iam_reject(&slot->kp->iam, slot->generation, now))
        return false;
    slot->refreshed = true;
    slot->attempt--;
    kp_call_step(slot, now);
    return true;
}

static void take_refusal(struct kp_slot *slot)
{
    struct kp_call *call = slot->call;
    bool genuine = kp_answer_refusal(buffer_bytes(&call->answer), &call->refusal);
    enum status status = genuine || call->http == 401 ? meaning_of(call->http, call->refusal.code)
                                                      : STATUS_KEY_MANAGER_UNAVAILABLE;
    if (call->http == 501 || call->http == 405)
        status = STATUS_FEATURE_NOT_SUPPORTED;
    explain_answer(slot, status);
    if (call->http >= 500 && call->http != 501)
        decide_breaker(slot, false);
    else if (genuine)
        decide_breaker(slot, true);
    call->ambiguous = call->once && call->http >= 500;
    if (kp_retry_is_worthwhile(call->http) && !call->ambiguous)
        try_again(slot, STATUS_KEY_MANAGER_UNAVAILABLE);
    else
        finish(slot, status);
}

static void answered(struct kp_transfer *transfer)
{
    struct kp_slot *slot = CONTAINER_OF(transfer, struct kp_slot, transfer);
    struct kp_call *call = slot->call;
    slot->attempt++;
    call->http = transfer->http;
    if (transfer->code != CURLE_OK)
        transport_failed(slot);
    else if (transfer->http >= 200 && transfer->http <= 299)
        take_success(slot);
    else if (!gets_new_token(slot, clock_monotonic()))
        take_refusal(slot);
}

/* ---- Slots ---- */

size_t kp_slot_locked_size(void)
{
    return BODY_MAX + ANSWER_MAX;
}

void kp_call_abandon(struct kp_slot *slot)
{
    if (slot->state == KP_SLOT_SENT)
        kp_transfer_cancel(&slot->kp->http, &slot->transfer);
    fail_at_once(slot, "the server ends");
}
