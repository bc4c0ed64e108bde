/* SPDX-License-Identifier: Apache-2.0 */
/* What stands as the wrapped envelope key in blobs of Key Protect (docs/formats.md). Pure. */
#ifndef KMIPD_KEYMANAGER_KEYPROTECT_ENVELOPE_H
#define KMIPD_KEYMANAGER_KEYPROTECT_ENVELOPE_H

#include "keymanager/envelope.h"

#define KP_AAD_LENGTH 96 /* characters; the service allows 255 */

struct kp_wrapped_key {
    bool aad;            /* the service was given the binding as additional authenticated data */
    struct uuid version; /* of the root key; all zero: the service did not say */
    struct bytes ciphertext; /* the service's text; borrowed */
};

/* TOO_LARGE where ENVELOPE_WRAPPED_MAX does not hold it. */
enum status kp_wrapped_key_write(const struct kp_wrapped_key *key, struct buffer *buffer) MUST_USE;

/* UNWRAP_FAILED: it is none. */
enum status kp_wrapped_key_read(struct bytes field, struct kp_wrapped_key *ret_key) MUST_USE;

/* Object, adapter and root key in hexadecimal, and a NUL. */
void kp_aad_text(const struct wrap_binding *binding, char ret_text[static KP_AAD_LENGTH + 1]);

#endif
