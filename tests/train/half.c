/* half.c - training with activations of 16 bits: gradients as with f32, the loss scale of f16, the
 * working copy of weights that are all trained. */
#include <math.h>

#include "adapters.h"
#include "args/train_state.h"
#include "half.h"
#include "harness.h"
#include "step.h"

#define TOKENS 80

typedef struct bench {
    apus_model *model;
    apus_adapters *adapters;
    apus_train_step *step;
} bench;

static void close_bench(bench *b)
{
    apus_train_step_destroy(&b->step);
    apus_adapters_destroy(&b->adapters);
    apus_model_close(&b->model);
}

/* The tiny model with a LoRA, or trained as a whole; false after a failure or a skip. */
static bool open_bench(bench *b, const char *dtype, bool full)
{
    *b = (bench) { 0 };
    const apus_status st = apus_model_open(
        &b->model, harness_fixture("tiny"),
        &(apus_model_params) { .torch_dtype = dtype, .max_positions = 256, .train_all = full });

    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else if (CHECK_OK(st) &&
             (full ||
              (CHECK_OK(apus_adapters_create(&b->adapters, b->model, 1, 8)) &&
               CHECK_OK(apus_adapters_new(
                   b->adapters, 0, &(apus_lora_config) { .rank = 4, .alpha = 8, .seed = 1 })))) &&
             CHECK_OK(apus_train_step_create(&b->step, b->model,
                                             &(apus_train_step_params) { .adapters = b->adapters,
                                                                         .max_sequences = 2,
                                                                         .beta1 = 0.9f,
                                                                         .beta2 = 0.95f,
                                                                         .eps = 1e-8f,
                                                                         .decay = 0.1f })))
        return true;
    close_bench(b);
    return false;
}

/* Forward and backward of two sequences, for optimizer step `number`. */
static bool micro(bench *b, uint64_t number)
{
    uint32_t tokens[TOKENS];
    int32_t labels[TOKENS];

    for (uint32_t i = 0; i < TOKENS; i++)
        labels[i] = (int32_t)(tokens[i] = 3 + i * 7 % 250);
    const apus_train_sequence seqs[] = { { tokens, labels, NULL, 30, 1 },
                                         { tokens + 30, labels + 30, NULL, 50, 2 } };
    return CHECK_OK(apus_train_micro(b->step, seqs, 2, 1.0 / 78, number, 7, NULL));
}

static bool update(bench *b, uint64_t number, apus_train_numbers *numbers)
{
    return CHECK_OK(apus_train_update(b->step, 1e-3, 1, number)) &&
           CHECK_OK(apus_train_read(b->step, numbers));
}

/* All gradients after one micro batch, without the loss scale; the caller frees them. */
static float *gradients(const char *dtype, bool full, uint64_t *n)
{
    bench b;
    float *out = NULL;

    if (!open_bench(&b, dtype, full))
        return NULL;
    *n = apus_train_count(b.step);
    out = apus_alloc(*n * sizeof(float));
    if (micro(&b, 1))
        CHECK_OK(apus_buffer_read(b.model->gpu, apus_train_gradients(b.step), 0, out,
                                  *n * sizeof(float)));
    for (uint64_t i = 0; i < *n; i++)
        out[i] /= (float)apus_train_loss_scale(b.step).scale;
    close_bench(&b);
    return out;
}

/* |a - b| / |b|. */
static double distance(const float *a, const float *b, uint64_t n)
{
    double off = 0, all = 0;

    for (uint64_t i = 0; i < n; i++) {
        off += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        all += (double)b[i] * (double)b[i];
    }
    return sqrt(off / all);
}

/* Each of about 60 roundings between the loss and a gradient of the two layers is off by at most
 * 2^-11 or 2^-8 of a value and by chance in either direction: sqrt(60) of them, with a factor of 2
 * for what a rounding in the forward changes in the backward. */
TEST(gradients_are_those_of_f32)
{
    for (int full = 0; full < 2; full++) {
        uint64_t n = 0;
        float *wide = gradients("float32", full, &n), *half = NULL, *brain = NULL;
        if (wide && (half = gradients("float16", full, &n)) &&
            (brain = gradients("bfloat16", full, &n))) {
            const double f16 = distance(half, wide, n), bf16 = distance(brain, wide, n);
            harness_check(f16 < 2 * sqrt(60) * 0x1p-11, __FILE__, __LINE__,
                          "gradients in f16 are off by %g", f16);
            harness_check(bf16 < 2 * sqrt(60) * 0x1p-8, __FILE__, __LINE__,
                          "gradients in bf16 are off by %g", bf16);
            CHECK(f16 > 0 && bf16 > f16); /* they are not the f32 path again */
        }
        apus_free(wide);
        apus_free(half);
        apus_free(brain);
    }
}

TEST(only_f16_scales_the_loss)
{
    static const struct {
        const char *dtype;
        double scale;
    } cases[] = { { "float32", 1 }, { "bfloat16", 1 }, { "float16", 65536 } };

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        bench b;
        apus_train_numbers x;
        if (!open_bench(&b, cases[i].dtype, false))
            return;
        CHECK(apus_train_loss_scale(b.step).scale == cases[i].scale);
        if (micro(&b, 1) && update(&b, 1, &x)) {
            CHECK(apus_train_loss_scale(b.step).scale == cases[i].scale);
            CHECK_EQ_U64(apus_train_loss_scale(b.step).good, cases[i].scale > 1);
            CHECK(x.norm > 0 && x.norm < 100 && x.skipped == 0);
        }
        close_bench(&b);
    }
}

/* A scale with which gradients overflow: the update leaves the parameters alone and halves it,
 * until they fit. */
TEST(an_overflow_halves_the_scale)
{
    bench b;
    apus_train_numbers x = { 0 };
    float *before = NULL, *after = NULL;
    double scale = 16777216;
    uint64_t number = 0, skipped = 0;

    if (!open_bench(&b, "float16", false))
        return;
    const uint64_t n = apus_train_count(b.step);
    before = apus_alloc(n * sizeof(float));
    after = apus_alloc(n * sizeof(float));
    CHECK_OK(apus_train_set_loss_scale(b.step, (apus_loss_scale) { scale, 5 }));
    CHECK_OK(apus_buffer_read(b.model->gpu, apus_train_slab(b.step), 0, before, n * sizeof(float)));
    while (number < 20 && micro(&b, number + 1) && update(&b, number + 1, &x)) {
        number++;
        const apus_loss_scale now = apus_train_loss_scale(b.step);
        CHECK_OK(
            apus_buffer_read(b.model->gpu, apus_train_slab(b.step), 0, after, n * sizeof(float)));
        if (isfinite(x.norm))
            break;
        skipped++;
        scale /= 2;
        CHECK(now.scale == scale && now.good == 0 && x.skipped == (double)skipped);
        CHECK(!memcmp(before, after, n * sizeof(float)));
    }
    CHECK(skipped > 0 && isfinite(x.norm));
    CHECK(apus_train_loss_scale(b.step).scale == scale);
    CHECK(memcmp(before, after, n * sizeof(float)));
    apus_free(before);
    apus_free(after);
    close_bench(&b);
}

TEST(two_thousand_good_updates_double_the_scale)
{
    bench b;
    apus_train_numbers x;

    if (!open_bench(&b, "float16", false))
        return;
    CHECK_OK(apus_train_set_loss_scale(b.step, (apus_loss_scale) { 1024, 1998 }));
    if (micro(&b, 1) && update(&b, 1, &x) && CHECK(apus_train_loss_scale(b.step).scale == 1024) &&
        micro(&b, 2) && update(&b, 2, &x)) {
        CHECK(apus_train_loss_scale(b.step).scale == 2048);
        CHECK_EQ_U64(apus_train_loss_scale(b.step).good, 0);
    }
    close_bench(&b);
}

TEST(scales_that_cannot_be_are_refused)
{
    static const apus_loss_scale bad[] = {
        { 0, 0 }, { 3, 0 }, { 0.5, 0 }, { 33554432, 0 }, { 1024, 2000 }
    };
    bench b;

    if (!open_bench(&b, "float16", false))
        return;
    for (size_t i = 0; i < APUS_COUNT(bad); i++) {
        CHECK(apus_train_set_loss_scale(b.step, bad[i]) == APUS_ERR_FORMAT);
        CHECK(apus_train_loss_scale(b.step).scale == 65536);
    }
    CHECK(apus_train_set_loss_scale(b.step, (apus_loss_scale) { NAN, 0 }) == APUS_ERR_FORMAT);
    close_bench(&b);
}

static void check_copy(const bench *b, apus_dtype type)
{
    const apus_model *m = b->model;
    float *master = apus_alloc(m->n_slab * sizeof(float));
    uint16_t *copy = apus_alloc(m->n_slab * sizeof(uint16_t));
    uint64_t wrong = 0;

    if (CHECK(m->copy.bytes >= m->n_slab * sizeof(uint16_t)) &&
        CHECK_OK(apus_buffer_read(m->gpu, &m->slabs[0], 0, master, m->n_slab * sizeof(float))) &&
        CHECK_OK(apus_buffer_read(m->gpu, &m->copy, 0, copy, m->n_slab * sizeof(uint16_t))))
        for (uint64_t i = 0; i < m->n_matrix; i++) {
            const uint16_t want =
                type == APUS_F16 ? apus_f32_to_f16(master[i]) : apus_f32_to_bf16(master[i]);
            /* Below 2^-14 the device may round f16 to either side (mem.glsl). */
            const bool small = type == APUS_F16 && fabsf(master[i]) < 0x1p-14f;
            wrong += small ? abs(copy[i] - want) > 1 : copy[i] != want;
        }
    CHECK_EQ_U64(wrong, 0);
    apus_free(master);
    apus_free(copy);
}

/* What products read is the master's value, rounded: before the first update and after others. */
TEST(the_working_copy_follows_the_weights)
{
    for (apus_dtype type = APUS_F16; type <= APUS_BF16; type++) {
        bench b;
        apus_train_numbers x;
        if (!open_bench(&b, type == APUS_F16 ? "float16" : "bfloat16", true))
            return;
        check_copy(&b, type);
        for (uint64_t number = 1; number <= 3; number++)
            if (!micro(&b, number) || !update(&b, number, &x) || !CHECK(x.norm > 0))
                break;
        check_copy(&b, type);
        close_bench(&b);
    }
}
