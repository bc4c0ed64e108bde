/* SPDX-License-Identifier: Apache-2.0 */
/* What HSMs do to those who use them: SoftHSM behind a module that fails when it is told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keymanager/envelope.h"
#include "softhsm.h"

#define NOW INT64_C(1700000000000)
#define SPY "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"

/* ---- Time that tests move ---- */

static _Atomic int64_t moved;
int64_t __real_clock_monotonic(void);
int64_t __wrap_clock_monotonic(void);
int64_t __wrap_clock_monotonic(void)
{
    return __real_clock_monotonic() + atomic_load(&moved);
}

static void wait_a_minute(void)
{
    (void)atomic_fetch_add(&moved, 60000);
}

/* ---- A token, and a key manager on it ---- */

struct bench {
    struct softhsm *softhsm;
    struct pkcs11_shim *shim;
    struct pkcs11_options options;
    struct keymanager *keymanager;
    struct uuid root_key;
    struct wrap_binding binding;
    struct buffer blob; /* of `plaintext` under version 1 */
    struct secret plaintext;
};

static struct keymanager *open_hsm(const struct pkcs11_options *options)
{
    struct keymanager *keymanager = NULL;
    struct error error = {0};
    if (pkcs11_open(options, &keymanager, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    return keymanager;
}

static struct uuid new_id(void)
{
    struct uuid id;
    assert_int_equal(uuid_make(NOW, &id), STATUS_OK);
    return id;
}

static struct uuid create(struct keymanager *keymanager, const struct secret *material)
{
    struct uuid id;
    struct error error = {0};
    const struct root_key_wish wish = {.id = new_id(), .material = material, .now = NOW};
    if (keymanager_create_root_key(keymanager, &wish, &id, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    return id;
}

static struct wrapped wrapped_of(const struct buffer *blob)
{
    return (struct wrapped){buffer_bytes(blob)};
}

static enum status wrap(struct bench *bench, struct buffer *blob)
{
    buffer_init(blob, 4096);
    return keymanager_wrap(bench->keymanager, &bench->binding, &bench->plaintext, blob);
}

static enum status unwrap(struct bench *bench, const struct buffer *blob)
{
    struct secret opened = {0};
    enum status status =
        keymanager_unwrap(bench->keymanager, &bench->binding, wrapped_of(blob), &opened, NULL);
    if (status == STATUS_OK)
        assert_true(secret_equal(&opened, &bench->plaintext));
    secret_free(&opened);
    return status;
}

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    *state = bench;
    bench->softhsm = softhsm_start();
    if (bench->softhsm == NULL)
        return 0;
    bench->shim = softhsm_shim();
    bench->options = softhsm_options(bench->softhsm);
    return secret_random(&bench->plaintext, 32) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    if (bench->softhsm != NULL) {
        memset(bench->shim, 0, sizeof(*bench->shim));
        keymanager_close(bench->keymanager);
        softhsm_stop(bench->softhsm);
    }
    buffer_free(&bench->blob);
    secret_free(&bench->plaintext);
    free(bench);
    return 0;
}

static struct bench *bench_of(void **state)
{
    struct bench *bench = *state;
    if (bench->softhsm == NULL)
        skip();
    return bench;
}

/* With a root key and something under it. */
static struct bench *ready(void **state)
{
    struct bench *bench = bench_of(state);
    bench->keymanager = open_hsm(&bench->options);
    bench->root_key = create(bench->keymanager, NULL);
    bench->binding = (struct wrap_binding){.root_key = bench->root_key};
    assert_int_equal(wrap(bench, &bench->blob), STATUS_OK);
    return bench;
}

static void arm(struct bench *bench, int function, ck_rv_t value, long skip, long times)
{
    atomic_store(&bench->shim->times, 0);
    atomic_store(&bench->shim->function, function);
    atomic_store(&bench->shim->value, value);
    atomic_store(&bench->shim->skip, skip);
    atomic_store(&bench->shim->times, times);
}

static void disarm(struct bench *bench)
{
    atomic_store(&bench->shim->times, 0);
    atomic_store(&bench->shim->after, false);
    wait_a_minute();
}

static unsigned calls(struct bench *bench, enum shim_function function)
{
    return atomic_load(&bench->shim->calls[function]);
}

static struct root_key_info info_of(struct bench *bench)
{
    struct root_key_info info = {0};
    assert_int_equal(keymanager_root_key_info(bench->keymanager, &bench->root_key, &info),
                     STATUS_OK);
    return info;
}

static enum status rotate(struct bench *bench, uint32_t from)
{
    struct error error = {0};
    return keymanager_rotate(bench->keymanager, &bench->root_key, from, NULL, NOW + from, &error);
}

static void assert_check_says(struct bench *bench, enum status status, const char *expected)
{
    struct error error = {0};
    assert_int_equal(keymanager_check(bench->keymanager, &error), status);
    if (strstr(error.text, expected) == NULL)
        fail_msg("\"%s\" has no \"%s\"", error.text, expected);
}

/* ---- Sessions ---- */

/* All that tokens are known to say when they have forgotten who asks. */
static const ck_rv_t losses[] = {
    CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED,   CKR_USER_NOT_LOGGED_IN,
    CKR_DEVICE_REMOVED,         CKR_DEVICE_ERROR,     CKR_TOKEN_NOT_PRESENT,
    CKR_TOKEN_NOT_RECOGNIZED,   CKR_GENERAL_ERROR,    CKR_FUNCTION_FAILED,
    CKR_OPERATION_ACTIVE,       CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_VENDOR_DEFINED | 0x42UL,
};

static const int where[] = {SHIM_EncryptInit, SHIM_Encrypt, SHIM_DecryptInit, SHIM_Decrypt};

static void test_losses_are_made_good(void **state)
{
    struct bench *bench = ready(state);
    for (size_t i = 0; i < ARRAY_COUNT(losses); i++) {
        for (size_t j = 0; j < ARRAY_COUNT(where); j++) {
            struct buffer blob;
            arm(bench, where[j], losses[i], 0, 1);
            if (wrap(bench, &blob) != STATUS_OK || unwrap(bench, &blob) != STATUS_OK ||
                unwrap(bench, &bench->blob) != STATUS_OK)
                fail_msg("the fault 0x%lx at %zu was not made good", losses[i], j);
            if (atomic_load(&bench->shim->times) > 0)
                fail_msg("the fault %zu at %zu did not happen", i, j);
            buffer_free(&blob);
        }
    }
}

static void test_sessions_closed_by_the_token(void **state)
{
    struct bench *bench = ready(state);
    struct ck_function_list *functions = softhsm_functions();
    ck_slot_id_t slots[8];
    unsigned long count = 8;
    assert_int_equal(functions->C_GetSlotList(1, slots, &count), CKR_OK);
    for (unsigned long i = 0; i < count; i++)
        (void)functions->C_CloseAllSessions(slots[i]);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
    for (unsigned long i = 0; i < count; i++)
        (void)functions->C_CloseAllSessions(slots[i]);
    assert_int_equal(rotate(bench, 1), STATUS_OK);
    assert_int_equal(functions->C_Finalize(NULL), CKR_OK);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
    assert_int_equal(info_of(bench).version, 2);
}

/* It is another slot's token now, by the same label. */
static void test_token_in_another_slot(void **state)
{
    struct bench *bench = ready(state);
    atomic_store(&bench->shim->slot, 1000);
    arm(bench, SHIM_DecryptInit, CKR_DEVICE_REMOVED, 0, 1);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
    assert_int_equal(rotate(bench, 1), STATUS_OK);
}

static void test_token_removed_and_back(void **state)
{
    struct bench *bench = ready(state);
    struct buffer blob;
    arm(bench, SHIM_ANY, CKR_DEVICE_REMOVED, 0, LONG_MAX);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(wrap(bench, &blob), STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_int_equal(rotate(bench, 1), STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_check_says(bench, STATUS_KEY_MANAGER_UNAVAILABLE, "switched on");
    disarm(bench);
    assert_check_says(bench, STATUS_OK, "logged in, wraps by AES-GCM");
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
    buffer_free(&blob);
}

/* While the token is away it is asked twice a second at most, whoever asks. */
static void test_absent_token_is_left_alone(void **state)
{
    struct bench *bench = ready(state);
    arm(bench, SHIM_ANY, CKR_TOKEN_NOT_PRESENT, 0, LONG_MAX);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_KEY_MANAGER_UNAVAILABLE);
    unsigned before = calls(bench, SHIM_GetSlotList);
    for (int i = 0; i < 100; i++)
        assert_int_equal(unwrap(bench, &bench->blob), STATUS_KEY_MANAGER_UNAVAILABLE);
    assert_true(calls(bench, SHIM_GetSlotList) - before <= 4);
}

static void test_token_that_comes_later(void **state)
{
    struct bench *bench = bench_of(state);
    arm(bench, SHIM_ANY, CKR_TOKEN_NOT_PRESENT, 0, LONG_MAX);
    bench->keymanager = open_hsm(&bench->options);
    assert_check_says(bench, STATUS_KEY_MANAGER_UNAVAILABLE, "no token with the label");
    disarm(bench);
    bench->root_key = create(bench->keymanager, NULL);
    assert_int_equal(info_of(bench).version, 1);
}

static void test_wrong_label(void **state)
{
    struct bench *bench = bench_of(state);
    bench->options.token = "kmipd tes";
    bench->keymanager = open_hsm(&bench->options);
    assert_check_says(bench, STATUS_KEY_MANAGER_UNAVAILABLE,
                      "no token with the label \"kmipd tes\"");
}

struct worker {
    pthread_t thread;
    struct bench *bench;
    enum status status;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    worker->status = STATUS_OK;
    for (int i = 0; i < 100 && worker->status == STATUS_OK; i++)
        worker->status = unwrap(worker->bench, &worker->bench->blob);
    return NULL;
}

static void run_workers(struct bench *bench)
{
    struct worker workers[8];
    for (size_t i = 0; i < ARRAY_COUNT(workers); i++) {
        workers[i].bench = bench;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(workers); i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].status, STATUS_OK);
    }
}

static void test_pool_is_bounded(void **state)
{
    struct bench *bench = bench_of(state);
    bench->options.sessions_max = 2;
    (void)ready(state);
    run_workers(bench);
    assert_in_range(atomic_load(&bench->shim->most_open), 1, 2);
}

/* The token allows less than the configuration. */
static void test_token_with_few_sessions(void **state)
{
    struct bench *bench = bench_of(state);
    bench->options.sessions_max = 8;
    atomic_store(&bench->shim->sessions, 2);
    (void)ready(state);
    run_workers(bench);
    assert_in_range(atomic_load(&bench->shim->most_open), 1, 2);
}

/* Sessions are lost again and again under threads: every one is served. */
static void test_losses_under_load(void **state)
{
    struct bench *bench = ready(state);
    struct worker workers[4];
    for (size_t i = 0; i < ARRAY_COUNT(workers); i++) {
        workers[i].bench = bench;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 10; i++) {
        const struct timespec briefly = {0, 1000000};
        arm(bench, SHIM_Decrypt, CKR_SESSION_HANDLE_INVALID, 0, 1);
        (void)nanosleep(&briefly, NULL);
    }
    for (size_t i = 0; i < ARRAY_COUNT(workers); i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        /* Who is hit twice in a row is told to try again. */
        assert_true(workers[i].status == STATUS_OK ||
                    workers[i].status == STATUS_KEY_MANAGER_UNAVAILABLE);
    }
    disarm(bench);
    run_workers(bench);
}

/* ---- PIN ---- */

static void write_pin(struct bench *bench, const char *pin)
{
    int file = open(bench->softhsm->pin_path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(file, pin, strlen(pin)), (ssize_t)strlen(pin));
    (void)close(file);
}

static void test_wrong_pin_is_tried_once(void **state)
{
    struct bench *bench = bench_of(state);
    struct root_key_info info;
    write_pin(bench, "1111-2222\n");
    bench->keymanager = open_hsm(&bench->options);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(keymanager_root_key_info(bench->keymanager, &bench->root_key, &info),
                         STATUS_KEY_MANAGER_UNAVAILABLE);
        wait_a_minute();
    }
    assert_check_says(bench, STATUS_KEY_MANAGER_UNAVAILABLE, "refused the PIN");
    assert_check_says(bench, STATUS_KEY_MANAGER_UNAVAILABLE, bench->softhsm->pin_path);
    assert_check_says(bench, STATUS_KEY_MANAGER_UNAVAILABLE, "does not try again");
    assert_int_equal(calls(bench, SHIM_Login), 1);
    write_pin(bench, SOFTHSM_PIN "\n");
    keymanager_close(bench->keymanager);
    bench->keymanager = open_hsm(&bench->options);
    assert_check_says(bench, STATUS_OK, "logged in");
}

/* The PIN is changed while sessions are there, and then they are lost. */
static void test_pin_changed_meanwhile(void **state)
{
    struct bench *bench = ready(state);
    arm(bench, SHIM_Login, CKR_PIN_INCORRECT, 0, LONG_MAX);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
    unsigned before = calls(bench, SHIM_Login);
    struct ck_function_list *functions = softhsm_functions();
    assert_int_equal(functions->C_Finalize(NULL), CKR_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(unwrap(bench, &bench->blob), STATUS_KEY_MANAGER_UNAVAILABLE);
        wait_a_minute();
    }
    assert_int_equal(calls(bench, SHIM_Login) - before, 1);
}

static void test_last_try_is_not_taken(void **state)
{
    struct bench *bench = bench_of(state);
    atomic_store(&bench->shim->flags, CKF_USER_PIN_FINAL_TRY);
    bench->keymanager = open_hsm(&bench->options);
    assert_check_says(bench, STATUS_KEY_MANAGER_UNAVAILABLE, "allows one wrong PIN more");
    assert_int_equal(calls(bench, SHIM_Login), 0);
    keymanager_close(bench->keymanager);
    atomic_store(&bench->shim->flags, CKF_USER_PIN_LOCKED);
    bench->keymanager = open_hsm(&bench->options);
    assert_check_says(bench, STATUS_KEY_MANAGER_UNAVAILABLE, "security officer");
    assert_int_equal(calls(bench, SHIM_Login), 0);
}

/* ---- The options ---- */

static void assert_not_opened(const struct pkcs11_options *options, enum status status,
                              const char *expected)
{
    struct keymanager *keymanager = NULL;
    struct error error = {0};
    enum status got = pkcs11_open(options, &keymanager, &error);
    if (got != status || strstr(error.text, expected) == NULL)
        fail_msg("%s: \"%s\" has no \"%s\"", status_name(got), error.text, expected);
    assert_null(keymanager);
}

static void test_options(void **state)
{
    struct bench *bench = bench_of(state);
    struct pkcs11_options options = bench->options;
    options.module = "libsofthsm2.so";
    assert_not_opened(&options, STATUS_INVALID_ARGUMENT, "absolute path");
    options.module = "/no/such/module.so";
    assert_not_opened(&options, STATUS_NOT_FOUND, "/no/such/module.so");
    options.module = bench->softhsm->configuration; /* mode 0600, but no library */
    assert_not_opened(&options, STATUS_KEY_MANAGER_UNAVAILABLE, "cannot load");
    assert_int_equal(chmod(bench->softhsm->configuration, 0666), 0);
    assert_not_opened(&options, STATUS_IO, "others than root may write");
    options = bench->options;
    options.sessions_max = 0;
    assert_not_opened(&options, STATUS_INVALID_ARGUMENT, "sessions");
    options.sessions_max = 257;
    assert_not_opened(&options, STATUS_INVALID_ARGUMENT, "sessions");
    options = bench->options;
    options.token = "";
    assert_not_opened(&options, STATUS_INVALID_ARGUMENT, "label");
    options.token = "123456789012345678901234567890123";
    assert_not_opened(&options, STATUS_INVALID_ARGUMENT, "label");
    options = bench->options;
    options.pin = "/no/such/pin";
    assert_not_opened(&options, STATUS_NOT_FOUND, "/no/such/pin");
    options.pin = "pin-credential";
    assert_not_opened(&options, STATUS_NOT_FOUND, "CREDENTIALS_DIRECTORY");
    options = bench->options;
    write_pin(bench, "\n");
    assert_not_opened(&options, STATUS_INVALID_ARGUMENT, "first line");
    assert_int_equal(chmod(bench->softhsm->pin_path, 0644), 0);
    assert_not_opened(&options, STATUS_IO, "permissions");
}

/* ---- A token that dies at any call of a change ---- */

enum act { WRAP, UNWRAP, REWRAP, CREATE, IMPORT, ROTATE, SUSPEND, ENABLE, DELETE, RESTORE, PURGE };

static struct uuid wished; /* of CREATE and IMPORT */

static enum status do_create(struct bench *bench, bool import)
{
    struct secret material = {0};
    struct error error = {0};
    struct uuid id;
    if (import)
        assert_int_equal(secret_copy(&material, BYTES_LITERAL("0123456789abcdef")), STATUS_OK);
    const struct root_key_wish wish = {
        .id = wished, .material = import ? &material : NULL, .now = NOW};
    enum status status = keymanager_create_root_key(bench->keymanager, &wish, &id, &error);
    secret_free(&material);
    return status;
}

static enum status do_act(struct bench *bench, enum act act)
{
    struct error error = {0};
    struct buffer blob;
    enum status status = STATUS_OK;
    buffer_init(&blob, 4096);
    switch (act) {
    case WRAP:
        status = keymanager_wrap(bench->keymanager, &bench->binding, &bench->plaintext, &blob);
        break;
    case UNWRAP:
        status = unwrap(bench, &bench->blob);
        break;
    case REWRAP:
        status = keymanager_rewrap(bench->keymanager, &bench->binding, wrapped_of(&bench->blob),
                                   &blob);
        break;
    case CREATE:
    case IMPORT:
        return do_create(bench, act == IMPORT);
    case ROTATE:
        return rotate(bench, 1);
    case SUSPEND:
    case ENABLE:
        return keymanager_set_state(bench->keymanager, &bench->root_key,
                                    act == ENABLE ? ROOT_KEY_ACTIVE : ROOT_KEY_SUSPENDED, &error);
    case DELETE:
        return keymanager_delete(bench->keymanager, &bench->root_key, NOW + 9, &error);
    case RESTORE:
        return keymanager_restore(bench->keymanager, &bench->root_key, &error);
    case PURGE:
        return keymanager_purge(bench->keymanager, &bench->root_key, &error);
    }
    buffer_free(&blob);
    return status;
}

static const struct {
    const char *name;
    enum act before[3]; /* 0, WRAP: nothing */
    enum act act;
    long stride; /* each so many calls of the token one is tried */
    enum status again; /* also fine for the repeated call: it had been carried out */
    enum root_key_state state;
    uint32_t version;
    bool purged;
} scenarios[] = {
    {"wrap", {0}, WRAP, 3, STATUS_OK, ROOT_KEY_ACTIVE, 1, false},
    {"unwrap", {0}, UNWRAP, 3, STATUS_OK, ROOT_KEY_ACTIVE, 1, false},
    {"rewrap", {ROTATE}, REWRAP, 3, STATUS_OK, ROOT_KEY_ACTIVE, 2, false},
    {"create", {0}, CREATE, 1, STATUS_OK, ROOT_KEY_ACTIVE, 1, false},
    {"import", {0}, IMPORT, 3, STATUS_OK, ROOT_KEY_ACTIVE, 1, false},
    {"rotate", {0}, ROTATE, 1, STATUS_CONFLICT, ROOT_KEY_ACTIVE, 2, false},
    {"suspend", {0}, SUSPEND, 1, STATUS_OK, ROOT_KEY_SUSPENDED, 1, false},
    {"enable", {SUSPEND}, ENABLE, 3, STATUS_OK, ROOT_KEY_ACTIVE, 1, false},
    {"delete", {ROTATE, SUSPEND}, DELETE, 3, STATUS_OK, ROOT_KEY_DESTROYED, 2, false},
    {"restore", {DELETE}, RESTORE, 1, STATUS_CONFLICT, ROOT_KEY_ACTIVE, 1, false},
    {"purge", {ROTATE, DELETE}, PURGE, 1, STATUS_OK, ROOT_KEY_DESTROYED, 2, true},
};

/* So that it takes no longer with each round. */
static void empty_token(struct bench *bench)
{
    struct ck_function_list *functions = softhsm_functions();
    ck_slot_id_t slots[8];
    ck_session_handle_t session;
    ck_object_handle_t found[64];
    unsigned long count = 8;
    assert_int_equal(functions->C_GetSlotList(1, slots, &count), CKR_OK);
    assert_int_equal(functions->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
                                              NULL, &session),
                     CKR_OK);
    assert_int_equal(functions->C_FindObjectsInit(session, NULL, 0), CKR_OK);
    assert_int_equal(functions->C_FindObjects(session, found, 64, &count), CKR_OK);
    assert_int_equal(functions->C_FindObjectsFinal(session), CKR_OK);
    for (unsigned long i = 0; i < count; i++)
        (void)functions->C_DestroyObject(session, found[i]);
    assert_int_equal(functions->C_CloseSession(session), CKR_OK);
}

static void prepare(struct bench *bench, size_t scenario)
{
    buffer_free(&bench->blob);
    empty_token(bench);
    wished = new_id();
    bench->root_key = create(bench->keymanager, NULL);
    bench->binding = (struct wrap_binding){.root_key = bench->root_key};
    assert_int_equal(wrap(bench, &bench->blob), STATUS_OK);
    for (size_t i = 0; i < 3 && scenarios[scenario].before[i] != WRAP; i++)
        assert_int_equal(do_act(bench, scenarios[scenario].before[i]), STATUS_OK);
}

static void assert_as_wanted(struct bench *bench, size_t scenario)
{
    struct root_key_info info = info_of(bench);
    assert_int_equal(info.state, scenarios[scenario].state);
    assert_int_equal(info.version, scenarios[scenario].version);
    assert_int_equal(info.purged, scenarios[scenario].purged);
    assert_int_equal(info.created, NOW);
    enum status wanted =
        info.state == ROOT_KEY_ACTIVE ? STATUS_OK : STATUS_ROOT_KEY_UNAVAILABLE;
    assert_int_equal(unwrap(bench, &bench->blob), wanted);
}

/* How often keys of our identifiers are in the token: each version once. */
static void assert_keys(struct bench *bench, size_t scenario)
{
    char id[UUID_TEXT_LENGTH + 1];
    char label[64];
    struct ck_function_list *functions = softhsm_functions();
    ck_slot_id_t slots[8];
    ck_session_handle_t session;
    ck_object_handle_t found[8];
    unsigned long count = 8;
    uuid_text(&bench->root_key, id);
    assert_int_equal(functions->C_GetSlotList(1, slots, &count), CKR_OK);
    assert_int_equal(functions->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &session),
                     CKR_OK);
    for (uint32_t version = 1; version <= 3; version++) {
        (void)snprintf(label, sizeof(label), "kmipd-%s-v%u", id, version);
        struct ck_attribute template[] = {{CKA_LABEL, label, strlen(label)}};
        assert_int_equal(functions->C_FindObjectsInit(session, template, 1), CKR_OK);
        assert_int_equal(functions->C_FindObjects(session, found, 8, &count), CKR_OK);
        assert_int_equal(functions->C_FindObjectsFinal(session), CKR_OK);
        bool there = version <= scenarios[scenario].version && !scenarios[scenario].purged;
        assert_int_equal(count, there ? 1 : 0);
    }
    /* And at most one note. */
    (void)snprintf(label, sizeof(label), "kmipd-%s", id);
    struct ck_attribute template[] = {{CKA_LABEL, label, strlen(label)}};
    assert_int_equal(functions->C_FindObjectsInit(session, template, 1), CKR_OK);
    assert_int_equal(functions->C_FindObjects(session, found, 8, &count), CKR_OK);
    assert_int_equal(functions->C_FindObjectsFinal(session), CKR_OK);
    assert_true(count <= 1);
    assert_int_equal(functions->C_CloseSession(session), CKR_OK);
}

/* From its nth call on the token is dead, whether it did what was asked at the first of them or
 * not; then it is back, and what failed is done again. False: there are no so many calls. */
static bool die_at(struct bench *bench, size_t scenario, long n, bool after)
{
    prepare(bench, scenario);
    atomic_store(&bench->shim->after, after);
    arm(bench, SHIM_ANY, CKR_DEVICE_REMOVED, n, LONG_MAX);
    enum status status = do_act(bench, scenarios[scenario].act);
    bool happened = atomic_load(&bench->shim->times) < LONG_MAX;
    disarm(bench);
    if (!happened) {
        assert_int_equal(status, STATUS_OK);
        return false;
    }
    assert_int_equal(status, STATUS_KEY_MANAGER_UNAVAILABLE);
    status = do_act(bench, scenarios[scenario].act);
    if (status != STATUS_OK && status != scenarios[scenario].again)
        fail_msg("%s, dead at call %ld: %s", scenarios[scenario].name, n, status_name(status));
    assert_as_wanted(bench, scenario);
    return true;
}

static void test_dead_at_any_call(void **state)
{
    struct bench *bench = ready(state);
    for (size_t i = 0; i < ARRAY_COUNT(scenarios); i++) {
        long n = 0;
        while (die_at(bench, i, n, n % 2 == 1))
            n += scenarios[i].stride;
        assert_true(n >= 2);
        assert_as_wanted(bench, i);
        assert_keys(bench, i);
    }
}

/* As before, but one call fails only: it is made good without anybody noticing, also where the token
 * has done what it says that it could not. */
static void hiccups(struct bench *bench, bool after)
{
    for (size_t i = 0; i < ARRAY_COUNT(scenarios); i++) {
        for (long n = after;; n += 2 * scenarios[i].stride) {
            prepare(bench, i);
            atomic_store(&bench->shim->after, after);
            arm(bench, SHIM_ANY, CKR_DEVICE_ERROR, n, 1);
            enum status status = do_act(bench, scenarios[i].act);
            bool happened = atomic_load(&bench->shim->times) < 1;
            disarm(bench);
            if (status != STATUS_OK && !(after && status == scenarios[i].again))
                fail_msg("%s, call %ld: %s", scenarios[i].name, n, status_name(status));
            assert_as_wanted(bench, i);
            assert_keys(bench, i);
            if (!happened)
                break;
        }
    }
}

static void test_one_hiccup_at_any_call(void **state)
{
    hiccups(ready(state), false);
}

static void test_one_lost_answer_at_any_call(void **state)
{
    hiccups(ready(state), true);
}

/* Two keys of one version are fine; nothing is destroyed that may be in use. */
static struct bench *racing;
static struct keymanager *other_endpoint;
static enum status other_status;

static void rotate_elsewhere(void)
{
    other_status = keymanager_rotate(other_endpoint, &racing->root_key, 1, NULL, NOW + 5, NULL);
}

static void test_rotations_at_once(void **state)
{
    struct bench *bench = ready(state);
    struct buffer blob, other;
    other_endpoint = open_hsm(&bench->options);
    racing = bench;
    atomic_store(&bench->shim->before_generate, rotate_elsewhere);
    assert_int_equal(rotate(bench, 1), STATUS_CONFLICT);
    assert_int_equal(other_status, STATUS_OK);
    assert_int_equal(info_of(bench).version, 2);
    assert_int_equal(wrap(bench, &blob), STATUS_OK);
    buffer_init(&other, 4096);
    assert_int_equal(keymanager_wrap(other_endpoint, &bench->binding, &bench->plaintext, &other),
                     STATUS_OK);
    assert_int_equal(unwrap(bench, &other), STATUS_OK);
    assert_int_equal(unwrap(bench, &blob), STATUS_OK);
    assert_int_equal(rotate(bench, 2), STATUS_OK);
    assert_int_equal(unwrap(bench, &other), STATUS_OK);
    keymanager_close(other_endpoint);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
    buffer_free(&blob);
    buffer_free(&other);
}

/* ---- Two processes on one token ---- */

struct message {
    struct uuid root_key;
    uint32_t size;
    uint8_t blob[1024];
};

/* Another endpoint: a process of its own, that answers what it is asked through a pipe. */
static enum status endpoint(struct bench *bench, const struct message *message, char what)
{
    struct secret opened = {0};
    enum status status = STATUS_INTERNAL;
    const struct wrap_binding binding = {.root_key = message->root_key};
    struct wrapped wrapped = {bytes_of(message->blob, message->size)};
    if (what == 'u')
        status = keymanager_unwrap(bench->keymanager, &binding, wrapped, &opened, NULL);
    if (what == 'r')
        status = keymanager_rotate(bench->keymanager, &message->root_key, 1, NULL, NOW + 1, NULL);
    if (what == 's')
        status = keymanager_set_state(bench->keymanager, &message->root_key, ROOT_KEY_SUSPENDED,
                                      NULL);
    if (what == 'd')
        status = keymanager_delete(bench->keymanager, &message->root_key, NOW + 7, NULL);
    if (what == 'p')
        status = keymanager_purge(bench->keymanager, &message->root_key, NULL);
    secret_free(&opened);
    return status;
}

static bool write_all(int file, const void *data, size_t size)
{
    return write(file, data, size) == (ssize_t)size;
}

static void pass_time(void)
{
    const struct timespec briefly = {0, 10000000};
    (void)nanosleep(&briefly, NULL);
    wait_a_minute();
}

static void be_endpoint(struct bench *bench, int requests, int answers)
{
    char what;
    struct message message;
    bench->keymanager = open_hsm(&bench->options);
    /* SoftHSM may not see a token while another process logs in to it. */
    for (int i = 0; i < 100 && keymanager_check(bench->keymanager, NULL) != STATUS_OK; i++)
        pass_time();
    (void)write_all(answers, "!", 1);
    while (read(requests, &what, 1) == 1 &&
           read(requests, &message, sizeof(message)) == (ssize_t)sizeof(message)) {
        enum status status = endpoint(bench, &message, what);
        if (!write_all(answers, &status, sizeof(status)))
            break;
    }
    keymanager_close(bench->keymanager);
    _exit(0);
}

struct neighbour {
    pid_t process;
    int requests;
    int answers;
};

static struct neighbour start_neighbour(struct bench *bench)
{
    int requests[2], answers[2];
    assert_int_equal(pipe(requests), 0);
    assert_int_equal(pipe(answers), 0);
    struct neighbour neighbour = {fork(), requests[1], answers[0]};
    assert_true(neighbour.process >= 0);
    if (neighbour.process == 0) {
        (void)close(requests[1]);
        (void)close(answers[0]);
        be_endpoint(bench, requests[0], answers[1]);
    }
    (void)close(requests[0]);
    (void)close(answers[1]);
    char sign;
    assert_int_equal(read(answers[0], &sign, 1), 1);
    return neighbour;
}

static enum status ask(const struct neighbour *neighbour, char what, const struct message *message)
{
    enum status status = STATUS_INTERNAL;
    assert_int_equal(write(neighbour->requests, &what, 1), 1);
    assert_int_equal(write(neighbour->requests, message, sizeof(*message)), sizeof(*message));
    assert_int_equal(read(neighbour->answers, &status, sizeof(status)), sizeof(status));
    return status;
}

static void stop_neighbour(const struct neighbour *neighbour)
{
    (void)close(neighbour->requests);
    (void)close(neighbour->answers);
    (void)waitpid(neighbour->process, NULL, 0);
}

static struct message message_of(struct bench *bench, const struct buffer *blob)
{
    struct message message = {.root_key = bench->root_key, .size = (uint32_t)blob->size};
    memcpy(message.blob, blob->data, blob->size);
    return message;
}

static void test_two_processes(void **state)
{
    struct bench *bench = bench_of(state);
    struct neighbour neighbour = start_neighbour(bench);
    struct buffer blob;
    (void)ready(state);
    struct message message = message_of(bench, &bench->blob);
    assert_int_equal(ask(&neighbour, 'u', &message), STATUS_OK);
    assert_int_equal(ask(&neighbour, 'r', &message), STATUS_OK);
    assert_int_equal(rotate(bench, 1), STATUS_CONFLICT);
    assert_int_equal(wrap(bench, &blob), STATUS_OK);
    struct message newer = message_of(bench, &blob);
    assert_int_equal(ask(&neighbour, 'u', &newer), STATUS_OK);
    /* Rotated here, the neighbour finds the new version at once though it has just looked. */
    assert_int_equal(rotate(bench, 2), STATUS_OK);
    buffer_free(&blob);
    assert_int_equal(wrap(bench, &blob), STATUS_OK);
    newer = message_of(bench, &blob);
    assert_int_equal(ask(&neighbour, 'u', &newer), STATUS_OK);
    /* What the neighbour forbids is seen here within seconds, and at once by who asks. */
    assert_int_equal(unwrap(bench, &blob), STATUS_OK);
    assert_int_equal(ask(&neighbour, 's', &message), STATUS_OK);
    wait_a_minute();
    assert_int_equal(unwrap(bench, &blob), STATUS_ROOT_KEY_UNAVAILABLE);
    assert_int_equal(keymanager_set_state(bench->keymanager, &bench->root_key, ROOT_KEY_ACTIVE,
                                          NULL),
                     STATUS_OK);
    assert_int_equal(unwrap(bench, &blob), STATUS_OK);
    assert_int_equal(ask(&neighbour, 'd', &message), STATUS_OK);
    assert_int_equal(info_of(bench).state, ROOT_KEY_DESTROYED);
    assert_int_equal(unwrap(bench, &blob), STATUS_ROOT_KEY_UNAVAILABLE);
    assert_int_equal(ask(&neighbour, 'p', &message), STATUS_OK);
    assert_int_equal(info_of(bench).purged, true);
    buffer_free(&blob);
    stop_neighbour(&neighbour);
}

/* Handles of keys that another endpoint has destroyed. */
static void test_purged_elsewhere(void **state)
{
    struct bench *bench = bench_of(state);
    struct neighbour neighbour = start_neighbour(bench);
    (void)ready(state);
    struct message message = message_of(bench, &bench->blob);
    assert_int_equal(ask(&neighbour, 'd', &message), STATUS_OK);
    assert_int_equal(ask(&neighbour, 'p', &message), STATUS_OK);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_ROOT_KEY_UNAVAILABLE);
    stop_neighbour(&neighbour);
}

/* ---- What is wrapped ---- */

/* The envelope key in a blob, opened with the root key's material and OpenSSL alone. */
static bool opens_by_key_wrap(const struct buffer *blob, struct bytes material,
                              struct bytes plaintext)
{
    struct envelope envelope;
    struct secret key, opened = {0};
    int size = 0, rest = 0;
    assert_int_equal(envelope_read(buffer_bytes(blob), NULL, &envelope), STATUS_OK);
    assert_int_equal(envelope.wrapped_key.size, 48);
    assert_int_equal(envelope.wrapped_key.data[0], 2);
    assert_int_equal(secret_allocate(&key, 64), STATUS_OK);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    assert_int_equal(EVP_DecryptInit_ex(context, EVP_aes_256_wrap(), NULL, material.data, NULL), 1);
    assert_int_equal(
        EVP_DecryptUpdate(context, key.data, &size, envelope.wrapped_key.data + 8, 40), 1);
    assert_int_equal(EVP_DecryptFinal_ex(context, key.data + size, &rest), 1);
    EVP_CIPHER_CTX_free(context);
    key.size = 32;
    enum status status = envelope_open(buffer_bytes(blob), &key, &opened);
    bool same = status == STATUS_OK && bytes_equal(secret_bytes(&opened), plaintext);
    key.size = 64;
    secret_free(&key);
    secret_free(&opened);
    return same;
}

/* RFC 3394, as OpenSSL does it. */
static void test_key_wrap_is_the_standards(void **state)
{
    struct bench *bench = bench_of(state);
    struct secret material;
    atomic_store(&bench->shim->without_gcm, true);
    bench->keymanager = open_hsm(&bench->options);
    assert_int_equal(secret_random(&material, 32), STATUS_OK);
    bench->root_key = create(bench->keymanager, &material);
    bench->binding = (struct wrap_binding){.root_key = bench->root_key};
    assert_int_equal(wrap(bench, &bench->blob), STATUS_OK);
    assert_true(opens_by_key_wrap(&bench->blob, secret_bytes(&material),
                                  secret_bytes(&bench->plaintext)));
    /* And by the same token when it has learned GCM: old blobs open, new ones use it. */
    atomic_store(&bench->shim->without_gcm, false);
    keymanager_close(bench->keymanager);
    bench->keymanager = open_hsm(&bench->options);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
    struct buffer blob;
    struct envelope envelope;
    assert_int_equal(wrap(bench, &blob), STATUS_OK);
    assert_int_equal(envelope_read(buffer_bytes(&blob), NULL, &envelope), STATUS_OK);
    assert_int_equal(envelope.wrapped_key.data[0], 1);
    assert_int_equal(envelope.wrapped_key.size, 68);
    buffer_free(&blob);
    secret_free(&material);
}

/* By the token's own mechanism it is the same, so that a blob opens by either. */
static void test_key_wrap_of_the_token(void **state)
{
    struct bench *bench = bench_of(state);
    struct secret material;
    atomic_store(&bench->shim->without_gcm, true);
    atomic_store(&bench->shim->key_wrap, true);
    bench->keymanager = open_hsm(&bench->options);
    assert_int_equal(secret_random(&material, 32), STATUS_OK);
    bench->root_key = create(bench->keymanager, &material);
    bench->binding = (struct wrap_binding){.root_key = bench->root_key};
    assert_check_says(bench, STATUS_OK, "wraps by AES key wrap");
    unsigned before = calls(bench, SHIM_Encrypt);
    assert_int_equal(wrap(bench, &bench->blob), STATUS_OK);
    assert_int_equal(calls(bench, SHIM_Encrypt), before);
    assert_true(opens_by_key_wrap(&bench->blob, secret_bytes(&material),
                                  secret_bytes(&bench->plaintext)));
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
    atomic_store(&bench->shim->key_wrap, false);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
    bench->blob.data[64 + 20] ^= 1;
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_UNWRAP_FAILED);
    atomic_store(&bench->shim->key_wrap, true);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_UNWRAP_FAILED);
    secret_free(&material);
}

static void test_ivs_of_the_token(void **state)
{
    struct bench *bench = bench_of(state);
    struct envelope envelope;
    static const uint8_t zeros[12];
    atomic_store(&bench->shim->own_iv, true);
    (void)ready(state);
    assert_check_says(bench, STATUS_OK, "wraps by AES-GCM with IVs of the token");
    assert_int_equal(envelope_read(buffer_bytes(&bench->blob), NULL, &envelope), STATUS_OK);
    assert_int_equal(envelope.wrapped_key.data[0], 1);
    assert_memory_not_equal(envelope.wrapped_key.data + 8, zeros, sizeof(zeros));
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
}

/* A wrong tag is the blob's fault, whatever the token calls it; a broken token is not the blob's. */
static void test_general_errors_are_told_apart(void **state)
{
    struct bench *bench = ready(state);
    bench->blob.data[64 + 30] ^= 1;
    unsigned before = calls(bench, SHIM_Login);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_UNWRAP_FAILED);
    assert_int_equal(calls(bench, SHIM_Login), before); /* no new connection for that */
    bench->blob.data[64 + 30] ^= 1;
    arm(bench, SHIM_Decrypt, CKR_GENERAL_ERROR, 0, LONG_MAX);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_KEY_MANAGER_UNAVAILABLE);
    disarm(bench);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
}

/* Somebody puts a key into the token that looks like the next version and can be taken out. */
static void test_extractable_key_is_not_ours(void **state)
{
    struct bench *bench = ready(state);
    struct ck_function_list *functions = softhsm_functions();
    char id[UUID_TEXT_LENGTH + 1], label[64];
    uint8_t key_id[36] = {0}, value[32] = {1};
    unsigned char yes = 1, no = 0;
    ck_object_class_t class = CKO_SECRET_KEY;
    ck_key_type_t type = CKK_AES;
    ck_slot_id_t slots[8];
    ck_session_handle_t session;
    ck_object_handle_t key;
    unsigned long count = 8;
    uuid_text(&bench->root_key, id);
    (void)snprintf(label, sizeof(label), "kmipd-%s-v2", id);
    memcpy(key_id, &bench->root_key, UUID_SIZE);
    key_id[19] = 2;
    struct ck_attribute template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_LABEL, label, strlen(label)},  {CKA_ID, key_id, sizeof(key_id)},
        {CKA_TOKEN, &yes, 1},               {CKA_SENSITIVE, &no, 1},
        {CKA_EXTRACTABLE, &yes, 1},         {CKA_ENCRYPT, &yes, 1},
        {CKA_VALUE, value, sizeof(value)},
    };
    assert_int_equal(functions->C_GetSlotList(1, slots, &count), CKR_OK);
    assert_int_equal(functions->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
                                              NULL, &session),
                     CKR_OK);
    assert_int_equal(functions->C_CreateObject(session, template, ARRAY_COUNT(template), &key),
                     CKR_OK);
    assert_int_equal(info_of(bench).version, 1);
    assert_int_equal(rotate(bench, 1), STATUS_OK);
    assert_int_equal(info_of(bench).version, 2);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
}

/* ---- pkcs11-spy ---- */

/* What it leaks itself is not ours. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:pkcs11-spy";
}

static char *read_text(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    size_t size = 0, room = (size_t)1 << 22;
    char *text = malloc(room);
    for (ssize_t got; (got = read(file, text + size, room - 1 - size)) > 0;)
        size += (size_t)got;
    text[size] = '\0';
    (void)close(file);
    return text;
}

/* The calls that make objects: those of keys must say both, and no extractable one is there. */
static unsigned count_key_makers(char *log)
{
    static const char *const makers[] = {": C_GenerateKey\n", ": C_CreateObject\n",
                                         ": C_UnwrapKey\n", ": C_CopyObject\n",
                                         ": C_DeriveKey\n"};
    unsigned count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(makers); i++) {
        for (char *at = log; (at = strstr(at, makers[i])) != NULL;) {
            char *end = strstr(at, "Returned:");
            assert_non_null(end);
            char *call = strndup(at, (size_t)(end - at));
            if (strstr(call, "CKO_DATA") == NULL) {
                count++;
                assert_non_null(strstr(call, "CKA_SENSITIVE         True"));
                assert_non_null(strstr(call, "CKA_EXTRACTABLE       False"));
            }
            free(call);
            at = end;
        }
    }
    return count;
}

static void test_spied_on(void **state)
{
    struct bench *bench = bench_of(state);
    char log[96];
    if (access(SPY, R_OK) != 0) {
        (void)fprintf(stderr, "# SKIPPED: pkcs11-spy is not installed (package opensc-pkcs11)\n");
        skip();
    }
    (void)snprintf(log, sizeof(log), "%s/spy.log", bench->softhsm->directory);
    (void)setenv("PKCS11SPY", bench->options.module, 1);
    (void)setenv("PKCS11SPY_OUTPUT", log, 1);
    bench->options.module = SPY;
    (void)ready(state);
    assert_int_equal(do_act(bench, ROTATE), STATUS_OK);
    assert_int_equal(do_act(bench, REWRAP), STATUS_OK);
    assert_int_equal(unwrap(bench, &bench->blob), STATUS_OK);
    wished = new_id();
    assert_int_equal(do_act(bench, IMPORT), STATUS_OK);
    wished = new_id();
    atomic_store(&bench->shim->without_import, true);
    assert_int_equal(do_act(bench, IMPORT), STATUS_OK);
    assert_int_equal(do_act(bench, SUSPEND), STATUS_OK);
    assert_int_equal(do_act(bench, DELETE), STATUS_OK);
    assert_int_equal(do_act(bench, PURGE), STATUS_OK);
    keymanager_close(bench->keymanager);
    bench->keymanager = NULL;
    char *text = read_text(log);
    /* Two versions; one import; one that was refused, a transport key, and what it brought in. */
    assert_int_equal(count_key_makers(text), 6);
    assert_null(strstr(text, "C_WrapKey"));
    assert_null(strstr(text, "CKA_EXTRACTABLE       True"));
    free(text);
}

static int group_set_up(void **state)
{
    (void)state;
    struct error error;
    return secret_heap_init(1 << 22, &error) == STATUS_OK ? 0 : -1;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_losses_are_made_good),
        TEST(test_sessions_closed_by_the_token),
        TEST(test_token_in_another_slot),
        TEST(test_token_removed_and_back),
        TEST(test_absent_token_is_left_alone),
        TEST(test_token_that_comes_later),
        TEST(test_wrong_label),
        TEST(test_pool_is_bounded),
        TEST(test_token_with_few_sessions),
        TEST(test_losses_under_load),
        TEST(test_wrong_pin_is_tried_once),
        TEST(test_pin_changed_meanwhile),
        TEST(test_last_try_is_not_taken),
        TEST(test_options),
        TEST(test_dead_at_any_call),
        TEST(test_one_hiccup_at_any_call),
        TEST(test_one_lost_answer_at_any_call),
        TEST(test_rotations_at_once),
        TEST(test_two_processes),
        TEST(test_purged_elsewhere),
        TEST(test_key_wrap_is_the_standards),
        TEST(test_key_wrap_of_the_token),
        TEST(test_ivs_of_the_token),
        TEST(test_general_errors_are_told_apart),
        TEST(test_extractable_key_is_not_ours),
        TEST(test_spied_on),
    };
    return cmocka_run_group_tests(tests, group_set_up, NULL);
}
