/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing with a TPM 2.0: against swtpm, each test with machines of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>
#include <unistd.h>

#include "base/file.h"
#include "keymanager/sealed_file.h"

#define SWTPM "/usr/bin/swtpm"
#define NOW   INT64_C(1700000000000)

extern char **environ;

/* ---- A TPM ---- */

struct chip {
    char directory[64];
    char tcti[64];
    int port; /* and the next one for control */
    pid_t process;
};

static bool is_free(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int yes = 1;
    int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    bool bound = bind(probe, (const struct sockaddr *)&address, sizeof(address)) == 0;
    (void)close(probe);
    return bound;
}

/* Two in a row, below those that the system gives out for outgoing connections. */
static int choose_port(void)
{
    static unsigned next;
    for (;;) {
        int port = 10000 + (int)(((unsigned)getpid() * 64 + 2 * next++) % 20000);
        if (is_free(port) && is_free(port + 1))
            return port;
    }
}

static void pause_briefly(void)
{
    const struct timespec while_waiting = {0, 10000000};
    (void)nanosleep(&while_waiting, NULL);
}

static bool answers(const struct chip *chip)
{
    TSS2_TCTI_CONTEXT *tcti = NULL;
    if (Tss2_TctiLdr_Initialize(chip->tcti, &tcti) != TSS2_RC_SUCCESS)
        return false;
    Tss2_TctiLdr_Finalize(&tcti);
    return true;
}

static bool spawn(struct chip *chip)
{
    char server[64], control[64], state[96];
    (void)snprintf(server, sizeof(server), "type=tcp,port=%d,bindaddr=127.0.0.1", chip->port);
    (void)snprintf(control, sizeof(control), "type=tcp,port=%d,bindaddr=127.0.0.1",
                   chip->port + 1);
    (void)snprintf(state, sizeof(state), "dir=%s", chip->directory);
    const char *arguments[] = {"swtpm",    "socket", "--tpm2",     "--server", server,
                               "--ctrl",   control,  "--tpmstate", state,      "--flags",
                               "not-need-init,startup-clear", NULL};
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    bool good = posix_spawn(&chip->process, SWTPM, &actions, NULL,
                            (char *const *)(uintptr_t)arguments, environ) == 0;
    (void)posix_spawn_file_actions_destroy(&actions);
    return good;
}

static void power_off(struct chip *chip)
{
    if (chip->process > 0) {
        (void)kill(chip->process, SIGTERM);
        (void)waitpid(chip->process, NULL, 0);
    }
    chip->process = 0;
}

/* What is sealed stays: it is in the file and in the seed; PCRs begin anew. */
static void power_on(struct chip *chip)
{
    for (int attempt = 0; attempt < 5; attempt++) {
        chip->port = choose_port();
        (void)snprintf(chip->tcti, sizeof(chip->tcti), "swtpm:host=127.0.0.1,port=%d", chip->port);
        assert_true(spawn(chip));
        for (int i = 0; i < 500 && waitpid(chip->process, NULL, WNOHANG) == 0; i++) {
            if (answers(chip))
                return;
            pause_briefly();
        }
        power_off(chip);
    }
    fail_msg("swtpm does not start");
}

static struct chip *chip_new(void)
{
    struct chip *chip = calloc(1, sizeof(*chip));
    strcpy(chip->directory, "/tmp/kmipd-test-XXXXXX");
    assert_non_null(mkdtemp(chip->directory));
    power_on(chip);
    return chip;
}

static int remove_one(const char *path, const struct stat *stat_of, int type, struct FTW *place)
{
    (void)stat_of;
    (void)type;
    (void)place;
    return remove(path);
}

static void chip_free(struct chip *chip)
{
    power_off(chip);
    (void)nftw(chip->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(chip);
}

/* Something else was booted. */
static void extend(const struct chip *chip, unsigned pcr)
{
    TSS2_TCTI_CONTEXT *tcti = NULL;
    ESYS_CONTEXT *esys = NULL;
    const TPML_DIGEST_VALUES digests = {.count = 1, .digests = {{.hashAlg = TPM2_ALG_SHA256}}};
    assert_int_equal(Tss2_TctiLdr_Initialize(chip->tcti, &tcti), TSS2_RC_SUCCESS);
    assert_int_equal(Esys_Initialize(&esys, tcti, NULL), TSS2_RC_SUCCESS);
    assert_int_equal(Esys_PCR_Extend(esys, ESYS_TR_PCR0 + pcr, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                     ESYS_TR_NONE, &digests),
                     TSS2_RC_SUCCESS);
    Esys_Finalize(&esys);
    Tss2_TctiLdr_Finalize(&tcti);
}

/* Somebody sets a password for the owner hierarchy. */
static void take_ownership(const struct chip *chip)
{
    TSS2_TCTI_CONTEXT *tcti = NULL;
    ESYS_CONTEXT *esys = NULL;
    const TPM2B_AUTH password = {.size = 4, .buffer = "mine"};
    assert_int_equal(Tss2_TctiLdr_Initialize(chip->tcti, &tcti), TSS2_RC_SUCCESS);
    assert_int_equal(Esys_Initialize(&esys, tcti, NULL), TSS2_RC_SUCCESS);
    assert_int_equal(Esys_HierarchyChangeAuth(esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD,
                                              ESYS_TR_NONE, ESYS_TR_NONE, &password),
                     TSS2_RC_SUCCESS);
    Esys_Finalize(&esys);
    Tss2_TctiLdr_Finalize(&tcti);
}

/* ---- A machine with a sealed file ---- */

struct machine {
    char directory[64];
    char path[96];
    char tpm_path[96];
    char key_path[96];
    struct chip *chip;
    struct sealing sealing;
    struct uuid root_key;
};

static struct sealing sealing_of(const struct machine *machine, const char *pcrs)
{
    return (struct sealing){.method = SEALING_TPM,
                            .path = machine->tpm_path,
                            .tcti = machine->chip->tcti,
                            .pcrs = pcrs};
}

static int set_up(void **state)
{
    if (access(SWTPM, X_OK) != 0) {
        (void)fprintf(stderr, "# SKIPPED: swtpm is not installed (packages swtpm, "
                              "libtss2-tcti-swtpm0)\n");
        *state = NULL;
        return 0;
    }
    struct machine *machine = calloc(1, sizeof(*machine));
    strcpy(machine->directory, "/tmp/kmipd-test-XXXXXX");
    if (mkdtemp(machine->directory) == NULL)
        return -1;
    (void)snprintf(machine->path, sizeof(machine->path), "%s/keys", machine->directory);
    (void)snprintf(machine->tpm_path, sizeof(machine->tpm_path), "%s/tpm", machine->directory);
    (void)snprintf(machine->key_path, sizeof(machine->key_path), "%s/key", machine->directory);
    machine->chip = chip_new();
    machine->sealing = sealing_of(machine, NULL);
    *state = machine;
    return 0;
}

static int tear_down(void **state)
{
    struct machine *machine = *state;
    if (machine == NULL)
        return 0;
    chip_free(machine->chip);
    (void)nftw(machine->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(machine);
    return 0;
}

static struct machine *machine_of(void **state)
{
    if (*state == NULL)
        skip();
    return *state;
}

static struct keymanager *open_with(struct machine *machine, const struct sealing *sealing,
                                    bool create)
{
    struct keymanager *keymanager = NULL;
    struct error error = {0};
    if (sealed_file_open(machine->path, sealing, create, &keymanager, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    return keymanager;
}

static void assert_refused(struct machine *machine, const struct sealing *sealing,
                           enum status status, const char *expected)
{
    struct keymanager *keymanager = NULL;
    struct error error = {0};
    enum status got = sealed_file_open(machine->path, sealing, false, &keymanager, &error);
    if (got != status || strstr(error.text, expected) == NULL)
        fail_msg("%s: %s, without \"%s\"", status_name(got), error_text(&error), expected);
    assert_null(keymanager);
}

static void make(struct machine *machine, const struct sealing *sealing)
{
    struct error error = {0};
    struct keymanager *keymanager = open_with(machine, sealing, true);
    struct root_key_wish wish = {.now = NOW};
    assert_int_equal(uuid_make(NOW, &wish.id), STATUS_OK);
    if (keymanager_create_root_key(keymanager, &wish, &machine->root_key, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    keymanager_close(keymanager);
}

static void assert_opens(struct machine *machine, const struct sealing *sealing)
{
    struct root_key_info info;
    struct keymanager *keymanager = open_with(machine, sealing, false);
    assert_int_equal(keymanager_root_key_info(keymanager, &machine->root_key, &info), STATUS_OK);
    keymanager_close(keymanager);
}

static void reseal(struct machine *machine, const struct sealing *from, const struct sealing *to)
{
    struct error error = {0};
    struct keymanager *keymanager = open_with(machine, from, false);
    if (sealed_file_reseal(keymanager, to, &error) != STATUS_OK)
        fail_msg("%s", error_text(&error));
    keymanager_close(keymanager);
}

/* ---- Tests ---- */

static void test_seals_and_opens(void **state)
{
    struct machine *machine = machine_of(state);
    struct stat stat_of;
    make(machine, &machine->sealing);
    assert_int_equal(stat(machine->tpm_path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 07777, 0600);
    for (int i = 0; i < 3; i++) /* nothing is left behind in the TPM that would fill it */
        assert_opens(machine, &machine->sealing);
    power_off(machine->chip);
    power_on(machine->chip);
    assert_opens(machine, &machine->sealing);
}

static void test_other_tpm_refuses(void **state)
{
    struct machine *machine = machine_of(state);
    make(machine, &machine->sealing);
    struct chip *other = chip_new();
    struct sealing sealing = machine->sealing;
    sealing.tcti = other->tcti;
    assert_refused(machine, &sealing, STATUS_NOT_AUTHENTICATED,
                   "not the TPM that sealed the root keys");
    chip_free(other);
    assert_opens(machine, &machine->sealing);
}

static void test_changed_pcr_refuses(void **state)
{
    struct machine *machine = machine_of(state);
    const struct sealing sealing = sealing_of(machine, "0,7");
    make(machine, &sealing);
    assert_opens(machine, &sealing);
    extend(machine->chip, 4);
    assert_opens(machine, &sealing);
    extend(machine->chip, 7);
    assert_refused(machine, &sealing, STATUS_NOT_AUTHENTICATED, "PCRs are not as they were");
    power_off(machine->chip); /* booted as before */
    power_on(machine->chip);
    assert_opens(machine, &sealing);
}

static void test_configured_pcrs_must_be_those_sealed_to(void **state)
{
    struct machine *machine = machine_of(state);
    const struct sealing bound = sealing_of(machine, "7,0");
    const struct sealing same = sealing_of(machine, "0,7");
    const struct sealing less = sealing_of(machine, "7");
    make(machine, &bound);
    assert_opens(machine, &same);
    assert_refused(machine, &less, STATUS_NOT_AUTHENTICATED,
                   "sealed to the PCRs 0,7, but the configuration says 7");
    assert_refused(machine, &machine->sealing, STATUS_NOT_AUTHENTICATED,
                   "the configuration says none");
}

static void test_invalid_pcrs(void **state)
{
    static const char *const lists[] = {"24", "-1", "7,", ",7", "7 0", "x", "99999999999999999999"};
    struct machine *machine = machine_of(state);
    make(machine, &machine->sealing);
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        const struct sealing sealing = sealing_of(machine, lists[i]);
        assert_refused(machine, &sealing, STATUS_INVALID_ARGUMENT, "is no list of PCRs");
    }
}

/* From and to a key file, to other PCRs, and to the same ones that have changed. */
static void test_reseal(void **state)
{
    struct machine *machine = machine_of(state);
    const struct sealing by_key = {.method = SEALING_KEY_FILE, .path = machine->key_path};
    const struct sealing bound = sealing_of(machine, "7");
    make(machine, &by_key);
    assert_refused(machine, &machine->sealing, STATUS_NOT_AUTHENTICATED,
                   "is sealed with a key file, but the configuration names a TPM");
    reseal(machine, &by_key, &machine->sealing);
    assert_opens(machine, &machine->sealing);
    reseal(machine, &machine->sealing, &bound);
    assert_opens(machine, &bound);
    reseal(machine, &bound, &by_key);
    assert_opens(machine, &by_key);
    extend(machine->chip, 7);
    reseal(machine, &by_key, &bound);
    assert_opens(machine, &bound);
}

/* The TPM's file is renewed before the sealed file is: whatever comes between, that opens. */
static void test_reseal_that_fails_halfway(void **state)
{
    struct machine *machine = machine_of(state);
    struct error error = {0};
    const struct sealing bound = sealing_of(machine, "7");
    make(machine, &machine->sealing);
    struct keymanager *keymanager = open_with(machine, &machine->sealing, false);
    reseal(machine, &machine->sealing, &machine->sealing); /* so that the first one is too old */
    assert_int_equal(sealed_file_reseal(keymanager, &bound, &error), STATUS_CONFLICT);
    keymanager_close(keymanager);
    assert_opens(machine, &bound);
}

static void test_no_tpm(void **state)
{
    struct machine *machine = machine_of(state);
    make(machine, &machine->sealing);
    power_off(machine->chip);
    assert_refused(machine, &machine->sealing, STATUS_IO, "cannot reach the TPM");
    struct sealing sealing = machine->sealing;
    sealing.tcti = "device:/dev/no-such-tpm";
    assert_refused(machine, &sealing, STATUS_IO, "has this machine a TPM 2.0");
    sealing.tcti = "no-such-kind:x";
    assert_refused(machine, &sealing, STATUS_IO, "cannot reach the TPM");
    sealing.tcti = NULL;
    assert_refused(machine, &sealing, STATUS_INVALID_ARGUMENT, "is not said");
    power_on(machine->chip);
}

static void test_owner_password(void **state)
{
    struct machine *machine = machine_of(state);
    make(machine, &machine->sealing);
    take_ownership(machine->chip);
    assert_refused(machine, &machine->sealing, STATUS_NOT_AUTHENTICATED,
                   "owner hierarchy has a password");
}

static void damage(struct machine *machine, struct bytes file)
{
    int lock;
    assert_int_equal(file_lock(machine->tpm_path, &lock, NULL), STATUS_OK);
    assert_int_equal(file_replace(lock, machine->tpm_path, file, 0600, 0, NULL), STATUS_OK);
    file_unlock(lock);
    assert_refused(machine, &machine->sealing, STATUS_STORE_CORRUPT, "is damaged");
}

/* A bit of every fourth byte of the file, and the file cut off there. */
static void test_damaged_file(void **state)
{
    struct machine *machine = machine_of(state);
    struct buffer file;
    make(machine, &machine->sealing);
    buffer_init(&file, 4096);
    assert_int_equal(file_read(machine->tpm_path, FILE_PRIVATE, &file, NULL), STATUS_OK);
    for (size_t i = 0; i < file.size; i += 4) {
        file.data[i] ^= 1;
        damage(machine, buffer_bytes(&file));
        file.data[i] ^= 1;
        damage(machine, bytes_of(file.data, i));
    }
    buffer_free(&file);
    assert_int_equal(unlink(machine->tpm_path), 0);
    assert_refused(machine, &machine->sealing, STATUS_NOT_FOUND, machine->tpm_path);
}

static int group_set_up(void **state)
{
    (void)state;
    struct error error;
    (void)setenv("TSS2_LOG", "all+NONE", 0);
    return secret_heap_init(1 << 20, &error) == STATUS_OK ? 0 : -1;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_seals_and_opens),
        TEST(test_other_tpm_refuses),
        TEST(test_changed_pcr_refuses),
        TEST(test_configured_pcrs_must_be_those_sealed_to),
        TEST(test_invalid_pcrs),
        TEST(test_reseal),
        TEST(test_reseal_that_fails_halfway),
        TEST(test_no_tpm),
        TEST(test_owner_password),
        TEST(test_damaged_file),
    };
    return cmocka_run_group_tests(tests, group_set_up, NULL);
}
