/* batch.c - rows answered several at once: the file of answers is the one that rows one by one
 * give, byte for byte.  matmul's definition is forced, which sums a row alike among others and
 * alone. */
#include "json.h"
#include "place.h"
#include "str.h"

#define INFER "infer --model m --template chatml --val_dataset rows.jsonl --result_path r.jsonl "
#define PLAIN "APUS_KERNEL=matmul:plain"

/* Rows of different lengths, one that asks nothing, one without an answer. */
static const char rows[] =
    ROW("red", "red") ROW("stone seven river red cloud apple green blue stone seven", "a")
        ROW("blue green",
            "b") "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}\n"
                 "{\"messages\": [{\"role\": \"user\", \"content\": \"cloud\"}]}\n" ROW(
                     "seven seven seven", "c") ROW("river", "d") ROW("apple apple stone", "e");
enum { ROWS = 8 };

static char *read_text(const char *folder, const char *name)
{
    char *path = apus_path_join(folder, name), *text = NULL;
    size_t bytes;

    if (apus_file_read(&text, &bytes, path, 1 << 24) != APUS_OK)
        text = apus_strdup("");
    apus_free(path);
    return text;
}

static size_t lines_of(const char *text)
{
    size_t n = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++)
        n++;
    return n;
}

/* The file of answers that a run in a folder of its own leaves; "" with a failed check. */
static char *answers(const char *text, const char *flags, const char *size, child *c)
{
    const char *folder = workplace();
    char *line = apus_format(INFER "%s %s", flags, size), *file = NULL;

    put_text(folder, "rows.jsonl", text);
    *c = (child) { 0 };
    if (run_with(c, line, &(child_params) { .folder = folder, .env = { PLAIN } }))
        file = read_text(folder, "r.jsonl");
    apus_free(line);
    return file ? file : apus_strdup("");
}

TEST(results_are_those_of_one_by_one)
{
    static const char *const sizes[] = { "--max_batch_size 2", "--max_batch_size 5",
                                         "--max_batch_size 1000", "--max_batch_size -1" };
    char *adapters = apus_format("--max_new_tokens 20 --temperature 1.2 --top_k 50 --seed 11 "
                                 "--adapters %s",
                                 harness_fixture("../golden/cases/llama_gqa_tied_rope3/lora"));
    const char *const flags[] = { "--max_new_tokens 24", adapters };

    for (size_t i = 0; has_device() && i < APUS_COUNT(flags); i++) {
        child c;
        char *alone = answers(rows, flags[i], "", &c);

        if (!CHECK_EQ_U64(c.code, 0))
            fprintf(stderr, "%s\n", c.err);
        CHECK(!strstr(c.err, "rows at once"));
        CHECK_EQ_U64(lines_of(alone), ROWS - 1);
        child_release(&c);
        for (size_t k = i ? 1 : 0; k < APUS_COUNT(sizes); k += i ? 2 : 1) {
            char *got = answers(rows, flags[i], sizes[k], &c);

            if (!CHECK_EQ_U64(c.code, 0))
                fprintf(stderr, "%s\n", c.err);
            says(&c, k == 0 ? "2 rows at once" : k == 1 ? "5 rows at once" : "8 rows at once");
            says(&c, "memory: planned peak ");
            says(&c, "rows.jsonl:4: it asks nothing; the row is left out");
            CHECK_EQ_STR(got, alone);
            CHECK(strstr(c.out, "'num_samples': 8,") != NULL);
            child_release(&c);
            apus_free(got);
        }
        apus_free(alone);
    }
    apus_free(adapters);
}

/* The rows before it are answered, whatever ran beside them. */
TEST(a_row_that_is_too_long_among_others)
{
    static const char text[] = ROW("red", "a") ROW("blue", "b")
        ROW("red red red red red red red red", "c") ROW("green", "d");
    static const char flags[] = "--max_new_tokens 3 --max_length 30";
    child one, four;

    if (!has_device())
        return;
    char *alone = answers(text, flags, "", &one),
         *got = answers(text, flags, "--max_batch_size 4", &four);
    CHECK_EQ_U64(one.code, 2);
    CHECK_EQ_U64(four.code, 2);
    says(&four, "4 rows at once, of up to 30 tokens each");
    says(&four, "error: rows.jsonl:3: the prompt has ");
    says(&four, " tokens; with --max_length 30 at most 29 fit");
    CHECK_EQ_U64(lines_of(got), 2);
    CHECK_EQ_STR(got, alone);
    apus_free(alone);
    apus_free(got);
    child_release(&one);
    child_release(&four);
}

/* What is printed but for the line that echoes the command and the one of times. */
static char *said(const child *c)
{
    const char *begin = strstr(c->out, "[QUERY]"), *end = strstr(c->out, "{'num_prompt_tokens'");

    return begin && end && end > begin ? apus_strndup(begin, (size_t)(end - begin))
                                       : apus_strdup("");
}

TEST(streamed_rows_follow_one_another)
{
    child one, four;

    if (!has_device())
        return;
    char *alone = answers(rows, "--max_new_tokens 6 --stream true", "", &one);
    char *got = answers(rows, "--max_new_tokens 6 --stream true", "--max_batch_size 4", &four);
    char *one_said = said(&one), *four_said = said(&four);
    CHECK_EQ_U64(four.code, 0);
    says(&four, "--stream true: the rows are answered one after another");
    CHECK(strstr(one_said, "[QUERY] apple apple stone\n[LABELS] e\n[RESPONSE] ") != NULL);
    CHECK_EQ_STR(four_said, one_said);
    CHECK_EQ_STR(got, alone);
    apus_free(alone);
    apus_free(got);
    apus_free(one_said);
    apus_free(four_said);
    child_release(&one);
    child_release(&four);
}

TEST(sizes_that_are_none)
{
    const char *folder = workplace();

    fails(folder, INFER "--max_batch_size 0", 2,
          "--max_batch_size 0: expected a number of rows, or -1 for as many as fit", NULL);
    fails(folder, INFER "--max_batch_size -2", 2, "--max_batch_size -2: expected a whole number in",
          NULL);
    fails(folder, INFER "--max_batch_size many", 2, "--max_batch_size many: expected", NULL);
    fails(folder, INFER "--max_batch_size 2.5", 2, "--max_batch_size 2.5: expected", NULL);
    fails(folder, "bench -m m -npl 0", 2,
          "--n_parallel 0: expected at most 16 whole numbers in [1, 64]", NULL);
    fails(folder, "bench -m m -npl 4,65", 2, "--n_parallel 4,65: expected", NULL);
}

/* The cache of a row of 4096 tokens is 2 MiB here. */
TEST(rows_that_do_not_fit_at_once)
{
    static const char line[] = INFER "--torch_dtype float32 --max_length 4096 --max_batch_size 8";
    const char *folder = workplace();
    child c;

    if (!has_device())
        return;
    put_text(folder, "rows.jsonl", rows);
    REQUIRE(run_with(&c, line,
                     &(child_params) { .folder = folder, .env = { PLAIN, "APUS_HEAP_MIB=14" } }));
    CHECK_EQ_U64(c.code, 1);
    says(&c, "error: --max_batch_size: 8 rows at once, of up to 4096 tokens each, do not fit: ");
    says(&c, " MiB are planned, ");
    says(&c, " would, and more with a smaller --max_length or --max_new_tokens");
    child_release(&c);
}

static double field(const cJSON *rows_of, int row, const char *name)
{
    return apus_json_number(cJSON_GetArrayItem(rows_of, row), name, -1);
}

/* Two tokens each of one and of three sequences: a step reads the weights once, and of each
 * sequence 512 bytes for each of the tokens that it has by then, one and two. */
TEST(a_bench_of_several_sequences)
{
    child c;
    cJSON *got = NULL;

    if (!has_device())
        return;
    REQUIRE(run_with(&c, "bench -m m -p 0 -n 2 -npl 1,3 -r 1 --torch_dtype float32 -o json",
                     &(child_params) { .folder = workplace() }));
    CHECK_EQ_U64(c.code, 0);
    if (CHECK_OK(apus_json_parse(&got, c.out, strlen(c.out), "bench"))) {
        CHECK_EQ_U64(cJSON_GetArraySize(got), 2);
        CHECK_EQ_U64(field(got, 0, "n_parallel"), 1);
        CHECK_EQ_U64(field(got, 1, "n_parallel"), 3);
        CHECK_EQ_U64(field(got, 1, "bytes") - field(got, 0, "bytes"), 2 * 512 * (1 + 2));
        CHECK(field(got, 1, "flops") >= 3 * field(got, 0, "flops"));
        CHECK_NEAR(field(got, 1, "avg_ts") * field(got, 1, "avg_ns") * 1e-9, 3 * 2, 1e-6);
    }
    cJSON_Delete(got);
    child_release(&c);
    REQUIRE(run_with(&c, "bench -m m -p 4 -n 2 -d 3 -npl 3 -r 1 -pg 3,2",
                     &(child_params) { .folder = workplace() }));
    CHECK_EQ_U64(c.code, 0);
    CHECK(strstr(c.out, " pp4 @ d3 |") != NULL);
    CHECK(strstr(c.out, " tg2 x3 @ d3 |") != NULL);
    CHECK(strstr(c.out, " pp3+tg2 x3 @ d3 |") != NULL);
    child_release(&c);
}

/* What is in the file are answers of the whole run, in its order. */
TEST(an_interrupted_batch_keeps_what_is_whole)
{
    const char *folder = workplace();
    apus_str many = { 0 };
    child c, all;

    if (!has_device())
        return;
    for (int i = 0; i < 300; i++)
        apus_str_add(&many, i % 3 ? ROW("blue green", "b") : ROW("red", "a"));
    put_text(folder, "rows.jsonl", many.data);
    REQUIRE(run_with(
        &c, INFER "--max_batch_size 3 --max_new_tokens 40",
        &(child_params) { .folder = folder, .env = { PLAIN }, .interrupt_at = "rows at once" }));
    CHECK_EQ_U64(c.code, 130);
    says(&c, "apus infer: error: stopped");
    char *got = read_text(folder, "r.jsonl"),
         *whole = answers(many.data, "--max_new_tokens 40", "--max_batch_size 3", &all);
    const char *at = whole;
    CHECK(lines_of(got) < lines_of(whole));
    for (char *line = got, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        char *row = apus_strndup(line, (size_t)(end + 1 - line));

        at = at ? strstr(at, row) : NULL;
        CHECK(at != NULL);
        at = at ? at + strlen(row) : NULL;
        apus_free(row);
    }
    apus_free(got);
    apus_free(whole);
    apus_str_release(&many);
    child_release(&c);
    child_release(&all);
}
