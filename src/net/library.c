/* SPDX-License-Identifier: Apache-2.0 */
#include "net/library.h"

#include <openssl/core_dispatch.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

#define SHOWN_MAX 31

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct library {
    OSSL_LIB_CTX *context;
    OSSL_PROVIDER *provider;
} libraries[64];

/* Made once, before the first context, then only read. */
static OSSL_PROVIDER *original;
static OSSL_ALGORITHM keys[SHOWN_MAX + 1];
static OSSL_ALGORITHM decoders[SHOWN_MAX + 1];

/* Keys of certificates and key shares, and HMAC, which TLS 1.2 keeps as a key with AES-CBC. */
static const char *const key_names[] = {"RSA",     "RSA-PSS", "EC",  "X25519",
                                        "ED25519", "ED448",   "HMAC"};

/* The first of "RSA:rsaEncryption:1.2.840.113549.1.1.1". */
static bool has_name(const OSSL_ALGORITHM *algorithm, const char *name)
{
    size_t length = strlen(name);
    const char *names = algorithm->algorithm_names;
    return strncmp(names, name, length) == 0 && (names[length] == ':' || names[length] == '\0');
}

static bool is_key(const OSSL_ALGORITHM *algorithm)
{
    for (size_t i = 0; i < ARRAY_COUNT(key_names); ++i)
        if (has_name(algorithm, key_names[i]))
            return true;
    return false;
}

/* A certificate holds a SubjectPublicKeyInfo (RFC 5280 §4.1). */
static bool is_decoder(const OSSL_ALGORITHM *algorithm)
{
    return is_key(algorithm) &&
           strstr(algorithm->property_definition, "structure=SubjectPublicKeyInfo") != NULL;
}

static void show(int operation, bool (*wanted)(const OSSL_ALGORITHM *), OSSL_ALGORITHM *ret_shown)
{
    int no_cache = 0;
    size_t count = 0;
    const OSSL_ALGORITHM *all = OSSL_PROVIDER_query_operation(original, operation, &no_cache);
    for (; all != NULL && all->algorithm_names != NULL && count < SHOWN_MAX; ++all)
        if (wanted(all))
            ret_shown[count++] = *all;
}

/* At the end of the process, when no thread uses them. OpenSSL's own end does it for the default
 * context alone, and would leave random number generators behind that are not wiped. */
static void free_libraries(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(libraries); ++i) {
        if (libraries[i].context == NULL)
            continue;
        (void)OSSL_PROVIDER_unload(libraries[i].provider);
        OSSL_LIB_CTX_free(libraries[i].context);
    }
}

static void look_at_default(void)
{
    (void)atexit(free_libraries);
    original = OSSL_PROVIDER_load(NULL, "default");
    if (original == NULL)
        return;
    show(OSSL_OP_KEYMGMT, is_key, keys);
    show(OSSL_OP_DECODER, is_decoder, decoders);
}

/* The provider. Its context is the default provider's, whose functions it hands out. */

static const OSSL_ALGORITHM *query(void *context, int operation, int *ret_no_cache)
{
    *ret_no_cache = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT:
        return keys;
    case OSSL_OP_DECODER:
        return decoders;
    case OSSL_OP_ENCODER:
    case OSSL_OP_STORE:
        return NULL;
    default:
        return OSSL_PROVIDER_query_operation(original, operation, ret_no_cache);
    }
}

static int get_capabilities(void *context, const char *name, OSSL_CALLBACK *callback,
                            void *argument)
{
    return OSSL_PROVIDER_get_capabilities(original, name, callback, argument);
}

static int start(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *offered,
                 const OSSL_DISPATCH **ret_functions, void **ret_context)
{
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
        {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))get_capabilities},
        {0, NULL},
    };
    *ret_functions = functions;
    *ret_context = OSSL_PROVIDER_get0_provider_ctx(original);
    return 1;
}

static void make(struct library *ret_library)
{
    struct library made = {.context = OSSL_LIB_CTX_new()};
    if (made.context != NULL && OSSL_PROVIDER_add_builtin(made.context, "tls", start) == 1)
        made.provider = OSSL_PROVIDER_load(made.context, "tls");
    if (made.provider != NULL) {
        *ret_library = made;
        return;
    }
    ERR_clear_error();
    OSSL_LIB_CTX_free(made.context);
}

OSSL_LIB_CTX *library_get(unsigned index)
{
    if (index >= ARRAY_COUNT(libraries) || EVP_default_properties_is_fips_enabled(NULL))
        return NULL;
    (void)pthread_mutex_lock(&lock);
    if (original == NULL)
        look_at_default();
    if (original != NULL && libraries[index].context == NULL)
        make(&libraries[index]);
    OSSL_LIB_CTX *context = libraries[index].context;
    (void)pthread_mutex_unlock(&lock);
    return context;
}
