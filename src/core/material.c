/* SPDX-License-Identifier: Apache-2.0 */
#include "core/material.h"

#include <endian.h>

#include "core/lifecycle.h"
#include "core/match.h"
#include "core/structures.h"
#include "crypto/digest.h"

/* The symmetric algorithms and HMACs of KMIP 1.4 §9.1.3.2.13, and their key lengths in bits. */
static const struct algorithm {
    uint32_t algorithm;
    uint16_t smallest, largest, step;
    uint16_t usual;
    bool parity; /* one bit in eight is parity and not counted (DES) */
} algorithms[] = {
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_DES, 56, 56, 56, 56, true},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_3DES, 112, 168, 56, 168, true},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 128, 256, 64, 256, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA1, 8, 4096, 8, 160, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA224, 8, 4096, 8, 224, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA256, 8, 4096, 8, 256, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA384, 8, 4096, 8, 384, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA512, 8, 4096, 8, 512, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_MD5, 8, 4096, 8, 128, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_RC2, 40, 1024, 8, 128, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_RC4, 40, 2048, 8, 128, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_RC5, 40, 2040, 8, 128, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_BLOWFISH, 32, 448, 8, 128, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_CAMELLIA, 128, 256, 64, 256, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_CAST5, 40, 128, 8, 128, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_IDEA, 128, 128, 128, 128, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_MARS, 128, 448, 32, 256, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_SKIPJACK, 80, 80, 80, 80, false},
    {KMIP_CRYPTOGRAPHIC_ALGORITHM_TWOFISH, 128, 256, 64, 256, false},
};

static const struct algorithm *find(uint32_t algorithm)
{
    for (size_t i = 0; i < ARRAY_COUNT(algorithms); i++)
        if (algorithms[i].algorithm == algorithm)
            return &algorithms[i];
    return NULL;
}

/* DES lengths are also counted with their parity bits: 64, 128, 192. */
static int64_t without_parity(const struct algorithm *algorithm, int64_t bits)
{
    return algorithm->parity && bits % 64 == 0 ? bits / 8 * 7 : bits;
}

bool material_length_valid(uint32_t algorithm, int64_t bits)
{
    const struct algorithm *found = find(algorithm);
    if (found == NULL)
        return false;
    bits = without_parity(found, bits);
    return bits >= found->smallest && bits <= found->largest &&
           (bits - found->smallest) % found->step == 0;
}

size_t material_bytes(uint32_t algorithm, int64_t bits)
{
    const struct algorithm *found = find(algorithm);
    if (found != NULL && found->parity)
        return (size_t)(without_parity(found, bits) / 7);
    return (size_t)((bits + 7) / 8);
}

int64_t material_bits(uint32_t algorithm, size_t bytes)
{
    const struct algorithm *found = find(algorithm);
    return found != NULL && found->parity ? (int64_t)bytes * 7 : (int64_t)bytes * 8;
}

int64_t material_default_bits(uint32_t algorithm)
{
    const struct algorithm *found = find(algorithm);
    return found != NULL ? found->usual : 0;
}

/*
 * The material of a Transparent Symmetric Key is a structure, and digested as its TTLV encoding: a
 * Key Material that holds a Key (§3.17, §2.1.7.1). Piece by piece, so that the key is not copied.
 */
static enum status digest_transparent(struct bytes key, uint8_t ret_hash[static SHA256_SIZE])
{
    static const uint8_t zeros[8];
    size_t padding = -key.size & 7;
    const uint32_t headers[] = {
        htobe32((uint32_t)KMIP_TAG_KEY_MATERIAL << 8 | TTLV_STRUCTURE),
        htobe32((uint32_t)(TTLV_HEADER_SIZE + key.size + padding)),
        htobe32((uint32_t)KMIP_TAG_KEY << 8 | TTLV_BYTE_STRING),
        htobe32((uint32_t)key.size),
    };
    const struct bytes pieces[] = {bytes_of(headers, sizeof(headers)), key,
                                   bytes_of(zeros, padding)};
    return digest_sha256_pieces(pieces, ARRAY_COUNT(pieces), ret_hash);
}

/* §3.17: SHA-256 over the material as it is returned in its own format. */
static enum status set_digest(struct request *request, struct object *object,
                              const struct secret *material)
{
    uint8_t hash[SHA256_SIZE];
    int64_t format = KMIP_KEY_FORMAT_TYPE_RAW;
    (void)object_item_number(object, KMIP_TAG_KEY_FORMAT_TYPE, &format);
    enum status status = format == KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY
                             ? digest_transparent(secret_bytes(material), hash)
                             : digest_sha256(secret_bytes(material), hash);
    if (status != STATUS_OK)
        return status;
    struct structure_digest digest = {
        .hashing_algorithm = kmip_number(KMIP_HASHING_ALGORITHM_SHA_256),
        .value = bytes_of(hash, sizeof(hash)),
    };
    if (object->row.object_type != KMIP_OBJECT_TYPE_OPAQUE_OBJECT)
        digest.key_format_type = kmip_number(format);
    return object_set(object, &request->arena, KMIP_ATTRIBUTE_DIGEST,
                      value_structure(&request->arena, &structure_digest_shape, &digest));
}

/* §3.44. OpenSSL's generator is CTR_DRBG with AES-256 (SP 800-90A). A client that asks for a
 * generator gets this one or no key. */
static enum status set_generator(struct request *request, struct object *object)
{
    const struct kmip_rng_parameters generator = {
        .algorithm = kmip_number(KMIP_RNG_ALGORITHM_DRBG),
        .cryptographic_algorithm = kmip_number(KMIP_CRYPTOGRAPHIC_ALGORITHM_AES),
        .cryptographic_length = kmip_number(256),
        .drbg_algorithm = kmip_number(KMIP_DRBG_ALGORITHM_CTR),
    };
    const struct kmip_any ours =
        value_structure(&request->arena, &kmip_rng_parameters_shape, &generator);
    const struct attribute *wanted = object_find(object, KMIP_ATTRIBUTE_RANDOM_NUMBER_GENERATOR, 0);
    if (wanted != NULL && ours.type != 0 && !match_structure(&ours, &wanted->value))
        return STATUS_INVALID_FIELD;
    return object_set(object, &request->arena, KMIP_ATTRIBUTE_RANDOM_NUMBER_GENERATOR, ours);
}

/* What a client registers may be older than its registration: it may say so, now or later
 * (§3.43). */
static enum status set_dates(struct request *request, struct object *object, bool created)
{
    struct kmip_any now = value_date_time(&request->arena, request_seconds(request));
    static const enum kmip_attribute dates[] = {KMIP_ATTRIBUTE_INITIAL_DATE,
                                                KMIP_ATTRIBUTE_LAST_CHANGE_DATE,
                                                KMIP_ATTRIBUTE_ORIGINAL_CREATION_DATE};
    size_t count = ARRAY_COUNT(dates) - !created;
    for (size_t i = 0; i < count; i++) {
        enum status status = object_set(object, &request->arena, dates[i], now);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* §3.49, §3.51: what an object is from the first, it has always been. */
static enum status set_history(struct request *request, struct object *object)
{
    int64_t flag;
    enum status status = STATUS_OK;
    if (object_number(object, KMIP_ATTRIBUTE_SENSITIVE, &flag) && flag != 0)
        status = object_set(object, &request->arena, KMIP_ATTRIBUTE_ALWAYS_SENSITIVE,
                            value_boolean(&request->arena, true));
    if (status == STATUS_OK && object_number(object, KMIP_ATTRIBUTE_EXTRACTABLE, &flag) &&
        flag == 0)
        status = object_set(object, &request->arena, KMIP_ATTRIBUTE_NEVER_EXTRACTABLE,
                            value_boolean(&request->arena, true));
    return status;
}

static enum status set_fresh(struct request *request, struct object *object)
{
    if (!lifecycle_has_state(object->row.object_type) ||
        object_find(object, KMIP_ATTRIBUTE_FRESH, 0) != NULL)
        return STATUS_OK;
    return object_set(object, &request->arena, KMIP_ATTRIBUTE_FRESH,
                      value_boolean(&request->arena, true));
}

enum status material_describe(struct request *request, struct object *object,
                              const struct secret *material, bool created)
{
    enum status status = set_dates(request, object, created);
    if (status == STATUS_OK)
        status = set_history(request, object);
    if (status == STATUS_OK)
        status = set_digest(request, object, material);
    if (status == STATUS_OK)
        status = set_fresh(request, object);
    if (status == STATUS_OK && created)
        status = set_generator(request, object);
    if (status == STATUS_OK)
        lifecycle_advance(object, request_seconds(request));
    return status;
}

enum status material_complete(struct request *request, struct object *object,
                              const struct secret *material, bool created)
{
    enum status status = attributes_check_dates(object);
    if (status == STATUS_OK)
        status = material_describe(request, object, material, created);
    if (status == STATUS_OK)
        status = attributes_check_names(request, object, NULL);
    return status == STATUS_OK ? request_wrap(request, object, material) : status;
}
