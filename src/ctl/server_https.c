/* SPDX-License-Identifier: Apache-2.0 */
/* A server elsewhere: HTTPS, with a token that its API key is exchanged for. */
#include <curl/curl.h>
#include <stdlib.h>

#include "base/file.h"
#include "ctl/ctl.h"

#define CONNECT_MILLISECONDS 10000L
#define TOKEN_MILLISECONDS   30000
#define KEY_MAX              1024
#define FORM_MAX             8192
#define URL_MAX              2048
#define TOKEN_MAX            16384
#define ANSWER_MAX           ((size_t)16 << 20)

struct https_server {
    struct ctl_server server;
    CURL *curl;
    char url[URL_MAX]; /* https://HOST:PORT, without a slash at the end */
    const char *key_file;
    const char *ca_file;
    char authorization[TOKEN_MAX]; /* "Authorization: Bearer ...": wiped at the end */
    char failure[CURL_ERROR_SIZE];
};

struct exchange {
    const char *path;
    const char *body;
    const char *content_type;
    const char *authorization; /* NULL: none */
    int milliseconds;
};

static void close_server(struct ctl_server *base)
{
    struct https_server *server = (struct https_server *)base;
    if (server->curl != NULL)
        curl_easy_cleanup(server->curl);
    curl_global_cleanup();
    explicit_bzero(server->authorization, sizeof(server->authorization));
    free(server);
}

/* ---- One exchange ---- */

static size_t take_answer(char *data, size_t size, size_t count, void *context)
{
    struct buffer *answer = context;
    buffer_append(answer, data, size * count);
    return buffer_status(answer) == STATUS_OK ? size * count : 0;
}

static struct curl_slist *make_headers(const struct exchange *exchange)
{
    char type[80];
    (void)snprintf(type, sizeof(type), "Content-Type: %s", exchange->content_type);
    struct curl_slist *headers = curl_slist_append(NULL, type);
    headers = curl_slist_append(headers, "Accept: application/json");
    if (exchange->authorization != NULL)
        headers = curl_slist_append(headers, exchange->authorization);
    return headers;
}

static void free_headers(struct curl_slist *headers)
{
    for (struct curl_slist *at = headers; at != NULL; at = at->next)
        explicit_bzero(at->data, strlen(at->data));
    curl_slist_free_all(headers);
}

/* The server's certificate is always checked; nothing is followed elsewhere. */
static void set_options(struct https_server *server, const struct exchange *exchange,
                        struct curl_slist *headers, struct buffer *answer)
{
    CURL *curl = server->curl;
    char url[URL_MAX + 160];
    (void)snprintf(url, sizeof(url), "%s%s", server->url, exchange->path);
    curl_easy_reset(curl);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    (void)curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (server->ca_file != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, server->ca_file);
        (void)curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MILLISECONDS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)exchange->milliseconds);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "kmipctl/" KMIPD_VERSION);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, server->failure);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(exchange->body));
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, exchange->body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
}

static CURLcode perform(struct https_server *server, const struct exchange *exchange,
                        unsigned *ret_code, json_t **ret_body)
{
    struct buffer answer;
    long code = 0;
    struct curl_slist *headers = make_headers(exchange);
    buffer_init(&answer, ANSWER_MAX);
    server->failure[0] = '\0';
    set_options(server, exchange, headers, &answer);
    CURLcode result = curl_easy_perform(server->curl);
    if (result == CURLE_OK) {
        (void)curl_easy_getinfo(server->curl, CURLINFO_RESPONSE_CODE, &code);
        *ret_code = (unsigned)code;
        *ret_body = json_loadb((const char *)answer.data, answer.size, JSON_ALLOW_NUL, NULL);
    }
    buffer_free(&answer);
    free_headers(headers);
    return result;
}

static const char *failure_of(const struct https_server *server, CURLcode result)
{
    return server->failure[0] != '\0' ? server->failure : curl_easy_strerror(result);
}

/* ---- The token ---- */

static enum status read_key(const char *path, struct secret *ret_key, struct error *error)
{
    struct secret content = {0};
    enum status status = ctl_secret_heap(error);
    if (status == STATUS_OK)
        status = file_read_secret(path, FILE_PRIVATE, KEY_MAX, &content, error);
    if (status != STATUS_OK)
        return status;
    size_t size = 0;
    while (size < content.size && content.data[size] > ' ')
        size++;
    status = size > 0 ? secret_copy(ret_key, bytes_of(content.data, size))
                      : error_set(error, STATUS_INVALID_ARGUMENT, "%.300s has no API key in it",
                                  path);
    secret_free(&content);
    return status;
}

static enum status make_form(struct https_server *server, char form[static FORM_MAX],
                             struct error *error)
{
    struct secret key = {0};
    enum status status = read_key(server->key_file, &key, error);
    if (status != STATUS_OK)
        return status;
    char *escaped = curl_easy_escape(server->curl, (const char *)key.data, (int)key.size);
    if (escaped != NULL) {
        (void)snprintf(form, FORM_MAX,
                       "grant_type=urn%%3Aibm%%3Aparams%%3Aoauth%%3Agrant-type%%3Aapikey&apikey=%s",
                       escaped);
        explicit_bzero(escaped, strlen(escaped));
        curl_free(escaped);
    } else {
        status = error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    }
    secret_free(&key);
    return status;
}

static enum status take_token(struct https_server *server, unsigned code, const json_t *body,
                              struct error *error)
{
    const char *token = json_string_value(json_object_get(body, "access_token"));
    const char *why = json_string_value(json_object_get(body, "errorMessage"));
    if (code != 200 || token == NULL)
        return error_set(error, STATUS_PERMISSION_DENIED,
                         "%.200s does not take the API key of %.200s: %.100s", server->url,
                         server->key_file, why != NULL ? why : "it gave no token");
    int length = snprintf(server->authorization, sizeof(server->authorization),
                          "Authorization: Bearer %s", token);
    if (length < 0 || (size_t)length >= sizeof(server->authorization))
        return error_set(error, STATUS_TOO_LARGE, "the token of %.200s is too long", server->url);
    return STATUS_OK;
}

static enum status fetch_token(struct https_server *server, struct error *error)
{
    char form[FORM_MAX];
    unsigned code = 0;
    json_t *body = NULL;
    const struct exchange exchange = {.path = "/identity/token",
                                      .body = form,
                                      .content_type = "application/x-www-form-urlencoded",
                                      .milliseconds = TOKEN_MILLISECONDS};
    enum status status = make_form(server, form, error);
    if (status != STATUS_OK)
        return status;
    CURLcode result = perform(server, &exchange, &code, &body);
    explicit_bzero(form, sizeof(form));
    if (result == CURLE_OK)
        status = take_token(server, code, body, error);
    else
        status = error_set(error, STATUS_CLOSED, "cannot reach %.200s: %.200s", server->url,
                           failure_of(server, result));
    json_decref(body);
    return status;
}

/* ---- The server ---- */

static enum status open_server(const struct ctl_call *call, struct ctl_server **ret_server,
                               struct error *error)
{
    struct https_server *server = calloc(1, sizeof(*server));
    if (server == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(server);
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    }
    server->server.kind = &ctl_server_https;
    server->key_file = call->key_file;
    server->ca_file = call->ca_file;
    server->curl = curl_easy_init();
    int length = snprintf(server->url, sizeof(server->url), "%s", call->url);
    enum status status = STATUS_OK;
    if (server->curl == NULL || length < 0 || (size_t)length >= sizeof(server->url))
        status = error_set(error, STATUS_INVALID_ARGUMENT, "the address of --url is too long");
    while (status == STATUS_OK && length > 0 && server->url[length - 1] == '/')
        server->url[--length] = '\0';
    if (status == STATUS_OK)
        status = fetch_token(server, error);
    if (status == STATUS_OK)
        *ret_server = &server->server;
    else
        close_server(&server->server);
    return status;
}

static enum status lost(const struct https_server *server, CURLcode result, struct error *error)
{
    if (result == CURLE_OPERATION_TIMEDOUT)
        return error_set(error, STATUS_TIMED_OUT,
                         "the server does not answer; whether the command was done shows in its "
                         "audit log");
    return error_set(error, STATUS_CLOSED,
                     "the connection to %.200s failed (%.100s); whether the command was done shows "
                     "in its audit log",
                     server->url, failure_of(server, result));
}

/* A person may take longer than a token lives: it is renewed once, when it is refused. */
static enum status post(struct ctl_server *base, const char *path, const char *body,
                        int milliseconds, unsigned *ret_code, json_t **ret_body,
                        struct error *error)
{
    struct https_server *server = (struct https_server *)base;
    const struct exchange exchange = {.path = path,
                                      .body = body,
                                      .content_type = "application/json",
                                      .authorization = server->authorization,
                                      .milliseconds = milliseconds};
    CURLcode result = perform(server, &exchange, ret_code, ret_body);
    if (result == CURLE_OK && *ret_code == 401) {
        json_decref(*ret_body);
        *ret_body = NULL;
        enum status status = fetch_token(server, error);
        if (status != STATUS_OK)
            return status;
        result = perform(server, &exchange, ret_code, ret_body);
    }
    return result == CURLE_OK ? STATUS_OK : lost(server, result, error);
}

const struct ctl_server_kind ctl_server_https = {
    .open = open_server, .post = post, .close = close_server};
