/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/keyholder_client.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "keymanager/keyholder_parts.h"

#define PATIENCE_DEFAULT 2000  /* milliseconds */
#define START_LIMIT      60000 /* for all but a person at a terminal */
#define BACK_OFF_FIRST   50
#define BACK_OFF_MOST    5000
#define STEADY           5000 /* it ran so long: the next end is a new story */
#define PATIENCE_WITH_END 2000 /* with a process that has nobody left to talk to */
#define LOOK_EVERY       50   /* at deadlines */
#define SILENCE_MAX      5    /* times the patience: then it hangs, and is killed */
#define HELLO_MAX        16384

enum state {
    STATE_DOWN,     /* to be started at `start_at` */
    STATE_STARTING, /* HELLO was said */
    STATE_READY,
    STATE_GONE, /* it needs a person */
};

struct keyholder {
    struct keyholder_options options; /* the texts of its settings stand in `hello_again` */
    char *program;
    struct buffer hello;       /* the frame of the first start */
    struct buffer hello_again; /* of all others: a file that is gone is not made anew */
    struct transfers transfers;
    struct keyholder_face sealed_file;
    struct keyholder_face pkcs11;
    bool has_pkcs11;
    bool has_sealed_file;
    pthread_t thread;
    bool thread_runs;
    atomic_bool stopping;

    /* The thread's alone. */
    enum state state;
    int socket;
    pid_t pid;
    uint8_t *come; /* KEYHOLDER_ROOM, locked */
    size_t come_size;
    int64_t started;
    int64_t start_at;
    int64_t back_off;
    int64_t heard;  /* when it last said something */
    int64_t pinged;

    /* Guarded by `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t opened_changed;
    bool opened; /* the first start came to its end; so it did */
    enum status open_status;
    struct error open_error;
    struct keyholder_status status;
};

/* ---- What others are told ---- */

static void tell(struct keyholder *keyholder, enum keyholder_event event, const char *text)
{
    if (keyholder->options.event != NULL)
        keyholder->options.event(keyholder->options.context, event, text);
}

static void note_status(struct keyholder *keyholder)
{
    (void)pthread_mutex_lock(&keyholder->lock);
    keyholder->status.pid = keyholder->pid;
    keyholder->status.ready = keyholder->state == STATE_READY;
    (void)pthread_mutex_unlock(&keyholder->lock);
}

/* The outcome of the first start, for keyholder_open(). */
static void note_opened(struct keyholder *keyholder, enum status status, const char *text)
{
    (void)pthread_mutex_lock(&keyholder->lock);
    keyholder->opened = true;
    keyholder->open_status = status;
    (void)error_set(&keyholder->open_error, status, "%s", text);
    (void)pthread_cond_signal(&keyholder->opened_changed);
    (void)pthread_mutex_unlock(&keyholder->lock);
}

static bool is_first_start(struct keyholder *keyholder)
{
    return !keyholder->opened; /* written by this thread alone */
}

/* ---- Ending and starting ---- */

static int64_t next_back_off(int64_t back_off)
{
    int64_t next = back_off == 0 ? BACK_OFF_FIRST : 2 * back_off;
    return next < BACK_OFF_MOST ? next : BACK_OFF_MOST;
}

/* When it is tried again, or that it is not. */
static void plan_start(struct keyholder *keyholder, enum keyholder_event event, const char *why)
{
    char text[700];
    int64_t now = clock_monotonic();
    if (is_first_start(keyholder)) {
        keyholder->state = STATE_GONE;
        note_opened(keyholder, STATUS_IO, why);
        return;
    }
    if (keyholder->options.settings.sealing.kind == SEALING_SOURCE_PROMPT) {
        keyholder->state = STATE_GONE;
        (void)snprintf(text, sizeof(text),
                       "%s; the passphrase must be typed again: restart kmipd", why);
        tell(keyholder, KEYHOLDER_GONE, text);
        return;
    }
    if (keyholder->state == STATE_READY && now - keyholder->started >= STEADY)
        keyholder->back_off = 0;
    keyholder->state = STATE_DOWN;
    keyholder->start_at = now + keyholder->back_off;
    (void)snprintf(text, sizeof(text), "%s; started again in %" PRId64 " ms", why,
                   keyholder->back_off);
    keyholder->back_off = next_back_off(keyholder->back_off);
    tell(keyholder, event, text);
}

static void disconnect(struct keyholder *keyholder)
{
    transfers_connect(&keyholder->transfers, -1);
    if (keyholder->socket >= 0)
        (void)close(keyholder->socket);
    keyholder->socket = -1;
    explicit_bzero(keyholder->come, keyholder->come_size);
    keyholder->come_size = 0;
}

/* It closed the socket, or is to be ended for what it did: after `patience`. */
static void process_ended(struct keyholder *keyholder, int64_t patience, const char *what)
{
    char how[KEYHOLDER_END_TEXT];
    char text[200];
    bool was_ready = keyholder->state == STATE_READY;
    disconnect(keyholder);
    keyholder_process_end(keyholder->pid, patience, how);
    (void)snprintf(text, sizeof(text), "the keyholder process (%d) %s: %s", (int)keyholder->pid,
                   what, how);
    keyholder->pid = 0;
    plan_start(keyholder, was_ready ? KEYHOLDER_ENDED : KEYHOLDER_FAILED, text);
    note_status(keyholder);
}

static bool say_hello(struct keyholder *keyholder)
{
    struct bytes hello = buffer_bytes(is_first_start(keyholder) ? &keyholder->hello
                                                                : &keyholder->hello_again);
    return send(keyholder->socket, hello.data, hello.size, MSG_NOSIGNAL) == (ssize_t)hello.size;
}

static void start(struct keyholder *keyholder)
{
    struct error error = {0};
    bool module = keyholder->has_pkcs11;
    enum status status = keyholder_process_start(keyholder->program, module, &keyholder->pid,
                                                 &keyholder->socket, &error);
    if (status != STATUS_OK) {
        plan_start(keyholder, KEYHOLDER_FAILED, error_text(&error));
        return;
    }
    keyholder->state = STATE_STARTING;
    keyholder->started = clock_monotonic();
    (void)pthread_mutex_lock(&keyholder->lock);
    keyholder->status.starts++;
    (void)pthread_mutex_unlock(&keyholder->lock);
    note_status(keyholder);
    if (!say_hello(keyholder))
        process_ended(keyholder, 0, "did not take its settings");
}

/* ---- What it says ---- */

static void became_ready(struct keyholder *keyholder)
{
    char text[64];
    keyholder->state = STATE_READY;
    keyholder->heard = keyholder->pinged = clock_monotonic();
    note_status(keyholder);
    (void)snprintf(text, sizeof(text), "the keyholder process (%d) is ready", (int)keyholder->pid);
    tell(keyholder, KEYHOLDER_STARTED, text);
    transfers_connect(&keyholder->transfers, keyholder->socket);
    if (is_first_start(keyholder))
        note_opened(keyholder, STATUS_OK, "");
}

static void take_refusal(struct keyholder *keyholder, const struct keyholder_answer *answer)
{
    char text[600];
    char how[KEYHOLDER_END_TEXT];
    (void)snprintf(text, sizeof(text), "%.*s", (int)answer->text.size,
                   answer->text.size > 0 ? (const char *)answer->text.data : "");
    enum status status = answer->status;
    disconnect(keyholder);
    keyholder_process_end(keyholder->pid, PATIENCE_WITH_END, how);
    keyholder->pid = 0;
    if (is_first_start(keyholder)) {
        keyholder->state = STATE_GONE;
        note_opened(keyholder, status, text);
    } else {
        plan_start(keyholder, KEYHOLDER_FAILED, text);
    }
    note_status(keyholder);
}

static void take_counters(struct keyholder *keyholder, const struct keyholder_answer *answer)
{
    (void)pthread_mutex_lock(&keyholder->lock);
    keyholder->status.counters = answer->counters;
    (void)pthread_mutex_unlock(&keyholder->lock);
}

/* False: it broke the protocol. */
static bool take_answer(struct keyholder *keyholder, const struct keyholder_answer *answer)
{
    if (keyholder->state == STATE_STARTING)
        return answer->message == KEYHOLDER_HELLO;
    if (answer->message == KEYHOLDER_HELLO)
        return false;
    if (answer->number != KEYHOLDER_PING)
        return transfers_answer(&keyholder->transfers, answer) == STATUS_OK;
    if (answer->message != KEYHOLDER_STATUS || answer->status != STATUS_OK)
        return false;
    take_counters(keyholder, answer);
    return true;
}

/* All whole frames of what came. False: it broke the protocol, or is gone. */
static bool take_frames(struct keyholder *keyholder)
{
    size_t used = 0;
    enum status status;
    for (;;) {
        struct keyholder_head head;
        struct keyholder_answer answer;
        struct bytes body;
        status = keyholder_frame_read(
            bytes_of(keyholder->come + used, keyholder->come_size - used), &head, &body);
        if (status != STATUS_OK)
            break;
        used += KEYHOLDER_HEAD_SIZE + head.size;
        if (keyholder_answer_read(&head, body, &answer) != STATUS_OK ||
            !take_answer(keyholder, &answer)) {
            process_ended(keyholder, 0, "broke the protocol and was ended");
            return false;
        }
        if (keyholder->state == STATE_STARTING) {
            if (answer.status != STATUS_OK) {
                take_refusal(keyholder, &answer);
                return false;
            }
            became_ready(keyholder);
        }
    }
    if (status != STATUS_NOT_FOUND) {
        process_ended(keyholder, 0, "broke the protocol and was ended");
        return false;
    }
    size_t left = keyholder->come_size - used;
    memmove(keyholder->come, keyholder->come + used, left);
    explicit_bzero(keyholder->come + left, used);
    keyholder->come_size = left;
    return true;
}

static void read_some(struct keyholder *keyholder)
{
    ssize_t size = recv(keyholder->socket, keyholder->come + keyholder->come_size,
                        KEYHOLDER_ROOM - keyholder->come_size, MSG_DONTWAIT);
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (size <= 0) {
        process_ended(keyholder, PATIENCE_WITH_END, "ended");
        return;
    }
    keyholder->come_size += (size_t)size;
    keyholder->heard = clock_monotonic();
    (void)take_frames(keyholder);
}

/* ---- The thread ---- */

static size_t in_flight(struct keyholder *keyholder)
{
    (void)pthread_mutex_lock(&keyholder->transfers.lock);
    size_t count = keyholder->transfers.count;
    (void)pthread_mutex_unlock(&keyholder->transfers.lock);
    return count;
}

static int64_t patience_of(const struct keyholder *keyholder)
{
    return keyholder->options.patience > 0 ? keyholder->options.patience : PATIENCE_DEFAULT;
}

static bool is_person_asked(const struct keyholder *keyholder)
{
    return keyholder->options.settings.sealing.kind == SEALING_SOURCE_PROMPT;
}

static int64_t ping_interval(const struct keyholder *keyholder)
{
    return patience_of(keyholder) < 2000 ? patience_of(keyholder) / 2 : 1000;
}

/* What comes with time: signs of life, deadlines, a start that takes too long. */
static void look_at_time(struct keyholder *keyholder)
{
    int64_t now = clock_monotonic();
    int64_t patience = patience_of(keyholder);
    bool busy = in_flight(keyholder) > 0;
    if (keyholder->state == STATE_STARTING && !is_person_asked(keyholder) &&
        now - keyholder->started > START_LIMIT)
        process_ended(keyholder, 0, "was not ready in time and was ended");
    if (keyholder->state == STATE_READY && now - keyholder->pinged >= ping_interval(keyholder)) {
        /* Silence counts from the question. */
        if (!busy)
            keyholder->heard = now;
        keyholder->pinged = now;
        transfers_ping(&keyholder->transfers);
    }
    if (keyholder->state == STATE_READY && busy &&
        now - keyholder->heard > SILENCE_MAX * patience)
        process_ended(keyholder, 0, "did not answer any more and was ended");
    if (busy)
        transfers_expire(&keyholder->transfers, now, keyholder->heard, patience);
    if (keyholder->state == STATE_DOWN && now >= keyholder->start_at)
        start(keyholder);
    if (keyholder->state == STATE_GONE)
        transfers_end_all(&keyholder->transfers, true);
}

/* Milliseconds until look_at_time() has something to do again at the latest; -1: never. */
static int rest(struct keyholder *keyholder)
{
    if (keyholder->state == STATE_DOWN) {
        int64_t wait = keyholder->start_at - clock_monotonic();
        return wait <= 0 ? 0 : wait < LOOK_EVERY ? (int)wait : LOOK_EVERY;
    }
    if (keyholder->state == STATE_GONE)
        return -1;
    return in_flight(keyholder) > 0 || keyholder->state == STATE_STARTING
               ? LOOK_EVERY
               : (int)ping_interval(keyholder);
}

static bool is_full(struct keyholder *keyholder)
{
    (void)pthread_mutex_lock(&keyholder->transfers.lock);
    bool full = keyholder->transfers.full;
    (void)pthread_mutex_unlock(&keyholder->transfers.lock);
    return full;
}

static void wait_and_work(struct keyholder *keyholder)
{
    struct pollfd poll_for[] = {{keyholder->transfers.wake, POLLIN, 0},
                                {keyholder->socket, POLLIN, 0}};
    if (keyholder->socket >= 0 && is_full(keyholder))
        poll_for[1].events |= POLLOUT;
    if (poll(poll_for, 2, rest(keyholder)) < 0)
        return;
    if ((poll_for[0].revents & POLLIN) != 0) {
        uint64_t count;
        (void)!read(keyholder->transfers.wake, &count, sizeof(count));
    }
    if (keyholder->socket >= 0 && (poll_for[1].revents & POLLOUT) != 0)
        transfers_flush(&keyholder->transfers);
    if (keyholder->socket >= 0 && (poll_for[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
        read_some(keyholder);
}

static void *run(void *argument)
{
    struct keyholder *keyholder = argument;
    char how[KEYHOLDER_END_TEXT];
    int64_t looked = 0;
    start(keyholder);
    while (!atomic_load(&keyholder->stopping)) {
        wait_and_work(keyholder);
        int64_t now = clock_monotonic();
        if (now - looked >= LOOK_EVERY || keyholder->state != STATE_READY) {
            looked = now;
            look_at_time(keyholder);
        }
    }
    transfers_end_all(&keyholder->transfers, true);
    disconnect(keyholder);
    if (keyholder->pid > 0)
        keyholder_process_end(keyholder->pid, PATIENCE_WITH_END, how);
    keyholder->pid = 0;
    keyholder->state = STATE_GONE;
    note_status(keyholder);
    return NULL;
}

/* ---- Opening and closing ---- */

static enum status make_hello(const struct keyholder_settings *settings, struct buffer *ret_frame)
{
    struct keyholder_head head = {.message = KEYHOLDER_HELLO};
    buffer_init(ret_frame, HELLO_MAX);
    uint8_t *place = buffer_reserve(ret_frame, KEYHOLDER_HEAD_SIZE);
    enum status status = place == NULL ? buffer_status(ret_frame)
                                       : keyholder_settings_append(ret_frame, settings);
    if (status != STATUS_OK)
        return status;
    head.size = (uint32_t)(ret_frame->size - KEYHOLDER_HEAD_SIZE);
    keyholder_head_write(&head, ret_frame->data);
    return STATUS_OK;
}

static enum status make_hellos(struct keyholder *keyholder)
{
    struct keyholder_settings *settings = &keyholder->options.settings;
    enum status status = make_hello(settings, &keyholder->hello);
    settings->create = false;
    if (status == STATUS_OK)
        status = make_hello(settings, &keyholder->hello_again);
    if (status != STATUS_OK)
        return status;
    struct bytes frame = buffer_bytes(&keyholder->hello_again);
    return keyholder_settings_read(
        bytes_of(frame.data + KEYHOLDER_HEAD_SIZE, frame.size - KEYHOLDER_HEAD_SIZE), settings);
}

static enum status make(struct keyholder *keyholder, const struct keyholder_options *options)
{
    keyholder->options = *options;
    keyholder->program =
        strdup(options->program != NULL ? options->program : "/proc/self/exe");
    keyholder->come = locked_allocate(KEYHOLDER_ROOM);
    enum status status = make_hellos(keyholder);
    keyholder->has_sealed_file = keyholder->options.settings.sealed_path[0] != '\0';
    keyholder->has_pkcs11 = keyholder->options.settings.pkcs11_module[0] != '\0';
    keyholder_face_init(&keyholder->sealed_file, KEYMANAGER_SEALED_FILE, &keyholder->transfers);
    keyholder_face_init(&keyholder->pkcs11, KEYMANAGER_PKCS11, &keyholder->transfers);
    if (status == STATUS_OK && (keyholder->program == NULL || keyholder->come == NULL))
        status = STATUS_NO_MEMORY;
    return status;
}

static enum status start_thread(struct keyholder *keyholder, struct error *error)
{
    int result = pthread_create(&keyholder->thread, NULL, run, keyholder);
    if (result != 0)
        return error_set_errno(error, STATUS_IO, result, "cannot start a thread");
    keyholder->thread_runs = true;
    (void)pthread_mutex_lock(&keyholder->lock);
    while (!keyholder->opened)
        (void)pthread_cond_wait(&keyholder->opened_changed, &keyholder->lock);
    enum status status = keyholder->open_status;
    if (status != STATUS_OK && error != NULL)
        *error = keyholder->open_error;
    (void)pthread_mutex_unlock(&keyholder->lock);
    return status;
}

enum status keyholder_open(const struct keyholder_options *options,
                           struct keyholder **ret_keyholder, struct error *error)
{
    struct keyholder *keyholder = calloc(1, sizeof(*keyholder));
    if (keyholder == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the keyholder");
    keyholder->socket = -1;
    enum status status = transfers_init(&keyholder->transfers);
    if (status != STATUS_OK) {
        free(keyholder);
        return error_set(error, status, "no locked memory for the keyholder");
    }
    (void)pthread_mutex_init(&keyholder->lock, NULL);
    (void)pthread_cond_init(&keyholder->opened_changed, NULL);
    status = make(keyholder, options);
    if (status != STATUS_OK)
        (void)error_set(error, status, "no locked memory for the keyholder, or a text of its "
                                       "settings is too long");
    else
        status = start_thread(keyholder, error);
    if (status == STATUS_OK)
        *ret_keyholder = keyholder;
    else
        keyholder_free(keyholder);
    return status;
}

struct keymanager *keyholder_keymanager(struct keyholder *keyholder, enum keymanager_code code)
{
    if (code == KEYMANAGER_SEALED_FILE && keyholder->has_sealed_file)
        return &keyholder->sealed_file.keymanager;
    return code == KEYMANAGER_PKCS11 && keyholder->has_pkcs11 ? &keyholder->pkcs11.keymanager : NULL;
}

void keyholder_status(struct keyholder *keyholder, struct keyholder_status *ret_status)
{
    (void)pthread_mutex_lock(&keyholder->lock);
    *ret_status = keyholder->status;
    (void)pthread_mutex_unlock(&keyholder->lock);
    ret_status->in_flight = in_flight(keyholder);
}

void keyholder_stop(struct keyholder *keyholder)
{
    if (keyholder == NULL || !keyholder->thread_runs)
        return;
    uint64_t one = 1;
    atomic_store(&keyholder->stopping, true);
    (void)!write(keyholder->transfers.wake, &one, sizeof(one));
    (void)pthread_join(keyholder->thread, NULL);
    keyholder->thread_runs = false;
}

void keyholder_free(struct keyholder *keyholder)
{
    if (keyholder == NULL)
        return;
    keyholder_stop(keyholder);
    transfers_free(&keyholder->transfers);
    locked_free(keyholder->come, KEYHOLDER_ROOM);
    buffer_free(&keyholder->hello);
    buffer_free(&keyholder->hello_again);
    (void)pthread_mutex_destroy(&keyholder->lock);
    (void)pthread_cond_destroy(&keyholder->opened_changed);
    free(keyholder->program);
    free(keyholder);
}
