/* SPDX-License-Identifier: Apache-2.0 */
/* The keyholder process's own directory in the state directory, and where its files were before it
 * had one. For state.c alone. */
#ifndef KMIPD_DAEMON_STATE_KEYHOLDER_H
#define KMIPD_DAEMON_STATE_KEYHOLDER_H

#include "daemon/state.h"

/*
 * Moves what layout 1 had in the state directory itself to where it is now. Each file is moved in
 * one step, so that one that was moved is not moved again after a crash; it is durable when this
 * returns. A file that `options` says is used where it is stays. STATUS_EXISTS: one stands in both
 * places; IO.
 */
enum status state_keyholder_move(const struct state *state, const struct state_options *options,
                                 struct error *error) MUST_USE;

/*
 * Makes the directory where it is missing, and gives it and the files in it to the user that
 * `options` names, where this process may. NOT_FOUND: there is no such user; IO.
 */
enum status state_keyholder_prepare(const struct state *state, const struct state_options *options,
                                    struct error *error) MUST_USE;

#endif
