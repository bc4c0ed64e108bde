/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys with their versions, aliases and payloads, key rings, policies and import tokens, in
 * keys.db. Threads and errors: kms/kms.h. What is done with a key, and when it may be done, is
 * decided in src/api/; here is what stands.
 */
#ifndef KMIPD_KMS_KEYS_H
#define KMIPD_KMS_KEYS_H

#include "base/buffer.h"
#include "kms/kms.h"

#define KMS_KEY_NAME_MAX         360  /* bytes: 90 characters of UTF-8 */
#define KMS_KEY_DESCRIPTION_MAX  960  /* 240 characters */
#define KMS_KEY_TAGS_MAX         3660 /* 30 of 30 characters, and what is between them */
#define KMS_ALIAS_MAX            90
#define KMS_ACTOR_MAX            63 /* "iam-ServiceId-<uuid>" */
#define KMS_ALIASES_PER_INSTANCE 1000
#define KMS_RINGS_MAX            50
#define KMS_RING_DEFAULT         "default"

/* The numbers of Key Protect, and one for a root key that is being made: no such row is found or
 * listed but by kms_root_keys(). */
enum kms_key_state {
    KMS_KEY_PLANNED = -1,
    KMS_KEY_PRE_ACTIVE = 0,
    KMS_KEY_ACTIVE = 1,
    KMS_KEY_SUSPENDED = 2,
    KMS_KEY_DEACTIVATED = 3,
    KMS_KEY_DESTROYED = 5,
};

/* Times are milliseconds since 1970; 0: never. Lists in texts are separated by '\n'. */
struct kms_key {
    struct uuid id;
    enum kms_key_state state;
    int reason;       /* why it is not active: nonactiveStateReason */
    bool extractable; /* a standard key; false: a root key */
    bool imported;
    unsigned bits; /* of the key; of a standard key's payload */
    char name[KMS_KEY_NAME_MAX + 1];
    char description[KMS_KEY_DESCRIPTION_MAX + 1];
    char tags[KMS_KEY_TAGS_MAX + 1];
    char aliases[KMS_ALIASES_PER_KEY * (KMS_ALIAS_MAX + 1) + 1];
    char ring[KMS_KEY_RING_MAX + 1];
    int64_t created;
    char created_by[KMS_ACTOR_MAX + 1];
    int64_t updated;
    int64_t rotated;
    int64_t expiration;
    int64_t expired; /* when it became deactivated for that */
    int64_t deleted;
    char deleted_by[KMS_ACTOR_MAX + 1];
    int64_t set_for_deletion; /* dual authorization: the first one was given then */
    char set_for_deletion_by[KMS_ACTOR_MAX + 1];
    /* Read with it, and changed by functions of their own. */
    struct uuid version; /* the newest; of a standard key its own identifier */
    uint32_t version_number;
    int64_t version_created;
    bool rotation_set;
    bool rotation_enabled;
    unsigned rotation_months;
    bool dual_set;
    bool dual_enabled;
};

/* ---- Policies of keys ---- */

enum kms_policy_kind { KMS_POLICY_ROTATION = 1, KMS_POLICY_DUAL_AUTH_DELETE = 2 };
#define KMS_POLICY_KINDS 2

struct kms_policy {
    enum kms_policy_kind kind;
    bool enabled;
    unsigned months; /* of 30 days, between two rotations; kept while it is not enabled */
    int64_t created;
    char created_by[KMS_ACTOR_MAX + 1];
    int64_t updated;
    char updated_by[KMS_ACTOR_MAX + 1];
};

/* Puts policies in the place of those of the same kinds; who made those, and when, stays. One
 * transaction. NOT_FOUND: no such key. */
enum status kms_policies_put(struct kms *kms, const struct uuid *key,
                             const struct kms_policy *policies, size_t count) MUST_USE;
/* In the order of their kinds. */
enum status kms_policies(struct kms *kms, const struct uuid *key,
                         struct kms_policy ret_policies[static KMS_POLICY_KINDS],
                         size_t *ret_count) MUST_USE;

/* ---- Keys ---- */

/* What stands with a new key. */
struct kms_key_parts {
    struct wrapped payload; /* of a standard key */
    const struct kms_policy *policies;
    size_t policy_count;
};

/*
 * Inserts a key with its aliases and, for a root key, its first version, whose identifier is the
 * key's own. NOT_FOUND: no such key ring; NAME_EXISTS: an alias is another key's;
 * INDEX_OUT_OF_BOUNDS: too many aliases in the instance; EXISTS: the identifier is taken.
 */
enum status kms_key_insert(struct kms *kms, const struct kms_key *key,
                           const struct kms_key_parts *parts) MUST_USE;

/* By the text of its identifier, or by an alias. A root key that was asked for before costs no
 * reading. NOT_FOUND. */
enum status kms_key_find(struct kms *kms, const char *id_or_alias,
                         struct kms_key *ret_key) MUST_USE;
enum status kms_key_get(struct kms *kms, const struct uuid *id, struct kms_key *ret_key) MUST_USE;

/* Changes `key`, or refuses with a status that is not of the store's failures. May be called more
 * than once, with the row as it then stands. */
typedef enum status kms_change_key(struct kms_key *key, void *context);
/*
 * Reads a key, has it changed, and writes all but identifier, aliases, version and policies; one
 * transaction. *ret_key (may be NULL): as it stands then. NOT_FOUND: the key (a planned one is
 * found here), or the key ring that was put in; else what `change` returned.
 */
enum status kms_key_change(struct kms *kms, const struct uuid *id, kms_change_key *change,
                           void *context, struct kms_key *ret_key) MUST_USE;

/* Appends the wrapped payload of a standard key. NOT_FOUND. */
enum status kms_key_payload(struct kms *kms, const struct uuid *id,
                            struct buffer *ret_wrapped) MUST_USE;
/* Puts another one in its place. NOT_FOUND. */
enum status kms_key_payload_put(struct kms *kms, const struct uuid *id,
                                struct wrapped payload) MUST_USE;
/* Removes the row with all that belongs to it; what it held on disk is overwritten. NOT_FOUND. */
enum status kms_key_purge(struct kms *kms, const struct uuid *id) MUST_USE;

typedef bool kms_visit_key(void *context, const struct kms_key *key);
/* All root keys in any state, planned ones too. Return false to stop; the visitor must not call
 * functions of kms. */
enum status kms_root_keys(struct kms *kms, kms_visit_key *visit, void *context) MUST_USE;

/* What is due at a time, for housekeeping. */
enum kms_due {
    KMS_DUE_EXPIRATION, /* the expiration date has passed, and the key is not deactivated */
    KMS_DUE_PURGE,      /* deleted before `time` */
    KMS_DUE_ROTATION,   /* a policy's interval of days has passed since the last version */
};
/* At most `capacity` keys. */
enum status kms_keys_due(struct kms *kms, enum kms_due due, int64_t time, size_t capacity,
                         struct uuid *ret_keys, size_t *ret_count) MUST_USE;

/* ---- Versions ---- */

struct kms_version {
    struct uuid id;
    uint32_t number; /* from 1 */
    int64_t created;
};

/* Notes the version that a rotation is about to make, in the place of one noted before. It does
 * not count until kms_version_confirm(). NOT_FOUND; CONFLICT: there is that version. */
enum status kms_version_plan(struct kms *kms, const struct uuid *key,
                             const struct kms_version *version) MUST_USE;
/* The rotation has happened: the noted version, which must have this number, is the newest.
 * `key.rotated` and `key.updated` become its time. NOT_FOUND: none was noted. */
enum status kms_version_confirm(struct kms *kms, const struct uuid *key, uint32_t number) MUST_USE;
/* The rotation has not happened. Fine where none was noted. */
enum status kms_version_forget(struct kms *kms, const struct uuid *key) MUST_USE;
/* The one noted. NOT_FOUND. */
enum status kms_version_planned(struct kms *kms, const struct uuid *key,
                                struct kms_version *ret_version) MUST_USE;
/* NOT_FOUND. */
enum status kms_version_by_number(struct kms *kms, const struct kms_key *key, uint32_t number,
                                  struct uuid *ret_id) MUST_USE;
typedef bool kms_visit_version(void *context, const struct kms_version *version);
/* A root key's, newest first. */
enum status kms_versions(struct kms *kms, const struct uuid *key, int64_t limit, int64_t offset,
                         kms_visit_version *visit, void *context, int64_t *ret_total) MUST_USE;

/* ---- Aliases ---- */

/* NAME_EXISTS: an alias of another key, or of this one; INDEX_OUT_OF_BOUNDS: this key, or the
 * instance, has too many; NOT_FOUND: no such key. */
enum status kms_alias_insert(struct kms *kms, const struct uuid *key, const char *alias,
                             int64_t now, const char *actor) MUST_USE;
/* NOT_FOUND: the key has none such. */
enum status kms_alias_delete(struct kms *kms, const struct uuid *key, const char *alias) MUST_USE;

/* ---- Key rings ---- */

struct kms_ring {
    char id[KMS_KEY_RING_MAX + 1];
    int64_t created; /* 0 for the default one */
    char created_by[KMS_ACTOR_MAX + 1];
};

/* EXISTS; INDEX_OUT_OF_BOUNDS: there are KMS_RINGS_MAX. */
enum status kms_ring_insert(struct kms *kms, const struct kms_ring *ring) MUST_USE;
/* CONFLICT: keys are in it; with `force` destroyed ones do not count, and go to the default one.
 * NOT_FOUND. The default one must not be given. */
enum status kms_ring_delete(struct kms *kms, const char *id, bool force) MUST_USE;
typedef bool kms_visit_ring(void *context, const struct kms_ring *ring);
/* The default one first, then by name. */
enum status kms_rings(struct kms *kms, kms_visit_ring *visit, void *context) MUST_USE;

/* ---- Listing ---- */

enum kms_property {
    KMS_BY_ID,
    KMS_BY_STATE,
    KMS_BY_EXTRACTABLE,
    KMS_BY_IMPORTED,
    KMS_BY_CREATION,
    KMS_BY_UPDATE,
    KMS_BY_ROTATION,
    KMS_BY_DELETION,
    KMS_BY_EXPIRATION,
};

enum kms_operator {
    KMS_EQUAL,
    KMS_LESS,
    KMS_LESS_OR_EQUAL,
    KMS_GREATER,
    KMS_GREATER_OR_EQUAL,
    KMS_NONE, /* a time that there is not */
};

/* Times are compared by seconds, as they are shown; where there is none, only NONE fits. */
struct kms_condition {
    enum kms_property property;
    enum kms_operator operator;
    int64_t value;
};

#define KMS_CONDITIONS_MAX   32
#define KMS_SORT_MAX         8
#define KMS_SEARCH_MAX       ((int64_t)5000) /* keys that may be searched through */
#define KMS_STATE_BIT(state) (1u << (state))
#define KMS_STATES_LISTED    0x0Fu /* all but destroyed */

struct kms_search {
    const char *text; /* NULL: none */
    bool names;
    bool aliases;
    bool exact;
    bool negated;
};

struct kms_key_query {
    unsigned states;          /* bits; 0: any */
    int extractable;          /* -1: any */
    const char *const *rings; /* those to look in; */
    size_t ring_count;        /* 0: all */
    struct kms_search search;
    struct kms_condition conditions[KMS_CONDITIONS_MAX]; /* all must hold */
    size_t condition_count;
    struct {
        enum kms_property property;
        bool descending;
    } sort[KMS_SORT_MAX]; /* none: by identifier */
    size_t sort_count;
    int64_t limit;
    int64_t offset;
};

/* A page, and how many match in all. `visit` NULL: only that. TOO_LARGE: a search through more
 * than KMS_SEARCH_MAX keys. As kms_root_keys(). */
enum status kms_keys(struct kms *kms, const struct kms_key_query *query, kms_visit_key *visit,
                     void *context, int64_t *ret_total) MUST_USE;

/* ---- Policies of the instance ---- */

enum kms_instance_policy_kind {
    KMS_INSTANCE_ALLOWED_NETWORK = 1,
    KMS_INSTANCE_DUAL_AUTH_DELETE,
    KMS_INSTANCE_ALLOWED_IP,
    KMS_INSTANCE_KEY_CREATE_IMPORT_ACCESS,
    KMS_INSTANCE_METRICS,
    KMS_INSTANCE_ROTATION,
};
#define KMS_INSTANCE_POLICIES 6
#define KMS_INSTANCE_TEXT_MAX 32767

struct kms_instance_policy {
    enum kms_instance_policy_kind kind;
    bool enabled;
    int64_t number; /* its attributes: months, or flags; meaning is the caller's */
    char text[KMS_INSTANCE_TEXT_MAX + 1];
    int64_t created;
    char created_by[KMS_ACTOR_MAX + 1];
    int64_t updated;
    char updated_by[KMS_ACTOR_MAX + 1];
};

/* As kms_policies_put(). */
enum status kms_instance_policies_put(struct kms *kms, const struct kms_instance_policy *policies,
                                      size_t count) MUST_USE;
/* A number that is another one after every change of them. Never blocks. */
uint64_t kms_instance_policies_generation(struct kms *kms);
/* NOT_FOUND: it was never set. */
enum status kms_instance_policy(struct kms *kms, enum kms_instance_policy_kind kind,
                                struct kms_instance_policy *ret_policy) MUST_USE;

/* ---- The import token ---- */

#define KMS_PUBLIC_KEY_MAX  1024 /* bytes of PEM */
#define KMS_PRIVATE_KEY_MAX 8192 /* wrapped */
#define KMS_NONCE_SIZE      16

struct kms_import_token {
    struct uuid id;
    int64_t created;
    int64_t expires;
    int64_t retrievals;
    int64_t remaining;
    char public_key[KMS_PUBLIC_KEY_MAX + 1];  /* PEM */
    uint8_t private_key[KMS_PRIVATE_KEY_MAX]; /* PKCS #1, wrapped */
    size_t private_key_size;
    uint8_t nonce[KMS_NONCE_SIZE];
};

/* In the place of the one before. */
enum status kms_import_token_put(struct kms *kms, const struct kms_import_token *token) MUST_USE;
/* NOT_FOUND. */
enum status kms_import_token_get(struct kms *kms, struct kms_import_token *ret_token) MUST_USE;
/* Takes one retrieval. NOT_FOUND; CONFLICT: expired at `now`, or none is left. */
enum status kms_import_token_retrieve(struct kms *kms, int64_t now,
                                      struct kms_import_token *ret_token) MUST_USE;
/* Removes it if it expired before `time`. */
enum status kms_import_token_expire(struct kms *kms, int64_t time) MUST_USE;

#endif
