/* fetch.c - tests of apus_fetch. */
#include "fetch.h"

#include "optest.h"

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    outs[0] = apus_fetch(g, in[0], in[1]);
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    for (uint32_t i = 0; i < t->in[0].dims[0] * t->in[0].dims[1]; i++)
        out[0][i] = in[0][i];
    (void)mag;
    *terms = 1;
}

#define CASE(name_, dtype, rows, cols)                                                             \
    {                                                                                              \
        .name = name_, .build = build, .define = define, .out = { { "y" } }, .in = {               \
            { "x", dtype, 2, { rows, cols }, .fixed = true }                                       \
        }                                                                                          \
    }

TEST(copies_every_byte)
{
    static optest cases[] = {
        CASE("one element", APUS_F32, 1, 1),
        CASE("three words", APUS_F32, 3, 1),
        CASE("one more than a workgroup", APUS_F32, 257, 1),
        CASE("odd", APUS_F32, 13, 7),
        CASE("f16", APUS_F16, 13, 20),
        CASE("bf16", APUS_BF16, 5, 12),
        CASE("more than a row of the grid", APUS_F32, 2101, 4000),
    };

    optest_run(cases, APUS_COUNT(cases));
}
