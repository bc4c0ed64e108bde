/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key manager of a hardware security module, through PKCS#11 2.40: root keys are made in the
 * token, sensitive and not extractable, and the token wraps the envelope keys (envelope.h) of what
 * is wrapped. All that is kept about a root key is in the token too (pkcs11_objects.h), so that
 * several endpoints on one HSM, or on a cluster of them, see the same. It belongs into the
 * keyholder process: a module is code of others, and it sees envelope keys.
 *
 * A token that goes away or forgets sessions and login is found again, by its label, in whichever
 * slot it comes back; what was being done is then done once more. A PIN that the token has refused
 * is never tried again, because a token locks itself after a few of those.
 */
#ifndef KMIPD_KEYHOLDER_PKCS11_H
#define KMIPD_KEYHOLDER_PKCS11_H

#include "keymanager/keymanager.h"

struct pkcs11_options {
    const char *module;    /* absolute path of the HSM's PKCS#11 library */
    const char *token;     /* the label of the token; 1 to 32 bytes */
    const char *pin;       /* a file with the PIN on its first line, mode 0600; a name without a
                              slash is a credential in $CREDENTIALS_DIRECTORY */
    unsigned sessions_max; /* at most so many sessions at once: 1 to 256 */
};

/*
 * Loads the module, reads the PIN, and connects to the token. Errors, with a text: NOT_FOUND (the
 * module or the file is not there), IO (not readable, or others may write it), INVALID_ARGUMENT,
 * NO_MEMORY, KEY_MANAGER_UNAVAILABLE (the module does not load, or does not start).
 *
 * A token that is not there, or that refuses the PIN, is no failure here, because opening again
 * would not be the remedy: all functions answer KEY_MANAGER_UNAVAILABLE then, and keymanager_check()
 * says why. Where all is well, keymanager_check() says that too, in the text of its `error`.
 *
 * No fork without exec may follow: modules do not survive it (PKCS#11 §5.4, C_Initialize). A
 * module stays loaded until the process ends, because many cannot be unloaded.
 */
enum status pkcs11_open(const struct pkcs11_options *options, struct keymanager **ret_keymanager,
                        struct error *error) MUST_USE;

#endif
