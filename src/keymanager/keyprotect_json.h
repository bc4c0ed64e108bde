/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads JSON (RFC 8259) where it lies: nothing is allocated and nothing copied, because the
 * answers that are read so have keys and tokens in them, which must not be left behind in memory
 * that a JSON library manages. Strict: the whole text is checked before anything of it is used.
 * "kp" stands for Key Protect in this directory.
 */
#ifndef KMIPD_KEYMANAGER_KEYPROTECT_JSON_H
#define KMIPD_KEYMANAGER_KEYPROTECT_JSON_H

#include "base/buffer.h"

#define KP_JSON_DEPTH_MAX 32

enum kp_json_type {
    KP_JSON_NULL,
    KP_JSON_BOOLEAN,
    KP_JSON_NUMBER,
    KP_JSON_STRING,
    KP_JSON_ARRAY,
    KP_JSON_OBJECT,
};

/* A value, as it is written; borrowed from the text. */
struct kp_json {
    enum kp_json_type type;
    struct bytes text;
};

/* False unless the text is one well-formed value in UTF-8, at most KP_JSON_DEPTH_MAX deep. */
bool kp_json_read(struct bytes text, struct kp_json *ret_value) MUST_USE;

/* The member of an object with this name (case counts). False: no object, no such member, or more
 * than one, of which nobody could say which is meant. */
bool kp_json_member(struct kp_json object, const char *name, struct kp_json *ret_value) MUST_USE;

/* As kp_json_member(), and of this type. */
bool kp_json_member_of(struct kp_json object, const char *name, enum kp_json_type type,
                       struct kp_json *ret_value) MUST_USE;

/* The elements of an array, one a call, with *position 0 before the first. False after the last. */
bool kp_json_next(struct kp_json array, size_t *position, struct kp_json *ret_value) MUST_USE;

/* Appends what a string stands for, in UTF-8. False: no string, or one with U+0000 or half a
 * surrogate pair in it, or the buffer is full; what was appended is cut off then. */
bool kp_json_text(struct kp_json string, struct buffer *buffer) MUST_USE;

/* The same into `room` bytes, with a NUL behind. */
bool kp_json_copy(struct kp_json string, char *ret_text, size_t room) MUST_USE;

/* The characters between the quotes of a string without any escape. False if it has one. */
bool kp_json_plain(struct kp_json string, struct bytes *ret_text) MUST_USE;

/* A number without fraction and exponent that fits. */
bool kp_json_integer(struct kp_json number, int64_t *ret_integer) MUST_USE;

/* Appends `text` as a JSON string, quotes included. It must be UTF-8. */
void kp_json_write(struct buffer *buffer, struct bytes text);

#endif
