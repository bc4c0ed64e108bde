/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plaintext key bytes, and nothing else that is secret-bearing, live in struct secret: in the
 * locked, non-dumpable heap of OpenSSL (CRYPTO_secure_malloc), wiped when freed. That heap gives
 * ordinary memory when it was not initialised, and NULL when it is full: secret_heap_init() must
 * have succeeded before, and secret_allocate() checks that the memory really is of that heap.
 */
#ifndef KMIPD_BASE_SECRET_H
#define KMIPD_BASE_SECRET_H

#include "base/bytes.h"
#include "base/error.h"

struct secret {
    uint8_t *data;
    size_t size;
};

/*
 * Makes the heap of `size` bytes (a power of two) and locks it. Once per process, before any
 * secret is made. Fails closed: STATUS_IO with a text when the memory cannot be locked (then
 * RLIMIT_MEMLOCK is too small) or guarded.
 */
enum status secret_heap_init(size_t size, struct error *error) MUST_USE;

/* True when more than half of it is in use: secrets that would stay for a while are then better not
 * made, so that those that come and go have room. Any thread. */
bool secret_heap_is_crowded(void);

/*
 * Makes the process not dumpable (PR_SET_DUMPABLE 0, RLIMIT_CORE 0): no core file, no ptrace by
 * the same user. STATUS_IO with a text if either is refused.
 */
enum status secret_protect_process(struct error *error) MUST_USE;

/*
 * `size` zeroed bytes of the secret heap in an unused (zeroed or freed) secret. STATUS_NO_MEMORY
 * when the heap is full or was never made. End: secret_free(). Any thread.
 */
enum status secret_allocate(struct secret *secret, size_t size) MUST_USE;

/* Wipes and frees; a zeroed secret is fine. The secret is zeroed after. */
void secret_free(struct secret *secret);

/* Allocates and fills with random bytes of OpenSSL's private generator (RAND_priv_bytes). */
enum status secret_random(struct secret *secret, size_t size) MUST_USE;

/* Allocates and copies. */
enum status secret_copy(struct secret *secret, struct bytes bytes) MUST_USE;

/* Compares in time that depends on the sizes alone. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* The plaintext, borrowed until secret_free(). */
static inline struct bytes secret_bytes(const struct secret *secret)
{
    return (struct bytes){secret->data, secret->size};
}

/* Gives the caller's secret to another owner; the source is zeroed. */
static inline struct secret secret_take(struct secret *secret)
{
    struct secret taken = *secret;
    *secret = (struct secret){0};
    return taken;
}

/*
 * Locked memory outside the small secret heap, for buffers that carry plaintext on its way out
 * (replies). mmap, mlock, MADV_DONTDUMP, MADV_WIPEONFORK; whole pages. NULL when it cannot be
 * locked. End: locked_free() with the same size, which wipes.
 */
void *locked_allocate(size_t size);
void locked_free(void *memory, size_t size);

#endif
