/* SPDX-License-Identifier: Apache-2.0 */
/* Keys as vCenter makes them: created, read, activated, tagged. */
#include "sim/machine.h"

/* A failure outside any step gets one. */
enum status machine_failed(struct vcenter *vcenter, const char *text, enum status status,
                           const struct error *error)
{
    struct step step;
    step_begin(&step, &vcenter->sim->report, text);
    step.error = *error;
    return step_end(&step, status, "%s", "");
}

enum status machine_run(struct sim *sim, enum status (*steps)(struct vcenter *vcenter))
{
    struct error error = {0};
    struct vcenter vcenter = {.sim = sim};
    enum status status = vcenter_open(sim, &vcenter, &error);
    if (status == STATUS_OK)
        status = steps(&vcenter);
    else
        (void)machine_failed(&vcenter, "open the key provider", status, &error);
    vcenter_close(&vcenter);
    return status;
}

enum status machine_load(struct vcenter *vcenter, const char *name, struct vm *ret_vm)
{
    struct error error = {0};
    enum status status = vm_load(vcenter->sim->options.dir, name, ret_vm, &error);
    if (status != STATUS_OK)
        (void)machine_failed(vcenter, "read the VM's configuration", status, &error);
    return status;
}

/* vCenter tags a key on another connection, while it goes on. */
static void *run_tagging(void *context)
{
    struct tagging *tagging = context;
    tagging->status = vcenter_tag_product(&tagging->vcenter, tagging->id, &tagging->error);
    return NULL;
}

enum status machine_start_tagging(struct vcenter *vcenter, const char *id, struct tagging *tagging)
{
    *tagging = (struct tagging){.id = id};
    enum status status = vcenter_open(vcenter->sim, &tagging->vcenter, &tagging->error);
    if (status != STATUS_OK)
        return machine_failed(vcenter, "open the key provider", status, &tagging->error);
    if (pthread_create(&tagging->thread, NULL, run_tagging, tagging) == 0)
        return STATUS_OK;
    vcenter_close(&tagging->vcenter);
    return machine_failed(vcenter, "start a thread", STATUS_NO_MEMORY, &tagging->error);
}

/* Waits for it and reports it; only waits, where `before` has failed. */
enum status machine_end_tagging(struct vcenter *vcenter, struct tagging *tagging, const char *text,
                                enum status before)
{
    struct step step;
    if (before == STATUS_OK)
        step_begin(&step, &vcenter->sim->report, text);
    (void)pthread_join(tagging->thread, NULL);
    vcenter_close(&tagging->vcenter);
    if (before != STATUS_OK)
        return before;
    step.error = tagging->error;
    return step_end(&step, tagging->status, "x-Product_Version, x-Vendor, x-Product");
}

enum status machine_create_key(struct vcenter *vcenter, const char *text, struct client_id *ret_id)
{
    struct step step;
    step_begin(&step, &vcenter->sim->report, text);
    enum status status = vcenter_create_key(vcenter, ret_id, &step.error);
    return step_end(&step, status, "%s", ret_id->text);
}

enum status machine_read_key(struct vcenter *vcenter, const char *text, const char *id,
                             struct secret *ret_material)
{
    struct step step;
    struct vcenter_key key = {0};
    step_begin(&step, &vcenter->sim->report, text);
    enum status status = vcenter_read_key(vcenter, id, &key, &step.error);
    if (status == STATUS_OK && !key.activated && key.state != KMIP_STATE_ACTIVE)
        status = error_set(&step.error, STATUS_PERMISSION_DENIED, "the new key is %s",
                           kmip_value_text(KMIP_TAG_STATE, key.state));
    if (status == STATUS_OK)
        *ret_material = secret_take(&key.material);
    secret_free(&key.material);
    return step_end(&step, status, "AES-256; %s",
                    key.activated ? "was Pre-Active, is Active now" : "Active");
}

static enum status tag_component(struct vcenter *vcenter, const char *text, const char *id,
                                 const char *identifier, const char *component, const char *name)
{
    struct step step;
    step_begin(&step, &vcenter->sim->report, text);
    enum status status =
        vcenter_tag_component(vcenter, id, identifier, component, name, &step.error);
    return step_end(&step, status, "x-Component: %s, x-Name: %s", component, name);
}

/* Get, State, Activate of the host's key, while it is tagged; then what it is for. */
static enum status settle_host_key(struct vcenter *vcenter, struct host *host)
{
    struct tagging tagging;
    struct secret material = {0};
    struct error error = {0};
    enum status status = machine_start_tagging(vcenter, host->key.text, &tagging);
    if (status != STATUS_OK)
        return status;
    status =
        machine_read_key(vcenter, "read and activate the host's key", host->key.text, &material);
    secret_free(&material);
    status = machine_end_tagging(vcenter, &tagging, "tag the host's key: product", status);
    if (status == STATUS_OK)
        status = tag_component(vcenter, "tag the host's key: host", host->key.text, host->uuid,
                               "ESXi Server", host->address);
    if (status != STATUS_OK)
        return status;
    status = host_store(vcenter->sim->options.dir, host, &error);
    return status == STATUS_OK ? status : machine_failed(vcenter, "store the host", status, &error);
}

/* The first encrypted VM puts its host into the crypto-safe state: the host gets a key. */
enum status machine_prepare_host(struct vcenter *vcenter, const char *name)
{
    struct host host;
    struct error error = {0};
    enum status status = host_load(vcenter->sim->options.dir, name, &host, &error);
    if (status != STATUS_OK)
        return machine_failed(vcenter, "read the host's configuration", status, &error);
    if (host.key.text[0] != '\0')
        return STATUS_OK;
    status = machine_create_key(vcenter, "create the host's key", &host.key);
    return status == STATUS_OK ? settle_host_key(vcenter, &host) : status;
}

/* A new key for a VM, as vCenter was recorded to make it: created, tagged while the host gets its
 * own key where it has none, read, activated, tagged with what it is for. */
enum status machine_new_vm_key(struct vcenter *vcenter, const struct vm *vm,
                               struct client_id *ret_id, struct secret *ret_material)
{
    struct tagging tagging;
    enum status status = machine_create_key(vcenter, "create the VM's key", ret_id);
    if (status == STATUS_OK)
        status = machine_start_tagging(vcenter, ret_id->text, &tagging);
    if (status != STATUS_OK)
        return status;
    status = machine_prepare_host(vcenter, vm->host);
    status = machine_end_tagging(vcenter, &tagging, "tag the VM's key: product", status);
    if (status == STATUS_OK)
        status =
            machine_read_key(vcenter, "read and activate the VM's key", ret_id->text, ret_material);
    if (status == STATUS_OK)
        status = tag_component(vcenter, "tag the VM's key: VM", ret_id->text, vm->disk.owner,
                               "Virtual Machine", vm->name);
    return status;
}
