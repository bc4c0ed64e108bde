/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keymanager.h"

#define CALL(keymanager, function, ...)             \
    ((keymanager)->provider->function == NULL       \
         ? STATUS_FEATURE_NOT_SUPPORTED             \
         : (keymanager)->provider->function((keymanager), __VA_ARGS__))

static const struct {
    enum keymanager_code code;
    const char *name;
} names[] = {
#define KEY_MANAGER(code, number, name, text) {KEYMANAGER_##code, name},
#include "key_managers.def"
#undef KEY_MANAGER
};

const char *keymanager_code_name(enum keymanager_code code)
{
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (names[i].code == code)
            return names[i].name;
    return NULL;
}

enum keymanager_code keymanager_code_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (strcmp(names[i].name, name) == 0)
            return names[i].code;
    return KEYMANAGER_NONE;
}

/* ---- Wrapping ---- */

static enum status cut_back(struct buffer *buffer, size_t size, enum status status)
{
    if (status != STATUS_OK && buffer != NULL && buffer->size > size)
        buffer->size = size;
    return status;
}

enum status keymanager_wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                            const struct secret *plaintext, struct buffer *ret_wrapped)
{
    if (plaintext->data == NULL)
        return STATUS_INVALID_ARGUMENT;
    if (plaintext->size > KEYMANAGER_PLAINTEXT_MAX)
        return STATUS_TOO_LARGE;
    size_t before = ret_wrapped->size;
    return cut_back(ret_wrapped, before,
                    keymanager->provider->wrap(keymanager, binding, plaintext, ret_wrapped));
}

static bool has_size_of_wrapped(struct wrapped wrapped)
{
    return wrapped.blob.size > 0 &&
           wrapped.blob.size <= KEYMANAGER_PLAINTEXT_MAX + WRAPPED_OVERHEAD_MAX;
}

enum status keymanager_unwrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                              struct wrapped wrapped, struct secret *ret_plaintext,
                              struct buffer *ret_rewrapped)
{
    if (!has_size_of_wrapped(wrapped))
        return STATUS_UNWRAP_FAILED;
    size_t before = ret_rewrapped != NULL ? ret_rewrapped->size : 0;
    return cut_back(ret_rewrapped, before,
                    keymanager->provider->unwrap(keymanager, binding, wrapped, ret_plaintext,
                                                 ret_rewrapped));
}

enum status keymanager_rewrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                              struct wrapped wrapped, struct buffer *ret_wrapped)
{
    if (!has_size_of_wrapped(wrapped))
        return STATUS_UNWRAP_FAILED;
    size_t before = ret_wrapped->size;
    return cut_back(ret_wrapped, before,
                    CALL(keymanager, rewrap, binding, wrapped, ret_wrapped));
}

static enum status do_job(struct keymanager *keymanager, struct keymanager_job *job)
{
    switch (job->task) {
    case KEYMANAGER_WRAP:
        return keymanager_wrap(keymanager, &job->binding, &job->plaintext, &job->ret_wrapped);
    case KEYMANAGER_UNWRAP:
        return keymanager_unwrap(keymanager, &job->binding, job->wrapped, &job->plaintext,
                                 &job->ret_wrapped);
    case KEYMANAGER_REWRAP:
        return keymanager_rewrap(keymanager, &job->binding, job->wrapped, &job->ret_wrapped);
    case KEYMANAGER_RECORD:
        return keymanager_record_put(keymanager, job->record_name, job->record, &job->record_id,
                                     NULL);
    }
    return STATUS_INTERNAL;
}

void keymanager_submit(struct keymanager *keymanager, struct keymanager_job *jobs)
{
    if (jobs != NULL && keymanager->provider->submit != NULL) {
        keymanager->provider->submit(keymanager, jobs);
        return;
    }
    while (jobs != NULL) {
        struct keymanager_job *job = jobs;
        jobs = job->next;
        job->next = NULL;
        job->status = do_job(keymanager, job);
        job->done(job);
    }
}

/* ---- Root keys ---- */

static enum status check_material(const struct secret *material, struct error *error)
{
    size_t size = material != NULL ? material->size : 32;
    if (size == 16 || size == 24 || size == 32)
        return STATUS_OK;
    return error_set(error, STATUS_INVALID_ARGUMENT,
                     "a root key of %zu bytes: it must be " KEYMANAGER_ROOT_KEY_SIZES, size);
}

enum status keymanager_create_root_key(struct keymanager *keymanager,
                                       const struct root_key_wish *wish,
                                       struct uuid *ret_root_key, struct error *error)
{
    if (wish->now < 0)
        return error_set(error, STATUS_INVALID_ARGUMENT, "the time lies before 1970");
    enum status status = check_material(wish->material, error);
    if (status != STATUS_OK)
        return status;
    return CALL(keymanager, create_root_key, wish, ret_root_key, error);
}

enum status keymanager_rotate(struct keymanager *keymanager, const struct uuid *root_key,
                              uint32_t from, const struct secret *material, int64_t now,
                              struct error *error)
{
    enum status status = check_material(material, error);
    if (status != STATUS_OK)
        return status;
    return CALL(keymanager, rotate, root_key, from, material, now, error);
}

enum status keymanager_set_state(struct keymanager *keymanager, const struct uuid *root_key,
                                 enum root_key_state state, struct error *error)
{
    if (state != ROOT_KEY_ACTIVE && state != ROOT_KEY_SUSPENDED)
        return STATUS_INVALID_ARGUMENT;
    return CALL(keymanager, set_state, root_key, state, error);
}

enum status keymanager_delete(struct keymanager *keymanager, const struct uuid *root_key,
                              int64_t now, struct error *error)
{
    return CALL(keymanager, delete, root_key, now, error);
}

enum status keymanager_restore(struct keymanager *keymanager, const struct uuid *root_key,
                               struct error *error)
{
    return CALL(keymanager, restore, root_key, error);
}

enum status keymanager_purge(struct keymanager *keymanager, const struct uuid *root_key,
                             struct error *error)
{
    return CALL(keymanager, purge, root_key, error);
}

enum status keymanager_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                                     struct root_key_info *ret_info)
{
    return keymanager->provider->root_key_info(keymanager, root_key, ret_info);
}

enum status keymanager_root_keys(struct keymanager *keymanager, keymanager_visit_root_key *visit,
                                 void *context)
{
    return CALL(keymanager, root_keys, visit, context);
}

enum status keymanager_is_newest(struct keymanager *keymanager, struct wrapped wrapped,
                                 bool *ret_newest)
{
    return CALL(keymanager, is_newest, wrapped, ret_newest);
}

enum status keymanager_check(struct keymanager *keymanager, struct error *error)
{
    return CALL(keymanager, check, error);
}

/* ---- Records ---- */

bool keymanager_keeps_records(const struct keymanager *keymanager)
{
    return keymanager->provider->record_put != NULL;
}

enum status keymanager_record_put(struct keymanager *keymanager, const char *name,
                                  struct bytes record, struct uuid *ret_id, struct error *error)
{
    if (record.size > KEYMANAGER_RECORD_MAX)
        return error_set(error, STATUS_TOO_LARGE, "a record of %zu bytes: %zu are allowed",
                         record.size, KEYMANAGER_RECORD_MAX);
    return CALL(keymanager, record_put, name, record, ret_id, error);
}

enum status keymanager_record_get(struct keymanager *keymanager, const struct uuid *id,
                                  struct buffer *ret_record, struct error *error)
{
    return CALL(keymanager, record_get, id, ret_record, error);
}

enum status keymanager_record_delete(struct keymanager *keymanager, const struct uuid *id,
                                     struct error *error)
{
    return CALL(keymanager, record_delete, id, error);
}

enum status keymanager_records(struct keymanager *keymanager, const char *prefix,
                               keymanager_visit_record *visit, void *context, struct error *error)
{
    return CALL(keymanager, records, prefix, visit, context, error);
}

void keymanager_close(struct keymanager *keymanager)
{
    if (keymanager != NULL)
        keymanager->provider->close(keymanager);
}
