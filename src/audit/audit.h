/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: one record for every batch item and every administrative act, appended, chained
 * by hash, on stable storage before the reply goes out. No audit record, no reply.
 *
 * Files: DIRECTORY/audit-<first sequence, 20 digits>.jsonl, one JSON object a line. The last member of
 * each is "chain": the SHA-256, in hex, of the previous record's chain value (32 bytes; zero
 * before the first) and this line's bytes before `,"chain":`. A new file continues the chain of
 * the one before, so that rotation breaks nothing. Records:
 *   {"seq":N,"time":"2026-01-02T03:04:05.678Z","event":"kmip"|"admin"|"server",
 *    "adapter":"...","certificate":"<sha-256 hex>","peer":"192.0.2.1:5000","operation":"Get",
 *    "object":"<id>","result":"Success"|"Operation Failed","reason":"Item Not Found",
 *    "product":"...","detail":"...","chain":"..."}
 * with absent members left out.
 */
#ifndef KMIPD_AUDIT_AUDIT_H
#define KMIPD_AUDIT_AUDIT_H

#include "base/bytes.h"
#include "base/error.h"

struct audit;

#define AUDIT_HASH_SIZE 32

/* What happened. All text is borrowed during audit_append(), and is escaped for JSON there. Empty
 * fields are left out. No secret ever. */
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
    struct bytes product;     /* what the client said of itself and of the object (x-Product, ...) */
    struct bytes detail;
};

/* Who waits for records to be durable. Belongs to the log from audit_append() to `done`. */
struct audit_ticket {
    /* Runs once on the log's thread, must not block: STATUS_OK when the records are on stable
     * storage, STATUS_AUDIT_FAILED when they are not (then no reply may say Success). */
    void (*done)(struct audit_ticket *ticket, enum status status);
    struct audit_ticket *next;
    uint64_t sequence; /* of the ticket's last record; set by audit_append() */
};

struct audit_options {
    const char *directory;   /* made with mode 0700 when missing */
    size_t rotate_bytes;     /* a new file once this much is in the present one */
    unsigned keep_files;     /* delete the oldest files beyond this many; 0: keep all */
    /* The highest sequence and its chain value known from elsewhere (the store); 0: none. When the
     * log ends before it, records were cut off: audit_open() says so in its error. */
    uint64_t known_sequence;
    uint8_t known_chain[AUDIT_HASH_SIZE];
};

/*
 * Opens the log, finds its end, and cuts off an incomplete last line (a power cut mid-write: it
 * was never acknowledged), after which the next record says so in "detail". Checks the chain of
 * the newest file. STATUS_AUDIT_BROKEN with the first broken record named; IO. Starts the log's
 * thread.
 */
enum status audit_open(const struct audit_options *options, struct audit **ret_audit,
                       struct error *error) MUST_USE;

/* Writes what is pending, syncs, closes. NULL is fine. */
void audit_close(struct audit *audit);

/*
 * Appends `count` records in order and returns; `ticket->done` tells when they are durable (all
 * records appended meanwhile share one sync). Any thread. When the log has failed, `done` is
 * called with STATUS_AUDIT_FAILED, never on the caller's stack.
 */
void audit_append(struct audit *audit, const struct audit_entry *entries, size_t count,
                  struct audit_ticket *ticket);

/* Appends one record and waits for it. For administration and start-up. */
enum status audit_write(struct audit *audit, const struct audit_entry *entry) MUST_USE;

/* STATUS_OK or STATUS_AUDIT_FAILED; cheap; any thread. */
enum status audit_health(struct audit *audit);

/* The last durable record: what to remember elsewhere so that a cut tail is noticed. */
void audit_head(struct audit *audit, uint64_t *ret_sequence,
                uint8_t ret_chain[static AUDIT_HASH_SIZE]);

/* The outcome of a verification. */
struct audit_report {
    uint64_t records;
    uint64_t files;
    uint64_t first_sequence;
    uint64_t last_sequence;
    uint8_t last_chain[AUDIT_HASH_SIZE];
    bool incomplete_tail; /* the last line has no end: a write cut short, never acknowledged */
    uint64_t broken_sequence; /* 0: none; else the first record whose chain does not fit */
    char broken_file[256];
    uint64_t broken_line;
};

/*
 * Reads all files of a directory and checks every record: chain, sequence without gaps, files
 * continuing each other. Works while the log is being written. STATUS_OK: whole;
 * AUDIT_BROKEN with a text and ret_report->broken_*; IO.
 */
enum status audit_verify(const char *directory, struct audit_report *ret_report,
                         struct error *error) MUST_USE;

typedef bool audit_visit(void *context, struct bytes line);
/* Visits the last `count` records, oldest first, each as its line without the newline. */
enum status audit_tail(const char *directory, size_t count, audit_visit *visit, void *context,
                       struct error *error) MUST_USE;

#endif
