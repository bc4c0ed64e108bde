/* SPDX-License-Identifier: Apache-2.0 */
/* The audit record of a call. Inside src/api/ only. */
#ifndef KMIPD_API_RECORD_H
#define KMIPD_API_RECORD_H

#include "api/call.h"
#include "audit/audit.h"

#define RECORD_TEXT_MAX 512

/* An entry and the texts it borrows. Not to be moved. */
struct record {
    struct audit_entry entry;
    char who[RECORD_TEXT_MAX];
    char detail[RECORD_TEXT_MAX];
};

/* Borrows the call as well. `left_out`: calls of strangers that were not recorded before it. */
void record_make(const struct api_call *call, uint64_t left_out, struct record *ret_record);

/* Puts another answer in the place of one whose record could not be written. */
void record_failed(struct api_response *response);

#endif
