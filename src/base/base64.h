/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648). Decoding is strict: no white space, no bits beyond the bytes, padding as the
 * form has it, so that each run of bytes has one text only. */
#ifndef KMIPD_BASE_BASE64_H
#define KMIPD_BASE_BASE64_H

#include "base/buffer.h"

enum base64_form {
    BASE64_STANDARD, /* §4: '+', '/', padded with '=' */
    BASE64_URL,      /* §5: '-', '_', without padding (RFC 7515 §2) */
};

/* Characters of `size` bytes, without a NUL. */
size_t base64_length(enum base64_form form, size_t size);

/* Appends; the buffer's status tells of a failure. */
void base64_encode(enum base64_form form, struct bytes bytes, struct buffer *buffer);

/* Bytes that the text stands for if it is well-formed; at most so many otherwise. */
size_t base64_decoded_size(enum base64_form form, struct bytes text);

/* Writes exactly base64_decoded_size() bytes. False, and what was written wiped, if the text is
 * not well-formed. */
bool base64_decode(enum base64_form form, struct bytes text, uint8_t *ret_bytes) MUST_USE;

#endif
