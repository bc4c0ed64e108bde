/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KMIPD_TESTS_TOOLS_OPTIONS_H
#define KMIPD_TESTS_TOOLS_OPTIONS_H

#include "keymanager/keyprotect.h"

/* Takes NAME=VALUE, a member of the options. The text is borrowed. False: there is no such. */
bool tool_option(struct keyprotect_options *options, const char *argument);

#endif
