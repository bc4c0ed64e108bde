/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keyprotect_client.h"

/* The entry of a root key; else, if asked, the one that is soonest of no use. */
static struct kp_known_version *find(struct kp_versions *versions, const struct uuid *root_key,
                                     bool or_oldest)
{
    struct kp_known_version *oldest = &versions->known[0];
    for (size_t i = 0; i < KP_VERSIONS_MAX; i++) {
        struct kp_known_version *known = &versions->known[i];
        if (uuid_equal(&known->root_key, root_key))
            return known;
        if (known->until < oldest->until)
            oldest = known;
    }
    return or_oldest ? oldest : NULL;
}

void kp_versions_put(struct kp_versions *versions, const struct uuid *root_key,
                     const struct uuid *newest, uint32_t count, int64_t now)
{
    (void)pthread_mutex_lock(&versions->mutex);
    struct kp_known_version *known = find(versions, root_key, true);
    bool same = uuid_equal(&known->root_key, root_key) && uuid_equal(&known->newest, newest);
    if (count == 0 && same)
        count = known->count;
    *known = (struct kp_known_version){*root_key, *newest, count, now + KP_VERSIONS_TIME};
    (void)pthread_mutex_unlock(&versions->mutex);
}

bool kp_versions_get(struct kp_versions *versions, const struct uuid *root_key, int64_t now,
                     struct uuid *ret_newest, uint32_t *ret_count)
{
    (void)pthread_mutex_lock(&versions->mutex);
    const struct kp_known_version *known = find(versions, root_key, false);
    bool good = known != NULL && now < known->until;
    if (good) {
        *ret_newest = known->newest;
        *ret_count = known->count;
    }
    (void)pthread_mutex_unlock(&versions->mutex);
    return good;
}

void kp_versions_forget(struct kp_versions *versions, const struct uuid *root_key)
{
    (void)pthread_mutex_lock(&versions->mutex);
    struct kp_known_version *known = find(versions, root_key, false);
    if (known != NULL)
        *known = (struct kp_known_version){0};
    (void)pthread_mutex_unlock(&versions->mutex);
}
