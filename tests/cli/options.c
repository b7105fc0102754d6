/* The typed options of commands: what the table leaves open, and what concerns several flags. */
#include "file.h"
#include "harness.h"
#include "options.h"

#define WORDS(...)                                                                                 \
    (char *[])                                                                                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define PARSE(out, cmd, ...)                                                                       \
    apus_args_parse((out), (cmd), (int)APUS_COUNT(WORDS(__VA_ARGS__)), WORDS(__VA_ARGS__))

TEST(sft_decides_what_swift_decides)
{
    apus_args *a = NULL;
    apus_sft_options o;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--model", "/x/Tiny-1B.Q4.gguf", "--dataset", "a.jsonl",
                     "--per_device_train_batch_size", "3"));
    REQUIRE_OK(apus_sft_options_read(&o, a));
    CHECK(o.learning_rate == 1e-4);
    CHECK_EQ_U64(o.gradient_accumulation_steps, 6);
    CHECK_EQ_STR(o.output_dir, "output/Tiny-1B.Q4");
    CHECK_EQ_STR(o.truncation_strategy, "delete");
    CHECK(o.eval_strategy == APUS_WHEN_NO);
    CHECK(o.save_strategy == APUS_WHEN_STEPS);
    CHECK(o.eval_steps == 500 && o.save_steps == 500);
    CHECK(o.all_linear && o.tensorboard && !o.full && o.add_version);
    CHECK_EQ_U64(o.max_steps, 0);
    /* What was decided is in force, so that args.json shows it. */
    CHECK(apus_args_float(a, "learning_rate") == 1e-4);
    CHECK_EQ_STR(apus_args_text(a, "eval_strategy"), "no");
    apus_args_destroy(&a);
}

TEST(sft_full_split_and_cadence)
{
    apus_args *a = NULL;
    apus_sft_options o;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--model", "dir/m/", "--dataset", "a", "--tuner_type",
                     "full", "--split_dataset_ratio", "0.1", "--save_steps", "0.25", "--max_steps",
                     "10", "--report_to", "none", "--target_modules", "q_proj", "v_proj",
                     "--save_strategy", "epoch"));
    REQUIRE_OK(apus_sft_options_read(&o, a));
    CHECK(o.full && o.learning_rate == 1e-5);
    CHECK_EQ_STR(o.output_dir, "output/m");
    CHECK(o.eval_strategy == APUS_WHEN_EPOCH && o.eval_steps == 0.25);
    CHECK(!o.tensorboard && !o.all_linear);
    CHECK_EQ_U64(o.target_modules.n, 2);
    CHECK_EQ_U64(o.max_steps, 10);
    CHECK_EQ_U64(apus_steps_of(o.save_steps, 10), 3);
    CHECK_EQ_U64(apus_steps_of(500, 10), 500);
    CHECK_EQ_U64(apus_steps_of(0.001, 10), 1);
    apus_args_destroy(&a);
}

TEST(sft_optimizers)
{
    static const struct {
        char *word;
        apus_optim optim;
    } cases[] = { { "adamw_torch", APUS_OPTIM_ADAMW },
                  { "adamw_torch_fused", APUS_OPTIM_ADAMW },
                  { "adamw_8bit", APUS_OPTIM_ADAMW_8BIT },
                  { "adamw_bnb_8bit", APUS_OPTIM_ADAMW_8BIT } };

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        apus_args *a = NULL;
        apus_sft_options o;
        REQUIRE_OK(
            PARSE(&a, APUS_CMD_sft, "--model", "m", "--dataset", "a", "--optim", cases[i].word));
        REQUIRE_OK(apus_sft_options_read(&o, a));
        CHECK(o.optim == cases[i].optim);
        apus_args_destroy(&a);
    }
}

TEST(sft_val_dataset_switches_the_split_off)
{
    apus_args *a = NULL;
    apus_sft_options o;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--model", "m", "--dataset", "a", "--val_dataset", "v",
                     "--split_dataset_ratio", "0.5"));
    REQUIRE_OK(apus_sft_options_read(&o, a));
    CHECK(o.split_dataset_ratio == 0);
    CHECK(o.eval_strategy == APUS_WHEN_STEPS);
    apus_args_destroy(&a);
}

TEST(sft_packs_are_as_long_as_rows)
{
    apus_args *a = NULL;
    apus_sft_options o;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--model", "m", "--dataset", "a"));
    REQUIRE_OK(apus_sft_options_read(&o, a));
    CHECK(!o.packing && o.packing_length == 0);
    CHECK(!apus_args_bool(a, "padding_free"));
    apus_args_destroy(&a);
    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--model", "m", "--dataset", "a", "--packing", "true",
                     "--max_length", "300"));
    REQUIRE_OK(apus_sft_options_read(&o, a));
    CHECK(o.packing && o.packing_length == 300 && o.packing_num_proc == 1);
    CHECK_EQ_STR(o.packing_strategy, "binpack");
    CHECK(apus_args_bool(a, "padding_free"));
    CHECK_EQ_U64(apus_args_uint(a, "packing_length"), 300);
    apus_args_destroy(&a);
    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--model", "m", "--dataset", "a", "--packing", "true",
                     "--max_length", "300", "--packing_length", "900", "--packing_strategy",
                     "sequential", "--packing_num_proc", "3"));
    REQUIRE_OK(apus_sft_options_read(&o, a));
    CHECK(o.packing && o.packing_length == 900 && o.packing_num_proc == 3);
    CHECK_EQ_STR(o.packing_strategy, "sequential");
    apus_args_destroy(&a);
}

TEST(sft_misses_are_named)
{
    apus_args *a = NULL;
    apus_sft_options o;

    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--dataset", "a"));
    CHECK_FAILS(apus_sft_options_read(&o, a), APUS_ERR_ARG, "--model is missing");
    apus_args_destroy(&a);
    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--model", "m"));
    CHECK_FAILS(apus_sft_options_read(&o, a), APUS_ERR_ARG, "--dataset is missing");
    apus_args_destroy(&a);
    REQUIRE_OK(PARSE(&a, APUS_CMD_sft, "--model", "m", "--dataset", "a", "--save_steps", "2.5"));
    CHECK_FAILS(apus_sft_options_read(&o, a), APUS_ERR_ARG,
                "--save_steps 2.5: expected a whole number");
    apus_args_destroy(&a);
}

TEST(system_is_a_text_or_a_file)
{
    apus_args *a = NULL;
    apus_infer_options o;
    char *path = apus_path_join(harness_folder(), "system.txt");

    REQUIRE_OK(PARSE(&a, APUS_CMD_infer, "--model", "m", "--system", "one\\ntwo"));
    REQUIRE_OK(apus_infer_options_read(&o, a));
    CHECK_EQ_STR(o.system, "one\ntwo");
    apus_args_destroy(&a);
    REQUIRE_OK(apus_file_write(path, "from a file", 11));
    REQUIRE_OK(PARSE(&a, APUS_CMD_infer, "--model", "m", "--system", path));
    REQUIRE_OK(apus_infer_options_read(&o, a));
    CHECK_EQ_STR(o.system, "from a file");
    apus_args_destroy(&a);
    REQUIRE_OK(PARSE(&a, APUS_CMD_infer, "--model", "m", "--system", "nowhere.txt"));
    CHECK_FAILS(apus_infer_options_read(&o, a), APUS_ERR_MISSING, "nowhere.txt");
    apus_args_destroy(&a);
    apus_free(path);
}

TEST(infer_chats_unless_it_has_rows)
{
    apus_args *a = NULL;
    apus_infer_options o;

    REQUIRE_OK(PARSE(&a, APUS_CMD_infer, "--model", "m"));
    REQUIRE_OK(apus_infer_options_read(&o, a));
    CHECK(o.chat && o.stream && !o.has_temperature && !o.has_top_p && o.top_p == 1);
    apus_args_destroy(&a);
    REQUIRE_OK(PARSE(&a, APUS_CMD_infer, "--adapters", "c", "--load_data_args", "true",
                     "--temperature", "0", "--top_k", "-1"));
    REQUIRE_OK(apus_infer_options_read(&o, a));
    CHECK(!o.chat && !o.stream && o.has_temperature && o.temperature == 0);
    CHECK(o.has_top_k);
    CHECK_EQ_U64(o.top_k, 0);
    CHECK(o.model == NULL);
    apus_args_destroy(&a);
    REQUIRE_OK(PARSE(&a, APUS_CMD_infer, "--stream"));
    CHECK_FAILS(apus_infer_options_read(&o, a), APUS_ERR_ARG, "--model is missing");
    apus_args_destroy(&a);
}

TEST(rows_at_once)
{
    static const struct {
        char *size, *stream;
        uint32_t want; /* 0: as many as fit */
    } cases[] = {
        { "1", "false", 1 },   { "5", "false", 5 },           { "64", "false", 64 },
        { "65", "false", 64 }, { "2000000000", "false", 64 }, { "-1", "false", 0 },
        { "5", "true", 1 },    { "-1", "true", 1 },
    };
    apus_args *a = NULL;
    apus_infer_options o;

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        REQUIRE_OK(PARSE(&a, APUS_CMD_infer, "--model", "m", "--val_dataset", "r.jsonl",
                         "--max_batch_size", cases[i].size, "--stream", cases[i].stream));
        REQUIRE_OK(apus_infer_options_read(&o, a));
        CHECK_EQ_U64(o.max_batch_size, cases[i].want);
        apus_args_destroy(&a);
    }
    REQUIRE_OK(PARSE(&a, APUS_CMD_infer, "--model", "m"));
    REQUIRE_OK(apus_infer_options_read(&o, a));
    CHECK_EQ_U64(o.max_batch_size, 1);
    apus_args_destroy(&a);
    REQUIRE_OK(PARSE(&a, APUS_CMD_infer, "--model", "m", "--max_batch_size", "0"));
    CHECK_FAILS(apus_infer_options_read(&o, a), APUS_ERR_ARG, "--max_batch_size 0: expected");
    apus_args_destroy(&a);
}

TEST(export_names_its_folder)
{
    apus_args *a = NULL;
    apus_export_options o;

    REQUIRE_OK(
        PARSE(&a, APUS_CMD_export, "--adapters", "out/checkpoint-20/", "--merge_lora", "true"));
    REQUIRE_OK(apus_export_options_read(&o, a));
    CHECK_EQ_STR(o.output_dir, "out/checkpoint-20-merged");
    apus_args_destroy(&a);
    REQUIRE_OK(PARSE(&a, APUS_CMD_export, "--adapters", "c"));
    CHECK_FAILS(apus_export_options_read(&o, a), APUS_ERR_ARG, "--merge_lora true");
    apus_args_destroy(&a);
}

TEST(bench_lists_of_numbers)
{
    apus_args *a = NULL;
    apus_bench_options o;

    REQUIRE_OK(
        PARSE(&a, APUS_CMD_bench, "-m", "m", "-p", "512,64", "8", "-n", "0", "--train", "256"));
    REQUIRE_OK(apus_bench_options_read(&o, a));
    CHECK_EQ_U64(o.n_prompts, 3);
    CHECK_EQ_U64(o.n_prompt[0], 512);
    CHECK_EQ_U64(o.n_prompt[1], 64);
    CHECK_EQ_U64(o.n_prompt[2], 8);
    CHECK_EQ_U64(o.n_gens, 1);
    CHECK_EQ_U64(o.n_gen[0], 0);
    CHECK_EQ_U64(o.n_depths, 1);
    CHECK_EQ_U64(o.n_parallels, 1);
    CHECK_EQ_U64(o.n_parallel[0], 1);
    CHECK_EQ_U64(o.train_tokens, 256);
    CHECK_EQ_STR(o.output, "md");
    apus_args_destroy(&a);
    for (size_t i = 0; i < 4; i++) {
        static char *const bad[] = { "5x", "5,", ",5", "99999999999" };

        REQUIRE_OK(PARSE(&a, APUS_CMD_bench, "-m", "m", "-d", bad[i]));
        CHECK_FAILS(apus_bench_options_read(&o, a), APUS_ERR_ARG, "--n_depth");
        apus_args_destroy(&a);
    }
}
