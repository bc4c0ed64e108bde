/* SPDX-License-Identifier: Apache-2.0 */
/* KMIP adapters in the API: every route, what it answers, and every way in which it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/permission.h"
#include "api_bench.h"
#include "core/admin.h"
#include "crypto/pki.h"
#include "keymanager/memory.h"
#include "kmip/vocabulary.h"
#include "kms/keys.h"

#define KEYS     "/api/v2/keys"
#define ADAPTERS "/api/v2/kmip_adapters"
#define UNKNOWN  "00000000-0000-4000-8000-0000000000ff"
#define HOUR     ((int64_t)3600000)
#define BODY_MAX 8192

struct text {
    char text[BODY_MAX];
};

static int set_up(void **state)
{
    struct api_bench *bench = calloc(1, sizeof(*bench));
    api_bench_open(bench);
    api_bench_act_as(bench, "manager", API_ROLE_KMIP_ADAPTER_MANAGER);
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

static size_t resource_count(const struct api_bench *bench)
{
    return json_array_size(json_object_get(bench->json, "resources"));
}

static json_int_t total_of(const struct api_bench *bench)
{
    return number_of(json_object_get(bench->json, "metadata"), "totalCount");
}

/* The field or parameter that the answer says is wrong. */
static const char *target_of(const struct api_bench *bench)
{
    const json_t *reason = json_array_get(json_object_get(api_bench_resource(bench), "reasons"), 0);
    return text_of(json_object_get(reason, "target"), "name");
}

/* Takes over `resource`. */
static struct text envelope(const char *type, json_t *resource)
{
    struct text body = {""};
    char collection[96];
    (void)snprintf(collection, sizeof(collection), "application/vnd.ibm.kms.%s+json", type);
    json_t *value = json_pack("{s:{s:s,s:i},s:[o]}", "metadata", "collectionType", collection,
                              "collectionTotal", 1, "resources", resource);
    size_t size = json_dumpb(value, body.text, sizeof(body.text) - 1, JSON_COMPACT);
    assert_in_range(size, 1, sizeof(body.text) - 1);
    body.text[size] = '\0';
    json_decref(value);
    return body;
}

static struct text adapter_body(const char *name, const char *root_key)
{
    json_t *resource =
        json_pack("{s:s,s:{s:s}}", "profile", "native_1.0", "profile_data", "crk_id", root_key);
    if (name != NULL)
        (void)json_object_set_new(resource, "name", json_string(name));
    return envelope("kmip_adapter", resource);
}

/* A key made by who may: a root key unless `more` says otherwise. */
static struct text make_key(struct api_bench *bench, const char *more)
{
    struct api_request before = bench->request;
    struct text id;
    char body[1024];
    (void)snprintf(body, sizeof(body),
                   "{\"metadata\":{\"collectionType\":\"application/vnd.ibm.kms.key+json\","
                   "\"collectionTotal\":1},\"resources\":[{\"name\":\"of a test\"%s}]}",
                   more);
    api_bench_act_locally(bench);
    expect(bench, 201, API_POST, body, KEYS);
    (void)snprintf(id.text, sizeof(id.text), "%s", text_of(api_bench_resource(bench), "id"));
    bench->request = before;
    return id;
}

static struct text make_root_key(struct api_bench *bench)
{
    return make_key(bench, ",\"extractable\":false");
}

static struct text make_adapter(struct api_bench *bench, const char *name)
{
    struct text id;
    struct text root_key = make_root_key(bench);
    expect(bench, 201, API_POST, adapter_body(name, root_key.text).text, ADAPTERS);
    (void)snprintf(id.text, sizeof(id.text), "%s", text_of(api_bench_resource(bench), "id"));
    return id;
}

static struct adapter_row row_of(struct api_bench *bench, const char *name)
{
    struct adapter_row row;
    assert_int_equal(store_adapter_find(bench->core.session_store, bytes_of_text(name), &row),
                     STATUS_OK);
    return row;
}

/* ---- Adapters ---- */

static void test_an_adapter(void **state)
{
    struct api_bench *bench = *state;
    struct text root_key = make_root_key(bench);
    struct text body =
        envelope("kmip_adapter", json_pack("{s:s,s:s,s:s,s:{s:s}}", "name", "cluster_1-a",
                                           "description", "first row", "profile", "native_1.0",
                                           "profile_data", "crk_id", root_key.text));
    uint64_t generation = store_generation(bench->core.store);
    expect(bench, 201, API_POST, body.text, ADAPTERS);
    assert_int_not_equal(store_generation(bench->core.store), generation);
    json_t *made = json_deep_copy(api_bench_resource(bench));
    const json_t *data = json_object_get(made, "profile_data");
    const char *id = text_of(made, "id");
    assert_string_equal(text_of(made, "name"), "cluster_1-a");
    assert_string_equal(text_of(made, "description"), "first row");
    assert_string_equal(text_of(made, "profile"), "native_1.0");
    assert_string_equal(text_of(data, "crk_id"), root_key.text);
    assert_string_equal(text_of(data, "key_manager"), "sealed-file");
    assert_string_equal(text_of(made, "created_by"), text_of(made, "updated_by"));
    assert_memory_equal(text_of(made, "created_by"), "iam-ServiceId-", 14);
    assert_string_equal(text_of(made, "created_at"), text_of(made, "updated_at"));
    const char *const names[] = {"cluster_1-a", id};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        bench->core.clock.test_time += 5000;
        expect(bench, 200, API_GET, NULL, ADAPTERS "/%s", names[i]);
        assert_true(json_equal(api_bench_resource(bench), made));
    }
    expect(bench, 204, API_DELETE, NULL, ADAPTERS "/%s", id);
    expect_code(bench, 404, "KMIP_ADAPTER_NOT_FOUND_ERR", API_DELETE, NULL, ADAPTERS "/%s", id);
    expect_code(bench, 404, "KMIP_ADAPTER_NOT_FOUND_ERR", API_GET, NULL, ADAPTERS "/cluster_1-a");
    json_decref(made);
}

/* One that kmipctl made before there was an API. */
static void test_an_adapter_of_unknown_origin(void **state)
{
    struct api_bench *bench = *state;
    expect(bench, 200, API_GET, NULL, ADAPTERS "/default");
    const json_t *adapter = api_bench_resource(bench);
    assert_string_equal(text_of(adapter, "created_by"), "kmipd");
    assert_string_equal(text_of(adapter, "updated_by"), "kmipd");
    assert_string_equal(text_of(adapter, "updated_at"), text_of(adapter, "created_at"));
    assert_string_equal(text_of(adapter, "description"), "");
}

static void test_names_are_made(void **state)
{
    struct api_bench *bench = *state;
    struct text root_key = make_root_key(bench);
    char first[64];
    expect(bench, 201, API_POST, adapter_body(NULL, root_key.text).text, ADAPTERS);
    (void)snprintf(first, sizeof(first), "%s", text_of(api_bench_resource(bench), "name"));
    assert_memory_equal(first, "kmip_adapter_", 13);
    assert_in_range(strlen(first), 20, 40);
    assert_string_equal(text_of(api_bench_resource(bench), "description"), "");
    expect(bench, 201, API_POST, adapter_body("", root_key.text).text, ADAPTERS);
    assert_string_not_equal(text_of(api_bench_resource(bench), "name"), first);
}

static void test_names_of_adapters(void **state)
{
    static const struct {
        unsigned status;
        const char *name;
    } cases[] = {
        {201, "ab"},         {201, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-0123456789ab"},
        {409, "ab"},         {409, "default"},
        {400, "a"},          {400, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-0123456789abc"},
        {400, "with blank"}, {400, "with.dot"},
        {400, "with/slash"}, {400, "\xc3\xa4\xc3\xb6"},
        {400, UNKNOWN},
    };
    struct api_bench *bench = *state;
    struct text root_key = make_root_key(bench);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        expect(bench, cases[i].status, API_POST, adapter_body(cases[i].name, root_key.text).text,
               ADAPTERS);
        if (cases[i].status == 201)
            continue;
        assert_string_equal(target_of(bench), "name");
        assert_string_equal(api_bench_code(bench), cases[i].status == 409
                                                       ? "KMIP_ADAPTER_DUPLICATE_NAME_ERR"
                                                       : "INVALID_FIELD_ERR");
    }
}

/* %1$s is an active root key. */
static void test_fields_of_adapters(void **state)
{
#define RESOURCE(text) "{\"metadata\":{\"collectionTotal\":1},\"resources\":[{" text "}]}"
#define PROFILE        "\"profile\":\"native_1.0\","
#define DATA           "\"profile_data\":{\"crk_id\":\"%s\"}"
    static const struct {
        unsigned status;
        const char *target;
        const char *body;
    } cases[] = {
        {201, "", RESOURCE(PROFILE DATA)},
        {201, "", RESOURCE("\"PROFILE\":\"native_1.0\",\"Profile_Data\":{\"CRK_ID\":\"%s\"}")},
        {201, "", RESOURCE("\"name\":null,\"description\":null," PROFILE DATA)},
        {201, "", RESOURCE("\"description\":\"\"," PROFILE DATA)},
        {201, "", RESOURCE("\"description\":\"ab\"," PROFILE DATA)},
        {201, "", RESOURCE(PROFILE "\"profile_data\":{\"crk_id\":\"%s\",\"key_manager\":\"\"}")},
        {201, "",
         RESOURCE(PROFILE "\"profile_data\":{\"crk_id\":\"%s\",\"key_manager\":\"sealed-file\"}")},
        {400, "key_manager",
         RESOURCE(PROFILE "\"profile_data\":{\"crk_id\":\"%s\",\"key_manager\":\"sealed\"}")},
        {400, "key_manager",
         RESOURCE(PROFILE "\"profile_data\":{\"crk_id\":\"%s\",\"key_manager\":\"pkcs11\"}")},
        {400, "description", RESOURCE("\"description\":\"a\"," PROFILE DATA)},
        {400, "description", RESOURCE("\"description\":5," PROFILE DATA)},
        {400, "description", RESOURCE("\"description\":\"a\\u0001b\"," PROFILE DATA)},
        {400, "name", RESOURCE("\"name\":[]," PROFILE DATA)},
        {400, "(none)", RESOURCE("\"name\":\"ab\\u0000cd\"," PROFILE DATA)},
        {400, "profile", RESOURCE(DATA)},
        {400, "profile", RESOURCE("\"profile\":\"native_2.0\"," DATA)},
        {400, "profile", RESOURCE("\"profile\":true," DATA)},
        {400, "crk_id", RESOURCE("\"profile\":\"native_1.0\"")},
        {400, "crk_id", RESOURCE(PROFILE "\"profile_data\":\"%s\"")},
        {400, "crk_id", RESOURCE(PROFILE "\"profile_data\":{\"crk_id\":17}")},
        {400, "metadata", "{\"resources\":[{" PROFILE DATA "}]}"},
        {400, "resources", "{\"metadata\":{\"collectionTotal\":0},\"resources\":[]}"},
        {400, "(none)", "[]"},
        {400, "(none)", ""},
        {400, "(none)", "{"},
    };
    struct api_bench *bench = *state;
    struct text root_key = make_root_key(bench);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char body[1024];
        const char *place = strstr(cases[i].body, "%s");
        size_t before = place == NULL ? strlen(cases[i].body) : (size_t)(place - cases[i].body);
        (void)snprintf(body, sizeof(body), "%.*s%.36s%s", (int)before, cases[i].body,
                       place == NULL ? "" : root_key.text, place == NULL ? "" : place + 2);
        expect(bench, cases[i].status, API_POST, body, ADAPTERS);
        if (cases[i].status != 201)
            assert_string_equal(target_of(bench), cases[i].target);
    }
}

static void test_long_descriptions(void **state)
{
    struct api_bench *bench = *state;
    struct text root_key = make_root_key(bench);
    for (int characters = 240; characters <= 241; characters++) {
        char description[4 * 241 + 1] = "";
        for (int i = 0; i < characters; i++)
            memcpy(description + 4 * i, "\xf0\x9f\x94\x91", 5); /* four bytes each */
        struct text body = envelope(
            "kmip_adapter", json_pack("{s:s,s:s,s:{s:s}}", "description", description, "profile",
                                      "native_1.0", "profile_data", "crk_id", root_key.text));
        expect(bench, characters == 240 ? 201 : 400, API_POST, body.text, ADAPTERS);
        if (characters == 240)
            assert_string_equal(text_of(api_bench_resource(bench), "description"), description);
    }
}

/* ---- Root keys ---- */

static void test_root_keys_of_adapters(void **state)
{
    struct api_bench *bench = *state;
    struct text suspended = make_root_key(bench);
    struct text deleted = make_root_key(bench);
    struct text payloads;
    uuid_text(&bench->context.payload_root_key, payloads.text);
    struct api_request manager = bench->request;
    api_bench_act_locally(bench);
    expect(bench, 204, API_POST, NULL, KEYS "/%s/actions/disable", suspended.text);
    expect(bench, 204, API_DELETE, NULL, KEYS "/%s", deleted.text);
    bench->request = manager;
    const struct {
        unsigned status;
        const char *code;
        struct text root_key;
    } cases[] = {
        {201, "", make_root_key(bench)},
        {400, "NATIVE_INVALID_CRK_ERR", make_key(bench, ",\"extractable\":true")},
        {400, "NATIVE_INVALID_CRK_ERR", suspended},
        {400, "NATIVE_INVALID_CRK_ERR", deleted},
        {400, "NATIVE_CRK_ID_NOT_FOUND_ERR", {UNKNOWN}},
        {400, "NATIVE_CRK_ID_NOT_FOUND_ERR", {"no-alias"}},
        {400, "NATIVE_CRK_ID_NOT_FOUND_ERR", payloads},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        expect(bench, cases[i].status, API_POST, adapter_body(NULL, cases[i].root_key.text).text,
               ADAPTERS);
        if (cases[i].status == 201)
            continue;
        assert_string_equal(api_bench_code(bench), cases[i].code);
        assert_string_equal(target_of(bench), "crk_id");
    }
}

static void test_a_root_key_by_alias(void **state)
{
    struct api_bench *bench = *state;
    struct text root_key = make_key(bench, ",\"extractable\":false,\"aliases\":[\"of-cluster\"]");
    expect(bench, 201, API_POST, adapter_body("by-alias", "of-cluster").text, ADAPTERS);
    const json_t *data = json_object_get(api_bench_resource(bench), "profile_data");
    assert_string_equal(text_of(data, "crk_id"), root_key.text);
    expect(bench, 200, API_GET, NULL, ADAPTERS "?crk_id=of-cluster");
    assert_int_equal(resource_count(bench), 1);
}

static void test_expiring_root_keys(void **state)
{
    struct api_bench *bench = *state;
    struct text root_key =
        make_key(bench, ",\"extractable\":false,\"expirationDate\":\"2099-01-01T00:00:00Z\"");
    struct text body = adapter_body(NULL, root_key.text);
    static const struct {
        unsigned status;
        const char *code;
        const char *query;
    } cases[] = {
        {400, "NATIVE_INVALID_CRK_ERR", ""},
        {400, "NATIVE_INVALID_CRK_ERR", "?allowExpiringKey=false"},
        {400, "INVALID_QUERY_PARAM_ERR", "?allowExpiringKey=perhaps"},
        {201, "", "?allowExpiringKey=true"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        expect_code(bench, cases[i].status, cases[i].code, API_POST, body.text, ADAPTERS "%s",
                    cases[i].query);
}

/* Another key manager than the one whose root keys are served. */
static void test_a_root_key_elsewhere(void **state)
{
    struct api_bench *bench = *state;
    struct keymanager *other;
    struct uuid root_key = {{0}};
    struct error error = {0};
    struct text id;
    const struct root_key_wish wish = {.id.bytes = {1, 2, 3}, .now = 1};
    assert_int_equal(keymanager_open_memory(&other), STATUS_OK);
    bench->core.keymanagers.by_code[KEYMANAGER_KEY_PROTECT] = other;
    assert_int_equal(keymanager_create_root_key(other, &wish, &root_key, &error), STATUS_OK);
    uuid_text(&root_key, id.text);
    const struct {
        unsigned status;
        const char *code;
        const char *root_key;
        enum root_key_state state;
    } cases[] = {
        {201, "", id.text, ROOT_KEY_ACTIVE},
        {400, "NATIVE_INVALID_CRK_ERR", id.text, ROOT_KEY_SUSPENDED},
        {400, "NATIVE_CRK_ID_NOT_FOUND_ERR", UNKNOWN, ROOT_KEY_ACTIVE},
        {400, "NATIVE_CRK_ID_NOT_FOUND_ERR", "an-alias", ROOT_KEY_ACTIVE},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct text body = envelope(
            "kmip_adapter", json_pack("{s:s,s:{s:s,s:s}}", "profile", "native_1.0", "profile_data",
                                      "crk_id", cases[i].root_key, "key_manager", "key-protect"));
        assert_int_equal(keymanager_set_state(other, &root_key, cases[i].state, &error), STATUS_OK);
        expect_code(bench, cases[i].status, cases[i].code, API_POST, body.text, ADAPTERS);
    }
    expect(bench, 200, API_GET, NULL, ADAPTERS "?crk_id=%s", id.text);
    const json_t *data = json_object_get(api_bench_resource(bench), "profile_data");
    assert_string_equal(text_of(data, "key_manager"), "key-protect");
    bench->core.keymanagers.by_code[KEYMANAGER_KEY_PROTECT] = NULL;
    keymanager_close(other);
}

/* ---- Lists ---- */

static void test_lists_of_adapters(void **state)
{
    struct api_bench *bench = *state;
    struct text root_key = make_root_key(bench);
    char name[32];
    for (int i = 1; i < 200; i++) { /* and "default" */
        (void)snprintf(name, sizeof(name), "made-%03d", i);
        expect(bench, 201, API_POST, adapter_body(name, root_key.text).text, ADAPTERS);
    }
    expect_code(bench, 409, "KMIP_ADAPTER_QUOTA_ERR", API_POST,
                adapter_body("one-more", root_key.text).text, ADAPTERS);
    static const struct {
        const char *query;
        size_t count;
        json_int_t total;
        const char *first;
    } cases[] = {
        {"", 100, -1, "default"},
        {"?totalCount=true", 100, 200, "default"},
        {"?limit=200", 200, -1, "default"},
        {"?limit=1&offset=1&totalCount=True", 1, 200, "made-001"},
        {"?limit=7&offset=195", 5, -1, "made-195"},
        {"?offset=200&totalCount=true", 0, 200, "(none)"},
        {"?crk_id=" UNKNOWN "&totalCount=true", 0, 0, "(none)"},
        {"?crk_id=no-alias", 0, -1, "(none)"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        expect(bench, 200, API_GET, NULL, ADAPTERS "%s", cases[i].query);
        assert_int_equal(resource_count(bench), cases[i].count);
        assert_int_equal(total_of(bench), cases[i].total);
        assert_string_equal(text_of(api_bench_resource(bench), "name"), cases[i].first);
    }
    expect(bench, 200, API_GET, NULL, ADAPTERS "?crk_id=%s&limit=2&totalCount=true", root_key.text);
    assert_int_equal(total_of(bench), 199);
}

static void test_wrong_pages(void **state)
{
    static const char *const paths[] = {"", "/default/certificates", "/default/kmip_objects"};
    static const struct {
        const char *query;
        const char *target;
    } cases[] = {
        {"limit=0", "limit"},         {"limit=5001", "limit"},  {"limit=x", "limit"},
        {"offset=-1", "offset"},      {"offset=1.5", "offset"}, {"totalCount=1", "totalCount"},
        {"limit=1&limit=2", "limit"},
    };
    struct api_bench *bench = *state;
    for (size_t p = 0; p < ARRAY_COUNT(paths); p++) {
        for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
            expect_code(bench, 400, "INVALID_QUERY_PARAM_ERR", API_GET, NULL, ADAPTERS "%s?%s",
                        paths[p], cases[i].query);
            assert_string_equal(target_of(bench), cases[i].target);
        }
        bool objects = p == 2;
        expect(bench, objects ? 200 : 400, API_GET, NULL, ADAPTERS "%s?limit=201", paths[p]);
        expect(bench, objects ? 200 : 400, API_GET, NULL, ADAPTERS "%s?limit=5000", paths[p]);
    }
}

/* ---- Certificates ---- */

static EVP_PKEY *client_key(void)
{
    static EVP_PKEY *key;
    if (key == NULL)
        assert_int_equal(pki_key_make(PKI_KEY_ECDSA_P256, &key), STATUS_OK);
    return key;
}

static struct text make_pem(const char *common_name)
{
    struct text text;
    struct error error = {0};
    X509 *certificate;
    struct buffer pem;
    buffer_init(&pem, sizeof(text.text));
    assert_int_equal(
        pki_make_authority(client_key(), common_name, 1700000000000, &certificate, &error),
        STATUS_OK);
    assert_int_equal(pki_certificate_pem(certificate, &pem), STATUS_OK);
    (void)snprintf(text.text, sizeof(text.text), "%.*s", (int)pem.size, (const char *)pem.data);
    buffer_free(&pem);
    X509_free(certificate);
    return text;
}

static struct text certificate_body(const char *name, const char *pem)
{
    json_t *resource = json_pack("{s:s}", "certificate", pem);
    if (name != NULL)
        (void)json_object_set_new(resource, "name", json_string(name));
    return envelope("kmip_client_certificate", resource);
}

static void test_a_certificate(void **state)
{
    struct api_bench *bench = *state;
    struct text pem = make_pem("vcenter");
    uint64_t generation = store_generation(bench->core.store);
    expect(bench, 201, API_POST, certificate_body("vcenter", pem.text).text,
           ADAPTERS "/default/certificates");
    assert_int_not_equal(store_generation(bench->core.store), generation);
    json_t *made = json_deep_copy(api_bench_resource(bench));
    assert_string_equal(text_of(made, "name"), "vcenter");
    assert_string_equal(text_of(made, "certificate"), pem.text);
    assert_memory_equal(text_of(made, "created_by"), "iam-ServiceId-", 14);
    assert_int_equal(strlen(text_of(made, "created_at")), 20);
    const char *const names[] = {"vcenter", text_of(made, "id")};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        expect(bench, 200, API_GET, NULL, ADAPTERS "/default/certificates/%s", names[i]);
        assert_true(json_equal(api_bench_resource(bench), made));
    }
    expect(bench, 200, API_GET, NULL, ADAPTERS "/default/certificates");
    assert_null(json_object_get(api_bench_resource(bench), "certificate"));
    (void)json_object_del(made, "certificate");
    assert_true(json_equal(api_bench_resource(bench), made));
    expect(bench, 204, API_DELETE, NULL, ADAPTERS "/default/certificates/%s", names[1]);
    expect_code(bench, 404, "KMIP_CERT_NOT_FOUND_ERR", API_DELETE, NULL,
                ADAPTERS "/default/certificates/vcenter");
    expect_code(bench, 404, "KMIP_CERT_NOT_FOUND_ERR", API_GET, NULL,
                ADAPTERS "/default/certificates/%s", names[1]);
    json_decref(made);
}

static void test_certificates_are_unique(void **state)
{
    struct api_bench *bench = *state;
    struct text first = make_pem("first");
    struct text second = make_pem("second");
    (void)make_adapter(bench, "other");
    const struct {
        unsigned status;
        const char *code;
        const char *adapter;
        const char *name;
        const char *pem;
    } cases[] = {
        {201, "", "default", "one", first.text},
        {409, "KMIP_CERT_DUPLICATE_ERR", "default", "two", first.text},
        {409, "KMIP_CERT_DUPLICATE_ERR", "other", "one", first.text},
        {409, "KMIP_CERT_DUPLICATE_NAME_ERR", "default", "one", second.text},
        {201, "", "other", "one", second.text},
        {404, "KMIP_ADAPTER_NOT_FOUND_ERR", "nowhere", "one", second.text},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        expect_code(bench, cases[i].status, cases[i].code, API_POST,
                    certificate_body(cases[i].name, cases[i].pem).text, ADAPTERS "/%s/certificates",
                    cases[i].adapter);
    /* An adapter's certificates go with it, and are free again. */
    expect(bench, 204, API_DELETE, NULL, ADAPTERS "/other");
    expect(bench, 201, API_POST, certificate_body("again", second.text).text,
           ADAPTERS "/default/certificates");
}

static void test_fields_of_certificates(void **state)
{
    struct api_bench *bench = *state;
    struct text pem = make_pem("one");
    struct text twice, blanks, before, damaged, header;
    (void)snprintf(twice.text, BODY_MAX, "%.3000s%.3000s", pem.text, pem.text);
    (void)snprintf(blanks.text, BODY_MAX, " \r\n%.3000s\t\n ", pem.text);
    (void)snprintf(before.text, BODY_MAX, "subject=CN\n%.3000s", pem.text);
    (void)snprintf(header.text, BODY_MAX, "-----BEGIN CERTIFICATE-----\nA: b\n\n%.3000s",
                   pem.text + 28);
    damaged = pem;
    damaged.text[60] = damaged.text[60] == 'A' ? 'B' : 'A';
    damaged.text[36] = damaged.text[36] == 'A' ? 'B' : 'A';
    const struct {
        unsigned status;
        const char *target;
        const char *name;
        const char *pem;
    } cases[] = {
        {400, "certificate", NULL, twice.text},
        {400, "certificate", NULL, before.text},
        {400, "certificate", NULL, header.text},
        {400, "certificate", NULL, damaged.text},
        {400, "certificate", NULL, ""},
        {400, "certificate", NULL, "vcenter.pem"},
        {400, "certificate", NULL, "-----BEGIN CERTIFICATE----------END CERTIFICATE-----"},
        {400, "certificate", NULL, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"},
        {400, "certificate", NULL, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"},
        {400, "name", "a", pem.text},
        {400, "name", "with blank", pem.text},
        {400, "name", UNKNOWN, pem.text},
        {201, "", NULL, blanks.text},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        expect(bench, cases[i].status, API_POST, certificate_body(cases[i].name, cases[i].pem).text,
               ADAPTERS "/default/certificates");
        if (cases[i].status == 201)
            continue;
        assert_string_equal(api_bench_code(bench), "INVALID_FIELD_ERR");
        assert_string_equal(target_of(bench), cases[i].target);
    }
    assert_memory_equal(text_of(api_bench_resource(bench), "name"), "kmip_cert_", 10);
    assert_string_equal(text_of(api_bench_resource(bench), "certificate"), pem.text);
    expect_code(bench, 400, "NO_BODY_ERR", API_POST, NULL, ADAPTERS "/default/certificates");
    expect_code(bench, 400, "INVALID_FIELD_ERR", API_POST,
                envelope("kmip_client_certificate", json_pack("{s:i}", "certificate", 1)).text,
                ADAPTERS "/default/certificates");
}

static void test_lists_of_certificates(void **state)
{
    struct api_bench *bench = *state;
    char name[32];
    for (int i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof(name), "cert-%03d", i);
        expect(bench, 201, API_POST, certificate_body(name, make_pem(name).text).text,
               ADAPTERS "/default/certificates");
    }
    struct text body = certificate_body("one-more", make_pem("one-more").text);
    expect_code(bench, 409, "KMIP_CERT_QUOTA_ERR", API_POST, body.text,
                ADAPTERS "/default/certificates");
    (void)make_adapter(bench, "other"); /* where there is room */
    expect(bench, 201, API_POST, body.text, ADAPTERS "/other/certificates");
    expect(bench, 200, API_GET, NULL, ADAPTERS "/default/certificates");
    assert_int_equal(resource_count(bench), 100);
    assert_int_equal(total_of(bench), -1);
    expect(bench, 200, API_GET, NULL,
           ADAPTERS "/default/certificates?limit=9&offset=198&totalCount=true");
    assert_int_equal(resource_count(bench), 2);
    assert_int_equal(total_of(bench), 200);
    assert_string_equal(text_of(api_bench_resource(bench), "name"), "cert-198");
}

/* ---- Objects ---- */

#define OBJECT_STATES 7 /* 1 to 6, and none: a type of object that has no state */

/*
 * An object in each state. Those that are not active are copies with another state; the Pre-Active
 * one will be active in an hour.
 */
static void make_objects(struct api_bench *bench, struct uuid ret_ids[static OBJECT_STATES])
{
    struct core_bench *core = &bench->core;
    struct adapter_row adapter = row_of(bench, "default");
    struct stored_object *object;
    struct uuid template;
    core->clock.test_time += HOUR;
    assert_int_equal(core_admin_create_key(core->core, core->session_store, &adapter,
                                           bytes_of(NULL, 0), &template),
                     STATUS_OK);
    clock_init_test(&core->clock, core->clock.test_time - HOUR); /* it does not go back by itself */
    assert_int_equal(store_get(core->session_store, adapter.id, &template, &object), STATUS_OK);
    for (uint32_t i = 0; i < OBJECT_STATES; i++) {
        struct store_change change = {.kind = STORE_INSERT, .row = object->row};
        assert_int_equal(uuid_make(core->clock.test_time, &change.row.id), STATUS_OK);
        change.row.sequence = 0;
        change.row.state = i;
        if (i == 0)
            change.row.object_type = KMIP_OBJECT_TYPE_OPAQUE_OBJECT;
        assert_int_equal(store_commit(core->store, &change, 1), STATUS_OK);
        ret_ids[i] = change.row.id;
    }
    stored_object_release(object);
    assert_int_equal(core_admin_destroy(core->core, core->session_store, &adapter, &template, true),
                     STATUS_OK);
}

/* The states of those listed, in order. */
static const char *listed_states(const struct api_bench *bench)
{
    static char states[64];
    const json_t *resources = json_object_get(bench->json, "resources");
    size_t count = json_array_size(resources);
    for (size_t i = 0; i < count; i++)
        states[i] = (char)('0' + number_of(json_array_get(resources, i), "state"));
    states[count] = '\0';
    return states;
}

static void test_lists_of_objects(void **state)
{
    static const struct {
        const char *query;
        const char *states;
        json_int_t total;
    } cases[] = {
        {"", "21234", -1}, /* the first has none, and stands as active */
        {"?totalCount=true", "21234", 5},
        {"?state=2", "22", -1},
        {"?state=2,3&totalCount=true", "223", 3},
        {"?state=2%2C3", "223", -1},
        {"?state=1&state=2&totalCount=true", "212", 3},
        {"?state=5,6&totalCount=true", "556", 3},
        {"?state=4&totalCount=true", "4", 1},
        {"?state=1,2,3,4,5,6&totalCount=true", "52123456", 8},
        {"?limit=2&offset=1&totalCount=true", "12", 5},
        {"?limit=2&offset=4", "4", -1},
        {"?offset=5&totalCount=true", "", 5},
    };
    static const char *const wrong[] = {"0", "7", "2,", ",2", "2;3", "active", "2,,3", "22"};
    struct api_bench *bench = *state;
    struct uuid ids[OBJECT_STATES];
    make_objects(bench, ids);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        expect(bench, 200, API_GET, NULL, ADAPTERS "/default/kmip_objects%s", cases[i].query);
        assert_string_equal(listed_states(bench), cases[i].states);
        assert_int_equal(total_of(bench), cases[i].total);
    }
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        expect_code(bench, 400, "INVALID_QUERY_PARAM_ERR", API_GET, NULL,
                    ADAPTERS "/default/kmip_objects?state=%s", wrong[i]);
        assert_string_equal(target_of(bench), "state");
    }
    bench->core.clock.test_time += 2 * HOUR; /* what was Pre-Active is active */
    api_bench_act_as(bench, "later", API_ROLE_MANAGER);
    expect(bench, 200, API_GET, NULL, ADAPTERS "/default/kmip_objects?state=2&totalCount=true");
    assert_int_equal(total_of(bench), 3);
    expect(bench, 200, API_GET, NULL, ADAPTERS "/default/kmip_objects?state=1&totalCount=true");
    assert_int_equal(total_of(bench), 0);
}

static void test_an_object(void **state)
{
    struct api_bench *bench = *state;
    struct uuid ids[OBJECT_STATES];
    struct text id;
    make_objects(bench, ids);
    (void)make_adapter(bench, "other");
    uuid_text(&ids[2], id.text);
    expect(bench, 200, API_GET, NULL, ADAPTERS "/default/kmip_objects/%s", id.text);
    const json_t *object = api_bench_resource(bench);
    assert_string_equal(text_of(object, "id"), id.text);
    assert_int_equal(number_of(object, "kmip_object_type"), 2);
    assert_int_equal(number_of(object, "state"), 2);
    assert_int_equal(strlen(text_of(object, "created_at")), 20);
    assert_int_equal(strlen(text_of(object, "updated_at")), 20);
    assert_string_equal(text_of(object, "created_by_kmip_client_cert_id"), "");
    assert_string_equal(text_of(object, "created_by"), "");
    assert_string_equal(text_of(object, "updated_by"), "");
    assert_true(json_is_false(json_object_get(object, "recoverable")));
    assert_null(json_object_get(object, "destroyed_at"));
    const char *const nowhere[][2] = {
        {"other", id.text}, {"default", UNKNOWN}, {"default", "no-identifier"}};
    for (size_t i = 0; i < ARRAY_COUNT(nowhere); i++) {
        expect_code(bench, 404, "KMIP_OBJECT_NOT_FOUND_ERR", API_GET, NULL,
                    ADAPTERS "/%s/kmip_objects/%s", nowhere[i][0], nowhere[i][1]);
        expect_code(bench, 404, "KMIP_OBJECT_NOT_FOUND_ERR", API_DELETE, NULL,
                    ADAPTERS "/%s/kmip_objects/%s?force=true", nowhere[i][0], nowhere[i][1]);
    }
}

static void test_deleting_objects(void **state)
{
    static const struct {
        unsigned plain;
        unsigned forced;
        const char *code;
        int after;
    } cases[OBJECT_STATES] = {
        {409, 204, "KMIP_OBJECT_ACTIVE_ERR", 5},  {204, 410, "KMIP_OBJECT_DELETED_ERR", 5},
        {409, 204, "KMIP_OBJECT_ACTIVE_ERR", 5},  {204, 410, "KMIP_OBJECT_DELETED_ERR", 5},
        {204, 410, "KMIP_OBJECT_DELETED_ERR", 6}, {410, 410, "KMIP_OBJECT_DELETED_ERR", 5},
        {410, 410, "KMIP_OBJECT_DELETED_ERR", 6},
    };
    struct api_bench *bench = *state;
    struct uuid ids[OBJECT_STATES];
    make_objects(bench, ids);
    expect_code(bench, 409, "KMIP_ADAPTER_NOT_EMPTY_ERR", API_DELETE, NULL, ADAPTERS "/default");
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char id[UUID_TEXT_LENGTH + 1];
        uuid_text(&ids[i], id);
        expect_code(bench, 400, "INVALID_QUERY_PARAM_ERR", API_DELETE, NULL,
                    ADAPTERS "/default/kmip_objects/%s?force=maybe", id);
        expect_code(bench, cases[i].plain, cases[i].plain == 204 ? "" : cases[i].code, API_DELETE,
                    NULL, ADAPTERS "/default/kmip_objects/%s", id);
        expect_code(bench, cases[i].forced, cases[i].forced == 204 ? "" : cases[i].code, API_DELETE,
                    NULL, ADAPTERS "/default/kmip_objects/%s?force=true", id);
        expect(bench, 200, API_GET, NULL, ADAPTERS "/default/kmip_objects/%s", id);
        const json_t *object = api_bench_resource(bench);
        assert_int_equal(number_of(object, "state"), cases[i].after);
        assert_string_equal(text_of(object, "destroyed_by"), "");
        if (cases[i].plain != 410)
            assert_int_equal(strlen(text_of(object, "destroyed_at")), 20);
    }
    expect(bench, 204, API_DELETE, NULL, ADAPTERS "/default");
}

/* ---- Who may ---- */

static void test_roles(void **state)
{
    static const struct {
        enum api_method method;
        const char *target;
        bool reads;
    } routes[] = {
        {API_GET, ADAPTERS, true},
        {API_POST, ADAPTERS, false},
        {API_GET, ADAPTERS "/default", true},
        {API_DELETE, ADAPTERS "/default", false},
        {API_GET, ADAPTERS "/default/certificates", true},
        {API_POST, ADAPTERS "/default/certificates", false},
        {API_GET, ADAPTERS "/default/certificates/one", true},
        {API_DELETE, ADAPTERS "/default/certificates/one", false},
        {API_GET, ADAPTERS "/default/kmip_objects", true},
        {API_GET, ADAPTERS "/default/kmip_objects/" UNKNOWN, true},
        {API_DELETE, ADAPTERS "/default/kmip_objects/" UNKNOWN, false},
    };
    static const struct {
        unsigned role;
        bool reads;
        bool manages;
    } roles[] = {
        {API_ROLE_READER, true, false},         {API_ROLE_READER_PLUS, true, false},
        {API_ROLE_WRITER, true, false},         {API_ROLE_KEY_PURGE, false, false},
        {API_ROLE_ADMINISTRATOR, false, false},
    };
    struct api_bench *bench = *state;
    for (size_t r = 0; r < ARRAY_COUNT(roles); r++) {
        api_bench_act_as(bench, role_name(roles[r].role), roles[r].role);
        for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
            bool may = routes[i].reads ? roles[r].reads : roles[r].manages;
            unsigned status = api_bench_ask(bench, routes[i].method, routes[i].target, NULL);
            assert_int_equal(status == 401, !may);
        }
    }
    api_bench_act_as(bench, "may all of it", API_ROLE_MANAGER);
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++)
        assert_int_not_equal(api_bench_ask(bench, routes[i].method, routes[i].target, NULL), 401);
}

/* Whoever has a grant for one adapter sees that one, and not even whether there are others. */
static void test_grants_for_one_adapter(void **state)
{
    struct api_bench *bench = *state;
    struct text mine = make_adapter(bench, "mine");
    struct text root_key = make_root_key(bench);
    char key[API_KEY_TEXT_LENGTH + 1];
    struct kms_grant grant = {.role = API_ROLE_KMIP_ADAPTER_MANAGER};
    (void)snprintf(grant.adapter, sizeof(grant.adapter), "%.36s", mine.text);
    api_bench_service_id(bench, "limited", &grant, 1, key);
    assert_true(api_bench_log_in(bench, key));
    expect(bench, 200, API_GET, NULL, ADAPTERS "?totalCount=true");
    assert_int_equal(total_of(bench), 1);
    assert_string_equal(text_of(api_bench_resource(bench), "name"), "mine");
    static const char *const others[] = {"default", "nowhere", "default/certificates",
                                         "default/kmip_objects", "nowhere/kmip_objects"};
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        expect(bench, 401, API_GET, NULL, ADAPTERS "/%s", others[i]);
    expect(bench, 401, API_POST, adapter_body("another", root_key.text).text, ADAPTERS);
    expect(bench, 401, API_DELETE, NULL, ADAPTERS "/default");
    expect(bench, 201, API_POST, certificate_body("vcenter", make_pem("vcenter").text).text,
           ADAPTERS "/mine/certificates");
    expect(bench, 200, API_GET, NULL, ADAPTERS "/mine/kmip_objects");
    expect(bench, 204, API_DELETE, NULL, ADAPTERS "/mine");
}

static void test_a_grant_for_a_key_ring_says_nothing_of_adapters(void **state)
{
    struct api_bench *bench = *state;
    char key[API_KEY_TEXT_LENGTH + 1];
    const struct kms_grant grant = {.role = API_ROLE_MANAGER, .key_ring = "default"};
    api_bench_service_id(bench, "of a ring", &grant, 1, key);
    assert_true(api_bench_log_in(bench, key));
    expect(bench, 200, API_GET, NULL, ADAPTERS "?totalCount=true");
    assert_int_equal(total_of(bench), 0);
    expect(bench, 401, API_GET, NULL, ADAPTERS "/default");
}

/* ---- Audit ---- */

static void test_audit_records(void **state)
{
    struct api_bench *bench = *state;
    struct text id = make_adapter(bench, "recorded");
    expect(bench, 201, API_POST, certificate_body("vcenter", make_pem("vcenter").text).text,
           ADAPTERS "/%s/certificates", id.text);
    expect(bench, 204, API_DELETE, NULL, ADAPTERS "/%s/certificates/vcenter", id.text);
    expect(bench, 404, API_DELETE, NULL, ADAPTERS "/%s/kmip_objects/" UNKNOWN, id.text);
    expect(bench, 204, API_DELETE, NULL, ADAPTERS "/%s", id.text);
    static const struct {
        const char *operation;
        const char *object;
        const char *reason;
    } expected[] = {
        {"kms.kmip-management.create", "recorded", ""},
        {"kms.kmip-management.create", "vcenter", ""},
        {"kms.kmip-management.delete", "vcenter", ""},
        {"kms.kmip-management.delete", UNKNOWN, "KMIP_OBJECT_NOT_FOUND_ERR"},
        {"kms.kmip-management.delete", "recorded", ""},
    };
    json_t *records = api_bench_records(bench, ARRAY_COUNT(expected));
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        const json_t *record = json_array_get(records, i);
        const char *reason = json_string_value(json_object_get(record, "reason"));
        assert_string_equal(text_of(record, "operation"), expected[i].operation);
        assert_string_equal(text_of(record, "object"), expected[i].object);
        assert_string_equal(text_of(record, "adapter"), "recorded");
        assert_string_equal(reason == NULL ? "" : reason, expected[i].reason);
    }
    json_decref(records);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_adapter),
        TEST(test_an_adapter_of_unknown_origin),
        TEST(test_names_are_made),
        TEST(test_names_of_adapters),
        TEST(test_fields_of_adapters),
        TEST(test_long_descriptions),
        TEST(test_root_keys_of_adapters),
        TEST(test_a_root_key_by_alias),
        TEST(test_expiring_root_keys),
        TEST(test_a_root_key_elsewhere),
        TEST(test_lists_of_adapters),
        TEST(test_wrong_pages),
        TEST(test_a_certificate),
        TEST(test_certificates_are_unique),
        TEST(test_fields_of_certificates),
        TEST(test_lists_of_certificates),
        TEST(test_lists_of_objects),
        TEST(test_an_object),
        TEST(test_deleting_objects),
        TEST(test_roles),
        TEST(test_grants_for_one_adapter),
        TEST(test_a_grant_for_a_key_ring_says_nothing_of_adapters),
        TEST(test_audit_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
