/* `apus plan`: what it prints, and that it prints what `apus sft` would. */
#include "json.h"
#include "place.h"

#define CONFIG "plan --model $C --weights q4_0 --gradient_checkpointing true --max_length 2048 "

/* `line` with $C for the config of 8B. */
static bool run_plan(child *c, const char *line)
{
    const char *at = strstr(line, "$C");
    char *whole = at ? apus_format("%.*s%s%s", (int)(at - line), line,
                                   harness_fixture("model/llama_8b.json"), at + 2)
                     : apus_strdup(line);
    const bool ok = run_with(c, whole, &(child_params) { .folder = new_folder() });

    apus_free(whole);
    return ok;
}

static void prints(const child *c, const char *words)
{
    if (!strstr(c->out, words) && !CHECK(!"the text is printed"))
        fprintf(stderr, "not printed: %s\nprinted (exit %d):\n%s%s\n", words, c->code, c->out,
                c->err);
}

/* "12.3 MiB" behind these words. */
static char *size_after(const char *text, const char *words)
{
    const char *at = strstr(text, words);

    return apus_strndup(at ? at + strlen(words) : "", at ? strcspn(at + strlen(words), "i") : 0);
}

TEST(a_page_needs_neither_weights_nor_a_device)
{
    child c;

    REQUIRE(run_plan(&c, CONFIG "--device_class ada --per_device_train_batch_size 2"));
    CHECK_EQ_U64(c.code, 0);
    prints(&c, "8030.2612M parameters");
    prints(&c, "device    ada (GeForce RTX 4090): 82.6 TFLOP/s, matrices 165.2, 1008 GB/s\n");
    prints(&c, "LoRA: 20.9715M trained, 2 x 2048 tokens in a micro batch, 8 in a step, bfloat16\n");
    prints(&c, " of 24.00 GiB\n            weights 4.21 GiB, adapter 80.0 MiB, gradients 80.0 MiB, "
               "optimizer 160.0 MiB, activations ");
    prints(&c, "32 of 32 are recomputed");
    prints(&c, "  decode    ");
    child_release(&c);
}

TEST(an_object_has_the_same_numbers)
{
    child c;
    cJSON *o = NULL;

    REQUIRE(run_plan(&c, CONFIG "--device_class navi31 -o json"));
    CHECK_EQ_U64(c.code, 0);
    if (CHECK_OK(apus_json_parse(&o, c.out, strlen(c.out), "plan"))) {
        const cJSON *t = apus_json_get(o, "training"), *i = apus_json_get(o, "inference");

        CHECK_EQ_STR(apus_json_string(o, "device_class", ""), "navi31");
        CHECK(apus_json_number(o, "parameters", 0) == 8030261248.0);
        CHECK(apus_json_bool(t, "fits", false) && apus_json_bool(i, "fits", false));
        CHECK(apus_json_number(t, "trained", 0) == 20971520.0);
        CHECK(apus_json_number(apus_json_get(t, "micro"), "dispatches", 0) > 32 * 20);
        CHECK(apus_json_number(t, "tokens_s", 0) > 0);
        CHECK(apus_json_number(i, "cache_bytes", 0) == 2.0 * 32 * 1024 * 2048 * 2);
    }
    cJSON_Delete(o);
    child_release(&c);
}

/* The line that a run says before it begins; in MiB, since counted buffers are whole multiples of
 * 256 bytes. */
static void same_as_sft(const char *flags)
{
    const char *folder = workplace();
    char *sft, *plan, *said, *printed;
    child run, c;

    put_text(folder, "rows.jsonl",
             ROW("red red red red red red red red red red red red", "red red red red red red red")
                 ROW("blue blue blue blue blue blue blue blue blue", "blue blue blue blue blue"));
    sft = apus_format(SFT FEW "--max_length 30 --truncation_strategy left %s", flags);
    plan = apus_format("plan --model %s/m --max_length 30 --per_device_train_batch_size 1 "
                       "--device_class lavapipe %s",
                       folder, flags);
    if (run_with(&run, sft, &(child_params) { .folder = folder })) {
        if (!CHECK_EQ_U64(run.code, 0))
            fprintf(stderr, "%s\n", run.err);
        REQUIRE(run_plan(&c, plan));
        CHECK_EQ_U64(c.code, 0);
        said = size_after(run.err, "planned peak ");
        printed = size_after(c.out, "planned peak ");
        CHECK(strchr(said, 'M') != NULL);
        CHECK_EQ_STR(printed, said);
        apus_free(said);
        apus_free(printed);
        child_release(&c);
        child_release(&run);
    }
    apus_free(sft);
    apus_free(plan);
}

TEST(the_memory_is_what_a_run_says)
{
    if (!has_device())
        return;
    same_as_sft("--lora_rank 256");
    same_as_sft("--tuner_type full --torch_dtype bfloat16");
}

TEST(what_does_not_fit_fails_and_says_what_would)
{
    child c;

    REQUIRE(run_plan(&c, CONFIG "--device_class navi10 --device_memory 1"));
    CHECK_EQ_U64(c.code, 1);
    prints(&c, " of 1.00 GiB: does not fit\n");
    prints(&c, "  instead   --max_length ");
    prints(&c, ", fits\n");
    says(&c, "apus plan: error: this run does not fit: ");
    child_release(&c);
}

TEST(what_the_host_keeps_is_said)
{
    child c;

    REQUIRE(run_plan(&c, CONFIG "--device_class navi10 --device_memory 3"));
    CHECK_EQ_U64(c.code, 0);
    prints(&c, "\n  host      buffers ");
    prints(&c, ", of which weights ");
    prints(&c, " of 32 layers)\n  layers    32 of 32 are recomputed");
    prints(&c, " of 32 layers)\n  prompt    ");
    child_release(&c);
}

TEST(without_a_class_each_has_a_line)
{
    static const char *const lines[] = { "\npolaris10 (Radeon RX 580) ", "\nvega10 (",
                                         "\nblackwell (GeForce RTX 5090) ", "\nbmg (Arc B580) ",
                                         "\nlavapipe (" };
    child c;

    if (!run_with(&c, "plan --model m --max_length 32", &(child_params) { .folder = workplace() }))
        return;
    CHECK_EQ_U64(c.code, 0);
    for (size_t i = 0; i < APUS_COUNT(lines); i++)
        prints(&c, lines[i]);
    size_t n = 0;
    for (const char *at = c.out; (at = strchr(at, '\n')) != NULL; at++)
        n++;
    CHECK_EQ_U64(n, 18);
    child_release(&c);
}

TEST(what_is_wrong_is_said)
{
    const char *folder = workplace();

    fails(folder, "plan", 2, "--model is missing", NULL);
    fails(folder, "plan --model m --device_class gtx", 2,
          "no class of devices is called 'gtx'; there are ", "ada, blackwell");
    fails(folder, "plan --model nowhere.json --device_class ada", 1, "nowhere.json",
          "no such file or folder");
    put_text(folder, "config.json", "{");
    fails(folder, "plan --model config.json --device_class ada", 1, "config.json: line 1", NULL);
    fails(folder, "plan --model m --device_class ada --weights q9", 2, "'q9'", NULL);
    fails(folder, "plan --model m --device_class ada --device_memory 0", 2, "--device_memory",
          NULL);
}
