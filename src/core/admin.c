/* SPDX-License-Identifier: Apache-2.0 */
#include "core/admin.h"

#include <inttypes.h>
#include <semaphore.h>
#include <time.h>

#include "base/hex.h"
#include "core/lifecycle.h"
#include "core/match.h"
#include "core/material.h"
#include "core/structures.h"

#define PAGE         512
#define ATTEMPTS_MAX 32
#define SCRATCH_MAX  (1024u * 1024)

/* An administrator's act runs in a request of its own, as a client of the adapter would. */
struct act {
    struct request request;
    struct core_session session;
    sem_t fetched;                         /* what was asked of a key manager is back */
    char identifier[UUID_TEXT_LENGTH + 1]; /* of the object that it is about */
    uint8_t reply[64];                     /* unused: there is no message to answer */
};

static void begin(struct act *act, struct core *core, struct store_session *store,
                  const struct adapter_row *adapter)
{
    act->session = (struct core_session){.adapter = adapter->id,
                                         .adapter_uuid = adapter->uuid,
                                         .key_manager = adapter->key_manager,
                                         .root_key = adapter->root_key};
    memcpy(act->session.adapter_name, adapter->name, sizeof(act->session.adapter_name));
    (void)sem_init(&act->fetched, 0, 0);
    request_init(&act->request, core, act->reply, sizeof(act->reply));
    act->request.session = &act->session;
    act->request.store = store;
    act->request.version = KMIP_VERSION_1_4;
    act->request.now = clock_now(core->clock);
}

static void end(struct act *act)
{
    request_free(&act->request);
    (void)sem_destroy(&act->fetched);
}

/* ---- Looking ---- */

struct admin_search {
    struct act *act;
    const struct core_admin_query *query;
    struct kmip_list wanted;
    core_admin_visit *visit;
    void *context;
    size_t visited;
    size_t skipped;
    bool stopped;
    enum status status;
};

static enum status show(struct act *act, struct object *object, const struct kmip_list *wanted,
                        core_admin_visit *visit, void *context, bool *ret_matched, bool *ret_go_on)
{
    struct kmip_list view;
    enum status status = object_decode(object, &act->request.arena);
    if (status == STATUS_OK)
        status = attributes_view(&act->request, object, &view);
    *ret_matched = status == STATUS_OK && match_view(&view, wanted);
    if (!*ret_matched)
        return status;
    struct core_admin_object shown = {.id = object->row.id,
                                      .object_type = object->row.object_type,
                                      .state = object->row.state,
                                      .sequence = object->row.sequence,
                                      .attributes = view};
    *ret_go_on = visit(context, &shown);
    return STATUS_OK;
}

static bool state_wanted(const struct core_admin_query *query, const struct object *object)
{
    if (query->states == 0)
        return !lifecycle_is_destroyed(object);
    return (query->states & STORE_STATE_BIT(object->row.state)) != 0;
}

static bool visit_stored(void *context, struct stored_object *stored)
{
    struct admin_search *search = context;
    struct object object;
    bool matched = false;
    bool go_on = true;
    object_from_stored(&object, stored);
    lifecycle_advance(&object, request_seconds(&search->act->request));
    if (!state_wanted(search->query, &object))
        return true;
    if (search->skipped < search->query->skip) {
        search->skipped++;
        return true;
    }
    search->status = show(search->act, &object, &search->wanted, search->visit, search->context,
                          &matched, &go_on);
    arena_reset(&search->act->request.arena); /* what was decoded of this one */
    search->visited += matched;
    search->stopped =
        search->status != STATUS_OK || !go_on || search->visited == search->query->limit;
    return !search->stopped;
}

/* The value in the form the attribute has: Name is a structure, everything else text. */
static struct kmip_any filter_value(struct arena *arena, const struct core_admin_filter *filter)
{
    struct structure_name name = {.value = filter->value,
                                  .type = kmip_number(KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING)};
    if (bytes_equal_text(filter->name, "Name"))
        return value_structure(arena, &structure_name_shape, &name);
    return value_text(filter->value);
}

static enum status plan(struct admin_search *search, struct store_query *plan)
{
    struct arena *arena = &search->act->request.arena;
    const struct core_admin_query *query = search->query;
    struct kmip_named_attribute *wanted =
        arena_allocate_array(arena, query->filter_count, sizeof(*wanted));
    uint64_t *terms = arena_allocate_array(arena, query->filter_count, sizeof(*terms));
    if (wanted == NULL || terms == NULL)
        return STATUS_TOO_LARGE;
    *plan = (struct store_query){.adapter = search->act->session.adapter,
                                 .terms = terms,
                                 .states = lifecycle_stored_states(query->states),
                                 .after = query->after,
                                 .limit = PAGE};
    for (size_t i = 0; i < query->filter_count; i++) {
        struct store_term term;
        wanted[i].name = query->filters[i].name;
        wanted[i].value = filter_value(arena, &query->filters[i]);
        if (attribute_term(arena, wanted[i].name, &wanted[i].value, &term) == STATUS_OK)
            terms[plan->term_count++] = term.term;
    }
    search->wanted = (struct kmip_list){query->filter_count, wanted};
    return STATUS_OK;
}

static enum status run_search(struct admin_search *search, struct store_session *store,
                              struct store_query *plan)
{
    /* What is decoded of one object is forgotten before the next. */
    struct arena kept = search->act->request.arena;
    arena_init(&search->act->request.arena, SCRATCH_MAX);
    do {
        int64_t next = 0;
        enum status status = store_find(store, plan, visit_stored, search, &next);
        if (status != STATUS_OK)
            search->status = status;
        plan->after = next;
    } while (search->status == STATUS_OK && !search->stopped && plan->after != 0);
    arena_free(&search->act->request.arena);
    search->act->request.arena = kept;
    return search->status;
}

enum status core_admin_find(struct core *core, struct store_session *store,
                            const struct adapter_row *adapter, const struct core_admin_query *query,
                            core_admin_visit *visit, void *context)
{
    struct act act;
    struct store_query store_query;
    struct admin_search search = {.act = &act, .query = query, .visit = visit, .context = context};
    if (query->limit == 0)
        return STATUS_OK;
    begin(&act, core, store, adapter);
    enum status status = plan(&search, &store_query);
    if (status == STATUS_OK)
        status = run_search(&search, store, &store_query);
    end(&act);
    return status;
}

/* All are passed over. */
enum status core_admin_count(struct core *core, struct store_session *store,
                             const struct adapter_row *adapter, uint32_t states, int64_t *ret_count)
{
    struct act act;
    struct store_query store_query;
    const struct core_admin_query query = {.states = states, .skip = SIZE_MAX, .limit = 1};
    struct admin_search search = {.act = &act, .query = &query};
    begin(&act, core, store, adapter);
    enum status status = plan(&search, &store_query);
    if (status == STATUS_OK)
        status = run_search(&search, store, &store_query);
    end(&act);
    if (status == STATUS_OK)
        *ret_count = (int64_t)search.skipped;
    return status;
}

static struct bytes identifier_of(struct act *act, const struct uuid *id)
{
    uuid_text(id, act->identifier);
    return bytes_of(act->identifier, UUID_TEXT_LENGTH);
}

enum status core_admin_show(struct core *core, struct store_session *store,
                            const struct adapter_row *adapter, const struct uuid *id,
                            core_admin_visit *visit, void *context)
{
    struct act act;
    struct object *object;
    const struct kmip_list any = {0};
    bool matched;
    bool go_on;
    begin(&act, core, store, adapter);
    enum status status = request_object(&act.request, identifier_of(&act, id), &object);
    if (status == STATUS_OK)
        status = show(&act, object, &any, visit, context, &matched, &go_on);
    end(&act);
    return status;
}

/* ---- Changing ---- */

typedef enum status change_object(struct act *act, struct object *object, bool force);

static void remove_if_there(struct object *object, enum kmip_attribute id)
{
    struct attribute *attribute = object_find(object, id, 0);
    if (attribute != NULL)
        object_remove(object, attribute);
}

static enum status restore(struct act *act, struct object *object, bool force)
{
    (void)force;
    if (object->row.state != KMIP_STATE_DEACTIVATED)
        return STATUS_PERMISSION_DENIED;
    remove_if_there(object, KMIP_ATTRIBUTE_DEACTIVATION_DATE);
    remove_if_there(object, KMIP_ATTRIBUTE_REVOCATION_REASON);
    object->row.state = KMIP_STATE_ACTIVE;
    return request_changed(&act->request, object);
}

static enum status destroy(struct act *act, struct object *object, bool force)
{
    int64_t now = request_seconds(&act->request);
    if (object->row.state == KMIP_STATE_ACTIVE && force) {
        enum status status = lifecycle_move(object, &act->request.arena, KMIP_CAUSE_REVOKE, now);
        if (status != STATUS_OK)
            return status;
    }
    return request_destroy(&act->request, object);
}

static void fetched(struct request *request)
{
    struct act *act = CONTAINER_OF(request, struct act, request);
    (void)sem_post(&act->fetched);
}

/* Has the changes completed, however long the key manager takes. */
static enum status prepare(struct act *act)
{
    enum status status;
    while ((status = core_prepare(&act->request)) == STATUS_PENDING) {
        core_fetch(&act->request, fetched);
        while (sem_wait(&act->fetched) != 0) /* a signal */
            ;
    }
    return status;
}

/* Best effort: what is left is seen as a record of no object. */
static void delete_strays(struct act *act)
{
    struct keymanager *keymanager;
    struct uuid record;
    while (core_take_stray(&act->request, &keymanager, &record))
        (void)!keymanager_record_delete(keymanager, &record, NULL);
}

static enum status commit(struct act *act)
{
    struct request *request = &act->request;
    request_keep_edits(request);
    enum status status = request_collect_changes(request);
    if (status == STATUS_OK)
        status = prepare(act);
    if (status == STATUS_OK) {
        status = store_commit(request->core->store, request->changes, request->change_count);
        core_committed(request, status);
    }
    delete_strays(act);
    return status;
}

static enum status change_once(struct core *core, struct store_session *store,
                               const struct adapter_row *adapter, const struct uuid *id,
                               change_object *change, bool force)
{
    struct act act;
    struct object *object;
    begin(&act, core, store, adapter);
    enum status status = request_edit_object(&act.request, identifier_of(&act, id), &object);
    if (status == STATUS_OK)
        status = change(&act, object, force);
    if (status == STATUS_OK)
        status = commit(&act);
    end(&act);
    return status;
}

static enum status change_object_of(struct core *core, struct store_session *store,
                                    const struct adapter_row *adapter, const struct uuid *id,
                                    change_object *change, bool force)
{
    enum status status = STATUS_CONFLICT;
    for (int i = 0; i < ATTEMPTS_MAX && status == STATUS_CONFLICT; i++)
        status = change_once(core, store, adapter, id, change, force);
    return status;
}

enum status core_admin_destroy(struct core *core, struct store_session *store,
                               const struct adapter_row *adapter, const struct uuid *id, bool force)
{
    return change_object_of(core, store, adapter, id, destroy, force);
}

enum status core_admin_restore(struct core *core, struct store_session *store,
                               const struct adapter_row *adapter, const struct uuid *id)
{
    return change_object_of(core, store, adapter, id, restore, false);
}

static enum status describe_key(struct act *act, struct object *object, struct bytes name)
{
    struct arena *arena = &act->request.arena;
    struct structure_name structure = {
        .value = name, .type = kmip_number(KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING)};
    const struct {
        enum kmip_attribute id;
        struct kmip_any value;
    } attributes[] = {
        {KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM,
         value_enumeration(arena, KMIP_CRYPTOGRAPHIC_ALGORITHM_AES)},
        {KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH, value_integer(arena, 256)},
        {KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK,
         value_integer(arena, KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT |
                                  KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT)},
        {KMIP_ATTRIBUTE_ACTIVATION_DATE, value_date_time(arena, request_seconds(&act->request))},
        {KMIP_ATTRIBUTE_NAME, value_structure(arena, &structure_name_shape, &structure)},
    };
    size_t count = ARRAY_COUNT(attributes) - (name.size == 0);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = object_set(object, arena, attributes[i].id, attributes[i].value);
    return status;
}

enum status core_admin_create_key(struct core *core, struct store_session *store,
                                  const struct adapter_row *adapter, struct bytes name,
                                  struct uuid *ret_id)
{
    struct act act;
    struct object *object;
    struct secret material = {0};
    begin(&act, core, store, adapter);
    enum status status = request_new_object(&act.request, KMIP_OBJECT_TYPE_SYMMETRIC_KEY, &object);
    if (status == STATUS_OK)
        status = describe_key(&act, object, name);
    if (status == STATUS_OK)
        status = secret_random(&material, 32);
    if (status == STATUS_OK)
        status = material_complete(&act.request, object, &material, true);
    secret_free(&material);
    if (status == STATUS_OK)
        status = commit(&act);
    if (status == STATUS_OK)
        *ret_id = object->row.id;
    end(&act);
    return status;
}

/* ---- Text ---- */

/* RFC 3339 has years of four digits; KMIP's dates go far beyond, and clients send the last of them
 * for "never". */
#define LAST_YEAR 9999

static void date_text(int64_t seconds, struct buffer *text)
{
    char formatted[32];
    struct tm utc;
    time_t time = (time_t)seconds;
    if (gmtime_r(&time, &utc) != NULL && utc.tm_year <= LAST_YEAR - 1900 && utc.tm_year >= -1900 &&
        strftime(formatted, sizeof(formatted), "%Y-%m-%dT%H:%M:%SZ", &utc) > 0)
        buffer_append_text(text, formatted);
    else
        buffer_append_format(text, "%" PRId64, seconds);
}

static void hex_value_text(struct bytes value, struct buffer *text)
{
    uint8_t *place = buffer_reserve(text, 2 * value.size);
    if (place != NULL)
        hex_encode(value, (char *)place);
}

static void mask_text(uint32_t tag, uint32_t mask, struct buffer *text)
{
    bool first = true;
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        const struct kmip_value_info *info = (mask & bit) != 0 ? kmip_mask_by_bit(tag, bit) : NULL;
        if (info == NULL)
            continue;
        buffer_append_text(text, first ? "" : ", ");
        buffer_append_text(text, info->text);
        mask &= ~bit;
        first = false;
    }
    if (mask != 0) /* a vendor's */
        buffer_append_format(text, "%s0x%08" PRIX32, first ? "" : ", ", mask);
}

static void number_text(uint32_t tag, const struct kmip_any *value, struct buffer *text)
{
    int64_t number = value_number(value);
    const struct kmip_value_info *known =
        value->type == TTLV_ENUMERATION ? kmip_value_by_number(tag, (uint32_t)number) : NULL;
    if (known != NULL)
        buffer_append_text(text, known->text);
    else if (value->type == TTLV_ENUMERATION && kmip_enumeration_by_tag(tag) != NULL)
        buffer_append_format(text, "0x%08" PRIX32, (uint32_t)number); /* a vendor's */
    else if (value->type == TTLV_BOOLEAN)
        buffer_append_text(text, number != 0 ? "true" : "false");
    else if (value->type == TTLV_DATE_TIME)
        date_text(number, text);
    else if (kmip_mask_bits(tag, KMIP_VERSION_LATEST) != 0)
        mask_text(tag, (uint32_t)number, text);
    else
        buffer_append_format(text, "%" PRId64, number);
}

static void structure_text(struct bytes fields, struct buffer *text);

static void any_text(uint32_t tag, const struct kmip_any *value, struct buffer *text)
{
    switch (value->type) {
    case TTLV_STRUCTURE:
        structure_text(value->value, text);
        break;
    case TTLV_TEXT_STRING:
        buffer_append_bytes(text, value->value);
        break;
    case TTLV_BYTE_STRING:
    case TTLV_BIG_INTEGER:
        hex_value_text(value->value, text);
        break;
    default:
        number_text(tag, value, text);
        break;
    }
}

/* Depth is bounded: the message was checked by ttlv_check() when it came. */
static void structure_text(struct bytes fields, struct buffer *text)
{
    struct ttlv_reader reader = ttlv_reader_over(fields);
    struct ttlv_item item;
    bool first = true;
    while (!ttlv_at_end(&reader) && ttlv_next(&reader, &item) == STATUS_OK) {
        const struct kmip_tag_info *tag = kmip_tag_by_number(item.tag);
        struct kmip_any value = {(uint8_t)item.type, item.value};
        buffer_append_format(text, "%s%s: ", first ? "" : ", ",
                             tag != NULL ? tag->text : "vendor field");
        any_text(item.tag, &value, text);
        first = false;
    }
}

void core_admin_value_text(const struct kmip_named_attribute *attribute, struct buffer *text)
{
    const struct kmip_attribute_info *info =
        kmip_attribute_by_name((const char *)attribute->name.data, attribute->name.size);
    struct structure_name name;
    struct arena arena;
    arena_init(&arena, 4096);
    if (info != NULL && info->id == KMIP_ATTRIBUTE_NAME &&
        kmip_decode(&structure_name_shape, ttlv_reader_over(attribute->value.value), &arena,
                    &name) == STATUS_OK)
        buffer_append_bytes(text, name.value);
    else
        any_text(info != NULL ? info->tag->number : 0, &attribute->value, text);
    arena_free(&arena);
}
