/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/blob.h"

#include <endian.h>

static const uint8_t magic[4] = {'K', 'W', 'K', 1};

/* What is authenticated: a domain, which keeps these apart from everything else that may ever be
 * sealed under a root key, and the header. */
#define DOMAIN      "kmipd wrapped key"
#define DOMAIN_SIZE (sizeof(DOMAIN) - 1)

struct header {
    uint8_t magic[sizeof(magic)];
    uint32_t version; /* big-endian */
    struct uuid root_key;
    struct uuid adapter;
    struct uuid object;
};
_Static_assert(sizeof(struct header) == BLOB_HEADER_SIZE, "the header has no padding");
_Static_assert(BLOB_OVERHEAD <= WRAPPED_OVERHEAD_MAX, "as promised in crypto/wrapped.h");

struct associated {
    uint8_t bytes[DOMAIN_SIZE + BLOB_HEADER_SIZE];
};

static struct associated associated_with(const void *header)
{
    struct associated associated;
    memcpy(associated.bytes, DOMAIN, DOMAIN_SIZE);
    memcpy(associated.bytes + DOMAIN_SIZE, header, BLOB_HEADER_SIZE);
    return associated;
}

static struct header header_of(const struct wrap_binding *binding, uint32_t version)
{
    struct header header = {
        .version = htobe32(version),
        .root_key = binding->root_key,
        .adapter = binding->adapter,
        .object = binding->object,
    };
    memcpy(header.magic, magic, sizeof(magic));
    return header;
}

enum status blob_seal(const struct aead_key *key, uint32_t version,
                      const struct wrap_binding *binding, const struct secret *plaintext,
                      struct buffer *ret_blob)
{
    uint8_t *to = buffer_reserve(ret_blob, plaintext->size + BLOB_OVERHEAD);
    if (to == NULL)
        return buffer_status(ret_blob);
    struct header header = header_of(binding, version);
    struct associated associated = associated_with(&header);
    memcpy(to, &header, sizeof(header));
    enum status status = aead_seal(key, bytes_of(associated.bytes, sizeof(associated.bytes)),
                                   secret_bytes(plaintext), to + BLOB_HEADER_SIZE);
    return status == STATUS_CRYPTO_FAILED ? STATUS_WRAP_FAILED : status;
}

enum status blob_version(struct bytes blob, const struct wrap_binding *binding,
                         uint32_t *ret_version)
{
    struct header header;
    if (blob.size < BLOB_OVERHEAD)
        return STATUS_UNWRAP_FAILED;
    memcpy(&header, blob.data, sizeof(header));
    uint32_t version = be32toh(header.version);
    struct header expected = header_of(binding, version);
    if (memcmp(&header, &expected, sizeof(header)) != 0 || version == 0)
        return STATUS_UNWRAP_FAILED;
    *ret_version = version;
    return STATUS_OK;
}

enum status blob_origin(struct bytes blob, uint32_t *ret_version, struct wrap_binding *ret_binding)
{
    struct header header;
    if (blob.size < BLOB_OVERHEAD)
        return STATUS_UNWRAP_FAILED;
    memcpy(&header, blob.data, sizeof(header));
    struct wrap_binding binding = {header.object, header.adapter, header.root_key};
    enum status status = blob_version(blob, &binding, ret_version);
    if (status == STATUS_OK)
        *ret_binding = binding;
    return status;
}

enum status blob_open(const struct aead_key *key, struct bytes blob, struct secret *ret_plaintext)
{
    if (blob.size < BLOB_OVERHEAD)
        return STATUS_UNWRAP_FAILED;
    struct secret plaintext;
    enum status status = secret_allocate(&plaintext, blob.size - BLOB_OVERHEAD);
    if (status != STATUS_OK)
        return status;
    struct associated associated = associated_with(blob.data);
    status = aead_open(key, bytes_of(associated.bytes, sizeof(associated.bytes)),
                       bytes_of(blob.data + BLOB_HEADER_SIZE, blob.size - BLOB_HEADER_SIZE),
                       plaintext.data);
    if (status == STATUS_OK)
        *ret_plaintext = secret_take(&plaintext);
    secret_free(&plaintext);
    return status == STATUS_CRYPTO_FAILED ? STATUS_UNWRAP_FAILED : status;
}
