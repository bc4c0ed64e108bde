/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/pkcs11_objects.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "keyholder/pkcs11_cipher.h"

#define OWNER       "kmipd"
#define LABEL_SIZE  64
#define NOTES_MAX   32 /* of one root key, read at once */
#define BATCH       128

static unsigned char yes = 1, no = 0;
static ck_object_class_t secret_key_class = CKO_SECRET_KEY, data_class = CKO_DATA;
static ck_key_type_t aes_type = CKK_AES;

#define ATTRIBUTE(name, pointer, size) {CKA_##name, (void *)(uintptr_t)(pointer), size}
#define FLAG(name, value)              ATTRIBUTE(name, &(value), sizeof(value))
#define FIXED(name, value)             ATTRIBUTE(name, &(value), sizeof(value))
#define TEXT(name, value)              ATTRIBUTE(name, value, strlen(value))

/* ---- CKA_ID of a key, and the value of a note; numbers big-endian ---- */

struct key_id {
    struct uuid root_key;
    uint32_t version;
    uint8_t created[8];
    uint8_t imported;
    struct pkcs11_tag tag;
};
_Static_assert(sizeof(struct key_id) == 36, "CKA_ID has no padding");

static struct key_id id_of(const struct pkcs11_key *key)
{
    uint64_t created = htobe64((uint64_t)key->created);
    struct key_id id = {.root_key = key->root_key,
                        .version = htobe32(key->version),
                        .imported = key->imported,
                        .tag = key->tag};
    memcpy(id.created, &created, sizeof(created));
    return id;
}

static struct pkcs11_key key_of(const struct key_id *id, ck_object_handle_t handle)
{
    uint64_t created;
    memcpy(&created, id->created, sizeof(created));
    return (struct pkcs11_key){.root_key = id->root_key,
                               .version = be32toh(id->version),
                               .created = (int64_t)be64toh(created),
                               .imported = id->imported != 0,
                               .tag = id->tag,
                               .handle = handle};
}

static const uint8_t note_magic[4] = {'K', 'R', 'K', 1};

struct note_value {
    uint8_t magic[sizeof(note_magic)];
    uint8_t state;
    uint8_t imported;
    uint8_t purged;
    uint8_t zero;
    uint64_t generation;
    uint64_t created;
    uint64_t rotated;
    uint64_t deleted;
    uint32_t version;
    struct uuid root_key;
    uint8_t reserved[4];
};
_Static_assert(sizeof(struct note_value) == 64, "the note has no padding");

static struct note_value value_of(const struct pkcs11_note *note, uint64_t generation)
{
    struct note_value value = {
        .state = (uint8_t)note->info.state,
        .imported = note->info.imported,
        .purged = note->info.purged,
        .generation = htobe64(generation),
        .created = htobe64((uint64_t)note->info.created),
        .rotated = htobe64((uint64_t)note->info.rotated),
        .deleted = htobe64((uint64_t)note->info.deleted),
        .version = htobe32(note->info.version),
        .root_key = note->info.id,
    };
    memcpy(value.magic, note_magic, sizeof(note_magic));
    return value;
}

static struct pkcs11_note note_of(const struct note_value *value)
{
    return (struct pkcs11_note){
        .generation = be64toh(value->generation),
        .info = {.id = value->root_key,
                 .state = (enum root_key_state)value->state,
                 .version = be32toh(value->version),
                 .imported = value->imported != 0,
                 .purged = value->purged != 0,
                 .created = (int64_t)be64toh(value->created),
                 .rotated = (int64_t)be64toh(value->rotated),
                 .deleted = (int64_t)be64toh(value->deleted)},
    };
}

static void key_label(const struct uuid *root_key, uint32_t version, char ret_label[LABEL_SIZE])
{
    char id[UUID_TEXT_LENGTH + 1];
    uuid_text(root_key, id);
    (void)snprintf(ret_label, LABEL_SIZE, OWNER "-%s-v%u", id, version);
}

static void note_label(const struct uuid *root_key, char ret_label[LABEL_SIZE])
{
    char id[UUID_TEXT_LENGTH + 1];
    uuid_text(root_key, id);
    (void)snprintf(ret_label, LABEL_SIZE, OWNER "-%s", id);
}

/* ---- Finding ---- */

/* Appends the handles of all that fit to a buffer. */
static ck_rv_t find(const struct pkcs11_session *session, struct ck_attribute *template,
                    unsigned long template_count, struct buffer *ret_handles)
{
    ck_object_handle_t handles[BATCH];
    unsigned long count = 0;
    ck_rv_t value =
        session->functions->C_FindObjectsInit(session->handle, template, template_count);
    if (value != CKR_OK)
        return value;
    do {
        value = session->functions->C_FindObjects(session->handle, handles, BATCH, &count);
        if (value == CKR_OK)
            buffer_append(ret_handles, handles, count * sizeof(handles[0]));
    } while (value == CKR_OK && count > 0 && buffer_status(ret_handles) == STATUS_OK);
    ck_rv_t end = session->functions->C_FindObjectsFinal(session->handle);
    if (value == CKR_OK)
        value = end;
    return value == CKR_OK && buffer_status(ret_handles) != STATUS_OK ? CKR_HOST_MEMORY : value;
}

/* Reads a key's identifier. An object that vanished meanwhile, or is none of ours: not ok. */
static ck_rv_t read_key(const struct pkcs11_session *session, ck_object_handle_t handle,
                        struct pkcs11_key *ret_key, bool *ret_ours)
{
    struct key_id id;
    unsigned char sensitive = 0, extractable = 1;
    struct ck_attribute template[] = {FIXED(ID, id), FLAG(SENSITIVE, sensitive),
                                      FLAG(EXTRACTABLE, extractable)};
    ck_rv_t value = session->functions->C_GetAttributeValue(session->handle, handle, template,
                                                            ARRAY_COUNT(template));
    *ret_ours = value == CKR_OK && template[0].value_len == sizeof(id) && sensitive && !extractable;
    if (*ret_ours)
        *ret_key = key_of(&id, handle);
    bool other = value == CKR_BUFFER_TOO_SMALL || value == CKR_OBJECT_HANDLE_INVALID ||
                 value == CKR_ATTRIBUTE_TYPE_INVALID || value == CKR_ATTRIBUTE_SENSITIVE;
    return other ? CKR_OK : value;
}

ck_rv_t pkcs11_keys_find(const struct pkcs11_session *session, const struct uuid *root_key,
                         uint32_t version, struct pkcs11_key ret_keys[static PKCS11_SAME_MAX],
                         size_t *ret_count)
{
    char label[LABEL_SIZE];
    ck_object_handle_t handles[PKCS11_SAME_MAX];
    struct buffer found;
    key_label(root_key, version, label);
    struct ck_attribute template[] = {FIXED(CLASS, secret_key_class), FLAG(TOKEN, yes),
                                      TEXT(LABEL, label)};
    buffer_over(&found, handles, sizeof(handles));
    ck_rv_t value = find(session, template, ARRAY_COUNT(template), &found);
    size_t count = 0;
    for (size_t i = 0; i < found.size / sizeof(handles[0]) && value == CKR_OK; i++) {
        bool ours = false;
        value = read_key(session, handles[i], &ret_keys[count], &ours);
        if (ours && uuid_equal(&ret_keys[count].root_key, root_key) &&
            ret_keys[count].version == version)
            count++;
    }
    *ret_count = count;
    return value;
}

/* ---- Keys ---- */

ck_rv_t pkcs11_key_make(const struct pkcs11_session *session, struct pkcs11_key *key,
                        const struct secret *material)
{
    char label[LABEL_SIZE];
    struct key_id id = id_of(key);
    unsigned long size = 32;
    key_label(&key->root_key, key->version, label);
    struct ck_attribute template[] = {
        FIXED(CLASS, secret_key_class), FIXED(KEY_TYPE, aes_type), TEXT(LABEL, label),
        FIXED(ID, id),                  FLAG(TOKEN, yes),          FLAG(PRIVATE, yes),
        FLAG(SENSITIVE, yes),           FLAG(EXTRACTABLE, no),     FLAG(ENCRYPT, yes),
        FLAG(DECRYPT, yes),             FLAG(WRAP, no),            FLAG(UNWRAP, no),
        FLAG(SIGN, no),                 FLAG(VERIFY, no),          FLAG(DERIVE, no),
        FLAG(MODIFIABLE, no),           FIXED(VALUE_LEN, size),
    };
    const unsigned long count = ARRAY_COUNT(template);
    struct ck_mechanism generate = {CKM_AES_KEY_GEN, NULL, 0};
    if (material == NULL)
        return session->functions->C_GenerateKey(session->handle, &generate, template, count,
                                                 &key->handle);
    template[count - 1] =
        (struct ck_attribute){CKA_VALUE, material->data, (unsigned long)material->size};
    ck_rv_t value =
        session->functions->C_CreateObject(session->handle, template, count, &key->handle);
    /* Tokens in FIPS mode take no key in the clear. SoftHSM cannot unwrap one that may not be
     * changed; what could be changed is the label, not what keeps the key in the token. */
    if (pkcs11_fault(value) == PKCS11_REFUSED)
        value = pkcs11_unwrap_in(session, material, template, count - 2, &key->handle);
    return value;
}

ck_rv_t pkcs11_object_destroy(const struct pkcs11_session *session, ck_object_handle_t object)
{
    ck_rv_t value = session->functions->C_DestroyObject(session->handle, object);
    return value == CKR_OBJECT_HANDLE_INVALID ? CKR_OK : value;
}

/* ---- Notes ---- */

/* Of two of the same generation, which only two endpoints at once can make, the one that
 * allows less counts. */
static bool counts_more(const struct pkcs11_note *a, const struct pkcs11_note *b)
{
    if (a->generation != b->generation)
        return a->generation > b->generation;
    if (a->info.purged != b->info.purged)
        return a->info.purged;
    return a->info.state > b->info.state;
}

/* `newest` becomes the note if it counts more. Of what is none, or vanished, the generation stays as
 * it is. */
static ck_rv_t read_note(const struct pkcs11_session *session, ck_object_handle_t handle,
                         const struct uuid *root_key, struct pkcs11_note *newest,
                         uint64_t *ret_generation)
{
    struct note_value content;
    struct ck_attribute template[] = {FIXED(VALUE, content)};
    ck_rv_t value = session->functions->C_GetAttributeValue(session->handle, handle, template,
                                                            ARRAY_COUNT(template));
    if (value == CKR_BUFFER_TOO_SMALL || value == CKR_OBJECT_HANDLE_INVALID)
        return CKR_OK;
    if (value != CKR_OK || template[0].value_len != sizeof(content) ||
        memcmp(content.magic, note_magic, sizeof(note_magic)) != 0 ||
        !uuid_equal(&content.root_key, root_key))
        return value;
    struct pkcs11_note note = note_of(&content);
    *ret_generation = note.generation;
    if (counts_more(&note, newest))
        *newest = note;
    return CKR_OK;
}

static ck_rv_t find_notes(const struct pkcs11_session *session, const struct uuid *root_key,
                          struct buffer *ret_handles)
{
    char label[LABEL_SIZE];
    note_label(root_key, label);
    struct ck_attribute template[] = {FIXED(CLASS, data_class), FLAG(TOKEN, yes),
                                      TEXT(APPLICATION, OWNER), TEXT(LABEL, label)};
    return find(session, template, ARRAY_COUNT(template), ret_handles);
}

ck_rv_t pkcs11_note_read(const struct pkcs11_session *session, const struct uuid *root_key,
                         struct pkcs11_note *ret_note)
{
    ck_object_handle_t handles[NOTES_MAX];
    struct buffer found;
    struct pkcs11_note note = {0};
    uint64_t generations[NOTES_MAX];
    memset(generations, 0xFF, sizeof(generations));
    buffer_over(&found, handles, sizeof(handles));
    ck_rv_t value = find_notes(session, root_key, &found);
    size_t count = found.size / sizeof(handles[0]);
    for (size_t i = 0; i < count && value == CKR_OK; i++)
        value = read_note(session, handles[i], root_key, &note, &generations[i]);
    /* What a change that was cut off has left. */
    for (size_t i = 0; i < count && value == CKR_OK; i++)
        if (generations[i] < note.generation)
            value = pkcs11_object_destroy(session, handles[i]);
    if (value == CKR_OK)
        *ret_note = note;
    return value;
}

ck_rv_t pkcs11_note_write(const struct pkcs11_session *session, const struct pkcs11_note *note)
{
    char label[LABEL_SIZE];
    ck_object_handle_t handles[NOTES_MAX], made;
    struct buffer former;
    struct note_value content = value_of(note, note->generation + 1);
    note_label(&note->info.id, label);
    struct ck_attribute template[] = {
        FIXED(CLASS, data_class),       FLAG(TOKEN, yes),   FLAG(PRIVATE, yes),
        FLAG(MODIFIABLE, no),           TEXT(LABEL, label), TEXT(APPLICATION, OWNER),
        FIXED(VALUE, content),
    };
    buffer_over(&former, handles, sizeof(handles));
    ck_rv_t value = find_notes(session, &note->info.id, &former);
    if (value == CKR_OK)
        value = session->functions->C_CreateObject(session->handle, template,
                                                   ARRAY_COUNT(template), &made);
    for (size_t i = 0; i < former.size / sizeof(handles[0]) && value == CKR_OK; i++)
        value = pkcs11_object_destroy(session, handles[i]);
    return value;
}

/* ---- All root keys ---- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, UUID_SIZE);
}

/* A key's identifier begins with its root key's; a note's label has it. */
static ck_rv_t append_key_ids(const struct pkcs11_session *session, struct bytes handles,
                              struct buffer *ret_ids)
{
    ck_rv_t value = CKR_OK;
    for (size_t i = 0; i < handles.size / sizeof(ck_object_handle_t) && value == CKR_OK; i++) {
        ck_object_handle_t handle;
        struct pkcs11_key key;
        bool ours = false;
        char label[LABEL_SIZE];
        memcpy(&handle, handles.data + i * sizeof(handle), sizeof(handle));
        value = read_key(session, handle, &key, &ours);
        if (!ours)
            continue;
        char found[LABEL_SIZE] = {0};
        struct ck_attribute template[] = {ATTRIBUTE(LABEL, found, sizeof(found) - 1)};
        key_label(&key.root_key, key.version, label);
        if (session->functions->C_GetAttributeValue(session->handle, handle, template, 1) ==
                CKR_OK &&
            strcmp(found, label) == 0)
            buffer_append_bytes(ret_ids, uuid_bytes(&key.root_key));
    }
    return value;
}

static ck_rv_t append_note_ids(const struct pkcs11_session *session, struct bytes handles,
                               struct buffer *ret_ids)
{
    ck_rv_t value = CKR_OK;
    for (size_t i = 0; i < handles.size / sizeof(ck_object_handle_t) && value == CKR_OK; i++) {
        ck_object_handle_t handle;
        struct note_value content;
        struct ck_attribute template[] = {FIXED(VALUE, content)};
        memcpy(&handle, handles.data + i * sizeof(handle), sizeof(handle));
        value = session->functions->C_GetAttributeValue(session->handle, handle, template, 1);
        if (value == CKR_BUFFER_TOO_SMALL || value == CKR_OBJECT_HANDLE_INVALID)
            value = CKR_OK;
        else if (value == CKR_OK && template[0].value_len == sizeof(content) &&
                 memcmp(content.magic, note_magic, sizeof(note_magic)) == 0)
            buffer_append_bytes(ret_ids, uuid_bytes(&content.root_key));
    }
    return value;
}

static void keep_each_once(struct buffer *ids)
{
    size_t count = ids->size / UUID_SIZE, kept = 0;
    if (count > 0)
        qsort(ids->data, count, UUID_SIZE, compare_ids);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || compare_ids(ids->data + (kept - 1) * UUID_SIZE,
                                     ids->data + i * UUID_SIZE) != 0)
            memmove(ids->data + kept++ * UUID_SIZE, ids->data + i * UUID_SIZE, UUID_SIZE);
    ids->size = kept * UUID_SIZE;
}

ck_rv_t pkcs11_ids_find(const struct pkcs11_session *session, struct buffer *ret_ids)
{
    struct ck_attribute key_template[] = {FIXED(CLASS, secret_key_class), FLAG(TOKEN, yes),
                                          FIXED(KEY_TYPE, aes_type)};
    struct ck_attribute note_template[] = {FIXED(CLASS, data_class), FLAG(TOKEN, yes),
                                           TEXT(APPLICATION, OWNER)};
    struct buffer handles;
    buffer_init(&handles, (size_t)1 << 24);
    ck_rv_t value = find(session, key_template, ARRAY_COUNT(key_template), &handles);
    if (value == CKR_OK)
        value = append_key_ids(session, buffer_bytes(&handles), ret_ids);
    buffer_reset(&handles);
    if (value == CKR_OK)
        value = find(session, note_template, ARRAY_COUNT(note_template), &handles);
    if (value == CKR_OK)
        value = append_note_ids(session, buffer_bytes(&handles), ret_ids);
    buffer_free(&handles);
    keep_each_once(ret_ids);
    return value == CKR_OK && buffer_status(ret_ids) != STATUS_OK ? CKR_HOST_MEMORY : value;
}
