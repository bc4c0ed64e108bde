/* SPDX-License-Identifier: Apache-2.0 */
/* Keys in the API: every route, what it answers, and every way in which it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/root_keys.h"
#include "api/upkeep.h"
#include "api_bench.h"
#include "base/base64.h"
#include "keymanager/memory.h"
#include "kms/keys.h"

#define KEYS    "/api/v2/keys"
#define UNKNOWN "00000000-0000-4000-8000-0000000000ff"
#define HOUR    ((int64_t)3600000)
#define DAY     (24 * HOUR)
#define META                                                                                       \
    "{\"metadata\":{\"collectionType\":\"application/vnd.ibm.kms.key+json\","                      \
    "\"collectionTotal\":1},\"resources\":[{"                                                      \
    "\"type\":\"application/vnd.ibm.kms.key+json\","
#define ROOT     META "\"name\":\"a root key\",\"extractable\":false}]}"
#define STANDARD META "\"name\":\"a standard key\",\"extractable\":true}]}"
#define KEY_32   "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define OTHER_32 "HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

struct id {
    char text[UUID_TEXT_LENGTH + 1];
};

static int set_up(void **state)
{
    struct api_bench *bench = calloc(1, sizeof(*bench));
    api_bench_open(bench);
    api_bench_act_as(bench, "manager", API_ROLE_MANAGER);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    api_bench_close(*state);
    free(*state);
    return 0;
}

static void PRINTF_LIKE(5, 6)
    expect(struct api_bench *bench, unsigned status, enum api_method method, const char *body,
           const char *format, ...)
{
    char target[2048];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(target, sizeof(target), format, arguments);
    va_end(arguments);
    unsigned got = api_bench_ask(bench, method, target, body);
    if (got == status)
        return;
    struct bytes answer = buffer_bytes(&bench->response.body);
    fail_msg("%s: %u, not %u: %.*s", target, got, status, (int)answer.size,
             answer.size > 0 ? (const char *)answer.data : "");
}

#define expect_code(bench, status, code, method, body, ...)                                        \
    do {                                                                                           \
        expect(bench, status, method, body, __VA_ARGS__);                                          \
        assert_string_equal(api_bench_code(bench), code);                                          \
    } while (0)

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "(none)" : text;
}

static json_int_t number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static bool is_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static size_t resource_count(const struct api_bench *bench)
{
    return json_array_size(json_object_get(bench->json, "resources"));
}

static struct id create(struct api_bench *bench, const char *body)
{
    struct id id;
    expect(bench, 201, API_POST, body, KEYS);
    (void)snprintf(id.text, sizeof(id.text), "%s", text_of(api_bench_resource(bench), "id"));
    return id;
}

static int state_of(struct api_bench *bench, struct id id)
{
    expect(bench, 200, API_GET, NULL, KEYS "/%s/metadata", id.text);
    return (int)number_of(api_bench_resource(bench), "state");
}

static void pass(struct api_bench *bench, int64_t milliseconds)
{
    bench->core.clock.test_time += milliseconds;
}

/* As another service ID from now on; tokens have an end. */
static void act_as(struct api_bench *bench, const char *name, unsigned role)
{
    api_bench_act_as(bench, name, role);
}

/* The time goes on, and who asks gets a new token. */
static void pass_as(struct api_bench *bench, int64_t milliseconds, const char *name, unsigned role)
{
    pass(bench, milliseconds);
    act_as(bench, name, role);
}

/* ---- Creating ---- */

static void test_a_standard_key(void **state)
{
    struct api_bench *bench = *state;
    bench->request.prefer = BYTES_LITERAL("return=representation");
    expect(bench, 201, API_POST,
           META "\"name\":\"kek\",\"extractable\":true,\"payload\":\"" KEY_32 "\","
                "\"description\":\"about it\",\"Tags\":[\"one\",\"two\"],"
                "\"aliases\":[\"first\",\"Second\"]}]}",
           KEYS);
    assert_string_equal(bench->response.content_type, "application/vnd.ibm.kms.key+json");
    json_t *made = json_deep_copy(api_bench_resource(bench));
    const char *id = text_of(made, "id");
    char crn[256];
    (void)snprintf(
        crn, sizeof(crn),
        "crn:v1:bluemix:public:kms:local:a/00000000-0000-4000-8000-000000000001:" API_BENCH_INSTANCE
        ":key:%s",
        id);
    assert_string_equal(text_of(made, "crn"), crn);
    assert_string_equal(text_of(made, "payload"), KEY_32);
    assert_string_equal(text_of(made, "type"), "application/vnd.ibm.kms.key+json");
    assert_string_equal(text_of(made, "description"), "about it");
    assert_string_equal(text_of(made, "keyRingID"), "default");
    assert_int_equal(json_array_size(json_object_get(made, "tags")), 2);
    assert_int_equal(json_array_size(json_object_get(made, "aliases")), 2);
    assert_int_equal(number_of(made, "state"), 1);
    assert_true(is_true(made, "extractable") && is_true(made, "imported"));
    assert_false(is_true(made, "deleted"));
    assert_int_equal(strncmp(text_of(made, "createdBy"), "iam-ServiceId-", 14), 0);
    assert_null(json_object_get(made, "keyVersion"));

    expect(bench, 200, API_GET, NULL, KEYS "/%s", id);
    assert_true(json_equal(made, api_bench_resource(bench)));
    expect(bench, 200, API_GET, NULL, KEYS "/Second");
    assert_true(json_equal(made, api_bench_resource(bench)));
    expect_code(bench, 404, "KEY_NOT_FOUND_ERR", API_GET, NULL, KEYS "/second");
    expect(bench, 200, API_GET, NULL, KEYS "/%s/metadata", id);
    assert_null(json_object_get(api_bench_resource(bench), "payload"));
    json_decref(made);
}

static void test_a_generated_standard_key_has_256_bits(void **state)
{
    struct api_bench *bench = *state;
    uint8_t bytes[64];
    struct id id = create(bench, STANDARD);
    expect(bench, 200, API_GET, NULL, KEYS "/%s", id.text);
    const char *payload = text_of(api_bench_resource(bench), "payload");
    assert_int_equal(base64_decoded_size(BASE64_STANDARD, bytes_of_text(payload)), 32);
    assert_true(base64_decode(BASE64_STANDARD, bytes_of_text(payload), bytes));
    assert_false(is_true(api_bench_resource(bench), "imported"));
}

static void test_a_root_key(void **state)
{
    struct api_bench *bench = *state;
    bench->request.prefer = BYTES_LITERAL("return=representation");
    struct id id = create(bench, ROOT);
    const json_t *made = api_bench_resource(bench);
    assert_null(json_object_get(made, "payload"));
    assert_false(is_true(made, "extractable") || is_true(made, "imported"));
    assert_string_equal(text_of(json_object_get(made, "keyVersion"), "id"), id.text);
    assert_string_equal(text_of(made, "algorithmType"), "AES");
    json_t *copy = json_deep_copy(made);
    expect(bench, 200, API_GET, NULL, KEYS "/%s", id.text);
    assert_true(json_equal(copy, api_bench_resource(bench)));
    json_decref(copy);
    struct id imported =
        create(bench, META "\"name\":\"mine\",\"extractable\":false,\"payload\":\"" KEY_32 "\"}]}");
    expect(bench, 200, API_GET, NULL, KEYS "/%s", imported.text);
    assert_true(is_true(api_bench_resource(bench), "imported"));
    assert_null(json_object_get(api_bench_resource(bench), "payload"));
}

static void test_what_is_told_after_a_creation(void **state)
{
    struct api_bench *bench = *state;
    bench->request.prefer = BYTES_LITERAL("return=minimal");
    expect(bench, 201, API_POST, STANDARD, KEYS);
    assert_int_equal(json_object_size(api_bench_resource(bench)), 3);
    bench->request.prefer = bytes_of(NULL, 0);
    expect(bench, 201, API_POST, STANDARD, KEYS);
    assert_null(json_object_get(api_bench_resource(bench), "payload"));
    assert_null(json_object_get(api_bench_resource(bench), "creationDate"));
    assert_string_not_equal(text_of(api_bench_resource(bench), "crn"), "(none)");
}

static void test_keys_that_are_not_made(void **state)
{
    struct api_bench *bench = *state;
    static const struct {
        const char *body;
        const char *code;
    } cases[] = {
        {NULL, "NO_BODY_ERR"},
        {"{}", "NO_BODY_ERR"},
        {"[]", "BAD_BODY_ERR"},
        {"{\"metadata\":{},\"resources\":[{\"name\":\"xx\"}]}", "BAD_BODY_ERR"},
        {"{\"metadata\":{\"collectionTotal\":1},\"resources\":[]}", "BAD_BODY_ERR"},
        {"{\"metadata\":{\"collectionTotal\":1},\"resources\":[{},{}]}", "BAD_BODY_ERR"},
        {META "\"extractable\":true}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"x\"}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"a\\u0007b\"}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":7}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"description\":\"y\"}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"tags\":\"y\"}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"tags\":[\"a:b\"]}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"tags\":[\"0123456789012345678901234567890\"]}]}",
         "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"aliases\":[\"keys\"]}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"aliases\":[\"a b\"]}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"aliases\":[\"" UNKNOWN "\"]}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"extractable\":1}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"expirationDate\":\"tomorrow\"}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"expirationDate\":\"2001-01-01T00:00:00Z\"}]}",
         "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"extractable\":false,\"payload\":\"AAAA\"}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"payload\":\"not base64\"}]}", "INVALID_FIELD_ERR"},
        {META "\"name\":\"xx\",\"encryptedNonce\":\"AAAA\",\"payload\":\"AAAA\"}]}",
         "INVALID_FIELD_ERR"},
        {"{\"metadata\":{\"collectionTotal\":1},\"resources\":[{\"type\":\"other\",\"name\":"
         "\"xx\"}]}",
         "INVALID_FIELD_ERR"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        expect(bench, 400, API_POST, cases[i].body, KEYS);
        if (strcmp(api_bench_code(bench), cases[i].code) != 0 && i != 1)
            fail_msg("case %zu: %s", i, api_bench_code(bench));
    }
    expect_code(bench, 409, "KEY_ALIAS_QUOTA_ERR", API_POST,
                META "\"name\":\"xx\",\"aliases\":[\"a1\",\"a2\",\"a3\",\"a4\",\"a5\",\"a6\"]}]}",
                KEYS);
    bench->request.key_ring = BYTES_LITERAL("nowhere");
    expect_code(bench, 404, "KEY_RING_NOT_FOUND_ERR", API_POST, STANDARD, KEYS);
    expect_code(bench, 404, "KEY_RING_NOT_FOUND_ERR", API_POST, ROOT, KEYS);
    bench->request.key_ring = bytes_of(NULL, 0);
    expect(bench, 200, API_HEAD, NULL, KEYS);
    assert_int_equal(bench->response.key_total, 0);
}

static void test_the_largest_payload(void **state)
{
    struct api_bench *bench = *state;
    char body[16384];
    char *text = malloc(10100);
    for (size_t extra = 0; extra < 2; extra++) {
        memset(text, 'A', 10000 + 4 * extra); /* 7,500 bytes, and three more */
        text[10000 + 4 * extra] = '\0';
        (void)snprintf(body, sizeof(body), META "\"name\":\"big\",\"payload\":\"%s\"}]}", text);
        expect(bench, extra == 0 ? 201 : 400, API_POST, body, KEYS);
        if (extra > 0)
            continue;
        struct id id;
        (void)snprintf(id.text, sizeof(id.text), "%s", text_of(api_bench_resource(bench), "id"));
        expect(bench, 200, API_GET, NULL, KEYS "/%s", id.text);
        assert_string_equal(text_of(api_bench_resource(bench), "payload"), text);
    }
    free(text);
}

/* ---- Wrapping ---- */

/* Ciphertext of the last answer, as a body for unwrap. */
static void take_ciphertext(const struct api_bench *bench, char *ret_body, size_t size,
                            const char *more)
{
    (void)snprintf(ret_body, size, "{\"ciphertext\":\"%s\"%s}", text_of(bench->json, "ciphertext"),
                   more);
}

static void test_wrap_and_unwrap(void **state)
{
    struct api_bench *bench = *state;
    char body[8192];
    struct id id = create(bench, ROOT);
    expect(bench, 200, API_POST, "{\"plaintext\":\"" KEY_32 "\",\"aad\":[\"a\",\"b\"]}",
           KEYS "/%s/actions/wrap", id.text);
    assert_string_equal(bench->response.content_type, "application/vnd.ibm.kms.key_action+json");
    assert_null(json_object_get(bench->json, "plaintext"));
    assert_string_equal(text_of(json_object_get(bench->json, "keyVersion"), "id"), id.text);
    take_ciphertext(bench, body, sizeof(body), ",\"aad\":[\"a\",\"b\"]");
    expect(bench, 200, API_POST, body, KEYS "/%s?action=unwrap", id.text);
    assert_string_equal(text_of(bench->json, "plaintext"), KEY_32);
    assert_null(json_object_get(bench->json, "ciphertext"));
    assert_null(json_object_get(bench->json, "rewrappedKeyVersion"));

    static const char *const wrong[] = {",\"aad\":[\"ab\"]", ",\"aad\":[\"b\",\"a\"]", "",
                                        ",\"aad\":[]", ",\"aad\":[\"a\",\"b\",\"\"]"};
    expect(bench, 200, API_POST, "{\"plaintext\":\"" KEY_32 "\",\"aad\":[\"a\",\"b\"]}",
           KEYS "/%s/actions/wrap", id.text);
    char *ciphertext = strdup(text_of(bench->json, "ciphertext"));
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        (void)snprintf(body, sizeof(body), "{\"ciphertext\":\"%s\"%s}", ciphertext, wrong[i]);
        expect_code(bench, 400, "INVALID_FIELD_ERR", API_POST, body, KEYS "/%s/actions/unwrap",
                    id.text);
    }
    free(ciphertext);
}

static void test_wrap_makes_a_key_where_none_comes(void **state)
{
    struct api_bench *bench = *state;
    static const char *const bodies[] = {NULL, "{}", "null", "{\"plaintext\":\"\"}"};
    char body[8192];
    struct id id = create(bench, ROOT);
    for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
        expect(bench, 200, API_POST, bodies[i], KEYS "/%s/actions/wrap", id.text);
        char *plaintext = strdup(text_of(bench->json, "plaintext"));
        assert_int_equal(strlen(plaintext), 44);
        take_ciphertext(bench, body, sizeof(body), "");
        expect(bench, 200, API_POST, body, KEYS "/%s/actions/unwrap", id.text);
        assert_string_equal(text_of(bench->json, "plaintext"), plaintext);
        free(plaintext);
    }
}

static void test_ciphertexts_that_are_refused(void **state)
{
    struct api_bench *bench = *state;
    char body[8192];
    struct id id = create(bench, ROOT);
    struct id other = create(bench, ROOT);
    expect(bench, 200, API_POST, "{\"plaintext\":\"" KEY_32 "\"}", KEYS "/%s/actions/wrap",
           id.text);
    take_ciphertext(bench, body, sizeof(body), "");
    expect_code(bench, 422, "UNPROCESSABLE_CIPHERTEXT_ERR", API_POST, body,
                KEYS "/%s/actions/unwrap", other.text);
    body[80] ^= 1;
    expect_code(bench, 422, "UNPROCESSABLE_CIPHERTEXT_ERR", API_POST, body,
                KEYS "/%s/actions/unwrap", id.text);
    expect_code(bench, 422, "UNPROCESSABLE_CIPHERTEXT_ERR", API_POST, "{\"ciphertext\":\"AAAA\"}",
                KEYS "/%s/actions/rewrap", id.text);
    expect_code(bench, 422, "UNPROCESSABLE_CIPHERTEXT_ERR", API_POST, "{\"ciphertext\":\"!\"}",
                KEYS "/%s/actions/unwrap", id.text);
    expect_code(bench, 400, "INVALID_FIELD_ERR", API_POST, "{\"aad\":[]}",
                KEYS "/%s/actions/unwrap", id.text);
    expect_code(bench, 400, "INVALID_FIELD_ERR", API_POST, "{\"ciphertext\":5}",
                KEYS "/%s/actions/unwrap", id.text);
    expect_code(bench, 400, "NO_BODY_ERR", API_POST, NULL, KEYS "/%s/actions/unwrap", id.text);
    expect_code(bench, 400, "NO_BODY_ERR", API_POST, "null", KEYS "/%s/actions/rewrap", id.text);
    expect_code(bench, 400, "INVALID_FIELD_ERR", API_POST, "{\"plaintext\":\"###\"}",
                KEYS "/%s/actions/wrap", id.text);
    expect_code(bench, 400, "INVALID_FIELD_ERR", API_POST, "{\"aad\":\"text\"}",
                KEYS "/%s/actions/wrap", id.text);
}

static void test_limits_of_a_wrap(void **state)
{
    struct api_bench *bench = *state;
    struct id id = create(bench, ROOT);
    char *body = malloc(65536);
    for (int extra = 0; extra < 2; extra++) {
        int length = snprintf(body, 65536, "{\"plaintext\":\"");
        memset(body + length, 'A', 4096 + 4 * (size_t)extra);
        (void)snprintf(body + length + 4096 + 4 * extra, 8, "\"}");
        expect(bench, extra == 0 ? 200 : 400, API_POST, body, KEYS "/%s/actions/wrap", id.text);
        length = snprintf(body, 65536, "{\"aad\":[\"\"");
        for (int i = 1; i < 126 + extra; i++)
            length += snprintf(body + length, 65536 - (size_t)length, ",\"%d\"", i);
        (void)snprintf(body + length, 8, "]}");
        expect(bench, extra == 0 ? 200 : 400, API_POST, body, KEYS "/%s/actions/wrap", id.text);
        length = snprintf(body, 65536, "{\"aad\":[\"");
        memset(body + length, 'x', 255 + (size_t)extra);
        (void)snprintf(body + length + 255 + extra, 8, "\"]}");
        expect(bench, extra == 0 ? 200 : 400, API_POST, body, KEYS "/%s/actions/wrap", id.text);
    }
    free(body);
}

static void test_rotation_keeps_what_was_wrapped(void **state)
{
    struct api_bench *bench = *state;
    char old[8192];
    char body[8192];
    struct id id = create(bench, ROOT);
    expect(bench, 200, API_POST, "{\"plaintext\":\"" KEY_32 "\"}", KEYS "/%s/actions/wrap",
           id.text);
    take_ciphertext(bench, old, sizeof(old), "");
    expect(bench, 204, API_POST, "null", KEYS "/%s/actions/rotate", id.text);
    assert_int_equal(buffer_bytes(&bench->response.body).size, 0);

    expect(bench, 200, API_GET, NULL, KEYS "/%s/metadata", id.text);
    char newest[UUID_TEXT_LENGTH + 1];
    (void)snprintf(newest, sizeof(newest), "%s",
                   text_of(json_object_get(api_bench_resource(bench), "keyVersion"), "id"));
    assert_string_not_equal(newest, id.text);
    assert_string_not_equal(text_of(api_bench_resource(bench), "lastRotateDate"), "(none)");

    expect(bench, 200, API_POST, old, KEYS "/%s/actions/unwrap", id.text);
    assert_string_equal(text_of(bench->json, "plaintext"), KEY_32);
    assert_string_equal(text_of(json_object_get(bench->json, "keyVersion"), "id"), id.text);
    assert_string_equal(text_of(json_object_get(bench->json, "rewrappedKeyVersion"), "id"), newest);
    take_ciphertext(bench, body, sizeof(body), "");
    expect(bench, 200, API_POST, body, KEYS "/%s/actions/unwrap", id.text);
    assert_string_equal(text_of(bench->json, "plaintext"), KEY_32);
    assert_null(json_object_get(bench->json, "ciphertext"));

    expect(bench, 200, API_POST, old, KEYS "/%s/actions/rewrap", id.text);
    assert_string_equal(text_of(json_object_get(bench->json, "rewrappedKeyVersion"), "id"), newest);
    assert_null(json_object_get(bench->json, "plaintext"));
    take_ciphertext(bench, body, sizeof(body), "");
    expect(bench, 200, API_POST, body, KEYS "/%s/actions/rewrap", id.text);
    assert_string_equal(text_of(json_object_get(bench->json, "keyVersion"), "id"), newest);

    expect(bench, 200, API_GET, NULL, KEYS "/%s/versions?totalCount=True&limit=1", id.text);
    assert_int_equal(resource_count(bench), 1);
    assert_string_equal(text_of(api_bench_resource(bench), "id"), newest);
    assert_int_equal(number_of(json_object_get(bench->json, "metadata"), "totalCount"), 2);
    assert_string_equal(text_of(json_object_get(bench->json, "metadata"), "collectionType"),
                        "application/vnd.ibm.kms.key.version+json");
    expect(bench, 200, API_GET, NULL, KEYS "/%s/versions?offset=1", id.text);
    assert_string_equal(text_of(api_bench_resource(bench), "id"), id.text);
}

static void test_material_of_rotations(void **state)
{
    struct api_bench *bench = *state;
    struct id generated = create(bench, ROOT);
    struct id imported =
        create(bench, META "\"name\":\"mine\",\"extractable\":false,\"payload\":\"" KEY_32 "\"}]}");
    expect_code(bench, 400, "INVALID_QUERY_PARAM_ERR", API_POST, "{\"payload\":\"" OTHER_32 "\"}",
                KEYS "/%s/actions/rotate", generated.text);
    expect_code(bench, 400, "KEY_PAYLOAD_REQ_ERR", API_POST, NULL, KEYS "/%s?action=rotate",
                imported.text);
    expect(bench, 204, API_POST, "{\"payload\":\"" OTHER_32 "\",\"type\":\"x\"}",
           KEYS "/%s/actions/rotate", imported.text);
    expect_code(bench, 409, "KEY_ROTATION_NOT_PERMITTED", API_POST,
                "{\"payload\":\"" OTHER_32 "\"}", KEYS "/%s/actions/rotate", imported.text);
    pass_as(bench, HOUR, "later", API_ROLE_MANAGER);
    expect(bench, 204, API_POST, "{\"payload\":\"" KEY_32 "\"}", KEYS "/%s/actions/rotate",
           imported.text);
    api_bench_act_locally(bench); /* who administers the machine need not wait */
    expect(bench, 204, API_POST, NULL, KEYS "/%s/actions/rotate", generated.text);
    expect(bench, 204, API_POST, NULL, KEYS "/%s/actions/rotate", generated.text);
}

/* ---- States ---- */

static void test_states_and_actions(void **state)
{
    struct api_bench *bench = *state;
    char body[8192];
    struct id id = create(bench, ROOT);
    expect(bench, 200, API_POST, NULL, KEYS "/%s/actions/wrap", id.text);
    take_ciphertext(bench, body, sizeof(body), "");
    expect_code(bench, 409, "KEY_ACTION_INVALID_STATE_ERR", API_POST, NULL,
                KEYS "/%s/actions/enable", id.text);
    expect(bench, 204, API_POST, "null", KEYS "/%s?action=disable", id.text);
    assert_int_equal(state_of(bench, id), 2);
    static const char *const refused[] = {"wrap", "unwrap", "rewrap", "rotate", "disable"};
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
        expect_code(bench, 409, "KEY_ACTION_INVALID_STATE_ERR", API_POST, body,
                    KEYS "/%s/actions/%s", id.text, refused[i]);
    expect_code(bench, 409, "KEY_ACTION_INVALID_STATE_ERR", API_GET, NULL, KEYS "/%s/versions",
                id.text);
    expect(bench, 200, API_GET, NULL, KEYS "/%s/versions?allKeyStates=true", id.text);
    expect(bench, 204, API_POST, NULL, KEYS "/%s/actions/enable", id.text);
    expect(bench, 200, API_POST, body, KEYS "/%s/actions/unwrap", id.text);

    expect_code(bench, 409, "KEY_ACTION_INVALID_STATE_ERR", API_POST, NULL, KEYS "/%s/restore",
                id.text);
    expect(bench, 204, API_DELETE, NULL, KEYS "/%s", id.text);
    static const char *const gone[] = {"wrap",   "unwrap",  "rewrap",           "rotate",
                                       "enable", "disable", "setKeyForDeletion"};
    for (size_t i = 0; i < ARRAY_COUNT(gone); i++)
        expect_code(bench, 410, "KEY_DELETED_ERR", API_POST, body, KEYS "/%s/actions/%s", id.text,
                    gone[i]);
    expect_code(bench, 410, "KEY_DELETED_ERR", API_DELETE, NULL, KEYS "/%s", id.text);
    expect(bench, 200, API_GET, NULL, KEYS "/%s", id.text);
    assert_int_equal(number_of(api_bench_resource(bench), "state"), 5);
    expect(bench, 201, API_POST, NULL, KEYS "/%s/restore", id.text);
    assert_int_equal(number_of(api_bench_resource(bench), "state"), 1);
    expect(bench, 200, API_POST, body, KEYS "/%s/actions/unwrap", id.text);
}

static void test_actions_of_standard_keys(void **state)
{
    struct api_bench *bench = *state;
    struct id id = create(bench, STANDARD);
    static const char *const refused[] = {"wrap",   "unwrap",  "rewrap",
                                          "rotate", "disable", "enable"};
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
        expect_code(bench, 400, "KEY_ROOT_REQ_ERR", API_POST, "{\"ciphertext\":\"AAAA\"}",
                    KEYS "/%s/actions/%s", id.text, refused[i]);
    expect_code(bench, 400, "KEY_ROOT_REQ_ERR", API_GET, NULL, KEYS "/%s/versions", id.text);
    expect_code(bench, 400, "INVALID_QUERY_PARAM_ERR", API_POST, NULL, KEYS "/%s?action=eat",
                id.text);
    expect_code(bench, 400, "INVALID_QUERY_PARAM_ERR", API_POST, NULL, KEYS "/%s", id.text);
    expect_code(bench, 404, "NOT_FOUND_ERR", API_POST, NULL, KEYS "/%s/actions/eat", id.text);
    expect_code(bench, 404, "KEY_NOT_FOUND_ERR", API_POST, NULL, KEYS "/%s/actions/wrap", UNKNOWN);
}

static void test_deleting_standard_keys(void **state)
{
    struct api_bench *bench = *state;
    struct id id = create(bench, STANDARD);
    bench->request.prefer = BYTES_LITERAL("return=representation");
    expect(bench, 200, API_DELETE, NULL, KEYS "/%s", id.text);
    const json_t *key = api_bench_resource(bench);
    assert_int_equal(number_of(key, "state"), 5);
    assert_true(is_true(key, "deleted") && is_true(key, "restoreAllowed"));
    assert_false(is_true(key, "purgeAllowed"));
    assert_string_not_equal(text_of(key, "deletionDate"), "(none)");
    assert_string_not_equal(text_of(key, "deletedBy"), "(none)");
    assert_string_not_equal(text_of(key, "purgeAllowedFrom"), "(none)");
    expect(bench, 200, API_GET, NULL, KEYS "/%s", id.text);
    assert_null(json_object_get(api_bench_resource(bench), "payload"));
    expect(bench, 201, API_POST, NULL, KEYS "/%s/restore", id.text);
    expect(bench, 200, API_GET, NULL, KEYS "/%s", id.text);
    assert_non_null(json_object_get(api_bench_resource(bench), "payload"));
    expect(bench, 200, API_DELETE, NULL, KEYS "/%s", id.text);
    pass_as(bench, 30 * DAY, "later", API_ROLE_MANAGER);
    expect_code(bench, 400, "KEY_RESTORE_EXPIRED", API_POST, NULL, KEYS "/%s/restore", id.text);
}

static void test_purging(void **state)
{
    struct api_bench *bench = *state;
    struct id ids[] = {create(bench, STANDARD), create(bench, ROOT)};
    expect(bench, 401, API_DELETE, NULL, KEYS "/%s/purge", ids[0].text);
    act_as(bench, "purger", API_ROLE_KEY_PURGE);
    for (size_t i = 0; i < 2; i++)
        expect_code(bench, 409, "KEY_ACTION_INVALID_STATE_ERR", API_DELETE, NULL, KEYS "/%s/purge",
                    ids[i].text);
    expect(bench, 401, API_DELETE, NULL, KEYS "/%s", ids[0].text);
    act_as(bench, "deleter", API_ROLE_MANAGER);
    for (size_t i = 0; i < 2; i++)
        expect(bench, 204, API_DELETE, NULL, KEYS "/%s", ids[i].text);
    act_as(bench, "purger 2", API_ROLE_KEY_PURGE);
    expect_code(bench, 409, "REQ_TOO_EARLY_ERR", API_DELETE, NULL, KEYS "/%s/purge", ids[0].text);
    pass_as(bench, 4 * HOUR, "purger 3", API_ROLE_KEY_PURGE);
    expect(bench, 204, API_DELETE, NULL, KEYS "/%s/purge", ids[0].text);
    bench->request.prefer = BYTES_LITERAL("return=representation");
    expect(bench, 200, API_DELETE, NULL, KEYS "/%s/purge", ids[1].text);
    for (size_t i = 0; i < 2; i++)
        expect_code(bench, 404, "KEY_NOT_FOUND_ERR", API_DELETE, NULL, KEYS "/%s/purge",
                    ids[i].text);
}

static void test_a_root_key_that_an_adapter_uses(void **state)
{
    struct api_bench *bench = *state;
    struct id id = create(bench, ROOT);
    struct adapter_row row = {.name = "cluster", .key_manager = KEYMANAGER_SEALED_FILE};
    assert_int_equal(uuid_make_random(&row.uuid), STATUS_OK);
    assert_true(uuid_parse(bytes_of_text(id.text), &row.root_key));
    assert_int_equal(store_adapter_insert(bench->core.store, &row), STATUS_OK);
    expect_code(bench, 409, "PROTECTED_RESOURCE_ERR", API_DELETE, NULL, KEYS "/%s", id.text);
    const json_t *reason = json_array_get(json_object_get(api_bench_resource(bench), "reasons"), 0);
    assert_string_equal(text_of(json_object_get(reason, "target"), "type"), "query_param");
    assert_string_equal(text_of(json_object_get(reason, "target"), "name"), "force");
    expect_code(bench, 400, "INVALID_QUERY_PARAM_ERR", API_DELETE, NULL, KEYS "/%s?force=maybe",
                id.text);
    expect(bench, 204, API_DELETE, NULL, KEYS "/%s?force=true", id.text);
}

static void test_expiration(void **state)
{
    struct api_bench *bench = *state;
    char body[8192];
    char created[512];
    char expires[32];
    time_t when = (time_t)((bench->core.clock.test_time + HOUR) / 1000);
    struct tm parts;
    (void)strftime(expires, sizeof(expires), "%Y-%m-%dT%H:%M:%S.123456789Z",
                   gmtime_r(&when, &parts));
    (void)snprintf(created, sizeof(created),
                   META "\"name\":\"short\",\"extractable\":false,\"expirationDate\":\"%s\"}]}",
                   expires);
    struct id id = create(bench, created);
    expect(bench, 200, API_POST, NULL, KEYS "/%s/actions/wrap", id.text);
    take_ciphertext(bench, body, sizeof(body), "");
    pass_as(bench, HOUR + 1000, "later", API_ROLE_MANAGER);
    assert_int_equal(state_of(bench, id), 3); /* before anybody has looked */
    expect_code(bench, 409, "KEY_ACTION_INVALID_STATE_ERR", API_POST, NULL, KEYS "/%s/actions/wrap",
                id.text);
    expect(bench, 200, API_POST, body, KEYS "/%s/actions/unwrap", id.text);
    struct api_housekeeping done;
    struct error error = {0};
    assert_int_equal(
        api_housekeeping(&bench->context, clock_now(&bench->core.clock), &done, &error), STATUS_OK);
    assert_int_equal(done.expired, 1);
    assert_int_equal(state_of(bench, id), 3);
    expect(bench, 200, API_GET, NULL, KEYS "?state=3");
    assert_int_equal(resource_count(bench), 1);
    assert_int_equal(
        api_housekeeping(&bench->context, clock_now(&bench->core.clock), &done, &error), STATUS_OK);
    assert_int_equal(done.expired, 0);
    expect(bench, 204, API_DELETE, NULL, KEYS "/%s", id.text);
    expect_code(bench, 400, "KEY_EXPIRED_ERR", API_POST, NULL, KEYS "/%s/restore", id.text);
}

/* ---- Dual authorization ---- */

static void set_dual_auth(struct api_bench *bench, struct id id)
{
    expect(bench, 200, API_PUT,
           "{\"metadata\":{\"collectionTotal\":1},\"resources\":[{\"dualAuthDelete\":{\"enabled\":"
           "true}}]}",
           KEYS "/%s/policies?policy=dualAuthDelete", id.text);
}

static void test_two_must_agree(void **state)
{
    struct api_bench *bench = *state;
    struct id id = create(bench, ROOT);
    expect_code(bench, 409, "NOT_DUAL_AUTH_ERR", API_POST, NULL,
                KEYS "/%s/actions/setKeyForDeletion", id.text);
    set_dual_auth(bench, id);
    expect_code(bench, 409, "AUTHORIZATIONS_NOT_MET", API_DELETE, NULL, KEYS "/%s", id.text);
    expect(bench, 204, API_POST, NULL, KEYS "/%s/actions/setKeyForDeletion", id.text);
    expect_code(bench, 409, "AUTHORIZATIONS_NOT_MET", API_DELETE, NULL, KEYS "/%s?force=true",
                id.text); /* the same one */
    expect(bench, 200, API_GET, NULL, KEYS "/%s/metadata", id.text);
    const json_t *dual = json_object_get(api_bench_resource(bench), "dualAuthDelete");
    assert_true(is_true(dual, "enabled") && is_true(dual, "keySetForDeletion"));
    assert_string_not_equal(text_of(dual, "authExpiration"), "(none)");
    expect(bench, 204, API_POST, "null", KEYS "/%s?action=unsetKeyForDeletion", id.text);
    act_as(bench, "second", API_ROLE_MANAGER);
    expect_code(bench, 409, "AUTHORIZATIONS_NOT_MET", API_DELETE, NULL, KEYS "/%s", id.text);
    expect(bench, 204, API_POST, NULL, KEYS "/%s/actions/setKeyForDeletion", id.text);
    pass_as(bench, 7 * DAY, "third", API_ROLE_MANAGER);
    expect_code(bench, 409, "AUTHORIZATIONS_NOT_MET", API_DELETE, NULL, KEYS "/%s", id.text);
    expect(bench, 204, API_POST, NULL, KEYS "/%s/actions/setKeyForDeletion", id.text);
    act_as(bench, "fourth", API_ROLE_MANAGER);
    expect(bench, 204, API_DELETE, NULL, KEYS "/%s", id.text);
}

/* ---- Policies ---- */

static void test_policies_of_keys(void **state)
{
    struct api_bench *bench = *state;
    struct id id = create(bench, ROOT);
    struct id standard = create(bench, STANDARD);
    expect(bench, 200, API_GET, NULL, KEYS "/%s/policies", id.text);
    assert_int_equal(resource_count(bench), 0);
    static const char both[] =
        "{\"metadata\":{\"collectionTotal\":2},\"resources\":["
        "{\"type\":\"application/vnd.ibm.kms.policy+json\",\"rotation\":{\"interval_month\":3}},"
        "{\"dualAuthDelete\":{\"enabled\":false}}]}";
    expect(bench, 200, API_PUT, both, KEYS "/%s/policies", id.text);
    assert_int_equal(resource_count(bench), 2);
    const json_t *policy = api_bench_resource(bench);
    assert_string_equal(text_of(policy, "id"), id.text);
    assert_int_equal(number_of(json_object_get(policy, "rotation"), "interval_month"), 3);
    assert_true(is_true(json_object_get(policy, "rotation"), "enabled"));
    static const char *const members[] = {
        "crn", "creationDate", "createdBy", "lastUpdateDate", "updatedBy", "type"};
    for (size_t i = 0; i < ARRAY_COUNT(members); i++)
        assert_string_not_equal(text_of(policy, members[i]), "(none)");
    expect(bench, 200, API_GET, NULL, KEYS "/%s/policies?policy=rotation", id.text);
    assert_int_equal(resource_count(bench), 1);
    expect(bench, 200, API_GET, NULL, KEYS "/%s/metadata", id.text);
    assert_int_equal(
        number_of(json_object_get(api_bench_resource(bench), "rotation"), "interval_month"), 3);
    expect_code(bench, 400, "KEY_ROOT_REQ_ERR", API_PUT, both, KEYS "/%s/policies", standard.text);
    expect_code(bench, 400, "BODY_QUERY_PARAM_MISMATCH_ERR", API_PUT, both,
                KEYS "/%s/policies?policy=rotation", id.text);
    expect_code(bench, 400, "INVALID_QUERY_PARAM_ERR", API_GET, NULL,
                KEYS "/%s/policies?policy=other", id.text);
    static const char *const wrong[] = {
        "{\"rotation\":{\"interval_month\":0}}",
        "{\"rotation\":{\"interval_month\":13}}",
        "{\"rotation\":{\"enabled\":true}}",
        "{\"rotation\":3}",
        "{\"dualAuthDelete\":{}}",
        "{\"dualAuthDelete\":{\"enabled\":\"yes\"}}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        char body[256];
        (void)snprintf(body, sizeof(body),
                       "{\"metadata\":{\"collectionTotal\":1},\"resources\":[%s]}", wrong[i]);
        expect_code(bench, 400, "INVALID_FIELD_ERR", API_PUT, body, KEYS "/%s/policies", id.text);
    }
    expect_code(bench, 400, "BAD_BODY_ERR", API_PUT,
                "{\"metadata\":{\"collectionTotal\":1},\"resources\":[{}]}", KEYS "/%s/policies",
                id.text);
    set_dual_auth(bench, id);
    expect_code(bench, 400, "INVALID_FIELD_ERR", API_PUT,
                "{\"metadata\":{\"collectionTotal\":1},\"resources\":[{\"dualAuthDelete\":"
                "{\"enabled\":false}}]}",
                KEYS "/%s/policies", id.text);
}

static void test_policy_overrides(void **state)
{
    struct api_bench *bench = *state;
    expect(bench, 201, API_POST,
           META "\"name\":\"xx\",\"extractable\":false,\"rotation\":{\"enabled\":true,"
                "\"interval_month\":2},\"dualAuthDelete\":{\"enabled\":true}}]}",
           "/api/v2/keys_with_policy_overrides");
    char id[64];
    (void)snprintf(id, sizeof(id), "%s", text_of(api_bench_resource(bench), "id"));
    expect(bench, 200, API_GET, NULL, KEYS "/%s/policies", id);
    assert_int_equal(resource_count(bench), 2);
    expect_code(bench, 400, "KEY_ROOT_REQ_ERR", API_POST,
                META "\"name\":\"xx\",\"extractable\":true,\"rotation\":{\"enabled\":true,"
                     "\"interval_month\":2}}]}",
                "/api/v2/keys_with_policy_overrides");
    act_as(bench, "writer", API_ROLE_WRITER);
    expect(bench, 401, API_POST, ROOT, "/api/v2/keys_with_policy_overrides");
}

static void test_rotations_that_are_due(void **state)
{
    struct api_bench *bench = *state;
    struct api_housekeeping done;
    struct error error = {0};
    struct id id = create(bench, ROOT);
    expect(bench, 200, API_PUT,
           "{\"metadata\":{\"collectionTotal\":1},\"resources\":[{\"rotation\":{\"interval_month\":"
           "1}}]}",
           KEYS "/%s/policies", id.text);
    for (int i = 0; i < 3; i++) {
        pass(bench, 15 * DAY);
        assert_int_equal(
            api_housekeeping(&bench->context, clock_now(&bench->core.clock), &done, &error),
            STATUS_OK);
        assert_int_equal(done.rotated, i == 1);
    }
    act_as(bench, "later", API_ROLE_MANAGER);
    expect(bench, 200, API_GET, NULL, KEYS "/%s/versions", id.text);
    assert_int_equal(resource_count(bench), 2);
}

static void test_purges_that_are_due(void **state)
{
    struct api_bench *bench = *state;
    struct api_housekeeping done;
    struct error error = {0};
    struct id ids[] = {create(bench, STANDARD), create(bench, ROOT)};
    for (size_t i = 0; i < 2; i++)
        expect(bench, 204, API_DELETE, NULL, KEYS "/%s", ids[i].text);
    pass(bench, 30 * DAY - 1000);
    assert_int_equal(
        api_housekeeping(&bench->context, clock_now(&bench->core.clock), &done, &error), STATUS_OK);
    assert_int_equal(done.purged, 0);
    pass(bench, 1000);
    assert_int_equal(
        api_housekeeping(&bench->context, clock_now(&bench->core.clock), &done, &error), STATUS_OK);
    assert_int_equal(done.purged, 2);
    act_as(bench, "later", API_ROLE_MANAGER);
    for (size_t i = 0; i < 2; i++)
        expect_code(bench, 404, "KEY_NOT_FOUND_ERR", API_GET, NULL, KEYS "/%s", ids[i].text);
}

/* ---- Aliases ---- */

static void test_aliases(void **state)
{
    struct api_bench *bench = *state;
    struct id id = create(bench, ROOT);
    struct id other = create(bench, ROOT);
    expect(bench, 201, API_POST, NULL, KEYS "/%s/aliases/one", id.text);
    const json_t *alias = api_bench_resource(bench);
    assert_string_equal(text_of(alias, "keyId"), id.text);
    assert_string_equal(text_of(alias, "alias"), "one");
    assert_string_not_equal(text_of(alias, "creationDate"), "(none)");
    expect(bench, 200, API_POST, NULL, KEYS "/one/actions/wrap");
    expect_code(bench, 409, "KEY_ALIAS_NOT_UNIQUE_ERR", API_POST, NULL, KEYS "/%s/aliases/one",
                other.text);
    expect_code(bench, 409, "KEY_ALIAS_NOT_UNIQUE_ERR", API_POST,
                META "\"name\":\"xx\",\"aliases\":[\"one\"]}]}", KEYS);
    for (int i = 2; i <= 5; i++)
        expect(bench, 201, API_POST, NULL, KEYS "/one/aliases/alias-%d", i);
    expect_code(bench, 409, "KEY_ALIAS_QUOTA_ERR", API_POST, NULL, KEYS "/one/aliases/alias-6");
    static const char *const wrong[] = {"x", "a%20b", "wrap", UNKNOWN};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++)
        expect_code(bench, 400, "INVALID_FIELD_ERR", API_POST, NULL, KEYS "/%s/aliases/%s",
                    other.text, wrong[i]);
    expect_code(bench, 404, "KEY_ALIAS_NOT_FOUND_ERR", API_DELETE, NULL, KEYS "/%s/aliases/one",
                other.text);
    expect(bench, 204, API_DELETE, NULL, KEYS "/%s/aliases/one", id.text);
    expect_code(bench, 404, "KEY_NOT_FOUND_ERR", API_POST, NULL, KEYS "/one/actions/wrap");
    expect(bench, 201, API_POST, NULL, KEYS "/%s/aliases/one", other.text);
    expect(bench, 200, API_GET, NULL, KEYS "/one/metadata");
    assert_string_equal(text_of(api_bench_resource(bench), "id"), other.text);
}

/* ---- Key rings ---- */

static void test_key_rings(void **state)
{
    struct api_bench *bench = *state;
    expect(bench, 201, API_POST, NULL, "/api/v2/key_rings/ring-1");
    expect_code(bench, 409, "KEY_RING_DUPLICATE_ERR", API_POST, NULL, "/api/v2/key_rings/ring-1");
    expect_code(bench, 409, "KEY_RING_RESERVED_ERR", API_POST, NULL, "/api/v2/key_rings/default");
    expect_code(bench, 409, "KEY_RING_RESERVED_ERR", API_DELETE, NULL, "/api/v2/key_rings/default");
    expect_code(bench, 400, "INVALID_FIELD_ERR", API_POST, NULL, "/api/v2/key_rings/a_b");
    expect_code(bench, 404, "KEY_RING_NOT_FOUND_ERR", API_DELETE, NULL, "/api/v2/key_rings/ring-2");
    expect(bench, 200, API_GET, NULL, "/api/v2/key_rings?totalCount=true");
    assert_int_equal(resource_count(bench), 2);
    assert_int_equal(json_object_size(api_bench_resource(bench)), 1);
    assert_int_equal(number_of(json_object_get(bench->json, "metadata"), "totalCount"), 2);
    for (int i = 3; i <= 50; i++)
        expect(bench, 201, API_POST, NULL, "/api/v2/key_rings/r%d", i);
    expect_code(bench, 409, "KEY_RING_QUOTA_ERR", API_POST, NULL, "/api/v2/key_rings/r51");

    bench->request.key_ring = BYTES_LITERAL("ring-1");
    struct id id = create(bench, STANDARD);
    struct id root = create(bench, ROOT);
    expect(bench, 200, API_GET, NULL, KEYS);
    assert_int_equal(resource_count(bench), 2);
    bench->request.key_ring = BYTES_LITERAL("default");
    expect(bench, 200, API_GET, NULL, KEYS);
    assert_int_equal(resource_count(bench), 0);
    expect_code(bench, 404, "KEY_NOT_FOUND_ERR", API_GET, NULL, KEYS "/%s", id.text);
    bench->request.key_ring = bytes_of(NULL, 0);
    expect(bench, 200, API_GET, NULL, KEYS "/%s", id.text);
    assert_string_equal(text_of(api_bench_resource(bench), "keyRingID"), "ring-1");
    expect_code(bench, 409, "KEY_RING_NOT_EMPTY_ERR", API_DELETE, NULL,
                "/api/v2/key_rings/ring-1?force=true");

    bench->request.key_ring = BYTES_LITERAL("ring-1");
    expect(bench, 200, API_PATCH, "{\"keyRingID\":\"r3\"}", KEYS "/%s", id.text);
    assert_string_equal(text_of(api_bench_resource(bench), "keyRingID"), "r3");
    expect_code(bench, 404, "KEY_NOT_FOUND_ERR", API_PATCH, "{\"keyRingID\":\"r4\"}", KEYS "/%s",
                id.text);
    expect_code(bench, 404, "KEY_RING_NOT_FOUND_ERR", API_PATCH, "{\"keyRingID\":\"r99\"}",
                KEYS "/%s", root.text);
    expect_code(bench, 400, "INVALID_FIELD_ERR", API_PATCH, "{\"name\":\"r99\"}", KEYS "/%s",
                root.text);
    expect(bench, 204, API_DELETE, NULL, KEYS "/%s", root.text);
    bench->request.key_ring = bytes_of(NULL, 0);
    expect_code(bench, 409, "KEY_RING_NOT_EMPTY_ERR", API_DELETE, NULL, "/api/v2/key_rings/ring-1");
    expect(bench, 204, API_DELETE, NULL, "/api/v2/key_rings/ring-1?force=true");
    expect(bench, 200, API_GET, NULL, KEYS "/%s", root.text);
    assert_string_equal(text_of(api_bench_resource(bench), "keyRingID"), "default");
}

static void test_who_sees_one_key_ring_only(void **state)
{
    struct api_bench *bench = *state;
    char key[API_KEY_TEXT_LENGTH + 1];
    expect(bench, 201, API_POST, NULL, "/api/v2/key_rings/ring-1");
    struct id elsewhere = create(bench, STANDARD);
    bench->request.key_ring = BYTES_LITERAL("ring-1");
    struct id id = create(bench, STANDARD);
    bench->request.key_ring = bytes_of(NULL, 0);
    const struct kms_grant grant = {.role = API_ROLE_WRITER, .key_ring = "ring-1"};
    api_bench_service_id(bench, "narrow", &grant, 1, key);
    assert_true(api_bench_log_in(bench, key));
    expect(bench, 200, API_GET, NULL, KEYS "/%s", id.text);
    expect(bench, 401, API_GET, NULL, KEYS "/%s", elsewhere.text);
    expect(bench, 401, API_DELETE, NULL, KEYS "/%s", id.text);
    expect(bench, 200, API_GET, NULL, KEYS);
    assert_int_equal(resource_count(bench), 1);
    assert_int_equal(bench->response.key_total, 1);
    expect(bench, 200, API_GET, NULL, "/api/v2/key_rings");
    assert_int_equal(resource_count(bench), 1);
    expect(bench, 401, API_POST, STANDARD, KEYS);
    bench->request.key_ring = BYTES_LITERAL("ring-1");
    expect(bench, 201, API_POST, STANDARD, KEYS);
    expect(bench, 401, API_GET, NULL, "/api/v2/instance/policies");
}

static void test_roles(void **state)
{
    struct api_bench *bench = *state;
    struct id root = create(bench, ROOT);
    struct id standard = create(bench, STANDARD);
    static const struct {
        enum api_method method;
        const char *path; /* behind the key's */
        bool of_root;
        unsigned role; /* the least */
    } cases[] = {
        {API_GET, "", false, API_ROLE_READER_PLUS},
        {API_GET, "/metadata", false, API_ROLE_READER},
        {API_GET, "/metadata", true, API_ROLE_READER},
        {API_GET, "/registrations", false, API_ROLE_READER},
        {API_GET, "/versions", true, API_ROLE_READER},
        {API_POST, "/actions/wrap", true, API_ROLE_READER},
        {API_POST, "?action=wrap", true, API_ROLE_READER},
        {API_POST, "/actions/rotate", true, API_ROLE_WRITER},
        {API_POST, "?action=rotate", true, API_ROLE_WRITER},
        {API_POST, "/aliases/an-alias", true, API_ROLE_WRITER},
        {API_POST, "?action=disable", true, API_ROLE_MANAGER},
        {API_POST, "/actions/enable", true, API_ROLE_MANAGER},
        {API_GET, "/policies", true, API_ROLE_MANAGER},
        {API_DELETE, "", false, API_ROLE_MANAGER},
        {API_POST, "/restore", false, API_ROLE_MANAGER},
        {API_DELETE, "/purge", false, API_ROLE_KEY_PURGE},
    };
    static const unsigned roles[] = {API_ROLE_READER, API_ROLE_READER_PLUS, API_ROLE_WRITER,
                                     API_ROLE_MANAGER};
    for (size_t r = 0; r < ARRAY_COUNT(roles); r++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "role %zu", r);
        act_as(bench, name, roles[r]);
        for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
            char target[256];
            (void)snprintf(target, sizeof(target), KEYS "/%s%s",
                           cases[i].of_root ? root.text : standard.text, cases[i].path);
            unsigned status = api_bench_ask(bench, cases[i].method, target, NULL);
            bool may = cases[i].role != API_ROLE_KEY_PURGE && roles[r] >= cases[i].role;
            if ((status != 401) != may)
                fail_msg("role %u, %s: %u", roles[r], target, status);
        }
    }
}

/* ---- Listing ---- */

static size_t list(struct api_bench *bench, const char *query)
{
    expect(bench, 200, API_GET, NULL, KEYS "?%s", query);
    assert_int_equal(number_of(json_object_get(bench->json, "metadata"), "collectionTotal"),
                     (int)resource_count(bench));
    return resource_count(bench);
}

static void make_some(struct api_bench *bench)
{
    char body[512];
    for (int i = 0; i < 12; i++) {
        (void)snprintf(body, sizeof(body),
                       META "\"name\":\"Key number %d\",\"extractable\":%s,\"aliases\":"
                            "[\"ALIAS-%d\"]}]}",
                       i, i % 3 == 0 ? "false" : "true", i);
        struct id id = create(bench, body);
        if (i % 4 == 3)
            expect(bench, 204, API_DELETE, NULL, KEYS "/%s", id.text);
        pass(bench, 10000);
    }
}

static void test_listing(void **state)
{
    struct api_bench *bench = *state;
    make_some(bench);
    static const struct {
        const char *query;
        size_t count;
        int total;
    } cases[] = {
        {"", 9, 9},
        {"limit=4", 4, 9},
        {"limit=4&offset=8", 1, 9},
        {"offset=100", 0, 9},
        {"state=5", 3, 3},
        {"state=1,5", 12, 12},
        {"state=1%2C5", 12, 12},
        {"state=1&state=5", 12, 12},
        {"state=0,2,3", 0, 0},
        {"extractable=true", 6, 6},
        {"extractable=False", 3, 3},
        {"extractable=false&state=5", 1, 1},
        {"search=number", 9, 9},
        {"search=NUMBER%201,", 2, 2},
        {"search=not:number%201", 7, 7},
        {"search=alias-1", 2, 2},
        {"search=name:alias-1", 0, 0},
        {"search=alias:alias-1", 2, 2},
        {"search=exact:alias-1", 1, 1},
        {"search=exact:key%20number%202", 1, 1},
        {"search=not:exact:alias-1", 8, 8},
        {"search=name:alias:alias-1", 2, 2},
        {"search=escape:not:", 0, 0},
        {"search=number&state=5", 3, 3},
        {"search=" UNKNOWN, 0, 0},
        {"filter=%20extractable=true", 6, 6},
        {"filter=state=5", 3, 3},
        {"filter=state=1,5%20extractable=false", 4, 4},
        {"filter=state=gte:1%20state=lt:5", 9, 9},
        {"filter=imported=true", 0, 0},
        {"filter=expirationDate=none", 9, 9},
        {"filter=lastRotateDate=gt:%222001-01-01T00:00:00Z%22", 0, 0},
        {"filter=creationDate=lt:%222001-01-01T00:00:00Z%22", 0, 0},
        {"filter=creationDate=gte:%222001-01-01T00:00:00Z%22", 9, 9},
        {"filter=state=5%20deletionDate=none", 0, 0},
        {"sort=-creationDate,id&limit=3", 3, 9},
    };
    act_as(bench, "later", API_ROLE_MANAGER);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t count = list(bench, cases[i].query);
        if (count != cases[i].count || bench->response.key_total != cases[i].total)
            fail_msg("%s: %zu of %d", cases[i].query, count, (int)bench->response.key_total);
        expect(bench, 200, API_HEAD, NULL, KEYS "?%s", cases[i].query);
        assert_int_equal(bench->response.key_total, cases[i].total);
        assert_int_equal(buffer_bytes(&bench->response.body).size, 0);
    }
    static const char *const wrong[][2] = {
        {"limit=0", "limit"},
        {"limit=5001", "limit"},
        {"limit=x", "limit"},
        {"offset=-1", "offset"},
        {"state=4", "state"},
        {"state=1,", "state"},
        {"state=1,%202", "state"},
        {"extractable=2", "extractable"},
        {"sort=name", "sort"},
        {"filter=name=x", "filter"},
        {"filter=state", "filter"},
        {"filter=creationDate=yesterday", "filter"},
        {"filter=extractable=gt:true", "filter"},
        {"filter=state=1%20state=1%20state=1%20state=1", "filter"},
        {"filter=state=1&state=1", "filter"},
        {"filter=extractable=true&extractable=true", "filter"},
        {"filter=creationDate=%222001", "filter"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        expect_code(bench, 400, "INVALID_QUERY_PARAM_ERR", API_GET, NULL, KEYS "?%s", wrong[i][0]);
        const json_t *reason =
            json_array_get(json_object_get(api_bench_resource(bench), "reasons"), 0);
        assert_string_equal(text_of(json_object_get(reason, "target"), "name"), wrong[i][1]);
    }
}

static void test_the_order_of_a_listing(void **state)
{
    struct api_bench *bench = *state;
    make_some(bench);
    static const struct {
        const char *sort;
        const char *member;
        int sign;
    } cases[] = {
        {"", "id", 1},
        {"sort=-id", "id", -1},
        {"sort=creationDate", "creationDate", 1},
        {"sort=-creationDate", "creationDate", -1},
        {"sort=-lastUpdateDate", "lastUpdateDate", -1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        (void)list(bench, cases[i].sort);
        const json_t *resources = json_object_get(bench->json, "resources");
        for (size_t j = 1; j < json_array_size(resources); j++)
            assert_true(cases[i].sign *
                            strcmp(text_of(json_array_get(resources, j), cases[i].member),
                                   text_of(json_array_get(resources, j - 1), cases[i].member)) >=
                        0);
    }
    (void)list(bench, "search=exact:not:name:ALIAS-1");
    const json_t *metadata = json_object_get(bench->json, "metadata");
    const json_t *query = json_object_get(metadata, "searchQuery");
    assert_string_equal(text_of(query, "query"), "ALIAS-1");
    assert_true(is_true(query, "not") && is_true(query, "exact"));
    assert_int_equal(json_array_size(json_object_get(query, "scopes")), 1);
    assert_true(json_is_false(json_object_get(metadata, "incompleteSearch")));
}

/* ---- Registrations ---- */

static void test_registrations(void **state)
{
    struct api_bench *bench = *state;
    struct id id = create(bench, STANDARD);
    expect(bench, 200, API_GET, NULL, KEYS "/%s/registrations?totalCount=False", id.text);
    assert_int_equal(resource_count(bench), 0);
    expect(bench, 200, API_GET, NULL, KEYS "/registrations?totalCount=true&limit=5");
    assert_int_equal(number_of(json_object_get(bench->json, "metadata"), "totalCount"), 0);
    static const enum api_method methods[] = {API_POST, API_PUT, API_PATCH, API_DELETE};
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++)
        expect_code(bench, 403, "SERVICE_ONLY_ERR", methods[i], NULL,
                    KEYS "/%s/registrations/crn%%3Av1", id.text);
}

/* ---- Policies of the instance ---- */

static void set_instance_policy(struct api_bench *bench, unsigned status, const char *type,
                                const char *data)
{
    char body[1024];
    (void)snprintf(body, sizeof(body),
                   "{\"metadata\":{\"collectionType\":\"application/vnd.ibm.kms.policy+json\","
                   "\"collectionTotal\":1},\"resources\":[{\"policy_type\":\"%s\","
                   "\"policy_data\":%s}]}",
                   type, data);
    expect(bench, status, API_PUT, body, "/api/v2/instance/policies?policy=%s", type);
}

static void test_instance_policies(void **state)
{
    struct api_bench *bench = *state;
    expect(bench, 200, API_GET, NULL, "/api/v2/instance/policies");
    assert_int_equal(resource_count(bench), 0);
    set_instance_policy(bench, 204, "dualAuthDelete", "{\"enabled\":true}");
    set_instance_policy(bench, 204, "rotation",
                        "{\"enabled\":true,\"attributes\":{\"interval_month\":4}}");
    set_instance_policy(bench, 204, "metrics", "{\"enabled\":true}");
    set_instance_policy(
        bench, 204, "allowedNetwork",
        "{\"enabled\":true,\"attributes\":{\"allowed_network\":\"public-and-private\"}}");
    expect(bench, 200, API_GET, NULL, "/api/v2/instance/policies?policy=rotation");
    const json_t *data = json_object_get(api_bench_resource(bench), "policy_data");
    assert_true(is_true(data, "enabled"));
    assert_int_equal(number_of(json_object_get(data, "attributes"), "interval_month"), 4);
    expect(bench, 200, API_GET, NULL, "/api/v2/instance/policies");
    assert_int_equal(resource_count(bench), 4);

    struct id id = create(bench, ROOT); /* begins with both */
    expect(bench, 200, API_GET, NULL, KEYS "/%s/policies", id.text);
    assert_int_equal(resource_count(bench), 2);
    expect_code(bench, 409, "AUTHORIZATIONS_NOT_MET", API_DELETE, NULL, KEYS "/%s", id.text);

    static const char *const wrong[][3] = {
        {"metrics", "{\"enabled\":true,\"attributes\":{\"x\":1}}", "BAD_BODY_ERR"},
        {"metrics", "{\"enabled\":true,\"other\":1}", "BAD_BODY_ERR"},
        {"metrics", "{\"enabled\":\"yes\"}", "INVALID_FIELD_ERR"},
        {"metrics", "{\"enabled\":false,\"attributes\":{}}", "INVALID_FIELD_ERR"},
        {"rotation", "{\"enabled\":true}", "INVALID_FIELD_ERR"},
        {"rotation", "{\"enabled\":true,\"attributes\":{\"interval_month\":13}}",
         "INVALID_FIELD_ERR"},
        {"allowedNetwork", "{\"enabled\":false}", "INVALID_FIELD_ERR"},
        {"allowedIP", "{\"enabled\":true,\"attributes\":{\"allowed_ip\":[\"10.0.0.0/33\"]}}",
         "INVALID_FIELD_ERR"},
        {"allowedIP", "{\"enabled\":true,\"attributes\":{\"allowed_ip\":[]}}", "INVALID_FIELD_ERR"},
        {"allowedIP", "{\"enabled\":true}", "INVALID_FIELD_ERR"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        set_instance_policy(bench, 400, wrong[i][0], wrong[i][1]);
        assert_string_equal(api_bench_code(bench), wrong[i][2]);
    }
    static const char one[] = "{\"metadata\":{\"collectionTotal\":%d},\"resources\":[{"
                              "\"policy_type\":\"metrics\",\"policy_data\":{\"enabled\":true}}]}";
    char body[256];
    (void)snprintf(body, sizeof(body), one, 2);
    expect_code(bench, 400, "COLLECTION_TOTAL_MISMATCH_ERR", API_PUT, body,
                "/api/v2/instance/policies");
    (void)snprintf(body, sizeof(body), one, 1);
    expect_code(bench, 400, "BODY_QUERY_PARAM_MISMATCH_ERR", API_PUT, body,
                "/api/v2/instance/policies?policy=rotation");
    expect_code(bench, 400, "NUM_COLLECTION_RESOURCE_ERR", API_PUT,
                "{\"metadata\":{\"collectionTotal\":0},\"resources\":[]}",
                "/api/v2/instance/policies");
    expect(bench, 200, API_GET, NULL, "/api/v2/instance/allowed_ip_port");
    assert_int_equal(number_of(api_bench_resource(bench), "private_endpoint_port"), 8443);
}

static void test_addresses_that_the_instance_allows(void **state)
{
    struct api_bench *bench = *state;
    static const struct {
        const char *peer;
        unsigned status;
    } cases[] = {
        {"192.0.2.1:5000", 200},
        {"192.0.2.127:1", 200},
        {"192.0.2.128:5000", 401},
        {"203.0.113.7:5000", 200},
        {"203.0.113.8:5000", 401},
        {"[2001:db8:1::5]:5000", 200},
        {"[2001:db8:2::5]:5000", 401},
        {"[::ffff:192.0.2.1]:5000", 200},
        {"[::ffff:198.51.100.1]:9", 401},
        {"", 401},
        {"somewhere", 401},
    };
    set_instance_policy(bench, 204, "allowedIP",
                        "{\"enabled\":true,\"attributes\":{\"allowed_ip\":[\"192.0.2.0/25\","
                        "\"203.0.113.7\",\"2001:db8:1::/48\"]}}");
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        bench->request.peer = bytes_of_text(cases[i].peer);
        expect(bench, cases[i].status, API_GET, NULL, KEYS);
    }
    api_bench_act_locally(bench); /* who is on the machine can always take it back */
    expect(bench, 200, API_GET, NULL, "/api/v2/instance/policies?policy=allowedIP");
    const json_t *data = json_object_get(api_bench_resource(bench), "policy_data");
    const json_t *list = json_object_get(json_object_get(data, "attributes"), "allowed_ip");
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(json_string_value(json_array_get(list, 2)), "2001:db8:1::/48");
    set_instance_policy(bench, 204, "allowedIP", "{\"enabled\":false}");
    act_as(bench, "again", API_ROLE_MANAGER);
    bench->request.peer = BYTES_LITERAL("198.51.100.1:5000");
    expect(bench, 200, API_GET, NULL, KEYS);
}

static void test_keys_that_the_instance_does_not_allow(void **state)
{
    struct api_bench *bench = *state;
    static const char *const bodies[] = {
        ROOT, STANDARD, META "\"name\":\"xx\",\"extractable\":false,\"payload\":\"" KEY_32 "\"}]}",
        META "\"name\":\"xx\",\"extractable\":true,\"payload\":\"" KEY_32 "\"}]}"};
    static const char *const forbidden[] = {"create_root_key", "create_standard_key",
                                            "import_root_key", "import_standard_key"};
    for (size_t f = 0; f < ARRAY_COUNT(forbidden); f++) {
        char data[128];
        (void)snprintf(data, sizeof(data), "{\"enabled\":true,\"attributes\":{\"%s\":false}}",
                       forbidden[f]);
        set_instance_policy(bench, 204, "keyCreateImportAccess", data);
        for (size_t i = 0; i < ARRAY_COUNT(bodies); i++)
            expect(bench, i == f ? 409 : 201, API_POST, bodies[i], KEYS);
    }
    set_instance_policy(bench, 204, "keyCreateImportAccess",
                        "{\"enabled\":true,\"attributes\":{\"enforce_token\":true}}");
    expect(bench, 201, API_POST, bodies[0], KEYS);
    expect_code(bench, 409, "KEY_CREATE_IMPORT_ACCESS_ERR", API_POST, bodies[2], KEYS);
    set_instance_policy(bench, 204, "keyCreateImportAccess", "{\"enabled\":false}");
    expect(bench, 201, API_POST, bodies[2], KEYS);
}

/* ---- Import tokens ---- */

static size_t decode(const char *text, uint8_t *ret_bytes)
{
    if (!base64_decode(BASE64_STANDARD, bytes_of_text(text), ret_bytes))
        fail_msg("no base64: %s", text);
    return base64_decoded_size(BASE64_STANDARD, bytes_of_text(text));
}

static void encode(const uint8_t *bytes, size_t size, char *ret_text, size_t room)
{
    struct buffer text;
    buffer_over(&text, ret_text, room - 1);
    base64_encode(BASE64_STANDARD, bytes_of(bytes, size), &text);
    assert_int_equal(buffer_status(&text), STATUS_OK);
    ret_text[text.size] = '\0';
}

static size_t encrypt_key(const char *pem_text, const EVP_MD *digest, const uint8_t *key,
                          size_t size, uint8_t *ret_encrypted)
{
    uint8_t pem[2048];
    size_t pem_size = decode(pem_text, pem);
    BIO *memory = BIO_new_mem_buf(pem, (int)pem_size);
    EVP_PKEY *public_key = PEM_read_bio_PUBKEY(memory, NULL, NULL, NULL);
    assert_non_null(public_key);
    assert_int_equal(EVP_PKEY_get_bits(public_key), 4096);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(public_key, NULL);
    size_t encrypted = 512;
    assert_int_equal(EVP_PKEY_encrypt_init(context), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(context, digest), 1);
    assert_int_equal(EVP_PKEY_encrypt(context, ret_encrypted, &encrypted, key, size), 1);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(public_key);
    BIO_free(memory);
    return encrypted;
}

static size_t encrypt_nonce(bool gcm, const uint8_t *key, const uint8_t *iv, const uint8_t *nonce,
                            size_t size, uint8_t *ret_encrypted)
{
    int length = 0;
    int tail = 0;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    assert_int_equal(
        EVP_EncryptInit_ex2(context, gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc(), key, iv, NULL),
        1);
    assert_int_equal(EVP_EncryptUpdate(context, ret_encrypted, &length, nonce, (int)size), 1);
    assert_int_equal(EVP_EncryptFinal_ex(context, ret_encrypted + length, &tail), 1);
    length += tail;
    if (gcm) {
        assert_int_equal(
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, ret_encrypted + length), 1);
        length += 16;
    }
    EVP_CIPHER_CTX_free(context);
    return (size_t)length;
}

/* A body that imports a key under the token of the last answer. */
static void make_import(const struct api_bench *bench, bool gcm, int spoil, char *ret_body,
                        size_t room)
{
    static const uint8_t key[32] = {1, 2, 3};
    uint8_t iv[16] = {9, 8, 7};
    uint8_t nonce[64];
    uint8_t bytes[1024];
    char payload[1024];
    char encrypted_nonce[256];
    char iv_text[64];
    size_t nonce_size = decode(text_of(bench->json, "nonce"), nonce);
    nonce[0] ^= spoil == 1;
    size_t size = encrypt_key(text_of(bench->json, "payload"), gcm ? EVP_sha256() : EVP_sha1(), key,
                              sizeof(key), bytes);
    encode(bytes, size, payload, sizeof(payload));
    size = encrypt_nonce(gcm, key, iv, nonce, nonce_size, bytes);
    encode(bytes, size, encrypted_nonce, sizeof(encrypted_nonce));
    encode(iv, spoil == 2 ? 13 : gcm ? 12 : 16, iv_text, sizeof(iv_text));
    (void)snprintf(ret_body, room,
                   META "\"name\":\"secure\",\"extractable\":false,\"payload\":\"%s\","
                        "\"encryptedNonce\":\"%s\",\"iv\":\"%s\",\"encryptionAlgorithm\":\"%s\"}]}",
                   payload, encrypted_nonce, iv_text,
                   spoil == 3 ? "ROT13"
                   : gcm      ? "RSAES_OAEP_SHA_256"
                              : "RSAES_OAEP_SHA_1");
}

static void test_import_tokens(void **state)
{
    struct api_bench *bench = *state;
    char body[4096];
    expect_code(bench, 404, "IMPORT_TOKEN_NOT_FOUND_ERR", API_GET, NULL, "/api/v2/import_token");
    expect_code(bench, 400, "INVALID_FIELD_ERR", API_POST, "{\"expiration\":299}",
                "/api/v2/import_token");
    expect_code(bench, 400, "INVALID_FIELD_ERR", API_POST, "{\"maxAllowedRetrievals\":501}",
                "/api/v2/import_token");
    expect(bench, 200, API_POST, "{\"expiration\":600,\"maxAllowedRetrievals\":2}",
           "/api/v2/import_token");
    assert_int_equal(number_of(bench->json, "remainingRetrievals"), 2);
    assert_null(json_object_get(bench->json, "payload"));
    assert_string_equal(bench->response.content_type, "application/vnd.ibm.kms.import_token+json");
    expect(bench, 200, API_GET, NULL, "/api/v2/import_token");
    assert_int_equal(number_of(bench->json, "remainingRetrievals"), 1);
    json_t *token = json_incref(bench->json);

    for (int gcm = 0; gcm < 2; gcm++) {
        json_decref(bench->json);
        bench->json = json_incref(token);
        make_import(bench, gcm != 0, 0, body, sizeof(body));
        struct id id = create(bench, body);
        expect(bench, 200, API_POST, NULL, KEYS "/%s/actions/wrap", id.text);
        expect(bench, 200, API_GET, NULL, KEYS "/%s", id.text);
        assert_true(is_true(api_bench_resource(bench), "imported"));
    }
    static const char *const codes[] = {"", "INCORRECT_NONCE_ERR", "INCORRECT_NONCE_IV_ERR",
                                        "INVALID_FIELD_ERR"};
    for (int spoil = 1; spoil <= 3; spoil++) {
        json_decref(bench->json);
        bench->json = json_incref(token);
        make_import(bench, true, spoil, body, sizeof(body));
        expect_code(bench, 400, codes[spoil], API_POST, body, KEYS);
    }
    json_decref(bench->json);
    bench->json = json_incref(token);
    make_import(bench, true, 0, body, sizeof(body));
    json_decref(token);
    expect(bench, 200, API_GET, NULL, "/api/v2/import_token");
    expect_code(bench, 409, "IMPORT_TOKEN_EXPIRED_ERR", API_GET, NULL, "/api/v2/import_token");
    pass(bench, 600000);
    expect_code(bench, 409, "IMPORT_TOKEN_EXPIRED_ERR", API_POST, body, KEYS);
}

/* ---- Failures ---- */

static struct keymanager *keymanager_of(struct api_bench *bench)
{
    return keymanagers_get(&bench->core.keymanagers, KEYMANAGER_SEALED_FILE);
}

static void test_a_key_manager_that_does_not_answer(void **state)
{
    struct api_bench *bench = *state;
    struct id root = create(bench, ROOT);
    struct id standard = create(bench, STANDARD);
    pass(bench, HOUR - 1000);
    keymanager_memory_fail(keymanager_of(bench), STATUS_KEY_MANAGER_UNAVAILABLE);
    static const char *const actions[] = {"wrap", "disable"};
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        expect_code(bench, 503, "UNAVAILABLE_ERR", API_POST, NULL, KEYS "/%s/actions/%s", root.text,
                    actions[i]);
    assert_true(bench->response.retry_after > 0);
    expect_code(bench, 503, "UNAVAILABLE_ERR", API_DELETE, NULL, KEYS "/%s", root.text);
    expect_code(bench, 503, "UNAVAILABLE_ERR", API_GET, NULL, KEYS "/%s", standard.text);
    expect_code(bench, 503, "UNAVAILABLE_ERR", API_POST, STANDARD, KEYS);
    expect_code(bench, 503, "UNAVAILABLE_ERR", API_POST, ROOT, KEYS);
    expect(bench, 200, API_GET, NULL, KEYS);
    assert_int_equal(resource_count(bench), 2); /* the one that may have been made is not shown */
    keymanager_memory_fail(keymanager_of(bench), STATUS_OK);
    struct error error = {0};
    assert_int_equal(
        api_reconcile_root_keys(&bench->context, clock_now(&bench->core.clock), &error), STATUS_OK);
    expect(bench, 200, API_GET, NULL, KEYS);
    assert_int_equal(resource_count(bench), 3); /* nor was it made; the adapter's own is found */
    expect(bench, 200, API_POST, NULL, KEYS "/%s/actions/wrap", root.text);
}

/* ---- What a kill may leave ---- */

static void reconcile(struct api_bench *bench)
{
    struct error error = {0};
    if (api_reconcile_root_keys(&bench->context, clock_now(&bench->core.clock), &error) !=
        STATUS_OK)
        fail_msg("%s", error.text);
}

static void test_root_keys_without_a_row(void **state)
{
    struct api_bench *bench = *state;
    struct error error = {0};
    struct uuid ids[2];
    for (size_t i = 0; i < 2; i++) {
        struct root_key_wish wish = {.now = clock_now(&bench->core.clock)};
        assert_int_equal(uuid_make_random(&wish.id), STATUS_OK);
        assert_int_equal(keymanager_create_root_key(keymanager_of(bench), &wish, &ids[i], &error),
                         STATUS_OK);
    }
    assert_int_equal(keymanager_rotate(keymanager_of(bench), &ids[1], 1, NULL,
                                       clock_now(&bench->core.clock), &error),
                     STATUS_OK);
    struct adapter_row row = {
        .name = "cluster", .key_manager = KEYMANAGER_SEALED_FILE, .root_key = ids[0]};
    assert_int_equal(uuid_make_random(&row.uuid), STATUS_OK);
    assert_int_equal(store_adapter_insert(bench->core.store, &row), STATUS_OK);
    reconcile(bench);
    reconcile(bench);
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(&ids[0], text);
    expect(bench, 200, API_GET, NULL, KEYS "/%s", text);
    assert_string_equal(text_of(api_bench_resource(bench), "name"), "cluster");
    uuid_text(&ids[1], text);
    expect(bench, 200, API_GET, NULL, KEYS "/%s/versions", text);
    assert_int_equal(resource_count(bench), 2);
    expect(bench, 200, API_GET, NULL, KEYS "/%s", text);
    char name[16];
    (void)snprintf(name, sizeof(name), "kmipd-%.8s", text);
    assert_string_equal(text_of(api_bench_resource(bench), "name"), name);
    uuid_text(&bench->context.payload_root_key, text);
    expect_code(bench, 404, "KEY_NOT_FOUND_ERR", API_GET, NULL, KEYS "/%s", text);
}

/* A row as it stands between two steps. */
static void put_row(struct api_bench *bench, enum kms_key_state state, struct kms_key *ret_key)
{
    const struct kms_key_parts parts = {0};
    *ret_key = (struct kms_key){.state = state, .bits = 256, .name = "half", .ring = "default"};
    ret_key->created = clock_now(&bench->core.clock);
    assert_int_equal(uuid_make_random(&ret_key->id), STATUS_OK);
    assert_int_equal(kms_key_insert(bench->kms, ret_key, &parts), STATUS_OK);
}

static void test_rows_without_a_root_key(void **state)
{
    struct api_bench *bench = *state;
    char text[UUID_TEXT_LENGTH + 1];
    struct kms_key planned;
    struct kms_key active;
    put_row(bench, KMS_KEY_PLANNED, &planned);
    put_row(bench, KMS_KEY_ACTIVE, &active);
    uuid_text(&planned.id, text);
    expect_code(bench, 404, "KEY_NOT_FOUND_ERR", API_GET, NULL, KEYS "/%s", text);
    reconcile(bench);
    expect_code(bench, 404, "KEY_NOT_FOUND_ERR", API_GET, NULL, KEYS "/%s", text);
    uuid_text(&active.id, text);
    expect(bench, 200, API_GET, NULL, KEYS "/%s", text);
    assert_int_equal(number_of(api_bench_resource(bench), "state"), 5);
}

static void test_steps_that_were_taken_in_the_key_manager_only(void **state)
{
    struct api_bench *bench = *state;
    struct error error = {0};
    struct uuid uuid;
    struct id id = create(bench, ROOT);
    assert_true(uuid_parse(bytes_of_text(id.text), &uuid));
    int64_t now = clock_now(&bench->core.clock);
    struct keymanager *keymanager = keymanager_of(bench);
    assert_int_equal(keymanager_set_state(keymanager, &uuid, ROOT_KEY_SUSPENDED, &error),
                     STATUS_OK);
    reconcile(bench);
    assert_int_equal(state_of(bench, id), 2);
    assert_int_equal(keymanager_set_state(keymanager, &uuid, ROOT_KEY_ACTIVE, &error), STATUS_OK);
    reconcile(bench);
    assert_int_equal(state_of(bench, id), 1);

    struct kms_version version = {.number = 2, .created = now};
    assert_int_equal(uuid_make_random(&version.id), STATUS_OK);
    assert_int_equal(kms_version_plan(bench->kms, &uuid, &version), STATUS_OK);
    reconcile(bench); /* a rotation that was only noted is forgotten */
    expect(bench, 200, API_GET, NULL, KEYS "/%s/versions", id.text);
    assert_int_equal(resource_count(bench), 1);
    assert_int_equal(kms_version_plan(bench->kms, &uuid, &version), STATUS_OK);
    assert_int_equal(keymanager_rotate(keymanager, &uuid, 1, NULL, now, &error), STATUS_OK);
    expect(bench, 200, API_POST, NULL, KEYS "/%s/actions/wrap", id.text);
    reconcile(bench); /* one that has happened counts */
    expect(bench, 200, API_GET, NULL, KEYS "/%s/versions", id.text);
    assert_int_equal(resource_count(bench), 2);
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(&version.id, text);
    assert_string_equal(text_of(api_bench_resource(bench), "id"), text);

    assert_int_equal(keymanager_delete(keymanager, &uuid, now, &error), STATUS_OK);
    reconcile(bench);
    assert_int_equal(state_of(bench, id), 5);
    expect(bench, 201, API_POST, NULL, KEYS "/%s/restore", id.text);
    assert_int_equal(state_of(bench, id), 1);
}

/* ---- Many at once ---- */

#define THREADS 4
#define ROUNDS  10

struct rotator {
    struct api_bench *bench;
    struct uuid id;
    enum status status;
};

static void *rotate_often(void *argument)
{
    struct rotator *one = argument;
    struct error error = {0};
    for (int i = 0; i < ROUNDS && one->status == STATUS_OK; i++)
        one->status = api_root_key_rotate(&one->bench->context, &one->id, NULL,
                                          clock_now(&one->bench->core.clock), &error);
    return NULL;
}

static void test_rotations_at_once(void **state)
{
    struct api_bench *bench = *state;
    struct rotator rotators[THREADS];
    pthread_t threads[THREADS];
    struct id id = create(bench, ROOT);
    for (size_t i = 0; i < THREADS; i++) {
        rotators[i] = (struct rotator){.bench = bench};
        assert_true(uuid_parse(bytes_of_text(id.text), &rotators[i].id));
        assert_int_equal(pthread_create(&threads[i], NULL, rotate_often, &rotators[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(rotators[i].status, STATUS_OK);
    }
    struct root_key_info info;
    assert_int_equal(keymanager_root_key_info(keymanager_of(bench), &rotators[0].id, &info),
                     STATUS_OK);
    assert_int_equal(info.version, THREADS * ROUNDS + 1);
    expect(bench, 200, API_GET, NULL, KEYS "/%s/versions", id.text);
    assert_int_equal(resource_count(bench), THREADS * ROUNDS + 1);
}

/* ---- Records ---- */

static void test_what_the_audit_log_says(void **state)
{
    struct api_bench *bench = *state;
    struct id id = create(bench, ROOT);
    expect(bench, 200, API_POST, NULL, KEYS "/%s?action=wrap", id.text);
    json_t *records = api_bench_records(bench, 1);
    const json_t *record = json_array_get(records, 0);
    assert_string_equal(text_of(record, "operation"), "kms.secrets.wrap");
    assert_string_equal(text_of(record, "object"), id.text);
    assert_string_equal(text_of(record, "result"), "Success");
    json_decref(records);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    TEST(test_a_standard_key),
    TEST(test_a_generated_standard_key_has_256_bits),
    TEST(test_a_root_key),
    TEST(test_what_is_told_after_a_creation),
    TEST(test_keys_that_are_not_made),
    TEST(test_the_largest_payload),
    TEST(test_wrap_and_unwrap),
    TEST(test_wrap_makes_a_key_where_none_comes),
    TEST(test_ciphertexts_that_are_refused),
    TEST(test_limits_of_a_wrap),
    TEST(test_rotation_keeps_what_was_wrapped),
    TEST(test_material_of_rotations),
    TEST(test_states_and_actions),
    TEST(test_actions_of_standard_keys),
    TEST(test_deleting_standard_keys),
    TEST(test_purging),
    TEST(test_a_root_key_that_an_adapter_uses),
    TEST(test_expiration),
    TEST(test_two_must_agree),
    TEST(test_policies_of_keys),
    TEST(test_policy_overrides),
    TEST(test_rotations_that_are_due),
    TEST(test_purges_that_are_due),
    TEST(test_aliases),
    TEST(test_key_rings),
    TEST(test_who_sees_one_key_ring_only),
    TEST(test_roles),
    TEST(test_listing),
    TEST(test_the_order_of_a_listing),
    TEST(test_registrations),
    TEST(test_instance_policies),
    TEST(test_addresses_that_the_instance_allows),
    TEST(test_keys_that_the_instance_does_not_allow),
    TEST(test_import_tokens),
    TEST(test_a_key_manager_that_does_not_answer),
    TEST(test_root_keys_without_a_row),
    TEST(test_rows_without_a_root_key),
    TEST(test_steps_that_were_taken_in_the_key_manager_only),
    TEST(test_rotations_at_once),
    TEST(test_what_the_audit_log_says),
};

int main(void)
{
    struct error error = {0};
    if (secret_heap_init(1 << 20, &error) != STATUS_OK) {
        (void)fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    return cmocka_run_group_tests_name("api_keys", tests, NULL, NULL);
}
