/* SPDX-License-Identifier: Apache-2.0 */
/* The load generator: opens its connections, then works slice by slice as slice.h tells. */
#include <arpa/inet.h>
#include <err.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "client.h"

struct load {
    struct client_options client;
    const char *address;
    const char *certificate;
    const char *key;
    const char *groups;
    const char *ids_path;
    const char *new_ids_path;
    long port;
    int tls_version; /* 0: whatever both sides like best */
};

static void fail_tls(const char *what)
{
    ERR_print_errors_fp(stderr);
    errx(EXIT_FAILURE, "%s", what);
}

static SSL_CTX *tls_new(const struct load *load)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

    if (tls == NULL || SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) != 1 ||
        SSL_CTX_use_certificate_chain_file(tls, load->certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, load->key, SSL_FILETYPE_PEM) != 1)
        fail_tls("cannot set up TLS");
    if (load->groups != NULL && SSL_CTX_set1_groups_list(tls, load->groups) != 1)
        fail_tls("unknown group");
    if (load->tls_version != 0 && (SSL_CTX_set_min_proto_version(tls, load->tls_version) != 1 ||
                                   SSL_CTX_set_max_proto_version(tls, load->tls_version) != 1))
        fail_tls("TLS version not supported");
    client_prepare_tls(tls);
    return tls;
}

/* One identifier a line, all of one length, which keeps every request the same size. */
static void read_ids(struct client_ids *ret_ids, const char *path)
{
    FILE *file = fopen(path, "r");
    char line[MESSAGE_ID_MAX + 2];
    size_t capacity = 0;

    if (file == NULL)
        err(EXIT_FAILURE, "%s", path);
    while (fgets(line, sizeof line, file) != NULL) {
        size_t length = strcspn(line, "\n");

        if (ret_ids->count == 0)
            ret_ids->length = length;
        if (length == 0 || length != ret_ids->length || length > MESSAGE_ID_MAX)
            errx(EXIT_FAILURE, "%s: line %zu: identifiers must have one length, 1 to %d", path,
                 ret_ids->count + 1, MESSAGE_ID_MAX);
        if ((ret_ids->count + 1) * length > capacity) {
            capacity = 2 * capacity + 4096;
            ret_ids->text = realloc(ret_ids->text, capacity);
            if (ret_ids->text == NULL)
                errx(EXIT_FAILURE, "out of memory");
        }
        memcpy(ret_ids->text + ret_ids->count++ * length, line, length);
    }
    fclose(file);
}

static void report(const struct client *client, const struct slice *slice)
{
    const struct client_negotiated *n = client_negotiated(client);
    char more[256];

    snprintf(more, sizeof more,
             "\"protocol\": \"%s\", \"cipher\": \"%s\", \"group\": \"%s\", \"answer\": %zu, ",
             n->protocol, n->cipher, n->group, client_answer_length(client));
    slice_report(slice, more);
}

static const char usage[] =
    "usage: load --port N --certificate PEM --key PEM [--address A] [--operation OP] [--ids FILE]\n"
    "            [--new-ids FILE] [--connections N] [--depth N] [--opening N] [--connect]\n"
    "            [--bare] [--resume] [--tls 1.2|1.3] [--groups LIST] [--sources N] [--in-order]\n"
    "OP: get (needs --ids), create, discover. --connect: connect, Discover Versions, OP, close,\n"
    "over and over, instead of kept connections; --bare: connect and close. --sources: local "
    "addresses to connect from.\n"
    "Get takes identifiers at random, or in the order of the file.\n"
    "Reads \"run MILLISECONDS\" and \"count N\" from standard input, reports in JSON.\n";

static enum message_operation operation_named(const char *name)
{
    static const struct {
        const char *name;
        enum message_operation operation;
    } known[] = {
        {"create", MESSAGE_CREATE},
        {"discover", MESSAGE_DISCOVER_VERSIONS},
        {"get", MESSAGE_GET},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i) {
        if (strcmp(name, known[i].name) == 0)
            return known[i].operation;
    }
    errx(EXIT_FAILURE, "no operation \"%s\"", name);
}

static int tls_version_named(const char *name)
{
    if (strcmp(name, "1.2") == 0)
        return TLS1_2_VERSION;
    if (strcmp(name, "1.3") == 0)
        return TLS1_3_VERSION;
    errx(EXIT_FAILURE, "no TLS version \"%s\": 1.2 or 1.3", name);
}

static void set_option(struct load *load, int which, const char *value)
{
    struct client_options *client = &load->client;

    switch (which) {
    case 'a':
        load->address = value;
        break;
    case 'c':
        load->certificate = value;
        break;
    case 'k':
        load->key = value;
        break;
    case 'g':
        load->groups = value;
        break;
    case 'i':
        load->ids_path = value;
        break;
    case 'n':
        load->new_ids_path = value;
        break;
    case 'p':
        load->port = slice_number(value, 1, UINT16_MAX);
        break;
    case 't':
        load->tls_version = tls_version_named(value);
        break;
    case 'o':
        client->operation = operation_named(value);
        break;
    case 'N':
        client->connections = (unsigned)slice_number(value, 1, 1000000);
        break;
    case 'd':
        client->depth = (unsigned)slice_number(value, 1, CLIENT_DEPTH_MAX);
        break;
    case 'O':
        client->opening = (unsigned)slice_number(value, 1, 4096);
        break;
    case 's':
        client->sources = (unsigned)slice_number(value, 1, 65536);
        break;
    case 'B':
        client->bare = true;
        client->connect_each = true;
        break;
    case 'C':
        client->connect_each = true;
        break;
    case 'I':
        client->in_order = true;
        break;
    case 'r':
        client->resume = true;
        break;
    default:
        fputs(usage, stderr);
        exit(EXIT_FAILURE);
    }
}

static void parse_options(struct load *load, int argc, char **argv)
{
    static const struct option known[] = {
        {"address", required_argument, NULL, 'a'},
        {"certificate", required_argument, NULL, 'c'},
        {"bare", no_argument, NULL, 'B'},
        {"connect", no_argument, NULL, 'C'},
        {"connections", required_argument, NULL, 'N'},
        {"depth", required_argument, NULL, 'd'},
        {"groups", required_argument, NULL, 'g'},
        {"in-order", no_argument, NULL, 'I'},
        {"ids", required_argument, NULL, 'i'},
        {"key", required_argument, NULL, 'k'},
        {"new-ids", required_argument, NULL, 'n'},
        {"opening", required_argument, NULL, 'O'},
        {"operation", required_argument, NULL, 'o'},
        {"port", required_argument, NULL, 'p'},
        {"resume", no_argument, NULL, 'r'},
        {"sources", required_argument, NULL, 's'},
        {"tls", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    int which;

    while ((which = getopt_long(argc, argv, "", known, NULL)) != -1)
        set_option(load, which, optarg);
    if (optind != argc || load->certificate == NULL || load->key == NULL || load->port == 0 ||
        (load->client.operation == MESSAGE_GET && load->ids_path == NULL))
        set_option(load, '?', NULL);
}

static void prepare(struct load *load)
{
    struct sockaddr_in *server = &load->client.server;

    server->sin_family = AF_INET;
    server->sin_port = htons((uint16_t)load->port);
    if (inet_pton(AF_INET, load->address, &server->sin_addr) != 1)
        errx(EXIT_FAILURE, "%s is not an IPv4 address", load->address);
    if (load->ids_path != NULL)
        read_ids(&load->client.ids, load->ids_path);
    if (load->client.operation == MESSAGE_GET && load->client.ids.count == 0)
        errx(EXIT_FAILURE, "%s: no identifiers", load->ids_path);
    if (load->new_ids_path != NULL) {
        load->client.new_ids = fopen(load->new_ids_path, "a");
        if (load->client.new_ids == NULL)
            err(EXIT_FAILURE, "%s", load->new_ids_path);
    }
}

static void work(struct load *load, struct client *client)
{
    static struct slice slice;
    struct slice_limits limits;

    if (!load->client.connect_each) {
        client_open_all(client, &slice);
        report(client, &slice);
    }
    while (slice_next(&limits)) {
        client_run(client, &limits, &slice);
        if (load->client.new_ids != NULL)
            fflush(load->client.new_ids);
        report(client, &slice);
    }
}

int main(int argc, char **argv)
{
    struct load load = {
        .address = "127.0.0.1",
        .client =
            {.sources = 1, .connections = 1, .depth = 1, .opening = 32, .operation = MESSAGE_GET},
    };
    struct client *client;
    SSL_CTX *tls;
    bool written = true;

    parse_options(&load, argc, argv);
    prepare(&load);
    signal(SIGPIPE, SIG_IGN);
    tls = tls_new(&load);
    client = client_new(&load.client, tls);
    if (client == NULL)
        errx(EXIT_FAILURE, "out of memory");
    work(&load, client);
    client_free(client);
    SSL_CTX_free(tls);
    free(load.client.ids.text);
    if (load.client.new_ids != NULL)
        written = fclose(load.client.new_ids) == 0;
    return written ? EXIT_SUCCESS : EXIT_FAILURE;
}
