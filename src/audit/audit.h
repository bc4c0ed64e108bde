/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: one record for every batch item and every administrative act, appended, chained
 * by hash, on stable storage before the reply goes out. No audit record, no reply.
 *
 * Files: DIRECTORY/audit-<first sequence, 20 digits>.jsonl, one JSON object a line:
 *   {"seq":N,"time":"2026-01-02T03:04:05.678Z","event":"kmip"|"admin"|"server",
 *    "adapter":"...","certificate":"<sha-256 hex>","peer":"192.0.2.1:5000","operation":"Get",
 *    "object":"<id>","result":"Success"|"Operation Failed","reason":"Item Not Found",
 *    "product":"...","detail":"...","previous":"...","chain":"..."}
 * with absent members left out. "chain", always last, is the SHA-256, in hex, of the previous
 * record's chain value (32 bytes; zero before the first) and this line's bytes before `,"chain":`.
 * A new file continues the chain of the one before, so that rotation breaks nothing; its first
 * record repeats that one's chain value as "previous", so that what is left can be verified when
 * the oldest files were deleted. Sequences have no gaps.
 *
 * Zero bytes behind the last line are room to be overwritten: while the log is open, and after the
 * process was killed. They make a sync cheap, see segment.h. audit_close() cuts them off.
 *
 * What the chain shows, and what it does not: a record changed, removed, moved, repeated or put in
 * is found. Records missing at the end, or a log written anew from some record on, fit a chain of
 * their own: they are found by comparing with an audit_head() that is kept elsewhere. Missing
 * oldest files show in audit_report.first_sequence.
 */
#ifndef KMIPD_AUDIT_AUDIT_H
#define KMIPD_AUDIT_AUDIT_H

#include "base/bytes.h"
#include "base/error.h"

struct audit;

#define AUDIT_HASH_SIZE 32

/*
 * What happened. All text is borrowed during audit_append(), and is escaped for JSON there: any
 * bytes will do, those that are not UTF-8 become U+FFFD. Text beyond 1,024 bytes is cut and ends in
 * U+2026. Empty fields are left out. No secret ever.
 */
struct audit_entry {
    int64_t time;             /* milliseconds since 1970 */
    const char *event;        /* "kmip", "admin", "server" */
    struct bytes adapter;     /* its name */
    struct bytes certificate; /* SHA-256 fingerprint in hex; for "admin": "uid=0 user=root" */
    struct bytes peer;        /* address:port */
    struct bytes operation;   /* "Get", "cert add", "start" */
    struct bytes object;      /* Unique Identifier, or what an administrator acted on */
    struct bytes result;      /* "Success", "Operation Failed" */
    struct bytes reason;      /* Result Reason's name */
    struct bytes product; /* what the client said of itself and of the object (x-Product, ...) */
    struct bytes detail;
};

/* Who waits for records to be durable. Belongs to the log from audit_append() to `done`. */
struct audit_ticket {
    /* Runs once on the log's thread, must not block: STATUS_OK when the records are on stable
     * storage, STATUS_AUDIT_FAILED when they are not (then no reply may say Success). Tickets are
     * called in the order of their appending. */
    void (*done)(struct audit_ticket *ticket, enum status status);
    struct audit_ticket *next;
    uint64_t sequence; /* of the ticket's last record; the largest number when it was refused */
};

struct audit_options {
    const char *directory; /* made with mode 0700 when missing; its parent must be there */
    size_t rotate_bytes;   /* a new file once this much is in the present one; 0: never */
    unsigned keep_files;   /* delete the oldest files beyond this many; 0: keep all */
    /* The highest sequence and its chain value known from elsewhere (the store); 0: none. When the
     * log ends before it, or has another value there, it was cut or replaced: audit_open() says so
     * in its error. Older than the newest file, the value is not compared. */
    uint64_t known_sequence;
    uint8_t known_chain[AUDIT_HASH_SIZE];
};

/*
 * Opens the log, finds its end, and cuts off what a power cut in the midst of a write has left (it
 * was never acknowledged), after which the next record says so in "detail". Checks the chain of
 * the newest file. STATUS_AUDIT_BROKEN with the first broken record named, nothing changed; IO,
 * also when another process has the log open; NO_MEMORY; CRYPTO_FAILED. Starts the log's thread.
 */
enum status audit_open(const struct audit_options *options, struct audit **ret_audit,
                       struct error *error) MUST_USE;

/* Writes what is pending, calls the tickets, syncs, closes. NULL is fine. No other call may be
 * under way or follow. */
void audit_close(struct audit *audit);

/*
 * Appends `count` records in order, all or none, and returns; `ticket->done` tells when they are
 * durable (all records appended meanwhile share one sync; a sync is put off, for no longer than the
 * last one took and a millisecond at most, until as many wait as shared in the last ones). Any
 * thread, also from `done`. When the log has failed, `done` is called with
 * STATUS_AUDIT_FAILED, never on the caller's stack.
 *
 * Never waits for the disk. What waits is bounded by 64 MiB, some 150,000 records: beyond, records
 * are refused with STATUS_AUDIT_FAILED and the log is well all the same. One request in flight per
 * connection keeps far below.
 *
 * Failure. When a record cannot be written or synced (disk full, I/O error, file deleted), it and
 * all that were appended since fail; their sequences are used again. The log recovers by itself:
 * with the next record, or within a second, it cuts the file back to the last durable record,
 * checks that this is its end, and reserves room. After a failed sync it goes on in a new file:
 * of the old one, what the kernel holds beyond the cut cannot be trusted. The next record says in
 * "detail" what had happened. A file that was deleted while it was written does not recover.
 * A record whose `done` said STATUS_AUDIT_FAILED may still be in the log if a file ended between it
 * and other records of its ticket.
 */
void audit_append(struct audit *audit, const struct audit_entry *entries, size_t count,
                  struct audit_ticket *ticket);

/* Appends one record and waits for it. For administration and start-up. */
enum status audit_write(struct audit *audit, const struct audit_entry *entry) MUST_USE;

/* The next record begins a new file, so that those before it can be moved away. Any thread. */
void audit_rotate(struct audit *audit);

/* STATUS_OK or STATUS_AUDIT_FAILED; cheap; any thread. */
enum status audit_health(struct audit *audit);

/* As audit_health(), and says in `error` what failed and what to do. Any thread. */
enum status audit_explain(struct audit *audit, struct error *error);

/* The last durable record: what to remember elsewhere so that a cut tail is noticed. */
void audit_head(struct audit *audit, uint64_t *ret_sequence,
                uint8_t ret_chain[static AUDIT_HASH_SIZE]);

/* The outcome of a verification. All zero for an empty log. */
struct audit_report {
    uint64_t records;
    uint64_t files;
    uint64_t first_sequence; /* above 1: the oldest files were deleted (keep_files), or removed */
    uint64_t last_sequence;
    uint8_t last_chain[AUDIT_HASH_SIZE];
    bool incomplete_tail;     /* the log ends in a write cut short, never acknowledged */
    uint64_t broken_sequence; /* 0: none; else the first record that is not as it was written */
    char broken_file[256];
    uint64_t broken_line;
};

/*
 * Reads all files of a directory and checks every record: chain, sequence without gaps, files
 * continuing each other. Works while the log is being written. STATUS_OK: whole;
 * AUDIT_BROKEN with a text, ret_report->broken_* and what was good before; IO; NO_MEMORY.
 */
enum status audit_verify(const char *directory, struct audit_report *ret_report,
                         struct error *error) MUST_USE;

typedef bool audit_visit(void *context, struct bytes line);
/* Visits the last `count` records, oldest first, each as its line without the newline; the visitor
 * returns false to stop. Checks nothing. Works while the log is being written. IO, NO_MEMORY. */
enum status audit_tail(const char *directory, size_t count, audit_visit *visit, void *context,
                       struct error *error) MUST_USE;

#endif
