/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the served keys need beside requests. Called at start and now and then, by one thread that
 * may wait.
 */
#ifndef KMIPD_API_UPKEEP_H
#define KMIPD_API_UPKEEP_H

#include "api/open.h"

/*
 * Brings keys.db and the key manager of the served root keys in line, the key manager being right:
 * root keys without a row get one (with the name of the adapter that uses them, or "kmipd-" and
 * the first digits of the identifier), rows without a root key become destroyed, versions and
 * states are followed, and what a kill left half done is finished or taken back. At start, before
 * the first request.
 */
enum status api_reconcile_root_keys(const struct api_context *context, int64_t now,
                                    struct error *error) MUST_USE;

struct api_housekeeping {
    unsigned expired; /* keys that became deactivated */
    unsigned rotated;
    unsigned purged;
    unsigned failed; /* tried again next time; `error` tells of the last one */
};

/*
 * Does what is due: deactivates keys whose expiration date has passed, rotates root keys by their
 * policies, purges keys 30 days after their deletion, removes an import token that has expired.
 * Each act has its record in the audit log. A minute between two calls will do.
 */
enum status api_housekeeping(const struct api_context *context, int64_t now,
                             struct api_housekeeping *ret_done, struct error *error) MUST_USE;

#endif
