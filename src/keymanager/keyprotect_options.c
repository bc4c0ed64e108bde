/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keyprotect_options.h"

#include <curl/curl.h>
#include <stdlib.h>

#define CONNECTIONS_MAX 1024
#define RING_MAX        100
#define URL_MAX         500

static bool is_empty(const char *text)
{
    return text == NULL || text[0] == '\0';
}

static bool has_part(CURLU *parts, CURLUPart part)
{
    char *text = NULL;
    bool there = curl_url_get(parts, part, &text, 0) == CURLUE_OK && !is_empty(text);
    curl_free(text);
    return there;
}

/* What is wrong with an address; NULL: nothing. */
static const char *fault_of(CURLU *parts, const char *url)
{
    if (strncmp(url, "https://", strlen("https://")) != 0)
        return "it must begin with https://";
    if (curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK || !has_part(parts, CURLUPART_HOST))
        return "it is no address";
    if (has_part(parts, CURLUPART_USER) || has_part(parts, CURLUPART_PASSWORD))
        return "there must be no user name or password in it";
    if (has_part(parts, CURLUPART_QUERY) || has_part(parts, CURLUPART_FRAGMENT))
        return "there must be no '?' or '#' in it";
    if (strlen(url) > URL_MAX)
        return "it is too long";
    if (strstr(url, "/api/v") != NULL)
        return "it must end before /api/v2";
    return NULL;
}

enum status kp_url_copy(const char *name, const char *url, char **ret_url, struct error *error)
{
    CURLU *parts = curl_url();
    if (parts == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    const char *fault = fault_of(parts, url);
    curl_url_cleanup(parts);
    if (fault != NULL)
        return error_set(error, STATUS_INVALID_ARGUMENT, "%s = %s: %s", name, url, fault);
    size_t size = strlen(url);
    while (url[size - 1] == '/')
        size--;
    char *copy = strndup(url, size);
    if (copy == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    *ret_url = copy;
    return STATUS_OK;
}

/* Identifiers go into headers. */
static bool is_identifier(const char *text, size_t maximum)
{
    size_t size = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-");
    return text[size] == '\0' && size <= maximum;
}

static enum status check(const struct keyprotect_options *options, struct error *error)
{
    struct uuid instance;
    if (options->code != KEYMANAGER_KEY_PROTECT && options->code != KEYMANAGER_KEY_PROTECT_2)
        return error_set(error, STATUS_INVALID_ARGUMENT, "not a key manager of this kind");
    if (is_empty(options->url))
        return error_set(error, STATUS_INVALID_ARGUMENT, "url is missing: the service's address");
    if (is_empty(options->instance) || !uuid_parse(bytes_of_text(options->instance), &instance))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "instance must be the GUID of the instance, such as "
                         "8c6d4a3e-0f5b-4d7c-9b7c-1f2e3d4c5b6a: the part of its CRN before the "
                         "last two colons");
    if (is_empty(options->api_key_file))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "api-key-file is missing: a file of mode 0600 with an API key of the "
                         "service ID");
    if ((options->key_ring != NULL && !is_identifier(options->key_ring, RING_MAX)) ||
        (options->record_key_ring != NULL && !is_identifier(options->record_key_ring, RING_MAX)))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the name of a key ring has letters, digits and '-' alone, at most %d",
                         RING_MAX);
    if (options->connections_max > CONNECTIONS_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "at most %d connections", CONNECTIONS_MAX);
    return STATUS_OK;
}

static int64_t positive(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

/* Where an address is given in parts that are never NULL. */
static enum status copy_texts(const struct keyprotect_options *options,
                              struct keyprotect_options *copy)
{
    const struct {
        const char *from;
        const char **to;
    } texts[] = {
        {options->instance, &copy->instance},
        {options->key_ring, &copy->key_ring},
        {options->record_key_ring, &copy->record_key_ring},
        {options->api_key_file, &copy->api_key_file},
        {options->ca_file, &copy->ca_file},
        {options->proxy, &copy->proxy},
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        *texts[i].to = strdup(texts[i].from != NULL ? texts[i].from : "");
        if (*texts[i].to == NULL)
            return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

enum status kp_options_copy(const struct keyprotect_options *options,
                            struct keyprotect_options *ret_copy, struct error *error)
{
    char *url = NULL, *iam_url = NULL;
    struct keyprotect_options copy = {
        .code = options->code,
        .connect_timeout = positive(options->connect_timeout, 5000),
        .try_timeout = positive(options->try_timeout, 10000),
        .job_timeout = positive(options->job_timeout, 15000),
        .connections_max = options->connections_max > 0 ? options->connections_max : 64,
        .retries = options->retries > 0 ? options->retries : 4,
    };
    enum status status = check(options, error);
    if (status == STATUS_OK)
        status = kp_url_copy("url", options->url, &url, error);
    if (status == STATUS_OK)
        status = kp_url_copy("iam-url",
                             is_empty(options->iam_url) ? KEYPROTECT_IAM_URL : options->iam_url,
                             &iam_url, error);
    copy.url = url;
    copy.iam_url = iam_url;
    if (status == STATUS_OK && copy_texts(options, &copy) != STATUS_OK)
        status = error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    if (status == STATUS_OK)
        *ret_copy = copy;
    else
        kp_options_free(&copy);
    return status;
}

void kp_options_free(struct keyprotect_options *copy)
{
    const char *texts[] = {
        copy->url,          copy->iam_url, copy->instance, copy->key_ring, copy->record_key_ring,
        copy->api_key_file, copy->ca_file, copy->proxy};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        free((char *)texts[i]);
    *copy = (struct keyprotect_options){0};
}
