/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/hex.h"
#include "base/secret.h"
#include "crypto/aead.h"
#include "crypto/digest.h"
#include "crypto/kdf.h"
#include "crypto/password.h"
#include "crypto/shield.h"

static const struct bytes nothing = {0};

static int set_up(void **state)
{
    (void)state;
    struct error error;
    return secret_heap_init(1 << 20, &error) == STATUS_OK && shield_init() == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    shield_close();
    return 0;
}

static struct aead_key *key_of(struct bytes bytes)
{
    struct aead_key *key = NULL;
    assert_int_equal(aead_key_open(bytes, &key), STATUS_OK);
    return key;
}

static struct aead_key *key_filled(uint8_t byte)
{
    uint8_t bytes[AEAD_KEY_SIZE];
    memset(bytes, byte, sizeof(bytes));
    return key_of(bytes_of(bytes, sizeof(bytes)));
}

static void assert_hex(struct bytes bytes, const char *expected)
{
    char text[256];
    assert_true(2 * bytes.size < sizeof(text));
    hex_text(bytes, text);
    assert_string_equal(text, expected);
}

/* ---- XAES-256-GCM ---- */

/* The vectors of c2sp.org/XAES-256-GCM: the first key has the top bit of L clear, the second set. */
static void test_xaes_vectors(void **state)
{
    (void)state;
    static const struct {
        uint8_t key;
        const char *associated;
        const char *sealed;
    } vectors[] = {
        {1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
        {3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
    };
    static const uint8_t nonce[] = "ABCDEFGHIJKLMNOPQRSTUVWX";
    struct bytes plaintext = BYTES_LITERAL("XAES-256-GCM");
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        struct aead_key *key = key_filled(vectors[i].key);
        uint8_t sealed[12 + AEAD_OVERHEAD];
        uint8_t opened[12];
        struct bytes associated = bytes_of_text(vectors[i].associated);
        assert_int_equal(aead_seal_with(key, nonce, associated, plaintext, sealed), STATUS_OK);
        assert_memory_equal(sealed, nonce, AEAD_NONCE_SIZE);
        assert_hex(bytes_of(sealed + AEAD_NONCE_SIZE, 12 + AEAD_TAG_SIZE), vectors[i].sealed);
        assert_int_equal(aead_open(key, associated, bytes_of(sealed, sizeof(sealed)), opened),
                         STATUS_OK);
        assert_memory_equal(opened, plaintext.data, sizeof(opened));
        aead_key_close(key);
    }
}

/* Takes the next bytes of a stream. */
static struct bytes take(struct bytes *stream, size_t size)
{
    assert_true(size <= stream->size);
    struct bytes taken = bytes_of(stream->data, size);
    *stream = bytes_of(stream->data + size, stream->size - size);
    return taken;
}

static void xof(struct bytes input, uint8_t *output, size_t size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit_ex(context, EVP_shake128(), NULL), 1);
    assert_int_equal(EVP_DigestUpdate(context, input.data, input.size), 1);
    assert_int_equal(EVP_DigestFinalXOF(context, output, size), 1);
    EVP_MD_CTX_free(context);
}

/* The accumulated test of the specification: 10,000 messages drawn from SHAKE128 of nothing, the
 * ciphertexts hashed with SHAKE128. */
static void test_xaes_accumulated(void **state)
{
    (void)state;
    enum { ROUNDS = 10000, ROUND_MAX = 32 + 24 + 2 + 2 * 255 };
    uint8_t *random = malloc((size_t)ROUNDS * ROUND_MAX);
    struct buffer ciphertexts;
    buffer_init(&ciphertexts, (size_t)ROUNDS * (255 + AEAD_TAG_SIZE));
    xof(nothing, random, (size_t)ROUNDS * ROUND_MAX);
    struct bytes stream = bytes_of(random, (size_t)ROUNDS * ROUND_MAX);
    for (int i = 0; i < ROUNDS; i++) {
        struct aead_key *key = key_of(take(&stream, 32));
        struct bytes nonce = take(&stream, 24);
        struct bytes plaintext = take(&stream, *take(&stream, 1).data);
        struct bytes associated = take(&stream, *take(&stream, 1).data);
        uint8_t sealed[255 + AEAD_OVERHEAD];
        uint8_t opened[256];
        struct bytes whole = bytes_of(sealed, plaintext.size + AEAD_OVERHEAD);
        assert_int_equal(aead_seal_with(key, nonce.data, associated, plaintext, sealed), STATUS_OK);
        assert_int_equal(aead_open(key, associated, whole, opened), STATUS_OK);
        assert_memory_equal(opened, plaintext.data, plaintext.size);
        buffer_append(&ciphertexts, sealed + AEAD_NONCE_SIZE, whole.size - AEAD_NONCE_SIZE);
        aead_key_close(key);
    }
    uint8_t digest[32];
    assert_int_equal(buffer_status(&ciphertexts), STATUS_OK);
    xof(buffer_bytes(&ciphertexts), digest, sizeof(digest));
    assert_hex(bytes_of(digest, sizeof(digest)),
               "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
    buffer_free(&ciphertexts);
    free(random);
}

static void test_aead_tampering(void **state)
{
    (void)state;
    struct aead_key *key = key_filled(7);
    struct bytes associated = BYTES_LITERAL("header");
    struct bytes plaintext = BYTES_LITERAL("0123456789abcdef0123456789abcdef");
    uint8_t sealed[32 + AEAD_OVERHEAD];
    uint8_t opened[32];
    assert_int_equal(aead_seal(key, associated, plaintext, sealed), STATUS_OK);
    for (size_t i = 0; i < sizeof(sealed); i++) {
        sealed[i] ^= 0x40;
        memset(opened, 0xEE, sizeof(opened));
        assert_int_equal(aead_open(key, associated, bytes_of(sealed, sizeof(sealed)), opened),
                         STATUS_CRYPTO_FAILED);
        for (size_t j = 0; j < sizeof(opened); j++)
            assert_int_equal(opened[j], 0);
        sealed[i] ^= 0x40;
    }
    for (size_t size = 0; size < sizeof(sealed); size++)
        assert_int_equal(aead_open(key, associated, bytes_of(sealed, size), opened),
                         STATUS_CRYPTO_FAILED);
    struct bytes whole = bytes_of(sealed, sizeof(sealed));
    assert_int_equal(aead_open(key, BYTES_LITERAL("Header"), whole, opened), STATUS_CRYPTO_FAILED);
    assert_int_equal(aead_open(key, nothing, whole, opened), STATUS_CRYPTO_FAILED);
    struct aead_key *other = key_filled(8);
    assert_int_equal(aead_open(other, associated, whole, opened), STATUS_CRYPTO_FAILED);
    assert_int_equal(aead_open(key, associated, whole, opened), STATUS_OK);
    assert_memory_equal(opened, plaintext.data, sizeof(opened));
    aead_key_close(other);
    aead_key_close(key);
}

static void test_aead_edges(void **state)
{
    (void)state;
    struct aead_key *key = NULL;
    uint8_t sealed[AEAD_OVERHEAD];
    uint8_t second[AEAD_OVERHEAD];
    uint8_t opened[1];
    assert_int_equal(aead_key_open(bytes_of(sealed, 31), &key), STATUS_INVALID_ARGUMENT);
    assert_int_equal(aead_key_open(bytes_of(sealed, 33), &key), STATUS_INVALID_ARGUMENT);
    assert_null(key);
    aead_key_close(NULL);
    key = key_filled(1);
    assert_int_equal(aead_seal(key, nothing, nothing, sealed), STATUS_OK);
    assert_int_equal(aead_seal(key, nothing, nothing, second), STATUS_OK);
    assert_memory_not_equal(sealed, second, AEAD_NONCE_SIZE);
    assert_int_equal(aead_open(key, nothing, bytes_of(sealed, sizeof(sealed)), opened), STATUS_OK);
    sealed[AEAD_NONCE_SIZE] ^= 1;
    assert_int_equal(aead_open(key, nothing, bytes_of(sealed, sizeof(sealed)), opened),
                     STATUS_CRYPTO_FAILED);
    aead_key_close(key);
}

/* ---- Shield ---- */

static void test_shield(void **state)
{
    (void)state;
    struct bytes context = BYTES_LITERAL("object");
    struct bytes plaintext = BYTES_LITERAL("0123456789abcdef0123456789abcdef");
    uint8_t sealed[32 + SHIELD_OVERHEAD];
    uint8_t again[32 + SHIELD_OVERHEAD];
    struct bytes whole = bytes_of(sealed, sizeof(sealed));
    struct secret opened = {0};
    assert_int_equal(shield_seal(context, plaintext, sealed), STATUS_OK);
    assert_int_equal(shield_seal(context, plaintext, again), STATUS_OK);
    assert_memory_not_equal(sealed, again, 8); /* the counter */
    assert_int_equal(shield_open(context, whole, &opened), STATUS_OK);
    assert_true(bytes_equal(secret_bytes(&opened), plaintext));
    secret_free(&opened);
    for (size_t i = 0; i < sizeof(sealed); i++) {
        sealed[i] ^= 1;
        assert_int_equal(shield_open(context, whole, &opened), STATUS_CRYPTO_FAILED);
        sealed[i] ^= 1;
    }
    for (size_t size = 0; size < sizeof(sealed); size++)
        assert_int_equal(shield_open(context, bytes_of(sealed, size), &opened),
                         STATUS_CRYPTO_FAILED);
    assert_int_equal(shield_open(BYTES_LITERAL("objekt"), whole, &opened), STATUS_CRYPTO_FAILED);
    assert_null(opened.data);
}

static void test_shield_closed(void **state)
{
    (void)state;
    uint8_t sealed[SHIELD_OVERHEAD + 1];
    uint8_t opened[1];
    struct bytes whole = bytes_of(sealed, sizeof(sealed));
    assert_int_equal(shield_seal(nothing, BYTES_LITERAL("x"), sealed), STATUS_OK);
    assert_int_equal(shield_init(), STATUS_OK); /* keeps the key */
    assert_int_equal(shield_open_into(nothing, whole, opened), STATUS_OK);
    assert_int_equal(opened[0], 'x');
    shield_close();
    assert_int_equal(shield_open_into(nothing, whole, opened), STATUS_CRYPTO_FAILED);
    assert_int_equal(shield_seal(nothing, BYTES_LITERAL("x"), sealed), STATUS_CRYPTO_FAILED);
    assert_int_equal(shield_init(), STATUS_OK); /* another key */
    assert_int_equal(shield_open_into(nothing, whole, opened), STATUS_CRYPTO_FAILED);
}

/* A child would count from where its parent stands. */
static void test_shield_forked(void **state)
{
    (void)state;
    uint8_t sealed[SHIELD_OVERHEAD + 1];
    assert_int_equal(shield_seal(nothing, BYTES_LITERAL("x"), sealed), STATUS_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(shield_seal(nothing, BYTES_LITERAL("x"), sealed) == STATUS_CRYPTO_FAILED ? 0 : 1);
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    assert_int_equal(shield_seal(nothing, BYTES_LITERAL("x"), sealed), STATUS_OK);
}

enum { THREADS = 4, THREAD_ROUNDS = 2000 };

struct worker {
    pthread_t thread;
    struct aead_key *key;
    uint64_t counters[THREAD_ROUNDS];
    bool good;
};

static bool one_round(struct worker *worker, int round)
{
    uint8_t plaintext[32];
    uint8_t sealed[sizeof(plaintext) + AEAD_OVERHEAD];
    uint8_t opened[sizeof(plaintext)];
    struct bytes input = bytes_of(plaintext, sizeof(plaintext));
    memset(plaintext, round, sizeof(plaintext));
    if (aead_seal(worker->key, nothing, input, sealed) != STATUS_OK ||
        aead_open(worker->key, nothing, bytes_of(sealed, sizeof(sealed)), opened) != STATUS_OK ||
        memcmp(opened, plaintext, sizeof(opened)) != 0)
        return false;
    if (shield_seal(nothing, input, sealed) != STATUS_OK ||
        shield_open_into(nothing, bytes_of(sealed, sizeof(plaintext) + SHIELD_OVERHEAD), opened) !=
            STATUS_OK)
        return false;
    memcpy(&worker->counters[round], sealed, sizeof(worker->counters[round]));
    return memcmp(opened, plaintext, sizeof(opened)) == 0;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    worker->good = true;
    for (int i = 0; i < THREAD_ROUNDS && worker->good; i++)
        worker->good = one_round(worker, i);
    return NULL;
}

static int compare_counters(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(uint64_t));
}

/* One key in many threads at once; no counter of the shield comes twice. */
static void test_threads(void **state)
{
    (void)state;
    struct aead_key *key = key_filled(9);
    struct worker *workers = calloc(THREADS, sizeof(*workers));
    uint64_t *counters = calloc((size_t)THREADS * THREAD_ROUNDS, sizeof(*counters));
    for (size_t i = 0; i < THREADS; i++) {
        workers[i].key = key;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_true(workers[i].good);
        memcpy(counters + i * THREAD_ROUNDS, workers[i].counters, sizeof(workers[i].counters));
    }
    qsort(counters, (size_t)THREADS * THREAD_ROUNDS, sizeof(*counters), compare_counters);
    for (size_t i = 1; i < (size_t)THREADS * THREAD_ROUNDS; i++)
        assert_true(counters[i] != counters[i - 1]);
    free(counters);
    free(workers);
    aead_key_close(key);
}

/* ---- Digests ---- */

static void test_digests(void **state)
{
    (void)state;
    uint8_t digest[SHA256_SIZE];
    assert_int_equal(digest_sha256(BYTES_LITERAL("abc"), digest), STATUS_OK);
    assert_hex(bytes_of(digest, SHA256_SIZE),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(digest_sha256(nothing, digest), STATUS_OK);
    assert_hex(bytes_of(digest, SHA256_SIZE),
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(digest_sha1(BYTES_LITERAL("abc"), digest), STATUS_OK);
    assert_hex(bytes_of(digest, SHA1_SIZE), "a9993e364706816aba3e25717850c26c9cd0d89d");
}

static void test_digest_pieces(void **state)
{
    (void)state;
    const struct bytes pieces[] = {BYTES_LITERAL("a"), nothing, BYTES_LITERAL("bc")};
    uint8_t digest[SHA256_SIZE];
    uint64_t term;
    assert_int_equal(digest_sha256_pieces(pieces, 3, digest), STATUS_OK);
    assert_hex(bytes_of(digest, SHA256_SIZE),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(digest_term(pieces, 3, &term), STATUS_OK);
    assert_true(term == UINT64_C(0xba7816bf8f01cfea));
}

/* ---- Key derivation and passwords ---- */

static void test_scrypt(void **state)
{
    (void)state;
    /* RFC 7914 §12 */
    const struct scrypt_cost cost = {.log2_n = 10, .r = 8, .p = 16};
    uint8_t key[64];
    assert_int_equal(
        kdf_scrypt(BYTES_LITERAL("password"), BYTES_LITERAL("NaCl"), &cost, key, sizeof(key)),
        STATUS_OK);
    assert_hex(bytes_of(key, sizeof(key)),
               "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
               "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640");
    const struct scrypt_cost least = {.log2_n = 4, .r = 1, .p = 1};
    assert_int_equal(kdf_scrypt(nothing, nothing, &least, key, sizeof(key)), STATUS_OK);
    assert_hex(bytes_of(key, sizeof(key)),
               "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
               "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906");
}

static void test_scrypt_bounds(void **state)
{
    (void)state;
    static const struct scrypt_cost refused[] = {
        {0, 8, 1},   {15, 0, 1},  {15, 8, 0}, {25, 1, 1},          {255, 8, 1},
        {15, 65, 1}, {15, 8, 17}, {20, 8, 1}, {24, UINT16_MAX, 1}, {15, 8, UINT16_MAX},
    };
    uint8_t key[32];
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
        assert_int_equal(kdf_scrypt(nothing, nothing, &refused[i], key, sizeof(key)),
                         STATUS_INVALID_ARGUMENT);
    const struct scrypt_cost usual = {15, 8, 1};
    assert_true(scrypt_cost_allowed(&usual, (size_t)33 << 20));
    assert_false(scrypt_cost_allowed(&usual, (size_t)32 << 20));
}

static void test_hkdf(void **state)
{
    (void)state;
    /* RFC 5869, A.1 */
    uint8_t material[22];
    uint8_t salt[13];
    uint8_t info[10];
    uint8_t key[42];
    memset(material, 0x0b, sizeof(material));
    for (size_t i = 0; i < sizeof(salt); i++)
        salt[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(info); i++)
        info[i] = (uint8_t)(0xf0 + i);
    assert_int_equal(kdf_hkdf(bytes_of(material, sizeof(material)), bytes_of(salt, sizeof(salt)),
                              bytes_of(info, sizeof(info)), key, sizeof(key)),
                     STATUS_OK);
    assert_hex(bytes_of(key, sizeof(key)),
               "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
               "34007208d5b887185865");
}

static void test_password(void **state)
{
    (void)state;
    char hash[PASSWORD_HASH_MAX];
    char second[PASSWORD_HASH_MAX];
    struct bytes password = BYTES_LITERAL("correct horse");
    assert_int_equal(password_hash(password, hash), STATUS_OK);
    assert_int_equal(password_hash(password, second), STATUS_OK);
    assert_memory_equal(hash, "$scrypt$ln=15,r=8,p=1$", 22);
    assert_string_not_equal(hash, second);
    assert_int_equal(password_verify(password, hash), STATUS_OK);
    assert_int_equal(password_verify(password, second), STATUS_OK);
    assert_int_equal(password_verify(BYTES_LITERAL("correct horsf"), hash),
                     STATUS_NOT_AUTHENTICATED);
    assert_int_equal(password_verify(nothing, hash), STATUS_NOT_AUTHENTICATED);
    assert_int_equal(password_verify(password, NULL), STATUS_NOT_AUTHENTICATED);
    hash[strlen(hash) - 1] = '\0';
    assert_int_equal(password_verify(password, hash), STATUS_NOT_AUTHENTICATED);
}

/* A hash that another program made (passlib's documentation has ln=16; this one is Python's
 * hashlib.scrypt with a salt of 00 01 .. 0f). */
static void test_password_foreign(void **state)
{
    (void)state;
    assert_int_equal(password_verify(BYTES_LITERAL("secret"),
                                     "$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$"
                                     "Mdc/jTCPy+uU8aSLbM+FGBQC/AXSzfWCsAUkF/VYCgk"),
                     STATUS_OK);
}

static void test_password_malformed(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "",
        "secret",
        "$scrypt$",
        "$scrypt$ln=15,r=8,p=1$",
        "$scrypt$ln=15,r=8,p=1$AAECAwQFBgcICQoLDA0ODw",
        "$scrypt$ln=15,r=8,p=1$AAEC*wQFBgcICQoLDA0ODw$AAAA",
        "$scrypt$ln=15,r=8,p=1$AAEC$AAAA",
        "$scrypt$ln=0,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$AAAA",
        "$scrypt$ln=-1,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$AAAA",
        "$scrypt$ln=17,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$AAAA",
        "$scrypt$ln=15,r=9999,p=1$AAECAwQFBgcICQoLDA0ODw$AAAA",
        "$scrypt$ln=15,r=8,p=99$AAECAwQFBgcICQoLDA0ODw$AAAA",
        "$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw$AAAA",
    };
    for (size_t i = 0; i < ARRAY_COUNT(malformed); i++)
        assert_int_equal(password_verify(BYTES_LITERAL("secret"), malformed[i]),
                         STATUS_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xaes_vectors),
        cmocka_unit_test(test_xaes_accumulated),
        cmocka_unit_test(test_aead_tampering),
        cmocka_unit_test(test_aead_edges),
        cmocka_unit_test(test_shield),
        cmocka_unit_test(test_shield_closed),
        cmocka_unit_test(test_shield_forked),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_digest_pieces),
        cmocka_unit_test(test_scrypt),
        cmocka_unit_test(test_scrypt_bounds),
        cmocka_unit_test(test_hkdf),
        cmocka_unit_test(test_password),
        cmocka_unit_test(test_password_foreign),
        cmocka_unit_test(test_password_malformed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
