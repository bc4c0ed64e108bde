/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data encryption keys: what encrypts a disk, made here and never sent anywhere. At rest they are
 * wrapped by the key that the KMIP server keeps (the KEK): XAES-256-GCM (crypto/aead.h), bound to
 * the KEK's identifier and to what the disk belongs to.
 */
#ifndef KMIPD_SIM_DEK_H
#define KMIPD_SIM_DEK_H

#include "base/secret.h"
#include "crypto/aead.h"

#define DEK_SIZE         64 /* two AES-256 keys, as XTS needs (IEEE 1619) */
#define DEK_WRAPPED_SIZE (DEK_SIZE + AEAD_OVERHEAD)

struct wrapped_dek {
    uint8_t bytes[DEK_WRAPPED_SIZE];
};

/* A new random one. */
enum status dek_make(struct secret *ret_dek) MUST_USE;

/* INVALID_ARGUMENT unless the KEK has 32 bytes. `owner` is whose disk it is (a UUID). */
enum status dek_wrap(const struct secret *kek, const char *kek_id, const char *owner,
                     const struct secret *dek, struct wrapped_dek *ret_wrapped) MUST_USE;

/* UNWRAP_FAILED: another KEK, another identifier or owner, or changed. */
enum status dek_unwrap(const struct secret *kek, const char *kek_id, const char *owner,
                       const struct wrapped_dek *wrapped, struct secret *ret_dek) MUST_USE;

#endif
