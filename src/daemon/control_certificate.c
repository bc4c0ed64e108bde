/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl cert ...: who is let in. */
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/hex.h"
#include "daemon/certificates.h"
#include "daemon/commands.h"

#define PEM_MAX      (64u << 10)
#define DAYS_DEFAULT 3650
#define DAYS_MAX     9125

/* ---- Looking through what is there ---- */

struct search {
    const uint8_t *fingerprint;
    const char *name;
    bool fingerprint_found;
    bool name_found;
    int64_t adapter; /* of the certificate with the fingerprint */
    char taken_as[STORE_NAME_MAX + 1];
    int64_t name_adapter; /* where `name` is looked for */
};

static bool compare_certificate(void *context, const struct certificate_row *row)
{
    struct search *search = context;
    if (memcmp(row->fingerprint, search->fingerprint, STORE_FINGERPRINT_SIZE) == 0) {
        search->fingerprint_found = true;
        search->adapter = row->adapter;
        (void)snprintf(search->taken_as, sizeof(search->taken_as), "%s", row->name);
    }
    if (row->adapter == search->name_adapter && strcmp(row->name, search->name) == 0)
        search->name_found = true;
    return true;
}

struct naming {
    int64_t adapter;
    char name[STORE_NAME_MAX + 1];
};

static bool compare_adapter(void *context, const struct adapter_row *row)
{
    struct naming *naming = context;
    if (row->id != naming->adapter)
        return true;
    (void)snprintf(naming->name, sizeof(naming->name), "%s", row->name);
    return false;
}

static enum status already_there(struct control_call *call, const struct search *search)
{
    struct naming naming = {.adapter = search->adapter};
    enum status status = store_adapters(call->session, compare_adapter, &naming);
    if (status != STATUS_OK)
        return status;
    return error_set(call->error, STATUS_EXISTS,
                     "this certificate is let in already, as '%.60s' of the adapter '%.60s'; a "
                     "certificate belongs to one adapter only",
                     search->taken_as, naming.name);
}

/* ---- Adding ---- */

/* The name that was asked for, or else the common name, made unique by the fingerprint. */
static enum status choose_name(struct control_call *call, const struct certificate_row *row,
                               const char *common_name, char ret_name[static STORE_NAME_MAX + 1])
{
    const char *wanted = control_text(call, "name");
    struct search search = {.fingerprint = row->fingerprint,
                            .name = wanted != NULL ? wanted : common_name,
                            .name_adapter = row->adapter};
    enum status status = store_certificates(call->session, 0, compare_certificate, &search);
    if (status != STATUS_OK)
        return status;
    if (search.fingerprint_found)
        return already_there(call, &search);
    if (search.name_found && wanted != NULL)
        return error_set(call->error, STATUS_EXISTS,
                         "the adapter '%.60s' has a certificate '%.60s' already: choose another "
                         "name with --name, or delete that one first",
                         call->adapter, wanted);
    size_t size = STORE_NAME_MAX + 1;
    char digits[9];
    hex_text(bytes_of(row->fingerprint, 4), digits);
    int length = search.name_found || search.name[0] == '\0'
                     ? snprintf(ret_name, size, "%.200s%s%s", search.name,
                                search.name[0] != '\0' ? "-" : "", digits)
                     : snprintf(ret_name, size, "%s", search.name);
    if (length > 0 && (size_t)length < size)
        return STATUS_OK;
    return error_set(call->error, STATUS_TOO_LARGE, "a name has at most %d bytes", STORE_NAME_MAX);
}

static void put_certificate(json_t *object, const char *name, const char *adapter,
                            const struct pki_description *description)
{
    char fingerprint[PKI_FINGERPRINT_TEXT_MAX];
    control_put_text(object, "name", name);
    control_put_text(object, "adapter", adapter);
    control_put_text(object, "subject", description->subject);
    control_put_text(object, "key", description->key);
    control_put_time(object, "valid_until", description->not_after);
    control_put_fingerprint(object, "sha256", description->sha256, sizeof(description->sha256));
    pki_fingerprint_text(bytes_of(description->sha1, sizeof(description->sha1)), fingerprint);
    control_put_text(object, "sha1", fingerprint);
}

static enum status insert_row(struct control_call *call, struct certificate_row *row,
                              X509 *certificate, const struct pki_description *description)
{
    struct buffer der;
    buffer_init(&der, PEM_MAX);
    enum status status = choose_name(call, row, description->common_name, row->name);
    if (status == STATUS_OK)
        status = pki_certificate_der(certificate, &der);
    if (status == STATUS_OK)
        status = uuid_make(row->created, &row->id);
    row->der = buffer_bytes(&der);
    (void)snprintf(row->created_by, sizeof(row->created_by), "%s", call->actor);
    if (status == STATUS_OK)
        status = store_certificate_insert(call->daemon->store, row);
    buffer_free(&der);
    return status;
}

/* Lets a certificate in to the adapter, and describes it in the result. */
static enum status let_in(struct control_call *call, const struct adapter_row *adapter,
                          X509 *certificate)
{
    struct pki_description description;
    struct certificate_row row = {.adapter = adapter->id,
                                  .created = clock_now(&call->daemon->clock)};
    enum status status = pki_describe(certificate, &description);
    if (status != STATUS_OK)
        return error_set(call->error, status, "the certificate's names or dates make no sense");
    memcpy(row.fingerprint, description.sha256, sizeof(row.fingerprint));
    status = insert_row(call, &row, certificate, &description);
    (void)snprintf(call->subject, sizeof(call->subject), "%s", row.name);
    hex_text(bytes_of(row.fingerprint, sizeof(row.fingerprint)), call->detail);
    if (status != STATUS_OK)
        return status;
    put_certificate(call->result, row.name, adapter->name, &description);
    if (description.not_after < row.created)
        control_put_text(call->result, "warning",
                         "this certificate has expired; it is let in all the same, because "
                         "clients are known by the certificate itself");
    return STATUS_OK;
}

enum status control_cert_add(struct control_call *call)
{
    struct adapter_row adapter;
    X509 *certificate = NULL;
    const char *pem = control_text(call, "certificate");
    enum status status = control_find_adapter(call, "adapter", &adapter);
    if (status == STATUS_OK)
        status = pki_certificate_parse(bytes_of_text(pem != NULL ? pem : ""), &certificate,
                                       call->error);
    if (status == STATUS_OK)
        status = let_in(call, &adapter, certificate);
    X509_free(certificate);
    return status;
}

/* ---- Signing ---- */

static enum status put_pem(struct control_call *call, X509 *certificate)
{
    struct buffer pem;
    buffer_init(&pem, PEM_MAX);
    enum status status = pki_certificate_pem(certificate, &pem);
    if (status == STATUS_OK)
        (void)json_object_set_new(call->result, "certificate",
                                  json_stringn((const char *)pem.data, pem.size));
    buffer_free(&pem);
    return status;
}

static enum status sign_request(struct control_call *call, X509 **ret_certificate)
{
    struct pki_authority authority = {0};
    const char *request = control_text(call, "request");
    int64_t days = control_number(call, "days", DAYS_DEFAULT);
    if (days < 1 || days > DAYS_MAX)
        return error_set(call->error, STATUS_INVALID_ARGUMENT, "--days is 1 to %d", DAYS_MAX);
    enum status status = certificates_read_authority(&call->daemon->state, &authority, call->error);
    if (status != STATUS_OK)
        return status;
    authority.days = (unsigned)days;
    status = pki_sign_request(&authority, bytes_of_text(request != NULL ? request : ""),
                              clock_now(&call->daemon->clock), ret_certificate, call->error);
    certificates_free_authority(&authority);
    return status;
}

static enum status sign_and_let_in(struct control_call *call)
{
    struct adapter_row adapter;
    X509 *certificate = NULL;
    enum status status = control_find_adapter(call, "adapter", &adapter);
    if (status == STATUS_OK)
        status = sign_request(call, &certificate);
    if (status == STATUS_OK)
        status = let_in(call, &adapter, certificate);
    if (status == STATUS_OK)
        status = put_pem(call, certificate);
    X509_free(certificate);
    return status;
}

/* kmipctl has made the key and sends the request: for the server the two are the same. */
enum status control_cert_issue(struct control_call *call)
{
    return sign_and_let_in(call);
}

enum status control_cert_sign(struct control_call *call)
{
    return sign_and_let_in(call);
}

/* ---- list and delete ---- */

struct listing {
    json_t *array;
    json_t *names; /* adapter id as text -> name */
};

static bool note_adapter(void *context, const struct adapter_row *row)
{
    struct listing *listing = context;
    char id[24];
    (void)snprintf(id, sizeof(id), "%lld", (long long)row->id);
    control_put_text(listing->names, id, row->name);
    return true;
}

static bool list_certificate(void *context, const struct certificate_row *row)
{
    struct listing *listing = context;
    struct pki_description description;
    X509 *certificate = NULL;
    char id[24];
    (void)snprintf(id, sizeof(id), "%lld", (long long)row->adapter);
    const char *adapter = json_string_value(json_object_get(listing->names, id));
    json_t *entry = json_object();
    if (pki_certificate_from_der(row->der, &certificate) == STATUS_OK &&
        pki_describe(certificate, &description) == STATUS_OK)
        put_certificate(entry, row->name, adapter != NULL ? adapter : "", &description);
    else
        control_put_text(entry, "name", row->name);
    X509_free(certificate);
    char uuid[UUID_TEXT_LENGTH + 1];
    uuid_text(&row->id, uuid);
    control_put_text(entry, "uuid", uuid);
    control_put_time(entry, "added", row->created);
    return json_array_append_new(listing->array, entry) == 0;
}

enum status control_cert_list(struct control_call *call)
{
    struct adapter_row adapter = {0};
    struct listing listing = {json_array(), json_object()};
    (void)json_object_set_new(call->result, "certificates", listing.array);
    enum status status = STATUS_OK;
    if (control_text(call, "adapter") != NULL)
        status = control_find_adapter(call, "adapter", &adapter);
    if (status == STATUS_OK)
        status = store_adapters(call->session, note_adapter, &listing);
    if (status == STATUS_OK)
        status = store_certificates(call->session, adapter.id, list_certificate, &listing);
    json_decref(listing.names);
    return status;
}

enum status control_cert_delete(struct control_call *call)
{
    struct adapter_row adapter;
    const char *wanted = control_text(call, "certificate");
    (void)snprintf(call->subject, sizeof(call->subject), "%.200s", wanted);
    enum status status = control_find_adapter(call, "adapter", &adapter);
    if (status != STATUS_OK)
        return status;
    status = store_certificate_delete(call->daemon->store, adapter.id, bytes_of_text(wanted));
    if (status == STATUS_NOT_FOUND)
        return error_set(call->error, status,
                         "the adapter '%.60s' has no certificate '%.80s'; kmipctl cert list shows "
                         "those there are",
                         adapter.name, wanted);
    control_put_text(call->result, "name", call->subject);
    control_put_text(call->result, "adapter", adapter.name);
    return status;
}
