/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keyprotect_http.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#define HEADER_MAX    65536
#define REFUSAL_MAX   (1 << 20) /* of a refusal's body, read only to keep the connection */
#define USER_AGENT    "kmipd/" KMIPD_VERSION
#define MAY_PASS      true
#define WILL_NOT_PASS false

/* ---- libcurl's memory: wiped before it is given back ---- */

static void wiping_free(void *memory)
{
    if (memory != NULL)
        explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

static void *wiping_realloc(void *memory, size_t size)
{
    if (memory == NULL)
        return malloc(size);
    size_t room = malloc_usable_size(memory);
    if (size <= room && size > room / 2)
        return memory;
    void *moved = malloc(size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, memory, size < room ? size : room);
    wiping_free(memory);
    return moved;
}

static CURLcode global_code;

static void global_init(void)
{
    global_code = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc,
                                       strdup, calloc);
}

static bool is_ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    return pthread_once(&once, global_init) == 0 && global_code == CURLE_OK;
}

/* ---- All transfers ---- */

static enum status set_up_multi(struct kp_http *http)
{
    long connections = (long)http->options->connections_max + 2; /* and those for tokens */
    http->multi = curl_multi_init();
    if (http->multi == NULL)
        return STATUS_NO_MEMORY;
    bool good = curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING) == CURLM_OK &&
                curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, connections) == CURLM_OK;
    return good ? STATUS_OK : STATUS_INTERNAL;
}

enum status kp_http_open(struct kp_http *http, const struct keyprotect_options *options,
                         struct error *error)
{
    *http = (struct kp_http){.options = options};
    if (!is_ready())
        return error_set(error, STATUS_INTERNAL, "libcurl does not start");
    const curl_version_info_data *library = curl_version_info(CURLVERSION_NOW);
    const char *system = library->cainfo != NULL ? library->cainfo : "";
    http->ca_file = strdup(options->ca_file[0] != '\0' ? options->ca_file : system);
    if (http->ca_file == NULL || set_up_multi(http) != STATUS_OK) {
        kp_http_close(http);
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    }
    return STATUS_OK;
}

void kp_http_close(struct kp_http *http)
{
    if (http->multi != NULL)
        (void)curl_multi_cleanup(http->multi);
    free(http->ca_file);
    *http = (struct kp_http){0};
}

static void end_transfer(struct kp_http *http, struct kp_transfer *transfer)
{
    (void)curl_multi_remove_handle(http->multi, transfer->easy);
    curl_slist_free_all(transfer->headers);
    transfer->headers = NULL;
}

static void take_outcome(struct kp_http *http, CURL *easy, CURLcode code)
{
    struct kp_transfer *transfer = NULL;
    curl_off_t retry_after = 0;
    if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&transfer) != CURLE_OK)
        return;
    transfer->code = code;
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &transfer->http);
    (void)curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after);
    transfer->retry_after = retry_after > 0 && retry_after < 86400 ? retry_after * 1000 : 0;
    end_transfer(http, transfer);
    transfer->done(transfer);
}

void kp_http_run(struct kp_http *http)
{
    int running, left;
    CURLMsg *message;
    (void)curl_multi_perform(http->multi, &running);
    while ((message = curl_multi_info_read(http->multi, &left)) != NULL)
        if (message->msg == CURLMSG_DONE)
            take_outcome(http, message->easy_handle, message->data.result);
}

void kp_http_wait(struct kp_http *http, int64_t milliseconds)
{
    if (milliseconds > 0)
        (void)curl_multi_poll(http->multi, NULL, 0, (int)milliseconds, NULL);
}

void kp_http_wake(struct kp_http *http)
{
    (void)curl_multi_wakeup(http->multi);
}

/* ---- One transfer ---- */

enum status kp_transfer_init(struct kp_transfer *transfer)
{
    *transfer = (struct kp_transfer){.easy = curl_easy_init()};
    return transfer->easy != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

void kp_transfer_free(struct kp_transfer *transfer)
{
    curl_slist_free_all(transfer->headers);
    if (transfer->easy != NULL)
        curl_easy_cleanup(transfer->easy);
    *transfer = (struct kp_transfer){0};
}

bool kp_transfer_header(struct kp_transfer *transfer, const char *name, struct bytes value)
{
    struct buffer line;
    buffer_init(&line, HEADER_MAX);
    buffer_append_text(&line, name);
    buffer_append_text(&line, value.size > 0 ? ": " : ":");
    buffer_append_bytes(&line, value);
    buffer_append(&line, "", 1);
    struct curl_slist *longer = buffer_status(&line) == STATUS_OK
                                    ? curl_slist_append(transfer->headers, (const char *)line.data)
                                    : NULL;
    buffer_free(&line);
    if (longer == NULL)
        return false;
    transfer->headers = longer;
    return true;
}

static size_t take_answer(char *data, size_t one, size_t size, void *context)
{
    struct kp_transfer *transfer = context;
    long http = 0;
    (void)one;
    size_t room = transfer->answer->maximum - transfer->answer->size;
    size_t taken = size < room ? size : room;
    buffer_append(transfer->answer, data, taken);
    if (buffer_status(transfer->answer) != STATUS_OK)
        return 0;
    transfer->dropped += size - taken;
    if (transfer->dropped == 0)
        return size;
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &http);
    transfer->too_large = http < 400 || transfer->dropped > REFUSAL_MAX;
    return transfer->too_large ? 0 : size;
}

static size_t give_body(char *room, size_t one, size_t count, void *context)
{
    struct kp_transfer *transfer = context;
    size_t size = transfer->body.size - transfer->sent;
    if (size > one * count)
        size = one * count;
    if (size > 0)
        memcpy(room, transfer->body.data + transfer->sent, size);
    transfer->sent += size;
    return size;
}

/* libcurl wants to send it again, on another connection, because the one it used was closed without
 * an answer; nobody knows whether the service has done what was asked. */
static int refuse_again(void *context, curl_off_t offset, int origin)
{
    (void)context;
    (void)offset;
    (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

#define SET(option, value) (curl_easy_setopt(easy, CURLOPT_##option, (value)) == CURLE_OK)

static bool set_safety(CURL *easy, const struct kp_http *http)
{
    return SET(PROTOCOLS_STR, "https") && SET(FOLLOWLOCATION, 0L) && SET(SSL_VERIFYPEER, 1L) &&
           SET(SSL_VERIFYHOST, 2L) && SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
           SET(CAINFO, http->ca_file) && SET(CAPATH, NULL) && SET(PROXY, http->options->proxy) &&
           SET(NOPROXY, "") && SET(NETRC, (long)CURL_NETRC_IGNORED);
}

static bool set_manner(CURL *easy, const struct kp_http *http, struct kp_transfer *transfer,
                       int64_t timeout)
{
    return SET(NOSIGNAL, 1L) && SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
           SET(TCP_KEEPALIVE, 1L) && SET(USERAGENT, USER_AGENT) &&
           SET(CONNECTTIMEOUT_MS, (long)http->options->connect_timeout) &&
           SET(TIMEOUT_MS, (long)timeout) && SET(PRIVATE, transfer) &&
           SET(ERRORBUFFER, transfer->text) && SET(WRITEFUNCTION, take_answer) &&
           SET(WRITEDATA, transfer) && SET(HTTPHEADER, transfer->headers);
}

static bool set_body(CURL *easy, struct kp_transfer *transfer)
{
    if (!SET(POST, 1L) || !SET(POSTFIELDSIZE_LARGE, (curl_off_t)transfer->body.size))
        return false;
    if (!transfer->once || transfer->body.size == 0)
        return SET(POSTFIELDS, transfer->body.size > 0 ? (const char *)transfer->body.data : "");
    return SET(READFUNCTION, give_body) && SET(READDATA, transfer) &&
           SET(SEEKFUNCTION, refuse_again) && SET(SEEKDATA, transfer);
}

static bool set_method(CURL *easy, struct kp_transfer *transfer, const char *method)
{
    if (strcmp(method, "POST") == 0)
        return set_body(easy, transfer);
    return SET(HTTPGET, 1L) && (strcmp(method, "GET") == 0 || SET(CUSTOMREQUEST, method));
}

#undef SET

bool kp_transfer_start(struct kp_http *http, struct kp_transfer *transfer, const char *method,
                       const char *url, int64_t timeout)
{
    CURL *easy = transfer->easy;
    transfer->code = CURLE_OK;
    transfer->http = 0;
    transfer->retry_after = 0;
    transfer->sent = 0;
    transfer->dropped = 0;
    transfer->too_large = false;
    transfer->text[0] = '\0';
    curl_easy_reset(easy); /* keeps the TLS sessions */
    if (kp_transfer_header(transfer, "Expect", (struct bytes){NULL, 0}) && set_safety(easy, http) &&
        set_manner(easy, http, transfer, timeout) && set_method(easy, transfer, method) &&
        curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK &&
        curl_multi_add_handle(http->multi, easy) == CURLM_OK)
        return true;
    curl_slist_free_all(transfer->headers);
    transfer->headers = NULL;
    return false;
}

void kp_transfer_cancel(struct kp_http *http, struct kp_transfer *transfer)
{
    end_transfer(http, transfer);
}

void kp_http_percent(struct buffer *buffer, struct bytes text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        const char code[3] = {'%', digits[byte >> 4], digits[byte & 15]};
        if (byte != '\0' && strchr(plain, byte) != NULL)
            buffer_append(buffer, &byte, 1);
        else
            buffer_append(buffer, code, sizeof(code));
    }
}

/* ---- Failures ---- */

static const struct {
    CURLcode code;
    bool may_pass;
    const char *advice;
} failures[] = {
    {CURLE_COULDNT_RESOLVE_HOST, MAY_PASS,
     "the name of the host cannot be resolved: check the address and the DNS of this machine"},
    {CURLE_COULDNT_RESOLVE_PROXY, MAY_PASS,
     "the name of the proxy cannot be resolved: check proxy and the DNS of this machine"},
    {CURLE_COULDNT_CONNECT, MAY_PASS,
     "cannot connect: check address, port, routes and firewalls (a private endpoint is reached "
     "from "
     "IBM Cloud's private network alone)"},
    {CURLE_PROXY, MAY_PASS, "the proxy refuses: check proxy, and what it lets through"},
    {CURLE_OPERATION_TIMEDOUT, MAY_PASS,
     "no answer in time: check routes and firewalls, and the status page of the service"},
    {CURLE_SSL_CONNECT_ERROR, MAY_PASS,
     "the TLS handshake failed: check that the address and port are the service's, and that "
     "nothing "
     "between changes TLS"},
    {CURLE_PEER_FAILED_VERIFICATION, WILL_NOT_PASS,
     "its certificate is not trusted, or is for another name: check the address; for a private CA "
     "or "
     "a proxy that opens TLS, set ca-file"},
    {CURLE_SSL_CACERT_BADFILE, WILL_NOT_PASS,
     "ca-file cannot be read, or has no certificates in PEM"},
    {CURLE_GOT_NOTHING, MAY_PASS, "the connection was closed without an answer"},
    {CURLE_SEND_ERROR, MAY_PASS, "the connection broke while the request was sent"},
    {CURLE_SEND_FAIL_REWIND, MAY_PASS, "the connection was closed without an answer"},
    {CURLE_RECV_ERROR, MAY_PASS, "the connection broke before the answer was there"},
    {CURLE_PARTIAL_FILE, MAY_PASS, "the connection broke in the middle of the answer"},
    {CURLE_FILESIZE_EXCEEDED, WILL_NOT_PASS, "the answer is too large"},
    {CURLE_WRITE_ERROR, WILL_NOT_PASS, "the answer is too large"},
    {CURLE_UNSUPPORTED_PROTOCOL, WILL_NOT_PASS, "the address does not begin with https://"},
    {CURLE_URL_MALFORMAT, WILL_NOT_PASS, "the address is none"},
    {CURLE_OUT_OF_MEMORY, MAY_PASS, "out of memory"},
};

const char *kp_http_advice(CURLcode code)
{
    for (size_t i = 0; i < ARRAY_COUNT(failures); i++)
        if (failures[i].code == code)
            return failures[i].advice;
    return curl_easy_strerror(code);
}

bool kp_http_may_pass(CURLcode code)
{
    for (size_t i = 0; i < ARRAY_COUNT(failures); i++)
        if (failures[i].code == code)
            return failures[i].may_pass;
    return true;
}
