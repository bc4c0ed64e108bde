/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form in which an object stands in a key manager that keeps records (docs/formats.md,
 * "Records"): all that is needed to put it back into a store that was lost. The key is in it as the
 * wrapped blob that the store has, so that a record opens nothing without the root key.
 */
#ifndef KMIPD_CORE_RECORD_H
#define KMIPD_CORE_RECORD_H

#include "core/core.h"

#define CORE_RECORD_PREFIX    "vmware_kmip-"
#define CORE_RECORD_NAME_SIZE (sizeof(CORE_RECORD_PREFIX) + UUID_TEXT_LENGTH) /* with the NUL */

/* Everything borrowed. */
struct core_record {
    struct uuid object;
    int64_t version; /* of the object's row */
    uint32_t object_type;
    uint32_t state;
    struct uuid adapter;
    struct bytes adapter_name; /* at most STORE_NAME_MAX bytes */
    uint32_t key_manager;      /* the adapter's, enum keymanager_code, and its root key: those of */
    struct uuid root_key;      /* the blob itself may differ while the adapter moves */
    struct bytes attributes;   /* as in object_row */
    struct wrapped wrapped;
};

/* "vmware_kmip-<Unique Identifier>" */
void core_record_name(const struct uuid *object, char ret_name[static CORE_RECORD_NAME_SIZE]);

/* The object that a record's name tells of; false when it is no such name. */
bool core_record_object(const char *name, struct uuid *ret_object) MUST_USE;

/* Appends the record. The buffer's TOO_LARGE or NO_MEMORY; CRYPTO_FAILED. */
enum status core_record_encode(const struct core_record *record, struct buffer *ret_bytes) MUST_USE;

/* Reads one; the result borrows from `bytes`. STORE_NEWER: a form that is newer than this program;
 * STORE_CORRUPT: cut short, changed, or no record. */
enum status core_record_decode(struct bytes bytes, struct core_record *ret_record) MUST_USE;

/*
 * Inserts the object of a record into `adapter` of the store, with its version and terms: what
 * `kmipctl adapter rebuild` does. `where` the record is. Blocks until it is on stable storage.
 * EXISTS: the object is there already; NAME_EXISTS: its Name is another's; INVALID_ARGUMENT: it is
 * of another adapter; STORE_CORRUPT: its attributes cannot be read.
 */
enum status core_record_restore(struct core *core, struct store_session *store,
                                const struct adapter_row *adapter, const struct core_record *record,
                                const struct record_left *where) MUST_USE;

#endif
