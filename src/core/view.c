/* SPDX-License-Identifier: Apache-2.0 */
/* What a client sees of an object's attributes: those stored and those derived, in its version. */
#include "core/attributes.h"
#include "core/lifecycle.h"
#include "core/structures.h"

typedef struct kmip_any derive(struct request *request, const struct object *object);

static struct kmip_any derive_identifier(struct request *request, const struct object *object)
{
    (void)request;
    return value_text(object_identifier(object));
}

static struct kmip_any derive_object_type(struct request *request, const struct object *object)
{
    return value_enumeration(&request->arena, object->row.object_type);
}

static struct kmip_any derive_state(struct request *request, const struct object *object)
{
    return value_enumeration(&request->arena, object->row.state);
}

static struct kmip_any derive_lease_time(struct request *request, const struct object *object)
{
    (void)object;
    return value_interval(&request->arena, request->core->options.lease_seconds);
}

static struct kmip_any derive_true(struct request *request, const struct object *object)
{
    (void)object;
    return value_boolean(&request->arena, true);
}

static struct kmip_any derive_false(struct request *request, const struct object *object)
{
    (void)object;
    return value_boolean(&request->arena, false);
}

/* The attributes that every object to which they apply has, whether stored or not. */
static derive *const derived[KMIP_ATTRIBUTE_COUNT] = {
    [KMIP_ATTRIBUTE_UNIQUE_IDENTIFIER] = derive_identifier,
    [KMIP_ATTRIBUTE_OBJECT_TYPE] = derive_object_type,
    [KMIP_ATTRIBUTE_STATE] = derive_state,
    [KMIP_ATTRIBUTE_LEASE_TIME] = derive_lease_time,
    [KMIP_ATTRIBUTE_SENSITIVE] = derive_false,
    [KMIP_ATTRIBUTE_ALWAYS_SENSITIVE] = derive_false,
    [KMIP_ATTRIBUTE_EXTRACTABLE] = derive_true,
    [KMIP_ATTRIBUTE_NEVER_EXTRACTABLE] = derive_false,
};

bool attribute_is_derived(enum kmip_attribute id)
{
    return derived[id] != NULL;
}

static bool shown(const struct request *request, const struct kmip_attribute_info *info)
{
    return info->name[0] != '\0' && kmip_in_version(info->since, info->until, request->version);
}

/* KMIP 1.0's Digest has no Key Format Type yet. */
static struct kmip_any for_version(struct request *request, const struct attribute *attribute)
{
    struct structure_digest digest;
    if (request->version >= KMIP_VERSION_1_1 || attribute->tag != KMIP_TAG_DIGEST ||
        kmip_decode(&structure_digest_shape, ttlv_reader_over(attribute->value.value),
                    &request->arena, &digest) != STATUS_OK)
        return attribute->value;
    digest.key_format_type.present = false;
    return value_structure(&request->arena, &structure_digest_shape, &digest);
}

struct view {
    struct kmip_named_attribute *items;
    size_t count;
};

static void add_stored(struct request *request, const struct object *object, enum kmip_attribute id,
                       struct view *view)
{
    for (size_t i = 0; i < object->count; i++) {
        const struct attribute *attribute = &object->attributes[i];
        if (attribute->info == NULL || attribute->info->id != id)
            continue;
        view->items[view->count] = attribute_named(attribute);
        view->items[view->count++].value = for_version(request, attribute);
    }
}

static void add_derived(struct request *request, const struct object *object,
                        const struct kmip_attribute_info *info, struct view *view)
{
    if (!kmip_attribute_applies(info, (enum kmip_object_type)object->row.object_type,
                                request->version))
        return;
    view->items[view->count++] = (struct kmip_named_attribute){
        .name = bytes_of_text(info->name), .value = derived[info->id](request, object)};
}

static void add_custom(const struct object *object, struct view *view)
{
    for (size_t i = 0; i < object->count; i++)
        if (object->attributes[i].info == NULL && object->attributes[i].name.size > 0)
            view->items[view->count++] = attribute_named(&object->attributes[i]);
}

enum status attributes_view(struct request *request, const struct object *object,
                            struct kmip_list *ret_view)
{
    struct view view = {.items = arena_allocate_array(&request->arena,
                                                      object->count + KMIP_ATTRIBUTE_COUNT,
                                                      sizeof(*view.items))};
    if (view.items == NULL)
        return STATUS_TOO_LARGE;
    for (unsigned id = 0; id < KMIP_ATTRIBUTE_COUNT; id++) {
        const struct kmip_attribute_info *info = kmip_attribute_by_id((enum kmip_attribute)id);
        if (!shown(request, info))
            continue;
        size_t before = view.count;
        add_stored(request, object, (enum kmip_attribute)id, &view);
        if (view.count == before && derived[id] != NULL)
            add_derived(request, object, info, &view);
    }
    add_custom(object, &view);
    for (size_t i = 0; i < view.count; i++)
        if (view.items[i].value.type == 0)
            return STATUS_TOO_LARGE;
    *ret_view = (struct kmip_list){view.count, view.items};
    return STATUS_OK;
}
