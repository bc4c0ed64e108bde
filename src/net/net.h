/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network side: listeners, TLS, frames, connections. One event loop a thread, each with its own
 * listener (SO_REUSEPORT). Never looks into a payload: a frame is a TTLV header's length and so
 * many bytes, and the handler answers it with bytes.
 *
 * The handshake completes for any client certificate or none: possession of the key is proven, no
 * chain is verified, and neither dates nor the size of the key are judged; whoever handles frames
 * decides by the certificate's fingerprint. A connection
 * that ends without a frame (half of vCenter's) is counted, not reported.
 */
#ifndef KMIPD_NET_NET_H
#define KMIPD_NET_NET_H

#include "base/bytes.h"
#include "base/error.h"

struct net;
struct net_connection;

#define NET_FINGERPRINT_SIZE 32
#define NET_ADDRESS_MAX      64 /* "[2001:db8::1]:65535" and NUL */

/* Who is on the other side. Lives as long as the connection. */
struct net_peer {
    char address[NET_ADDRESS_MAX];
    bool has_certificate;
    uint8_t fingerprint[NET_FINGERPRINT_SIZE]; /* SHA-256 of the leaf's DER */
};

/* An answer. Belongs to the net from net_answer() until `release`, which runs once, on the loop's
 * thread, when the bytes were taken or the connection was lost. */
struct net_reply {
    struct bytes bytes; /* may be empty with close set */
    bool close;         /* close the connection behind it */
    void (*release)(struct net_reply *reply);
};

/* What handles frames. All of it runs on a loop's thread and may not block for long. */
struct net_handler {
    void *context;
    /*
     * Before the first frame of a connection. Returns the session that the other two receive, or
     * NULL to close. `peer` lives until `closed`.
     */
    void *(*opened)(void *context, struct net_connection *connection, const struct net_peer *peer);
    /*
     * One whole frame, borrowed during the call. Exactly one net_answer() must follow, now or
     * later, from any thread. No other frame of this connection comes before that.
     */
    void (*frame)(void *context, void *session, struct net_connection *connection,
                  struct bytes frame);
    /*
     * Bytes that are no frame (not a KMIP header, or longer than the maximum): the handler answers
     * as for a frame, with `close` set. `header`: the bytes that are there, at least 8.
     * status: MALFORMED or TOO_LARGE.
     */
    void (*bad_frame)(void *context, void *session, struct net_connection *connection,
                      struct bytes header, enum status status);
    /* The connection is gone and no answer is outstanding: free the session. */
    void (*closed)(void *context, void *session);
    /*
     * For a log at debug level; may be NULL. Why a handshake failed, which deadline passed, which
     * limit was reached. Both texts are borrowed during the call.
     */
    void (*event)(void *context, const char *address, const char *text);
};

/*
 * Answers the frame in flight. Any thread. From inside frame() or bad_frame() it costs no more than
 * returning the answer would; answers to pipelined frames are then written together. From another
 * thread the loop is woken once for all answers that are there.
 */
void net_answer(struct net_connection *connection, struct net_reply *reply);

/* The index, from 0, of the loop that owns the connection: for state kept per loop. */
unsigned net_connection_loop(const struct net_connection *connection);

struct net_options {
    const char *address; /* "127.0.0.1:5696", "[::]:5696", "0.0.0.0:5696"; port 0: any free one */
    unsigned loops;      /* threads */
    size_t frame_max;    /* bytes of one frame, header included */
    /* In total. At the limit a new connection takes the place of the one that has been longest
     * without a first frame; where every other has sent one, it is closed. */
    unsigned connections_max;
    /* Of one certificate, that sent a frame; above it: closed at the first frame. Those without a
     * certificate count as one. */
    unsigned connections_per_certificate;
    unsigned handshake_seconds;   /* accept to finished */
    unsigned frame_seconds;       /* first byte to last byte of a frame; and to send one */
    unsigned idle_seconds;        /* between frames, and before the first */
    const char *certificate_file; /* PEM, the server's, and its chain without the root */
    const char *key_file;         /* PEM, mode 0600 */
    bool legacy_ciphers; /* also AES-CBC and RSA key exchange in TLS 1.2, for very old clients */
};

/* Counters for status; values only grow, but for `open`. */
struct net_counters {
    uint64_t open;
    uint64_t accepted;
    uint64_t handshakes; /* done, resumed ones included */
    uint64_t resumed;
    uint64_t handshakes_failed; /* ended before that, for whatever reason */
    uint64_t bare;              /* handshake done, closed without a frame */
    uint64_t frames;
    uint64_t refused_total_limit; /* closed, or closed in favour of another */
    uint64_t refused_certificate_limit;
    uint64_t timed_out; /* a deadline passed; a handshake's is also one that failed */
};

/*
 * Binds, loads the certificate, starts the loops. Texts for: port taken, address not here,
 * permission, certificate or key missing, unreadable, not matching, expired (refused? no: served
 * with a warning in *ret_warning, because a data centre must boot; empty if none).
 */
enum status net_start(const struct net_options *options, const struct net_handler *handler,
                      struct net **ret_net, struct error *ret_warning,
                      struct error *error) MUST_USE;

/* The port that is bound. */
unsigned net_port(const struct net *net);

/*
 * Loads certificate and key again for new connections; open ones and session tickets stay valid.
 * The old certificate stays on failure. A warning about its dates goes to the handler's event(),
 * on the calling thread and with an empty address. One call at a time.
 */
enum status net_reload_certificate(struct net *net, struct error *error) MUST_USE;

void net_counters(struct net *net, struct net_counters *ret_counters);

/*
 * Graceful end: stops listening, closes idle connections, lets frames in flight be answered, at
 * most `milliseconds` long; then closes everything, joins the threads and frees. NULL is fine.
 * An answer that is outstanding even then is waited for, since the handler still holds its
 * connection: whoever owns the handler sees to it that every frame is answered soon.
 */
void net_stop(struct net *net, unsigned milliseconds);

#endif
