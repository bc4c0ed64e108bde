/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sim.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/file.h"
#include "sim/datastore.h"
#include "sim/scenarios.h"

enum exit_code { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SKIPPED = 3 };

enum {
    SECURE_HEAP = 128 * 1024, /* the private key, and what a scenario has in hand */
    SECURE_HEAP_HOST = 1024,  /* what each host of a cluster has in hand */
    FILES_HOST = 4,           /* open at once in each host of a cluster */
    PASSWORD_MAX = 1024,
};

static enum exit_code usage(const struct error *error)
{
    (void)fflush(stdout);
    fprintf(stderr, "vsphere-sim: %s\n", error_text(error));
    return EXIT_USAGE;
}

/* ---- Setting up ---- */

/* As much of something as the system lets this user have. What needs it tells if it is too little. */
static void raise_limit(__rlimit_resource_t resource, rlim_t wanted)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(resource, &limit);
}

/* A power of two, as the heap needs. */
static size_t heap_size(long hosts)
{
    size_t wanted = SECURE_HEAP + (size_t)hosts * SECURE_HEAP_HOST;
    size_t size = SECURE_HEAP;
    while (size < wanted)
        size *= 2;
    return size;
}

static enum status protect(long hosts, struct error *error)
{
    (void)signal(SIGPIPE, SIG_IGN);
    raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
    raise_limit(RLIMIT_NOFILE, 256 + (rlim_t)hosts * FILES_HOST);
    enum status status = secret_protect_process(error);
    return status == STATUS_OK ? secret_heap_init(heap_size(hosts), error) : status;
}

static enum status load_credential(struct sim *sim, struct error *error)
{
    struct secret password = {0};
    if (sim->options.user == NULL)
        return STATUS_OK;
    enum status status =
        file_read_secret(sim->options.password_file, FILE_PRIVATE, PASSWORD_MAX, &password, error);
    if (status != STATUS_OK)
        return status;
    size_t length = 0;
    while (length < password.size && password.data[length] != '\n')
        length++;
    status = client_credential_make(sim->options.user, bytes_of(password.data, length),
                                    &sim->credential);
    secret_free(&password);
    return status == STATUS_OK ? status : error_set(error, status, "no memory for a password");
}

static enum status set_up(struct sim *sim, struct error *error)
{
    enum status status = protect(sim->options.hosts, error);
    if (status == STATUS_OK)
        status = datastore_make(sim->options.dir, error);
    if (status == STATUS_OK)
        status = client_identity_load(sim->options.cert, sim->options.key, &sim->identity, error);
    if (status == STATUS_OK)
        status = load_credential(sim, error);
    if (status == STATUS_OK && report_init(&sim->report, stdout, sim->options.json) != STATUS_OK)
        status = error_set(error, STATUS_NO_MEMORY, "no memory for a report");
    return status;
}

static void tear_down(struct sim *sim)
{
    secret_free(&sim->credential);
    client_identity_free(sim->identity);
    report_free(&sim->report);
}

/* ---- Running ---- */

static void print_title(struct sim *sim)
{
    char servers[512] = "";
    char title[1024];
    for (size_t i = 0, length = 0; i < sim->options.server_count && length < sizeof(servers); i++)
        length += (size_t)snprintf(servers + length, sizeof(servers) - length, "%s%s",
                                   i > 0 ? ", " : "", sim->options.servers[i]);
    (void)snprintf(title, sizeof(title), "vsphere-sim %s: key provider %s, datastore %.400s",
                   KMIPD_VERSION, servers, sim->options.dir);
    report_title(&sim->report, title);
}

/* True if the next scenario may run. */
static bool run_scenario(struct sim *sim, const struct sim_scenario *scenario)
{
    unsigned failed = sim->report.failed;
    report_scenario(&sim->report, scenario->name, scenario->text);
    enum status status = scenario->run(sim);
    bool good = status == STATUS_OK && sim->report.failed == failed;
    if (!good && sim->report.failed == failed)
        sim->report.failed++; /* a failure that no step has told */
    report_scenario_end(&sim->report, good);
    return good || !scenario->needed;
}

static bool run_all(struct sim *sim)
{
    bool go_on = true;
    for (size_t i = 0; i < sim_scenario_count && go_on; i++)
        go_on = run_scenario(sim, &sim_scenarios[i]);
    return go_on;
}

static void run_wanted(struct sim *sim)
{
    bool go_on = true;
    for (size_t i = 0; i < sim->options.scenario_count && go_on; i++) {
        const struct sim_scenario *scenario = sim_scenario_find(sim->options.scenarios[i]);
        go_on = scenario != NULL ? run_scenario(sim, scenario) : run_all(sim);
    }
}

static enum exit_code run(struct sim *sim)
{
    struct error error = {0};
    print_title(sim);
    run_wanted(sim);
    enum status status =
        report_finish(&sim->report, sim->options.servers, sim->options.server_count, &error);
    if (status != STATUS_OK)
        return usage(&error);
    if (sim->report.failed > 0)
        return EXIT_FAILED;
    return sim->report.skipped > 0 ? EXIT_SKIPPED : EXIT_GOOD;
}

int sim_main(int count, char **words)
{
    static struct sim sim;
    struct error error = {0};
    if (sim_options_parse(&sim.options, count, words, &error) != STATUS_OK)
        return usage(&error);
    if (sim.options.help) {
        sim_options_help(stdout);
        return EXIT_GOOD;
    }
    if (sim.options.version) {
        puts("vsphere-sim " KMIPD_VERSION);
        return EXIT_GOOD;
    }
    enum exit_code code = set_up(&sim, &error) == STATUS_OK ? run(&sim) : usage(&error);
    tear_down(&sim);
    return code;
}
