/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/disk.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum {
    CHUNK_SECTORS = 256, /* what is read and written at once: 128 KiB */
    CHUNK_SIZE = CHUNK_SECTORS * DISK_SECTOR_SIZE,
    IV_SIZE = 16,
};

/* ---- Sectors ---- */

/* AES-256-XTS in one direction. OpenSSL keeps the key's schedule until it is closed, and wipes it. */
struct cipher {
    EVP_CIPHER_CTX *context;
};

static enum status cipher_open(const struct secret *dek, bool encrypt, struct cipher *ret_cipher)
{
    struct cipher cipher = {EVP_CIPHER_CTX_new()};
    if (cipher.context == NULL)
        return STATUS_NO_MEMORY;
    if (dek->size == DEK_SIZE &&
        EVP_CipherInit_ex(cipher.context, EVP_aes_256_xts(), NULL, dek->data, NULL, encrypt) == 1) {
        *ret_cipher = cipher;
        return STATUS_OK;
    }
    EVP_CIPHER_CTX_free(cipher.context);
    return STATUS_CRYPTO_FAILED;
}

static void cipher_close(struct cipher *cipher)
{
    EVP_CIPHER_CTX_free(cipher->context);
    cipher->context = NULL;
}

/* The sectors in `data`, in place; `first` is the number of the first one. */
static enum status cipher_run(struct cipher *cipher, uint64_t first, uint8_t *data, size_t sectors)
{
    for (size_t i = 0; i < sectors; i++) {
        uint8_t iv[IV_SIZE] = {0};
        uint64_t number = htole64(first + i);
        uint8_t *sector = data + i * DISK_SECTOR_SIZE;
        int size = 0;
        memcpy(iv, &number, sizeof(number));
        if (EVP_CipherInit_ex(cipher->context, NULL, NULL, NULL, iv, -1) != 1 ||
            EVP_CipherUpdate(cipher->context, sector, &size, sector, DISK_SECTOR_SIZE) != 1 ||
            size != DISK_SECTOR_SIZE)
            return STATUS_CRYPTO_FAILED;
    }
    return STATUS_OK;
}

/* What stands in a sector. */
static void fill_sector(const char *label, uint64_t number, uint8_t *sector)
{
    char line[DISK_LABEL_MAX + 48];
    int length = snprintf(line, sizeof(line), "%s sector %012" PRIu64 "\n", label, number);
    for (size_t i = 0; i < DISK_SECTOR_SIZE; i++)
        sector[i] = (uint8_t)line[i % (size_t)length];
}

static void fill(const struct disk *disk, uint64_t first, uint8_t *data, size_t sectors)
{
    for (size_t i = 0; i < sectors; i++)
        fill_sector(disk->label, first + i, data + i * DISK_SECTOR_SIZE);
}

static bool is_as_written(const struct disk *disk, uint64_t first, const uint8_t *data,
                          size_t sectors)
{
    uint8_t expected[DISK_SECTOR_SIZE];
    for (size_t i = 0; i < sectors; i++) {
        fill_sector(disk->label, first + i, expected);
        if (memcmp(expected, data + i * DISK_SECTOR_SIZE, sizeof(expected)) != 0)
            return false;
    }
    return true;
}

/* ---- Images ---- */

/* One pass over an image: chunks are read (where there is an input), worked on, written (where
 * there is an output). */
struct pass {
    const struct disk *disk;
    struct step *step;
    int input;      /* -1: none */
    int output;     /* -1: none */
    char *new_path; /* of the output, until it is renamed */
    uint8_t *data;  /* CHUNK_SIZE */
    enum status (*work)(struct pass *pass, uint64_t first, size_t sectors);
    struct cipher decrypt;
    struct cipher encrypt;
    EVP_MD_CTX *digest;
    bool found; /* of the search for the label */
};

static struct pass pass_of(const struct disk *disk, struct step *step,
                           enum status (*work)(struct pass *, uint64_t, size_t))
{
    return (struct pass){.disk = disk, .step = step, .input = -1, .output = -1, .work = work};
}

static enum status check_size(int file, const struct disk *disk, struct error *error)
{
    struct stat attributes;
    if (fstat(file, &attributes) != 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot examine %s", disk->path);
    if ((uint64_t)attributes.st_size == disk->sectors * DISK_SECTOR_SIZE)
        return STATUS_OK;
    return error_set(error, STATUS_IO, "the disk image %s has %lld bytes instead of %" PRIu64,
                     disk->path, (long long)attributes.st_size, disk->sectors * DISK_SECTOR_SIZE);
}

static enum status open_input(struct pass *pass, struct error *error)
{
    const char *path = pass->disk->path;
    pass->input = open(path, O_RDONLY | O_CLOEXEC);
    if (pass->input >= 0)
        return check_size(pass->input, pass->disk, error);
    return error_set_errno(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, errno,
                           "cannot open the disk image %s", path);
}

static enum status open_output(struct pass *pass, const char *path, struct error *error)
{
    if (asprintf(&pass->new_path, "%s.new", path) < 0) {
        pass->new_path = NULL;
        return error_set(error, STATUS_NO_MEMORY, "no memory for a disk image");
    }
    pass->output = open(pass->new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (pass->output >= 0)
        return STATUS_OK;
    return error_set_errno(error, STATUS_IO, errno, "cannot make %s", pass->new_path);
}

static enum status read_chunk(const struct pass *pass, uint64_t first, size_t size,
                              struct error *error)
{
    for (size_t done = 0; done < size;) {
        off_t at = (off_t)(first * DISK_SECTOR_SIZE + done);
        ssize_t got = pread(pass->input, pass->data + done, size - done, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_set_errno(error, STATUS_IO, got < 0 ? errno : EIO, "cannot read %s",
                                   pass->disk->path);
        done += (size_t)got;
    }
    return STATUS_OK;
}

static enum status write_chunk(const struct pass *pass, size_t size, struct error *error)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = write(pass->output, pass->data + done, size - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return error_set_errno(error, STATUS_IO, errno, "cannot write %s", pass->new_path);
        done += (size_t)put;
    }
    return STATUS_OK;
}

static enum status explain(const struct pass *pass, enum status status, struct error *error)
{
    if (status == STATUS_UNWRAP_FAILED)
        return error_set(error, status, "the disk image %s does not decrypt to what was written",
                         pass->disk->path);
    return error_set(error, status, "cannot work on %s: %s", pass->disk->path, status_text(status));
}

static enum status run_chunk(struct pass *pass, uint64_t first, size_t sectors, struct error *error)
{
    enum status status = STATUS_OK;
    if (pass->input >= 0)
        status = read_chunk(pass, first, sectors * DISK_SECTOR_SIZE, error);
    if (status != STATUS_OK)
        return status;
    status = pass->work(pass, first, sectors);
    if (status != STATUS_OK)
        return explain(pass, status, error);
    if (pass->output >= 0)
        status = write_chunk(pass, sectors * DISK_SECTOR_SIZE, error);
    return status;
}

/* Puts the new image in its place, durably. */
static enum status finish_output(struct pass *pass, const char *path, struct error *error)
{
    char *copy = strdup(path);
    int directory = copy != NULL ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool good = directory >= 0 && fsync(pass->output) == 0 && rename(pass->new_path, path) == 0 &&
                fsync(directory) == 0;
    int number = errno;
    if (directory >= 0)
        (void)close(directory);
    free(copy);
    if (!good)
        return error_set_errno(error, STATUS_IO, number, "cannot finish %s", path);
    free(pass->new_path);
    pass->new_path = NULL;
    return STATUS_OK;
}

static enum status run_chunks(struct pass *pass, struct error *error)
{
    uint64_t total = pass->disk->sectors;
    for (uint64_t done = 0; done < total;) {
        size_t sectors = total - done < CHUNK_SECTORS ? (size_t)(total - done) : CHUNK_SECTORS;
        enum status status = run_chunk(pass, done, sectors, error);
        if (status != STATUS_OK)
            return status;
        done += sectors;
        if (pass->step != NULL)
            step_progress(pass->step, (size_t)done, (size_t)total);
    }
    return STATUS_OK;
}

static void pass_close(struct pass *pass)
{
    if (pass->new_path != NULL) {
        (void)unlink(pass->new_path);
        free(pass->new_path);
    }
    if (pass->input >= 0)
        (void)close(pass->input);
    if (pass->output >= 0)
        (void)close(pass->output);
    if (pass->data != NULL)
        explicit_bzero(pass->data, CHUNK_SIZE);
    free(pass->data);
    cipher_close(&pass->decrypt);
    cipher_close(&pass->encrypt);
    EVP_MD_CTX_free(pass->digest);
}

/* Runs a pass with an input, an output (to `path`), or both, and closes it. */
static enum status pass_run(struct pass *pass, bool input, const char *path, struct error *error)
{
    enum status status = STATUS_OK;
    pass->data = malloc(CHUNK_SIZE);
    if (pass->data == NULL)
        status = error_set(error, STATUS_NO_MEMORY, "no memory for a disk image");
    if (status == STATUS_OK && input)
        status = open_input(pass, error);
    if (status == STATUS_OK && path != NULL)
        status = open_output(pass, path, error);
    if (status == STATUS_OK)
        status = run_chunks(pass, error);
    if (status == STATUS_OK && path != NULL)
        status = finish_output(pass, path, error);
    return status;
}

/* ---- What is done with images ---- */

static enum status work_write(struct pass *pass, uint64_t first, size_t sectors)
{
    fill(pass->disk, first, pass->data, sectors);
    return cipher_run(&pass->encrypt, first, pass->data, sectors);
}

enum status disk_write(const struct disk *disk, const struct secret *dek, struct step *step,
                       struct error *error)
{
    struct pass pass = pass_of(disk, step, work_write);
    enum status status = cipher_open(dek, true, &pass.encrypt);
    if (status != STATUS_OK)
        return explain(&pass, status, error);
    status = pass_run(&pass, false, disk->path, error);
    pass_close(&pass);
    return status;
}

static enum status work_read(struct pass *pass, uint64_t first, size_t sectors)
{
    enum status status = cipher_run(&pass->decrypt, first, pass->data, sectors);
    if (status == STATUS_OK && !is_as_written(pass->disk, first, pass->data, sectors))
        status = STATUS_UNWRAP_FAILED;
    return status;
}

enum status disk_read(const struct disk *disk, const struct secret *dek, struct step *step,
                      struct error *error)
{
    struct pass pass = pass_of(disk, step, work_read);
    enum status status = cipher_open(dek, false, &pass.decrypt);
    if (status != STATUS_OK)
        return explain(&pass, status, error);
    status = pass_run(&pass, true, NULL, error);
    pass_close(&pass);
    return status;
}

static enum status work_reencrypt(struct pass *pass, uint64_t first, size_t sectors)
{
    enum status status = work_read(pass, first, sectors);
    return status == STATUS_OK ? cipher_run(&pass->encrypt, first, pass->data, sectors) : status;
}

enum status disk_reencrypt(const struct disk *disk, const struct secret *from,
                           const struct secret *to, struct step *step, struct error *error)
{
    struct pass pass = pass_of(disk, step, work_reencrypt);
    enum status status = cipher_open(from, false, &pass.decrypt);
    if (status == STATUS_OK)
        status = cipher_open(to, true, &pass.encrypt);
    if (status == STATUS_OK)
        status = pass_run(&pass, true, disk->path, error);
    else
        (void)explain(&pass, status, error);
    pass_close(&pass);
    return status;
}

static enum status work_copy(struct pass *pass, uint64_t first, size_t sectors)
{
    return STATUS_OK;
}

enum status disk_copy(const struct disk *disk, const char *path, struct step *step,
                      struct error *error)
{
    struct pass pass = pass_of(disk, step, work_copy);
    enum status status = pass_run(&pass, true, path, error);
    pass_close(&pass);
    return status;
}

static enum status work_digest(struct pass *pass, uint64_t first, size_t sectors)
{
    return EVP_DigestUpdate(pass->digest, pass->data, sectors * DISK_SECTOR_SIZE) == 1
               ? STATUS_OK
               : STATUS_CRYPTO_FAILED;
}

enum status disk_digest(const struct disk *disk, uint8_t ret_digest[static SHA256_SIZE],
                        struct error *error)
{
    struct pass pass = pass_of(disk, NULL, work_digest);
    enum status status = STATUS_CRYPTO_FAILED;
    pass.digest = EVP_MD_CTX_new();
    if (pass.digest != NULL && EVP_DigestInit_ex(pass.digest, EVP_sha256(), NULL) == 1)
        status = pass_run(&pass, true, NULL, error);
    else
        (void)explain(&pass, status, error);
    if (status == STATUS_OK && EVP_DigestFinal_ex(pass.digest, ret_digest, NULL) != 1)
        status = explain(&pass, STATUS_CRYPTO_FAILED, error);
    pass_close(&pass);
    return status;
}

/* A label that stands across two sectors would be missed; but each sector has it several times. */
static enum status work_search(struct pass *pass, uint64_t first, size_t sectors)
{
    const char *label = pass->disk->label;
    pass->found |= memmem(pass->data, sectors * DISK_SECTOR_SIZE, label, strlen(label)) != NULL;
    return STATUS_OK;
}

enum status disk_shows_label(const struct disk *disk, bool *ret_shows, struct error *error)
{
    struct pass pass = pass_of(disk, NULL, work_search);
    enum status status = pass_run(&pass, true, NULL, error);
    if (status == STATUS_OK)
        *ret_shows = pass.found;
    pass_close(&pass);
    return status;
}
