/* SPDX-License-Identifier: Apache-2.0 */
#include "pkcs11_shim.h"

#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

extern struct pkcs11_shim pkcs11_shim;
EXPORTED struct pkcs11_shim pkcs11_shim;

static struct ck_function_list *real;
static struct ck_function_list list;

/* Whether this call is to fail. */
static bool fails(enum shim_function function)
{
    (void)atomic_fetch_add(&pkcs11_shim.calls[function], 1);
    int wanted = atomic_load(&pkcs11_shim.function);
    if ((wanted != (int)function && wanted != SHIM_ANY) || atomic_load(&pkcs11_shim.times) <= 0)
        return false;
    if (atomic_fetch_sub(&pkcs11_shim.skip, 1) > 0)
        return false;
    return atomic_fetch_sub(&pkcs11_shim.times, 1) > 0;
}

/* What AES key wrap is done with, and whether this thread's operation is one. */
static unsigned char imported[32];
static _Thread_local bool wrapping;

/* What the token lacks. */
#define SHIM(name, parameters, arguments) static ck_rv_t before_##name parameters;
SHIM_FUNCTIONS
#undef SHIM

#define UNCHANGED(name, parameters)            \
    static ck_rv_t before_##name parameters    \
    {                                          \
        return CKR_OK;                         \
    }
UNCHANGED(GetSlotList, (unsigned char a, ck_slot_id_t *b, unsigned long *c))
UNCHANGED(GetTokenInfo, (ck_slot_id_t a, struct ck_token_info *b))
UNCHANGED(GetSessionInfo, (ck_session_handle_t a, struct ck_session_info *b))
UNCHANGED(Login, (ck_session_handle_t a, ck_user_type_t b, unsigned char *c, unsigned long d))
UNCHANGED(FindObjectsInit, (ck_session_handle_t a, struct ck_attribute *b, unsigned long c))
UNCHANGED(FindObjects,
          (ck_session_handle_t a, ck_object_handle_t *b, unsigned long c, unsigned long *d))
UNCHANGED(FindObjectsFinal, (ck_session_handle_t a))
UNCHANGED(GetAttributeValue, (ck_session_handle_t a, ck_object_handle_t b, struct ck_attribute *c,
                              unsigned long d))
UNCHANGED(DestroyObject, (ck_session_handle_t a, ck_object_handle_t b))
UNCHANGED(UnwrapKey, (ck_session_handle_t a, struct ck_mechanism *b, ck_object_handle_t c,
                      unsigned char *d, unsigned long e, struct ck_attribute *f, unsigned long g,
                      ck_object_handle_t *h))
static ck_rv_t before_EncryptInit(ck_session_handle_t a, struct ck_mechanism *b,
                                  ck_object_handle_t c)
{
    static const unsigned char zeros[12];
    if (b->mechanism != CKM_AES_GCM || !atomic_load(&pkcs11_shim.own_iv))
        return CKR_OK;
    struct ck_gcm_params *params = b->parameter;
    if (memcmp(params->iv_ptr, zeros, sizeof(zeros)) != 0)
        return CKR_MECHANISM_PARAM_INVALID;
    return RAND_bytes(params->iv_ptr, sizeof(zeros)) == 1 ? CKR_OK : CKR_GENERAL_ERROR;
}
UNCHANGED(Encrypt, (ck_session_handle_t a, unsigned char *b, unsigned long c, unsigned char *d,
                    unsigned long *e))
UNCHANGED(DecryptInit, (ck_session_handle_t a, struct ck_mechanism *b, ck_object_handle_t c))
UNCHANGED(Decrypt, (ck_session_handle_t a, unsigned char *b, unsigned long c, unsigned char *d,
                    unsigned long *e))

static ck_rv_t before_GetMechanismInfo(ck_slot_id_t a, ck_mechanism_type_t b,
                                       struct ck_mechanism_info *c)
{
    return b == CKM_AES_GCM && atomic_load(&pkcs11_shim.without_gcm) ? CKR_MECHANISM_INVALID
                                                                     : CKR_OK;
}

static ck_rv_t before_CreateObject(ck_session_handle_t a, struct ck_attribute *b, unsigned long c,
                                   ck_object_handle_t *d)
{
    for (unsigned long i = 0; i < c; i++)
        if (b[i].type == CKA_VALUE && b[i].value_len == sizeof(imported))
            memcpy(imported, b[i].value, sizeof(imported));
    for (unsigned long i = 0; i < c; i++)
        if (b[i].type == CKA_CLASS && *(ck_object_class_t *)b[i].value == CKO_SECRET_KEY &&
            atomic_load(&pkcs11_shim.without_import))
            return CKR_TEMPLATE_INCONSISTENT;
    return CKR_OK;
}

static ck_rv_t before_GenerateKey(ck_session_handle_t a, struct ck_mechanism *b,
                                  struct ck_attribute *c, unsigned long d, ck_object_handle_t *e)
{
    void (*before)(void) = atomic_exchange(&pkcs11_shim.before_generate, NULL);
    if (before != NULL)
        before();
    return CKR_OK;
}

UNCHANGED(OpenSession, (ck_slot_id_t a, ck_flags_t b, void *c, ck_notify_t d,
                        ck_session_handle_t *e))

#define SHIM(name, parameters, arguments)                   \
    static ck_rv_t shim_##name parameters                   \
    {                                                       \
        ck_rv_t value = before_##name arguments;            \
        if (value != CKR_OK)                                \
            return value;                                   \
        bool failing = fails(SHIM_##name);                  \
        if (!failing || atomic_load(&pkcs11_shim.after))    \
            value = real->C_##name arguments;               \
        return failing ? atomic_load(&pkcs11_shim.value) : value; \
    }
SHIM_FUNCTIONS
#undef SHIM

static bool begins_key_wrap(const struct ck_mechanism *mechanism)
{
    wrapping = mechanism->mechanism == CKM_AES_KEY_WRAP && atomic_load(&pkcs11_shim.key_wrap);
    return wrapping;
}

/* RFC 3394, as OpenSSL does it. */
static ck_rv_t key_wrap(int forward, const unsigned char *in, unsigned long in_size,
                        unsigned char *out, unsigned long *out_size)
{
    int size = 0, rest = 0;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    bool good =
        EVP_CipherInit_ex(context, EVP_aes_256_wrap(), NULL, imported, NULL, forward) == 1 &&
        EVP_CipherUpdate(context, out, &size, in, (int)in_size) == 1 &&
        EVP_CipherFinal_ex(context, out + size, &rest) == 1;
    EVP_CIPHER_CTX_free(context);
    *out_size = (unsigned long)(size + rest);
    return good ? CKR_OK : CKR_ENCRYPTED_DATA_INVALID;
}

static ck_rv_t encrypt_init(ck_session_handle_t a, struct ck_mechanism *b, ck_object_handle_t c)
{
    return begins_key_wrap(b) ? CKR_OK : shim_EncryptInit(a, b, c);
}

static ck_rv_t encrypt(ck_session_handle_t a, unsigned char *b, unsigned long c, unsigned char *d,
                       unsigned long *e)
{
    return wrapping ? key_wrap(1, b, c, d, e) : shim_Encrypt(a, b, c, d, e);
}

static ck_rv_t decrypt_init(ck_session_handle_t a, struct ck_mechanism *b, ck_object_handle_t c)
{
    return begins_key_wrap(b) ? CKR_OK : shim_DecryptInit(a, b, c);
}

static ck_rv_t decrypt(ck_session_handle_t a, unsigned char *b, unsigned long c, unsigned char *d,
                       unsigned long *e)
{
    return wrapping ? key_wrap(0, b, c, d, e) : shim_Decrypt(a, b, c, d, e);
}

static ck_slot_id_t real_slot(ck_slot_id_t slot)
{
    return slot - atomic_load(&pkcs11_shim.slot);
}

static ck_rv_t slot_list(unsigned char present, ck_slot_id_t *slots, unsigned long *count)
{
    ck_rv_t value = shim_GetSlotList(present, slots, count);
    for (unsigned long i = 0; value == CKR_OK && slots != NULL && i < *count; i++)
        slots[i] += atomic_load(&pkcs11_shim.slot);
    return value;
}

static ck_rv_t mechanism_info(ck_slot_id_t slot, ck_mechanism_type_t mechanism,
                              struct ck_mechanism_info *info)
{
    ck_rv_t value = shim_GetMechanismInfo(real_slot(slot), mechanism, info);
    if (value == CKR_OK && mechanism == CKM_AES_KEY_WRAP && atomic_load(&pkcs11_shim.key_wrap))
        info->flags |= CKF_ENCRYPT | CKF_DECRYPT;
    return value;
}

static ck_rv_t close_all_sessions(ck_slot_id_t slot)
{
    atomic_store(&pkcs11_shim.open, 0);
    return real->C_CloseAllSessions(real_slot(slot));
}

static ck_rv_t token_info(ck_slot_id_t slot, struct ck_token_info *info)
{
    ck_rv_t value = shim_GetTokenInfo(real_slot(slot), info);
    if (value == CKR_OK)
        info->flags |= atomic_load(&pkcs11_shim.flags);
    return value;
}

static ck_rv_t open_session(ck_slot_id_t a, ck_flags_t b, void *c, ck_notify_t d,
                            ck_session_handle_t *e)
{
    unsigned limit = atomic_load(&pkcs11_shim.sessions);
    unsigned open = atomic_fetch_add(&pkcs11_shim.open, 1) + 1;
    ck_rv_t value = limit > 0 && open > limit ? CKR_SESSION_COUNT
                                              : shim_OpenSession(real_slot(a), b, c, d, e);
    if (value != CKR_OK) {
        (void)atomic_fetch_sub(&pkcs11_shim.open, 1);
        return value;
    }
    unsigned most = atomic_load(&pkcs11_shim.most_open);
    while (open > most && !atomic_compare_exchange_weak(&pkcs11_shim.most_open, &most, open))
        ;
    return CKR_OK;
}

static ck_rv_t close_session(ck_session_handle_t session)
{
    ck_rv_t value = real->C_CloseSession(session);
    if (value == CKR_OK)
        (void)atomic_fetch_sub(&pkcs11_shim.open, 1);
    return value;
}

static ck_rv_t finalize(void *reserved)
{
    atomic_store(&pkcs11_shim.open, 0);
    return real->C_Finalize(reserved);
}

EXPORTED ck_rv_t C_GetFunctionList(struct ck_function_list **ret_list)
{
    const char *path = getenv("PKCS11_SHIM_MODULE");
    void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    void *symbol = library != NULL ? dlsym(library, "C_GetFunctionList") : NULL;
    ck_rv_t (*get)(struct ck_function_list **) = NULL;
    memcpy(&get, &symbol, sizeof(symbol));
    if (symbol == NULL || get(&real) != CKR_OK)
        return CKR_GENERAL_ERROR;
    list = *real;
#define SHIM(name, parameters, arguments) list.C_##name = shim_##name;
    SHIM_FUNCTIONS
#undef SHIM
    list.C_EncryptInit = encrypt_init;
    list.C_Encrypt = encrypt;
    list.C_DecryptInit = decrypt_init;
    list.C_Decrypt = decrypt;
    list.C_GetSlotList = slot_list;
    list.C_GetTokenInfo = token_info;
    list.C_GetMechanismInfo = mechanism_info;
    list.C_CloseAllSessions = close_all_sessions;
    list.C_OpenSession = open_session;
    list.C_CloseSession = close_session;
    list.C_Finalize = finalize;
    list.C_GetFunctionList = C_GetFunctionList;
    *ret_list = &list;
    return CKR_OK;
}
