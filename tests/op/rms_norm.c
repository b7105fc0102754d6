/* rms_norm.c - tests of apus_rms_norm and its gradient. */
#include "rms_norm.h"

#include <math.h>

#include "optest.h"

static const float eps_small = 1e-6f, eps_large = 0.5f;

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    outs[0] = apus_rms_norm(g, in[0], in[1], *(const float *)t->params);
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const uint32_t cols = t->in[1].dims[0],
                   rows = t->in[0].dims[0] * (t->in[0].n_dims == 3 ? t->in[0].dims[1] : 1);
    const double eps = (double)*(const float *)t->params;

    for (uint32_t r = 0; r < rows; r++) {
        double sum = 0;
        for (uint32_t c = 0; c < cols; c++)
            sum += in[0][r * cols + c] * in[0][r * cols + c];
        for (uint32_t c = 0; c < cols; c++) {
            out[0][r * cols + c] = in[0][r * cols + c] * in[1][c] / sqrt(sum / cols + eps);
            mag[0][r * cols + c] = fabs(out[0][r * cols + c]);
        }
    }
    *terms = cols + 4;
}

#define CASE(text, e, ...)                                                                         \
    {                                                                                              \
        .name = text, .build = build, .define = define, .params = &e, .out = { { "y" } },          \
        __VA_ARGS__                                                                                \
    }

TEST(norm_and_gradient)
{
    static optest cases[] = {
        CASE(
            "one column", eps_small,
            .in = { { "x", APUS_F32, 2, { 3, 1 } }, { "w", APUS_F32, 1, { 1 }, .trained = true } }),
        CASE(
            "narrower than a subgroup", eps_small,
            .in = { { "x", APUS_F32, 2, { 4, 5 } }, { "w", APUS_F32, 1, { 5 }, .trained = true } }),
        CASE("a model's width", eps_small,
             .in = { { "x", APUS_F32, 2, { 5, 576 } },
                     { "w", APUS_F32, 1, { 576 }, .trained = true } }),
        CASE("eps weighs as much as x", eps_large,
             .in = { { "x", APUS_F32, 2, { 3, 36 } },
                     { "w", APUS_F32, 1, { 36 }, .trained = true } }),
        CASE("heads", eps_small,
             .in = { { "x", APUS_F32, 3, { 3, 4, 16 } },
                     { "w", APUS_F32, 1, { 16 }, .trained = true } }),
        CASE("live rows", eps_small, .vars = { [APUS_VAR_TOKENS] = 3 },
             .in = { { "x", APUS_F32, 2, { 7, 20 }, .rows = { APUS_VAR_TOKENS, 0, 7, 1 } },
                     { "w", APUS_F32, 1, { 20 }, .fixed = true } }),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1);
}
