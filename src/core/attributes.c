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

/* The server counts what is left, whatever a client says of it (KMIP 1.4 §3.21). */
static struct kmip_any whole_limits(struct arena *arena, const struct kmip_any *value)
{
    struct structure_usage_limits limits;
    if (kmip_decode(&structure_usage_limits_shape, ttlv_reader_over(value->value), arena,
                    &limits) != STATUS_OK)
        return (struct kmip_any){0};
    limits.count = limits.total;
    return value_structure(arena, &structure_usage_limits_shape, &limits);
}

/* A value that a client gives, as it is to be stored. */
static enum status take_value(struct request *request, const struct kmip_attribute_info *info,
                              const struct kmip_any *given, struct kmip_any *ret_value)
{
    if (!value_valid(request, info, given, &request->arena))
        return STATUS_INVALID_FIELD;
    *ret_value = info != NULL && info->id == KMIP_ATTRIBUTE_USAGE_LIMITS
                     ? whole_limits(&request->arena, given)
                     : *given;
    return ret_value->type != 0 ? STATUS_OK : STATUS_TOO_LARGE;
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

/* A custom attribute has any type, but all its instances have the same one. `except`: the instance
 * that is about to change, or NULL. */
static bool type_consistent(const struct object *object, struct bytes name, uint8_t type,
                            const struct attribute *except)
{
    for (size_t i = 0; i < object->count; i++) {
        const struct attribute *other = &object->attributes[i];
        if (other != except && other->name.size > 0 && bytes_equal(other->name, name))
            return other->value.type == type;
    }
    return true;
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
    struct kmip_any value;
    enum status status = take_value(request, info, &named->value, &value);
    if (status != STATUS_OK)
        return status;
    if (!type_consistent(object, named->name, value.type, NULL))
        return STATUS_INVALID_FIELD;
    bool single = info != NULL && info->multiple != KMIP_RULE_YES;
    if (single && object_find(object, info->id, 0) != NULL)
        return STATUS_INDEX_OUT_OF_BOUNDS;
    return append_instance(request, object, info, named->name, value);
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

/*
 * Whether the client may give an attribute that the object does not have its first value. Some are
 * the client's to set, but only once: Operation Policy Name (§3.18), and what it may tell of a key
 * that it registered (§3.43, §3.44).
 */
static bool client_may_add(const struct request *request, const struct kmip_attribute_info *info,
                           const struct object *object)
{
    if ((info->set_by & KMIP_SIDE_CLIENT) == 0)
        return false;
    if (info->client_may == KMIP_RULE_NO)
        return object_find(object, (enum kmip_attribute)info->id, 0) == NULL;
    return client_may_change(request, info, object);
}

static bool is_name(const struct kmip_attribute_info *info)
{
    return info != NULL && info->id == KMIP_ATTRIBUTE_NAME;
}

static enum status check_name(struct request *request, const struct object *object,
                              const struct object *former, struct bytes name,
                              const struct kmip_any *value);

/* Add and Modify Attribute give another reason for a taken Name than Create (KMIP 1.4 §11.15). */
static enum status check_new_name(struct request *request, const struct object *object,
                                  const struct kmip_attribute_info *info,
                                  const struct kmip_named_attribute *named)
{
    if (!is_name(info))
        return STATUS_OK;
    enum status status = check_name(request, object, NULL, named->name, &named->value);
    return status == STATUS_NAME_EXISTS ? STATUS_EXISTS : status;
}

/* §3.49, §3.51: what was once otherwise was not always so. */
static void note_history(struct request *request, struct object *object,
                         const struct kmip_attribute_info *info, const struct kmip_any *value)
{
    bool set = value_number(value) != 0;
    struct attribute *history = NULL;
    if (info != NULL && info->id == KMIP_ATTRIBUTE_SENSITIVE && !set)
        history = object_find(object, KMIP_ATTRIBUTE_ALWAYS_SENSITIVE, 0);
    if (info != NULL && info->id == KMIP_ATTRIBUTE_EXTRACTABLE && set)
        history = object_find(object, KMIP_ATTRIBUTE_NEVER_EXTRACTABLE, 0);
    if (history != NULL) /* not there: it is false anyhow */
        object_remove(object, history);
}

static enum status check_addition(struct request *request, const struct object *object,
                                  const struct kmip_attribute_info *info,
                                  const struct kmip_named_attribute *named)
{
    if (info == NULL && !is_client_custom(named->name))
        return STATUS_ATTRIBUTE_READ_ONLY;
    if (info != NULL && (!applies(request, info, object) || !client_may_add(request, info, object)))
        return STATUS_ATTRIBUTE_READ_ONLY;
    /* "SHALL NOT be specified" (KMIP 1.4 §4.14); an index of 0 for the first instance is what
     * MySQL's client sends and harms nobody. */
    if (named->index.present && named->index.value != 0)
        return STATUS_INVALID_FIELD;
    if (info != NULL && info->multiple != KMIP_RULE_YES &&
        (object_find(object, info->id, 0) != NULL || attribute_is_derived(info->id)))
        return STATUS_ATTRIBUTE_EXISTS;
    return STATUS_OK;
}

enum status attributes_add(struct request *request, struct object *object,
                           const struct kmip_named_attribute *named,
                           struct attribute **ret_attribute)
{
    const struct kmip_attribute_info *info = info_of(named->name);
    struct kmip_any value;
    enum status status = check_addition(request, object, info, named);
    if (status == STATUS_OK)
        status = take_value(request, info, &named->value, &value);
    if (status == STATUS_OK && !type_consistent(object, named->name, value.type, NULL))
        status = STATUS_INVALID_FIELD;
    if (status == STATUS_OK)
        status = check_new_name(request, object, info, named);
    if (status == STATUS_OK)
        status = append_instance(request, object, info, named->name, value);
    if (status == STATUS_OK)
        status = attributes_check_dates(object);
    if (status == STATUS_OK)
        *ret_attribute = &object->attributes[object->count - 1];
    return status;
}

/* The instance that Modify Attribute names. One that every object has counts as being there. */
static enum status find_to_modify(struct request *request, struct object *object,
                                  const struct kmip_attribute_info *info,
                                  const struct kmip_named_attribute *named,
                                  struct attribute **ret_attribute)
{
    int32_t index = (int32_t)named->index.value;
    *ret_attribute = object_find_named(object, named->name, index);
    if (*ret_attribute != NULL)
        return STATUS_OK;
    if (count_instances(object, named->name) > 0)
        return STATUS_ATTRIBUTE_NOT_FOUND;
    if (info == NULL || index != 0 || !attribute_is_derived(info->id))
        return STATUS_INVALID_FIELD;
    enum status status = append_instance(request, object, info, named->name, named->value);
    *ret_attribute = status == STATUS_OK ? &object->attributes[object->count - 1] : NULL;
    return status;
}

static enum status check_modification(const struct request *request, const struct object *object,
                                      const struct kmip_attribute_info *info, struct bytes name)
{
    if (info == NULL && !attribute_is_custom(name))
        return STATUS_INVALID_FIELD;
    if (info == NULL)
        return is_client_custom(name) ? STATUS_OK : STATUS_ATTRIBUTE_READ_ONLY;
    if (!applies(request, info, object))
        return STATUS_INVALID_FIELD;
    return client_may_change(request, info, object) ? STATUS_OK : STATUS_ATTRIBUTE_READ_ONLY;
}

enum status attributes_modify(struct request *request, struct object *object,
                              const struct kmip_named_attribute *named,
                              struct attribute **ret_attribute)
{
    const struct kmip_attribute_info *info = info_of(named->name);
    struct attribute *attribute;
    struct kmip_any value;
    enum status status = check_modification(request, object, info, named->name);
    if (status == STATUS_OK)
        status = take_value(request, info, &named->value, &value);
    if (status == STATUS_OK)
        status = find_to_modify(request, object, info, named, &attribute);
    if (status == STATUS_OK && !type_consistent(object, named->name, value.type, attribute))
        status = STATUS_INVALID_FIELD;
    if (status != STATUS_OK)
        return status;
    attribute->value = value;
    status = attributes_check_dates(object);
    if (status == STATUS_OK)
        status = check_new_name(request, object, info, named);
    if (status != STATUS_OK)
        return status;
    note_history(request, object, info, &value);
    *ret_attribute = object_find_named(object, named->name, (int32_t)named->index.value);
    return STATUS_OK;
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
    if (attribute == NULL || (info != NULL && !applies(request, info, object)))
        return STATUS_ATTRIBUTE_NOT_FOUND;
    *ret_attribute = *attribute;
    object_remove(object, attribute);
    return STATUS_OK;
}

enum status attributes_check_dates(const struct object *object)
{
    int64_t activation;
    int64_t start;
    int64_t stop;
    int64_t deactivation;
    if (object_number(object, KMIP_ATTRIBUTE_ACTIVATION_DATE, &activation) &&
        object_number(object, KMIP_ATTRIBUTE_PROCESS_START_DATE, &start) && start < activation)
        return STATUS_INVALID_FIELD;
    if (object_number(object, KMIP_ATTRIBUTE_PROTECT_STOP_DATE, &stop) &&
        object_number(object, KMIP_ATTRIBUTE_DEACTIVATION_DATE, &deactivation) &&
        stop > deactivation)
        return STATUS_INVALID_FIELD;
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

enum status attribute_term(struct arena *arena, struct bytes name, const struct kmip_any *value,
                           struct store_term *ret_term)
{
    const struct kmip_attribute_info *info = info_of(name);
    if (!is_indexed(info, name))
        return STATUS_NOT_FOUND;
    if (value->type == TTLV_STRUCTURE &&
        (info == NULL || !structure_complete(info->tag->number, value, arena)))
        return STATUS_NOT_FOUND;
    /* Name and type cannot run into each other: a name has no NUL. */
    const struct bytes pieces[] = {name, bytes_of("", 1), bytes_of(&value->type, 1), value->value};
    ret_term->unique = is_name(info);
    return digest_term(pieces, ARRAY_COUNT(pieces), &ret_term->term);
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
        if (attribute->name.size == 0)
            continue;
        enum status status =
            attribute_term(&request->arena, attribute->name, &attribute->value, &terms[count]);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND)
            return status; /* an object without its terms would not be found again */
        count += status == STATUS_OK;
    }
    *ret_terms = terms;
    *ret_count = count;
    return STATUS_OK;
}

struct name_search {
    struct request *request;
    const struct object *object;
    const struct object *former; /* gives up its Names, or NULL */
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

/* Whether a Name of the object with this identifier is no obstacle. */
static bool is_own(const struct name_search *search, const struct uuid *id)
{
    return uuid_equal(id, &search->object->row.id) ||
           (search->former != NULL && uuid_equal(id, &search->former->row.id));
}

static bool visit_name(void *context, struct stored_object *stored)
{
    struct name_search *search = context;
    struct object other;
    if (is_own(search, &stored->row.id) || is_of_request(search->request, &stored->row.id))
        return true;
    object_from_stored(&other, stored);
    search->status = object_decode(&other, &search->request->arena);
    search->taken = search->status == STATUS_OK && !lifecycle_is_destroyed(&other) &&
                    has_name(&other, search->name);
    return search->status == STATUS_OK && !search->taken;
}

static bool taken_in_request(const struct name_search *search)
{
    for (const struct object *other = search->request->objects; other != NULL; other = other->next)
        if (!is_own(search, &other->row.id) && other->changed && !lifecycle_is_destroyed(other) &&
            has_name(other, search->name))
            return true;
    return false;
}

static enum status check_name(struct request *request, const struct object *object,
                              const struct object *former, struct bytes name,
                              const struct kmip_any *value)
{
    struct store_term term;
    struct name_search search = {
        .request = request, .object = object, .former = former, .name = value};
    if (taken_in_request(&search))
        return STATUS_NAME_EXISTS;
    if (attribute_term(&request->arena, name, value, &term) != STATUS_OK)
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

enum status attributes_check_names(struct request *request, const struct object *object,
                                   const struct object *former)
{
    for (size_t i = 0; i < object->count; i++) {
        if (!is_name(object->attributes[i].info))
            continue;
        enum status status = check_name(request, object, former, object->attributes[i].name,
                                        &object->attributes[i].value);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}
