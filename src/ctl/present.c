/* SPDX-License-Identifier: Apache-2.0 */
/* What kmipctl does with a result: files it writes, tables and sentences it prints. */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "ctl/ctl.h"
#include "ctl/output.h"

static const char *text_of(const json_t *result, const char *name)
{
    const char *text = json_string_value(json_object_get(result, name));
    return text != NULL ? text : "";
}

/* ---- Listings ---- */

static const struct ctl_column adapter_columns[] = {
    {"NAME", "name"},     {"CERTIFICATES", "certificates"}, {"OBJECTS", "objects"},
    {"ACTIVE", "active"}, {"CREATED", "created"},           {"KEY MANAGER", "key_manager"},
    {"DESCRIPTION", "description"},
};

static const struct ctl_column root_key_columns[] = {
    {"NAME", "name"},   {"ID", "id"},           {"KEY MANAGER", "key_manager"},
    {"STATE", "state"}, {"VERSION", "version"}, {"CREATED", "created"},
    {"ROTATED", "rotated"}, {"ADAPTERS", "adapters"},
};

static const struct ctl_column key_manager_columns[] = {
    {"NAME", "name"},         {"DEFAULT", "default"},   {"HEALTH", "health"},
    {"ADAPTERS", "adapters"}, {"CHECKED", "checked"},   {"PROCESS", "process"},
    {"RESTARTS", "restarts"}, {"RECORDED", "recorded"}, {"DUE", "records_due"},
    {"WITHDRAWN", "withdrawn"},
};

static const struct ctl_column service_id_columns[] = {
    {"NAME", "name"}, {"ROLES", "roles"}, {"CREATED", "created"}, {"DESCRIPTION", "description"},
};

static const struct ctl_column api_key_columns[] = {
    {"NAME", "name"}, {"ID", "id"}, {"CREATED", "created"}, {"LAST USED", "used"},
};

static const struct ctl_column certificate_columns[] = {
    {"ADAPTER", "adapter"},         {"NAME", "name"},     {"KEY", "key"},
    {"VALID UNTIL", "valid_until"}, {"ADDED", "added"},   {"SHA-256", "sha256"},
};

static const struct ctl_column object_columns[] = {
    {"ID", "id"},           {"TYPE", "type"},   {"STATE", "state"},         {"CREATED", "created"},
    {"ALGORITHM", "algorithm"}, {"BITS", "length"}, {"COMPONENT", "x_component"},
    {"OF", "x_name"},       {"NAME", "name"},
};

struct listing {
    const char *member; /* of the result: the rows; NULL: this command has no table */
    const struct ctl_column *columns;
    size_t count;
    const char *empty; /* what to say when there are none */
};

static const struct listing listings[IPC_COMMAND_COUNT] = {
    [IPC_adapter_list] = {"adapters", adapter_columns, ARRAY_COUNT(adapter_columns),
                          "There are no adapters; kmipctl adapter create makes one."},
    [IPC_cert_list] = {"certificates", certificate_columns, ARRAY_COUNT(certificate_columns),
                       "No certificate is let in; kmipctl cert add, issue or sign let one in."},
    [IPC_object_list] = {"objects", object_columns, ARRAY_COUNT(object_columns),
                         "There are no objects."},
    [IPC_root_key_list] = {"root_keys", root_key_columns, ARRAY_COUNT(root_key_columns),
                           "There are no root keys."},
    [IPC_key_manager_list] = {"key_managers", key_manager_columns,
                              ARRAY_COUNT(key_manager_columns), "There are no key managers."},
    [IPC_service_id_list] = {"service_ids", service_id_columns, ARRAY_COUNT(service_id_columns),
                             "There are no service IDs; kmipctl service-id create makes one."},
    [IPC_api_key_list] = {"api_keys", api_key_columns, ARRAY_COUNT(api_key_columns),
                          "There are no API keys; kmipctl api-key create makes one."},
    [IPC_object_find] = {"objects", object_columns, ARRAY_COUNT(object_columns),
                         "Nothing fits all of that."},
};

static void print_listing(const struct listing *listing, const json_t *result)
{
    const json_t *rows = json_object_get(result, listing->member);
    if (json_array_size(rows) == 0)
        puts(listing->empty);
    else
        ctl_print_table(stdout, rows, listing->columns, listing->count);
}

/* ---- Sentences ---- */

static void say_let_in(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    printf("The certificate '%s' may use the adapter '%s' from now on.\n", text_of(result, "name"),
           text_of(result, "adapter"));
    printf("  Subject      %s\n  Valid until  %s\n  SHA-256      %s\n", text_of(result, "subject"),
           text_of(result, "valid_until"), text_of(result, "sha256"));
    if (text_of(result, "warning")[0] != '\0')
        printf("Note: %s.\n", text_of(result, "warning"));
}

static void say_issued(const struct ctl_call *call, const json_t *result)
{
    char path[CTL_PATH_MAX];
    struct error ignored;
    say_let_in(call, result);
    printf("Give these two to the client, and then delete the key here:\n");
    if (ctl_issue_path(call, ".key", path, sizeof(path), &ignored) == STATUS_OK)
        printf("  %s\n", path);
    if (ctl_issue_path(call, ".pem", path, sizeof(path), &ignored) == STATUS_OK)
        printf("  %s\n", path);
}

/* A certificate that is printed stands alone on standard output, to be sent on. */
static void say_signed(const struct ctl_call *call, const json_t *result)
{
    const char *path = ctl_text(call, "out");
    if (path == NULL) {
        fputs(text_of(result, "certificate"), stdout);
        fprintf(stderr, "The certificate '%s' may use the adapter '%s' from now on. Give it to the "
                        "client.\n",
                text_of(result, "name"), text_of(result, "adapter"));
        return;
    }
    say_let_in(call, result);
    printf("Give %s to the client: in vCenter, Establish Trust > Upload Signed CSR Certificate.\n",
           path);
}

static void say_certificate_deleted(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    printf("The certificate '%s' is no longer let in to the adapter '%s'.\n",
           text_of(result, "name"), text_of(result, "adapter"));
}

static void say_adapter_deleted(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    printf("The adapter '%s' is deleted.\n", text_of(result, "name"));
}

static void say_adapter_created(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    printf("The adapter '%s' is there. Let its clients in with\n"
           "  kmipctl cert add --adapter %s\n",
           text_of(result, "name"), text_of(result, "name"));
}

static void say_created(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    puts(text_of(result, "id"));
}

static void say_restored(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    printf("%s is active again.\n", text_of(result, "id"));
}

static void say_destroyed(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    printf("%s is destroyed.\n", text_of(result, "id"));
}

static void say_moved(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    printf("New keys of the adapter '%s' are under the root key %s in %s from now on. The others\n"
           "follow: kmipctl adapter progress %s shows how far they are.\n",
           text_of(result, "name"), text_of(result, "root_key"), text_of(result, "key_manager"),
           text_of(result, "name"));
}

static void say_rotated(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    printf("The root key '%s' is at version %lld. Keys under it follow in the background.\n",
           text_of(result, "name"),
           (long long)json_integer_value(json_object_get(result, "version")));
}

static void say_state(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    printf("The root key '%s' is %s.\n", text_of(result, "name"), text_of(result, "state"));
}

static void say_root_key_deleted(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    printf(json_is_true(json_object_get(result, "erased"))
               ? "The root key '%s' is erased.\n"
               : "The root key '%s' is deleted; kmipctl root-key restore takes that back for 30 "
                 "days.\n",
           text_of(result, "name"));
}

static void say_rebuilt(const struct ctl_call *call, const json_t *result)
{
    size_t index;
    const json_t *failure;
    static const char *const counts[] = {"adapters", "objects", "present", "disabled", "failed"};
    (void)call;
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++)
        printf("%-9s  %lld\n", counts[i],
               (long long)json_integer_value(json_object_get(result, counts[i])));
    json_array_foreach(json_object_get(result, "failures"), index, failure)
        printf("not restored: %s: %s\n", text_of(failure, "record"), text_of(failure, "why"));
}

/* The key stands alone on standard output. */
static void say_api_key(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    puts(text_of(result, "api_key"));
    fprintf(stderr, "This is the API key '%s' of '%s'. It is shown this once.\n",
            text_of(result, "name"), text_of(result, "service_id"));
}

static void say_deleted(const struct ctl_call *call, const json_t *result)
{
    (void)call;
    printf("'%s' is deleted.\n", text_of(result, "name"));
}

typedef void sentence(const struct ctl_call *call, const json_t *result);

static sentence *const sentences[IPC_COMMAND_COUNT] = {
    [IPC_adapter_create] = say_adapter_created, [IPC_adapter_delete] = say_adapter_deleted,
    [IPC_cert_add] = say_let_in,                [IPC_cert_issue] = say_issued,
    [IPC_cert_sign] = say_signed,               [IPC_cert_delete] = say_certificate_deleted,
    [IPC_object_create] = say_created,          [IPC_object_restore] = say_restored,
    [IPC_object_destroy] = say_destroyed,       [IPC_adapter_move] = say_moved,
    [IPC_adapter_rebuild] = say_rebuilt,        [IPC_root_key_rotate] = say_rotated,
    [IPC_root_key_disable] = say_state,         [IPC_root_key_enable] = say_state,
    [IPC_root_key_restore] = say_state,         [IPC_root_key_delete] = say_root_key_deleted,
    [IPC_api_key_create] = say_api_key,         [IPC_api_key_delete] = say_deleted,
    [IPC_service_id_delete] = say_deleted,
};

/* ---- Files ---- */

static enum status write_certificate(const char *path, const json_t *result, unsigned flags,
                                     struct error *error)
{
    int lock;
    enum status status = file_lock(path, &lock, error);
    if (status != STATUS_OK)
        return status;
    status = file_replace(lock, path, bytes_of_text(text_of(result, "certificate")),
                          S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH, flags, error);
    file_unlock(lock);
    return status;
}

static enum status write_files(const struct ctl_call *call, const json_t *result,
                               struct error *error)
{
    char path[CTL_PATH_MAX];
    const char *out = ctl_text(call, "out");
    enum status status = STATUS_OK;
    if (call->command == IPC_cert_issue) {
        status = ctl_issue_path(call, ".pem", path, sizeof(path), error);
        return status == STATUS_OK ? write_certificate(path, result, FILE_MUST_BE_NEW, error)
                                   : status;
    }
    if (call->command == IPC_cert_sign && out != NULL)
        status = write_certificate(out, result, 0, error);
    return status;
}

/* A root key has the names of its adapters; a moved adapter its own. */
static enum status wait_for_rewrap(struct ctl_server *server, const json_t *result,
                                   struct error *error)
{
    (void)fflush(stdout);
    json_t *adapters = json_object_get(result, "adapters") != NULL
                           ? json_incref(json_object_get(result, "adapters"))
                           : json_pack("[O]", json_object_get(result, "name"));
    enum status status = ctl_watch(server, adapters, error);
    json_decref(adapters);
    return status;
}

static bool is_of_audit_log(enum ipc_command_code command)
{
    return command == IPC_audit_tail || command == IPC_audit_verify;
}

enum status ctl_present(const struct ctl_call *call, struct ctl_server *server,
                        const json_t *result, struct error *error)
{
    enum status status = write_files(call, result, error);
    if (status != STATUS_OK)
        return status;
    if (is_of_audit_log(call->command))
        return ctl_present_audit(call, result, error);
    if (call->json)
        ctl_print_json(stdout, result);
    else if (listings[call->command].member != NULL)
        print_listing(&listings[call->command], result);
    else if (sentences[call->command] != NULL)
        sentences[call->command](call, result);
    else
        ctl_print_members(stdout, result);
    return ctl_flag(call, "wait") ? wait_for_rewrap(server, result, error) : STATUS_OK;
}
