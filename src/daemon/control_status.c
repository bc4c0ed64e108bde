/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl status. */
#include <inttypes.h>
#include <unistd.h>

#include "base/hex.h"
#include "daemon/certificates.h"
#include "daemon/commands.h"
#include "daemon/control_key_manager.h"
#include "service/service.h"
#include "upkeep/upkeep.h"

static void put_address(json_t *result, const char *listen)
{
    const char *colon = strrchr(listen, ':');
    (void)json_object_set_new(result, "address", json_stringn(listen, (size_t)(colon - listen)));
}

static void put_server(struct control_call *call)
{
    struct daemon *daemon = call->daemon;
    json_t *result = call->result;
    control_put_text(result, "version", KMIPD_VERSION);
    control_put_number(result, "process", getpid());
    control_put_time(result, "started", daemon->started);
    put_address(result, daemon->config.network_listen);
    control_put_number(result, "port", net_port(daemon->net));
    control_put_text(result, "state", daemon->state.directory);
}

static void put_administration(struct control_call *call)
{
    struct daemon *daemon = call->daemon;
    json_t *object = json_object();
    (void)json_object_set_new(call->result, "administration", object);
    control_put_text(object, "url", daemon->admin != NULL ? daemon->issuer : "not served");
    if (daemon->admin != NULL)
        control_put_text(object, "listen", daemon->config.admin_listen);
    control_put_uuid(object, "instance", &daemon->api_context.instance);
}

/* By name, so that it is shown as groups of values. */
static void put_key_managers(struct control_call *call)
{
    size_t index;
    json_t *entry, *list = control_make_key_managers(call), *object = json_object();
    (void)json_object_set_new(call->result, "key_managers", object);
    json_array_foreach(list, index, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        (void)json_object_set(object, name, entry);
    }
    json_decref(list);
}

static void add_running(struct control_call *call, const struct adapter_row *row, json_t *object)
{
    char text[128];
    struct upkeep_progress progress;
    if (upkeep_rewrap_progress(call->daemon->upkeep, &row->uuid, &progress) != STATUS_OK ||
        !progress.running)
        return;
    (void)snprintf(text, sizeof(text), "rewrapping, %" PRId64 " of %" PRId64 " done",
                   progress.done, progress.total);
    control_put_text(object, row->name, text);
}

struct running {
    struct control_call *call;
    json_t *object;
};

static bool note_running(void *context, const struct adapter_row *row)
{
    struct running *running = context;
    add_running(running->call, row, running->object);
    return true;
}

/* The adapters that are rewrapped now. */
static enum status put_upkeep(struct control_call *call)
{
    struct running running = {call, json_object()};
    (void)json_object_set_new(call->result, "upkeep", running.object);
    return store_adapters(call->session, note_running, &running);
}

static void put_certificate(struct control_call *call)
{
    struct pki_description server;
    struct error error = {0};
    char fingerprint[PKI_FINGERPRINT_TEXT_MAX];
    json_t *object = json_object();
    (void)json_object_set_new(call->result, "certificate", object);
    if (certificates_describe_server(&call->daemon->state, &server, &error) != STATUS_OK) {
        control_put_text(object, "error", error_text(&error));
        return;
    }
    control_put_text(object, "subject", server.subject);
    control_put_text(object, "key", server.key);
    control_put_time(object, "valid_until", server.not_after);
    pki_fingerprint_text(bytes_of(server.sha1, sizeof(server.sha1)), fingerprint);
    control_put_text(object, "sha1", fingerprint);
    pki_fingerprint_text(bytes_of(server.sha256, sizeof(server.sha256)), fingerprint);
    control_put_text(object, "sha256", fingerprint);
}

static void put_audit(struct control_call *call)
{
    uint64_t sequence;
    uint8_t chain[AUDIT_HASH_SIZE];
    struct error error = {0};
    json_t *object = json_object();
    (void)json_object_set_new(call->result, "audit", object);
    enum status status = audit_explain(call->daemon->audit, &error);
    control_put_text(object, "health", status == STATUS_OK ? "well" : error_text(&error));
    audit_head(call->daemon->audit, &sequence, chain);
    control_put_number(object, "sequence", (int64_t)sequence);
    control_put_fingerprint(object, "chain", chain, sizeof(chain));
}

static void put_store(struct control_call *call)
{
    enum status status = store_health(call->daemon->store);
    json_t *object = json_object();
    (void)json_object_set_new(call->result, "store", object);
    control_put_text(object, "health", status == STATUS_OK ? "well" : status_text(status));
}

static bool note_id(void *context, const struct adapter_row *row)
{
    return json_array_append_new(context, json_integer(row->id)) == 0;
}

static enum status put_totals(struct control_call *call)
{
    int64_t objects = 0, active = 0;
    json_t *adapters = json_array();
    enum status status = store_adapters(call->session, note_id, adapters);
    for (size_t i = 0; i < json_array_size(adapters) && status == STATUS_OK; i++) {
        int64_t counts[8] = {0};
        status = store_count(call->session, json_integer_value(json_array_get(adapters, i)),
                             counts);
        for (size_t state = 0; state < ARRAY_COUNT(counts); state++)
            objects += counts[state];
        active += counts[2];
    }
    control_put_number(call->result, "adapters", (int64_t)json_array_size(adapters));
    control_put_number(call->result, "objects", objects);
    control_put_number(call->result, "active_objects", active);
    json_decref(adapters);
    return status;
}

static void put_connections(struct control_call *call)
{
    struct net_counters net;
    struct service_counters service;
    net_counters(call->daemon->net, &net);
    service_counters(call->daemon->service, &service);
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        {"open", net.open},
        {"accepted", net.accepted},
        {"handshakes", net.handshakes},
        {"resumed", net.resumed},
        {"handshakes_failed", net.handshakes_failed},
        {"without_request", net.bare},
        {"timed_out", net.timed_out},
        {"refused_by_total_limit", net.refused_total_limit},
        {"refused_by_certificate_limit", net.refused_certificate_limit},
        {"requests", service.requests},
        {"batch_items", service.items},
        {"requests_refused", service.refused},
        {"requests_executed_again", service.again},
        {"unknown_clients_dropped", service.strangers_dropped},
    };
    json_t *object = json_object();
    (void)json_object_set_new(call->result, "connections", object);
    for (size_t i = 0; i < ARRAY_COUNT(counters); i++)
        control_put_number(object, counters[i].name, (int64_t)counters[i].value);
}

static void put_warnings(struct control_call *call)
{
    struct error warning = {0};
    struct daemon *daemon = call->daemon;
    json_t *warnings = json_array();
    (void)json_object_set_new(call->result, "warnings", warnings);
    if (certificates_explain(&daemon->state, clock_now(&daemon->clock), &warning))
        (void)json_array_append_new(warnings, json_string(error_text(&warning)));
    if (clock_behind(&daemon->clock) > 2000)
        (void)json_array_append_new(
            warnings, json_string("the clock was set back: time stamps stand still until it has "
                                  "caught up; set it right, and keep it with an NTP service"));
    if (daemon->config.keys_sealing == CONFIG_SEALING_KEY_FILE)
        (void)json_array_append_new(
            warnings, json_string("the root keys are sealed under a key file: good for a first try "
                                  "only, see [keys] sealing in kmipd.conf(5)"));
}

enum status control_top_status(struct control_call *call)
{
    put_server(call);
    enum status status = put_totals(call);
    put_administration(call);
    put_key_managers(call);
    if (status == STATUS_OK)
        status = put_upkeep(call);
    put_certificate(call);
    put_store(call);
    put_audit(call);
    put_connections(call);
    put_warnings(call);
    return status;
}
