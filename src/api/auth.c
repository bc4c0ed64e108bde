/* SPDX-License-Identifier: Apache-2.0 */
#include "api/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "api/jwt.h"
#include "api/state.h"
#include "crypto/digest.h"
#include "kms/identities.h"

#define WAYS        4
#define SETS        (AUTH_TOKENS_MAX / WAYS)
#define BEARER      "Bearer "
#define LOCAL_USER  "uid="

/* A service ID as it was when `generation` was the number of changes. */
struct known {
    char name[KMS_NAME_MAX + 1];
    size_t grant_count;
    struct kms_grant grants[];
};

struct entry {
    uint8_t hash[SHA256_SIZE]; /* of the token */
    struct jwt_claims claims;
    uint64_t generation;
    int64_t used; /* 0: nothing stands here */
    struct known *known;
};

struct auth {
    pthread_mutex_t lock;
    struct entry entries[SETS][WAYS];
};

enum status auth_open(struct auth **ret_auth, struct error *error)
{
    struct auth *auth = calloc(1, sizeof(*auth));
    if (auth == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    (void)pthread_mutex_init(&auth->lock, NULL);
    *ret_auth = auth;
    return STATUS_OK;
}

void auth_close(struct auth *auth)
{
    if (auth == NULL)
        return;
    for (size_t i = 0; i < SETS; i++)
        for (size_t way = 0; way < WAYS; way++)
            free(auth->entries[i][way].known);
    (void)pthread_mutex_destroy(&auth->lock);
    free(auth);
}

/* ---- What is remembered; all of it under the lock ---- */

static struct entry *entries_of(struct auth *auth, const uint8_t *hash)
{
    return auth->entries[(hash[0] | (size_t)hash[1] << 8) % SETS];
}

static struct entry *find_entry(struct auth *auth, const uint8_t *hash)
{
    struct entry *ways = entries_of(auth, hash);
    for (size_t i = 0; i < WAYS; i++)
        if (ways[i].used != 0 && memcmp(ways[i].hash, hash, SHA256_SIZE) == 0)
            return &ways[i];
    return NULL;
}

static struct entry *make_entry(struct auth *auth, const uint8_t *hash)
{
    struct entry *oldest = find_entry(auth, hash);
    struct entry *ways = entries_of(auth, hash);
    if (oldest == NULL) {
        oldest = ways;
        for (size_t i = 1; i < WAYS; i++)
            if (ways[i].used < oldest->used)
                oldest = &ways[i];
    }
    free(oldest->known);
    *oldest = (struct entry){0};
    memcpy(oldest->hash, hash, SHA256_SIZE);
    return oldest;
}

enum memory {
    MEMORY_NOTHING, /* the token was not seen before */
    MEMORY_TOKEN,   /* it is good; what its service ID may do has to be read */
    MEMORY_ALL,
};

static void assume_known(struct api_identity *identity, const struct uuid *service_id,
                         const struct known *known)
{
    (void)snprintf(identity->name, sizeof(identity->name), "%s", known->name);
    jwt_iam_id(service_id, identity->iam_id);
    identity->grant_count = known->grant_count;
    memcpy(identity->grants, known->grants, known->grant_count * sizeof(known->grants[0]));
}

static enum memory recall(struct api_call *call, const uint8_t *hash, uint64_t generation,
                          struct jwt_claims *ret_claims)
{
    struct auth *auth = call->api->auth;
    enum memory memory = MEMORY_NOTHING;
    (void)pthread_mutex_lock(&auth->lock);
    struct entry *entry = find_entry(auth, hash);
    if (entry != NULL && call->now / 1000 <= entry->claims.expires + JWT_LEEWAY_SECONDS) {
        entry->used = call->now;
        *ret_claims = entry->claims;
        memory = entry->generation == generation ? MEMORY_ALL : MEMORY_TOKEN;
        if (memory == MEMORY_ALL)
            assume_known(&call->identity, &entry->claims.service_id, entry->known);
    }
    (void)pthread_mutex_unlock(&auth->lock);
    return memory;
}

/* Without memory it is not remembered. */
static void remember(struct api_call *call, const uint8_t *hash, uint64_t generation,
                     const struct jwt_claims *claims)
{
    const struct api_identity *identity = &call->identity;
    struct auth *auth = call->api->auth;
    size_t grants = identity->grant_count * sizeof(identity->grants[0]);
    struct known *known = malloc(sizeof(*known) + grants);
    if (known == NULL)
        return;
    (void)snprintf(known->name, sizeof(known->name), "%s", identity->name);
    known->grant_count = identity->grant_count;
    memcpy(known->grants, identity->grants, grants);
    (void)pthread_mutex_lock(&auth->lock);
    struct entry *entry = make_entry(auth, hash);
    entry->claims = *claims;
    entry->generation = generation;
    entry->used = call->now;
    entry->known = known;
    (void)pthread_mutex_unlock(&auth->lock);
}

/* ---- Bearer tokens ---- */

void auth_assume(struct api_call *call, const struct kms_service_id *service_id)
{
    struct api_identity *identity = &call->identity;
    (void)snprintf(identity->name, sizeof(identity->name), "%s", service_id->name);
    jwt_iam_id(&service_id->id, identity->iam_id);
    identity->grant_count = service_id->grant_count;
    memcpy(identity->grants, service_id->grants,
           service_id->grant_count * sizeof(service_id->grants[0]));
}

static bool refuse(struct api_call *call, const char *why)
{
    (void)snprintf(call->detail, sizeof(call->detail), "%s", why);
    api_fail(call, API_UNAUTHORIZED_ERR, NULL, NULL);
    return false;
}

struct search {
    const struct uuid *wanted;
    bool found;
};

static bool visit_key(void *context, const struct kms_api_key *api_key)
{
    struct search *search = context;
    search->found = uuid_equal(&api_key->id, search->wanted);
    return !search->found;
}

/* The service ID as it now is, if the API key that the token was made for is still its own. */
static bool read_identity(struct api_call *call, const struct jwt_claims *claims)
{
    struct kms_service_id service_id;
    struct search search = {.wanted = &claims->api_key};
    struct kms *kms = call->context->kms;
    enum status status = kms_service_id_get(kms, &claims->service_id, &service_id);
    if (status == STATUS_OK)
        status = kms_api_keys(kms, &claims->service_id, visit_key, &search);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && !search.found))
        return refuse(call, "the service ID or API key of the token was deleted");
    if (status != STATUS_OK) {
        api_fail_status(call, status, NULL);
        return false;
    }
    auth_assume(call, &service_id);
    return true;
}

static bool verify(struct api_call *call, struct bytes token, struct jwt_claims *ret_claims)
{
    struct strangers *strangers = &call->api->strangers;
    if (!strangers_may_try(strangers, call->request->peer)) {
        api_fail(call, API_TOO_MANY_REQUESTS_ERR, NULL, NULL);
        return false;
    }
    enum status status = jwt_verify(call->api->jwt, token, call->now / 1000, ret_claims);
    if (status == STATUS_OK)
        return true;
    if (status == STATUS_TIMED_OUT)
        return refuse(call, "the token has expired");
    strangers_failed(strangers, call->request->peer);
    return refuse(call, "the token is not one of this server");
}

static bool identify_token(struct api_call *call, struct bytes token)
{
    struct jwt_claims claims;
    uint8_t hash[SHA256_SIZE];
    /* Before anything is read: a change meanwhile makes what was read old. */
    uint64_t generation = atomic_load(&call->api->identities);
    enum status status = digest_sha256(token, hash);
    if (status != STATUS_OK) {
        api_fail_status(call, status, NULL);
        return false;
    }
    enum memory memory = recall(call, hash, generation, &claims);
    if (memory == MEMORY_ALL)
        return true;
    if ((memory == MEMORY_NOTHING && !verify(call, token, &claims)) ||
        !read_identity(call, &claims))
        return false;
    remember(call, hash, generation, &claims);
    return true;
}

/* ---- All ways ---- */

static void identify_local(struct api_call *call)
{
    struct bytes peer = call->request->peer;
    struct api_identity *identity = &call->identity;
    size_t prefix = strlen(LOCAL_USER);
    size_t digits = 0;
    (void)snprintf(identity->name, sizeof(identity->name), "%.*s", (int)peer.size,
                   (const char *)peer.data);
    if (strncmp(identity->name, LOCAL_USER, prefix) == 0)
        digits = strspn(identity->name + prefix, "0123456789");
    (void)snprintf(identity->iam_id, sizeof(identity->iam_id), "local-%.*s",
                   digits < 16 ? (int)digits : 16, identity->name + (digits > 0 ? prefix : 0));
    identity->everything = true;
}

/* kmipd's own routes may leave it out: kmipctl is told a URL and nothing else. */
static bool is_this_instance(const struct api_call *call)
{
    static const char own[] = "/api/v2/kmipd/";
    struct uuid instance;
    struct bytes given = call->request->instance, path = call->request->path;
    if (given.size == 0 && path.size >= strlen(own) && memcmp(path.data, own, strlen(own)) == 0)
        return true;
    return uuid_parse(given, &instance) && uuid_equal(&instance, &call->context->instance);
}

bool auth_identify(struct api_call *call)
{
    struct bytes header = call->request->authorization;
    size_t scheme = strlen(BEARER);
    if (call->request->local) {
        identify_local(call);
        return true;
    }
    if (!is_this_instance(call))
        return refuse(call, "Bluemix-Instance does not name this instance");
    if (header.size <= scheme || strncasecmp((const char *)header.data, BEARER, scheme) != 0)
        return refuse(call, "there is no bearer token");
    while (scheme < header.size && header.data[scheme] == ' ')
        scheme++;
    return identify_token(call, bytes_of(header.data + scheme, header.size - scheme));
}
