/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/sealed_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "keymanager/local.h"
#include "keymanager/sealed_format.h"
#include "keymanager/sealing.h"

/* What a file is sealed with. */
struct seal {
    struct sealed_header header;
    struct secret keys;
};

struct sealed_file {
    struct local_keymanager local; /* first; its `change` guards all below */
    char *path;
    struct seal seal;
    uint8_t digest[SHA256_SIZE]; /* of the generation that `keys` are */
};

static struct sealed_file *sealed_of(struct keymanager *keymanager)
{
    return CONTAINER_OF(keymanager, struct sealed_file, local.keymanager);
}

/* ---- The file ---- */

/* A new seal: salt and keys. */
static enum status seal_make(const struct sealing *sealing, struct seal *ret_seal,
                             struct error *error)
{
    struct secret material;
    struct seal seal = {0};
    enum status status = sealing_material(sealing, true, &material, error);
    if (status != STATUS_OK)
        return status;
    status = sealed_header_make(sealing->method, &seal.header);
    if (status == STATUS_OK)
        status = sealed_keys_derive(&seal.header, secret_bytes(&material), &seal.keys);
    secret_free(&material);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot make a sealing key: %s", status_text(status));
    *ret_seal = seal;
    return STATUS_OK;
}

/* Whether what stands at the path still is what this key manager read or wrote. */
static enum status check_generation(const struct sealed_file *self, struct error *error)
{
    struct buffer now;
    buffer_init(&now, SEALED_FILE_MAX);
    enum status status = file_read(self->path, FILE_PRIVATE, &now, error);
    if (status == STATUS_OK && (now.size < SHA256_SIZE || memcmp(sealed_digest(buffer_bytes(&now)),
                                                                 self->digest, SHA256_SIZE) != 0))
        status = error_set(error, STATUS_CONFLICT,
                           "another process has changed %s since it was opened: restart this one",
                           self->path);
    buffer_free(&now);
    return status;
}

static enum status put_in_place(const struct sealed_file *self, struct bytes content, bool is_new,
                                struct error *error)
{
    int lock;
    enum status status = file_lock(self->path, &lock, error);
    if (status != STATUS_OK)
        return status;
    if (!is_new)
        status = check_generation(self, error);
    if (status == STATUS_OK)
        status = file_replace(lock, self->path, content, 0600,
                              is_new ? FILE_MUST_BE_NEW : FILE_KEEP_PREVIOUS, error);
    file_unlock(lock);
    return status;
}

/* Writes the next generation: the root keys held, with `changed` among them, under `seal`. */
static enum status write_generation(struct sealed_file *self, struct seal *seal,
                                    const struct root_key *changed, struct error *error)
{
    struct buffer file;
    bool is_new = self->seal.keys.data == NULL; /* create_file(): there is no seal yet */
    buffer_init(&file, SEALED_FILE_MAX);
    uint64_t before = seal->header.generation;
    seal->header.generation = self->seal.header.generation + 1;
    enum status status =
        sealed_encode(&seal->header, &seal->keys, &self->local.keys, changed, &file, error);
    if (status == STATUS_OK)
        status = put_in_place(self, buffer_bytes(&file), is_new, error);
    if (status == STATUS_OK)
        memcpy(self->digest, sealed_digest(buffer_bytes(&file)), SHA256_SIZE);
    else
        seal->header.generation = before;
    buffer_free(&file);
    return status;
}

static enum status decode(struct sealed_file *self, struct bytes file,
                          const struct sealing *sealing, struct error *error)
{
    struct seal *seal = &self->seal;
    struct secret material;
    enum status status = sealed_header_read(file, self->path, &seal->header, error);
    if (status != STATUS_OK)
        return status;
    if (seal->header.method != sealing->method)
        return error_set(error, STATUS_NOT_AUTHENTICATED,
                         "the sealed file %s is sealed with a %s, but the configuration names a %s",
                         self->path, sealing_method_text(seal->header.method),
                         sealing_method_text(sealing->method));
    status = sealing_material(sealing, false, &material, error);
    if (status != STATUS_OK)
        return status;
    status = sealed_keys_derive(&seal->header, secret_bytes(&material), &seal->keys);
    secret_free(&material);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot derive the key of %s: %s", self->path,
                         status_text(status));
    memcpy(self->digest, sealed_digest(file), SHA256_SIZE);
    return sealed_decode(file, self->path, &seal->keys, &self->local.keys, error);
}

static enum status load(struct sealed_file *self, const struct sealing *sealing,
                        struct error *error)
{
    struct buffer file;
    struct stat stat;
    /* A change would put a file in the place of the link. */
    if (lstat(self->path, &stat) == 0 && S_ISLNK(stat.st_mode))
        return error_set(error, STATUS_IO, "%s is a symbolic link: name the sealed file itself",
                         self->path);
    buffer_init(&file, SEALED_FILE_MAX);
    enum status status = file_read(self->path, FILE_PRIVATE, &file, error);
    if (status == STATUS_OK)
        status = decode(self, buffer_bytes(&file), sealing, error);
    buffer_free(&file);
    return status;
}

static bool previous_exists(const char *path)
{
    char *previous = NULL;
    if (asprintf(&previous, "%s.previous", path) < 0)
        return true; /* unknown: nothing may be made */
    bool exists = file_exists(previous);
    free(previous);
    return exists;
}

static enum status create_file(struct sealed_file *self, const struct sealing *sealing,
                               struct error *error)
{
    if (previous_exists(self->path))
        return error_set(error, STATUS_NOT_FOUND,
                         "the sealed file %s is missing, but %s.previous is there: rename that one "
                         "to go on with the root keys in it, or move it away to begin without",
                         self->path, self->path);
    struct seal seal;
    enum status status = seal_make(sealing, &seal, error);
    if (status != STATUS_OK)
        return status;
    status = write_generation(self, &seal, NULL, error);
    if (status == STATUS_OK)
        self->seal = seal;
    else
        secret_free(&seal.keys);
    return status;
}

static enum status load_or_create(struct sealed_file *self, const struct sealing *sealing,
                                  bool create, struct error *error)
{
    if (file_exists(self->path))
        return load(self, sealing, error);
    if (create)
        return create_file(self, sealing, error);
    return error_set(error, STATUS_NOT_FOUND,
                     "there is no sealed file at %s: restore it from a backup, or make a new one "
                     "if this server has no keys yet",
                     self->path);
}

/* ---- The provider ---- */

static enum status sealed_save(struct local_keymanager *local, const struct root_key *changed,
                               struct error *error)
{
    struct sealed_file *self = CONTAINER_OF(local, struct sealed_file, local);
    return write_generation(self, &self->seal, changed, error);
}

/* Whether what the next change needs is as it was left. */
static enum status sealed_check(struct keymanager *keymanager, struct error *error)
{
    struct sealed_file *self = sealed_of(keymanager);
    (void)pthread_mutex_lock(&self->local.change);
    enum status status = check_generation(self, error);
    (void)pthread_mutex_unlock(&self->local.change);
    return status;
}

static void sealed_close(struct keymanager *keymanager)
{
    struct sealed_file *self = sealed_of(keymanager);
    local_end(&self->local);
    secret_free(&self->seal.keys);
    free(self->path);
    free(self);
}

static const struct keymanager_provider provider = {
    .name = "sealed-file",
    .immediate = true,
    .wrap = local_wrap,
    .unwrap = local_unwrap,
    .rewrap = local_rewrap,
    .create_root_key = local_create_root_key,
    .rotate = local_rotate,
    .set_state = local_set_state,
    .delete = local_delete,
    .restore = local_restore,
    .purge = local_purge,
    .root_key_info = local_root_key_info,
    .root_keys = local_root_keys,
    .is_newest = local_is_newest,
    .check = sealed_check,
    .close = sealed_close,
};

static struct sealed_file *sealed_new(const char *path)
{
    struct sealed_file *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return NULL;
    self->path = strdup(path);
    if (self->path != NULL && local_init(&self->local, &provider, sealed_save) == STATUS_OK)
        return self;
    free(self->path);
    free(self);
    return NULL;
}

enum status sealed_file_open(const char *path, const struct sealing *sealing, bool create,
                             struct keymanager **ret_keymanager, struct error *error)
{
    struct sealed_file *self = sealed_new(path);
    if (self == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory to open %s", path);
    enum status status = load_or_create(self, sealing, create, error);
    if (status == STATUS_OK)
        *ret_keymanager = &self->local.keymanager;
    else
        sealed_close(&self->local.keymanager);
    return status;
}

enum status sealed_file_reseal(struct keymanager *keymanager, const struct sealing *sealing,
                               struct error *error)
{
    if (keymanager->provider != &provider)
        return error_set(error, STATUS_INVALID_ARGUMENT, "this key manager has no sealed file");
    struct sealed_file *self = sealed_of(keymanager);
    struct seal seal;
    enum status status = seal_make(sealing, &seal, error);
    if (status != STATUS_OK)
        return status;
    (void)pthread_mutex_lock(&self->local.change);
    status = write_generation(self, &seal, NULL, error);
    if (status == STATUS_OK) {
        struct secret old = self->seal.keys;
        self->seal = seal;
        seal.keys = old;
    }
    (void)pthread_mutex_unlock(&self->local.change);
    secret_free(&seal.keys);
    return status;
}
