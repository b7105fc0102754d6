/* zeros.c - tests of apus_zeros: a piece of used memory becomes zero. */
#include "zeros.h"

#include "optest.h"

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)in;
    outs[0] = apus_zeros(g, t->out[0].dtype, t->out[0].n_dims, t->out[0].dims, APUS_ROWS_ALL);
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    (void)t;
    (void)in;
    (void)out; /* zero already */
    (void)mag;
    *terms = 0;
}

TEST(fills_what_it_owns)
{
    static optest cases[] = {
        { .name = "one element",
          .build = build,
          .define = define,
          .out = { { "y", APUS_F32, 1, { 1 } } } },
        { .name = "odd",
          .build = build,
          .define = define,
          .out = { { "y", APUS_F32, 3, { 3, 5, 7 } } } },
        { .name = "f16",
          .build = build,
          .define = define,
          .out = { { "y", APUS_F16, 2, { 3, 4 } } } },
        { .name = "bf16",
          .build = build,
          .define = define,
          .out = { { "y", APUS_BF16, 2, { 5, 12 } } } },
    };
    optest_run(cases, APUS_COUNT(cases));
}
