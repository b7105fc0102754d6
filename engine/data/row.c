/* row.c - one JSON object of a data set as a row: which columns mean what.
 *
 * First --columns renames; then a row with a column of messages is a conversation; one with both
 * `instruction` and `input` is alpaca; anything else is query and response under one of their known
 * names.  Where two columns could be the same thing, the exact name wins; without one, neither is
 * taken (the reference's rule), and the failure says so. */
#include <ctype.h>

#include "data_internal.h"

typedef enum target { MESSAGES, SYSTEM, QUERY, RESPONSE, IMAGES, TARGETS } target;

/* The first name of each list is the exact one. */
static const char *const names[TARGETS][14] = {
    [MESSAGES] = { "messages", "conversation", "conversations" },
    [SYSTEM] = { "system", "system_prompt" },
    [QUERY] = { "query", "prompt", "input", "instruction", "question", "problem" },
    [RESPONSE] = { "response", "answer", "output", "targets", "target", "answer_key", "answers",
                   "solution", "text", "completion", "content" },
    [IMAGES] = { "images", "image" },
};

/* Columns that are not "extra" although no message is made of them. */
static const char *const standard[] = {
    "history", "rejected_response", "rejected_messages", "tools", "label", "margin", "channel",
};

typedef struct reader {
    const cJSON *object;
    const apusi_row_rules *rules;
    apusi_messages list;
    target ambiguous; /* TARGETS: none so far */
} reader;

static bool same_fold(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
    }
    return *a == *b;
}

/* The name of a column after --columns. */
static const char *column_name(const reader *r, const cJSON *column)
{
    for (size_t i = 0; i < r->rules->n_columns; i++) {
        if (same_fold(column->string, r->rules->columns[i].from))
            return r->rules->columns[i].to;
    }
    return column->string;
}

/* The column of exactly this name, null ones included; NULL if there is none. */
static const cJSON *column_exact(const reader *r, const char *name)
{
    const cJSON *column;

    cJSON_ArrayForEach(column, r->object)
    {
        if (strcmp(column_name(r, column), name) == 0)
            return column;
    }
    return NULL;
}

static const cJSON *not_null(const cJSON *column)
{
    return column && !cJSON_IsNull(column) ? column : NULL;
}

static bool is_name_of(target t, const char *name)
{
    for (size_t i = 0; i < APUS_COUNT(names[t]) && names[t][i]; i++) {
        if (same_fold(name, names[t][i]))
            return true;
    }
    return false;
}

/* The one column that stands for `t`. */
static const cJSON *column_of(reader *r, target t)
{
    const cJSON *column, *found = NULL, *exact = not_null(column_exact(r, names[t][0]));
    size_t n = 0;

    if (exact || !r->rules->auto_columns)
        return exact;
    cJSON_ArrayForEach(column, r->object)
    {
        if (not_null(column) && is_name_of(t, column_name(r, column))) {
            found = column;
            n++;
        }
    }
    if (n > 1)
        r->ambiguous = t;
    return n == 1 ? found : NULL;
}

static apus_status text_of(reader *r, const cJSON *column, const char **out)
{
    const cJSON *value = column;

    /* A list of answers stands for its first. */
    if (cJSON_IsArray(column))
        value = column->child;
    return apusi_text_of(value, column ? column->string : "", r->list.arena, out);
}

/* instruction and input, joined by a line feed where both say something. */
static apus_status alpaca_query(reader *r, const char **out)
{
    const char *instruction, *input;

    APUS_FORWARD(
        apusi_text_of(column_exact(r, "instruction"), "instruction", r->list.arena, &instruction));
    APUS_FORWARD(apusi_text_of(column_exact(r, "input"), "input", r->list.arena, &input));
    *out = instruction && *instruction ? instruction : input;
    if (!*out)
        return apus_fail(APUS_ERR_FORMAT, "its instruction and input are both empty");
    if (*out == instruction && input && *input) {
        *out = apus_arena_format(r->list.arena, "%s\n%s", instruction, input);
        if (!*out)
            return APUS_ERR_MEMORY;
    }
    return APUS_OK;
}

static apus_status no_messages(const reader *r)
{
    apus_status st;
    apus_str columns = { 0 };
    const cJSON *column;

    if (r->ambiguous != TARGETS)
        return apus_fail(APUS_ERR_FORMAT,
                         "several of its columns could be the %s; say which by --columns",
                         names[r->ambiguous][0]);
    cJSON_ArrayForEach(column, r->object)
        apus_str_addf(&columns, "%s%.40s", columns.len ? ", " : "", column->string);
    st = apus_fail(APUS_ERR_FORMAT,
                   "none of its columns (%.200s) is messages, query, response or text",
                   columns.data ? columns.data : "none");
    apus_str_release(&columns);
    return st;
}

static apus_status read_response_row(reader *r, bool alpaca)
{
    const cJSON *history = not_null(column_exact(r, "history"));
    const cJSON *answer = not_null(alpaca ? column_exact(r, "output") : NULL);
    const char *system, *query, *response;

    APUS_FORWARD(apusi_text_of(column_of(r, SYSTEM), "system", r->list.arena, &system));
    if (alpaca)
        APUS_FORWARD(alpaca_query(r, &query));
    else
        APUS_FORWARD(text_of(r, column_of(r, QUERY), &query));
    APUS_FORWARD(text_of(r, answer ? answer : column_of(r, RESPONSE), &response));
    if (system)
        APUS_FORWARD(apusi_messages_add(&r->list, "system", system));
    if (history)
        APUS_FORWARD(apusi_messages_history(&r->list, history));
    if (query)
        APUS_FORWARD(apusi_messages_add(&r->list, "user", query));
    if (response)
        APUS_FORWARD(apusi_messages_add(&r->list, "assistant", response));
    return query || response || r->list.n ? APUS_OK : no_messages(r);
}

static apus_status read_conversation(reader *r)
{
    const char *system = NULL;
    const bool alpaca = column_exact(r, "instruction") && column_exact(r, "input");
    bool has_messages = false;

    for (size_t i = 0; names[MESSAGES][i]; i++)
        has_messages = has_messages || not_null(column_exact(r, names[MESSAGES][i]));
    if (!has_messages)
        return read_response_row(r, alpaca);
    const cJSON *messages = column_of(r, MESSAGES);
    if (!messages)
        return no_messages(r);
    APUS_FORWARD(apusi_text_of(column_of(r, SYSTEM), "system", r->list.arena, &system));
    return apusi_messages_read(&r->list, messages, system);
}

/* {"path": P} (with null bytes), a text, or a list of them. */
static apus_status read_images(reader *r, const cJSON *images)
{
    const cJSON *image = cJSON_IsArray(images) ? images->child : images;

    for (; image; image = cJSON_IsArray(images) ? image->next : NULL) {
        const char *url =
            cJSON_IsString(image) ? image->valuestring : apus_json_string(image, "path", NULL);
        if (!url)
            return apus_fail(APUS_ERR_FORMAT, "one of its images has no path");
        APUS_FORWARD(apusi_messages_add_image(&r->list, url));
    }
    return APUS_OK;
}

/* The rejected conversation: in full, or what replaces everything after the last question. */
static apus_status read_rejected(reader *r, apus_data_row *row)
{
    const cJSON *whole = not_null(column_exact(r, "rejected_messages"));
    const cJSON *answer = column_exact(r, "rejected_response");
    apusi_messages list = { .arena = r->list.arena };
    uint32_t keep = row->n_messages;

    if (!whole && !answer)
        return APUS_OK;
    if (whole) {
        APUS_FORWARD(apusi_messages_read(&list, whole, NULL));
    } else {
        if (cJSON_IsNull(answer))
            return apus_fail(APUS_ERR_FORMAT, "its rejected_response is null");
        while (keep > 0 && strcmp(row->messages[keep - 1].role, "user") != 0 &&
               strcmp(row->messages[keep - 1].role, "tool_response") != 0)
            keep--;
        if (cJSON_IsString(answer) &&
            strcmp(answer->valuestring, row->messages[row->n_messages - 1].content) == 0)
            return apus_fail(APUS_ERR_FORMAT, "its rejected response equals the chosen one");
        for (uint32_t i = 0; i < keep; i++)
            APUS_FORWARD(
                apusi_messages_add(&list, row->messages[i].role, row->messages[i].content));
        if (cJSON_IsArray(answer))
            APUS_FORWARD(apusi_messages_read(&list, answer, NULL));
        else if (cJSON_IsString(answer))
            APUS_FORWARD(apusi_messages_add(&list, "assistant", answer->valuestring));
        else
            return apus_fail(APUS_ERR_FORMAT, "its rejected_response is neither text nor a list");
    }
    row->rejected = list.items;
    row->n_rejected = list.n;
    return APUS_OK;
}

static apus_status read_labels(reader *r, apus_data_row *row)
{
    const cJSON *label = not_null(column_exact(r, "label"));
    const cJSON *item = cJSON_IsArray(label) ? label->child : label;
    const int n = cJSON_IsArray(label) ? cJSON_GetArraySize(label) : label ? 1 : 0;
    double *labels;

    if (n == 0)
        return APUS_OK;
    labels = apus_arena_alloc(r->list.arena, (size_t)n * sizeof(*labels));
    if (!labels)
        return APUS_ERR_MEMORY;
    for (int i = 0; i < n; i++, item = item->next) {
        if (cJSON_IsBool(item))
            labels[i] = cJSON_IsTrue(item) ? 1.0 : 0.0;
        else if (cJSON_IsNumber(item))
            labels[i] = item->valuedouble;
        else
            return APUS_OK; /* a label of another kind is for nobody here */
    }
    row->labels = labels;
    row->n_labels = (uint32_t)n;
    return APUS_OK;
}

static apus_status arena_json(reader *r, const cJSON *value, const char **out)
{
    char *text = apus_json_text(value, 0);

    if (!text)
        return APUS_ERR_MEMORY;
    *out = apus_arena_strdup(r->list.arena, text);
    apus_free(text);
    return *out ? APUS_OK : APUS_ERR_MEMORY;
}

/* A column that became a message, a picture or a member of the row. */
static bool is_known(const reader *r, const cJSON *column)
{
    const char *name = column_name(r, column);

    for (size_t i = 0; i < APUS_COUNT(standard); i++) {
        if (strcmp(name, standard[i]) == 0)
            return true;
    }
    /* Reward functions read the solution although it may also be the response. */
    if (strcmp(name, "solution") == 0)
        return false;
    for (target t = 0; t < TARGETS; t++) {
        if (is_name_of(t, name))
            return true;
    }
    return false;
}

static apus_status read_extra(reader *r, apus_data_row *row)
{
    cJSON *extra = cJSON_CreateObject();
    const cJSON *column;
    apus_status st = extra ? APUS_OK : APUS_ERR_MEMORY;

    cJSON_ArrayForEach(column, r->object)
    {
        if (st != APUS_OK || is_known(r, column))
            continue;
        cJSON *copy = cJSON_Duplicate(column, true);
        if (!copy || !cJSON_AddItemToObject(extra, column_name(r, column), copy)) {
            cJSON_Delete(copy);
            st = APUS_ERR_MEMORY;
        }
    }
    if (st == APUS_OK && extra->child)
        st = arena_json(r, extra, &row->extra);
    cJSON_Delete(extra);
    return st;
}

static bool is_answer(const apus_message *m)
{
    return strcmp(m->role, "assistant") == 0 || strcmp(m->role, "tool_call") == 0;
}

/* Whether training would find something: an answer that is not masked, or a last answer, whose end
 * mark is trained even where the answer is masked. */
static bool has_answer(const apus_data_row *row)
{
    for (uint32_t i = 0; i < row->n_messages; i++) {
        if (is_answer(&row->messages[i]) &&
            (row->messages[i].loss != APUS_LOSS_MASK || i + 1 == row->n_messages))
            return true;
    }
    return false;
}

apus_status apusi_row_read(apus_data_row *row, const cJSON *object, const apusi_row_rules *rules,
                           apus_arena *arena)
{
    reader r = {
        .object = object,
        .rules = rules,
        .list = { .arena = arena },
        .ambiguous = TARGETS,
    };
    const cJSON *column;

    *row = (apus_data_row) { 0 };
    if (!cJSON_IsObject(object))
        return apus_fail(APUS_ERR_FORMAT, "it is not a JSON object");
    APUS_FORWARD(read_conversation(&r));
    column = column_of(&r, IMAGES);
    if (column)
        APUS_FORWARD(read_images(&r, column));
    row->messages = r.list.items;
    row->n_messages = r.list.n;
    row->images = r.list.images;
    row->n_images = r.list.n_images;
    APUS_FORWARD(read_rejected(&r, row));
    APUS_FORWARD(read_labels(&r, row));
    column = not_null(column_exact(&r, "tools"));
    if (cJSON_IsString(column)) {
        row->tools = apus_arena_strdup(arena, column->valuestring);
        if (!row->tools)
            return APUS_ERR_MEMORY;
    } else if (column) {
        APUS_FORWARD(arena_json(&r, column, &row->tools));
    }
    column = not_null(column_exact(&r, "channel"));
    if (cJSON_IsString(column)) {
        row->channel = apus_arena_strdup(arena, column->valuestring);
        if (!row->channel)
            return APUS_ERR_MEMORY;
    }
    column = column_exact(&r, "margin");
    row->has_margin = cJSON_IsNumber(column);
    row->margin = row->has_margin ? column->valuedouble : 0.0;
    row->answered = has_answer(row);
    return rules->keep_extra ? read_extra(&r, row) : APUS_OK;
}
