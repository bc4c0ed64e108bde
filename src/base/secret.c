/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define SMALLEST_PIECE 32

static size_t heap_size;

enum status secret_heap_init(size_t size, struct error *error)
{
    if (CRYPTO_secure_malloc_initialized())
        return STATUS_OK;
    /* 1: locked and guarded; 2: made, but not locked or guarded, which is refused here. */
    if (CRYPTO_secure_malloc_init(size, SMALLEST_PIECE) == 1) {
        heap_size = size;
        return STATUS_OK;
    }
    /* Or the heap that was refused would be there for the next who asks. */
    (void)CRYPTO_secure_malloc_done();
    return error_set(error, STATUS_IO,
                     "cannot lock %zu KiB of memory for keys: raise RLIMIT_MEMLOCK (ulimit -l, or "
                     "LimitMEMLOCK= in the systemd unit)",
                     size / 1024);
}

bool secret_heap_is_crowded(void)
{
    return CRYPTO_secure_used() > heap_size / 2;
}

enum status secret_protect_process(struct error *error)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot forbid core dumps (RLIMIT_CORE)");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot forbid dumps (PR_SET_DUMPABLE)");
    return STATUS_OK;
}

enum status secret_allocate(struct secret *secret, size_t size)
{
    if (!CRYPTO_secure_malloc_initialized())
        return STATUS_NO_MEMORY;
    uint8_t *data = OPENSSL_secure_zalloc(size > 0 ? size : 1);
    if (data == NULL)
        return STATUS_NO_MEMORY;
    *secret = (struct secret){data, size};
    return STATUS_OK;
}

void secret_free(struct secret *secret)
{
    if (secret->data != NULL)
        OPENSSL_secure_clear_free(secret->data, secret->size > 0 ? secret->size : 1);
    *secret = (struct secret){0};
}

enum status secret_random(struct secret *secret, size_t size)
{
    enum status status = secret_allocate(secret, size);
    if (status != STATUS_OK)
        return status;
    if (RAND_priv_bytes_ex(NULL, secret->data, size, 0) == 1)
        return STATUS_OK;
    secret_free(secret);
    return STATUS_CRYPTO_FAILED;
}

enum status secret_copy(struct secret *secret, struct bytes bytes)
{
    enum status status = secret_allocate(secret, bytes.size);
    if (status == STATUS_OK && bytes.size > 0)
        memcpy(secret->data, bytes.data, bytes.size);
    return status;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return a->size == b->size && CRYPTO_memcmp(a->data, b->data, a->size) == 0;
}

void *locked_allocate(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (mlock(memory, size) == 0 && madvise(memory, size, MADV_DONTDUMP) == 0 &&
        madvise(memory, size, MADV_WIPEONFORK) == 0)
        return memory;
    (void)munmap(memory, size);
    return NULL;
}

void locked_free(void *memory, size_t size)
{
    if (memory == NULL)
        return;
    explicit_bzero(memory, size);
    (void)munmap(memory, size);
}
