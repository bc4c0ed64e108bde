/* SPDX-License-Identifier: Apache-2.0 */
#include "net/socket.h"

#include <errno.h>
#include <sys/socket.h>

/* 1, or 0 with the flag that says whether to try again, as BIO_read_ex(3) wants. An orderly end is
 * a failure without an error: SSL_ERROR_SYSCALL with an empty queue. */
static int receive(BIO *bio, char *ret_bytes, size_t size, size_t *ret_size)
{
    struct socket *socket = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (socket->reads == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    --socket->reads;
    ssize_t got = recv(socket->fd, ret_bytes, size, 0);
    if (got > 0) {
        *ret_size = (size_t)got;
        return 1;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    return 0;
}

static int transmit(BIO *bio, const char *bytes, size_t size, size_t *ret_size)
{
    const struct socket *socket = BIO_get_data(bio);
    ssize_t sent = send(socket->fd, bytes, size, MSG_NOSIGNAL);
    BIO_clear_retry_flags(bio);
    if (sent >= 0) {
        *ret_size = (size_t)sent;
        return 1;
    }
    if (errno == EAGAIN || errno == EINTR)
        BIO_set_retry_write(bio);
    return 0;
}

/* There is nothing to flush, which OpenSSL asks for after each flight, and nothing else is known. */
static long control(BIO *bio, int command, long number, void *pointer)
{
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *socket_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "socket");
    if (method == NULL || BIO_meth_set_read_ex(method, receive) != 1 ||
        BIO_meth_set_write_ex(method, transmit) != 1 || BIO_meth_set_ctrl(method, control) != 1) {
        BIO_meth_free(method);
        return NULL;
    }
    return method;
}

enum status socket_use(SSL *ssl, const BIO_METHOD *method, struct socket *socket)
{
    BIO *bio = BIO_new(method);
    if (bio == NULL)
        return STATUS_NO_MEMORY;
    BIO_set_data(bio, socket);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio); /* takes it */
    return STATUS_OK;
}
