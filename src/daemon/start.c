/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing all that the daemon is made of, in one order and its reverse. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"
#include "core/core.h"
#include "daemon/administration.h"
#include "daemon/certificates.h"
#include "daemon/control.h"
#include "daemon/daemon.h"
#include "daemon/notify.h"
#include "daemon/key_managers.h"
#include "daemon/setup.h"
#include "daemon/tasks.h"
#include "service/service.h"

/* Descriptors besides those of connections: files, sessions of the store, sockets, and some to
 * spare; and for each loop listener, epoll, eventfd and its session. */
#define OTHER_DESCRIPTORS    128
#define DESCRIPTORS_PER_LOOP 8

/* ---- The process ---- */

static rlim_t raise_limit(__rlimit_resource_t resource, rlim_t wanted)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0)
        return 0;
    if (limit.rlim_cur >= wanted)
        return limit.rlim_cur;
    /* Root may go beyond the hard limit; anybody may go up to it. */
    struct rlimit higher = {wanted, wanted > limit.rlim_max ? wanted : limit.rlim_max};
    if (setrlimit(resource, &higher) == 0)
        return wanted;
    higher = (struct rlimit){limit.rlim_max, limit.rlim_max};
    return setrlimit(resource, &higher) == 0 ? limit.rlim_max : limit.rlim_cur;
}

/* One a processor that this process may run on: fewer than there are, where it was pinned. */
static unsigned loop_count(const struct config *config)
{
    cpu_set_t processors;
    if (config->network_loops > 0)
        return (unsigned)config->network_loops;
    if (sched_getaffinity(0, sizeof(processors), &processors) != 0)
        return 1;
    return (unsigned)CPU_COUNT(&processors);
}

/*
 * Connections never take the last descriptors, or whoever opens many could keep the audit log from
 * beginning a new file.
 */
static enum status limit_connections(struct daemon *daemon, struct error *error)
{
    rlim_t other = OTHER_DESCRIPTORS + DESCRIPTORS_PER_LOOP * loop_count(&daemon->config);
    rlim_t wanted = daemon->config.network_connections_max;
    rlim_t files = raise_limit(RLIMIT_NOFILE, wanted + other);
    if (files <= other)
        return error_set(error, STATUS_IO,
                         "the system allows %ju open files, and %ju are needed beside those of "
                         "connections: raise LimitNOFILE= or ulimit -n",
                         (uintmax_t)files, (uintmax_t)other);
    daemon->connections_max = (unsigned)(files - other < wanted ? files - other : wanted);
    if (daemon->connections_max < wanted)
        log_warning("limits the system allows %ju open files, so %u connections can be served and "
                    "not the %ju of connections-max: raise LimitNOFILE= or ulimit -n",
                    (uintmax_t)files, daemon->connections_max, (uintmax_t)wanted);
    return STATUS_OK;
}

static enum status prepare_process(struct daemon *daemon, struct error *error)
{
    enum status status = limit_connections(daemon, error);
    if (status != STATUS_OK)
        return status;
    (void)raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY); /* secret_heap_init() tells if too little */
    return secret_heap_init(daemon->config.server_secure_memory, error);
}

/* ---- Steps ---- */

static enum status open_state(struct daemon *daemon, struct error *error)
{
    const struct state_options options = {.keyholder_user = daemon->config.keys_keyholder_user,
                                          .sealing_file = daemon->config.keys_sealing_file};
    enum status status = state_open(daemon->config.server_state, &options, &daemon->state, error);
    daemon->first_start = status == STATUS_OK && !daemon->state.complete;
    return status;
}

static enum status open_store(struct daemon *daemon, struct error *error)
{
    const struct store_options options = {.cache_bytes = daemon->config.store_cache_size};
    enum status status = store_open_sqlite(state_path(&daemon->state, STATE_STORE), &options,
                                           &daemon->store, error);
    if (status != STATUS_OK)
        return status;
    status = store_session_open(daemon->store, &daemon->session);
    return status == STATUS_OK ? STATUS_OK
                               : error_set(error, status, "%s", status_text(status));
}

static enum status open_audit(struct daemon *daemon, struct error *error)
{
    struct audit_options options = {
        .directory = state_path(&daemon->state, STATE_AUDIT),
        .rotate_bytes = daemon->config.audit_rotate_size,
        .keep_files = (unsigned)daemon->config.audit_keep_files,
    };
    enum status status =
        tasks_load_audit_head(daemon, &options.known_sequence, options.known_chain, error);
    return status == STATUS_OK ? audit_open(&options, &daemon->audit, error) : status;
}

static enum status open_core(struct daemon *daemon, struct error *error)
{
    const struct config *config = &daemon->config;
    struct core_options options = {
        .locate_max = (unsigned)config->limits_locate_max,
        .lease_seconds = (uint32_t)(config->limits_lease_time / 1000),
        .key_cache_entries = (unsigned)config->keys_cache_count,
        .object_max = config->limits_object_max,
        .request_memory = config->limits_request_memory,
    };
    key_managers_core_options(config, &options);
    enum status status =
        core_open(daemon->store, &daemon->keymanagers, &daemon->clock, &options, &daemon->core);
    return status == STATUS_OK ? STATUS_OK
                               : error_set(error, status, "cannot make the key cache: %s",
                                           status_text(status));
}

static enum status open_upkeep(struct daemon *daemon, struct error *error)
{
    struct upkeep_options options;
    key_managers_upkeep_options(&daemon->config, &options);
    return upkeep_open(daemon->core, daemon->store, daemon->audit, &daemon->clock,
                       &daemon->keymanagers, &options, &daemon->upkeep, error);
}

static enum status start_upkeep(struct daemon *daemon, struct error *error)
{
    return upkeep_start(daemon->upkeep, error);
}

static enum status open_service(struct daemon *daemon, struct error *error)
{
    const struct service_options options = {
        .loops = loop_count(&daemon->config),
        .ready = (unsigned)daemon->config.limits_requests_ready,
        .reply_max = daemon->config.limits_response_max,
    };
    return service_open(daemon->core, daemon->store, daemon->audit, &options, &daemon->service,
                        error);
}

static enum status open_net(struct daemon *daemon, struct error *error)
{
    const struct config *config = &daemon->config;
    const struct net_options options = {
        .address = config->network_listen,
        .loops = loop_count(config),
        .frame_max = config->network_frame_max,
        .connections_max = daemon->connections_max,
        .connections_per_certificate = (unsigned)config->network_connections_per_certificate,
        .handshake_seconds = (unsigned)(config->network_handshake_timeout / 1000),
        .frame_seconds = (unsigned)(config->network_frame_timeout / 1000),
        .idle_seconds = (unsigned)(config->network_idle_timeout / 1000),
        .certificate_file = state_path(&daemon->state, STATE_SERVER_CERTIFICATE),
        .key_file = state_path(&daemon->state, STATE_SERVER_KEY),
        .legacy_ciphers = config->network_legacy_ciphers,
    };
    struct error warning = {0}; /* of the certificate's dates: tasks_run() reports those */
    return net_start(&options, service_handler(daemon->service), &daemon->net, &warning, error);
}

static enum status open_control(struct daemon *daemon, struct error *error)
{
    return control_open(daemon, &daemon->control, error);
}

static enum status start_control(struct daemon *daemon, struct error *error)
{
    return control_start(daemon->control, error);
}

static enum status record_start(struct daemon *daemon, struct error *error)
{
    char detail[256];
    (void)snprintf(detail, sizeof(detail), "version=" KMIPD_VERSION " listen=%.100s%s",
                   daemon->config.network_listen, daemon->first_start ? " first start" : "");
    if (daemon_audit(daemon, "start", detail) != STATUS_OK)
        return audit_explain(daemon->audit, error);
    daemon->recorded = true;
    return STATUS_OK;
}

/* One step of the start; each leaves what it opened in the daemon. */
typedef enum status start_step(struct daemon *daemon, struct error *error);

static start_step *const steps[] = {
    prepare_process, open_state,    setup_certificates,  key_managers_open,    open_store,
    open_audit,      record_start,  setup_adapter,       open_core,            open_upkeep,
    open_service,    open_control,  administration_open, open_net,             start_upkeep,
    start_control,   administration_serve,               setup_finish,
};

enum status daemon_start(struct daemon *daemon, struct error *error)
{
    enum status status = STATUS_OK;
    clock_init_system(&daemon->clock);
    daemon->started = clock_now(&daemon->clock);
    daemon->state.lock = -1;
    for (size_t i = 0; i < ARRAY_COUNT(steps) && status == STATUS_OK; i++)
        status = steps[i](daemon, error);
    if (status != STATUS_OK)
        daemon_stop(daemon);
    return status;
}

void daemon_stop(struct daemon *daemon)
{
    notify_send("STOPPING=1\nSTATUS=Stopping");
    net_stop(daemon->net, (unsigned)daemon->config.network_drain_timeout);
    administration_stop_serving(daemon);
    control_stop(daemon->control);
    upkeep_close(daemon->upkeep);
    service_close(daemon->service);
    administration_close(daemon);
    core_close(daemon->core);
    if (daemon->recorded) {
        if (daemon_audit(daemon, "stop", "") != STATUS_OK)
            log_critical("audit the end could not be recorded");
        tasks_save_audit_head(daemon);
    }
    audit_close(daemon->audit);
    store_session_close(daemon->session);
    store_close(daemon->store);
    key_managers_close(daemon);
    state_close(&daemon->state);
}

enum status daemon_audit(struct daemon *daemon, const char *operation, const char *detail)
{
    const struct audit_entry entry = {
        .time = clock_now(&daemon->clock),
        .event = "server",
        .operation = bytes_of_text(operation),
        .result = BYTES_LITERAL("Success"),
        .detail = bytes_of_text(detail),
    };
    return audit_write(daemon->audit, &entry);
}
