/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keyprotect.h"

#include <stdlib.h>

#include "keymanager/keyprotect_client.h"

static enum status wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                        const struct secret *plaintext, struct buffer *ret_wrapped)
{
    struct keymanager_job job = {.task = KEYMANAGER_WRAP,
                                 .binding = *binding,
                                 .plaintext = *plaintext,
                                 .ret_wrapped = *ret_wrapped};
    enum status status = kp_run_job(kp_of(keymanager), &job);
    *ret_wrapped = job.ret_wrapped;
    return status;
}

static enum status unwrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                          struct wrapped wrapped, struct secret *ret_plaintext,
                          struct buffer *ret_rewrapped)
{
    struct keymanager_job job = {
        .task = KEYMANAGER_UNWRAP, .binding = *binding, .wrapped = wrapped};
    if (ret_rewrapped != NULL)
        job.ret_wrapped = *ret_rewrapped;
    enum status status = kp_run_job(kp_of(keymanager), &job);
    if (ret_rewrapped != NULL)
        *ret_rewrapped = job.ret_wrapped;
    else
        buffer_free(&job.ret_wrapped);
    if (status == STATUS_OK)
        *ret_plaintext = job.plaintext;
    return status;
}

static enum status rewrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                          struct wrapped wrapped, struct buffer *ret_wrapped)
{
    struct keymanager_job job = {.task = KEYMANAGER_REWRAP,
                                 .binding = *binding,
                                 .wrapped = wrapped,
                                 .ret_wrapped = *ret_wrapped};
    enum status status = kp_run_job(kp_of(keymanager), &job);
    *ret_wrapped = job.ret_wrapped;
    return status;
}

static void close_all(struct keymanager *keymanager)
{
    struct kp *kp = kp_of(keymanager);
    kp_work_close(kp);
    kp_iam_close(&kp->iam);
    kp_http_close(&kp->http);
    (void)pthread_mutex_destroy(&kp->rotating);
    (void)pthread_mutex_destroy(&kp->versions.mutex);
    (void)pthread_cond_destroy(&kp->finished);
    (void)pthread_mutex_destroy(&kp->mutex);
    kp_options_free(&kp->options);
    free(kp);
}

static const struct keymanager_provider provider = {
    .name = "key-protect",
    .wrap = wrap,
    .unwrap = unwrap,
    .rewrap = rewrap,
    .submit = kp_submit,
    .create_root_key = kp_create_root_key,
    .rotate = kp_rotate,
    .set_state = kp_set_state,
    .delete = kp_delete,
    .restore = kp_restore,
    .purge = kp_purge,
    .root_key_info = kp_root_key_info,
    .root_keys = kp_root_keys,
    .is_newest = kp_is_newest,
    .check = kp_check,
    .record_put = kp_record_put,
    .record_get = kp_record_get,
    .record_delete = kp_record_delete,
    .records = kp_records,
    .close = close_all,
};

static bool make_locks(struct kp *kp)
{
    return pthread_mutex_init(&kp->mutex, NULL) == 0 &&
           pthread_cond_init(&kp->finished, NULL) == 0 &&
           pthread_mutex_init(&kp->versions.mutex, NULL) == 0 &&
           pthread_mutex_init(&kp->rotating, NULL) == 0;
}

static enum status open_parts(struct kp *kp, struct error *error)
{
    enum status status = kp_http_open(&kp->http, &kp->options, error);
    if (status != STATUS_OK)
        return status;
    status = kp_iam_open(&kp->iam, &kp->http);
    if (status == STATUS_OK)
        status = kp_work_open(kp);
    if (status != STATUS_OK)
        (void)error_set(error, status,
                        "no memory that can be locked for %u connections: RLIMIT_MEMLOCK is too "
                        "small (ulimit -l, or LimitMEMLOCK= in the systemd unit)",
                        kp->options.connections_max);
    return status;
}

enum status keyprotect_open(const struct keyprotect_options *options,
                            struct keymanager **ret_keymanager, struct error *error)
{
    struct kp *kp = calloc(1, sizeof(*kp));
    if (kp == NULL || !make_locks(kp)) { /* Linux's locks need no memory and do not fail */
        free(kp);
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    }
    kp->keymanager.provider = &provider;
    kp->keymanager.code = options->code;
    enum status status = kp_options_copy(options, &kp->options, error);
    if (status == STATUS_OK)
        status = open_parts(kp, error);
    if (status != STATUS_OK) {
        close_all(&kp->keymanager);
        return status;
    }
    *ret_keymanager = &kp->keymanager;
    return STATUS_OK;
}
