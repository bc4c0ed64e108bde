/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key manager as far away as Key Protect: wraps in envelopes, works on a thread of its own, takes
 * its time, keeps records, and does what a test tells it to do wrong. Its own root keys are in
 * memory.
 */
#ifndef KMIPD_TESTS_SLOW_KEYMANAGER_H
#define KMIPD_TESTS_SLOW_KEYMANAGER_H

#include <stdatomic.h>

#include "keymanager/keymanagers.h"

#define SLOW_TASKS   4 /* enum keymanager_task */
#define SLOW_RECORDS 256

struct slow_record {
    struct uuid id;
    char name[91];
    struct buffer bytes;
    bool deleted;
};

struct slow_keymanager;

/* What it does. All of it may be changed at any time. */
struct slow_script {
    _Atomic unsigned delay; /* milliseconds that a job takes */
    _Atomic bool holding;   /* no job ends, but by its deadline, until it is false again */
    _Atomic enum status fail[SLOW_TASKS]; /* how jobs end instead */
    _Atomic int fail_left[SLOW_TASKS];    /* so many of them; -1: all */
    _Atomic bool empty;                   /* what it gives out has no bytes */
    _Atomic bool another;                 /* it gives out a blob that is another object's */
    _Atomic bool newer;                   /* an unwrap brings the key under a newer version too */
    _Atomic enum status delete_fails;
    _Atomic unsigned asked[SLOW_TASKS]; /* jobs that were submitted */
    _Atomic unsigned background;        /* of them */
    _Atomic unsigned most;              /* jobs in flight at one time */
    _Atomic unsigned deletes;           /* of records that were tried */
};

struct slow_keymanager *slow_open(enum keymanager_code code);
void slow_close(struct slow_keymanager *slow);
struct keymanager *slow_keymanager(struct slow_keymanager *slow);
struct slow_script *slow_script(struct slow_keymanager *slow);

/* A root key of it. */
struct uuid slow_root_key(struct slow_keymanager *slow);

/* Suspends or enables a root key. */
void slow_set_state(struct slow_keymanager *slow, const struct uuid *root_key,
                    enum root_key_state state);

/* Lets jobs that are held go on. */
void slow_release(struct slow_keymanager *slow);

/* Copies a record, the newest being 0; false if there are not so many. The bytes are borrowed. */
bool slow_record(struct slow_keymanager *slow, size_t index, struct slow_record *ret_record);

/* How many records there are that are not deleted. */
size_t slow_records(struct slow_keymanager *slow);

#endif
