/* SPDX-License-Identifier: Apache-2.0 */
/* Who may what: def/roles.def. */
#include "api/permission.h"

static const struct {
    unsigned role;
    unsigned included;
} inclusions[] = {
#define ROLE_INCLUDES(code, included) {API_ROLE_##code, API_ROLE_##included},
#include "roles.def"
};

static const struct {
    unsigned role;
    const char *name;
    const char *text;
} roles[] = {
#define ROLE(code, bit, name, text) {API_ROLE_##code, name, text},
#include "roles.def"
};

unsigned role_with_included(unsigned role)
{
    /* What is included stands first in the table, so from its end one pass is enough. */
    for (size_t i = ARRAY_COUNT(inclusions); i-- > 0;)
        if ((role & inclusions[i].role) != 0)
            role |= inclusions[i].included;
    return role;
}

const char *role_name(unsigned role)
{
    for (size_t i = 0; i < ARRAY_COUNT(roles); i++)
        if (roles[i].role == role)
            return roles[i].name;
    return NULL;
}

bool role_find(const char *name, unsigned *ret_role)
{
    for (size_t i = 0; i < ARRAY_COUNT(roles); i++) {
        if (strcasecmp(roles[i].name, name) != 0)
            continue;
        *ret_role = roles[i].role;
        return true;
    }
    return false;
}

/* Whether what a grant is limited to (empty: nothing) lets it count for this one (NULL: all). */
static bool covers(const char *limit, const char *wanted)
{
    return limit[0] == '\0' || (wanted != NULL && strcmp(limit, wanted) == 0);
}

bool api_may(const struct api_call *call, unsigned wanted, const char *key_ring,
             const char *adapter)
{
    const struct api_identity *identity = &call->identity;
    if (identity->everything)
        return true;
    for (size_t i = 0; i < identity->grant_count; i++) {
        const struct kms_grant *grant = &identity->grants[i];
        if ((role_with_included(grant->role) & wanted) != 0 && covers(grant->key_ring, key_ring) &&
            covers(grant->adapter, adapter))
            return true;
    }
    return false;
}

bool api_require(struct api_call *call, unsigned wanted, const char *key_ring, const char *adapter)
{
    if (api_may(call, wanted, key_ring, adapter))
        return true;
    api_fail(call, API_UNAUTHORIZED_ERR, NULL, NULL);
    return false;
}

bool permission_somewhere(const struct api_identity *identity, unsigned wanted)
{
    bool found = identity->everything;
    for (size_t i = 0; i < identity->grant_count && !found; i++)
        found = (role_with_included(identity->grants[i].role) & wanted) != 0;
    return found;
}
