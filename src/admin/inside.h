/* SPDX-License-Identifier: Apache-2.0 */
/* What front*.c share. Inside src/admin/ only. */
#ifndef KMIPD_ADMIN_INSIDE_H
#define KMIPD_ADMIN_INSIDE_H

#include <pthread.h>
#include <sys/types.h>

#include "admin/front.h"
#include "admin/link.h"

#define INSIDE_READ_SIZE ((size_t)256 << 10) /* of what is read at once */

/* A frame on its way to the process. */
struct outgoing {
    struct buffer frame;
    size_t sent;
    struct outgoing *next;
};

/* A request from the process; its payload in locked memory, for it may carry key material. */
struct front_job {
    struct api_job job;
    struct admin *admin;
    struct front_job *next; /* among those that are to be used again */
    uint64_t number;
    uint64_t generation; /* of the process that has sent it */
    uint8_t *memory;
    size_t size; /* of memory */
};

enum outcome { OUTCOME_NONE, OUTCOME_READY, OUTCOME_FAILED };

struct admin {
    /* Not changed after admin_open(). */
    struct admin_options options;
    struct api *api;
    char *texts[3]; /* copies of those in options */
    int listener;
    unsigned port;
    int wake; /* eventfd: something is to be sent, or to be done */
    pthread_t thread;
    bool has_thread;

    /* The thread's own. */
    int link; /* -1: no process */
    int64_t started;  /* monotonic milliseconds */
    int64_t start_at; /* when it is started again */
    int64_t delay;    /* before that, the next time */
    uint8_t *input;   /* locked, INSIDE_READ_SIZE */
    size_t input_size;
    struct front_job *large; /* whose frame is being read, larger than `input` */
    struct link_header large_header;
    size_t large_read;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* outcome, or in_flight */
    pid_t pid;
    uint64_t generation; /* counts the processes */
    struct outgoing *first;
    struct outgoing *last;
    struct front_job *spare; /* with memory of the usual size */
    unsigned spare_count;
    size_t in_flight;
    size_t in_flight_bytes;
    uint64_t requests;
    bool closing;
    enum outcome outcome; /* of the last setup or identity */
    struct error failure;
};

/* ---- front_child.c: the process ---- */

/* fork() and exec; the child has `*ret_link`'s other end as LINK_DESCRIPTOR. IO with a text. */
enum status child_start(const char *program, int *ret_link, pid_t *ret_pid,
                        struct error *error) MUST_USE;
/* Ends it for good and waits for it. *ret_text says how it ended. */
void child_end(pid_t pid, char *ret_text, size_t size);
/* Sends the bytes with a descriptor, waiting until they are gone. */
enum status child_send(int link, struct bytes bytes, int descriptor, struct error *error) MUST_USE;

/* ---- front_frames.c: what is said ---- */

/* A frame of setup (with `whole`) or identity, with certificate and key read from their files. */
enum status frames_identity(struct admin *admin, bool whole, struct buffer *ret_frame,
                            struct error *error) MUST_USE;
/* Reads what there is and acts on it. False: the connection is to be ended. */
bool frames_read(struct admin *admin);
/* Sends what can be sent. False: as above. */
bool frames_write(struct admin *admin);
/* Queues a frame, whose buffer it takes over. Any thread. */
void frames_queue(struct admin *admin, uint64_t generation, struct buffer *frame);
/* Whether more requests are taken in. */
bool frames_has_room(struct admin *admin);
void frames_clear(struct admin *admin); /* what was to be sent, and what was half read */
void frames_free(struct admin *admin);

#endif
