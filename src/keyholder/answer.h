/* SPDX-License-Identifier: Apache-2.0 */
/* Carries out a request with its key manager. */
#ifndef KMIPD_KEYHOLDER_ANSWER_H
#define KMIPD_KEYHOLDER_ANSWER_H

#include "keymanager/keyholder_protocol.h"

/* Receives an answer, which is valid during the call. */
typedef void answer_send(void *context, const struct keyholder_answer *answer);

/* Gives `send` the answer, or several of them (LIST). Any message but HELLO and STATUS; any
 * thread. */
void answer_request(struct keymanager *keymanager, const struct keyholder_request *request,
                    answer_send *send, void *context);

#endif
