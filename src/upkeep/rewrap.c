/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rewrapping: a walk through an adapter's objects in ascending sequence, with many in flight. An
 * object that is not under the adapter's root key and its newest version is taken through
 *
 *     REWRAP                       within one key manager and root key
 *     UNWRAP, WRAP                 from one to another
 *     PROVE                        where the key manager is another machine: what it made is opened
 *     COMMIT                       the blob alone is replaced, if the object is as it was read
 *
 * and back to the beginning when it was changed meanwhile. What fails is counted, and taken up
 * again later: from a list, or where there are too many, from the first that failed on. What is saved is how far all was looked at, so that
 * after a kill at any point what is lost is the looking at a few objects again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "upkeep/inside.h"

#define COMMITS_MAX   64 /* of one adapter in flight: more would hold up clients' commits */
#define SLICE         10 /* milliseconds, in which so many objects are begun at most: */
#define SLICE_OBJECTS 100 /* 10,000 a second take a tenth of a processor, and clients the rest */
#define JOBS_DEFAULT  32
#define ATTEMPTS_MAX  20
#define SAMPLE_PERIOD 1000
#define FAILED_MAX    10000 /* kept in a list */

enum item_stage { ITEM_REWRAP, ITEM_UNWRAP, ITEM_WRAP, ITEM_PROVE, ITEM_COMMIT };

/* One object in flight. */
struct item {
    struct keymanager_job job;
    struct store_transaction transaction;
    struct store_change change;
    struct upkeep *upkeep;
    struct rewrap *rewrap;
    struct item *next_finished;
    struct item *older; /* in flight, by sequence */
    struct item *newer;
    struct stored_object *object;
    struct secret key;  /* while it goes from one key manager to the other */
    struct buffer blob; /* the new one */
    int64_t sequence;
    unsigned attempts;
    enum item_stage stage;
    enum status status; /* of the stage */
};

/* ---- What comes back ---- */

static void come_back(struct item *item)
{
    struct upkeep *upkeep = item->upkeep;
    item->next_finished = NULL;
    (void)pthread_mutex_lock(&upkeep->lock);
    *upkeep->finished_end = item;
    upkeep->finished_end = &item->next_finished;
    upkeep->walking.wakes++;
    (void)pthread_cond_signal(&upkeep->walking.wake);
    (void)pthread_mutex_unlock(&upkeep->lock);
}

static void job_done(struct keymanager_job *job)
{
    struct item *item = CONTAINER_OF(job, struct item, job);
    item->status = job->status;
    come_back(item);
}

static void commit_done(struct store_transaction *transaction, enum status status)
{
    struct item *item = CONTAINER_OF(transaction, struct item, transaction);
    item->status = status;
    come_back(item);
}

/* ---- Items ---- */

static struct item *item_make(struct upkeep *upkeep, struct rewrap *rewrap,
                              struct stored_object *object)
{
    struct item *item = calloc(1, sizeof(*item));
    if (item == NULL)
        return NULL;
    item->upkeep = upkeep;
    item->rewrap = rewrap;
    item->object = object;
    item->sequence = object->row.sequence;
    stored_object_hold(object);
    buffer_init(&item->blob, KEYMANAGER_PLAINTEXT_MAX + WRAPPED_OVERHEAD_MAX);
    item->older = rewrap->newest;
    *(rewrap->newest != NULL ? &rewrap->newest->newer : &rewrap->oldest) = item;
    rewrap->newest = item;
    rewrap->in_flight++;
    return item;
}

static void item_end(struct item *item)
{
    struct rewrap *rewrap = item->rewrap;
    *(item->older != NULL ? &item->older->newer : &rewrap->oldest) = item->newer;
    *(item->newer != NULL ? &item->newer->older : &rewrap->newest) = item->older;
    rewrap->in_flight--;
    stored_object_release(item->object);
    secret_free(&item->key);
    buffer_free(&item->blob);
    free(item);
}

/* ---- Outcomes ---- */

/* It is as it should be; `rewrapped`: by us. In a walk for what has failed, all others were
 * counted before. */
static void item_done(struct item *item, bool rewrapped)
{
    struct rewrap_state *state = &item->rewrap->state;
    (void)pthread_mutex_lock(&item->upkeep->lock);
    if (state->phase != REWRAP_RETRYING || rewrapped) {
        state->done++;
        if (state->phase == REWRAP_RETRYING && state->failed > 0)
            state->failed--;
    }
    state->rewrapped += rewrapped;
    if (state->total < state->done)
        state->total = state->done;
    (void)pthread_mutex_unlock(&item->upkeep->lock);
    if (rewrapped)
        item->rewrap->back_off = 0;
    item_end(item);
}

/* Destroyed or deleted meanwhile: it does not count. */
static void item_gone(struct item *item)
{
    (void)pthread_mutex_lock(&item->upkeep->lock);
    if (item->rewrap->state.total > item->rewrap->state.done)
        item->rewrap->state.total--;
    (void)pthread_mutex_unlock(&item->upkeep->lock);
    item_end(item);
}

/* Waits longer each time, and does not begin anything more meanwhile. */
static void back_off(struct upkeep *upkeep, struct rewrap *rewrap)
{
    const struct upkeep_times *times = &upkeep->times;
    int64_t now = clock_monotonic();
    if (rewrap->not_before > now)
        return;
    rewrap->back_off = rewrap->back_off == 0 ? times->retry_first : rewrap->back_off * 2;
    if (rewrap->back_off > times->retry_most)
        rewrap->back_off = times->retry_most;
    rewrap->not_before = now + rewrap->back_off;
}

/* Failures that the next object will meet as well. */
static bool is_general(enum status status)
{
    return status == STATUS_KEY_MANAGER_UNAVAILABLE || status == STATUS_STORE_FULL ||
           status == STATUS_STORE_READ_ONLY || status == STATUS_STORE_FAILED ||
           status == STATUS_NO_MEMORY;
}

static void list_failure(struct failed_list *list, const struct uuid *object)
{
    if (list->count == list->capacity && !list->partial) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        struct uuid *grown = capacity <= FAILED_MAX
                                 ? reallocarray(list->objects, capacity, sizeof(*grown))
                                 : NULL;
        list->partial = grown == NULL;
        if (grown != NULL) {
            list->objects = grown;
            list->capacity = capacity;
        }
    }
    if (!list->partial)
        list->objects[list->count++] = *object;
}

static void clear_list(struct failed_list *list)
{
    free(list->objects);
    *list = (struct failed_list){0};
}

static void note_failure(struct upkeep *upkeep, struct rewrap *rewrap, int64_t sequence,
                         const struct uuid *object, enum status status)
{
    list_failure(&rewrap->failed, object);
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(object, text);
    struct rewrap_state *state = &rewrap->state;
    (void)pthread_mutex_lock(&upkeep->lock);
    rewrap->pass_failed++;
    if (state->phase != REWRAP_RETRYING)
        state->failed++;
    else if (state->failed < rewrap->pass_failed)
        state->failed = rewrap->pass_failed;
    if (state->first_failed == 0 || sequence < state->first_failed)
        state->first_failed = sequence;
    (void)snprintf(rewrap->failure, sizeof(rewrap->failure), "%s: %s", text, status_text(status));
    (void)pthread_mutex_unlock(&upkeep->lock);
    if (is_general(status))
        back_off(upkeep, rewrap);
}

static void item_failed(struct item *item, enum status status)
{
    note_failure(item->upkeep, item->rewrap, item->sequence, &item->object->row.id, status);
    item_end(item);
}

/* ---- Stages ---- */

static void submit(struct item *item, enum item_stage stage, enum keymanager_task task,
                   struct keymanager *keymanager, const struct wrap_binding *binding,
                   struct wrapped wrapped)
{
    item->stage = stage;
    item->job = (struct keymanager_job){.task = task,
                                        .background = true,
                                        .binding = *binding,
                                        .wrapped = wrapped,
                                        .done = job_done};
    if (task == KEYMANAGER_WRAP)
        item->job.plaintext = item->key; /* lent */
    buffer_init(&item->job.ret_wrapped, KEYMANAGER_PLAINTEXT_MAX + WRAPPED_OVERHEAD_MAX);
    item->rewrap->jobs++;
    item->rewrap->slice_objects += stage == ITEM_REWRAP || stage == ITEM_UNWRAP;
    keymanager_submit(keymanager, &item->job);
}

static enum keymanager_code target_code(const struct rewrap *rewrap)
{
    return (enum keymanager_code)rewrap->row.key_manager;
}

static struct wrap_binding target_binding(const struct item *item)
{
    return (struct wrap_binding){.object = item->object->row.id,
                                 .adapter = item->rewrap->adapter,
                                 .root_key = item->rewrap->row.root_key};
}

/* Under the adapter's root key already, in whatever version. */
static bool is_at_target(const struct rewrap *rewrap, const struct wrapped_origin *origin)
{
    return origin->code == target_code(rewrap) &&
           uuid_equal(&origin->binding.root_key, &rewrap->row.root_key);
}

static bool is_newest(const struct rewrap *rewrap, const struct wrapped_origin *origin)
{
    return origin->version != 0 && rewrap->version != 0 && origin->version >= rewrap->version;
}

static void begin_item(struct item *item)
{
    struct rewrap *rewrap = item->rewrap;
    struct wrapped wrapped = item->object->row.wrapped;
    struct wrapped_origin origin;
    struct keymanager *keymanager;
    struct wrap_binding binding;
    enum status status = wrapped_origin(wrapped, &origin);
    if (status == STATUS_OK && is_at_target(rewrap, &origin) && is_newest(rewrap, &origin)) {
        item_done(item, false);
        return;
    }
    if (status == STATUS_OK)
        status = keymanagers_of(item->upkeep->keymanagers, wrapped, &item->object->row.id,
                                &rewrap->adapter, &keymanager, &binding);
    if (status != STATUS_OK)
        item_failed(item, status);
    else if (is_at_target(rewrap, &origin))
        submit(item, ITEM_REWRAP, KEYMANAGER_REWRAP, keymanager, &binding, wrapped);
    else
        submit(item, ITEM_UNWRAP, KEYMANAGER_UNWRAP, keymanager, &binding, wrapped);
}

static void wrap(struct item *item)
{
    struct keymanager *keymanager =
        keymanagers_get(item->upkeep->keymanagers, target_code(item->rewrap));
    const struct wrap_binding binding = target_binding(item);
    if (keymanager == NULL)
        item_failed(item, STATUS_KEY_MANAGER_UNAVAILABLE);
    else
        submit(item, ITEM_WRAP, KEYMANAGER_WRAP, keymanager, &binding, (struct wrapped){0});
}

static void commit(struct item *item)
{
    item->stage = ITEM_COMMIT;
    secret_free(&item->key);
    item->change = (struct store_change){.kind = STORE_REWRAP, .row = item->object->row};
    item->change.row.wrapped.blob = buffer_bytes(&item->blob);
    item->transaction =
        (struct store_transaction){.changes = &item->change, .count = 1, .done = commit_done};
    store_submit(item->upkeep->store, &item->transaction);
}

/* The sealed file's keyholder is this program; what others have made must open before it takes the
 * place of what does. */
static void prove(struct item *item)
{
    struct rewrap *rewrap = item->rewrap;
    const struct wrapped made = {buffer_bytes(&item->blob)};
    const struct wrap_binding binding = target_binding(item);
    struct wrapped_origin origin;
    enum status status = wrapped_origin(made, &origin);
    if (status == STATUS_OK &&
        (!is_at_target(rewrap, &origin) || !uuid_equal(&origin.binding.object, &binding.object) ||
         !uuid_equal(&origin.binding.adapter, &binding.adapter)))
        status = STATUS_UNWRAP_FAILED;
    struct keymanager *keymanager = keymanagers_get(item->upkeep->keymanagers, origin.code);
    if (status != STATUS_OK || keymanager == NULL)
        item_failed(item, status != STATUS_OK ? status : STATUS_KEY_MANAGER_UNAVAILABLE);
    else if (origin.code == KEYMANAGER_SEALED_FILE)
        commit(item);
    else
        submit(item, ITEM_PROVE, KEYMANAGER_UNWRAP, keymanager, &binding, made);
}

/* What was unwrapped is the key that was wrapped, where that is known. */
static bool is_proven(const struct item *item)
{
    return item->key.data == NULL || secret_equal(&item->key, &item->job.plaintext);
}

/* Takes it up from the beginning, as it is in the store now. */
static void again(struct item *item)
{
    struct stored_object *object = NULL;
    enum status status = store_get(item->upkeep->walker, item->rewrap->row.id,
                                   &item->object->row.id, &object);
    if (status == STATUS_OBJECT_NOT_FOUND) {
        item_gone(item);
        return;
    }
    if (status != STATUS_OK || ++item->attempts > ATTEMPTS_MAX) {
        stored_object_release(object);
        item_failed(item, status != STATUS_OK ? status : STATUS_CONFLICT);
        return;
    }
    stored_object_release(item->object);
    item->object = object;
    secret_free(&item->key);
    buffer_reset(&item->blob);
    item->stage = ITEM_REWRAP;
    if (object->row.wrapped.blob.size == 0)
        item_gone(item);
    else
        begin_item(item);
}

/* ---- What follows a stage ---- */

static void after_job(struct item *item)
{
    if (item->status != STATUS_OK) {
        item_failed(item, item->status);
    } else if (item->stage == ITEM_UNWRAP) {
        item->key = secret_take(&item->job.plaintext);
        wrap(item);
    } else if (item->blob.size == 0) {
        item_done(item, false); /* it is under the newest version */
    } else {
        prove(item);
    }
}

static void after_proof(struct item *item)
{
    bool proven = item->status == STATUS_OK && is_proven(item);
    if (item->status == STATUS_OK)
        secret_free(&item->job.plaintext);
    if (proven)
        commit(item);
    else
        item_failed(item, item->status != STATUS_OK ? item->status : STATUS_UNWRAP_FAILED);
}

static void after_commit(struct item *item)
{
    if (item->status == STATUS_OK) {
        core_key_rewrapped(item->upkeep->core, &item->object->row.id, item->object->row.wrapped,
                           item->change.row.wrapped);
        item_done(item, true);
    } else if (item->status == STATUS_CONFLICT) {
        again(item);
    } else if (item->status == STATUS_OBJECT_NOT_FOUND) {
        item_gone(item);
    } else {
        item_failed(item, item->status);
    }
}

static void finish(struct item *item)
{
    if (item->stage == ITEM_COMMIT) {
        after_commit(item);
        return;
    }
    item->rewrap->jobs--;
    struct buffer made = item->job.ret_wrapped;
    if (item->status == STATUS_OK && (item->stage == ITEM_REWRAP || item->stage == ITEM_WRAP)) {
        buffer_free(&item->blob);
        item->blob = made;
    } else {
        buffer_free(&made);
    }
    if (item->stage == ITEM_PROVE)
        after_proof(item);
    else
        after_job(item);
}

void rewraps_finish(struct upkeep *upkeep)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    struct item *item = upkeep->finished;
    upkeep->finished = NULL;
    upkeep->finished_end = &upkeep->finished;
    (void)pthread_mutex_unlock(&upkeep->lock);
    while (item != NULL) {
        struct item *next = item->next_finished;
        finish(item);
        item = next;
    }
}

/* ---- The walk ---- */

static void drop_page(struct rewrap *rewrap)
{
    while (rewrap->page_count > rewrap->page_next)
        stored_object_release(rewrap->page[--rewrap->page_count]);
    rewrap->page_count = 0;
    rewrap->page_next = 0;
}

static void walk_from(struct rewrap *rewrap, int64_t position)
{
    drop_page(rewrap);
    clear_list(&rewrap->failed);
    clear_list(&rewrap->retrying);
    rewrap->cursor = position;
    rewrap->page_after = position;
    rewrap->at_end = false;
    rewrap->pass_failed = 0;
}

static bool gather(void *context, struct stored_object *object)
{
    struct rewrap *rewrap = context;
    stored_object_hold(object);
    rewrap->page[rewrap->page_count++] = object;
    return true;
}

static enum status next_page(struct upkeep *upkeep, struct rewrap *rewrap)
{
    drop_page(rewrap);
    const struct store_query query = {.adapter = rewrap->row.id,
                                      .after = rewrap->page_after,
                                      .limit = ARRAY_COUNT(rewrap->page)};
    int64_t next = 0;
    enum status status = store_find(upkeep->walker, &query, gather, rewrap, &next);
    if (status != STATUS_OK) {
        drop_page(rewrap);
        return status;
    }
    rewrap->at_end = next == 0;
    rewrap->page_after = next;
    return STATUS_OK;
}

static bool has_list(const struct rewrap *rewrap)
{
    return rewrap->retrying.next < rewrap->retrying.count;
}

/* As next_object(). Those that are gone meanwhile are passed over. */
static enum status next_of_list(struct upkeep *upkeep, struct rewrap *rewrap,
                                struct stored_object **ret_object)
{
    struct failed_list *list = &rewrap->retrying;
    while (has_list(rewrap)) {
        enum status status = store_get(upkeep->walker, rewrap->row.id,
                                       &list->objects[list->next], ret_object);
        if (status != STATUS_OK && status != STATUS_OBJECT_NOT_FOUND)
            return status;
        list->next++;
        if (status == STATUS_OK)
            return STATUS_OK;
    }
    return STATUS_OK;
}

/* The next object, held, with *ret_object NULL at the end. */
static enum status next_object(struct upkeep *upkeep, struct rewrap *rewrap,
                               struct stored_object **ret_object)
{
    *ret_object = NULL;
    if (has_list(rewrap))
        return next_of_list(upkeep, rewrap, ret_object);
    while (rewrap->page_next == rewrap->page_count) {
        if (rewrap->at_end)
            return STATUS_OK;
        enum status status = next_page(upkeep, rewrap);
        if (status != STATUS_OK)
            return status;
    }
    *ret_object = rewrap->page[rewrap->page_next++];
    rewrap->cursor = (*ret_object)->row.sequence;
    return STATUS_OK;
}

/* Takes one object up. False: there is none, or it is better to wait. */
static bool take_next(struct upkeep *upkeep, struct rewrap *rewrap)
{
    struct stored_object *object;
    enum status status = next_object(upkeep, rewrap, &object);
    if (status != STATUS_OK)
        back_off(upkeep, rewrap);
    if (status != STATUS_OK || object == NULL)
        return false;
    struct item *item = object->row.wrapped.blob.size > 0 ? item_make(upkeep, rewrap, object) : NULL;
    if (item != NULL)
        begin_item(item);
    else if (object->row.wrapped.blob.size > 0)
        note_failure(upkeep, rewrap, object->row.sequence, &object->row.id, STATUS_NO_MEMORY);
    stored_object_release(object);
    return true;
}

static bool has_room(const struct upkeep *upkeep, const struct rewrap *rewrap)
{
    unsigned most = upkeep->options.policies[target_code(rewrap)].jobs_max;
    most = most > 0 ? most : JOBS_DEFAULT;
    return rewrap->jobs < most && rewrap->in_flight < most + COMMITS_MAX;
}

/* ---- Passes ---- */

static void set_phase(struct upkeep *upkeep, struct rewrap *rewrap, enum rewrap_phase phase)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    rewrap->state.phase = phase;
    (void)pthread_mutex_unlock(&upkeep->lock);
}

/* How far all was looked at. */
static void note_position(struct upkeep *upkeep, struct rewrap *rewrap)
{
    int64_t position = rewrap->oldest != NULL ? rewrap->oldest->sequence - 1 : rewrap->cursor;
    (void)pthread_mutex_lock(&upkeep->lock);
    if (rewrap->state.phase != REWRAP_RETRYING)
        rewrap->state.position = position;
    (void)pthread_mutex_unlock(&upkeep->lock);
}

static void save(struct upkeep *upkeep, struct rewrap *rewrap)
{
    note_position(upkeep, rewrap);
    rewrap->saved = clock_monotonic();
    (void)rewrap_save(upkeep, rewrap); /* else later; the older state is as true, and costs more */
}

static void report_end(struct upkeep *upkeep, const struct rewrap *rewrap,
                       const struct rewrap_state *state)
{
    upkeep_report(upkeep, STATUS_OK, "rewrap finished", rewrap->row.name, &rewrap->row.root_key,
                  "objects=%lld rewrapped=%lld seconds=%lld", (long long)state->total,
                  (long long)state->rewrapped,
                  (long long)((clock_now(upkeep->clock) - state->started) / 1000));
}

static void end_walk(struct upkeep *upkeep, struct rewrap *rewrap)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    struct rewrap_state *state = &rewrap->state;
    state->phase = REWRAP_DONE;
    state->from_count = 0;
    state->version = rewrap->version;
    state->failed = 0;
    state->first_failed = 0;
    state->total = state->done;
    rewrap->failure[0] = '\0';
    const struct rewrap_state ended = *state;
    (void)pthread_mutex_unlock(&upkeep->lock);
    save(upkeep, rewrap);
    report_end(upkeep, rewrap, &ended);
}

/* Takes up what failed: all that is in the list, the walk being at its end; or walks again. */
static void retry_from(struct rewrap *rewrap, int64_t position)
{
    if (rewrap->failed.partial) {
        walk_from(rewrap, position);
        return;
    }
    clear_list(&rewrap->retrying);
    rewrap->retrying = rewrap->failed;
    rewrap->failed = (struct failed_list){0};
    rewrap->pass_failed = 0;
}

/* Where it goes on after a pass in which something failed. */
static void retry(struct upkeep *upkeep, struct rewrap *rewrap)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    struct rewrap_state *state = &rewrap->state;
    bool first = state->phase != REWRAP_RETRYING;
    if (!first)
        state->failed = rewrap->pass_failed;
    if (state->total < state->done + state->failed || !first)
        state->total = state->done + state->failed;
    int64_t from = state->first_failed - 1;
    state->phase = REWRAP_RETRYING;
    (void)pthread_mutex_unlock(&upkeep->lock);
    if (first) {
        upkeep_report(upkeep, STATUS_KEY_MANAGER_UNAVAILABLE, "rewrap delayed", rewrap->row.name,
                      &rewrap->row.root_key, "objects=%lld failed, and are tried again: %s",
                      (long long)rewrap->state.failed, rewrap->failure);
        rewrap->back_off = 0;
    }
    rewrap->not_before = 0;
    back_off(upkeep, rewrap);
    save(upkeep, rewrap);
    retry_from(rewrap, from);
    (void)pthread_mutex_lock(&upkeep->lock);
    state->first_failed = 0;
    (void)pthread_mutex_unlock(&upkeep->lock);
}

static void end_pass(struct upkeep *upkeep, struct rewrap *rewrap)
{
    const struct rewrap_state *state = &rewrap->state; /* nobody else writes but for `from` */
    if (state->first_failed != 0) {
        retry(upkeep, rewrap);
    } else if (state->from_count > 0 && !rewrap->settled) {
        set_phase(upkeep, rewrap, REWRAP_SETTLING);
        rewrap->settled = true;
        rewrap->not_before = clock_monotonic() + upkeep->times.settle;
        int64_t cursor = rewrap->cursor;
        walk_from(rewrap, cursor);
        save(upkeep, rewrap);
    } else {
        end_walk(upkeep, rewrap);
    }
}

/* ---- Beginning ---- */

static void count_objects(struct upkeep *upkeep, struct rewrap *rewrap)
{
    int64_t counts[8] = {0};
    if (store_count(upkeep->walker, rewrap->row.id, counts) != STATUS_OK)
        return; /* then the number is found on the way */
    int64_t total = 0;
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++)
        total += i == 5 || i == 6 ? 0 : counts[i]; /* destroyed: KMIP 1.4 §9.1.3.2.17 */
    (void)pthread_mutex_lock(&upkeep->lock);
    rewrap->state.total = total;
    (void)pthread_mutex_unlock(&upkeep->lock);
}

static void restart(struct upkeep *upkeep, struct rewrap *rewrap)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    struct rewrap_state *state = &rewrap->state;
    struct rewrap_state fresh = {.phase = REWRAP_WALKING,
                                 .started = clock_now(upkeep->clock),
                                 .from_count = state->from_count};
    memcpy(fresh.from, state->from, sizeof(fresh.from));
    *state = fresh;
    rewrap->restart = false;
    rewrap->failure[0] = '\0';
    memset(rewrap->samples, 0, sizeof(rewrap->samples));
    (void)pthread_mutex_unlock(&upkeep->lock);
    rewrap->begun = true;
    rewrap->settled = false;
    rewrap->not_before = 0;
    rewrap->back_off = 0;
    walk_from(rewrap, 0);
    count_objects(upkeep, rewrap);
    save(upkeep, rewrap);
}

/* Goes on where the last process ended. */
static void resume(struct upkeep *upkeep, struct rewrap *rewrap)
{
    const struct rewrap_state *state = &rewrap->state;
    rewrap->begun = true;
    rewrap->saved = clock_monotonic();
    if (state->phase == REWRAP_RETRYING) {
        walk_from(rewrap, state->first_failed > 0 ? state->first_failed - 1 : 0);
        return;
    }
    walk_from(rewrap, state->position);
    rewrap->failed.partial = state->first_failed != 0; /* the list is of this process */
    if (state->phase == REWRAP_SETTLING) {
        rewrap->settled = true;
        rewrap->not_before = clock_monotonic() + upkeep->times.settle;
    } else if (state->total == 0) {
        count_objects(upkeep, rewrap);
    }
}

/* The root key to wrap with is active, and its newest version known since the order. */
static bool is_ready(struct upkeep *upkeep, struct rewrap *rewrap)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    const struct watched *watched =
        upkeep_watched(upkeep, target_code(rewrap), &rewrap->row.root_key);
    bool ready = watched != NULL && watched->shown.status == STATUS_OK &&
                 watched->look > rewrap->look_after;
    if (ready)
        rewrap->version = watched->version;
    else if (rewrap->failure[0] == '\0' && watched != NULL && watched->look > rewrap->look_after)
        (void)snprintf(rewrap->failure, sizeof(rewrap->failure), "root key: %.*s", 200,
                       watched->shown.text);
    (void)pthread_mutex_unlock(&upkeep->lock);
    return ready;
}

static void sample(struct upkeep *upkeep, struct rewrap *rewrap, int64_t now)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    struct rate_sample *samples = rewrap->samples;
    if (samples[0].time == 0 || now - samples[0].time >= SAMPLE_PERIOD) {
        memmove(samples + 1, samples, (RATE_SAMPLES - 1) * sizeof(*samples));
        samples[0] = (struct rate_sample){now, rewrap->state.done};
    }
    (void)pthread_mutex_unlock(&upkeep->lock);
}

/* False: enough was begun in this slice of time. */
static bool has_time(struct rewrap *rewrap, int64_t now)
{
    if (now - rewrap->slice >= SLICE) {
        rewrap->slice = now;
        rewrap->slice_objects = 0;
    }
    return rewrap->slice_objects < SLICE_OBJECTS;
}

/* Works off a pass as far as there is room. */
static int64_t walk(struct upkeep *upkeep, struct rewrap *rewrap, int64_t now)
{
    if (rewrap->not_before > now)
        return rewrap->not_before;
    if (!is_ready(upkeep, rewrap))
        return now + upkeep->times.tick;
    while (!atomic_load(&upkeep->stopping) && has_room(upkeep, rewrap) &&
           has_time(rewrap, now) && rewrap->not_before <= now && take_next(upkeep, rewrap))
        continue;
    sample(upkeep, rewrap, now);
    if (rewrap->not_before > now)
        return rewrap->not_before;
    bool ended =
        rewrap->at_end && rewrap->page_next == rewrap->page_count && !has_list(rewrap);
    if (ended && rewrap->in_flight == 0 && !atomic_load(&upkeep->stopping)) {
        end_pass(upkeep, rewrap);
        return now;
    }
    if (now - rewrap->saved >= upkeep->times.save)
        save(upkeep, rewrap);
    return ended || !has_room(upkeep, rewrap) ? now + upkeep->times.tick : rewrap->slice + SLICE;
}

static void set_gone(struct upkeep *upkeep, struct rewrap *rewrap, bool gone)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    rewrap->gone = gone;
    (void)pthread_mutex_unlock(&upkeep->lock);
}

static int64_t step(struct upkeep *upkeep, struct rewrap *rewrap, int64_t now)
{
    const struct adapter_row *row = upkeep_adapter(&upkeep->adapters, &rewrap->adapter);
    (void)pthread_mutex_lock(&upkeep->lock);
    bool restarts = rewrap->restart;
    enum rewrap_phase phase = rewrap->state.phase;
    (void)pthread_mutex_unlock(&upkeep->lock);
    if (row == NULL || rewrap->gone != (row == NULL))
        set_gone(upkeep, rewrap, row == NULL);
    if (row == NULL || (phase == REWRAP_DONE && !restarts))
        return UPKEEP_NEVER;
    /* What is in flight was begun for the adapter as it was. */
    if ((restarts || !rewrap->begun) && rewrap->in_flight > 0)
        return now + upkeep->times.tick;
    if (rewrap->in_flight == 0)
        rewrap->row = *row;
    if (restarts)
        restart(upkeep, rewrap);
    else if (!rewrap->begun)
        resume(upkeep, rewrap);
    return walk(upkeep, rewrap, now);
}

int64_t rewraps_step(struct upkeep *upkeep, int64_t now)
{
    int64_t next = UPKEEP_NEVER;
    (void)pthread_mutex_lock(&upkeep->lock);
    struct rewrap *rewrap = upkeep->rewraps; /* entries are only ever put before the first */
    (void)pthread_mutex_unlock(&upkeep->lock);
    for (; rewrap != NULL; rewrap = rewrap->next) {
        int64_t at = step(upkeep, rewrap, now);
        next = at < next ? at : next;
    }
    return next;
}

static bool in_flight(struct upkeep *upkeep)
{
    for (const struct rewrap *rewrap = upkeep->rewraps; rewrap != NULL; rewrap = rewrap->next)
        if (rewrap->in_flight > 0)
            return true;
    return false;
}

void rewraps_end(struct upkeep *upkeep)
{
    while (in_flight(upkeep)) {
        (void)pthread_mutex_lock(&upkeep->lock);
        while (upkeep->finished == NULL)
            (void)pthread_cond_wait(&upkeep->walking.wake, &upkeep->lock);
        (void)pthread_mutex_unlock(&upkeep->lock);
        rewraps_finish(upkeep);
    }
    for (struct rewrap *rewrap = upkeep->rewraps; rewrap != NULL; rewrap = rewrap->next) {
        if (rewrap->begun && !rewrap->gone && rewrap->state.phase != REWRAP_DONE)
            save(upkeep, rewrap);
        drop_page(rewrap);
        clear_list(&rewrap->failed);
        clear_list(&rewrap->retrying);
    }
}
