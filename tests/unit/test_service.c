/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a request: who is let in, what is recorded before it is answered, what happens when
 * store, audit log or memory cannot, and that no key is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "core/attributes.h"
#include "faults.h"
#include "service/registry.h"
#include "service_bench.h"

/* ---- Records of the audit log ---- */

struct search {
    const char *const *words; /* all of them in one line */
    size_t count;
    size_t found;
};

static bool look_at(void *context, struct bytes line)
{
    struct search *search = context;
    bool all = true;
    for (size_t i = 0; i < search->count; i++)
        all &= memmem(line.data, line.size, search->words[i], strlen(search->words[i])) != NULL;
    search->found += all;
    return true;
}

static size_t records_with(struct service_bench *bench, size_t count, const char *const *words)
{
    char folder[300];
    struct search search = {.words = words, .count = count};
    (void)snprintf(folder, sizeof(folder), "%s/audit", bench->directory);
    assert_int_equal(audit_tail(folder, 100000, look_at, &search, NULL), STATUS_OK);
    return search.found;
}

#define RECORDS_WITH(bench, ...)                                                                   \
    records_with(bench, ARRAY_COUNT(((const char *const[]){__VA_ARGS__})),                         \
                 (const char *const[]){__VA_ARGS__})

static struct bytes certificate_name(uint8_t mark)
{
    static char name[32];
    (void)snprintf(name, sizeof(name), "certificate %u", mark);
    return bytes_of_text(name);
}

static struct service_counters counters_of(struct service_bench *bench)
{
    struct service_counters counters;
    service_counters(bench->service, &counters);
    return counters;
}

/* ---- The straight way ---- */

static void a_request_is_recorded_and_answered(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    connection_open(&connection, bench, 0, 1);
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    talk_item(&bench->talk, KMIP_OPERATION_GET);
    const struct kmip_response_item *items = ask(&connection, 2);
    assert_success(&items[1]);
    struct bytes id = created_id(&bench->talk, &items[0]);
    char object[64];
    (void)snprintf(object, sizeof(object), "%.*s", (int)id.size, id.data);
    assert_int_equal(RECORDS_WITH(bench, object, "\"Create\"", "\"Success\"", "192.0.2.1:5000",
                                  "\"default\"", "0101010101010101"),
                     1); /* it is there when the answer is */
    assert_int_equal(RECORDS_WITH(bench, object, "\"Get\"", "\"Success\""), 1);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), BYTES_LITERAL("unknown"));
    assert_reason(ask(&connection, 1), KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    assert_int_equal(RECORDS_WITH(bench, "\"Get\"", "\"Item Not Found\""), 1);
    struct service_counters counters = counters_of(bench);
    assert_int_equal(counters.requests, 2);
    assert_int_equal(counters.items, 3);
    assert_int_equal(counters.refused + counters.again + counters.strangers_dropped, 0);
    assert_int_equal(state_of(&bench->talk, id), KMIP_STATE_PRE_ACTIVE); /* and committed */
    connection_close(&connection);
}

static void what_is_no_message_is_answered_and_closed(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct kmip_response response;
    connection_open(&connection, bench, 0, 1);
    bench->talk.version = KMIP_VERSION_1_2;
    talk_item(&bench->talk, KMIP_OPERATION_DISCOVER_VERSIONS);
    struct bytes frame = talk_frame(&bench->talk);
    for (int bad = 0; bad < 2; bad++) {
        struct reply reply =
            bad ? connection_send_bad(&connection, frame, STATUS_TOO_LARGE)
                : connection_send(&connection, bytes_of(frame.data, frame.size - 8));
        assert_true(reply.close);
        assert_int_equal(kmip_decode_response(reply.bytes, talk_arena(&bench->talk), &response),
                         STATUS_OK);
        assert_int_equal(kmip_version_of(response.header.version), KMIP_VERSION_1_2);
        assert_reason(response.items.items, KMIP_RESULT_REASON_INVALID_MESSAGE);
        reply_free(&reply);
    }
    assert_int_equal(RECORDS_WITH(bench, "\"Invalid Message\""), 2);
    connection_close(&connection);
}

/* ---- Who is let in ---- */

static const struct kmip_response_item *knock(struct net_connection *connection)
{
    talk_item(&connection->bench->talk, KMIP_OPERATION_DISCOVER_VERSIONS);
    return ask(connection, 1);
}

static void certificates_count_from_the_next_request_on(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    int64_t adapter = bench->talk.bench.session.adapter;
    connection_open(&connection, bench, 0, 2);
    for (int i = 0; i < 3; i++) {
        assert_reason(knock(&connection), KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
        service_bench_let_in(bench, adapter, 2);
        assert_success(knock(&connection));
        assert_success(knock(&connection));
        assert_int_equal(store_certificate_delete(bench->talk.bench.store, adapter,
                                                  BYTES_LITERAL("certificate 2")),
                         STATUS_OK);
    }
    assert_reason(knock(&connection), KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
    assert_int_equal(RECORDS_WITH(bench, "\"Authentication Not Successful\"", "0202020202"), 4);
    connection_close(&connection);
}

static void a_client_without_a_certificate_is_a_stranger(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    connection_open(&connection, bench, 0, 0);
    assert_reason(knock(&connection), KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
    connection_close(&connection);
}

/* Each certificate sees its adapter's objects, on whichever loop it comes in. */
static void adapters_are_told_apart_by_certificate(void **state)
{
    struct service_bench *bench = *state;
    struct core_session other;
    struct net_connection mine;
    struct net_connection theirs;
    core_bench_adapter(&bench->talk.bench, "other", &other);
    service_bench_let_in(bench, other.adapter, 3);
    connection_open(&mine, bench, 0, 1);
    connection_open(&theirs, bench, SERVICE_LOOPS - 1, 3);
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    struct bytes id = created_id(&bench->talk, ask(&mine, 1));
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    assert_reason(ask(&theirs, 1), KMIP_RESULT_REASON_ITEM_NOT_FOUND);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    assert_success(ask(&mine, 1));
    assert_int_equal(RECORDS_WITH(bench, "\"other\"", "\"Item Not Found\""), 1);
    assert_int_equal(store_certificate_delete(bench->talk.bench.store, other.adapter,
                                              BYTES_LITERAL("certificate 3")),
                     STATUS_OK);
    assert_int_equal(store_adapter_delete(bench->talk.bench.store, other.adapter), STATUS_OK);
    assert_reason(knock(&theirs), KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
    connection_close(&mine);
    connection_close(&theirs);
}

/* An administrator's change of an adapter reaches open connections too. */
static void an_adapters_new_name_is_recorded(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct adapter_row row;
    connection_open(&connection, bench, 0, 1);
    assert_success(knock(&connection));
    assert_int_equal(
        store_adapter_find(bench->talk.bench.session_store, BYTES_LITERAL("default"), &row),
        STATUS_OK);
    (void)snprintf(row.name, sizeof(row.name), "renamed");
    assert_int_equal(store_adapter_update(bench->talk.bench.store, &row), STATUS_OK);
    assert_success(knock(&connection));
    assert_int_equal(RECORDS_WITH(bench, "\"renamed\""), 1);
    connection_close(&connection);
}

/* Whose a certificate is cannot be read: nobody is let in, and nobody is called unknown. */
static void a_store_that_cannot_be_read_makes_nobody_a_stranger(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    connection_open(&connection, bench, 0, 1);
    assert_success(knock(&connection));
    service_bench_let_in(bench, bench->talk.bench.session.adapter, 9); /* something has changed */
    atomic_store(&service_faults.adapters_status, STATUS_STORE_FAILED);
    for (int i = 0; i < 3; i++)
        assert_reason(knock(&connection), KMIP_RESULT_REASON_GENERAL_FAILURE);
    atomic_store(&service_faults.adapters_status, STATUS_OK);
    assert_success(knock(&connection));
    connection_close(&connection);
}

/* A flood of unknown clients must not fill the disk with records. */
static void strangers_are_recorded_up_to_a_limit(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    size_t dropped = 0;
    connection_open(&connection, bench, 0, 7);
    talk_item(&bench->talk, KMIP_OPERATION_DISCOVER_VERSIONS);
    struct bytes frame = talk_frame(&bench->talk);
    for (int i = 0; i < 1500; i++) {
        struct reply reply = connection_send(&connection, frame);
        dropped += reply.bytes.size == 0;
        assert_true(reply.bytes.size > 0 || reply.close);
        reply_free(&reply);
    }
    assert_true(dropped > 300);
    assert_int_equal(counters_of(bench).strangers_dropped, dropped);
    assert_int_equal(RECORDS_WITH(bench, "\"Authentication Not Successful\""), 1500 - dropped);
    connection_close(&connection);
    connection_open(&connection, bench, 0, 1); /* those who are known do not feel it */
    assert_success(knock(&connection));
    connection_close(&connection);
}

/* ---- Conflicts ---- */

static struct bytes contested; /* the object that the rival changes */
static _Atomic int rivals_left;

/* Somebody else's change of the same object, committed between execution and commit. */
static void rival(struct service_bench *bench)
{
    struct uuid id;
    struct stored_object *stored;
    struct store_session *session;
    if (atomic_fetch_sub(&rivals_left, 1) <= 0)
        return;
    assert_int_equal(store_session_open(bench->talk.bench.store, &session), STATUS_OK);
    assert_true(uuid_parse(contested, &id));
    assert_int_equal(store_get(session, bench->talk.bench.session.adapter, &id, &stored),
                     STATUS_OK);
    struct store_change change = {.kind = STORE_UPDATE, .row = stored->row};
    assert_int_equal(store_commit(bench->talk.bench.store, &change, 1), STATUS_OK);
    stored_object_release(stored);
    store_session_close(session);
}

static void let_rivals_in(struct service_bench *bench, struct bytes id, int count)
{
    contested = id;
    atomic_store(&rivals_left, count);
    service_faults.bench = bench;
    service_faults.before_submit = rival;
}

static void a_conflict_is_executed_again(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct bytes id = create_key(&bench->talk);
    connection_open(&connection, bench, 0, 1);
    static const int counts[] = {1, 5, 30};
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
        uint64_t again = counters_of(bench).again;
        let_rivals_in(bench, id, counts[i]);
        struct buffer *payload = talk_item(&bench->talk, KMIP_OPERATION_ADD_ATTRIBUTE);
        put_id(payload, id);
        put_attributes(payload, WITH(named("x-a", integer((int32_t)i))));
        assert_success(ask(&connection, 1));
        assert_int_equal(instances_of(&bench->talk, id, "x-a"), i + 1); /* once */
        assert_int_equal(counters_of(bench).again - again, counts[i]);
    }
    assert_int_equal(RECORDS_WITH(bench, "\"Add Attribute\""), ARRAY_COUNT(counts));
    connection_close(&connection);
}

/* Always slower than the others: an end comes, for a Get without its note, for others with a reason
 * that makes the client try again. */
static void endless_conflicts_end(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct bytes id = create_key(&bench->talk);
    connection_open(&connection, bench, 0, 1);
    let_rivals_in(bench, id, INT32_MAX);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_ACTIVATE), id);
    assert_reason(ask(&connection, 1), KMIP_RESULT_REASON_GENERAL_FAILURE);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    assert_success(ask(&connection, 1));
    service_faults.before_submit = NULL;
    assert_int_equal(state_of(&bench->talk, id), KMIP_STATE_PRE_ACTIVE);
    assert_int_equal(number_of(&bench->talk, id, "Fresh"), 1);
    assert_int_equal(counters_of(bench).refused, 1);
    assert_int_equal(RECORDS_WITH(bench, "\"Activate\"", "\"General Failure\""), 1);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_ACTIVATE), id); /* nobody holds its lane */
    assert_success(ask(&connection, 1));
    connection_close(&connection);
}

/* ---- A store that cannot write ---- */

static void fail_submits(int count, enum status status)
{
    atomic_store(&service_faults.submit_status, status);
    atomic_store(&service_faults.submits_left, count);
}

static void what_the_store_cannot_take_is_refused_and_recorded(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    static const enum status statuses[] = {STATUS_STORE_FULL, STATUS_STORE_READ_ONLY,
                                           STATUS_STORE_FAILED, STATUS_STORE_CORRUPT,
                                           STATUS_NO_MEMORY};
    connection_open(&connection, bench, 0, 1);
    for (size_t i = 0; i < ARRAY_COUNT(statuses); i++) {
        fail_submits(1, statuses[i]);
        put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
        put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
        const struct kmip_response_item *items = ask(&connection, 2);
        assert_reason(&items[0], KMIP_RESULT_REASON_GENERAL_FAILURE);
        assert_reason(&items[1], KMIP_RESULT_REASON_GENERAL_FAILURE);
        assert_int_equal(counters_of(bench).refused, i + 1);
    }
    assert_int_equal(RECORDS_WITH(bench, "\"Create\"", "\"General Failure\""), 10);
    assert_int_equal(RECORDS_WITH(bench, "\"Create\"", "\"Success\""), 0);
    assert_int_equal(locate(&bench->talk, WITHOUT).count, 0);
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    assert_success(ask(&connection, 1)); /* and it is over when it is over */
    connection_close(&connection);
}

/* Its clients are strangers from then on, also those whose request was under way. */
static void delete_adapter(struct service_bench *bench)
{
    struct adapter_row row;
    struct store_session *session;
    service_faults.before_submit = NULL;
    assert_int_equal(store_session_open(bench->talk.bench.store, &session), STATUS_OK);
    assert_int_equal(store_adapter_find(session, BYTES_LITERAL("default"), &row), STATUS_OK);
    assert_int_equal(store_adapter_delete(bench->talk.bench.store, row.id), STATUS_OK);
    store_session_close(session);
}

static void an_adapter_deleted_meanwhile_makes_strangers(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    connection_open(&connection, bench, 0, 1);
    service_faults.before_submit = delete_adapter;
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    assert_reason(ask(&connection, 1), KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
    assert_reason(knock(&connection), KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL);
    connection_close(&connection);
}

/* A disk that is full must not keep a host from its keys. */
static void keys_are_served_by_a_store_that_cannot_write(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct kmip_get_response got;
    struct bytes id = create_key(&bench->talk);
    connection_open(&connection, bench, 0, 1);
    fail_submits(-1, STATUS_STORE_FULL);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    talk_payload(&bench->talk, ask(&connection, 1), &kmip_get_response_shape, &got);
    assert_non_null(got.symmetric_key);
    fail_submits(0, STATUS_OK);
    assert_int_equal(counters_of(bench).refused, 0);
    assert_int_equal(number_of(&bench->talk, id, "Fresh"), 1);
    connection_close(&connection);
}

/* ---- An audit log that cannot write ---- */

/* No record, no answer but a failure; and that failure cannot be recorded either. */
static void without_a_record_nothing_is_answered(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct bytes id = create_key(&bench->talk);
    connection_open(&connection, bench, 0, 1);
    assert_success(knock(&connection));
    atomic_store(&service_faults.audit_fails, true);
    for (int i = 0; i < 3; i++) {
        put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
        const struct kmip_response_item *item = ask(&connection, 1);
        assert_reason(item, KMIP_RESULT_REASON_GENERAL_FAILURE);
        assert_int_equal(item->payload.type, 0); /* no key */
    }
    assert_int_equal(counters_of(bench).refused, 3);
    atomic_store(&service_faults.audit_fails, false);
    const struct kmip_response_item *item;
    do { /* the log recovers by itself, within a second */
        put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
        item = ask(&connection, 1);
    } while (item->result_status.value != KMIP_RESULT_STATUS_SUCCESS);
    assert_int_equal(RECORDS_WITH(bench, "\"Get\"", "\"Success\""), 1);
    connection_close(&connection);
}

/* ---- Searches that take long ---- */

static void a_long_search_leaves_the_loop(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct kmip_locate_response response;
    for (int i = 0; i < 1200; i++) {
        create_key(&bench->talk);
        talk_forget(&bench->talk);
    }
    connection_open(&connection, bench, 0, 1);
    put_attributes(talk_item(&bench->talk, KMIP_OPERATION_LOCATE),
                   WITH(named("Cryptographic Length", integer(128))));
    talk_payload(&bench->talk, ask(&connection, 1), &kmip_locate_response_shape, &response);
    assert_int_equal(response.unique_identifiers.count, 0);
    assert_true(atomic_load(&service_faults.searching) != (uint64_t)pthread_self());
    const struct kmip_locate_request few = {.maximum_items = kmip_number(900)};
    kmip_encode(&kmip_locate_request_shape, &few, KMIP_VERSION_1_4,
                talk_item(&bench->talk, KMIP_OPERATION_LOCATE));
    talk_payload(&bench->talk, ask(&connection, 1), &kmip_locate_response_shape, &response);
    assert_int_equal(response.unique_identifiers.count, 900);
    assert_true(atomic_load(&service_faults.searching) == (uint64_t)pthread_self());
    assert_int_equal(RECORDS_WITH(bench, "\"Locate\"", "\"Success\""), 2);
    connection_close(&connection);
}

/* ---- Sizes ---- */

static struct kmip_any long_text(struct service_bench *bench, size_t size)
{
    char *letters = arena_allocate(talk_arena(&bench->talk), size + 1);
    assert_non_null(letters);
    memset(letters, 'a', size);
    return value_text(bytes_of(letters, size));
}

/* An object with 150 KiB of attributes, asked for more and more often in one batch. */
static void answers_grow_with_what_is_asked(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct kmip_any value = long_text(bench, 50000);
    struct bytes id =
        create(&bench->talk, WITH(named("x-1", value), named("x-2", value), named("x-3", value)));
    connection_open(&connection, bench, 0, 1);
    for (int items = 1; items <= 13; items += 4) {
        for (int i = 0; i < items; i++)
            put_id(talk_item(&bench->talk, KMIP_OPERATION_GET_ATTRIBUTES), id);
        const struct kmip_response_item *answers = ask(&connection, (size_t)items);
        for (int i = 0; i < items; i++) {
            struct kmip_get_attributes_response response;
            talk_payload(&bench->talk, &answers[i], &kmip_get_attributes_response_shape, &response);
            assert_true(response.attributes.count > 15);
        }
    }
    for (int i = 0; i < 15; i++) /* 2.2 MiB: more than the largest answer */
        put_id(talk_item(&bench->talk, KMIP_OPERATION_GET_ATTRIBUTES), id);
    const struct kmip_response_item *answers = ask(&connection, 15);
    for (int i = 0; i < 15; i++)
        assert_reason(&answers[i], KMIP_RESULT_REASON_RESPONSE_TOO_LARGE);
    connection_close(&connection);
}

/* A request that changes something and whose answer does not fit at first: it happens once. */
static void a_growing_answer_changes_things_once(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct kmip_any value = long_text(bench, 50000);
    struct bytes id = create(&bench->talk, WITH(named("x-1", value)));
    connection_open(&connection, bench, 0, 1);
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    for (int i = 0; i < 5; i++)
        put_id(talk_item(&bench->talk, KMIP_OPERATION_GET_ATTRIBUTES), id);
    assert_success(&ask(&connection, 6)[5]);
    assert_int_equal(locate(&bench->talk, WITHOUT).count, 2);
    assert_int_equal(RECORDS_WITH(bench, "\"Create\""), 1);
    connection_close(&connection);
}

/* Around every boundary of the memory that frames are kept in, up to the largest. */
static void frames_of_every_size_are_taken(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    static const size_t large[] = {16384, 65536, 65537, 1u << 20, (2u << 20) - 7};
    connection_open(&connection, bench, 0, 1);
    for (size_t size = 0; size < 8800 + ARRAY_COUNT(large) * 8; size += 8) {
        size_t length = size < 8800 ? size : large[(size - 8800) / 8];
        put_attributes(talk_item(&bench->talk, KMIP_OPERATION_LOCATE),
                       WITH(named("x-none", long_text(bench, length))));
        struct reply reply = connection_send(&connection, talk_frame(&bench->talk));
        struct kmip_response response;
        assert_int_equal(kmip_decode_response(reply.bytes, talk_arena(&bench->talk), &response),
                         STATUS_OK);
        assert_success(response.items.items);
        reply_free(&reply);
        talk_forget(&bench->talk);
    }
    connection_close(&connection);
}

static void beginnings_of_every_size_are_rejected(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    static uint8_t noise[100000];
    static const size_t sizes[] = {8, 9, 63, 64, 1023, 1024, 1025, 4096, 8192, 16384, 100000};
    memset(noise, 0x42, sizeof(noise));
    connection_open(&connection, bench, 0, 1);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct kmip_response response;
        struct reply reply =
            connection_send_bad(&connection, bytes_of(noise, sizes[i]), STATUS_MALFORMED);
        assert_true(reply.close);
        assert_int_equal(kmip_decode_response(reply.bytes, talk_arena(&bench->talk), &response),
                         STATUS_OK);
        assert_reason(response.items.items, KMIP_RESULT_REASON_INVALID_MESSAGE);
        reply_free(&reply);
    }
    connection_close(&connection);
}

/* ---- Memory ---- */

/* Keys come in by Register and go out by Get, in small messages and in large ones: when all is
 * answered, no byte of them is left in the memory that is kept. */
static void no_key_is_left_in_the_memory_of_requests(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    static const char secret[] = "attack at dawn, attack at dawn!!";
    static const size_t paddings[] = {0, 500, 1500, 1900, 2500, 3000, 5000, 50000};
    connection_open(&connection, bench, 0, 1);
    for (size_t i = 0; i < ARRAY_COUNT(paddings); i++) {
        struct kmip_key_value value = {.key_material = byte_string(secret)};
        struct kmip_key_block block = {.key_format_type = kmip_number(KMIP_KEY_FORMAT_TYPE_RAW)};
        block.key_value = value_structure(talk_arena(&bench->talk), &kmip_key_value_shape, &value);
        const struct kmip_secret_data data = {
            .secret_data_type = kmip_number(KMIP_SECRET_DATA_TYPE_PASSWORD), .key_block = &block};
        struct buffer *payload = talk_item(&bench->talk, KMIP_OPERATION_REGISTER);
        ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SECRET_DATA);
        put_template(payload, WITH(named("x-pad", long_text(bench, paddings[i]))));
        kmip_encode_structure(KMIP_TAG_SECRET_DATA, &kmip_secret_data_shape, &data,
                              KMIP_VERSION_1_4, payload);
        for (int gets = 0; gets < 20; gets++) {
            talk_item(&bench->talk, KMIP_OPERATION_GET);
            talk_item(&bench->talk, KMIP_OPERATION_GET_ATTRIBUTES);
        }
        assert_success(&ask(&connection, 41)[40]);
        assert_false(locked_memory_has(bytes_of_text(secret)));
        assert_false(locked_memory_has(BYTES_LITERAL("attack at dawn")));
    }
    connection_close(&connection);
}

/* While a request is under way it is there: the test above looks at the right memory. */
static void a_key_on_its_way_is_in_locked_memory(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    const struct net_handler *handler = bench->handler;
    struct bytes id = create_key(&bench->talk);
    struct bytes key = key_of(&bench->talk, id);
    connection_open(&connection, bench, 0, 1);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET), id);
    handler->frame(handler->context, connection.session, &connection, talk_frame(&bench->talk));
    pthread_mutex_lock(&connection.lock);
    while (connection.reply == NULL)
        pthread_cond_wait(&connection.answered, &connection.lock);
    struct net_reply *reply = connection.reply;
    connection.reply = NULL;
    pthread_mutex_unlock(&connection.lock);
    assert_true(locked_memory_has(key));
    reply->release(reply);
    assert_false(locked_memory_has(key));
    connection_close(&connection);
}

/* Memory that cannot be locked: the connection goes, nothing hangs, and it works again after. */
static void without_memory_connections_are_closed(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    connection_open(&connection, bench, 0, 1);
    put_attributes(talk_item(&bench->talk, KMIP_OPERATION_LOCATE),
                   WITH(named("x-none", long_text(bench, 50000))));
    struct bytes frame = talk_frame(&bench->talk);
    atomic_store(&service_faults.locked_left, 0);
    struct reply reply = connection_send(&connection, frame);
    assert_true(reply.close);
    assert_int_equal(reply.bytes.size, 0);
    atomic_store(&service_faults.locked_left, -1);
    reply = connection_send(&connection, frame);
    assert_true(reply.bytes.size > 0);
    reply_free(&reply);
    connection_close(&connection);
}

static void an_answer_that_cannot_grow_is_refused(void **state)
{
    struct service_bench *bench = *state;
    struct net_connection connection;
    struct bytes id = create(&bench->talk, WITH(named("x-1", long_text(bench, 50000))));
    connection_open(&connection, bench, 0, 1);
    atomic_store(&service_faults.locked_left, 0);
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITHOUT);
    put_id(talk_item(&bench->talk, KMIP_OPERATION_GET_ATTRIBUTES), id);
    assert_reason(&ask(&connection, 2)[1], KMIP_RESULT_REASON_RESPONSE_TOO_LARGE);
    atomic_store(&service_faults.locked_left, -1);
    assert_int_equal(locate(&bench->talk, WITHOUT).count, 1);
    connection_close(&connection);
}

static void a_service_without_memory_does_not_open(void **state)
{
    struct service_bench *bench = *state;
    const struct service_options options = {.loops = 2, .ready = 10, .reply_max = 65536};
    for (int locked = 0; locked < 2; locked++) {
        struct service *service = NULL;
        struct error error = {0};
        atomic_store(&service_faults.locked_left, locked);
        assert_int_equal(service_open(bench->talk.bench.core, bench->talk.bench.store, bench->audit,
                                      &options, &service, &error),
                         STATUS_NO_MEMORY);
        assert_null(service);
        assert_non_null(strstr(error.text, "RLIMIT_MEMLOCK"));
    }
    atomic_store(&service_faults.locked_left, -1);
}

/* ---- Allocations ---- */

static void opening_may_fail_at_any_allocation(void **state)
{
    struct service_bench *bench = *state;
    const struct service_options options = {.loops = 2, .ready = 10, .reply_max = 65536};
    for (size_t at = 0;; at++) {
        struct service *service = NULL;
        struct error error = {0};
        faults_allocations(at, false);
        enum status status = service_open(bench->talk.bench.core, bench->talk.bench.store,
                                          bench->audit, &options, &service, &error);
        bool failed = faults_allocation_failed();
        faults_allocations_end();
        service_close(service);
        if (!failed) {
            assert_int_equal(status, STATUS_OK);
            assert_true(at > 10);
            break;
        }
        assert_int_equal(status, STATUS_NO_MEMORY);
        assert_null(service);
        assert_true(error.text[0] != '\0');
    }
}

/* Every allocation on the loop's thread, one after the other: an answer or a closed connection. */
static void a_request_may_fail_at_any_allocation(void **state)
{
    struct service_bench *bench = *state;
    const struct net_handler *handler = bench->handler;
    size_t made = 0;
    put_create(talk_item(&bench->talk, KMIP_OPERATION_CREATE), WITH(named("x-a", integer(1))));
    talk_item(&bench->talk, KMIP_OPERATION_GET);
    put_attributes(talk_item(&bench->talk, KMIP_OPERATION_LOCATE), WITH(named("x-a", integer(1))));
    struct bytes frame = talk_frame(&bench->talk);
    for (size_t at = 0;; at++) {
        struct net_connection connection;
        struct kmip_response response;
        service_bench_let_in(bench, bench->talk.bench.session.adapter, (uint8_t)(10 + at % 200));
        connection_open(&connection, bench, 0, 1); /* a copy of the registry is made anew */
        core_forget_keys(bench->talk.bench.core);
        bool failed;
        struct reply reply = connection_send_without(&connection, frame, at, &failed);
        connection_close(&connection);
        assert_int_equal(store_certificate_delete(bench->talk.bench.store,
                                                  bench->talk.bench.session.adapter,
                                                  certificate_name((uint8_t)(10 + at % 200))),
                         STATUS_OK);
        assert_true(reply.bytes.size > 0 || reply.close);
        if (reply.bytes.size > 0) {
            assert_int_equal(kmip_decode_response(reply.bytes, talk_arena(&bench->talk), &response),
                             STATUS_OK);
            const struct kmip_response_item *items = response.items.items;
            made += items[0].result_status.value == KMIP_RESULT_STATUS_SUCCESS;
            if (items[0].result_status.value != KMIP_RESULT_STATUS_SUCCESS)
                assert_true(items[0].result_reason.value == KMIP_RESULT_REASON_GENERAL_FAILURE ||
                            items[0].result_reason.value ==
                                KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE);
        }
        reply_free(&reply);
        if (!failed) {
            assert_true(at > 5); /* there was something to fail */
            break;
        }
    }
    assert_int_equal(locate(&bench->talk, WITHOUT).count, made);
    handler->event(handler->context, "192.0.2.1:5000", "for the log");
}

static void a_connection_without_memory_is_not_opened(void **state)
{
    struct service_bench *bench = *state;
    const struct net_handler *handler = bench->handler;
    const struct net_peer peer = {.address = "192.0.2.1:5000"};
    faults_allocations(0, false);
    void *session = handler->opened(handler->context, NULL, &peer);
    faults_allocations_end();
    assert_null(session);
}

/* ---- Many at once ---- */

#define ROUNDS 60

struct client {
    struct service_bench *bench;
    unsigned loop;
    struct bytes shared; /* an object that all change */
    size_t added;        /* attributes that were answered with success */
    size_t made;
    size_t sent;
};

/* A message, made without the bench's talk, which is one thread's. */
static struct bytes make_message(struct buffer *buffer, uint32_t operation, struct bytes id,
                                 const struct kmip_named_attribute *attribute)
{
    struct kmip_protocol_version version = kmip_version_structure(KMIP_VERSION_1_4);
    const struct kmip_request_header header = {.version = &version, .batch_count = kmip_number(1)};
    buffer_reset(buffer);
    size_t message = ttlv_begin(buffer, KMIP_TAG_REQUEST_MESSAGE);
    kmip_encode_structure(KMIP_TAG_REQUEST_HEADER, &kmip_request_header_shape, &header,
                          KMIP_VERSION_1_4, buffer);
    size_t item = ttlv_begin(buffer, KMIP_TAG_BATCH_ITEM);
    ttlv_write_enumeration(buffer, KMIP_TAG_OPERATION, operation);
    size_t payload = ttlv_begin(buffer, KMIP_TAG_REQUEST_PAYLOAD);
    if (operation == KMIP_OPERATION_CREATE) {
        ttlv_write_raw(buffer, KMIP_TAG_OBJECT_TYPE, TTLV_ENUMERATION, BYTES_LITERAL("\0\0\0\2"));
        size_t template = ttlv_begin(buffer, KMIP_TAG_TEMPLATE_ATTRIBUTE);
        static const struct kmip_named_attribute basic[] = {
            {.name = {(const uint8_t *)"Cryptographic Algorithm", 23},
             .value = {TTLV_ENUMERATION, {(const uint8_t *)"\0\0\0\3", 4}}},
            {.name = {(const uint8_t *)"Cryptographic Usage Mask", 24},
             .value = {TTLV_INTEGER, {(const uint8_t *)"\0\0\0\14", 4}}}};
        put_attributes(buffer, (struct kmip_list){2, (void *)(uintptr_t)basic});
        ttlv_end(buffer, template);
    } else {
        put_id(buffer, id);
        if (attribute != NULL)
            put_attribute(buffer, attribute);
    }
    ttlv_end(buffer, payload);
    ttlv_end(buffer, item);
    ttlv_end(buffer, message);
    return buffer_bytes(buffer);
}

static bool succeeds(struct client *client, struct net_connection *connection, struct bytes frame)
{
    struct kmip_response response;
    struct arena arena;
    arena_init(&arena, 65536);
    struct reply reply = connection_send(connection, frame);
    client->sent++;
    bool success = kmip_decode_response(reply.bytes, &arena, &response) == STATUS_OK &&
                   ((const struct kmip_response_item *)response.items.items)->result_status.value ==
                       KMIP_RESULT_STATUS_SUCCESS;
    reply_free(&reply);
    arena_free(&arena);
    return success;
}

static void *run_client(void *argument)
{
    struct client *client = argument;
    struct net_connection connection;
    struct buffer buffer;
    const struct kmip_named_attribute attribute = {
        .name = BYTES_LITERAL("x-shared"), .value = {TTLV_TEXT_STRING, BYTES_LITERAL("one more")}};
    buffer_init(&buffer, 65536);
    connection_open(&connection, client->bench, client->loop, 1);
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 2 == 0)
            client->added += succeeds(
                client, &connection,
                make_message(&buffer, KMIP_OPERATION_ADD_ATTRIBUTE, client->shared, &attribute));
        client->made +=
            succeeds(client, &connection,
                     make_message(&buffer, KMIP_OPERATION_CREATE, client->shared, NULL));
        (void)succeeds(client, &connection,
                       make_message(&buffer, KMIP_OPERATION_GET, client->shared, NULL));
    }
    connection_close(&connection);
    buffer_free(&buffer);
    return NULL;
}

/* Certificates come and go meanwhile, and the cache of keys is emptied. */
static void disturb(struct service_bench *bench)
{
    for (uint8_t i = 0; i < 40; i++) {
        service_bench_let_in(bench, bench->talk.bench.session.adapter, (uint8_t)(100 + i));
        core_forget_keys(bench->talk.bench.core);
    }
}

/* Each answered change is there, each answer has its record, nobody is refused for being one of
 * many. */
static void many_clients_at_once(void **state)
{
    struct service_bench *bench = *state;
    struct client clients[SERVICE_LOOPS];
    pthread_t threads[SERVICE_LOOPS];
    struct bytes shared = create_key(&bench->talk);
    char folder[300];
    struct audit_report report;
    size_t added = 0;
    size_t made = 0;
    size_t sent = 0;
    for (unsigned i = 0; i < SERVICE_LOOPS; i++) {
        clients[i] = (struct client){.bench = bench, .loop = i, .shared = shared};
        assert_int_equal(pthread_create(&threads[i], NULL, run_client, &clients[i]), 0);
    }
    disturb(bench);
    for (unsigned i = 0; i < SERVICE_LOOPS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        added += clients[i].added;
        made += clients[i].made;
        sent += clients[i].sent;
    }
    assert_int_equal(made, SERVICE_LOOPS * ROUNDS);
    assert_int_equal(added, SERVICE_LOOPS * ROUNDS / 2);
    assert_int_equal(instances_of(&bench->talk, shared, "x-shared"), added);
    assert_int_equal(locate(&bench->talk, WITHOUT).count, made + 1);
    assert_int_equal(counters_of(bench).requests, sent);
    service_bench_stop(bench);
    (void)snprintf(folder, sizeof(folder), "%s/audit", bench->directory);
    assert_int_equal(audit_verify(folder, &report, NULL), STATUS_OK);
    assert_int_equal(report.records, sent);
}

/* Certificates change while the store fails now and then: a known client may have to try again, but
 * is never called unknown. */
static void *knock_often(void *argument)
{
    struct client *client = argument;
    struct buffer buffer;
    buffer_init(&buffer, 4096);
    struct bytes frame = make_message(&buffer, KMIP_OPERATION_GET, client->shared, NULL);
    for (int i = 0; i < 200; i++) {
        struct net_connection connection;
        struct kmip_response response;
        struct arena arena;
        arena_init(&arena, 65536);
        connection_open(&connection, client->bench, client->loop, 1);
        struct reply reply = connection_send(&connection, frame);
        if (kmip_decode_response(reply.bytes, &arena, &response) != STATUS_OK)
            abort();
        const struct kmip_response_item *item = response.items.items;
        client->sent += item->result_reason.present &&
                        item->result_reason.value != KMIP_RESULT_REASON_GENERAL_FAILURE;
        reply_free(&reply);
        connection_close(&connection);
        arena_free(&arena);
    }
    buffer_free(&buffer);
    return NULL;
}

static void a_store_that_falters_makes_nobody_a_stranger(void **state)
{
    struct service_bench *bench = *state;
    struct client clients[SERVICE_LOOPS];
    pthread_t threads[SERVICE_LOOPS];
    struct bytes shared = create_key(&bench->talk);
    for (unsigned i = 0; i < SERVICE_LOOPS; i++) {
        clients[i] = (struct client){.bench = bench, .loop = i, .shared = shared};
        assert_int_equal(pthread_create(&threads[i], NULL, knock_often, &clients[i]), 0);
    }
    for (uint8_t i = 0; i < 60; i++) {
        atomic_store(&service_faults.adapters_status, i % 2 == 0 ? STATUS_STORE_FAILED : STATUS_OK);
        service_bench_let_in(bench, bench->talk.bench.session.adapter, (uint8_t)(100 + i));
    }
    atomic_store(&service_faults.adapters_status, STATUS_OK);
    for (unsigned i = 0; i < SERVICE_LOOPS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(clients[i].sent, 0); /* answers of any other kind */
    }
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, service_bench_setup, service_bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_request_is_recorded_and_answered),
        CASE(what_is_no_message_is_answered_and_closed),
        CASE(certificates_count_from_the_next_request_on),
        CASE(a_client_without_a_certificate_is_a_stranger),
        CASE(adapters_are_told_apart_by_certificate),
        CASE(an_adapters_new_name_is_recorded),
        CASE(a_store_that_cannot_be_read_makes_nobody_a_stranger),
        CASE(strangers_are_recorded_up_to_a_limit),
        CASE(a_conflict_is_executed_again),
        CASE(endless_conflicts_end),
        CASE(what_the_store_cannot_take_is_refused_and_recorded),
        CASE(an_adapter_deleted_meanwhile_makes_strangers),
        CASE(keys_are_served_by_a_store_that_cannot_write),
        CASE(without_a_record_nothing_is_answered),
        CASE(a_long_search_leaves_the_loop),
        CASE(answers_grow_with_what_is_asked),
        CASE(a_growing_answer_changes_things_once),
        CASE(frames_of_every_size_are_taken),
        CASE(beginnings_of_every_size_are_rejected),
        CASE(no_key_is_left_in_the_memory_of_requests),
        CASE(a_key_on_its_way_is_in_locked_memory),
        CASE(without_memory_connections_are_closed),
        CASE(an_answer_that_cannot_grow_is_refused),
        CASE(a_service_without_memory_does_not_open),
        CASE(opening_may_fail_at_any_allocation),
        CASE(a_request_may_fail_at_any_allocation),
        CASE(a_connection_without_memory_is_not_opened),
        CASE(many_clients_at_once),
        CASE(a_store_that_falters_makes_nobody_a_stranger),
    };
    log_set_level(0); /* what is refused here is meant to be */
    return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
