/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside src/kms/: the open database, its one writer and its readers.
 *
 * There is no thread of its own. Who has something to write puts it in a list; the first of those
 * who wait carries out all that is in the list in one transaction, each change in a savepoint, and
 * commits once for all.
 */
#ifndef KMIPD_KMS_DATABASE_H
#define KMIPD_KMS_DATABASE_H

#include <pthread.h>
#include <stdatomic.h>

#include "sqlite/db.h"
#include "kms/kms.h"

#define KMS_READERS_MAX 8

struct kms_cache;

/* A change: is called inside of the transaction and may be called again when the first attempt was
 * rolled back, so it must not leave traces but in the database and its own outputs. */
typedef enum status kms_change(struct db *db, void *argument);

struct kms_write;

struct kms {
    pthread_mutex_t lock;    /* guards all up to the next comment */
    pthread_cond_t written;  /* a group has ended */
    pthread_cond_t returned; /* a reader has come back */
    struct kms_write *waiting;
    struct kms_write **waiting_end;
    bool writing;
    struct db *readers[KMS_READERS_MAX]; /* idle ones */
    size_t idle;
    size_t opened;
    /* Of whoever has set `writing`. */
    struct db writer;
    bool refusing; /* what is on disk is unknown after a failed sync: reopen */
    struct kms_cache *cache;
    _Atomic uint64_t instance_generation; /* any thread's */
    int lock_file;
    char *path;
};

/* What a change touches besides its rows. */
enum kms_effect {
    KMS_PLAIN = 0,
    KMS_CHANGES_ROOT_KEYS = 1, /* what kms_cache keeps */
};

/* Has `change` carried out and waits until it is on stable storage. */
enum status kms_write(struct kms *kms, unsigned effects, kms_change *change,
                      void *argument) MUST_USE;

/* The same, where the change itself sets *effects before it returns STATUS_OK. */
enum status kms_write_deciding(struct kms *kms, const unsigned *effects, kms_change *change,
                               void *argument) MUST_USE;

/* A connection for reading, waited for where all are in use. End: kms_read_end(). */
enum status kms_read_begin(struct kms *kms, struct db **ret_db) MUST_USE;
void kms_read_end(struct kms *kms, struct db *db);

/* ---- schema.c ---- */

#define KMS_APPLICATION_ID 0x4B4D5331 /* "KMS1" */

extern const char *const kms_migrations[]; /* [n] leads from version n to n + 1 */
extern const int kms_schema_version;

#endif
