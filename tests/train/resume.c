/* resume.c - a tiny model: the same bits on two runs; a run that was stopped after a checkpoint and
 * resumed equals one that was not, byte for byte; a kill at any moment leaves whole checkpoints. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apus/train.h"
#include "file.h"
#include "harness.h"
#include "json.h"
#include "os.h"
#include "run_log.h"

static char model[1024], rows[1024];
static const char *const paths[] = { rows };

static apus_train_params base(const char *out)
{
    snprintf(model, sizeof(model), "%s", harness_fixture("tiny"));
    snprintf(rows, sizeof(rows), "%s", harness_fixture("tiny/sft.jsonl"));
    return (apus_train_params) {
        .model = model,
        .template_name = "chatml",
        .torch_dtype = "float32",
        .data = { .paths = paths, .n_paths = 1, .seed = 42, .shuffle = true, .split_ratio = 0.1 },
        .dataloader_shuffle = true,
        .max_length = 128,
        .lora_rank = 4,
        .lora_alpha = 8,
        .lora_dropout = 0.1,
        .learning_rate = 1e-3,
        .weight_decay = 0.1,
        .adam_beta1 = 0.9,
        .adam_beta2 = 0.95,
        .adam_epsilon = 1e-8,
        .max_grad_norm = 1,
        .lr_scheduler = "cosine",
        .epochs = 3,
        .max_steps = 20,
        .batch = 2,
        .accumulation = 2,
        .seed = 42,
        .save_strategy = 1,
        .save_steps = 10,
        .eval_strategy = 1,
        .eval_steps = 10,
        .logging_steps = 3,
        .output_dir = out,
    };
}

static bool train(const apus_train_params *p, apus_train_result *result)
{
    const apus_status st = apus_train(p, NULL, result);

    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else
        return CHECK_OK(st);
    return false;
}

static void same_file(const char *a, const char *b, const char *name)
{
    char pa[1400], pb[1400], *ta = NULL, *tb = NULL;
    size_t na = 0, nb = 0;

    snprintf(pa, sizeof(pa), "%s/checkpoint-20/%s", a, name);
    snprintf(pb, sizeof(pb), "%s/checkpoint-20/%s", b, name);
    if (CHECK_OK(apus_file_read(&ta, &na, pa, 1 << 30)) &&
        CHECK_OK(apus_file_read(&tb, &nb, pb, 1 << 30)))
        harness_check(na == nb && !memcmp(ta, tb, na), __FILE__, __LINE__, "%s differs", name);
    apus_free(ta);
    apus_free(tb);
}

/* Every logged value that does not depend on the clock. */
static void same_history(const char *a, const char *b)
{
    char path[1400];
    cJSON *ja = NULL, *jb = NULL;
    int n = 0;

    snprintf(path, sizeof(path), "%s/checkpoint-20/trainer_state.json", a);
    CHECK_OK(apus_json_read(&ja, path));
    snprintf(path, sizeof(path), "%s/checkpoint-20/trainer_state.json", b);
    CHECK_OK(apus_json_read(&jb, path));
    const cJSON *ha = cJSON_GetObjectItemCaseSensitive(ja, "log_history");
    const cJSON *hb = cJSON_GetObjectItemCaseSensitive(jb, "log_history"), *x, *v;
    CHECK_EQ_U64(cJSON_GetArraySize(ha), cJSON_GetArraySize(hb));
    for (int i = 0; i < cJSON_GetArraySize(ha); i++) {
        x = cJSON_GetArrayItem(ha, i);
        cJSON_ArrayForEach(v, x) if (!apus_log_is_timing(v->string))
        {
            const cJSON *w = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(hb, i), v->string);
            harness_check(w && w->valuedouble == v->valuedouble, __FILE__, __LINE__,
                          "log %d: %s is %.17g and %.17g", i, v->string, v->valuedouble,
                          w ? w->valuedouble : -1.0);
            n++;
        }
    }
    CHECK(n > 20);
    cJSON_Delete(ja);
    cJSON_Delete(jb);
}

static void same_run(const char *a, const char *b)
{
    same_file(a, b, "adapter_model.safetensors");
    same_file(a, b, "optimizer.safetensors");
    same_history(a, b);
}

TEST(two_runs_and_a_resumed_one_are_equal)
{
    char out[1024], checkpoint[1400];
    apus_train_result one, two, three;

    snprintf(out, sizeof(out), "%s/equal", harness_folder());
    apus_train_params p = base(out);
    p.add_version = true;
    if (!train(&p, &one) || !train(&p, &two))
        return;
    same_run(one.folder, two.folder);
    snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint-10", one.folder);
    p.resume = checkpoint;
    if (!train(&p, &three))
        return;
    same_run(one.folder, three.folder);
}

TEST(recomputed_layers_give_the_same_run)
{
    char out[1024];
    apus_train_result kept, again;

    snprintf(out, sizeof(out), "%s/recompute", harness_folder());
    apus_train_params p = base(out);
    p.add_version = true;
    if (!train(&p, &kept))
        return;
    p.recompute = true;
    if (train(&p, &again))
        same_run(kept.folder, again.folder);
}

TEST(full_fine_tuning_resumes)
{
    char out[1024], checkpoint[1400];
    apus_train_result one, two;

    snprintf(out, sizeof(out), "%s/full", harness_folder());
    apus_train_params p = base(out);
    p.add_version = p.full = true;
    if (!train(&p, &one))
        return;
    snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint-10", one.folder);
    p.resume = checkpoint;
    if (!train(&p, &two))
        return;
    same_file(one.folder, two.folder, "model.safetensors");
    same_file(one.folder, two.folder, "optimizer.safetensors");
    same_history(one.folder, two.folder);
}

/* The newest checkpoint-N of a folder (not a .tmp), 0: none. */
static unsigned newest(const char *folder)
{
    char **names = NULL;
    size_t n = 0;
    unsigned best = 0, step;

    if (apus_dir_list(&names, &n, folder) != APUS_OK)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (!strstr(names[i], ".tmp") && sscanf(names[i], "checkpoint-%u", &step) == 1 &&
            step > best)
            best = step;
        apus_free(names[i]);
    }
    apus_free(names);
    return best;
}

TEST(killed_at_any_moment)
{
    char out[1024], checkpoint[1400];
    apus_train_result result;
    uint64_t state = 77;

    for (int k = 0; k < 10; k++) {
        snprintf(out, sizeof(out), "%s/kill%d", harness_folder(), k);
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0) {
            apus_train_params p = base(out);
            p.save_steps = 1;
            p.eval_strategy = 0;
            _exit(apus_train(&p, NULL, &result) == APUS_OK ? 0 : 3);
        }
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        for (int i = 0; i < 4000 && newest(out) == 0; i++) /* from its first checkpoint on */
            apus_sleep_ns(1000000);
        apus_sleep_ns((state >> 40) % 60 * 1000000);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        const unsigned step = newest(out);
        if (step == 0) {
            harness_skip("the child made no checkpoint (no device?)");
            return;
        }
        snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint-%u", out, step);
        apus_train_params p = base(out);
        p.resume = checkpoint;
        p.max_steps = step + 1 > 20 ? step + 1 : 20;
        if (k > 0)
            p.max_steps = step + 1; /* one step shows that it is whole */
        CHECK_OK(apus_train(&p, NULL, &result));
    }
}

/* Asks the run to stop after a step. */
typedef struct stopper {
    apus_cancel cancel;
    uint64_t at;
} stopper;

static void stop_at(void *user, const apus_train_progress *progress)
{
    stopper *s = user;

    if (progress->step == s->at)
        s->cancel.requested = 1;
}

/* Stopped after step 10, where an evaluation follows, and after 7, where a step does. */
TEST(cancelled_runs_end_with_a_checkpoint)
{
    for (uint64_t at = 7; at <= 10; at += 3) {
        char out[1024], checkpoint[1400];
        apus_train_result result;
        stopper s = { .at = at };

        snprintf(out, sizeof(out), "%s/cancel%u", harness_folder(), (unsigned)at);
        apus_train_params p = base(out);
        p.save_steps = 20;
        p.cancel = &s.cancel;
        const apus_status st =
            apus_train(&p, &(apus_train_callbacks) { .user = &s, .step = stop_at }, &result);
        if (st == APUS_ERR_MISSING) {
            harness_skip("%s", apus_error_text());
            return;
        }
        CHECK_EQ_U64(st, APUS_ERR_CANCELLED);
        CHECK_EQ_U64(newest(out), at);
        snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint-%u", out, (unsigned)at);
        p.cancel = NULL;
        p.resume = checkpoint;
        CHECK_OK(apus_train(&p, NULL, &result));
    }
}
