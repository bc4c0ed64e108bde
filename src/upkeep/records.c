/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: what is due is written, and what is of no use any more is deleted. A record is put first,
 * then its row, which leaves the former record behind, and compare.c deletes what was left behind. A
 * kill between any two of these leaves a record too many, which is found again: the same content
 * under the same name is put once only, and what is older than what we have is deleted.
 *
 * A record takes the place of another only right after a comparison: else one that an administrator
 * has just taken out of service might be replaced by one that is not, before that was seen. One that
 * was deleted since the comparison is found before the row follows: then the new record is left
 * behind, and the next comparison withdraws the object. What is deleted after that is found right
 * before the former record is deleted, and what is disabled by the next comparison (compare.c).
 */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>

#include "core/record.h"
#include "upkeep/keeper.h"

#define PAGE          64
#define ROUND_MOST    10000 /* milliseconds: comparisons must not wait for long */
#define PAUSE_FACTOR  20 /* of the time that a search for what is due takes */
#define DESTROYED     5  /* KMIP 1.4 §9.1.3.2.17 */
#define DESTROYED_TOO 6  /* Destroyed Compromised */

/* ---- What is shown ---- */

struct shown_records *records_show(struct upkeep *upkeep, const struct uuid *adapter)
{
    struct shown_records *shown = upkeep->records;
    while (shown != NULL && !uuid_equal(&shown->adapter, adapter))
        shown = shown->next;
    if (shown != NULL)
        return shown;
    shown = calloc(1, sizeof(*shown));
    if (shown == NULL)
        return NULL;
    shown->adapter = *adapter;
    shown->next = upkeep->records;
    upkeep->records = shown;
    return shown;
}

enum status upkeep_records_state(struct upkeep *upkeep, const struct uuid *adapter,
                                 struct upkeep_records *ret_records)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    const struct shown_records *shown = upkeep->records;
    while (shown != NULL && !uuid_equal(&shown->adapter, adapter))
        shown = shown->next;
    if (shown != NULL)
        *ret_records = (struct upkeep_records){
            .recorded = shown->rows > shown->due_recorded ? shown->rows - shown->due_recorded : 0,
            .due = shown->due,
            .withdrawn = shown->withdrawn,
            .unknown = shown->unknown,
            .checked = shown->checked,
        };
    (void)pthread_mutex_unlock(&upkeep->lock);
    return shown != NULL ? STATUS_OK : STATUS_NOT_FOUND;
}

struct loading {
    struct core *core;
    enum status status;
};

static bool load_withdrawn(void *context, const struct record_row *row)
{
    struct loading *loading = context;
    if (row->withdrawn)
        loading->status = core_withdraw(loading->core, &row->object);
    return loading->status == STATUS_OK;
}

enum status records_load(struct upkeep *upkeep, struct store_session *session)
{
    struct loading loading = {.core = upkeep->core};
    enum status status = store_records(session, 0, NULL, SIZE_MAX, load_withdrawn, &loading);
    return status != STATUS_OK ? status : loading.status;
}

/* ---- Deleting ---- */

bool keeper_records_adapter(const struct keeper *keeper, const struct adapter_row *adapter)
{
    return adapter->key_manager == (uint32_t)keeper->code &&
           keeper->upkeep->options.policies[keeper->code].store_wrapped_keys;
}

enum status keeper_delete_record(const struct keeper *keeper, const struct record_row *row)
{
    struct keymanager *keymanager = keymanagers_get(keeper->upkeep->keymanagers,
                                                    (enum keymanager_code)row->key_manager);
    if (keymanager == NULL)
        return STATUS_KEY_MANAGER_UNAVAILABLE;
    enum status status = keymanager_record_delete(keymanager, &row->record, NULL);
    return status != STATUS_OK ? status
                               : store_record_remove(keeper->upkeep->store, &row->object);
}

/* ---- One page of what is due ---- */

struct put {
    struct keymanager_job job;
    struct page *page;
    struct stored_object *object;
    struct record_row row; /* of the record there is; record all zero: none */
    char name[CORE_RECORD_NAME_SIZE];
    struct buffer bytes;
};

struct page {
    struct keeper *keeper;
    const struct adapter_row *adapter;
    struct put *puts;
    size_t count;
    sem_t back;
    enum status status; /* the failure that ends the round */
};

static bool is_destroyed(const struct stored_object *object)
{
    return object->row.state == DESTROYED || object->row.state == DESTROYED_TOO;
}

static bool has_record(const struct record_row *row)
{
    static const struct uuid none;
    return !uuid_equal(&row->record, &none);
}

static bool gather_due(void *context, struct stored_object *object, const struct record_row *row)
{
    struct page *page = context;
    struct put *put = &page->puts[page->count++];
    *put = (struct put){.page = page, .object = object, .row = *row};
    stored_object_hold(object);
    buffer_init(&put->bytes, KEYMANAGER_RECORD_MAX);
    return true;
}

static void put_done(struct keymanager_job *job)
{
    struct put *put = CONTAINER_OF(job, struct put, job);
    (void)sem_post(&put->page->back);
}

static void wait_back(sem_t *back)
{
    while (sem_wait(back) != 0 && errno == EINTR)
        continue;
}

/* False: it cannot be recorded, being too large. It stays due. */
static bool prepare(struct put *put)
{
    const struct object_row *row = &put->object->row;
    const struct adapter_row *adapter = put->page->adapter;
    const struct core_record record = {
        .object = row->id,
        .version = row->version,
        .object_type = row->object_type,
        .state = row->state,
        .adapter = adapter->uuid,
        .adapter_name = bytes_of_text(adapter->name),
        .key_manager = adapter->key_manager,
        .root_key = adapter->root_key,
        .attributes = row->attributes,
        .wrapped = row->wrapped,
    };
    if (core_record_encode(&record, &put->bytes) != STATUS_OK)
        return false;
    core_record_name(&row->id, put->name);
    put->job = (struct keymanager_job){.task = KEYMANAGER_RECORD,
                                       .background = true,
                                       .binding = {.object = row->id,
                                                   .adapter = adapter->uuid,
                                                   .root_key = adapter->root_key},
                                       .record_name = put->name,
                                       .record = buffer_bytes(&put->bytes),
                                       .done = put_done};
    return true;
}

static bool is_put(const struct put *put)
{
    return put->job.done != NULL && put->job.status == STATUS_OK;
}

static bool replaces(const struct put *put)
{
    return has_record(&put->row) && !uuid_equal(&put->row.record, &put->job.record_id);
}

static enum status ask_former(const struct put *put)
{
    struct keymanager *keymanager = keymanagers_get(put->page->keeper->upkeep->keymanagers,
                                                    (enum keymanager_code)put->row.key_manager);
    /* One that is not configured any more is nobody's to ask. */
    return keymanager != NULL ? keeper_ask(keymanager, &put->row.record) : STATUS_OK;
}

/* The former record stays the object's, and the new one becomes one left behind: so it is deleted
 * in any case, and never taken for one that somebody has put back. */
static enum status leave_new(const struct put *put)
{
    struct keeper *keeper = put->page->keeper;
    struct store_change changes[2] = {
        {.kind = STORE_RECORD,
         .row = put->object->row,
         .record = &put->job.record_id,
         .record_key_manager = (uint32_t)keeper->code},
        {.kind = STORE_RECORD,
         .row = put->object->row,
         .record = &put->row.record,
         .record_key_manager = put->row.key_manager},
    };
    changes[1].row.version = put->row.version;
    return store_commit(keeper->upkeep->store, changes, ARRAY_COUNT(changes));
}

static enum status delete_new(const struct put *put)
{
    struct keeper *keeper = put->page->keeper;
    const struct record_left left = {(uint32_t)keeper->code, put->job.record_id};
    enum status status = keymanager_record_delete(keeper->keymanager, &left.record, NULL);
    return status != STATUS_OK ? status : store_record_left_remove(keeper->upkeep->store, &left);
}

/* `why` is NOT_FOUND, or the former record's state is not known, and so nothing is decided. */
static void take_back(struct put *put, enum status why)
{
    struct page *page = put->page;
    enum status status = leave_new(put);
    if (why != STATUS_NOT_FOUND)
        status = why;
    else if (status == STATUS_OK || status == STATUS_OBJECT_NOT_FOUND)
        status = delete_new(put);
    put->job.status = why;
    page->keeper->wants_to_replace = true; /* so it is compared soon */
    if (status != STATUS_OK && page->status == STATUS_OK)
        page->status = status;
}

/* Takes back what replaces a record that was deleted. When there is no answer, none is waited for
 * again. */
static void ask_formers(struct page *page)
{
    enum status failure = STATUS_OK;
    for (size_t i = 0; i < page->count; i++) {
        struct put *put = &page->puts[i];
        if (!is_put(put) || !replaces(put))
            continue;
        enum status status = failure != STATUS_OK ? failure : ask_former(put);
        if (status != STATUS_OK)
            take_back(put, status);
        if (status != STATUS_NOT_FOUND)
            failure = status;
    }
}

/* The record is there: its row follows. An object that is gone leaves a record to delete. */
static void note_put(struct put *put)
{
    struct keeper *keeper = put->page->keeper;
    struct store_change change = {.kind = STORE_RECORD,
                                  .row = put->object->row,
                                  .record = &put->job.record_id,
                                  .record_key_manager = (uint32_t)keeper->code};
    enum status status = store_commit(keeper->upkeep->store, &change, 1);
    if (status == STATUS_OK && replaces(put))
        keeper_replaced(keeper, &put->row);
    if (status == STATUS_OBJECT_NOT_FOUND)
        status = keymanager_record_delete(keeper->keymanager, &put->job.record_id, NULL);
    if (status != STATUS_OK && put->page->status == STATUS_OK)
        put->page->status = status;
}

/* All at once where none is gone meanwhile, which is nearly always. */
static void note_puts(struct page *page)
{
    struct store_change changes[PAGE];
    size_t count = 0;
    for (size_t i = 0; i < page->count; i++)
        if (is_put(&page->puts[i]))
            changes[count++] =
                (struct store_change){.kind = STORE_RECORD,
                                      .row = page->puts[i].object->row,
                                      .record = &page->puts[i].job.record_id,
                                      .record_key_manager = (uint32_t)page->keeper->code};
    bool noted = store_commit(page->keeper->upkeep->store, changes, count) == STATUS_OK;
    for (size_t i = 0; i < page->count; i++) {
        struct put *put = &page->puts[i];
        if (is_put(put) && !noted)
            note_put(put);
        else if (is_put(put) && replaces(put))
            keeper_replaced(page->keeper, &put->row);
    }
}

/* One that was withdrawn is not brought back by a change of the object. */
static bool may_put(const struct put *put)
{
    struct keeper *keeper = put->page->keeper;
    if (is_destroyed(put->object) || put->row.withdrawn)
        return false;
    bool waits = has_record(&put->row) && !keeper->may_replace;
    keeper->wants_to_replace = keeper->wants_to_replace || waits;
    return !waits;
}

static void put_all(struct page *page)
{
    size_t submitted = 0;
    for (size_t i = 0; i < page->count; i++) {
        struct put *put = &page->puts[i];
        if (!may_put(put) || !prepare(put))
            continue;
        keymanager_submit(page->keeper->keymanager, &put->job);
        submitted++;
    }
    for (; submitted > 0; submitted--)
        wait_back(&page->back);
    for (size_t i = 0; i < page->count; i++)
        if (page->puts[i].job.status != STATUS_OK && page->status == STATUS_OK)
            page->status = page->puts[i].job.status;
    ask_formers(page);
    note_puts(page);
}

static void delete_destroyed(struct page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        struct put *put = &page->puts[i];
        if (!is_destroyed(put->object) || !has_record(&put->row))
            continue;
        enum status status = keeper_delete_record(page->keeper, &put->row);
        if (status != STATUS_OK && page->status == STATUS_OK)
            page->status = status;
        if (status == STATUS_OK)
            core_reinstate(page->keeper->upkeep->core, &put->row.object); /* nothing is left of it */
    }
}

struct due_count {
    int64_t left; /* still due when the page was worked off */
    int64_t left_recorded;
    int64_t done;
};

static void count_due(const struct page *page, struct due_count *count)
{
    for (size_t i = 0; i < page->count; i++) {
        const struct put *put = &page->puts[i];
        bool done = is_put(put);
        count->done += done;
        count->left += !done && !is_destroyed(put->object);
        count->left_recorded += !done && !is_destroyed(put->object) && has_record(&put->row);
    }
}

static enum status work_off(struct keeper *keeper, const struct adapter_row *adapter,
                            int64_t *after, struct due_count *count)
{
    struct page page = {.keeper = keeper, .adapter = adapter};
    page.puts = calloc(PAGE, sizeof(*page.puts));
    if (page.puts == NULL || sem_init(&page.back, 0, 0) != 0) {
        free(page.puts);
        return STATUS_NO_MEMORY;
    }
    unsigned most = keeper->upkeep->options.policies[keeper->code].jobs_max;
    size_t limit = most > 0 && most < PAGE ? most : PAGE;
    page.status = store_records_due(keeper->session, adapter->id, *after, limit, gather_due, &page,
                                    after);
    if (page.status == STATUS_OK) {
        put_all(&page);
        delete_destroyed(&page);
    }
    count_due(&page, count);
    for (size_t i = 0; i < page.count; i++) {
        stored_object_release(page.puts[i].object);
        buffer_free(&page.puts[i].bytes);
    }
    (void)sem_destroy(&page.back);
    free(page.puts);
    return page.status;
}

/* ---- Rounds ---- */

/* `whole`: nothing behind was left out. */
static void show_due(struct upkeep *upkeep, const struct uuid *adapter,
                     const struct due_count *count, bool whole)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    struct shown_records *shown = records_show(upkeep, adapter);
    if (shown != NULL) {
        int64_t left = whole ? 0 : shown->due - count->done;
        shown->due = left > count->left ? left : count->left;
        shown->due_recorded = count->left_recorded;
    }
    (void)pthread_mutex_unlock(&upkeep->lock);
}

static enum status record_adapter(struct keeper *keeper, const struct adapter_row *adapter)
{
    struct upkeep *upkeep = keeper->upkeep;
    struct due_count count = {0};
    int64_t end = clock_monotonic() + ROUND_MOST;
    int64_t after = 0;
    enum status first = STATUS_OK;
    do {
        enum status status = work_off(keeper, adapter, &after, &count);
        first = first == STATUS_OK ? status : first;
        if (status == STATUS_KEY_MANAGER_UNAVAILABLE || status == STATUS_NO_MEMORY)
            break;
        (void)keeper_look(keeper);
    } while (after != 0 && !atomic_load(&upkeep->stopping) && clock_monotonic() < end);
    show_due(upkeep, &adapter->uuid, &count, after == 0);
    return first;
}

static enum status record_round(struct keeper *keeper)
{
    enum status first = STATUS_OK;
    for (size_t i = 0; i < keeper->adapters.count; i++) {
        const struct adapter_row *adapter = &keeper->adapters.rows[i];
        if (!keeper_records_adapter(keeper, adapter) || first == STATUS_KEY_MANAGER_UNAVAILABLE)
            continue;
        enum status status = record_adapter(keeper, adapter);
        first = first == STATUS_OK ? status : first;
    }
    return first;
}

/* How long to wait after a round: longer each time while the key manager does not answer. */
static int64_t pause_after(struct keeper *keeper, enum status status, int64_t took)
{
    const struct upkeep_times *times = &keeper->upkeep->times;
    int64_t pause = took * PAUSE_FACTOR;
    if (status == STATUS_OK) {
        keeper->back_off = 0;
        return pause > times->tick ? pause : times->tick;
    }
    if (status != STATUS_KEY_MANAGER_UNAVAILABLE)
        return times->retry_first;
    keeper->back_off = keeper->back_off == 0 ? times->retry_first : keeper->back_off * 2;
    if (keeper->back_off > times->retry_most)
        keeper->back_off = times->retry_most;
    return keeper->back_off;
}

static int64_t interval_of(const struct keeper *keeper)
{
    int64_t interval = keeper->upkeep->options.policies[keeper->code].check_interval;
    return interval > 0 ? interval : keeper->upkeep->times.tick;
}

static void compare(struct keeper *keeper)
{
    enum status status = keeper_compare(keeper);
    int64_t pause =
        status == STATUS_OK ? interval_of(keeper) : pause_after(keeper, status, 0);
    keeper->compare_at = clock_monotonic() + (keeper->left_more ? 0 : pause);
    keeper->may_replace = status == STATUS_OK;
}

static void record(struct keeper *keeper)
{
    int64_t begin = clock_monotonic();
    keeper->wants_to_replace = false;
    enum status status = record_round(keeper);
    int64_t end = clock_monotonic();
    keeper->record_at = end + pause_after(keeper, status, end - begin);
    keeper->may_replace = false;
    if (keeper->wants_to_replace && keeper->compare_at > keeper->record_at)
        keeper->compare_at = keeper->record_at;
}

int64_t keeper_records(struct keeper *keeper)
{
    if (!keymanager_keeps_records(keeper->keymanager))
        return UPKEEP_NEVER;
    int64_t now = clock_monotonic();
    if (keeper->compare_at <= now)
        compare(keeper);
    if (keeper->record_at <= now || keeper->may_replace)
        record(keeper);
    return keeper->compare_at < keeper->record_at ? keeper->compare_at : keeper->record_at;
}
