/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of Key Protect and IAM: any bytes. The JSON reader must agree with jansson on what is
 * well formed and what a string stands for, and what is read must keep to its limits.
 */
#include <jansson.h>
#include <string.h>

#include "fuzz.h"
#include "keymanager/keyprotect_answer.h"

static bool lies_within(struct bytes part, struct bytes whole)
{
    return part.size > 0 && part.data >= whole.data &&
           part.data + part.size <= whole.data + whole.size;
}

/* A value as both read it. Where ours stops at a depth, jansson goes on. */
static void compare(struct kp_json ours, const json_t *theirs)
{
    static char text[1 << 16];
    struct kp_json element;
    size_t position = 0, count = 0;
    int64_t integer;
    switch (ours.type) {
    case KP_JSON_STRING:
        if (kp_json_copy(ours, text, sizeof(text)))
            REQUIRE(strcmp(text, json_string_value(theirs)) == 0);
        break;
    case KP_JSON_NUMBER:
        REQUIRE(json_is_number(theirs));
        if (kp_json_integer(ours, &integer))
            REQUIRE(json_integer_value(theirs) == integer);
        break;
    case KP_JSON_ARRAY:
        while (kp_json_next(ours, &position, &element))
            compare(element, json_array_get(theirs, count++));
        REQUIRE(count == json_array_size(theirs));
        break;
    case KP_JSON_OBJECT: {
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)theirs, name, value) if (kp_json_member(ours, name, &element))
            compare(element, value);
        break;
    }
    default:
        break;
    }
}

static void read_json(struct bytes input)
{
    struct kp_json ours;
    bool good = kp_json_read(input, &ours);
    if (good)
        REQUIRE(lies_within(ours.text, input));
    json_t *theirs = json_loadb((const char *)input.data, input.size,
                                JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (theirs != NULL && good)
        compare(ours, theirs);
    json_decref(theirs);
}

static bool check_key(void *context, const struct kp_key *key)
{
    (void)context;
    REQUIRE(strlen(key->name) <= KP_NAME_MAX);
    (void)kp_key_is_described(key, "said");
    return true;
}

static void check_refusal(const struct kp_refusal *refusal)
{
    REQUIRE(strlen(refusal->code) <= KP_CODE_MAX && strlen(refusal->message) <= KP_MESSAGE_MAX);
    for (const char *at = refusal->message; *at != '\0'; at++)
        REQUIRE(*at >= 0x20 && *at < 0x7F);
}

static void read_answers(struct bytes input)
{
    struct kp_token token;
    struct kp_action action;
    struct kp_key key;
    struct kp_refusal refusal;
    struct buffer payload;
    struct uuid newest;
    size_t count;
    uint32_t total;
    if (kp_answer_token(input, &token)) {
        REQUIRE(token.text.size > 0 && token.text.size <= KP_TOKEN_MAX && token.lifetime > 0);
        secret_free(&token.text);
    }
    if (kp_answer_action(input, &action))
        REQUIRE(strlen(action.ciphertext) <= KP_CIPHERTEXT_MAX &&
                action.plaintext.size <= KP_PLAINTEXT_MAX + 2);
    secret_free(&action.plaintext);
    if (kp_answer_keys(input, check_key, NULL, &count) && count == 1)
        REQUIRE(kp_answer_key(input, &key));
    if (kp_answer_versions(input, &total, &newest))
        REQUIRE(total > 0);
    if (kp_answer_refusal(input, &refusal) || kp_answer_iam_refusal(input, &refusal))
        check_refusal(&refusal);
    buffer_init(&payload, 7500);
    (void)!kp_answer_payload(input, &payload);
    buffer_free(&payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error;
    int64_t time;
    struct bytes input = bytes_of(data, size);
    REQUIRE(secret_heap_init(1 << 20, &error) == STATUS_OK);
    read_json(input);
    read_answers(input);
    (void)!kp_time_read(input, &time);
    return 0;
}
