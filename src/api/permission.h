/* SPDX-License-Identifier: Apache-2.0 */
/* Roles (def/roles.def) and who has them. api_may() and api_require() are in api/call.h. */
#ifndef KMIPD_API_PERMISSION_H
#define KMIPD_API_PERMISSION_H

#include "api/call.h"

/* The bits of a role and of all that it includes. */
unsigned role_with_included(unsigned role);

/* "Manager", of one bit; NULL if there is no such role. Static. */
const char *role_name(unsigned role);
bool role_find(const char *name, unsigned *ret_role) MUST_USE; /* upper and lower case alike */

/* Whether somebody has one of the roles for anything at all. */
bool permission_somewhere(const struct api_identity *identity, unsigned wanted);

#endif
