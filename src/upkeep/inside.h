/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of upkeep. The thread of upkeep.c walks: it rewraps and warms, never waits for a key
 * manager, and does all its work in jobs that come back to it. Each key manager has a keeper
 * (keeper.c), a thread that asks it what can only be asked by waiting: states of root keys,
 * records. So no key manager that hangs holds up another.
 */
#ifndef KMIPD_UPKEEP_INSIDE_H
#define KMIPD_UPKEEP_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "upkeep/upkeep.h"

#define UPKEEP_NEVER     INT64_MAX
#define UPKEEP_TEXT_SIZE 256

/* Milliseconds. Fixed in the daemon; tests have less patience. */
struct upkeep_times {
    int64_t tick;        /* how often it is looked whether adapters have changed */
    int64_t save;        /* between two savings of how far a walk is */
    int64_t settle;      /* after which no request is under way any more that began before */
    int64_t retry_first; /* before what failed is tried again; doubled each time, */
    int64_t retry_most;  /* up to this */
};

/* ---- Root keys: looks.c ---- */

/* A root key that is looked at. Never removed; guarded by upkeep->lock. */
struct watched {
    struct watched *next;
    enum keymanager_code code;
    struct uuid root_key;
    bool used;        /* by an adapter, or by keys that an adapter has left under it */
    bool blocked;     /* the service was told so */
    uint32_t version; /* the newest; 0: not known */
    uint64_t look;    /* the number of the look that the rest comes from; 0: none yet */
    uint64_t wanted;  /* a look with a greater number is wanted: one begun before will not do */
    int64_t due;      /* monotonic milliseconds: when to look again */
    struct upkeep_root_key shown;
};

/* Asks the key manager and does what follows from the answer. Blocks. */
void upkeep_look(struct upkeep *upkeep, enum keymanager_code code, const struct uuid *root_key);
/* The entry, or NULL. The lock is held. */
struct watched *upkeep_watched(struct upkeep *upkeep, enum keymanager_code code,
                               const struct uuid *root_key);
/* The entry, made when there is none. NULL: no memory. The lock is held. */
struct watched *upkeep_watch(struct upkeep *upkeep, enum keymanager_code code,
                             const struct uuid *root_key);

/* ---- Adapters: upkeep.c ---- */

struct adapter_list {
    struct adapter_row *rows;
    size_t count;
    uint64_t generation; /* of the store, before they were read */
    bool no_memory;
};

/* Reads the adapters again if there is a change since; the list is as it was on failure. */
enum status upkeep_read_adapters(struct upkeep *upkeep, struct store_session *session,
                                 struct adapter_list *list);
const struct adapter_row *upkeep_adapter(const struct adapter_list *list, const struct uuid *uuid);

/* ---- Rewrapping: task.c (what is to do), rewrap.c (doing it) ---- */

#define REWRAP_FROM_MAX 8

enum rewrap_phase {
    REWRAP_DONE,
    REWRAP_WALKING,
    REWRAP_RETRYING, /* walks again from the first that failed */
    REWRAP_SETTLING, /* waits for what was wrapped before a move and is stored after it */
};

struct rewrap_from {
    uint32_t key_manager;
    struct uuid root_key;
};

/* What is saved: docs/formats.md, "Upkeep". */
struct rewrap_state {
    enum rewrap_phase phase;
    uint32_t version;     /* of the root key for which all was done */
    int64_t started;      /* milliseconds since 1970 */
    int64_t position;     /* all up to this sequence was looked at */
    int64_t first_failed; /* sequence; 0: none */
    int64_t total;
    int64_t done;
    int64_t rewrapped;
    int64_t failed;
    unsigned from_count; /* root keys that the adapter had before */
    struct rewrap_from from[REWRAP_FROM_MAX];
};

struct rate_sample {
    int64_t time; /* monotonic */
    int64_t done;
};

#define RATE_SAMPLES 6

/* Objects to try again. */
struct failed_list {
    struct uuid *objects;
    size_t count;
    size_t capacity;
    size_t next;
    bool partial; /* there are more than are in it */
};

/* The rewrapping of one adapter. Stays in the list until the end. */
struct rewrap {
    struct rewrap *next;
    struct uuid adapter;
    /* Guarded by upkeep->lock: */
    struct rewrap_state state;
    bool restart;        /* from the first object */
    bool gone;           /* the adapter is */
    uint64_t look_after; /* its root key must be looked at after this look */
    char failure[UPKEEP_TEXT_SIZE];
    struct rate_sample samples[RATE_SAMPLES]; /* newest first */

    /* The thread's own: */
    bool begun; /* the rest stands for the state */
    struct adapter_row row;
    uint32_t version; /* the newest of its root key */
    int64_t cursor;   /* the sequence taken last */
    bool at_end;
    bool settled;
    struct stored_object *page[64];
    size_t page_count;
    size_t page_next;
    int64_t page_after; /* where the next page begins; 0: nowhere */
    struct item *oldest; /* in flight, by sequence */
    struct item *newest;
    unsigned in_flight;
    unsigned jobs;       /* of those, in the hands of a key manager */
    int64_t pass_failed;
    struct failed_list failed;   /* in this pass */
    struct failed_list retrying; /* in place of a walk, while it has any */
    int64_t not_before;  /* monotonic */
    int64_t back_off;
    int64_t saved;       /* monotonic */
    int64_t slice;       /* monotonic: when the present slice of time began */
    unsigned slice_objects;
};

/* Loads what is saved for all adapters. */
enum status rewraps_load(struct upkeep *upkeep, struct store_session *session,
                         const struct adapter_list *adapters) MUST_USE;
/* The entry or NULL. The lock is held. */
struct rewrap *rewrap_find(struct upkeep *upkeep, const struct uuid *adapter);
/* Begins the rewrapping of an adapter from the first object, durably. */
enum status rewrap_order(struct upkeep *upkeep, const struct uuid *adapter);
/* Orders it where an adapter's root key has a version that its objects were not brought under. */
void rewrap_after_rotations(struct upkeep *upkeep, const struct adapter_list *adapters);
/* Writes the state into the store. */
enum status rewrap_save(struct upkeep *upkeep, struct rewrap *rewrap);

/* The thread's: does what can be done now; returns when (monotonic) to be called again at the
 * latest. */
int64_t rewraps_step(struct upkeep *upkeep, int64_t now);
/* Goes on with what has come back. */
void rewraps_finish(struct upkeep *upkeep);
/* Waits for what is in flight, saves, and frees what the thread has. */
void rewraps_end(struct upkeep *upkeep);

/* ---- Records: records.c, compare.c ---- */

/* What is shown of an adapter. Never removed; guarded by upkeep->lock. */
struct shown_records {
    struct shown_records *next;
    struct uuid adapter;
    int64_t rows;         /* records that we know of */
    int64_t due;          /* objects to be recorded, or to be taken away, */
    int64_t due_recorded; /* and of them those that have a record */
    int64_t withdrawn;
    int64_t unknown;
    int64_t checked;
};

/* The entry, made when there is none. NULL: no memory. The lock is held. */
struct shown_records *records_show(struct upkeep *upkeep, const struct uuid *adapter);
/* Tells the service of all objects that are withdrawn. */
enum status records_load(struct upkeep *upkeep, struct store_session *session) MUST_USE;

/* ---- Keys held ready: warm.c ---- */

/* The walk through all objects. The thread's own, but for two that upkeep->lock guards. */
struct warm {
    unsigned in_flight; /* guarded */
    bool failed;        /* guarded: a key manager did not answer */
    bool walking;
    bool incomplete; /* something failed in this walk */
    bool at_end;     /* of the adapter */
    unsigned most;   /* in flight */
    int64_t at;      /* monotonic milliseconds: when to go on */
    int64_t begun;
    int64_t interval; /* between the beginnings of two walks */
    int64_t back_off;
    int64_t adapter;
    struct uuid adapter_uuid;
    int64_t after;
    struct stored_object *page[64];
    size_t page_count;
    size_t page_next;
};

/* As rewraps_step(). */
int64_t warm_step(struct upkeep *upkeep, int64_t now);
/* Waits for what is in flight. */
void warm_end(struct upkeep *upkeep);

/* ---- Reports: report.c ---- */

/* An audit record of event "server" and a line in the log. `object` is what it is about. */
void upkeep_report(struct upkeep *upkeep, enum status status, const char *operation,
                   const char *adapter, const struct uuid *object, const char *format, ...)
    PRINTF_LIKE(6, 7);

/* ---- All of it ---- */

/* Who waits for work. Guarded by upkeep->lock. */
struct waiting {
    pthread_cond_t wake;
    uint64_t wakes; /* counts what may have made work */
};

struct upkeep {
    struct core *core;
    struct store *store;
    struct audit *audit;
    struct clock *clock;
    const struct keymanagers *keymanagers;
    struct upkeep_options options;
    struct upkeep_times times;

    pthread_mutex_t lock;
    atomic_bool stopping;
    struct waiting walking; /* the thread */
    struct waiting keeping; /* the keepers */
    struct watched *watched;
    uint64_t looks; /* the number of the last look begun */
    struct rewrap *rewraps;
    struct shown_records *records;
    struct item *finished; /* what has come back, oldest first */
    struct item **finished_end;

    pthread_mutex_t looking; /* held while the outcome of a look is carried out */
    pthread_mutex_t saving;  /* held while a state is written */

    pthread_mutex_t session_lock; /* of the session for whoever calls */
    struct store_session *session;

    /* The thread's own: */
    struct store_session *walker;
    struct adapter_list adapters;
    struct warm warm;
    int64_t swept; /* monotonic: the cache of unwrapped keys */

    pthread_t thread;
    bool started;
    struct keeper *keepers[KEYMANAGER_CODE_MAX + 1];
};

/* Makes all threads look whether there is work. The lock is not held. */
void upkeep_wake(struct upkeep *upkeep);
void upkeep_wake_walker(struct upkeep *upkeep);

/* ---- Keepers: keeper.c ---- */

/* Starts the thread of each key manager there is. */
enum status keepers_start(struct upkeep *upkeep, struct error *error) MUST_USE;
/* Ends them. */
void keepers_stop(struct upkeep *upkeep);

/* Waits until something may have made work, or until then (monotonic milliseconds). `wakes` is the
 * caller's, 0 at first. */
void upkeep_wait(struct upkeep *upkeep, struct waiting *waiting, uint64_t *wakes, int64_t until);

/* Starts a thread with all signals blocked: they are the main thread's. */
bool upkeep_thread(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *argument);

#endif
