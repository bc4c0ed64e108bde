/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One token: found by its label, logged in to once, with a pool of sessions. Any thread. What is
 * lost (sessions, login, the token itself) is brought back by the next who asks, who tells the
 * others; nobody asks the token more than twice a second while it is not there.
 */
#ifndef KMIPD_KEYHOLDER_PKCS11_TOKEN_H
#define KMIPD_KEYHOLDER_PKCS11_TOKEN_H

#include <pthread.h>

#include "base/secret.h"
#include "keyholder/pkcs11_module.h"

#define PKCS11_SESSIONS_MAX 256

struct pkcs11_token {
    struct pkcs11_module module;
    char *label;
    char *pin_path;    /* for texts */
    struct secret pin; /* kept for the login after a loss */
    unsigned sessions_max;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    bool connected;
    bool connecting;     /* one thread is at it */
    bool pin_refused;    /* for good */
    uint64_t connection; /* counts connections: a session is of one of them */
    ck_slot_id_t slot;
    ck_session_handle_t *idle;
    unsigned idle_count;
    unsigned busy;
    int64_t retry_at; /* clock_monotonic(): not connected to before */
    struct error trouble; /* why there is no connection */
};

/* What an operation works with. */
struct pkcs11_session {
    struct ck_function_list *functions;
    ck_session_handle_t handle;
    ck_slot_id_t slot;
    uint64_t connection;
};

/* A token that nobody has asked yet. Takes over `pin`. NO_MEMORY. */
enum status pkcs11_token_init(struct pkcs11_token *token, const char *label, const char *pin_path,
                              struct secret *pin, unsigned sessions_max) MUST_USE;
/* Ends all sessions. No operation may be under way. */
void pkcs11_token_free(struct pkcs11_token *token);

/*
 * Runs `operation` in a session of its own, and once more in a new one when it has lost the token,
 * or found that what it knew of objects is not so any more: it must bear being repeated, whatever
 * it had got done. Returns what it returned. PKCS11_NO_CONNECTION when there is
 * none, CKR_SESSION_COUNT when no session became free in time: `error` (may be NULL) has
 * the text, as for every other value.
 */
typedef ck_rv_t pkcs11_operation(const struct pkcs11_session *session, void *context);
ck_rv_t pkcs11_token_run(struct pkcs11_token *token, pkcs11_operation *operation, void *context,
                         struct error *error) MUST_USE;

#endif
