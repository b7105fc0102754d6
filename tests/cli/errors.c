/* What goes wrong outside the program ends it with one sentence that says what, where and what to
 * do, and with the exit code that cmds.h promises; nothing half-written is left behind. */
#include <stdio.h>
#include <sys/stat.h>

#include "place.h"

/* ---- flags ---- */

TEST(wrong_calls_end_with_2)
{
    const char *folder = new_folder();

    fails(folder, "sft --lora_rnak 4", 2, "unknown flag --lora_rnak", "--lora_rank?");
    fails(folder, "sft --lora_rank abc", 2, "--lora_rank", "abc");
    fails(folder, "sft --model m", 2, "--dataset is missing", NULL);
    fails(folder, "sft --dataset x", 2, "--model is missing", NULL);
    fails(folder, "sft --model m --dataset x --deepspeed zero2", 2, "--deepspeed", "not supported");
    fails(folder, "export --adapters a", 2, "--merge_lora true", NULL);
    fails(folder, "bench -m m -p x", 2, "--n_prompt", NULL);
}

TEST(values_that_cannot_be)
{
    const char *folder = workplace();

    fails(folder, SFT FEW "--lora_rank 0", 2, "--lora_rank 0: expected", "in [1, 1024]");
    fails(folder, SFT FEW "--lora_rank 1025", 2, "--lora_rank 1025: expected", "in [1, 1024]");
    fails(folder, SFT FEW "--learning_rate nan", 2, "--learning_rate nan: expected a number", NULL);
    fails(folder, SFT FEW "--learning_rate 1e999", 2, "--learning_rate 1e999: expected", NULL);
    fails(folder, SFT FEW "--learning_rate -1", 2, "--learning_rate -1: expected", "[0, inf)");
    fails(folder, SFT FEW "--max_length 0", 2, "--max_length 0: expected", "[1, ");
    fails(folder, SFT "--per_device_train_batch_size 65", 2, "batch_size 65: expected", "[1, 64]");
    fails(folder, SFT FEW "--per_device_eval_batch_size 65", 2, "expected", "[1, 64]");
    fails(folder, SFT FEW "--target_modules nope", 2, "called nope", "q_proj, k_proj");
    fails(folder, "infer --model m --temperature nan", 2, "--temperature nan: expected", NULL);
    fails(folder, "infer --model m --max_new_tokens 0", 2, "--max_new_tokens 0: expected", NULL);
    fails(folder, "bench -m m -p 0 -n 0", 2, "nothing to measure", NULL);
}

/* Of the environment: a value that means nothing is not passed over. */
TEST(variables_that_cannot_be)
{
    static const struct {
        const char *variable;
        int code;
        const char *words;
    } cases[] = {
        { "APUS_KERNEL=matmul:tle", 2, "there is no algorithm 'matmul:tle'" },
        { "APUS_KERNEL=plain", 2, "matmul:plain" },
        { "APUS_HEAP_MIB=4GB", 2, "APUS_HEAP_MIB is '4GB'; it must be a whole number of MiB" },
        { "APUS_DEVICE=99", 1, "no device '99'; there is 0: " },
        { "APUS_LOG=loud", 0, "APUS_LOG is 'loud'; it must be error, warn, info or debug" },
    };
    const char *folder = workplace();

    if (!has_device())
        return;
    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        child c;

        REQUIRE(run_with(&c, SFT FEW,
                         &(child_params) { .folder = folder, .env = { cases[i].variable } }));
        if (!CHECK_EQ_U64(c.code, cases[i].code))
            fprintf(stderr, "%s\n%s\n", cases[i].variable, c.err);
        says(&c, cases[i].words);
        child_release(&c);
    }
}

/* ---- files ---- */

TEST(missing_files_are_named)
{
    const char *folder = workplace();

    fails(folder, "sft --model nowhere --dataset rows.jsonl", 1, "nowhere", NULL);
    fails(folder, "sft --model m --template chatml --dataset none.jsonl", 1, "none.jsonl", NULL);
    fails(folder, "infer --model m --template chatml --val_dataset none.jsonl", 1, "none.jsonl",
          NULL);
    fails(folder, "infer --model m --template chatml --adapters gone", 1, "gone", NULL);
    fails(folder, "inspect nowhere", 1, "nowhere", NULL);
    fails(folder, "export --model m --adapters gone --merge_lora true", 1, "gone", NULL);
    fails(folder, "sft --model m --template nope --dataset rows.jsonl", 1, "nope", NULL);
    fails(folder, SFT FEW "--resume_from_checkpoint gone", 1, "gone", NULL);
}

TEST(what_is_no_model_and_no_adapter)
{
    const char *folder = workplace();
    char *path = apus_path_join(folder, "e");

    CHECK_OK(apus_dir_create(path));
    apus_free(path);
    fails(folder, "sft --model Some/Name --dataset rows.jsonl", 1,
          "model Some/Name: no such file or folder; models are local, nothing is downloaded", NULL);
    fails(folder, "inspect e", 1, "model e: the folder has no config.json; name a folder", NULL);
    fails(folder, "inspect rows.jsonl", 1, "rows.jsonl: not a GGUF file", NULL);
    fails(folder, "inspect /dev/zero", 1, "/dev/zero: it is not a plain file", NULL);
    fails(folder, "infer --model m --template chatml --adapters m", 1,
          "adapter m: there is no adapter_config.json in it; name a checkpoint folder", NULL);
    fails(folder, SFT FEW "--adapters m", 1, "adapter m: there is no adapter_config.json", NULL);
    fails(folder, SFT FEW "--resume_from_checkpoint e", 1, "adapter e: ", NULL);
}

TEST(a_model_without_a_tokenizer)
{
    const char *folder = workplace();
    char *path = apus_path_join(folder, "m/tokenizer.json");

    CHECK_OK(apus_path_remove(path));
    apus_free(path);
    fails(folder, SFT, 1, "tokenizer.json", NULL);
}

/* ---- rows ---- */

TEST(malformed_lines_are_named_by_file_line_and_column)
{
    const char *folder = workplace();

    put_text(folder, "rows.jsonl", ROW("red", "red") "{\"messages\": [}\n");
    fails(folder, SFT FEW, 1, "rows.jsonl:2: column 15", NULL);
    put_text(folder, "rows.jsonl", "");
    fails(folder, SFT FEW, 1, "rows.jsonl", NULL);
}

TEST(bytes_that_are_no_text)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *words;
    } cases[] = {
#define BYTES(text) text, sizeof(text) - 1
        { BYTES("{\"text\": \"a\0b\"}\n"), "rows.jsonl:1: column 12: control character" },
        { BYTES("{\"text\": \"a\\u0000b\"}\n"), "rows.jsonl:1: column 12: \\u0000" },
        { BYTES("{\"text\": \"a\xff\"}\n"), "rows.jsonl:1: column 12: invalid UTF-8" },
        { BYTES("{\"text\": \"\\ud800\"}\n"), "rows.jsonl:1: column 11: half of a surrogate" },
        { BYTES("\xff\xfe{\0}\0"), "rows.jsonl: is UTF-16 text; save it as UTF-8" },
#undef BYTES
    };
    const char *folder = workplace();

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        put(folder, "rows.jsonl", cases[i].bytes, cases[i].n);
        fails(folder, SFT FEW, 1, cases[i].words, NULL);
        fails(folder, "infer --model m --template chatml --val_dataset rows.jsonl", 1,
              cases[i].words, NULL);
    }
}

TEST(samples_that_cannot_be)
{
    static const char line[] = "sft --model m --template chatml --dataset ";
    static const char *const cases[][2] = {
        { "rows.jsonl#0", "rows.jsonl#0: #0 asks for no row; without it all are taken" },
        { "rows.jsonl#99999999999999999999", "rows can be asked for" },
    };
    const char *folder = workplace();

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        char *words = apus_format("%s%s", line, cases[i][0]);

        fails(folder, words, 2, cases[i][1], NULL);
        apus_free(words);
    }
}

TEST(rows_without_an_answer_are_left_out)
{
    const char *folder = workplace();
    child c;

    if (!has_device())
        return;
    put_text(folder, "rows.jsonl",
             ROW("red", "red") "{\"messages\": [{\"role\": \"user\", \"content\": \"red\"}]}\n" ROW(
                 "blue", "blue"));
    REQUIRE(run_with(&c, SFT FEW, &(child_params) { .folder = folder }));
    CHECK_EQ_U64(c.code, 0);
    says(&c, "[WARNING:apus] ");
    says(&c, "rows.jsonl:2");
    says(&c, "train_dataset: 2 rows");
    child_release(&c);
    put_text(folder, "rows.jsonl",
             "{\"messages\": [{\"role\": \"user\", \"content\": \"red\"}]}\n");
    fails(folder, SFT FEW, 1, "rows", NULL);
}

TEST(rows_that_ask_nothing_are_not_answered)
{
    const char *folder = workplace();
    child c;

    if (!has_device())
        return;
    put_text(folder, "rows.jsonl",
             ROW("red", "red") "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}\n");
    REQUIRE(run_with(&c,
                     "infer --model m --template chatml --val_dataset rows.jsonl "
                     "--max_new_tokens 1 --result_path r.jsonl",
                     &(child_params) { .folder = folder }));
    CHECK_EQ_U64(c.code, 0);
    says(&c, "rows.jsonl:2: it asks nothing; the row is left out");
    child_release(&c);
}

TEST(a_row_that_is_too_long_to_answer)
{
    const char *folder = workplace();

    if (!has_device())
        return;
    put_text(folder, "rows.jsonl", ROW("red", "a") ROW("red red red red red red red red", "b"));
    fails(folder,
          "infer --model m --template chatml --val_dataset rows.jsonl --max_new_tokens 1 "
          "--max_length 30 --result_path r.jsonl",
          2, "rows.jsonl:2: the prompt has ", " tokens; with --max_length 30 at most 29 fit");
}

TEST(rows_that_are_all_too_long)
{
    const char *folder = workplace();

    fails(folder, SFT FEW "--max_length 8", 1,
          "no row is left: 2 of 2 are longer than --max_length 8",
          "; use a larger one, or --truncation_strategy left");
    fails(folder, SFT FEW "--max_length 8", 1, "(the shortest has 27 tokens)", NULL);
    fails(folder, SFT FEW "--max_length 1 --truncation_strategy left", 1,
          "no row is left: --max_length 1 cuts the answers off; use a larger one", NULL);
    fails(folder, SFT FEW "--max_length 2 --truncation_strategy right", 1,
          "no row is left: --max_length 2 cuts the answers off", NULL);
    put_text(folder, "rows.jsonl", ROW("red", "") ROW("blue", ""));
    fails(folder, SFT FEW "--max_length 9", 1, "no row is left", NULL);
}

/* ---- devices ---- */

TEST(unknown_devices_are_answered_with_those_there_are)
{
    if (!has_device())
        return;
    fails(workplace(), SFT FEW "--device voodoo", 1, "no device 'voodoo'; there is 0: ", NULL);
    fails(workplace(), SFT FEW "--device 99", 1, "no device '99'; there is 0: ", NULL);
    fails(workplace(), "bench -m m --device 99", 1, "no device '99'; there is 0: ", NULL);
}

TEST(devices_lists_algorithms)
{
    const char *folder = workplace();
    child c;

    if (!has_device())
        return;
    REQUIRE(run_with(&c, "devices", &(child_params) { .folder = folder }));
    CHECK(strstr(c.out, "\n  matmul\n    1 row                    ") != NULL);
    CHECK(strstr(c.out, "\n    gradient of a weight     ") != NULL);
    CHECK(strstr(c.out, "\n  attention\n    heads of 64              ") != NULL);
    CHECK(strstr(c.out, "\n  attention_back\n    heads of 64              ") != NULL);
    CHECK(strstr(c.out, "    512 rows                 plain  ") == NULL);
    child_release(&c);
    REQUIRE(run_with(&c, "devices",
                     &(child_params) { .folder = folder, .env = { "APUS_KERNEL=matmul:plain" } }));
    CHECK(strstr(c.out, "    512 rows                 plain  ") != NULL);
    child_release(&c);
}

TEST(no_driver)
{
    const child_params p = { .folder = workplace(),
                             .env = { "VK_DRIVER_FILES=/nonexistent",
                                      "VK_ICD_FILENAMES=/nonexistent",
                                      "VK_LOADER_DRIVERS_DISABLE=*" } };
    child c;

    REQUIRE(run_with(&c, "devices", &p));
    CHECK_EQ_U64(c.code, 1);
    says(&c, "apus devices: error: no Vulkan driver found: install the one of your GPU");
    child_release(&c);
    REQUIRE(run_with(&c, SFT FEW, &p));
    CHECK_EQ_U64(c.code, 1);
    says(&c, "apus sft: error: no Vulkan driver found: install the one of your GPU");
    child_release(&c);
}

/* ---- adapters ---- */

/* An adapter of one module, whose lora_A has `cols` columns. */
static void put_adapter(const char *folder, uint32_t cols)
{
    static const char config[] = "{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 32, "
                                 "\"target_modules\": [\"q_proj\"]}";
    static const char name[] = "base_model.model.model.layers.0.self_attn.q_proj.lora_";
    const size_t a = (size_t)8 * cols * 4, b = (size_t)64 * 8 * 4;
    char *header = apus_format("{\"%sA.weight\":{\"dtype\":\"F32\",\"shape\":[8,%u],"
                               "\"data_offsets\":[0,%zu]},\"%sB.weight\":{\"dtype\":\"F32\","
                               "\"shape\":[64,8],\"data_offsets\":[%zu,%zu]}}",
                               name, cols, a, name, a, a + b);
    const uint64_t n = strlen(header);
    char *file = apus_alloc(8 + n + a + b);

    memcpy(file, &n, 8);
    memcpy(file + 8, header, n);
    put(folder, "a/adapter_model.safetensors", file, 8 + n + a + b);
    put_text(folder, "a/adapter_config.json", config);
    apus_free(file);
    apus_free(header);
}

TEST(an_adapter_of_another_shape)
{
    const char *folder = workplace();
    char *path = apus_path_join(folder, "a");
    child c;

    if (!has_device())
        return;
    CHECK_OK(apus_dir_create(path));
    apus_free(path);
    put_adapter(folder, 32);
    fails(folder, "infer --model m --template chatml --adapters a", 1, "q_proj", "32");
    put_adapter(folder, 64);
    REQUIRE(run_with(&c, "infer --model m --template chatml --adapters a --max_new_tokens 2",
                     &(child_params) { .folder = folder, .input = "red\nexit\n" }));
    CHECK_EQ_U64(c.code, 0);
    child_release(&c);
    fails(folder, "infer --adapters a", 2, "--model is missing", "a/args.json");
    put_text(folder, "a/adapter_config.json", "{\"peft_type\": \"LOHA\", \"r\": 8}");
    fails(folder, "infer --model m --template chatml --adapters a", 1, "LOHA", NULL);
}

/* ---- what cannot be written ---- */

TEST(a_full_disk)
{
    const char *folder = workplace();
    char *path = apus_path_join(folder, "o");
    child c;

    if (!has_device())
        return;
    fails(folder,
          "infer --model m --template chatml --val_dataset rows.jsonl --max_new_tokens 1 "
          "--result_path /dev/full",
          1, "/dev/full", "no space left on device");
    CHECK_OK(apus_dir_create(path));
    apus_free(path);
    REQUIRE(run_with(&c, SFT FEW, &(child_params) { .folder = folder, .small_disk = "o" }));
    if (c.code == 125) {
        harness_skip("a small file system cannot be mounted here");
    } else {
        CHECK_EQ_U64(c.code, 1);
        says(&c, "apus sft: error: ");
        says(&c, "/o: a checkpoint needs 1.2 MiB and the disk has ");
    }
    child_release(&c);
}

TEST(folders_that_cannot_be_made)
{
    const char *folder = workplace();

    if (!has_device())
        return;
    put_text(folder, "file", "x");
    fails(folder, SFT FEW "--output_dir file/o", 1, "file/o", NULL);
    fails(folder, SFT FEW "--output_dir /proc/o", 1, "/proc/o", NULL);
    fails(folder,
          "infer --model m --template chatml --val_dataset rows.jsonl --max_new_tokens 1 "
          "--result_path file/r.jsonl",
          1, "file", NULL);
    if (geteuid() != 0) { /* root writes everywhere */
        char *path = apus_path_join(folder, "locked");

        CHECK_OK(apus_dir_create(path));
        chmod(path, 0500);
        fails(folder, SFT FEW "--output_dir locked/o", 1, "locked/o", NULL);
        apus_free(path);
    }
}

TEST(a_read_only_folder)
{
    static const char *const lines[] = {
        SFT FEW,
        SFT FEW "--output_dir o/deep",
        "infer --model m --template chatml --val_dataset rows.jsonl --max_new_tokens 1 "
        "--result_path o/r.jsonl",
    };
    const char *folder = workplace();
    char *path = apus_path_join(folder, "o");
    child c;

    if (!has_device())
        return;
    CHECK_OK(apus_dir_create(path));
    apus_free(path);
    for (size_t i = 0; i < APUS_COUNT(lines); i++) {
        REQUIRE(run_with(&c, lines[i], &(child_params) { .folder = folder, .read_only = "o" }));
        if (c.code == 125) {
            harness_skip("a read-only file system cannot be mounted here");
        } else {
            CHECK_EQ_U64(c.code, 1);
            says(&c, ": error: ");
            says(&c, i == 0 ? "/o/" : i == 1 ? "/o/deep" : "o/r.jsonl");
            says(&c, "read-only file system");
            CHECK(!strstr(c.err, "Saving model checkpoint"));
        }
        child_release(&c);
    }
}

/* ---- interruptions ---- */

TEST(an_interrupted_training_leaves_a_checkpoint)
{
    const char *folder = workplace();
    child c;
    char *line = NULL, *at;
    unsigned step = 0;

    if (!has_device())
        return;
    REQUIRE(run_with(&c, SFT FEW "--max_steps 1000000",
                     &(child_params) { .folder = folder, .interrupt_at = "'5/1000000'" }));
    CHECK_EQ_U64(c.code, 130);
    at = strstr(c.err, "Saving model checkpoint to ");
    if (CHECK(at != NULL) && (at = strstr(at, "checkpoint-")) != NULL)
        step = (unsigned)strtoul(at + 11, NULL, 10);
    CHECK(step > 0);
    child_release(&c);
    line = apus_format(SFT "--max_steps %u --per_device_train_batch_size 1 --report_to none "
                           "--gradient_accumulation_steps 1 --output_dir p --add_version false "
                           "--resume_from_checkpoint o/checkpoint-%u",
                       step + 1, step);
    REQUIRE(run_with(&c, line, &(child_params) { .folder = folder }));
    if (!CHECK_EQ_U64(c.code, 0))
        fprintf(stderr, "%s\n", c.err);
    child_release(&c);
    apus_free(line);
}

/* An accident of the device is a warning and no end. */
TEST(a_training_survives_its_device)
{
    const char *folder = workplace();
    child c;

    if (!has_device())
        return;
    REQUIRE(run_with(&c, SFT FEW "--max_steps 60 --save_steps 2",
                     &(child_params) { .folder = folder, .env = { "APUS_FAULT=gpu_lost:300" } }));
    if (!CHECK_EQ_U64(c.code, 0))
        fprintf(stderr, "%s\n", c.err);
    says(&c, "[WARNING:apus] in step ");
    says(&c, ": the device was lost, last kernel submitted: ");
    says(&c, "[WARNING:apus] going on after step ");
    says(&c, "last_model_checkpoint: ");
    child_release(&c);
}

TEST(a_chat_ends_quietly_where_its_input_ends)
{
    const child_params p[] = {
        { .folder = workplace(), .input = "" },
        { .folder = workplace(), .input = "red" },
        { .folder = workplace(), .input = "multi-line\nred" },
        { .folder = workplace(), .input = "reset-system\n" },
        { .folder = workplace(),
          .input = "reset-system\nYou are kind.\nred\nclear\nred\nQUIT\nred\n" },
    };
    child c;

    if (!has_device())
        return;
    for (size_t i = 0; i < APUS_COUNT(p); i++) {
        size_t answers = 0;

        REQUIRE(run_with(&c, "infer --model m --template chatml --max_new_tokens 2", &p[i]));
        if (!CHECK_EQ_U64(c.code, 0))
            fprintf(stderr, "%s\n", c.err);
        for (const char *at = c.out; (at = strstr(at, "-----\n")) != NULL; at++)
            answers++;
        CHECK_EQ_U64(answers, i == 0 || i == 3 ? 0 : i == 4 ? 2 : 1);
        child_release(&c);
    }
}
