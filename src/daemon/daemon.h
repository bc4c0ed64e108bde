/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as a whole: what it opened, in the order of opening. */
#ifndef KMIPD_DAEMON_DAEMON_H
#define KMIPD_DAEMON_DAEMON_H

#include "api/open.h"
#include "audit/audit.h"
#include "base/clock.h"
#include "daemon/options.h"
#include "daemon/state.h"
#include "keymanager/keymanagers.h"
#include "net/net.h"
#include "store/store.h"

struct control;
struct core;
struct service;
struct keyholder;
struct upkeep;
struct admin;
struct housekeeper;

struct daemon {
    struct options options;
    bool journal; /* log lines are for journald */
    struct config config; /* in force; changed by the main thread alone (reload) */
    struct clock clock;
    int64_t started;    /* milliseconds since 1970 */
    bool first_start;   /* this start made the state */
    struct state state;
    struct keyholder *keyholder;    /* the process that has the root keys of this machine */
    struct keymanagers keymanagers; /* by code */
    struct store *store;
    struct store_session *session; /* the main thread's */
    struct audit *audit;
    struct core *core;
    struct upkeep *upkeep;
    struct kms *kms;
    struct api_commands commands;
    struct api_context api_context;
    char issuer[CONFIG_TEXT_SIZE]; /* of tokens */
    struct api *api;
    struct secret first_api_key; /* made by this start, to be shown once */
    struct housekeeper *housekeeper;
    struct admin *admin; /* NULL: no HTTPS */
    struct service *service;
    bool recorded; /* the start is in the audit log, so the end will be */
    unsigned connections_max; /* what is configured, or what the limit on open files allows */
    struct net *net;
    struct control *control;
};

/*
 * Opens everything and serves. On failure what was opened is closed again, and `error` says in one
 * line what is wrong and what to do.
 */
enum status daemon_start(struct daemon *daemon, struct error *error) MUST_USE;

/* Serves until SIGTERM or SIGINT; reloads on SIGHUP. The signals must be blocked in all threads. */
void daemon_run(struct daemon *daemon);

/* Lets requests in flight end, then closes everything. Good after a failed start too. */
void daemon_stop(struct daemon *daemon);

/* Writes a record of event "server" and waits for it. */
enum status daemon_audit(struct daemon *daemon, const char *operation, const char *detail) MUST_USE;

#endif
