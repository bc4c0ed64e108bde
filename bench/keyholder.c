/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keyholder process costs: unwraps through it, or with --direct by the sealed file in this
 * process. One waiter calls and waits, as a thread does that needs one key (with --pause so that
 * the processes sleep in between); more have as many jobs in flight.
 */
#include <err.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keyholder/keyholder.h"
#include "keymanager/keyholder_client.h"
#include "slice.h"

enum { BLOB_MAX = 4096 };

struct options {
    long waiters;
    long pause; /* microseconds before each unwrap of one waiter */
    bool direct;
};

struct bench;

struct waiter {
    struct keymanager_job job;
    struct bench *bench;
    uint64_t submitted;
};

struct bench {
    struct options options;
    char directory[64];
    char path[96];
    char key_path[96];
    struct keyholder *keyholder;
    struct keymanager *keymanager;
    struct wrap_binding binding;
    struct buffer blob;
    struct waiter *waiters;
    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t idle;  /* busy has become 0 */
    struct slice slice;
    uint64_t deadline;
    uint64_t left;
    long busy;
};

/* ---- One at a time ---- */

static void unwrap_once(struct bench *bench)
{
    struct secret opened = {0};
    uint64_t start = slice_clock(CLOCK_MONOTONIC);
    enum status status =
        keymanager_unwrap(bench->keymanager, &bench->binding,
                          (struct wrapped){buffer_bytes(&bench->blob)}, &opened, NULL);
    histogram_record(&bench->slice.latency, slice_clock(CLOCK_MONOTONIC) - start);
    if (status == STATUS_OK)
        bench->slice.requests++;
    else
        bench->slice.errors++;
    secret_free(&opened);
}

static void run_one(struct bench *bench)
{
    while (bench->left-- > 0 && slice_clock(CLOCK_MONOTONIC) < bench->deadline) {
        if (bench->options.pause > 0)
            usleep((useconds_t)bench->options.pause);
        unwrap_once(bench);
    }
}

/* ---- Many in flight ---- */

static void submit(struct waiter *w)
{
    w->job.wrapped = (struct wrapped){buffer_bytes(&w->bench->blob)};
    w->job.next = NULL;
    w->submitted = slice_clock(CLOCK_MONOTONIC);
    keymanager_submit(w->bench->keymanager, &w->job);
}

static void on_done(struct keymanager_job *job)
{
    struct waiter *w = CONTAINER_OF(job, struct waiter, job);
    struct bench *bench = w->bench;
    uint64_t now = slice_clock(CLOCK_MONOTONIC);
    pthread_mutex_lock(&bench->lock);
    histogram_record(&bench->slice.latency, now - w->submitted);
    bench->slice.requests += job->status == STATUS_OK;
    bench->slice.errors += job->status != STATUS_OK;
    bool again = bench->left > 0 && now < bench->deadline;
    bench->left -= again;
    bench->busy -= !again;
    if (bench->busy == 0)
        pthread_cond_signal(&bench->idle);
    pthread_mutex_unlock(&bench->lock);
    secret_free(&job->plaintext);
    if (again)
        submit(w);
}

static void run_many(struct bench *bench)
{
    bench->busy = bench->options.waiters;
    for (long i = 0; i < bench->options.waiters; ++i) {
        struct waiter *w = &bench->waiters[i];
        *w = (struct waiter){.bench = bench};
        w->job.task = KEYMANAGER_UNWRAP;
        w->job.binding = bench->binding;
        w->job.done = on_done;
        buffer_init(&w->job.ret_wrapped, BLOB_MAX);
        submit(w);
    }
    pthread_mutex_lock(&bench->lock);
    while (bench->busy != 0)
        pthread_cond_wait(&bench->idle, &bench->lock);
    pthread_mutex_unlock(&bench->lock);
}

static void run(struct bench *bench, const struct slice_limits *limits)
{
    slice_begin(&bench->slice);
    bench->deadline = slice_clock(CLOCK_MONOTONIC) + limits->nanoseconds;
    bench->left = limits->units;
    if (bench->options.waiters == 1 || bench->options.direct)
        run_one(bench);
    else
        run_many(bench);
    slice_end(&bench->slice);
    slice_report(&bench->slice, "");
}

/* ---- Setting up ---- */

static void must(enum status status, const struct error *error)
{
    if (status != STATUS_OK)
        errx(EXIT_FAILURE, "%s", error_text(error));
}

static void open_it(struct bench *bench)
{
    struct error error = {0};
    const struct keyholder_options options = {
        .settings = {.secret_memory = 1 << 22,
                     .sealed_path = bench->path,
                     .create = true,
                     .sealing = {.kind = SEALING_SOURCE_KEY_FILE, .path = bench->key_path}}};
    const struct sealing sealing = {.method = SEALING_KEY_FILE, .path = bench->key_path};
    (void)snprintf(bench->directory, sizeof(bench->directory), "/tmp/kmipd-bench-XXXXXX");
    if (mkdtemp(bench->directory) == NULL)
        err(EXIT_FAILURE, "mkdtemp");
    (void)snprintf(bench->path, sizeof(bench->path), "%s/keys", bench->directory);
    (void)snprintf(bench->key_path, sizeof(bench->key_path), "%s/seal", bench->directory);
    must(secret_heap_init((size_t)1 << 22, &error), &error);
    if (bench->options.direct) {
        must(sealed_file_open(bench->path, &sealing, true, &bench->keymanager, &error), &error);
        return;
    }
    must(keyholder_open(&options, &bench->keyholder, &error), &error);
    bench->keymanager = keyholder_keymanager(bench->keyholder, KEYMANAGER_SEALED_FILE);
}

static void make_blob(struct bench *bench)
{
    struct error error = {0};
    struct secret key = {0};
    const struct root_key_wish wish = {.now = 1700000000000};
    buffer_init(&bench->blob, BLOB_MAX);
    must(keymanager_create_root_key(bench->keymanager, &wish, &bench->binding.root_key, &error),
         &error);
    must(secret_random(&key, 32), &error);
    must(keymanager_wrap(bench->keymanager, &bench->binding, &key, &bench->blob), &error);
    secret_free(&key);
}

static void close_it(struct bench *bench)
{
    static const char *const endings[] = {"keys", "keys.previous", "seal"};
    keymanager_close(bench->keymanager);
    keyholder_free(bench->keyholder);
    for (size_t i = 0; i < ARRAY_COUNT(endings); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", bench->directory, endings[i]);
        (void)unlink(path);
    }
    (void)rmdir(bench->directory);
}

static const char usage[] =
    "usage: keyholder [--direct] [--waiters N] [--pause MICROSECONDS]\n"
    "Unwraps a key again and again, through a keyholder process of its own. Reads\n"
    "\"run MILLISECONDS\" and \"count N\" from standard input, reports in JSON.\n";

static void parse_options(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {{"direct", no_argument, NULL, 'd'},
                                          {"waiters", required_argument, NULL, 'w'},
                                          {"pause", required_argument, NULL, 'p'},
                                          {NULL, 0, NULL, 0}};
    int which;
    while ((which = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (which == 'd')
            options->direct = true;
        else if (which == 'w')
            options->waiters = slice_number(optarg, 1, 65536);
        else if (which == 'p')
            options->pause = slice_number(optarg, 0, 1000000);
        else
            errx(EXIT_FAILURE, "%s", usage);
    }
    if (optind != argc)
        errx(EXIT_FAILURE, "%s", usage);
}

int main(int argc, char **argv)
{
    static struct bench bench = {.options = {.waiters = 1},
                                 .lock = PTHREAD_MUTEX_INITIALIZER,
                                 .idle = PTHREAD_COND_INITIALIZER};
    struct slice_limits limits;
    if (argc == 2 && strcmp(argv[1], "keyholder") == 0)
        keyholder_main();
    parse_options(&bench.options, argc, argv);
    bench.waiters = calloc((size_t)bench.options.waiters, sizeof *bench.waiters);
    if (bench.waiters == NULL)
        errx(EXIT_FAILURE, "out of memory");
    open_it(&bench);
    make_blob(&bench);
    while (slice_next(&limits))
        run(&bench, &limits);
    close_it(&bench);
    free(bench.waiters);
    buffer_free(&bench.blob);
    return EXIT_SUCCESS;
}
