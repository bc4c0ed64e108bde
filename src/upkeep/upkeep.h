/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes on in the background for root keys, wrapped keys and records (docs/root-keys.md,
 * "Upkeep"): a thread, and one more for each key manager, beside the service and never in its way.
 * All functions may be called from any thread; those that take a root key or an adapter do what is
 * asked durably and leave what takes long to the threads. Whoever calls writes the audit record of
 * the act; the threads write those of what they do by themselves (event "server": rewrap finished,
 * object withdrawn, root key lost).
 */
#ifndef KMIPD_UPKEEP_UPKEEP_H
#define KMIPD_UPKEEP_UPKEEP_H

#include "audit/audit.h"
#include "base/clock.h"
#include "core/core.h"
#include "keymanager/keymanagers.h"
#include "store/store.h"

struct upkeep;

/* How one key manager is used. Times in milliseconds. */
struct upkeep_policy {
    int64_t check_interval; /* between two looks at a root key's state and at the records */
    int64_t cache_time;     /* how long an unwrapped key is kept; refreshed at half of it */
    bool warm;              /* unwrap all keys after a start */
    bool store_wrapped_keys; /* keep a record of each object, where the key manager can */
    unsigned jobs_max;      /* background jobs in flight at one time */
};

struct upkeep_options {
    struct upkeep_policy policies[KEYMANAGER_CODE_MAX + 1];
};

/* Borrows all but the options (`audit` may be NULL). Tells the core which objects are withdrawn, so
 * before the service answers. The threads start with upkeep_start(). */
enum status upkeep_open(struct core *core, struct store *store, struct audit *audit,
                        struct clock *clock, const struct keymanagers *keymanagers,
                        const struct upkeep_options *options, struct upkeep **ret_upkeep,
                        struct error *error) MUST_USE;
enum status upkeep_start(struct upkeep *upkeep, struct error *error) MUST_USE;
/* Ends after the objects it is at; what was not done goes on at the next start. NULL is fine. */
void upkeep_close(struct upkeep *upkeep);

/* ---- Rewrapping ---- */

/* Looks through the adapter's objects again and brings each under its adapter's key manager, root
 * key and newest version: after a rotation or a move. Survives a restart. */
enum status upkeep_rewrap(struct upkeep *upkeep, const struct uuid *adapter) MUST_USE;

/*
 * Moves an adapter to another root key, perhaps in another key manager: new keys are wrapped there
 * at once, the others follow. ROOT_KEY_UNAVAILABLE: it is not active; KEY_MANAGER_UNAVAILABLE: the
 * key manager does not answer, or is not configured; NOT_FOUND: no such adapter; CONFLICT: the
 * adapter is on its way already (one of which nothing but what failed is left may go on, and so may
 * one that progress calls done). To the root key that it has: as upkeep_rewrap().
 */
enum status upkeep_move(struct upkeep *upkeep, const struct uuid *adapter,
                        enum keymanager_code to, const struct uuid *root_key,
                        struct error *error) MUST_USE;

struct upkeep_progress {
    bool running;
    int64_t total;     /* objects with key material */
    int64_t done;      /* looked at, and under the newest root key version */
    int64_t rewrapped; /* of those, by this run */
    int64_t failed;    /* could not be rewrapped; tried again later */
    double rate;       /* objects a second, of the last seconds */
    int64_t remaining; /* milliseconds, estimated; -1: not known */
    char failure[256]; /* what the last failure was */
};
/* NOT_FOUND: nothing was ever to do for this adapter. */
enum status upkeep_rewrap_progress(struct upkeep *upkeep, const struct uuid *adapter,
                                   struct upkeep_progress *ret_progress) MUST_USE;

/* True while objects of an adapter are, or may be, still under this root key though it is no
 * longer the adapter's. Such a root key must not be deleted. */
bool upkeep_uses_root_key(struct upkeep *upkeep, const struct uuid *root_key);

/* ---- Root keys ---- */

/* A root key was disabled, deleted or brought back by us: looks at it now and empties the cache
 * before it returns. */
void upkeep_root_key_changed(struct upkeep *upkeep, enum keymanager_code code,
                             const struct uuid *root_key);

/* What the last look at a root key has shown, for status. NOT_FOUND: no adapter uses it. */
struct upkeep_root_key {
    enum status status; /* OK, ROOT_KEY_UNAVAILABLE, KEY_MANAGER_UNAVAILABLE */
    int64_t checked;    /* when it last answered, milliseconds since 1970; 0: never */
    char text[256];
};
enum status upkeep_root_key(struct upkeep *upkeep, const struct uuid *root_key,
                            struct upkeep_root_key *ret_root_key) MUST_USE;

/* ---- Records ---- */

struct upkeep_records {
    int64_t recorded;  /* objects whose record is up to date */
    int64_t due;       /* to be recorded, or to be taken away */
    int64_t withdrawn; /* out of service because their record is */
    int64_t unknown;   /* records there that belong to no object here */
    int64_t checked;   /* when they were last compared; 0: never */
};
enum status upkeep_records_state(struct upkeep *upkeep, const struct uuid *adapter,
                                 struct upkeep_records *ret_records) MUST_USE;

/* ---- Rebuilding a lost store ---- */

struct upkeep_rebuilt {
    int64_t adapters;
    int64_t objects;  /* made */
    int64_t present;  /* there already: left as they are */
    int64_t disabled; /* records that are out of service: made, and withdrawn */
    int64_t failed;   /* not made; or made, but not to be opened now. Of each, `fail` was told why */
};
typedef void upkeep_fail(void *context, const char *record, const char *why);
/*
 * Makes adapters and objects from all records of a key manager that the store does not have.
 * Blocks until done; may be repeated, also after a kill. Client certificates are not in records and
 * must be let in again; users and passwords too. With `only` (may be NULL) one adapter's alone. Of
 * several records of an object the newest counts; a deleted record is none. `fail` (may be NULL) is
 * called by one thread at a time, not always the caller's. FEATURE_NOT_SUPPORTED: it keeps no
 * records. On KEY_MANAGER_UNAVAILABLE and failures of the store, *ret_rebuilt is what was done
 * until then, if anything.
 */
enum status upkeep_rebuild(struct upkeep *upkeep, enum keymanager_code from,
                           const struct uuid *only, upkeep_fail *fail, void *context,
                           struct upkeep_rebuilt *ret_rebuilt, struct error *error) MUST_USE;

#endif
