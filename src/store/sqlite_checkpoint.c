/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving what is in the write-ahead log into the database, beside the commits. A thread of its own
 * copies nearly all of it and syncs the database, while the committer goes on appending. Then the
 * committer copies the few pages that came meanwhile: only when nothing is left may SQLite begin
 * the log anew, and only a moment without commits has nothing left.
 */
#include "store/sqlite.h"

#include <errno.h>
#include <signal.h>

#define START_PAGES 4000  /* so much log is worth a checkpoint: 16 MiB */
#define WAIT_PAGES  32000 /* with so much, commits wait for readers to let go of the log */

enum phase { PHASE_REST, PHASE_COPYING, PHASE_COPIED };

/* Only what says that the disk or the file is bad. What passes by itself (no space, busy, no
 * memory) leaves the log as it is, to be tried again. */
static enum status outcome_of(int code)
{
    enum status status = db_status(code);
    bool bad = (code & 0xFF) == SQLITE_IOERR && status == STATUS_STORE_FAILED;
    return bad || status == STATUS_STORE_CORRUPT ? status : STATUS_OK;
}

static enum status checkpoint(struct db *db, int mode)
{
    errno = 0;
    return outcome_of(sqlite3_wal_checkpoint_v2(db->handle, NULL, mode, NULL, NULL));
}

static void *run(void *argument)
{
    struct checkpointer *checkpointer = argument;
    for (;;) {
        while (sem_wait(&checkpointer->wake) != 0 && errno == EINTR)
            continue;
        if (atomic_load(&checkpointer->stopping))
            return NULL;
        checkpointer->outcome = checkpoint(&checkpointer->db, SQLITE_CHECKPOINT_PASSIVE);
        atomic_store(&checkpointer->phase, PHASE_COPIED);
    }
}

static int create_thread(struct checkpointer *checkpointer)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&checkpointer->thread, NULL, run, checkpointer);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0)
        (void)pthread_setname_np(checkpointer->thread, "checkpoint");
    return failed;
}

enum status sqlite_checkpointer_start(struct checkpointer *checkpointer, const char *path)
{
    enum status status = db_open(path, SQLITE_PRAGMAS, &checkpointer->db);
    if (status != STATUS_OK)
        return status;
    atomic_init(&checkpointer->phase, PHASE_REST);
    atomic_init(&checkpointer->stopping, false);
    if (sem_init(&checkpointer->wake, 0, 0) != 0)
        goto no_semaphore;
    if (create_thread(checkpointer) != 0)
        goto no_thread;
    checkpointer->started = true;
    return STATUS_OK;

no_thread:
    (void)sem_destroy(&checkpointer->wake);
no_semaphore:
    db_close(&checkpointer->db);
    return STATUS_NO_MEMORY;
}

void sqlite_checkpointer_stop(struct checkpointer *checkpointer)
{
    if (!checkpointer->started)
        return;
    atomic_store(&checkpointer->stopping, true);
    (void)sem_post(&checkpointer->wake);
    (void)pthread_join(checkpointer->thread, NULL);
    (void)sem_destroy(&checkpointer->wake);
    db_close(&checkpointer->db);
    checkpointer->started = false;
}

/* After the thread's part: the rest, by the committer. */
static enum status finish(struct sqlite_store *store)
{
    struct checkpointer *checkpointer = &store->checkpointer;
    atomic_store(&checkpointer->phase, PHASE_REST);
    checkpointer->finished_pages = store->log_pages;
    if (checkpointer->outcome != STATUS_OK)
        return checkpointer->outcome;
    int mode =
        store->log_pages < WAIT_PAGES ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_RESTART;
    return checkpoint(&store->writer, mode);
}

enum status sqlite_maintain(struct backend *backend)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    struct checkpointer *checkpointer = &store->checkpointer;
    int phase = atomic_load(&checkpointer->phase);
    if (phase == PHASE_COPIED)
        return finish(store);
    if (store->log_pages < checkpointer->finished_pages)
        checkpointer->finished_pages = 0; /* the log has begun anew */
    if (phase == PHASE_REST && store->log_pages - checkpointer->finished_pages >= START_PAGES) {
        atomic_store(&checkpointer->phase, PHASE_COPYING);
        (void)sem_post(&checkpointer->wake);
    }
    return STATUS_OK;
}
