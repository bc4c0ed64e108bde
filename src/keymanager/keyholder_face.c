/* SPDX-License-Identifier: Apache-2.0 */
/* The key managers of a keyholder, as the rest of kmipd sees them. */
#include <semaphore.h>
#include <stdlib.h>

#include "base/clock.h"
#include "keymanager/keyholder_parts.h"

static struct keyholder_face *face_of(struct keymanager *keymanager)
{
    return CONTAINER_OF(keymanager, struct keyholder_face, keymanager);
}

/* ---- Jobs ---- */

struct job_transfer {
    struct transfer transfer; /* first */
    struct keymanager_job *job;
};

/* What an answer brings into a job; nothing of it stays after a failure. */
static enum status take_plaintext(struct keymanager_job *job, const struct keyholder_answer *answer)
{
    struct secret plaintext = {0};
    enum status status = secret_copy(&plaintext, answer->data);
    if (status != STATUS_OK)
        return status;
    size_t before = job->ret_wrapped.size;
    buffer_append_bytes(&job->ret_wrapped, answer->rewrapped);
    if (buffer_status(&job->ret_wrapped) != STATUS_OK) { /* an offer: it may be left out */
        job->ret_wrapped.size = before;
        job->ret_wrapped.status = STATUS_OK;
    }
    job->plaintext = secret_take(&plaintext);
    return STATUS_OK;
}

static enum status take_answer(struct keymanager_job *job, const struct keyholder_answer *answer)
{
    if (answer->status != STATUS_OK)
        return answer->status;
    if (job->task == KEYMANAGER_UNWRAP)
        return take_plaintext(job, answer);
    size_t before = job->ret_wrapped.size;
    buffer_append_bytes(&job->ret_wrapped, answer->data);
    enum status status = buffer_status(&job->ret_wrapped);
    if (status != STATUS_OK)
        job->ret_wrapped.size = before;
    return status;
}

static void finish_job(struct transfer *transfer, const struct keyholder_answer *answer)
{
    struct job_transfer *job_transfer = CONTAINER_OF(transfer, struct job_transfer, transfer);
    struct keymanager_job *job = job_transfer->job;
    free(job_transfer);
    job->status = take_answer(job, answer);
    job->done(job);
}

static enum status check_job(const struct keymanager_job *job)
{
    switch (job->task) {
    case KEYMANAGER_WRAP:
        if (job->plaintext.data == NULL)
            return STATUS_INVALID_ARGUMENT;
        return job->plaintext.size > KEYMANAGER_PLAINTEXT_MAX ? STATUS_TOO_LARGE : STATUS_OK;
    case KEYMANAGER_UNWRAP:
    case KEYMANAGER_REWRAP:
        return job->wrapped.blob.size == 0 || job->wrapped.blob.size > KEYMANAGER_PLAINTEXT_MAX +
                                                                           WRAPPED_OVERHEAD_MAX
                   ? STATUS_UNWRAP_FAILED
                   : STATUS_OK;
    case KEYMANAGER_RECORD:
        break;
    }
    return STATUS_FEATURE_NOT_SUPPORTED;
}

static enum keyholder_message message_of(enum keymanager_task task)
{
    return task == KEYMANAGER_WRAP     ? KEYHOLDER_WRAP
           : task == KEYMANAGER_UNWRAP ? KEYHOLDER_UNWRAP
                                       : KEYHOLDER_REWRAP;
}

static enum status make_transfer(const struct keyholder_face *face, struct keymanager_job *job,
                                 struct transfer **ret_transfer)
{
    enum status status = check_job(job);
    if (status != STATUS_OK)
        return status;
    struct job_transfer *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->job = job;
    made->transfer.finish = finish_job;
    made->transfer.request = (struct keyholder_request){
        .message = message_of(job->task),
        .code = face->keymanager.code,
        .background = job->background,
        .deadline = job->deadline,
        .binding = job->binding,
        .data = job->task == KEYMANAGER_WRAP ? secret_bytes(&job->plaintext) : job->wrapped.blob,
    };
    *ret_transfer = &made->transfer;
    return STATUS_OK;
}

static void face_submit(struct keymanager *keymanager, struct keymanager_job *jobs)
{
    struct keyholder_face *face = face_of(keymanager);
    struct transfer *first = NULL;
    struct transfer **last = &first;
    while (jobs != NULL) {
        struct keymanager_job *job = jobs;
        jobs = job->next;
        job->next = NULL;
        job->status = make_transfer(face, job, last);
        if (job->status == STATUS_OK)
            last = &(*last)->next;
        else
            job->done(job);
    }
    if (first != NULL)
        transfers_submit(face->transfers, first);
}

/* ---- One that is waited for ---- */

struct awaited_job {
    struct keymanager_job job;
    sem_t done;
};

static void awaken(struct keymanager_job *job)
{
    (void)sem_post(&CONTAINER_OF(job, struct awaited_job, job)->done);
}

static void wait_for(sem_t *done)
{
    while (sem_wait(done) != 0) /* a signal */
        ;
    (void)sem_destroy(done);
}

static void do_job(struct keymanager *keymanager, struct awaited_job *awaited)
{
    (void)sem_init(&awaited->done, 0, 0);
    awaited->job.done = awaken;
    face_submit(keymanager, &awaited->job);
    wait_for(&awaited->done);
}

static enum status face_wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                             const struct secret *plaintext, struct buffer *ret_wrapped)
{
    struct awaited_job awaited = {.job = {.task = KEYMANAGER_WRAP,
                                          .binding = *binding,
                                          .plaintext = *plaintext,
                                          .ret_wrapped = *ret_wrapped}};
    do_job(keymanager, &awaited);
    *ret_wrapped = awaited.job.ret_wrapped;
    return awaited.job.status;
}

static enum status face_unwrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                               struct wrapped wrapped, struct secret *ret_plaintext,
                               struct buffer *ret_rewrapped)
{
    struct awaited_job awaited = {
        .job = {.task = KEYMANAGER_UNWRAP, .binding = *binding, .wrapped = wrapped}};
    if (ret_rewrapped != NULL)
        awaited.job.ret_wrapped = *ret_rewrapped;
    do_job(keymanager, &awaited);
    if (ret_rewrapped != NULL)
        *ret_rewrapped = awaited.job.ret_wrapped;
    if (awaited.job.status == STATUS_OK)
        *ret_plaintext = secret_take(&awaited.job.plaintext);
    return awaited.job.status;
}

static enum status face_rewrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                               struct wrapped wrapped, struct buffer *ret_wrapped)
{
    struct awaited_job awaited = {.job = {.task = KEYMANAGER_REWRAP,
                                          .binding = *binding,
                                          .wrapped = wrapped,
                                          .ret_wrapped = *ret_wrapped}};
    do_job(keymanager, &awaited);
    *ret_wrapped = awaited.job.ret_wrapped;
    return awaited.job.status;
}

/* ---- Root keys ---- */

struct call {
    struct transfer transfer;
    sem_t done;
    struct keyholder_answer answer; /* without what points into the frame */
    struct error *error;            /* NULL: there is none to fill in */
    struct root_key_info *infos;    /* LIST: all that came */
    size_t info_count;
    unsigned sends; /* of the transfer when they began to come */
};

/* More of a list; what came before the request was sent again comes again. */
static enum status take_infos(struct call *call, const struct keyholder_answer *answer)
{
    if (call->sends != call->transfer.sends)
        call->info_count = 0;
    call->sends = call->transfer.sends;
    if (answer->info_count == 0)
        return STATUS_OK;
    struct root_key_info *infos =
        reallocarray(call->infos, call->info_count + answer->info_count, sizeof(*infos));
    if (infos == NULL)
        return STATUS_NO_MEMORY;
    call->infos = infos;
    for (size_t i = 0; i < answer->info_count; i++)
        infos[call->info_count++] = keyholder_info_at(answer, i);
    return STATUS_OK;
}

static void finish_call(struct transfer *transfer, const struct keyholder_answer *answer)
{
    struct call *call = CONTAINER_OF(transfer, struct call, transfer);
    enum status status = answer->status;
    if (status == STATUS_OK && answer->message == KEYHOLDER_LIST)
        status = take_infos(call, answer);
    if (call->answer.status != STATUS_OK) /* of an earlier part of the list */
        status = call->answer.status;
    call->answer = *answer;
    call->answer.status = status;
    if (answer->more)
        return;
    if (answer->text.size > 0 || status != STATUS_OK)
        (void)error_set(call->error, status, "%.*s", (int)answer->text.size,
                        answer->text.size > 0 ? (const char *)answer->text.data : "");
    (void)sem_post(&call->done);
}

static enum status do_call(struct keymanager *keymanager, struct call *call, struct error *error)
{
    struct keyholder_face *face = face_of(keymanager);
    call->error = error;
    call->transfer.finish = finish_call;
    call->transfer.request.code = face->keymanager.code;
    (void)sem_init(&call->done, 0, 0);
    transfers_submit(face->transfers, &call->transfer);
    wait_for(&call->done);
    return call->answer.status;
}

/* A call for a message with these members of its request. */
#define CALL(...) {.transfer = {.request = {__VA_ARGS__}}}

static enum status face_create_root_key(struct keymanager *keymanager,
                                        const struct root_key_wish *wish,
                                        struct uuid *ret_root_key, struct error *error)
{
    struct call call = CALL(.message = KEYHOLDER_CREATE, .root_key = wish->id, .now = wish->now);
    if (wish->name != NULL)
        call.transfer.request.name = bytes_of_text(wish->name);
    if (call.transfer.request.name.size > 90)
        return error_set(error, STATUS_INVALID_ARGUMENT, "the name is longer than 90 bytes");
    if (wish->material != NULL)
        call.transfer.request.material = secret_bytes(wish->material);
    enum status status = do_call(keymanager, &call, error);
    if (status == STATUS_OK)
        *ret_root_key = call.answer.root_key;
    return status;
}

static enum status face_rotate(struct keymanager *keymanager, const struct uuid *root_key,
                               uint32_t from, const struct secret *material, int64_t now,
                               struct error *error)
{
    struct call call =
        CALL(.message = KEYHOLDER_ROTATE, .root_key = *root_key, .from = from, .now = now);
    if (material != NULL)
        call.transfer.request.material = secret_bytes(material);
    return do_call(keymanager, &call, error);
}

static enum status face_set_state(struct keymanager *keymanager, const struct uuid *root_key,
                                  enum root_key_state state, struct error *error)
{
    struct call call =
        CALL(.message = KEYHOLDER_SET_STATE, .root_key = *root_key, .state = state);
    return do_call(keymanager, &call, error);
}

static enum status face_delete(struct keymanager *keymanager, const struct uuid *root_key,
                               int64_t now, struct error *error)
{
    struct call call = CALL(.message = KEYHOLDER_DELETE, .root_key = *root_key, .now = now);
    return do_call(keymanager, &call, error);
}

static enum status face_restore(struct keymanager *keymanager, const struct uuid *root_key,
                                struct error *error)
{
    struct call call = CALL(.message = KEYHOLDER_RESTORE, .root_key = *root_key);
    return do_call(keymanager, &call, error);
}

static enum status face_purge(struct keymanager *keymanager, const struct uuid *root_key,
                              struct error *error)
{
    struct call call = CALL(.message = KEYHOLDER_PURGE, .root_key = *root_key);
    return do_call(keymanager, &call, error);
}

static enum status face_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                                      struct root_key_info *ret_info)
{
    struct call call = CALL(.message = KEYHOLDER_INFO, .root_key = *root_key);
    enum status status = do_call(keymanager, &call, NULL);
    if (status == STATUS_OK)
        *ret_info = call.answer.info;
    return status;
}

static enum status face_root_keys(struct keymanager *keymanager, keymanager_visit_root_key *visit,
                                  void *context)
{
    struct call call = CALL(.message = KEYHOLDER_LIST);
    enum status status = do_call(keymanager, &call, NULL);
    for (size_t i = 0; status == STATUS_OK && i < call.info_count; i++)
        if (!visit(context, &call.infos[i]))
            break;
    free(call.infos);
    return status;
}

static enum status face_is_newest(struct keymanager *keymanager, struct wrapped wrapped,
                                  bool *ret_newest)
{
    struct call call = CALL(.message = KEYHOLDER_IS_NEWEST, .data = wrapped.blob);
    if (wrapped.blob.size == 0 ||
        wrapped.blob.size > KEYMANAGER_PLAINTEXT_MAX + WRAPPED_OVERHEAD_MAX)
        return STATUS_UNWRAP_FAILED;
    enum status status = do_call(keymanager, &call, NULL);
    if (status == STATUS_OK)
        *ret_newest = call.answer.newest;
    return status;
}

static enum status face_check(struct keymanager *keymanager, struct error *error)
{
    struct call call = CALL(.message = KEYHOLDER_CHECK);
    return do_call(keymanager, &call, error);
}

static void face_close(struct keymanager *keymanager)
{
    (void)keymanager; /* it ends with the keyholder */
}

/* ---- Providers ---- */

#define FACE(provider_name)                      \
    {                                            \
        .name = (provider_name),                 \
        .wrap = face_wrap,                       \
        .unwrap = face_unwrap,                   \
        .rewrap = face_rewrap,                   \
        .submit = face_submit,                   \
        .create_root_key = face_create_root_key, \
        .rotate = face_rotate,                   \
        .set_state = face_set_state,             \
        .delete = face_delete,                   \
        .restore = face_restore,                 \
        .purge = face_purge,                     \
        .root_key_info = face_root_key_info,     \
        .root_keys = face_root_keys,             \
        .is_newest = face_is_newest,             \
        .check = face_check,                     \
        .close = face_close,                     \
    }

static const struct keymanager_provider sealed_file = FACE("sealed-file");
static const struct keymanager_provider pkcs11 = FACE("pkcs11");

void keyholder_face_init(struct keyholder_face *face, enum keymanager_code code,
                         struct transfers *transfers)
{
    face->keymanager = (struct keymanager){
        code == KEYMANAGER_PKCS11 ? &pkcs11 : &sealed_file,
        code,
    };
    face->transfers = transfers;
}
