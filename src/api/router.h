/* SPDX-License-Identifier: Apache-2.0 */
/* Which handler a request is for: def/routes.def. Inside src/api/ only. */
#ifndef KMIPD_API_ROUTER_H
#define KMIPD_API_ROUTER_H

#include "api/call.h"

enum api_scope {
    API_SCOPE_INSTANCE, /* the route's role is asked for the whole instance */
    API_SCOPE_PART,     /* for some key ring or adapter; the handler asks for the right one */
};

struct api_route {
    enum api_method method;
    const char *path;
    api_handler *handler;
    unsigned role; /* enum api_role */
    enum api_scope scope;
    const char *action;
    const char *failure; /* "Key could not be created" */
};

enum api_match {
    API_MATCH_FOUND,
    API_MATCH_NO_PATH,
    API_MATCH_NO_METHOD, /* there is the path, for other methods */
};

/*
 * Finds the route and decodes the path's parameters. With API_MATCH_NO_METHOD *ret_route is one of
 * the path's, and `allow` has the methods that there are ("GET, HEAD"). A slash at the end does not
 * matter. Any thread.
 */
enum api_match router_find(enum api_method method, struct bytes path,
                           const struct api_route **ret_route,
                           char ret_parameters[static API_PARAMETERS_MAX][API_PARAMETER_SIZE],
                           char ret_allow[static API_ALLOW_SIZE]);

/* Decodes %XX, and '+' to a blank with `plus`, to text with a NUL. False: not well encoded, a NUL,
 * or longer than size - 1. */
bool percent_decode(struct bytes encoded, bool plus, char *ret_text, size_t size) MUST_USE;

/* All routes, for tests. */
extern const struct api_route api_routes[];
extern const size_t api_route_count;

#endif
