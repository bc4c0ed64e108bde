/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keyprotect_iam.h"

#include <openssl/rand.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "keymanager/keyprotect_retry.h"

#define API_KEY_MAX   1024
#define BODY_MAX      4096
#define ANSWER_MAX    65536
#define LOCKED_SIZE   (BODY_MAX + ANSWER_MAX)
#define PAUSE_REFUSED 5000 /* after IAM has refused the API key */
#define PAUSE_FAILED  1000
#define REJECT_PAUSE  1000 /* between two tokens thrown away */

/* The second one is what older services have. */
static const char *const paths[] = {"/identity/token", "/oidc/token"};

enum status kp_iam_open(struct kp_iam *iam, struct kp_http *http)
{
    *iam = (struct kp_iam){.http = http, .options = http->options};
    iam->locked = locked_allocate(LOCKED_SIZE);
    if (iam->locked == NULL)
        return STATUS_NO_MEMORY;
    buffer_over(&iam->body, iam->locked, BODY_MAX);
    buffer_over(&iam->answer, (uint8_t *)iam->locked + BODY_MAX, ANSWER_MAX);
    iam->rejected = -REJECT_PAUSE;
    return kp_transfer_init(&iam->transfer);
}

void kp_iam_close(struct kp_iam *iam)
{
    if (iam->fetching)
        kp_transfer_cancel(iam->http, &iam->transfer);
    kp_transfer_free(&iam->transfer);
    secret_free(&iam->token);
    locked_free(iam->locked, LOCKED_SIZE);
    *iam = (struct kp_iam){0};
}

static uint32_t chance(void)
{
    uint32_t random = 0;
    (void)RAND_bytes((unsigned char *)&random, sizeof(random)); /* without it: no jitter */
    return random;
}

/* ---- The request ---- */

/* The first line of the file, without white space around it. */
static struct bytes api_key_in(const struct secret *content)
{
    const uint8_t *start = content->data, *end = content->data + content->size;
    const uint8_t *line = memchr(start, '\n', content->size);
    if (line != NULL)
        end = line;
    while (start < end && *start <= ' ')
        start++;
    while (end > start && end[-1] <= ' ')
        end--;
    return bytes_of(start, (size_t)(end - start));
}

static enum status write_body(struct kp_iam *iam)
{
    struct secret content = {0};
    enum status status = file_read_secret(iam->options->api_key_file, FILE_CREDENTIAL, API_KEY_MAX,
                                          &content, &iam->error);
    if (status != STATUS_OK)
        return status;
    struct bytes key = api_key_in(&content);
    if (key.size == 0)
        status = error_set(&iam->error, STATUS_INVALID_ARGUMENT,
                           "%s has no API key in its first line", iam->options->api_key_file);
    buffer_reset(&iam->body);
    buffer_append_text(&iam->body,
                       "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey=");
    kp_http_percent(&iam->body, key);
    secret_free(&content);
    return status != STATUS_OK ? status : buffer_status(&iam->body);
}

static void end_fetch(struct kp_iam *iam, enum status status, int64_t pause);
static void fetched(struct kp_transfer *transfer);

static bool start_transfer(struct kp_iam *iam)
{
    char url[1024];
    struct kp_transfer *transfer = &iam->transfer;
    struct buffer text;
    buffer_over(&text, url, sizeof(url));
    buffer_append_text(&text, iam->options->iam_url);
    buffer_append(&text, paths[iam->path], strlen(paths[iam->path]) + 1);
    buffer_reset(&iam->answer);
    transfer->body = buffer_bytes(&iam->body);
    transfer->answer = &iam->answer;
    transfer->done = fetched;
    return buffer_status(&text) == STATUS_OK &&
           kp_transfer_header(transfer, "Content-Type",
                              BYTES_LITERAL("application/x-www-form-urlencoded")) &&
           kp_transfer_header(transfer, "Accept", BYTES_LITERAL("application/json")) &&
           kp_transfer_start(iam->http, transfer, "POST", url, iam->options->try_timeout);
}

static void begin_try(struct kp_iam *iam, int64_t now)
{
    iam->wake = 0;
    iam->begun = now;
    iam->fetching = true;
    enum status status = write_body(iam);
    if (status != STATUS_OK) {
        end_fetch(iam, STATUS_KEY_MANAGER_UNAVAILABLE, PAUSE_FAILED);
        return;
    }
    if (!start_transfer(iam)) {
        (void)error_set(&iam->error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
        end_fetch(iam, STATUS_NO_MEMORY, PAUSE_FAILED);
    }
}

/* ---- The answer ---- */

static void end_fetch(struct kp_iam *iam, enum status status, int64_t pause)
{
    buffer_reset(&iam->body);
    buffer_reset(&iam->answer);
    iam->fetching = false;
    iam->wake = 0;
    iam->attempt = 0;
    iam->error.status = status;
    iam->not_before = status == STATUS_OK ? 0 : clock_monotonic() + pause;
}

static void use_token(struct kp_iam *iam, struct kp_token *token)
{
    int64_t life = token->lifetime, margin = life / 10 < 10000 ? life / 10 : 10000;
    secret_free(&iam->token);
    iam->token = secret_take(&token->text);
    iam->generation++;
    iam->ends = iam->begun + life - margin;
    iam->refresh = iam->begun + life * 4 / 5 - chance() % (life / 20 + 1);
    end_fetch(iam, STATUS_OK, 0);
}

static void explain(struct kp_iam *iam, const char *what)
{
    struct kp_refusal refusal;
    if (!kp_answer_iam_refusal(buffer_bytes(&iam->answer), &refusal))
        refusal = (struct kp_refusal){0};
    (void)error_set(&iam->error, STATUS_KEY_MANAGER_UNAVAILABLE, "IAM at %s: %s (%ld%s%s%s%s)",
                    iam->options->iam_url, what, iam->transfer.http,
                    refusal.code[0] != '\0' ? " " : "", refusal.code,
                    refusal.message[0] != '\0' ? ": " : "", refusal.message);
}

static void try_again(struct kp_iam *iam)
{
    if (iam->attempt >= iam->options->retries) {
        end_fetch(iam, STATUS_KEY_MANAGER_UNAVAILABLE, PAUSE_FAILED);
        return;
    }
    iam->attempt++;
    iam->fetching = false;
    iam->wake =
        clock_monotonic() + kp_retry_delay(iam->attempt, iam->transfer.retry_after, chance());
}

static void transport_failed(struct kp_iam *iam)
{
    CURLcode code = iam->transfer.code;
    (void)error_set(&iam->error, STATUS_KEY_MANAGER_UNAVAILABLE, "IAM at %s: %s (%s)",
                    iam->options->iam_url, kp_http_advice(code),
                    iam->transfer.text[0] != '\0' ? iam->transfer.text : curl_easy_strerror(code));
    if (kp_http_may_pass(code))
        try_again(iam);
    else
        end_fetch(iam, STATUS_KEY_MANAGER_UNAVAILABLE, PAUSE_FAILED);
}

static void read_token(struct kp_iam *iam)
{
    struct kp_token token;
    char *type = NULL;
    (void)curl_easy_getinfo(iam->transfer.easy, CURLINFO_CONTENT_TYPE, &type);
    if (kp_is_json_type(type) && kp_answer_token(buffer_bytes(&iam->answer), &token)) {
        use_token(iam, &token);
        return;
    }
    buffer_reset(&iam->answer); /* it may have a token in it */
    explain(iam, "the answer is no token: check iam-url, and that no proxy answers in its place");
    end_fetch(iam, STATUS_KEY_MANAGER_UNAVAILABLE, PAUSE_FAILED);
}

static void read_refusal(struct kp_iam *iam)
{
    struct kp_refusal refusal;
    long http = iam->transfer.http;
    bool refused = (http == 400 || http == 401 || http == 403) &&
                   kp_answer_iam_refusal(buffer_bytes(&iam->answer), &refusal);
    if (refused) {
        explain(iam, "the API key is refused: was it, or the service ID, deleted or locked? Put a "
                     "valid one into api-key-file");
        end_fetch(iam, STATUS_ROOT_KEY_UNAVAILABLE, PAUSE_REFUSED);
        return;
    }
    explain(iam, "no token was given: check iam-url, and the status page of the service");
    if (kp_retry_is_worthwhile(http))
        try_again(iam);
    else
        end_fetch(iam, STATUS_KEY_MANAGER_UNAVAILABLE, PAUSE_FAILED);
}

static void fetched(struct kp_transfer *transfer)
{
    struct kp_iam *iam = CONTAINER_OF(transfer, struct kp_iam, transfer);
    if (transfer->code != CURLE_OK)
        transport_failed(iam);
    else if (transfer->http == 200)
        read_token(iam);
    else if (transfer->http == 404 && iam->path + 1 < ARRAY_COUNT(paths)) {
        iam->path++;
        begin_try(iam, clock_monotonic());
    } else {
        iam->path = transfer->http == 404 ? 0 : iam->path;
        read_refusal(iam);
    }
}

/* ---- Those who need it ---- */

enum kp_iam_answer kp_iam_get(struct kp_iam *iam, int64_t now)
{
    bool good = iam->generation > 0 && now < iam->ends;
    bool idle = !iam->fetching && iam->wake == 0;
    if (idle && now >= iam->not_before && (!good || now >= iam->refresh)) {
        begin_try(iam, now);
        idle = !iam->fetching && iam->wake == 0;
    }
    if (good)
        return KP_IAM_READY;
    return idle ? KP_IAM_FAILED : KP_IAM_PENDING;
}

bool kp_iam_reject(struct kp_iam *iam, uint64_t generation, int64_t now)
{
    if (generation != iam->generation || iam->ends == 0)
        return true; /* somebody else has found out */
    /* Who gets 401 for each token would make IAM work for each request. */
    if (now - iam->rejected < REJECT_PAUSE)
        return false;
    iam->rejected = now;
    iam->ends = 0;
    return true;
}

int64_t kp_iam_tick(struct kp_iam *iam, int64_t now)
{
    if (iam->wake != 0 && now >= iam->wake)
        begin_try(iam, now);
    return iam->wake;
}
