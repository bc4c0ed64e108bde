/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates that an adapter lets in: /kmip_adapters/{adapter}/certificates. */
#include <ctype.h>
#include <stdio.h>

#include <openssl/x509.h>

#include "api/adapters.h"
#include "api/keys.h"
#include "base/hex.h"
#include "crypto/pki.h"

#define PEM_MAX ((size_t)64 << 10)

/* ---- Telling ---- */

static json_t *make_pem(struct bytes der)
{
    X509 *certificate = NULL;
    json_t *value = NULL;
    struct buffer pem;
    buffer_init(&pem, PEM_MAX);
    if (pki_certificate_from_der(der, &certificate) == STATUS_OK &&
        pki_certificate_pem(certificate, &pem) == STATUS_OK)
        value = json_stringn((const char *)pem.data, pem.size);
    X509_free(certificate);
    buffer_free(&pem);
    return value;
}

/* Lists do not have the certificate itself. */
static json_t *certificate_json(const struct certificate_row *row, bool whole)
{
    json_t *object = json_object();
    (void)keys_set(&object, "id", api_json_uuid(&row->id));
    (void)keys_set(&object, "name", adapters_json_name(row->name));
    if (whole)
        (void)keys_set(&object, "certificate", make_pem(row->der));
    (void)keys_set(&object, "created_by", adapters_json_actor(row->created_by, ""));
    (void)keys_set(&object, "created_at", api_json_time(row->created));
    return object;
}

static bool list_certificate(void *context, const struct certificate_row *row)
{
    struct adapters_page *page = context;
    return !adapters_page_has(page) || adapters_page_append(page, certificate_json(row, false));
}

void api_adapter_certificates_list(struct api_call *call)
{
    struct adapter_row adapter;
    struct adapters_page page;
    if (!adapters_find(call, &adapter) || !adapters_page_read(call, ADAPTERS_MAX, &page))
        return;
    enum status status = store_certificates(call->session, adapter.id, list_certificate, &page);
    adapters_page_reply(call, &page, "kmip_client_certificate", status);
}

/* ---- Finding ---- */

static void note_certificate(struct api_call *call, const char *name, const uint8_t *fingerprint)
{
    char digits[2 * STORE_FINGERPRINT_SIZE + 1] = "";
    if (fingerprint != NULL)
        hex_text(bytes_of(fingerprint, STORE_FINGERPRINT_SIZE), digits);
    (void)snprintf(call->subject, sizeof(call->subject), "%.240s", name);
    (void)snprintf(call->detail, sizeof(call->detail), "certificate %s", digits);
}

struct search {
    const char *wanted;
    struct uuid id; /* the same, where it is one */
    bool by_id;
    bool found;
    struct certificate_row row; /* without DER */
    json_t *json;
};

/* A name counts before an identifier. */
static bool compare_certificate(void *context, const struct certificate_row *row)
{
    struct search *search = context;
    bool same = strcmp(row->name, search->wanted) == 0;
    if (!same && !(search->by_id && uuid_equal(&row->id, &search->id)))
        return true;
    json_decref(search->json);
    search->json = certificate_json(row, true);
    search->row = *row;
    search->row.der = bytes_of(NULL, 0);
    search->found = true;
    return !same;
}

/* The certificate that the second parameter names; ret_json (may be NULL) is the caller's. False:
 * the call has failed. */
static bool find_certificate(struct api_call *call, const struct adapter_row *adapter,
                             struct certificate_row *ret_row, json_t **ret_json)
{
    struct search search = {.wanted = call->parameters[1]};
    search.by_id = uuid_parse(bytes_of_text(search.wanted), &search.id);
    note_certificate(call, search.wanted, NULL);
    enum status status =
        store_certificates(call->session, adapter->id, compare_certificate, &search);
    if (status == STATUS_OK && search.found) {
        note_certificate(call, search.row.name, search.row.fingerprint);
        *ret_row = search.row;
        *ret_json = search.json;
        return true;
    }
    json_decref(search.json);
    if (status == STATUS_OK)
        api_fail(call, API_KMIP_CERT_NOT_FOUND_ERR, NULL, NULL);
    else
        api_fail_status(call, status, NULL);
    return false;
}

void api_adapter_certificates_get(struct api_call *call)
{
    struct adapter_row adapter;
    struct certificate_row row;
    json_t *json = NULL;
    if (adapters_find(call, &adapter) && find_certificate(call, &adapter, &row, &json))
        api_reply_resource(call, 200, "kmip_client_certificate", json);
}

/* ---- Create ---- */

static const char *skip_blanks(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

/* ^\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----\s*$ */
static bool is_one_pem(const char *text)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    static const char end[] = "-----END CERTIFICATE-----";
    static const char inside[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n";
    text = skip_blanks(text);
    if (strncmp(text, begin, sizeof(begin) - 1) != 0)
        return false;
    text += sizeof(begin) - 1;
    size_t size = strspn(text, inside);
    if (size == 0 || strncmp(text + size, end, sizeof(end) - 1) != 0)
        return false;
    return *skip_blanks(text + size + sizeof(end) - 1) == '\0';
}

static bool refuse_certificate(struct api_call *call, const struct error *error)
{
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", "certificate",
                  "The field `certificate` must be: one X.509 certificate in PEM%s%s",
                  error != NULL ? "; " : "", error != NULL ? error->text : "");
    return false;
}

/* The DER of what is in the resource, appended. */
static bool read_certificate(struct api_call *call, const json_t *resource, struct buffer *der,
                             uint8_t ret_fingerprint[static STORE_FINGERPRINT_SIZE])
{
    X509 *certificate = NULL;
    struct error error = {0};
    const json_t *value = api_member(resource, "certificate");
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) != json_string_length(value) || !is_one_pem(text))
        return refuse_certificate(call, NULL);
    enum status status = pki_certificate_parse(bytes_of_text(text), &certificate, &error);
    if (status == STATUS_INVALID_ARGUMENT)
        return refuse_certificate(call, &error);
    if (status == STATUS_OK)
        status = pki_certificate_der(certificate, der);
    if (status == STATUS_OK)
        status = pki_fingerprint(certificate, ret_fingerprint);
    X509_free(certificate);
    if (status != STATUS_OK)
        api_fail_status(call, status, NULL);
    return status == STATUS_OK;
}

struct census {
    const struct certificate_row *wanted;
    size_t count; /* of this adapter */
    bool content_taken;
    bool name_taken;
};

static bool count_certificate(void *context, const struct certificate_row *row)
{
    struct census *census = context;
    const struct certificate_row *wanted = census->wanted;
    bool of_adapter = row->adapter == wanted->adapter;
    census->count += of_adapter;
    census->content_taken |=
        memcmp(row->fingerprint, wanted->fingerprint, STORE_FINGERPRINT_SIZE) == 0;
    census->name_taken |= of_adapter && strcmp(row->name, wanted->name) == 0;
    return true;
}

static enum status insert(struct api_call *call, struct certificate_row *row,
                          enum api_error *ret_error)
{
    struct census census = {.wanted = row};
    enum status status = store_certificates(call->session, 0, count_certificate, &census);
    if (status != STATUS_OK)
        return status;
    if (census.content_taken)
        *ret_error = API_KMIP_CERT_DUPLICATE_ERR;
    else if (census.name_taken)
        *ret_error = API_KMIP_CERT_DUPLICATE_NAME_ERR;
    else if (census.count >= ADAPTERS_MAX)
        *ret_error = API_KMIP_CERT_QUOTA_ERR;
    if (*ret_error != API_OK)
        return STATUS_OK;
    status = uuid_make_random(&row->id);
    return status == STATUS_OK ? store_certificate_insert(call->context->store, row) : status;
}

static void let_in(struct api_call *call, struct certificate_row *row)
{
    enum api_error error = API_OK;
    adapters_lock();
    enum status status = insert(call, row, &error);
    adapters_unlock();
    if (status == STATUS_EXISTS) /* kmipctl was quicker */
        error = API_KMIP_CERT_DUPLICATE_ERR;
    else if (status == STATUS_NOT_FOUND)
        error = API_KMIP_ADAPTER_NOT_FOUND_ERR;
    if (error != API_OK)
        api_fail(call, error, NULL, NULL);
    else if (status != STATUS_OK)
        api_fail_status(call, status, NULL);
    else
        api_reply_resource(call, 201, "kmip_client_certificate", certificate_json(row, true));
}

void api_adapter_certificates_create(struct api_call *call)
{
    struct adapter_row adapter;
    struct buffer der;
    struct certificate_row row = {.created = call->now};
    if (!adapters_find(call, &adapter))
        return;
    const json_t *resource = api_body_resource(call);
    if (resource == NULL || !adapters_read_name(call, resource, "kmip_cert_", row.name))
        return;
    note_certificate(call, row.name, NULL);
    buffer_init(&der, PEM_MAX);
    if (read_certificate(call, resource, &der, row.fingerprint)) {
        note_certificate(call, row.name, row.fingerprint);
        row.adapter = adapter.id;
        row.der = buffer_bytes(&der);
        (void)snprintf(row.created_by, sizeof(row.created_by), "%s", call->identity.iam_id);
        let_in(call, &row);
    }
    buffer_free(&der);
}

/* ---- Delete ---- */

void api_adapter_certificates_delete(struct api_call *call)
{
    struct adapter_row adapter;
    struct certificate_row row;
    json_t *json = NULL;
    char id[UUID_TEXT_LENGTH + 1];
    if (!adapters_find(call, &adapter) || !find_certificate(call, &adapter, &row, &json))
        return;
    json_decref(json);
    uuid_text(&row.id, id);
    enum status status =
        store_certificate_delete(call->context->store, adapter.id, bytes_of_text(id));
    if (status == STATUS_OK)
        api_reply_empty(call, 204);
    else if (status == STATUS_NOT_FOUND)
        api_fail(call, API_KMIP_CERT_NOT_FOUND_ERR, NULL, NULL);
    else
        api_fail_status(call, status, NULL);
}
