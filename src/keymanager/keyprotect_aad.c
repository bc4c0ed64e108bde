/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the service authenticates additional data: something is wrapped with it, and must not
 * come back without it. Until that is known, and where it is not so, nothing is sent; the binding
 * does not depend on it (keymanager/envelope.h).
 */
#include "base/clock.h"
#include "base/hex.h"
#include "keymanager/keyprotect_client.h"

#define PAUSE 60000 /* milliseconds to the next try when nothing was found out */

void kp_aad_want(struct kp *kp, const struct uuid *root_key)
{
    struct kp_aad_probe *probe = &kp->aad;
    if (probe->outcome != KP_AAD_UNKNOWN || probe->running || probe->wanted ||
        clock_monotonic() < probe->not_before)
        return;
    probe->root_key = *root_key;
    probe->wanted = true;
}

static void end(struct kp_slot *slot, enum kp_aad outcome)
{
    struct kp_aad_probe *probe = &slot->kp->aad;
    probe->outcome = outcome;
    probe->running = false;
    probe->not_before = clock_monotonic() + PAUSE;
    kp_slot_release(slot);
}

static void next(struct kp_slot *slot, const char *action,
                 enum status (*write)(struct kp_call *call, struct buffer *body),
                 void (*done)(struct kp_call *call, struct kp_slot *slot))
{
    kp_action_init(slot, &slot->kp->aad.root_key, action);
    slot->own.write = write;
    slot->own.done = done;
    kp_call_begin(slot, &slot->own);
}

/* Sent without a part of what it was wrapped with, or with all of it. */
static bool was_refused(const struct kp_call *call)
{
    return call->status == STATUS_INVALID_ARGUMENT;
}

static void unwrapped_with(struct kp_call *call, struct kp_slot *slot)
{
    struct kp_action action;
    if (call->status != STATUS_OK) {
        end(slot, was_refused(call) ? KP_AAD_IGNORED : KP_AAD_UNKNOWN);
        return;
    }
    bool works = kp_answer_action(buffer_bytes(&call->answer), &action) &&
                 secret_equal(&action.plaintext, &slot->key);
    secret_free(&action.plaintext);
    end(slot, works ? KP_AAD_WORKS : KP_AAD_IGNORED);
}

static void set_aad(struct kp_slot *slot)
{
    hex_text(bytes_of(slot->key.data, ENVELOPE_KEY_SIZE / 2), slot->aad);
}

static void unwrapped_without(struct kp_call *call, struct kp_slot *slot)
{
    if (!was_refused(call)) {
        end(slot, call->status == STATUS_OK ? KP_AAD_IGNORED : KP_AAD_UNKNOWN);
        return;
    }
    set_aad(slot);
    next(slot, "unwrap", kp_write_ciphertext, unwrapped_with);
}

static void wrapped(struct kp_call *call, struct kp_slot *slot)
{
    struct kp_action action;
    if (call->status != STATUS_OK) {
        end(slot, was_refused(call) ? KP_AAD_IGNORED : KP_AAD_UNKNOWN);
        return;
    }
    bool good =
        kp_answer_action(buffer_bytes(&call->answer), &action) && action.ciphertext[0] != '\0';
    secret_free(&action.plaintext);
    if (!good) {
        end(slot, KP_AAD_UNKNOWN);
        return;
    }
    memcpy(slot->ciphertext, action.ciphertext, sizeof(slot->ciphertext));
    slot->aad[0] = '\0';
    next(slot, "unwrap", kp_write_ciphertext, unwrapped_without);
}

void kp_aad_begin(struct kp_slot *slot)
{
    if (envelope_key_make(&slot->key) != STATUS_OK) {
        end(slot, KP_AAD_UNKNOWN);
        return;
    }
    set_aad(slot); /* any text: what is wrapped is nobody's */
    next(slot, "wrap", kp_write_plaintext, wrapped);
}
