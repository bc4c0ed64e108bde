/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole way of requests to the administration API. The input is a conversation: requests, each
 * ended by a byte 0, of a line
 *
 *   WHO METHOD target
 *
 * then lines "name: value" with what else a request has, an empty line, and the body. WHO is L (the
 * control socket), M (may do everything), R (may read one key ring), or anything else (nobody).
 * {KEY} in a target stands for the key that was made last.
 *
 * What must hold: there is always one well-formed answer, nobody gets what somebody must be asked
 * for, and who may read changes nothing.
 */
#include <openssl/rand.h>
#include <string.h>

#include "../unit/api_bench.h"
#include "api/permission.h"
#include "api/router.h"
#include "fuzz.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAKS_ARE_LOOKED_FOR 1
#include <sanitizer/lsan_interface.h>
#endif
#endif

#define REQUESTS_MAX   16
#define TARGET_MAX     1024
#define INPUTS_BETWEEN 500 /* then all is made anew */
#define KEY_NAME       "{KEY}"

struct conversation {
    struct api_bench bench;
    unsigned inputs;
    bool granted; /* a service ID was changed: nobody knows what the reader may do now */
    char manager[API_BENCH_TEXT_MAX];
    char reader[API_BENCH_TEXT_MAX];
    char key[UUID_TEXT_LENGTH + 1];
    char target[TARGET_MAX];
};

static void open_bench(struct conversation *talk)
{
    static const struct kms_grant all[] = {{.role = API_ROLE_MANAGER},
                                           {.role = API_ROLE_KEY_PURGE},
                                           {.role = API_ROLE_ADMINISTRATOR}};
    static const struct kms_grant reader = {.role = API_ROLE_READER, .key_ring = "ring"};
    char key[API_KEY_TEXT_LENGTH + 1];
    api_bench_open(&talk->bench);
    api_bench_service_id(&talk->bench, "manager", all, ARRAY_COUNT(all), key);
    REQUIRE(api_bench_log_in(&talk->bench, key));
    memcpy(talk->manager, talk->bench.bearer, sizeof(talk->manager));
    api_bench_service_id(&talk->bench, "reader", &reader, 1, key);
    REQUIRE(api_bench_log_in(&talk->bench, key));
    memcpy(talk->reader, talk->bench.bearer, sizeof(talk->reader));
    memcpy(talk->key, "00000000-0000-4000-8000-000000000000", sizeof(talk->key));
}

/* OpenSSL keeps its generators in its secure heap, where the leak checker does not look, and would
 * take what they own for lost. */
static void make_generators(void)
{
    uint8_t byte;
#ifdef LEAKS_ARE_LOOKED_FOR
    __lsan_disable();
#endif
    REQUIRE(secret_heap_init(1 << 20, NULL) == STATUS_OK);
    REQUIRE(RAND_bytes(&byte, 1) == 1 && RAND_priv_bytes(&byte, 1) == 1);
#ifdef LEAKS_ARE_LOOKED_FOR
    __lsan_enable();
#endif
}

/* ---- Reading the input ---- */

static struct bytes take_until(struct bytes *rest, char end)
{
    const uint8_t *found = rest->size == 0 ? NULL : memchr(rest->data, end, rest->size);
    size_t size = found == NULL ? rest->size : (size_t)(found - rest->data);
    struct bytes taken = bytes_of(rest->data, size);
    size_t used = found == NULL ? size : size + 1;
    *rest = bytes_of(rest->data + used, rest->size - used);
    return taken;
}

static enum api_method method_of(struct bytes word)
{
    static const char *const words[] = {"HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (bytes_equal_text(word, words[i]))
            return (enum api_method)i;
    return API_OTHER;
}

/* The target with the last key's identifier in the place of what stands for it. */
static struct bytes name_key(struct conversation *talk, struct bytes target)
{
    const uint8_t *at = memmem(target.data, target.size, KEY_NAME, strlen(KEY_NAME));
    if (at == NULL || target.size + UUID_TEXT_LENGTH > TARGET_MAX)
        return target;
    size_t before = (size_t)(at - target.data);
    size_t behind = target.size - before - strlen(KEY_NAME);
    memcpy(talk->target, target.data, before);
    memcpy(talk->target + before, talk->key, UUID_TEXT_LENGTH);
    memcpy(talk->target + before + UUID_TEXT_LENGTH, at + strlen(KEY_NAME), behind);
    return bytes_of(talk->target, before + UUID_TEXT_LENGTH + behind);
}

static void take_header(struct api_request *request, struct bytes line)
{
    struct bytes value = line;
    struct bytes name = take_until(&value, ':');
    while (value.size > 0 && value.data[0] == ' ')
        value = bytes_of(value.data + 1, value.size - 1);
    if (bytes_equal_text(name, "authorization"))
        request->authorization = value;
    else if (bytes_equal_text(name, "instance"))
        request->instance = value;
    else if (bytes_equal_text(name, "correlation"))
        request->correlation = value;
    else if (bytes_equal_text(name, "key-ring"))
        request->key_ring = value;
    else if (bytes_equal_text(name, "prefer"))
        request->prefer = value;
    else if (bytes_equal_text(name, "accept"))
        request->accept = value;
    else if (bytes_equal_text(name, "peer"))
        request->peer = value;
}

static void become(const struct conversation *talk, struct bytes who, struct api_request *request)
{
    if (bytes_equal_text(who, "L")) {
        request->local = true;
        request->peer = BYTES_LITERAL("uid=0 user=root");
    } else if (bytes_equal_text(who, "M")) {
        request->authorization = bytes_of_text(talk->manager);
    } else if (bytes_equal_text(who, "R")) {
        request->authorization = bytes_of_text(talk->reader);
    }
}

static struct api_request parse(struct conversation *talk, struct bytes text)
{
    struct bytes first = take_until(&text, '\n');
    struct bytes who = take_until(&first, ' ');
    struct api_request request = {.instance = BYTES_LITERAL(API_BENCH_INSTANCE),
                                  .peer = BYTES_LITERAL("192.0.2.1:5000")};
    become(talk, who, &request);
    request.method = method_of(take_until(&first, ' '));
    request.query = name_key(talk, first);
    request.path = take_until(&request.query, '?');
    for (struct bytes line; text.size > 0 && (line = take_until(&text, '\n')).size > 0;)
        if (!request.local)
            take_header(&request, line);
    request.body = text;
    return request;
}

/* ---- What must hold ---- */

static bool is_public(const struct api_request *request)
{
    char parameters[API_PARAMETERS_MAX][API_PARAMETER_SIZE];
    char allow[API_ALLOW_SIZE];
    const struct api_route *route;
    return router_find(request->method, request->path, &route, parameters, allow) ==
               API_MATCH_FOUND &&
           route->role == API_ROLE_PUBLIC;
}

static bool changes_something(const struct api_request *request)
{
    return request->method == API_PUT || request->method == API_PATCH ||
           request->method == API_DELETE;
}

static void check_permission(const struct conversation *talk, const struct api_request *request,
                             unsigned status)
{
    if (status >= 300 || request->local || is_public(request))
        return;
    bool manager = bytes_equal_text(request->authorization, talk->manager);
    bool reader = bytes_equal_text(request->authorization, talk->reader);
    REQUIRE(manager || (reader && (talk->granted || !changes_something(request))));
}

static void note_grants(struct conversation *talk, const struct api_request *request)
{
    static const char service_ids[] = "/api/v2/kmipd/service_ids";
    if (request->method != API_GET && request->path.size >= strlen(service_ids) &&
        memcmp(request->path.data, service_ids, strlen(service_ids)) == 0)
        talk->granted = true;
}

static void check_answer(struct conversation *talk, const struct api_request *request)
{
    const struct api_response *response = &talk->bench.response;
    REQUIRE(response->status >= 200 && response->status <= 599);
    REQUIRE(response->correlation[0] != '\0');
    REQUIRE((response->status == 405) == (response->allow[0] != '\0'));
    struct bytes body = buffer_bytes(&response->body);
    REQUIRE((body.size == 0) == (response->content_type == NULL));
    json_decref(talk->bench.json);
    talk->bench.json =
        body.size == 0 ? NULL : json_loadb((const char *)body.data, body.size, 0, NULL);
    REQUIRE(body.size == 0 || talk->bench.json != NULL);
    check_permission(talk, request, response->status);
    const char *id = json_string_value(json_object_get(api_bench_resource(&talk->bench), "id"));
    if (response->status == 201 && id != NULL && strlen(id) == UUID_TEXT_LENGTH)
        memcpy(talk->key, id, sizeof(talk->key));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conversation talk;
    struct bytes input = bytes_of(data, size);
    if (talk.inputs == INPUTS_BETWEEN) {
        api_bench_close(&talk.bench);
        talk.inputs = 0;
        talk.granted = false;
    }
    if (talk.manager[0] == '\0')
        make_generators();
    if (talk.inputs++ == 0)
        open_bench(&talk);
    for (int i = 0; i < REQUESTS_MAX && input.size > 0; i++) {
        struct api_request request = parse(&talk, take_until(&input, '\0'));
        note_grants(&talk, &request);
        buffer_free(&talk.bench.response.body);
        talk.bench.core.clock.test_time += 10;
        api_handle(talk.bench.api, &request, &talk.bench.response);
        check_answer(&talk, &request);
    }
    return 0;
}
