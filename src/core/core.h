/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a KMIP request means: who may, life cycle, attributes, batches. Bytes of a request in, bytes
 * of an answer out, and between them the changes to store and the records to audit. Nothing here
 * waits: core_execute() runs a request to its end, on any thread, and whoever called it commits
 * the changes, has the records made durable, and only then lets the answer go:
 *
 *     core_execute() -> core_prepare() -> store_submit(request->changes) -> core_committed()
 *         -> audit_append(request->records) -> answer
 *
 * Either of the first two may say PENDING: keys or records are to be had from a key manager first.
 * core_fetch() asks for them, and tells when they are there; then core_execute_fetched() executes
 * again, or core_prepare() goes on. When the commit fails with CONFLICT or NAME_EXISTS, somebody was
 * faster: execute again. When it fails otherwise, core_refuse() makes the answer.
 */
#ifndef KMIPD_CORE_CORE_H
#define KMIPD_CORE_CORE_H

#include "audit/audit.h"
#include "base/arena.h"
#include "base/clock.h"
#include "keymanager/keymanagers.h"
#include "kmip/message.h"
#include "store/store.h"

struct core;
struct object;
struct request;
struct fetched_key;
struct new_key;
struct request_job;

struct core_options {
    unsigned locate_max;        /* objects one Locate returns at most */
    uint32_t lease_seconds;     /* Lease Time of every object */
    unsigned key_cache_entries; /* unwrapped keys kept, sealed under an ephemeral key; 0: none */
    unsigned key_cache_seconds[KEYMANAGER_CODE_MAX + 1]; /* for how long each, by key manager */
    bool store_wrapped_keys[KEYMANAGER_CODE_MAX + 1];    /* new objects are recorded there */
    unsigned
        key_manager_seconds; /* that a client's request waits for one; 0: as long as it takes */
    size_t object_max;       /* bytes of key material or opaque data of one object */
    size_t request_memory;   /* bytes of arena one request may use */
};

/* Borrows all but the options; they must outlive the core. */
enum status core_open(struct store *store, const struct keymanagers *keymanagers,
                      struct clock *clock, const struct core_options *options,
                      struct core **ret_core) MUST_USE;
/* Waits for keys that are being fetched in the background. NULL is fine. */
void core_close(struct core *core);

/*
 * Who asks. Made by the layer above from the client's certificate; must not change while a request
 * of it runs. `adapter` 0: the certificate is nobody's, and every request is refused with
 * Authentication Not Successful; or with `failure`, when it could not be found out whose it is.
 */
struct core_session {
    int64_t adapter;
    enum status failure;
    struct uuid adapter_uuid;
    uint32_t key_manager; /* enum keymanager_code; 0: the sealed file */
    struct uuid root_key;
    char adapter_name[STORE_NAME_MAX + 1];
    char username[STORE_NAME_MAX + 1]; /* with password_hash: checked when a credential comes */
    char password_hash[128];
    char certificate[2 * STORE_FINGERPRINT_SIZE + 1]; /* fingerprint in hex; empty: none */
    char peer[64];
};

/* What a request has to do with key managers. It lasts from the first execution of a frame to the
 * last: core's own (core/keys.h), but for the counter. */
struct request_keys {
    struct fetched_key *fetched;
    struct new_key *made; /* in the order in which they were made */
    struct request_job *wanted;
    unsigned rounds;
    unsigned unrecorded; /* new objects that were too large to be recorded */
    _Atomic size_t outstanding;
    void (*done)(struct request *request);
};

/* One request on its way. Made once, used for many requests one after another. */
struct request {
    /* Results of core_execute(): */
    struct buffer reply;          /* the whole response message */
    bool close;                   /* the connection cannot go on after this answer */
    struct store_change *changes; /* to commit before the answer; in the arena */
    size_t change_count;
    struct audit_entry *records; /* one for each batch item answered; in the arena */
    size_t record_count;
    enum status worst;   /* the most severe failure of an item; OK: none */
    size_t worst_record; /* of that item */

    /* The rest is core's own. */
    struct core *core;
    const struct core_session *session;
    struct store_session *store;
    struct arena arena;
    struct bytes frame;
    int64_t now;      /* milliseconds since 1970, read once */
    uint16_t version; /* of the request's header; answers are in it */
    struct uuid placeholder;
    bool has_placeholder;
    size_t patience; /* objects a Locate may still look at; SIZE_MAX: any number */
    bool out_of_patience;
    bool skip_optional;              /* leave out changes marked optional: the store cannot write */
    enum status refusal;             /* not OK: answer each item with it instead of running it */
    struct object *objects;          /* read or made by this request */
    struct object *edits;            /* of the item that runs */
    struct kmip_any failure_payload; /* what an item that fails answers beside its reason */
    struct request_keys keys;        /* see core/keys.h */
    uint32_t operation;              /* of the item that runs */
    struct bytes subject; /* Unique Identifier that the item is about, for the audit record */
    struct bytes product; /* what the object's x- attributes say of its user */
};

/*
 * Prepares a request whose answers are written to `reply_memory` (locked memory of the caller:
 * answers carry keys). End: request_free().
 */
void request_init(struct request *request, struct core *core, void *reply_memory,
                  size_t reply_size);
void request_free(struct request *request);

/* Forgets and wipes the last execution; the request may be executed again. */
void request_reset(struct request *request);

/* Forgets and wipes everything; the caller calls it before memory goes to another. */
void request_finish(struct request *request);

/*
 * Runs the request in `frame` (borrowed until request_finish()). `store` is a session of the calling
 * thread. `patience` is how many objects its searches may look at (SIZE_MAX: any number). Always
 * leaves an answer, but for:
 *   TOO_LARGE  the answer did not fit in reply_memory: nothing has happened, run it again with
 *              more (request_set_reply())
 *   BUSY       a search is taking long: nothing has happened, run it again where it may
 *   PENDING    keys must be fetched: nothing has happened, core_fetch() and then
 *              core_execute_fetched()
 */
enum status core_execute(struct request *request, const struct core_session *session,
                         struct store_session *store, struct bytes frame, size_t patience) MUST_USE;

/*
 * Asks the key managers for all that the request waits for, together. Never waits. `done` runs once,
 * on any thread, this one included, and must not block; from then on the request is the caller's
 * again.
 */
void core_fetch(struct request *request, void (*done)(struct request *request));

/* Executes again, with what was fetched. What could not be fetched is the failure of the items that
 * need it. Results as core_execute(), but never BUSY. */
enum status core_execute_fetched(struct request *request) MUST_USE;

/*
 * Completes the changes of a request that was executed: new keys are wrapped, and recorded where
 * their key manager keeps records.
 *   OK        request->changes can be committed
 *   PENDING   core_fetch(), and then call it again
 *   CONFLICT  the session's adapter has another root key now, or is gone: execute again
 * Any other status refuses the whole message (core_refuse()): a key that could not be wrapped or
 * recorded is none, and what else the batch has done does not happen either.
 */
enum status core_prepare(struct request *request) MUST_USE;

/* Says how the commit ended, before the request is executed again or answered. */
void core_committed(struct request *request, enum status status);

/*
 * Takes a record that was made for an object that was not committed in the end: to be deleted
 * (keymanager_record_delete(), which blocks). False when there are no more. Before
 * request_finish().
 */
bool core_take_stray(struct request *request, struct keymanager **ret_keymanager,
                     struct uuid *ret_record) MUST_USE;

/* Gives the request other reply memory, before it is executed again. */
void request_set_reply(struct request *request, void *memory, size_t size);

/*
 * Executes the same frame again after a commit failed with CONFLICT, NAME_EXISTS or EXISTS; or,
 * with `skip_optional`, without the changes that may be left out. Results as core_execute().
 */
enum status core_execute_again(struct request *request, bool skip_optional) MUST_USE;

/* True if all changes of the request may be left out (they only note that a key was served). */
bool request_only_optional(const struct request *request);

/* Answers every batch item with a failure instead: the store or the audit log could not take it. */
enum status core_refuse(struct request *request, enum status status) MUST_USE;

/*
 * Answers bytes that are no KMIP frame (see net.h, bad_frame): Invalid Message in the version of
 * the header where one can be read. Never has changes.
 */
enum status core_reject_frame(struct request *request, const struct core_session *session,
                              struct bytes header, enum status status) MUST_USE;

/* ---- Keys in the cache, and keys out of service. All of it from any thread. ---- */

/* Empties the cache of unwrapped keys. */
void core_forget_keys(struct core *core);

/* Wipes those whose time is over. Takes a while when there are many; now and then. */
void core_sweep_keys(struct core *core);

/*
 * Says that a root key is not active (or not known to be), or that it is again. While it is blocked
 * keys under it are refused with ROOT_KEY_UNAVAILABLE, cached or not; what was cached is wiped, and
 * what was being unwrapped does not get into the cache. NO_MEMORY: the cache was emptied, and it is
 * not blocked: say it again.
 */
enum status core_root_key_blocked(struct core *core, const struct uuid *root_key,
                                  bool blocked) MUST_USE;

/* An object's key is not given out from now on (KEY_WITHDRAWN), or is again. NO_MEMORY: it is not
 * withdrawn. */
enum status core_withdraw(struct core *core, const struct uuid *object) MUST_USE;
void core_reinstate(struct core *core, const struct uuid *object);

/* The same key stands in another blob now, which was committed: what is cached stays good. */
void core_key_rewrapped(struct core *core, const struct uuid *object, struct wrapped before,
                        struct wrapped after);

/* How a background fetch ended; must not block. Runs once, on any thread. */
typedef void core_key_fetched(void *context, enum status status);

/*
 * Unwraps an object's key into the cache, behind what clients wait for. OK: there is nothing to do,
 * because it is there and not past half of its time, or has no key, or is opened faster than
 * fetched. PENDING: it was submitted, and `fetched` will tell; the caller limits how many. Other
 * statuses: it cannot be (ROOT_KEY_UNAVAILABLE: blocked). Holds the object as long as it needs it.
 */
enum status core_fetch_key(struct core *core, const struct uuid *adapter,
                           struct stored_object *object, core_key_fetched *fetched,
                           void *context) MUST_USE;

/* The versions that are served, highest first. */
extern const uint16_t core_versions[];
extern const size_t core_version_count;

#endif
