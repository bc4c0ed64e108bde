/* SPDX-License-Identifier: Apache-2.0 */
#include "slice.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t slice_clock(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

long slice_number(const char *text, long least, long most)
{
    char *rest;
    long value = strtol(text, &rest, 10);

    if (*text == '\0' || *rest != '\0' || value < least || value > most)
        errx(EXIT_FAILURE, "\"%s\" is not a number from %ld to %ld", text, least, most);
    return value;
}

bool slice_next(struct slice_limits *ret_limits)
{
    char command[64];
    char *argument;
    uint64_t value;

    if (fgets(command, sizeof command, stdin) == NULL)
        return false;
    command[strcspn(command, "\n")] = '\0';
    argument = strchr(command, ' ');
    if (argument == NULL)
        errx(EXIT_FAILURE, "\"%s\": run MILLISECONDS or count N", command);
    *argument++ = '\0';
    value = (uint64_t)slice_number(argument, 1, 1000000000);
    if (strcmp(command, "run") == 0)
        *ret_limits = (struct slice_limits){.nanoseconds = value * 1000000, .units = UINT64_MAX};
    else if (strcmp(command, "count") == 0)
        *ret_limits = (struct slice_limits){.nanoseconds = UINT64_MAX / 2, .units = value};
    else
        errx(EXIT_FAILURE, "no command \"%s\"", command);
    return true;
}

void slice_begin(struct slice *ret_slice)
{
    memset(ret_slice, 0, sizeof *ret_slice);
    ret_slice->cpu = slice_clock(CLOCK_PROCESS_CPUTIME_ID);
    ret_slice->elapsed = slice_clock(CLOCK_MONOTONIC);
}

void slice_end(struct slice *slice)
{
    slice->elapsed = slice_clock(CLOCK_MONOTONIC) - slice->elapsed;
    slice->cpu = slice_clock(CLOCK_PROCESS_CPUTIME_ID) - slice->cpu;
}

/* Texts of errors come from OpenSSL and from the server. */
static void print_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; ++text) {
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else
            putchar(*text >= ' ' && *text <= '~' ? *text : '?');
    }
    putchar('"');
}

static void print_latency(const struct histogram *latency)
{
    static const struct {
        const char *name;
        double fraction;
    } quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    double mean = latency->total == 0 ? 0 : (double)latency->sum / (double)latency->total;

    printf("\"latency_us\": {");
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; ++i)
        printf("\"%s\": %.2f, ", quantiles[i].name,
               (double)histogram_quantile(latency, quantiles[i].fraction) / 1e3);
    printf("\"mean\": %.2f, \"max\": %.2f}, ", mean / 1e3, (double)latency->max / 1e3);
}

void slice_report(const struct slice *slice, const char *more)
{
    printf("{\"requests\": %lu, \"connections\": %lu, \"handshakes\": %lu, \"resumed\": %lu, "
           "\"tickets\": %lu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, ",
           slice->requests, slice->connections, slice->handshakes, slice->resumed, slice->tickets,
           (double)slice->elapsed / 1e9, (double)slice->cpu / 1e9);
    print_latency(&slice->latency);
    printf("%s\"errors\": %lu, \"first_error\": ", more, slice->errors);
    print_text(slice->first_error);
    printf("}\n");
    fflush(stdout);
}
