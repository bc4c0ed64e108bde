/* SPDX-License-Identifier: Apache-2.0 */
#include "api/admission.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define MAPPED_BITS 96 /* before an address of IPv4 */

void admission_init(struct admission *admission)
{
    *admission = (struct admission){0};
    (void)pthread_rwlock_init(&admission->lock, NULL);
}

void admission_free(struct admission *admission)
{
    (void)pthread_rwlock_destroy(&admission->lock);
    free(admission->networks);
}

/* ---- Addresses ---- */

/* *ret_bits: how many an address of its family has. */
static bool parse_address(const char *text, struct in6_addr *ret_address, unsigned *ret_bits)
{
    struct in_addr four;
    *ret_bits = 128;
    if (inet_pton(AF_INET6, text, ret_address) == 1)
        return true;
    if (inet_pton(AF_INET, text, &four) != 1)
        return false;
    *ret_address = (struct in6_addr){0};
    ret_address->s6_addr[10] = 0xFF;
    ret_address->s6_addr[11] = 0xFF;
    memcpy(ret_address->s6_addr + 12, &four, sizeof(four));
    *ret_bits = 32;
    return true;
}

bool admission_parse(const char *text, struct admission_network *ret_network)
{
    char address[INET6_ADDRSTRLEN + 1];
    unsigned bits = 0;
    size_t length = strcspn(text, "/");
    if (length >= sizeof(address))
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    if (!parse_address(address, &ret_network->address, &bits))
        return false;
    unsigned before = 128 - bits;
    if (text[length] == '/') {
        char *end;
        const char *digits = text + length + 1;
        unsigned long wanted = strtoul(digits, &end, 10);
        if (*digits < '0' || *digits > '9' || *end != '\0' || wanted > bits)
            return false;
        bits = (unsigned)wanted;
    }
    ret_network->bits = before + bits;
    return true;
}

static bool is_within(const struct admission_network *network, const struct in6_addr *address)
{
    size_t whole = network->bits / 8;
    unsigned rest = network->bits % 8;
    if (memcmp(network->address.s6_addr, address->s6_addr, whole) != 0)
        return false;
    return rest == 0 ||
           ((network->address.s6_addr[whole] ^ address->s6_addr[whole]) >> (8 - rest)) == 0;
}

static bool parse_peer(struct bytes peer, struct in6_addr *ret_address)
{
    char text[INET6_ADDRSTRLEN + 1];
    unsigned bits;
    bool bracket = peer.size > 0 && peer.data[0] == '[';
    const uint8_t *end = peer.size == 0 ? NULL : memrchr(peer.data, bracket ? ']' : ':', peer.size);
    if (end == NULL || (size_t)(end - peer.data) - bracket >= sizeof(text))
        return false;
    size_t size = (size_t)(end - peer.data) - bracket;
    memcpy(text, peer.data + bracket, size);
    text[size] = '\0';
    return parse_address(text, ret_address, &bits);
}

/* ---- The policy ---- */

/* What the policy's text, a line for each network, says. */
static enum status parse_networks(const char *text, struct admission_network **ret_networks,
                                  size_t *ret_count)
{
    struct admission_network *networks = calloc(ADMISSION_NETWORKS_MAX, sizeof(*networks));
    size_t count = 0;
    if (networks == NULL)
        return STATUS_NO_MEMORY;
    while (*text != '\0' && count < ADMISSION_NETWORKS_MAX) {
        char line[INET6_ADDRSTRLEN + 8] = "";
        size_t size = strcspn(text, "\n");
        if (size < sizeof(line))
            memcpy(line, text, size);
        if (admission_parse(line, &networks[count]))
            count++;
        text += size + (text[size] == '\n');
    }
    *ret_networks = networks;
    *ret_count = count;
    return STATUS_OK;
}

static enum status read_networks(struct kms *kms, struct admission_network **ret_networks,
                                 size_t *ret_count)
{
    struct kms_instance_policy *policy = calloc(1, sizeof(*policy));
    enum status status = policy == NULL ? STATUS_NO_MEMORY
                                        : kms_instance_policy(kms, KMS_INSTANCE_ALLOWED_IP, policy);
    *ret_networks = NULL;
    *ret_count = 0;
    if (status == STATUS_OK && policy->enabled)
        status = parse_networks(policy->text, ret_networks, ret_count);
    free(policy);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status refresh(struct admission *admission, struct kms *kms, uint64_t generation)
{
    struct admission_network *networks;
    size_t count;
    enum status status = read_networks(kms, &networks, &count);
    if (status != STATUS_OK)
        return status;
    (void)pthread_rwlock_wrlock(&admission->lock);
    if (generation > admission->generation) { /* nobody else was faster */
        struct admission_network *former = admission->networks;
        admission->networks = networks;
        admission->count = count;
        admission->generation = generation;
        networks = former;
    }
    (void)pthread_rwlock_unlock(&admission->lock);
    free(networks);
    return STATUS_OK;
}

enum status admission_ask(struct admission *admission, struct kms *kms, struct bytes peer,
                          bool *ret_admitted)
{
    struct in6_addr address;
    uint64_t generation = kms_instance_policies_generation(kms);
    (void)pthread_rwlock_rdlock(&admission->lock);
    bool known = admission->generation == generation;
    (void)pthread_rwlock_unlock(&admission->lock);
    enum status status = known ? STATUS_OK : refresh(admission, kms, generation);
    if (status != STATUS_OK)
        return status;
    (void)pthread_rwlock_rdlock(&admission->lock);
    bool admitted = admission->count == 0;
    if (!admitted && parse_peer(peer, &address))
        for (size_t i = 0; i < admission->count && !admitted; i++)
            admitted = is_within(&admission->networks[i], &address);
    (void)pthread_rwlock_unlock(&admission->lock);
    *ret_admitted = admitted;
    return STATUS_OK;
}
