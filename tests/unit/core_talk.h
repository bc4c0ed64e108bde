/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's side of a core_bench: requests put together item by item, and their answers read. What
 * goes wrong that a test did not ask for fails the test.
 */
#ifndef KMIPD_TESTS_CORE_TALK_H
#define KMIPD_TESTS_CORE_TALK_H

#include "core/structures.h"
#include "core_bench.h"
#include "kmip/value.h"

#define TALK_NOW INT64_C(1700000000) /* seconds: when the clock of a bench begins */

struct talk {
    struct core_bench bench;
    uint16_t version;                   /* of the requests; KMIP 1.4 at first */
    const struct core_session *session; /* who asks; the adapter "default" at first */
    struct kmip_request_header header;  /* of the next request; empty again when it was sent */
    struct buffer items;
    size_t count, item, payload;
    struct buffer frame;
};

void talk_open(struct talk *talk);
void talk_close(struct talk *talk);

/* For cmocka: *state is the talk. */
int talk_setup(void **state);
int talk_teardown(void **state);

/* Memory until the end of the test, or until talk_forget(). */
struct arena *talk_arena(struct talk *talk);
void talk_forget(struct talk *talk);

/* Moves the clock of the server. */
void talk_wait(struct talk *talk, int64_t seconds);

/* ---- One request ---- */

/* Begins the next item; returns the buffer that its payload's fields are written to. */
struct buffer *talk_item(struct talk *talk, uint32_t operation);

/* The same with a Unique Batch Item ID. */
struct buffer *talk_item_with_id(struct talk *talk, uint32_t operation, const char *id);

/* Ends the message and returns its bytes, valid until the next one is begun. */
struct bytes talk_frame(struct talk *talk);

/* Sends the message. There must be `expected` answers, which are returned. */
const struct kmip_response_item *talk_send(struct talk *talk, size_t expected);

/* Reads the answer that stands in the bench's request. */
const struct kmip_response_item *talk_read(struct talk *talk, size_t expected);

/* Reads the payload of an answer, which must be a success. */
void talk_payload(struct talk *talk, const struct kmip_response_item *item,
                  const struct kmip_shape *shape, void *ret_structure);

void assert_success(const struct kmip_response_item *item);
void assert_reason(const struct kmip_response_item *item, uint32_t reason);

/* ---- Attributes ---- */

/* A list of attributes in place: WITH(named("x-a", number(1)), ...). */
#define WITH(...)                                                                                  \
    ((struct kmip_list){ARRAY_COUNT(((struct kmip_named_attribute[]){__VA_ARGS__})),               \
                        (struct kmip_named_attribute[]){__VA_ARGS__}})
#define WITHOUT ((struct kmip_list){0})

struct kmip_named_attribute named(const char *name, struct kmip_any value);
struct kmip_named_attribute named_at(const char *name, int32_t index, struct kmip_any value);

/* Values; all but text are in memory that lives as long as talk_arena()'s, which talk_values() is. */
struct arena *talk_values(void);
struct kmip_any integer(int32_t number);
struct kmip_any long_integer(int64_t number);
struct kmip_any enumeration(uint32_t number);
struct kmip_any boolean(bool yes);
struct kmip_any date(int64_t seconds);
struct kmip_any interval(uint32_t seconds);
struct kmip_any text(const char *text);
struct kmip_any byte_string(const char *text);
struct kmip_any name_value(const char *name); /* Name, as uninterpreted text */
struct kmip_any link_value(uint32_t type, struct bytes id);
struct kmip_any application_value(const char *name_space, const char *data);
struct kmip_any usage_limits(int64_t total, int64_t count); /* of bytes; count < 0: none */

void put_id(struct buffer *payload, struct bytes id);
void put_attribute(struct buffer *payload, const struct kmip_named_attribute *attribute);
void put_attributes(struct buffer *payload, struct kmip_list attributes);
void put_template(struct buffer *payload, struct kmip_list attributes);

/* ---- Whole requests of one item ---- */

/* Writes a Create: AES, 256 bits, Encrypt and Decrypt, and `more`. */
void put_create(struct buffer *payload, struct kmip_list more);

const struct kmip_response_item *try_create(struct talk *talk, struct kmip_list more);
struct bytes create(struct talk *talk, struct kmip_list more);
struct bytes create_key(struct talk *talk);
struct bytes created_id(struct talk *talk, const struct kmip_response_item *item);

/* A request whose payload is the Unique Identifier alone. */
const struct kmip_response_item *by_id(struct talk *talk, uint32_t operation, struct bytes id);

const struct kmip_response_item *revoke_key(struct talk *talk, struct bytes id, uint32_t code);

const struct kmip_response_item *add_attribute(struct talk *talk, struct bytes id,
                                               struct kmip_named_attribute attribute);
const struct kmip_response_item *modify_attribute(struct talk *talk, struct bytes id,
                                                  struct kmip_named_attribute attribute);
/* index < 0: none is sent. */
const struct kmip_response_item *delete_attribute(struct talk *talk, struct bytes id,
                                                  const char *name, int32_t index);

/* Registers an opaque object of a few bytes. */
struct bytes register_opaque(struct talk *talk, struct kmip_list attributes);

/* Registers Secret Data of a few bytes, a password. */
struct bytes register_secret(struct talk *talk, struct kmip_list attributes);

/* All attributes that the object shows: a list of struct kmip_named_attribute. */
struct kmip_list attributes_of(struct talk *talk, struct bytes id);

/* One instance of them; NULL if there is none. */
const struct kmip_any *attribute_of(struct talk *talk, struct bytes id, const char *name,
                                    int32_t index);

/* How many instances there are. */
size_t instances_of(struct talk *talk, struct bytes id, const char *name);

/* The number in an attribute, -1 if it is not there. */
int64_t number_of(struct talk *talk, struct bytes id, const char *name);
int64_t state_of(struct talk *talk, struct bytes id);

/* The key material that Get gives, which must be Raw. */
struct bytes key_of(struct talk *talk, struct bytes id);

/* Finds objects by these attributes: a list of struct bytes. */
struct kmip_list locate(struct talk *talk, struct kmip_list wanted);

/* Whether exactly these objects are found, in whatever order. */
#define assert_finds(talk, wanted, ...)                                                            \
    talk_assert_finds(talk, wanted, ARRAY_COUNT(((struct bytes[]){__VA_ARGS__})),                  \
                      (struct bytes[]){__VA_ARGS__}, __FILE__, __LINE__)
#define assert_finds_nothing(talk, wanted)                                                         \
    talk_assert_finds(talk, wanted, 0, NULL, __FILE__, __LINE__)
void talk_assert_finds(struct talk *talk, struct kmip_list wanted, size_t count,
                       const struct bytes *ids, const char *file, int line);

#endif
