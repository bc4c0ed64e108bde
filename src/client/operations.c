/* SPDX-License-Identifier: Apache-2.0 */
#include "client/operations.h"

#include <time.h>

#include "kmip/value.h"

/* ---- Parts of payloads ---- */

static const char *attribute_name(enum kmip_attribute attribute)
{
    return kmip_attribute_by_id(attribute)->name;
}

static enum status no_memory(struct error *error)
{
    return error_set(error, STATUS_NO_MEMORY, "no memory for a request");
}

/* A value that could not be made (type 0) makes the encoded attribute invalid: checked here. */
static bool all_made(const struct kmip_named_attribute *attributes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (attributes[i].value.type == 0)
            return false;
    return true;
}

static enum status copy_id(struct bytes id, struct client_id *ret_id, struct error *error)
{
    if (id.size > CLIENT_ID_MAX)
        return error_set(error, STATUS_TOO_LARGE,
                         "the server gave a Unique Identifier of %zu bytes; at most %d are taken",
                         id.size, CLIENT_ID_MAX);
    memcpy(ret_id->text, id.data, id.size);
    ret_id->text[id.size] = '\0';
    return STATUS_OK;
}

static enum status unsound(struct client_connection *connection, const char *what,
                           struct error *error)
{
    return error_set(error, STATUS_MALFORMED, "%s gave an unsound answer: %s",
                     client_peer(connection)->server, what);
}

/* An answer must be about the object that was asked for. */
static enum status check_id(struct client_connection *connection, struct bytes answered,
                            const char *id, struct error *error)
{
    if (bytes_equal_text(answered, id))
        return STATUS_OK;
    return unsound(connection, "it is about another object than was asked for", error);
}

/* ---- The server ---- */

enum status client_discover_versions(struct client_connection *connection, uint16_t *ret_versions,
                                     size_t capacity, size_t *ret_count, struct error *error)
{
    struct kmip_discover_versions answer;
    enum status status =
        client_call(connection, KMIP_OPERATION_DISCOVER_VERSIONS, NULL, &answer, error);
    if (status != STATUS_OK)
        return status;
    const struct kmip_protocol_version *versions = answer.versions.items;
    for (size_t i = 0; i < answer.versions.count && i < capacity; i++)
        ret_versions[i] = kmip_version_of(&versions[i]);
    *ret_count = answer.versions.count;
    return STATUS_OK;
}

enum status client_query(struct client_connection *connection, const uint32_t *functions,
                         size_t count, struct kmip_query_response *ret_response,
                         struct error *error)
{
    struct kmip_number *numbers =
        arena_allocate_array(client_arena(connection), count, sizeof(*numbers));
    if (numbers == NULL)
        return no_memory(error);
    for (size_t i = 0; i < count; i++)
        numbers[i] = kmip_number(functions[i]);
    struct kmip_query_request request = {{count, numbers}};
    return client_call(connection, KMIP_OPERATION_QUERY, &request, ret_response, error);
}

/* ---- New keys ---- */

/* KMIP 1.4 §3.2 */
static struct kmip_any name_value(struct arena *arena, const char *name)
{
    struct buffer buffer;
    struct bytes copy;
    struct kmip_any value = {0};
    buffer_init(&buffer, 4096);
    ttlv_write_text(&buffer, KMIP_TAG_NAME_VALUE, bytes_of_text(name));
    ttlv_write_enumeration(&buffer, KMIP_TAG_NAME_TYPE, KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING);
    if (buffer_status(&buffer) == STATUS_OK && arena_copy(arena, buffer_bytes(&buffer), &copy))
        value = (struct kmip_any){TTLV_STRUCTURE, copy};
    buffer_free(&buffer);
    return value;
}

#define WISH_ATTRIBUTES_MAX 4

/* The attributes of a wish; returns how many, 0 without memory. */
static size_t wish_attributes(struct arena *arena, const struct client_key_wish *wish,
                              struct kmip_named_attribute attributes[static WISH_ATTRIBUTES_MAX])
{
    const struct {
        enum kmip_attribute attribute;
        struct kmip_any value;
    } fixed[] = {
        {KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM, value_enumeration(arena, wish->algorithm)},
        {KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK, value_integer(arena, (int32_t)wish->usage_mask)},
        {KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH, value_integer(arena, (int32_t)wish->length)},
    };
    size_t count = 0;
    for (; count < ARRAY_COUNT(fixed); count++)
        attributes[count] = (struct kmip_named_attribute){
            .name = bytes_of_text(attribute_name(fixed[count].attribute)),
            .value = fixed[count].value};
    if (wish->name != NULL)
        attributes[count++] = (struct kmip_named_attribute){
            .name = bytes_of_text(attribute_name(KMIP_ATTRIBUTE_NAME)),
            .value = name_value(arena, wish->name)};
    return all_made(attributes, count) ? count : 0;
}

enum status client_create(struct client_connection *connection, const struct client_key_wish *wish,
                          struct client_id *ret_id, struct error *error)
{
    struct kmip_named_attribute attributes[WISH_ATTRIBUTES_MAX];
    struct kmip_template_attribute template = {
        .attributes = {wish_attributes(client_arena(connection), wish, attributes), attributes}};
    struct kmip_create_request request = {kmip_number(KMIP_OBJECT_TYPE_SYMMETRIC_KEY), &template};
    struct kmip_create_response response;
    if (template.attributes.count == 0)
        return no_memory(error);
    enum status status = client_call(connection, KMIP_OPERATION_CREATE, &request, &response, error);
    if (status != STATUS_OK)
        return status;
    if (response.object_type.value != KMIP_OBJECT_TYPE_SYMMETRIC_KEY)
        return unsound(connection, "it made an object of another type", error);
    return copy_id(response.unique_identifier, ret_id, error);
}

/* The encoded fields of a Symmetric Key (§2.2.2) with a Raw key, in locked memory: never elsewhere. */
static enum status encode_key(const struct client_key_wish *wish, const struct secret *material,
                              struct secret *ret_encoded)
{
    struct secret memory = {0};
    struct buffer buffer;
    enum status status = secret_allocate(&memory, 16 * TTLV_HEADER_SIZE + material->size);
    if (status != STATUS_OK)
        return status;
    buffer_over(&buffer, memory.data, memory.size);
    size_t block = ttlv_begin(&buffer, KMIP_TAG_KEY_BLOCK);
    ttlv_write_enumeration(&buffer, KMIP_TAG_KEY_FORMAT_TYPE, KMIP_KEY_FORMAT_TYPE_RAW);
    size_t value = ttlv_begin(&buffer, KMIP_TAG_KEY_VALUE);
    ttlv_write_byte_string(&buffer, KMIP_TAG_KEY_MATERIAL, secret_bytes(material));
    ttlv_end(&buffer, value);
    ttlv_write_enumeration(&buffer, KMIP_TAG_CRYPTOGRAPHIC_ALGORITHM, wish->algorithm);
    ttlv_write_integer(&buffer, KMIP_TAG_CRYPTOGRAPHIC_LENGTH, (int32_t)wish->length);
    ttlv_end(&buffer, block);
    status = buffer_status(&buffer);
    if (status == STATUS_OK)
        status = secret_copy(ret_encoded, buffer_bytes(&buffer));
    secret_free(&memory);
    return status;
}

static enum status send_register(struct client_connection *connection,
                                 const struct client_key_wish *wish, const struct secret *encoded,
                                 struct client_id *ret_id, struct error *error)
{
    struct kmip_named_attribute attributes[WISH_ATTRIBUTES_MAX];
    struct kmip_template_attribute template = {
        .attributes = {wish_attributes(client_arena(connection), wish, attributes), attributes}};
    struct kmip_register_request request = {
        .object_type = kmip_number(KMIP_OBJECT_TYPE_SYMMETRIC_KEY),
        .template_attribute = &template,
        .object_tag = KMIP_TAG_SYMMETRIC_KEY,
        .object = {TTLV_STRUCTURE, secret_bytes(encoded)},
    };
    struct kmip_rekey_response response;
    if (template.attributes.count == 0)
        return no_memory(error);
    enum status status =
        client_call(connection, KMIP_OPERATION_REGISTER, &request, &response, error);
    return status == STATUS_OK ? copy_id(response.unique_identifier, ret_id, error) : status;
}

enum status client_register(struct client_connection *connection,
                            const struct client_key_wish *wish, const struct secret *material,
                            struct client_id *ret_id, struct error *error)
{
    struct secret encoded = {0};
    if (encode_key(wish, material, &encoded) != STATUS_OK)
        return no_memory(error);
    enum status status = send_register(connection, wish, &encoded, ret_id, error);
    secret_free(&encoded);
    return status;
}

/* ---- Reading keys ---- */

/* The bytes of a Transparent Symmetric Key (§2.1.7.1), or of a Raw or Opaque one. */
static bool find_material(const struct kmip_any *material, struct bytes *ret_bytes)
{
    struct ttlv_reader reader = ttlv_reader_over(material->value);
    struct ttlv_item key;
    if (material->type == TTLV_BYTE_STRING) {
        *ret_bytes = material->value;
        return true;
    }
    if (material->type != TTLV_STRUCTURE || ttlv_peek_tag(&reader) != KMIP_TAG_KEY ||
        ttlv_next(&reader, &key) != STATUS_OK || key.type != TTLV_BYTE_STRING)
        return false;
    *ret_bytes = key.value;
    return true;
}

static bool read_key_block(const struct kmip_key_block *block, struct arena *arena,
                           struct client_key *key, struct bytes *ret_material)
{
    struct kmip_key_value value;
    if (block->key_value.type != TTLV_STRUCTURE || block->key_compression_type.present ||
        block->key_wrapping_data.type != 0)
        return false;
    key->algorithm = (uint32_t)block->cryptographic_algorithm.value;
    key->length = (uint32_t)block->cryptographic_length.value;
    return kmip_decode(&kmip_key_value_shape, ttlv_reader_over(block->key_value.value), arena,
                       &value) == STATUS_OK &&
           find_material(&value.key_material, ret_material);
}

bool client_read_object(const struct kmip_get_response *response, struct arena *arena,
                        struct client_key *ret_key, struct bytes *ret_material)
{
    ret_key->object_type = (uint32_t)response->object_type.value;
    switch (response->object_type.value) {
    case KMIP_OBJECT_TYPE_SYMMETRIC_KEY:
        return response->symmetric_key != NULL &&
               read_key_block(response->symmetric_key->key_block, arena, ret_key, ret_material);
    case KMIP_OBJECT_TYPE_SECRET_DATA:
        return response->secret_data != NULL &&
               read_key_block(response->secret_data->key_block, arena, ret_key, ret_material);
    case KMIP_OBJECT_TYPE_OPAQUE_OBJECT:
        if (response->opaque_object == NULL)
            return false;
        *ret_material = response->opaque_object->opaque_data_value;
        return true;
    default:
        return false;
    }
}

enum status client_get(struct client_connection *connection, const char *id,
                       struct client_key *ret_key, struct error *error)
{
    struct kmip_get_request request = {.unique_identifier = bytes_of_text(id)};
    struct kmip_get_response response;
    struct client_key key = {0};
    struct bytes material = {0};
    enum status status = client_call(connection, KMIP_OPERATION_GET, &request, &response, error);
    if (status == STATUS_OK)
        status = check_id(connection, response.unique_identifier, id, error);
    if (status != STATUS_OK)
        return status;
    if (!client_read_object(&response, client_arena(connection), &key, &material))
        return unsound(connection, "the key is in a form that this client cannot read", error);
    if (secret_copy(&key.material, material) != STATUS_OK)
        return no_memory(error);
    *ret_key = key;
    return STATUS_OK;
}

/* ---- Attributes ---- */

enum status client_get_attributes(struct client_connection *connection, const char *id,
                                  const char *const *names, size_t count,
                                  struct kmip_get_attributes_response *ret_response,
                                  struct error *error)
{
    struct kmip_get_attributes_response response = {0};
    struct bytes *list = arena_allocate_array(client_arena(connection), count, sizeof(*list));
    if (list == NULL)
        return no_memory(error);
    for (size_t i = 0; i < count; i++)
        list[i] = bytes_of_text(names[i]);
    struct kmip_get_attributes_request request = {bytes_of_text(id), {count, list}};
    enum status status =
        client_call(connection, KMIP_OPERATION_GET_ATTRIBUTES, &request, &response, error);
    if (status == STATUS_OK)
        status = check_id(connection, response.unique_identifier, id, error);
    if (status == STATUS_OK)
        *ret_response = response;
    return status;
}

/* The one attribute that was asked for; NULL in *ret_attribute if the object has none. */
static enum status get_one(struct client_connection *connection, const char *id, const char *name,
                           uint8_t type, const struct kmip_named_attribute **ret_attribute,
                           struct error *error)
{
    struct kmip_get_attributes_response response = {0};
    enum status status = client_get_attributes(connection, id, &name, 1, &response, error);
    if (status != STATUS_OK)
        return status;
    const struct kmip_named_attribute *attribute = response.attributes.items;
    if (response.attributes.count > 1 ||
        (response.attributes.count == 1 &&
         (!bytes_equal_text(attribute->name, name) || attribute->value.type != type)))
        return unsound(connection, "it has other attributes than were asked for", error);
    *ret_attribute = response.attributes.count == 1 ? attribute : NULL;
    return STATUS_OK;
}

enum status client_get_text(struct client_connection *connection, const char *id, const char *name,
                            struct bytes *ret_text, struct error *error)
{
    const struct kmip_named_attribute *attribute = NULL;
    enum status status = get_one(connection, id, name, TTLV_TEXT_STRING, &attribute, error);
    if (status == STATUS_OK)
        *ret_text = attribute != NULL ? attribute->value.value : (struct bytes){0};
    return status;
}

enum status client_get_state(struct client_connection *connection, const char *id,
                             enum kmip_state *ret_state, struct error *error)
{
    const struct kmip_named_attribute *attribute = NULL;
    enum status status = get_one(connection, id, attribute_name(KMIP_ATTRIBUTE_STATE),
                                 TTLV_ENUMERATION, &attribute, error);
    if (status == STATUS_OK && attribute == NULL)
        status = unsound(connection, "the object has no State", error);
    if (status == STATUS_OK)
        *ret_state = (enum kmip_state)value_number(&attribute->value);
    return status;
}

/* What Add Attribute answers must be what it was asked for. */
static enum status check_echo(struct client_connection *connection,
                              const struct client_result *result, const char *id,
                              const struct client_text *sent, struct error *error)
{
    struct kmip_attribute_change echo;
    enum status status = client_result_check(result, client_peer(connection)->server, error);
    if (status != STATUS_OK)
        return status;
    if (client_result_payload(result, client_arena(connection), &echo) != STATUS_OK)
        return unsound(connection, "Add Attribute does not echo the attribute", error);
    if (!bytes_equal_text(echo.attribute->name, sent->name) ||
        !bytes_equal_text(echo.attribute->value.value, sent->value))
        return unsound(connection, "Add Attribute echoes another attribute", error);
    return check_id(connection, echo.unique_identifier, id, error);
}

/* One item of the batch, and what it points to. */
struct addition {
    struct kmip_named_attribute attribute;
    struct kmip_attribute_change change;
};

enum status client_add_texts(struct client_connection *connection, const char *id,
                             const struct client_text *attributes, size_t count,
                             struct error *error)
{
    struct addition additions[CLIENT_ITEMS_MAX];
    struct client_item items[CLIENT_ITEMS_MAX] = {{0}};
    struct client_answer answer;
    if (count > CLIENT_ITEMS_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "at most %d attributes at once",
                         CLIENT_ITEMS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct kmip_any value = value_text(bytes_of_text(attributes[i].value));
        additions[i].attribute = (struct kmip_named_attribute){
            .name = bytes_of_text(attributes[i].name), .value = value};
        additions[i].change =
            (struct kmip_attribute_change){bytes_of_text(id), &additions[i].attribute};
        items[i] = (struct client_item){KMIP_OPERATION_ADD_ATTRIBUTE, &additions[i].change};
    }
    enum status status = client_exchange(connection, items, count, &answer, error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = check_echo(connection, &answer.results[i], id, &attributes[i], error);
    return status;
}

/* ---- The life cycle ---- */

static enum status call_about(struct client_connection *connection, uint32_t operation,
                              const void *payload, const char *id, struct error *error)
{
    struct kmip_identifier answer;
    enum status status = client_call(connection, operation, payload, &answer, error);
    return status == STATUS_OK ? check_id(connection, answer.unique_identifier, id, error) : status;
}

enum status client_activate(struct client_connection *connection, const char *id,
                            struct error *error)
{
    struct kmip_identifier request = {bytes_of_text(id)};
    return call_about(connection, KMIP_OPERATION_ACTIVATE, &request, id, error);
}

enum status client_revoke(struct client_connection *connection, const char *id, uint32_t reason,
                          const char *message, struct error *error)
{
    struct kmip_revocation_reason why = {
        kmip_number(reason), message != NULL ? bytes_of_text(message) : (struct bytes){0}};
    struct kmip_revoke_request request = {.unique_identifier = bytes_of_text(id),
                                          .revocation_reason = &why};
    if (reason == KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE ||
        reason == KMIP_REVOCATION_REASON_CODE_CA_COMPROMISE)
        request.compromise_occurrence_date = kmip_number(time(NULL));
    return call_about(connection, KMIP_OPERATION_REVOKE, &request, id, error);
}

enum status client_destroy(struct client_connection *connection, const char *id,
                           struct error *error)
{
    struct kmip_identifier request = {bytes_of_text(id)};
    return call_about(connection, KMIP_OPERATION_DESTROY, &request, id, error);
}

enum status client_locate(struct client_connection *connection,
                          const struct client_text *attributes, size_t count, uint32_t maximum,
                          struct kmip_list *ret_ids, struct error *error)
{
    struct kmip_locate_response response;
    struct kmip_named_attribute *named =
        arena_allocate_array(client_arena(connection), count, sizeof(*named));
    if (named == NULL)
        return no_memory(error);
    for (size_t i = 0; i < count; i++)
        named[i] =
            (struct kmip_named_attribute){.name = bytes_of_text(attributes[i].name),
                                          .value = value_text(bytes_of_text(attributes[i].value))};
    struct kmip_locate_request request = {.attributes = {count, named}};
    if (maximum != 0)
        request.maximum_items = kmip_number(maximum);
    enum status status = client_call(connection, KMIP_OPERATION_LOCATE, &request, &response, error);
    if (status == STATUS_OK)
        *ret_ids = response.unique_identifiers;
    return status;
}
