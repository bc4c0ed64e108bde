/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a person at the terminal. One thread, and no other reader of the terminal. */
#ifndef KMIPD_BASE_PROMPT_H
#define KMIPD_BASE_PROMPT_H

#include "base/secret.h"

/*
 * Asks on the controlling terminal for a line that is not shown, into the secret heap. NOT_FOUND:
 * there is no terminal; CLOSED: the person gave up (Ctrl-C, Ctrl-D); TOO_LARGE: longer than
 * `maximum` bytes; IO; NO_MEMORY. An empty line is a secret of size 0.
 */
enum status prompt_secret(const char *question, size_t maximum, struct secret *ret_secret,
                          struct error *error) MUST_USE;

/*
 * Asks on the controlling terminal for a line that is shown. False where there is no terminal, at
 * an end of input, or when the line does not fit.
 */
bool prompt_line(const char *question, char *ret_line, size_t size) MUST_USE;

#endif
