/* choose.c - which template a model gets: by name, by the model table, by the markers of its own
 * chat template. */
#include "apus/text.h"
#include "recorded.h"

static void chooses(const apus_template_hint *hint, const char *tmpl, const char *model_type,
                    const char *reason)
{
    apus_template_choice choice;

    if (!CHECK_OK(apus_template_choose(&choice, hint)))
        return;
    CHECK_EQ_STR(apus_template_name(choice.tmpl), tmpl);
    CHECK_EQ_STR(choice.model_type, model_type);
    harness_check(strstr(choice.reason, reason) != NULL, __FILE__, __LINE__, "reason '%s' has '%s'",
                  choice.reason, reason);
}

static cJSON *chat_templates(void)
{
    cJSON *file = NULL;

    CHECK_OK(apus_json_read(&file, harness_fixture("text/chat_templates.json")));
    return file;
}

/* A model that the registry cannot name takes the row whose markers its own chat template has. */
TEST(smollm2_gets_chatml)
{
    cJSON *file = chat_templates();
    const char *chat = apus_json_string(file, "smollm2", "");

    chooses(&(apus_template_hint) { .model_name = "/m/SmolLM2-135M-Instruct.Q4_1.gguf",
                                    .architecture = "LlamaForCausalLM",
                                    .chat_template = chat },
            "chatml", "llama", "<|im_start|> and <|im_end|>");
    chooses(&(apus_template_hint) { .gguf_architecture = "llama", .chat_template = chat }, "chatml",
            "llama", "own chat template");
    chooses(&(apus_template_hint) { .template_name = "llama3",
                                    .model_type = "yi",
                                    .architecture = "LlamaForCausalLM",
                                    .chat_template = chat },
            "llama3", "yi", "as given");
    cJSON_Delete(file);
}

TEST(markers_of_known_chat_templates)
{
    static const struct {
        const char *chat, *tmpl;
    } rows[] = {
        { "chatml", "chatml" },     { "smollm2", "chatml" },          { "llama3", "llama3" },
        { "llama3.1", "llama3_2" }, { "qwen2.5", "qwen2_5" },         { "qwen3", "qwen3" },
        { "qwen2_vl", "qwen" },     { "deepseek_r1", "deepseek_r1" }, { "gemma", "gemma" },
        { "phi3", "phi3" },
    };
    cJSON *file = chat_templates();

    for (size_t i = 0; i < APUS_COUNT(rows); i++) {
        const apus_template *tmpl = NULL;
        char reason[256];

        if (CHECK_OK(apus_template_match(&tmpl, reason, sizeof(reason),
                                         apus_json_string(file, rows[i].chat, ""))))
            harness_check(!strcmp(apus_template_name(tmpl), rows[i].tmpl), __FILE__, __LINE__,
                          "%s: %s, not %s", rows[i].chat, apus_template_name(tmpl), rows[i].tmpl);
    }
    cJSON_Delete(file);
}

TEST(the_model_table)
{
    chooses(&(apus_template_hint) { .model_name = "Qwen/Qwen2.5-0.5B-Instruct/" }, "qwen2_5",
            "qwen2", "model table");
    chooses(&(apus_template_hint) { .model_name = "a/Qwen3-0.6B-Q8_0.gguf" }, "qwen3", "qwen3",
            "'qwen3-0.6b'");
    chooses(
        &(apus_template_hint) { .model_name = "qwen3-0.6b", .template_name = "qwen3_nothinking" },
        "qwen3_nothinking", "qwen3", "as given");
    chooses(&(apus_template_hint) { .architecture = "Qwen2MoeForCausalLM" }, "qwen", "qwen2_moe",
            "the only one");
    chooses(&(apus_template_hint) { .model_type = "qwen2_moe" }, "qwen", "qwen2_moe",
            "the only one");
}

TEST(refusals_say_what_to_pass)
{
    apus_template_choice choice;
    const apus_template *tmpl = NULL;
    char reason[100];

    CHECK_FAILS(apus_template_choose(&choice, &(apus_template_hint) { .template_name = "nope" }),
                APUS_ERR_MISSING, "no template 'nope'");
    CHECK_FAILS(apus_template_choose(&choice, &(apus_template_hint) { .model_type = "nope" }),
                APUS_ERR_MISSING, "no model type 'nope'");
    CHECK_FAILS(apus_template_choose(&choice, &(apus_template_hint) { 0 }), APUS_ERR_MISSING,
                "pass --template");
    CHECK_FAILS(
        apus_template_choose(&choice, &(apus_template_hint) { .architecture = "LlamaForCausalLM" }),
        APUS_ERR_MISSING, "several templates");
    CHECK_FAILS(apus_template_match(&tmpl, reason, sizeof(reason), "{{ messages }}"),
                APUS_ERR_MISSING, "pass --template");
    CHECK_FAILS(apus_template_find(&tmpl, "Chatml"), APUS_ERR_MISSING, "'Chatml'");
    CHECK(tmpl == NULL);
}

TEST(rows_are_distinct)
{
    const apus_template *a, *b;

    for (size_t i = 0; (a = apus_template_at(i)); i++)
        for (size_t k = 0; k < i && (b = apus_template_at(k)); k++)
            CHECK(strcmp(apus_template_name(a), apus_template_name(b)) != 0);
    CHECK_OK(apus_template_find(&a, "qwen3"));
    CHECK(apus_template_is_hybrid(a));
    CHECK_OK(apus_template_find(&a, "qwen3_thinking"));
    CHECK(!apus_template_is_hybrid(a));
    CHECK_OK(apus_template_find(&a, "qwen"));
    CHECK_EQ_STR(apus_template_default_system(a), "You are a helpful assistant.");
}
