/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where adapters, client certificates and managed objects are kept. The store knows rows and
 * transactions, not KMIP: attributes are bytes that core encodes, key material is only ever
 * wrapped. Back ends (SQLite, memory; PostgreSQL to come) pass one conformance suite.
 *
 * Reading is through a session: one session belongs to one thread at a time. Writing is by
 * transactions, which any thread may submit and which a committer groups: all that wait share one
 * sync. A transaction is reported done when it is on stable storage, not before.
 */
#ifndef KMIPD_STORE_STORE_H
#define KMIPD_STORE_STORE_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/uuid.h"
#include "crypto/wrapped.h"

struct store;
struct store_session;

#define STORE_FINGERPRINT_SIZE 32 /* SHA-256 of a certificate's DER */
#define STORE_NAME_MAX         240
#define STORE_DESCRIPTION_MAX  960 /* 240 characters of UTF-8 */
#define STORE_ACTOR_MAX        63  /* "iam-ServiceId-<uuid>" */
#define STORE_STATE_BIT(state) (1u << (state))

/* ---- Managed objects ---- */

/*
 * A term is a 64-bit digest of an attribute and its value, by which Locate finds objects
 * (equality only). The store does not know what it means. Two values may share a term: whoever
 * searches checks what is found. A unique term belongs to at most one object of an adapter that is
 * not in the states Destroyed (5) and Destroyed Compromised (6): KMIP 1.4 §3.2, Name.
 */
struct store_term {
    uint64_t term;
    bool unique;
};

struct object_row {
    struct uuid id;
    int64_t adapter;      /* adapter_row.id */
    int64_t sequence;     /* order of insertion, given by the store; 0 in a row to insert */
    int64_t version;      /* 1 when inserted, one more with each update */
    uint32_t object_type; /* KMIP Object Type */
    uint32_t state;       /* KMIP State 1-6; 0 for objects that have none */
    struct bytes attributes; /* encoded by core */
    struct wrapped wrapped;
};

/*
 * An object as read: immutable, shared, counted. Everything it points to lives as long as it.
 */
struct stored_object {
    struct object_row row;
};

void stored_object_hold(struct stored_object *object);
void stored_object_release(struct stored_object *object); /* NULL is fine */

/*
 * Reads one object of `adapter`. STATUS_OBJECT_NOT_FOUND if there is none with this id or it is
 * another adapter's: both take the same path. The caller releases *ret_object.
 * Also STORE_CORRUPT, STORE_FAILED, NO_MEMORY. In a store that is known to be damaged nothing is
 * OBJECT_NOT_FOUND, but STORE_CORRUPT: the way to the object may be lost, and not the object.
 */
enum status store_get(struct store_session *session, int64_t adapter, const struct uuid *id,
                      struct stored_object **ret_object) MUST_USE;

struct store_query {
    int64_t adapter;
    const uint64_t *terms; /* all of them must be there */
    size_t term_count;
    uint32_t object_type;  /* 0: any */
    uint32_t states;       /* STORE_STATE_BIT of each state wanted; 0: any */
    int64_t after;         /* only objects whose sequence is greater */
    size_t limit;          /* at most so many objects are visited; greater than 0 */
};

/* Called for each object found, in ascending sequence. Borrowed during the call (hold it to keep
 * it). Return false to stop. */
typedef bool store_visit(void *context, struct stored_object *object);

/*
 * Visits the objects that match, a page at a time: *ret_next is the `after` for the next page, or
 * 0 when there is nothing behind. Uses an index for terms, and for object type and states. A page
 * may hold fewer than `limit`, even none, with more behind: what takes long is cut into pages.
 * The visitor may use the session.
 */
enum status store_find(struct store_session *session, const struct store_query *query,
                       store_visit *visit, void *context, int64_t *ret_next) MUST_USE;

/* How many objects an adapter has in each state (index 0: objects without a state). */
enum status store_count(struct store_session *session, int64_t adapter,
                        int64_t ret_counts[static 8]) MUST_USE;

/* ---- Transactions ---- */

enum store_change_kind {
    STORE_INSERT,
    STORE_RESTORE, /* an insertion of an object that had row.version in a store that was lost */
    STORE_UPDATE,
    STORE_REWRAP, /* an update of `wrapped` alone: all else is as read, the terms stay */
    STORE_RECORD, /* puts `record` for the object and version of `row`, which stays as it is */
};

struct store_change {
    enum store_change_kind kind;
    /* As it will stand. Update: id and adapter name the row; object_type and sequence stay as they
     * are; row.version is the version read, which must still be the stored one (else
     * STATUS_CONFLICT) and becomes one more. */
    struct object_row row;
    const struct store_term *terms; /* replace all former ones */
    size_t term_count;
    const struct uuid *record; /* NULL, or the record that holds this version: see record_row */
    uint32_t record_key_manager; /* which keeps it; 0: the adapter's */
};

/*
 * All changes or none. From store_submit() to `done` the transaction and everything it points to
 * belong to the store. `done` runs once, on the committer's thread, must not block, and may
 * submit again:
 *   OK             on stable storage, and visible to every store_get() from now on
 *   CONFLICT       a version had changed: read again and try again
 *   NAME_EXISTS    a unique term is another object's
 *   EXISTS         an inserted id is there already
 *   OBJECT_NOT_FOUND  an updated object is not there, or is another adapter's
 *   NOT_FOUND      an inserted object's adapter is not there (any more)
 *   STORE_FULL, STORE_READ_ONLY, STORE_CORRUPT, STORE_FAILED, NO_MEMORY: nothing of it has
 *                  happened; only after a failed sync (STORE_FAILED, and store_health() stays so)
 *                  it may yet be found when the store is opened again
 * One transaction's failure does not touch the others of its group.
 */
struct store_transaction {
    struct store_change *changes;
    size_t count;
    void (*done)(struct store_transaction *transaction, enum status status);
    struct store_transaction *next; /* the store's, while it has the transaction */
};

void store_submit(struct store *store, struct store_transaction *transaction);

/* Submits and waits for the outcome. For administration and tests. `done` is not called. */
enum status store_commit(struct store *store, struct store_change *changes, size_t count) MUST_USE;

/* ---- Adapters and client certificates (administration: synchronous, durable) ---- */

struct adapter_row {
    int64_t id; /* given by the store, never used again */
    struct uuid uuid;
    char name[STORE_NAME_MAX + 1];        /* unique */
    char description[STORE_DESCRIPTION_MAX + 1]; /* may be empty */
    uint32_t key_manager; /* keymanager_code: where new keys are wrapped; a wrapped key names its own */
    struct uuid root_key;
    int64_t created;                      /* milliseconds since 1970 */
    char username[STORE_NAME_MAX + 1];    /* credential to check when one is present; or empty */
    char password_hash[128];              /* scrypt form of crypto/password.h; or empty */
    /* Who made and last changed it, in the administration API's words; empty and 0: not known. */
    char created_by[STORE_ACTOR_MAX + 1];
    int64_t updated;
    char updated_by[STORE_ACTOR_MAX + 1];
};

struct certificate_row {
    struct uuid id;
    int64_t adapter;
    char name[STORE_NAME_MAX + 1]; /* unique in its adapter */
    uint8_t fingerprint[STORE_FINGERPRINT_SIZE]; /* unique in the store */
    struct bytes der;              /* when read: valid during the visit or until the next call */
    int64_t created;               /* milliseconds since 1970 */
    char created_by[STORE_ACTOR_MAX + 1]; /* as an adapter's */
};

/* STATUS_EXISTS: the name or UUID is taken. INVALID_ARGUMENT: no key manager. Sets row->id. */
enum status store_adapter_insert(struct store *store, struct adapter_row *row) MUST_USE;
/* Writes name, description, username, password_hash, updated and updated_by of row->id. EXISTS,
 * NOT_FOUND. */
enum status store_adapter_update(struct store *store, const struct adapter_row *row) MUST_USE;
/* Writes key_manager and root_key alone, so that neither it nor an update takes back the other.
 * NOT_FOUND, INVALID_ARGUMENT: no key manager. */
enum status store_adapter_move(struct store *store, int64_t adapter, uint32_t key_manager,
                               const struct uuid *root_key) MUST_USE;
/*
 * Deletes an adapter with its certificates, and its destroyed objects. STATUS_PERMISSION_DENIED
 * while it has objects that are not destroyed. NOT_FOUND. The certificates go first; if it has
 * very many objects and the process ends meanwhile, the adapter may be left with fewer of them:
 * delete it again.
 */
enum status store_adapter_delete(struct store *store, int64_t adapter) MUST_USE;
/* By name, or by the text of its UUID. NOT_FOUND. */
enum status store_adapter_find(struct store_session *session, struct bytes name_or_uuid,
                               struct adapter_row *ret_row) MUST_USE;
typedef bool store_visit_adapter(void *context, const struct adapter_row *row);
/* All adapters in order of name. */
enum status store_adapters(struct store_session *session, store_visit_adapter *visit,
                           void *context) MUST_USE;

/* STATUS_EXISTS: the fingerprint is in use (in any adapter), or the name in this one.
 * NOT_FOUND: no such adapter. */
enum status store_certificate_insert(struct store *store, const struct certificate_row *row)
    MUST_USE;
/* By name, or by UUID text, or by hexadecimal fingerprint. NOT_FOUND. */
enum status store_certificate_delete(struct store *store, int64_t adapter,
                                     struct bytes name_or_id) MUST_USE;
typedef bool store_visit_certificate(void *context, const struct certificate_row *row);
/* The certificates of one adapter, or of all (adapter 0), in order of name. */
enum status store_certificates(struct store_session *session, int64_t adapter,
                               store_visit_certificate *visit, void *context) MUST_USE;

/*
 * A counter that changes with every change of an adapter or certificate, for those who keep
 * copies of them. Any thread, never blocks.
 */
uint64_t store_generation(struct store *store);

/* ---- Records: what the key manager keeps of an object ---- */

/*
 * Where an adapter's key manager keeps records (keymanager/keymanager.h), there is one row for each
 * object that has one. An object has at most one; it goes when the object's row goes. A record that
 * loses its row, because another takes its place or the object's row goes, is one left behind
 * until it is taken away in the key manager: it would bring a destroyed object back.
 */
struct record_row {
    struct uuid object;
    int64_t adapter;
    uint32_t key_manager; /* keymanager_code: where the record is */
    struct uuid record;   /* the key manager's identifier */
    int64_t version;    /* of the object, which the record holds */
    bool withdrawn;     /* taken out of service in the key manager: not to be given out */
};

/* Inserts or replaces the row of row->object; key_manager 0 is the adapter's. OBJECT_NOT_FOUND. */
enum status store_record_put(struct store *store, const struct record_row *row) MUST_USE;
/* Removes the row, its record being gone; fine when there is none. */
enum status store_record_remove(struct store *store, const struct uuid *object) MUST_USE;
/* NOT_FOUND. */
enum status store_record_get(struct store_session *session, const struct uuid *object,
                             struct record_row *ret_row) MUST_USE;
/* Return false to stop. */
typedef bool store_visit_record(void *context, const struct record_row *row);
/* At most `limit` rows of an adapter (0: of all) whose object is behind `after` (NULL: from the
 * first), ascending by object. */
enum status store_records(struct store_session *session, int64_t adapter,
                          const struct uuid *after, size_t limit, store_visit_record *visit,
                          void *context) MUST_USE;
/*
 * Objects of an adapter whose record must be written anew or taken away: with key material and no
 * record, or a record of another version; or destroyed and still with one. As store_find() by
 * sequence; `row->record` is all zero where there is none. What is up to date costs one step in an
 * index, and no call takes more than some ten milliseconds.
 */
typedef bool store_visit_due(void *context, struct stored_object *object,
                             const struct record_row *row);
enum status store_records_due(struct store_session *session, int64_t adapter, int64_t after,
                              size_t limit, store_visit_due *visit, void *context,
                              int64_t *ret_next) MUST_USE;

struct record_left {
    uint32_t key_manager;
    struct uuid record;
};
/* Fills in at most `limit` of the records left behind that stand after `after` (NULL: from the
 * first). */
enum status store_records_left(struct store_session *session, const struct record_left *after,
                               size_t limit, struct record_left *ret_left,
                               size_t *ret_count) MUST_USE;
/* It is gone in the key manager. Fine when it is not known. */
enum status store_record_left_remove(struct store *store, const struct record_left *left) MUST_USE;

/* ---- Small named values (server id, the audit log's last known head, ...) ---- */

/* NOT_FOUND. TOO_LARGE if the value is longer than `capacity`. */
enum status store_value_get(struct store_session *session, const char *name, void *ret_value,
                            size_t capacity, size_t *ret_size) MUST_USE;
enum status store_value_put(struct store *store, const char *name, struct bytes value) MUST_USE;

/* ---- Opening ---- */

struct store_options {
    size_t cache_bytes; /* for the coherent object cache; 0: none */
};

/*
 * SQLite at `path` (WAL, synchronous=FULL, foreign keys, STRICT tables, numbered forward
 * migrations). The store must be the only writer: a lock file beside it refuses a second process.
 * Each failure has a text that says what to do: directory missing, read-only, disk full, damaged
 * (a file of up to 64 MiB is checked whole when the last close was not clean), written by a newer
 * version, in use.
 */
enum status store_open_sqlite(const char *path, const struct store_options *options,
                              struct store **ret_store, struct error *error) MUST_USE;

/* In memory, for tests: the same behaviour, gone at the end. */
enum status store_open_memory(struct store **ret_store, struct error *error) MUST_USE;

/* Finishes what was submitted, then closes. All sessions must be closed before. NULL is fine. */
void store_close(struct store *store);

enum status store_session_open(struct store *store, struct store_session **ret_session) MUST_USE;
void store_session_close(struct store_session *session); /* NULL is fine */

/*
 * Whether the last write succeeded, for status and readiness: STATUS_OK or the standing failure.
 * After a failed sync the store refuses writes until it is reopened: what is on disk is unknown
 * then. Once a read or a write has met damage it is STORE_CORRUPT, though what is whole is served
 * and written. Any thread.
 */
enum status store_health(struct store *store);

#endif
