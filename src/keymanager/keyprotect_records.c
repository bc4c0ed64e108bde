/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records are standard keys. Writing one is not repeated blindly: where nobody knows whether it was
 * made, it is looked for by name and content first.
 */
#include "base/base64.h"
#include "base/clock.h"
#include "keymanager/keyprotect_client.h"

#define WRITES_MAX 3 /* of one record, in one job */

void kp_write_key(struct buffer *body, const char *name, const char *description, bool extractable,
                  struct bytes payload)
{
    buffer_append_text(body,
                       "{\"metadata\":{\"collectionType\":\"application/vnd.ibm.kms.key+json\","
                       "\"collectionTotal\":1},\"resources\":[{"
                       "\"type\":\"application/vnd.ibm.kms.key+json\",\"name\":");
    kp_json_write(body, bytes_of_text(name));
    if (description != NULL) {
        buffer_append_text(body, ",\"description\":");
        kp_json_write(body, bytes_of_text(description));
    }
    buffer_append_text(body, extractable ? ",\"extractable\":true" : ",\"extractable\":false");
    if (payload.size > 0) {
        buffer_append_text(body, ",\"payload\":\"");
        base64_encode(BASE64_STANDARD, payload, body);
        buffer_append_text(body, "\"");
    }
    buffer_append_text(body, "}]}");
}

/* ---- Doubts: on the thread of the key manager alone ---- */

static char (*find_doubt(struct kp_doubts *doubts, const char *name))[KP_NAME_MAX + 1]
{
    for (size_t i = 0; i < doubts->count; i++)
        if (strcmp(doubts->names[i], name) == 0)
            return &doubts->names[i];
    return NULL;
}

static void add_doubt(struct kp_doubts *doubts, const char *name)
{
    if (find_doubt(doubts, name) != NULL)
        return;
    if (doubts->count == KP_DOUBTS_MAX) {
        doubts->overflowed = true;
        return;
    }
    memcpy(doubts->names[doubts->count++], name, strlen(name) + 1);
}

static void remove_doubt(struct kp_doubts *doubts, const char *name)
{
    char(*doubt)[KP_NAME_MAX + 1] = find_doubt(doubts, name);
    if (doubt != NULL)
        memmove(doubt, &doubts->names[--doubts->count], sizeof(*doubt));
}

/* ---- Writing ---- */

static void write_it(struct kp_slot *slot);
static void look_for_it(struct kp_slot *slot);

/* Nothing here is about a root key, and nothing may look as if an object were not there. */
static enum status status_of(const struct kp_call *call)
{
    switch (call->status) {
    case STATUS_OK:
    case STATUS_ROOT_KEY_UNAVAILABLE:
    case STATUS_NO_MEMORY:
    case STATUS_CRYPTO_FAILED:
    case STATUS_TOO_LARGE:
        return call->status;
    default:
        return STATUS_KEY_MANAGER_UNAVAILABLE;
    }
}

static void end_with(struct kp_slot *slot, const struct uuid *id)
{
    remove_doubt(&slot->kp->doubts, slot->job->record_name);
    slot->job->record_id = *id;
    kp_job_end(slot, STATUS_OK);
}

static void written(struct kp_call *call, struct kp_slot *slot)
{
    struct kp_key key;
    if (call->status == STATUS_OK && kp_answer_key(buffer_bytes(&call->answer), &key)) {
        end_with(slot, &key.id);
        return;
    }
    if (call->status != STATUS_OK && !call->ambiguous) {
        kp_job_end(slot, status_of(call));
        return;
    }
    add_doubt(&slot->kp->doubts, slot->job->record_name);
    look_for_it(slot);
}

static enum status write_record(struct kp_call *call, struct buffer *body)
{
    const struct keymanager_job *job = CONTAINER_OF(call, struct kp_slot, own)->job;
    kp_write_key(body, job->record_name, NULL, true, job->record);
    return buffer_status(body);
}

static void write_it(struct kp_slot *slot)
{
    if (slot->step++ >= WRITES_MAX) {
        kp_job_end(slot, STATUS_KEY_MANAGER_UNAVAILABLE);
        return;
    }
    struct kp_call *call = kp_own_call(slot, "POST", "/keys");
    call->key_ring = slot->kp->options.record_key_ring;
    call->once = true;
    call->minimal = true;
    call->write = write_record;
    call->done = written;
    kp_call_begin(slot, call);
}

/* ---- Looking for what may be there ---- */

static void read_next(struct kp_slot *slot);

static void read_one(struct kp_call *call, struct kp_slot *slot)
{
    struct buffer payload;
    struct bytes record = slot->job->record;
    bool gone = call->http == 404 || call->http == 410;
    if (call->status != STATUS_OK && !gone) {
        kp_job_end(slot, status_of(call));
        return;
    }
    buffer_init(&payload, KEYMANAGER_RECORD_MAX);
    bool same = call->status == STATUS_OK &&
                kp_answer_payload(buffer_bytes(&call->answer), &payload) &&
                bytes_equal(buffer_bytes(&payload), record);
    buffer_free(&payload);
    if (same)
        end_with(slot, &slot->candidates[slot->candidate - 1]);
    else
        read_next(slot);
}

static void read_next(struct kp_slot *slot)
{
    char path[64] = "/keys/";
    if (slot->candidate == slot->candidate_count) {
        write_it(slot);
        return;
    }
    uuid_text(&slot->candidates[slot->candidate++], path + strlen(path));
    struct kp_call *call = kp_own_call(slot, "GET", path);
    call->key_ring = slot->kp->options.record_key_ring;
    call->done = read_one;
    kp_call_begin(slot, call);
}

static bool take_candidate(void *context, const struct kp_key *key)
{
    struct kp_slot *slot = context;
    if (slot->candidate_count < KP_CANDIDATES_MAX && key->extractable && key->state <= 1 &&
        strcmp(key->name, slot->job->record_name) == 0)
        slot->candidates[slot->candidate_count++] = key->id;
    return true;
}

static void looked(struct kp_call *call, struct kp_slot *slot)
{
    size_t count;
    if (!slot->broad && strcmp(call->refusal.code, "KEY_SEARCH_TOO_BROAD") == 0) {
        slot->broad = true;
        look_for_it(slot);
        return;
    }
    if (call->status != STATUS_OK) {
        kp_job_end(slot, status_of(call));
        return;
    }
    if (!kp_answer_keys(buffer_bytes(&call->answer), take_candidate, slot, &count)) {
        kp_job_end(slot, STATUS_KEY_MANAGER_UNAVAILABLE);
        return;
    }
    read_next(slot);
}

/* Where a search is refused, what was written a moment ago is among the newest. */
static void look_for_it(struct kp_slot *slot)
{
    char text[KP_PATH_MAX];
    struct buffer path;
    slot->candidate = 0;
    slot->candidate_count = 0;
    buffer_over(&path, text, sizeof(text));
    buffer_append_text(&path, "/keys?extractable=true&state=0,1&limit=1000");
    if (slot->broad) {
        buffer_append_text(&path, "&sort=-creationDate");
    } else {
        buffer_append_text(&path, "&search=");
        kp_http_percent(&path, bytes_of_text(slot->job->record_name));
    }
    buffer_append(&path, "", 1);
    struct kp_call *call = kp_own_call(slot, "GET", text);
    call->key_ring = slot->kp->options.record_key_ring;
    call->answer_max = KP_LIST_MAX;
    call->done = looked;
    kp_call_begin(slot, call);
}

void kp_record_begin(struct kp_slot *slot)
{
    const struct keymanager_job *job = slot->job;
    slot->broad = false;
    if (job->record_name == NULL || strlen(job->record_name) < 2 ||
        strlen(job->record_name) > KP_NAME_MAX || job->record.size == 0 ||
        job->record.size > KEYMANAGER_RECORD_MAX)
        kp_job_end(slot, STATUS_INVALID_ARGUMENT);
    else if (slot->kp->doubts.overflowed || find_doubt(&slot->kp->doubts, job->record_name) != NULL)
        look_for_it(slot);
    else
        write_it(slot);
}

/* ---- The provider's functions ---- */

enum status kp_record_put(struct keymanager *keymanager, const char *name, struct bytes record,
                          struct uuid *ret_id, struct error *error)
{
    struct keymanager_job job = {.task = KEYMANAGER_RECORD, .record_name = name, .record = record};
    enum status status = kp_run_job(kp_of(keymanager), &job);
    if (status != STATUS_OK)
        return error_set(error, status, "the record %s was not kept: %s", name,
                         status_text(status));
    *ret_id = job.record_id;
    return STATUS_OK;
}

static void init_for(struct kp *kp, const char *method, const struct uuid *id, struct error *error,
                     struct kp_call *call)
{
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(id, text);
    kp_call_init(call, method, "/keys/%s", text);
    call->key_ring = kp->options.record_key_ring;
    call->error = error;
}

enum status kp_record_get(struct keymanager *keymanager, const struct uuid *id,
                          struct buffer *ret_record, struct error *error)
{
    struct kp *kp = kp_of(keymanager);
    struct kp_call call;
    struct kp_key key;
    init_for(kp, "GET", id, error, &call);
    enum status status = kp_run(kp, &call);
    struct bytes answer = buffer_bytes(&call.answer);
    if (call.http == 404 || call.http == 410)
        status = STATUS_NOT_FOUND;
    else if (status == STATUS_OK && kp_answer_key(answer, &key) && key.state == 5)
        status = error_set(error, STATUS_NOT_FOUND, "the record was deleted");
    else if (status == STATUS_OK && !kp_answer_payload(answer, ret_record))
        status = error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                           "%s: the answer has no payload: the service ID needs the service role "
                           "Writer or Manager to read it",
                           kp->options.url);
    buffer_free(&call.answer);
    return status;
}

enum status kp_record_delete(struct keymanager *keymanager, const struct uuid *id,
                             struct error *error)
{
    struct kp *kp = kp_of(keymanager);
    struct kp_call call;
    init_for(kp, "DELETE", id, error, &call);
    call.minimal = true;
    enum status status = kp_run(kp, &call);
    buffer_free(&call.answer);
    return call.http == 404 || call.http == 410 ? STATUS_OK : status;
}

struct record_walk {
    const char *prefix;
    keymanager_visit_record *visit;
    void *context;
};

static bool visit_record(void *context, const struct kp_key *key)
{
    const struct record_walk *walk = context;
    struct keymanager_record record = {.id = key->id};
    if (!key->extractable || strncmp(key->name, walk->prefix, strlen(walk->prefix)) != 0)
        return true;
    record.state = key->state == 1   ? ROOT_KEY_ACTIVE
                   : key->state == 5 ? ROOT_KEY_DESTROYED
                                     : ROOT_KEY_SUSPENDED;
    memcpy(record.name, key->name, sizeof(record.name));
    return walk->visit(walk->context, &record);
}

enum status kp_records(struct keymanager *keymanager, const char *prefix,
                       keymanager_visit_record *visit, void *context, struct error *error)
{
    struct kp *kp = kp_of(keymanager);
    struct record_walk walk = {prefix, visit, context};
    const struct kp_list list = {.extractable = true,
                                 .search = prefix[0] != '\0' ? prefix : NULL,
                                 .key_ring = kp->options.record_key_ring};
    if (strlen(prefix) > KP_NAME_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "no record has so long a name");
    return kp_list_keys(kp, &list, visit_record, &walk, error);
}
