/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded key manager: root keys in one file, sealed with AES-256 under a sealing key, which
 * comes from a passphrase (scrypt, RFC 7914), from a systemd credential, from the machine's TPM, or
 * from a key file of mode 0600 (for a first try). Open, the root keys stand in the secret heap. The bytes of the file:
 * docs/formats.md.
 */
#ifndef KMIPD_KEYMANAGER_SEALED_FILE_H
#define KMIPD_KEYMANAGER_SEALED_FILE_H

#include "keymanager/keymanager.h"

/* The numbers are those in the file. */
enum sealing_method {
    SEALING_KEY_FILE = 1,   /* `path`: 32 random bytes in hex, mode 0600; made when missing where a
                               sealed file is made or sealed anew */
    SEALING_CREDENTIAL = 2, /* `path`: a file of 32 to 4,096 bytes of any content, all of which
                               count; a name without a slash is one in $CREDENTIALS_DIRECTORY
                               (systemd LoadCredentialEncrypted=) */
    SEALING_PASSPHRASE = 3, /* `passphrase`, not empty */
    SEALING_TPM = 4,        /* `path`: what only this machine's TPM 2.0 opens, and that only while
                               its `pcrs` are as they were; made or renewed where a sealed file is
                               made or sealed anew. Through `tcti` */
};

struct sealing {
    enum sealing_method method;
    const char *path;                /* for all but a passphrase */
    const struct secret *passphrase; /* borrowed during the call */
    const char *tcti;                /* of tpm2-tss, such as "device:/dev/tpmrm0" */
    const char *pcrs;                /* of the SHA-256 bank, such as "0,7"; NULL or empty: none */
};

/*
 * Opens the sealed file at `path`; makes it, with no root key in it, when `create` is set and the
 * file is not there. Each failure has a text that says what to do:
 *   NOT_FOUND          the file, or the file with the sealing key, is not there
 *   NOT_AUTHENTICATED  wrong passphrase, key file or credential, another TPM, changed PCRs, or
 *                      another method than the file's
 *   STORE_CORRUPT      damaged, cut off, or no sealed file at all
 *   STORE_NEWER        written by a newer version of this program
 *   IO                 not readable, permissions too wide (group or others may read), not the owner
 * and NO_MEMORY, CRYPTO_FAILED, INVALID_ARGUMENT. Where only `path`.previous is left, no new file
 * is made in its place: the root keys in it must not be forgotten.
 * Changes of the file are atomic (write aside, fsync, rename, fsync of the directory), and the
 * generation before is kept as `path`.previous. A change fails with CONFLICT when another process
 * has changed the file since it was opened here.
 */
enum status sealed_file_open(const char *path, const struct sealing *sealing, bool create,
                             struct keymanager **ret_keymanager, struct error *error) MUST_USE;

/*
 * Seals the same root keys anew under another sealing (changed passphrase). `path`.previous still
 * opens with the one before: remove it if that one has become known. INVALID_ARGUMENT if
 * `keymanager` is of another provider; else as above.
 */
enum status sealed_file_reseal(struct keymanager *keymanager, const struct sealing *sealing,
                               struct error *error) MUST_USE;

#endif
