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
#define OTHERS 16 /* dispatches before the first and behind the last layer */

static void check(const char *model, const char *what, const apus_plan *plan)
{
    const apus_plan_info *info = apus_plan_about(plan);
    const double ratio = (double)info->scratch_bytes / (double)info->peak_live;

    printf("    %-8s %-28s %9.2f MiB planned, %9.2f alive at once: %.3f\n", model, what,
           (double)info->scratch_bytes / 1048576, (double)info->peak_live / 1048576, ratio);
    harness_check(info->peak_live > 0 && ratio <= MOST_RATIO, __FILE__, __LINE__,
                  "%s, %s: %.3f of what is alive at once", model, what, ratio);
}

/* Dispatches: at most so many for each layer, and a few before and behind them. */
static void check_dispatches(const char *model, const char *what, const apus_plan *plan,
                             uint32_t layers, uint32_t most)
{
    const uint32_t n = apus_plan_about(plan)->dispatches;

    printf("    %-8s %-28s %9u dispatches, %.1f for each of %u layers\n", model, what, n,
           (double)n / layers, layers);
    harness_check(n <= most * layers + OTHERS, __FILE__, __LINE__,
                  "%s, %s: %u dispatches of %u layers, at most %u each", model, what, n, layers,
                  most);
}

/* A token by one format of weights, alone and with an adapter beside each projection. */
static void check_token(apus_model *model, const char *name, uint32_t layers)
{
    const apus_lora_config config = { .rank = 8, .alpha = 32 };
    apus_adapters *a = NULL;
    apus_session *s = NULL;
    apus_plan *plan;

    if (CHECK_OK(apus_session_create(&s, model, &(apus_session_params) { .tokens = 1024 })) &&
        CHECK_OK(apus_session_plan(s, 1, 1, &plan)))
        check_dispatches(name, "a token", plan, layers, 6);
    apus_session_destroy(&s);
    if (CHECK_OK(apus_adapters_create(&a, model, 1, 8)) &&
        CHECK_OK(apus_adapters_new(a, 0, &config))) {
        const apus_adapt_hook hook = apus_adapters_hook(a);
        if (CHECK_OK(apus_session_create(
                &s, model, &(apus_session_params) { .tokens = 1024, .hook = &hook })) &&
            CHECK_OK(apus_session_plan(s, 1, 1, &plan)))
            check_dispatches(name, "a token with an adapter", plan, layers, 10);
        apus_session_destroy(&s);
    }
    apus_adapters_destroy(&a);
}

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

/* Forward and backward of LoRA without dropout, nothing recomputed. */
static void check_step(apus_model *model, const char *name, uint32_t layers)
{
    const apus_lora_config config = { .rank = 8, .alpha = 32 };
    apus_adapters *a = NULL;
    apus_train_step *s = NULL;
    apus_plan *plan;

    if (CHECK_OK(apus_adapters_create(&a, model, 1, 8)) &&
        CHECK_OK(apus_adapters_new(a, 0, &config)) &&
        CHECK_OK(apus_train_step_create(
            &s, model, &(apus_train_step_params) { .adapters = a, .max_sequences = MANY })) &&
        CHECK_OK(apus_train_plan(s, PROMPT, 1, &plan)))
        check_dispatches(name, "LoRA step", plan, layers, 16 + 26);
    apus_train_step_destroy(&s);
    apus_adapters_destroy(&a);
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

TEST(memory_and_dispatches)
{
    for (size_t i = 0; i < APUS_COUNT(models); i++) {
        synthetic_shape shape = *models[i].shape;
        char path[512];
        apus_model *model = NULL;

        shape.layers = models[i].layers;
        const apus_status st = models[i].gguf ? synthetic_gguf(&shape, harness_folder(), path)
                                              : synthetic_folder(&shape, harness_folder(), path);
        if (!CHECK_OK(st))
            return;
        const apus_status opened =
            apus_model_open(&model, path, &(apus_model_params) { .count_only = true });
        if (opened == APUS_ERR_MISSING) {
            harness_skip("%s", apus_error_text());
            return;
        }
        if (!CHECK_OK(opened))
            return;
        check_inference(model, shape.name);
        check_lora(model, shape.name, shape.layers);
        check_token(model, shape.name, shape.layers);
        check_step(model, shape.name, shape.layers);
        apus_model_close(&model);
    }
}
