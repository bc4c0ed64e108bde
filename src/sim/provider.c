/* SPDX-License-Identifier: Apache-2.0 */
/* The servers of the key provider: trusting them, polling them, doing without some of them. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sim/machine.h"
#include "sim/scenarios.h"

enum {
    TEXT_MAX = 160,
    YELLOW_DAYS = 30,  /* before its end a certificate turns yellow in vCenter */
    IMPATIENCE = 1000, /* milliseconds that a silent server gets here */
    DAY_SECONDS = 24 * 60 * 60,
};

/* Runs steps for each server of the options, alone. */
static enum status for_each_server(struct sim *sim,
                                   enum status (*steps)(struct sim *sim, size_t server))
{
    enum status first = STATUS_OK;
    for (size_t i = 0; i < sim->options.server_count; i++) {
        enum status status = steps(sim, i);
        first = first != STATUS_OK ? first : status;
    }
    return first;
}

/* ---- Trust ---- */

#define THUMBPRINT_SIZE (3 * CLIENT_SHA1_SIZE + 1)

/* As administrators compare it: AB:CD:... */
static void print_thumbprint(const uint8_t digest[static CLIENT_SHA1_SIZE],
                             char ret_text[static THUMBPRINT_SIZE])
{
    for (size_t i = 0; i < CLIENT_SHA1_SIZE; i++)
        (void)snprintf(ret_text + 3 * i, 4, "%02X:", digest[i]);
    ret_text[THUMBPRINT_SIZE - 2] = '\0'; /* the last ':' */
}

static void print_day(int64_t seconds, char ret_text[static 16])
{
    time_t time = (time_t)seconds;
    struct tm date;
    if (gmtime_r(&time, &date) == NULL || strftime(ret_text, 16, "%Y-%m-%d", &date) == 0)
        (void)snprintf(ret_text, 16, "?");
}

/* The certificate, whosever it is: an administrator would compare what is shown. */
static enum status fetch_certificate(struct sim *sim, size_t server, struct client_peer *ret_peer)
{
    struct step step;
    struct vcenter vcenter = {.sim = sim};
    char thumbprint[THUMBPRINT_SIZE] = "";
    step_begin(&step, &sim->report, "fetch the server's certificate");
    enum status status = vcenter_open_one(sim, server, VCENTER_TRUST_NOBODY, &vcenter, &step.error);
    if (status == STATUS_OK)
        status = vcenter_shake_hands(&vcenter, ret_peer, &step.error);
    vcenter_close(&vcenter);
    if (status == STATUS_OK)
        print_thumbprint(ret_peer->sha1, thumbprint);
    return step_end(&step, status, "SHA-1 %s", thumbprint);
}

static enum status check_authority(struct sim *sim, size_t server)
{
    struct step step;
    struct client_peer peer;
    struct vcenter vcenter = {.sim = sim};
    step_begin(&step, &sim->report, "check who signed it");
    enum status status =
        vcenter_open_one(sim, server, VCENTER_TRUST_AUTHORITY, &vcenter, &step.error);
    if (status == STATUS_OK)
        status = vcenter_shake_hands(&vcenter, &peer, &step.error);
    vcenter_close(&vcenter);
    return step_end(&step, status, "signed by %s", peer.issuer);
}

static enum status pin(struct sim *sim, size_t server, const struct client_peer *peer)
{
    struct step step;
    bool known = false;
    char day[16] = "";
    uint8_t old[CLIENT_SHA256_SIZE] = {0};
    const char *address = sim->options.servers[server];
    print_day(peer->valid_until, day);
    step_begin(&step, &sim->report, "trust it");
    enum status status = provider_load_pin(sim->options.dir, address, &known, old, &step.error);
    if (status == STATUS_OK)
        status = provider_store_pin(sim->options.dir, address, peer->sha256, &step.error);
    bool same = known && memcmp(old, peer->sha256, sizeof(old)) == 0;
    return step_end(&step, status, "%s: %s, valid until %s", address,
                    same    ? "pinned before, unchanged"
                    : known ? "pinned anew, it has changed"
                            : "pinned",
                    day);
}

static enum status trust_server(struct sim *sim, size_t server)
{
    struct client_peer peer;
    enum status status = fetch_certificate(sim, server, &peer);
    if (status == STATUS_OK && sim->options.ca != NULL)
        status = check_authority(sim, server);
    return status == STATUS_OK ? pin(sim, server, &peer) : status;
}

static enum status bare_handshake(struct vcenter *vcenter)
{
    struct step step;
    struct client_peer peer = {0};
    step_begin(&step, &vcenter->sim->report, "TLS handshake without a request");
    enum status status = vcenter_shake_hands(vcenter, &peer, &step.error);
    return step_end(&step, status, "%s, %s", peer.protocol, peer.cipher);
}

static enum status discover(struct vcenter *vcenter)
{
    struct step step;
    char versions[TEXT_MAX] = "";
    step_begin(&step, &vcenter->sim->report, "Discover Versions, twice");
    enum status status = vcenter_discover(vcenter, versions, sizeof(versions), &step.error);
    return step_end(&step, status, "KMIP %s", versions);
}

static enum status query(struct vcenter *vcenter)
{
    struct step step;
    char vendor[TEXT_MAX] = "";
    step_begin(&step, &vcenter->sim->report, "Query Server Information");
    enum status status = vcenter_query(vcenter, vendor, sizeof(vendor), &step.error);
    return step_end(&step, status, "%s", vendor);
}

/* The connections of "Establish trust" in vCenter, in their order. */
static enum status test_connection(struct vcenter *vcenter)
{
    static enum status (*const connections[])(struct vcenter *) = {
        bare_handshake, discover, query, bare_handshake, discover, bare_handshake};
    enum status status = STATUS_OK;
    for (size_t i = 0; i < ARRAY_COUNT(connections) && status == STATUS_OK; i++)
        status = connections[i](vcenter);
    return status;
}

/* Opens the provider with one of its servers. */
static enum status with_server(struct sim *sim, size_t server,
                               enum status (*steps)(struct vcenter *vcenter))
{
    struct error error = {0};
    struct vcenter vcenter = {.sim = sim};
    enum status status = vcenter_open_one(sim, server, VCENTER_TRUST_STORED, &vcenter, &error);
    if (status == STATUS_OK)
        status = steps(&vcenter);
    else
        (void)machine_failed(&vcenter, "open the key provider", status, &error);
    vcenter_close(&vcenter);
    return status;
}

static enum status trust_steps(struct sim *sim, size_t server)
{
    enum status status = trust_server(sim, server);
    return status == STATUS_OK ? with_server(sim, server, test_connection) : status;
}

enum status scenario_trust(struct sim *sim)
{
    return for_each_server(sim, trust_steps);
}

/* ---- Health ---- */

static enum status check_certificate(struct vcenter *vcenter)
{
    struct step step;
    struct client_peer peer = {0};
    char day[16] = "";
    step_begin(&step, &vcenter->sim->report, "TLS handshake without a request");
    enum status status = vcenter_shake_hands(vcenter, &peer, &step.error);
    int64_t days = (peer.valid_until - time(NULL)) / DAY_SECONDS;
    print_day(peer.valid_until, day);
    return step_end(&step, status, "%s in %.1f ms; certificate until %s%s", peer.protocol,
                    (double)peer.handshake_microseconds / 1000, day,
                    days < YELLOW_DAYS ? ": yellow in vCenter, renew it" : "");
}

static enum status poll_server(struct vcenter *vcenter)
{
    enum status status = check_certificate(vcenter);
    return status == STATUS_OK ? discover(vcenter) : status;
}

static enum status health_steps(struct sim *sim, size_t server)
{
    return with_server(sim, server, poll_server);
}

enum status scenario_health(struct sim *sim)
{
    return for_each_server(sim, health_steps);
}

/* ---- Fail-over ---- */

/* A server that is down (nothing listens at its address) or hung (it takes connections, and that is
 * all). Its address is of this machine. */
struct decoy {
    int socket;
    char address[32];
};

static enum status decoy_open(struct decoy *decoy, bool hung, struct error *error)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    decoy->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (decoy->socket < 0 || bind(decoy->socket, (struct sockaddr *)&at, size) != 0 ||
        (hung && listen(decoy->socket, 1) != 0) ||
        getsockname(decoy->socket, (struct sockaddr *)&at, &size) != 0)
        return error_set(error, STATUS_IO, "cannot make a server that is down");
    (void)snprintf(decoy->address, sizeof(decoy->address), "127.0.0.1:%u", ntohs(at.sin_port));
    return STATUS_OK;
}

static void decoy_close(struct decoy *decoy)
{
    if (decoy->socket >= 0)
        (void)close(decoy->socket);
}

/* Reads a key by a list that begins with the decoy. */
static enum status read_past(struct vcenter *vcenter, const char *text, const char *id,
                             const struct secret *expected)
{
    struct step step;
    struct vcenter_key key = {0};
    step_begin(&step, &vcenter->sim->report, text);
    enum status status = vcenter_read_key(vcenter, id, &key, &step.error);
    if (status == STATUS_OK && !secret_equal(&key.material, expected))
        status = error_set(&step.error, STATUS_INTERNAL, "the key has another value there");
    secret_free(&key.material);
    return step_end(&step, status, "passed %s; answered by %s", vcenter->passed,
                    vcenter->answered_by);
}

static enum status create_past(struct vcenter *vcenter)
{
    struct step step;
    struct client_id id = {{0}};
    step_begin(&step, &vcenter->sim->report, "create a key");
    enum status status = vcenter_create_key(vcenter, &id, &step.error);
    return step_end(&step, status, "%s; passed %s; answered by %s", id.text, vcenter->passed,
                    vcenter->answered_by);
}

/* What the list is with a decoy before the servers of the options. */
static enum status open_past(struct sim *sim, const struct decoy *decoy,
                             struct vcenter *ret_vcenter, struct error *error)
{
    static const uint8_t nobody[CLIENT_SHA256_SIZE];
    struct client_server servers[CLIENT_SERVERS_MAX] = {{decoy->address, nobody}};
    uint8_t pins[CLIENT_SERVERS_MAX][CLIENT_SHA256_SIZE];
    size_t count = sim->options.server_count;
    count = count < CLIENT_SERVERS_MAX ? count : CLIENT_SERVERS_MAX - 1;
    for (size_t i = 0; i < count; i++) {
        bool pinned = false;
        const char *address = sim->options.servers[i];
        enum status status = provider_load_pin(sim->options.dir, address, &pinned, pins[i], error);
        if (status != STATUS_OK)
            return status;
        servers[i + 1] = (struct client_server){address, pinned ? pins[i] : NULL};
    }
    return vcenter_open_list(sim, servers, count + 1, IMPATIENCE, ret_vcenter, error);
}

static enum status pass_decoy(struct vcenter *vcenter, bool hung, const char *text, const char *id,
                              const struct secret *expected)
{
    struct decoy decoy;
    struct error error = {0};
    struct vcenter list = {.sim = vcenter->sim};
    enum status status = decoy_open(&decoy, hung, &error);
    if (status == STATUS_OK)
        status = open_past(vcenter->sim, &decoy, &list, &error);
    if (status != STATUS_OK)
        (void)machine_failed(vcenter, text, status, &error);
    else
        status = read_past(&list, text, id, expected);
    if (status == STATUS_OK && !hung)
        status = create_past(&list);
    vcenter_close(&list);
    decoy_close(&decoy);
    return status;
}

static enum status failover_steps(struct vcenter *vcenter)
{
    struct client_id id = {{0}};
    struct secret material = {0};
    enum status status = machine_create_key(vcenter, "create a key", &id);
    if (status == STATUS_OK)
        status = machine_read_key(vcenter, "read and activate it", id.text, &material);
    if (status == STATUS_OK)
        status =
            pass_decoy(vcenter, false, "read it; the first server is down", id.text, &material);
    if (status == STATUS_OK)
        status = pass_decoy(vcenter, true, "read it; the first server is hung", id.text, &material);
    secret_free(&material);
    return status;
}

enum status scenario_failover(struct sim *sim)
{
    return machine_run(sim, failover_steps);
}
