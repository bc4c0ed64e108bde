/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that use keys themselves: a vSAN cluster that boots, a core dump. */
#include <inttypes.h>
#include <stdlib.h>

#include "client/address.h"
#include "sim/machine.h"
#include "sim/scenarios.h"

enum {
    DISK_SECTORS = 32, /* of each host's share of the cluster: 16 KiB */
    DUMP_MEBIBYTES = 1,
    HOST_STACK_SIZE = 512 * 1024,
};

/* ---- vSAN: the cluster is made ---- */

static enum status format_disks(struct vcenter *vcenter, struct cluster *cluster,
                                const struct secret *kek)
{
    struct step step;
    enum status status = STATUS_OK;
    step_begin(&step, &vcenter->sim->report, "encrypt the hosts' disks");
    for (size_t i = 0; i < cluster->count && status == STATUS_OK; i++) {
        struct encrypted_disk *disk = &cluster->disks[i];
        struct secret dek = {0};
        disk->sectors = DISK_SECTORS;
        disk->kek = cluster->kek;
        struct disk image = encrypted_disk_image(disk);
        status = dek_make(&dek);
        if (status == STATUS_OK)
            status = dek_wrap(kek, disk->kek.text, disk->owner, &dek, &disk->dek);
        if (status == STATUS_OK)
            status = disk_write(&image, &dek, NULL, &step.error);
        secret_free(&dek);
        step_progress(&step, i + 1, cluster->count);
    }
    if (status == STATUS_OK)
        status = cluster_store(vcenter->sim->options.dir, cluster, &step.error);
    return step_end(&step, status, "%zu disks, each with a key of its own", cluster->count);
}

static enum status tag_key(struct vcenter *vcenter, const char *text, const char *id)
{
    struct step step;
    step_begin(&step, &vcenter->sim->report, text);
    enum status status = vcenter_tag_product(vcenter, id, &step.error);
    return step_end(&step, status, "x-Product_Version, x-Vendor, x-Product");
}

/* vCenter makes the keys; the hosts are told which they are, and get vCenter's certificate. */
static enum status make_cluster_keys(struct vcenter *vcenter, struct cluster *cluster,
                                     struct secret *ret_kek)
{
    struct secret host_key = {0};
    enum status status = machine_create_key(vcenter, "create the cluster's key", &cluster->kek);
    if (status == STATUS_OK)
        status = tag_key(vcenter, "tag it: product", cluster->kek.text);
    if (status == STATUS_OK)
        status = machine_create_key(vcenter, "create the hosts' key", &cluster->host_key);
    if (status == STATUS_OK)
        status = tag_key(vcenter, "tag it: product", cluster->host_key.text);
    if (status == STATUS_OK)
        status = machine_read_key(vcenter, "read and activate the cluster's key", cluster->kek.text,
                                  ret_kek);
    if (status == STATUS_OK)
        status = machine_read_key(vcenter, "read and activate the hosts' key",
                                  cluster->host_key.text, &host_key);
    secret_free(&host_key);
    return status;
}

static enum status make_cluster(struct vcenter *vcenter)
{
    struct cluster cluster = {0};
    struct secret kek = {0};
    struct error error = {0};
    const struct sim_options *options = &vcenter->sim->options;
    enum status status = cluster_init(options->dir, (size_t)options->hosts, &cluster, &error);
    if (status != STATUS_OK)
        return machine_failed(vcenter, "make a cluster", status, &error);
    status = make_cluster_keys(vcenter, &cluster, &kek);
    if (status == STATUS_OK)
        status = format_disks(vcenter, &cluster, &kek);
    secret_free(&kek);
    cluster_free(&cluster);
    return status;
}

/* ---- vSAN: the hosts boot ---- */

/* All hosts wait at the gate until the last one has come. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    bool closed_down; /* not all came: nobody goes through */
};

/* One host. It has vCenter's certificate and key, and asks the servers itself. */
struct booting {
    struct sim *sim;
    struct gate *gate;
    const struct cluster *cluster;
    const struct encrypted_disk *disk;
    pthread_t thread;
    int64_t microseconds;
    enum status status;
    struct error error;
};

static bool pass_gate(struct gate *gate)
{
    (void)pthread_mutex_lock(&gate->lock);
    while (!gate->open)
        (void)pthread_cond_wait(&gate->changed, &gate->lock);
    bool pass = !gate->closed_down;
    (void)pthread_mutex_unlock(&gate->lock);
    return pass;
}

static void open_gate(struct gate *gate, bool closed_down)
{
    (void)pthread_mutex_lock(&gate->lock);
    gate->open = true;
    gate->closed_down = closed_down;
    (void)pthread_cond_broadcast(&gate->changed);
    (void)pthread_mutex_unlock(&gate->lock);
}

static enum status mount(struct booting *host, const struct secret *kek)
{
    struct secret dek = {0};
    const struct encrypted_disk *disk = host->disk;
    struct disk image = encrypted_disk_image(disk);
    enum status status = dek_unwrap(kek, disk->kek.text, disk->owner, &disk->dek, &dek);
    if (status == STATUS_OK)
        status = disk_read(&image, &dek, NULL, &host->error);
    secret_free(&dek);
    return status;
}

/* A handshake, the cluster's key, the host key; then the host's disk. */
static enum status boot(struct booting *host, struct vcenter *vcenter)
{
    struct client_peer peer;
    struct secret kek = {0};
    struct secret host_key = {0};
    enum status status = vcenter_shake_hands(vcenter, &peer, &host->error);
    if (status == STATUS_OK)
        status = vcenter_unlock(vcenter, host->cluster->kek.text, &kek, &host->error);
    if (status == STATUS_OK)
        status = vcenter_unlock(vcenter, host->cluster->host_key.text, &host_key, &host->error);
    if (status == STATUS_OK)
        status = mount(host, &kek);
    secret_free(&host_key);
    secret_free(&kek);
    return status;
}

static void *run_host(void *context)
{
    struct booting *host = context;
    struct vcenter vcenter = {.sim = host->sim};
    host->status = vcenter_open(host->sim, &vcenter, &host->error);
    if (pass_gate(host->gate) && host->status == STATUS_OK) {
        int64_t begun = client_microseconds();
        host->status = boot(host, &vcenter);
        host->microseconds = client_microseconds() - begun;
    }
    vcenter_close(&vcenter);
    return NULL;
}

/* Starts all hosts, lets them go at once, waits for all. */
static enum status boot_all(struct booting *hosts, size_t count, struct gate *gate)
{
    size_t started = 0;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return STATUS_NO_MEMORY;
    (void)pthread_attr_setstacksize(&attributes, HOST_STACK_SIZE);
    while (started < count &&
           pthread_create(&hosts[started].thread, &attributes, run_host, &hosts[started]) == 0)
        started++;
    (void)pthread_attr_destroy(&attributes);
    open_gate(gate, started < count);
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(hosts[i].thread, NULL);
    return started == count ? STATUS_OK : STATUS_NO_MEMORY;
}

static int compare_times(const void *a, const void *b)
{
    int64_t left = ((const struct booting *)a)->microseconds;
    int64_t right = ((const struct booting *)b)->microseconds;
    return (left > right) - (left < right);
}

/* Ends the step with what became of all hosts. */
static enum status sum_up(struct step *step, struct booting *hosts, size_t count,
                          enum status status)
{
    size_t failed = 0;
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        failed += hosts[i].status != STATUS_OK;
    for (size_t i = 0; i < count && failed > 0; i++)
        if (hosts[i].status != STATUS_OK) {
            (void)error_set(&step->error, hosts[i].status,
                            "%zu of %zu hosts could not mount their disks; the first: %.400s",
                            failed, count, error_text(&hosts[i].error));
            return step_end(step, hosts[i].status, "%s", "");
        }
    qsort(hosts, count, sizeof(*hosts), compare_times);
    return step_end(step, status,
                    "%zu hosts, %zu handshakes; a host: %.1f ms (median), %.1f ms "
                    "(slowest)",
                    count, 3 * count, (double)hosts[count / 2].microseconds / 1000,
                    (double)hosts[count - 1].microseconds / 1000);
}

static enum status boot_storm(struct vcenter *vcenter, const struct cluster *cluster)
{
    struct step step;
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct booting *hosts = calloc(cluster->count, sizeof(*hosts));
    step_begin(&step, &vcenter->sim->report, "all hosts boot at once");
    if (hosts == NULL)
        return step_end(&step, STATUS_NO_MEMORY, "%s", "");
    for (size_t i = 0; i < cluster->count; i++)
        hosts[i] = (struct booting){
            .sim = vcenter->sim, .gate = &gate, .cluster = cluster, .disk = &cluster->disks[i]};
    enum status status = boot_all(hosts, cluster->count, &gate);
    status = sum_up(&step, hosts, cluster->count, status);
    free(hosts);
    return status;
}

static enum status vsan_steps(struct vcenter *vcenter)
{
    struct cluster cluster = {0};
    struct error error = {0};
    enum status status = make_cluster(vcenter);
    if (status != STATUS_OK)
        return status;
    status = cluster_load(vcenter->sim->options.dir, &cluster, &error);
    if (status != STATUS_OK)
        return machine_failed(vcenter, "read the cluster's configuration", status, &error);
    status = boot_storm(vcenter, &cluster);
    cluster_free(&cluster);
    return status;
}

enum status scenario_vsan(struct sim *sim)
{
    return machine_run(sim, vsan_steps);
}

/* ---- Core dump ---- */

static enum status write_dump(struct vcenter *vcenter, const struct host *host,
                              const struct secret *key)
{
    struct step step;
    struct secret dek = {0};
    struct encrypted_disk dump;
    const char *directory = vcenter->sim->options.dir;
    step_begin(&step, &vcenter->sim->report, "the host crashes: write a core dump");
    enum status status = dump_init(directory, host->name, &dump, &step.error);
    if (status != STATUS_OK)
        return step_end(&step, status, "%s", "");
    dump.sectors = DUMP_MEBIBYTES * DISK_SECTORS_PER_MIB;
    dump.kek = host->key;
    struct disk image = encrypted_disk_image(&dump);
    status = dek_make(&dek);
    if (status == STATUS_OK)
        status = dek_wrap(key, host->key.text, dump.owner, &dek, &dump.dek);
    if (status == STATUS_OK)
        status = disk_write(&image, &dek, &step, &step.error);
    if (status == STATUS_OK)
        status = dump_store(directory, host->name, &dump, &step.error);
    secret_free(&dek);
    return step_end(&step, status, "%d MiB, its key wrapped by the host's key", DUMP_MEBIBYTES);
}

static enum status read_dump(struct vcenter *vcenter, const struct host *host,
                             const struct secret *key)
{
    struct step step;
    struct secret dek = {0};
    struct encrypted_disk dump;
    step_begin(&step, &vcenter->sim->report, "read the core dump");
    enum status status = dump_load(vcenter->sim->options.dir, host->name, &dump, &step.error);
    if (status == STATUS_OK)
        status = dek_unwrap(key, dump.kek.text, dump.owner, &dump.dek, &dek);
    if (status == STATUS_OK) {
        struct disk image = encrypted_disk_image(&dump);
        status = disk_read(&image, &dek, &step, &step.error);
    }
    secret_free(&dek);
    return step_end(&step, status, "as written");
}

static enum status fetch_host_key(struct vcenter *vcenter, const struct host *host,
                                  const char *text, struct secret *ret_key)
{
    struct step step;
    step_begin(&step, &vcenter->sim->report, text);
    enum status status = vcenter_unlock(vcenter, host->key.text, ret_key, &step.error);
    return step_end(&step, status, "%s, Active", host->key.text);
}

/* A key that is fetched, used and forgotten. */
static enum status use_host_key(struct vcenter *vcenter, const struct host *host, const char *text,
                                enum status (*use)(struct vcenter *, const struct host *,
                                                   const struct secret *))
{
    struct secret key = {0};
    enum status status = fetch_host_key(vcenter, host, text, &key);
    if (status == STATUS_OK)
        status = use(vcenter, host, &key);
    secret_free(&key);
    return status;
}

static enum status core_dump_steps(struct vcenter *vcenter)
{
    struct host host;
    struct error error = {0};
    enum status status = machine_prepare_host(vcenter, MACHINE_HOST);
    if (status != STATUS_OK)
        return status;
    status = host_load(vcenter->sim->options.dir, MACHINE_HOST, &host, &error);
    if (status != STATUS_OK)
        return machine_failed(vcenter, "read the host's configuration", status, &error);
    status = use_host_key(vcenter, &host, "the host runs: it has its key", write_dump);
    if (status != STATUS_OK)
        return status;
    return use_host_key(vcenter, &host, "the host is back: fetch its key", read_dump);
}

enum status scenario_core_dump(struct sim *sim)
{
    return machine_run(sim, core_dump_steps);
}
