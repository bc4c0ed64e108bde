/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the keyholder's client know of each other. Inside src/keymanager/ only. */
#ifndef KMIPD_KEYMANAGER_KEYHOLDER_PARTS_H
#define KMIPD_KEYMANAGER_KEYHOLDER_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "keymanager/keyholder_client.h"

#define KEYHOLDER_ROOM (KEYHOLDER_FRAME_MAX + ((size_t)64 << 10)) /* for what goes and comes */

/* ---- Transfers: requests on their way (keyholder_transfer.c) ---- */

struct transfer_queue;

struct transfer {
    struct keyholder_request request; /* its bytes are somebody else's until `finish` */
    /* Runs once, without a lock held, in the keyholder's thread or the submitting one (for LIST
     * once for each answer). An answer without its bytes where there came none. */
    void (*finish)(struct transfer *transfer, const struct keyholder_answer *answer);
    int64_t submitted;
    bool own_deadline; /* the deadline is the caller's */
    unsigned sends;    /* how often it was put on the socket */
    struct transfer_queue *queue; /* where it waits to be sent; NULL: sent */
    struct transfer *next;
    struct transfer *previous;
};

struct transfer_queue {
    struct transfer *first;
    struct transfer *last;
};

/* A place in the table of transfers; its number and how often it was used make a request's. */
struct transfer_slot {
    struct transfer *transfer; /* NULL: free */
    uint32_t uses;
    uint32_t next_free; /* place + 1; 0: none */
};

/* Of one keyholder. Its `lock` guards all. */
struct transfers {
    pthread_mutex_t lock;
    bool closed; /* nothing is taken any more */
    struct transfer_slot *slots;
    uint32_t slot_count;
    uint32_t first_free; /* place + 1 */
    size_t count;        /* in flight or waiting to be sent */
    size_t background_sent;
    struct transfer_queue foreground;
    struct transfer_queue background;
    int socket;         /* -1: nothing can be sent now */
    int wake;           /* eventfd of the keyholder's thread */
    struct buffer out;  /* locked memory; from out_start on not sent yet */
    size_t out_start;
    bool full;   /* the socket takes no more for the moment */
    bool active; /* something was sent or answered since transfers_ping() */
};

/* NO_MEMORY, IO. End: transfers_free(). */
enum status transfers_init(struct transfers *transfers) MUST_USE;
void transfers_free(struct transfers *transfers);

/* Takes a list (by `next`) of new ones, and sends what the socket takes. Never waits. */
void transfers_submit(struct transfers *transfers, struct transfer *list);

/* What comes and goes can do so from now on (a socket), or not (-1): what was sent and has no answer
 * is then to be sent again, but what was sent three times ends. */
void transfers_connect(struct transfers *transfers, int socket);

/* Sends more; when the socket has room again. */
void transfers_flush(struct transfers *transfers);
/* Asks for the counters, if there is reason to: KEYHOLDER_PING as the number. */
void transfers_ping(struct transfers *transfers);
#define KEYHOLDER_PING UINT64_MAX

/* Ends the transfer that an answer is for; MALFORMED: it is of another message. */
enum status transfers_answer(struct transfers *transfers,
                             const struct keyholder_answer *answer) MUST_USE;

/* Ends those whose time has come; `silent` says since when nothing is heard of the process, and
 * `patience` how long that may be. */
void transfers_expire(struct transfers *transfers, int64_t now, int64_t silent, int64_t patience);
/* Ends all; with `close` no new ones are taken. */
void transfers_end_all(struct transfers *transfers, bool close);

/* ---- The process (keyholder_process.c) ---- */

/* Starts `program keyholder` with one end of a new socket, and the environment that it may have;
 * with a module all that is not kmipd's own. IO, with a text. */
enum status keyholder_process_start(const char *program, bool module, pid_t *ret_pid,
                                    int *ret_socket, struct error *error) MUST_USE;

/* Waits for its end, kills it when that has not come after `patience` milliseconds, and says how it
 * ended ("exit code 1", "signal 9 (Killed)"). */
#define KEYHOLDER_END_TEXT 64
void keyholder_process_end(pid_t pid, int64_t patience, char ret_text[static KEYHOLDER_END_TEXT]);

/* ---- Key managers (keyholder_face.c) ---- */

struct keyholder_face {
    struct keymanager keymanager; /* first */
    struct transfers *transfers;
};

void keyholder_face_init(struct keyholder_face *face, enum keymanager_code code,
                         struct transfers *transfers);

#endif
