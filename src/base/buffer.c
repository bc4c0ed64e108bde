/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAPACITY 256

void buffer_init(struct buffer *buffer, size_t maximum)
{
    *buffer = (struct buffer){.maximum = maximum};
}

void buffer_over(struct buffer *buffer, void *memory, size_t capacity)
{
    *buffer = (struct buffer){
        .data = memory, .capacity = capacity, .maximum = capacity, .fixed = true};
}

void buffer_reset(struct buffer *buffer)
{
    if (buffer->size > 0)
        explicit_bzero(buffer->data, buffer->size);
    buffer->size = 0;
    buffer->status = STATUS_OK;
}

void buffer_free(struct buffer *buffer)
{
    buffer_reset(buffer);
    if (buffer->fixed)
        return;
    free(buffer->data);
    buffer->data = NULL;
    buffer->capacity = 0;
}

/* Not realloc(): the old bytes must be wiped before their memory goes back to the heap. */
static bool grow(struct buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : buffer->capacity;
    while (capacity < needed)
        capacity = capacity > buffer->maximum / 2 ? buffer->maximum : capacity * 2;
    if (capacity > buffer->maximum)
        capacity = buffer->maximum;
    uint8_t *data = malloc(capacity);
    if (data == NULL)
        return false;
    if (buffer->size > 0) {
        memcpy(data, buffer->data, buffer->size);
        explicit_bzero(buffer->data, buffer->size);
    }
    free(buffer->data);
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t size)
{
    static uint8_t nothing[1]; /* NULL would mean failure */
    if (buffer->status != STATUS_OK)
        return NULL;
    if (size == 0 && buffer->data == NULL)
        return nothing;
    if (size > buffer->maximum - buffer->size) {
        buffer->status = STATUS_TOO_LARGE;
        return NULL;
    }
    if (size > buffer->capacity - buffer->size && !grow(buffer, buffer->size + size)) {
        buffer->status = STATUS_NO_MEMORY;
        return NULL;
    }
    uint8_t *place = buffer->data + buffer->size;
    buffer->size += size;
    return place;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    if (size == 0)
        return;
    uint8_t *place = buffer_reserve(buffer, size);
    if (place != NULL)
        memcpy(place, data, size);
}

void buffer_append_bytes(struct buffer *buffer, struct bytes bytes)
{
    buffer_append(buffer, bytes.data, bytes.size);
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        buffer->status = STATUS_NO_MEMORY;
        return;
    }
    buffer_append(buffer, text, (size_t)length);
    free(text);
}

enum status buffer_status(const struct buffer *buffer)
{
    return buffer->status;
}
