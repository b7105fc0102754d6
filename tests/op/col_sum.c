/* col_sum.c - tests of apus_col_sum: added to what is there, and as the gradient of a bias. */
#include "col_sum.h"

#include <math.h>

#include "matmul.h"
#include "optest.h"

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    apus_col_sum(g, in[0], in[1]);
    outs[0] = in[1];
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const uint32_t cols = t->in[1].dims[0];
    uint32_t rows = t->in[0].dims[0] * (t->in[0].n_dims == 3 ? t->in[0].dims[1] : 1);

    if (t->in[0].rows.max)
        rows = t->vars[APUS_VAR_TOKENS] * (t->in[0].n_dims == 3 ? t->in[0].dims[1] : 1);
    for (uint32_t c = 0; c < cols; c++) {
        out[0][c] = in[1][c];
        mag[0][c] = fabs(in[1][c]);
        for (uint32_t r = 0; r < rows; r++) {
            out[0][c] += in[0][r * cols + c];
            mag[0][c] += fabs(in[0][r * cols + c]);
        }
    }
    *terms = rows + 1;
}

#define CASE(text, ...)                                                                            \
    {                                                                                              \
        .name = text, .build = build, .define = define, .out = { { "into" } }, __VA_ARGS__         \
    }

TEST(adds_columns)
{
    static optest cases[] = {
        CASE("one element", .in = { { "x", APUS_F32, 2, { 1, 1 }, .fixed = true },
                                    { "into", APUS_F32, 1, { 1 }, .fixed = true } }),
        CASE("one more than a subgroup", .in = { { "x", APUS_F32, 2, { 7, 17 }, .fixed = true },
                                                 { "into", APUS_F32, 1, { 17 }, .fixed = true } }),
        CASE("many rows", .in = { { "x", APUS_F32, 2, { 4099, 3 }, .fixed = true },
                                  { "into", APUS_F32, 1, { 3 }, .fixed = true } }),
        CASE("three dimensions", .in = { { "x", APUS_F32, 3, { 3, 4, 5 }, .fixed = true },
                                         { "into", APUS_F32, 1, { 5 }, .fixed = true } }),
        CASE("live rows", .vars = { [APUS_VAR_TOKENS] = 3 },
             .in = { { "x",
                       APUS_F32,
                       2,
                       { 8, 9 },
                       .fixed = true,
                       .rows = { APUS_VAR_TOKENS, 0, 8, 1 } },
                     { "into", APUS_F32, 1, { 9 }, .fixed = true } }),
        CASE("live rows of heads", .vars = { [APUS_VAR_TOKENS] = 2 },
             .in = { { "x",
                       APUS_F32,
                       3,
                       { 4, 3, 9 },
                       .fixed = true,
                       .rows = { APUS_VAR_TOKENS, 0, 4, 1 } },
                     { "into", APUS_F32, 1, { 9 }, .fixed = true } }),
        CASE("no live row", .vars = { [APUS_VAR_TOKENS] = 0 },
             .in = { { "x",
                       APUS_F32,
                       2,
                       { 8, 9 },
                       .fixed = true,
                       .rows = { APUS_VAR_TOKENS, 0, 8, 1 } },
                     { "into", APUS_F32, 1, { 9 }, .fixed = true } }),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1);
}

static void build_bias(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    outs[0] =
        apus_matmul(g, in[0], in[1], &(apus_matmul_params) { .kind = APUS_NT, .bias = in[2] });
}

static void define_bias(const optest *t, const double *const *in, double **out, double **mag,
                        uint32_t *terms)
{
    const uint32_t m = t->in[0].dims[0], k = t->in[0].dims[1], n = t->in[1].dims[0];

    for (uint32_t i = 0; i < m; i++)
        for (uint32_t j = 0; j < n; j++) {
            out[0][i * n + j] = in[2][j];
            mag[0][i * n + j] = fabs(in[2][j]);
            for (uint32_t x = 0; x < k; x++) {
                out[0][i * n + j] += in[0][i * k + x] * in[1][j * k + x];
                mag[0][i * n + j] += fabs(in[0][i * k + x] * in[1][j * k + x]);
            }
        }
    *terms = k + 1;
}

TEST(gradient_of_a_bias)
{
    static optest cases[] = {
        { .name = "trained bias",
          .build = build_bias,
          .define = define_bias,
          .out = { { "y" } },
          .in = { { "a", APUS_F32, 2, { 9, 8 } },
                  { "b", APUS_F32, 2, { 13, 8 }, .trained = true },
                  { "bias", APUS_F32, 1, { 13 }, .trained = true } } },
        { .name = "trained bias, live rows",
          .build = build_bias,
          .define = define_bias,
          .out = { { "y" } },
          .vars = { [APUS_VAR_TOKENS] = 5 },
          .in = { { "a", APUS_F32, 2, { 9, 8 }, .rows = { APUS_VAR_TOKENS, 0, 9, 1 } },
                  { "b", APUS_F32, 2, { 13, 8 }, .trained = true },
                  { "bias", APUS_F32, 1, { 13 }, .trained = true } } },
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1);
}
