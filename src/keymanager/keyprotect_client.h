/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the provider. Work comes in through queues and gets a slot: one connection, with
 * what belongs to it. On a slot calls are made, one after another: a call is one request of the
 * API with all its tries. Everything here runs on the one thread of the key manager, but for
 * kp_run(), kp_submit() and what says so.
 */
#ifndef KMIPD_KEYMANAGER_KEYPROTECT_CLIENT_H
#define KMIPD_KEYMANAGER_KEYPROTECT_CLIENT_H

#include <pthread.h>

#include "keymanager/keyprotect_envelope.h"
#include "keymanager/keyprotect_iam.h"
#include "keymanager/keyprotect_retry.h"

#define KP_PATH_MAX        512
#define KP_CORRELATION_MAX 37
#define KP_ANSWER_MAX      ((size_t)1 << 20)  /* bytes of an answer about one thing */
#define KP_LIST_MAX        ((size_t)16 << 20) /* of a list */

struct kp;
struct kp_slot;

/* ---- Calls ---- */

struct kp_call {
    const char *method;
    char path[KP_PATH_MAX]; /* behind /api/v2, with the query */
    const char *type;       /* of the body: "key", "key_action" */
    const char *key_ring;   /* empty: none is named */
    bool minimal;           /* no more than needed is to be answered */
    bool once;              /* must not be repeated when it may have been carried out; needs a
                                body, by which it is known whether it was sent */
    bool secret;            /* the body stands in the slot's locked memory */
    size_t answer_max;      /* bytes; 0: it is secret, and stands in the slot's locked memory */
    int64_t deadline;       /* clock_monotonic() */
    int64_t try_timeout;    /* 0: the options' */
    /* Appends the body, anew for each try. NULL: none. */
    enum status (*write)(struct kp_call *call, struct buffer *body);
    void *context;
    struct error *error; /* gets a text on failure; may be NULL */
    /* The outcome: */
    enum status status;
    long http;      /* 0: no answer */
    bool ambiguous; /* of a `once` call that failed: nobody knows whether it was carried out */
    struct kp_refusal refusal;
    struct buffer answer; /* secret: valid until done() returns; else the caller frees it */
    void (*done)(struct kp_call *call, struct kp_slot *slot); /* may begin another on the slot */
    struct kp_call *next;
};

/* A call with everything that most have in common. `path` as of printf. */
void kp_call_init(struct kp_call *call, const char *method, const char *path, ...)
    PRINTF_LIKE(3, 4);

/* What a status of a call means where a root key was worked with: INVALID_ARGUMENT becomes
 * `refused`, and a key that is not there or in another state ROOT_KEY_UNAVAILABLE. */
enum status kp_call_job_status(const struct kp_call *call, enum status refused);

/* ---- Slots ---- */

enum kp_slot_state { KP_SLOT_FREE, KP_SLOT_TOKEN, KP_SLOT_SENT, KP_SLOT_WAITING };

#define KP_CANDIDATES_MAX 16

struct kp_slot {
    struct kp *kp;
    struct kp_transfer transfer;
    struct kp_call *call; /* in work */
    enum kp_slot_state state;
    int64_t wake; /* WAITING: until then */
    unsigned attempt;
    bool refreshed; /* the token, because the service did not take it */
    bool probing;   /* it is the one try that an open breaker admits */
    uint64_t generation;
    char correlation[KP_CORRELATION_MAX];
    void *locked;
    struct buffer body; /* over locked memory, or grown */
    bool background;
    struct kp_slot *next; /* free ones */
    /* What the slot works on: */
    struct kp_call own;
    struct keymanager_job *job;
    struct secret key;                         /* of an envelope, or what is probed with */
    struct uuid found;                         /* version that a blob is under */
    struct uuid candidates[KP_CANDIDATES_MAX]; /* records that may be the one */
    unsigned candidate_count, candidate;
    bool broad; /* search in the newest records, not by name */
    char ciphertext[KP_CIPHERTEXT_MAX + 1];
    char aad[KP_AAD_LENGTH + 1];
    unsigned step; /* how often a record was written */
    size_t before; /* what ret_wrapped held before what is being proven */
};

/* Begins a call on a slot that has none. call->done runs later, or before this returns. */
void kp_call_begin(struct kp_slot *slot, struct kp_call *call);
/* Goes on with a call whose token is there, or whose wait is over. */
void kp_call_step(struct kp_slot *slot, int64_t now);
/* Ends it with KEY_MANAGER_UNAVAILABLE. */
void kp_call_abandon(struct kp_slot *slot);

/* How much locked memory a slot has. */
size_t kp_slot_locked_size(void);
/* Has nothing more to do: the next piece of work may have it. */
void kp_slot_release(struct kp_slot *slot);

/* ---- Versions of root keys ---- */

#define KP_VERSIONS_MAX  64
#define KP_VERSIONS_TIME 30000 /* milliseconds for which the newest version is believed */

struct kp_versions {
    pthread_mutex_t mutex;
    struct kp_known_version {
        struct uuid root_key;
        struct uuid newest;
        uint32_t count; /* 0: not known */
        int64_t until;
    } known[KP_VERSIONS_MAX];
};

/* Any thread. `count` 0: only the identifier is known; what is known of the same version stays. */
void kp_versions_put(struct kp_versions *versions, const struct uuid *root_key,
                     const struct uuid *newest, uint32_t count, int64_t now);
bool kp_versions_get(struct kp_versions *versions, const struct uuid *root_key, int64_t now,
                     struct uuid *ret_newest, uint32_t *ret_count);
void kp_versions_forget(struct kp_versions *versions, const struct uuid *root_key);

/* ---- Whether additional authenticated data works ---- */

enum kp_aad { KP_AAD_UNKNOWN, KP_AAD_WORKS, KP_AAD_IGNORED };

struct kp_aad_probe {
    enum kp_aad outcome;
    bool wanted; /* a slot is to be given to it */
    bool running;
    int64_t not_before;
    struct uuid root_key;
};

/* Has it found out with this root key, unless that is done already. */
void kp_aad_want(struct kp *kp, const struct uuid *root_key);
void kp_aad_begin(struct kp_slot *slot);

/* ---- Records whose writing failed in a way that leaves open whether they are there ---- */

#define KP_DOUBTS_MAX 256

struct kp_doubts {
    char names[KP_DOUBTS_MAX][KP_NAME_MAX + 1];
    size_t count;
    bool overflowed; /* then all are looked for */
};

/* ---- The whole ---- */

struct kp_queue {
    struct keymanager_job *first, **last;
};

struct kp {
    struct keymanager keymanager; /* first */
    struct keyprotect_options options;
    struct kp_http http;
    struct kp_iam iam;
    struct kp_breaker breaker;
    struct kp_versions versions;
    struct kp_aad_probe aad;
    struct kp_doubts doubts;
    struct kp_slot *slots, *free;
    uint32_t background;     /* slots at work in the background */
    uint32_t background_max; /* of them at a time */
    struct kp_queue jobs[2]; /* foreground, background */
    struct kp_call *calls, **last_call;
    int64_t tick; /* when deadlines in the queues are looked at next */
    /* What other threads bring. */
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t finished; /* with `mutex`: of kp_run() and kp_run_job() */
    struct kp_queue in_jobs[2];
    struct kp_call *in_calls, **in_last_call;
    bool stopping;
    pthread_mutex_t rotating; /* one rotation at a time */
};

static inline struct kp *kp_of(struct keymanager *keymanager)
{
    return CONTAINER_OF(keymanager, struct kp, keymanager);
}

/* The thread, and what needs it. */
enum status kp_work_open(struct kp *kp) MUST_USE;
void kp_work_close(struct kp *kp);

/* Makes a call and waits for it: any other thread. Returns call->status; the caller frees
 * call->answer. Deadline 0: twice the time of a job. */
enum status kp_run(struct kp *kp, struct kp_call *call) MUST_USE;

/* Hands jobs over: any thread. */
void kp_submit(struct keymanager *keymanager, struct keymanager_job *jobs);

/* Does one job and waits for it: any other thread. Returns job->status. */
enum status kp_run_job(struct kp *kp, struct keymanager_job *job) MUST_USE;

/* ---- Jobs ---- */

/* Begins the job of a slot; ends it with kp_job_end(). */
void kp_job_begin(struct kp_slot *slot);
void kp_job_end(struct kp_slot *slot, enum status status);
void kp_record_begin(struct kp_slot *slot);

/* {"ciphertext": slot->ciphertext, "aad": [slot->aad]}, for an unwrap. */
enum status kp_write_ciphertext(struct kp_call *call, struct buffer *body);
/* {"plaintext": slot->key, "aad": [slot->aad]}, for a wrap. */
enum status kp_write_plaintext(struct kp_call *call, struct buffer *body);

/* The slot's own call, with everything of its last one freed; the rest as kp_call_init(). It ends
 * when the job does. */
struct kp_call *kp_own_call(struct kp_slot *slot, const char *method, const char *path);

/* The same, as an action on a root key. */
void kp_action_init(struct kp_slot *slot, const struct uuid *root_key, const char *action);

/* ---- What the provider's table has; see keymanager.h ---- */

enum status kp_create_root_key(struct keymanager *keymanager, const struct root_key_wish *wish,
                               struct uuid *ret_root_key, struct error *error);
enum status kp_rotate(struct keymanager *keymanager, const struct uuid *root_key, uint32_t from,
                      const struct secret *material, int64_t now, struct error *error);
enum status kp_set_state(struct keymanager *keymanager, const struct uuid *root_key,
                         enum root_key_state state, struct error *error);
enum status kp_delete(struct keymanager *keymanager, const struct uuid *root_key, int64_t now,
                      struct error *error);
enum status kp_restore(struct keymanager *keymanager, const struct uuid *root_key,
                       struct error *error);
enum status kp_purge(struct keymanager *keymanager, const struct uuid *root_key,
                     struct error *error);
enum status kp_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                             struct root_key_info *ret_info);
enum status kp_root_keys(struct keymanager *keymanager, keymanager_visit_root_key *visit,
                         void *context);
enum status kp_is_newest(struct keymanager *keymanager, struct wrapped wrapped, bool *ret_newest);
enum status kp_check(struct keymanager *keymanager, struct error *error);

enum status kp_record_put(struct keymanager *keymanager, const char *name, struct bytes record,
                          struct uuid *ret_id, struct error *error);
enum status kp_record_get(struct keymanager *keymanager, const struct uuid *id,
                          struct buffer *ret_record, struct error *error);
enum status kp_record_delete(struct keymanager *keymanager, const struct uuid *id,
                             struct error *error);
enum status kp_records(struct keymanager *keymanager, const char *prefix,
                       keymanager_visit_record *visit, void *context, struct error *error);

/* ---- Keys of the service ---- */

/* Appends the body that makes a key; `payload` may be empty. */
void kp_write_key(struct buffer *body, const char *name, const char *description, bool extractable,
                  struct bytes payload);

/* ---- Lists ---- */

/* Which keys: all states. */
struct kp_list {
    bool extractable;
    const char *search; /* in the name, NULL: any; left out by itself where the service finds that
                           too broad */
    const char *key_ring;
};

/* Visits all keys of a list, page by page. KEY_MANAGER_UNAVAILABLE also where the list changed so
 * that one could have been missed. Any other thread. */
enum status kp_list_keys(struct kp *kp, const struct kp_list *list, kp_visit_key *visit,
                         void *context, struct error *error) MUST_USE;

#endif
