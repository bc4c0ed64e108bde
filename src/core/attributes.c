/* SPDX-License-Identifier: Apache-2.0 */
#include "core/attributes.h"

#include "core/lifecycle.h"
#include "core/structures.h"
#include "crypto/digest.h"

static bool starts_with(struct bytes name, const char prefix[static 3])
{
    return name.size > 2 && memcmp(name.data, prefix, 2) == 0;
}

static bool is_client_custom(struct bytes name)
{
    return starts_with(name, "x-");
}

bool attribute_is_custom(struct bytes name)
{
    return is_client_custom(name) || starts_with(name, "y-");
}

static const struct kmip_attribute_info *info_of(struct bytes name)
{
    return kmip_attribute_by_name((const char *)name.data, name.size);
}

/* Enumerations: a value of the standard, or a vendor's (KMIP 1.4 §9.1.3.2: 8XXXXXXX). */
static bool enumeration_valid(uint32_t tag, const struct kmip_any *value)
{
    uint32_t number = (uint32_t)value_number(value);
    if ((number & 0xF0000000) == 0x80000000 || kmip_enumeration_by_tag(tag) == NULL)
        return true;
    return kmip_value_by_number(tag, number) != NULL;
}

/* Whether a value may stand in the attribute: its type, its enumeration, its structure. */
static bool value_valid(const struct request *request, const struct kmip_attribute_info *info,
                        const struct kmip_any *value, struct arena *arena)
{
    if (value->type == 0 || value->value.size > ATTRIBUTE_VALUE_MAX)
        return false;
    if (info == NULL)
        return true;
    uint8_t type = kmip_tag_type(info->tag->number, request->version);
    if (type != KMIP_ITEM_TYPE_ANY && type != value->type)
        return false;
    if (value->type == TTLV_ENUMERATION)
        return enumeration_valid(info->tag->number, value);
    if (value->type == TTLV_STRUCTURE)
        return structure_complete(info->tag->number, value, arena);
    return true;
}

/* What a client states of a key when it is made, though the tables call it set by the server. */
static bool stated_at_creation(const struct kmip_attribute_info *info)
{
    return info->id == KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM ||
           info->id == KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH;
}

static bool applies(const struct request *request, const struct kmip_attribute_info *info,
                    const struct object *object)
{
    return kmip_in_version(info->since, info->until, request->version) &&
           kmip_attribute_applies(info, (enum kmip_object_type)object->row.object_type,
                                  request->version);
}

static size_t count_instances(const struct object *object, struct bytes name)
{
    size_t count = 0;
    for (size_t i = 0; i < object->count; i++)
        count +=
            object->attributes[i].name.size > 0 && bytes_equal(object->attributes[i].name, name);
    return count;
}

/* Appends a new instance, with the next free index of its name. */
static enum status append_instance(struct request *request, struct object *object,
                                   const struct kmip_attribute_info *info, struct bytes name,
                                   struct kmip_any value)
{
    if (count_instances(object, name) >= ATTRIBUTE_INSTANCES_MAX ||
        object->count >= ATTRIBUTE_NAMES_MAX)
        return STATUS_INDEX_OUT_OF_BOUNDS;
    struct attribute attribute = {
        .info = info,
        .tag = info != NULL ? info->tag->number : KMIP_TAG_ATTRIBUTE,
        .name = name,
        .index = object_next_index(object, name),
        .value = value,
    };
    return object_append(object, &request->arena, attribute);
}

static enum status template_one(struct request *request, struct object *object,
                                const struct kmip_named_attribute *named)
{
    const struct kmip_attribute_info *info = info_of(named->name);
    if (info == NULL && !is_client_custom(named->name))
        return STATUS_INVALID_FIELD;
    if (info != NULL && !applies(request, info, object))
        return STATUS_INVALID_FIELD;
    if (info != NULL && (info->set_by & KMIP_SIDE_CLIENT) == 0 && !stated_at_creation(info))
        return STATUS_INVALID_FIELD;
    if (!value_valid(request, info, &named->value, &request->arena))
        return STATUS_INVALID_FIELD;
    bool single = info != NULL && info->multiple != KMIP_RULE_YES;
    if (single && object_find(object, info->id, 0) != NULL)
        return STATUS_INDEX_OUT_OF_BOUNDS;
    return append_instance(request, object, info, named->name, named->value);
}

enum status attributes_from_template(struct request *request, struct object *object,
                                     const struct kmip_template_attribute *template_attribute)
{
    if (template_attribute == NULL)
        return STATUS_OK;
    if (template_attribute->names.count > 0)
        return STATUS_OBJECT_NOT_FOUND; /* no Template objects here (deprecated since 1.3) */
    const struct kmip_named_attribute *named = template_attribute->attributes.items;
    for (size_t i = 0; i < template_attribute->attributes.count; i++) {
        enum status status = template_one(request, object, &named[i]);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* Whether the client may touch an attribute that has this rule, now. */
static bool rule_permits(enum kmip_rule rule, const struct object *object, enum kmip_attribute id,
                         int64_t seconds)
{
    int64_t date;
    switch (rule) {
    case KMIP_RULE_YES:
    case KMIP_RULE_IF_ABSENT:
    case KMIP_RULE_OWN:
    case KMIP_RULE_UNUSED:
        return true;
    case KMIP_RULE_PRE_ACTIVE:
        return object->row.state == KMIP_STATE_PRE_ACTIVE;
    case KMIP_RULE_PRE_ACTIVE_OR_ACTIVE:
        return object->row.state == KMIP_STATE_PRE_ACTIVE || object->row.state == KMIP_STATE_ACTIVE;
    case KMIP_RULE_UNTIL_REACHED:
        return (object->row.state == KMIP_STATE_PRE_ACTIVE ||
                object->row.state == KMIP_STATE_ACTIVE) &&
               (!object_number(object, id, &date) || date > seconds);
    case KMIP_RULE_NO:
    case KMIP_RULE_IF_KNOWN:
    case KMIP_RULE_PGP_ONLY:
        break;
    }
    return false;
}

static bool client_may_change(const struct request *request, const struct kmip_attribute_info *info,
                              const struct object *object)
{
    return rule_permits((enum kmip_rule)info->client_may, object, (enum kmip_attribute)info->id,
                        request_seconds(request));
}

static bool is_name(const struct kmip_attribute_info *info)
{
    return info != NULL && info->id == KMIP_ATTRIBUTE_NAME;
}

static enum status check_name(struct request *request, const struct object *object,
                              struct bytes name, const struct kmip_any *value);

/* Add and Modify Attribute give another reason for a taken Name than Create (KMIP 1.4 §11.15). */
static enum status check_new_name(struct request *request, const struct object *object,
                                  const struct kmip_attribute_info *info,
                                  const struct kmip_named_attribute *named)
{
    if (!is_name(info))
        return STATUS_OK;
    enum status status = check_name(request, object, named->name, &named->value);
    return status == STATUS_NAME_EXISTS ? STATUS_EXISTS : status;
}

/* A custom attribute has any type, but all its instances have the same one. */
static bool type_consistent(const struct object *object, struct bytes name, uint8_t type)
{
    for (size_t i = 0; i < object->count; i++)
        if (object->attributes[i].name.size > 0 && bytes_equal(object->attributes[i].name, name))
            return object->attributes[i].value.type == type;
    return true;
}

enum status attributes_add(struct request *request, struct object *object,
                           const struct kmip_named_attribute *named,
                           struct attribute **ret_attribute)
{
    const struct kmip_attribute_info *info = info_of(named->name);
    if (info == NULL && !is_client_custom(named->name))
        return STATUS_ATTRIBUTE_READ_ONLY;
    if (info != NULL &&
        (!applies(request, info, object) || (info->set_by & KMIP_SIDE_CLIENT) == 0 ||
         !client_may_change(request, info, object)))
        return STATUS_ATTRIBUTE_READ_ONLY;
    /* "SHALL NOT be specified" (KMIP 1.4 §4.14); an index of 0 for the first instance is what
     * MySQL's client sends and harms nobody. */
    if (named->index.present && named->index.value != 0)
        return STATUS_INVALID_FIELD;
    if (!value_valid(request, info, &named->value, &request->arena) ||
        !type_consistent(object, named->name, named->value.type))
        return STATUS_INVALID_FIELD;
    if (info != NULL && info->multiple != KMIP_RULE_YES && object_find(object, info->id, 0) != NULL)
        return STATUS_ATTRIBUTE_EXISTS;
    enum status status = check_new_name(request, object, info, named);
    if (status == STATUS_OK)
        status = append_instance(request, object, info, named->name, named->value);
    if (status == STATUS_OK)
        *ret_attribute = &object->attributes[object->count - 1];
    return status;
}

enum status attributes_modify(struct request *request, struct object *object,
                              const struct kmip_named_attribute *named,
                              struct attribute **ret_attribute)
{
    const struct kmip_attribute_info *info = info_of(named->name);
    if (info == NULL && !attribute_is_custom(named->name))
        return STATUS_INVALID_FIELD;
    if (info != NULL ? !client_may_change(request, info, object) : !is_client_custom(named->name))
        return STATUS_ATTRIBUTE_READ_ONLY;
    int32_t index = (int32_t)named->index.value;
    struct attribute *attribute = object_find_named(object, named->name, index);
    if (attribute == NULL && count_instances(object, named->name) > 0)
        return STATUS_ATTRIBUTE_NOT_FOUND;
    if (attribute == NULL)
        return STATUS_INVALID_FIELD;
    if (!value_valid(request, info, &named->value, &request->arena))
        return STATUS_INVALID_FIELD;
    attribute->value = named->value;
    *ret_attribute = attribute;
    return check_new_name(request, object, info, named);
}

enum status attributes_delete(struct request *request, struct object *object, struct bytes name,
                              int32_t index, struct attribute *ret_attribute)
{
    const struct kmip_attribute_info *info = info_of(name);
    if (info != NULL && !rule_permits((enum kmip_rule)info->client_deletes, object,
                                      (enum kmip_attribute)info->id, request_seconds(request)))
        return STATUS_ATTRIBUTE_READ_ONLY;
    if (info == NULL && attribute_is_custom(name) && !is_client_custom(name))
        return STATUS_ATTRIBUTE_READ_ONLY;
    struct attribute *attribute = object_find_named(object, name, index);
    if (attribute == NULL)
        return STATUS_ATTRIBUTE_NOT_FOUND;
    *ret_attribute = *attribute;
    object_remove(object, attribute);
    return STATUS_OK;
}

struct kmip_named_attribute attribute_named(const struct attribute *attribute)
{
    struct kmip_named_attribute named = {.name = attribute->name, .value = attribute->value};
    if (attribute->index != 0)
        named.index = kmip_number(attribute->index);
    return named;
}

/* Attributes whose every value is a term. Custom attributes are too. */
static const uint8_t indexed[] = {
    KMIP_ATTRIBUTE_NAME,
    KMIP_ATTRIBUTE_OBJECT_GROUP,
    KMIP_ATTRIBUTE_APPLICATION_SPECIFIC_INFORMATION,
    KMIP_ATTRIBUTE_CONTACT_INFORMATION,
    KMIP_ATTRIBUTE_ALTERNATIVE_NAME,
    KMIP_ATTRIBUTE_LINK,
};

static bool is_indexed(const struct kmip_attribute_info *info, struct bytes name)
{
    if (info == NULL)
        return attribute_is_custom(name);
    return memchr(indexed, info->id, sizeof(indexed)) != NULL;
}

bool attribute_term(struct arena *arena, struct bytes name, const struct kmip_any *value,
                    struct store_term *ret_term)
{
    const struct kmip_attribute_info *info = info_of(name);
    if (!is_indexed(info, name))
        return false;
    if (value->type == TTLV_STRUCTURE &&
        (info == NULL || !structure_complete(info->tag->number, value, arena)))
        return false;
    /* Name and type cannot run into each other: a name has no NUL. */
    const struct bytes pieces[] = {name, bytes_of("", 1), bytes_of(&value->type, 1), value->value};
    if (digest_term(pieces, ARRAY_COUNT(pieces), &ret_term->term) != STATUS_OK)
        return false;
    ret_term->unique = is_name(info);
    return true;
}

enum status attributes_terms(struct request *request, const struct object *object,
                             const struct store_term **ret_terms, size_t *ret_count)
{
    struct store_term *terms = arena_allocate_array(&request->arena, object->count, sizeof(*terms));
    if (terms == NULL)
        return STATUS_TOO_LARGE;
    size_t count = 0;
    for (size_t i = 0; i < object->count; i++) {
        const struct attribute *attribute = &object->attributes[i];
        if (attribute->name.size > 0 &&
            attribute_term(&request->arena, attribute->name, &attribute->value, &terms[count]))
            count++;
    }
    *ret_terms = terms;
    *ret_count = count;
    return STATUS_OK;
}

struct name_search {
    struct request *request;
    const struct object *object;
    const struct kmip_any *name;
    bool taken;
    enum status status;
};

static bool has_name(const struct object *object, const struct kmip_any *name)
{
    for (size_t i = 0; i < object->count; i++)
        if (is_name(object->attributes[i].info) && value_equal(&object->attributes[i].value, name))
            return true;
    return false;
}

static bool is_of_request(const struct request *request, const struct uuid *id)
{
    for (const struct object *other = request->objects; other != NULL; other = other->next)
        if (other->changed && uuid_equal(&other->row.id, id))
            return true;
    return false;
}

static bool visit_name(void *context, struct stored_object *stored)
{
    struct name_search *search = context;
    struct object other;
    if (uuid_equal(&stored->row.id, &search->object->row.id) ||
        is_of_request(search->request, &stored->row.id))
        return true;
    object_from_stored(&other, stored);
    search->status = object_decode(&other, &search->request->arena);
    search->taken = search->status == STATUS_OK && !lifecycle_is_destroyed(&other) &&
                    has_name(&other, search->name);
    return search->status == STATUS_OK && !search->taken;
}

static bool taken_in_request(const struct request *request, const struct object *object,
                             const struct kmip_any *name)
{
    for (const struct object *other = request->objects; other != NULL; other = other->next)
        if (!uuid_equal(&other->row.id, &object->row.id) && other->changed &&
            !lifecycle_is_destroyed(other) && has_name(other, name))
            return true;
    return false;
}

static enum status check_name(struct request *request, const struct object *object,
                              struct bytes name, const struct kmip_any *value)
{
    struct store_term term;
    struct name_search search = {.request = request, .object = object, .name = value};
    if (taken_in_request(request, object, value))
        return STATUS_NAME_EXISTS;
    if (!attribute_term(&request->arena, name, value, &term))
        return STATUS_CRYPTO_FAILED;
struct store_query query = {.adapter = request->session->adapter,
                                .terms = &term.term,
                                .term_count = 1,
                                .limit = SIZE_MAX};
    enum status status;
    do { /* a page may end anywhere */
        status = store_find(request->store, &query, visit_name, &search, &query.after);
        if (status == STATUS_OK)
            status = search.status;
    } while (status == STATUS_OK && !search.taken && query.after != 0);
    return status == STATUS_OK && search.taken ? STATUS_NAME_EXISTS : status;
}

enum status attributes_check_names(struct request *request, const struct object *object)
{
    for (size_t i = 0; i < object->count; i++) {
        if (!is_name(object->attributes[i].info))
            continue;
        enum status status =
            check_name(request, object, object->attributes[i].name, &object->attributes[i].value);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}
