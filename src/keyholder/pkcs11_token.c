/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/pkcs11_token.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define WAIT_MS       10000 /* for a session that becomes free */
#define DRAIN_MS      2000  /* for others to leave the module, before it is started again */
#define RETRY_MS      500
#define SLOTS_MAX     256
#define LABEL_SIZE    32
#define SESSION_FLAGS (CKF_SERIAL_SESSION | CKF_RW_SESSION)

enum status pkcs11_token_init(struct pkcs11_token *token, const char *label, const char *pin_path,
                              struct secret *pin, unsigned sessions_max)
{
    pthread_condattr_t monotonic;
    token->pin = secret_take(pin);
    token->sessions_max = token->module.single_thread ? 1 : sessions_max;
    token->label = strdup(label);
    token->pin_path = strdup(pin_path);
    token->idle = calloc(sessions_max, sizeof(*token->idle));
    if (token->label == NULL || token->pin_path == NULL || token->idle == NULL ||
        pthread_condattr_init(&monotonic) != 0)
        return STATUS_NO_MEMORY;
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    bool made = pthread_cond_init(&token->changed, &monotonic) == 0;
    (void)pthread_condattr_destroy(&monotonic);
    if (made && pthread_mutex_init(&token->lock, NULL) != 0) {
        (void)pthread_cond_destroy(&token->changed);
        made = false;
    }
    if (made)
        return STATUS_OK;
    free(token->idle);
    token->idle = NULL;
    return STATUS_NO_MEMORY;
}

/* Sessions that are to be closed without the lock: that may take long where the HSM hangs. */
struct leftover {
    ck_session_handle_t sessions[PKCS11_SESSIONS_MAX + 1];
    unsigned count;
};

static void take_idle(struct pkcs11_token *token, struct leftover *leftover)
{
    for (unsigned i = 0; i < token->idle_count; i++)
        leftover->sessions[leftover->count++] = token->idle[i];
    token->idle_count = 0;
}

static void close_leftover(struct pkcs11_token *token, const struct leftover *leftover)
{
    for (unsigned i = 0; i < leftover->count; i++)
        (void)token->module.functions->C_CloseSession(leftover->sessions[i]);
}

void pkcs11_token_free(struct pkcs11_token *token)
{
    struct leftover leftover = {.count = 0};
    if (token->idle != NULL) {
        take_idle(token, &leftover);
        close_leftover(token, &leftover);
        (void)pthread_cond_destroy(&token->changed);
        (void)pthread_mutex_destroy(&token->lock);
    }
    secret_free(&token->pin);
    free(token->idle);
    free(token->label);
    free(token->pin_path);
}

/* ---- Connecting: one thread at a time, without the lock ---- */

static bool has_label(const struct ck_token_info *info, const char *label)
{
    char padded[LABEL_SIZE]; /* as in the token: blanks to the end, no NUL */
    size_t length = strnlen(label, sizeof(padded));
    memset(padded, ' ', sizeof(padded));
    memcpy(padded, label, length);
    return memcmp(info->label, padded, sizeof(padded)) == 0;
}

static ck_rv_t find_slot(struct pkcs11_token *token, ck_slot_id_t *ret_slot,
                         struct ck_token_info *ret_info)
{
    ck_slot_id_t slots[SLOTS_MAX];
    unsigned long count = SLOTS_MAX;
    unsigned long matches = 0;
    ck_rv_t value = token->module.functions->C_GetSlotList(1, slots, &count);
    if (value != CKR_OK)
        return value;
    for (unsigned long i = 0; i < count; i++) {
        struct ck_token_info info;
        if (token->module.functions->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
            (info.flags & CKF_TOKEN_INITIALIZED) == 0 || !has_label(&info, token->label))
            continue;
        *ret_slot = slots[i];
        *ret_info = info;
        matches++;
    }
    /* Of two with the same label neither can be trusted to be the one. */
    return matches == 1 ? CKR_OK : matches == 0 ? CKR_TOKEN_NOT_PRESENT : PKCS11_TWO_TOKENS;
}

static ck_rv_t login(struct pkcs11_token *token, ck_session_handle_t session,
                     const struct ck_token_info *info)
{
    if ((info->flags & CKF_LOGIN_REQUIRED) == 0)
        return CKR_OK;
    struct ck_session_info session_info;
    if (token->module.functions->C_GetSessionInfo(session, &session_info) == CKR_OK &&
        session_info.state == CKS_RW_USER_FUNCTIONS)
        return CKR_OK;
    if ((info->flags & CKF_USER_PIN_LOCKED) != 0)
        return CKR_PIN_LOCKED;
    /* A person may risk the last try, a program that is started again and again may not. */
    if ((info->flags & CKF_USER_PIN_FINAL_TRY) != 0)
        return PKCS11_LAST_TRY;
    ck_rv_t value = token->module.functions->C_Login(session, CKU_USER, token->pin.data,
                                                     token->pin.size);
    return value == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : value;
}

static ck_rv_t connect_once(struct pkcs11_token *token, ck_slot_id_t *ret_slot,
                            ck_session_handle_t *ret_session)
{
    struct ck_token_info info;
    ck_session_handle_t session;
    ck_rv_t value = find_slot(token, ret_slot, &info);
    if (value == CKR_OK)
        value = token->module.functions->C_OpenSession(*ret_slot, SESSION_FLAGS, NULL, NULL,
                                                       &session);
    if (value != CKR_OK)
        return value;
    value = login(token, session, &info);
    if (value == CKR_OK)
        *ret_session = session;
    else
        (void)token->module.functions->C_CloseSession(session);
    return value;
}

static struct timespec from_now(int64_t milliseconds)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += milliseconds / 1000;
    time.tv_nsec += milliseconds % 1000 * 1000000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

/* Whether all others are out of the module, which nobody enters while `connecting`. */
static bool drained(struct pkcs11_token *token)
{
    struct timespec until = from_now(DRAIN_MS);
    (void)pthread_mutex_lock(&token->lock);
    while (token->busy > 0 &&
           pthread_cond_timedwait(&token->changed, &token->lock, &until) == 0)
        ;
    bool empty = token->busy == 0;
    (void)pthread_mutex_unlock(&token->lock);
    return empty;
}

static ck_rv_t connect_token(struct pkcs11_token *token, ck_slot_id_t *ret_slot,
                             ck_session_handle_t *ret_session)
{
    ck_rv_t value = connect_once(token, ret_slot, ret_session);
    if (pkcs11_fault(value) != PKCS11_LOST || !drained(token))
        return value;
    value = pkcs11_module_restart(&token->module);
    return value != CKR_OK ? value : connect_once(token, ret_slot, ret_session);
}

static void say_trouble(struct pkcs11_token *token, ck_rv_t value)
{
    struct error *error = &token->trouble;
    char name[PKCS11_NAME_SIZE];
    (void)pkcs11_name(value, name);
    if (value == PKCS11_LAST_TRY)
        (void)error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                        "the token \"%s\" allows one wrong PIN more, and kmipd does not risk it: "
                        "log in once by hand with the PIN in %s, then restart kmipd",
                        token->label, token->pin_path);
    else if (value == PKCS11_TWO_TOKENS)
        (void)error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                        "more than one token has the label \"%s\": rename one", token->label);
    else if (pkcs11_fault(value) == PKCS11_PIN)
        (void)error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                        "login to the token \"%s\": %s (%s); kmipd does not try again before it is "
                        "restarted, because that may lock the token: check the PIN in %s",
                        token->label, pkcs11_text(value), name, token->pin_path);
    else if (value == CKR_TOKEN_NOT_PRESENT)
        (void)error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                        "there is no token with the label \"%s\": is the HSM switched on and "
                        "connected, and is [pkcs11] token right?",
                        token->label);
    else
        (void)error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                        "cannot connect to the token \"%s\": %s (%s)", token->label,
                        pkcs11_text(value), name);
}

/* Called and returns with the lock. */
static ck_rv_t reconnect(struct pkcs11_token *token)
{
    ck_slot_id_t slot = 0;
    ck_session_handle_t session = CK_INVALID_HANDLE;
    token->connecting = true;
    (void)pthread_mutex_unlock(&token->lock);
    ck_rv_t value = connect_token(token, &slot, &session);
    (void)pthread_mutex_lock(&token->lock);
    token->connecting = false;
    token->connected = value == CKR_OK;
    if (token->connected) {
        token->slot = slot;
        token->idle[token->idle_count++] = session;
        token->trouble.text[0] = '\0';
    } else {
        token->pin_refused = pkcs11_fault(value) == PKCS11_PIN;
        token->retry_at = clock_monotonic() + RETRY_MS;
        say_trouble(token, value);
    }
    (void)pthread_cond_broadcast(&token->changed);
    return value;
}

/* ---- The pool ---- */

static ck_rv_t unavailable(const struct pkcs11_token *token, struct error *error)
{
    if (error != NULL)
        *error = token->trouble;
    return PKCS11_NO_CONNECTION;
}

/* Called with the lock. CKR_OK: there is a session, or room for one. */
static ck_rv_t wait_for_room(struct pkcs11_token *token, struct error *error)
{
    struct timespec until = from_now(WAIT_MS);
    for (;;) {
        if (token->pin_refused)
            return unavailable(token, error);
        if (!token->connected && !token->connecting) {
            if (clock_monotonic() < token->retry_at || reconnect(token) != CKR_OK)
                return unavailable(token, error);
            continue;
        }
        if (token->connected && token->busy < token->sessions_max)
            return CKR_OK;
        if (pthread_cond_timedwait(&token->changed, &token->lock, &until) != 0) {
            (void)error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                            "all %u sessions with the token \"%s\" have been busy for %d seconds: "
                            "does the HSM hang?",
                            token->sessions_max, token->label, WAIT_MS / 1000);
            return CKR_SESSION_COUNT;
        }
    }
}

/* Called with the lock: sessions, login and handles of this connection are gone. */
static void lose(struct pkcs11_token *token, uint64_t connection, struct leftover *leftover)
{
    if (!token->connected || token->connection != connection)
        return;
    token->connected = false;
    token->connection++;
    take_idle(token, leftover);
}

static void leave(struct pkcs11_token *token, const struct pkcs11_session *session, bool opened,
                  bool lost)
{
    struct leftover leftover = {.count = 0};
    (void)pthread_mutex_lock(&token->lock);
    if (lost)
        lose(token, session->connection, &leftover);
    if (opened && token->connected && token->connection == session->connection)
        token->idle[token->idle_count++] = session->handle;
    else if (opened)
        leftover.sessions[leftover.count++] = session->handle;
    (void)pthread_mutex_unlock(&token->lock);
    close_leftover(token, &leftover);
    /* Only now out of the module: who starts it anew waits for that. */
    (void)pthread_mutex_lock(&token->lock);
    token->busy--;
    (void)pthread_cond_broadcast(&token->changed);
    (void)pthread_mutex_unlock(&token->lock);
}

/* The token allows fewer sessions than the configuration: make do with those there are. */
static bool be_content(struct pkcs11_token *token)
{
    (void)pthread_mutex_lock(&token->lock);
    unsigned there = token->busy + token->idle_count;
    bool content = there > 0 && there < token->sessions_max;
    if (content)
        token->sessions_max = there;
    (void)pthread_mutex_unlock(&token->lock);
    return content;
}

static ck_rv_t enter(struct pkcs11_token *token, struct pkcs11_session *ret_session,
                     struct error *error)
{
    (void)pthread_mutex_lock(&token->lock);
    ck_rv_t value = wait_for_room(token, error);
    if (value != CKR_OK) {
        (void)pthread_mutex_unlock(&token->lock);
        return value;
    }
    *ret_session = (struct pkcs11_session){token->module.functions, CK_INVALID_HANDLE, token->slot,
                                           token->connection};
    bool is_idle = token->idle_count > 0;
    if (is_idle)
        ret_session->handle = token->idle[--token->idle_count];
    token->busy++;
    (void)pthread_mutex_unlock(&token->lock);
    if (is_idle)
        return CKR_OK;
    value = ret_session->functions->C_OpenSession(ret_session->slot, SESSION_FLAGS, NULL, NULL,
                                                  &ret_session->handle);
    if (value == CKR_OK)
        return CKR_OK;
    leave(token, ret_session, false, pkcs11_fault(value) == PKCS11_LOST);
    (void)pkcs11_explain(error, value, "cannot open a session with the token");
    return value == CKR_SESSION_COUNT && be_content(token) ? enter(token, ret_session, error)
                                                           : value;
}

ck_rv_t pkcs11_token_run(struct pkcs11_token *token, pkcs11_operation *operation, void *context,
                         struct error *error)
{
    ck_rv_t value = CKR_GENERAL_ERROR;
    for (int attempt = 0; attempt < 2; attempt++) {
        struct pkcs11_session session;
        value = enter(token, &session, error);
        if (pkcs11_fault(value) == PKCS11_LOST)
            continue;
        if (value != CKR_OK)
            return value;
        value = operation(&session, context);
        enum pkcs11_fault fault = pkcs11_fault(value);
        leave(token, &session, true, fault == PKCS11_LOST);
        if (fault != PKCS11_LOST && fault != PKCS11_STALE)
            break;
    }
    if (value != CKR_OK)
        (void)pkcs11_explain(error, value, "the HSM");
    return value;
}
