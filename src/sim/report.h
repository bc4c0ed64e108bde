/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulator shows: scenarios made of steps, each with its time and outcome; on a terminal
 * as they happen, or as one JSON text at the end. One thread at a time.
 */
#ifndef KMIPD_SIM_REPORT_H
#define KMIPD_SIM_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "base/error.h"

#include <stdbool.h>

struct report {
    FILE *file;
    bool as_json;
    bool terminal; /* a step that is under way may be drawn and drawn over */
    bool colours;
    bool lost;         /* there was no memory for all of what follows */
    json_t *scenarios; /* finished and current ones */
    json_t *steps;     /* of the current one */
    unsigned step_count;
    unsigned failed;
    unsigned skipped;
    int64_t begun;          /* microseconds */
    int64_t scenario_begun; /* microseconds */
};

/* NO_MEMORY. End: report_finish() and report_free(). */
enum status report_init(struct report *report, FILE *file, bool as_json) MUST_USE;
void report_free(struct report *report);

/* The line above all scenarios. */
void report_title(struct report *report, const char *text);

void report_scenario(struct report *report, const char *name, const char *text);
void report_scenario_end(struct report *report, bool good);

/* The last line, or all of the JSON; `servers` is what it says under that name. IO if it could not
 * be written. */
enum status report_finish(struct report *report, const char *const *servers, size_t server_count,
                          struct error *error) MUST_USE;

/* One step, from begin to end. */
struct step {
    struct report *report;
    const char *text;
    int64_t begun;      /* microseconds */
    int64_t drawn;      /* when it was last drawn */
    struct error error; /* for what is called between begin and end */
};

void step_begin(struct step *step, struct report *report, const char *text);

/* Draws how far it is, on a terminal and not too often. */
void step_progress(struct step *step, size_t done, size_t total);

/*
 * Ends the step and returns `status`: OK with a detail, or a failure with the text in step->error
 * (the status's own where there is none).
 */
enum status step_end(struct step *step, enum status status, const char *detail, ...)
    PRINTF_LIKE(3, 4);

/* Ends a step that could not be done here, though nothing failed: the detail says what to do. */
void step_skip(struct step *step, const char *detail, ...) PRINTF_LIKE(2, 3);

#endif
