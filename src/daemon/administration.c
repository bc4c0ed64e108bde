/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/administration.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "admin/front.h"
#include "api/upkeep.h"
#include "base/log.h"
#include "daemon/commands.h"
#include "daemon/key_managers.h"
#include "daemon/names.h"
#include "kms/identities.h"

/* ---- Identifiers ---- */

/* What makes this instance this one, in the store's values. */
static const char instance_name[] = "instance";
static const char account_name[] = "account";
static const char payload_root_key_name[] = "payload-root-key";

static enum status read_identifier(struct daemon *daemon, const char *name, struct uuid *ret_id)
{
    size_t size;
    enum status status = store_value_get(daemon->session, name, ret_id, sizeof(*ret_id), &size);
    return status == STATUS_OK && size != sizeof(*ret_id) ? STATUS_STORE_CORRUPT : status;
}

static enum status read_or_make(struct daemon *daemon, const char *name, struct uuid *ret_id)
{
    enum status status = read_identifier(daemon, name, ret_id);
    if (status != STATUS_NOT_FOUND)
        return status;
    status = uuid_make_random(ret_id);
    return status == STATUS_OK ? store_value_put(daemon->store, name, uuid_bytes(ret_id)) : status;
}

/* The root key of standard keys' payloads; its identifier is kept first, so that a start that was
 * killed in between makes the same one. */
static enum status make_payload_root_key(struct daemon *daemon, struct error *error)
{
    struct api_context *context = &daemon->api_context;
    struct root_key_wish wish = {.name = "kmipd standard keys", .now = clock_now(&daemon->clock)};
    struct uuid made;
    enum status status = read_or_make(daemon, payload_root_key_name, &wish.id);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot keep an identifier: %s", status_text(status));
    status = keymanager_create_root_key(keymanagers_get(&daemon->keymanagers, context->local), &wish,
                                        &made, error);
    if (status == STATUS_OK)
        context->payload_root_key = made;
    return status;
}

/* The instance's own identifier is kept last: it tells that all the others are there. */
static enum status set_up(struct daemon *daemon, struct error *error)
{
    struct api_context *context = &daemon->api_context;
    enum status status = make_payload_root_key(daemon, error);
    if (status != STATUS_OK)
        return status;
    status = read_or_make(daemon, account_name, &context->account);
    if (status == STATUS_OK)
        status = read_or_make(daemon, instance_name, &context->instance);
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(error, status, "cannot keep the instance's identifier: %s",
                           status_text(status));
}

static enum status read_identifiers(struct daemon *daemon, struct error *error)
{
    struct api_context *context = &daemon->api_context;
    enum status status = read_identifier(daemon, payload_root_key_name, &context->payload_root_key);
    if (status == STATUS_OK)
        status = read_identifier(daemon, account_name, &context->account);
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(error, status, "cannot read the instance's identifiers: %s",
                           status_text(status));
}

/* ---- What is due now and then ---- */

#define HOUSEKEEPING_SECONDS 60

struct housekeeper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping; /* under the lock */
    struct api_context *context;
};

static void keep_house(const struct api_context *context)
{
    struct api_housekeeping done = {0};
    struct error error = {0};
    enum status status =
        api_housekeeping(context, clock_now(context->clock), &done, &error);
    if (status != STATUS_OK || done.failed > 0)
        log_error("admin what is due could not all be done; it is tried again: %s",
                  error_text(&error));
    if (done.expired + done.rotated + done.purged > 0)
        log_notice("admin keys expired=%u rotated=%u purged=%u", done.expired, done.rotated,
                   done.purged);
}

static bool wait_for_turn(struct housekeeper *housekeeper)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += HOUSEKEEPING_SECONDS;
    int waited = 0;
    pthread_mutex_lock(&housekeeper->lock);
    while (!housekeeper->stopping && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&housekeeper->wake, &housekeeper->lock, &until);
    bool go_on = !housekeeper->stopping;
    pthread_mutex_unlock(&housekeeper->lock);
    return go_on;
}

static void *run_housekeeper(void *argument)
{
    struct housekeeper *housekeeper = argument;
    while (wait_for_turn(housekeeper))
        keep_house(housekeeper->context);
    return NULL;
}

/* It has a thread because a key manager may take its time. */
static enum status start_housekeeper(struct daemon *daemon, struct error *error)
{
    struct housekeeper *housekeeper = calloc(1, sizeof(*housekeeper));
    if (housekeeper == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    housekeeper->context = &daemon->api_context;
    pthread_mutex_init(&housekeeper->lock, NULL);
    pthread_cond_init(&housekeeper->wake, NULL);
    int failed = pthread_create(&housekeeper->thread, NULL, run_housekeeper, housekeeper);
    if (failed != 0) {
        free(housekeeper);
        return error_set_errno(error, STATUS_NO_MEMORY, failed, "cannot start a thread");
    }
    daemon->housekeeper = housekeeper;
    return STATUS_OK;
}

static void stop_housekeeper(struct daemon *daemon)
{
    struct housekeeper *housekeeper = daemon->housekeeper;
    if (housekeeper == NULL)
        return;
    pthread_mutex_lock(&housekeeper->lock);
    housekeeper->stopping = true;
    pthread_cond_signal(&housekeeper->wake);
    pthread_mutex_unlock(&housekeeper->lock);
    pthread_join(housekeeper->thread, NULL);
    pthread_mutex_destroy(&housekeeper->lock);
    pthread_cond_destroy(&housekeeper->wake);
    free(housekeeper);
    daemon->housekeeper = NULL;
}

/* ---- Opening ---- */

/* By which others reach the API: what the configuration says, or the host's name. */
static void make_issuer(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    struct names names;
    if (config->admin_url[0] != '\0') {
        (void)snprintf(daemon->issuer, sizeof(daemon->issuer), "%s", config->admin_url);
        return;
    }
    names_collect(config->admin_listen, config->server_names, &names);
    (void)snprintf(daemon->issuer, sizeof(daemon->issuer), "https://%s%s",
                   names.count > 0 ? names.list[0] : "localhost",
                   strrchr(config->admin_listen, ':'));
}

static enum status open_keys(struct daemon *daemon, struct error *error)
{
    const char *path = state_path(&daemon->state, STATE_KEYS);
    enum status known = read_identifier(daemon, instance_name, &daemon->api_context.instance);
    if (known != STATUS_OK && known != STATUS_NOT_FOUND)
        return error_set(error, known, "cannot read the instance's identifier: %s",
                         status_text(known));
    enum status status = kms_open(path, known == STATUS_NOT_FOUND, &daemon->kms, error);
    if (status != STATUS_OK)
        return status;
    return known == STATUS_OK ? read_identifiers(daemon, error) : set_up(daemon, error);
}

static bool note_one(void *context, const struct kms_service_id *service_id)
{
    (void)service_id;
    *(bool *)context = true;
    return false;
}

/* Whoever has no service ID can make none over HTTPS. */
static enum status make_first_key(struct daemon *daemon, struct error *error)
{
    bool any = false;
    enum status status = kms_service_ids(daemon->kms, note_one, &any);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot read the service IDs: %s", status_text(status));
    return any ? STATUS_OK : api_first_key(daemon->api, &daemon->first_api_key, error);
}

/* An HSM that does not answer now must not keep what needs it not from being served. */
static enum status bring_in_line(struct daemon *daemon, struct error *error)
{
    enum status status =
        api_reconcile_root_keys(&daemon->api_context, clock_now(&daemon->clock), error);
    if (status != STATUS_KEY_MANAGER_UNAVAILABLE)
        return status;
    log_error("admin root keys could not be compared with the key manager's: %s",
              error_text(error));
    return STATUS_OK;
}

enum status administration_open(struct daemon *daemon, struct error *error)
{
    const struct config *config = &daemon->config;
    struct api_context *context = &daemon->api_context;
    *context = (struct api_context){
        .store = daemon->store,
        .core = daemon->core,
        .audit = daemon->audit,
        .clock = &daemon->clock,
        .upkeep = daemon->upkeep,
        .keymanagers = &daemon->keymanagers,
        .commands = &daemon->commands,
        .local = key_managers_local(config),
        .token_key_file = state_path(&daemon->state, STATE_TOKEN_KEY),
        .issuer = daemon->issuer,
        .region = config->admin_region,
        .rotate_interval = config->admin_rotation_interval > 0
                               ? (int64_t)config->admin_rotation_interval
                               : -1,
        .token_seconds = (unsigned)(config->admin_token_time / 1000),
        .threads = (unsigned)config->admin_threads,
    };
    daemon->commands = (struct api_commands){.context = daemon, .run = commands_run};
    make_issuer(daemon);
    enum status status = open_keys(daemon, error);
    context->kms = daemon->kms;
    if (status == STATUS_OK)
        status = api_open(context, &daemon->api, error);
    if (status == STATUS_OK)
        status = make_first_key(daemon, error);
    if (status == STATUS_OK)
        status = bring_in_line(daemon, error);
    return status == STATUS_OK ? start_housekeeper(daemon, error) : status;
}

enum status administration_serve(struct daemon *daemon, struct error *error)
{
    const struct config *config = &daemon->config;
    if (!config->admin_enabled)
        return STATUS_OK;
    const struct admin_options options = {
        .address = config->admin_listen,
        .certificate_file = state_path(&daemon->state, STATE_SERVER_CERTIFICATE),
        .key_file = state_path(&daemon->state, STATE_SERVER_KEY),
        .connections_max = (unsigned)config->admin_connections_max,
        .journal = daemon->journal,
        .log_level = (int)config_log_level(config),
    };
    enum status status = admin_open(&options, daemon->api, &daemon->admin, error);
    if (status == STATUS_OK || daemon->first_start)
        return status;
    log_critical("admin the administration API is not served: %s", error_text(error));
    return STATUS_OK;
}

enum status administration_reload(struct daemon *daemon, struct error *error)
{
    return daemon->admin != NULL ? admin_reload(daemon->admin, error) : STATUS_OK;
}

void administration_stop_serving(struct daemon *daemon)
{
    admin_close(daemon->admin);
    daemon->admin = NULL;
}

void administration_close(struct daemon *daemon)
{
    stop_housekeeper(daemon);
    api_close(daemon->api);
    kms_close(daemon->kms);
    secret_free(&daemon->first_api_key);
    daemon->api = NULL;
    daemon->kms = NULL;
}
