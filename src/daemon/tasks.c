/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/tasks.h"

#include <inttypes.h>

#include "base/log.h"
#include "daemon/certificates.h"
#include "daemon/notify.h"

#define CLOCK_STEP_MILLISECONDS   2000 /* less is what NTP does */
#define RESTART_STEP_MILLISECONDS 60000

/* ---- The audit log's head ---- */

struct audit_head_value {
    uint8_t sequence[8]; /* most significant byte first, as in `time` */
    uint8_t chain[AUDIT_HASH_SIZE];
    uint8_t time[8]; /* when this was saved, milliseconds since 1970 */
};

static void put_number(uint8_t bytes[static 8], uint64_t number)
{
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
}

static uint64_t get_number(const uint8_t bytes[static 8])
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | bytes[i];
    return number;
}

static const char head_name[] = "audit-head";

void tasks_save_audit_head(struct daemon *daemon)
{
    struct audit_head_value value;
    uint64_t sequence;
    static uint64_t saved; /* the main thread's alone */
    audit_head(daemon->audit, &sequence, value.chain);
    if (sequence == saved || store_health(daemon->store) != STATUS_OK)
        return;
    put_number(value.sequence, sequence);
    put_number(value.time, (uint64_t)clock_now(&daemon->clock));
    enum status status =
        store_value_put(daemon->store, head_name, bytes_of(&value, sizeof(value)));
    if (status == STATUS_OK)
        saved = sequence;
    else
        log_error("store cannot save the audit log's head: %s", status_text(status));
}

/* A machine that was off may come back with the year 2000 in its clock. */
static void compare_clock(struct daemon *daemon, int64_t saved)
{
    int64_t behind = saved - clock_now(&daemon->clock);
    if (behind > RESTART_STEP_MILLISECONDS)
        log_warning("clock stands seconds=%" PRId64 " before the time of the last run: set it "
                    "right, and keep it with an NTP service; dates of new keys and records are "
                    "wrong until then",
                    behind / 1000);
}

enum status tasks_load_audit_head(struct daemon *daemon, uint64_t *ret_sequence,
                                  uint8_t ret_chain[static AUDIT_HASH_SIZE], struct error *error)
{
    struct audit_head_value value = {0};
    size_t size;
    enum status status =
        store_value_get(daemon->session, head_name, &value, sizeof(value), &size);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return error_set(error, status, "cannot read the audit log's head from the store: %s",
                         status_text(status));
    compare_clock(daemon, (int64_t)get_number(value.time));
    *ret_sequence = get_number(value.sequence);
    memcpy(ret_chain, value.chain, AUDIT_HASH_SIZE);
    return STATUS_OK;
}

/* ---- Tasks ---- */

static void watch_clock(struct daemon *daemon)
{
    static bool behind; /* the main thread's alone */
    (void)clock_now(&daemon->clock);
    int64_t milliseconds = clock_behind(&daemon->clock);
    if (!behind && milliseconds > CLOCK_STEP_MILLISECONDS) {
        behind = true;
        log_warning("clock stepped back seconds=%" PRId64 ": time stamps stand still until it has "
                    "caught up; set it right, and keep it with an NTP service. If it was wrong "
                    "before and is right now, restart kmipd",
                    milliseconds / 1000);
    } else if (behind && milliseconds == 0) {
        behind = false;
        log_notice("clock has caught up: time stamps go on");
    }
}

/* What is wrong and what to do; nothing when all is well. */
static void explain_health(struct daemon *daemon, struct error *ret_trouble)
{
    static const struct {
        enum status status;
        const char *text;
    } texts[] = {
        {STATUS_STORE_FULL, "the store's disk is full: new keys are refused, existing ones are "
                            "served. Make room on it; the store goes on by itself then"},
        {STATUS_STORE_READ_ONLY, "the store's file system is read-only: new keys are refused, "
                                 "existing ones are served. Make it writable; the store goes on by "
                                 "itself then"},
        {STATUS_STORE_CORRUPT, "the store is damaged: some keys may not be served. Stop kmipd and "
                               "restore the state directory from a backup"},
    };
    enum status status = store_health(daemon->store);
    if (audit_explain(daemon->audit, ret_trouble) != STATUS_OK || status == STATUS_OK)
        return;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        if (texts[i].status == status) {
            (void)error_set(ret_trouble, status, "%s", texts[i].text);
            return;
        }
    }
    (void)error_set(ret_trouble, status,
                    "the store failed to write: new keys are refused. Look at the disk and the "
                    "kernel's log, then restart kmipd");
}

static void watch_health(struct daemon *daemon)
{
    static char last[sizeof((struct error){0}.text)]; /* the main thread's alone */
    struct error trouble = {0};
    explain_health(daemon, &trouble);
    if (strcmp(trouble.text, last) == 0)
        return;
    if (trouble.text[0] != '\0')
        log_critical("health %s", trouble.text);
    else
        log_notice("health the server is well again");
    notify_send("STATUS=%s", trouble.text[0] != '\0' ? trouble.text : "Serving");
    memcpy(last, trouble.text, sizeof(last));
}

static void watch_certificate(struct daemon *daemon)
{
    certificates_report(&daemon->state, clock_now(&daemon->clock));
}

static void feed_watchdog(struct daemon *daemon)
{
    (void)daemon;
    notify_send("WATCHDOG=1");
}

struct task {
    void (*run)(struct daemon *daemon);
    int64_t interval; /* milliseconds; 0: never */
    int64_t due;      /* monotonic milliseconds */
};

int64_t tasks_run(struct daemon *daemon)
{
    static struct task tasks[] = {
        {watch_clock, 1000, 0},
        {watch_health, 1000, 0},
        {tasks_save_audit_head, 60000, 0},
        {watch_certificate, 12 * 3600000, 0},
        {feed_watchdog, 0, 0}, /* as the service manager wants */
    };
    tasks[ARRAY_COUNT(tasks) - 1].interval = notify_watchdog_interval();
    int64_t now = clock_monotonic(), next = now + 60000;
    for (size_t i = 0; i < ARRAY_COUNT(tasks); i++) {
        if (tasks[i].interval == 0)
            continue;
        if (tasks[i].due <= now) {
            tasks[i].run(daemon);
            tasks[i].due = now + tasks[i].interval;
        }
        next = tasks[i].due < next ? tasks[i].due : next;
    }
    int64_t left = next - clock_monotonic();
    return left > 0 ? left : 0;
}
