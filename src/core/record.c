/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record.h"

#include <endian.h>

#include "core/attributes.h"
#include "core/request.h"
#include "crypto/digest.h"

static const uint8_t magic[4] = {'K', 'M', 'R', 1};

/* All numbers big-endian. Behind it: adapter name, attributes, wrapped blob, SHA-256. */
struct record_header {
    uint8_t magic[sizeof(magic)];
    uint32_t object_type;
    uint64_t version;
    struct uuid object;
    struct uuid adapter;
    struct uuid root_key;
    uint32_t key_manager;
    uint32_t state;
    uint32_t name_size;
    uint32_t attributes_size;
    uint32_t wrapped_size;
    uint32_t reserved;
};
_Static_assert(sizeof(struct record_header) == 88, "the header has no padding");

void core_record_name(const struct uuid *object, char ret_name[static CORE_RECORD_NAME_SIZE])
{
    memcpy(ret_name, CORE_RECORD_PREFIX, sizeof(CORE_RECORD_PREFIX) - 1);
    uuid_text(object, ret_name + sizeof(CORE_RECORD_PREFIX) - 1);
}

bool core_record_object(const char *name, struct uuid *ret_object)
{
    size_t prefix = sizeof(CORE_RECORD_PREFIX) - 1;
    return strncmp(name, CORE_RECORD_PREFIX, prefix) == 0 &&
           uuid_parse(bytes_of_text(name + prefix), ret_object);
}

enum status core_record_encode(const struct core_record *record, struct buffer *ret_bytes)
{
    uint8_t digest[SHA256_SIZE];
    size_t start = ret_bytes->size;
    struct record_header header = {
        .object_type = htobe32(record->object_type),
        .version = htobe64((uint64_t)record->version),
        .object = record->object,
        .adapter = record->adapter,
        .root_key = record->root_key,
        .key_manager = htobe32(record->key_manager),
        .state = htobe32(record->state),
        .name_size = htobe32((uint32_t)record->adapter_name.size),
        .attributes_size = htobe32((uint32_t)record->attributes.size),
        .wrapped_size = htobe32((uint32_t)record->wrapped.blob.size),
    };
    memcpy(header.magic, magic, sizeof(magic));
    buffer_append(ret_bytes, &header, sizeof(header));
    buffer_append_bytes(ret_bytes, record->adapter_name);
    buffer_append_bytes(ret_bytes, record->attributes);
    buffer_append_bytes(ret_bytes, record->wrapped.blob);
    enum status status = buffer_status(ret_bytes);
    if (status == STATUS_OK)
        status = digest_sha256(bytes_of(ret_bytes->data + start, ret_bytes->size - start), digest);
    if (status != STATUS_OK)
        return status;
    buffer_append(ret_bytes, digest, sizeof(digest));
    return buffer_status(ret_bytes);
}

/* The next `size` of the bytes that are left; false if there are not so many. */
static bool cut(struct bytes *left, uint32_t size, struct bytes *ret_piece)
{
    if (size > left->size)
        return false;
    *ret_piece = bytes_of(left->data, size);
    *left = bytes_of(left->data + size, left->size - size);
    return true;
}

static bool is_whole(struct bytes bytes)
{
    uint8_t digest[SHA256_SIZE];
    size_t content = bytes.size - SHA256_SIZE;
    return digest_sha256(bytes_of(bytes.data, content), digest) == STATUS_OK &&
           memcmp(digest, bytes.data + content, SHA256_SIZE) == 0;
}

enum status core_record_decode(struct bytes bytes, struct core_record *ret_record)
{
    struct record_header header;
    if (bytes.size < sizeof(header) + SHA256_SIZE ||
        memcmp(bytes.data, magic, sizeof(magic) - 1) != 0)
        return STATUS_STORE_CORRUPT;
    memcpy(&header, bytes.data, sizeof(header));
    if (header.magic[3] > magic[3])
        return STATUS_STORE_NEWER;
    if (header.magic[3] != magic[3] || !is_whole(bytes))
        return STATUS_STORE_CORRUPT;
    struct core_record record = {
        .object = header.object,
        .version = (int64_t)be64toh(header.version),
        .object_type = be32toh(header.object_type),
        .state = be32toh(header.state),
        .adapter = header.adapter,
        .key_manager = be32toh(header.key_manager),
        .root_key = header.root_key,
    };
    struct bytes left =
        bytes_of(bytes.data + sizeof(header), bytes.size - sizeof(header) - SHA256_SIZE);
    if (!cut(&left, be32toh(header.name_size), &record.adapter_name) ||
        !cut(&left, be32toh(header.attributes_size), &record.attributes) ||
        !cut(&left, be32toh(header.wrapped_size), &record.wrapped.blob) || left.size != 0 ||
        record.adapter_name.size > STORE_NAME_MAX)
        return STATUS_STORE_CORRUPT;
    *ret_record = record;
    return STATUS_OK;
}

static struct object_row row_of(const struct adapter_row *adapter, const struct core_record *record)
{
    return (struct object_row){
        .id = record->object,
        .adapter = adapter->id,
        .version = record->version,
        .object_type = record->object_type,
        .state = record->state,
        .attributes = record->attributes,
        .wrapped = record->wrapped,
    };
}

/* Terms are not in a record: they follow from the attributes. */
static enum status insert(struct request *request, struct object *object,
                          const struct record_left *where)
{
    struct store_change change = {.kind = STORE_RESTORE,
                                  .row = object->row,
                                  .record = &where->record,
                                  .record_key_manager = where->key_manager};
    enum status status = object_decode(object, &request->arena);
    if (status == STATUS_OK)
        status = attributes_terms(request, object, &change.terms, &change.term_count);
    return status == STATUS_OK ? store_commit(request->core->store, &change, 1) : status;
}

enum status core_record_restore(struct core *core, struct store_session *store,
                                const struct adapter_row *adapter, const struct core_record *record,
                                const struct record_left *where)
{
    struct request request;
    uint8_t reply[64]; /* unused: there is no message to answer */
    const struct core_session session = {.adapter = adapter->id, .adapter_uuid = adapter->uuid};
    if (!uuid_equal(&adapter->uuid, &record->adapter))
        return STATUS_INVALID_ARGUMENT;
    struct object object = {.row = row_of(adapter, record)};
    uuid_text(&object.row.id, object.identifier);
    request_init(&request, core, reply, sizeof(reply));
    request.session = &session;
    request.store = store;
    request.version = KMIP_VERSION_1_4;
    request.now = clock_now(core->clock);
    enum status status = insert(&request, &object, where);
    request_free(&request);
    return status;
}
