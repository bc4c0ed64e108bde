/* SPDX-License-Identifier: Apache-2.0 */
#include "core/lifecycle.h"
#include "core/material.h"
#include "core/structures.h"

/* What a replacement does not take over (KMIP 1.4 §4.4, Table 173). */
static const enum kmip_attribute not_copied[] = {
    KMIP_ATTRIBUTE_INITIAL_DATE,
    KMIP_ATTRIBUTE_DESTROY_DATE,
    KMIP_ATTRIBUTE_COMPROMISE_OCCURRENCE_DATE,
    KMIP_ATTRIBUTE_COMPROMISE_DATE,
    KMIP_ATTRIBUTE_REVOCATION_REASON,
    KMIP_ATTRIBUTE_DIGEST,
    KMIP_ATTRIBUTE_LINK,
    KMIP_ATTRIBUTE_LAST_CHANGE_DATE,
    KMIP_ATTRIBUTE_RANDOM_NUMBER_GENERATOR,
    KMIP_ATTRIBUTE_FRESH,
    KMIP_ATTRIBUTE_ORIGINAL_CREATION_DATE,
    KMIP_ATTRIBUTE_ALWAYS_SENSITIVE,
    KMIP_ATTRIBUTE_NEVER_EXTRACTABLE,
};

static const enum kmip_attribute dates[] = {
    KMIP_ATTRIBUTE_PROCESS_START_DATE,
    KMIP_ATTRIBUTE_PROTECT_STOP_DATE,
    KMIP_ATTRIBUTE_DEACTIVATION_DATE,
};

static bool is_copied(const struct attribute *attribute)
{
    if (attribute->info == NULL)
        return true;
    for (size_t i = 0; i < ARRAY_COUNT(not_copied); i++)
        if (attribute->info->id == not_copied[i])
            return false;
    return true;
}

static bool is_name(const struct attribute *attribute)
{
    return attribute->info != NULL && attribute->info->id == KMIP_ATTRIBUTE_NAME;
}

static enum status copy_attributes(struct request *request, const struct object *existing,
                                   struct object *replacement)
{
    for (size_t i = 0; i < existing->count; i++) {
        if (!is_copied(&existing->attributes[i]))
            continue;
        enum status status = object_append(replacement, &request->arena, existing->attributes[i]);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* Attributes of the request's template replace what was copied under the same name. */
static enum status apply_template(struct request *request, struct object *replacement,
                                  const struct kmip_template_attribute *template_attribute)
{
    if (template_attribute == NULL)
        return STATUS_OK;
    const struct kmip_named_attribute *named = template_attribute->attributes.items;
    for (size_t i = 0; i < template_attribute->attributes.count; i++)
        for (size_t j = replacement->count; j-- > 0;)
            if (replacement->attributes[j].name.size > 0 &&
                bytes_equal(replacement->attributes[j].name, named[i].name))
                object_remove(replacement, &replacement->attributes[j]);
    return attributes_from_template(request, replacement, template_attribute);
}

static bool template_has_dates(const struct kmip_template_attribute *template_attribute)
{
    static const char *const names[] = {"Activation Date", "Process Start Date",
                                        "Protect Stop Date", "Deactivation Date"};
    if (template_attribute == NULL)
        return false;
    const struct kmip_named_attribute *named = template_attribute->attributes.items;
    for (size_t i = 0; i < template_attribute->attributes.count; i++)
        for (size_t j = 0; j < ARRAY_COUNT(names); j++)
            if (bytes_equal_text(named[i].name, names[j]))
                return true;
    return false;
}

static enum status shift_date(struct request *request, struct object *replacement,
                              enum kmip_attribute id, int64_t seconds)
{
    int64_t date;
    if (!object_number(replacement, id, &date))
        return STATUS_OK;
    if (__builtin_add_overflow(date, seconds, &date))
        return STATUS_INVALID_FIELD;
    return object_set(replacement, &request->arena, id, value_date_time(&request->arena, date));
}

/* Table 172: the dates of the replacement from an Offset. */
static enum status apply_offset(struct request *request, struct object *replacement,
                                const struct kmip_number *offset)
{
    int64_t activation;
    if (!offset->present)
        return STATUS_OK;
    int64_t new_activation = request_seconds(request) + offset->value;
    int64_t shift = 0;
    bool had = object_number(replacement, KMIP_ATTRIBUTE_ACTIVATION_DATE, &activation);
    if (had && __builtin_sub_overflow(new_activation, activation, &shift))
        return STATUS_INVALID_FIELD;
    for (size_t i = 0; i < ARRAY_COUNT(dates); i++) {
        int64_t ignored;
        if (!had && object_number(replacement, dates[i], &ignored))
            return STATUS_ILLEGAL_OPERATION;
        enum status status = had ? shift_date(request, replacement, dates[i], shift) : STATUS_OK;
        if (status != STATUS_OK)
            return status;
    }
    return object_set(replacement, &request->arena, KMIP_ATTRIBUTE_ACTIVATION_DATE,
                      value_date_time(&request->arena, new_activation));
}

static enum status add_link(struct request *request, struct object *object, uint32_t type,
                            const struct object *other)
{
    struct structure_link link = {.type = kmip_number(type),
                                  .linked_object_identifier = object_identifier(other)};
    const struct kmip_attribute_info *info = kmip_attribute_by_id(KMIP_ATTRIBUTE_LINK);
    struct bytes name = bytes_of_text(info->name);
    return object_append(
        object, &request->arena,
        (struct attribute){
            .info = info,
            .tag = info->tag->number,
            .name = name,
            .index = object_next_index(object, name),
            .value = value_structure(&request->arena, &structure_link_shape, &link),
        });
}

static bool is_replacement_link(struct request *request, const struct attribute *attribute)
{
    struct structure_link link;
    return attribute->info != NULL && attribute->info->id == KMIP_ATTRIBUTE_LINK &&
           kmip_decode(&structure_link_shape, ttlv_reader_over(attribute->value.value),
                       &request->arena, &link) == STATUS_OK &&
           link.type.value == KMIP_LINK_TYPE_REPLACEMENT_OBJECT_LINK;
}

/* Names move to the replacement; both point to each other. "There SHALL be only one such
 * replacement object" (§3.35): the newest. */
static enum status hand_over(struct request *request, struct object *existing,
                             struct object *replacement)
{
    for (size_t i = existing->count; i-- > 0;)
        if (is_name(&existing->attributes[i]) ||
            is_replacement_link(request, &existing->attributes[i]))
            object_remove(existing, &existing->attributes[i]);
    enum status status =
        add_link(request, existing, KMIP_LINK_TYPE_REPLACEMENT_OBJECT_LINK, replacement);
    if (status == STATUS_OK)
        status = add_link(request, replacement, KMIP_LINK_TYPE_REPLACED_OBJECT_LINK, existing);
    if (status == STATUS_OK)
        status = request_changed(request, existing);
    return status;
}

static enum status make_material(struct request *request, struct object *replacement)
{
    int64_t algorithm = 0;
    int64_t bits = 0;
    struct secret material;
    (void)object_number(replacement, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM, &algorithm);
    (void)object_number(replacement, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH, &bits);
    if (!material_length_valid((uint32_t)algorithm, bits))
        return STATUS_INVALID_FIELD;
    enum status status =
        request_random(replacement, material_bytes((uint32_t)algorithm, bits), &material);
    if (status != STATUS_OK)
        return status;
    status = material_describe(request, replacement, &material, true);
    if (status == STATUS_OK)
        status = request_wrap(request, replacement, &material);
    secret_free(&material);
    return status;
}

static enum status replace(struct request *request, const struct kmip_rekey_request *asked,
                           struct object *existing, struct object **ret_replacement)
{
    struct object *replacement;
    enum status status = request_new_object(request, existing->row.object_type, &replacement);
    if (status == STATUS_OK)
        status = copy_attributes(request, existing, replacement);
    if (status == STATUS_OK)
        status = apply_template(request, replacement, asked->template_attribute);
    if (status == STATUS_OK)
        status = apply_offset(request, replacement, &asked->offset);
    if (status == STATUS_OK)
        status = attributes_check_names(request, replacement, existing);
    if (status == STATUS_OK)
        status = make_material(request, replacement);
    if (status == STATUS_OK)
        status = hand_over(request, existing, replacement);
    if (status == STATUS_OK)
        *ret_replacement = replacement;
    return status;
}

/* KMIP 1.4 §4.4 */
enum status operation_rekey(struct request *request, struct ttlv_reader payload)
{
    struct kmip_rekey_request asked;
    struct object *existing;
    struct object *replacement;
    enum status status = kmip_decode(&kmip_rekey_request_shape, payload, &request->arena, &asked);
    if (status != STATUS_OK)
        return status;
    if (asked.offset.present && template_has_dates(asked.template_attribute))
        return STATUS_CONTRADICTION; /* §11.5 */
    status = request_edit_object(request, asked.unique_identifier, &existing);
    if (status != STATUS_OK)
        return status;
    if (existing->row.object_type != KMIP_OBJECT_TYPE_SYMMETRIC_KEY ||
        lifecycle_is_destroyed(existing))
        return STATUS_PERMISSION_DENIED;
    status = replace(request, &asked, existing, &replacement);
    if (status != STATUS_OK)
        return status;
    request_set_placeholder(request, replacement);
    ttlv_write_text(&request->reply, KMIP_TAG_UNIQUE_IDENTIFIER, object_identifier(replacement));
    return STATUS_OK;
}
