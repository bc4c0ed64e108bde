/* SPDX-License-Identifier: Apache-2.0 */
/* New keys for virtual machines, and clones. */
#include "sim/machine.h"

#include <inttypes.h>

#include "sim/scenarios.h"

/* ---- Rekey ---- */

static enum status digest_disk(struct vcenter *vcenter, const struct vm *vm,
                               uint8_t ret_digest[static SHA256_SIZE])
{
    struct error error = {0};
    struct disk disk = encrypted_disk_image(&vm->disk);
    enum status status = disk_digest(&disk, ret_digest, &error);
    return status == STATUS_OK ? status : machine_failed(vcenter, "read the image", status, &error);
}

/* vSphere leaves the keys that it no longer uses alone: backups and snapshots may need them. */
static enum status check_old_key(struct vcenter *vcenter, const char *id)
{
    struct step step;
    struct secret material = {0};
    step_begin(&step, &vcenter->sim->report, "the old key is left alone");
    enum status status = vcenter_unlock(vcenter, id, &material, &step.error);
    secret_free(&material);
    return step_end(&step, status, "%s, Active", id);
}

/* A new VM key around the key of the disk; the disk is not touched. */
static enum status rewrap(struct vcenter *vcenter, struct vm *vm)
{
    struct secret dek = {0};
    struct secret kek = {0};
    struct client_id id = {{0}};
    enum status status = machine_open_disk(vcenter, vm, &dek);
    if (status == STATUS_OK)
        status = machine_new_vm_key(vcenter, vm, &id, &kek);
    if (status == STATUS_OK)
        status = machine_wrap_dek(vcenter, vm, &kek, &id, &dek, "wrap the disk's key anew");
    secret_free(&kek);
    secret_free(&dek);
    return status;
}

static enum status check_digest(struct vcenter *vcenter, const struct vm *vm,
                                const uint8_t before[static SHA256_SIZE], bool same,
                                const char *text)
{
    struct step step;
    uint8_t now[SHA256_SIZE];
    struct disk disk = encrypted_disk_image(&vm->disk);
    step_begin(&step, &vcenter->sim->report, text);
    enum status status = disk_digest(&disk, now, &step.error);
    if (status == STATUS_OK && (memcmp(before, now, SHA256_SIZE) == 0) != same)
        status = error_set(&step.error, STATUS_INTERNAL, "the image %s",
                           same ? "has changed" : "is the same");
    return step_end(&step, status,
                    "SHA-256 of the image %02x%02x%02x%02x..., before "
                    "%02x%02x%02x%02x...",
                    now[0], now[1], now[2], now[3], before[0], before[1], before[2], before[3]);
}

static enum status shallow_rekey(struct vcenter *vcenter, const char *name)
{
    struct vm vm;
    uint8_t before[SHA256_SIZE];
    enum status status = machine_load(vcenter, name, &vm);
    if (status == STATUS_OK)
        status = digest_disk(vcenter, &vm, before);
    if (status != STATUS_OK)
        return status;
    struct client_id old = vm.disk.kek;
    status = rewrap(vcenter, &vm);
    if (status == STATUS_OK)
        status = check_digest(vcenter, &vm, before, true, "the disk is untouched");
    if (status == STATUS_OK)
        status = check_old_key(vcenter, old.text);
    return status == STATUS_OK ? machine_power_on(vcenter, name) : status;
}

static enum status shallow_steps(struct vcenter *vcenter)
{
    return shallow_rekey(vcenter, vcenter->sim->options.vm);
}

enum status scenario_rekey_shallow(struct sim *sim)
{
    return machine_run(sim, shallow_steps);
}

static enum status reencrypt(struct vcenter *vcenter, const struct vm *vm,
                             const struct secret *from, const struct secret *to)
{
    struct step step;
    struct disk disk = encrypted_disk_image(&vm->disk);
    step_begin(&step, &vcenter->sim->report, "encrypt the disk again");
    enum status status = disk_reencrypt(&disk, from, to, &step, &step.error);
    return step_end(&step, status, "%" PRIu64 " MiB", disk.sectors / DISK_SECTORS_PER_MIB);
}

/* The key that the disk had before opens it no more. */
static enum status check_old_dek(struct vcenter *vcenter, const struct vm *vm,
                                 const struct secret *dek)
{
    struct step step;
    struct error why = {0};
    struct disk disk = encrypted_disk_image(&vm->disk);
    step_begin(&step, &vcenter->sim->report, "the disk's old key opens it no more");
    enum status status = disk_read(&disk, dek, &step, &why);
    if (status == STATUS_UNWRAP_FAILED)
        return step_end(&step, STATUS_OK, "it gives nonsense");
    step.error = why;
    if (status == STATUS_OK)
        status = error_set(&step.error, STATUS_INTERNAL, "the disk's old key still opens it");
    return step_end(&step, status, "%s", "");
}

/* New keys for both; the disk is decrypted and encrypted. */
static enum status replace_keys(struct vcenter *vcenter, struct vm *vm)
{
    struct secret old = {0};
    struct secret dek = {0};
    struct secret kek = {0};
    struct client_id id = {{0}};
    enum status status = machine_open_disk(vcenter, vm, &old);
    if (status == STATUS_OK)
        status = machine_new_vm_key(vcenter, vm, &id, &kek);
    if (status == STATUS_OK)
        status = dek_make(&dek);
    if (status == STATUS_OK)
        status = reencrypt(vcenter, vm, &old, &dek);
    if (status == STATUS_OK)
        status = machine_wrap_dek(vcenter, vm, &kek, &id, &dek, "wrap the disk's new key");
    if (status == STATUS_OK)
        status = check_old_dek(vcenter, vm, &old);
    secret_free(&kek);
    secret_free(&dek);
    secret_free(&old);
    return status;
}

static enum status deep_rekey(struct vcenter *vcenter, const char *name)
{
    struct vm vm;
    uint8_t before[SHA256_SIZE];
    enum status status = machine_load(vcenter, name, &vm);
    if (status == STATUS_OK)
        status = digest_disk(vcenter, &vm, before);
    if (status != STATUS_OK)
        return status;
    struct client_id old = vm.disk.kek;
    status = replace_keys(vcenter, &vm);
    if (status == STATUS_OK)
        status = check_digest(vcenter, &vm, before, false, "the disk is another one");
    if (status == STATUS_OK)
        status = check_old_key(vcenter, old.text);
    return status == STATUS_OK ? machine_power_on(vcenter, name) : status;
}

static enum status deep_steps(struct vcenter *vcenter)
{
    return deep_rekey(vcenter, vcenter->sim->options.vm);
}

enum status scenario_rekey_deep(struct sim *sim)
{
    return machine_run(sim, deep_steps);
}

/* ---- Clone ---- */

static enum status copy_disk(struct vcenter *vcenter, const struct vm *from, const struct vm *to)
{
    struct step step;
    struct disk disk = encrypted_disk_image(&from->disk);
    step_begin(&step, &vcenter->sim->report, "copy the disk as it is");
    enum status status = disk_copy(&disk, to->disk.path, &step, &step.error);
    return step_end(&step, status, "%s", to->name);
}

/* A clone has the keys of the original (vSphere's default), bound to the clone. */
static enum status make_clone(struct vcenter *vcenter, const struct vm *from, struct vm *clone)
{
    struct secret kek = {0};
    struct secret dek = {0};
    enum status status = machine_unlock(vcenter, from->disk.kek.text, &kek);
    if (status == STATUS_OK)
        status = machine_unwrap_dek(vcenter, from, &kek, &dek);
    if (status == STATUS_OK)
        status = copy_disk(vcenter, from, clone);
    if (status == STATUS_OK)
        status = machine_wrap_dek(vcenter, clone, &kek, &from->disk.kek, &dek,
                                  "wrap the disk's key for the clone");
    secret_free(&dek);
    secret_free(&kek);
    return status;
}

static enum status clone_vm(struct vcenter *vcenter, const char *name)
{
    struct vm from;
    struct vm clone;
    struct error error = {0};
    char clone_name[DATASTORE_NAME_MAX];
    (void)snprintf(clone_name, sizeof(clone_name), "%.*s-clone", SIM_VM_NAME_MAX, name);
    enum status status = machine_load(vcenter, name, &from);
    if (status != STATUS_OK)
        return status;
    status = vm_init(vcenter->sim->options.dir, clone_name, from.host, &clone, &error);
    if (status != STATUS_OK)
        return machine_failed(vcenter, "make a VM", status, &error);
    clone.disk.sectors = from.disk.sectors;
    memcpy(clone.disk.label, from.disk.label, sizeof(clone.disk.label)); /* what is in the disk */
    status = make_clone(vcenter, &from, &clone);
    if (status == STATUS_OK)
        status = machine_power_on(vcenter, clone_name);
    if (status == STATUS_OK)
        status = shallow_rekey(vcenter, clone_name);
    return status == STATUS_OK ? machine_power_on(vcenter, name) : status;
}

static enum status clone_steps(struct vcenter *vcenter)
{
    return clone_vm(vcenter, vcenter->sim->options.vm);
}

enum status scenario_clone(struct sim *sim)
{
    return machine_run(sim, clone_steps);
}
