/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locate (KMIP 1.4 §4.9). The store narrows the search by its indexes (terms, object type, state),
 * and what it finds is compared in full.
 */
#include "core/lifecycle.h"
#include "core/match.h"

#define PAGE 1024 /* objects the store visits at once */

/* Memory for one candidate; given back before the next. */
#define CANDIDATE_MEMORY (1024u * 1024)

struct search {
    struct request *request;
    const struct kmip_locate_request *asked;
    struct kmip_list wanted; /* struct kmip_named_attribute, without the Unique Identifier */
    struct store_query query;
    bool with_destroyed; /* asked for by State */
    size_t skip;         /* Offset Items still to go */
    size_t maximum;      /* how many to return */
    size_t matched;      /* all that matched, skipped ones included */
    size_t returned;
    struct uuid last;     /* the one found last */
    struct arena scratch; /* for one candidate */
    enum status status;
};

static bool full(const struct search *search)
{
    return search->returned == search->maximum;
}

static void found(struct search *search, const struct object *object)
{
    search->matched++;
    if (search->matched <= search->skip || full(search))
        return;
    search->last = object->row.id;
    search->returned++;
    ttlv_write_text(&search->request->reply, KMIP_TAG_UNIQUE_IDENTIFIER, object_identifier(object));
}

/* A fresh member of a group (§3.34, Object Group Member). Group Member Default is not told apart:
 * the server has no default objects of its own, and any member will do. */
static bool group_member_fits(const struct search *search, const struct object *object)
{
    int64_t fresh;
    if (search->asked->object_group_member.value != KMIP_OBJECT_GROUP_MEMBER_GROUP_MEMBER_FRESH)
        return true;
    return object_number(object, KMIP_ATTRIBUTE_FRESH, &fresh) && fresh != 0;
}

/* attributes_view() allocates in the request's arena; while candidates are compared that is the
 * scratch arena. */
static enum status view_in_scratch(struct search *search, struct object *object,
                                   struct kmip_list *ret_view)
{
    struct arena kept = search->request->arena;
    search->request->arena = search->scratch;
    enum status status = object_decode(object, &search->request->arena);
    if (status == STATUS_OK)
        status = attributes_view(search->request, object, ret_view);
    search->scratch = search->request->arena;
    search->request->arena = kept;
    return status;
}

static void consider(struct search *search, struct object *object)
{
    struct kmip_list view;
    lifecycle_advance(object, request_seconds(search->request));
    if (lifecycle_is_destroyed(object) && !search->with_destroyed)
        return;
    search->status = view_in_scratch(search, object, &view);
    if (search->status == STATUS_OK && group_member_fits(search, object) &&
        match_view(&view, &search->wanted))
        found(search, object);
    arena_reset(&search->scratch);
}

static bool is_changed_here(const struct search *search, const struct uuid *id)
{
    for (const struct object *object = search->request->objects; object != NULL;
         object = object->next)
        if (object->changed && uuid_equal(&object->row.id, id))
            return true;
    return false;
}

static bool visit(void *context, struct stored_object *stored)
{
    struct search *search = context;
    struct object object;
    if (is_changed_here(search, &stored->row.id))
        return true;
    if (search->request->patience-- == 0) {
        search->request->out_of_patience = true;
        search->status = STATUS_BUSY;
        return false;
    }
    object_from_stored(&object, stored);
    consider(search, &object);
    return search->status == STATUS_OK && !full(search);
}

/* Objects that this very batch has made or changed are not in the store yet. */
static void search_batch(struct search *search)
{
    for (struct object *object = search->request->objects; object != NULL; object = object->next) {
        struct object copy = *object;
        if (object->changed && search->status == STATUS_OK && !full(search))
            consider(search, &copy);
    }
}

static void search_store(struct search *search)
{
    do {
        int64_t next = 0;
        enum status status =
            store_find(search->request->store, &search->query, visit, search, &next);
        if (status != STATUS_OK)
            search->status = status;
        search->query.after = next;
    } while (search->status == STATUS_OK && search->query.after != 0 && !full(search));
}

/* A Unique Identifier among the wanted attributes names the one candidate there can be. */
static void search_one(struct search *search, struct bytes identifier)
{
    struct object *object;
    struct bytes subject = search->request->subject;
    enum status status = request_decoded_object(search->request, identifier, &object);
    search->request->subject = subject;
    if (status == STATUS_OK) {
        struct object copy = *object;
        consider(search, &copy);
    } else if (status != STATUS_OBJECT_NOT_FOUND) {
        search->status = status;
    }
}

static const struct kmip_named_attribute *find_wanted(const struct search *search,
                                                      enum kmip_attribute id)
{
    const struct kmip_named_attribute *items = search->wanted.items;
    const char *name = kmip_attribute_by_id(id)->name;
    for (size_t i = 0; i < search->wanted.count; i++)
        if (bytes_equal_text(items[i].name, name))
            return &items[i];
    return NULL;
}

static void plan_state(struct search *search)
{
    const struct kmip_named_attribute *state = find_wanted(search, KMIP_ATTRIBUTE_STATE);
    if (state == NULL || state->value.type != TTLV_ENUMERATION)
        return;
    int64_t wanted = value_number(&state->value);
    if (wanted < KMIP_STATE_PRE_ACTIVE || wanted > KMIP_STATE_DESTROYED_COMPROMISED)
        return;
    search->with_destroyed =
        wanted == KMIP_STATE_DESTROYED || wanted == KMIP_STATE_DESTROYED_COMPROMISED;
    search->query.states = lifecycle_stored_states(STORE_STATE_BIT(wanted));
}

/* What the store can do of the search by its indexes. */
static enum status plan(struct search *search)
{
    struct request *request = search->request;
    const struct kmip_named_attribute *items = search->wanted.items;
    uint64_t *terms = arena_allocate_array(&request->arena, search->wanted.count, sizeof(*terms));
    if (terms == NULL)
        return STATUS_TOO_LARGE;
    search->query =
        (struct store_query){.adapter = request->session->adapter, .terms = terms, .limit = PAGE};
    for (size_t i = 0; i < search->wanted.count; i++) {
        struct store_term term;
        /* Dates may be the ends of a range, of which no object need have one. */
        if (items[i].value.type != TTLV_DATE_TIME &&
            attribute_term(&request->arena, items[i].name, &items[i].value, &term) == STATUS_OK)
            terms[search->query.term_count++] = term.term;
    }
    const struct kmip_named_attribute *type = find_wanted(search, KMIP_ATTRIBUTE_OBJECT_TYPE);
    if (type != NULL && type->value.type == TTLV_ENUMERATION)
        search->query.object_type = (uint32_t)value_number(&type->value);
    plan_state(search);
    return STATUS_OK;
}

/* All that is asked for: the payload's attributes, and those of a Template-Attribute. */
static enum status collect_wanted(struct search *search)
{
    const struct kmip_locate_request *asked = search->asked;
    const struct kmip_list none = {0};
    const struct kmip_list *outer = &asked->attributes;
    const struct kmip_list *inner =
        asked->template_attribute != NULL ? &asked->template_attribute->attributes : &none;
    struct kmip_named_attribute *items =
        arena_allocate_array(&search->request->arena, outer->count + inner->count, sizeof(*items));
    if (items == NULL)
        return STATUS_TOO_LARGE;
    if (inner->count > 0)
        memcpy(items, inner->items, inner->count * sizeof(*items));
    if (outer->count > 0)
        memcpy(items + inner->count, outer->items, outer->count * sizeof(*items));
    search->wanted = (struct kmip_list){outer->count + inner->count, items};
    for (size_t i = 0; i < search->wanted.count; i++)
        if (items[i].value.type == 0)
            return STATUS_INVALID_FIELD;
    return STATUS_OK;
}

static enum status set_limits(struct search *search)
{
    const struct kmip_locate_request *asked = search->asked;
    unsigned limit = search->request->core->options.locate_max;
    if (asked->maximum_items.value < 0 || asked->offset_items.value < 0)
        return STATUS_INVALID_FIELD;
    search->skip = (size_t)asked->offset_items.value;
    search->maximum = limit;
    if (asked->maximum_items.present && asked->maximum_items.value < (int64_t)limit)
        search->maximum = (size_t)asked->maximum_items.value;
    return STATUS_OK;
}

/* §9.1.3.3.2: nothing is ever archived here, so that a mask without on-line storage finds nothing. */
static bool excludes_online(const struct kmip_locate_request *asked)
{
    return asked->storage_status_mask.present &&
           (asked->storage_status_mask.value & KMIP_STORAGE_STATUS_MASK_ON_LINE_STORAGE) == 0;
}

static void run(struct search *search)
{
    const struct kmip_named_attribute *identifier =
        find_wanted(search, KMIP_ATTRIBUTE_UNIQUE_IDENTIFIER);
    if (search->maximum == 0 || excludes_online(search->asked))
        return;
    if (identifier != NULL) {
        search_one(search, identifier->value.value);
        return;
    }
    search_store(search);
    search_batch(search);
}

/* "If a single Unique Identifier is returned ... the ID Placeholder"; otherwise it is emptied. */
static void set_placeholder(const struct search *search)
{
    search->request->has_placeholder = search->returned == 1;
    search->request->placeholder = search->last;
}

enum status operation_locate(struct request *request, struct ttlv_reader payload)
{
    struct kmip_locate_request asked;
    struct search search = {.request = request, .asked = &asked};
    enum status status = kmip_decode(&kmip_locate_request_shape, payload, &request->arena, &asked);
    if (status == STATUS_OK)
        status = set_limits(&search);
    if (status == STATUS_OK)
        status = collect_wanted(&search);
    if (status == STATUS_OK)
        status = plan(&search);
    if (status != STATUS_OK)
        return status;
    arena_init(&search.scratch, CANDIDATE_MEMORY);
    run(&search);
    arena_free(&search.scratch);
    if (search.status == STATUS_OK)
        set_placeholder(&search);
    return search.status;
}
