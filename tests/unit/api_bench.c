/* SPDX-License-Identifier: Apache-2.0 */
#include "api_bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_files.h"

#define THREADS 2

static char token_key_directory[64];
static char token_key_file[96];

static void must(enum status status, const struct error *error, const char *what)
{
    if (status == STATUS_OK)
        return;
    (void)fprintf(stderr, "%s: %s: %s\n", what, status_name(status),
                  error != NULL ? error->text : "");
    abort();
}

static void forget_token_key(void)
{
    files_remove_directory(token_key_directory);
}

/* One for all tests of a process: to make it takes long. */
static const char *token_key(void)
{
    if (token_key_file[0] == '\0') {
        files_make_directory(token_key_directory, sizeof(token_key_directory));
        (void)snprintf(token_key_file, sizeof(token_key_file), "%s/token.key",
                       token_key_directory);
        (void)atexit(forget_token_key);
    }
    return token_key_file;
}

static void open_audit(struct api_bench *bench)
{
    char path[96];
    struct error error = {0};
    (void)snprintf(path, sizeof(path), "%s/audit", bench->directory);
    const struct audit_options options = {.directory = path};
    must(audit_open(&options, &bench->audit, &error), &error, "audit log");
}

static void open_kms(struct api_bench *bench)
{
    char path[96];
    struct error error = {0};
    (void)snprintf(path, sizeof(path), "%s/keys.db", bench->directory);
    must(kms_open(path, true, &bench->kms, &error), &error, "keys.db");
}

static struct uuid uuid_of(const char *text)
{
    struct uuid uuid = {{0}};
    if (!uuid_parse(bytes_of_text(text), &uuid))
        abort();
    return uuid;
}

static struct uuid make_payload_root_key(struct api_bench *bench)
{
    struct error error = {0};
    const struct root_key_wish wish = {.id = uuid_of("99999999-0000-4000-8000-000000000001"),
                                       .now = clock_now(&bench->core.clock)};
    struct uuid id;
    must(keymanager_create_root_key(
             keymanagers_get(&bench->core.keymanagers, KEYMANAGER_SEALED_FILE), &wish, &id, &error),
         &error, "root key");
    return id;
}

/* In the daemon's place: gives the arguments back, checked as they are. */
static enum status run_command(void *context, struct api_command *command)
{
    struct error error = {0};
    (void)context;
    if (command->code >= IPC_COMMAND_COUNT ||
        ipc_check_arguments(command->code, command->arguments, &error) != STATUS_OK ||
        json_object_set(command->result, "arguments", (json_t *)command->arguments) != 0)
        abort();
    return STATUS_OK;
}

static const struct api_commands commands = {.run = run_command};

void api_bench_open(struct api_bench *bench)
{
    struct error error = {0};
    *bench = (struct api_bench){.directory = ""};
    files_make_directory(bench->directory, sizeof(bench->directory));
    core_bench_open(&bench->core);
    open_audit(bench);
    open_kms(bench);
    bench->context = (struct api_context){
        .kms = bench->kms,
        .store = bench->core.store,
        .core = bench->core.core,
        .audit = bench->audit,
        .clock = &bench->core.clock,
        .keymanagers = &bench->core.keymanagers,
        .commands = &commands,
        .local = KEYMANAGER_SEALED_FILE,
        .payload_root_key = make_payload_root_key(bench),
        .token_key_file = token_key(),
        .issuer = API_BENCH_ISSUER,
        .region = "local",
        .instance = uuid_of(API_BENCH_INSTANCE),
        .account = uuid_of("00000000-0000-4000-8000-000000000001"),
        .token_seconds = 3600,
        .threads = THREADS,
    };
    must(api_open(&bench->context, &bench->api, &error), &error, "API");
    bench->request = (struct api_request){.instance = BYTES_LITERAL(API_BENCH_INSTANCE),
                                          .peer = BYTES_LITERAL("192.0.2.1:5000")};
    buffer_init(&bench->response.body, API_RESPONSE_MAX);
}

static void remove_audit(const struct api_bench *bench)
{
    char path[96];
    (void)snprintf(path, sizeof(path), "%s/audit", bench->directory);
    files_remove_directory(path);
}

void api_bench_close(struct api_bench *bench)
{
    json_decref(bench->json);
    buffer_free(&bench->response.body);
    api_close(bench->api);
    kms_close(bench->kms);
    audit_close(bench->audit);
    core_bench_close(&bench->core);
    remove_audit(bench);
    files_remove_directory(bench->directory);
}

unsigned api_bench_ask(struct api_bench *bench, enum api_method method, const char *target,
                       const char *body)
{
    struct api_request request = bench->request;
    const char *question = strchr(target, '?');
    request.method = method;
    request.path = question == NULL ? bytes_of_text(target)
                                    : bytes_of(target, (size_t)(question - target));
    request.query = bytes_of_text(question == NULL ? "" : question + 1);
    request.body = bytes_of_text(body == NULL ? "" : body);
    json_decref(bench->json);
    buffer_free(&bench->response.body);
    api_handle(bench->api, &request, &bench->response);
    struct bytes answer = buffer_bytes(&bench->response.body);
    bench->json = answer.size == 0 ? NULL
                                   : json_loadb((const char *)answer.data, answer.size,
                                                JSON_DECODE_ANY, NULL);
    return bench->response.status;
}

const json_t *api_bench_resource(const struct api_bench *bench)
{
    return json_array_get(json_object_get(bench->json, "resources"), 0);
}

const char *api_bench_code(const struct api_bench *bench)
{
    const json_t *reasons = json_object_get(api_bench_resource(bench), "reasons");
    const char *code = json_string_value(json_object_get(json_array_get(reasons, 0), "code"));
    return code == NULL ? "" : code;
}

/* ---- Who asks ---- */

void api_bench_service_id(struct api_bench *bench, const char *name, const struct kms_grant *grants,
                          size_t count, char ret_key[static API_KEY_TEXT_LENGTH + 1])
{
    struct kms_service_id service_id;
    struct kms_api_key api_key;
    struct secret text;
    struct error error = {0};
    const struct service_id_wish wish = {.name = name,
                                         .grants = grants,
                                         .grant_count = count,
                                         .now = clock_now(&bench->core.clock)};
    must(service_id_create(bench->api, &wish, &service_id, &error), &error, "service ID");
    must(api_key_create(bench->api, name, "key", wish.now, &text, &api_key, &error), &error,
         "API key");
    memcpy(ret_key, text.data, text.size);
    ret_key[text.size] = '\0';
    secret_free(&text);
}

bool api_bench_log_in(struct api_bench *bench, const char *api_key)
{
    char form[256];
    (void)snprintf(form, sizeof(form),
                   "grant_type=urn%%3Aibm%%3Aparams%%3Aoauth%%3Agrant-type%%3Aapikey&apikey=%s",
                   api_key);
    bench->request.local = false;
    bench->request.peer = BYTES_LITERAL("192.0.2.1:5000");
    if (api_bench_ask(bench, API_POST, "/identity/token", form) != 200)
        return false;
    (void)snprintf(bench->bearer, sizeof(bench->bearer), "Bearer %s",
                   json_string_value(json_object_get(bench->json, "access_token")));
    bench->request.authorization = bytes_of_text(bench->bearer);
    return true;
}

void api_bench_act_as(struct api_bench *bench, const char *name, unsigned role)
{
    char key[API_KEY_TEXT_LENGTH + 1];
    const struct kms_grant grant = {.role = role};
    api_bench_service_id(bench, name, &grant, 1, key);
    if (!api_bench_log_in(bench, key))
        abort();
}

void api_bench_act_locally(struct api_bench *bench)
{
    bench->request.local = true;
    bench->request.peer = BYTES_LITERAL("uid=0 user=root");
    bench->request.authorization = bytes_of(NULL, 0);
}

/* ---- Records ---- */

static bool append_record(void *context, struct bytes line)
{
    return json_array_append_new(context,
                                 json_loadb((const char *)line.data, line.size, 0, NULL)) == 0;
}

json_t *api_bench_records(struct api_bench *bench, size_t count)
{
    char path[96];
    struct error error = {0};
    json_t *records = json_array();
    (void)snprintf(path, sizeof(path), "%s/audit", bench->directory);
    must(audit_tail(path, count, append_record, records, &error), &error, "audit log");
    return records;
}
