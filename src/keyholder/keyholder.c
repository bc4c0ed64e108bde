/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/keyholder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "keyholder/limits.h"
#include "keyholder/pkcs11.h"
#include "keyholder/server.h"
#include "keymanager/sealed_file.h"
#include "keymanager/sealing_source.h"

#define HELLO_MAX 32768

enum { EXIT_ENDED = 0, EXIT_BROKEN = 1, EXIT_MISUSED = 2 };

/* What this process is made of. */
struct holder {
    int socket;
    uint8_t hello[HELLO_MAX]; /* the texts of `settings` stand in it */
    uint64_t number;          /* of the request HELLO */
    struct keyholder_settings settings;
    struct keymanagers keymanagers;
    char *directory; /* of the sealed file; NULL: none */
    bool inside;     /* it is the working directory, since its user may not reach it otherwise */
    struct server *server;
};

/* ---- HELLO ---- */

/* One frame, and not a byte more: what follows is the server's. */
static enum status read_hello(struct holder *holder)
{
    size_t size = 0;
    for (;;) {
        struct keyholder_head head;
        struct bytes body;
        enum status status = keyholder_frame_read(bytes_of(holder->hello, size), &head, &body);
        if (status == STATUS_OK) {
            holder->number = head.number;
            return head.message == KEYHOLDER_HELLO && size == KEYHOLDER_HEAD_SIZE + head.size
                       ? keyholder_settings_read(body, &holder->settings)
                       : STATUS_MALFORMED;
        }
        if (status != STATUS_NOT_FOUND || size == HELLO_MAX)
            return STATUS_MALFORMED;
        ssize_t got = recv(holder->socket, holder->hello + size, HELLO_MAX - size, 0);
        if (got == 0)
            return STATUS_CLOSED;
        if (got < 0 && errno != EINTR)
            return STATUS_IO;
        size += got > 0 ? (size_t)got : 0;
    }
}

static enum status answer_hello(const struct holder *holder, enum status status, const char *text)
{
    uint8_t memory[KEYHOLDER_HEAD_SIZE + 2 * sizeof(struct error)];
    struct buffer buffer;
    const struct keyholder_answer answer = {.message = KEYHOLDER_HELLO,
                                            .number = holder->number,
                                            .status = status,
                                            .text = bytes_of_text(text)};
    buffer_over(&buffer, memory, sizeof(memory));
    enum status written = keyholder_answer_append(&buffer, &answer);
    if (written != STATUS_OK)
        return written;
    ssize_t sent = send(holder->socket, buffer.data, buffer.size, MSG_NOSIGNAL);
    return sent == (ssize_t)buffer.size ? STATUS_OK : STATUS_IO;
}

/* ---- Opening ---- */

static enum status find_directory(struct holder *holder, struct error *error)
{
    const char *path = holder->settings.sealed_path;
    if (path[0] == '\0')
        return STATUS_OK;
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return error_set(error, STATUS_INVALID_ARGUMENT, "the path of the sealed file is relative");
    holder->directory = strndup(path, slash > path ? (size_t)(slash - path) : 1);
    return holder->directory != NULL
               ? STATUS_OK
               : error_set(error, STATUS_NO_MEMORY, "no memory to open the sealed file");
}

/* The path from inside, of what is in the directory itself. */
static const char *from_inside(const struct holder *holder, const char *path)
{
    size_t length = strlen(holder->directory);
    return path != NULL && strncmp(path, holder->directory, length) == 0 && path[length] == '/' &&
                   strchr(path + length + 1, '/') == NULL
               ? path + length + 1
               : path;
}

/* Whether it means another file from inside. The path of a credential or a module may be a mere name,
 * which is looked for elsewhere. */
static bool is_relative(const char *path, bool may_be_name)
{
    return path != NULL && path[0] != '\0' && path[0] != '/' &&
           (!may_be_name || strchr(path, '/') != NULL);
}

static bool has_relative_paths(const struct keyholder_settings *settings)
{
    return is_relative(settings->sealing.path,
                       settings->sealing.kind == SEALING_SOURCE_CREDENTIAL) ||
           is_relative(settings->pkcs11_module, true) || is_relative(settings->pkcs11_pin, true);
}

/* The directories above are kmipd's alone, and the user that this process becomes does not get
 * through them. */
static enum status enter_directory(struct holder *holder, struct error *error)
{
    struct keyholder_settings *settings = &holder->settings;
    if (holder->directory == NULL || settings->user[0] == '\0' || geteuid() != 0)
        return STATUS_OK;
    if (has_relative_paths(settings))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "with keyholder-user, sealing-file, module and pin-file must begin with /");
    if (chdir(holder->directory) != 0)
        return error_set_errno(error, STATUS_IO, errno, "the keyholder process cannot enter %.300s",
                               holder->directory);
    settings->sealed_path = from_inside(holder, settings->sealed_path);
    settings->sealing.path = from_inside(holder, settings->sealing.path);
    holder->inside = true;
    return STATUS_OK;
}

static const char *directory_path(const struct holder *holder)
{
    return holder->inside ? "." : holder->directory;
}

static enum status open_sealed_file(struct holder *holder, struct error *error)
{
    const struct keyholder_settings *settings = &holder->settings;
    struct sealing_choice choice;
    if (holder->directory == NULL)
        return STATUS_OK;
    if (settings->user[0] != '\0' && access(directory_path(holder), R_OK | W_OK | X_OK) != 0)
        return error_set_errno(error, STATUS_IO, errno,
                               "the user '%.32s' of the keyholder process cannot change files in "
                               "%.200s, where the sealed file is: it must be that user's directory",
                               settings->user, holder->directory);
    bool is_new = settings->create && !file_exists(settings->sealed_path);
    enum status status = sealing_choose(&settings->sealing, is_new, &choice, error);
    if (status != STATUS_OK)
        return status;
    status = sealed_file_open(settings->sealed_path, &choice.sealing, settings->create,
                              &holder->keymanagers.by_code[KEYMANAGER_SEALED_FILE], error);
    sealing_choice_free(&choice);
    return status;
}

static enum status open_hsm(struct holder *holder, struct error *error)
{
    const struct keyholder_settings *settings = &holder->settings;
    const struct pkcs11_options options = {
        .module = settings->pkcs11_module,
        .token = settings->pkcs11_token,
        .pin = settings->pkcs11_pin,
        .sessions_max = settings->pkcs11_sessions,
    };
    if (settings->pkcs11_module[0] == '\0')
        return STATUS_OK;
    return pkcs11_open(&options, &holder->keymanagers.by_code[KEYMANAGER_PKCS11], error);
}

static enum status open_server(struct holder *holder, struct error *error)
{
    const struct server_options options = {
        .socket = holder->socket,
        .keymanagers = holder->keymanagers,
        .unwrap_rate = holder->settings.unwrap_rate,
        .unwrap_burst = holder->settings.unwrap_burst,
        .workers = holder->settings.pkcs11_sessions > 0 ? holder->settings.pkcs11_sessions + 1 : 2,
    };
    enum status status = server_open(&options, &holder->server);
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(error, status,
                           "the keyholder process cannot lock its memory or start its threads: "
                           "raise RLIMIT_MEMLOCK (ulimit -l, or LimitMEMLOCK= in the systemd unit)");
}

static enum status restrict_itself(struct holder *holder, struct error *error)
{
    const struct limits limits = {
        .directory = holder->directory != NULL ? directory_path(holder) : NULL,
        .module = holder->settings.pkcs11_module[0] != '\0',
        .network = holder->settings.network,
    };
    return limits_enter(&limits, error);
}

static enum status open_all(struct holder *holder, struct error *error)
{
    enum status status = secret_heap_init(holder->settings.secret_memory, error);
    if (status == STATUS_OK)
        status = find_directory(holder, error);
    if (status == STATUS_OK)
        status = enter_directory(holder, error);
    if (status == STATUS_OK)
        status = sandbox_drop_privileges(holder->settings.user, error);
    if (status == STATUS_OK)
        status = open_sealed_file(holder, error);
    if (status == STATUS_OK)
        status = open_hsm(holder, error);
    if (status == STATUS_OK)
        status = restrict_itself(holder, error);
    return status == STATUS_OK ? open_server(holder, error) : status;
}

static void close_all(struct holder *holder)
{
    server_close(holder->server);
    for (size_t i = 0; i <= KEYMANAGER_CODE_MAX; i++)
        keymanager_close(holder->keymanagers.by_code[i]);
    free(holder->directory);
}

/* ---- Running ---- */

static int complain(const char *text)
{
    (void)fprintf(stderr, "kmipd keyholder: %s\n", text);
    return EXIT_BROKEN;
}

static int serve(struct holder *holder)
{
    struct error error = {0};
    enum status status = open_all(holder, &error);
    if (status != STATUS_OK) {
        (void)!answer_hello(holder, status, error_text(&error));
        return EXIT_BROKEN;
    }
    status = answer_hello(holder, STATUS_OK, "");
    if (status == STATUS_OK)
        status = server_run(holder->server);
    if (status == STATUS_MALFORMED)
        return complain("what came over the socket breaks the protocol");
    return status == STATUS_CLOSED ? EXIT_ENDED : EXIT_BROKEN;
}

int keyholder_run(int socket)
{
    static struct holder holder;
    struct error error = {0};
    holder.socket = socket;
    if (sandbox_begin(socket, &error) != STATUS_OK || secret_protect_process(&error) != STATUS_OK)
        return complain(error_text(&error));
    enum status status = read_hello(&holder);
    if (status == STATUS_CLOSED)
        return EXIT_ENDED;
    if (status != STATUS_OK)
        return complain("the first message is not what it should be");
    int code = serve(&holder);
    close_all(&holder);
    return code;
}

_Noreturn void keyholder_main(void)
{
    struct stat status;
    if (fstat(KEYHOLDER_DESCRIPTOR, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        (void)fputs("kmipd keyholder is started by kmipd itself, which hands a socket down to it\n",
                    stderr);
        _exit(EXIT_MISUSED);
    }
    /* Not exit(): what runs then (a leak checker, a module's end) needs what was given up. */
    _exit(keyholder_run(KEYHOLDER_DESCRIPTOR));
}
