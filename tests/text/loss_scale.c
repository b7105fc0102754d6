/* loss_scale.c - weights of the parts of an answer, message flags, stops and the oddities of
 * conversations, over a vocabulary of bytes. */
#include <stdio.h>

#include "apus/text.h"
#include "recorded.h"
#include "text_internal.h"

static apus_tokenizer *byte_tokenizer(void)
{
    apus_tokenizer *t = NULL;
    apus_str piece = { 0 };
    const apusi_added end = { .id = 256, .special = true }, im = { .id = 257, .special = true };

    CHECK_OK(apusi_tokenizer_new(&t, "bytes"));
    for (uint32_t b = 0; b < 256; b++) {
        const char byte = (char)b;

        apus_str_clear(&piece);
        apusi_byte_spell(&piece, &byte, 1);
        CHECK_OK(apusi_vocab_set(&t->vocab, b, piece.data, piece.len));
    }
    CHECK_OK(apusi_add_token(t, &end, "</s>", 4));
    CHECK_OK(apusi_add_token(t, &im, "<|im_end|>", 10));
    t->eos = 256;
    CHECK_OK(apusi_tokenizer_finish(t));
    apus_str_release(&piece);
    return t;
}

/* Runs of equal weight as "2(text)"; context (weight 0, label -100) as plain text. */
static void render(apus_str *out, const apus_tokenizer *t, const apus_encoded *e)
{
    float open = 0;

    apus_str_clear(out);
    apus_str_add(out, "");
    for (size_t i = 0; i < e->n; i++) {
        const float weight = e->loss_scale ? e->loss_scale[i] : (float)(e->labels[i] >= 0);
        size_t n;
        const char *piece = apusi_vocab_text(&t->vocab, e->ids[i], &n);

        CHECK((e->labels[i] >= 0) == (weight > 0));
        if (weight != open && open != 0)
            apus_str_add(out, ")");
        if (weight != open && weight != 0)
            apus_str_addf(out, "%g(", (double)weight);
        open = weight;
        apusi_piece_bytes(out, piece, n);
    }
    if (open != 0)
        apus_str_add(out, ")");
}

static void weighs(const char *tmpl_name, const apus_message *messages, size_t n,
                   const apus_encode_params *params, const char *want)
{
    apus_tokenizer *t = byte_tokenizer();
    const apus_template *tmpl = NULL;
    apus_encoded e = { 0 };
    apus_str got = { 0 };

    CHECK_OK(apus_template_find(&tmpl, tmpl_name));
    if (CHECK_OK(apus_encode_train(&e, t, tmpl, messages, n, params))) {
        render(&got, t, &e);
        CHECK_EQ_STR(got.data, want);
    }
    apus_str_release(&got);
    apus_encoded_release(&e);
    apus_tokenizer_close(&t);
}

static void answer_weighs(const char *scale, const char *answer, const char *want)
{
    const apus_message messages[] = { { "user", "Q" }, { "assistant", answer } };

    weighs("dummy", messages, 2, &(apus_encode_params) { .loss_scale = scale }, want);
}

/* The examples that ms-swift's own code was run on. */
TEST(named_scales)
{
    const char *react = "Thought: t1\nAction: f\nAction Input: {\"a\": 1}\nObservation: obs\n"
                        "Thought: done\nFinal Answer: fa";

    answer_weighs("react", react,
                  "Q1(Thought: t1\n)2(Action: f\nAction Input: {\"a\": 1}\nObservation:) obs\n"
                  "1(Thought: done\nFinal Answer: fa</s>)");
    answer_weighs("hermes", "hi <tool_call>{}</tool_call> bye <tool_call>x</tool_call>",
                  "Q1(hi )2(<tool_call>{}</tool_call>)1( bye )2(<tool_call>x</tool_call>)1(</s>)");
    answer_weighs("hermes", "<tool_call></tool_call>", "Q1(<tool_call></tool_call></s>)");
    answer_weighs("default+ignore_empty_think",
                  "<think>\n\n</think>\n\nabc<think>\n\n</think>\n\n1",
                  "Q<think>\n\n</think>\n\n1(abc<think>\n\n</think>\n\n1</s>)");
    answer_weighs("last_round+hermes+ignore_empty_think",
                  "<think>\n\n</think>\n\nx<tool_call>y</tool_call>",
                  "Q<think>\n\n</think>\n\n1(x)2(<tool_call>y</tool_call>)1(</s>)");
    answer_weighs("ignore_think_prefix", "<think>\nab", "Q<think>\n1(ab</s>)");
    answer_weighs("qwen", "a✿FUNCTION✿: f✿RESULT✿: r✿RETURN✿: z",
                  "Q1(a)2(✿FUNCTION✿: f✿RESULT✿:) r1(✿RETURN✿: z</s>)");
    answer_weighs("alpha_umi", "xNext: y", "Q1(x)2(Next: y)1(</s>)");
    answer_weighs("all", "a", "Q1(a</s>)"); /* the first token never is */
    answer_weighs("base", "a", "Q1(a</s>)");
}

TEST(flags_of_messages)
{
    const apus_message scaled[] = {
        { "user", "Q" },
        { .role = "assistant",
          .content = "<think>t</think>",
          .has_loss_scale = true,
          .loss_scale = 1 },
        { .role = "assistant", .content = "hi!", .has_loss_scale = true, .loss_scale = 2 }
    };
    const apus_message masked[] = { { "user", "A" },
                                    { "assistant", "a", APUS_LOSS_TRAIN },
                                    { "user", "B" },
                                    { "assistant", "b", APUS_LOSS_MASK } };

    weighs("dummy", scaled, 3, &(apus_encode_params) { .loss_scale = "react" },
           "Q1(<think>t</think>)2(hi!)1(</s>)");
    weighs(
        "chatml", masked, 4, &(apus_encode_params) { .loss_scale = "last_round" },
        "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n1(a<|im_end|>\n)<|im_start|>user\n"
        "B<|im_end|>\n<|im_start|>assistant\nb1(<|im_end|>\n)");
}

TEST(thinking)
{
    const apus_message plain[] = { { "user", "A" }, { "assistant", "a" } };
    const apus_message history[] = { { "user", "A" },
                                     { "assistant", "<think>\nt\n</think>\n\n a " },
                                     { "user", "B" } };
    apus_tokenizer *t = byte_tokenizer();
    const apus_template *tmpl = NULL;
    apus_encoded e = { 0 };
    apus_text text = { 0 };

    /* Hybrid templates learn the empty thought as context. */
    weighs("qwen3", plain, 2, NULL,
           "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
           "1(a<|im_end|>\n)");
    weighs("qwen3", plain, 2, &(apus_encode_params) { .train_empty_think = true },
           "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n1(<think>\n\n</think>\n\n"
           "a<|im_end|>\n)");
    weighs("qwen3", plain, 2, &(apus_encode_params) { .no_non_thinking_prefix = true },
           "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n1(a<|im_end|>\n)");
    REQUIRE_OK(apus_template_find(&tmpl, "qwen3"));
    CHECK_OK(apus_encode_infer(&e, t, tmpl, history, 3,
                               &(apus_encode_params) { .response_prefix = "Well" }));
    CHECK_OK(apus_tokenizer_decode(t, e.ids, e.n, false, &text));
    CHECK_EQ_STR(text.data, "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"
                            "<|im_start|>user\nB<|im_end|>\n<|im_start|>assistant\nWell");
    apus_text_release(&text);
    apus_encoded_release(&e);
    CHECK_OK(apus_encode_infer(&e, t, tmpl, history, 3,
                               &(apus_encode_params) { .preserve_thinking = APUS_YES }));
    CHECK_OK(apus_tokenizer_decode(t, e.ids, e.n, false, &text));
    CHECK(strstr(text.data, "<think>\nt\n</think>\n\n a <|im_end|>") != NULL);
    apus_text_release(&text);
    apus_encoded_release(&e);
    apus_tokenizer_close(&t);
}

TEST(oddities)
{
    const apus_message stop[] = { { "user", "A" }, { "assistant", "a<|im_end|>" } };
    const apus_message braces[] = { { "user", "{{ROUND0}}{{SYSTEM}}" },
                                    { "assistant", "{{QUERY}}" } };
    const apus_message none[] = { { "user", "A" }, { "assistant", "" } };

    /* An answer that ends in a stop word has no second one. */
    weighs("chatml", stop, 2, NULL,
           "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n1(a<|im_end|>)");
    /* Placeholders in a message are text. */
    weighs("dummy", braces, 2, NULL, "{{ROUND0}}{{SYSTEM}}1({{QUERY}}</s>)");
    weighs("chatml", none, 2, &(apus_encode_params) { .system = "S" },
           "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n"
           "1(<|im_end|>\n)");
}

TEST(refused_conversations)
{
    static const apus_message unknown[] = { { "user", "A" }, { "narrator", "B" } };
    static const apus_message late[] = { { "user", "A" }, { "system", "B" } };
    static const apus_message tool[] = { { "user", "A" }, { "tool_call", "{}" } };
    static const apus_message empty[] = { { "user", NULL } };
    static const apus_message nobody[] = { { NULL, "A" } };
    static const apus_message alone[] = { { "system", "S" } };
    static const apus_message fine[] = { { "user", "A" }, { "assistant", "B" } };
    static const apus_message negative[] = {
        { "user", "A" },
        { .role = "assistant", .content = "B", .has_loss_scale = true, .loss_scale = -1 },
    };
    static const struct {
        const apus_message *messages;
        size_t n;
        apus_encode_params params;
        apus_status code;
        const char *words;
    } rows[] = {
        { unknown, 2, { 0 }, APUS_ERR_FORMAT, "role 'narrator'" },
        { late, 2, { 0 }, APUS_ERR_FORMAT, "must be the first" },
        { tool, 2, { 0 }, APUS_ERR_SUPPORT, "role 'tool_call'" },
        { empty, 1, { 0 }, APUS_ERR_FORMAT, "message 0 has no content" },
        { nobody, 1, { 0 }, APUS_ERR_FORMAT, "message 0 has no role" },
        { alone, 1, { 0 }, APUS_ERR_FORMAT, "no messages" },
        { NULL, 0, { 0 }, APUS_ERR_FORMAT, "no messages" },
        { negative, 2, { 0 }, APUS_ERR_FORMAT, "loss_scale is negative" },
        { fine, 2, { .system = "S" }, APUS_ERR_ARG, "cannot have a system text" },
        { fine, 2, { .loss_scale = "agentflan" }, APUS_ERR_SUPPORT, "'agentflan'" },
        { fine, 2, { .loss_scale = "nope" }, APUS_ERR_ARG, "no 'nope'" },
        { fine, 2, { .loss_scale = "react+all" }, APUS_ERR_ARG, "no 'all'" },
        { fine, 2, { .loss_scale = "" }, APUS_ERR_ARG, "no ''" },
        { fine, 2, { .loss_scale = "react+react+react+react+react" }, APUS_ERR_ARG, "more than" },
    };
    apus_tokenizer *t = byte_tokenizer();
    const apus_template *tmpl = NULL;

    REQUIRE_OK(apus_template_find(&tmpl, "dummy"));
    for (size_t i = 0; i < APUS_COUNT(rows); i++) {
        apus_encoded e = { 0 };

        CHECK_FAILS(apus_encode_train(&e, t, tmpl, rows[i].messages, rows[i].n, &rows[i].params),
                    rows[i].code, rows[i].words);
        CHECK(e.ids == NULL && e.labels == NULL && e.n == 0);
    }
    apus_tokenizer_close(&t);
}

TEST(truncation)
{
    const apus_message messages[] = { { "user", "abcdef" }, { "assistant", "gh" } };
    const apus_template *tmpl = NULL;
    apus_tokenizer *t = byte_tokenizer();
    apus_encoded e = { 0 };

    REQUIRE_OK(apus_template_find(&tmpl, "dummy")); /* abcdefgh</s>: 9 tokens */
    CHECK_OK(
        apus_encode_train(&e, t, tmpl, messages, 2, &(apus_encode_params) { .max_length = 9 }));
    CHECK(e.n == 9 && !e.dropped);
    apus_encoded_release(&e);
    CHECK_OK(
        apus_encode_train(&e, t, tmpl, messages, 2, &(apus_encode_params) { .max_length = 8 }));
    CHECK(e.n == 0 && e.dropped && e.full_n == 9);
    apus_encoded_release(&e);
    CHECK_OK(apus_encode_train(
        &e, t, tmpl, messages, 2,
        &(apus_encode_params) { .max_length = 3, .truncation = APUS_TRUNCATE_LEFT }));
    REQUIRE(e.n == 3 && e.full_n == 9);
    CHECK(e.ids[0] == 'g' && e.ids[2] == 256 && e.labels[0] == -100 && e.labels[1] == 'h');
    apus_encoded_release(&e);
    CHECK_OK(apus_encode_train(
        &e, t, tmpl, messages, 2,
        &(apus_encode_params) { .max_length = 3, .truncation = APUS_TRUNCATE_RIGHT }));
    REQUIRE(e.n == 3);
    CHECK(e.ids[0] == 'a' && e.ids[2] == 'c' && e.labels[2] == -100);
    apus_encoded_release(&e);
    apus_tokenizer_close(&t);
}

TEST(dates)
{
    const apus_message messages[] = { { "user", "Q" } };
    const apus_template *tmpl = NULL;
    apus_tokenizer *t = byte_tokenizer();
    apus_encoded e = { 0 };
    apus_text text = { 0 };
    int day = 0, year = 0;
    char month[4] = "";

    REQUIRE_OK(apus_template_find(&tmpl, "llama3_2"));
    CHECK_OK(apus_encode_infer(&e, t, tmpl, messages, 1, NULL));
    CHECK_OK(apus_tokenizer_decode(t, e.ids, e.n, false, &text));
    const char *today = strstr(text.data, "Today Date: ");
    REQUIRE(today != NULL);
    CHECK_EQ_U64(sscanf(today, "Today Date: %2d %3s %4d\n", &day, month, &year), 3);
    CHECK(day >= 1 && day <= 31 && strlen(month) == 3 && year >= 2024);
    apus_text_release(&text);
    apus_encoded_release(&e);
    apus_tokenizer_close(&t);
}

TEST(stops_of_a_template)
{
    const apus_template *chatml = NULL, *dummy = NULL, *qwen = NULL;
    apus_tokenizer *t = byte_tokenizer();
    apus_stops stops = { 0 };

    REQUIRE_OK(apus_template_find(&chatml, "chatml"));
    REQUIRE_OK(apus_template_find(&dummy, "dummy"));
    REQUIRE_OK(apus_template_find(&qwen, "qwen"));
    CHECK_OK(apus_template_stops(&stops, chatml, t));
    CHECK(stops.n_ids == 2 && stops.ids[0] == 257 && stops.ids[1] == 256);
    REQUIRE(stops.n_texts == 2);
    CHECK_EQ_STR(stops.texts[0], "<|im_end|>");
    CHECK_EQ_STR(stops.texts[1], "</s>");
    apus_stops_release(&stops);
    CHECK_OK(apus_template_stops(&stops, dummy, t));
    CHECK(stops.n_ids == 1 && stops.ids[0] == 256 && stops.n_texts == 1);
    apus_stops_release(&stops);
    CHECK_OK(apus_template_stops(&stops, qwen, t));
    REQUIRE(stops.n_texts == 3); /* <|endoftext|> is no token of this vocabulary */
    CHECK_EQ_STR(stops.texts[2], "<|endoftext|>");
    CHECK_EQ_U64(stops.n_ids, 2);
    apus_stops_release(&stops);
    apus_tokenizer_close(&t);
}
