/* SPDX-License-Identifier: Apache-2.0 */
/* The vSphere simulator: that what it says on the wire is what vCenter was recorded to say, that it
 * really encrypts, and that it tells good from bad. */
#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hex.h"
#include "scripted.h"
#include "sim/datastore.h"
#include "sim/vcenter.h"

enum { SECURE_HEAP = 256 * 1024, SECTORS = 600 };

static struct {
    char directory[64];
    struct credentials server;
    struct credentials client;
    struct scripted_script script;
    struct scripted_server *scripted;
    struct sim sim;
} fixture;

/* ---- Setting up ---- */

static void in_directory(char path[static PATH_MAX], const char *name)
{
    (void)snprintf(path, PATH_MAX, "%s/%s", fixture.directory, name);
}

static void load_identity(void)
{
    char certificate[PATH_MAX];
    char key[PATH_MAX];
    struct error error = {0};
    in_directory(certificate, "client.pem");
    in_directory(key, "client.key");
    credentials_write(&fixture.client, certificate, key);
    assert_int_equal(client_identity_load(certificate, key, &fixture.sim.identity, &error),
                     STATUS_OK);
}

static int set_up_all(void **state)
{
    struct error error = {0};
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(secret_heap_init(SECURE_HEAP, &error), STATUS_OK);
    fixture.server = credentials_make("EC", 0, "server", -1, 1);
    fixture.client = credentials_make("EC", 0, "kmipClient", -1, 1);
    return 0;
}

static int tear_down_all(void **state)
{
    credentials_free(&fixture.server);
    credentials_free(&fixture.client);
    return 0;
}

static int set_up(void **state)
{
    struct error error = {0};
    (void)snprintf(fixture.directory, sizeof(fixture.directory), "/tmp/test_sim.XXXXXX");
    assert_non_null(mkdtemp(fixture.directory));
    assert_int_equal(datastore_make(fixture.directory, &error), STATUS_OK);
    return 0;
}

static void remove_files(const char *directory)
{
    DIR *listing = opendir(directory);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char path[PATH_MAX];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        if (unlink(path) != 0) {
            assert_int_equal(errno, EISDIR);
            remove_files(path);
        }
    }
    assert_int_equal(closedir(listing), 0);
    assert_int_equal(rmdir(directory), 0);
}

static int tear_down(void **state)
{
    remove_files(fixture.directory);
    return 0;
}

static int start(void **state)
{
    uint8_t pin[CLIENT_SHA256_SIZE];
    struct error error = {0};
    (void)set_up(state);
    fixture.script = (struct scripted_script){.act = ACT_SILENT};
    fixture.scripted = scripted_start(&fixture.server, &fixture.script);
    fixture.sim = (struct sim){.options = {.dir = fixture.directory, .timeout = 10}};
    fixture.sim.options.servers[0] = scripted_address(fixture.scripted);
    fixture.sim.options.server_count = 1;
    load_identity();
    credentials_fingerprint(&fixture.server, pin);
    assert_int_equal(
        provider_store_pin(fixture.directory, scripted_address(fixture.scripted), pin, &error),
        STATUS_OK);
    return 0;
}

static int stop(void **state)
{
    scripted_stop(fixture.scripted);
    client_identity_free(fixture.sim.identity);
    return tear_down(state);
}

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

/* ---- Keys of disks ---- */

static void keys_of_disks_open_where_they_belong(void **state)
{
    struct secret kek = {0}, other = {0}, dek = {0}, opened = {0};
    struct wrapped_dek wrapped;
    assert_int_equal(secret_random(&kek, 32), STATUS_OK);
    assert_int_equal(secret_random(&other, 32), STATUS_OK);
    assert_int_equal(dek_make(&dek), STATUS_OK);
    assert_int_equal(dek_wrap(&kek, "id", "owner", &dek, &wrapped), STATUS_OK);
    assert_int_equal(dek_unwrap(&kek, "id", "owner", &wrapped, &opened), STATUS_OK);
    assert_true(secret_equal(&dek, &opened));
    secret_free(&opened);

    assert_int_equal(dek_unwrap(&other, "id", "owner", &wrapped, &opened), STATUS_UNWRAP_FAILED);
    assert_int_equal(dek_unwrap(&kek, "ido", "wner", &wrapped, &opened), STATUS_UNWRAP_FAILED);
    assert_int_equal(dek_unwrap(&kek, "id", "other", &wrapped, &opened), STATUS_UNWRAP_FAILED);
    for (size_t i = 0; i < sizeof(wrapped.bytes); i++) {
        wrapped.bytes[i] ^= 1;
        assert_int_equal(dek_unwrap(&kek, "id", "owner", &wrapped, &opened), STATUS_UNWRAP_FAILED);
        wrapped.bytes[i] ^= 1;
    }
    assert_null(opened.data);
    secret_free(&kek);
    secret_free(&other);
    secret_free(&dek);
}

static void keys_of_other_sizes_are_refused(void **state)
{
    struct secret small = {0}, kek = {0};
    struct wrapped_dek wrapped;
    assert_int_equal(secret_random(&small, 16), STATUS_OK);
    assert_int_equal(secret_random(&kek, 32), STATUS_OK);
    assert_int_equal(dek_wrap(&kek, "id", "owner", &small, &wrapped), STATUS_INVALID_ARGUMENT);
    assert_int_equal(dek_wrap(&small, "id", "owner", &small, &wrapped), STATUS_INVALID_ARGUMENT);
    secret_free(&small);
    secret_free(&kek);
}

/* ---- Disks ---- */

static struct disk usual_disk(char path[static PATH_MAX])
{
    in_directory(path, "disk.img");
    return (struct disk){path, "test01 label", SECTORS};
}

static void read_file(const char *path, uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, size, file), size);
    assert_int_equal(fgetc(file), EOF);
    assert_int_equal(fclose(file), 0);
}

/* A sector as IEEE 1619 says: tweak is the sector's number, least significant byte first. */
static void decrypt_sector(const struct secret *dek, uint64_t number, const uint8_t *sector,
                           uint8_t ret_plain[static DISK_SECTOR_SIZE])
{
    uint8_t iv[16] = {(uint8_t)number, (uint8_t)(number >> 8)};
    int size = 0;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_DecryptInit_ex(context, EVP_aes_256_xts(), NULL, dek->data, iv), 1);
    assert_int_equal(EVP_DecryptUpdate(context, ret_plain, &size, sector, DISK_SECTOR_SIZE), 1);
    assert_int_equal(size, DISK_SECTOR_SIZE);
    EVP_CIPHER_CTX_free(context);
}

static void disks_are_encrypted_and_read_again(void **state)
{
    static uint8_t image[SECTORS * DISK_SECTOR_SIZE];
    uint8_t plain[DISK_SECTOR_SIZE];
    char path[PATH_MAX];
    struct disk disk = usual_disk(path);
    struct secret dek = {0}, other = {0};
    struct error error = {0};
    bool shows = true;
    assert_int_equal(dek_make(&dek), STATUS_OK);
    assert_int_equal(dek_make(&other), STATUS_OK);
    assert_int_equal(disk_write(&disk, &dek, NULL, &error), STATUS_OK);
    assert_int_equal(disk_read(&disk, &dek, NULL, &error), STATUS_OK);
    assert_int_equal(disk_read(&disk, &other, NULL, &error), STATUS_UNWRAP_FAILED);
    assert_contains(error.text, "does not decrypt");
    assert_int_equal(disk_shows_label(&disk, &shows, &error), STATUS_OK);
    assert_false(shows);

    read_file(path, image, sizeof(image));
    for (uint64_t number = 0; number < SECTORS; number += SECTORS - 1) {
        char expected[64];
        decrypt_sector(&dek, number, image + number * DISK_SECTOR_SIZE, plain);
        (void)snprintf(expected, sizeof(expected), "test01 label sector %012u\n", (unsigned)number);
        assert_memory_equal(plain, expected, strlen(expected));
    }
    secret_free(&dek);
    secret_free(&other);
}

static void changed_disks_are_noticed(void **state)
{
    char path[PATH_MAX];
    struct disk disk = usual_disk(path);
    struct secret dek = {0};
    struct error error = {0};
    assert_int_equal(dek_make(&dek), STATUS_OK);
    assert_int_equal(disk_read(&disk, &dek, NULL, &error), STATUS_NOT_FOUND);
    assert_int_equal(disk_write(&disk, &dek, NULL, &error), STATUS_OK);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    int last = fgetc(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    assert_int_equal(fputc(last ^ 1, file), last ^ 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(disk_read(&disk, &dek, NULL, &error), STATUS_UNWRAP_FAILED);
    assert_int_equal(truncate(path, (SECTORS - 1) * DISK_SECTOR_SIZE), 0);
    assert_int_equal(disk_read(&disk, &dek, NULL, &error), STATUS_IO);
    assert_contains(error.text, "bytes instead of");
    secret_free(&dek);
}

static void disks_are_encrypted_anew_and_copied(void **state)
{
    char path[PATH_MAX];
    char copy_path[PATH_MAX];
    uint8_t before[SHA256_SIZE], after[SHA256_SIZE], copied[SHA256_SIZE];
    struct disk disk = usual_disk(path);
    struct secret old = {0}, new = {0};
    struct error error = {0};
    in_directory(copy_path, "copy.img");
    struct disk copy = {copy_path, disk.label, disk.sectors};
    assert_int_equal(dek_make(&old), STATUS_OK);
    assert_int_equal(dek_make(&new), STATUS_OK);
    assert_int_equal(disk_write(&disk, &old, NULL, &error), STATUS_OK);
    assert_int_equal(disk_digest(&disk, before, &error), STATUS_OK);
    assert_int_equal(disk_copy(&disk, copy_path, NULL, &error), STATUS_OK);
    assert_int_equal(disk_digest(&copy, copied, &error), STATUS_OK);
    assert_memory_equal(before, copied, sizeof(before));

    /* With the wrong key nothing is lost. */
    assert_int_equal(disk_reencrypt(&disk, &new, &old, NULL, &error), STATUS_UNWRAP_FAILED);
    assert_int_equal(disk_read(&disk, &old, NULL, &error), STATUS_OK);
    assert_int_equal(disk_reencrypt(&disk, &old, &new, NULL, &error), STATUS_OK);
    assert_int_equal(disk_read(&disk, &new, NULL, &error), STATUS_OK);
    assert_int_equal(disk_read(&disk, &old, NULL, &error), STATUS_UNWRAP_FAILED);
    assert_int_equal(disk_digest(&disk, after, &error), STATUS_OK);
    assert_memory_not_equal(before, after, sizeof(before));
    secret_free(&old);
    secret_free(&new);
}

/* ---- The datastore ---- */

static void machines_are_stored(void **state)
{
    struct vm vm, loaded;
    struct error error = {0};
    assert_int_equal(vm_load(fixture.directory, "test01", &loaded, &error), STATUS_NOT_FOUND);
    assert_contains(error.text, "vsphere-sim encrypt");
    assert_int_equal(vm_init(fixture.directory, "test01", "esxi01", &vm, &error), STATUS_OK);
    vm.disk.sectors = 7;
    (void)snprintf(vm.disk.kek.text, sizeof(vm.disk.kek.text), "key-id");
    memset(vm.disk.dek.bytes, 0xA5, sizeof(vm.disk.dek.bytes));
    assert_int_equal(vm_store(fixture.directory, &vm, &error), STATUS_OK);
    assert_int_equal(vm_load(fixture.directory, "test01", &loaded, &error), STATUS_OK);
    assert_string_equal(loaded.name, "test01");
    assert_string_equal(loaded.host, "esxi01");
    assert_string_equal(loaded.disk.owner, vm.disk.owner);
    assert_string_equal(loaded.disk.path, vm.disk.path);
    assert_string_equal(loaded.disk.label, vm.disk.label);
    assert_string_equal(loaded.disk.kek.text, "key-id");
    assert_int_equal(loaded.disk.sectors, 7);
    assert_memory_equal(loaded.disk.dek.bytes, vm.disk.dek.bytes, DEK_WRAPPED_SIZE);
}

static void hosts_clusters_and_dumps_are_stored(void **state)
{
    struct host host, loaded_host;
    struct cluster cluster, loaded;
    struct encrypted_disk dump, loaded_dump;
    struct error error = {0};
    assert_int_equal(host_load(fixture.directory, "esxi01", &host, &error), STATUS_OK);
    assert_string_equal(host.key.text, "");
    (void)snprintf(host.key.text, sizeof(host.key.text), "host-key");
    assert_int_equal(host_store(fixture.directory, &host, &error), STATUS_OK);
    assert_int_equal(host_load(fixture.directory, "esxi01", &loaded_host, &error), STATUS_OK);
    assert_memory_equal(&host, &loaded_host, sizeof(host));

    assert_int_equal(cluster_init(fixture.directory, 3, &cluster, &error), STATUS_OK);
    (void)snprintf(cluster.kek.text, sizeof(cluster.kek.text), "kek");
    for (size_t i = 0; i < 3; i++)
        cluster.disks[i].sectors = i + 1;
    assert_int_equal(cluster_store(fixture.directory, &cluster, &error), STATUS_OK);
    assert_int_equal(cluster_load(fixture.directory, &loaded, &error), STATUS_OK);
    assert_int_equal(loaded.count, 3);
    assert_string_equal(loaded.kek.text, "kek");
    assert_string_equal(loaded.disks[2].owner, cluster.disks[2].owner);
    assert_int_equal(loaded.disks[2].sectors, 3);
    cluster_free(&cluster);
    cluster_free(&loaded);

    assert_int_equal(dump_init(fixture.directory, "esxi01", &dump, &error), STATUS_OK);
    dump.sectors = 9;
    assert_int_equal(dump_store(fixture.directory, "esxi01", &dump, &error), STATUS_OK);
    assert_int_equal(dump_load(fixture.directory, "esxi01", &loaded_dump, &error), STATUS_OK);
    assert_string_equal(loaded_dump.owner, dump.owner);
}

static void pins_are_stored_by_server(void **state)
{
    uint8_t first[CLIENT_SHA256_SIZE] = {1}, second[CLIENT_SHA256_SIZE] = {2};
    uint8_t pin[CLIENT_SHA256_SIZE];
    bool pinned = true;
    struct error error = {0};
    assert_int_equal(provider_load_pin(fixture.directory, "a:1", &pinned, pin, &error), STATUS_OK);
    assert_false(pinned);
    assert_int_equal(provider_store_pin(fixture.directory, "a:1", first, &error), STATUS_OK);
    assert_int_equal(provider_store_pin(fixture.directory, "b:1", first, &error), STATUS_OK);
    assert_int_equal(provider_store_pin(fixture.directory, "b:1", second, &error), STATUS_OK);
    assert_int_equal(provider_load_pin(fixture.directory, "a:1", &pinned, pin, &error), STATUS_OK);
    assert_true(pinned);
    assert_memory_equal(pin, first, sizeof(pin));
    assert_int_equal(provider_load_pin(fixture.directory, "b:1", &pinned, pin, &error), STATUS_OK);
    assert_memory_equal(pin, second, sizeof(pin));
}

static void damaged_files_are_noticed(void **state)
{
    static const char *const contents[] = {
        "", "{", "[]", "{\"name\": 1}",
        ("{\"name\": \"x\", \"host\": \"y\", \"disk\": {\"uuid\": \"z\", \"label\": \"l\", "
         "\"sectors\": -1, \"key_id\": \"k\", \"wrapped_key\": \"00\"}}")};
    char path[PATH_MAX];
    struct vm vm;
    in_directory(path, "vms/x.json");
    for (size_t i = 0; i < ARRAY_COUNT(contents); i++) {
        struct error error = {0};
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(contents[i], file) >= 0);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(vm_load(fixture.directory, "x", &vm, &error), STATUS_MALFORMED);
        assert_contains(error.text, path);
    }
}

/* ---- The command line ---- */

static void command_lines_are_read(void **state)
{
    static const struct {
        const char *words[8];
        const char *complaint; /* NULL: good */
    } cases[] = {
        {{"all", "--cert", "c", "--key", "k"}, NULL},
        {{"trust", "encrypt", "--state=dir", "--hosts=3"}, NULL},
        {{"--help"}, NULL},
        {{"--version"}, NULL},
        {{"--state", "dir"}, "what is to be done"},
        {{"all", "--cert", "c"}, "who is vCenter"},
        {{"dance", "--state", "dir"}, "no scenario 'dance'"},
        {{"all", "--dance"}, "no option --dance"},
        {{"all", "--state"}, "--state needs a value"},
        {{"all", "--json=yes"}, "takes no value"},
        {{"all", "--state", "dir", "--hosts", "0"}, "from 1 to 1024"},
        {{"all", "--state", "dir", "--hosts", "8x"}, "from 1 to 1024"},
        {{"all", "--state", "dir", "--vm", "../x"}, "--vm takes letters"},
        {{"all", "--state", "dir", "--user", "u"}, "go together"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct sim_options options;
        struct error error = {0};
        char *words[9] = {(char *)"vsphere-sim"};
        int count = 1;
        for (; count < 9 && cases[i].words[count - 1] != NULL; count++)
            words[count] = (char *)cases[i].words[count - 1];
        enum status status = sim_options_parse(&options, count, words, &error);
        if (cases[i].complaint != NULL)
            assert_contains(error.text, cases[i].complaint);
        assert_int_equal(status, cases[i].complaint == NULL ? STATUS_OK : STATUS_INVALID_ARGUMENT);
    }
}

static void the_state_directory_gives_the_rest(void **state)
{
    struct sim_options options;
    struct error error = {0};
    char *words[] = {(char *)"vsphere-sim", (char *)"all", (char *)"--state", (char *)"/s"};
    assert_int_equal(sim_options_parse(&options, 4, words, &error), STATUS_OK);
    assert_string_equal(options.cert, "/s/clients/default.pem");
    assert_string_equal(options.key, "/s/clients/default.key");
    assert_string_equal(options.ca, "/s/ca.pem");
    assert_int_equal(options.server_count, 1);
    assert_string_equal(options.servers[0], "127.0.0.1:5696");
}

/* ---- The report ---- */

static json_t *report_of(enum status outcome)
{
    static const char *const servers[] = {"a:1"};
    char *text = NULL;
    size_t size = 0;
    struct report report;
    struct step step;
    struct error error = {0};
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    assert_int_equal(report_init(&report, file, true), STATUS_OK);
    report_title(&report, "title");
    report_scenario(&report, "trust", "Add the provider");
    step_begin(&step, &report, "first");
    assert_int_equal(step_end(&step, STATUS_OK, "vendor \x1b[2J %s", "\xff"), STATUS_OK);
    step_begin(&step, &report, "second");
    step_skip(&step, "do it yourself");
    step_begin(&step, &report, "third");
    assert_int_equal(step_end(&step, outcome, "fine"), outcome);
    report_scenario_end(&report, outcome == STATUS_OK);
    assert_int_equal(report_finish(&report, servers, 1, &error), STATUS_OK);
    report_free(&report);
    assert_int_equal(fclose(file), 0);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    free(text);
    return json;
}

static json_t *step_of(json_t *report, size_t index)
{
    json_t *scenario = json_array_get(json_object_get(report, "scenarios"), 0);
    return json_array_get(json_object_get(scenario, "steps"), index);
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void reports_are_json(void **state)
{
    json_t *good = report_of(STATUS_OK);
    assert_true(json_is_false(json_object_get(good, "ok"))); /* for the step that was skipped */
    assert_int_equal(json_integer_value(json_object_get(good, "failed")), 0);
    assert_int_equal(json_integer_value(json_object_get(good, "steps")), 3);
    assert_int_equal(json_integer_value(json_object_get(good, "skipped")), 1);
    assert_string_equal(text_of(step_of(good, 0), "result"), "ok");
    assert_string_equal(text_of(step_of(good, 0), "detail"), "vendor ?[2J ?");
    assert_string_equal(text_of(step_of(good, 1), "result"), "skipped");
    json_decref(good);
    json_t *bad = report_of(STATUS_TIMED_OUT);
    assert_true(json_is_false(json_object_get(bad, "ok")));
    assert_int_equal(json_integer_value(json_object_get(bad, "failed")), 1);
    assert_string_equal(text_of(step_of(bad, 2), "result"), "failed");
    assert_string_equal(text_of(step_of(bad, 2), "detail"), status_text(STATUS_TIMED_OUT));
    json_decref(bad);
}

/* ---- On the wire ---- */

/* A server that knows what vCenter needs, as the one that was recorded: identifiers are numbers. */
struct recorded_server {
    bool tagged; /* custom attributes are there already */
    unsigned keys;
    enum kmip_state state;
    char *requests; /* in hex, a line each */
    size_t requests_size;
    FILE *stream;
};

static void note_request(void *context, struct bytes request)
{
    struct recorded_server *server = context;
    char hex[2 * 4096 + 1];
    assert_true(2 * request.size < sizeof(hex));
    hex_text(request, hex);
    assert_true(fprintf(server->stream, "%s\n", hex) > 0);
}

static void write_key(struct buffer *reply)
{
    static const uint8_t material[32] = {7};
    size_t key = ttlv_begin(reply, KMIP_TAG_SYMMETRIC_KEY);
    size_t block = ttlv_begin(reply, KMIP_TAG_KEY_BLOCK);
    ttlv_write_enumeration(reply, KMIP_TAG_KEY_FORMAT_TYPE, KMIP_KEY_FORMAT_TYPE_RAW);
    size_t value = ttlv_begin(reply, KMIP_TAG_KEY_VALUE);
    ttlv_write_byte_string(reply, KMIP_TAG_KEY_MATERIAL, bytes_of(material, sizeof(material)));
    ttlv_end(reply, value);
    ttlv_write_enumeration(reply, KMIP_TAG_CRYPTOGRAPHIC_ALGORITHM,
                           KMIP_CRYPTOGRAPHIC_ALGORITHM_AES);
    ttlv_write_integer(reply, KMIP_TAG_CRYPTOGRAPHIC_LENGTH, 256);
    ttlv_end(reply, block);
    ttlv_end(reply, key);
}

static void write_versions(struct buffer *reply)
{
    for (uint16_t minor = 2; minor-- > 0;) {
        struct kmip_protocol_version version = kmip_version_structure(KMIP_VERSION_1_0 + minor);
        kmip_encode_structure(KMIP_TAG_PROTOCOL_VERSION, &kmip_protocol_version_shape, &version,
                              KMIP_VERSION_1_1, reply);
    }
}

/* The identifier that the request names; it is the first field, where there is one. */
static void write_same_id(const struct kmip_request_item *item, struct buffer *reply)
{
    struct ttlv_reader reader = ttlv_reader_over(item->payload.value);
    struct ttlv_item id;
    if (ttlv_next(&reader, &id) == STATUS_OK)
        ttlv_write_text(reply, KMIP_TAG_UNIQUE_IDENTIFIER, id.value);
}

/* The attribute that Get Attributes asks for: State, or a custom one, where there are any. */
static void write_attribute(struct recorded_server *server, const struct kmip_request_item *item,
                            struct buffer *reply)
{
    struct ttlv_reader reader = ttlv_reader_over(item->payload.value);
    struct ttlv_item id, name;
    assert_int_equal(ttlv_next(&reader, &id), STATUS_OK);
    assert_int_equal(ttlv_next(&reader, &name), STATUS_OK);
    bool is_state = bytes_equal_text(name.value, "State");
    write_same_id(item, reply);
    if (!is_state && !server->tagged)
        return;
    size_t mark = ttlv_begin(reply, KMIP_TAG_ATTRIBUTE);
    ttlv_write_text(reply, KMIP_TAG_ATTRIBUTE_NAME, name.value);
    if (is_state)
        ttlv_write_enumeration(reply, KMIP_TAG_ATTRIBUTE_VALUE, server->state);
    else
        ttlv_write_text(reply, KMIP_TAG_ATTRIBUTE_VALUE, bytes_of_text("there"));
    ttlv_end(reply, mark);
}

static void write_recorded(void *context, const struct kmip_request_item *item,
                           struct buffer *reply)
{
    struct recorded_server *server = context;
    char id[12];
    switch (item->operation.value) {
    case KMIP_OPERATION_DISCOVER_VERSIONS:
        write_versions(reply);
        break;
    case KMIP_OPERATION_QUERY:
        ttlv_write_text(reply, KMIP_TAG_VENDOR_IDENTIFICATION, bytes_of_text("recorded"));
        break;
    case KMIP_OPERATION_CREATE:
        (void)snprintf(id, sizeof(id), "%u", ++server->keys);
        ttlv_write_enumeration(reply, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
        ttlv_write_text(reply, KMIP_TAG_UNIQUE_IDENTIFIER, bytes_of_text(id));
        break;
    case KMIP_OPERATION_GET:
        ttlv_write_enumeration(reply, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
        write_same_id(item, reply);
        write_key(reply);
        break;
    case KMIP_OPERATION_GET_ATTRIBUTES:
        write_attribute(server, item, reply);
        break;
    case KMIP_OPERATION_ADD_ATTRIBUTE:
        buffer_append_bytes(reply, item->payload.value);
        break;
    default:
        write_same_id(item, reply);
    }
}

static void answer_recorded(void *context, const struct kmip_request *request, uint16_t version,
                            struct buffer *reply)
{
    scripted_success(request, version, write_recorded, context, reply);
}

static void serve_recorded(struct recorded_server *server)
{
    *server = (struct recorded_server){.state = KMIP_STATE_PRE_ACTIVE};
    server->stream = open_memstream(&server->requests, &server->requests_size);
    assert_non_null(server->stream);
    fixture.script = (struct scripted_script){
        .act = ACT_ANSWER, .answer = answer_recorded, .seen = note_request, .context = server};
}

/* Ends the recording; the caller frees server->requests. */
static void stop_recording(struct recorded_server *server)
{
    fixture.script.seen = NULL;
    assert_int_equal(fclose(server->stream), 0);
}

/* Everything that was recorded, in one go: the provider is tested, a VM is encrypted. */
static void play_recording(struct vcenter *vcenter)
{
    char text[64];
    struct client_id vm, host;
    struct vcenter_key key = {0};
    struct error error = {0};
    assert_int_equal(vcenter_discover(vcenter, text, sizeof(text), &error), STATUS_OK);
    assert_string_equal(text, "1.1 1.0");
    assert_int_equal(vcenter_query(vcenter, text, sizeof(text), &error), STATUS_OK);
    assert_string_equal(text, "recorded");
    assert_int_equal(vcenter_create_key(vcenter, &vm, &error), STATUS_OK);
    assert_int_equal(vcenter_tag_product(vcenter, vm.text, &error), STATUS_OK);
    assert_int_equal(vcenter_create_key(vcenter, &host, &error), STATUS_OK);
    assert_int_equal(vcenter_read_key(vcenter, host.text, &key, &error), STATUS_OK);
    assert_true(key.activated);
    secret_free(&key.material);
    assert_int_equal(vcenter_tag_product(vcenter, host.text, &error), STATUS_OK);
    assert_int_equal(vcenter_tag_component(vcenter, host.text,
                                           "8c164d56-7f1c-5960-63e6-4451c6181844", "ESXi Server",
                                           "172.16.220.132", &error),
                     STATUS_OK);
    assert_int_equal(vcenter_read_key(vcenter, vm.text, &key, &error), STATUS_OK);
    secret_free(&key.material);
    assert_int_equal(vcenter_tag_component(vcenter, vm.text, "4226f566-3ed5-1c8f-cda3-b0b037b6dc97",
                                           "Virtual Machine", "test01", &error),
                     STATUS_OK);
}

/* Whether every line of `needles` is a line of `haystack`. */
static void expect_lines(const char *needles, const char *haystack, const char *what)
{
    char *copy = strdup(needles);
    assert_non_null(copy);
    unsigned count = 0;
    for (char *line = strtok(copy, "\n"); line != NULL; line = strtok(NULL, "\n"), count++)
        if (strstr(haystack, line) == NULL)
            fail_msg("%s: %s", what, line);
    assert_true(count > 0);
    free(copy);
}

/* The recorded requests, a line each; NULL without the recordings. */
static char *recorded_requests(void)
{
    const char *vectors = getenv("KMIPD_VECTORS");
    char path[PATH_MAX];
    char *line = NULL, *requests = NULL;
    size_t capacity = 0, size = 0;
    bool is_request = false;
    (void)snprintf(path, sizeof(path), "%s/vcenter-7.0.3/messages.hex", vectors);
    FILE *file = vectors != NULL ? fopen(path, "r") : NULL;
    if (file == NULL)
        return NULL;
    FILE *stream = open_memstream(&requests, &size);
    assert_non_null(stream);
    while (getline(&line, &capacity, file) > 0) {
        if (line[0] != '#' && is_request)
            assert_true(fputs(line, stream) >= 0);
        is_request = strncmp(line, "# Request", 9) == 0;
    }
    free(line);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(fclose(stream), 0);
    return requests;
}

static void requests_are_those_of_vcenter(void **state)
{
    struct recorded_server server;
    struct vcenter vcenter;
    struct error error = {0};
    char *recorded = recorded_requests();
    if (recorded == NULL) {
        print_message("the recordings of vCenter are not beside the checkout\n");
        skip();
    }
    serve_recorded(&server);
    assert_int_equal(vcenter_open(&fixture.sim, &vcenter, &error), STATUS_OK);
    play_recording(&vcenter);
    vcenter_close(&vcenter);
    stop_recording(&server);
    expect_lines(recorded, server.requests, "vCenter sends it, the simulator does not");
    expect_lines(server.requests, recorded, "the simulator sends it, vCenter does not");
    free(server.requests);
    free(recorded);
}

static void tags_that_are_there_are_left_alone(void **state)
{
    struct recorded_server server;
    struct vcenter vcenter;
    struct error error = {0};
    serve_recorded(&server);
    server.tagged = true;
    assert_int_equal(vcenter_open(&fixture.sim, &vcenter, &error), STATUS_OK);
    assert_int_equal(vcenter_tag_product(&vcenter, "1", &error), STATUS_OK);
    vcenter_close(&vcenter);
    stop_recording(&server);
    assert_int_equal(scripted_requests(fixture.scripted), 4); /* Discover Versions, three looks */
    free(server.requests);
}

/* The operation of a request in hex (its first), by the number behind the tag. */
static unsigned operation_of(const char *request)
{
    const char *operation = strstr(request, "42005c0500000004");
    assert_non_null(operation);
    char number[9] = {0};
    memcpy(number, operation + 16, 8);
    return (unsigned)strtoul(number, NULL, 16);
}

static bool carries_credential(const char *request)
{
    bool about_state = strstr(request, "5374617465") != NULL; /* "State" */
    switch (operation_of(request)) {
    case KMIP_OPERATION_CREATE:
    case KMIP_OPERATION_GET:
    case KMIP_OPERATION_ACTIVATE:
        return true;
    case KMIP_OPERATION_GET_ATTRIBUTES:
        return about_state;
    default:
        return false;
    }
}

static void credentials_go_with_some_operations(void **state)
{
    struct recorded_server server;
    struct vcenter vcenter;
    struct error error = {0};
    unsigned with = 0;
    assert_int_equal(
        client_credential_make("USER", BYTES_LITERAL("PASSWORD"), &fixture.sim.credential),
        STATUS_OK);
    serve_recorded(&server);
    assert_int_equal(vcenter_open(&fixture.sim, &vcenter, &error), STATUS_OK);
    play_recording(&vcenter);
    vcenter_close(&vcenter);
    stop_recording(&server);
    for (char *line = strtok(server.requests, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        bool carried = strstr(line, "50415353574f5244") != NULL; /* "PASSWORD" */
        assert_int_equal(carried, carries_credential(line));
        with += carried;
    }
    assert_int_equal(with, 8);
    secret_free(&fixture.sim.credential);
    free(server.requests);
}

static void keys_that_are_not_active_lock_the_machine(void **state)
{
    static const enum kmip_state states[] = {KMIP_STATE_DEACTIVATED, KMIP_STATE_COMPROMISED};
    struct recorded_server server;
    struct vcenter vcenter;
    struct secret material = {0};
    serve_recorded(&server);
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        struct error error = {0};
        server.state = states[i];
        assert_int_equal(vcenter_open(&fixture.sim, &vcenter, &error), STATUS_OK);
        assert_int_equal(vcenter_unlock(&vcenter, "1", &material, &error),
                         STATUS_PERMISSION_DENIED);
        assert_contains(error.text, "KeyStateNotActiveOrEnabled");
        assert_null(material.data);
        vcenter_close(&vcenter);
    }
    server.state = KMIP_STATE_ACTIVE;
    struct error error = {0};
    assert_int_equal(vcenter_open(&fixture.sim, &vcenter, &error), STATUS_OK);
    assert_int_equal(vcenter_unlock(&vcenter, "1", &material, &error), STATUS_OK);
    assert_int_equal(material.size, 32);
    secret_free(&material);
    vcenter_close(&vcenter);
    stop_recording(&server);
    free(server.requests);
}

static void answer_not_found(void *context, const struct kmip_request *request, uint16_t version,
                             struct buffer *reply)
{
    const struct kmip_request_item *item = request->items.items;
    if (item->operation.value == KMIP_OPERATION_DISCOVER_VERSIONS)
        answer_recorded(context, request, version, reply);
    else
        scripted_failure(request, version, KMIP_RESULT_REASON_ITEM_NOT_FOUND, "none", reply);
}

static void keys_that_are_missing_lock_the_machine(void **state)
{
    struct vcenter vcenter;
    struct secret material = {0};
    struct error error = {0};
    fixture.script = (struct scripted_script){.act = ACT_ANSWER, .answer = answer_not_found};
    assert_int_equal(vcenter_open(&fixture.sim, &vcenter, &error), STATUS_OK);
    assert_int_equal(vcenter_unlock(&vcenter, "1", &material, &error), STATUS_OBJECT_NOT_FOUND);
    assert_contains(error.text, "KeyStateMissingInKMS");
    fixture.script = (struct scripted_script){.act = ACT_HANG_UP};
    assert_int_equal(vcenter_unlock(&vcenter, "1", &material, &error), STATUS_CLOSED);
    assert_contains(error.text, "KeyStateClusterUnreachable");
    vcenter_close(&vcenter);
}

static void servers_must_be_trusted_first(void **state)
{
    struct vcenter vcenter = {0};
    struct client_peer peer;
    struct error error = {0};
    uint8_t pin[CLIENT_SHA256_SIZE];
    fixture.sim.options.servers[0] = "127.0.0.1:1";
    assert_int_equal(vcenter_open(&fixture.sim, &vcenter, &error), STATUS_NOT_AUTHENTICATED);
    assert_contains(error.text, "vsphere-sim trust");
    fixture.sim.options.servers[0] = scripted_address(fixture.scripted);
    assert_int_equal(vcenter_open_one(&fixture.sim, 0, VCENTER_TRUST_NOBODY, &vcenter, &error),
                     STATUS_OK);
    assert_int_equal(vcenter_shake_hands(&vcenter, &peer, &error), STATUS_OK);
    credentials_fingerprint(&fixture.server, pin);
    assert_memory_equal(peer.sha256, pin, sizeof(pin));
    vcenter_close(&vcenter);
}

#define WITH_FILES(test)  cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_disks_open_where_they_belong),
        cmocka_unit_test(keys_of_other_sizes_are_refused),
        WITH_FILES(disks_are_encrypted_and_read_again),
        WITH_FILES(changed_disks_are_noticed),
        WITH_FILES(disks_are_encrypted_anew_and_copied),
        WITH_FILES(machines_are_stored),
        WITH_FILES(hosts_clusters_and_dumps_are_stored),
        WITH_FILES(pins_are_stored_by_server),
        WITH_FILES(damaged_files_are_noticed),
        cmocka_unit_test(command_lines_are_read),
        cmocka_unit_test(the_state_directory_gives_the_rest),
        cmocka_unit_test(reports_are_json),
        WITH_SERVER(requests_are_those_of_vcenter),
        WITH_SERVER(tags_that_are_there_are_left_alone),
        WITH_SERVER(credentials_go_with_some_operations),
        WITH_SERVER(keys_that_are_not_active_lock_the_machine),
        WITH_SERVER(keys_that_are_missing_lock_the_machine),
        WITH_SERVER(servers_must_be_trusted_first),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
