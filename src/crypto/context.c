/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/context.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

/* Fetching is slow: once per process. */
static struct {
    EVP_CIPHER *ecb;
    EVP_CIPHER *gcm;
    EVP_MD *sha256;
    EVP_MD *sha1;
    pthread_key_t key;
    int usable;
} process;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local struct crypto_context *own;

static void context_free(void *memory)
{
    struct crypto_context *context = memory;
    if (context == NULL)
        return;
    EVP_CIPHER_CTX_free(context->ecb);
    EVP_CIPHER_CTX_free(context->gcm);
    EVP_MD_CTX_free(context->digest);
    free(context);
    own = NULL;
}

static void fetch(void)
{
    process.ecb = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
    process.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    process.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    process.sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    process.usable = process.ecb != NULL && process.gcm != NULL && process.sha256 != NULL &&
                     pthread_key_create(&process.key, context_free) == 0;
}

static int context_fill(struct crypto_context *context)
{
    context->sha256 = process.sha256;
    context->sha1 = process.sha1;
    context->ecb = EVP_CIPHER_CTX_new();
    context->gcm = EVP_CIPHER_CTX_new();
    context->digest = EVP_MD_CTX_new();
    return context->ecb != NULL && context->gcm != NULL && context->digest != NULL &&
           EVP_EncryptInit_ex2(context->ecb, process.ecb, NULL, NULL, NULL) == 1 &&
           EVP_CIPHER_CTX_set_padding(context->ecb, 0) == 1 &&
           EVP_EncryptInit_ex2(context->gcm, process.gcm, NULL, NULL, NULL) == 1;
}

static struct crypto_context *context_make(void)
{
    if (pthread_once(&once, fetch) != 0 || !process.usable)
        return NULL;
    struct crypto_context *context = calloc(1, sizeof(*context));
    if (context == NULL)
        return NULL;
    if (!context_fill(context) || pthread_setspecific(process.key, context) != 0) {
        context_free(context);
        return NULL;
    }
    own = context;
    return context;
}

struct crypto_context *crypto_context(void)
{
    return own != NULL ? own : context_make();
}
