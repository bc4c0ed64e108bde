/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request wants of key managers and what came back. It stays from one execution of a frame
 * to the next, so that nothing is asked for twice, and is not in the request's arena:
 *
 *   fetched keys   of stored objects, by blob
 *   new keys       of objects that the request makes. An execution that is repeated gives the same
 *                  identifiers and the same random bytes to what it makes, in the order in which it
 *                  does, and so finds their keys wrapped and recorded already.
 *
 * A job belongs to the request, but while it is submitted.
 */
#ifndef KMIPD_CORE_KEYS_H
#define KMIPD_CORE_KEYS_H

#include "core/keycache.h"
#include "core/record.h"
#include "core/request.h"

enum job_state {
    JOB_OPEN,   /* not asked for yet */
    JOB_WANTED, /* in request->keys.wanted, or submitted */
    JOB_DONE,   /* job.status tells how */
};

struct request_job {
    struct keymanager_job job;
    struct request *request;
    struct keymanager *keymanager;
    enum job_state state;
    struct request_job *next; /* of the wanted ones */
};

/* A key that was, or is to be, unwrapped. */
struct fetched_key {
    struct request_job unwrap;
    struct stored_object *stored; /* held: the blob is in it */
    struct buffer sealed;         /* the key, under the shield */
    uint64_t epoch;
    struct fetched_key *next;
};

/* A record of a new object. A later execution may need another one, for other attributes. */
struct new_record {
    struct request_job put;
    struct buffer bytes;
    char name[CORE_RECORD_NAME_SIZE];
    bool settled; /* it is a committed object's, or was taken as a stray */
    struct new_record *next;
};

struct new_key {
    struct request_job wrap; /* its plaintext is the key */
    struct uuid object;
    uint64_t epoch;
    struct new_record *records; /* newest first */
    bool taken;                 /* by an object of this execution */
    bool cached;
    bool abandoned;              /* its identifier cannot be used */
    bool too_large;              /* to be recorded */
    struct store_change *change; /* that inserts its object; NULL: none of this execution */
    struct new_key *next;
};

/* ---- Of a request (core/keys.c) ---- */

/* The request is executed anew: nothing is taken, nothing wanted. */
void request_keys_rewind(struct request *request);

/* Wipes and frees everything. No job may be submitted. */
void request_keys_free(struct request *request);

struct request_job request_job_make(struct request *request, enum keymanager_task task,
                                    struct keymanager *keymanager);
void request_job_free(struct request_job *job); /* what it made, not itself */

/* The next core_fetch() submits it. */
void request_job_want(struct request_job *job);

/* The key manager of the request's adapter. KEY_MANAGER_UNAVAILABLE: it is not configured here. */
enum status request_key_manager(const struct request *request,
                                struct keymanager **ret_keymanager) MUST_USE;
bool request_keeps_records(const struct request *request, const struct keymanager *keymanager);

/* What a new key of the request's adapter is bound to. */
struct wrap_binding request_binding(const struct request *request, const struct uuid *object);

/* ---- Of new objects (core/new_keys.c) ---- */

/* The first key, in their order, that no object of this execution has; NULL: make a new one. */
struct new_key *request_next_key(struct request *request);
void new_key_free(struct new_key *key);

/* ---- Of all ---- */

enum keymanager_code core_session_code(const struct core_session *session);

/* How long a key under this key manager is cached, in seconds. */
unsigned core_cache_seconds(const struct core *core, enum keymanager_code code);
struct key_cache_item core_cache_item(const struct core *core, enum keymanager_code code,
                                      const struct wrap_binding *binding, struct bytes wrapped);

/* Whether a key must not be given out, and why. */
bool core_is_blocked(struct core *core, const struct uuid *object, struct wrapped wrapped,
                     enum status *ret_status);

/* How an unwrap ended. What cannot be is not taken for a key: a provider's answer crosses a socket
 * or a network. */
enum status core_check_plaintext(const struct keymanager_job *job) MUST_USE;

#endif
