/* args.json and files of flags: what is written, and that it is read back. */
#include <stdlib.h>

#include "args.h"
#include "cli_internal.h"
#include "file.h"
#include "harness.h"

#define WORDS(...)                                                                                 \
    (char *[])                                                                                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define PARSE(out, cmd, ...)                                                                       \
    apus_args_parse((out), (cmd), (int)APUS_COUNT(WORDS(__VA_ARGS__)), WORDS(__VA_ARGS__))

/* A path in the test's folder; freed by the caller. */
static char *path_of(const char *name)
{
    return apus_path_join(harness_folder(), name);
}

/* The values in force as a file; its path is freed by the caller. */
static char *write_values(const apus_args *args, const char *name)
{
    cJSON *all = NULL;

    apus_json_begin();
    CHECK_OK(apus_args_json(&all, args));
    CHECK_OK(apus_json_write(all, harness_folder(), name));
    cJSON_Delete(all);
    return path_of(name);
}

static char *write_file(const char *name, const char *text)
{
    char *path = path_of(name);

    CHECK_OK(apus_file_write(path, text, strlen(text)));
    return path;
}

TEST(args_json_holds_the_values_in_force)
{
    apus_args *a = NULL;
    cJSON *all = NULL;
    char *path;
    const cJSON *item;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--model", "m", "--dataset", "a", "b", "--learning_rate",
                     "1e-5", "--use_rslora"));
    REQUIRE_OK(apus_args_set_uint(a, "gradient_accumulation_steps", 16));
    path = write_values(a, "args.json");
    apus_args_destroy(&a);
    REQUIRE_OK(apus_json_read(&all, path));
    CHECK_EQ_STR(apus_json_string(all, "model", ""), "m");
    CHECK(apus_json_number(all, "learning_rate", 0) == 1e-5);
    CHECK(apus_json_number(all, "gradient_accumulation_steps", 0) == 16);
    CHECK(apus_json_number(all, "max_steps", 0) == -1);
    CHECK(apus_json_bool(all, "use_rslora", false));
    CHECK(!apus_json_bool(all, "strict", true));
    item = apus_json_get(all, "dataset");
    REQUIRE(cJSON_IsArray(item));
    CHECK_EQ_U64(cJSON_GetArraySize(item), 2);
    item = cJSON_GetObjectItemCaseSensitive(all, "val_dataset");
    CHECK(cJSON_IsArray(item) && cJSON_GetArraySize(item) == 0);
    CHECK(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(all, "template")));
    /* The table's order, and nothing of other commands. */
    CHECK_EQ_STR(all->child->string, "model");
    CHECK_EQ_STR(all->child->next->string, "model_type");
    CHECK(!cJSON_GetObjectItemCaseSensitive(all, "result_path"));
    CHECK(!cJSON_GetObjectItemCaseSensitive(all, "min_p"));
    cJSON_Delete(all);
    apus_free(path);
}

TEST(floats_are_written_as_python_does)
{
    apus_args *a = NULL;
    char *path, *text = NULL;
    size_t bytes;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--learning_rate", "1e-5", "--lora_alpha", "32"));
    path = write_values(a, "floats.json");
    REQUIRE_OK(apus_file_read(&text, &bytes, path, 1 << 20));
    CHECK(strstr(text, "\n  \"learning_rate\": 1e-05,\n") != NULL);
    CHECK(strstr(text, "\n  \"lora_alpha\": 32.0,\n") != NULL);
    CHECK(strstr(text, "\n  \"lora_rank\": 8,\n") != NULL);
    CHECK(strstr(text, "\n  \"adam_epsilon\": 1e-08,\n") != NULL);
    CHECK(strstr(text, "\n  \"dataset\": [],\n") != NULL);
    apus_free(text);
    apus_free(path);
    apus_args_destroy(&a);
}

TEST(a_written_file_gives_the_same_run)
{
    apus_args *a = NULL, *b = NULL;
    char *path;
    cJSON *one = NULL, *two = NULL;
    char *text_one, *text_two;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--model", "m", "--dataset", "a", "-b c", "--system",
                     "-x y\n\"z\"", "--max_steps", "-1", "--learning_rate", "3.3e-4",
                     "--no_add_version"));
    path = write_values(a, "again.json");
    REQUIRE_OK(PARSE(&b, APUS_CMD_sft, path));
    REQUIRE_OK(apus_args_json(&one, a));
    REQUIRE_OK(apus_args_json(&two, b));
    text_one = apus_json_text(one, 2);
    text_two = apus_json_text(two, 2);
    CHECK_EQ_STR(text_one, text_two);
    apus_free(text_one);
    apus_free(text_two);
    cJSON_Delete(one);
    cJSON_Delete(two);
    apus_args_destroy(&a);
    apus_args_destroy(&b);
    apus_free(path);
}

TEST(the_command_line_overrides_the_file)
{
    apus_args *a = NULL;
    char *path =
        write_file("run.json", "{\"lora_rank\": 4, \"lora-alpha\": 8, \"dataset\": [\"a\", \"b\"],"
                               " \"model\": null, \"strict\": true, \"lora_bias\": \"none\","
                               " \"ENV:\": {\"APUS_TEST_OF_FLAGS\": 7}}");
    size_t n;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, path, "--lora_rank", "16"));
    CHECK_EQ_U64(apus_args_uint(a, "lora_rank"), 16);
    CHECK(apus_args_float(a, "lora_alpha") == 8);
    CHECK(apus_args_bool(a, "strict"));
    CHECK(!apus_args_has(a, "model"));
    CHECK_EQ_STR(apus_args_list(a, "dataset", &n)[1], "b");
    CHECK_EQ_U64(n, 2);
    CHECK(getenv("APUS_TEST_OF_FLAGS") && !strcmp(getenv("APUS_TEST_OF_FLAGS"), "7"));
    apus_args_destroy(&a);
    apus_free(path);
}

TEST(bad_files_are_refused)
{
    static const struct {
        const char *text;
        apus_status code;
        const char *words;
    } cases[] = {
        { "[1]", APUS_ERR_FORMAT, "expected an object of flags" },
        { "{\"lora_rank\": ", APUS_ERR_FORMAT, "line 1" },
        { "{\"lora_rank\": 1.5}", APUS_ERR_ARG, "--lora_rank 1.5" },
        { "{\"lora_rank\": [1, 2]}", APUS_ERR_ARG, "not a list of 2" },
        { "{\"lora_rank\": []}", APUS_ERR_ARG, "not a list of 0" },
        { "{\"lora_rank\": {\"a\": 1}}", APUS_ERR_ARG, "--lora_rank" },
        { "{\"lora_rnak\": 1}", APUS_ERR_ARG, "did you mean --lora_rank?" },
        { "{\"deepspeed\": \"zero2\"}", APUS_ERR_SUPPORT, "--deepspeed: not supported yet" },
        { "{\"\": 1}", APUS_ERR_ARG, "unknown flag" },
    };
    apus_args *a = NULL;

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        char *path = write_file("bad.json", cases[i].text);

        CHECK_FAILS(PARSE(&a, APUS_CMD_sft, path), cases[i].code, cases[i].words);
        CHECK(a == NULL);
        apus_free(path);
    }
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "nowhere.json"), APUS_ERR_MISSING, "nowhere.json");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "run.yaml"), APUS_ERR_SUPPORT, "YAML is not supported yet");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--model", "m", "run.json"), APUS_ERR_ARG,
                "unexpected word");
}

TEST(saved_values_fill_gaps_only)
{
    apus_args *a = NULL;
    cJSON *saved = NULL;
    const char text[] = "{\"model\": \"saved\", \"template\": \"chatml\", \"temperature\": null}";

    REQUIRE_OK(apus_json_parse(&saved, text, strlen(text), "args.json"));
    REQUIRE_OK(PARSE(&a, APUS_CMD_infer, "--model", "typed"));
    REQUIRE_OK(apus_args_adopt(a, saved, "model"));
    REQUIRE_OK(apus_args_adopt(a, saved, "template"));
    REQUIRE_OK(apus_args_adopt(a, saved, "temperature"));
    REQUIRE_OK(apus_args_adopt(a, saved, "system"));
    CHECK_EQ_STR(apus_args_text(a, "model"), "typed");
    CHECK_EQ_STR(apus_args_text(a, "template"), "chatml");
    CHECK(!apus_args_has(a, "temperature"));
    CHECK(!apus_args_has(a, "system"));
    cJSON_Delete(saved);
    apus_args_destroy(&a);
}
