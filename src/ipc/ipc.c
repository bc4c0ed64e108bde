/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

#define LENGTH_SIZE 4
#define BACKLOG     16

/* ---- Sockets ---- */

/*
 * An address for a path of any length: where the path does not fit (unix(7): 108 bytes), it goes
 * through its open directory, whose descriptor is returned to be closed after use, else -1.
 */
static bool make_address(const char *path, struct sockaddr_un *address, int *ret_directory)
{
    char copy[4096];
    *ret_directory = -1;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length < sizeof(address->sun_path)) {
        memcpy(address->sun_path, path, length + 1);
        return true;
    }
    const char *slash = strrchr(path, '/');
    if (slash == NULL || length >= sizeof(copy)) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(copy, path, length + 1);
    copy[slash - path] = '\0';
    *ret_directory = open(copy, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*ret_directory < 0)
        return false;
    (void)snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%.60s",
                   *ret_directory, slash + 1);
    return true;
}

static void close_if_open(int descriptor)
{
    if (descriptor >= 0)
        (void)close(descriptor);
}

static int open_listener(const char *path)
{
    struct sockaddr_un address;
    int directory;
    if (!make_address(path, &address, &directory))
        return -1;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool done = listener >= 0 && (unlink(address.sun_path) == 0 || errno == ENOENT) &&
                bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                chmod(address.sun_path, S_IRUSR | S_IWUSR) == 0 && listen(listener, BACKLOG) == 0;
    int saved = errno;
    close_if_open(directory);
    if (!done) {
        close_if_open(listener);
        listener = -1;
    }
    errno = saved;
    return listener;
}

enum status ipc_listen(const char *path, int *ret_socket, struct error *error)
{
    int listener = open_listener(path);
    if (listener < 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot make the control socket %.300s",
                               path);
    *ret_socket = listener;
    return STATUS_OK;
}

static int open_connection(const char *path)
{
    struct sockaddr_un address;
    int directory;
    if (!make_address(path, &address, &directory))
        return -1;
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool done = connection >= 0 &&
                connect(connection, (struct sockaddr *)&address, sizeof(address)) == 0;
    int saved = errno;
    close_if_open(directory);
    if (!done) {
        close_if_open(connection);
        connection = -1;
    }
    errno = saved;
    return connection;
}

enum status ipc_connect(const char *path, int *ret_socket, struct error *error)
{
    int connection = open_connection(path);
    if (connection >= 0) {
        *ret_socket = connection;
        return STATUS_OK;
    }
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
        return error_set(error, STATUS_NOT_FOUND,
                         "no kmipd serves %.300s: start it, or name its state directory with "
                         "--state DIR",
                         path);
    case EACCES:
    case EPERM:
        return error_set(error, STATUS_PERMISSION_DENIED,
                         "%.300s is not yours: use kmipctl as root or as the user that kmipd runs "
                         "as (sudo kmipctl ...)",
                         path);
    default:
        return error_set_errno(error, STATUS_IO, errno, "cannot connect to %.300s", path);
    }
}

enum status ipc_peer(int socket, struct ipc_peer *ret_peer)
{
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 ||
        size != sizeof(credentials))
        return STATUS_IO;
    *ret_peer = (struct ipc_peer){credentials.uid, credentials.pid};
    return STATUS_OK;
}

/* ---- Messages ---- */

static void wipe_and_free(void *memory)
{
    if (memory != NULL)
        explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

void ipc_wipe_json(void)
{
    json_set_alloc_funcs(malloc, wipe_and_free);
}

static enum status wait_for(int socket, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - clock_monotonic();
        if (left <= 0)
            return STATUS_TIMED_OUT;
        struct pollfd entry = {.fd = socket, .events = events};
        int ready = poll(&entry, 1, (int)left);
        if (ready > 0)
            return STATUS_OK;
        if (ready < 0 && errno != EINTR)
            return STATUS_IO;
    }
}

static bool is_passing(int error)
{
    return error == EAGAIN || error == EINTR;
}

static enum status send_bytes(int socket, struct bytes bytes, int64_t deadline)
{
    while (bytes.size > 0) {
        ssize_t sent = send(socket, bytes.data, bytes.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            bytes = bytes_of(bytes.data + sent, bytes.size - (size_t)sent);
            continue;
        }
        if (!is_passing(errno))
            return errno == EPIPE || errno == ECONNRESET ? STATUS_CLOSED : STATUS_IO;
        enum status status = wait_for(socket, POLLOUT, deadline);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

enum status ipc_send(int socket, const json_t *message, int milliseconds)
{
    int64_t deadline = clock_monotonic() + milliseconds;
    char *text = json_dumps(message, JSON_COMPACT);
    if (text == NULL)
        return STATUS_NO_MEMORY;
    size_t size = strlen(text);
    uint8_t length[LENGTH_SIZE] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16),
                                   (uint8_t)(size >> 8), (uint8_t)size};
    enum status status = size > IPC_MESSAGE_MAX ? STATUS_TOO_LARGE : STATUS_OK;
    if (status == STATUS_OK)
        status = send_bytes(socket, bytes_of(length, sizeof(length)), deadline);
    if (status == STATUS_OK)
        status = send_bytes(socket, bytes_of(text, size), deadline);
    wipe_and_free(text);
    return status;
}

/* `ret_got` tells how much had come when it fails. */
static enum status receive_bytes(int socket, uint8_t *to, size_t size, int64_t deadline,
                                 size_t *ret_got)
{
    size_t got = 0;
    enum status status = STATUS_OK;
    while (got < size && status == STATUS_OK) {
        ssize_t received = recv(socket, to + got, size - got, MSG_DONTWAIT);
        if (received > 0)
            got += (size_t)received;
        else if (received == 0 || errno == ECONNRESET)
            status = STATUS_CLOSED;
        else
            status = is_passing(errno) ? wait_for(socket, POLLIN, deadline) : STATUS_IO;
    }
    *ret_got = got;
    return status;
}

static enum status receive_text(int socket, size_t size, int64_t deadline, json_t **ret_message)
{
    char *text = malloc(size > 0 ? size : 1);
    if (text == NULL)
        return STATUS_NO_MEMORY;
    size_t got;
    enum status status = receive_bytes(socket, (uint8_t *)text, size, deadline, &got);
    if (status == STATUS_OK) {
        json_error_t ignored;
        json_t *message = json_loadb(text, size, JSON_REJECT_DUPLICATES, &ignored);
        if (json_is_object(message)) {
            *ret_message = message;
        } else {
            json_decref(message);
            status = STATUS_MALFORMED;
        }
    }
    wipe_and_free(text);
    return status;
}

enum status ipc_receive(int socket, int milliseconds, json_t **ret_message)
{
    int64_t deadline = clock_monotonic() + milliseconds;
    uint8_t length[LENGTH_SIZE];
    size_t got;
    enum status status = receive_bytes(socket, length, sizeof(length), deadline, &got);
    if (status == STATUS_CLOSED && got > 0)
        return STATUS_MALFORMED; /* the end came inside a length */
    if (status != STATUS_OK)
        return status;
    size_t size = (size_t)length[0] << 24 | (size_t)length[1] << 16 | (size_t)length[2] << 8 |
                  length[3];
    if (size > IPC_MESSAGE_MAX)
        return STATUS_TOO_LARGE;
    status = receive_text(socket, size, deadline, ret_message);
    return status == STATUS_CLOSED ? STATUS_MALFORMED : status;
}
