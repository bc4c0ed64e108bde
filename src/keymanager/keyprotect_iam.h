/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access token: fetched from IAM with the API key, kept until shortly before it ends, fetched
 * anew at 80 % of its life, one fetch at a time. Its life is counted on the local monotonic clock
 * from the request on, so that it does not matter what time it is here or there. The API key is
 * read from its file for each fetch. On the thread of the key manager alone.
 */
#ifndef KMIPD_KEYMANAGER_KEYPROTECT_IAM_H
#define KMIPD_KEYMANAGER_KEYPROTECT_IAM_H

#include "keymanager/keyprotect_answer.h"
#include "keymanager/keyprotect_http.h"

enum kp_iam_answer { KP_IAM_READY, KP_IAM_PENDING, KP_IAM_FAILED };

struct kp_iam {
    struct kp_http *http;
    const struct keyprotect_options *options;
    struct secret token;
    uint64_t generation; /* of the token; 0: there was none */
    int64_t ends;        /* clock_monotonic(), as all times here */
    int64_t refresh;
    /* The fetch. */
    struct kp_transfer transfer;
    struct buffer body, answer; /* over locked memory */
    void *locked;
    bool fetching;
    size_t path; /* which of the two that there are */
    unsigned attempt;
    int64_t begun;
    int64_t wake; /* of the next try; 0: none is waiting */
    /* The last failure. */
    struct error error;
    int64_t not_before; /* no other fetch until then */
    int64_t rejected;   /* when a token was last thrown away */
};

enum status kp_iam_open(struct kp_iam *iam, struct kp_http *http) MUST_USE;
void kp_iam_close(struct kp_iam *iam);

/*
 * READY: iam->token is good until the next call. PENDING: it is being fetched. FAILED: iam->error
 * says why: ROOT_KEY_UNAVAILABLE if IAM refuses the API key, KEY_MANAGER_UNAVAILABLE otherwise.
 */
enum kp_iam_answer kp_iam_get(struct kp_iam *iam, int64_t now);

/* The service did not take the token of this generation. True if another is there or is fetched. */
bool kp_iam_reject(struct kp_iam *iam, uint64_t generation, int64_t now);

/* Begins the next try when its time has come; returns that time, or 0. */
int64_t kp_iam_tick(struct kp_iam *iam, int64_t now);

#endif
