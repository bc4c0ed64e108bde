/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the audit log share: a directory of their own, and files as bytes. */
#ifndef KMIPD_TESTS_AUDIT_SUPPORT_H
#define KMIPD_TESTS_AUDIT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "audit/audit.h"

#define SUPPORT_PATH_SIZE 128
#define SUPPORT_FILE_MAX  (4u << 20)

/* Setup and teardown of each test: *state is the path of a log not yet made; on a file system in
 * memory if there is one, for tests that do not need a real one. */
int support_setup(void **state);
int support_setup_in_memory(void **state);
int support_teardown(void **state);

/* Opens the log with these limits; the test fails if that fails. */
struct audit *support_open(const char *directory, size_t rotate_bytes, unsigned keep_files);

/* The i-th of a series of records that differ in every member. Static storage, by thread. */
struct audit_entry support_entry(unsigned i);

/* Writes `count` records, each by itself. */
void support_write(struct audit *audit, unsigned count);

/* Path of the log's n-th file, counted from 0, oldest first, in static storage. */
const char *support_file(const char *directory, size_t n);
size_t support_count_files(const char *directory);

/* A file without the zeros at its end. The caller frees. */
uint8_t *support_read(const char *path, size_t *ret_size);
void support_replace(const char *path, const void *data, size_t size);

/* audit_verify(); the report of the latest call is in support_report, its text in support_error. */
extern struct audit_report support_report;
extern struct error support_error;
enum status support_verify(const char *directory);
/* Verifies, and expects `records` good ones and nothing behind them. */
void support_expect_whole(const char *directory, uint64_t records);

#endif
