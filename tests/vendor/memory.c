/* memory.c - plans of real shapes, of all their layers: memory near what is alive at once, which no
 * plan can go below, and few dispatches.  Nothing is loaded, allocated or run. */
#include <stdio.h>

#include "adapters.h"
#include "harness.h"
#include "session.h"
#include "step.h"
#include "synthetic.h"

#define PROMPT 512
#define MANY 8
#define MOST_RATIO 1.05

static void check(const char *model, const char *what, const apus_plan *plan)
{
    const apus_plan_info *info = apus_plan_about(plan);
    const double ratio = (double)info->scratch_bytes / (double)info->peak_live;

    printf("    %-8s %-28s %9.2f MiB planned, %9.2f alive at once: %.3f\n", model, what,
           (double)info->scratch_bytes / 1048576, (double)info->peak_live / 1048576, ratio);
    harness_check(info->peak_live > 0 && ratio <= MOST_RATIO, __FILE__, __LINE__,
                  "%s, %s: %.3f of what is alive at once", model, what, ratio);
}

/* ---- dispatches ---- */

enum { TOKEN, ADAPTED_TOKEN, STEP, N_WORK };

static const struct {
    const char *name;
    uint32_t most; /* for a layer */
} work[N_WORK] = { { "a token", 6 },
                   { "a token with an adapter", 10 },
                   { "a LoRA step, forward and backward", 16 + 26 } };

static void count_token(apus_model *model, const apus_adapt_hook *hook, uint32_t *out)
{
    apus_session *s = NULL;
    apus_plan *plan;

    if (CHECK_OK(apus_session_create(&s, model,
                                     &(apus_session_params) { .tokens = 1024, .hook = hook })) &&
        CHECK_OK(apus_session_plan(s, 1, 1, &plan)))
        *out = apus_plan_about(plan)->dispatches;
    apus_session_destroy(&s);
}

/* Without dropout, nothing recomputed. */
static void count_step(apus_model *model, apus_adapters *a, uint32_t *out)
{
    apus_train_step *s = NULL;
    apus_plan *plan;

    if (CHECK_OK(apus_train_step_create(
            &s, model, &(apus_train_step_params) { .adapters = a, .max_sequences = MANY })) &&
        CHECK_OK(apus_train_plan(s, PROMPT, 1, &plan)))
        *out = apus_plan_about(plan)->dispatches;
    apus_train_step_destroy(&s);
}

static void count_dispatches(apus_model *model, uint32_t out[N_WORK])
{
    const apus_lora_config config = { .rank = 8, .alpha = 32 };
    apus_adapters *served = NULL, *trained = NULL;

    count_token(model, NULL, &out[TOKEN]);
    if (CHECK_OK(apus_adapters_create(&served, model, 1, 8)) &&
        CHECK_OK(apus_adapters_new(served, 0, &config))) {
        const apus_adapt_hook hook = apus_adapters_hook(served);
        count_token(model, &hook, &out[ADAPTED_TOKEN]);
    }
    apus_adapters_destroy(&served);
    if (CHECK_OK(apus_adapters_create(&trained, model, 1, 8)) &&
        CHECK_OK(apus_adapters_new(trained, 0, &config)))
        count_step(model, trained, &out[STEP]);
    apus_adapters_destroy(&trained);
}

/* ---- memory ---- */

static void check_inference(apus_model *model, const char *name)
{
    apus_session *s = NULL;
    apus_plan *plan;

    if (CHECK_OK(apus_session_create(
            &s, model, &(apus_session_params) { .tokens = 1024, .max_sequences = MANY }))) {
        if (CHECK_OK(apus_session_plan(s, PROMPT, 1, &plan)))
            check(name, "a prompt of 512", plan);
        if (CHECK_OK(apus_session_plan(s, 1, 1, &plan)))
            check(name, "a token", plan);
        if (CHECK_OK(apus_session_plan(s, MANY, MANY, &plan)))
            check(name, "a token of 8 sequences", plan);
    }
    apus_session_destroy(&s);
}

static void check_training(apus_model *model, const char *name, apus_adapters *adapters,
                           uint32_t recompute, const char *what)
{
    apus_train_step *s = NULL;
    apus_plan *plan;
    const apus_train_step_params params = {
        .adapters = adapters,
        .max_sequences = MANY,
        .recompute = recompute,
        .beta1 = 0.9f,
        .beta2 = 0.95f,
        .eps = 1e-8f,
    };

    if (CHECK_OK(apus_train_step_create(&s, model, &params)) &&
        CHECK_OK(apus_train_plan(s, PROMPT, 1, &plan)))
        check(name, what, plan);
    apus_train_step_destroy(&s);
}

static void check_lora(apus_model *model, const char *name, uint32_t layers)
{
    apus_adapters *a = NULL;
    const apus_lora_config config = { .rank = 8, .alpha = 32, .dropout = 0.05 };

    if (CHECK_OK(apus_adapters_create(&a, model, 1, 8)) &&
        CHECK_OK(apus_adapters_new(a, 0, &config))) {
        check_training(model, name, a, 0, "LoRA, all kept");
        check_training(model, name, a, layers / 2, "LoRA, half recomputed");
        check_training(model, name, a, layers, "LoRA, all recomputed");
    }
    apus_adapters_destroy(&a);
}

static const struct {
    const synthetic_shape *shape;
    uint32_t layers;
    bool gguf;
} models[] = {
    { &synthetic_smollm2, 30, true },
    { &synthetic_qwen2, 24, false },
    { &synthetic_llama_8b, 32, true },
};

/* The model with so many layers; NULL after a failed check or a skip. */
static apus_model *open_model(size_t i, uint32_t layers)
{
    synthetic_shape shape = *models[i].shape;
    char path[512];
    apus_model *model = NULL;

    shape.layers = layers;
    const apus_status st = models[i].gguf ? synthetic_gguf(&shape, harness_folder(), path)
                                          : synthetic_folder(&shape, harness_folder(), path);
    if (!CHECK_OK(st))
        return NULL;
    const apus_status opened =
        apus_model_open(&model, path, &(apus_model_params) { .count_only = true });
    if (opened == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else
        CHECK_OK(opened);
    return model;
}

TEST(planned_memory_is_near_what_is_alive)
{
    for (size_t i = 0; i < APUS_COUNT(models); i++) {
        apus_model *model = open_model(i, models[i].layers);
        if (!model)
            return;
        check_inference(model, models[i].shape->name);
        check_lora(model, models[i].shape->name, models[i].layers);
        apus_model_close(&model);
    }
}

/* What one layer more adds. */
TEST(a_layer_has_few_dispatches)
{
    for (size_t i = 0; i < APUS_COUNT(models); i++) {
        uint32_t n[2][N_WORK] = { 0 };
        for (uint32_t more = 0; more < 2; more++) {
            apus_model *model = open_model(i, 2 + more);
            if (!model)
                return;
            count_dispatches(model, n[more]);
            apus_model_close(&model);
        }
        for (size_t w = 0; w < N_WORK; w++) {
            const uint32_t layer = n[1][w] - n[0][w];
            printf("    %-8s %-34s %3u dispatches a layer\n", models[i].shape->name, work[w].name,
                   layer);
            harness_check(layer > 0 && layer <= work[w].most, __FILE__, __LINE__,
                          "%s, %s: %u dispatches a layer, at most %u", models[i].shape->name,
                          work[w].name, layer, work[w].most);
        }
    }
}
