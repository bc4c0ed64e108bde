/* SPDX-License-Identifier: Apache-2.0 */
/* kmipd: the KMIP key management server. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/process.h"
#include "base/log.h"
#include "base/secret.h"
#include "daemon/daemon.h"
#include "daemon/notify.h"
#include "daemon/reseal.h"
#include "daemon/welcome.h"
#include "keyholder/keyholder.h"

static struct daemon the_daemon;

/* What a request or a library could raise must not end the server; what administrators send is
 * waited for by the main thread alone. */
static void block_signals(void)
{
    sigset_t waited;
    (void)sigemptyset(&waited);
    (void)sigaddset(&waited, SIGTERM);
    (void)sigaddset(&waited, SIGINT);
    (void)sigaddset(&waited, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &waited, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* systemd.exec(5): $JOURNAL_STREAM names the device and inode of the journal's stream. What a
 * terminal under a service inherits of it does not count. */
static bool is_journal(int descriptor)
{
    char ours[64];
    struct stat status;
    const char *journal = getenv("JOURNAL_STREAM");
    if (journal == NULL || fstat(descriptor, &status) != 0)
        return false;
    (void)snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)status.st_dev,
                   (uintmax_t)status.st_ino);
    return strcmp(journal, ours) == 0;
}

static void report_mistake(void *context, const char *mistake)
{
    (void)context;
    log_error("config %s", mistake);
}

static enum exit_code serve(struct daemon *daemon)
{
    struct error error = {0};
    if (daemon_start(daemon, &error) != STATUS_OK) {
        log_critical("start %s", error_text(&error));
        notify_send("STATUS=%s\nERRNO=5", error_text(&error));
        return EXIT_FAILED;
    }
    log_notice("serving version=%s address=%s state=\"%s\"", KMIPD_VERSION,
               daemon->config.network_listen, daemon->state.directory);
    welcome_print(daemon, stdout, is_journal(STDOUT_FILENO));
    notify_send("READY=1\nSTATUS=Serving");
    daemon_run(daemon);
    daemon_stop(daemon);
    log_notice("stopped");
    return EXIT_GOOD;
}

static enum exit_code seal_anew(struct daemon *daemon)
{
    struct error error = {0};
    enum exit_code code = reseal(daemon, &error);
    if (code != EXIT_GOOD)
        log_critical("reseal %s", error_text(&error));
    return code;
}

int main(int count, char **arguments)
{
    if (count == 2 && strcmp(arguments[1], "keyholder") == 0)
        keyholder_main();
    if (count == 2 && strcmp(arguments[1], "admin") == 0)
        return admin_process();
    struct daemon *daemon = &the_daemon;
    struct error error = {0};
    enum exit_code code = options_parse(&daemon->options, count, arguments);
    if (code != EXIT_GOOD)
        return code;
    bool with_keys =
        daemon->options.task == TASK_SERVE || daemon->options.task == TASK_RESEAL;
    if (!with_keys)
        return options_do_task(&daemon->options);

    (void)umask(S_IRWXG | S_IRWXO);
    daemon->journal = is_journal(STDERR_FILENO);
    log_init(LOG_LEVEL_INFO, daemon->journal);
    if (secret_protect_process(&error) != STATUS_OK) {
        log_critical("start %s", error_text(&error));
        return EXIT_FAILED;
    }
    notify_init();
    code = options_read_config(&daemon->options, &daemon->config, report_mistake, NULL);
    if (code != EXIT_GOOD)
        return code;
    log_set_level(config_log_level(&daemon->config));
    block_signals();
    code = daemon->options.task == TASK_SERVE ? serve(daemon) : seal_anew(daemon);
#ifdef __SANITIZE_ADDRESS__
    /* The leak checker looks at the process as a debugger does; no key is in it any more. */
    (void)prctl(PR_SET_DUMPABLE, 1);
#endif
    return code;
}
