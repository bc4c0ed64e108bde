/* SPDX-License-Identifier: Apache-2.0 */
/* From what an administrator configured to what a sealed file is opened with: reads a passphrase
 * from its file, or asks for it on the terminal. */
#ifndef KMIPD_KEYMANAGER_SEALING_SOURCE_H
#define KMIPD_KEYMANAGER_SEALING_SOURCE_H

#include "keymanager/sealed_file.h"

enum sealing_source_kind {
    SEALING_SOURCE_KEY_FILE = 1,
    SEALING_SOURCE_CREDENTIAL = 2,
    SEALING_SOURCE_PASSPHRASE_FILE = 3, /* its first line */
    SEALING_SOURCE_PROMPT = 4,          /* asked for on the terminal */
    SEALING_SOURCE_TPM = 5,
};

struct sealing_source {
    enum sealing_source_kind kind;
    const char *path; /* of the file, or the credential's name; none for a prompt */
    const char *tcti; /* of the TPM, as in struct sealing; may be NULL for others, as the next */
    const char *pcrs;
};

/* A sealing, with the passphrase where it is one. */
struct sealing_choice {
    struct sealing sealing;
    struct secret passphrase;
};

/*
 * `is_new`: a passphrase that a person types is asked for twice. The texts of errors say what to
 * do. The sealing points into the choice and at the source's path. End: sealing_choice_free().
 */
enum status sealing_choose(const struct sealing_source *source, bool is_new,
                           struct sealing_choice *ret_choice, struct error *error) MUST_USE;
void sealing_choice_free(struct sealing_choice *choice);

#endif
