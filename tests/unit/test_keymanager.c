/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hex.h"
#include "keymanager/blob.h"
#include "keymanager/memory.h"
#include "keymanager/sealed_file.h"
#include "keymanager/sealed_format.h"

#define NOW INT64_C(1700000000000)

/* ---- A directory for each test ---- */

struct fixture {
    char directory[64];
    char path[96];     /* of the sealed file */
    char key_path[96]; /* of the key file */
    struct sealing by_key;
    struct secret passphrase;
    struct sealing by_passphrase;
};

static int group_set_up(void **state)
{
    (void)state;
    struct error error;
    return secret_heap_init(1 << 22, &error) == STATUS_OK ? 0 : -1;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    strcpy(fixture->directory, "/tmp/kmipd-test-XXXXXX");
    if (mkdtemp(fixture->directory) == NULL)
        return -1;
    snprintf(fixture->path, sizeof(fixture->path), "%s/keys", fixture->directory);
    snprintf(fixture->key_path, sizeof(fixture->key_path), "%s/seal", fixture->directory);
    fixture->by_key = (struct sealing){.method = SEALING_KEY_FILE, .path = fixture->key_path};
    if (secret_copy(&fixture->passphrase, BYTES_LITERAL("correct horse battery")) != STATUS_OK)
        return -1;
    fixture->by_passphrase =
        (struct sealing){.method = SEALING_PASSPHRASE, .passphrase = &fixture->passphrase};
    *state = fixture;
    return 0;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *place)
{
    (void)stat;
    (void)type;
    (void)place;
    return remove(path);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    secret_free(&fixture->passphrase);
    (void)nftw(fixture->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return 0;
}

/* ---- Helpers ---- */

static struct keymanager *open_with(const struct fixture *fixture, const struct sealing *sealing,
                                    bool create)
{
    struct keymanager *keymanager = NULL;
    struct error error = {0};
    enum status status = sealed_file_open(fixture->path, sealing, create, &keymanager, &error);
    if (status != STATUS_OK)
        fail_msg("%s", error.text);
    return keymanager;
}

/* Opening must fail so, with a text that has `expected` in it. */
static void assert_refused(const struct fixture *fixture, const struct sealing *sealing,
                           bool create, enum status status, const char *expected)
{
    struct keymanager *keymanager = NULL;
    struct error error = {0};
    assert_int_equal(sealed_file_open(fixture->path, sealing, create, &keymanager, &error), status);
    assert_null(keymanager);
    if (strstr(error.text, expected) == NULL)
        fail_msg("\"%s\" has no \"%s\"", error.text, expected);
}

static const struct root_key_wish wish = {.now = NOW};

static struct uuid create_root_key(struct keymanager *keymanager)
{
    struct uuid id;
    struct error error = {0};
    if (keymanager_create_root_key(keymanager, &wish, &id, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return id;
}

static struct wrap_binding binding_of(struct uuid root_key)
{
    struct wrap_binding binding = {.root_key = root_key};
    memset(&binding.object, 0x0B, sizeof(binding.object));
    memset(&binding.adapter, 0xAD, sizeof(binding.adapter));
    return binding;
}

static struct wrapped wrapped_of(const struct buffer *buffer)
{
    return (struct wrapped){buffer_bytes(buffer)};
}

static void wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                 struct bytes plaintext, struct buffer *wrapped)
{
    struct secret secret;
    buffer_init(wrapped, KEYMANAGER_PLAINTEXT_MAX + WRAPPED_OVERHEAD_MAX);
    assert_int_equal(secret_copy(&secret, plaintext), STATUS_OK);
    assert_int_equal(keymanager_wrap(keymanager, binding, &secret, wrapped), STATUS_OK);
    secret_free(&secret);
}

static void assert_unwraps(struct keymanager *keymanager, const struct wrap_binding *binding,
                           const struct buffer *wrapped, struct bytes plaintext)
{
    struct secret opened = {0};
    assert_int_equal(keymanager_unwrap(keymanager, binding, wrapped_of(wrapped), &opened, NULL),
                     STATUS_OK);
    assert_true(bytes_equal(secret_bytes(&opened), plaintext));
    secret_free(&opened);
}

static void assert_not_unwrapped(struct keymanager *keymanager, const struct wrap_binding *binding,
                                 struct bytes blob, enum status status)
{
    struct secret opened = {0};
    assert_int_equal(keymanager_unwrap(keymanager, binding, (struct wrapped){blob}, &opened, NULL),
                     status);
    assert_null(opened.data);
}

static void read_file(const char *path, struct buffer *content)
{
    struct error error = {0};
    buffer_init(content, SEALED_FILE_MAX);
    if (file_read(path, FILE_PUBLIC, content, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

static void write_file(const char *path, struct bytes content, mode_t mode)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(file >= 0);
    assert_int_equal(write(file, content.data, content.size), content.size);
    assert_int_equal(fchmod(file, mode), 0);
    assert_int_equal(close(file), 0);
}

static const struct bytes key_bytes = {(const uint8_t *)"0123456789abcdef0123456789abcdef", 32};

/* ---- Wrapping ---- */

static struct keymanager *open_memory(void)
{
    struct keymanager *keymanager = NULL;
    assert_int_equal(keymanager_open_memory(&keymanager), STATUS_OK);
    return keymanager;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct keymanager *keymanager = open_memory();
    struct wrap_binding binding = binding_of(create_root_key(keymanager));
    struct buffer wrapped;
    struct buffer again;
    wrap(keymanager, &binding, key_bytes, &wrapped);
    wrap(keymanager, &binding, key_bytes, &again);
    assert_int_equal(wrapped.size, key_bytes.size + BLOB_OVERHEAD);
    assert_false(bytes_equal(buffer_bytes(&wrapped), buffer_bytes(&again)));
    assert_null(memmem(wrapped.data, wrapped.size, key_bytes.data, 8));
    assert_unwraps(keymanager, &binding, &wrapped, key_bytes);
    assert_unwraps(keymanager, &binding, &again, key_bytes);
    buffer_free(&again);
    buffer_free(&wrapped);
    keymanager_close(keymanager);
}

/* splitmix64: the same sizes and bytes in every run. */
static uint64_t next_random(uint64_t *seed)
{
    uint64_t value = *seed += UINT64_C(0x9E3779B97F4A7C15);
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

static void test_round_trip_sizes(void **state)
{
    (void)state;
    struct keymanager *keymanager = open_memory();
    struct wrap_binding binding = binding_of(create_root_key(keymanager));
    uint8_t *random = malloc(KEYMANAGER_PLAINTEXT_MAX);
    uint64_t seed = 1;
    for (size_t i = 0; i < KEYMANAGER_PLAINTEXT_MAX; i += 8) {
        uint64_t value = next_random(&seed);
        memcpy(random + i, &value, 8);
    }
    for (int round = 0; round < 200; round++) {
        size_t limit = round < 100 ? 100 : (size_t)1 << (next_random(&seed) % 21);
        size_t size = round == 0   ? 0
                      : round == 1 ? KEYMANAGER_PLAINTEXT_MAX
                                   : (size_t)(next_random(&seed) % (limit + 1));
        struct buffer wrapped;
        wrap(keymanager, &binding, bytes_of(random, size), &wrapped);
        assert_unwraps(keymanager, &binding, &wrapped, bytes_of(random, size));
        buffer_free(&wrapped);
    }
    free(random);
    keymanager_close(keymanager);
}

static void test_too_large(void **state)
{
    (void)state;
    struct keymanager *keymanager = open_memory();
    struct wrap_binding binding = binding_of(create_root_key(keymanager));
    struct secret secret = {0};
    struct buffer wrapped;
    buffer_init(&wrapped, 2 * KEYMANAGER_PLAINTEXT_MAX);
    assert_int_equal(secret_allocate(&secret, KEYMANAGER_PLAINTEXT_MAX + 1), STATUS_OK);
    assert_int_equal(keymanager_wrap(keymanager, &binding, &secret, &wrapped), STATUS_TOO_LARGE);
    assert_int_equal(wrapped.size, 0);
    secret_free(&secret);
    assert_int_equal(keymanager_wrap(keymanager, &binding, &secret, &wrapped),
                     STATUS_INVALID_ARGUMENT);
    buffer_free(&wrapped);
    keymanager_close(keymanager);
}

/* What was in the buffer before stays; a blob that does not fit leaves nothing. */
static void test_buffer_too_small(void **state)
{
    (void)state;
    struct keymanager *keymanager = open_memory();
    struct wrap_binding binding = binding_of(create_root_key(keymanager));
    struct secret secret;
    uint8_t memory[100];
    struct buffer wrapped;
    buffer_over(&wrapped, memory, sizeof(memory));
    buffer_append_text(&wrapped, "before");
    assert_int_equal(secret_copy(&secret, key_bytes), STATUS_OK);
    assert_int_equal(keymanager_wrap(keymanager, &binding, &secret, &wrapped), STATUS_TOO_LARGE);
    assert_true(bytes_equal_text(buffer_bytes(&wrapped), "before"));
    secret_free(&secret);
    keymanager_close(keymanager);
}

/* Every bit-flipped byte, every length. The four bytes of the version may name one that is not
 * there, which is another answer. */
static void test_tampering(void **state)
{
    (void)state;
    struct keymanager *keymanager = open_memory();
    struct wrap_binding binding = binding_of(create_root_key(keymanager));
    struct buffer wrapped;
    wrap(keymanager, &binding, key_bytes, &wrapped);
    for (size_t i = 0; i < wrapped.size; i++) {
        bool in_version = i >= 4 && i < 8;
        for (int bit = 0; bit < 8; bit++) {
            wrapped.data[i] ^= (uint8_t)(1 << bit);
            /* Version 1 with its last bit flipped is version 0, which is none at all. */
            bool other_version = in_version && !(i == 7 && bit == 0);
            assert_not_unwrapped(keymanager, &binding, buffer_bytes(&wrapped),
                                 other_version ? STATUS_ROOT_KEY_UNAVAILABLE
                                               : STATUS_UNWRAP_FAILED);
            wrapped.data[i] ^= (uint8_t)(1 << bit);
        }
    }
    for (size_t size = 0; size < wrapped.size; size++)
        assert_not_unwrapped(keymanager, &binding, bytes_of(wrapped.data, size),
                             STATUS_UNWRAP_FAILED);
    buffer_append(&wrapped, "", 1);
    assert_not_unwrapped(keymanager, &binding, buffer_bytes(&wrapped), STATUS_UNWRAP_FAILED);
    buffer_free(&wrapped);
    keymanager_close(keymanager);
}

static void test_binding(void **state)
{
    (void)state;
    struct keymanager *keymanager = open_memory();
    struct wrap_binding binding = binding_of(create_root_key(keymanager));
    struct uuid other_root_key = create_root_key(keymanager);
    struct buffer wrapped;
    wrap(keymanager, &binding, key_bytes, &wrapped);
    struct wrap_binding moved = binding;
    moved.object.bytes[15] ^= 1;
    assert_not_unwrapped(keymanager, &moved, buffer_bytes(&wrapped), STATUS_UNWRAP_FAILED);
    moved = binding;
    moved.adapter.bytes[0] ^= 1;
    assert_not_unwrapped(keymanager, &moved, buffer_bytes(&wrapped), STATUS_UNWRAP_FAILED);
    moved = binding;
    moved.root_key = other_root_key;
    assert_not_unwrapped(keymanager, &moved, buffer_bytes(&wrapped), STATUS_UNWRAP_FAILED);
    assert_unwraps(keymanager, &binding, &wrapped, key_bytes);
    buffer_free(&wrapped);
    keymanager_close(keymanager);
}

/* A header rewritten to fit another object: the check of the header passes, the tag does not. */
static void test_binding_forged(void **state)
{
    (void)state;
    struct keymanager *keymanager = open_memory();
    struct wrap_binding binding = binding_of(create_root_key(keymanager));
    struct wrap_binding other = binding;
    other.object.bytes[0] ^= 0xFF;
    struct buffer wrapped;
    struct buffer donor;
    wrap(keymanager, &binding, key_bytes, &wrapped);
    wrap(keymanager, &other, key_bytes, &donor);
    memcpy(wrapped.data, donor.data, BLOB_HEADER_SIZE);
    assert_not_unwrapped(keymanager, &other, buffer_bytes(&wrapped), STATUS_UNWRAP_FAILED);
    buffer_free(&donor);
    buffer_free(&wrapped);
    keymanager_close(keymanager);
}

static void test_root_key_states(void **state)
{
    (void)state;
    struct keymanager *keymanager = open_memory();
    struct uuid id = create_root_key(keymanager);
    struct wrap_binding binding = binding_of(id);
    struct root_key_info info;
    struct secret secret;
    struct buffer wrapped;
    struct buffer none;
    wrap(keymanager, &binding, key_bytes, &wrapped);
    buffer_init(&none, 1000);
    assert_int_equal(secret_copy(&secret, key_bytes), STATUS_OK);
    const enum root_key_state unusable[] = {ROOT_KEY_SUSPENDED, ROOT_KEY_DESTROYED};
    for (size_t i = 0; i < ARRAY_COUNT(unusable); i++) {
        assert_int_equal(keymanager_memory_set_state(keymanager, &id, unusable[i]), STATUS_OK);
        assert_not_unwrapped(keymanager, &binding, buffer_bytes(&wrapped),
                             STATUS_ROOT_KEY_UNAVAILABLE);
        assert_int_equal(keymanager_wrap(keymanager, &binding, &secret, &none),
                         STATUS_ROOT_KEY_UNAVAILABLE);
        assert_int_equal(keymanager_root_key_info(keymanager, &id, &info), STATUS_OK);
        assert_int_equal(info.state, unusable[i]);
    }
    assert_int_equal(keymanager_memory_set_state(keymanager, &id, ROOT_KEY_ACTIVE), STATUS_OK);
    assert_unwraps(keymanager, &binding, &wrapped, key_bytes);
    secret_free(&secret);
    buffer_free(&none);
    buffer_free(&wrapped);
    keymanager_close(keymanager);
}

static void test_root_key_unknown(void **state)
{
    (void)state;
    struct keymanager *keymanager = open_memory();
    struct keymanager *other = open_memory();
    struct wrap_binding binding = binding_of(create_root_key(other));
    struct root_key_info info;
    struct buffer wrapped;
    wrap(other, &binding, key_bytes, &wrapped);
    assert_not_unwrapped(keymanager, &binding, buffer_bytes(&wrapped), STATUS_ROOT_KEY_UNAVAILABLE);
    assert_int_equal(keymanager_root_key_info(keymanager, &binding.root_key, &info),
                     STATUS_NOT_FOUND);
    assert_int_equal(keymanager_memory_set_state(keymanager, &binding.root_key, ROOT_KEY_SUSPENDED),
                     STATUS_NOT_FOUND);
    buffer_free(&wrapped);
    keymanager_close(other);
    keymanager_close(keymanager);
    keymanager_close(NULL);
}

static void test_memory_failure(void **state)
{
    (void)state;
    struct keymanager *keymanager = open_memory();
    struct wrap_binding binding = binding_of(create_root_key(keymanager));
    struct root_key_info info;
    struct error error;
    struct uuid id;
    struct buffer wrapped;
    wrap(keymanager, &binding, key_bytes, &wrapped);
    keymanager_memory_fail(keymanager, STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_not_unwrapped(keymanager, &binding, buffer_bytes(&wrapped),
                         STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(keymanager_root_key_info(keymanager, &binding.root_key, &info),
                     STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(keymanager_create_root_key(keymanager, &wish, &id, &error),
                     STATUS_KEY_MANAGER_UNAVAILABLE);
    keymanager_memory_fail(keymanager, STATUS_OK);
    assert_unwraps(keymanager, &binding, &wrapped, key_bytes);
    buffer_free(&wrapped);
    keymanager_close(keymanager);
}

/* ---- Root keys with several versions ---- */

static struct root_key *root_key_with(uint8_t id_byte, uint32_t version_count)
{
    struct uuid id;
    memset(&id, id_byte, sizeof(id));
    struct root_key *root_key = root_key_new(&id, NOW);
    for (uint32_t i = 1; i <= version_count; i++) {
        struct secret key;
        assert_int_equal(secret_random(&key, AEAD_KEY_SIZE), STATUS_OK);
        assert_int_equal(root_key_add_version(root_key, i, NOW + i, &key), STATUS_OK);
    }
    return root_key;
}

static void test_versions(void **state)
{
    (void)state;
    struct root_keys set;
    struct root_key *root_key = root_key_with(1, 1);
    struct wrap_binding binding = binding_of(root_key->id);
    struct secret secret;
    struct secret opened = {0};
    struct buffer first;
    struct buffer second;
    buffer_init(&first, 1000);
    buffer_init(&second, 1000);
    assert_int_equal(root_keys_init(&set), STATUS_OK);
    assert_int_equal(root_keys_put(&set, root_key), STATUS_OK);
    assert_int_equal(secret_copy(&secret, key_bytes), STATUS_OK);
    assert_int_equal(root_keys_wrap(&set, &binding, &secret, &first), STATUS_OK);
    struct secret key;
    assert_int_equal(secret_random(&key, AEAD_KEY_SIZE), STATUS_OK);
    assert_int_equal(root_key_add_version(root_key, 2, NOW, &key), STATUS_OK);
    assert_null(key.data);
    assert_int_equal(root_keys_wrap(&set, &binding, &secret, &second), STATUS_OK);
    assert_int_equal(first.data[7], 1);
    assert_int_equal(second.data[7], 2);
    assert_int_equal(root_keys_unwrap(&set, &binding, wrapped_of(&first), &opened), STATUS_OK);
    secret_free(&opened);
    assert_int_equal(root_keys_unwrap(&set, &binding, wrapped_of(&second), &opened), STATUS_OK);
    secret_free(&opened);
    second.data[7] = 1; /* under the other version's key */
    assert_int_equal(root_keys_unwrap(&set, &binding, wrapped_of(&second), &opened),
                     STATUS_UNWRAP_FAILED);
    assert_int_equal(secret_random(&key, AEAD_KEY_SIZE), STATUS_OK);
    assert_int_equal(root_key_add_version(root_key, 2, NOW, &key), STATUS_INVALID_ARGUMENT);
    secret_free(&secret);
    buffer_free(&second);
    buffer_free(&first);
    root_keys_free(&set);
}

/* ---- The format of the sealed file ---- */

static struct secret keys_of(const struct sealed_header *header, struct bytes material)
{
    struct secret keys = {0};
    assert_int_equal(sealed_keys_derive(header, material, &keys), STATUS_OK);
    return keys;
}

static void assert_same(const struct root_key *a, const struct root_key *b)
{
    assert_true(uuid_equal(&a->id, &b->id));
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->imported, b->imported);
    assert_int_equal(a->newest, b->newest);
    assert_true(a->created == b->created);
    assert_true(a->rotated == b->rotated);
    assert_true(a->deleted == b->deleted);
    assert_int_equal(a->version_count, b->version_count);
    for (size_t i = 0; i < a->version_count; i++) {
        assert_int_equal(a->versions[i].number, b->versions[i].number);
        assert_true(a->versions[i].created == b->versions[i].created);
        assert_true(secret_equal(&a->versions[i].key, &b->versions[i].key));
    }
}

/* What is encoded is the set with the changed root key in it, and comes back the same. */
static void test_format_round_trip(void **state)
{
    (void)state;
    struct sealed_header header = {0};
    struct sealed_header read = {0};
    struct root_keys set;
    struct root_keys opened;
    struct buffer file;
    struct error error;
    assert_int_equal(sealed_header_make(SEALING_CREDENTIAL, &header), STATUS_OK);
    header.generation = 77;
    struct secret keys = keys_of(&header, key_bytes);
    assert_int_equal(root_keys_init(&set), STATUS_OK);
    assert_int_equal(root_keys_put(&set, root_key_with(9, 1)), STATUS_OK);
    assert_int_equal(root_keys_put(&set, root_key_with(3, 4)), STATUS_OK);
    assert_int_equal(root_keys_put(&set, root_key_with(5, 2)), STATUS_OK);
    set.keys[2]->state = ROOT_KEY_SUSPENDED;
    struct root_key *changed[] = {root_key_with(1, 1),   root_key_with(4, 3), root_key_with(5, 5),
                                  root_key_with(200, 1), root_key_with(9, 0), NULL};
    changed[1]->imported = true;
    changed[1]->rotated = NOW + 3;
    changed[2]->state = ROOT_KEY_DESTROYED;
    changed[2]->deleted = NOW + 9;
    changed[4]->state = ROOT_KEY_DESTROYED;
    changed[4]->newest = 7;
    for (size_t i = 0; i < ARRAY_COUNT(changed); i++) {
        buffer_init(&file, SEALED_FILE_MAX);
        assert_int_equal(root_keys_init(&opened), STATUS_OK);
        assert_int_equal(sealed_encode(&header, &keys, &set, changed[i], &file, &error), STATUS_OK);
        assert_int_equal(sealed_header_read(buffer_bytes(&file), "x", &read, &error), STATUS_OK);
        assert_int_equal(read.method, header.method);
        assert_true(read.generation == header.generation);
        assert_memory_equal(read.salt, header.salt, sizeof(read.salt));
        assert_int_equal(sealed_decode(buffer_bytes(&file), "x", &keys, &opened, &error),
                         STATUS_OK);
        if (changed[i] != NULL)
            assert_int_equal(root_keys_put(&set, changed[i]), STATUS_OK);
        assert_int_equal(opened.count, set.count);
        for (size_t j = 0; j < set.count; j++)
            assert_same(opened.keys[j], set.keys[j]);
        root_keys_free(&opened);
        buffer_free(&file);
    }
    assert_int_equal(set.count, 6);
    secret_free(&keys);
    root_keys_free(&set);
}

/* A payload that this program would not have written is refused although it is authentic. */
static void test_format_payload_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        size_t place;
        uint8_t value;
        int longer;
    } cases[] = {
        {"count too large", 3, 2, 0},
        {"count too small", 3, 0, 0},
        {"count enormous", 0, 0xFF, 0},
        {"unknown state", 23, 9, 0},
        {"unknown flag", 27, 2, 0},
        {"deleted, but active", 51, 1, 0},
        {"newest is another", 55, 2, 0},
        {"newest is none", 55, 0, 0},
        {"no version", 59, 0, 0},
        {"versions enormous", 56, 0xFF, 0},
        {"version 0", 63, 0, 0},
        {"cut off", 3, 1, -1},
        {"a byte too many", 3, 1, 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct sealed_header header;
        struct root_keys opened;
        struct aead_key *key;
        struct error error;
        uint8_t payload[105] = {0};
        uint8_t file[88 + sizeof(payload) + AEAD_OVERHEAD + SHA256_SIZE];
        struct root_keys set;
        struct buffer whole;
        size_t size = (size_t)(104 + cases[i].longer);
        /* The beginning of a good file; then a payload of one root key with one version. */
        assert_int_equal(sealed_header_make(SEALING_CREDENTIAL, &header), STATUS_OK);
        struct secret keys = keys_of(&header, key_bytes);
        assert_int_equal(root_keys_init(&set), STATUS_OK);
        assert_int_equal(root_keys_init(&opened), STATUS_OK);
        buffer_init(&whole, SEALED_FILE_MAX);
        assert_int_equal(sealed_encode(&header, &keys, &set, NULL, &whole, &error), STATUS_OK);
        memcpy(file, whole.data, 88);
        payload[3] = 1;
        payload[23] = ROOT_KEY_ACTIVE;
        payload[55] = 1;
        payload[59] = 1;
        payload[63] = 1;
        assert_int_equal(aead_key_open(bytes_of(keys.data, 32), &key), STATUS_OK);
        for (int broken = 0; broken < 2; broken++) {
            size_t used = broken ? size : 104;
            if (broken)
                payload[cases[i].place] = cases[i].value;
            assert_int_equal(aead_seal(key, bytes_of(file, 88), bytes_of(payload, used), file + 88),
                             STATUS_OK);
            enum status status =
                sealed_decode(bytes_of(file, 88 + used + AEAD_OVERHEAD + SHA256_SIZE), "x", &keys,
                              &opened, &error);
            if (status != (broken ? STATUS_STORE_CORRUPT : STATUS_OK))
                fail_msg("%s: %s", cases[i].what, status_name(status));
            root_keys_free(&opened);
            assert_int_equal(root_keys_init(&opened), STATUS_OK);
        }
        aead_key_close(key);
        secret_free(&keys);
        buffer_free(&whole);
        root_keys_free(&opened);
        root_keys_free(&set);
    }
}

/* ---- The sealed file ---- */

static void test_file_life(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *keymanager = open_with(fixture, &fixture->by_key, true);
    struct wrap_binding binding = binding_of(create_root_key(keymanager));
    struct root_key_info info;
    struct buffer wrapped;
    struct stat stat_of;
    wrap(keymanager, &binding, key_bytes, &wrapped);
    keymanager_close(keymanager);
    assert_int_equal(stat(fixture->path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 07777, 0600);
    assert_int_equal(stat(fixture->key_path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 07777, 0600);
    for (int i = 0; i < 2; i++) {
        keymanager = open_with(fixture, &fixture->by_key, i == 1);
        assert_string_equal(keymanager->provider->name, "sealed-file");
        assert_unwraps(keymanager, &binding, &wrapped, key_bytes);
        assert_int_equal(keymanager_root_key_info(keymanager, &binding.root_key, &info), STATUS_OK);
        assert_int_equal(info.version, 1);
        assert_int_equal(info.state, ROOT_KEY_ACTIVE);
        assert_true(info.created == NOW);
        (void)create_root_key(keymanager);
        keymanager_close(keymanager);
    }
    buffer_free(&wrapped);
}

static void test_file_missing(void **state)
{
    const struct fixture *fixture = *state;
    assert_refused(fixture, &fixture->by_key, false, STATUS_NOT_FOUND, "no sealed file");
    assert_false(file_exists(fixture->path));
    assert_false(file_exists(fixture->key_path));
    keymanager_close(open_with(fixture, &fixture->by_key, true));
    assert_int_equal(unlink(fixture->key_path), 0);
    /* An existing file is never opened with a new key. */
    assert_refused(fixture, &fixture->by_key, true, STATUS_NOT_FOUND, "seal");
    assert_false(file_exists(fixture->key_path));
}

/* With only the previous generation there, a new file would forget its root keys. */
static void test_file_only_previous(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *keymanager = open_with(fixture, &fixture->by_key, true);
    struct uuid id = create_root_key(keymanager);
    (void)create_root_key(keymanager);
    keymanager_close(keymanager);
    char previous[128];
    struct root_key_info info;
    snprintf(previous, sizeof(previous), "%s.previous", fixture->path);
    assert_int_equal(unlink(fixture->path), 0);
    assert_refused(fixture, &fixture->by_key, true, STATUS_NOT_FOUND, ".previous");
    assert_int_equal(rename(previous, fixture->path), 0);
    keymanager = open_with(fixture, &fixture->by_key, false);
    assert_int_equal(keymanager_root_key_info(keymanager, &id, &info), STATUS_OK);
    keymanager_close(keymanager);
}

static void test_file_passphrase(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *keymanager = open_with(fixture, &fixture->by_passphrase, true);
    struct uuid id = create_root_key(keymanager);
    struct root_key_info info;
    keymanager_close(keymanager);
    keymanager = open_with(fixture, &fixture->by_passphrase, false);
    assert_int_equal(keymanager_root_key_info(keymanager, &id, &info), STATUS_OK);
    keymanager_close(keymanager);
    struct secret wrong;
    assert_int_equal(secret_copy(&wrong, BYTES_LITERAL("correct horse batterz")), STATUS_OK);
    const struct sealing wrong_sealing = {.method = SEALING_PASSPHRASE, .passphrase = &wrong};
    assert_refused(fixture, &wrong_sealing, false, STATUS_NOT_AUTHENTICATED, "another passphrase");
    secret_free(&wrong);
    assert_refused(fixture, &wrong_sealing, false, STATUS_INVALID_ARGUMENT, "empty");
    assert_refused(fixture, &fixture->by_key, false, STATUS_NOT_AUTHENTICATED,
                   "sealed with a passphrase, but the configuration names a key file");
}

static void test_file_wrong_key(void **state)
{
    const struct fixture *fixture = *state;
    keymanager_close(open_with(fixture, &fixture->by_key, true));
    struct buffer key;
    read_file(fixture->key_path, &key);
    assert_int_equal(key.size, 65);
    key.data[0] = key.data[0] == '0' ? '1' : '0';
    write_file(fixture->key_path, buffer_bytes(&key), 0600);
    assert_refused(fixture, &fixture->by_key, false, STATUS_NOT_AUTHENTICATED, "another key file");
    key.data[0] = 'x';
    write_file(fixture->key_path, buffer_bytes(&key), 0600);
    assert_refused(fixture, &fixture->by_key, false, STATUS_STORE_CORRUPT, "64 hexadecimal");
    write_file(fixture->key_path, bytes_of(key.data, 63), 0600);
    assert_refused(fixture, &fixture->by_key, false, STATUS_STORE_CORRUPT, "64 hexadecimal");
    buffer_free(&key);
}

static void test_file_credential(void **state)
{
    const struct fixture *fixture = *state;
    char path[128];
    const struct sealing by_name = {.method = SEALING_CREDENTIAL, .path = "root.seal"};
    const struct sealing by_path = {.method = SEALING_CREDENTIAL, .path = path};
    snprintf(path, sizeof(path), "%s/root.seal", fixture->directory);
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_refused(fixture, &by_name, true, STATUS_NOT_FOUND, "LoadCredentialEncrypted=root.seal");
    setenv("CREDENTIALS_DIRECTORY", fixture->directory, 1);
    assert_refused(fixture, &by_name, true, STATUS_NOT_FOUND, "root.seal");
    write_file(path, bytes_of(key_bytes.data, 31), 0400);
    assert_refused(fixture, &by_name, true, STATUS_INVALID_ARGUMENT, "too short");
    assert_int_equal(unlink(path), 0);
    write_file(path, key_bytes, 0440);
    keymanager_close(open_with(fixture, &by_name, true));
    unsetenv("CREDENTIALS_DIRECTORY");
    keymanager_close(open_with(fixture, &by_path, false));
    assert_int_equal(chmod(path, 0444), 0);
    assert_refused(fixture, &by_path, false, STATUS_IO, "too wide");
}

static void test_file_permissions(void **state)
{
    const struct fixture *fixture = *state;
    keymanager_close(open_with(fixture, &fixture->by_key, true));
    static const mode_t wide[] = {0640, 0604, 0660, 0601, 0610, 0644, 0777};
    const char *const paths[] = {fixture->path, fixture->key_path};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        for (size_t j = 0; j < ARRAY_COUNT(wide); j++) {
            assert_int_equal(chmod(paths[i], wide[j]), 0);
            assert_refused(fixture, &fixture->by_key, true, STATUS_IO, "chmod 600");
        }
        assert_int_equal(chmod(paths[i], 0600), 0);
    }
    keymanager_close(open_with(fixture, &fixture->by_key, false));
}

static void test_file_owner(void **state)
{
    const struct fixture *fixture = *state;
    if (geteuid() != 0)
        skip(); /* only root may give a file away */
    keymanager_close(open_with(fixture, &fixture->by_key, true));
    assert_int_equal(chown(fixture->path, 12345, (gid_t)-1), 0);
    assert_refused(fixture, &fixture->by_key, true, STATUS_IO, "belongs to user 12345");
}

static void test_file_kind(void **state)
{
    const struct fixture *fixture = *state;
    char link[128];
    keymanager_close(open_with(fixture, &fixture->by_key, true));
    snprintf(link, sizeof(link), "%s/elsewhere", fixture->directory);
    assert_int_equal(rename(fixture->path, link), 0);
    assert_int_equal(symlink("elsewhere", fixture->path), 0);
    assert_refused(fixture, &fixture->by_key, false, STATUS_IO, "symbolic link");
    assert_int_equal(unlink(fixture->path), 0);
    assert_int_equal(mkdir(fixture->path, 0700), 0);
    assert_refused(fixture, &fixture->by_key, false, STATUS_IO, "not a regular file");
    assert_int_equal(rmdir(fixture->path), 0);
    assert_int_equal(mkfifo(fixture->path, 0600), 0);
    assert_refused(fixture, &fixture->by_key, false, STATUS_IO, "not a regular file");
}

static void test_file_truncated(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *keymanager = open_with(fixture, &fixture->by_key, true);
    (void)create_root_key(keymanager);
    keymanager_close(keymanager);
    struct buffer file;
    read_file(fixture->path, &file);
    for (size_t size = 0; size < file.size; size++) {
        write_file(fixture->path, bytes_of(file.data, size), 0600);
        assert_refused(fixture, &fixture->by_key, true, STATUS_STORE_CORRUPT, "damaged");
    }
    buffer_append(&file, "", 1);
    write_file(fixture->path, buffer_bytes(&file), 0600);
    assert_refused(fixture, &fixture->by_key, true, STATUS_STORE_CORRUPT, "damaged");
    buffer_free(&file);
}

static void test_file_damaged(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *keymanager = open_with(fixture, &fixture->by_key, true);
    (void)create_root_key(keymanager);
    keymanager_close(keymanager);
    struct buffer file;
    read_file(fixture->path, &file);
    for (size_t i = 0; i < file.size; i++) {
        bool is_format = i == 8 || i == 9;
        file.data[i] ^= 0x10;
        write_file(fixture->path, buffer_bytes(&file), 0600);
        assert_refused(fixture, &fixture->by_key, true,
                       is_format ? STATUS_STORE_NEWER : STATUS_STORE_CORRUPT,
                       is_format ? "newer version" : "damaged");
        file.data[i] ^= 0x10;
    }
    buffer_free(&file);
}

/* Changed by somebody who can compute the checksum, but has no key. */
static void test_file_forged(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *keymanager = open_with(fixture, &fixture->by_key, true);
    (void)create_root_key(keymanager);
    keymanager_close(keymanager);
    struct buffer file;
    read_file(fixture->path, &file);
    for (size_t i = 0; i < file.size - SHA256_SIZE; i++) {
        struct keymanager *none = NULL;
        struct error error = {0};
        file.data[i] ^= 0x01;
        uint8_t *end = file.data + file.size - SHA256_SIZE;
        assert_int_equal(digest_sha256(bytes_of(file.data, file.size - SHA256_SIZE), end),
                         STATUS_OK);
        write_file(fixture->path, buffer_bytes(&file), 0600);
        assert_int_not_equal(sealed_file_open(fixture->path, &fixture->by_key, true, &none, &error),
                             STATUS_OK);
        assert_null(none);
        assert_true(error.text[0] != '\0');
        file.data[i] ^= 0x01;
    }
    buffer_free(&file);
}

/* A scrypt cost that would take all memory is refused before it is tried. */
static void test_file_hostile_cost(void **state)
{
    const struct fixture *fixture = *state;
    keymanager_close(open_with(fixture, &fixture->by_key, true));
    struct buffer file;
    read_file(fixture->path, &file);
    file.data[10] = SEALING_PASSPHRASE;
    static const uint8_t costs[][5] = {{24, 0, 8, 0, 1},  {17, 0, 8, 0, 17}, {17, 0xFF, 0xFF, 0, 1},
                                       {255, 0, 8, 0, 1}, {0, 0, 0, 0, 0},   {17, 0, 0, 0, 1}};
    for (size_t i = 0; i < ARRAY_COUNT(costs); i++) {
        memcpy(file.data + 11, costs[i], sizeof(costs[i]));
        uint8_t *end = file.data + file.size - SHA256_SIZE;
        assert_int_equal(digest_sha256(bytes_of(file.data, file.size - SHA256_SIZE), end),
                         STATUS_OK);
        write_file(fixture->path, buffer_bytes(&file), 0600);
        assert_refused(fixture, &fixture->by_passphrase, false, STATUS_STORE_CORRUPT,
                       "too much memory");
    }
    buffer_free(&file);
}

/* What a crash can leave beside the file: half-written files that were not yet renamed. */
static void test_file_left_overs(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *keymanager = open_with(fixture, &fixture->by_key, true);
    struct uuid id = create_root_key(keymanager);
    keymanager_close(keymanager);
    static const char *const endings[] = {".new", ".previous.new"};
    char paths[2][128];
    for (size_t i = 0; i < ARRAY_COUNT(endings); i++) {
        snprintf(paths[i], sizeof(paths[i]), "%s%s", fixture->path, endings[i]);
        write_file(paths[i], BYTES_LITERAL("half"), 0400);
    }
    struct root_key_info info;
    keymanager = open_with(fixture, &fixture->by_key, false);
    assert_int_equal(keymanager_root_key_info(keymanager, &id, &info), STATUS_OK);
    struct uuid second = create_root_key(keymanager);
    keymanager_close(keymanager);
    for (size_t i = 0; i < ARRAY_COUNT(endings); i++)
        assert_false(file_exists(paths[i]));
    keymanager = open_with(fixture, &fixture->by_key, false);
    assert_int_equal(keymanager_root_key_info(keymanager, &second, &info), STATUS_OK);
    keymanager_close(keymanager);
}

/* A left-over of the very first write, before there was a sealed file. */
static void test_file_left_over_of_creation(void **state)
{
    const struct fixture *fixture = *state;
    char path[128];
    snprintf(path, sizeof(path), "%s.new", fixture->path);
    write_file(path, BYTES_LITERAL("half"), 0600);
    keymanager_close(open_with(fixture, &fixture->by_key, true));
    assert_false(file_exists(path));
}

/* A change that cannot be written changes nothing, in memory or on disk. */
static void test_file_write_fails(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *keymanager = open_with(fixture, &fixture->by_key, true);
    struct uuid first = create_root_key(keymanager);
    char path[128];
    struct buffer before;
    struct buffer after;
    struct uuid id = {{0}};
    struct uuid unchanged = {{0}};
    struct error error = {0};
    read_file(fixture->path, &before);
    snprintf(path, sizeof(path), "%s.new", fixture->path);
    assert_int_equal(mkdir(path, 0700), 0); /* in the way */
    assert_int_equal(keymanager_create_root_key(keymanager, &wish, &id, &error), STATUS_IO);
    assert_true(uuid_equal(&id, &unchanged));
    assert_non_null(strstr(error.text, ".new"));
    read_file(fixture->path, &after);
    assert_true(bytes_equal(buffer_bytes(&before), buffer_bytes(&after)));
    assert_int_equal(rmdir(path), 0);
    struct uuid second = create_root_key(keymanager);
    keymanager_close(keymanager);
    struct root_key_info info;
    keymanager = open_with(fixture, &fixture->by_key, false);
    assert_int_equal(keymanager_root_key_info(keymanager, &first, &info), STATUS_OK);
    assert_int_equal(keymanager_root_key_info(keymanager, &second, &info), STATUS_OK);
    keymanager_close(keymanager);
    buffer_free(&after);
    buffer_free(&before);
}

/* Two processes with the same file: the second change must not undo the first. */
static void test_file_conflict(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *one = open_with(fixture, &fixture->by_key, true);
    struct keymanager *two = open_with(fixture, &fixture->by_key, false);
    struct uuid kept = create_root_key(one);
    struct uuid id;
    struct error error = {0};
    assert_int_equal(keymanager_create_root_key(two, &wish, &id, &error), STATUS_CONFLICT);
    assert_non_null(strstr(error.text, "another process"));
    keymanager_close(two);
    (void)create_root_key(one);
    keymanager_close(one);
    struct root_key_info info;
    one = open_with(fixture, &fixture->by_key, false);
    assert_int_equal(keymanager_root_key_info(one, &kept, &info), STATUS_OK);
    keymanager_close(one);
}

static void test_file_reseal(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *keymanager = open_with(fixture, &fixture->by_key, true);
    struct wrap_binding binding = binding_of(create_root_key(keymanager));
    struct buffer wrapped;
    struct error error = {0};
    wrap(keymanager, &binding, key_bytes, &wrapped);
    assert_int_equal(sealed_file_reseal(keymanager, &fixture->by_passphrase, &error), STATUS_OK);
    struct uuid later = create_root_key(keymanager);
    assert_unwraps(keymanager, &binding, &wrapped, key_bytes);
    keymanager_close(keymanager);
    assert_refused(fixture, &fixture->by_key, false, STATUS_NOT_AUTHENTICATED, "passphrase");
    struct root_key_info info;
    keymanager = open_with(fixture, &fixture->by_passphrase, false);
    assert_unwraps(keymanager, &binding, &wrapped, key_bytes);
    assert_int_equal(keymanager_root_key_info(keymanager, &later, &info), STATUS_OK);
    keymanager_close(keymanager);
    struct keymanager *memory = open_memory();
    assert_int_equal(sealed_file_reseal(memory, &fixture->by_key, &error), STATUS_INVALID_ARGUMENT);
    keymanager_close(memory);
    buffer_free(&wrapped);
}

/* ---- Purging ---- */

/* How many versions a generation on the disk holds of a root key. */
static size_t versions_at(const struct fixture *fixture, const char *path, const struct uuid *id)
{
    struct sealed_header header;
    struct root_keys set;
    struct buffer file;
    struct error error = {0};
    struct buffer text;
    uint8_t material[32];
    size_t count = 0;
    read_file(fixture->key_path, &text);
    assert_true(hex_decode(bytes_of(text.data, 64), material, sizeof(material)));
    read_file(path, &file);
    assert_int_equal(sealed_header_read(buffer_bytes(&file), path, &header, &error), STATUS_OK);
    struct secret keys = keys_of(&header, bytes_of(material, sizeof(material)));
    assert_int_equal(root_keys_init(&set), STATUS_OK);
    assert_int_equal(sealed_decode(buffer_bytes(&file), path, &keys, &set, &error), STATUS_OK);
    for (size_t i = 0; i < set.count; i++)
        count += uuid_equal(&set.keys[i]->id, id) ? set.keys[i]->version_count : 0;
    root_keys_free(&set);
    secret_free(&keys);
    buffer_free(&file);
    buffer_free(&text);
    return count;
}

static void must(enum status status, const struct error *error)
{
    if (status != STATUS_OK)
        fail_msg("%s", error_text(error));
}

/* A deleted root key is on the disk until it is purged; then in neither generation. A crash may
 * come between the two that a purge writes: doing it again makes good for that. */
static void test_file_purge(void **state)
{
    const struct fixture *fixture = *state;
    char previous[128];
    struct error error = {0};
    struct buffer before;
    snprintf(previous, sizeof(previous), "%s.previous", fixture->path);
    struct keymanager *keymanager = open_with(fixture, &fixture->by_key, true);
    struct uuid id = create_root_key(keymanager);
    struct uuid other = create_root_key(keymanager);
    must(keymanager_rotate(keymanager, &id, 1, NULL, NOW + 1, &error), &error);
    must(keymanager_delete(keymanager, &id, NOW + 2, &error), &error);
    assert_int_equal(versions_at(fixture, fixture->path, &id), 2);
    read_file(fixture->path, &before);
    must(keymanager_purge(keymanager, &id, &error), &error);
    assert_int_equal(versions_at(fixture, fixture->path, &id), 0);
    assert_int_equal(versions_at(fixture, previous, &id), 0);
    assert_int_equal(versions_at(fixture, fixture->path, &other), 1);
    write_file(previous, buffer_bytes(&before), 0600);
    assert_int_equal(versions_at(fixture, previous, &id), 2);
    keymanager_close(keymanager);
    keymanager = open_with(fixture, &fixture->by_key, false);
    must(keymanager_purge(keymanager, &id, &error), &error);
    assert_int_equal(versions_at(fixture, previous, &id), 0);
    assert_int_equal(versions_at(fixture, fixture->path, &other), 1);
    struct root_key_info info;
    must(keymanager_root_key_info(keymanager, &id, &info), &error);
    assert_int_equal(info.version, 2);
    assert_true(info.rotated == NOW + 1);
    assert_true(info.deleted == NOW + 2);
    keymanager_close(keymanager);
    buffer_free(&before);
}

/* What another process changed is found by a check, not only by the next change. */
static void test_file_check(void **state)
{
    const struct fixture *fixture = *state;
    struct error error = {0};
    struct keymanager *one = open_with(fixture, &fixture->by_key, true);
    struct keymanager *two = open_with(fixture, &fixture->by_key, false);
    must(keymanager_check(two, &error), &error);
    (void)create_root_key(one);
    must(keymanager_check(one, &error), &error);
    assert_int_equal(keymanager_check(two, &error), STATUS_CONFLICT);
    assert_int_equal(unlink(fixture->path), 0);
    assert_int_equal(keymanager_check(one, &error), STATUS_NOT_FOUND);
    keymanager_close(two);
    keymanager_close(one);
}

/* ---- Known files ---- */

/*
 * Made by another program after docs/formats.md alone: what was once written must open for ever.
 * Three root keys: one with two versions, one with one, one destroyed. The key file holds the bytes
 * 64 to 83 (hexadecimal), the passphrase is that of the fixture, its scrypt cost 2^10, 8, 1.
 */
static const char known_blob[] =
    "4b574b01000000010190a0000000700080000000000000aaadadadadadadadadadadadadadadadad"
    "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b6e6f6e6365206e6f6e6365206e6f6e6365206e6f6e636520"
    "75d4915d8ec08be57c9d5a83092277887dda1785de0679a1a9d96959ab6a02f95d03720792b9dfe0"
    "127a28a687259931";
static const char known_by_key[] =
    "6b6d6970647366000001010000000000dc90cf07de907ccc64636ceddb38e552a1a0d984743b1f36"
    "a447b73877012c390000000000000007ef15cddbcf8ba5e66b230ed7d239055177d0e578ff383502"
    "2f5274b69f624a6c676b8bb84ce7267dd520deca4811c8f10a53e636352f06986fc89741f2070801"
    "e34bca099b0b5b780886d1fe29fcc1323df6fd3f459f3adad7feddbdbc43a48786c22bf2cc01551f"
    "b5fa7649b33a0991badae202e50a17410e7de7ce33287efb81decb6887145f112449aa416f229057"
    "a6192a316195c94482df6f997959119f79fb73ee17b15560d50f034f3c7d97a889045f5e9bfe6bba"
    "b96117fd285351eafdd548a914d80a00f54d5db5f24b4b079b465ddf3de8426e8cce1f9007119ea4"
    "19abeb45ef45ee9dc83b9365614256b7b3a73e01bd0f9eb1457b47ad69f5d2e27af8cd8699b0770e"
    "b6531161824d6656ae5ea75b954c6c4e4616318fbac28efec88e28cd42f38073871341c8fa64c0a7"
    "bc956da18d04b9fb76b1e508a19d191ccbf24785070c3a60a45443178da49cad";
static const char known_by_passphrase[] =
    "6b6d6970647366000001030a00080001ba76992a6079074311285334177ddda598e8d8f9bae4df70"
    "875886d5229c26ac00000000000000014889c4444423811959e6f801329afe68f795aad2b7ac31f3"
    "54039ee3a2b8e1da8721d664ef60096aa559e1aa6c72caf1facf5ce08b03aa69572a751db159af09"
    "f2d974ec51ec5c58c3a34e666952e8d3e16c7ad208c2caddb50ba0bd9fe08df5a98e2baaca921b97"
    "2c185c5577ed2614b7d175ec606d111c7feb4b024d73d36c8400591fcaffba0c31f0b4f79d846517"
    "1aa47471b9315d7c21c880f53a9781bcd24c5d5cac17e9a1d38151c4ba4a3481bb553a86b9da026e"
    "eb723b410f1e6915471c6bb05e5e9d6b0b35389eb014a6f2e5459eb4aeea3d74db03976e0d0477a1"
    "8a097087733a16d84e415d303ad7f29b7be185a33119339aa890e9acb0f4bc6a2cc9e476e79c9e56"
    "7b6948059e49eebc6de69cf32faee20035f9ef91df7158fa9f869f2ea3cdd449c7bb5e911b409277"
    "1cc0b5a016a0e99e4dd68fd30e05edd3c6803dec13cd0d332c88d4b454a101ff";

static void write_hex(const char *path, const char *hex)
{
    size_t size = strlen(hex) / 2;
    uint8_t *bytes = malloc(size);
    assert_true(hex_decode(bytes_of_text(hex), bytes, size));
    write_file(path, bytes_of(bytes, size), 0600);
    free(bytes);
}

static struct uuid uuid_of(const char *text)
{
    struct uuid uuid;
    assert_true(uuid_parse(bytes_of_text(text), &uuid));
    return uuid;
}

static void assert_known_content(struct keymanager *keymanager)
{
    static const struct root_key_info expected[] = {
        {.state = ROOT_KEY_ACTIVE, .version = 2, .created = NOW},
        {.state = ROOT_KEY_SUSPENDED, .version = 1, .created = NOW + 1},
        {.state = ROOT_KEY_DESTROYED, .version = 0, .created = NOW + 2, .purged = true},
    };
    const struct uuid ids[] = {uuid_of("0190a000-0000-7000-8000-0000000000aa"),
                               uuid_of("0190a000-0000-7000-8000-0000000000bb"),
                               uuid_of("0190a000-0000-7000-8000-0000000000cc")};
    for (size_t i = 0; i < ARRAY_COUNT(ids); i++) {
        struct root_key_info info;
        assert_int_equal(keymanager_root_key_info(keymanager, &ids[i], &info), STATUS_OK);
        assert_int_equal(info.state, expected[i].state);
        assert_int_equal(info.version, expected[i].version);
        assert_true(info.created == expected[i].created);
        assert_false(info.imported);
        assert_int_equal(info.purged, expected[i].purged);
        assert_int_equal(info.rotated != 0, info.version > 1);
    }
    struct buffer blob;
    struct wrap_binding binding = binding_of(ids[0]);
    buffer_init(&blob, 1000);
    uint8_t *to = buffer_reserve(&blob, strlen(known_blob) / 2);
    assert_true(hex_decode(bytes_of_text(known_blob), to, blob.size));
    assert_unwraps(keymanager, &binding, &blob, key_bytes);
    buffer_free(&blob);
}

static void test_known_files(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *keymanager;
    struct uuid id;
    struct error error = {0};
    struct buffer file;
    write_file(
        fixture->key_path,
        BYTES_LITERAL("6465666768696A6B6c6d6e6f707172737475767778797a7b7c7d7e7f80818283\r\n"),
        0600);
    write_hex(fixture->path, known_by_key);
    keymanager = open_with(fixture, &fixture->by_key, false);
    assert_known_content(keymanager);
    assert_int_equal(keymanager_create_root_key(keymanager, &wish, &id, &error), STATUS_OK);
    keymanager_close(keymanager);
    read_file(fixture->path, &file);
    assert_int_equal(file.data[9], 2);  /* the format, which was 1 */
    assert_int_equal(file.data[55], 8); /* the generation, which was 7 */
    buffer_free(&file);
    keymanager = open_with(fixture, &fixture->by_key, false);
    assert_known_content(keymanager);
    keymanager_close(keymanager);
    write_hex(fixture->path, known_by_passphrase);
    keymanager = open_with(fixture, &fixture->by_passphrase, false);
    assert_known_content(keymanager);
    keymanager_close(keymanager);
}

/* ---- Threads ---- */

enum { THREADS = 4, ROUNDS = 500 };

struct worker {
    pthread_t thread;
    struct keymanager *keymanager;
    struct wrap_binding binding;
    bool good;
};

static bool wrap_and_unwrap(struct worker *worker)
{
    struct secret secret;
    struct secret opened = {0};
    uint8_t memory[32 + WRAPPED_OVERHEAD_MAX];
    struct buffer wrapped;
    buffer_over(&wrapped, memory, sizeof(memory));
    if (secret_random(&secret, 32) != STATUS_OK)
        return false;
    bool good =
        keymanager_wrap(worker->keymanager, &worker->binding, &secret, &wrapped) == STATUS_OK &&
        keymanager_unwrap(worker->keymanager, &worker->binding, wrapped_of(&wrapped), &opened, NULL) ==
            STATUS_OK &&
        secret_equal(&secret, &opened);
    secret_free(&opened);
    secret_free(&secret);
    return good;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    worker->good = true;
    for (int i = 0; i < ROUNDS && worker->good; i++)
        worker->good = wrap_and_unwrap(worker);
    return NULL;
}

/* Wraps and unwraps go on in threads while root keys are added. */
static void test_threads(void **state)
{
    const struct fixture *fixture = *state;
    struct keymanager *keymanager = open_with(fixture, &fixture->by_key, true);
    struct worker workers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.keymanager = keymanager,
                                     .binding = binding_of(create_root_key(keymanager))};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 20; i++)
        (void)create_root_key(keymanager);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_true(workers[i].good);
    }
    keymanager_close(keymanager);
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_round_trip_sizes),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_buffer_too_small),
        cmocka_unit_test(test_tampering),
        cmocka_unit_test(test_binding),
        cmocka_unit_test(test_binding_forged),
        cmocka_unit_test(test_root_key_states),
        cmocka_unit_test(test_root_key_unknown),
        cmocka_unit_test(test_memory_failure),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_format_round_trip),
        cmocka_unit_test(test_format_payload_malformed),
        FILE_TEST(test_file_life),
        FILE_TEST(test_file_missing),
        FILE_TEST(test_file_only_previous),
        FILE_TEST(test_file_passphrase),
        FILE_TEST(test_file_wrong_key),
        FILE_TEST(test_file_credential),
        FILE_TEST(test_file_permissions),
        FILE_TEST(test_file_owner),
        FILE_TEST(test_file_kind),
        FILE_TEST(test_file_truncated),
        FILE_TEST(test_file_damaged),
        FILE_TEST(test_file_forged),
        FILE_TEST(test_file_hostile_cost),
        FILE_TEST(test_file_left_overs),
        FILE_TEST(test_file_left_over_of_creation),
        FILE_TEST(test_file_write_fails),
        FILE_TEST(test_file_conflict),
        FILE_TEST(test_file_reseal),
        FILE_TEST(test_file_purge),
        FILE_TEST(test_file_check),
        FILE_TEST(test_known_files),
        FILE_TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, group_set_up, NULL);
}
