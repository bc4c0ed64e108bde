/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/envelope.h"

#include <endian.h>

#include "crypto/aead.h"

static const uint8_t magic[4] = {'K', 'W', 'K', 2};

/* What is authenticated: a domain, which keeps these apart from everything else that may ever be
 * sealed under an envelope key, and what the blob belongs to. */
#define DOMAIN      "kmipd wrapped key envelope"
#define DOMAIN_SIZE (sizeof(DOMAIN) - 1)

/* The first 64 bytes of a blob, big-endian; the wrapped key and the sealed material follow. */
struct header {
    uint8_t magic[sizeof(magic)];
    uint8_t code;
    uint8_t zero;
    uint16_t wrapped_size;
    uint32_t version;
    uint32_t reserved;
    struct uuid root_key;
    struct uuid adapter;
    struct uuid object;
};
_Static_assert(sizeof(struct header) == 64, "the header has no padding");
_Static_assert(sizeof(struct header) + ENVELOPE_WRAPPED_MAX + AEAD_OVERHEAD <= WRAPPED_OVERHEAD_MAX,
               "as promised in crypto/wrapped.h");

/* The material stays as it is when its key is wrapped anew, so its tag covers what stays too. What
 * changes then (version, wrapped key) needs none: another envelope key opens nothing. */
struct associated {
    uint8_t bytes[DOMAIN_SIZE + 1 + 3 * sizeof(struct uuid)];
};

static struct associated associated_with(const struct header *header)
{
    struct associated associated;
    uint8_t *to = associated.bytes;
    memcpy(to, DOMAIN, DOMAIN_SIZE);
    to += DOMAIN_SIZE;
    *to++ = header->code;
    memcpy(to, &header->root_key, 3 * sizeof(struct uuid));
    return associated;
}

static struct header header_of(const struct envelope *envelope)
{
    struct header header = {
        .code = (uint8_t)envelope->code,
        .wrapped_size = htobe16((uint16_t)envelope->wrapped_key.size),
        .version = htobe32(envelope->version),
        .root_key = envelope->binding.root_key,
        .adapter = envelope->binding.adapter,
        .object = envelope->binding.object,
    };
    memcpy(header.magic, magic, sizeof(magic));
    return header;
}

enum status envelope_key_make(struct secret *ret_key)
{
    return secret_random(ret_key, ENVELOPE_KEY_SIZE);
}

enum status envelope_seal(const struct envelope *envelope, const struct secret *key,
                          const struct secret *plaintext, struct buffer *ret_blob)
{
    struct aead_key *aead = NULL;
    size_t wrapped_size = envelope->wrapped_key.size;
    if (wrapped_size == 0 || wrapped_size > ENVELOPE_WRAPPED_MAX)
        return STATUS_WRAP_FAILED;
    struct header header = header_of(envelope);
    struct associated associated = associated_with(&header);
    uint8_t *to = buffer_reserve(ret_blob, sizeof(header) + wrapped_size + plaintext->size +
                                               AEAD_OVERHEAD);
    if (to == NULL)
        return buffer_status(ret_blob);
    memcpy(to, &header, sizeof(header));
    memcpy(to + sizeof(header), envelope->wrapped_key.data, wrapped_size);
    enum status status = aead_key_open(secret_bytes(key), &aead);
    if (status == STATUS_OK)
        status = aead_seal(aead, bytes_of(associated.bytes, sizeof(associated.bytes)),
                           secret_bytes(plaintext), to + sizeof(header) + wrapped_size);
    aead_key_close(aead);
    return status == STATUS_CRYPTO_FAILED ? STATUS_WRAP_FAILED : status;
}

static size_t sealed_offset(const struct header *header)
{
    return sizeof(*header) + be16toh(header->wrapped_size);
}

static enum status read_header(struct bytes blob, struct header *ret_header)
{
    if (blob.size < sizeof(*ret_header))
        return STATUS_UNWRAP_FAILED;
    memcpy(ret_header, blob.data, sizeof(*ret_header));
    bool good = memcmp(ret_header->magic, magic, sizeof(magic)) == 0 && ret_header->zero == 0 &&
                ret_header->reserved == 0 && ret_header->wrapped_size != 0 &&
                be16toh(ret_header->wrapped_size) <= ENVELOPE_WRAPPED_MAX &&
                blob.size >= sealed_offset(ret_header) + AEAD_OVERHEAD;
    return good ? STATUS_OK : STATUS_UNWRAP_FAILED;
}

static bool same_binding(const struct header *header, const struct wrap_binding *binding)
{
    return uuid_equal(&header->object, &binding->object) &&
           uuid_equal(&header->adapter, &binding->adapter) &&
           uuid_equal(&header->root_key, &binding->root_key);
}

enum status envelope_read(struct bytes blob, const struct wrap_binding *expected,
                          struct envelope *ret_envelope)
{
    struct header header;
    enum status status = read_header(blob, &header);
    if (status != STATUS_OK)
        return status;
    if (expected != NULL && !same_binding(&header, expected))
        return STATUS_UNWRAP_FAILED;
    *ret_envelope = (struct envelope){
        .code = header.code,
        .version = be32toh(header.version),
        .binding = {header.object, header.adapter, header.root_key},
        .wrapped_key = bytes_of(blob.data + sizeof(header), be16toh(header.wrapped_size)),
    };
    return STATUS_OK;
}

static enum status open_sealed(struct bytes blob, const struct header *header,
                               const struct secret *key, uint8_t *plaintext)
{
    struct aead_key *aead = NULL;
    struct associated associated = associated_with(header);
    size_t offset = sealed_offset(header);
    enum status status = aead_key_open(secret_bytes(key), &aead);
    if (status == STATUS_OK)
        status = aead_open(aead, bytes_of(associated.bytes, sizeof(associated.bytes)),
                           bytes_of(blob.data + offset, blob.size - offset), plaintext);
    aead_key_close(aead);
    /* A key manager that answers with a key of another size is wrong, whoever is to blame. */
    return status == STATUS_CRYPTO_FAILED || status == STATUS_INVALID_ARGUMENT
               ? STATUS_UNWRAP_FAILED
               : status;
}

enum status envelope_open(struct bytes blob, const struct secret *key, struct secret *ret_plaintext)
{
    struct header header;
    struct secret plaintext = {0};
    enum status status = read_header(blob, &header);
    if (status != STATUS_OK)
        return status;
    status = secret_allocate(&plaintext, blob.size - sealed_offset(&header) - AEAD_OVERHEAD);
    if (status == STATUS_OK)
        status = open_sealed(blob, &header, key, plaintext.data);
    if (status == STATUS_OK)
        *ret_plaintext = secret_take(&plaintext);
    secret_free(&plaintext);
    return status;
}

enum status envelope_rewrap(struct bytes blob, uint32_t version, struct bytes wrapped_key,
                            struct buffer *ret_blob)
{
    struct header header;
    enum status status = read_header(blob, &header);
    if (status != STATUS_OK)
        return status;
    if (wrapped_key.size == 0 || wrapped_key.size > ENVELOPE_WRAPPED_MAX)
        return STATUS_WRAP_FAILED;
    size_t offset = sealed_offset(&header);
    header.version = htobe32(version);
    header.wrapped_size = htobe16((uint16_t)wrapped_key.size);
    buffer_append(ret_blob, &header, sizeof(header));
    buffer_append_bytes(ret_blob, wrapped_key);
    buffer_append(ret_blob, blob.data + offset, blob.size - offset);
    return buffer_status(ret_blob);
}
