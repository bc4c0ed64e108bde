/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/setup.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "daemon/certificates.h"
#include "daemon/key_managers.h"

#define DAY_MILLISECONDS 86400000

enum status setup_certificates(struct daemon *daemon, struct error *error)
{
    bool made;
    enum status status = certificates_make(&daemon->config, &daemon->state,
                                           clock_now(&daemon->clock), &made, error);
    if (status == STATUS_OK && made && !daemon->first_start)
        log_notice("certificate a new server certificate was made: make vCenter trust it again");
    return status;
}

/* ---- The adapter ---- */

static enum status failed(struct error *error, enum status status, const char *what)
{
    if (status == STATUS_OK)
        return STATUS_OK;
    return error_set(error, status, "cannot %s: %s", what, status_text(status));
}

/* A start that was killed between the two leaves a root key that nobody uses, and no harm. */
static enum status make_adapter(struct daemon *daemon, struct adapter_row *row, struct error *error)
{
    *row = (struct adapter_row){.created = clock_now(&daemon->clock),
                                .name = SETUP_ADAPTER,
                                .description = "made by the first start",
                                .key_manager = key_managers_default(&daemon->config)};
    enum status status = uuid_make(row->created, &row->uuid);
    if (status != STATUS_OK)
        return failed(error, status, "make an adapter");
    status = key_managers_root_key_for(daemon, row->key_manager, row->name, &row->root_key, error);
    if (status != STATUS_OK)
        return status;
    return failed(error, store_adapter_insert(daemon->store, row), "make an adapter");
}

/* ---- The client certificate ---- */

static enum status write_client(const struct state *state, EVP_PKEY *key, X509 *certificate,
                                struct error *error)
{
    enum status status = pki_key_write(state_path(state, STATE_CLIENT_KEY), key, 0, error);
    if (status != STATUS_OK)
        return status;
    return pki_certificate_write(state_path(state, STATE_CLIENT_CERTIFICATE), &certificate, 1, 0,
                                 error);
}

/* RSA whatever the server has: it is for clients of any age. */
static enum status make_client(struct daemon *daemon, struct error *error)
{
    struct pki_authority authority = {0};
    EVP_PKEY *key = NULL;
    X509 *certificate = NULL;
    enum status status = certificates_read_authority(&daemon->state, &authority, error);
    if (status != STATUS_OK)
        return status;
    authority.days = (unsigned)(daemon->config.server_certificate_validity / DAY_MILLISECONDS);
    status = failed(error, pki_key_make(PKI_KEY_RSA_3072, &key), "make a key");
    if (status == STATUS_OK)
        status = pki_issue_client(&authority, key, SETUP_ADAPTER, clock_now(&daemon->clock),
                                  &certificate, error);
    if (status == STATUS_OK)
        status = write_client(&daemon->state, key, certificate, error);
    X509_free(certificate);
    EVP_PKEY_free(key);
    certificates_free_authority(&authority);
    return status;
}

static enum status register_certificate(struct daemon *daemon, int64_t adapter, X509 *certificate)
{
    struct buffer der;
    struct certificate_row row = {
        .adapter = adapter, .name = SETUP_ADAPTER, .created = clock_now(&daemon->clock)};
    buffer_init(&der, 65536);
    enum status status = pki_certificate_der(certificate, &der);
    if (status == STATUS_OK)
        status = pki_fingerprint(certificate, row.fingerprint);
    if (status == STATUS_OK)
        status = uuid_make(row.created, &row.id);
    row.der = buffer_bytes(&der);
    if (status == STATUS_OK)
        status = store_certificate_insert(daemon->store, &row);
    buffer_free(&der);
    return status == STATUS_EXISTS ? STATUS_OK : status; /* registered by the start before */
}

static enum status setup_client(struct daemon *daemon, int64_t adapter, struct error *error)
{
    const char *directory = state_path(&daemon->state, STATE_CLIENTS);
    if (mkdir(directory, S_IRWXU) != 0 && errno != EEXIST)
        return error_set_errno(error, STATUS_IO, errno, "cannot make %.300s", directory);
    enum status status = STATUS_OK;
    if (!file_exists(state_path(&daemon->state, STATE_CLIENT_CERTIFICATE)))
        status = make_client(daemon, error);
    if (status != STATUS_OK)
        return status;
    X509 *certificate = NULL;
    status = pki_certificate_read(state_path(&daemon->state, STATE_CLIENT_CERTIFICATE),
                                  &certificate, error);
    if (status == STATUS_OK)
        status = failed(error, register_certificate(daemon, adapter, certificate),
                        "register the client certificate");
    X509_free(certificate);
    return status;
}

enum status setup_adapter(struct daemon *daemon, struct error *error)
{
    struct adapter_row row;
    if (daemon->state.complete)
        return STATUS_OK;
    enum status status =
        store_adapter_find(daemon->session, BYTES_LITERAL(SETUP_ADAPTER), &row);
    if (status == STATUS_NOT_FOUND)
        status = make_adapter(daemon, &row, error);
    else
        status = failed(error, status, "look for the adapter " SETUP_ADAPTER);
    if (status == STATUS_OK)
        status = setup_client(daemon, row.id, error);
    if (status == STATUS_OK &&
        daemon_audit(daemon, "setup", "adapter " SETUP_ADAPTER " with a client certificate") !=
            STATUS_OK)
        return audit_explain(daemon->audit, error);
    return status;
}

enum status setup_finish(struct daemon *daemon, struct error *error)
{
    return daemon->state.complete ? STATUS_OK : state_set_complete(&daemon->state, error);
}
