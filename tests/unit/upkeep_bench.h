/* SPDX-License-Identifier: Apache-2.0 */
/* A store, a core and two key managers, and upkeep over them with little patience. */
#ifndef KMIPD_TESTS_UPKEEP_BENCH_H
#define KMIPD_TESTS_UPKEEP_BENCH_H

#include "core/core.h"
#include "fake_keymanager.h"
#include "upkeep/inside.h"

#define BENCH_NOW      INT64_C(1700000000000)
#define BENCH_KEY_SIZE 32

struct upkeep_bench {
    char directory[64]; /* of the SQLite store; empty: it is in memory */
    char path[96];
    struct store *store;
    struct store_session *session;
    struct clock clock;
    struct keymanager *local;  /* KEYMANAGER_SEALED_FILE */
    struct keymanager *remote; /* KEYMANAGER_KEY_PROTECT, a fake */
    struct keymanagers keymanagers;
    struct core *core;
    struct upkeep *upkeep;
    struct upkeep_options options;
    struct adapter_row adapter;
    struct uuid remote_root_key;
};

void bench_open(struct upkeep_bench *bench, bool on_disk);
void bench_close(struct upkeep_bench *bench);
/* The same key managers over a copy of the store's files as they are now. */
void bench_copy(struct upkeep_bench *from, struct upkeep_bench *copy);
void bench_close_copy(struct upkeep_bench *copy);

void bench_upkeep_start(struct upkeep_bench *bench);
void bench_upkeep_stop(struct upkeep_bench *bench);

struct uuid bench_root_key(struct keymanager *keymanager);
void bench_adapter(struct upkeep_bench *bench, const char *name, struct adapter_row *ret_row);
/* The adapter's row as it is now. */
struct adapter_row bench_read_adapter(struct upkeep_bench *bench);

struct uuid bench_id(unsigned number);
/* Makes object `number`, its key under the adapter's root key. */
void bench_insert(struct upkeep_bench *bench, const struct adapter_row *adapter, unsigned number);
void bench_insert_many(struct upkeep_bench *bench, unsigned first, unsigned count);
/* Changes it as a client would; true if it was not changed by another meanwhile. */
bool bench_update(struct upkeep_bench *bench, struct store_session *session, unsigned number,
                  uint32_t state);

/* Fails unless each of the objects opens, and is under the root key, in this version (0: any). */
void bench_check(struct upkeep_bench *bench, unsigned first, unsigned count,
                 enum keymanager_code code, const struct uuid *root_key, uint32_t version);

/* Waits until the condition holds; fails after some seconds. */
#define BENCH_WAIT(condition)                                              \
    do {                                                                   \
        int64_t bench_until = clock_monotonic() + 20000;                   \
        while (!(condition)) {                                             \
            if (clock_monotonic() > bench_until)                           \
                fail_msg("line %d: it never came true: %s", __LINE__, #condition); \
            (void)usleep(1000);                                            \
        }                                                                  \
    } while (0)

struct upkeep_progress bench_progress(struct upkeep_bench *bench);
/* True when nothing more is to do, and nothing is waited for. */
bool bench_settled(struct upkeep_bench *bench);

#endif
