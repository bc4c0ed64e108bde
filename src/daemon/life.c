/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread of a running daemon: signals, and what is to be done now and then. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "daemon/administration.h"
#include "daemon/certificates.h"
#include "daemon/daemon.h"
#include "daemon/notify.h"
#include "daemon/tasks.h"

static void log_mistake(void *context, const char *mistake)
{
    (void)context;
    log_error("reload refused: %s", mistake);
}

/* ---- Reload ---- */

static void log_differences(const struct config *old, const struct config *new)
{
    enum config_key keys[CONFIG_KEY_COUNT];
    size_t count = config_differences(old, new, keys);
    for (size_t i = 0; i < count; i++) {
        const char *name = config_key_name(keys[i]).text;
        switch (config_key_when(keys[i])) {
        case CONFIG_RELOAD:
            log_notice("reload key=\"%s\" taken up", name);
            break;
        case CONFIG_RESTART:
            log_warning("reload key=\"%s\" has changed, but a restart takes it up", name);
            break;
        case CONFIG_SETUP:
            log_warning("reload key=\"%s\" has changed, but is for the first start alone", name);
            break;
        }
    }
}

static void reload(struct daemon *daemon)
{
    struct config config;
    struct error error = {0};
    notify_reloading();
    bool good = options_read_config(&daemon->options, &config, log_mistake, NULL) == EXIT_GOOD;
    if (good) {
        log_differences(&daemon->config, &config);
        config_take_reloadable(&daemon->config, &config);
        log_set_level(config_log_level(&daemon->config));
    }
    bool made;
    if (certificates_make(&daemon->config, &daemon->state, clock_now(&daemon->clock), &made,
                          &error) != STATUS_OK ||
        net_reload_certificate(daemon->net, &error) != STATUS_OK ||
        administration_reload(daemon, &error) != STATUS_OK) {
        good = false;
        log_error("reload server certificate kept: %s", error_text(&error));
    } else {
        certificates_report(&daemon->state, clock_now(&daemon->clock));
    }
    if (daemon_audit(daemon, "reload", good ? "" : "with mistakes: see the log") != STATUS_OK)
        log_critical("audit the reload could not be recorded");
    log_notice("reload %s", good ? "done" : "done with mistakes, named above");
    notify_send("READY=1\nSTATUS=Serving");
}

/* ---- Signals ---- */

static int wait_for_signal(int64_t milliseconds)
{
    sigset_t wanted;
    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGTERM);
    (void)sigaddset(&wanted, SIGINT);
    (void)sigaddset(&wanted, SIGHUP);
    const struct timespec timeout = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    return sigtimedwait(&wanted, NULL, &timeout);
}

void daemon_run(struct daemon *daemon)
{
    for (;;) {
        int signal = wait_for_signal(tasks_run(daemon));
        if (signal == SIGHUP) {
            reload(daemon);
        } else if (signal > 0) {
            log_notice("stop signal=%s", sigabbrev_np(signal));
            return;
        }
    }
}
