/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPS transfers with libcurl, many at once on one thread: the certificate is always checked, TLS
 * is 1.2 at least, redirects are not followed, nothing is taken from the environment, cookies are
 * not kept. libcurl's memory is wiped when it is freed, because requests and answers pass through
 * it.
 */
#ifndef KMIPD_KEYMANAGER_KEYPROTECT_HTTP_H
#define KMIPD_KEYMANAGER_KEYPROTECT_HTTP_H

#include <curl/curl.h>

#include "base/buffer.h"
#include "keymanager/keyprotect_options.h"

struct kp_http {
    CURLM *multi;
    const struct keyprotect_options *options;
    char *ca_file; /* what certificates must lead to */
};

/* One transfer at a time, used again and again: TLS sessions are resumed. */
struct kp_transfer {
    CURL *easy;
    struct curl_slist *headers;
    /* What is sent; borrowed until it has ended. */
    struct bytes body;
    bool once;             /* libcurl must not send the body a second time by itself */
    size_t sent;           /* of the body of a `once` transfer: handed to libcurl */
    struct buffer *answer; /* the body of what is answered */
    size_t dropped;        /* of it, because a refusal was too long */
    bool too_large;
    /* The outcome. */
    CURLcode code;
    long http;           /* 0: there was no answer */
    int64_t retry_after; /* milliseconds; 0: not said */
    char text[CURL_ERROR_SIZE];
    void (*done)(struct kp_transfer *transfer); /* runs in kp_http_run() */
};

/* Before a thread or anything else uses libcurl. IO or NO_MEMORY with a text. */
enum status kp_http_open(struct kp_http *http, const struct keyprotect_options *options,
                         struct error *error) MUST_USE;
void kp_http_close(struct kp_http *http);

enum status kp_transfer_init(struct kp_transfer *transfer) MUST_USE;
void kp_transfer_free(struct kp_transfer *transfer);

/* Adds "name: value" to the headers of the next start. False without memory. */
bool kp_transfer_header(struct kp_transfer *transfer, const char *name,
                        struct bytes value) MUST_USE;

/* Begins: `method` is GET, POST or DELETE. False without memory: done is not called. */
bool kp_transfer_start(struct kp_http *http, struct kp_transfer *transfer, const char *method,
                       const char *url, int64_t timeout) MUST_USE;

/* Gives up a transfer that was begun and has not ended; done is not called. */
void kp_transfer_cancel(struct kp_http *http, struct kp_transfer *transfer);

/* Moves all transfers on, and ends those that have ended. */
void kp_http_run(struct kp_http *http);

/* Waits for the network, kp_http_wake(), or so many milliseconds. */
void kp_http_wait(struct kp_http *http, int64_t milliseconds);

/* Any thread. */
void kp_http_wake(struct kp_http *http);

/* Appends text as part of an address or a form, with %XX where needed (RFC 3986 §2.1). */
void kp_http_percent(struct buffer *buffer, struct bytes text);

/* What a failure of the transport means and what to do about it; static storage. */
const char *kp_http_advice(CURLcode code);

/* Whether trying again can help: not with a wrong certificate. */
bool kp_http_may_pass(CURLcode code);

#endif
