/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/datastore.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/hex.h"

enum { FILE_SIZE_MAX = 4 << 20 };

/* ---- Files ---- */

static enum status make_directory(const char *path, struct error *error)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return STATUS_OK;
    return error_set_errno(error, STATUS_IO, errno, "cannot make the directory %s", path);
}

static enum status make_path(const char *directory, const char *folder, const char *name,
                             const char *suffix, char ret_path[static PATH_MAX],
                             struct error *error)
{
    int length = snprintf(ret_path, PATH_MAX, "%s/%s%s%s%s", directory, folder,
                          folder[0] != '\0' ? "/" : "", name, suffix);
    if (length >= 0 && length < PATH_MAX)
        return STATUS_OK;
    return error_set(error, STATUS_TOO_LARGE, "the path of the datastore is too long");
}

enum status datastore_make(const char *directory, struct error *error)
{
    static const char *const folders[] = {"vms", "hosts", "vsan", "dumps"};
    enum status status = make_directory(directory, error);
    for (size_t i = 0; i < ARRAY_COUNT(folders) && status == STATUS_OK; i++) {
        char path[PATH_MAX];
        status = make_path(directory, "", folders[i], "", path, error);
        if (status == STATUS_OK)
            status = make_directory(path, error);
    }
    return status;
}

static enum status damaged(const char *path, struct error *error)
{
    return error_set(error, STATUS_MALFORMED,
                     "%s is not what this program has written: restore it, or delete the datastore "
                     "to begin anew",
                     path);
}

static enum status read_json(const char *path, json_t **ret_json, struct error *error)
{
    struct buffer content;
    buffer_init(&content, FILE_SIZE_MAX);
    enum status status = file_read(path, FILE_PUBLIC, &content, error);
    json_t *json = NULL;
    if (status == STATUS_OK)
        json = json_loadb((const char *)content.data, content.size, JSON_REJECT_DUPLICATES, NULL);
    buffer_free(&content);
    if (status != STATUS_OK)
        return status;
    if (!json_is_object(json)) {
        json_decref(json);
        return damaged(path, error);
    }
    *ret_json = json;
    return STATUS_OK;
}

static enum status replace(const char *path, struct bytes content, struct error *error)
{
    int lock;
    enum status status = file_lock(path, &lock, error);
    if (status != STATUS_OK)
        return status;
    status = file_replace(lock, path, content, 0600, 0, error);
    file_unlock(lock);
    return status;
}

/* Takes `json`, which may be NULL for want of memory. */
static enum status write_json(const char *path, json_t *json, struct error *error)
{
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    if (text == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory to write %s", path);
    enum status status = replace(path, bytes_of_text(text), error);
    free(text);
    return status;
}

/* A text member that fits; false if there is none such. */
static bool take_text(const json_t *json, const char *key, char *ret_text, size_t size)
{
    const char *text = json_string_value(json_object_get(json, key));
    if (text == NULL || strlen(text) >= size)
        return false;
    (void)snprintf(ret_text, size, "%s", text);
    return true;
}

static enum status new_uuid(char ret_text[static UUID_TEXT_LENGTH + 1], struct error *error)
{
    struct uuid uuid;
    if (uuid_make((int64_t)time(NULL) * 1000, &uuid) != STATUS_OK)
        return error_set(error, STATUS_CRYPTO_FAILED, "there are no random numbers for a UUID");
    uuid_text(&uuid, ret_text);
    return STATUS_OK;
}

/* ---- Encrypted disks ---- */

struct disk encrypted_disk_image(const struct encrypted_disk *disk)
{
    return (struct disk){disk->path, disk->label, disk->sectors};
}

static json_t *pack_disk(const struct encrypted_disk *disk)
{
    char hex[2 * DEK_WRAPPED_SIZE + 1];
    hex_text(bytes_of(disk->dek.bytes, DEK_WRAPPED_SIZE), hex);
    return json_pack("{s:s, s:s, s:I, s:s, s:s}", "uuid", disk->owner, "label", disk->label,
                     "sectors", (json_int_t)disk->sectors, "key_id", disk->kek.text, "wrapped_key",
                     hex);
}

static bool unpack_disk(const json_t *json, struct encrypted_disk *disk)
{
    char hex[2 * DEK_WRAPPED_SIZE + 1];
    json_int_t sectors = json_integer_value(json_object_get(json, "sectors"));
    disk->sectors = (uint64_t)sectors;
    return sectors > 0 && take_text(json, "uuid", disk->owner, sizeof(disk->owner)) &&
           take_text(json, "label", disk->label, sizeof(disk->label)) &&
           take_text(json, "key_id", disk->kek.text, sizeof(disk->kek.text)) &&
           take_text(json, "wrapped_key", hex, sizeof(hex)) &&
           hex_decode(bytes_of_text(hex), disk->dek.bytes, DEK_WRAPPED_SIZE);
}

/* ---- Virtual machines ---- */

static enum status copy_name(const char *name, char *ret_name, struct error *error)
{
    if (snprintf(ret_name, DATASTORE_NAME_MAX, "%s", name) < DATASTORE_NAME_MAX)
        return STATUS_OK;
    return error_set(error, STATUS_TOO_LARGE, "the name %s is too long", name);
}

enum status vm_init(const char *directory, const char *name, const char *host, struct vm *ret_vm,
                    struct error *error)
{
    struct vm vm = {0};
    enum status status = copy_name(name, vm.name, error);
    if (status == STATUS_OK)
        status = copy_name(host, vm.host, error);
    if (status == STATUS_OK)
        status = new_uuid(vm.disk.owner, error);
    if (status == STATUS_OK)
        status = make_path(directory, "vms", name, ".img", vm.disk.path, error);
    (void)snprintf(vm.disk.label, sizeof(vm.disk.label), "%s %s", vm.name, vm.disk.owner);
    if (status == STATUS_OK)
        *ret_vm = vm;
    return status;
}

enum status vm_load(const char *directory, const char *name, struct vm *ret_vm, struct error *error)
{
    struct vm vm = {0};
    char path[PATH_MAX];
    json_t *json = NULL;
    enum status status = make_path(directory, "vms", name, ".json", path, error);
    if (status == STATUS_OK)
        status = make_path(directory, "vms", name, ".img", vm.disk.path, error);
    if (status == STATUS_OK)
        status = read_json(path, &json, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, status,
                         "there is no virtual machine %s in %s: `vsphere-sim encrypt` makes one",
                         name, directory);
    if (status != STATUS_OK)
        return status;
    bool good = take_text(json, "name", vm.name, sizeof(vm.name)) &&
                take_text(json, "host", vm.host, sizeof(vm.host)) &&
                unpack_disk(json_object_get(json, "disk"), &vm.disk);
    json_decref(json);
    if (!good)
        return damaged(path, error);
    *ret_vm = vm;
    return STATUS_OK;
}

enum status vm_store(const char *directory, const struct vm *vm, struct error *error)
{
    char path[PATH_MAX];
    enum status status = make_path(directory, "vms", vm->name, ".json", path, error);
    if (status != STATUS_OK)
        return status;
    return write_json(path,
                      json_pack("{s:s, s:s, s:o}", "name", vm->name, "host", vm->host, "disk",
                                pack_disk(&vm->disk)),
                      error);
}

/* ---- Hosts ---- */

static enum status new_host(const char *name, struct host *ret_host, struct error *error)
{
    struct host host = {0};
    enum status status = copy_name(name, host.name, error);
    if (status == STATUS_OK)
        status = new_uuid(host.uuid, error);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(host.address, sizeof(host.address), "%.40s.example.com", name);
    *ret_host = host;
    return STATUS_OK;
}

enum status host_load(const char *directory, const char *name, struct host *ret_host,
                      struct error *error)
{
    struct host host = {0};
    char path[PATH_MAX];
    json_t *json = NULL;
    enum status status = make_path(directory, "hosts", name, ".json", path, error);
    if (status == STATUS_OK)
        status = read_json(path, &json, error);
    if (status == STATUS_NOT_FOUND)
        return new_host(name, ret_host, error);
    if (status != STATUS_OK)
        return status;
    bool good = take_text(json, "name", host.name, sizeof(host.name)) &&
                take_text(json, "address", host.address, sizeof(host.address)) &&
                take_text(json, "uuid", host.uuid, sizeof(host.uuid)) &&
                take_text(json, "key_id", host.key.text, sizeof(host.key.text));
    json_decref(json);
    if (!good)
        return damaged(path, error);
    *ret_host = host;
    return STATUS_OK;
}

enum status host_store(const char *directory, const struct host *host, struct error *error)
{
    char path[PATH_MAX];
    enum status status = make_path(directory, "hosts", host->name, ".json", path, error);
    if (status != STATUS_OK)
        return status;
    return write_json(path,
                      json_pack("{s:s, s:s, s:s, s:s}", "name", host->name, "address",
                                host->address, "uuid", host->uuid, "key_id", host->key.text),
                      error);
}

/* ---- Core dumps ---- */

enum status dump_init(const char *directory, const char *host, struct encrypted_disk *ret_dump,
                      struct error *error)
{
    struct encrypted_disk dump = {0};
    enum status status = new_uuid(dump.owner, error);
    if (status == STATUS_OK)
        status = make_path(directory, "dumps", host, ".img", dump.path, error);
    (void)snprintf(dump.label, sizeof(dump.label), "core dump of %.40s %s", host, dump.owner);
    if (status == STATUS_OK)
        *ret_dump = dump;
    return status;
}

enum status dump_load(const char *directory, const char *host, struct encrypted_disk *ret_dump,
                      struct error *error)
{
    struct encrypted_disk dump = {0};
    char path[PATH_MAX];
    json_t *json = NULL;
    enum status status = make_path(directory, "dumps", host, ".json", path, error);
    if (status == STATUS_OK)
        status = make_path(directory, "dumps", host, ".img", dump.path, error);
    if (status == STATUS_OK)
        status = read_json(path, &json, error);
    if (status != STATUS_OK)
        return status;
    bool good = unpack_disk(json, &dump);
    json_decref(json);
    if (!good)
        return damaged(path, error);
    *ret_dump = dump;
    return STATUS_OK;
}

enum status dump_store(const char *directory, const char *host, const struct encrypted_disk *dump,
                       struct error *error)
{
    char path[PATH_MAX];
    enum status status = make_path(directory, "dumps", host, ".json", path, error);
    return status == STATUS_OK ? write_json(path, pack_disk(dump), error) : status;
}

/* ---- vSAN ---- */

static enum status allocate_disks(const char *directory, size_t count, struct cluster *cluster,
                                  struct error *error)
{
    cluster->disks = calloc(count, sizeof(*cluster->disks));
    if (cluster->disks == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for %zu hosts", count);
    cluster->count = count;
    for (size_t i = 0; i < count; i++) {
        char number[24];
        (void)snprintf(number, sizeof(number), "%04zu", i + 1);
        enum status status =
            make_path(directory, "vsan", number, ".img", cluster->disks[i].path, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

enum status cluster_init(const char *directory, size_t count, struct cluster *ret_cluster,
                         struct error *error)
{
    struct cluster cluster = {0};
    enum status status = allocate_disks(directory, count, &cluster, error);
    if (status == STATUS_OK)
        status = new_uuid(cluster.uuid, error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        struct encrypted_disk *disk = &cluster.disks[i];
        status = new_uuid(disk->owner, error);
        (void)snprintf(disk->label, sizeof(disk->label), "vSAN disk %zu %s", i + 1, disk->owner);
    }
    if (status == STATUS_OK)
        *ret_cluster = cluster;
    else
        cluster_free(&cluster);
    return status;
}

static enum status unpack_cluster(const char *directory, const json_t *json,
                                  struct cluster *cluster, struct error *error)
{
    const json_t *disks = json_object_get(json, "disks");
    size_t count = json_array_size(disks);
    bool good =
        count > 0 && take_text(json, "uuid", cluster->uuid, sizeof(cluster->uuid)) &&
        take_text(json, "key_id", cluster->kek.text, sizeof(cluster->kek.text)) &&
        take_text(json, "host_key_id", cluster->host_key.text, sizeof(cluster->host_key.text));
    if (!good)
        return STATUS_MALFORMED;
    enum status status = allocate_disks(directory, count, cluster, error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        if (!unpack_disk(json_array_get(disks, i), &cluster->disks[i]))
            status = STATUS_MALFORMED;
    return status;
}

enum status cluster_load(const char *directory, struct cluster *ret_cluster, struct error *error)
{
    struct cluster cluster = {0};
    char path[PATH_MAX];
    json_t *json = NULL;
    enum status status = make_path(directory, "vsan", "cluster", ".json", path, error);
    if (status == STATUS_OK)
        status = read_json(path, &json, error);
    if (status != STATUS_OK)
        return status;
    status = unpack_cluster(directory, json, &cluster, error);
    json_decref(json);
    if (status == STATUS_OK)
        *ret_cluster = cluster;
    else
        cluster_free(&cluster);
    return status == STATUS_MALFORMED ? damaged(path, error) : status;
}

enum status cluster_store(const char *directory, const struct cluster *cluster, struct error *error)
{
    char path[PATH_MAX];
    json_t *disks = json_array();
    bool all = disks != NULL;
    for (size_t i = 0; i < cluster->count && all; i++)
        all = json_array_append_new(disks, pack_disk(&cluster->disks[i])) == 0;
    enum status status = make_path(directory, "vsan", "cluster", ".json", path, error);
    if (status != STATUS_OK || !all) {
        json_decref(disks);
        return all ? status : error_set(error, STATUS_NO_MEMORY, "no memory to write a cluster");
    }
    return write_json(path,
                      json_pack("{s:s, s:s, s:s, s:o}", "uuid", cluster->uuid, "key_id",
                                cluster->kek.text, "host_key_id", cluster->host_key.text, "disks",
                                disks),
                      error);
}

void cluster_free(struct cluster *cluster)
{
    free(cluster->disks);
    *cluster = (struct cluster){0};
}

/* ---- The provider ---- */

/* The object of all pins; an empty one where there is no file yet. */
static enum status read_provider(const char *directory, char path[static PATH_MAX],
                                 json_t **ret_json, struct error *error)
{
    enum status status = make_path(directory, "", "provider", ".json", path, error);
    if (status == STATUS_OK)
        status = read_json(path, ret_json, error);
    if (status != STATUS_NOT_FOUND)
        return status;
    *ret_json = json_object();
    return *ret_json != NULL ? STATUS_OK : error_set(error, STATUS_NO_MEMORY, "no memory");
}

enum status provider_load_pin(const char *directory, const char *server, bool *ret_pinned,
                              uint8_t ret_pin[static CLIENT_SHA256_SIZE], struct error *error)
{
    char path[PATH_MAX];
    json_t *json = NULL;
    enum status status = read_provider(directory, path, &json, error);
    if (status != STATUS_OK)
        return status;
    const char *hex = json_string_value(json_object_get(json, server));
    *ret_pinned = hex != NULL;
    if (hex != NULL && !hex_decode(bytes_of_text(hex), ret_pin, CLIENT_SHA256_SIZE))
        status = damaged(path, error);
    json_decref(json);
    return status;
}

enum status provider_store_pin(const char *directory, const char *server,
                               const uint8_t pin[static CLIENT_SHA256_SIZE], struct error *error)
{
    char path[PATH_MAX];
    char hex[2 * CLIENT_SHA256_SIZE + 1];
    json_t *json = NULL;
    enum status status = read_provider(directory, path, &json, error);
    if (status != STATUS_OK)
        return status;
    hex_text(bytes_of(pin, CLIENT_SHA256_SIZE), hex);
    if (json_object_set_new(json, server, json_string(hex)) != 0) {
        json_decref(json);
        return error_set(error, STATUS_NO_MEMORY, "no memory to write %s", path);
    }
    return write_json(path, json, error);
}
