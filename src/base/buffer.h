/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a hard maximum: a buffer without one cannot be made. After the first
 * failure the buffer is in error and every append does nothing, so that a writer may check once at
 * the end. Not for plaintext keys: those go to struct secret or to a buffer over locked memory
 * made with buffer_over(). One thread at a time.
 */
#ifndef KMIPD_BASE_BUFFER_H
#define KMIPD_BASE_BUFFER_H

#include "base/bytes.h"
#include "base/status.h"

struct buffer {
    uint8_t *data;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes there */
    size_t maximum;  /* never grows beyond this */
    bool fixed;      /* the memory is the caller's and cannot grow */
    enum status status;
};

/* An empty buffer that may grow to `maximum` bytes. Allocates nothing yet. End: buffer_free(). */
void buffer_init(struct buffer *buffer, size_t maximum);

/* An empty buffer over the caller's `capacity` bytes, which it never outgrows. */
void buffer_over(struct buffer *buffer, void *memory, size_t capacity);

/* Wipes what was used and frees what buffer_init() grew. The buffer is empty and usable after. */
void buffer_free(struct buffer *buffer);

/* Wipes what was used, keeps the memory, clears the error. */
void buffer_reset(struct buffer *buffer);

/*
 * Makes room for `size` more bytes and returns where they go (already counted as used), or NULL
 * when the maximum or the memory is exhausted; the buffer is then in error. The pointer is valid
 * until the next call that appends.
 */
uint8_t *buffer_reserve(struct buffer *buffer, size_t size);

void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_append_bytes(struct buffer *buffer, struct bytes bytes);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_format(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);

/* STATUS_OK, STATUS_TOO_LARGE (the maximum was reached) or STATUS_NO_MEMORY. */
enum status buffer_status(const struct buffer *buffer) MUST_USE;

/* The content; valid until the next change of the buffer. */
static inline struct bytes buffer_bytes(const struct buffer *buffer)
{
    return (struct bytes){buffer->data, buffer->size};
}

#endif
