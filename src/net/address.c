/* SPDX-License-Identifier: Apache-2.0 */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kernel cuts it to net.core.somaxconn. A boot storm waits here while handshakes are made. */
#define BACKLOG 65535

static enum status refuse_text(const char *text, struct error *error)
{
    return error_set(error, STATUS_INVALID_ARGUMENT,
                     "\"%s\" is not an address to listen on: write ADDRESS:PORT with numbers, such "
                     "as 0.0.0.0:5696 or [::]:5696",
                     text);
}

/* Splits "host:port" or "[host]:port" into a NUL-terminated host and the port's text. */
static bool split(const char *text, char *ret_host, size_t size, const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon[1] == '\0')
        return false;
    const char *host = text;
    size_t length = (size_t)(colon - text);
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        ++host;
        length -= 2;
    } else if (memchr(host, ':', length) != NULL) {
        return false;
    }
    if (length == 0 || length >= size)
        return false;
    memcpy(ret_host, host, length);
    ret_host[length] = '\0';
    *ret_port = colon + 1;
    return true;
}

/* getaddrinfo() takes 65536 for 0. */
static bool is_port(const char *text)
{
    return strlen(text) <= 5 && strspn(text, "0123456789") == strlen(text) &&
           strtoul(text, NULL, 10) <= UINT16_MAX;
}

enum status address_parse(const char *text, union address *ret_address, struct error *error)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    char host[INET6_ADDRSTRLEN + 32];
    const char *port;
    struct addrinfo *found;
    if (!split(text, host, sizeof(host), &port) || !is_port(port) ||
        getaddrinfo(host, port, &hints, &found) != 0)
        return refuse_text(text, error);
    bool fits = found->ai_addrlen <= sizeof(*ret_address);
    if (fits)
        memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return fits ? STATUS_OK : refuse_text(text, error);
}

unsigned address_port(const union address *address)
{
    return ntohs(address->any.sa_family == AF_INET6 ? address->v6.sin6_port : address->v4.sin_port);
}

void address_text(const union address *address, char *ret_text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    const struct in6_addr *v6 = &address->v6.sin6_addr;
    bool is_v6 = address->any.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(v6);
    if (is_v6)
        (void)inet_ntop(AF_INET6, v6, host, sizeof(host));
    else if (address->any.sa_family == AF_INET6)
        (void)inet_ntop(AF_INET, v6->s6_addr + 12, host, sizeof(host));
    else
        (void)inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof(host));
    (void)snprintf(ret_text, size, is_v6 ? "[%s]:%u" : "%s:%u", host, address_port(address));
}

static socklen_t address_size(const union address *address)
{
    return address->any.sa_family == AF_INET6 ? sizeof(address->v6) : sizeof(address->v4);
}

static enum status bind_failed(const union address *address, int number, struct error *error)
{
    char text[64];
    address_text(address, text, sizeof(text));
    switch (number) {
    case EADDRINUSE:
        return error_set(
            error, STATUS_EXISTS,
            "cannot listen on %s: the port is in use (`ss -ltnp sport = :%u` names the "
            "program); stop it or listen on another port",
            text, address_port(address));
    case EADDRNOTAVAIL:
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "cannot listen on %s: this machine does not have that address (`ip "
                         "address` lists those it has; 0.0.0.0 means all)",
                         text);
    case EACCES:
    case EPERM:
        return error_set(error, STATUS_PERMISSION_DENIED,
                         "cannot listen on %s: permission denied; ports below 1024 need root or "
                         "CAP_NET_BIND_SERVICE",
                         text);
    default:
        return error_set_errno(error, STATUS_IO, number, "cannot listen on %s", text);
    }
}

/* A bound socket, or -1 with errno. */
static int bound_socket(const union address *address, bool shared)
{
    const int on = 1;
    const int off = 0;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bool bound = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                 (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
                 (address->any.sa_family != AF_INET6 ||
                  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0) &&
                 bind(fd, &address->any, address_size(address)) == 0;
    if (bound)
        return fd;
    int number = errno;
    (void)close(fd);
    errno = number;
    return -1;
}

/*
 * SO_REUSEPORT would let a second server of the same user share the port, and clients reach one of
 * the two by chance. A socket without it can be bound only where nobody listens.
 */
static bool nobody_listens(const union address *address)
{
    int fd = bound_socket(address, false);
    if (fd < 0)
        return false;
    (void)close(fd);
    return true;
}

enum status address_listen(union address *address, bool first, int *ret_socket, struct error *error)
{
    if (first && address_port(address) != 0 && !nobody_listens(address))
        return bind_failed(address, errno, error);
    int fd = bound_socket(address, true);
    if (fd < 0)
        return bind_failed(address, errno, error);
    socklen_t size = sizeof(*address);
    if (listen(fd, BACKLOG) != 0 || getsockname(fd, &address->any, &size) != 0) {
        int number = errno;
        (void)close(fd);
        return bind_failed(address, number, error);
    }
    *ret_socket = fd;
    return STATUS_OK;
}
