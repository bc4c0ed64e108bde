/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/vcenter.h"

#include <inttypes.h>

#include "sim/datastore.h"

enum { VERSIONS_MAX = 16, TAGS = 3, KEY_SIZE = 32 };

#define ID_PREFIX       "QLKC"
#define PRODUCT_VERSION "7.0.3 build-19480866"
#define PRODUCT_VENDOR  "VMware, Inc."
#define PRODUCT         "VMware vSphere"

/* ---- Opening ---- */

static void note_passed(void *context, const char *server, const struct error *why)
{
    struct vcenter *vcenter = context;
    size_t length = strlen(vcenter->passed);
    (void)snprintf(vcenter->passed + length, sizeof(vcenter->passed) - length, "%s%s",
                   length > 0 ? ", " : "", server);
}

static enum status open_client(struct sim *sim, const struct client_options *wanted,
                               struct vcenter *ret_vcenter, struct error *error)
{
    struct client_options options = *wanted;
    options.identity = sim->identity;
    options.version = KMIP_VERSION_1_1;
    options.answer_milliseconds = (unsigned)sim->options.timeout * 1000;
    options.tls12 = sim->options.tls12;
    options.passed_over = note_passed;
    options.context = ret_vcenter;
    *ret_vcenter = (struct vcenter){.sim = sim, .server_count = options.server_count};
    return client_open(&options, &ret_vcenter->client, error);
}

enum status vcenter_open_list(struct sim *sim, const struct client_server *servers, size_t count,
                              unsigned connect_milliseconds, struct vcenter *ret_vcenter,
                              struct error *error)
{
    struct client_options options;
    client_options_init(&options);
    options.servers = servers;
    options.server_count = count;
    options.ca_file = sim->options.ca;
    options.connect_milliseconds = connect_milliseconds;
    return open_client(sim, &options, ret_vcenter, error);
}

void vcenter_close(struct vcenter *vcenter)
{
    client_free(vcenter->client);
    vcenter->client = NULL;
}

static unsigned patience(const struct sim *sim)
{
    return (unsigned)sim->options.timeout * 1000;
}

/* How one server of the options proves who it is. `pin` is where its pin stands, if it has one. */
static enum status find_proof(struct sim *sim, size_t server,
                              uint8_t pin[static CLIENT_SHA256_SIZE],
                              struct client_server *ret_server, struct error *error)
{
    const char *address = sim->options.servers[server];
    bool pinned = false;
    enum status status = provider_load_pin(sim->options.dir, address, &pinned, pin, error);
    if (status != STATUS_OK)
        return status;
    if (!pinned && sim->options.ca == NULL)
        return error_set(error, STATUS_NOT_AUTHENTICATED,
                         "%s is not trusted yet: `vsphere-sim trust` does what Trust does in "
                         "vCenter, --ca names what its certificate is signed by",
                         address);
    *ret_server = (struct client_server){address, pinned ? pin : NULL};
    return STATUS_OK;
}

enum status vcenter_open(struct sim *sim, struct vcenter *ret_vcenter, struct error *error)
{
    struct client_server servers[CLIENT_SERVERS_MAX];
    uint8_t pins[CLIENT_SERVERS_MAX][CLIENT_SHA256_SIZE];
    for (size_t i = 0; i < sim->options.server_count; i++) {
        enum status status = find_proof(sim, i, pins[i], &servers[i], error);
        if (status != STATUS_OK)
            return status;
    }
    return vcenter_open_list(sim, servers, sim->options.server_count, patience(sim), ret_vcenter,
                             error);
}

enum status vcenter_open_one(struct sim *sim, size_t server, enum vcenter_trust trust,
                             struct vcenter *ret_vcenter, struct error *error)
{
    uint8_t pin[CLIENT_SHA256_SIZE];
    struct client_server one = {sim->options.servers[server], NULL};
    struct client_options options;
    client_options_init(&options);
    options.servers = &one;
    options.server_count = 1;
    options.ca_file = trust != VCENTER_TRUST_NOBODY ? sim->options.ca : NULL;
    options.connect_milliseconds = patience(sim);
    enum status status =
        trust == VCENTER_TRUST_STORED ? find_proof(sim, server, pin, &one, error) : STATUS_OK;
    return status == STATUS_OK ? open_client(sim, &options, ret_vcenter, error) : status;
}

/* ---- Conversations ---- */

/* One connection: what is said after the first Discover Versions, and about what. */
struct talk {
    struct vcenter *vcenter;
    const char *id;
    enum status (*rest)(struct client_connection *connection, struct talk *talk,
                        struct error *error);
    const struct client_text *tags; /* TAGS of them */
    char *text;                     /* `size` bytes for a text that comes of it */
    size_t size;
    struct client_id new_id;
    struct vcenter_key key;
};

static enum status check_versions(struct client_connection *connection, const uint16_t *versions,
                                  size_t count, struct error *error)
{
    for (size_t i = 0; i < count && i < VERSIONS_MAX; i++)
        if (versions[i] == KMIP_VERSION_1_1)
            return STATUS_OK;
    return error_set(error, STATUS_VERSION_NOT_SUPPORTED,
                     "%s does not offer KMIP 1.1, which vCenter speaks",
                     client_peer(connection)->server);
}

static enum status discover(struct client_connection *connection,
                            uint16_t versions[static VERSIONS_MAX], size_t *ret_count,
                            struct error *error)
{
    enum status status =
        client_discover_versions(connection, versions, VERSIONS_MAX, ret_count, error);
    return status == STATUS_OK ? check_versions(connection, versions, *ret_count, error) : status;
}

/* Runs as a client_task. */
static enum status converse(struct client_connection *connection, void *context,
                            struct error *error)
{
    struct talk *talk = context;
    uint16_t versions[VERSIONS_MAX];
    size_t count = 0;
    enum status status = discover(connection, versions, &count, error);
    if (status != STATUS_OK)
        return status;
    client_number_items(connection, ID_PREFIX);
    status = talk->rest(connection, talk, error);
    if (status == STATUS_OK)
        (void)snprintf(talk->vcenter->answered_by, sizeof(talk->vcenter->answered_by), "%s",
                       client_peer(connection)->server);
    return status;
}

static enum status hold(struct talk *talk, struct error *error)
{
    talk->vcenter->passed[0] = '\0';
    return client_on_any_server(talk->vcenter->client, converse, talk, error);
}

static void use_credential(struct client_connection *connection, const struct talk *talk)
{
    const struct secret *credential = &talk->vcenter->sim->credential;
    client_use_credential(connection, credential->data != NULL ? credential : NULL);
}

/* ---- The provider ---- */

enum status vcenter_shake_hands(struct vcenter *vcenter, struct client_peer *ret_peer,
                                struct error *error)
{
    enum status status = STATUS_IO;
    for (size_t i = 0; i < vcenter->server_count; i++) {
        status = client_shake_hands(vcenter->client, i, ret_peer, error);
        if (status == STATUS_OK)
            break;
    }
    return status;
}

static void print_versions(const uint16_t *versions, size_t count, char *ret_text, size_t size)
{
    size_t length = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < count && i < VERSIONS_MAX && length < size; i++) {
        int added = snprintf(ret_text + length, size - length, "%s%u.%u", i > 0 ? " " : "",
                             versions[i] >> 8, versions[i] & 0xFFu);
        length += added > 0 ? (size_t)added : 0;
    }
}

static enum status rest_discover(struct client_connection *connection, struct talk *talk,
                                 struct error *error)
{
    uint16_t versions[VERSIONS_MAX];
    size_t count = 0;
    enum status status = discover(connection, versions, &count, error);
    if (status == STATUS_OK)
        print_versions(versions, count, talk->text, talk->size);
    return status;
}

enum status vcenter_discover(struct vcenter *vcenter, char *ret_versions, size_t size,
                             struct error *error)
{
    struct talk talk = {
        .vcenter = vcenter, .rest = rest_discover, .text = ret_versions, .size = size};
    return hold(&talk, error);
}

static enum status rest_query(struct client_connection *connection, struct talk *talk,
                              struct error *error)
{
    static const uint32_t functions[] = {KMIP_QUERY_FUNCTION_QUERY_SERVER_INFORMATION};
    struct kmip_query_response response;
    enum status status =
        client_query(connection, functions, ARRAY_COUNT(functions), &response, error);
    if (status != STATUS_OK)
        return status;
    struct bytes vendor = response.vendor_identification;
    if (vendor.size == 0)
        return error_set(error, STATUS_MISSING_DATA, "%s does not say what it is",
                         client_peer(connection)->server);
    (void)snprintf(talk->text, talk->size, "%.*s", (int)vendor.size, (const char *)vendor.data);
    return STATUS_OK;
}

enum status vcenter_query(struct vcenter *vcenter, char *ret_vendor, size_t size,
                          struct error *error)
{
    struct talk talk = {.vcenter = vcenter, .rest = rest_query, .text = ret_vendor, .size = size};
    return hold(&talk, error);
}

/* ---- Keys ---- */

static enum status rest_create(struct client_connection *connection, struct talk *talk,
                               struct error *error)
{
    static const struct client_key_wish wish = {
        .algorithm = KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
        .usage_mask = KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT | KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT,
        .length = 256,
    };
    use_credential(connection, talk);
    return client_create(connection, &wish, &talk->new_id, error);
}

enum status vcenter_create_key(struct vcenter *vcenter, struct client_id *ret_id,
                               struct error *error)
{
    struct talk talk = {.vcenter = vcenter, .rest = rest_create};
    enum status status = hold(&talk, error);
    if (status == STATUS_OK)
        *ret_id = talk.new_id;
    return status;
}

static enum status check_key(struct client_connection *connection, const struct client_key *key,
                             struct error *error)
{
    if (key->object_type == KMIP_OBJECT_TYPE_SYMMETRIC_KEY &&
        key->algorithm == KMIP_CRYPTOGRAPHIC_ALGORITHM_AES && key->length == 256 &&
        key->material.size == KEY_SIZE)
        return STATUS_OK;
    return error_set(error, STATUS_MALFORMED, "%s gave something else than an AES-256 key",
                     client_peer(connection)->server);
}

static enum status activate_if_new(struct client_connection *connection, struct talk *talk,
                                   struct error *error)
{
    enum status status = client_get_state(connection, talk->id, &talk->key.state, error);
    if (status != STATUS_OK || talk->key.state != KMIP_STATE_PRE_ACTIVE)
        return status;
    status = client_activate(connection, talk->id, error);
    if (status != STATUS_OK)
        return status;
    talk->key.state = KMIP_STATE_ACTIVE;
    talk->key.activated = true;
    return STATUS_OK;
}

static enum status rest_read(struct client_connection *connection, struct talk *talk,
                             struct error *error)
{
    struct client_key key = {0};
    use_credential(connection, talk);
    enum status status = client_get(connection, talk->id, &key, error);
    if (status == STATUS_OK)
        status = check_key(connection, &key, error);
    if (status == STATUS_OK)
        status = activate_if_new(connection, talk, error);
    if (status == STATUS_OK)
        talk->key.material = secret_take(&key.material);
    secret_free(&key.material);
    return status;
}

enum status vcenter_read_key(struct vcenter *vcenter, const char *id, struct vcenter_key *ret_key,
                             struct error *error)
{
    struct talk talk = {.vcenter = vcenter, .id = id, .rest = rest_read};
    enum status status = hold(&talk, error);
    if (status == STATUS_OK)
        *ret_key = talk.key;
    return status;
}

enum status vcenter_unlock(struct vcenter *vcenter, const char *id, struct secret *ret_material,
                           struct error *error)
{
    struct vcenter_key key = {0};
    struct error why = {0};
    enum status status = vcenter_read_key(vcenter, id, &key, &why);
    if (status == STATUS_OBJECT_NOT_FOUND)
        return error_set(error, status,
                         "KeyStateMissingInKMS: Virtual machine is locked because keys are missing "
                         "on KMS cluster. (%s)",
                         error_text(&why));
    if (status != STATUS_OK)
        return error_set(error, status,
                         "KeyStateClusterUnreachable: Virtual machine is locked because of a KMS "
                         "cluster error. (%s)",
                         error_text(&why));
    if (key.state != KMIP_STATE_ACTIVE) {
        secret_free(&key.material);
        return error_set(error, STATUS_PERMISSION_DENIED,
                         "KeyStateNotActiveOrEnabled: the key is %s; `kmipctl object restore %s` "
                         "reactivates a deactivated key",
                         kmip_value_text(KMIP_TAG_STATE, key.state), id);
    }
    *ret_material = key.material;
    return STATUS_OK;
}

/* ---- Tags ---- */

/* vCenter looks at each attribute in a request of its own. */
static enum status find_missing(struct client_connection *connection, const struct talk *talk,
                                struct client_text missing[static TAGS], size_t *ret_count,
                                struct error *error)
{
    for (size_t i = 0; i < TAGS; i++) {
        struct bytes text;
        enum status status =
            client_get_text(connection, talk->id, talk->tags[i].name, &text, error);
        if (status != STATUS_OK)
            return status;
        if (text.data == NULL)
            missing[(*ret_count)++] = talk->tags[i];
    }
    return STATUS_OK;
}

static enum status rest_tag(struct client_connection *connection, struct talk *talk,
                            struct error *error)
{
    struct client_text missing[TAGS];
    size_t count = 0;
    enum status status = find_missing(connection, talk, missing, &count, error);
    if (status != STATUS_OK || count == 0)
        return status;
    return client_add_texts(connection, talk->id, missing, count, error);
}

static enum status tag(struct vcenter *vcenter, const char *id, const struct client_text *tags,
                       struct error *error)
{
    struct talk talk = {.vcenter = vcenter, .id = id, .rest = rest_tag, .tags = tags};
    return hold(&talk, error);
}

enum status vcenter_tag_product(struct vcenter *vcenter, const char *id, struct error *error)
{
    static const struct client_text tags[TAGS] = {{"x-Product_Version", PRODUCT_VERSION},
                                                  {"x-Vendor", PRODUCT_VENDOR},
                                                  {"x-Product", PRODUCT}};
    return tag(vcenter, id, tags, error);
}

enum status vcenter_tag_component(struct vcenter *vcenter, const char *id, const char *identifier,
                                  const char *component, const char *name, struct error *error)
{
    const struct client_text tags[TAGS] = {
        {"x-Identifier", identifier}, {"x-Component", component}, {"x-Name", name}};
    return tag(vcenter, id, tags, error);
}

/* ---- What vCenter never sends ---- */

static enum status rest_revoke(struct client_connection *connection, struct talk *talk,
                               struct error *error)
{
    return client_revoke(connection, talk->id, KMIP_REVOCATION_REASON_CODE_CESSATION_OF_OPERATION,
                         "disabled by vsphere-sim", error);
}

enum status vcenter_revoke_key(struct vcenter *vcenter, const char *id, struct error *error)
{
    struct talk talk = {.vcenter = vcenter, .id = id, .rest = rest_revoke};
    return hold(&talk, error);
}

static enum status rest_destroy(struct client_connection *connection, struct talk *talk,
                                struct error *error)
{
    return client_destroy(connection, talk->id, error);
}

enum status vcenter_destroy_key(struct vcenter *vcenter, const char *id, struct error *error)
{
    struct talk talk = {.vcenter = vcenter, .id = id, .rest = rest_destroy};
    return hold(&talk, error);
}
