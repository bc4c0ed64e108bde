/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KMIPD_UPKEEP_KEEPER_H
#define KMIPD_UPKEEP_KEEPER_H

#include "upkeep/inside.h"

/* A record that another has taken the place of, and that nobody here has tried to delete yet: who
 * finds it deleted knows that it was somebody else. */
struct replaced {
    struct uuid record; /* first: they are sorted by it */
    struct uuid object;
    bool settled;
};

struct keeper {
    struct upkeep *upkeep;
    enum keymanager_code code;
    struct keymanager *keymanager;
    pthread_t thread;

    /* The rest is the thread's own. */
    struct store_session *session;
    struct adapter_list adapters;
    int64_t record_at;  /* monotonic milliseconds: when to write records next */
    int64_t compare_at; /* and when to compare them */
    int64_t back_off;
    bool may_replace;      /* records were compared just now */
    bool wants_to_replace; /* records that are there */
    bool left_more;        /* records are left behind beyond those just deleted */
    struct replaced *replaced;
    size_t replaced_count;
    size_t replaced_capacity;
};

/* Looks at the root keys that are due; returns when the next is (monotonic milliseconds). */
int64_t keeper_look(struct keeper *keeper);

/* Writes and deletes what records are due, and compares them now and then; returns when to be called
 * again at the latest. Nothing where the key manager keeps no records. */
int64_t keeper_records(struct keeper *keeper);

/* True if this key manager is to keep a record of each object of the adapter. */
bool keeper_records_adapter(const struct keeper *keeper, const struct adapter_row *adapter);

/* Compares the key manager's records with ours. Any failure: it is to be tried again soon. */
enum status keeper_compare(struct keeper *keeper) MUST_USE;

/* Asks for a record: OK, or NOT_FOUND when it was deleted; else it is not known. */
enum status keeper_ask(struct keymanager *keymanager, const struct uuid *record) MUST_USE;

/* This row's record was replaced just now. */
void keeper_replaced(struct keeper *keeper, const struct record_row *former);

/* Deletes the record of a row, and then the row. */
enum status keeper_delete_record(const struct keeper *keeper, const struct record_row *row)
    MUST_USE;

#endif
