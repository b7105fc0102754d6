/* The program from its command line to its exit code, and the pages of help. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli_internal.h"
#include "cmds.h"
#include "file.h"
#include "harness.h"
#include "progress.h"

/* Run the program with what it prints kept in two files; the texts are freed by the caller. */
static int run(char **out, char **err, int argc, char **argv)
{
    char *paths[2] = { apus_path_join(harness_folder(), "out"),
                       apus_path_join(harness_folder(), "err") };
    FILE *streams[2] = { stdout, stderr };
    char **texts[2] = { out, err };
    int saved[2], code;
    size_t bytes;

    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(paths[i], "w");

        fflush(streams[i]);
        saved[i] = dup(fileno(streams[i]));
        dup2(fileno(file), fileno(streams[i]));
        fclose(file);
    }
    code = apus_cli_main(argc, argv);
    for (int i = 0; i < 2; i++) {
        fflush(streams[i]);
        dup2(saved[i], fileno(streams[i]));
        close(saved[i]);
        if (apus_file_read(texts[i], &bytes, paths[i], 1 << 20) != APUS_OK)
            *texts[i] = apus_strdup("");
        apus_free(paths[i]);
    }
    return code;
}

#define WORDS(...)                                                                                 \
    (char *[])                                                                                     \
    {                                                                                              \
        "apus", __VA_ARGS__                                                                        \
    }
#define RUN(out, err, ...) run(out, err, (int)APUS_COUNT(WORDS(__VA_ARGS__)), WORDS(__VA_ARGS__))

/* The text begins so and holds those words; NULL: whatever it is. */
static void expect(int code, int wanted, const char *text, const char *begin, const char *words)
{
    CHECK_EQ_U64(code, wanted);
    if (begin && strncmp(text, begin, strlen(begin)) != 0)
        CHECK_EQ_STR(text, begin);
    if (words && !strstr(text, words))
        CHECK_EQ_STR(text, words);
}

TEST(exit_codes_and_where_texts_go)
{
    char *out = NULL, *err = NULL;
    int code;

    code = RUN(&out, &err, "--version");
    expect(code, 0, out, "apus " APUS_VERSION "\n", NULL);
    CHECK_EQ_STR(err, "");
    apus_free(out);
    apus_free(err);
    code = RUN(&out, &err, "nonsense");
    expect(code, 2, err, "apus: no command nonsense; did you mean", NULL);
    CHECK_EQ_STR(out, "");
    apus_free(out);
    apus_free(err);
    code = RUN(&out, &err, "rlhf", "--beta", "1");
    expect(code, 2, err, "apus: rlhf: not supported yet", NULL);
    apus_free(out);
    apus_free(err);
    code = RUN(&out, &err, "sft", "--lerning_rate", "3");
    expect(code, 2, err,
           "apus sft: error: unknown flag --lerning_rate; "
           "did you mean --learning_rate?\n",
           NULL);
    CHECK_EQ_STR(out, "run sh: `apus sft --lerning_rate 3`\n");
    apus_free(out);
    apus_free(err);
    code = RUN(&out, &err, "sft", "--dataset", "it's", "a b");
    expect(code, 2, out, "run sh: `apus sft --dataset 'it'\\''s' 'a b'`\n", NULL);
    expect(code, 2, err, "apus sft: error: --model is missing", NULL);
    apus_free(out);
    apus_free(err);
    /* A bench's stdout is its result and nothing else. */
    code = RUN(&out, &err, "bench", "-p", "x");
    expect(code, 2, err, "run sh: `apus bench -p x`\n", "--model");
    CHECK_EQ_STR(out, "");
    apus_free(out);
    apus_free(err);
}

TEST(topic)
{
    char *out = NULL, *err = NULL;
    int code;

    code = RUN(&out, &err, "help");
    expect(code, 0, out, "apus " APUS_VERSION " - ", "\n  sft        fine-tune");
    CHECK(strstr(out, "known and not supported yet: pt rlhf deploy") != NULL);
    apus_free(out);
    apus_free(err);
    code = RUN(&out, &err, "help", "sft");
    expect(code, 0, out, "apus sft - fine-tune",
           "\n  --lora_rank N                 rank of the adapter's matrices; in [1,1024] "
           "(default 8)\n");
    CHECK(strstr(out, "--tuner_type, --train_type TEXT") != NULL);
    CHECK(strstr(out, "`apus help sft --refused` lists them.") != NULL);
    CHECK(strstr(out, "--deepspeed") == NULL);
    CHECK(strstr(out, "--result_path") == NULL);
    apus_free(out);
    apus_free(err);
    code = RUN(&out, &err, "help", "nope");
    expect(code, 2, err, "apus help: error: no command nope", NULL);
    apus_free(out);
    apus_free(err);
    code = RUN(&out, &err, "help", "rlhf");
    expect(code, 0, out, NULL, "Not supported yet.");
    apus_free(out);
    apus_free(err);
}

TEST(refused)
{
    char *out = NULL, *err = NULL;
    int code;

    code = RUN(&out, &err, "help", "sft", "--refused");
    expect(code, 0, out, NULL, " --deepspeed\n");
    apus_free(out);
    apus_free(err);
}

TEST(help_of_a_command_is_help_about_it)
{
    char *a = NULL, *b = NULL, *err = NULL;

    for (int cmd = 0; cmd < APUS_CMD_COUNT; cmd++) {
        char *name = (char *)(uintptr_t)apusi_cmd_name((apus_cmd)cmd);

        if (!apus_cmd_of((apus_cmd)cmd)->run || cmd == APUS_CMD_help)
            continue;
        CHECK_EQ_U64(RUN(&a, &err, "help", name), 0);
        apus_free(err);
        CHECK_EQ_U64(RUN(&b, &err, name, "--help"), 0);
        CHECK_EQ_STR(a, b);
        for (const char *line = b; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
            CHECK(strcspn(line, "\n") <= 110);
        apus_free(err);
        apus_free(a);
        apus_free(b);
    }
}

TEST(environment_table)
{
    char *out = NULL, *err = NULL;
    int code;

    setenv("APUS_KERNEL", "matmul:plain", 1);
    code = RUN(&out, &err, "env");
    expect(code, 0, out, "name ", "APUS_KERNEL          matmul:plain");
    unsetenv("APUS_KERNEL");
    apus_free(out);
    apus_free(err);
}

TEST(a_bar_says_how_far_and_how_long)
{
    apus_progress p = { .label = "Train", .done = 5, .total = 20, .start_ns = 1000 };
    char text[256];
    const uint64_t now = 1000 + 10000000000ull;

    snprintf(p.tail, sizeof(p.tail), "loss 2.31");
    apus_progress_text(&p, now, 70, text, sizeof(text));
    CHECK_EQ_STR(text, "Train:  25%|####            | 5/20 [00:10<00:30, 2.00 s/it] loss 2.31");
    CHECK_EQ_U64(apus_progress_text(&p, now, 30, text, sizeof(text)), 29);
    /* A resumed run counts its own steps only. */
    p.first = 4;
    apus_progress_text(&p, now, 70, text, sizeof(text));
    CHECK(strstr(text, "[00:10<02:30, 10.00 s/it]") != NULL);
    p.total = 0;
    apus_progress_text(&p, now, 70, text, sizeof(text));
    CHECK_EQ_STR(text, "Train: 5 [00:10] loss 2.31");
    apus_progress_time(text, sizeof(text), 3725);
    CHECK_EQ_STR(text, "1:02:05");
}
