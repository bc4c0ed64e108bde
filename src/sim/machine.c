/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual machines and their disks. */
#include "sim/machine.h"

#include <inttypes.h>

#include "sim/scenarios.h"

/* ---- Disks ---- */

static enum status write_disk(struct vcenter *vcenter, const struct vm *vm,
                              const struct secret *dek)
{
    struct step step;
    struct disk disk = encrypted_disk_image(&vm->disk);
    step_begin(&step, &vcenter->sim->report, "encrypt the disk");
    enum status status = disk_write(&disk, dek, &step, &step.error);
    return step_end(&step, status, "%" PRIu64 " MiB, AES-256-XTS",
                    vm->disk.sectors / DISK_SECTORS_PER_MIB);
}

static enum status read_disk(struct vcenter *vcenter, const struct vm *vm, const struct secret *dek)
{
    struct step step;
    struct disk disk = encrypted_disk_image(&vm->disk);
    bool shows = false;
    step_begin(&step, &vcenter->sim->report, "read the disk");
    enum status status = disk_read(&disk, dek, &step, &step.error);
    if (status == STATUS_OK)
        status = disk_shows_label(&disk, &shows, &step.error);
    if (status == STATUS_OK && shows)
        status = error_set(&step.error, STATUS_INTERNAL, "%s holds plaintext", disk.path);
    return step_end(&step, status, "%" PRIu64 " sectors as written; no plaintext in the image",
                    disk.sectors);
}

/* The host makes the key of the disk, and what vCenter keeps of it is wrapped by the VM's key. */
enum status machine_wrap_dek(struct vcenter *vcenter, struct vm *vm, const struct secret *kek,
                             const struct client_id *kek_id, const struct secret *dek,
                             const char *text)
{
    struct step step;
    step_begin(&step, &vcenter->sim->report, text);
    vm->disk.kek = *kek_id;
    enum status status = dek_wrap(kek, kek_id->text, vm->disk.owner, dek, &vm->disk.dek);
    if (status == STATUS_OK)
        status = vm_store(vcenter->sim->options.dir, vm, &step.error);
    return step_end(&step, status, "XAES-256-GCM under %s", kek_id->text);
}

enum status machine_unwrap_dek(struct vcenter *vcenter, const struct vm *vm,
                               const struct secret *kek, struct secret *ret_dek)
{
    struct step step;
    step_begin(&step, &vcenter->sim->report, "unwrap the disk's key");
    enum status status = dek_unwrap(kek, vm->disk.kek.text, vm->disk.owner, &vm->disk.dek, ret_dek);
    if (status == STATUS_UNWRAP_FAILED)
        (void)error_set(&step.error, status, "the disk's key does not open under the key %s",
                        vm->disk.kek.text);
    return step_end(&step, status, "%s", vm->disk.kek.text);
}

/* ---- Encrypt ---- */

static enum status encrypt_disk(struct vcenter *vcenter, struct vm *vm, const struct secret *kek,
                                const struct client_id *kek_id)
{
    struct secret dek = {0};
    if (dek_make(&dek) != STATUS_OK) {
        struct error error = {0};
        return machine_failed(vcenter, "make the disk's key", STATUS_CRYPTO_FAILED, &error);
    }
    enum status status = write_disk(vcenter, vm, &dek);
    if (status == STATUS_OK)
        status = machine_wrap_dek(vcenter, vm, kek, kek_id, &dek, "make and wrap the disk's key");
    secret_free(&dek);
    return status;
}

enum status machine_encrypt(struct vcenter *vcenter, const char *name, long mebibytes)
{
    struct vm vm;
    struct client_id id = {{0}};
    struct secret kek = {0};
    struct error error = {0};
    enum status status = vm_init(vcenter->sim->options.dir, name, MACHINE_HOST, &vm, &error);
    if (status != STATUS_OK)
        return machine_failed(vcenter, "make a VM", status, &error);
    vm.disk.sectors = (uint64_t)mebibytes * DISK_SECTORS_PER_MIB;
    status = machine_new_vm_key(vcenter, &vm, &id, &kek);
    if (status == STATUS_OK)
        status = encrypt_disk(vcenter, &vm, &kek, &id);
    secret_free(&kek);
    return status;
}

static enum status encrypt_steps(struct vcenter *vcenter)
{
    const struct sim_options *options = &vcenter->sim->options;
    return machine_encrypt(vcenter, options->vm, options->disk_size);
}

enum status scenario_encrypt(struct sim *sim)
{
    return machine_run(sim, encrypt_steps);
}

/* ---- Power on ---- */

enum status machine_unlock(struct vcenter *vcenter, const char *id, struct secret *ret_kek)
{
    struct step step;
    step_begin(&step, &vcenter->sim->report, "read the VM's key");
    enum status status = vcenter_unlock(vcenter, id, ret_kek, &step.error);
    return step_end(&step, status, "Active; from %s", vcenter->answered_by);
}

/* The key of a VM's disk, by way of the VM's key. */
enum status machine_open_disk(struct vcenter *vcenter, const struct vm *vm, struct secret *ret_dek)
{
    struct secret kek = {0};
    enum status status = machine_unlock(vcenter, vm->disk.kek.text, &kek);
    if (status == STATUS_OK)
        status = machine_unwrap_dek(vcenter, vm, &kek, ret_dek);
    secret_free(&kek);
    return status;
}

enum status machine_power_on(struct vcenter *vcenter, const char *name)
{
    struct vm vm;
    struct secret dek = {0};
    enum status status = machine_load(vcenter, name, &vm);
    if (status == STATUS_OK)
        status = machine_open_disk(vcenter, &vm, &dek);
    if (status == STATUS_OK)
        status = read_disk(vcenter, &vm, &dek);
    secret_free(&dek);
    return status;
}

static enum status power_on_steps(struct vcenter *vcenter)
{
    return machine_power_on(vcenter, vcenter->sim->options.vm);
}

enum status scenario_power_on(struct sim *sim)
{
    return machine_run(sim, power_on_steps);
}
