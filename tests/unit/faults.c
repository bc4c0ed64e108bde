/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

#include <openssl/crypto.h>
#include <stdlib.h>

static _Thread_local struct fault_plan allocations;

void faults_allocations(size_t at, bool forever)
{
    allocations = (struct fault_plan){.armed = true, .forever = forever, .left = at};
}

void faults_allocations_end(void)
{
    allocations.armed = false;
}

bool faults_allocation_failed(void)
{
    return allocations.failed;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);

void *__wrap_malloc(size_t size)
{
    return fault_now(&allocations) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fault_now(&allocations) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fault_now(&allocations) ? NULL : __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    return fault_now(&allocations) ? NULL : __real_reallocarray(memory, count, size);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size == 0 || fault_now(&allocations) ? NULL : __real_malloc(size);
}

static void *openssl_realloc(void *memory, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return fault_now(&allocations) ? NULL : __real_realloc(memory, size);
}

static void openssl_free(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

void faults_take_openssl(void)
{
    if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1)
        abort(); /* something was allocated before */
}
