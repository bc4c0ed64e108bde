/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in the token (docs/formats.md, "Objects in an HSM"). Each version of a root key is
 * one AES key, and its CKA_ID says all about it: so a rotation is the making of one object, whole
 * or not there. Beside them, a root key whose state is not simply active has a data object with
 * its state. A change of that makes the next one before the former is destroyed; of several, the
 * newest counts. What a crash leaves is therefore always a state from before or after a change.
 *
 * All functions are operations in the sense of pkcs11_token.h, or parts of one.
 */
#ifndef KMIPD_KEYHOLDER_PKCS11_OBJECTS_H
#define KMIPD_KEYHOLDER_PKCS11_OBJECTS_H

#include "keyholder/pkcs11_token.h"
#include "keymanager/keymanager.h"

#define PKCS11_TAG_SIZE  7
#define PKCS11_SAME_MAX  8 /* keys of one version: more than one where endpoints rotated at once */

/* Random: tells keys apart that two endpoints made as the same version. */
struct pkcs11_tag {
    uint8_t bytes[PKCS11_TAG_SIZE];
};

struct pkcs11_key {
    struct uuid root_key;
    uint32_t version;
    int64_t created; /* milliseconds since 1970 */
    bool imported;
    struct pkcs11_tag tag;
    ck_object_handle_t handle;
};

/* Makes `key` in the token, or imports `material` (may be NULL) as it; nothing that can be taken
 * out again. Fills in the handle. */
ck_rv_t pkcs11_key_make(const struct pkcs11_session *session, struct pkcs11_key *key,
                        const struct secret *material) MUST_USE;

/* The keys of one version. A key that could be taken out of the token is none of ours. */
ck_rv_t pkcs11_keys_find(const struct pkcs11_session *session, const struct uuid *root_key,
                         uint32_t version, struct pkcs11_key ret_keys[static PKCS11_SAME_MAX],
                         size_t *ret_count) MUST_USE;

/* Fine where it is destroyed already. */
ck_rv_t pkcs11_object_destroy(const struct pkcs11_session *session,
                              ck_object_handle_t object) MUST_USE;

/* The data object. Where there is none, `info` is to be taken from the keys. */
struct pkcs11_note {
    uint64_t generation; /* 0: there is none */
    struct root_key_info info;
};

/* Also removes notes that are older than the newest. */
ck_rv_t pkcs11_note_read(const struct pkcs11_session *session, const struct uuid *root_key,
                         struct pkcs11_note *ret_note) MUST_USE;
/* Writes the generation after `note->generation`, and removes all before. */
ck_rv_t pkcs11_note_write(const struct pkcs11_session *session,
                          const struct pkcs11_note *note) MUST_USE;

/* The identifiers of all root keys that have a key or a note in the token, each once, as struct
 * uuid one behind the other. CKR_HOST_MEMORY also where there are too many for the buffer. */
ck_rv_t pkcs11_ids_find(const struct pkcs11_session *session, struct buffer *ret_ids) MUST_USE;

#endif
