/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the provider of pkcs11.h. Inside src/keyholder/pkcs11*.c only. */
#ifndef KMIPD_KEYHOLDER_PKCS11_PROVIDER_H
#define KMIPD_KEYHOLDER_PKCS11_PROVIDER_H

#include "keyholder/pkcs11_cipher.h"
#include "keyholder/pkcs11_roots.h"

struct pkcs11 {
    struct keymanager keymanager; /* first */
    struct pkcs11_token token;
    struct pkcs11_cipher cipher;
    struct pkcs11_roots roots;
    pthread_mutex_t change; /* one change of root keys at a time */
};

static inline struct pkcs11 *pkcs11_of(struct keymanager *keymanager)
{
    return CONTAINER_OF(keymanager, struct pkcs11, keymanager);
}

/* Of keymanager.h; pkcs11_life.c has them. */
enum status pkcs11_create_root_key(struct keymanager *keymanager, const struct root_key_wish *wish,
                                   struct uuid *ret_root_key, struct error *error);
enum status pkcs11_rotate(struct keymanager *keymanager, const struct uuid *root_key, uint32_t from,
                          const struct secret *material, int64_t now, struct error *error);
enum status pkcs11_set_state(struct keymanager *keymanager, const struct uuid *root_key,
                             enum root_key_state state, struct error *error);
enum status pkcs11_delete(struct keymanager *keymanager, const struct uuid *root_key, int64_t now,
                          struct error *error);
enum status pkcs11_restore(struct keymanager *keymanager, const struct uuid *root_key,
                           struct error *error);
enum status pkcs11_purge(struct keymanager *keymanager, const struct uuid *root_key,
                         struct error *error);
enum status pkcs11_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                                 struct root_key_info *ret_info);
enum status pkcs11_root_keys(struct keymanager *keymanager, keymanager_visit_root_key *visit,
                             void *context);

#endif
