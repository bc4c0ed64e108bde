/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/names.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config.h"

static void add(struct names *names, struct bytes name)
{
    if (name.size == 0 || name.size >= NAME_MAX_SIZE || names->count == NAMES_MAX)
        return;
    for (size_t i = 0; i < names->count; i++)
        if (bytes_equal_text(name, names->list[i]))
            return;
    char *text = names->text[names->count];
    memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    names->list[names->count++] = text;
}

static void add_text(struct names *names, const char *name)
{
    add(names, bytes_of_text(name));
}

static bool add_more(void *context, struct bytes name)
{
    add(context, name);
    return true;
}

/* The name service may be slow or gone on a machine that is being set up: one second a try. */
static void add_full_name(struct names *names, const char *host)
{
    const struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    (void)setenv("RES_OPTIONS", "timeout:1 attempts:1", 0);
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return;
    if (found->ai_canonname != NULL)
        add_text(names, found->ai_canonname);
    freeaddrinfo(found);
}

static void add_host_name(struct names *names)
{
    char host[NAME_MAX_SIZE] = "";
    if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0')
        return;
    add_text(names, host);
    add_full_name(names, host);
}

static void add_address(struct names *names, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN];
    const struct sockaddr_in *four = (const void *)address;
    const struct sockaddr_in6 *six = (const void *)address;
    const void *source = NULL;
    if (address->sa_family == AF_INET)
        source = &four->sin_addr;
    else if (address->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr))
        source = &six->sin6_addr; /* link-local addresses mean nothing to another machine */
    if (source != NULL && inet_ntop(address->sa_family, source, text, sizeof(text)) != NULL)
        add_text(names, text);
}

static void add_interfaces(struct names *names)
{
    struct ifaddrs *interfaces = NULL;
    if (getifaddrs(&interfaces) != 0)
        return;
    for (const struct ifaddrs *at = interfaces; at != NULL; at = at->ifa_next)
        if (at->ifa_addr != NULL && (at->ifa_flags & IFF_UP) != 0)
            add_address(names, at->ifa_addr);
    freeifaddrs(interfaces);
}

static void add_listen(struct names *names, const char *listen)
{
    size_t size = (size_t)(strrchr(listen, ':') - listen);
    struct bytes address = {(const uint8_t *)listen, size};
    if (size > 2 && listen[0] == '[')
        address = bytes_of(listen + 1, size - 2);
    if (!bytes_equal_text(address, "0.0.0.0") && !bytes_equal_text(address, "::"))
        add(names, address);
}

void names_collect(const char *listen, const char *more, struct names *ret_names)
{
    memset(ret_names, 0, sizeof(*ret_names));
    add_host_name(ret_names);
    (void)config_each_name(more, add_more, ret_names);
    add_text(ret_names, "localhost");
    add_text(ret_names, "127.0.0.1");
    add_listen(ret_names, listen);
    add_interfaces(ret_names);
}
