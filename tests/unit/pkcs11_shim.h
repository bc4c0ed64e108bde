/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PKCS#11 module that hands everything on to the module that $PKCS11_SHIM_MODULE names, and fails
 * where a test says so. The test finds `pkcs11_shim` with dlsym() in the same file.
 */
#ifndef KMIPD_TESTS_PKCS11_SHIM_H
#define KMIPD_TESTS_PKCS11_SHIM_H

#define CRYPTOKI_GNU
#include <p11-kit/pkcs11.h>

#include <stdatomic.h>
#include <stdbool.h>

/* SHIM(function, (parameters), (arguments)): those that can fail. */
#define SHIM_FUNCTIONS                                                                             \
    SHIM(GetSlotList, (unsigned char a, ck_slot_id_t *b, unsigned long *c), (a, b, c))              \
    SHIM(GetTokenInfo, (ck_slot_id_t a, struct ck_token_info *b), (a, b))                          \
    SHIM(GetMechanismInfo, (ck_slot_id_t a, ck_mechanism_type_t b, struct ck_mechanism_info *c),    \
         (a, b, c))                                                                                \
    SHIM(OpenSession, (ck_slot_id_t a, ck_flags_t b, void *c, ck_notify_t d,                       \
                       ck_session_handle_t *e), (a, b, c, d, e))                                   \
    SHIM(GetSessionInfo, (ck_session_handle_t a, struct ck_session_info *b), (a, b))               \
    SHIM(Login, (ck_session_handle_t a, ck_user_type_t b, unsigned char *c, unsigned long d),      \
         (a, b, c, d))                                                                             \
    SHIM(FindObjectsInit, (ck_session_handle_t a, struct ck_attribute *b, unsigned long c),        \
         (a, b, c))                                                                                \
    SHIM(FindObjects, (ck_session_handle_t a, ck_object_handle_t *b, unsigned long c,              \
                       unsigned long *d), (a, b, c, d))                                            \
    SHIM(FindObjectsFinal, (ck_session_handle_t a), (a))                                           \
    SHIM(GetAttributeValue, (ck_session_handle_t a, ck_object_handle_t b, struct ck_attribute *c,  \
                             unsigned long d), (a, b, c, d))                                       \
    SHIM(CreateObject, (ck_session_handle_t a, struct ck_attribute *b, unsigned long c,            \
                        ck_object_handle_t *d), (a, b, c, d))                                      \
    SHIM(DestroyObject, (ck_session_handle_t a, ck_object_handle_t b), (a, b))                     \
    SHIM(GenerateKey, (ck_session_handle_t a, struct ck_mechanism *b, struct ck_attribute *c,      \
                       unsigned long d, ck_object_handle_t *e), (a, b, c, d, e))                   \
    SHIM(UnwrapKey, (ck_session_handle_t a, struct ck_mechanism *b, ck_object_handle_t c,          \
                     unsigned char *d, unsigned long e, struct ck_attribute *f, unsigned long g,   \
                     ck_object_handle_t *h), (a, b, c, d, e, f, g, h))                             \
    SHIM(EncryptInit, (ck_session_handle_t a, struct ck_mechanism *b, ck_object_handle_t c),       \
         (a, b, c))                                                                                \
    SHIM(Encrypt, (ck_session_handle_t a, unsigned char *b, unsigned long c, unsigned char *d,     \
                   unsigned long *e), (a, b, c, d, e))                                             \
    SHIM(DecryptInit, (ck_session_handle_t a, struct ck_mechanism *b, ck_object_handle_t c),       \
         (a, b, c))                                                                                \
    SHIM(Decrypt, (ck_session_handle_t a, unsigned char *b, unsigned long c, unsigned char *d,     \
                   unsigned long *e), (a, b, c, d, e))

enum shim_function {
#define SHIM(name, parameters, arguments) SHIM_##name,
    SHIM_FUNCTIONS
#undef SHIM
    SHIM_FUNCTION_COUNT,
    SHIM_ANY = SHIM_FUNCTION_COUNT,
};

struct pkcs11_shim {
    /* The fault: from its `skip`th call on, `function` fails `times` times with `value`; with
     * `after` set it does its work first. */
    _Atomic int function;
    _Atomic long skip;
    _Atomic long times;
    _Atomic ck_rv_t value;
    atomic_bool after;

    /* Called once before a key is made. */
    void (*_Atomic before_generate)(void);

    _Atomic unsigned long slot; /* added to the number of every slot */
    atomic_bool without_gcm;    /* the token has no AES-GCM */
    atomic_bool own_iv;         /* it makes the IVs of AES-GCM itself, and wants zeros in their place */
    atomic_bool key_wrap;       /* it has AES key wrap for data, under the key imported last */
    atomic_bool without_import; /* and takes no keys in the clear */
    _Atomic ck_flags_t flags;   /* set in the token's information besides */
    _Atomic unsigned sessions;  /* the token allows so many at once; 0: any number */
    _Atomic unsigned open;
    _Atomic unsigned most_open;
    _Atomic unsigned calls[SHIM_FUNCTION_COUNT];
};

#endif
