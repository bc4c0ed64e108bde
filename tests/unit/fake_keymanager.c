/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_keymanager.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "keymanager/envelope.h"
#include "keymanager/memory.h"

struct fake_record {
    struct keymanager_record shown;
    uint8_t *bytes;
    size_t size;
};

struct waiting_job {
    struct keymanager_job *job;
    int64_t due;
};

struct fake {
    struct keymanager keymanager; /* first */
    struct keymanager *inner;
    int delay;
    _Atomic enum status failure;
    atomic_uint fail_each;
    _Atomic enum status some_failure;
    atomic_bool lies;
    atomic_uint done;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool holds;
    bool stopping;
    struct waiting_job *jobs;
    size_t job_count;
    unsigned most;
    struct fake_record *records;
    size_t record_count;
    fake_step *step;
    void *step_context;
};

static struct fake *fake_of(struct keymanager *keymanager)
{
    return CONTAINER_OF(keymanager, struct fake, keymanager);
}

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* ---- Wrapping ---- */

static uint32_t newest(struct fake *fake, const struct uuid *root_key)
{
    struct root_key_info info = {0};
    return keymanager_root_key_info(fake->inner, root_key, &info) == STATUS_OK ? info.version : 0;
}

static enum status fake_wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                             const struct secret *plaintext, struct buffer *ret_wrapped)
{
    struct fake *fake = fake_of(keymanager);
    struct secret key = {0};
    struct buffer wrapped_key;
    enum status status = atomic_load(&fake->failure);
    if (status != STATUS_OK)
        return status;
    buffer_init(&wrapped_key, ENVELOPE_WRAPPED_MAX);
    status = envelope_key_make(&key);
    if (status == STATUS_OK)
        status = keymanager_wrap(fake->inner, binding, &key, &wrapped_key);
    const struct envelope envelope = {.code = keymanager->code,
                                      .version = newest(fake, &binding->root_key),
                                      .binding = *binding,
                                      .wrapped_key = buffer_bytes(&wrapped_key)};
    if (status == STATUS_OK && atomic_load(&fake->lies))
        key.data[0] ^= 1;
    if (status == STATUS_OK)
        status = envelope_seal(&envelope, &key, plaintext, ret_wrapped);
    secret_free(&key);
    buffer_free(&wrapped_key);
    return status;
}

static enum status fake_unwrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                               struct wrapped wrapped, struct secret *ret_plaintext,
                               struct buffer *ret_rewrapped)
{
    struct fake *fake = fake_of(keymanager);
    struct envelope envelope;
    struct secret key = {0};
    enum status status = atomic_load(&fake->failure);
    if (status == STATUS_OK)
        status = envelope_read(wrapped.blob, binding, &envelope);
    if (status == STATUS_OK)
        status = keymanager_unwrap(fake->inner, binding, (struct wrapped){envelope.wrapped_key},
                                   &key, NULL);
    if (status == STATUS_OK)
        status = envelope_open(wrapped.blob, &key, ret_plaintext);
    secret_free(&key);
    return status;
}

static enum status fake_rewrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                               struct wrapped wrapped, struct buffer *ret_wrapped)
{
    struct fake *fake = fake_of(keymanager);
    struct envelope envelope;
    struct buffer rewrapped;
    enum status status = atomic_load(&fake->failure);
    if (status != STATUS_OK)
        return status;
    buffer_init(&rewrapped, ENVELOPE_WRAPPED_MAX);
    status = envelope_read(wrapped.blob, binding, &envelope);
    if (status == STATUS_OK)
        status = keymanager_rewrap(fake->inner, binding,
                                   (struct wrapped){envelope.wrapped_key}, &rewrapped);
    if (status == STATUS_OK && rewrapped.size > 0) {
        if (atomic_load(&fake->lies))
            rewrapped.data[rewrapped.size - 1] ^= 1;
        status = envelope_rewrap(wrapped.blob, newest(fake, &binding->root_key),
                                 buffer_bytes(&rewrapped), ret_wrapped);
    }
    buffer_free(&rewrapped);
    return status;
}

/* ---- Jobs ---- */

static enum status fake_record_put(struct keymanager *keymanager, const char *name,
                                   struct bytes record, struct uuid *ret_id, struct error *error);

static enum status do_job(struct fake *fake, struct keymanager_job *job)
{
    struct keymanager *keymanager = &fake->keymanager;
    unsigned each = atomic_load(&fake->fail_each);
    if (atomic_fetch_add(&fake->done, 1) % (each > 0 ? each : 1) == 0 && each > 0)
        return atomic_load(&fake->some_failure);
    switch (job->task) {
    case KEYMANAGER_WRAP:
        return fake_wrap(keymanager, &job->binding, &job->plaintext, &job->ret_wrapped);
    case KEYMANAGER_UNWRAP:
        return fake_unwrap(keymanager, &job->binding, job->wrapped, &job->plaintext,
                           &job->ret_wrapped);
    case KEYMANAGER_REWRAP:
        return fake_rewrap(keymanager, &job->binding, job->wrapped, &job->ret_wrapped);
    case KEYMANAGER_RECORD:
        return fake_record_put(keymanager, job->record_name, job->record, &job->record_id, NULL);
    }
    return STATUS_INTERNAL;
}

static void fake_submit(struct keymanager *keymanager, struct keymanager_job *jobs)
{
    struct fake *fake = fake_of(keymanager);
    (void)pthread_mutex_lock(&fake->lock);
    while (jobs != NULL) {
        struct keymanager_job *next = jobs->next;
        jobs->next = NULL;
        fake->jobs = reallocarray(fake->jobs, fake->job_count + 1, sizeof(*fake->jobs));
        must(fake->jobs != NULL);
        fake->jobs[fake->job_count++] =
            (struct waiting_job){jobs, clock_monotonic() + fake->delay};
        jobs = next;
    }
    if (fake->job_count > fake->most)
        fake->most = (unsigned)fake->job_count;
    (void)pthread_cond_signal(&fake->wake);
    (void)pthread_mutex_unlock(&fake->lock);
}

static struct keymanager_job *take_job(struct fake *fake)
{
    if (fake->holds || fake->job_count == 0 || fake->jobs[0].due > clock_monotonic())
        return NULL;
    struct keymanager_job *job = fake->jobs[0].job;
    fake->job_count--;
    memmove(fake->jobs, fake->jobs + 1, fake->job_count * sizeof(*fake->jobs));
    return job;
}

static void *run(void *argument)
{
    struct fake *fake = argument;
    (void)pthread_mutex_lock(&fake->lock);
    while (!fake->stopping || fake->job_count > 0) {
        struct keymanager_job *job = take_job(fake);
        if (job == NULL) {
            struct timespec at;
            (void)clock_gettime(CLOCK_REALTIME, &at);
            at.tv_nsec += 1000000;
            if (at.tv_nsec >= 1000000000) {
                at.tv_sec++;
                at.tv_nsec -= 1000000000;
            }
            (void)pthread_cond_timedwait(&fake->wake, &fake->lock, &at);
            continue;
        }
        (void)pthread_mutex_unlock(&fake->lock);
        job->status = do_job(fake, job);
        job->done(job);
        (void)pthread_mutex_lock(&fake->lock);
    }
    (void)pthread_mutex_unlock(&fake->lock);
    return NULL;
}

/* ---- Root keys ---- */

#define ANSWER(call)                                                       \
    enum status failure = atomic_load(&fake_of(keymanager)->failure);     \
    return failure != STATUS_OK ? failure : (call)

static enum status fake_create(struct keymanager *keymanager, const struct root_key_wish *wish,
                               struct uuid *ret_root_key, struct error *error)
{
    ANSWER(keymanager_create_root_key(fake_of(keymanager)->inner, wish, ret_root_key, error));
}

static enum status fake_rotate(struct keymanager *keymanager, const struct uuid *root_key,
                               uint32_t from, const struct secret *material, int64_t now,
                               struct error *error)
{
    ANSWER(keymanager_rotate(fake_of(keymanager)->inner, root_key, from, material, now, error));
}

static enum status fake_set_state(struct keymanager *keymanager, const struct uuid *root_key,
                                  enum root_key_state state, struct error *error)
{
    ANSWER(keymanager_set_state(fake_of(keymanager)->inner, root_key, state, error));
}

static enum status fake_info(struct keymanager *keymanager, const struct uuid *root_key,
                             struct root_key_info *ret_info)
{
    ANSWER(keymanager_root_key_info(fake_of(keymanager)->inner, root_key, ret_info));
}

/* ---- Records ---- */

static void at(struct fake *fake, enum fake_moment moment)
{
    (void)pthread_mutex_lock(&fake->lock);
    fake_step *step = fake->step;
    void *context = fake->step_context;
    (void)pthread_mutex_unlock(&fake->lock);
    if (step != NULL)
        step(context, moment);
}

static enum status fake_record_put(struct keymanager *keymanager, const char *name,
                                   struct bytes record, struct uuid *ret_id, struct error *error)
{
    struct fake *fake = fake_of(keymanager);
    at(fake, FAKE_PUT);
    enum status failure = atomic_load(&fake->failure);
    if (failure != STATUS_OK)
        return failure;
    (void)pthread_mutex_lock(&fake->lock);
    struct fake_record *found = NULL;
    for (size_t i = 0; i < fake->record_count; i++) {
        struct fake_record *other = &fake->records[i];
        if (other->shown.state != ROOT_KEY_DESTROYED && strcmp(other->shown.name, name) == 0 &&
            bytes_equal(bytes_of(other->bytes, other->size), record))
            found = other;
    }
    if (found == NULL) {
        fake->records =
            reallocarray(fake->records, fake->record_count + 1, sizeof(*fake->records));
        must(fake->records != NULL);
        found = &fake->records[fake->record_count++];
        *found = (struct fake_record){.shown.state = ROOT_KEY_ACTIVE, .size = record.size};
        must(uuid_make_random(&found->shown.id) == STATUS_OK);
        strncpy(found->shown.name, name, sizeof(found->shown.name) - 1);
        found->bytes = malloc(record.size);
        must(found->bytes != NULL);
        memcpy(found->bytes, record.data, record.size);
    }
    *ret_id = found->shown.id;
    (void)pthread_mutex_unlock(&fake->lock);
    at(fake, FAKE_PUT_DONE);
    return STATUS_OK;
}

static struct fake_record *find_record(struct fake *fake, const struct uuid *id)
{
    for (size_t i = 0; i < fake->record_count; i++)
        if (uuid_equal(&fake->records[i].shown.id, id) &&
            fake->records[i].shown.state != ROOT_KEY_DESTROYED)
            return &fake->records[i];
    return NULL;
}

static enum status fake_record_get(struct keymanager *keymanager, const struct uuid *id,
                                   struct buffer *ret_record, struct error *error)
{
    struct fake *fake = fake_of(keymanager);
    enum status status = atomic_load(&fake->failure);
    if (status != STATUS_OK)
        return status;
    (void)pthread_mutex_lock(&fake->lock);
    const struct fake_record *record = find_record(fake, id);
    if (record != NULL)
        buffer_append(ret_record, record->bytes, record->size);
    (void)pthread_mutex_unlock(&fake->lock);
    return record != NULL ? buffer_status(ret_record) : STATUS_NOT_FOUND;
}

static enum status fake_record_delete(struct keymanager *keymanager, const struct uuid *id,
                                      struct error *error)
{
    struct fake *fake = fake_of(keymanager);
    enum status status = atomic_load(&fake->failure);
    if (status != STATUS_OK)
        return status;
    (void)pthread_mutex_lock(&fake->lock);
    struct fake_record *record = find_record(fake, id);
    if (record != NULL)
        record->shown.state = ROOT_KEY_DESTROYED;
    (void)pthread_mutex_unlock(&fake->lock);
    return STATUS_OK;
}

static enum status fake_records(struct keymanager *keymanager, const char *prefix,
                                keymanager_visit_record *visit, void *context,
                                struct error *error)
{
    struct fake *fake = fake_of(keymanager);
    enum status status = atomic_load(&fake->failure);
    if (status != STATUS_OK)
        return status;
    at(fake, FAKE_LIST);
    (void)pthread_mutex_lock(&fake->lock);
    for (size_t i = 0; i < fake->record_count; i++)
        if (strncmp(fake->records[i].shown.name, prefix, strlen(prefix)) == 0 &&
            !visit(context, &fake->records[i].shown))
            break;
    (void)pthread_mutex_unlock(&fake->lock);
    at(fake, FAKE_LIST_DONE);
    return STATUS_OK;
}

/* ---- Life ---- */

static void fake_close(struct keymanager *keymanager)
{
    struct fake *fake = fake_of(keymanager);
    (void)pthread_mutex_lock(&fake->lock);
    fake->stopping = true;
    (void)pthread_cond_signal(&fake->wake);
    (void)pthread_mutex_unlock(&fake->lock);
    (void)pthread_join(fake->thread, NULL);
    for (size_t i = 0; i < fake->record_count; i++)
        free(fake->records[i].bytes);
    free(fake->records);
    free(fake->jobs);
    keymanager_close(fake->inner);
    (void)pthread_mutex_destroy(&fake->lock);
    (void)pthread_cond_destroy(&fake->wake);
    free(fake);
}

static const struct keymanager_provider provider = {
    .name = "fake",
    .wrap = fake_wrap,
    .unwrap = fake_unwrap,
    .rewrap = fake_rewrap,
    .submit = fake_submit,
    .create_root_key = fake_create,
    .rotate = fake_rotate,
    .set_state = fake_set_state,
    .root_key_info = fake_info,
    .record_put = fake_record_put,
    .record_get = fake_record_get,
    .record_delete = fake_record_delete,
    .records = fake_records,
    .close = fake_close,
};

struct keymanager *fake_open(enum keymanager_code code, int delay_ms)
{
    struct fake *fake = calloc(1, sizeof(*fake));
    must(fake != NULL && keymanager_open_memory(&fake->inner) == STATUS_OK);
    fake->keymanager = (struct keymanager){.provider = &provider, .code = code};
    fake->delay = delay_ms;
    must(pthread_mutex_init(&fake->lock, NULL) == 0 && pthread_cond_init(&fake->wake, NULL) == 0);
    must(pthread_create(&fake->thread, NULL, run, fake) == 0);
    return &fake->keymanager;
}

void fake_fail(struct keymanager *keymanager, enum status status)
{
    atomic_store(&fake_of(keymanager)->failure, status);
}

void fake_fail_some(struct keymanager *keymanager, unsigned n, enum status status)
{
    atomic_store(&fake_of(keymanager)->some_failure, status);
    atomic_store(&fake_of(keymanager)->fail_each, n);
}

void fake_lie(struct keymanager *keymanager, bool lies)
{
    atomic_store(&fake_of(keymanager)->lies, lies);
}

void fake_hold(struct keymanager *keymanager, bool holds)
{
    struct fake *fake = fake_of(keymanager);
    (void)pthread_mutex_lock(&fake->lock);
    fake->holds = holds;
    (void)pthread_mutex_unlock(&fake->lock);
}

unsigned fake_jobs_done(struct keymanager *keymanager)
{
    return atomic_load(&fake_of(keymanager)->done);
}

unsigned fake_most_in_flight(struct keymanager *keymanager)
{
    struct fake *fake = fake_of(keymanager);
    (void)pthread_mutex_lock(&fake->lock);
    unsigned most = fake->most;
    (void)pthread_mutex_unlock(&fake->lock);
    return most;
}

size_t fake_record_count(struct keymanager *keymanager)
{
    struct fake *fake = fake_of(keymanager);
    size_t count = 0;
    (void)pthread_mutex_lock(&fake->lock);
    for (size_t i = 0; i < fake->record_count; i++)
        count += fake->records[i].shown.state == ROOT_KEY_ACTIVE;
    (void)pthread_mutex_unlock(&fake->lock);
    return count;
}

bool fake_record_set_state(struct keymanager *keymanager, const char *name,
                           enum root_key_state state)
{
    struct fake *fake = fake_of(keymanager);
    struct fake_record *found = NULL;
    (void)pthread_mutex_lock(&fake->lock);
    for (size_t i = 0; i < fake->record_count; i++)
        if (strcmp(fake->records[i].shown.name, name) == 0)
            found = &fake->records[i]; /* the newest */
    if (found != NULL)
        found->shown.state = state;
    (void)pthread_mutex_unlock(&fake->lock);
    return found != NULL;
}

void fake_watch(struct keymanager *keymanager, fake_step *step, void *context)
{
    struct fake *fake = fake_of(keymanager);
    (void)pthread_mutex_lock(&fake->lock);
    fake->step = step;
    fake->step_context = context;
    (void)pthread_mutex_unlock(&fake->lock);
}

bool fake_record_find(struct keymanager *keymanager, const char *name, struct uuid *ret_id)
{
    struct fake *fake = fake_of(keymanager);
    bool found = false;
    (void)pthread_mutex_lock(&fake->lock);
    for (size_t i = 0; i < fake->record_count; i++)
        if (fake->records[i].shown.state == ROOT_KEY_ACTIVE &&
            strcmp(fake->records[i].shown.name, name) == 0) {
            *ret_id = fake->records[i].shown.id;
            found = true;
        }
    (void)pthread_mutex_unlock(&fake->lock);
    return found;
}
