/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service answers, read into structs. Pure functions over bytes from the network: every
 * field is checked, and what is missing or of another form makes the answer unusable.
 */
#ifndef KMIPD_KEYMANAGER_KEYPROTECT_ANSWER_H
#define KMIPD_KEYMANAGER_KEYPROTECT_ANSWER_H

#include "base/secret.h"
#include "base/uuid.h"
#include "keymanager/keyprotect_json.h"

#define KP_NAME_MAX    90 /* bytes of a key's name */
#define KP_TOKEN_MAX   16384
#define KP_CODE_MAX    64
#define KP_MESSAGE_MAX 200

/* ---- Tokens ---- */

struct kp_token {
    struct secret text; /* goes into a header: visible ASCII alone */
    int64_t lifetime;   /* milliseconds, counted from the request; clocks do not matter */
};

/* False: no token, or not one to be sent on. The caller frees the text. */
bool kp_answer_token(struct bytes body, struct kp_token *ret_token) MUST_USE;

/* ---- Actions ---- */

#define KP_CIPHERTEXT_MAX 2031 /* what the wrapped key of an envelope has room for */
#define KP_PLAINTEXT_MAX  64   /* bytes; an envelope key has 32 */

/* Of wrap, unwrap and rewrap; what is not there is empty. */
struct kp_action {
    char ciphertext[KP_CIPHERTEXT_MAX + 1]; /* letters of base64 and nothing else */
    struct secret plaintext;                /* decoded */
    bool has_version, has_rewrapped;
    struct uuid version;   /* keyVersion.id */
    struct uuid rewrapped; /* rewrappedKeyVersion.id: that of the ciphertext, where it is there */
};
/* The caller frees the plaintext. */
bool kp_answer_action(struct bytes body, struct kp_action *ret_action) MUST_USE;

/* ---- Keys ---- */

/* Times are milliseconds since 1970, 0: not said. */
struct kp_key {
    struct uuid id;
    char name[KP_NAME_MAX + 1]; /* empty where it is longer than names may be */
    int64_t state;    /* 0 pre-active, 1 active, 2 suspended, 3 deactivated, 5 destroyed */
    bool extractable; /* a standard key */
    bool imported;
    bool purged;
    bool has_version;
    struct uuid version; /* keyVersion.id, the newest */
    int64_t created, rotated, deleted;
    struct kp_json whole; /* borrowed from the body */
};

/* Called for each key, where there is one to call; false ends the visit. */
typedef bool kp_visit_key(void *context, const struct kp_key *key);

/* False: not a list of keys. *ret_count: how many stand in it. */
bool kp_answer_keys(struct bytes body, kp_visit_key *visit, void *context,
                    size_t *ret_count) MUST_USE;

/* The one key of an answer. */
bool kp_answer_key(struct bytes body, struct kp_key *ret_key) MUST_USE;

/* Appends the payload of the standard key in the answer, decoded. */
bool kp_answer_payload(struct bytes body, struct buffer *ret_payload) MUST_USE;

/* Whether the description of a key is this one. */
bool kp_key_is_described(const struct kp_key *key, const char *description);

/* How many versions there are (metadata.totalCount of a list of versions), and the newest. */
bool kp_answer_versions(struct bytes body, uint32_t *ret_total, struct uuid *ret_newest) MUST_USE;

/* ---- Refusals ---- */

/* An answer that says why something was not done. */
struct kp_refusal {
    char code[KP_CODE_MAX + 1];       /* "KEY_NOT_FOUND_ERR"; empty: none given */
    char message[KP_MESSAGE_MAX + 1]; /* fit for a log: see kp_answer_refusal() */
};

/*
 * False: the answer is none of the service's; something between may have given it. The message has
 * no control characters, and no word so long that it could be a key or a token.
 */
bool kp_answer_refusal(struct bytes body, struct kp_refusal *ret_refusal) MUST_USE;

/* The same for IAM: errorCode and errorMessage. */
bool kp_answer_iam_refusal(struct bytes body, struct kp_refusal *ret_refusal) MUST_USE;

/* ---- Parts ---- */

/* RFC 3339; fractions are cut off. False for anything else. */
bool kp_time_read(struct bytes text, int64_t *ret_milliseconds) MUST_USE;

/* "application/json" and the service's own types, with or without parameters. */
bool kp_is_json_type(const char *content_type);

#endif
