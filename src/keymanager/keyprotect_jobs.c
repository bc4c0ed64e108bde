/* SPDX-License-Identifier: Apache-2.0 */
/* Wrap, unwrap and rewrap: each is one call, and one more to prove a ciphertext that is to be kept. */
#include <stdio.h>

#include "base/base64.h"
#include "base/clock.h"
#include "keymanager/keyprotect_client.h"

/* ---- Bodies ---- */

static void write_aad(const struct kp_slot *slot, struct buffer *body)
{
    if (slot->aad[0] != '\0')
        buffer_append_format(body, ",\"aad\":[\"%s\"]", slot->aad);
    buffer_append(body, "}", 1);
}

enum status kp_write_ciphertext(struct kp_call *call, struct buffer *body)
{
    const struct kp_slot *slot = CONTAINER_OF(call, struct kp_slot, own);
    buffer_append_text(body, "{\"ciphertext\":\"");
    buffer_append_text(body, slot->ciphertext);
    buffer_append(body, "\"", 1);
    write_aad(slot, body);
    return buffer_status(body);
}

enum status kp_write_plaintext(struct kp_call *call, struct buffer *body)
{
    const struct kp_slot *slot = CONTAINER_OF(call, struct kp_slot, own);
    buffer_append_text(body, "{\"plaintext\":\"");
    base64_encode(BASE64_STANDARD, secret_bytes(&slot->key), body);
    buffer_append(body, "\"", 1);
    write_aad(slot, body);
    return buffer_status(body);
}

/* ---- Calls of a slot ---- */

struct kp_call *kp_own_call(struct kp_slot *slot, const char *method, const char *path)
{
    buffer_free(&slot->own.answer);
    kp_call_init(&slot->own, method, "%s", path);
    slot->own.deadline =
        slot->job != NULL ? slot->job->deadline : clock_monotonic() + slot->kp->options.job_timeout;
    return &slot->own;
}

void kp_action_init(struct kp_slot *slot, const struct uuid *root_key, const char *action)
{
    char id[UUID_TEXT_LENGTH + 1];
    struct buffer path;
    char text[KP_PATH_MAX];
    uuid_text(root_key, id);
    buffer_over(&path, text, sizeof(text));
    buffer_append_text(&path, "/keys/");
    buffer_append_text(&path, id);
    buffer_append_text(&path, "/actions/");
    buffer_append(&path, action, strlen(action) + 1);
    struct kp_call *call = kp_own_call(slot, "POST", text);
    call->type = "key_action";
    call->secret = true;
    call->answer_max = 0;
    call->key_ring = slot->kp->options.key_ring;
}

void kp_job_end(struct kp_slot *slot, enum status status)
{
    struct keymanager_job *job = slot->job;
    kp_slot_release(slot);
    job->status = status;
    job->done(job);
}

/* Ends with what `made` says, without what was appended if that is no success. */
static void end_with(struct kp_slot *slot, size_t before, enum status made)
{
    struct buffer *buffer = &slot->job->ret_wrapped;
    if (made != STATUS_OK && buffer->size > before)
        buffer->size = before;
    kp_job_end(slot, made);
}

/* ---- Proofs ---- */

/* Whether a ciphertext opens to the key of the slot. */
static enum status read_proof(const struct kp_call *call, const struct kp_slot *slot)
{
    struct kp_action action;
    enum status status = kp_call_job_status(call, STATUS_WRAP_FAILED);
    if (status != STATUS_OK)
        return status;
    bool same = kp_answer_action(buffer_bytes(&call->answer), &action) &&
                action.plaintext.data != NULL && secret_equal(&action.plaintext, &slot->key);
    secret_free(&action.plaintext);
    return same ? STATUS_OK : STATUS_WRAP_FAILED;
}

static void proven(struct kp_call *call, struct kp_slot *slot)
{
    enum status status = read_proof(call, slot);
    if (status != STATUS_OK)
        slot->job->ret_wrapped.size = slot->before;
    /* A newer form is a gift: without it the key is there all the same. */
    kp_job_end(slot, slot->job->task == KEYMANAGER_UNWRAP ? STATUS_OK : status);
}

/* The service has made what is to be the only way to a key: it opens before anybody relies on it.
 * `before`: what ret_wrapped held without. */
static void prove(struct kp_slot *slot, const char *ciphertext, size_t before)
{
    slot->before = before;
    (void)snprintf(slot->ciphertext, sizeof(slot->ciphertext), "%s", ciphertext);
    kp_action_init(slot, &slot->job->binding.root_key, "unwrap");
    slot->own.write = kp_write_ciphertext;
    slot->own.done = proven;
    kp_call_begin(slot, &slot->own);
}

/* ---- Wrap ---- */

/* The envelope key as the service wrapped it. */
static enum status write_field(const struct kp_slot *slot, const struct kp_action *action,
                               bool rewrapped, struct buffer *field)
{
    struct kp_wrapped_key key = {
        .aad = slot->aad[0] != '\0',
        .ciphertext = bytes_of_text(action->ciphertext),
    };
    if (rewrapped && action->has_rewrapped)
        key.version = action->rewrapped;
    else if (!rewrapped && action->has_version)
        key.version = action->version;
    return kp_wrapped_key_write(&key, field);
}

static void remember_newest(const struct kp_slot *slot, const struct uuid *newest)
{
    kp_versions_put(&slot->kp->versions, &slot->job->binding.root_key, newest, 0,
                    clock_monotonic());
}

static enum status seal(struct kp_slot *slot, const struct kp_action *action)
{
    uint8_t room[ENVELOPE_WRAPPED_MAX];
    struct buffer field;
    buffer_over(&field, room, sizeof(room));
    enum status status = write_field(slot, action, false, &field);
    if (status != STATUS_OK)
        return STATUS_WRAP_FAILED;
    const struct envelope envelope = {
        .code = slot->kp->keymanager.code,
        .binding = slot->job->binding,
        .wrapped_key = buffer_bytes(&field),
    };
    if (action->has_version)
        remember_newest(slot, &action->version);
    return envelope_seal(&envelope, &slot->key, &slot->job->plaintext, &slot->job->ret_wrapped);
}

static void wrapped(struct kp_call *call, struct kp_slot *slot)
{
    struct kp_action action;
    size_t before = slot->job->ret_wrapped.size;
    enum status status = kp_call_job_status(call, STATUS_WRAP_FAILED);
    if (status == STATUS_OK) {
        bool good =
            kp_answer_action(buffer_bytes(&call->answer), &action) && action.ciphertext[0] != '\0';
        status = good ? seal(slot, &action) : STATUS_KEY_MANAGER_UNAVAILABLE;
        secret_free(&action.plaintext);
    }
    if (status == STATUS_OK)
        prove(slot, action.ciphertext, before);
    else
        end_with(slot, before, status);
}

static void begin_wrap(struct kp_slot *slot)
{
    struct kp *kp = slot->kp;
    const struct wrap_binding *binding = &slot->job->binding;
    kp_aad_want(kp, &binding->root_key);
    slot->aad[0] = '\0';
    if (kp->aad.outcome == KP_AAD_WORKS)
        kp_aad_text(binding, slot->aad);
    enum status status = envelope_key_make(&slot->key);
    if (status != STATUS_OK) {
        kp_job_end(slot, status);
        return;
    }
    kp_action_init(slot, &binding->root_key, "wrap");
    slot->own.write = kp_write_plaintext;
    slot->own.done = wrapped;
    kp_call_begin(slot, &slot->own);
}

/* ---- Unwrap ---- */

/* Appends the blob under the version of `action`, unless it is under that already. */
static enum status rewrap(struct kp_slot *slot, const struct kp_action *action)
{
    uint8_t room[ENVELOPE_WRAPPED_MAX];
    struct buffer field;
    buffer_over(&field, room, sizeof(room));
    enum status status = write_field(slot, action, true, &field);
    if (status != STATUS_OK)
        return STATUS_WRAP_FAILED;
    if (action->has_rewrapped)
        remember_newest(slot, &action->rewrapped);
    return envelope_rewrap(slot->job->wrapped.blob, 0, buffer_bytes(&field),
                           &slot->job->ret_wrapped);
}

static enum status open_with(struct kp_slot *slot, struct kp_action *action)
{
    struct keymanager_job *job = slot->job;
    size_t before = job->ret_wrapped.size;
    if (action->plaintext.size != ENVELOPE_KEY_SIZE)
        return STATUS_UNWRAP_FAILED;
    enum status status = envelope_open(job->wrapped.blob, &action->plaintext, &job->plaintext);
    /* The newer form is a gift: without it the key is there all the same. */
    if (status == STATUS_OK && action->ciphertext[0] != '\0' && rewrap(slot, action) != STATUS_OK)
        job->ret_wrapped.size = before;
    if (job->ret_wrapped.size > before)
        slot->key = secret_take(&action->plaintext); /* to prove the newer form by */
    return status;
}

static void unwrapped(struct kp_call *call, struct kp_slot *slot)
{
    struct kp_action action;
    size_t before = slot->job->ret_wrapped.size;
    enum status status = kp_call_job_status(call, STATUS_UNWRAP_FAILED);
    if (status == STATUS_OK) {
        bool good =
            kp_answer_action(buffer_bytes(&call->answer), &action) && action.plaintext.data != NULL;
        status = good ? open_with(slot, &action) : STATUS_KEY_MANAGER_UNAVAILABLE;
        secret_free(&action.plaintext);
    }
    if (status == STATUS_OK && slot->job->ret_wrapped.size > before)
        prove(slot, action.ciphertext, before);
    else
        kp_job_end(slot, status);
}

/* ---- Rewrap ---- */

static bool is_same_version(const struct kp_slot *slot, const struct kp_action *action)
{
    return action->has_rewrapped && uuid_equal(&action->rewrapped, &slot->found);
}

static void rewrapped(struct kp_call *call, struct kp_slot *slot)
{
    struct kp_action action;
    size_t before = slot->job->ret_wrapped.size;
    enum status status = kp_call_job_status(call, STATUS_UNWRAP_FAILED);
    if (status == STATUS_OK) {
        bool good =
            kp_answer_action(buffer_bytes(&call->answer), &action) && action.ciphertext[0] != '\0';
        if (!good)
            status = STATUS_KEY_MANAGER_UNAVAILABLE;
        else if (!is_same_version(slot, &action))
            status = rewrap(slot, &action);
        secret_free(&action.plaintext);
    }
    end_with(slot, before, status);
}

/* ---- All ---- */

/* What both send: the wrapped envelope key of the blob. */
static enum status read_blob(struct kp_slot *slot)
{
    struct keymanager_job *job = slot->job;
    struct envelope envelope;
    struct kp_wrapped_key key;
    enum status status = envelope_read(job->wrapped.blob, &job->binding, &envelope);
    if (status == STATUS_OK &&
        (envelope.code != slot->kp->keymanager.code || envelope.version != 0))
        status = STATUS_UNWRAP_FAILED;
    if (status == STATUS_OK)
        status = kp_wrapped_key_read(envelope.wrapped_key, &key);
    if (status != STATUS_OK)
        return status;
    memcpy(slot->ciphertext, key.ciphertext.data, key.ciphertext.size);
    slot->ciphertext[key.ciphertext.size] = '\0';
    slot->found = key.version;
    slot->aad[0] = '\0';
    if (key.aad)
        kp_aad_text(&job->binding, slot->aad);
    return STATUS_OK;
}

static void begin_with_blob(struct kp_slot *slot, const char *action,
                            void (*done)(struct kp_call *call, struct kp_slot *slot))
{
    enum status status = read_blob(slot);
    if (status != STATUS_OK) {
        kp_job_end(slot, status);
        return;
    }
    kp_action_init(slot, &slot->job->binding.root_key, action);
    slot->own.write = kp_write_ciphertext;
    slot->own.done = done;
    kp_call_begin(slot, &slot->own);
}

void kp_job_begin(struct kp_slot *slot)
{
    switch (slot->job->task) {
    case KEYMANAGER_WRAP:
        begin_wrap(slot);
        break;
    case KEYMANAGER_UNWRAP:
        begin_with_blob(slot, "unwrap", unwrapped);
        break;
    case KEYMANAGER_REWRAP:
        begin_with_blob(slot, "rewrap", rewrapped);
        break;
    case KEYMANAGER_RECORD:
        kp_record_begin(slot);
        break;
    default:
        kp_job_end(slot, STATUS_INTERNAL);
    }
}
