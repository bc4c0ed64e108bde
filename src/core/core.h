/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a KMIP request means: who may, life cycle, attributes, batches. Bytes of a request in, bytes
 * of an answer out, and between them the changes to store and the records to audit. Nothing here
 * waits: core_execute() runs a request to its end, on any thread, and whoever called it commits
 * the changes, has the records made durable, and only then lets the answer go:
 *
 *     core_execute() -> store_submit(request->changes) -> audit_append(request->records) -> answer
 *
 * When the commit fails with CONFLICT or NAME_EXISTS, somebody was faster: execute again. When it
 * fails otherwise, core_refuse() makes the answer.
 */
#ifndef KMIPD_CORE_CORE_H
#define KMIPD_CORE_CORE_H

#include "audit/audit.h"
#include "base/arena.h"
#include "base/clock.h"
#include "keymanager/keymanager.h"
#include "kmip/message.h"
#include "store/store.h"

struct core;
struct object;

struct core_options {
    unsigned locate_max;        /* objects one Locate returns at most */
    uint32_t lease_seconds;     /* Lease Time of every object */
    unsigned key_cache_entries; /* unwrapped keys kept, sealed under an ephemeral key; 0: none */
    unsigned key_cache_seconds; /* and for how long each */
    size_t object_max;          /* bytes of key material or opaque data of one object */
    size_t request_memory;      /* bytes of arena one request may use */
};

/* Borrows all four, which must outlive the core. */
enum status core_open(struct store *store, struct keymanager *keymanager, struct clock *clock,
                      const struct core_options *options, struct core **ret_core) MUST_USE;
void core_close(struct core *core); /* NULL is fine */

/*
 * Who asks. Made by the layer above from the client's certificate; must not change while a request
 * of it runs. `adapter` 0: the certificate is nobody's, and every request is refused with
 * Authentication Not Successful; or with `failure`, when it could not be found out whose it is.
 */
struct core_session {
    int64_t adapter;
    enum status failure;
    struct uuid adapter_uuid;
    struct uuid root_key;
    char adapter_name[STORE_NAME_MAX + 1];
    char username[STORE_NAME_MAX + 1]; /* with password_hash: checked when a credential comes */
    char password_hash[128];
    char certificate[2 * STORE_FINGERPRINT_SIZE + 1]; /* fingerprint in hex; empty: none */
    char peer[64];
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

/* Forgets and wipes the last request; the caller calls it before memory goes to another. */
void request_reset(struct request *request);

/*
 * Runs the request in `frame` (borrowed until request_reset()). `store` is a session of the calling
 * thread. `patience` is how many objects its searches may look at (SIZE_MAX: any number). Always
 * leaves an answer, but for:
 *   TOO_LARGE  the answer did not fit in reply_memory: nothing has happened, run it again with
 *              more (request_set_reply())
 *   BUSY       a search is taking long: nothing has happened, run it again where it may
 */
enum status core_execute(struct request *request, const struct core_session *session,
                         struct store_session *store, struct bytes frame, size_t patience) MUST_USE;

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

/* Empties the cache of unwrapped keys: a root key was disabled or deleted. Any thread. */
void core_forget_keys(struct core *core);

/* The versions that are served, highest first. */
extern const uint16_t core_versions[];
extern const size_t core_version_count;

#endif
