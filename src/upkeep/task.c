/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be rewrapped: orders, the state that outlives the process, progress. */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "upkeep/inside.h"

/* ---- The saved form ---- */

#define SAVED_FORM 1

struct saved_from {
    uint32_t key_manager; /* most significant byte first, as all numbers here */
    uint8_t root_key[UUID_SIZE];
} __attribute__((packed));

struct saved_state {
    uint8_t form;
    uint8_t phase;
    uint8_t from_count;
    uint8_t zero;
    uint32_t version;
    uint64_t started;
    uint64_t position;
    uint64_t first_failed;
    uint64_t total;
    uint64_t done;
    uint64_t rewrapped;
    uint64_t failed;
    struct saved_from from[REWRAP_FROM_MAX];
} __attribute__((packed));
_Static_assert(sizeof(struct saved_state) == 224, "as in docs/formats.md");

#define VALUE_NAME_SIZE (sizeof("upkeep.rewrap.") + UUID_TEXT_LENGTH)

static void value_name(const struct uuid *adapter, char ret_name[static VALUE_NAME_SIZE])
{
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(adapter, text);
    (void)snprintf(ret_name, VALUE_NAME_SIZE, "upkeep.rewrap.%s", text);
}

static struct saved_state pack(const struct rewrap_state *state)
{
    struct saved_state saved = {
        .form = SAVED_FORM,
        .phase = (uint8_t)state->phase,
        .from_count = (uint8_t)state->from_count,
        .version = htobe32(state->version),
        .started = htobe64((uint64_t)state->started),
        .position = htobe64((uint64_t)state->position),
        .first_failed = htobe64((uint64_t)state->first_failed),
        .total = htobe64((uint64_t)state->total),
        .done = htobe64((uint64_t)state->done),
        .rewrapped = htobe64((uint64_t)state->rewrapped),
        .failed = htobe64((uint64_t)state->failed),
    };
    for (unsigned i = 0; i < state->from_count; i++) {
        saved.from[i].key_manager = htobe32(state->from[i].key_manager);
        memcpy(saved.from[i].root_key, state->from[i].root_key.bytes, UUID_SIZE);
    }
    return saved;
}

static bool unpack(const struct saved_state *saved, struct rewrap_state *state)
{
    if (saved->form != SAVED_FORM || saved->from_count > REWRAP_FROM_MAX ||
        saved->phase > REWRAP_SETTLING)
        return false;
    *state = (struct rewrap_state){
        .phase = (enum rewrap_phase)saved->phase,
        .from_count = saved->from_count,
        .version = be32toh(saved->version),
        .started = (int64_t)be64toh(saved->started),
        .position = (int64_t)be64toh(saved->position),
        .first_failed = (int64_t)be64toh(saved->first_failed),
        .total = (int64_t)be64toh(saved->total),
        .done = (int64_t)be64toh(saved->done),
        .rewrapped = (int64_t)be64toh(saved->rewrapped),
        .failed = (int64_t)be64toh(saved->failed),
    };
    for (unsigned i = 0; i < state->from_count; i++) {
        state->from[i].key_manager = be32toh(saved->from[i].key_manager);
        memcpy(state->from[i].root_key.bytes, saved->from[i].root_key, UUID_SIZE);
    }
    return true;
}

/* As it is to be begun from the first object: what is known of the root keys before stays. */
static struct rewrap_state from_the_start(const struct rewrap_state *state, int64_t now)
{
    struct rewrap_state fresh = {
        .phase = REWRAP_WALKING, .started = now, .from_count = state->from_count};
    memcpy(fresh.from, state->from, sizeof(fresh.from));
    return fresh;
}

static enum status write_state(struct upkeep *upkeep, const struct uuid *adapter,
                               const struct rewrap_state *state)
{
    char name[VALUE_NAME_SIZE];
    value_name(adapter, name);
    struct saved_state saved = pack(state);
    return store_value_put(upkeep->store, name, bytes_of(&saved, sizeof(saved)));
}

/* One at a time, so that none puts an older state over a newer. */
enum status rewrap_save(struct upkeep *upkeep, struct rewrap *rewrap)
{
    (void)pthread_mutex_lock(&upkeep->saving);
    (void)pthread_mutex_lock(&upkeep->lock);
    struct rewrap_state state = rewrap->state;
    if (rewrap->restart)
        state = from_the_start(&state, clock_now(upkeep->clock));
    (void)pthread_mutex_unlock(&upkeep->lock);
    enum status status = write_state(upkeep, &rewrap->adapter, &state);
    (void)pthread_mutex_unlock(&upkeep->saving);
    return status;
}

/* ---- The list ---- */

struct rewrap *rewrap_find(struct upkeep *upkeep, const struct uuid *adapter)
{
    struct rewrap *rewrap = upkeep->rewraps;
    while (rewrap != NULL && !uuid_equal(&rewrap->adapter, adapter))
        rewrap = rewrap->next;
    return rewrap;
}

static struct rewrap *find_or_make(struct upkeep *upkeep, const struct uuid *adapter)
{
    struct rewrap *rewrap = rewrap_find(upkeep, adapter);
    if (rewrap != NULL)
        return rewrap;
    rewrap = calloc(1, sizeof(*rewrap));
    if (rewrap == NULL)
        return NULL;
    rewrap->adapter = *adapter;
    rewrap->next = upkeep->rewraps;
    upkeep->rewraps = rewrap;
    return rewrap;
}

static enum status load(struct upkeep *upkeep, struct store_session *session,
                        const struct uuid *adapter)
{
    char name[VALUE_NAME_SIZE];
    struct saved_state saved = {0};
    size_t size;
    value_name(adapter, name);
    enum status status = store_value_get(session, name, &saved, sizeof(saved), &size);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (status != STATUS_OK && status != STATUS_TOO_LARGE)
        return status;
    struct rewrap *rewrap = find_or_make(upkeep, adapter);
    if (rewrap == NULL)
        return STATUS_NO_MEMORY;
    /* What cannot be read is begun again: that costs time and nothing else. */
    if (status != STATUS_OK || size != sizeof(saved) || !unpack(&saved, &rewrap->state))
        rewrap->state = from_the_start(&rewrap->state, clock_now(upkeep->clock));
    return STATUS_OK;
}

enum status rewraps_load(struct upkeep *upkeep, struct store_session *session,
                         const struct adapter_list *adapters)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < adapters->count; i++)
        status = load(upkeep, session, &adapters->rows[i].uuid);
    return status;
}

/* ---- Orders ---- */

/* The lock is held. */
static void note_restart(struct upkeep *upkeep, struct rewrap *rewrap)
{
    rewrap->restart = true;
    rewrap->gone = false;
    rewrap->look_after = upkeep->looks;
    for (struct watched *watched = upkeep->watched; watched != NULL; watched = watched->next) {
        watched->wanted = upkeep->looks; /* the newest version is to be known */
        watched->due = 0;
    }
}

enum status rewrap_order(struct upkeep *upkeep, const struct uuid *adapter)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    struct rewrap *rewrap = find_or_make(upkeep, adapter);
    if (rewrap != NULL)
        note_restart(upkeep, rewrap);
    (void)pthread_mutex_unlock(&upkeep->lock);
    if (rewrap == NULL)
        return STATUS_NO_MEMORY;
    enum status status = rewrap_save(upkeep, rewrap);
    upkeep_wake(upkeep);
    return status;
}

/* True if the objects were brought under another version than the root key has. */
static bool rotated_since(struct upkeep *upkeep, const struct adapter_row *row)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    const struct watched *watched =
        upkeep_watched(upkeep, (enum keymanager_code)row->key_manager, &row->root_key);
    const struct rewrap *rewrap = rewrap_find(upkeep, &row->uuid);
    uint32_t version = watched != NULL ? watched->version : 0;
    bool idle = rewrap == NULL || (rewrap->state.phase == REWRAP_DONE && !rewrap->restart);
    uint32_t done = rewrap != NULL ? rewrap->state.version : 1;
    (void)pthread_mutex_unlock(&upkeep->lock);
    return idle && version > 1 && version != done;
}

void rewrap_after_rotations(struct upkeep *upkeep, const struct adapter_list *adapters)
{
    for (size_t i = 0; i < adapters->count; i++)
        if (rotated_since(upkeep, &adapters->rows[i]))
            (void)rewrap_order(upkeep, &adapters->rows[i].uuid); /* else at the next occasion */
}

static enum status read_adapter(struct upkeep *upkeep, const struct uuid *adapter,
                                struct adapter_row *ret_row)
{
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(adapter, text);
    (void)pthread_mutex_lock(&upkeep->session_lock);
    enum status status = store_adapter_find(upkeep->session, bytes_of_text(text), ret_row);
    (void)pthread_mutex_unlock(&upkeep->session_lock);
    return status;
}

enum status upkeep_rewrap(struct upkeep *upkeep, const struct uuid *adapter)
{
    struct adapter_row row;
    enum status status = read_adapter(upkeep, adapter, &row);
    return status != STATUS_OK ? status : rewrap_order(upkeep, adapter);
}

/* ---- Moves ---- */

/* The root key to move to is there and active. */
static enum status check_target(struct upkeep *upkeep, enum keymanager_code to,
                                const struct uuid *root_key, struct error *error)
{
    struct keymanager *keymanager = keymanagers_get(upkeep->keymanagers, to);
    if (keymanager == NULL)
        return error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                         "the key manager is not configured on this server");
    struct root_key_info info;
    enum status status = keymanager_root_key_info(keymanager, root_key, &info);
    if (status == STATUS_NOT_FOUND || status == STATUS_ROOT_KEY_UNAVAILABLE)
        return error_set(error, STATUS_ROOT_KEY_UNAVAILABLE,
                         "%s has no such root key, or does not let this server use it",
                         keymanager_code_name(to));
    if (status != STATUS_OK)
        return error_set(error, status, "%s: %s", keymanager_code_name(to), status_text(status));
    if (info.state != ROOT_KEY_ACTIVE)
        return error_set(error, STATUS_ROOT_KEY_UNAVAILABLE, "the root key is %s",
                         info.state == ROOT_KEY_SUSPENDED ? "disabled" : "deleted");
    return STATUS_OK;
}

/* An adapter that has arrived, but for what failed or what may have begun before, may go on to
 * another root key; the lock is held. */
static bool may_move(const struct rewrap *rewrap)
{
    const struct rewrap_state *state = &rewrap->state;
    bool arrived = state->phase == REWRAP_RETRYING || state->phase == REWRAP_SETTLING;
    return state->from_count == 0 ||
           (state->from_count < REWRAP_FROM_MAX && !rewrap->restart && arrived);
}

/* Notes durably that keys may stay under the adapter's present root key. */
static enum status note_from(struct upkeep *upkeep, const struct adapter_row *row)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    struct rewrap *rewrap = find_or_make(upkeep, &row->uuid);
    bool may = rewrap != NULL && may_move(rewrap);
    if (may) {
        struct rewrap_state *state = &rewrap->state;
        state->from[state->from_count++] = (struct rewrap_from){row->key_manager, row->root_key};
        note_restart(upkeep, rewrap);
    }
    (void)pthread_mutex_unlock(&upkeep->lock);
    if (rewrap == NULL)
        return STATUS_NO_MEMORY;
    return may ? rewrap_save(upkeep, rewrap) : STATUS_CONFLICT;
}

static enum status move(struct upkeep *upkeep, const struct adapter_row *row,
                        enum keymanager_code to, const struct uuid *root_key, struct error *error)
{
    enum status status = note_from(upkeep, row);
    if (status == STATUS_CONFLICT)
        return error_set(error, status, "the adapter is being moved already: wait until that has "
                                        "ended");
    if (status == STATUS_OK)
        status = store_adapter_move(upkeep->store, row->id, to, root_key);
    if (status != STATUS_OK)
        return error_set(error, status, "the adapter could not be moved: %s", status_text(status));
    upkeep_look(upkeep, to, root_key);
    /* Once more, for what the walk has met before the adapter's row changed. */
    return rewrap_order(upkeep, &row->uuid);
}

enum status upkeep_move(struct upkeep *upkeep, const struct uuid *adapter,
                        enum keymanager_code to, const struct uuid *root_key, struct error *error)
{
    struct adapter_row row;
    enum status status = check_target(upkeep, to, root_key, error);
    if (status != STATUS_OK)
        return status;
    status = read_adapter(upkeep, adapter, &row);
    if (status != STATUS_OK)
        return error_set(error, status, "the adapter cannot be read: %s", status_text(status));
    if (row.key_manager == to && uuid_equal(&row.root_key, root_key))
        return rewrap_order(upkeep, adapter);
    return move(upkeep, &row, to, root_key, error);
}

bool upkeep_uses_root_key(struct upkeep *upkeep, const struct uuid *root_key)
{
    bool used = false;
    (void)pthread_mutex_lock(&upkeep->lock);
    for (const struct rewrap *rewrap = upkeep->rewraps; rewrap != NULL; rewrap = rewrap->next)
        for (unsigned i = 0; !rewrap->gone && i < rewrap->state.from_count; i++)
            used = used || uuid_equal(&rewrap->state.from[i].root_key, root_key);
    (void)pthread_mutex_unlock(&upkeep->lock);
    return used;
}

/* ---- Progress ---- */

/* Objects a second, since the oldest sample. */
static double rate_of(const struct rewrap *rewrap)
{
    const struct rate_sample *newest = &rewrap->samples[0];
    const struct rate_sample *oldest = newest;
    for (size_t i = 1; i < RATE_SAMPLES && rewrap->samples[i].time != 0; i++)
        oldest = &rewrap->samples[i];
    if (newest->time <= oldest->time || newest->done <= oldest->done)
        return 0;
    return (double)(newest->done - oldest->done) * 1000 / (double)(newest->time - oldest->time);
}

static struct upkeep_progress progress_of(const struct rewrap *rewrap)
{
    const struct rewrap_state *state = &rewrap->state;
    struct upkeep_progress progress = {.total = state->total, .remaining = -1};
    progress.running = rewrap->restart || state->phase == REWRAP_WALKING ||
                       state->phase == REWRAP_RETRYING;
    if (rewrap->restart)
        return progress;
    progress.done = state->done;
    progress.rewrapped = state->rewrapped;
    progress.failed = state->failed;
    memcpy(progress.failure, rewrap->failure, sizeof(progress.failure));
    if (!progress.running) {
        progress.remaining = 0;
        return progress;
    }
    progress.rate = rate_of(rewrap);
    if (progress.rate > 0)
        progress.remaining =
            (int64_t)((double)(state->total - state->done) * 1000 / progress.rate);
    return progress;
}

enum status upkeep_rewrap_progress(struct upkeep *upkeep, const struct uuid *adapter,
                                   struct upkeep_progress *ret_progress)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    const struct rewrap *rewrap = rewrap_find(upkeep, adapter);
    bool found = rewrap != NULL && !rewrap->gone;
    if (found)
        *ret_progress = progress_of(rewrap);
    (void)pthread_mutex_unlock(&upkeep->lock);
    return found ? STATUS_OK : STATUS_NOT_FOUND;
}
