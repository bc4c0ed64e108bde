/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/address.h"

enum {
    TEXT_WIDTH = 36,
    DETAIL_WIDTH = 72, /* what is longer gets a line of its own */
    DETAIL_MAX = 1024,
    DRAW_EVERY = 100000, /* microseconds between two drawings of a step */
};

enum outcome { OUTCOME_OK, OUTCOME_FAILED, OUTCOME_SKIPPED };

static const struct {
    const char *word;   /* in JSON */
    const char *mark;   /* on the terminal */
    const char *colour; /* ECMA-48 SGR */
} outcomes[] = {
    [OUTCOME_OK] = {"ok", "ok", "32"},
    [OUTCOME_FAILED] = {"failed", "FAILED", "1;31"},
    [OUTCOME_SKIPPED] = {"skipped", "skipped", "33"},
};

/* A JSON string, also of text that is not UTF-8 (the path of a file may be anything). */
static json_t *json_text(const char *text)
{
    char copy[DETAIL_MAX];
    json_t *string = json_string(text);
    if (string != NULL)
        return string;
    (void)snprintf(copy, sizeof(copy), "%s", text);
    for (char *at = copy; *at != '\0'; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    return json_string(copy);
}

/* Takes `value`; notes where it could not be kept. */
static void keep(struct report *report, json_t *array, json_t *value)
{
    report->lost |= json_array_append_new(array, value) != 0;
}

static double milliseconds(int64_t microseconds)
{
    return (double)microseconds / 1000;
}

enum status report_init(struct report *report, FILE *file, bool as_json)
{
    const char *terminal = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    bool capable = terminal != NULL && strcmp(terminal, "dumb") != 0;
    *report = (struct report){.file = file, .as_json = as_json, .begun = client_microseconds()};
    report->terminal = !as_json && capable && isatty(fileno(file)) == 1;
    report->colours = report->terminal && (no_colour == NULL || *no_colour == '\0');
    report->scenarios = json_array();
    return report->scenarios != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

void report_free(struct report *report)
{
    json_decref(report->scenarios);
    *report = (struct report){0};
}

void report_title(struct report *report, const char *text)
{
    if (!report->as_json)
        fprintf(report->file, "%s\n", text);
}

/* ---- Scenarios ---- */

void report_scenario(struct report *report, const char *name, const char *text)
{
    report->steps = json_array();
    report->scenario_begun = client_microseconds();
    json_t *scenario =
        json_pack("{s:s, s:s, s:O}", "scenario", name, "text", text, "steps", report->steps);
    keep(report, report->scenarios, scenario);
    json_decref(report->steps); /* the scenario has it, if there was memory for that */
    if (scenario == NULL)
        report->steps = NULL;
    if (report->as_json)
        return;
    fprintf(report->file, report->colours ? "\n\033[1m%s\033[0m: %s\n" : "\n%s: %s\n", name, text);
    (void)fflush(report->file);
}

void report_scenario_end(struct report *report, bool good)
{
    json_t *scenario = json_array_get(report->scenarios, json_array_size(report->scenarios) - 1);
    double time = milliseconds(client_microseconds() - report->scenario_begun);
    report->lost |= json_object_set_new(scenario, "ok", json_boolean(good)) != 0 ||
                    json_object_set_new(scenario, "milliseconds", json_real(time)) != 0;
    report->steps = NULL;
}

/* ---- Steps ---- */

void step_begin(struct step *step, struct report *report, const char *text)
{
    *step = (struct step){.report = report, .text = text, .begun = client_microseconds()};
    step_progress(step, 0, 0);
}

static void erase_line(const struct report *report)
{
    if (report->terminal)
        fputs("\r\033[K", report->file);
}

void step_progress(struct step *step, size_t done, size_t total)
{
    int64_t now = client_microseconds();
    if (!step->report->terminal || (step->drawn != 0 && now - step->drawn < DRAW_EVERY))
        return;
    step->drawn = now;
    erase_line(step->report);
    fprintf(step->report->file, "  %-18s %s", "...", step->text);
    if (total > 0)
        fprintf(step->report->file, "  %zu %%", done * 100 / total);
    (void)fflush(step->report->file);
}

static void print_step(struct report *report, enum outcome outcome, const char *text, int64_t time,
                       const char *detail)
{
    const char *colour = report->colours ? outcomes[outcome].colour : NULL;
    erase_line(report);
    fprintf(report->file, "  %s%s%s%-7s%s %8.1f ms  ", colour != NULL ? "\033[" : "",
            colour != NULL ? colour : "", colour != NULL ? "m" : "", outcomes[outcome].mark,
            colour != NULL ? "\033[0m" : "", milliseconds(time));
    if (outcome == OUTCOME_OK && detail[0] != '\0' && strlen(detail) <= DETAIL_WIDTH)
        fprintf(report->file, "%-*s  %s\n", TEXT_WIDTH, text, detail);
    else if (detail[0] != '\0') /* what is long, or says what to do: a line of its own */
        fprintf(report->file, "%s\n  %21s%s\n", text, "", detail);
    else
        fprintf(report->file, "%s\n", text);
    (void)fflush(report->file);
}

/* What servers and files say must not steer a terminal: C0, DEL, and C1 as UTF-8 writes it. */
static void make_harmless(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7F)
            *at = '?';
        else if (*at == 0xC2 && at[1] >= 0x80 && at[1] < 0xA0)
            at[0] = at[1] = '?';
    }
}

static void end_step(struct step *step, enum outcome outcome, char *detail)
{
    make_harmless(detail);
    struct report *report = step->report;
    int64_t time = client_microseconds() - step->begun;
    report->step_count++;
    report->failed += outcome == OUTCOME_FAILED;
    report->skipped += outcome == OUTCOME_SKIPPED;
    json_t *entry =
        json_pack("{s:s, s:s, s:f, s:o}", "step", step->text, "result", outcomes[outcome].word,
                  "milliseconds", milliseconds(time), "detail", json_text(detail));
    keep(report, report->steps, entry);
    if (!report->as_json)
        print_step(report, outcome, step->text, time, detail);
}

enum status step_end(struct step *step, enum status status, const char *detail, ...)
{
    char text[DETAIL_MAX];
    va_list arguments;
    if (status != STATUS_OK) {
        if (step->error.text[0] == '\0')
            (void)error_set(&step->error, status, "%s", status_text(status));
        end_step(step, OUTCOME_FAILED, step->error.text);
        return status;
    }
    va_start(arguments, detail);
    (void)vsnprintf(text, sizeof(text), detail, arguments);
    va_end(arguments);
    end_step(step, OUTCOME_OK, text);
    return STATUS_OK;
}

void step_skip(struct step *step, const char *detail, ...)
{
    char text[DETAIL_MAX];
    va_list arguments;
    va_start(arguments, detail);
    (void)vsnprintf(text, sizeof(text), detail, arguments);
    va_end(arguments);
    end_step(step, OUTCOME_SKIPPED, text);
}

/* ---- The end ---- */

static void print_json(struct report *report, const char *const *servers, size_t count,
                       int64_t time)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        keep(report, list, json_text(servers[i]));
    json_t *whole = json_pack(
        "{s:s, s:s, s:b, s:f, s:i, s:i, s:i, s:o, s:O}", "program", "vsphere-sim", "version",
        KMIPD_VERSION, "ok", report->failed == 0 && report->skipped == 0, "milliseconds",
        milliseconds(time), "steps", (int)report->step_count, "failed", (int)report->failed,
        "skipped", (int)report->skipped, "servers", list, "scenarios", report->scenarios);
    report->lost |= json_dumpf(whole, report->file, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0;
    fputc('\n', report->file);
    json_decref(whole);
}

static void print_sum(const struct report *report, int64_t time)
{
    fprintf(report->file,
            "\n%zu scenarios, %u steps in %.2f s: ", json_array_size(report->scenarios),
            report->step_count, milliseconds(time) / 1000);
    if (report->failed == 0)
        fputs(report->skipped == 0 ? "all as it should be" : "nothing failed", report->file);
    else
        fprintf(report->file, "%u FAILED", report->failed);
    if (report->skipped > 0)
        fprintf(report->file, ", %u skipped", report->skipped);
    fputc('\n', report->file);
}

enum status report_finish(struct report *report, const char *const *servers, size_t server_count,
                          struct error *error)
{
    int64_t time = client_microseconds() - report->begun;
    if (report->as_json)
        print_json(report, servers, server_count, time);
    else
        print_sum(report, time);
    if (report->lost)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the whole report");
    if (fflush(report->file) != 0 || ferror(report->file))
        return error_set_errno(error, STATUS_IO, errno, "cannot write the report");
    return STATUS_OK;
}
