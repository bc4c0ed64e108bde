/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/control_message.h"
#include "ipc/ipc.h"

/* Whoever connects is root or this user: the limits are against mistakes. */
#define CONNECTIONS_MAX      16
#define REQUEST_MILLISECONDS 5000
#define ANSWER_MILLISECONDS  10000

struct control {
    struct daemon *daemon;
    int listener;
    int stop; /* eventfd(2): readable when the threads are to end */
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended; /* a connection has */
    unsigned connections;
};

struct connection {
    struct control *control;
    int socket;
    struct ipc_peer peer;
    char who[128];
};

/* ---- Connections ---- */

static void describe_peer(const struct ipc_peer *peer, char *text, size_t size)
{
    char memory[1024];
    struct passwd entry, *found = NULL;
    (void)getpwuid_r(peer->uid, &entry, memory, sizeof(memory), &found);
    (void)snprintf(text, size, "uid=%u user=%.64s", peer->uid,
                   found != NULL ? entry.pw_name : "unknown");
}

static bool may_connect(struct connection *connection)
{
    const struct ipc_peer *peer = &connection->peer;
    if (ipc_peer(connection->socket, &connection->peer) != STATUS_OK)
        return false;
    describe_peer(peer, connection->who, sizeof(connection->who));
    if (peer->uid == 0 || peer->uid == geteuid())
        return true;
    log_warning("control connection refused uid=%u pid=%d", peer->uid, peer->pid);
    return false;
}

static void refuse(const struct connection *connection)
{
    json_t *refusal =
        json_pack("{s:i, s:s}", "status", 401, "body",
                  "{\"status\":\"PERMISSION_DENIED\",\"text\":\"use kmipctl as root or as the "
                  "user that kmipd runs as\"}");
    /* Whether it still listens does not matter. */
    if (refusal == NULL || ipc_send(connection->socket, refusal, ANSWER_MILLISECONDS) != STATUS_OK)
        log_debug("control refusal could not be sent");
    json_decref(refusal);
}

/* MALFORMED: it is no request, and the connection ends. */
static enum status answer(struct connection *connection, const json_t *message)
{
    json_t *reply = NULL;
    enum status status =
        control_answer(connection->control->daemon->api, connection->who, message, &reply);
    if (status == STATUS_OK)
        status = ipc_send(connection->socket, reply, ANSWER_MILLISECONDS);
    json_decref(reply);
    return status;
}

/* Waits for the next request: CLOSED when the daemon stops, TIMED_OUT when none comes. */
static enum status wait_for_request(const struct connection *connection)
{
    struct pollfd entries[] = {{.fd = connection->control->stop, .events = POLLIN},
                               {.fd = connection->socket, .events = POLLIN}};
    int ready;
    do
        ready = poll(entries, ARRAY_COUNT(entries), REQUEST_MILLISECONDS);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return ready == 0 ? STATUS_TIMED_OUT : STATUS_IO;
    return entries[0].revents != 0 ? STATUS_CLOSED : STATUS_OK;
}

/* Answers requests until the other side ends, is late, or breaks the protocol. */
static void serve(struct connection *connection)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        json_t *message = NULL;
        status = wait_for_request(connection);
        if (status == STATUS_OK)
            status = ipc_receive(connection->socket, REQUEST_MILLISECONDS, &message);
        if (status == STATUS_OK)
            status = answer(connection, message);
        json_decref(message);
    }
    if (status != STATUS_CLOSED)
        log_warning("control connection ended uid=%u pid=%d status=%s", connection->peer.uid,
                    connection->peer.pid, status_name(status));
}

static void end_connection(struct connection *connection)
{
    struct control *control = connection->control;
    (void)close(connection->socket);
    free(connection);
    (void)pthread_mutex_lock(&control->lock);
    control->connections--;
    (void)pthread_cond_signal(&control->ended);
    (void)pthread_mutex_unlock(&control->lock);
}

static void *run_connection(void *argument)
{
    struct connection *connection = argument;
    if (may_connect(connection))
        serve(connection);
    else
        refuse(connection);
    end_connection(connection);
    return NULL;
}

/* A thread of its own: what one asks may take long, such as a rebuild. */
static void begin_connection(struct control *control, int socket)
{
    pthread_t thread;
    struct connection *connection = malloc(sizeof(*connection));
    if (connection == NULL) {
        (void)close(socket);
        return;
    }
    *connection = (struct connection){.control = control, .socket = socket};
    (void)pthread_mutex_lock(&control->lock);
    control->connections++;
    (void)pthread_mutex_unlock(&control->lock);
    if (pthread_create(&thread, NULL, run_connection, connection) == 0)
        (void)pthread_detach(thread);
    else
        end_connection(connection);
}

static void wait_for_connections(struct control *control, unsigned most)
{
    (void)pthread_mutex_lock(&control->lock);
    while (control->connections > most)
        (void)pthread_cond_wait(&control->ended, &control->lock);
    (void)pthread_mutex_unlock(&control->lock);
}

static void *run(void *argument)
{
    struct control *control = argument;
    struct pollfd entries[] = {{.fd = control->stop, .events = POLLIN},
                               {.fd = control->listener, .events = POLLIN}};
    for (;;) {
        if (poll(entries, ARRAY_COUNT(entries), -1) < 0 && errno != EINTR)
            break;
        if (entries[0].revents != 0)
            break;
        int socket = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC);
        if (socket < 0)
            continue;
        begin_connection(control, socket);
        wait_for_connections(control, CONNECTIONS_MAX - 1);
    }
    wait_for_connections(control, 0);
    return NULL;
}

/* ---- Life ---- */

static enum status open_parts(struct control *control, struct error *error)
{
    control->stop = eventfd(0, EFD_CLOEXEC);
    if (control->stop < 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot make the control socket");
    return ipc_listen(state_path(&control->daemon->state, STATE_CONTROL), &control->listener,
                      error);
}

enum status control_open(struct daemon *daemon, struct control **ret_control, struct error *error)
{
    struct control *control = malloc(sizeof(*control));
    if (control == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    *control = (struct control){.daemon = daemon,
                                .listener = -1,
                                .stop = -1,
                                .lock = PTHREAD_MUTEX_INITIALIZER,
                                .ended = PTHREAD_COND_INITIALIZER};
    enum status status = open_parts(control, error);
    if (status != STATUS_OK) {
        control_stop(control);
        return status;
    }
    *ret_control = control;
    return STATUS_OK;
}

enum status control_start(struct control *control, struct error *error)
{
    int failure = pthread_create(&control->thread, NULL, run, control);
    if (failure != 0)
        return error_set_errno(error, STATUS_IO, failure, "cannot start the control thread");
    control->running = true;
    return STATUS_OK;
}

void control_stop(struct control *control)
{
    if (control == NULL)
        return;
    if (control->running) {
        const uint64_t one = 1;
        (void)!write(control->stop, &one, sizeof(one));
        (void)pthread_join(control->thread, NULL);
    }
    if (control->listener >= 0) {
        (void)unlink(state_path(&control->daemon->state, STATE_CONTROL));
        (void)close(control->listener);
    }
    if (control->stop >= 0)
        (void)close(control->stop);
    (void)pthread_cond_destroy(&control->ended);
    (void)pthread_mutex_destroy(&control->lock);
    free(control);
}
