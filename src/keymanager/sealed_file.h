/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded key manager: root keys in one file, sealed with AES-256 under a sealing key, which
 * comes from a passphrase (scrypt, RFC 7914), from a systemd credential, or from a key file of
 * mode 0600 (for a first try). Open, the root keys stand in the secret heap.
 */
#ifndef KMIPD_KEYMANAGER_SEALED_FILE_H
#define KMIPD_KEYMANAGER_SEALED_FILE_H

#include "keymanager/keymanager.h"

enum sealing_method {
    SEALING_KEY_FILE,   /* `path`: 32 random bytes in hex, mode 0600; made when missing at creation */
    SEALING_CREDENTIAL, /* `path`: a file of at least 32 bytes of any content under
                           $CREDENTIALS_DIRECTORY (systemd LoadCredentialEncrypted=) */
    SEALING_PASSPHRASE, /* `passphrase` */
};

struct sealing {
    enum sealing_method method;
    const char *path;                /* for the first two */
    const struct secret *passphrase; /* for the third; borrowed during the call */
};

/*
 * Opens the sealed file at `path`; makes it, with no root key in it, when `create` is set and the
 * file is not there. Each failure has a text that says what to do: file missing (and nothing may
 * be created), wrong passphrase or key, file damaged, written by a newer version, permissions too
 * wide (group or others may read), not the owner. Fails closed. Changes of the file are atomic
 * (write aside, fsync, rename, fsync of the directory), and the previous generation is kept as
 * `path`.previous.
 */
enum status sealed_file_open(const char *path, const struct sealing *sealing, bool create,
                             struct keymanager **ret_keymanager, struct error *error) MUST_USE;

/* Seals the same root keys anew under another sealing (changed passphrase). */
enum status sealed_file_reseal(struct keymanager *keymanager, const struct sealing *sealing,
                               struct error *error) MUST_USE;

#endif
