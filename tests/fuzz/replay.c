/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay [--mutations N] PATH...: calls the target with each file (of each directory), and with N
 * mutations of them, which are the same ones every time. The input that the target fails on is left
 * in ./crash-<number>.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "fuzz.h"

#define INPUT_MAX 65536

struct input {
    uint8_t *data;
    size_t size;
};

static struct {
    struct input *inputs;
    size_t count;
} corpus;

/* What the target is called with, for save_input(). */
static struct {
    unsigned long number;
    uint8_t data[INPUT_MAX];
    size_t size;
} current;

static uint64_t random_state;

static size_t random_below(size_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return limit == 0 ? 0 : (size_t)(random_state % limit);
}

static void fail(const char *path)
{
    perror(path);
    exit(2);
}

/* ---- Failures ---- */

static void save_input(void)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "crash-%lu", current.number);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || write(file, current.data, current.size) != (ssize_t)current.size)
        perror(path);
    (void)fprintf(stderr, "input %lu is in %s\n", current.number, path);
    if (file >= 0)
        (void)close(file);
}

static void on_signal(int number)
{
    (void)signal(number, SIG_DFL);
    save_input();
    (void)raise(number);
}

/* AddressSanitizer ends the process without a signal. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_for_failures(void)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(save_input);
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
        (void)signal(signals[i], on_signal);
}

static void run_current(void)
{
    (void)alarm(20); /* an input that takes so long is a failure */
    (void)LLVMFuzzerTestOneInput(current.data, current.size);
    current.number++;
}

/* ---- The corpus ---- */

static void add_file(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *data = malloc(INPUT_MAX);
    ssize_t size = file < 0 || data == NULL ? -1 : read(file, data, INPUT_MAX);
    if (size < 0)
        fail(path);
    (void)close(file);
    corpus.inputs = reallocarray(corpus.inputs, corpus.count + 1, sizeof(*corpus.inputs));
    if (corpus.inputs == NULL)
        fail(path);
    corpus.inputs[corpus.count++] = (struct input){data, (size_t)size};
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void add(const char *path)
{
    struct stat state;
    struct dirent **entries;
    if (stat(path, &state) != 0)
        fail(path);
    if (!S_ISDIR(state.st_mode)) {
        add_file(path);
        return;
    }
    int count = scandir(path, &entries, is_visible, alphasort);
    if (count < 0)
        fail(path);
    for (int i = 0; i < count; i++) {
        char name[4096];
        (void)snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
        add(name);
        free(entries[i]);
    }
    free(entries);
}

/* ---- Mutations ---- */

static size_t change_bytes(uint8_t *data, size_t size, size_t maximum)
{
    static const uint8_t values[] = {0x00, 0x01, 0x07, 0x08, 0x7F, 0x80, 0xFF, 0x42, '"', '\n'};
    size_t at = random_below(size);
    if (random_below(2) == 0)
        data[at] ^= (uint8_t)(1u << random_below(8));
    else
        data[at] = values[random_below(sizeof(values))];
    return size;
}

static size_t remove_bytes(uint8_t *data, size_t size, size_t maximum)
{
    size_t at = random_below(size);
    size_t count = 1 + random_below(random_below(2) == 0 ? 8 : size - at);
    if (count > size - at)
        count = size - at;
    memmove(data + at, data + at + count, size - at - count);
    return size - count;
}

static size_t insert_bytes(uint8_t *data, size_t size, size_t maximum)
{
    const struct input *other = &corpus.inputs[random_below(corpus.count)];
    size_t at = random_below(size + 1);
    size_t from = random_below(other->size);
    size_t count = 8 * random_below(16);
    if (count > maximum - size || count > other->size - from)
        return size;
    memmove(data + at + count, data + at, size - at);
    memcpy(data + at, other->data + from, count);
    return size + count;
}

static size_t change_length(uint8_t *data, size_t size, size_t maximum)
{
    static const uint32_t lengths[] = {0, 1, 4, 8, 16, 0x7FFFFFFF, 0xFFFFFFF8, 0xFFFFFFFF};
    size_t at = random_below(size / 8) * 8 + 4;
    if (at + 4 > size)
        return size;
    uint32_t length = __builtin_bswap32(lengths[random_below(ARRAY_COUNT(lengths))]);
    memcpy(data + at, &length, sizeof(length));
    return size;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maximum)
{
    static size_t (*const mutations[])(uint8_t *, size_t, size_t) = {
        change_bytes, change_bytes, remove_bytes, insert_bytes, change_length};
    if (size == 0)
        return insert_bytes(data, size, maximum);
    return mutations[random_below(ARRAY_COUNT(mutations))](data, size, maximum);
}

static void run_mutation(void)
{
    const struct input *input = &corpus.inputs[random_below(corpus.count)];
    memcpy(current.data, input->data, input->size);
    current.size = input->size;
    for (size_t i = 1 + random_below(4); i > 0; i--)
        current.size = LLVMFuzzerCustomMutator != NULL && random_below(2) == 0
                           ? LLVMFuzzerCustomMutator(current.data, current.size, INPUT_MAX,
                                                     (unsigned)random_below(UINT32_MAX))
                           : LLVMFuzzerMutate(current.data, current.size, INPUT_MAX);
    run_current();
}

int main(int argc, char **argv)
{
    unsigned long mutations = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutations") == 0 && i + 1 < argc)
            mutations = strtoul(argv[++i], NULL, 10);
        else
            add(argv[i]);
    }
    if (corpus.count == 0) {
        (void)fprintf(stderr, "%s: no input\n", argv[0]);
        return 2;
    }
    watch_for_failures();
    for (size_t i = 0; i < corpus.count; i++) {
        memcpy(current.data, corpus.inputs[i].data, corpus.inputs[i].size);
        current.size = corpus.inputs[i].size;
        run_current();
    }
    for (unsigned long i = 0; i < mutations; i++) {
        random_state = 0x9E3779B97F4A7C15 * (i + 1); /* each repeats without the others */
        run_mutation();
    }
    (void)printf("%zu inputs, %lu mutations\n", corpus.count, mutations);
    for (size_t i = 0; i < corpus.count; i++)
        free(corpus.inputs[i].data);
    free(corpus.inputs);
    return 0;
}
