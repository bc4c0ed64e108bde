/* SPDX-License-Identifier: Apache-2.0 */
/* GET and HEAD /keys: pages, search, sort, filter. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/keys.h"

#define LIST_MAX         5000
#define LIST_DEFAULT     200
#define TEXT_MAX         4096
#define PER_PROPERTY_MAX 3

static const struct {
    const char *name;
    enum kms_property property;
} properties[] = {
    {"id", KMS_BY_ID},
    {"state", KMS_BY_STATE},
    {"extractable", KMS_BY_EXTRACTABLE},
    {"imported", KMS_BY_IMPORTED},
    {"creationDate", KMS_BY_CREATION},
    {"lastUpdateDate", KMS_BY_UPDATE},
    {"lastRotateDate", KMS_BY_ROTATION},
    {"deletionDate", KMS_BY_DELETION},
    {"expirationDate", KMS_BY_EXPIRATION},
};
#define PROPERTY_COUNT ARRAY_COUNT(properties)

/* A list being asked for. */
struct wish {
    struct kms_key_query query;
    char search[TEXT_MAX]; /* as it came; query.search.text points into it */
    bool state_given;
    bool extractable_given;
    unsigned counts[PROPERTY_COUNT]; /* conditions of each property */
    char rings[KMS_RINGS_MAX][KMS_KEY_RING_MAX + 1];
    const char *ring_names[KMS_RINGS_MAX];
    size_t ring_count;
};

static bool refuse(struct api_call *call, const char *parameter)
{
    api_fail(call, API_INVALID_QUERY_PARAM_ERR, "query_param", parameter);
    return false;
}

static int find_property(const char *name, size_t length)
{
    for (size_t i = 0; i < PROPERTY_COUNT; i++)
        if (strlen(properties[i].name) == length && memcmp(properties[i].name, name, length) == 0)
            return (int)i;
    return -1;
}

/* ---- Numbers of states ---- */

/* "0,1,2" as bits. */
static bool parse_states(const char *text, unsigned *ret_states)
{
    unsigned states = 0;
    for (;; text += 2) {
        if (text[0] < '0' || text[0] > '5' || text[0] == '4' || (text[1] != ',' && text[1] != '\0'))
            return false;
        states |= 1u << (text[0] - '0');
        if (text[1] == '\0')
            break;
    }
    *ret_states = states;
    return true;
}

static bool read_states(struct api_call *call, struct wish *wish)
{
    char text[64];
    wish->query.states = KMS_STATES_LISTED;
    wish->state_given = api_query(call, "state", text, sizeof(text));
    if (call->error != API_OK)
        return false;
    return !wish->state_given || parse_states(text, &wish->query.states) || refuse(call, "state");
}

static bool read_extractable(struct api_call *call, struct wish *wish)
{
    char text[8];
    bool extractable;
    wish->query.extractable = -1;
    wish->extractable_given = api_query(call, "extractable", text, sizeof(text));
    if (!wish->extractable_given)
        return call->error == API_OK;
    if (!api_query_flag(call, "extractable", false, &extractable))
        return false;
    wish->query.extractable = extractable;
    return true;
}

/* ---- Search ---- */

static bool take_word(char **text, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(*text, word, length) != 0)
        return false;
    *text += length;
    return true;
}

/* The options before the text, in any order; what is behind "escape:" is text whatever it is. */
static void parse_search(char *text, struct kms_search *search)
{
    for (;;) {
        if (take_word(&text, "not:"))
            search->negated = true;
        else if (take_word(&text, "exact:"))
            search->exact = true;
        else if (take_word(&text, "name:"))
            search->names = true;
        else if (take_word(&text, "alias:"))
            search->aliases = true;
        else
            break;
    }
    (void)take_word(&text, "escape:");
    if (!search->names && !search->aliases) {
        search->names = true;
        search->aliases = true;
    }
    search->text = text;
}

/* Go's client puts a comma behind what it searches for. */
static bool read_search(struct api_call *call, struct wish *wish)
{
    if (!api_query(call, "search", wish->search, sizeof(wish->search)))
        return call->error == API_OK;
    size_t length = strlen(wish->search);
    if (wish->search[length - 1] == ',')
        wish->search[length - 1] = '\0';
    if (wish->search[0] == '\0')
        return true;
    parse_search(wish->search, &wish->query.search);
    return wish->query.search.text[0] != '\0' || refuse(call, "search");
}

/* ---- Sort ---- */

static bool read_sort(struct api_call *call, struct wish *wish)
{
    char text[512];
    struct kms_key_query *query = &wish->query;
    if (!api_query(call, "sort", text, sizeof(text)))
        return call->error == API_OK;
    for (char *rest = text; rest != NULL;) {
        char *word = strsep(&rest, ",");
        bool descending = word[0] == '-';
        int found = find_property(word + descending, strlen(word + descending));
        if (word[0] == '\0')
            continue;
        if (found < 0 || query->sort_count == KMS_SORT_MAX)
            return refuse(call, "sort");
        query->sort[query->sort_count].property = properties[found].property;
        query->sort[query->sort_count++].descending = descending;
    }
    return true;
}

/* ---- Filter ---- */

static bool take_operator(const char **text, enum kms_operator *ret_operator)
{
    static const struct {
        const char *word;
        enum kms_operator operator;
    } operators[] = {
        {"lte:", KMS_LESS_OR_EQUAL},
        {"lt:", KMS_LESS},
        {"gte:", KMS_GREATER_OR_EQUAL},
        {"gt:", KMS_GREATER},
    };
    *ret_operator = KMS_EQUAL;
    for (size_t i = 0; i < ARRAY_COUNT(operators); i++) {
        size_t length = strlen(operators[i].word);
        if (strncmp(*text, operators[i].word, length) != 0)
            continue;
        *text += length;
        *ret_operator = operators[i].operator;
        return true;
    }
    return false;
}

static bool parse_number(const char *text, int64_t *ret_value)
{
    char *end;
    errno = 0;
    intmax_t value = strtoimax(text, &end, 10);
    *ret_value = value;
    return text[0] >= '0' && text[0] <= '9' && errno == 0 && *end == '\0';
}

static bool parse_flag(const char *text, int64_t *ret_value)
{
    *ret_value = strcasecmp(text, "true") == 0;
    return *ret_value != 0 || strcasecmp(text, "false") == 0;
}

/* A value of the property's kind, without the quotes around it. */
static bool parse_value(const char *text, struct kms_condition *condition)
{
    switch (condition->property) {
    case KMS_BY_ID:
        return false;
    case KMS_BY_STATE:
        return parse_number(text, &condition->value) && condition->value <= 5;
    case KMS_BY_EXTRACTABLE:
    case KMS_BY_IMPORTED:
        return condition->operator== KMS_EQUAL && parse_flag(text, &condition->value);
    default:
        break;
    }
    if (condition->operator== KMS_EQUAL && strcmp(text, "none") == 0) {
        condition->operator= KMS_NONE;
        return true;
    }
    return api_parse_time(text, &condition->value);
}

/* "state" without an operator may have several: it is kept as bits, as the parameter is. */
static bool filter_states(struct wish *wish, const char *text, const struct kms_condition *last)
{
    unsigned states = 0;
    if (last->operator!= KMS_EQUAL || !parse_states(text, &states))
        return false;
    wish->query.states &= states;
    return wish->query.states != 0;
}

/* One `prop=[op:]value`. */
static bool parse_condition(struct wish *wish, const char *text)
{
    struct kms_key_query *query = &wish->query;
    const char *equals = strchr(text, '=');
    int found = equals == NULL ? -1 : find_property(text, (size_t)(equals - text));
    if (found < 0 || ++wish->counts[found] > PER_PROPERTY_MAX)
        return false;
    struct kms_condition condition = {.property = properties[found].property};
    const char *value = equals + 1;
    (void)take_operator(&value, &condition.operator);
    if ((condition.property == KMS_BY_STATE && wish->state_given) ||
        (condition.property == KMS_BY_EXTRACTABLE && wish->extractable_given))
        return false;
    if (condition.property == KMS_BY_STATE && wish->counts[found] == 1)
        query->states = 0x2F; /* what is filtered for is not left out */
    if (condition.property == KMS_BY_STATE && condition.operator== KMS_EQUAL)
        return filter_states(wish, value, &condition);
    if (!parse_value(value, &condition) || query->condition_count == KMS_CONDITIONS_MAX)
        return false;
    query->conditions[query->condition_count++] = condition;
    return true;
}

/* Takes the next word, without quotes; blanks within quotes are its own. NULL at the end. */
static char *next_word(char **rest)
{
    char *from = *rest + strspn(*rest, " ");
    if (*from == '\0')
        return NULL;
    char *to = from;
    char *word = from;
    bool quoted = false;
    for (; *from != '\0' && (quoted || *from != ' '); from++) {
        if (*from == '"')
            quoted = !quoted;
        else
            *to++ = *from;
    }
    *rest = from + (*from == ' ');
    *to = '\0';
    return quoted ? from : word; /* one without its end is empty, and so none */
}

static bool read_filter(struct api_call *call, struct wish *wish)
{
    char text[TEXT_MAX];
    char *rest = text;
    char *word;
    if (!api_query(call, "filter", text, sizeof(text)))
        return call->error == API_OK;
    while ((word = next_word(&rest)) != NULL)
        if (!parse_condition(wish, word))
            return refuse(call, "filter");
    return true;
}

/* ---- Key rings ---- */

struct ring_choice {
    const struct api_call *call;
    struct wish *wish;
};

static bool add_ring(void *context, const struct kms_ring *ring)
{
    struct ring_choice *choice = context;
    struct wish *wish = choice->wish;
    if (!api_may(choice->call, choice->call->roles, ring->id, NULL))
        return true;
    (void)snprintf(wish->rings[wish->ring_count], sizeof(wish->rings[0]), "%s", ring->id);
    return ++wish->ring_count < KMS_RINGS_MAX;
}

/* Those that the caller may see: the one of the header, or all in which he has a role. */
static bool choose_rings(struct api_call *call, struct wish *wish)
{
    struct ring_choice choice = {call, wish};
    if (call->request->key_ring.size > 0) {
        if (!keys_ring_header(call, "", wish->rings[0]) ||
            !api_require(call, call->roles, wish->rings[0], NULL))
            return false;
        wish->ring_count = 1;
    } else if (!api_may(call, call->roles, NULL, NULL)) {
        enum status status = kms_rings(call->context->kms, add_ring, &choice);
        if (status != STATUS_OK) {
            api_fail_status(call, status, NULL);
            return false;
        }
        if (wish->ring_count == 0) /* of a role for an adapter, say */
            return api_require(call, call->roles, NULL, NULL);
    }
    for (size_t i = 0; i < wish->ring_count; i++)
        wish->ring_names[i] = wish->rings[i];
    wish->query.rings = wish->ring_names;
    wish->query.ring_count = wish->ring_count;
    return true;
}

/* ---- Answers ---- */

struct page {
    const struct api_call *call;
    json_t *keys;
    bool full; /* no memory for another one */
};

/* Settling costs nothing, so that a key shows the same state wherever it is read. */
static bool add_key(void *context, const struct kms_key *key)
{
    struct page *page = context;
    struct kms_key settled = *key;
    keys_settle(&settled, page->call->now);
    page->full = json_array_append_new(page->keys, keys_json(page->call, &settled)) != 0;
    return !page->full;
}

static json_t *search_json(const struct kms_search *search)
{
    json_t *object = json_pack("{s:s,s:[],s:b,s:b}", "query", search->text, "scopes", "not",
                               search->negated, "exact", search->exact);
    json_t *scopes = json_object_get(object, "scopes");
    if (search->names)
        (void)json_array_append_new(scopes, json_string("name"));
    if (search->aliases)
        (void)json_array_append_new(scopes, json_string("alias"));
    return object;
}

static void answer(struct api_call *call, const struct wish *wish, json_t *keys)
{
    if (wish->query.search.text == NULL) {
        api_reply_resources(call, 200, "key", keys, -1);
        return;
    }
    json_t *metadata = json_object();
    (void)keys_set(&metadata, "collectionType", json_string(KEYS_TYPE));
    (void)keys_set(&metadata, "collectionTotal", json_integer((json_int_t)json_array_size(keys)));
    (void)keys_set(&metadata, "incompleteSearch", json_false());
    (void)keys_set(&metadata, "searchQuery", search_json(&wish->query.search));
    json_t *value = json_object();
    (void)keys_set(&value, "metadata", metadata);
    (void)keys_set(&value, "resources", keys);
    api_reply_value(call, 200, "key", value);
}

static void answer_failure(struct api_call *call, enum status status)
{
    if (status == STATUS_TOO_LARGE)
        api_fail(call, API_KEY_SEARCH_TOO_BROAD, "query_param", "search");
    else
        api_fail_status(call, status, NULL);
}

static void list(struct api_call *call, struct wish *wish)
{
    struct page page = {.call = call, .keys = json_array()};
    int64_t total = 0;
    enum status status = page.keys == NULL
                             ? STATUS_NO_MEMORY
                             : kms_keys(call->context->kms, &wish->query, add_key, &page, &total);
    if (status == STATUS_OK && page.full)
        status = STATUS_NO_MEMORY;
    if (status != STATUS_OK) {
        json_decref(page.keys);
        answer_failure(call, status);
        return;
    }
    call->response->key_total = total;
    answer(call, wish, page.keys);
}

static bool read_wish(struct api_call *call, struct wish *wish)
{
    return api_query_number(call, "limit", 1, LIST_MAX, LIST_DEFAULT, &wish->query.limit) &&
           api_query_number(call, "offset", 0, INT64_MAX, 0, &wish->query.offset) &&
           read_states(call, wish) && read_extractable(call, wish) && read_search(call, wish) &&
           read_sort(call, wish) && read_filter(call, wish) && choose_rings(call, wish);
}

static void run(struct api_call *call, void (*answer_to)(struct api_call *, struct wish *))
{
    struct wish *wish = calloc(1, sizeof(*wish));
    if (wish == NULL)
        api_fail_status(call, STATUS_NO_MEMORY, NULL);
    else if (read_wish(call, wish))
        answer_to(call, wish);
    free(wish);
}

void api_keys_list(struct api_call *call)
{
    run(call, list);
}

static void count(struct api_call *call, struct wish *wish)
{
    int64_t total = 0;
    enum status status = kms_keys(call->context->kms, &wish->query, NULL, NULL, &total);
    if (status != STATUS_OK) {
        answer_failure(call, status);
        return;
    }
    call->response->key_total = total;
    api_reply_empty(call, 200);
}

void api_keys_head(struct api_call *call)
{
    run(call, count);
}
