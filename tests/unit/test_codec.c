/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec over every shape there is: the tests are driven by the tables, so that a shape that is
 * added below `roots` (or below any shape there) is tested without another line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dice.h"
#include "kmip/payloads.h"
#include "kmip/value.h"

#define SHAPES_MAX    64
#define UNKNOWN_TAG   0x54FFFE
#define ARENA_MAX     (4u * 1024 * 1024)
#define ENCODED_MAX   (1u * 1024 * 1024)
#define PIECES_MAX    64
#define VERSION_ALL   KMIP_VERSION_LATEST
#define FILLS         40 /* random structures for each shape */
#define NAME_OF(name) #name, &name

static const struct {
    const char *name;
    const struct kmip_shape *shape;
} roots[] = {
    {NAME_OF(kmip_protocol_version_shape)},
    {NAME_OF(kmip_username_password_shape)},
    {NAME_OF(kmip_request_header_shape)},
    {NAME_OF(kmip_request_item_shape)},
    {NAME_OF(kmip_response_header_shape)},
    {NAME_OF(kmip_response_item_shape)},
    {NAME_OF(kmip_named_attribute_shape)},
    {NAME_OF(kmip_template_attribute_shape)},
    {NAME_OF(kmip_key_block_shape)},
    {NAME_OF(kmip_key_value_shape)},
    {NAME_OF(kmip_symmetric_key_shape)},
    {NAME_OF(kmip_secret_data_shape)},
    {NAME_OF(kmip_opaque_object_shape)},
    {NAME_OF(kmip_create_request_shape)},
    {NAME_OF(kmip_create_response_shape)},
    {NAME_OF(kmip_get_request_shape)},
    {NAME_OF(kmip_get_response_shape)},
    {NAME_OF(kmip_get_attributes_request_shape)},
    {NAME_OF(kmip_get_attributes_response_shape)},
    {NAME_OF(kmip_get_attribute_list_response_shape)},
    {NAME_OF(kmip_attribute_change_shape)},
    {NAME_OF(kmip_delete_attribute_request_shape)},
    {NAME_OF(kmip_locate_request_shape)},
    {NAME_OF(kmip_locate_response_shape)},
    {NAME_OF(kmip_identifier_shape)},
    {NAME_OF(kmip_revocation_reason_shape)},
    {NAME_OF(kmip_revoke_request_shape)},
    {NAME_OF(kmip_check_shape)},
    {NAME_OF(kmip_rekey_request_shape)},
    {NAME_OF(kmip_rekey_response_shape)},
    {NAME_OF(kmip_query_request_shape)},
    {NAME_OF(kmip_rng_parameters_shape)},
    {NAME_OF(kmip_query_response_shape)},
    {NAME_OF(kmip_discover_versions_shape)},
};

static const uint16_t versions[] = {KMIP_VERSION_1_0, KMIP_VERSION_1_1, KMIP_VERSION_1_2,
                                    KMIP_VERSION_1_3, KMIP_VERSION_1_4, KMIP_VERSION_2_0,
                                    KMIP_VERSION_2_1};

/* Every shape, nested ones included, each once. */
struct shapes {
    const struct kmip_shape *all[SHAPES_MAX];
    const char *names[SHAPES_MAX]; /* of the root it was found below */
    size_t count;
};

static void collect(struct shapes *shapes, const char *name, const struct kmip_shape *shape)
{
    for (size_t i = 0; i < shapes->count; i++)
        if (shapes->all[i] == shape)
            return;
    assert_true(shapes->count < SHAPES_MAX);
    shapes->names[shapes->count] = name;
    shapes->all[shapes->count++] = shape;
    for (size_t i = 0; i < shape->count; i++)
        if (shape->fields[i].shape != NULL)
            collect(shapes, name, shape->fields[i].shape);
}

struct bench {
    struct shapes shapes;
    struct arena arena;   /* what tests make */
    struct arena decoded; /* what the decoder makes */
    struct buffer first;
    struct buffer second;
    struct dice dice;
};

static int setup(void **state)
{
    static struct bench bench;
    bench = (struct bench){.dice = {UINT64_C(0x9E3779B97F4A7C15)}};
    for (size_t i = 0; i < ARRAY_COUNT(roots); i++)
        collect(&bench.shapes, roots[i].name, roots[i].shape);
    arena_init(&bench.arena, ARENA_MAX);
    arena_init(&bench.decoded, ARENA_MAX);
    buffer_init(&bench.first, ENCODED_MAX);
    buffer_init(&bench.second, ENCODED_MAX);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    arena_free(&bench->arena);
    arena_free(&bench->decoded);
    buffer_free(&bench->first);
    buffer_free(&bench->second);
    return 0;
}

static void start_over(struct bench *bench)
{
    arena_reset(&bench->arena);
    arena_reset(&bench->decoded);
    buffer_reset(&bench->first);
    buffer_reset(&bench->second);
}

static void *take(struct bench *bench, size_t count, size_t size)
{
    void *place = arena_allocate_array(&bench->arena, count, size);
    assert_non_null(place);
    return place;
}

/* ---- Random structures ---- */

static bool is_repeated(const struct kmip_field *field)
{
    return (field->flags & KMIP_REPEATED) != 0;
}

static bool is_required(const struct kmip_field *field)
{
    return (field->flags & KMIP_REQUIRED) != 0;
}

static struct bytes some_bytes(struct bench *bench)
{
    size_t size = dice_below(&bench->dice, 21);
    uint8_t *data = take(bench, 1, size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)('a' + dice_below(&bench->dice, 26));
    return bytes_of(data, size);
}

static int64_t some_number(struct bench *bench, enum kmip_field_kind kind)
{
    static const int64_t edges[] = {0, 1, -1, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    int64_t number = dice_once_in(&bench->dice, 3)
                         ? edges[dice_below(&bench->dice, ARRAY_COUNT(edges))]
                         : (int64_t)dice_roll(&bench->dice);
    switch (kind) {
    case KMIP_FIELD_INTEGER:
        return (int32_t)number;
    case KMIP_FIELD_ENUMERATION:
    case KMIP_FIELD_INTERVAL:
        return (uint32_t)number;
    case KMIP_FIELD_BOOLEAN:
        return number & 1;
    default:
        return number;
    }
}

/* Values of every type of TTLV; structures are of two levels. */
static struct kmip_any some_value(struct bench *bench, int depth)
{
    struct buffer inner;
    struct bytes copy;
    struct arena *arena = &bench->arena;
    struct dice *dice = &bench->dice;
    uint32_t type = depth == 0 ? 2 + dice_below(dice, 10) : 1 + dice_below(dice, 11);
    switch ((enum ttlv_type)type) {
    case TTLV_INTEGER:
        return value_integer(arena, (int32_t)dice_roll(dice));
    case TTLV_ENUMERATION:
        return value_enumeration(arena, (uint32_t)dice_roll(dice));
    case TTLV_BOOLEAN:
        return value_boolean(arena, dice_once_in(dice, 2));
    case TTLV_DATE_TIME:
        return value_date_time(arena, (int64_t)dice_roll(dice));
    case TTLV_INTERVAL:
        return value_interval(arena, (uint32_t)dice_roll(dice));
    case TTLV_LONG_INTEGER:
    case TTLV_BIG_INTEGER:
    case TTLV_DATE_TIME_EXTENDED:
        return (struct kmip_any){(uint8_t)type,
                                 value_date_time(arena, (int64_t)dice_roll(dice)).value};
    case TTLV_TEXT_STRING:
    case TTLV_BYTE_STRING:
        return (struct kmip_any){(uint8_t)type, some_bytes(bench)};
    case TTLV_STRUCTURE:
        break;
    }
    buffer_init(&inner, ENCODED_MAX);
    for (uint32_t i = dice_below(dice, 4); i > 0; i--) {
        struct kmip_any field = some_value(bench, depth - 1);
        ttlv_write_raw(&inner, UNKNOWN_TAG + i % 2, (enum ttlv_type)field.type, field.value);
    }
    assert_true(arena_copy(arena, buffer_bytes(&inner), &copy));
    buffer_free(&inner);
    return (struct kmip_any){TTLV_STRUCTURE, copy};
}

static void fill(struct bench *bench, const struct kmip_shape *shape, void *structure,
                 bool everything);

static void fill_element(struct bench *bench, const struct kmip_field *field, void *element,
                         bool everything)
{
    switch ((enum kmip_field_kind)field->kind) {
    case KMIP_FIELD_TEXT_STRING:
    case KMIP_FIELD_BYTE_STRING:
        *(struct bytes *)element = some_bytes(bench);
        break;
    case KMIP_FIELD_STRUCTURE:
        fill(bench, field->shape, element, everything);
        break;
    case KMIP_FIELD_ANY:
        *(struct kmip_any *)element = some_value(bench, 2);
        break;
    default:
        *(struct kmip_number *)element =
            kmip_number(some_number(bench, (enum kmip_field_kind)field->kind));
        break;
    }
}

static size_t element_size(const struct kmip_field *field)
{
    switch ((enum kmip_field_kind)field->kind) {
    case KMIP_FIELD_TEXT_STRING:
    case KMIP_FIELD_BYTE_STRING:
        return sizeof(struct bytes);
    case KMIP_FIELD_STRUCTURE:
        return field->shape->size;
    case KMIP_FIELD_ANY:
        return sizeof(struct kmip_any);
    default:
        return sizeof(struct kmip_number);
    }
}

static size_t member_size(const struct kmip_field *field)
{
    if (is_repeated(field))
        return sizeof(struct kmip_list);
    return field->kind == KMIP_FIELD_STRUCTURE ? sizeof(void *) : element_size(field);
}

static void fill_list(struct bench *bench, const struct kmip_field *field, struct kmip_list *list,
                      bool everything)
{
    size_t size = element_size(field);
    list->count = 1 + dice_below(&bench->dice, 4);
    list->items = take(bench, list->count, size);
    for (size_t i = 0; i < list->count; i++)
        fill_element(bench, field, (uint8_t *)list->items + i * size, everything);
}

/* Required fields are there; the others by chance, unless `everything` is wanted. */
static void fill(struct bench *bench, const struct kmip_shape *shape, void *structure,
                 bool everything)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct kmip_field *field = &shape->fields[i];
        void *member = (uint8_t *)structure + field->offset;
        if (!everything && !is_required(field) && dice_once_in(&bench->dice, 2))
            continue;
        if (is_repeated(field)) {
            fill_list(bench, field, member, everything);
        } else if (field->kind == KMIP_FIELD_STRUCTURE) {
            *(void **)member = take(bench, 1, field->shape->size);
            fill(bench, field->shape, *(void **)member, everything);
        } else {
            fill_element(bench, field, member, everything);
        }
    }
}

static void *make(struct bench *bench, const struct kmip_shape *shape, bool everything)
{
    void *structure = take(bench, 1, shape->size);
    fill(bench, shape, structure, everything);
    return structure;
}

/* ---- Comparing structures ---- */

/* Whether `b` is what `a` becomes when it goes through a version. */
static bool same(const struct kmip_shape *shape, const void *a, const void *b, uint16_t version);

static bool same_element(const struct kmip_field *field, const void *a, const void *b,
                         uint16_t version)
{
    const struct bytes *first = a;
    const struct bytes *second = b;
    const struct kmip_number *number = a;
    const struct kmip_number *other = b;
    switch ((enum kmip_field_kind)field->kind) {
    case KMIP_FIELD_TEXT_STRING:
    case KMIP_FIELD_BYTE_STRING:
        return (first->data == NULL) == (second->data == NULL) && bytes_equal(*first, *second);
    case KMIP_FIELD_STRUCTURE:
        return same(field->shape, a, b, version);
    case KMIP_FIELD_ANY:
        return value_equal(a, b);
    default:
        return number->present == other->present && number->value == other->value;
    }
}

static bool same_list(const struct kmip_field *field, const struct kmip_list *a,
                      const struct kmip_list *b, uint16_t version)
{
    size_t size = element_size(field);
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!same_element(field, (const uint8_t *)a->items + i * size,
                          (const uint8_t *)b->items + i * size, version))
            return false;
    return true;
}

static bool same_pointer(const struct kmip_field *field, const void *a, const void *b,
                         uint16_t version)
{
    if (a == NULL || b == NULL)
        return a == b;
    return same(field->shape, a, b, version);
}

static bool same(const struct kmip_shape *shape, const void *a, const void *b, uint16_t version)
{
    static const uint8_t absent[sizeof(struct kmip_list)];
    for (size_t i = 0; i < shape->count; i++) {
        const struct kmip_field *field = &shape->fields[i];
        const void *first = (const uint8_t *)a + field->offset;
        const void *second = (const uint8_t *)b + field->offset;
        if (field->since > version)
            first = absent;
        bool equal = false;
        if (is_repeated(field))
            equal = same_list(field, first, second, version);
        else if (field->kind == KMIP_FIELD_STRUCTURE)
            equal = same_pointer(field, *(void *const *)first, *(void *const *)second, version);
        else
            equal = same_element(field, first, second, version);
        if (!equal)
            return false;
    }
    return true;
}

static enum status decode(struct bench *bench, const struct kmip_shape *shape, struct bytes encoded,
                          void **ret_structure)
{
    *ret_structure = take(bench, 1, shape->size);
    memset(*ret_structure, 0xA5, shape->size); /* what stood there must not shine through */
    return kmip_decode(shape, ttlv_reader_over(encoded), &bench->decoded, *ret_structure);
}

/* ---- The tables ---- */

static const uint8_t types_of_kinds[] = {
    [KMIP_FIELD_INTEGER] = TTLV_INTEGER,         [KMIP_FIELD_LONG_INTEGER] = TTLV_LONG_INTEGER,
    [KMIP_FIELD_ENUMERATION] = TTLV_ENUMERATION, [KMIP_FIELD_BOOLEAN] = TTLV_BOOLEAN,
    [KMIP_FIELD_DATE_TIME] = TTLV_DATE_TIME,     [KMIP_FIELD_INTERVAL] = TTLV_INTERVAL,
    [KMIP_FIELD_TEXT_STRING] = TTLV_TEXT_STRING, [KMIP_FIELD_BYTE_STRING] = TTLV_BYTE_STRING,
    [KMIP_FIELD_STRUCTURE] = TTLV_STRUCTURE,     [KMIP_FIELD_ANY] = KMIP_ITEM_TYPE_ANY,
};

static void assert_field_is_of_the_standard(const char *name, const struct kmip_field *field)
{
    const struct kmip_tag_info *tag = kmip_tag_by_number(field->tag);
    assert_non_null(tag);
    uint8_t type = kmip_tag_type(field->tag, KMIP_VERSION_1_4);
    if (field->kind != KMIP_FIELD_ANY && type != KMIP_ITEM_TYPE_ANY &&
        type != types_of_kinds[field->kind])
        fail_msg("%s: %s has another type in the standard", name, tag->text);
    if (field->since != 0 && field->since < tag->since)
        fail_msg("%s: %s is older than its tag", name, tag->text);
    assert_true((field->shape != NULL) == (field->kind == KMIP_FIELD_STRUCTURE));
}

static void the_tables_fit_their_structs_and_the_standard(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++) {
        const struct kmip_shape *shape = bench->shapes.all[i];
        uint8_t *members = take(bench, 1, shape->size);
        for (size_t j = 0; j < shape->count; j++) {
            const struct kmip_field *field = &shape->fields[j];
            size_t size = member_size(field);
            assert_field_is_of_the_standard(bench->shapes.names[i], field);
            assert_true(field->offset + size <= shape->size);
            for (size_t at = field->offset; at < field->offset + size; at++)
                assert_int_equal(members[at]++, 0); /* no two fields in one member */
            for (size_t other = 0; other < j; other++)
                assert_int_not_equal(shape->fields[other].tag, field->tag);
        }
    }
}

/* ---- There and back ---- */

static void encoding_and_decoding_give_back_the_same(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++)
        for (int round = 0; round < FILLS; round++) {
            const struct kmip_shape *shape = bench->shapes.all[i];
            void *back;
            start_over(bench);
            void *made = make(bench, shape, round == 0);
            kmip_encode(shape, made, VERSION_ALL, &bench->first);
            assert_int_equal(buffer_status(&bench->first), STATUS_OK);
            assert_int_equal(ttlv_check(buffer_bytes(&bench->first)), STATUS_OK);
            assert_int_equal(decode(bench, shape, buffer_bytes(&bench->first), &back), STATUS_OK);
            assert_true(same(shape, made, back, VERSION_ALL));
            kmip_encode(shape, back, VERSION_ALL, &bench->second);
            assert_true(bytes_equal(buffer_bytes(&bench->first), buffer_bytes(&bench->second)));
        }
}

/* What is newer than the version is not written, and everything else is; it is read in any. */
static void encoding_leaves_out_what_the_version_does_not_have(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++)
        for (size_t v = 0; v < ARRAY_COUNT(versions); v++) {
            const struct kmip_shape *shape = bench->shapes.all[i];
            void *back;
            start_over(bench);
            void *made = make(bench, shape, true);
            kmip_encode(shape, made, versions[v], &bench->first);
            assert_int_equal(buffer_status(&bench->first), STATUS_OK);
            enum status status = decode(bench, shape, buffer_bytes(&bench->first), &back);
            assert_int_equal(status, STATUS_OK); /* no shape requires what came later */
            assert_true(same(shape, made, back, versions[v]));
        }
}

static void a_structure_of_nothing_is_encoded_as_nothing(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++) {
        const struct kmip_shape *shape = bench->shapes.all[i];
        start_over(bench);
        void *nothing = take(bench, 1, shape->size);
        kmip_encode(shape, nothing, VERSION_ALL, &bench->first);
        assert_int_equal(bench->first.size, 0);
    }
}

/* A list may be long, and its length is counted, not believed. */
static void lists_hold_what_was_sent(void **state)
{
    struct bench *bench = *state;
    static const size_t counts[] = {0, 1, 2, 63, 64, 1000};
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
        struct kmip_query_request back;
        start_over(bench);
        for (size_t n = 0; n < counts[i]; n++)
            ttlv_write_enumeration(&bench->first, KMIP_TAG_QUERY_FUNCTION, (uint32_t)n);
        enum status status =
            kmip_decode(&kmip_query_request_shape, ttlv_reader_over(buffer_bytes(&bench->first)),
                        &bench->decoded, &back);
        assert_int_equal(status, counts[i] == 0 ? STATUS_MISSING_DATA : STATUS_OK);
        assert_int_equal(back.functions.count, counts[i]);
        const struct kmip_number *items = back.functions.items;
        for (size_t n = 0; n < counts[i]; n++)
            assert_true(items[n].present && items[n].value == (int64_t)n);
    }
}

/* ---- What breaks a structure ---- */

/* The items of an encoded structure, one after the other. */
struct pieces {
    struct bytes at[PIECES_MAX];
    uint32_t tags[PIECES_MAX];
    size_t count;
};

static struct pieces cut(struct bytes encoded)
{
    struct pieces pieces = {0};
    struct ttlv_reader reader = ttlv_reader_over(encoded);
    while (!ttlv_at_end(&reader)) {
        struct ttlv_item item;
        const uint8_t *start = reader.at;
        assert_int_equal(ttlv_next(&reader, &item), STATUS_OK);
        assert_true(pieces.count < PIECES_MAX);
        pieces.tags[pieces.count] = item.tag;
        pieces.at[pieces.count++] = bytes_of(start, (size_t)(reader.at - start));
    }
    return pieces;
}

/* All fields of the shape, each list of one element, so that every piece has another tag. */
static struct pieces make_pieces(struct bench *bench, const struct kmip_shape *shape)
{
    start_over(bench);
    uint8_t *structure = make(bench, shape, true);
    for (size_t i = 0; i < shape->count; i++)
        if (is_repeated(&shape->fields[i]))
            ((struct kmip_list *)(void *)(structure + shape->fields[i].offset))->count = 1;
    kmip_encode(shape, structure, VERSION_ALL, &bench->first);
    struct pieces pieces = cut(buffer_bytes(&bench->first));
    assert_int_equal(pieces.count, shape->count);
    return pieces;
}

/* Puts the pieces together again, in memory of exactly their size, and reads that. */
static enum status read_pieces(struct bench *bench, const struct kmip_shape *shape,
                               const struct pieces *pieces)
{
    void *back;
    size_t size = 0;
    for (size_t i = 0; i < pieces->count; i++)
        size += pieces->at[i].size;
    uint8_t *memory = malloc(size > 0 ? size : 1);
    assert_non_null(memory);
    size_t at = 0;
    for (size_t i = 0; i < pieces->count; i++) {
        memcpy(memory + at, pieces->at[i].data, pieces->at[i].size);
        at += pieces->at[i].size;
    }
    enum status status = decode(bench, shape, bytes_of(memory, size), &back);
    free(memory);
    return status;
}

static struct pieces without(const struct pieces *pieces, size_t gone)
{
    struct pieces left = *pieces;
    left.count--;
    memmove(left.at + gone, left.at + gone + 1, (left.count - gone) * sizeof(left.at[0]));
    return left;
}

static struct pieces with(const struct pieces *pieces, size_t place, struct bytes piece)
{
    struct pieces more = *pieces;
    assert_true(more.count < PIECES_MAX);
    memmove(more.at + place + 1, more.at + place, (more.count - place) * sizeof(more.at[0]));
    more.at[place] = piece;
    more.count++;
    return more;
}

/* An item of another type under the same tag. */
static struct bytes retyped(struct bench *bench, uint32_t tag, uint8_t type)
{
    static const struct bytes eight = {(const uint8_t *)"\0\0\0\0\0\0\0\0", 8};
    struct bytes copy;
    struct buffer item;
    buffer_init(&item, 64);
    if (type == TTLV_STRUCTURE)
        ttlv_end(&item, ttlv_begin(&item, tag));
    else if (type == TTLV_INTEGER || type == TTLV_ENUMERATION || type == TTLV_INTERVAL)
        ttlv_write_raw(&item, tag, (enum ttlv_type)type, bytes_of(eight.data, 4));
    else
        ttlv_write_raw(&item, tag, (enum ttlv_type)type, eight);
    assert_true(arena_copy(&bench->arena, buffer_bytes(&item), &copy));
    buffer_free(&item);
    return copy;
}

static void fields_out_of_order_are_malformed(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++) {
        struct pieces pieces = make_pieces(bench, bench->shapes.all[i]);
        for (size_t a = 0; a < pieces.count; a++)
            for (size_t b = a + 1; b < pieces.count; b++) {
                struct pieces turned = pieces;
                turned.at[a] = pieces.at[b];
                turned.at[b] = pieces.at[a];
                assert_int_equal(read_pieces(bench, bench->shapes.all[i], &turned),
                                 STATUS_MALFORMED);
            }
    }
}

static void fields_sent_twice_are_malformed(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++) {
        const struct kmip_shape *shape = bench->shapes.all[i];
        struct pieces pieces = make_pieces(bench, shape);
        for (size_t a = 0; a < pieces.count; a++) {
            struct pieces doubled = with(&pieces, a, pieces.at[a]);
            assert_int_equal(read_pieces(bench, shape, &doubled),
                             is_repeated(&shape->fields[a]) ? STATUS_OK : STATUS_MALFORMED);
            if (a + 1 == pieces.count)
                continue;
            doubled = with(&pieces, pieces.count, pieces.at[a]); /* and not one after the other */
            assert_int_equal(read_pieces(bench, shape, &doubled), STATUS_MALFORMED);
        }
    }
}

static void unknown_fields_are_malformed(void **state)
{
    struct bench *bench = *state;
    static const uint32_t tags[] = {UNKNOWN_TAG, KMIP_TAG_PUT_FUNCTION, KMIP_TAG_VALIDITY_DATE};
    for (size_t i = 0; i < bench->shapes.count; i++) {
        struct pieces pieces = make_pieces(bench, bench->shapes.all[i]);
        for (size_t t = 0; t < ARRAY_COUNT(tags); t++)
            for (size_t a = 0; a <= pieces.count; a++) {
                struct pieces more = with(&pieces, a, retyped(bench, tags[t], TTLV_INTEGER));
                assert_int_equal(read_pieces(bench, bench->shapes.all[i], &more), STATUS_MALFORMED);
            }
    }
}

static void fields_of_another_type_are_malformed(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++) {
        const struct kmip_shape *shape = bench->shapes.all[i];
        struct pieces pieces = make_pieces(bench, shape);
        for (size_t a = 0; a < pieces.count; a++)
            for (uint8_t type = TTLV_STRUCTURE; type <= TTLV_DATE_TIME_EXTENDED; type++) {
                struct pieces changed = pieces;
                changed.at[a] = retyped(bench, pieces.tags[a], type);
                enum status status = read_pieces(bench, shape, &changed);
                if (shape->fields[a].kind == KMIP_FIELD_ANY)
                    assert_int_equal(status, STATUS_OK);
                else if (types_of_kinds[shape->fields[a].kind] != type)
                    assert_int_equal(status, STATUS_MALFORMED);
            }
    }
}

static void required_fields_must_be_there(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++) {
        const struct kmip_shape *shape = bench->shapes.all[i];
        struct pieces pieces = make_pieces(bench, shape);
        for (size_t a = 0; a < pieces.count; a++) {
            struct pieces left = without(&pieces, a);
            assert_int_equal(read_pieces(bench, shape, &left),
                             is_required(&shape->fields[a]) ? STATUS_MISSING_DATA : STATUS_OK);
        }
    }
}

/* Something missing is named only where nothing worse is wrong: a client whose bytes cannot be
 * trusted is told so, wherever in the structure the two faults stand. */
static void malformed_is_worse_than_missing(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++) {
        const struct kmip_shape *shape = bench->shapes.all[i];
        struct pieces pieces = make_pieces(bench, shape);
        for (size_t a = 0; a < pieces.count; a++) {
            struct pieces left = without(&pieces, a);
            left = with(&left, left.count, retyped(bench, UNKNOWN_TAG, TTLV_INTEGER));
            assert_int_equal(read_pieces(bench, shape, &left), STATUS_MALFORMED);
        }
        for (size_t a = 0; a < pieces.count; a++) {
            const struct kmip_field *field = &shape->fields[a];
            if (field->kind != KMIP_FIELD_STRUCTURE)
                continue;
            struct pieces hollow = pieces; /* a nested structure without its own required fields */
            hollow.at[a] = retyped(bench, pieces.tags[a], TTLV_STRUCTURE);
            enum status status = read_pieces(bench, shape, &hollow);
            if (status == STATUS_OK)
                continue;
            assert_int_equal(status, STATUS_MISSING_DATA);
            hollow = with(&hollow, hollow.count, retyped(bench, UNKNOWN_TAG, TTLV_INTEGER));
            assert_int_equal(read_pieces(bench, shape, &hollow), STATUS_MALFORMED);
        }
    }
}

/* What is left of a structure that is cut off at a byte: whole items, or half of one. */
static enum status expected_of_cut(const struct kmip_shape *shape, const struct pieces *pieces,
                                   size_t size)
{
    size_t whole = 0;
    for (; whole < pieces->count && size >= pieces->at[whole].size; whole++)
        size -= pieces->at[whole].size;
    if (size > 0)
        return STATUS_MALFORMED;
    for (size_t i = 0; i < shape->count; i++) {
        bool there = false;
        for (size_t j = 0; j < whole; j++)
            there |= pieces->tags[j] == shape->fields[i].tag;
        if (is_required(&shape->fields[i]) && !there)
            return STATUS_MISSING_DATA;
    }
    return STATUS_OK;
}

static void structures_cut_off_at_any_byte_are_refused(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++) {
        const struct kmip_shape *shape = bench->shapes.all[i];
        struct pieces pieces = make_pieces(bench, shape);
        for (size_t size = 0; size <= bench->first.size; size++) {
            void *back;
            uint8_t *memory = malloc(size > 0 ? size : 1);
            assert_non_null(memory);
            if (size > 0)
                memcpy(memory, bench->first.data, size);
            arena_reset(&bench->decoded);
            enum status status = decode(bench, shape, bytes_of(memory, size), &back);
            assert_int_equal(status, expected_of_cut(shape, &pieces, size));
            free(memory);
        }
    }
}

/* Any bytes at all: the decoder must stay inside, and give one of its answers. */
static void damaged_structures_are_read_or_refused(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++)
        for (int round = 0; round < 4 * FILLS; round++) {
            const struct kmip_shape *shape = bench->shapes.all[i];
            void *back;
            start_over(bench);
            kmip_encode(shape, make(bench, shape, false), VERSION_ALL, &bench->first);
            for (uint32_t hits = dice_below(&bench->dice, 4); hits > 0; hits--)
                if (bench->first.size > 0)
                    bench->first.data[dice_below(&bench->dice, (uint32_t)bench->first.size)] ^=
                        (uint8_t)(1u << dice_below(&bench->dice, 8));
            enum status status = decode(bench, shape, buffer_bytes(&bench->first), &back);
            assert_true(status == STATUS_OK || status == STATUS_MALFORMED ||
                        status == STATUS_MISSING_DATA);
            if (status == STATUS_OK)
                kmip_encode(shape, back, VERSION_ALL, &bench->second);
        }
}

/* ---- Memory ---- */

/* The arena has a maximum: below what is needed TOO_LARGE, from there on OK. */
static void a_full_arena_is_told(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++) {
        const struct kmip_shape *shape = bench->shapes.all[i];
        bool enough = false;
        make_pieces(bench, shape);
        void *back = take(bench, 1, shape->size);
        for (size_t maximum = 0; maximum <= 4096; maximum += 16) {
            struct arena tiny;
            arena_init(&tiny, maximum);
            enum status status =
                kmip_decode(shape, ttlv_reader_over(buffer_bytes(&bench->first)), &tiny, back);
            assert_int_equal(status, enough || status == STATUS_OK ? STATUS_OK : STATUS_TOO_LARGE);
            enough |= status == STATUS_OK;
            arena_free(&tiny);
        }
        assert_true(enough);
    }
}

static void a_full_buffer_is_told(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->shapes.count; i++) {
        const struct kmip_shape *shape = bench->shapes.all[i];
        start_over(bench);
        void *made = make(bench, shape, true);
        kmip_encode(shape, made, VERSION_ALL, &bench->first);
        for (size_t size = 0; size <= bench->first.size; size += 4) {
            struct buffer small;
            uint8_t *memory = malloc(size > 0 ? size : 1);
            assert_non_null(memory);
            buffer_over(&small, memory, size);
            kmip_encode(shape, made, VERSION_ALL, &small);
            assert_int_equal(buffer_status(&small),
                             size < bench->first.size ? STATUS_TOO_LARGE : STATUS_OK);
            free(memory);
        }
    }
}

/* ---- Register, whose object is a choice ---- */

static const uint32_t object_tags[] = {
    KMIP_TAG_CERTIFICATE, KMIP_TAG_SYMMETRIC_KEY, KMIP_TAG_PRIVATE_KEY,
    KMIP_TAG_PUBLIC_KEY,  KMIP_TAG_SPLIT_KEY,     KMIP_TAG_TEMPLATE,
    KMIP_TAG_SECRET_DATA, KMIP_TAG_OPAQUE_OBJECT, KMIP_TAG_PGP_KEY,
};

static struct kmip_register_request make_register(struct bench *bench, uint32_t tag)
{
    struct kmip_register_request request = {.object_type = kmip_number(7), .object_tag = tag};
    request.template_attribute = make(bench, &kmip_template_attribute_shape, true);
    while (request.object.type != TTLV_STRUCTURE)
        request.object = some_value(bench, 2);
    return request;
}

static enum status decode_register(struct bench *bench, struct bytes encoded,
                                   struct kmip_register_request *ret_request)
{
    return kmip_decode_register_request(ttlv_reader_over(encoded), &bench->decoded, ret_request);
}

static void register_brings_any_kind_of_object(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < ARRAY_COUNT(object_tags); i++) {
        struct kmip_register_request back;
        start_over(bench);
        struct kmip_register_request request = make_register(bench, object_tags[i]);
        kmip_encode_register_request(&request, KMIP_VERSION_1_4, &bench->first);
        assert_int_equal(decode_register(bench, buffer_bytes(&bench->first), &back), STATUS_OK);
        assert_int_equal(back.object_type.value, 7);
        assert_int_equal(back.object_tag, object_tags[i]);
        assert_true(value_equal(&back.object, &request.object));
        kmip_encode_register_request(&back, KMIP_VERSION_1_4, &bench->second);
        assert_true(bytes_equal(buffer_bytes(&bench->first), buffer_bytes(&bench->second)));
    }
}

static void a_register_without_an_object_misses_it(void **state)
{
    struct bench *bench = *state;
    struct kmip_register_request back;
    struct kmip_register_request request = make_register(bench, 0);
    kmip_encode_register_request(&request, KMIP_VERSION_1_4, &bench->first);
    assert_int_equal(decode_register(bench, buffer_bytes(&bench->first), &back),
                     STATUS_MISSING_DATA);
    assert_int_equal(decode_register(bench, (struct bytes){0}, &back), STATUS_MISSING_DATA);
}

static void an_object_of_register_is_one_structure_at_the_end(void **state)
{
    struct bench *bench = *state;
    struct kmip_register_request back;
    struct kmip_register_request request = make_register(bench, KMIP_TAG_SYMMETRIC_KEY);
    kmip_encode_register_request(&request, KMIP_VERSION_1_4, &bench->first);
    struct pieces pieces = cut(buffer_bytes(&bench->first));
    assert_int_equal(pieces.count, 3);
    for (size_t i = 0; i < ARRAY_COUNT(object_tags); i++) { /* two objects */
        buffer_reset(&bench->second);
        buffer_append_bytes(&bench->second, buffer_bytes(&bench->first));
        ttlv_end(&bench->second, ttlv_begin(&bench->second, object_tags[i]));
        assert_int_equal(decode_register(bench, buffer_bytes(&bench->second), &back),
                         STATUS_MALFORMED);
    }
    buffer_reset(&bench->second); /* an object that is no structure */
    buffer_append_bytes(&bench->second, pieces.at[0]);
    buffer_append_bytes(&bench->second, pieces.at[1]);
    ttlv_write_integer(&bench->second, KMIP_TAG_SYMMETRIC_KEY, 1);
    assert_int_equal(decode_register(bench, buffer_bytes(&bench->second), &back), STATUS_MALFORMED);
    buffer_reset(&bench->second); /* before the template */
    buffer_append_bytes(&bench->second, pieces.at[0]);
    buffer_append_bytes(&bench->second, pieces.at[2]);
    buffer_append_bytes(&bench->second, pieces.at[1]);
    assert_int_equal(decode_register(bench, buffer_bytes(&bench->second), &back), STATUS_MALFORMED);
}

static void a_register_cut_off_at_any_byte_is_refused(void **state)
{
    struct bench *bench = *state;
    struct kmip_register_request request = make_register(bench, KMIP_TAG_SECRET_DATA);
    kmip_encode_register_request(&request, KMIP_VERSION_1_4, &bench->first);
    for (size_t size = 0; size < bench->first.size; size++) {
        struct kmip_register_request back;
        uint8_t *memory = malloc(size > 0 ? size : 1);
        assert_non_null(memory);
        if (size > 0)
            memcpy(memory, bench->first.data, size);
        assert_int_not_equal(decode_register(bench, bytes_of(memory, size), &back), STATUS_OK);
        free(memory);
    }
}

/* ---- Values ---- */

static void numbers_come_back_from_values(void **state)
{
    struct bench *bench = *state;
    struct arena *arena = &bench->arena;
    static const int64_t numbers[] = {0, 1, 255, INT32_MAX, INT32_MIN, -1};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        int64_t number = numbers[i];
        struct kmip_any integer = value_integer(arena, (int32_t)number);
        struct kmip_any enumeration = value_enumeration(arena, (uint32_t)number);
        struct kmip_any interval = value_interval(arena, (uint32_t)number);
        struct kmip_any boolean = value_boolean(arena, number != 0);
        struct kmip_any date = value_date_time(arena, number * 4096);
        assert_int_equal(value_number(&integer), number);
        assert_int_equal(value_number(&enumeration), (uint32_t)number);
        assert_int_equal(value_number(&interval), (uint32_t)number);
        assert_int_equal(value_number(&boolean), number != 0);
        assert_int_equal(value_number(&date), number * 4096);
        date.type = TTLV_LONG_INTEGER;
        assert_int_equal(value_number(&date), number * 4096);
    }
    struct kmip_any text = value_text(BYTES_LITERAL("12345678"));
    assert_int_equal(value_number(&text), 0);
    text.type = TTLV_STRUCTURE;
    assert_int_equal(value_number(&text), 0);
}

static void values_are_equal_by_type_and_bytes(void **state)
{
    struct bench *bench = *state;
    struct kmip_any one = value_integer(&bench->arena, 1);
    struct kmip_any other = value_integer(&bench->arena, 1);
    assert_true(value_equal(&one, &other));
    other = value_integer(&bench->arena, 2);
    assert_false(value_equal(&one, &other));
    other = value_enumeration(&bench->arena, 1);
    assert_false(value_equal(&one, &other));
}

/* A value that could not be made has type 0: whoever stores it notices. */
static void values_need_memory(void **state)
{
    struct bench *bench = *state;
    struct arena none;
    arena_init(&none, 0);
    struct kmip_named_attribute attribute = {.name = BYTES_LITERAL("x-a")};
    attribute.value = value_text(BYTES_LITERAL("b"));
    assert_int_equal(value_integer(&none, 1).type, 0);
    assert_int_equal(value_enumeration(&none, 1).type, 0);
    assert_int_equal(value_boolean(&none, true).type, 0);
    assert_int_equal(value_date_time(&none, 1).type, 0);
    assert_int_equal(value_interval(&none, 1).type, 0);
    assert_int_equal(value_structure(&none, &kmip_named_attribute_shape, &attribute).type, 0);
    struct kmip_any made = value_structure(&bench->arena, &kmip_named_attribute_shape, &attribute);
    assert_int_equal(made.type, TTLV_STRUCTURE);
    uint8_t *large = take(bench, 1, 5000); /* beyond what the server makes itself */
    attribute.name = bytes_of(large, 5000);
    made = value_structure(&bench->arena, &kmip_named_attribute_shape, &attribute);
    assert_int_equal(made.type, 0);
    arena_free(&none);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_tables_fit_their_structs_and_the_standard),
        CASE(encoding_and_decoding_give_back_the_same),
        CASE(encoding_leaves_out_what_the_version_does_not_have),
        CASE(a_structure_of_nothing_is_encoded_as_nothing),
        CASE(lists_hold_what_was_sent),
        CASE(fields_out_of_order_are_malformed),
        CASE(fields_sent_twice_are_malformed),
        CASE(unknown_fields_are_malformed),
        CASE(fields_of_another_type_are_malformed),
        CASE(required_fields_must_be_there),
        CASE(malformed_is_worse_than_missing),
        CASE(structures_cut_off_at_any_byte_are_refused),
        CASE(damaged_structures_are_read_or_refused),
        CASE(a_full_arena_is_told),
        CASE(a_full_buffer_is_told),
        CASE(register_brings_any_kind_of_object),
        CASE(a_register_without_an_object_misses_it),
        CASE(an_object_of_register_is_one_structure_at_the_end),
        CASE(a_register_cut_off_at_any_byte_is_refused),
        CASE(numbers_come_back_from_values),
        CASE(values_are_equal_by_type_and_bytes),
        CASE(values_need_memory),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
