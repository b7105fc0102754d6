/* resume.c - a tiny model: the same bits on two runs; a run that was stopped after a checkpoint and
 * resumed equals one that was not, byte for byte; a kill at any moment leaves whole checkpoints. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"
#include "tiny_run.h"

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

/* A run, and the same from its checkpoint-10 on, then with `dtype` (NULL: without the flag). */
static bool and_resumed(apus_train_params p, const char *dtype, apus_train_result *one,
                        apus_train_result *two)
{
    char checkpoint[1400];

    p.add_version = true;
    if (!train(&p, one))
        return false;
    snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint-10", one->folder);
    p.resume = checkpoint;
    p.torch_dtype = dtype;
    return train(&p, two);
}

/* With activations of 16 bits; in f16 the loss scale goes on from the checkpoint. */
TEST(half_precision_resumes)
{
    static const char *const types[] = { "float16", "bfloat16" };

    for (size_t i = 0; i < APUS_COUNT(types); i++) {
        char out[1024];
        apus_train_result one, two;
        snprintf(out, sizeof(out), "%s/%s", harness_folder(), types[i]);
        apus_train_params p = base(out);
        p.torch_dtype = types[i];
        if (!and_resumed(p, types[i], &one, &two))
            return;
        same_run(one.folder, two.folder);
        same_file(one.folder, two.folder, "apus_state.json");
    }
}

/* One number of a checkpoint is another. */
static void edit_state(const char *checkpoint, const char *key, double value)
{
    char path[1500];
    cJSON *s = NULL;

    snprintf(path, sizeof(path), "%s/apus_state.json", checkpoint);
    if (!CHECK_OK(apus_json_read(&s, path)))
        return;
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(s, key), value);
    apus_json_begin();
    CHECK_OK(apus_json_write(s, checkpoint, "apus_state.json"));
    cJSON_Delete(s);
}

static double state_of(const char *folder, const char *key)
{
    char path[1500];
    cJSON *s = NULL;

    snprintf(path, sizeof(path), "%s/checkpoint-20/apus_state.json", folder);
    CHECK_OK(apus_json_read(&s, path));
    const double x = apus_json_number(s, key, -1);
    cJSON_Delete(s);
    return x;
}

/* The loss scale is the checkpoint's; one that cannot be is refused. */
TEST(the_loss_scale_goes_on)
{
    char out[1024], checkpoint[1400];
    apus_train_result one, two;

    snprintf(out, sizeof(out), "%s/scale", harness_folder());
    apus_train_params p = base(out);
    p.torch_dtype = "float16";
    p.add_version = true;
    if (!train(&p, &one))
        return;
    CHECK(state_of(one.folder, "loss_scale") == 65536);
    CHECK(state_of(one.folder, "loss_scale_good") == 20);
    snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint-10", one.folder);
    edit_state(checkpoint, "loss_scale", 1024);
    edit_state(checkpoint, "loss_scale_good", 1995);
    p.resume = checkpoint;
    if (train(&p, &two)) {
        CHECK(state_of(two.folder, "loss_scale") == 2048);
        CHECK(state_of(two.folder, "loss_scale_good") == 5);
    }
    edit_state(checkpoint, "loss_scale", 1000);
    CHECK(apus_train(&p, NULL, &two) == APUS_ERR_FORMAT);
    CHECK(strstr(apus_error_text(), "a loss scale of 1000"));
}

/* What the flag said need not be said again: a full checkpoint's own config says float32. */
TEST(the_type_goes_on)
{
    for (int full = 0; full < 2; full++) {
        char out[1024];
        apus_train_result one, two;
        snprintf(out, sizeof(out), "%s/type%d", harness_folder(), full);
        apus_train_params p = base(out);
        p.torch_dtype = "bfloat16";
        p.full = full;
        if (!and_resumed(p, NULL, &one, &two))
            return;
        same_file(one.folder, two.folder, full ? "model.safetensors" : "adapter_model.safetensors");
        same_file(one.folder, two.folder, "optimizer.safetensors");
    }
}

/* Numbers that float16 cannot have, whatever the loss scale: the run ends and says what helps. */
TEST(a_run_that_float16_cannot_do_ends)
{
    char out[1024];
    apus_train_result result;

    snprintf(out, sizeof(out), "%s/overflow", harness_folder());
    apus_train_params p = base(out);
    p.torch_dtype = "float16";
    p.learning_rate = 1e6;
    p.lr_scheduler = "constant";
    p.max_steps = 60;
    p.eval_strategy = p.save_strategy = 0;
    const apus_status st = apus_train(&p, NULL, &result);
    if (st == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return;
    }
    CHECK(st == APUS_ERR_ARG);
    CHECK(strstr(apus_error_text(), "float16 overflows with the smallest loss scale, 10 times in a "
                                    "row; use --torch_dtype bfloat16 or float32"));
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
    p.recompute = APUS_RECOMPUTE_ALL;
    if (train(&p, &again))
        same_run(kept.folder, again.folder);
}

static void resume_full(const char *dtype)
{
    char out[1024];
    apus_train_result one, two;

    snprintf(out, sizeof(out), "%s/full-%s", harness_folder(), dtype);
    apus_train_params p = base(out);
    p.full = true;
    p.torch_dtype = dtype;
    if (!and_resumed(p, dtype, &one, &two))
        return;
    same_file(one.folder, two.folder, "model.safetensors");
    same_file(one.folder, two.folder, "optimizer.safetensors");
    same_history(one.folder, two.folder);
}

TEST(full_fine_tuning_resumes)
{
    resume_full("float32");
    resume_full("bfloat16");
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
