/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/sealed_format.h"

#include <endian.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "keymanager/sealing.h"

/* What is written. Format 1, which knew neither imported nor deleted root keys, is still read. */
#define FORMAT_VERSION 2

#define ENCRYPTION_KEY(keys) bytes_of((keys)->data, AEAD_KEY_SIZE)
#define CHECK_VALUE(keys)    bytes_of((keys)->data + AEAD_KEY_SIZE, SEALED_CHECK_SIZE)
#define DERIVED_SIZE         (AEAD_KEY_SIZE + SEALED_CHECK_SIZE)
#define SCRYPT_MEMORY_MAX    ((size_t)1 << 30)

static const uint8_t magic[8] = {'k', 'm', 'i', 'p', 'd', 's', 'f', 0};

/* RFC 7914 §2; 128 MiB and half a second. */
static const struct scrypt_cost passphrase_cost = {.log2_n = 17, .r = 8, .p = 1};

/* As it stands in the file; numbers big-endian. */
struct wire_header {
    uint8_t magic[sizeof(magic)];
    uint16_t format;
    uint8_t method;
    uint8_t log2_n;
    uint16_t r;
    uint16_t p;
    uint8_t salt[SEALED_SALT_SIZE];
    uint64_t generation;
    uint8_t check[SEALED_CHECK_SIZE];
};
_Static_assert(sizeof(struct wire_header) == 88, "the header has no padding");

#define FILE_OVERHEAD (sizeof(struct wire_header) + AEAD_OVERHEAD + SHA256_SIZE)

/* ---- Header and keys ---- */

enum status sealed_header_make(unsigned method, struct sealed_header *ret_header)
{
    struct sealed_header header = {.method = (uint8_t)method};
    if (method == SEALING_PASSPHRASE)
        header.cost = passphrase_cost;
    if (RAND_bytes(header.salt, sizeof(header.salt)) != 1)
        return STATUS_CRYPTO_FAILED;
    *ret_header = header;
    return STATUS_OK;
}

static enum status expand(const struct sealed_header *header, struct bytes material,
                          uint8_t ret_keys[static DERIVED_SIZE])
{
    return kdf_hkdf(material, bytes_of(header->salt, SEALED_SALT_SIZE),
                    BYTES_LITERAL("kmipd sealed file"), ret_keys, DERIVED_SIZE);
}

static enum status stretch(const struct sealed_header *header, struct bytes passphrase,
                           uint8_t ret_keys[static DERIVED_SIZE])
{
    struct secret stretched;
    enum status status = secret_allocate(&stretched, AEAD_KEY_SIZE);
    if (status != STATUS_OK)
        return status;
    status = kdf_scrypt(passphrase, bytes_of(header->salt, SEALED_SALT_SIZE), &header->cost,
                        stretched.data, stretched.size);
    if (status == STATUS_OK)
        status = expand(header, secret_bytes(&stretched), ret_keys);
    secret_free(&stretched);
    return status;
}

enum status sealed_keys_derive(const struct sealed_header *header, struct bytes material,
                               struct secret *ret_keys)
{
    struct secret keys;
    enum status status = secret_allocate(&keys, DERIVED_SIZE);
    if (status != STATUS_OK)
        return status;
    status = header->method == SEALING_PASSPHRASE ? stretch(header, material, keys.data)
                                                  : expand(header, material, keys.data);
    if (status == STATUS_OK)
        *ret_keys = secret_take(&keys);
    secret_free(&keys);
    return status;
}

static struct wire_header wire_of(const struct sealed_header *header, const struct secret *keys)
{
    struct wire_header wire = {
        .format = htobe16(FORMAT_VERSION),
        .method = header->method,
        .log2_n = header->cost.log2_n,
        .r = htobe16(header->cost.r),
        .p = htobe16(header->cost.p),
        .generation = htobe64(header->generation),
    };
    memcpy(wire.magic, magic, sizeof(magic));
    memcpy(wire.salt, header->salt, sizeof(wire.salt));
    memcpy(wire.check, CHECK_VALUE(keys).data, sizeof(wire.check));
    return wire;
}

/* ---- Root keys to bytes ---- */

static void put32(struct buffer *buffer, uint32_t value)
{
    value = htobe32(value);
    buffer_append(buffer, &value, sizeof(value));
}

static void put64(struct buffer *buffer, uint64_t value)
{
    value = htobe64(value);
    buffer_append(buffer, &value, sizeof(value));
}

#define SET_SIZE     4
#define KEY_SIZE     (UUID_SIZE + 4 + 4 + 3 * 8 + 4 + 4)
#define VERSION_SIZE (4 + 8 + AEAD_KEY_SIZE)

#define FLAG_IMPORTED 1u

static void put_root_key(struct buffer *payload, const struct root_key *root_key)
{
    buffer_append_bytes(payload, uuid_bytes(&root_key->id));
    put32(payload, root_key->state);
    put32(payload, root_key->imported ? FLAG_IMPORTED : 0);
    put64(payload, (uint64_t)root_key->created);
    put64(payload, (uint64_t)root_key->rotated);
    put64(payload, (uint64_t)root_key->deleted);
    put32(payload, root_key->newest);
    put32(payload, (uint32_t)root_key->version_count);
    for (size_t i = 0; i < root_key->version_count; i++) {
        const struct root_key_version *version = &root_key->versions[i];
        put32(payload, version->number);
        put64(payload, (uint64_t)version->created);
        buffer_append_bytes(payload, secret_bytes(&version->key));
    }
}

/* The root keys of a file in their order: those of the set, and the changed one where it belongs. */
struct walk {
    const struct root_keys *set;
    const struct root_key *changed; /* NULL once it was given */
    size_t next;
};

static const struct root_key *walk_next(struct walk *walk)
{
    const struct root_key *held =
        walk->next < walk->set->count ? walk->set->keys[walk->next] : NULL;
    const struct root_key *changed = walk->changed;
    int order = held == NULL      ? 1
                : changed == NULL ? -1
                                  : memcmp(held->id.bytes, changed->id.bytes, UUID_SIZE);
    if (order <= 0)
        walk->next++;
    if (order >= 0)
        walk->changed = NULL;
    return order < 0 ? held : changed;
}

static size_t payload_size(const struct root_keys *set, const struct root_key *changed,
                           uint32_t *ret_count)
{
    size_t size = SET_SIZE;
    uint32_t count = 0;
    struct walk walk = {set, changed, 0};
    for (const struct root_key *key; (key = walk_next(&walk)) != NULL; count++)
        size += KEY_SIZE + key->version_count * VERSION_SIZE;
    *ret_count = count;
    return size;
}

static enum status seal_payload(const struct secret *keys, struct bytes associated,
                                struct bytes payload, struct buffer *ret_file)
{
    struct aead_key *key;
    enum status status = aead_key_open(ENCRYPTION_KEY(keys), &key);
    if (status != STATUS_OK)
        return status;
    uint8_t *to = buffer_reserve(ret_file, payload.size + AEAD_OVERHEAD);
    status = to == NULL ? buffer_status(ret_file) : aead_seal(key, associated, payload, to);
    aead_key_close(key);
    return status;
}

static enum status append_digest(struct buffer *file)
{
    uint8_t digest[SHA256_SIZE];
    enum status status = digest_sha256(buffer_bytes(file), digest);
    if (status != STATUS_OK)
        return status;
    buffer_append(file, digest, sizeof(digest));
    return buffer_status(file);
}

enum status sealed_encode(const struct sealed_header *header, const struct secret *keys,
                          const struct root_keys *set, const struct root_key *changed,
                          struct buffer *ret_file, struct error *error)
{
    uint32_t count;
    size_t size = payload_size(set, changed, &count);
    void *memory = locked_allocate(size);
    if (memory == NULL)
        return error_set(error, STATUS_NO_MEMORY, "cannot lock %zu bytes of memory", size);
    struct buffer payload;
    buffer_over(&payload, memory, size);
    put32(&payload, count);
    struct walk walk = {set, changed, 0};
    for (const struct root_key *key; (key = walk_next(&walk)) != NULL;)
        put_root_key(&payload, key);
    struct wire_header wire = wire_of(header, keys);
    buffer_append(ret_file, &wire, sizeof(wire));
    enum status status = buffer_status(&payload);
    if (status == STATUS_OK)
        status =
            seal_payload(keys, bytes_of(&wire, sizeof(wire)), buffer_bytes(&payload), ret_file);
    if (status == STATUS_OK)
        status = append_digest(ret_file);
    locked_free(memory, size);
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(error, status, "cannot seal the root keys: %s", status_text(status));
}

/* ---- Bytes to root keys ---- */

static enum status damaged(struct error *error, const char *path, const char *what)
{
    return error_set(error, STATUS_STORE_CORRUPT,
                     "the sealed file %s is damaged (%s): restore it from a backup, or from "
                     "%s.previous",
                     path, what, path);
}

static bool method_fits(const struct sealed_header *header)
{
    if (header->method == SEALING_PASSPHRASE)
        return scrypt_cost_allowed(&header->cost, SCRYPT_MEMORY_MAX);
    return header->method >= SEALING_KEY_FILE && header->method <= SEALING_TPM &&
           (header->cost.log2_n | header->cost.r | header->cost.p) == 0;
}

enum status sealed_header_read(struct bytes file, const char *path,
                               struct sealed_header *ret_header, struct error *error)
{
    struct wire_header wire;
    uint8_t digest[SHA256_SIZE];
    if (file.size < sizeof(wire) || memcmp(file.data, magic, sizeof(magic)) != 0)
        return damaged(error, path, "it does not begin as a sealed file");
    memcpy(&wire, file.data, sizeof(wire));
    if (be16toh(wire.format) > FORMAT_VERSION)
        return error_set(error, STATUS_STORE_NEWER,
                         "the sealed file %s has format %u: a newer version of this program wrote "
                         "it",
                         path, be16toh(wire.format));
    if (wire.format == 0 || file.size < FILE_OVERHEAD)
        return damaged(error, path, "its beginning is not whole");
    enum status status = digest_sha256(bytes_of(file.data, file.size - SHA256_SIZE), digest);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot check %s: %s", path, status_text(status));
    if (memcmp(digest, sealed_digest(file), SHA256_SIZE) != 0)
        return damaged(error, path, "its checksum does not fit");
    struct sealed_header header = {
        .method = wire.method,
        .cost = {wire.log2_n, be16toh(wire.r), be16toh(wire.p)},
        .generation = be64toh(wire.generation),
    };
    memcpy(header.salt, wire.salt, sizeof(header.salt));
    if (!method_fits(&header))
        return damaged(error, path, "its way of sealing is unknown or takes too much memory");
    *ret_header = header;
    return STATUS_OK;
}

/* A cursor that fails once and for all when it is asked for more than there is. */
struct cursor {
    struct bytes left;
    bool failed;
};

static const uint8_t *get(struct cursor *cursor, size_t size)
{
    static const uint8_t zeros[AEAD_KEY_SIZE];
    cursor->failed = cursor->failed || size > cursor->left.size;
    if (cursor->failed)
        return zeros;
    const uint8_t *place = cursor->left.data;
    cursor->left = bytes_of(place + size, cursor->left.size - size);
    return place;
}

static uint32_t get32(struct cursor *cursor)
{
    uint32_t value;
    memcpy(&value, get(cursor, sizeof(value)), sizeof(value));
    return be32toh(value);
}

static uint64_t get64(struct cursor *cursor)
{
    uint64_t value;
    memcpy(&value, get(cursor, sizeof(value)), sizeof(value));
    return be64toh(value);
}

static enum status get_version(struct cursor *cursor, struct root_key *root_key)
{
    uint32_t number = get32(cursor);
    int64_t created = (int64_t)get64(cursor);
    const uint8_t *bytes = get(cursor, AEAD_KEY_SIZE);
    struct secret key;
    if (cursor->failed)
        return STATUS_STORE_CORRUPT;
    enum status status = secret_copy(&key, bytes_of(bytes, AEAD_KEY_SIZE));
    if (status != STATUS_OK)
        return status;
    status = root_key_add_version(root_key, number, created, &key);
    return status == STATUS_INVALID_ARGUMENT ? STATUS_STORE_CORRUPT : status;
}

/* A root key without its versions, and how many follow. */
static struct root_key get_head(struct cursor *cursor, uint32_t *ret_version_count)
{
    struct root_key head = {0};
    memcpy(head.id.bytes, get(cursor, UUID_SIZE), UUID_SIZE);
    head.state = (enum root_key_state)get32(cursor);
    uint32_t flags = get32(cursor);
    head.imported = flags == FLAG_IMPORTED;
    cursor->failed = cursor->failed || (flags & ~FLAG_IMPORTED) != 0;
    head.created = (int64_t)get64(cursor);
    head.rotated = (int64_t)get64(cursor);
    head.deleted = (int64_t)get64(cursor);
    head.newest = get32(cursor);
    *ret_version_count = get32(cursor);
    cursor->failed = cursor->failed || (head.newest == 0 && *ret_version_count > 0);
    return head;
}

static struct root_key get_head_1(struct cursor *cursor, uint32_t *ret_version_count)
{
    struct root_key head = {0};
    memcpy(head.id.bytes, get(cursor, UUID_SIZE), UUID_SIZE);
    head.state = (enum root_key_state)get32(cursor);
    head.created = (int64_t)get64(cursor);
    *ret_version_count = get32(cursor);
    return head;
}

static bool head_fits(const struct root_key *head, uint32_t version_count)
{
    if (head->state == ROOT_KEY_DESTROYED)
        return true;
    return (head->state == ROOT_KEY_ACTIVE || head->state == ROOT_KEY_SUSPENDED) &&
           version_count > 0 && head->deleted == 0;
}

static enum status get_versions(struct cursor *cursor, uint32_t count, struct root_key *root_key)
{
    uint32_t newest = root_key->newest;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++)
        status = get_version(cursor, root_key);
    if (status == STATUS_OK && count > 0 && newest != 0 && newest != root_key->newest)
        status = STATUS_STORE_CORRUPT;
    return status;
}

static enum status get_root_key(struct cursor *cursor, unsigned format,
                                struct root_key **ret_root_key)
{
    uint32_t count;
    struct root_key head = format == 1 ? get_head_1(cursor, &count) : get_head(cursor, &count);
    if (cursor->failed || !head_fits(&head, count))
        return STATUS_STORE_CORRUPT;
    struct root_key *root_key = root_key_new(&head.id, head.created);
    if (root_key == NULL)
        return STATUS_NO_MEMORY;
    *root_key = head;
    enum status status = get_versions(cursor, count, root_key);
    if (status == STATUS_OK && format == 1 && count > 1)
        root_key->rotated = root_key->versions[count - 1].created;
    if (status == STATUS_OK)
        *ret_root_key = root_key;
    else
        root_key_free(root_key);
    return status;
}

static enum status get_root_keys(struct bytes payload, unsigned format, struct root_keys *set)
{
    struct cursor cursor = {payload, false};
    uint32_t count = get32(&cursor);
    for (uint32_t i = 0; i < count; i++) {
        struct root_key *root_key;
        enum status status = get_root_key(&cursor, format, &root_key);
        if (status != STATUS_OK)
            return status;
        bool ascending = set->count == 0 || memcmp(set->keys[set->count - 1]->id.bytes,
                                                   root_key->id.bytes, UUID_SIZE) < 0;
        status = ascending ? root_keys_put(set, root_key) : STATUS_STORE_CORRUPT;
        if (status != STATUS_OK) {
            root_key_free(root_key);
            return status;
        }
    }
    return cursor.failed || cursor.left.size > 0 ? STATUS_STORE_CORRUPT : STATUS_OK;
}

static enum status open_payload(struct bytes file, const struct secret *keys, struct bytes payload,
                                uint8_t *to)
{
    struct aead_key *key;
    enum status status = aead_key_open(ENCRYPTION_KEY(keys), &key);
    if (status != STATUS_OK)
        return status;
    status = aead_open(key, bytes_of(file.data, sizeof(struct wire_header)), payload, to);
    aead_key_close(key);
    return status == STATUS_CRYPTO_FAILED ? STATUS_STORE_CORRUPT : status;
}

static bool check_fits(struct bytes file, const struct secret *keys)
{
    return CRYPTO_memcmp(file.data + offsetof(struct wire_header, check), CHECK_VALUE(keys).data,
                         SEALED_CHECK_SIZE) == 0;
}

static unsigned format_of(struct bytes file)
{
    struct wire_header wire;
    memcpy(&wire, file.data, sizeof(wire));
    return be16toh(wire.format);
}

enum status sealed_decode(struct bytes file, const char *path, const struct secret *keys,
                          struct root_keys *ret_set, struct error *error)
{
    if (!check_fits(file, keys))
        return error_set(error, STATUS_NOT_AUTHENTICATED,
                         "the sealed file %s does not open: it was sealed with another %s", path,
                         sealing_method_text(file.data[offsetof(struct wire_header, method)]));
    struct bytes payload = bytes_of(file.data + sizeof(struct wire_header),
                                    file.size - sizeof(struct wire_header) - SHA256_SIZE);
    size_t size = payload.size - AEAD_OVERHEAD;
    uint8_t *memory = locked_allocate(size > 0 ? size : 1);
    if (memory == NULL)
        return error_set(error, STATUS_NO_MEMORY, "cannot lock %zu bytes of memory", size);
    enum status status = open_payload(file, keys, payload, memory);
    if (status == STATUS_OK)
        status = get_root_keys(bytes_of(memory, size), format_of(file), ret_set);
    locked_free(memory, size > 0 ? size : 1);
    if (status == STATUS_STORE_CORRUPT)
        return damaged(error, path, "its content was changed");
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(error, status, "cannot open %s: %s", path, status_text(status));
}
