/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps that several scenarios have in common. Each reports itself and its failure; the first
 * failure ends a scenario. `text` is what a step is called.
 */
#ifndef KMIPD_SIM_MACHINE_H
#define KMIPD_SIM_MACHINE_H

#include <pthread.h>

#include "sim/datastore.h"
#include "sim/vcenter.h"

#define MACHINE_HOST "esxi01" /* where virtual machines run */

/* Runs the steps of a scenario with a vCenter that was just started. */
enum status machine_run(struct sim *sim, enum status (*steps)(struct vcenter *vcenter)) MUST_USE;

/* Reports a failure outside any step as a step of its own; returns `status`. */
enum status machine_failed(struct vcenter *vcenter, const char *text, enum status status,
                           const struct error *error);

/* ---- Keys (keys.c) ---- */

enum status machine_create_key(struct vcenter *vcenter, const char *text,
                               struct client_id *ret_id) MUST_USE;

/* Reads a new key, and activates it. */
enum status machine_read_key(struct vcenter *vcenter, const char *text, const char *id,
                             struct secret *ret_material) MUST_USE;

/* vCenter tags a key with the product on another connection, while it goes on. */
struct tagging {
    pthread_t thread;
    struct vcenter vcenter;
    const char *id;
    enum status status;
    struct error error;
};

enum status machine_start_tagging(struct vcenter *vcenter, const char *id,
                                  struct tagging *tagging) MUST_USE;

/* Waits for it and reports it. Where `before` is a failure, only waits, and returns that. */
enum status machine_end_tagging(struct vcenter *vcenter, struct tagging *tagging, const char *text,
                                enum status before) MUST_USE;

/*
 * A new key for a VM, as vCenter was recorded to make it: created; tagged while the host gets a key
 * of its own, where it has none; read, activated, tagged with what it is for.
 */
enum status machine_new_vm_key(struct vcenter *vcenter, const struct vm *vm,
                               struct client_id *ret_id, struct secret *ret_material) MUST_USE;

/* Makes the host's key where it has none. */
enum status machine_prepare_host(struct vcenter *vcenter, const char *name) MUST_USE;

/* ---- Virtual machines (machine.c) ---- */

/* Loads the configuration; only a failure is a step. */
enum status machine_load(struct vcenter *vcenter, const char *name, struct vm *ret_vm) MUST_USE;

/* The VM's key, for a VM that is to run. */
enum status machine_unlock(struct vcenter *vcenter, const char *id,
                           struct secret *ret_kek) MUST_USE;

enum status machine_unwrap_dek(struct vcenter *vcenter, const struct vm *vm,
                               const struct secret *kek, struct secret *ret_dek) MUST_USE;

/* The key of a VM's disk, by way of the VM's key. */
enum status machine_open_disk(struct vcenter *vcenter, const struct vm *vm,
                              struct secret *ret_dek) MUST_USE;

/* Wraps the key of the disk and stores the VM's configuration with it. */
enum status machine_wrap_dek(struct vcenter *vcenter, struct vm *vm, const struct secret *kek,
                             const struct client_id *kek_id, const struct secret *dek,
                             const char *text) MUST_USE;

/* A VM with a key of its own and an encrypted disk; replaces one of the same name. */
enum status machine_encrypt(struct vcenter *vcenter, const char *name, long mebibytes) MUST_USE;

/* Runs the VM with nothing but what is in the datastore: reads its configuration and its key,
 * unwraps the key of its disk, reads the disk. */
enum status machine_power_on(struct vcenter *vcenter, const char *name) MUST_USE;

#endif
