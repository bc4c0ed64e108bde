/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing keys.db in line with the key manager, which is right. Inside src/api/ only; for the
 * whole of it see api/upkeep.h. */
#ifndef KMIPD_API_RECONCILE_H
#define KMIPD_API_RECONCILE_H

#include "api/open.h"
#include "kms/keys.h"

/*
 * Brings one row in line with the key manager, whose answer becomes *ret_info (may be NULL).
 * NOT_FOUND: there is no such row, or no such root key (the row is then destroyed, or gone if it
 * was planned only).
 */
enum status reconcile_root_key(const struct api_context *context, struct keymanager *keymanager,
                               const struct uuid *id, int64_t now,
                               struct root_key_info *ret_info) MUST_USE;

#endif
