/* SPDX-License-Identifier: Apache-2.0 */
/* The main function of the keyholder process. */
#ifndef KMIPD_KEYHOLDER_KEYHOLDER_H
#define KMIPD_KEYHOLDER_KEYHOLDER_H

/*
 * Runs a keyholder for whoever is at the other end of `socket`, until that is closed; returns the
 * exit code. Everything in this process belongs to it from then on: descriptors, signals,
 * privileges. Errors are told the other side; without one, on standard error.
 */
int keyholder_run(int socket);

/* `kmipd keyholder`: keyholder_run() on the descriptor that kmipd hands down. It ends the process,
 * with 2 when nobody handed one down. */
_Noreturn void keyholder_main(void);

#endif
