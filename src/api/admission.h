/* SPDX-License-Identifier: Apache-2.0 */
/* From where requests may come: the instance's policy "allowedIP". Inside src/api/ only. */
#ifndef KMIPD_API_ADMISSION_H
#define KMIPD_API_ADMISSION_H

#include <netinet/in.h>
#include <pthread.h>

#include "kms/keys.h"

#define ADMISSION_NETWORKS_MAX 1000

/* A network; addresses of IPv4 as they are mapped into IPv6 (RFC 4291 §2.5.5.2). */
struct admission_network {
    struct in6_addr address;
    unsigned bits; /* of 128 that must be the same */
};

/* What was last read of the policy. */
struct admission {
    pthread_rwlock_t lock; /* guards all below */
    uint64_t generation;   /* kms_instance_policies_generation(); 0: nothing was read yet */
    struct admission_network *networks;
    size_t count; /* 0: from everywhere */
};

void admission_init(struct admission *admission);
void admission_free(struct admission *admission);

/* "192.0.2.1", "2001:db8::/32". */
bool admission_parse(const char *text, struct admission_network *ret_network);

/*
 * Whether a request of this peer ("192.0.2.1:5000", "[2001:db8::1]:5000") may be answered. Reads
 * the policy when it was changed. Failures as of kms_instance_policy().
 */
enum status admission_ask(struct admission *admission, struct kms *kms, struct bytes peer,
                          bool *ret_admitted) MUST_USE;

#endif
