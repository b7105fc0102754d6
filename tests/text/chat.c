/* chat.c - conversations against recorded encodings: 16 conversations in 9 settings by a real
 * model's vocabulary, and the template table's rows against recorded renderings. */
#include <stdio.h>

#include "apus/text.h"
#include "recorded.h"
#include "text_internal.h"

#define MOST_MESSAGES 16

static size_t read_messages(apus_message *messages, const cJSON *list)
{
    const cJSON *m;
    size_t n = 0;

    cJSON_ArrayForEach(m, list)
    {
        const cJSON *loss = apus_json_get(m, "loss");

        messages[n++] = (apus_message) {
            .role = apus_json_string(m, "role", NULL),
            .content = apus_json_string(m, "content", NULL),
            .loss = !loss                ? APUS_LOSS_UNSET
                    : cJSON_IsTrue(loss) ? APUS_LOSS_TRAIN
                                         : APUS_LOSS_MASK,
        };
    }
    return n;
}

static bool same(const cJSON *want, const void *got, size_t n, bool is_signed)
{
    const cJSON *value;
    size_t i = 0;

    cJSON_ArrayForEach(value, want)
    {
        if (i >= n)
            return false;
        const double number =
            is_signed ? (double)((const int32_t *)got)[i] : (double)((const uint32_t *)got)[i];
        if (number != value->valuedouble)
            return false;
        i++;
    }
    return i == n;
}

static apus_tokenizer *real_tokenizer(void)
{
    apus_tokenizer *t = NULL;
    const char *folder = harness_real_data("smollm2");
    char *path = folder ? apus_path_join(folder, "SmolLM2-135M-Instruct.Q4_1.gguf") : NULL;

    if (path)
        CHECK_OK(apus_tokenizer_open(&t, path));
    apus_free(path);
    return t;
}

/* The parameters of a recorded setting; false: one that is not of the template table. */
static bool setting(const char *name, apus_encode_params *params)
{
    *params = (apus_encode_params) { 0 };
    if (!strcmp(name, "jinja"))
        return false;
    if (!strcmp(name, "last_round") || !strcmp(name, "all") || !strcmp(name, "react"))
        params->loss_scale = name;
    else if (!strcmp(name, "ignore_empty_think"))
        params->loss_scale = "default+ignore_empty_think";
    else if (!strcmp(name, "sys_flag"))
        params->system = "You are terse.";
    else if (!strcmp(name, "no_chat_template"))
        params->no_chat_template = true;
    else if (!strcmp(name, "response_prefix"))
        params->response_prefix = "<think>\n";
    else
        CHECK_EQ_STR(name, "default");
    return true;
}

TEST(recorded_encodings)
{
    apus_tokenizer *t = real_tokenizer();
    const apus_template *chatml = NULL;
    cJSON *rows = NULL;
    const cJSON *row;
    size_t n = 0;

    if (!t)
        return;
    REQUIRE_OK(apus_template_find(&chatml, "chatml"));
    REQUIRE_OK(recorded_open(&rows, harness_fixture("text/chatml_encodings.json")));
    cJSON_ArrayForEach(row, rows)
    {
        const char *name = apus_json_string(row, "setting", ""),
                   *which = apus_json_string(row, "case", "");
        const bool train = !strcmp(apus_json_string(row, "mode", ""), "train");
        apus_message messages[MOST_MESSAGES];
        const size_t n_messages = read_messages(messages, apus_json_get(row, "messages"));
        apus_encode_params params;
        apus_encoded e = { 0 };

        if (!setting(name, &params))
            continue;
        CHECK_OK((train ? apus_encode_train : apus_encode_infer)(&e, t, chatml, messages,
                                                                 n_messages, &params));
        harness_check(same(apus_json_get(row, "input_ids"), e.ids, e.n, false), __FILE__, __LINE__,
                      "ids of %s, %s, %s", name, train ? "train" : "infer", which);
        if (train)
            harness_check(same(apus_json_get(row, "labels"), e.labels, e.n, true), __FILE__,
                          __LINE__, "labels of %s, %s", name, which);
        else
            CHECK(e.labels == NULL);
        CHECK(e.loss_scale == NULL);
        apus_encoded_release(&e);
        n++;
    }
    CHECK_EQ_U64(n, 8 * 16 * 2);
    cJSON_Delete(rows);
    apus_tokenizer_close(&t);
}

/* ---- the table's rows ------------------------------------------------------------------------ */

/* A vocabulary of the 256 bytes and one token that ends a text: ids spell the text. */
static apus_tokenizer *byte_tokenizer(const char *eos)
{
    apus_tokenizer *t = NULL;
    apus_str piece = { 0 };

    CHECK_OK(apusi_tokenizer_new(&t, "bytes"));
    for (uint32_t b = 0; b < 256; b++) {
        const char byte = (char)b;

        apus_str_clear(&piece);
        apusi_byte_spell(&piece, &byte, 1);
        CHECK_OK(apusi_vocab_set(&t->vocab, b, piece.data, piece.len));
    }
    CHECK_OK(apusi_add_token(t, &(apusi_added) { .id = 256, .special = true }, eos, strlen(eos)));
    t->eos = 256;
    CHECK_OK(apusi_tokenizer_finish(t));
    apus_str_release(&piece);
    return t;
}

/* Ids as text, with ⟦ ⟧ around what is trained; the first token, which never is, counts as its
 * neighbour. */
static void render(apus_str *out, const apus_tokenizer *t, const apus_encoded *e)
{
    bool open = false;

    apus_str_clear(out);
    apus_str_add(out, "");
    for (size_t i = 0; i < e->n; i++) {
        const bool trained = e->labels && e->labels[i] >= 0;
        size_t n;
        const char *piece = apusi_vocab_text(&t->vocab, e->ids[i], &n);

        if (trained != open)
            apus_str_add(out, trained ? "⟦" : "⟧");
        open = trained;
        apusi_piece_bytes(out, piece, n);
    }
    if (open)
        apus_str_add(out, "⟧");
}

typedef struct apus_case {
    const char *key;
    bool system, thinks, train;
    apus_encode_params params;
} render_case;

static const render_case cases[] = {
    { "sys_2round", true, false, true, { .train_empty_think = true } },
    { "nosys_2round", false, false, true, { .train_empty_think = true } },
    { "think_2round_default", false, true, true, { .train_empty_think = true } },
    { "think_2round_last_round",
      false,
      true,
      true,
      { .loss_scale = "last_round", .train_empty_think = true } },
    { "infer", false, false, false, { 0 } },
    { "infer_think", false, false, false, { .enable_thinking = APUS_YES } },
    { "infer_nothink", false, false, false, { .enable_thinking = APUS_NO } },
};

static void check_case(const apus_tokenizer *t, const apus_template *tmpl, const cJSON *row,
                       const render_case *c)
{
    const char *want = apus_json_string(row, c->key, NULL);
    const apus_message all[] = {
        { "system", "SYS" },
        { "user", "Q1" },
        { "assistant", c->thinks ? "<think>\nT1\n</think>\n\nA1" : "A1" },
        { "user", "Q2" },
        { "assistant", c->thinks ? "<think>\nT2\n</think>\n\nA2" : "A2" },
    };
    const size_t from = c->system ? 0 : 1, n = (c->train ? 5 : 4) - from;
    apus_encode_params params = c->params;
    apus_encoded e = { 0 };
    apus_str got = { 0 };

    if (!strncmp(want, "!! Assert", 9)) {
        CHECK_FAILS(apus_encode_train(&e, t, tmpl, all + from, n, &params), APUS_ERR_ARG,
                    "cannot have a system text");
        return;
    }
    if (!strncmp(want, "!!", 2)) /* not recorded: it needs the model's Jinja */
        return;
    char *date = NULL; /* dates are recorded as their formats */
    for (const char *p = want; (p = strstr(p, "{{%")) && !date;)
        date = apus_strndup(p, (size_t)(strstr(p, "}}") + 2 - p));
    params.today = date;
    CHECK_OK(
        (c->train ? apus_encode_train : apus_encode_infer)(&e, t, tmpl, all + from, n, &params));
    render(&got, t, &e);
    harness_check(!strcmp(got.data, want), __FILE__, __LINE__, "%s, %s:\n  '%s'\n  '%s'",
                  apus_template_name(tmpl), c->key, got.data, want);
    apus_str_release(&got);
    apus_encoded_release(&e);
    apus_free(date);
}

TEST(every_row_renders_as_recorded)
{
    char *text = NULL;
    size_t n_bytes = 0, n = 0;

    REQUIRE_OK(apus_file_read(&text, &n_bytes, harness_fixture("text/templates.jsonl"), 1u << 20));
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        cJSON *row = NULL;
        const apus_template *tmpl = NULL;

        REQUIRE_OK(apus_json_parse(&row, line, (size_t)(end - line), "templates.jsonl"));
        REQUIRE_OK(apus_template_find(&tmpl, apus_json_string(row, "template", "")));
        apus_tokenizer *t = byte_tokenizer(apus_json_string(row, "eos_assumed", ""));
        for (size_t i = 0; i < APUS_COUNT(cases); i++)
            check_case(t, tmpl, row, &cases[i]);
        apus_tokenizer_close(&t);
        cJSON_Delete(row);
        n++;
    }
    CHECK_EQ_U64(n, 81);
    CHECK(apus_template_at(n) == NULL && apus_template_at(n - 1) != NULL);
    apus_free(text);
}

/* ---- training runs that were recorded -------------------------------------------------------- */

TEST(recorded_training_rows)
{
    apus_tokenizer *t = real_tokenizer();
    const apus_template *chatml = NULL;
    cJSON *file = NULL;
    const cJSON *row;
    size_t n = 0, n_dropped = 0;

    if (!t)
        return;
    REQUIRE_OK(apus_template_find(&chatml, "chatml"));
    REQUIRE_OK(apus_json_read(&file, harness_fixture("text/trajectories.json")));
    cJSON_ArrayForEach(row, apus_json_get(file, "rows"))
    {
        const char *name = apus_json_string(row, "name", ""),
                   *cut = apus_json_string(row, "truncation", "");
        apus_message messages[MOST_MESSAGES];
        const size_t n_messages = read_messages(messages, apus_json_get(row, "messages"));
        const apus_encode_params params = {
            .loss_scale = apus_json_string(row, "loss_scale", NULL),
            .no_chat_template = apus_json_bool(row, "no_chat_template", false),
            .max_length = (size_t)apus_json_number(row, "max_length", 0),
            .truncation = !strcmp(cut, "left") ? APUS_TRUNCATE_LEFT : APUS_TRUNCATE_RIGHT,
        };
        apus_encoded e = { 0 };

        CHECK_OK(apus_encode_train(&e, t, chatml, messages, n_messages, &params));
        harness_check(same(apus_json_get(row, "input_ids"), e.ids, e.n, false), __FILE__, __LINE__,
                      "ids of %s, row %zu", name, n);
        harness_check(same(apus_json_get(row, "labels"), e.labels, e.n, true), __FILE__, __LINE__,
                      "labels of %s, row %zu", name, n);
        apus_encoded_release(&e);
        n++;
    }
    CHECK_EQ_U64(n, (size_t)cJSON_GetArraySize(apus_json_get(file, "rows")));
    CHECK(n > 50);
    cJSON_ArrayForEach(row, apus_json_get(file, "long")) /* the recorded run kept 5 of 8 */
    {
        apus_message messages[MOST_MESSAGES];
        const size_t n_messages = read_messages(messages, row);
        apus_encoded e = { 0 };

        CHECK_OK(apus_encode_train(&e, t, chatml, messages, n_messages,
                                   &(apus_encode_params) { .max_length = 64 }));
        CHECK(e.dropped == (e.full_n > 64) && (e.dropped ? e.n == 0 && !e.ids : e.n == e.full_n));
        n_dropped += e.dropped;
        apus_encoded_release(&e);
    }
    CHECK_EQ_U64(n_dropped, 3);
    cJSON_Delete(file);
    apus_tokenizer_close(&t);
}
