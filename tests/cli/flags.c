/* Each built flag of args.def has an effect: flags.def says which, and the program itself shows it
 * on a tiny model. */
#include <stdio.h>

#include "args.h"
#include "child.h"
#include "cli_internal.h"
#include "json.h"
#include "str.h"

/* ---- runs, kept by their words ---- */

enum { RUNS = 200 };

static struct {
    char *line;
    child done;
} runs[RUNS];
static size_t n_runs;

static const char few[] = "--max_steps 3 --logging_steps 1 --per_device_train_batch_size 2 "
                          "--gradient_accumulation_steps 1 --lora_dropout 0 --report_to none "
                          "--output_dir o --add_version false";

static const child *run_line(const char *line);

/* A folder that a run leaves and others use. */
static char *made(const char *line, const char *inside)
{
    const child *c = run_line(line);

    if (c && !CHECK(c->code == 0))
        fprintf(stderr, "%s\n", c->err);
    return c ? apus_path_join(c->folder, inside) : apus_strdup("");
}

static char *bad_rows(void)
{
    static const char rows[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"red\"}, "
                               "{\"role\": \"assistant\", \"content\": \"red\"}]}\n"
                               "{\"messages\": [{\"role\": \"nobody\", \"content\": \"red\"}]}\n"
                               "{\"messages\": [{\"role\": \"user\", \"content\": \"blue\"}, "
                               "{\"role\": \"assistant\", \"content\": \"blue\"}]}\n";
    char *path = apus_path_join(harness_folder(), "bad.jsonl");

    CHECK_OK(apus_file_write(path, rows, sizeof(rows) - 1));
    return path;
}

/* What stands for a name in the words of flags.def; NULL: no such name. */
static char *value_of(const char *name)
{
    const char *tiny = harness_fixture("tiny");

    if (!strcmp(name, "M"))
        return apus_strdup(tiny);
    if (!strcmp(name, "R"))
        return apus_path_join(tiny, "sft.jsonl");
    if (!strcmp(name, "B"))
        return bad_rows();
    if (!strcmp(name, "FEW"))
        return apus_strdup(few);
    if (!strcmp(name, "SFT"))
        return apus_format("sft --model $M --template chatml --dataset $R %s", few);
    if (!strcmp(name, "I"))
        return apus_strdup("infer --model $M --template chatml $ROWS");
    if (!strcmp(name, "ROWS"))
        return apus_strdup("--val_dataset $R#2 --max_new_tokens 6 --result_path r.jsonl");
    if (!strcmp(name, "EXPORT"))
        return apus_strdup("export --adapters $CK --merge_lora true --output_dir e");
    if (!strcmp(name, "BENCH"))
        return apus_strdup("bench -m $M -p 4 -n 0 -r 1 -o json");
    if (!strcmp(name, "TUNE"))
        return apus_strdup("tune -m $M -p 0 --train 0 --seconds 0");
    if (!strcmp(name, "PLAN"))
        return apus_strdup("plan --model $M --max_length 64 --device_class ada");
    if (!strcmp(name, "CK"))
        return made("$SFT --learning_rate 1e-2", "o/checkpoint-3");
    if (!strcmp(name, "EARLY"))
        return made("$SFT --save_steps 1", "o/checkpoint-1");
    if (!strcmp(name, "KEPT"))
        return made("$SFT --split_dataset_ratio 0.25", "o/checkpoint-3");
    if (!strcmp(name, "MERGED"))
        return made("export --adapters $CK --merge_lora true --output_dir e", "e");
    return NULL;
}

/* Put values in the place of $NAMES, again until there is none. */
static char *expand(const char *line)
{
    char *text = apus_strdup(line), *at;

    while ((at = strchr(text, '$')) != NULL) {
        const size_t n = strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        char *name = apus_strndup(at + 1, n), *value = value_of(name), *longer;

        APUS_BUG_IF(!value);
        longer = apus_format("%.*s%s%s", (int)(at - text), text, value, at + 1 + n);
        apus_free(name);
        apus_free(value);
        apus_free(text);
        text = longer;
    }
    return text;
}

static const child *run_line(const char *line)
{
    char *text, *folder, *words[CHILD_WORDS];
    size_t at;
    bool ok;

    for (size_t i = 0; i < n_runs; i++) {
        if (!strcmp(runs[i].line, line))
            return &runs[i].done;
    }
    APUS_BUG_IF(n_runs == RUNS);
    at = n_runs++;
    runs[at].line = apus_strdup(line);
    text = expand(line); /* may run others before */
    folder = apus_format("%s/run%zu", harness_folder(), at);
    child_split(text, words, CHILD_WORDS);
    ok = child_run(&runs[at].done, words, &(child_params) { .folder = folder });
    apus_free(folder);
    apus_free(text);
    return ok ? &runs[at].done : NULL;
}

static bool has_device(void)
{
    static int known; /* 1: yes, 2: no */

    if (!known) {
        const child *c = run_line("devices");

        known = c && c->code == 0 ? 1 : 2;
    }
    if (known == 2)
        harness_skip("there is no Vulkan device");
    return known == 1;
}

/* ---- what is seen of a run ---- */

typedef void eye(apus_str *out, const child *c);

static char *read_file(const child *c, const char *name)
{
    char *path = apus_path_join(c->folder, name), *text = NULL;
    size_t bytes;

    if (apus_file_read(&text, &bytes, path, 1 << 24) != APUS_OK)
        text = apus_strdup("");
    apus_free(path);
    return text;
}

/* The named members of each line of a file of objects. */
static void members(apus_str *out, const child *c, const char *file, const char *const *names)
{
    char *text = read_file(c, file);

    for (char *at = text, *end; *at; at = end) {
        cJSON *line = NULL;

        end = at + strcspn(at, "\n");
        if (apus_json_parse(&line, at, (size_t)(end - at), file) == APUS_OK) {
            for (size_t i = 0; names[i]; i++) {
                const cJSON *value = apus_json_get(line, names[i]);
                char *shown = value ? apus_json_text(value, 0) : NULL;

                if (shown)
                    apus_str_addf(out, "%s=%s ", names[i], shown);
                apus_free(shown);
            }
            apus_str_add(out, "\n");
        }
        cJSON_Delete(line);
        end += *end == '\n';
    }
    apus_free(text);
}

#define NAMES(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define LOG "o/logging.jsonl"

static void losses(apus_str *out, const child *c)
{
    members(out, c, LOG, NAMES("loss", "grad_norm", "token_acc", "eval_loss"));
}

static void rates(apus_str *out, const child *c)
{
    members(out, c, LOG, NAMES("learning_rate"));
}

static void steps(apus_str *out, const child *c)
{
    members(out, c, LOG, NAMES("global_step/max_steps"));
}

static void sizes(apus_str *out, const child *c)
{
    members(out, c, LOG, NAMES("train_dataset", "val_dataset"));
}

static void parameters(apus_str *out, const child *c)
{
    members(out, c, LOG, NAMES("model_parameter_info"));
}

static void responses(apus_str *out, const child *c)
{
    members(out, c, "r.jsonl", NAMES("response"));
}

static void rows(apus_str *out, const child *c)
{
    members(out, c, "r.jsonl", NAMES("labels"));
}

/* Rows of an evaluation step, from the two speeds that are logged. */
static void eval_batch(apus_str *out, const child *c)
{
    char *text = read_file(c, LOG), *samples = strstr(text, "\"eval_samples_per_second\": ");
    char *steps_at = strstr(text, "\"eval_steps_per_second\": ");

    if (CHECK(samples && steps_at))
        apus_str_addf(out, "%.0f", strtod(samples + 27, NULL) / strtod(steps_at + 25, NULL));
    apus_free(text);
}

static void code(apus_str *out, const child *c)
{
    apus_str_addf(out, "%d", c->code);
}

static void printed(apus_str *out, const child *c)
{
    const char *end = strchr(c->out, '\n'); /* not the line that echoes the command */

    apus_str_add(out, !strncmp(c->out, "run sh", 6) && end ? end : c->out);
}

static void planned(apus_str *out, const child *c)
{
    const char *at = strstr(c->err, "planned peak ");

    if (CHECK(at != NULL))
        apus_str_add_bytes(out, at, strcspn(at, "("));
}

/* How many rows at once; one is not told of. */
static void at_once(apus_str *out, const child *c)
{
    const char *at = strstr(c->err, "max_batch_size: ");

    if (at)
        apus_str_add_bytes(out, at, strcspn(at, ","));
    else
        apus_str_add(out, "one by one");
}

/* Bytes of a file and a hash over them. */
static void hash_of(apus_str *out, const child *c, const char *name)
{
    char *path = apus_path_join(c->folder, name);
    apus_map map = { 0 };
    uint64_t hash = UINT64_C(1469598103934665603);

    if (CHECK_OK(apus_map_open(&map, path))) {
        for (uint64_t i = 0; i < map.bytes; i++)
            hash = (hash ^ map.data[i]) * UINT64_C(1099511628211);
        apus_str_addf(out, "%llu bytes, %016llx", (unsigned long long)map.bytes,
                      (unsigned long long)hash);
    }
    apus_map_close(&map);
    apus_free(path);
}

static void adapter(apus_str *out, const child *c)
{
    hash_of(out, c, "o/checkpoint-3/adapter_model.safetensors");
}

static void merged(apus_str *out, const child *c)
{
    hash_of(out, c, "e/model.safetensors");
}

static void numbers(apus_str *out, const child *c)
{
    const char *at = strstr(c->err, "] numbers: ");

    if (CHECK(at != NULL))
        apus_str_add_bytes(out, at, strcspn(at, "\n"));
}

static void arguments(apus_str *out, const child *c)
{
    char *text = read_file(c, "e/args.json");

    apus_str_add(out, text);
    apus_free(text);
}

/* Bytes of a merged model. */
static void weights(apus_str *out, const child *c)
{
    char *path = apus_path_join(c->folder, "e/model.safetensors");
    apus_map map = { 0 };

    if (CHECK_OK(apus_map_open(&map, path)))
        apus_str_addf(out, "%llu", (unsigned long long)map.bytes);
    apus_map_close(&map);
    apus_free(path);
}

static void list(apus_str *out, const char *path)
{
    char **names = NULL;
    size_t n = 0;

    if (apus_dir_list(&names, &n, path) != APUS_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        char *inside = apus_path_join(path, names[i]);

        if (names[i][0] != '.' && strcmp(names[i], "last-checkpoint") != 0) {
            apus_str_addf(out, "%s\n", names[i]);
            if (apus_path_is_dir(inside))
                list(out, inside);
        }
        apus_free(inside);
        apus_free(names[i]);
    }
    apus_free(names);
}

static void tree(apus_str *out, const child *c)
{
    list(out, c->folder);
}

static void of_bench(apus_str *out, const child *c, const char *const *names)
{
    cJSON *all = NULL;
    const cJSON *row;

    if (!CHECK_OK(apus_json_parse(&all, c->out, strlen(c->out), "bench")))
        return;
    cJSON_ArrayForEach(row, all)
    {
        for (size_t i = 0; names[i]; i++) {
            char *text = apus_json_text(apus_json_get(row, names[i]), 0);

            apus_str_addf(out, "%s ", text ? text : "");
            apus_free(text);
        }
        apus_str_addf(out, "%d\n", cJSON_GetArraySize(apus_json_get(row, "samples_ns")));
        CHECK(apus_json_number(row, "avg_ts", 0) > 0);
        CHECK(apus_json_number(row, "flops", 0) > 0);
        CHECK(apus_json_number(row, "peak_fma_flops_s", 0) > 0);
        CHECK(apus_json_number(row, "host_ns_per_step", 0) > 0);
        CHECK(apus_json_number(row, "submissions_per_step", 0) >= 1);
        CHECK(apus_json_number(row, "host_peak_bytes", 0) > 1e6);
    }
    cJSON_Delete(all);
}

static void bench_files(apus_str *out, const child *c)
{
    of_bench(out, c, NAMES("model_filename"));
}

static void bench_types(apus_str *out, const child *c)
{
    of_bench(out, c, NAMES("type_k", "type_act"));
}

static void bench_tests(apus_str *out, const child *c)
{
    of_bench(out, c, NAMES("n_prompt", "n_gen", "n_depth", "n_train", "n_parallel"));
}

static void bench_work(apus_str *out, const child *c)
{
    of_bench(out, c, NAMES("n_train", "flops", "recomputed"));
}

/* ---- the rows ---- */

static bool seen(apus_str *out, const char *common, const char *words, eye *see)
{
    char *line = apus_format("%s %s", common, words);
    const child *c = run_line(line);
    bool ok = c != NULL;

    if (ok && see != code && !CHECK(c->code == 0)) {
        fprintf(stderr, "apus %s\n%s\n", line, c->err);
        ok = false;
    }
    if (ok)
        see(out, c);
    apus_free(line);
    return ok;
}

static void effect(const char *common, const char *a, const char *b, eye *see)
{
    apus_str with_a = { 0 }, with_b = { 0 };

    if (!has_device())
        return;
    if (seen(&with_a, common, a, see) && seen(&with_b, common, b, see)) {
        CHECK(with_a.len > 0 && with_b.len > 0);
        if (with_a.data && with_b.data && !CHECK(strcmp(with_a.data, with_b.data) != 0))
            fprintf(stderr, "the same with \"%s\" and \"%s\":\n%s\n", a, b, with_a.data);
    }
    apus_str_release(&with_a);
    apus_str_release(&with_b);
}

#define F(name, common, a, b, see)                                                                 \
    TEST(name)                                                                                     \
    {                                                                                              \
        effect(common, a, b, see);                                                                 \
    }
#include "flags.def"
#undef F

static const struct {
    const char *name, *common;
} table[] = {
#define F(name, common, a, b, see) { #name, common },
#include "flags.def"
#undef F
};

/* The command that a row of the table runs. */
static apus_cmd command_of(const char *common)
{
    static const char *const others[][2] = { { "$SFT", "sft" },       { "$I", "infer" },
                                             { "$EXPORT", "export" }, { "$BENCH", "bench" },
                                             { "$TUNE", "tune" },     { "$PLAN", "plan" } };
    const size_t n = strcspn(common, " ");
    apus_cmd cmd = APUS_CMD_COUNT;
    char *word = apus_strndup(common, n);

    for (size_t i = 0; i < APUS_COUNT(others); i++)
        if (!strcmp(word, others[i][0])) {
            apus_free(word);
            word = apus_strdup(others[i][1]);
        }
    CHECK(apus_cmd_find(word, &cmd));
    apus_free(word);
    return cmd;
}

/* Whether a row shows the effect of the flag in that command: "test" or "test_COMMAND". */
static bool stands(const char *test, apus_cmd cmd)
{
    const size_t n = strlen(test);

    for (size_t i = 0; i < APUS_COUNT(table); i++) {
        const char *rest = table[i].name + n;

        if (strncmp(table[i].name, test, n) != 0 || command_of(table[i].common) != cmd)
            continue;
        if (!*rest || (*rest == '_' && !strcmp(rest + 1, apusi_cmd_name(cmd))))
            return true;
    }
    return false;
}

TEST(every_built_flag_stands_in_the_table_for_each_command)
{
    static const char here[] = "cli.flags:";
    const size_t begin = sizeof(here) - 1;
    size_t n, found = 0;
    const apus_arg_row *args = apus_arg_rows(&n);

    for (size_t i = 0; i < n; i++)
        for (int cmd = 0; cmd < APUS_CMD_COUNT; cmd++) {
            if (args[i].state != APUS_ARG_BUILT || !(args[i].commands >> cmd & 1) ||
                strncmp(args[i].test, here, begin) != 0)
                continue;
            harness_check(stands(args[i].test + begin, (apus_cmd)cmd), __FILE__, __LINE__,
                          "--%s of %s: flags.def has no row for %s", args[i].name,
                          apusi_cmd_name((apus_cmd)cmd), args[i].test + begin);
            found++;
        }
    CHECK_EQ_U64(found, APUS_COUNT(table));
}

/* --load_data_args answers exactly the rows that the training kept, in their order. */
TEST(kept_rows_are_those_of_the_training)
{
    apus_str kept = { 0 }, answered = { 0 };
    const child *c;

    if (!has_device())
        return;
    c = run_line("$SFT --split_dataset_ratio 0.25");
    if (c)
        members(&kept, c, "o/val_dataset.jsonl", NAMES("messages"));
    c = run_line("infer --adapters $KEPT --max_new_tokens 1 --result_path r.jsonl "
                 "--load_data_args true");
    if (c)
        members(&answered, c, "r.jsonl", NAMES("labels"));
    for (const char *at = answered.data, *row = kept.data; at && *at;) {
        const char *end = strchr(at, '\n'), *next = row ? strchr(row, '\n') : NULL;
        /* labels="red" of {"role":"assistant","content":"red"}, which is written as a text. */
        char *label = apus_format("\\\"content\\\":\\\"%.*s\\\"}\"]", (int)(end - at) - 10, at + 8);

        if (CHECK(next != NULL)) {
            char *line = apus_strndup(row, (size_t)(next - row));

            if (!CHECK(strstr(line, label) != NULL))
                fprintf(stderr, "%s\n%s\n", line, label);
            apus_free(line);
            row = next + 1;
            CHECK((row[0] == '\0') == (end[1] == '\0'));
        }
        apus_free(label);
        at = end + 1;
    }
    CHECK(answered.len > 0);
    apus_str_release(&kept);
    apus_str_release(&answered);
}

/* What differs in the rows above differs because of the flag: the same words give the same. */
TEST(the_same_words_give_the_same)
{
    static eye *const eyes[] = { losses, rates, steps, sizes, parameters, adapter, planned, tree };

    if (!has_device())
        return;
    for (size_t i = 0; i < APUS_COUNT(eyes); i++) {
        apus_str first = { 0 }, again = { 0 };

        if (seen(&first, "$SFT", "", eyes[i]) && seen(&again, "$SFT", " ", eyes[i]))
            CHECK_EQ_STR(first.data, again.data);
        apus_str_release(&first);
        apus_str_release(&again);
    }
}
