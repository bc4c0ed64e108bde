/* SPDX-License-Identifier: Apache-2.0 */
#include "api/strangers.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hex.h"

/* As the service has it for KMIP: what an audit log of reasonable size bears for years. */
#define STRANGERS_PER_SECOND 20
#define STRANGERS_BURST      200
#define FAILURES_PER_SECOND  1
#define FAILURES_BURST       30
#define UNIT                 INT64_C(1000)

void strangers_init(struct strangers *strangers)
{
    *strangers = (struct strangers){.calls = {STRANGERS_BURST * UNIT, clock_monotonic()}};
    (void)pthread_mutex_init(&strangers->lock, NULL);
}

void strangers_close(struct strangers *strangers)
{
    (void)pthread_mutex_destroy(&strangers->lock);
}

static void fill(struct strangers_bucket *bucket, int64_t per_second, int64_t burst)
{
    int64_t now = clock_monotonic();
    int64_t passed = now - bucket->filled;
    bucket->filled = now;
    if (passed > burst * UNIT / per_second)
        passed = burst * UNIT / per_second;
    bucket->left += passed * per_second;
    if (bucket->left > burst * UNIT)
        bucket->left = burst * UNIT;
}

bool strangers_admit(struct strangers *strangers, uint64_t *ret_left_out)
{
    (void)pthread_mutex_lock(&strangers->lock);
    fill(&strangers->calls, STRANGERS_PER_SECOND, STRANGERS_BURST);
    bool admitted = strangers->calls.left >= UNIT;
    if (admitted) {
        strangers->calls.left -= UNIT;
        *ret_left_out = strangers->left_out;
        strangers->left_out = 0;
    } else {
        strangers->left_out++;
    }
    (void)pthread_mutex_unlock(&strangers->lock);
    return admitted;
}

/* ---- Peers ---- */

/* "192.0.2.1" of "192.0.2.1:5000"; the first half of an address of IPv6, since who has one has all
 * of its network. */
static void address_of(struct bytes peer, char *ret_address)
{
    struct in6_addr six;
    char text[STRANGERS_ADDRESS];
    bool bracket = peer.size > 0 && peer.data[0] == '[';
    const uint8_t *end = memrchr(peer.data, bracket ? ']' : ':', peer.size);
    size_t size = end == NULL ? peer.size : (size_t)(end - peer.data);
    (void)snprintf(text, sizeof(text), "%.*s", (int)(size - bracket),
                   (const char *)peer.data + bracket);
    if (bracket && inet_pton(AF_INET6, text, &six) == 1 && !IN6_IS_ADDR_V4MAPPED(&six))
        hex_text(bytes_of(six.s6_addr, 8), ret_address);
    else
        (void)snprintf(ret_address, STRANGERS_ADDRESS, "%s", text);
}

static size_t place_of(const char *address)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *address != '\0'; address++)
        hash = (hash ^ (uint8_t)*address) * 16777619u;
    return hash % (STRANGERS_PEERS / STRANGERS_WAYS) * STRANGERS_WAYS;
}

/* The peer's place; with `make` one is made for it where the longest silent one was. */
static struct strangers_peer *find_peer(struct strangers *strangers, struct bytes peer, bool make)
{
    char address[STRANGERS_ADDRESS];
    if (peer.size == 0)
        return NULL;
    address_of(peer, address);
    struct strangers_peer *ways = &strangers->peers[place_of(address)];
    struct strangers_peer *oldest = ways;
    for (size_t i = 0; i < STRANGERS_WAYS; i++) {
        if (strcmp(ways[i].address, address) == 0)
            return &ways[i];
        if (ways[i].failures.filled < oldest->failures.filled)
            oldest = &ways[i];
    }
    if (!make)
        return NULL;
    *oldest = (struct strangers_peer){.failures = {FAILURES_BURST * UNIT, clock_monotonic()}};
    (void)snprintf(oldest->address, sizeof(oldest->address), "%s", address);
    return oldest;
}

bool strangers_may_try(struct strangers *strangers, struct bytes peer)
{
    (void)pthread_mutex_lock(&strangers->lock);
    struct strangers_peer *found = find_peer(strangers, peer, false);
    if (found != NULL)
        fill(&found->failures, FAILURES_PER_SECOND, FAILURES_BURST);
    bool may = found == NULL || found->failures.left >= UNIT;
    (void)pthread_mutex_unlock(&strangers->lock);
    return may;
}

void strangers_failed(struct strangers *strangers, struct bytes peer)
{
    (void)pthread_mutex_lock(&strangers->lock);
    struct strangers_peer *found = find_peer(strangers, peer, true);
    if (found != NULL) {
        fill(&found->failures, FAILURES_PER_SECOND, FAILURES_BURST);
        found->failures.left -= found->failures.left >= UNIT ? UNIT : found->failures.left;
    }
    (void)pthread_mutex_unlock(&strangers->lock);
}
