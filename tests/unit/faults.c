/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "keymanager/keymanager.h"
#include "store/store.h"

/* ---- Allocations ---- */

struct plan {
    bool armed;
    bool forever;
    bool failed;
    size_t left; /* calls that succeed before */
};

static _Thread_local struct plan allocations;

static bool fails(struct plan *plan)
{
    if (!plan->armed)
        return false;
    if (plan->left > 0) {
        plan->left--;
        return false;
    }
    if (plan->failed && !plan->forever)
        return false;
    plan->failed = true;
    return true;
}

void faults_allocations(size_t at, bool forever)
{
    allocations = (struct plan){.armed = true, .forever = forever, .left = at};
}

void faults_allocations_end(void)
{
    allocations.armed = false;
}

bool faults_allocation_failed(void)
{
    return allocations.failed;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails(&allocations) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(&allocations) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails(&allocations) ? NULL : __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    return fails(&allocations) ? NULL : __real_reallocarray(memory, count, size);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size == 0 || fails(&allocations) ? NULL : __real_malloc(size);
}

static void *openssl_realloc(void *memory, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails(&allocations) ? NULL : __real_realloc(memory, size);
}

static void openssl_free(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

void faults_take_openssl(void)
{
    if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1)
        abort(); /* something was allocated before */
}

/* ---- Calls of store and key manager ---- */

static struct plan calls;
static enum status call_status;
static enum status health;

void faults_calls(size_t at, enum status status, bool forever)
{
    calls = (struct plan){.armed = status != STATUS_OK, .forever = forever, .left = at};
    call_status = status;
}

bool faults_call_failed(void)
{
    return calls.failed;
}

void faults_health(enum status status)
{
    health = status;
}

enum status __real_store_get(struct store_session *session, int64_t adapter, const struct uuid *id,
                             struct stored_object **ret_object);
enum status __wrap_store_get(struct store_session *session, int64_t adapter, const struct uuid *id,
                             struct stored_object **ret_object);
enum status __real_store_find(struct store_session *session, const struct store_query *query,
                              store_visit *visit, void *context, int64_t *ret_next);
enum status __wrap_store_find(struct store_session *session, const struct store_query *query,
                              store_visit *visit, void *context, int64_t *ret_next);
enum status __real_store_health(struct store *store);
enum status __wrap_store_health(struct store *store);
enum status __real_keymanager_wrap(struct keymanager *keymanager,
                                   const struct wrap_binding *binding,
                                   const struct secret *plaintext, struct buffer *ret_wrapped);
enum status __wrap_keymanager_wrap(struct keymanager *keymanager,
                                   const struct wrap_binding *binding,
                                   const struct secret *plaintext, struct buffer *ret_wrapped);
enum status __real_keymanager_unwrap(struct keymanager *keymanager,
                                     const struct wrap_binding *binding, struct wrapped wrapped,
                                     struct secret *ret_plaintext);
enum status __wrap_keymanager_unwrap(struct keymanager *keymanager,
                                     const struct wrap_binding *binding, struct wrapped wrapped,
                                     struct secret *ret_plaintext);

enum status __wrap_store_get(struct store_session *session, int64_t adapter, const struct uuid *id,
                             struct stored_object **ret_object)
{
    return fails(&calls) ? call_status : __real_store_get(session, adapter, id, ret_object);
}

enum status __wrap_store_find(struct store_session *session, const struct store_query *query,
                              store_visit *visit, void *context, int64_t *ret_next)
{
    return fails(&calls) ? call_status
                         : __real_store_find(session, query, visit, context, ret_next);
}

enum status __wrap_store_health(struct store *store)
{
    return health != STATUS_OK ? health : __real_store_health(store);
}

enum status __wrap_keymanager_wrap(struct keymanager *keymanager,
                                   const struct wrap_binding *binding,
                                   const struct secret *plaintext, struct buffer *ret_wrapped)
{
    return fails(&calls) ? call_status
                         : __real_keymanager_wrap(keymanager, binding, plaintext, ret_wrapped);
}

enum status __wrap_keymanager_unwrap(struct keymanager *keymanager,
                                     const struct wrap_binding *binding, struct wrapped wrapped,
                                     struct secret *ret_plaintext)
{
    return fails(&calls) ? call_status
                         : __real_keymanager_unwrap(keymanager, binding, wrapped, ret_plaintext);
}
