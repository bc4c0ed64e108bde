/* SPDX-License-Identifier: Apache-2.0 */
/* What the main thread does now and then while the daemon serves. */
#ifndef KMIPD_DAEMON_TASKS_H
#define KMIPD_DAEMON_TASKS_H

#include "daemon/daemon.h"

/* Does what is due; returns milliseconds until the next is. */
int64_t tasks_run(struct daemon *daemon);

/* Writes the audit log's last record's number and chain value into the store, so that an end that
 * is cut off is noticed at the next start. */
void tasks_save_audit_head(struct daemon *daemon);

/* Reads what tasks_save_audit_head() wrote; zeros where there is none. Warns when the clock stands
 * before the time of that writing. */
enum status tasks_load_audit_head(struct daemon *daemon, uint64_t *ret_sequence,
                                  uint8_t ret_chain[static AUDIT_HASH_SIZE],
                                  struct error *error) MUST_USE;

#endif
