/* SPDX-License-Identifier: Apache-2.0 */
/* What people paste: PEM (RFC 7468) with text, blanks and line ends of every kind around it.
 * Inside src/crypto/ only. */
#ifndef KMIPD_CRYPTO_PEM_H
#define KMIPD_CRYPTO_PEM_H

#include "base/buffer.h"
#include "base/error.h"

#define PEM_TEXT_MAX 65536

enum pem_kind { PEM_CERTIFICATE, PEM_REQUEST };

/*
 * Appends to an empty buffer the DER of the only block in `text`, which must be of that kind.
 * STATUS_INVALID_ARGUMENT with a text that says what was found instead; STATUS_NO_MEMORY.
 */
enum status pem_parse_one(struct bytes text, enum pem_kind kind, struct buffer *ret_der,
                          struct error *error) MUST_USE;

#endif
