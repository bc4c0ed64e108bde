/* SPDX-License-Identifier: Apache-2.0 */
/* Reading one audit record, as far as the chain needs it. */
#ifndef KMIPD_AUDIT_LINE_H
#define KMIPD_AUDIT_LINE_H

#include "audit/record.h"

/* All borrowed from the line. */
struct audit_line {
    uint64_t sequence;
    struct bytes body;     /* what is hashed: the line up to `,"chain":` */
    struct bytes previous; /* RECORD_DIGITS digits; empty if the record has no "previous" */
    struct bytes chain;    /* RECORD_DIGITS digits */
};

/*
 * Takes a line, without its newline, apart. False for what record_write() cannot have written. The
 * digits are not checked: they are compared as text, since 'A' is not what was written for 'a'.
 */
bool audit_line_parse(struct bytes line, struct audit_line *ret_line) MUST_USE;

#endif
