/* The parser of flags: syntax, types, limits, and what an error says. */
#include "args.h"
#include "cli_internal.h"
#include "env.h"
#include "file.h"
#include "harness.h"

#define WORDS(...)                                                                                 \
    (char *[])                                                                                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define PARSE(out, cmd, ...)                                                                       \
    apus_args_parse((out), (cmd), (int)APUS_COUNT(WORDS(__VA_ARGS__)), WORDS(__VA_ARGS__))

TEST(defaults_are_swifts)
{
    apus_args *a = NULL;
    size_t n;

    REQUIRE_OK(apus_args_parse(&a, APUS_CMD_sft, 0, NULL));
    CHECK_EQ_U64(apus_args_uint(a, "lora_rank"), 8);
    CHECK(apus_args_float(a, "lora_alpha") == 32.0);
    CHECK(apus_args_float(a, "lora_dropout") == 0.05);
    CHECK(apus_args_float(a, "adam_beta2") == 0.95);
    CHECK(apus_args_float(a, "adam_epsilon") == 1e-8);
    CHECK(apus_args_int(a, "max_steps") == -1);
    CHECK(apus_args_float(a, "save_steps") == 500);
    CHECK_EQ_U64(apus_args_uint(a, "logging_steps"), 5);
    CHECK_EQ_STR(apus_args_text(a, "tuner_type"), "lora");
    CHECK_EQ_STR(apus_args_text(a, "lr_scheduler_type"), "cosine");
    CHECK_EQ_STR(apus_args_list(a, "target_modules", &n)[0], "all-linear");
    CHECK_EQ_U64(n, 1);
    apus_args_list(a, "dataset", &n);
    CHECK_EQ_U64(n, 0);
    CHECK(apus_args_bool(a, "gradient_checkpointing"));
    CHECK(!apus_args_has(a, "learning_rate"));
    CHECK(!apus_args_given(a, "lora_rank"));
    CHECK(apus_args_text(a, "model") == NULL);
    apus_args_destroy(&a);
    CHECK(a == NULL);
    apus_args_destroy(&a);
}

TEST(both_spellings_equals_alias_and_beginnings)
{
    apus_args *a = NULL;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--lora-rank", "4", "--lora_alpha=8", "--learning-rate=1e-3",
                     "--train_type", "full", "--num_train", "2", "--seed", "7"));
    CHECK_EQ_U64(apus_args_uint(a, "lora_rank"), 4);
    CHECK(apus_args_float(a, "lora_alpha") == 8);
    CHECK(apus_args_float(a, "learning_rate") == 1e-3);
    CHECK_EQ_STR(apus_args_text(a, "tuner_type"), "full");
    CHECK(apus_args_float(a, "num_train_epochs") == 2);
    CHECK_EQ_U64(apus_args_uint(a, "seed"), 7);
    CHECK(apus_args_given(a, "seed"));
    apus_args_destroy(&a);
    REQUIRE_OK(
        PARSE(&a, APUS_CMD_bench, "-m", "x.gguf", "-p", "512,64", "-n", "1", "2", "-o", "csv"));
    CHECK_EQ_STR(apus_args_text(a, "model"), "x.gguf");
    CHECK_EQ_STR(apus_args_text(a, "output"), "csv");
    apus_args_destroy(&a);
}

TEST(bool_words)
{
    static const struct {
        char *word;
        bool on;
    } cases[] = {
        { "true", true }, { "True", true }, { "yes", true },    { "t", true },
        { "Y", true },    { "1", true },    { "false", false }, { "FALSE", false },
        { "no", false },  { "f", false },   { "n", false },     { "0", false },
    };
    apus_args *a = NULL;

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--use_rslora", cases[i].word));
        CHECK(apus_args_bool(a, "use_rslora") == cases[i].on);
        apus_args_destroy(&a);
    }
    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--use_rslora", "--no_gradient_checkpointing", "--strict"));
    CHECK(apus_args_bool(a, "use_rslora"));
    CHECK(apus_args_bool(a, "strict"));
    CHECK(!apus_args_bool(a, "gradient_checkpointing"));
    apus_args_destroy(&a);
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--use_rslora", "maybe"), APUS_ERR_ARG,
                "--use_rslora maybe: expected true or false");
    CHECK(a == NULL);
    /* Only what is true by default has a --no_ form, as in swift. */
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--no_use_rslora"), APUS_ERR_ARG, "unknown flag");
}

TEST(lists_take_words_up_to_the_next_flag_and_the_last_wins)
{
    apus_args *a = NULL;
    size_t n;
    const char *const *list;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--dataset", "x", "--dataset", "a", "b#20", "c d", "--seed",
                     "1", "--seed", "2"));
    list = apus_args_list(a, "dataset", &n);
    CHECK_EQ_U64(n, 3);
    CHECK_EQ_STR(list[0], "a");
    CHECK_EQ_STR(list[1], "b#20");
    CHECK_EQ_STR(list[2], "c d");
    CHECK_EQ_U64(apus_args_uint(a, "seed"), 2);
    apus_args_destroy(&a);
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--dataset", "--seed", "1"), APUS_ERR_ARG,
                "--dataset: expected one or more values");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--seed", "1", "2"), APUS_ERR_ARG, "unexpected word 2");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--model"), APUS_ERR_ARG, "--model: expected a value");
}

TEST(words_that_begin_with_a_dash)
{
    apus_args *a = NULL;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--max_steps", "-1", "--system=-x", "--model", "-"));
    CHECK(apus_args_int(a, "max_steps") == -1);
    CHECK_EQ_STR(apus_args_text(a, "system"), "-x");
    CHECK_EQ_STR(apus_args_text(a, "model"), "-");
    apus_args_destroy(&a);
    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--system", "- be brief", "--output_dir", ""));
    CHECK_EQ_STR(apus_args_text(a, "system"), "- be brief");
    CHECK_EQ_STR(apus_args_text(a, "output_dir"), "");
    apus_args_destroy(&a);
}

TEST(a_bad_value_names_flag_value_and_what_is_allowed)
{
    static const struct {
        char *flag, *value;
        apus_status code;
        const char *text;
    } cases[] = {
        { "--lora_rank", "abc", APUS_ERR_ARG,
          "--lora_rank abc: expected a whole number in [1, 1024]" },
        { "--lora_rank", "0", APUS_ERR_ARG, "--lora_rank 0: expected a whole number in [1, 1024]" },
        { "--lora_rank", "8.5", APUS_ERR_ARG, "--lora_rank 8.5" },
        { "--lora_rank", "", APUS_ERR_ARG, "expected a whole number" },
        { "--lora_rank", "-", APUS_ERR_ARG, "expected a whole number" },
        { "--seed", "99999999999999999999", APUS_ERR_ARG, "in [0, 4294967295]" },
        { "--seed", "-1", APUS_ERR_ARG, "in [0, 4294967295]" },
        { "--learning_rate", "fast", APUS_ERR_ARG,
          "--learning_rate fast: expected a number in [0, inf)" },
        { "--learning_rate", "nan", APUS_ERR_ARG, "expected a number" },
        { "--learning_rate", "inf", APUS_ERR_ARG, "expected a number" },
        { "--learning_rate", "1e999", APUS_ERR_ARG, "expected a number" },
        { "--learning_rate", "0x10", APUS_ERR_ARG, "expected a number" },
        { "--lora_alpha", "0", APUS_ERR_ARG, "in (0, inf)" },
        { "--lora_dropout", "1", APUS_ERR_ARG, "in [0, 1)" },
        { "--torch_dtype", "int8", APUS_ERR_ARG, "expected one of: float32, float16, bfloat16" },
        { "--report_to", "printer", APUS_ERR_ARG, "expected one of: tensorboard, none, all" },
        { "--tuner_type", "adalora", APUS_ERR_SUPPORT,
          "--tuner_type adalora: not supported yet; supported: lora, full" },
        { "--report_to", "wandb", APUS_ERR_SUPPORT, "--report_to wandb: not supported yet" },
        { "--bf16", "true", APUS_ERR_SUPPORT, "--bf16 true: not supported yet" },
        { "--optim", "sgd", APUS_ERR_SUPPORT,
          "--optim sgd: not supported yet; supported: adamw_torch, adamw_torch_fused, adamw_8bit, "
          "adamw_bnb_8bit" },
        { "--optim", "paged_adamw_8bit", APUS_ERR_SUPPORT,
          "--optim paged_adamw_8bit: not supported yet" },
        { "--optim", "adam", APUS_ERR_ARG, "expected one of: adamw_torch, " },
    };
    apus_args *a = NULL;

    for (size_t i = 0; i < APUS_COUNT(cases); i++)
        CHECK_FAILS(PARSE(&a, APUS_CMD_sft, cases[i].flag, cases[i].value), cases[i].code,
                    cases[i].text);
    CHECK_FAILS(PARSE(&a, APUS_CMD_infer, "--num_beams", "4"), APUS_ERR_SUPPORT,
                "--num_beams 4: not supported yet");
    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--bf16", "false", "--optim", "adamw_torch", "--fp16=no"));
    apus_args_destroy(&a);
}

TEST(unknown_refused_ambiguous_and_misplaced_flags)
{
    apus_args *a = NULL;

    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--lerning_rate", "1"), APUS_ERR_ARG,
                "unknown flag --lerning_rate; did you mean --learning_rate?");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--lora_rnak=4"), APUS_ERR_ARG,
                "did you mean --lora_rank?");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--no_such_flag", "3"), APUS_ERR_ARG,
                "unknown flag --no_such_flag; `apus help sft` lists the flags");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--deepspeed", "zero2"), APUS_ERR_SUPPORT,
                "--deepspeed: not supported yet");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--use-galore", "true"), APUS_ERR_SUPPORT,
                "--use_galore: not supported yet");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--neftune", "5"), APUS_ERR_SUPPORT,
                "--neftune_noise_alpha: not supported yet");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--lora", "3"), APUS_ERR_ARG,
                "--lora may be --lora_rank, ");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--result_path", "x"), APUS_ERR_ARG,
                "--result_path is a flag of `apus infer`, not of `apus sft`");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--beta", "1"), APUS_ERR_ARG, "is a flag of `apus rlhf`");
    CHECK_FAILS(PARSE(&a, APUS_CMD_bench, "-z", "1"), APUS_ERR_ARG, "unknown flag -z");
    CHECK_FAILS(PARSE(&a, APUS_CMD_sft, "--"), APUS_ERR_ARG, "unknown flag --");
    CHECK_FAILS(PARSE(&a, APUS_CMD_env, "x"), APUS_ERR_ARG, "unexpected word x");
}

TEST(the_bare_word_of_inspect)
{
    apus_args *a = NULL;

    REQUIRE_OK(PARSE(&a, APUS_CMD_inspect, "m.gguf", "--max_length", "512"));
    CHECK_EQ_STR(apus_args_text(a, "model"), "m.gguf");
    CHECK_EQ_U64(apus_args_uint(a, "max_length"), 512);
    apus_args_destroy(&a);
    CHECK_FAILS(PARSE(&a, APUS_CMD_inspect, "a", "b"), APUS_ERR_ARG, "unexpected word b");
}

TEST(help_stands_anywhere)
{
    apus_args *a = NULL;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--lora_rank", "--help"));
    CHECK(apus_args_wants_help(a));
    apus_args_destroy(&a);
}

TEST(distances)
{
    CHECK_EQ_U64(apusi_edit_distance("", ""), 0);
    CHECK_EQ_U64(apusi_edit_distance("abc", ""), 3);
    CHECK_EQ_U64(apusi_edit_distance("kitten", "sitting"), 3);
    CHECK_EQ_U64(apusi_edit_distance("lora_rank", "lora-rank"), 0);
    CHECK_EQ_U64(apusi_edit_distance("lora_rnak", "lora_rank"), 1);
    CHECK_EQ_U64(apusi_edit_distance("learning", "lerning"), 1);
}

TEST(commands)
{
    apus_cmd cmd = APUS_CMD_COUNT;

    CHECK_OK(apusi_cmd_resolve("sft", &cmd));
    CHECK(cmd == APUS_CMD_sft);
    CHECK_FAILS(apusi_cmd_resolve("inefr", &cmd), APUS_ERR_ARG, "did you mean infer?");
    CHECK_FAILS(apusi_cmd_resolve("nonsense", &cmd), APUS_ERR_ARG,
                "no command nonsense; did you mean one of sft, infer, export");
    CHECK_FAILS(apusi_cmd_resolve("web-ui", &cmd), APUS_ERR_SUPPORT, "web-ui: not supported yet");
    CHECK_FAILS(apusi_cmd_resolve("merge_lora", &cmd), APUS_ERR_SUPPORT,
                "merge-lora: not supported");
}

TEST(memory_may_run_out_anywhere)
{
    apus_args *a = NULL;
    uint64_t n = 0;
    apus_status st;

    do {
        apus_fault_set(APUS_FAULT_HOST_ALLOC, ++n);
        st = PARSE(&a, APUS_CMD_sft, "--dataset", "a", "b", "--lora_rank=4", "--report_to", "none");
        apus_fault_set(APUS_FAULT_HOST_ALLOC, 0);
        CHECK(st == APUS_OK || (st == APUS_ERR_MEMORY && a == NULL));
    } while (st != APUS_OK && n < 1000);
    CHECK(st == APUS_OK);
    CHECK(n > 20);
    apus_args_destroy(&a);
}
