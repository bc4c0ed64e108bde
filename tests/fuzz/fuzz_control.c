/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket's way in: messages, each ended by a byte 0, are sent through a socket as
 * kmipctl sends them, received, and carried out by the API over a store in memory. Commands end
 * where the daemon would carry them out.
 *
 * What must hold: what is no request is refused, every other message has one answer that can be
 * sent, with a status and, where there is a body, one of JSON; and a command has nothing but the
 * arguments that its table allows.
 */
#include <arpa/inet.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../unit/api_bench.h"
#include "daemon/control_message.h"
#include "fuzz.h"
#include "ipc/ipc.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAKS_ARE_LOOKED_FOR 1
#include <sanitizer/lsan_interface.h>
#endif
#endif

#define MESSAGES_MAX   16
#define MESSAGE_SIZE   16384 /* fits into a socket as a whole */
#define MILLISECONDS   10000
#define INPUTS_BETWEEN 500 /* then all is made anew */

/* OpenSSL keeps its generators in its secure heap, where the leak checker does not look, and would
 * take what they own for lost. */
static void make_generators(void)
{
    uint8_t byte;
#ifdef LEAKS_ARE_LOOKED_FOR
    __lsan_disable();
#endif
    REQUIRE(secret_heap_init(1 << 20, NULL) == STATUS_OK);
    REQUIRE(RAND_bytes(&byte, 1) == 1 && RAND_priv_bytes(&byte, 1) == 1);
#ifdef LEAKS_ARE_LOOKED_FOR
    __lsan_enable();
#endif
}

/* As it comes in through the socket; NULL where it is refused there. */
static json_t *receive(struct bytes text)
{
    int ends[2];
    json_t *message = NULL;
    uint32_t length = htonl((uint32_t)text.size);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    REQUIRE(write(ends[0], &length, sizeof(length)) == sizeof(length));
    REQUIRE(write(ends[0], text.data, text.size) == (ssize_t)text.size);
    (void)close(ends[0]);
    enum status status = ipc_receive(ends[1], MILLISECONDS, &message);
    (void)close(ends[1]);
    REQUIRE((status == STATUS_OK) == (message != NULL));
    REQUIRE(status == STATUS_OK || status == STATUS_MALFORMED);
    return message;
}

static void check_answer(const json_t *answer)
{
    json_int_t status = json_integer_value(json_object_get(answer, "status"));
    const json_t *headers = json_object_get(answer, "headers");
    const json_t *body = json_object_get(answer, "body");
    REQUIRE(status >= 200 && status <= 599);
    REQUIRE(json_is_string(json_object_get(headers, "correlation-id")));
    REQUIRE((body != NULL) == (json_object_get(headers, "content-type") != NULL));
    if (body != NULL) {
        json_t *value =
            json_loadb(json_string_value(body), json_string_length(body),
                       JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        REQUIRE(value != NULL);
        json_decref(value);
    }
    char *text = json_dumps(answer, JSON_COMPACT);
    REQUIRE(text != NULL && strlen(text) <= IPC_MESSAGE_MAX);
    free(text);
}

static void exchange(struct api_bench *bench, struct bytes text)
{
    json_t *answer = NULL;
    json_t *message = receive(text);
    if (message == NULL)
        return;
    bench->core.clock.test_time += 10;
    enum status status = control_answer(bench->api, "uid=0 user=root", message, &answer);
    REQUIRE(status == STATUS_OK || status == STATUS_MALFORMED);
    REQUIRE((status == STATUS_OK) == (answer != NULL));
    if (answer != NULL)
        check_answer(answer);
    json_decref(answer);
    json_decref(message);
}

static struct bytes take_message(struct bytes *rest)
{
    const uint8_t *end = memchr(rest->data, 0, rest->size);
    size_t size = end == NULL ? rest->size : (size_t)(end - rest->data);
    size_t used = end == NULL ? size : size + 1;
    struct bytes taken = bytes_of(rest->data, size);
    *rest = bytes_of(rest->data + used, rest->size - used);
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct api_bench bench;
    static unsigned inputs;
    static bool made;
    struct bytes input = bytes_of(data, size);
    if (!made)
        make_generators();
    if (inputs == INPUTS_BETWEEN) {
        api_bench_close(&bench);
        inputs = 0;
    }
    made = true;
    if (inputs++ == 0)
        api_bench_open(&bench);
    for (int i = 0; i < MESSAGES_MAX && input.size > 0; i++) {
        struct bytes text = take_message(&input);
        if (text.size <= MESSAGE_SIZE)
            exchange(&bench, text);
    }
    return 0;
}
