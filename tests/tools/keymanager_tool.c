/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keymanager_tool NAME=VALUE...: opens a key manager of the kind of Key Protect with these options
 * (members of struct keyprotect_options), reads one command a line from standard input, a JSON
 * object with a member "do", and answers each with one line: {"status": "OK", ...}. For tests and
 * measurements. Bytes are hexadecimal.
 */
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/hex.h"
#include "keymanager/keyprotect.h"
#include "options.h"

#define BYTES_MAX (1 << 20)

static struct keymanager *keymanager;

/* ---- Values ---- */

static const char *text_of(const json_t *command, const char *name)
{
    return json_string_value(json_object_get(command, name));
}

static int64_t integer_of(const json_t *command, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(command, name);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

static struct uuid uuid_of(const json_t *command, const char *name)
{
    struct uuid uuid = {0};
    const char *text = text_of(command, name);
    if (text != NULL && !uuid_parse(bytes_of_text(text), &uuid))
        (void)fprintf(stderr, "%s is no UUID\n", name);
    return uuid;
}

static void bytes_in(const json_t *command, const char *name, struct buffer *buffer)
{
    const char *text = text_of(command, name);
    buffer_init(buffer, BYTES_MAX);
    if (text == NULL)
        return;
    uint8_t *to = buffer_reserve(buffer, strlen(text) / 2);
    if (to == NULL || !hex_decode(bytes_of_text(text), to, strlen(text) / 2))
        (void)fprintf(stderr, "%s is not hexadecimal\n", name);
}

/* NULL if it is not there. */
static const struct secret *secret_in(const json_t *command, const char *name,
                                      struct secret *secret)
{
    struct buffer bytes;
    bytes_in(command, name, &bytes);
    bool there =
        text_of(command, name) != NULL && secret_copy(secret, buffer_bytes(&bytes)) == STATUS_OK;
    buffer_free(&bytes);
    return there ? secret : NULL;
}

static void put_bytes(json_t *answer, const char *name, struct bytes bytes)
{
    char *text = malloc(2 * bytes.size + 1);
    if (text == NULL)
        abort();
    hex_text(bytes, text);
    (void)json_object_set_new(answer, name, json_string(text));
    free(text);
}

static json_t *json_uuid(const struct uuid *uuid)
{
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(uuid, text);
    return json_string(text);
}

static struct wrap_binding binding_in(const json_t *command)
{
    return (struct wrap_binding){uuid_of(command, "object"), uuid_of(command, "adapter"),
                                 uuid_of(command, "root_key")};
}

/* ---- Commands ---- */

struct talk {
    const json_t *command;
    json_t *answer;
    struct error error;
};

static enum status do_wrap(struct talk *talk)
{
    struct wrap_binding binding = binding_in(talk->command);
    struct secret plaintext = {0};
    struct buffer blob;
    (void)secret_in(talk->command, "plaintext", &plaintext);
    buffer_init(&blob, BYTES_MAX);
    enum status status = keymanager_wrap(keymanager, &binding, &plaintext, &blob);
    if (status == STATUS_OK)
        put_bytes(talk->answer, "blob", buffer_bytes(&blob));
    secret_free(&plaintext);
    buffer_free(&blob);
    return status;
}

static enum status do_unwrap(struct talk *talk)
{
    struct wrap_binding binding = binding_in(talk->command);
    struct secret plaintext = {0};
    struct buffer blob, newer;
    bytes_in(talk->command, "blob", &blob);
    buffer_init(&newer, BYTES_MAX);
    enum status status = keymanager_unwrap(
        keymanager, &binding, (struct wrapped){buffer_bytes(&blob)}, &plaintext, &newer);
    if (status == STATUS_OK)
        put_bytes(talk->answer, "plaintext", secret_bytes(&plaintext));
    if (newer.size > 0)
        put_bytes(talk->answer, "blob", buffer_bytes(&newer));
    secret_free(&plaintext);
    buffer_free(&blob);
    buffer_free(&newer);
    return status;
}

static enum status do_rewrap(struct talk *talk)
{
    struct wrap_binding binding = binding_in(talk->command);
    struct buffer blob, newer;
    bytes_in(talk->command, "blob", &blob);
    buffer_init(&newer, BYTES_MAX);
    enum status status =
        keymanager_rewrap(keymanager, &binding, (struct wrapped){buffer_bytes(&blob)}, &newer);
    if (newer.size > 0)
        put_bytes(talk->answer, "blob", buffer_bytes(&newer));
    buffer_free(&blob);
    buffer_free(&newer);
    return status;
}

static enum status do_is_newest(struct talk *talk)
{
    struct buffer blob;
    bool newest = false;
    bytes_in(talk->command, "blob", &blob);
    enum status status =
        keymanager_is_newest(keymanager, (struct wrapped){buffer_bytes(&blob)}, &newest);
    if (status == STATUS_OK)
        (void)json_object_set_new(talk->answer, "newest", json_boolean(newest));
    buffer_free(&blob);
    return status;
}

static enum status do_create(struct talk *talk)
{
    struct secret material = {0};
    struct uuid id;
    struct root_key_wish wish = {
        .id = uuid_of(talk->command, "id"),
        .name = text_of(talk->command, "name"),
        .material = secret_in(talk->command, "material", &material),
        .now = integer_of(talk->command, "now", 1),
    };
    enum status status = keymanager_create_root_key(keymanager, &wish, &id, &talk->error);
    if (status == STATUS_OK)
        (void)json_object_set_new(talk->answer, "root_key", json_uuid(&id));
    secret_free(&material);
    return status;
}

static enum status do_rotate(struct talk *talk)
{
    struct secret material = {0};
    struct uuid id = uuid_of(talk->command, "root_key");
    enum status status =
        keymanager_rotate(keymanager, &id, (uint32_t)integer_of(talk->command, "from", 1),
                          secret_in(talk->command, "material", &material), 1, &talk->error);
    secret_free(&material);
    return status;
}

static enum status do_set_state(struct talk *talk)
{
    struct uuid id = uuid_of(talk->command, "root_key");
    return keymanager_set_state(
        keymanager, &id, (enum root_key_state)integer_of(talk->command, "state", 1), &talk->error);
}

static enum status do_delete(struct talk *talk)
{
    struct uuid id = uuid_of(talk->command, "root_key");
    return keymanager_delete(keymanager, &id, 1, &talk->error);
}

static enum status do_restore(struct talk *talk)
{
    struct uuid id = uuid_of(talk->command, "root_key");
    return keymanager_restore(keymanager, &id, &talk->error);
}

static enum status do_purge(struct talk *talk)
{
    struct uuid id = uuid_of(talk->command, "root_key");
    return keymanager_purge(keymanager, &id, &talk->error);
}

static json_t *json_info(const struct root_key_info *info)
{
    return json_pack("{so,si,si,sb,sb,sI,sI,sI}", "id", json_uuid(&info->id), "state",
                     (int)info->state, "version", (int)info->version, "imported",
                     (int)info->imported, "purged", (int)info->purged, "created",
                     (json_int_t)info->created, "rotated", (json_int_t)info->rotated, "deleted",
                     (json_int_t)info->deleted);
}

static enum status do_info(struct talk *talk)
{
    struct root_key_info info;
    struct uuid id = uuid_of(talk->command, "root_key");
    enum status status = keymanager_root_key_info(keymanager, &id, &info);
    if (status == STATUS_OK)
        (void)json_object_set_new(talk->answer, "info", json_info(&info));
    return status;
}

static bool take_root_key(void *context, const struct root_key_info *info)
{
    return json_array_append_new(context, json_info(info)) == 0;
}

static enum status do_root_keys(struct talk *talk)
{
    json_t *list = json_array();
    (void)json_object_set_new(talk->answer, "root_keys", list);
    return keymanager_root_keys(keymanager, take_root_key, list);
}

static enum status do_check(struct talk *talk)
{
    return keymanager_check(keymanager, &talk->error);
}

static enum status do_record_put(struct talk *talk)
{
    struct buffer record;
    struct uuid id;
    bytes_in(talk->command, "record", &record);
    enum status status = keymanager_record_put(keymanager, text_of(talk->command, "name"),
                                               buffer_bytes(&record), &id, &talk->error);
    if (status == STATUS_OK)
        (void)json_object_set_new(talk->answer, "id", json_uuid(&id));
    buffer_free(&record);
    return status;
}

static enum status do_record_get(struct talk *talk)
{
    struct buffer record;
    struct uuid id = uuid_of(talk->command, "id");
    buffer_init(&record, KEYMANAGER_RECORD_MAX);
    enum status status = keymanager_record_get(keymanager, &id, &record, &talk->error);
    if (status == STATUS_OK)
        put_bytes(talk->answer, "record", buffer_bytes(&record));
    buffer_free(&record);
    return status;
}

static enum status do_record_delete(struct talk *talk)
{
    struct uuid id = uuid_of(talk->command, "id");
    return keymanager_record_delete(keymanager, &id, &talk->error);
}

static bool take_record(void *context, const struct keymanager_record *record)
{
    return json_array_append_new(context,
                                 json_pack("{so,ss,si}", "id", json_uuid(&record->id), "name",
                                           record->name, "state", (int)record->state)) == 0;
}

static enum status do_records(struct talk *talk)
{
    json_t *list = json_array();
    (void)json_object_set_new(talk->answer, "records", list);
    return keymanager_records(keymanager, text_of(talk->command, "prefix"), take_record, list,
                              &talk->error);
}

/* ---- Many jobs at once ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_done = PTHREAD_COND_INITIALIZER;
static size_t left;
static unsigned outcomes[STATUS_COUNT];
static int64_t finished[2]; /* when the last of the foreground, of the background was done */

static void count_job(struct keymanager_job *job)
{
    (void)pthread_mutex_lock(&mutex);
    outcomes[job->status]++;
    finished[job->background] = clock_monotonic();
    if (--left == 0)
        (void)pthread_cond_signal(&all_done);
    (void)pthread_mutex_unlock(&mutex);
}

static enum keymanager_task task_of(const json_t *command)
{
    const char *name = text_of(command, "task");
    if (strcmp(name, "wrap") == 0)
        return KEYMANAGER_WRAP;
    if (strcmp(name, "record") == 0)
        return KEYMANAGER_RECORD;
    return strcmp(name, "rewrap") == 0 ? KEYMANAGER_REWRAP : KEYMANAGER_UNWRAP;
}

static void set_up_jobs(const json_t *command, struct keymanager_job *jobs, size_t count,
                        struct wrapped wrapped, struct bytes plaintext)
{
    size_t background = (size_t)integer_of(command, "background", 0);
    int64_t time = integer_of(command, "time", 0);
    for (size_t i = 0; i < count; i++) {
        struct keymanager_job *job = &jobs[i];
        job->task = task_of(command);
        job->background = i < background;
        job->deadline = time > 0 ? clock_monotonic() + time : 0;
        job->binding = binding_in(command);
        job->wrapped = wrapped;
        job->done = count_job;
        job->next = i + 1 < count ? &jobs[i + 1] : NULL;
        job->record_name = text_of(command, "name");
        job->record = wrapped.blob;
        buffer_init(&job->ret_wrapped, BYTES_MAX);
        if (job->task == KEYMANAGER_WRAP && secret_copy(&job->plaintext, plaintext) != STATUS_OK)
            abort();
    }
}

static void run_jobs(struct talk *talk, struct keymanager_job *jobs, size_t count)
{
    int64_t begun = clock_monotonic();
    memset(outcomes, 0, sizeof(outcomes));
    finished[0] = finished[1] = begun;
    left = count;
    keymanager_submit(keymanager, jobs);
    (void)pthread_mutex_lock(&mutex);
    while (left > 0)
        (void)pthread_cond_wait(&all_done, &mutex);
    (void)pthread_mutex_unlock(&mutex);
    (void)json_object_set_new(talk->answer, "milliseconds",
                              json_integer(clock_monotonic() - begun));
    (void)json_object_set_new(talk->answer, "foreground", json_integer(finished[0] - begun));
    (void)json_object_set_new(talk->answer, "background", json_integer(finished[1] - begun));
    json_t *counts = json_object();
    for (size_t i = 0; i < STATUS_COUNT; i++)
        if (outcomes[i] > 0)
            (void)json_object_set_new(counts, status_name((enum status)i),
                                      json_integer(outcomes[i]));
    (void)json_object_set_new(talk->answer, "outcomes", counts);
}

static enum status do_many(struct talk *talk)
{
    size_t count = (size_t)integer_of(talk->command, "count", 1);
    struct keymanager_job *jobs = calloc(count, sizeof(*jobs));
    struct buffer blob, plaintext;
    if (jobs == NULL)
        return STATUS_NO_MEMORY;
    bytes_in(talk->command, "blob", &blob);
    bytes_in(talk->command, "plaintext", &plaintext);
    set_up_jobs(talk->command, jobs, count, (struct wrapped){buffer_bytes(&blob)},
                buffer_bytes(&plaintext));
    run_jobs(talk, jobs, count);
    for (size_t i = 0; i < count; i++) {
        secret_free(&jobs[i].plaintext);
        buffer_free(&jobs[i].ret_wrapped);
    }
    free(jobs);
    buffer_free(&blob);
    buffer_free(&plaintext);
    return STATUS_OK;
}

/* ---- The program ---- */

static const struct {
    const char *name;
    enum status (*run)(struct talk *talk);
} commands[] = {
    {"wrap", do_wrap},
    {"unwrap", do_unwrap},
    {"rewrap", do_rewrap},
    {"is_newest", do_is_newest},
    {"create", do_create},
    {"rotate", do_rotate},
    {"set_state", do_set_state},
    {"delete", do_delete},
    {"restore", do_restore},
    {"purge", do_purge},
    {"info", do_info},
    {"root_keys", do_root_keys},
    {"check", do_check},
    {"record_put", do_record_put},
    {"record_get", do_record_get},
    {"record_delete", do_record_delete},
    {"records", do_records},
    {"many", do_many},
};

static void answer_line(const char *line)
{
    struct talk talk = {.command = json_loads(line, 0, NULL), .answer = json_object()};
    const char *name = text_of(talk.command, "do");
    enum status status = STATUS_OPERATION_NOT_SUPPORTED;
    for (size_t i = 0; name != NULL && i < ARRAY_COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            status = commands[i].run(&talk);
    (void)json_object_set_new(talk.answer, "status", json_string(status_name(status)));
    (void)json_object_set_new(talk.answer, "text", json_string(talk.error.text));
    char *text = json_dumps(talk.answer, JSON_COMPACT);
    (void)puts(text != NULL ? text : "{}");
    (void)fflush(stdout);
    free(text);
    json_decref(talk.answer);
    json_decref((json_t *)talk.command);
}

/* The last line but the answers: how much processor time it took. */
static void print_usage(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    (void)printf("{\"processor\":%ld}\n",
                 (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000L +
                     (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000L);
}

int main(int count, char **arguments)
{
    struct keyprotect_options options = {.code = KEYMANAGER_KEY_PROTECT};
    struct error error = {0};
    char *line = NULL;
    size_t room = 0;
    for (int i = 1; i < count; i++)
        if (!tool_option(&options, arguments[i]))
            return 2;
    enum status status = secret_heap_init(1 << 22, &error);
    if (status == STATUS_OK)
        status = keyprotect_open(&options, &keymanager, &error);
    (void)printf("{\"status\":\"%s\"}\n", status_name(status));
    (void)fflush(stdout);
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "%s\n", error_text(&error));
        return 1;
    }
    while (getline(&line, &room, stdin) > 0)
        answer_line(line);
    free(line);
    keymanager_close(keymanager);
    print_usage();
    return 0;
}
