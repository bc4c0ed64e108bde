/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the handlers of routes share: one call at work, its parameters, JSON in and out, errors in
 * the envelope of keyprotect's API, and what its audit record says.
 */
#ifndef KMIPD_API_CALL_H
#define KMIPD_API_CALL_H

#include <jansson.h>

#include "api/api.h"
#include "api/open.h"
#include "base/secret.h"
#include "base/uuid.h"
#include "kms/kms.h"
#include "store/store.h"

struct api_context; /* what the API is opened with: api/open.h */

/* def/api_errors.def: API_ERROR(CODE, http status, "message"). */
enum api_error {
    API_OK = 0,
#define API_ERROR(code, status, text) API_##code,
#include "api_errors.def"
#undef API_ERROR
    API_ERROR_COUNT
};

/* Bits; see def/roles.def. A route names what it needs. */
enum api_role {
#define ROLE(code, bit, name, text) API_ROLE_##code = 1u << (bit),
#include "roles.def"
    API_ROLE_PUBLIC = 0,   /* of a route: anybody */
    API_ROLE_ANY = 0xFFFF, /* of a route: who has a role at all */
    /* Of a route: who has one of the two. */
    API_ROLE_ADAPTER_READER = API_ROLE_READER | API_ROLE_KMIP_ADAPTER_MANAGER,
};

/* def/api_errors.def */
unsigned api_error_status(enum api_error error);
const char *api_error_code(enum api_error error); /* "KEY_NOT_FOUND_ERR"; static */
const char *api_error_text(enum api_error error); /* static */

/* Who asks, as found out from the token or the control socket. */
struct api_identity {
    char name[KMS_NAME_MAX + 1]; /* service ID's name, or "uid=0 user=root" */
    char iam_id[64];             /* "iam-ServiceId-<uuid>"; "local-<uid>": createdBy and the like */
    struct kms_grant grants[KMS_GRANTS_MAX];
    size_t grant_count;
    bool everything; /* the control socket */
};

#define API_PARAMETERS_MAX 3
#define API_PARAMETER_SIZE 256 /* with the NUL */

struct api_route;

struct api_call {
    struct api *api;
    const struct api_context *context;
    const struct api_route *route; /* NULL: there is none such */
    const struct api_request *request;
    struct api_response *response;
    struct api_identity identity;
    struct store_session *session;  /* of the calling thread */
    int64_t now;                    /* milliseconds since 1970, read once */
    /* {id} and the like of the route, decoded. */
    char parameters[API_PARAMETERS_MAX][API_PARAMETER_SIZE];
    unsigned roles;                 /* what the route asks for, bits of api_role */
    json_t *body;                   /* parsed; NULL: absent, empty or the literal null */
    /* For the audit record; set as soon as known. */
    const char *action;             /* "kms.secrets.wrap" of the route */
    char adapter[STORE_NAME_MAX + 1];
    char subject[STORE_NAME_MAX + 1];
    char detail[256];
    bool unrecorded;      /* where it succeeds: a command that only looks, from this machine */
    enum api_error error; /* what api_fail() was told; API_OK: the call has succeeded */
};

/* A route's handler. Answers with api_reply_*() or api_fail(), once. */
typedef void api_handler(struct api_call *call);

/* ---- Answers ---- */

/* The error envelope (keyprotect-api, "Errors"). `target_type` is "field", "query_param" or
 * "header", with the name of what is wrong; both may be NULL. */
void api_fail(struct api_call *call, enum api_error error, const char *target_type,
              const char *target);
/* As api_fail() with a message of its own in the place of the table's. No secret. */
void api_fail_text(struct api_call *call, enum api_error error, const char *target_type,
                   const char *target, const char *format, ...) PRINTF_LIKE(5, 6);
/* The error that a status of the store or a key manager is: 503 with Retry-After for what may be
 * tried again, 409, 404 and 500 else. `text` (may be NULL) is for the log and local callers. */
void api_fail_status(struct api_call *call, enum status status, const struct error *error);

/* The same for a command of kmipctl: "status" and "text" of the failure stand in the answer as well,
 * so that kmipctl says what the command says. */
void api_fail_command(struct api_call *call, enum status status, const struct error *error);

/* No body. */
void api_reply_empty(struct api_call *call, unsigned status);
/* {"metadata":{"collectionType":"application/vnd.ibm.kms.<type>+json","collectionTotal":n},
 *  "resources":[...]}: takes over `resource`. */
void api_reply_resource(struct api_call *call, unsigned status, const char *type,
                        json_t *resource);
/* The same with an array of resources, and totalCount where it is not negative. */
void api_reply_resources(struct api_call *call, unsigned status, const char *type,
                         json_t *resources, int64_t total);
/* A plain JSON value (token endpoints, kmipd's own routes); takes it over. */
void api_reply_json(struct api_call *call, unsigned status, json_t *value);
/* The same with the content type "application/vnd.ibm.kms.<type>+json": import tokens. */
void api_reply_value(struct api_call *call, unsigned status, const char *type, json_t *value);
/* The content type of such a value, for answers that are written in another way; static. */
const char *api_content_type(const struct api_call *call, const char *type);
/* Whether the client wants to see what was made or deleted: Prefer: return=representation. */
bool api_prefers_representation(const struct api_call *call);
bool api_prefers_minimal(const struct api_call *call);

/* ---- Parameters ---- */

/* A query parameter, percent-decoded, into `value`; false if it is absent (or empty). With
 * several of the same name they are joined by ','. One that does not fit, or is not well encoded,
 * makes the call fail with 400: false, and call->error says so. */
bool api_query(struct api_call *call, const char *name, char *value, size_t size);
/* Integer within limits; 400 INVALID_QUERY_PARAM_ERR otherwise (then false, and the call has
 * failed). Absent: `otherwise`. */
bool api_query_number(struct api_call *call, const char *name, int64_t minimum, int64_t maximum,
                      int64_t otherwise, int64_t *ret_number);
/* true, false, True, False. As above. */
bool api_query_flag(struct api_call *call, const char *name, bool otherwise, bool *ret_flag);

/* A member of a JSON object by name, upper and lower case alike (Go's client sends "Tags"). */
json_t *api_member(const json_t *object, const char *name);
/* The one resource of the body's envelope: 400 BAD_BODY_ERR when metadata are missing or there is
 * not exactly one; NULL then, and the call has failed. Borrowed. */
json_t *api_body_resource(struct api_call *call);
/* The body as a plain object; NO_BODY_ERR or BAD_BODY_ERR otherwise. */
json_t *api_body_object(struct api_call *call);
/* Base64 (RFC 4648 §4) of a member, at most `maximum` bytes when decoded, into a secret that the
 * caller frees. False: the call has failed with INVALID_FIELD_ERR on that field. *ret_present is
 * false, and the secret untouched, where the member is absent, null or empty. */
bool api_member_secret(struct api_call *call, const json_t *object, const char *name,
                       size_t maximum, struct secret *ret_secret, bool *ret_present);

/* ---- Values ---- */

json_t *api_json_time(int64_t milliseconds);       /* "2026-01-02T03:04:05Z" */
json_t *api_json_uuid(const struct uuid *uuid);
json_t *api_json_base64(struct bytes bytes);
/* RFC 3339 with or without a fraction. False: it is none. */
bool api_parse_time(const char *text, int64_t *ret_milliseconds);

/* ---- Permission ---- */

/*
 * Whether the caller has one of `roles` (bits of api_role), by itself or in another that includes
 * it, for this key ring (NULL: for all of them) and this adapter (NULL: likewise). A grant for one
 * adapter says nothing about keys, and one for a key ring nothing about adapters.
 */
bool api_may(const struct api_call *call, unsigned roles, const char *key_ring,
             const char *adapter);
/* The same, and 401 when not (Key Protect answers 401 for a missing permission). Of routes of scope
 * PART (def/routes.def) the router has only seen that some grant has one of `call->roles`, for
 * whatever key ring or adapter: the handler asks again for the one that it is about. */
bool api_require(struct api_call *call, unsigned roles, const char *key_ring,
                 const char *adapter);

/* ---- Handlers: def/routes.def ---- */

#define ROUTE(method, path, handler, role, scope, action, failure) api_handler handler;
#include "routes.def"

#endif
