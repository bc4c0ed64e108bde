/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyholder process from kmipd's side: started, kept running, and spoken to. Root keys of the
 * sealed file and of the HSM are in that process alone; the key managers that this gives pass on
 * what is asked of them.
 *
 * All requests of all threads are in flight together on one socket. Should the process end, it is
 * started again, at first at once, then after 50 ms, later up to 5 s; what was in flight is sent
 * again. A request that has no answer when its deadline comes ends with KEY_MANAGER_UNAVAILABLE; one
 * without a deadline ends so when the process has given no sign of life for `patience`.
 */
#ifndef KMIPD_KEYMANAGER_KEYHOLDER_CLIENT_H
#define KMIPD_KEYMANAGER_KEYHOLDER_CLIENT_H

#include <sys/types.h>

#include "keymanager/keyholder_protocol.h"

struct keyholder;

enum keyholder_event {
    KEYHOLDER_STARTED, /* it is ready; text: its process identifier, and what it says of itself */
    KEYHOLDER_ENDED,   /* it ended, and will be started again; text: why, and when */
    KEYHOLDER_FAILED,  /* it cannot be started, and will be tried again; text: why, and when */
    KEYHOLDER_GONE,    /* it ended, and cannot be started again without a person: kmipd must be */
};

struct keyholder_options {
    struct keyholder_settings settings;
    const char *program; /* NULL: this one (/proc/self/exe); called as `PROGRAM keyholder` */
    int64_t patience;    /* milliseconds; 0: 2,000 */
    /* Called from the keyholder's thread; must not block for long. The text is one line. */
    void (*event)(void *context, enum keyholder_event event, const char *text); /* may be NULL */
    void *context;
};

/*
 * Starts the process and waits until it is ready; that may take half a second for a passphrase, and
 * as long as a person takes where one is asked for. Copies the options. Errors are those of
 * opening the sealed file and the HSM (sealed_file_open(), pkcs11_open()) with their texts, and
 * IO where the process cannot be started. Nothing is left of it then.
 */
enum status keyholder_open(const struct keyholder_options *options,
                           struct keyholder **ret_keyholder, struct error *error) MUST_USE;

/*
 * Its key manager of this code, KEYMANAGER_SEALED_FILE or KEYMANAGER_PKCS11; NULL where the
 * settings name none. It is the keyholder's: keymanager_close() does nothing. To all that is asked
 * of it after keyholder_stop() the answer is KEY_MANAGER_UNAVAILABLE.
 */
struct keymanager *keyholder_keymanager(struct keyholder *keyholder, enum keymanager_code code);

struct keyholder_status {
    pid_t pid;          /* 0: it does not run */
    bool ready;
    uint64_t starts;    /* how often it was started; 1: it never ended */
    uint64_t in_flight; /* requests without an answer */
    struct keyholder_counters counters; /* since it was last started; as of a second ago */
};

/* Any thread; does not wait. */
void keyholder_status(struct keyholder *keyholder, struct keyholder_status *ret_status);

/* Ends the process and waits for its end; what is in flight ends with KEY_MANAGER_UNAVAILABLE. The
 * key managers may still be called. Any thread, once. NULL is fine. */
void keyholder_stop(struct keyholder *keyholder);

/* keyholder_stop() where that was not called, and frees everything: the key managers too, which
 * nobody may be using. NULL is fine. */
void keyholder_free(struct keyholder *keyholder);

#endif
