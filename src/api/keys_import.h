/* SPDX-License-Identifier: Apache-2.0 */
/* The key pair of the import token. Inside src/api/ only. */
#ifndef KMIPD_API_KEYS_IMPORT_H
#define KMIPD_API_KEYS_IMPORT_H

#include <openssl/types.h>

#include "api/keys.h"

/* Wraps the private half into a token whose identifier stands. */
enum status import_key_wrap(const struct api_context *context, EVP_PKEY *key,
                            struct kms_import_token *token) MUST_USE;

#endif
