/* SPDX-License-Identifier: Apache-2.0 */
#include "core/match.h"

/* "If a Date attribute is set to its largest possible value, then it is equivalent to an undefined
 * attribute": it matches objects that do not have it. */
#define DATE_UNDEFINED INT64_MAX

static bool has_field(struct ttlv_reader candidate, const struct ttlv_item *wanted)
{
    struct ttlv_item item;
    while (!ttlv_at_end(&candidate) && ttlv_next(&candidate, &item) == STATUS_OK)
        if (item.tag == wanted->tag && item.type == wanted->type &&
            bytes_equal(item.value, wanted->value))
            return true;
    return false;
}

bool match_structure(const struct kmip_any *candidate, const struct kmip_any *wanted)
{
    struct ttlv_reader fields = ttlv_reader_over(wanted->value);
    struct ttlv_item field;
    while (!ttlv_at_end(&fields))
        if (ttlv_next(&fields, &field) != STATUS_OK ||
            !has_field(ttlv_reader_over(candidate->value), &field))
            return false;
    return true;
}

/* Usage Limits: at least as much as is asked for. */
static bool limits_match(const struct kmip_any *candidate, const struct kmip_any *wanted)
{
    struct ttlv_reader fields = ttlv_reader_over(wanted->value);
    struct ttlv_item field;
    while (!ttlv_at_end(&fields)) {
        if (ttlv_next(&fields, &field) != STATUS_OK)
            return false;
        struct ttlv_reader others = ttlv_reader_over(candidate->value);
        struct ttlv_item other;
        bool enough = false;
        while (!ttlv_at_end(&others) && ttlv_next(&others, &other) == STATUS_OK)
            enough |= other.tag == field.tag && other.type == field.type &&
                      (field.type == TTLV_LONG_INTEGER
                           ? ttlv_long_integer(&other) >= ttlv_long_integer(&field)
                           : bytes_equal(other.value, field.value));
        if (!enough)
            return false;
    }
    return true;
}

static bool value_matches(const struct kmip_attribute_info *info, const struct kmip_any *candidate,
                          const struct kmip_any *wanted)
{
    if (candidate->type != wanted->type)
        return false;
    if (info != NULL && info->id == KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK)
        return (value_number(candidate) & value_number(wanted)) == value_number(wanted);
    if (info != NULL && info->id == KMIP_ATTRIBUTE_USAGE_LIMITS)
        return limits_match(candidate, wanted);
    if (wanted->type == TTLV_STRUCTURE)
        return match_structure(candidate, wanted);
    return value_equal(candidate, wanted);
}

static bool some_instance_matches(const struct kmip_list *view,
                                  const struct kmip_named_attribute *wanted)
{
    const struct kmip_attribute_info *info =
        kmip_attribute_by_name((const char *)wanted->name.data, wanted->name.size);
    const struct kmip_named_attribute *items = view->items;
    for (size_t i = 0; i < view->count; i++)
        if (bytes_equal(items[i].name, wanted->name) &&
            value_matches(info, &items[i].value, &wanted->value))
            return true;
    return false;
}

/* The dates asked for under one name: one is exact, two are the ends of a range. */
struct range {
    int64_t first;
    int64_t last;
};

static struct range range_of(const struct kmip_list *wanted, struct bytes name)
{
    const struct kmip_named_attribute *items = wanted->items;
    struct range range = {INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < wanted->count; i++) {
        if (!bytes_equal(items[i].name, name) || items[i].value.type != TTLV_DATE_TIME)
            continue;
        int64_t date = value_number(&items[i].value);
        range.first = date < range.first ? date : range.first;
        range.last = date > range.last ? date : range.last;
    }
    return range;
}

static bool date_matches(const struct kmip_list *view, const struct kmip_list *wanted,
                         const struct kmip_named_attribute *asked)
{
    struct range range = range_of(wanted, asked->name);
    const struct kmip_named_attribute *items = view->items;
    bool there = false;
    for (size_t i = 0; i < view->count; i++) {
        if (!bytes_equal(items[i].name, asked->name) || items[i].value.type != TTLV_DATE_TIME)
            continue;
        int64_t date = value_number(&items[i].value);
        if (date >= range.first && date <= range.last)
            return true;
        there = true;
    }
    return !there && range.first == DATE_UNDEFINED;
}

bool match_view(const struct kmip_list *view, const struct kmip_list *wanted)
{
    const struct kmip_named_attribute *items = wanted->items;
    for (size_t i = 0; i < wanted->count; i++) {
        bool matches = items[i].value.type == TTLV_DATE_TIME
                           ? date_matches(view, wanted, &items[i])
                           : some_instance_matches(view, &items[i]);
        if (!matches)
            return false;
    }
    return true;
}
