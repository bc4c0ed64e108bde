/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KMIPD_BASE_UTF8_H
#define KMIPD_BASE_UTF8_H

#include "base/bytes.h"

/*
 * The number of bytes (1 to 4) of the character that `text` begins with; 0 when it begins with
 * none: not well-formed UTF-8 (RFC 3629: shortest form, no surrogates, at most U+10FFFF), cut
 * short, or empty. U+0000 is a character of one byte.
 */
size_t utf8_character(struct bytes text, uint32_t *ret_code);

#endif
