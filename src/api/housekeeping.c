/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "api/keys.h"
#include "api/root_keys.h"
#include "api/upkeep.h"

#define BATCH 256 /* keys of one kind in one call: what is left waits for the next */

struct round {
    const struct api_context *context;
    int64_t now;
    struct api_housekeeping *done;
    struct error *error;
    enum status status; /* of the last failure */
};

static void record(struct round *round, const char *operation, const struct uuid *key,
                   enum status status)
{
    char id[UUID_TEXT_LENGTH + 1];
    uuid_text(key, id);
    const struct audit_entry entry = {
        .time = round->now,
        .event = "server",
        .operation = bytes_of_text(operation),
        .object = bytes_of_text(id),
        .result = bytes_of_text(status == STATUS_OK ? "Success" : "Operation Failed"),
        .detail = bytes_of_text(status == STATUS_OK ? "" : status_text(status)),
    };
    enum status written = audit_write(round->context->audit, &entry);
    if (status == STATUS_OK)
        status = written;
    if (status == STATUS_OK)
        return;
    round->status = status;
    round->done->failed++;
}

/* ---- Expiration ---- */

static enum status expire(struct kms_key *key, void *context)
{
    int64_t now = *(const int64_t *)context;
    if (key->state == KMS_KEY_DESTROYED || key->state == KMS_KEY_PLANNED)
        return STATUS_CONFLICT;
    keys_settle(key, now);
    if (key->state == KMS_KEY_DEACTIVATED && key->expired == 0) {
        key->expired = now;
        key->updated = now;
    }
    return STATUS_OK;
}

static void expire_key(struct round *round, const struct uuid *id)
{
    enum status status = kms_key_change(round->context->kms, id, expire, &round->now, NULL);
    if (status == STATUS_CONFLICT || status == STATUS_NOT_FOUND)
        return;
    record(round, "kms.secrets.expire", id, status);
    round->done->expired += status == STATUS_OK;
}

/* ---- Rotation ---- */

static void rotate_key(struct round *round, const struct uuid *id)
{
    enum status status = api_root_key_rotate(round->context, id, NULL, round->now, round->error);
    record(round, "kms.secrets.rotate", id, status);
    round->done->rotated += status == STATUS_OK;
}

/* ---- Purging ---- */

/* A key manager that purges by itself leaves only the row. */
static void purge_key(struct round *round, const struct uuid *id)
{
    struct kms_key key;
    enum status status = kms_key_get(round->context->kms, id, &key);
    if (status == STATUS_OK)
        status = key.extractable ? kms_key_purge(round->context->kms, id)
                                 : api_root_key_purge(round->context, id, round->error);
    if (status == STATUS_FEATURE_NOT_SUPPORTED)
        status = kms_key_purge(round->context->kms, id);
    record(round, "kms.secrets.purge", id, status);
    round->done->purged += status == STATUS_OK;
}

/* ---- All ---- */

static void each_due(struct round *round, enum kms_due due, int64_t time,
                     void (*act)(struct round *round, const struct uuid *id))
{
    struct uuid keys[BATCH];
    size_t count = 0;
    enum status status = kms_keys_due(round->context->kms, due, time, BATCH, keys, &count);
    if (status != STATUS_OK)
        round->status = status;
    for (size_t i = 0; i < count; i++)
        act(round, &keys[i]);
}

enum status api_housekeeping(const struct api_context *context, int64_t now,
                             struct api_housekeeping *ret_done, struct error *error)
{
    *ret_done = (struct api_housekeeping){0};
    struct round round = {.context = context, .now = now, .done = ret_done, .error = error};
    each_due(&round, KMS_DUE_EXPIRATION, now, expire_key);
    each_due(&round, KMS_DUE_ROTATION, now, rotate_key);
    each_due(&round, KMS_DUE_PURGE, now - KEYS_RESTORE_TIME, purge_key);
    enum status status = kms_import_token_expire(context->kms, now - KEYS_DAY);
    if (status != STATUS_OK)
        round.status = status;
    if (round.status == STATUS_OK)
        return STATUS_OK;
    return error_set(error, round.status, "housekeeping of keys is not complete: %s",
                     status_text(round.status));
}
