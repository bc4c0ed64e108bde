/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KMIPD_BASE_HEX_H
#define KMIPD_BASE_HEX_H

#include "base/bytes.h"
#include "base/compiler.h"

/* Writes 2 * bytes.size lower-case digits; no NUL. */
void hex_encode(struct bytes bytes, char *ret_text);

/* As hex_encode(), and a NUL behind: the room must be 2 * bytes.size + 1. */
void hex_text(struct bytes bytes, char *ret_text);

/* Parses exactly 2 * size digits of either case. False for anything else. */
bool hex_decode(struct bytes text, uint8_t *ret_bytes, size_t size) MUST_USE;

#endif
