/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

static const char *const kind_texts[] = {
    [PEM_CERTIFICATE] = "a certificate",
    [PEM_REQUEST] = "a certificate request",
};

/* What the label of a block (RFC 7468 §4) says it is. The first that ends so counts. */
enum label { LABEL_CERTIFICATE, LABEL_REQUEST, LABEL_PRIVATE_KEY, LABEL_OTHER };

static enum label label_of(const char *name)
{
    static const struct {
        const char *ending;
        enum label label;
    } labels[] = {
        {"CERTIFICATE REQUEST", LABEL_REQUEST},
        {"CERTIFICATE", LABEL_CERTIFICATE},
        {"PRIVATE KEY", LABEL_PRIVATE_KEY},
    };
    size_t length = strlen(name);
    for (size_t i = 0; i < ARRAY_COUNT(labels); i++) {
        size_t ending = strlen(labels[i].ending);
        if (length >= ending && strcmp(name + length - ending, labels[i].ending) == 0)
            return labels[i].label;
    }
    return LABEL_OTHER;
}

static bool is_line_end(uint8_t byte)
{
    return byte == '\n' || byte == '\r';
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\v' || byte == '\f';
}

/* Lines without the blanks around them, without empty ones, each ended by a newline. */
static void tidy(struct bytes text, struct buffer *ret_lines)
{
    static const uint8_t byte_order_mark[] = {0xEF, 0xBB, 0xBF};
    if (text.size >= 3 && memcmp(text.data, byte_order_mark, 3) == 0)
        text = bytes_of(text.data + 3, text.size - 3);
    for (size_t at = 0; at < text.size; at++) {
        size_t begin = at;
        while (at < text.size && !is_line_end(text.data[at]))
            at++;
        size_t end = at;
        while (begin < end && is_blank(text.data[begin]))
            begin++;
        while (begin < end && is_blank(text.data[end - 1]))
            end--;
        if (begin == end)
            continue;
        buffer_append(ret_lines, text.data + begin, end - begin);
        buffer_append(ret_lines, "\n", 1);
    }
}

struct found {
    size_t count;
    bool damaged;
    struct buffer *der; /* of the first block of the kind that is wanted */
};

static enum status reject(enum label label, enum pem_kind wanted, struct error *error)
{
    const char *what = kind_texts[wanted];
    if (label == LABEL_PRIVATE_KEY)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "this contains a private key, not just %s: a private key must not leave "
                         "its owner, so make a new one if this was sent by anybody",
                         what);
    if (label == LABEL_REQUEST)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "this is a certificate signing request (CSR), not a certificate: have it "
                         "signed first");
    if (label == LABEL_CERTIFICATE)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "this is a certificate, not a certificate signing request (CSR)");
    return error_set(error, STATUS_INVALID_ARGUMENT, "this is not %s", what);
}

static enum status take_block(const char *name, struct bytes der, enum pem_kind wanted,
                              struct found *found, struct error *error)
{
    enum label label = label_of(name);
    if (label != (wanted == PEM_CERTIFICATE ? LABEL_CERTIFICATE : LABEL_REQUEST))
        return reject(label, wanted, error);
    if (found->count++ > 0)
        return STATUS_OK;
    buffer_append_bytes(found->der, der);
    return buffer_status(found->der) == STATUS_OK
               ? STATUS_OK
               : error_set(error, STATUS_NO_MEMORY, "no memory to read %s", kind_texts[wanted]);
}

static enum status read_blocks(BIO *lines, enum pem_kind wanted, struct found *found,
                               struct error *error)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        char *name = NULL;
        char *header = NULL;
        uint8_t *data = NULL;
        long size = 0;
        if (PEM_read_bio(lines, &name, &header, &data, &size) != 1) {
            found->damaged = ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
            ERR_clear_error();
            return STATUS_OK;
        }
        status = take_block(name, bytes_of(data, (size_t)size), wanted, found, error);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)size);
    }
    return status;
}

static enum status conclude(struct bytes text, enum pem_kind wanted, const struct found *found,
                            struct error *error)
{
    const char *what = kind_texts[wanted];
    if (found->damaged)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "this begins as PEM, but it is cut off or damaged: copy it again, from "
                         "-----BEGIN to the end of the -----END line");
    if (found->count > 1)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "this holds %zu blocks where there must be exactly one: give only the "
                         "client's own, not the chain",
                         found->count);
    if (found->count == 1)
        return STATUS_OK;
    if (text.size > 1 && text.data[0] == 0x30 && (text.data[1] & 0x80) != 0)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "this is binary (DER): convert %s to PEM, with openssl x509 -inform der",
                         what);
    return error_set(error, STATUS_INVALID_ARGUMENT,
                     "this is not %s in PEM form: it must have a line that begins with -----BEGIN",
                     what);
}

enum status pem_parse_one(struct bytes text, enum pem_kind kind, struct buffer *ret_der,
                          struct error *error)
{
    if (text.size > PEM_TEXT_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "this is too long for %s",
                         kind_texts[kind]);
    struct buffer lines;
    struct found found = {.der = ret_der};
    enum status status = STATUS_NO_MEMORY;
    buffer_init(&lines, PEM_TEXT_MAX + 1);
    tidy(text, &lines);
    BIO *bio =
        buffer_status(&lines) != STATUS_OK
            ? NULL
            : BIO_new_mem_buf(lines.size > 0 ? (const char *)lines.data : "", (int)lines.size);
    if (bio != NULL)
        status = read_blocks(bio, kind, &found, error);
    else
        (void)error_set(error, status, "no memory to read %s", kind_texts[kind]);
    if (status == STATUS_OK)
        status = conclude(text, kind, &found, error);
    BIO_free(bio);
    buffer_free(&lines);
    return status;
}
