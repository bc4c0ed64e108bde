/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of attributes (KMIP 1.4 §3, §4.12-4.16): every row of def/attributes.def, for every kind
 * of object, version and state; instances, names, custom attributes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/attributes.h"
#include "core_talk.h"

#define LATER (TALK_NOW + 1000)

/* ---- Every row of the table ---- */

/* A value that the attribute may have. */
static struct kmip_any structure_for(uint32_t tag)
{
    static const struct bytes nobody = {(const uint8_t *)"nobody", 6};
    struct structure_digest digest = {.hashing_algorithm = kmip_number(6), .value = nobody};
    struct structure_alternative_name alternative = {.value = nobody, .type = kmip_number(1)};
    struct kmip_rng_parameters generator = {.algorithm = kmip_number(KMIP_RNG_ALGORITHM_DRBG)};
    switch (tag) {
    case KMIP_TAG_NAME:
        return name_value("rules");
    case KMIP_TAG_LINK:
        return link_value(KMIP_LINK_TYPE_PARENT_LINK, nobody);
    case KMIP_TAG_APPLICATION_SPECIFIC_INFORMATION:
        return application_value("space", "data");
    case KMIP_TAG_USAGE_LIMITS:
        return usage_limits(1000, -1);
    case KMIP_TAG_DIGEST:
        return value_structure(talk_values(), &structure_digest_shape, &digest);
    case KMIP_TAG_ALTERNATIVE_NAME:
        return value_structure(talk_values(), &structure_alternative_name_shape, &alternative);
    case KMIP_TAG_RANDOM_NUMBER_GENERATOR:
        return value_structure(talk_values(), &kmip_rng_parameters_shape, &generator);
    default:
        return (struct kmip_any){TTLV_STRUCTURE, BYTES_LITERAL("")};
    }
}

static struct kmip_any value_for(const struct kmip_attribute_info *info)
{
    const struct kmip_enumeration *enumerated = kmip_enumeration_by_tag(info->tag->number);
    switch (kmip_tag_type(info->tag->number, KMIP_VERSION_1_4)) {
    case TTLV_INTEGER:
        return integer(info->id == KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH ? 256 : 12);
    case TTLV_ENUMERATION:
        if (info->id == KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM)
            return enumeration(KMIP_CRYPTOGRAPHIC_ALGORITHM_AES);
        return enumeration(enumerated->values[0].number);
    case TTLV_BOOLEAN:
        return boolean(true);
    case TTLV_DATE_TIME:
        return date(LATER);
    case TTLV_INTERVAL:
        return interval(60);
    case TTLV_TEXT_STRING:
        return text("some text");
    case TTLV_BYTE_STRING:
        return byte_string("bytes");
    case TTLV_STRUCTURE:
        return structure_for(info->tag->number);
    default:
        break;
    }
    fail_msg("%s: no value is known for it", info->name);
    return (struct kmip_any){0};
}

/* What the object is, for the rules. */
struct subject {
    struct bytes id;
    enum kmip_object_type type;
    enum kmip_state state; /* 0: has none */
};

static bool applies(struct talk *talk, const struct kmip_attribute_info *info,
                    const struct subject *subject)
{
    return kmip_in_version(info->since, info->until, talk->version) &&
           kmip_attribute_applies(info, subject->type, talk->version);
}

/* The rule columns, as def/attributes.def explains them; no date has been reached here. */
static bool permits(uint8_t rule, const struct subject *subject)
{
    bool pre_active = subject->state == KMIP_STATE_PRE_ACTIVE;
    bool active = subject->state == KMIP_STATE_ACTIVE;
    switch ((enum kmip_rule)rule) {
    case KMIP_RULE_YES:
    case KMIP_RULE_UNUSED:
    case KMIP_RULE_OWN:
    case KMIP_RULE_IF_ABSENT:
        return true;
    case KMIP_RULE_PRE_ACTIVE:
        return pre_active;
    case KMIP_RULE_PRE_ACTIVE_OR_ACTIVE:
    case KMIP_RULE_UNTIL_REACHED:
        return pre_active || active;
    default:
        return false;
    }
}

static bool shows(struct talk *talk, const struct subject *subject, const char *name)
{
    return attribute_of(talk, subject->id, name, 0) != NULL;
}

/* Result Reason of Add Attribute (§11.15); 0: it succeeds. */
static uint32_t adding(struct talk *talk, const struct kmip_attribute_info *info,
                       const struct subject *subject)
{
    bool there = shows(talk, subject, info->name);
    if (!applies(talk, info, subject) || (info->set_by & KMIP_SIDE_CLIENT) == 0)
        return KMIP_RESULT_REASON_PERMISSION_DENIED;
    if (info->client_may == KMIP_RULE_NO ? there : !permits(info->client_may, subject))
        return KMIP_RESULT_REASON_PERMISSION_DENIED;
    return there && info->multiple != KMIP_RULE_YES ? KMIP_RESULT_REASON_ILLEGAL_OPERATION : 0;
}

/* Of Modify Attribute (§11.16). */
static uint32_t modifying(struct talk *talk, const struct kmip_attribute_info *info,
                          const struct subject *subject)
{
    if (!applies(talk, info, subject))
        return KMIP_RESULT_REASON_INVALID_FIELD;
    if (!permits(info->client_may, subject))
        return KMIP_RESULT_REASON_PERMISSION_DENIED;
    return shows(talk, subject, info->name) ? 0 : KMIP_RESULT_REASON_INVALID_FIELD;
}

/* Of Delete Attribute (§11.17). */
static uint32_t deleting(struct talk *talk, const struct kmip_attribute_info *info,
                         const struct subject *subject)
{
    if (!permits(info->client_deletes, subject))
        return KMIP_RESULT_REASON_PERMISSION_DENIED;
    return shows(talk, subject, info->name) ? 0 : KMIP_RESULT_REASON_ITEM_NOT_FOUND;
}

static void assert_outcome(const struct kmip_response_item *item, uint32_t reason, const char *act,
                           const struct kmip_attribute_info *info, const struct subject *subject,
                           uint16_t version)
{
    bool succeeded = item->result_status.value == KMIP_RESULT_STATUS_SUCCESS;
    if (succeeded == (reason == 0) && (succeeded || item->result_reason.value == reason))
        return;
    fail_msg(
        "%s %s, %s in state %d, version 1.%d: %s instead of %s", act, info->name,
        kmip_value_text(KMIP_TAG_OBJECT_TYPE, subject->type), (int)subject->state, version & 0xFF,
        succeeded ? "success"
                  : kmip_value_text(KMIP_TAG_RESULT_REASON, (uint32_t)item->result_reason.value),
        reason == 0 ? "success" : kmip_value_text(KMIP_TAG_RESULT_REASON, reason));
}

static struct subject make_subject(struct talk *talk, enum kmip_object_type type,
                                   enum kmip_state state)
{
    struct subject subject = {.type = type};
    uint16_t version = talk->version;
    talk->version = KMIP_VERSION_1_4;
    if (type == KMIP_OBJECT_TYPE_OPAQUE_OBJECT) {
        subject.id = register_opaque(talk, WITHOUT);
    } else {
        subject.id = type == KMIP_OBJECT_TYPE_SECRET_DATA ? register_secret(talk, WITHOUT)
                                                          : create_key(talk);
        subject.state = state;
    }
    if (subject.state == KMIP_STATE_ACTIVE || subject.state == KMIP_STATE_DEACTIVATED)
        assert_success(by_id(talk, KMIP_OPERATION_ACTIVATE, subject.id));
    if (subject.state == KMIP_STATE_DEACTIVATED)
        assert_success(revoke_key(talk, subject.id, KMIP_REVOCATION_REASON_CODE_UNSPECIFIED));
    if (subject.state == KMIP_STATE_DESTROYED)
        assert_success(by_id(talk, KMIP_OPERATION_DESTROY, subject.id));
    talk->version = version;
    return subject;
}

/* Adds, modifies, deletes, and asks the table before each what must happen. */
static void try_rules(struct talk *talk, const struct kmip_attribute_info *info,
                      const struct subject *subject)
{
    const struct kmip_named_attribute attribute = named(info->name, value_for(info));
    uint32_t reason = adding(talk, info, subject);
    assert_outcome(add_attribute(talk, subject->id, attribute), reason, "add", info, subject,
                   talk->version);
    reason = modifying(talk, info, subject);
    assert_outcome(modify_attribute(talk, subject->id, attribute), reason, "modify", info, subject,
                   talk->version);
    if (reason == 0 && info->id != KMIP_ATTRIBUTE_USAGE_LIMITS)
        assert_true(value_equal(attribute_of(talk, subject->id, info->name, 0), &attribute.value));
    reason = deleting(talk, info, subject);
    assert_outcome(delete_attribute(talk, subject->id, info->name, -1), reason, "delete", info,
                   subject, talk->version);
    if (reason == 0)
        assert_false(shows(talk, subject, info->name));
}

static void try_all_rules(struct talk *talk, enum kmip_object_type type, enum kmip_state state)
{
    for (unsigned id = 0; id < KMIP_ATTRIBUTE_COUNT; id++) {
        const struct kmip_attribute_info *info = kmip_attribute_by_id((enum kmip_attribute)id);
        if (info->name[0] == '\0')
            continue;
        struct subject subject = make_subject(talk, type, state);
        try_rules(talk, info, &subject);
        talk_forget(talk);
    }
}

static void rules_hold_for_every_kind_of_object(void **state)
{
    struct talk *talk = *state;
    try_all_rules(talk, KMIP_OBJECT_TYPE_SYMMETRIC_KEY, KMIP_STATE_PRE_ACTIVE);
    try_all_rules(talk, KMIP_OBJECT_TYPE_SECRET_DATA, KMIP_STATE_PRE_ACTIVE);
    try_all_rules(talk, KMIP_OBJECT_TYPE_OPAQUE_OBJECT, 0);
}

static void rules_hold_in_every_state(void **state)
{
    struct talk *talk = *state;
    static const enum kmip_state states[] = {KMIP_STATE_ACTIVE, KMIP_STATE_DEACTIVATED,
                                             KMIP_STATE_DESTROYED};
    for (size_t i = 0; i < ARRAY_COUNT(states); i++)
        try_all_rules(talk, KMIP_OBJECT_TYPE_SYMMETRIC_KEY, states[i]);
}

static void rules_hold_in_every_version(void **state)
{
    struct talk *talk = *state;
    for (talk->version = KMIP_VERSION_1_0; talk->version < KMIP_VERSION_1_4; talk->version++)
        try_all_rules(talk, KMIP_OBJECT_TYPE_SYMMETRIC_KEY, KMIP_STATE_PRE_ACTIVE);
}

/* What a client may state when it makes a key. */
static void templates_obey_the_rules(void **state)
{
    struct talk *talk = *state;
    static const enum kmip_attribute basic[] = {KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM,
                                                KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH,
                                                KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK};
    const struct subject key = {.type = KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                .state = KMIP_STATE_PRE_ACTIVE};
    for (talk->version = KMIP_VERSION_1_0; talk->version <= KMIP_VERSION_1_4; talk->version++)
        for (unsigned id = 0; id < KMIP_ATTRIBUTE_COUNT; id++) {
            const struct kmip_attribute_info *info = kmip_attribute_by_id((enum kmip_attribute)id);
            if (info->name[0] == '\0')
                continue;
            bool twice = false; /* put_create() has it already */
            for (size_t i = 0; i < ARRAY_COUNT(basic); i++)
                twice |= basic[i] == info->id;
            bool may = applies(talk, info, &key) && (info->set_by & KMIP_SIDE_CLIENT) != 0;
            uint32_t reason = may || twice ? 0 : KMIP_RESULT_REASON_INVALID_FIELD;
            if (twice)
                reason = KMIP_RESULT_REASON_INDEX_OUT_OF_BOUNDS;
            const struct kmip_response_item *item =
                try_create(talk, WITH(named(info->name, value_for(info))));
            assert_outcome(item, reason, "create with", info, &key, talk->version);
            if (reason == 0)
                assert_success(by_id(talk, KMIP_OPERATION_DESTROY, created_id(talk, item)));
            talk_forget(talk);
        }
}

/* ---- What is shown ---- */

static void assert_view_is_of_the_version(struct talk *talk, const struct subject *subject)
{
    struct kmip_list list = attributes_of(talk, subject->id);
    const struct kmip_named_attribute *items = list.items;
    for (size_t i = 0; i < list.count; i++) {
        const struct kmip_attribute_info *info =
            kmip_attribute_by_name((const char *)items[i].name.data, items[i].name.size);
        if (info == NULL) {
            assert_true(attribute_is_custom(items[i].name));
            continue;
        }
        assert_true(applies(talk, info, subject));
        assert_int_equal(items[i].value.type, kmip_tag_type(info->tag->number, talk->version));
    }
    for (unsigned id = 0; id < KMIP_ATTRIBUTE_COUNT; id++) { /* "SHALL always have a value" */
        const struct kmip_attribute_info *info = kmip_attribute_by_id((enum kmip_attribute)id);
        if (info->name[0] != '\0' && info->always == KMIP_RULE_YES && applies(talk, info, subject))
            if (!shows(talk, subject, info->name))
                fail_msg("%s is missing", info->name);
    }
}

static void each_version_sees_its_own_attributes(void **state)
{
    struct talk *talk = *state;
    static const enum kmip_object_type types[] = {KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                                  KMIP_OBJECT_TYPE_SECRET_DATA,
                                                  KMIP_OBJECT_TYPE_OPAQUE_OBJECT};
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        struct subject subject = make_subject(talk, types[i], KMIP_STATE_ACTIVE);
        assert_success(add_attribute(talk, subject.id, named("Description", text("new in 1.4"))));
        for (talk->version = KMIP_VERSION_1_0; talk->version <= KMIP_VERSION_1_4; talk->version++)
            assert_view_is_of_the_version(talk, &subject);
        talk->version = KMIP_VERSION_1_4;
    }
}

/* §3.17: Key Format Type came into the Digest with 1.1. */
static void a_digest_is_in_the_form_of_the_version(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    for (talk->version = KMIP_VERSION_1_0; talk->version <= KMIP_VERSION_1_4; talk->version++) {
        struct structure_digest digest;
        const struct kmip_any *value = attribute_of(talk, id, "Digest", 0);
        assert_non_null(value);
        assert_int_equal(kmip_decode(&structure_digest_shape, ttlv_reader_over(value->value),
                                     talk_arena(talk), &digest),
                         STATUS_OK);
        assert_int_equal(digest.hashing_algorithm.value, KMIP_HASHING_ALGORITHM_SHA_256);
        assert_int_equal(digest.value.size, 32);
        assert_int_equal(digest.key_format_type.present, talk->version > KMIP_VERSION_1_0);
    }
}

static struct kmip_list ask_for(struct talk *talk, struct bytes id, size_t count,
                                const char *const *names)
{
    struct kmip_get_attributes_response response;
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_GET_ATTRIBUTES);
    put_id(payload, id);
    for (size_t i = 0; i < count; i++)
        ttlv_write_text(payload, KMIP_TAG_ATTRIBUTE_NAME, bytes_of_text(names[i]));
    talk_payload(talk, talk_send(talk, 1), &kmip_get_attributes_response_shape, &response);
    assert_true(bytes_equal(response.unique_identifier, id));
    return response.attributes;
}

/* vCenter asks for its x- attributes before it adds them. */
static void what_is_not_there_is_left_out(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("x-Name", text("vm")), named("x-Name", text("two"))));
    static const char *const names[] = {"x-Vendor", "State",   "state",          "x-Name",
                                        "",         "x-name ", "Never Heard Of", "Archive Date"};
    assert_int_equal(ask_for(talk, id, 1, names).count, 0);
    struct kmip_list list = ask_for(talk, id, ARRAY_COUNT(names), names);
    const struct kmip_named_attribute *items = list.items;
    assert_int_equal(list.count, 3);
    assert_true(bytes_equal_text(items[0].name, "State")); /* in the order asked for */
    assert_true(bytes_equal_text(items[1].name, "x-Name"));
    assert_false(items[1].index.present);
    assert_int_equal(items[2].index.value, 1);
}

/* §11.13 */
static void the_same_name_twice_is_an_invalid_message(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    static const char *const names[] = {"State", "x-a", "State"};
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_GET_ATTRIBUTES);
    put_id(payload, id);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        ttlv_write_text(payload, KMIP_TAG_ATTRIBUTE_NAME, bytes_of_text(names[i]));
    assert_reason(talk_send(talk, 1), KMIP_RESULT_REASON_INVALID_MESSAGE);
    assert_false(talk->bench.request.close);
}

static void the_list_has_each_name_once(void **state)
{
    struct talk *talk = *state;
    struct kmip_get_attribute_list_response response;
    struct bytes id =
        create(talk, WITH(named("x-a", integer(1)), named("x-a", integer(2)),
                          named("Object Group", text("one")), named("Object Group", text("two"))));
    talk_payload(talk, by_id(talk, KMIP_OPERATION_GET_ATTRIBUTE_LIST, id),
                 &kmip_get_attribute_list_response_shape, &response);
    const struct bytes *names = response.attribute_names.items;
    for (size_t i = 0; i < response.attribute_names.count; i++) {
        char name[64] = "";
        assert_true(names[i].size < sizeof(name));
        memcpy(name, names[i].data, names[i].size);
        assert_true(instances_of(talk, id, name) > 0);
        for (size_t j = 0; j < i; j++)
            assert_false(bytes_equal(names[i], names[j]));
    }
    struct kmip_list all = attributes_of(talk, id);
    assert_int_equal(all.count, response.attribute_names.count + 2);
}

/* ---- Values ---- */

static void values_must_fit_the_attribute(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    const struct kmip_named_attribute wrong[] = {
        named("Activation Date", integer(1)),
        named("Activation Date", long_integer(LATER)),
        named("Contact Information", byte_string("mail")),
        named("Name", text("only text")),
        named("Name", integer(1)),
        named("Object Group", enumeration(1)),
        named("Usage Limits", integer(1000)),
        named("Sensitive", integer(1)),
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_reason(try_create(talk, WITH(wrong[i])), KMIP_RESULT_REASON_INVALID_FIELD);
        if (!bytes_equal_text(wrong[i].name, "Sensitive")) /* always there: modified, not added */
            assert_reason(add_attribute(talk, id, wrong[i]), KMIP_RESULT_REASON_INVALID_FIELD);
    }
    assert_success(add_attribute(talk, id, named("Activation Date", date(LATER))));
    assert_reason(modify_attribute(talk, id, named("Activation Date", integer(1))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_reason(modify_attribute(talk, id, named("Sensitive", integer(1))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
}

static void structures_must_be_whole(void **state)
{
    struct talk *talk = *state;
    static const struct {
        const char *name;
        uint32_t tag;
        uint8_t type;
    } half[] = {
        {"Name", KMIP_TAG_NAME_VALUE, TTLV_TEXT_STRING},
        {"Name", KMIP_TAG_NAME_TYPE, TTLV_ENUMERATION},
        {"Link", KMIP_TAG_LINK_TYPE, TTLV_ENUMERATION},
        {"Application Specific Information", KMIP_TAG_APPLICATION_DATA, TTLV_TEXT_STRING},
        {"Alternative Name", KMIP_TAG_ALTERNATIVE_NAME_VALUE, TTLV_TEXT_STRING},
        {"Usage Limits", KMIP_TAG_USAGE_LIMITS_UNIT, TTLV_ENUMERATION},
    };
    for (size_t i = 0; i < ARRAY_COUNT(half); i++) {
        struct buffer fields;
        struct kmip_any value = {TTLV_STRUCTURE, {0}};
        buffer_init(&fields, 64);
        ttlv_write_raw(&fields, half[i].tag, (enum ttlv_type)half[i].type, BYTES_LITERAL("text"));
        assert_true(arena_copy(talk_arena(talk), buffer_bytes(&fields), &value.value));
        buffer_free(&fields);
        assert_reason(try_create(talk, WITH(named(half[i].name, value))),
                      KMIP_RESULT_REASON_INVALID_FIELD);
    }
}

/* §9.1.3.2: values of the standard, and vendors' (8XXXXXXX); nothing between. */
static void enumerations_have_values_of_the_standard_or_of_vendors(void **state)
{
    struct talk *talk = *state;
    static const struct {
        uint32_t value;
        bool good;
    } algorithms[] = {{KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, true},
                      {0, false},
                      {0x7FFFFFFF, false},
                      {0x90000001, false},
                      {0xFFFFFFFF, false}};
    for (size_t i = 0; i < ARRAY_COUNT(algorithms); i++) {
        struct buffer *payload = talk_item(talk, KMIP_OPERATION_CREATE);
        ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
        put_template(payload,
                     WITH(named("Cryptographic Algorithm", enumeration(algorithms[i].value)),
                          named("Cryptographic Usage Mask", integer(12))));
        const struct kmip_response_item *item = talk_send(talk, 1);
        if (algorithms[i].good)
            assert_success(item);
        else
            assert_reason(item, KMIP_RESULT_REASON_INVALID_FIELD);
    }
}

static struct kmip_any long_text(struct talk *talk, size_t size)
{
    char *letters = arena_allocate(talk_arena(talk), size + 1);
    assert_non_null(letters);
    memset(letters, 'a', size);
    return value_text(bytes_of(letters, size));
}

static void values_have_a_longest(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    struct kmip_any longest = long_text(talk, ATTRIBUTE_VALUE_MAX);
    assert_success(add_attribute(talk, id, named("x-long", longest)));
    assert_true(value_equal(attribute_of(talk, id, "x-long", 0), &longest));
    struct kmip_any longer = long_text(talk, ATTRIBUTE_VALUE_MAX + 1);
    assert_reason(add_attribute(talk, id, named("x-long", longer)),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_reason(modify_attribute(talk, id, named("x-long", longer)),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_reason(try_create(talk, WITH(named("x-long", longer))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
}

static void an_attribute_without_a_value_is_refused(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("x-a", integer(1))));
    const struct kmip_named_attribute empty = {.name = BYTES_LITERAL("x-a")};
    assert_reason(add_attribute(talk, id, empty), KMIP_RESULT_REASON_INVALID_FIELD);
    assert_reason(modify_attribute(talk, id, empty), KMIP_RESULT_REASON_INVALID_FIELD);
    assert_reason(try_create(talk, WITH(empty)), KMIP_RESULT_REASON_INVALID_FIELD);
}

/* ---- Instances ---- */

static int32_t answered_index(struct talk *talk, const struct kmip_response_item *item)
{
    struct kmip_attribute_change change;
    talk_payload(talk, item, &kmip_attribute_change_shape, &change);
    assert_non_null(change.attribute);
    assert_int_equal(change.unique_identifier.size, UUID_TEXT_LENGTH);
    return (int32_t)change.attribute->index.value;
}

/* §2.1.1: indexes begin with 0 and do not change when others come and go. */
static void instances_keep_their_indexes(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    static const char *const groups[] = {"zero", "one", "two", "three"};
    for (int32_t i = 0; i < 4; i++)
        assert_int_equal(
            answered_index(talk, add_attribute(talk, id, named("Object Group", text(groups[i])))),
            i);
    assert_int_equal(answered_index(talk, delete_attribute(talk, id, "Object Group", 1)), 1);
    assert_int_equal(answered_index(talk, delete_attribute(talk, id, "Object Group", -1)), 0);
    assert_null(attribute_of(talk, id, "Object Group", 0));
    assert_null(attribute_of(talk, id, "Object Group", 1));
    assert_true(bytes_equal_text(attribute_of(talk, id, "Object Group", 2)->value, "two"));
    assert_true(bytes_equal_text(attribute_of(talk, id, "Object Group", 3)->value, "three"));
    assert_int_equal(
        answered_index(talk, add_attribute(talk, id, named("Object Group", text("four")))), 4);
    assert_reason(delete_attribute(talk, id, "Object Group", -1),
                  KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    assert_reason(modify_attribute(talk, id, named("Object Group", text("none"))),
                  KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    assert_int_equal(
        answered_index(talk, modify_attribute(talk, id, named_at("Object Group", 3, text("3")))),
        3);
    assert_true(bytes_equal_text(attribute_of(talk, id, "Object Group", 3)->value, "3"));
    assert_true(bytes_equal_text(attribute_of(talk, id, "Object Group", 2)->value, "two"));
}

/* §4.14: "SHALL NOT be specified"; 0 is what one client sends, and is taken. */
static void a_new_instance_has_no_index_yet(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    assert_success(add_attribute(talk, id, named_at("x-a", 0, integer(1))));
    assert_reason(add_attribute(talk, id, named_at("x-a", 1, integer(1))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_reason(add_attribute(talk, id, named_at("x-a", -1, integer(1))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_int_equal(instances_of(talk, id, "x-a"), 1);
}

/* §4.14-4.16: the answer is the attribute as it is, or was. */
static void changes_are_echoed(void **state)
{
    struct talk *talk = *state;
    struct kmip_attribute_change change;
    struct bytes id = create_key(talk);
    talk_payload(talk, add_attribute(talk, id, named("x-a", text("first"))),
                 &kmip_attribute_change_shape, &change);
    assert_true(bytes_equal(change.unique_identifier, id));
    assert_true(bytes_equal_text(change.attribute->name, "x-a"));
    assert_true(bytes_equal_text(change.attribute->value.value, "first"));
    talk_payload(talk, modify_attribute(talk, id, named("x-a", text("second"))),
                 &kmip_attribute_change_shape, &change);
    assert_true(bytes_equal_text(change.attribute->value.value, "second"));
    talk_payload(talk, delete_attribute(talk, id, "x-a", -1), &kmip_attribute_change_shape,
                 &change);
    assert_true(bytes_equal_text(change.attribute->value.value, "second"));
}

static void changes_set_the_last_change_date(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    talk_wait(talk, 5);
    assert_success(add_attribute(talk, id, named("x-a", integer(1))));
    assert_int_equal(number_of(talk, id, "Last Change Date"), TALK_NOW + 5);
    talk_wait(talk, 5);
    assert_success(modify_attribute(talk, id, named("x-a", integer(2))));
    assert_int_equal(number_of(talk, id, "Last Change Date"), TALK_NOW + 10);
    talk_wait(talk, 5);
    assert_success(delete_attribute(talk, id, "x-a", -1));
    assert_int_equal(number_of(talk, id, "Last Change Date"), TALK_NOW + 15);
    assert_int_equal(number_of(talk, id, "Initial Date"), TALK_NOW);
}

static void instances_are_limited(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    for (int i = 0; i < ATTRIBUTE_INSTANCES_MAX; i++)
        kmip_encode(&kmip_attribute_change_shape,
                    &(struct kmip_attribute_change){
                        .unique_identifier = id,
                        .attribute = &(struct kmip_named_attribute){.name = BYTES_LITERAL("x-many"),
                                                                    .value = integer(i)}},
                    talk->version, talk_item(talk, KMIP_OPERATION_ADD_ATTRIBUTE));
    const struct kmip_response_item *items = talk_send(talk, ATTRIBUTE_INSTANCES_MAX);
    for (int i = 0; i < ATTRIBUTE_INSTANCES_MAX; i++)
        assert_success(&items[i]);
    assert_reason(add_attribute(talk, id, named("x-many", integer(0))),
                  KMIP_RESULT_REASON_INDEX_OUT_OF_BOUNDS);
    assert_success(add_attribute(talk, id, named("x-other", integer(0))));
    assert_int_equal(instances_of(talk, id, "x-many"), ATTRIBUTE_INSTANCES_MAX);
    assert_success(delete_attribute(talk, id, "x-many", 7));
    assert_success(add_attribute(talk, id, named("x-many", integer(0))));
}

static void attributes_of_one_object_are_limited(void **state)
{
    struct talk *talk = *state;
    char names[ATTRIBUTE_NAMES_MAX + 8][16];
    struct kmip_named_attribute attributes[ATTRIBUTE_NAMES_MAX + 8];
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "x-%zu", i);
        attributes[i] = named(names[i], integer((int32_t)i));
    }
    assert_reason(try_create(talk, (struct kmip_list){ARRAY_COUNT(names), attributes}),
                  KMIP_RESULT_REASON_INDEX_OUT_OF_BOUNDS);
    struct bytes id = create(talk, (struct kmip_list){ATTRIBUTE_NAMES_MAX - 16, attributes});
    assert_int_equal(number_of(talk, id, "x-1000"), 1000);
}

/* ---- Custom attributes (§3.39) ---- */

/* One of every type, structures in structures included. */
static size_t every_type(struct talk *talk, struct kmip_any values[static 11])
{
    struct buffer fields;
    struct kmip_any structure = {TTLV_STRUCTURE, {0}};
    buffer_init(&fields, 1024);
    ttlv_write_text(&fields, KMIP_TAG_NAME_VALUE, BYTES_LITERAL("n\303\244me"));
    ttlv_write_big_integer(&fields, KMIP_TAG_MODULUS, BYTES_LITERAL("12345678"));
    size_t inner = ttlv_begin(&fields, 0x540001);
    ttlv_write_boolean(&fields, 0x540002, true);
    ttlv_end(&fields, inner);
    ttlv_end(&fields, ttlv_begin(&fields, KMIP_TAG_LINK));
    assert_true(arena_copy(talk_arena(talk), buffer_bytes(&fields), &structure.value));
    buffer_free(&fields);
    const struct kmip_any all[] = {
        integer(-5),
        long_integer(INT64_MIN),
        {TTLV_BIG_INTEGER, BYTES_LITERAL("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE")},
        enumeration(0xDEADBEEF),
        boolean(false),
        text("\xE2\x82\xAC, \"quoted\""),
        byte_string(""),
        date(-1),
        interval(UINT32_MAX),
        {TTLV_DATE_TIME_EXTENDED, date(INT64_MAX).value},
        structure,
    };
    memcpy(values, all, sizeof(all));
    return ARRAY_COUNT(all);
}

static void custom_attributes_have_any_type(void **state)
{
    struct talk *talk = *state;
    struct kmip_any values[11];
    size_t count = every_type(talk, values);
    for (size_t i = 0; i < count; i++)
        for (uint16_t version = KMIP_VERSION_1_0; version <= KMIP_VERSION_1_4; version++) {
            talk->version = version;
            struct bytes id = create(talk, WITH(named("x-any", values[i])));
            assert_success(add_attribute(talk, id, named("x-any", values[i])));
            assert_success(add_attribute(talk, id, named("x-other", values[i])));
            assert_success(modify_attribute(talk, id, named("x-other", values[i])));
            talk->version = KMIP_VERSION_1_4;
            assert_true(value_equal(attribute_of(talk, id, "x-any", 0), &values[i]));
            assert_true(value_equal(attribute_of(talk, id, "x-any", 1), &values[i]));
            assert_true(value_equal(attribute_of(talk, id, "x-other", 0), &values[i]));
            assert_success(delete_attribute(talk, id, "x-any", 0));
            assert_int_equal(instances_of(talk, id, "x-any"), 1);
        }
}

/* All instances of one name have one type, however they come about. */
static void instances_of_a_custom_attribute_have_one_type(void **state)
{
    struct talk *talk = *state;
    assert_reason(try_create(talk, WITH(named("x-a", integer(1)), named("x-a", text("1")))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    struct bytes id = create(talk, WITH(named("x-a", integer(1))));
    assert_reason(add_attribute(talk, id, named("x-a", text("1"))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_success(modify_attribute(talk, id, named("x-a", text("1")))); /* it is the only one */
    assert_success(add_attribute(talk, id, named("x-a", text("2"))));
    assert_reason(modify_attribute(talk, id, named_at("x-a", 0, integer(3))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_reason(modify_attribute(talk, id, named_at("x-a", 1, integer(3))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
}

/* "The server SHALL NOT accept a client-created or modified attribute" of y-. */
static void names_that_are_not_a_clients_are_refused(void **state)
{
    struct talk *talk = *state;
    static const char *const names[] = {"y-server", "x-", "X-upper",          "z-other",
                                        "",         "x",  "Custom Attribute", "Unknown"};
    struct bytes id = create_key(talk);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        assert_reason(try_create(talk, WITH(named(names[i], integer(1)))),
                      KMIP_RESULT_REASON_INVALID_FIELD);
        assert_reason(add_attribute(talk, id, named(names[i], integer(1))),
                      KMIP_RESULT_REASON_PERMISSION_DENIED);
        assert_reason(modify_attribute(talk, id, named(names[i], integer(1))),
                      names[i][0] == 'y' ? KMIP_RESULT_REASON_PERMISSION_DENIED
                                         : KMIP_RESULT_REASON_INVALID_FIELD);
        assert_reason(delete_attribute(talk, id, names[i], -1),
                      names[i][0] == 'y' ? KMIP_RESULT_REASON_PERMISSION_DENIED
                                         : KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    }
}

static void names_of_custom_attributes_are_exact(void **state)
{
    struct talk *talk = *state;
    struct bytes id =
        create(talk, WITH(named("x-Name", integer(1)), named("x-name", integer(2)),
                          named("x-Name ", integer(3)), named("x-N\xC3\xA4me", integer(4))));
    assert_int_equal(number_of(talk, id, "x-Name"), 1);
    assert_int_equal(number_of(talk, id, "x-name"), 2);
    assert_int_equal(number_of(talk, id, "x-Name "), 3);
    assert_int_equal(number_of(talk, id, "x-N\xC3\xA4me"), 4);
}

/* ---- Name (§3.2): unique in an adapter, among objects that are not destroyed ---- */

static void a_taken_name_is_refused_everywhere(void **state)
{
    struct talk *talk = *state;
    struct bytes first = create(talk, WITH(named("Name", name_value("taken"))));
    struct bytes other = create(talk, WITH(named("Name", name_value("free"))));
    struct kmip_named_attribute taken = named("Name", name_value("taken"));
    assert_reason(try_create(talk, WITH(taken)), KMIP_RESULT_REASON_INVALID_FIELD); /* §11.2 */
    assert_reason(try_create(talk, WITH(named("Name", name_value("new")), taken)),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_reason(add_attribute(talk, other, taken),
                  KMIP_RESULT_REASON_ILLEGAL_OPERATION); /* §11.15 */
    assert_reason(modify_attribute(talk, other, taken), KMIP_RESULT_REASON_ILLEGAL_OPERATION);
    assert_int_equal(instances_of(talk, other, "Name"), 1);
    assert_success(modify_attribute(talk, first, taken)); /* its own */
    assert_success(modify_attribute(talk, first, named("Name", name_value("given up"))));
    assert_success(add_attribute(talk, other, taken));
    create(talk, WITH(named("Name", name_value("new")))); /* what failed did not keep it */
}

static void names_are_compared_with_their_type(void **state)
{
    struct talk *talk = *state;
    const struct structure_name uri = {.value = BYTES_LITERAL("same"),
                                       .type = kmip_number(KMIP_NAME_TYPE_URI)};
    create(talk, WITH(named("Name", name_value("same"))));
    create(talk,
           WITH(named("Name", value_structure(talk_arena(talk), &structure_name_shape, &uri))));
    create(talk, WITH(named("Name", name_value("SAME"))));
    create(talk, WITH(named("Name", name_value("same "))));
    create(talk, WITH(named("Name", name_value(""))));
    assert_reason(try_create(talk, WITH(named("Name", name_value("")))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
}

static void names_are_freed_when_nobody_has_them(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Name", name_value("one"))));
    assert_success(delete_attribute(talk, id, "Name", -1));
    id = create(talk, WITH(named("Name", name_value("one"))));
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, id));
    struct bytes opaque = register_opaque(talk, WITH(named("Name", name_value("one"))));
    assert_success(by_id(talk, KMIP_OPERATION_DESTROY, opaque));
    create(talk, WITH(named("Name", name_value("one"))));
}

static void adapters_have_names_of_their_own(void **state)
{
    struct talk *talk = *state;
    struct core_session other;
    create(talk, WITH(named("Name", name_value("one"))));
    core_bench_adapter(&talk->bench, "other", &other);
    talk->session = &other;
    create(talk, WITH(named("Name", name_value("one"))));
    assert_reason(try_create(talk, WITH(named("Name", name_value("one")))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
}

/* Within one request too, where nothing is committed yet. */
static void names_are_unique_in_a_batch(void **state)
{
    struct talk *talk = *state;
    const struct kmip_list name = WITH(named("Name", name_value("batch")));
    talk->header.batch_error_continuation_option =
        kmip_number(KMIP_BATCH_ERROR_CONTINUATION_OPTION_CONTINUE);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), name);
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), name);
    talk_item(talk, KMIP_OPERATION_DESTROY); /* of the first, by the ID Placeholder */
    put_create(talk_item(talk, KMIP_OPERATION_CREATE), name);
    const struct kmip_response_item *items = talk_send(talk, 4);
    assert_success(&items[0]);
    assert_reason(&items[1], KMIP_RESULT_REASON_INVALID_FIELD);
    assert_success(&items[2]);
    assert_success(&items[3]);
    assert_finds(talk, name, created_id(talk, &items[3]));
}

/* An object may have a value twice; its terms are then one. */
static void an_object_may_repeat_a_value(void **state)
{
    struct talk *talk = *state;
    struct bytes id =
        create(talk, WITH(named("x-a", integer(1)), named("x-a", integer(1)),
                          named("Object Group", text("g")), named("Object Group", text("g"))));
    assert_finds(talk, WITH(named("x-a", integer(1)), named("Object Group", text("g"))), id);
    assert_success(delete_attribute(talk, id, "x-a", 0));
    assert_finds(talk, WITH(named("x-a", integer(1))), id);
    assert_success(delete_attribute(talk, id, "x-a", 1));
    assert_finds_nothing(talk, WITH(named("x-a", integer(1))));
}

/* ---- Attributes with a meaning ---- */

/* §3.21: the server counts, and ignores what a client says of the count. */
static void the_server_counts_usage(void **state)
{
    struct talk *talk = *state;
    struct structure_usage_limits limits;
    struct bytes id = create(talk, WITH(named("Usage Limits", usage_limits(1000, 7))));
    for (int i = 0; i < 2; i++) {
        const struct kmip_any *value = attribute_of(talk, id, "Usage Limits", 0);
        assert_non_null(value);
        assert_int_equal(kmip_decode(&structure_usage_limits_shape, ttlv_reader_over(value->value),
                                     talk_arena(talk), &limits),
                         STATUS_OK);
        assert_int_equal(limits.total.value, 1000 * (i + 1));
        assert_true(limits.count.present);
        assert_int_equal(limits.count.value, 1000 * (i + 1));
        assert_success(modify_attribute(talk, id, named("Usage Limits", usage_limits(2000, 3))));
    }
}

/* §3.25, §3.26 */
static void dates_stand_in_their_order(void **state)
{
    struct talk *talk = *state;
    assert_reason(try_create(talk, WITH(named("Activation Date", date(LATER)),
                                        named("Process Start Date", date(LATER - 1)))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_reason(try_create(talk, WITH(named("Deactivation Date", date(LATER)),
                                        named("Protect Stop Date", date(LATER + 1)))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    struct bytes id = create(talk, WITH(named("Activation Date", date(LATER)),
                                        named("Process Start Date", date(LATER)),
                                        named("Protect Stop Date", date(LATER + 10)),
                                        named("Deactivation Date", date(LATER + 10))));
    assert_reason(modify_attribute(talk, id, named("Activation Date", date(LATER + 1))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_reason(modify_attribute(talk, id, named("Deactivation Date", date(LATER + 9))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_success(modify_attribute(talk, id, named("Activation Date", date(LATER - 1))));
    id = create(talk, WITH(named("Process Start Date", date(LATER))));
    assert_reason(add_attribute(talk, id, named("Activation Date", date(LATER + 1))),
                  KMIP_RESULT_REASON_INVALID_FIELD);
    assert_success(add_attribute(talk, id, named("Activation Date", date(LATER))));
}

/* §3.43: of what a client registers it may tell the age, once; of what the server made, not. */
static void the_original_creation_date_is_set_once(void **state)
{
    struct talk *talk = *state;
    struct kmip_named_attribute old = named("Original Creation Date", date(1000));
    struct bytes id = register_secret(talk, WITH(old));
    assert_int_equal(number_of(talk, id, "Original Creation Date"), 1000);
    assert_int_equal(number_of(talk, id, "Initial Date"), TALK_NOW);
    id = register_secret(talk, WITHOUT);
    assert_int_equal(number_of(talk, id, "Original Creation Date"), -1);
    assert_success(add_attribute(talk, id, old));
    assert_reason(add_attribute(talk, id, old), KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_reason(modify_attribute(talk, id, old), KMIP_RESULT_REASON_PERMISSION_DENIED);
    assert_reason(delete_attribute(talk, id, "Original Creation Date", -1),
                  KMIP_RESULT_REASON_PERMISSION_DENIED);
    id = create(talk, WITH(old));
    assert_int_equal(number_of(talk, id, "Original Creation Date"), TALK_NOW);
}

/* §3.44: a key by the generator that was asked for, or no key. */
static void a_generator_that_is_not_here_makes_no_key(void **state)
{
    struct talk *talk = *state;
    struct kmip_rng_parameters wanted = {.algorithm = kmip_number(KMIP_RNG_ALGORITHM_DRBG)};
    for (int i = 0; i < 2; i++) {
        const struct kmip_any value =
            value_structure(talk_arena(talk), &kmip_rng_parameters_shape, &wanted);
        const struct kmip_response_item *item =
            try_create(talk, WITH(named("Random Number Generator", value)));
        if (i == 0) {
            struct kmip_rng_parameters used;
            struct bytes id = created_id(talk, item);
            const struct kmip_any *shown = attribute_of(talk, id, "Random Number Generator", 0);
            assert_int_equal(kmip_decode(&kmip_rng_parameters_shape, ttlv_reader_over(shown->value),
                                         talk_arena(talk), &used),
                             STATUS_OK);
            assert_int_equal(used.drbg_algorithm.value, KMIP_DRBG_ALGORITHM_CTR);
        } else {
            assert_reason(item, KMIP_RESULT_REASON_INVALID_FIELD);
        }
        wanted.drbg_algorithm = kmip_number(KMIP_DRBG_ALGORITHM_HASH);
    }
}

/* §3.48, §3.49 */
static void a_sensitive_key_stays_here(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Sensitive", boolean(true))));
    assert_int_equal(number_of(talk, id, "Always Sensitive"), 1);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_SENSITIVE);
    talk->version = KMIP_VERSION_1_1; /* which does not know the attribute, nor the reason */
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_GENERAL_FAILURE);
    talk->version = KMIP_VERSION_1_4;
    assert_int_equal(number_of(talk, id, "Fresh"), 1);
    assert_success(modify_attribute(talk, id, named("Sensitive", boolean(true))));
    assert_int_equal(number_of(talk, id, "Always Sensitive"), 1);
    assert_success(modify_attribute(talk, id, named("Sensitive", boolean(false))));
    assert_int_equal(number_of(talk, id, "Always Sensitive"), 0);
    assert_success(by_id(talk, KMIP_OPERATION_GET, id));
    assert_success(modify_attribute(talk, id, named("Sensitive", boolean(true))));
    assert_int_equal(number_of(talk, id, "Always Sensitive"), 0);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_SENSITIVE);
}

/* §3.50, §3.51 */
static void a_key_that_is_not_extractable_stays_here(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create(talk, WITH(named("Extractable", boolean(false))));
    assert_int_equal(number_of(talk, id, "Never Extractable"), 1);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_NOT_EXTRACTABLE);
    assert_success(modify_attribute(talk, id, named("Extractable", boolean(true))));
    assert_int_equal(number_of(talk, id, "Never Extractable"), 0);
    assert_success(by_id(talk, KMIP_OPERATION_GET, id));
    id = create_key(talk); /* by default */
    assert_int_equal(number_of(talk, id, "Extractable"), 1);
    assert_int_equal(number_of(talk, id, "Never Extractable"), 0);
    assert_int_equal(number_of(talk, id, "Sensitive"), 0);
    assert_success(modify_attribute(talk, id, named("Extractable", boolean(false))));
    assert_int_equal(number_of(talk, id, "Never Extractable"), 0);
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_NOT_EXTRACTABLE);
}

/* §3.34: until it was served. Looking at it is not serving it. */
static void a_key_is_fresh_until_it_was_served(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    assert_int_equal(number_of(talk, id, "Fresh"), 1);
    assert_success(by_id(talk, KMIP_OPERATION_CHECK, id));
    assert_success(by_id(talk, KMIP_OPERATION_GET_ATTRIBUTE_LIST, id));
    assert_int_equal(number_of(talk, id, "Fresh"), 1);
    talk_wait(talk, 10);
    assert_int_equal(key_of(talk, id).size, 32);
    assert_int_equal(number_of(talk, id, "Fresh"), 0);
    assert_int_equal(number_of(talk, id, "Last Change Date"), TALK_NOW);
    assert_int_equal(key_of(talk, id).size, 32);
    assert_int_equal(talk->bench.request.change_count, 0); /* once is enough */
    id = create(talk, WITH(named("Fresh", boolean(false))));
    assert_int_equal(number_of(talk, id, "Fresh"), 0);
}

static void lease_time_is_the_servers(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    assert_int_equal(number_of(talk, id, "Lease Time"), core_bench_options.lease_seconds);
}

/* §2.1.8: there are no Template objects to name. */
static void templates_cannot_be_named(void **state)
{
    struct talk *talk = *state;
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_CREATE);
    ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
    size_t mark = ttlv_begin(payload, KMIP_TAG_TEMPLATE_ATTRIBUTE);
    ttlv_write_raw(payload, KMIP_TAG_NAME, TTLV_STRUCTURE, name_value("template").value);
    ttlv_end(payload, mark);
    assert_reason(talk_send(talk, 1), KMIP_RESULT_REASON_ITEM_NOT_FOUND);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, talk_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(rules_hold_for_every_kind_of_object),
        CASE(rules_hold_in_every_state),
        CASE(rules_hold_in_every_version),
        CASE(templates_obey_the_rules),
        CASE(each_version_sees_its_own_attributes),
        CASE(a_digest_is_in_the_form_of_the_version),
        CASE(what_is_not_there_is_left_out),
        CASE(the_same_name_twice_is_an_invalid_message),
        CASE(the_list_has_each_name_once),
        CASE(values_must_fit_the_attribute),
        CASE(structures_must_be_whole),
        CASE(enumerations_have_values_of_the_standard_or_of_vendors),
        CASE(values_have_a_longest),
        CASE(an_attribute_without_a_value_is_refused),
        CASE(instances_keep_their_indexes),
        CASE(a_new_instance_has_no_index_yet),
        CASE(changes_are_echoed),
        CASE(changes_set_the_last_change_date),
        CASE(instances_are_limited),
        CASE(attributes_of_one_object_are_limited),
        CASE(custom_attributes_have_any_type),
        CASE(instances_of_a_custom_attribute_have_one_type),
        CASE(names_that_are_not_a_clients_are_refused),
        CASE(names_of_custom_attributes_are_exact),
        CASE(a_taken_name_is_refused_everywhere),
        CASE(names_are_compared_with_their_type),
        CASE(names_are_freed_when_nobody_has_them),
        CASE(adapters_have_names_of_their_own),
        CASE(names_are_unique_in_a_batch),
        CASE(an_object_may_repeat_a_value),
        CASE(the_server_counts_usage),
        CASE(dates_stand_in_their_order),
        CASE(the_original_creation_date_is_set_once),
        CASE(a_generator_that_is_not_here_makes_no_key),
        CASE(a_sensitive_key_stays_here),
        CASE(a_key_that_is_not_extractable_stays_here),
        CASE(a_key_is_fresh_until_it_was_served),
        CASE(lease_time_is_the_servers),
        CASE(templates_cannot_be_named),
    };
    return cmocka_run_group_tests_name("core_attributes", tests, NULL, NULL);
}
