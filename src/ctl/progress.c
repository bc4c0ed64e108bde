/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for what goes on in the background, with a line that shows how far it is. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ctl.h"

#define LOOK_NANOSECONDS 250000000

static int64_t number(const json_t *progress, const char *name)
{
    return json_integer_value(json_object_get(progress, name));
}

/* On a terminal one line that changes; elsewhere nothing but the end. */
static void print_progress(const char *adapter, const json_t *progress, bool ended)
{
    if (!isatty(STDERR_FILENO) && !ended)
        return;
    fprintf(stderr, "%s%s: %" PRId64 " of %" PRId64 " keys, %" PRId64 " a second",
            isatty(STDERR_FILENO) ? "\r\033[K" : "", adapter, number(progress, "done"),
            number(progress, "total"), number(progress, "rate"));
    if (json_object_get(progress, "seconds_left") != NULL)
        fprintf(stderr, ", %" PRId64 " s left", number(progress, "seconds_left"));
    if (number(progress, "failed") > 0)
        fprintf(stderr, ", %" PRId64 " failed", number(progress, "failed"));
    if (ended)
        fputc('\n', stderr);
}

static enum status look(struct ctl_server *server, const char *adapter, bool *ret_running,
                        struct error *error)
{
    json_t *progress = NULL, *arguments = json_pack("{s:s}", "name", adapter);
    enum status status = ctl_request(server, IPC_adapter_progress, arguments, &progress, error);
    json_decref(arguments);
    if (status != STATUS_OK)
        return status;
    const char *state = json_string_value(json_object_get(progress, "state"));
    *ret_running = state != NULL && strcmp(state, "running") == 0;
    print_progress(adapter, progress, !*ret_running);
    if (!*ret_running && number(progress, "failed") > 0) {
        const char *why = json_string_value(json_object_get(progress, "failure"));
        status = error_set(error, STATUS_BUSY,
                           "%" PRId64 " keys of '%.60s' could not be rewrapped yet, and are tried "
                           "again: %.200s",
                           number(progress, "failed"), adapter, why != NULL ? why : "");
    }
    json_decref(progress);
    return status;
}

enum status ctl_watch(struct ctl_server *server, const json_t *adapters, struct error *error)
{
    size_t index;
    json_t *adapter;
    enum status status = STATUS_OK;
    const struct timespec pause = {.tv_nsec = LOOK_NANOSECONDS};
    json_array_foreach((json_t *)adapters, index, adapter)
    {
        bool running = true;
        while (status == STATUS_OK && running) {
            status = look(server, json_string_value(adapter), &running, error);
            if (status == STATUS_OK && running)
                (void)nanosleep(&pause, NULL);
        }
    }
    return status;
}
