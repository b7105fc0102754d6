/* matmul.c - tests of apus_matmul: every kind, every format, every algorithm. */
#include "matmul.h"

#include <math.h>

#include "optest.h"

struct params {
    apus_matmul_kind kind;
    bool bias, acc;
    float alpha;
};

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const struct params *p = t->params;

    outs[0] = apus_matmul(g, in[0], in[1],
                          &(apus_matmul_params) { .kind = p->kind, .alpha = p->alpha,
                                                  .bias = p->bias ? in[2] : NULL,
                                                  .acc = p->acc ? in[2 + p->bias] : NULL });
    if (p->kind != APUS_NT)
        outs[0]->wants_grad = false;
}

static void define(const optest *t, const double *const *in, double **out, double **mag, uint32_t *terms)
{
    const struct params *p = t->params;
    const uint32_t *a = t->in[0].dims, *b = t->in[1].dims;
    const uint32_t m = p->kind == APUS_TN ? a[1] : a[0], k = p->kind == APUS_TN ? a[0] : a[1];
    const uint32_t n = p->kind == APUS_NT ? b[0] : b[1];
    const double alpha = p->alpha == 0 ? 1 : (double)p->alpha;
    uint32_t live_k = k;

    if (p->kind == APUS_TN && t->in[0].rows.max)
        live_k = t->vars[t->in[0].rows.var];
    for (uint32_t i = 0; i < m; i++)
        for (uint32_t j = 0; j < n; j++) {
            double sum = 0, all = 0;
            for (uint32_t x = 0; x < live_k; x++) {
                const double term = alpha * in[0][p->kind == APUS_TN ? x * m + i : i * k + x]
                                    * in[1][p->kind == APUS_NT ? j * k + x : x * n + j];
                sum += term;
                all += fabs(term);
            }
            if (p->bias)
                sum += in[2][j], all += fabs(in[2][j]);
            if (p->acc)
                sum += in[2 + p->bias][i * n + j], all += fabs(in[2 + p->bias][i * n + j]);
            out[0][i * n + j] = sum;
            mag[0][i * n + j] = all;
        }
    *terms = live_k + 3;
}

#define FORCE { "matmul:plain", "matmul:cpu", "matmul:vec", "matmul:tile" }
#define CASE(text, kind_, m, n, k, type, ...)                                                      \
    { .name = text, .force = FORCE, .build = build, .define = define, .out = { { "y" } },           \
      .params = &(const struct params) { .kind = kind_, __VA_ARGS__ },                              \
      .in = { { "a", APUS_F32, 2, { kind_ == APUS_TN ? k : m, kind_ == APUS_TN ? m : k } },         \
              { "b", type, 2, { kind_ == APUS_NT ? n : k, kind_ == APUS_NT ? k : n },               \
                .trained = true } } }

TEST(every_kind_and_shape)
{
    static optest cases[] = {
        CASE("one element", APUS_NT, 1, 1, 8, APUS_F32, 0),
        CASE("nothing divides", APUS_NT, 5, 7, 3, APUS_F32, 0),
        CASE("one row: mat-vec", APUS_NT, 1, 48, 64, APUS_F32, 0),
        CASE("one more than a tile", APUS_NT, 65, 33, 40, APUS_F32, 0),
        CASE("whole tiles, scaled", APUS_NT, 64, 64, 64, APUS_F32, .alpha = 0.37f),
        CASE("long sum", APUS_NT, 9, 17, 1096, APUS_F32, 0),
        CASE("gradient of an input", APUS_NN, 33, 36, 20, APUS_F32, 0),
        CASE("gradient of an input, odd", APUS_NN, 3, 5, 7, APUS_F32, 0),
        CASE("gradient of a weight", APUS_TN, 36, 20, 37, APUS_F32, 0),
        CASE("gradient of a weight, rank 2", APUS_TN, 2, 24, 19, APUS_F32, 0),
    };
    optest_run(cases, APUS_COUNT(cases));
}

TEST(every_format)
{
    static optest cases[] = {
        CASE("f16", APUS_NT, 13, 24, 64, APUS_F16, 0),   CASE("bf16", APUS_NT, 13, 24, 64, APUS_BF16, 0),
        CASE("q8_0", APUS_NT, 13, 24, 96, APUS_Q8_0, 0), CASE("q4_0", APUS_NT, 70, 20, 96, APUS_Q4_0, 0),
        CASE("q4_1", APUS_NT, 13, 24, 64, APUS_Q4_1, 0), CASE("q4_1 one row", APUS_NT, 1, 40, 576, APUS_Q4_1, 0),
        CASE("f16 nn", APUS_NN, 13, 24, 64, APUS_F16, 0), CASE("bf16 nn", APUS_NN, 13, 24, 64, APUS_BF16, 0),
        CASE("q8_0 nn", APUS_NN, 9, 96, 20, APUS_Q8_0, 0), CASE("q4_0 nn", APUS_NN, 35, 64, 24, APUS_Q4_0, 0),
        CASE("q4_1 nn", APUS_NN, 9, 96, 20, APUS_Q4_1, 0),
    };
    optest_run(cases, APUS_COUNT(cases));
}

TEST(bias_and_accumulation)
{
    static optest cases[] = {
        { .name = "bias", .force = FORCE, .build = build, .define = define, .out = { { "y" } },
          .params = &(const struct params) { .bias = true },
          .in = { { "a", APUS_F32, 2, { 6, 16 } }, { "b", APUS_F32, 2, { 12, 16 }, .trained = true },
                  { "bias", APUS_F32, 1, { 12 }, .fixed = true } } },
        { .name = "residual", .force = FORCE, .build = build, .define = define, .out = { { "y" } },
          .params = &(const struct params) { .acc = true },
          .in = { { "a", APUS_F32, 2, { 6, 16 } }, { "b", APUS_F16, 2, { 12, 16 } },
                  { "acc", APUS_F32, 2, { 6, 12 } } } },
        { .name = "live rows", .force = FORCE, .build = build, .define = define, .out = { { "y" } },
          .params = &(const struct params) { .kind = APUS_NT }, .vars = { [APUS_VAR_TOKENS] = 37 },
          .in = { { "a", APUS_F32, 2, { 64, 16 }, .rows = { APUS_VAR_TOKENS, 0, 64, 1 } },
                  { "b", APUS_Q8_0, 2, { 12, 32 } } } },
        { .name = "live sum", .force = FORCE, .build = build, .define = define, .out = { { "y" } },
          .params = &(const struct params) { .kind = APUS_TN }, .vars = { [APUS_VAR_TOKENS] = 37 },
          .in = { { "a", APUS_F32, 2, { 64, 16 }, .rows = { APUS_VAR_TOKENS, 0, 64, 1 } },
                  { "b", APUS_F32, 2, { 64, 12 } } } },
    };
    cases[2].in[0].dims[1] = 32;
    optest_run(cases, APUS_COUNT(cases));
}
