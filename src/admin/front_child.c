/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and ending the admin process. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/inside.h"

#define THIS_PROGRAM   "/proc/self/exe"
#define EXEC_FAILED    127
#define END_TRIES      200 /* of 10 ms each, before it is killed */
#define END_PAUSE_NANO 10000000

/* Between fork() and exec only what is safe in a process that had threads (signal-safety(7)). */
static void become_child(const char *program, int link, pid_t parent)
{
    char name[] = "kmipd";
    char task[] = "admin";
    char *const arguments[] = {name, task, NULL};
    char *const environment[] = {NULL};
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(EXEC_FAILED);
    /* Without a controlling terminal nothing can be typed into it either (TIOCSTI). */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (setsid() < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        _exit(EXEC_FAILED);
    if (link == LINK_DESCRIPTOR ? fcntl(link, F_SETFD, 0) != 0 : dup2(link, LINK_DESCRIPTOR) < 0)
        _exit(EXEC_FAILED);
    if (close_range(LINK_DESCRIPTOR + 1, ~0u, 0) != 0)
        _exit(EXEC_FAILED);
    (void)execve(program, arguments, environment);
    _exit(EXEC_FAILED);
}

enum status child_start(const char *program, int *ret_link, pid_t *ret_pid, struct error *error)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot make a socket");
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become_child(program != NULL ? program : THIS_PROGRAM, ends[1], parent);
    int number = errno;
    (void)close(ends[1]);
    if (pid > 0) {
        *ret_link = ends[0];
        *ret_pid = pid;
        return STATUS_OK;
    }
    (void)close(ends[0]);
    return error_set_errno(error, STATUS_IO, number, "cannot start the admin process");
}

static void describe_end(int status, char *ret_text, size_t size)
{
    if (WIFSIGNALED(status))
        (void)snprintf(ret_text, size, "ended by signal %d (%s)%s", WTERMSIG(status),
                       sigabbrev_np(WTERMSIG(status)) != NULL ? sigabbrev_np(WTERMSIG(status))
                                                              : "unknown",
                       WTERMSIG(status) == SIGSYS ? ": it made a system call that it may not" : "");
    else
        (void)snprintf(ret_text, size, "ended with code %d", WEXITSTATUS(status));
}

void child_end(pid_t pid, char *ret_text, size_t size)
{
    static const struct timespec pause = {.tv_nsec = END_PAUSE_NANO};
    int status = 0;
    pid_t ended = 0;
    /* Its socket is closed, upon which it ends by itself. */
    for (int i = 0; i < END_TRIES && ended == 0; i++) {
        ended = waitpid(pid, &status, WNOHANG);
        if (ended == 0)
            (void)nanosleep(&pause, NULL);
    }
    if (ended == 0) {
        (void)kill(pid, SIGKILL);
        while ((ended = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
            ;
    }
    if (ended == pid)
        describe_end(status, ret_text, size);
    else
        (void)snprintf(ret_text, size, "ended");
}

static ssize_t send_with(int link, struct bytes bytes, int descriptor)
{
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control = {.room = ""};
    struct iovec piece = {(void *)(uintptr_t)bytes.data, bytes.size};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof(control.room)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof(descriptor));
    return sendmsg(link, &message, MSG_NOSIGNAL);
}

enum status child_send(int link, struct bytes bytes, int descriptor, struct error *error)
{
    bool first = true;
    while (bytes.size > 0) {
        ssize_t sent = first ? send_with(link, bytes, descriptor)
                             : send(link, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return error_set_errno(error, STATUS_IO, errno, "cannot speak to the admin process");
        first = false;
        bytes = bytes_of(bytes.data + sent, bytes.size - (size_t)sent);
    }
    return STATUS_OK;
}
