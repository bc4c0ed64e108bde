/* SPDX-License-Identifier: Apache-2.0 */
#include "base/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

#define CONTROL(letter) ((letter) & 0x1F)
#define DELETE          0x7F

/*
 * Bytes come one by one and unechoed, signals from the keyboard as bytes: so the terminal is put
 * right again whatever the person presses.
 */
static bool silence(int terminal, struct termios *ret_before)
{
    if (tcgetattr(terminal, ret_before) != 0)
        return false;
    struct termios silent = *ret_before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG);
    silent.c_cc[VMIN] = 1;
    silent.c_cc[VTIME] = 0;
    return tcsetattr(terminal, TCSAFLUSH, &silent) == 0;
}

static enum status read_keys(int terminal, struct secret *line, size_t *ret_size)
{
    size_t size = 0;
    for (;;) {
        uint8_t key;
        ssize_t got = read(terminal, &key, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return STATUS_IO;
        if (got == 0 || key == CONTROL('C') || key == CONTROL('D'))
            return STATUS_CLOSED;
        if (key == '\n' || key == '\r')
            break;
        if (key == DELETE || key == CONTROL('H'))
            size -= size > 0;
        else if (key == CONTROL('U'))
            size = 0;
        else if (size == line->size)
            return STATUS_TOO_LARGE;
        else
            line->data[size++] = key;
    }
    *ret_size = size;
    return STATUS_OK;
}

/* Silent before it asks: nobody's quick fingers are echoed. */
static enum status ask_silently(int terminal, const char *question, size_t maximum,
                                struct secret *ret_secret, struct error *error)
{
    struct secret line = {0};
    struct termios before;
    size_t size = 0;
    enum status status = secret_allocate(&line, maximum);
    if (status != STATUS_OK)
        return error_set(error, status, "%s", status_text(status));
    if (!silence(terminal, &before)) {
        secret_free(&line);
        return error_set_errno(error, STATUS_IO, errno, "cannot silence the terminal");
    }
    (void)!write(terminal, question, strlen(question));
    status = read_keys(terminal, &line, &size);
    (void)tcsetattr(terminal, TCSAFLUSH, &before);
    (void)!write(terminal, "\n", 1);
    if (status == STATUS_OK)
        status = secret_copy(ret_secret, bytes_of(line.data, size));
    secret_free(&line);
    if (status == STATUS_OK)
        return STATUS_OK;
    return error_set(error, status, "%s",
                     status == STATUS_CLOSED      ? "given up at the terminal"
                     : status == STATUS_TOO_LARGE ? "what was typed is too long"
                                                  : status_text(status));
}

enum status prompt_secret(const char *question, size_t maximum, struct secret *ret_secret,
                          struct error *error)
{
    int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0)
        return error_set(error, STATUS_NOT_FOUND, "there is no terminal to ask on");
    enum status status = ask_silently(terminal, question, maximum, ret_secret, error);
    (void)close(terminal);
    return status;
}

bool prompt_line(const char *question, char *ret_line, size_t size)
{
    FILE *terminal = fopen("/dev/tty", "r+e");
    if (terminal == NULL)
        return false;
    fputs(question, terminal);
    (void)fflush(terminal);
    bool whole = fgets(ret_line, (int)size, terminal) != NULL && strchr(ret_line, '\n') != NULL;
    (void)fclose(terminal);
    if (whole)
        ret_line[strcspn(ret_line, "\n")] = '\0';
    return whole;
}
