/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the first start makes, as steps of daemon_start(). Each step looks what is there and makes
 * what is not, whole or not at all, so that a first start that was killed at any instant is taken
 * up by the next one. When setup_finish() has noted the end, nothing is made a second time.
 */
#ifndef KMIPD_DAEMON_SETUP_H
#define KMIPD_DAEMON_SETUP_H

#include "daemon/daemon.h"

#define SETUP_ADAPTER "default"

/* The authority and the server certificate. */
enum status setup_certificates(struct daemon *daemon, struct error *error) MUST_USE;

/* The adapter "default" with a root key, and a client certificate for it. */
enum status setup_adapter(struct daemon *daemon, struct error *error) MUST_USE;

/* Notes that the first start came to its end. */
enum status setup_finish(struct daemon *daemon, struct error *error) MUST_USE;

#endif
