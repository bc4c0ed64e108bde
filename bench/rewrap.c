/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the objects of an adapter are rewrapped after a rotation, or with --move to another root
 * key: through a keyholder process, or with --direct by the sealed file in this process. With
 * --writers so many clients create objects meanwhile, each the next when the last is durable, and
 * before, so that it shows what they notice of it.
 */
#include <err.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "histogram.h"
#include "keyholder/keyholder.h"
#include "keymanager/keyholder_client.h"
#include "slice.h"
#include "upkeep/upkeep.h"

enum { BATCH = 500, BLOB_MAX = 4096, ATTRIBUTES = 400 };

static const int64_t now = 1700000000000;
static const uint8_t attributes[ATTRIBUTES] = {7};

struct bench {
    long objects;
    long writers;
    bool direct;
    bool move;
    const char *base;
    char directory[200];
    struct keyholder *keyholder;
    struct keymanager *keymanager;
    struct keymanagers keymanagers;
    struct store *store;
    struct core *core;
    struct upkeep *upkeep;
    struct clock clock;
    struct adapter_row adapter;
    struct buffer blob; /* of the writers: empty, so that theirs are not rewrapped */
    atomic_bool stop;
    _Atomic(struct histogram *) latency; /* where the writers note what they wait */
    pthread_mutex_t lock;
};

static void must(enum status status, const struct error *error)
{
    if (status != STATUS_OK)
        errx(EXIT_FAILURE, "%s", error != NULL ? error_text(error) : status_text(status));
}

/* ---- Setting up ---- */

static const char *file(struct bench *bench, const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", bench->directory, name);
    return path;
}

static void open_key_manager(struct bench *bench)
{
    struct error error = {0};
    const char *sealed = file(bench, "keys");
    const char *key = file(bench, "seal");
    const struct sealing sealing = {.method = SEALING_KEY_FILE, .path = key};
    const struct keyholder_options options = {
        .settings = {.secret_memory = 1 << 22,
                     .sealed_path = sealed,
                     .create = true,
                     .sealing = {.kind = SEALING_SOURCE_KEY_FILE, .path = key}}};
    must(secret_heap_init((size_t)1 << 22, &error), &error);
    if (bench->direct) {
        must(sealed_file_open(sealed, &sealing, true, &bench->keymanager, &error), &error);
    } else {
        must(keyholder_open(&options, &bench->keyholder, &error), &error);
        bench->keymanager = keyholder_keymanager(bench->keyholder, KEYMANAGER_SEALED_FILE);
    }
    bench->keymanagers.by_code[KEYMANAGER_SEALED_FILE] = bench->keymanager;
}

static struct uuid make_root_key(struct bench *bench)
{
    struct error error = {0};
    const struct root_key_wish wish = {.now = now};
    struct uuid id;
    must(keymanager_create_root_key(bench->keymanager, &wish, &id, &error), &error);
    return id;
}

static void open_store(struct bench *bench)
{
    struct error error = {0};
    const struct store_options options = {.cache_bytes = 64u << 20};
    const struct core_options core_options = {.key_cache_entries = 1000,
                                              .locate_max = 1000,
                                              .object_max = 65536,
                                              .request_memory = 1 << 20};
    must(store_open_sqlite(file(bench, "store.db"), &options, &bench->store, &error), &error);
    must(core_open(bench->store, &bench->keymanagers, &bench->clock, &core_options, &bench->core),
         NULL);
    (void)snprintf(bench->adapter.name, sizeof(bench->adapter.name), "bench");
    bench->adapter.key_manager = KEYMANAGER_SEALED_FILE;
    bench->adapter.root_key = make_root_key(bench);
    must(uuid_make(now, &bench->adapter.uuid), NULL);
    must(store_adapter_insert(bench->store, &bench->adapter), NULL);
}

static void wrap_key(struct bench *bench, const struct uuid *object, struct buffer *blob)
{
    struct secret key = {0};
    const struct wrap_binding binding = {
        .object = *object, .adapter = bench->adapter.uuid, .root_key = bench->adapter.root_key};
    buffer_init(blob, BLOB_MAX);
    must(secret_random(&key, 32), NULL);
    must(keymanager_wrap(bench->keymanager, &binding, &key, blob), NULL);
    secret_free(&key);
}

static struct store_change insertion(struct bench *bench, const struct buffer *blob)
{
    struct store_change change = {.kind = STORE_INSERT,
                                  .row = {.adapter = bench->adapter.id,
                                          .object_type = 2,
                                          .state = 2,
                                          .attributes = bytes_of(attributes, sizeof(attributes)),
                                          .wrapped.blob = buffer_bytes(blob)}};
    return change;
}

static void make_objects(struct bench *bench)
{
    static struct buffer blobs[BATCH];
    static struct store_change changes[BATCH];
    for (long made = 0; made < bench->objects;) {
        size_t count = 0;
        for (; count < BATCH && made < bench->objects; count++, made++) {
            struct uuid id;
            must(uuid_make(now + made / 100, &id), NULL);
            wrap_key(bench, &id, &blobs[count]);
            changes[count] = insertion(bench, &blobs[count]);
            changes[count].row.id = id;
        }
        must(store_commit(bench->store, changes, count), NULL);
        for (size_t i = 0; i < count; i++)
            buffer_free(&blobs[i]);
    }
}

static void open_upkeep(struct bench *bench)
{
    struct error error = {0};
    struct upkeep_options options = {0};
    for (size_t i = 0; i < ARRAY_COUNT(options.policies); i++)
        options.policies[i] =
            (struct upkeep_policy){.check_interval = 60000, .cache_time = 60000, .jobs_max = 64};
    must(upkeep_open(bench->core, bench->store, NULL, &bench->clock, &bench->keymanagers, &options,
                     &bench->upkeep, &error),
         &error);
    must(upkeep_start(bench->upkeep, &error), &error);
}

static void close_it(struct bench *bench)
{
    static const char *const names[] = {"keys",     "keys.previous", "seal",
                                        "store.db", "store.db-wal",  "store.db-shm",
                                        "store.db.lock"};
    upkeep_close(bench->upkeep);
    core_close(bench->core);
    store_close(bench->store);
    keymanager_close(bench->keymanager);
    keyholder_free(bench->keyholder);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        (void)unlink(file(bench, names[i]));
    (void)rmdir(bench->directory);
}

/* ---- Clients ---- */

static void *write_objects(void *argument)
{
    struct bench *bench = argument;
    while (!atomic_load(&bench->stop)) {
        struct store_change change = insertion(bench, &bench->blob);
        must(uuid_make(now, &change.row.id), NULL);
        uint64_t start = slice_clock(CLOCK_MONOTONIC);
        must(store_commit(bench->store, &change, 1), NULL);
        uint64_t took = slice_clock(CLOCK_MONOTONIC) - start;
        pthread_mutex_lock(&bench->lock);
        histogram_record(atomic_load(&bench->latency), took);
        pthread_mutex_unlock(&bench->lock);
    }
    return NULL;
}

static void report_latency(const char *when, const struct histogram *histogram)
{
    printf("\"%s\": {\"creates\": %llu, \"p50_us\": %.0f, \"p99_us\": %.0f}, ", when,
           (unsigned long long)histogram->total, (double)histogram_quantile(histogram, 0.5) / 1000,
           (double)histogram_quantile(histogram, 0.99) / 1000);
}

/* ---- The run ---- */

static double processor_seconds(void)
{
    struct rusage own;
    (void)getrusage(RUSAGE_SELF, &own);
    return (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
           (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
}

static void begin_rewrap(struct bench *bench)
{
    struct error error = {0};
    if (bench->move) {
        const struct uuid other = make_root_key(bench);
        must(upkeep_move(bench->upkeep, &bench->adapter.uuid, KEYMANAGER_SEALED_FILE, &other,
                         &error),
             &error);
        return;
    }
    must(keymanager_rotate(bench->keymanager, &bench->adapter.root_key, 1, NULL, now, &error),
         &error);
    must(upkeep_rewrap(bench->upkeep, &bench->adapter.uuid), NULL);
}

static void measure(struct bench *bench)
{
    struct upkeep_progress progress;
    double processor = processor_seconds();
    uint64_t start = slice_clock(CLOCK_MONOTONIC);
    begin_rewrap(bench);
    do {
        (void)usleep(2000);
        must(upkeep_rewrap_progress(bench->upkeep, &bench->adapter.uuid, &progress), NULL);
    } while (progress.running);
    double seconds = (double)(slice_clock(CLOCK_MONOTONIC) - start) / 1e9;
    if (progress.rewrapped != bench->objects || progress.failed != 0)
        errx(EXIT_FAILURE, "rewrapped %lld, failed %lld: %s", (long long)progress.rewrapped,
             (long long)progress.failed, progress.failure);
    printf("\"objects\": %lld, \"seconds\": %.3f, \"objects_per_second\": %.0f, "
           "\"processor_us_per_object\": %.1f}\n",
           (long long)progress.rewrapped, seconds, (double)progress.rewrapped / seconds,
           (processor_seconds() - processor) * 1e6 / (double)progress.rewrapped);
}

static void run(struct bench *bench)
{
    static struct histogram before;
    static struct histogram during;
    pthread_t *threads = calloc((size_t)bench->writers + 1, sizeof(*threads));
    if (threads == NULL)
        errx(EXIT_FAILURE, "out of memory");
    atomic_store(&bench->latency, &before);
    for (long i = 0; i < bench->writers; i++)
        if (pthread_create(&threads[i], NULL, write_objects, bench) != 0)
            errx(EXIT_FAILURE, "no thread");
    if (bench->writers > 0)
        (void)sleep(3);
    atomic_store(&bench->latency, &during);
    printf("{");
    measure(bench);
    atomic_store(&bench->stop, true);
    for (long i = 0; i < bench->writers; i++)
        pthread_join(threads[i], NULL);
    if (bench->writers > 0) {
        printf("{");
        report_latency("before", &before);
        report_latency("during", &during);
        printf("\"writers\": %ld}\n", bench->writers);
    }
    free(threads);
}

static const char usage[] =
    "usage: rewrap [--direct] [--move] [--objects N] [--writers N] [--directory DIRECTORY]\n"
    "Rewraps objects of a store of its own, through a keyholder process of its own; reports in\n"
    "JSON.\n";

static void parse_options(struct bench *bench, int argc, char **argv)
{
    static const struct option known[] = {
        {"direct", no_argument, NULL, 'd'},        {"move", no_argument, NULL, 'm'},
        {"objects", required_argument, NULL, 'o'}, {"writers", required_argument, NULL, 'w'},
        {"directory", required_argument, NULL, 'p'}, {NULL, 0, NULL, 0}};
    int which;
    while ((which = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (which == 'd')
            bench->direct = true;
        else if (which == 'm')
            bench->move = true;
        else if (which == 'o')
            bench->objects = slice_number(optarg, 1, 10000000);
        else if (which == 'w')
            bench->writers = slice_number(optarg, 0, 1024);
        else if (which == 'p')
            bench->base = optarg;
        else
            errx(EXIT_FAILURE, "%s", usage);
    }
    if (optind != argc)
        errx(EXIT_FAILURE, "%s", usage);
}

int main(int argc, char **argv)
{
    static struct bench bench = {
        .objects = 100000, .base = "/tmp", .lock = PTHREAD_MUTEX_INITIALIZER};
    if (argc == 2 && strcmp(argv[1], "keyholder") == 0)
        keyholder_main();
    parse_options(&bench, argc, argv);
    (void)snprintf(bench.directory, sizeof(bench.directory), "%s/kmipd-bench-XXXXXX", bench.base);
    if (mkdtemp(bench.directory) == NULL)
        err(EXIT_FAILURE, "mkdtemp");
    clock_init_system(&bench.clock);
    open_key_manager(&bench);
    open_store(&bench);
    make_objects(&bench);
    open_upkeep(&bench);
    run(&bench);
    close_it(&bench);
    return EXIT_SUCCESS;
}
