/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl key-manager ...: where root keys are kept, and how that is. */
#include "daemon/control_key_manager.h"

#include "daemon/key_managers.h"
#include "keymanager/keyholder_client.h"
#include "upkeep/upkeep.h"

/* What upkeep has seen at its last look at the root keys of this key manager's adapters. */
struct survey {
    struct control_call *call;
    enum keymanager_code code;
    int64_t adapters;
    int64_t unavailable; /* of those, whose root key is not active or not known to be */
    int64_t checked;     /* the oldest look */
    struct upkeep_records records;
    char text[256];
};

static void add_root_key(struct survey *survey, const struct adapter_row *row)
{
    struct upkeep_root_key seen = {0};
    if (upkeep_root_key(survey->call->daemon->upkeep, &row->root_key, &seen) != STATUS_OK)
        return;
    if (survey->checked == 0 || seen.checked < survey->checked)
        survey->checked = seen.checked;
    if (seen.status == STATUS_OK)
        return;
    survey->unavailable++;
    (void)snprintf(survey->text, sizeof(survey->text), "%s", seen.text);
}

static void add_records(struct survey *survey, const struct adapter_row *row)
{
    struct upkeep_records one = {0};
    if (upkeep_records_state(survey->call->daemon->upkeep, &row->uuid, &one) != STATUS_OK)
        return;
    survey->records.recorded += one.recorded;
    survey->records.due += one.due;
    survey->records.withdrawn += one.withdrawn;
    survey->records.unknown += one.unknown;
}

static bool survey_adapter(void *context, const struct adapter_row *row)
{
    struct survey *survey = context;
    if (row->key_manager != survey->code)
        return true;
    survey->adapters++;
    add_root_key(survey, row);
    add_records(survey, row);
    return true;
}

static void put_keyholder(struct control_call *call, json_t *object)
{
    struct keyholder_status status;
    keyholder_status(call->daemon->keyholder, &status);
    control_put_number(object, "process", status.pid);
    control_put_number(object, "restarts", status.starts > 0 ? (int64_t)status.starts - 1 : 0);
    control_put_number(object, "unwraps", (int64_t)status.counters.unwraps);
    control_put_number(object, "in_flight", (int64_t)status.in_flight);
}

static void put_records(json_t *object, const struct upkeep_records *records)
{
    control_put_number(object, "recorded", records->recorded);
    control_put_number(object, "records_due", records->due);
    control_put_number(object, "withdrawn", records->withdrawn);
    control_put_number(object, "unknown_records", records->unknown);
}

static enum status put_one(struct control_call *call, enum keymanager_code code, json_t *object)
{
    struct survey survey = {.call = call, .code = code};
    enum status status = store_adapters(call->session, survey_adapter, &survey);
    control_put_text(object, "name", keymanager_code_name(code));
    (void)json_object_set_new(
        object, "default", json_boolean(code == key_managers_default(&call->daemon->config)));
    control_put_text(object, "health", survey.unavailable > 0 ? survey.text : "well");
    control_put_number(object, "adapters", survey.adapters);
    if (survey.checked > 0)
        control_put_time(object, "checked", survey.checked);
    if (code == KEYMANAGER_SEALED_FILE || code == KEYMANAGER_PKCS11)
        put_keyholder(call, object);
    if (keymanager_keeps_records(keymanagers_get(&call->daemon->keymanagers, code)))
        put_records(object, &survey.records);
    return status;
}

json_t *control_make_key_managers(struct control_call *call)
{
    json_t *array = json_array();
    for (int code = 1; code <= KEYMANAGER_CODE_MAX; code++) {
        json_t *entry = json_object();
        if (keymanagers_get(&call->daemon->keymanagers, (enum keymanager_code)code) != NULL &&
            put_one(call, (enum keymanager_code)code, entry) == STATUS_OK)
            (void)json_array_append(array, entry);
        json_decref(entry);
    }
    return array;
}

enum status control_key_manager_list(struct control_call *call)
{
    (void)json_object_set_new(call->result, "key_managers", control_make_key_managers(call));
    return STATUS_OK;
}

enum status control_key_manager_check(struct control_call *call)
{
    struct error error = {0};
    const char *name = control_text(call, "name");
    enum keymanager_code code = keymanager_code_by_name(name);
    struct keymanager *keymanager = keymanagers_get(&call->daemon->keymanagers, code);
    if (keymanager == NULL)
        return error_set(call->error, STATUS_NOT_FOUND,
                         "there is no key manager '%.40s' here; kmipctl key-manager list shows "
                         "which there are",
                         name);
    enum status status = put_one(call, code, call->result);
    if (status != STATUS_OK)
        return status;
    enum status checked = keymanager_check(keymanager, &error);
    if (checked != STATUS_OK && error.text[0] == '\0')
        (void)error_set(&error, checked, "%s", status_text(checked));
    control_put_text(call->result, "answer", checked == STATUS_OK ? "well" : error_text(&error));
    return STATUS_OK;
}
