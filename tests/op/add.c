/* add.c - tests of apus_add. */
#include "add.h"

#include <math.h>

#include "optest.h"

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    outs[0] = apus_add(g, in[0], in[1]);
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    for (uint32_t i = 0; i < t->in[0].dims[0] * t->in[0].dims[1]; i++) {
        out[0][i] = in[0][i] + in[1][i];
        mag[0][i] = fabs(in[0][i]) + fabs(in[1][i]);
    }
    *terms = 2;
}

TEST(sums_and_gradients)
{
    static optest cases[] = {
        { .name = "one element",
          .build = build,
          .define = define,
          .out = { { "y" } },
          .in = { { "a", APUS_F32, 2, { 1, 1 } }, { "b", APUS_F32, 2, { 1, 1 } } } },
        { .name = "one more than a workgroup",
          .build = build,
          .define = define,
          .out = { { "y" } },
          .in = { { "a", APUS_F32, 2, { 13, 5 } }, { "b", APUS_F32, 2, { 13, 5 } } } },
        { .name = "fours",
          .build = build,
          .define = define,
          .out = { { "y" } },
          .in = { { "a", APUS_F32, 2, { 13, 20 } }, { "b", APUS_F32, 2, { 13, 20 } } } },
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 3);
}
