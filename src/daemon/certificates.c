/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/certificates.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "daemon/names.h"

#define DAY_MILLISECONDS INT64_C(86400000)
#define WARNING_DAYS     30

/* ---- The authority ---- */

void certificates_free_authority(struct pki_authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
    *authority = (struct pki_authority){0};
}

static const char *explain_missing_authority(enum status status)
{
    return status == STATUS_NOT_FOUND
               ? "; put it back from a backup, or have certificates signed elsewhere and use "
                 "kmipctl cert add"
               : "";
}

enum status certificates_read_authority(const struct state *state,
                                        struct pki_authority *ret_authority, struct error *error)
{
    struct pki_authority authority = {0};
    struct error cause = {0};
    enum status status =
        pki_certificate_read(state_path(state, STATE_CA_CERTIFICATE), &authority.certificate, &cause);
    if (status == STATUS_OK)
        status = pki_key_read(state_path(state, STATE_CA_KEY), &authority.key, &cause);
    if (status != STATUS_OK) {
        certificates_free_authority(&authority);
        return error_set(error, status, "%.400s%s", error_text(&cause),
                         explain_missing_authority(status));
    }
    *ret_authority = authority;
    return STATUS_OK;
}

static enum pki_key_kind key_kind(const struct config *config)
{
    return config->server_certificate_algorithm == CONFIG_ECDSA_P256 ? PKI_KEY_ECDSA_P256
                                                                     : PKI_KEY_RSA_3072;
}

static enum status no_key(enum status status, struct error *error)
{
    return error_set(error, status, "cannot make a key: %s", status_text(status));
}

static unsigned validity_days(const struct config *config)
{
    return (unsigned)(config->server_certificate_validity / DAY_MILLISECONDS);
}

/* The key is written before the certificate: a certificate that is there has its key. */
static enum status make_authority(const struct config *config, const struct state *state,
                                  int64_t now, struct error *error)
{
    static const char name_format[] = "kmipd authority %.40s";
    char host[65] = "", name[64];
    struct pki_authority authority = {0};
    (void)gethostname(host, sizeof(host) - 1);
    (void)snprintf(name, sizeof(name), name_format, host);
    enum status status = pki_key_make(key_kind(config), &authority.key);
    if (status != STATUS_OK)
        return no_key(status, error);
    status = pki_make_authority(authority.key, name, now, &authority.certificate, error);
    if (status == STATUS_OK)
        status = pki_key_write(state_path(state, STATE_CA_KEY), authority.key, 0, error);
    if (status == STATUS_OK)
        status = pki_certificate_write(state_path(state, STATE_CA_CERTIFICATE),
                                       &authority.certificate, 1, 0, error);
    certificates_free_authority(&authority);
    return status;
}

/* ---- The server certificate ---- */

static enum status server_key(const struct config *config, const struct state *state,
                              EVP_PKEY **ret_key, struct error *error)
{
    const char *path = state_path(state, STATE_SERVER_KEY);
    if (file_exists(path))
        return pki_key_read(path, ret_key, error);
    enum status status = pki_key_make(key_kind(config), ret_key);
    if (status != STATUS_OK)
        return no_key(status, error);
    return pki_key_write(path, *ret_key, 0, error);
}

static enum status issue_server(const struct config *config, const struct state *state,
                                const struct pki_authority *authority, EVP_PKEY *key, int64_t now,
                                struct error *error)
{
    struct names names;
    X509 *certificate = NULL;
    names_collect(config->network_listen, config->server_names, &names);
    enum status status = pki_issue_server(authority, key, names.list, names.count, now,
                                          &certificate, error);
    if (status == STATUS_OK)
        status = pki_certificate_write(state_path(state, STATE_SERVER_CERTIFICATE), &certificate, 1,
                                       0, error);
    X509_free(certificate);
    return status;
}

static enum status make_server(const struct config *config, const struct state *state, int64_t now,
                               struct error *error)
{
    struct pki_authority authority = {0};
    EVP_PKEY *key = NULL;
    enum status status = certificates_read_authority(state, &authority, error);
    if (status != STATUS_OK)
        return status;
    authority.days = validity_days(config);
    status = server_key(config, state, &key, error);
    if (status == STATUS_OK)
        status = issue_server(config, state, &authority, key, now, error);
    EVP_PKEY_free(key);
    certificates_free_authority(&authority);
    return status;
}

enum status certificates_make(const struct config *config, const struct state *state, int64_t now,
                              bool *ret_made, struct error *error)
{
    enum status status = STATUS_OK;
    *ret_made = false;
    if (!state->complete && !file_exists(state_path(state, STATE_CA_CERTIFICATE)))
        status = make_authority(config, state, now, error);
    if (status != STATUS_OK || file_exists(state_path(state, STATE_SERVER_CERTIFICATE)))
        return status;
    status = make_server(config, state, now, error);
    *ret_made = status == STATUS_OK;
    return status;
}

enum status certificates_describe_server(const struct state *state,
                                         struct pki_description *ret_description,
                                         struct error *error)
{
    X509 *certificate = NULL;
    const char *path = state_path(state, STATE_SERVER_CERTIFICATE);
    enum status status = pki_certificate_read_first(path, &certificate, error);
    if (status != STATUS_OK)
        return status;
    status = pki_describe(certificate, ret_description);
    X509_free(certificate);
    return status == STATUS_OK ? STATUS_OK
                               : error_set(error, status, "%.300s: %s", path, status_text(status));
}

/* ---- Warnings ---- */

bool certificates_explain(const struct state *state, int64_t now, struct error *ret_warning)
{
    struct pki_description server;
    struct error error = {0};
    char date[PKI_TIME_TEXT_MAX];
    if (certificates_describe_server(state, &server, &error) != STATUS_OK) {
        (void)error_set(ret_warning, error.status, "%s", error_text(&error));
        return true;
    }
    if (now < server.not_before) {
        pki_time_text(server.not_before, date);
        (void)error_set(ret_warning, STATUS_INVALID_ARGUMENT,
                        "the server certificate is not valid before %s: set this machine's clock "
                        "right", date);
        return true;
    }
    if (now < server.not_after - WARNING_DAYS * DAY_MILLISECONDS)
        return false;
    pki_time_text(server.not_after, date);
    (void)error_set(ret_warning, STATUS_INVALID_ARGUMENT,
                    "the server certificate %s on %s: delete %.200s and send kmipd SIGHUP for a "
                    "new one with the same key (or put in one of your own authority), then make "
                    "vCenter trust it again",
                    now > server.not_after ? "has expired" : "expires", date,
                    state_path(state, STATE_SERVER_CERTIFICATE));
    return true;
}

void certificates_report(const struct state *state, int64_t now)
{
    struct error warning = {0};
    if (certificates_explain(state, now, &warning))
        log_warning("certificate %s", error_text(&warning));
}
