/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The datastore: a directory with what vCenter and the hosts remember. Configurations are small
 * JSON files; in them keys of the KMIP server are identifiers, and keys of disks are wrapped.
 *
 *   DIR/provider.json      the servers whose certificates are trusted
 *   DIR/hosts/NAME.json    a host and its key
 *   DIR/vms/NAME.json      a virtual machine; its disk is NAME.img
 *   DIR/vsan/cluster.json  a vSAN cluster; its disks are NUMBER.img
 *   DIR/dumps/NAME.json    a core dump of the host NAME; NAME.img
 *
 * Files are replaced in one step that survives a crash. Functions fail with a text; NOT_FOUND where
 * there is no such file, MALFORMED where it is not what was written.
 */
#ifndef KMIPD_SIM_DATASTORE_H
#define KMIPD_SIM_DATASTORE_H

#include <limits.h>

#include "base/uuid.h"
#include "client/operations.h"
#include "sim/disk.h"

#define DATASTORE_NAME_MAX 64 /* with the NUL */

/* Makes the directories that are missing. */
enum status datastore_make(const char *directory, struct error *error) MUST_USE;

/* ---- Encrypted disks: of a VM, a core dump, or a host's share of a cluster ---- */

struct encrypted_disk {
    char owner[UUID_TEXT_LENGTH + 1]; /* what its key is bound to */
    char path[PATH_MAX];              /* of the image; not in the file: made from its name */
    char label[DISK_LABEL_MAX];       /* what is in it */
    uint64_t sectors;
    struct client_id kek; /* what its key is wrapped by */
    struct wrapped_dek dek;
};

/* The image, for disk.h. Borrows. */
struct disk encrypted_disk_image(const struct encrypted_disk *disk);

struct vm {
    char name[DATASTORE_NAME_MAX];
    char host[DATASTORE_NAME_MAX];
    struct encrypted_disk disk; /* the owner is the VM's instance UUID */
};

/* A VM that is not stored yet: name, host, a new UUID, the path of its disk. */
enum status vm_init(const char *directory, const char *name, const char *host, struct vm *ret_vm,
                    struct error *error) MUST_USE;
enum status vm_load(const char *directory, const char *name, struct vm *ret_vm,
                    struct error *error) MUST_USE;
enum status vm_store(const char *directory, const struct vm *vm, struct error *error) MUST_USE;

/* ---- Hosts ---- */

struct host {
    char name[DATASTORE_NAME_MAX];
    char address[DATASTORE_NAME_MAX];
    char uuid[UUID_TEXT_LENGTH + 1];
    struct client_id key; /* "" while the host has none */
};

/* A host that is not stored yet gets a new UUID, and no key. */
enum status host_load(const char *directory, const char *name, struct host *ret_host,
                      struct error *error) MUST_USE;
enum status host_store(const char *directory, const struct host *host,
                       struct error *error) MUST_USE;

/* A core dump, named as the host. */
enum status dump_init(const char *directory, const char *host, struct encrypted_disk *ret_dump,
                      struct error *error) MUST_USE;
enum status dump_load(const char *directory, const char *host, struct encrypted_disk *ret_dump,
                      struct error *error) MUST_USE;
enum status dump_store(const char *directory, const char *host, const struct encrypted_disk *dump,
                       struct error *error) MUST_USE;

/* ---- vSAN ---- */

struct cluster {
    char uuid[UUID_TEXT_LENGTH + 1];
    struct client_id kek;
    struct client_id host_key;
    size_t count;
    struct encrypted_disk *disks; /* one for each host */
};

/* An empty cluster with a new UUID and `count` disks to be written. End: cluster_free(). */
enum status cluster_init(const char *directory, size_t count, struct cluster *ret_cluster,
                         struct error *error) MUST_USE;
enum status cluster_load(const char *directory, struct cluster *ret_cluster,
                         struct error *error) MUST_USE;
enum status cluster_store(const char *directory, const struct cluster *cluster,
                          struct error *error) MUST_USE;
void cluster_free(struct cluster *cluster);

/* ---- The provider ---- */

/* Whether the certificate of a server is pinned, and which (SHA-256 of its DER). */
enum status provider_load_pin(const char *directory, const char *server, bool *ret_pinned,
                              uint8_t ret_pin[static CLIENT_SHA256_SIZE],
                              struct error *error) MUST_USE;
enum status provider_store_pin(const char *directory, const char *server,
                               const uint8_t pin[static CLIENT_SHA256_SIZE],
                               struct error *error) MUST_USE;

#endif
