/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/sealing_tpm.h"

#include <endian.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "base/file.h"
#include "crypto/digest.h"

#define MATERIAL_SIZE  32
#define FILE_MAX       4096
#define PCR_COUNT      24
#define NAME_SIZE      34 /* of an object whose name algorithm is SHA-256: algorithm and digest */
#define FORMAT_VERSION 1

/* ---- PCRs ---- */

/* "0,7" to bits. */
static enum status parse_pcrs(const char *text, uint32_t *ret_pcrs, struct error *error)
{
    uint32_t pcrs = 0;
    for (const char *at = text != NULL ? text : ""; *at != '\0';) {
        char *end;
        unsigned long pcr = strtoul(at, &end, 10);
        if (end == at || *at == '-' || *at == '+' || pcr >= PCR_COUNT ||
            (*end != ',' && *end != '\0') || (*end == ',' && end[1] == '\0'))
            return error_set(error, STATUS_INVALID_ARGUMENT,
                             "\"%.80s\" is no list of PCRs: write numbers from 0 to 23, separated "
                             "by commas",
                             text);
        pcrs |= UINT32_C(1) << pcr;
        at = *end == ',' ? end + 1 : end;
    }
    *ret_pcrs = pcrs;
    return STATUS_OK;
}

static void pcrs_text(uint32_t pcrs, char ret_text[static 96])
{
    struct buffer text;
    buffer_over(&text, ret_text, 95);
    for (unsigned i = 0; i < PCR_COUNT; i++)
        if ((pcrs >> i & 1) != 0)
            buffer_append_format(&text, "%s%u", text.size > 0 ? "," : "", i);
    if (text.size == 0)
        buffer_append_text(&text, "none");
    ret_text[text.size] = '\0';
}

static TPML_PCR_SELECTION selection_of(uint32_t pcrs)
{
    TPML_PCR_SELECTION selection = {
        .count = 1, .pcrSelections = {{.hash = TPM2_ALG_SHA256, .sizeofSelect = 3}}};
    for (unsigned i = 0; i < 3; i++)
        selection.pcrSelections[0].pcrSelect[i] = (BYTE)(pcrs >> 8 * i);
    return selection;
}

/* ---- The file ---- */

static const uint8_t magic[8] = {'k', 'm', 'i', 'p', 'd', 't', 'p', 'm'};

/* Numbers big-endian; the object's parts follow, and SHA-256 of everything before. */
struct wire_header {
    uint8_t magic[sizeof(magic)];
    uint16_t format;
    uint16_t public_size;
    uint32_t pcrs;
    uint16_t private_size;
    uint8_t primary[NAME_SIZE];
};
_Static_assert(sizeof(struct wire_header) == 52, "the header has no padding");

struct sealed_object {
    uint32_t pcrs;
    uint8_t primary[NAME_SIZE]; /* the name of the key it is under */
    TPM2B_PUBLIC public;
    TPM2B_PRIVATE private;
};

static enum status encode(const struct sealed_object *object, struct buffer *ret_file)
{
    uint8_t public[sizeof(TPM2B_PUBLIC)], private[sizeof(TPM2B_PRIVATE)], digest[SHA256_SIZE];
    size_t public_size = 0, private_size = 0;
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(&object->public, public, sizeof(public), &public_size) != 0 ||
        Tss2_MU_TPM2B_PRIVATE_Marshal(&object->private, private, sizeof(private),
                                      &private_size) != 0)
        return STATUS_CRYPTO_FAILED;
    struct wire_header header = {.format = htobe16(FORMAT_VERSION),
                                 .public_size = htobe16((uint16_t)public_size),
                                 .pcrs = htobe32(object->pcrs),
                                 .private_size = htobe16((uint16_t)private_size)};
    memcpy(header.magic, magic, sizeof(magic));
    memcpy(header.primary, object->primary, NAME_SIZE);
    buffer_append(ret_file, &header, sizeof(header));
    buffer_append(ret_file, public, public_size);
    buffer_append(ret_file, private, private_size);
    enum status status = digest_sha256(buffer_bytes(ret_file), digest);
    buffer_append(ret_file, digest, sizeof(digest));
    return status != STATUS_OK ? status : buffer_status(ret_file);
}

static bool unmarshal(struct bytes public, struct bytes private, struct sealed_object *ret_object)
{
    size_t public_end = 0, private_end = 0;
    return Tss2_MU_TPM2B_PUBLIC_Unmarshal(public.data, public.size, &public_end,
                                          &ret_object->public) == 0 &&
           public_end == public.size &&
           Tss2_MU_TPM2B_PRIVATE_Unmarshal(private.data, private.size, &private_end,
                                           &ret_object->private) == 0 &&
           private_end == private.size;
}

static bool decode(struct bytes file, struct sealed_object *ret_object)
{
    struct wire_header header;
    uint8_t digest[SHA256_SIZE];
    if (file.size < sizeof(header) + SHA256_SIZE)
        return false;
    memcpy(&header, file.data, sizeof(header));
    size_t public_size = be16toh(header.public_size), private_size = be16toh(header.private_size);
    size_t size = sizeof(header) + public_size + private_size;
    if (memcmp(header.magic, magic, sizeof(magic)) != 0 ||
        be16toh(header.format) != FORMAT_VERSION || file.size != size + SHA256_SIZE ||
        digest_sha256(bytes_of(file.data, size), digest) != STATUS_OK ||
        memcmp(digest, file.data + size, SHA256_SIZE) != 0)
        return false;
    *ret_object = (struct sealed_object){.pcrs = be32toh(header.pcrs)};
    memcpy(ret_object->primary, header.primary, NAME_SIZE);
    return unmarshal(bytes_of(file.data + sizeof(header), public_size),
                     bytes_of(file.data + sizeof(header) + public_size, private_size), ret_object);
}

static enum status read_object(const char *path, struct sealed_object *ret_object,
                               struct error *error)
{
    struct buffer file;
    buffer_init(&file, FILE_MAX);
    enum status status = file_read(path, FILE_PRIVATE, &file, error);
    if (status == STATUS_OK && !decode(buffer_bytes(&file), ret_object))
        status = error_set(error, STATUS_STORE_CORRUPT,
                           "the TPM file %s is damaged, or of a newer version of this program: "
                           "restore it from a backup",
                           path);
    buffer_free(&file);
    return status;
}

static enum status write_object(const char *path, const struct sealed_object *object,
                                struct error *error)
{
    struct buffer file;
    int lock;
    buffer_init(&file, FILE_MAX);
    enum status status = encode(object, &file);
    if (status != STATUS_OK)
        (void)error_set(error, status, "cannot write %s: %s", path, status_text(status));
    else
        status = file_lock(path, &lock, error);
    if (status == STATUS_OK) {
        status = file_replace(lock, path, buffer_bytes(&file), 0600, 0, error);
        file_unlock(lock);
    }
    buffer_free(&file);
    return status;
}

/* ---- The TPM ---- */

struct tpm {
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
    ESYS_TR primary;
    ESYS_TR session; /* salted by the primary key: parameters are encrypted */
    ESYS_TR object;
    uint8_t name[NAME_SIZE]; /* of the primary key */
};

/* What a person can do something about. */
static const struct {
    TPM2_RC code;
    enum status status;
    const char *text;
} meanings[] = {
    {TPM2_RC_POLICY_FAIL, STATUS_NOT_AUTHENTICATED,
     "its PCRs are not as they were when the root keys were sealed (another firmware, boot loader "
     "or Secure Boot setting?): boot as before, or restore the root keys from a copy that is "
     "sealed otherwise"},
    {TPM2_RC_PCR_CHANGED, STATUS_NOT_AUTHENTICATED, "its PCRs have changed just now: try again"},
    {TPM2_RC_INTEGRITY, STATUS_NOT_AUTHENTICATED,
     "it is not the TPM that sealed the root keys, or it was cleared since"},
    {TPM2_RC_BAD_AUTH, STATUS_NOT_AUTHENTICATED,
     "its owner hierarchy has a password: kmipd needs it without one"},
    {TPM2_RC_AUTH_FAIL, STATUS_NOT_AUTHENTICATED,
     "its owner hierarchy has a password: kmipd needs it without one"},
    {TPM2_RC_LOCKOUT, STATUS_IO, "it is in lockout after failed authorizations: wait, or reset it"},
    {TPM2_RC_INITIALIZE, STATUS_IO, "it was not started by the firmware"},
};

/* Without which handle, parameter or session it is about (TPM 2.0 part 2 §6.6). */
static TPM2_RC bare(TSS2_RC code)
{
    if ((code & TSS2_RC_LAYER_MASK) != 0)
        return code;
    return (code & TPM2_RC_FMT1) != 0 ? code & (TPM2_RC_FMT1 | 0x3F) : code;
}

static enum status explain(struct error *error, TSS2_RC code, const char *doing)
{
    for (size_t i = 0; i < ARRAY_COUNT(meanings); i++)
        if (meanings[i].code == bare(code))
            return error_set(error, meanings[i].status, "the TPM does not %s: %s", doing,
                             meanings[i].text);
    return error_set(error, STATUS_IO, "the TPM does not %s: %s (0x%X)", doing,
                     Tss2_RC_Decode(code), code);
}

static void flush(struct tpm *tpm, ESYS_TR *handle)
{
    if (*handle != ESYS_TR_NONE)
        (void)Esys_FlushContext(tpm->esys, *handle);
    *handle = ESYS_TR_NONE;
}

static void tpm_close(struct tpm *tpm)
{
    if (tpm->esys != NULL) {
        flush(tpm, &tpm->object);
        flush(tpm, &tpm->session);
        flush(tpm, &tpm->primary);
        Esys_Finalize(&tpm->esys);
    }
    if (tpm->tcti != NULL)
        Tss2_TctiLdr_Finalize(&tpm->tcti);
}

/* The storage primary key of the TCG's template (TCG TPM v2.0 Provisioning Guidance §7.5.1), which
 * the TPM makes from its seed, the same each time. */
static const TPM2B_PUBLIC primary_template = {
    .publicArea =
        {
            .type = TPM2_ALG_ECC,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT |
                                TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                TPMA_OBJECT_NODA,
            .parameters.eccDetail =
                {
                    .symmetric = {.algorithm = TPM2_ALG_AES,
                                  .keyBits.aes = 128,
                                  .mode.aes = TPM2_ALG_CFB},
                    .scheme.scheme = TPM2_ALG_NULL,
                    .curveID = TPM2_ECC_NIST_P256,
                    .kdf.scheme = TPM2_ALG_NULL,
                },
        },
};

static enum status make_primary(struct tpm *tpm, struct error *error)
{
    static const TPM2B_SENSITIVE_CREATE no_secret;
    static const TPM2B_DATA no_data;
    static const TPML_PCR_SELECTION no_pcrs;
    TPM2B_NAME *name = NULL;
    TSS2_RC code = Esys_CreatePrimary(tpm->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                      ESYS_TR_NONE, &no_secret, &primary_template, &no_data,
                                      &no_pcrs, &tpm->primary, NULL, NULL, NULL, NULL);
    if (code == TSS2_RC_SUCCESS)
        code = Esys_TR_GetName(tpm->esys, tpm->primary, &name);
    if (code != TSS2_RC_SUCCESS)
        return explain(error, code, "make its storage key");
    bool good = name->size == NAME_SIZE;
    if (good)
        memcpy(tpm->name, name->name, NAME_SIZE);
    Esys_Free(name);
    return good ? STATUS_OK : error_set(error, STATUS_IO, "the TPM makes another kind of key");
}

/* A session salted by the primary key. */
static TSS2_RC start_session(struct tpm *tpm, TPM2_SE type, ESYS_TR *ret_session)
{
    static const TPMT_SYM_DEF symmetric = {
        .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
    TSS2_RC code =
        Esys_StartAuthSession(tpm->esys, tpm->primary, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                              ESYS_TR_NONE, NULL, type, &symmetric, TPM2_ALG_SHA256, ret_session);
    TPMA_SESSION attributes =
        TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT;
    if (code == TSS2_RC_SUCCESS && type != TPM2_SE_TRIAL)
        code = Esys_TRSess_SetAttributes(tpm->esys, *ret_session, attributes, 0xFF);
    return code;
}

static enum status tpm_connect(const char *tcti, struct tpm *tpm, struct error *error)
{
    /* The libraries would write on standard error what is in our text. */
    (void)setenv("TSS2_LOG", "all+NONE", 0);
    TSS2_RC code = Tss2_TctiLdr_Initialize(tcti, &tpm->tcti);
    if (code == TSS2_RC_SUCCESS)
        code = Esys_Initialize(&tpm->esys, tpm->tcti, NULL);
    if (code == TSS2_RC_SUCCESS)
        return STATUS_OK;
    return error_set(error, STATUS_IO,
                     "cannot reach the TPM by \"%s\": %s; has this machine a TPM 2.0, is it "
                     "switched on in the firmware, and may this user open it (group tss)?",
                     tcti, Tss2_RC_Decode(code));
}

/* End in all cases: tpm_close(). */
static enum status tpm_open(const char *tcti, struct tpm *tpm, struct error *error)
{
    *tpm = (struct tpm){
        .primary = ESYS_TR_NONE, .session = ESYS_TR_NONE, .object = ESYS_TR_NONE};
    if (tcti == NULL || tcti[0] == '\0')
        return error_set(error, STATUS_INVALID_ARGUMENT, "how to reach the TPM is not said");
    enum status status = tpm_connect(tcti, tpm, error);
    return status == STATUS_OK ? make_primary(tpm, error) : status;
}

/* ---- Sealing ---- */

/* The digest of the policy that the PCRs are as they are now. */
static TSS2_RC policy_of(struct tpm *tpm, uint32_t pcrs, TPM2B_DIGEST *ret_policy)
{
    static const TPM2B_DIGEST as_they_are;
    TPML_PCR_SELECTION selection = selection_of(pcrs);
    TPM2B_DIGEST *policy = NULL;
    ESYS_TR trial = ESYS_TR_NONE;
    TSS2_RC code = start_session(tpm, TPM2_SE_TRIAL, &trial);
    if (code == TSS2_RC_SUCCESS)
        code = Esys_PolicyPCR(tpm->esys, trial, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                              &as_they_are, &selection);
    if (code == TSS2_RC_SUCCESS)
        code = Esys_PolicyGetDigest(tpm->esys, trial, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                    &policy);
    if (code == TSS2_RC_SUCCESS)
        *ret_policy = *policy;
    Esys_Free(policy);
    flush(tpm, &trial);
    return code;
}

/* Without PCRs the object opens with its empty authorization, with them by policy alone. */
static TPM2B_PUBLIC object_template(uint32_t pcrs)
{
    return (TPM2B_PUBLIC){
        .publicArea =
            {
                .type = TPM2_ALG_KEYEDHASH,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes =
                    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA |
                    (pcrs != 0 ? TPMA_OBJECT_ADMINWITHPOLICY : TPMA_OBJECT_USERWITHAUTH),
                .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL,
            },
    };
}

static TSS2_RC create_object(struct tpm *tpm, const struct secret *material,
                             const TPM2B_PUBLIC *template, struct sealed_object *object)
{
    static const TPM2B_DATA no_data;
    static const TPML_PCR_SELECTION no_pcrs;
    TPM2B_SENSITIVE_CREATE sensitive = {.sensitive.data.size = MATERIAL_SIZE};
    TPM2B_PRIVATE *private = NULL;
    TPM2B_PUBLIC *public = NULL;
    memcpy(sensitive.sensitive.data.buffer, material->data, MATERIAL_SIZE);
    TSS2_RC code = Esys_Create(tpm->esys, tpm->primary, tpm->session, ESYS_TR_NONE, ESYS_TR_NONE,
                               &sensitive, template, &no_data, &no_pcrs, &private, &public, NULL,
                               NULL, NULL);
    OPENSSL_cleanse(&sensitive, sizeof(sensitive));
    if (code == TSS2_RC_SUCCESS) {
        object->private = *private;
        object->public = *public;
    }
    Esys_Free(private);
    Esys_Free(public);
    return code;
}

static enum status seal(const char *tcti, uint32_t pcrs, const struct secret *material,
                        struct sealed_object *ret_object, struct error *error)
{
    struct tpm tpm;
    TPM2B_PUBLIC template = object_template(pcrs);
    TSS2_RC code = TSS2_RC_SUCCESS;
    enum status status = tpm_open(tcti, &tpm, error);
    if (status == STATUS_OK) {
        if (pcrs != 0)
            code = policy_of(&tpm, pcrs, &template.publicArea.authPolicy);
        if (code == TSS2_RC_SUCCESS)
            code = start_session(&tpm, TPM2_SE_HMAC, &tpm.session);
        if (code == TSS2_RC_SUCCESS)
            code = create_object(&tpm, material, &template, ret_object);
        if (code != TSS2_RC_SUCCESS)
            status = explain(error, code, "seal the root keys");
        ret_object->pcrs = pcrs;
        memcpy(ret_object->primary, tpm.name, NAME_SIZE);
    }
    tpm_close(&tpm);
    return status;
}

/* ---- Unsealing ---- */

static TSS2_RC load_object(struct tpm *tpm, const struct sealed_object *object)
{
    TSS2_RC code = start_session(tpm, TPM2_SE_HMAC, &tpm->session);
    if (code == TSS2_RC_SUCCESS)
        code = Esys_Load(tpm->esys, tpm->primary, tpm->session, ESYS_TR_NONE, ESYS_TR_NONE,
                         &object->private, &object->public, &tpm->object);
    return code;
}

static TSS2_RC satisfy_policy(struct tpm *tpm, uint32_t pcrs)
{
    static const TPM2B_DIGEST as_they_are;
    TPML_PCR_SELECTION selection = selection_of(pcrs);
    flush(tpm, &tpm->session);
    TSS2_RC code = start_session(tpm, TPM2_SE_POLICY, &tpm->session);
    if (code == TSS2_RC_SUCCESS)
        code = Esys_PolicyPCR(tpm->esys, tpm->session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                              &as_they_are, &selection);
    return code;
}

static enum status unseal_object(struct tpm *tpm, const struct sealed_object *object,
                                 struct secret *ret_material, struct error *error)
{
    TPM2B_SENSITIVE_DATA *data = NULL;
    TSS2_RC code = load_object(tpm, object);
    if (code == TSS2_RC_SUCCESS && object->pcrs != 0)
        code = satisfy_policy(tpm, object->pcrs);
    if (code == TSS2_RC_SUCCESS)
        code = Esys_Unseal(tpm->esys, tpm->object, tpm->session, ESYS_TR_NONE, ESYS_TR_NONE, &data);
    if (code != TSS2_RC_SUCCESS)
        return explain(error, code, "open the root keys");
    enum status status =
        data->size == MATERIAL_SIZE
            ? secret_copy(ret_material, bytes_of(data->buffer, MATERIAL_SIZE))
            : STATUS_STORE_CORRUPT;
    OPENSSL_cleanse(data, sizeof(*data));
    Esys_Free(data);
    return status == STATUS_OK ? STATUS_OK
                               : error_set(error, status, "what the TPM opened cannot be used: %s",
                                           status_text(status));
}

static enum status unseal(const char *tcti, const struct sealed_object *object,
                          struct secret *ret_material, struct error *error)
{
    struct tpm tpm;
    enum status status = tpm_open(tcti, &tpm, error);
    if (status == STATUS_OK && memcmp(tpm.name, object->primary, NAME_SIZE) != 0)
        status = explain(error, TPM2_RC_INTEGRITY, "open the root keys");
    if (status == STATUS_OK)
        status = unseal_object(&tpm, object, ret_material, error);
    tpm_close(&tpm);
    return status;
}

/* ---- Both ---- */

static enum status check_pcrs(const struct sealing *sealing, uint32_t wanted, uint32_t sealed_to,
                              struct error *error)
{
    char wanted_text[96], sealed_text[96];
    if (wanted == sealed_to)
        return STATUS_OK;
    pcrs_text(wanted, wanted_text);
    pcrs_text(sealed_to, sealed_text);
    return error_set(error, STATUS_NOT_AUTHENTICATED,
                     "%s is sealed to the PCRs %s, but the configuration says %s: put that right, "
                     "or seal anew with kmipd --reseal",
                     sealing->path, sealed_text, wanted_text);
}

static enum status open_material(const struct sealing *sealing, uint32_t pcrs,
                                 struct secret *ret_material, struct error *error)
{
    struct sealed_object object;
    enum status status = read_object(sealing->path, &object, error);
    if (status == STATUS_OK)
        status = check_pcrs(sealing, pcrs, object.pcrs, error);
    return status == STATUS_OK ? unseal(sealing->tcti, &object, ret_material, error) : status;
}

static enum status renew_material(const struct sealing *sealing, uint32_t pcrs,
                                  struct secret *ret_material, struct error *error)
{
    struct sealed_object object = {0};
    struct secret material = {0};
    bool kept = file_exists(sealing->path) &&
                read_object(sealing->path, &object, NULL) == STATUS_OK &&
                unseal(sealing->tcti, &object, &material, NULL) == STATUS_OK;
    enum status status = kept ? STATUS_OK : secret_random(&material, MATERIAL_SIZE);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot make a secret for the TPM: %s",
                         status_text(status));
    status = seal(sealing->tcti, pcrs, &material, &object, error);
    if (status == STATUS_OK)
        status = write_object(sealing->path, &object, error);
    if (status == STATUS_OK)
        *ret_material = secret_take(&material);
    secret_free(&material);
    return status;
}

enum status sealing_tpm_material(const struct sealing *sealing, bool create,
                                 struct secret *ret_material, struct error *error)
{
    uint32_t pcrs;
    enum status status = parse_pcrs(sealing->pcrs, &pcrs, error);
    if (status != STATUS_OK)
        return status;
    return create ? renew_material(sealing, pcrs, ret_material, error)
                  : open_material(sealing, pcrs, ret_material, error);
}
