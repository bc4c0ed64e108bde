/* SPDX-License-Identifier: Apache-2.0 */
/* Root keys made, rotated, disabled, deleted. Every operation here begins by reading the root key
 * from the token, so that it may be repeated. */
#include <openssl/rand.h>

#include "keyholder/pkcs11_provider.h"

/* One change: what is wanted, and what came of it. */
struct change {
    struct pkcs11 *self;
    struct uuid id;
    struct error *error;
    enum status status;
    ck_rv_t (*decide)(const struct pkcs11_session *session, struct change *change);
    /* As read, and as it is to be. */
    bool exists;
    uint64_t generation;
    struct root_key_info info;
    /* Inputs of the one or the other. */
    const struct secret *material;
    int64_t now;
    uint32_t from;
    enum root_key_state state;
    struct pkcs11_tag tag;
    bool written; /* maybe: by an attempt before this one */
};

static ck_rv_t refuse(struct change *change, enum status status, const char *why)
{
    change->status = error_set(change->error, status, "%s", why);
    return CKR_OK;
}

static ck_rv_t change_operation(const struct pkcs11_session *session, void *context)
{
    struct change *change = context;
    struct pkcs11_roots *roots = &change->self->roots;
    change->status = STATUS_OK;
    ck_rv_t value = pkcs11_roots_read(roots, session, &change->id, PKCS11_WHOLE);
    if (value != CKR_OK)
        return value;
    change->exists =
        pkcs11_roots_info(roots, &change->id, &change->info, &change->generation);
    value = change->decide(session, change);
    if (value == CKR_OK && change->status == STATUS_OK)
        value = pkcs11_roots_read(roots, session, &change->id, PKCS11_WHOLE);
    return value;
}

static enum status carry_out(struct change *change)
{
    (void)pthread_mutex_lock(&change->self->change);
    ck_rv_t value =
        pkcs11_token_run(&change->self->token, change_operation, change, change->error);
    (void)pthread_mutex_unlock(&change->self->change);
    return value != CKR_OK ? pkcs11_status(value) : change->status;
}

static ck_rv_t refuse_unknown(struct change *change)
{
    return refuse(change, STATUS_ROOT_KEY_UNAVAILABLE, "the token has no such root key");
}

static enum status make_tag(struct change *change)
{
    if (RAND_bytes(change->tag.bytes, sizeof(change->tag.bytes)) == 1)
        return STATUS_OK;
    return error_set(change->error, STATUS_CRYPTO_FAILED, "no random bytes for a root key");
}

static ck_rv_t make_version(const struct pkcs11_session *session, struct change *change,
                            uint32_t version)
{
    struct pkcs11_key key = {.root_key = change->id,
                             .version = version,
                             .created = change->now,
                             .imported = change->material != NULL,
                             .tag = change->tag};
    return pkcs11_key_make(session, &key, change->material);
}

/* ---- Create ---- */

/* Whether what is there is what a former attempt with the same wish has made. */
static ck_rv_t is_as_wished(const struct pkcs11_session *session, struct change *change,
                            bool *ret_same)
{
    const struct root_key_info *info = &change->info;
    struct pkcs11_key key;
    enum status status;
    *ret_same = info->state == ROOT_KEY_ACTIVE && info->version == 1 &&
                info->created == change->now && info->imported == (change->material != NULL);
    if (!*ret_same || change->material == NULL)
        return CKR_OK;
    ck_rv_t value = pkcs11_roots_key(&change->self->roots, session, &change->id, 0, NULL, &key,
                                     &status);
    if (value != CKR_OK || status != STATUS_OK)
        return value;
    return pkcs11_is_same(session, key.handle, change->material, ret_same);
}

static ck_rv_t decide_create(const struct pkcs11_session *session, struct change *change)
{
    bool same;
    if (!change->exists)
        return make_version(session, change, 1);
    ck_rv_t value = is_as_wished(session, change, &same);
    if (value != CKR_OK || same)
        return value;
    return refuse(change, STATUS_EXISTS, "the token has a root key with this identifier");
}

enum status pkcs11_create_root_key(struct keymanager *keymanager, const struct root_key_wish *wish,
                                   struct uuid *ret_root_key, struct error *error)
{
    static const struct uuid none;
    struct change change = {.self = pkcs11_of(keymanager),
                            .id = wish->id,
                            .error = error,
                            .decide = decide_create,
                            .material = wish->material,
                            .now = wish->now};
    enum status status = make_tag(&change);
    if (status == STATUS_OK && uuid_equal(&wish->id, &none))
        status = uuid_make(wish->now, &change.id);
    if (status == STATUS_OK)
        status = carry_out(&change);
    if (status == STATUS_OK)
        *ret_root_key = change.id;
    return status;
}

/* ---- Rotate ---- */

/* Where another endpoint made the same version meanwhile, that version has two keys, both of which
 * may be in use by now: both stay. */
static ck_rv_t check_alone(const struct pkcs11_session *session, struct change *change)
{
    struct pkcs11_key keys[PKCS11_SAME_MAX];
    size_t count;
    ck_rv_t value =
        pkcs11_keys_find(session, &change->id, change->from + 1, keys, &count);
    if (value != CKR_OK || count == 1)
        return value;
    return refuse(change, STATUS_CONFLICT, "another endpoint has rotated it at the same time");
}

static ck_rv_t decide_rotate(const struct pkcs11_session *session, struct change *change)
{
    const struct root_key_info *info = &change->info;
    if (!change->exists)
        return refuse_unknown(change);
    if (info->state != ROOT_KEY_ACTIVE)
        return refuse(change, STATUS_ROOT_KEY_UNAVAILABLE,
                      "the root key is disabled or deleted: enable or restore it first");
    if (info->imported != (change->material != NULL))
        return refuse(change, STATUS_INVALID_ARGUMENT,
                      info->imported ? "an imported root key is rotated with new material"
                                     : "a root key made in the token is rotated without material");
    if (info->version == change->from) {
        ck_rv_t value = make_version(session, change, change->from + 1);
        return value != CKR_OK ? value : check_alone(session, change);
    }
    /* The first attempt may have got that far. */
    if (pkcs11_roots_has(&change->self->roots, &change->id, change->from + 1, &change->tag))
        return check_alone(session, change);
    return refuse(change, STATUS_CONFLICT, "it was rotated meanwhile");
}

static bool good_size(const struct secret *material)
{
    return material == NULL || material->size == 16 || material->size == 24 ||
           material->size == 32;
}

enum status pkcs11_rotate(struct keymanager *keymanager, const struct uuid *root_key, uint32_t from,
                          const struct secret *material, int64_t now, struct error *error)
{
    struct change change = {.self = pkcs11_of(keymanager),
                            .id = *root_key,
                            .error = error,
                            .decide = decide_rotate,
                            .material = material,
                            .now = now,
                            .from = from};
    if (!good_size(material))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "a root key of %zu bytes: it must be " KEYMANAGER_ROOT_KEY_SIZES,
                         material->size);
    enum status status = make_tag(&change);
    return status == STATUS_OK ? carry_out(&change) : status;
}

/* ---- States ---- */

static ck_rv_t write_state(const struct pkcs11_session *session, struct change *change)
{
    const struct pkcs11_note note = {change->generation, change->info};
    change->written = true;
    return pkcs11_note_write(session, &note);
}

static ck_rv_t decide_state(const struct pkcs11_session *session, struct change *change)
{
    if (!change->exists)
        return refuse_unknown(change);
    if (change->info.state == change->state)
        return CKR_OK;
    if (change->info.state == ROOT_KEY_DESTROYED)
        return refuse(change, STATUS_CONFLICT, "the root key is deleted: restore it first");
    change->info.state = change->state;
    return write_state(session, change);
}

enum status pkcs11_set_state(struct keymanager *keymanager, const struct uuid *root_key,
                             enum root_key_state state, struct error *error)
{
    struct change change = {.self = pkcs11_of(keymanager),
                            .id = *root_key,
                            .error = error,
                            .decide = decide_state,
                            .state = state};
    return carry_out(&change);
}

static ck_rv_t decide_delete(const struct pkcs11_session *session, struct change *change)
{
    if (!change->exists)
        return refuse_unknown(change);
    if (change->info.state == ROOT_KEY_DESTROYED)
        return CKR_OK;
    change->info.state = ROOT_KEY_DESTROYED;
    change->info.deleted = change->now;
    return write_state(session, change);
}

enum status pkcs11_delete(struct keymanager *keymanager, const struct uuid *root_key, int64_t now,
                          struct error *error)
{
    struct change change = {.self = pkcs11_of(keymanager),
                            .id = *root_key,
                            .error = error,
                            .decide = decide_delete,
                            .now = now};
    return carry_out(&change);
}

static ck_rv_t decide_restore(const struct pkcs11_session *session, struct change *change)
{
    if (!change->exists || change->info.purged)
        return refuse(change, STATUS_NOT_FOUND, "the root key is purged, or never was");
    if (change->info.state == ROOT_KEY_ACTIVE && change->written)
        return CKR_OK;
    if (change->info.state != ROOT_KEY_DESTROYED)
        return refuse(change, STATUS_CONFLICT, "the root key is not deleted");
    change->info.state = ROOT_KEY_ACTIVE;
    change->info.deleted = 0;
    return write_state(session, change);
}

enum status pkcs11_restore(struct keymanager *keymanager, const struct uuid *root_key,
                           struct error *error)
{
    struct change change = {.self = pkcs11_of(keymanager),
                            .id = *root_key,
                            .error = error,
                            .decide = decide_restore};
    return carry_out(&change);
}

/* The note first: reading a root key that is noted as purged destroys its keys, now and, after a
 * crash, whenever it is read next. */
static ck_rv_t decide_purge(const struct pkcs11_session *session, struct change *change)
{
    if (!change->exists)
        return refuse_unknown(change);
    if (change->info.state != ROOT_KEY_DESTROYED)
        return refuse(change, STATUS_CONFLICT, "the root key is not deleted: delete it first");
    if (change->info.purged)
        return CKR_OK;
    change->info.purged = true;
    return write_state(session, change);
}

enum status pkcs11_purge(struct keymanager *keymanager, const struct uuid *root_key,
                         struct error *error)
{
    struct change change = {.self = pkcs11_of(keymanager),
                            .id = *root_key,
                            .error = error,
                            .decide = decide_purge};
    return carry_out(&change);
}

/* ---- Information ---- */

struct question {
    struct pkcs11 *self;
    struct uuid id;
    struct buffer ids;
};

static ck_rv_t read_operation(const struct pkcs11_session *session, void *context)
{
    struct question *question = context;
    return pkcs11_roots_read(&question->self->roots, session, &question->id, PKCS11_WHOLE);
}

enum status pkcs11_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                                 struct root_key_info *ret_info)
{
    struct question question = {.self = pkcs11_of(keymanager), .id = *root_key};
    ck_rv_t value = pkcs11_token_run(&question.self->token, read_operation, &question, NULL);
    if (value != CKR_OK)
        return pkcs11_status(value);
    return pkcs11_roots_info(&question.self->roots, root_key, ret_info, NULL) ? STATUS_OK
                                                                             : STATUS_NOT_FOUND;
}

static ck_rv_t list_operation(const struct pkcs11_session *session, void *context)
{
    struct question *question = context;
    buffer_reset(&question->ids);
    return pkcs11_ids_find(session, &question->ids);
}

static enum status visit_all(struct keymanager *keymanager, struct bytes ids,
                             keymanager_visit_root_key *visit, void *context)
{
    for (size_t i = 0; i < ids.size; i += UUID_SIZE) {
        struct uuid id;
        struct root_key_info info;
        memcpy(id.bytes, ids.data + i, UUID_SIZE);
        enum status status = pkcs11_root_key_info(keymanager, &id, &info);
        if (status == STATUS_NOT_FOUND)
            continue;
        if (status != STATUS_OK)
            return status;
        if (!visit(context, &info))
            break;
    }
    return STATUS_OK;
}

enum status pkcs11_root_keys(struct keymanager *keymanager, keymanager_visit_root_key *visit,
                             void *context)
{
    struct question question = {.self = pkcs11_of(keymanager)};
    buffer_init(&question.ids, (size_t)1 << 24);
    ck_rv_t value = pkcs11_token_run(&question.self->token, list_operation, &question, NULL);
    enum status status = value == CKR_OK ? visit_all(keymanager, buffer_bytes(&question.ids), visit,
                                                     context)
                                         : pkcs11_status(value);
    buffer_free(&question.ids);
    return status;
}
