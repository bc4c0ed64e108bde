/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the API: what it works with. */
#ifndef KMIPD_API_OPEN_H
#define KMIPD_API_OPEN_H

#include <jansson.h>

#include "api/api.h"
#include "audit/audit.h"
#include "base/clock.h"
#include "base/secret.h"
#include "core/core.h"
#include "ipc/commands.h"
#include "keymanager/keymanagers.h"
#include "kms/kms.h"
#include "store/store.h"

struct upkeep;

/* One of kmipd's own commands (def/control.def, POST /api/v2/kmipd/...) at work. */
struct api_command {
    enum ipc_command_code code;
    struct store_session *session; /* of the calling thread */
    const char *actor;             /* "iam-ServiceId-<uuid>", "local-0" */
    int64_t now;
    const json_t *arguments;       /* checked against the table */
    json_t *result;                /* an empty object, to be filled */
    struct error *error;           /* what is wrong and what to do */
    /* For the audit record, which the API writes: */
    char adapter[STORE_NAME_MAX + 1];
    char subject[STORE_NAME_MAX + 1];
    char detail[256];
};

/* What carries the commands out: the daemon. Any thread; may take long. */
struct api_commands {
    void *context;
    enum status (*run)(void *context, struct api_command *command);
};

/* All borrowed; must outlive the API. */
struct api_context {
    struct kms *kms;
    struct store *store;
    struct core *core;
    struct audit *audit;
    struct clock *clock;
    struct upkeep *upkeep;
    const struct keymanagers *keymanagers;
    const struct api_commands *commands;
    enum keymanager_code local;  /* where the root keys of the served API live */
    const char *token_key_file;  /* RSA private key in PEM, mode 0600, made when missing */
    const char *issuer;          /* "https://kms.example.com:8443", for tokens and CRNs; no slash */
    const char *region;          /* for CRNs; "local" */
    struct uuid instance;        /* the instance GUID */
    struct uuid account;         /* for CRNs and tokens */
    struct uuid payload_root_key; /* in `local`: standard keys and the import token are under it; it
                                     is not served itself */
    int64_t rotate_interval;      /* least milliseconds between two rotations of a key by a service
                                     ID; 0: an hour, as in Key Protect; -1: none */
    unsigned token_seconds;      /* life of an access token; 60 to 3600 */
    unsigned threads;            /* of api_submit() */
    bool plain_json; /* answer "application/json" to clients that accept nothing else; vendor types
                        otherwise */
};

enum status api_open(const struct api_context *context, struct api **ret_api,
                     struct error *error) MUST_USE;
/* Ends the threads after what they are at. NULL is fine. */
void api_close(struct api *api);

/*
 * The first service ID of a new instance: "admin", which may do everything (Manager, KeyPurge,
 * Administrator). Its API key, not NUL-terminated, is to be shown once and freed. EXISTS: there is
 * one of this name already.
 */
enum status api_first_key(struct api *api, struct secret *ret_key, struct error *error) MUST_USE;

#endif
