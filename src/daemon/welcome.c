/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/welcome.h"

#include <stdlib.h>
#include <unistd.h>

#include "daemon/certificates.h"

/* How headings stand out on a terminal; empty elsewhere. */
struct style {
    const char *bold;
    const char *plain;
};

static struct style style_of(FILE *file)
{
    const char *terminal = getenv("TERM");
    bool shows = isatty(fileno(file)) && terminal != NULL && strcmp(terminal, "dumb") != 0 &&
                 getenv("NO_COLOR") == NULL;
    return shows ? (struct style){"\033[1m", "\033[0m"} : (struct style){"", ""};
}

void welcome_kmipctl(const struct daemon *daemon, char *ret_command, size_t size)
{
    char path[PATH_MAX] = "", program[PATH_MAX + 16] = "kmipctl";
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash = length > 0 ? strrchr(path, '/') : NULL;
    if (slash != NULL) {
        *slash = '\0';
        bool installed = strcmp(path, "/usr/bin") == 0 || strcmp(path, "/usr/sbin") == 0 ||
                         strcmp(path, "/usr/local/bin") == 0;
        if (!installed)
            (void)snprintf(program, sizeof(program), "%s/kmipctl", path);
    }
    if (strcmp(daemon->state.directory, "/var/lib/kmipd") == 0)
        (void)snprintf(ret_command, size, "%s", program);
    else
        (void)snprintf(ret_command, size, "%s --state %s", program, daemon->state.directory);
}

static void print_fingerprints(FILE *file, const struct pki_description *server)
{
    char sha256[PKI_FINGERPRINT_TEXT_MAX], sha1[PKI_FINGERPRINT_TEXT_MAX];
    char date[PKI_TIME_TEXT_MAX];
    pki_fingerprint_text(bytes_of(server->sha256, sizeof(server->sha256)), sha256);
    pki_fingerprint_text(bytes_of(server->sha1, sizeof(server->sha1)), sha1);
    pki_time_text(server->not_after, date);
    fprintf(file, "  Server certificate  %s, valid until %.10s; vCenter shows its SHA-1\n",
            server->key, date);
    /* The 32 pairs of SHA-256 are too long for a line beside the label. */
    fprintf(file, "    SHA-1             %s\n", sha1);
    fprintf(file, "    SHA-256           %.48s\n", sha256);
    fprintf(file, "                      %s\n", sha256 + 48);
}

static bool is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0;
}

static void print_where(const struct daemon *daemon, FILE *file, struct style style)
{
    const char *listen = daemon->config.network_listen;
    const char *colon = strrchr(listen, ':');
    fprintf(file, "\n%skmipd %s serves KMIP%s\n\n", style.bold, KMIPD_VERSION, style.plain);
    fprintf(file, "  Address             %.*s%s\n", (int)(colon - listen), listen,
            is_loopback(listen) ? "  (this machine only: see below)" : "");
    fprintf(file, "  Port                %u\n", net_port(daemon->net));
    fprintf(file, "  State               %s\n", daemon->state.directory);
}

/* The only time that the API key is seen. */
static void print_api_key(const struct daemon *daemon, FILE *file, bool logged)
{
    struct bytes key = secret_bytes(&daemon->first_api_key);
    if (logged) {
        fputs("  API key             not shown where it would be kept in a log; make one with\n"
              "                      kmipctl api-key create admin NAME\n",
              file);
        return;
    }
    fprintf(file, "  API key             %.*s\n", (int)key.size, (const char *)key.data);
    fputs("    It may do everything, and is shown this once: keep it in a safe place.\n", file);
}

static void print_administration(const struct daemon *daemon, FILE *file, struct style style,
                                 bool logged)
{
    char instance[UUID_TEXT_LENGTH + 1];
    if (daemon->first_api_key.size == 0)
        return;
    uuid_text(&daemon->api_context.instance, instance);
    fprintf(file, "\n%sAdministration API%s (IBM Key Protect's, and kmipctl --url)\n\n", style.bold,
            style.plain);
    fprintf(file, "  URL                 %s\n",
            daemon->admin != NULL ? daemon->issuer : "none: [admin] enabled = no");
    fprintf(file, "  Instance            %s\n", instance);
    print_api_key(daemon, file, logged);
}

static void print_vcenter(const struct daemon *daemon, FILE *file, struct style style)
{
    char kmipctl[2 * PATH_MAX];
    welcome_kmipctl(daemon, kmipctl, sizeof(kmipctl));
    fprintf(file,
            "\n%sAdd it to vCenter%s\n\n"
            "  1. vSphere Client: the vCenter Server > Configure > Security > Key Providers >\n"
            "     Add > Add Standard Key Provider. Give it a name, and this address and port;\n"
            "     no proxy, no user name. Add Key Provider.\n"
            "  2. vCenter shows the server certificate: compare the thumbprint, then Trust.\n"
            "  3. Choose the key server below the provider > Establish Trust > Make KMS trust\n"
            "     vCenter > vCenter Certificate. Copy what it shows, let it in, and paste it:\n\n"
            "       %s cert add\n\n"
            "     Or choose New Certificate Signing Request, download it, have it signed with\n"
            "       %s cert sign vcenter.csr --out vcenter.pem\n"
            "     and upload vcenter.pem. Or choose KMS certificate and private key, and upload\n"
            "       %s\n"
            "       %s\n"
            "  4. The provider shows Connected at the next refresh. Nothing is restarted.\n",
            style.bold, style.plain, kmipctl, kmipctl,
            state_path(&daemon->state, STATE_CLIENT_CERTIFICATE),
            state_path(&daemon->state, STATE_CLIENT_KEY));
}

static void print_cautions(const struct daemon *daemon, FILE *file, struct style style)
{
    bool key_file = daemon->config.keys_sealing == CONFIG_SEALING_KEY_FILE;
    bool loopback = is_loopback(daemon->config.network_listen);
    fprintf(file, "\n%sBefore you rely on it%s\n\n", style.bold, style.plain);
    if (loopback)
        fputs("  * Other machines cannot reach this address: start it with --listen 0.0.0.0:5696.\n",
              file);
    if (key_file)
        fputs("  * WARNING: the root keys are sealed under a key file that lies beside them. Who\n"
              "    copies the state directory has every key. Use sealing = credential or\n"
              "    passphrase-file: docs/administration.md, \"Sealing\".\n",
              file);
    fputs("  * Back up the state directory, and keep its copy as safe as the keys themselves.\n"
          "  * Encrypt neither vCenter nor what this machine boots from with keys from here.\n\n",
          file);
}

void welcome_print(struct daemon *daemon, FILE *file, bool logged)
{
    struct pki_description server;
    struct error error = {0};
    struct style style = style_of(file);
    if (daemon->first_start) {
        print_where(daemon, file, style);
        if (certificates_describe_server(&daemon->state, &server, &error) == STATUS_OK)
            print_fingerprints(file, &server);
    }
    print_administration(daemon, file, style, logged);
    if (daemon->first_start) {
        print_vcenter(daemon, file, style);
        print_cautions(daemon, file, style);
    }
    (void)fflush(file);
    secret_free(&daemon->first_api_key);
}
