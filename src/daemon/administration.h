/* SPDX-License-Identifier: Apache-2.0 */
/* The administration API (src/api/): what it works with, its first API key, and the process that
 * serves it over HTTPS. */
#ifndef KMIPD_DAEMON_ADMINISTRATION_H
#define KMIPD_DAEMON_ADMINISTRATION_H

#include "daemon/daemon.h"

/* Opens keys.db and the API; on the first start, and on the first one of a version that has it,
 * makes the instance's identifiers and the first API key (daemon->first_api_key). After core and
 * upkeep. */
enum status administration_open(struct daemon *daemon, struct error *error) MUST_USE;

/*
 * Starts the process that serves HTTPS, where it is wanted. Whoever brings up a data centre needs
 * keys first: except on the first start, that it cannot be served is logged, and KMIP is.
 */
enum status administration_serve(struct daemon *daemon, struct error *error) MUST_USE;

/* Shows a new certificate. */
enum status administration_reload(struct daemon *daemon, struct error *error) MUST_USE;

/* Ends what both have begun; in this order, with the control socket closed between. */
void administration_stop_serving(struct daemon *daemon);
void administration_close(struct daemon *daemon);

#endif
