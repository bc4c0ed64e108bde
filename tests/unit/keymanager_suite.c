/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager_suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "keymanager/keymanagers.h"

#define NOW INT64_C(1700000000000)

/* ---- One test's world ---- */

struct suite {
    const struct suite_provider *provider;
    void *world;
    struct keymanager *keymanager;
};

static int suite_set_up(void **state)
{
    const struct suite_provider *provider = *state;
    struct suite *suite = calloc(1, sizeof(*suite));
    suite->provider = provider;
    suite->world = provider->start();
    if (suite->world != NULL)
        suite->keymanager = provider->open(suite->world);
    *state = suite;
    return 0;
}

static void suite_close(struct suite *suite)
{
    if (suite->provider->close != NULL)
        suite->provider->close(suite->world, suite->keymanager);
    else
        keymanager_close(suite->keymanager);
    suite->keymanager = NULL;
}

static int suite_tear_down(void **state)
{
    struct suite *suite = *state;
    if (suite->world != NULL) {
        suite_close(suite);
        suite->provider->stop(suite->world);
    }
    free(suite);
    return 0;
}

static struct suite *suite_of(void **state)
{
    struct suite *suite = *state;
    if (suite->world == NULL)
        skip();
    return suite;
}

/* Closed and opened again, where that forgets nothing. */
static void reopen(struct suite *suite)
{
    if (!suite->provider->durable)
        return;
    suite_close(suite);
    suite->keymanager = suite->provider->open(suite->world);
}

/* ---- Helpers ---- */

static const struct bytes key_bytes = {(const uint8_t *)"0123456789abcdef0123456789abcdef", 32};

static void expect(enum status got, enum status wanted, const char *what)
{
    if (got != wanted)
        fail_msg("%s: %s instead of %s", what, status_name(got), status_name(wanted));
}

static struct uuid new_id(void)
{
    struct uuid id;
    expect(uuid_make(NOW, &id), STATUS_OK, "identifier");
    return id;
}

static struct secret material_of(size_t size, uint8_t first)
{
    struct secret material = {0};
    expect(secret_allocate(&material, size), STATUS_OK, "memory");
    for (size_t i = 0; i < size; i++)
        material.data[i] = (uint8_t)(first + i);
    return material;
}

static struct uuid create_with(struct suite *suite, const struct secret *material)
{
    struct uuid id;
    struct error error = {0};
    const struct root_key_wish wish = {
        .id = new_id(), .name = "suite", .material = material, .now = NOW};
    if (keymanager_create_root_key(suite->keymanager, &wish, &id, &error) != STATUS_OK)
        fail_msg("create: %s", error_text(&error));
    if (!suite->provider->own_identifiers)
        assert_true(uuid_equal(&id, &wish.id));
    return id;
}

static struct uuid create(struct suite *suite)
{
    return create_with(suite, NULL);
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

static void start_blob(struct buffer *blob)
{
    buffer_init(blob, KEYMANAGER_PLAINTEXT_MAX + WRAPPED_OVERHEAD_MAX);
}

static void wrap_bytes(struct suite *suite, const struct wrap_binding *binding,
                       struct bytes plaintext, struct buffer *blob)
{
    struct secret secret = {0};
    start_blob(blob);
    expect(secret_copy(&secret, plaintext), STATUS_OK, "memory");
    expect(keymanager_wrap(suite->keymanager, binding, &secret, blob), STATUS_OK, "wrap");
    assert_true(blob->size > plaintext.size);
    assert_true(blob->size <= plaintext.size + WRAPPED_OVERHEAD_MAX);
    secret_free(&secret);
}

static void wrap(struct suite *suite, const struct wrap_binding *binding, struct buffer *blob)
{
    wrap_bytes(suite, binding, key_bytes, blob);
}

static void assert_opens(struct suite *suite, const struct wrap_binding *binding,
                         const struct buffer *blob, struct bytes plaintext)
{
    struct secret opened = {0};
    struct buffer newer;
    start_blob(&newer);
    expect(keymanager_unwrap(suite->keymanager, binding, wrapped_of(blob), &opened, &newer),
           STATUS_OK, "unwrap");
    assert_true(bytes_equal(secret_bytes(&opened), plaintext));
    secret_free(&opened);
    if (newer.size > 0) { /* offered: the same key */
        expect(keymanager_unwrap(suite->keymanager, binding, wrapped_of(&newer), &opened, NULL),
               STATUS_OK, "unwrap what was rewrapped");
        assert_true(bytes_equal(secret_bytes(&opened), plaintext));
        secret_free(&opened);
    }
    buffer_free(&newer);
}

static enum status unwrap_fails(struct suite *suite, const struct wrap_binding *binding,
                                struct bytes blob)
{
    struct secret opened = {0};
    enum status status =
        keymanager_unwrap(suite->keymanager, binding, (struct wrapped){blob}, &opened, NULL);
    assert_null(opened.data);
    assert_int_not_equal(status, STATUS_OK);
    return status;
}

static void assert_refused(struct suite *suite, const struct wrap_binding *binding,
                           struct bytes blob, enum status wanted)
{
    expect(unwrap_fails(suite, binding, blob), wanted, "unwrap");
}

/* Neither wraps nor unwraps nor rewraps. */
static void assert_unusable(struct suite *suite, const struct wrap_binding *binding,
                            const struct buffer *blob)
{
    struct buffer none;
    struct secret secret = {0};
    start_blob(&none);
    buffer_append_text(&none, "before");
    expect(secret_copy(&secret, key_bytes), STATUS_OK, "memory");
    expect(keymanager_wrap(suite->keymanager, binding, &secret, &none),
           STATUS_ROOT_KEY_UNAVAILABLE, "wrap");
    expect(keymanager_rewrap(suite->keymanager, binding, wrapped_of(blob), &none),
           STATUS_ROOT_KEY_UNAVAILABLE, "rewrap");
    assert_refused(suite, binding, buffer_bytes(blob), STATUS_ROOT_KEY_UNAVAILABLE);
    assert_true(bytes_equal_text(buffer_bytes(&none), "before"));
    secret_free(&secret);
    buffer_free(&none);
}

static struct root_key_info info_of(struct suite *suite, const struct uuid *id)
{
    struct root_key_info info = {0};
    expect(keymanager_root_key_info(suite->keymanager, id, &info), STATUS_OK, "info");
    assert_true(uuid_equal(&info.id, id));
    return info;
}

static void assert_newest(struct suite *suite, const struct buffer *blob, bool wanted)
{
    bool newest = !wanted;
    expect(keymanager_is_newest(suite->keymanager, wrapped_of(blob), &newest), STATUS_OK,
           "is newest");
    assert_int_equal(newest, wanted);
}

static void rotate(struct suite *suite, const struct uuid *id, uint32_t from,
                   const struct secret *material, enum status wanted)
{
    struct error error = {0};
    expect(keymanager_rotate(suite->keymanager, id, from, material, NOW + from, &error), wanted,
           "rotate");
    if (wanted != STATUS_OK)
        assert_true(error.text[0] != '\0');
}

static void set_state(struct suite *suite, const struct uuid *id, enum root_key_state state,
                      enum status wanted)
{
    struct error error = {0};
    expect(keymanager_set_state(suite->keymanager, id, state, &error), wanted, "set state");
}

static void delete(struct suite *suite, const struct uuid *id, enum status wanted)
{
    struct error error = {0};
    expect(keymanager_delete(suite->keymanager, id, NOW + 50, &error), wanted, "delete");
}

static void restore(struct suite *suite, const struct uuid *id, enum status wanted)
{
    struct error error = {0};
    expect(keymanager_restore(suite->keymanager, id, &error), wanted, "restore");
}

static void purge(struct suite *suite, const struct uuid *id, enum status wanted)
{
    struct error error = {0};
    expect(keymanager_purge(suite->keymanager, id, &error), wanted, "purge");
}

/* ---- Wrapping ---- */

static void test_round_trip(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct buffer first;
    struct buffer second;
    wrap(suite, &binding, &first);
    wrap(suite, &binding, &second);
    assert_false(bytes_equal(buffer_bytes(&first), buffer_bytes(&second)));
    assert_null(memmem(first.data, first.size, key_bytes.data, 8));
    assert_opens(suite, &binding, &first, key_bytes);
    assert_opens(suite, &binding, &second, key_bytes);
    reopen(suite);
    assert_opens(suite, &binding, &first, key_bytes);
    buffer_free(&second);
    buffer_free(&first);
}

static void test_origin(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct wrapped_origin origin;
    struct buffer blob;
    wrap(suite, &binding, &blob);
    expect(wrapped_origin(wrapped_of(&blob), &origin), STATUS_OK, "origin");
    assert_int_equal(origin.code, suite->keymanager->code);
    assert_memory_equal(&origin.binding, &binding, sizeof(binding));
    assert_in_range(origin.version, 0, 1);
    buffer_free(&blob);
}

static void test_sizes(void **state)
{
    static const size_t sizes[] = {0,   1,    15,   16,    17,    24,   31,
                                   33,  64,   255,  1000,  4096,  65535, 65536,
                                   KEYMANAGER_PLAINTEXT_MAX - 1, KEYMANAGER_PLAINTEXT_MAX};
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    uint8_t *bytes = malloc(KEYMANAGER_PLAINTEXT_MAX);
    for (size_t i = 0; i < KEYMANAGER_PLAINTEXT_MAX; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct buffer blob;
        wrap_bytes(suite, &binding, bytes_of(bytes, sizes[i]), &blob);
        assert_opens(suite, &binding, &blob, bytes_of(bytes, sizes[i]));
        buffer_free(&blob);
    }
    free(bytes);
}

static void test_wrap_refused(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct secret secret = {0};
    struct buffer blob;
    uint8_t memory[40];
    start_blob(&blob);
    expect(keymanager_wrap(suite->keymanager, &binding, &secret, &blob), STATUS_INVALID_ARGUMENT,
           "wrap of nothing");
    expect(secret_allocate(&secret, KEYMANAGER_PLAINTEXT_MAX + 1), STATUS_OK, "memory");
    expect(keymanager_wrap(suite->keymanager, &binding, &secret, &blob), STATUS_TOO_LARGE, "wrap");
    assert_int_equal(blob.size, 0);
    secret_free(&secret);
    buffer_free(&blob);
    buffer_over(&blob, memory, sizeof(memory));
    buffer_append_text(&blob, "before");
    expect(secret_copy(&secret, key_bytes), STATUS_OK, "memory");
    expect(keymanager_wrap(suite->keymanager, &binding, &secret, &blob), STATUS_TOO_LARGE,
           "wrap into a small buffer");
    assert_true(bytes_equal_text(buffer_bytes(&blob), "before"));
    secret_free(&secret);
}

static void assert_spoilt(struct suite *suite, const struct wrap_binding *binding,
                          struct bytes blob)
{
    enum status status = unwrap_fails(suite, binding, blob);
    if (status != STATUS_UNWRAP_FAILED && status != STATUS_ROOT_KEY_UNAVAILABLE)
        fail_msg("a changed blob: %s", status_name(status));
}

/* A bit of every byte; where that names another version, the answer may be that there is none. */
static void test_tampering(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct buffer blob;
    wrap(suite, &binding, &blob);
    for (size_t i = 0; i < blob.size; i++) {
        if (i >= suite->provider->hint && i - suite->provider->hint < suite->provider->hint_size)
            continue;
        blob.data[i] ^= (uint8_t)(1 << i % 8);
        assert_spoilt(suite, &binding, buffer_bytes(&blob));
        blob.data[i] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t size = 0; size < blob.size; size++)
        assert_refused(suite, &binding, bytes_of(blob.data, size), STATUS_UNWRAP_FAILED);
    buffer_append(&blob, "", 1);
    assert_refused(suite, &binding, buffer_bytes(&blob), STATUS_UNWRAP_FAILED);
    blob.size--;
    assert_opens(suite, &binding, &blob, key_bytes);
    buffer_free(&blob);
}

static void test_binding(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct wrap_binding moved[] = {binding, binding, binding};
    struct buffer blob;
    struct buffer newer;
    start_blob(&newer);
    wrap(suite, &binding, &blob);
    moved[0].object.bytes[15] ^= 1;
    moved[1].adapter.bytes[0] ^= 1;
    moved[2].root_key = create(suite);
    for (size_t i = 0; i < ARRAY_COUNT(moved); i++) {
        assert_refused(suite, &moved[i], buffer_bytes(&blob), STATUS_UNWRAP_FAILED);
        expect(keymanager_rewrap(suite->keymanager, &moved[i], wrapped_of(&blob), &newer),
               STATUS_UNWRAP_FAILED, "rewrap of a moved blob");
    }
    assert_int_equal(newer.size, 0);
    assert_opens(suite, &binding, &blob, key_bytes);
    buffer_free(&newer);
    buffer_free(&blob);
}

/* A binding written over another's: it looks right, and does not open. */
static void test_binding_forged(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct wrap_binding other = binding;
    struct buffer blob;
    memset(&other.object, 0x77, sizeof(other.object));
    wrap(suite, &binding, &blob);
    uint8_t *place = memmem(blob.data, blob.size, &binding.object, sizeof(binding.object));
    assert_non_null(place);
    memcpy(place, &other.object, sizeof(other.object));
    assert_refused(suite, &other, buffer_bytes(&blob), STATUS_UNWRAP_FAILED);
    buffer_free(&blob);
}

/* ---- Making root keys ---- */

static void test_create(void **state)
{
    struct suite *suite = suite_of(state);
    struct uuid id = create(suite);
    struct root_key_info info = info_of(suite, &id);
    assert_int_equal(info.state, ROOT_KEY_ACTIVE);
    assert_int_equal(info.version, 1);
    assert_false(info.imported);
    assert_false(info.purged);
    assert_true(info.created == NOW || info.created == 0 || suite->provider->own_identifiers);
    assert_true(info.rotated == 0);
    assert_true(info.deleted == 0);
    reopen(suite);
    struct root_key_info again = info_of(suite, &id);
    assert_int_equal(again.state, info.state);
    assert_int_equal(again.version, info.version);
    assert_true(again.created == info.created);
}

/* The same wish twice makes one; another wish with its identifier is refused. */
static void test_create_repeated(void **state)
{
    struct suite *suite = suite_of(state);
    if (suite->provider->own_identifiers)
        skip();
    struct root_key_wish wish = {.id = new_id(), .name = "suite", .now = NOW};
    struct uuid id = {{0}};
    struct error error = {0};
    struct buffer blob;
    expect(keymanager_create_root_key(suite->keymanager, &wish, &id, &error), STATUS_OK, "create");
    struct wrap_binding binding = binding_of(id);
    wrap(suite, &binding, &blob);
    for (int i = 0; i < 2; i++) {
        id = (struct uuid){{0}};
        expect(keymanager_create_root_key(suite->keymanager, &wish, &id, &error), STATUS_OK,
               "the same again");
        assert_true(uuid_equal(&id, &wish.id));
        assert_opens(suite, &binding, &blob, key_bytes);
        assert_int_equal(info_of(suite, &id).version, 1);
        reopen(suite);
    }
    wish.now++;
    id = (struct uuid){{0}};
    expect(keymanager_create_root_key(suite->keymanager, &wish, &id, &error), STATUS_EXISTS,
           "another wish");
    assert_true(error.text[0] != '\0');
    assert_true(uuid_equal(&id, &(struct uuid){{0}}));
    buffer_free(&blob);
}

static void test_create_invalid(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 17, 23, 31, 33, 64};
    struct suite *suite = suite_of(state);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct secret material = material_of(sizes[i], 1);
        const struct root_key_wish wish = {.id = new_id(), .material = &material, .now = NOW};
        struct error error = {0};
        struct uuid id;
        expect(keymanager_create_root_key(suite->keymanager, &wish, &id, &error),
               STATUS_INVALID_ARGUMENT, "create");
        assert_true(error.text[0] != '\0');
        secret_free(&material);
    }
}

static void test_import(void **state)
{
    static const size_t sizes[] = {16, 24, 32};
    struct suite *suite = suite_of(state);
    if (suite->provider->cannot_import)
        skip();
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct secret material = material_of(sizes[i], 9);
        struct wrap_binding binding = binding_of(create_with(suite, &material));
        struct buffer blob;
        assert_true(info_of(suite, &binding.root_key).imported);
        wrap(suite, &binding, &blob);
        reopen(suite);
        assert_opens(suite, &binding, &blob, key_bytes);
        assert_true(info_of(suite, &binding.root_key).imported);
        buffer_free(&blob);
        secret_free(&material);
    }
}

static void test_import_repeated(void **state)
{
    struct suite *suite = suite_of(state);
    if (suite->provider->cannot_import || suite->provider->own_identifiers)
        skip();
    struct secret material = material_of(24, 1);
    struct secret other = material_of(24, 2);
    struct root_key_wish wish = {.id = new_id(), .material = &material, .now = NOW};
    struct uuid id;
    struct error error = {0};
    for (int i = 0; i < 2; i++)
        expect(keymanager_create_root_key(suite->keymanager, &wish, &id, &error), STATUS_OK,
               "import");
    wish.material = &other;
    expect(keymanager_create_root_key(suite->keymanager, &wish, &id, &error), STATUS_EXISTS,
           "other material");
    wish.material = NULL;
    expect(keymanager_create_root_key(suite->keymanager, &wish, &id, &error), STATUS_EXISTS,
           "no material");
    secret_free(&other);
    secret_free(&material);
}

/* ---- Rotation ---- */

static void test_rotate(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct buffer old;
    struct buffer new;
    wrap(suite, &binding, &old);
    assert_newest(suite, &old, true);
    rotate(suite, &binding.root_key, 1, NULL, STATUS_OK);
    struct root_key_info info = info_of(suite, &binding.root_key);
    assert_int_equal(info.version, 2);
    assert_true(info.rotated != 0);
    wrap(suite, &binding, &new);
    for (int i = 0; i < 2; i++) {
        assert_newest(suite, &old, false);
        assert_newest(suite, &new, true);
        assert_opens(suite, &binding, &old, key_bytes);
        assert_opens(suite, &binding, &new, key_bytes);
        reopen(suite);
    }
    assert_int_equal(info_of(suite, &binding.root_key).version, 2);
    assert_true(info_of(suite, &binding.root_key).rotated == info.rotated);
    buffer_free(&new);
    buffer_free(&old);
}

static void test_rotate_refused(void **state)
{
    struct suite *suite = suite_of(state);
    struct uuid id = create(suite);
    struct secret material = material_of(32, 1);
    rotate(suite, &id, 0, NULL, STATUS_CONFLICT);
    rotate(suite, &id, 2, NULL, STATUS_CONFLICT);
    rotate(suite, &id, 1, &material, STATUS_INVALID_ARGUMENT);
    rotate(suite, &id, 1, NULL, STATUS_OK);
    rotate(suite, &id, 1, NULL, STATUS_CONFLICT);
    set_state(suite, &id, ROOT_KEY_SUSPENDED, STATUS_OK);
    rotate(suite, &id, 2, NULL, STATUS_ROOT_KEY_UNAVAILABLE);
    assert_int_equal(info_of(suite, &id).version, 2);
    secret_free(&material);
}

static void test_rotate_imported(void **state)
{
    struct suite *suite = suite_of(state);
    if (suite->provider->cannot_import)
        skip();
    struct secret first = material_of(16, 1);
    struct secret second = material_of(32, 2);
    struct secret wrong = material_of(20, 2);
    struct wrap_binding binding = binding_of(create_with(suite, &first));
    struct buffer blob;
    wrap(suite, &binding, &blob);
    rotate(suite, &binding.root_key, 1, NULL, STATUS_INVALID_ARGUMENT);
    rotate(suite, &binding.root_key, 1, &wrong, STATUS_INVALID_ARGUMENT);
    rotate(suite, &binding.root_key, 1, &second, STATUS_OK);
    reopen(suite);
    assert_newest(suite, &blob, false);
    assert_opens(suite, &binding, &blob, key_bytes);
    assert_true(info_of(suite, &binding.root_key).imported);
    buffer_free(&blob);
    secret_free(&wrong);
    secret_free(&second);
    secret_free(&first);
}

static void test_rewrap(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct buffer blob;
    struct buffer newer;
    wrap(suite, &binding, &blob);
    start_blob(&newer);
    expect(keymanager_rewrap(suite->keymanager, &binding, wrapped_of(&blob), &newer), STATUS_OK,
           "rewrap of the newest");
    assert_int_equal(newer.size, 0);
    rotate(suite, &binding.root_key, 1, NULL, STATUS_OK);
    rotate(suite, &binding.root_key, 2, NULL, STATUS_OK);
    expect(keymanager_rewrap(suite->keymanager, &binding, wrapped_of(&blob), &newer), STATUS_OK,
           "rewrap");
    assert_true(newer.size > 0 && newer.size <= key_bytes.size + WRAPPED_OVERHEAD_MAX);
    assert_newest(suite, &newer, true);
    assert_opens(suite, &binding, &newer, key_bytes);
    newer.data[newer.size - 1] ^= 1;
    assert_refused(suite, &binding, buffer_bytes(&newer), STATUS_UNWRAP_FAILED);
    buffer_free(&newer);
    buffer_free(&blob);
}

static void test_rewrap_refused(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct buffer blob;
    struct buffer newer;
    bool newest = false;
    wrap(suite, &binding, &blob);
    start_blob(&newer);
    rotate(suite, &binding.root_key, 1, NULL, STATUS_OK);
    expect(keymanager_rewrap(suite->keymanager, &binding, (struct wrapped){bytes_of("junk", 4)},
                             &newer),
           STATUS_UNWRAP_FAILED, "rewrap of junk");
    expect(keymanager_is_newest(suite->keymanager, (struct wrapped){bytes_of("junk", 4)}, &newest),
           STATUS_UNWRAP_FAILED, "is junk newest");
    assert_int_equal(newer.size, 0);
    buffer_free(&newer);
    buffer_free(&blob);
}

/* ---- States ---- */

static void test_suspend(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct buffer blob;
    wrap(suite, &binding, &blob);
    for (int i = 0; i < 2; i++) /* fine where it is so already */
        set_state(suite, &binding.root_key, ROOT_KEY_SUSPENDED, STATUS_OK);
    assert_int_equal(info_of(suite, &binding.root_key).state, ROOT_KEY_SUSPENDED);
    assert_unusable(suite, &binding, &blob);
    reopen(suite);
    assert_unusable(suite, &binding, &blob);
    for (int i = 0; i < 2; i++)
        set_state(suite, &binding.root_key, ROOT_KEY_ACTIVE, STATUS_OK);
    assert_opens(suite, &binding, &blob, key_bytes);
    set_state(suite, &binding.root_key, ROOT_KEY_DESTROYED, STATUS_INVALID_ARGUMENT);
    buffer_free(&blob);
}

static void test_delete_and_restore(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct buffer blob;
    wrap(suite, &binding, &blob);
    rotate(suite, &binding.root_key, 1, NULL, STATUS_OK);
    restore(suite, &binding.root_key, STATUS_CONFLICT);
    for (int i = 0; i < 2; i++)
        delete(suite, &binding.root_key, STATUS_OK);
    reopen(suite);
    struct root_key_info info = info_of(suite, &binding.root_key);
    assert_int_equal(info.state, ROOT_KEY_DESTROYED);
    assert_int_equal(info.version, 2);
    assert_true(info.deleted != 0);
    assert_false(info.purged);
    assert_unusable(suite, &binding, &blob);
    set_state(suite, &binding.root_key, ROOT_KEY_ACTIVE, STATUS_CONFLICT);
    set_state(suite, &binding.root_key, ROOT_KEY_SUSPENDED, STATUS_CONFLICT);
    rotate(suite, &binding.root_key, 2, NULL, STATUS_ROOT_KEY_UNAVAILABLE);
    restore(suite, &binding.root_key, STATUS_OK);
    restore(suite, &binding.root_key, STATUS_CONFLICT);
    reopen(suite);
    info = info_of(suite, &binding.root_key);
    assert_int_equal(info.state, ROOT_KEY_ACTIVE);
    assert_true(info.deleted == 0);
    assert_opens(suite, &binding, &blob, key_bytes);
    assert_newest(suite, &blob, false);
    buffer_free(&blob);
}

/* A suspended one that is restored is active. */
static void test_restore_is_active(void **state)
{
    struct suite *suite = suite_of(state);
    struct uuid id = create(suite);
    set_state(suite, &id, ROOT_KEY_SUSPENDED, STATUS_OK);
    delete(suite, &id, STATUS_OK);
    restore(suite, &id, STATUS_OK);
    assert_int_equal(info_of(suite, &id).state, ROOT_KEY_ACTIVE);
}

static void test_purge(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct buffer blob;
    wrap(suite, &binding, &blob);
    if (suite->provider->cannot_purge) {
        delete(suite, &binding.root_key, STATUS_OK);
        purge(suite, &binding.root_key, STATUS_FEATURE_NOT_SUPPORTED);
        buffer_free(&blob);
        return;
    }
    purge(suite, &binding.root_key, STATUS_CONFLICT);
    set_state(suite, &binding.root_key, ROOT_KEY_SUSPENDED, STATUS_OK);
    purge(suite, &binding.root_key, STATUS_CONFLICT);
    delete(suite, &binding.root_key, STATUS_OK);
    for (int i = 0; i < 2; i++) {
        purge(suite, &binding.root_key, STATUS_OK);
        struct root_key_info info = info_of(suite, &binding.root_key);
        assert_int_equal(info.state, ROOT_KEY_DESTROYED);
        assert_true(info.purged);
        assert_true(info.deleted != 0);
        assert_unusable(suite, &binding, &blob);
        restore(suite, &binding.root_key, STATUS_NOT_FOUND);
        set_state(suite, &binding.root_key, ROOT_KEY_ACTIVE, STATUS_CONFLICT);
        delete(suite, &binding.root_key, STATUS_OK);
        reopen(suite);
    }
    buffer_free(&blob);
}

/* The identifier of a deleted or purged root key is never given to another. */
static void test_identifier_stays_taken(void **state)
{
    struct suite *suite = suite_of(state);
    if (suite->provider->own_identifiers || suite->provider->cannot_purge)
        skip();
    const struct root_key_wish wish = {.id = create(suite), .name = "suite", .now = NOW};
    struct uuid id;
    struct error error = {0};
    delete(suite, &wish.id, STATUS_OK);
    expect(keymanager_create_root_key(suite->keymanager, &wish, &id, &error), STATUS_EXISTS,
           "create as a deleted one");
    purge(suite, &wish.id, STATUS_OK);
    expect(keymanager_create_root_key(suite->keymanager, &wish, &id, &error), STATUS_EXISTS,
           "create as a purged one");
}

static void test_unknown_root_key(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding known = binding_of(create(suite));
    struct wrap_binding binding = binding_of(new_id());
    struct root_key_info info;
    struct buffer blob;
    wrap(suite, &known, &blob);
    uint8_t *place = memmem(blob.data, blob.size, &known.root_key, sizeof(known.root_key));
    assert_non_null(place);
    memcpy(place, &binding.root_key, sizeof(binding.root_key));
    assert_unusable(suite, &binding, &blob);
    expect(keymanager_root_key_info(suite->keymanager, &binding.root_key, &info), STATUS_NOT_FOUND,
           "info");
    rotate(suite, &binding.root_key, 1, NULL, STATUS_ROOT_KEY_UNAVAILABLE);
    set_state(suite, &binding.root_key, ROOT_KEY_SUSPENDED, STATUS_ROOT_KEY_UNAVAILABLE);
    delete(suite, &binding.root_key, STATUS_ROOT_KEY_UNAVAILABLE);
    restore(suite, &binding.root_key, STATUS_NOT_FOUND);
    if (!suite->provider->cannot_purge)
        purge(suite, &binding.root_key, STATUS_ROOT_KEY_UNAVAILABLE);
    buffer_free(&blob);
}

/* ---- Lists and checks ---- */

struct visit {
    struct uuid wanted[5];
    size_t seen[5];
    size_t count;
    size_t stop_after;
    struct suite *suite;
};

static bool visit_one(void *context, const struct root_key_info *info)
{
    struct visit *visit = context;
    struct root_key_info same;
    for (size_t i = 0; i < ARRAY_COUNT(visit->wanted); i++)
        visit->seen[i] += uuid_equal(&visit->wanted[i], &info->id);
    expect(keymanager_root_key_info(visit->suite->keymanager, &info->id, &same), STATUS_OK,
           "info while visiting");
    assert_int_equal(same.state, info->state);
    assert_int_equal(same.version, info->version);
    return ++visit->count != visit->stop_after;
}

static void test_list(void **state)
{
    struct suite *suite = suite_of(state);
    struct visit visit = {.suite = suite};
    for (size_t i = 0; i < ARRAY_COUNT(visit.wanted); i++)
        visit.wanted[i] = create(suite);
    set_state(suite, &visit.wanted[1], ROOT_KEY_SUSPENDED, STATUS_OK);
    delete(suite, &visit.wanted[3], STATUS_OK);
    expect(keymanager_root_keys(suite->keymanager, visit_one, &visit), STATUS_OK, "root keys");
    for (size_t i = 0; i < ARRAY_COUNT(visit.wanted); i++)
        assert_int_equal(visit.seen[i], 1);
    visit.count = 0;
    visit.stop_after = 2;
    expect(keymanager_root_keys(suite->keymanager, visit_one, &visit), STATUS_OK, "root keys");
    assert_int_equal(visit.count, 2);
}

static void test_check(void **state)
{
    struct suite *suite = suite_of(state);
    struct error error = {0};
    if (keymanager_check(suite->keymanager, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
}

static void test_records(void **state)
{
    struct suite *suite = suite_of(state);
    struct error error = {0};
    struct uuid id;
    if (keymanager_keeps_records(suite->keymanager))
        skip(); /* their promises are tested with what keeps them */
    expect(keymanager_record_put(suite->keymanager, "name", bytes_of("x", 1), &id, &error),
           STATUS_FEATURE_NOT_SUPPORTED, "record");
}

/* ---- Jobs ---- */

struct errand {
    struct keymanager_job job; /* first */
    atomic_int *left;
    atomic_int runs;
    struct suite *suite;
    bool again; /* unwraps what it wrapped */
    struct buffer blob; /* and that is it */
};

static void errand_done(struct keymanager_job *job)
{
    struct errand *errand = CONTAINER_OF(job, struct errand, job);
    if (errand->again && job->status == STATUS_OK) {
        errand->again = false;
        job->task = KEYMANAGER_UNWRAP;
        errand->blob = job->ret_wrapped;
        start_blob(&job->ret_wrapped);
        job->wrapped = wrapped_of(&errand->blob);
        secret_free(&job->plaintext);
        job->next = NULL;
        keymanager_submit(errand->suite->keymanager, job);
        return;
    }
    (void)atomic_fetch_add(&errand->runs, 1);
    (void)atomic_fetch_sub(errand->left, 1);
}

static void wait_for(atomic_int *left)
{
    const struct timespec while_waiting = {0, 1000000};
    for (int i = 0; i < 20000 && atomic_load(left) > 0; i++)
        (void)nanosleep(&while_waiting, NULL);
    assert_int_equal(atomic_load(left), 0);
}

enum { ERRANDS = 60 };

static void prepare(struct errand *errand, struct suite *suite, atomic_int *left,
                    const struct wrap_binding *binding)
{
    *errand = (struct errand){.left = left, .suite = suite};
    errand->job.binding = *binding;
    errand->job.done = errand_done;
    start_blob(&errand->job.ret_wrapped);
    start_blob(&errand->blob);
}

static void finish(struct errand *errand)
{
    assert_int_equal(atomic_load(&errand->runs), 1);
    secret_free(&errand->job.plaintext);
    buffer_free(&errand->job.ret_wrapped);
    buffer_free(&errand->blob);
}

static void submit_all(struct suite *suite, struct errand *errands, size_t count)
{
    for (size_t i = 0; i < count; i++)
        errands[i].job.next = i + 1 < count ? &errands[i + 1].job : NULL;
    keymanager_submit(suite->keymanager, &errands[0].job);
}

/* All kinds at once, foreground and background, good ones and others; each ends once, as the
 * function of the same name would. */
static void test_jobs(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct wrap_binding moved = binding;
    struct errand *errands = calloc(ERRANDS, sizeof(*errands));
    struct buffer old;
    atomic_int left = ERRANDS;
    moved.object.bytes[0] ^= 1;
    wrap(suite, &binding, &old);
    rotate(suite, &binding.root_key, 1, NULL, STATUS_OK);
    for (size_t i = 0; i < ERRANDS; i++) {
        struct keymanager_job *job = &errands[i].job;
        prepare(&errands[i], suite, &left, i % 4 == 3 ? &moved : &binding);
        job->background = i % 8 >= 4;
        job->wrapped = wrapped_of(&old);
        job->task = i % 4 == 0   ? KEYMANAGER_WRAP
                    : i % 4 == 2 ? KEYMANAGER_REWRAP
                                 : KEYMANAGER_UNWRAP;
        if (job->task == KEYMANAGER_WRAP)
            expect(secret_copy(&job->plaintext, key_bytes), STATUS_OK, "memory");
    }
    submit_all(suite, errands, ERRANDS);
    wait_for(&left);
    for (size_t i = 0; i < ERRANDS; i++) {
        struct keymanager_job *job = &errands[i].job;
        expect(job->status, i % 4 == 3 ? STATUS_UNWRAP_FAILED : STATUS_OK, "job");
        if (i % 4 == 1)
            assert_true(bytes_equal(secret_bytes(&job->plaintext), key_bytes));
        if (i % 4 == 3)
            assert_null(job->plaintext.data);
        if (i % 4 == 0 || i % 4 == 2)
            assert_opens(suite, &binding, &job->ret_wrapped, key_bytes);
        finish(&errands[i]);
    }
    buffer_free(&old);
    free(errands);
}

/* A job's end may hand it over again. */
static void test_jobs_again(void **state)
{
    struct suite *suite = suite_of(state);
    struct wrap_binding binding = binding_of(create(suite));
    struct errand errands[8];
    atomic_int left = ARRAY_COUNT(errands);
    for (size_t i = 0; i < ARRAY_COUNT(errands); i++) {
        prepare(&errands[i], suite, &left, &binding);
        errands[i].job.task = KEYMANAGER_WRAP;
        errands[i].again = true;
        expect(secret_copy(&errands[i].job.plaintext, key_bytes), STATUS_OK, "memory");
    }
    submit_all(suite, errands, ARRAY_COUNT(errands));
    wait_for(&left);
    for (size_t i = 0; i < ARRAY_COUNT(errands); i++) {
        expect(errands[i].job.status, STATUS_OK, "job");
        assert_true(bytes_equal(secret_bytes(&errands[i].job.plaintext), key_bytes));
        finish(&errands[i]);
    }
    keymanager_submit(suite->keymanager, NULL);
}

static void test_job_record(void **state)
{
    struct suite *suite = suite_of(state);
    struct errand errand;
    atomic_int left = 1;
    if (keymanager_keeps_records(suite->keymanager))
        skip();
    prepare(&errand, suite, &left, &(struct wrap_binding){0});
    errand.job.task = KEYMANAGER_RECORD;
    errand.job.record_name = "name";
    errand.job.record = bytes_of("x", 1);
    keymanager_submit(suite->keymanager, &errand.job);
    wait_for(&left);
    expect(errand.job.status, STATUS_FEATURE_NOT_SUPPORTED, "record");
    finish(&errand);
}

/* ---- Threads ---- */

enum { THREADS = 4, ROUNDS = 60 };

struct worker {
    pthread_t thread;
    struct keymanager *keymanager;
    struct wrap_binding binding;
    enum status status;
};

static enum status there_and_back(struct worker *worker)
{
    struct secret secret = {0};
    struct secret opened = {0};
    struct buffer blob;
    buffer_init(&blob, 4096);
    enum status status = secret_random(&secret, 32);
    if (status == STATUS_OK)
        status = keymanager_wrap(worker->keymanager, &worker->binding, &secret, &blob);
    if (status == STATUS_OK)
        status = keymanager_unwrap(worker->keymanager, &worker->binding, wrapped_of(&blob),
                                   &opened, NULL);
    if (status == STATUS_OK && !secret_equal(&secret, &opened))
        status = STATUS_INTERNAL;
    secret_free(&opened);
    secret_free(&secret);
    buffer_free(&blob);
    return status;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    worker->status = STATUS_OK;
    for (int i = 0; i < ROUNDS && worker->status == STATUS_OK; i++)
        worker->status = there_and_back(worker);
    return NULL;
}

/* Wraps and unwraps go on in threads while root keys are made and rotated. */
static void test_threads(void **state)
{
    struct suite *suite = suite_of(state);
    struct worker workers[THREADS];
    struct uuid shared = create(suite);
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] =
            (struct worker){.keymanager = suite->keymanager, .binding = binding_of(shared)};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (uint32_t i = 1; i <= 5; i++) {
        rotate(suite, &shared, i, NULL, STATUS_OK);
        (void)create(suite);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        expect(workers[i].status, STATUS_OK, "a thread");
    }
}

struct rotator {
    pthread_t thread;
    struct suite *suite;
    struct uuid id;
    enum status status;
};

static void *rotate_once(void *argument)
{
    struct rotator *rotator = argument;
    rotator->status =
        keymanager_rotate(rotator->suite->keymanager, &rotator->id, 1, NULL, NOW + 1, NULL);
    return NULL;
}

/* Two at once who know the same version: one rotates. */
static void test_rotations_at_once(void **state)
{
    struct suite *suite = suite_of(state);
    struct rotator rotators[THREADS];
    struct uuid id = create(suite);
    int good = 0;
    for (size_t i = 0; i < THREADS; i++) {
        rotators[i] = (struct rotator){.suite = suite, .id = id};
        assert_int_equal(pthread_create(&rotators[i].thread, NULL, rotate_once, &rotators[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(rotators[i].thread, NULL), 0);
        good += rotators[i].status == STATUS_OK;
        assert_true(rotators[i].status == STATUS_OK || rotators[i].status == STATUS_CONFLICT);
    }
    assert_int_equal(good, 1);
    assert_int_equal(info_of(suite, &id).version, 2);
}

/* ---- The suite ---- */

static const struct {
    const char *name;
    CMUnitTestFunction function;
} suite_tests[] = {
    {"round trip", test_round_trip},
    {"origin", test_origin},
    {"sizes", test_sizes},
    {"wrap refused", test_wrap_refused},
    {"tampering", test_tampering},
    {"binding", test_binding},
    {"binding forged", test_binding_forged},
    {"create", test_create},
    {"create repeated", test_create_repeated},
    {"create invalid", test_create_invalid},
    {"import", test_import},
    {"import repeated", test_import_repeated},
    {"rotate", test_rotate},
    {"rotate refused", test_rotate_refused},
    {"rotate imported", test_rotate_imported},
    {"rewrap", test_rewrap},
    {"rewrap refused", test_rewrap_refused},
    {"suspend", test_suspend},
    {"delete and restore", test_delete_and_restore},
    {"restore is active", test_restore_is_active},
    {"purge", test_purge},
    {"identifier stays taken", test_identifier_stays_taken},
    {"unknown root key", test_unknown_root_key},
    {"list", test_list},
    {"check", test_check},
    {"records", test_records},
    {"jobs", test_jobs},
    {"jobs again", test_jobs_again},
    {"job record", test_job_record},
    {"threads", test_threads},
    {"rotations at once", test_rotations_at_once},
};
_Static_assert(ARRAY_COUNT(suite_tests) <= SUITE_TESTS_MAX, "as promised in the header");

void keymanager_suite_add(struct CMUnitTest *tests, size_t *count,
                          const struct suite_provider *provider)
{
    for (size_t i = 0; i < ARRAY_COUNT(suite_tests); i++) {
        char *name = NULL; /* for the life of the process, as the tests */
        if (asprintf(&name, "%s: %s", provider->name, suite_tests[i].name) < 0)
            abort();
        tests[(*count)++] =
            (struct CMUnitTest){name, suite_tests[i].function, suite_set_up, suite_tear_down,
                                (void *)(uintptr_t)provider};
    }
}
