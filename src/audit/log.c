/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "audit/files.h"
#include "audit/record.h"
#include "audit/scan.h"
#include "audit/segment.h"
#include "audit/start.h"
#include "base/buffer.h"
#include "base/hex.h"

/* Records that wait for the disk: some 150,000. More are refused. */
#define PENDING_MAX (64u << 20)
/* A buffer that a burst has made larger than this is given back. */
#define PENDING_KEPT (4u << 20)
/* The most that is written before a sync. */
#define WRITE_MAX     (1u << 20)
#define RETRY_SECONDS 1
#define REFUSED       UINT64_MAX
/* How long a sync may be put off for those who are about to ask for one, see gather(). */
#define GATHER_NANOSECONDS_MAX 1000000

static_assert(WRITE_MAX + RECORD_SIZE_MAX <= SCAN_UNFINISHED_MAX, "what scan_tail() expects");

struct tickets {
    struct audit_ticket *first;
    struct audit_ticket **end;
};

struct audit {
    char *name; /* the directory's */
    int directory;
    int lock;
    uint64_t rotate_bytes;
    unsigned keep_files;
    pthread_t thread;

    pthread_mutex_t mutex; /* over all of this: */
    pthread_cond_t wake;
    bool waiting;        /* the thread sleeps, */
    size_t enough;       /* until so many tickets wait */
    size_t ticket_count; /* that wait */
    bool stopping;
    bool new_file; /* asked for by audit_rotate() */
    struct buffer pending;
    struct tickets tickets;
    uint64_t next_sequence;
    struct record_clock clock;
    char note[256]; /* for the detail of record `note_sequence` */
    uint64_t note_sequence;
    struct chain_position durable;
    int failure; /* errno of the latest failure */

    atomic_bool failed; /* set under the mutex, by the thread; read by anyone */

    /* The thread's own: */
    struct buffer text; /* being written */
    struct segment segment;
    struct chain chain;           /* of the records written */
    struct chain_position synced; /* of the records on stable storage */
    bool prune;                   /* a file was begun */
    size_t groups[2];             /* tickets served by the last two syncs */
    int64_t patience;             /* nanoseconds, see gather() */
    uint8_t first_line[RECORD_SIZE_MAX];
};

/* ---- Appending ---- */

static void tickets_clear(struct tickets *tickets)
{
    tickets->first = NULL;
    tickets->end = &tickets->first;
}

static void tickets_add(struct tickets *tickets, struct audit_ticket *ticket)
{
    ticket->next = NULL;
    *tickets->end = ticket;
    tickets->end = &ticket->next;
}

/* Moves all of `from` behind those of `to`. */
static void tickets_move(struct tickets *to, struct tickets *from)
{
    if (from->first == NULL)
        return;
    *to->end = from->first;
    to->end = from->end;
    tickets_clear(from);
}

static bool append_record(struct audit *audit, const struct audit_entry *entry, uint64_t sequence)
{
    uint8_t *place = buffer_reserve(&audit->pending, RECORD_SIZE_MAX);
    if (place == NULL)
        return false;
    const char *note = sequence == audit->note_sequence ? audit->note : "";
    size_t size = record_write(&audit->clock, entry, sequence, note, place);
    audit->pending.size -= RECORD_SIZE_MAX - size;
    return true;
}

/* All records or none. */
static bool append_records(struct audit *audit, const struct audit_entry *entries, size_t count)
{
    size_t before = audit->pending.size;
    for (size_t i = 0; i < count; i++) {
        if (append_record(audit, &entries[i], audit->next_sequence + i))
            continue;
        audit->pending.size = before;
        audit->pending.status = STATUS_OK;
        return false;
    }
    audit->next_sequence += count;
    return true;
}

void audit_append(struct audit *audit, const struct audit_entry *entries, size_t count,
                  struct audit_ticket *ticket)
{
    (void)pthread_mutex_lock(&audit->mutex);
    bool taken = append_records(audit, entries, count);
    ticket->sequence = taken ? audit->next_sequence - 1 : REFUSED;
    tickets_add(&audit->tickets, ticket);
    audit->ticket_count++;
    bool wake = audit->waiting && audit->ticket_count >= audit->enough;
    audit->waiting = audit->waiting && !wake;
    /* Under the lock: once it is given back the record may be durable, whoever waited for it be
     * content, and the log be closed, all before this call has returned. */
    if (wake)
        (void)pthread_cond_signal(&audit->wake);
    (void)pthread_mutex_unlock(&audit->mutex);
}

struct waiter {
    struct audit_ticket ticket;
    sem_t done;
    enum status status;
};

static void wake_waiter(struct audit_ticket *ticket, enum status status)
{
    struct waiter *waiter = CONTAINER_OF(ticket, struct waiter, ticket);
    waiter->status = status;
    (void)sem_post(&waiter->done);
}

enum status audit_write(struct audit *audit, const struct audit_entry *entry)
{
    struct waiter waiter = {.ticket.done = wake_waiter};
    if (sem_init(&waiter.done, 0, 0) != 0)
        return STATUS_AUDIT_FAILED;
    audit_append(audit, entry, 1, &waiter.ticket);
    while (sem_wait(&waiter.done) != 0)
        continue; /* interrupted by a signal */
    (void)sem_destroy(&waiter.done);
    return waiter.status;
}

void audit_rotate(struct audit *audit)
{
    (void)pthread_mutex_lock(&audit->mutex);
    audit->new_file = true;
    (void)pthread_mutex_unlock(&audit->mutex);
}

enum status audit_health(struct audit *audit)
{
    return atomic_load_explicit(&audit->failed, memory_order_relaxed) ? STATUS_AUDIT_FAILED
                                                                      : STATUS_OK;
}

enum status audit_explain(struct audit *audit, struct error *error)
{
    if (audit_health(audit) == STATUS_OK)
        return STATUS_OK;
    (void)pthread_mutex_lock(&audit->mutex);
    int failure = audit->failure;
    (void)pthread_mutex_unlock(&audit->mutex);
    if (failure == ENOENT)
        return error_set(error, STATUS_AUDIT_FAILED,
                         "the audit log's file in %s was deleted while it was written: restore it "
                         "and restart the server",
                         audit->name);
    return error_set_errno(error, STATUS_AUDIT_FAILED, failure,
                           "cannot write the audit log in %s, and nothing is answered without a "
                           "record: make room on its disk or repair it, and it goes on by itself",
                           audit->name);
}

void audit_head(struct audit *audit, uint64_t *ret_sequence,
                uint8_t ret_chain[static AUDIT_HASH_SIZE])
{
    (void)pthread_mutex_lock(&audit->mutex);
    *ret_sequence = audit->durable.sequence;
    memcpy(ret_chain, audit->durable.value, AUDIT_HASH_SIZE);
    (void)pthread_mutex_unlock(&audit->mutex);
}

/* ---- Writing: the thread ---- */

static size_t line_size(struct bytes text)
{
    const uint8_t *newline = memchr(text.data, '\n', text.size);
    return (size_t)(newline - text.data) + 1; /* every record ends in one */
}

static enum status fill_chain(struct audit *audit, uint8_t *line, size_t size)
{
    size_t body = size - RECORD_SUFFIX_SIZE;
    if (chain_next(&audit->chain, bytes_of(line, body)) != STATUS_OK) {
        audit->segment.failure = ENOMEM; /* nothing else makes SHA-256 fail */
        return STATUS_AUDIT_FAILED;
    }
    hex_encode(bytes_of(audit->chain.position.value, AUDIT_HASH_SIZE),
               (char *)line + body + sizeof(RECORD_CHAIN_MEMBER) - 1);
    return STATUS_OK;
}

/* The first record of a file has one member more: what the chain was before. */
static enum status write_first(struct audit *audit, const uint8_t *line, size_t size)
{
    size_t body = size - RECORD_SUFFIX_SIZE;
    uint8_t *to = audit->first_line;
    memcpy(to, line, body);
    memcpy(to + body, RECORD_PREVIOUS_MEMBER, sizeof(RECORD_PREVIOUS_MEMBER) - 1);
    hex_encode(bytes_of(audit->chain.position.value, AUDIT_HASH_SIZE),
               (char *)to + body + sizeof(RECORD_PREVIOUS_MEMBER) - 1);
    to[body + RECORD_PREVIOUS_SIZE - 1] = '"';
    memcpy(to + body + RECORD_PREVIOUS_SIZE, line + body, RECORD_SUFFIX_SIZE);
    enum status status = fill_chain(audit, to, size + RECORD_PREVIOUS_SIZE);
    if (status != STATUS_OK)
        return status;
    return segment_write(&audit->segment, bytes_of(to, size + RECORD_PREVIOUS_SIZE));
}

/* Writes as many records from `at` as one sync and one file take. */
static enum status write_some(struct audit *audit, size_t *at)
{
    uint8_t *text = audit->text.data;
    size_t end = audit->text.size;
    size_t from = *at;
    enum status status = STATUS_OK;
    if (audit->segment.size == 0) {
        size_t size = line_size(bytes_of(text + from, end - from));
        status = write_first(audit, text + from, size);
        from += size;
    }
    size_t to = from;
    while (status == STATUS_OK && to < end && to - from < WRITE_MAX &&
           audit->segment.size + (to - from) < audit->rotate_bytes) {
        size_t size = line_size(bytes_of(text + to, end - to));
        status = fill_chain(audit, text + to, size);
        to += size;
    }
    if (status == STATUS_OK && to > from)
        status = segment_write(&audit->segment, bytes_of(text + from, to - from));
    *at = to;
    return status;
}

static enum status rotate(struct audit *audit)
{
    enum status status = segment_rotate(&audit->segment, audit->synced.sequence + 1);
    if (status == STATUS_OK)
        audit->prune = audit->keep_files > 0;
    return status;
}

static enum status write_all(struct audit *audit, bool new_file)
{
    enum status status = STATUS_OK;
    for (size_t at = 0; at < audit->text.size && status == STATUS_OK; new_file = false) {
        if (audit->segment.size >= audit->rotate_bytes || (new_file && audit->segment.size > 0))
            status = rotate(audit);
        if (status == STATUS_OK)
            status = write_some(audit, &at);
        if (status == STATUS_OK)
            status = segment_sync(&audit->segment);
        if (status == STATUS_OK)
            audit->synced = audit->chain.position;
    }
    return status;
}

/* In a log that has failed, tries to make it good again. */
static enum status recover(struct audit *audit)
{
    if (!atomic_load(&audit->failed))
        return STATUS_OK;
    enum status status = segment_recover(&audit->segment, &audit->synced);
    if (status == STATUS_OK)
        atomic_store(&audit->failed, false);
    return status;
}

/*
 * The records that were not written are given up, with those appended since, and their sequences
 * used again: the chain goes on behind the last record on stable storage.
 */
static void give_up(struct audit *audit, struct tickets *tickets)
{
    tickets_move(tickets, &audit->tickets);
    audit->ticket_count = 0;
    buffer_reset(&audit->pending);
    audit->chain.position = audit->synced;
    audit->next_sequence = audit->synced.sequence + 1;
    audit->failure = audit->segment.failure;
    if (audit->note_sequence != audit->next_sequence) {
        audit->note_sequence = audit->next_sequence;
        (void)snprintf(audit->note, sizeof(audit->note),
                       "before this record the audit log could not be written: %s",
                       strerrordesc_np(audit->failure));
    }
    atomic_store(&audit->failed, true);
}

static void call_done(struct tickets *tickets, uint64_t durable)
{
    struct audit_ticket *ticket = tickets->first;
    while (ticket != NULL) {
        struct audit_ticket *next = ticket->next; /* the ticket may be gone after `done` */
        ticket->done(ticket, ticket->sequence <= durable ? STATUS_OK : STATUS_AUDIT_FAILED);
        ticket = next;
    }
}

/* Keeps the memory for the next time, if it is no more than usual. */
static void recycle(struct buffer *text)
{
    if (text->capacity > PENDING_KEPT)
        buffer_free(text);
    else
        buffer_reset(text);
}

/* Serves what was taken from `pending`. */
static void serve(struct audit *audit, struct tickets *tickets, bool new_file)
{
    enum status status = recover(audit);
    if (status == STATUS_OK)
        status = write_all(audit, new_file);
    recycle(&audit->text);
    (void)pthread_mutex_lock(&audit->mutex);
    audit->durable = audit->synced;
    if (status != STATUS_OK)
        give_up(audit, tickets);
    (void)pthread_mutex_unlock(&audit->mutex);
    call_done(tickets, audit->synced.sequence);
    if (audit->prune && status == STATUS_OK) {
        files_prune(audit->directory, audit->keep_files);
        audit->prune = false;
    }
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Sleeps until `enough` tickets wait, or the end is near, or `until` (0: for ever) has passed. */
static void sleep_until(struct audit *audit, size_t enough, int64_t until)
{
    const struct timespec time = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    int result = 0;
    while (audit->ticket_count < enough && !audit->stopping && result != ETIMEDOUT) {
        audit->enough = enough;
        audit->waiting = true;
        result = until != 0 ? pthread_cond_timedwait(&audit->wake, &audit->mutex, &time)
                            : pthread_cond_wait(&audit->wake, &audit->mutex);
    }
    audit->waiting = false;
}

/* While the log has failed, no longer than until the next attempt to recover. */
static void wait_for_work(struct audit *audit)
{
    bool failed = atomic_load(&audit->failed);
    sleep_until(audit, 1, failed ? nanoseconds() + RETRY_SECONDS * INT64_C(1000000000) : 0);
}

/*
 * A sync costs the processor as much as several requests, whether one shares in it or a hundred.
 * Clients that wait for their answers come again as soon as they have them: so a sync is put off
 * until as many wait as shared in the last ones, but no longer than the last one took. A single
 * client is never put off, and a crowd that has gone costs one such wait.
 */
static void gather(struct audit *audit)
{
    size_t usual = audit->groups[0] > audit->groups[1] ? audit->groups[0] : audit->groups[1];
    if (audit->ticket_count < usual)
        sleep_until(audit, usual, nanoseconds() + audit->patience);
}

static void remember(struct audit *audit, size_t group, int64_t took)
{
    audit->groups[1] = audit->groups[0];
    audit->groups[0] = group;
    audit->patience = took < GATHER_NANOSECONDS_MAX ? took : GATHER_NANOSECONDS_MAX;
}

static void *run(void *argument)
{
    struct audit *audit = argument;
    bool stopping = false;
    while (!stopping) {
        struct tickets tickets;
        tickets_clear(&tickets);
        (void)pthread_mutex_lock(&audit->mutex);
        wait_for_work(audit);
        gather(audit);
        tickets_move(&tickets, &audit->tickets);
        size_t group = audit->ticket_count;
        audit->ticket_count = 0;
        struct buffer pending = audit->pending;
        audit->pending = audit->text;
        audit->text = pending;
        bool new_file = audit->new_file && pending.size > 0;
        audit->new_file = audit->new_file && !new_file;
        stopping = audit->stopping;
        (void)pthread_mutex_unlock(&audit->mutex);
        int64_t begun = nanoseconds();
        serve(audit, &tickets, new_file);
        remember(audit, group, nanoseconds() - begun);
    }
    return NULL;
}

/* ---- Opening and closing ---- */

static void take_start(struct audit *audit, const struct start *start)
{
    audit->segment = start->segment;
    audit->chain.position = start->last;
    audit->synced = start->last;
    audit->durable = start->last;
    audit->next_sequence = start->last.sequence + 1;
    if (start->cut == 0)
        return;
    audit->note_sequence = audit->next_sequence;
    (void)snprintf(audit->note, sizeof(audit->note),
                   "before this record an unfinished write of %" PRIu64
                   " bytes, which was never acknowledged, was cut off",
                   start->cut);
}

static enum status start_thread(struct audit *audit, struct error *error)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all); /* signals are for the program's own threads */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&audit->thread, NULL, run, audit);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0)
        return STATUS_OK;
    return error_set_errno(error, STATUS_IO, failure, "cannot start the audit log's thread");
}

static enum status make_synchronisation(struct audit *audit)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return STATUS_NO_MEMORY;
    bool made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                pthread_cond_init(&audit->wake, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    if (made && pthread_mutex_init(&audit->mutex, NULL) == 0)
        return STATUS_OK;
    if (made)
        (void)pthread_cond_destroy(&audit->wake);
    return STATUS_NO_MEMORY;
}

static void audit_free(struct audit *audit)
{
    segment_close(&audit->segment);
    if (audit->lock >= 0)
        (void)close(audit->lock);
    if (audit->directory >= 0)
        (void)close(audit->directory);
    buffer_free(&audit->pending);
    buffer_free(&audit->text);
    chain_free(&audit->chain);
    (void)pthread_cond_destroy(&audit->wake);
    (void)pthread_mutex_destroy(&audit->mutex);
    free(audit->name);
    free(audit);
}

static enum status audit_new(const struct audit_options *options, struct audit **ret_audit)
{
    struct audit *audit = calloc(1, sizeof(*audit));
    if (audit == NULL)
        return STATUS_NO_MEMORY;
    enum status status = make_synchronisation(audit);
    if (status != STATUS_OK) {
        free(audit);
        return status;
    }
    audit->directory = -1;
    audit->lock = -1;
    audit->segment.file = -1;
    audit->rotate_bytes = options->rotate_bytes > 0 ? options->rotate_bytes : UINT64_MAX;
    audit->keep_files = options->keep_files;
    tickets_clear(&audit->tickets);
    buffer_init(&audit->pending, PENDING_MAX);
    buffer_init(&audit->text, PENDING_MAX);
    audit->name = strdup(options->directory);
    status = audit->name == NULL ? STATUS_NO_MEMORY : chain_init(&audit->chain);
    if (status == STATUS_OK)
        *ret_audit = audit;
    else
        audit_free(audit);
    return status;
}

enum status audit_open(const struct audit_options *options, struct audit **ret_audit,
                       struct error *error)
{
    struct audit *audit;
    enum status status = audit_new(options, &audit);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot open the audit log: %s", status_text(status));
    struct start start;
    status = start_open_directory(options->directory, &audit->directory, error);
    if (status == STATUS_OK)
        status = start_lock(audit->directory, options->directory, &audit->lock, error);
    if (status == STATUS_OK)
        status = start_find_end(audit->directory, options, &start, error);
    if (status == STATUS_OK) {
        take_start(audit, &start);
        status = start_thread(audit, error);
    }
    if (status == STATUS_OK)
        *ret_audit = audit;
    else
        audit_free(audit);
    return status;
}

void audit_close(struct audit *audit)
{
    if (audit == NULL)
        return;
    (void)pthread_mutex_lock(&audit->mutex);
    audit->stopping = true;
    (void)pthread_mutex_unlock(&audit->mutex);
    (void)pthread_cond_signal(&audit->wake);
    (void)pthread_join(audit->thread, NULL);
    audit_free(audit);
}
