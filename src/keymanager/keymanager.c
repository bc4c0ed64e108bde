/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keymanager.h"

enum status keymanager_wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                            const struct secret *plaintext, struct buffer *ret_wrapped)
{
    if (plaintext->data == NULL)
        return STATUS_INVALID_ARGUMENT;
    if (plaintext->size > KEYMANAGER_PLAINTEXT_MAX)
        return STATUS_TOO_LARGE;
    size_t before = ret_wrapped->size;
    enum status status = keymanager->provider->wrap(keymanager, binding, plaintext, ret_wrapped);
    if (status != STATUS_OK && ret_wrapped->size > before)
        ret_wrapped->size = before;
    return status;
}

enum status keymanager_unwrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                              struct wrapped wrapped, struct secret *ret_plaintext)
{
    if (wrapped.blob.size == 0 ||
        wrapped.blob.size > KEYMANAGER_PLAINTEXT_MAX + WRAPPED_OVERHEAD_MAX)
        return STATUS_UNWRAP_FAILED;
    return keymanager->provider->unwrap(keymanager, binding, wrapped, ret_plaintext);
}

enum status keymanager_create_root_key(struct keymanager *keymanager, int64_t now,
                                       struct uuid *ret_root_key, struct error *error)
{
    if (now < 0)
        return error_set(error, STATUS_INVALID_ARGUMENT, "the time lies before 1970");
    return keymanager->provider->create_root_key(keymanager, now, ret_root_key, error);
}

enum status keymanager_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                                     struct root_key_info *ret_info)
{
    return keymanager->provider->root_key_info(keymanager, root_key, ret_info);
}

void keymanager_close(struct keymanager *keymanager)
{
    if (keymanager != NULL)
        keymanager->provider->close(keymanager);
}
