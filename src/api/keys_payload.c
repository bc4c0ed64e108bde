/* SPDX-License-Identifier: Apache-2.0 */
#include "api/keys.h"

/* In the place of an adapter: payloads of standard keys, and nothing else. */
static const struct uuid payloads = {{0xB1, 0x5D, 0x0C, 0x6E, 0x3A, 0x27, 0x4F, 0x94, 0x8E, 0x70,
                                      0x41, 0x9B, 0xD2, 0x66, 0x05, 0xF8}};

static enum status find(const struct api_context *context, struct keymanager **ret_keymanager)
{
    *ret_keymanager = keymanagers_get(context->keymanagers, context->local);
    return *ret_keymanager == NULL ? STATUS_KEY_MANAGER_UNAVAILABLE : STATUS_OK;
}

enum status keys_payload_wrap(const struct api_context *context, const struct uuid *key,
                              const struct secret *payload, struct buffer *ret_wrapped)
{
    struct keymanager *keymanager;
    const struct wrap_binding binding = {*key, payloads, context->payload_root_key};
    enum status status = find(context, &keymanager);
    return status == STATUS_OK ? keymanager_wrap(keymanager, &binding, payload, ret_wrapped)
                               : status;
}

enum status keys_payload_unwrap(const struct api_context *context, const struct uuid *key,
                                struct wrapped wrapped, struct secret *ret_payload)
{
    struct keymanager *keymanager;
    const struct wrap_binding binding = {*key, payloads, context->payload_root_key};
    enum status status = find(context, &keymanager);
    return status == STATUS_OK ? keymanager_unwrap(keymanager, &binding, wrapped, ret_payload, NULL)
                               : status;
}
