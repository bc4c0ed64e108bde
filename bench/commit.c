/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ceiling of Create: the store alone, without network, TTLV, wrapping or audit. N waiters each
 * submit a row like those that kmipd makes and submit the next when it is durable; the store groups
 * what waits.
 */
#include <err.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slice.h"
#include "store/store.h"

enum { TERMS_MAX = 16, ROW_MAX = 64 * 1024 };

struct options {
    const char *path;
    long waiters;
    long attributes; /* bytes */
    long wrapped;    /* bytes */
    long terms;
    long cache; /* bytes */
};

struct bench;

struct waiter {
    struct store_transaction transaction;
    struct store_change change;
    struct store_term terms[TERMS_MAX];
    struct bench *bench;
    uint64_t submitted;
};

struct bench {
    const struct options *options;
    struct store *store;
    struct adapter_row adapter;
    uint8_t *filling; /* of attributes and wrapped key material */
    struct waiter *waiters;
    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t idle;  /* busy has become 0 */
    struct slice slice;
    uint64_t deadline;
    uint64_t left; /* rows that may still be submitted */
    long busy;     /* rows submitted and not done */
};

static int64_t wall_ms(void)
{
    return (int64_t)(slice_clock(CLOCK_REALTIME) / 1000000);
}

/* All rows have the same terms, as keys of the same algorithm and length do. */
static void fill_terms(struct waiter *w, long count)
{
    for (long i = 0; i < count; ++i)
        w->terms[i] = (struct store_term){.term = (uint64_t)i + 1};
}

static void fill_row(struct waiter *w)
{
    const struct bench *bench = w->bench;
    const struct options *options = bench->options;
    struct object_row *row = &w->change.row;

    *row = (struct object_row){
        .adapter = bench->adapter.id,
        .version = 1,
        .object_type = 2,
        .state = 1,
        .attributes = bytes_of(bench->filling, (size_t)options->attributes),
        .wrapped = {bytes_of(bench->filling, (size_t)options->wrapped)},
    };
    if (uuid_make(wall_ms(), &row->id) != STATUS_OK)
        errx(EXIT_FAILURE, "no randomness");
    w->change.kind = STORE_INSERT;
    w->change.terms = w->terms;
    w->change.term_count = (size_t)options->terms;
}

/* Whether the waiter is to submit another row. The lock is held. */
static bool may_begin(struct bench *bench, struct waiter *w)
{
    w->submitted = slice_clock(CLOCK_MONOTONIC);
    if (bench->left == 0 || w->submitted >= bench->deadline)
        return false;
    --bench->left;
    ++bench->busy;
    return true;
}

static void note_done(struct bench *bench, const struct waiter *w, enum status status)
{
    --bench->busy;
    if (status == STATUS_OK) {
        ++bench->slice.requests;
        histogram_record(&bench->slice.latency, slice_clock(CLOCK_MONOTONIC) - w->submitted);
    } else if (bench->slice.errors++ == 0) {
        snprintf(bench->slice.first_error, sizeof bench->slice.first_error, "the store: %s",
                 status_name(status));
    }
}

/* On the committer's thread. */
static void on_done(struct store_transaction *transaction, enum status status)
{
    struct waiter *w = CONTAINER_OF(transaction, struct waiter, transaction);
    struct bench *bench = w->bench;
    bool again;

    pthread_mutex_lock(&bench->lock);
    note_done(bench, w, status);
    again = status == STATUS_OK && may_begin(bench, w);
    if (bench->busy == 0)
        pthread_cond_signal(&bench->idle);
    pthread_mutex_unlock(&bench->lock);
    if (again) {
        fill_row(w);
        store_submit(bench->store, transaction);
    }
}

/* The first row of each waiter; all that follow are submitted by on_done(). */
static void submit_first(struct bench *bench, struct waiter *w)
{
    bool begin;

    pthread_mutex_lock(&bench->lock);
    begin = may_begin(bench, w);
    pthread_mutex_unlock(&bench->lock);
    if (begin) {
        fill_row(w);
        store_submit(bench->store, &w->transaction);
    }
}

static void run(struct bench *bench, const struct slice_limits *limits)
{
    slice_begin(&bench->slice);
    bench->deadline = slice_clock(CLOCK_MONOTONIC) + limits->nanoseconds;
    bench->left = limits->units;
    for (long i = 0; i < bench->options->waiters; ++i)
        submit_first(bench, &bench->waiters[i]);
    pthread_mutex_lock(&bench->lock);
    while (bench->busy != 0)
        pthread_cond_wait(&bench->idle, &bench->lock);
    pthread_mutex_unlock(&bench->lock);
    slice_end(&bench->slice);
    slice_report(&bench->slice, "");
}

static void waiters_new(struct bench *bench)
{
    const struct options *options = bench->options;

    bench->filling = malloc(ROW_MAX);
    bench->waiters = calloc((size_t)options->waiters, sizeof *bench->waiters);
    if (bench->filling == NULL || bench->waiters == NULL)
        errx(EXIT_FAILURE, "out of memory");
    memset(bench->filling, 'k', ROW_MAX);
    for (long i = 0; i < options->waiters; ++i) {
        struct waiter *w = &bench->waiters[i];

        w->bench = bench;
        w->transaction =
            (struct store_transaction){.changes = &w->change, .count = 1, .done = on_done};
        fill_terms(w, options->terms);
    }
}

static void store_begin(struct bench *bench)
{
    struct store_options options = {.cache_bytes = (size_t)bench->options->cache};
    struct error error = {0};

    if (store_open_sqlite(bench->options->path, &options, &bench->store, &error) != STATUS_OK)
        errx(EXIT_FAILURE, "%s", error_text(&error));
    snprintf(bench->adapter.name, sizeof bench->adapter.name, "bench");
    bench->adapter.key_manager = 1;
    if (uuid_make(wall_ms(), &bench->adapter.uuid) != STATUS_OK ||
        store_adapter_insert(bench->store, &bench->adapter) != STATUS_OK)
        errx(EXIT_FAILURE, "cannot make an adapter");
}

static const char usage[] =
    "usage: commit --path FILE [--waiters N] [--attributes BYTES] [--wrapped BYTES] [--terms N]\n"
    "              [--cache BYTES]\n"
    "Commits rows to a new store at FILE. Reads \"run MILLISECONDS\" and \"count N\" from "
    "standard\n"
    "input, reports in JSON.\n";

static void set_option(struct options *options, int which, const char *value)
{
    switch (which) {
    case 'p':
        options->path = value;
        break;
    case 'w':
        options->waiters = slice_number(value, 1, 65536);
        break;
    case 'a':
        options->attributes = slice_number(value, 0, ROW_MAX);
        break;
    case 'k':
        options->wrapped = slice_number(value, 1, ROW_MAX);
        break;
    case 't':
        options->terms = slice_number(value, 0, TERMS_MAX);
        break;
    case 'c':
        options->cache = slice_number(value, 0, 1L << 40);
        break;
    default:
        fputs(usage, stderr);
        exit(EXIT_FAILURE);
    }
}

static void parse_options(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"path", required_argument, NULL, 'p'},
        {"waiters", required_argument, NULL, 'w'},
        {"attributes", required_argument, NULL, 'a'},
        {"wrapped", required_argument, NULL, 'k'},
        {"terms", required_argument, NULL, 't'},
        {"cache", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    int which;

    while ((which = getopt_long(argc, argv, "", known, NULL)) != -1)
        set_option(options, which, optarg);
    if (optind != argc || options->path == NULL)
        set_option(options, '?', NULL);
}

int main(int argc, char **argv)
{
    static struct bench bench = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                 .idle = PTHREAD_COND_INITIALIZER};
    struct options options = {
        .waiters = 1, .attributes = 200, .wrapped = 80, .terms = 0, .cache = 64L << 20};
    struct slice_limits limits;

    parse_options(&options, argc, argv);
    bench.options = &options;
    store_begin(&bench);
    waiters_new(&bench);
    while (slice_next(&limits))
        run(&bench, &limits);
    store_close(bench.store);
    free(bench.waiters);
    free(bench.filling);
    return EXIT_SUCCESS;
}
