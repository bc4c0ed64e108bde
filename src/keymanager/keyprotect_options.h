/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of the options, checked and complete. */
#ifndef KMIPD_KEYMANAGER_KEYPROTECT_OPTIONS_H
#define KMIPD_KEYMANAGER_KEYPROTECT_OPTIONS_H

#include "keymanager/keyprotect.h"

/* INVALID_ARGUMENT with a text, NO_MEMORY. End: kp_options_free(). */
enum status kp_options_copy(const struct keyprotect_options *options,
                            struct keyprotect_options *ret_copy, struct error *error) MUST_USE;
void kp_options_free(struct keyprotect_options *copy);

/* `url` without a slash at the end. INVALID_ARGUMENT: not https, no host, or more than the address
 * of a host (user, query, the API's own path). `name` is for the text. The caller frees it. */
enum status kp_url_copy(const char *name, const char *url, char **ret_url,
                        struct error *error) MUST_USE;

#endif
