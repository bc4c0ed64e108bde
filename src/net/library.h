/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of OpenSSL for TLS alone. OpenSSL 3.0 goes through every kind of key, and everything that
 * could decode one, whenever it parses a certificate: a quarter of a handshake with a client
 * certificate, more of a resumed one, for its ticket holds the certificate. A library context of
 * our own, whose only provider shows what the default provider has but for keys and decoders that
 * TLS has no use for, saves most of that; and loops that each have their own share none of its
 * locks.
 */
#ifndef KMIPD_NET_LIBRARY_H
#define KMIPD_NET_LIBRARY_H

#include <openssl/types.h>

/*
 * The context for the loops with this index. NULL, which is OpenSSL's default context, when none
 * can be made, for an index beyond 63, and where OpenSSL is configured for FIPS, which names other
 * providers. It lives as long as the process: threads that have used it come back to it when they
 * end. Any thread.
 */
OSSL_LIB_CTX *library_get(unsigned index);

#endif
