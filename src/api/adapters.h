/* SPDX-License-Identifier: Apache-2.0 */
/* What the handlers of KMIP adapters, certificates and objects share. Inside src/api/ only. */
#ifndef KMIPD_API_ADAPTERS_H
#define KMIPD_API_ADAPTERS_H

#include "api/call.h"

#define ADAPTERS_NAME_MAX     40
#define ADAPTERS_LIST_DEFAULT 100
#define ADAPTERS_MAX          200 /* adapters, certificates of one; and what a list may have */

/* A page of a list. */
struct adapters_page {
    int64_t limit;
    int64_t offset;
    bool total_wanted;
    int64_t total; /* of those that match, as far as was looked */
    json_t *array;
    bool full; /* no memory for another one */
};

/* limit (at most `maximum`), offset and totalCount; an empty array. False: the call has failed. */
bool adapters_page_read(struct api_call *call, int64_t maximum, struct adapters_page *ret_page);
/* Whether the next one is on the page; counts it. */
bool adapters_page_has(struct adapters_page *page);
/* Takes over `value`. False: there is no memory. */
bool adapters_page_append(struct adapters_page *page, json_t *value);
/* Answers with it, or with the failure. The array goes either way. */
void adapters_page_reply(struct api_call *call, struct adapters_page *page, const char *type,
                         enum status status);

/* The adapter that the first parameter names, by its name or identifier; the caller must have one
 * of call->roles for it. False: the call has failed. */
bool adapters_find(struct api_call *call, struct adapter_row *ret_row);

/* The name of a new adapter or certificate: 2 to 40 letters, digits, '_' and '-', and no UUID; one
 * is made with `prefix` where there is none. False: the call has failed. */
bool adapters_read_name(struct api_call *call, const json_t *resource, const char *prefix,
                        char ret_name[static ADAPTERS_NAME_MAX + 1]);

/* A name as it is shown: one that is not UTF-8 (kmipctl takes what certificates hold) is empty. */
json_t *adapters_json_name(const char *name);
/* Who has done it; `otherwise` where that is not known. */
json_t *adapters_json_actor(const char *actor, const char *otherwise);

/* How many there are is looked at and one is inserted without another coming between. */
void adapters_lock(void);
void adapters_unlock(void);

#endif
