/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keymanagers.h"

#include "keymanager/blob.h"
#include "keymanager/envelope.h"

struct keymanager *keymanagers_get(const struct keymanagers *keymanagers, enum keymanager_code code)
{
    return code > KEYMANAGER_NONE && code <= KEYMANAGER_CODE_MAX ? keymanagers->by_code[code]
                                                                 : NULL;
}

enum status wrapped_origin(struct wrapped wrapped, struct wrapped_origin *ret_origin)
{
    struct envelope envelope;
    ret_origin->code = KEYMANAGER_SEALED_FILE;
    if (blob_origin(wrapped.blob, &ret_origin->version, &ret_origin->binding) == STATUS_OK)
        return STATUS_OK;
    enum status status = envelope_read(wrapped.blob, NULL, &envelope);
    if (status != STATUS_OK)
        return status;
    *ret_origin = (struct wrapped_origin){
        .code = envelope.code, .version = envelope.version, .binding = envelope.binding};
    return STATUS_OK;
}

enum status keymanagers_of(const struct keymanagers *keymanagers, struct wrapped wrapped,
                           const struct uuid *object, const struct uuid *adapter,
                           struct keymanager **ret_keymanager, struct wrap_binding *ret_binding)
{
    struct wrapped_origin origin;
    enum status status = wrapped_origin(wrapped, &origin);
    if (status != STATUS_OK)
        return status;
    if (!uuid_equal(&origin.binding.object, object) || !uuid_equal(&origin.binding.adapter, adapter))
        return STATUS_UNWRAP_FAILED;
    struct keymanager *keymanager = keymanagers_get(keymanagers, origin.code);
    if (keymanager == NULL)
        return STATUS_KEY_MANAGER_UNAVAILABLE;
    *ret_keymanager = keymanager;
    *ret_binding = origin.binding;
    return STATUS_OK;
}
