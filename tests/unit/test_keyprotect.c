/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of Key Protect's client that need no network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "keymanager/keyprotect_answer.h"
#include "keymanager/keyprotect_client.h"

static int group_set_up(void **state)
{
    (void)state;
    struct error error;
    return secret_heap_init(1 << 20, &error) == STATUS_OK ? 0 : -1;
}

static struct bytes text(const char *literal)
{
    return bytes_of_text(literal);
}

/* ---- JSON ---- */

static void test_json_accepts(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{}",
        " [ ] ",
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-12.5e+3",
        "1E9",
        "\"\"",
        "\"a\\u00e9\\n\\/\"",
        "{\"a\":[1,{\"b\":null}],\"c\":\"\xc3\xa9\"}",
        "[[],[],{}]",
    };
    struct kp_json value;
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        if (!kp_json_read(text(good[i]), &value))
            fail_msg("%s", good[i]);
}

static void test_json_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "{}{}",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "-",
        "tru",
        "nulll",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u12\"",
        "\"\n\"",
        "\"\xff\"",
        "\"\xc3\"",
        "'a'",
        "[1 2]",
        "{\"a\":1 \"b\":2}",
        "\"\\",
    };
    struct kp_json value;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        if (kp_json_read(text(bad[i]), &value))
            fail_msg("%s", bad[i]);
}

static void test_json_depth(void **state)
{
    (void)state;
    char deep[2 * (KP_JSON_DEPTH_MAX + 1)];
    struct kp_json value;
    memset(deep, '[', sizeof(deep) / 2);
    memset(deep + sizeof(deep) / 2, ']', sizeof(deep) / 2);
    assert_false(kp_json_read(bytes_of(deep, sizeof(deep)), &value));
    assert_true(kp_json_read(bytes_of(deep + 1, sizeof(deep) - 2), &value));
}

static void test_json_members(void **state)
{
    (void)state;
    struct kp_json root, value;
    int64_t number = 0;
    assert_true(kp_json_read(
        text("{ \"a\" : 1 , \"b\":[2,{\"a\":9}], \"d\":3,\"d\":4, \"\\u0065\":5}"), &root));
    assert_true(kp_json_member(root, "a", &value) && kp_json_integer(value, &number));
    assert_int_equal(number, 1);
    assert_false(kp_json_member(root, "d", &value)); /* twice */
    assert_false(kp_json_member(root, "e", &value)); /* written with an escape */
    assert_false(kp_json_member(root, "A", &value));
    assert_false(kp_json_member_of(root, "a", KP_JSON_STRING, &value));
    assert_true(kp_json_member_of(root, "b", KP_JSON_ARRAY, &value));
    assert_false(kp_json_member(value, "a", &value));
    assert_true(kp_json_read(text("{}"), &root));
    assert_false(kp_json_member(root, "a", &value));
}

static void test_json_elements(void **state)
{
    (void)state;
    struct kp_json root, value;
    size_t position = 0;
    int64_t sum = 0, number;
    assert_true(kp_json_read(text("[ 1, 2 ,3\n]"), &root));
    while (kp_json_next(root, &position, &value)) {
        assert_true(kp_json_integer(value, &number));
        sum = sum * 10 + number;
    }
    assert_int_equal(sum, 123);
    assert_false(kp_json_next(root, &position, &value));
    position = 0;
    assert_true(kp_json_read(text("[ ]"), &root));
    assert_false(kp_json_next(root, &position, &value));
}

static void test_json_strings(void **state)
{
    (void)state;
    char copy[16];
    struct kp_json value;
    assert_true(kp_json_read(text("\"\\u00e9\\ud83d\\ude00\\t\\\"\\u20ac\""), &value));
    assert_true(kp_json_copy(value, copy, sizeof(copy)));
    assert_string_equal(copy, "\xc3\xa9\xf0\x9f\x98\x80\t\"\xe2\x82\xac");
    static const char *const bad[] = {"\"\\u0000\"", "\"\\ud83d\"", "\"\\ude00\"",
                                      "\"\\ud83d\\u0041\"", "\"0123456789abcdef\""};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_true(kp_json_read(text(bad[i]), &value));
        if (kp_json_copy(value, copy, sizeof(copy)))
            fail_msg("%s", bad[i]);
    }
}

static void test_json_integers(void **state)
{
    (void)state;
    struct kp_json value;
    int64_t number;
    assert_true(kp_json_read(text("9223372036854775807"), &value));
    assert_true(kp_json_integer(value, &number) && number == INT64_MAX);
    assert_true(kp_json_read(text("-9223372036854775808"), &value));
    assert_true(kp_json_integer(value, &number) && number == INT64_MIN);
    static const char *const bad[] = {"9223372036854775808", "-9223372036854775809", "1.0", "1e3",
                                      "99999999999999999999"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_true(kp_json_read(text(bad[i]), &value));
        assert_false(kp_json_integer(value, &number));
    }
}

static void test_json_write(void **state)
{
    (void)state;
    char room[64];
    struct buffer buffer;
    struct kp_json value;
    buffer_over(&buffer, room, sizeof(room));
    kp_json_write(&buffer, text("a\"\\\n\x01\xc3\xa9"));
    assert_true(bytes_equal_text(buffer_bytes(&buffer), "\"a\\\"\\\\\\u000a\\u0001\xc3\xa9\""));
    assert_true(kp_json_read(buffer_bytes(&buffer), &value));
}

/* ---- Answers ---- */

static void test_tokens(void **state)
{
    (void)state;
    struct kp_token token;
    assert_true(kp_answer_token(
        text("{\"access_token\":\"a.b\\u002dc\",\"expires_in\":3600,\"expiration\":1}"), &token));
    assert_true(bytes_equal_text(secret_bytes(&token.text), "a.b-c"));
    assert_int_equal(token.lifetime, 3600000);
    secret_free(&token.text);
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"access_token\":\"a\"}",
        "{\"access_token\":\"\",\"expires_in\":1}",
        "{\"access_token\":\"a b\",\"expires_in\":1}",
        "{\"access_token\":\"a\",\"expires_in\":0}",
        "{\"access_token\":\"a\\r\\nX: y\",\"expires_in\":1}",
        "{\"access_token\":\"a\",\"expires_in\":\"1\"}",
        "{\"access_token\":7,\"expires_in\":1}",
        "{\"access_token\":\"a\",\"expires_in\":1",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        if (kp_answer_token(text(bad[i]), &token))
            fail_msg("%s", bad[i]);
}

static void test_actions(void **state)
{
    (void)state;
    struct kp_action action;
    assert_true(kp_answer_action(
        text("{\"plaintext\":\"AAEC\",\"ciphertext\":\"ab+\\/\\u003d\",\"keyVersion\":{\"id\":"
             "\"00000000-0000-4000-8000-000000000001\"},\"rewrappedKeyVersion\":{\"id\":7}}"),
        &action));
    assert_int_equal(action.plaintext.size, 3);
    assert_memory_equal(action.plaintext.data, "\0\1\2", 3);
    assert_string_equal(action.ciphertext, "ab+/=");
    assert_true(action.has_version && !action.has_rewrapped);
    assert_int_equal(action.version.bytes[15], 1);
    secret_free(&action.plaintext);
    static const char *const bad[] = {
        "",
        "[]",
        "{\"plaintext\":\"A\"}",
        "{\"plaintext\":7}",
        "{\"ciphertext\":\"\"}",
        "{\"ciphertext\":\"a b\"}",
        "{\"ciphertext\":\"a\\\"b\"}",
        "{\"ciphertext\":null}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        if (kp_answer_action(text(bad[i]), &action))
            fail_msg("%s", bad[i]);
        secret_free(&action.plaintext);
    }
}

static void test_too_long_ciphertext(void **state)
{
    (void)state;
    char body[KP_CIPHERTEXT_MAX + 64];
    struct kp_action action;
    for (int size = KP_CIPHERTEXT_MAX; size <= KP_CIPHERTEXT_MAX + 1; size++) {
        int length = snprintf(body, sizeof(body), "{\"ciphertext\":\"%0*d\"}", size, 0);
        bool good = kp_answer_action(bytes_of(body, (size_t)length), &action);
        assert_int_equal(good, size == KP_CIPHERTEXT_MAX);
    }
}

#define ID "00000000-0000-4000-8000-0000000000ab"

static void test_keys(void **state)
{
    (void)state;
    struct kp_key key;
    assert_true(kp_answer_key(
        text("{\"metadata\":{},\"resources\":[{\"id\":\"" ID "\",\"name\":\"n\",\"state\":5,"
             "\"extractable\":true,\"imported\":true,\"creationDate\":\"2026-01-02T03:04:05Z\","
             "\"deletionDate\":\"2026-01-02T03:04:05.678Z\",\"description\":\"said\","
             "\"restoreAllowed\":false}]}"),
        &key));
    assert_string_equal(key.name, "n");
    assert_int_equal(key.state, 5);
    assert_true(key.extractable && key.imported && key.purged && !key.has_version);
    assert_int_equal(key.created, INT64_C(1767323045000));
    assert_int_equal(key.deleted, key.created);
    assert_true(kp_key_is_described(&key, "said") && !kp_key_is_described(&key, "sai"));
    static const char *const bad[] = {
        "{}",
        "{\"resources\":[]}",
        "{\"resources\":[{}]}",
        "{\"resources\":[{\"id\":\"x\"}]}",
        "{\"resources\":[{\"id\":\"" ID "\",\"state\":\"1\"}]}",
        "{\"resources\":[{\"id\":\"" ID "\"},{\"id\":\"" ID "\"}]}",
        "{\"resources\":{}}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        if (kp_answer_key(text(bad[i]), &key))
            fail_msg("%s", bad[i]);
}

static bool count_key(void *context, const struct kp_key *key)
{
    (void)key;
    return ++*(int *)context < 2;
}

static void test_lists(void **state)
{
    (void)state;
    size_t count;
    int visited = 0;
    assert_true(kp_answer_keys(text("{\"resources\":[{\"id\":\"" ID "\"},{\"id\":\"" ID "\"},"
                                    "{\"id\":\"" ID "\"}]}"),
                               count_key, &visited, &count));
    assert_int_equal(count, 3);
    assert_int_equal(visited, 2);
    assert_true(kp_answer_keys(text("{\"metadata\":{\"collectionTotal\":0}}"), NULL, NULL, &count));
    assert_int_equal(count, 0);
    assert_false(
        kp_answer_keys(text("{\"metadata\":{\"collectionTotal\":1}}"), NULL, NULL, &count));
    assert_false(kp_answer_keys(text("{}"), NULL, NULL, &count));
}

static void test_versions(void **state)
{
    (void)state;
    uint32_t total;
    struct uuid newest;
    assert_true(kp_answer_versions(text("{\"metadata\":{\"collectionTotal\":1,\"totalCount\":7},"
                                        "\"resources\":[{\"id\":\"" ID "\"}]}"),
                                   &total, &newest));
    assert_int_equal(total, 7);
    assert_int_equal(newest.bytes[15], 0xab);
    assert_false(kp_answer_versions(text("{\"metadata\":{\"collectionTotal\":0},\"resources\":[]}"),
                                    &total, &newest));
}

static void test_payloads(void **state)
{
    (void)state;
    struct buffer payload;
    buffer_init(&payload, 8);
    buffer_append_text(&payload, "x");
    assert_true(kp_answer_payload(text("{\"resources\":[{\"payload\":\"AAEC\"}]}"), &payload));
    assert_int_equal(payload.size, 4);
    static const char *const bad[] = {
        "{\"resources\":[{}]}",
        "{\"resources\":[{\"payload\":\"A\"}]}",
        "{\"resources\":[{\"payload\":\"AAECAAECAAEC\"}]}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_false(kp_answer_payload(text(bad[i]), &payload));
        assert_int_equal(payload.size, 4);
    }
    buffer_free(&payload);
}

static void test_refusals(void **state)
{
    (void)state;
    struct kp_refusal refusal;
    assert_true(kp_answer_refusal(
        text("{\"resources\":[{\"errorMsg\":\"Bad \\u001b[31m key "
             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= here\",\"reasons\":[{\"code\":"
             "\"INVALID_FIELD_ERR\"}]}]}"),
        &refusal));
    assert_string_equal(refusal.code, "INVALID_FIELD_ERR");
    assert_string_equal(refusal.message, "Bad ?[31m key [...] here");
    assert_true(kp_answer_refusal(
        text("{\"resources\":[{\"errorMsg\":\"\",\"reasons\":[{\"code\":\"a b\"}]}]}"), &refusal));
    assert_string_equal(refusal.code, "");
    assert_false(kp_answer_refusal(text("<html>"), &refusal));
    assert_false(kp_answer_refusal(text("{\"error\":\"x\"}"), &refusal));
    assert_true(kp_answer_iam_refusal(
        text("{\"errorCode\":\"BXNIM0415E\",\"errorMessage\":\"not found\"}"), &refusal));
    assert_string_equal(refusal.code, "BXNIM0415E");
    assert_string_equal(refusal.message, "not found");
    assert_false(kp_answer_iam_refusal(text("{}"), &refusal));
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t time;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-02T03:04:05Z", INT64_C(1767323045000)},
        {"2026-01-02T03:04:05.123456789Z", INT64_C(1767323045000)},
        {"2026-01-02t05:04:05+02:00", INT64_C(1767323045000)},
        {"2026-01-01T22:34:05-04:30", INT64_C(1767323045000)},
    };
    int64_t time;
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        assert_true(kp_time_read(text(good[i].text), &time));
        assert_int_equal(time, good[i].time);
    }
    static const char *const bad[] = {
        "",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-13-02T03:04:05Z",
        "2026-01-02T03:04:05+0000",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04:05Zx",
        "x026-01-02T03:04:05Z",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        if (kp_time_read(text(bad[i]), &time))
            fail_msg("%s", bad[i]);
}

static void test_content_types(void **state)
{
    (void)state;
    static const char *const good[] = {"application/json", "Application/JSON; charset=utf-8",
                                       "application/vnd.ibm.kms.key+json",
                                       "application/vnd.ibm.kms.key_action+json;charset=UTF-8"};
    static const char *const bad[] = {"text/html",
                                      "application/jsonp",
                                      "application/vnd.ibm.",
                                      "application/octet-stream",
                                      "",
                                      "application/vnd.ibm.kms.key"};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        assert_true(kp_is_json_type(good[i]));
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_false(kp_is_json_type(bad[i]));
    assert_false(kp_is_json_type(NULL));
}

/* ---- Retries ---- */

static void test_what_is_tried_again(void **state)
{
    (void)state;
    static const long yes[] = {429, 500, 502, 503, 504, 599}, no[] = {200, 400, 401, 404, 409, 501};
    for (size_t i = 0; i < ARRAY_COUNT(yes); i++)
        assert_true(kp_retry_is_worthwhile(yes[i]));
    for (size_t i = 0; i < ARRAY_COUNT(no); i++)
        assert_false(kp_retry_is_worthwhile(no[i]));
}

static void test_delays(void **state)
{
    (void)state;
    int64_t most = 100;
    for (unsigned attempt = 1; attempt < 40; attempt++) {
        assert_in_range(kp_retry_delay(attempt, 0, 0), most / 2, most / 2);
        assert_in_range(kp_retry_delay(attempt, 0, UINT32_MAX), most / 2, most);
        most = most * 2 < 30000 ? most * 2 : 30000;
    }
    assert_in_range(kp_retry_delay(1, 5000, 12345), 5000, 5625);
}

static void open_breaker(struct kp_breaker *breaker)
{
    for (int i = 0; i < KP_BREAKER_FAILURES - 1; i++)
        kp_breaker_failed(breaker, 100);
    assert_false(kp_breaker_is_open(breaker));
    kp_breaker_failed(breaker, 100 + KP_BREAKER_PERIOD);
    assert_true(kp_breaker_is_open(breaker));
}

static void test_breaker(void **state)
{
    (void)state;
    struct kp_breaker breaker = {0};
    int64_t now = 100 + KP_BREAKER_PERIOD;
    open_breaker(&breaker);
    assert_false(kp_breaker_admits(&breaker, now + KP_BREAKER_PAUSE - 1));
    now += KP_BREAKER_PAUSE;
    assert_true(kp_breaker_admits(&breaker, now));
    assert_false(kp_breaker_admits(&breaker, now)); /* one alone */
    kp_breaker_failed(&breaker, now);
    assert_false(kp_breaker_admits(&breaker, now + 2 * KP_BREAKER_PAUSE - 1));
    now += 2 * KP_BREAKER_PAUSE;
    assert_true(kp_breaker_admits(&breaker, now));
    kp_breaker_undecided(&breaker);
    assert_true(kp_breaker_admits(&breaker, now));
    kp_breaker_succeeded(&breaker);
    assert_true(kp_breaker_admits(&breaker, now) && kp_breaker_admits(&breaker, now));
    assert_false(kp_breaker_is_open(&breaker));
}

static void test_breaker_needs_time(void **state)
{
    (void)state;
    struct kp_breaker breaker = {0};
    for (int i = 0; i < 100; i++)
        kp_breaker_failed(&breaker, 100); /* all that were in flight */
    assert_false(kp_breaker_is_open(&breaker));
    kp_breaker_succeeded(&breaker);
    open_breaker(&breaker);
}

static void test_breaker_late_failures(void **state)
{
    (void)state;
    struct kp_breaker breaker = {0};
    open_breaker(&breaker);
    int64_t reopens = breaker.reopens;
    kp_breaker_failed(&breaker, reopens - 1); /* was in flight when it opened */
    assert_int_equal(breaker.reopens, reopens);
    assert_int_equal(breaker.pause, KP_BREAKER_PAUSE);
}

/* ---- Wrapped keys ---- */

static void test_wrapped_keys(void **state)
{
    (void)state;
    uint8_t room[ENVELOPE_WRAPPED_MAX];
    struct buffer field;
    struct kp_wrapped_key key = {.aad = true, .ciphertext = text("abc=")}, read;
    memset(&key.version, 7, sizeof(key.version));
    buffer_over(&field, room, sizeof(room));
    assert_int_equal(kp_wrapped_key_write(&key, &field), STATUS_OK);
    assert_int_equal(field.size, 1 + 16 + 4);
    assert_int_equal(kp_wrapped_key_read(buffer_bytes(&field), &read), STATUS_OK);
    assert_true(read.aad && uuid_equal(&read.version, &key.version) &&
                bytes_equal(read.ciphertext, key.ciphertext));
    assert_int_equal(kp_wrapped_key_read(bytes_of(room, 17), &read), STATUS_UNWRAP_FAILED);
    room[0] = 2;
    assert_int_equal(kp_wrapped_key_read(buffer_bytes(&field), &read), STATUS_UNWRAP_FAILED);
    room[0] = 0;
    room[18] = '"';
    assert_int_equal(kp_wrapped_key_read(buffer_bytes(&field), &read), STATUS_UNWRAP_FAILED);
    key.ciphertext = (struct bytes){NULL, 0};
    assert_int_equal(kp_wrapped_key_write(&key, &field), STATUS_TOO_LARGE);
}

static void test_known_versions(void **state)
{
    (void)state;
    static struct kp_versions versions = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct uuid root_key = {{1}}, first = {{2}}, second = {{3}}, newest;
    uint32_t count;
    assert_false(kp_versions_get(&versions, &root_key, 1, &newest, &count));
    kp_versions_put(&versions, &root_key, &first, 4, 1);
    kp_versions_put(&versions, &root_key, &first, 0, 2);
    assert_true(kp_versions_get(&versions, &root_key, 3, &newest, &count));
    assert_true(uuid_equal(&newest, &first) && count == 4);
    kp_versions_put(&versions, &root_key, &second, 0, 3);
    assert_true(kp_versions_get(&versions, &root_key, 4, &newest, &count));
    assert_true(uuid_equal(&newest, &second) && count == 0);
    assert_false(kp_versions_get(&versions, &root_key, 3 + KP_VERSIONS_TIME, &newest, &count));
    kp_versions_forget(&versions, &root_key);
    assert_false(kp_versions_get(&versions, &root_key, 4, &newest, &count));
    for (uint8_t i = 0; i < 2 * KP_VERSIONS_MAX; i++) {
        struct uuid other = {{9, i}};
        kp_versions_put(&versions, &other, &first, 1, 10 + i);
        assert_true(kp_versions_get(&versions, &other, 10 + i, &newest, &count));
    }
}

/* ---- Options ---- */

static void test_addresses(void **state)
{
    (void)state;
    struct error error;
    char *url = NULL;
    static const char *const bad[] = {
        "http://host",         "host",           "https://",
        "https://user@host",   "https://host?x", "https://host#x",
        "https://host/api/v2", "ftp://host",     "",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        if (kp_url_copy("url", bad[i], &url, &error) != STATUS_INVALID_ARGUMENT)
            fail_msg("%s", bad[i]);
    assert_int_equal(
        kp_url_copy("url", "https://api.us-south.hs-crypto.cloud.ibm.com:9730//", &url, &error),
        STATUS_OK);
    assert_string_equal(url, "https://api.us-south.hs-crypto.cloud.ibm.com:9730");
    free(url);
}

static void test_bodies(void **state)
{
    (void)state;
    struct buffer body;
    struct kp_json root;
    buffer_init(&body, 4096);
    kp_write_key(&body, "a \"name\"", "said", false, text("\0\1"));
    assert_true(kp_json_read(buffer_bytes(&body), &root));
    buffer_reset(&body);
    kp_http_percent(&body, text("a b/c=\xc3\xa9-_.~"));
    assert_true(bytes_equal_text(buffer_bytes(&body), "a%20b%2Fc%3D%C3%A9-_.~"));
    buffer_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_accepts),
        cmocka_unit_test(test_json_refuses),
        cmocka_unit_test(test_json_depth),
        cmocka_unit_test(test_json_members),
        cmocka_unit_test(test_json_elements),
        cmocka_unit_test(test_json_strings),
        cmocka_unit_test(test_json_integers),
        cmocka_unit_test(test_json_write),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_too_long_ciphertext),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_content_types),
        cmocka_unit_test(test_what_is_tried_again),
        cmocka_unit_test(test_delays),
        cmocka_unit_test(test_breaker),
        cmocka_unit_test(test_breaker_needs_time),
        cmocka_unit_test(test_breaker_late_failures),
        cmocka_unit_test(test_wrapped_keys),
        cmocka_unit_test(test_known_versions),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_bodies),
    };
    return cmocka_run_group_tests(tests, group_set_up, NULL);
}
