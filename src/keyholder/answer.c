/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/answer.h"

/* One request on its way to its answer. */
struct work {
    struct keymanager *keymanager;
    const struct keyholder_request *request;
    struct keyholder_answer *answer;
    struct secret plaintext;
    struct buffer blob;
    struct error error;
    answer_send *send;
    void *context;
};

/* Bytes that were read, as what the interface takes; it changes neither. */
static struct secret as_secret(struct bytes bytes)
{
    return (struct secret){(uint8_t *)(uintptr_t)bytes.data, bytes.size};
}

/* ---- One function a message ---- */

static enum status do_wrap(struct work *work)
{
    const struct keyholder_request *request = work->request;
    struct secret plaintext = as_secret(request->data);
    enum status status =
        keymanager_wrap(work->keymanager, &request->binding, &plaintext, &work->blob);
    work->answer->data = buffer_bytes(&work->blob);
    return status;
}

static enum status do_unwrap(struct work *work)
{
    const struct keyholder_request *request = work->request;
    enum status status =
        keymanager_unwrap(work->keymanager, &request->binding, (struct wrapped){request->data},
                          &work->plaintext, &work->blob);
    work->answer->data = secret_bytes(&work->plaintext);
    /* It is an offer: what makes the answer too long is left out. */
    if (work->plaintext.size + work->blob.size <= KEYMANAGER_PLAINTEXT_MAX)
        work->answer->rewrapped = buffer_bytes(&work->blob);
    return status;
}

static enum status do_rewrap(struct work *work)
{
    const struct keyholder_request *request = work->request;
    enum status status = keymanager_rewrap(work->keymanager, &request->binding,
                                           (struct wrapped){request->data}, &work->blob);
    work->answer->data = buffer_bytes(&work->blob);
    return status;
}

static enum status do_create(struct work *work)
{
    const struct keyholder_request *request = work->request;
    struct secret material = as_secret(request->material);
    char name[91] = "";
    if (request->name.size >= sizeof(name))
        return STATUS_INVALID_ARGUMENT;
    if (request->name.size > 0)
        memcpy(name, request->name.data, request->name.size);
    const struct root_key_wish wish = {
        .id = request->root_key,
        .name = request->name.data != NULL ? name : NULL,
        .material = request->material.data != NULL ? &material : NULL,
        .now = request->now,
    };
    return keymanager_create_root_key(work->keymanager, &wish, &work->answer->root_key,
                                      &work->error);
}

static enum status do_rotate(struct work *work)
{
    const struct keyholder_request *request = work->request;
    struct secret material = as_secret(request->material);
    return keymanager_rotate(work->keymanager, &request->root_key, request->from,
                             request->material.data != NULL ? &material : NULL, request->now,
                             &work->error);
}

static enum status do_set_state(struct work *work)
{
    return keymanager_set_state(work->keymanager, &work->request->root_key, work->request->state,
                                &work->error);
}

static enum status do_delete(struct work *work)
{
    return keymanager_delete(work->keymanager, &work->request->root_key, work->request->now,
                             &work->error);
}

static enum status do_restore(struct work *work)
{
    return keymanager_restore(work->keymanager, &work->request->root_key, &work->error);
}

static enum status do_purge(struct work *work)
{
    return keymanager_purge(work->keymanager, &work->request->root_key, &work->error);
}

static enum status do_info(struct work *work)
{
    return keymanager_root_key_info(work->keymanager, &work->request->root_key,
                                    &work->answer->info);
}

/* Root keys on their way into answers. */
struct page {
    struct work *work;
    struct root_key_info infos[KEYHOLDER_INFOS_MAX];
};

static bool put_on_page(void *context, const struct root_key_info *info)
{
    struct page *page = context;
    struct keyholder_answer *answer = page->work->answer;
    if (answer->info_count == KEYHOLDER_INFOS_MAX) {
        answer->more = true;
        page->work->send(page->work->context, answer);
        answer->more = false;
        answer->info_count = 0;
    }
    page->infos[answer->info_count++] = *info;
    return true;
}

static enum status do_list(struct work *work)
{
    struct page page = {.work = work};
    work->answer->infos = page.infos;
    enum status status = keymanager_root_keys(work->keymanager, put_on_page, &page);
    work->answer->status = status;
    work->send(work->context, work->answer); /* here: the page ends with this function */
    return status;
}

static enum status do_is_newest(struct work *work)
{
    return keymanager_is_newest(work->keymanager, (struct wrapped){work->request->data},
                                &work->answer->newest);
}

static enum status do_check(struct work *work)
{
    return keymanager_check(work->keymanager, &work->error);
}

typedef enum status do_message(struct work *work);

static do_message *const messages[KEYHOLDER_MESSAGE_MAX + 1] = {
    [KEYHOLDER_WRAP] = do_wrap,           [KEYHOLDER_UNWRAP] = do_unwrap,
    [KEYHOLDER_REWRAP] = do_rewrap,       [KEYHOLDER_CREATE] = do_create,
    [KEYHOLDER_ROTATE] = do_rotate,       [KEYHOLDER_SET_STATE] = do_set_state,
    [KEYHOLDER_DELETE] = do_delete,       [KEYHOLDER_RESTORE] = do_restore,
    [KEYHOLDER_PURGE] = do_purge,         [KEYHOLDER_INFO] = do_info,
    [KEYHOLDER_LIST] = do_list,           [KEYHOLDER_IS_NEWEST] = do_is_newest,
    [KEYHOLDER_CHECK] = do_check,
};

void answer_request(struct keymanager *keymanager, const struct keyholder_request *request,
                    answer_send *send, void *context)
{
    struct keyholder_answer answer = {.message = request->message, .number = request->number};
    struct work work = {.keymanager = keymanager,
                        .request = request,
                        .answer = &answer,
                        .send = send,
                        .context = context};
    buffer_init(&work.blob, KEYMANAGER_PLAINTEXT_MAX + WRAPPED_OVERHEAD_MAX);
    answer.status = messages[request->message](&work);
    answer.text = bytes_of_text(work.error.text);
    if (request->message != KEYHOLDER_LIST)
        send(context, &answer);
    secret_free(&work.plaintext);
    buffer_free(&work.blob);
}
