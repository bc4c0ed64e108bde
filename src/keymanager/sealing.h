/* SPDX-License-Identifier: Apache-2.0 */
/* Where the secret comes from that a sealed file is sealed with. */
#ifndef KMIPD_KEYMANAGER_SEALING_H
#define KMIPD_KEYMANAGER_SEALING_H

#include "keymanager/sealed_file.h"

/*
 * The passphrase, the content of the credential, the 32 bytes of the key file or those that the TPM
 * keeps, from which sealed_keys_derive() makes keys. With `create` a missing key file is made, and
 * the TPM's is sealed anew to the PCRs as they are. Errors as sealed_file_open(), with a text.
 */
enum status sealing_material(const struct sealing *sealing, bool create,
                             struct secret *ret_material, struct error *error) MUST_USE;

/* Where the systemd credential `name` is: in $CREDENTIALS_DIRECTORY, unless the name has a slash
 * and is a path. NOT_FOUND: there is no such directory; NO_MEMORY. The caller frees the path. */
enum status sealing_credential_path(const char *name, char **ret_path,
                                    struct error *error) MUST_USE;

/* "passphrase", "key file", "credential", "TPM" for texts; "unknown method" for any other number. */
const char *sealing_method_text(unsigned method);

#endif
