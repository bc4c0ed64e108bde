/* SPDX-License-Identifier: Apache-2.0 */
/* kmipd --reseal: the way from a first try's key file to a credential or a passphrase. */
#ifndef KMIPD_DAEMON_RESEAL_H
#define KMIPD_DAEMON_RESEAL_H

#include "daemon/daemon.h"

/*
 * Seals the root keys anew as the configuration at options.reseal_path says, leaves a record in the
 * audit log, and says on standard output what to do next. The server must not run. `error` has
 * a text where the result is not EXIT_GOOD.
 */
enum exit_code reseal(struct daemon *daemon, struct error *error);

#endif
