/* SPDX-License-Identifier: Apache-2.0 */
/* What an administrator of keys may do to them: disable, restore, destroy. vSphere itself never
 * does; each has a VM of its own here. */
#include "sim/kmipctl.h"
#include "sim/machine.h"
#include "sim/scenarios.h"

#define DISK_MEBIBYTES 1

static void vm_name(const struct sim *sim, const char *suffix, char name[static DATASTORE_NAME_MAX])
{
    (void)snprintf(name, DATASTORE_NAME_MAX, "%.*s-%s", SIM_VM_NAME_MAX, sim->options.vm, suffix);
}

static enum status revoke_key(struct vcenter *vcenter, const char *id)
{
    struct step step;
    step_begin(&step, &vcenter->sim->report, "revoke its key");
    enum status status = vcenter_revoke_key(vcenter, id, &step.error);
    return step_end(&step, status, "%s, Cessation of Operation", id);
}

/* The VM must not run, for the reason that `expected` stands for. */
static enum status refuse_to_run(struct vcenter *vcenter, const char *id, const char *text,
                                 enum status expected)
{
    struct step step;
    struct error why = {0};
    struct secret kek = {0};
    step_begin(&step, &vcenter->sim->report, text);
    enum status status = vcenter_unlock(vcenter, id, &kek, &why);
    secret_free(&kek);
    if (status == expected)
        return step_end(&step, STATUS_OK, "%s", error_text(&why));
    step.error = why;
    if (status == STATUS_OK)
        status = error_set(&step.error, STATUS_INTERNAL, "its key %s can still be used", id);
    return step_end(&step, status, "%s", "");
}

/* ---- Revoke ---- */

static enum status revoke_steps(struct vcenter *vcenter)
{
    struct vm vm;
    char name[DATASTORE_NAME_MAX];
    vm_name(vcenter->sim, "disabled", name);
    enum status status = machine_encrypt(vcenter, name, DISK_MEBIBYTES);
    if (status == STATUS_OK)
        status = machine_load(vcenter, name, &vm);
    if (status == STATUS_OK)
        status = revoke_key(vcenter, vm.disk.kek.text);
    if (status == STATUS_OK)
        status = refuse_to_run(vcenter, vm.disk.kek.text, "the VM does not power on",
                               STATUS_PERMISSION_DENIED);
    return status;
}

enum status scenario_revoke(struct sim *sim)
{
    return machine_run(sim, revoke_steps);
}

/* ---- Restore ---- */

static enum status find_state(struct vcenter *vcenter, const char *id, enum kmip_state *ret_state)
{
    struct step step;
    struct vcenter_key key = {0};
    step_begin(&step, &vcenter->sim->report, "look at its key");
    enum status status = vcenter_read_key(vcenter, id, &key, &step.error);
    secret_free(&key.material);
    if (status == STATUS_OK)
        *ret_state = key.state;
    return step_end(&step, status, "%s is %s", id, kmip_value_text(KMIP_TAG_STATE, key.state));
}

/* Restores the key, or says how: *ret_done is false where it is not for us to do. */
static enum status restore_key(struct vcenter *vcenter, const char *id, bool *ret_done)
{
    struct step step;
    step_begin(&step, &vcenter->sim->report, "restore its key");
    if (!kmipctl_possible(vcenter->sim)) {
        step_skip(&step,
                  "on the server, run `kmipctl object restore %s`; then `vsphere-sim "
                  "restore` again (with --state it runs kmipctl itself)",
                  id);
        *ret_done = false;
        return STATUS_OK;
    }
    enum status status = kmipctl_restore(vcenter->sim, id, &step.error);
    *ret_done = status == STATUS_OK;
    return step_end(&step, status, "kmipctl object restore %s", id);
}

static enum status restore_steps(struct vcenter *vcenter)
{
    struct vm vm;
    bool done = true;
    enum kmip_state state = KMIP_STATE_ACTIVE;
    char name[DATASTORE_NAME_MAX];
    vm_name(vcenter->sim, "disabled", name);
    enum status status = machine_load(vcenter, name, &vm);
    if (status == STATUS_OK)
        status = find_state(vcenter, vm.disk.kek.text, &state);
    if (status == STATUS_OK && state == KMIP_STATE_DEACTIVATED)
        status = restore_key(vcenter, vm.disk.kek.text, &done);
    return status == STATUS_OK && done ? machine_power_on(vcenter, name) : status;
}

enum status scenario_restore(struct sim *sim)
{
    return machine_run(sim, restore_steps);
}

/* ---- Destroy ---- */

static enum status destroy_key(struct vcenter *vcenter, const char *id)
{
    struct step step;
    step_begin(&step, &vcenter->sim->report, "destroy its key");
    enum status status = vcenter_destroy_key(vcenter, id, &step.error);
    return step_end(&step, status, "%s", id);
}

/* Nothing opens the disk's key, and the image is nothing but noise. */
static enum status check_lost(struct vcenter *vcenter, const struct vm *vm)
{
    struct step step;
    struct secret guess = {0};
    struct secret dek = {0};
    struct error unreadable = {0};
    bool shows = true;
    struct disk disk = encrypted_disk_image(&vm->disk);
    step_begin(&step, &vcenter->sim->report, "the disk is lost");
    enum status status = secret_random(&guess, 32);
    if (status == STATUS_OK && dek_unwrap(&guess, vm->disk.kek.text, vm->disk.owner, &vm->disk.dek,
                                          &dek) != STATUS_UNWRAP_FAILED)
        status = error_set(&step.error, STATUS_INTERNAL, "a key of chance opened the disk's key");
    secret_free(&dek);
    if (status == STATUS_OK)
        status = dek_make(&dek);
    if (status == STATUS_OK && disk_read(&disk, &dek, NULL, &unreadable) != STATUS_UNWRAP_FAILED)
        status = error_set(&step.error, STATUS_INTERNAL, "a key of chance opened the disk");
    if (status == STATUS_OK)
        status = disk_shows_label(&disk, &shows, &step.error);
    if (status == STATUS_OK && shows)
        status = error_set(&step.error, STATUS_INTERNAL, "%s holds plaintext", disk.path);
    secret_free(&dek);
    secret_free(&guess);
    return step_end(&step, status, "neither its key nor its image opens; no plaintext in it");
}

static enum status destroy_steps(struct vcenter *vcenter)
{
    struct vm vm;
    char name[DATASTORE_NAME_MAX];
    vm_name(vcenter->sim, "destroyed", name);
    enum status status = machine_encrypt(vcenter, name, DISK_MEBIBYTES);
    if (status == STATUS_OK)
        status = machine_power_on(vcenter, name);
    if (status == STATUS_OK)
        status = machine_load(vcenter, name, &vm);
    if (status == STATUS_OK)
        status = revoke_key(vcenter, vm.disk.kek.text);
    if (status == STATUS_OK)
        status = destroy_key(vcenter, vm.disk.kek.text);
    if (status == STATUS_OK)
        status =
            refuse_to_run(vcenter, vm.disk.kek.text, "the VM is locked", STATUS_OBJECT_NOT_FOUND);
    return status == STATUS_OK ? check_lost(vcenter, &vm) : status;
}

enum status scenario_destroy(struct sim *sim)
{
    return machine_run(sim, destroy_steps);
}
