/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keyprotect_envelope.h"

#include "base/hex.h"

#define FLAG_AAD 1
#define PREFIX   (1 + sizeof(struct uuid))

enum status kp_wrapped_key_write(const struct kp_wrapped_key *key, struct buffer *buffer)
{
    uint8_t flags = key->aad ? FLAG_AAD : 0;
    if (key->ciphertext.size == 0 || key->ciphertext.size > ENVELOPE_WRAPPED_MAX - PREFIX)
        return STATUS_TOO_LARGE;
    buffer_append(buffer, &flags, sizeof(flags));
    buffer_append_bytes(buffer, uuid_bytes(&key->version));
    buffer_append_bytes(buffer, key->ciphertext);
    return buffer_status(buffer);
}

/* It goes into JSON as it is. */
static bool is_text(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7F || text.data[i] == '"' ||
            text.data[i] == '\\')
            return false;
    return true;
}

enum status kp_wrapped_key_read(struct bytes field, struct kp_wrapped_key *ret_key)
{
    if (field.size <= PREFIX || (field.data[0] & ~FLAG_AAD) != 0)
        return STATUS_UNWRAP_FAILED;
    struct kp_wrapped_key key = {
        .aad = field.data[0] == FLAG_AAD,
        .ciphertext = bytes_of(field.data + PREFIX, field.size - PREFIX),
    };
    memcpy(&key.version, field.data + 1, sizeof(key.version));
    if (!is_text(key.ciphertext))
        return STATUS_UNWRAP_FAILED;
    *ret_key = key;
    return STATUS_OK;
}

void kp_aad_text(const struct wrap_binding *binding, char ret_text[static KP_AAD_LENGTH + 1])
{
    hex_encode(uuid_bytes(&binding->object), ret_text);
    hex_encode(uuid_bytes(&binding->adapter), ret_text + 32);
    hex_text(uuid_bytes(&binding->root_key), ret_text + 64);
}
