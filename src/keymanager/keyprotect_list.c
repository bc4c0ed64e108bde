/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of keys, in pages that overlap: a page begins with keys that were seen before, or some may
 * have been purged in between, and others have moved up into pages that were read. */
#include "base/clock.h"
#include "keymanager/keyprotect_client.h"

#define PAGE       5000 /* keys; the service's limit */
#define PAGE_LEAST 200  /* a shorter page is the last: not even its default is reached */
#define OVERLAP    50   /* keys */

struct walk {
    const struct kp_list *list;
    kp_visit_key *visit;
    void *context;
    bool search;
    bool stopped;     /* by the visitor */
    bool has_last;    /* a page was read */
    bool found_last;  /* its last key has been seen in this one */
    size_t fresh;     /* keys of this page that were not in the one before */
    struct uuid last; /* the last key of the page before, then of this one */
    struct uuid end;
};

static bool take_key(void *context, const struct kp_key *key)
{
    struct walk *walk = context;
    walk->end = key->id;
    if (walk->has_last && !walk->found_last) {
        walk->found_last = uuid_equal(&key->id, &walk->last);
        return true;
    }
    walk->fresh++;
    walk->stopped = walk->stopped || !walk->visit(walk->context, key);
    return true;
}

static void init_call(struct kp *kp, const struct walk *walk, size_t offset, struct kp_call *call)
{
    char text[KP_PATH_MAX];
    struct buffer path;
    buffer_over(&path, text, sizeof(text));
    buffer_append_format(&path, "/keys?limit=%d&offset=%zu&extractable=%s&state=0,1,2,3,5", PAGE,
                         offset, walk->list->extractable ? "true" : "false");
    if (walk->search) {
        buffer_append_text(&path, "&search=");
        kp_http_percent(&path, bytes_of_text(walk->list->search));
    }
    buffer_append(&path, "", 1);
    kp_call_init(call, "GET", "%s", text);
    call->answer_max = KP_LIST_MAX;
    call->key_ring = walk->list->key_ring;
    call->try_timeout = 4 * kp->options.job_timeout;
    call->deadline = clock_monotonic() + 8 * kp->options.job_timeout;
}

static enum status read_page(struct kp *kp, struct walk *walk, const struct kp_call *call,
                             size_t *ret_count, struct error *error)
{
    walk->fresh = 0;
    walk->found_last = false;
    if (!kp_answer_keys(buffer_bytes(&call->answer), take_key, walk, ret_count))
        return error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE, "%s: the answer is no list of keys",
                         kp->options.url);
    if (walk->has_last && !walk->found_last)
        return error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                         "%s: the list of keys changed while it was read; try again",
                         kp->options.url);
    walk->last = walk->end;
    walk->has_last = *ret_count > 0;
    return STATUS_OK;
}

static enum status next_page(struct kp *kp, struct walk *walk, size_t offset, size_t *ret_count,
                             struct error *error)
{
    struct kp_call call;
    init_call(kp, walk, offset, &call);
    call.error = error;
    enum status status = kp_run(kp, &call);
    bool too_broad =
        walk->search && !walk->has_last && strcmp(call.refusal.code, "KEY_SEARCH_TOO_BROAD") == 0;
    if (status == STATUS_OK)
        status = read_page(kp, walk, &call, ret_count, error);
    buffer_free(&call.answer);
    if (!too_broad)
        return status;
    walk->search = false;
    return next_page(kp, walk, offset, ret_count, error);
}

enum status kp_list_keys(struct kp *kp, const struct kp_list *list, kp_visit_key *visit,
                         void *context, struct error *error)
{
    struct walk walk = {
        .list = list, .visit = visit, .context = context, .search = list->search != NULL};
    size_t offset = 0, count = 0;
    enum status status;
    do {
        status = next_page(kp, &walk, offset, &count, error);
        offset += count > OVERLAP ? count - OVERLAP : 0;
    } while (status == STATUS_OK && !walk.stopped && walk.fresh > 0 && count >= PAGE_LEAST);
    return status;
}
