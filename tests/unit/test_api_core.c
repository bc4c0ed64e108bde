/* SPDX-License-Identifier: Apache-2.0 */
/* The API apart from its resources: routes, who asks, tokens, errors, roles, records, jobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/permission.h"
#include "api/router.h"
#include "api_bench.h"
#include "base/base64.h"

#define SERVICE_IDS "/api/v2/kmipd/service_ids"
#define GRANT       "urn:ibm:params:oauth:grant-type:apikey"

static int set_up(void **state)
{
    struct api_bench *bench = calloc(1, sizeof(*bench));
    api_bench_open(bench);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    api_bench_close(*state);
    free(*state);
    return 0;
}

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

/* ---- Base64 ---- */

static void test_base64_has_one_text_for_each_bytes(void **state)
{
    /* RFC 4648 §10. */
    static const char *const vectors[][2] = {
        {"", ""},         {"f", "Zg=="},         {"fo", "Zm8="},        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    static const char *const bad[] = {"Z",     "Zg",    "Zg=",   "Zh==",  "Zm9",   "Zm9=", "Zm9v=",
                                      "====",  "=",     "Zg==Zg==", "Zm 9v", "Zm9-", "Zm9_", "Zm\n9"};
    uint8_t bytes[64];
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        struct buffer text;
        struct bytes encoded = bytes_of_text(vectors[i][1]);
        buffer_init(&text, 64);
        base64_encode(BASE64_STANDARD, bytes_of_text(vectors[i][0]), &text);
        assert_true(bytes_equal(buffer_bytes(&text), encoded));
        size_t size = base64_decoded_size(BASE64_STANDARD, encoded);
        assert_int_equal(size, strlen(vectors[i][0]));
        assert_true(base64_decode(BASE64_STANDARD, encoded, bytes));
        assert_memory_equal(bytes, vectors[i][0], size);
        buffer_free(&text);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_false(base64_decode(BASE64_STANDARD, bytes_of_text(bad[i]), bytes));
    assert_true(base64_decode(BASE64_URL, BYTES_LITERAL("-_8"), bytes));
    assert_memory_equal(bytes, "\xfb\xff", 2);
    assert_false(base64_decode(BASE64_URL, BYTES_LITERAL("-_8="), bytes));
    assert_false(base64_decode(BASE64_URL, BYTES_LITERAL("+/8"), bytes));
}

/* ---- Routes ---- */

static enum api_match match(enum api_method method, const char *path,
                            const struct api_route **ret_route)
{
    static char parameters[API_PARAMETERS_MAX][API_PARAMETER_SIZE];
    static char allow[API_ALLOW_SIZE];
    return router_find(method, bytes_of_text(path), ret_route, parameters, allow);
}

static void test_every_route_is_found_by_its_own_path(void **state)
{
    for (size_t i = 0; i < api_route_count; i++) {
        const struct api_route *route = NULL;
        assert_int_equal(match(api_routes[i].method, api_routes[i].path, &route), API_MATCH_FOUND);
        assert_ptr_equal(route, &api_routes[i]);
        assert_non_null(api_routes[i].handler);
        assert_true(strlen(api_routes[i].action) > 0 && strlen(api_routes[i].failure) > 0);
    }
}

static void test_segments_are_decoded_one_by_one(void **state)
{
    char parameters[API_PARAMETERS_MAX][API_PARAMETER_SIZE];
    char allow[API_ALLOW_SIZE];
    const struct api_route *route;
    assert_int_equal(router_find(API_DELETE,
                                 BYTES_LITERAL(SERVICE_IDS "/a%2Fb%20c+d/api_keys/%c3%a4/"), &route,
                                 parameters, allow),
                     API_MATCH_FOUND);
    assert_string_equal(parameters[0], "a/b c+d");
    assert_string_equal(parameters[1], "\xc3\xa4");
}

static void test_paths_that_are_none(void **state)
{
    static const char *const paths[] = {"",
                                        "*",
                                        "/",
                                        "//",
                                        "identity/token",
                                        "/identity//token",
                                        "/identity/token/x",
                                        "/identity",
                                        "/IDENTITY/token",
                                        SERVICE_IDS "/%",
                                        SERVICE_IDS "/%4",
                                        SERVICE_IDS "/%zz",
                                        SERVICE_IDS "/%00",
                                        "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o",
                                        "/identity/../identity/token"};
    const struct api_route *route;
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++)
        assert_int_equal(match(API_POST, paths[i], &route), API_MATCH_NO_PATH);
    char longest[API_PARAMETER_SIZE + sizeof(SERVICE_IDS) + 1] = SERVICE_IDS "/";
    memset(longest + sizeof(SERVICE_IDS), 'a', API_PARAMETER_SIZE);
    assert_int_equal(match(API_GET, longest, &route), API_MATCH_NO_PATH);
    longest[sizeof(longest) - 2] = '\0';
    assert_int_equal(match(API_GET, longest, &route), API_MATCH_FOUND);
}

static void test_methods_that_a_path_has_not(void **state)
{
    struct api_bench *bench = *state;
    assert_int_equal(api_bench_ask(bench, API_PATCH, "/identity/token", NULL), 405);
    assert_string_equal(bench->response.allow, "POST");
    assert_string_equal(api_bench_code(bench), "METHOD_NOT_ALLOWED_ERR");
    assert_int_equal(api_bench_ask(bench, API_OTHER, SERVICE_IDS "/x", NULL), 405);
    assert_string_equal(bench->response.allow, "HEAD, GET, DELETE");
    assert_int_equal(api_bench_ask(bench, API_HEAD, "/identity/keys", NULL), 200);
    assert_int_equal(api_bench_ask(bench, API_GET, "/no/such", NULL), 404);
    assert_string_equal(api_bench_code(bench), "NOT_FOUND_ERR");
}

/* ---- Errors ---- */

static void test_the_envelope_of_an_error(void **state)
{
    struct api_bench *bench = *state;
    api_bench_act_as(bench, "boss", API_ROLE_ADMINISTRATOR);
    assert_int_equal(api_bench_ask(bench, API_GET, SERVICE_IDS "/nobody", NULL), 404);
    const json_t *metadata = json_object_get(bench->json, "metadata");
    assert_string_equal(text_of(metadata, "collectionType"), "application/vnd.ibm.kms.error+json");
    assert_int_equal(number_of(metadata, "collectionTotal"), 1);
    const json_t *resource = api_bench_resource(bench);
    assert_string_equal(text_of(resource, "errorMsg"),
                        "Not Found: Service ID could not be read: Please see `reasons` for more "
                        "details (SERVICE_ID_NOT_FOUND_ERR)");
    const json_t *reason = json_array_get(json_object_get(resource, "reasons"), 0);
    assert_string_equal(text_of(reason, "code"), "SERVICE_ID_NOT_FOUND_ERR");
    assert_string_equal(text_of(reason, "message"), "there is no service ID \"nobody\"");
    assert_int_equal(number_of(reason, "status"), 404);
    assert_string_equal(text_of(reason, "moreInfo"), "https://cloud.ibm.com/apidocs/key-protect");
    assert_null(json_object_get(reason, "target"));
    assert_string_equal(bench->response.content_type, "application/json");
}

static void test_an_error_names_its_target(void **state)
{
    struct api_bench *bench = *state;
    api_bench_act_locally(bench);
    assert_int_equal(api_bench_ask(bench, API_POST, SERVICE_IDS, "{\"name\":\"x\",\"grants\":3}"),
                     400);
    const json_t *reason =
        json_array_get(json_object_get(api_bench_resource(bench), "reasons"), 0);
    const json_t *target = json_object_get(reason, "target");
    assert_string_equal(text_of(reason, "code"), "INVALID_FIELD_ERR");
    assert_string_equal(text_of(target, "type"), "field");
    assert_string_equal(text_of(target, "name"), "grants");
}

static void test_401_says_nothing_else(void **state)
{
    struct api_bench *bench = *state;
    assert_int_equal(api_bench_ask(bench, API_GET, SERVICE_IDS, NULL), 401);
    const json_t *resource = api_bench_resource(bench);
    assert_string_equal(text_of(resource, "errorMsg"),
                        "Unauthorized: The user does not have access to the specified resource");
    assert_int_equal(json_object_size(resource), 1);
}

static void test_bodies(void **state)
{
    static const char *const nothing[] = {NULL, "", " \r\n", "null", "{}", " { } "};
    static const char *const broken[] = {"{", "{\"a\":1,\"a\":2}", "[1,", "\xff", "{} {}", "nul"};
    static const char *const others[] = {"[]", "1", "\"x\"", "true"};
    struct api_bench *bench = *state;
    api_bench_act_locally(bench);
    for (size_t i = 0; i < ARRAY_COUNT(nothing); i++) {
        assert_int_equal(api_bench_ask(bench, API_POST, SERVICE_IDS, nothing[i]), 400);
        assert_string_equal(api_bench_code(bench), "NO_BODY_ERR");
    }
    for (size_t i = 0; i < ARRAY_COUNT(broken); i++) {
        assert_int_equal(api_bench_ask(bench, API_POST, SERVICE_IDS, broken[i]), 400);
        assert_string_equal(api_bench_code(bench), "BAD_BODY_ERR");
    }
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        assert_int_equal(api_bench_ask(bench, API_POST, SERVICE_IDS, others[i]), 400);
        assert_string_equal(api_bench_code(bench), "BAD_BODY_ERR");
    }
    /* Members are known in upper and lower case. */
    assert_int_equal(api_bench_ask(bench, API_POST, SERVICE_IDS, "{\"NAME\":\"x\"}"), 201);
}

static void test_a_broken_body_is_not_shown(void **state)
{
    struct api_bench *bench = *state;
    api_bench_act_locally(bench);
    assert_int_equal(
        api_bench_ask(bench, API_POST, SERVICE_IDS, "{\"payload\":\"SECRETSECRET\" oops}"), 400);
    assert_null(memmem(bench->response.body.data, bench->response.body.size, "SECRET", 6));
    json_t *records = api_bench_records(bench, 1);
    char *text = json_dumps(records, 0);
    assert_null(strstr(text, "SECRET"));
    free(text);
    json_decref(records);
}

static void test_a_request_is_called_as_its_client_calls_it(void **state)
{
    struct api_bench *bench = *state;
    struct uuid uuid;
    bench->request.correlation = BYTES_LITERAL("my-request.7");
    (void)api_bench_ask(bench, API_GET, "/identity/keys", NULL);
    assert_string_equal(bench->response.correlation, "my-request.7");
    bench->request.correlation = BYTES_LITERAL("bad\r\nSet-Cookie: x");
    (void)api_bench_ask(bench, API_GET, "/identity/keys", NULL);
    assert_true(uuid_parse(bytes_of_text(bench->response.correlation), &uuid));
    assert_int_equal(uuid.bytes[6] >> 4, 4);
    bench->request.correlation = bytes_of(NULL, 0);
    (void)api_bench_ask(bench, API_GET, "/identity/keys", NULL);
    assert_true(uuid_parse(bytes_of_text(bench->response.correlation), &uuid));
}

/* ---- Query ---- */

static struct api_call call_of(struct api_bench *bench, struct api_request *request,
                               const char *query)
{
    *request = bench->request;
    request->query = bytes_of_text(query);
    buffer_reset(&bench->response.body);
    bench->response.status = 0;
    return (struct api_call){.api = bench->api,
                             .context = &bench->context,
                             .request = request,
                             .response = &bench->response};
}

static void test_query_parameters(void **state)
{
    struct api_bench *bench = *state;
    struct api_request request;
    char text[16];
    int64_t number;
    bool flag;
    struct api_call call =
        call_of(bench, &request, "a=1&b=x%20y+z&c=&state=1&state=2,3&Limit&n=-5&f=False&g=true&%61b=q");
    assert_true(api_query(&call, "b", text, sizeof(text)));
    assert_string_equal(text, "x y z");
    assert_false(api_query(&call, "c", text, sizeof(text)));
    assert_false(api_query(&call, "Limit", text, sizeof(text)));
    assert_true(api_query(&call, "state", text, sizeof(text)));
    assert_string_equal(text, "1,2,3");
    assert_true(api_query(&call, "ab", text, sizeof(text)));
    assert_true(api_query_number(&call, "a", 1, 5, 7, &number) && number == 1);
    assert_true(api_query_number(&call, "zz", 1, 5, 7, &number) && number == 7);
    assert_true(api_query_number(&call, "n", -5, 5, 7, &number) && number == -5);
    assert_true(api_query_flag(&call, "f", true, &flag) && !flag);
    assert_true(api_query_flag(&call, "g", false, &flag) && flag);
    assert_true(api_query_flag(&call, "zz", true, &flag) && flag);
    assert_int_equal(call.error, API_OK);
}

static void test_query_parameters_that_are_refused(void **state)
{
    static const char *const numbers[] = {"a=0", "a=6", "a=1x", "a=x", "a=%201", "a=0x1", "a=1,2",
                                          "a=99999999999999999999", "a=1&a=2", "a=%", "a=%0"};
    struct api_bench *bench = *state;
    struct api_request request;
    int64_t number;
    bool flag;
    char text[4];
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        struct api_call call = call_of(bench, &request, numbers[i]);
        assert_false(api_query_number(&call, "a", 1, 5, 7, &number));
        assert_int_equal(call.error, API_INVALID_QUERY_PARAM_ERR);
        assert_int_equal(bench->response.status, 400);
    }
    struct api_call call = call_of(bench, &request, "a=yes");
    assert_false(api_query_flag(&call, "a", true, &flag));
    call = call_of(bench, &request, "a=1234");
    assert_false(api_query(&call, "a", text, sizeof(text)));
    assert_int_equal(call.error, API_INVALID_QUERY_PARAM_ERR);
}

/* ---- Values ---- */

static void expect_time(const char *text, int64_t milliseconds)
{
    int64_t parsed;
    assert_true(api_parse_time(text, &parsed));
    assert_int_equal(parsed, milliseconds);
}

static void test_times(void **state)
{
    static const char *const bad[] = {
        "",           "2026",       "2026-01-02",           "2026-01-02T03:04:05",
        "2026-02-30T00:00:00Z",     "2026-01-02T24:00:00Z", "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05+0000", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05Zx",
        "2026-13-02T03:04:05Z",     "2026-01-02T03:60:05Z", "x2026-01-02T03:04:05Z"};
    int64_t parsed;
    expect_time("1970-01-01T00:00:00Z", 0);
    expect_time("2026-01-02T03:04:05Z", INT64_C(1767323045000));
    expect_time("2026-01-02T03:04:05.678901234Z", INT64_C(1767323045678));
    expect_time("2026-01-02T04:34:05.5+01:30", INT64_C(1767323045500));
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_false(api_parse_time(bad[i], &parsed));
    assert_false(api_parse_time(NULL, &parsed));
    json_t *text = api_json_time(INT64_C(1767323045678));
    assert_string_equal(json_string_value(text), "2026-01-02T03:04:05Z");
    json_decref(text);
}

static void test_secrets_in_members(void **state)
{
    struct api_bench *bench = *state;
    struct api_request request;
    struct secret secret;
    bool present;
    struct api_call call = call_of(bench, &request, "");
    json_t *body = json_pack("{s:s,s:n,s:s,s:i,s:s}", "Payload", "c2VjcmV0", "none", "empty", "",
                             "number", 1, "bad", "c2VjcmV");
    assert_true(api_member_secret(&call, body, "payload", 6, &secret, &present) && present);
    assert_memory_equal(secret.data, "secret", 6);
    secret_free(&secret);
    assert_true(api_member_secret(&call, body, "none", 6, &secret, &present) && !present);
    assert_true(api_member_secret(&call, body, "empty", 6, &secret, &present) && !present);
    assert_true(api_member_secret(&call, body, "absent", 6, &secret, &present) && !present);
    static const char *const refused[] = {"number", "bad", "payload"};
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        call = call_of(bench, &request, "");
        assert_false(api_member_secret(&call, body, refused[i], 5, &secret, &present));
        assert_int_equal(call.error, API_INVALID_FIELD_ERR);
    }
    json_decref(body);
}

/* ---- Roles ---- */

static void test_roles_include_others(void **state)
{
    unsigned manager = role_with_included(API_ROLE_MANAGER);
    assert_true(manager & API_ROLE_WRITER);
    assert_true(manager & API_ROLE_READER_PLUS);
    assert_true(manager & API_ROLE_READER);
    assert_true(manager & API_ROLE_KMIP_ADAPTER_MANAGER);
    assert_false(manager & API_ROLE_KEY_PURGE);
    assert_false(manager & API_ROLE_ADMINISTRATOR);
    assert_int_equal(role_with_included(API_ROLE_READER), API_ROLE_READER);
    assert_int_equal(role_with_included(API_ROLE_ADMINISTRATOR), API_ROLE_ADMINISTRATOR);
    assert_false(role_with_included(API_ROLE_KMIP_ADAPTER_MANAGER) & API_ROLE_READER);
}

static void test_grants_are_for_what_they_name(void **state)
{
    struct api_call call = {0};
    struct api_identity *identity = &call.identity;
    identity->grant_count = 2;
    identity->grants[0] = (struct kms_grant){.role = API_ROLE_WRITER, .key_ring = "red"};
    identity->grants[1] =
        (struct kms_grant){.role = API_ROLE_KMIP_ADAPTER_MANAGER, .adapter = "a1"};
    assert_true(api_may(&call, API_ROLE_READER, "red", NULL));
    assert_false(api_may(&call, API_ROLE_READER, "blue", NULL));
    assert_false(api_may(&call, API_ROLE_READER, NULL, NULL));
    assert_false(api_may(&call, API_ROLE_MANAGER, "red", NULL));
    assert_true(api_may(&call, API_ROLE_KMIP_ADAPTER_MANAGER, NULL, "a1"));
    assert_false(api_may(&call, API_ROLE_KMIP_ADAPTER_MANAGER, NULL, "a2"));
    assert_false(api_may(&call, API_ROLE_KMIP_ADAPTER_MANAGER, NULL, NULL));
    assert_false(api_may(&call, API_ROLE_KMIP_ADAPTER_MANAGER, "red", NULL));
    assert_true(permission_somewhere(identity, API_ROLE_READER));
    assert_false(permission_somewhere(identity, API_ROLE_ADMINISTRATOR));
    identity->everything = true;
    assert_true(api_may(&call, API_ROLE_ADMINISTRATOR, NULL, NULL));
}

static void test_roles_are_asked_for(void **state)
{
    struct api_bench *bench = *state;
    api_bench_act_as(bench, "manager", API_ROLE_MANAGER);
    assert_int_equal(api_bench_ask(bench, API_GET, SERVICE_IDS, NULL), 401);
    api_bench_act_as(bench, "boss", API_ROLE_ADMINISTRATOR);
    assert_int_equal(api_bench_ask(bench, API_GET, SERVICE_IDS, NULL), 200);
    assert_int_equal(json_array_size(json_object_get(bench->json, "service_ids")), 2);
}

/* ---- Tokens ---- */

/* A part of the token that is used, decoded. */
static json_t *token_part(const struct api_bench *bench, int number)
{
    uint8_t decoded[API_BENCH_TEXT_MAX];
    const char *part = bench->bearer + strlen("Bearer ");
    for (int i = 0; i < number; i++)
        part = strchr(part, '.') + 1;
    struct bytes text = bytes_of(part, strcspn(part, "."));
    assert_true(base64_decode(BASE64_URL, text, decoded));
    json_t *json = json_loadb((char *)decoded, base64_decoded_size(BASE64_URL, text), 0, NULL);
    assert_non_null(json);
    return json;
}

static void test_a_token_has_what_clients_look_for(void **state)
{
    struct api_bench *bench = *state;
    int64_t now = bench->core.clock.test_time / 1000;
    api_bench_act_as(bench, "boss", API_ROLE_ADMINISTRATOR);
    assert_string_equal(text_of(bench->json, "refresh_token"), "not_supported");
    assert_string_equal(text_of(bench->json, "token_type"), "Bearer");
    assert_string_equal(text_of(bench->json, "scope"), "ibm openid");
    assert_int_equal(number_of(bench->json, "expires_in"), 3600);
    assert_int_equal(number_of(bench->json, "expiration"), now + 3600);
    assert_string_equal(bench->response.content_type, "application/json");
    json_t *header = token_part(bench, 0);
    json_t *claims = token_part(bench, 1);
    assert_string_equal(text_of(header, "alg"), "RS256");
    assert_int_equal(number_of(claims, "iat"), now);
    assert_int_equal(number_of(claims, "exp"), now + 3600);
    assert_string_equal(text_of(claims, "iss"), API_BENCH_ISSUER "/identity");
    assert_string_equal(text_of(claims, "name"), "boss");
    assert_string_equal(text_of(claims, "sub_type"), "ServiceId");
    assert_memory_equal(text_of(claims, "iam_id"), "iam-ServiceId-", 14);
    assert_string_equal(text_of(claims, "sub"), text_of(claims, "iam_id") + 4);
    assert_int_equal(api_bench_ask(bench, API_GET, "/identity/keys", NULL), 200);
    const json_t *key = json_array_get(json_object_get(bench->json, "keys"), 0);
    assert_string_equal(text_of(key, "kid"), text_of(header, "kid"));
    assert_string_equal(text_of(key, "kty"), "RSA");
    json_decref(header);
    json_decref(claims);
}

static BIGNUM *number_in(const json_t *key, const char *name)
{
    uint8_t bytes[1024];
    struct bytes text = bytes_of_text(text_of(key, name));
    assert_true(base64_decode(BASE64_URL, text, bytes));
    return BN_bin2bn(bytes, (int)base64_decoded_size(BASE64_URL, text), NULL);
}

/* The public key of GET /identity/keys. */
static EVP_PKEY *published_key(struct api_bench *bench)
{
    EVP_PKEY *key = NULL;
    assert_int_equal(api_bench_ask(bench, API_GET, "/identity/keys", NULL), 200);
    const json_t *json = json_array_get(json_object_get(bench->json, "keys"), 0);
    BIGNUM *modulus = number_in(json, "n");
    BIGNUM *exponent = number_in(json, "e");
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    (void)OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus);
    (void)OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent);
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
    assert_int_equal(EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters), 1);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

static void test_others_can_verify_a_token(void **state)
{
    struct api_bench *bench = *state;
    uint8_t signature[1024];
    api_bench_act_as(bench, "boss", API_ROLE_ADMINISTRATOR);
    EVP_PKEY *key = published_key(bench);
    const char *token = bench->bearer + strlen("Bearer ");
    const char *dot = strrchr(token, '.');
    struct bytes text = bytes_of_text(dot + 1);
    assert_true(base64_decode(BASE64_URL, text, signature));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL), 1);
    assert_int_equal(EVP_DigestVerify(context, signature, base64_decoded_size(BASE64_URL, text),
                                      (const uint8_t *)token, (size_t)(dot - token)),
                     1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
}

static unsigned ask_token(struct api_bench *bench, const char *form)
{
    return api_bench_ask(bench, API_POST, "/identity/token", form);
}

static void test_forms(void **state)
{
    struct api_bench *bench = *state;
    char key[API_KEY_TEXT_LENGTH + 1];
    char form[512];
    const struct kms_grant grant = {.role = API_ROLE_READER};
    api_bench_service_id(bench, "reader", &grant, 1, key);
    assert_int_equal(strlen(key), API_KEY_TEXT_LENGTH);
    (void)snprintf(form, sizeof(form),
                   "response_type=cloud_iam&uaa_client_secret=&apikey=%%6b%s&grant_type=" GRANT,
                   key + 1);
    bench->request.authorization = BYTES_LITERAL("Basic Yng6Yng=");
    assert_int_equal(ask_token(bench, form), 200);
    assert_int_equal(api_bench_ask(bench, API_POST, "/oidc/token", form), 200);

    assert_int_equal(ask_token(bench, "grant_type=" GRANT "&apikey=wrong"), 400);
    assert_string_equal(text_of(bench->json, "errorCode"), "BXNIM0415E");
    assert_string_equal(text_of(bench->json, "errorMessage"),
                        "Provided API key could not be found.");
    const json_t *context = json_object_get(bench->json, "context");
    assert_int_equal(json_object_size(context), 13);
    assert_string_equal(text_of(context, "requestId"), bench->response.correlation);
    assert_string_equal(text_of(context, "clientIp"), "192.0.2.1:5000");

    assert_int_equal(ask_token(bench, ""), 400);
    assert_int_equal(ask_token(bench, "grant_type=" GRANT), 400);
    assert_int_equal(ask_token(bench, "apikey=x&grant_type=password"), 400);
    assert_int_equal(ask_token(bench, "grant_type=" GRANT "&apikey=%zz"), 400);
    assert_int_equal(ask_token(bench, "grant_type=refresh_token&refresh_token=not_supported"), 400);
    assert_string_equal(text_of(bench->json, "errorCode"), "BXNIM0407E");
}

/* Whether the token that is used is accepted. */
static bool is_known(struct api_bench *bench)
{
    unsigned status = api_bench_ask(bench, API_GET, SERVICE_IDS, NULL);
    assert_true(status == 200 || status == 401);
    return status == 200;
}

static void test_a_token_ends(void **state)
{
    struct api_bench *bench = *state;
    api_bench_act_as(bench, "boss", API_ROLE_ADMINISTRATOR);
    assert_true(is_known(bench));
    bench->core.clock.test_time += 3600 * 1000;
    assert_true(is_known(bench)); /* within the leeway */
    bench->core.clock.test_time += 6 * 1000;
    assert_false(is_known(bench));
}

static void test_a_token_of_the_future(void **state)
{
    struct api_bench *bench = *state;
    char bearer[API_BENCH_TEXT_MAX];
    struct api_bench *other = calloc(1, sizeof(*other));
    api_bench_open(other); /* the same key, another clock */
    other->core.clock.test_time += 60 * 1000;
    api_bench_act_as(other, "boss", API_ROLE_ADMINISTRATOR);
    (void)snprintf(bearer, sizeof(bearer), "%s", other->bearer);
    bench->request.authorization = bytes_of_text(bearer);
    assert_false(is_known(bench));
    api_bench_close(other);
    free(other);
}

static void test_tokens_that_are_not_ours(void **state)
{
    static const char *const others[] = {
        "", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Bearer ..", "Basic Yng6Yng=",
        "Bearer eyJhbGciOiJub25lIn0.e30."};
    struct api_bench *bench = *state;
    char changed[API_BENCH_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        bench->request.authorization = bytes_of_text(others[i]);
        assert_false(is_known(bench));
    }
    api_bench_act_as(bench, "boss", API_ROLE_ADMINISTRATOR);
    (void)snprintf(changed, sizeof(changed), "%s", bench->bearer);
    bench->request.authorization = bytes_of_text(changed);
    size_t dots[2] = {strcspn(changed, "."), (size_t)(strrchr(changed, '.') - changed)};
    const size_t places[] = {8, dots[0] + 5, dots[1] + 5, strlen(changed) - 1};
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        char good = changed[places[i]];
        changed[places[i]] = good == 'A' ? 'Q' : 'A';
        assert_false(is_known(bench));
        changed[places[i]] = good;
    }
    assert_true(is_known(bench));
    changed[dots[1]] = '\0';
    bench->request.authorization = bytes_of_text(changed);
    assert_false(is_known(bench));
}

static void test_the_instance_must_be_ours(void **state)
{
    struct api_bench *bench = *state;
    api_bench_act_as(bench, "boss", API_ROLE_ADMINISTRATOR);
    bench->request.instance = BYTES_LITERAL("12345678-1234-4123-8123-123456789ABC");
    assert_true(is_known(bench));
    bench->request.instance = BYTES_LITERAL("12345678-1234-4123-8123-123456789abd");
    assert_false(is_known(bench));
    bench->request.instance = bytes_of(NULL, 0);
    assert_true(is_known(bench)); /* a route of kmipd's own */
    assert_int_equal(api_bench_ask(bench, API_GET, "/api/v2/keys", NULL), 401);
}

static void test_what_is_taken_away_is_gone_at_the_next_request(void **state)
{
    struct api_bench *bench = *state;
    struct kms_service_id service_id;
    const struct kms_grant reader = {.role = API_ROLE_READER};
    const struct kms_grant boss = {.role = API_ROLE_ADMINISTRATOR};
    api_bench_act_as(bench, "boss", API_ROLE_ADMINISTRATOR);
    assert_true(is_known(bench));
    assert_int_equal(service_id_set_grants(bench->api, "boss", &reader, 1, &service_id, NULL),
                     STATUS_OK);
    assert_false(is_known(bench));
    assert_int_equal(service_id_set_grants(bench->api, "boss", &boss, 1, &service_id, NULL),
                     STATUS_OK);
    assert_true(is_known(bench));
    assert_int_equal(api_key_delete(bench->api, "boss", "key", NULL), STATUS_OK);
    assert_false(is_known(bench));
    api_bench_act_as(bench, "second", API_ROLE_ADMINISTRATOR);
    assert_true(is_known(bench));
    assert_int_equal(service_id_delete(bench->api, "second", NULL), STATUS_OK);
    assert_false(is_known(bench));
}

static void test_more_tokens_than_are_remembered(void **state)
{
    struct api_bench *bench = *state;
    char key[API_KEY_TEXT_LENGTH + 1];
    const struct kms_grant boss = {.role = API_ROLE_ADMINISTRATOR};
    api_bench_service_id(bench, "boss", &boss, 1, key);
    char(*bearers)[API_BENCH_TEXT_MAX] = calloc(40, sizeof(*bearers));
    for (size_t i = 0; i < 40; i++) {
        assert_true(api_bench_log_in(bench, key));
        (void)snprintf(bearers[i], sizeof(bearers[i]), "%s", bench->bearer);
    }
    for (size_t i = 0; i < 80; i++) {
        bench->request.authorization = bytes_of_text(bearers[i % 40]);
        assert_true(is_known(bench));
    }
    free(bearers);
}

static void test_guessing_is_slowed_down(void **state)
{
    struct api_bench *bench = *state;
    char key[API_KEY_TEXT_LENGTH + 1];
    char form[512];
    const struct kms_grant grant = {.role = API_ROLE_READER};
    unsigned status = 400;
    int tries = 0;
    api_bench_service_id(bench, "reader", &grant, 1, key);
    (void)snprintf(form, sizeof(form), "grant_type=" GRANT "&apikey=%s", key);
    for (; tries < 100 && status == 400; tries++)
        status = ask_token(bench, "grant_type=" GRANT "&apikey=wrong");
    assert_int_equal(status, 429);
    assert_true(tries > 20 && tries < 40);
    assert_true(bench->response.retry_after > 0);
    /* From elsewhere it goes on; from another port of the same address, and for a right key, not. */
    bench->request.peer = BYTES_LITERAL("192.0.2.1:5001");
    assert_int_equal(ask_token(bench, form), 429);
    bench->request.peer = BYTES_LITERAL("192.0.2.2:5000");
    assert_int_equal(ask_token(bench, form), 200);
    bench->request.peer = BYTES_LITERAL("[2001:db8::1]:5000");
    for (status = 400, tries = 0; tries < 100 && status == 400; tries++)
        status = ask_token(bench, "grant_type=" GRANT "&apikey=wrong");
    bench->request.peer = BYTES_LITERAL("[2001:db8::2]:5000"); /* the same network */
    assert_int_equal(ask_token(bench, form), 429);
    bench->request.peer = BYTES_LITERAL("[2001:db8:0:1::1]:5000");
    assert_int_equal(ask_token(bench, form), 200);
}

/* ---- Service IDs ---- */

static void test_the_life_of_a_service_id(void **state)
{
    struct api_bench *bench = *state;
    char key[API_KEY_TEXT_LENGTH + 1];
    api_bench_act_locally(bench);
    assert_int_equal(
        api_bench_ask(bench, API_POST, SERVICE_IDS,
                      "{\"name\":\"ops\",\"description\":\"d\",\"grants\":[{\"role\":\"reader\","
                      "\"key_ring\":\"red\"},{\"role\":\"Administrator\"}]}"),
        201);
    assert_string_equal(text_of(bench->json, "name"), "ops");
    const json_t *grants = json_object_get(bench->json, "grants");
    assert_string_equal(text_of(json_array_get(grants, 0), "role"), "Reader");
    assert_string_equal(text_of(json_array_get(grants, 0), "key_ring"), "red");
    assert_int_equal(api_bench_ask(bench, API_POST, SERVICE_IDS, "{\"name\":\"ops\"}"), 409);
    assert_string_equal(api_bench_code(bench), "SERVICE_ID_DUPLICATE_ERR");
    assert_int_equal(
        api_bench_ask(bench, API_POST, SERVICE_IDS "/ops/api_keys", "{\"name\":\"k\"}"), 201);
    (void)snprintf(key, sizeof(key), "%s", text_of(bench->json, "apikey"));
    assert_int_equal(
        api_bench_ask(bench, API_POST, SERVICE_IDS "/ops/api_keys", "{\"name\":\"k\"}"), 409);
    assert_true(api_bench_log_in(bench, key));
    assert_int_equal(api_bench_ask(bench, API_GET, SERVICE_IDS "/ops/api_keys", NULL), 200);
    const json_t *listed = json_array_get(json_object_get(bench->json, "api_keys"), 0);
    assert_string_equal(text_of(listed, "name"), "k");
    assert_null(json_object_get(listed, "apikey"));
    assert_non_null(json_object_get(listed, "last_used_at"));
    assert_int_equal(api_bench_ask(bench, API_DELETE, SERVICE_IDS "/ops/api_keys/no", NULL), 404);
    assert_string_equal(api_bench_code(bench), "API_KEY_NOT_FOUND_ERR");
    assert_int_equal(api_bench_ask(bench, API_DELETE, SERVICE_IDS "/ops/api_keys/k", NULL), 204);
    assert_int_equal(bench->response.body.size, 0);
    assert_int_equal(api_bench_ask(bench, API_GET, SERVICE_IDS, NULL), 401);
    api_bench_act_locally(bench);
    assert_int_equal(api_bench_ask(bench, API_PUT, SERVICE_IDS "/ops/grants", "{\"grants\":[]}"),
                     200);
    assert_int_equal(json_array_size(json_object_get(bench->json, "grants")), 0);
    assert_int_equal(api_bench_ask(bench, API_DELETE, SERVICE_IDS "/ops", NULL), 204);
    assert_int_equal(api_bench_ask(bench, API_GET, SERVICE_IDS "/ops", NULL), 404);
}

static void test_service_ids_that_are_refused(void **state)
{
    static const char *const bodies[] = {
        "{\"description\":\"no name\"}",
        "{\"name\":\"\"}",
        "{\"name\":3}",
        "{\"name\":\"a\\nb\"}",
        "{\"name\":\"12345678-1234-4123-8123-123456789abc\"}",
        "{\"name\":\"a\",\"grants\":{}}",
        "{\"name\":\"a\",\"grants\":[3]}",
        "{\"name\":\"a\",\"grants\":[{}]}",
        "{\"name\":\"a\",\"grants\":[{\"role\":\"King\"}]}",
        "{\"name\":\"a\",\"grants\":[{\"role\":\"Reader\",\"key_ring\":3}]}",
        "{\"name\":\"a\",\"grants\":[{\"role\":\"Reader\",\"key_ring\":\"r\",\"adapter\":\"a\"}]}"};
    struct api_bench *bench = *state;
    api_bench_act_locally(bench);
    for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
        assert_int_equal(api_bench_ask(bench, API_POST, SERVICE_IDS, bodies[i]), 400);
        assert_string_equal(api_bench_code(bench), "INVALID_FIELD_ERR");
    }
}

static void test_the_first_key(void **state)
{
    struct api_bench *bench = *state;
    struct secret key;
    char text[API_KEY_TEXT_LENGTH + 1] = "";
    struct error error = {0};
    assert_int_equal(api_first_key(bench->api, &key, &error), STATUS_OK);
    assert_int_equal(key.size, API_KEY_TEXT_LENGTH);
    memcpy(text, key.data, key.size);
    secret_free(&key);
    assert_true(api_bench_log_in(bench, text));
    assert_true(is_known(bench));
    assert_int_equal(api_first_key(bench->api, &key, &error), STATUS_EXISTS);
}

/* ---- Records ---- */

static void test_every_call_has_a_record(void **state)
{
    struct api_bench *bench = *state;
    api_bench_act_as(bench, "boss", API_ROLE_ADMINISTRATOR);
    bench->request.correlation = BYTES_LITERAL("c-1");
    (void)api_bench_ask(bench, API_GET, SERVICE_IDS "/boss", NULL);
    (void)api_bench_ask(bench, API_GET, SERVICE_IDS "/nobody", NULL);
    bench->request.authorization = bytes_of(NULL, 0);
    (void)api_bench_ask(bench, API_GET, SERVICE_IDS "/boss", NULL);
    api_bench_act_locally(bench);
    (void)api_bench_ask(bench, API_DELETE, SERVICE_IDS "/boss", NULL);
    json_t *records = api_bench_records(bench, 5);
    const json_t *token = json_array_get(records, 0);
    const json_t *success = json_array_get(records, 1);
    const json_t *failure = json_array_get(records, 2);
    const json_t *stranger = json_array_get(records, 3);
    const json_t *local = json_array_get(records, 4);
    assert_string_equal(text_of(token, "operation"), "iam-identity.serviceid-apikey.login");
    assert_string_equal(text_of(token, "object"), "key");
    assert_string_equal(text_of(success, "event"), "api");
    assert_string_equal(text_of(success, "operation"), "kmipd.service-ids.read");
    assert_string_equal(text_of(success, "object"), "boss");
    assert_string_equal(text_of(success, "result"), "Success");
    assert_string_equal(text_of(success, "peer"), "192.0.2.1:5000");
    assert_string_equal(text_of(success, "detail"), "correlation=c-1");
    assert_memory_equal(text_of(success, "certificate"), "boss (iam-ServiceId-", 20);
    assert_string_equal(text_of(failure, "result"), "Operation Failed");
    assert_string_equal(text_of(failure, "reason"), "SERVICE_ID_NOT_FOUND_ERR");
    assert_string_equal(text_of(stranger, "reason"), "UNAUTHORIZED_ERR");
    assert_string_equal(text_of(stranger, "certificate"), "(none)");
    assert_string_equal(text_of(local, "event"), "admin");
    assert_string_equal(text_of(local, "certificate"), "uid=0 user=root");
    json_decref(records);
}

static void test_a_flood_of_strangers_does_not_fill_the_log(void **state)
{
    struct api_bench *bench = *state;
    unsigned status = 404;
    size_t answered = 0;
    while (answered < 10000 && (status = api_bench_ask(bench, API_GET, "/x", NULL)) == 404)
        answered++;
    assert_int_equal(status, 429);
    assert_true(bench->response.close);
    json_t *records = api_bench_records(bench, 10000);
    assert_int_equal(json_array_size(records), answered);
    json_decref(records);
    /* Those who are known are served. */
    api_bench_act_locally(bench);
    assert_int_equal(api_bench_ask(bench, API_GET, SERVICE_IDS, NULL), 200);
}

/* ---- Jobs ---- */

struct counted_job {
    struct api_job job;
    sem_t *done;
};

static void count_job(struct api_job *job)
{
    struct counted_job *counted = CONTAINER_OF(job, struct counted_job, job);
    (void)sem_post(counted->done);
}

#define JOBS 2000

static void test_jobs_are_answered_all(void **state)
{
    struct api_bench *bench = *state;
    sem_t done;
    unsigned served = 0;
    (void)sem_init(&done, 0, 0);
    api_bench_act_as(bench, "boss", API_ROLE_ADMINISTRATOR);
    struct counted_job *jobs = calloc(JOBS, sizeof(*jobs));
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i].job.request = bench->request;
        jobs[i].job.request.method = API_GET;
        jobs[i].job.request.path = BYTES_LITERAL(SERVICE_IDS);
        buffer_init(&jobs[i].job.response.body, API_RESPONSE_MAX);
        jobs[i].job.done = count_job;
        jobs[i].done = &done;
        api_submit(bench->api, &jobs[i].job);
    }
    for (size_t i = 0; i < JOBS; i++)
        assert_int_equal(sem_wait(&done), 0);
    for (size_t i = 0; i < JOBS; i++) {
        const struct api_response *response = &jobs[i].job.response;
        assert_true(response->status == 200 || response->status == 503);
        assert_true(response->status == 200 || response->retry_after > 0);
        served += response->status == 200;
        buffer_free(&jobs[i].job.response.body);
    }
    assert_true(served >= 1024); /* what may wait */
    free(jobs);
    (void)sem_destroy(&done);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_has_one_text_for_each_bytes),
        cmocka_unit_test(test_every_route_is_found_by_its_own_path),
        cmocka_unit_test(test_segments_are_decoded_one_by_one),
        cmocka_unit_test(test_paths_that_are_none),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_roles_include_others),
        cmocka_unit_test(test_grants_are_for_what_they_name),
        TEST(test_methods_that_a_path_has_not),
        TEST(test_the_envelope_of_an_error),
        TEST(test_an_error_names_its_target),
        TEST(test_401_says_nothing_else),
        TEST(test_bodies),
        TEST(test_a_broken_body_is_not_shown),
        TEST(test_a_request_is_called_as_its_client_calls_it),
        TEST(test_query_parameters),
        TEST(test_query_parameters_that_are_refused),
        TEST(test_secrets_in_members),
        TEST(test_roles_are_asked_for),
        TEST(test_a_token_has_what_clients_look_for),
        TEST(test_others_can_verify_a_token),
        TEST(test_forms),
        TEST(test_a_token_ends),
        TEST(test_a_token_of_the_future),
        TEST(test_tokens_that_are_not_ours),
        TEST(test_the_instance_must_be_ours),
        TEST(test_what_is_taken_away_is_gone_at_the_next_request),
        TEST(test_more_tokens_than_are_remembered),
        TEST(test_guessing_is_slowed_down),
        TEST(test_the_life_of_a_service_id),
        TEST(test_service_ids_that_are_refused),
        TEST(test_the_first_key),
        TEST(test_every_call_has_a_record),
        TEST(test_a_flood_of_strangers_does_not_fill_the_log),
        TEST(test_jobs_are_answered_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
