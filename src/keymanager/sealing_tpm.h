/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing with a TPM 2.0 (docs/formats.md, "TPM file"): 32 random bytes as a sealed object of the
 * TPM, under its storage primary key, which only this TPM can make. They cross the bus encrypted
 * only, to the key whose name the file has, so that nobody in between can pose as the TPM.
 */
#ifndef KMIPD_KEYMANAGER_SEALING_TPM_H
#define KMIPD_KEYMANAGER_SEALING_TPM_H

#include "keymanager/sealed_file.h"

/*
 * What sealing_material() gives for SEALING_TPM. With `create` the file is made, or renewed for the
 * PCRs as they are now: the bytes stay the same if the one that is there still opens, so that a
 * sealed file under it opens before and after.
 */
enum status sealing_tpm_material(const struct sealing *sealing, bool create,
                                 struct secret *ret_material, struct error *error) MUST_USE;

#endif
