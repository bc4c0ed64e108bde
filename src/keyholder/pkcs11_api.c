/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/pkcs11_api.h"

#include <stdio.h>

#define UNAVAILABLE STATUS_KEY_MANAGER_UNAVAILABLE
#define NO_KEY      STATUS_ROOT_KEY_UNAVAILABLE

struct meaning {
    ck_rv_t value;
    const char *name;
    enum pkcs11_fault fault;
    enum status status;
    const char *text;
};

#define GONE    "the token does not answer: is the HSM switched on, connected and unlocked?"
#define NO_PIN  "the token refused the PIN"
#define NO_RIGHT "the token's policy does not allow what kmipd needs"
#define DATA    "the token did not accept the data"
#define FULL    "the token has no room left"
#define MODULE  "the module failed; its own log may say why"

#define ROW(name, fault, status, text) {CKR_##name, "CKR_" #name, PKCS11_##fault, status, text}

static const struct meaning meanings[] = {
    ROW(OK, FINE, STATUS_OK, "all is well"),
    /* The connection. */
    ROW(SESSION_HANDLE_INVALID, LOST, UNAVAILABLE, "the token has dropped the session"),
    ROW(SESSION_CLOSED, LOST, UNAVAILABLE, "the token has dropped the session"),
    ROW(USER_NOT_LOGGED_IN, LOST, UNAVAILABLE, "the token has dropped the login"),
    ROW(DEVICE_ERROR, LOST, UNAVAILABLE, GONE),
    ROW(DEVICE_REMOVED, LOST, UNAVAILABLE, GONE),
    ROW(TOKEN_NOT_PRESENT, LOST, UNAVAILABLE, GONE),
    ROW(TOKEN_NOT_RECOGNIZED, LOST, UNAVAILABLE, GONE),
    ROW(SLOT_ID_INVALID, LOST, UNAVAILABLE, GONE),
    ROW(CRYPTOKI_NOT_INITIALIZED, LOST, UNAVAILABLE, MODULE),
    ROW(GENERAL_ERROR, LOST, UNAVAILABLE, MODULE),
    ROW(FUNCTION_FAILED, LOST, UNAVAILABLE, MODULE),
    ROW(FUNCTION_CANCELED, LOST, UNAVAILABLE, MODULE),
    ROW(OPERATION_ACTIVE, LOST, UNAVAILABLE, MODULE),
    ROW(OPERATION_NOT_INITIALIZED, LOST, UNAVAILABLE, MODULE),
    {PKCS11_NO_CONNECTION, "no connection", PKCS11_REFUSED, UNAVAILABLE, GONE},
    {PKCS11_TWO_TOKENS, "no connection", PKCS11_REFUSED, UNAVAILABLE,
     "more than one token has its label"},
    ROW(SESSION_COUNT, REFUSED, UNAVAILABLE,
        "the token allows no more sessions: lower [pkcs11] sessions"),
    ROW(HOST_MEMORY, REFUSED, STATUS_NO_MEMORY, "no memory left"),
    ROW(DEVICE_MEMORY, REFUSED, UNAVAILABLE, FULL),
    ROW(CANT_LOCK, REFUSED, UNAVAILABLE, "the module cannot be used by threads"),
    ROW(NEED_TO_CREATE_THREADS, REFUSED, UNAVAILABLE, "the module must start threads"),
    /* The login. */
    ROW(PIN_INCORRECT, PIN, UNAVAILABLE, NO_PIN),
    ROW(PIN_INVALID, PIN, UNAVAILABLE, NO_PIN),
    ROW(PIN_LEN_RANGE, PIN, UNAVAILABLE, NO_PIN ": it has another length than the token's PINs"),
    ROW(PIN_EXPIRED, PIN, UNAVAILABLE, "the token's PIN has expired: set a new one"),
    ROW(PIN_LOCKED, PIN, UNAVAILABLE,
        "the token's PIN is locked after too many wrong ones: the security officer unlocks it"),
    {PKCS11_LAST_TRY, "no login", PKCS11_PIN, UNAVAILABLE, "one wrong PIN more locks the token"},
    ROW(USER_PIN_NOT_INITIALIZED, PIN, UNAVAILABLE, "the token has no user PIN yet"),
    ROW(USER_TYPE_INVALID, PIN, UNAVAILABLE, "the token knows no such user"),
    ROW(USER_ANOTHER_ALREADY_LOGGED_IN, REFUSED, UNAVAILABLE,
        "another user is logged in to the token from this process"),
    ROW(USER_TOO_MANY_TYPES, REFUSED, UNAVAILABLE, "too many users are logged in to the token"),
    /* Keys and other objects. */
    ROW(KEY_HANDLE_INVALID, STALE, NO_KEY, "the key is not in the token any more"),
    ROW(OBJECT_HANDLE_INVALID, STALE, NO_KEY, "the object is not in the token any more"),
    ROW(KEY_CHANGED, STALE, NO_KEY, "the key is not what it was"),
    ROW(KEY_FUNCTION_NOT_PERMITTED, REFUSED, NO_KEY, "the key may not be used for that"),
    ROW(KEY_TYPE_INCONSISTENT, REFUSED, NO_KEY, "the key is of another kind"),
    ROW(KEY_SIZE_RANGE, REFUSED, NO_KEY, "the token does not take keys of this size"),
    /* Data. */
    ROW(ENCRYPTED_DATA_INVALID, INPUT, STATUS_UNWRAP_FAILED, DATA),
    ROW(ENCRYPTED_DATA_LEN_RANGE, INPUT, STATUS_UNWRAP_FAILED, DATA),
    ROW(AEAD_DECRYPT_FAILED, INPUT, STATUS_UNWRAP_FAILED, DATA),
    ROW(SIGNATURE_INVALID, INPUT, STATUS_UNWRAP_FAILED, DATA),
    ROW(DATA_INVALID, INPUT, STATUS_UNWRAP_FAILED, DATA),
    ROW(DATA_LEN_RANGE, INPUT, STATUS_UNWRAP_FAILED, DATA),
    ROW(BUFFER_TOO_SMALL, INPUT, STATUS_UNWRAP_FAILED, DATA),
    /* What it cannot or may not do. */
    ROW(MECHANISM_INVALID, REFUSED, UNAVAILABLE, "the token has no such mechanism"),
    ROW(MECHANISM_PARAM_INVALID, REFUSED, UNAVAILABLE, "the token does not take the parameters"),
    ROW(ARGUMENTS_BAD, REFUSED, UNAVAILABLE, "the token does not take the arguments"),
    ROW(FUNCTION_NOT_SUPPORTED, REFUSED, UNAVAILABLE, "the token has no such function"),
    ROW(TEMPLATE_INCONSISTENT, REFUSED, UNAVAILABLE, NO_RIGHT),
    ROW(TEMPLATE_INCOMPLETE, REFUSED, UNAVAILABLE, NO_RIGHT),
    ROW(ATTRIBUTE_READ_ONLY, REFUSED, UNAVAILABLE, NO_RIGHT),
    ROW(ATTRIBUTE_SENSITIVE, REFUSED, UNAVAILABLE, NO_RIGHT),
    ROW(ATTRIBUTE_TYPE_INVALID, REFUSED, UNAVAILABLE, NO_RIGHT),
    ROW(ATTRIBUTE_VALUE_INVALID, REFUSED, UNAVAILABLE, NO_RIGHT),
    ROW(ACTION_PROHIBITED, REFUSED, UNAVAILABLE, NO_RIGHT),
    ROW(FUNCTION_REJECTED, REFUSED, UNAVAILABLE, NO_RIGHT),
    ROW(SESSION_READ_ONLY, REFUSED, UNAVAILABLE, NO_RIGHT),
    ROW(TOKEN_WRITE_PROTECTED, REFUSED, UNAVAILABLE, "the token is write-protected"),
};

/* The manufacturer's own values, and those nobody should return here, are about the device. */
static const struct meaning unknown = {CKR_GENERAL_ERROR, NULL, PKCS11_LOST, UNAVAILABLE, MODULE};

static const struct meaning *meaning_of(ck_rv_t value)
{
    for (size_t i = 0; i < ARRAY_COUNT(meanings); i++)
        if (meanings[i].value == value)
            return &meanings[i];
    return &unknown;
}

enum pkcs11_fault pkcs11_fault(ck_rv_t value)
{
    return meaning_of(value)->fault;
}

enum status pkcs11_status(ck_rv_t value)
{
    return meaning_of(value)->status;
}

const char *pkcs11_name(ck_rv_t value, char ret_name[static PKCS11_NAME_SIZE])
{
    const char *name = meaning_of(value)->name;
    if (name != NULL)
        (void)snprintf(ret_name, PKCS11_NAME_SIZE, "%s", name);
    else
        (void)snprintf(ret_name, PKCS11_NAME_SIZE, "CKR_... 0x%lX", value);
    return ret_name;
}

const char *pkcs11_text(ck_rv_t value)
{
    return meaning_of(value)->text;
}

enum status pkcs11_explain(struct error *error, ck_rv_t value, const char *what)
{
    char name[PKCS11_NAME_SIZE];
    return error_set(error, pkcs11_status(value), "%s: %s (%s)", what, pkcs11_text(value),
                     pkcs11_name(value, name));
}
