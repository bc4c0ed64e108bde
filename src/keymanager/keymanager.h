/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key manager keeps root keys, and wraps and unwraps with them; it never gives one out. This is
 * the interface; src/keymanager/ and src/keyholder/ have the providers, and docs/root-keys.md the
 * design. All functions may be called from any thread. All but keymanager_submit() may block: a
 * provider may stand behind a socket or a network.
 *
 * Statuses that every function may return beside its own:
 *   KEY_MANAGER_UNAVAILABLE  it does not answer, or not now: try again later. Nothing is known of
 *                            whether a change happened; every change below can be repeated.
 *   ROOT_KEY_UNAVAILABLE     it has answered, and the answer is no: the root key is not there, is
 *                            suspended or destroyed, or access to it is forbidden
 *   NO_MEMORY, CRYPTO_FAILED, TOO_LARGE
 */
#ifndef KMIPD_KEYMANAGER_KEYMANAGER_H
#define KMIPD_KEYMANAGER_KEYMANAGER_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/secret.h"
#include "base/uuid.h"
#include "crypto/wrapped.h"

#define KEYMANAGER_PLAINTEXT_MAX  ((size_t)1 << 20) /* of one wrap */
#define KEYMANAGER_RECORD_MAX     ((size_t)7500)    /* bytes of one record */
#define KEYMANAGER_ROOT_KEY_SIZES "16, 24 or 32"    /* bytes of imported material */

struct keymanager;

/* def/key_managers.def. */
enum keymanager_code {
    KEYMANAGER_NONE = 0,
#define KEY_MANAGER(code, number, name, text) KEYMANAGER_##code = number,
#include "key_managers.def"
#undef KEY_MANAGER
    KEYMANAGER_CODE_MAX = 4,
};

/* "sealed-file"; NULL for a number that is none. */
const char *keymanager_code_name(enum keymanager_code code);
/* KEYMANAGER_NONE when no key manager has this name. */
enum keymanager_code keymanager_code_by_name(const char *name);

/* What a wrapped blob belongs to. It is authenticated, and repeated inside the blob: a blob moved
 * to another object or adapter, or under another root key, does not open. An adapter's UUID is
 * random, so that neither does one moved to another database. */
struct wrap_binding {
    struct uuid object;
    struct uuid adapter;
    struct uuid root_key;
};

/* The numbers are those of NIST SP 800-57 that Key Protect's API uses. */
enum root_key_state {
    ROOT_KEY_ACTIVE = 1,
    ROOT_KEY_SUSPENDED = 2,
    ROOT_KEY_DESTROYED = 5, /* deleted; restorable unless purged */
};

/* Times are milliseconds since 1970; 0: never, or the key manager does not say. */
struct root_key_info {
    struct uuid id;
    enum root_key_state state;
    uint32_t version; /* how many there are, the newest's number: counted from 1 */
    bool imported;
    bool purged; /* destroyed for good: the material is gone */
    int64_t created;
    int64_t rotated;
    int64_t deleted;
};

struct root_key_wish {
    struct uuid id;    /* wanted; a provider whose service gives its own identifiers ignores it;
                          all zeros: any, which cannot be repeated */
    const char *name;  /* for a key manager that keeps names; 2 to 90 characters; may be NULL */
    const struct secret *material; /* to import; NULL: made inside the key manager */
    int64_t now;
};

/* ---- Work that is handed over and comes back ---- */

enum keymanager_task { KEYMANAGER_WRAP, KEYMANAGER_UNWRAP, KEYMANAGER_REWRAP, KEYMANAGER_RECORD };

/*
 * One wrap, unwrap, rewrap or record. From keymanager_submit() to `done` it and all it points to
 * belong to the key manager. Inputs by task:
 *   WRAP    binding, plaintext (not freed)        -> ret_wrapped (appended)
 *   UNWRAP  binding, wrapped                      -> plaintext (the caller frees it); and where
 *           the blob is under an older version and the key manager offers it, ret_wrapped: the
 *           same key under the newest, to be stored in its place
 *   REWRAP  binding, wrapped                      -> ret_wrapped; nothing appended when the blob
 *           is under the newest version already
 *   RECORD  record_name, record (bytes to keep)   -> record_id
 */
struct keymanager_job {
    enum keymanager_task task;
    bool background;    /* gives way to jobs that a client waits for */
    int64_t deadline;   /* clock_monotonic() in milliseconds by which it ends with
                           KEY_MANAGER_UNAVAILABLE; 0: the provider's own limit */
    struct wrap_binding binding;
    struct wrapped wrapped;
    struct secret plaintext;
    struct buffer ret_wrapped; /* initialised by the caller */
    const char *record_name;
    struct bytes record;
    struct uuid record_id;
    enum status status; /* the outcome, as of the function of the same name */
    /* Runs once, on any thread, the submitting one included; must not block; may submit again. */
    void (*done)(struct keymanager_job *job);
    struct keymanager_job *next;
};

/* ---- Providers ---- */

typedef bool keymanager_visit_root_key(void *context, const struct root_key_info *info);

/* A record as listed. `state` as root_key_state: only 1 is in service. */
struct keymanager_record {
    struct uuid id;
    char name[91];
    enum root_key_state state;
};
typedef bool keymanager_visit_record(void *context, const struct keymanager_record *record);

/*
 * `self` is what the provider's own open function made. Outputs are untouched on failure. What each
 * does is said at the function of the same name below. Those marked (NULL) may be missing.
 */
struct keymanager_provider {
    const char *name; /* "sealed-file", ... */
    bool immediate;   /* wrap and unwrap never wait: they are called where they are needed */

    enum status (*wrap)(struct keymanager *self, const struct wrap_binding *binding,
                        const struct secret *plaintext, struct buffer *ret_wrapped);
    enum status (*unwrap)(struct keymanager *self, const struct wrap_binding *binding,
                          struct wrapped wrapped, struct secret *ret_plaintext,
                          struct buffer *ret_rewrapped);
    enum status (*rewrap)(struct keymanager *self, const struct wrap_binding *binding,
                          struct wrapped wrapped, struct buffer *ret_wrapped);
    void (*submit)(struct keymanager *self, struct keymanager_job *jobs); /* (NULL) */

    enum status (*create_root_key)(struct keymanager *self, const struct root_key_wish *wish,
                                   struct uuid *ret_root_key, struct error *error);
    enum status (*rotate)(struct keymanager *self, const struct uuid *root_key, uint32_t from,
                          const struct secret *material, int64_t now, struct error *error);
    enum status (*set_state)(struct keymanager *self, const struct uuid *root_key,
                             enum root_key_state state, struct error *error);
    enum status (*delete)(struct keymanager *self, const struct uuid *root_key, int64_t now,
                          struct error *error);
    enum status (*restore)(struct keymanager *self, const struct uuid *root_key,
                           struct error *error);
    enum status (*purge)(struct keymanager *self, const struct uuid *root_key,
                         struct error *error);
    enum status (*root_key_info)(struct keymanager *self, const struct uuid *root_key,
                                 struct root_key_info *ret_info);
    enum status (*root_keys)(struct keymanager *self, keymanager_visit_root_key *visit,
                             void *context);
    enum status (*is_newest)(struct keymanager *self, struct wrapped wrapped, bool *ret_newest);
    enum status (*check)(struct keymanager *self, struct error *error);

    enum status (*record_put)(struct keymanager *self, const char *name, struct bytes record,
                              struct uuid *ret_id, struct error *error);               /* (NULL) */
    enum status (*record_get)(struct keymanager *self, const struct uuid *id,
                              struct buffer *ret_record, struct error *error);         /* (NULL) */
    enum status (*record_delete)(struct keymanager *self, const struct uuid *id,
                                 struct error *error);                                 /* (NULL) */
    enum status (*records)(struct keymanager *self, const char *prefix,
                           keymanager_visit_record *visit, void *context,
                           struct error *error);                                       /* (NULL) */
    void (*close)(struct keymanager *self);
};

/* The first member of every provider's own struct. */
struct keymanager {
    const struct keymanager_provider *provider;
    enum keymanager_code code; /* what it is opened as; stands in the blobs it makes */
};

/* ---- Wrapping ---- */

/*
 * Appends the wrapped form of `plaintext` (at most 1 MiB; at most WRAPPED_OVERHEAD_MAX bytes
 * longer) to `ret_wrapped`, under the newest version of the binding's root key. WRAP_FAILED.
 */
enum status keymanager_wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                            const struct secret *plaintext, struct buffer *ret_wrapped) MUST_USE;

/*
 * Opens a wrapped blob under the root key version it names. The caller frees *ret_plaintext. Where
 * that version is not the newest, and the key manager offers it at no extra cost, the same key
 * under the newest one is appended to ret_rewrapped (may be NULL).
 * UNWRAP_FAILED: changed, or bound to something else; ROOT_KEY_UNAVAILABLE also when the root key
 * has no such version (the key manager was restored from before a rotation).
 */
enum status keymanager_unwrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                              struct wrapped wrapped, struct secret *ret_plaintext,
                              struct buffer *ret_rewrapped) MUST_USE;

/* Appends the same key under the newest version; nothing when it is under that one already. As
 * keymanager_unwrap(). The plaintext does not come out. */
enum status keymanager_rewrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                              struct wrapped wrapped, struct buffer *ret_wrapped) MUST_USE;

/*
 * Hands over a list of jobs (by `next`, which is the key manager's afterwards), which are in work
 * together; never waits. Where the provider has no `submit`, they are done before it returns.
 */
void keymanager_submit(struct keymanager *keymanager, struct keymanager_job *jobs);

/* ---- Root keys ---- */

/* A root key that is not there is ROOT_KEY_UNAVAILABLE, unless another status is named for it. */

/*
 * Makes a root key inside the key manager, or imports one; durable before it returns. May be
 * repeated with the same wish (all of it, the time too) after KEY_MANAGER_UNAVAILABLE: only one is
 * made. EXISTS: the identifier is another's, or of a deleted one. INVALID_ARGUMENT: material of another size than 16, 24 or 32 bytes.
 */
enum status keymanager_create_root_key(struct keymanager *keymanager,
                                       const struct root_key_wish *wish,
                                       struct uuid *ret_root_key, struct error *error) MUST_USE;

/*
 * Gives the root key a version more, which all wraps from now on use; older ones unwrap as before.
 * `from` is the version that the caller knows as the newest: CONFLICT when it is not (somebody
 * else rotated, or a repeated call has been carried out already). `material` for an imported root
 * key, NULL for a generated one; INVALID_ARGUMENT otherwise. ROOT_KEY_UNAVAILABLE: not ACTIVE.
 */
enum status keymanager_rotate(struct keymanager *keymanager, const struct uuid *root_key,
                              uint32_t from, const struct secret *material, int64_t now,
                              struct error *error) MUST_USE;

/* Disables (SUSPENDED) or enables (ACTIVE) it. Fine where it is so already. CONFLICT: deleted. */
enum status keymanager_set_state(struct keymanager *keymanager, const struct uuid *root_key,
                                 enum root_key_state state, struct error *error) MUST_USE;

/* Deletes it: nothing wraps or unwraps with it, but it can be restored until it is purged. */
enum status keymanager_delete(struct keymanager *keymanager, const struct uuid *root_key,
                              int64_t now, struct error *error) MUST_USE;
/* Takes the deletion back: it is ACTIVE. CONFLICT: not deleted. NOT_FOUND: purged, or none. */
enum status keymanager_restore(struct keymanager *keymanager, const struct uuid *root_key,
                               struct error *error) MUST_USE;
/* Erases the material of a deleted root key, for good, from everything the key manager keeps.
 * CONFLICT: not deleted. FEATURE_NOT_SUPPORTED: the service does that by itself. */
enum status keymanager_purge(struct keymanager *keymanager, const struct uuid *root_key,
                             struct error *error) MUST_USE;

/* STATUS_NOT_FOUND if there is no such root key (that a service does not show one is the same). */
enum status keymanager_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                                     struct root_key_info *ret_info) MUST_USE;
/* Visits all root keys, destroyed ones too; the visitor returns false to stop. */
enum status keymanager_root_keys(struct keymanager *keymanager, keymanager_visit_root_key *visit,
                                 void *context) MUST_USE;
/* Whether a blob is under the newest version of its root key. */
enum status keymanager_is_newest(struct keymanager *keymanager, struct wrapped wrapped,
                                 bool *ret_newest) MUST_USE;
/* Whether it could work now; the text says what is wrong and what to do. */
enum status keymanager_check(struct keymanager *keymanager, struct error *error) MUST_USE;

/* ---- Records ---- */

/*
 * A key manager may also keep records: bytes under a name, where the administrator sees each and
 * can take it out of service (Key Protect: standard keys). FEATURE_NOT_SUPPORTED where it does
 * not: keymanager_keeps_records() tells.
 */
bool keymanager_keeps_records(const struct keymanager *keymanager);
/* Keeps `record` (at most KEYMANAGER_RECORD_MAX bytes), durable before it returns. Names are not
 * unique there; a repeated call after KEY_MANAGER_UNAVAILABLE finds the one with the same name and
 * content rather than making a second. */
enum status keymanager_record_put(struct keymanager *keymanager, const char *name,
                                  struct bytes record, struct uuid *ret_id,
                                  struct error *error) MUST_USE;
/* NOT_FOUND, also for a deleted one. */
enum status keymanager_record_get(struct keymanager *keymanager, const struct uuid *id,
                                  struct buffer *ret_record, struct error *error) MUST_USE;
/* Fine when it is deleted already. */
enum status keymanager_record_delete(struct keymanager *keymanager, const struct uuid *id,
                                     struct error *error) MUST_USE;
/* Visits all records whose name begins with `prefix`, in any state. */
enum status keymanager_records(struct keymanager *keymanager, const char *prefix,
                               keymanager_visit_record *visit, void *context,
                               struct error *error) MUST_USE;

/* Wipes and frees everything. NULL is fine. No job may be in work. */
void keymanager_close(struct keymanager *keymanager);

#endif
