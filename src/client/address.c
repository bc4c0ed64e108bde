/* SPDX-License-Identifier: Apache-2.0 */
#include "client/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

int64_t client_microseconds(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static bool split(const char *text, struct client_address *ret_address)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return false;
    const char *host = text;
    size_t length = (size_t)(colon - text);
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        ++host;
        length -= 2;
    } else if (memchr(host, ':', length) != NULL) {
        return false;
    }
    size_t digits = strspn(colon + 1, "0123456789");
    if (length == 0 || length >= CLIENT_HOST_MAX || digits == 0 || digits > 5 ||
        colon[1 + digits] != '\0')
        return false;
    memcpy(ret_address->host, host, length);
    ret_address->host[length] = '\0';
    memcpy(ret_address->port, colon + 1, digits + 1);
    return true;
}

enum status client_address_parse(const char *text, struct client_address *ret_address,
                                 struct error *error)
{
    struct client_address address;
    if (!split(text, &address))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "\"%.200s\" is no server: write HOST:PORT, such as kms1.example.com:5696 "
                         "or [2001:db8::1]:5696",
                         text);
    *ret_address = address;
    return STATUS_OK;
}

/* 0 when the socket is connected, else an errno. */
static int finish_connecting(int fd, int64_t deadline)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    int number = 0;
    socklen_t size = sizeof(number);
    for (;;) {
        int64_t left = deadline - clock_monotonic();
        int count = left > 0 ? poll(&ready, 1, (int)left) : 0;
        if (count == 0)
            return ETIMEDOUT;
        if (count > 0)
            return getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) == 0 ? number : errno;
        if (errno != EINTR)
            return errno;
    }
}

/* 0 and the socket, or an errno. */
static int connect_to(const struct addrinfo *to, int64_t deadline, int *ret_socket)
{
    const int on = 1;
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    int number = connect(fd, to->ai_addr, to->ai_addrlen) == 0 ? 0 : errno;
    if (number == EINPROGRESS || number == EINTR)
        number = finish_connecting(fd, deadline);
    if (number != 0)
        (void)close(fd);
    else
        *ret_socket = fd;
    return number;
}

static enum status explain(const struct client_address *address, int number, struct error *error)
{
    const char *port = address->port;
    const char *host = address->host;
    if (number == ECONNREFUSED)
        return error_set(error, STATUS_IO,
                         "cannot connect to %s port %s: nothing listens there; is kmipd running?",
                         host, port);
    if (number == ETIMEDOUT)
        return error_set(error, STATUS_TIMED_OUT,
                         "cannot connect to %s port %s: no answer in time; is the machine up, and "
                         "does a firewall let TCP port %s through?",
                         host, port, port);
    return error_set_errno(error, STATUS_IO, number, "cannot connect to %s port %s", host, port);
}

enum status client_address_connect(const struct client_address *address, int64_t deadline,
                                   int *ret_socket, int64_t *ret_microseconds, struct error *error)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(address->host, address->port, &hints, &found);
    if (failure != 0)
        return error_set(error, STATUS_NOT_FOUND,
                         "cannot find %s: %s; check the name, or give the numeric address",
                         address->host, gai_strerror(failure));
    int64_t begun = client_microseconds();
    int number = ETIMEDOUT;
    for (const struct addrinfo *to = found; to != NULL; to = to->ai_next) {
        number = connect_to(to, deadline, ret_socket);
        if (number == 0)
            break;
    }
    freeaddrinfo(found);
    if (number != 0)
        return explain(address, number, error);
    *ret_microseconds = client_microseconds() - begun;
    return STATUS_OK;
}
