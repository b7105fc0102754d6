/* rms_norm_back.c - the gradient of rms_norm is checked by the differences of tests/op/rms_norm.c;
 * here: that it adds to what a tensor already has. */
#include "rms_norm_back.h"

#include <math.h>

#include "optest.h"
#include "rms_norm.h"

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    /* x is used twice: its gradient is a sum of two. */
    outs[0] = apus_rms_norm(g, in[0], in[1], 1e-5f);
    outs[1] = apus_rms_norm(g, in[0], in[2], 1e-2f);
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const uint32_t rows = t->in[0].dims[0], cols = t->in[0].dims[1];

    for (uint32_t o = 0; o < 2; o++)
        for (uint32_t r = 0; r < rows; r++) {
            double sum = 0;
            for (uint32_t c = 0; c < cols; c++)
                sum += in[0][r * cols + c] * in[0][r * cols + c];
            for (uint32_t c = 0; c < cols; c++) {
                out[o][r * cols + c] = in[0][r * cols + c] * in[1 + o][c] /
                                       sqrt(sum / cols + (double)(o ? 1e-2f : 1e-5f));
                mag[o][r * cols + c] = fabs(out[o][r * cols + c]);
            }
        }
    *terms = cols + 4;
}

TEST(gradients_add_up)
{
    static optest cases[] = {
        { .name = "x used twice",
          .build = build,
          .define = define,
          .out = { { "y" }, { "z" } },
          .in = { { "x", APUS_F32, 2, { 6, 44 } },
                  { "w", APUS_F32, 1, { 44 }, .trained = true },
                  { "v", APUS_F32, 1, { 44 }, .trained = true } } },
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1);
}
