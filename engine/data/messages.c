/* messages.c - lists of messages in the forms that data sets use.
 *
 * A message is {"role", "content"} or {"from", "value"} (an object, or a text that holds one); a
 * list may instead hold pairs {"human", "assistant"}.  Content may be a list of blocks (text,
 * pictures). Chat Completions' "tool_calls" become messages of the role tool_call. */
#include "data_internal.h"

#define MOST_MESSAGES (1u << 24)

static const struct {
    const char *said, *role;
} roles[] = {
    { "system", "system" },
    { "user", "user" },
    { "human", "user" },
    { "assistant", "assistant" },
    { "gpt", "assistant" },
    { "bot", "assistant" },
    { "tool_call", "tool_call" },
    { "function_call", "tool_call" },
    { "function-call", "tool_call" },
    { "tool_response", "tool_response" },
    { "tool", "tool_response" },
    { "function_response", "tool_response" },
    { "function-response", "tool_response" },
    { "observation", "tool_response" },
    { "observations", "tool_response" },
};

static const char *role_of(const char *said)
{
    for (size_t i = 0; i < APUS_COUNT(roles); i++) {
        if (strcmp(said, roles[i].said) == 0)
            return roles[i].role;
    }
    return NULL;
}

/* Twice the room in the arena; the old block stays until the arena goes. */
static void *grown(apus_arena *arena, const void *items, uint32_t n, uint32_t *room, size_t each)
{
    const uint32_t more = *room ? *room * 2 : 4;
    void *fresh = more > MOST_MESSAGES ? NULL : apus_arena_alloc(arena, more * each);

    if (!fresh)
        return NULL;
    if (n)
        memcpy(fresh, items, n * each);
    *room = more;
    return fresh;
}

apus_status apusi_messages_add(apusi_messages *list, const char *role, const char *content)
{
    char *copy;

    if (list->n == list->room) {
        apus_message *items = grown(list->arena, list->items, list->n, &list->room, sizeof(*items));
        if (!items)
            return APUS_ERR_MEMORY;
        list->items = items;
    }
    copy = apus_arena_strdup(list->arena, content);
    if (!copy)
        return APUS_ERR_MEMORY;
    list->items[list->n++] = (apus_message) { .role = role, .content = copy };
    return APUS_OK;
}

apus_status apusi_messages_add_image(apusi_messages *list, const char *url)
{
    char *copy;

    if (list->n_images == list->images_room) {
        const char **images =
            grown(list->arena, list->images, list->n_images, &list->images_room, sizeof(*images));
        if (!images)
            return APUS_ERR_MEMORY;
        list->images = images;
    }
    copy = apus_arena_strdup(list->arena, url);
    if (!copy)
        return APUS_ERR_MEMORY;
    list->images[list->n_images++] = copy;
    return APUS_OK;
}

/* The JSON text of a value in the arena. */
static apus_status json_in_arena(const cJSON *value, apus_arena *arena, const char **out)
{
    char *text = apus_json_text(value, 0);

    if (!text)
        return APUS_ERR_MEMORY;
    *out = apus_arena_strdup(arena, text);
    apus_free(text);
    return *out ? APUS_OK : APUS_ERR_MEMORY;
}

apus_status apusi_text_of(const cJSON *value, const char *what, apus_arena *arena, const char **out)
{
    *out = NULL;
    if (!value || cJSON_IsNull(value))
        return APUS_OK;
    if (cJSON_IsString(value)) {
        *out = value->valuestring;
        return APUS_OK;
    }
    if (cJSON_IsNumber(value) || cJSON_IsBool(value))
        return json_in_arena(value, arena, out);
    return apus_fail(APUS_ERR_FORMAT, "%s is a %s, not a text", what,
                     cJSON_IsArray(value) ? "list" : "JSON object");
}

/* The address in a block that shows a picture: {"image": U}, {"url": U}, {"image_url": {"url":
 * U}}. */
static const char *block_image(const cJSON *block)
{
    static const char *const keys[] = { "image", "image_url", "url", "path" };

    for (size_t i = 0; i < APUS_COUNT(keys); i++) {
        const cJSON *member = apus_json_get(block, keys[i]);
        if (cJSON_IsString(member))
            return member->valuestring;
        if (cJSON_IsObject(member) && apus_json_string(member, "url", NULL))
            return apus_json_string(member, "url", NULL);
    }
    return NULL;
}

/* A list of blocks as one text, with <image> where a picture stands. */
static apus_status read_blocks(apusi_messages *list, const cJSON *blocks, const char **out)
{
    apus_status st = APUS_OK;
    apus_str text = { 0 };
    const cJSON *block;

    apus_str_add(&text, "");
    cJSON_ArrayForEach(block, blocks)
    {
        const char *type = apus_json_string(block, "type", "");
        if (cJSON_IsString(block)) {
            apus_str_add(&text, block->valuestring);
        } else if (strcmp(type, "text") == 0 && apus_json_string(block, "text", NULL)) {
            apus_str_add(&text, apus_json_string(block, "text", ""));
        } else if ((strcmp(type, "image") == 0 || strcmp(type, "image_url") == 0) &&
                   block_image(block)) {
            apus_str_add(&text, "<image>");
            APUS_TRY(apusi_messages_add_image(list, block_image(block)));
        } else {
            st =
                apus_fail(APUS_ERR_FORMAT, "a content block of the type \"%s\" is not known", type);
            goto fail;
        }
    }
    *out = text.failed ? NULL : apus_arena_strdup(list->arena, text.data);
    if (!*out)
        st = APUS_ERR_MEMORY;

fail:
    apus_str_release(&text);
    return st;
}

/* Chat Completions' calls: {"function": {"name", "arguments": TEXT}} becomes {"name", "arguments"}
 * with the arguments as JSON where they are that. */
static apus_status add_tool_calls(apusi_messages *list, const cJSON *calls)
{
    const cJSON *call;

    cJSON_ArrayForEach(call, calls)
    {
        const cJSON *function = apus_json_get(call, "function");
        cJSON *copy = cJSON_Duplicate(function ? function : call, true), *arguments = NULL;
        const char *written = apus_json_string(copy, "arguments", NULL), *text = NULL;
        apus_status st;

        if (!copy)
            return APUS_ERR_MEMORY;
        if (written &&
            apus_json_parse(&arguments, written, strlen(written), "arguments") == APUS_OK &&
            !cJSON_ReplaceItemInObjectCaseSensitive(copy, "arguments", arguments))
            cJSON_Delete(arguments);
        st = json_in_arena(copy, list->arena, &text);
        cJSON_Delete(copy);
        APUS_FORWARD(st);
        APUS_FORWARD(apusi_messages_add(list, "tool_call", text));
    }
    return APUS_OK;
}

/* The weights that a message may carry. */
static apus_status read_loss(apus_message *message, const cJSON *from)
{
    const cJSON *loss = apus_json_get(from, "loss"), *scale = apus_json_get(from, "loss_scale");

    if (loss) {
        if (!cJSON_IsBool(loss) && !cJSON_IsNumber(loss))
            return apus_fail(APUS_ERR_FORMAT, "its \"loss\" is neither true nor false");
        const bool on = cJSON_IsNumber(loss) ? loss->valuedouble > 0.0 : (bool)cJSON_IsTrue(loss);
        message->loss = on ? APUS_LOSS_TRAIN : APUS_LOSS_MASK;
    }
    if (scale) {
        if (!cJSON_IsNumber(scale) || !(scale->valuedouble >= 0.0 && scale->valuedouble < 1e30))
            return apus_fail(APUS_ERR_FORMAT, "its \"loss_scale\" is not a number >= 0");
        message->has_loss_scale = true;
        message->loss_scale = (float)scale->valuedouble;
    }
    return APUS_OK;
}

/* Member under the second name where both are there, as the reference renames in this order. */
static const cJSON *either(const cJSON *object, const char *first, const char *second)
{
    const cJSON *member = apus_json_get(object, second);

    return member ? member : apus_json_get(object, first);
}

static apus_status read_message(apusi_messages *list, const cJSON *message)
{
    const cJSON *said = either(message, "role", "from");
    const cJSON *content = either(message, "content", "value");
    const cJSON *calls = apus_json_get(message, "tool_calls");
    const char *role, *text = NULL;

    if (!cJSON_IsString(said))
        return apus_fail(APUS_ERR_FORMAT, "it has no \"role\"");
    role = role_of(said->valuestring);
    if (!role)
        return apus_fail(APUS_ERR_FORMAT,
                         "the role \"%.40s\" is not known (system, user, assistant, tool_call, "
                         "tool_response)",
                         said->valuestring);
    if (cJSON_IsArray(content))
        APUS_FORWARD(read_blocks(list, content, &text));
    else if (cJSON_IsObject(content) && strncmp(role, "tool", 4) == 0)
        APUS_FORWARD(json_in_arena(content, list->arena, &text));
    else
        APUS_FORWARD(apusi_text_of(content, "its content", list->arena, &text));
    if (cJSON_IsArray(calls) && calls->child) {
        if (text && *text)
            APUS_FORWARD(apusi_messages_add(list, role, text));
        return add_tool_calls(list, calls);
    }
    if (!text)
        return apus_fail(APUS_ERR_FORMAT, "it has no content");
    APUS_FORWARD(apusi_messages_add(list, role, text));
    return read_loss(&list->items[list->n - 1], message);
}

/* {"human": Q, "assistant": A}, under any of the roles' other names. */
static apus_status read_pair(apusi_messages *list, const cJSON *pair)
{
    const char *user = NULL, *assistant = NULL;

    for (size_t i = 0; i < APUS_COUNT(roles); i++) {
        const char *text = apus_json_string(pair, roles[i].said, NULL);
        if (text && strcmp(roles[i].role, "user") == 0)
            user = text;
        else if (text && strcmp(roles[i].role, "assistant") == 0)
            assistant = text;
    }
    if (!user || !assistant)
        return apus_fail(APUS_ERR_FORMAT,
                         "it has neither role and content nor a question and an answer");
    APUS_FORWARD(apusi_messages_add(list, "user", user));
    return apusi_messages_add(list, "assistant", assistant);
}

/* Name the message in a failure's text. */
static apus_status in_message(apus_status st, uint32_t i)
{
    char *words;

    if (st != APUS_ERR_FORMAT)
        return st;
    words = apus_strdup(apus_error_text());
    if (!words)
        return APUS_ERR_MEMORY;
    st = apus_fail(APUS_ERR_FORMAT, "message %u: %s", i + 1, words);
    apus_free(words);
    return st;
}

static apus_status read_list(apusi_messages *list, const cJSON *value, const char *system)
{
    bool pairs = false;
    uint32_t i = 0;
    const cJSON *item;

    cJSON_ArrayForEach(item, value)
    {
        cJSON *parsed = NULL;
        const cJSON *message = item;
        apus_status st = APUS_OK;

        if (cJSON_IsString(item)) {
            st = apus_json_parse(&parsed, item->valuestring, strlen(item->valuestring), "its text");
            message = parsed;
        }
        if (st == APUS_OK && !cJSON_IsObject(message))
            st = apus_fail(APUS_ERR_FORMAT, "it is not a JSON object");
        if (st == APUS_OK && i == 0) {
            pairs = !either(message, "role", "from") && !either(message, "content", "value");
            const cJSON *said = either(message, "role", "from");
            const bool own = cJSON_IsString(said) && strcmp(said->valuestring, "system") == 0;
            if (system && !own)
                st = apusi_messages_add(list, "system", system);
        }
        if (st == APUS_OK)
            st = pairs ? read_pair(list, message) : read_message(list, message);
        cJSON_Delete(parsed);
        if (st != APUS_OK)
            return in_message(st, i);
        i++;
    }
    return APUS_OK;
}

apus_status apusi_messages_read(apusi_messages *list, const cJSON *value, const char *system)
{
    cJSON *parsed = NULL;
    apus_status st = APUS_OK;

    if (cJSON_IsString(value)) {
        st = apus_json_parse(&parsed, value->valuestring, strlen(value->valuestring), "messages");
        value = parsed;
    }
    if (st == APUS_OK && !cJSON_IsArray(value))
        st = apus_fail(APUS_ERR_FORMAT, "its messages are not a list");
    else if (st == APUS_OK && !value->child)
        st = apus_fail(APUS_ERR_FORMAT, "its list of messages is empty");
    if (st == APUS_OK)
        st = read_list(list, value, system);
    cJSON_Delete(parsed);
    return st;
}

apus_status apusi_messages_history(apusi_messages *list, const cJSON *history)
{
    cJSON *parsed = NULL;
    const cJSON *pair;
    apus_status st = APUS_OK;

    if (cJSON_IsString(history)) {
        APUS_FORWARD(apus_json_parse(&parsed, history->valuestring, strlen(history->valuestring),
                                     "history"));
        history = parsed;
    }
    if (!cJSON_IsArray(history)) {
        st = apus_fail(APUS_ERR_FORMAT, "its history is not a list of pairs");
        goto fail;
    }
    cJSON_ArrayForEach(pair, history)
    {
        const char *texts[2] = { NULL, NULL };
        if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2) {
            st = apus_fail(APUS_ERR_FORMAT, "its history is not a list of pairs");
            goto fail;
        }
        for (int i = 0; i < 2; i++) {
            APUS_TRY(apusi_text_of(cJSON_GetArrayItem(pair, i), "a turn of its history",
                                   list->arena, &texts[i]));
            if (texts[i])
                APUS_TRY(apusi_messages_add(list, i == 0 ? "user" : "assistant", texts[i]));
        }
    }

fail:
    cJSON_Delete(parsed);
    return st;
}
