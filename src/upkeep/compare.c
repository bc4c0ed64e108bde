/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares the records of a key manager with ours: what an administrator has taken out of service
 * there goes out of service here, and what was put back comes back.
 *
 * Ours are read before theirs are listed, so that a record we know of was there when the listing
 * began. One that is missing from it all the same is asked for once more, since a listing that comes
 * in pages may slip while others delete: an object is withdrawn only when its record is known to be
 * gone. A record that has been replaced is asked for right before we delete it: one that is gone by
 * then was deleted by somebody who meant the object. What was left behind before this process began
 * may have been deleted by the one before, and tells nothing. Records of objects that we do not
 * have are none of our business: they may be another server's, or newer than the backup this store
 * was restored from.
 */
#include <stdlib.h>

#include "core/record.h"
#include "upkeep/keeper.h"

#define ASK_EACH 16  /* that are missing; of more, a second listing tells */
#define EXTRAS   100 /* looked at in one comparison */
#define LEFT     500 /* deleted after one comparison */

struct listed {
    struct uuid object;
    struct uuid record;
    enum root_key_state state;
};

struct withdrawal {
    size_t ours; /* index */
    const char *why;
    struct uuid record; /* which is the object's again, if it is not any more */
};

struct comparison {
    struct keeper *keeper;
    struct record_row *ours; /* ascending by object */
    size_t our_count;
    size_t our_capacity;
    struct listed *theirs; /* ascending by object */
    size_t their_count;
    size_t their_capacity;
    size_t nameless; /* whose name tells no object */
    size_t *missing; /* indexes of ours */
    size_t missing_count;
    struct withdrawal *withdrawn;
    size_t withdrawn_count;
    struct record_left left[LEFT]; /* ascending by record */
    bool left_kept[LEFT];          /* it is an object's again */
    size_t left_count;
    size_t unknown;
    size_t extras;
    bool no_memory;
};

/* Looks at root keys now and then; false when the process ends. */
static bool goes_on(struct comparison *comparison, size_t i)
{
    if (i % 64 == 0)
        (void)keeper_look(comparison->keeper);
    return !atomic_load(&comparison->keeper->upkeep->stopping);
}

/* ---- Reading both ---- */

static bool grow(void **array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return true;
    size_t grown = *capacity == 0 ? 256 : *capacity * 2;
    void *place = reallocarray(*array, grown, size);
    if (place == NULL)
        return false;
    *array = place;
    *capacity = grown;
    return true;
}

static bool gather_ours(void *context, const struct record_row *row)
{
    struct comparison *comparison = context;
    if (row->key_manager != (uint32_t)comparison->keeper->code)
        return true;
    void *array = comparison->ours;
    comparison->no_memory =
        !grow(&array, &comparison->our_capacity, comparison->our_count, sizeof(*row));
    comparison->ours = array;
    if (!comparison->no_memory)
        comparison->ours[comparison->our_count++] = *row;
    return !comparison->no_memory;
}

static bool gather_theirs(void *context, const struct keymanager_record *record)
{
    struct comparison *comparison = context;
    struct listed listed = {.record = record->id, .state = record->state};
    if (!core_record_object(record->name, &listed.object)) {
        comparison->nameless += record->state == ROOT_KEY_ACTIVE;
        return true;
    }
    void *array = comparison->theirs;
    comparison->no_memory =
        !grow(&array, &comparison->their_capacity, comparison->their_count, sizeof(listed));
    comparison->theirs = array;
    if (!comparison->no_memory)
        comparison->theirs[comparison->their_count++] = listed;
    return !comparison->no_memory;
}

static int compare_listed(const void *left, const void *right)
{
    const struct listed *a = left;
    const struct listed *b = right;
    return memcmp(a->object.bytes, b->object.bytes, UUID_SIZE);
}

static enum status list_theirs(struct comparison *comparison)
{
    comparison->their_count = 0;
    comparison->nameless = 0;
    enum status status = keymanager_records(comparison->keeper->keymanager, CORE_RECORD_PREFIX,
                                            gather_theirs, comparison, NULL);
    if (status == STATUS_OK && comparison->no_memory)
        status = STATUS_NO_MEMORY;
    if (status == STATUS_OK && comparison->their_count > 0)
        qsort(comparison->theirs, comparison->their_count, sizeof(*comparison->theirs),
              compare_listed);
    return status;
}

static enum status read_ours(struct comparison *comparison)
{
    enum status status = store_records(comparison->keeper->session, 0, NULL, SIZE_MAX, gather_ours,
                                       comparison);
    return status == STATUS_OK && comparison->no_memory ? STATUS_NO_MEMORY : status;
}

/* The first that is listed for an object; its others follow. */
static size_t first_listed(const struct comparison *comparison, const struct uuid *object)
{
    const struct listed key = {.object = *object};
    size_t low = 0;
    size_t high = comparison->their_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_listed(&comparison->theirs[middle], &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_of(const struct comparison *comparison, size_t i, const struct uuid *object)
{
    return i < comparison->their_count && uuid_equal(&comparison->theirs[i].object, object);
}

static const struct listed *find_listed(const struct comparison *comparison,
                                        const struct record_row *row)
{
    for (size_t i = first_listed(comparison, &row->object);
         is_of(comparison, i, &row->object); i++)
        if (uuid_equal(&comparison->theirs[i].record, &row->record))
            return &comparison->theirs[i];
    return NULL;
}

/* ---- Out of service, and back ---- */

static const char *name_of(const struct keeper *keeper, int64_t adapter)
{
    for (size_t i = 0; i < keeper->adapters.count; i++)
        if (keeper->adapters.rows[i].id == adapter)
            return keeper->adapters.rows[i].name;
    return "";
}

/* False when the row is not as it was compared: then the next comparison tells. */
static bool is_current(const struct keeper *keeper, const struct record_row *row)
{
    struct record_row now;
    return store_record_get(keeper->session, &row->object, &now) == STATUS_OK &&
           uuid_equal(&now.record, &row->record) && now.key_manager == row->key_manager;
}

static void set_withdrawn(struct keeper *keeper, struct record_row *row,
                          const struct uuid *record, bool withdrawn)
{
    struct record_row now;
    if (!is_current(keeper, row) ||
        store_record_get(keeper->session, &row->object, &now) != STATUS_OK)
        return;
    now.withdrawn = withdrawn;
    if (!uuid_equal(&now.record, record)) {
        now.record = *record;
        now.version = 0; /* older, in any case */
    }
    /* If it cannot be saved, the service knows it all the same, and it is tried again. */
    if (store_record_put(keeper->upkeep->store, &now) == STATUS_OK)
        *row = now;
}

/* The service is told at once; what takes long, and is for later, comes when all are out of it. */
static void withdraw(struct comparison *comparison, size_t i, const char *why)
{
    const struct record_row *row = &comparison->ours[i];
    if (!is_current(comparison->keeper, row) ||
        core_withdraw(comparison->keeper->upkeep->core, &row->object) != STATUS_OK)
        return;
    comparison->withdrawn[comparison->withdrawn_count++] =
        (struct withdrawal){.ours = i, .why = why, .record = row->record};
}

static void note_withdrawn(struct comparison *comparison, const struct withdrawal *withdrawal)
{
    struct keeper *keeper = comparison->keeper;
    struct record_row *row = &comparison->ours[withdrawal->ours];
    set_withdrawn(keeper, row, &withdrawal->record, true);
    if (row->withdrawn)
        upkeep_report(keeper->upkeep, STATUS_KEY_WITHDRAWN, "object withdrawn",
                      name_of(keeper, row->adapter), &row->object, "its record in %s was %s",
                      keymanager_code_name(keeper->code), withdrawal->why);
}

static void reinstate(struct keeper *keeper, struct record_row *row)
{
    set_withdrawn(keeper, row, &row->record, false);
    if (row->withdrawn)
        return;
    core_reinstate(keeper->upkeep->core, &row->object);
    upkeep_report(keeper->upkeep, STATUS_OK, "object reinstated", name_of(keeper, row->adapter),
                  &row->object, "its record in %s is back", keymanager_code_name(keeper->code));
}

static void compare_row(struct comparison *comparison, size_t i)
{
    struct record_row *row = &comparison->ours[i];
    const struct listed *listed = find_listed(comparison, row);
    if (listed == NULL || listed->state == ROOT_KEY_DESTROYED)
        comparison->missing[comparison->missing_count++] = i;
    else if (listed->state != ROOT_KEY_ACTIVE && !row->withdrawn)
        withdraw(comparison, i, "disabled");
    else if (listed->state == ROOT_KEY_ACTIVE && row->withdrawn)
        reinstate(comparison->keeper, row);
}

/* ---- What is missing ---- */

/* Reads and checks one of an object's other records. The caller frees the buffer. */
static enum status read_record(struct comparison *comparison, const struct listed *listed,
                               struct buffer *bytes, struct core_record *ret_record)
{
    buffer_init(bytes, KEYMANAGER_RECORD_MAX);
    enum status status =
        keymanager_record_get(comparison->keeper->keymanager, &listed->record, bytes, NULL);
    if (status == STATUS_OK)
        status = core_record_decode(buffer_bytes(bytes), ret_record);
    if (status == STATUS_OK && !uuid_equal(&ret_record->object, &listed->object))
        status = STATUS_STORE_CORRUPT;
    return status;
}

/* Exactly: those gathered may not be all. What is not known may be. */
static bool is_left(const struct keeper *keeper, const struct uuid *record)
{
    struct record_left after = {.key_manager = (uint32_t)keeper->code, .record = *record};
    struct record_left left;
    size_t count = 0;
    for (size_t i = UUID_SIZE; i > 0 && after.record.bytes[i - 1]-- == 0; i--)
        continue; /* the one before */
    return store_records_left(keeper->session, &after, 1, &left, &count) != STATUS_OK ||
           (count > 0 && left.key_manager == after.key_manager &&
            uuid_equal(&left.record, record));
}

/* Another record of the object that is in service, and was not left behind by us, takes the place
 * of the one that is missing. */
static bool adopt(struct comparison *comparison, struct record_row *row)
{
    struct keeper *keeper = comparison->keeper;
    for (size_t i = first_listed(comparison, &row->object);
         is_of(comparison, i, &row->object); i++) {
        struct core_record record;
        struct buffer bytes;
        if (comparison->theirs[i].state != ROOT_KEY_ACTIVE ||
            is_left(keeper, &comparison->theirs[i].record))
            continue;
        enum status status = read_record(comparison, &comparison->theirs[i], &bytes, &record);
        struct record_row adopted = *row;
        adopted.record = comparison->theirs[i].record;
        adopted.version = status == STATUS_OK ? record.version : 0;
        adopted.withdrawn = false;
        buffer_free(&bytes);
        if (status != STATUS_OK || !is_current(keeper, row) ||
            store_record_put(keeper->upkeep->store, &adopted) != STATUS_OK)
            continue;
        if (row->withdrawn)
            core_reinstate(keeper->upkeep->core, &row->object);
        *row = adopted;
        return true;
    }
    return false;
}

enum status keeper_ask(struct keymanager *keymanager, const struct uuid *record)
{
    struct buffer bytes;
    buffer_init(&bytes, KEYMANAGER_RECORD_MAX);
    enum status status = keymanager_record_get(keymanager, record, &bytes, NULL);
    buffer_free(&bytes);
    return status;
}

static bool is_gone(struct comparison *comparison, const struct record_row *row)
{
    if (comparison->missing_count > ASK_EACH) { /* it was listed again */
        const struct listed *listed = find_listed(comparison, row);
        return listed == NULL || listed->state == ROOT_KEY_DESTROYED;
    }
    return keeper_ask(comparison->keeper->keymanager, &row->record) == STATUS_NOT_FOUND;
}

static enum status handle_missing(struct comparison *comparison)
{
    if (comparison->missing_count > ASK_EACH) {
        enum status status = list_theirs(comparison);
        if (status != STATUS_OK)
            return status;
    }
    for (size_t i = 0; i < comparison->missing_count; i++) {
        struct record_row *row = &comparison->ours[comparison->missing[i]];
        if (adopt(comparison, row) || row->withdrawn || !is_gone(comparison, row))
            continue;
        withdraw(comparison, comparison->missing[i], "deleted");
    }
    return STATUS_OK;
}

/* ---- What was left behind ---- */

static enum status read_left(struct comparison *comparison)
{
    struct keeper *keeper = comparison->keeper;
    const struct record_left after = {.key_manager = (uint32_t)keeper->code};
    size_t count = 0;
    enum status status =
        store_records_left(keeper->session, &after, LEFT, comparison->left, &count);
    while (count > 0 && comparison->left[count - 1].key_manager != after.key_manager)
        count--; /* other keepers' */
    comparison->left_count = count;
    keeper->left_more = status == STATUS_OK && count == LEFT;
    return status;
}

/* Its index, or left_count. */
static size_t find_left(const struct comparison *comparison, const struct uuid *record)
{
    size_t low = 0;
    size_t high = comparison->left_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(comparison->left[middle].record.bytes, record->bytes, UUID_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < comparison->left_count &&
                 uuid_equal(&comparison->left[low].record, record);
    return found ? low : comparison->left_count;
}

static const struct record_row *find_ours(const struct comparison *comparison,
                                          const struct uuid *object)
{
    size_t low = 0;
    size_t high = comparison->our_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(comparison->ours[middle].object.bytes, object->bytes, UUID_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < comparison->our_count && uuid_equal(&comparison->ours[low].object, object);
    return found ? &comparison->ours[low] : NULL;
}

static int compare_replaced(const void *left, const void *right)
{
    const struct replaced *a = left;
    const struct replaced *b = right;
    return memcmp(a->record.bytes, b->record.bytes, UUID_SIZE);
}

/* Without memory it is deleted as one of which nothing is known. */
void keeper_replaced(struct keeper *keeper, const struct record_row *former)
{
    void *array = keeper->replaced;
    if (former->key_manager != (uint32_t)keeper->code ||
        !grow(&array, &keeper->replaced_capacity, keeper->replaced_count,
              sizeof(*keeper->replaced)))
        return;
    keeper->replaced = array;
    keeper->replaced[keeper->replaced_count++] =
        (struct replaced){.record = former->record, .object = former->object};
}

static struct replaced *find_replaced(const struct keeper *keeper, const struct uuid *record)
{
    const struct replaced key = {.record = *record};
    return keeper->replaced_count == 0
               ? NULL
               : bsearch(&key, keeper->replaced, keeper->replaced_count,
                         sizeof(*keeper->replaced), compare_replaced);
}

static void forget_settled(struct keeper *keeper)
{
    size_t kept = 0;
    for (size_t i = 0; i < keeper->replaced_count; i++)
        if (!keeper->replaced[i].settled)
            keeper->replaced[kept++] = keeper->replaced[i];
    keeper->replaced_count = kept;
}

/* Somebody deleted it after another had taken its place: it is the object's again, as in
 * compare_left(). OK: it is, or there is no object to withdraw (any more). */
static enum status withdraw_replaced(struct comparison *comparison,
                                     const struct replaced *replaced, bool *ret_kept)
{
    const struct record_row *row = find_ours(comparison, &replaced->object);
    size_t count = comparison->withdrawn_count;
    if (row == NULL || row->withdrawn || !is_current(comparison->keeper, row))
        return STATUS_OK;
    withdraw(comparison, (size_t)(row - comparison->ours), "deleted");
    if (comparison->withdrawn_count == count)
        return STATUS_NO_MEMORY;
    comparison->withdrawn[count].record = replaced->record;
    note_withdrawn(comparison, &comparison->withdrawn[count]);
    *ret_kept = row->withdrawn;
    return row->withdrawn ? STATUS_OK : STATUS_STORE_FAILED;
}

/* Whether somebody deleted it is asked right before it is deleted: afterwards nobody can tell. */
static enum status ask_replaced(struct comparison *comparison, size_t i)
{
    struct keeper *keeper = comparison->keeper;
    struct replaced *replaced = find_replaced(keeper, &comparison->left[i].record);
    if (replaced == NULL)
        return STATUS_OK;
    enum status status = STATUS_OK;
    if (!comparison->left_kept[i])
        status = keeper_ask(keeper->keymanager, &replaced->record);
    if (status == STATUS_NOT_FOUND)
        status = withdraw_replaced(comparison, replaced, &comparison->left_kept[i]);
    replaced->settled = status == STATUS_OK;
    return status;
}

static enum status delete_one_left(struct comparison *comparison, size_t i)
{
    struct keeper *keeper = comparison->keeper;
    const struct record_left *left = &comparison->left[i];
    enum status status = ask_replaced(comparison, i);
    if (status != STATUS_OK || comparison->left_kept[i])
        return status;
    status = keymanager_record_delete(keeper->keymanager, &left->record, NULL);
    return status != STATUS_OK ? status
                               : store_record_left_remove(keeper->upkeep->store, left);
}

static enum status delete_left(struct comparison *comparison)
{
    struct keeper *keeper = comparison->keeper;
    enum status status = STATUS_OK;
    if (keeper->replaced_count > 0)
        qsort(keeper->replaced, keeper->replaced_count, sizeof(*keeper->replaced),
              compare_replaced);
    for (size_t i = 0; i < comparison->left_count; i++) {
        if (status == STATUS_KEY_MANAGER_UNAVAILABLE || !goes_on(comparison, i))
            break;
        status = delete_one_left(comparison, i);
        keeper->left_more = keeper->left_more && status == STATUS_OK; /* else not at once */
    }
    forget_settled(keeper);
    return status;
}

/* ---- What is there too much ---- */

static bool exists(const struct keeper *keeper, const struct uuid *object)
{
    for (size_t i = 0; i < keeper->adapters.count; i++) {
        struct stored_object *stored;
        enum status status =
            store_get(keeper->session, keeper->adapters.rows[i].id, object, &stored);
        if (status == STATUS_OK)
            stored_object_release(stored);
        if (status != STATUS_OBJECT_NOT_FOUND)
            return true; /* or it is not known */
    }
    return false;
}

/* Left by a kill between two steps: deleted when what we have is no older. */
static void delete_extra(struct comparison *comparison, const struct record_row *row,
                         const struct listed *listed)
{
    struct core_record record;
    struct buffer bytes;
    const struct listed *main = find_listed(comparison, row);
    if (comparison->extras++ >= EXTRAS || main == NULL || main->state != ROOT_KEY_ACTIVE ||
        !is_current(comparison->keeper, row))
        return;
    enum status status = read_record(comparison, listed, &bytes, &record);
    buffer_free(&bytes);
    if (status == STATUS_OK && record.version <= row->version)
        /* Else at the next comparison. */
        (void)!keymanager_record_delete(comparison->keeper->keymanager, &listed->record, NULL);
}

/* Somebody took it out of service while it was replaced: it is the object's again, so that the
 * same hand brings it back, and what has replaced it is left behind. */
static void compare_left(struct comparison *comparison, size_t left, const struct listed *listed)
{
    const struct record_row *row = find_ours(comparison, &listed->object);
    size_t count = comparison->withdrawn_count;
    if (listed->state != ROOT_KEY_SUSPENDED || row == NULL || row->withdrawn)
        return;
    withdraw(comparison, (size_t)(row - comparison->ours), "disabled");
    if (comparison->withdrawn_count == count)
        return;
    comparison->withdrawn[count].record = listed->record;
    comparison->left_kept[left] = true;
}

static void compare_listed_with_ours(struct comparison *comparison, const struct listed *listed)
{
    size_t left = find_left(comparison, &listed->record);
    if (left < comparison->left_count) {
        compare_left(comparison, left, listed);
        return;
    }
    if (listed->state != ROOT_KEY_ACTIVE)
        return;
    const struct record_row *row = find_ours(comparison, &listed->object);
    if (row == NULL)
        comparison->unknown += !exists(comparison->keeper, &listed->object);
    else if (!uuid_equal(&row->record, &listed->record))
        delete_extra(comparison, row, listed);
}

/* ---- Records of objects that are recorded here no longer ---- */

static const struct adapter_row *find_adapter(const struct keeper *keeper, int64_t adapter)
{
    for (size_t i = 0; i < keeper->adapters.count; i++)
        if (keeper->adapters.rows[i].id == adapter)
            return &keeper->adapters.rows[i];
    return NULL;
}

/* True if another keeper records the adapter, and replaces this record. */
static bool is_recorded_elsewhere(const struct keeper *keeper, const struct adapter_row *adapter)
{
    struct upkeep *upkeep = keeper->upkeep;
    struct keymanager *keymanager = keymanagers_get(
        upkeep->keymanagers, (enum keymanager_code)adapter->key_manager);
    return keymanager != NULL && keymanager_keeps_records(keymanager) &&
           upkeep->options.policies[keymanager->code].store_wrapped_keys;
}

/* Destroyed, or under a key manager that keeps no records. */
static void retire(struct keeper *keeper, const struct record_row *row)
{
    const struct adapter_row *adapter = find_adapter(keeper, row->adapter);
    struct stored_object *object;
    if (adapter == NULL || keeper_records_adapter(keeper, adapter) ||
        store_get(keeper->session, row->adapter, &row->object, &object) != STATUS_OK)
        return;
    struct wrapped_origin origin = {.code = keeper->code};
    bool gone = object->row.wrapped.blob.size == 0;
    bool moved = !gone && adapter->key_manager != (uint32_t)keeper->code && !row->withdrawn &&
                 !is_recorded_elsewhere(keeper, adapter) &&
                 wrapped_origin(object->row.wrapped, &origin) == STATUS_OK &&
                 origin.code != keeper->code;
    stored_object_release(object);
    if (gone || moved)
        (void)!keeper_delete_record(keeper, row); /* else at the next comparison */
}

/* ---- The whole ---- */

static void show_adapter(struct comparison *comparison, const struct adapter_row *adapter)
{
    struct upkeep *upkeep = comparison->keeper->upkeep;
    int64_t rows = 0;
    int64_t withdrawn = 0;
    for (size_t i = 0; i < comparison->our_count; i++) {
        rows += comparison->ours[i].adapter == adapter->id;
        withdrawn += comparison->ours[i].adapter == adapter->id && comparison->ours[i].withdrawn;
    }
    if (rows == 0 && !keeper_records_adapter(comparison->keeper, adapter))
        return;
    (void)pthread_mutex_lock(&upkeep->lock);
    struct shown_records *shown = records_show(upkeep, &adapter->uuid);
    if (shown != NULL) {
        shown->rows = rows;
        shown->withdrawn = withdrawn;
        shown->unknown = (int64_t)(comparison->unknown + comparison->nameless);
        shown->checked = clock_now(upkeep->clock);
    }
    (void)pthread_mutex_unlock(&upkeep->lock);
}

static enum status compare(struct comparison *comparison)
{
    enum status status = list_theirs(comparison);
    if (status != STATUS_OK)
        return status;
    comparison->missing = calloc(comparison->our_count + 1, sizeof(*comparison->missing));
    comparison->withdrawn = calloc(comparison->our_count + comparison->left_count + 1, sizeof(*comparison->withdrawn));
    if (comparison->missing == NULL || comparison->withdrawn == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < comparison->our_count && goes_on(comparison, i); i++)
        compare_row(comparison, i);
    status = handle_missing(comparison);
    for (size_t i = 0; i < comparison->their_count && goes_on(comparison, i); i++)
        compare_listed_with_ours(comparison, &comparison->theirs[i]);
    for (size_t i = 0; i < comparison->withdrawn_count && goes_on(comparison, i); i++)
        note_withdrawn(comparison, &comparison->withdrawn[i]);
    for (size_t i = 0; i < comparison->our_count && goes_on(comparison, i); i++)
        retire(comparison->keeper, &comparison->ours[i]);
    for (size_t i = 0; status == STATUS_OK && i < comparison->keeper->adapters.count; i++)
        show_adapter(comparison, &comparison->keeper->adapters.rows[i]);
    enum status deleted = delete_left(comparison);
    return status != STATUS_OK ? status : deleted;
}

static bool has_adapters(const struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->adapters.count; i++)
        if (keeper_records_adapter(keeper, &keeper->adapters.rows[i]))
            return true;
    return false;
}

static enum status read_and_compare(struct comparison *comparison)
{
    enum status status = read_ours(comparison);
    if (status == STATUS_OK)
        status = read_left(comparison);
    bool nothing = comparison->our_count == 0 && comparison->left_count == 0 &&
                   !has_adapters(comparison->keeper);
    return status != STATUS_OK || nothing ? status : compare(comparison);
}

enum status keeper_compare(struct keeper *keeper)
{
    struct comparison *comparison = calloc(1, sizeof(*comparison));
    if (comparison == NULL)
        return STATUS_NO_MEMORY;
    comparison->keeper = keeper;
    keeper->left_more = false;
    enum status status = read_and_compare(comparison);
    free(comparison->ours);
    free(comparison->theirs);
    free(comparison->missing);
    free(comparison->withdrawn);
    free(comparison);
    return status;
}
