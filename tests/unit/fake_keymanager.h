/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key manager somewhere else, in memory: answers after a while, many at once, makes envelopes,
 * keeps records; and fails, lies and forgets as it is told to.
 */
#ifndef KMIPD_TESTS_FAKE_KEYMANAGER_H
#define KMIPD_TESTS_FAKE_KEYMANAGER_H

#include "keymanager/keymanager.h"

struct keymanager *fake_open(enum keymanager_code code, int delay_ms);

/* What everything answers from now on; STATUS_OK: it works. */
void fake_fail(struct keymanager *keymanager, enum status status);
/* Fails every n-th job with `status`; 0: none. */
void fake_fail_some(struct keymanager *keymanager, unsigned n, enum status status);
/* From now on what it wraps cannot be opened. */
void fake_lie(struct keymanager *keymanager, bool lies);
/* Jobs are kept, and not answered, until it is false again. */
void fake_hold(struct keymanager *keymanager, bool holds);

unsigned fake_jobs_done(struct keymanager *keymanager);
unsigned fake_most_in_flight(struct keymanager *keymanager);
size_t fake_record_count(struct keymanager *keymanager); /* in service */
/* Puts the record of this name into a state (ROOT_KEY_ACTIVE, ...). False: there is none. */
bool fake_record_set_state(struct keymanager *keymanager, const char *name,
                           enum root_key_state state);
/* Calls `step` (NULL: nobody) before and after a record is put, and before and after a listing, on
 * the thread that does it. */
enum fake_moment { FAKE_PUT, FAKE_PUT_DONE, FAKE_LIST, FAKE_LIST_DONE };
typedef void fake_step(void *context, enum fake_moment moment);
void fake_watch(struct keymanager *keymanager, fake_step *step, void *context);
/* The record in service with this name. */
bool fake_record_find(struct keymanager *keymanager, const char *name, struct uuid *ret_id);

#endif
