/* SPDX-License-Identifier: Apache-2.0 */
/* Frames from and to the admin process, on kmipd's side. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "admin/inside.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"

#define PEM_MAX          65536
#define JOBS_MAX         2048
#define JOB_BYTES_MAX    ((size_t)64 << 20) /* of requests in flight */
#define SPARE_SIZE       ((size_t)32 << 10)
#define SPARE_MAX        64
#define PIECES_MAX       64
#define DEFAULT_BODY     (1u << 20)
#define DEFAULT_HEADERS  (16u << 10)
#define DEFAULT_SECONDS  60

/* ---- Setup ---- */

static void write_setup(struct admin *admin, const struct link_identity *identity,
                        struct buffer *frame)
{
    const struct admin_options *options = &admin->options;
    const struct link_setup setup = {
        .connections_max = options->connections_max > 0 ? options->connections_max : 1,
        .body_max = options->body_max > 0 ? (uint32_t)options->body_max : DEFAULT_BODY,
        .headers_max = options->headers_max > 0 ? (uint32_t)options->headers_max : DEFAULT_HEADERS,
        .request_seconds =
            options->request_seconds > 0 ? options->request_seconds : DEFAULT_SECONDS,
        .log_level = options->log_level > 0 ? (uint32_t)options->log_level : LOG_LEVEL_INFO,
        .journal = options->journal,
        .identity = *identity,
    };
    link_begin(frame, LINK_SETUP, 0);
    link_write_setup(&setup, frame);
    link_end(frame);
}

static void write_identity(const struct link_identity *identity, struct buffer *frame)
{
    link_begin(frame, LINK_IDENTITY, 0);
    link_write_identity(identity, frame);
    link_end(frame);
}

enum status frames_identity(struct admin *admin, bool whole, struct buffer *ret_frame,
                            struct error *error)
{
    struct buffer certificate;
    struct secret key = {0};
    buffer_init(&certificate, PEM_MAX);
    enum status status =
        file_read(admin->options.certificate_file, FILE_PUBLIC, &certificate, error);
    if (status == STATUS_OK)
        status = file_read_secret(admin->options.key_file, FILE_CREDENTIAL, PEM_MAX, &key, error);
    if (status == STATUS_OK) {
        const struct link_identity identity = {buffer_bytes(&certificate), secret_bytes(&key)};
        if (whole)
            write_setup(admin, &identity, ret_frame);
        else
            write_identity(&identity, ret_frame);
        status = buffer_status(ret_frame);
        if (status != STATUS_OK)
            (void)error_set(error, status, "%s", status_text(status));
    }
    secret_free(&key);
    buffer_free(&certificate);
    return status;
}

/* ---- Sending ---- */

static void wake(struct admin *admin)
{
    (void)eventfd_write(admin->wake, 1);
}

static void free_outgoing(struct outgoing *outgoing)
{
    buffer_free(&outgoing->frame);
    free(outgoing);
}

void frames_queue(struct admin *admin, uint64_t generation, struct buffer *frame)
{
    struct outgoing *outgoing = calloc(1, sizeof(*outgoing));
    (void)pthread_mutex_lock(&admin->lock);
    bool wanted = outgoing != NULL && generation == admin->generation && !admin->closing;
    bool first = admin->first == NULL;
    if (wanted) {
        outgoing->frame = *frame;
        buffer_init(frame, frame->maximum);
        if (first)
            admin->first = outgoing;
        else
            admin->last->next = outgoing;
        admin->last = outgoing;
    }
    (void)pthread_mutex_unlock(&admin->lock);
    if (!wanted) {
        /* Without memory the client waits until its time is over. */
        buffer_free(frame);
        free(outgoing);
    } else if (first) {
        wake(admin);
    }
}

/* The frames that are sent at once; they stay in the list. */
static int gather(struct admin *admin, struct iovec *ret_pieces)
{
    int count = 0;
    (void)pthread_mutex_lock(&admin->lock);
    for (struct outgoing *at = admin->first; at != NULL && count < PIECES_MAX; at = at->next)
        ret_pieces[count++] = (struct iovec){at->frame.data + at->sent, at->frame.size - at->sent};
    (void)pthread_mutex_unlock(&admin->lock);
    return count;
}

/* Takes the first frame out of the list if all of it is sent. */
static struct outgoing *take_sent(struct admin *admin, size_t *sent)
{
    (void)pthread_mutex_lock(&admin->lock);
    struct outgoing *first = admin->first;
    size_t left = first == NULL ? 0 : first->frame.size - first->sent;
    bool whole = first != NULL && *sent >= left;
    if (whole)
        admin->first = first->next;
    else if (first != NULL)
        first->sent += *sent;
    (void)pthread_mutex_unlock(&admin->lock);
    *sent -= whole ? left : *sent;
    return whole ? first : NULL;
}

bool frames_write(struct admin *admin)
{
    struct iovec pieces[PIECES_MAX];
    for (int count; (count = gather(admin, pieces)) > 0;) {
        ssize_t result = writev(admin->link, pieces, count);
        if (result < 0 && errno == EINTR)
            continue;
        if (result < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        size_t sent = (size_t)result;
        for (struct outgoing *whole; (whole = take_sent(admin, &sent)) != NULL;)
            free_outgoing(whole);
    }
    return true;
}

/* ---- Jobs ---- */

bool frames_has_room(struct admin *admin)
{
    (void)pthread_mutex_lock(&admin->lock);
    bool room = admin->in_flight < JOBS_MAX && admin->in_flight_bytes < JOB_BYTES_MAX;
    (void)pthread_mutex_unlock(&admin->lock);
    return room;
}

static void free_job(struct front_job *job)
{
    buffer_free(&job->job.response.body);
    locked_free(job->memory, job->size);
    free(job);
}

static struct front_job *take_spare(struct admin *admin, size_t size)
{
    (void)pthread_mutex_lock(&admin->lock);
    struct front_job *job = size <= SPARE_SIZE ? admin->spare : NULL;
    if (job != NULL) {
        admin->spare = job->next;
        admin->spare_count--;
    }
    (void)pthread_mutex_unlock(&admin->lock);
    return job;
}

/* A job with room for a payload of this size, in locked memory: it may carry key material. NULL:
 * there is no such memory. */
static struct front_job *make_job(struct admin *admin, size_t size)
{
    struct front_job *job = take_spare(admin, size);
    if (job != NULL)
        return job;
    job = calloc(1, sizeof(*job));
    if (job == NULL)
        return NULL;
    job->size = size > SPARE_SIZE ? size : SPARE_SIZE;
    job->memory = locked_allocate(job->size);
    if (job->memory == NULL) {
        free(job);
        return NULL;
    }
    buffer_init(&job->job.response.body, API_RESPONSE_MAX);
    return job;
}

/* Wipes what the request was, and keeps the memory for another. */
static void give_job(struct admin *admin, struct front_job *job, size_t used)
{
    buffer_free(&job->job.response.body);
    explicit_bzero(job->memory, used);
    (void)pthread_mutex_lock(&admin->lock);
    bool keep = job->size == SPARE_SIZE && admin->spare_count < SPARE_MAX;
    if (keep) {
        job->next = admin->spare;
        admin->spare = job;
        admin->spare_count++;
    }
    (void)pthread_mutex_unlock(&admin->lock);
    if (!keep)
        free_job(job);
}

static void count_job(struct admin *admin, size_t size, bool begins)
{
    (void)pthread_mutex_lock(&admin->lock);
    bool was_full = admin->in_flight >= JOBS_MAX || admin->in_flight_bytes >= JOB_BYTES_MAX;
    admin->in_flight += begins ? 1 : (size_t)-1;
    admin->in_flight_bytes += begins ? size : -size;
    admin->requests += begins;
    if (admin->in_flight == 0)
        (void)pthread_cond_broadcast(&admin->changed);
    (void)pthread_mutex_unlock(&admin->lock);
    if (was_full && !begins)
        wake(admin);
}

/* The size of the payload that a job's request was read from. */
static size_t payload_size(const struct front_job *job)
{
    struct bytes body = job->job.request.body;
    return (size_t)(body.data - job->memory) + body.size;
}

/* Runs on a thread of the API or of the audit log. */
static void job_done(struct api_job *api_job)
{
    struct front_job *job = CONTAINER_OF(api_job, struct front_job, job);
    struct admin *admin = job->admin;
    struct buffer frame;
    size_t size = payload_size(job);
    buffer_init(&frame, LINK_FRAME_MAX);
    link_begin(&frame, LINK_ANSWER, job->number);
    link_write_answer(&api_job->response, &frame);
    link_end(&frame);
    if (buffer_status(&frame) == STATUS_OK)
        frames_queue(admin, job->generation, &frame);
    buffer_free(&frame);
    give_job(admin, job, size);
    count_job(admin, size, false);
}

/* ---- Reading ---- */

static void note_outcome(struct admin *admin, enum outcome outcome, struct bytes text)
{
    (void)pthread_mutex_lock(&admin->lock);
    admin->outcome = outcome;
    (void)error_set(&admin->failure, STATUS_INVALID_ARGUMENT, "%.*s", (int)text.size,
                    (const char *)text.data);
    (void)pthread_cond_broadcast(&admin->changed);
    (void)pthread_mutex_unlock(&admin->lock);
}

/* Submits a request whose payload stands in the job's memory. */
static bool submit(struct admin *admin, struct front_job *job, const struct link_header *header)
{
    if (link_read_request(bytes_of(job->memory, header->size), &job->job.request) != STATUS_OK) {
        free_job(job);
        return false;
    }
    job->admin = admin;
    job->number = header->number;
    job->generation = admin->generation;
    job->job.done = job_done;
    count_job(admin, header->size, true);
    api_submit(admin->api, &job->job);
    return true;
}

/* Says "later" to a request for which there is no memory. */
static void refuse(struct admin *admin, uint64_t number)
{
    struct buffer frame;
    struct api_response response = {.status = 503, .key_total = -1, .retry_after = 5};
    buffer_init(&frame, LINK_FIELDS_MAX);
    link_begin(&frame, LINK_ANSWER, number);
    link_write_answer(&response, &frame);
    link_end(&frame);
    if (buffer_status(&frame) == STATUS_OK)
        frames_queue(admin, admin->generation, &frame);
    buffer_free(&frame);
}

static bool take_request(struct admin *admin, const struct link_header *header,
                         struct bytes payload)
{
    struct front_job *job = make_job(admin, header->size);
    if (job == NULL) {
        log_error("admin no locked memory for a request of %u bytes: raise LimitMEMLOCK",
                  header->size);
        refuse(admin, header->number);
        return true;
    }
    memcpy(job->memory, payload.data, payload.size);
    return submit(admin, job, header);
}

static bool take_frame(struct admin *admin, const struct link_header *header, struct bytes payload)
{
    switch (header->kind) {
    case LINK_READY:
        note_outcome(admin, OUTCOME_READY, bytes_of("", 0));
        return true;
    case LINK_FAILED:
        note_outcome(admin, OUTCOME_FAILED, payload);
        return true;
    case LINK_REQUEST:
        return take_request(admin, header, payload);
    default:
        return false;
    }
}

/* A request that is larger than what is read at once goes to its own memory. */
static bool begin_large(struct admin *admin, const struct link_header *header)
{
    struct front_job *job = header->kind == LINK_REQUEST ? make_job(admin, header->size) : NULL;
    if (job == NULL)
        return false;
    admin->large = job;
    admin->large_header = *header;
    admin->large_read = admin->input_size - LINK_HEADER_SIZE;
    memcpy(job->memory, admin->input + LINK_HEADER_SIZE, admin->large_read);
    explicit_bzero(admin->input, admin->input_size);
    admin->input_size = 0;
    return true;
}

/* Acts on the whole frames in `input`. */
static bool take_frames(struct admin *admin)
{
    size_t at = 0;
    bool good = true;
    while (good && admin->input_size - at >= LINK_HEADER_SIZE) {
        struct link_header header;
        good = link_read_header(admin->input + at, &header) == STATUS_OK;
        size_t whole = good ? LINK_HEADER_SIZE + header.size : 0;
        if (!good || admin->input_size - at < whole) {
            if (good && whole > INSIDE_READ_SIZE && at == 0)
                return begin_large(admin, &header);
            break;
        }
        good = take_frame(admin, &header,
                          bytes_of(admin->input + at + LINK_HEADER_SIZE, header.size));
        at += whole;
    }
    size_t rest = admin->input_size - at;
    memmove(admin->input, admin->input + at, rest);
    explicit_bzero(admin->input + rest, at);
    admin->input_size = rest;
    return good;
}

static bool finish_large(struct admin *admin)
{
    struct front_job *job = admin->large;
    if (admin->large_read < admin->large_header.size)
        return true;
    admin->large = NULL;
    return submit(admin, job, &admin->large_header);
}

bool frames_read(struct admin *admin)
{
    bool large = admin->large != NULL;
    uint8_t *to = large ? admin->large->memory + admin->large_read : admin->input + admin->input_size;
    size_t room = large ? admin->large_header.size - admin->large_read
                        : INSIDE_READ_SIZE - admin->input_size;
    ssize_t result = read(admin->link, to, room);
    if (result < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    if (result == 0)
        return false;
    if (large)
        admin->large_read += (size_t)result;
    else
        admin->input_size += (size_t)result;
    return large ? finish_large(admin) : take_frames(admin);
}

/* ---- The end ---- */

void frames_clear(struct admin *admin)
{
    (void)pthread_mutex_lock(&admin->lock);
    struct outgoing *first = admin->first;
    admin->first = NULL;
    admin->generation++;
    (void)pthread_mutex_unlock(&admin->lock);
    while (first != NULL) {
        struct outgoing *next = first->next;
        free_outgoing(first);
        first = next;
    }
    if (admin->large != NULL)
        free_job(admin->large);
    admin->large = NULL;
    explicit_bzero(admin->input, admin->input_size);
    admin->input_size = 0;
}

void frames_free(struct admin *admin)
{
    frames_clear(admin);
    while (admin->spare != NULL) {
        struct front_job *job = admin->spare;
        admin->spare = job->next;
        free_job(job);
    }
}
