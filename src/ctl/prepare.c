/* SPDX-License-Identifier: Apache-2.0 */
/* What kmipctl does before it sends a command: files, keys, passwords, confirmations. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/prompt.h"
#include "crypto/password.h"
#include "crypto/pki.h"
#include "ctl/ctl.h"

#define PASSWORD_MAX     1024
#define PEM_MAX          (64u << 10)
#define MATERIAL_MAX     1024

static bool put_text(struct ctl_call *call, const char *name, struct bytes text)
{
    return json_object_set_new(call->arguments, name,
                               json_stringn((const char *)text.data, text.size)) == 0;
}

/* ---- PEM ---- */

/* Up to the end of the input, or of the PEM where a person pastes it. */
static void read_pasted(FILE *file, struct buffer *text)
{
    char line[2048];
    while (fgets(line, sizeof(line), file) != NULL) {
        buffer_append_text(text, line);
        if (strncmp(line, "-----END ", 9) == 0 && isatty(fileno(file)))
            return;
    }
}

static enum status read_text(struct ctl_call *call, const char *what, struct buffer *text,
                             struct error *error)
{
    const char *path = ctl_text(call, "file");
    if (path != NULL && strcmp(path, "-") != 0)
        return file_read(path, FILE_PUBLIC, text, error);
    if (isatty(STDIN_FILENO))
        fprintf(stderr, "Paste the %s, from -----BEGIN to the line with -----END:\n", what);
    read_pasted(stdin, text);
    if (buffer_status(text) != STATUS_OK)
        return error_set(error, STATUS_TOO_LARGE, "that is too long for a %s", what);
    return STATUS_OK;
}

static enum status take_pem(struct ctl_call *call, const char *argument, const char *what,
                            struct error *error)
{
    struct buffer text;
    buffer_init(&text, PEM_MAX);
    enum status status = read_text(call, what, &text, error);
    if (status == STATUS_OK && !put_text(call, argument, buffer_bytes(&text)))
        status = error_set(error, STATUS_INVALID_ARGUMENT, "that is no %s in PEM", what);
    buffer_free(&text);
    return status;
}

static enum status prepare_add(struct ctl_call *call, struct ctl_server *server,
                               struct error *error)
{
    return take_pem(call, "certificate", "certificate", error);
}

static enum status prepare_sign(struct ctl_call *call, struct ctl_server *server,
                                struct error *error)
{
    return take_pem(call, "request", "certificate signing request", error);
}

/* ---- A key made here ---- */

enum status ctl_issue_path(const struct ctl_call *call, const char *suffix, char *ret_path,
                           size_t size, struct error *error)
{
    const char *name = ctl_text(call, "name");
    const char *directory = ctl_text(call, "out");
    if (strchr(name, '/') != NULL || name[0] == '.' || name[0] == '\0')
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "'%.60s' cannot be the name of a file, which it is to be as well", name);
    int length = snprintf(ret_path, size, "%s/%s%s", directory != NULL ? directory : ".", name,
                          suffix);
    if (length < 0 || (size_t)length >= size)
        return error_set(error, STATUS_INVALID_ARGUMENT, "the path of --out is too long");
    return STATUS_OK;
}

static enum status refuse_existing(const struct ctl_call *call, const char *suffix,
                                   struct error *error)
{
    char path[CTL_PATH_MAX];
    enum status status = ctl_issue_path(call, suffix, path, sizeof(path), error);
    if (status == STATUS_OK && file_exists(path))
        status = error_set(error, STATUS_EXISTS,
                           "%.300s is there already, and is not overwritten: choose another name, "
                           "or another directory with --out",
                           path);
    return status;
}

static enum status make_key_and_request(struct ctl_call *call, EVP_PKEY *key, struct error *error)
{
    struct buffer pem;
    char path[CTL_PATH_MAX];
    buffer_init(&pem, PEM_MAX);
    enum status status = pki_make_request(key, ctl_text(call, "name"), &pem, error);
    if (status == STATUS_OK && !put_text(call, "request", buffer_bytes(&pem)))
        status = error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    if (status == STATUS_OK)
        status = ctl_issue_path(call, ".key", path, sizeof(path), error);
    if (status == STATUS_OK)
        status = pki_key_write(path, key, FILE_MUST_BE_NEW, error);
    if (status == STATUS_OK)
        (void)snprintf(call->made_file, sizeof(call->made_file), "%s", path);
    buffer_free(&pem);
    return status;
}

static enum status prepare_issue(struct ctl_call *call, struct ctl_server *server,
                                 struct error *error)
{
    EVP_PKEY *key = NULL;
    enum status status = refuse_existing(call, ".key", error);
    if (status == STATUS_OK)
        status = refuse_existing(call, ".pem", error);
    if (status != STATUS_OK)
        return status;
    status = pki_key_make(PKI_KEY_RSA_3072, &key); /* for clients of any age */
    if (status != STATUS_OK)
        return error_set(error, status, "cannot make a key: %s", status_text(status));
    status = make_key_and_request(call, key, error);
    EVP_PKEY_free(key);
    return status;
}

/* ---- Passwords ---- */

static enum status ask_password(struct secret *ret_password, struct error *error)
{
    struct secret again = {0};
    enum status status = prompt_secret("Password: ", PASSWORD_MAX, ret_password, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, status,
                         "there is no terminal to ask for the password: use --password-file FILE");
    if (status != STATUS_OK)
        return status;
    status = prompt_secret("The same password again: ", PASSWORD_MAX, &again, error);
    if (status == STATUS_OK && !secret_equal(ret_password, &again))
        status = error_set(error, STATUS_INVALID_ARGUMENT, "the two passwords differ");
    secret_free(&again);
    if (status != STATUS_OK)
        secret_free(ret_password);
    return status;
}

static enum status read_password(const char *path, struct secret *ret_password,
                                 struct error *error)
{
    struct secret content = {0};
    enum status status = file_read_secret(path, FILE_CREDENTIAL, PASSWORD_MAX, &content, error);
    if (status != STATUS_OK)
        return status;
    const uint8_t *end = memchr(content.data, '\n', content.size);
    status = secret_copy(ret_password, bytes_of(content.data, end != NULL
                                                                  ? (size_t)(end - content.data)
                                                                  : content.size));
    secret_free(&content);
    return status;
}

static enum status hash_password(struct ctl_call *call, const struct secret *password,
                                 struct error *error)
{
    char hash[PASSWORD_HASH_MAX];
    if (password->size == 0)
        return error_set(error, STATUS_INVALID_ARGUMENT, "the password is empty");
    enum status status = password_hash(secret_bytes(password), hash);
    if (status == STATUS_OK && !put_text(call, "password_hash", bytes_of_text(hash)))
        status = STATUS_NO_MEMORY;
    return status == STATUS_OK ? STATUS_OK : error_set(error, status, "%s", status_text(status));
}

/* Only the hash is sent. */
static enum status prepare_credential(struct ctl_call *call, struct ctl_server *server,
                                      struct error *error)
{
    struct secret password = {0};
    const char *file = ctl_text(call, "password_file");
    if (ctl_text(call, "username") == NULL)
        return file == NULL ? STATUS_OK
                            : error_set(error, STATUS_INVALID_ARGUMENT,
                                        "--password-file needs --username");
    enum status status = ctl_secret_heap(error);
    if (status == STATUS_OK)
        status = file != NULL ? read_password(file, &password, error)
                              : ask_password(&password, error);
    if (status == STATUS_OK)
        status = hash_password(call, &password, error);
    secret_free(&password);
    return status;
}

/* ---- Confirmations ---- */

static enum status confirm(const char *question, const char *expected, const char *option,
                           struct error *error)
{
    char line[300];
    if (prompt_line(question, line, sizeof(line)))
        return strcmp(line, expected) == 0
                   ? STATUS_OK
                   : error_set(error, STATUS_CLOSED, "not confirmed; nothing is changed");
    return error_set(error, STATUS_CLOSED,
                     "there is no terminal to ask on; nothing is changed. Give %s to do it "
                     "without being asked",
                     option);
}

/* What is deleted, and how it is named. */
static const struct {
    enum ipc_command_code command;
    const char *question;
    const char *argument;
} deletions[] = {
    {IPC_adapter_delete, "Delete the adapter and all its certificates:", "name"},
    {IPC_cert_delete, "No longer let in the certificate", "certificate"},
    {IPC_root_key_delete, "Delete the root key", "name"},
    {IPC_service_id_delete, "Delete the service ID and all its API keys:", "name"},
    {IPC_api_key_delete, "Delete the API key", "name"},
};

static enum status confirm_delete(struct ctl_call *call, struct ctl_server *server,
                                  struct error *error)
{
    char question[400] = "";
    if (ctl_flag(call, "yes"))
        return STATUS_OK;
    for (size_t i = 0; i < ARRAY_COUNT(deletions); i++)
        if (deletions[i].command == call->command)
            (void)snprintf(question, sizeof(question), "%s '%.200s'? Type yes: ",
                           deletions[i].question, ctl_text(call, deletions[i].argument));
    return confirm(question, "yes", "--yes", error);
}

/* ---- Root keys ---- */

static enum status take_material(struct ctl_call *call, struct error *error)
{
    struct secret content = {0};
    enum status status = ctl_secret_heap(error);
    if (status == STATUS_OK)
        status = file_read_secret(ctl_text(call, "file"), FILE_PRIVATE, MATERIAL_MAX, &content,
                                  error);
    if (status != STATUS_OK)
        return status;
    size_t size = 0;
    while (size < content.size && content.data[size] > ' ')
        size++;
    if (!put_text(call, "material", bytes_of(content.data, size)))
        status = error_set(error, STATUS_INVALID_ARGUMENT, "%.300s is not base64",
                           ctl_text(call, "file"));
    secret_free(&content);
    return status;
}

static enum status prepare_import(struct ctl_call *call, struct ctl_server *server,
                                  struct error *error)
{
    if (ctl_text(call, "file") == NULL)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "name the FILE with the material: base64 in its first line, readable for "
                         "you alone");
    return take_material(call, error);
}

static enum status prepare_rotate(struct ctl_call *call, struct ctl_server *server,
                                  struct error *error)
{
    return ctl_text(call, "file") != NULL ? take_material(call, error) : STATUS_OK;
}

/* Has the name typed, not a yes: a slip must not cost everything. */
static enum status confirm_erasure(struct ctl_call *call, struct ctl_server *server,
                                   struct error *error)
{
    char question[1000];
    json_t *shown = NULL;
    if (ctl_text(call, "yes_i_mean") != NULL)
        return STATUS_OK;
    json_t *asked = json_pack("{s:s}", "name", ctl_text(call, "name"));
    if (ctl_text(call, "key_manager") != NULL)
        (void)json_object_set(asked, "key_manager",
                              json_object_get(call->arguments, "key_manager"));
    enum status status = ctl_request(server, IPC_root_key_show, asked, &shown, error);
    json_decref(asked);
    if (status != STATUS_OK)
        return status;
    const char *name = json_string_value(json_object_get(shown, "name"));
    size_t adapters = json_array_size(json_object_get(shown, "adapters"));
    (void)snprintf(question, sizeof(question),
                   "The root key '%.200s' is used by %zu adapter%s. It is erased at once: every key "
                   "under it, and all that is encrypted with those, is lost for ever.\n"
                   "Type the name of the root key: ",
                   name, adapters, adapters == 1 ? "" : "s");
    status = confirm(question, name, "--yes-i-mean NAME", error);
    if (status == STATUS_OK)
        (void)json_object_set(call->arguments, "yes_i_mean", json_object_get(shown, "name"));
    json_decref(shown);
    return status;
}

static enum status prepare_root_key_delete(struct ctl_call *call, struct ctl_server *server,
                                           struct error *error)
{
    return ctl_flag(call, "force") ? confirm_erasure(call, server, error)
                                   : confirm_delete(call, server, error);
}

/* ---- Objects ---- */

static const char *attribute_of(const json_t *shown, const char *name)
{
    const char *text = json_string_value(
        json_object_get(json_object_get(shown, "attributes"), name));
    return text != NULL ? text : "";
}

/* Shows what the key is for, and has its last characters typed: a slip must not cost a VM. */
static enum status confirm_destroy(struct ctl_call *call, struct ctl_server *server,
                                   struct error *error)
{
    char question[600];
    json_t *shown = NULL;
    if (ctl_flag(call, "yes"))
        return STATUS_OK;
    enum status status = ctl_request(server, IPC_object_show, call->arguments, &shown, error);
    if (status != STATUS_OK)
        return status;
    const char *id = ctl_text(call, "id");
    size_t length = strlen(id);
    const char *last = length > 8 ? id + length - 8 : id;
    (void)snprintf(question, sizeof(question),
                   "%s, state %s, %.60s %.60s\nWhat is encrypted under it is lost for ever. "
                   "Type the last 8 characters of its identifier: ",
                   id, json_string_value(json_object_get(shown, "state")),
                   attribute_of(shown, "x-Component"), attribute_of(shown, "x-Name"));
    for (char *at = question; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 && *at != '\n')
            *at = '?';
    status = confirm(question, last, "--yes", error);
    json_decref(shown);
    return status;
}

/* ---- All of it ---- */

typedef enum status preparation(struct ctl_call *call, struct ctl_server *server,
                                struct error *error);

static preparation *const preparations[IPC_COMMAND_COUNT] = {
    [IPC_adapter_create] = prepare_credential,
    [IPC_adapter_set] = prepare_credential,
    [IPC_adapter_delete] = confirm_delete,
    [IPC_cert_add] = prepare_add,
    [IPC_cert_issue] = prepare_issue,
    [IPC_cert_sign] = prepare_sign,
    [IPC_cert_delete] = confirm_delete,
    [IPC_object_destroy] = confirm_destroy,
    [IPC_root_key_import] = prepare_import,
    [IPC_root_key_rotate] = prepare_rotate,
    [IPC_root_key_delete] = prepare_root_key_delete,
    [IPC_service_id_delete] = confirm_delete,
    [IPC_api_key_delete] = confirm_delete,
};

enum status ctl_prepare(struct ctl_call *call, struct ctl_server *server, struct error *error)
{
    preparation *prepare = preparations[call->command];
    return prepare != NULL ? prepare(call, server, error) : STATUS_OK;
}
