/* SPDX-License-Identifier: Apache-2.0 */
/* The types of PKCS#11 in p11-kit's spelling, and what return values mean to us. */
#ifndef KMIPD_KEYHOLDER_PKCS11_API_H
#define KMIPD_KEYHOLDER_PKCS11_API_H

#define CRYPTOKI_GNU
#include <p11-kit/pkcs11.h>

#include "base/bytes.h"
#include "base/error.h"

#ifndef CKR_AEAD_DECRYPT_FAILED /* PKCS#11 3.0 */
#define CKR_AEAD_DECRYPT_FAILED 0x42UL
#endif

/* Our own, in the range of manufacturers where none has been seen. */
#define PKCS11_OWN(number)    (CKR_VENDOR_DEFINED | 0x6B6D6900UL | (number))
#define PKCS11_NO_CONNECTION  PKCS11_OWN(1) /* and not tried, or not a second time */
#define PKCS11_LAST_TRY       PKCS11_OWN(2) /* one wrong PIN more locks the token */
#define PKCS11_TWO_TOKENS     PKCS11_OWN(3) /* with the same label */

/* What is to be done about a return value. */
enum pkcs11_fault {
    PKCS11_FINE,
    PKCS11_LOST,    /* connection, session or login are gone: connect anew, try once more */
    PKCS11_STALE,   /* an object is not what it was: look it up anew, try once more */
    PKCS11_PIN,     /* the token refused the PIN: never try again */
    PKCS11_INPUT,   /* the data is not what it should be */
    PKCS11_REFUSED, /* the token cannot or may not do that */
};

enum pkcs11_fault pkcs11_fault(ck_rv_t value);
/* The status for a caller of the key manager. */
enum status pkcs11_status(ck_rv_t value);
/* "CKR_DEVICE_REMOVED", or "CKR_..." of an unknown one with its number, in `ret_name`. */
#define PKCS11_NAME_SIZE 48
const char *pkcs11_name(ck_rv_t value, char ret_name[static PKCS11_NAME_SIZE]);
/* What it means and what to do, for a person. Static storage. */
const char *pkcs11_text(ck_rv_t value);

/* error_set() with the name and text of a return value behind the message. */
enum status pkcs11_explain(struct error *error, ck_rv_t value, const char *what);

#endif
