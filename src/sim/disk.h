/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk images: sectors of 512 bytes, each encrypted with AES-256-XTS (IEEE 1619) under the sector's
 * number. What is written is known: each sector repeats a line with the disk's label and its own
 * number, so that reading can tell whether everything is as it was written, without a copy.
 *
 * Images are written aside and renamed when they are whole and on stable storage. Functions that
 * take long report progress to a step, which may be NULL.
 */
#ifndef KMIPD_SIM_DISK_H
#define KMIPD_SIM_DISK_H

#include "crypto/digest.h"
#include "sim/dek.h"
#include "sim/report.h"

#define DISK_SECTOR_SIZE     512
#define DISK_SECTORS_PER_MIB 2048
#define DISK_LABEL_MAX       128 /* with the NUL */

struct disk {
    const char *path;
    const char *label; /* part of what is in it */
    uint64_t sectors;
};

/* Writes the image, encrypted under `dek`. */
enum status disk_write(const struct disk *disk, const struct secret *dek, struct step *step,
                       struct error *error) MUST_USE;

/* Reads all of it. UNWRAP_FAILED: what is in it does not come out right under `dek`; NOT_FOUND;
 * IO, also for another size. */
enum status disk_read(const struct disk *disk, const struct secret *dek, struct step *step,
                      struct error *error) MUST_USE;

/* Decrypts with one key and encrypts with another. Fails as disk_read() does. */
enum status disk_reencrypt(const struct disk *disk, const struct secret *from,
                           const struct secret *to, struct step *step,
                           struct error *error) MUST_USE;

/* Copies the image as it is. */
enum status disk_copy(const struct disk *disk, const char *path, struct step *step,
                      struct error *error) MUST_USE;

/* SHA-256 of the image as it is. */
enum status disk_digest(const struct disk *disk, uint8_t ret_digest[static SHA256_SIZE],
                        struct error *error) MUST_USE;

/* Whether the label can be read in the image as it is. It must not be. */
enum status disk_shows_label(const struct disk *disk, bool *ret_shows,
                             struct error *error) MUST_USE;

#endif
