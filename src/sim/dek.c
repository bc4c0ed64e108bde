/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/dek.h"

#include <stdio.h>

#define CONTEXT_MAX 512

enum status dek_make(struct secret *ret_dek)
{
    return secret_random(ret_dek, DEK_SIZE);
}

/* What a wrapped key is bound to. Neither part can hold a NUL, so where they end is certain. */
static enum status make_context(const char *kek_id, const char *owner,
                                char context[static CONTEXT_MAX], struct bytes *ret_context)
{
    int length =
        snprintf(context, CONTEXT_MAX, "vsphere-sim DEK%c%s%c%s", '\0', kek_id, '\0', owner);
    if (length < 0 || length >= CONTEXT_MAX)
        return STATUS_TOO_LARGE;
    *ret_context = bytes_of(context, (size_t)length);
    return STATUS_OK;
}

enum status dek_wrap(const struct secret *kek, const char *kek_id, const char *owner,
                     const struct secret *dek, struct wrapped_dek *ret_wrapped)
{
    char memory[CONTEXT_MAX];
    struct bytes context;
    struct aead_key *key = NULL;
    if (dek->size != DEK_SIZE)
        return STATUS_INVALID_ARGUMENT;
    enum status status = make_context(kek_id, owner, memory, &context);
    if (status == STATUS_OK)
        status = aead_key_open(secret_bytes(kek), &key);
    if (status != STATUS_OK)
        return status;
    status = aead_seal(key, context, secret_bytes(dek), ret_wrapped->bytes);
    aead_key_close(key);
    return status;
}

enum status dek_unwrap(const struct secret *kek, const char *kek_id, const char *owner,
                       const struct wrapped_dek *wrapped, struct secret *ret_dek)
{
    char memory[CONTEXT_MAX];
    struct bytes context;
    struct aead_key *key = NULL;
    struct secret dek = {0};
    enum status status = make_context(kek_id, owner, memory, &context);
    if (status == STATUS_OK)
        status = secret_allocate(&dek, DEK_SIZE);
    if (status == STATUS_OK)
        status = aead_key_open(secret_bytes(kek), &key);
    if (status == STATUS_OK &&
        aead_open(key, context, bytes_of(wrapped->bytes, DEK_WRAPPED_SIZE), dek.data) != STATUS_OK)
        status = STATUS_UNWRAP_FAILED;
    aead_key_close(key);
    if (status == STATUS_OK)
        *ret_dek = secret_take(&dek);
    secret_free(&dek);
    return status;
}
