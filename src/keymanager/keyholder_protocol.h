/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kmipd and its keyholder process say to each other over the one socket between them (a
 * stream). Both are the same program, so there are no versions. kmipd asks, the keyholder answers,
 * in any order; the first request is HELLO, and nothing else comes before its answer. A frame:
 *
 *   4  size of the body
 *   1  message
 *   1  key manager (enum keymanager_code); 0: the keyholder itself
 *   1  flags
 *   1  0
 *   8  number of the request
 *   8  of a request: its deadline (clock_monotonic()), 0: none. Of an answer: its status
 *   n  body
 *
 * Numbers are big-endian. The body of an answer that is not OK is a text for a person, or empty.
 * Whoever reads a frame that breaks these rules ends the connection: nothing is guessed.
 */
#ifndef KMIPD_KEYMANAGER_KEYHOLDER_PROTOCOL_H
#define KMIPD_KEYMANAGER_KEYHOLDER_PROTOCOL_H

#include "keymanager/keymanager.h"
#include "keymanager/sealing_source.h"

#define KEYHOLDER_DESCRIPTOR 3
#define KEYHOLDER_HEAD_SIZE  24
#define KEYHOLDER_BODY_MAX   (KEYMANAGER_PLAINTEXT_MAX + WRAPPED_OVERHEAD_MAX + 256)
#define KEYHOLDER_FRAME_MAX  (KEYHOLDER_HEAD_SIZE + KEYHOLDER_BODY_MAX)

/*
 * KEYHOLDER_MESSAGE(CODE, number, "name", of a key manager, least, most bytes of the request's body)
 *
 * All that may be asked.
 */
#define KEYHOLDER_WRAPPED_LEAST 49
#define KEYHOLDER_WRAPPED_MOST  (48 + KEYMANAGER_PLAINTEXT_MAX + WRAPPED_OVERHEAD_MAX)
#define KEYHOLDER_MESSAGES                                                                       \
    KEYHOLDER_MESSAGE(HELLO, 1, "hello", false, 40, 16384)                                       \
    KEYHOLDER_MESSAGE(STATUS, 2, "status", false, 0, 0)                                          \
    KEYHOLDER_MESSAGE(WRAP, 3, "wrap", true, 48, 48 + KEYMANAGER_PLAINTEXT_MAX)                  \
    KEYHOLDER_MESSAGE(UNWRAP, 4, "unwrap", true, KEYHOLDER_WRAPPED_LEAST, KEYHOLDER_WRAPPED_MOST) \
    KEYHOLDER_MESSAGE(REWRAP, 5, "rewrap", true, KEYHOLDER_WRAPPED_LEAST, KEYHOLDER_WRAPPED_MOST) \
    KEYHOLDER_MESSAGE(CREATE, 6, "create", true, 26, 26 + 90 + 32)                               \
    KEYHOLDER_MESSAGE(ROTATE, 7, "rotate", true, 29, 29 + 32)                                    \
    KEYHOLDER_MESSAGE(SET_STATE, 8, "set state", true, 20, 20)                                   \
    KEYHOLDER_MESSAGE(DELETE, 9, "delete", true, 24, 24)                                         \
    KEYHOLDER_MESSAGE(RESTORE, 10, "restore", true, 16, 16)                                      \
    KEYHOLDER_MESSAGE(PURGE, 11, "purge", true, 16, 16)                                          \
    KEYHOLDER_MESSAGE(INFO, 12, "info", true, 16, 16)                                            \
    KEYHOLDER_MESSAGE(LIST, 13, "list", true, 0, 0)                                              \
    KEYHOLDER_MESSAGE(IS_NEWEST, 14, "is newest", true, 1, KEYHOLDER_WRAPPED_MOST - 48)          \
    KEYHOLDER_MESSAGE(CHECK, 15, "check", true, 0, 0)

enum keyholder_message {
#define KEYHOLDER_MESSAGE(code, number, name, of_manager, least, most) KEYHOLDER_##code = number,
    KEYHOLDER_MESSAGES
#undef KEYHOLDER_MESSAGE
    KEYHOLDER_MESSAGE_MAX = 15,
};

/* "wrap"; "?" for a number that is none. */
const char *keyholder_message_name(unsigned message);

/* ---- The head ---- */

enum keyholder_flags {
    KEYHOLDER_BACKGROUND = 1, /* request: gives way to others */
    KEYHOLDER_MORE = 2,       /* answer: another one to the same request follows */
};

struct keyholder_head {
    uint32_t size;
    uint8_t message;
    uint8_t code;
    uint8_t flags;
    uint64_t number;
    int64_t extra; /* deadline or status */
};

void keyholder_head_write(const struct keyholder_head *head,
                          uint8_t ret_bytes[static KEYHOLDER_HEAD_SIZE]);

/*
 * The first frame of what has come: its head and body, which stays where it is. NOT_FOUND: not all
 * of it is there yet. MALFORMED: no head that may be, a body that is too long for any.
 */
enum status keyholder_frame_read(struct bytes come, struct keyholder_head *ret_head,
                                 struct bytes *ret_body) MUST_USE;

/* ---- HELLO ---- */

/* What a keyholder is to be. Texts of at most 12,000 bytes in all; NULL is "". */
struct keyholder_settings {
    uint64_t secret_memory; /* bytes of its secret heap; a power of two */
    uint64_t unwrap_rate;   /* a second; 0: any */
    uint64_t unwrap_burst;
    const char *user;        /* to become where it is root; "": stay */
    const char *sealed_path; /* "": no sealed file */
    bool create;             /* the sealed file may be made */
    struct sealing_source sealing;
    const char *pkcs11_module; /* "": none */
    const char *pkcs11_token;
    const char *pkcs11_pin;
    uint32_t pkcs11_sessions;
    bool network; /* the module needs it */
};

enum status keyholder_settings_append(struct buffer *buffer,
                                      const struct keyholder_settings *settings) MUST_USE;
/* The texts stay where they are. MALFORMED. */
enum status keyholder_settings_read(struct bytes body,
                                    struct keyholder_settings *ret_settings) MUST_USE;

/* ---- Requests ---- */

/* The members that a message has are those that the function of keymanager.h has. */
struct keyholder_request {
    enum keyholder_message message;
    enum keymanager_code code;
    bool background;
    uint64_t number;
    int64_t deadline;
    struct wrap_binding binding;
    struct bytes data; /* plaintext to wrap, or a wrapped blob */
    struct uuid root_key;
    uint32_t from;
    enum root_key_state state;
    int64_t now;
    struct bytes name;     /* no data: none */
    struct bytes material; /* no data: none */
};

/* Appends the whole frame of any request but HELLO. TOO_LARGE, NO_MEMORY: nothing is appended. */
enum status keyholder_request_append(struct buffer *buffer,
                                     const struct keyholder_request *request) MUST_USE;
/* How many bytes that takes at most. */
size_t keyholder_request_size(const struct keyholder_request *request);

/* Reads the body of any request but HELLO, which stays where it is. OPERATION_NOT_SUPPORTED: not a
 * message of the table; MALFORMED: the body is not one of it. */
enum status keyholder_request_read(const struct keyholder_head *head, struct bytes body,
                                   struct keyholder_request *ret_request) MUST_USE;

/* ---- Answers ---- */

struct keyholder_counters {
    uint64_t wraps;
    uint64_t unwraps;
    uint64_t rewraps;
    uint64_t others;
    uint64_t waiting; /* unwraps that wait now because of the rate */
    uint64_t waited;  /* unwraps that had to */
};

#define KEYHOLDER_INFOS_MAX 1000 /* of one answer to LIST */

struct keyholder_answer {
    enum keyholder_message message;
    uint64_t number;
    enum status status;
    bool more;
    struct bytes text;      /* of a status that is not OK; of HELLO and CHECK also of OK */
    struct bytes data;      /* WRAP, REWRAP: the blob; UNWRAP: the plaintext */
    struct bytes rewrapped; /* UNWRAP */
    struct uuid root_key;   /* CREATE */
    bool newest;            /* IS_NEWEST */
    struct root_key_info info;           /* INFO */
    const struct root_key_info *infos;   /* LIST, to be written */
    struct bytes packed;                 /* LIST, as read: keyholder_info_at() */
    size_t info_count;
    struct keyholder_counters counters; /* STATUS */
};

/* Appends the whole frame. TOO_LARGE, NO_MEMORY: nothing is appended. */
enum status keyholder_answer_append(struct buffer *buffer,
                                    const struct keyholder_answer *answer) MUST_USE;
size_t keyholder_answer_size(const struct keyholder_answer *answer);

/* Reads an answer, which stays where it is. MALFORMED. */
enum status keyholder_answer_read(const struct keyholder_head *head, struct bytes body,
                                  struct keyholder_answer *ret_answer) MUST_USE;
struct root_key_info keyholder_info_at(const struct keyholder_answer *answer, size_t place);

#endif
