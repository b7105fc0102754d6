/* submit.c - a whole prompt, decoding and LoRA training steps recorded and submitted: on a device
 * that computes, the numbers are looked at; on a GPU that is not there, that every call goes
 * through. */
#include <math.h>
#include <stdio.h>

#include "adapters.h"
#include "apus/generate.h"
#include "harness.h"
#include "session.h"
#include "step.h"

#define STEPS 4

static bool computes(const apus_model *m)
{
    return apus_gpu_caps(m->gpu)->device_class == APUS_CLASS_CPU;
}

static void fill(uint32_t *ids, uint32_t n, uint32_t vocab)
{
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (7 * i + 3) % vocab;
}

static void infer(apus_model *m, uint32_t prompt)
{
    apus_session *s = NULL;
    apus_sequence seq = { 0 };
    uint32_t ids[512], next = 0;
    apus_session_item item = {
        .sequence = &seq, .tokens = ids, .n = prompt, .adapter = UINT32_MAX
    };

    fill(ids, prompt, m->dims.vocab);
    if (!CHECK_OK(
            apus_session_create(&s, m, &(apus_session_params) { .tokens = m->max_positions })))
        return;
    for (int i = 0; i <= STEPS; i++) {
        if (!CHECK_OK(apus_session_run(s, &item, 1, &next, NULL)))
            break;
        if (computes(m))
            CHECK(next < m->dims.vocab);
        ids[0] = (uint32_t)(11 * i + 1) % m->dims.vocab;
        item.n = 1;
    }
    CHECK_EQ_U64(seq.length, prompt + STEPS);
    apus_sequence_release(apus_session_cache(s), &seq);
    apus_session_destroy(&s);
}

static void take_steps(const apus_model *m, apus_train_step *step, uint32_t n)
{
    uint32_t ids[512];
    int32_t labels[512];
    double first = 0, last = 0;

    fill(ids, n, m->dims.vocab);
    for (uint32_t i = 0; i < n; i++)
        labels[i] = (int32_t)ids[i];
    const apus_train_sequence seq = { .ids = ids, .labels = labels, .n = n };
    for (uint64_t i = 1; i <= STEPS; i++) {
        apus_train_numbers numbers;

        if (!CHECK_OK(apus_train_micro(step, &seq, 1, 1.0 / (n - 1), i, 42, NULL)) ||
            !CHECK_OK(apus_train_update(step, 1e-3, 1.0, i)) ||
            !CHECK_OK(apus_train_read(step, &numbers)))
            return;
        if (!computes(m))
            continue;
        CHECK_EQ_U64(numbers.tokens, n - 1);
        CHECK(isfinite(numbers.norm) && numbers.norm > 0);
        last = numbers.loss;
        first = i == 1 ? last : first;
    }
    if (computes(m))
        harness_check(isfinite(last) && last < first, __FILE__, __LINE__,
                      "the loss goes from %g to %g", first, last);
}

static void train(apus_model *m, uint32_t n)
{
    apus_adapters *adapters = NULL;
    apus_train_step *step = NULL;
    const apus_lora_config lora = { .rank = 8, .alpha = 32, .dropout = 0 };

    if (CHECK_OK(apus_adapters_create(&adapters, m, 1, 8)) &&
        CHECK_OK(apus_adapters_new(adapters, 0, &lora)) &&
        CHECK_OK(apus_train_step_create(&step, m,
                                        &(apus_train_step_params) { .adapters = adapters,
                                                                    .max_sequences = 1,
                                                                    .beta1 = 0.9f,
                                                                    .beta2 = 0.95f,
                                                                    .eps = 1e-8f })))
        take_steps(m, step, n);
    apus_train_step_destroy(&step);
    apus_adapters_destroy(&adapters);
}

static void whole(const char *path, uint32_t n, void work(apus_model *m, uint32_t n))
{
    apus_model *m = NULL;

    setenv("APUS_CACHE_DIR", harness_folder(), 0);
    if (!CHECK_OK(apus_model_open(
            &m, path, &(apus_model_params) { .torch_dtype = "float32", .max_positions = 1024 })))
        return;
    printf("%s, %s\n", apus_gpu_caps(m->gpu)->name, apus_gpu_caps(m->gpu)->driver);
    work(m, n);
    apus_model_close(&m);
}

#define TINY VENDOR_CASES "/llama_gqa_tied_rope3/model"

TEST(tiny_training)
{
    whole(TINY, 100, train);
}

TEST(tiny_inference)
{
    whole(TINY, 100, infer);
}

static void both(apus_model *m, uint32_t n)
{
    infer(m, n);
    train(m, n);
}

static bool smollm2_path(char path[600])
{
    const char *folder = harness_real_data("smollm2");

    if (folder)
        snprintf(path, 600, "%s/SmolLM2-135M-Instruct.Q4_1.gguf", folder);
    return folder != NULL;
}

TEST(smollm2)
{
    char path[600];

    if (smollm2_path(path))
        whole(path, 512, both);
}

/* Whether the device has memory of its own. */
static bool has_memory(const char *path)
{
    apus_model *m = NULL;
    bool own = false;

    if (CHECK_OK(apus_model_open(&m, path, &(apus_model_params) { .count_only = true })))
        own = !apus_gpu_caps(m->gpu)->integrated;
    apus_model_close(&m);
    return own;
}

/* 84 MiB of weights, with a cache and what a prompt takes, on a device of 96 MiB. */
TEST(weights_that_do_not_fit_stay_with_the_host)
{
    const apus_model_params open = { .torch_dtype = "float32", .max_positions = 512 };
    const apus_generator_params params = { .max_length = 512 };
    apus_model *m = NULL;
    apus_generator *g = NULL;
    apus_model_about about;
    char path[600];

    if (!smollm2_path(path))
        return;
    if (!has_memory(path)) {
        harness_skip("the device shares the host's memory");
        return;
    }
    setenv("APUS_CACHE_DIR", harness_folder(), 0);
    setenv("APUS_HEAP_MIB", "96", 1);
    if (CHECK_OK(apus_generator_model(&m, path, &open, &params)) &&
        CHECK_OK(apus_generator_create(&g, m, &params))) {
        apus_model_describe(m, &about);
        printf("%u of %u layers with the host\n", about.host_layers, about.layers);
        CHECK(about.host_layers > 0 && about.host_layers < about.layers);
    }
    apus_generator_destroy(&g);
    if (m)
        infer(m, 500);
    apus_model_close(&m);
    unsetenv("APUS_HEAP_MIB");
}
