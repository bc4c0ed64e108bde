/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/server.h"

#include <malloc.h>
#include <stdlib.h>

enum status ctl_server_open(const struct ctl_call *call, struct ctl_server **ret_server,
                            struct error *error)
{
    const struct ctl_server_kind *kind = call->url != NULL ? &ctl_server_https : &ctl_server_socket;
    return kind->open(call, ret_server, error);
}

void ctl_server_close(struct ctl_server *server)
{
    if (server != NULL)
        server->kind->close(server);
}

enum status ctl_server_post(struct ctl_server *server, const char *path, const json_t *body,
                            int milliseconds, unsigned *ret_code, json_t **ret_body,
                            struct error *error)
{
    char *text = json_dumps(body, JSON_COMPACT);
    if (text == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    enum status status =
        server->kind->post(server, path, text, milliseconds, ret_code, ret_body, error);
    explicit_bzero(text, malloc_usable_size(text));
    free(text);
    return status;
}
