/* SPDX-License-Identifier: Apache-2.0 */
#include "api/router.h"

#include <stdio.h>

#include "base/hex.h"

#define SEGMENTS_MAX 12
#define HAVE(method) (1u << (method))

const struct api_route api_routes[] = {
#define ROUTE(method, path, handler, role, scope, action, failure) \
    {API_##method, path, handler, API_ROLE_##role, API_SCOPE_##scope, action, failure},
#include "routes.def"
};
const size_t api_route_count = ARRAY_COUNT(api_routes);

static const char *const method_names[] = {
    [API_HEAD] = "HEAD", [API_GET] = "GET",     [API_POST] = "POST",
    [API_PUT] = "PUT",   [API_PATCH] = "PATCH", [API_DELETE] = "DELETE",
};

bool percent_decode(struct bytes encoded, bool plus, char *ret_text, size_t size)
{
    size_t length = 0;
    for (size_t i = 0; i < encoded.size; i++) {
        uint8_t byte = encoded.data[i];
        if (plus && byte == '+') {
            byte = ' ';
        } else if (byte == '%') {
            if (encoded.size - i < 3 ||
                !hex_decode(bytes_of(encoded.data + i + 1, 2), &byte, 1))
                return false;
            i += 2;
        }
        if (byte == '\0' || length + 1 >= size)
            return false;
        ret_text[length++] = (char)byte;
    }
    ret_text[length] = '\0';
    return true;
}

/* ---- Segments ---- */

struct segments {
    struct bytes at[SEGMENTS_MAX];
    size_t count;
};

/* The segment that a path begins with, and the rest behind its slash. */
static struct bytes take_segment(struct bytes *path)
{
    const uint8_t *slash = path->size == 0 ? NULL : memchr(path->data, '/', path->size);
    size_t size = slash == NULL ? path->size : (size_t)(slash - path->data);
    struct bytes segment = bytes_of(path->data, size);
    size_t used = slash == NULL ? size : size + 1;
    *path = bytes_of(path->data + used, path->size - used);
    return segment;
}

static bool split(struct bytes path, struct segments *ret_segments)
{
    *ret_segments = (struct segments){0};
    if (path.size == 0 || path.data[0] != '/')
        return false;
    path = bytes_of(path.data + 1, path.size - 1);
    while (path.size > 0) {
        if (ret_segments->count == SEGMENTS_MAX)
            return false;
        struct bytes segment = take_segment(&path);
        if (segment.size == 0)
            return false;
        ret_segments->at[ret_segments->count++] = segment;
    }
    return true;
}

/* ---- Matching ---- */

static bool is_parameter(struct bytes pattern)
{
    return pattern.data[0] == '{';
}

/* How well a pattern fits: a bit for each literal segment, the first one highest; 0: not at all. */
static unsigned fit(const char *pattern, const struct segments *segments)
{
    unsigned literals = 0;
    struct bytes rest = bytes_of_text(pattern + 1);
    for (size_t i = 0; i < segments->count; i++) {
        if (rest.size == 0)
            return 0;
        struct bytes part = take_segment(&rest);
        bool literal = !is_parameter(part);
        if (literal && !bytes_equal(part, segments->at[i]))
            return 0;
        literals = literals << 1 | literal;
    }
    return rest.size == 0 ? literals << (SEGMENTS_MAX - segments->count) : 0;
}

static bool decode_parameters(const char *pattern, const struct segments *segments,
                              char (*ret_parameters)[API_PARAMETER_SIZE])
{
    size_t count = 0;
    struct bytes rest = bytes_of_text(pattern + 1);
    for (size_t i = 0; i < segments->count; i++) {
        if (!is_parameter(take_segment(&rest)))
            continue;
        if (count == API_PARAMETERS_MAX ||
            !percent_decode(segments->at[i], false, ret_parameters[count++], API_PARAMETER_SIZE))
            return false;
    }
    return true;
}

static void write_allow(unsigned methods, char *ret_allow)
{
    size_t length = 0;
    if ((methods & HAVE(API_GET)) != 0)
        methods |= HAVE(API_HEAD);
    ret_allow[0] = '\0';
    for (int method = 0; method < API_OTHER; method++)
        if ((methods & HAVE(method)) != 0)
            length += (size_t)snprintf(ret_allow + length, API_ALLOW_SIZE - length, "%s%s",
                                       length == 0 ? "" : ", ", method_names[method]);
}

/* The routes of the path that fits best. */
struct found {
    unsigned fit;
    unsigned methods;
    const struct api_route *route; /* of the method, or of another */
    enum api_method method;        /* of `route` */
};

/* Whether a row is nearer to the method that is asked for than what was found. */
static bool is_nearer(const struct found *found, enum api_method wanted, enum api_method method)
{
    if (found->route == NULL || method == wanted)
        return true;
    return wanted == API_HEAD && method == API_GET && found->method != API_HEAD;
}

static void look(const struct segments *segments, enum api_method wanted, struct found *found)
{
    for (size_t i = 0; i < api_route_count; i++) {
        const struct api_route *route = &api_routes[i];
        unsigned fits = fit(route->path, segments);
        if (fits == 0 || fits < found->fit)
            continue;
        if (fits > found->fit)
            *found = (struct found){.fit = fits};
        found->methods |= HAVE(route->method);
        if (!is_nearer(found, wanted, route->method))
            continue;
        found->route = route;
        found->method = route->method;
    }
}

enum api_match router_find(enum api_method method, struct bytes path,
                           const struct api_route **ret_route,
                           char ret_parameters[static API_PARAMETERS_MAX][API_PARAMETER_SIZE],
                           char ret_allow[static API_ALLOW_SIZE])
{
    struct segments segments;
    struct found found = {0};
    if (!split(path, &segments))
        return API_MATCH_NO_PATH;
    look(&segments, method, &found);
    if (found.route == NULL || !decode_parameters(found.route->path, &segments, ret_parameters))
        return API_MATCH_NO_PATH;
    *ret_route = found.route;
    if (found.method == method || (method == API_HEAD && found.method == API_GET))
        return API_MATCH_FOUND;
    write_allow(found.methods, ret_allow);
    return API_MATCH_NO_METHOD;
}
