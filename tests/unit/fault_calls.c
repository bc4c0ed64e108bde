/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_calls.h"

#include "faults.h"
#include "keymanager/keymanager.h"
#include "store/store.h"

static struct fault_plan calls;
static enum status call_status;
static enum status health;

void fault_calls(size_t at, enum status status, bool forever)
{
    calls = (struct fault_plan){.armed = status != STATUS_OK, .forever = forever, .left = at};
    call_status = status;
}

bool fault_call_failed(void)
{
    return calls.failed;
}

void fault_health(enum status status)
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
                                     struct secret *ret_plaintext,
                                     struct buffer *ret_rewrapped);
enum status __wrap_keymanager_unwrap(struct keymanager *keymanager,
                                     const struct wrap_binding *binding, struct wrapped wrapped,
                                     struct secret *ret_plaintext,
                                     struct buffer *ret_rewrapped);

enum status __wrap_store_get(struct store_session *session, int64_t adapter, const struct uuid *id,
                             struct stored_object **ret_object)
{
    return fault_now(&calls) ? call_status : __real_store_get(session, adapter, id, ret_object);
}

enum status __wrap_store_find(struct store_session *session, const struct store_query *query,
                              store_visit *visit, void *context, int64_t *ret_next)
{
    return fault_now(&calls) ? call_status
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
    return fault_now(&calls) ? call_status
                             : __real_keymanager_wrap(keymanager, binding, plaintext, ret_wrapped);
}

enum status __wrap_keymanager_unwrap(struct keymanager *keymanager,
                                     const struct wrap_binding *binding, struct wrapped wrapped,
                                     struct secret *ret_plaintext,
                                     struct buffer *ret_rewrapped)
{
    return fault_now(&calls)
               ? call_status
               : __real_keymanager_unwrap(keymanager, binding, wrapped, ret_plaintext,
                                              ret_rewrapped);
}
