/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key manager that is IBM Key Protect, Hyper Protect Crypto Services or another kmipd: root
 * keys stay in the service and are used over HTTPS. Wrapped keys are envelopes
 * (keymanager/envelope.h); records are the service's standard keys. docs/key-managers.md says how
 * it is set up.
 *
 * One thread of its own has all requests in flight; what clients wait for goes before what is done
 * in the background, which never takes the last quarter of the connections.
 */
#ifndef KMIPD_KEYMANAGER_KEYPROTECT_H
#define KMIPD_KEYMANAGER_KEYPROTECT_H

#include "keymanager/keymanager.h"

#define KEYPROTECT_IAM_URL "https://iam.cloud.ibm.com"

/* Texts may be NULL or empty unless said otherwise. All is copied. Times are milliseconds; 0 takes
 * the default. */
struct keyprotect_options {
    enum keymanager_code code;   /* KEYMANAGER_KEY_PROTECT or KEYMANAGER_KEY_PROTECT_2 */
    const char *url;             /* required: https://host[:port], without /api/v2 */
    const char *iam_url;         /* where tokens are fetched; empty: KEYPROTECT_IAM_URL */
    const char *instance;        /* required: the GUID of the instance */
    const char *key_ring;        /* of the root keys; empty: any */
    const char *record_key_ring; /* of the records; empty: "default" */
    const char *api_key_file;    /* required: mode 0600, its first line; read for each token */
    const char *ca_file;         /* PEM, trusted instead of what the system trusts */
    const char *proxy;           /* empty: none; the environment's proxies are never used */
    int64_t connect_timeout;     /* to connect, TLS included: 5 s */
    int64_t try_timeout;         /* of one try: 10 s */
    int64_t job_timeout;         /* of a job without a deadline, all tries included: 15 s */
    uint32_t connections_max;    /* 64; at most 1,024 */
    uint32_t retries;            /* tries after the first: 4 */
};

/*
 * Makes the key manager; asks nothing of the service yet: see keymanager_check(). The secret heap
 * must be there. End: keymanager_close(). INVALID_ARGUMENT with a text: an option is wrong.
 * NO_MEMORY: also where memory cannot be locked.
 */
enum status keyprotect_open(const struct keyprotect_options *options,
                            struct keymanager **ret_keymanager, struct error *error) MUST_USE;

#endif
