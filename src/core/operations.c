/* SPDX-License-Identifier: Apache-2.0 */
#include "core/request.h"

const struct operation operations[] = {
    {KMIP_OPERATION_CREATE, operation_create},
    {KMIP_OPERATION_REGISTER, operation_register},
    {KMIP_OPERATION_RE_KEY, operation_rekey},
    {KMIP_OPERATION_LOCATE, operation_locate},
    {KMIP_OPERATION_CHECK, operation_check},
    {KMIP_OPERATION_GET, operation_get},
    {KMIP_OPERATION_GET_ATTRIBUTES, operation_get_attributes},
    {KMIP_OPERATION_GET_ATTRIBUTE_LIST, operation_get_attribute_list},
    {KMIP_OPERATION_ADD_ATTRIBUTE, operation_add_attribute},
    {KMIP_OPERATION_MODIFY_ATTRIBUTE, operation_modify_attribute},
    {KMIP_OPERATION_DELETE_ATTRIBUTE, operation_delete_attribute},
    {KMIP_OPERATION_ACTIVATE, operation_activate},
    {KMIP_OPERATION_REVOKE, operation_revoke},
    {KMIP_OPERATION_DESTROY, operation_destroy},
    {KMIP_OPERATION_QUERY, operation_query},
    {KMIP_OPERATION_DISCOVER_VERSIONS, operation_discover_versions},
};
const size_t operation_count = ARRAY_COUNT(operations);

const struct operation *operation_by_code(uint32_t code)
{
    for (size_t i = 0; i < ARRAY_COUNT(operations); i++)
        if (operations[i].code == code)
            return &operations[i];
    return NULL;
}
