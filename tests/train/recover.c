/* recover.c - a tiny model whose device is lost, or has no memory left, in the middle of a run: the
 * run goes on and ends as if nothing had happened, byte for byte; one that fails for ever ends with
 * a text and with a checkpoint that can be gone on from. */
#include "env.h"
#include "tiny_run.h"

/* What is done to a run, and what it says. */
typedef struct trouble {
    apus_fault kind;
    uint64_t after[4], call; /* after each of these steps, in the call-th call from there */
    size_t n;
    bool always;         /* lost in the next call whenever the run goes on */
    uint64_t lost_after; /* the same, but from this step on */
    apus_fault then;     /* once the device is to be opened again, */
    uint64_t then_call;  /* in this call, until it is open; 0: nothing more */
    apus_cancel cancel;
    uint64_t cancel_after;
    char said[16384];
} trouble;

static void hear(void *user, apus_log_level level, const char *line)
{
    trouble *t = user;
    const size_t n = strlen(t->said);

    (void)level;
    snprintf(t->said + n, sizeof(t->said) - n, "%s\n", line);
    if (t->then_call && strstr(line, "the device is opened again"))
        apus_fault_set(t->then, t->then_call);
    if (!strstr(line, "going on after") && !strstr(line, "starting again"))
        return;
    apus_fault_set(t->then, 0);
    if (t->always)
        apus_fault_set(APUS_FAULT_GPU_LOST, 1);
}

static void cause(void *user, const apus_train_progress *progress)
{
    trouble *t = user;

    if (t->n && progress->step == t->after[0]) {
        apus_fault_set(t->kind, t->call);
        t->n--;
        memmove(t->after, t->after + 1, t->n * sizeof(*t->after));
    }
    if (t->lost_after && progress->step == t->lost_after) {
        t->always = true;
        apus_fault_set(APUS_FAULT_GPU_LOST, 1);
    }
    if (t->cancel_after && progress->step == t->cancel_after)
        t->cancel.requested = 1;
}

static apus_status run(const apus_train_params *params, trouble *t, apus_train_result *result)
{
    apus_train_params p = *params;

    p.cancel = &t->cancel;
    apus_log_set(hear, t, APUS_LOG_WARN);
    const apus_status st =
        apus_train(&p, &(apus_train_callbacks) { .user = t, .step = cause }, result);
    apus_log_set(NULL, NULL, APUS_LOG_WARN);
    if (t->kind != APUS_FAULT_FILE && st == APUS_OK)
        CHECK(!apus_fault_pending(t->kind)); /* it has happened */
    for (int kind = 0; kind < APUS_FAULT_COUNT; kind++)
        apus_fault_set((apus_fault)kind, 0);
    return st;
}

static uint32_t times(const char *text, const char *words)
{
    uint32_t n = 0;

    for (; (text = strstr(text, words)); text += strlen(words))
        n++;
    return n;
}

static uint64_t bytes_of_events(const char *folder)
{
    char path[1400], **names = NULL;
    uint64_t bytes = 0;
    size_t n = 0;

    snprintf(path, sizeof(path), "%s/runs", folder);
    CHECK_OK(apus_dir_list(&names, &n, path));
    CHECK_EQ_U64(n, 1);
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/runs/%s", folder, names[i]);
        CHECK_OK(apus_file_bytes(&bytes, path));
        apus_free(names[i]);
    }
    apus_free(names);
    return bytes;
}

/* The lines of logging.jsonl: as many, and with the same values where the clock has no say. */
static void same_lines(const char *a, const char *b)
{
    char path[2][1400], *text[2] = { NULL, NULL }, *at[2];
    size_t bytes;
    uint32_t n = 0;

    snprintf(path[0], sizeof(path[0]), "%s/logging.jsonl", a);
    snprintf(path[1], sizeof(path[1]), "%s/logging.jsonl", b);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(apus_file_read(&text[i], &bytes, path[i], 1 << 20));
        at[i] = text[i];
    }
    while (at[0] && at[1] && *at[0] && *at[1]) {
        cJSON *line[2];
        const cJSON *v;
        for (int i = 0; i < 2; i++) {
            const size_t length = strcspn(at[i], "\n");
            CHECK_OK(apus_json_parse(&line[i], at[i], length, "line"));
            at[i] += length + 1;
        }
        const bool last = apus_json_get(line[0], "log_history") != NULL; /* has paths and times */
        cJSON_ArrayForEach(v, line[0]) if (!last && !apus_log_is_timing(v->string))
            harness_check(cJSON_Compare(v, apus_json_get(line[1], v->string), true), __FILE__,
                          __LINE__, "line %u: %s differs", n, v->string);
        cJSON_Delete(line[0]);
        cJSON_Delete(line[1]);
        n++;
    }
    CHECK(at[0] && at[1] && !*at[0] && !*at[1]);
    CHECK(n > 5);
    apus_free(text[0]);
    apus_free(text[1]);
}

/* Everything that a run leaves. */
static void same_folder(const char *a, const char *b)
{
    same_run(a, b);
    same_lines(a, b);
    CHECK_EQ_U64(bytes_of_events(a), bytes_of_events(b));
}

static apus_train_params in_folder(const char *name)
{
    static char out[8][1024];
    static size_t n;

    n = (n + 1) % 8;
    snprintf(out[n], sizeof(out[n]), "%s/%s", harness_folder(), name);
    apus_train_params p = base(out[n]);
    p.tensorboard = true;
    return p;
}

/* The folder of a run that nothing happened to; NULL without a device. */
static const char *undisturbed(void)
{
    static char folder[1024];
    static apus_train_result result;
    trouble none = { .kind = APUS_FAULT_GPU_LOST };
    const apus_train_params p = in_folder("undisturbed");

    if (folder[0])
        return folder;
    const apus_status st = run(&p, &none, &result);
    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else if (CHECK_OK(st) && CHECK(!none.said[0]))
        memcpy(folder, result.folder, sizeof(folder));
    return folder[0] ? folder : NULL;
}

/* A run with that trouble ends as the undisturbed one. */
static void survives(const char *name, trouble *t)
{
    const apus_train_params p = in_folder(name);
    apus_train_result result;

    if (CHECK_OK(run(&p, t, &result))) {
        same_folder(undisturbed(), result.folder);
        CHECK_EQ_U64(result.steps, 20);
    }
}

TEST(lost_before_any_checkpoint)
{
    trouble t = { .kind = APUS_FAULT_GPU_LOST, .after = { 4 }, .n = 1, .call = 2 };

    if (!undisturbed())
        return;
    survives("before", &t);
    CHECK(strstr(t.said, "in step 5: "));
    CHECK(strstr(t.said, ": the device was lost, last kernel submitted: "));
    CHECK(strstr(t.said, "; the device is opened again, with 1/2 of the work in a submission (try "
                         "1 of 3)\n"));
    CHECK(strstr(t.said, "starting again with step 1: there is no checkpoint yet\n"));
    CHECK_EQ_U64(times(t.said, "\n"), 2);
}

/* In each of the first calls of a step, submissions and waits. */
TEST(lost_after_a_checkpoint)
{
    if (!undisturbed())
        return;
    for (uint64_t call = 1; call <= 6; call++) {
        trouble t = { .kind = APUS_FAULT_GPU_LOST, .after = { 13 }, .n = 1, .call = call };
        char name[32];

        snprintf(name, sizeof(name), "after%u", (unsigned)call);
        survives(name, &t);
        CHECK(strstr(t.said, "in step 14: "));
        CHECK(strstr(t.said, "going on after step 10, from "));
        CHECK_EQ_U64(times(t.said, "\n"), 2);
    }
}

/* Step 10 is done and not saved; step 20 is the last. */
TEST(lost_in_an_evaluation)
{
    trouble t = { .kind = APUS_FAULT_GPU_LOST, .after = { 10, 20 }, .n = 2, .call = 1 };

    if (!undisturbed())
        return;
    survives("evaluation", &t);
    CHECK(strstr(t.said, "evaluation after step 10: "));
    CHECK(strstr(t.said, "starting again with step 1: "));
    CHECK(strstr(t.said, "evaluation after step 20: "));
    CHECK(strstr(t.said, "going on after step 10, from "));
}

/* Activations in f16: the loss scale starts again, or comes from the checkpoint. */
TEST(lost_with_a_loss_scale)
{
    trouble none = { .kind = APUS_FAULT_GPU_LOST };
    trouble t = { .kind = APUS_FAULT_GPU_LOST, .after = { 3, 13 }, .n = 2, .call = 2 };
    apus_train_params p = in_folder("half");
    apus_train_result plain, result;

    if (!undisturbed())
        return;
    p.torch_dtype = "float16";
    if (!CHECK_OK(run(&p, &none, &plain)))
        return;
    p = in_folder("half_lost");
    p.torch_dtype = "float16";
    if (CHECK_OK(run(&p, &t, &result)))
        same_folder(plain.folder, result.folder);
    same_file(plain.folder, result.folder, "apus_state.json");
    CHECK(strstr(t.said, "starting again with step 1: "));
    CHECK(strstr(t.said, "going on after step 10, from "));
}

/* With steps in between there is no end to it. */
TEST(lost_again_and_again)
{
    trouble t = { .kind = APUS_FAULT_GPU_LOST, .after = { 2, 5, 12, 17 }, .n = 4, .call = 3 };

    if (!undisturbed())
        return;
    survives("again", &t);
    CHECK_EQ_U64(times(t.said, "(try 1 of 3)"), 4);
    CHECK(strstr(t.said, "with 1/16 of the work in a submission"));
}

TEST(lost_for_ever)
{
    trouble t = { .kind = APUS_FAULT_GPU_LOST, .after = { 12 }, .n = 1, .call = 1, .always = true };
    const apus_train_params p = in_folder("ever");
    apus_train_result result;
    char words[1500], from[1400];

    if (!undisturbed())
        return;
    CHECK_FAILS(run(&p, &t, &result), APUS_ERR_LOST,
                "the device was opened again 3 times without a new step, in the end with 1/8 of "
                "the work in a submission; the newest checkpoint is ");
    CHECK(strstr(apus_error_text(), "in step 11: "));
    snprintf(from, sizeof(from), "%s/checkpoint-10", result.folder);
    snprintf(words, sizeof(words), "the same command with --resume_from_checkpoint %s goes on",
             from);
    CHECK(strstr(apus_error_text(), words));
    CHECK_EQ_STR(result.checkpoint, from);
    CHECK_EQ_U64(times(t.said, "the device is opened again"), 3);
    CHECK_EQ_U64(newest(result.folder), 10);
    trouble none = { .kind = APUS_FAULT_GPU_LOST };
    apus_train_params again = in_folder("ever_resumed");
    again.resume = from;
    if (CHECK_OK(run(&again, &none, &result)))
        same_run(undisturbed(), result.folder);
}

/* Nothing to go on from: from the start, and if that does not help, a text that says so. */
TEST(lost_without_checkpoints)
{
    trouble once = { .kind = APUS_FAULT_GPU_LOST, .after = { 15 }, .n = 1, .call = 5 };
    trouble ever = {
        .kind = APUS_FAULT_GPU_LOST, .after = { 15 }, .n = 1, .call = 5, .always = true
    };
    apus_train_params p = in_folder("unsaved");
    apus_train_result result;

    if (!undisturbed())
        return;
    p.save_strategy = 0;
    if (CHECK_OK(run(&p, &once, &result)))
        same_lines(undisturbed(), result.folder);
    CHECK(strstr(once.said, "starting again with step 1: no checkpoints are written "
                            "(--save_strategy no)\n"));
    p = in_folder("unsaved_ever");
    p.save_strategy = 0;
    CHECK_FAILS(run(&p, &ever, &result), APUS_ERR_LOST, "; there is no checkpoint to go on from");
    CHECK_EQ_STR(result.checkpoint, "");
}

/* A resumed run goes back to where it was resumed from; all weights, few checkpoints kept. */
TEST(resumed_and_full_runs_are_lost)
{
    trouble t = { .kind = APUS_FAULT_GPU_LOST, .after = { 14 }, .n = 1, .call = 1 };
    trouble full = { .kind = APUS_FAULT_GPU_LOST, .after = { 4, 7, 14 }, .n = 3, .call = 2 };
    trouble none = { .kind = APUS_FAULT_GPU_LOST };
    apus_train_params p = in_folder("resumed");
    apus_train_result result, plain;
    char from[1400];

    if (!undisturbed())
        return;
    snprintf(from, sizeof(from), "%s/checkpoint-10", undisturbed());
    p.resume = from;
    if (CHECK_OK(run(&p, &t, &result)))
        same_run(undisturbed(), result.folder);
    CHECK(strstr(t.said, "going on after step 10, from "));
    CHECK_EQ_U64(result.steps, 10);
    p = in_folder("full");
    p.full = true;
    p.eval_strategy = 0; /* no best checkpoint is kept */
    p.save_steps = 5;
    p.save_total_limit = 1;
    if (!CHECK_OK(run(&p, &none, &plain)))
        return;
    p = in_folder("full_lost");
    p.full = true;
    p.eval_strategy = 0; /* no best checkpoint is kept */
    p.save_steps = 5;
    p.save_total_limit = 1;
    if (!CHECK_OK(run(&p, &full, &result)))
        return;
    same_file(plain.folder, result.folder, "model.safetensors");
    same_file(plain.folder, result.folder, "optimizer.safetensors");
    same_file(plain.folder, result.folder, "config.json");
    same_file(plain.folder, result.folder, "tokenizer.json");
    same_history(plain.folder, result.folder);
    same_lines(plain.folder, result.folder);
}

/* 4 rows in a step; smaller plans are made on the way. */
static apus_train_params four_rows(const char *name)
{
    apus_train_params p = in_folder(name);

    p.batch = 4;
    p.accumulation = 1;
    p.eval_batch = 2;
    p.data.split_ratio = 0.15; /* 3 rows, so that the last batch of an evaluation is smaller */
    return p;
}

static void nearly_equal(const apus_train_result *a, const apus_train_result *b)
{
    CHECK_EQ_U64(a->steps, b->steps);
    CHECK_EQ_U64(a->tokens, b->tokens);
    CHECK_NEAR(a->train_loss, b->train_loss, 1e-4);
}

/* A plan that is made on the way finds no memory: fewer rows at once, the same rows in a step.
 * Lost later on, the run ends with the flags with which its checkpoint can be gone on from. */
TEST(out_of_device_memory)
{
    trouble none = { .kind = APUS_FAULT_GPU_ALLOC }, lost = { .kind = APUS_FAULT_GPU_LOST };
    trouble t = { .kind = APUS_FAULT_GPU_ALLOC, .after = { 1 }, .n = 1, .call = 1 };
    trouble both = { .kind = APUS_FAULT_GPU_ALLOC, .after = { 1 }, .n = 1, .call = 1 };
    apus_train_params p = four_rows("memory");
    apus_train_result one, two;
    char from[1400];

    if (!undisturbed() || !CHECK_OK(run(&p, &none, &one)))
        return;
    p = four_rows("memory_short");
    if (!CHECK_OK(run(&p, &t, &two)))
        return;
    CHECK(strstr(t.said, "--per_device_train_batch_size 2 in place of 4 and "
                         "--gradient_accumulation_steps 2 (the same rows in a step; "));
    nearly_equal(&one, &two);
    p = four_rows("memory_lost");
    both.lost_after = 14;
    CHECK_FAILS(run(&p, &both, &two), APUS_ERR_LOST,
                "checkpoint-10: the same command with --per_device_train_batch_size 2 "
                "--gradient_accumulation_steps 2 --resume_from_checkpoint ");
    CHECK(strstr(apus_error_text(), "1/8 of the work in a submission, in the end with micro "
                                    "batches of 2; the newest"));
    snprintf(from, sizeof(from), "%s/checkpoint-10", two.folder);
    p = four_rows("memory_resumed");
    p.batch = p.accumulation = 2;
    p.resume = from;
    if (CHECK_OK(run(&p, &lost, &two)))
        CHECK_NEAR(one.train_loss, two.train_loss, 1e-4);
}

TEST(out_of_device_memory_in_an_evaluation)
{
    trouble none = { .kind = APUS_FAULT_GPU_ALLOC };
    trouble t = { .kind = APUS_FAULT_GPU_ALLOC, .after = { 10 }, .n = 1, .call = 1 };
    apus_train_params p = four_rows("eval_memory");
    apus_train_result one, two;

    if (!undisturbed() || !CHECK_OK(run(&p, &none, &one)))
        return;
    p = four_rows("eval_memory_short");
    if (!CHECK_OK(run(&p, &t, &two)))
        return;
    CHECK(strstr(t.said, "evaluation after step 10: "));
    CHECK(strstr(t.said, "with --per_device_eval_batch_size 1 in place of 2 (try 1 of 3)"));
    nearly_equal(&one, &two);
}

TEST(out_of_device_memory_for_ever)
{
    trouble t = { .kind = APUS_FAULT_GPU_ALLOC,
                  .after = { 1 },
                  .n = 1,
                  .call = 1,
                  .then = APUS_FAULT_GPU_ALLOC,
                  .then_call = 1 };
    const apus_train_params p = four_rows("memory_ever");
    apus_train_result result;

    if (!undisturbed())
        return;
    CHECK_FAILS(run(&p, &t, &result), APUS_ERR_MEMORY,
                "the device was opened again 3 times without a new step, in the end with micro "
                "batches of 1; there is no checkpoint to go on from");
    CHECK(strstr(t.said, "--per_device_train_batch_size 1 in place of 2 and "
                         "--gradient_accumulation_steps 4 "));
    CHECK(strstr(t.said, "opening the device again for step "));
    CHECK(strstr(t.said, "with --per_device_eval_batch_size 1 in place of 2 (try 3 of 3)"));
}

/* The host's memory, a file: the run ends at once, with what it can go on from. */
TEST(other_failures_end_a_run)
{
    static const apus_fault kinds[] = { APUS_FAULT_HOST_ALLOC, APUS_FAULT_FILE };

    if (!undisturbed())
        return;
    for (size_t i = 0; i < APUS_COUNT(kinds); i++) {
        trouble t = { .kind = kinds[i], .after = { 14 }, .n = 1, .call = 1 };
        const apus_train_params p = in_folder(i ? "file" : "host");
        apus_train_result result;

        CHECK_FAILS(run(&p, &t, &result), i ? APUS_ERR_IO : APUS_ERR_MEMORY,
                    "checkpoint-10: the same command with --resume_from_checkpoint ");
        CHECK_EQ_STR(t.said, "");
        CHECK_EQ_U64(newest(result.folder), 10);
    }
}

/* Something else fails while the device is opened again: that ends the run, or it was nothing that
 * the run needs. */
TEST(failures_on_the_way_back)
{
    static const apus_fault kinds[] = { APUS_FAULT_HOST_ALLOC, APUS_FAULT_FILE };
    static const uint64_t strides[] = { 331, 5 };

    if (!undisturbed())
        return;
    for (size_t i = 0; i < APUS_COUNT(kinds); i++) {
        uint32_t failures = 0;

        for (uint64_t call = 1;; call += strides[i]) {
            trouble t = { .kind = APUS_FAULT_GPU_LOST,
                          .after = { 12 },
                          .n = 1,
                          .call = 2,
                          .then = kinds[i],
                          .then_call = call };
            const apus_train_params p = in_folder("way_back");
            apus_train_result result;
            const apus_status st = run(&p, &t, &result);

            if (st == APUS_OK)
                break;
            failures++;
            CHECK(st == (i ? APUS_ERR_IO : APUS_ERR_MEMORY));
            CHECK(strstr(apus_error_text(), "--resume_from_checkpoint "));
        }
        CHECK(failures > 3);
    }
}

/* Who stops a run does not want it opened again. */
TEST(cancelled_while_lost)
{
    trouble t = {
        .kind = APUS_FAULT_GPU_LOST, .after = { 12 }, .n = 1, .call = 1, .cancel_after = 12
    };
    const apus_train_params p = in_folder("cancelled");
    apus_train_result result;

    if (!undisturbed())
        return;
    CHECK_FAILS(run(&p, &t, &result), APUS_ERR_LOST, "the newest checkpoint is ");
    CHECK_EQ_STR(t.said, "");
}
